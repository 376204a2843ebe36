/* The region, its zones, and attributes of the account. */
#include "api_handlers.h"
#include "control/api/ec2_listing.h"
#include "control/api/ec2_network.h"
#include "control/model/defaults.h"

/* Returns 0 or the error that something was asked for that there is none of. */
static int check_known(struct api_call *c, const struct string_list *wanted, const struct view *known, size_t count,
                       const char *what)
{
    for (size_t i = 0; i < wanted->count; i++) {
        size_t k = 0;

        while (k < count && !view_equal(known[k], wanted->items[i]))
            k++;
        if (k == count)
            return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "Invalid %s: [%.*s]", what,
                             CALL_TEXT(wanted->items[i]));
    }
    return 0;
}

/* ---- zones ---- */

static const struct ec2_filter_field zone_fields[] = {
    EC2_FILTER_TEXT("group-name", struct ec2_availability_zone, group_name),
    EC2_FILTER_NONE("group-long-name"),
    EC2_FILTER_NONE("message"),
    EC2_FILTER_TEXT("network-border-group", struct ec2_availability_zone, network_border_group),
    EC2_FILTER_TEXT("opt-in-status", struct ec2_availability_zone, opt_in_status),
    EC2_FILTER_NONE("parent-zone-id"),
    EC2_FILTER_NONE("parent-zone-name"),
    EC2_FILTER_TEXT("region-name", struct ec2_availability_zone, region_name),
    EC2_FILTER_TEXT("state", struct ec2_availability_zone, state),
    EC2_FILTER_TEXT("zone-id", struct ec2_availability_zone, zone_id),
    EC2_FILTER_TEXT("zone-name", struct ec2_availability_zone, zone_name),
    EC2_FILTER_TEXT("zone-type", struct ec2_availability_zone, zone_type),
};

static const struct ec2_filter_table zone_filters = {zone_fields, sizeof zone_fields / sizeof zone_fields[0], false, 0};

static struct ec2_availability_zone show_zone(struct api_call *c, struct view name, struct view id)
{
    return (struct ec2_availability_zone){
        .opt_in_status = VIEW("opt-in-not-required"),
        .messages = {.set = true},
        .region_name = c->account->region,
        .zone_name = name,
        .zone_id = id,
        .group_name = c->account->region,
        .network_border_group = c->account->region,
        .zone_type = VIEW("availability-zone"),
        .state = VIEW("available"),
    };
}

int ec2_describe_availability_zones(struct api_call *c, const struct describe_availability_zones_request *in,
                                    struct describe_availability_zones_result *out)
{
    struct view names[DEFAULTS_ZONES], ids[DEFAULTS_ZONES];
    int error = ec2_filter_check(c, &zone_filters, &in->filters);

    for (unsigned zone = 0; zone < DEFAULTS_ZONES; zone++) {
        names[zone] = ec2_network_zone_name(c, zone);
        ids[zone] = ec2_network_zone_id(c, zone);
    }
    if (error != 0 || (error = check_known(c, &in->zone_names, names, DEFAULTS_ZONES, "availability zone")) != 0 ||
        (error = check_known(c, &in->zone_ids, ids, DEFAULTS_ZONES, "availability zone-id")) != 0)
        return error;
    out->availability_zones.set = true;
    out->availability_zones.items = call_zalloc(c, DEFAULTS_ZONES * sizeof *out->availability_zones.items);
    for (unsigned zone = 0; zone < DEFAULTS_ZONES; zone++) {
        struct ec2_availability_zone z = show_zone(c, names[zone], ids[zone]);

        if ((in->zone_names.count > 0 && !ec2_network_listed(&in->zone_names, z.zone_name)) ||
            (in->zone_ids.count > 0 && !ec2_network_listed(&in->zone_ids, z.zone_id)))
            continue;
        if (ec2_filter_passes(c, &zone_filters, &in->filters, &z))
            out->availability_zones.items[out->availability_zones.count++] = z;
    }
    return 0;
}

/* ---- regions ---- */

static const struct ec2_filter_field region_fields[] = {
    EC2_FILTER_TEXT("endpoint", struct ec2_region, endpoint),
    EC2_FILTER_TEXT("opt-in-status", struct ec2_region, opt_in_status),
    EC2_FILTER_TEXT("region-name", struct ec2_region, region_name),
};

static const struct ec2_filter_table region_filters = {region_fields, sizeof region_fields / sizeof region_fields[0],
                                                       false, 0};

int ec2_describe_regions(struct api_call *c, const struct describe_regions_request *in,
                         struct describe_regions_result *out)
{
    struct ec2_region *r = call_zalloc(c, sizeof *r);
    int error = ec2_filter_check(c, &region_filters, &in->filters);

    if (error != 0 || (error = check_known(c, &in->region_names, &c->account->region, 1, "region names")) != 0)
        return error;
    r->opt_in_status = VIEW("opt-in-not-required");
    r->region_name = c->account->region;
    r->endpoint = call_text(c, "ec2.%.*s.%.*s", CALL_TEXT(r->region_name), CALL_TEXT(c->api->dns_suffix));
    out->regions.set = true;
    out->regions.items = r;
    out->regions.count = ec2_filter_passes(c, &region_filters, &in->filters, r);
    return 0;
}

/* ---- the account ---- */

static void add_attribute(struct api_call *c, const struct string_list *wanted, struct view name, struct view value,
                          struct ec2_account_attribute_list *out)
{
    struct ec2_account_attribute *a = &out->items[out->count];

    if (wanted->count > 0 && !ec2_network_listed(wanted, name))
        return;
    a->attribute_name = name;
    a->attribute_values.set = true;
    a->attribute_values.count = 1;
    a->attribute_values.items = call_zalloc(c, sizeof *a->attribute_values.items);
    a->attribute_values.items[0].attribute_value = value;
    out->count++;
}

int ec2_describe_account_attributes(struct api_call *c, const struct describe_account_attributes_request *in,
                                    struct describe_account_attributes_result *out)
{
    const struct vpc *v = ec2_network_default(c);

    out->account_attributes.set = true;
    out->account_attributes.items = call_zalloc(c, 2 * sizeof *out->account_attributes.items);
    add_attribute(c, &in->attribute_names, VIEW("supported-platforms"), VIEW("VPC"), &out->account_attributes);
    add_attribute(c, &in->attribute_names, VIEW("default-vpc"), v ? v->vpc_id : VIEW("none"), &out->account_attributes);
    return 0;
}
