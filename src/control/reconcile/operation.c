/* Operations: see operation.h. */
#include "control/reconcile/operation.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/model/cidr.h"
#include "control/model/events.h"
#include "control/model/window.h"
#include "control/reconcile/reconciler.h"
#include "control/reconcile/shard.h"
#include "control/shape/shape.h"

#define SWITCHOVER_US 10000000 /* after that it is given up */

/* What the operation is about: a replication group, or a cluster by itself. */
struct subject {
    struct model *model;
    const struct shard *shard;
    const struct replication_group *group; /* NULL: the cluster */
    const struct cache_cluster *cluster;   /* NULL: the group */
    const struct operation *operation;     /* NULL: none */
    struct view status;
};

static struct subject subject_of(struct runtime *r, const struct shard *s)
{
    struct subject on = {.model = reconciler_model(r->reconciler), .shard = s};

    if (s->grouped) {
        on.group = model_replication_group(on.model, s->owner);
        on.operation = on.group ? on.group->operation : NULL;
        on.status = on.group ? on.group->status : VIEW("deleting");
    } else {
        on.cluster = model_cache_cluster(on.model, s->owner);
        on.operation = on.cluster ? on.cluster->operation : NULL;
        on.status = on.cluster ? on.cluster->status : VIEW("deleting");
    }
    return on;
}

static void tell(struct txn *t, const struct subject *on, const char *type, struct view source, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

static void tell(struct txn *t, const struct subject *on, const char *type, struct view source, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    events_add(t, on->model, type, source, view_str(text), clock_wall_ms());
}

/* ---- ends ---- */

static void tell_created(struct txn *t, const struct subject *on, const struct cache_cluster *c)
{
    tell(t, on, "cache-cluster", c->id, "Added cache node 0001 in availability zone %.*s", (int)c->zone.n, c->zone.p);
    tell(t, on, "cache-cluster", c->id, "Cache cluster created");
}

/* Everything is available again. */
static void end_operation(const struct subject *on)
{
    struct txn *t = txn_begin(on->model);
    struct shard *s = txn_edit_shard(t, on->shard->id);
    bool created = view_equal(on->status, VIEW("creating"));

    for (size_t i = 0; i < s->members.count; i++) {
        const struct cache_cluster *known = model_cache_cluster(on->model, s->members.items[i]);
        struct cache_cluster *c;
        if (!known || view_equal(known->status, VIEW("deleting")))
            continue;
        c = txn_edit_cache_cluster(t, known->id);
        if (view_equal(c->status, VIEW("creating")))
            tell_created(t, on, c);
        c->status = txn_text(t, c, VIEW("available"));
        c->operation = NULL;
    }
    if (on->group) {
        struct replication_group *g = txn_edit_replication_group(t, on->group->id);
        g->status = txn_text(t, g, VIEW("available"));
        g->operation = NULL;
        if (created)
            tell(t, on, "replication-group", g->id, "Replication group %.*s created", (int)g->id.n, g->id.p);
    }
    txn_commit(t, NULL, NULL);
}

static void fail_creation(const struct subject *on, const char *why)
{
    struct txn *t = txn_begin(on->model);

    if (on->group) {
        struct replication_group *g = txn_edit_replication_group(t, on->group->id);
        g->status = txn_text(t, g, VIEW("create-failed"));
        g->operation = NULL;
        tell(t, on, "replication-group", g->id, "Failed to create replication group %.*s: %s", (int)g->id.n, g->id.p,
             why);
    } else {
        struct cache_cluster *c = txn_edit_cache_cluster(t, on->cluster->id);
        c->status = txn_text(t, c, VIEW("incompatible-network"));
        c->operation = NULL;
        tell(t, on, "cache-cluster", c->id, "Failed to create cache cluster %.*s: %s", (int)c->id.n, c->id.p, why);
    }
    txn_commit(t, NULL, NULL);
}

/* ---- members that go ---- */

static struct string_list without(struct txn *t, const void *record, const struct string_list *list, struct view id)
{
    struct string_list kept = {.set = true};

    kept.items = arena_alloc(txn_arena(t, record), (list->count + 1) * sizeof *kept.items);
    for (size_t i = 0; i < list->count; i++)
        if (!view_equal(list->items[i], id))
            kept.items[kept.count++] = txn_text(t, record, list->items[i]);
    return kept;
}

static void remove_records(struct model *m, const struct shard *s, struct view id)
{
    struct txn *t = txn_begin(m);
    struct shard *edited = s ? txn_edit_shard(t, s->id) : NULL;
    struct view text = VIEW("Removed cache nodes 0001");

    if (edited)
        edited->members = without(t, edited, &edited->members, id);
    if (s && s->grouped && model_replication_group(m, s->owner)) {
        struct replication_group *g = txn_edit_replication_group(t, s->owner);
        g->members = without(t, g, &g->members, id);
    }
    if (model_cache_cluster(m, id))
        events_add(t, m, "cache-cluster", id, text, clock_wall_ms());
    txn_remove(t, MODEL_CACHE_CLUSTER, id);
    txn_commit(t, NULL, NULL);
}

bool operation_remove_gone(struct runtime *r, const struct shard *s)
{
    struct member *m, *next;
    bool all = true;

    for (m = TAILQ_FIRST(&r->members); m; m = next) {
        next = TAILQ_NEXT(m, link);
        if (!m->leaving)
            continue;
        if (m->life != MEMBER_DOWN) {
            all = false;
            continue;
        }
        remove_records(reconciler_model(r->reconciler), s, view_str(m->id));
        reconciler_remove_directory(r->reconciler, m->id);
        TAILQ_REMOVE(&r->members, m, link);
        member_free(m);
        if (s)
            s = model_shard(reconciler_model(r->reconciler), view_str(r->id));
    }
    return all;
}

/* The last member has gone: so does the shard, and its group. */
static void remove_shard(const struct subject *on)
{
    struct txn *t = txn_begin(on->model);

    if (on->group) {
        tell(t, on, "replication-group", on->group->id, "Replication group %.*s deleted", (int)on->group->id.n,
             on->group->id.p);
        txn_remove(t, MODEL_REPLICATION_GROUP, on->group->id);
    }
    txn_remove(t, MODEL_SHARD, on->shard->id);
    txn_commit(t, NULL, NULL);
}

/* ---- changes ---- */

/* Pending values become present ones; the nodes are told by the step that compares their settings. */
static void apply_pending(const struct subject *on)
{
    struct txn *t = txn_begin(on->model);
    struct shard *s = txn_edit_shard(t, on->shard->id);

    for (size_t i = 0; i < s->members.count; i++) {
        struct cache_cluster *c = txn_edit_cache_cluster(t, s->members.items[i]);
        if (!c || !c->pending)
            continue;
        if (c->pending->node_type.p)
            c->node_type = c->pending->node_type;
        if (c->pending->engine_version.p)
            c->engine_version = c->pending->engine_version;
        c->pending = NULL;
    }
    if (on->group) {
        struct replication_group *g = txn_edit_replication_group(t, on->group->id);
        if (g->pending && g->pending->node_type.p)
            g->node_type = g->pending->node_type;
        if (g->pending && g->pending->engine_version.p)
            g->engine_version = g->pending->engine_version;
        g->pending = NULL;
    }
    txn_commit(t, NULL, NULL);
}

static bool has_pending(const struct subject *on)
{
    return on->group ? on->group->pending != NULL : on->cluster->pending != NULL;
}

/* What was to wait for the maintenance window, which is open now. */
static void begin_maintenance(const struct subject *on)
{
    struct txn *t = txn_begin(on->model);
    struct operation *begun;

    if (on->group) {
        struct replication_group *g = txn_edit_replication_group(t, on->group->id);
        g->status = txn_text(t, g, VIEW("modifying"));
        g->operation = shape_new(&operation_shape, txn_arena(t, g), 1);
        g->operation->kind = txn_text(t, g, VIEW("modify"));
        begun = g->operation;
    } else {
        struct cache_cluster *c = txn_edit_cache_cluster(t, on->cluster->id);
        c->status = txn_text(t, c, VIEW("modifying"));
        c->operation = shape_new(&operation_shape, txn_arena(t, c), 1);
        c->operation->kind = txn_text(t, c, VIEW("modify"));
        begun = c->operation;
    }
    begun->start_time = clock_wall_ms();
    txn_commit(t, NULL, NULL);
}

static bool is_due(const struct subject *on)
{
    return view_equal(on->status, VIEW("available")) && has_pending(on) &&
           window_is_open(on->group ? on->group->maintenance_window : on->cluster->maintenance_window, clock_wall_ms());
}

/* ---- switchover ---- */

static struct member *choose_target(struct runtime *r, const struct subject *on)
{
    struct member *m, *best = NULL;

    if (on->operation->target.p && on->operation->target.n > 0)
        return runtime_member(r, on->operation->target);
    TAILQ_FOREACH(m, &r->members, link)
        if (!view_equal(view_str(m->id), on->shard->primary) && m->life == MEMBER_UP && !m->leaving &&
            m->state.is_granted && m->state.link == NODE_LINK_UP && (!best || m->state.offset > best->state.offset))
            best = m;
    return best;
}

static void note_switching(struct runtime *r, unsigned i, const struct member *m)
{
    snprintf(r->switching[i].id, sizeof r->switching[i].id, "%s", m->id);
    r->switching[i].pid = m->state.pid;
}

static void begin_switchover(struct runtime *r, const struct subject *on, struct member *p, struct member *target)
{
    const struct cache_cluster *c = model_cache_cluster(on->model, view_str(target->id));
    char host[CIDR_TEXT_MAX], port[8];
    const char *words[] = {"FAILOVER", "TO", host, port, "TIMEOUT", "8000", NULL};
    uint32_t address;

    if (!cidr_parse_address(c->address, &address))
        return;
    cidr_format_address(host, r->shadow | (address & 0xffff));
    snprintf(port, sizeof port, "%d", (int)c->port);
    snprintf(r->target, sizeof r->target, "%s", target->id);
    r->asked_us = clock_mono_us();
    note_switching(r, 0, p);
    note_switching(r, 1, target);
    r->refused = false;
    p->ask_failed = false;
    member_ask(p, words);
}

/* The target has taken over: it is granted the role that it has. */
static void grant_target(struct member *target, const struct shard *s)
{
    char epoch[24];
    const char *words[] = {"LARDER", "GRANT", epoch, NULL};

    snprintf(epoch, sizeof epoch, "%" PRId64, s->epoch + 1);
    target->follows[0] = '\0';
    member_ask(target, words);
}

static void give_up_switchover(struct runtime *r, const struct subject *on, const char *why)
{
    struct txn *t = txn_begin(on->model);

    tell(t, on, "replication-group", on->group->id, "Failover of replication group %.*s did not take place: %s",
         (int)on->group->id.n, on->group->id.p, why);
    txn_commit(t, NULL, NULL);
    r->target[0] = '\0';
    end_operation(on);
}

static void go_on_with_switchover(struct runtime *r, const struct subject *on, bool settled)
{
    struct member *p = runtime_member(r, on->shard->primary), *target;

    if (r->target[0] == '\0') {
        target = choose_target(r, on);
        if (!target || target->life != MEMBER_UP || target->state.link != NODE_LINK_UP) {
            if (settled)
                give_up_switchover(r, on, "no replica can take over");
            return;
        }
        if (settled && p && member_is_free(p))
            begin_switchover(r, on, p, target);
        return;
    }
    if (view_equal(on->shard->primary, view_str(r->target))) {
        if (settled) {
            r->target[0] = '\0';
            end_operation(on);
        }
        return;
    }
    r->refused |= p && p->ask_failed && !p->busy;
    target = runtime_member(r, view_str(r->target));
    if (!runtime_is_switching(r)) {
        r->target[0] = '\0'; /* what is left is a failover */
        return;
    }
    if (target->state.role == NODE_PRIMARY) {
        if (member_is_free(target))
            grant_target(target, on->shard);
        return;
    }
    if ((p->state.role == NODE_PRIMARY && !p->busy && r->refused) || clock_mono_us() - r->asked_us > SWITCHOVER_US) {
        give_up_switchover(r, on, r->refused ? "the primary refused it" : "the replica did not catch up in time");
        return;
    }
    if (member_is_free(target))
        member_ask_hello(target);
    if (member_is_free(p))
        member_ask_hello(p);
}

/* ---- reboots ---- */

/* Those that have come back are available again. */
static void end_reboots(struct runtime *r, const struct subject *on)
{
    struct member *m;

    TAILQ_FOREACH(m, &r->members, link) {
        const struct cache_cluster *known = model_cache_cluster(on->model, view_str(m->id));
        struct cache_cluster *c;
        struct txn *t;
        if (!m->reboots || m->life != MEMBER_UP || !known)
            continue;
        m->reboots = false;
        t = txn_begin(on->model);
        c = txn_edit_cache_cluster(t, known->id);
        c->status = txn_text(t, c, VIEW("available"));
        c->operation = NULL;
        c->reboot_needed = false;
        tell(t, on, "cache-cluster", c->id, "Cache node 0001 restarted");
        txn_commit(t, NULL, NULL);
    }
}

/* ---- the step ---- */

static const char *start_failure(const struct runtime *r)
{
    const struct member *m;

    TAILQ_FOREACH(m, &r->members, link)
        if (m->failed_starts >= SHARD_STARTS_MAX)
            return m->failure[0] != '\0' ? m->failure : "a node does not start";
    return r->failed_opens >= SHARD_OPENS_MAX ? r->complaint : NULL;
}

static bool is_kind(const struct subject *on, const char *kind)
{
    return on->operation && view_equal(on->operation->kind, view_str(kind));
}

bool operation_step(struct runtime *r, bool settled)
{
    const struct shard *s = model_shard(reconciler_model(r->reconciler), view_str(r->id));
    struct subject on;
    bool all_gone = operation_remove_gone(r, s);

    s = model_shard(reconciler_model(r->reconciler), view_str(r->id));
    on = subject_of(r, s);
    if (s->members.count == 0 && all_gone) {
        remove_shard(&on);
        return false;
    }
    if (settled)
        end_reboots(r, &on);
    if (view_equal(on.status, VIEW("creating"))) {
        const char *why = start_failure(r);
        if (settled)
            end_operation(&on);
        else if (why)
            fail_creation(&on, why);
    } else if (is_kind(&on, "failover")) {
        go_on_with_switchover(r, &on, settled);
    } else if (is_kind(&on, "modify") && has_pending(&on)) {
        apply_pending(&on);
        runtime_kick(r, 0);
    } else if (settled && !on.operation && is_due(&on)) {
        begin_maintenance(&on);
        runtime_kick(r, 0);
    } else if (settled && all_gone && on.operation && !is_kind(&on, "delete") && !is_kind(&on, "reboot")) {
        end_operation(&on);
    }
    return true;
}
