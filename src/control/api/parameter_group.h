/* Parameter groups. */
#ifndef CONTROL_API_PARAMETER_GROUP_H
#define CONTROL_API_PARAMETER_GROUP_H

#include <stdbool.h>

#include "base/view.h"

struct model;

/* Does a cluster or a replication group have the parameter group of that name? */
bool parameter_group_is_used(const struct model *m, struct view name);

#endif
