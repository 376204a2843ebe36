/* FAILOVER: see failover.h. */
#include "engine/repl/failover.h"

#include <stdint.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/log/oplog.h"
#include "engine/server/replication.h"
#include "engine/server/server.h"

#define ASK_EVERY_MS 100

struct failover {
    struct server *server;
    char host[64];
    int64_t port;
    bool ready; /* its replica has everything */
    bool late;  /* it is to be handed over to even if not */
};

static int64_t mono_ms(void)
{
    return clock_mono_us() / 1000;
}

/* Holds writes back. Gate closed. */
static void hold_writes(void *arg)
{
    struct server *s = arg;

    atomic_store(&s->pause_all, false);
    atomic_store(&s->pause_until_ms, INT64_MAX / 2);
}

/* Gate closed. */
static void let_writes(void *arg)
{
    struct server *s = arg;

    atomic_store(&s->pause_until_ms, 0);
    s->ops->unpause(s->ops_arg);
}

/* The replica to hand over to: the one that was named, or any that has everything. */
static void find_target(void *arg, struct replica *p)
{
    struct failover *f = arg;
    struct replication *r = f->server->replication;
    const char *address = p->announced[0] ? p->announced : p->address;
    bool named = r->failover_host[0] != '\0';

    if (f->ready || atomic_load(&p->state) != REPLICA_ONLINE)
        return;
    if (named && (p->port != r->failover_port || (!view_equal(view_str(r->failover_host), view_str(p->address)) &&
                                                  !view_equal(view_str(r->failover_host), view_str(p->announced)) &&
                                                  !view_equal(view_str(r->failover_host), VIEW("localhost")))))
        return;
    snprintf(f->host, sizeof f->host, "%s", address);
    f->port = p->port;
    f->ready = atomic_load(&p->acked) >= oplog_head(f->server->log);
}

/* Gate closed. */
static void step_down(void *arg)
{
    struct failover *f = arg;
    struct replication *r = f->server->replication;

    f->ready = false;
    replication_each(r, find_target, f); /* what a long command wrote at last */
    if (!f->ready && !f->late)
        return;
    atomic_store(&r->failover, FAILOVER_IN_PROGRESS);
    replication_follow(r, view_str(f->host), f->port);
}

static void give_up(struct server *s, const char *why)
{
    log_warning("The failover is given up: %s", why);
    atomic_store(&s->replication->failover, FAILOVER_NONE);
    s->ops->exclusive(s->ops_arg, let_writes, s);
}

bool failover_step(struct server *s)
{
    struct replication *r = s->replication;
    struct failover f = {.server = s};
    bool late;

    if (atomic_load(&r->failover) == FAILOVER_ABORTING) {
        give_up(s, "aborted");
        return false;
    }
    if (atomic_load(&r->failover) != FAILOVER_WAITING) {
        if (r->holds_writes)
            s->ops->exclusive(s->ops_arg, let_writes, s);
        r->holds_writes = false;
        return false;
    }
    if (!r->holds_writes) {
        r->holds_writes = true;
        s->ops->exclusive(s->ops_arg, hold_writes, s);
    }
    if (mono_ms() - r->asked_ms >= ASK_EVERY_MS) { /* asking moves the end of the log: not too often */
        r->asked_ms = mono_ms();
        atomic_store(&r->want_acks, true);
        s->ops->progressed(s->ops_arg);
    }
    replication_each(r, find_target, &f);
    late = r->failover_until_ms != 0 && mono_ms() > r->failover_until_ms;
    if (!f.ready && late && !(r->failover_force && f.host[0])) {
        give_up(s, "the replica did not catch up in time");
        r->holds_writes = false;
        return false;
    }
    if (f.ready || late) {
        f.late = late;
        log_notice("Handing over to %s:%lld", f.host, (long long)f.port);
        s->ops->exclusive(s->ops_arg, step_down, &f);
    }
    return true;
}

/* Gate closed. */
static void take_back(void *arg)
{
    struct server *s = arg;

    if (atomic_load(&s->is_replica))
        replication_promote(s->replication);
    let_writes(s);
}

bool failover_abort(struct server *s)
{
    struct replication *r = s->replication;

    if (atomic_load(&r->failover) != FAILOVER_ABORTING)
        return false;
    log_warning("The failover is given up: aborted");
    atomic_store(&r->failover, FAILOVER_NONE);
    r->holds_writes = false;
    s->ops->exclusive(s->ops_arg, take_back, s);
    return true;
}

void failover_done(struct replication *r)
{
    unsigned was = atomic_exchange(&r->failover, FAILOVER_NONE); /* too late to give it up */

    if (was == FAILOVER_NONE)
        return;
    r->holds_writes = false;
    r->server->ops->exclusive(r->server->ops_arg, let_writes, r->server);
}
