/*
 * VPCs. Each has one block of addresses, from /16 to /28, and comes with a default security group, a network ACL and a
 * main route table; the last two are not stored (ec2_routing.c).
 */
#include "api_handlers.h"
#include "control/api/ec2_listing.h"
#include "control/api/ec2_network.h"
#include "control/api/ec2_tags.h"
#include "control/model/defaults.h"

#define VPCS_MAX 64 /* as many as the loopback addresses have blocks for */
#define BITS_MIN 16
#define BITS_MAX 28

/* Addresses that no network may have: those of hosts themselves, of links, and what is no address of a host. */
static const struct cidr forbidden[] = {
    {0x00000000, 8},  /* 0.0.0.0 */
    {0x7f000000, 8},  /* 127.0.0.0 */
    {0xa9fe0000, 16}, /* 169.254.0.0 */
    {0xe0000000, 3},  /* 224.0.0.0 and everything behind it */
};

static struct ec2_vpc show(struct api_call *c, const struct vpc *v)
{
    struct ec2_vpc_cidr_block_association *block = call_zalloc(c, sizeof *block);
    struct ec2_vpc out = {
        .owner_id = c->account->id,
        .instance_tenancy = VIEW("default"),
        .is_default = v->is_default,
        .tags = ec2_tags_show(c, &v->tags),
        .vpc_id = v->vpc_id,
        .state = VIEW("available"),
        .cidr_block = v->cidr_block,
        .dhcp_options_id = ec2_id_derive(c, "dopt-", c->account->id),
        .cidr_block_association_set = {true, 1, block},
    };

    block->association_id = ec2_id_derive(c, "vpc-cidr-assoc-", v->vpc_id);
    block->cidr_block = v->cidr_block;
    block->cidr_block_state = call_zalloc(c, sizeof *block->cidr_block_state);
    block->cidr_block_state->state = VIEW("associated");
    return out;
}

int ec2_create_vpc(struct api_call *c, const struct create_vpc_request *in, struct create_vpc_result *out)
{
    struct cidr block = ec2_network_block(in->cidr_block);
    struct view id = call_new_id(c, "vpc-");
    bool good = block.bits >= BITS_MIN && block.bits <= BITS_MAX;
    char text[CIDR_TEXT_MAX];
    struct ec2_tag_list tags;
    struct vpc *v;
    int error;

    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++)
        good = good && !cidr_overlap(forbidden[i], block);
    if (!good)
        return call_fail(c, EC2_INVALID_VPC_RANGE, "The CIDR '%.*s' is invalid.", CALL_TEXT(in->cidr_block));
    if ((error = ec2_tags_of_new(c, &in->tag_specifications, ec2_id_type(EC2_ID_VPC), &tags)) != 0)
        return error;
    if (model_count(c->model, MODEL_VPC) >= VPCS_MAX)
        return call_fail(c, EC2_VPC_LIMIT_EXCEEDED, "The maximum number of VPCs has been reached.");
    cidr_format(text, block);
    v = txn_add_vpc(call_txn(c), id);
    v->vpc_id = txn_text(call_txn(c), v, id);
    v->cidr_block = txn_text(call_txn(c), v, view_str(text));
    v->create_time = c->now_ms;
    ec2_tags_store(c, v, &tags, &v->tags);
    defaults_security_group(call_txn(c), id);
    out->vpc = call_zalloc(c, sizeof *out->vpc);
    *out->vpc = show(c, v);
    return 0;
}

/* ---- listing ---- */

static void offer_block_id(struct ec2_filter_try *t, const void *thing)
{
    ec2_filter_offer(t, ((const struct ec2_vpc *)thing)->cidr_block_association_set.items[0].association_id);
}

static void offer_block_state(struct ec2_filter_try *t, const void *thing)
{
    (void)thing;
    ec2_filter_offer(t, VIEW("associated"));
}

static const struct ec2_filter_field vpc_fields[] = {
    EC2_FILTER_TEXT("cidr", struct ec2_vpc, cidr_block),
    EC2_FILTER_TEXT("cidr-block", struct ec2_vpc, cidr_block),
    EC2_FILTER_TEXT("cidrBlock", struct ec2_vpc, cidr_block),
    EC2_FILTER_CALL("cidr-block-association.association-id", offer_block_id),
    EC2_FILTER_TEXT("cidr-block-association.cidr-block", struct ec2_vpc, cidr_block),
    EC2_FILTER_CALL("cidr-block-association.state", offer_block_state),
    EC2_FILTER_TEXT("dhcp-options-id", struct ec2_vpc, dhcp_options_id),
    EC2_FILTER_TEXT("dhcpOptionsId", struct ec2_vpc, dhcp_options_id),
    EC2_FILTER_NONE("ipv6-cidr-block-association.association-id"),
    EC2_FILTER_NONE("ipv6-cidr-block-association.ipv6-cidr-block"),
    EC2_FILTER_NONE("ipv6-cidr-block-association.ipv6-pool"),
    EC2_FILTER_NONE("ipv6-cidr-block-association.state"),
    EC2_FILTER_FLAG("is-default", struct ec2_vpc, is_default),
    EC2_FILTER_FLAG("isDefault", struct ec2_vpc, is_default),
    EC2_FILTER_TEXT("owner-id", struct ec2_vpc, owner_id),
    EC2_FILTER_TEXT("state", struct ec2_vpc, state),
    EC2_FILTER_TEXT("vpc-id", struct ec2_vpc, vpc_id),
};

static const struct ec2_filter_table vpc_filters = {vpc_fields, sizeof vpc_fields / sizeof vpc_fields[0], true,
                                                    offsetof(struct ec2_vpc, tags)};

int ec2_describe_vpcs(struct api_call *c, const struct describe_vpcs_request *in, struct describe_vpcs_result *out)
{
    size_t count = model_count(c->model, MODEL_VPC);
    struct ec2_listing l;
    int error = ec2_listing_begin(&l, c, EC2_ID_VPC, &in->vpc_ids, &vpc_filters, &in->filters, in->next_token,
                                  &in->max_results);

    if (error != 0)
        return error;
    out->vpcs.set = true;
    out->vpcs.items = call_zalloc(c, count * sizeof *out->vpcs.items);
    for (size_t i = 0; i < count; i++) {
        struct ec2_vpc v = show(c, model_vpc_at(c->model, i));
        if (ec2_listing_take(&l, v.vpc_id, &v))
            out->vpcs.items[out->vpcs.count++] = v;
    }
    return ec2_listing_end(&l, &out->next_token);
}

/* ---- the end of one ---- */

/* Is there anything in it beside the security group that came with it? */
static bool is_used(struct api_call *c, struct view vpc_id)
{
    for (size_t i = 0; i < model_count(c->model, MODEL_SUBNET); i++)
        if (view_equal(model_subnet_at(c->model, i)->vpc_id, vpc_id))
            return true;
    for (size_t i = 0; i < model_count(c->model, MODEL_CACHE_SUBNET_GROUP); i++)
        if (view_equal(model_cache_subnet_group_at(c->model, i)->vpc_id, vpc_id))
            return true;
    for (size_t i = 0; i < model_count(c->model, MODEL_SECURITY_GROUP); i++) {
        const struct security_group *g = model_security_group_at(c->model, i);
        if (view_equal(g->vpc_id, vpc_id) && !view_equal(g->group_name, VIEW("default")))
            return true;
    }
    return false;
}

int ec2_delete_vpc(struct api_call *c, const struct delete_vpc_request *in)
{
    const struct security_group *group;
    const struct vpc *v;
    int error = ec2_network_vpc(c, in->vpc_id, &v);

    if (error != 0)
        return error;
    if (is_used(c, v->vpc_id))
        return call_fail(c, EC2_DEPENDENCY_VIOLATION, "The vpc '%.*s' has dependencies and cannot be deleted.",
                         CALL_TEXT(v->vpc_id));
    group = ec2_network_group_named(c, v->vpc_id, VIEW("default"));
    if (group)
        txn_remove(call_txn(c), MODEL_SECURITY_GROUP, group->group_id);
    txn_remove(call_txn(c), MODEL_VPC, in->vpc_id);
    return 0;
}

/* ---- attributes ---- */

int ec2_describe_vpc_attribute(struct api_call *c, const struct describe_vpc_attribute_request *in,
                               struct describe_vpc_attribute_result *out)
{
    struct ec2_attribute_boolean_value *value = call_zalloc(c, sizeof *value);
    const struct vpc *v;
    int error = ec2_network_vpc(c, in->vpc_id, &v);

    if (error != 0)
        return error;
    out->vpc_id = v->vpc_id;
    if (view_equal(in->attribute, VIEW("enableDnsSupport"))) {
        value->value = v->enable_dns_support;
        out->enable_dns_support = value;
    } else if (view_equal(in->attribute, VIEW("enableDnsHostnames"))) {
        value->value = v->enable_dns_hostnames;
        out->enable_dns_hostnames = value;
    } else {
        value->value = v->enable_network_address_usage_metrics;
        out->enable_network_address_usage_metrics = value;
    }
    return 0;
}

int ec2_modify_vpc_attribute(struct api_call *c, const struct modify_vpc_attribute_request *in)
{
    int given = (in->enable_dns_support != NULL) + (in->enable_dns_hostnames != NULL) +
                (in->enable_network_address_usage_metrics != NULL);
    const struct vpc *v;
    struct vpc *copy;
    int error = ec2_network_vpc(c, in->vpc_id, &v);

    if (error != 0)
        return error;
    if (given != 1)
        return call_fail(c, given > 1 ? SERVICE_INVALID_PARAMETER_COMBINATION : SERVICE_MISSING_PARAMETER,
                         given > 1 ? "Only one attribute can be modified at a time."
                                   : "The request must contain an attribute to modify.");
    copy = txn_edit_vpc(call_txn(c), v->vpc_id);
    if (in->enable_dns_support)
        copy->enable_dns_support = in->enable_dns_support->value;
    else if (in->enable_dns_hostnames)
        copy->enable_dns_hostnames = in->enable_dns_hostnames->value;
    else
        copy->enable_network_address_usage_metrics = in->enable_network_address_usage_metrics->value;
    return 0;
}

/* ---- what is retired, and what comes with every account ---- */

static int fail_classic(struct api_call *c)
{
    return call_fail(c, SERVICE_UNSUPPORTED, "The functionality you requested is not available in this region.");
}

int ec2_describe_vpc_classic_link(struct api_call *c, const struct describe_vpc_classic_link_request *in,
                                  struct describe_vpc_classic_link_result *out)
{
    (void)in;
    (void)out;
    return fail_classic(c);
}

int ec2_describe_vpc_classic_link_dns_support(struct api_call *c,
                                              const struct describe_vpc_classic_link_dns_support_request *in,
                                              struct describe_vpc_classic_link_dns_support_result *out)
{
    (void)in;
    (void)out;
    return fail_classic(c);
}

static void offer_option_keys(struct ec2_filter_try *t, const void *thing)
{
    const struct ec2_dhcp_options *d = thing;

    for (size_t i = 0; i < d->dhcp_configurations.count; i++)
        ec2_filter_offer(t, d->dhcp_configurations.items[i].key);
}

static void offer_option_values(struct ec2_filter_try *t, const void *thing)
{
    const struct ec2_dhcp_options *d = thing;

    for (size_t i = 0; i < d->dhcp_configurations.count; i++)
        ec2_filter_offer(t, d->dhcp_configurations.items[i].values.items[0].value);
}

static const struct ec2_filter_field dhcp_fields[] = {
    EC2_FILTER_TEXT("dhcp-options-id", struct ec2_dhcp_options, dhcp_options_id),
    EC2_FILTER_CALL("key", offer_option_keys),
    EC2_FILTER_CALL("value", offer_option_values),
    EC2_FILTER_TEXT("owner-id", struct ec2_dhcp_options, owner_id),
};

static const struct ec2_filter_table dhcp_filters = {dhcp_fields, sizeof dhcp_fields / sizeof dhcp_fields[0], true,
                                                     offsetof(struct ec2_dhcp_options, tags)};

static void set_option(struct api_call *c, struct ec2_dhcp_configuration *option, struct view key, struct view value)
{
    struct ec2_attribute_value *v = call_zalloc(c, sizeof *v);

    v->value = value;
    option->key = key;
    option->values.set = true;
    option->values.count = 1;
    option->values.items = v;
}

int ec2_describe_dhcp_options(struct api_call *c, const struct describe_dhcp_options_request *in,
                              struct describe_dhcp_options_result *out)
{
    struct ec2_dhcp_options *options = call_zalloc(c, sizeof *options);
    struct ec2_listing l;
    int error = ec2_listing_begin(&l, c, EC2_ID_DHCP_OPTIONS, &in->dhcp_options_ids, &dhcp_filters, &in->filters,
                                  in->next_token, &in->max_results);

    if (error != 0)
        return error;
    options->dhcp_options_id = ec2_id_derive(c, "dopt-", c->account->id);
    options->owner_id = c->account->id;
    options->dhcp_configurations.set = true;
    options->dhcp_configurations.count = 2;
    options->dhcp_configurations.items = call_zalloc(c, 2 * sizeof *options->dhcp_configurations.items);
    set_option(c, &options->dhcp_configurations.items[0], VIEW("domain-name"),
               call_text(c, "%.*s.compute.internal", CALL_TEXT(c->account->region)));
    set_option(c, &options->dhcp_configurations.items[1], VIEW("domain-name-servers"), VIEW("AmazonProvidedDNS"));
    out->dhcp_options.set = true;
    out->dhcp_options.items = options;
    out->dhcp_options.count = ec2_listing_take(&l, options->dhcp_options_id, options);
    return ec2_listing_end(&l, &out->next_token);
}
