/* Alignment, big requests, and what a reset keeps. */
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/mem.h"

static void allocations_are_aligned_and_apart(void **state)
{
    struct arena a = {0};
    unsigned char *p[500];

    (void)state;
    for (size_t i = 0; i < 500; i++) {
        p[i] = arena_alloc(&a, i);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        memset(p[i], (int)(i & 0xff), i);
    }
    for (size_t i = 0; i < 500; i++)
        for (size_t j = 0; j < i; j++)
            if (p[i][j] != (i & 0xff))
                fail_msg("allocation %zu was overwritten", i);
    arena_free(&a);
}

static void nothing_is_still_a_pointer(void **state)
{
    struct arena a = {0};

    (void)state;
    assert_non_null(arena_alloc(&a, 0));
    arena_free(&a);
    arena_free(&a);
    arena_reset(&a);
    assert_null(a.chunk);
}

static void big_requests_leave_the_chunk_in_use(void **state)
{
    struct arena a = {0};
    char *small = arena_alloc(&a, 16), *big, *next;

    (void)state;
    big = arena_alloc(&a, 100000);
    memset(big, 1, 100000);
    next = arena_alloc(&a, 16);
    assert_ptr_equal(next, small + 16);
    arena_free(&a);

    /* Big from the start. */
    memset(arena_alloc(&a, 100000), 1, 100000);
    memset(arena_alloc(&a, 16), 1, 16);
    arena_free(&a);
}

static void fills_a_chunk_to_its_end(void **state)
{
    struct arena a = {0};

    (void)state;
    for (size_t n = 1; n < 6000; n += 7) {
        for (size_t used = 0; used < 40000; used += n)
            memset(arena_alloc(&a, n), 1, n);
        arena_reset(&a);
    }
    arena_free(&a);
}

static void reset_keeps_one_chunk(void **state)
{
    int64_t before = mem_used(), kept;
    struct arena a = {0};
    char *p;

    (void)state;
    p = arena_alloc(&a, 100);
    kept = mem_used() - before;
    arena_reset(&a);
    assert_ptr_equal(arena_alloc(&a, 100), p);
    for (int i = 0; i < 100; i++)
        arena_alloc(&a, 3000);
    arena_alloc(&a, 1000000);
    arena_reset(&a);
    assert_int_equal(mem_used() - before, kept);
    arena_free(&a);
    assert_int_equal(mem_used(), before);

    arena_alloc(&a, 1000000);
    arena_reset(&a);
    assert_int_equal(mem_used(), before);
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_and_apart),
        cmocka_unit_test(nothing_is_still_a_pointer),
        cmocka_unit_test(big_requests_leave_the_chunk_in_use),
        cmocka_unit_test(fills_a_chunk_to_its_end),
        cmocka_unit_test(reset_keeps_one_chunk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
