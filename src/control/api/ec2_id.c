/* Ids: see ec2_id.h. AWS spells the codes of these errors differently from kind to kind. */
#include "control/api/ec2_id.h"

#include <stdio.h>
#include <string.h>

#include "api_ec2.h"
#include "base/hash.h"
#include "control/api/call.h"

#define LONG_DIGITS 17
#define SHORT_DIGITS 8

struct kind {
    struct view prefix; /* without the hyphen */
    struct view type;
    int malformed, not_found;
    const char *noun; /* before the id: "The ... 'vpc-1' does not exist" */
};

static const struct kind kinds[EC2_ID_KINDS] = {
    [EC2_ID_VPC] = {{LIT("vpc")}, {LIT("vpc")}, EC2_INVALID_VPC_ID_MALFORMED, EC2_INVALID_VPC_ID_NOT_FOUND, "vpc ID"},
    [EC2_ID_SUBNET] = {{LIT("subnet")},
                       {LIT("subnet")},
                       EC2_INVALID_SUBNET_ID_MALFORMED,
                       EC2_INVALID_SUBNET_ID_NOT_FOUND,
                       "subnet ID"},
    [EC2_ID_SECURITY_GROUP] = {{LIT("sg")},
                               {LIT("security-group")},
                               EC2_INVALID_GROUP_ID_MALFORMED,
                               EC2_INVALID_GROUP_NOT_FOUND,
                               "security group"},
    [EC2_ID_SECURITY_GROUP_RULE] = {{LIT("sgr")},
                                    {LIT("security-group-rule")},
                                    EC2_INVALID_SECURITY_GROUP_RULE_ID_MALFORMED,
                                    EC2_INVALID_SECURITY_GROUP_RULE_ID_NOT_FOUND,
                                    "security group rule ID"},
    [EC2_ID_NETWORK_INTERFACE] = {{LIT("eni")},
                                  {LIT("network-interface")},
                                  EC2_INVALID_NETWORK_INTERFACE_ID_MALFORMED,
                                  EC2_INVALID_NETWORK_INTERFACE_ID_NOT_FOUND,
                                  "networkInterface ID"},
    [EC2_ID_NETWORK_ACL] = {{LIT("acl")},
                            {LIT("network-acl")},
                            EC2_INVALID_NETWORK_ACL_ID_MALFORMED,
                            EC2_INVALID_NETWORK_ACL_ID_NOT_FOUND,
                            "networkAcl ID"},
    [EC2_ID_ROUTE_TABLE] = {{LIT("rtb")},
                            {LIT("route-table")},
                            EC2_INVALID_ROUTE_TABLE_ID_MALFORMED,
                            EC2_INVALID_ROUTE_TABLE_ID_NOT_FOUND,
                            "routeTable ID"},
    [EC2_ID_INTERNET_GATEWAY] = {{LIT("igw")},
                                 {LIT("internet-gateway")},
                                 EC2_INVALID_INTERNET_GATEWAY_ID_MALFORMED,
                                 EC2_INVALID_INTERNET_GATEWAY_ID_NOT_FOUND,
                                 "internetGateway ID"},
    [EC2_ID_DHCP_OPTIONS] = {{LIT("dopt")},
                             {LIT("dhcp-options")},
                             EC2_INVALID_DHCP_OPTIONS_ID_MALFORMED,
                             EC2_INVALID_DHCP_OPTION_ID_NOT_FOUND,
                             "dhcpOption ID"},
    [EC2_ID_PREFIX_LIST] = {{LIT("pl")},
                            {LIT("prefix-list")},
                            EC2_INVALID_PREFIX_LIST_ID_MALFORMED,
                            EC2_INVALID_PREFIX_LIST_ID_NOT_FOUND,
                            "prefix list ID"},
};

static bool has_prefix(struct view id, struct view prefix)
{
    return id.n > prefix.n && memcmp(id.p, prefix.p, prefix.n) == 0 && id.p[prefix.n] == '-';
}

static bool is_good(struct view id, struct view prefix)
{
    size_t digits = id.n - prefix.n - 1;

    if (!has_prefix(id, prefix) || (digits != LONG_DIGITS && digits != SHORT_DIGITS))
        return false;
    for (size_t i = prefix.n + 1; i < id.n; i++)
        if (!(id.p[i] >= '0' && id.p[i] <= '9') && !(id.p[i] >= 'a' && id.p[i] <= 'f'))
            return false;
    return true;
}

int ec2_id_check(struct api_call *c, enum ec2_id_kind kind, struct view id)
{
    const struct kind *k = &kinds[kind];

    if (is_good(id, k->prefix))
        return 0;
    return call_fail(c, k->malformed, "Invalid id: \"%.*s\" (expecting \"%.*s-...\")", CALL_TEXT(id),
                     CALL_TEXT(k->prefix));
}

int ec2_id_fail(struct api_call *c, enum ec2_id_kind kind, struct view id)
{
    return call_fail(c, kinds[kind].not_found, "The %s '%.*s' does not exist", kinds[kind].noun, CALL_TEXT(id));
}

enum ec2_id_kind ec2_id_kind_of(struct view id)
{
    for (unsigned kind = 0; kind < EC2_ID_KINDS; kind++)
        if (has_prefix(id, kinds[kind].prefix))
            return (enum ec2_id_kind)kind;
    return EC2_ID_KINDS;
}

struct view ec2_id_type(enum ec2_id_kind kind)
{
    return kinds[kind].type;
}

struct view ec2_id_derive(struct api_call *c, const char *prefix, struct view seed)
{
    /* Fixed keys: these ids stay the same for ever, and nobody gains by guessing one. */
    static const struct hash_key keys[2] = {{1, 2}, {3, 4}};
    struct view text = call_text(c, "%s%.*s", prefix, CALL_TEXT(seed));

    return call_text(c, "%s%016llx%llx", prefix, (unsigned long long)hash_bytes(&keys[0], text.p, text.n),
                     (unsigned long long)hash_bytes(&keys[1], text.p, text.n) & 15);
}
