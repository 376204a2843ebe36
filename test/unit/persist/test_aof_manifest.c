/* Manifests that redis-server 7.0.15 wrote, what is refused and where, and what comes back from formatting. */
#include "engine/persist/aof_manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void assert_formats(const struct aof_manifest *m, const char *expected)
{
    struct buf text = {0};

    aof_manifest_format(m, &text);
    buf_put_char(&text, '\0');
    assert_string_equal(text.p, expected);
    buf_free(&text);
}

/* Parses, and compares with what formatting gives. */
static void assert_reads(const char *text, const char *formatted)
{
    struct aof_manifest m;
    struct aof_manifest_error error;

    if (aof_manifest_parse(&m, view_str(text), &error) != 0)
        fail_msg("'%s': line %u: %s", text, error.line, error.reason);
    assert_formats(&m, formatted);
    aof_manifest_free(&m);
}

static void assert_refused(struct view text, unsigned line, const char *reason)
{
    struct aof_manifest m;
    struct aof_manifest_error error;

    assert_int_equal(aof_manifest_parse(&m, text, &error), -1);
    assert_string_equal(error.reason, reason);
    assert_int_equal(error.line, line);
    assert_int_equal(m.count, 0);
    assert_null(m.entries);
}

static void written_by_redis(void **state)
{
    static const char *const texts[] = {
        "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n",
        "file appendonly.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n",
        "file \"append only.aof.1.base.rdb\" seq 1 type b\nfile \"append only.aof.1.incr.aof\" seq 1 type i\n",
        "file \"'a\\\"b'.1.base.rdb\" seq 1 type b\nfile \"'a\\\"b'.1.incr.aof\" seq 1 type i\n",
        ("file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.1.base.rdb seq 1 type h\n"
         "file appendonly.aof.1.incr.aof seq 1 type h\nfile appendonly.aof.2.incr.aof seq 2 type i\n"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_reads(texts[i], texts[i]);
}

static void freedoms_of_the_text(void **state)
{
    const char *plain = "file a.1.incr.aof seq 1 type i\n";

    (void)state;
    assert_reads("# only a comment\n", "");
    assert_reads("# a comment without an end", "");
    assert_reads("#\nfile a.1.incr.aof seq 1 type i\n# end", plain);
    assert_reads("file a.1.incr.aof seq 1 type i\r\n", plain);
    assert_reads("type i seq 1 file a.1.incr.aof\n", plain);
    assert_reads(" \tFILE  a.1.incr.aof\tSeq 1 TYPE i \n", plain);
    assert_reads("file \"\\x61.1.incr.aof\" seq '1' type \"i\"\n", plain);
    assert_reads("file a.1.incr.aof seq 1 type i startoffset 7 endoffset 9\n", plain);
    assert_reads("file a.1.incr.aof seq 1 type i\nfile b.base seq 7 type b\nfile o seq 9 type h\n",
                 "file b.base seq 7 type b\nfile o seq 9 type h\nfile a.1.incr.aof seq 1 type i\n");
}

static void refusals(void **state)
{
    static const struct {
        const char *text, *reason;
        unsigned line;
    } cases[] = {
        {"", "the manifest is empty", 0},
        {"\n", "file, seq or type is missing", 1},
        {"#\n # x\n", "file, seq or type is missing", 2},
        {"file a seq 1 type i", "the last line has no end", 1},
        {"file a seq 1 type\n", "a key has no value", 1},
        {"file a seq 1 what i\n", "file, seq or type is missing", 1},
        {"file a file b seq 1 type i\n", "a key comes twice", 1},
        {"file a seq 1 type ix\n", "the type is none of b, i and h", 1},
        {"file a seq 1 type x\n", "the type is none of b, i and h", 1},
        {"file a seq 1 type ''\n", "the type is none of b, i and h", 1},
        {"file a seq 1x type i\n", "the sequence is not a number", 1},
        {"file a seq 0 type i\n", "the sequence is not above 0", 1},
        {"file a seq -1 type i\n", "the sequence is not above 0", 1},
        {"file a seq 9223372036854775808 type i\n", "the sequence is not a number", 1},
        {"file \"a seq 1 type i\n", "the quotes are not balanced", 1},
        {"file ../a seq 1 type i\n", "the file's name is a path", 1},
        {"file .. seq 1 type i\n", "the file's name is a path", 1},
        {"file . seq 1 type h\n", "the file's name is a path", 1},
        {"file '' seq 1 type i\n", "the file has no name", 1},
        {"file \"a\\x00b\" seq 1 type i\n", "the file's name has a NUL byte", 1},
        {"file a seq 1 type b\nfile b seq 2 type b\n", "there is more than one base", 2},
        {"file a seq 1 type i\n#\nfile b seq 1 type i\n", "the sequences of the incremental files do not rise", 3},
        {"file a seq 3 type i\nfile b seq 2 type i\n", "the sequences of the incremental files do not rise", 2},
        {"file a seq 1 type b\nfile c seq 3 type h\nfile a seq 3 type h\n", "a file is named twice", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(view_str(cases[i].text), cases[i].line, cases[i].reason);
    assert_refused(VIEW("file a seq 1 type i\0\n"), 1, "the line has a NUL byte");
}

static void limits(void **state)
{
    struct buf text = {0};
    struct aof_manifest m;
    struct aof_manifest_error error;

    (void)state;
    buf_put_char(&text, '#');
    for (unsigned i = 1; i < AOF_MANIFEST_LINE_MAX; i++)
        buf_put_char(&text, 'x');
    buf_put_char(&text, '\n');
    assert_int_equal(aof_manifest_parse(&m, buf_view(&text), &error), 0);
    text.p[text.len - 1] = 'x';
    buf_put_char(&text, '\n');
    assert_refused(buf_view(&text), 1, "the line is too long");
    buf_clear(&text);
    while (text.len < AOF_MANIFEST_MAX)
        buf_put(&text, LIT("#\n"));
    assert_int_equal(aof_manifest_parse(&m, buf_view(&text), &error), 0);
    buf_put_char(&text, '#');
    assert_refused(buf_view(&text), 0, "the manifest is too big");
    buf_clear(&text);
    for (unsigned i = 1; text.len < AOF_MANIFEST_MAX - 100; i++)
        buf_printf(&text, "file %u seq %u type i\n", i, i);
    assert_int_equal(aof_manifest_parse(&m, buf_view(&text), &error), 0);
    aof_manifest_free(&m);
    buf_free(&text);
}

static void changes(void **state)
{
    struct aof_manifest m = {0}, copy = {0};
    char name[300];

    (void)state;
    assert_null(aof_manifest_base(&m));
    assert_int_equal(aof_manifest_last_seq(&m, AOF_TYPE_INCR), 0);
    assert_null(aof_manifest_add(&m, VIEW("i1"), 1, AOF_TYPE_INCR));
    assert_null(aof_manifest_add(&m, VIEW("b2"), 2, AOF_TYPE_BASE));
    assert_null(aof_manifest_add(&m, VIEW("i3"), 3, AOF_TYPE_INCR));
    assert_string_equal(aof_manifest_add(&m, VIEW("i3"), 4, AOF_TYPE_HISTORY), "a file is named twice");
    assert_non_null(aof_manifest_add(&m, VIEW("i4"), 3, AOF_TYPE_INCR));
    assert_non_null(aof_manifest_add(&m, VIEW("b3"), 3, AOF_TYPE_BASE));
    memset(name, 1, sizeof name);
    assert_string_equal(aof_manifest_add(&m, view_of(name, 255), 5, AOF_TYPE_INCR), "the line would be too long");
    assert_int_equal(m.count, 3);
    assert_string_equal(aof_manifest_base(&m)->name, "b2");
    assert_int_equal(aof_manifest_first_incr(&m), 1);
    assert_int_equal(aof_manifest_last_seq(&m, AOF_TYPE_INCR), 3);
    assert_int_equal(aof_manifest_last_seq(&m, AOF_TYPE_BASE), 2);
    aof_manifest_copy(&copy, &m);
    aof_manifest_retire(&m, 3);
    assert_null(aof_manifest_base(&m));
    assert_null(aof_manifest_add(&m, VIEW("b7"), 7, AOF_TYPE_BASE));
    assert_formats(&m, "file b7 seq 7 type b\nfile b2 seq 2 type h\nfile i1 seq 1 type h\nfile i3 seq 3 type i\n");
    aof_manifest_remove(&m, 1);
    aof_manifest_remove(&m, 1);
    assert_formats(&m, "file b7 seq 7 type b\nfile i3 seq 3 type i\n");
    assert_formats(&copy, "file b2 seq 2 type b\nfile i1 seq 1 type i\nfile i3 seq 3 type i\n");
    /* History's sequences are not used again: its files may still be there. */
    aof_manifest_retire(&copy, 9);
    assert_int_equal(aof_manifest_last_seq(&copy, AOF_TYPE_INCR), 3);
    assert_int_equal(aof_manifest_last_seq(&copy, AOF_TYPE_BASE), 3);
    aof_manifest_free(&m);
    aof_manifest_copy(&copy, &m);
    assert_int_equal(copy.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_by_redis), cmocka_unit_test(freedoms_of_the_text),
        cmocka_unit_test(refusals),         cmocka_unit_test(limits),
        cmocka_unit_test(changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
