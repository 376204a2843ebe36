/* The block allocator: exact counts, blocks that do not overlap, and pages that are emptied by moving blocks away. */
#include "unit/support.h"

#include <pthread.h>

#define BLOCKS 40000u
#define FRONTS 3
#define PAGE (UINT64_C(64) * 1024)

struct block {
    unsigned char *p;
    size_t size;
    unsigned char mark;
};

struct fixture {
    struct heap_shared *shared;
    struct heap *fronts[FRONTS];
    struct random random;
    struct block blocks[BLOCKS];
    uint64_t used;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    f->shared = heap_shared_new();
    for (unsigned i = 0; i < FRONTS; i++)
        f->fronts[i] = heap_new(f->shared);
    f->random = support_random();
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    heap_shared_free(f->shared);
    mem_free(f);
    return 0;
}

static uint64_t rounded(size_t size)
{
    return size < 16 ? 16 : (size + 7) & ~(uint64_t)7; /* the least block holds two references */
}

static struct heap *any_front(struct fixture *f)
{
    return f->fronts[random_below(&f->random, FRONTS)];
}

static struct heap_stats stats(const struct fixture *f)
{
    struct heap_stats out;

    heap_stats(f->shared, &out);
    return out;
}

static void take(struct fixture *f, struct block *b, size_t size)
{
    b->p = heap_alloc(any_front(f), size);
    b->size = size;
    b->mark = (unsigned char)random_next(&f->random);
    assert_int_equal((uintptr_t)b->p % 8, 0);
    memset(b->p, b->mark, size);
    f->used += rounded(size);
}

static void check_block(const struct block *b)
{
    for (size_t i = 0; i < b->size; i++)
        if (b->p[i] != b->mark)
            fail_msg("a block of %zu bytes was overwritten at %zu", b->size, i);
}

static void give(struct fixture *f, struct block *b)
{
    check_block(b);
    heap_free(any_front(f), b->p, b->size);
    f->used -= rounded(b->size);
    b->p = NULL;
}

static void give_all(struct fixture *f)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        if (f->blocks[i].p)
            give(f, &f->blocks[i]);
}

static void trim(struct fixture *f)
{
    for (unsigned i = 0; i < FRONTS; i++)
        heap_trim(f->fronts[i]);
}

/* Everything free: no page is out. */
static void check_empty(struct fixture *f)
{
    trim(f);
    assert_int_equal(stats(f).used, 0);
    assert_int_equal(stats(f).pages, 0);
    assert_true(stats(f).resident <= 64 * PAGE); /* some are kept */
}

static void test_every_size(void **state)
{
    struct fixture *f = *state;

    for (unsigned round = 0; round < 3; round++) {
        for (size_t size = 1; size <= HEAP_BLOCK_MAX; size++) {
            take(f, &f->blocks[size], size);
            assert_int_equal(stats(f).used, f->used);
        }
        for (size_t size = 1; size <= HEAP_BLOCK_MAX; size++)
            check_block(&f->blocks[size]);
        give_all(f);
        assert_int_equal(stats(f).used, 0);
    }
    check_empty(f);
}

static size_t any_size(struct fixture *f, unsigned kind)
{
    return kind == 0   ? 1 + (size_t)random_below(&f->random, HEAP_BLOCK_MAX)
           : kind == 1 ? 1 + (size_t)random_below(&f->random, 100)
                       : 64;
}

static void test_random(void **state)
{
    struct fixture *f = *state;

    for (unsigned round = 0; round < 6; round++) {
        for (unsigned i = 0; i < 2 * BLOCKS; i++) {
            struct block *b = &f->blocks[random_below(&f->random, BLOCKS)];
            if (b->p && random_below(&f->random, 8) >= (round % 3 == 2 ? 1u : 5u))
                give(f, b);
            else if (!b->p && round % 3 != 2)
                take(f, b, any_size(f, round % 2));
        }
        assert_int_equal(stats(f).used, f->used);
        assert_true(stats(f).resident >= f->used);
        assert_int_equal(stats(f).pages * PAGE <= stats(f).resident, true);
    }
    give_all(f);
    check_empty(f);
}

/* One front's blocks are freed on another, over and over: neither hoards. */
static void test_other_front_frees(void **state)
{
    struct fixture *f = *state;

    for (unsigned round = 0; round < 50; round++) {
        void *p[1000];
        for (unsigned i = 0; i < 1000; i++)
            p[i] = heap_alloc(f->fronts[0], 100);
        for (unsigned i = 0; i < 1000; i++)
            heap_free(f->fronts[1], p[i], 100);
        assert_int_equal(stats(f).used, 0);
        assert_true(stats(f).pages <= 4);
    }
    check_empty(f);
}

static void test_pages_go_back(void **state)
{
    struct fixture *f = *state;
    uint64_t full;

    for (unsigned i = 0; i < BLOCKS; i++)
        take(f, &f->blocks[i], 1000);
    full = stats(f).resident;
    assert_true(full >= BLOCKS * UINT64_C(1000) && full < BLOCKS * UINT64_C(1100));
    give_all(f);
    check_empty(f);
    for (unsigned i = 0; i < BLOCKS; i++) /* what went back can be had again, for another size */
        take(f, &f->blocks[i], 504);
    assert_true(stats(f).resident <= full);
    give_all(f);
    check_empty(f);
}

/* Frees a random half, so that nearly every page is about half full. */
static void scatter(struct fixture *f, unsigned kind)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        take(f, &f->blocks[i], any_size(f, kind));
    for (unsigned i = 0; i < BLOCKS; i++)
        if (random_below(&f->random, 2))
            give(f, &f->blocks[i]);
    trim(f);
}

static void begin_drain(struct fixture *f)
{
    assert_true(heap_choose_drain(f->shared) > 0);
    for (unsigned i = 0; i < FRONTS; i++)
        heap_drain_check(f->fronts[i]);
}

/* Moves what lies in draining pages. Returns how many blocks that were. */
static unsigned evacuate(struct fixture *f)
{
    unsigned moved = 0;

    for (unsigned i = 0; i < BLOCKS; i++) {
        struct block *b = &f->blocks[i], old = *b;
        if (!b->p || !heap_draining(b->p))
            continue;
        take(f, b, old.size);
        assert_false(heap_draining(b->p));
        give(f, &old);
        moved++;
    }
    return moved;
}

static void drain_after_scatter(struct fixture *f, unsigned kind, unsigned rounds)
{
    struct heap_stats before, after;

    scatter(f, kind);
    before = stats(f);
    for (unsigned i = 0; i < rounds; i++) {
        if (heap_choose_drain(f->shared) == 0)
            break;
        for (unsigned k = 0; k < FRONTS; k++)
            heap_drain_check(f->fronts[k]);
        evacuate(f);
        trim(f);
        for (unsigned k = 0; k < BLOCKS; k++)
            assert_false(f->blocks[k].p && heap_draining(f->blocks[k].p));
        heap_end_drain(f->shared);
    }
    after = stats(f);
    assert_int_equal(after.used, f->used);
    assert_int_equal(after.used, before.used);
    assert_true(after.pages < before.pages);
    assert_true(after.resident <= before.resident); /* some empty pages are kept for reuse */
    if (kind == 2) {                                /* one size: half the pages suffice */
        assert_true(after.pages * 4 < before.pages * 3);
        assert_true(after.pages * PAGE < f->used * 3 / 2);
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        if (f->blocks[i].p)
            check_block(&f->blocks[i]);
    give_all(f);
    check_empty(f);
}

static void test_drain_one_size(void **state)
{
    drain_after_scatter(*state, 2, 4);
}

static void test_drain_small_sizes(void **state)
{
    drain_after_scatter(*state, 1, 4);
}

static void test_drain_all_sizes(void **state)
{
    drain_after_scatter(*state, 0, 4);
}

/* Between the choice and its end, other work goes on: it gets nothing from a draining page, and may free into one. */
static void test_drain_beside_work(void **state)
{
    struct fixture *f = *state;

    scatter(f, 2);
    begin_drain(f);
    for (unsigned i = 0; i < 2 * BLOCKS; i++) {
        struct block *b = &f->blocks[random_below(&f->random, BLOCKS)];
        if (b->p) {
            give(f, b);
            heap_trim(f->fronts[i % FRONTS]);
        } else {
            take(f, b, 64);
            assert_false(heap_draining(b->p));
        }
        if (i % 4 == 0 && b->p && heap_draining(b->p))
            give(f, b);
    }
    assert_int_equal(stats(f).used, f->used);
    evacuate(f);
    trim(f);
    heap_end_drain(f->shared);
    give_all(f);
    check_empty(f);
}

/* A drain that ends early leaves pages that serve as before. */
static void test_drain_is_called_off(void **state)
{
    struct fixture *f = *state;
    uint64_t pages;

    scatter(f, 2);
    begin_drain(f);
    heap_end_drain(f->shared);
    for (unsigned i = 0; i < BLOCKS; i++)
        assert_false(f->blocks[i].p && heap_draining(f->blocks[i].p));
    pages = stats(f).pages;
    for (unsigned i = 0; i < BLOCKS; i++) /* the free half is in those pages */
        if (!f->blocks[i].p)
            take(f, &f->blocks[i], 64);
    assert_true(stats(f).pages <= pages + 2 * FRONTS);
    give_all(f);
    check_empty(f);
}

static void test_nothing_to_drain(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(heap_choose_drain(f->shared), 0);
    for (unsigned i = 0; i < BLOCKS; i++)
        take(f, &f->blocks[i], 200);
    trim(f);
    assert_int_equal(heap_choose_drain(f->shared), 0); /* all full */
    heap_end_drain(f->shared);
    give_all(f);
    check_empty(f);
}

/* ---- threads ------------------------------------------------------------------------------------------------------ */

#define SHELVES 512

/* Blocks change hands through these: who takes one from a shelf frees it, or moves it. */
struct market {
    struct heap_shared *shared;
    _Atomic(unsigned char *) shelves[SHELVES];
};

struct trader {
    struct market *market;
    struct heap *heap;
    struct random random;
    unsigned damaged;
};

static size_t shelf_size(unsigned shelf)
{
    return 16 + shelf % 16 * 40;
}

static void *trade(void *arg)
{
    struct trader *t = arg;

    for (unsigned i = 0; i < 20000; i++) {
        unsigned shelf = (unsigned)random_below(&t->random, SHELVES);
        size_t size = shelf_size(shelf);
        unsigned char *p = NULL;

        heap_drain_check(t->heap);
        if (random_below(&t->random, 3)) {
            p = heap_alloc(t->heap, size);
            memset(p, (int)shelf & 0xff, size);
        }
        p = atomic_exchange(&t->market->shelves[shelf], p);
        if (!p)
            continue;
        for (size_t k = 0; k < size; k++)
            t->damaged += p[k] != (shelf & 0xff);
        heap_free(t->heap, p, size);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct fixture *f = *state;
    struct market *m = mem_zalloc(sizeof *m);
    struct trader traders[FRONTS];
    pthread_t threads[FRONTS];

    for (unsigned i = 0; i < FRONTS; i++) {
        traders[i] = (struct trader){m, f->fronts[i], f->random, 0};
        random_next(&f->random);
        traders[i].random.s[0] += i;
        assert_int_equal(pthread_create(&threads[i], NULL, trade, &traders[i]), 0);
    }
    for (unsigned i = 0; i < 100; i++) {
        heap_choose_drain(f->shared);
        assert_true(stats(f).resident < (UINT64_C(1) << 30));
        heap_end_drain(f->shared);
    }
    for (unsigned i = 0; i < FRONTS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(traders[i].damaged, 0);
    }
    for (unsigned i = 0; i < SHELVES; i++)
        if (m->shelves[i])
            heap_free(f->fronts[0], m->shelves[i], shelf_size(i));
    mem_free(m);
    check_empty(f);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_size),
        TEST(test_random),
        TEST(test_other_front_frees),
        TEST(test_pages_go_back),
        TEST(test_drain_one_size),
        TEST(test_drain_small_sizes),
        TEST(test_drain_all_sizes),
        TEST(test_drain_beside_work),
        TEST(test_drain_is_called_off),
        TEST(test_nothing_to_drain),
        TEST(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
