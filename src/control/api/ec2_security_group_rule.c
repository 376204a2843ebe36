/*
 * Changing the rules of security groups, and listing them one by one. A request is carried out as a whole or not at
 * all, which the call's transaction sees to: a handler that fails may have edited.
 */
#include <stdlib.h>
#include <string.h>

#include "api_handlers.h"
#include "control/api/ec2_listing.h"
#include "control/api/ec2_network.h"
#include "control/api/ec2_rule.h"
#include "control/api/ec2_tags.h"
#include "control/shape/shape.h"

/* The group that a request means: by id, or in the default VPC by name. */
static int find_group(struct api_call *c, struct view id, struct view name, const struct security_group **out)
{
    const struct vpc *v = ec2_network_default(c);

    if (id.p && name.p)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                         "The parameter groupName cannot be used with the parameter groupId");
    if (id.p)
        return ec2_network_group(c, id, out);
    if (!name.p)
        return call_fail(c, SERVICE_MISSING_PARAMETER, "The request must contain the parameter groupName or groupId");
    *out = v ? ec2_network_group_named(c, v->vpc_id, name) : NULL;
    if (*out)
        return 0;
    return v ? call_fail(c, EC2_INVALID_GROUP_NOT_FOUND,
                         "The security group '%.*s' does not exist in default VPC '%.*s'", CALL_TEXT(name),
                         CALL_TEXT(v->vpc_id))
             : ec2_id_fail(c, EC2_ID_SECURITY_GROUP, name);
}

/* The place of the rule of that id and direction in the group; the count of its rules when there is none. */
static size_t place_of(const struct security_group *g, struct view id, bool egress)
{
    size_t i = 0;

    while (i < g->rules.count && (!view_equal(g->rules.items[i].rule_id, id) || g->rules.items[i].egress != egress))
        i++;
    return i;
}

/* Returns 0 and the place, or the error that the id is malformed or nobody's. */
static int find_rule(struct api_call *c, const struct security_group *g, struct view id, bool egress, size_t *place)
{
    int error = ec2_id_check(c, EC2_ID_SECURITY_GROUP_RULE, id);

    *place = error == 0 ? place_of(g, id, egress) : 0;
    return error != 0 || *place < g->rules.count ? error : ec2_id_fail(c, EC2_ID_SECURITY_GROUP_RULE, id);
}

/* Writes what a rule lets through into one of a group that is being edited. Its id and tags stay. */
static void write_rule(struct api_call *c, struct security_group *g, const struct security_group_rule *from,
                       struct security_group_rule *to)
{
    struct txn *t = call_txn(c);

    to->egress = from->egress;
    to->protocol = txn_text(t, g, from->protocol);
    to->from_port = from->from_port;
    to->to_port = from->to_port;
    to->cidr_ipv4 = txn_text(t, g, from->cidr_ipv4);
    to->cidr_ipv6 = txn_text(t, g, from->cidr_ipv6);
    to->peer_group_id = txn_text(t, g, from->peer_group_id);
    to->description = txn_text(t, g, from->description);
}

/* ---- adding ---- */

/* Those of a direction that count for a version of IP; a group counts for both. */
static size_t count_rules(const struct security_group_rule_list *rules, bool egress, bool v6)
{
    size_t count = 0;

    for (size_t i = 0; i < rules->count; i++) {
        const struct security_group_rule *r = &rules->items[i];
        count += r->egress == egress && !(v6 ? r->cidr_ipv4.p : r->cidr_ipv6.p);
    }
    return count;
}

static int check_new(struct api_call *c, const struct security_group *g, bool egress,
                     const struct security_group_rule_list *new)
{
    for (size_t i = 0; i < new->count; i++)
        if (ec2_rule_find(g, &new->items[i]) < g->rules.count)
            return call_fail(c, EC2_INVALID_PERMISSION_DUPLICATE, "the specified rule \"%.*s\" already exists",
                             CALL_TEXT(ec2_rule_text(c, &new->items[i])));
    for (int v6 = 0; v6 < 2; v6++)
        if (count_rules(&g->rules, egress, v6) + count_rules(new, egress, v6) > EC2_RULES_MAX)
            return call_fail(c, EC2_RULES_PER_SECURITY_GROUP_LIMIT_EXCEEDED,
                             "The maximum number of rules per security group has been reached.");
    return 0;
}

static int authorize(struct api_call *c, const struct security_group *g, bool egress, const struct ec2_rule_request *in,
                     const struct ec2_tag_specification_list *tag_specifications,
                     struct ec2_security_group_rule_list *out)
{
    struct security_group_rule_list new;
    struct security_group_rule *items;
    struct security_group *copy;
    struct ec2_tag_list tags;
    int error;

    if (!ec2_rule_stated(in))
        return call_fail(c, SERVICE_MISSING_PARAMETER, "The request must contain the parameter ipPermissions");
    if ((error = ec2_rule_read(c, g, egress, in, &new)) != 0 ||
        (error = ec2_tags_of_new(c, tag_specifications, ec2_id_type(EC2_ID_SECURITY_GROUP_RULE), &tags)) != 0 ||
        (error = check_new(c, g, egress, &new)) != 0)
        return error;
    copy = txn_edit_security_group(call_txn(c), g->group_id);
    items = shape_new(&security_group_rule_shape, txn_arena(call_txn(c), copy), copy->rules.count + new.count);
    if (copy->rules.count > 0)
        memcpy(items, copy->rules.items, copy->rules.count * sizeof *items);
    out->set = true;
    out->items = call_zalloc(c, new.count * sizeof *out->items);
    for (size_t i = 0; i < new.count; i++) {
        struct security_group_rule *r = &items[copy->rules.count + i];

        r->rule_id = txn_text(call_txn(c), copy, call_new_id(c, "sgr-"));
        write_rule(c, copy, &new.items[i], r);
        ec2_tags_store(c, copy, &tags, &r->tags);
        out->items[out->count++] = ec2_rule_show(c, copy, r);
    }
    copy->rules = (struct security_group_rule_list){true, copy->rules.count + new.count, items};
    return 0;
}

int ec2_authorize_security_group_ingress(struct api_call *c, const struct authorize_security_group_ingress_request *in,
                                         struct authorize_security_group_ingress_result *out)
{
    const struct ec2_rule_request r = {&in->ip_permissions,
                                       in->ip_protocol,
                                       in->from_port,
                                       in->to_port,
                                       in->cidr_ip,
                                       in->source_security_group_name,
                                       in->source_security_group_owner_id};
    const struct security_group *g;
    int error = find_group(c, in->group_id, in->group_name, &g);

    out->succeeded = true;
    return error != 0 ? error : authorize(c, g, false, &r, &in->tag_specifications, &out->security_group_rules);
}

int ec2_authorize_security_group_egress(struct api_call *c, const struct authorize_security_group_egress_request *in,
                                        struct authorize_security_group_egress_result *out)
{
    const struct ec2_rule_request r = {&in->ip_permissions,
                                       in->ip_protocol,
                                       in->from_port,
                                       in->to_port,
                                       in->cidr_ip,
                                       in->source_security_group_name,
                                       in->source_security_group_owner_id};
    const struct security_group *g;
    int error = ec2_network_group(c, in->group_id, &g);

    out->succeeded = true;
    return error != 0 ? error : authorize(c, g, true, &r, &in->tag_specifications, &out->security_group_rules);
}

/* ---- removing ---- */

/* What a request to revoke says, and where the answer goes. */
struct revocation {
    const struct security_group *group;
    bool egress;
    struct ec2_rule_request rules;
    const struct string_list *ids;
    struct ec2_ip_permission_list *unknown;
    struct ec2_revoked_security_group_rule_list *revoked;
};

static struct ec2_revoked_security_group_rule show_revoked(const struct security_group *g,
                                                           const struct security_group_rule *r)
{
    return (struct ec2_revoked_security_group_rule){
        .security_group_rule_id = r->rule_id,
        .group_id = g->group_id,
        .is_egress = r->egress,
        .ip_protocol = r->protocol,
        .from_port = {true, r->from_port},
        .to_port = {true, r->to_port},
        .cidr_ipv4 = r->cidr_ipv4,
        .cidr_ipv6 = r->cidr_ipv6,
        .referenced_group_id = r->peer_group_id,
        .description = r->description,
    };
}

static int choose_by_id(struct api_call *c, const struct revocation *v, bool *chosen)
{
    for (size_t i = 0; i < v->ids->count; i++) {
        size_t place;
        int error = find_rule(c, v->group, v->ids->items[i], v->egress, &place);

        if (error != 0)
            return error;
        chosen[place] = true;
    }
    return 0;
}

/* In the default VPC what is not there is told in the answer; elsewhere it is an error. */
static int choose_by_permission(struct api_call *c, const struct revocation *v, bool *chosen)
{
    const struct security_group *g = v->group;
    const struct vpc *vpc = model_vpc(c->model, g->vpc_id);
    struct security_group_rule_list rules, unknown = {0};
    int error = ec2_rule_read(c, g, v->egress, &v->rules, &rules);

    if (error != 0)
        return error;
    unknown.items = call_zalloc(c, rules.count * sizeof *unknown.items);
    for (size_t i = 0; i < rules.count; i++) {
        size_t place = ec2_rule_find(g, &rules.items[i]);

        if (place < g->rules.count)
            chosen[place] = true;
        else
            unknown.items[unknown.count++] = rules.items[i];
    }
    if (unknown.count > 0 && !(vpc && vpc->is_default))
        return call_fail(c, EC2_INVALID_PERMISSION_NOT_FOUND,
                         "The specified rule does not exist in this security group.");
    if (unknown.count > 0)
        *v->unknown = ec2_rule_permissions(c, &unknown, v->egress);
    return 0;
}

static int revoke(struct api_call *c, const struct revocation *v)
{
    const struct security_group *g = v->group;
    bool *chosen = call_zalloc(c, g->rules.count * sizeof *chosen);
    struct security_group *copy;
    size_t left = 0;
    int error;

    if ((v->ids->count > 0) == ec2_rule_stated(&v->rules))
        return call_fail(c, v->ids->count > 0 ? SERVICE_INVALID_PARAMETER_COMBINATION : SERVICE_MISSING_PARAMETER,
                         "Either 'ipPermissions' or 'securityGroupRuleIds' should be provided.");
    error = v->ids->count > 0 ? choose_by_id(c, v, chosen) : choose_by_permission(c, v, chosen);
    if (error != 0)
        return error;
    v->revoked->set = true;
    v->revoked->items = call_zalloc(c, g->rules.count * sizeof *v->revoked->items);
    for (size_t i = 0; i < g->rules.count; i++)
        if (chosen[i])
            v->revoked->items[v->revoked->count++] = show_revoked(g, &g->rules.items[i]);
    if (v->revoked->count == 0)
        return 0;
    copy = txn_edit_security_group(call_txn(c), g->group_id);
    for (size_t i = 0; i < copy->rules.count; i++)
        if (!chosen[i])
            copy->rules.items[left++] = copy->rules.items[i];
    copy->rules.count = left;
    return 0;
}

int ec2_revoke_security_group_ingress(struct api_call *c, const struct revoke_security_group_ingress_request *in,
                                      struct revoke_security_group_ingress_result *out)
{
    struct revocation v = {
        .rules = {&in->ip_permissions, in->ip_protocol, in->from_port, in->to_port, in->cidr_ip,
                  in->source_security_group_name, in->source_security_group_owner_id},
        .ids = &in->security_group_rule_ids,
        .unknown = &out->unknown_ip_permissions,
        .revoked = &out->revoked_security_group_rules,
    };
    int error = find_group(c, in->group_id, in->group_name, &v.group);

    out->succeeded = true;
    return error != 0 ? error : revoke(c, &v);
}

int ec2_revoke_security_group_egress(struct api_call *c, const struct revoke_security_group_egress_request *in,
                                     struct revoke_security_group_egress_result *out)
{
    struct revocation v = {
        .egress = true,
        .rules = {&in->ip_permissions, in->ip_protocol, in->from_port, in->to_port, in->cidr_ip,
                  in->source_security_group_name, in->source_security_group_owner_id},
        .ids = &in->security_group_rule_ids,
        .unknown = &out->unknown_ip_permissions,
        .revoked = &out->revoked_security_group_rules,
    };
    int error = ec2_network_group(c, in->group_id, &v.group);

    out->succeeded = true;
    return error != 0 ? error : revoke(c, &v);
}

/* ---- changing ---- */

/* The place of the rule of that id, whichever way it goes. */
static int find_any_rule(struct api_call *c, const struct security_group *g, struct view id, size_t *place)
{
    int error = ec2_id_check(c, EC2_ID_SECURITY_GROUP_RULE, id);

    if (error != 0)
        return error;
    *place = place_of(g, id, false);
    if (*place == g->rules.count)
        *place = place_of(g, id, true);
    return *place < g->rules.count ? 0 : ec2_id_fail(c, EC2_ID_SECURITY_GROUP_RULE, id);
}

/* Are there two that let the same through, or too many for one version of IP? */
static int check_changed(struct api_call *c, const struct security_group *g)
{
    for (size_t i = 0; i < g->rules.count; i++)
        if (ec2_rule_find(g, &g->rules.items[i]) < i)
            return call_fail(c, EC2_INVALID_PERMISSION_DUPLICATE, "the specified rule \"%.*s\" already exists",
                             CALL_TEXT(ec2_rule_text(c, &g->rules.items[i])));
    for (int v6 = 0; v6 < 2; v6++)
        for (int egress = 0; egress < 2; egress++)
            if (count_rules(&g->rules, egress, v6) > EC2_RULES_MAX)
                return call_fail(c, EC2_RULES_PER_SECURITY_GROUP_LIMIT_EXCEEDED,
                                 "The maximum number of rules per security group has been reached.");
    return 0;
}

int ec2_modify_security_group_rules(struct api_call *c, const struct modify_security_group_rules_request *in,
                                    struct modify_security_group_rules_result *out)
{
    const struct security_group *g;
    struct security_group *copy;
    bool *changed;
    int error = ec2_network_group(c, in->group_id, &g);

    if (error != 0)
        return error;
    changed = call_zalloc(c, g->rules.count * sizeof *changed);
    copy = txn_edit_security_group(call_txn(c), g->group_id);
    for (size_t i = 0; i < in->security_group_rules.count; i++) {
        const struct ec2_security_group_rule_update *u = &in->security_group_rules.items[i];
        struct security_group_rule r;
        size_t place;

        if ((error = find_any_rule(c, copy, u->security_group_rule_id, &place)) != 0 ||
            (error = ec2_rule_read_update(c, copy, copy->rules.items[place].egress, u->security_group_rule, &r)) != 0)
            return error;
        if (changed[place])
            return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The rule '%.*s' must not appear multiple times",
                             CALL_TEXT(u->security_group_rule_id));
        changed[place] = true;
        write_rule(c, copy, &r, &copy->rules.items[place]);
    }
    out->succeeded = true;
    return check_changed(c, copy);
}

static int describe(struct api_call *c, const struct security_group *g, bool egress,
                    const struct ec2_ip_permission_list *permissions,
                    const struct ec2_security_group_rule_description_list *descriptions)
{
    const struct ec2_rule_request r = {.permissions = permissions};
    struct security_group_rule_list rules;
    struct security_group *copy;
    int error;

    if ((permissions->count > 0) == (descriptions->count > 0))
        return call_fail(c, permissions->count > 0 ? SERVICE_INVALID_PARAMETER_COMBINATION : SERVICE_MISSING_PARAMETER,
                         "Either 'ipPermissions' or 'securityGroupRuleDescriptions' should be provided.");
    if ((error = ec2_rule_read(c, g, egress, &r, &rules)) != 0)
        return error;
    copy = txn_edit_security_group(call_txn(c), g->group_id);
    for (size_t i = 0; i < rules.count; i++) {
        size_t place = ec2_rule_find(copy, &rules.items[i]);

        if (place == copy->rules.count)
            return call_fail(c, EC2_INVALID_PERMISSION_NOT_FOUND,
                             "The specified rule does not exist in this security group.");
        copy->rules.items[place].description = txn_text(call_txn(c), copy, rules.items[i].description);
    }
    for (size_t i = 0; i < descriptions->count; i++) {
        const struct ec2_security_group_rule_description *d = &descriptions->items[i];
        size_t place;

        if ((error = find_rule(c, copy, d->security_group_rule_id, egress, &place)) != 0 ||
            (error = ec2_rule_check_text(c, "rule description", d->description)) != 0)
            return error;
        copy->rules.items[place].description = txn_text(call_txn(c), copy, d->description);
    }
    return 0;
}

int ec2_update_security_group_rule_descriptions_ingress(
    struct api_call *c, const struct update_security_group_rule_descriptions_ingress_request *in,
    struct update_security_group_rule_descriptions_ingress_result *out)
{
    const struct security_group *g;
    int error = find_group(c, in->group_id, in->group_name, &g);

    out->succeeded = true;
    return error != 0 ? error : describe(c, g, false, &in->ip_permissions, &in->security_group_rule_descriptions);
}

int ec2_update_security_group_rule_descriptions_egress(
    struct api_call *c, const struct update_security_group_rule_descriptions_egress_request *in,
    struct update_security_group_rule_descriptions_egress_result *out)
{
    const struct security_group *g;
    int error = find_group(c, in->group_id, in->group_name, &g);

    out->succeeded = true;
    return error != 0 ? error : describe(c, g, true, &in->ip_permissions, &in->security_group_rule_descriptions);
}

/* ---- listing ---- */

static const struct ec2_filter_field rule_fields[] = {
    EC2_FILTER_TEXT("group-id", struct ec2_security_group_rule, group_id),
    EC2_FILTER_TEXT("security-group-rule-id", struct ec2_security_group_rule, security_group_rule_id),
};

static const struct ec2_filter_table rule_filters = {rule_fields, sizeof rule_fields / sizeof rule_fields[0], true,
                                                     offsetof(struct ec2_security_group_rule, tags)};

static int compare_rules(const void *a, const void *b)
{
    struct view x = ((const struct ec2_security_group_rule *)a)->security_group_rule_id;
    struct view y = ((const struct ec2_security_group_rule *)b)->security_group_rule_id;
    int order = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);

    return order != 0 ? order : (x.n > y.n) - (x.n < y.n);
}

/* All rules of all groups, in the order of their ids. */
static struct ec2_security_group_rule *gather(struct api_call *c, size_t *count)
{
    struct ec2_security_group_rule *all;
    size_t room = 0, n = 0;

    for (size_t i = 0; i < model_count(c->model, MODEL_SECURITY_GROUP); i++)
        room += model_security_group_at(c->model, i)->rules.count;
    all = call_zalloc(c, room * sizeof *all);
    for (size_t i = 0; i < model_count(c->model, MODEL_SECURITY_GROUP); i++) {
        const struct security_group *g = model_security_group_at(c->model, i);
        for (size_t k = 0; k < g->rules.count; k++)
            all[n++] = ec2_rule_show(c, g, &g->rules.items[k]);
    }
    if (n > 0)
        qsort(all, n, sizeof *all, compare_rules);
    *count = n;
    return all;
}

int ec2_describe_security_group_rules(struct api_call *c, const struct describe_security_group_rules_request *in,
                                      struct describe_security_group_rules_result *out)
{
    struct ec2_security_group_rule *all;
    struct ec2_listing l;
    size_t count;
    int error = ec2_listing_begin(&l, c, EC2_ID_SECURITY_GROUP_RULE, &in->security_group_rule_ids, &rule_filters,
                                  &in->filters, in->next_token, &in->max_results);

    if (error != 0)
        return error;
    all = gather(c, &count);
    out->security_group_rules.set = true;
    out->security_group_rules.items = call_zalloc(c, count * sizeof *all);
    for (size_t i = 0; i < count; i++)
        if (ec2_listing_take(&l, all[i].security_group_rule_id, &all[i]))
            out->security_group_rules.items[out->security_group_rules.count++] = all[i];
    return ec2_listing_end(&l, &out->next_token);
}
