/* A connection to a primary: see peer.h. */
#include "engine/repl/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine/log/effects.h"

static int fail(struct peer *p, const char *text)
{
    snprintf(p->error, sizeof p->error, "%s", text);
    return -1;
}

void peer_init(struct peer *p)
{
    *p = (struct peer){.fd = -1, .wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
}

void peer_free(struct peer *p)
{
    peer_close(p);
    close(p->wakeup);
}

void peer_close(struct peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
    buf_free(&p->ahead);
}

const char *peer_error(const struct peer *p)
{
    return p->error;
}

/* Waits until the socket is ready: 0, -1 when the time is up or somebody woke us. */
static int await(struct peer *p, short events, int64_t wait_ms)
{
    struct pollfd fds[] = {{.fd = p->fd, .events = events}, {.fd = p->wakeup, .events = POLLIN}};
    int n;

    do
        n = poll(fds, 2, (int)wait_ms);
    while (n < 0 && errno == EINTR);
    if (n == 0) {
        errno = ETIMEDOUT;
        return fail(p, "timed out");
    }
    if (fds[0].revents)
        return 0;
    errno = ECANCELED;
    return fail(p, "interrupted");
}

/* Gives the socket the address that it is to come from, if that is of the same family. */
static int bind_source(struct peer *p, const char *source, int family)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *at;
    int rc;

    if (source[0] == '\0' || getaddrinfo(source, NULL, &hints, &at) != 0)
        return 0;
    rc = bind(p->fd, at->ai_addr, at->ai_addrlen) == 0 ? 0 : fail(p, strerror(errno));
    freeaddrinfo(at);
    return rc;
}

static int connect_to(struct peer *p, const struct addrinfo *at, const char *source)
{
    int on = 1, error = 0;
    socklen_t len = sizeof error;

    p->fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (p->fd < 0)
        return fail(p, strerror(errno));
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(p->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (bind_source(p, source, at->ai_family) != 0)
        return -1;
    if (connect(p->fd, at->ai_addr, at->ai_addrlen) != 0 && errno != EINPROGRESS)
        return fail(p, strerror(errno));
    if (await(p, POLLOUT, p->timeout_ms) != 0)
        return -1;
    getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return error ? fail(p, strerror(error)) : 0;
}

int peer_connect(struct peer *p, const char *host, int64_t port, const char *source, int64_t timeout_ms)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    char service[16];
    int rc = -1, found;

    peer_close(p);
    p->timeout_ms = timeout_ms;
    snprintf(service, sizeof service, "%d", (int)port);
    found = getaddrinfo(host, service, &hints, &list);
    if (found != 0)
        return fail(p, gai_strerror(found));
    for (const struct addrinfo *at = list; at && rc != 0; at = at->ai_next) {
        rc = connect_to(p, at, source);
        if (rc != 0)
            peer_close(p);
    }
    freeaddrinfo(list);
    return rc;
}

static int send_all(struct peer *p, struct view v)
{
    while (v.n > 0) {
        ssize_t n = send(p->fd, v.p, v.n, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return fail(p, strerror(errno));
        if (n < 0 && await(p, POLLOUT, p->timeout_ms) != 0)
            return -1;
        if (n > 0)
            v = view_of(v.p + n, v.n - (size_t)n);
    }
    return 0;
}

int peer_send_words(struct peer *p, const struct view *words, size_t n)
{
    struct buf b = {0};
    int rc;

    effects_put_words(&b, words, n);
    rc = p->fd < 0 ? fail(p, "not connected") : send_all(p, buf_view(&b));
    buf_free(&b);
    return rc;
}

/* From the socket: as recv, but waiting. */
static ssize_t receive(struct peer *p, void *out, size_t n)
{
    for (;;) {
        ssize_t got = recv(p->fd, out, n, 0);
        if (got > 0)
            return got;
        if (got == 0) {
            fail(p, "the connection was closed");
            return 0;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN) {
            int error = errno;
            fail(p, strerror(error));
            errno = error;
            return -1;
        }
        if (await(p, POLLIN, p->timeout_ms) != 0)
            return -1;
    }
}

ssize_t peer_read(struct peer *p, void *out, size_t n)
{
    size_t here = buf_live(&p->ahead);

    if (here == 0)
        return receive(p, out, n);
    n = n < here ? n : here;
    memcpy(out, buf_head(&p->ahead), n);
    buf_consume(&p->ahead, n);
    return (ssize_t)n;
}

int peer_read_all(struct peer *p, void *out, size_t n)
{
    for (char *at = out; n > 0;) {
        ssize_t got = peer_read(p, at, n);
        if (got <= 0)
            return -1;
        at += got;
        n -= (size_t)got;
    }
    return 0;
}

int peer_line(struct peer *p, char *out, size_t size)
{
    char bytes[PEER_LINE_MAX];

    for (;;) {
        const char *head = buf_head(&p->ahead);
        const char *end = head ? memchr(head, '\n', buf_live(&p->ahead)) : NULL;
        ssize_t got;
        if (end) {
            size_t n = (size_t)(end - head), shown = n > 0 && end[-1] == '\r' ? n - 1 : n;
            if (shown >= size)
                return fail(p, "a line is too long");
            memcpy(out, head, shown);
            out[shown] = '\0';
            buf_consume(&p->ahead, n + 1);
            return 0;
        }
        if (buf_live(&p->ahead) >= PEER_LINE_MAX)
            return fail(p, "a line is too long");
        got = receive(p, bytes, sizeof bytes);
        if (got <= 0)
            return -1;
        buf_put(&p->ahead, bytes, (size_t)got);
    }
}

void peer_unread(struct peer *p, struct view v)
{
    struct buf b = {0};

    if (v.n == 0)
        return;
    buf_put_view(&b, v);
    buf_put_view(&b, buf_view(&p->ahead));
    buf_free(&p->ahead);
    p->ahead = b;
}

int peer_receive(struct peer *p, struct buf *out, size_t max, int wait_ms)
{
    size_t here = buf_live(&p->ahead);
    ssize_t got;

    if (here > 0) {
        buf_put_view(out, buf_view(&p->ahead));
        buf_free(&p->ahead);
        return (int)here;
    }
    buf_compact(out);
    buf_reserve(out, max);
    got = recv(p->fd, out->p + out->len, max, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        if (wait_ms == 0 || await(p, POLLIN, wait_ms) != 0)
            return 0;
        got = recv(p->fd, out->p + out->len, max, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
    }
    if (got == 0)
        return fail(p, "the connection was closed");
    if (got < 0)
        return fail(p, strerror(errno));
    out->len += (size_t)got;
    return (int)got;
}

void peer_wait(struct peer *p, int wait_ms)
{
    struct pollfd fds = {.fd = p->wakeup, .events = POLLIN};

    poll(&fds, 1, wait_ms);
}

void peer_drain(struct peer *p)
{
    eventfd_t count;

    eventfd_read(p->wakeup, &count);
}

void peer_wake(struct peer *p)
{
    eventfd_write(p->wakeup, 1);
}
