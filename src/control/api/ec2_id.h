/* Ids of EC2's resources: a prefix and 17 hexadecimal digits (8 in old ones), and the errors about wrong ones. */
#ifndef CONTROL_API_EC2_ID_H
#define CONTROL_API_EC2_ID_H

#include <stdbool.h>

#include "base/view.h"

struct api_call;

enum ec2_id_kind {
    EC2_ID_VPC,
    EC2_ID_SUBNET,
    EC2_ID_SECURITY_GROUP,
    EC2_ID_SECURITY_GROUP_RULE,
    EC2_ID_NETWORK_INTERFACE,
    EC2_ID_NETWORK_ACL,
    EC2_ID_ROUTE_TABLE,
    EC2_ID_INTERNET_GATEWAY,
    EC2_ID_DHCP_OPTIONS,
    EC2_ID_PREFIX_LIST,
    EC2_ID_KINDS
};

/* Could there be such an id of that kind? Returns 0 or the error. */
int ec2_id_check(struct api_call *c, enum ec2_id_kind kind, struct view id);

/* Fails, for there is none of that id. */
int ec2_id_fail(struct api_call *c, enum ec2_id_kind kind, struct view id);

/* The kind that the prefix tells; EC2_ID_KINDS when it is none of these. */
enum ec2_id_kind ec2_id_kind_of(struct view id);

/* The type of the resource, as tags have it: "vpc", "security-group-rule" ... */
struct view ec2_id_type(enum ec2_id_kind kind);

/* The id of something that comes with something else and is not stored: always the same for a prefix, which ends with a
 * hyphen, and a seed. */
struct view ec2_id_derive(struct api_call *c, const char *prefix, struct view seed);

#endif
