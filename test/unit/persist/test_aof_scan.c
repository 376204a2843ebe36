/* Commands, endings, and both however the bytes arrive. */
#include "engine/persist/aof_scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define SET_A "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"
#define SET_B "*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n1\r\n"
#define MULTI "*1\r\n$5\r\nMULTI\r\n"
#define EXEC "*1\r\n$4\r\nexec\r\n"
#define AFTER_A ((int64_t)sizeof SET_A - 1)
#define MAX_BULK (512 << 20)

/* A file that is read `step` bytes at a time; with an error at its end, when there is one. */
struct text {
    struct view rest;
    size_t step;
    int error;
};

static ssize_t read_text(void *arg, void *p, size_t n)
{
    struct text *t = arg;

    if (n > t->step)
        n = t->step;
    if (n > t->rest.n)
        n = t->rest.n;
    if (n == 0)
        return t->error;
    memcpy(p, t->rest.p, n);
    t->rest.p += n;
    t->rest.n -= n;
    return (ssize_t)n;
}

/* Scans to the end; appends the arguments to `out`, each followed by a space, each command by a semicolon. */
static enum aof_found scan_all(struct aof_scan *s, struct buf *out)
{
    enum aof_found found;

    while ((found = aof_scan_next(s)) == AOF_COMMAND) {
        for (size_t i = 0; i < s->argc; i++) {
            buf_put_view(out, s->argv[i]);
            buf_put_char(out, ' ');
        }
        buf_put_char(out, ';');
    }
    assert_int_equal(aof_scan_next(s), found);
    assert_int_equal(s->argc, 0);
    return found;
}

struct expected {
    enum aof_found found;
    int64_t end, valid;
    const char *commands, *reason;
};

static void assert_scans(struct view file, struct expected expected)
{
    static const size_t steps[] = {1, 2, 7, 4096};

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct text text = {file, steps[i], 0};
        struct buf out = {0};
        struct aof_scan s;
        enum aof_found found;

        aof_scan_init(&s, read_text, &text, MAX_BULK);
        found = scan_all(&s, &out);
        buf_put_char(&out, '\0');
        if (found != expected.found || (expected.reason != NULL && strcmp(s.reason, expected.reason) != 0))
            fail_msg("'%.*s': %d, %s", (int)file.n, file.p, (int)found, s.reason != NULL ? s.reason : "");
        assert_string_equal(out.p, expected.commands);
        assert_int_equal(s.end, expected.end);
        assert_int_equal(aof_scan_valid(&s), expected.valid);
        if (found != AOF_DAMAGED)
            assert_int_equal(aof_scan_total(&s), file.n);
        aof_scan_free(&s);
        buf_free(&out);
    }
}

static void assert_clean(struct view file, const char *commands)
{
    assert_scans(file, (struct expected){AOF_CLEAN, (int64_t)file.n, (int64_t)file.n, commands, NULL});
}

/* SET_A and what follows it, which is torn or damaged. */
static void assert_ends(struct view file, enum aof_found found, const char *reason)
{
    assert_scans(file, (struct expected){found, AFTER_A, AFTER_A, "SET a 1 ;", reason});
}

static void clean(void **state)
{
    (void)state;
    assert_clean(VIEW(""), "");
    assert_clean(VIEW(SET_A SET_B), "SET a 1 ;SET b 1 ;");
    assert_clean(VIEW("*2\r\n$0\r\n\r\n$4\r\n\r\n\0\r\r\n"), " \r\n");
    assert_clean(VIEW(SET_A MULTI SET_B EXEC SET_A), "SET a 1 ;MULTI ;SET b 1 ;exec ;SET a 1 ;");
}

static void annotations(void **state)
{
    struct text text = {VIEW("#TS:1234\r\n" SET_A "# note\n#TS:12x\r\n#TS:-5\r\n" SET_B "#TS:1300\r\n"), 5, 0};
    struct aof_scan s;

    (void)state;
    assert_clean(VIEW("#TS:1234\r\n" SET_A "# foo\n#\n" SET_B "#TS:1\r\n"), "SET a 1 ;SET b 1 ;");
    assert_clean(VIEW(MULTI SET_A "#TS:1\r\n" EXEC), "MULTI ;SET a 1 ;exec ;");
    assert_ends(VIEW(SET_A "#TS:12"), AOF_TORN, NULL);
    assert_ends(VIEW(SET_A "#TS:12\0\0\0"), AOF_TORN, NULL);
    assert_ends(VIEW(SET_A "*1\r\n#TS:1\r\n$4\r\nPING\r\n"), AOF_DAMAGED, NULL);
    aof_scan_init(&s, read_text, &text, MAX_BULK);
    assert_int_equal(s.time, -1);
    assert_int_equal(aof_scan_next(&s), AOF_COMMAND);
    assert_int_equal(s.time, 1234);
    assert_int_equal(s.end, 10 + AFTER_A);
    assert_int_equal(aof_scan_next(&s), AOF_COMMAND);
    assert_int_equal(s.time, 1234);
    assert_int_equal(aof_scan_next(&s), AOF_CLEAN);
    assert_int_equal(s.time, 1300);
    aof_scan_free(&s);
}

static void torn_everywhere(void **state)
{
    static const char file[] = SET_A SET_B;

    (void)state;
    for (size_t n = sizeof SET_A; n < sizeof file - 1; n++) {
        char zeros[2 * sizeof file] = {0};
        assert_ends(view_of(file, n), AOF_TORN, "the file ends in the middle of a command");
        /* Whatever stood in the rest of the file's last block is gone. */
        memcpy(zeros, file, n);
        assert_ends(view_of(zeros, n + 1), AOF_TORN, NULL);
        assert_ends(view_of(zeros, sizeof zeros), AOF_TORN, NULL);
    }
    assert_ends(VIEW(SET_A "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$500000000\r\nxx"), AOF_TORN, NULL);
    assert_ends(VIEW(SET_A "*2000000000\r\n"), AOF_TORN, NULL);
}

static void zero_tails(void **state)
{
    struct buf file = {0};

    (void)state;
    assert_ends(VIEW(SET_A "\0"), AOF_TORN, "zero bytes up to the end of the file");
    assert_scans(VIEW("\0\0\0"), (struct expected){AOF_TORN, 0, 0, "", NULL});
    buf_put(&file, LIT(SET_A));
    buf_reserve(&file, 300000);
    memset(file.p + file.len, 0, 300000);
    file.len += 300000;
    assert_ends(buf_view(&file), AOF_TORN, "zero bytes up to the end of the file");
    file.p[file.len - 1] = '*';
    assert_ends(buf_view(&file), AOF_DAMAGED, "no '*' where a command should begin");
    buf_free(&file);
    assert_ends(VIEW(SET_A "\0\0" SET_B), AOF_DAMAGED, NULL);
    assert_ends(VIEW(SET_A "*1\r\n$3\r\nab\0\0\0" SET_B), AOF_DAMAGED, NULL);
}

static void damage(void **state)
{
    static const char *const tails[] = {
        "foo\r\n" SET_B,
        "*3\r\n$4\r\nSET\r\n" SET_B,
        "SET b 1\r\n",
        "\r\n" SET_B,
        "*0\r\n" SET_B,
        "*-1\r\n" SET_B,
        "*3x\r\n",
        "*3\n$3\r\nSET\r\n",
        "*\r\n",
        "*+1\r\n",
        "*01\r\n$4\r\nPING\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n$4\r\nPINGxx",
        "*1\r\n$4\r\nPING\rx",
        "*1\r\n*1\r\n",
        "*1\r\n$536870913\r\n",
        "*3000000000\r\n",
        "*99999999999999999999999\r\n",
        "*1\rx",
        EXEC SET_B,
        "REDIS0010",
    };

    (void)state;
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        struct buf file = {0};
        buf_printf(&file, "%s%s", SET_A, tails[i]);
        assert_ends(buf_view(&file), AOF_DAMAGED, NULL);
        buf_free(&file);
    }
}

static void transactions(void **state)
{
    const char *torn = "the file ends in the middle of a transaction";
    int64_t multi = (int64_t)sizeof MULTI - 1;

    (void)state;
    assert_scans(VIEW(SET_A MULTI), (struct expected){AOF_TORN, AFTER_A, AFTER_A, "SET a 1 ;MULTI ;", torn});
    assert_scans(VIEW(SET_A MULTI SET_B),
                 (struct expected){AOF_TORN, AFTER_A, AFTER_A, "SET a 1 ;MULTI ;SET b 1 ;", torn});
    /* Torn within a command of the transaction: what is reported is that command, but the cut comes before MULTI. */
    assert_scans(VIEW(SET_A MULTI "*3\r\n$3\r\nSET"),
                 (struct expected){AOF_TORN, AFTER_A + multi, AFTER_A, "SET a 1 ;MULTI ;", NULL});
    assert_scans(VIEW(SET_A MULTI "\0\0\0"),
                 (struct expected){AOF_TORN, AFTER_A + multi, AFTER_A, "SET a 1 ;MULTI ;", NULL});
    assert_scans(VIEW(SET_A MULTI "#TS:1\r\n"),
                 (struct expected){AOF_TORN, AFTER_A, AFTER_A, "SET a 1 ;MULTI ;", torn});
    assert_scans(VIEW(SET_A MULTI MULTI SET_B),
                 (struct expected){AOF_DAMAGED, AFTER_A + multi, AFTER_A, "SET a 1 ;MULTI ;", "MULTI within MULTI"});
    assert_scans(VIEW(SET_A MULTI "junk"),
                 (struct expected){AOF_DAMAGED, AFTER_A + multi, AFTER_A, "SET a 1 ;MULTI ;", NULL});
}

static void preamble(void **state)
{
    (void)state;
    for (size_t step = 1; step < 40; step += 6) {
        struct text text = {VIEW("REDIS-rdb-" SET_A), step, 0};
        struct aof_scan s;
        char rdb[13];
        size_t have = 0;

        aof_scan_init(&s, read_text, &text, MAX_BULK);
        assert_true(aof_scan_is_rdb(&s));
        while (have < sizeof rdb) {
            ssize_t n = aof_scan_read(&s, rdb + have, sizeof rdb - have);
            assert_true(n > 0);
            have += (size_t)n;
        }
        assert_memory_equal(rdb, "REDIS-rdb-*3\r", sizeof rdb);
        assert_false(aof_scan_is_rdb(&s));
        aof_scan_unread(&s, rdb + 10, 3);
        assert_int_equal(aof_scan_valid(&s), 10);
        assert_int_equal(aof_scan_next(&s), AOF_COMMAND);
        assert_int_equal(s.argc, 3);
        assert_int_equal(s.end, 10 + AFTER_A);
        assert_int_equal(aof_scan_read(&s, rdb, sizeof rdb), 0);
        assert_int_equal(aof_scan_next(&s), AOF_CLEAN);
        aof_scan_free(&s);
    }
    for (size_t n = 0; n < 5; n++) {
        struct text text = {view_of("REDIS", n), 1, 0};
        struct aof_scan s;
        aof_scan_init(&s, read_text, &text, MAX_BULK);
        assert_false(aof_scan_is_rdb(&s));
        assert_int_equal(aof_scan_next(&s), n == 0 ? AOF_CLEAN : AOF_DAMAGED);
        aof_scan_free(&s);
    }
}

static void failing_sources(void **state)
{
    for (size_t n = 0; n < 2 * AFTER_A; n++) {
        struct text text = {view_of(SET_A SET_B, n), 3, -EIO};
        struct buf out = {0};
        struct aof_scan s;

        (void)state;
        aof_scan_init(&s, read_text, &text, MAX_BULK);
        assert_int_equal(scan_all(&s, &out), AOF_FAILED);
        assert_int_equal(s.error, -EIO);
        assert_int_equal(aof_scan_valid(&s), (int64_t)n < AFTER_A ? 0 : AFTER_A);
        aof_scan_free(&s);
        buf_free(&out);
    }
}

static void memory(void **state)
{
    struct text text = {VIEW("*2\r\n$3\r\nSET\r\n$536870912\r\nabc"), 4096, 0};
    int64_t before = mem_used_here();
    struct aof_scan s;
    struct buf big = {0};

    (void)state;
    aof_scan_init(&s, read_text, &text, MAX_BULK);
    assert_int_equal(aof_scan_next(&s), AOF_TORN);
    assert_true(mem_used_here() - before < (2 << 20));
    aof_scan_free(&s);
    assert_int_equal(mem_used_here(), before);

    /* Many arguments, whose memory goes with their command. */
    buf_printf(&big, "*100000\r\n");
    for (unsigned i = 0; i < 100000; i++)
        buf_put(&big, LIT("$2\r\nxy\r\n"));
    buf_put(&big, LIT(SET_A));
    before = mem_used_here();
    for (int fail = 0; fail < 40; fail++) {
        enum aof_found found;
        text = (struct text){buf_view(&big), 1 << 16, 0};
        aof_scan_init(&s, read_text, &text, MAX_BULK);
        mem_fail_after(fail);
        found = aof_scan_next(&s);
        mem_fail_after(-1);
        assert_true(found == AOF_COMMAND || (found == AOF_FAILED && s.error == -ENOMEM));
        assert_true((found == AOF_COMMAND) == (s.argc == 100000));
        if (found == AOF_COMMAND) {
            assert_int_equal(aof_scan_next(&s), AOF_COMMAND);
            assert_int_equal(s.argc, 3);
            assert_true(mem_used_here() - before < (2 << 20));
        }
        aof_scan_free(&s);
        assert_int_equal(mem_used_here(), before);
    }
    buf_free(&big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean),      cmocka_unit_test(annotations), cmocka_unit_test(torn_everywhere),
        cmocka_unit_test(zero_tails), cmocka_unit_test(damage),      cmocka_unit_test(transactions),
        cmocka_unit_test(preamble),   cmocka_unit_test(memory),      cmocka_unit_test(failing_sources),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
