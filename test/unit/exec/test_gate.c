/*
 * The gate: who closes it is alone, jobs keep it open, and those who were kept out hear of each opening. Threads other
 * than the first only note what is wrong; the first one asserts. What a closer and those inside touch is plain memory,
 * so that ThreadSanitizer sees a gate that does not order them.
 */
#include "engine/exec/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define ENTERERS 4
#define CLOSERS 2
#define ROUNDS 2000 /* at least; for as long as there are closings */
#define CLOSINGS 200
#define SECONDS 120 /* a closing that never ends ends the program */

struct fixture {
    struct gate gate;
    atomic_bool exclusive;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned openings;    /* under the lock */
    bool through;         /* a closer closed the gate; under the lock */
    int shared[ENTERERS]; /* by an enterer inside, each its own; all by the closer */
    int closings;         /* by the closer, read inside */
    atomic_uint wrong, closers_left;
    pthread_barrier_t start;
};

struct enterer {
    struct fixture *f;
    unsigned thread;
    bool as_job;
    int entered;
};

static void note(struct fixture *f, bool good)
{
    if (!good)
        atomic_fetch_add(&f->wrong, 1);
}

static void on_opened(void *arg)
{
    struct fixture *f = arg;

    pthread_mutex_lock(&f->lock);
    f->openings++;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static unsigned openings(struct fixture *f)
{
    unsigned n;

    pthread_mutex_lock(&f->lock);
    n = f->openings;
    pthread_mutex_unlock(&f->lock);
    return n;
}

/* Waits until there are more than `seen` openings. */
static void await_opening(struct fixture *f, unsigned seen)
{
    pthread_mutex_lock(&f->lock);
    while (f->openings == seen)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

static bool is_through(struct fixture *f)
{
    bool through;

    pthread_mutex_lock(&f->lock);
    through = f->through;
    pthread_mutex_unlock(&f->lock);
    return through;
}

static int setup(void **state)
{
    struct fixture *f = mem_alloc_lines((sizeof *f + 63) / 64 * 64);

    memset(f, 0, sizeof *f);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    gate_init(&f->gate, &f->exclusive, on_opened, f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    pthread_mutex_destroy(&f->gate.lock);
    mem_free(f);
    return 0;
}

static void closed_keeps_out(void **state)
{
    struct fixture *f = *state;

    assert_true(gate_enter(&f->gate, 0));
    assert_true(gate_enter(&f->gate, THREAD_MAX - 1));
    gate_leave(&f->gate, 0);
    gate_leave(&f->gate, THREAD_MAX - 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_false(gate_closing(&f->gate));
        gate_close(&f->gate);
        assert_true(gate_closing(&f->gate));
        assert_true(atomic_load(&f->exclusive));
        assert_false(gate_enter(&f->gate, 0));
        assert_false(gate_enter(&f->gate, THREAD_MAX - 1));
        assert_int_equal(openings(f), i);
        gate_open(&f->gate);
        assert_int_equal(openings(f), i + 1);
        assert_false(atomic_load(&f->exclusive));
        assert_true(gate_enter(&f->gate, 0));
        gate_leave(&f->gate, 0);
    }
}

/* Closes once, tells that it did, opens. */
static void *close_once(void *arg)
{
    struct fixture *f = arg;

    gate_close(&f->gate);
    pthread_mutex_lock(&f->lock);
    f->through = true;
    pthread_mutex_unlock(&f->lock);
    note(f, f->closings == 0 && f->shared[0] == 1);
    gate_open(&f->gate);
    return NULL;
}

/* A closing that waits shows, and is not through before the last one is out. */
static void closing_waits_for_those_inside(void **state)
{
    struct fixture *f = *state;
    pthread_t closer;

    assert_true(gate_enter(&f->gate, 1));
    assert_true(gate_enter(&f->gate, 2));
    pthread_create(&closer, NULL, close_once, f);
    while (!gate_closing(&f->gate))
        sched_yield();
    gate_leave(&f->gate, 2);
    await_opening(f, openings(f)); /* it gave up once for now, because of thread 1 alone */
    assert_false(is_through(f));
    f->shared[0] = 1;
    gate_leave(&f->gate, 1);
    pthread_join(closer, NULL);
    assert_true(is_through(f));
    assert_int_equal(atomic_load(&f->wrong), 0);
    assert_false(gate_closing(&f->gate));
}

/* A job that left with its thread still inside counts as somebody inside. */
static void jobs_keep_it_open(void **state)
{
    struct fixture *f = *state;
    pthread_t closer;

    assert_true(gate_enter(&f->gate, 1));
    gate_job_begin(&f->gate);
    gate_job_begin(&f->gate);
    gate_leave(&f->gate, 1);
    pthread_create(&closer, NULL, close_once, f);
    await_opening(f, 0);
    gate_job_end(&f->gate);
    await_opening(f, openings(f));
    assert_false(is_through(f));
    f->shared[0] = 1;
    gate_job_end(&f->gate);
    pthread_join(closer, NULL);
    assert_true(is_through(f));
    assert_int_equal(atomic_load(&f->wrong), 0);
    assert_int_equal(atomic_load(&f->gate.jobs), 0);
}

/* ---- many at once ------------------------------------------------------------------------------------------------ */

/* What is done inside: nobody else touches this thread's number, and no closer is there. */
static void work_inside(struct enterer *e)
{
    struct fixture *f = e->f;
    int closings = f->closings;

    note(f, !atomic_load(&f->exclusive));
    f->shared[e->thread]++;
    if (e->entered % 16 == 0)
        sched_yield();
    note(f, f->closings == closings);
}

static void *enter_often(void *arg)
{
    struct enterer *e = arg;
    struct fixture *f = e->f;

    pthread_barrier_wait(&f->start);
    while (e->entered < ROUNDS || atomic_load(&f->closers_left) > 0) {
        unsigned seen = openings(f);
        if (!gate_enter(&f->gate, e->thread)) {
            await_opening(f, seen);
            continue;
        }
        e->entered++;
        if (e->as_job) {
            gate_job_begin(&f->gate);
            gate_leave(&f->gate, e->thread);
            work_inside(e);
            gate_job_end(&f->gate);
        } else {
            work_inside(e);
            gate_leave(&f->gate, e->thread);
        }
    }
    return NULL;
}

static void *close_often(void *arg)
{
    struct fixture *f = arg;

    pthread_barrier_wait(&f->start);
    for (int i = 0; i < CLOSINGS; i++) {
        int before[ENTERERS];
        gate_close(&f->gate);
        note(f, atomic_load(&f->exclusive) && atomic_load(&f->gate.jobs) == 0);
        memcpy(before, f->shared, sizeof before);
        f->closings++;
        sched_yield();
        note(f, memcmp(before, f->shared, sizeof before) == 0);
        gate_open(&f->gate);
    }
    atomic_fetch_sub(&f->closers_left, 1);
    return NULL;
}

static void hammer(struct fixture *f, bool jobs)
{
    pthread_t enterers[ENTERERS], closers[CLOSERS];
    struct enterer args[ENTERERS];

    atomic_store(&f->closers_left, CLOSERS);
    pthread_barrier_init(&f->start, NULL, ENTERERS + CLOSERS);
    for (unsigned i = 0; i < ENTERERS; i++) {
        args[i] = (struct enterer){.f = f, .thread = i, .as_job = jobs && i % 2};
        pthread_create(&enterers[i], NULL, enter_often, &args[i]);
    }
    for (unsigned i = 0; i < CLOSERS; i++)
        pthread_create(&closers[i], NULL, close_often, f);
    for (unsigned i = 0; i < ENTERERS; i++)
        pthread_join(enterers[i], NULL);
    for (unsigned i = 0; i < CLOSERS; i++)
        pthread_join(closers[i], NULL);
    assert_int_equal(atomic_load(&f->wrong), 0);
    pthread_barrier_destroy(&f->start);
    assert_int_equal(f->closings, CLOSERS * CLOSINGS);
    for (unsigned i = 0; i < ENTERERS; i++)
        assert_int_equal(f->shared[i], args[i].entered);
    assert_false(gate_closing(&f->gate));
}

static void closers_are_alone(void **state)
{
    hammer(*state, false);
}

static void closers_are_alone_with_jobs(void **state)
{
    hammer(*state, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(closed_keeps_out, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_waits_for_those_inside, setup, teardown),
        cmocka_unit_test_setup_teardown(jobs_keep_it_open, setup, teardown),
        cmocka_unit_test_setup_teardown(closers_are_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(closers_are_alone_with_jobs, setup, teardown),
    };

    alarm(SECONDS);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
