/*
 * Parameter groups. A group's record holds the values that users have set; everything else is the catalog's. Each change of
 * values gives the group its next version, by which the reconciler sees which nodes do not have it yet, so a group can be
 * changed again before all nodes have followed.
 */
#include "control/api/parameter_group.h"

#include "api_elasticache.h"
#include "api_handlers.h"
#include "base/num.h"
#include "control/api/call.h"
#include "control/api/tag.h"
#include "control/model/catalog.h"

#define GROUPS_MAX 300
#define VALUES_MAX 20 /* of a request */
#define SOURCE_TYPE "cache-parameter-group"

bool parameter_group_is_used(const struct model *m, struct view name)
{
    for (size_t i = 0; i < model_count(m, MODEL_CACHE_CLUSTER); i++)
        if (view_equal(model_cache_cluster_at(m, i)->parameter_group, name))
            return true;
    for (size_t i = 0; i < model_count(m, MODEL_REPLICATION_GROUP); i++)
        if (view_equal(model_replication_group_at(m, i)->parameter_group, name))
            return true;
    return false;
}

/* ---- groups ---- */

static void put_group(struct api_call *c, const struct catalog_group *g, struct elasticache_cache_parameter_group *out)
{
    out->cache_parameter_group_name = g->name;
    out->cache_parameter_group_family = g->family->name;
    if (g->stored)
        out->description = g->stored->description;
    else if (g->cluster_on)
        out->description = call_text(c, "Customized default parameter group for %.*s with cluster mode on",
                                     CALL_TEXT(g->family->name));
    else
        out->description = call_text(c, "Default parameter group for %.*s", CALL_TEXT(g->family->name));
    out->arn = call_arn(c, "parametergroup", g->name);
}

int elasticache_create_cache_parameter_group(struct api_call *c, const struct create_cache_parameter_group_request *in,
                                             struct create_cache_parameter_group_result *out)
{
    const struct catalog_family *f = catalog_family(in->cache_parameter_group_family);
    struct view name = in->cache_parameter_group_name;
    struct catalog_group group;
    struct parameter_group *g;
    int rc;

    if (!f)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                         "CacheParameterGroupFamily %.*s is not a valid parameter group family.",
                         CALL_TEXT(in->cache_parameter_group_family));
    if (model_parameter_group(c->model, name))
        return call_fail(c, ELASTICACHE_CACHE_PARAMETER_GROUP_ALREADY_EXISTS, "Parameter group %.*s already exists",
                         CALL_TEXT(name));
    if (model_count(c->model, MODEL_PARAMETER_GROUP) >= GROUPS_MAX)
        return call_fail(c, ELASTICACHE_CACHE_PARAMETER_GROUP_QUOTA_EXCEEDED,
                         "The account would have more than %d parameter groups.", GROUPS_MAX);
    g = txn_add_parameter_group(call_txn(c), name);
    g->name = txn_text(c->txn, g, name);
    g->family = txn_text(c->txn, g, f->name);
    g->description = txn_text(c->txn, g, in->description);
    g->values.set = true;
    if ((rc = tag_put(c, g, &in->tags, &g->tags)) != 0)
        return rc;
    call_event(c, SOURCE_TYPE, name, "Created cache parameter group %.*s", CALL_TEXT(name));
    out->cache_parameter_group = call_zalloc(c, sizeof *out->cache_parameter_group);
    if (catalog_group(c->model, name, &group))
        put_group(c, &group, out->cache_parameter_group);
    return 0;
}

/* Groups in the order of their names: default ones, which come from the catalog, and those of the model. */
struct group_cursor {
    const struct model *model;
    size_t default_index, stored_index;
};

static bool view_before(struct view a, struct view b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = memcmp(a.p, b.p, n);

    return order < 0 || (order == 0 && a.n < b.n);
}

static bool next_group(struct group_cursor *at, struct catalog_group *out)
{
    bool is_default = catalog_default_group_at(at->default_index, out);

    while (at->stored_index < model_count(at->model, MODEL_PARAMETER_GROUP)) {
        struct view name = model_parameter_group_at(at->model, at->stored_index)->name;
        if (is_default && view_before(out->name, name))
            break;
        at->stored_index++;
        if (catalog_group(at->model, name, out))
            return true;
    }
    at->default_index += is_default;
    return is_default;
}

int elasticache_describe_cache_parameter_groups(struct api_call *c,
                                                const struct describe_cache_parameter_groups_request *in,
                                                struct describe_cache_parameter_groups_result *out)
{
    struct elasticache_cache_parameter_group_list *list = &out->cache_parameter_groups;
    struct group_cursor at = {.model = c->model};
    struct view name = in->cache_parameter_group_name;
    struct catalog_group g;
    struct page page;

    if (!page_begin(&page, c, in->marker, in->max_records))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The marker is not valid.");
    list->set = true;
    list->items = call_zalloc(c, page.limit * sizeof *list->items);
    if (name.p) {
        if (!catalog_group(c->model, name, &g))
            return call_fail(c, ELASTICACHE_CACHE_PARAMETER_GROUP_NOT_FOUND, "CacheParameterGroup %.*s not found.",
                             CALL_TEXT(name));
        put_group(c, &g, &list->items[list->count++]);
        return 0;
    }
    while (next_group(&at, &g))
        if (page_take(&page, g.name))
            put_group(c, &g, &list->items[list->count++]);
    out->marker = page_marker(&page, c);
    return 0;
}

/* The group, to be changed; fails for default ones, which cannot be. */
static int edit_group(struct api_call *c, struct view name, struct catalog_group *g, struct parameter_group **out)
{
    if (!catalog_group(c->model, name, g))
        return call_fail(c, ELASTICACHE_CACHE_PARAMETER_GROUP_NOT_FOUND, "CacheParameterGroup not found: %.*s",
                         CALL_TEXT(name));
    if (!g->stored)
        return call_fail(c, ELASTICACHE_INVALID_CACHE_PARAMETER_GROUP_STATE,
                         "The default parameter group %.*s cannot be modified.", CALL_TEXT(name));
    *out = txn_edit_parameter_group(call_txn(c), name);
    g->stored = *out;
    return 0;
}

int elasticache_delete_cache_parameter_group(struct api_call *c, const struct delete_cache_parameter_group_request *in)
{
    struct view name = in->cache_parameter_group_name;

    if (!model_parameter_group(c->model, name))
        return call_fail(c, ELASTICACHE_CACHE_PARAMETER_GROUP_NOT_FOUND, "CacheParameterGroup not found: %.*s",
                         CALL_TEXT(name));
    if (parameter_group_is_used(c->model, name))
        return call_fail(
            c, ELASTICACHE_INVALID_CACHE_PARAMETER_GROUP_STATE,
            "One or more cache clusters are still members of this parameter group %.*s, so the group cannot "
            "be deleted.",
            CALL_TEXT(name));
    txn_remove(call_txn(c), MODEL_PARAMETER_GROUP, name);
    call_event(c, SOURCE_TYPE, name, "Deleted cache parameter group %.*s", CALL_TEXT(name));
    return 0;
}

/* ---- values ---- */

static struct parameter_value *find_value(struct parameter_group *g, struct view name)
{
    for (size_t i = 0; i < g->values.count; i++)
        if (view_equal(g->values.items[i].name, name))
            return &g->values.items[i];
    return NULL;
}

static void set_value(struct api_call *c, struct parameter_group *g, struct view name, struct view value)
{
    struct parameter_value *v = find_value(g, name), *all;
    size_t count = g->values.count;

    if (!v) {
        all = arena_alloc(txn_arena(c->txn, g), (count + 1) * sizeof *all);
        if (count > 0)
            memcpy(all, g->values.items, count * sizeof *all);
        v = &all[count];
        v->name = txn_text(c->txn, g, name);
        g->values = (struct parameter_value_list){.set = true, .count = count + 1, .items = all};
    }
    v->value = txn_text(c->txn, g, value);
}

static void drop_value(struct parameter_group *g, const struct parameter_value *v)
{
    size_t i = (size_t)(v - g->values.items);

    g->values.count--;
    memmove(g->values.items + i, g->values.items + i + 1, (g->values.count - i) * sizeof *v);
}

/* May users set it in this group? */
static bool is_modifiable(const struct model *m, const struct catalog_group *g, const struct catalog_parameter *p)
{
    return p->while_unused && g->stored ? !parameter_group_is_used(m, g->name) : p->modifiable;
}

static int find_modifiable(struct api_call *c, const struct catalog_group *g, struct view name,
                           const struct catalog_parameter **out)
{
    const struct catalog_parameter *p = catalog_parameter(g->family, name);

    if (!p)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "Parameter %.*s doesn't exist", CALL_TEXT(name));
    if (!is_modifiable(c->model, g, p))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The parameter %.*s cannot be modified%s.",
                         CALL_TEXT(name), p->while_unused ? " while a cluster uses the group" : "");
    *out = p;
    return 0;
}

static int check_count(struct api_call *c, size_t count)
{
    if (count > VALUES_MAX)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                         "Cannot modify more than %d parameters in a single request", VALUES_MAX);
    return 0;
}

static void note_change(struct api_call *c, const struct parameter_group *g, const struct catalog_parameter *p,
                        struct view value)
{
    call_event(c, SOURCE_TYPE, g->name, "Updated parameter %.*s to %.*s with apply method %s", CALL_TEXT(p->name),
               CALL_TEXT(value.n <= 200 ? value : view_of(value.p, 200)), p->reboot ? "pending-reboot" : "immediate");
}

static int modify_value(struct api_call *c, const struct catalog_group *group, struct parameter_group *g,
                        const struct elasticache_parameter_name_value *change, bool *changed)
{
    const struct parameter_value *old = find_value(g, change->parameter_name);
    struct view value = change->parameter_value;
    const struct catalog_parameter *p;
    int rc = find_modifiable(c, group, change->parameter_name, &p);

    if (rc != 0)
        return rc;
    if (!value.p)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The parameter %.*s needs a value.", CALL_TEXT(p->name));
    if (!catalog_allows(p, value))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                         "Invalid value for parameter %.*s: %.*s. Allowed values are: %.*s", CALL_TEXT(p->name),
                         CALL_TEXT(value.n <= 200 ? value : view_of(value.p, 200)),
                         CALL_TEXT(p->allowed.p ? p->allowed : p->description));
    if (old && view_equal(old->value, value))
        return 0;
    set_value(c, g, p->name, value);
    note_change(c, g, p, value);
    *changed = true;
    return 0;
}

int elasticache_modify_cache_parameter_group(struct api_call *c, const struct modify_cache_parameter_group_request *in,
                                             struct modify_cache_parameter_group_result *out)
{
    const struct elasticache_parameter_name_value_list *list = &in->parameter_name_values;
    struct catalog_group group;
    struct parameter_group *g = NULL;
    bool changed = false;
    int rc;

    if ((rc = check_count(c, list->count)) != 0 ||
        (rc = edit_group(c, in->cache_parameter_group_name, &group, &g)) != 0)
        return rc;
    for (size_t i = 0; i < list->count; i++)
        if ((rc = modify_value(c, &group, g, &list->items[i], &changed)) != 0)
            return rc;
    g->version += changed;
    out->cache_parameter_group_name = g->name;
    return 0;
}

static int reset_value(struct api_call *c, const struct catalog_group *group, struct parameter_group *g,
                       struct view name, bool *changed)
{
    const struct parameter_value *old = find_value(g, name);
    const struct catalog_parameter *p;
    int rc;

    if (!old && catalog_parameter(group->family, name))
        return 0;
    if ((rc = find_modifiable(c, group, name, &p)) != 0)
        return rc;
    drop_value(g, old);
    note_change(c, g, p, p->value.p ? p->value : VIEW(""));
    *changed = true;
    return 0;
}

int elasticache_reset_cache_parameter_group(struct api_call *c, const struct reset_cache_parameter_group_request *in,
                                            struct reset_cache_parameter_group_result *out)
{
    const struct elasticache_parameter_name_value_list *list = &in->parameter_name_values;
    struct catalog_group group;
    struct parameter_group *g = NULL;
    bool changed = false;
    int rc;

    if (in->reset_all_parameters == (list->count > 0))
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                         "Either ResetAllParameters must be true, or ParameterNameValues must name parameters.");
    if ((rc = check_count(c, list->count)) != 0 ||
        (rc = edit_group(c, in->cache_parameter_group_name, &group, &g)) != 0)
        return rc;
    for (size_t i = 0; i < list->count; i++)
        if ((rc = reset_value(c, &group, g, list->items[i].parameter_name, &changed)) != 0)
            return rc;
    while (in->reset_all_parameters && g->values.count > 0)
        if ((rc = reset_value(c, &group, g, g->values.items[g->values.count - 1].name, &changed)) != 0)
            return rc;
    g->version += changed;
    out->cache_parameter_group_name = g->name;
    return 0;
}

/* ---- parameters ---- */

/* What both lists of an answer are filled from. */
struct listing {
    struct api_call *call;
    struct page page;
    struct elasticache_parameter_list parameters;
    struct elasticache_cache_node_type_specific_parameter_list by_node;
};

static int listing_begin(struct listing *l, struct api_call *c, struct view marker, int64_t limit)
{
    *l = (struct listing){.call = c};
    if (!page_begin(&l->page, c, marker, limit))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The marker is not valid.");
    l->parameters.set = l->by_node.set = true;
    l->parameters.items = call_zalloc(c, l->page.limit * sizeof *l->parameters.items);
    l->by_node.items = call_zalloc(c, l->page.limit * sizeof *l->by_node.items);
    return 0;
}

static struct view change_type(const struct catalog_parameter *p)
{
    return p->reboot ? VIEW("requires-reboot") : VIEW("immediate");
}

static void put_node_values(struct api_call *c, const struct catalog_family *f, const struct catalog_parameter *p,
                            struct elasticache_cache_node_type_specific_value_list *out)
{
    const struct catalog_node_type *t;
    size_t count = 0;

    while (catalog_node_type_at(count))
        count++;
    out->set = true;
    out->items = call_zalloc(c, count * sizeof *out->items);
    for (size_t i = 0; (t = catalog_node_type_at(i)); i++)
        if (t->engines & 1u << f->engine) {
            struct elasticache_cache_node_type_specific_value *v = &out->items[out->count++];
            v->cache_node_type = t->name;
            v->value = call_text(c, "%llu", (unsigned long long)catalog_node_value(p, t));
        }
}

static void put_by_node(struct listing *l, const struct catalog_group *g, const struct catalog_parameter *p)
{
    struct elasticache_cache_node_type_specific_parameter *out = &l->by_node.items[l->by_node.count++];

    *out = (struct elasticache_cache_node_type_specific_parameter){
        .parameter_name = p->name,
        .description = p->description,
        .source = VIEW("system"),
        .data_type = p->type,
        .allowed_values = p->allowed,
        .minimum_engine_version = p->min_version,
        .change_type = change_type(p),
    };
    put_node_values(l->call, g->family, p, &out->cache_node_type_specific_values);
}

/* Adds those parameters of the group that belong onto the page and have that source; p == NULL: any. */
static void listing_add(struct listing *l, const struct catalog_group *g, struct view source)
{
    for (size_t i = 0; i < g->family->count; i++) {
        const struct catalog_parameter *p = &g->family->parameters[i];
        bool user = false;
        struct view value = p->node_value == CATALOG_NODE_NONE ? catalog_group_value(g, p, &user) : (struct view){0};
        struct view from = user ? VIEW("user") : VIEW("system");
        if ((source.p && !view_equal(source, from)) || !page_take(&l->page, p->name))
            continue;
        if (p->node_value != CATALOG_NODE_NONE) {
            put_by_node(l, g, p);
            continue;
        }
        l->parameters.items[l->parameters.count++] = (struct elasticache_parameter){
            .parameter_name = p->name,
            .parameter_value = value,
            .description = p->description,
            .source = from,
            .data_type = p->type,
            .allowed_values = p->allowed,
            .is_modifiable = is_modifiable(l->call->model, g, p),
            .minimum_engine_version = p->min_version,
            .change_type = change_type(p),
        };
    }
}

int elasticache_describe_cache_parameters(struct api_call *c, const struct describe_cache_parameters_request *in,
                                          struct describe_cache_parameters_result *out)
{
    struct catalog_group g;
    struct listing l;
    int rc = listing_begin(&l, c, in->marker, in->max_records);

    if (rc != 0)
        return rc;
    if (!catalog_group(c->model, in->cache_parameter_group_name, &g))
        return call_fail(c, ELASTICACHE_CACHE_PARAMETER_GROUP_NOT_FOUND, "CacheParameterGroup %.*s not found.",
                         CALL_TEXT(in->cache_parameter_group_name));
    listing_add(&l, &g, in->source);
    out->parameters = l.parameters;
    out->cache_node_type_specific_parameters = l.by_node;
    out->marker = page_marker(&l.page, c);
    return 0;
}

int elasticache_describe_engine_default_parameters(struct api_call *c,
                                                   const struct describe_engine_default_parameters_request *in,
                                                   struct describe_engine_default_parameters_result *out)
{
    struct catalog_group g = {.family = catalog_family(in->cache_parameter_group_family)};
    struct listing l;
    int rc = listing_begin(&l, c, in->marker, in->max_records);

    if (rc != 0)
        return rc;
    if (!g.family)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                         "CacheParameterGroupFamily %.*s is not a valid parameter group family.",
                         CALL_TEXT(in->cache_parameter_group_family));
    listing_add(&l, &g, (struct view){0});
    out->engine_defaults = call_zalloc(c, sizeof *out->engine_defaults);
    out->engine_defaults->cache_parameter_group_family = g.family->name;
    out->engine_defaults->parameters = l.parameters;
    out->engine_defaults->cache_node_type_specific_parameters = l.by_node;
    out->engine_defaults->marker = page_marker(&l.page, c);
    return 0;
}
