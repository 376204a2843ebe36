/*
 * The admin socket: see admin.h. A poll loop over few connections. A connection whose command went to the patient thread
 * is that thread's until it is done: nobody reads from it meanwhile.
 *
 * Rejected: sending such commands to the slow lane, whose gate queue may be held up by a client's command; an agent
 * would wait behind it.
 */
#include "engine/net/admin.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
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
#include "handlers.h"

#define ADMIN_CONNS 16
#define ADMIN_BULK (1 << 20)
#define ADMIN_ARGS 1024
#define ADMIN_SEND_SECONDS 2 /* one that does not read its replies must not keep the others waiting */
#define DESCRIPTORS_MAX 8    /* in one message; the kernel closes the others */

struct admin_conn {
    struct conn conn;
    struct session_descriptors descriptors;
    struct admin_conn *next; /* in the queue, under the lock */
    bool busy;               /* the patient thread has it; the poll loop's own mark */
    bool done;               /* ... and is through with it; under the lock */
};

struct admin {
    struct executor prompt, patient;
    pthread_t thread, patient_thread;
    int listener, stop, done; /* done: an eventfd that wakes the poll loop */
    char *path;
    struct admin_conn *conns[ADMIN_CONNS];
    pthread_mutex_t lock;
    pthread_cond_t wanted;
    struct admin_conn *queue, **queue_end;
    bool stopping;
};

/* ---- connections ---- */

static void drop_received(struct admin_conn *ac)
{
    if (ac->descriptors.received >= 0)
        close(ac->descriptors.received);
    ac->descriptors.received = -1;
}

/* A listener that could not be handed back is used on: its queue must not be lost with its last descriptor. */
static void keep_listener(struct admin *a, struct admin_conn *ac)
{
    struct server *s = a->prompt.shared->server;
    struct session_descriptors *d = &ac->descriptors;
    char err[128];

    if (d->reply >= 0 && s->ops->listen(s->ops_arg, view_str(d->reply_name), d->reply, err, sizeof err) != 0)
        close(d->reply);
    d->reply = -1;
}

static void admin_close(struct admin *a, unsigned i)
{
    struct admin_conn *ac = a->conns[i];
    struct conn *c = &ac->conn;

    close(c->fd);
    drop_received(ac);
    keep_listener(a, ac);
    transaction_free(&c->client.session);
    clients_remove(a->prompt.shared->server->clients, c->client.session.card);
    resp_writer_free(&c->out);
    buf_free(&c->in);
    mem_free(ac);
    a->conns[i] = NULL;
}

static void admin_accept(struct admin *a)
{
    const struct timeval patience = {ADMIN_SEND_SECONDS, 0};
    struct server *s = a->prompt.shared->server;
    struct sockaddr_un peer;
    socklen_t len = sizeof peer;
    int fd = accept4(a->listener, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
    struct admin_conn *ac;
    struct session *session;

    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    for (unsigned i = 0; i < ADMIN_CONNS; i++) {
        if (a->conns[i])
            continue;
        a->conns[i] = ac = mem_zalloc(sizeof *ac);
        ac->descriptors = (struct session_descriptors){.received = -1, .reply = -1};
        conn_init(&ac->conn, s, fd);
        session = &ac->conn.client.session;
        session->authenticated = session->admin = session->local = true;
        session->descriptors = &ac->descriptors;
        session->card = clients_add(s->clients, fd, a->prompt.thread->index, a->path, a->path, CARD_UNIX | CARD_ADMIN);
        return;
    }
    close(fd);
}

/* ---- bytes ---- */

/* Keeps a descriptor that arrived. Of several, nobody could say which belongs to what: all are closed. */
static void take_descriptors(struct admin_conn *ac, const struct msghdr *m)
{
    unsigned n = ac->descriptors.received >= 0;

    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR((struct msghdr *)m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = CMSG_LEN(0); at + sizeof(int) <= h->cmsg_len; at += sizeof(int)) {
            int fd;
            memcpy(&fd, (const char *)h + at, sizeof fd);
            if (n++ == 0)
                ac->descriptors.received = fd;
            else
                close(fd);
        }
    }
    if (n > 1)
        drop_received(ac);
}

/* Reads once; false when the connection is over. */
static bool receive(struct admin_conn *ac)
{
    struct conn *c = &ac->conn;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
    } control;
    struct iovec iov;
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n;

    if (buf_try_reserve(&c->in, 4096) != 0)
        return false;
    iov = (struct iovec){c->in.p + c->in.len, c->in.cap - c->in.len};
    n = recvmsg(c->fd, &m, MSG_CMSG_CLOEXEC);
    if (n < 0)
        return errno == EINTR;
    take_descriptors(ac, &m);
    c->in.len += (size_t)n;
    return n > 0;
}

/* Sends all that waits, a descriptor with its first byte if there is one to send; false when the connection is over. */
static bool send_replies(struct admin_conn *ac)
{
    struct conn *c = &ac->conn;
    struct session_descriptors *d = &ac->descriptors;
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;

    while (resp_pending(&c->out) > 0) {
        struct iovec iov[16];
        struct msghdr m = {.msg_iov = iov};
        ssize_t n;

        m.msg_iovlen = (size_t)resp_gather(&c->out, iov, 16);
        if (d->reply >= 0) {
            memset(&control, 0, sizeof control);
            control.head = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
            memcpy(CMSG_DATA(&control.head), &d->reply, sizeof(int));
            m.msg_control = &control;
            m.msg_controllen = sizeof control;
        }
        n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        if (d->reply >= 0)
            close(d->reply);
        d->reply = -1;
        resp_sent(&c->out, (size_t)n);
    }
    return !c->client.session.close_after_reply;
}

/* Before the answers go, what nobody took is closed, unless it may belong to a command that is not complete yet. */
static bool answer(struct admin_conn *ac)
{
    if (buf_live(&ac->conn.in) == 0)
        drop_received(ac);
    return send_replies(ac);
}

/* ---- commands ---- */

/* The request at the head of the input, in the executor's arena. */
static enum resp_parsed next_request(struct executor *ex, struct conn *c, struct resp_request *r,
                                     struct exec_request *request)
{
    static const struct resp_limits limits = {ADMIN_BULK, ADMIN_ARGS, true};
    enum resp_parsed rc = resp_parse(buf_head(&c->in), buf_live(&c->in), &limits, &ex->arena, NULL, r);

    if (rc != RESP_DONE || r->argc == 0)
        return rc;
    exec_prepare(ex, r->argv, r->argc, request);
    if (request->command && (request->command->run == cmd_psync || request->command->run == cmd_replconf))
        request->command = NULL; /* no worker has this connection, which could feed a replica */
    return rc;
}

static void run_request(struct executor *ex, struct conn *c, const struct resp_request *r, struct exec_request *request)
{
    if (r->argc > 0)
        exec_run_waiting(ex, &c->client, request);
    buf_consume(&c->in, r->consumed);
    arena_reset(&ex->arena);
}

/* Can it be run without waiting for anybody? */
static bool is_prompt(const struct exec_request *request)
{
    static command_fn *const waiting[] = {cmd_exec, cmd_wait, cmd_waitaof, cmd_save, cmd_bgsave, cmd_shutdown};
    const struct command *cmd = request->command;

    if (!cmd || request->flaws)
        return true;
    for (size_t i = 0; i < sizeof waiting / sizeof *waiting; i++)
        if (cmd->run == waiting[i])
            return false;
    return cmd->scope == SCOPE_CONNECTION;
}

static void hand_over(struct admin *a, struct admin_conn *ac)
{
    ac->busy = true;
    pthread_mutex_lock(&a->lock);
    ac->done = false;
    ac->next = NULL;
    *a->queue_end = ac;
    a->queue_end = &ac->next;
    pthread_cond_signal(&a->wanted);
    pthread_mutex_unlock(&a->lock);
}

/* Runs what has arrived, up to a command for the patient thread; false when the connection is over. */
static bool run_input(struct admin *a, struct admin_conn *ac)
{
    struct conn *c = &ac->conn;

    while (buf_live(&c->in) > 0) {
        struct resp_request r;
        struct exec_request request;
        enum resp_parsed rc = next_request(&a->prompt, c, &r, &request);
        if (rc != RESP_DONE) {
            arena_reset(&a->prompt.arena);
            return rc == RESP_MORE;
        }
        if (r.argc > 0 && !is_prompt(&request)) {
            arena_reset(&a->prompt.arena);
            hand_over(a, ac);
            return true;
        }
        run_request(&a->prompt, c, &r, &request);
        if (!answer(ac))
            return false;
    }
    return true;
}

/* The patient thread. */
static void *run_patiently(void *arg)
{
    struct admin *a = arg;
    const uint64_t one = 1;

    pthread_setname_np(pthread_self(), "admin-patient");
    pthread_mutex_lock(&a->lock);
    for (;;) {
        struct admin_conn *ac = a->queue;
        struct resp_request r;
        struct exec_request request;

        if (!ac && a->stopping)
            break;
        if (!ac) {
            pthread_cond_wait(&a->wanted, &a->lock);
            continue;
        }
        a->queue = ac->next;
        if (!a->queue)
            a->queue_end = &a->queue;
        pthread_mutex_unlock(&a->lock);
        if (next_request(&a->patient, &ac->conn, &r, &request) == RESP_DONE)
            run_request(&a->patient, &ac->conn, &r, &request);
        pthread_mutex_lock(&a->lock);
        ac->done = true;
        while (write(a->done, &one, sizeof one) < 0)
            ;
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

static void stop_patient(struct admin *a)
{
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    pthread_cond_signal(&a->wanted);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->patient_thread, NULL);
}

/* Goes on with connections that the patient thread is through with. */
static void go_on(struct admin *a)
{
    uint64_t n;

    if (read(a->done, &n, sizeof n) < 0)
        return;
    for (unsigned i = 0; i < ADMIN_CONNS; i++) {
        struct admin_conn *ac = a->conns[i];
        bool done;

        if (!ac || !ac->busy)
            continue;
        pthread_mutex_lock(&a->lock);
        done = ac->done;
        pthread_mutex_unlock(&a->lock);
        if (!done)
            continue;
        ac->busy = false;
        if (!answer(ac) || !run_input(a, ac))
            admin_close(a, i);
    }
}

static void *admin_run(void *arg)
{
    struct admin *a = arg;

    pthread_setname_np(pthread_self(), "admin");
    for (;;) {
        struct pollfd fds[ADMIN_CONNS + 3] = {{a->stop, POLLIN, 0}, {a->listener, POLLIN, 0}, {a->done, POLLIN, 0}};
        for (unsigned i = 0; i < ADMIN_CONNS; i++)
            fds[i + 3] = (struct pollfd){a->conns[i] && !a->conns[i]->busy ? a->conns[i]->conn.fd : -1, POLLIN, 0};
        if (poll(fds, ADMIN_CONNS + 3, -1) < 0)
            continue;
        if (fds[0].revents)
            break;
        for (unsigned i = 0; i < ADMIN_CONNS; i++)
            if (fds[i + 3].revents && !(receive(a->conns[i]) && run_input(a, a->conns[i])))
                admin_close(a, i);
        if (fds[2].revents)
            go_on(a);
        if (fds[1].revents)
            admin_accept(a);
    }
    stop_patient(a);
    for (unsigned i = 0; i < ADMIN_CONNS; i++)
        if (a->conns[i])
            admin_close(a, i);
    return NULL;
}

static void admin_free(struct admin *a)
{
    if (a->listener >= 0) {
        close(a->listener);
        unlink(a->path);
    }
    close(a->stop);
    close(a->done);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->wanted);
    arena_free(&a->prompt.arena);
    arena_free(&a->patient.arena);
    buf_free(&a->prompt.effects.bytes);
    buf_free(&a->patient.effects.bytes);
    mem_free(a->path);
    mem_free(a);
}

struct admin *admin_start(const char *path, struct exec_shared *shared, struct thread *prompt, struct thread *patient,
                          char *err, size_t err_size)
{
    struct admin *a = mem_zalloc(sizeof *a);

    a->prompt = (struct executor){.shared = shared, .thread = prompt, .is_lane = true};
    a->patient = (struct executor){.shared = shared, .thread = patient, .is_lane = true};
    a->path = mem_strndup(path, strlen(path));
    a->stop = eventfd(0, EFD_CLOEXEC);
    a->done = eventfd(0, EFD_CLOEXEC);
    a->queue_end = &a->queue;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->wanted, NULL);
    a->listener = listener_unix(path, 0600, 16, err, err_size);
    if (a->listener < 0) {
        admin_free(a);
        return NULL;
    }
    if (pthread_create(&a->patient_thread, NULL, run_patiently, a) == 0) {
        if (pthread_create(&a->thread, NULL, admin_run, a) == 0)
            return a;
        stop_patient(a);
    }
    snprintf(err, err_size, "Could not start the threads of the admin socket");
    admin_free(a);
    return NULL;
}

void admin_stop(struct admin *a)
{
    uint64_t one = 1;

    if (!a)
        return;
    while (write(a->stop, &one, sizeof one) < 0)
        ;
    pthread_join(a->thread, NULL);
    admin_free(a);
}
