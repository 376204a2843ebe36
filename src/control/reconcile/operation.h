/* Operations: what an API call began and is to come to an end: creating, changing, switching over, rebooting, deleting.
 * Statuses and events follow from here. */
#ifndef CONTROL_RECONCILE_OPERATION_H
#define CONTROL_RECONCILE_OPERATION_H

#include <stdbool.h>

struct runtime;
struct shard;

/* Goes on with what is being done. settled: everything is as the model wants it. False: the shard is gone. */
bool operation_step(struct runtime *r, bool settled);

/* Removes members that were to go and whose processes are gone, with their directories. s may be NULL. True when there was
 * none that is still to go. */
bool operation_remove_gone(struct runtime *r, const struct shard *s);

#endif
