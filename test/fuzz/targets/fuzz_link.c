/*
 * What a replica makes of all that its primary sends, from the first answer on: the handshake, the frame of a snapshot, the
 * snapshot, and the stream behind it. The primary is the other end of a socket, which has sent everything and gone. The
 * first byte of an input says how much of the rest was received ahead, the second where we are and what we know.
 *
 * However it arrives, it must end the same, with the same data, and the same bytes left. Data that did not come whole
 * changes nothing; and what stands in the log is what stood behind the snapshot. Whether that came whole, and where it
 * ends, is found a second time out of the bytes themselves.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/num.h"
#include "engine/persist/rdb_read.h"
#include "engine/repl/handshake.h"
#include "engine/repl/peer.h"
#include "engine/repl/replay.h"
#include "engine/repl/transfer.h"
#include "engine/store/stage.h"
#include "fuzz/server.h"

#define INPUT_MAX 65536 /* fits into the socket, so that nobody has to write while we read */
#define TURN_US 100000000
#define READ_STEP 4096
#define OUR_ID "0123456789012345678901234567890123456789"

enum knowledge { KNOWS_HISTORY = 1, HANDS_OVER = 2, HAS_DATA = 4, STREAM_ONLY = 8, IS_LEFT = 16, LOGS_IN = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fuzz_server fuzz;

static void exclusive(void *arg, void (*fn)(void *fn_arg), void *fn_arg)
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
    .unpause = fuzz_ignore,
    .exclusive = exclusive,
    .post_exclusive = exclusive,
    .progressed = fuzz_ignore,
    .touch = touch,
    .follow = fuzz_ignore,
};

/* How it ended. */
struct outcome {
    int introduced, answer, received, replayed;
    char id[REPLICATION_ID + 1];
    uint64_t offset, stream_db, functions, digest, head;
    uint32_t db;
    struct buf rest; /* what stood behind the snapshot */
};

struct patience {
    unsigned reads; /* until the primary is not the one to follow any more */
};

static bool goes_on(void *arg)
{
    struct patience *p = arg;

    return p->reads > 0 && p->reads-- > 0;
}

/* The connection: the first `ahead` bytes were received already. */
static int begin(struct peer *p, struct view in, size_t ahead)
{
    int fds[2];

    demand(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    demand(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
    ahead = ahead < in.n ? ahead : in.n;
    peer_init(p);
    p->fd = fds[0];
    peer_unread(p, view_of(in.p, ahead));
    if (ahead < in.n)
        demand(send(fds[1], in.p + ahead, in.n - ahead, 0) == (ssize_t)(in.n - ahead));
    demand(shutdown(fds[1], SHUT_WR) == 0);
    return fds[1];
}

static void set_data(struct replay *r)
{
    static const struct view some = VIEW("*3\r\n$3\r\nSET\r\n$3\r\nour\r\n$4\r\ndata\r\n");

    buf_put_view(&r->in, some);
    demand(replay_run(r, TURN_US) == 0);
}

/* The whole snapshot, or nothing of it. */
static void synchronise(struct peer *p, unsigned knows, struct replay *r, struct outcome *o)
{
    struct server *s = &fuzz.server;
    struct patience patience = {knows & IS_LEFT ? 1 : UINT32_MAX};
    struct transfer t = {.peer = p, .server = s, .thread = fuzz.ex.thread, .goes_on = goes_on, .arg = &patience};
    uint64_t before = fuzz_server_digest(&fuzz);

    t.stage = stage_new(s->keyspace, fuzz.ex.thread);
    o->received = transfer_receive(&t);
    demand(fuzz_server_digest(&fuzz) == before);
    if (o->received == 0) {
        atomic_store(&s->keyspace->exclusive, true);
        stage_commit(t.stage);
        atomic_store(&s->keyspace->exclusive, false);
        oplog_restart(s->log, o->offset);
        replay_reset(r, (uint32_t)t.stream_db);
        o->stream_db = t.stream_db;
        o->functions = t.function_count;
        demand(t.stream_db < FUZZ_DATABASES);
    }
    stage_free(t.stage);
}

/* Takes what is left as the stream. */
static void follow(struct peer *p, struct replay *r, struct outcome *o)
{
    struct buf log = {0};
    uint64_t from = oplog_head(fuzz.server.log);
    int got;

    for (;;) {
        size_t live = buf_live(&r->in);
        got = peer_receive(p, &r->in, READ_STEP, 0);
        if (got < 0)
            break;
        demand(buf_live(&r->in) == live + (size_t)got);
        buf_put(&o->rest, buf_head(&r->in) + live, (size_t)got);
        if (o->replayed == 0)
            o->replayed = replay_run(r, TURN_US);
    }
    o->db = replay_db(r);
    o->head = oplog_head(fuzz.server.log);
    fuzz_server_log(&fuzz, from, &log);
    demand(log.len <= o->rest.len && (log.len == 0 || memcmp(log.p, o->rest.p, log.len) == 0));
    buf_free(&log);
}

static void run(struct view in, unsigned knows, size_t ahead, struct outcome *o)
{
    static char none[] = "", login[] = "secret";
    struct server *s = &fuzz.server;
    char *masterauth = s->config->masterauth;
    struct replay r;
    struct peer peer;
    int primary;

    *o = (struct outcome){.received = -1};
    fuzz_server_begin(&fuzz);
    replay_init(&r, &fuzz.ex, true);
    if (knows & HAS_DATA)
        set_data(&r);
    atomic_store(&s->is_replica, true);
    memcpy(s->replication->id, OUR_ID, REPLICATION_ID);
    s->replication->resumable = (knows & KNOWS_HISTORY) != 0;
    atomic_store(&s->replication->failover, knows & HANDS_OVER ? FAILOVER_IN_PROGRESS : FAILOVER_NONE);
    s->config->masterauth = knows & LOGS_IN ? login : none;
    primary = begin(&peer, in, ahead);
    if (!(knows & STREAM_ONLY))
        o->introduced = handshake_introduce(&peer, s);
    if (o->introduced == 0) {
        o->answer = (int)handshake_psync(&peer, s, o->id, &o->offset);
        demand(strlen(o->id) <= REPLICATION_ID);
        demand(o->answer != HANDSHAKE_FULL || strlen(o->id) == REPLICATION_ID);
        demand(o->answer != HANDSHAKE_CONTINUE || o->id[0] == '\0' || strlen(o->id) == REPLICATION_ID);
    }
    if (o->introduced == 0 && o->answer == HANDSHAKE_FULL)
        synchronise(&peer, knows, &r, o);
    if (o->introduced == 0 && (o->received == 0 || o->answer == HANDSHAKE_CONTINUE))
        follow(&peer, &r, o);
    o->digest = fuzz_server_digest(&fuzz);
    s->config->masterauth = masterauth;
    peer_free(&peer);
    close(primary);
    replay_free(&r);
    fuzz_server_end(&fuzz);
}

/* ---- the same, read out of the bytes ---- */

struct reader {
    struct view left;
    struct stage *stage;
    uint32_t db;
};

static ssize_t read_left(void *arg, void *p, size_t n)
{
    struct reader *r = arg;

    n = n < r->left.n ? n : r->left.n;
    if (n > 0)
        memcpy(p, r->left.p, n);
    r->left = view_of(r->left.p + n, r->left.n - n);
    return (ssize_t)n;
}

static bool see_aux(void *arg, struct view name, struct view value)
{
    (void)arg;
    (void)name;
    (void)value;
    return true;
}

static bool see_select(void *arg, uint64_t db)
{
    struct reader *r = arg;

    r->db = (uint32_t)db;
    return db < FUZZ_DATABASES;
}

static bool see_resize(void *arg, uint64_t keys, uint64_t expires)
{
    (void)arg;
    (void)keys;
    (void)expires;
    return true;
}

static bool see_item(void *arg, struct item *it)
{
    struct reader *r = arg;

    stage_add(r->stage, r->db, it);
    return true;
}

static bool see_function(void *arg, struct view source)
{
    (void)arg;
    (void)source;
    return true;
}

/* Is there a snapshot with keys that are all there once? *size: its bytes. */
static bool is_snapshot(struct view bytes, size_t *size)
{
    struct reader r = {bytes, stage_new(fuzz.server.keyspace, fuzz.ex.thread), 0};
    struct rdb_source source = {read_left, &r};
    struct rdb_visitor visitor = {&r, see_aux, see_select, see_resize, see_item, see_function};
    struct rdb_limits limits = {
        .max_string = RDB_STRING_MAX, .check_checksum = true, .drop_expired_before_ms = -1, .now_ms = clock_wall_ms()};
    struct rdb_reader *reader = rdb_reader_new(&source, fuzz.ex.thread, &limits);
    struct rdb_error error;
    bool is = rdb_read(reader, &visitor, &error) == RDB_OK;

    *size = bytes.n - r.left.n - (is ? rdb_reader_rest(reader).n : 0);
    rdb_reader_free(reader);
    is = stage_finish(r.stage) == 0 && is;
    stage_free(r.stage);
    return is;
}

/* Takes a line off, without its end. False when there is none, or it is too long. */
static bool take_line(struct view *in, struct view *line)
{
    const char *end = in->n > 0 ? memchr(in->p, '\n', in->n) : NULL;

    if (!end)
        return false;
    *line = view_of(in->p, (size_t)(end - in->p));
    *in = view_of(end + 1, in->n - line->n - 1);
    if (line->n > 0 && line->p[line->n - 1] == '\r')
        line->n--;
    return line->n < PEER_LINE_MAX;
}

static bool take_full_line(struct view *in, struct view *line)
{
    do
        if (!take_line(in, line))
            return false;
    while (line->n == 0 || line->p[0] == '\0');
    return true;
}

/* What stands behind the snapshot, if it came whole; in: what stands behind the answer to PSYNC. */
static bool find_rest(struct view in, struct view *rest)
{
    struct view line;
    int64_t length;
    size_t size;

    if (!take_full_line(&in, &line))
        return false;
    line.n = strnlen(line.p, line.n);
    if (line.n == 5 + REPLICATION_ID && memcmp(line.p, "$EOF:", 5) == 0) {
        if (!is_snapshot(in, &size) || in.n - size < REPLICATION_ID ||
            memcmp(in.p + size, line.p + 5, REPLICATION_ID) != 0)
            return false;
        *rest = view_of(in.p + size + REPLICATION_ID, in.n - size - REPLICATION_ID);
        return true;
    }
    if (line.p[0] != '$' || !num_parse_int(view_of(line.p + 1, line.n - 1), &length) || length <= 0 ||
        (uint64_t)length > in.n || !is_snapshot(view_of(in.p, (size_t)length), &size))
        return false;
    *rest = view_of(in.p + length, in.n - (size_t)length);
    return true;
}

static void check_frame(struct view in, unsigned knows, const struct outcome *o)
{
    struct view line, rest;
    bool whole;

    if (o->introduced != 0 || o->answer != HANDSHAKE_FULL || (knows & IS_LEFT))
        return;
    for (unsigned i = 0; i < (knows & STREAM_ONLY ? 0 : knows & LOGS_IN ? 4 : 3); i++)
        demand(take_line(&in, &line));
    demand(take_full_line(&in, &line));
    whole = find_rest(in, &rest);
    demand(whole == (o->received == 0));
    demand(!whole || view_equal(rest, buf_view(&o->rest)));
}

static void demand_same(const struct outcome *a, const struct outcome *b, bool is_left)
{
    demand(a->introduced == b->introduced && a->answer == b->answer && strcmp(a->id, b->id) == 0);
    demand(a->offset == b->offset);
    if (is_left) /* how far it came depends on how much came at once */
        return;
    demand(a->received == b->received && a->replayed == b->replayed && a->stream_db == b->stream_db);
    demand(a->functions == b->functions && a->db == b->db && a->head == b->head && a->digest == b->digest);
    demand(view_equal(buf_view(&a->rest), buf_view(&b->rest)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view in = {(const char *)data + 2, size - 2};
    struct outcome whole, ahead;

    if (size < 3 || size > INPUT_MAX)
        return 0;
    if (!fuzz.heaps) {
        fuzz_server_make(&fuzz, &ops, NULL);
        fuzz.ex.is_lane = true;
    }
    run(in, data[1], 0, &whole);
    run(in, data[1], data[0] == 255 ? in.n : data[0], &ahead);
    demand_same(&whole, &ahead, (data[1] & IS_LEFT) != 0);
    check_frame(in, data[1], &whole);
    buf_free(&whole.rest);
    buf_free(&ahead.rest);
    return 0;
}
