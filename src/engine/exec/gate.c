/* The gate: see gate.h. */
#include "engine/exec/gate.h"

#include "base/clock.h"

#define RETRY_US 500         /* a closing that is not complete by then lets the others in again */
#define INSIST_US 1000000    /* but not for longer than this */
#define PATIENCE_US 10000000 /* for slow-lane jobs that hold partitions, before it is closed beside them */
#define JOBS_WAIT_US 50
#define BREATH_US 300 /* between two closings, when somebody waits */

void gate_init(struct gate *g, atomic_bool *exclusive, void (*opened)(void *arg), void *arg)
{
    pthread_mutex_init(&g->lock, NULL);
    g->exclusive = exclusive;
    g->opened = opened;
    g->arg = arg;
}

void gate_job_begin(struct gate *g)
{
    atomic_fetch_add(&g->jobs, 1);
}

void gate_job_end(struct gate *g)
{
    atomic_fetch_sub(&g->jobs, 1);
}

static bool all_out(struct gate *g)
{
    for (unsigned i = 0; i < THREAD_MAX; i++)
        if (atomic_load(&g->lines[i].in) != 0)
            return false;
    return atomic_load(&g->jobs) == 0;
}

void gate_close(struct gate *g)
{
    int64_t start = clock_mono_us(), since;

    pthread_mutex_lock(&g->lock);
    while (atomic_load(&g->jobs) > 0 && clock_mono_us() - start < PATIENCE_US)
        clock_sleep_us(JOBS_WAIT_US); /* closed for a job's sake, it would stop everybody for as long as that takes */
    while (clock_mono_us() - g->opened_us < BREATH_US)
        clock_sleep_us(JOBS_WAIT_US); /* who was turned away the last time must not meet it closed for ever */
    start = clock_mono_us();
    for (;;) {
        since = clock_mono_us();
        atomic_store(&g->closed, true);
        while (!all_out(g)) {
            int64_t now = clock_mono_us();
            if (now - since > RETRY_US && now - start < INSIST_US)
                break;
            clock_sleep_us(5);
        }
        if (all_out(g))
            break;
        atomic_store(&g->closed, false);
        g->opened(g->arg);
        clock_sleep_us(RETRY_US);
    }
    atomic_store(g->exclusive, true);
}

void gate_open(struct gate *g)
{
    g->opened_us = atomic_exchange(&g->turned_away, 0) > 0 ? clock_mono_us() : 0;
    atomic_store(g->exclusive, false);
    atomic_store(&g->closed, false);
    pthread_mutex_unlock(&g->lock);
    g->opened(g->arg);
}
