/* A partition's lock: one holder at a time, and nobody who parked for it is left asleep. */
#include "unit/support.h"

#include <pthread.h>

#include "engine/store/partition.h"

static void test_try_and_release(void **state)
{
    struct partition p = {0};

    (void)state;
    assert_false(partition_held(&p));
    assert_true(partition_try(&p));
    assert_true(partition_held(&p));
    assert_false(partition_try(&p));
    assert_false(partition_try_briefly(&p));
    assert_false(partition_release(&p));
    assert_false(partition_held(&p));
    assert_true(partition_try_briefly(&p));
    assert_false(partition_release(&p));
}

static void test_want(void **state)
{
    struct partition p = {0};

    (void)state;
    assert_false(partition_want(&p)); /* free: to be tried again */
    assert_true(partition_try(&p));
    assert_true(partition_want(&p));
    assert_true(partition_want(&p)); /* by a second one */
    assert_true(partition_held(&p));
    assert_false(partition_try(&p));
    assert_true(partition_release(&p));
    assert_false(partition_held(&p));
    assert_true(partition_try(&p)); /* the mark went with the one who held it */
    assert_false(partition_release(&p));
}

static void count_wake(void *arg, uint32_t partition)
{
    unsigned *counts = arg;

    counts[partition]++;
}

static void test_keyspace_wakes_who_wants(void **state)
{
    struct support *s = *state;
    struct partition *p = s->keyspace->partitions;
    unsigned counts[3] = {0};

    assert_true(partition_try(&p[1]));
    assert_true(partition_want(&p[1]));
    keyspace_release(s->keyspace, 1); /* nobody is there to be told */
    s->keyspace->wake = count_wake;
    s->keyspace->wake_arg = counts;
    assert_true(partition_try(&p[1]) && partition_try(&p[2]));
    assert_true(partition_want(&p[2]));
    keyspace_release(s->keyspace, 1);
    keyspace_release(s->keyspace, 2);
    assert_int_equal(counts[1], 0);
    assert_int_equal(counts[2], 1);
    assert_false(partition_held(&p[1]) || partition_held(&p[2]));
    s->keyspace->wake = NULL;
}

#define THREADS 4
#define TURNS 20000

struct shared {
    struct partition partition;
    unsigned counts[2]; /* of the holder: always equal */
    pthread_mutex_t lock;
    pthread_cond_t woken;
    unsigned wakes;
};

static void *spin(void *arg)
{
    struct shared *s = arg;

    for (unsigned i = 0; i < TURNS;) {
        if (!(i % 2 ? partition_try(&s->partition) : partition_try_briefly(&s->partition)))
            continue;
        s->counts[0]++;
        s->counts[1]++;
        partition_release(&s->partition);
        i++;
    }
    return NULL;
}

/* Takes the lock, asleep while another one holds it. */
static void take(struct shared *s)
{
    while (!partition_try(&s->partition)) {
        unsigned wakes;

        pthread_mutex_lock(&s->lock);
        wakes = s->wakes;
        if (partition_want(&s->partition))
            while (s->wakes == wakes)
                pthread_cond_wait(&s->woken, &s->lock);
        pthread_mutex_unlock(&s->lock);
    }
}

static void *park(void *arg)
{
    struct shared *s = arg;

    for (unsigned i = 0; i < TURNS; i++) {
        take(s);
        s->counts[0]++;
        s->counts[1]++;
        if (!partition_release(&s->partition))
            continue;
        pthread_mutex_lock(&s->lock);
        s->wakes++;
        pthread_cond_broadcast(&s->woken);
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

static void run_threads(void *(*turn)(void *arg))
{
    struct shared s = {.lock = PTHREAD_MUTEX_INITIALIZER, .woken = PTHREAD_COND_INITIALIZER};
    pthread_t threads[THREADS];

    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, turn, &s), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(s.counts[0], THREADS * TURNS);
    assert_int_equal(s.counts[1], THREADS * TURNS);
    assert_false(partition_held(&s.partition));
}

static void test_one_holder(void **state)
{
    (void)state;
    run_threads(spin);
}

static void test_nobody_sleeps_on(void **state)
{
    (void)state;
    run_threads(park);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_try_and_release),
        cmocka_unit_test(test_want),
        cmocka_unit_test_setup_teardown(test_keyspace_wakes_who_wants, support_setup, support_teardown),
        cmocka_unit_test(test_one_holder),
        cmocka_unit_test(test_nobody_sleeps_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
