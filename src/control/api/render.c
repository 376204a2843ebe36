/* Answers about caches: see render.h. */
#include "control/api/render.h"

#include "control/model/names.h"

static struct elasticache_endpoint *endpoint(struct api_call *c, struct view address, const char *name, int64_t port)
{
    struct elasticache_endpoint *e = call_zalloc(c, sizeof *e);

    e->address = c->api->plain_addresses ? address : call_text(c, "%s", name);
    e->port = port;
    return e;
}

static struct elasticache_endpoint *node_endpoint(struct api_call *c, const struct cache_cluster *n)
{
    char name[NAMES_MAX];

    names_node(name, c->account, c->api->dns_suffix, n->id);
    return endpoint(c, n->address, name, n->port);
}

/* ---- replication groups ---- */

static void render_member(struct api_call *c, const struct shard *s, const struct cache_cluster *n,
                          struct elasticache_node_group_member *out)
{
    out->cache_cluster_id = n->id;
    out->cache_node_id = VIEW("0001");
    out->preferred_availability_zone = n->zone;
    out->read_endpoint = node_endpoint(c, n);
    out->current_role = view_equal(s->primary, n->id) ? VIEW("primary") : VIEW("replica");
}

/* The primary is the first of the members: some clients go by that. */
static void render_node_group(struct api_call *c, const struct replication_group *g, const struct shard *s,
                              struct elasticache_node_group *out)
{
    char name[NAMES_MAX];
    size_t count = 0;

    out->node_group_id = VIEW("0001");
    out->status = g->status;
    names_primary(name, c->account, c->api->dns_suffix, g->id);
    out->primary_endpoint = endpoint(c, s->primary_address, name, g->port);
    names_reader(name, c->account, c->api->dns_suffix, g->id);
    out->reader_endpoint = endpoint(c, s->reader_address, name, g->port);
    out->node_group_members.set = true;
    out->node_group_members.items = call_zalloc(c, (s->members.count + 1) * sizeof *out->node_group_members.items);
    for (unsigned pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < s->members.count; i++) {
            const struct cache_cluster *n = model_cache_cluster(c->model, s->members.items[i]);
            if (n && view_equal(n->id, s->primary) == (pass == 0))
                render_member(c, s, n, &out->node_group_members.items[count++]);
        }
    out->node_group_members.count = count;
}

static struct view failover_status(const struct replication_group *g)
{
    bool changes = g->operation && view_equal(g->operation->kind, VIEW("modify")) && g->pending &&
                   g->pending->automatic_failover.set;

    if (changes)
        return g->pending->automatic_failover.value ? VIEW("enabling") : VIEW("disabling");
    return g->automatic_failover ? VIEW("enabled") : VIEW("disabled");
}

void render_replication_group(struct api_call *c, const struct replication_group *g,
                              struct elasticache_replication_group *out)
{
    struct view shard_id = call_text(c, "%.*s/0001", CALL_TEXT(g->id));
    const struct shard *s = model_shard(c->model, shard_id);

    out->replication_group_id = g->id;
    out->description = g->description;
    out->status = g->status;
    out->pending_modified_values = call_zalloc(c, sizeof *out->pending_modified_values);
    if (g->pending && g->pending->automatic_failover.set)
        out->pending_modified_values->automatic_failover_status =
            g->pending->automatic_failover.value ? VIEW("enabled") : VIEW("disabled");
    out->member_clusters = g->members;
    out->member_clusters.set = true;
    if (s) {
        out->node_groups.set = true;
        out->node_groups.count = 1;
        out->node_groups.items = call_zalloc(c, sizeof *out->node_groups.items);
        render_node_group(c, g, s, &out->node_groups.items[0]);
    }
    out->automatic_failover = failover_status(g);
    out->multi_az = g->multi_az ? VIEW("enabled") : VIEW("disabled");
    out->snapshot_retention_limit = g->snapshot_retention;
    out->snapshot_window = g->snapshot_window;
    out->cache_node_type = g->node_type;
    out->arn = call_arn(c, "replicationgroup", g->id);
    out->log_delivery_configurations.set = true;
    out->replication_group_create_time = g->create_time;
    out->data_tiering = VIEW("disabled");
    out->auto_minor_version_upgrade = g->auto_minor_version_upgrade;
    out->network_type = VIEW("ipv4");
    out->ip_discovery = VIEW("ipv4");
    out->cluster_mode = VIEW("disabled");
    out->engine = g->engine;
}

/* ---- clusters ---- */

static void render_groups(struct api_call *c, const struct cache_cluster *n, struct elasticache_cache_cluster *out)
{
    size_t count = n->security_group_ids.count;

    out->security_groups.set = true;
    out->security_groups.count = count;
    out->security_groups.items = call_zalloc(c, (count + 1) * sizeof *out->security_groups.items);
    for (size_t i = 0; i < count; i++) {
        out->security_groups.items[i].security_group_id = n->security_group_ids.items[i];
        out->security_groups.items[i].status = VIEW("active");
    }
}

static void render_node(struct api_call *c, const struct cache_cluster *n, struct elasticache_cache_cluster *out)
{
    struct elasticache_cache_node *node = call_zalloc(c, sizeof *node);
    bool reboots = view_equal(n->status, VIEW("rebooting cluster nodes"));

    node->cache_node_id = VIEW("0001");
    node->cache_node_status = reboots                                   ? VIEW("rebooting")
                              : view_equal(n->status, VIEW("creating")) ? VIEW("creating")
                              : view_equal(n->status, VIEW("deleting")) ? VIEW("deleting")
                                                                        : VIEW("available");
    node->cache_node_create_time.set = true;
    node->cache_node_create_time.value = n->create_time;
    node->endpoint = node_endpoint(c, n);
    node->parameter_group_status = VIEW("in-sync");
    node->customer_availability_zone = n->zone;
    out->cache_nodes.set = true;
    out->cache_nodes.count = 1;
    out->cache_nodes.items = node;
}

static void render_parameters(struct api_call *c, const struct cache_cluster *n, struct elasticache_cache_cluster *out)
{
    const struct parameter_group *g = model_parameter_group(c->model, n->parameter_group);
    struct elasticache_cache_parameter_group_status *s = call_zalloc(c, sizeof *s);

    s->cache_parameter_group_name = n->parameter_group;
    s->parameter_apply_status = n->reboot_needed                          ? VIEW("pending-reboot")
                                : g && g->version != n->parameter_version ? VIEW("applying")
                                                                          : VIEW("in-sync");
    s->cache_node_ids_to_reboot.set = true;
    if (n->reboot_needed) {
        s->cache_node_ids_to_reboot.count = 1;
        s->cache_node_ids_to_reboot.items = call_zalloc(c, sizeof(struct view));
        s->cache_node_ids_to_reboot.items[0] = VIEW("0001");
    }
    out->cache_parameter_group = s;
}

void render_cache_cluster(struct api_call *c, const struct cache_cluster *n, bool show_nodes,
                          struct elasticache_cache_cluster *out)
{
    out->cache_cluster_id = n->id;
    out->cache_node_type = n->node_type;
    out->engine = n->engine;
    out->engine_version = n->engine_version;
    out->cache_cluster_status = n->status;
    out->num_cache_nodes = 1;
    out->preferred_availability_zone = n->zone;
    out->cache_cluster_create_time = n->create_time;
    out->preferred_maintenance_window = n->maintenance_window;
    out->pending_modified_values = call_zalloc(c, sizeof *out->pending_modified_values);
    if (n->pending) {
        out->pending_modified_values->cache_node_type = n->pending->node_type;
        out->pending_modified_values->engine_version = n->pending->engine_version;
    }
    out->cache_security_groups.set = true;
    render_parameters(c, n, out);
    out->cache_subnet_group_name = n->subnet_group;
    if (show_nodes)
        render_node(c, n, out);
    out->auto_minor_version_upgrade = n->auto_minor_version_upgrade;
    render_groups(c, n, out);
    out->replication_group_id = n->group_id;
    out->snapshot_retention_limit.set = true;
    out->snapshot_retention_limit.value = n->snapshot_retention;
    out->snapshot_window = n->snapshot_window;
    out->arn = call_arn(c, "cluster", n->id);
    out->log_delivery_configurations.set = true;
    out->network_type = VIEW("ipv4");
    out->ip_discovery = VIEW("ipv4");
}
