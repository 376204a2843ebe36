/* Tags of EC2: see ec2_tags.h. What can have tags are VPCs, subnets, security groups and their rules. */
#include "control/api/ec2_tags.h"

#include <stdlib.h>
#include <string.h>

#include "api_handlers.h"
#include "control/api/ec2_id.h"
#include "control/api/ec2_listing.h"
#include "control/shape/shape.h"

/* The place of a key in a list; its count when it is not there. */
static size_t find(const struct ec2_tag_list *tags, struct view key)
{
    size_t i = 0;

    while (i < tags->count && !view_equal(tags->items[i].key, key))
        i++;
    return i;
}

static int check_count(struct api_call *c, size_t count)
{
    if (count <= EC2_TAGS_MAX)
        return 0;
    return call_fail(c, EC2_TAG_LIMIT_EXCEEDED, "You have reached the maximum number of tags, which is %d.",
                     EC2_TAGS_MAX);
}

int ec2_tags_of_new(struct api_call *c, const struct ec2_tag_specification_list *specifications, struct view type,
                    struct ec2_tag_list *out)
{
    size_t count = 0;

    *out = (struct ec2_tag_list){0};
    for (size_t i = 0; i < specifications->count; i++)
        count += specifications->items[i].tags.count;
    out->items = call_zalloc(c, count * sizeof *out->items);
    for (size_t i = 0; i < specifications->count; i++) {
        const struct ec2_tag_specification *s = &specifications->items[i];

        if (!s->resource_type.p)
            return call_fail(c, SERVICE_MISSING_PARAMETER, "The request must contain the parameter resourceType");
        if (!view_equal(s->resource_type, type))
            return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                             "'%.*s' is not a valid taggable resource type for this operation.",
                             CALL_TEXT(s->resource_type));
        for (size_t k = 0; k < s->tags.count; k++) {
            if (find(out, s->tags.items[k].key) < out->count)
                return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "Duplicate tag key '%.*s' specified.",
                                 CALL_TEXT(s->tags.items[k].key));
            out->items[out->count++] = s->tags.items[k];
        }
    }
    out->set = out->count > 0;
    return check_count(c, out->count);
}

void ec2_tags_store(struct api_call *c, const void *record, const struct ec2_tag_list *from, struct tag_list *to)
{
    struct txn *t = call_txn(c);

    *to = (struct tag_list){.set = from->count > 0, .count = from->count};
    if (from->count == 0)
        return;
    to->items = shape_new(&tag_shape, txn_arena(t, record), from->count);
    for (size_t i = 0; i < from->count; i++) {
        to->items[i].key = txn_text(t, record, from->items[i].key);
        to->items[i].value = txn_text(t, record, from->items[i].value.p ? from->items[i].value : VIEW(""));
    }
}

struct ec2_tag_list ec2_tags_show(struct api_call *c, const struct tag_list *tags)
{
    struct ec2_tag_list out = {.set = tags->count > 0, .count = tags->count};

    out.items = call_zalloc(c, tags->count * sizeof *out.items);
    for (size_t i = 0; i < tags->count; i++) {
        out.items[i].key = tags->items[i].key;
        out.items[i].value = tags->items[i].value.p ? tags->items[i].value : VIEW("");
    }
    return out;
}

/* ---- tags of what exists ---- */

/* A resource that has tags: what it is part of in the store, and its list there. */
struct tagged {
    void *record;
    struct tag_list *tags;
};

static struct tagged edit_rule(struct api_call *c, struct view id)
{
    for (size_t i = 0; i < model_count(c->model, MODEL_SECURITY_GROUP); i++) {
        const struct security_group *g = model_security_group_at(c->model, i);
        for (size_t k = 0; k < g->rules.count; k++)
            if (view_equal(g->rules.items[k].rule_id, id)) {
                struct security_group *copy = txn_edit_security_group(call_txn(c), g->group_id);
                return (struct tagged){copy, &copy->rules.items[k].tags};
            }
    }
    return (struct tagged){NULL, NULL};
}

static struct tagged edit(struct api_call *c, enum ec2_id_kind kind, struct view id)
{
    struct txn *t = call_txn(c);
    struct security_group *g;
    struct subnet *s;
    struct vpc *v;

    switch (kind) {
    case EC2_ID_VPC:
        v = txn_edit_vpc(t, id);
        return (struct tagged){v, v ? &v->tags : NULL};
    case EC2_ID_SUBNET:
        s = txn_edit_subnet(t, id);
        return (struct tagged){s, s ? &s->tags : NULL};
    case EC2_ID_SECURITY_GROUP:
        g = txn_edit_security_group(t, id);
        return (struct tagged){g, g ? &g->tags : NULL};
    case EC2_ID_SECURITY_GROUP_RULE:
        return edit_rule(c, id);
    default:
        return (struct tagged){NULL, NULL};
    }
}

static int find_tagged(struct api_call *c, struct view id, struct tagged *out)
{
    enum ec2_id_kind kind = ec2_id_kind_of(id);
    int error;

    if (kind == EC2_ID_KINDS)
        return call_fail(c, EC2_INVALID_ID, "The ID '%.*s' is not valid", CALL_TEXT(id));
    if ((error = ec2_id_check(c, kind, id)) != 0)
        return error;
    if (kind != EC2_ID_VPC && kind != EC2_ID_SUBNET && kind != EC2_ID_SECURITY_GROUP &&
        kind != EC2_ID_SECURITY_GROUP_RULE)
        return call_fail(c, SERVICE_UNSUPPORTED, "Tags of resources of the type %.*s are not supported.",
                         CALL_TEXT(ec2_id_type(kind)));
    *out = edit(c, kind, id);
    return out->record ? 0 : ec2_id_fail(c, kind, id);
}

/* The tags that a resource has, with those given set. */
static int merge(struct api_call *c, struct tagged r, const struct ec2_tag_list *given)
{
    struct ec2_tag_list all = ec2_tags_show(c, r.tags);
    struct ec2_tag *items = call_zalloc(c, (all.count + given->count) * sizeof *items);
    int error;

    if (all.count > 0)
        memcpy(items, all.items, all.count * sizeof *items);
    all.items = items;
    for (size_t i = 0; i < given->count; i++) {
        size_t at = find(&all, given->items[i].key);

        all.items[at] = given->items[i];
        all.count += at == all.count;
    }
    if ((error = check_count(c, all.count)) == 0)
        ec2_tags_store(c, r.record, &all, r.tags);
    return error;
}

int ec2_create_tags(struct api_call *c, const struct create_tags_request *in)
{
    int error = 0;

    for (size_t i = 0; i < in->tags.count; i++)
        for (size_t k = 0; k < i; k++)
            if (view_equal(in->tags.items[i].key, in->tags.items[k].key))
                return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "Duplicate tag key '%.*s' specified.",
                                 CALL_TEXT(in->tags.items[i].key));
    for (size_t i = 0; i < in->resources.count && error == 0; i++) {
        struct tagged r;

        if ((error = find_tagged(c, in->resources.items[i], &r)) == 0)
            error = merge(c, r, &in->tags);
    }
    return error;
}

/* Is the tag one of those that are to go? One without a value is meant whatever its value is. */
static bool is_meant(const struct ec2_tag_list *given, const struct ec2_tag *tag)
{
    for (size_t i = 0; i < given->count; i++)
        if (view_equal(given->items[i].key, tag->key) &&
            (!given->items[i].value.p || view_equal(given->items[i].value, tag->value)))
            return true;
    return given->count == 0;
}

int ec2_delete_tags(struct api_call *c, const struct delete_tags_request *in)
{
    for (size_t i = 0; i < in->resources.count; i++) {
        struct ec2_tag_list all, left = {0};
        struct tagged r;
        int error = find_tagged(c, in->resources.items[i], &r);

        if (error != 0)
            return error;
        all = ec2_tags_show(c, r.tags);
        left.items = call_zalloc(c, all.count * sizeof *left.items);
        for (size_t k = 0; k < all.count; k++)
            if (!is_meant(&in->tags, &all.items[k]))
                left.items[left.count++] = all.items[k];
        ec2_tags_store(c, r.record, &left, r.tags);
    }
    return 0;
}

/* ---- listing ---- */

/* A tag with what it sorts by. */
struct row {
    struct view place;
    struct ec2_tag_description tag;
};

struct rows {
    struct row *items;
    size_t count, cap;
};

static void offer_value_of(struct ec2_filter_try *t, const void *thing)
{
    ec2_filter_offer(t, ((const struct ec2_tag_description *)thing)->value);
}

static const struct ec2_filter_field tag_fields[] = {
    EC2_FILTER_TEXT("key", struct ec2_tag_description, key),
    EC2_FILTER_TEXT("tag-key", struct ec2_tag_description, key),
    EC2_FILTER_TEXT("resource-id", struct ec2_tag_description, resource_id),
    EC2_FILTER_TEXT("resource-type", struct ec2_tag_description, resource_type),
    EC2_FILTER_CALL("value", offer_value_of),
    EC2_FILTER_TEXT("tag-value", struct ec2_tag_description, value),
};

static const struct ec2_filter_table tag_filters = {tag_fields, sizeof tag_fields / sizeof tag_fields[0], false, 0};

static void gather(struct api_call *c, struct rows *rows, enum ec2_id_kind kind, struct view id,
                   const struct tag_list *tags)
{
    for (size_t i = 0; i < tags->count; i++) {
        if (rows->count == rows->cap) {
            size_t cap = rows->cap > 0 ? 2 * rows->cap : 64;
            struct row *more = call_zalloc(c, cap * sizeof *more);

            if (rows->count > 0)
                memcpy(more, rows->items, rows->count * sizeof *more);
            rows->items = more;
            rows->cap = cap;
        }
        rows->items[rows->count++] = (struct row){
            .place = call_text(c, "%.*s/%03zu", CALL_TEXT(id), i),
            .tag = {.key = tags->items[i].key,
                    .value = tags->items[i].value.p ? tags->items[i].value : VIEW(""),
                    .resource_id = id,
                    .resource_type = ec2_id_type(kind)},
        };
    }
}

static int compare_rows(const void *a, const void *b)
{
    struct view x = ((const struct row *)a)->place, y = ((const struct row *)b)->place;
    int order = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);

    return order != 0 ? order : (x.n > y.n) - (x.n < y.n);
}

static void gather_all(struct api_call *c, struct rows *rows)
{
    for (size_t i = 0; i < model_count(c->model, MODEL_VPC); i++) {
        const struct vpc *v = model_vpc_at(c->model, i);
        gather(c, rows, EC2_ID_VPC, v->vpc_id, &v->tags);
    }
    for (size_t i = 0; i < model_count(c->model, MODEL_SUBNET); i++) {
        const struct subnet *s = model_subnet_at(c->model, i);
        gather(c, rows, EC2_ID_SUBNET, s->subnet_id, &s->tags);
    }
    for (size_t i = 0; i < model_count(c->model, MODEL_SECURITY_GROUP); i++) {
        const struct security_group *g = model_security_group_at(c->model, i);
        gather(c, rows, EC2_ID_SECURITY_GROUP, g->group_id, &g->tags);
        for (size_t k = 0; k < g->rules.count; k++)
            gather(c, rows, EC2_ID_SECURITY_GROUP_RULE, g->rules.items[k].rule_id, &g->rules.items[k].tags);
    }
    if (rows->count > 0)
        qsort(rows->items, rows->count, sizeof *rows->items, compare_rows);
}

int ec2_describe_tags(struct api_call *c, const struct describe_tags_request *in, struct describe_tags_result *out)
{
    struct rows rows = {0};
    struct ec2_listing l;
    int error =
        ec2_listing_begin(&l, c, EC2_ID_KINDS, NULL, &tag_filters, &in->filters, in->next_token, &in->max_results);

    if (error != 0)
        return error;
    gather_all(c, &rows);
    out->tags.set = true;
    out->tags.items = call_zalloc(c, rows.count * sizeof *out->tags.items);
    for (size_t i = 0; i < rows.count; i++)
        if (ec2_listing_take(&l, rows.items[i].place, &rows.items[i].tag))
            out->tags.items[out->tags.count++] = rows.items[i].tag;
    return ec2_listing_end(&l, &out->next_token);
}
