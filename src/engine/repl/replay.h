/*
 * Replaying a log: commands out of a primary's stream, or of an append-only file, run on a thread of its own, which may
 * wait for partitions and the gate. What stands between MULTI and EXEC is run as one.
 */
#ifndef REPL_REPLAY_H
#define REPL_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "engine/cmd/reply.h"
#include "engine/exec/executor.h"
#include "engine/proto/resp.h"

struct card;

struct replay {
    struct executor *ex;
    struct exec_client client;
    struct reply sink;
    struct card *card;
    struct buf in;               /* received, and not run yet; begins with the MULTI of an open transaction */
    size_t parsed;               /* of it: what is queued in that transaction */
    struct resp_partial partial; /* of the request behind that, when it is a long array that has not arrived whole */
    size_t need;                 /* bytes there must be before parsing is worth it */
    bool verbatim;               /* the bytes go into our own log */
    uint64_t commands;
    /* "REPLCONF GETACK" came, and everything before it is done; may be NULL. */
    void (*asked)(void *arg);
    void *arg;
};

/* ex: the executor of the thread that replays. */
void replay_init(struct replay *r, struct executor *ex, bool verbatim);
void replay_free(struct replay *r);

/* Begins anew, on database db. */
void replay_reset(struct replay *r, uint32_t db);

/* Runs what is complete in r->in, for about budget_us. Returns 1 when there may be more to run, 0 when more must arrive,
 * -1 when it is not the protocol. */
int replay_run(struct replay *r, int64_t budget_us);

/* One command that was read otherwise; argv lives for the call. */
void replay_command(struct replay *r, const struct view *argv, int argc);

/* The database that it is on. */
uint32_t replay_db(const struct replay *r);

#endif
