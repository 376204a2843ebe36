/* What the service runs: see listing.h. */
#include "cli/listing.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/api.h"
#include "cli/service.h"
#include "preload/lookup.h"

struct reader {
    const struct service *service;
    struct sockaddr_in dns;
    bool has_dns;
    json_t *clusters; /* by id: {"status", ...}, of groups' members as well */
};

/* Member by member, so that a text from outside cannot be mistaken for a format. */
static void put(json_t *o, const char *name, const char *value)
{
    json_object_set_new(o, name, json_string(value));
}

/* ---- endpoints ---- */

static const char *resolve(const struct reader *r, const char *name, json_t *addresses)
{
    static const char *const words[] = {[LOOKUP_FOUND] = "found",
                                        [LOOKUP_NO_ADDRESS] = "no address",
                                        [LOOKUP_NO_NAME] = "no name",
                                        [LOOKUP_FAILED] = "failed"};
    struct in_addr found[LOOKUP_ADDRESSES_MAX];
    enum lookup_result result;
    unsigned count;

    if (inet_pton(AF_INET, name, &found[0]) == 1) {
        json_array_append_new(addresses, json_string(name));
        return words[LOOKUP_FOUND];
    }
    if (!r->has_dns)
        return words[LOOKUP_FAILED];
    result = lookup_addresses(&r->dns, name, found, &count);
    for (unsigned i = 0; i < count; i++) {
        char text[INET_ADDRSTRLEN];
        inet_ntop(AF_INET, &found[i], text, sizeof text);
        json_array_append_new(addresses, json_string(text));
    }
    return words[result];
}

static void put_endpoint(const struct reader *r, json_t *o, const xmlNode *endpoint)
{
    const char *name = api_text(endpoint, "Address");
    json_t *addresses = json_array();

    put(o, "name", name);
    json_object_set_new(o, "port", json_integer(strtol(api_text(endpoint, "Port"), NULL, 10)));
    put(o, "lookup", *name ? resolve(r, name, addresses) : "no name");
    json_object_set_new(o, "addresses", addresses);
}

static void add_endpoint(const struct reader *r, json_t *list, const char *kind, const char *shard,
                         const xmlNode *endpoint)
{
    json_t *o;

    if (!endpoint)
        return;
    o = json_object();
    put(o, "kind", kind);
    put(o, "shard", shard);
    put_endpoint(r, o, endpoint);
    json_array_append_new(list, o);
}

/* ---- groups ---- */

static json_t *member_of(const struct reader *r, const xmlNode *m, const char *shard)
{
    const char *cluster_id = api_text(m, "CacheClusterId");
    const char *status = json_string_value(json_object_get(json_object_get(r->clusters, cluster_id), "status"));
    json_t *o = json_object();

    put(o, "cluster_id", cluster_id);
    put(o, "node_id", api_text(m, "CacheNodeId"));
    put(o, "shard", shard);
    put(o, "zone", api_text(m, "PreferredAvailabilityZone"));
    put(o, "role", api_text(m, "CurrentRole"));
    put(o, "status", status ? status : "");
    put_endpoint(r, o, api_child(m, "ReadEndpoint"));
    return o;
}

static json_t *group_of(const struct reader *r, const xmlNode *g)
{
    json_t *o = json_object(), *endpoints = json_array(), *nodes = json_array();

    put(o, "id", api_text(g, "ReplicationGroupId"));
    put(o, "status", api_text(g, "Status"));
    put(o, "node_type", api_text(g, "CacheNodeType"));
    put(o, "automatic_failover", api_text(g, "AutomaticFailover"));
    put(o, "multi_az", api_text(g, "MultiAZ"));
    add_endpoint(r, endpoints, "configuration", "", api_child(g, "ConfigurationEndpoint"));
    for (const xmlNode *s = api_child(g, "NodeGroups/NodeGroup"); s; s = api_next(s)) {
        const char *shard = api_text(s, "NodeGroupId");
        add_endpoint(r, endpoints, "primary", shard, api_child(s, "PrimaryEndpoint"));
        add_endpoint(r, endpoints, "reader", shard, api_child(s, "ReaderEndpoint"));
        for (const xmlNode *m = api_child(s, "NodeGroupMembers/NodeGroupMember"); m; m = api_next(m))
            json_array_append_new(nodes, member_of(r, m, shard));
    }
    json_object_set_new(o, "endpoints", endpoints);
    json_object_set_new(o, "nodes", nodes);
    return o;
}

/* ---- clusters ---- */

static json_t *cluster_of(const struct reader *r, const xmlNode *c)
{
    json_t *o = json_object(), *endpoints = json_array(), *nodes = json_array();

    put(o, "id", api_text(c, "CacheClusterId"));
    put(o, "status", api_text(c, "CacheClusterStatus"));
    put(o, "engine", api_text(c, "Engine"));
    put(o, "node_type", api_text(c, "CacheNodeType"));
    if (*api_text(c, "ReplicationGroupId") != '\0')
        put(o, "group", api_text(c, "ReplicationGroupId"));
    else
        add_endpoint(r, endpoints, "configuration", "", api_child(c, "ConfigurationEndpoint"));
    for (const xmlNode *n = api_child(c, "CacheNodes/CacheNode"); n && !json_object_get(o, "group"); n = api_next(n)) {
        json_t *node = json_object();
        put(node, "cluster_id", api_text(c, "CacheClusterId"));
        put(node, "node_id", api_text(n, "CacheNodeId"));
        put(node, "shard", "");
        put(node, "zone", api_text(n, "CustomerAvailabilityZone"));
        put(node, "role", "");
        put(node, "status", api_text(n, "CacheNodeStatus"));
        put_endpoint(r, node, api_child(n, "Endpoint"));
        json_array_append_new(nodes, node);
    }
    json_object_set_new(o, "endpoints", endpoints);
    json_object_set_new(o, "nodes", nodes);
    return o;
}

/* ---- the API's pages ---- */

/* Calls the action until there is no marker, and `each` for every element at `path` of the results. */
static int read_pages(struct reader *r, const char *action, const char *arguments, const char *path,
                      void (*each)(struct reader *r, json_t *list, const xmlNode *n), json_t *list)
{
    struct buf parameters = {0}, full = {0};
    xmlDoc *doc = NULL;
    bool more = true;
    int rc = 0;

    buf_printf(&parameters, "%s", arguments);
    while (more && rc == 0) {
        const char *marker;
        buf_put_char(&parameters, '\0');
        rc = api_call(r->service, action, parameters.p, &doc);
        if (rc != 0)
            break;
        buf_clear(&full);
        buf_printf(&full, "%sResult/%s", action, path);
        buf_put_char(&full, '\0');
        for (const xmlNode *n = api_child(xmlDocGetRootElement(doc), full.p); n; n = api_next(n))
            each(r, list, n);
        buf_clear(&full);
        buf_printf(&full, "%sResult/Marker", action);
        buf_put_char(&full, '\0');
        marker = api_text(xmlDocGetRootElement(doc), full.p);
        more = *marker != '\0';
        if (more) {
            char *escaped = api_escape(marker);
            buf_clear(&parameters);
            buf_printf(&parameters, "%s&Marker=%s", arguments, escaped);
            free(escaped);
        }
        xmlFreeDoc(doc);
    }
    buf_free(&parameters);
    buf_free(&full);
    return rc;
}

static void on_cluster(struct reader *r, json_t *list, const xmlNode *n)
{
    (void)list;
    json_object_set_new(r->clusters, api_text(n, "CacheClusterId"), cluster_of(r, n));
}

static void on_group(struct reader *r, json_t *list, const xmlNode *n)
{
    json_array_append_new(list, group_of(r, n));
}

int listing_read(const struct service *s, json_t **out)
{
    struct reader r = {.service = s, .clusters = json_object()};
    json_t *groups = json_array(), *alone = json_array(), *c;
    const char *id;
    int rc;

    *out = NULL;
    r.has_dns = lookup_read_server(s->dns_address, &r.dns);
    rc = read_pages(&r, "DescribeCacheClusters", "ShowCacheNodeInfo=true", "CacheClusters/CacheCluster", on_cluster,
                    NULL);
    if (rc == 0)
        rc = read_pages(&r, "DescribeReplicationGroups", "MaxRecords=100", "ReplicationGroups/ReplicationGroup",
                        on_group, groups);
    json_object_foreach(r.clusters, id, c)
    {
        if (!json_object_get(c, "group"))
            json_array_append(alone, c);
    }
    json_decref(r.clusters);
    *out = json_pack("{s:o, s:o}", "replication_groups", groups, "cache_clusters", alone);
    if (rc != 0) {
        json_decref(*out);
        *out = NULL;
    }
    return rc;
}
