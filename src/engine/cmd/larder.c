/*
 * LARDER: what an agent tells its node, and asks it, over the admin socket: its role's grant, who it is and how it does,
 * the listeners that it serves, the peers that may connect. But for the grant, which concerns everybody who runs
 * commands, nothing here waits for the gate or for a partition, so that it is answered whatever the server does.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "engine/cmd/call.h"
#include "engine/log/oplog.h"
#include "engine/server/config.h"
#include "engine/server/replication.h"
#include "engine/server/server.h"
#include "engine/server/version.h"
#include "engine/store/keyspace.h"
#include "handlers.h"

#define PROTOCOL 1 /* of these commands: one more when an agent must know that something changed */

/* Replies and returns false when it is not the agent who asks. */
static bool is_agent(struct call *c)
{
    if (!c->session->admin)
        reply_error(c->reply, ERROR_ADMIN_ONLY);
    return c->session->admin;
}

/* ---- the grant ---- */

/* The epoch that the agent speaks in; replies and returns false when there was a later one, or it is not the agent. */
static bool grant_epoch(struct call *c)
{
    struct server *s = c->server;
    int64_t epoch, last = atomic_load(&s->grant_epoch);
    char text[NUM_INT_MAX + 1];

    if (!is_agent(c) || !call_arg_range(c, 2, 0, INT64_MAX, ERROR_NOT_POSITIVE, &epoch))
        return false;
    if (epoch < last) {
        text[num_format_int(text, last)] = '\0';
        reply_error(c->reply, ERROR_STALE_EPOCH, text);
        return false;
    }
    atomic_store(&s->grant_epoch, epoch);
    return true;
}

void cmd_larder_grant(struct call *c)
{
    if (!grant_epoch(c))
        return;
    server_restrict(c->server, RESTRICT_NO_GRANT, false);
    reply_ok(c->reply);
}

/* Nothing that waits to be confirmed is answered any more: somebody else may decide about it now. */
void cmd_larder_revoke(struct call *c)
{
    if (!grant_epoch(c))
        return;
    server_restrict(c->server, RESTRICT_NO_GRANT, true);
    c->server->ops->close_clients(c->server->ops_arg);
    reply_ok(c->reply);
}

/* ---- who it is ---- */

static void pair(struct call *c, const char *name, const char *value)
{
    reply_bulk_str(c->reply, name);
    reply_bulk_str(c->reply, value);
}

static void pair_number(struct call *c, const char *name, int64_t value)
{
    reply_bulk_str(c->reply, name);
    reply_integer(c->reply, value);
}

static const char *yes(bool is)
{
    return is ? "yes" : "no";
}

static int64_t count_keys(const struct server *s)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < keyspace_databases(s->keyspace); i++)
        n += db_size(keyspace_db(s->keyspace, i));
    return (int64_t)n;
}

/* LARDER HELLO: names and values in one array, whichever protocol is spoken. */
void cmd_larder_hello(struct call *c)
{
    enum { PAIRS = 14 };
    struct server *s = c->server;
    struct replication *r = s->replication;
    unsigned restrictions = atomic_load(&s->restrictions);
    char id[REPLICATION_ID + 1];

    if (!is_agent(c))
        return;
    pthread_mutex_lock(&r->lock);
    memcpy(id, r->id, sizeof id);
    pthread_mutex_unlock(&r->lock);
    reply_array(c->reply, 2 * PAIRS);
    pair(c, "node-id", s->config->node_id);
    pair(c, "version", SERVER_VERSION);
    pair_number(c, "protocol", PROTOCOL);
    pair_number(c, "pid", getpid());
    pair(c, "role", atomic_load(&s->is_replica) ? "slave" : "master");
    pair_number(c, "epoch", atomic_load(&s->grant_epoch));
    pair(c, "granted", yes(!(restrictions & RESTRICT_NO_GRANT)));
    pair(c, "replication-id", id);
    pair_number(c, "offset", (int64_t)oplog_head(s->log));
    pair(c, "link", replication_link_name(atomic_load(&r->link)));
    pair(c, "loading", yes(restrictions & RESTRICT_LOADING));
    pair_number(c, "keys", count_keys(s));
    pair_number(c, "rules", atomic_load(&s->rules));
    pair_number(c, "uptime", (clock_mono_us() - s->start_mono_us) / 1000000);
}

/* ---- listeners ---- */

/* LARDER LISTEN name, with a listening socket */
void cmd_larder_listen(struct call *c)
{
    struct server *s = c->server;
    int *fd;
    char err[256];

    if (!is_agent(c))
        return;
    fd = &c->session->descriptors->received;
    if (*fd < 0) {
        reply_error(c->reply, ERROR_LISTEN_DESCRIPTOR);
        return;
    }
    if (s->ops->listen(s->ops_arg, c->argv[2], *fd, err, sizeof err) != 0) {
        reply_error(c->reply, ERROR_LISTEN, err);
        return;
    }
    *fd = -1;
    reply_ok(c->reply);
}

/* Replies to what went wrong, if anything did. */
static bool left(struct call *c, int rc)
{
    if (rc == -ENOENT)
        reply_error(c->reply, ERROR_NO_LISTENER);
    else if (rc != 0)
        reply_error(c->reply, ERROR_HANDBACK, strerror(-rc));
    return rc == 0;
}

/* LARDER HANDBACK name */
void cmd_larder_handback(struct call *c)
{
    struct server *s = c->server;
    struct session_descriptors *d = c->session->descriptors;
    size_t n;

    if (!is_agent(c) || !left(c, s->ops->unlisten(s->ops_arg, c->argv[2], &d->reply)))
        return;
    n = c->argv[2].n < sizeof d->reply_name ? c->argv[2].n : sizeof d->reply_name - 1;
    memcpy(d->reply_name, c->argv[2].p, n);
    d->reply_name[n] = '\0';
    reply_ok(c->reply);
}

/* LARDER UNLISTEN name [CLOSE]. Connections are closed although there is no listener any more: it may have been handed
 * back before. */
void cmd_larder_unlisten(struct call *c)
{
    struct server *s = c->server;
    bool closes = c->argc == 4 && call_arg_is(c, 3, "CLOSE");
    int rc;

    if (!is_agent(c))
        return;
    if (c->argc > 4 || (c->argc == 4 && !closes)) {
        reply_error(c->reply, ERROR_SYNTAX);
        return;
    }
    rc = s->ops->unlisten(s->ops_arg, c->argv[2], NULL);
    if (closes && s->ops->cut(s->ops_arg, c->argv[2]) && rc == -ENOENT)
        rc = 0;
    if (left(c, rc))
        reply_ok(c->reply);
}

struct listeners_reply {
    struct reply *reply;
    size_t n;
};

static void show_listener(void *arg, const struct server_listener *l)
{
    struct listeners_reply *list = arg;

    reply_array(list->reply, 3);
    reply_bulk_str(list->reply, l->name);
    reply_bulk_str(list->reply, l->address);
    reply_integer(list->reply, (int64_t)l->accepted);
    list->n++;
}

/* LARDER LISTENERS: name, address and connections accepted of each */
void cmd_larder_listeners(struct call *c)
{
    struct server *s = c->server;
    struct listeners_reply list = {c->reply, 0};
    size_t mark;

    if (!is_agent(c))
        return;
    mark = reply_mark(c->reply);
    s->ops->each_listener(s->ops_arg, show_listener, &list);
    reply_insert(c->reply, mark, '*', list.n);
}

/* ---- who may connect ---- */

/* LARDER ALLOW version none | cidr [cidr ...] */
void cmd_larder_allow(struct call *c)
{
    struct server *s = c->server;
    size_t n = (size_t)c->argc - 3, count = 0, replicas = 0;
    struct config_cidr *blocks;
    bool named = false;
    int64_t version;
    char text[NUM_INT_MAX + 1];

    if (!is_agent(c) || !call_arg_range(c, 2, 0, INT64_MAX, ERROR_NOT_POSITIVE, &version))
        return;
    if (version < atomic_load(&s->rules)) {
        text[num_format_int(text, atomic_load(&s->rules))] = '\0';
        reply_error(c->reply, ERROR_STALE_RULES, text);
        return;
    }
    blocks = mem_alloc((n + 1) * sizeof *blocks);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 && call_arg_is(c, 3, "none"))
            continue;
        if (!named && call_arg_is(c, (int)(3 + i), "replicas")) {
            named = true;
            continue;
        }
        if (!config_parse_cidr(c->argv[3 + i], &blocks[count])) {
            reply_error(c->reply, ERROR_CIDR, ERROR_SHOWN(c->argv[3 + i]));
            goto done;
        }
        count++;
        replicas += named;
    }
    s->ops->restrict_peers(s->ops_arg, blocks, count - replicas, replicas, named);
    atomic_store(&s->rules, version);
    reply_ok(c->reply);
done:
    mem_free(blocks);
}
