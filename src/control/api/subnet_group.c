/*
 * Cache subnet groups: see subnet_group.h. All subnets of a group are in one VPC, which is the group's. What uses a group is
 * found by going over the clusters: there are at most some hundred.
 */
#include "control/api/subnet_group.h"

#include "api_elasticache.h"
#include "api_handlers.h"
#include "control/api/tag.h"

#define GROUPS_MAX 300
#define SUBNETS_MAX 20 /* of a group */
#define SOURCE_TYPE "cache-subnet-group"

int subnet_group_find(struct api_call *c, struct view name, const struct cache_subnet_group **out)
{
    struct view wanted = name.p ? name : VIEW("default");

    *out = model_cache_subnet_group(c->model, wanted);
    if (*out)
        return 0;
    return call_fail(c, ELASTICACHE_CACHE_SUBNET_GROUP_NOT_FOUND, "Cache Subnet Group %.*s does not exist.",
                     CALL_TEXT(wanted));
}

/* ---- answers ---- */

static void put_network_types(struct api_call *c, struct string_list *out)
{
    out->set = true;
    out->count = 1;
    out->items = call_zalloc(c, sizeof *out->items);
    out->items[0] = VIEW("ipv4");
}

static void put_subnet(struct api_call *c, struct view id, struct elasticache_subnet *out)
{
    const struct subnet *s = model_subnet(c->model, id);

    out->subnet_identifier = id;
    if (s) {
        out->subnet_availability_zone = call_zalloc(c, sizeof *out->subnet_availability_zone);
        out->subnet_availability_zone->name = s->zone;
    }
    put_network_types(c, &out->supported_network_types);
}

static void put_group(struct api_call *c, const struct cache_subnet_group *g,
                      struct elasticache_cache_subnet_group *out)
{
    out->cache_subnet_group_name = g->name;
    out->cache_subnet_group_description = g->description;
    out->vpc_id = g->vpc_id;
    out->arn = call_arn(c, "subnetgroup", g->name);
    put_network_types(c, &out->supported_network_types);
    out->subnets.set = true;
    out->subnets.count = g->subnet_ids.count;
    out->subnets.items = call_zalloc(c, g->subnet_ids.count * sizeof *out->subnets.items);
    for (size_t i = 0; i < g->subnet_ids.count; i++)
        put_subnet(c, g->subnet_ids.items[i], &out->subnets.items[i]);
}

static struct elasticache_cache_subnet_group *new_answer(struct api_call *c, const struct cache_subnet_group *g)
{
    struct elasticache_cache_subnet_group *out = call_zalloc(c, sizeof *out);

    put_group(c, g, out);
    return out;
}

/* ---- checks ---- */

static bool has_text(const struct string_list *list, struct view text)
{
    for (size_t i = 0; i < list->count; i++)
        if (view_equal(list->items[i], text))
            return true;
    return false;
}

static int fail_unknown(struct api_call *c, const struct string_list *ids)
{
    struct buf unknown = {0};
    int rc;

    for (size_t i = 0; i < ids->count; i++)
        if (!model_subnet(c->model, ids->items[i]))
            buf_printf(&unknown, "%s%.*s", buf_live(&unknown) > 0 ? ", " : "", CALL_TEXT(ids->items[i]));
    rc = call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "Some input subnets in :[%.*s] are invalid.",
                   CALL_TEXT(buf_view(&unknown)));
    buf_free(&unknown);
    return rc;
}

/* Are the subnets there, and in one VPC? *once gets each of them once. */
static int check_subnets(struct api_call *c, const struct string_list *ids, struct string_list *once)
{
    const struct subnet *first = NULL;

    *once = (struct string_list){.set = true, .items = call_zalloc(c, ids->count * sizeof *once->items)};
    for (size_t i = 0; i < ids->count; i++) {
        const struct subnet *s = model_subnet(c->model, ids->items[i]);
        if (!s)
            return fail_unknown(c, ids);
        if (!first)
            first = s;
        if (!view_equal(first->vpc_id, s->vpc_id))
            return call_fail(c, ELASTICACHE_INVALID_SUBNET, "Subnets %.*s and %.*s are not in the same VPC.",
                             CALL_TEXT(first->subnet_id), CALL_TEXT(s->subnet_id));
        if (!has_text(once, ids->items[i]))
            once->items[once->count++] = ids->items[i];
    }
    if (once->count > SUBNETS_MAX)
        return call_fail(c, ELASTICACHE_CACHE_SUBNET_QUOTA_EXCEEDED,
                         "A cache subnet group can have at most %d subnets.", SUBNETS_MAX);
    return 0;
}

/* Fails when a node of the group is in a subnet that is not in the list. */
static int check_still_there(struct api_call *c, const struct cache_subnet_group *g, const struct string_list *ids)
{
    for (size_t i = 0; i < model_count(c->model, MODEL_CACHE_CLUSTER); i++) {
        const struct cache_cluster *n = model_cache_cluster_at(c->model, i);
        if (view_equal(n->subnet_group, g->name) && !has_text(ids, n->subnet_id))
            return call_fail(c, ELASTICACHE_SUBNET_IN_USE, "The subnet %.*s is in use by the cache cluster %.*s.",
                             CALL_TEXT(n->subnet_id), CALL_TEXT(n->id));
    }
    return 0;
}

static bool is_used(const struct model *m, struct view name)
{
    for (size_t i = 0; i < model_count(m, MODEL_CACHE_CLUSTER); i++)
        if (view_equal(model_cache_cluster_at(m, i)->subnet_group, name))
            return true;
    for (size_t i = 0; i < model_count(m, MODEL_REPLICATION_GROUP); i++)
        if (view_equal(model_replication_group_at(m, i)->subnet_group, name))
            return true;
    return false;
}

/* ---- handlers ---- */

static void set_subnets(struct api_call *c, struct cache_subnet_group *g, const struct string_list *ids)
{
    struct txn *t = call_txn(c);

    g->vpc_id = txn_text(t, g, model_subnet(c->model, ids->items[0])->vpc_id);
    g->subnet_ids = (struct string_list){.set = true, .count = ids->count};
    g->subnet_ids.items = arena_alloc(txn_arena(t, g), ids->count * sizeof *g->subnet_ids.items);
    for (size_t i = 0; i < ids->count; i++)
        g->subnet_ids.items[i] = txn_text(t, g, ids->items[i]);
}

int elasticache_create_cache_subnet_group(struct api_call *c, const struct create_cache_subnet_group_request *in,
                                          struct create_cache_subnet_group_result *out)
{
    struct view name = in->cache_subnet_group_name;
    struct cache_subnet_group *g;
    struct string_list ids;
    int rc;

    if (model_cache_subnet_group(c->model, name))
        return call_fail(c, ELASTICACHE_CACHE_SUBNET_GROUP_ALREADY_EXISTS, "Cache subnet group %.*s already exists.",
                         CALL_TEXT(name));
    if (model_count(c->model, MODEL_CACHE_SUBNET_GROUP) >= GROUPS_MAX)
        return call_fail(c, ELASTICACHE_CACHE_SUBNET_GROUP_QUOTA_EXCEEDED,
                         "The account would have more than %d cache subnet groups.", GROUPS_MAX);
    if ((rc = check_subnets(c, &in->subnet_ids, &ids)) != 0)
        return rc;
    g = txn_add_cache_subnet_group(call_txn(c), name);
    g->name = txn_text(c->txn, g, name);
    g->description = txn_text(c->txn, g, in->cache_subnet_group_description);
    set_subnets(c, g, &ids);
    if ((rc = tag_put(c, g, &in->tags, &g->tags)) != 0)
        return rc;
    call_event(c, SOURCE_TYPE, name, "Created cache subnet group %.*s", CALL_TEXT(name));
    out->cache_subnet_group = new_answer(c, g);
    return 0;
}

int elasticache_describe_cache_subnet_groups(struct api_call *c, const struct describe_cache_subnet_groups_request *in,
                                             struct describe_cache_subnet_groups_result *out)
{
    struct elasticache_cache_subnet_group_list *list = &out->cache_subnet_groups;
    const struct cache_subnet_group *g;
    struct page page;
    int rc;

    if (!page_begin(&page, c, in->marker, in->max_records))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The marker is not valid.");
    list->set = true;
    if (in->cache_subnet_group_name.p) {
        if ((rc = subnet_group_find(c, in->cache_subnet_group_name, &g)) == 0) {
            list->count = 1;
            list->items = new_answer(c, g);
        }
        return rc;
    }
    list->items = call_zalloc(c, page.limit * sizeof *list->items);
    for (size_t i = 0; i < model_count(c->model, MODEL_CACHE_SUBNET_GROUP); i++) {
        g = model_cache_subnet_group_at(c->model, i);
        if (page_take(&page, g->name))
            put_group(c, g, &list->items[list->count++]);
    }
    out->marker = page_marker(&page, c);
    return 0;
}

int elasticache_modify_cache_subnet_group(struct api_call *c, const struct modify_cache_subnet_group_request *in,
                                          struct modify_cache_subnet_group_result *out)
{
    const struct cache_subnet_group *old;
    struct cache_subnet_group *g;
    struct string_list ids = {0};
    int rc = subnet_group_find(c, in->cache_subnet_group_name, &old);

    if (rc == 0 && in->subnet_ids.count > 0 && (rc = check_subnets(c, &in->subnet_ids, &ids)) == 0)
        rc = check_still_there(c, old, &ids);
    if (rc != 0)
        return rc;
    g = txn_edit_cache_subnet_group(call_txn(c), old->name);
    if (in->cache_subnet_group_description.p)
        g->description = txn_text(c->txn, g, in->cache_subnet_group_description);
    if (ids.count > 0)
        set_subnets(c, g, &ids);
    call_event(c, SOURCE_TYPE, g->name, "Modified cache subnet group %.*s", CALL_TEXT(g->name));
    out->cache_subnet_group = new_answer(c, g);
    return 0;
}

int elasticache_delete_cache_subnet_group(struct api_call *c, const struct delete_cache_subnet_group_request *in)
{
    struct view name = in->cache_subnet_group_name;
    const struct cache_subnet_group *g;
    int rc = subnet_group_find(c, name, &g);

    if (rc != 0)
        return rc;
    if (view_is(name, "default"))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The default cache subnet group cannot be deleted.");
    if (is_used(c->model, name))
        return call_fail(c, ELASTICACHE_CACHE_SUBNET_GROUP_IN_USE,
                         "Cache subnet group %.*s is currently in use by a cache cluster.", CALL_TEXT(name));
    txn_remove(call_txn(c), MODEL_CACHE_SUBNET_GROUP, name);
    call_event(c, SOURCE_TYPE, name, "Deleted cache subnet group %.*s", CALL_TEXT(name));
    return 0;
}
