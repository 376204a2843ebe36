/* The snapshot of a full synchronisation, from the primary's connection into a stage. */
#ifndef REPL_TRANSFER_H
#define REPL_TRANSFER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/server/replication.h"

struct peer;
struct server;
struct stage;
struct thread;

struct transfer {
    struct peer *peer;
    struct server *server;
    struct thread *thread;
    struct stage *stage;
    bool (*goes_on)(void *arg); /* asked before each read: is it still wanted? */
    void *arg;

    /* What the snapshot says besides its keys. */
    uint64_t stream_db; /* the database that the stream is on behind it */
    uint64_t function_count;

    /* The transfer's own. */
    uint64_t left; /* bytes of the snapshot, when its length is known */
    bool by_mark;  /* else it is */
    char mark[REPLICATION_ID];
    uint32_t db;
};

/* Receives all of it, and finishes the stage: 0, or -1 when that failed, which is logged. What stands behind the snapshot
 * stays with the peer. */
int transfer_receive(struct transfer *t);

#endif
