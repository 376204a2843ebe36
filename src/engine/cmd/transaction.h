/* MULTI: the queue of a session and what it watches. Owned like its session. */
#ifndef CMD_TRANSACTION_H
#define CMD_TRANSACTION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/view.h"

struct command;
struct session;
struct watch;

/* A queued command; argv and the bytes are in the arena. */
struct queued {
    const struct command *command;
    struct view *argv;
    int argc;
};

struct transaction {
    bool active; /* between MULTI and EXEC */
    bool failed; /* a command was refused while queueing: EXEC aborts */
    bool grows;  /* a queued command may grow memory */
    struct queued *queue;
    size_t count, cap;
    size_t bytes;       /* charged to the connection */
    struct arena arena; /* of the queued arguments */
    struct watch_set *watched;
    struct watch **watches;
    size_t watch_count, watch_cap;
    size_t watch_bytes; /* part of bytes */
};

/* The session's transaction, made when there was none. */
struct transaction *transaction_of(struct session *s);

/* Will EXEC refuse it, because a command was refused or a watched key has changed? */
bool transaction_broken(const struct transaction *t);

/* Queues a copy of the command, unless the transaction is broken. */
void transaction_queue(struct transaction *t, const struct command *cmd, const struct view *argv, int argc);

/* Brings the session's card up to date. The owner alone changes a card's flags. */
void transaction_show(const struct session *s);

/* Empties queue and watches and leaves MULTI. */
void transaction_reset(struct session *s);

/* Forgets the watches alone. */
void transaction_unwatch(struct session *s);

/* Frees everything; the session has none afterwards. */
void transaction_free(struct session *s);

#endif
