/* Tags of ElastiCache's resources. */
#ifndef CONTROL_API_TAG_H
#define CONTROL_API_TAG_H

#include "api_elasticache.h"
#include "control/api/call.h"

#define TAG_MAX 50 /* of a resource */

/* Sets the tags of a request in a record of the call's transaction, beside those that *to has already: a key that is there
 * gets the new value. Returns 0, or the error that it failed the call with: a key that the request has twice, or too many
 * tags. */
int tag_put(struct api_call *c, const void *record, const struct elasticache_tag_list *from, struct tag_list *to);

#endif
