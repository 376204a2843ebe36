/* Moments as text and back. */
#include "control/shape/timestamp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static void formats(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {1785542399999, "2026-07-31T23:59:59.999Z"},
        {-62135596800000, "0001-01-01T00:00:00.000Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
    };
    char text[TIMESTAMP_LEN + 1];
    int64_t ms;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        timestamp_format(text, cases[i].ms);
        assert_string_equal(text, cases[i].text);
        assert_true(timestamp_parse(view_str(text), &ms));
        assert_int_equal(ms, cases[i].ms);
    }
    timestamp_format(text, INT64_MIN);
    assert_string_equal(text, "0001-01-01T00:00:00.000Z");
    timestamp_format(text, INT64_MAX);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
}

static void parses(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"1970-01-02", 86400000},
        {"1970-01-01T00:00:01", 1000},
        {"1970-01-01T00:00:01Z", 1000},
        {"1970-01-01T00:00:01.5Z", 1500},
        {"1970-01-01T00:00:01.123456789Z", 1123},
        {"1970-01-01T01:00:00+01:00", 0},
        {"1969-12-31T18:30:00.250-05:30", 250},
    };
    static const char *const bad[] = {
        "",
        "1970",
        "1970-1-1",
        "1970-01-01T",
        "1970-01-01 00:00:00",
        "1970-01-01T00:00",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00z",
        "1970-01-01T00:00:00Zx",
        "1970-01-01T00:00:00+1",
        "1970-01-01T00:00:00+24:00",
        "1970-01-01T00:00:00+00:60",
        "1970-01-01Z",
        "1970-02-30",
        "1971-02-29",
        "1970-00-01",
        "1970-13-01",
        "1970-01-00",
        "1970-01-32",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:60:00Z",
        "1970-01-01T00:00:60Z",
        "0000-01-01",
        "-970-01-01",
        "now",
    };
    int64_t ms;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(timestamp_parse(view_str(cases[i].text), &ms));
        assert_int_equal(ms, cases[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (timestamp_parse(view_str(bad[i]), &ms))
            fail_msg("'%s' is no moment", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(formats), cmocka_unit_test(parses)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
