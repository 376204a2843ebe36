/* Engine versions, and the node types that a cache can change to: what the catalog has, in the API's form. */
#include "api_elasticache.h"
#include "api_handlers.h"
#include "control/api/call.h"
#include "control/model/catalog.h"

/* The default version: of the engine, or the newest of the family when one is asked for. */
static bool is_default(const struct catalog_version *v, size_t i, bool of_family)
{
    const struct catalog_version *next = catalog_engine_version_at(i + 1);

    return of_family ? !next || next->family != v->family : v->initial;
}

static bool fits(const struct describe_cache_engine_versions_request *in, const struct catalog_version *v, size_t i)
{
    struct view family = in->cache_parameter_group_family;

    return (!in->engine.p || view_equal_case(in->engine, catalog_engine_name(v->engine))) &&
           (!in->engine_version.p || view_equal(in->engine_version, v->name) ||
            view_equal(in->engine_version, v->full)) &&
           (!family.p || view_equal(family, v->family->name)) &&
           (!in->default_only || is_default(v, i, family.p != NULL));
}

int elasticache_describe_cache_engine_versions(struct api_call *c,
                                               const struct describe_cache_engine_versions_request *in,
                                               struct describe_cache_engine_versions_result *out)
{
    struct elasticache_cache_engine_version_list *list = &out->cache_engine_versions;
    const struct catalog_version *v;
    struct page page;

    if (!page_begin(&page, c, in->marker, in->max_records))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The marker is not valid.");
    list->set = true;
    list->items = call_zalloc(c, page.limit * sizeof *list->items);
    for (size_t i = 0; (v = catalog_engine_version_at(i)); i++) {
        struct view engine = catalog_engine_name(v->engine);
        if (!fits(in, v, i) || !page_take(&page, call_text(c, "%04zu", i)))
            continue;
        list->items[list->count++] = (struct elasticache_cache_engine_version){
            .engine = engine,
            .engine_version = v->name,
            .cache_parameter_group_family = v->family->name,
            .cache_engine_description = v->title,
            .cache_engine_version_description =
                call_text(c, "%.*s version %.*s", CALL_TEXT(engine), CALL_TEXT(v->name)),
        };
    }
    out->marker = page_marker(&page, c);
    return 0;
}

/* ---- node types ---- */

/* What the cluster or the group runs now. */
static int find_cache(struct api_call *c, const struct list_allowed_node_type_modifications_request *in,
                      struct view *type, struct view *engine, struct view *version)
{
    const struct cache_cluster *n;
    const struct replication_group *g;

    if (!in->cache_cluster_id.p == !in->replication_group_id.p)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                         "Exactly one of CacheClusterId and ReplicationGroupId must be provided.");
    if (in->cache_cluster_id.p) {
        n = model_cache_cluster(c->model, in->cache_cluster_id);
        if (!n)
            return call_fail(c, ELASTICACHE_CACHE_CLUSTER_NOT_FOUND, "CacheCluster not found: %.*s",
                             CALL_TEXT(in->cache_cluster_id));
        *type = n->node_type;
        *engine = n->engine;
        *version = n->engine_version;
        return 0;
    }
    g = model_replication_group(c->model, in->replication_group_id);
    if (!g)
        return call_fail(c, ELASTICACHE_REPLICATION_GROUP_NOT_FOUND, "ReplicationGroup %.*s not found.",
                         CALL_TEXT(in->replication_group_id));
    *type = g->node_type;
    *engine = g->engine;
    *version = g->engine_version;
    return 0;
}

/* A type with the same memory counts as larger: nothing that is stored is in the way of that change. */
int elasticache_list_allowed_node_type_modifications(struct api_call *c,
                                                     const struct list_allowed_node_type_modifications_request *in,
                                                     struct list_allowed_node_type_modifications_result *out)
{
    const struct catalog_node_type *now, *t;
    const struct catalog_version *v;
    struct view type, engine, version;
    size_t count = 0;
    int rc = find_cache(c, in, &type, &engine, &version);

    if (rc != 0)
        return rc;
    now = catalog_node_type(type);
    v = catalog_engine(engine) < CATALOG_ENGINES ? catalog_engine_version(catalog_engine(engine), version) : NULL;
    while (catalog_node_type_at(count))
        count++;
    out->scale_up_modifications =
        (struct string_list){.set = true, .items = call_zalloc(c, count * sizeof(struct view))};
    out->scale_down_modifications =
        (struct string_list){.set = true, .items = call_zalloc(c, count * sizeof(struct view))};
    for (size_t i = 0; now && v && (t = catalog_node_type_at(i)); i++) {
        struct string_list *list =
            t->maxmemory >= now->maxmemory ? &out->scale_up_modifications : &out->scale_down_modifications;
        if (catalog_node_type_scales(now, t, v))
            list->items[list->count++] = t->name;
    }
    return 0;
}
