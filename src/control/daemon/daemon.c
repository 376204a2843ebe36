/* The service: see daemon.h. */
#include "control/daemon/daemon.h"

#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/api/call.h"
#include "control/api/front.h"
#include "control/api/keys.h"
#include "control/http/server.h"
#include "control/model/defaults.h"
#include "control/model/model.h"
#include "control/state/secrets.h"

#define PORTS_TRIED 64 /* from OPTIONS_API_PORT on, when none was asked for */

struct daemon {
    const struct options *options;
    char state_dir[PATH_MAX]; /* absolute */
    struct event_base *base;
    struct secrets *secrets;
    struct model *model;
    struct api api;
    struct front *front;
    struct http_server *http;
    char api_address[HTTP_ADDRESS_MAX];
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

/* Reads a root key that was given: two words. */
static int read_given_key(const char *path, char id[129], char secret[129])
{
    struct buf text = {0};
    int rc = file_read_all(path, 4096, &text);

    if (rc == 0) {
        buf_put_char(&text, '\0');
        rc = sscanf(text.p, "%128s %128s", id, secret) == 2 ? 0 : -EINVAL;
    }
    secrets_wipe(&text);
    if (rc != 0)
        return complain("%s: an access key's id and its secret are expected: %s", path, strerror(-rc));
    return 0;
}

/* The root key for the tools of people, in the format that AWS's tools read. */
static int write_credentials(struct daemon *d, const char *id, const char *secret)
{
    struct buf text = {0};
    char path[PATH_MAX];
    mode_t before = umask(077);
    int rc;

    buf_printf(&text, "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", id, secret);
    state_path(d, "credentials", path);
    rc = file_write_all(path, text.p, buf_live(&text), NULL);
    umask(before);
    secrets_wipe(&text);
    return rc == 0 ? 0 : complain("%s cannot be written: %s", path, strerror(-rc));
}

static const struct access_key *root_key(const struct daemon *d)
{
    for (size_t i = 0; i < model_count(d->model, MODEL_ACCESS_KEY); i++)
        if (model_access_key_at(d->model, i)->root)
            return model_access_key_at(d->model, i);
    return NULL;
}

/* Makes what a state directory has from the first start on, and the root key, if they are not there or another is given. */
static int make_account(struct daemon *d)
{
    const struct options *o = d->options;
    char id[129] = "", secret[129] = "";
    const struct access_key *old = root_key(d);
    struct txn *t;
    int rc = 0;

    if (o->access_key_file && read_given_key(o->access_key_file, id, secret) != 0)
        return -1;
    if (model_count(d->model, MODEL_ACCOUNT) > 0 && old && id[0] == '\0')
        return 0;
    t = txn_begin(d->model);
    if (model_count(d->model, MODEL_ACCOUNT) == 0)
        defaults_make(t, view_str(o->account), view_str(o->region), clock_wall_ms());
    if (old)
        txn_remove(t, MODEL_ACCESS_KEY, old->id);
    if (id[0] != '\0')
        keys_add(&d->api, t, true, clock_wall_ms(), view_str(id), view_str(secret));
    else
        keys_make(&d->api, t, true, clock_wall_ms(), id, secret);
    txn_commit(t, NULL, NULL);
    rc = write_credentials(d, id, secret);
    explicit_bzero(secret, sizeof secret);
    return rc;
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
        .partition = VIEW("aws"),
        .dns_suffix = view_str(d->options->dns_suffix),
        .plain_addresses = d->options->plain_addresses,
    };
    return make_account(d);
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

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct daemon *d = arg;

    (void)what;
    log_notice("Received %s, ending", number == SIGINT ? "SIGINT" : "SIGTERM");
    http_server_stop(d->http, on_stopped, d);
}

static void on_access(void *arg, const struct http_access *a)
{
    (void)arg;
    log_verbose("%s %.*s %.*s %u %llu bytes %lld us%s", a->peer, (int)a->method.n, a->method.p, (int)a->target.n,
                a->target.p, a->status, (unsigned long long)a->bytes, (long long)a->micros,
                a->complete ? "" : " incomplete");
}

/* Listens where it was told, or on the first port that is free. */
static int listen_api(struct daemon *d)
{
    char address[HTTP_ADDRESS_MAX], error[HTTP_ERROR_MAX];
    int rc = -EADDRINUSE;

    if (d->options->api) {
        rc = http_server_listen(d->http, d->options->api, d->api_address, error);
        return rc == 0 ? 0 : complain("the API: %s", error);
    }
    for (unsigned i = 0; i < PORTS_TRIED && rc == -EADDRINUSE; i++) {
        snprintf(address, sizeof address, "127.0.0.1:%u", OPTIONS_API_PORT + i);
        rc = http_server_listen(d->http, address, d->api_address, error);
    }
    return rc == 0 ? 0 : complain("the API: %s", error);
}

static int start(struct daemon *d)
{
    static const int numbers[] = {SIGINT, SIGTERM};

    signal(SIGPIPE, SIG_IGN);
    if (open_state(d) != 0)
        return -1;
    d->base = event_base_new();
    if (!d->base)
        return complain("there is no event loop");
    d->front = front_new(&d->api);
    d->http = http_server_new(d->base, NULL, front_handle, d->front);
    http_server_allow_host(d->http, VIEW("localhost"));
    http_server_allow_host(d->http, VIEW("127.0.0.1"));
    http_server_on_access(d->http, on_access, d);
    d->store_event = event_new(d->base, model_fd(d->model), EV_READ | EV_PERSIST, on_store, d);
    event_add(d->store_event, NULL);
    for (unsigned i = 0; i < 2; i++) {
        d->signals[i] = evsignal_new(d->base, numbers[i], on_signal, d);
        event_add(d->signals[i], NULL);
    }
    if (listen_api(d) != 0)
        return -1;
    front_set_ready(d->front);
    printf("larderd serves the API at http://%s\n", d->api_address);
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
    model_close(d->model);
    http_server_free(d->http);
    front_free(d->front);
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
