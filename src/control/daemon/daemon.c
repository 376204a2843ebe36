/* The service: see daemon.h. */
#include "control/daemon/daemon.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/agent/agent.h"
#include "control/agent/shadow.h"
#include "control/api/call.h"
#include "control/api/front.h"
#include "control/api/session.h"
#include "control/daemon/access_log.h"
#include "control/daemon/control_socket.h"
#include "control/daemon/requests.h"
#include "control/daemon/root_key.h"
#include "control/daemon/service_files.h"
#include "control/dns/server.h"
#include "control/http/server.h"
#include "control/model/cidr.h"
#include "control/model/defaults.h"
#include "control/model/model.h"
#include "control/model/names.h"
#include "control/reconcile/reconciler.h"
#include "control/state/secrets.h"

#define PORTS_TRIED 64 /* from OPTIONS_API_PORT on, when none was asked for */

struct daemon {
    const struct options *options;
    char state_dir[PATH_MAX]; /* absolute */
    struct event_base *base;
    struct secrets *secrets;
    struct sessions *sessions;
    struct model *model;
    struct api api;
    struct front *front;
    struct http_server *http;
    struct access_log *access_log;
    struct agent *agent;
    struct reconciler *reconciler;
    struct dns_server *dns;
    struct requests *requests;
    struct control_socket *control;
    char api_address[HTTP_ADDRESS_MAX];
    char dns_address[HTTP_ADDRESS_MAX];
    struct event *store_event, *signals[2];
    bool failed;
};

static int complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static int complain(const char *fmt, ...)
{
    va_list ap;

    fputs("larderd: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return -1;
}

/* The path of a file in the state directory. */
static void state_path(const struct daemon *d, const char *name, char out[PATH_MAX])
{
    if (snprintf(out, PATH_MAX, "%s/%s", d->state_dir, name) >= PATH_MAX)
        abort(); /* open_state has checked */
}

/* ---- the state ---- */

static int make_state_dir(struct daemon *d)
{
    const char *path = d->options->state_dir;

    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return complain("%s cannot be made: %s", path, strerror(errno));
    if (!realpath(path, d->state_dir))
        return complain("%s: %s", path, strerror(errno));
    if (strlen(d->state_dir) > PATH_MAX - 256)
        return complain("%s: the path is too long", path);
    return 0;
}

/* Makes what a state directory has from the first start on, and the root key, if they are not there or another is given. */
static int make_account(struct daemon *d)
{
    const struct options *o = d->options;
    char id[ROOT_KEY_MAX] = "", secret[ROOT_KEY_MAX] = "", error[ROOT_KEY_ERROR_MAX];
    struct txn *t;

    if (o->access_key_file && root_key_read(o->access_key_file, id, secret, error) != 0)
        return complain("%s", error);
    t = txn_begin(d->model);
    if (model_count(d->model, MODEL_ACCOUNT) == 0)
        defaults_make(t, view_str(o->account), view_str(o->region), clock_wall_ms());
    if (id[0] != '\0' || !root_key_find(d->model))
        root_key_replace(&d->api, t, id[0] == '\0' ? NULL : id, secret);
    txn_commit(t, NULL, NULL);
    explicit_bzero(secret, sizeof secret);
    return root_key_publish(&d->api, d->state_dir, error) == 0 ? 0 : complain("%s", error);
}

static int open_state(struct daemon *d)
{
    char path[PATH_MAX], error[MODEL_ERROR_MAX > SECRETS_ERROR_MAX ? MODEL_ERROR_MAX : SECRETS_ERROR_MAX];
    bool created;

    if (make_state_dir(d) != 0)
        return -1;
    state_path(d, "state.db", path);
    if (model_open(&d->model, path, error) != 0)
        return complain("%s", error);
    state_path(d, "secret.key", path);
    if (secrets_open(path, &d->secrets, &created, error) != SECRETS_OK)
        return complain("%s", error);
    if (created && model_count(d->model, MODEL_ACCESS_KEY) > 0)
        return complain("%s is missing: without it the secrets in state.db cannot be read. Put it back.", path);
    d->api = (struct api){
        .model = d->model,
        .secrets = d->secrets,
        .sessions = d->sessions = sessions_new(),
        .partition = VIEW("aws"),
        .dns_suffix = view_str(d->options->dns_suffix),
        .plain_addresses = d->options->plain_addresses,
        .strict_memory = d->options->strict_memory,
        .host_memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE),
    };
    return make_account(d);
}

static int open_access_log(struct daemon *d)
{
    char path[PATH_MAX];
    int rc;

    state_path(d, "access.log", path);
    rc = access_log_open(path, &d->access_log);
    return rc == 0 ? 0 : complain("%s cannot be written: %s", path, strerror(-rc));
}

/* ---- the loop ---- */

static void on_store(evutil_socket_t fd, short what, void *arg)
{
    struct daemon *d = arg;

    (void)fd;
    (void)what;
    model_dispatch(d->model);
}

static void on_stopped(void *arg)
{
    struct daemon *d = arg;

    event_base_loopbreak(d->base);
}

static void on_nodes_stopped(void *arg)
{
    struct daemon *d = arg;

    http_server_stop(d->http, on_stopped, d);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct daemon *d = arg;

    (void)what;
    log_notice("Received %s, ending", number == SIGINT ? "SIGINT" : "SIGTERM");
    if (d->options->keep_nodes)
        on_nodes_stopped(d);
    else
        reconciler_stop_nodes(d->reconciler, on_nodes_stopped, d);
}

/* Clients name the address that they call; an IPv6 one is bound, but not named, in brackets. */
static void allow_own_address(struct daemon *d)
{
    struct view v = view_of(d->api_address, (size_t)(strrchr(d->api_address, ':') - d->api_address));

    http_server_allow_host(d->http, v.n > 2 && v.p[0] == '[' ? view_of(v.p + 1, v.n - 2) : v);
}

/* Listens where it was told; or on the port that it had last time, as clients know that one; or on the first that is
 * free. */
static int listen_api(struct daemon *d)
{
    char address[HTTP_ADDRESS_MAX], error[HTTP_ERROR_MAX];
    int rc = -EADDRINUSE;
    uint16_t port;

    if (d->options->api) {
        rc = http_server_listen(d->http, d->options->api, d->api_address, error);
        if (rc != 0)
            return complain("the API: %s", error);
        allow_own_address(d);
        return 0;
    }
    if (service_files_port(d->state_dir, &port) == 0) {
        snprintf(address, sizeof address, "127.0.0.1:%u", port);
        rc = http_server_listen(d->http, address, d->api_address, error);
    }
    for (unsigned i = 0; i < PORTS_TRIED && rc == -EADDRINUSE; i++) {
        snprintf(address, sizeof address, "127.0.0.1:%u", OPTIONS_API_PORT + i);
        rc = http_server_listen(d->http, address, d->api_address, error);
    }
    return rc == 0 ? 0 : complain("the API: %s", error);
}

/* ---- nodes and names ---- */

static void on_changed(void *arg)
{
    struct daemon *d = arg;

    reconciler_changed(d->reconciler);
}

/* larder-server is where it was said, or beside this program. */
static int find_server(const struct daemon *d, char out[PATH_MAX])
{
    ssize_t n;
    char *slash;

    if (d->options->server)
        return realpath(d->options->server, out) ? 0 : complain("%s: %s", d->options->server, strerror(errno));
    n = readlink("/proc/self/exe", out, PATH_MAX - 32);
    if (n <= 0)
        return complain("where larderd is cannot be read: %s", strerror(errno));
    out[n] = '\0';
    slash = strrchr(out, '/');
    strcpy(slash + 1, "larder-server");
    return access(out, X_OK) == 0 ? 0 : complain("%s: %s", out, strerror(errno));
}

static int start_agent(struct daemon *d, struct shadow_pool *pool)
{
    char directory[PATH_MAX], server[PATH_MAX];
    struct agent_options o = {.directory = directory, .server = server, .oom_score_adj = 500};
    int rc;

    if (!shadow_pool_parse(d->options->loopback, pool))
        return complain("%s is no block of addresses for --loopback: a prefix of 8 to 16 bits is needed",
                        d->options->loopback);
    if (find_server(d, server) != 0)
        return -1;
    state_path(d, "nodes", directory);
    if (mkdir(directory, 0700) != 0 && errno != EEXIST)
        return complain("%s cannot be made: %s", directory, strerror(errno));
    o.times = agent_times_default();
    rc = agent_new(d->base, &o, &d->agent);
    return rc == 0 ? 0 : complain("the agent cannot start: %s", strerror(-rc));
}

static int start_nodes(struct daemon *d)
{
    struct shadow_pool pool;
    struct reconciler_options o = {
        .base = d->base,
        .model = d->model,
        .secrets = d->secrets,
        .pool = &pool,
    };

    if (start_agent(d, &pool) != 0)
        return -1;
    o.agent = d->agent;
    d->reconciler = reconciler_new(&o);
    d->api.changed = on_changed;
    d->api.changed_arg = d;
    model_on_rollback(d->model, on_changed, d);
    return 0;
}

static bool on_lookup(void *arg, struct view name, struct dns_addresses *out)
{
    struct daemon *d = arg;
    struct names_found found;
    uint32_t shadow, address;

    if (!names_find(d->model, view_str(d->options->dns_suffix), name, &found))
        return false;
    out->count = 0;
    if (found.address.p && reconciler_find_shadow(d->reconciler, found.vpc_id, &shadow) &&
        cidr_parse_address(found.address, &address)) {
        out->address[0].s_addr = htonl(shadow | (address & 0xffff));
        out->count = 1;
    }
    return true;
}

static const struct vpc *default_vpc(const struct daemon *d)
{
    for (size_t i = 0; i < model_count(d->model, MODEL_VPC); i++)
        if (model_vpc_at(d->model, i)->is_default)
            return model_vpc_at(d->model, i);
    return NULL;
}

/* The name server's place is the .2 address of the default VPC, and port 53 if that may be had. */
static int start_dns(struct daemon *d)
{
    const char *zones[] = {d->options->dns_suffix};
    struct dns_server_options o = {.zones = zones, .zone_count = 1, .lookup = on_lookup, .arg = d};
    const struct vpc *v = default_vpc(d);
    char address[CIDR_TEXT_MAX] = "127.0.0.1";
    uint32_t shadow = 0x7f000000;
    uint16_t port = 53, bound;
    int rc;

    if (v && reconciler_shadow(d->reconciler, v->vpc_id, &shadow) == 0)
        cidr_format_address(address, shadow | 2);
    if (d->options->dns) {
        const char *colon = strrchr(d->options->dns, ':');
        if (!colon || colon - d->options->dns >= CIDR_TEXT_MAX)
            return complain("--dns %s: ADDRESS:PORT is expected", d->options->dns);
        snprintf(address, sizeof address, "%.*s", (int)(colon - d->options->dns), d->options->dns);
        port = (uint16_t)strtoul(colon + 1, NULL, 10);
    }
    inet_pton(AF_INET, address, &o.nameserver);
    d->dns = dns_server_new(d->base, &o);
    if (!d->dns)
        return complain("%s is no name for --dns-suffix", d->options->dns_suffix);
    rc = dns_server_listen(d->dns, address, port, &bound);
    if (rc != 0 && !d->options->dns)
        rc = dns_server_listen(d->dns, address, 0, &bound);
    if (rc != 0)
        return complain("names cannot be served at %s, port %u: %s", address, port, strerror(-rc));
    snprintf(d->dns_address, sizeof d->dns_address, "%s:%u", address, bound);
    return 0;
}

/* ---- the operator's tools ---- */

static int start_control(struct daemon *d)
{
    const struct account *a = model_account_at(d->model, 0);
    const struct service_files files = {
        .directory = d->state_dir,
        .api_address = d->api_address,
        .dns_address = d->dns_address,
        .dns_suffix = d->options->dns_suffix,
        .version = DAEMON_VERSION,
        .region = a->region,
        .account = a->id,
    };
    char error[SERVICE_FILES_ERROR_MAX];
    int rc;

    if (service_files_write(&files, error) != 0)
        return complain("%s", error);
    d->requests = requests_new(&d->api, d->state_dir);
    rc = control_socket_new(d->base, d->state_dir, requests_handle, d->requests, &d->control);
    return rc == 0 ? 0 : complain("%s/%s: %s", d->state_dir, CONTROL_SOCKET_NAME, strerror(-rc));
}

static int start(struct daemon *d)
{
    static const int numbers[] = {SIGINT, SIGTERM};

    signal(SIGPIPE, SIG_IGN);
    if (open_state(d) != 0 || open_access_log(d) != 0)
        return -1;
    d->base = event_base_new();
    if (!d->base)
        return complain("there is no event loop");
    d->front = front_new(&d->api);
    d->http = http_server_new(d->base, NULL, front_handle, d->front);
    http_server_allow_host(d->http, VIEW("localhost"));
    http_server_allow_host(d->http, VIEW("127.0.0.1"));
    http_server_allow_host(d->http, VIEW("::1"));
    http_server_on_access(d->http, access_log_write, d->access_log);
    d->store_event = event_new(d->base, model_fd(d->model), EV_READ | EV_PERSIST, on_store, d);
    event_add(d->store_event, NULL);
    for (unsigned i = 0; i < 2; i++) {
        d->signals[i] = evsignal_new(d->base, numbers[i], on_signal, d);
        event_add(d->signals[i], NULL);
    }
    if (start_nodes(d) != 0 || start_dns(d) != 0 || listen_api(d) != 0 || start_control(d) != 0)
        return -1;
    front_set_ready(d->front);
    printf("larderd serves the API at http://%s, names at %s\n", d->api_address, d->dns_address);
    fflush(stdout);
    return 0;
}

static void stop(struct daemon *d)
{
    for (unsigned i = 0; i < 2; i++)
        if (d->signals[i])
            event_free(d->signals[i]);
    if (d->store_event)
        event_free(d->store_event);
    dns_server_free(d->dns);
    reconciler_free(d->reconciler);
    agent_free(d->agent);
    model_close(d->model);
    control_socket_free(d->control);
    requests_free(d->requests);
    http_server_free(d->http);
    access_log_close(d->access_log);
    front_free(d->front);
    sessions_free(d->sessions);
    secrets_close(d->secrets);
    if (d->base)
        event_base_free(d->base);
}

int daemon_run(const struct options *o)
{
    struct daemon d = {.options = o};
    int rc = start(&d);

    if (rc == 0)
        event_base_dispatch(d.base);
    stop(&d);
    return rc == 0 ? 0 : 1;
}
