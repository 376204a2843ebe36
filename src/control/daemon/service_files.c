/* Files for the tools of people: see service_files.h. */
#include "control/daemon/service_files.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

#define ADDRESS_MAX 80

/* Where clients find it: at a wildcard address it is reached on loopback. */
static void reachable(const char *bound, char out[ADDRESS_MAX])
{
    const char *port = strrchr(bound, ':');

    if (strncmp(bound, "0.0.0.0:", 8) == 0)
        snprintf(out, ADDRESS_MAX, "127.0.0.1%s", port);
    else if (strncmp(bound, "[::]:", 5) == 0)
        snprintf(out, ADDRESS_MAX, "[::1]%s", port);
    else
        snprintf(out, ADDRESS_MAX, "%s", bound);
}

static json_t *text(struct view v)
{
    return json_stringn_nocheck(v.p, v.n);
}

static json_t *service_of(const struct service_files *f, const char *address)
{
    json_t *o = json_object();

    json_object_set_new(o, "pid", json_integer(getpid()));
    json_object_set_new(o, "version", json_string(f->version));
    json_object_set_new(o, "api_url", json_sprintf("http://%s", address));
    json_object_set_new(o, "dns_address", json_string(f->dns_address));
    json_object_set_new(o, "dns_suffix", json_string(f->dns_suffix));
    json_object_set_new(o, "region", text(f->region));
    json_object_set_new(o, "account", text(f->account));
    return o;
}

/* The place of a service, as the defaults of a partition and as an endpoint have it. */
static json_t *place_of(const char *address)
{
    return json_pack("{s:s, s:[s], s:[s]}", "hostname", address, "protocols", "http", "signatureVersions", "v4");
}

static json_t *endpoints_of(const struct service_files *f, const char *address)
{
    static const char *const names[] = {"ec2", "elasticache", "monitoring", "sts"};
    json_t *services = json_object(), *regions = json_object();
    char region[128];

    snprintf(region, sizeof region, "%.*s", (int)f->region.n, f->region.p);
    json_object_set_new(regions, region, json_pack("{s:s}", "description", "Larder"));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        json_object_set_new(services, names[i], json_pack("{s:{s:o}}", "endpoints", region, place_of(address)));
    return json_pack("{s:i, s:[{s:s, s:s, s:s, s:s, s:o, s:o, s:o}]}", "version", 3, "partitions", "partition", "aws",
                     "partitionName", "Larder", "dnsSuffix", f->dns_suffix, "regionRegex", "^.*$", "defaults",
                     place_of(address), "regions", regions, "services", services);
}

/* Writes the object, which it takes, as a file of mode 0644, whatever the umask. */
static int write_json(const char *path, json_t *o, char error[SERVICE_FILES_ERROR_MAX])
{
    char *s = json_dumps(o, JSON_INDENT(4));
    mode_t before = umask(022);
    struct buf line = {0};
    int rc = -EILSEQ;

    if (s) {
        buf_printf(&line, "%s\n", s);
        rc = file_write_all(path, line.p, buf_live(&line), NULL);
    }
    umask(before);
    free(s);
    json_decref(o);
    buf_free(&line);
    if (rc != 0)
        snprintf(error, SERVICE_FILES_ERROR_MAX, "%s cannot be written: %s", path, strerror(-rc));
    return rc == 0 ? 0 : -1;
}

int service_files_write(const struct service_files *f, char error[SERVICE_FILES_ERROR_MAX])
{
    char address[ADDRESS_MAX], path[PATH_MAX];
    mode_t before;
    int rc;

    reachable(f->api_address, address);
    snprintf(path, sizeof path, "%s/aws", f->directory);
    before = umask(022);
    rc = file_make_directory(path);
    umask(before);
    if (rc != 0) {
        snprintf(error, SERVICE_FILES_ERROR_MAX, "%s cannot be made: %s", path, strerror(-rc));
        return -1;
    }
    snprintf(path, sizeof path, "%s/aws/endpoints.json", f->directory);
    if (write_json(path, endpoints_of(f, address), error) != 0)
        return -1;
    snprintf(path, sizeof path, "%s/service.json", f->directory);
    return write_json(path, service_of(f, address), error);
}

int service_files_port(const char *directory, uint16_t *port)
{
    char path[PATH_MAX];
    const char *url, *colon;
    char *end;
    unsigned long n;
    json_t *o;
    int rc = -1;

    snprintf(path, sizeof path, "%s/service.json", directory);
    o = json_load_file(path, 0, NULL);
    url = json_string_value(json_object_get(o, "api_url"));
    colon = url ? strrchr(url, ':') : NULL;
    if (colon) {
        n = strtoul(colon + 1, &end, 10);
        if (*end == '\0' && n > 0 && n <= UINT16_MAX) {
            *port = (uint16_t)n;
            rc = 0;
        }
    }
    json_decref(o);
    return rc;
}
