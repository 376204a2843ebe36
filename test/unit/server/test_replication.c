/*
 * What a server knows of histories and replicas. The server around it is a stub: a configuration, a log, and functions
 * that count.
 */
#include "unit/support.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/log/effects.h"
#include "engine/log/oplog.h"
#include "engine/server/config.h"
#include "engine/server/replication.h"
#include "engine/server/server.h"

#define PING "*1\r\n$4\r\nPING\r\n"
#define GETACK "*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n"
#define HISTORY "0123456789abcdef0123456789abcdef01234567"

struct fixture {
    struct server server;
    struct replication replication;
    struct thread thread;
    atomic_uint touches, progresses, follows, posts;
    uint64_t touched; /* the last connection */
};

static void on_touch(void *arg, uint32_t worker, uint64_t id)
{
    struct fixture *f = arg;

    assert_int_equal(worker, id % 7);
    f->touched = id;
    atomic_fetch_add(&f->touches, 1);
}

static void on_progress(void *arg)
{
    struct fixture *f = arg;

    atomic_fetch_add(&f->progresses, 1);
}

static void on_follow(void *arg)
{
    struct fixture *f = arg;

    atomic_fetch_add(&f->follows, 1);
}

static void on_post(void *arg, void (*fn)(void *fn_arg), void *fn_arg)
{
    struct fixture *f = arg;

    atomic_fetch_add(&f->posts, 1);
    fn(fn_arg);
}

static const struct server_ops ops = {
    .touch = on_touch, .progressed = on_progress, .follow = on_follow, .post_exclusive = on_post};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    f->server.config = config_new();
    f->server.log = oplog_new();
    f->server.replication = &f->replication;
    f->server.ops = &ops;
    f->server.ops_arg = f;
    replication_init(&f->replication, &f->server);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    replication_free(&f->replication);
    oplog_free(f->server.log);
    config_free(f->server.config);
    mem_free(f);
    return 0;
}

static void append(struct fixture *f, size_t n)
{
    char *bytes = mem_zalloc(n);

    oplog_append_verbatim(f->server.log, 0, view_of(bytes, n), OPLOG_SAME_DB);
    oplog_wake(f->server.log, 0);
    mem_free(bytes);
}

/* A log of 1000 bytes, of which the last 400 are kept. */
static void fill(struct fixture *f)
{
    oplog_start(f->server.log);
    append(f, 1000);
    oplog_retain(f->server.log, 400);
    assert_int_equal(oplog_first(f->server.log), 600);
}

static struct replica *new_replica(struct fixture *f, uint64_t id)
{
    return replica_new(&f->server, id, id % 7, -1, "10.1.2.3:4567");
}

static struct view id_of(const char *id)
{
    return view_of(id, REPLICATION_ID);
}

static struct view current(const struct fixture *f)
{
    return id_of(f->replication.id);
}

static bool is_hex(const char *id)
{
    return strlen(id) == REPLICATION_ID && strspn(id, "0123456789abcdef") == REPLICATION_ID;
}

/* A replica that goes on with the current history at that position. */
static struct replica *online(struct fixture *f, uint64_t id, int64_t position)
{
    struct replica *p = new_replica(f, id);

    assert_int_equal(replica_psync(p, current(f), position), REPLICA_CONTINUES);
    return p;
}

/* ---- histories ---- */

static void test_ids(void **state)
{
    struct fixture *f = *state;
    struct replication *r = &f->replication;
    char first[REPLICATION_ID + 1];

    assert_true(is_hex(r->id));
    assert_string_equal(r->id2, REPLICATION_NO_ID);
    assert_true(r->id2_end == UINT64_MAX);
    fill(f);
    memcpy(first, r->id, sizeof first);
    replication_shift_id(r);
    assert_true(is_hex(r->id));
    assert_string_not_equal(r->id, first);
    assert_string_equal(r->id2, first);
    assert_int_equal(r->id2_end, 1000);
    replication_adopt_id(r, HISTORY "and what follows");
    assert_string_equal(r->id, HISTORY);
    assert_string_equal(r->id2, REPLICATION_NO_ID);
    assert_true(r->id2_end == UINT64_MAX);
    replication_shift_id(r);
    assert_string_equal(r->id2, HISTORY);
    replication_new_id(r);
    assert_true(is_hex(r->id));
    assert_string_not_equal(r->id, HISTORY);
    assert_string_equal(r->id2, REPLICATION_NO_ID);
    assert_true(r->id2_end == UINT64_MAX);
}

/* What becomes of a PSYNC; the replica is gone again. */
static enum replica_answer ask(struct fixture *f, struct view id, int64_t position)
{
    struct replica *p = new_replica(f, 9);
    enum replica_answer answer = replica_psync(p, id, position);
    bool continues = answer == REPLICA_CONTINUES;

    assert_int_equal(atomic_load(&p->state), continues ? REPLICA_ONLINE : REPLICA_WAITING);
    assert_int_equal(atomic_load(&p->attached), continues);
    assert_int_equal(oplog_read_by_anyone(f->server.log), continues);
    assert_int_equal(atomic_load(&f->replication.online), continues);
    assert_int_equal(f->replication.count, 1);
    if (continues) {
        assert_int_equal(p->sent, position);
        assert_int_equal(atomic_load(&p->acked), position);
    }
    replica_leave(p);
    assert_false(oplog_read_by_anyone(f->server.log));
    assert_int_equal(atomic_load(&f->replication.online), 0);
    assert_int_equal(f->replication.count, 0);
    return answer;
}

static void test_positions(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ask(f, current(f), 0), REPLICA_FULL); /* there is no log */
    fill(f);
    assert_int_equal(ask(f, current(f), -2), REPLICA_FULL);
    assert_int_equal(ask(f, current(f), -1), REPLICA_FULL);
    assert_int_equal(ask(f, current(f), 0), REPLICA_FULL);
    assert_int_equal(ask(f, current(f), 599), REPLICA_FULL);
    assert_int_equal(ask(f, current(f), 600), REPLICA_CONTINUES);
    assert_int_equal(ask(f, current(f), 999), REPLICA_CONTINUES);
    oplog_retain(f->server.log, 400);
    assert_int_equal(ask(f, current(f), 1000), REPLICA_CONTINUES);
    assert_int_equal(ask(f, current(f), 1001), REPLICA_FULL);
    assert_int_equal(ask(f, current(f), INT64_MAX), REPLICA_FULL);
    assert_int_equal(ask(f, current(f), INT64_MIN), REPLICA_FULL);
    assert_int_equal(f->replication.partial_syncs, 3);
    assert_int_equal(f->replication.full_syncs, 8);
    assert_int_equal(f->replication.partial_refused, 8);
}

static void test_wrong_ids(void **state)
{
    struct fixture *f = *state;
    char id[REPLICATION_ID + 2];

    fill(f);
    assert_int_equal(ask(f, VIEW("?"), -1), REPLICA_FULL);
    assert_int_equal(ask(f, VIEW("?"), 700), REPLICA_FULL);
    assert_int_equal(ask(f, VIEW(""), 700), REPLICA_FULL);
    assert_int_equal(f->replication.partial_refused, 0);                   /* nobody tried */
    assert_int_equal(ask(f, id_of(REPLICATION_NO_ID), 700), REPLICA_FULL); /* no id2 is no history */
    assert_int_equal(ask(f, id_of(HISTORY), 700), REPLICA_FULL);
    assert_int_equal(f->replication.partial_refused, 2);
    memcpy(id, f->replication.id, sizeof f->replication.id);
    assert_int_equal(ask(f, view_of(id, REPLICATION_ID - 1), 700), REPLICA_FULL);
    assert_int_equal(ask(f, view_of(id, REPLICATION_ID + 1), 700), REPLICA_FULL);
    id[REPLICATION_ID - 1] ^= 1;
    assert_int_equal(ask(f, id_of(id), 700), REPLICA_FULL);
    assert_int_equal(ask(f, current(f), 700), REPLICA_CONTINUES);
}

/* The old history is known up to where the new one began, and the new one from there back as far as bytes are kept. */
static void test_old_history(void **state)
{
    struct fixture *f = *state;
    char old[REPLICATION_ID + 1];

    fill(f);
    memcpy(old, f->replication.id, sizeof old);
    replication_shift_id(&f->replication);
    oplog_retain(f->server.log, 10000);
    append(f, 500);
    assert_int_equal(ask(f, id_of(old), 599), REPLICA_FULL);
    assert_int_equal(ask(f, id_of(old), 600), REPLICA_CONTINUES);
    assert_int_equal(ask(f, id_of(old), 1000), REPLICA_CONTINUES);
    assert_int_equal(ask(f, id_of(old), 1001), REPLICA_FULL);
    assert_int_equal(ask(f, current(f), 600), REPLICA_CONTINUES);
    assert_int_equal(ask(f, current(f), 1001), REPLICA_CONTINUES);
    assert_int_equal(ask(f, current(f), 1500), REPLICA_CONTINUES);
    replication_shift_id(&f->replication); /* only one is remembered */
    assert_int_equal(ask(f, id_of(old), 600), REPLICA_FULL);
    replication_new_id(&f->replication);
    assert_int_equal(ask(f, current(f), 600), REPLICA_CONTINUES);
}

/* Who wants nothing but a snapshot gets one. */
static void test_snapshot_only(void **state)
{
    struct fixture *f = *state;
    struct replica *p = new_replica(f, 3);

    fill(f);
    p->rdb_only = true;
    assert_int_equal(replica_psync(p, current(f), 700), REPLICA_FULL);
    replica_leave(p);
}

/* ---- replicas ---- */

static void test_new(void **state)
{
    struct fixture *f = *state;
    static const char *const addresses[][2] = {
        {"10.1.2.3:4567", "10.1.2.3"}, {"[::1]:99", "[::1]"}, {"here", "here"}, {"", ""}};
    char lengthy[200];

    for (unsigned i = 0; i < 4; i++) {
        struct replica *p = replica_new(&f->server, 5, 5, -1, addresses[i][0]);
        assert_string_equal(p->address, addresses[i][1]);
        assert_int_equal(atomic_load(&p->state), REPLICA_NEW);
        assert_in_range(replica_lag_ms(p), 0, 10000);
        replica_leave(p); /* it never asked to synchronise */
        assert_int_equal(f->replication.count, 0);
    }
    memset(lengthy, 'x', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = 0;
    replica_leave(replica_new(&f->server, 5, 5, -1, lengthy));
    replica_unref(NULL);
}

static void test_woken(void **state)
{
    struct fixture *f = *state;
    struct replica *a, *b;

    fill(f);
    a = online(f, 20, 700);
    b = online(f, 21, 1000);
    oplog_retain(f->server.log, 0);
    assert_int_equal(oplog_first(f->server.log), 700); /* what it has not yet is kept */
    assert_true(oplog_sleep(f->server.log, &b->reader, 1000));
    append(f, 5);
    assert_int_equal(atomic_load(&f->touches), 1);
    assert_int_equal(f->touched, 21);
    replica_leave(a);
    assert_int_equal(oplog_first(f->server.log), 1000);
    replica_leave(b);
    assert_int_equal(oplog_first(f->server.log), 1005);
    assert_int_equal(atomic_load(&f->replication.online), 0);
}

/* Through a snapshot: the stream begins with the first acknowledgement, or at once. */
static void test_full(void **state)
{
    struct fixture *f = *state;
    struct replica *a = new_replica(f, 1), *b = new_replica(f, 2);

    fill(f);
    assert_int_equal(replica_psync(a, VIEW("?"), -1), REPLICA_FULL);
    assert_int_equal(replica_psync(b, VIEW("?"), -1), REPLICA_FULL);
    assert_int_equal(f->replication.count, 2);
    assert_int_equal(f->replication.nobody_since_ms, -1);
    atomic_store(&a->state, REPLICA_RECEIVING);
    atomic_store(&b->state, REPLICA_RECEIVING);
    replica_received(a, true);
    assert_int_equal(atomic_load(&a->state), REPLICA_LOADING);
    assert_int_equal(atomic_load(&f->replication.online), 0);
    replica_received(b, false);
    assert_int_equal(atomic_load(&b->state), REPLICA_ONLINE);
    assert_int_equal(atomic_load(&f->replication.online), 1);
    replica_acknowledge(a, 1000, 0, false);
    assert_int_equal(atomic_load(&a->state), REPLICA_ONLINE);
    replica_acknowledge(a, 1000, 0, false);
    replica_acknowledge(b, 1000, 0, false);
    assert_int_equal(atomic_load(&f->replication.online), 2);
    replica_leave(a);
    assert_int_equal(f->replication.nobody_since_ms, -1);
    replica_leave(b);
    assert_int_equal(atomic_load(&f->replication.online), 0);
    assert_true(f->replication.nobody_since_ms >= 0);
}

/* Who leaves while a snapshot is sent to it is no longer counted, whatever becomes of the snapshot. */
static void test_left_early(void **state)
{
    struct fixture *f = *state;

    fill(f);
    for (unsigned awaits_ack = 0; awaits_ack < 2; awaits_ack++) {
        struct replica *p = new_replica(f, 1);
        replica_psync(p, VIEW("?"), -1);
        atomic_store(&p->state, REPLICA_RECEIVING);
        atomic_fetch_add(&p->refs, 1);
        assert_true(oplog_attach(f->server.log, &p->reader, 1000));
        atomic_store(&p->attached, true);
        replica_leave(p);
        assert_true(atomic_load(&p->gone));
        assert_false(oplog_read_by_anyone(f->server.log));
        replica_received(p, awaits_ack);
        assert_int_equal(atomic_load(&f->replication.online), 0);
        replica_unref(p);
    }
}

/* ---- acknowledgements ---- */

static void test_acknowledged(void **state)
{
    struct fixture *f = *state;
    struct replication *r = &f->replication;
    struct replica *a, *b, *waiting = new_replica(f, 3);

    fill(f);
    a = online(f, 1, 600);
    b = online(f, 2, 800);
    replica_psync(waiting, VIEW("?"), -1);
    assert_int_equal(replication_count_acked(r, 0, false), 2);
    assert_int_equal(replication_count_acked(r, 600, false), 2);
    assert_int_equal(replication_count_acked(r, 601, false), 1);
    assert_int_equal(replication_count_acked(r, 801, false), 0);
    assert_int_equal(replication_count_acked(r, 0, true), 2);
    assert_int_equal(replication_count_acked(r, 1, true), 0);
    assert_int_equal(atomic_load(&f->progresses), 0);
    replica_acknowledge(a, 900, 0, false);
    assert_int_equal(atomic_load(&f->progresses), 0); /* nobody waits for it */
    atomic_store(&f->server.waiters, 1);
    replica_acknowledge(b, 850, 850, true);
    assert_int_equal(atomic_load(&f->progresses), 1);
    assert_int_equal(replication_count_acked(r, 850, false), 2);
    assert_int_equal(replication_count_acked(r, 851, false), 1);
    assert_int_equal(replication_count_acked(r, 850, true), 1);
    replica_acknowledge(a, 700, 950, false); /* nothing goes back; what is not said does not count */
    assert_int_equal(replication_count_acked(r, 900, false), 1);
    assert_int_equal(replication_count_acked(r, 851, true), 0);
    replica_acknowledge(b, 850, 400, true);
    assert_int_equal(replication_count_acked(r, 850, true), 1);
    replica_acknowledge(waiting, 1000, 0, false); /* it has no data yet */
    assert_int_equal(replication_count_acked(r, 1000, false), 0);
    replica_leave(a);
    assert_int_equal(replication_count_acked(r, 850, false), 1);
    replica_leave(b);
    replica_leave(waiting);
    assert_int_equal(replication_count_acked(r, 0, false), 0);
}

static void test_asked(void **state)
{
    struct fixture *f = *state;
    uint64_t head;
    struct replica *p;

    fill(f);
    replication_ask(&f->replication, &f->thread);
    atomic_store(&f->replication.want_acks, true);
    replication_ask(&f->replication, &f->thread); /* there is nobody to answer */
    assert_int_equal(oplog_head(f->server.log), 1000);
    p = online(f, 1, 1000);
    atomic_store(&f->replication.want_acks, true);
    replication_ask(&f->replication, &f->thread);
    head = oplog_head(f->server.log);
    assert_int_equal(head, 1000 + strlen(GETACK));
    assert_int_equal(oplog_db(f->server.log), -1);
    replication_ask(&f->replication, &f->thread); /* once for all who wait */
    assert_int_equal(oplog_head(f->server.log), head);
    atomic_store(&f->server.is_replica, true); /* then the stream is the primary's */
    atomic_store(&f->replication.want_acks, true);
    replication_ask(&f->replication, &f->thread);
    assert_int_equal(oplog_head(f->server.log), head);
    replica_leave(p);
}

static unsigned restrictions(const struct fixture *f)
{
    return atomic_load(&((struct fixture *)f)->server.restrictions);
}

static void test_good(void **state)
{
    struct fixture *f = *state;
    struct config *c = f->server.config;
    int64_t now = clock_mono_us() / 1000;
    struct replica *a, *b;

    fill(f);
    atomic_store(&c->min_replicas_to_write, 2);
    atomic_store(&c->min_replicas_max_lag, 10);
    a = online(f, 1, 1000);
    b = online(f, 2, 1000);
    replication_tick(&f->replication, &f->thread, now);
    assert_int_equal(atomic_load(&f->replication.good), 2);
    assert_int_equal(restrictions(f), 0);
    atomic_store(&a->acked_ms, now - 10500); /* counted in whole seconds */
    replication_tick(&f->replication, &f->thread, now);
    assert_int_equal(atomic_load(&f->replication.good), 2);
    atomic_store(&a->acked_ms, now - 11100);
    assert_in_range(replica_lag_ms(a), 11100, 60000);
    replication_tick(&f->replication, &f->thread, now);
    assert_int_equal(atomic_load(&f->replication.good), 1);
    assert_int_equal(restrictions(f), RESTRICT_FEW_REPLICAS);
    replica_acknowledge(a, 1000, 0, false);
    replication_tick(&f->replication, &f->thread, now);
    assert_int_equal(restrictions(f), 0);
    replica_leave(b);
    replication_tick(&f->replication, &f->thread, now);
    assert_int_equal(restrictions(f), RESTRICT_FEW_REPLICAS);
    atomic_store(&c->min_replicas_max_lag, 0); /* switched off */
    replication_tick(&f->replication, &f->thread, now);
    assert_int_equal(restrictions(f), 0);
    atomic_store(&c->min_replicas_max_lag, 10);
    atomic_store(&f->server.is_replica, true);
    replication_tick(&f->replication, &f->thread, now);
    assert_int_equal(restrictions(f), RESTRICT_REPLICA);
    atomic_store(&c->replica_serve_stale_data, 0);
    replication_restrict(&f->replication);
    assert_int_equal(restrictions(f), RESTRICT_REPLICA | RESTRICT_STALE);
    atomic_store(&f->replication.link, LINK_CONNECTED);
    replication_restrict(&f->replication);
    assert_int_equal(restrictions(f), RESTRICT_REPLICA);
    replica_leave(a);
}

/* ---- time ---- */

static void test_pinged(void **state)
{
    struct fixture *f = *state;
    int64_t now = clock_mono_us() / 1000;
    struct replica *p;

    fill(f);
    atomic_store(&f->server.config->repl_ping_replica_period, 10);
    replication_tick(&f->replication, &f->thread, now);
    assert_int_equal(oplog_head(f->server.log), 1000); /* to nobody */
    p = online(f, 1, 1000);
    replication_tick(&f->replication, &f->thread, now + 10000);
    assert_int_equal(oplog_head(f->server.log), 1000 + strlen(PING));
    replication_tick(&f->replication, &f->thread, now + 19999);
    assert_int_equal(oplog_head(f->server.log), 1000 + strlen(PING));
    replication_tick(&f->replication, &f->thread, now + 20000);
    assert_int_equal(oplog_head(f->server.log), 1000 + 2 * strlen(PING));
    atomic_store(&f->server.is_replica, true);
    replication_tick(&f->replication, &f->thread, now + 60000);
    assert_int_equal(oplog_head(f->server.log), 1000 + 2 * strlen(PING));
    replica_leave(p);
}

/* A log that nobody follows goes after repl-backlog-ttl, and its history with it. */
static void test_forgotten(void **state)
{
    struct fixture *f = *state;
    struct config *c = f->server.config;
    char id[REPLICATION_ID + 1];
    struct replica *p;
    int64_t now;

    fill(f);
    atomic_store(&c->repl_backlog_ttl, 3600);
    p = online(f, 1, 1000);
    memcpy(id, f->replication.id, sizeof id);
    now = clock_mono_us() / 1000;
    replication_tick(&f->replication, &f->thread, now + 4000000);
    replica_leave(p);
    now = f->replication.nobody_since_ms;
    replication_tick(&f->replication, &f->thread, now + 3600000);
    assert_true(oplog_active(f->server.log));
    atomic_store(&c->appendonly, 1); /* the file needs it */
    replication_tick(&f->replication, &f->thread, now + 3600001);
    assert_true(oplog_active(f->server.log));
    atomic_store(&c->appendonly, 0);
    atomic_store(&c->repl_backlog_ttl, 0); /* for ever */
    replication_tick(&f->replication, &f->thread, now + 3600001);
    assert_true(oplog_active(f->server.log));
    assert_int_equal(atomic_load(&f->posts), 0);
    assert_string_equal(f->replication.id, id);
    atomic_store(&c->repl_backlog_ttl, 3600);
    replication_tick(&f->replication, &f->thread, now + 3600001);
    assert_int_equal(atomic_load(&f->posts), 1);
    assert_false(oplog_active(f->server.log));
    assert_string_not_equal(f->replication.id, id);
    assert_int_equal(ask(f, id_of(id), 1000), REPLICA_FULL);
}

/* ---- roles ---- */

static void test_roles(void **state)
{
    struct fixture *f = *state;
    struct replication *r = &f->replication;
    char id[REPLICATION_ID + 1];
    struct replica *p;

    fill(f);
    p = online(f, 1, 1000);
    memcpy(id, r->id, sizeof id);
    oplog_append_raw(f->server.log, 0, 0, VIEW(PING));
    replication_follow(r, VIEW("primary.example"), 6390);
    assert_true(atomic_load(&f->server.is_replica));
    assert_true(r->resumable);
    assert_string_equal(r->host, "primary.example");
    assert_int_equal(r->port, 6390);
    assert_int_equal(r->primary_epoch, 1);
    assert_int_equal(atomic_load(&r->link), LINK_CONNECT);
    assert_int_equal(atomic_load(&f->follows), 1);
    assert_true(atomic_load(&p->dropped)); /* it has to see that the history changes */
    assert_int_equal(atomic_load(&f->touches), 1);
    assert_int_equal(restrictions(f), RESTRICT_REPLICA);
    assert_string_equal(r->id, id);
    replica_leave(p);
    replication_adopt_id(r, HISTORY);
    assert_int_equal(oplog_db(f->server.log), 0);
    replication_promote(r);
    assert_false(atomic_load(&f->server.is_replica));
    assert_int_equal(restrictions(f), 0);
    assert_string_equal(r->host, "");
    assert_string_equal(r->id2, HISTORY);
    assert_int_equal(r->id2_end, oplog_head(f->server.log));
    assert_int_equal(oplog_db(f->server.log), -1);
    assert_int_equal(r->primary_epoch, 2);
    assert_int_equal(atomic_load(&r->link), LINK_NONE);
}

static void test_failover(void **state)
{
    struct fixture *f = *state;
    struct replication *r = &f->replication;
    struct replica *p;

    fill(f);
    p = online(f, 1, 1000);
    p->port = 7001;
    assert_false(replication_failover(r, VIEW("10.1.2.3"), 7002, 0, false));
    assert_false(replication_failover(r, VIEW("10.1.2.4"), 7001, 0, false));
    assert_int_equal(atomic_load(&r->failover), FAILOVER_NONE);
    assert_true(replication_failover(r, VIEW("10.1.2.3"), 7001, 5000, true));
    assert_int_equal(atomic_load(&r->failover), FAILOVER_WAITING);
    assert_string_equal(r->failover_host, "10.1.2.3");
    assert_true(r->failover_force && r->failover_until_ms > 0);
    replication_failover_abort(r);
    assert_int_equal(atomic_load(&r->failover), FAILOVER_NONE);
    assert_true(replication_failover(r, VIEW(""), 0, 0, false));
    assert_int_equal(r->failover_until_ms, 0);
    atomic_store(&r->failover, FAILOVER_IN_PROGRESS);
    replication_failover_abort(r);
    assert_int_equal(atomic_load(&r->failover), FAILOVER_ABORTING);
    replica_leave(p);
}

/* ---- several threads ---- */

#define ROUNDS 2000

/* What a worker does with its replicas. */
static void *come_and_go(void *arg)
{
    struct fixture *f = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct replica *p = new_replica(f, 1);
        if (replica_psync(p, i % 3 == 0 ? VIEW("?") : current(f), 1000) == REPLICA_CONTINUES)
            replica_acknowledge(p, 1000 + i, i, true);
        replica_leave(p);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[2];
    struct replica *pin;

    fill(f);
    pin = online(f, 3, 1000);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, f), 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        replication_tick(&f->replication, &f->thread, clock_mono_us() / 1000);
        assert_in_range(replication_count_acked(&f->replication, 1000, false), 1, 3);
        if (i % 16 == 0)
            append(f, 10);
    }
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(f->replication.count, 1);
    assert_int_equal(atomic_load(&f->replication.online), 1);
    replica_leave(pin);
    assert_false(oplog_read_by_anyone(f->server.log));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ids),           TEST(test_positions), TEST(test_wrong_ids),    TEST(test_old_history),
        TEST(test_snapshot_only), TEST(test_new),       TEST(test_woken),        TEST(test_full),
        TEST(test_left_early),    TEST(test_good),      TEST(test_acknowledged), TEST(test_asked),
        TEST(test_pinged),        TEST(test_forgotten), TEST(test_roles),        TEST(test_failover),
        TEST(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
