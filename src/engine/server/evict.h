/* Keeping maxmemory: eviction by sampling random partitions, by the policy of maxmemory-policy. */
#ifndef SERVER_EVICT_H
#define SERVER_EVICT_H

#include <stdbool.h>

struct server;
struct thread;

/* Before a command that may grow memory, with no partition held: evicts until memory is below maxmemory. False when
 * nothing more can be evicted: the command is to be refused. */
bool evict_make_room(struct server *s, struct thread *t);

/* Is memory above maxmemory now? */
bool evict_over_limit(struct server *s, struct thread *t);

#endif
