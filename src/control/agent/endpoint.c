/* See endpoint.h. What comes from a node is looked at before it is believed: a TCP socket that listens on IPv4. */
#include "control/agent/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/holder.h"
#include "control/agent/node.h"

/* Who connects while there is no primary waits here; the kernel's own limit is this by default. */
#define BACKLOG 4096
#define NO_LISTENER "NOLISTENER"

struct endpoint {
    int fd;
    struct sockaddr_in at;
    bool is_shared;
    char address[INET_ADDRSTRLEN];
};

static struct endpoint *endpoint_make(int fd, const struct sockaddr_in *at, bool is_shared)
{
    struct endpoint *e = mem_zalloc(sizeof *e);

    e->fd = fd;
    e->at = *at;
    e->is_shared = is_shared;
    inet_ntop(AF_INET, &at->sin_addr, e->address, sizeof e->address);
    return e;
}

static int listen_at(struct sockaddr_in *at, bool is_shared, int *out)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, rc;
    socklen_t len = sizeof *at;

    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (!is_shared || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0) &&
        bind(fd, (struct sockaddr *)at, sizeof *at) == 0 && listen(fd, BACKLOG) == 0 &&
        getsockname(fd, (struct sockaddr *)at, &len) == 0) {
        *out = fd;
        return 0;
    }
    rc = -errno;
    file_close(fd);
    return rc;
}

int endpoint_open(const char *address, uint16_t port, bool is_shared, struct endpoint **out,
                  char error[ENDPOINT_ERROR_MAX])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    char who[HOLDER_TEXT_MAX] = "";
    int fd = -1, rc = -EINVAL;

    *out = NULL;
    if (inet_pton(AF_INET, address, &at.sin_addr) == 1)
        rc = listen_at(&at, is_shared, &fd);
    if (rc == 0) {
        *out = endpoint_make(fd, &at, is_shared);
        return 0;
    }
    if (rc == -EADDRINUSE)
        holder_find(&at, who, sizeof who);
    snprintf(error, ENDPOINT_ERROR_MAX, "Cannot listen at %s:%u: %s%s%s", address, port, strerror(-rc),
             who[0] != '\0' ? ": " : "", who);
    return rc;
}

void endpoint_free(struct endpoint *e)
{
    if (e == NULL)
        return;
    file_close(e->fd);
    mem_free(e);
}

const char *endpoint_address(const struct endpoint *e)
{
    return e->address;
}

uint16_t endpoint_port(const struct endpoint *e)
{
    return ntohs(e->at.sin_port);
}

bool endpoint_is_shared(const struct endpoint *e)
{
    return e->is_shared;
}

/* ---- moving ---- */

#define SERVED_MAX 32 /* listeners that a node may have */

/* A command under way, and who wants to know. */
struct move {
    struct node *node;
    char *name;
    struct endpoint *endpoint; /* regained */
    endpoint_done_fn *done;
    endpoint_regained_fn *regained;
    endpoint_list_fn *listed;
    void *arg;
};

static struct move *move_new(struct node *n, const char *name, void *arg)
{
    struct move *m = mem_zalloc(sizeof *m);

    m->node = n;
    m->name = mem_strndup(name, strlen(name));
    m->arg = arg;
    return m;
}

static void move_free(struct move *m)
{
    mem_free(m->name);
    mem_free(m);
}

/* LARDER VERB name [CLOSE] */
static int move_send(struct move *m, const char *verb, const char *option, int descriptor, bool receives,
                     command_reply_fn *fn)
{
    const struct view words[] = {VIEW("LARDER"), view_str(verb), view_str(m->name), view_str(option)};
    const struct command c = {.argc = *option != '\0' ? 4 : 3,
                              .argv = words,
                              .timeout_ms = receives ? 0 : ENDPOINT_TIMEOUT_MS,
                              .descriptor = descriptor,
                              .receives_descriptor = receives};

    return node_command(m->node, &c, fn, m);
}

/* The same. m is gone when that fails. */
static int move_begin(struct move *m, const char *verb, const char *option, int descriptor, bool receives,
                      command_reply_fn *fn)
{
    int rc = move_send(m, verb, option, descriptor, receives, fn);

    if (rc != 0)
        move_free(m);
    return rc;
}

static bool is_no_listener(const char *error)
{
    return strncmp(error, NO_LISTENER, sizeof NO_LISTENER - 1) == 0;
}

static void on_given(void *arg, const struct redisReply *reply, int fd, const char *error)
{
    struct move *m = arg;

    (void)reply, (void)fd;
    if (m->done != NULL)
        m->done(m->arg, error);
    move_free(m);
}

int endpoint_give(struct endpoint *e, struct node *n, const char *name, endpoint_done_fn *done, void *arg)
{
    struct move *m = move_new(n, name, arg);

    m->done = done;
    return move_begin(m, "LISTEN", "", e->fd, false, on_given);
}

static void on_taken(void *arg, const struct redisReply *reply, int fd, const char *error)
{
    struct move *m = arg;

    (void)fd;
    if (reply != NULL && error != NULL && is_no_listener(error))
        error = NULL;
    if (m->done != NULL)
        m->done(m->arg, error);
    move_free(m);
}

int endpoint_take(struct node *n, const char *name, bool closes, endpoint_done_fn *done, void *arg)
{
    struct move *m = move_new(n, name, arg);

    m->done = done;
    return move_begin(m, "UNLISTEN", closes ? "CLOSE" : "", -1, false, on_taken);
}

/* ---- looking ---- */

/* One of the list: name, address, number. False for one of the server's own, and for what is none. */
static bool read_served(const struct redisReply *r, struct endpoint_served *out)
{
    if (r->type != REDIS_REPLY_ARRAY || r->elements != 3 || r->element[0]->type != REDIS_REPLY_STRING ||
        r->element[1]->type != REDIS_REPLY_STRING || r->element[2]->type != REDIS_REPLY_INTEGER)
        return false;
    *out = (struct endpoint_served){r->element[0]->str, r->element[1]->str, r->element[2]->integer};
    return strcmp(out->name, "bind") != 0 && strcmp(out->name, "unixsocket") != 0;
}

static void on_listed(void *arg, const struct redisReply *reply, int fd, const char *error)
{
    struct endpoint_served list[SERVED_MAX];
    struct move *m = arg;
    size_t count = 0;

    (void)fd;
    if (error == NULL && reply->type != REDIS_REPLY_ARRAY)
        error = "the node's list of listeners is none";
    for (size_t i = 0; error == NULL && i < reply->elements && count < SERVED_MAX; i++)
        count += read_served(reply->element[i], &list[count]);
    m->listed(m->arg, list, count, error);
    move_free(m);
}

int endpoint_list(struct node *n, endpoint_list_fn *done, void *arg)
{
    struct move *m = move_new(n, "", arg);
    int rc = node_command_words(n, ENDPOINT_TIMEOUT_MS, on_listed, m, NODE_WORDS("LARDER", "LISTENERS"));

    m->listed = done;
    if (rc != 0)
        move_free(m);
    return rc;
}

/* ---- regaining ---- */

/* The endpoint of a socket that a node handed back; NULL, and closed, when it is not one. */
static struct endpoint *recognise(int fd)
{
    struct sockaddr_in at;
    int listens = 0, shared = 0;
    socklen_t at_len = sizeof at, len = sizeof listens;

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens &&
        getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &shared, &len) == 0 &&
        getsockname(fd, (struct sockaddr *)&at, &at_len) == 0 && at.sin_family == AF_INET)
        return endpoint_make(fd, &at, shared != 0);
    file_close(fd);
    return NULL;
}

static void tell_regained(struct move *m, const char *error)
{
    m->regained(m->arg, m->endpoint, error);
    move_free(m);
}

static void on_given_back(void *arg, const struct redisReply *reply, int fd, const char *error)
{
    (void)reply, (void)fd;
    tell_regained(arg, error);
}

static void on_handed_back(void *arg, const struct redisReply *reply, int fd, const char *error)
{
    struct move *m = arg;
    int rc;

    (void)reply;
    if (error != NULL) {
        tell_regained(m, error);
        return;
    }
    m->endpoint = recognise(fd);
    if (m->endpoint == NULL) {
        tell_regained(m, "the node handed back what is no listening socket");
        return;
    }
    rc = move_send(m, "LISTEN", "", m->endpoint->fd, false, on_given_back);
    if (rc != 0)
        tell_regained(m, strerror(-rc));
}

int endpoint_regain(struct node *n, const char *name, endpoint_regained_fn *done, void *arg)
{
    struct move *m = move_new(n, name, arg);

    m->regained = done;
    return move_begin(m, "HANDBACK", "", -1, true, on_handed_back);
}
