/*
 * A snapshot in the making: the data as it was at one cut (store/cut.h), as pieces of an RDB file that one thread takes
 * and writes wherever they are wanted.
 *
 * Workers encode: what they are about to change, and, in steps between their events, their part of the rest. Each thread
 * has an output of its own; when that is full, it joins the queue as a piece, which begins by naming its database, so
 * that pieces may follow each other in any order. Values of RDB_BIG bytes and more are not copied: the piece refers to
 * the blob, which is immutable from then on, and the writing thread encodes it.
 *
 * The walk stops while QUEUE_MAX bytes wait; what is saved because it changes never waits.
 */
#ifndef PERSIST_SNAPSHOT_H
#define PERSIST_SNAPSHOT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "engine/persist/rdb_write.h"
#include "engine/store/thread.h"

struct blob;
struct keyspace;

/* A part of the file: bytes, then the string of a blob, if there is one. Whoever takes it frees it. */
struct snapshot_piece {
    struct snapshot_piece *next;
    struct buf bytes;
    struct blob *big; /* a reference of its own, or NULL */
};

struct snapshot_out {
    struct buf buf;
    uint32_t db;
    bool has_db;
} __attribute__((aligned(64)));

/* A worker's part in the walk. */
struct snapshot_share {
    uint32_t partition; /* claimed, and not done */
    uint32_t cut;       /* it was claimed for */
    bool claimed;
    int64_t due_us; /* monotonic: no step before, while there is other work */
};

struct snapshot {
    struct keyspace *keyspace;
    struct rdb_options options;
    atomic_bool walking; /* there are partitions to be walked */
    atomic_uint next;    /* partition that nobody has claimed */
    atomic_uint left;    /* partitions that are not done */
    struct snapshot_out outs[THREAD_MAX];
    pthread_mutex_t lock; /* the queue */
    pthread_cond_t ready;
    struct snapshot_piece *head, **tail;
    _Atomic size_t queued; /* bytes */
    atomic_uint_fast64_t keys;
};

void snapshot_init(struct snapshot *s, struct keyspace *ks);
void snapshot_free(struct snapshot *s);

/* Takes the cut. Gate closed. */
void snapshot_begin(struct snapshot *s, const struct rdb_options *o);

/* A worker's step, inside the gate; idle: it has nothing else to do. Returns in how many microseconds it wants another:
 * INT64_MAX when there is nothing left to walk. */
int64_t snapshot_step(struct snapshot *s, struct thread *t, struct snapshot_share *share, bool idle);

static inline bool snapshot_walking(const struct snapshot *s)
{
    return atomic_load_explicit(&((struct snapshot *)s)->walking, memory_order_relaxed);
}

/* Does so much wait that whoever need not add to it should not? */
bool snapshot_full(const struct snapshot *s);

/* Takes the next piece, waiting for one up to wait_ms; NULL when there is none. */
struct snapshot_piece *snapshot_take(struct snapshot *s, unsigned wait_ms);
void snapshot_piece_free(struct snapshot_piece *p);

/* Is everything that there was at the cut in the queue, or in the threads' outputs? */
bool snapshot_walked(struct snapshot *s);

/* Ends it, and puts what the threads' outputs hold into the queue. Gate closed. */
void snapshot_end(struct snapshot *s);

/* Drops what is in the queue. */
void snapshot_drop(struct snapshot *s);

/* Wakes the thread that takes. */
void snapshot_wake(struct snapshot *s);

#endif
