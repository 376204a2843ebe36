/*
 * The keyspace against an array that knows what each database holds. Keys are chosen so that they crowd in few
 * partitions: their tables grow, chain, split and shrink with few thousand keys each.
 */
#include "unit/support.h"

#include <stdio.h>

#include "engine/store/item.h"

#define KEYS 24000u
#define STRIDE 512u /* every so many partitions one is used: 32 of them, in all pages of tables there are */
#define CROWDED (PARTITIONS / STRIDE)
#define CURSOR_LIMIT (UINT64_C(1) << 53)

/* What a database holds under a key. */
struct entry {
    struct item *it; /* NULL: nothing; may have moved since only by the doing of the test */
    uint32_t version;
    int64_t expiry;
    unsigned seen;
};

struct fixture {
    struct support *support;
    struct thread other; /* who also changes things: counts are sums */
    struct random random;
    const struct key *keys;
    unsigned count;
    struct entry *entries[SUPPORT_DATABASES];
    uint64_t size[SUPPORT_DATABASES], expires[SUPPORT_DATABASES];
};

/* The keys of all tests, and the hash that they were chosen for. */
static struct {
    struct random random;
    struct hash_key hash;
    struct key keys[KEYS];
} pool;

/* A key in one of the crowded partitions; every so many are longer than the header can say. */
static struct key choose_key(unsigned id)
{
    static char name[4096];
    size_t pad = id % 400 == 0 ? 1500 + id % 1999 : id % 40 == 0 ? 230 + id % 64 : id % 29;
    struct key key;

    memset(name, 'k', pad);
    do {
        int n = snprintf(name + pad, sizeof name - pad, "%u:%x", id, (unsigned)random_next(&pool.random));
        key = key_make(&pool.hash, view_of(name, pad + (size_t)n));
    } while (key_partition(&key) % STRIDE != 0);
    key.name.p = mem_strndup(key.name.p, key.name.n);
    return key;
}

static int choose_keys(void **state)
{
    (void)state;
    pool.random = support_random();
    pool.hash = (struct hash_key){random_next(&pool.random), random_next(&pool.random)};
    for (unsigned id = 0; id < KEYS; id++)
        pool.keys[id] = choose_key(id);
    return 0;
}

static int free_keys(void **state)
{
    (void)state;
    for (unsigned id = 0; id < KEYS; id++)
        mem_free((char *)pool.keys[id].name.p);
    return 0;
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    void *support;

    support_setup(&support);
    f->support = support;
    f->support->keyspace->hash_key = pool.hash;
    f->support->thread.random = f->random = pool.random;
    f->other.heap = heap_new(f->support->heaps);
    f->other.random = f->support->thread.random;
    keyspace_attach(f->support->keyspace, &f->other);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    void *support = f->support;

    for (unsigned d = 0; d < SUPPORT_DATABASES; d++)
        mem_free(f->entries[d]);
    support_teardown(&support);
    mem_free(f->other.db);
    mem_free(f);
    return 0;
}

static struct fixture *begin(void **state, unsigned keys)
{
    struct fixture *f = *state;

    f->keys = pool.keys;
    f->count = keys;
    for (unsigned d = 0; d < SUPPORT_DATABASES; d++)
        f->entries[d] = mem_zalloc(keys * sizeof *f->entries[d]);
    return f;
}

static struct db *database(const struct fixture *f, unsigned d)
{
    return keyspace_db(f->support->keyspace, d);
}

static struct thread *any_thread(struct fixture *f)
{
    return random_below(&f->random, 2) ? &f->support->thread : &f->other;
}

static int64_t any_expiry(struct fixture *f)
{
    return random_below(&f->random, 3) ? -1 : (int64_t)random_below(&f->random, UINT64_C(1) << 42);
}

/* What stands there follows from key, version and length. */
static void fill(char *p, size_t n, unsigned id, uint32_t version)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(id + version * 31 + i);
}

static struct item *new_item(struct fixture *f, struct thread *t, unsigned id, uint32_t version, int64_t expiry)
{
    size_t n = random_below(&f->random, 500) == 0 ? 3000 : (size_t)random_below(&f->random, 40);
    struct item *it = item_new_string(t, f->keys[id].name, n, expiry);

    fill(item_bytes(it), n, id, version);
    return it;
}

static void account(struct fixture *f, unsigned d, int keys, int64_t before, int64_t after)
{
    f->size[d] += (uint64_t)(int64_t)keys;
    f->expires[d] += (uint64_t)(int64_t)((after >= 0) - (before >= 0));
}

static void put(struct fixture *f, unsigned d, unsigned id)
{
    struct entry *e = &f->entries[d][id];
    struct thread *t = any_thread(f);
    int64_t expiry = any_expiry(f);
    struct item *it = new_item(f, t, id, ++e->version, expiry), *old;
    struct place at;

    old = db_find(database(f, d), &f->keys[id], &at);
    assert_ptr_equal(old, e->it);
    if (old) {
        db_replace(database(f, d), t, &f->keys[id], &at, it);
        item_free(any_thread(f), old);
    } else {
        db_insert(database(f, d), t, &f->keys[id], it);
    }
    account(f, d, old ? 0 : 1, old ? e->expiry : -1, expiry);
    e->it = it;
    e->expiry = expiry;
}

static void drop(struct fixture *f, unsigned d, unsigned id)
{
    struct entry *e = &f->entries[d][id];
    struct place at;

    assert_ptr_equal(db_find(database(f, d), &f->keys[id], &at), e->it);
    if (!e->it)
        return;
    db_remove(database(f, d), any_thread(f), &f->keys[id], &at);
    item_free(any_thread(f), e->it);
    account(f, d, -1, e->expiry, -1);
    e->it = NULL;
}

static void change_expiry(struct fixture *f, unsigned d, unsigned id)
{
    struct entry *e = &f->entries[d][id];
    int64_t expiry = any_expiry(f);
    struct place at;

    if (!db_find(database(f, d), &f->keys[id], &at))
        return;
    e->it = db_expire(database(f, d), any_thread(f), &f->keys[id], &at, expiry);
    account(f, d, 0, e->expiry, expiry);
    e->expiry = expiry;
}

/* One change; of 16, `of` put something there. */
static void change(struct fixture *f, unsigned of)
{
    unsigned d = (unsigned)random_below(&f->random, SUPPORT_DATABASES);
    unsigned id = (unsigned)random_below(&f->random, f->count);

    if (random_below(&f->random, 8) == 0)
        change_expiry(f, d, id);
    else if (random_below(&f->random, 16) < of)
        put(f, d, id);
    else
        drop(f, d, id);
}

static void change_many(struct fixture *f, unsigned of, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        change(f, of);
}

static void check_item(const struct fixture *f, unsigned d, unsigned id)
{
    const struct entry *e = &f->entries[d][id];
    struct item *it = db_find(database(f, d), &f->keys[id], NULL);
    struct view v;

    assert_ptr_equal(it, e->it);
    if (!it)
        return;
    assert_true(view_equal(item_key(it), f->keys[id].name));
    assert_true(item_expiry(it) == e->expiry);
    v = item_string(it);
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] != (char)(id + e->version * 31 + i))
            fail_msg("value of key %u, byte %zu", id, i);
}

/* Counts, values and the partitions that are not empty are those of the array. */
static void check_database(const struct fixture *f, unsigned d)
{
    bool filled[CROWDED] = {false};
    uint64_t cursor = 0;

    assert_int_equal(db_size(database(f, d)), f->size[d]);
    assert_int_equal(db_expires(database(f, d)), f->expires[d]);
    for (unsigned id = 0; id < f->count; id++) {
        check_item(f, d, id);
        if (f->entries[d][id].it)
            filled[key_partition(&f->keys[id]) / STRIDE] = true;
    }
    for (uint32_t p = 0; p < CROWDED; p++)
        if (filled[p]) {
            assert_int_equal(db_next_partition(database(f, d), cursor), p * STRIDE);
            cursor = ((uint64_t)p * STRIDE + 1) << TABLE_POSITION_BITS;
        }
    assert_int_equal(db_next_partition(database(f, d), cursor), PARTITIONS);
}

static void check_all(const struct fixture *f)
{
    for (unsigned d = 0; d < SUPPORT_DATABASES; d++)
        check_database(f, d);
}

static void drop_everything(struct fixture *f)
{
    for (unsigned d = 0; d < SUPPORT_DATABASES; d++)
        for (unsigned i = 0, id = (unsigned)random_below(&f->random, f->count); i < f->count; i++)
            drop(f, d, id = (id + 1) % f->count);
    check_all(f);
}

static uint64_t slab_used(const struct support *s)
{
    struct heap_stats stats;

    heap_stats(s->heaps, &stats);
    return stats.used;
}

static void test_model(void **state)
{
    static const unsigned phases[] = {15, 8, 2, 14, 6, 1};
    struct fixture *f = begin(state, KEYS);
    int64_t start, full;

    for (unsigned d = 0; d < SUPPORT_DATABASES; d++) /* so that the tables of every partition are there */
        for (unsigned id = 0; id < f->count; id++) {
            put(f, d, id);
            drop(f, d, id);
        }
    check_all(f);
    start = mem_used();
    for (unsigned i = 0; i < sizeof phases / sizeof *phases; i++) {
        change_many(f, phases[i], 2 * KEYS);
        check_all(f);
    }
    for (unsigned d = 0; d < SUPPORT_DATABASES; d++)
        for (unsigned id = 0; id < f->count; id++)
            put(f, d, id);
    check_all(f);
    full = mem_used();
    drop_everything(f);
    assert_true(mem_used() - start < (full - start) / 10);
    assert_int_equal(slab_used(f->support), 0);
}

/* ---- iteration ---------------------------------------------------------------------------------------------------- */

struct visit {
    struct fixture *f;
    unsigned d, visited;
};

static void visit(void *arg, struct item *it)
{
    struct visit *v = arg;
    const struct view name = item_key(it);
    size_t pad = 0;
    unsigned id = 0;

    while (pad < name.n && name.p[pad] == 'k')
        pad++;
    for (; name.p[pad] != ':'; pad++)
        id = id * 10 + (unsigned)(name.p[pad] - '0');
    assert_ptr_equal(v->f->entries[v->d][id].it, it);
    v->f->entries[v->d][id].seen++;
    v->visited++;
}

/* The next step of an iteration. Cursors rise, so it ends. */
static uint64_t step(struct visit *v, uint64_t cursor)
{
    struct db *db = database(v->f, v->d);
    uint32_t p = db_next_partition(db, cursor);
    uint64_t next;

    if (p == PARTITIONS)
        return DB_CURSOR_END;
    assert_true(p >= cursor >> TABLE_POSITION_BITS);
    next = db_scan(db, p, cursor, visit, v);
    assert_true(next == DB_CURSOR_END || next > cursor);
    assert_true(next < CURSOR_LIMIT);
    return next;
}

static void forget_visits(struct fixture *f, unsigned d)
{
    for (unsigned id = 0; id < f->count; id++)
        f->entries[d][id].seen = 0;
}

/* When nothing changes, each key is visited exactly once. */
static void test_scan_of_a_still_database(void **state)
{
    struct fixture *f = begin(state, 6000);

    for (unsigned round = 0; round < 12; round++) {
        change_many(f, round % 4 == 3 ? 1 : 9, 6000);
        for (unsigned d = 0; d < SUPPORT_DATABASES; d++) {
            struct visit v = {f, d, 0};
            uint64_t cursor = 0;

            forget_visits(f, d);
            while ((cursor = step(&v, cursor)) != DB_CURSOR_END)
                ;
            assert_int_equal(v.visited, f->size[d]);
            for (unsigned id = 0; id < f->count; id++)
                assert_int_equal(f->entries[d][id].seen, f->entries[d][id].it ? 1 : 0);
        }
    }
    drop_everything(f);
}

/* A change of the database that leaves the keys that stay alone. stays: of how many keys one stays. */
static void change_others(struct fixture *f, unsigned stays, unsigned of)
{
    unsigned id = (unsigned)random_below(&f->random, f->count);

    if (random_below(&f->random, 16) < of)
        put(f, 0, id); /* those that stay may be replaced */
    else if (id % stays != 0)
        drop(f, 0, id);
}

/* Keys that are there all the time are visited, whatever comes and goes between the steps. */
static void scan_while(struct fixture *f, unsigned stays, unsigned filling, unsigned of, unsigned changes)
{
    struct visit v = {f, 0, 0};
    uint64_t cursor = 0;

    for (unsigned id = 0; id < f->count; id++)
        if (id % stays == 0 || random_below(&f->random, 16) < filling)
            put(f, 0, id);
        else
            drop(f, 0, id);
    forget_visits(f, 0);
    do {
        for (unsigned i = 0; i < changes; i++)
            change_others(f, stays, of);
        cursor = step(&v, cursor);
    } while (cursor != DB_CURSOR_END);
    for (unsigned id = 0; id < f->count; id += stays)
        if (f->entries[0][id].seen == 0)
            fail_msg("key %u was not visited", id);
    check_database(f, 0);
}

static void test_scan_of_a_changing_database(void **state)
{
    struct fixture *f = begin(state, 16000);

    for (unsigned round = 0; round < 3; round++) {
        scan_while(f, 500, 0, 16, 8);  /* grows from next to nothing, and splits */
        scan_while(f, 20, 0, 15, 40);  /* faster */
        scan_while(f, 20, 16, 0, 8);   /* shrinks */
        scan_while(f, 700, 16, 0, 60); /* to next to nothing, before the iteration is far */
        scan_while(f, 2, 8, 8, 20);
    }
    drop_everything(f);
}

/* Any number may come as a cursor from outside. */
static void test_scan_from_anywhere(void **state)
{
    struct fixture *f = begin(state, 4000);

    change_many(f, 15, 8000);
    for (unsigned round = 0; round < 20000; round++) {
        struct visit v = {f, 0, 0};
        uint64_t cursor = random_next(&f->random) >> random_below(&f->random, 64);

        if (random_below(&f->random, 2)) /* in a partition that is filled */
            cursor = random_below(&f->random, CROWDED) * STRIDE << TABLE_POSITION_BITS |
                     (cursor & ((UINT64_C(1) << TABLE_POSITION_BITS) - 1));
        step(&v, cursor);
    }
    assert_int_equal(db_next_partition(f->support->db, CURSOR_LIMIT), PARTITIONS);
    assert_int_equal(db_next_partition(f->support->db, UINT64_MAX), PARTITIONS);
    drop_everything(f);
}

/* ---- random keys -------------------------------------------------------------------------------------------------- */

/* Draws from one partition until each of its keys came; there are `keys` of them. */
static void draw_all(struct fixture *f, uint32_t partition, unsigned keys)
{
    struct visit v = {f, 0, 0};
    unsigned missing = keys;

    forget_visits(f, 0);
    for (unsigned draws = 0; missing > 0 && draws < 60000; draws++) {
        struct item *it = db_random(f->support->db, any_thread(f), partition);
        unsigned before = v.visited;

        assert_non_null(it);
        visit(&v, it);
        assert_int_equal(v.visited, before + 1);
        missing = draws % 64 == 63 ? keys : missing;
        if (draws % 64 == 63)
            for (unsigned id = 0; id < f->count; id++)
                missing -= f->entries[0][id].seen > 0;
    }
    if (missing > 0)
        fail_msg("%u of %u keys never came", missing, keys);
}

static void test_random_returns_every_key(void **state)
{
    struct fixture *f = begin(state, 3000);
    uint32_t partition;

    partition = key_partition(&f->keys[0]);
    assert_null(db_random(f->support->db, any_thread(f), partition));
    for (unsigned most = 1; most < 90; most += 4) {
        unsigned keys = 0;

        for (unsigned id = (unsigned)random_below(&f->random, f->count), i = 0; keys < most && i < f->count; i++, id++)
            if (key_partition(&f->keys[id % f->count]) == partition) {
                put(f, 0, id % f->count);
                keys++;
            }
        draw_all(f, partition, keys);
        drop_everything(f);
        assert_null(db_random(f->support->db, any_thread(f), partition));
    }
}

/* ---- whole databases ---------------------------------------------------------------------------------------------- */

static void swap_model(struct fixture *f)
{
    struct entry *entries = f->entries[0];
    uint64_t size = f->size[0], expires = f->expires[0];

    f->entries[0] = f->entries[1];
    f->entries[1] = entries;
    f->size[0] = f->size[1];
    f->size[1] = size;
    f->expires[0] = f->expires[1];
    f->expires[1] = expires;
}

static void clear_model(struct fixture *f, unsigned d)
{
    for (unsigned id = 0; id < f->count; id++)
        f->entries[d][id].it = NULL;
    f->size[d] = f->expires[d] = 0;
}

static void test_swap(void **state)
{
    struct fixture *f = begin(state, 6000);

    for (unsigned id = 0; id < f->count / 3; id++)
        put(f, 0, id);
    for (unsigned round = 0; round < 6; round++) {
        keyspace_swap(f->support->keyspace, round % 2, 1 - round % 2);
        swap_model(f);
        check_all(f);
        assert_int_equal(db_index(database(f, 1)), 1);
        change_many(f, round % 3 ? 12 : 3, 6000);
        keyspace_swap(f->support->keyspace, 1, 1);
        check_all(f);
    }
    drop_everything(f);
    assert_int_equal(slab_used(f->support), 0);
}

static uint64_t expected_used(const struct fixture *f)
{
    uint64_t used = 0;

    for (unsigned d = 0; d < SUPPORT_DATABASES; d++)
        for (unsigned id = 0; id < f->count; id++) {
            const struct item *it = f->entries[d][id].it;
            if (it && item_size(it) <= HEAP_BLOCK_MAX)
                used += (item_size(it) + 7) & ~(size_t)7;
        }
    return used;
}

/* What was dropped goes in steps of about the size that is asked for, beside a database that is filled again. */
static void test_clear_and_reclaim(void **state)
{
    struct fixture *f = begin(state, 8000);
    struct support *s = f->support;
    int64_t start = mem_used();

    assert_false(keyspace_reclaim(s->keyspace, &s->thread, 1));
    for (unsigned round = 0; round < 4; round++) {
        unsigned d = round % 2, steps = 0;
        uint64_t used, before;

        change_many(f, 15, 16000);
        keyspace_swap(s->keyspace, 0, 1);
        swap_model(f);
        before = f->size[d];
        assert_int_equal(db_clear(s->keyspace, database(f, d)), before);
        clear_model(f, d);
        check_all(f);
        used = slab_used(s);
        while (keyspace_reclaim(s->keyspace, any_thread(f), 10)) {
            assert_true(used - slab_used(s) < 400 * 1024); /* ten, and what is left of a partition's segments */
            change(f, 12);
            used = slab_used(s);
            steps++;
        }
        assert_true(steps >= CROWDED / 2);
        assert_int_equal(slab_used(s), expected_used(f));
        check_all(f);
    }
    assert_int_equal(db_clear(s->keyspace, database(f, 0)), f->size[0]);
    assert_int_equal(db_clear(s->keyspace, database(f, 0)), 0);
    assert_int_equal(db_clear(s->keyspace, database(f, 1)), f->size[1]);
    clear_model(f, 0);
    clear_model(f, 1);
    while (keyspace_reclaim(s->keyspace, &s->thread, 1000))
        ;
    check_all(f);
    assert_int_equal(slab_used(s), 0);
    assert_true(mem_used() - start < 4096); /* the heap's list of its chunks may have grown */
}

/* The keyspace may go while it is full, and while something dropped waits. */
static void test_free_while_full(void **state)
{
    struct fixture *f = begin(state, 4000);

    change_many(f, 15, 8000);
    db_clear(f->support->keyspace, database(f, 1));
    keyspace_reclaim(f->support->keyspace, &f->other, 100);
    clear_model(f, 1);
    change_many(f, 15, 4000);
    check_all(f);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_model),
        TEST(test_scan_of_a_still_database),
        TEST(test_scan_of_a_changing_database),
        TEST(test_scan_from_anywhere),
        TEST(test_random_returns_every_key),
        TEST(test_swap),
        TEST(test_clear_and_reclaim),
        TEST(test_free_while_full),
    };

    return cmocka_run_group_tests(tests, choose_keys, free_keys);
}
