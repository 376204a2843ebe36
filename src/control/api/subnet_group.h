/* Cache subnet groups. */
#ifndef CONTROL_API_SUBNET_GROUP_H
#define CONTROL_API_SUBNET_GROUP_H

#include "control/api/call.h"

/* The group of that name; p == NULL: the default one. Returns 0, or the error that it failed the call with. */
int subnet_group_find(struct api_call *c, struct view name, const struct cache_subnet_group **out);

#endif
