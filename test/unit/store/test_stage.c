/* Stages: what was added, and nothing else, is the data after the commit; nothing is lost, leaked or counted twice. */
#include "unit/support.h"

#include <stdio.h>

#include "base/clock.h"
#include "engine/store/cut.h"
#include "engine/store/expire.h"
#include "engine/store/item.h"
#include "engine/store/stage.h"
#include "engine/store/watch.h"

#define HOUR_MS (INT64_C(3600) * 1000)
#define ENDLESS_US (INT64_C(1) << 40)

static struct item *new_item(struct support *s, const char *name, const char *value, int64_t expiry)
{
    struct item *it = item_new_string(&s->thread, view_str(name), strlen(value), expiry);

    memcpy(item_bytes(it), value, strlen(value));
    return it;
}

static void add(struct support *s, struct stage *stage, uint32_t db, const char *name, const char *value,
                int64_t expiry)
{
    stage_add(stage, db, new_item(s, name, value, expiry));
}

/* Finishes and commits a stage without duplicates. */
static void commit(struct stage *stage)
{
    assert_int_equal(stage_finish(stage), 0);
    stage_commit(stage);
}

static void put(struct support *s, struct thread *t, unsigned db, const char *name, const char *value, int64_t expiry)
{
    struct key key = support_key(s, name);

    db_insert(keyspace_db(s->keyspace, db), t, &key, new_item(s, name, value, expiry));
}

static void drop(struct support *s, struct thread *t, unsigned db, const char *name)
{
    struct key key = support_key(s, name);
    struct place at;
    struct item *it = db_find(keyspace_db(s->keyspace, db), &key, &at);

    assert_non_null(it);
    db_remove(keyspace_db(s->keyspace, db), t, &key, &at);
    item_free(t, it);
}

static const struct item *get(struct support *s, unsigned db, const char *name)
{
    struct key key = support_key(s, name);

    return db_find(keyspace_db(s->keyspace, db), &key, NULL);
}

static void check(struct support *s, unsigned db, const char *name, const char *value, int64_t expiry)
{
    const struct item *it = get(s, db, name);

    assert_non_null(it);
    assert_true(view_equal(item_string(it), view_str(value)));
    assert_int_equal(item_expiry(it), expiry);
}

static void check_sizes(const struct support *s, unsigned db, uint64_t keys, uint64_t expires)
{
    assert_int_equal(db_size(keyspace_db(s->keyspace, db)), keys);
    assert_int_equal(db_expires(keyspace_db(s->keyspace, db)), expires);
}

static uint64_t used(const struct support *s)
{
    struct heap_stats stats;

    heap_stats(s->heaps, &stats);
    return stats.used;
}

static void reclaim(struct support *s)
{
    while (keyspace_reclaim(s->keyspace, &s->thread, 50))
        ;
}

static void test_commit(void **state)
{
    struct support *s = *state;
    struct stage *stage = stage_new(s->keyspace, &s->thread);
    int64_t later = clock_wall_ms() + HOUR_MS;

    add(s, stage, 0, "a", "1", -1);
    add(s, stage, 1, "a", "2", later);
    add(s, stage, 1, "b", "3", -1);
    assert_int_equal(stage_finish(stage), 0);
    assert_int_equal(stage_keys(stage), 3);
    check_sizes(s, 0, 0, 0); /* not yet */
    assert_null(get(s, 0, "a"));
    commit(stage);
    assert_int_equal(stage_keys(stage), 0);
    check_sizes(s, 0, 1, 0);
    check_sizes(s, 1, 2, 1);
    check(s, 0, "a", "1", -1);
    check(s, 1, "a", "2", later);
    check(s, 1, "b", "3", -1);
    assert_null(get(s, 0, "b"));
    stage_free(stage);
    check(s, 1, "a", "2", later);
    drop(s, &s->thread, 1, "a");
    put(s, &s->thread, 1, "c", "4", -1);
    check_sizes(s, 1, 2, 0);
}

/* The first one stays, whether they come together or far apart. */
static void test_duplicate(void **state)
{
    struct support *s = *state;
    struct stage *stage = stage_new(s->keyspace, &s->thread);
    char *big = mem_zalloc(100001), name[16];

    memset(big, 'x', 100000);
    add(s, stage, 0, "a", "1", -1);
    add(s, stage, 0, "a", "22", clock_wall_ms() + HOUR_MS);
    add(s, stage, 1, "a", big, -1);
    add(s, stage, 0, "a", big, -1);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "%u", i % 700);
        add(s, stage, 0, name, "v", -1);
    }
    add(s, stage, 1, "a", "3", -1);
    assert_int_equal(stage_finish(stage), 303);
    assert_int_equal(stage_finish(stage), 303);
    assert_int_equal(stage_keys(stage), 702);
    stage_commit(stage);
    check(s, 0, "a", "1", -1);
    check(s, 1, "a", big, -1);
    check_sizes(s, 0, 701, 0);
    check_sizes(s, 1, 1, 0);
    stage_free(stage);
    mem_free(big);
}

/* A hint that is far too high, and one that is far too low, change nothing but the time. */
static void test_expected(void **state)
{
    struct support *s = *state;
    static const uint64_t hints[] = {0, 1, PARTITIONS, 20000, 5000000};
    char name[16];

    for (unsigned h = 0; h < sizeof hints / sizeof hints[0]; h++) {
        struct stage *stage = stage_new(s->keyspace, &s->thread);
        stage_expect(stage, 0, hints[h]);
        for (unsigned i = 0; i < 20000; i++) {
            snprintf(name, sizeof name, "%u", i);
            add(s, stage, i % 10 == 0, name, name, -1);
        }
        commit(stage);
        stage_free(stage);
        check_sizes(s, 0, 18000, 0);
        check_sizes(s, 1, 2000, 0);
        for (unsigned i = 0; i < 20000; i++) {
            snprintf(name, sizeof name, "%u", i);
            check(s, i % 10 == 0, name, name, -1);
        }
        reclaim(s);
    }
}

static void test_given_up(void **state)
{
    struct support *s = *state;
    uint64_t before;
    struct stage *stage;

    put(s, &s->thread, 0, "kept", "1", -1);
    before = used(s);
    stage = stage_new(s->keyspace, &s->thread);
    for (unsigned i = 0; i < 5000; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u", i);
        add(s, stage, i % 2, name, "value", -1);
    }
    stage_free(stage);
    stage_free(NULL);
    assert_int_equal(used(s), before);
    check(s, 0, "kept", "1", -1);
    check_sizes(s, 0, 1, 0);
}

/* What was there goes: all of it, in steps. */
static void test_replaced(void **state)
{
    struct support *s = *state;
    uint64_t before = used(s);
    struct stage *stage = stage_new(s->keyspace, &s->thread);
    char name[16];

    for (unsigned i = 0; i < 4000; i++) {
        snprintf(name, sizeof name, "%u", i);
        put(s, &s->thread, i % 2, name, "old", i % 5 == 0 ? clock_wall_ms() + HOUR_MS : -1);
    }
    for (unsigned i = 0; i < 3000; i += 2) {
        snprintf(name, sizeof name, "%u", i + 1000);
        add(s, stage, 0, name, "new", -1);
    }
    commit(stage);
    check_sizes(s, 0, 1500, 0);
    check_sizes(s, 1, 0, 0);
    check(s, 0, "1000", "new", -1);
    check(s, 0, "3998", "new", -1);
    assert_null(get(s, 0, "998"));
    assert_null(get(s, 1, "1001"));
    reclaim(s);
    commit(stage); /* once more: what it holds now is nothing */
    check_sizes(s, 0, 0, 0);
    assert_null(get(s, 0, "1000"));
    reclaim(s);
    assert_int_equal(used(s), before);
    stage_free(stage);
}

/* A database that is empty may have tables, and threads whose counts cancel each other. */
static void test_emptied(void **state)
{
    struct support *s = *state;
    static struct thread other;
    struct stage *stage;
    uint64_t before = used(s);
    int64_t later = clock_wall_ms() + HOUR_MS;

    other = (struct thread){.index = 1, .heap = heap_new(s->heaps)};
    keyspace_attach(s->keyspace, &other);
    for (unsigned i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u", i);
        put(s, &other, 0, name, "1", later);
        drop(s, &s->thread, 0, name);
        put(s, &s->thread, 1, name, "1", -1);
        drop(s, &other, 1, name);
    }
    check_sizes(s, 0, 0, 0);
    check_sizes(s, 1, 0, 0);
    stage = stage_new(s->keyspace, &s->thread);
    add(s, stage, 0, "a", "1", later);
    add(s, stage, 1, "a", "1", -1);
    add(s, stage, 1, "b", "1", later);
    commit(stage);
    check_sizes(s, 0, 1, 1);
    check_sizes(s, 1, 2, 1);
    drop(s, &s->thread, 0, "a");
    drop(s, &other, 1, "a");
    check_sizes(s, 0, 0, 0);
    check_sizes(s, 1, 1, 1);
    commit(stage);
    check_sizes(s, 1, 0, 0);
    stage_free(stage);
    reclaim(s);
    assert_int_equal(used(s), before);
    s->keyspace->thread_count--;
    mem_free(other.db);
}

static void test_expiry(void **state)
{
    struct support *s = *state;
    struct stage *stage = stage_new(s->keyspace, &s->thread);
    int64_t now = clock_wall_ms(), wait;
    uint32_t next = 0;
    char name[16];

    put(s, &s->thread, 0, "old", "1", now - HOUR_MS);
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "%u", i);
        add(s, stage, i / 1000, name, "1", i % 4 == 0 ? now - 1000 : i % 4 == 1 ? now + HOUR_MS : -1);
    }
    commit(stage);
    check_sizes(s, 0, 1000, 500);
    wait = expire_step(s->keyspace, &s->thread, 0, PARTITIONS, &next, ENDLESS_US);
    assert_in_range(wait, HOUR_MS - 60000, HOUR_MS + 60000);
    assert_int_equal(tally_read(&s->thread.expired), 500);
    check_sizes(s, 0, 750, 250);
    check_sizes(s, 1, 750, 250);
    assert_null(get(s, 0, "0"));
    check(s, 0, "1", "1", now + HOUR_MS);

    for (unsigned i = 0; i < 10; i++) { /* without any expiry, no deadline is left over */
        snprintf(name, sizeof name, "%u", i);
        add(s, stage, 0, name, "1", -1);
    }
    commit(stage);
    stage_free(stage);
    wait = expire_step(s->keyspace, &s->thread, 0, PARTITIONS, &next, ENDLESS_US);
    assert_true(wait == INT64_MAX || wait > 0);
    check_sizes(s, 0, 10, 0);
}

/* The watch on that key of that database is told, or not. */
static void check_watch(struct watch_set *set, bool told)
{
    assert_int_equal(atomic_load(&set->changed), told);
}

static void test_watched(void **state)
{
    struct support *s = *state;
    static const char *const names[] = {"gone", "came", "stayed", "never", "other"};
    struct watch_set *sets[5];
    struct watch *watches[5];
    struct stage *stage = stage_new(s->keyspace, &s->thread);

    put(s, &s->thread, 0, "gone", "1", -1);
    put(s, &s->thread, 0, "stayed", "1", -1);
    for (unsigned i = 0; i < 5; i++) {
        struct key key = support_key(s, names[i]);
        sets[i] = watch_set_new();
        watches[i] =
            watch_new(sets[i], &s->keyspace->partitions[key_partition(&key)], keyspace_db(s->keyspace, i == 4), &key);
    }
    add(s, stage, 0, "came", "1", -1);
    add(s, stage, 0, "stayed", "1", -1);
    add(s, stage, 0, "other", "1", -1); /* it is watched in database 1 */
    for (unsigned i = 0; i < 5; i++)
        check_watch(sets[i], false);
    commit(stage);
    check_watch(sets[0], true);
    check_watch(sets[1], true);
    check_watch(sets[2], true);
    check_watch(sets[3], false);
    check_watch(sets[4], false);
    for (unsigned i = 0; i < 5; i++) {
        watch_forget(watches[i]);
        watch_set_unref(sets[i]);
    }
    stage_free(stage);
}

/* The commit takes the numbers of cuts along: the next snapshot is to see all of it. */
static void count_items(void *arg, struct thread *t, uint32_t db, const struct bucket *home)
{
    unsigned *counts = arg;

    (void)t;
    for (const struct bucket *b = home; b; b = bucket_next(b))
        for (unsigned i = 0; i < TABLE_SLOTS; i++)
            counts[db] += b->tags[i] != 0;
}

static void test_snapshot_after(void **state)
{
    struct support *s = *state;
    struct stage *stage;
    unsigned counts[SUPPORT_DATABASES] = {0};

    for (unsigned i = 0; i < 2; i++) {
        cut_begin(s->keyspace, count_items, counts);
        cut_end(s->keyspace);
    }
    stage = stage_new(s->keyspace, &s->thread);
    for (unsigned i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u", i);
        add(s, stage, i % 4 == 0, name, "1", -1);
    }
    commit(stage);
    stage_free(stage);
    cut_begin(s->keyspace, count_items, counts);
    for (uint32_t p = 0; p < PARTITIONS; p++)
        assert_true(cut_partition(s->keyspace, &s->thread, p, INT64_MAX));
    assert_int_equal(counts[0], 750);
    assert_int_equal(counts[1], 250);
    cut_end(s->keyspace);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, support_setup, support_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_commit),  TEST(test_duplicate), TEST(test_expected), TEST(test_given_up),       TEST(test_replaced),
        TEST(test_emptied), TEST(test_expiry),    TEST(test_watched),  TEST(test_snapshot_after),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
