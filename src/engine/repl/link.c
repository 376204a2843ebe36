/* The link to a primary: see link.h. The handshake is Redis's, so that either side may be a redis-server. */
#include "engine/repl/link.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "engine/log/effects.h"
#include "engine/log/oplog.h"
#include "engine/persist/persist.h"
#include "engine/persist/rdb_read.h"
#include "engine/repl/failover.h"
#include "engine/repl/load.h"
#include "engine/repl/peer.h"
#include "engine/repl/replay.h"
#include "engine/server/config.h"
#include "engine/server/replication.h"
#include "engine/server/server.h"
#include "engine/store/keyspace.h"
#include "engine/store/stage.h"

#define AGAIN_MS 20                        /* before the first try after a connection that worked */
#define RETRY_MS 1000                      /* between two tries to connect */
#define ACK_MS 1000                        /* between two acknowledgements that nobody asked for */
#define FIRST_ACK_MS 100                   /* a redis-server overlooks one that comes too soon after a snapshot */
#define RUN_US 20000                       /* of replaying, before the socket is looked at again */
#define READ_MAX 262144                    /* bytes of the stream that are read in one go */
#define KEYS_PLAUSIBLE (UINT64_C(1) << 32) /* a hint beyond that is none */
#define READER_WAIT_US 500                 /* between two looks at whether our own replicas are gone */

struct link {
    struct exec_shared *shared;
    struct server *server;
    struct executor ex;
    struct replay replay;
    struct peer peer;
    pthread_t thread;
    void (*loaded)(void *arg, bool ok);
    void *arg;
    atomic_bool stopping;
    uint64_t epoch; /* of the primary that is followed */
    int64_t acked_ms;
    bool full; /* the last synchronisation was one, and nothing came since */
};

static int64_t setting(const config_number *n)
{
    return atomic_load_explicit((config_number *)n, memory_order_relaxed);
}

static int64_t mono_ms(void)
{
    return clock_mono_us() / 1000;
}

/* Is the primary that the thread follows still the one to follow? */
static bool is_current(struct link *l)
{
    struct replication *r = l->server->replication;
    bool current;

    pthread_mutex_lock(&r->lock);
    current = r->primary_epoch == l->epoch && atomic_load(&l->server->is_replica);
    pthread_mutex_unlock(&r->lock);
    return current && !atomic_load(&l->stopping);
}

/* ---- acknowledging ---- */

static void acknowledge(void *arg)
{
    struct link *l = arg;
    char offset[NUM_INT_MAX], file[NUM_INT_MAX];
    struct view words[] = {VIEW("REPLCONF"), VIEW("ACK"), {offset, 0}, VIEW("FACK"), {file, 0}};
    bool has_file = setting(&l->server->config->appendonly) != 0;

    words[2].n = num_format_uint(offset, oplog_head(l->server->log));
    words[4].n = num_format_uint(file, atomic_load(&l->server->synced));
    peer_send_words(&l->peer, words, has_file ? 5 : 3);
    l->acked_ms = mono_ms();
}

/* ---- the handshake ---- */

/* Sends words and reads the line that answers; -1 when the connection broke, or when it is an error that `allowed` is not the
 * beginning of. */
static int ask(struct link *l, const struct view *words, size_t n, const char *allowed, const char *what)
{
    char line[PEER_LINE_MAX];

    if (peer_send_words(&l->peer, words, n) != 0 || peer_line(&l->peer, line, sizeof line) != 0) {
        log_warning("Handshake with the primary: %s: %s", what, peer_error(&l->peer));
        return -1;
    }
    if (line[0] != '-' || (allowed && strncmp(line, allowed, strlen(allowed)) == 0))
        return 0;
    log_warning("Handshake with the primary: %s: %s", what, line);
    return -1;
}

static int authenticate(struct link *l)
{
    const struct config *c = l->server->config;
    char user[512], password[512];
    struct view words[3] = {VIEW("AUTH")};
    size_t n = 1;

    config_read_lock(c);
    snprintf(user, sizeof user, "%s", c->masteruser);
    snprintf(password, sizeof password, "%s", c->masterauth);
    config_read_unlock(c);
    if (!password[0])
        return 0;
    if (user[0])
        words[n++] = view_str(user);
    words[n++] = view_str(password);
    return ask(l, words, n, NULL, "AUTH");
}

static int introduce(struct link *l)
{
    const struct config *c = l->server->config;
    char port[NUM_INT_MAX], address[256];
    int64_t announced = setting(&c->replica_announce_port);
    struct view listening[] = {VIEW("REPLCONF"), VIEW("listening-port"), {port, 0}};
    struct view ip[] = {VIEW("REPLCONF"), VIEW("ip-address"), {address, 0}};
    struct view capa[] = {VIEW("REPLCONF"), VIEW("capa"), VIEW("eof"), VIEW("capa"), VIEW("psync2")};

    config_read_lock(c);
    snprintf(address, sizeof address, "%s", c->replica_announce_ip);
    config_read_unlock(c);
    listening[2].n = num_format_int(port, announced ? announced : (int64_t)l->server->port);
    ip[2].n = strlen(address);
    if (ask(l, listening, 3, "-", "REPLCONF listening-port") != 0)
        return -1;
    if (ip[2].n > 0 && ask(l, ip, 3, "-", "REPLCONF ip-address") != 0)
        return -1;
    return ask(l, capa, 5, "-", "REPLCONF capa");
}

enum answer { ANSWER_FULL, ANSWER_CONTINUE, ANSWER_LATER, ANSWER_BROKEN };

/* Reads "FULLRESYNC id offset" or "CONTINUE [id]". */
static enum answer read_answer(struct link *l, const char *line, char id[REPLICATION_ID + 1], uint64_t *offset)
{
    unsigned handing_over = FAILOVER_IN_PROGRESS;
    unsigned long long at;

    id[0] = '\0';
    if (sscanf(line, "+FULLRESYNC %40s %llu", id, &at) == 2 && strlen(id) == REPLICATION_ID) {
        *offset = at;
        return ANSWER_FULL;
    }
    if (strncmp(line, "+CONTINUE", strlen("+CONTINUE")) == 0) {
        if (sscanf(line, "+CONTINUE %40s", id) == 1 && strlen(id) != REPLICATION_ID)
            return ANSWER_BROKEN;
        return ANSWER_CONTINUE;
    }
    log_warning("The primary answers PSYNC with: %s", line);
    atomic_compare_exchange_strong(&l->server->replication->failover, &handing_over, FAILOVER_ABORTING);
    return strncmp(line, "-NOMASTERLINK", strlen("-NOMASTERLINK")) == 0 || strncmp(line, "-LOADING", 8) == 0
               ? ANSWER_LATER
               : ANSWER_BROKEN;
}

/* Asks for the stream from where we are, or for everything. */
static enum answer psync(struct link *l, char id[REPLICATION_ID + 1], uint64_t *offset)
{
    struct replication *r = l->server->replication;
    char own_id[REPLICATION_ID + 1] = "?", own_offset[NUM_INT_MAX] = "-1", line[PEER_LINE_MAX];
    struct view words[] = {VIEW("PSYNC"), {own_id, 1}, {own_offset, 2}, VIEW("FAILOVER")};
    bool failover = atomic_load(&r->failover) == FAILOVER_IN_PROGRESS;

    pthread_mutex_lock(&r->lock);
    if (r->resumable) {
        memcpy(own_id, r->id, sizeof own_id);
        words[1].n = REPLICATION_ID;
        words[2].n = num_format_uint(own_offset, oplog_head(l->server->log) + 1);
    }
    pthread_mutex_unlock(&r->lock);
    if (peer_send_words(&l->peer, words, failover ? 4 : 3) != 0)
        return ANSWER_BROKEN;
    do { /* empty lines say that it is still there */
        if (peer_line(&l->peer, line, sizeof line) != 0) {
            log_warning("PSYNC: %s", peer_error(&l->peer));
            return ANSWER_BROKEN;
        }
    } while (line[0] == '\0');
    return read_answer(l, line, id, offset);
}

/* ---- full synchronisation ---- */

struct transfer {
    struct link *l;
    struct stage *stage;
    uint64_t left; /* bytes of the snapshot, when its length is known */
    bool by_mark;  /* else it is */
    char mark[REPLICATION_ID];
    uint32_t db;
    uint64_t stream_db;
    uint64_t function_count;
};

static ssize_t transfer_read(void *arg, void *p, size_t n)
{
    struct transfer *t = arg;
    ssize_t got;

    if (!t->by_mark && n > t->left)
        n = t->left;
    if (n == 0)
        return 0;
    if (!is_current(t->l)) {
        errno = ECANCELED;
        return -1;
    }
    got = peer_read(&t->l->peer, p, n);
    if (got > 0) {
        t->left -= t->by_mark ? 0 : (uint64_t)got;
        atomic_fetch_add(&t->l->server->replication->sync_done, got);
        atomic_store(&t->l->server->replication->heard_ms, mono_ms());
        tally_add(&t->l->ex.thread->net_in, got);
        tally_add(&t->l->ex.thread->replication_in, got);
    }
    return got;
}

static bool transfer_aux(void *arg, struct view name, struct view value)
{
    struct transfer *t = arg;
    int64_t db;

    if (view_equal(name, VIEW("repl-stream-db")) && num_parse_int(value, &db) && db >= 0 &&
        db < (int64_t)keyspace_databases(t->l->server->keyspace))
        t->stream_db = (uint64_t)db;
    return true;
}

static bool transfer_select(void *arg, uint64_t db)
{
    struct transfer *t = arg;

    t->db = (uint32_t)db;
    return db < keyspace_databases(t->l->server->keyspace);
}

static bool transfer_item(void *arg, struct item *it)
{
    struct transfer *t = arg;

    stage_add(t->stage, t->db, it);
    return true;
}

static bool transfer_resize(void *arg, uint64_t keys, uint64_t expires)
{
    struct transfer *t = arg;

    (void)expires;
    stage_expect(t->stage, t->db, keys < KEYS_PLAUSIBLE ? keys : 0);
    return true;
}

static bool transfer_function(void *arg, struct view source)
{
    struct transfer *t = arg;

    (void)source;
    t->function_count++;
    return true;
}

/* "$EOF:<mark>" or "$<length>". */
static int read_size(struct transfer *t)
{
    struct link *l = t->l;
    char line[PEER_LINE_MAX];
    int64_t size;

    do
        if (peer_line(&l->peer, line, sizeof line) != 0) {
            log_warning("Full synchronisation: %s", peer_error(&l->peer));
            return -1;
        }
    while (line[0] == '\0');
    if (strncmp(line, "$EOF:", 5) == 0 && strlen(line) == 5 + REPLICATION_ID) {
        t->by_mark = true;
        memcpy(t->mark, line + 5, REPLICATION_ID);
        atomic_store(&l->server->replication->sync_total, -1);
        return 0;
    }
    if (line[0] == '$' && num_parse_int(view_str(line + 1), &size) && size > 0) {
        t->left = (uint64_t)size;
        atomic_store(&l->server->replication->sync_total, size);
        return 0;
    }
    log_warning("Full synchronisation: the primary sends '%s' where a snapshot should begin", line);
    return -1;
}

/* The mark behind a snapshot of unknown length. `rest` was read ahead; what is behind the mark stays with the peer. */
static int read_mark(struct transfer *t, struct view rest)
{
    char mark[REPLICATION_ID];

    peer_unread(&t->l->peer, rest);
    if (peer_read_all(&t->l->peer, mark, sizeof mark) != 0 || memcmp(mark, t->mark, sizeof mark) != 0) {
        log_warning("Full synchronisation: the snapshot does not end with its mark");
        return -1;
    }
    return 0;
}

/* Receives the snapshot into the stage. */
static int receive(struct transfer *t)
{
    struct link *l = t->l;
    const struct config *c = l->server->config;
    struct rdb_source source = {transfer_read, t};
    struct rdb_visitor visitor = {t, transfer_aux, transfer_select, transfer_resize, transfer_item, transfer_function};
    struct rdb_limits limits = {.max_string = setting(&c->proto_max_bulk_len) > RDB_STRING_MAX
                                                  ? setting(&c->proto_max_bulk_len)
                                                  : RDB_STRING_MAX,
                                .check_checksum = true,
                                .drop_expired_before_ms = -1,
                                .now_ms = clock_wall_ms()};
    struct rdb_reader *reader;
    struct rdb_error error;
    enum rdb_result rc;

    if (read_size(t) != 0)
        return -1;
    reader = rdb_reader_new(&source, l->ex.thread, &limits);
    rc = rdb_read(reader, &visitor, &error);
    if (rc != RDB_OK)
        log_warning("Full synchronisation: %s, at byte %llu of the snapshot", error.text,
                    (unsigned long long)error.offset);
    else if (t->by_mark)
        rc = read_mark(t, rdb_reader_rest(reader)) == 0 ? RDB_OK : RDB_DAMAGED;
    else if (t->left > 0 || rdb_reader_rest(reader).n > 0)
        log_warning("Full synchronisation: %llu bytes behind the snapshot are ignored", (unsigned long long)t->left);
    while (rc == RDB_OK && !t->by_mark && t->left > 0) {
        char junk[4096];
        if (transfer_read(t, junk, sizeof junk) <= 0)
            rc = RDB_IO;
    }
    rdb_reader_free(reader);
    if (rc == RDB_OK && stage_finish(t->stage) > 0) {
        log_warning("Full synchronisation: keys of the snapshot are there twice");
        return -1;
    }
    return rc == RDB_OK ? 0 : -1;
}

struct swap {
    struct link *l;
    struct transfer *t;
    const char *id;
    uint64_t offset;
    bool done;
};

/* Gate closed. */
static void swap_in(void *arg)
{
    struct swap *swap = arg;
    struct server *s = swap->l->server;

    if (s->keyspace->saving || oplog_read_by_anyone(s->log))
        return; /* a moment later */
    stage_commit(swap->t->stage);
    oplog_start(s->log);
    oplog_restart(s->log, swap->offset);
    replication_adopt_id(s->replication, swap->id);
    pthread_mutex_lock(&s->replication->lock);
    s->replication->resumable = true;
    pthread_mutex_unlock(&s->replication->lock);
    swap->done = true;
}

/* Has those that read the log let go of it: our own replicas, and the append-only file. */
static void clear_readers(struct link *l)
{
    persist_leave_log(l->server->persistence);
    replication_drop_replicas(l->server->replication);
    while (oplog_read_by_anyone(l->server->log) && is_current(l))
        clock_sleep_us(READER_WAIT_US);
}

static int full_sync(struct link *l, const char *id, uint64_t offset)
{
    struct replication *r = l->server->replication;
    struct transfer t = {.l = l};
    struct swap swap = {.l = l, .t = &t, .id = id, .offset = offset};
    int64_t began = mono_ms();
    bool left = false;
    int rc;

    log_notice("Full synchronisation from the primary: %s:%llu", id, (unsigned long long)offset);
    atomic_store(&r->sync_done, 0);
    atomic_store(&r->link, LINK_TRANSFER);
    t.stage = stage_new(l->server->keyspace, l->ex.thread);
    rc = receive(&t);
    while (rc == 0 && !swap.done) {
        persist_cancel(l->server->persistence);
        clear_readers(l);
        left = true;
        if (!is_current(l))
            rc = -1;
        else
            l->server->ops->exclusive(l->server->ops_arg, swap_in, &swap);
    }
    stage_free(t.stage);
    if (left)
        persist_rejoin_log(l->server->persistence);
    if (rc != 0)
        return -1;
    if (t.function_count > 0)
        log_warning("The snapshot has %llu libraries of functions, which are ignored",
                    (unsigned long long)t.function_count);
    replay_reset(&l->replay, (uint32_t)t.stream_db);
    log_notice("Full synchronisation is complete: %lld bytes in %lld ms", (long long)atomic_load(&r->sync_done),
               (long long)(mono_ms() - began));
    return 0;
}

/* ---- following ---- */

/* The stream goes on where we were; the history may have got another name. */
static void continue_sync(struct link *l, const char *id)
{
    struct replication *r = l->server->replication;

    pthread_mutex_lock(&r->lock);
    if (id[0] && memcmp(id, r->id, REPLICATION_ID) != 0) {
        memcpy(r->id2, r->id, sizeof r->id2);
        r->id2_end = oplog_head(l->server->log);
        memcpy(r->id, id, sizeof r->id);
        pthread_mutex_unlock(&r->lock);
        replication_drop_replicas(r); /* they learn the new name by connecting again */
    } else {
        pthread_mutex_unlock(&r->lock);
    }
    replay_reset(&l->replay, replay_db(&l->replay));
    log_notice("Partial synchronisation from the primary, from byte %llu on",
               (unsigned long long)oplog_head(l->server->log));
}

/* Reads and replays until the link breaks, or another primary is to be followed. */
static void follow_stream(struct link *l)
{
    struct replication *r = l->server->replication;
    int more = 0;

    while (is_current(l)) {
        int64_t now = mono_ms(), timeout = 1000 * setting(&l->server->config->repl_timeout);
        bool enough = more && buf_live(&l->replay.in) >= READ_MAX; /* the rest waits where it is */
        int got = enough ? 0 : peer_receive(&l->peer, &l->replay.in, READ_MAX, more ? 0 : FIRST_ACK_MS);
        if (got < 0) {
            log_warning("Connection with the primary lost: %s", peer_error(&l->peer));
            return;
        }
        if (enough) {
            atomic_store(&r->heard_ms, now);
        } else if (got > 0) {
            atomic_store(&r->heard_ms, now);
            tally_add(&l->ex.thread->net_in, got);
            tally_add(&l->ex.thread->replication_in, got);
        } else if (now - atomic_load(&r->heard_ms) > timeout) {
            log_warning("Primary timed out: nothing came for %lld s", (long long)(timeout / 1000));
            return;
        }
        more = replay_run(&l->replay, RUN_US);
        if (more < 0)
            return;
        if (got > 0)
            l->full = false;
        if (mono_ms() - l->acked_ms >= (l->full ? FIRST_ACK_MS : ACK_MS))
            acknowledge(l);
    }
}

/* One connection, from beginning to end. Returns whether it worked at all. */
static bool follow(struct link *l, const char *host, int64_t port)
{
    static const struct view ping[] = {VIEW("PING")};
    struct replication *r = l->server->replication;
    char id[REPLICATION_ID + 1];
    uint64_t offset = 0;
    enum answer answer;

    atomic_store(&r->link, LINK_CONNECTING);
    if (peer_connect(&l->peer, host, port, setting(&l->server->config->repl_timeout) * 1000) != 0) {
        log_warning("Cannot connect to the primary %s:%lld: %s", host, (long long)port, peer_error(&l->peer));
        return false;
    }
    atomic_store(&r->link, LINK_HANDSHAKE);
    if (ask(l, ping, 1, "-NOAUTH", "PING") != 0 || authenticate(l) != 0 || introduce(l) != 0)
        return false;
    answer = psync(l, id, &offset);
    if (answer == ANSWER_FULL) {
        if (full_sync(l, id, offset) != 0)
            return false;
        l->full = true;
    } else if (answer == ANSWER_CONTINUE) {
        continue_sync(l, id);
    } else {
        return false;
    }
    atomic_store(&r->link, LINK_CONNECTED);
    atomic_store(&r->link_down_ms, 0);
    atomic_store(&r->heard_ms, mono_ms());
    replication_restrict(r);
    failover_done(r);
    acknowledge(l);
    follow_stream(l);
    return true;
}

static void link_down(struct link *l)
{
    struct replication *r = l->server->replication;

    peer_close(&l->peer);
    if (!atomic_load(&l->server->is_replica))
        return;
    atomic_store(&r->link, LINK_CONNECT);
    if (atomic_load(&r->link_down_ms) == 0)
        atomic_store(&r->link_down_ms, mono_ms());
    replication_restrict(r);
}

/* Copies whom to follow; false when nobody. */
static bool primary(struct link *l, char *host, size_t size, int64_t *port)
{
    struct replication *r = l->server->replication;
    bool is;

    pthread_mutex_lock(&r->lock);
    is = atomic_load(&l->server->is_replica) && r->host[0] != '\0';
    snprintf(host, size, "%s", r->host);
    *port = r->port;
    l->epoch = r->primary_epoch;
    pthread_mutex_unlock(&r->lock);
    return is;
}

static void *run(void *arg)
{
    struct link *l = arg;
    struct load_result loaded;
    char host[512];
    int64_t port;
    bool ok;

    pthread_setname_np(pthread_self(), "link");
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    ok = load_data(&l->ex, &loaded);
    if (ok)
        replay_reset(&l->replay, loaded.stream_db);
    l->loaded(l->arg, ok);
    while (ok && !atomic_load(&l->stopping)) {
        peer_drain(&l->peer);
        failover_abort(l->server);
        if (primary(l, host, sizeof host, &port)) {
            bool worked = follow(l, host, port);
            link_down(l);
            if (is_current(l))
                peer_wait(&l->peer, worked ? AGAIN_MS : RETRY_MS);
        } else if (!failover_step(l->server)) {
            peer_wait(&l->peer, -1);
        } else {
            peer_wait(&l->peer, FAILOVER_STEP_MS);
        }
    }
    peer_close(&l->peer);
    return NULL;
}

struct link *link_start(struct exec_shared *shared, struct thread *thread, void (*loaded)(void *arg, bool ok),
                        void *arg)
{
    struct link *l = mem_zalloc(sizeof *l);

    l->shared = shared;
    l->server = shared->server;
    l->ex = (struct executor){.shared = shared, .thread = thread, .is_lane = true};
    l->loaded = loaded;
    l->arg = arg;
    peer_init(&l->peer);
    replay_init(&l->replay, &l->ex, true);
    l->replay.asked = acknowledge;
    l->replay.arg = l;
    pthread_create(&l->thread, NULL, run, l);
    return l;
}

void link_wake(struct link *l)
{
    peer_wake(&l->peer);
}

void link_stop(struct link *l)
{
    if (!l)
        return;
    atomic_store(&l->stopping, true);
    peer_wake(&l->peer);
    pthread_join(l->thread, NULL);
    replay_free(&l->replay);
    peer_free(&l->peer);
    arena_free(&l->ex.arena);
    buf_free(&l->ex.effects.bytes);
    mem_free(l);
}
