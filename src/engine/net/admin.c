/* The admin socket: see admin.h. A poll loop over few connections; one command at a time. */
#include "engine/net/admin.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "engine/cmd/transaction.h"
#include "engine/net/conn.h"
#include "engine/net/listeners.h"
#include "engine/server/clients.h"
#include "engine/server/server.h"

#define ADMIN_CONNS 16
#define ADMIN_BULK (1 << 20)
#define ADMIN_SEND_SECONDS 2 /* one that does not read its replies must not keep the others waiting */

struct admin {
    struct executor ex;
    pthread_t thread;
    int listener, stop;
    char *path;
    struct conn *conns[ADMIN_CONNS];
};

static void admin_close(struct admin *a, unsigned i)
{
    struct conn *c = a->conns[i];

    close(c->fd);
    transaction_free(&c->client.session);
    clients_remove(a->ex.shared->server->clients, c->client.session.card);
    resp_writer_free(&c->out);
    buf_free(&c->in);
    mem_free(c);
    a->conns[i] = NULL;
}

static void admin_accept(struct admin *a)
{
    const struct timeval patience = {ADMIN_SEND_SECONDS, 0};
    struct sockaddr_un peer;
    socklen_t len = sizeof peer;
    int fd = accept4(a->listener, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
    struct conn *c;

    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    for (unsigned i = 0; i < ADMIN_CONNS; i++) {
        if (a->conns[i])
            continue;
        a->conns[i] = c = mem_zalloc(sizeof *c);
        conn_init(c, a->ex.shared->server, fd);
        c->client.session.authenticated = c->client.session.admin = c->client.session.local = true;
        c->client.session.card = clients_add(a->ex.shared->server->clients, fd, a->ex.thread->index, a->path, a->path,
                                             CARD_UNIX | CARD_ADMIN);
        return;
    }
    close(fd);
}

/* Runs what has arrived; false when the connection is over. */
static bool admin_serve(struct admin *a, struct conn *c)
{
    const struct resp_limits limits = {ADMIN_BULK, 1024, true};
    struct iovec iov[16];
    ssize_t n;

    if (buf_try_reserve(&c->in, 4096) != 0)
        return false;
    n = recv(c->fd, c->in.p + c->in.len, c->in.cap - c->in.len, 0);
    if (n <= 0)
        return n < 0 && errno == EINTR;
    c->in.len += (size_t)n;
    for (;;) {
        struct resp_request r;
        struct exec_request request;
        enum resp_parsed rc = resp_parse(buf_head(&c->in), buf_live(&c->in), &limits, &a->ex.arena, NULL, &r);
        if (rc == RESP_BAD)
            return false;
        if (rc == RESP_MORE)
            break;
        if (r.argc > 0) {
            exec_prepare(&a->ex, r.argv, r.argc, &request);
            exec_run_waiting(&a->ex, &c->client, &request);
        }
        buf_consume(&c->in, r.consumed);
        arena_reset(&a->ex.arena);
        if (buf_live(&c->in) == 0)
            break;
    }
    while (resp_pending(&c->out) > 0) {
        n = writev(c->fd, iov, resp_gather(&c->out, iov, 16));
        if (n < 0)
            return false;
        resp_sent(&c->out, (size_t)n);
    }
    return !c->client.session.close_after_reply;
}

static void *admin_run(void *arg)
{
    struct admin *a = arg;

    pthread_setname_np(pthread_self(), "admin");
    for (;;) {
        struct pollfd fds[ADMIN_CONNS + 2] = {{a->stop, POLLIN, 0}, {a->listener, POLLIN, 0}};
        for (unsigned i = 0; i < ADMIN_CONNS; i++)
            fds[i + 2] = (struct pollfd){a->conns[i] ? a->conns[i]->fd : -1, POLLIN, 0};
        if (poll(fds, ADMIN_CONNS + 2, -1) < 0)
            continue;
        if (fds[0].revents)
            break;
        for (unsigned i = 0; i < ADMIN_CONNS; i++)
            if (fds[i + 2].revents && !admin_serve(a, a->conns[i]))
                admin_close(a, i);
        if (fds[1].revents)
            admin_accept(a);
    }
    for (unsigned i = 0; i < ADMIN_CONNS; i++)
        if (a->conns[i])
            admin_close(a, i);
    return NULL;
}

struct admin *admin_start(const char *path, struct exec_shared *shared, struct thread *thread, char *err,
                          size_t err_size)
{
    struct admin *a = mem_zalloc(sizeof *a);

    a->ex.shared = shared;
    a->ex.thread = thread;
    a->ex.is_lane = true;
    a->path = mem_strndup(path, strlen(path));
    a->stop = eventfd(0, EFD_CLOEXEC);
    a->listener = listener_unix(path, 0600, 16, err, err_size);
    if (a->listener < 0 || pthread_create(&a->thread, NULL, admin_run, a) != 0) {
        close(a->stop);
        mem_free(a->path);
        mem_free(a);
        return NULL;
    }
    return a;
}

void admin_stop(struct admin *a)
{
    uint64_t one = 1;

    if (!a)
        return;
    while (write(a->stop, &one, sizeof one) < 0)
        ;
    pthread_join(a->thread, NULL);
    close(a->listener);
    close(a->stop);
    unlink(a->path);
    arena_free(&a->ex.arena);
    mem_free(a->path);
    mem_free(a);
}
