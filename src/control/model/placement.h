/* Where nodes go: zones, subnets, and addresses of the VPC. */
#ifndef CONTROL_MODEL_PLACEMENT_H
#define CONTROL_MODEL_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/view.h"
#include "control/model/cidr.h"

struct model;
struct cache_subnet_group;
struct subnet;

/* Addresses of a subnet that nobody gets, as at AWS: the first four and the last. */
#define PLACEMENT_RESERVED_FIRST 4
#define PLACEMENT_RESERVED_LAST 1

/* Is the zone one of the region's? */
bool placement_has_zone(struct view region, struct view zone);

/* The subnet of the group in that zone that has most free addresses; p == NULL for any zone. NULL when there is none with
 * a free one. */
const struct subnet *placement_subnet(const struct model *m, const struct cache_subnet_group *g, struct view zone);

/* The zone of the n-th node when nobody chose one: those of the group's subnets in turn, in the order of their names. The
 * group has a subnet. */
struct view placement_zone(const struct model *m, const struct cache_subnet_group *g, size_t n);

/* Has the group a subnet in the zone? */
bool placement_covers(const struct model *m, const struct cache_subnet_group *g, struct view zone);

/* The lowest address of the subnet that nothing has. False when there is none. */
bool placement_address(const struct model *m, const struct subnet *s, char out[CIDR_TEXT_MAX]);

/* How many addresses of the subnet nodes and their endpoints have. */
size_t placement_used(const struct model *m, const struct subnet *s);

/* How many addresses of the subnet are free. */
size_t placement_free(const struct model *m, const struct subnet *s);

#endif
