/*
 * Cuts: whatever happens to keys, tables and databases after a cut, what is handed over is what there was at the cut:
 * each item once, with the value and expiry it had, under the number that its database had. A model of the contents
 * goes along; random changes of all kinds are mixed with pieces of the walk.
 */
#include "unit/support.h"

#include <stdio.h>

#include "base/clock.h"
#include "engine/store/cut.h"
#include "engine/store/defrag.h"
#include "engine/store/expire.h"
#include "engine/store/item.h"

#define DATABASES 5u
#define KEYS 2400u
#define STRIDE 4096u /* every so many partitions one is used: 600 keys each, which split the largest segment */
#define LONGEST 3000u
#define DAY_MS (INT64_C(24) * 3600 * 1000)
#define ENDLESS INT64_MAX

struct entry {
    bool present;
    uint32_t version, len; /* they tell the value */
    int64_t expiry;
};

struct contents {
    struct entry of[DATABASES][KEYS];
};

struct fixture {
    struct heap_shared *heaps;
    struct thread thread;
    struct keyspace *keyspace;
    struct random random;
    struct contents now, cut;
    unsigned seen[DATABASES][KEYS];
    uint32_t versions;
    bool running; /* a snapshot */
    uint64_t saved;
    struct defrag_walk walk;
    bool defragmenting;
    uint32_t expire_next;
    unsigned split; /* tables of several segments, at the ends of snapshots */
};

/* The keys of all tests, and the hash that they were chosen for. */
static struct {
    struct random random;
    struct hash_key hash;
    struct key keys[KEYS];
} pool;

static int choose_keys(void **state)
{
    (void)state;
    pool.random = support_random();
    pool.hash = (struct hash_key){random_next(&pool.random), random_next(&pool.random)};
    for (unsigned i = 0; i < KEYS; i++) {
        struct key *key = &pool.keys[i];
        char name[64];
        do {
            snprintf(name, sizeof name, "%u:%x", i, (unsigned)random_next(&pool.random));
            *key = key_make(&pool.hash, view_str(name));
        } while (key_partition(key) % STRIDE != 0);
        key->name.p = mem_strndup(name, key->name.n);
    }
    return 0;
}

static int free_keys(void **state)
{
    (void)state;
    for (unsigned i = 0; i < KEYS; i++)
        mem_free((char *)pool.keys[i].name.p);
    return 0;
}

static unsigned number_of(struct view name)
{
    unsigned n = 0;

    for (size_t i = 0; i < name.n && name.p[i] != ':'; i++)
        n = n * 10 + (unsigned)(name.p[i] - '0');
    assert_true(n < KEYS);
    assert_true(view_equal(name, pool.keys[n].name));
    return n;
}

static void write_value(const struct entry *e, char *p)
{
    struct random r = {{e->version + 1, e->len, 3, 4}};

    for (uint32_t i = 0; i < e->len; i++)
        p[i] = (char)random_next(&r);
}

static void check_item(const struct item *it, const struct entry *e)
{
    static char value[LONGEST];

    assert_true(e->present);
    assert_int_equal(item_expiry(it), e->expiry);
    write_value(e, value);
    assert_true(view_equal(item_string(it), view_of(value, e->len)));
}

static void save(void *arg, struct thread *t, uint32_t db, const struct bucket *home)
{
    struct fixture *f = arg;

    assert_true(f->running);
    assert_ptr_equal(t, &f->thread);
    assert_true(db < DATABASES);
    for (const struct bucket *b = home; b; b = bucket_next(b))
        for (unsigned i = 0; i < TABLE_SLOTS; i++)
            if (b->tags[i] != 0) {
                const struct item *it = bucket_ref(b, i);
                unsigned n = number_of(item_key(it));
                check_item(it, &f->cut.of[db][n]);
                assert_int_equal(f->seen[db][n]++, 0);
                f->saved++;
            }
}

/* A key expired. */
static void removed(void *arg, struct thread *t, struct db *db, struct view name, bool evicted)
{
    struct fixture *f = arg;
    struct entry *e = &f->now.of[db_index(db)][number_of(name)];

    (void)t;
    assert_false(evicted);
    assert_true(e->present && e->expiry >= 0 && e->expiry <= clock_wall_ms());
    e->present = false;
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    f->heaps = heap_shared_new();
    f->thread.heap = heap_new(f->heaps);
    f->random = f->thread.random = pool.random;
    random_next(&pool.random);
    f->keyspace = keyspace_new(DATABASES);
    f->keyspace->hash_key = pool.hash;
    f->keyspace->removed = removed;
    f->keyspace->removed_arg = f;
    keyspace_attach(f->keyspace, &f->thread);
    atomic_store(&f->keyspace->exclusive, true);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    keyspace_free(f->keyspace, &f->thread);
    mem_free(f->thread.db);
    heap_shared_free(f->heaps);
    mem_free(f);
    return 0;
}

static unsigned below(struct fixture *f, unsigned n)
{
    return (unsigned)random_below(&f->random, n);
}

static struct db *db_of(struct fixture *f, unsigned db)
{
    return keyspace_db(f->keyspace, db);
}

/* ---- changes ---- */

static int64_t some_expiry(struct fixture *f)
{
    unsigned kind = below(f, 8);

    return kind > 1 ? -1 : clock_wall_ms() + (kind == 0 ? -1 : 1) * (int64_t)(1 + below(f, 1000)) * DAY_MS / 1100;
}

static struct item *some_item(struct fixture *f, unsigned n, struct entry *e)
{
    struct item *it;

    *e = (struct entry){true, ++f->versions, below(f, below(f, 20) == 0 ? LONGEST : 50), some_expiry(f)};
    it = item_new_string(&f->thread, pool.keys[n].name, e->len, e->expiry);
    write_value(e, item_bytes(it));
    return it;
}

static void put(struct fixture *f, unsigned db, unsigned n)
{
    struct entry *e = &f->now.of[db][n];
    struct place at;
    struct item *old = db_find(db_of(f, db), &pool.keys[n], &at), *it;

    assert_int_equal(old != NULL, e->present);
    it = some_item(f, n, e);
    if (old) {
        db_replace(db_of(f, db), &f->thread, &pool.keys[n], &at, it);
        item_free(&f->thread, old);
    } else {
        db_insert(db_of(f, db), &f->thread, &pool.keys[n], it);
    }
}

static void drop(struct fixture *f, unsigned db, unsigned n)
{
    struct place at;
    struct item *it = db_find(db_of(f, db), &pool.keys[n], &at);

    assert_int_equal(it != NULL, f->now.of[db][n].present);
    if (!it)
        return;
    db_remove(db_of(f, db), &f->thread, &pool.keys[n], &at);
    item_free(&f->thread, it);
    f->now.of[db][n].present = false;
}

static void change_expiry(struct fixture *f, unsigned db, unsigned n)
{
    struct place at;
    struct item *it = db_find(db_of(f, db), &pool.keys[n], &at);

    if (!it)
        return;
    f->now.of[db][n].expiry = some_expiry(f);
    it = db_expire(db_of(f, db), &f->thread, &pool.keys[n], &at, f->now.of[db][n].expiry);
    check_item(it, &f->now.of[db][n]);
}

static void change_in_place(struct fixture *f, unsigned db, unsigned n)
{
    struct item *it = db_find(db_of(f, db), &pool.keys[n], NULL);

    cut_before_write(db_of(f, db), &f->thread, &pool.keys[n]); /* also where there is no item, or no table */
    if (!it)
        return;
    f->now.of[db][n].version = ++f->versions;
    write_value(&f->now.of[db][n], item_bytes(it));
}

static void clear(struct fixture *f, unsigned db)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < KEYS; i++) {
        n += f->now.of[db][i].present;
        f->now.of[db][i].present = false;
    }
    assert_int_equal(db_clear(f->keyspace, db_of(f, db)), n);
}

static void swap(struct fixture *f, unsigned a, unsigned b)
{
    for (unsigned i = 0; i < KEYS; i++) {
        struct entry e = f->now.of[a][i];
        f->now.of[a][i] = f->now.of[b][i];
        f->now.of[b][i] = e;
    }
    keyspace_swap(f->keyspace, a, b);
}

static void defragment(struct fixture *f)
{
    if (!f->defragmenting) {
        heap_choose_drain(f->heaps);
        heap_drain_check(f->thread.heap);
        f->walk = (struct defrag_walk){0};
        f->defragmenting = true;
    }
    if (!defrag_step(f->keyspace, &f->thread, PARTITIONS, &f->walk, below(f, 50)))
        return;
    heap_end_drain(f->heaps);
    f->defragmenting = false;
}

/* Puts or drops many keys: segments grow and split, or shrink. */
static void change_many(struct fixture *f, unsigned db, void (*change)(struct fixture *f, unsigned db, unsigned n))
{
    unsigned from = below(f, KEYS), n = 50 + below(f, KEYS);

    for (unsigned i = 0; i < n; i++)
        change(f, db, (from + i) % KEYS);
}

static void change(struct fixture *f)
{
    unsigned kind = below(f, 200), db = below(f, DATABASES), n = below(f, KEYS);

    if (kind < 70)
        put(f, db, n);
    else if (kind < 110)
        drop(f, db, n);
    else if (kind < 140)
        change_expiry(f, db, n);
    else if (kind < 180)
        change_in_place(f, db, n);
    else if (kind < 184)
        expire_step(f->keyspace, &f->thread, 0, PARTITIONS, &f->expire_next, below(f, 30));
    else if (kind < 190)
        keyspace_reclaim(f->keyspace, &f->thread, 1 + below(f, 300));
    else if (kind < 194)
        defragment(f);
    else if (kind < 196)
        change_many(f, db, put);
    else if (kind < 198)
        change_many(f, db, drop);
    else if (kind < 199)
        swap(f, db, below(f, DATABASES));
    else if (below(f, 2) == 0)
        clear(f, db);
}

/* ---- cuts ---- */

static void begin(struct fixture *f)
{
    f->cut = f->now;
    memset(f->seen, 0, sizeof f->seen);
    f->saved = 0;
    f->running = true;
    cut_begin(f->keyspace, save, f);
}

static void end(struct fixture *f)
{
    for (unsigned i = 0; i < DATABASES * (PARTITIONS / STRIDE); i++) {
        struct table *t = db_table(db_of(f, i % DATABASES), i / DATABASES * STRIDE);
        f->split += t && (segment_word(&t->root) & WORD_DIRECTORY);
    }
    cut_end(f->keyspace);
    f->running = false;
}

/* A piece of the walk; one that is out of time goes on with a few buckets at least. */
static void walk_some(struct fixture *f)
{
    cut_partition(f->keyspace, &f->thread, below(f, PARTITIONS / STRIDE) * STRIDE, below(f, 3) == 0 ? ENDLESS : 0);
}

static void walk_all(struct fixture *f)
{
    for (uint32_t p = 0; p<PARTITIONS; p += below(f, 4)> 0)
        while (!cut_partition(f->keyspace, &f->thread, p, below(f, 2) == 0 ? ENDLESS : 0))
            if (below(f, 4) == 0)
                change(f);
    while (!cut_dropped_done(f->keyspace))
        keyspace_reclaim(f->keyspace, &f->thread, 1 + below(f, 1000));
}

static void check_saved(struct fixture *f)
{
    uint64_t n = 0;

    for (unsigned db = 0; db < DATABASES; db++)
        for (unsigned i = 0; i < KEYS; i++) {
            if (f->seen[db][i] != f->cut.of[db][i].present)
                fail_msg("key %u of database %u was handed over %u times", i, db, f->seen[db][i]);
            n += f->cut.of[db][i].present;
        }
    assert_int_equal(f->saved, n);
}

static void check_contents(struct fixture *f)
{
    for (unsigned db = 0; db < DATABASES; db++) {
        uint64_t n = 0;
        for (unsigned i = 0; i < KEYS; i++) {
            const struct item *it = db_find(db_of(f, db), &pool.keys[i], NULL);
            assert_int_equal(it != NULL, f->now.of[db][i].present);
            if (it)
                check_item(it, &f->now.of[db][i]);
            n += it != NULL;
        }
        assert_int_equal(db_size(db_of(f, db)), n);
    }
}

static void test_random(void **state)
{
    struct fixture *f = *state;

    for (unsigned round = 0; round < 60; round++) {
        unsigned changes = below(f, round % 3 == 0 ? 20 : 1500);
        bool given_up = below(f, 4) == 0;
        for (unsigned i = below(f, 300); i > 0; i--)
            change(f);
        begin(f);
        for (unsigned i = 0; i < changes; i++) {
            change(f);
            if (below(f, 10) == 0)
                walk_some(f);
        }
        if (!given_up) {
            walk_all(f);
            check_saved(f);
            for (unsigned i = below(f, 100); i > 0; i--) /* all was handed over: nothing is once more */
                change(f);
            check_saved(f);
        }
        end(f);
        check_contents(f);
    }
    assert_true(f->split > 0);
}

/* Nothing changes: the walk alone. */
static void test_quiet(void **state)
{
    struct fixture *f = *state;

    begin(f);
    walk_all(f);
    check_saved(f);
    end(f);
    for (unsigned i = 0; i < KEYS; i += 3)
        put(f, i % (DATABASES - 1), i);
    for (unsigned round = 0; round < 3; round++) {
        begin(f);
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            assert_true(cut_partition(f->keyspace, &f->thread, p, ENDLESS));
            assert_true(cut_partition(f->keyspace, &f->thread, p, 0));
        }
        check_saved(f);
        assert_int_equal(f->saved, (KEYS + 2) / 3);
        end(f);
    }
    check_contents(f);
}

/* What a walk without time does: some buckets, and it says that there are more; a partition that is taken waits. */
static void test_steps(void **state)
{
    struct fixture *f = *state;
    uint32_t p = key_partition(&pool.keys[0]);
    unsigned steps = 1;
    uint64_t before = 0;

    for (unsigned i = 0; i < KEYS; i++)
        if (key_partition(&pool.keys[i]) == p)
            put(f, 2, i);
    begin(f);
    assert_true(partition_try(&f->keyspace->partitions[p]));
    assert_false(cut_partition(f->keyspace, &f->thread, p, ENDLESS));
    assert_int_equal(f->saved, 0);
    keyspace_release(f->keyspace, p);
    for (; !cut_partition(f->keyspace, &f->thread, p, 0); steps++) {
        assert_true(f->saved > before);
        assert_false(partition_held(&f->keyspace->partitions[p]));
        before = f->saved;
    }
    assert_true(steps > 3);
    check_saved(f);
    end(f);
}

/* Databases that exchange places keep the number that they had, also those beyond the last that had anything. */
static void test_swapped(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 40; i++)
        put(f, i % 2, i);
    begin(f);
    swap(f, 0, 4);
    swap(f, 1, 0);
    swap(f, 3, 3);
    for (unsigned i = 0; i < 40; i++) {
        put(f, 1, i); /* empty at the cut */
        if (i < 10)
            put(f, 4, i);
    }
    swap(f, 4, 2);
    walk_all(f);
    check_saved(f);
    assert_int_equal(f->saved, 40);
    end(f);
    begin(f); /* and the next cut counts anew */
    walk_all(f);
    check_saved(f);
    end(f);
}

/* What was dropped after the cut is handed over before it is freed, and only to the snapshot that it is part of. */
static void test_dropped(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 400; i++)
        put(f, 1, i);
    clear(f, 1); /* before the cut */
    for (unsigned i = 0; i < 400; i++)
        put(f, 1, i + 200);
    begin(f);
    assert_true(cut_dropped_done(f->keyspace));
    for (unsigned i = 0; i < 100; i++)
        change_in_place(f, 1, i + 200);
    clear(f, 1);
    assert_false(cut_dropped_done(f->keyspace));
    for (unsigned i = 0; i < 400; i++)
        put(f, 1, i);
    swap(f, 1, 0);
    clear(f, 0); /* nothing of that is wanted */
    keyspace_reclaim(f->keyspace, &f->thread, 100);
    assert_false(cut_dropped_done(f->keyspace));
    walk_all(f);
    check_saved(f);
    assert_int_equal(f->saved, 400);
    end(f);

    for (unsigned i = 0; i < 400; i++)
        put(f, 2, i);
    begin(f);
    clear(f, 2);
    keyspace_reclaim(f->keyspace, &f->thread, 10);
    end(f); /* given up */
    begin(f);
    assert_true(cut_dropped_done(f->keyspace));
    walk_all(f);
    check_saved(f);
    assert_int_equal(f->saved, 0);
    end(f);
    while (keyspace_reclaim(f->keyspace, &f->thread, 100))
        ;
    check_contents(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_quiet), TEST(test_steps), TEST(test_swapped), TEST(test_dropped), TEST(test_random),
    };

    return cmocka_run_group_tests(tests, choose_keys, free_keys);
}
