/* Bit algorithms, checked against the same done one bit at a time. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "engine/types/bits.h"

#define LENGTH 1500 /* several blocks of the counting loop, and a rest */

static struct random seeded(void)
{
    return (struct random){{1, 2, 3, 4}};
}

static void fill(struct random *r, uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)random_next(r);
}

static void test_count(void **state)
{
    struct random r = seeded();
    uint8_t p[LENGTH];

    (void)state;
    fill(&r, p, sizeof p);
    for (int round = 0; round < 2000; round++) {
        uint64_t from = random_below(&r, sizeof p * 8), to = random_below(&r, sizeof p * 8 + 1), expected = 0;

        for (uint64_t i = from; i < to; i++)
            expected += bits_test(p, i);
        assert_int_equal(bits_count(p, from, to), expected);
    }
    memset(p, 0xff, sizeof p);
    assert_int_equal(bits_count(p, 0, sizeof p * 8), sizeof p * 8);
    assert_int_equal(bits_count(p, 5, 5), 0);
}

static int64_t find_slowly(const uint8_t *p, uint64_t from, uint64_t to, bool bit)
{
    for (uint64_t i = from; i < to; i++)
        if (bits_test(p, i) == bit)
            return (int64_t)i;
    return -1;
}

static void test_find(void **state)
{
    struct random r = seeded();
    uint8_t p[LENGTH];

    (void)state;
    for (int round = 0; round < 4000; round++) {
        uint64_t from = random_below(&r, sizeof p * 8), to = random_below(&r, sizeof p * 8 + 1);
        bool bit = round % 2;

        memset(p, bit ? 0 : 0xff, sizeof p);
        if (round % 8 != 0)
            bits_put(p, random_below(&r, sizeof p * 8), bit);
        assert_int_equal(bits_find(p, from, to, bit), find_slowly(p, from, to, bit));
        assert_int_equal(bits_find(p, from, to, !bit), find_slowly(p, from, to, !bit));
    }
}

static uint8_t combined(enum bits_operation op, uint8_t a, uint8_t b)
{
    switch (op) {
    case BITS_AND:
        return a & b;
    case BITS_OR:
        return a | b;
    case BITS_XOR:
        return a ^ b;
    case BITS_NOT:
        break;
    }
    return (uint8_t)~a;
}

static void test_combine(void **state)
{
    static uint8_t in[3][40000], out[40000];
    const size_t lengths[3] = {20000, 40000, 3};
    struct random r = seeded();
    struct view sources[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        memset(in[i], 0, sizeof in[i]);
        fill(&r, in[i], lengths[i]);
        sources[i] = view_of((const char *)in[i], lengths[i]);
    }
    for (int op = BITS_AND; op <= BITS_XOR; op++) {
        memset(out, 0xa5, sizeof out);
        bits_combine((enum bits_operation)op, out, sizeof out, sources, 3);
        for (size_t i = 0; i < sizeof out; i++) {
            uint8_t expected = combined((enum bits_operation)op, in[0][i], in[1][i]);

            assert_int_equal(out[i], combined((enum bits_operation)op, expected, in[2][i]));
        }
    }
    bits_combine(BITS_NOT, out, sizeof out, &sources[1], 1);
    for (size_t i = 0; i < sizeof out; i++)
        assert_int_equal(out[i], (uint8_t)~in[1][i]);
}

static void test_fields(void **state)
{
    struct random r = seeded();
    uint8_t p[40], before[40];

    (void)state;
    fill(&r, p, sizeof p);
    for (int round = 0; round < 20000; round++) {
        unsigned width = 1 + (unsigned)random_below(&r, 64);
        uint64_t at = random_below(&r, sizeof p * 8 - width + 1), v = random_next(&r), expected = 0;

        memcpy(before, p, sizeof p);
        bits_set_field(p, at, width, v);
        for (unsigned i = 0; i < width; i++)
            expected = expected << 1 | (v >> (width - 1 - i) & 1);
        assert_int_equal(bits_field(p, sizeof p, at, width), expected);
        for (uint64_t i = 0; i < sizeof p * 8; i++)
            if (i < at || i >= at + width)
                assert_int_equal(bits_test(p, i), bits_test(before, i));
    }
    memset(p, 0xff, sizeof p);
    assert_int_equal(bits_field(p, 1, 4, 8), 0xf0);
    assert_int_equal(bits_field(p, 0, 1000, 64), 0);
}

static void test_sign(void **state)
{
    (void)state;
    assert_int_equal(bits_sign(0xff, 8), -1);
    assert_int_equal(bits_sign(0x7f, 8), 127);
    assert_int_equal(bits_sign(1, 1), -1);
    assert_true(bits_sign(UINT64_C(1) << 63, 64) == INT64_MIN);
}

static void assert_signed(int64_t value, int64_t increment, unsigned width, bool overflows, int64_t wrapped,
                          int64_t saturated)
{
    int64_t v;

    assert_int_equal(bits_add_signed(value, increment, width, BITS_WRAP, &v), overflows);
    assert_true(v == wrapped);
    assert_int_equal(bits_add_signed(value, increment, width, BITS_SATURATE, &v), overflows);
    assert_true(v == saturated);
    assert_int_equal(bits_add_signed(value, increment, width, BITS_FAIL, &v), overflows);
}

static void test_add_signed(void **state)
{
    (void)state;
    assert_signed(100, 27, 8, false, 127, 127);
    assert_signed(100, 28, 8, true, -128, 127);
    assert_signed(-100, -29, 8, true, 127, -128);
    assert_signed(200, 0, 8, true, -56, 127);
    assert_signed(-1, INT64_MIN, 64, true, INT64_MAX, INT64_MIN);
    assert_signed(INT64_MAX, 1, 64, true, INT64_MIN, INT64_MAX);
    assert_signed(-129, 0, 8, true, 127, -128);
    assert_signed(INT64_MIN, 0, 8, true, 0, 127);
}

static void assert_unsigned(uint64_t value, int64_t increment, unsigned width, bool overflows, uint64_t wrapped,
                            uint64_t saturated)
{
    uint64_t v;

    assert_int_equal(bits_add_unsigned(value, increment, width, BITS_WRAP, &v), overflows);
    assert_true(v == wrapped);
    assert_int_equal(bits_add_unsigned(value, increment, width, BITS_SATURATE, &v), overflows);
    assert_true(v == saturated);
}

static void test_add_unsigned(void **state)
{
    const uint64_t max63 = UINT64_MAX >> 1;

    (void)state;
    assert_unsigned(250, 5, 8, false, 255, 255);
    assert_unsigned(250, 6, 8, true, 0, 255);
    assert_unsigned(3, -4, 8, true, 255, 0);
    assert_unsigned((uint64_t)-1, 0, 8, true, 255, 255);
    assert_unsigned(max63, INT64_MAX, 63, true, max63 - 1, max63);
    assert_unsigned(0, INT64_MIN, 63, true, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count),        cmocka_unit_test(test_find), cmocka_unit_test(test_combine),
        cmocka_unit_test(test_fields),       cmocka_unit_test(test_sign), cmocka_unit_test(test_add_signed),
        cmocka_unit_test(test_add_unsigned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
