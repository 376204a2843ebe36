/* SipHash-1-3 against values computed by an implementation of the paper in another language, which also gives the
 * paper's own vector for SipHash-2-4. */
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

/* The inputs are the bytes 0, 1, 2 ..., the key is the paper's: bytes 0 to 15. */
static const struct hash_key paper_key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
static const uint64_t expected[] = {
    0xabac0158050fc4dc, 0xc9f49bf37d57ca93, 0x82cb9b024dc7d44d, 0x8bf80ab8e7ddf7fb, 0xcf75576088d38328,
    0xdef9d52f49533b67, 0xc50d2b50c59f22a7, 0xd3927d989bb11140, 0x369095118d299a8e, 0x25a48eb36c063de4,
    0x79de85ee92ff097f, 0x70c118c1f94dc352, 0x78a384b157b4d9a2, 0x306f760c1229ffa7, 0x605aa111c0f95d34,
    0xd320d86d2a519956, 0xcc4fdd1a7d908b66, 0x9cf2689063dbd80c, 0x8ffc389cb473e63e, 0xf21f9de58d297d1c,
    0xc0dc2f46a6cce040, 0xb992abfe2b45f844, 0x7ffe7b9ba320872e, 0x525a0e7fdae6c123, 0xf464aeb267349c8c,
    0x45cd5928705b0979, 0x3a3e35e3ca9913a5, 0xa91dc74e4ade3b35, 0xfb0bed02ef6cd00d, 0x88d93cb44ab1e1f4,
    0x540f11d643c5e663, 0x2370dd1f8c21d1bc, 0x81157b6c16a7b60d, 0x4d54b9e57a8ff9bf,
};

static void every_short_length(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof expected / sizeof *expected; n++) {
        /* A block of exactly n bytes lets the sanitizer see any load outside. */
        unsigned char *p = malloc(n != 0 ? n : 1);

        for (size_t i = 0; i < n; i++)
            p[i] = (unsigned char)i;
        assert_int_equal(hash_bytes(&paper_key, p, n), expected[n]);
        free(p);
    }
}

static void unaligned_input(void **state)
{
    char space[64];

    (void)state;
    for (size_t at = 0; at < 8; at++) {
        for (size_t i = 0; i < 33; i++)
            space[at + i] = (char)i;
        assert_int_equal(hash_bytes(&paper_key, space + at, 33), expected[33]);
    }
}

static void length_over_a_byte(void **state)
{
    unsigned char p[300];

    (void)state;
    for (size_t i = 0; i < sizeof p; i++)
        p[i] = (unsigned char)i;
    assert_int_equal(hash_bytes(&paper_key, p, sizeof p), 0x4016a23bda5a2224);
}

static void other_keys(void **state)
{
    const struct hash_key zero = {0, 0}, high = {UINT64_MAX, (uint64_t)1 << 63};

    (void)state;
    assert_int_equal(hash_bytes(&zero, NULL, 0), 0xd1fba762150c532c);
    assert_int_equal(hash_bytes(&high, "user:1000", 9), 0xfe42b1ba79865b66);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_short_length),
        cmocka_unit_test(unaligned_input),
        cmocka_unit_test(length_over_a_byte),
        cmocka_unit_test(other_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
