/*
 * Network interfaces: one for each cache cluster, which ElastiCache manages, and the host's in the default VPC, through
 * which its processes connect to nodes. None is made or deleted by itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_handlers.h"
#include "control/api/ec2_listing.h"
#include "control/api/ec2_network.h"

#define GROUPS_MAX 5 /* of an interface */
#define MANAGER "amazon-elasticache"

/* ---- showing ---- */

static struct ec2_group_identifier_list show_groups(struct api_call *c, const struct string_list *ids)
{
    struct ec2_group_identifier_list out = {.set = true};

    out.items = call_zalloc(c, ids->count * sizeof *out.items);
    for (size_t i = 0; i < ids->count; i++) {
        const struct security_group *g = model_security_group(c->model, ids->items[i]);
        if (g)
            out.items[out.count++] = (struct ec2_group_identifier){g->group_id, g->group_name};
    }
    return out;
}

/* "ip-10-0-0-4.ap-northeast-2.compute.internal" */
static struct view private_name(struct api_call *c, struct view address)
{
    char *p = call_zalloc(c, address.n + 1);

    for (size_t i = 0; i < address.n; i++)
        p[i] = address.p[i] == '.' ? '-' : address.p[i];
    return call_text(c, "ip-%s.%.*s.compute.internal", p, CALL_TEXT(c->account->region));
}

/* An address of those that are locally administered, as AWS's are; always the same for an id. */
static struct view hardware_address(struct api_call *c, struct view id)
{
    const char *d = ec2_id_derive(c, "", id).p;

    return call_text(c, "02:%.2s:%.2s:%.2s:%.2s:%.2s", d, d + 2, d + 4, d + 6, d + 8);
}

/* What all interfaces have, of one with an id, an address and a subnet. */
static struct ec2_network_interface show(struct api_call *c, struct view id, struct view address,
                                         const struct subnet *s, const struct string_list *groups)
{
    struct ec2_network_interface_private_ip_address *own = call_zalloc(c, sizeof *own);
    struct ec2_network_interface out = {
        .groups = show_groups(c, groups),
        .interface_type = VIEW("interface"),
        .ipv6_addresses = {.set = true},
        .mac_address = hardware_address(c, id),
        .network_interface_id = id,
        .owner_id = c->account->id,
        .private_dns_name = private_name(c, address),
        .private_ip_address = address,
        .private_ip_addresses = {true, 1, own},
        .source_dest_check = true,
        .status = VIEW("in-use"),
        .tag_set = {.set = true},
    };

    *own = (struct ec2_network_interface_private_ip_address){true, out.private_dns_name, address};
    out.attachment = call_zalloc(c, sizeof *out.attachment);
    out.attachment->attachment_id = ec2_id_derive(c, "eni-attach-", id);
    out.attachment->status = VIEW("attached");
    if (s) {
        out.availability_zone = s->zone;
        out.availability_zone_id = ec2_network_zone_id(c, ec2_network_zone_named(c, s->zone));
        out.subnet_id = s->subnet_id;
        out.vpc_id = s->vpc_id;
    }
    return out;
}

static struct ec2_network_interface show_cluster(struct api_call *c, const struct cache_cluster *n)
{
    const struct subnet *s = model_subnet(c->model, n->subnet_id);
    struct ec2_network_interface out = show(c, n->interface_id, n->address, s, &n->security_group_ids);

    out.description = call_text(c, "ElastiCache %.*s", CALL_TEXT(n->id));
    out.requester_id = VIEW(MANAGER);
    out.requester_managed = true;
    out.attachment->attach_time = (struct maybe_time){true, n->create_time};
    out.attachment->device_index = (struct maybe_integer){true, 1};
    out.attachment->instance_owner_id = VIEW(MANAGER);
    return out;
}

static struct ec2_network_interface show_host(struct api_call *c, const struct subnet *s)
{
    char address[CIDR_TEXT_MAX];
    struct ec2_network_interface out;

    cidr_format_address(address, ec2_network_host_address(c));
    out = show(c, ec2_network_host_id(c), call_text(c, "%s", address), s, &c->account->host_group_ids);
    out.description = VIEW("The host that Larder runs on");
    out.attachment->attach_time = (struct maybe_time){true, c->account->create_time};
    out.attachment->delete_on_termination = true;
    out.attachment->device_index = (struct maybe_integer){true, 0};
    out.attachment->instance_id = ec2_id_derive(c, "i-", c->account->id);
    out.attachment->instance_owner_id = c->account->id;
    return out;
}

/* ---- filters ---- */

static void offer_attachment_id(struct ec2_filter_try *t, const void *thing)
{
    ec2_filter_offer(t, ((const struct ec2_network_interface *)thing)->attachment->attachment_id);
}

static void offer_attachment_kept(struct ec2_filter_try *t, const void *thing)
{
    ec2_filter_offer_flag(t, ((const struct ec2_network_interface *)thing)->attachment->delete_on_termination);
}

static void offer_attachment_index(struct ec2_filter_try *t, const void *thing)
{
    ec2_filter_offer_integer(t, ((const struct ec2_network_interface *)thing)->attachment->device_index.value);
}

static void offer_attachment_instance(struct ec2_filter_try *t, const void *thing)
{
    ec2_filter_offer(t, ((const struct ec2_network_interface *)thing)->attachment->instance_id);
}

static void offer_attachment_owner(struct ec2_filter_try *t, const void *thing)
{
    ec2_filter_offer(t, ((const struct ec2_network_interface *)thing)->attachment->instance_owner_id);
}

static void offer_attachment_status(struct ec2_filter_try *t, const void *thing)
{
    ec2_filter_offer(t, ((const struct ec2_network_interface *)thing)->attachment->status);
}

static void offer_group_ids(struct ec2_filter_try *t, const void *thing)
{
    const struct ec2_network_interface *n = thing;

    for (size_t i = 0; i < n->groups.count; i++)
        ec2_filter_offer(t, n->groups.items[i].group_id);
}

static void offer_group_names(struct ec2_filter_try *t, const void *thing)
{
    const struct ec2_network_interface *n = thing;

    for (size_t i = 0; i < n->groups.count; i++)
        ec2_filter_offer(t, n->groups.items[i].group_name);
}

static void offer_primary(struct ec2_filter_try *t, const void *thing)
{
    (void)thing;
    ec2_filter_offer_flag(t, true);
}

static const struct ec2_filter_field interface_fields[] = {
    EC2_FILTER_NONE("addresses.association.owner-id"),
    EC2_FILTER_NONE("addresses.association.public-ip"),
    EC2_FILTER_CALL("addresses.primary", offer_primary),
    EC2_FILTER_TEXT("addresses.private-ip-address", struct ec2_network_interface, private_ip_address),
    EC2_FILTER_NONE("association.allocation-id"),
    EC2_FILTER_NONE("association.association-id"),
    EC2_FILTER_NONE("association.ip-owner-id"),
    EC2_FILTER_NONE("association.public-dns-name"),
    EC2_FILTER_NONE("association.public-ip"),
    EC2_FILTER_NONE("attachment.attach-time"),
    EC2_FILTER_CALL("attachment.attachment-id", offer_attachment_id),
    EC2_FILTER_CALL("attachment.delete-on-termination", offer_attachment_kept),
    EC2_FILTER_CALL("attachment.device-index", offer_attachment_index),
    EC2_FILTER_CALL("attachment.instance-id", offer_attachment_instance),
    EC2_FILTER_CALL("attachment.instance-owner-id", offer_attachment_owner),
    EC2_FILTER_NONE("attachment.nat-gateway-id"),
    EC2_FILTER_CALL("attachment.status", offer_attachment_status),
    EC2_FILTER_TEXT("availability-zone", struct ec2_network_interface, availability_zone),
    EC2_FILTER_TEXT("availability-zone-id", struct ec2_network_interface, availability_zone_id),
    EC2_FILTER_TEXT("description", struct ec2_network_interface, description),
    EC2_FILTER_CALL("group-id", offer_group_ids),
    EC2_FILTER_CALL("group-name", offer_group_names),
    EC2_FILTER_TEXT("interface-type", struct ec2_network_interface, interface_type),
    EC2_FILTER_NONE("ipv6-addresses.ipv6-address"),
    EC2_FILTER_TEXT("mac-address", struct ec2_network_interface, mac_address),
    EC2_FILTER_TEXT("network-interface-id", struct ec2_network_interface, network_interface_id),
    EC2_FILTER_TEXT("owner-id", struct ec2_network_interface, owner_id),
    EC2_FILTER_TEXT("private-dns-name", struct ec2_network_interface, private_dns_name),
    EC2_FILTER_TEXT("private-ip-address", struct ec2_network_interface, private_ip_address),
    EC2_FILTER_TEXT("requester-id", struct ec2_network_interface, requester_id),
    EC2_FILTER_FLAG("requester-managed", struct ec2_network_interface, requester_managed),
    EC2_FILTER_FLAG("source-dest-check", struct ec2_network_interface, source_dest_check),
    EC2_FILTER_TEXT("status", struct ec2_network_interface, status),
    EC2_FILTER_TEXT("subnet-id", struct ec2_network_interface, subnet_id),
    EC2_FILTER_TEXT("vpc-id", struct ec2_network_interface, vpc_id),
};

static const struct ec2_filter_table interface_filters = {interface_fields,
                                                          sizeof interface_fields / sizeof interface_fields[0], true,
                                                          offsetof(struct ec2_network_interface, tag_set)};

/* ---- listing ---- */

static int compare_interfaces(const void *a, const void *b)
{
    struct view x = ((const struct ec2_network_interface *)a)->network_interface_id;
    struct view y = ((const struct ec2_network_interface *)b)->network_interface_id;
    int order = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);

    return order != 0 ? order : (x.n > y.n) - (x.n < y.n);
}

/* All there are, in the order of their ids. */
static struct ec2_network_interface *gather(struct api_call *c, size_t *count)
{
    size_t clusters = model_count(c->model, MODEL_CACHE_CLUSTER);
    struct ec2_network_interface *all = call_zalloc(c, (clusters + 1) * sizeof *all);
    const struct subnet *host = ec2_network_host_subnet(c);

    for (*count = 0; *count < clusters; ++*count)
        all[*count] = show_cluster(c, model_cache_cluster_at(c->model, *count));
    if (host)
        all[(*count)++] = show_host(c, host);
    if (*count > 0)
        qsort(all, *count, sizeof *all, compare_interfaces);
    return all;
}

int ec2_describe_network_interfaces(struct api_call *c, const struct describe_network_interfaces_request *in,
                                    struct describe_network_interfaces_result *out)
{
    struct ec2_network_interface *all;
    struct ec2_listing l;
    size_t count;
    int error = ec2_listing_begin(&l, c, EC2_ID_NETWORK_INTERFACE, &in->network_interface_ids, &interface_filters,
                                  &in->filters, in->next_token, &in->max_results);

    if (error != 0)
        return error;
    all = gather(c, &count);
    out->network_interfaces.set = true;
    out->network_interfaces.items = call_zalloc(c, count * sizeof *all);
    for (size_t i = 0; i < count; i++)
        if (ec2_listing_take(&l, all[i].network_interface_id, &all[i]))
            out->network_interfaces.items[out->network_interfaces.count++] = all[i];
    return ec2_listing_end(&l, &out->next_token);
}

/* ---- the host's groups ---- */

static int check_groups(struct api_call *c, const struct string_list *ids, struct view vpc_id)
{
    if (ids->count == 0)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                         "A network interface must have at least one security group");
    if (ids->count > GROUPS_MAX)
        return call_fail(c, EC2_SECURITY_GROUPS_PER_INTERFACE_LIMIT_EXCEEDED,
                         "The maximum number of security groups per interface has been reached.");
    for (size_t i = 0; i < ids->count; i++) {
        const struct security_group *g;
        int error = ec2_id_check(c, EC2_ID_SECURITY_GROUP, ids->items[i]);

        if (error != 0)
            return error;
        g = model_security_group(c->model, ids->items[i]);
        if (!g)
            return call_fail(c, EC2_INVALID_SECURITY_GROUP_ID_NOT_FOUND, "The securityGroup ID '%.*s' does not exist",
                             CALL_TEXT(ids->items[i]));
        if (!view_equal(g->vpc_id, vpc_id))
            return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                             "You have specified two resources that belong to different networks.");
    }
    return 0;
}

static bool is_of_cluster(struct api_call *c, struct view id)
{
    for (size_t i = 0; i < model_count(c->model, MODEL_CACHE_CLUSTER); i++)
        if (view_equal(model_cache_cluster_at(c->model, i)->interface_id, id))
            return true;
    return false;
}

int ec2_modify_network_interface_attribute(struct api_call *c,
                                           const struct modify_network_interface_attribute_request *in)
{
    const struct subnet *host = ec2_network_host_subnet(c);
    struct view id = in->network_interface_id;
    struct account *a;
    size_t count = 0;
    int error = ec2_id_check(c, EC2_ID_NETWORK_INTERFACE, id);

    if (error != 0)
        return error;
    if (is_of_cluster(c, id))
        return call_fail(c, EC2_OPERATION_NOT_PERMITTED, "The network interface '%.*s' is managed by ElastiCache.",
                         CALL_TEXT(id));
    if (!host || !view_equal(id, ec2_network_host_id(c)))
        return ec2_id_fail(c, EC2_ID_NETWORK_INTERFACE, id);
    if (in->description)
        return call_fail(c, SERVICE_UNSUPPORTED, "The description of the host's network interface cannot be changed.");
    if (!in->groups.set)
        return 0; /* what else there is can only be set to what it is */
    if ((error = check_groups(c, &in->groups, host->vpc_id)) != 0)
        return error;
    a = txn_edit_account(call_txn(c), c->account->id);
    a->host_group_ids.items = arena_alloc(txn_arena(call_txn(c), a), in->groups.count * sizeof(struct view));
    a->host_group_ids.count = 0;
    for (size_t i = 0; i < in->groups.count; i++)
        if (!ec2_network_listed(&a->host_group_ids, in->groups.items[i])) {
            a->host_group_ids.items[count] = txn_text(call_txn(c), a, in->groups.items[i]);
            a->host_group_ids.count = ++count;
        }
    return 0;
}
