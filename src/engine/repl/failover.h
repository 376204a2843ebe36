/* The coordinated exchange of roles (FAILOVER): writes are held back, the replica catches up, it is told to take over,
 * and this server follows it. */
#ifndef REPL_FAILOVER_H
#define REPL_FAILOVER_H

#include <stdbool.h>

struct replication;
struct server;

#define FAILOVER_STEP_MS 5

/* Goes on with one, while this server is the primary; false when there is none. The link's thread. */
bool failover_step(struct server *s);

/* This server was told to give it up though it follows already; does that. False when there is nothing of the kind. */
bool failover_abort(struct server *s);

/* The new primary took over. */
void failover_done(struct replication *r);

#endif
