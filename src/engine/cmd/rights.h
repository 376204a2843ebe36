/*
 * Which commands there are for a session. What `client-commands` withholds from clients, and all that a replica's login
 * is not for, is no command for them: it is answered as a name that nobody knows, and COMMAND does not list it. This
 * comes before login, ACL and everything else. The admin socket and logs that are replayed have everything.
 *
 * It is looked at where requests are parsed: a mask over the flags of the command, which are read next anyway.
 */
#ifndef CMD_RIGHTS_H
#define CMD_RIGHTS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/cmd/command.h"
#include "engine/cmd/session.h"

struct config;

#define RIGHTS_REPLICA "larder-replica" /* the user whose password is replication-secret */

struct rights {
    uint32_t mask;  /* the flags that count */
    uint32_t value; /* which of those a command must have, and no others */
};

/* Those of the session, as the configuration is now. */
struct rights rights_of(const struct config *c, const struct session *s);

static inline bool rights_cover(struct rights r, const struct command *cmd)
{
    return (cmd->flags & r.mask) == r.value;
}

#endif
