/*
 * Listening, and who gets a place. Accepting stops after ACCEPTS_PER_EVENT, for the sake of those who are in already;
 * what waits makes the listener ready again in the next turn.
 */
#include "control/http/server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "control/http/connection.h"

#define BACKLOG 1024
#define ACCEPTS_PER_EVENT 64
#define SLOW_US 1000000 /* a request that has been arriving for longer may lose its place */

struct http_listener {
    struct http_listener *next;
    struct http_server *server;
    int fd;
    bool complained; /* since it last accepted one */
    struct event acceptable, resume;
};

struct http_limits http_limits_default(void)
{
    return (struct http_limits){
        .connections = 2048,
        .body = 1u << 20,
        .reply = 16u << 20,
        .head_ms = 10000,
        .request_ms = 60000,
        .idle_ms = 60000,
        .write_ms = 60000,
        .linger_ms = 2000,
    };
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct http_server *s = arg;
    void (*done)(void *) = s->done;

    (void)fd, (void)what;
    connection_turn(s);
    if (!s->stopping || done == NULL || http_server_connections(s) > 0)
        return;
    s->done = NULL;
    done(s->done_arg);
}

struct http_server *http_server_new(struct event_base *base, const struct http_limits *limits, http_handler_fn *handler,
                                    void *arg)
{
    struct http_server *s = mem_zalloc(sizeof *s);
    unsigned n;

    s->base = base;
    s->limits = limits == NULL ? http_limits_default() : *limits;
    s->handler = handler;
    s->handler_arg = arg;
    n = s->limits.connections;
    assert(n > 0);
    s->places = mem_zalloc(n * sizeof *s->places);
    s->free_places = mem_alloc(n * sizeof *s->free_places);
    for (s->free_count = 0; s->free_count < n; s->free_count++)
        s->free_places[s->free_count] = n - 1 - s->free_count;
    TAILQ_INIT(&s->idle);
    TAILQ_INIT(&s->receiving);
    TAILQ_INIT(&s->busy);
    TAILQ_INIT(&s->ready);
    TAILQ_INIT(&s->dead);
    TAILQ_INIT(&s->exchanges);
    evtimer_assign(&s->turn, base, on_turn, s);
    return s;
}

static void close_all(struct connection_list *list)
{
    struct connection *c;

    while ((c = TAILQ_FIRST(list)) != NULL)
        connection_close(c);
}

static void close_listeners(struct http_server *s)
{
    while (s->listeners != NULL) {
        struct http_listener *l = s->listeners;

        s->listeners = l->next;
        event_del(&l->acceptable);
        event_del(&l->resume);
        close(l->fd);
        mem_free(l);
    }
}

void http_server_free(struct http_server *s)
{
    struct http_exchange *x;

    if (s == NULL)
        return;
    close_listeners(s);
    close_all(&s->idle);
    close_all(&s->receiving);
    close_all(&s->busy);
    connection_turn(s);
    event_del(&s->turn);
    while ((x = TAILQ_FIRST(&s->exchanges)) != NULL) {
        TAILQ_REMOVE(&s->exchanges, x, link);
        x->server = NULL;
    }
    for (size_t i = 0; i < s->host_count; i++)
        mem_free(s->hosts[i]);
    mem_free(s->hosts);
    mem_free(s->places);
    mem_free(s->free_places);
    mem_free(s);
}

void http_server_allow_host(struct http_server *s, struct view name)
{
    s->hosts = mem_realloc(s->hosts, (s->host_count + 1) * sizeof *s->hosts);
    s->hosts[s->host_count++] = mem_strndup(name.p, name.n);
}

void http_server_on_access(struct http_server *s, http_access_fn *fn, void *arg)
{
    s->access = fn;
    s->access_arg = arg;
}

unsigned http_server_connections(const struct http_server *s)
{
    return s->limits.connections - s->free_count;
}

void http_server_stop(struct http_server *s, void (*done)(void *arg), void *arg)
{
    struct connection *c, *next;

    s->stopping = true;
    s->done = done;
    s->done_arg = arg;
    close_listeners(s);
    for (c = TAILQ_FIRST(&s->idle); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        if (c->state == CONNECTION_IDLE)
            connection_close(c);
    }
    close_all(&s->receiving);
    connection_schedule_turn(s);
}

/* ---- newcomers --------------------------------------------------------------------------------------------------- */

static void format_address(char out[HTTP_ADDRESS_MAX], const struct sockaddr_storage *address)
{
    char host[INET6_ADDRSTRLEN] = "";

    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        snprintf(out, HTTP_ADDRESS_MAX, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in4 = (const void *)address;
        inet_ntop(AF_INET, &in4->sin_addr, host, sizeof host);
        snprintf(out, HTTP_ADDRESS_MAX, "%s:%u", host, ntohs(in4->sin_port));
    }
}

/* Closes a connection that can be spared; false when there is none. */
static bool make_room(struct http_server *s)
{
    struct connection *c = TAILQ_FIRST(&s->idle);

    if (c == NULL) {
        c = TAILQ_FIRST(&s->receiving);
        if (c == NULL || clock_mono_us() - c->began_us < SLOW_US)
            return false;
    }
    connection_close(c);
    return true;
}

/* There is no place: says so as well as it can without one. */
static void turn_away(int fd)
{
    static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

    send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

/* Accepting failed for want of descriptors or memory: the listener would be ready again at once, so it rests. */
static void rest(struct http_listener *l, int error)
{
    static const struct timeval pause = {0, 100000};

    if (make_room(l->server))
        return;
    if (!l->complained)
        log_warning("http: connections wait, as none can be accepted: %s", strerror(error));
    l->complained = true;
    event_del(&l->acceptable);
    event_add(&l->resume, &pause);
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
    struct http_listener *l = arg;
    struct http_server *s = l->server;

    (void)what;
    for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
        struct sockaddr_storage address = {0};
        socklen_t length = sizeof address;
        char peer[HTTP_ADDRESS_MAX];
        int client = accept4(fd, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC), error = errno;

        if (client < 0) {
            if (error == ECONNABORTED || error == EINTR)
                continue;
            /* Descriptors are looked for before connections: only the first time there surely is one that waits. */
            if (i == 0 && (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM))
                rest(l, error);
            return;
        }
        l->complained = false;
        if (s->free_count == 0 && !make_room(s)) {
            turn_away(client);
            continue;
        }
        format_address(peer, &address);
        connection_open(s, client, peer);
    }
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct http_listener *l = arg;

    (void)fd, (void)what;
    event_add(&l->acceptable, NULL);
}

static int open_listener(const struct sockaddr_storage *address, socklen_t length, int *out)
{
    int one = 1, rc;
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    *out = -1;
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        (address->ss_family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) == 0) &&
        bind(fd, (const struct sockaddr *)address, length) == 0 && listen(fd, BACKLOG) == 0) {
        *out = fd;
        return 0;
    }
    rc = -errno;
    close(fd);
    return rc;
}

/* False: it is not ADDRESS:PORT or [ADDRESS]:PORT. */
static bool parse_address(const char *text, struct sockaddr_storage *out, socklen_t *length)
{
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN];
    size_t n = colon == NULL ? 0 : (size_t)(colon - text);
    bool v6 = n >= 2 && text[0] == '[' && text[n - 1] == ']';
    uint64_t port;

    if (colon == NULL || n >= sizeof host || !num_parse_uint(view_str(colon + 1), &port) || port > UINT16_MAX)
        return false;
    *out = (struct sockaddr_storage){0};
    if (v6) {
        struct sockaddr_in6 *in6 = (void *)out;

        snprintf(host, sizeof host, "%.*s", (int)n - 2, text + 1);
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        *length = sizeof *in6;
        return inet_pton(AF_INET6, host, &in6->sin6_addr) == 1;
    }
    struct sockaddr_in *in4 = (void *)out;

    snprintf(host, sizeof host, "%.*s", (int)n, text);
    in4->sin_family = AF_INET;
    in4->sin_port = htons((uint16_t)port);
    *length = sizeof *in4;
    return inet_pton(AF_INET, host, &in4->sin_addr) == 1;
}

int http_server_listen(struct http_server *s, const char *address, char bound[HTTP_ADDRESS_MAX],
                       char error[HTTP_ERROR_MAX])
{
    struct sockaddr_storage where;
    socklen_t length;
    struct http_listener *l;
    int fd, rc;

    if (!parse_address(address, &where, &length)) {
        if (error != NULL)
            snprintf(error, HTTP_ERROR_MAX, "'%.80s' is not ADDRESS:PORT or [ADDRESS]:PORT", address);
        return -EINVAL;
    }
    rc = open_listener(&where, length, &fd);
    if (rc != 0) {
        if (error != NULL)
            snprintf(error, HTTP_ERROR_MAX, "cannot listen on %.80s: %s", address, strerror(-rc));
        return rc;
    }
    length = sizeof where;
    getsockname(fd, (struct sockaddr *)&where, &length);
    if (bound != NULL)
        format_address(bound, &where);
    l = mem_zalloc(sizeof *l);
    l->server = s;
    l->fd = fd;
    event_assign(&l->acceptable, s->base, fd, EV_READ | EV_PERSIST, on_acceptable, l);
    evtimer_assign(&l->resume, s->base, on_resume, l);
    event_add(&l->acceptable, NULL);
    l->next = s->listeners;
    s->listeners = l;
    return 0;
}
