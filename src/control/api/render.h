/* Answers about caches: what the model knows of them in the API's form. */
#ifndef CONTROL_API_RENDER_H
#define CONTROL_API_RENDER_H

#include <stdbool.h>

#include "api_elasticache.h"
#include "control/api/call.h"

void render_replication_group(struct api_call *c, const struct replication_group *g,
                              struct elasticache_replication_group *out);

/* show_nodes: with its node's endpoint. */
void render_cache_cluster(struct api_call *c, const struct cache_cluster *n, bool show_nodes,
                          struct elasticache_cache_cluster *out);

#endif
