/* Security groups. Their rules are changed in ec2_security_group_rule.c. */
#include "api_handlers.h"
#include "control/api/ec2_listing.h"
#include "control/api/ec2_network.h"
#include "control/api/ec2_rule.h"
#include "control/api/ec2_tags.h"
#include "control/model/defaults.h"
#include "control/shape/shape.h"

#define GROUPS_MAX 2500

static struct ec2_security_group show(struct api_call *c, const struct security_group *g)
{
    return (struct ec2_security_group){
        .group_id = g->group_id,
        .ip_permissions_egress = ec2_rule_permissions(c, &g->rules, true),
        .tags = ec2_tags_show(c, &g->tags),
        .vpc_id = g->vpc_id,
        .security_group_arn = call_ec2_arn(c, "security-group", g->group_id),
        .owner_id = c->account->id,
        .group_name = g->group_name,
        .description = g->description,
        .ip_permissions = ec2_rule_permissions(c, &g->rules, false),
    };
}

/* ---- a new one ---- */

static int check_name(struct api_call *c, struct view name, struct view vpc_id)
{
    int error = ec2_rule_check_text(c, "security group name", name);

    if (error != 0)
        return error;
    if (name.n >= 3 && view_is(view_of(name.p, 3), "sg-"))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                         "Value (%.*s) for parameter GroupName is invalid. Group names may not be in the format sg-*.",
                         CALL_TEXT(name));
    if (view_is(name, "default"))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "Cannot use reserved security group name: %.*s",
                         CALL_TEXT(name));
    if (ec2_network_group_named(c, vpc_id, name))
        return call_fail(c, EC2_INVALID_GROUP_DUPLICATE, "The security group '%.*s' already exists for VPC '%.*s'",
                         CALL_TEXT(name), CALL_TEXT(vpc_id));
    return 0;
}

/* Everything may go out. */
static void let_out(struct api_call *c, struct security_group *g)
{
    struct txn *t = call_txn(c);
    struct security_group_rule *r = shape_new(&security_group_rule_shape, txn_arena(t, g), 1);

    r->rule_id = txn_text(t, g, call_new_id(c, "sgr-"));
    r->egress = true;
    r->protocol = txn_text(t, g, VIEW("-1"));
    r->from_port = r->to_port = -1;
    r->cidr_ipv4 = txn_text(t, g, VIEW("0.0.0.0/0"));
    g->rules = (struct security_group_rule_list){true, 1, r};
}

/* The VPC that a request names, or the default one. */
static int find_vpc(struct api_call *c, struct view id, const struct vpc **out)
{
    if (id.p)
        return ec2_network_vpc(c, id, out);
    *out = ec2_network_default(c);
    return *out ? 0 : call_fail(c, EC2_VPC_ID_NOT_SPECIFIED, "No default VPC for this user");
}

int ec2_create_security_group(struct api_call *c, const struct create_security_group_request *in,
                              struct create_security_group_result *out)
{
    struct view id = call_new_id(c, "sg-");
    struct ec2_tag_list tags;
    struct security_group *g;
    const struct vpc *v;
    int error;

    if ((error = find_vpc(c, in->vpc_id, &v)) != 0 || (error = check_name(c, in->group_name, v->vpc_id)) != 0 ||
        (error = ec2_rule_check_text(c, "security group description", in->description)) != 0 ||
        (error = ec2_tags_of_new(c, &in->tag_specifications, ec2_id_type(EC2_ID_SECURITY_GROUP), &tags)) != 0)
        return error;
    if (model_count(c->model, MODEL_SECURITY_GROUP) >= GROUPS_MAX)
        return call_fail(c, EC2_SECURITY_GROUP_LIMIT_EXCEEDED,
                         "The maximum number of security groups has been reached.");
    g = txn_add_security_group(call_txn(c), id);
    g->group_id = txn_text(call_txn(c), g, id);
    g->group_name = txn_text(call_txn(c), g, in->group_name);
    g->description = txn_text(call_txn(c), g, in->description);
    g->vpc_id = txn_text(call_txn(c), g, v->vpc_id);
    let_out(c, g);
    ec2_tags_store(c, g, &tags, &g->tags);
    out->group_id = g->group_id;
    out->tags = ec2_tags_show(c, &g->tags);
    out->security_group_arn = call_ec2_arn(c, "security-group", g->group_id);
    return 0;
}

/* ---- listing ---- */

/* A value of a rule, offered for each that goes in (or out): what to offer is told by a function of the rule. */
typedef void rule_offer(struct ec2_filter_try *t, const struct security_group_rule *r);

static void for_each_rule(struct ec2_filter_try *t, const void *thing, bool egress, rule_offer *offer)
{
    const struct ec2_security_group *shown = thing;
    const struct security_group *g = model_security_group(t->call->model, shown->group_id);

    for (size_t i = 0; g && i < g->rules.count; i++)
        if (g->rules.items[i].egress == egress)
            offer(t, &g->rules.items[i]);
}

static void rule_cidr(struct ec2_filter_try *t, const struct security_group_rule *r)
{
    ec2_filter_offer(t, r->cidr_ipv4);
}

static void rule_ipv6(struct ec2_filter_try *t, const struct security_group_rule *r)
{
    ec2_filter_offer(t, r->cidr_ipv6);
}

static void rule_from(struct ec2_filter_try *t, const struct security_group_rule *r)
{
    ec2_filter_offer_integer(t, r->from_port);
}

static void rule_to(struct ec2_filter_try *t, const struct security_group_rule *r)
{
    ec2_filter_offer_integer(t, r->to_port);
}

static void rule_protocol(struct ec2_filter_try *t, const struct security_group_rule *r)
{
    ec2_filter_offer(t, r->protocol);
}

static void rule_group(struct ec2_filter_try *t, const struct security_group_rule *r)
{
    ec2_filter_offer(t, r->peer_group_id);
}

static void rule_group_name(struct ec2_filter_try *t, const struct security_group_rule *r)
{
    const struct security_group *peer =
        r->peer_group_id.p ? model_security_group(t->call->model, r->peer_group_id) : NULL;

    if (peer)
        ec2_filter_offer(t, peer->group_name);
}

static void rule_user(struct ec2_filter_try *t, const struct security_group_rule *r)
{
    if (r->peer_group_id.p)
        ec2_filter_offer(t, t->call->account->id);
}

#define BOTH_WAYS(name)                                                                                                \
    static void in_##name(struct ec2_filter_try *t, const void *thing)                                                 \
    {                                                                                                                  \
        for_each_rule(t, thing, false, rule_##name);                                                                   \
    }                                                                                                                  \
    static void out_##name(struct ec2_filter_try *t, const void *thing)                                                \
    {                                                                                                                  \
        for_each_rule(t, thing, true, rule_##name);                                                                    \
    }

BOTH_WAYS(cidr)
BOTH_WAYS(ipv6)
BOTH_WAYS(from)
BOTH_WAYS(to)
BOTH_WAYS(protocol)
BOTH_WAYS(group)
BOTH_WAYS(group_name)
BOTH_WAYS(user)

static const struct ec2_filter_field group_fields[] = {
    EC2_FILTER_TEXT("description", struct ec2_security_group, description),
    EC2_FILTER_CALL("egress.ip-permission.cidr", out_cidr),
    EC2_FILTER_CALL("egress.ip-permission.from-port", out_from),
    EC2_FILTER_CALL("egress.ip-permission.group-id", out_group),
    EC2_FILTER_CALL("egress.ip-permission.group-name", out_group_name),
    EC2_FILTER_CALL("egress.ip-permission.ipv6-cidr", out_ipv6),
    EC2_FILTER_NONE("egress.ip-permission.prefix-list-id"),
    EC2_FILTER_CALL("egress.ip-permission.protocol", out_protocol),
    EC2_FILTER_CALL("egress.ip-permission.to-port", out_to),
    EC2_FILTER_CALL("egress.ip-permission.user-id", out_user),
    EC2_FILTER_TEXT("group-id", struct ec2_security_group, group_id),
    EC2_FILTER_TEXT("group-name", struct ec2_security_group, group_name),
    EC2_FILTER_CALL("ip-permission.cidr", in_cidr),
    EC2_FILTER_CALL("ip-permission.from-port", in_from),
    EC2_FILTER_CALL("ip-permission.group-id", in_group),
    EC2_FILTER_CALL("ip-permission.group-name", in_group_name),
    EC2_FILTER_CALL("ip-permission.ipv6-cidr", in_ipv6),
    EC2_FILTER_NONE("ip-permission.prefix-list-id"),
    EC2_FILTER_CALL("ip-permission.protocol", in_protocol),
    EC2_FILTER_CALL("ip-permission.to-port", in_to),
    EC2_FILTER_CALL("ip-permission.user-id", in_user),
    EC2_FILTER_TEXT("owner-id", struct ec2_security_group, owner_id),
    EC2_FILTER_TEXT("vpc-id", struct ec2_security_group, vpc_id),
};

static const struct ec2_filter_table group_filters = {group_fields, sizeof group_fields / sizeof group_fields[0], true,
                                                      offsetof(struct ec2_security_group, tags)};

/* Names are those of groups of the default VPC. Returns 0 or the error that there is none of a name. */
static int check_names(struct api_call *c, const struct string_list *names)
{
    const struct vpc *v = ec2_network_default(c);

    for (size_t i = 0; i < names->count; i++) {
        if (v && ec2_network_group_named(c, v->vpc_id, names->items[i]))
            continue;
        if (!v)
            return ec2_id_fail(c, EC2_ID_SECURITY_GROUP, names->items[i]);
        return call_fail(c, EC2_INVALID_GROUP_NOT_FOUND,
                         "The security group '%.*s' does not exist in default VPC '%.*s'", CALL_TEXT(names->items[i]),
                         CALL_TEXT(v->vpc_id));
    }
    return 0;
}

static bool is_named(struct api_call *c, const struct security_group *g, const struct string_list *names)
{
    const struct vpc *v = model_vpc(c->model, g->vpc_id);

    return names->count == 0 || (v && v->is_default && ec2_network_listed(names, g->group_name));
}

int ec2_describe_security_groups(struct api_call *c, const struct describe_security_groups_request *in,
                                 struct describe_security_groups_result *out)
{
    size_t count = model_count(c->model, MODEL_SECURITY_GROUP);
    struct ec2_listing l;
    int error = ec2_listing_begin(&l, c, EC2_ID_SECURITY_GROUP, &in->group_ids, &group_filters, &in->filters,
                                  in->next_token, &in->max_results);

    if (error != 0 || (error = check_names(c, &in->group_names)) != 0)
        return error;
    out->security_groups.set = true;
    out->security_groups.items = call_zalloc(c, count * sizeof *out->security_groups.items);
    for (size_t i = 0; i < count; i++) {
        const struct security_group *g = model_security_group_at(c->model, i);
        struct ec2_security_group shown = show(c, g);

        if (is_named(c, g, &in->group_names) && ec2_listing_take(&l, shown.group_id, &shown))
            out->security_groups.items[out->security_groups.count++] = shown;
    }
    return ec2_listing_end(&l, &out->next_token);
}

/* ---- the end of one ---- */

static bool is_used(struct api_call *c, struct view id)
{
    if (ec2_network_listed(&c->account->host_group_ids, id))
        return true;
    for (size_t i = 0; i < model_count(c->model, MODEL_CACHE_CLUSTER); i++)
        if (ec2_network_listed(&model_cache_cluster_at(c->model, i)->security_group_ids, id))
            return true;
    for (size_t i = 0; i < model_count(c->model, MODEL_REPLICATION_GROUP); i++)
        if (ec2_network_listed(&model_replication_group_at(c->model, i)->security_group_ids, id))
            return true;
    for (size_t i = 0; i < model_count(c->model, MODEL_SECURITY_GROUP); i++) {
        const struct security_group *g = model_security_group_at(c->model, i);
        for (size_t k = 0; k < g->rules.count && !view_equal(g->group_id, id); k++)
            if (view_equal(g->rules.items[k].peer_group_id, id))
                return true;
    }
    return false;
}

int ec2_delete_security_group(struct api_call *c, const struct delete_security_group_request *in,
                              struct delete_security_group_result *out)
{
    const struct string_list names = {true, in->group_name.p ? 1 : 0, (struct view[]){in->group_name}};
    const struct security_group *g;
    int error;

    if (!in->group_id.p && !in->group_name.p)
        return call_fail(c, SERVICE_MISSING_PARAMETER, "The request must contain the parameter groupName or groupId");
    if (in->group_id.p)
        error = ec2_network_group(c, in->group_id, &g);
    else if ((error = check_names(c, &names)) == 0)
        g = ec2_network_group_named(c, ec2_network_default(c)->vpc_id, in->group_name);
    if (error != 0)
        return error;
    if (view_equal(g->group_name, VIEW("default")))
        return call_fail(c, EC2_CANNOT_DELETE,
                         "the specified group: \"%.*s\" name: \"default\" cannot be deleted by a user",
                         CALL_TEXT(g->group_id));
    if (is_used(c, g->group_id))
        return call_fail(c, EC2_DEPENDENCY_VIOLATION, "resource %.*s has a dependent object", CALL_TEXT(g->group_id));
    out->succeeded = true;
    out->group_id = g->group_id;
    txn_remove(call_txn(c), MODEL_SECURITY_GROUP, g->group_id);
    return 0;
}
