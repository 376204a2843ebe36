/* When to defragment: cycles in which every worker walks its partitions once, for a share of its time. */
#ifndef SERVER_DEFRAG_CYCLE_H
#define SERVER_DEFRAG_CYCLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/store/defrag.h"

struct server;
struct thread;

/* Shared by the workers, in struct server. */
struct defrag_cycle {
    _Atomic uint32_t number;  /* of the cycle that runs or ran last; changes when one begins */
    _Atomic uint32_t walking; /* workers that are not through */
    _Atomic int64_t percent;  /* of a worker's time; 0: no cycle runs */
    _Atomic int wanted;       /* enum defrag_turn: what the slow lane is to do; it resets it when that is done */
    int64_t due_ms;           /* no cycle before; worker 0's, and the slow lane's while it is wanted */
    uint64_t pages;           /* in use when the cycle began; likewise */
};

enum defrag_turn { DEFRAG_TURN_NONE, DEFRAG_TURN_BEGIN, DEFRAG_TURN_END };

/* A worker's part. */
struct defrag_share {
    uint32_t number; /* of the cycle it took part in last */
    bool walking;
    struct defrag_walk walk;
    uint32_t to;    /* end of its partitions */
    int64_t due_us; /* monotonic: when the next step may begin */
};

/* Decides by the configuration's thresholds whether a cycle is to begin or to end, which defrag_cycle_turn
 * then does; worker 0's timer. */
void defrag_cycle_tick(struct server *s, int64_t now_ms);

/* Begins or ends a cycle if that is wanted: looks at all pages of the heap. Slow lane. */
void defrag_cycle_turn(struct server *s);

/*
 * Does the step of worker t, owner of partitions [from, to), that is due. The caller has entered the gate. Returns the
 * milliseconds until the next one, INT64_MAX when it has none.
 */
int64_t defrag_cycle_step(struct server *s, struct thread *t, struct defrag_share *share, uint32_t from, uint32_t to);

/* Is a cycle running? Any thread. */
bool defrag_cycle_running(const struct server *s);

#endif
