/* Replication groups: made, shown, changed, deleted. What a change means for the nodes is the reconciler's business; here it
 * becomes desired state and at most one operation, which refuses the next one until it is over. */
#include "control/api/replication_group.h"

#include <stdio.h>
#include <string.h>

#include "api_handlers.h"
#include "control/api/cache_plan.h"
#include "control/api/call.h"
#include "control/api/render.h"
#include "control/api/tag.h"
#include "control/model/catalog.h"
#include "control/model/placement.h"
#include "control/shape/shape.h"

/* What a request says about members, in one form. */
struct wish {
    size_t count;
    struct view zones[1 + CACHE_REPLICAS_MAX]; /* p == NULL: nobody chose */
};

static struct view shard_id_of(struct api_call *c, struct view group_id)
{
    return call_text(c, "%.*s/0001", CALL_TEXT(group_id));
}

static int find_group(struct api_call *c, struct view id, const struct replication_group **out)
{
    *out = model_replication_group(c->model, id);
    if (!*out)
        return call_fail(c, ELASTICACHE_REPLICATION_GROUP_NOT_FOUND, "ReplicationGroup %.*s not found.", CALL_TEXT(id));
    return 0;
}

/* Also fails when something is being done with it. */
static int find_idle_group(struct api_call *c, struct view id, const struct replication_group **out)
{
    int rc = find_group(c, id, out);

    if (rc == 0 && !view_equal((*out)->status, VIEW("available")))
        return call_fail(c, ELASTICACHE_INVALID_REPLICATION_GROUP_STATE,
                         "Replication group %.*s is not in available state; its status is %.*s.", CALL_TEXT(id),
                         CALL_TEXT((*out)->status));
    return rc;
}

static void begin_operation(struct api_call *c, struct replication_group *g, const char *status, const char *kind,
                            struct view target)
{
    struct txn *t = call_txn(c);

    g->status = txn_text(t, g, view_str(status));
    g->operation = shape_new(&operation_shape, txn_arena(t, g), 1);
    g->operation->kind = txn_text(t, g, view_str(kind));
    g->operation->start_time = c->now_ms;
    g->operation->target = txn_text(t, g, target);
}

/* ---- made ---- */

static int refuse_cluster_mode(struct api_call *c)
{
    return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "Cluster mode is not supported yet: NumNodeGroups must be 1.");
}

static int read_count(struct api_call *c, const struct create_replication_group_request *in, struct wish *w)
{
    const struct elasticache_node_group_configuration *one =
        in->node_group_configuration.count > 0 ? &in->node_group_configuration.items[0] : NULL;
    int64_t replicas = 0;

    if ((in->num_node_groups.set && in->num_node_groups.value != 1) || in->node_group_configuration.count > 1)
        return refuse_cluster_mode(c);
    if (in->num_cache_clusters.set && (in->num_node_groups.set || in->replicas_per_node_group.set))
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                         "NumCacheClusters cannot be used with NumNodeGroups or ReplicasPerNodeGroup.");
    if (in->num_cache_clusters.set)
        replicas = in->num_cache_clusters.value - 1;
    else if (one && one->replica_count.set)
        replicas = one->replica_count.value;
    else if (in->replicas_per_node_group.set)
        replicas = in->replicas_per_node_group.value;
    else if (in->preferred_cache_cluster_azs.count > 0)
        replicas = (int64_t)in->preferred_cache_cluster_azs.count - 1;
    if (replicas < 0 || replicas > CACHE_REPLICAS_MAX)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                         "A replication group has 1 to %d cache clusters: a primary and up to %d replicas.",
                         CACHE_REPLICAS_MAX + 1, CACHE_REPLICAS_MAX);
    w->count = (size_t)replicas + 1;
    return 0;
}

static int read_zones(struct api_call *c, const struct create_replication_group_request *in,
                      const struct cache_subnet_group *g, struct wish *w)
{
    const struct elasticache_node_group_configuration *one =
        in->node_group_configuration.count > 0 ? &in->node_group_configuration.items[0] : NULL;
    size_t given = in->preferred_cache_cluster_azs.count;

    if (given > 0 && given != w->count)
        return call_fail(
            c, SERVICE_INVALID_PARAMETER_COMBINATION,
            "PreferredCacheClusterAZs must name as many availability zones as there are cache clusters: %zu.",
            w->count);
    if (one && one->replica_availability_zones.count > 0 && one->replica_availability_zones.count != w->count - 1)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                         "ReplicaAvailabilityZones must name as many availability zones as there are replicas: %zu.",
                         w->count - 1);
    for (size_t i = 0; i < w->count; i++) {
        int rc = 0;
        w->zones[i] = given > 0       ? in->preferred_cache_cluster_azs.items[i]
                      : one && i == 0 ? one->primary_availability_zone
                      : one && i <= one->replica_availability_zones.count && i > 0
                          ? one->replica_availability_zones.items[i - 1]
                          : (struct view){0};
        if (w->zones[i].p)
            rc = cache_plan_zone(c, g, w->zones[i]);
        if (rc != 0)
            return rc;
        if (!w->zones[i].p)
            w->zones[i] = placement_zone(c->model, g, i);
    }
    return 0;
}

/* Does the type allow a replica to take over? */
static int check_failover(struct api_call *c, bool failover, bool multi_az, size_t members, struct view node_type,
                          const struct view *zones)
{
    bool spread = false;

    if (failover && members < 2)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                         "Automatic failover needs at least one replica: NumCacheClusters must be 2 or more.");
    if (failover && node_type.n > 9 && memcmp(node_type.p, "cache.t1.", 9) == 0)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION, "Automatic failover is not supported on T1 nodes.");
    if (multi_az && !failover)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION, "Multi-AZ needs automatic failover to be enabled.");
    for (size_t i = 1; i < members; i++)
        spread |= !view_equal(zones[0], zones[i]);
    if (multi_az && !spread)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                         "Multi-AZ needs a replica in another availability zone than the primary.");
    return 0;
}

static int check_ids(struct api_call *c, struct view id, size_t members)
{
    if (id.n > 40)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                         "The parameter ReplicationGroupId has at most 40 characters.");
    if (model_replication_group(c->model, id))
        return call_fail(c, ELASTICACHE_REPLICATION_GROUP_ALREADY_EXISTS,
                         "Replication group with specified ID already exists.");
    for (size_t i = 1; i <= members; i++)
        if (model_cache_cluster(c->model, call_text(c, "%.*s-%03zu", CALL_TEXT(id), i)))
            return call_fail(c, ELASTICACHE_REPLICATION_GROUP_ALREADY_EXISTS,
                             "The cache cluster %.*s-%03zu already exists.", CALL_TEXT(id), i);
    return 0;
}

/* Adds one more member, as the last. */
static int add_named_member(struct api_call *c, const struct cache_plan *p, struct replication_group *g,
                            struct shard *s, struct view zone, struct view id)
{
    struct txn *t = call_txn(c);
    struct string_list grown = {.set = true, .count = g->members.count};
    struct cache_cluster *n;
    int rc = cache_plan_add_cluster(c, p, id, g->id, s->id, zone, g->auto_minor_version_upgrade, &n);

    if (rc != 0)
        return rc;
    grown.items = call_zalloc(c, (grown.count + 1) * sizeof *grown.items);
    for (size_t i = 0; i < grown.count; i++)
        grown.items[i] = g->members.items[i];
    grown.items[grown.count++] = n->id;
    g->members = cache_plan_texts(c, g, &grown);
    s->members = cache_plan_texts(c, s, &grown);
    if (s->primary.n == 0)
        s->primary = txn_text(t, s, n->id);
    return 0;
}

/* The same with the next name of its group that nobody has. */
static int add_member(struct api_call *c, const struct cache_plan *p, struct replication_group *g, struct shard *s,
                      struct view zone)
{
    struct view id;

    do
        id = call_text(c, "%.*s-%03d", CALL_TEXT(g->id), (int)g->next_member++);
    while (model_cache_cluster(c->model, id));
    return add_named_member(c, p, g, s, zone, id);
}

/* The addresses of both endpoints are taken from the first member's subnet. */
static int give_addresses(struct api_call *c, struct shard *s)
{
    struct txn *t = call_txn(c);
    const struct cache_cluster *first = model_cache_cluster(c->model, s->members.items[0]);
    const struct subnet *subnet = model_subnet(c->model, first->subnet_id);
    char address[CIDR_TEXT_MAX];

    if (!placement_address(c->model, subnet, address))
        goto none;
    s->primary_address = txn_text(t, s, view_str(address));
    if (!placement_address(c->model, subnet, address))
        goto none;
    s->reader_address = txn_text(t, s, view_str(address));
    return 0;
none:
    return call_fail(c, ELASTICACHE_INVALID_VPC_NETWORK_STATE, "There is no free IP address in the subnet %.*s.",
                     CALL_TEXT(subnet->subnet_id));
}

static struct replication_group *add_group(struct api_call *c, const struct create_replication_group_request *in,
                                           const struct cache_plan *p)
{
    struct txn *t = call_txn(c);
    struct replication_group *g = txn_add_replication_group(t, in->replication_group_id);

    g->id = txn_text(t, g, in->replication_group_id);
    g->description = txn_text(t, g, in->replication_group_description);
    g->create_time = c->now_ms;
    g->engine = txn_text(t, g, p->engine);
    g->engine_version = txn_text(t, g, p->engine_version);
    g->node_type = txn_text(t, g, p->node_type);
    g->port = p->port;
    g->automatic_failover = in->automatic_failover_enabled.set && in->automatic_failover_enabled.value;
    g->multi_az = in->multi_az_enabled.set && in->multi_az_enabled.value;
    g->subnet_group = txn_text(t, g, p->subnet_group->name);
    g->security_group_ids = cache_plan_texts(c, g, &p->security_group_ids);
    g->parameter_group = txn_text(t, g, p->parameter_group);
    g->maintenance_window = txn_text(t, g, p->maintenance_window);
    g->snapshot_window = txn_text(t, g, p->snapshot_window);
    g->auto_minor_version_upgrade = in->auto_minor_version_upgrade;
    g->members.set = true;
    begin_operation(c, g, "creating", "create", (struct view){0});
    return g;
}

int elasticache_create_replication_group(struct api_call *c, const struct create_replication_group_request *in,
                                         struct create_replication_group_result *out)
{
    const struct cache_request request = {
        in->engine,
        in->engine_version,
        in->cache_node_type,
        in->cache_parameter_group_name,
        in->cache_subnet_group_name,
        &in->security_group_ids,
        in->preferred_maintenance_window,
        in->snapshot_window,
        in->port,
    };
    bool failover = in->automatic_failover_enabled.set && in->automatic_failover_enabled.value;
    bool multi_az = in->multi_az_enabled.set && in->multi_az_enabled.value;
    struct replication_group *g;
    struct cache_plan plan;
    struct shard *s;
    struct wish w = {0};
    int rc;

    if ((rc = read_count(c, in, &w)) != 0 || (rc = check_ids(c, in->replication_group_id, w.count)) != 0 ||
        (rc = cache_plan_make(c, &request, &plan)) != 0 || (rc = read_zones(c, in, plan.subnet_group, &w)) != 0 ||
        (rc = check_failover(c, failover, multi_az, w.count, plan.node_type, w.zones)) != 0)
        return rc;
    g = add_group(c, in, &plan);
    s = cache_plan_add_shard(c, g->id, true);
    if ((rc = tag_put(c, g, &in->tags, &g->tags)) != 0)
        return rc;
    for (size_t i = 0; i < w.count; i++)
        if ((rc = add_member(c, &plan, g, s, w.zones[i])) != 0)
            return rc;
    if ((rc = give_addresses(c, s)) != 0)
        return rc;
    out->replication_group = call_zalloc(c, sizeof *out->replication_group);
    render_replication_group(c, g, out->replication_group);
    out->replication_group->node_groups =
        (struct elasticache_node_group_list){0}; /* AWS shows them once they are there */
    return 0;
}

/* ---- shown ---- */

int elasticache_describe_replication_groups(struct api_call *c, const struct describe_replication_groups_request *in,
                                            struct describe_replication_groups_result *out)
{
    size_t count = model_count(c->model, MODEL_REPLICATION_GROUP);
    const struct replication_group *g;
    struct page page;
    int rc;

    out->replication_groups.set = true;
    if (in->replication_group_id.p) {
        if ((rc = find_group(c, in->replication_group_id, &g)) != 0)
            return rc;
        out->replication_groups.count = 1;
        out->replication_groups.items = call_zalloc(c, sizeof *out->replication_groups.items);
        render_replication_group(c, g, out->replication_groups.items);
        return 0;
    }
    if (!page_begin(&page, c, in->marker, in->max_records))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The marker %.*s is not valid.", CALL_TEXT(in->marker));
    out->replication_groups.items = call_zalloc(c, (page.limit + 1) * sizeof *out->replication_groups.items);
    for (size_t i = 0; i < count; i++) {
        g = model_replication_group_at(c->model, i);
        if (page_take(&page, g->id))
            render_replication_group(c, g, &out->replication_groups.items[out->replication_groups.count++]);
    }
    out->marker = page_marker(&page, c);
    return 0;
}

/* ---- deleted ---- */

int elasticache_delete_replication_group(struct api_call *c, const struct delete_replication_group_request *in,
                                         struct delete_replication_group_result *out)
{
    struct txn *t = call_txn(c);
    const struct replication_group *known;
    struct replication_group *g;
    int rc = find_group(c, in->replication_group_id, &known);

    if (rc != 0)
        return rc;
    if (!view_equal(known->status, VIEW("available")) && !view_equal(known->status, VIEW("create-failed")))
        return call_fail(c, ELASTICACHE_INVALID_REPLICATION_GROUP_STATE,
                         "Replication group %.*s is not in available state; its status is %.*s.", CALL_TEXT(known->id),
                         CALL_TEXT(known->status));
    if (in->retain_primary_cluster)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "RetainPrimaryCluster is not supported yet.");
    g = txn_edit_replication_group(t, known->id);
    begin_operation(c, g, "deleting", "delete", (struct view){0});
    for (size_t i = 0; i < g->members.count; i++) {
        struct cache_cluster *n = txn_edit_cache_cluster(t, g->members.items[i]);
        n->status = txn_text(t, n, VIEW("deleting"));
    }
    out->replication_group = call_zalloc(c, sizeof *out->replication_group);
    render_replication_group(c, g, out->replication_group);
    return 0;
}

/* ---- changed ---- */

/* Changes that every member takes over at once. */
static void change_members(struct api_call *c, const struct replication_group *g,
                           const struct modify_replication_group_request *in)
{
    struct txn *t = call_txn(c);

    for (size_t i = 0; i < g->members.count; i++) {
        struct cache_cluster *n = txn_edit_cache_cluster(t, g->members.items[i]);
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
    }
}

/* Returns 0 with the version that the group has, or is to have. */
static int check_version(struct api_call *c, const struct replication_group *g, struct view text,
                         const struct catalog_version **out)
{
    const struct catalog_version *now = catalog_engine_version(CATALOG_REDIS, g->engine_version);
    int rc = cache_plan_version(c, g->engine, text.p ? text : g->engine_version, out);

    if (rc == 0 && now && catalog_version_newer(now, *out))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                         "The engine cannot be downgraded from %.*s to %.*s. Create another replication group.",
                         CALL_TEXT(g->engine_version), CALL_TEXT((*out)->full));
    return rc;
}

static int check_modification(struct api_call *c, const struct replication_group *g,
                              const struct modify_replication_group_request *in)
{
    const struct cache_subnet_group *subnets = model_cache_subnet_group(c->model, g->subnet_group);
    bool failover = in->automatic_failover_enabled.set ? in->automatic_failover_enabled.value : g->automatic_failover;
    bool multi_az = in->multi_az_enabled.set ? in->multi_az_enabled.value : g->multi_az;
    struct view type = in->cache_node_type.p ? in->cache_node_type : g->node_type;
    const struct catalog_version *version;
    struct view zones[1 + CACHE_REPLICAS_MAX];
    struct string_list groups;
    struct view group;
    int rc;

    for (size_t i = 0; i < g->members.count && i < 1 + CACHE_REPLICAS_MAX; i++)
        zones[i] = model_cache_cluster(c->model, g->members.items[i])->zone;
    if (in->engine.p && !view_equal(in->engine, g->engine))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The engine %.*s is not supported yet.",
                         CALL_TEXT(in->engine));
    rc = check_version(c, g, in->engine_version, &version);
    if (rc == 0 && (in->multi_az_enabled.set || in->automatic_failover_enabled.set))
        rc = check_failover(c, failover, multi_az, g->members.count, type, zones);
    if (rc == 0 && in->cache_node_type.p)
        rc = cache_plan_node_type(c, type, version);
    if (rc == 0 && in->security_group_ids.count > 0)
        rc = cache_plan_security_groups(c, &in->security_group_ids, subnets ? subnets->vpc_id : VIEW(""), &groups);
    if (rc == 0 && in->cache_parameter_group_name.p)
        rc = cache_plan_parameter_group(c, in->cache_parameter_group_name, version, &group);
    if (rc == 0 && (in->preferred_maintenance_window.p || in->snapshot_window.p))
        rc = cache_plan_windows(
            c, in->preferred_maintenance_window.p ? in->preferred_maintenance_window : g->maintenance_window,
            in->snapshot_window.p ? in->snapshot_window : g->snapshot_window);
    return rc;
}

/* A new primary was named: a planned switchover. */
static int choose_primary(struct api_call *c, const struct replication_group *g, struct view id)
{
    const struct shard *s = model_shard(c->model, shard_id_of(c, g->id));
    bool is_member = false;

    for (size_t i = 0; i < g->members.count; i++)
        is_member |= view_equal(g->members.items[i], id);
    if (!is_member)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The cache cluster %.*s is not a member of %.*s.",
                         CALL_TEXT(id), CALL_TEXT(g->id));
    if (g->automatic_failover)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                         "The primary cannot be chosen while automatic failover is enabled. Use TestFailover.");
    if (view_equal(s->primary, id))
        return 0;
    begin_operation(c, txn_edit_replication_group(call_txn(c), g->id), "modifying", "failover", id);
    return 0;
}

/* Node type and version wait for the maintenance window, unless they are to be applied at once. */
static void change_slowly(struct api_call *c, struct replication_group *g,
                          const struct modify_replication_group_request *in)
{
    struct txn *t = call_txn(c);
    const struct catalog_version *v =
        in->engine_version.p ? catalog_engine_version(CATALOG_REDIS, in->engine_version) : NULL;
    bool other_type = in->cache_node_type.p && !view_equal(in->cache_node_type, g->node_type);
    bool other_version = v && !view_equal(v->full, g->engine_version);

    if (!other_type && !other_version)
        return;
    if (!g->pending)
        g->pending = shape_new(&pending_values_shape, txn_arena(t, g), 1);
    if (other_type)
        g->pending->node_type = txn_text(t, g, in->cache_node_type);
    if (other_version)
        g->pending->engine_version = txn_text(t, g, v->full);
    if (in->apply_immediately)
        begin_operation(c, g, "modifying", "modify", (struct view){0});
    for (size_t i = 0; i < g->members.count; i++) {
        struct cache_cluster *n = txn_edit_cache_cluster(t, g->members.items[i]);
        if (!n->pending)
            n->pending = shape_new(&pending_values_shape, txn_arena(t, n), 1);
        if (other_type)
            n->pending->node_type = txn_text(t, n, in->cache_node_type);
        if (other_version)
            n->pending->engine_version = txn_text(t, n, v->full);
        if (in->apply_immediately)
            n->status = txn_text(t, n, VIEW("modifying"));
    }
}

static void change_group(struct api_call *c, struct replication_group *g,
                         const struct modify_replication_group_request *in)
{
    struct txn *t = call_txn(c);

    if (in->replication_group_description.p)
        g->description = txn_text(t, g, in->replication_group_description);
    if (in->security_group_ids.count > 0)
        g->security_group_ids = cache_plan_texts(c, g, &in->security_group_ids);
    if (in->preferred_maintenance_window.p)
        g->maintenance_window = txn_text(t, g, in->preferred_maintenance_window);
    if (in->snapshot_window.p)
        g->snapshot_window = txn_text(t, g, in->snapshot_window);
    if (in->auto_minor_version_upgrade.set)
        g->auto_minor_version_upgrade = in->auto_minor_version_upgrade.value;
    if (in->cache_parameter_group_name.p)
        g->parameter_group = txn_text(t, g, in->cache_parameter_group_name);
    if (in->multi_az_enabled.set)
        g->multi_az = in->multi_az_enabled.value;
    if (in->automatic_failover_enabled.set && in->automatic_failover_enabled.value != g->automatic_failover) {
        g->automatic_failover = in->automatic_failover_enabled.value;
        call_event(c, "replication-group", g->id, "Automatic failover has been turned %s for replication group %.*s",
                   g->automatic_failover ? "on" : "off", CALL_TEXT(g->id));
    }
    if (!g->automatic_failover)
        g->multi_az = false;
}

int elasticache_modify_replication_group(struct api_call *c, const struct modify_replication_group_request *in,
                                         struct modify_replication_group_result *out)
{
    const struct replication_group *known;
    struct replication_group *g;
    int rc;

    if ((rc = find_idle_group(c, in->replication_group_id, &known)) != 0 ||
        (rc = check_modification(c, known, in)) != 0)
        return rc;
    if (in->primary_cluster_id.p && (rc = choose_primary(c, known, in->primary_cluster_id)) != 0)
        return rc;
    g = txn_edit_replication_group(call_txn(c), in->replication_group_id);
    change_group(c, g, in);
    change_members(c, g, in);
    change_slowly(c, g, in);
    out->replication_group = call_zalloc(c, sizeof *out->replication_group);
    render_replication_group(c, g, out->replication_group);
    return 0;
}

/* ---- replicas ---- */

/* The number that a request wants, in either of its forms. */
static int read_replicas(struct api_call *c, struct maybe_integer count,
                         const struct elasticache_configure_shard_list *shards, bool apply_immediately, int64_t *out)
{
    if (!apply_immediately)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                         "ApplyImmediately must be true: replicas are changed at once.");
    if (count.set == (shards->count > 0))
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                         "Either NewReplicaCount or ReplicaConfiguration must be given.");
    if (shards->count > 1 || (shards->count == 1 && !view_equal(shards->items[0].node_group_id, VIEW("0001"))))
        return call_fail(c, ELASTICACHE_NODE_GROUP_NOT_FOUND, "The replication group has one node group, 0001.");
    *out = count.set ? count.value : shards->items[0].new_replica_count;
    if (*out < 0 || *out > CACHE_REPLICAS_MAX)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "A node group has 0 to %d replicas.", CACHE_REPLICAS_MAX);
    return 0;
}

/* A plan like the one that the group was made with. */
static int plan_again(struct api_call *c, const struct replication_group *g, struct cache_plan *p)
{
    *p = (struct cache_plan){
        g->engine,
        g->engine_version,
        g->node_type,
        g->parameter_group,
        model_cache_subnet_group(c->model, g->subnet_group),
        g->security_group_ids,
        g->maintenance_window,
        g->snapshot_window,
        g->port,
    };
    if (!p->subnet_group)
        return call_fail(c, ELASTICACHE_CACHE_SUBNET_GROUP_NOT_FOUND, "Cache Subnet Group %.*s does not exist.",
                         CALL_TEXT(g->subnet_group));
    return 0;
}

int elasticache_increase_replica_count(struct api_call *c, const struct increase_replica_count_request *in,
                                       struct increase_replica_count_result *out)
{
    const struct replication_group *known;
    const struct string_list *zones = NULL;
    struct replication_group *g;
    struct cache_plan plan;
    struct shard *s;
    int64_t wanted;
    size_t had;
    int rc;

    if ((rc = find_idle_group(c, in->replication_group_id, &known)) != 0 ||
        (rc = read_replicas(c, in->new_replica_count, &in->replica_configuration, in->apply_immediately, &wanted)) !=
            0 ||
        (rc = plan_again(c, known, &plan)) != 0)
        return rc;
    had = known->members.count;
    if ((size_t)wanted + 1 <= had)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The replication group has %zu replicas already.",
                         had - 1);
    if (in->replica_configuration.count == 1 &&
        in->replica_configuration.items[0].preferred_availability_zones.count > 0)
        zones = &in->replica_configuration.items[0].preferred_availability_zones;
    if (zones && zones->count != (size_t)wanted + 1)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                         "PreferredAvailabilityZones must name a zone for each of the %d nodes.", (int)wanted + 1);
    g = txn_edit_replication_group(call_txn(c), known->id);
    s = txn_edit_shard(call_txn(c), shard_id_of(c, g->id));
    begin_operation(c, g, "modifying", "increase", (struct view){0});
    for (size_t i = had; i < (size_t)wanted + 1; i++) {
        struct view zone = zones ? zones->items[i] : placement_zone(c->model, plan.subnet_group, i);
        if ((zones && (rc = cache_plan_zone(c, plan.subnet_group, zone)) != 0) ||
            (rc = add_member(c, &plan, g, s, zone)) != 0)
            return rc;
    }
    out->replication_group = call_zalloc(c, sizeof *out->replication_group);
    render_replication_group(c, g, out->replication_group);
    return 0;
}

int replication_group_join(struct api_call *c, struct view group_id, struct view cluster_id, struct view zone)
{
    const struct replication_group *known;
    struct replication_group *g;
    struct cache_plan plan;
    int rc;

    if ((rc = find_idle_group(c, group_id, &known)) != 0 || (rc = plan_again(c, known, &plan)) != 0)
        return rc;
    if (known->members.count > CACHE_REPLICAS_MAX)
        return call_fail(c, ELASTICACHE_NODE_QUOTA_FOR_CLUSTER_EXCEEDED,
                         "The replication group %.*s has %d replicas already.", CALL_TEXT(known->id),
                         CACHE_REPLICAS_MAX);
    if (zone.p && (rc = cache_plan_zone(c, plan.subnet_group, zone)) != 0)
        return rc;
    if (!zone.p)
        zone = placement_zone(c->model, plan.subnet_group, known->members.count);
    g = txn_edit_replication_group(call_txn(c), known->id);
    begin_operation(c, g, "modifying", "increase", (struct view){0});
    return add_named_member(c, &plan, g, txn_edit_shard(call_txn(c), shard_id_of(c, g->id)), zone, cluster_id);
}

/* Marks a member as one that goes. */
static void drop_member(struct api_call *c, struct view id)
{
    struct txn *t = call_txn(c);
    struct cache_cluster *n = txn_edit_cache_cluster(t, id);

    n->status = txn_text(t, n, VIEW("deleting"));
}

/* Those that were named, or else the last ones that are not the primary. */
static int drop_replicas(struct api_call *c, const struct replication_group *g, const struct shard *s,
                         const struct string_list *named, size_t surplus)
{
    if (named->count > 0 && named->count != surplus)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                         "ReplicasToRemove must name as many replicas as are to be removed: %zu.", surplus);
    for (size_t i = 0; i < named->count; i++) {
        bool is_member = false;
        for (size_t k = 0; k < g->members.count; k++)
            is_member |= view_equal(g->members.items[k], named->items[i]);
        if (!is_member)
            return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "%.*s is not a replica of %.*s.",
                             CALL_TEXT(named->items[i]), CALL_TEXT(g->id));
        if (view_equal(named->items[i], s->primary))
            return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "%.*s is serving as primary and cannot be removed.",
                             CALL_TEXT(named->items[i]));
        for (size_t k = 0; k < i; k++)
            if (view_equal(named->items[k], named->items[i]))
                return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "ReplicasToRemove names %.*s twice.",
                                 CALL_TEXT(named->items[i]));
        drop_member(c, named->items[i]);
    }
    for (size_t i = g->members.count; i-- > 0 && named->count == 0 && surplus > 0;)
        if (!view_equal(g->members.items[i], s->primary)) {
            drop_member(c, g->members.items[i]);
            surplus--;
        }
    return 0;
}

int elasticache_decrease_replica_count(struct api_call *c, const struct decrease_replica_count_request *in,
                                       struct decrease_replica_count_result *out)
{
    const struct replication_group *known;
    struct replication_group *g;
    const struct shard *s;
    int64_t wanted;
    size_t had;
    int rc;

    if ((rc = find_idle_group(c, in->replication_group_id, &known)) != 0)
        return rc;
    had = known->members.count;
    if (in->replicas_to_remove.count > 0 && !in->new_replica_count.set && in->replica_configuration.count == 0) {
        if (!in->apply_immediately)
            return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                             "ApplyImmediately must be true: replicas are changed at once.");
        wanted = (int64_t)had - 1 - (int64_t)in->replicas_to_remove.count;
    } else if ((rc = read_replicas(c, in->new_replica_count, &in->replica_configuration, in->apply_immediately,
                                   &wanted)) != 0) {
        return rc;
    }
    if (wanted < 0 || (size_t)wanted + 1 >= had)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The replication group has %zu replicas.", had - 1);
    if (known->automatic_failover && wanted == 0)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                         "Automatic failover needs at least one replica. Turn it off before the last one is removed.");
    g = txn_edit_replication_group(call_txn(c), known->id);
    s = model_shard(c->model, shard_id_of(c, g->id));
    if ((rc = drop_replicas(c, g, s, &in->replicas_to_remove, had - (size_t)wanted - 1)) != 0)
        return rc;
    begin_operation(c, g, "modifying", "decrease", (struct view){0});
    out->replication_group = call_zalloc(c, sizeof *out->replication_group);
    render_replication_group(c, g, out->replication_group);
    return 0;
}

/* ---- a test ---- */

int elasticache_test_failover(struct api_call *c, const struct test_failover_request *in,
                              struct test_failover_result *out)
{
    const struct replication_group *known;
    struct replication_group *g;
    int rc = find_idle_group(c, in->replication_group_id, &known);

    if (rc != 0)
        return rc;
    if (!view_equal(in->node_group_id, VIEW("0001")))
        return call_fail(c, ELASTICACHE_NODE_GROUP_NOT_FOUND, "NodeGroup %.*s not found in replication group %.*s.",
                         CALL_TEXT(in->node_group_id), CALL_TEXT(known->id));
    if (!known->automatic_failover)
        return call_fail(c, ELASTICACHE_TEST_FAILOVER_NOT_AVAILABLE,
                         "Automatic failover is not enabled for replication group %.*s.", CALL_TEXT(known->id));
    g = txn_edit_replication_group(call_txn(c), known->id);
    begin_operation(c, g, "modifying", "failover", (struct view){0});
    call_event(c, "replication-group", g->id, "Test Failover API called for node group %.*s",
               CALL_TEXT(in->node_group_id));
    out->replication_group = call_zalloc(c, sizeof *out->replication_group);
    render_replication_group(c, g, out->replication_group);
    return 0;
}
