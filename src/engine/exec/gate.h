/*
 * The gate: serves commands that need everything. Every thread that executes commands enters by marking a cache line
 * of its own, once per batch, and leaves it; the closer, a thread that may wait, waits until all are out. What meets
 * a closed gate is parked, not its loop.
 *
 * Entering is a sequentially consistent exchange followed by a load of `closed`; closing is a sequentially consistent
 * store followed by loads of the lines: one of the two sees the other.
 */
#ifndef EXEC_GATE_H
#define EXEC_GATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "engine/store/thread.h"

struct gate_line {
    atomic_uint in;
} __attribute__((aligned(64)));

struct gate {
    struct gate_line lines[THREAD_MAX];
    atomic_bool closed;
    atomic_uint turned_away; /* how often somebody met it closed since it closed last */
    int64_t opened_us;       /* monotonic, when it did so last, if somebody was turned away; under `lock` */
    atomic_uint jobs;        /* slow-lane jobs that hold partitions */
    pthread_mutex_t lock;    /* one closer at a time */
    atomic_bool *exclusive;  /* the keyspace's mark, for its checks */
    void (*opened)(void *arg);
    void *arg;
};

/* opened is called after each opening: it wakes what was parked. */
void gate_init(struct gate *g, atomic_bool *exclusive, void (*opened)(void *arg), void *arg);

/* False when it is closed: the caller is out. */
static inline bool gate_enter(struct gate *g, unsigned thread)
{
    atomic_exchange(&g->lines[thread].in, 1);
    if (__builtin_expect(!atomic_load(&g->closed), 1))
        return true;
    atomic_store_explicit(&g->lines[thread].in, 0, memory_order_release);
    atomic_fetch_add_explicit(&g->turned_away, 1, memory_order_relaxed);
    return false;
}

static inline void gate_leave(struct gate *g, unsigned thread)
{
    atomic_store_explicit(&g->lines[thread].in, 0, memory_order_release);
}

/* Is somebody waiting for everybody to leave? Asked between the commands of a batch. */
static inline bool gate_closing(struct gate *g)
{
    return atomic_load_explicit(&g->closed, memory_order_acquire);
}

/* A job with partitions goes from an entered worker to the slow lane, and ends there. */
void gate_job_begin(struct gate *g);
void gate_job_end(struct gate *g);

/* Waits until everybody is out, and keeps them out. Slow-lane threads, holding nothing. */
void gate_close(struct gate *g);
void gate_open(struct gate *g);

#endif
