/*
 * The slow lane: every job runs, in the order of posting, with its thread's executor; a kick is answered once; stopping
 * runs what is queued. The lane never looks into an executor: here they are places to write to without a lock.
 */
#include "engine/exec/lane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define LANES 3
#define POSTERS 4
#define JOBS 500
#define SECONDS 120 /* a job that never runs ends the program */

/* Stands for what the lane hands to its jobs. */
struct executor {
    pthread_t thread;
    int jobs, idles; /* by its thread; read when the lane is stopped */
};

struct event {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int count;
};

static struct executor executors[LANES];
static struct executor *const pointers[LANES] = {&executors[0], &executors[1], &executors[2]};
static struct event ran = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
static struct event idled = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
static struct event go = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
static atomic_uint wrong;

static void event_add(struct event *e)
{
    pthread_mutex_lock(&e->lock);
    e->count++;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

static void event_await(struct event *e, int count)
{
    pthread_mutex_lock(&e->lock);
    while (e->count < count)
        pthread_cond_wait(&e->changed, &e->lock);
    pthread_mutex_unlock(&e->lock);
}

static int setup(void **state)
{
    (void)state;
    memset(executors, 0, sizeof executors);
    ran.count = idled.count = go.count = 0;
    atomic_store(&wrong, 0);
    return 0;
}

/* An executor stays with its thread. */
static void use_executor(struct executor *ex)
{
    if (ex->jobs + ex->idles > 0 && !pthread_equal(ex->thread, pthread_self()))
        atomic_fetch_add(&wrong, 1);
    ex->thread = pthread_self();
}

static void on_idle(struct executor *ex)
{
    use_executor(ex);
    ex->idles++;
    event_add(&idled);
}

static void count_job(struct executor *ex, void *arg)
{
    (void)arg;
    use_executor(ex);
    ex->jobs++;
    event_add(&ran);
}

/* Says that it runs, and ends when it may. */
static void wait_job(struct executor *ex, void *arg)
{
    (void)arg;
    use_executor(ex);
    ex->jobs++;
    event_add(&ran);
    event_await(&go, 1);
}

/* Ends when as many jobs run at once as there are threads. */
static void meet_job(struct executor *ex, void *arg)
{
    use_executor(ex);
    ex->jobs++;
    pthread_barrier_wait(arg);
}

static int jobs_run(void)
{
    int n = 0;

    for (unsigned i = 0; i < LANES; i++)
        n += executors[i].jobs;
    return n;
}

static void *post_many(void *arg)
{
    for (int i = 0; i < JOBS; i++)
        lane_post(arg, count_job, NULL);
    return NULL;
}

static void runs_every_job(void **state)
{
    struct lane *l = lane_start(LANES, 0, pointers, on_idle);
    pthread_t posters[POSTERS];

    (void)state;
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_create(&posters[i], NULL, post_many, l);
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(posters[i], NULL);
    event_await(&ran, POSTERS * JOBS);
    lane_stop(l);
    assert_int_equal(jobs_run(), POSTERS * JOBS);
    assert_int_equal(idled.count, 0);
    assert_int_equal(atomic_load(&wrong), 0);
}

/* One that takes long does not keep the other threads from the rest. */
static void threads_work_at_once(void **state)
{
    struct lane *l = lane_start(LANES, 0, pointers, on_idle);
    pthread_barrier_t barrier;

    (void)state;
    pthread_barrier_init(&barrier, NULL, LANES);
    for (unsigned i = 0; i < 20 * LANES; i++)
        lane_post(l, meet_job, &barrier);
    lane_stop(l);
    assert_int_equal(jobs_run(), 20 * LANES);
    for (unsigned i = 0; i < LANES; i++)
        assert_int_equal(executors[i].jobs, 20);
    assert_int_equal(atomic_load(&wrong), 0);
    pthread_barrier_destroy(&barrier);
}

struct order {
    int next;
    bool good;
};

struct numbered {
    struct order *order;
    int number;
};

static void order_job(struct executor *ex, void *arg)
{
    struct numbered *n = arg;

    (void)ex;
    n->order->good &= n->order->next == n->number;
    n->order->next++;
}

static void keeps_the_order(void **state)
{
    struct lane *l = lane_start(1, 0, pointers, on_idle);
    struct order order = {0, true};
    struct numbered args[JOBS];

    (void)state;
    for (int i = 0; i < JOBS; i++) {
        args[i] = (struct numbered){&order, i};
        lane_post(l, order_job, &args[i]);
    }
    lane_stop(l);
    assert_int_equal(order.next, JOBS);
    assert_true(order.good);
}

/* Each kick that comes after the last one was answered is answered. */
static void answers_kicks(void **state)
{
    struct lane *l = lane_start(LANES, 0, pointers, on_idle);

    (void)state;
    for (int i = 1; i <= 100; i++) {
        lane_kick(l);
        event_await(&idled, i);
    }
    lane_stop(l);
    assert_int_equal(idled.count, 100);
    assert_int_equal(atomic_load(&wrong), 0);
}

/* Kicks that nobody had time for are one; jobs go first, and stopping does not forget the kick. */
static void kicks_come_together(void **state)
{
    struct lane *l = lane_start(1, 0, pointers, on_idle);

    (void)state;
    lane_post(l, wait_job, NULL);
    event_await(&ran, 1);
    for (int i = 0; i < 5; i++)
        lane_kick(l);
    lane_post(l, count_job, NULL);
    event_add(&go);
    event_await(&ran, 2);
    lane_stop(l);
    assert_int_equal(idled.count, 1);
    assert_int_equal(executors[0].jobs, 2);
}

static void *stop_lane(void *arg)
{
    lane_stop(arg);
    event_add(&idled);
    return NULL;
}

/* A job holds locks of somebody's keys: stopping runs all that are queued, and returns after the last. */
static void stops_behind_the_queue(void **state)
{
    struct lane *l = lane_start(LANES, 0, pointers, on_idle);
    pthread_t stopper;

    (void)state;
    for (unsigned i = 0; i < LANES; i++)
        lane_post(l, wait_job, NULL);
    event_await(&ran, LANES);
    for (int i = 0; i < JOBS; i++)
        lane_post(l, count_job, NULL);
    pthread_create(&stopper, NULL, stop_lane, l);
    assert_int_equal(jobs_run(), LANES);
    event_add(&go);
    pthread_join(stopper, NULL);
    assert_int_equal(idled.count, 1);
    assert_int_equal(jobs_run(), LANES + JOBS);
    assert_int_equal(atomic_load(&wrong), 0);
}

struct chain {
    struct lane *lane;
    int left;
};

static void chain_job(struct executor *ex, void *arg)
{
    struct chain *c = arg;

    count_job(ex, NULL);
    if (--c->left > 0)
        lane_post(c->lane, chain_job, c);
}

/* Also while it stops. */
static void jobs_may_post_jobs(void **state)
{
    struct lane *l = lane_start(LANES, 0, pointers, on_idle);
    struct chain chain = {l, JOBS};

    (void)state;
    lane_post(l, chain_job, &chain);
    lane_stop(l);
    assert_int_equal(chain.left, 0);
    assert_int_equal(jobs_run(), JOBS);
    assert_int_equal(atomic_load(&wrong), 0);
}

static void stops_idle(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= LANES; n++)
        lane_stop(lane_start(n, 0, pointers, on_idle));
    lane_stop(NULL);
    assert_int_equal(jobs_run(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(runs_every_job, setup),      cmocka_unit_test_setup(threads_work_at_once, setup),
        cmocka_unit_test_setup(keeps_the_order, setup),     cmocka_unit_test_setup(answers_kicks, setup),
        cmocka_unit_test_setup(kicks_come_together, setup), cmocka_unit_test_setup(stops_behind_the_queue, setup),
        cmocka_unit_test_setup(jobs_may_post_jobs, setup),  cmocka_unit_test_setup(stops_idle, setup),
    };

    alarm(SECONDS);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
