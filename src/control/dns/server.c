/*
 * UDP: datagrams are answered as they come, a bounded number for each turn of the loop; what the kernel does not take at
 * once is lost, as datagrams are. An answer leaves from the address that the query came to (IP_PKTINFO), because on a
 * machine with a hundred loopback addresses the kernel would choose another one when the server listens on 0.0.0.0.
 *
 * TCP: connections are in a list, the one that was silent for the longest first; an answered query moves its connection
 * to the end. A connection whose answers nobody reads is not read from. Whatever a connection holds is bounded: input by
 * the read watermark, output by OUTPUT_MAX and one answer.
 */
#include "control/dns/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"

#define DATAGRAMS_PER_TURN 64
#define BACKLOG 128
#define FREE_PORT_TRIES 16
#define OUTPUT_MAX 16384
#define LENGTH_BYTES 2
#define QUERY_MIN 12
#define ACCEPT_PAUSE_MS 200

struct connection {
    TAILQ_ENTRY(connection) link;
    struct dns_server *server;
    struct bufferevent *stream;
    struct event *deadline;
    bool paused; /* until answers have been read */
    bool ended;  /* the client sends no more */
};

struct socket_pair {
    struct socket_pair *next;
    struct dns_server *server;
    struct event *datagrams;
    struct evconnlistener *listener;
    struct event *resume; /* accepting */
    int fd;               /* of the datagrams */
};

struct dns_server {
    struct event_base *base;
    struct dns_zones *zones;
    struct random random;
    struct socket_pair *sockets;
    TAILQ_HEAD(connection_list, connection) connections;
    unsigned count, max;
    struct timeval deadline;
};

static void *must(void *p)
{
    if (p == NULL) {
        log_warning("Out of memory in the DNS server");
        abort();
    }
    return p;
}

static struct timeval timeval_of(unsigned ms)
{
    return (struct timeval){ms / 1000, (suseconds_t)(ms % 1000) * 1000};
}

static size_t answer(struct dns_server *s, const void *query, size_t n, size_t limit, uint8_t out[DNS_ANSWER_MAX])
{
    /* A counter would keep step with clients that ask for several names in turn, or for A and AAAA. */
    return dns_answer(s->zones, query, n, limit, (unsigned)(random_next(&s->random) >> 32), out);
}

/* ---- UDP --------------------------------------------------------------------------------------------------------- */

/* Control data with one in_pktinfo; the union aligns it. */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
};

/* Makes the control data that came with a query that for its answer: from where it went to. */
static void turn_round(struct msghdr *m)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    struct in_pktinfo info;

    if (c == NULL || c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_PKTINFO) {
        m->msg_control = NULL;
        m->msg_controllen = 0;
        return;
    }
    memcpy(&info, CMSG_DATA(c), sizeof info);
    info.ipi_ifindex = 0;
    memcpy(CMSG_DATA(c), &info, sizeof info);
}

/* False when there is nothing to read. */
static bool serve_datagram(struct dns_server *s, int fd)
{
    uint8_t query[DNS_QUERY_MAX + 1], out[DNS_ANSWER_MAX];
    union control control;
    struct sockaddr_in from;
    struct iovec piece = {query, sizeof query};
    struct msghdr m = {.msg_name = &from,
                       .msg_namelen = sizeof from,
                       .msg_iov = &piece,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    ssize_t n = recvmsg(fd, &m, 0);

    if (n < 0)
        return errno == EINTR;
    piece.iov_base = out;
    piece.iov_len = answer(s, query, (size_t)n, DNS_UDP_LIMIT, out);
    if (piece.iov_len != 0 && from.sin_port != 0) {
        turn_round(&m);
        m.msg_flags = 0;
        (void)sendmsg(fd, &m, MSG_NOSIGNAL);
    }
    return true;
}

static void on_datagrams(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    for (unsigned i = 0; i < DATAGRAMS_PER_TURN && serve_datagram(arg, fd); i++)
        ;
}

/* ---- TCP --------------------------------------------------------------------------------------------------------- */

static void connection_free(struct connection *c)
{
    TAILQ_REMOVE(&c->server->connections, c, link);
    c->server->count--;
    event_free(c->deadline);
    bufferevent_free(c->stream);
    mem_free(c);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    connection_free(arg);
}

/* Something good came: the deadline starts again, and the others go first. */
static void connection_touch(struct connection *c)
{
    TAILQ_REMOVE(&c->server->connections, c, link);
    TAILQ_INSERT_TAIL(&c->server->connections, c, link);
    event_add(c->deadline, &c->server->deadline);
}

static bool write_answer(struct connection *c, const uint8_t *query, size_t n)
{
    uint8_t out[LENGTH_BYTES + DNS_ANSWER_MAX];
    size_t length = answer(c->server, query, n, DNS_ANSWER_MAX, out + LENGTH_BYTES);

    out[0] = (uint8_t)(length >> 8);
    out[1] = (uint8_t)length;
    return length != 0 && bufferevent_write(c->stream, out, LENGTH_BYTES + length) == 0;
}

enum step { STEP_ANSWERED, STEP_INCOMPLETE, STEP_WRONG };

static enum step serve_query(struct connection *c)
{
    struct evbuffer *in = bufferevent_get_input(c->stream);
    uint8_t head[LENGTH_BYTES], query[DNS_QUERY_MAX];
    size_t n;

    if (evbuffer_copyout(in, head, sizeof head) != sizeof head)
        return STEP_INCOMPLETE;
    n = (size_t)head[0] << 8 | head[1];
    if (n < QUERY_MIN || n > DNS_QUERY_MAX)
        return STEP_WRONG;
    if (evbuffer_get_length(in) < LENGTH_BYTES + n)
        return STEP_INCOMPLETE;
    evbuffer_drain(in, LENGTH_BYTES);
    evbuffer_remove(in, query, n);
    if (!write_answer(c, query, n))
        return STEP_WRONG;
    connection_touch(c);
    return STEP_ANSWERED;
}

/* Answers what is there, until too many answers wait. */
static void connection_serve(struct connection *c)
{
    struct evbuffer *out = bufferevent_get_output(c->stream);
    enum step step = STEP_ANSWERED;

    while (step == STEP_ANSWERED && evbuffer_get_length(out) <= OUTPUT_MAX)
        step = serve_query(c);
    c->paused = step == STEP_ANSWERED;
    if (step == STEP_WRONG || (step == STEP_INCOMPLETE && c->ended && evbuffer_get_length(out) == 0))
        connection_free(c);
    else if (c->paused)
        bufferevent_disable(c->stream, EV_READ);
    else if (!c->ended)
        bufferevent_enable(c->stream, EV_READ);
}

static void on_readable(struct bufferevent *stream, void *arg)
{
    struct connection *c = arg;

    (void)stream;
    if (!c->paused)
        connection_serve(c);
}

/* All answers are with the kernel. */
static void on_drained(struct bufferevent *stream, void *arg)
{
    (void)stream;
    connection_serve(arg);
}

static void on_stream_event(struct bufferevent *stream, short what, void *arg)
{
    struct connection *c = arg;

    c->ended = true;
    if ((what & BEV_EVENT_ERROR) != 0 || evbuffer_get_length(bufferevent_get_output(stream)) == 0)
        connection_free(c);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int length,
                      void *arg)
{
    struct socket_pair *p = arg;
    struct dns_server *s = p->server;
    struct connection *c = mem_zalloc(sizeof *c);
    int on = 1;

    (void)listener;
    (void)address;
    (void)length;
    if (s->count == s->max)
        connection_free(TAILQ_FIRST(&s->connections));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->server = s;
    c->stream = must(bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE));
    c->deadline = must(evtimer_new(s->base, on_deadline, c));
    TAILQ_INSERT_TAIL(&s->connections, c, link);
    s->count++;
    bufferevent_setcb(c->stream, on_readable, on_drained, on_stream_event, c);
    bufferevent_setwatermark(c->stream, EV_READ, 0, LENGTH_BYTES + DNS_QUERY_MAX);
    bufferevent_enable(c->stream, EV_READ | EV_WRITE);
    event_add(c->deadline, &s->deadline);
}

/* Out of descriptors, most likely: the connection stays in the backlog, and would wake the loop at once again. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    const struct timeval pause = timeval_of(ACCEPT_PAUSE_MS);
    struct socket_pair *p = arg;

    log_verbose("DNS: accepting failed: %s", strerror(EVUTIL_SOCKET_ERROR()));
    evconnlistener_disable(listener);
    event_add(p->resume, &pause);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct socket_pair *p = arg;

    (void)fd;
    (void)what;
    evconnlistener_enable(p->listener);
}

/* ---- listening --------------------------------------------------------------------------------------------------- */

static void sockets_free(struct socket_pair *p)
{
    if (p->datagrams != NULL)
        event_free(p->datagrams);
    if (p->resume != NULL)
        event_free(p->resume);
    if (p->listener != NULL)
        evconnlistener_free(p->listener);
    if (p->fd >= 0)
        close(p->fd);
    mem_free(p);
}

/* The bound UDP socket in *fd; fills in the port of the address. */
static int bind_datagrams(struct sockaddr_in *a, int *fd)
{
    socklen_t length = sizeof *a;
    int on = 1, rc;

    *fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd >= 0 && setsockopt(*fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0 &&
        bind(*fd, (struct sockaddr *)a, sizeof *a) == 0 && getsockname(*fd, (struct sockaddr *)a, &length) == 0)
        return 0;
    rc = -errno;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return rc;
}

static int sockets_open(struct socket_pair *p, struct sockaddr_in *a)
{
    const unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE;
    int rc = bind_datagrams(a, &p->fd);

    if (rc != 0)
        return rc;
    p->listener =
        evconnlistener_new_bind(p->server->base, on_accept, p, flags, BACKLOG, (struct sockaddr *)a, sizeof *a);
    if (p->listener == NULL) {
        rc = -errno;
        close(p->fd);
        p->fd = -1;
        return rc != 0 ? rc : -ENOMEM;
    }
    return 0;
}

int dns_server_listen(struct dns_server *s, const char *address, uint16_t port, uint16_t *bound)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    struct socket_pair *p;
    int rc = -EADDRINUSE;

    if (inet_pton(AF_INET, address, &a.sin_addr) != 1)
        return -EINVAL;
    p = mem_zalloc(sizeof *p);
    p->server = s;
    p->fd = -1;
    /* A port that is free for UDP may not be so for TCP. */
    for (unsigned i = 0; i < (port == 0 ? FREE_PORT_TRIES : 1) && rc == -EADDRINUSE; i++) {
        a.sin_port = htons(port);
        rc = sockets_open(p, &a);
    }
    if (rc != 0) {
        sockets_free(p);
        return rc;
    }
    evconnlistener_set_error_cb(p->listener, on_accept_error);
    p->resume = must(evtimer_new(s->base, on_resume, p));
    p->datagrams = must(event_new(s->base, p->fd, EV_READ | EV_PERSIST, on_datagrams, s));
    event_add(p->datagrams, NULL);
    p->next = s->sockets;
    s->sockets = p;
    if (bound != NULL)
        *bound = ntohs(a.sin_port);
    return 0;
}

struct dns_server *dns_server_new(struct event_base *base, const struct dns_server_options *options)
{
    struct dns_zones *zones =
        dns_zones_new(options->zones, options->zone_count, options->nameserver, options->lookup, options->arg);
    struct dns_server *s;

    if (zones == NULL)
        return NULL;
    s = mem_zalloc(sizeof *s);
    s->base = base;
    s->zones = zones;
    random_seed(&s->random);
    TAILQ_INIT(&s->connections);
    s->max = options->tcp_connections != 0 ? options->tcp_connections : DNS_TCP_CONNECTIONS;
    s->deadline = timeval_of(options->tcp_deadline_ms != 0 ? options->tcp_deadline_ms : DNS_TCP_DEADLINE_MS);
    return s;
}

void dns_server_free(struct dns_server *s)
{
    if (s == NULL)
        return;
    while (!TAILQ_EMPTY(&s->connections))
        connection_free(TAILQ_FIRST(&s->connections));
    while (s->sockets != NULL) {
        struct socket_pair *p = s->sockets;
        s->sockets = p->next;
        sockets_free(p);
    }
    dns_zones_free(s->zones);
    mem_free(s);
}
