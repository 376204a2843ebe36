/* larder status: what the service runs, with names and addresses. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/listing.h"
#include "cli/service.h"
#include "cli/table.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const char *text(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));

    return s ? s : "";
}

/* The addresses in one cell; why there are none. */
static const char *addresses_of(const json_t *o, struct buf *cell)
{
    const json_t *address;
    size_t i;

    buf_clear(cell);
    json_array_foreach(json_object_get(o, "addresses"), i, address)
    {
        buf_printf(cell, "%s%s", i > 0 ? " " : "", json_string_value(address));
    }
    if (buf_live(cell) == 0 && *text(o, "name") != '\0')
        buf_printf(cell, "(%s)", text(o, "lookup"));
    buf_put_char(cell, '\0');
    return cell->p;
}

static const char *port_of(const json_t *o, char out[32])
{
    json_int_t port = json_integer_value(json_object_get(o, "port"));

    snprintf(out, 32, "%" JSON_INTEGER_FORMAT, port);
    return port > 0 ? out : "";
}

static void add_places(const json_t *one, struct table *endpoints, struct table *nodes)
{
    struct buf cell = {0};
    const json_t *o;
    char port[32];
    size_t i;

    json_array_foreach(json_object_get(one, "endpoints"), i, o)
    {
        const char *cells[] = {text(one, "id"), text(o, "shard"), text(o, "kind"),
                               text(o, "name"), port_of(o, port), addresses_of(o, &cell)};
        table_add(endpoints, cells);
    }
    json_array_foreach(json_object_get(one, "nodes"), i, o)
    {
        const char *cells[] = {text(o, "cluster_id"), text(o, "node_id"), text(o, "zone"),  text(o, "role"),
                               text(o, "status"),     text(o, "name"),    port_of(o, port), addresses_of(o, &cell)};
        table_add(nodes, cells);
    }
    buf_free(&cell);
}

static void print_tables(const json_t *all)
{
    static const char *const group_columns[] = {"GROUP", "STATUS", "NODE TYPE", "FAILOVER", "MULTI-AZ"};
    static const char *const cluster_columns[] = {"CLUSTER", "STATUS", "ENGINE", "NODE TYPE"};
    static const char *const endpoint_columns[] = {"OF", "SHARD", "ENDPOINT", "NAME", "PORT", "ADDRESS"};
    static const char *const node_columns[] = {"NODE OF", "NODE", "ZONE", "ROLE", "STATUS", "NAME", "PORT", "ADDRESS"};
    struct table *tables[] = {
        table_new(group_columns, COUNT(group_columns)), table_new(cluster_columns, COUNT(cluster_columns)),
        table_new(endpoint_columns, COUNT(endpoint_columns)), table_new(node_columns, COUNT(node_columns))};
    const json_t *groups = json_object_get(all, "replication_groups"),
                 *clusters = json_object_get(all, "cache_clusters");
    const json_t *o;
    size_t i;

    json_array_foreach(groups, i, o)
    {
        const char *cells[] = {text(o, "id"), text(o, "status"), text(o, "node_type"), text(o, "automatic_failover"),
                               text(o, "multi_az")};
        table_add(tables[0], cells);
        add_places(o, tables[2], tables[3]);
    }
    json_array_foreach(clusters, i, o)
    {
        const char *cells[] = {text(o, "id"), text(o, "status"), text(o, "engine"), text(o, "node_type")};
        table_add(tables[1], cells);
        add_places(o, tables[2], tables[3]);
    }
    for (i = 0; i < COUNT(tables); i++)
        table_print(tables[i], stdout);
    if (json_array_size(groups) + json_array_size(clusters) == 0)
        puts("There are no replication groups and no clusters.");
}

static json_t *service_of(const struct service *s)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i}", "api_url", s->api_url, "dns_address", s->dns_address,
                     "dns_suffix", s->dns_suffix, "region", s->region, "account", s->account, "version", s->version,
                     "pid", (int)s->pid);
}

static int run(const struct cli *c, int argc, char **argv)
{
    bool as_json = false;
    const struct cli_option options[] = {{"json", &as_json, NULL}};
    struct service s;
    json_t *all;
    int rc;

    if (cli_arguments(c, options, 1, argc, argv, 0, 0) < 0)
        return CLI_WRONG_USE;
    rc = service_load_with_key(&s, c->state_dir);
    if (rc == 0)
        rc = listing_read(&s, &all);
    if (rc != 0)
        return rc;
    if (as_json) {
        json_object_set_new(all, "service", service_of(&s));
        json_dumpf(all, stdout, JSON_INDENT(4));
        putchar('\n');
    } else {
        printf("larderd %s, process %ld: the API at %s, names at %s; region %s, account %s\n", s.version, s.pid,
               s.api_url, s.dns_address, s.region, s.account);
        print_tables(all);
    }
    json_decref(all);
    return 0;
}

const struct cli_command cli_status = {
    .name = "status",
    .arguments = "[--json]",
    .help = "shows groups, clusters, nodes, zones, roles and endpoints, as names and as addresses\n"
            "An address in parentheses says why there is none: (no name), (no address), or (failed) when the name\n"
            "server did not answer.\n",
    .run = run,
};
