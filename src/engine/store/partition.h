/*
 * A partition's lock and the lists that belong to its keys. Locks are tried, never waited for, except by those
 * who may wait (the slow lane and the admin socket's thread, in ascending order: docs/locks.md). A lock that somebody parked for is marked, and letting go
 * of it wakes them.
 */
#ifndef STORE_PARTITION_H
#define STORE_PARTITION_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct watch;

enum partition_word { PARTITION_FREE = 0, PARTITION_HELD = 1, PARTITION_WANTED = 3 };

struct partition {
    _Atomic uint32_t word; /* enum partition_word */
    struct watch *watches; /* watched keys of this partition (store/watch.h); held */
    void *waiters;         /* clients that wait for a key of it to be filled; held */
} __attribute__((aligned(64)));

/* One attempt. */
static inline bool partition_try(struct partition *p)
{
    uint32_t is_free = PARTITION_FREE;

    return atomic_load_explicit(&p->word, memory_order_relaxed) == PARTITION_FREE &&
           atomic_compare_exchange_strong_explicit(&p->word, &is_free, PARTITION_HELD, memory_order_acquire,
                                                   memory_order_relaxed);
}

/* Attempts for about 2 us. */
bool partition_try_briefly(struct partition *p);

/* Lets go; true when somebody marked it as wanted and must be woken. */
static inline bool partition_release(struct partition *p)
{
    uint32_t was = atomic_exchange_explicit(&p->word, PARTITION_FREE, memory_order_release);

    assert(was != PARTITION_FREE);
    return was == PARTITION_WANTED;
}

/* Marks a held lock as wanted. False when it is free: try again instead of parking. */
static inline bool partition_want(struct partition *p)
{
    uint32_t word = atomic_load_explicit(&p->word, memory_order_relaxed);

    while (word == PARTITION_HELD)
        if (atomic_compare_exchange_weak_explicit(&p->word, &word, PARTITION_WANTED, memory_order_relaxed,
                                                  memory_order_relaxed))
            return true;
    return word == PARTITION_WANTED;
}

static inline bool partition_held(const struct partition *p)
{
    return atomic_load_explicit(&((struct partition *)p)->word, memory_order_relaxed) != PARTITION_FREE;
}

#endif
