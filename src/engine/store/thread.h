/*
 * What one executing thread owns: its allocator front, its random numbers, its counters. A worker, a slow-lane thread
 * and the admin thread have one each. Counters are written by their thread alone (relaxed) and summed by readers.
 */
#ifndef STORE_THREAD_H
#define STORE_THREAD_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/random.h"

#define THREAD_MAX 160 /* workers, slow lane and admin together */

struct heap;

/* A counter with one writer. */
typedef _Atomic int64_t tally;

static inline void tally_add(tally *t, int64_t n)
{
    atomic_store_explicit(t, atomic_load_explicit(t, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline int64_t tally_read(const tally *t)
{
    return atomic_load_explicit((tally *)t, memory_order_relaxed);
}

/* Per database: summed over threads it is exact while the gate is closed. */
struct db_tally {
    tally keys;    /* keys present */
    tally expires; /* of those, keys with an expiry */
};

struct thread {
    unsigned index;    /* 0 .. THREAD_MAX - 1 */
    struct heap *heap; /* block allocator front (store/heap.h) */
    struct random random;
    struct db_tally *db; /* one per database */
    int64_t credit;      /* bytes it may use before it looks at maxmemory again (server/evict.c) */
    unsigned credit_epoch;
    int64_t credit_mark; /* what it used when it looked at its credit last */

    int64_t rested_us; /* monotonic: when it last slept in the middle of long work (exec_let_in) */

    /* statistics */
    tally hits, misses, expired, evicted, expired_lazily;
    tally rejected, changes;
    tally net_in, net_out, reads, writes, connections, refused;
    tally expire_us, expire_stops; /* time in active expiry, steps that ended for want of time */
    tally defrag_moved, defrag_scanned;
    tally parks, gate_passes, lane_jobs;
    tally replication_in, replication_out; /* bytes of streams and snapshots */
};

#endif
