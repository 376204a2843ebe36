/*
 * Active expiry: whatever was done to keys and their deadlines, a sweep removes those that are due and no others, and
 * asks to be called again in time for the next. Deadlines are either well past or far away, but in one test.
 */
#include "unit/support.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "engine/store/expire.h"
#include "engine/store/item.h"
#include "engine/store/watch.h"

#define KEYS 5000u
#define STRIDE 2048u /* every so many partitions one is used */
#define AWAY_MS (INT64_C(3600) * 1000)
#define UNITS_MS (2 * DEADLINE_UNIT_MS) /* a deadline is rounded up, and the present down */
#define ENDLESS_US (INT64_C(1) << 40)

struct entry {
    bool present;
    int64_t expiry;
};

struct fixture {
    struct support *support;
    struct random random;
    const struct key *keys;
    struct entry entries[SUPPORT_DATABASES][KEYS];
    uint32_t next;
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

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    void *support;

    support_setup(&support);
    f->support = support;
    f->support->keyspace->hash_key = pool.hash;
    f->support->thread.random = f->random = pool.random;
    f->keys = pool.keys;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    void *support = f->support;

    mem_free(f);
    return support_teardown(&support);
}

/* None, well past, or far away: an hour to a year, or beyond what a bound can tell. */
static int64_t any_expiry(struct fixture *f)
{
    int64_t now = clock_wall_ms();

    switch (random_below(&f->random, 8)) {
    case 0:
    case 1:
        return now - 100 - (int64_t)random_below(&f->random, 5000);
    case 2:
        return (int64_t)random_below(&f->random, (uint64_t)now);
    case 3:
        return -1;
    case 4:
        return now + AWAY_MS * 24 * 365 * (int64_t)random_below(&f->random, 1000) + AWAY_MS;
    default:
        return now + AWAY_MS + (int64_t)random_below(&f->random, AWAY_MS * 24 * 365);
    }
}

static void set(struct fixture *f, unsigned d, unsigned id, int64_t expiry)
{
    struct db *db = keyspace_db(f->support->keyspace, d);
    struct entry *e = &f->entries[d][id];
    struct thread *t = &f->support->thread;
    struct place at;
    struct item *old = db_find(db, &f->keys[id], &at), *it;

    assert_int_equal(old != NULL, e->present);
    if (old && random_below(&f->random, 4)) {
        db_expire(db, t, &f->keys[id], &at, expiry);
    } else {
        it = item_new_string(t, f->keys[id].name, 8, expiry);
        memset(item_bytes(it), 'v', 8);
        if (old)
            db_replace(db, t, &f->keys[id], &at, it);
        else
            db_insert(db, t, &f->keys[id], it);
        if (old)
            item_free(t, old);
    }
    *e = (struct entry){true, expiry};
}

static void drop(struct fixture *f, unsigned d, unsigned id)
{
    struct db *db = keyspace_db(f->support->keyspace, d);
    struct place at;
    struct item *it = db_find(db, &f->keys[id], &at);

    assert_int_equal(it != NULL, f->entries[d][id].present);
    if (!it)
        return;
    db_remove(db, &f->support->thread, &f->keys[id], &at);
    item_free(&f->support->thread, it);
    f->entries[d][id].present = false;
}

/* Of 16 changes `of` leave a key there. */
static void change_many(struct fixture *f, unsigned of, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        unsigned d = (unsigned)random_below(&f->random, SUPPORT_DATABASES);
        unsigned id = (unsigned)random_below(&f->random, KEYS);

        if (random_below(&f->random, 16) < of)
            set(f, d, id, any_expiry(f));
        else
            drop(f, d, id);
    }
}

/* Sweeps all partitions, in steps of that budget. Returns the wait. */
static int64_t sweep(struct fixture *f, int64_t budget_us)
{
    int64_t wait;

    do
        wait = expire_step(f->support->keyspace, &f->support->thread, 0, PARTITIONS, &f->next, budget_us);
    while (wait == 0);
    return wait;
}

/* Takes what is due by now from the model. Returns how many it took. */
static unsigned expire_model(struct fixture *f, int64_t now)
{
    unsigned taken = 0;

    for (unsigned d = 0; d < SUPPORT_DATABASES; d++)
        for (unsigned id = 0; id < KEYS; id++) {
            struct entry *e = &f->entries[d][id];
            if (!e->present || e->expiry < 0 || e->expiry > now)
                continue;
            e->present = false;
            taken++;
        }
    return taken;
}

static int64_t earliest(const struct fixture *f)
{
    int64_t at = INT64_MAX;

    for (unsigned d = 0; d < SUPPORT_DATABASES; d++)
        for (unsigned id = 0; id < KEYS; id++)
            if (f->entries[d][id].present && f->entries[d][id].expiry >= 0 && f->entries[d][id].expiry < at)
                at = f->entries[d][id].expiry;
    return at;
}

static void check_all(const struct fixture *f)
{
    for (unsigned d = 0; d < SUPPORT_DATABASES; d++) {
        struct db *db = keyspace_db(f->support->keyspace, d);
        uint64_t size = 0, expires = 0;

        for (unsigned id = 0; id < KEYS; id++) {
            const struct entry *e = &f->entries[d][id];
            struct item *it = db_find(db, &f->keys[id], NULL);

            assert_int_equal(it != NULL, e->present);
            if (it)
                assert_true(item_expiry(it) == e->expiry);
            size += e->present;
            expires += e->present && e->expiry >= 0;
        }
        assert_int_equal(db_size(db), size);
        assert_int_equal(db_expires(db), expires);
    }
}

/* The wait ends when the next is due, at the latest; and what is not due does not keep the sweeper busy. */
static void check_wait(const struct fixture *f, int64_t wait, int64_t now)
{
    int64_t next = earliest(f);

    assert_true(wait > 1);
    if (next == INT64_MAX)
        return;
    assert_true(wait <= (next > now ? next - now : 0) + UNITS_MS);
}

static void test_model(void **state)
{
    static const unsigned phases[] = {15, 15, 8, 3, 14, 1};
    struct fixture *f = *state;

    assert_true(sweep(f, ENDLESS_US) == INT64_MAX);
    for (unsigned round = 0; round < 24; round++) {
        int64_t now, wait, before = tally_read(&f->support->thread.expired);
        unsigned due;

        change_many(f, phases[round % 6], round % 4 == 3 ? 50 : KEYS);
        if (round % 5 == 4) {
            struct entry kept[KEYS];
            keyspace_swap(f->support->keyspace, 0, 1);
            memcpy(kept, f->entries[0], sizeof kept);
            memcpy(f->entries[0], f->entries[1], sizeof kept);
            memcpy(f->entries[1], kept, sizeof kept);
        }
        now = clock_wall_ms();
        due = expire_model(f, now);
        if (round % 2)
            sweep(f, (int64_t)random_below(&f->random, 100));
        wait = sweep(f, ENDLESS_US); /* in one step: what it returns speaks of all partitions */
        check_wait(f, wait, now);
        assert_int_equal(tally_read(&f->support->thread.expired) - before, due);
        check_all(f);
    }
}

/* A bound that a later change left too low is corrected: the sweeper does not come back for nothing. */
static void test_extended(void **state)
{
    struct fixture *f = *state;
    int64_t now = clock_wall_ms();

    for (unsigned id = 0; id < KEYS; id++)
        set(f, 0, id, now - 1000);
    for (unsigned id = 0; id < KEYS; id++)
        set(f, 0, id, id % 3 ? now + 2 * AWAY_MS : -1);
    assert_true(sweep(f, ENDLESS_US) > AWAY_MS);
    check_all(f);
    for (unsigned id = 0; id < KEYS; id++)
        set(f, 0, id, -1);
    for (unsigned id = 0; id < KEYS; id++)
        drop(f, 0, id);
    assert_true(sweep(f, ENDLESS_US) >= 2 * AWAY_MS - 1000);
}

/* As time goes by: nothing goes early, and waiting as told misses nothing. */
static void test_waits(void **state)
{
    struct fixture *f = *state;
    int64_t start = clock_wall_ms();

    for (unsigned id = 0; id < KEYS; id++)
        set(f, id % 2, id, id % 4 == 3 ? start + AWAY_MS : start + (int64_t)random_below(&f->random, 150));
    for (;;) {
        int64_t before = clock_wall_ms(), wait = sweep(f, ENDLESS_US), now = clock_wall_ms();
        struct timespec span = {0, (long)(wait % 1000) * 1000000};

        for (unsigned i = 0; i < SUPPORT_DATABASES * KEYS; i++) {
            struct entry *e = &f->entries[i % 2][i / 2];
            struct db *db = keyspace_db(f->support->keyspace, i % 2);
            if (!e->present || db_find(db, &f->keys[i / 2], NULL))
                continue;
            assert_true(e->expiry <= now);
            e->present = false;
        }
        assert_true(earliest(f) > before - UNITS_MS);
        check_wait(f, wait, before);
        if (wait > AWAY_MS / 2)
            break;
        nanosleep(&span, NULL);
    }
    assert_int_equal(earliest(f), start + AWAY_MS);
    check_all(f);
}

static void test_range(void **state)
{
    struct fixture *f = *state;
    int64_t past = clock_wall_ms() - 1000;
    uint32_t next = 0;

    for (unsigned id = 0; id < KEYS; id++)
        set(f, 0, id, past);
    assert_true(expire_step(f->support->keyspace, &f->support->thread, STRIDE, 3 * STRIDE, &next, ENDLESS_US) ==
                INT64_MAX);
    assert_int_equal(next, STRIDE);
    for (unsigned id = 0; id < KEYS; id++) {
        uint32_t p = key_partition(&f->keys[id]);
        f->entries[0][id].present = p < STRIDE || p >= 3 * STRIDE;
    }
    check_all(f);
}

/* A partition that is held is passed by, and asked for again soon. */
static void test_taken_partition(void **state)
{
    struct fixture *f = *state;
    uint32_t taken = key_partition(&f->keys[0]);
    struct partition *p = &f->support->keyspace->partitions[taken];
    int64_t wait;

    for (unsigned id = 0; id < KEYS; id++)
        set(f, 1, id, clock_wall_ms() - 1000);
    assert_true(partition_try(p));
    wait = sweep(f, ENDLESS_US);
    assert_true(wait > 0 && wait < 100);
    for (unsigned id = 0; id < KEYS; id++)
        f->entries[1][id].present = key_partition(&f->keys[id]) == taken;
    check_all(f);
    partition_release(p);
    assert_true(sweep(f, ENDLESS_US) == INT64_MAX);
    expire_model(f, clock_wall_ms());
    check_all(f);
    assert_false(partition_held(p));
}

static void test_marks_watches(void **state)
{
    struct fixture *f = *state;
    struct watch_set *sets[2] = {watch_set_new(), watch_set_new()};
    struct watch *w[2];

    for (unsigned id = 0; id < 2; id++) {
        struct partition *p = &f->support->keyspace->partitions[key_partition(&f->keys[id])];
        set(f, 0, id, clock_wall_ms() + (id == 0 ? -1000 : AWAY_MS));
        w[id] = watch_new(sets[id], p, f->support->db, &f->keys[id]);
    }
    sweep(f, ENDLESS_US);
    assert_true(atomic_load(&sets[0]->changed));
    assert_false(atomic_load(&sets[1]->changed));
    for (unsigned id = 0; id < 2; id++) {
        watch_forget(w[id]);
        watch_set_unref(sets[id]);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_model), TEST(test_extended),        TEST(test_waits),
        TEST(test_range), TEST(test_taken_partition), TEST(test_marks_watches),
    };

    return cmocka_run_group_tests(tests, choose_keys, free_keys);
}
