/*
 * See control_socket.h. A request is read to its end, then the connection is watched no more until it is answered: so nothing
 * happens to it while its call is under way, and a call is the connection itself.
 */
#include "control/daemon/control_socket.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"

struct control_call {
    LIST_ENTRY(control_call) link;
    struct control_socket *owner;
    struct event *event;
    int fd;
    size_t length;
    char line[CONTROL_SOCKET_LINE_MAX];
};

struct control_socket {
    struct event_base *base;
    struct event *event;
    int fd;
    unsigned connections;
    control_handler *handler;
    void *arg;
    char path[PATH_MAX];
    LIST_HEAD(control_calls, control_call) calls;
};

static void call_free(struct control_call *c)
{
    struct control_socket *s = c->owner;

    LIST_REMOVE(c, link);
    event_free(c->event);
    close(c->fd);
    mem_free(c);
    if (s->connections-- == CONTROL_SOCKET_CONNECTIONS && s->event)
        event_add(s->event, NULL);
}

void control_call_answer(struct control_call *c, json_t *answer, int fd)
{
    char *text = json_dumps(answer, JSON_COMPACT);
    struct iovec parts[] = {{text, text ? strlen(text) : 0}, {(char[]){'\n'}, 1}};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};

    if (fd >= 0) {
        m.msg_control = &control;
        m.msg_controllen = sizeof control.space;
        control.header =
            (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    }
    /* Nothing was sent before: it fits, or the peer is gone. */
    if (sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_notice("An answer on the control socket was lost: %s", strerror(errno));
    free(text);
    json_decref(answer);
    if (fd >= 0)
        close(fd);
    call_free(c);
}

void control_call_refuse(struct control_call *c, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    control_call_answer(c, json_pack("{s:o}", "error", json_stringn_nocheck(text.p, buf_live(&text))), -1);
    buf_free(&text);
}

static void call_handle(struct control_call *c, size_t n)
{
    json_t *request = json_loadb(c->line, n, JSON_REJECT_DUPLICATES, NULL);

    if (json_is_object(request) && json_is_string(json_object_get(request, "request")))
        c->owner->handler(c->owner->arg, c, request);
    else
        control_call_refuse(c, "this is no request");
    json_decref(request);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct control_call *c = arg;
    ssize_t n;
    char *end;

    if (what & EV_TIMEOUT) {
        call_free(c);
        return;
    }
    n = recv(fd, c->line + c->length, sizeof c->line - c->length, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        call_free(c);
        return;
    }
    c->length += (size_t)n;
    end = memchr(c->line, '\n', c->length);
    if (!end && c->length < sizeof c->line)
        return;
    event_del(c->event);
    if (end)
        call_handle(c, (size_t)(end - c->line));
    else
        control_call_refuse(c, "a request has at most %zu bytes", sizeof c->line - 1);
}

/* The socket's mode keeps others out already; this holds where a directory was opened to more. */
static bool may_ask(int fd)
{
    struct ucred peer;
    socklen_t n = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 && (peer.uid == 0 || peer.uid == geteuid());
}

static void on_connection(evutil_socket_t listener, short what, void *arg)
{
    static const struct timeval patience = {CONTROL_SOCKET_PATIENCE_MS / 1000,
                                            CONTROL_SOCKET_PATIENCE_MS % 1000 * 1000L};
    struct control_socket *s = arg;
    struct control_call *c;
    struct sockaddr_un peer;
    socklen_t n = sizeof peer;
    int fd = accept4(listener, (struct sockaddr *)&peer, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)what;
    if (fd < 0)
        return;
    if (!may_ask(fd)) {
        close(fd);
        return;
    }
    c = mem_zalloc(sizeof *c);
    c->owner = s;
    c->fd = fd;
    c->event = event_new(s->base, fd, EV_READ | EV_PERSIST, on_readable, c);
    event_add(c->event, &patience);
    LIST_INSERT_HEAD(&s->calls, c, link);
    if (++s->connections == CONTROL_SOCKET_CONNECTIONS)
        event_del(s->event);
}

/* A socket's path has 107 bytes; through the directory's descriptor any place can be named. */
static int bind_in(int fd, const char *directory)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int dir = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC), rc = 0;
    mode_t before;

    if (dir < 0)
        return -errno;
    snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/" CONTROL_SOCKET_NAME, dir);
    before = umask(0177);
    if ((unlinkat(dir, CONTROL_SOCKET_NAME, 0) != 0 && errno != ENOENT) ||
        bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, CONTROL_SOCKET_CONNECTIONS) != 0)
        rc = -errno;
    umask(before);
    close(dir);
    return rc;
}

int control_socket_new(struct event_base *base, const char *directory, control_handler *handler, void *arg,
                       struct control_socket **out)
{
    struct control_socket *s;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc;

    *out = NULL;
    if (fd < 0)
        return -errno;
    rc = bind_in(fd, directory);
    if (rc != 0) {
        close(fd);
        return rc;
    }
    s = mem_zalloc(sizeof *s);
    *s = (struct control_socket){.base = base, .fd = fd, .handler = handler, .arg = arg};
    snprintf(s->path, sizeof s->path, "%s/" CONTROL_SOCKET_NAME, directory);
    LIST_INIT(&s->calls);
    s->event = event_new(base, fd, EV_READ | EV_PERSIST, on_connection, s);
    event_add(s->event, NULL);
    *out = s;
    return 0;
}

void control_socket_free(struct control_socket *s)
{
    struct control_call *c;

    if (!s)
        return;
    unlink(s->path);
    event_free(s->event);
    s->event = NULL;
    while ((c = LIST_FIRST(&s->calls)) != NULL)
        call_free(c);
    close(s->fd);
    mem_free(s);
}
