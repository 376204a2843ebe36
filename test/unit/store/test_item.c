/* Items of every layout, and the values that they share: sizes, copies, moves, and what is left when memory is out. */
#include "unit/support.h"

#include "engine/store/item.h"

#define NAME_MAX_SIZE 5000
#define MAPPED (3u << 20)

static char bytes[MAPPED];

static int setup(void **state)
{
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 31 + i / 251);
    return support_setup(state);
}

static uint64_t slab_used(const struct support *s)
{
    struct heap_stats stats;

    heap_stats(s->heaps, &stats);
    return stats.used;
}

static struct item *make(struct support *s, struct view key, size_t n, int64_t expiry)
{
    struct item *it = item_new_string(&s->thread, key, n, expiry);

    if (it)
        memcpy(item_bytes(it), bytes + 7, n);
    return it;
}

/* The item says what it was made of, and its size is the sum of the layout's parts. */
static void check(const struct item *it, struct view key, size_t n, int64_t expiry)
{
    bool blob = (it->flags & ITEM_BLOB) != 0;
    size_t size = item_block_size(key.n, blob ? sizeof(struct blob *) : n, expiry >= 0);

    assert_int_equal(it->type, ITEM_STRING);
    assert_true(view_equal(item_key(it), key));
    assert_true(view_equal(item_string(it), view_of(bytes + 7, n)));
    assert_true(item_expiry(it) == expiry);
    assert_int_equal((it->flags & ITEM_EXPIRES) != 0, expiry >= 0);
    assert_int_equal((it->flags & ITEM_LONG_KEY) != 0, key.n >= ITEM_KEY_SHORT);
    assert_int_equal(item_size(it), size);
    assert_int_equal(size, 8 + (expiry >= 0 ? 8 : 0) + (key.n >= 255 ? 4 : 0) + key.n + (blob ? 8 : n));
    if (!blob)
        assert_true(size <= ITEM_BLOCK_MAX);
    if (size <= ITEM_BLOCK_MAX && !blob)
        assert_int_equal(item_memory(it), (size + 7) & ~(size_t)7);
    if (blob)
        assert_true(item_memory(it) >= size + n + sizeof(struct blob));
}

/* A key and a value of lengths around each edge of the layout, or any. */
static size_t any_length(struct random *r, size_t most)
{
    static const size_t edges[] = {0, 1, 7, 8, 44, 254, 255, 256, 1024, 2000, 2020, 2030, 2040, 2048, 2049, 4096};
    size_t n = edges[random_below(r, sizeof edges / sizeof *edges)] + (size_t)random_below(r, 20);

    if (random_below(r, 3) == 0)
        n = (size_t)random_below(r, 300);
    return n < most ? n : most;
}

static void test_layouts(void **state)
{
    struct support *s = *state;
    struct random r = support_random();
    int64_t used = mem_used();

    for (unsigned round = 0; round < 20000; round++) {
        struct view key = view_of(bytes + random_below(&r, 1000), any_length(&r, NAME_MAX_SIZE));
        struct view other = view_of(bytes + random_below(&r, 1000), any_length(&r, NAME_MAX_SIZE));
        size_t n = any_length(&r, 6000);
        int64_t expiry = random_below(&r, 2) ? -1 : (int64_t)(random_next(&r) >> 1);
        int64_t later = random_below(&r, 2) ? -1 : (int64_t)(random_next(&r) >> 1);
        struct item *it = make(s, key, n, expiry), *copy, *moved;

        it->form = ITEM_FORM_EMBSTR;
        it->access = 0xabcdef;
        check(it, key, n, expiry);
        copy = item_copy(&s->thread, other, it, later);
        check(it, key, n, expiry);
        check(copy, other, n, later);
        assert_ptr_not_equal(item_bytes(copy), item_bytes(it));
        moved = item_move(&s->thread, other, it, later);
        check(moved, other, n, later);
        assert_true(moved->form == ITEM_FORM_EMBSTR && copy->form == ITEM_FORM_EMBSTR);
        assert_true(moved->access == 0xabcdef && copy->access == 0xabcdef);
        item_free(&s->thread, copy);
        item_free(&s->thread, moved);
        assert_int_equal(slab_used(s), 0);
    }
    assert_true(mem_used() - used < 4096); /* the heap's list of its chunks */
}

/* A value stays in the block as long as it fits there, with room for an expiry that may come later. */
static void test_where_the_value_is(void **state)
{
    struct support *s = *state;
    struct view key = VIEW("key");
    size_t most = ITEM_BLOCK_MAX - item_block_size(key.n, 0, true);

    for (size_t n = most - 3; n < most + 4; n++) {
        struct item *it = make(s, key, n, -1);
        assert_int_equal((it->flags & ITEM_BLOB) != 0, n > most);
        item_free(&s->thread, it);
    }
    assert_int_equal(slab_used(s), 0);
}

/* A moved value is the same value; a copied one is not. */
static void test_move_keeps_blob(void **state)
{
    struct support *s = *state;
    struct item *it = make(s, VIEW("key"), 10000, -1), *copy;
    struct blob *b = blob_ref(item_blob(it));

    it = item_move(&s->thread, VIEW("another"), it, 77);
    assert_ptr_equal(item_blob(it), b);
    assert_int_equal(b->refs, 2);
    copy = item_copy(&s->thread, VIEW("copy"), it, -1);
    assert_ptr_not_equal(item_blob(copy), b);
    assert_int_equal(b->refs, 2);
    check(it, VIEW("another"), 10000, 77);
    item_free(&s->thread, it);
    assert_int_equal(b->refs, 1);
    assert_memory_equal(b->bytes, bytes + 7, 10000); /* the reply still has it */
    blob_unref(b);
    item_free(&s->thread, copy);
}

static void test_block_goes_value_stays(void **state)
{
    struct support *s = *state;
    struct item *it = make(s, VIEW("key"), 10000, -1);
    struct blob *b = item_blob(it);

    item_free_block(&s->thread, it);
    assert_int_equal(slab_used(s), 0);
    assert_int_equal(b->refs, 1);
    assert_memory_equal(b->bytes, bytes + 7, 10000);
    blob_unref(b);
}

static void test_blob_grows(void **state)
{
    static const size_t sizes[] = {1, 100, 5000, (1u << 20) - 1, 1u << 20, (1u << 20) + 1, (2u << 20) + 9, 3u << 20};
    int64_t used = mem_used();

    (void)state;
    for (unsigned zeroed = 0; zeroed < 2; zeroed++)
        for (unsigned from = 0; from < 8; from++) {
            struct blob *b = zeroed ? blob_new_zeroed(sizes[from], sizes[from]) : blob_new(sizes[from], sizes[from]);

            for (size_t i = 0; zeroed && i < b->len; i++)
                assert_int_equal(b->bytes[i], 0);
            memcpy(b->bytes, bytes, b->len);
            for (unsigned to = from + 1; to < 8; to++) {
                b = blob_grow(b, sizes[to]);
                assert_true(b->cap >= sizes[to]);
                assert_int_equal(b->len, sizes[to - 1]);
                assert_memory_equal(b->bytes, bytes, b->len);
                memcpy(b->bytes + b->len, bytes + b->len, sizes[to] - b->len);
                b->len = sizes[to];
            }
            assert_true(mem_used() - used >= (int64_t)b->len);
            blob_unref(b);
            assert_true(mem_used() == used);
        }
}

static void count_wake(void *arg)
{
    ++*(unsigned *)arg;
}

/* Very large values are left to mem_reclaim, and somebody is told; smaller ones go at once. */
static void test_deferred_reclaim(void **state)
{
    struct support *s = *state;
    int64_t used = mem_used();
    unsigned wakes = 0;
    struct blob *shared;

    assert_false(mem_reclaim());
    mem_on_deferred(count_wake, &wakes);
    item_free(&s->thread, make(s, VIEW("small"), MEM_DEFER_MIN - 1, -1));
    assert_int_equal(wakes, 0);
    assert_false(mem_reclaim());
    for (size_t i = 0; i < 3; i++)
        item_free(&s->thread, make(s, VIEW("large"), MEM_DEFER_MIN + i * 700000, -1));
    assert_int_equal(wakes, 3);
    shared = item_blob(make(s, VIEW("shared"), MAPPED - 7, -1));
    blob_ref(shared);
    blob_unref(shared);
    assert_int_equal(wakes, 3);
    assert_true(mem_used() - used < (int64_t)MAPPED + 8192); /* what waits counts no more */
    for (unsigned i = 0; i < 3; i++)
        assert_true(mem_reclaim());
    assert_false(mem_reclaim());
    assert_memory_equal(shared->bytes, bytes + 7, MAPPED - 7);
    blob_unref(shared);
    assert_int_equal(wakes, 4);
    assert_true(mem_reclaim());
    assert_false(mem_reclaim());
    mem_on_deferred(NULL, NULL);
    assert_true(mem_used() - used < 4096);
}

static void test_no_memory(void **state)
{
    struct support *s = *state;
    struct item *small = make(s, VIEW("small"), 1800, -1), *big = make(s, VIEW("big"), 10000, 5);
    struct blob *b = blob_new(100, 100), *zeroed;
    struct view long_key = view_of(bytes, 1000);
    int64_t used = mem_used();
    uint64_t blocks = slab_used(s);

    memcpy(b->bytes, bytes, 100);
    mem_fail_after(0);
    assert_null(make(s, VIEW("key"), 3000, -1));
    assert_null(blob_new(10, 10));
    assert_null(blob_new_zeroed(10, 10));
    assert_null(blob_grow(b, 1000));
    assert_null(item_copy(&s->thread, VIEW("copy"), big, -1));
    assert_null(item_copy(&s->thread, long_key, small, -1)); /* no longer fits into the block */
    assert_null(item_move(&s->thread, long_key, small, -1));
    assert_true(mem_used() == used);
    assert_int_equal(slab_used(s), blocks);
    check(small, VIEW("small"), 1800, -1);
    check(big, VIEW("big"), 10000, 5);
    assert_true(b->len == 100 && memcmp(b->bytes, bytes, 100) == 0);
    big = item_move(&s->thread, VIEW("moved"), big, -1); /* needs none */
    check(big, VIEW("moved"), 10000, -1);
    mem_fail_after(1);
    zeroed = blob_new_zeroed(10, 10);
    assert_non_null(zeroed);
    assert_null(blob_new(10, 10));
    mem_fail_after(-1);
    assert_null(blob_new_zeroed(0, SIZE_MAX - 100));
    blob_unref(zeroed);
    blob_unref(b);
    item_free(&s->thread, small);
    item_free(&s->thread, big);
    assert_int_equal(slab_used(s), 0);
}

/* The same for values that live in maps of their own. */
static void test_no_memory_for_mapped(void **state)
{
    struct support *s = *state;
    struct blob *b = blob_new(MEM_DEFER_MIN, MEM_DEFER_MIN);

    mem_fail_after(0);
    assert_null(make(s, VIEW("key"), MAPPED - 7, -1));
    assert_null(blob_new(MAPPED, MAPPED));
    assert_null(blob_new_zeroed(MAPPED, MAPPED));
    assert_null(blob_grow(b, MAPPED));
    mem_fail_after(-1);
    assert_int_equal(slab_used(s), 0);
    blob_unref(b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, support_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_layouts),         TEST(test_where_the_value_is),
        TEST(test_move_keeps_blob), TEST(test_block_goes_value_stays),
        TEST(test_blob_grows),      TEST(test_deferred_reclaim),
        TEST(test_no_memory),       TEST(test_no_memory_for_mapped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
