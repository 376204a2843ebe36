/* Effects: the exact bytes of commands, of the SELECTs between them, and what is kept from one unit to the next. */
#include "unit/support.h"

#include <stdio.h>

#include "base/buf.h"
#include "engine/log/effects.h"

static void check(const struct buf *b, const char *bytes)
{
    struct view have = buf_view(b), want = view_str(bytes);

    if (!view_equal(have, want))
        fail_msg("'%.*s' is not '%s'", (int)have.n, have.p ? have.p : "", bytes);
}

static void test_words(void **state)
{
    const struct view words[] = {VIEW("SET"), VIEW("key"), VIEW("")}, none = view_of(NULL, 0);
    struct buf b = {0};

    (void)state;
    effects_put_words(&b, words, 3);
    check(&b, "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$0\r\n\r\n");
    assert_int_equal(effects_words_size(words, 3), buf_live(&b));
    effects_put_words(&b, &none, 1);
    check(&b, "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$0\r\n\r\n*1\r\n$0\r\n\r\n");
    assert_int_equal(effects_words_size(&none, 1), 10);
    buf_free(&b);
}

/* Lengths and counts on both sides of each new digit, binary bytes, buffers that are just full. */
static void test_sizes(void **state)
{
    static const size_t lengths[] = {0, 1, 9, 10, 99, 100, 999, 1000, 9999, 10000, 99999, 100000};
    static const size_t counts[] = {1, 9, 10, 99, 100, 101};
    char *bytes = mem_alloc(100000);
    struct view *words = mem_alloc(101 * sizeof *words);

    (void)state;
    for (size_t i = 0; i < 100000; i++)
        bytes[i] = (char)i;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
            struct buf b = {0};
            char head[64];
            int n;
            for (size_t w = 0; w < counts[k]; w++)
                words[w] = view_of(bytes, w == counts[k] - 1 ? lengths[i] : w % 12);
            effects_put_words(&b, words, counts[k]);
            assert_int_equal(effects_words_size(words, counts[k]), buf_live(&b));
            n = snprintf(head, sizeof head, "*%zu\r\n", counts[k]);
            assert_memory_equal(b.p, head, n);
            n = snprintf(head, sizeof head, "$%zu\r\n", lengths[i]);
            assert_memory_equal(b.p + b.len - 2 - lengths[i] - (size_t)n, head, n);
            assert_memory_equal(b.p + b.len - 2 - lengths[i], bytes, lengths[i]);
            assert_memory_equal(b.p + b.len - 2, "\r\n", 2);
            buf_free(&b);
        }
    mem_free(words);
    mem_free(bytes);
}

static void test_select(void **state)
{
    static const uint32_t databases[] = {0, 9, 10, 99, 100, 65535};
    struct buf b = {0};

    (void)state;
    for (size_t i = 0; i < sizeof databases / sizeof databases[0]; i++) {
        buf_clear(&b);
        effects_put_select(&b, databases[i]);
        assert_int_equal(effects_select_size(databases[i]), buf_live(&b));
    }
    check(&b, "*2\r\n$6\r\nSELECT\r\n$5\r\n65535\r\n");
    buf_clear(&b);
    effects_put_select(&b, 0);
    check(&b, "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n");
    buf_free(&b);
}

/* The first one's database is the log's business; after that a SELECT stands where it changes. */
static void test_unit(void **state)
{
    const struct view del[] = {VIEW("DEL"), VIEW("k")};
    struct effects e = {0};

    (void)state;
    effects_add(&e, 7, del, 2);
    check(&e.bytes, "*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n");
    assert_int_equal(e.count, 1);
    assert_int_equal(e.first_db, 7);
    assert_int_equal(e.last_db, 7);
    effects_add_raw(&e, 7, VIEW("*1\r\n$1\r\nA\r\n"));
    effects_add_raw(&e, 12, VIEW("*1\r\n$1\r\nB\r\n"));
    effects_add(&e, 12, del, 2);
    effects_add(&e, 0, del, 2);
    check(&e.bytes, "*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n*1\r\n$1\r\nA\r\n"
                    "*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n*1\r\n$1\r\nB\r\n*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n"
                    "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n");
    assert_int_equal(e.count, 5);
    assert_int_equal(e.first_db, 7);
    assert_int_equal(e.last_db, 0);

    effects_clear(&e);
    assert_int_equal(e.count, 0);
    assert_int_equal(buf_live(&e.bytes), 0);
    effects_add(&e, 3, del, 2); /* nothing of the last unit's database is left */
    check(&e.bytes, "*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n");
    assert_int_equal(e.first_db, 3);
    assert_int_equal(e.last_db, 3);
    buf_free(&e.bytes);
}

static void test_clear(void **state)
{
    char *bytes = mem_zalloc(200000);
    struct effects e = {0};

    (void)state;
    effects_clear(&e);
    effects_add_raw(&e, 0, view_of(bytes, 1000));
    effects_clear(&e);
    assert_true(e.bytes.cap >= 1000);
    effects_add_raw(&e, 0, view_of(bytes, 200000));
    effects_clear(&e);
    assert_int_equal(e.bytes.cap, 0);
    mem_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words), cmocka_unit_test(test_sizes), cmocka_unit_test(test_select),
        cmocka_unit_test(test_unit),  cmocka_unit_test(test_clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
