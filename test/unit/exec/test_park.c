/*
 * Parking: nobody is woken who does not wait, nobody who waits is forgotten. A handle's worker is the number of a
 * thread here, and its id the number of the wait, which tells that each is woken exactly once.
 */
#include "engine/exec/park.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define THREADS 6
#define SECONDS 120 /* a lost wakeup ends the program */

/* Two partitions of one lot, and one of another. */
static const uint32_t numbers[] = {5, 5 + PARK_LOTS, 6};
#define PARTITIONS (sizeof numbers / sizeof numbers[0])

struct sleeper {
    struct fixture *f;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    uint64_t last;  /* the wait it was woken from last; under the lock */
    uint64_t waits; /* by its thread */
    uint32_t index;
};

struct fixture {
    struct park park;
    struct partition partitions[PARTITIONS];
    long counts[PARTITIONS]; /* by who holds the partition */
    struct sleeper sleepers[THREADS];
    pthread_barrier_t all_parked;
    unsigned rounds, yields;
    atomic_uint wakes, wrong;
};

static void on_wake(void *arg, struct handle h)
{
    struct fixture *f = arg;
    struct sleeper *s = &f->sleepers[h.worker];

    atomic_fetch_add(&f->wakes, 1);
    pthread_mutex_lock(&s->lock);
    if (h.id != s->last + 1)
        atomic_fetch_add(&f->wrong, 1);
    s->last = h.id;
    pthread_cond_signal(&s->woken);
    pthread_mutex_unlock(&s->lock);
}

static int setup(void **state)
{
    struct fixture *f = mem_alloc_lines((sizeof *f + 63) / 64 * 64);

    memset(f, 0, sizeof *f);
    park_init(&f->park, on_wake, f);
    for (uint32_t i = 0; i < THREADS; i++) {
        f->sleepers[i].f = f;
        f->sleepers[i].index = i;
        pthread_mutex_init(&f->sleepers[i].lock, NULL);
        pthread_cond_init(&f->sleepers[i].woken, NULL);
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < PARK_LOTS; i++) {
        assert_null(f->park.lots[i].head);
        pthread_mutex_destroy(&f->park.lots[i].lock);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_mutex_destroy(&f->sleepers[i].lock);
        pthread_cond_destroy(&f->sleepers[i].woken);
    }
    mem_free(f);
    return 0;
}

/* Parks the sleeper on partition i; false when that is free. */
static bool park(struct sleeper *s, unsigned i)
{
    struct handle h = {s->index, s->waits + 1};

    if (!park_wait(&s->f->park, &s->f->partitions[i], numbers[i], h))
        return false;
    s->waits++;
    return true;
}

static void release(struct fixture *f, unsigned i)
{
    if (partition_release(&f->partitions[i]))
        park_wake(&f->park, numbers[i]);
}

static void free_is_not_waited_for(void **state)
{
    struct fixture *f = *state;

    assert_false(park(&f->sleepers[0], 0));
    assert_true(partition_try(&f->partitions[0]));
    assert_false(partition_release(&f->partitions[0]));
    assert_false(park(&f->sleepers[0], 0));
    park_wake(&f->park, numbers[0]);
    assert_int_equal(atomic_load(&f->wakes), 0);
}

static void wakes_those_of_the_partition(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < PARTITIONS; i++)
        assert_true(partition_try(&f->partitions[i]));
    assert_true(park(&f->sleepers[0], 0));
    assert_true(park(&f->sleepers[1], 1));
    assert_true(park(&f->sleepers[2], 0));
    assert_true(park(&f->sleepers[3], 2));
    assert_true(park(&f->sleepers[4], 0));
    assert_false(partition_try(&f->partitions[0]));

    release(f, 0);
    assert_int_equal(atomic_load(&f->wakes), 3);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(f->sleepers[i].last, i == 0 || i == 2 || i == 4);
    assert_true(partition_try(&f->partitions[0]));
    release(f, 0);
    assert_int_equal(atomic_load(&f->wakes), 3);
    release(f, 2);
    assert_int_equal(atomic_load(&f->wakes), 4);
    assert_int_equal(f->sleepers[3].last, 1);
    release(f, 1);
    assert_int_equal(atomic_load(&f->wakes), 5);
    assert_int_equal(f->sleepers[1].last, 1);
    assert_int_equal(atomic_load(&f->wrong), 0);
}

/* Somebody else may take the partition before those who were woken come to it: they wait again. */
static void waits_again(void **state)
{
    struct fixture *f = *state;

    assert_true(partition_try(&f->partitions[0]));
    for (uint64_t i = 1; i <= 3; i++) {
        assert_true(park(&f->sleepers[0], 0));
        assert_true(partition_release(&f->partitions[0]));
        assert_true(partition_try(&f->partitions[0]));
        park_wake(&f->park, numbers[0]);
        assert_int_equal(f->sleepers[0].last, i);
    }
    assert_false(partition_release(&f->partitions[0]));
}

static void *park_once(void *arg)
{
    struct sleeper *s = arg;

    return park(s, 0) ? s : NULL;
}

/* Marking the partition and joining those who wait are one step for who wakes them: with the lot's lock taken, nobody
 * marks; and who comes to the lock when the partition is free again does not wait. */
static void marks_under_the_lock(void **state)
{
    struct fixture *f = *state;
    pthread_mutex_t *lock = &f->park.lots[numbers[0] % PARK_LOTS].lock;

    for (int round = 0; round < 100; round++) {
        pthread_t thread;
        void *parked;
        assert_true(partition_try(&f->partitions[0]));
        pthread_mutex_lock(lock);
        pthread_create(&thread, NULL, park_once, &f->sleepers[0]);
        for (int n = 0; n < 20; n++) {
            sched_yield();
            assert_int_equal(atomic_load(&f->partitions[0].word), PARTITION_HELD);
        }
        assert_false(partition_release(&f->partitions[0]));
        pthread_mutex_unlock(lock);
        pthread_join(thread, &parked);
        assert_null(parked);
    }
}

static void sleep_until_woken(struct sleeper *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->last != s->waits)
        pthread_cond_wait(&s->woken, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

static void *take_often(void *arg)
{
    struct sleeper *s = arg;
    struct fixture *f = s->f;

    for (unsigned round = 0; round < f->rounds; round++) {
        unsigned i = round % 8 < 6 ? 0 : round % 8 - 5;
        while (!partition_try(&f->partitions[i])) {
            if (!park(s, i))
                continue;
            if (s->waits == 1)
                pthread_barrier_wait(&f->all_parked);
            sleep_until_woken(s);
        }
        f->counts[i]++;
        for (unsigned n = 0; n < round % 4 * f->yields; n++)
            sched_yield();
        release(f, i);
    }
    return NULL;
}

/* It starts with all of them parked on one partition, and goes on with as much contention as there is. */
static void hammer(struct fixture *f, unsigned count, unsigned rounds, unsigned yields)
{
    pthread_t threads[THREADS];
    uint64_t waits = 0;

    f->rounds = rounds;
    f->yields = yields;
    pthread_barrier_init(&f->all_parked, NULL, count + 1);
    assert_true(partition_try(&f->partitions[0]));
    for (unsigned i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, take_often, &f->sleepers[i]);
    pthread_barrier_wait(&f->all_parked);
    release(f, 0);
    for (unsigned i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        waits += f->sleepers[i].waits;
    }
    assert_int_equal(f->counts[0], count * (rounds / 8 * 6));
    assert_int_equal(f->counts[0] + f->counts[1] + f->counts[2], count * rounds);
    assert_int_equal(atomic_load(&f->wakes), waits);
    assert_int_equal(atomic_load(&f->wrong), 0);
    assert_true(waits >= count);
    pthread_barrier_destroy(&f->all_parked);
    for (unsigned i = 0; i < PARTITIONS; i++)
        assert_false(partition_held(&f->partitions[i]));
}

/* Those who hold it let others run, which then find it taken. */
static void no_wakeup_is_lost(void **state)
{
    hammer(*state, THREADS, 4000, 1);
}

/* Letting go meets parking: a few threads that hold it for a moment only. */
static void no_wakeup_is_lost_at_once(void **state)
{
    for (unsigned count = 2; count <= 3; count++) {
        struct fixture *f = *state;
        hammer(f, count, 40000, 0);
        memset(f->counts, 0, sizeof f->counts);
        for (unsigned i = 0; i < count; i++)
            f->sleepers[i].waits = f->sleepers[i].last = 0;
        atomic_store(&f->wakes, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(free_is_not_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(wakes_those_of_the_partition, setup, teardown),
        cmocka_unit_test_setup_teardown(waits_again, setup, teardown),
        cmocka_unit_test_setup_teardown(marks_under_the_lock, setup, teardown),
        cmocka_unit_test_setup_teardown(no_wakeup_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(no_wakeup_is_lost_at_once, setup, teardown),
    };

    alarm(SECONDS);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
