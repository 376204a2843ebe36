/* Numbers and text; accepted and refused texts were compared with Redis 7.0's answers. */
#include "base/num.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The views in these tests end where their text ends, so that the sanitizer sees any byte read behind it. */
static struct view tight(const char *text)
{
    size_t n = strlen(text);
    char *p = malloc(n != 0 ? n : 1);

    memcpy(p, text, n);
    return view_of(p, n);
}

static void drop(struct view v)
{
    free((char *)v.p);
}

static bool parses_int(const char *text, int64_t *out)
{
    struct view v = tight(text);
    bool ok = num_parse_int(v, out);

    drop(v);
    return ok;
}

static void parse_int(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {
        {"0", 0},
        {"1", 1},
        {"-1", -1},
        {"10", 10},
        {"1234567890", 1234567890},
        {"999999999999999999", 999999999999999999},
        {"1000000000000000000", 1000000000000000000},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775807", -INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
    };
    static const char *const bad[] = {
        "",
        "-",
        "+1",
        "-0",
        "00",
        "01",
        "-01",
        " 1",
        "1 ",
        "1a",
        "a1",
        "1.0",
        "1e3",
        "0x10",
        "--1",
        "1-",
        "/",
        ":",
        "1/",
        "1:",
        "\xff",
        "9223372036854775808",
        "-9223372036854775809",
        "9999999999999999999",
        "-9999999999999999999",
        "10000000000000000000",
        "18446744073709551616",
        "18446744073709551617",
        "-18446744073709551617",
        "99999999999999999999",
        "-99999999999999999999",
        "100000000000000000000",
    };
    int64_t v;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_true(parses_int(good[i].text, &v));
        assert_int_equal(v, good[i].value);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        if (parses_int(bad[i], &v))
            fail_msg("'%s' was taken as an integer", bad[i]);
    assert_false(num_parse_int(VIEW("1\0002"), &v));
}

static void parse_uint(void **state)
{
    uint64_t v;

    (void)state;
    assert_true(num_parse_uint(VIEW("0"), &v) && v == 0);
    assert_true(num_parse_uint(VIEW("00012"), &v) && v == 12);
    assert_true(num_parse_uint(VIEW("18446744073709551615"), &v) && v == UINT64_MAX);
    assert_false(num_parse_uint(VIEW("18446744073709551616"), &v));
    assert_false(num_parse_uint(VIEW("18446744073709551620"), &v));
    assert_false(num_parse_uint(VIEW("99999999999999999999999"), &v));
    assert_false(num_parse_uint(VIEW(""), &v));
    assert_false(num_parse_uint(VIEW("-1"), &v));
    assert_false(num_parse_uint(VIEW("+1"), &v));
    assert_false(num_parse_uint(VIEW("1 "), &v));
}

static void check_format_int(int64_t v)
{
    char out[NUM_INT_MAX], expected[32];
    unsigned n = num_format_int(out, v);
    int64_t back;

    snprintf(expected, sizeof expected, "%" PRId64, v);
    assert_int_equal(n, strlen(expected));
    assert_memory_equal(out, expected, n);
    assert_true(num_parse_int(view_of(out, n), &back));
    assert_int_equal(back, v);
    n = num_format_uint(out, (uint64_t)v);
    snprintf(expected, sizeof expected, "%" PRIu64, (uint64_t)v);
    assert_int_equal(n, strlen(expected));
    assert_memory_equal(out, expected, n);
}

static void format_int(void **state)
{
    struct random r = {{1, 2, 3, 4}};
    uint64_t power = 1;

    (void)state;
    for (int i = 0; i < 20; i++, power *= 10)
        for (int d = -1; d <= 1; d++) {
            check_format_int((int64_t)(power + (uint64_t)d));
            check_format_int((int64_t)(0 - power + (uint64_t)d));
        }
    for (int64_t v = -1100; v < 1100; v++)
        check_format_int(v);
    check_format_int(INT64_MAX);
    check_format_int(INT64_MIN);
    for (int i = 0; i < 20000; i++)
        check_format_int((int64_t)(random_next(&r) >> random_below(&r, 64)));
}

static void parse_double(void **state)
{
    static const char *const good[] = {
        "0",
        "-0",
        "3",
        "0.1",
        ".5",
        "5.",
        "-.5",
        "+1",
        "1e16",
        "1.5e3",
        "1E-5",
        "inf",
        "-inf",
        "INF",
        "+inf",
        "infinity",
        "0x10",
        "0x1p-3",
        "4e-324",
        "1.7976931348623157e308",
        "123456789012345678",
        "0.30000000000000004",
        "100000000000000.1",
        "999999999999999",
        "00000000000000000000001",
        "0.000000000000001",
        "-1.25",
    };
    static const char *const bad[] = {
        "",    "-",  ".",  "-.",    "+",   "e5",   "1e",  "1e400",  "-1e400", "1e-400", " 1",  "\t1",
        "\n1", "1 ", "1x", "1.2.3", "nan", "-nan", "NAN", "nan(1)", "0x",     "1,5",    "--1", "infinit",
    };
    double v;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        struct view text = tight(good[i]);
        double expected = strtod(good[i], NULL);

        if (!num_parse_double(text, &v))
            fail_msg("'%s' was refused", good[i]);
        assert_memory_equal(&v, &expected, sizeof v);
        drop(text);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct view text = tight(bad[i]);

        if (num_parse_double(text, &v))
            fail_msg("'%s' was taken as a double", bad[i]);
        drop(text);
    }
    assert_false(num_parse_double(VIEW("1\0002"), &v));
    assert_false(num_parse_double(VIEW("1\000"), &v));
}

/* The short cut for plain numbers agrees with strtod to the bit. */
static void parse_double_short_cut(void **state)
{
    struct random r = {{5, 6, 7, 8}};

    (void)state;
    for (int i = 0; i < 50000; i++) {
        uint64_t digits = random_next(&r) % 10000000000000000u >> random_below(&r, 50);
        char text[40];
        double v, expected;

        snprintf(text, sizeof text, "%s%" PRIu64 ".%0*" PRIu64, random_below(&r, 2) ? "-" : "",
                 digits >> random_below(&r, 50), (int)random_below(&r, 8), digits % 1000000);
        expected = strtod(text, NULL);
        assert_true(num_parse_double(view_str(text), &v));
        assert_memory_equal(&v, &expected, sizeof v);
    }
}

static void parse_long_double(void **state)
{
    static const char *const good[] = {
        "0",
        "-0",
        "3.0",
        "0.1",
        ".5",
        "5.",
        "+1",
        "1e16",
        "0x10",
        "0x1p-3",
        "inf",
        "-inf",
        "infinity",
        "1e4000",
        "1e-4940",
        "1e-18",
        "123456789012345678901234567890",
    };
    static const char *const bad[] = {
        "", "-", ".", "1e5000", "-1e5000", "1e-5000", " 1", "1 ", "1x", "nan", "-nan", "0x", "1..2",
    };
    long double v;
    char zeros[6000];

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        struct view text = tight(good[i]);

        if (!num_parse_long_double(text, &v))
            fail_msg("'%s' was refused", good[i]);
        assert_true(v == strtold(good[i], NULL));
        drop(text);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct view text = tight(bad[i]);

        if (num_parse_long_double(text, &v))
            fail_msg("'%s' was taken as a long double", bad[i]);
        drop(text);
    }
    memset(zeros, '0', sizeof zeros);
    assert_true(num_parse_long_double(view_of(zeros, 5119), &v));
    assert_true(v == 0);
    assert_false(num_parse_long_double(view_of(zeros, 5120), &v));
    assert_false(num_parse_long_double(view_of(zeros, 6000), &v));
}

static void assert_long_double(long double v, const char *expected)
{
    char *out = malloc(NUM_DOUBLE_MAX);
    unsigned n = num_format_long_double(out, v);

    assert_int_equal(n, strlen(expected));
    assert_memory_equal(out, expected, n);
    free(out);
}

static void format_long_double(void **state)
{
    char out[NUM_DOUBLE_MAX];

    (void)state;
    assert_long_double(0, "0");
    assert_long_double(-0.0L, "0");
    assert_long_double(1, "1");
    assert_long_double(10, "10");
    assert_long_double(-100, "-100");
    assert_long_double(0.5L, "0.5");
    assert_long_double(10.6L, "10.6");
    assert_long_double(5.0e3L, "5000");
    assert_long_double(1e16L, "10000000000000000");
    assert_long_double(1e-17L, "0.00000000000000001");
    assert_long_double(1e-18L, "0");
    assert_long_double(-1e-18L, "0");
    assert_long_double((long double)INFINITY, "inf");
    assert_long_double(-(long double)INFINITY, "-inf");
    assert_long_double((long double)NAN, "nan");
    /* The largest takes the most room: sign and 4933 digits. */
    assert_int_equal(num_format_long_double(out, -LDBL_MAX), 1 + 4933);
}

static void assert_double(double v, const char *expected)
{
    char *out = malloc(NUM_DOUBLE_MAX);
    unsigned n = num_format_double(out, v);

    assert_int_equal(n, strlen(expected));
    assert_memory_equal(out, expected, n);
    free(out);
}

static void format_double(void **state)
{
    struct random r = {{9, 10, 11, 12}};

    (void)state;
    assert_double(0, "0");
    assert_double(-0.0, "-0");
    assert_double(3, "3");
    assert_double(-3, "-3");
    assert_double(0.1, "0.10000000000000001");
    assert_double(1e-5, "1.0000000000000001e-05");
    assert_double(1e16, "10000000000000000");
    assert_double(99999999999999984, "99999999999999984");
    assert_double(1e17, "1e+17");
    assert_double(-1e17, "-1e+17");
    assert_double(123456789012345680.0, "1.2345678901234568e+17");
    assert_double(4e-324, "4.9406564584124654e-324");
    assert_double(1.7976931348623157e308, "1.7976931348623157e+308");
    assert_double(INFINITY, "inf");
    assert_double(-INFINITY, "-inf");
    assert_double(NAN, "nan");
    assert_double(-NAN, "nan");
    for (int i = 0; i < 20000; i++) {
        double v = (double)(int64_t)(random_next(&r) >> random_below(&r, 64)) / (double)(1 + random_below(&r, 4));
        char expected[64];

        snprintf(expected, sizeof expected, "%.17g", v);
        assert_double(v, expected);
    }
}

static void parse_memory(void **state)
{
    static const struct {
        const char *text;
        uint64_t value;
    } good[] = {
        {"0", 0},
        {"1", 1},
        {"100b", 100},
        {"1k", 1000},
        {"1K", 1000},
        {"1kb", 1024},
        {"1Kb", 1024},
        {"2m", 2000000},
        {"2MB", 2 << 20},
        {"3g", 3000000000},
        {"3gB", (uint64_t)3 << 30},
        {"18446744073709551615", UINT64_MAX},
        {"17179869183gb", (uint64_t)17179869183 << 30},
    };
    static const char *const bad[] = {
        "",
        "kb",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1 kb",
        "1.5k",
        "1t",
        "1bb",
        "1kbb",
        "k1",
        "18446744073709551616",
        "17179869184gb",
        "99999999999999999999kb",
    };
    uint64_t v;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        struct view text = tight(good[i].text);

        assert_true(num_parse_memory(text, &v));
        assert_int_equal(v, good[i].value);
        drop(text);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        if (num_parse_memory(view_str(bad[i]), &v))
            fail_msg("'%s' was taken as a size", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_int),
        cmocka_unit_test(parse_uint),
        cmocka_unit_test(format_int),
        cmocka_unit_test(parse_double),
        cmocka_unit_test(parse_double_short_cut),
        cmocka_unit_test(parse_long_double),
        cmocka_unit_test(format_long_double),
        cmocka_unit_test(format_double),
        cmocka_unit_test(parse_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
