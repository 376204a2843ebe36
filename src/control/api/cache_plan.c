/* Plans of caches: see cache_plan.h. */
#include "control/api/cache_plan.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "control/model/catalog.h"
#include "control/api/subnet_group.h"
#include "control/model/defaults.h"
#include "control/model/placement.h"
#include "control/model/window.h"
#include "control/state/secrets.h"

int cache_plan_windows(struct api_call *c, struct view maintenance, struct view snapshot)
{
    if (!window_overlap(maintenance, snapshot))
        return 0;
    return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                     "The snapshot window %.*s and the maintenance window %.*s must not overlap.", CALL_TEXT(snapshot),
                     CALL_TEXT(maintenance));
}

/* ---- what a plan refers to ---- */

int cache_plan_security_groups(struct api_call *c, const struct string_list *ids, struct view vpc_id,
                               struct string_list *out)
{
    *out = (struct string_list){.set = true};
    if (ids && ids->count > 0) {
        for (size_t i = 0; i < ids->count; i++) {
            const struct security_group *g = model_security_group(c->model, ids->items[i]);
            if (!g || !view_equal(g->vpc_id, vpc_id))
                return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                                 "The security group %.*s does not exist in the VPC %.*s.", CALL_TEXT(ids->items[i]),
                                 CALL_TEXT(vpc_id));
        }
        out->count = ids->count;
        out->items = ids->items;
        return 0;
    }
    for (size_t i = 0; i < model_count(c->model, MODEL_SECURITY_GROUP); i++) {
        const struct security_group *g = model_security_group_at(c->model, i);
        if (!view_equal(g->vpc_id, vpc_id) || !view_equal(g->group_name, VIEW("default")))
            continue;
        out->count = 1;
        out->items = call_zalloc(c, sizeof *out->items);
        out->items[0] = call_text(c, "%.*s", CALL_TEXT(g->group_id));
    }
    return 0;
}

int cache_plan_parameter_group(struct api_call *c, struct view name, const struct catalog_version *v, struct view *out)
{
    struct catalog_group g;

    *out = name.p ? name : v->family->default_group;
    if (!catalog_group(c->model, *out, &g))
        return call_fail(c, ELASTICACHE_CACHE_PARAMETER_GROUP_NOT_FOUND, "CacheParameterGroup %.*s not found.",
                         CALL_TEXT(*out));
    if (g.family != v->family)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                         "Expected a parameter group of family %.*s but found one of family %.*s",
                         CALL_TEXT(v->family->name), CALL_TEXT(g.family->name));
    if (catalog_group_cluster_mode(&g))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                         "Cluster mode is not supported yet: the parameter group %.*s enables it.", CALL_TEXT(*out));
    return 0;
}

int cache_plan_version(struct api_call *c, struct view engine, struct view text, const struct catalog_version **out)
{
    *out = catalog_engine_version(CATALOG_REDIS, text);
    if (!view_equal(engine, VIEW("redis")))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The engine %.*s is not supported yet.",
                         CALL_TEXT(engine));
    if (!*out)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION, "Cannot find version %.*s for %.*s", CALL_TEXT(text),
                         CALL_TEXT(engine));
    return 0;
}

int cache_plan_node_type(struct api_call *c, struct view name, const struct catalog_version *v)
{
    const struct catalog_node_type *t;

    if (!name.p)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                         "The parameter CacheNodeType must be provided and must not be null.");
    t = catalog_node_type(name);
    if (!t)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "Invalid Cache Node Type: %.*s", CALL_TEXT(name));
    if (!catalog_node_type_runs(t, v))
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION, "The node type %.*s does not run version %.*s.",
                         CALL_TEXT(name), CALL_TEXT(v->full));
    return 0;
}

int cache_plan_make(struct api_call *c, const struct cache_request *r, struct cache_plan *out)
{
    struct cache_plan p = {.engine = r->engine.p ? r->engine : VIEW("redis"), .node_type = r->node_type};
    char maintenance[WINDOW_TEXT_MAX], snapshot[WINDOW_TEXT_MAX];
    const struct catalog_version *v;
    int rc;

    window_make(maintenance, snapshot);
    p.port = r->port.set ? r->port.value : 6379;
    if ((rc = cache_plan_version(c, p.engine, r->engine_version, &v)) != 0 ||
        (rc = cache_plan_node_type(c, r->node_type, v)) != 0 ||
        (rc = subnet_group_find(c, r->subnet_group, &p.subnet_group)) != 0 ||
        (rc = cache_plan_parameter_group(c, r->parameter_group, v, &p.parameter_group)) != 0 ||
        (rc = cache_plan_security_groups(c, r->security_group_ids, p.subnet_group->vpc_id, &p.security_group_ids)) != 0)
        return rc;
    p.engine_version = v->full;
    p.maintenance_window = r->maintenance_window.p ? r->maintenance_window : call_text(c, "%s", maintenance);
    p.snapshot_window = r->snapshot_window.p ? r->snapshot_window : call_text(c, "%s", snapshot);
    if (r->maintenance_window.p && r->snapshot_window.p &&
        (rc = cache_plan_windows(c, p.maintenance_window, p.snapshot_window)) != 0)
        return rc;
    *out = p;
    return 0;
}

int cache_plan_zone(struct api_call *c, const struct cache_subnet_group *g, struct view zone)
{
    if (!placement_has_zone(c->account->region, zone))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "%.*s is not a valid availability zone.", CALL_TEXT(zone));
    if (!placement_covers(c->model, g, zone))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                         "The cache subnet group %.*s has no subnet in the availability zone %.*s.", CALL_TEXT(g->name),
                         CALL_TEXT(zone));
    return 0;
}

/* ---- records ---- */

struct string_list cache_plan_texts(struct api_call *c, const void *record, const struct string_list *from)
{
    struct txn *t = call_txn(c);
    struct string_list to = {.set = from->set, .count = from->count};

    to.items = arena_alloc(txn_arena(t, record), (from->count + 1) * sizeof *to.items);
    for (size_t i = 0; i < from->count; i++)
        to.items[i] = txn_text(t, record, from->items[i]);
    return to;
}

struct shard *cache_plan_add_shard(struct api_call *c, struct view owner, bool grouped)
{
    struct txn *t = call_txn(c);
    struct view id = call_text(c, "%.*s/0001", CALL_TEXT(owner));
    struct shard *s = txn_add_shard(t, id);
    struct secrets_place place = {VIEW("shard"), id, VIEW("Secret")};
    struct buf sealed = {0};
    char secret[41];
    enum secrets_status status;

    random_hex(secret, 40);
    status = secrets_seal(c->api->secrets, &place, view_of(secret, 40), &sealed);
    assert(status == SECRETS_OK);
    (void)status;
    s->id = txn_text(t, s, id);
    s->owner = txn_text(t, s, owner);
    s->grouped = grouped;
    s->secret = txn_text(t, s, buf_view(&sealed));
    s->members.set = true;
    s->primary = txn_text(t, s, VIEW(""));
    explicit_bzero(secret, sizeof secret);
    buf_free(&sealed);
    return s;
}

static int check_quota(struct api_call *c)
{
    if (model_count(c->model, MODEL_CACHE_CLUSTER) >= CACHE_NODES_MAX)
        return call_fail(c, ELASTICACHE_NODE_QUOTA_FOR_CUSTOMER_EXCEEDED,
                         "The account would have more than %d cache nodes.", CACHE_NODES_MAX);
    return 0;
}

/* What all nodes may use must fit into the host's memory. */
static int check_memory(struct api_call *c, const struct cache_plan *p, struct view id)
{
    const struct catalog_node_type *type = catalog_node_type(p->node_type);
    uint64_t wanted = type->maxmemory;

    for (size_t i = 0; i < model_count(c->model, MODEL_CACHE_CLUSTER); i++) {
        type = catalog_node_type(model_cache_cluster_at(c->model, i)->node_type);
        wanted += type ? type->maxmemory : 0;
    }
    if (wanted <= c->api->host_memory)
        return 0;
    if (c->api->strict_memory)
        return call_fail(c, ELASTICACHE_INSUFFICIENT_CACHE_CLUSTER_CAPACITY,
                         "The host has %" PRIu64 " MiB of memory; with this node all nodes could use %" PRIu64 " MiB.",
                         c->api->host_memory >> 20, wanted >> 20);
    call_event(c, "cache-cluster", id,
               "All nodes together may use %" PRIu64 " MiB of memory; the host has %" PRIu64 " MiB", wanted >> 20,
               c->api->host_memory >> 20);
    return 0;
}

int cache_plan_add_cluster(struct api_call *c, const struct cache_plan *p, struct view id, struct view group_id,
                           struct view shard_id, struct view zone, bool auto_minor_version_upgrade,
                           struct cache_cluster **out)
{
    struct txn *t = call_txn(c);
    char address[CIDR_TEXT_MAX], interface[DEFAULTS_ID_MAX];
    const struct subnet *subnet;
    struct cache_cluster *n;
    int rc;

    if ((rc = check_quota(c)) != 0 || (rc = check_memory(c, p, id)) != 0)
        return rc;
    subnet = placement_subnet(c->model, p->subnet_group, zone);
    if (!subnet || !placement_address(c->model, subnet, address))
        return call_fail(c, ELASTICACHE_INVALID_VPC_NETWORK_STATE,
                         "There is no free IP address in the subnets of the group %.*s%s%.*s.",
                         CALL_TEXT(p->subnet_group->name), zone.p ? " in " : "", CALL_TEXT(zone));
    defaults_new_id(interface, "eni-");
    n = txn_add_cache_cluster(t, id);
    n->id = txn_text(t, n, id);
    n->group_id = txn_text(t, n, group_id);
    n->shard_id = txn_text(t, n, shard_id);
    n->status = txn_text(t, n, VIEW("creating"));
    n->create_time = c->now_ms;
    n->engine = txn_text(t, n, p->engine);
    n->engine_version = txn_text(t, n, p->engine_version);
    n->node_type = txn_text(t, n, p->node_type);
    n->port = p->port;
    n->zone = txn_text(t, n, subnet->zone);
    n->subnet_id = txn_text(t, n, subnet->subnet_id);
    n->address = txn_text(t, n, view_str(address));
    n->interface_id = txn_text(t, n, view_str(interface));
    n->subnet_group = txn_text(t, n, p->subnet_group->name);
    n->security_group_ids = cache_plan_texts(c, n, &p->security_group_ids);
    n->parameter_group = txn_text(t, n, p->parameter_group);
    n->maintenance_window = txn_text(t, n, p->maintenance_window);
    n->snapshot_window = txn_text(t, n, p->snapshot_window);
    n->auto_minor_version_upgrade = auto_minor_version_upgrade;
    *out = n;
    return 0;
}
