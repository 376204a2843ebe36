/*
 * What a primary does with what replicas, and others, tell it: the commands of replication through the executor, on
 * several connections that come and go, among ordinary commands, roles that change, snapshots that are made for replicas,
 * and failovers. An input is a text of lines:
 *
 *     0 .. 4   the rest is a request of that connection; in it %o is the log's end, %i and %j are the ids
 *     A .. E   the same, out of a batch that was read before the connection became a replica's
 *     x 0      that connection closes
 *     g 0      it takes what the log has for it
 *     s        the snapshots' thread chooses the replicas that wait; a: it takes its cut; h, H: it is done, or failed
 *     t 5      worker 0's timer, 5 seconds later; q: a turn's end; p: who waits is run again
 *     k 5      a restriction of the server begins, or ends
 *     f        a step of a failover; d: the new primary took over
 *     l 5      the link to our primary is in that state; c: it has a new history for us; r: ours begins anew
 *
 * Lines and lists, counts, readers of the log, and who waits must agree after each of them; at the end nothing is left.
 */
#include <stdio.h>

#include "engine/cmd/transaction.h"
#include "engine/exec/lane.h"
#include "engine/proto/resp.h"
#include "engine/repl/failover.h"
#include "fuzz/server.h"
#include "handlers.h"

#define CONNECTIONS 5
#define POSTED_MAX 16
#define TRIES 20 /* of a command, before a partition that nobody holds is taken to be lost */
#define LINE_MAX_BYTES 8192

static const struct resp_limits limits = {FUZZ_BULK_MAX, 1024, true};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct connection {
    bool open, touched;
    struct exec_client client;
    struct resp_writer out;
    struct buf request; /* that it runs, or waits with */
    bool waits;         /* its command is to be run again */
    bool counted;       /* among the server's waiters */
};

/* What the snapshots' thread works on. */
struct sync {
    struct replica *targets[CONNECTIONS + 1];
    unsigned n;
    bool by_mark;
};

static struct {
    struct fuzz_server base;
    struct executor lanes[EXEC_LANES];
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool lane_done; /* under the lock */
    struct connection connections[CONNECTIONS];
    struct sync sync;
    struct {
        void (*fn)(void *arg);
        void *arg;
    } posted[POSTED_MAX];
    unsigned posted_count;
    bool progressed;
    int64_t later_ms;
} fuzz;

static struct server *server(void)
{
    return &fuzz.base.server;
}

/* ---- what the layers above do ---- */

static void do_shutdown(void *arg, unsigned options)
{
    (void)arg;
    (void)options;
}

static bool no_shutdown(void *arg)
{
    (void)arg;
    return false;
}

static void let_in(void *arg, struct thread *t)
{
    (void)arg;
    exec_let_in(&fuzz.base.shared, t);
}

static void exclusive(void *arg, void (*fn)(void *fn_arg), void *fn_arg)
{
    (void)arg;
    gate_close(&fuzz.base.shared.gate);
    fn(fn_arg);
    gate_open(&fuzz.base.shared.gate);
}

static void post_exclusive(void *arg, void (*fn)(void *fn_arg), void *fn_arg)
{
    (void)arg;
    if (fuzz.posted_count == POSTED_MAX)
        return;
    fuzz.posted[fuzz.posted_count].fn = fn;
    fuzz.posted[fuzz.posted_count++].arg = fn_arg;
}

static void progressed(void *arg)
{
    (void)arg;
    fuzz.progressed = true;
}

static void touch(void *arg, uint32_t worker, uint64_t id)
{
    (void)arg;
    demand(worker < CONNECTIONS);
    if (fuzz.connections[worker].open && fuzz.connections[worker].client.handle.id == id)
        fuzz.connections[worker].touched = true;
}

static void lane_done(void *arg, struct handle h)
{
    (void)arg;
    (void)h;
    pthread_mutex_lock(&fuzz.lock);
    fuzz.lane_done = true;
    pthread_cond_signal(&fuzz.wake);
    pthread_mutex_unlock(&fuzz.lock);
}

static void idle(struct executor *ex)
{
    (void)ex;
}

static const struct server_ops ops = {
    .shutdown = do_shutdown,
    .shutdown_abort = no_shutdown,
    .unpause = fuzz_ignore,
    .let_in = let_in,
    .exclusive = exclusive,
    .post_exclusive = post_exclusive,
    .progressed = progressed,
    .touch = touch,
    .follow = fuzz_ignore,
};

static void make(void)
{
    fuzz_server_make(&fuzz.base, &ops, NULL);
    pthread_mutex_init(&fuzz.lock, NULL);
    pthread_cond_init(&fuzz.wake, NULL);
    fuzz.base.shared.lane_done = lane_done;
    for (unsigned i = 0; i < EXEC_LANES; i++) {
        struct executor *ex = &fuzz.lanes[i];
        *ex = (struct executor){.shared = &fuzz.base.shared, .thread = fuzz_thread(&fuzz.base), .is_lane = true};
        fuzz.base.shared.lanes[i] = lane_start(1, 0, &ex, idle);
    }
}

/* ---- connections ---- */

static void open_connection(unsigned i)
{
    struct connection *c = &fuzz.connections[i];
    struct session *s = &c->client.session;
    char address[32];

    *c = (struct connection){.open = true};
    snprintf(address, sizeof address, "10.0.0.%u:4000", i);
    resp_writer_init(&c->out);
    c->out.base.on_error = server_stats_error;
    c->out.base.on_error_arg = server();
    c->client.reply = &c->out.base;
    s->card = clients_add(server()->clients, -1, i, address, "10.0.1.1:6379", 0);
    s->resp = 2;
    s->authenticated = true;
    c->client.handle = (struct handle){i, s->card->id};
}

static void stop_waiting(struct connection *c)
{
    if (c->counted)
        atomic_fetch_sub(&server()->waiters, 1);
    c->counted = c->waits = false;
}

static void close_connection(struct connection *c)
{
    if (!c->open)
        return;
    stop_waiting(c);
    if (c->client.session.replica)
        replica_leave(c->client.session.replica);
    transaction_free(&c->client.session);
    clients_remove(server()->clients, c->client.session.card);
    resp_writer_free(&c->out);
    buf_free(&c->request);
    *c = (struct connection){.open = false};
}

static unsigned state_of(const struct connection *c)
{
    const struct replica *p = c->client.session.replica;

    return p ? atomic_load(&((struct replica *)p)->state) : REPLICA_NEW;
}

/* What its worker does when it was told to look at it. */
static void look(struct connection *c)
{
    struct replica *p = c->client.session.replica;

    c->touched = false;
    if (atomic_load(&c->client.session.card->killed) || c->client.session.close_after_reply ||
        (p && atomic_load(&p->dropped) && state_of(c) != REPLICA_RECEIVING))
        close_connection(c);
}

/* ---- running a request ---- */

static enum exec_status run_in_lane(struct connection *c)
{
    fuzz.lane_done = false;
    exec_submit(&fuzz.base.ex, &c->client);
    pthread_mutex_lock(&fuzz.lock);
    while (!fuzz.lane_done)
        pthread_cond_wait(&fuzz.wake, &fuzz.lock);
    pthread_mutex_unlock(&fuzz.lock);
    if (!c->client.held)
        return EXEC_DONE;
    c->client.held = false;
    return EXEC_HELD;
}

/* To a replica whose stream has begun, or waits to, nothing else may be said. */
static bool must_go(const struct connection *c, const struct exec_request *r)
{
    return state_of(c) != REPLICA_NEW &&
           !(r->command && (r->command->run == cmd_replconf || r->command->run == cmd_psync));
}

static bool forbidden(const struct exec_request *r)
{
    return r->command && (r->command->run == cmd_config_set || r->command->run == cmd_debug);
}

static enum exec_status run_once(struct connection *c, const struct resp_request *parsed)
{
    struct executor *ex = &fuzz.base.ex;
    struct exec_request r;
    enum exec_status status = EXEC_AGAIN;

    exec_prepare(ex, parsed->argv, parsed->argc, &r);
    r.raw = buf_live(&c->request) > 0 && *buf_head(&c->request) == '*' ? buf_head(&c->request) : NULL;
    if (must_go(c, &r))
        c->client.session.close_after_reply = true;
    if (forbidden(&r) || must_go(c, &r))
        return EXEC_DONE;
    demand(gate_enter(&fuzz.base.shared.gate, ex->thread->index));
    exec_begin(ex);
    for (unsigned i = 0; i < TRIES && status == EXEC_AGAIN; i++)
        status = exec_run(ex, &c->client, &r);
    gate_leave(&fuzz.base.shared.gate, ex->thread->index);
    demand(status != EXEC_AGAIN && status != EXEC_PARKED && ex->effects.count == 0);
    if (status == EXEC_LANE)
        status = run_in_lane(c);
    if (oplog_appended(server()->log, ex->thread->index)) {
        c->client.session.write_offset = oplog_end(server()->log, ex->thread->index);
        oplog_wake(server()->log, ex->thread->index);
    }
    return status;
}

/* Runs what stands in c->request. */
static void run(struct connection *c)
{
    struct resp_request parsed;
    unsigned before = state_of(c);
    enum exec_status status;

    stop_waiting(c);
    demand(resp_parse(c->request.p, c->request.len, &limits, &fuzz.base.ex.arena, NULL, &parsed) == RESP_DONE);
    status = run_once(c, &parsed);
    c->waits = status != EXEC_DONE;
    demand(status != EXEC_WAITS || c->client.session.waiting);
    demand(status != EXEC_DONE || !c->client.session.waiting);
    if (status == EXEC_WAITS) {
        c->counted = true;
        atomic_fetch_add(&server()->waiters, 1);
    }
    if (before == REPLICA_NEW && state_of(c) == REPLICA_ONLINE)
        demand(buf_live(&c->out.buf) > 9 && memcmp(buf_head(&c->out.buf), "+CONTINUE", 9) == 0);
    demand(before != REPLICA_NEW || state_of(c) != REPLICA_WAITING || resp_pending(&c->out) == 0);
    resp_writer_cut(&c->out, c->out.buf.off, 0);
    arena_reset(&fuzz.base.ex.arena);
}

/* Appends the line, with what stands for something else replaced. */
static void expand(struct view line, struct buf *out)
{
    const struct replication *r = &fuzz.base.replication;

    for (size_t i = 0; i < line.n; i++) {
        char next = i + 1 < line.n ? line.p[i + 1] : '\0';
        if (line.p[i] != '%' || !strchr("oij", next) || next == '\0') {
            buf_put_char(out, line.p[i]);
            continue;
        }
        i++;
        if (next == 'o')
            buf_printf(out, "%llu", (unsigned long long)oplog_head(server()->log));
        else
            buf_put(out, next == 'i' ? r->id : r->id2, REPLICATION_ID);
    }
    buf_put(out, "\r\n", 2);
}

static void request(unsigned i, bool batched, struct view line)
{
    struct connection *c = &fuzz.connections[i];
    struct resp_request words;
    struct buf text = {0};
    unsigned state;

    if (!c->open)
        open_connection(i);
    state = state_of(c);
    if (c->waits || (!batched && (state == REPLICA_WAITING || state == REPLICA_RECEIVING)))
        return;
    expand(line, &text);
    if (resp_parse(text.p, text.len, &limits, &fuzz.base.ex.arena, NULL, &words) == RESP_DONE && words.argc > 0) {
        buf_clear(&c->request);
        effects_put_words(&c->request, words.argv, (size_t)words.argc);
        run(c);
    }
    arena_reset(&fuzz.base.ex.arena);
    buf_free(&text);
}

/* ---- the snapshots' thread ---- */

static void choose(void *arg, struct replica *p)
{
    struct sync *y = arg;
    bool by_mark = (p->capabilities & REPLICA_EOF) != 0;

    if (atomic_load(&p->state) != REPLICA_WAITING || (y->n > 0 && by_mark != y->by_mark))
        return;
    demand(y->n < CONNECTIONS);
    y->by_mark = by_mark;
    y->targets[y->n++] = p;
    atomic_fetch_add(&p->refs, 1);
    atomic_store(&p->state, REPLICA_RECEIVING);
}

/* Gate closed. */
static void take_cut(void *arg)
{
    struct sync *y = arg;
    struct server *s = server();

    if (!oplog_active(s->log)) {
        oplog_start(s->log);
        replication_new_id(s->replication);
    }
    if (!atomic_load(&s->is_replica))
        oplog_forget_db(s->log);
    for (unsigned i = 0; i < y->n; i++) {
        struct replica *p = y->targets[i];
        if (atomic_load(&p->gone) || atomic_load(&p->attached) || !oplog_attach(s->log, &p->reader, oplog_head(s->log)))
            continue;
        p->sent = oplog_head(s->log);
        atomic_store(&p->acked, p->sent);
        atomic_store(&p->attached, true);
    }
}

static void hand_back(bool good)
{
    struct sync *y = &fuzz.sync;

    for (unsigned i = 0; i < y->n; i++) {
        struct replica *p = y->targets[i];
        if (good && atomic_load(&p->attached) && !atomic_load(&p->dropped)) {
            replica_received(p, y->by_mark);
        } else {
            atomic_store(&p->dropped, true);
            atomic_store(&p->state, REPLICA_NEW);
        }
        touch(NULL, p->worker, p->id);
        replica_unref(p);
    }
    y->n = 0;
}

/* ---- the others ---- */

/* A replica's socket takes all that there is. */
static void send_stream(struct connection *c)
{
    struct oplog *log = server()->log;
    struct replica *p = c->client.session.replica;
    struct buf sent = {0};

    if (!c->open || state_of(c) != REPLICA_ONLINE)
        return;
    demand(atomic_load(&p->attached));
    demand(p->sent <= oplog_tail(log) && p->sent >= oplog_first(log));
    fuzz_server_log(&fuzz.base, p->sent, &sent);
    p->sent += buf_live(&sent);
    demand(p->sent == oplog_tail(log));
    oplog_advance(log, &p->reader, p->sent);
    demand(oplog_sleep(log, &p->reader, p->sent));
    buf_free(&sent);
}

/* Gate closed. */
static void new_history(void *arg)
{
    (void)arg;
    if (atomic_load(&server()->is_replica))
        replication_adopt_id(server()->replication, "0123456789012345678901234567890123456789");
}

/* Gate closed: a full synchronisation of ours is complete. */
static void begin_anew(void *arg)
{
    (void)arg;
    if (oplog_read_by_anyone(server()->log))
        return;
    oplog_start(server()->log);
    oplog_restart(server()->log, 1000);
}

static void tick(unsigned seconds)
{
    struct executor *ex = &fuzz.base.ex;

    fuzz.later_ms += 1000 * (int64_t)seconds;
    demand(gate_enter(&fuzz.base.shared.gate, ex->thread->index));
    replication_tick(server()->replication, ex->thread, clock_mono_us() / 1000 + fuzz.later_ms);
    gate_leave(&fuzz.base.shared.gate, ex->thread->index);
}

static void run_waiting(void)
{
    for (unsigned i = 0; i < CONNECTIONS; i++)
        if (fuzz.connections[i].open && fuzz.connections[i].waits)
            run(&fuzz.connections[i]);
}

static void step(struct view line)
{
    char what = line.p[0];
    unsigned n = line.n > 2 ? (unsigned char)line.p[2] - '0' : 0;
    struct view rest = view_of(line.p + 1, line.n - 1);

    if (what >= '0' && what < '0' + CONNECTIONS)
        request((unsigned)(what - '0'), false, rest);
    else if (what >= 'A' && what < 'A' + CONNECTIONS)
        request((unsigned)(what - 'A'), true, rest);
    else if (what == 'x' && n < CONNECTIONS)
        close_connection(&fuzz.connections[n]);
    else if (what == 'g' && n < CONNECTIONS)
        send_stream(&fuzz.connections[n]);
    else if (what == 's' && fuzz.sync.n == 0)
        replication_each(server()->replication, choose, &fuzz.sync);
    else if (what == 'a')
        exclusive(NULL, take_cut, &fuzz.sync);
    else if (what == 'h' || what == 'H')
        hand_back(what == 'h');
    else if (what == 't' && n < 100)
        tick(n * n * n);
    else if (what == 'q')
        replication_ask(server()->replication, fuzz.base.ex.thread);
    else if (what == 'p')
        run_waiting();
    else if (what == 'f' && !atomic_load(&server()->is_replica))
        failover_step(server());
    else if (what == 'f')
        failover_abort(server());
    else if (what == 'd')
        failover_done(server()->replication);
    else if (what == 'l' && n <= LINK_CONNECTED && atomic_load(&server()->is_replica))
        atomic_store(&server()->replication->link, n);
    else if (what == 'k' && n < 6)
        server_restrict(server(), 1u << n, !(atomic_load(&server()->restrictions) & 1u << n));
    else if (what == 'c')
        exclusive(NULL, new_history, NULL);
    else if (what == 'r')
        exclusive(NULL, begin_anew, NULL);
}

/* What is to be done before the next line. */
static void settle(void)
{
    for (unsigned i = 0; i < fuzz.posted_count; i++)
        exclusive(NULL, fuzz.posted[i].fn, fuzz.posted[i].arg);
    fuzz.posted_count = 0;
    oplog_wake(server()->log, fuzz.base.ex.thread->index);
    if (fuzz.progressed) {
        fuzz.progressed = false;
        run_waiting();
    }
    for (unsigned i = 0; i < CONNECTIONS; i++)
        if (fuzz.connections[i].open)
            look(&fuzz.connections[i]);
}

/* ---- what must hold ---- */

struct counts {
    unsigned listed, online, attached;
};

static void count_listed(void *arg, struct replica *p)
{
    struct counts *n = arg;
    unsigned state = atomic_load(&p->state);

    demand(p->listed && !atomic_load(&p->gone));
    demand(state != REPLICA_NEW || atomic_load(&p->dropped));
    demand(state != REPLICA_ONLINE || atomic_load(&p->attached));
    demand(memchr(p->announced, '\0', sizeof p->announced) && memchr(p->address, '\0', sizeof p->address));
    n->listed++;
    n->online += state == REPLICA_ONLINE;
    n->attached += atomic_load(&p->attached);
}

static void check(void)
{
    struct replication *r = server()->replication;
    struct counts n = {0};
    unsigned readers = 0, records = 0, waiters = 0;

    replication_each(r, count_listed, &n);
    demand(n.listed == r->count && n.online == atomic_load(&r->online));
    demand((r->nobody_since_ms < 0) == (r->count > 0));
    demand(replication_count_acked(r, 0, false) == n.online);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        const struct connection *c = &fuzz.connections[i];
        const struct replica *p = c->open ? c->client.session.replica : NULL;
        records += p && p->listed;
        waiters += c->counted;
        demand(!p || state_of(c) == REPLICA_NEW || p->listed);
    }
    demand(records == n.listed && waiters == atomic_load(&server()->waiters));
    for (unsigned i = 0; i < fuzz.sync.n; i++) /* those that are gone hold the log until the thread lets go of them */
        n.attached += atomic_load(&fuzz.sync.targets[i]->gone) && atomic_load(&fuzz.sync.targets[i]->attached);
    for (const struct oplog_reader *reader = server()->log->readers; reader; reader = reader->next)
        readers++;
    demand(readers == n.attached);
    demand(strlen(r->id) == REPLICATION_ID && strlen(r->id2) == REPLICATION_ID);
    demand(atomic_load(&fuzz.base.shared.gate.jobs) == 0 && !gate_closing(&fuzz.base.shared.gate));
}

static void finish(void)
{
    for (unsigned i = 0; i < CONNECTIONS; i++)
        close_connection(&fuzz.connections[i]);
    hand_back(true);
    check();
    demand(server()->replication->count == 0 && atomic_load(&server()->replication->online) == 0);
    demand(atomic_load(&server()->waiters) == 0 && clients_count(server()->clients) == 0);
    fuzz.progressed = false;
    fuzz.posted_count = 0;
    fuzz.later_ms = 0;
    fuzz_server_end(&fuzz.base);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view in = {(const char *)data, size};

    if (size > LINE_MAX_BYTES)
        return 0;
    if (!fuzz.base.heaps)
        make();
    fuzz_server_begin(&fuzz.base);
    while (in.n > 0) {
        const char *end = memchr(in.p, '\n', in.n);
        struct view line = view_of(in.p, end ? (size_t)(end - in.p) : in.n);
        if (line.n > 0)
            step(line);
        settle();
        check();
        in = view_of(in.p + line.n + (end != NULL), in.n - line.n - (end != NULL));
    }
    finish();
    return 0;
}
