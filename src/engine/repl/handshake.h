/* What a replica and its primary say to each other before the stream begins. All of it waits for the primary. */
#ifndef REPL_HANDSHAKE_H
#define REPL_HANDSHAKE_H

#include <stdint.h>

#include "engine/server/replication.h"

struct peer;
struct server;

enum handshake_answer {
    HANDSHAKE_FULL,     /* everything comes, as a snapshot that belongs to that id and offset */
    HANDSHAKE_CONTINUE, /* the stream goes on where we are; id is its name, "" if that is not told */
    HANDSHAKE_LATER,    /* not yet */
    HANDSHAKE_BROKEN,   /* the connection is of no use */
};

/* Logs in and says who asks: 0, or -1 when that did not go well, which is logged. */
int handshake_introduce(struct peer *p, struct server *s);

/* Asks for the stream from where we are, or for everything. */
enum handshake_answer handshake_psync(struct peer *p, struct server *s, char id[REPLICATION_ID + 1], uint64_t *offset);

#endif
