/*
 * Everything that the service runs, read through its API, with the addresses that its name server has for the endpoints. A
 * JSON object, as `larder status --json` prints it:
 *
 *     {"replication_groups": [{
 *          "id", "status", "node_type", "automatic_failover", "multi_az": texts as the API has them,
 *          "endpoints": [{"kind": "primary" | "reader" | "configuration", "shard": "0001" or "", ENDPOINT}],
 *          "nodes": [{"cluster_id", "node_id", "shard", "zone", "role", "status": texts, ENDPOINT}]}],
 *      "cache_clusters": [{               those that are in no group
 *          "id", "status", "engine", "node_type",
 *          "endpoints": [...], "nodes": [...]}]}
 *
 * where ENDPOINT is "name": text, "" when there is none yet, "port": number, "addresses": texts, and "lookup": "found", "no
 * name", "no address" or "failed".
 */
#ifndef CLI_LISTING_H
#define CLI_LISTING_H

#include <jansson.h>

struct service;

/* Returns 0 with the object, the caller's; or the exit status 1 after it has said what is wrong. */
int listing_read(const struct service *s, json_t **out);

#endif
