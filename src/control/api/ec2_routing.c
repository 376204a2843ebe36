/*
 * What comes with each VPC and is not stored: the default network ACL, which lets everything through, the main route
 * table, and the internet gateway of the default VPC. They are there because clients ask for them; nothing is routed by
 * them.
 */
#include <stdlib.h>
#include <string.h>

#include "api_handlers.h"
#include "control/api/ec2_listing.h"
#include "control/api/ec2_network.h"

#define RULE_LAST 32767 /* of an ACL: what no other rule was for */

/* One that comes with a VPC, and its id. */
struct companion {
    struct view id;
    const struct vpc *vpc;
};

static int compare_companions(const void *a, const void *b)
{
    struct view x = ((const struct companion *)a)->id, y = ((const struct companion *)b)->id;

    return memcmp(x.p, y.p, x.n); /* all have the same length */
}

/* Those of all VPCs, in the order of their ids. */
static struct companion *companions(struct api_call *c, const char *prefix, size_t *count)
{
    struct companion *all;

    *count = model_count(c->model, MODEL_VPC);
    all = call_zalloc(c, *count * sizeof *all);
    for (size_t i = 0; i < *count; i++) {
        const struct vpc *v = model_vpc_at(c->model, i);
        all[i] = (struct companion){ec2_id_derive(c, prefix, v->vpc_id), v};
    }
    if (*count > 0)
        qsort(all, *count, sizeof *all, compare_companions);
    return all;
}

/* ---- network ACLs ---- */

static struct ec2_network_acl_association_list acl_associations(struct api_call *c, const struct companion *acl)
{
    size_t count = model_count(c->model, MODEL_SUBNET);
    struct ec2_network_acl_association_list out = {.set = true};

    out.items = call_zalloc(c, count * sizeof *out.items);
    for (size_t i = 0; i < count; i++) {
        const struct subnet *s = model_subnet_at(c->model, i);
        if (view_equal(s->vpc_id, acl->vpc->vpc_id))
            out.items[out.count++] = (struct ec2_network_acl_association){ec2_id_derive(c, "aclassoc-", s->subnet_id),
                                                                          acl->id, s->subnet_id};
    }
    return out;
}

static struct ec2_network_acl show_acl(struct api_call *c, const struct companion *acl)
{
    struct ec2_network_acl_entry *e = call_zalloc(c, 4 * sizeof *e);

    for (int i = 0; i < 4; i++)
        e[i] = (struct ec2_network_acl_entry){
            .cidr_block = VIEW("0.0.0.0/0"),
            .egress = i < 2,
            .protocol = VIEW("-1"),
            .rule_action = i % 2 == 0 ? VIEW("allow") : VIEW("deny"),
            .rule_number = i % 2 == 0 ? 100 : RULE_LAST,
        };
    return (struct ec2_network_acl){
        .associations = acl_associations(c, acl),
        .entries = {true, 4, e},
        .is_default = true,
        .network_acl_id = acl->id,
        .tags = {.set = true},
        .vpc_id = acl->vpc->vpc_id,
        .owner_id = c->account->id,
    };
}

static void offer_acl_association(struct ec2_filter_try *t, const void *thing)
{
    const struct ec2_network_acl *a = thing;

    for (size_t i = 0; i < a->associations.count; i++)
        ec2_filter_offer(t, a->associations.items[i].network_acl_association_id);
}

static void offer_acl_associated(struct ec2_filter_try *t, const void *thing)
{
    const struct ec2_network_acl *a = thing;

    if (a->associations.count > 0)
        ec2_filter_offer(t, a->network_acl_id);
}

static void offer_acl_subnets(struct ec2_filter_try *t, const void *thing)
{
    const struct ec2_network_acl *a = thing;

    for (size_t i = 0; i < a->associations.count; i++)
        ec2_filter_offer(t, a->associations.items[i].subnet_id);
}

static void offer_entry_cidr(struct ec2_filter_try *t, const void *thing)
{
    (void)thing;
    ec2_filter_offer(t, VIEW("0.0.0.0/0"));
}

static void offer_entry_egress(struct ec2_filter_try *t, const void *thing)
{
    (void)thing;
    ec2_filter_offer_flag(t, true);
    ec2_filter_offer_flag(t, false);
}

static void offer_entry_protocol(struct ec2_filter_try *t, const void *thing)
{
    (void)thing;
    ec2_filter_offer(t, VIEW("-1"));
}

static void offer_entry_action(struct ec2_filter_try *t, const void *thing)
{
    (void)thing;
    ec2_filter_offer(t, VIEW("allow"));
    ec2_filter_offer(t, VIEW("deny"));
}

static void offer_entry_number(struct ec2_filter_try *t, const void *thing)
{
    (void)thing;
    ec2_filter_offer_integer(t, 100);
    ec2_filter_offer_integer(t, RULE_LAST);
}

static const struct ec2_filter_field acl_fields[] = {
    EC2_FILTER_CALL("association.association-id", offer_acl_association),
    EC2_FILTER_CALL("association.network-acl-id", offer_acl_associated),
    EC2_FILTER_CALL("association.subnet-id", offer_acl_subnets),
    EC2_FILTER_FLAG("default", struct ec2_network_acl, is_default),
    EC2_FILTER_CALL("entry.cidr", offer_entry_cidr),
    EC2_FILTER_CALL("entry.egress", offer_entry_egress),
    EC2_FILTER_NONE("entry.icmp.code"),
    EC2_FILTER_NONE("entry.icmp.type"),
    EC2_FILTER_NONE("entry.ipv6-cidr"),
    EC2_FILTER_NONE("entry.port-range.from"),
    EC2_FILTER_NONE("entry.port-range.to"),
    EC2_FILTER_CALL("entry.protocol", offer_entry_protocol),
    EC2_FILTER_CALL("entry.rule-action", offer_entry_action),
    EC2_FILTER_CALL("entry.rule-number", offer_entry_number),
    EC2_FILTER_TEXT("network-acl-id", struct ec2_network_acl, network_acl_id),
    EC2_FILTER_TEXT("owner-id", struct ec2_network_acl, owner_id),
    EC2_FILTER_TEXT("vpc-id", struct ec2_network_acl, vpc_id),
};

static const struct ec2_filter_table acl_filters = {acl_fields, sizeof acl_fields / sizeof acl_fields[0], true,
                                                    offsetof(struct ec2_network_acl, tags)};

int ec2_describe_network_acls(struct api_call *c, const struct describe_network_acls_request *in,
                              struct describe_network_acls_result *out)
{
    struct companion *all;
    struct ec2_listing l;
    size_t count;
    int error = ec2_listing_begin(&l, c, EC2_ID_NETWORK_ACL, &in->network_acl_ids, &acl_filters, &in->filters,
                                  in->next_token, &in->max_results);

    if (error != 0)
        return error;
    all = companions(c, "acl-", &count);
    out->network_acls.set = true;
    out->network_acls.items = call_zalloc(c, count * sizeof *out->network_acls.items);
    for (size_t i = 0; i < count; i++) {
        struct ec2_network_acl shown = show_acl(c, &all[i]);
        if (ec2_listing_take(&l, shown.network_acl_id, &shown))
            out->network_acls.items[out->network_acls.count++] = shown;
    }
    return ec2_listing_end(&l, &out->next_token);
}

/* ---- internet gateways ---- */

static struct view gateway_id(struct api_call *c, const struct vpc *v)
{
    return ec2_id_derive(c, "igw-", v->vpc_id);
}

static void offer_attachment_state(struct ec2_filter_try *t, const void *thing)
{
    ec2_filter_offer(t, ((const struct ec2_internet_gateway *)thing)->attachments.items[0].state);
}

static void offer_attachment_vpc(struct ec2_filter_try *t, const void *thing)
{
    ec2_filter_offer(t, ((const struct ec2_internet_gateway *)thing)->attachments.items[0].vpc_id);
}

static const struct ec2_filter_field gateway_fields[] = {
    EC2_FILTER_CALL("attachment.state", offer_attachment_state),
    EC2_FILTER_CALL("attachment.vpc-id", offer_attachment_vpc),
    EC2_FILTER_TEXT("internet-gateway-id", struct ec2_internet_gateway, internet_gateway_id),
    EC2_FILTER_TEXT("owner-id", struct ec2_internet_gateway, owner_id),
};

static const struct ec2_filter_table gateway_filters = {gateway_fields,
                                                        sizeof gateway_fields / sizeof gateway_fields[0], true,
                                                        offsetof(struct ec2_internet_gateway, tags)};

int ec2_describe_internet_gateways(struct api_call *c, const struct describe_internet_gateways_request *in,
                                   struct describe_internet_gateways_result *out)
{
    struct ec2_internet_gateway_attachment *attachment = call_zalloc(c, sizeof *attachment);
    struct ec2_internet_gateway *g = call_zalloc(c, sizeof *g);
    const struct vpc *v = ec2_network_default(c);
    struct ec2_listing l;
    int error = ec2_listing_begin(&l, c, EC2_ID_INTERNET_GATEWAY, &in->internet_gateway_ids, &gateway_filters,
                                  &in->filters, in->next_token, &in->max_results);

    if (error != 0)
        return error;
    out->internet_gateways.set = true;
    out->internet_gateways.items = g;
    if (v) {
        *attachment = (struct ec2_internet_gateway_attachment){VIEW("available"), v->vpc_id};
        g->attachments.set = g->tags.set = true;
        g->attachments.count = 1;
        g->attachments.items = attachment;
        g->internet_gateway_id = gateway_id(c, v);
        g->owner_id = c->account->id;
        out->internet_gateways.count = ec2_listing_take(&l, g->internet_gateway_id, g);
    }
    return ec2_listing_end(&l, &out->next_token);
}

/* ---- route tables ---- */

static struct ec2_route_table show_table(struct api_call *c, const struct companion *table)
{
    struct ec2_route_table_association *a = call_zalloc(c, sizeof *a);
    struct ec2_route *routes = call_zalloc(c, 2 * sizeof *routes);

    a->main = true;
    a->route_table_association_id = ec2_id_derive(c, "rtbassoc-", table->vpc->vpc_id);
    a->route_table_id = table->id;
    a->association_state = call_zalloc(c, sizeof *a->association_state);
    a->association_state->state = VIEW("associated");
    routes[0] = (struct ec2_route){
        .destination_cidr_block = table->vpc->cidr_block,
        .gateway_id = VIEW("local"),
        .origin = VIEW("CreateRouteTable"),
        .state = VIEW("active"),
    };
    routes[1] = (struct ec2_route){
        .destination_cidr_block = VIEW("0.0.0.0/0"),
        .gateway_id = gateway_id(c, table->vpc),
        .origin = VIEW("CreateRoute"),
        .state = VIEW("active"),
    };
    return (struct ec2_route_table){
        .associations = {true, 1, a},
        .propagating_vgws = {.set = true},
        .route_table_id = table->id,
        .routes = {true, table->vpc->is_default ? 2 : 1, routes},
        .tags = {.set = true},
        .vpc_id = table->vpc->vpc_id,
        .owner_id = c->account->id,
    };
}

static void offer_table_association(struct ec2_filter_try *t, const void *thing)
{
    ec2_filter_offer(t, ((const struct ec2_route_table *)thing)->associations.items[0].route_table_association_id);
}

static void offer_main(struct ec2_filter_try *t, const void *thing)
{
    ec2_filter_offer_flag(t, ((const struct ec2_route_table *)thing)->associations.items[0].main);
}

static void offer_destinations(struct ec2_filter_try *t, const void *thing)
{
    const struct ec2_route_table *r = thing;

    for (size_t i = 0; i < r->routes.count; i++)
        ec2_filter_offer(t, r->routes.items[i].destination_cidr_block);
}

static void offer_gateways(struct ec2_filter_try *t, const void *thing)
{
    const struct ec2_route_table *r = thing;

    for (size_t i = 0; i < r->routes.count; i++)
        ec2_filter_offer(t, r->routes.items[i].gateway_id);
}

static void offer_origins(struct ec2_filter_try *t, const void *thing)
{
    const struct ec2_route_table *r = thing;

    for (size_t i = 0; i < r->routes.count; i++)
        ec2_filter_offer(t, r->routes.items[i].origin);
}

static void offer_route_states(struct ec2_filter_try *t, const void *thing)
{
    const struct ec2_route_table *r = thing;

    for (size_t i = 0; i < r->routes.count; i++)
        ec2_filter_offer(t, r->routes.items[i].state);
}

static const struct ec2_filter_field table_fields[] = {
    EC2_FILTER_NONE("association.gateway-id"),
    EC2_FILTER_CALL("association.main", offer_main),
    EC2_FILTER_CALL("association.route-table-association-id", offer_table_association),
    EC2_FILTER_TEXT("association.route-table-id", struct ec2_route_table, route_table_id),
    EC2_FILTER_NONE("association.subnet-id"),
    EC2_FILTER_TEXT("owner-id", struct ec2_route_table, owner_id),
    EC2_FILTER_TEXT("route-table-id", struct ec2_route_table, route_table_id),
    EC2_FILTER_CALL("route.destination-cidr-block", offer_destinations),
    EC2_FILTER_NONE("route.destination-ipv6-cidr-block"),
    EC2_FILTER_NONE("route.destination-prefix-list-id"),
    EC2_FILTER_NONE("route.egress-only-internet-gateway-id"),
    EC2_FILTER_CALL("route.gateway-id", offer_gateways),
    EC2_FILTER_NONE("route.instance-id"),
    EC2_FILTER_NONE("route.nat-gateway-id"),
    EC2_FILTER_CALL("route.origin", offer_origins),
    EC2_FILTER_CALL("route.state", offer_route_states),
    EC2_FILTER_NONE("route.transit-gateway-id"),
    EC2_FILTER_NONE("route.vpc-peering-connection-id"),
    EC2_FILTER_TEXT("vpc-id", struct ec2_route_table, vpc_id),
};

static const struct ec2_filter_table table_filters = {table_fields, sizeof table_fields / sizeof table_fields[0], true,
                                                      offsetof(struct ec2_route_table, tags)};

int ec2_describe_route_tables(struct api_call *c, const struct describe_route_tables_request *in,
                              struct describe_route_tables_result *out)
{
    struct companion *all;
    struct ec2_listing l;
    size_t count;
    int error = ec2_listing_begin(&l, c, EC2_ID_ROUTE_TABLE, &in->route_table_ids, &table_filters, &in->filters,
                                  in->next_token, &in->max_results);

    if (error != 0)
        return error;
    all = companions(c, "rtb-", &count);
    out->route_tables.set = true;
    out->route_tables.items = call_zalloc(c, count * sizeof *out->route_tables.items);
    for (size_t i = 0; i < count; i++) {
        struct ec2_route_table shown = show_table(c, &all[i]);
        if (ec2_listing_take(&l, shown.route_table_id, &shown))
            out->route_tables.items[out->route_tables.count++] = shown;
    }
    return ec2_listing_end(&l, &out->next_token);
}
