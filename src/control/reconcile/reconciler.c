/* The reconciler: see reconciler.h. */
#include "control/reconcile/reconciler.h"

#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "control/agent/agent.h"
#include "control/agent/shadow.h"
#include "control/model/model.h"
#include "control/reconcile/directory.h"
#include "control/reconcile/shard.h"
#include "control/reconcile/strangers.h"
#include "control/state/secrets.h"

#define STOP_LOOK_US 20000

struct claim {
    LIST_ENTRY(claim) link;
    struct shadow *shadow;
    size_t n;
    char vpc_id[];
};

LIST_HEAD(claim_list, claim);
LIST_HEAD(runtime_list, runtime);

struct reconciler {
    struct reconciler_options o;
    struct shadow_pool pool;
    struct claim_list claims;
    struct runtime_list runtimes, dropped;
    struct event *look;     /* the model changed */
    struct event *stopping; /* nodes are being stopped */
    struct strangers *strangers;
    void (*stopped)(void *arg);
    void *stopped_arg;
};

struct event_base *reconciler_base(const struct reconciler *r)
{
    return r->o.base;
}

struct model *reconciler_model(const struct reconciler *r)
{
    return r->o.model;
}

struct agent *reconciler_agent(const struct reconciler *r)
{
    return r->o.agent;
}

bool reconciler_is_stopping(const struct reconciler *r)
{
    return r->stopped != NULL;
}

int reconciler_secret(const struct reconciler *r, const struct shard *s, struct buf *out)
{
    const struct secrets_place place = {VIEW("shard"), s->id, VIEW("Secret")};

    return secrets_unseal(r->o.secrets, &place, s->secret, out) == SECRETS_OK ? 0 : -1;
}

/* ---- shadows ---- */

static struct claim *find_claim(const struct reconciler *r, struct view vpc_id)
{
    struct claim *c;

    LIST_FOREACH(c, &r->claims, link)
        if (view_equal(view_of(c->vpc_id, c->n), vpc_id))
            return c;
    return NULL;
}

bool reconciler_find_shadow(const struct reconciler *r, struct view vpc_id, uint32_t *base)
{
    const struct claim *c = find_claim(r, vpc_id);

    if (c)
        *base = shadow_base(c->shadow);
    return c != NULL;
}

/* The next index that no VPC's record has. */
static unsigned unused_index(const struct reconciler *r)
{
    unsigned index = 0;

    for (size_t i = 0; i < model_count(r->o.model, MODEL_VPC); i++) {
        const struct vpc *v = model_vpc_at(r->o.model, i);
        if (v->shadow.set && v->shadow.value >= index)
            index = (unsigned)v->shadow.value + 1;
    }
    return index % shadow_pool_count(&r->pool);
}

int reconciler_shadow(struct reconciler *r, struct view vpc_id, uint32_t *base)
{
    const struct vpc *v = model_vpc(r->o.model, vpc_id);
    struct shadow *shadow;
    struct claim *c;
    unsigned preferred;
    int rc;

    if (reconciler_find_shadow(r, vpc_id, base))
        return 0;
    if (!v)
        return -ENOENT;
    preferred = v->shadow.set ? (unsigned)v->shadow.value % shadow_pool_count(&r->pool) : unused_index(r);
    rc = v->shadow.set ? shadow_claim(&r->pool, preferred, &shadow) : shadow_claim_quiet(&r->pool, preferred, &shadow);
    if (rc != 0)
        return rc;
    c = mem_zalloc(sizeof *c + vpc_id.n);
    c->shadow = shadow;
    c->n = vpc_id.n;
    memcpy(c->vpc_id, vpc_id.p, vpc_id.n);
    LIST_INSERT_HEAD(&r->claims, c, link);
    if (!v->shadow.set || v->shadow.value != shadow_index(shadow)) {
        struct txn *t = txn_begin(r->o.model);
        struct vpc *edited = txn_edit_vpc(t, vpc_id);
        edited->shadow = (struct maybe_integer){true, shadow_index(shadow)};
        txn_commit(t, NULL, NULL);
    }
    *base = shadow_base(shadow);
    return 0;
}

/* Claims of VPCs that are gone. */
static void release_claims(struct reconciler *r, bool all)
{
    struct claim *c, *next;

    for (c = LIST_FIRST(&r->claims); c; c = next) {
        next = LIST_NEXT(c, link);
        if (!all && model_vpc(r->o.model, view_of(c->vpc_id, c->n)))
            continue;
        LIST_REMOVE(c, link);
        shadow_release(c->shadow);
        mem_free(c);
    }
}

/* ---- shards ---- */

static void free_dropped(struct reconciler *r)
{
    struct runtime *dropped;

    while ((dropped = LIST_FIRST(&r->dropped))) {
        LIST_REMOVE(dropped, link);
        runtime_free(dropped);
    }
}

static struct runtime *find_runtime(const struct reconciler *r, struct view id)
{
    struct runtime *found;

    LIST_FOREACH(found, &r->runtimes, link)
        if (view_equal(view_str(found->id), id))
            return found;
    return NULL;
}

void reconciler_drop(struct reconciler *r, struct runtime *runtime)
{
    LIST_REMOVE(runtime, link);
    LIST_INSERT_HEAD(&r->dropped, runtime, link);
    reconciler_changed(r);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
    struct reconciler *r = arg;
    struct runtime *runtime;

    (void)fd;
    (void)what;
    free_dropped(r);
    release_claims(r, false);
    for (size_t i = 0; i < model_count(r->o.model, MODEL_SHARD); i++) {
        const struct shard *s = model_shard_at(r->o.model, i);
        if (find_runtime(r, s->id))
            continue;
        runtime = runtime_new(r, s->id);
        LIST_INSERT_HEAD(&r->runtimes, runtime, link);
    }
    if (r->stopped)
        return;
    LIST_FOREACH(runtime, &r->runtimes, link)
        runtime_kick(runtime, 0);
}

void reconciler_changed(struct reconciler *r)
{
    event_active(r->look, EV_TIMEOUT, 0);
}

struct reconciler *reconciler_new(const struct reconciler_options *o)
{
    struct reconciler *r = mem_zalloc(sizeof *r);

    r->o = *o;
    r->pool = *o->pool;
    LIST_INIT(&r->claims);
    LIST_INIT(&r->runtimes);
    LIST_INIT(&r->dropped);
    r->look = evtimer_new(o->base, on_look, r);
    r->strangers = strangers_new(o->base, o->model, agent_options_of(o->agent)->directory);
    reconciler_changed(r);
    return r;
}

void reconciler_free(struct reconciler *r)
{
    struct runtime *runtime;

    if (!r)
        return;
    while ((runtime = LIST_FIRST(&r->runtimes))) {
        LIST_REMOVE(runtime, link);
        runtime_free(runtime);
    }
    free_dropped(r);
    release_claims(r, true);
    event_free(r->look);
    strangers_free(r->strangers);
    if (r->stopping)
        event_free(r->stopping);
    mem_free(r);
}

/* ---- the end ---- */

static void on_stopping(evutil_socket_t fd, short what, void *arg)
{
    const struct timeval again = {0, STOP_LOOK_US};
    struct reconciler *r = arg;
    struct runtime *runtime;
    bool alive = false;

    (void)fd;
    (void)what;
    LIST_FOREACH(runtime, &r->runtimes, link) {
        struct member *m;
        event_del(runtime->timer);
        TAILQ_FOREACH(m, &runtime->members, link) {
            if (m->node && m->life != MEMBER_STOPPING) {
                m->life = MEMBER_STOPPING;
                node_stop(m->node, MEMBER_STOP_MS);
            }
            alive |= m->node != NULL;
        }
    }
    if (alive)
        event_add(r->stopping, &again);
    else
        r->stopped(r->stopped_arg);
}

void reconciler_stop_nodes(struct reconciler *r, void (*done)(void *arg), void *arg)
{
    if (r->stopped)
        return;
    r->stopped = done;
    r->stopped_arg = arg;
    r->stopping = evtimer_new(r->o.base, on_stopping, r);
    event_active(r->stopping, EV_TIMEOUT, 0);
}

/* ---- directories ---- */

void reconciler_remove_directory(const struct reconciler *r, const char *id)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof path, "%s/%s", agent_options_of(r->o.agent)->directory, id) >= (int)sizeof path)
        return;
    directory_remove(path);
}
