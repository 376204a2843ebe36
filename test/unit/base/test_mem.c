/* Counting over threads, and injected failures. */
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <string.h>

static void counts_usable_bytes(void **state)
{
    int64_t before = mem_used();
    char *p = mem_alloc(100), *z = mem_zalloc(50), *s = mem_strndup("larder", 4);

    (void)state;
    assert_true(mem_size(p) >= 100);
    assert_int_equal(mem_used() - before, mem_size(p) + mem_size(z) + mem_size(s));
    for (size_t i = 0; i < 50; i++)
        assert_int_equal(z[i], 0);
    assert_string_equal(s, "lard");
    p = mem_realloc(p, 5000);
    assert_int_equal(mem_used() - before, mem_size(p) + mem_size(z) + mem_size(s));
    mem_free(p);
    mem_free(z);
    mem_free(s);
    mem_free(NULL);
    assert_int_equal(mem_size(NULL), 0);
    assert_int_equal(mem_used(), before);
    mem_count(1000);
    assert_int_equal(mem_used(), before + 1000);
    mem_count(-1000);
    assert_int_equal(mem_used(), before);
}

static void lines_are_aligned(void **state)
{
    void *p[8];

    (void)state;
    for (size_t i = 0; i < 8; i++) {
        p[i] = mem_alloc_lines(64 * (i + 1));
        assert_int_equal((uintptr_t)p[i] % 64, 0);
        memset(p[i], 1, 64 * (i + 1));
    }
    for (size_t i = 0; i < 8; i++)
        mem_free(p[i]);
}

static void realloc_to_nothing_keeps_a_block(void **state)
{
    int64_t before = mem_used();
    void *p = mem_try_realloc(NULL, 10);

    (void)state;
    p = mem_try_realloc(p, 0);
    assert_non_null(p);
    mem_free(p);
    assert_int_equal(mem_used(), before);
}

static void maps(void **state)
{
    int64_t before = mem_used();
    char *p = mem_try_map(1 << 20);

    (void)state;
    assert_non_null(p);
    assert_int_equal(mem_used(), before + (1 << 20));
    p[0] = 'a';
    p = mem_try_remap(p, 1 << 20, 4 << 20);
    assert_non_null(p);
    assert_int_equal(p[0], 'a');
    assert_int_equal(mem_used(), before + (4 << 20));
    mem_unmap(p, 4 << 20);
    assert_int_equal(mem_used(), before);
    assert_null(mem_try_map((size_t)1 << 62));
    assert_int_equal(mem_used(), before);
}

static void injected_failures(void **state)
{
    int64_t before = mem_used();
    char *p, *map;

    (void)state;
    mem_fail_after(2);
    p = mem_try(8);
    map = mem_try_map(65536);
    assert_non_null(p);
    assert_non_null(map);
    p[0] = 'x';
    assert_null(mem_try(8));
    assert_null(mem_try_realloc(p, 100000));
    assert_null(mem_try_map(65536));
    assert_null(mem_try_remap(map, 65536, 131072));
    assert_int_equal(p[0], 'x');
    mem_free(mem_alloc(8)); /* never injected */
    mem_fail_after(-1);
    p = mem_try_realloc(p, 100000);
    assert_non_null(p);
    mem_free(p);
    mem_unmap(map, 65536);
    assert_int_equal(mem_used(), before);
}

static void *allocate_and_leave(void *arg)
{
    (void)arg;
    return mem_alloc(1000);
}

static void *churn(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < 2000; i++)
        mem_free(mem_alloc(i % 300));
    return NULL;
}

/* More threads than there are slots, one after the other: slots are recycled, and counts outlive their threads. */
static void threads_come_and_go(void **state)
{
    int64_t before = mem_used(), held = 0;
    void *blocks[600];

    (void)state;
    for (size_t i = 0; i < 600; i++) {
        pthread_t t;

        assert_int_equal(pthread_create(&t, NULL, allocate_and_leave, NULL), 0);
        pthread_join(t, &blocks[i]);
        held += (int64_t)mem_size(blocks[i]);
        assert_int_equal(mem_used(), before + held);
    }
    for (size_t i = 0; i < 600; i++)
        mem_free(blocks[i]);
    assert_int_equal(mem_used(), before);
}

/* More threads at a time than there are slots: the rest share one. */
static void many_threads_at_once(void **state)
{
    int64_t before = mem_used();
    pthread_attr_t attr;
    pthread_t t[300];

    (void)state;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 << 10);
    for (size_t i = 0; i < 300; i++)
        assert_int_equal(pthread_create(&t[i], &attr, churn, NULL), 0);
    for (size_t i = 0; i < 300; i++)
        pthread_join(t[i], NULL);
    pthread_attr_destroy(&attr);
    assert_int_equal(mem_used(), before);
}

static pthread_key_t late_key;

static void allocate_late(void *arg)
{
    /* Set again, so that it also runs in the rounds after the slot was given back. */
    static _Thread_local int rounds;

    mem_free(arg);
    if (++rounds < 3)
        pthread_setspecific(late_key, mem_alloc(64));
}

static void *use_late_key(void *arg)
{
    (void)arg;
    pthread_setspecific(late_key, mem_alloc(64));
    return NULL;
}

static void allocation_in_destructors(void **state)
{
    int64_t before = mem_used();
    pthread_t t;

    (void)state;
    assert_int_equal(pthread_key_create(&late_key, allocate_late), 0);
    assert_int_equal(pthread_create(&t, NULL, use_late_key, NULL), 0);
    pthread_join(t, NULL);
    pthread_key_delete(late_key);
    assert_int_equal(mem_used(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_usable_bytes),
        cmocka_unit_test(lines_are_aligned),
        cmocka_unit_test(realloc_to_nothing_keeps_a_block),
        cmocka_unit_test(maps),
        cmocka_unit_test(injected_failures),
        cmocka_unit_test(threads_come_and_go),
        cmocka_unit_test(many_threads_at_once),
        cmocka_unit_test(allocation_in_destructors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
