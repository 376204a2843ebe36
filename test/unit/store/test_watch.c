/* Watched keys: who is marked, and that neither watch nor list outlives its use. */
#include "unit/support.h"

#include <pthread.h>
#include <stdio.h>

#include "engine/store/watch.h"

/* A watch of a transaction of its own. */
static struct watch *watch_on(struct partition *p, struct db *db, const struct key *key)
{
    struct watch_set *set = watch_set_new();
    struct watch *w = watch_new(set, p, db, key);

    watch_set_unref(set);
    return w;
}

struct fixture {
    struct support *support;
    struct partition *partition;
    int64_t used;
};

static struct fixture begin(void **state)
{
    struct support *s = *state;

    return (struct fixture){s, &s->keyspace->partitions[3], mem_used()};
}

/* Nothing is left, of list or watches. */
static void end(const struct fixture *f)
{
    watch_drop_all(f->partition);
    assert_null(f->partition->watches);
    assert_true(mem_used() == f->used);
}

static unsigned length(const struct partition *p)
{
    unsigned n = 0;

    for (const struct watch *w = p->watches; w; w = w->next)
        n++;
    return n;
}

static void test_marks_that_key_alone(void **state)
{
    struct fixture f = begin(state);
    struct key a = support_key(f.support, "a"), b = support_key(f.support, "b"), like_a = {b.name, a.hash};
    struct db *db = f.support->db, *other = keyspace_db(f.support->keyspace, 1);
    struct watch *w[] = {watch_on(f.partition, db, &a), watch_on(f.partition, db, &b), watch_on(f.partition, other, &a),
                         watch_on(f.partition, db, &like_a), watch_on(f.partition, db, &a)};
    const bool expected[] = {true, false, false, false, true};

    watch_changed(f.partition, db, &a);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(atomic_load(&w[i]->set->changed), expected[i]);
    watch_changed(f.partition, other, &a);
    assert_true(atomic_load(&w[2]->set->changed));
    assert_false(atomic_load(&w[1]->set->changed));
    for (unsigned i = 0; i < 5; i++)
        watch_forget(w[i]);
    end(&f);
}

static void test_name_is_a_copy(void **state)
{
    struct fixture f = begin(state);
    char name[] = "name";
    struct key key = support_key(f.support, name);
    struct watch *w = watch_on(f.partition, f.support->db, &key);

    name[0] = 'g';
    watch_changed(f.partition, f.support->db, &key);
    assert_false(atomic_load(&w->set->changed));
    name[0] = 'n';
    watch_changed(f.partition, f.support->db, &key);
    assert_true(atomic_load(&w->set->changed));
    watch_forget(w);
    end(&f);
}

static bool is_b(struct db *db, const struct key *key)
{
    (void)db;
    return view_equal(key->name, VIEW("b"));
}

static void test_changed_all(void **state)
{
    struct fixture f = begin(state);
    struct key a = support_key(f.support, "a"), b = support_key(f.support, "b");
    struct db *db = f.support->db;
    struct watch *w[] = {watch_on(f.partition, db, &a), watch_on(f.partition, db, &b),
                         watch_on(f.partition, keyspace_db(f.support->keyspace, 1), &b)};

    watch_changed_all(f.partition, db, is_b);
    assert_false(atomic_load(&w[0]->set->changed));
    assert_true(atomic_load(&w[1]->set->changed));
    assert_false(atomic_load(&w[2]->set->changed));
    for (unsigned i = 0; i < 3; i++)
        watch_forget(w[i]);
    watch_changed_all(f.partition, db, is_b);
    assert_int_equal(length(f.partition), 0);
    end(&f);
}

/* Whichever reference goes first, the other keeps the watch. */
static void test_either_reference_goes_first(void **state)
{
    struct fixture f = begin(state);
    struct key key = support_key(f.support, "a");
    struct watch *w = watch_on(f.partition, f.support->db, &key);

    watch_drop_all(f.partition);
    assert_false(atomic_load(&w->set->changed));
    watch_forget(w);
    assert_true(mem_used() == f.used);
    w = watch_on(f.partition, f.support->db, &key);
    watch_forget(w);
    assert_int_equal(length(f.partition), 1);
    end(&f);
}

static void test_forgotten_are_dropped_by_the_next(void **state)
{
    struct fixture f = begin(state);
    struct key a = support_key(f.support, "a"), b = support_key(f.support, "b");
    struct watch *kept = watch_on(f.partition, f.support->db, &a);

    for (unsigned i = 0; i < 1000; i++) {
        struct watch *w = watch_on(f.partition, f.support->db, &a);
        assert_true(length(f.partition) <= 2);
        watch_forget(w);
    }
    watch_changed(f.partition, f.support->db, &b);
    assert_int_equal(length(f.partition), 1);
    assert_ptr_equal(f.partition->watches, kept);
    assert_false(atomic_load(&kept->set->changed));
    watch_forget(kept);
    watch_changed(f.partition, f.support->db, &b);
    assert_int_equal(length(f.partition), 0);
    end(&f);
}

#define KEYS 8
#define HELD 64

/* Any order of watching, changing and forgetting, against what each watch should have seen. */
static void test_model(void **state)
{
    struct fixture f = begin(state);
    struct random r = support_random();
    struct watch *w[HELD] = {NULL};
    unsigned watched[HELD] = {0};
    bool changed[HELD] = {false};

    for (unsigned round = 0; round < 20000; round++) {
        unsigned i = (unsigned)random_below(&r, HELD), k = (unsigned)random_below(&r, KEYS), held = 0;
        char name[8];
        struct key key;
        struct db *db = keyspace_db(f.support->keyspace, k % 2);

        snprintf(name, sizeof name, "%u", k / 2);
        key = support_key(f.support, name);
        if (random_below(&r, 4) == 0) {
            watch_changed(f.partition, db, &key);
            for (unsigned j = 0; j < HELD; j++)
                changed[j] = changed[j] || (w[j] && watched[j] == k);
        } else if (!w[i]) {
            w[i] = watch_on(f.partition, db, &key);
            watched[i] = k;
            changed[i] = false;
        } else {
            assert_int_equal(atomic_load(&w[i]->set->changed), changed[i]);
            watch_forget(w[i]);
            w[i] = NULL;
            continue;
        }
        for (unsigned j = 0; j < HELD; j++)
            held += w[j] != NULL;
        assert_int_equal(length(f.partition), held);
    }
    for (unsigned i = 0; i < HELD; i++)
        if (w[i])
            watch_forget(w[i]);
    end(&f);
}

/* One forgets without the lock what others, with it, mark and drop. */
static void *watch_and_forget(void *arg)
{
    struct fixture *f = arg;
    struct key key = support_key(f->support, "a");
    unsigned unmarked = 0;

    for (unsigned i = 0; i < 5000; i++) {
        struct watch *w;
        while (!partition_try_briefly(f->partition))
            ;
        w = watch_on(f->partition, f->support->db, &key);
        partition_release(f->partition);
        while (!partition_try_briefly(f->partition))
            ;
        watch_changed(f->partition, f->support->db, &key);
        partition_release(f->partition);
        unmarked += !atomic_load(&w->set->changed);
        watch_forget(w);
    }
    return unmarked ? f : NULL;
}

static void test_threads(void **state)
{
    struct fixture f = begin(state);
    pthread_t threads[3];

    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, watch_and_forget, &f), 0);
    for (unsigned i = 0; i < 3; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    end(&f);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, support_setup, support_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_marks_that_key_alone),
        TEST(test_name_is_a_copy),
        TEST(test_changed_all),
        TEST(test_either_reference_goes_first),
        TEST(test_forgotten_are_dropped_by_the_next),
        TEST(test_model),
        TEST(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
