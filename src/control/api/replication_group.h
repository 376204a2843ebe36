/* Replication groups, for the handlers of clusters. */
#ifndef CONTROL_API_REPLICATION_GROUP_H
#define CONTROL_API_REPLICATION_GROUP_H

#include "control/api/call.h"

/* Adds a new cluster to a group, as a replica in that zone (p == NULL: any). Returns 0, or the error that it failed the call
 * with. */
int replication_group_join(struct api_call *c, struct view group_id, struct view cluster_id, struct view zone);

#endif
