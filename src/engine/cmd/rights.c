/* Which commands there are for a session: see rights.h. */
#include "engine/cmd/rights.h"

#include "engine/server/config.h"

struct rights rights_of(const struct config *c, const struct session *s)
{
    static const uint32_t without[] = {
        [CLIENT_COMMANDS_ALL] = 0,
        [CLIENT_COMMANDS_RELAXED] = COMMAND_NO_RELAXED,
        [CLIENT_COMMANDS_MANAGED] = COMMAND_NO_RELAXED | COMMAND_NO_MANAGED,
        [CLIENT_COMMANDS_STRICT] = COMMAND_NO_RELAXED | COMMAND_NO_MANAGED | COMMAND_NO_STRICT,
    };

    if (s->admin || s->replays)
        return (struct rights){0, 0};
    if (s->replica_login)
        return (struct rights){COMMAND_REPLICA_LOGIN, COMMAND_REPLICA_LOGIN};
    return (struct rights){without[atomic_load_explicit(&c->client_commands, memory_order_relaxed)], 0};
}
