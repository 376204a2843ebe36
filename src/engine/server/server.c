/* What commands may rely on once they are answered: see server.h. */
#include "engine/server/server.h"

#include "base/mem.h"
#include "engine/server/config.h"
#include "engine/server/replication.h"

#define MEMBERS_MAX 128 /* replicas that are looked at for a majority */

static int64_t setting(const config_number *n)
{
    return atomic_load_explicit((config_number *)n, memory_order_relaxed);
}

bool server_log_needed(const struct server *s)
{
    return setting(&s->config->appendonly) != 0 || setting(&s->config->durability) != DURABILITY_ASYNC;
}

bool server_holds_replies(const struct server *s)
{
    const struct config *c = s->config;

    return setting(&c->durability) != DURABILITY_ASYNC ||
           (setting(&c->appendonly) && setting(&c->appendfsync) == FSYNC_ALWAYS);
}

struct acks {
    uint64_t offsets[MEMBERS_MAX];
    unsigned n;
};

static void add_ack(void *arg, struct replica *p)
{
    struct acks *acks = arg;

    if (acks->n < MEMBERS_MAX && atomic_load(&p->state) == REPLICA_ONLINE)
        acks->offsets[acks->n++] = atomic_load(&p->acked);
}

/* The offset that `count` replicas have. */
static uint64_t acked_by(struct server *s, unsigned count)
{
    struct acks acks = {.n = 0};

    if (count == 0)
        return UINT64_MAX;
    replication_each(s->replication, add_ack, &acks);
    if (acks.n < count)
        return 0;
    for (unsigned i = 0; i < count; i++) { /* the highest `count` to the front */
        unsigned best = i;
        uint64_t offset;
        for (unsigned k = i + 1; k < acks.n; k++)
            best = acks.offsets[k] > acks.offsets[best] ? k : best;
        offset = acks.offsets[best];
        acks.offsets[best] = acks.offsets[i];
        acks.offsets[i] = offset;
    }
    return acks.offsets[count - 1];
}

uint64_t server_safe(struct server *s)
{
    const struct config *c = s->config;
    uint64_t safe = UINT64_MAX, acked;
    unsigned members = (unsigned)setting(&c->durability_members);

    if (setting(&c->appendonly) && setting(&c->appendfsync) == FSYNC_ALWAYS)
        safe = atomic_load(&s->synced);
    if (setting(&c->durability) == DURABILITY_ASYNC || atomic_load(&s->is_replica))
        return safe;
    if (atomic_load(&s->restrictions) & RESTRICT_NO_GRANT) /* whether it is kept is somebody else's to say now */
        return 0;
    if (members == 0)
        members = s->replication->count + 1;
    acked = acked_by(s, setting(&c->durability) == DURABILITY_REPLICA || members < 2 ? 1 : members / 2);
    return acked < safe ? acked : safe;
}
