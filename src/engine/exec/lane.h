/* A queue of the slow lane, and its threads: for work that would hold up a worker. What
 * goes into which queue: enum exec_lane. */
#ifndef EXEC_LANE_H
#define EXEC_LANE_H

#include <stdbool.h>

struct executor;
struct lane;

typedef void lane_fn(struct executor *ex, void *arg);

/* Starts n threads of that nice value; each runs its jobs with the executor of its number. idle is called on one of
 * them after lane_kick, with work that has no connection. */
struct lane *lane_start(unsigned n, int nice, struct executor *const *executors, void (*idle)(struct executor *ex));

/* Runs fn(ex, arg) on one of the threads, in the order of posting. Any thread. */
void lane_post(struct lane *l, lane_fn *fn, void *arg);

/* Any thread: there may be something to reclaim. */
void lane_kick(struct lane *l);

/* Runs what was posted to its end, then ends the threads. */
void lane_stop(struct lane *l);

#endif
