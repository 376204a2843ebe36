/*
 * The link to a primary, kept by a thread of its own: it connects, synchronises, and replays the primary's stream. While
 * there is no primary to follow it sleeps, or carries out a coordinated failover. It also loads the data at start,
 * because that is replaying, too.
 *
 * A full synchronisation streams into a stage (store/stage.h) while the old data is served, and takes its place with the
 * gate closed. If the connection breaks, the stream goes on where it ended: what was received and not run is dropped,
 * and asked for again.
 */
#ifndef REPL_LINK_H
#define REPL_LINK_H

#include <stdbool.h>

#include "engine/exec/executor.h"

struct link;

/* Starts the thread, which first loads the data. loaded(arg, ok) is called on it when that is done; not ok: the process
 * must not go on. */
struct link *link_start(struct exec_shared *shared, struct thread *thread, void (*loaded)(void *arg, bool ok),
                        void *arg);

/* Whom to follow changed, or a failover was asked for. Any thread. */
void link_wake(struct link *l);

/* Ends the thread. Accepts NULL. */
void link_stop(struct link *l);

#endif
