/* Workers: threads that each run an epoll loop over connections of their own and execute any command. */
#ifndef NET_WORKER_H
#define NET_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "engine/exec/executor.h"
#include "engine/net/inbox.h"
#include "engine/net/listeners.h"
#include "engine/server/defrag_cycle.h"

struct conn;
struct worker_tally;

struct worker {
    struct executor ex;
    unsigned index;        /* among the workers */
    struct worker **peers; /* all workers */
    unsigned peer_count;
    struct listeners *listeners;
    struct worker_tally *tally;
    pthread_t thread;
    int epoll;
    int watched[LISTENERS_MAX]; /* listeners in epoll */
    unsigned watched_count;
    struct inbox inbox;
    struct conn **conns; /* by slot; NULL: free */
    uint32_t conn_cap, conn_used;
    struct handle *later; /* connections that go on in the next turn, by their handles */
    unsigned later_count, later_cap;
    uint64_t turn_end;    /* clock_ticks at which this turn should be over */
    struct conn *closed;  /* to be freed at the end of the turn */
    atomic_uint load;     /* connections, those on their way included */
    struct buf spare;     /* an input buffer for whoever reads next */
    int64_t now_ms;       /* wall clock of this turn */
    unsigned held;        /* connections in CONN_HELD */
    uint32_t expire_next; /* partition where expiry goes on */
    int64_t expire_due_ms, tick_due_ms;
    struct defrag_share defrag;
    bool stopping;
};

/* Prepares a worker; main starts worker_run on its thread. */
void worker_init(struct worker *w, struct exec_shared *shared, struct thread *thread, unsigned index,
                 struct listeners *listeners);

/* The loop, until MESSAGE_STOP. arg: struct worker. */
void *worker_run(void *arg);

void worker_free(struct worker *w);

#endif
