/* What EC2's handlers ask of the model: networks, zones, names, who has a security group. */
#ifndef CONTROL_API_EC2_NETWORK_H
#define CONTROL_API_EC2_NETWORK_H

#include <stdint.h>

#include "api_ec2.h"
#include "control/api/call.h"
#include "control/model/cidr.h"

/* Look up by an id that somebody sent. Return 0 or the error that it is malformed or nobody's. */
int ec2_network_vpc(struct api_call *c, struct view id, const struct vpc **out);
int ec2_network_subnet(struct api_call *c, struct view id, const struct subnet **out);
int ec2_network_group(struct api_call *c, struct view id, const struct security_group **out);

/* The default VPC; NULL when there is none. */
const struct vpc *ec2_network_default(struct api_call *c);

/* The group of that name in the VPC, or NULL. */
const struct security_group *ec2_network_group_named(struct api_call *c, struct view vpc_id, struct view name);

/* The block of a VPC or a subnet, which the model has as text. */
struct cidr ec2_network_block(struct view text);

/* Zones are numbered from 0 to DEFAULTS_ZONES - 1. Their names end with a letter, their ids with a number from 1 on. */
struct view ec2_network_zone_name(struct api_call *c, unsigned zone);
struct view ec2_network_zone_id(struct api_call *c, unsigned zone);

/* The number of a zone by its name, or by its id; DEFAULTS_ZONES when there is none. */
unsigned ec2_network_zone_named(struct api_call *c, struct view name);
unsigned ec2_network_zone_with_id(struct api_call *c, struct view id);

/* The host's network interface: its id, its address, and the subnet it is in (NULL when there is no default VPC). */
struct view ec2_network_host_id(struct api_call *c);
uint32_t ec2_network_host_address(struct api_call *c);
const struct subnet *ec2_network_host_subnet(struct api_call *c);

bool ec2_network_listed(const struct string_list *list, struct view id);

#endif
