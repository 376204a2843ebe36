/* The ordered log as one thread sees it: exact bytes, borders of blocks, what is kept and freed, readers. */
#include "unit/support.h"

#include <stdio.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "engine/log/effects.h"
#include "engine/log/oplog.h"

#define SELECT_0 "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"
#define SELECT_1 "*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n"
#define SELECT_3 "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"
#define MULTI "*1\r\n$5\r\nMULTI\r\n"
#define EXEC "*1\r\n$4\r\nEXEC\r\n"
#define SET_A "*2\r\n$3\r\nSET\r\n$1\r\na\r\n"
#define SET_B "*2\r\n$3\r\nSET\r\n$1\r\nb\r\n"

struct fixture {
    struct oplog *log;
    uint64_t start; /* where `expected` begins */
    struct buf expected;
    struct oplog_reader readers[3];
    unsigned wakes;
};

static void count_wake(void *arg)
{
    struct fixture *f = arg;

    f->wakes++;
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    f->log = oplog_new();
    for (unsigned i = 0; i < 3; i++) {
        f->readers[i].wake = count_wake;
        f->readers[i].arg = f;
    }
    oplog_start(f->log);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    oplog_free(f->log);
    buf_free(&f->expected);
    mem_free(f);
    return 0;
}

/* Copies [from, end) of the log by gathers of up to `max` entries. */
static struct buf copy(const struct oplog *log, uint64_t from, uint64_t end, int max)
{
    struct iovec iov[16];
    struct buf b = {0};

    while (from < end) {
        int n = oplog_gather(log, from, end, iov, max);
        assert_in_range(n, 1, max);
        for (int i = 0; i < n; i++) {
            buf_put(&b, iov[i].iov_base, iov[i].iov_len);
            from += iov[i].iov_len;
        }
    }
    assert_int_equal(from, end);
    return b;
}

/* The log holds what is expected from offset `from` on. */
static void check_from(struct fixture *f, uint64_t from, int max)
{
    uint64_t end = f->start + buf_live(&f->expected);
    struct buf have;

    assert_int_equal(oplog_head(f->log), end);
    assert_int_equal(oplog_tail(f->log), end);
    have = copy(f->log, from, end, max);
    if (buf_live(&have) > 0 && memcmp(have.p, f->expected.p + (from - f->start), buf_live(&have)) != 0)
        fail_msg("the stream is not what it should be, from %llu on", (unsigned long long)from);
    buf_free(&have);
}

static void expect(struct fixture *f, const char *bytes)
{
    buf_put_view(&f->expected, view_str(bytes));
    check_from(f, f->start, 16);
}

static struct view set_words[2][2] = {{VIEW("SET"), VIEW("a")}, {VIEW("SET"), VIEW("b")}};

/* Appends SET a, on database `db`, and SET b on `db2` unless that is negative. */
static void append(struct fixture *f, unsigned thread, uint32_t db, int db2)
{
    struct effects e = {0};
    uint64_t end;

    effects_add(&e, db, set_words[0], 2);
    if (db2 >= 0)
        effects_add(&e, (uint32_t)db2, set_words[1], 2);
    end = oplog_append(f->log, thread, &e);
    assert_int_equal(end, oplog_head(f->log));
    assert_int_equal(end, oplog_end(f->log, thread));
    assert_true(oplog_appended(f->log, thread));
    assert_int_equal(oplog_db(f->log), db2 >= 0 ? db2 : (int)db);
    buf_free(&e.bytes);
}

static void test_stream(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(oplog_head(f->log), 0);
    assert_int_equal(oplog_db(f->log), -1);
    append(f, 0, 0, -1);
    expect(f, SELECT_0 SET_A);
    append(f, 1, 0, -1);
    expect(f, SET_A);
    assert_int_equal(oplog_append_raw(f->log, 2, 3, VIEW(SET_B)), strlen(SELECT_0 SET_A SET_A SELECT_3 SET_B));
    expect(f, SELECT_3 SET_B);
    append(f, 0, 3, 3);
    expect(f, MULTI SET_A SET_B EXEC);
    append(f, 1, 1, 3); /* the SELECT stands inside the transaction */
    expect(f, MULTI SELECT_1 SET_A SELECT_3 SET_B EXEC);
    append(f, OPLOG_THREADS - 1, 3, 0);
    expect(f, MULTI SET_A SELECT_0 SET_B EXEC);
    append(f, 0, 0, -1);
    expect(f, SET_A);
    oplog_append_raw(f->log, 1, 0, VIEW(SET_B));
    expect(f, SET_B);
    oplog_append_raw(f->log, 1, 65535, VIEW(SET_B));
    expect(f, "*2\r\n$6\r\nSELECT\r\n$5\r\n65535\r\n" SET_B);
    assert_int_equal(oplog_db(f->log), 65535);
}

static void test_database_forgotten(void **state)
{
    struct fixture *f = *state;

    append(f, 0, 1, -1);
    expect(f, SELECT_1 SET_A);
    oplog_forget_db(f->log);
    assert_int_equal(oplog_db(f->log), -1);
    expect(f, "");
    append(f, 0, 1, -1);
    expect(f, SELECT_1 SET_A);
    oplog_forget_db(f->log);
    append(f, 1, 1, 1);
    expect(f, MULTI SELECT_1 SET_A SET_B EXEC);
}

static void test_verbatim(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(oplog_append_verbatim(f->log, 4, VIEW("PING\r\n"), OPLOG_SAME_DB), 6);
    assert_int_equal(oplog_end(f->log, 4), 6);
    assert_true(oplog_appended(f->log, 4));
    assert_int_equal(oplog_db(f->log), -1);
    expect(f, "PING\r\n");
    append(f, 0, 0, -1);
    expect(f, SELECT_0 SET_A);
    oplog_append_verbatim(f->log, 4, VIEW("PING\r\n"), OPLOG_SAME_DB);
    append(f, 0, 0, -1);
    expect(f, "PING\r\n" SET_A);
    oplog_append_verbatim(f->log, 4, VIEW(SELECT_3), 3);
    assert_int_equal(oplog_db(f->log), 3);
    append(f, 0, 3, -1);
    expect(f, SELECT_3 SET_A);
    oplog_append_verbatim(f->log, 4, VIEW("x"), 0); /* whatever the bytes say */
    append(f, 0, 3, -1);
    expect(f, "x" SELECT_3 SET_A);
    oplog_append_verbatim(f->log, 4, VIEW(""), OPLOG_SAME_DB);
    expect(f, "");
}

/* ---- blocks ---- */

/* A raw effect of n bytes on that database, which the stream is on or not. */
static void append_bytes(struct fixture *f, struct random *r, uint32_t db, size_t n)
{
    char *bytes = mem_alloc(n + 1);

    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(i % 8 == 0 ? random_next(r) : (uint64_t)bytes[i - 1] + i);
    if (oplog_db(f->log) != (int64_t)db)
        effects_put_select(&f->expected, db);
    buf_put(&f->expected, bytes, n);
    assert_int_equal(oplog_append_raw(f->log, 0, db, view_of(bytes, n)), f->start + buf_live(&f->expected));
    mem_free(bytes);
}

/* Effects that end before, at and behind the border of a block; the same for a SELECT that stands across it. */
static void test_borders(void **state)
{
    struct fixture *f = *state;
    struct random r = support_random();

    oplog_retain(f->log, 64 * OPLOG_BLOCK);
    append_bytes(f, &r, 0, 1);
    for (int64_t off = -2; off <= 30; off++) { /* the SELECT takes 23 bytes */
        uint64_t inside = oplog_head(f->log) % OPLOG_BLOCK;
        uint32_t db = (uint32_t)oplog_db(f->log);
        append_bytes(f, &r, db, (size_t)((int64_t)(OPLOG_BLOCK - inside) - off));
        if (off % 3 == 0)
            append_bytes(f, &r, 1 - db, 40);
        else
            append_bytes(f, &r, db, (size_t)(2 * off + 5));
        check_from(f, oplog_head(f->log) - 50, 16);
    }
    for (uint64_t n = 3 * OPLOG_BLOCK - 1; n <= 3 * OPLOG_BLOCK + 1; n++)
        append_bytes(f, &r, 0, n);
    check_from(f, 0, 1);
    check_from(f, 0, 16);
    for (unsigned i = 0; i < 200; i++)
        append_bytes(f, &r, (uint32_t)random_below(&r, 2), (size_t)random_below(&r, i % 50 == 0 ? 600000 : 3000));
    for (unsigned i = 0; i < 20; i++)
        check_from(f, random_below(&r, oplog_head(f->log) + 1), 1 + (int)random_below(&r, 16));
}

static void test_retained(void **state)
{
    struct fixture *f = *state;
    struct random r = support_random();
    const size_t piece = 60000;

    oplog_retain(f->log, 2 * OPLOG_BLOCK);
    for (unsigned i = 0; i < 100; i++) {
        append_bytes(f, &r, 0, piece);
        assert_true(oplog_head(f->log) - oplog_first(f->log) <= 3 * OPLOG_BLOCK + piece);
        assert_true(oplog_head(f->log) - oplog_first(f->log) >=
                    (oplog_head(f->log) < 2 * OPLOG_BLOCK ? oplog_head(f->log) : 2 * OPLOG_BLOCK - piece));
        assert_true(atomic_load(&f->log->bytes) <= 6 * OPLOG_BLOCK);
    }
    check_from(f, oplog_first(f->log), 16);
    oplog_retain(f->log, OPLOG_BLOCK / 2);
    assert_int_equal(oplog_first(f->log), oplog_head(f->log) - OPLOG_BLOCK / 2);
    check_from(f, oplog_first(f->log), 16);
    oplog_retain(f->log, UINT64_MAX); /* what is gone does not come back */
    assert_int_equal(oplog_first(f->log), oplog_head(f->log) - OPLOG_BLOCK / 2);
    oplog_retain(f->log, 0);
    assert_int_equal(oplog_first(f->log), oplog_head(f->log));
    append_bytes(f, &r, 0, 10);
    check_from(f, oplog_head(f->log) - 10, 1);
    oplog_stop(f->log);
    assert_int_equal(atomic_load(&f->log->bytes), 0);
}

/* A burst that is let go leaves some spare blocks, and not more. */
static void test_spare(void **state)
{
    struct fixture *f = *state;
    struct random r = support_random();

    oplog_retain(f->log, 40 * OPLOG_BLOCK);
    append_bytes(f, &r, 0, 30 * OPLOG_BLOCK);
    assert_in_range(atomic_load(&f->log->bytes) / OPLOG_BLOCK, 30, 31);
    oplog_retain(f->log, 0);
    assert_in_range(atomic_load(&f->log->bytes) / OPLOG_BLOCK, 1, 9);
    append_bytes(f, &r, 0, 3 * OPLOG_BLOCK); /* from the spare ones */
    assert_in_range(atomic_load(&f->log->bytes) / OPLOG_BLOCK, 1, 9);
}

/* ---- readers ---- */

static void test_pinned(void **state)
{
    struct fixture *f = *state;
    struct random r = support_random();
    struct oplog_reader *slow = &f->readers[0], *fast = &f->readers[1];
    uint64_t at;

    append_bytes(f, &r, 0, 1000);
    assert_false(oplog_read_by_anyone(f->log));
    assert_true(oplog_attach(f->log, slow, 700));
    assert_true(oplog_attach(f->log, fast, 1000));
    assert_true(oplog_read_by_anyone(f->log));
    append_bytes(f, &r, 0, 5 * OPLOG_BLOCK);
    at = oplog_head(f->log);
    append_bytes(f, &r, 1, 5 * OPLOG_BLOCK);
    oplog_retain(f->log, 0);
    assert_int_equal(oplog_first(f->log), 700);
    check_from(f, 700, 16);
    oplog_advance(f->log, fast, oplog_head(f->log));
    assert_int_equal(oplog_first(f->log), 700);
    oplog_advance(f->log, slow, at);
    assert_int_equal(oplog_first(f->log), at);
    assert_in_range(atomic_load(&f->log->bytes) / OPLOG_BLOCK, 5, 6 + 8);
    check_from(f, at, 16);
    oplog_advance(f->log, fast, oplog_head(f->log));
    oplog_detach(f->log, slow);
    assert_int_equal(oplog_first(f->log), oplog_head(f->log));
    oplog_detach(f->log, slow); /* once more does nothing */
    assert_true(oplog_read_by_anyone(f->log));
    oplog_detach(f->log, fast);
    assert_false(oplog_read_by_anyone(f->log));
    assert_int_equal(f->wakes, 0);
}

static void test_attached(void **state)
{
    struct fixture *f = *state;
    struct random r = support_random();
    struct oplog_reader *reader = f->readers;
    uint64_t first, head;

    assert_true(oplog_attach(f->log, reader, 0));
    oplog_detach(f->log, reader);
    assert_false(oplog_attach(f->log, reader, 1));
    append_bytes(f, &r, 0, 4 * OPLOG_BLOCK);
    oplog_retain(f->log, OPLOG_BLOCK + 5);
    first = oplog_first(f->log);
    head = oplog_head(f->log);
    assert_int_equal(first, head - OPLOG_BLOCK - 5);
    assert_false(oplog_attach(f->log, reader, 0));
    assert_false(oplog_attach(f->log, reader, first - 1));
    assert_false(oplog_attach(f->log, reader, head + 1));
    assert_false(oplog_attach(f->log, reader, UINT64_MAX));
    assert_false(oplog_read_by_anyone(f->log));
    for (unsigned i = 0; i < 3; i++) {
        uint64_t position = i == 0 ? first : i == 1 ? first + 1 : head;
        assert_true(oplog_attach(f->log, reader, position));
        assert_int_equal(atomic_load(&reader->position), position);
        oplog_detach(f->log, reader);
    }
    oplog_stop(f->log);
    assert_false(oplog_attach(f->log, reader, head));
    oplog_start(f->log);
    assert_false(oplog_attach(f->log, reader, head - 1));
    assert_true(oplog_attach(f->log, reader, head));
    oplog_detach(f->log, reader);
}

static void test_sleep(void **state)
{
    struct fixture *f = *state;
    struct oplog_reader *a = &f->readers[0], *b = &f->readers[1];

    oplog_attach(f->log, a, 0);
    oplog_attach(f->log, b, 0);
    assert_true(oplog_sleep(f->log, a, 0));
    assert_true(oplog_sleep(f->log, a, 0));
    assert_int_equal(atomic_load(&f->log->sleepers), 1);
    append(f, 0, 0, -1);
    assert_int_equal(f->wakes, 0);
    oplog_wake(f->log, 1); /* it appended nothing */
    assert_int_equal(f->wakes, 0);
    oplog_wake(f->log, 0);
    assert_int_equal(f->wakes, 1);
    assert_int_equal(atomic_load(&f->log->sleepers), 0);
    assert_false(oplog_appended(f->log, 0));
    append(f, 0, 0, -1);
    oplog_wake(f->log, 0); /* who is awake is not woken */
    assert_int_equal(f->wakes, 1);

    assert_false(oplog_sleep(f->log, a, oplog_head(f->log) - 1));
    assert_int_equal(atomic_load(&f->log->sleepers), 0);
    assert_true(oplog_sleep(f->log, a, oplog_head(f->log)));
    assert_true(oplog_sleep(f->log, b, oplog_head(f->log)));
    append(f, 1, 0, -1);
    oplog_wake(f->log, 1);
    assert_int_equal(f->wakes, 3);
    assert_true(oplog_sleep(f->log, a, oplog_head(f->log)));
    oplog_detach(f->log, a); /* who leaves is not woken */
    assert_int_equal(atomic_load(&f->log->sleepers), 0);
    append(f, 1, 0, -1);
    oplog_wake(f->log, 1);
    assert_int_equal(f->wakes, 3);
    oplog_detach(f->log, b);
}

/* What a thread still fills, and all behind it, is not there yet. */
static void test_pending(void **state)
{
    struct fixture *f = *state;
    struct random r = support_random();
    struct oplog_reader *reader = f->readers;
    uint64_t at;

    append_bytes(f, &r, 0, 100);
    at = oplog_head(f->log);
    oplog_attach(f->log, reader, at);
    atomic_store(&f->log->lines[7].pending, at);
    append_bytes(f, &r, 0, 3 * OPLOG_BLOCK);
    assert_int_equal(oplog_tail(f->log), at);
    assert_true(oplog_head(f->log) > at);
    oplog_advance(f->log, reader, at);
    oplog_retain(f->log, 0);
    assert_int_equal(oplog_first(f->log), at);
    assert_true(oplog_sleep(f->log, reader, at));
    oplog_wake(f->log, 0);
    assert_int_equal(f->wakes, 1);
    oplog_detach(f->log, reader);
    assert_int_equal(oplog_first(f->log), at); /* what is to be filled stays, read or not */
    assert_true(oplog_attach(f->log, reader, at));
    atomic_store(&f->log->lines[7].pending, UINT64_MAX);
    assert_int_equal(oplog_tail(f->log), oplog_head(f->log));
    assert_false(oplog_sleep(f->log, reader, at));
    oplog_detach(f->log, reader);
}

/* The distance is made up: 8 GiB take too long. */
static void test_lost(void **state)
{
    struct fixture *f = *state;
    struct oplog_reader *lost = &f->readers[0], *other = &f->readers[1];
    uint64_t from = OPLOG_SPAN_MAX + 100, head;

    oplog_restart(f->log, from);
    assert_true(oplog_attach(f->log, lost, from));
    assert_true(oplog_attach(f->log, other, from));
    f->start = from;
    append(f, 0, 0, -1);
    head = oplog_head(f->log);
    assert_true(oplog_sleep(f->log, lost, head));
    atomic_store(&lost->position, head - OPLOG_SPAN_MAX);
    oplog_retain(f->log, 0);
    assert_false(atomic_load(&lost->lost));
    atomic_store(&lost->position, head - OPLOG_SPAN_MAX - 1);
    oplog_retain(f->log, 0);
    assert_true(atomic_load(&lost->lost));
    assert_false(atomic_load(&other->lost));
    assert_int_equal(f->wakes, 1);
    oplog_retain(f->log, 0); /* it is told once */
    assert_int_equal(f->wakes, 1);
    oplog_detach(f->log, lost);
    assert_int_equal(atomic_load(&f->log->sleepers), 0);
    assert_true(oplog_attach(f->log, lost, head));
    assert_false(atomic_load(&lost->lost));
    atomic_store(&lost->lost, true);
    assert_false(oplog_sleep(f->log, lost, head)); /* it is to leave, not to wait */
    oplog_detach(f->log, lost);
    oplog_detach(f->log, other);
}

/* ---- origin ---- */

static void test_rebased(void **state)
{
    struct fixture *f = *state;
    uint64_t far = (uint64_t)1 << 46;

    append(f, 0, 3, -1);
    expect(f, SELECT_3 SET_A);
    assert_false(oplog_rebase_due(f->log));
    oplog_rebase(f->log);
    expect(f, "");
    append(f, 0, 3, -1); /* the database is still known */
    expect(f, SET_A);

    oplog_restart(f->log, 1000);
    atomic_store(&f->log->head, far); /* as after 64 TiB */
    atomic_store(&f->log->first, far + 1000);
    f->start = far + 1000;
    buf_clear(&f->expected);
    assert_true(oplog_rebase_due(f->log));
    append(f, 0, 1, -1);
    expect(f, SELECT_1 SET_A);
    oplog_rebase(f->log);
    assert_false(oplog_rebase_due(f->log));
    expect(f, "");
    append(f, 1, 1, 0);
    expect(f, MULTI SET_A SELECT_0 SET_B EXEC);
    assert_int_equal(oplog_db(f->log), 0);
}

static void test_stopped(void **state)
{
    struct fixture *f = *state;

    oplog_retain(f->log, OPLOG_BLOCK);
    append(f, 0, 0, -1);
    expect(f, SELECT_0 SET_A);
    oplog_stop(f->log);
    assert_false(oplog_active(f->log));
    assert_int_equal(oplog_head(f->log), f->expected.len);
    assert_int_equal(oplog_first(f->log), f->expected.len);
    assert_int_equal(atomic_load(&f->log->bytes), 0);
    oplog_stop(f->log);
    oplog_retain(f->log, 3 * OPLOG_BLOCK);
    oplog_start(f->log);
    oplog_start(f->log);
    assert_true(oplog_active(f->log));
    f->start = f->expected.len;
    buf_clear(&f->expected);
    assert_int_equal(oplog_first(f->log), f->start);
    append(f, 0, 0, -1);
    expect(f, SELECT_0 SET_A);
    oplog_stop(f->log);
    oplog_free(f->log);
    f->log = oplog_new();
    oplog_start(f->log);
}

static void test_restarted(void **state)
{
    struct fixture *f = *state;
    struct random r = support_random();
    struct oplog_reader *reader = f->readers;

    for (unsigned i = 0; i < 4; i++) {
        uint64_t offset = i == 0 ? 5 * OPLOG_BLOCK : i == 1 ? 1 : i == 2 ? 9 * OPLOG_BLOCK - 1 : OPLOG_SPAN_MAX * 3;
        oplog_retain(f->log, 20 * OPLOG_BLOCK);
        append_bytes(f, &r, 0, 10 * OPLOG_BLOCK);
        if (i == 2)
            oplog_stop(f->log);
        oplog_restart(f->log, offset);
        oplog_start(f->log);
        assert_true(atomic_load(&f->log->bytes) <= 8 * OPLOG_BLOCK);
        assert_int_equal(oplog_head(f->log), offset);
        assert_int_equal(oplog_tail(f->log), offset);
        assert_int_equal(oplog_first(f->log), offset);
        assert_int_equal(oplog_db(f->log), -1);
        assert_false(oplog_attach(f->log, reader, offset - 1));
        assert_false(oplog_attach(f->log, reader, offset + 1));
        assert_true(oplog_attach(f->log, reader, offset));
        f->start = offset;
        buf_clear(&f->expected);
        append_bytes(f, &r, 1, 3 * OPLOG_BLOCK);
        check_from(f, offset, 16);
        oplog_detach(f->log, reader);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_stream),   TEST(test_database_forgotten),
        TEST(test_verbatim), TEST(test_borders),
        TEST(test_retained), TEST(test_spare),
        TEST(test_pinned),   TEST(test_attached),
        TEST(test_sleep),    TEST(test_pending),
        TEST(test_lost),     TEST(test_rebased),
        TEST(test_stopped),  TEST(test_restarted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
