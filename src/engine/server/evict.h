/* Keeping maxmemory: eviction by sampling random partitions, by the policy of maxmemory-policy. */
#ifndef SERVER_EVICT_H
#define SERVER_EVICT_H

struct server;
struct thread;

/* Lets every thread look at maxmemory before its next command that may grow memory. */
void evict_call_in(struct server *s);

enum evict_room {
    EVICT_ROOM,    /* the command may run */
    EVICT_NO_ROOM, /* nothing more can be evicted: it is to be refused */
    EVICT_LATER,   /* much must go first, more than a worker has time for: ask again */
};

/* Before a command that may grow memory, on its thread, inside the gate, with no partition held. */
enum evict_room evict_make_room(struct server *s, struct thread *t);

#endif
