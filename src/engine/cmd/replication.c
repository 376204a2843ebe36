/*
 * The commands of replication. What replicas and primaries say to each other (REPLCONF, PSYNC) is Redis's protocol:
 * either side may be a redis-server.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "engine/cmd/call.h"
#include "engine/log/oplog.h"
#include "engine/persist/persist.h"
#include "engine/server/clients.h"
#include "engine/server/config.h"
#include "engine/server/replication.h"
#include "engine/server/server.h"
#include "handlers.h"

/* ---- what replicas say ---- */

/* The record of this connection as a replica's, made when there is none. */
static struct replica *replica_of(struct call *c)
{
    struct card *card = c->session->card;

    if (!c->session->replica)
        c->session->replica = replica_new(c->server, card->id, card->worker, card->fd, card->addr);
    return c->session->replica;
}

static bool set_port(struct call *c, int i)
{
    int64_t port;

    if (!call_arg_range(c, i, INT_MIN, INT_MAX, ERROR_NOT_INTEGER, &port))
        return false;
    replica_of(c)->port = port;
    return true;
}

static bool set_address(struct call *c, int i)
{
    struct replica *p = replica_of(c);

    if (c->argv[i].n >= sizeof p->announced) {
        reply_error(c->reply, ERROR_REPLCONF_ADDRESS, (int)sizeof p->announced - 1);
        return false;
    }
    for (size_t k = 0; k < c->argv[i].n; k++)
        if (c->argv[i].p[k] <= ' ' || c->argv[i].p[k] > '~') { /* it stands in INFO and in the log */
            reply_error(c->reply, ERROR_SYNTAX);
            return false;
        }
    snprintf(p->announced, sizeof p->announced, "%.*s", (int)c->argv[i].n, c->argv[i].p);
    return true;
}

static void set_capability(struct call *c, int i)
{
    if (call_arg_is(c, i, "eof"))
        replica_of(c)->capabilities |= REPLICA_EOF;
    else if (call_arg_is(c, i, "psync2"))
        replica_of(c)->capabilities |= REPLICA_PSYNC2;
}

/* "ACK offset [FACK offset]": no reply. */
static void acknowledge(struct call *c, int i)
{
    int64_t offset = 0, in_file = 0;
    bool has_file = false;

    if (!c->session->replica || !num_parse_int(c->argv[i + 1], &offset) || offset < 0)
        return;
    if (i + 3 < c->argc && call_arg_is(c, i + 2, "fack"))
        has_file = num_parse_int(c->argv[i + 3], &in_file) && in_file >= 0;
    replica_acknowledge(c->session->replica, (uint64_t)offset, (uint64_t)in_file, has_file);
}

void cmd_replconf(struct call *c)
{
    if (c->argc % 2 == 0) {
        reply_error(c->reply, ERROR_SYNTAX);
        return;
    }
    for (int i = 1; i < c->argc; i += 2) {
        int64_t flag;
        if (call_arg_is(c, i, "listening-port")) {
            if (!set_port(c, i + 1))
                return;
        } else if (call_arg_is(c, i, "ip-address")) {
            if (!set_address(c, i + 1))
                return;
        } else if (call_arg_is(c, i, "capa")) {
            set_capability(c, i + 1);
        } else if (call_arg_is(c, i, "ack")) {
            acknowledge(c, i);
            return;
        } else if (call_arg_is(c, i, "getack")) {
            return; /* a primary asks its replica, in its stream: nobody else is answered */
        } else if (call_arg_is(c, i, "rdb-only")) {
            if (!call_arg_range(c, i + 1, 0, 1, ERROR_NOT_INTEGER, &flag))
                return;
            replica_of(c)->rdb_only = flag == 1;
        } else if (!call_arg_is(c, i, "version") && !call_arg_is(c, i, "rdb-filter-only")) {
            reply_error(c->reply, ERROR_REPLCONF_OPTION, ERROR_SHOWN(c->argv[i]));
            return;
        }
    }
    reply_ok(c->reply);
}

/* Gate closed. */
static void promote(void *arg)
{
    struct server *s = arg;

    if (atomic_load(&s->is_replica))
        replication_promote(s->replication);
}

/* "PSYNC id offset FAILOVER": our primary steps down for us. False when it was answered, or must wait. */
static bool take_over(struct call *c)
{
    struct server *s = c->server;

    if (!atomic_load(&s->is_replica) && !c->session->waiting) {
        reply_error(c->reply, ERROR_PSYNC_FAILOVER_PRIMARY);
        return false;
    }
    if (atomic_load(&s->is_replica)) {
        if (!view_equal(c->argv[1], view_of(s->replication->id, REPLICATION_ID))) {
            reply_error(c->reply, ERROR_PSYNC_FAILOVER_ID);
            return false;
        }
        s->ops->post_exclusive(s->ops_arg, promote, s);
        call_wait(c, 0);
        return false;
    }
    return true;
}

/* PSYNC and SYNC: from here on the connection is a replica's. */
void cmd_psync(struct call *c)
{
    bool old = c->argc == 1;
    struct replica *p;
    int64_t offset = -1;
    char text[64];

    if (c->session->replica && atomic_load(&c->session->replica->state) != REPLICA_NEW)
        return; /* it is one already */
    if (!old && !call_arg_int(c, 2, &offset))
        return;
    if (c->argc > 3 && call_arg_is(c, 3, "FAILOVER") && !take_over(c))
        return;
    if (atomic_load(&c->server->is_replica) && atomic_load(&c->server->replication->link) != LINK_CONNECTED) {
        reply_error(c->reply, ERROR_NO_PRIMARY_LINK);
        return;
    }
    if (reply_mark(c->reply) > 0) { /* it would be sent behind the snapshot */
        reply_error(c->reply, ERROR_PSYNC_PENDING);
        return;
    }
    p = replica_of(c);
    p->old_sync = old;
    if (old)
        p->capabilities &= ~(uint32_t)REPLICA_EOF;
    atomic_fetch_or_explicit(&c->session->card->flags, CARD_REPLICA, memory_order_relaxed);
    if (replica_psync(p, old ? VIEW("?") : c->argv[1], offset > 0 ? offset - 1 : -1) == REPLICA_FULL) {
        persist_want_sync(c->server->persistence);
        return;
    }
    if (p->capabilities & REPLICA_PSYNC2)
        snprintf(text, sizeof text, "CONTINUE %s", c->server->replication->id);
    else
        snprintf(text, sizeof text, "CONTINUE");
    reply_status(c->reply, text);
}

/* ---- roles ---- */

void cmd_replicaof(struct call *c)
{
    struct server *s = c->server;
    int64_t port;

    if (call_arg_is(c, 1, "no") && call_arg_is(c, 2, "one")) {
        if (atomic_load(&s->is_replica))
            replication_promote(s->replication);
        reply_ok(c->reply);
        return;
    }
    if (c->session->replica && atomic_load(&c->session->replica->state) != REPLICA_NEW) {
        reply_error(c->reply, ERROR_REPLICAOF_REPLICA);
        return;
    }
    if (!call_arg_range(c, 2, 0, 65535, ERROR_PRIMARY_PORT, &port))
        return;
    if (view_equal_case(c->argv[1], view_str(s->replication->host)) && port == s->replication->port) {
        reply_status(c->reply, "OK Already connected to specified master");
        return;
    }
    replication_follow(s->replication, c->argv[1], port);
    reply_ok(c->reply);
}

struct role_replicas {
    struct call *call;
    size_t n;
};

static const char *address_of(const struct replica *p)
{
    return p->announced[0] ? p->announced : p->address;
}

static void role_replica(void *arg, struct replica *p)
{
    struct role_replicas *list = arg;

    if (atomic_load(&p->state) != REPLICA_ONLINE)
        return;
    reply_array(list->call->reply, 3);
    reply_bulk(list->call->reply, view_str(address_of(p)));
    reply_bulk_integer(list->call->reply, p->port);
    reply_bulk_integer(list->call->reply, (int64_t)atomic_load(&p->acked));
    list->n++;
}

void cmd_role(struct call *c)
{
    struct replication *r = c->server->replication;
    struct role_replicas list = {c, 0};
    unsigned link = atomic_load(&r->link);
    size_t mark;

    if (atomic_load(&c->server->is_replica)) {
        reply_array(c->reply, 5);
        reply_bulk(c->reply, VIEW("slave"));
        pthread_mutex_lock(&r->lock);
        reply_bulk(c->reply, view_str(r->host));
        reply_integer(c->reply, r->port);
        pthread_mutex_unlock(&r->lock);
        reply_bulk(c->reply, view_str(replication_link_name(link)));
        reply_integer(c->reply, link == LINK_CONNECTED ? (int64_t)oplog_head(c->server->log) : -1);
        return;
    }
    reply_array(c->reply, 3);
    reply_bulk(c->reply, VIEW("master"));
    reply_integer(c->reply, (int64_t)oplog_head(c->server->log));
    mark = reply_mark(c->reply);
    replication_each(r, role_replica, &list);
    reply_insert(c->reply, mark, '*', list.n);
}

/* ---- waiting ---- */

/* The end of the wait for a time-out in milliseconds (0: none) in argument i, kept over the runs of the command; replies and
 * returns false when it is none. */
static bool wait_end(struct call *c, int i, int64_t *until_ms)
{
    int64_t timeout;

    if (c->session->waiting) {
        *until_ms = c->session->wait_until_ms;
        return true;
    }
    if (!num_parse_int(c->argv[i], &timeout)) {
        reply_error(c->reply, ERROR_TIMEOUT);
        return false;
    }
    if (timeout < 0) {
        reply_error(c->reply, ERROR_TIMEOUT_NEGATIVE);
        return false;
    }
    *until_ms = timeout == 0 ? 0 : clock_mono_us() / 1000 + timeout;
    return true;
}

/* Has a wait to go on? It has while its time is not up, and nobody asks in a transaction. */
static bool goes_on(struct call *c, int64_t until_ms)
{
    if (c->in_exec || (until_ms != 0 && clock_mono_us() / 1000 >= until_ms))
        return false;
    if (!c->session->waiting) /* once: an answer to it must not make another one necessary */
        atomic_store(&c->server->replication->want_acks, true);
    call_wait(c, until_ms);
    return true;
}

void cmd_wait(struct call *c)
{
    int64_t wanted, until_ms;
    unsigned have;

    if (atomic_load(&c->server->is_replica)) {
        reply_error(c->reply, ERROR_WAIT_REPLICA);
        return;
    }
    if (!call_arg_int(c, 1, &wanted) || !wait_end(c, 2, &until_ms))
        return;
    have = replication_count_acked(c->server->replication, c->session->write_offset, false);
    if ((int64_t)have < wanted && goes_on(c, until_ms))
        return;
    reply_integer(c->reply, have);
}

void cmd_waitaof(struct call *c)
{
    struct server *s = c->server;
    int64_t local, wanted, until_ms;
    bool on = atomic_load(&s->config->appendonly) != 0, here;
    unsigned have;

    if (!call_arg_range(c, 1, 0, 1, ERROR_WAITAOF_LOCAL, &local) ||
        !call_arg_range(c, 2, 0, INT_MAX, ERROR_NOT_POSITIVE, &wanted) || !wait_end(c, 3, &until_ms))
        return;
    if (atomic_load(&s->is_replica)) {
        reply_error(c->reply, ERROR_WAITAOF_REPLICA);
        return;
    }
    if (local && !on) {
        reply_error(c->reply, ERROR_WAITAOF_OFF);
        return;
    }
    here = on && atomic_load(&s->synced) >= c->session->write_offset;
    have = replication_count_acked(s->replication, c->session->write_offset, true);
    if ((here < local || (int64_t)have < wanted) && goes_on(c, until_ms))
        return;
    reply_array(c->reply, 2);
    reply_integer(c->reply, here);
    reply_integer(c->reply, have);
}

/* ---- FAILOVER ---- */

struct failover_options {
    struct view host;
    int64_t port, timeout_ms;
    bool abort, force;
};

static bool failover_options(struct call *c, struct failover_options *o)
{
    for (int i = 1; i < c->argc; i++) {
        if (call_arg_is(c, i, "TIMEOUT") && i + 1 < c->argc && o->timeout_ms == 0) {
            if (!call_arg_int(c, ++i, &o->timeout_ms))
                return false;
            if (o->timeout_ms <= 0) {
                reply_error(c->reply, ERROR_FAILOVER_TIMEOUT);
                return false;
            }
        } else if (call_arg_is(c, i, "ABORT") && c->argc == 2) {
            o->abort = true;
        } else if (call_arg_is(c, i, "TO") && i + 2 < c->argc && o->host.n == 0) {
            if (!call_arg_range(c, i + 2, 0, 65535, ERROR_PRIMARY_PORT, &o->port))
                return false;
            o->host = c->argv[i + 1];
            i += 2;
        } else if (call_arg_is(c, i, "FORCE") && !o->force) {
            o->force = true;
        } else {
            reply_error(c->reply, ERROR_SYNTAX);
            return false;
        }
    }
    return true;
}

void cmd_failover(struct call *c)
{
    struct replication *r = c->server->replication;
    struct failover_options o = {.timeout_ms = 0};

    if (!failover_options(c, &o))
        return;
    if (o.abort) {
        if (atomic_load(&r->failover) == FAILOVER_NONE) {
            reply_error(c->reply, ERROR_FAILOVER_NONE);
            return;
        }
        replication_failover_abort(r);
        reply_ok(c->reply);
        return;
    }
    if (atomic_load(&c->server->is_replica)) {
        reply_error(c->reply, ERROR_FAILOVER_REPLICA);
    } else if (r->count == 0) {
        reply_error(c->reply, ERROR_FAILOVER_ALONE);
    } else if (atomic_load(&r->failover) != FAILOVER_NONE) {
        reply_error(c->reply, ERROR_FAILOVER_ALREADY);
    } else if (o.force && (o.host.n == 0 || o.timeout_ms == 0)) {
        reply_error(c->reply, ERROR_FAILOVER_FORCE);
    } else if (!replication_failover(r, o.host, o.port, o.timeout_ms, o.force)) {
        reply_error(c->reply, ERROR_FAILOVER_TARGET);
    } else {
        reply_ok(c->reply);
    }
}
