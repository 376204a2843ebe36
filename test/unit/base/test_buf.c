/* Growth, the change between blocks and maps, compaction, and failures that leave a buffer as it was. */
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/mem.h"

static void assert_holds(const struct buf *b, const char *text)
{
    assert_int_equal(buf_live(b), strlen(text));
    assert_memory_equal(buf_head(b), text, strlen(text));
}

/* Appends n bytes that tell their place. */
static void put_pattern(struct buf *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_put_char(b, (char)((b->len * 7) & 0x7f));
}

static void check_pattern(const struct buf *b, size_t first)
{
    for (size_t i = 0; i < buf_live(b); i++)
        if (buf_head(b)[i] != (char)(((first + i) * 7) & 0x7f))
            fail_msg("byte %zu differs", i);
}

static void put_and_consume(void **state)
{
    struct buf b = {0};

    (void)state;
    buf_put(&b, "", 0);
    assert_int_equal(buf_live(&b), 0);
    buf_put(&b, LIT("hello "));
    buf_put_view(&b, VIEW("world"));
    buf_put_char(&b, '!');
    assert_holds(&b, "hello world!");
    buf_consume(&b, 6);
    assert_true(view_equal(buf_view(&b), VIEW("world!")));
    buf_consume(&b, 6);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.off, 0);
    buf_put(&b, LIT("x"));
    buf_clear(&b);
    assert_int_equal(buf_live(&b), 0);
    buf_free(&b);
    assert_null(b.p);
    buf_free(&b);
}

/* The sanitizers object to arithmetic on NULL: a buffer without memory must not need any. */
static void all_zero_is_an_empty_buffer(void **state)
{
    struct buf b = {0};

    (void)state;
    for (int round = 0; round < 2; round++) {
        assert_null(buf_head(&b));
        assert_int_equal(buf_live(&b), 0);
        assert_null(buf_view(&b).p);
        assert_int_equal(buf_view(&b).n, 0);
        assert_true(view_equal(buf_view(&b), VIEW("")));
        buf_put(&b, NULL, 0);
        buf_put_view(&b, (struct view){NULL, 0});
        buf_put_view(&b, buf_view(&b));
        buf_consume(&b, 0);
        buf_compact(&b);
        buf_clear(&b);
        buf_reserve(&b, 0);
        assert_null(b.p);
        buf_put_char(&b, 'x'); /* the second round finds memory given back */
        buf_free(&b);
    }
}

static void grows_through_to_maps(void **state)
{
    int64_t before = mem_used();
    struct buf b = {0};

    (void)state;
    put_pattern(&b, 1000);
    buf_consume(&b, 300);
    while (b.len < 5 * BUF_MAP_MIN)
        put_pattern(&b, 100000);
    assert_int_equal(b.off, 300);
    check_pattern(&b, 300);
    assert_true(mem_used() - before >= (int64_t)b.cap);
    buf_free(&b);
    assert_int_equal(mem_used(), before);
}

static void reserves_what_is_asked_for(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_int_equal(buf_try_reserve(&b, 3 * BUF_MAP_MIN), 0);
    assert_int_equal(b.cap, 3 * BUF_MAP_MIN);
    assert_int_equal(b.len, 0);
    buf_free(&b);
    buf_put(&b, LIT("abc"));
    assert_int_equal(buf_try_reserve(&b, 3 * BUF_MAP_MIN), 0);
    assert_holds(&b, "abc");
    buf_free(&b);
}

static void failure_changes_nothing(void **state)
{
    struct buf b = {0}, copy;

    (void)state;
    buf_put(&b, LIT("abc"));
    for (int round = 0; round < 2; round++) {
        copy = b;
        assert_int_equal(buf_try_reserve(&b, SIZE_MAX), -1);
        assert_int_equal(buf_try_reserve(&b, SIZE_MAX - b.len), -1);
        assert_int_equal(buf_try_reserve(&b, (size_t)1 << 60), -1);
        mem_fail_after(0);
        assert_int_equal(buf_try_reserve(&b, b.cap), -1);
        assert_int_equal(buf_try_reserve(&b, 5 * BUF_MAP_MIN), -1);
        mem_fail_after(-1);
        assert_memory_equal(&b, &copy, sizeof b);
        assert_holds(&b, "abc");
        buf_reserve(&b, BUF_MAP_MIN); /* the second round finds a map */
    }
    buf_free(&b);
}

static void compact_moves_and_shrinks(void **state)
{
    int64_t before = mem_used();
    struct buf b = {0};

    (void)state;
    put_pattern(&b, 3 * BUF_MAP_MIN);
    buf_consume(&b, BUF_MAP_MIN);
    buf_compact(&b);
    assert_int_equal(b.off, 0);
    assert_int_equal(b.len, 2 * BUF_MAP_MIN);
    check_pattern(&b, BUF_MAP_MIN);

    size_t gone = b.len - BUF_MAP_MIN / 2;
    buf_consume(&b, gone);
    buf_compact(&b);
    assert_true(b.cap <= 4 * buf_live(&b));
    assert_true(b.cap >= BUF_MAP_MIN); /* a map that shrank */
    check_pattern(&b, BUF_MAP_MIN + gone);

    size_t more = b.len - 100;
    buf_consume(&b, more);
    buf_compact(&b);
    assert_true(b.cap < 20000); /* a block again */
    assert_int_equal(b.len, 100);
    check_pattern(&b, BUF_MAP_MIN + gone + more);
    buf_free(&b);
    assert_int_equal(mem_used(), before);
}

static void compact_leaves_small_buffers(void **state)
{
    struct buf b = {0};

    (void)state;
    buf_compact(&b);
    assert_int_equal(b.cap, 0);
    put_pattern(&b, 10000);
    size_t cap = b.cap;
    buf_consume(&b, 9990);
    buf_compact(&b);
    assert_int_equal(b.cap, cap);
    check_pattern(&b, 9990);
    buf_free(&b);
}

static void compact_gives_back_an_empty_buffer(void **state)
{
    struct buf b = {0};

    (void)state;
    put_pattern(&b, 100000);
    buf_clear(&b);
    buf_compact(&b);
    assert_null(b.p);
    assert_int_equal(b.cap, 0);
    buf_put(&b, LIT("again"));
    assert_holds(&b, "again");
    buf_free(&b);
}

static void compact_without_memory_keeps_the_bytes(void **state)
{
    struct buf b = {0};

    (void)state;
    put_pattern(&b, 2 * BUF_MAP_MIN);
    buf_consume(&b, b.len - 10);
    mem_fail_after(0);
    buf_compact(&b);
    mem_fail_after(-1);
    assert_true(b.cap >= 2 * BUF_MAP_MIN);
    assert_int_equal(b.len, 10);
    check_pattern(&b, 2 * BUF_MAP_MIN - 10);
    buf_free(&b);
}

static void prints(void **state)
{
    struct buf b = {0};

    (void)state;
    buf_printf(&b, "%s", "");
    buf_printf(&b, "%s:%d\r\n", "port", 6379);
    assert_holds(&b, "port:6379\r\n");
    buf_clear(&b);
    /* Around the room that is left: just fitting, and one too many. */
    for (int n = 60; n < 70; n++) {
        buf_free(&b);
        buf_printf(&b, "%*d", n, 7);
        assert_int_equal(b.len, n);
        assert_int_equal(b.p[n - 1], '7');
    }
    buf_printf(&b, "%0*d", 5000, 7);
    assert_int_equal(b.len, 69 + 5000);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_and_consume),
        cmocka_unit_test(all_zero_is_an_empty_buffer),
        cmocka_unit_test(grows_through_to_maps),
        cmocka_unit_test(reserves_what_is_asked_for),
        cmocka_unit_test(failure_changes_nothing),
        cmocka_unit_test(compact_moves_and_shrinks),
        cmocka_unit_test(compact_leaves_small_buffers),
        cmocka_unit_test(compact_gives_back_an_empty_buffer),
        cmocka_unit_test(compact_without_memory_keeps_the_bytes),
        cmocka_unit_test(prints),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
