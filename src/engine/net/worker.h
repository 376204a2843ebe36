/* Workers: threads that each run an epoll loop over connections of their own and execute any command. */
#ifndef NET_WORKER_H
#define NET_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "engine/exec/executor.h"
#include "engine/net/accept.h"
#include "engine/net/inbox.h"
#include "engine/net/listeners.h"
#include "engine/persist/snapshot.h"
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
    struct listener *watched[LISTENERS_MAX]; /* listeners in epoll, but for those times when it is deaf */
    unsigned watched_count;
    bool deaf; /* cannot accept for want of files or memory */
    struct inbox inbox;
    const struct message *messages; /* taken from the inbox, and handled up to message_next */
    size_t message_next, message_count;
    struct conn **conns; /* by slot; NULL: free */
    uint32_t conn_cap, conn_used;
    uint32_t slot_next;              /* where the search for a free slot goes on */
    uint32_t check_next;             /* slot where the check of limits goes on */
    uint32_t retry_next, retry_left; /* slots that resuming the held goes on with */
    struct strangers strangers;
    struct handle *later; /* connections that go on in the next turn, by their handles */
    unsigned later_count, later_cap;
    uint64_t turn_end;   /* clock_ticks at which this turn should be over */
    uint64_t slow_ticks; /* a command that takes longer may end its batch */
    struct conn *closed; /* to be freed at the end of the turn */
    struct conn **feeds; /* replicas that get the stream */
    unsigned feed_count, feed_cap;
    struct handle *waiting; /* connections whose command or replies wait (conn_progress) */
    unsigned waiting_count, waiting_cap;
    bool look_again;     /* at those, in this turn: one of them is new */
    int64_t wait_due_ms; /* monotonic: the earliest end of a wait; INT64_MAX: none */
    struct snapshot_share snapshot;
    atomic_uint load;     /* connections, those on their way included */
    struct buf spare;     /* an input buffer for whoever reads next */
    int64_t now_ms;       /* wall clock of this turn */
    int64_t mono_ms;      /* monotonic clock of this turn */
    int64_t event_us;     /* monotonic: when there were events last */
    unsigned held;        /* connections in CONN_HELD */
    bool paused;          /* CLIENT PAUSE was in force at the end of the turn before */
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

/* The connection with that slot and id; NULL when it is gone. */
struct conn *worker_conn(struct worker *w, uint32_t slot, uint64_t id);

/* Adds fd to epoll. Tags of what is no connection are worker_tag's. */
void worker_watch(struct worker *w, int fd, void *tag, uint32_t events);
void *worker_tag(int fd);

#endif
