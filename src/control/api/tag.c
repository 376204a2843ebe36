/*
 * Tags: see tag.h. They are read and changed by the ARN of their resource, whatever state it is in. Resources that AWS has
 * and Larder does not yet have are known by their kind, so that asking for one is answered with the error that tells a
 * client that it does not exist.
 */
#include "control/api/tag.h"

#include "api_handlers.h"
#include "control/model/catalog.h"

/* ---- lists ---- */

static struct tag *find_tag(const struct tag_list *list, struct view key)
{
    for (size_t i = 0; i < list->count; i++)
        if (view_equal(list->items[i].key, key))
            return &list->items[i];
    return NULL;
}

int tag_put(struct api_call *c, const void *record, const struct elasticache_tag_list *from, struct tag_list *to)
{
    struct txn *t = call_txn(c);
    struct tag_list all = {.set = true};

    if (from->count == 0)
        return 0;
    all.items = arena_alloc(txn_arena(t, record), (to->count + from->count) * sizeof *all.items);
    for (; all.count < to->count; all.count++)
        all.items[all.count] = to->items[all.count];
    for (size_t i = 0; i < from->count; i++) {
        const struct elasticache_tag *new = &from->items[i];
        struct tag *old = find_tag(&all, new->key);
        for (size_t k = 0; k < i; k++)
            if (view_equal(from->items[k].key, new->key))
                return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The tag key %.*s occurs twice.",
                                 CALL_TEXT(new->key));
        if (!old) {
            old = &all.items[all.count++];
            old->key = txn_text(t, record, new->key);
        }
        old->value = txn_text(t, record, new->value);
    }
    if (all.count > TAG_MAX)
        return call_fail(c, ELASTICACHE_TAG_QUOTA_PER_RESOURCE_EXCEEDED, "A resource can have at most %d tags.",
                         TAG_MAX);
    *to = all;
    return 0;
}

static void answer(struct api_call *c, const struct tag_list *tags, struct elasticache_tag_list *out)
{
    out->set = true;
    out->items = call_zalloc(c, tags->count * sizeof *out->items);
    for (; out->count < tags->count; out->count++)
        out->items[out->count] = (struct elasticache_tag){
            .key = tags->items[out->count].key,
            .value = tags->items[out->count].value,
        };
}

/* ---- resources ---- */

/* The error of each kind, its resource missing, and its records; MODEL_KINDS: Larder has none. */
static const struct {
    struct view name;
    int error;
    enum model_kind kind;
} kinds[] = {
    {{LIT("cluster")}, ELASTICACHE_CACHE_CLUSTER_NOT_FOUND, MODEL_CACHE_CLUSTER},
    {{LIT("replicationgroup")}, ELASTICACHE_REPLICATION_GROUP_NOT_FOUND, MODEL_REPLICATION_GROUP},
    {{LIT("subnetgroup")}, ELASTICACHE_CACHE_SUBNET_GROUP_NOT_FOUND, MODEL_CACHE_SUBNET_GROUP},
    {{LIT("parametergroup")}, ELASTICACHE_CACHE_PARAMETER_GROUP_NOT_FOUND, MODEL_PARAMETER_GROUP},
    {{LIT("securitygroup")}, ELASTICACHE_CACHE_SECURITY_GROUP_NOT_FOUND, MODEL_KINDS},
    {{LIT("snapshot")}, ELASTICACHE_SNAPSHOT_NOT_FOUND, MODEL_KINDS},
    {{LIT("user")}, ELASTICACHE_USER_NOT_FOUND, MODEL_KINDS},
    {{LIT("usergroup")}, ELASTICACHE_USER_GROUP_NOT_FOUND, MODEL_KINDS},
    {{LIT("serverlesscache")}, ELASTICACHE_SERVERLESS_CACHE_NOT_FOUND, MODEL_KINDS},
    {{LIT("serverlesscachesnapshot")}, ELASTICACHE_SERVERLESS_CACHE_SNAPSHOT_NOT_FOUND, MODEL_KINDS},
    {{LIT("reserved-instance")}, ELASTICACHE_RESERVED_CACHE_NODE_NOT_FOUND, MODEL_KINDS},
};

#define KINDS (sizeof kinds / sizeof kinds[0])
#define ARN_PARTS 7

struct resource {
    enum model_kind kind;
    struct view id;
    const void *record; /* NULL: a default parameter group */
};

static const struct tag_list *tags_of(enum model_kind kind, const void *record)
{
    switch (kind) {
    case MODEL_CACHE_CLUSTER:
        return &((const struct cache_cluster *)record)->tags;
    case MODEL_REPLICATION_GROUP:
        return &((const struct replication_group *)record)->tags;
    case MODEL_CACHE_SUBNET_GROUP:
        return &((const struct cache_subnet_group *)record)->tags;
    default:
        return &((const struct parameter_group *)record)->tags;
    }
}

static struct view lower(struct api_call *c, struct view v)
{
    char *p = call_zalloc(c, v.n);

    for (size_t i = 0; i < v.n; i++)
        p[i] = ascii_lower(v.p[i]);
    return view_of(p, v.n);
}

/* "arn:aws:elasticache:region:account:kind:id" into its parts. */
static bool split_arn(struct view arn, struct view parts[ARN_PARTS])
{
    size_t n = 0, start = 0;

    for (size_t i = 0; i <= arn.n; i++) {
        if (i < arn.n && arn.p[i] != ':')
            continue;
        if (n == ARN_PARTS)
            return false;
        parts[n++] = view_of(arn.p + start, i - start);
        start = i + 1;
    }
    return n == ARN_PARTS;
}

/* The parts that are the same for all of the account's resources. */
static int check_arn(struct api_call *c, struct view arn, struct view parts[ARN_PARTS])
{
    const struct {
        const char *name;
        struct view expected;
    } fields[] = {
        {"arn", VIEW("arn")},           {"partition", c->api->partition}, {"service", VIEW("elasticache")},
        {"region", c->account->region}, {"account", c->account->id},
    };

    if (!split_arn(arn, parts))
        return call_fail(c, ELASTICACHE_INVALID_ARN, "Input ARN string does not have %d components.", ARN_PARTS);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (!view_equal(parts[i], fields[i].expected))
            return call_fail(c, ELASTICACHE_INVALID_ARN, "%s field is wrong. Expected value is %.*s", fields[i].name,
                             CALL_TEXT(fields[i].expected));
    return 0;
}

static int find_resource(struct api_call *c, struct view arn, struct resource *out)
{
    struct view parts[ARN_PARTS];
    struct catalog_group group;
    size_t i = 0;
    int rc = check_arn(c, arn, parts);

    if (rc != 0)
        return rc;
    while (i < KINDS && !view_equal(kinds[i].name, parts[5]))
        i++;
    if (i == KINDS)
        return call_fail(c, ELASTICACHE_INVALID_ARN, "resource type field is wrong: %.*s", CALL_TEXT(parts[5]));
    out->kind = kinds[i].kind;
    out->id = lower(c, parts[6]);
    out->record = out->kind == MODEL_KINDS ? NULL : model_find(c->model, out->kind, out->id);
    if (out->record || (out->kind == MODEL_PARAMETER_GROUP && catalog_group(c->model, out->id, &group)))
        return 0;
    return call_fail(c, kinds[i].error, "%.*s is not present", CALL_TEXT(out->id));
}

/* A copy of the record to write on, and its tags. */
static int edit_resource(struct api_call *c, struct view arn, void **record, struct tag_list **tags)
{
    struct resource r;
    int rc = find_resource(c, arn, &r);

    if (rc != 0)
        return rc;
    if (!r.record)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "Tags of a default parameter group cannot be changed.");
    *record = txn_edit(call_txn(c), r.kind, r.id);
    *tags = (struct tag_list *)tags_of(r.kind, *record);
    return 0;
}

/* ---- handlers ---- */

int elasticache_list_tags_for_resource(struct api_call *c, const struct list_tags_for_resource_request *in,
                                       struct list_tags_for_resource_result *out)
{
    static const struct tag_list none = {.set = true};
    struct resource r;
    int rc = find_resource(c, in->resource_name, &r);

    if (rc == 0)
        answer(c, r.record ? tags_of(r.kind, r.record) : &none, &out->tag_list);
    return rc;
}

int elasticache_add_tags_to_resource(struct api_call *c, const struct add_tags_to_resource_request *in,
                                     struct add_tags_to_resource_result *out)
{
    struct tag_list *tags = NULL;
    void *record = NULL;
    int rc = edit_resource(c, in->resource_name, &record, &tags);

    if (rc == 0 && (rc = tag_put(c, record, &in->tags, tags)) == 0)
        answer(c, tags, &out->tag_list);
    return rc;
}

int elasticache_remove_tags_from_resource(struct api_call *c, const struct remove_tags_from_resource_request *in,
                                          struct remove_tags_from_resource_result *out)
{
    struct tag_list *tags = NULL;
    size_t kept = 0;
    void *record = NULL;
    int rc = edit_resource(c, in->resource_name, &record, &tags);

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < in->tag_keys.count; i++)
        if (!find_tag(tags, in->tag_keys.items[i]))
            return call_fail(c, ELASTICACHE_TAG_NOT_FOUND, "The resource has no tag with the key %.*s.",
                             CALL_TEXT(in->tag_keys.items[i]));
    for (size_t i = 0; i < tags->count; i++) {
        bool removed = false;
        for (size_t k = 0; k < in->tag_keys.count; k++)
            removed |= view_equal(in->tag_keys.items[k], tags->items[i].key);
        if (!removed)
            tags->items[kept++] = tags->items[i];
    }
    tags->count = kept;
    answer(c, tags, &out->tag_list);
    return 0;
}
