/* Part of `larder doctor`: the service itself, and names. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/holder.h"
#include "cli/api.h"
#include "cli/doctor.h"
#include "cli/service.h"
#include "preload/lookup.h"

#define API_PORT 8379
#define DNS_ADDRESS "127.64.0.2" /* where larderd's names are, unless it was told otherwise */
#define DNS_PORT 53
#define LIMITS_MAX (1 << 16)

static struct sockaddr_in address_of(const char *text, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};

    inet_pton(AF_INET, text, &a.sin_addr);
    return a;
}

/* Tries to bind; 0 or the errno value. */
static int try_bind(int type, const struct sockaddr_in *a)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), rc = 0, one = 1;

    if (fd < 0)
        return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (const struct sockaddr *)a, sizeof *a) != 0)
        rc = errno;
    close(fd);
    return rc;
}

/* Which ports may be bound without privileges. */
static void advise_port_53(json_t *findings)
{
    doctor_advise(findings,
                  "for port 53, which programs that take no port need: setcap cap_net_bind_service=+ep on larderd, or "
                  "sysctl net.ipv4.ip_unprivileged_port_start=53; `larder dns` and `larder run` take any port");
}

/* ---- when it does not run ---- */

static void check_places(json_t *findings)
{
    struct sockaddr_in api = address_of("127.0.0.1", API_PORT), dns = address_of(DNS_ADDRESS, DNS_PORT);
    char holder[HOLDER_TEXT_MAX];
    int rc = try_bind(SOCK_STREAM, &api);

    if (rc == 0) {
        doctor_find(findings, DOCTOR_OK, "the API's port 127.0.0.1:%d is free", API_PORT);
    } else {
        holder_find(&api, holder, sizeof holder);
        doctor_find(findings, DOCTOR_NOTE, "the API's port 127.0.0.1:%d is not to be had: %s%s%s", API_PORT,
                    strerror(rc), *holder ? "; " : "", holder);
        doctor_advise(findings, "larderd takes the next free one; --api ADDRESS:PORT sets another");
    }
    rc = try_bind(SOCK_DGRAM, &dns);
    if (rc == 0)
        rc = try_bind(SOCK_STREAM, &dns);
    if (rc == 0) {
        doctor_find(findings, DOCTOR_OK, "the port for names, " DNS_ADDRESS ":%d, is free", DNS_PORT);
        return;
    }
    holder_find(&dns, holder, sizeof holder);
    doctor_find(findings, DOCTOR_NOTE, "the port for names, " DNS_ADDRESS ":%d, is not to be had: %s%s%s", DNS_PORT,
                strerror(rc), *holder ? "; " : "", holder);
    if (rc == EACCES)
        advise_port_53(findings);
    else
        doctor_advise(findings, "larderd takes a free one; --dns ADDRESS:PORT sets another");
}

/* ---- when it runs ---- */

static void check_api(json_t *findings, const struct service *s)
{
    char why[API_ERROR_MAX];

    if (api_is_ready(s, why)) {
        doctor_find(findings, DOCTOR_OK, "the API answers at %s", s->api_url);
        return;
    }
    doctor_find(findings, DOCTOR_WRONG, "the API at %s is not ready: %s", s->api_url, why);
    doctor_advise(findings, "look at what larderd (process %ld) writes", s->pid);
}

/* The name server's own name: it exists whatever else does. */
static void check_names(json_t *findings, const struct service *s)
{
    char name[SERVICE_TEXT_MAX + 8];
    struct in_addr found[LOOKUP_ADDRESSES_MAX];
    struct addrinfo *system = NULL, hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct sockaddr_in server;
    unsigned count;

    snprintf(name, sizeof name, "ns.%s", s->dns_suffix);
    if (!lookup_read_server(s->dns_address, &server) ||
        lookup_addresses(&server, name, found, &count) != LOOKUP_FOUND) {
        doctor_find(findings, DOCTOR_WRONG, "the name server at %s does not answer over UDP", s->dns_address);
        doctor_advise(findings, "a packet filter may drop what goes to it; or larderd (process %ld) hangs", s->pid);
        return;
    }
    doctor_find(findings, DOCTOR_OK, "the name server answers at %s", s->dns_address);
    if (ntohs(server.sin_port) != DNS_PORT) {
        doctor_find(findings, DOCTOR_NOTE, "names are served at port %u, not %d", ntohs(server.sin_port), DNS_PORT);
        advise_port_53(findings);
    }
    if (getaddrinfo(name, NULL, &hints, &system) == 0) {
        doctor_find(findings, DOCTOR_OK, "this system resolves names below %s", s->dns_suffix);
        freeaddrinfo(system);
        return;
    }
    doctor_find(findings, DOCTOR_NOTE, "this system does not resolve names below %s", s->dns_suffix);
    doctor_advise(findings,
                  "sudo larder --state-dir %s dns install, for all programs; or, for one: larder run -- PROGRAM",
                  s->directory);
}

/* ---- open files ---- */

/* The hard limit of a running process; false when it cannot be read. */
static bool read_limit(long pid, unsigned long long *hard)
{
    char path[64];
    struct buf text = {0};
    const char *line = NULL;
    bool found;

    snprintf(path, sizeof path, "/proc/%ld/limits", pid);
    if (file_read_all(path, LIMITS_MAX, &text) == 0) {
        buf_put_char(&text, '\0');
        line = strstr(text.p, "Max open files");
    }
    found = line && sscanf(line, "Max open files %*s %llu", hard) == 1;
    buf_free(&text);
    return found;
}

/* Nodes need what larderd may have; as long as it does not run, that is what this shell may. */
static void check_open_files(json_t *findings, const struct service *running)
{
    unsigned long long hard;
    struct rlimit r;

    if (running ? !read_limit(running->pid, &hard) : getrlimit(RLIMIT_NOFILE, &r) != 0)
        return;
    if (!running)
        hard = r.rlim_max;
    if (hard >= DOCTOR_FILES) {
        doctor_find(findings, DOCTOR_OK, "%s may open %llu files", running ? "larderd" : "a process", hard);
        return;
    }
    doctor_find(findings, DOCTOR_NOTE, "%s may open only %llu files: nodes take fewer than 65,000 clients",
                running ? "larderd" : "a process", hard);
    doctor_advise(findings,
                  "before larderd is started, as root: ulimit -Hn %d; or \"nofile\" in /etc/security/limits.conf; or "
                  "LimitNOFILE= in a unit",
                  DOCTOR_FILES);
}

void doctor_service(json_t *findings, const struct service *s)
{
    if (!s || !service_is_running(s->directory)) {
        doctor_find(findings, DOCTOR_NOTE, "larderd does not run%s%s", s ? " on " : "", s ? s->directory : "");
        doctor_advise(findings, "`make run`, larderd --state-dir DIR, or systemctl start larderd start it");
        check_places(findings);
        check_open_files(findings, NULL);
        return;
    }
    doctor_find(findings, DOCTOR_OK, "larderd %s runs, process %ld", s->version, s->pid);
    check_api(findings, s);
    check_names(findings, s);
    check_open_files(findings, s);
}
