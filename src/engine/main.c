/* larder-server: reads the configuration, wires the parts together, runs until it is told to stop. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/allocator.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/cmd/command.h"
#include "engine/exec/executor.h"
#include "engine/exec/lane.h"
#include "engine/log/effects.h"
#include "engine/log/oplog.h"
#include "engine/net/admin.h"
#include "engine/net/listeners.h"
#include "engine/net/worker.h"
#include "engine/server/clients.h"
#include "engine/server/config.h"
#include "engine/server/evict.h"
#include "engine/server/node_lock.h"
#include "engine/server/process.h"
#include "engine/server/replication.h"
#include "engine/persist/aof.h"
#include "engine/persist/persist.h"
#include "engine/repl/link.h"
#include "engine/server/server.h"
#include "engine/server/stats.h"
#include "engine/server/version.h"
#include "engine/store/access.h"
#include "engine/store/heap.h"
#include "engine/store/keyspace.h"

#define LANE_THREADS_MAX 4
#define LANE_NICE 10 /* a worker on the same core goes first, and the lane still gets a tenth of it */
#define RESERVED_FDS 64
#define LOAD_LOOKS 200
#define ASK_EVERY_US 100000
#define LOAD_LOOK_US 1000
#ifdef NDEBUG
#define TIDY_EXIT 0
#else
#define TIDY_EXIT 1
#endif

/* How far an orderly end is. */
enum end { END_NONE, END_WAITS, END_ABORTED, END_SAVES };

/* Everything that main owns. */
struct program {
    struct server server;
    struct exec_shared shared;
    struct listeners listeners;
    struct heap_shared *heap;
    struct worker *workers;
    struct worker **peers;
    unsigned worker_count;
    struct executor lane_executors[EXEC_LANES][LANE_THREADS_MAX];
    struct admin *admin;
    _Atomic(struct link *) link; /* NULL until serve */
    struct thread *link_thread;
    int lock; /* of node-lock: kept open for life */
    atomic_bool load_failed;
    atomic_uint shutdown_options; /* of SHUTDOWN */
    atomic_uint end;              /* enum end */
};

static void post(struct program *p, uint32_t worker, struct message m)
{
    inbox_post(&p->workers[worker].inbox, m);
}

static void post_all(struct program *p, enum message_kind kind)
{
    for (unsigned i = 0; i < p->worker_count; i++)
        post(p, i, (struct message){kind, -1, 0});
}

/* What the layers below call upwards. */
static void on_wake(void *arg, struct handle h)
{
    post(arg, h.worker & 0xff, (struct message){MESSAGE_RESUME, (int)(h.worker >> 8), h.id});
}

static void on_lane_done(void *arg, struct handle h)
{
    post(arg, h.worker & 0xff, (struct message){MESSAGE_DONE, (int)(h.worker >> 8), h.id});
}

static void on_gate_opened(void *arg)
{
    post_all(arg, MESSAGE_HELD);
}

static void on_partition_free(void *arg, uint32_t partition)
{
    struct program *p = arg;

    park_wake(&p->shared.park, partition);
}

/* A key expired, or was evicted: replicas and files learn it as a DEL. */
static void on_removed(void *arg, struct thread *t, struct db *db, struct view name, bool evicted)
{
    struct program *p = arg;
    struct config *c = p->server.config;
    bool unlink = atomic_load(evicted ? &c->lazyfree_lazy_eviction : &c->lazyfree_lazy_expire) != 0;
    struct view words[] = {unlink ? VIEW("UNLINK") : VIEW("DEL"), name};
    struct effects e = {0};

    if (!oplog_active(p->server.log) || atomic_load_explicit(&p->server.is_replica, memory_order_relaxed))
        return;
    effects_add(&e, db_index(db), words, 2);
    oplog_append(p->server.log, t->index, &e);
    buf_free(&e.bytes);
}

static void on_kill(void *arg, struct card *card)
{
    struct program *p = arg;

    if (!(atomic_load(&card->flags) & CARD_ADMIN))
        post(p, card->worker & 0xff, (struct message){MESSAGE_KILL, (int)(card->worker >> 8), card->id});
}

static void on_deferred(void *arg)
{
    struct program *p = arg;

    lane_kick(p->shared.lanes[EXEC_LANE_WAITING]);
}

/* What the slow lane does when it is kicked: gives memory back, and keeps maxmemory-clients. */
static void reclaim_idle(struct executor *ex)
{
    struct server *s = ex->shared->server;
    int64_t limit = atomic_load(&s->config->maxmemory_clients);

    while (mem_reclaim())
        ;
    allocator_decay();
    defrag_cycle_turn(s);
    if (limit < 0) /* a percentage */
        limit = atomic_load(&s->config->maxmemory) / 100 * -limit;
    if (limit > 0)
        atomic_fetch_add(&s->evicted_clients, clients_evict(s->clients, (uint64_t)limit));
}

static void do_shutdown(void *arg, unsigned options)
{
    struct program *p = arg;

    if (atomic_exchange(&p->server.stopping, true))
        return; /* it ends already */
    atomic_store(&p->shutdown_options, options);
    kill(getpid(), SIGTERM);
}

static bool abort_shutdown(void *arg)
{
    struct program *p = arg;
    unsigned waiting = END_WAITS;

    return atomic_compare_exchange_strong(&p->end, &waiting, END_ABORTED);
}

static void let_in(void *arg, struct thread *t)
{
    struct program *p = arg;

    exec_let_in(&p->shared, t);
}

/* Who closes the gate has all workers waiting for it, and is no less than they. */
static const struct {
    unsigned threads;
    int nice;
} lanes[EXEC_LANES] = {
    [EXEC_LANE_HOLDING] = {4, LANE_NICE},
    [EXEC_LANE_WAITING] = {2, LANE_NICE},
    [EXEC_LANE_GATE] = {1, 0},
};

static void exclusive(void *arg, void (*fn)(void *fn_arg), void *fn_arg)
{
    struct program *p = arg;

    gate_close(&p->shared.gate);
    fn(fn_arg);
    gate_open(&p->shared.gate);
}

struct posted {
    void (*fn)(void *fn_arg);
    void *arg;
};

static void run_posted(struct executor *ex, void *arg)
{
    struct posted *posted = arg;

    gate_close(&ex->shared->gate);
    posted->fn(posted->arg);
    gate_open(&ex->shared->gate);
    mem_free(posted);
}

static void post_exclusive(void *arg, void (*fn)(void *fn_arg), void *fn_arg)
{
    struct program *p = arg;
    struct posted *posted = mem_alloc(sizeof *posted);

    *posted = (struct posted){fn, fn_arg};
    lane_post(p->shared.lanes[EXEC_LANE_GATE], run_posted, posted);
}

static void progressed(void *arg)
{
    post_all(arg, MESSAGE_PROGRESS);
}

static void touch(void *arg, uint32_t worker, uint64_t id)
{
    post(arg, worker & 0xff, (struct message){MESSAGE_TOUCH, (int)(worker >> 8), id});
}

static void close_clients(void *arg)
{
    post_all(arg, MESSAGE_CLOSE);
}

static void follow(void *arg)
{
    struct program *p = arg;
    struct link *l =
        atomic_load(&p->link); /* the admin socket may be asked before the link is there, which then looks */

    if (l)
        link_wake(l);
}

static int listen_on(void *arg, struct view name, int fd, char *err, size_t err_size)
{
    struct program *p = arg;

    if (listeners_pass(&p->listeners, name, fd, err, err_size) != 0)
        return -1;
    post_all(p, MESSAGE_LISTEN);
    return 0;
}

static int unlisten(void *arg, struct view name, int *fd)
{
    struct program *p = arg;
    int rc = listeners_withdraw(&p->listeners, name, fd);

    if (rc == 0)
        post_all(p, MESSAGE_LISTEN);
    return rc;
}

static bool cut(void *arg, struct view name)
{
    struct program *p = arg;

    if (!listeners_cut(&p->listeners, name))
        return false;
    post_all(p, MESSAGE_CUT);
    return true;
}

struct listing {
    void (*fn)(void *fn_arg, const struct server_listener *l);
    void *arg;
};

static void show_listener(void *arg, const struct listener *l)
{
    const struct listing *listing = arg;
    struct server_listener shown = {l->name, l->address, atomic_load(&l->accepted)};

    listing->fn(listing->arg, &shown);
}

static void each_listener(void *arg, void (*fn)(void *fn_arg, const struct server_listener *l), void *fn_arg)
{
    struct program *p = arg;
    struct listing listing = {fn, fn_arg};

    listeners_each(&p->listeners, show_listener, &listing);
}

static void restrict_peers(void *arg, const struct config_cidr *blocks, size_t n, size_t replicas, bool named)
{
    struct program *p = arg;

    listeners_restrict(&p->listeners, blocks, n, replicas, named);
    post_all(p, MESSAGE_RECHECK);
}

static const struct server_ops ops = {
    .shutdown = do_shutdown,
    .shutdown_abort = abort_shutdown,
    .unpause = on_gate_opened,
    .let_in = let_in,
    .exclusive = exclusive,
    .post_exclusive = post_exclusive,
    .progressed = progressed,
    .touch = touch,
    .close_clients = close_clients,
    .follow = follow,
    .listen = listen_on,
    .unlisten = unlisten,
    .cut = cut,
    .each_listener = each_listener,
    .restrict_peers = restrict_peers,
};

/* CONFIG SET hooks. */
static int rebind(void *arg, struct config *c, char *err, size_t err_size)
{
    struct program *p = arg;

    if (listeners_open(&p->listeners, c, err, err_size) != 0)
        return -1;
    p->server.port = (unsigned)c->port;
    post_all(p, MESSAGE_LISTEN);
    return 0;
}

static int reallow(void *arg, struct config *c, char *err, size_t err_size)
{
    struct program *p = arg;

    if (listeners_allow(&p->listeners, c, err, err_size) != 0)
        return -1;
    post_all(p, MESSAGE_RECHECK);
    return 0;
}

static int note_passwords(void *arg, struct config *c, char *err, size_t err_size)
{
    struct program *p = arg;

    (void)err;
    (void)err_size;
    listeners_note_passwords(&p->listeners, c);
    return 0;
}

/* Raises the limit on open files to what maxclients needs, as far as the kernel lets it; how many clients it is for. */
static int64_t allowed_clients(const struct config *c)
{
    struct rlimit lim;
    rlim_t want = (rlim_t)c->maxclients + RESERVED_FDS;

    if (getrlimit(RLIMIT_NOFILE, &lim) != 0 || lim.rlim_cur >= want)
        return c->maxclients;
    lim.rlim_cur = lim.rlim_max < want ? lim.rlim_max : want;
    setrlimit(RLIMIT_NOFILE, &lim);
    return lim.rlim_cur >= want              ? (int64_t)c->maxclients
           : lim.rlim_cur > RESERVED_FDS + 1 ? (int64_t)lim.rlim_cur - RESERVED_FDS
                                             : 1;
}

static int check_clients(void *arg, struct config *c, char *err, size_t err_size)
{
    int64_t allowed = allowed_clients(c);

    (void)arg;
    if (allowed >= c->maxclients)
        return 0;
    snprintf(err, err_size, "The operating system is not able to handle the specified number of clients, try with %d",
             (int)allowed);
    return -1;
}

static int change_dir(void *arg, struct config *c, char *err, size_t err_size)
{
    (void)arg;
    if (chdir(c->dir) == 0)
        return 0;
    snprintf(err, err_size, "%s", strerror(errno));
    return -1;
}

static int call_in(void *arg, struct config *c, char *err, size_t err_size)
{
    struct program *p = arg;

    (void)c;
    (void)err;
    (void)err_size;
    evict_call_in(&p->server);
    return 0;
}

static int retain(void *arg, struct config *c, char *err, size_t err_size)
{
    struct program *p = arg;

    (void)err;
    (void)err_size;
    oplog_retain(p->server.log, (uint64_t)c->repl_backlog_size);
    return 0;
}

static int restrict_roles(void *arg, struct config *c, char *err, size_t err_size)
{
    struct program *p = arg;

    (void)c;
    (void)err;
    (void)err_size;
    replication_restrict(p->server.replication);
    return 0;
}

/* Who is to have a write before it is answered can only be told from its place in the log. Gate closed. */
static int begin_log(void *arg, struct config *c, char *err, size_t err_size)
{
    struct server *s = &((struct program *)arg)->server;

    (void)c;
    (void)err;
    (void)err_size;
    if (server_log_needed(s) && !oplog_active(s->log)) {
        oplog_start(s->log);
        replication_new_id(s->replication);
    }
    server_progressed(s);
    return 0;
}

static int configure_saves(void *arg, struct config *c, char *err, size_t err_size)
{
    struct program *p = arg;

    (void)err;
    (void)err_size;
    persist_configure(p->server.persistence, c->save);
    return 0;
}

static int configure_file(void *arg, struct config *c, char *err, size_t err_size)
{
    struct program *p = arg;

    (void)c;
    (void)err;
    (void)err_size;
    aof_configure(p->server.persistence->aof);
    return 0;
}

static int reconfigure(void *arg, struct config *c, char *err, size_t err_size)
{
    int64_t policy = c->maxmemory_policy;

    (void)arg;
    (void)err;
    (void)err_size;
    access_configure(policy == POLICY_ALLKEYS_LFU || policy == POLICY_VOLATILE_LFU, c->lfu_log_factor,
                     c->lfu_decay_time);
    access_tick(clock_wall_ms());
    log_set_level((enum log_level)c->loglevel);
    return 0;
}

static struct thread *thread_new(struct program *p)
{
    struct server *s = &p->server;
    struct thread *t = mem_zalloc(sizeof *t);

    t->index = s->thread_count++;
    t->heap = heap_new(p->heap);
    random_seed(&t->random);
    keyspace_attach(s->keyspace, t);
    s->threads[t->index] = t;
    s->command_tallies[t->index] = mem_zalloc(command_count * sizeof(struct command_tally));
    return t;
}

/* maxclients within what the kernel allows. */
static void limit_clients(struct config *c)
{
    int64_t allowed = allowed_clients(c);

    if (allowed >= c->maxclients)
        return;
    c->maxclients = allowed;
    log_warning("maxclients reduced to %lld by the limit on open files", (long long)allowed);
}

static void build(struct program *p, struct config *c)
{
    struct server *s = &p->server;
    struct executor *executors[LANE_THREADS_MAX];

    s->config = c;
    s->ops = &ops;
    s->ops_arg = p;
    random_hex(s->run_id, sizeof s->run_id - 1);
    s->replication = mem_zalloc(sizeof *s->replication);
    replication_init(s->replication, s);
    s->start_wall_ms = clock_wall_ms();
    s->start_mono_us = clock_mono_us();
    s->last_save_wall_s = s->start_wall_ms / 1000;
    s->port = (unsigned)c->port;
    s->active_expire = true;
    p->heap = heap_shared_new();
    s->log = oplog_new();
    oplog_retain(s->log, (uint64_t)c->repl_backlog_size);
    s->keyspace = keyspace_new((unsigned)c->databases);
    s->persistence = persist_new(s);
    s->persistence->aof = aof_new(s, s->persistence);
    persist_configure(s->persistence, c->save);
    s->keyspace->wake = on_partition_free;
    s->keyspace->wake_arg = p;
    s->keyspace->removed = on_removed;
    s->keyspace->removed_arg = p;
    s->clients = clients_new(on_kill, p);
    p->shared.server = s;
    p->shared.lane_done = on_lane_done;
    p->shared.arg = p;
    park_init(&p->shared.park, on_wake, p);
    gate_init(&p->shared.gate, &s->keyspace->exclusive, on_gate_opened, p);
    p->worker_count = s->worker_count = c->threads > 0 ? (unsigned)c->threads : process_processors();
    p->workers = mem_zalloc(p->worker_count * sizeof *p->workers);
    p->peers = mem_alloc(p->worker_count * sizeof *p->peers);
    for (unsigned i = 0; i < p->worker_count; i++) {
        struct worker *w = &p->workers[i];
        struct thread *t = thread_new(p);
        p->peers[i] = w;
        w->peers = p->peers;
        w->peer_count = p->worker_count;
        w->tally = s->worker_tallies[t->index] = mem_zalloc(sizeof *w->tally);
        worker_init(w, &p->shared, t, i, &p->listeners);
    }
    server_stats_init(s, command_count);
    for (unsigned k = 0; k < EXEC_LANES; k++) {
        for (unsigned i = 0; i < lanes[k].threads; i++) {
            p->lane_executors[k][i] = (struct executor){.shared = &p->shared, .thread = thread_new(p), .is_lane = true};
            executors[i] = &p->lane_executors[k][i];
        }
        p->shared.lanes[k] = lane_start(lanes[k].threads, lanes[k].nice, executors, reclaim_idle);
    }
    mem_on_deferred(on_deferred, p);
    config_on_change(c, "bind", rebind, p);
    config_on_change(c, "port", rebind, p);
    config_on_change(c, "allow-from", reallow, p);
    config_on_change(c, "requirepass", note_passwords, p);
    config_on_change(c, "replication-secret", note_passwords, p);
    config_on_change(c, "maxclients", check_clients, p);
    config_on_change(c, "dir", change_dir, p);
    config_on_change(c, "maxmemory", call_in, p);
    config_on_change(c, "repl-backlog-size", retain, p);
    config_on_change(c, "replica-read-only", restrict_roles, p);
    config_on_change(c, "replica-serve-stale-data", restrict_roles, p);
    config_on_change(c, "min-replicas-to-write", restrict_roles, p);
    config_on_change(c, "min-replicas-max-lag", restrict_roles, p);
    config_on_change(c, "maxmemory-policy", reconfigure, p);
    config_on_change(c, "lfu-log-factor", reconfigure, p);
    config_on_change(c, "lfu-decay-time", reconfigure, p);
    config_on_change(c, "loglevel", reconfigure, p);
    config_on_change(c, "appendonly", configure_file, p);
    config_on_change(c, "durability", begin_log, p);
    config_on_change(c, "save", configure_saves, p);
    config_on_change(c, "stop-writes-on-bgsave-error", configure_saves, p);
    config_on_change(c, "appendfsync", configure_file, p);
}

static int fail(const char *text)
{
    fprintf(stderr, "%s\n", text);
    log_warning("%s", text);
    return 1;
}

static void usage(FILE *to)
{
    fputs("Usage: larder-server [FILE | -] [--DIRECTIVE VALUE ...]\n"
          "       larder-server -v | --version\n"
          "       larder-server -h | --help\n\n"
          "FILE is in redis.conf syntax; - reads it from standard input. Besides Redis's directives:\n"
          "  --threads N            worker threads; 0 takes the processors that the process may use\n"
          "  --allow-from CIDR ...  who may connect; nothing means everybody\n"
          "  --admin-socket PATH    a unix socket that no limit or password applies to\n"
          "  --login-timeout N      seconds that a connection has to log in when it must; 0 for ever\n"
          "docs/configuration.md has every directive.\n",
          to);
}

static int read_config(struct config *c, int argc, char **argv, char *err, size_t err_size)
{
    int first = 1;

    if (argc > 1 && (strcmp(argv[1], "-") == 0 || argv[1][0] != '-')) {
        if (config_load_file(c, argv[1], err, err_size) != 0)
            return -1;
        first = 2;
    }
    if (config_load_args(c, argc, argv, first, err, err_size) != 0)
        return -1;
    return config_finish(c, err, err_size);
}

/* The data is there, or cannot be had. */
static void on_loaded(void *arg, bool ok)
{
    struct program *p = arg;

    if (ok) {
        log_notice("Ready to accept connections");
        process_notify(p->server.config, "READY=1\n");
        return;
    }
    atomic_store(&p->load_failed, true);
    kill(getpid(), SIGTERM);
}

/* What a signal asks for: the words of shutdown-on-sigterm and -sigint. */
static unsigned signal_options(const struct config *c, int sig)
{
    static const struct {
        const char *word;
        enum shutdown_option option;
    } words[] = {
        {"nosave", SHUTDOWN_NOSAVE}, {"now", SHUTDOWN_NOW}, {"force", SHUTDOWN_FORCE}, {"save", SHUTDOWN_SAVE}};
    unsigned options = 0;
    const char *text;

    config_read_lock(c);
    text = sig == SIGTERM ? c->shutdown_on_sigterm : c->shutdown_on_sigint;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strstr(text, words[i].word))
            options |= words[i].option;
    config_read_unlock(c);
    return options & SHUTDOWN_NOSAVE ? options & ~(unsigned)SHUTDOWN_SAVE : options;
}

/* Gate closed. */
static void hold_commands(void *arg)
{
    struct server *s = arg;

    atomic_store(&s->pause_all, true);
    atomic_store(&s->pause_until_ms, INT64_MAX / 2);
}

/* Gate closed. */
static void let_commands(void *arg)
{
    struct server *s = arg;

    atomic_store(&s->pause_until_ms, 0);
}

static void count_behind(void *arg, struct replica *r)
{
    unsigned *behind = arg;

    *behind += atomic_load(&r->state) == REPLICA_ONLINE && atomic_load(&r->acked) < oplog_head(r->server->log);
}

/* Waits until the replicas have everything, up to shutdown-timeout. False when the end was given up. */
static bool wait_for_replicas(struct program *p)
{
    struct server *s = &p->server;
    int64_t end = clock_mono_us() + 1000000 * atomic_load(&s->config->shutdown_timeout), ask = 0;
    unsigned behind = 1;

    while (behind > 0 && clock_mono_us() < end && atomic_load(&p->end) == END_WAITS) {
        behind = 0;
        replication_each(s->replication, count_behind, &behind);
        if (behind > 0 && clock_mono_us() >= ask) { /* asking moves the end of the log: not too often */
            ask = clock_mono_us() + ASK_EVERY_US;
            atomic_store(&s->replication->want_acks, true);
            post_all(p, MESSAGE_PROGRESS);
        }
        if (behind > 0)
            clock_sleep_us(LOAD_LOOK_US);
    }
    if (behind > 0 && atomic_load(&p->end) == END_WAITS)
        log_warning("%u replica(s) do not have everything", behind);
    return atomic_load(&p->end) == END_WAITS;
}

/* Saves if that is asked for, or configured. */
static bool save_at_end(struct program *p, unsigned options)
{
    struct persistence *saver = p->server.persistence;
    bool wanted = (options & SHUTDOWN_SAVE) || (!(options & SHUTDOWN_NOSAVE) && persist_has_points(saver));

    if (!wanted || atomic_load(&p->server.restrictions) & RESTRICT_LOADING || persist_last_save(saver) == 0)
        return true;
    if (options & SHUTDOWN_FORCE) {
        log_warning("The data could not be saved; ending all the same");
        return true;
    }
    log_warning("Error trying to save the DB, can't exit.");
    return false;
}

/* Brings things to a state that can be left. False when that cannot be had, and the server goes on. */
static bool prepare_end(struct program *p, int sig)
{
    struct server *s = &p->server;
    bool asked = atomic_exchange(&s->stopping, true), ready;
    unsigned options = asked ? atomic_load(&p->shutdown_options) : signal_options(s->config, sig), waits = END_WAITS;

    log_warning("%s, shutting down", atomic_load(&p->load_failed) ? "The data could not be loaded"
                                     : asked                      ? "User requested shutdown"
                                     : sig == SIGTERM             ? "Received SIGTERM"
                                                                  : "Received SIGINT");
    if (atomic_load(&p->load_failed))
        return true;
    atomic_store(&p->end, END_WAITS);
    exclusive(p, hold_commands, s);
    ready = (options & SHUTDOWN_NOW) || wait_for_replicas(p);
    if (ready)
        ready = atomic_compare_exchange_strong(&p->end, &waits, END_SAVES) && save_at_end(p, options);
    if (ready)
        return true;
    exclusive(p, let_commands, s);
    atomic_store(&p->end, END_NONE);
    atomic_store(&s->stopping, false);
    atomic_fetch_add(&s->shutdowns_failed, 1);
    post_all(p, MESSAGE_PROGRESS);
    return false;
}

/* Runs until a signal asks it to stop. */
static void serve(struct program *p)
{
    struct config *c = p->server.config;
    sigset_t wanted;
    int sig;

    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    log_notice("Server initialized");
    atomic_store(&p->link, link_start(&p->shared, p->link_thread, on_loaded, p));
    for (unsigned i = 0; i < LOAD_LOOKS && atomic_load(&p->server.restrictions) & RESTRICT_LOADING; i++)
        clock_sleep_us(LOAD_LOOK_US); /* what is loaded in a moment, nobody has to be told of */
    for (unsigned i = 0; i < p->worker_count; i++)
        pthread_create(&p->workers[i].thread, NULL, worker_run, &p->workers[i]);
    do
        while (sigwait(&wanted, &sig) != 0)
            ;
    while (!prepare_end(p, sig));
    process_notify(c, "STOPPING=1\n");
}

/* Frees what build made; the threads are gone. A release build leaves it to the kernel, which is quicker with many
 * keys; the others do it so that leaks show. */
static void dismantle(struct program *p)
{
    struct server *s = &p->server;

    if (!TIDY_EXIT)
        return;
    for (unsigned i = 0; i < p->worker_count; i++)
        worker_free(&p->workers[i]);
    keyspace_free(s->keyspace, s->threads[0]);
    server_stats_free(s);
    aof_free(s->persistence->aof);
    persist_free(s->persistence);
    replication_free(s->replication);
    mem_free(s->replication);
    clients_free(s->clients);
    for (unsigned i = 0; i < EXEC_LANES * LANE_THREADS_MAX; i++) {
        struct executor *ex = &p->lane_executors[i / LANE_THREADS_MAX][i % LANE_THREADS_MAX];
        arena_free(&ex->arena);
        buf_free(&ex->effects.bytes);
    }
    for (unsigned i = 0; i < s->thread_count; i++) {
        mem_free(s->worker_tallies[i]);
        mem_free(s->command_tallies[i]);
        mem_free(s->threads[i]->db);
        mem_free(s->threads[i]);
    }
    heap_shared_free(p->heap);
    oplog_free(s->log);
    mem_free(p->workers);
    mem_free(p->peers);
}

static void stop_lanes(struct program *p)
{
    mem_on_deferred(NULL, NULL);
    for (unsigned k = 0; k < EXEC_LANES; k++)
        lane_stop(p->shared.lanes[k]);
}

/* Ends the threads, those first that give the others work. */
static void stop(struct program *p)
{
    post_all(p, MESSAGE_STOP);
    for (unsigned i = 0; i < p->worker_count; i++)
        pthread_join(p->workers[i].thread, NULL);
    atomic_store(&p->server.ended, true);
    admin_stop(p->admin);
    link_stop(p->link);
    persist_stop(p->server.persistence);
    stop_lanes(p);
    aof_stop(p->server.persistence->aof);
}

/* What is to be known before the first client comes: that the data is being loaded, and whether there is a primary. */
static void begin_role(struct program *p)
{
    struct server *s = &p->server;
    struct replication *r = s->replication;
    char host[256];
    int port;

    if (atomic_load(&s->config->durability) != DURABILITY_ASYNC)
        oplog_start(s->log);
    if (sscanf(s->config->replicaof, "%255s %d", host, &port) == 2)
        replication_follow(r, view_str(host), port);
    replication_restrict(r);
}

static int start(struct program *p, struct config *c)
{
    char err[1024] = "";
    sigset_t blocked;
    struct thread *prompt = NULL, *patient = NULL;
    int rc = 0;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    clock_calibrate();
    reconfigure(NULL, c, err, sizeof err);
    listeners_init(&p->listeners);
    listeners_note_passwords(&p->listeners, c);
    if (listeners_allow(&p->listeners, c, err, sizeof err) != 0 ||
        listeners_open(&p->listeners, c, err, sizeof err) != 0)
        return fail(err);
    build(p, c);
    atomic_store(&p->server.loading.began_s, clock_wall_ms() / 1000);
    server_restrict(&p->server, RESTRICT_LOADING, true);
    server_restrict(&p->server, RESTRICT_NO_GRANT, atomic_load(&c->grant_required) != 0);
    /* every thread is counted before the first of them looks at the others */
    p->link_thread = thread_new(p);
    if (c->admin_socket[0]) {
        prompt = thread_new(p);
        patient = thread_new(p);
    }
    oplog_limit_threads(p->server.log, p->server.thread_count);
    if (prompt && !(p->admin = admin_start(c->admin_socket, &p->shared, prompt, patient, err, sizeof err))) {
        stop_lanes(p);
        rc = fail(err);
        goto done;
    }
    if (c->pidfile[0] || c->daemonize)
        process_write_pid(c->pidfile[0] ? c->pidfile : "/var/run/redis.pid");
    begin_role(p);
    p->server.memory_startup = server_stats_memory(&p->server);
    persist_start(p->server.persistence);
    aof_start(p->server.persistence->aof);
    serve(p);
    stop(p);
    if (c->pidfile[0])
        unlink(c->pidfile);
    if (atomic_load(&p->load_failed))
        rc = 1;
    log_warning("Larder is now ready to exit, bye bye...");
done:
    dismantle(p);
    listeners_close(&p->listeners, c);
    return rc;
}

static int take_lock(struct program *p, const char *path)
{
    char text[512];
    pid_t holder;
    int rc = node_lock_take(path, &p->lock, &holder);

    if (rc == 0)
        return 0;
    if (rc == -EBUSY)
        snprintf(text, sizeof text, "The node lock %s is held by process %d", path, (int)holder);
    else
        snprintf(text, sizeof text, "Can't take the node lock %s: %s", path, strerror(-rc));
    return fail(text);
}

/* Prepares the process as the configuration says: directory, log, daemon, limits. */
static int settle(struct program *p, struct config *c)
{
    p->server.executable = realpath("/proc/self/exe", NULL);
    p->server.config_file = mem_strndup(config_path(c), strlen(config_path(c)));
    if (chdir(c->dir) != 0)
        return fail("Can't chdir to the directory of `dir`");
    if (log_open(c->logfile) != 0)
        return fail("Can't open the log file");
    if (c->daemonize && process_daemonize() != 0)
        return fail("Can't fork to become a daemon");
    if (c->node_lock[0] && take_lock(p, c->node_lock) != 0) /* behind the fork, which leaves locks to the parent */
        return 1;
    if (c->syslog_enabled)
        log_set_syslog(c->syslog_ident, (int)c->syslog_facility);
    allocator_start();
    limit_clients(c);
    log_notice("Larder %s, PID: %d", SERVER_VERSION, (int)getpid());
    config_log_ignored(c);
    return 0;
}

int main(int argc, char **argv)
{
    static struct program program;
    struct config *c;
    char err[4096];
    int rc = 1;

    if (argc == 2 && (strcmp(argv[1], "-v") == 0 || strcmp(argv[1], "--version") == 0)) {
        printf("Larder server v=%s\n", SERVER_VERSION);
        return 0;
    }
    if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)) {
        usage(stdout);
        return 0;
    }
    c = config_new();
    if (read_config(c, argc, argv, err, sizeof err) != 0)
        fprintf(stderr, "%s\n", err);
    else if ((rc = settle(&program, c)) == 0)
        rc = start(&program, c);
    free(program.server.executable);
    mem_free(program.server.config_file);
    config_free(c);
    return rc;
}
