/* CRC-64: the check value, and both ways against one bit at a time, for every alignment, length and way to cut. */
#include "base/crc64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST 1100

static unsigned char bytes[64 << 10];

static int fill(void **state)
{
    uint32_t x = 12345;

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) {
        x = x * 1664525 + 1013904223;
        bytes[i] = (unsigned char)(x >> 24);
    }
    return 0;
}

/* The definition: the message as a polynomial, one bit after the other. */
static uint64_t by_bits(uint64_t crc, const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            uint64_t out = (crc ^ (p[i] >> bit)) & 1;
            crc = crc >> 1 ^ (out ? UINT64_C(0x95ac9329ac4bc9b5) : 0);
        }
    return crc;
}

static void check_values(void **state)
{
    (void)state;
    assert_true(crc64(0, "123456789", 9) == UINT64_C(0xe9c6d914c4b8d9ca));
    assert_true(crc64_portable(0, "123456789", 9) == UINT64_C(0xe9c6d914c4b8d9ca));
    assert_true(crc64(0, "", 0) == 0);
    assert_true(crc64(77, NULL, 0) == 77);
}

static void every_length(void **state)
{
    uint64_t expected = UINT64_C(0x123456789abcdef0);

    (void)state;
    for (size_t n = 0; n < LONGEST; n++) {
        /* A block of exactly n bytes lets the sanitizer see any load outside. */
        unsigned char *p = malloc(n != 0 ? n : 1);

        memcpy(p, bytes, n);
        assert_true(crc64(UINT64_C(0x123456789abcdef0), p, n) == expected);
        assert_true(crc64_portable(UINT64_C(0x123456789abcdef0), p, n) == expected);
        expected = by_bits(expected, bytes + n, 1);
        free(p);
    }
}

static void every_alignment(void **state)
{
    (void)state;
    for (size_t at = 0; at < 64; at++)
        for (size_t n = 240; n < 400; n += 7)
            assert_true(crc64(at, bytes + at, n) == by_bits(at, bytes + at, n));
}

static void pieces(void **state)
{
    uint64_t whole = by_bits(0, bytes, sizeof bytes);
    static const size_t sizes[] = {1, 63, 255, 256, 257, 1000, 4096, 50000};

    (void)state;
    assert_true(crc64(0, bytes, sizeof bytes) == whole);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t crc = 0;

        for (size_t at = 0; at < sizeof bytes; at += sizes[i])
            crc = crc64(crc, bytes + at, sizeof bytes - at < sizes[i] ? sizeof bytes - at : sizes[i]);
        assert_true(crc == whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_values),
        cmocka_unit_test(every_length),
        cmocka_unit_test(every_alignment),
        cmocka_unit_test(pieces),
    };

    return cmocka_run_group_tests(tests, fill, NULL);
}
