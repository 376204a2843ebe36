/* Cache clusters: a Redis node by itself, or a member of a replication group. */
#include <string.h>

#include "api_handlers.h"
#include "control/api/cache_plan.h"
#include "control/api/call.h"
#include "control/api/render.h"
#include "control/api/replication_group.h"
#include "control/api/tag.h"
#include "control/model/catalog.h"
#include "control/model/placement.h"
#include "control/shape/shape.h"

static int find_cluster(struct api_call *c, struct view id, const struct cache_cluster **out)
{
    *out = model_cache_cluster(c->model, id);
    if (!*out)
        return call_fail(c, ELASTICACHE_CACHE_CLUSTER_NOT_FOUND, "CacheCluster not found: %.*s", CALL_TEXT(id));
    return 0;
}

/* Also fails when something is being done with it, or with its group. */
static int find_idle_cluster(struct api_call *c, struct view id, const struct cache_cluster **out)
{
    const struct replication_group *g;
    int rc = find_cluster(c, id, out);

    if (rc != 0)
        return rc;
    g = (*out)->group_id.p ? model_replication_group(c->model, (*out)->group_id) : NULL;
    if (!view_equal((*out)->status, VIEW("available")))
        return call_fail(c, ELASTICACHE_INVALID_CACHE_CLUSTER_STATE,
                         "Cache cluster %.*s is not in available state; its status is %.*s.", CALL_TEXT(id),
                         CALL_TEXT((*out)->status));
    if (g && !view_equal(g->status, VIEW("available")))
        return call_fail(c, ELASTICACHE_INVALID_CACHE_CLUSTER_STATE,
                         "The replication group %.*s of cache cluster %.*s is not in available state.",
                         CALL_TEXT(g->id), CALL_TEXT(id));
    return 0;
}

static void begin_operation(struct api_call *c, struct cache_cluster *n, const char *status, const char *kind)
{
    struct txn *t = call_txn(c);

    n->status = txn_text(t, n, view_str(status));
    n->operation = shape_new(&operation_shape, txn_arena(t, n), 1);
    n->operation->kind = txn_text(t, n, view_str(kind));
    n->operation->start_time = c->now_ms;
}

/* ---- made ---- */

static int check_request(struct api_call *c, const struct create_cache_cluster_request *in)
{
    if (in->engine.p && view_equal(in->engine, VIEW("memcached")))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The engine memcached is not supported yet.");
    if (in->cache_cluster_id.n > 50)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The parameter CacheClusterId has at most 50 characters.");
    if (in->num_cache_nodes.set && in->num_cache_nodes.value != 1)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "NumCacheNodes should be 1 if engine is redis.");
    if (in->az_mode.p && view_equal(in->az_mode, VIEW("cross-az")))
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION, "AZMode cross-az needs more than one cache node.");
    if (in->preferred_availability_zones.count > 1)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                         "PreferredAvailabilityZones has more zones than there are cache nodes.");
    if (model_cache_cluster(c->model, in->cache_cluster_id))
        return call_fail(c, ELASTICACHE_CACHE_CLUSTER_ALREADY_EXISTS, "Cache cluster %.*s already exists.",
                         CALL_TEXT(in->cache_cluster_id));
    return 0;
}

static struct view zone_of(const struct create_cache_cluster_request *in)
{
    return in->preferred_availability_zones.count == 1 ? in->preferred_availability_zones.items[0]
                                                       : in->preferred_availability_zone;
}

static int create_alone(struct api_call *c, const struct create_cache_cluster_request *in, struct cache_cluster **out)
{
    const struct cache_request request = {
        .engine = in->engine,
        .engine_version = in->engine_version,
        .node_type = in->cache_node_type,
        .parameter_group = in->cache_parameter_group_name,
        .subnet_group = in->cache_subnet_group_name,
        .security_group_ids = &in->security_group_ids,
        .maintenance_window = in->preferred_maintenance_window,
        .snapshot_window = in->snapshot_window,
        .port = in->port,
    };
    struct txn *t = call_txn(c);
    struct cache_plan plan;
    struct shard *s;
    int rc;

    if ((rc = cache_plan_make(c, &request, &plan)) != 0 ||
        (zone_of(in).p && (rc = cache_plan_zone(c, plan.subnet_group, zone_of(in))) != 0))
        return rc;
    s = cache_plan_add_shard(c, in->cache_cluster_id, false);
    rc = cache_plan_add_cluster(c, &plan, in->cache_cluster_id, (struct view){0}, s->id, zone_of(in),
                                in->auto_minor_version_upgrade, out);
    if (rc != 0 || (rc = tag_put(c, *out, &in->tags, &(*out)->tags)) != 0)
        return rc;
    s->members = cache_plan_texts(c, s, &(struct string_list){true, 1, &(*out)->id});
    s->primary = txn_text(t, s, (*out)->id);
    begin_operation(c, *out, "creating", "create");
    return 0;
}

/* A replica is made as its group is; what says otherwise is refused. */
static int join_group(struct api_call *c, const struct create_cache_cluster_request *in, struct cache_cluster **out)
{
    int rc;

    if (in->engine.p || in->engine_version.p || in->cache_node_type.p || in->cache_parameter_group_name.p ||
        in->cache_subnet_group_name.p || in->security_group_ids.count > 0 || in->port.set)
        return call_fail(
            c, SERVICE_INVALID_PARAMETER_COMBINATION,
            "A cache cluster that joins a replication group takes over its engine, node type, port and groups.");
    rc = replication_group_join(c, in->replication_group_id, in->cache_cluster_id, zone_of(in));
    if (rc != 0)
        return rc;
    *out = txn_edit_cache_cluster(call_txn(c), in->cache_cluster_id);
    return tag_put(c, *out, &in->tags, &(*out)->tags);
}

int elasticache_create_cache_cluster(struct api_call *c, const struct create_cache_cluster_request *in,
                                     struct create_cache_cluster_result *out)
{
    struct cache_cluster *n = NULL;
    int rc = check_request(c, in);

    if (rc == 0)
        rc = in->replication_group_id.p ? join_group(c, in, &n) : create_alone(c, in, &n);
    if (rc != 0)
        return rc;
    out->cache_cluster = call_zalloc(c, sizeof *out->cache_cluster);
    render_cache_cluster(c, n, false, out->cache_cluster);
    return 0;
}

/* ---- shown ---- */

int elasticache_describe_cache_clusters(struct api_call *c, const struct describe_cache_clusters_request *in,
                                        struct describe_cache_clusters_result *out)
{
    size_t count = model_count(c->model, MODEL_CACHE_CLUSTER);
    const struct cache_cluster *n;
    struct page page;
    int rc;

    out->cache_clusters.set = true;
    if (in->cache_cluster_id.p) {
        if ((rc = find_cluster(c, in->cache_cluster_id, &n)) != 0)
            return rc;
        out->cache_clusters.count = 1;
        out->cache_clusters.items = call_zalloc(c, sizeof *out->cache_clusters.items);
        render_cache_cluster(c, n, in->show_cache_node_info, out->cache_clusters.items);
        return 0;
    }
    if (!page_begin(&page, c, in->marker, in->max_records))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The marker %.*s is not valid.", CALL_TEXT(in->marker));
    out->cache_clusters.items = call_zalloc(c, (page.limit + 1) * sizeof *out->cache_clusters.items);
    for (size_t i = 0; i < count; i++) {
        n = model_cache_cluster_at(c->model, i);
        if (in->show_cache_clusters_not_in_replication_groups && n->group_id.p)
            continue;
        if (page_take(&page, n->id))
            render_cache_cluster(c, n, in->show_cache_node_info,
                                 &out->cache_clusters.items[out->cache_clusters.count++]);
    }
    out->marker = page_marker(&page, c);
    return 0;
}

/* ---- deleted ---- */

/* A member goes as by DecreaseReplicaCount. */
static int delete_member(struct api_call *c, const struct cache_cluster *known)
{
    struct txn *t = call_txn(c);
    const struct replication_group *had = model_replication_group(c->model, known->group_id);
    const struct shard *s = model_shard(c->model, known->shard_id);
    struct replication_group *g;

    if (had->members.count == 1)
        return call_fail(
            c, ELASTICACHE_INVALID_CACHE_CLUSTER_STATE,
            "Cache cluster %.*s is the only member of a replication group. Delete the replication group %.*s.",
            CALL_TEXT(known->id), CALL_TEXT(had->id));
    if (view_equal(s->primary, known->id))
        return call_fail(c, ELASTICACHE_INVALID_CACHE_CLUSTER_STATE,
                         "Cache cluster %.*s is serving as primary for replication group %.*s and cannot be deleted.",
                         CALL_TEXT(known->id), CALL_TEXT(had->id));
    if (had->automatic_failover && had->members.count == 2)
        return call_fail(c, ELASTICACHE_INVALID_CACHE_CLUSTER_STATE,
                         "Automatic failover needs at least one replica. Turn it off before the last one is deleted.");
    g = txn_edit_replication_group(t, had->id);
    g->status = txn_text(t, g, VIEW("modifying"));
    g->operation = shape_new(&operation_shape, txn_arena(t, g), 1);
    g->operation->kind = txn_text(t, g, VIEW("decrease"));
    g->operation->start_time = c->now_ms;
    return 0;
}

int elasticache_delete_cache_cluster(struct api_call *c, const struct delete_cache_cluster_request *in,
                                     struct delete_cache_cluster_result *out)
{
    const struct cache_cluster *known;
    struct cache_cluster *n;
    int rc = find_cluster(c, in->cache_cluster_id, &known);

    /* One that could not be made has nothing left but this. */
    if (rc == 0 && !view_equal(known->status, VIEW("incompatible-network")))
        rc = find_idle_cluster(c, in->cache_cluster_id, &known);
    if (rc != 0 || (known->group_id.p && (rc = delete_member(c, known)) != 0))
        return rc;
    n = txn_edit_cache_cluster(call_txn(c), known->id);
    begin_operation(c, n, "deleting", "delete");
    out->cache_cluster = call_zalloc(c, sizeof *out->cache_cluster);
    render_cache_cluster(c, n, true, out->cache_cluster);
    return 0;
}

/* ---- changed ---- */

static int check_modification(struct api_call *c, const struct cache_cluster *n,
                              const struct modify_cache_cluster_request *in)
{
    const struct subnet *subnet = model_subnet(c->model, n->subnet_id);
    const struct catalog_version *now = catalog_engine_version(CATALOG_REDIS, n->engine_version), *v;
    struct string_list groups;
    struct view group;
    int rc;

    if (n->group_id.p && (in->cache_node_type.p || in->engine_version.p || in->cache_parameter_group_name.p))
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                         "Cache cluster %.*s is a member of replication group %.*s: modify the replication group.",
                         CALL_TEXT(n->id), CALL_TEXT(n->group_id));
    if ((in->num_cache_nodes.set && in->num_cache_nodes.value != 1) || in->cache_node_ids_to_remove.count > 0 ||
        in->new_availability_zones.count > 0)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "A cache cluster of the engine redis has one node.");
    if (in->az_mode.p && view_equal(in->az_mode, VIEW("cross-az")))
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION, "AZMode cross-az needs more than one cache node.");
    if (in->engine.p && !view_equal(in->engine, n->engine))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The engine %.*s is not supported yet.",
                         CALL_TEXT(in->engine));
    rc = cache_plan_version(c, n->engine, in->engine_version.p ? in->engine_version : n->engine_version, &v);
    if (rc == 0 && now && catalog_version_newer(now, v))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The engine cannot be downgraded from %.*s to %.*s.",
                         CALL_TEXT(n->engine_version), CALL_TEXT(v->full));
    if (rc == 0 && in->cache_node_type.p)
        rc = cache_plan_node_type(c, in->cache_node_type, v);
    if (rc == 0 && in->security_group_ids.count > 0)
        rc = cache_plan_security_groups(c, &in->security_group_ids, subnet->vpc_id, &groups);
    if (rc == 0 && in->cache_parameter_group_name.p)
        rc = cache_plan_parameter_group(c, in->cache_parameter_group_name, v, &group);
    if (rc == 0 && (in->preferred_maintenance_window.p || in->snapshot_window.p))
        rc = cache_plan_windows(
            c, in->preferred_maintenance_window.p ? in->preferred_maintenance_window : n->maintenance_window,
            in->snapshot_window.p ? in->snapshot_window : n->snapshot_window);
    return rc;
}

static void change_slowly(struct api_call *c, struct cache_cluster *n, const struct modify_cache_cluster_request *in)
{
    struct txn *t = call_txn(c);
    const struct catalog_version *v =
        in->engine_version.p ? catalog_engine_version(CATALOG_REDIS, in->engine_version) : NULL;
    bool other_type = in->cache_node_type.p && !view_equal(in->cache_node_type, n->node_type);
    bool other_version = v && !view_equal(v->full, n->engine_version);

    if (!other_type && !other_version)
        return;
    if (!n->pending)
        n->pending = shape_new(&pending_values_shape, txn_arena(t, n), 1);
    if (other_type)
        n->pending->node_type = txn_text(t, n, in->cache_node_type);
    if (other_version)
        n->pending->engine_version = txn_text(t, n, v->full);
    if (in->apply_immediately)
        begin_operation(c, n, "modifying", "modify");
}

int elasticache_modify_cache_cluster(struct api_call *c, const struct modify_cache_cluster_request *in,
                                     struct modify_cache_cluster_result *out)
{
    struct txn *t = call_txn(c);
    const struct cache_cluster *known;
    struct cache_cluster *n;
    int rc;

    if ((rc = find_idle_cluster(c, in->cache_cluster_id, &known)) != 0 || (rc = check_modification(c, known, in)) != 0)
        return rc;
    n = txn_edit_cache_cluster(t, known->id);
    if (in->security_group_ids.count > 0)
        n->security_group_ids = cache_plan_texts(c, n, &in->security_group_ids);
    if (in->preferred_maintenance_window.p)
        n->maintenance_window = txn_text(t, n, in->preferred_maintenance_window);
    if (in->snapshot_window.p)
        n->snapshot_window = txn_text(t, n, in->snapshot_window);
    if (in->auto_minor_version_upgrade.set)
        n->auto_minor_version_upgrade = in->auto_minor_version_upgrade.value;
    if (in->cache_parameter_group_name.p) {
        n->parameter_group = txn_text(t, n, in->cache_parameter_group_name);
        n->parameter_version = 0;
    }
    change_slowly(c, n, in);
    out->cache_cluster = call_zalloc(c, sizeof *out->cache_cluster);
    render_cache_cluster(c, n, true, out->cache_cluster);
    return 0;
}

int elasticache_reboot_cache_cluster(struct api_call *c, const struct reboot_cache_cluster_request *in,
                                     struct reboot_cache_cluster_result *out)
{
    const struct cache_cluster *known;
    struct cache_cluster *n;
    int rc = find_idle_cluster(c, in->cache_cluster_id, &known);

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < in->cache_node_ids_to_reboot.count; i++)
        if (!view_equal(in->cache_node_ids_to_reboot.items[i], VIEW("0001")))
            return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "Cache cluster %.*s has no cache node %.*s.",
                             CALL_TEXT(known->id), CALL_TEXT(in->cache_node_ids_to_reboot.items[i]));
    n = txn_edit_cache_cluster(call_txn(c), known->id);
    begin_operation(c, n, "rebooting cluster nodes", "reboot");
    out->cache_cluster = call_zalloc(c, sizeof *out->cache_cluster);
    render_cache_cluster(c, n, true, out->cache_cluster);
    return 0;
}
