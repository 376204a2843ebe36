/*
 * The ordered log: the server's effects as one stream of bytes, which is exactly Redis's replication stream. Replicas,
 * the append-only file and the backlog read it.
 *
 * A place in it is taken by a compare-and-swap on {offset, database}, while the partitions of the command are held, so
 * the order of the log is the order of effects; and because the stream's database is part of the word, SELECT stands
 * exactly where it changes. The bytes are filled in afterwards: each thread says before it takes a place where that can
 * begin at the earliest (`pending`), and readers see what lies below everybody's pending place.
 *
 * Storage is a chain of blocks, found by their number in a ring. A block goes when every reader has passed it and it is
 * older than what is to be retained. Readers are never waited for: one that falls too far behind is told that it lost
 * its place.
 *
 * Rejected: a mutex around appending (whoever is preempted in it stops all writers), and a stream per thread that
 * readers merge (an order would have to be found again).
 */
#ifndef LOG_OPLOG_H
#define LOG_OPLOG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

struct effects;
struct iovec;

#define OPLOG_BLOCK_BITS 18 /* 256 KiB */
#define OPLOG_BLOCK ((uint64_t)1 << OPLOG_BLOCK_BITS)
#define OPLOG_RING 65536u                                             /* blocks that there can be: 16 GiB */
#define OPLOG_SPAN_MAX ((uint64_t)OPLOG_RING / 2 << OPLOG_BLOCK_BITS) /* a reader further behind loses its place */
#define OPLOG_THREADS 160
#define OPLOG_SAME_DB (-1)

/* Embedded in its owner. From attaching to detaching it pins everything from `position` on. */
struct oplog_reader {
    struct oplog_reader *next;
    _Atomic uint64_t position;
    atomic_bool asleep;
    atomic_bool lost; /* it is too far behind: to be detached by its owner, soon */
    /* There is something to read, or it is lost. Called on any thread; must only post. */
    void (*wake)(void *arg);
    void *arg;
};

struct oplog_line {
    _Atomic uint64_t pending; /* nothing that this thread still fills lies below; UINT64_MAX: nothing to fill */
    uint64_t end;             /* of what it appended last; its own */
    bool dirty;               /* it appended since oplog_wake; its own */
} __attribute__((aligned(64)));

struct oplog {
    _Atomic uint64_t head; /* offset since origin, 47 bits; above it database + 1, 0 for none */
    char line1[56];
    _Atomic uint64_t origin; /* changes with the gate closed, as `version` tells */
    atomic_uint version;     /* odd while origin and head change together */
    atomic_bool active;      /* changes with the gate closed */
    atomic_uint sleepers;
    _Atomic uint64_t first;  /* the oldest byte that is there */
    _Atomic uint64_t retain; /* bytes to be kept behind the tail whether somebody reads them or not */
    _Atomic uint64_t bytes;  /* of blocks, the spare ones included */
    pthread_mutex_t lock;    /* readers, spare blocks, freeing */
    struct oplog_reader *readers;
    void **spare;
    unsigned spare_count;
    unsigned threads; /* those that append have numbers below */
    _Atomic(char *) *ring;
    struct oplog_line lines[OPLOG_THREADS];
};

/* Not active, at offset 0. */
struct oplog *oplog_new(void);
void oplog_free(struct oplog *log);

/* Only threads with numbers below n append: at start, before any does. */
void oplog_limit_threads(struct oplog *log, unsigned n);

/* Is anything to be appended? Changes only with the gate closed. */
static inline bool oplog_active(const struct oplog *log)
{
    return atomic_load_explicit(&((struct oplog *)log)->active, memory_order_relaxed);
}

/* Starts or ends logging. Ending drops what is there; the offset stays. Gate closed; ending needs that no reader is left. */
void oplog_start(struct oplog *log);
void oplog_stop(struct oplog *log);

/* Empties the log and goes on at that offset. Gate closed, and no reader is attached. */
void oplog_restart(struct oplog *log, uint64_t offset);

/* The next effect says its database, whatever the last one's was. Gate closed. */
void oplog_forget_db(struct oplog *log);

/* With the gate closed, now and then: keeps offsets since the origin short. True when that is due. */
bool oplog_rebase_due(const struct oplog *log);
void oplog_rebase(struct oplog *log);

/* Appends the effects, in MULTI and EXEC when there are several. Returns where they end. The partitions that they touch
 * are held, or the gate is closed. */
uint64_t oplog_append(struct oplog *log, unsigned thread, const struct effects *e);

/* The same for one command in RESP on database db. */
uint64_t oplog_append_raw(struct oplog *log, unsigned thread, uint32_t db, struct view raw);

/* Appends bytes as they are: a primary's stream, which is on database db then; OPLOG_SAME_DB for what is on none. */
uint64_t oplog_append_verbatim(struct oplog *log, unsigned thread, struct view bytes, int64_t db);

/* After a batch: wakes the readers that sleep, if this thread appended. */
void oplog_wake_slow(struct oplog *log, unsigned thread);
static inline void oplog_wake(struct oplog *log, unsigned thread)
{
    if (log->lines[thread].dirty)
        oplog_wake_slow(log, thread);
}

/* Did it append since oplog_wake? */
static inline bool oplog_appended(const struct oplog *log, unsigned thread)
{
    return log->lines[thread].dirty;
}

/* Where the thread's last append ended. Its own. */
static inline uint64_t oplog_end(const struct oplog *log, unsigned thread)
{
    return log->lines[thread].end;
}

/* The end of what has a place; and of what can be read, which may seem to go back a little: what was seen before stays
 * readable. Any thread. */
uint64_t oplog_head(const struct oplog *log);
uint64_t oplog_tail(const struct oplog *log);

/* The database of the stream's end, -1 for none: exact with the gate closed. */
int64_t oplog_db(const struct oplog *log);

/* The oldest byte that a reader can still begin at. */
static inline uint64_t oplog_first(const struct oplog *log)
{
    return atomic_load_explicit(&((struct oplog *)log)->first, memory_order_acquire);
}

/* How many bytes to keep behind the tail. */
void oplog_retain(struct oplog *log, uint64_t bytes);

/* Attaches a reader at that position; false when that is no longer, or not yet, there. wake and arg are set. */
bool oplog_attach(struct oplog *log, struct oplog_reader *r, uint64_t position);
void oplog_detach(struct oplog *log, struct oplog_reader *r);

/* Is any reader attached? */
bool oplog_read_by_anyone(struct oplog *log);

/* Fills iov with what can be read from offset `from`, not below the reader's position, up to `end`, a tail seen before;
 * max entries at most. Returns how many. */
int oplog_gather(const struct oplog *log, uint64_t from, uint64_t end, struct iovec *iov, int max);

/* The reader needs nothing below that any more. */
void oplog_advance(struct oplog *log, struct oplog_reader *r, uint64_t position);

/* The reader wants to be woken when the tail is beyond `seen`; false when it is already. */
bool oplog_sleep(struct oplog *log, struct oplog_reader *r, uint64_t seen);

#endif
