/*
 * Replies, byte by byte: every kind in RESP2 and RESP3, headers that are inserted later, bytes that are sent from where
 * they are, sending in pieces, moving and cutting off.
 */
#include "engine/proto/resp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>
#include <sys/uio.h>

#include "base/mem.h"

struct fixture {
    struct resp_writer writer;
    struct buf sent;
    int released;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    resp_writer_init(&f->writer);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    resp_writer_free(&f->writer);
    buf_free(&f->sent);
    mem_free(f);
    return 0;
}

/* Sends n bytes at most, gathered into at most `entries` entries a time; returns how many there were. */
static size_t send_bytes(struct fixture *f, size_t n, int entries)
{
    struct iovec iov[8];
    size_t all = 0;

    while (all < n && resp_pending(&f->writer) > 0) {
        int count = resp_gather(&f->writer, iov, entries);
        size_t taken = 0;
        assert_in_range(count, 1, entries);
        for (int i = 0; i < count; i++) {
            size_t take = iov[i].iov_len < n - all - taken ? iov[i].iov_len : n - all - taken;
            assert_int_not_equal(iov[i].iov_len, 0);
            buf_put(&f->sent, iov[i].iov_base, take);
            taken += take;
        }
        resp_sent(&f->writer, taken);
        all += taken;
    }
    return all;
}

static void check_sent(struct fixture *f, struct view wanted)
{
    if (!view_equal(buf_view(&f->sent), wanted))
        fail_msg("sent %zu bytes: %.*s", f->sent.len, (int)f->sent.len, f->sent.p);
    buf_clear(&f->sent);
}

/* Sends everything, and compares. */
static void check(struct fixture *f, struct view wanted)
{
    assert_int_equal(resp_pending(&f->writer), wanted.n);
    send_bytes(f, SIZE_MAX, 8);
    assert_int_equal(resp_pending(&f->writer), 0);
    check_sent(f, wanted);
}

static void count_release(void *owner)
{
    (*(int *)owner)++;
}

static void share(struct fixture *f, struct view v)
{
    reply_bulk_shared(&f->writer.base, v, &f->released, count_release);
}

/* ---- kinds ------------------------------------------------------------------------------------------------------- */

static void numbers(void **state)
{
    static const struct {
        int64_t v;
        struct view wanted;
    } table[] = {
        {0, {":0\r\n", 4}},
        {9, {":9\r\n", 4}},
        {10, {":10\r\n", 5}},
        {-1, {":-1\r\n", 5}},
        {-10, {":-10\r\n", 6}},
        {INT64_MAX, {LIT(":9223372036854775807\r\n")}},
        {INT64_MIN, {LIT(":-9223372036854775808\r\n")}},
    };
    struct fixture *f = *state;
    struct reply *r = &f->writer.base;

    for (unsigned resp = 2; resp <= 3; resp++) {
        r->resp = (uint8_t)resp;
        for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
            reply_integer(r, table[i].v);
            check(f, table[i].wanted);
        }
        reply_bulk_integer(r, -42);
        check(f, VIEW("$3\r\n-42\r\n"));
        reply_bulk_integer(r, INT64_MIN);
        check(f, VIEW("$20\r\n-9223372036854775808\r\n"));
    }
}

static void strings(void **state)
{
    struct fixture *f = *state;
    struct reply *r = &f->writer.base;
    char digits[1000];

    memset(digits, 'x', sizeof digits);
    for (unsigned resp = 2; resp <= 3; resp++) {
        r->resp = (uint8_t)resp;
        reply_bulk(r, VIEW(""));
        reply_bulk(r, (struct view){NULL, 0});
        check(f, VIEW("$0\r\n\r\n$0\r\n\r\n"));
        reply_bulk(r, VIEW("a\r\nb\0c"));
        check(f, VIEW("$6\r\na\r\nb\0c\r\n"));
        reply_bulk_str(r, "0123456789");
        check(f, VIEW("$10\r\n0123456789\r\n"));
        reply_ok(r);
        reply_status(r, "QUEUED");
        check(f, VIEW("+OK\r\n+QUEUED\r\n"));
        r->ops->raw(r, LIT("$-1\r\n"));
        check(f, VIEW("$-1\r\n"));
        reply_bulk(r, view_of(digits, sizeof digits));
        assert_int_equal(resp_pending(&f->writer), sizeof "$1000\r\n\r\n" - 1 + sizeof digits);
        resp_writer_cut(&f->writer, 0, 0);
    }
}

static void nulls_and_booleans(void **state)
{
    struct fixture *f = *state;
    struct reply *r = &f->writer.base;

    reply_null(r);
    reply_null_array(r);
    reply_boolean(r, true);
    reply_boolean(r, false);
    check(f, VIEW("$-1\r\n*-1\r\n:1\r\n:0\r\n"));
    r->resp = 3;
    reply_null(r);
    reply_null_array(r);
    reply_boolean(r, true);
    reply_boolean(r, false);
    check(f, VIEW("_\r\n_\r\n#t\r\n#f\r\n"));
}

static void doubles(void **state)
{
    static const struct {
        double v;
        struct view resp2, resp3;
    } table[] = {
        {0, {LIT("$1\r\n0\r\n")}, {LIT(",0\r\n")}},
        {3, {LIT("$1\r\n3\r\n")}, {LIT(",3\r\n")}},
        {-0.0, {LIT("$2\r\n-0\r\n")}, {LIT(",-0\r\n")}},
        {1.5, {LIT("$3\r\n1.5\r\n")}, {LIT(",1.5\r\n")}},
        {0.1, {LIT("$19\r\n0.10000000000000001\r\n")}, {LIT(",0.10000000000000001\r\n")}},
        {1e300, {LIT("$23\r\n1.0000000000000001e+300\r\n")}, {LIT(",1.0000000000000001e+300\r\n")}},
        {INFINITY, {LIT("$3\r\ninf\r\n")}, {LIT(",inf\r\n")}},
        {-INFINITY, {LIT("$4\r\n-inf\r\n")}, {LIT(",-inf\r\n")}},
        {NAN, {LIT("$3\r\nnan\r\n")}, {LIT(",nan\r\n")}},
    };
    struct fixture *f = *state;
    struct reply *r = &f->writer.base;

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        r->resp = 2;
        reply_double(r, table[i].v);
        check(f, table[i].resp2);
        r->resp = 3;
        reply_double(r, table[i].v);
        check(f, table[i].resp3);
    }
}

static void verbatim(void **state)
{
    struct fixture *f = *state;
    struct reply *r = &f->writer.base;

    reply_verbatim(r, VIEW("some\r\ntext"), "txt");
    reply_verbatim(r, VIEW(""), "mkd");
    check(f, VIEW("$10\r\nsome\r\ntext\r\n$0\r\n\r\n"));
    r->resp = 3;
    reply_verbatim(r, VIEW("some\r\ntext"), "txt");
    reply_verbatim(r, VIEW(""), "mkd");
    check(f, VIEW("=14\r\ntxt:some\r\ntext\r\n=4\r\nmkd:\r\n"));
}

static void aggregates(void **state)
{
    struct fixture *f = *state;
    struct reply *r = &f->writer.base;

    for (unsigned resp = 2; resp <= 3; resp++) {
        r->resp = (uint8_t)resp;
        reply_array(r, 0);
        reply_array(r, 9);
        reply_array(r, 10);
        reply_array(r, 1234567);
        check(f, VIEW("*0\r\n*9\r\n*10\r\n*1234567\r\n"));
        reply_map(r, 0);
        reply_map(r, 5);
        reply_set(r, 3);
        r->ops->aggregate(r, '>', 2);
        check(f, resp == 2 ? VIEW("*0\r\n*10\r\n*3\r\n*2\r\n") : VIEW("%0\r\n%5\r\n~3\r\n>2\r\n"));
    }
}

static void errors_are_one_line(void **state)
{
    struct fixture *f = *state;
    struct reply *r = &f->writer.base;
    char text[3000];

    for (unsigned resp = 2; resp <= 3; resp++) {
        r->resp = (uint8_t)resp;
        r->errors = 0;
        reply_error(r, ERROR_SYNTAX);
        reply_error(r, ERROR_ARITY, "get");
        check(f, VIEW("-ERR syntax error\r\n-ERR wrong number of arguments for 'get' command\r\n"));
        reply_error_text(r, "ERR a\r\n+OK\n\r$-1\r\n");
        check(f, VIEW("-ERR a  +OK  $-1  \r\n"));
        reply_error(r, ERROR_UNKNOWN_COMMAND, 5, "a\r\n:1", 2, "\n%");
        check(f, VIEW("-ERR unknown command 'a  :1', with args beginning with:  %\r\n"));
        assert_int_equal(r->errors, 4);
        memset(text, '\n', sizeof text - 1);
        text[sizeof text - 1] = '\0';
        reply_error_text(r, text);
        send_bytes(f, SIZE_MAX, 8);
        assert_int_equal(f->sent.len, 1 + 1023 + 2);
        for (size_t i = 1; i < f->sent.len - 2; i++)
            assert_int_equal(f->sent.p[i], ' ');
        buf_clear(&f->sent);
    }
}

/* ---- headers behind their elements ------------------------------------------------------------------------------- */

static void inserted_headers(void **state)
{
    struct fixture *f = *state;
    struct reply *r = &f->writer.base;

    for (unsigned resp = 2; resp <= 3; resp++) {
        r->resp = (uint8_t)resp;
        reply_ok(r);
        size_t outer = reply_mark(r);
        reply_integer(r, 1);
        size_t inner = reply_mark(r);
        for (int i = 0; i < 12; i++)
            reply_integer(r, 2);
        reply_insert(r, inner, '~', 12);
        size_t empty = reply_mark(r);
        reply_insert(r, empty, '%', 0);
        reply_integer(r, 3);
        reply_insert(r, outer, '%', 2);
        if (resp == 2)
            check(
                f,
                VIEW(
                    "+OK\r\n*4\r\n:1\r\n*12\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n"
                    "*0\r\n:3\r\n"));
        else
            check(
                f,
                VIEW(
                    "+OK\r\n%2\r\n:1\r\n~12\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n"
                    "%0\r\n:3\r\n"));
    }
}

/* A header that is inserted moves the places of what is shared behind it, and of nothing before it. */
static void inserted_before_shares(void **state)
{
    struct fixture *f = *state;
    struct reply *r = &f->writer.base;
    size_t mark;

    share(f, VIEW("before"));
    mark = reply_mark(r);
    share(f, VIEW("one"));
    reply_integer(r, 5);
    share(f, VIEW("two"));
    reply_insert(r, mark, '*', 3);
    check(f, VIEW("$6\r\nbefore\r\n*3\r\n$3\r\none\r\n:5\r\n$3\r\ntwo\r\n"));
    assert_int_equal(f->released, 3);
}

/* ---- bytes that are sent from where they are --------------------------------------------------------------------- */

#define SHARED_REPLY "+OK\r\n$5\r\nfirst\r\n$0\r\n\r\n*2\r\n$6\r\nsecond\r\n$0\r\n\r\n"

static void write_shared(struct fixture *f)
{
    reply_ok(&f->writer.base);
    share(f, VIEW("first"));
    share(f, VIEW(""));
    reply_array(&f->writer.base, 2);
    share(f, VIEW("second"));
    share(f, VIEW(""));
}

static void shared_bytes_are_not_copied(void **state)
{
    static const char text[] = "where it is";
    struct fixture *f = *state;
    struct iovec iov[3];

    share(f, view_str(text));
    assert_int_equal(resp_gather(&f->writer, iov, 3), 3);
    assert_ptr_equal(iov[1].iov_base, text);
    assert_int_equal(iov[1].iov_len, sizeof text - 1);
    assert_int_equal(resp_gather(&f->writer, iov, 1), 1);
    assert_memory_equal(iov[0].iov_base, "$11\r\n", iov[0].iov_len);
    assert_int_equal(f->released, 0);
    resp_writer_free(&f->writer);
    assert_int_equal(f->released, 1);
    assert_int_equal(resp_pending(&f->writer), 0);
}

/* Whatever the kernel takes at once, the bytes are the same, and each owner is released once, when its last is sent. */
static void sent_in_pieces(void **state)
{
    struct fixture *f = *state;
    size_t n = sizeof SHARED_REPLY - 1, first = strlen("+OK\r\n$5\r\nfirst");

    for (size_t piece = 1; piece <= n; piece++) {
        for (int entries = 1; entries <= 8; entries++) {
            size_t sent = 0;
            f->released = 0;
            write_shared(f);
            while (resp_pending(&f->writer) > 0) {
                assert_int_equal(resp_pending(&f->writer), n - sent);
                sent += send_bytes(f, piece, entries);
                assert_int_equal(f->released > 0, sent >= first);
            }
            assert_int_equal(f->released, 4);
            check_sent(f, VIEW(SHARED_REPLY));
        }
    }
}

/* More is written while some is on its way. */
static void written_between_sending(void **state)
{
    struct fixture *f = *state;
    struct buf wanted = {0};

    for (size_t i = 0; i < 200; i++) {
        write_shared(f);
        buf_put(&wanted, LIT(SHARED_REPLY));
        send_bytes(f, i * 7 % 90, 1 + (int)(i % 8));
    }
    send_bytes(f, SIZE_MAX, 8);
    check_sent(f, buf_view(&wanted));
    assert_int_equal(f->released, 4 * 200);
    buf_free(&wanted);
}

static void dropped_unsent(void **state)
{
    struct fixture *f = *state;
    size_t n = sizeof SHARED_REPLY - 1;

    for (size_t sent = 0; sent <= n; sent++) {
        f->released = 0;
        write_shared(f);
        send_bytes(f, sent, 8);
        resp_writer_free(&f->writer);
        assert_int_equal(f->released, 4);
        assert_int_equal(resp_pending(&f->writer), 0);
        buf_clear(&f->sent);
    }
    reply_ok(&f->writer.base);
    check(f, VIEW("+OK\r\n"));
}

/* ---- moving and cutting ------------------------------------------------------------------------------------------ */

static void moved(void **state)
{
    struct fixture *f = *state;
    struct resp_writer other;

    resp_writer_init(&other);
    other.base.resp = 3;
    for (int round = 0; round < 2; round++) { /* the second time behind bytes that are sent already */
        f->released = 0;
        write_shared(f);
        send_bytes(f, (size_t)round * 12, 8);
        buf_clear(&f->sent);
        reply_null(&other.base);
        reply_bulk_shared(&other.base, VIEW("third"), &f->released, count_release);
        resp_writer_move(&f->writer, &other);
        assert_int_equal(resp_pending(&other), 0);
        resp_writer_move(&f->writer, &other);
        assert_int_equal(f->released, 0);
        check(f, round == 0 ? VIEW(SHARED_REPLY "_\r\n$5\r\nthird\r\n")
                            : VIEW("st\r\n$0\r\n\r\n*2\r\n$6\r\nsecond\r\n$0\r\n\r\n_\r\n$5\r\nthird\r\n"));
        assert_int_equal(f->released, 5);
    }
    resp_writer_free(&other);
}

static void cut_off(void **state)
{
    struct fixture *f = *state;
    struct resp_writer *w = &f->writer;
    size_t mark;
    unsigned shares;

    reply_ok(&w->base);
    share(f, VIEW("kept"));
    mark = w->buf.len;
    shares = w->share_count;
    write_shared(f);
    resp_writer_cut(w, mark, shares);
    assert_int_equal(f->released, 4);
    resp_writer_cut(w, mark, shares);
    check(f, VIEW("+OK\r\n$4\r\nkept\r\n"));
    assert_int_equal(f->released, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(strings, setup, teardown),
        cmocka_unit_test_setup_teardown(nulls_and_booleans, setup, teardown),
        cmocka_unit_test_setup_teardown(doubles, setup, teardown),
        cmocka_unit_test_setup_teardown(verbatim, setup, teardown),
        cmocka_unit_test_setup_teardown(aggregates, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_are_one_line, setup, teardown),
        cmocka_unit_test_setup_teardown(inserted_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(inserted_before_shares, setup, teardown),
        cmocka_unit_test_setup_teardown(shared_bytes_are_not_copied, setup, teardown),
        cmocka_unit_test_setup_teardown(sent_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(written_between_sending, setup, teardown),
        cmocka_unit_test_setup_teardown(dropped_unsent, setup, teardown),
        cmocka_unit_test_setup_teardown(moved, setup, teardown),
        cmocka_unit_test_setup_teardown(cut_off, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
