/* Subnets: parts of a VPC's block, each in one zone. */
#include "api_handlers.h"
#include "control/api/ec2_listing.h"
#include "control/api/ec2_network.h"
#include "control/api/ec2_tags.h"
#include "control/model/defaults.h"
#include "control/model/placement.h"

#define SUBNETS_MAX 200 /* of a VPC */
#define BITS_MIN 16
#define BITS_MAX 28

static struct ec2_subnet show(struct api_call *c, const struct subnet *s)
{
    struct ec2_private_dns_name_options_on_launch *names = call_zalloc(c, sizeof *names);

    names->hostname_type = s->hostname_type;
    names->enable_resource_name_dns_a_record = s->enable_resource_name_dns_a_record;
    return (struct ec2_subnet){
        .availability_zone_id = ec2_network_zone_id(c, ec2_network_zone_named(c, s->zone)),
        .owner_id = c->account->id,
        .ipv6_cidr_block_association_set = {.set = true},
        .tags = ec2_tags_show(c, &s->tags),
        .subnet_arn = call_ec2_arn(c, "subnet", s->subnet_id),
        .enable_dns64 = s->enable_dns64,
        .private_dns_name_options_on_launch = names,
        .subnet_id = s->subnet_id,
        .state = VIEW("available"),
        .vpc_id = s->vpc_id,
        .cidr_block = s->cidr_block,
        .available_ip_address_count = (int64_t)placement_free(c->model, s),
        .availability_zone = s->zone,
        .default_for_az = s->is_default,
        .map_public_ip_on_launch = s->map_public_ip_on_launch,
    };
}

/* ---- a new one ---- */

/* The zone that has the fewest of the VPC's subnets. */
static unsigned emptiest_zone(struct api_call *c, struct view vpc_id)
{
    size_t counts[DEFAULTS_ZONES + 1] = {0};
    unsigned best = 0;

    for (size_t i = 0; i < model_count(c->model, MODEL_SUBNET); i++)
        if (view_equal(model_subnet_at(c->model, i)->vpc_id, vpc_id))
            counts[ec2_network_zone_named(c, model_subnet_at(c->model, i)->zone)]++;
    for (unsigned zone = 1; zone < DEFAULTS_ZONES; zone++)
        if (counts[zone] < counts[best])
            best = zone;
    return best;
}

static int choose_zone(struct api_call *c, const struct create_subnet_request *in, struct view *out)
{
    bool by_id = in->availability_zone_id.p != NULL;
    struct view given = by_id ? in->availability_zone_id : in->availability_zone, list = VIEW("");
    unsigned zone = by_id ? ec2_network_zone_with_id(c, given) : ec2_network_zone_named(c, given);

    if (by_id && in->availability_zone.p)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                         "Only one of AvailabilityZone and AvailabilityZoneId can be specified.");
    if (!given.p)
        zone = emptiest_zone(c, in->vpc_id);
    if (zone < DEFAULTS_ZONES) {
        *out = ec2_network_zone_name(c, zone);
        return 0;
    }
    for (zone = 0; zone < DEFAULTS_ZONES; zone++) {
        struct view name = by_id ? ec2_network_zone_id(c, zone) : ec2_network_zone_name(c, zone);
        list = call_text(c, "%.*s%s%.*s", CALL_TEXT(list), zone > 0 ? ", " : "", CALL_TEXT(name));
    }
    return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                     "Value (%.*s) for parameter %s is invalid. Subnets can currently only be created in the following "
                     "availability zones: %.*s.",
                     CALL_TEXT(given), by_id ? "availabilityZoneId" : "availabilityZone", CALL_TEXT(list));
}

static int check_block(struct api_call *c, const struct create_subnet_request *in, const struct vpc *v,
                       struct cidr block)
{
    size_t count = 0;

    if (block.bits < BITS_MIN || block.bits > BITS_MAX || !cidr_covers(ec2_network_block(v->cidr_block), block))
        return call_fail(c, EC2_INVALID_SUBNET_RANGE, "The CIDR '%.*s' is invalid.", CALL_TEXT(in->cidr_block));
    for (size_t i = 0; i < model_count(c->model, MODEL_SUBNET); i++) {
        const struct subnet *s = model_subnet_at(c->model, i);
        if (!view_equal(s->vpc_id, v->vpc_id))
            continue;
        count++;
        if (cidr_overlap(ec2_network_block(s->cidr_block), block))
            return call_fail(c, EC2_INVALID_SUBNET_CONFLICT, "The CIDR '%.*s' conflicts with another subnet",
                             CALL_TEXT(in->cidr_block));
    }
    if (count >= SUBNETS_MAX)
        return call_fail(c, EC2_SUBNET_LIMIT_EXCEEDED, "The maximum number of subnets has been reached.");
    return 0;
}

int ec2_create_subnet(struct api_call *c, const struct create_subnet_request *in, struct create_subnet_result *out)
{
    struct view id = call_new_id(c, "subnet-"), zone;
    struct cidr block = ec2_network_block(in->cidr_block);
    char text[CIDR_TEXT_MAX];
    struct ec2_tag_list tags;
    const struct vpc *v;
    struct subnet *s;
    int error;

    if ((error = ec2_network_vpc(c, in->vpc_id, &v)) != 0 || (error = choose_zone(c, in, &zone)) != 0 ||
        (error = ec2_tags_of_new(c, &in->tag_specifications, ec2_id_type(EC2_ID_SUBNET), &tags)) != 0 ||
        (error = check_block(c, in, v, block)) != 0)
        return error;
    cidr_format(text, block);
    s = txn_add_subnet(call_txn(c), id);
    s->subnet_id = txn_text(call_txn(c), s, id);
    s->vpc_id = txn_text(call_txn(c), s, v->vpc_id);
    s->cidr_block = txn_text(call_txn(c), s, view_str(text));
    s->zone = txn_text(call_txn(c), s, zone);
    s->create_time = c->now_ms;
    ec2_tags_store(c, s, &tags, &s->tags);
    out->subnet = call_zalloc(c, sizeof *out->subnet);
    *out->subnet = show(c, s);
    return 0;
}

/* ---- listing ---- */

static void offer_free(struct ec2_filter_try *t, const void *thing)
{
    ec2_filter_offer_integer(t, ((const struct ec2_subnet *)thing)->available_ip_address_count);
}

static void offer_hostname_type(struct ec2_filter_try *t, const void *thing)
{
    ec2_filter_offer(t, ((const struct ec2_subnet *)thing)->private_dns_name_options_on_launch->hostname_type);
}

static void offer_a_record(struct ec2_filter_try *t, const void *thing)
{
    const struct ec2_subnet *s = thing;

    ec2_filter_offer_flag(t, s->private_dns_name_options_on_launch->enable_resource_name_dns_a_record);
}

static void offer_aaaa_record(struct ec2_filter_try *t, const void *thing)
{
    const struct ec2_subnet *s = thing;

    ec2_filter_offer_flag(t, s->private_dns_name_options_on_launch->enable_resource_name_dns_aaaa_record);
}

static const struct ec2_filter_field subnet_fields[] = {
    EC2_FILTER_TEXT("availability-zone", struct ec2_subnet, availability_zone),
    EC2_FILTER_TEXT("availabilityZone", struct ec2_subnet, availability_zone),
    EC2_FILTER_TEXT("availability-zone-id", struct ec2_subnet, availability_zone_id),
    EC2_FILTER_TEXT("availabilityZoneId", struct ec2_subnet, availability_zone_id),
    EC2_FILTER_CALL("available-ip-address-count", offer_free),
    EC2_FILTER_TEXT("cidr", struct ec2_subnet, cidr_block),
    EC2_FILTER_TEXT("cidr-block", struct ec2_subnet, cidr_block),
    EC2_FILTER_TEXT("cidrBlock", struct ec2_subnet, cidr_block),
    EC2_FILTER_NONE("customer-owned-ipv4-pool"),
    EC2_FILTER_FLAG("default-for-az", struct ec2_subnet, default_for_az),
    EC2_FILTER_FLAG("defaultForAz", struct ec2_subnet, default_for_az),
    EC2_FILTER_FLAG("enable-dns64", struct ec2_subnet, enable_dns64),
    EC2_FILTER_NONE("enable-lni-at-device-index"),
    EC2_FILTER_NONE("ipv6-cidr-block-association.association-id"),
    EC2_FILTER_NONE("ipv6-cidr-block-association.ipv6-cidr-block"),
    EC2_FILTER_NONE("ipv6-cidr-block-association.state"),
    EC2_FILTER_FLAG("ipv6-native", struct ec2_subnet, ipv6_native),
    EC2_FILTER_FLAG("map-customer-owned-ip-on-launch", struct ec2_subnet, map_customer_owned_ip_on_launch),
    EC2_FILTER_FLAG("map-public-ip-on-launch", struct ec2_subnet, map_public_ip_on_launch),
    EC2_FILTER_NONE("outpost-arn"),
    EC2_FILTER_TEXT("owner-id", struct ec2_subnet, owner_id),
    EC2_FILTER_CALL("private-dns-name-options-on-launch.enable-resource-name-dns-a-record", offer_a_record),
    EC2_FILTER_CALL("private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record", offer_aaaa_record),
    EC2_FILTER_CALL("private-dns-name-options-on-launch.hostname-type", offer_hostname_type),
    EC2_FILTER_TEXT("state", struct ec2_subnet, state),
    EC2_FILTER_TEXT("subnet-arn", struct ec2_subnet, subnet_arn),
    EC2_FILTER_TEXT("subnet-id", struct ec2_subnet, subnet_id),
    EC2_FILTER_TEXT("vpc-id", struct ec2_subnet, vpc_id),
};

static const struct ec2_filter_table subnet_filters = {subnet_fields, sizeof subnet_fields / sizeof subnet_fields[0],
                                                       true, offsetof(struct ec2_subnet, tags)};

int ec2_describe_subnets(struct api_call *c, const struct describe_subnets_request *in,
                         struct describe_subnets_result *out)
{
    size_t count = model_count(c->model, MODEL_SUBNET);
    struct ec2_listing l;
    int error = ec2_listing_begin(&l, c, EC2_ID_SUBNET, &in->subnet_ids, &subnet_filters, &in->filters, in->next_token,
                                  &in->max_results);

    if (error != 0)
        return error;
    out->subnets.set = true;
    out->subnets.items = call_zalloc(c, count * sizeof *out->subnets.items);
    for (size_t i = 0; i < count; i++) {
        struct ec2_subnet s = show(c, model_subnet_at(c->model, i));
        if (ec2_listing_take(&l, s.subnet_id, &s))
            out->subnets.items[out->subnets.count++] = s;
    }
    return ec2_listing_end(&l, &out->next_token);
}

/* ---- the end of one ---- */

/* Has a node, an endpoint or the host an address there? */
static bool is_used(struct api_call *c, const struct subnet *s)
{
    return placement_used(c->model, s) > 0 || ec2_network_host_subnet(c) == s;
}

/* Takes it out of the cache subnet groups, whose subnets all exist. False when one of them would have none left. */
static bool leave_groups(struct api_call *c, struct view id)
{
    for (size_t i = 0; i < model_count(c->model, MODEL_CACHE_SUBNET_GROUP); i++) {
        const struct cache_subnet_group *g = model_cache_subnet_group_at(c->model, i);
        struct cache_subnet_group *copy;
        size_t left = 0;

        if (!ec2_network_listed(&g->subnet_ids, id))
            continue;
        if (g->subnet_ids.count == 1)
            return false;
        copy = txn_edit_cache_subnet_group(call_txn(c), g->name);
        for (size_t k = 0; k < copy->subnet_ids.count; k++)
            if (!view_equal(copy->subnet_ids.items[k], id))
                copy->subnet_ids.items[left++] = copy->subnet_ids.items[k];
        copy->subnet_ids.count = left;
    }
    return true;
}

int ec2_delete_subnet(struct api_call *c, const struct delete_subnet_request *in)
{
    const struct subnet *s;
    int error = ec2_network_subnet(c, in->subnet_id, &s);

    if (error != 0)
        return error;
    if (is_used(c, s) || !leave_groups(c, in->subnet_id))
        return call_fail(c, EC2_DEPENDENCY_VIOLATION, "The subnet '%.*s' has dependencies and cannot be deleted.",
                         CALL_TEXT(in->subnet_id));
    txn_remove(call_txn(c), MODEL_SUBNET, in->subnet_id);
    return 0;
}

/* ---- attributes ---- */

int ec2_modify_subnet_attribute(struct api_call *c, const struct modify_subnet_attribute_request *in)
{
    int given = (in->map_public_ip_on_launch != NULL) + (in->enable_resource_name_dns_a_record_on_launch != NULL) +
                (in->private_dns_hostname_type_on_launch.p != NULL);
    const struct subnet *s;
    struct subnet *copy;
    int error = ec2_network_subnet(c, in->subnet_id, &s);

    if (error != 0)
        return error;
    if (given > 1)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION, "Only one attribute can be modified at a time.");
    if (given == 0)
        return 0; /* what else there is can only be set to what it is */
    copy = txn_edit_subnet(call_txn(c), s->subnet_id);
    if (in->map_public_ip_on_launch)
        copy->map_public_ip_on_launch = in->map_public_ip_on_launch->value;
    else if (in->enable_resource_name_dns_a_record_on_launch)
        copy->enable_resource_name_dns_a_record = in->enable_resource_name_dns_a_record_on_launch->value;
    else
        copy->hostname_type = txn_text(call_txn(c), copy, in->private_dns_hostname_type_on_launch);
    return 0;
}
