/*
 * Requests, against what Redis 7.0.15 makes of the same bytes: arguments, error texts, how much is consumed, how many
 * bytes are asked for, the limits before login; and pipelines that arrive in every possible pair of pieces.
 *
 * Two things differ on purpose: a NUL byte does not hide the end of its line (there, the client then waits for ever),
 * and what is no string is refused before its line is complete.
 */
#include "engine/proto/resp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define MIB ((int64_t)1 << 20)
#define LINE_MAX_BYTES 65536
#define ARGS_MAX 8

static const struct resp_limits after_login = {512 * MIB, INT32_MAX, true};
static const struct resp_limits before_login = {512 * MIB, INT32_MAX, false};

/* Parses a copy in a block of exactly that size, so that the sanitizers see reading beyond it. */
static enum resp_parsed parse(struct view in, const struct resp_limits *limits, struct resp_request *r, char **copy,
                              struct arena *arena)
{
    *copy = malloc(in.n);
    assert_true(*copy != NULL || in.n == 0);
    if (in.n > 0)
        memcpy(*copy, in.p, in.n);
    *arena = (struct arena){0};
    *r = (struct resp_request){0};
    return resp_parse(*copy, in.n, limits, arena, NULL, r);
}

/* ---- requests that are complete ---------------------------------------------------------------------------------- */

struct good {
    struct view in;
    size_t left; /* bytes behind the request */
    int argc;
    struct view argv[ARGS_MAX];
};

static void check_good(const struct good *g, const struct resp_limits *limits)
{
    struct resp_request r;
    struct arena arena;
    char *copy;

    if (parse(g->in, limits, &r, &copy, &arena) != RESP_DONE)
        fail_msg("not taken as complete: %.*s (%s)", (int)g->in.n, g->in.p, r.error);
    if (r.argc != g->argc || r.consumed != g->in.n - g->left)
        fail_msg("%d arguments, %zu consumed: %.*s", r.argc, r.consumed, (int)g->in.n, g->in.p);
    for (int i = 0; i < g->argc; i++)
        if (!view_equal(r.argv[i], g->argv[i]))
            fail_msg("argument %d is %.*s: %.*s", i, (int)r.argv[i].n, r.argv[i].p, (int)g->in.n, g->in.p);
    arena_free(&arena);
    free(copy);
}

#define V(s)                                                                                                           \
    {                                                                                                                  \
        ("" s), sizeof(s) - 1                                                                                          \
    }

static void arrays(void **state)
{
    static const struct good table[] = {
        {V("*1\r\n$4\r\nPING\r\n"), 0, 1, {V("PING")}},
        {V("*2\r\n$4\r\nECHO\r\n$0\r\n\r\n"), 0, 2, {V("ECHO"), V("")}},
        {V("*2\r\n$4\r\nECHO\r\n$12\r\na\r\n$-1\r\n\0*1\xff\r\n"), 0, 2, {V("ECHO"), V("a\r\n$-1\r\n\0*1\xff")}},
        {V("*3\r\n$0\r\n\r\n$0\r\n\r\n$1\r\na\r\n"), 0, 3, {V(""), V(""), V("a")}},
        {V("*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n"), 14, 1, {V("PING")}},
        {V("*1\r\n$4\r\nPING\r\nrest"), 4, 1, {V("PING")}},
        /* No arguments: skipped, whatever the count says. */
        {V("*0\r\n"), 0, 0, {V("")}},
        {V("*-1\r\nPING\r\n"), 6, 0, {V("")}},
        {V("*-9223372036854775808\r\n"), 0, 0, {V("")}},
        /* Two bytes end a bulk string, and one follows a CR, whatever they are. */
        {V("*1\r\n$4\r\nPINGxy"), 0, 1, {V("PING")}},
        {V("*1\rx$4\rxPINGxy"), 0, 1, {V("PING")}},
        {V("*1\rx$10\rx0123456789xy"), 0, 1, {V("0123456789")}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        check_good(&table[i], &after_login);
        check_good(&table[i], &before_login);
    }
}

static void inline_lines(void **state)
{
    static const struct good table[] = {
        {V("PING\r\n"), 0, 1, {V("PING")}},
        {V("PING\nPING\n"), 5, 1, {V("PING")}},
        {V("\r\nPING\r\n"), 6, 0, {V("")}},
        {V("\n"), 0, 0, {V("")}},
        {V(" \t \r\n"), 0, 0, {V("")}},
        {V(" \t SET  key\tvalue \r\n"), 0, 3, {V("SET"), V("key"), V("value")}},
        {V("ECHO a\rb\r\n"), 0, 3, {V("ECHO"), V("a"), V("b")}},
        {V("ECHO a\r\r\n"), 0, 2, {V("ECHO"), V("a")}},
        {V("$4\r\n"), 0, 1, {V("$4")}},
        {V("  *1\r\n"), 0, 1, {V("*1")}},
        {V("a b c d e\n"), 0, 5, {V("a"), V("b"), V("c"), V("d"), V("e")}},
        /* What comes behind a NUL does not count. */
        {V("ECHO a\0b c\r\nPING\r\n"), 6, 2, {V("ECHO"), V("a")}},
        {V("\0a\r\n"), 0, 0, {V("")}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        check_good(&table[i], &before_login);
}

static void inline_quotes(void **state)
{
    static const struct good table[] = {
        {V("ECHO \"a b\"\r\n"), 0, 2, {V("ECHO"), V("a b")}},
        {V("ECHO 'a b'\n"), 0, 2, {V("ECHO"), V("a b")}},
        {V("\"\" '' \"\"\n"), 0, 3, {V(""), V(""), V("")}},
        {V("ECHO \"'\" '\"'\r\n"), 0, 3, {V("ECHO"), V("'"), V("\"")}},
        {V("ECHO a\"b c\"\r\n"), 0, 2, {V("ECHO"), V("ab c")}},
        {V("ECHO a'b c'\td\r\n"), 0, 3, {V("ECHO"), V("ab c"), V("d")}},
        {V("ECHO \"a\rb\"\r\n"), 0, 2, {V("ECHO"), V("a\rb")}},
        {V("ECHO \"a\"\rb\r\n"), 0, 3, {V("ECHO"), V("a"), V("b")}},
        {V("ECHO \"\\x41\\xfF\\x00\"\r\n"), 0, 2, {V("ECHO"), V("A\xff\0")}},
        {V("ECHO \"\\n\\r\\t\\b\\a\"\r\n"), 0, 2, {V("ECHO"), V("\n\r\t\b\a")}},
        {V("ECHO \"\\q\\\\\\\"\\'\"\r\n"), 0, 2, {V("ECHO"), V("q\\\"'")}},
        {V("ECHO \"\\x4\" \"\\xZZ\" \"\\x\"\r\n"), 0, 4, {V("ECHO"), V("x4"), V("xZZ"), V("x")}},
        {V("ECHO 'it\\'s' '\\n\\x41\\\\a'\r\n"), 0, 3, {V("ECHO"), V("it's"), V("\\n\\x41\\\\a")}},
        {V("ECHO \\x41 \\n\r\n"), 0, 3, {V("ECHO"), V("\\x41"), V("\\n")}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        check_good(&table[i], &before_login);
}

/* Vertical tab and form feed separate arguments when they come before one, and belong to it when they come after its
 * first byte. Behind a closing quote they separate. */
static void inline_rare_spaces(void **state)
{
    static const struct good table[] = {
        {V("ECHO \v\fa\r\n"), 0, 2, {V("ECHO"), V("a")}},
        {V("ECHO \"a\"\vb\r\n"), 0, 3, {V("ECHO"), V("a"), V("b")}},
        {V("ECHO a\f\r\n"), 0, 2, {V("ECHO"), V("a\f")}},
        {V("ECHO a\vb\r\n"), 0, 2, {V("ECHO"), V("a\vb")}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        check_good(&table[i], &before_login);
}

/* ---- requests that are not the protocol -------------------------------------------------------------------------- */

struct wrong {
    struct view in;
    const char *error;
};

static void check_wrong(struct view in, const struct resp_limits *limits, const char *error)
{
    struct resp_request r;
    struct arena arena;
    char text[100], *copy;

    snprintf(text, sizeof text, "ERR Protocol error: %s", error);
    if (parse(in, limits, &r, &copy, &arena) != RESP_BAD)
        fail_msg("not refused: %.*s", (int)(in.n < 100 ? in.n : 100), in.p);
    assert_string_equal(r.error, text);
    arena_free(&arena);
    free(copy);
}

static void errors(void **state)
{
    static const struct wrong table[] = {
        {V("*x\r\n"), "invalid multibulk length"},
        {V("*\r\n"), "invalid multibulk length"},
        {V("*01\r\n"), "invalid multibulk length"},
        {V("*+1\r\n"), "invalid multibulk length"},
        {V("* 1\r\n"), "invalid multibulk length"},
        {V("*1 \r\n"), "invalid multibulk length"},
        {V("*-0\r\n"), "invalid multibulk length"},
        {V("*2147483648\r\n"), "invalid multibulk length"},
        {V("*9223372036854775808\r\n"), "invalid multibulk length"},
        {V("*1\r\nx\r\n"), "expected '$', got 'x'"},
        {V("*1\r\n*1\r\n"), "expected '$', got '*'"},
        {V("*1\r\n%s%n\r\n"), "expected '$', got '%'"},
        {V("*1\r\n\xff\r\n"), "expected '$', got '\xff'"},
        {V("*2\r\n$4\r\nECHO\r\n:1\r\n"), "expected '$', got ':'"},
        {V("*1\r\n$x\r\n"), "invalid bulk length"},
        {V("*1\r\n$\r\n"), "invalid bulk length"},
        {V("*1\r\n$-1\r\n"), "invalid bulk length"},
        {V("*1\r\n$+4\r\nPING\r\n"), "invalid bulk length"},
        {V("*1\r\n$04\r\nPING\r\n"), "invalid bulk length"},
        {V("*1\r\n$536870913\r\n"), "invalid bulk length"},
        {V("*1\r\n$9223372036854775807\r\n"), "invalid bulk length"},
        {V("*1\r\n$9223372036854775808\r\n"), "invalid bulk length"},
        {V("*2\r\n$4\r\nECHO\r\n$-1\r\n"), "invalid bulk length"},
        {V("ECHO \"a\r\n"), "unbalanced quotes in request"},
        {V("ECHO 'a\r\n"), "unbalanced quotes in request"},
        {V("ECHO a\"\r\n"), "unbalanced quotes in request"},
        {V("ECHO \"a\"b\r\n"), "unbalanced quotes in request"},
        {V("ECHO 'a'b\r\n"), "unbalanced quotes in request"},
        {V("ECHO a\"b\"c\r\n"), "unbalanced quotes in request"},
        {V("ECHO \"a\"\"b\"\r\n"), "unbalanced quotes in request"},
        {V("ECHO \"\\\"\r\n"), "unbalanced quotes in request"},
        {V("ECHO \"a\\\n"), "unbalanced quotes in request"},
        {V("ECHO 'a\\'\n"), "unbalanced quotes in request"},
        {V("ECHO 'a\\\\'\n"), "unbalanced quotes in request"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        check_wrong(table[i].in, &after_login, table[i].error);
        check_wrong(table[i].in, &before_login, table[i].error);
    }
}

/* A byte that cannot stand in an error line is the writer's business; the text only has to end. */
static void error_that_quotes_a_nul(void **state)
{
    (void)state;
    check_wrong(VIEW("*1\r\n\0\r\n"), &after_login, "expected '$', got '");
    check_wrong(VIEW("*1\r\n\r\n"), &after_login, "expected '$', got '\r'");
}

static void limits_before_login(void **state)
{
    static const struct wrong table[] = {
        {V("*11\r\n"), "unauthenticated multibulk length"},
        {V("*2147483647\r\n"), "unauthenticated multibulk length"},
        {V("*2147483648\r\n"), "invalid multibulk length"},
        {V("*1\r\n$16385\r\n"), "unauthenticated bulk length"},
        {V("*1\r\n$536870912\r\n"), "unauthenticated bulk length"},
        {V("*1\r\n$536870913\r\n"), "invalid bulk length"},
        {V("*3\r\n$4\r\nAUTH\r\n$1\r\na\r\n$16385\r\n"), "unauthenticated bulk length"},
    };
    static const struct good allowed = {V("*10\r\n$1\r\na\r\n"), 0, 0, {V("")}};
    struct resp_request r;
    struct arena arena;
    char *copy;

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        check_wrong(table[i].in, &before_login, table[i].error);
    assert_int_equal(parse(allowed.in, &before_login, &r, &copy, &arena), RESP_MORE);
    arena_free(&arena);
    free(copy);
    assert_int_equal(parse(VIEW("*1\r\n$16384\r\n"), &before_login, &r, &copy, &arena), RESP_MORE);
    assert_int_equal(r.need, sizeof "*1\r\n$16384\r\n" - 1 + 16384 + 2);
    arena_free(&arena);
    free(copy);
}

static void limits_of_the_server(void **state)
{
    static const struct resp_limits limits = {5, 2, true};
    static const struct good fits = {V("*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n"), 0, 2, {V("ECHO"), V("hello")}};

    (void)state;
    check_good(&fits, &limits);
    check_wrong(VIEW("*2\r\n$4\r\nECHO\r\n$6\r\n"), &limits, "invalid bulk length");
    check_wrong(VIEW("*3\r\n"), &limits, "invalid multibulk length");
}

/* ---- requests that are not complete ------------------------------------------------------------------------------ */

static void check_partial(struct view in, const struct resp_limits *limits, size_t need)
{
    struct resp_request r;
    struct arena arena;
    char *copy;

    if (parse(in, limits, &r, &copy, &arena) != RESP_MORE)
        fail_msg("not taken as incomplete: %.*s (%s)", (int)(in.n < 100 ? in.n : 100), in.p, r.error);
    assert_int_equal(r.need, need);
    arena_free(&arena);
    free(copy);
}

/* With the length of a bulk string known, the parser asks for all of it; else for any byte more. */
static void bytes_asked_for(void **state)
{
    static const struct {
        struct view in;
        size_t more;
    } table[] = {
        {V(""), 1},
        {V("P"), 1},
        {V("PING \"a"), 1},
        {V("PING\r"), 1},
        {V("*"), 1},
        {V("*1"), 1},
        {V("*1\r"), 1},
        {V("*12\r"), 1},
        {V("*1\r\n"), 1},
        {V("*1\r\n$"), 1},
        {V("*1\r\n$10"), 1},
        {V("*1\r\n$10\r"), 1},
        {V("*1\r\n$10\r\n"), 12},
        {V("*1\r\n$10\r\nabc"), 9},
        {V("*1\r\n$10\r\n0123456789\r"), 1},
        {V("*1\r\n$0\r\n\r"), 1},
        {V("*2\r\n$1\r\na\r\n"), 1},
        {V("*2\r\n$1\r\na\r\n$1000000\r\n"), 1000002},
        {V("*2147483647\r\n$1\r\na\r\n"), 1},
        {V("*2147483647\r\n"), 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        check_partial(table[i].in, &after_login, table[i].in.n + table[i].more);
}

/* Lengths of one digit and of many are read by different code. Cut anywhere in it, the length is not there yet. */
static void lengths_of_every_width(void **state)
{
    static const size_t lengths[] = {0, 9, 10, 99, 100, 999, 1000, 9999, 10000, 16384, 99999, 100000, 1234567};

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct buf in = {0};
        struct good whole = {.argc = 2, .argv = {VIEW("")}};
        buf_printf(&in, "*2\r\n$0\r\n\r\n$%zu\r\n", lengths[i]);
        size_t head = in.len;
        for (size_t n = strlen("*2\r\n$0\r\n\r\n"); n < head; n++)
            check_partial(view_of(in.p, n), &after_login, n + 1);
        buf_reserve(&in, lengths[i]);
        memset(in.p + head, '$', lengths[i]);
        in.len += lengths[i];
        buf_put(&in, LIT("\r\n"));
        check_partial(view_of(in.p, head), &after_login, in.len);
        check_partial(view_of(in.p, in.len - 1), &after_login, in.len);
        whole.in = buf_view(&in);
        whole.argv[1] = view_of(in.p + head, lengths[i]);
        check_good(&whole, &after_login);
        if (lengths[i] <= 16384)
            check_good(&whole, &before_login);
        buf_free(&in);
    }
}

/* A promise of many arguments costs memory for those that can have come, not for those that were promised. */
static void promises_cost_nothing(void **state)
{
    int64_t before = mem_used();
    struct resp_request r;
    struct arena arena;
    char *copy;

    (void)state;
    assert_int_equal(parse(VIEW("*2147483647\r\n$536870912\r\n"), &after_login, &r, &copy, &arena), RESP_MORE);
    assert_true(mem_used() - before < MIB);
    arena_free(&arena);
    free(copy);
}

/* ---- lines that are too long ------------------------------------------------------------------------------------- */

static void check_long(const char *start, char fill, const char *error)
{
    size_t head = strlen(start);
    char *line = mem_alloc(LINE_MAX_BYTES + head + 1);

    memcpy(line, start, head);
    memset(line + head, fill, LINE_MAX_BYTES + 1);
    /* The line alone counts, not what came before it. */
    head = head > 0 ? head - 1 : 0;
    check_partial(view_of(line, head + LINE_MAX_BYTES), &after_login, head + LINE_MAX_BYTES + 1);
    check_wrong(view_of(line, head + LINE_MAX_BYTES + 1), &after_login, error);
    mem_free(line);
}

static void long_lines(void **state)
{
    (void)state;
    check_long("", 'a', "too big inline request");
    check_long("*", '1', "too big mbulk count string");
    check_long("*2\r\n$4\r\nECHO\r\n$", '1', "too big bulk count string");
}

/* A line of the greatest length is taken, with as many arguments as fit. */
static void longest_line(void **state)
{
    size_t n = LINE_MAX_BYTES;
    struct resp_request r;
    struct arena arena;
    char *line = mem_alloc(n), *copy;

    (void)state;
    for (size_t i = 0; i < n; i++)
        line[i] = i % 2 ? ' ' : 'a';
    line[n - 1] = '\n';
    assert_int_equal(parse(view_of(line, n), &after_login, &r, &copy, &arena), RESP_DONE);
    assert_int_equal(r.argc, LINE_MAX_BYTES / 2);
    assert_int_equal(r.consumed, n);
    for (int i = 0; i < r.argc; i++)
        assert_true(view_equal(r.argv[i], VIEW("a")));
    arena_free(&arena);
    free(copy);
    mem_free(line);
}

static void many_arguments(void **state)
{
    static const int counts[] = {9, 10, 99, 100, 12345, 99999, 100000};

    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        struct buf in = {0};
        struct resp_request r;
        struct arena arena;
        char *copy;

        buf_printf(&in, "*%d\r\n", counts[c]);
        for (int i = 0; i < counts[c]; i++)
            buf_put(&in, LIT("$0\r\n\r\n"));
        assert_int_equal(parse(buf_view(&in), &after_login, &r, &copy, &arena), RESP_DONE);
        assert_int_equal(r.argc, counts[c]);
        assert_int_equal(r.consumed, in.len);
        for (int i = 0; i < r.argc; i++)
            assert_int_equal(r.argv[i].n, 0);
        arena_free(&arena);
        free(copy);
        check_partial(view_of(in.p, in.len - 1), &after_login, in.len);
        buf_free(&in);
    }
}

/* ---- pipelines in pieces ----------------------------------------------------------------------------------------- */

/* Parses what has come, and returns how much of it the requests take; they, and an error, are appended to events. */
static size_t take_requests(struct view in, struct buf *events, bool *bad)
{
    struct resp_request r;
    struct arena arena;
    size_t at = 0;
    char *copy;

    while (at < in.n && !*bad) {
        enum resp_parsed rc = parse(view_of(in.p + at, in.n - at), &after_login, &r, &copy, &arena);
        if (rc == RESP_DONE) {
            buf_printf(events, "*%d\n", r.argc);
            for (int i = 0; i < r.argc; i++)
                buf_printf(events, "%zu:%.*s\n", r.argv[i].n, (int)r.argv[i].n, r.argv[i].p);
            at += r.consumed;
        } else if (rc == RESP_BAD) {
            buf_printf(events, "%s\n", r.error);
            *bad = true;
        }
        arena_free(&arena);
        free(copy);
        if (rc == RESP_MORE)
            break;
    }
    return at;
}

static void check_splits(struct view in, const char *wanted)
{
    for (size_t cut = 0; cut <= in.n; cut++) {
        struct buf events = {0};
        bool bad = false;
        size_t at = take_requests(view_of(in.p, cut), &events, &bad);

        at += take_requests(view_of(in.p + at, in.n - at), &events, &bad);
        if (!view_equal(buf_view(&events), view_str(wanted)) || (!bad && at != in.n))
            fail_msg("cut at %zu: %.*s", cut, (int)events.len, events.p);
        buf_free(&events);
    }
}

static void every_split(void **state)
{
    (void)state;
    check_splits(
        VIEW(
            "*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$11\r\nhello\r\nyou!\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"),
        "*1\n4:PING\n*3\n3:SET\n1:k\n11:hello\r\nyou!\n*2\n3:GET\n1:k\n");
    check_splits(VIEW("PING\r\n\r\nSET \"a \\x41\" 'b\\'c'\n*1\r\n$4\r\nPING\r\n  get a  \r\n"),
                 "*1\n4:PING\n*0\n*3\n3:SET\n3:a A\n3:b'c\n*1\n4:PING\n*2\n3:get\n1:a\n");
    check_splits(VIEW("*0\r\n*-1\r\n*-100\r\n*1\r\n$0\r\n\r\n*2\r\n$0\r\n\r\n$12\r\n123456789012\r\n"),
                 "*0\n*0\n*0\n*1\n0:\n*2\n0:\n12:123456789012\n");
    check_splits(VIEW("*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n!a\r\n*1\r\n$4\r\nPING\r\n"),
                 "*1\n4:PING\n*1\n4:PING\nERR Protocol error: expected '$', got '!'\n");
    check_splits(VIEW("PING\r\nSET \"a\r\nPING\r\n"), "*1\n4:PING\nERR Protocol error: unbalanced quotes in request\n");
    check_splits(VIEW("*1\r\n$4\r\nPING\r\n*12\r\n$3\r\nDEL\r\n$20x\r\n"),
                 "*1\n4:PING\nERR Protocol error: invalid bulk length\n");
}

/* A long array that arrives a few bytes at a time is not parsed anew each time, and comes out whole. */
static void long_array_in_pieces(void **state)
{
    const struct resp_limits limits = {1 << 20, 1 << 20, true};
    enum { COUNT = 1000 };
    struct resp_partial partial = {0};
    struct resp_request r = {0};
    struct arena arena = {0};
    struct buf in = {0};
    size_t done = 0;

    (void)state;
    buf_printf(&in, "*%d\r\n", COUNT);
    for (int i = 0; i < COUNT; i++)
        buf_printf(&in, "$%d\r\n%0*d\r\n", 4 + i % 7, 4 + i % 7, i);
    for (size_t n = 1; n < in.len; n++) {
        assert_int_equal(resp_parse(in.p, n, &limits, &arena, &partial, &r), RESP_MORE);
        assert_true(partial.done >= done && partial.done < COUNT);
        done = partial.done;
    }
    assert_int_equal(done, COUNT - 1);
    assert_int_equal(resp_parse(in.p, in.len, &limits, &arena, &partial, &r), RESP_DONE);
    assert_int_equal(r.argc, COUNT);
    assert_int_equal(r.consumed, in.len);
    for (int i = 0; i < COUNT; i++) {
        char text[16];
        int n = snprintf(text, sizeof text, "%0*d", 4 + i % 7, i);
        assert_true(view_equal(r.argv[i], view_of(text, (size_t)n)));
    }
    assert_null(partial.pieces);
    arena_free(&arena);
    buf_free(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays),
        cmocka_unit_test(inline_lines),
        cmocka_unit_test(inline_quotes),
        cmocka_unit_test(inline_rare_spaces),
        cmocka_unit_test(errors),
        cmocka_unit_test(error_that_quotes_a_nul),
        cmocka_unit_test(limits_before_login),
        cmocka_unit_test(limits_of_the_server),
        cmocka_unit_test(bytes_asked_for),
        cmocka_unit_test(lengths_of_every_width),
        cmocka_unit_test(promises_cost_nothing),
        cmocka_unit_test(long_lines),
        cmocka_unit_test(longest_line),
        cmocka_unit_test(many_arguments),
        cmocka_unit_test(every_split),
        cmocka_unit_test(long_array_in_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
