/*
 * What a replica does with its primary's stream: repl/replay.c on a real keyspace. The first byte of an input says in what
 * pieces the rest arrives, and the rest is used in several ways:
 *
 * - as a stream, whole and in pieces: both must leave the same data, the same database and the same log. What was run
 *   stands in the log as it came, byte for byte; what was not is still in the input.
 * - The log alone, replayed, must give the same data: so what is held of an open transaction, or is torn, changed
 *   nothing. After replay_reset the stream can go on.
 * - as an append-only file, whose commands come one by one. A file without damage gives what the stream gives.
 */
#include "engine/persist/aof_scan.h"
#include "engine/repl/replay.h"
#include "engine/cmd/transaction.h"
#include "fuzz/server.h"

#define TURN_US 100000000     /* longer than any input takes */
#define BYTES_A_BYTE 64       /* of a transaction's memory, for each byte that it arrived in */
#define INPUT_MAX (48 * 1024) /* an inline line beyond 64 KiB is an error only when it comes in pieces */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fuzz_server fuzz;

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
    struct fuzz_server *f = arg;

    exec_let_in(&f->shared, t);
}

static void post_nothing(void *arg, void (*fn)(void *fn_arg), void *fn_arg)
{
    (void)arg;
    (void)fn;
    (void)fn_arg;
}

static void touch(void *arg, uint32_t worker, uint64_t id)
{
    (void)arg;
    (void)worker;
    (void)id;
}

static const struct server_ops ops = {
    .shutdown = do_shutdown,
    .shutdown_abort = no_shutdown,
    .unpause = fuzz_ignore,
    .let_in = let_in,
    .exclusive = post_nothing,
    .post_exclusive = post_nothing,
    .progressed = fuzz_ignore,
    .touch = touch,
    .follow = fuzz_ignore,
};

/* How a stream ended. */
struct outcome {
    int rc;
    uint64_t head, digest, commands, asked;
    uint32_t db;
    struct buf log;
};

static void count(void *arg)
{
    struct outcome *o = arg;

    o->asked++;
}

static bool in_transaction(const struct replay *r)
{
    return r->client.session.transaction && r->client.session.transaction->active;
}

/* What holds between any two pieces. */
static void check(const struct replay *r, size_t fed)
{
    const struct transaction *t = r->client.session.transaction;

    demand(oplog_head(fuzz.server.log) + buf_live(&r->in) == fed);
    demand(r->parsed <= buf_live(&r->in) && (r->parsed == 0 || in_transaction(r)));
    demand(!t || t->bytes <= BYTES_A_BYTE * fed);
    demand(replay_db(r) < FUZZ_DATABASES);
    demand(fuzz.ex.effects.count == 0 && fuzz.ex.verbatim.n == 0);
    demand(atomic_load(&fuzz.shared.gate.lines[fuzz.ex.thread->index].in) == 0);
    demand(atomic_load(&fuzz.shared.gate.jobs) == 0);
}

/* Runs what there is; a second turn has nothing to do. */
static int turn(struct replay *r, size_t fed)
{
    int rc = replay_run(r, TURN_US);

    demand(rc == 0 || rc == -1);
    check(r, fed);
    return rc;
}

/* After a break the stream goes on with whole commands. */
static void go_on(struct replay *r)
{
    static const struct view more = VIEW("*3\r\n$3\r\nSET\r\n$6\r\nbehind\r\n$3\r\nall\r\n");
    uint64_t head = oplog_head(fuzz.server.log);

    replay_reset(r, FUZZ_DATABASES - 1);
    demand(!in_transaction(r) && buf_live(&r->in) == 0 && replay_db(r) == FUZZ_DATABASES - 1);
    buf_put_view(&r->in, more);
    demand(turn(r, head + more.n) == 0);
    demand(oplog_head(fuzz.server.log) == head + more.n && buf_live(&r->in) == 0);
}

/* Feeds `step` bytes at a time; 0 for sizes that the input gives, from `how`. */
static void feed(struct view in, size_t step, uint8_t how, struct outcome *o)
{
    struct replay r;
    size_t at = 0, n;

    *o = (struct outcome){0};
    fuzz_server_begin(&fuzz);
    atomic_store(&fuzz.server.is_replica, true);
    replay_init(&r, &fuzz.ex, true);
    r.asked = count;
    r.arg = o;
    while (at < in.n && o->rc == 0) {
        n = step ? step : 1 + (size_t)(how ^ (unsigned char)in.p[(at * 7 + how) % in.n]) % 61;
        n = n < in.n - at ? n : in.n - at;
        buf_put(&r.in, in.p + at, n);
        at += n;
        o->rc = turn(&r, at);
    }
    o->head = oplog_head(fuzz.server.log);
    o->db = replay_db(&r);
    o->commands = r.commands;
    o->digest = fuzz_server_digest(&fuzz);
    fuzz_server_log(&fuzz, 0, &o->log);
    demand(o->log.len <= in.n && (o->log.len == 0 || memcmp(o->log.p, in.p, o->log.len) == 0));
    go_on(&r);
    replay_free(&r);
    fuzz_server_end(&fuzz);
}

static void demand_same(struct outcome *a, const struct outcome *b)
{
    demand(a->rc == b->rc && a->head == b->head && a->db == b->db && a->digest == b->digest);
    demand(a->commands == b->commands && a->asked == b->asked);
}

/* ---- as a file ---- */

struct source {
    struct view file;
    size_t at;
};

static ssize_t read_source(void *arg, void *p, size_t n)
{
    struct source *s = arg;

    n = n < s->file.n - s->at ? n : s->file.n - s->at;
    if (n > 0)
        memcpy(p, s->file.p + s->at, n);
    s->at += n;
    return (ssize_t)n;
}

static void load(struct view in, const struct outcome *stream)
{
    struct source source = {in, 0};
    struct aof_scan scan;
    struct replay r;
    enum aof_found found;

    fuzz_server_begin(&fuzz);
    replay_init(&r, &fuzz.ex, false);
    aof_scan_init(&scan, read_source, &source, FUZZ_BULK_MAX);
    while ((found = aof_scan_next(&scan)) == AOF_COMMAND) {
        replay_command(&r, scan.argv, (int)scan.argc);
        demand(oplog_head(fuzz.server.log) == 0 && fuzz.ex.effects.count == 0 && fuzz.ex.verbatim.n == 0);
    }
    if (found == AOF_CLEAN && stream->rc == 0 && stream->head == in.n && !memchr(in.p, '#', in.n))
        demand(fuzz_server_digest(&fuzz) == stream->digest && replay_db(&r) == stream->db);
    aof_scan_free(&scan);
    replay_free(&r);
    fuzz_server_end(&fuzz);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view in = {(const char *)data + 1, size - 1};
    struct outcome whole, pieces, again;

    if (size < 2 || size > INPUT_MAX)
        return 0;
    if (!fuzz.heaps) {
        fuzz_server_make(&fuzz, &ops, &fuzz);
        fuzz.ex.is_lane = true;
    }
    feed(in, in.n, 0, &whole);
    feed(in, data[0] == 255, data[0], &pieces);
    demand_same(&whole, &pieces);
    if (whole.head < in.n) {
        feed(view_of(in.p, (size_t)whole.head), in.n, 0, &again);
        demand(again.rc == 0 && again.head == whole.head && again.digest == whole.digest && again.db == whole.db);
        buf_free(&again.log);
    }
    load(in, &whole);
    buf_free(&whole.log);
    buf_free(&pieces.log);
    return 0;
}
