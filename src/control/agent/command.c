/*
 * See command.h. A path to a socket has 107 bytes at most, and a state directory may have more: the socket is reached
 * through /proc/self/fd and the descriptor of its directory. Rejected: changing the working directory, which belongs to
 * the whole process.
 *
 * Descriptors. One that is sent leaves with the first byte of its command, in a message of its own, so that the node can
 * tell whose it is. One that is received comes with its reply's first byte and so not later than the reply, but it may seem
 * to come with replies before that: so that there is only one it can belong to, a command that receives one is not sent
 * before the last such command was answered. Whatever nobody takes is closed.
 *
 * A reply's callback may free the channel, and may break the connection: whoever calls one must look at the epoch, which
 * changes with either, before going on. A freed channel is given back at the end of the turn.
 */
#include "control/agent/command.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#define DESCRIPTORS_MAX 8
#define READ_BYTES 16384
#define READS_PER_TURN 16
#define QUICK_TRIES 100 /* to connect, before the pause gets longer */
#define REASON_MAX 160

struct request {
    TAILQ_ENTRY(request) link;
    struct command_channel *channel;
    struct buf bytes; /* what has been sent is consumed */
    bool began;       /* to be sent */
    int descriptor;   /* a duplicate; -1 once it was sent */
    bool receives_descriptor;
    command_reply_fn *fn; /* NULL when nobody wants to know, or has been told already */
    void *arg;
    struct event timer;
};

TAILQ_HEAD(request_list, request);

struct command_channel {
    struct agent *agent;
    struct agent_task farewell;
    int directory;
    char path[COMMAND_PATH_MAX];
    pid_t peer;
    command_up_fn *up;
    void *arg;
    int fd; /* negative when there is none: why the last attempt failed, as an errno value */
    unsigned epoch, tries;
    redisReader *reader;
    struct event readable, writable, retry;
    struct request_list requests; /* those that began come first */
    unsigned count;
    bool expects_descriptor;          /* one of the requests that began */
    int descriptors[DESCRIPTORS_MAX]; /* that came and were not yet taken */
    unsigned descriptor_count;
    char reason[REASON_MAX]; /* of the end */
};

static void *must(void *p)
{
    if (p == NULL)
        abort();
    return p;
}

/* ---- requests ---- */

static void request_free(struct request *r)
{
    event_del(&r->timer);
    file_close(r->descriptor);
    buf_free(&r->bytes);
    mem_free(r);
}

static struct request *take_first(struct command_channel *ch)
{
    struct request *r = TAILQ_FIRST(&ch->requests);

    TAILQ_REMOVE(&ch->requests, r, link);
    ch->count--;
    return r;
}

/* Tells them all that there is no reply. The list is the caller's: callbacks may do what they like to the channel. */
static void fail_all(struct request_list *list, const char *error)
{
    struct request *r;

    while ((r = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, r, link);
        if (r->fn != NULL)
            r->fn(r->arg, NULL, -1, error);
        request_free(r);
    }
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
    struct request *r = arg;
    struct command_channel *ch = r->channel;
    command_reply_fn *fn = r->fn;
    void *fn_arg = r->arg;

    (void)fd, (void)what;
    if (r->began) {
        r->fn = NULL;
    } else {
        TAILQ_REMOVE(&ch->requests, r, link);
        ch->count--;
        request_free(r);
    }
    if (fn != NULL)
        fn(fn_arg, NULL, -1, "no answer in time");
}

/* ---- the connection ---- */

static void retry_later(struct command_channel *ch)
{
    unsigned ms = agent_options_of(ch->agent)->times.retry_ms;
    struct timeval pause = agent_timeval(ch->tries++ < QUICK_TRIES ? ms : ms * 10);

    event_add(&ch->retry, &pause);
}

static void drop_descriptors(struct command_channel *ch)
{
    while (ch->descriptor_count > 0)
        file_close(ch->descriptors[--ch->descriptor_count]);
}

/* Closes the connection, and puts what was under way into *failed. */
static void disconnect(struct command_channel *ch, struct request_list *failed)
{
    TAILQ_INIT(failed);
    ch->epoch++;
    if (ch->fd < 0)
        return;
    event_del(&ch->readable);
    event_del(&ch->writable);
    file_close(ch->fd);
    ch->fd = -ENOTCONN;
    redisReaderFree(ch->reader);
    ch->reader = NULL;
    ch->expects_descriptor = false;
    drop_descriptors(ch);
    while (!TAILQ_EMPTY(&ch->requests) && TAILQ_FIRST(&ch->requests)->began) {
        struct request *r = take_first(ch);
        TAILQ_INSERT_TAIL(failed, r, link);
    }
}

static void break_connection(struct command_channel *ch, const char *error)
{
    struct request_list failed;

    disconnect(ch, &failed);
    retry_later(ch);
    fail_all(&failed, error);
}

/* ---- replies ---- */

/* The one descriptor that the reply brought; -1 when it brought none. */
static int take_descriptor(struct command_channel *ch)
{
    int fd = -1;

    if (ch->descriptor_count > 0)
        fd = ch->descriptors[--ch->descriptor_count];
    drop_descriptors(ch);
    return fd;
}

/* Tells the first request its reply; false when nobody asked for one. */
static bool deliver(struct command_channel *ch, redisReply *reply)
{
    struct request *r = TAILQ_FIRST(&ch->requests);
    const char *error = reply->type == REDIS_REPLY_ERROR ? reply->str : NULL;
    int fd = -1;

    if (r == NULL || !r->began || buf_live(&r->bytes) > 0) {
        freeReplyObject(reply);
        return false;
    }
    take_first(ch);
    if (r->receives_descriptor) {
        fd = take_descriptor(ch);
        ch->expects_descriptor = false;
        event_add(&ch->writable, NULL);
        if (error == NULL && fd < 0)
            error = "the reply came without a descriptor";
    }
    if (r->fn != NULL)
        r->fn(r->arg, reply, fd, error);
    else
        file_close(fd);
    freeReplyObject(reply);
    request_free(r);
    return true;
}

/* Delivers what the reader has; false when the connection is over, or the channel. */
static bool deliver_all(struct command_channel *ch)
{
    unsigned epoch = ch->epoch;
    void *reply;

    for (;;) {
        if (redisReaderGetReply(ch->reader, &reply) != REDIS_OK || ch->reader->len > COMMAND_REPLY_MAX) {
            break_connection(ch, "the node's reply is none");
            return false;
        }
        if (reply == NULL)
            return true;
        if (!deliver(ch, reply)) {
            break_connection(ch, "the node sent a reply too many");
            return false;
        }
        if (ch->epoch != epoch)
            return false;
    }
}

static void keep_descriptors(struct command_channel *ch, struct msghdr *m)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h != NULL; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = CMSG_LEN(0); at + sizeof(int) <= h->cmsg_len; at += sizeof(int)) {
            int fd;
            memcpy(&fd, (const char *)h + at, sizeof fd);
            if (ch->descriptor_count < DESCRIPTORS_MAX)
                ch->descriptors[ch->descriptor_count++] = fd;
            else
                file_close(fd);
        }
    }
}

/* Reads once: the number of bytes, 0 at the end, or a negative errno value. */
static ssize_t receive(struct command_channel *ch, char *bytes, size_t size)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
    } control;
    struct iovec iov = {bytes, size};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t n = recvmsg(ch->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

    if (n < 0)
        return -errno;
    keep_descriptors(ch, &m);
    return n;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct command_channel *ch = arg;
    char bytes[READ_BYTES];

    (void)fd, (void)what;
    for (unsigned i = 0; i < READS_PER_TURN; i++) {
        ssize_t n = receive(ch, bytes, sizeof bytes);
        if (n == -EAGAIN || n == -EINTR)
            return;
        if (n <= 0) {
            break_connection(ch, n == 0 ? "the node closed the connection" : "the connection broke");
            return;
        }
        if (redisReaderFeed(ch->reader, bytes, (size_t)n) != REDIS_OK) {
            break_connection(ch, "no memory for the node's reply");
            return;
        }
        if (!deliver_all(ch))
            return;
        if (!ch->expects_descriptor)
            drop_descriptors(ch);
    }
}

/* ---- sending ---- */

/* Sends some of it: 0, or a negative errno value. */
static int send_some(struct command_channel *ch, struct request *r)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {buf_head(&r->bytes), buf_live(&r->bytes)};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (r->descriptor >= 0) {
        memset(&control, 0, sizeof control);
        control.head = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), &r->descriptor, sizeof(int));
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof control.bytes;
    }
    n = sendmsg(ch->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0)
        return -errno;
    r->began = true;
    ch->expects_descriptor |= r->receives_descriptor;
    file_close(r->descriptor);
    r->descriptor = -1;
    buf_consume(&r->bytes, (size_t)n);
    return 0;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct command_channel *ch = arg;
    struct request *r;

    (void)fd, (void)what;
    for (r = TAILQ_FIRST(&ch->requests); r != NULL; r = TAILQ_NEXT(r, link)) {
        if (!r->began && r->receives_descriptor && ch->expects_descriptor)
            break;
        while (buf_live(&r->bytes) > 0) {
            int rc = send_some(ch, r);
            if (rc == -EAGAIN || rc == -EINTR)
                return;
            if (rc != 0) {
                break_connection(ch, "the connection broke");
                return;
            }
        }
    }
    event_del(&ch->writable);
}

/* ---- connecting ---- */

/* A connected socket with the right process behind it, or a negative errno value. */
static int connect_peer(const struct command_channel *ch)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct ucred peer;
    socklen_t len = sizeof peer;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc = 0;

    if (fd < 0)
        return -errno;
    snprintf(sa.sun_path, sizeof sa.sun_path, "/proc/self/fd/%d/%s", ch->directory, ch->path);
    if (connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        rc = -errno;
    else if (peer.pid != ch->peer)
        rc = -EPERM;
    if (rc == 0)
        return fd;
    file_close(fd);
    return rc;
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct command_channel *ch = arg;
    bool was_starved = command_channel_is_starved(ch);

    (void)fd, (void)what;
    ch->fd = connect_peer(ch);
    if (ch->fd < 0) {
        if (command_channel_is_starved(ch) && !was_starved)
            log_warning("No connection to a node: %s", strerror(-ch->fd));
        retry_later(ch);
        return;
    }
    ch->tries = 0;
    ch->reader = must(redisReaderCreate());
    event_assign(&ch->readable, agent_base(ch->agent), ch->fd, EV_READ | EV_PERSIST, on_readable, ch);
    event_assign(&ch->writable, agent_base(ch->agent), ch->fd, EV_WRITE | EV_PERSIST, on_writable, ch);
    event_add(&ch->readable, NULL);
    if (!TAILQ_EMPTY(&ch->requests))
        event_add(&ch->writable, NULL);
    if (ch->up != NULL)
        ch->up(ch->arg);
}

/* ---- the channel ---- */

struct command_channel *command_channel_new(struct agent *a, int directory, const char *path, pid_t peer,
                                            command_up_fn *up, void *arg)
{
    struct command_channel *ch = mem_zalloc(sizeof *ch);
    const struct timeval now = {0, 0};

    assert(strlen(path) < sizeof ch->path);
    ch->agent = a;
    ch->directory = directory;
    memcpy(ch->path, path, strlen(path) + 1);
    ch->peer = peer;
    ch->up = up;
    ch->arg = arg;
    ch->fd = -ENOTCONN;
    TAILQ_INIT(&ch->requests);
    event_assign(&ch->retry, agent_base(a), -1, 0, on_retry, ch);
    event_add(&ch->retry, &now);
    return ch;
}

bool command_channel_is_starved(const struct command_channel *ch)
{
    return ch->fd == -EMFILE || ch->fd == -ENFILE || ch->fd == -ENOMEM || ch->fd == -ENOBUFS;
}

static void say_farewell(struct agent_task *t)
{
    struct command_channel *ch = AGENT_OUTER(t, struct command_channel, farewell);

    fail_all(&ch->requests, ch->reason);
    mem_free(ch);
}

void command_channel_free(struct command_channel *ch, const char *reason)
{
    struct request_list begun;
    struct request *r;

    if (ch == NULL)
        return;
    disconnect(ch, &begun);
    event_del(&ch->retry);
    TAILQ_CONCAT(&begun, &ch->requests, link);
    TAILQ_CONCAT(&ch->requests, &begun, link);
    for (r = TAILQ_FIRST(&ch->requests); r != NULL; r = TAILQ_NEXT(r, link))
        event_del(&r->timer);
    snprintf(ch->reason, sizeof ch->reason, "%s", reason);
    ch->farewell.run = say_farewell;
    agent_defer(ch->agent, &ch->farewell);
}

static void encode(struct buf *out, const struct command *c)
{
    buf_printf(out, "*%zu\r\n", c->argc);
    for (size_t i = 0; i < c->argc; i++) {
        buf_printf(out, "$%zu\r\n", c->argv[i].n);
        buf_put_view(out, c->argv[i]);
        buf_put(out, LIT("\r\n"));
    }
}

int command_channel_send(struct command_channel *ch, const struct command *c, command_reply_fn *fn, void *arg)
{
    const struct timeval patience = agent_timeval(c->timeout_ms);
    struct request *r;
    int fd = -1;

    if (ch->count == COMMAND_OUTSTANDING_MAX)
        return -ENOBUFS;
    if (c->descriptor >= 0 && (fd = fcntl(c->descriptor, F_DUPFD_CLOEXEC, 0)) < 0)
        return -errno;
    r = mem_zalloc(sizeof *r);
    r->channel = ch;
    r->descriptor = fd;
    r->receives_descriptor = c->receives_descriptor;
    r->fn = fn;
    r->arg = arg;
    encode(&r->bytes, c);
    event_assign(&r->timer, agent_base(ch->agent), -1, 0, on_timeout, r);
    if (c->timeout_ms > 0)
        event_add(&r->timer, &patience);
    TAILQ_INSERT_TAIL(&ch->requests, r, link);
    ch->count++;
    if (ch->fd >= 0)
        event_add(&ch->writable, NULL);
    return 0;
}
