/* Defragmentation: moves items out of the heap's draining pages, and rebuilds segments that became too large. */
#ifndef STORE_DEFRAG_H
#define STORE_DEFRAG_H

#include <stdbool.h>
#include <stdint.h>

struct keyspace;
struct thread;

/* Where a walk goes on; all zero but for the partition is its start. */
struct defrag_walk {
    uint32_t partition;
    unsigned db;
    uint64_t position; /* in the table */
};

/*
 * Goes on with the walk up to partition `to`, for about budget_us, a segment at a time. Partitions that are taken are
 * passed by. The caller has entered the gate. Returns true when the walk is over.
 */
bool defrag_step(struct keyspace *ks, struct thread *t, uint32_t to, struct defrag_walk *walk, int64_t budget_us);

#endif
