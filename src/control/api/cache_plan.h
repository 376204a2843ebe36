/* What clusters and replication groups have in common when they are made: checks what was asked for, and fills in what was
 * not. */
#ifndef CONTROL_API_CACHE_PLAN_H
#define CONTROL_API_CACHE_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "api_elasticache.h"
#include "control/api/call.h"
#include "control/model/catalog.h"

#define CACHE_NODES_MAX 300 /* of an account */
#define CACHE_REPLICAS_MAX 5

/* What a request says; p == NULL, or not set, for what it leaves out. */
struct cache_request {
    struct view engine, engine_version, node_type, parameter_group, subnet_group;
    const struct string_list *security_group_ids;
    struct view maintenance_window, snapshot_window;
    struct maybe_integer port;
};

/* The answer to it; texts live as long as the call. */
struct cache_plan {
    struct view engine, engine_version, node_type, parameter_group;
    const struct cache_subnet_group *subnet_group;
    struct string_list security_group_ids;
    struct view maintenance_window, snapshot_window;
    int64_t port;
};

/* Returns 0, or the error that it failed the call with. */
int cache_plan_make(struct api_call *c, const struct cache_request *r, struct cache_plan *out);

/* Checks that the groups are there and belong to the VPC; *out is their list, or the VPC's default group when none are
 * asked for. */
int cache_plan_security_groups(struct api_call *c, const struct string_list *ids, struct view vpc_id,
                               struct string_list *out);

/* Finds the version of an engine that a text means. */
int cache_plan_version(struct api_call *c, struct view engine, struct view text, const struct catalog_version **out);

/* Checks a node type, and a parameter group (p == NULL: the default one) for a version. */
int cache_plan_node_type(struct api_call *c, struct view name, const struct catalog_version *v);
int cache_plan_parameter_group(struct api_call *c, struct view name, const struct catalog_version *v, struct view *out);

/* Checks that the zone is one of the region's, and that the group has a subnet in it. */
int cache_plan_zone(struct api_call *c, const struct cache_subnet_group *g, struct view zone);

/* Do both windows overlap? Fails the call if so. */
int cache_plan_windows(struct api_call *c, struct view maintenance, struct view snapshot);

/* Adds a node: its cache cluster's record with an address in that zone's subnet (p == NULL: any zone), everything else
 * from the plan. The shard's record is the caller's. Fails the call when there is no address. */
int cache_plan_add_cluster(struct api_call *c, const struct cache_plan *p, struct view id, struct view group_id,
                           struct view shard_id, struct view zone, bool auto_minor_version_upgrade,
                           struct cache_cluster **out);

/* Adds a shard's record, with a secret of its own. */
struct shard *cache_plan_add_shard(struct api_call *c, struct view owner, bool grouped);

/* Copies a list of texts into a record. */
struct string_list cache_plan_texts(struct api_call *c, const void *record, const struct string_list *from);

#endif
