/*
 * A node that does as it is told: a test program runs as one when it is called as "larder-server". It takes the lock,
 * listens on the admin socket and answers LARDER HELLO, LISTEN, HANDBACK and UNLISTEN well enough, and some words of its
 * own. FAKE in its environment makes it another one: see enum fake_manner.
 */
#ifndef UNIT_CONTROL_AGENT_FAKE_NODE_H
#define UNIT_CONTROL_AGENT_FAKE_NODE_H

#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "unit/control/agent/world.h"

#define FAKE_CONNS 8
#define FAKE_LISTENERS 4

struct fake_conn {
    int fd;
    redisReader *reader;
    int received; /* a descriptor */
};

static struct {
    const char *manner;
    struct fake_conn conns[FAKE_CONNS];
    struct {
        char name[32];
        int fd;
    } listeners[FAKE_LISTENERS];
} fake;

static inline void fake_say(const struct fake_conn *c, const char *text, int descriptor)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    if (descriptor >= 0) {
        control.head = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), &descriptor, sizeof(int));
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof control.bytes;
    }
    if (sendmsg(c->fd, &m, MSG_NOSIGNAL) != (ssize_t)strlen(text))
        _exit(9);
}

static inline void fake_hello(const struct fake_conn *c, const char *id)
{
    char text[1024];

    if (strcmp(fake.manner, "silent") == 0)
        return;
    if (strcmp(fake.manner, "rude") == 0)
        fake_say(c, "-ERR what do you want?\r\n", -1);
    else if (strcmp(fake.manner, "short") == 0)
        fake_say(c, "*2\r\n$7\r\nnode-id\r\n$1\r\na\r\n", -1);
    else if (strcmp(fake.manner, "garbage") == 0)
        fake_say(c, "HTTP/1.1 400 Bad Request\r\n\r\n", -1);
    else if (strcmp(fake.manner, "other") == 0)
        id = "somebody-else";
    snprintf(text, sizeof text,
             "*30\r\n$7\r\nnode-id\r\n$%zu\r\n%s\r\n$7\r\nversion\r\n$1\r\n9\r\n$8\r\nprotocol\r\n:1\r\n"
             "$3\r\npid\r\n:%d\r\n$4\r\nrole\r\n$5\r\nslave\r\n$5\r\nepoch\r\n:5\r\n$7\r\ngranted\r\n$3\r\nyes\r\n"
             "$14\r\nreplication-id\r\n$2\r\nab\r\n$6\r\noffset\r\n:77\r\n$4\r\nlink\r\n$4\r\nsync\r\n"
             "$7\r\nloading\r\n$2\r\nno\r\n$4\r\nkeys\r\n:6\r\n$5\r\nrules\r\n:8\r\n$6\r\nuptime\r\n:4\r\n"
             "$5\r\nlater\r\n*-1\r\n",
             strlen(id), id, (int)getpid());
    if (fake.manner[0] == '\0' || strcmp(fake.manner, "other") == 0)
        fake_say(c, text, -1);
}

static inline void fake_listener(struct fake_conn *c, const char *verb, const char *name)
{
    unsigned at = 0, spare = FAKE_LISTENERS;
    int fd;

    for (; at < FAKE_LISTENERS && strcmp(fake.listeners[at].name, name) != 0; at++)
        if (fake.listeners[at].name[0] == '\0')
            spare = at;
    if (strcmp(verb, "LISTEN") == 0 && c->received >= 0 && spare < FAKE_LISTENERS) {
        snprintf(fake.listeners[spare].name, sizeof fake.listeners[spare].name, "%s", name);
        fake.listeners[spare].fd = c->received;
        c->received = -1;
        fake_say(c, "+OK\r\n", -1);
    } else if (strcmp(verb, "LISTEN") == 0) {
        fake_say(c, "-ERR LISTEN takes a descriptor\r\n", -1);
    } else if (strcmp(name, "empty") == 0) {
        fake_say(c, "+OK\r\n", -1);
    } else if (strcmp(name, "null") == 0) {
        fd = open("/dev/null", O_RDONLY);
        fake_say(c, "+OK\r\n", fd);
        close(fd);
    } else if (at == FAKE_LISTENERS) {
        fake_say(c, "-NOLISTENER there is none\r\n", -1);
    } else {
        fake_say(c, "+OK\r\n", strcmp(verb, "HANDBACK") == 0 ? fake.listeners[at].fd : -1);
        close(fake.listeners[at].fd);
        fake.listeners[at].name[0] = '\0';
    }
}

/* What the agent must see to when it starts a process: answers a line. */
static inline void fake_report(const struct fake_conn *c)
{
    char text[512];
    struct sigaction action;
    sigset_t blocked;
    unsigned ignored = 0, variables = 0, open_at_start = 0;
    bool is_blocked = false;

    sigprocmask(SIG_BLOCK, NULL, &blocked);
    for (int s = 1; s < NSIG; s++) {
        is_blocked |= sigismember(&blocked, s) == 1;
        ignored += s != SIGKILL && s != SIGSTOP && sigaction(s, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
    }
    while (environ[variables] != NULL)
        variables++;
    for (int fd = 3; fd < 256; fd++)
        open_at_start += fcntl(fd, F_GETFD) >= 0 && !(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    snprintf(text, sizeof text, "+ignored %u blocked %d variables %u descriptors %u session %d\r\n", ignored,
             is_blocked, variables, open_at_start, getsid(0) == getpid());
    fake_say(c, text, -1);
}

/* False when the connection is to be closed. */
static inline bool fake_run(struct fake_conn *c, const redisReply *r, const char *id)
{
    const char *word = r->element[0]->str;
    char *big;

    if (strcmp(word, "LARDER") == 0 && strcmp(r->element[1]->str, "HELLO") == 0)
        fake_hello(c, id);
    else if (strcmp(word, "LARDER") == 0)
        fake_listener(c, r->element[1]->str, r->element[2]->str);
    else if (strcmp(word, "REPORT") == 0)
        fake_report(c);
    else if (strcmp(word, "TWICE") == 0)
        fake_say(c, "+OK\r\n+OK\r\n", -1);
    else if (strcmp(word, "GARBAGE") == 0)
        fake_say(c, "what?\r\n", -1);
    else if (strcmp(word, "HALF") == 0)
        fake_say(c, "$100\r\nabc", -1);
    else if (strcmp(word, "NOTHING") != 0 && strcmp(word, "BIG") != 0)
        fake_say(c, "+OK\r\n", -1);
    if (strcmp(word, "EXIT") == 0)
        _exit(atoi(r->element[1]->str));
    if (strcmp(word, "BIG") == 0) {
        big = calloc(1, 300001);
        memset(big, 'x', 300000);
        fake_say(c, "$300000\r\n", -1);
        fake_say(c, big, -1);
        fake_say(c, "\r\n", -1);
        free(big);
    }
    for (unsigned i = 0; strcmp(word, "CLOSEALL") == 0 && i < FAKE_CONNS; i++)
        if (fake.conns[i].fd >= 0)
            shutdown(fake.conns[i].fd, SHUT_RDWR);
    return strcmp(word, "CLOSE") != 0 && strcmp(word, "HALF") != 0;
}

static inline bool fake_receive(struct fake_conn *c, const char *id)
{
    char bytes[4096];
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {bytes, sizeof bytes};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(c->fd, &m, MSG_CMSG_CLOEXEC);
    bool goes_on = true;
    void *reply;

    if (n <= 0)
        return false;
    if (CMSG_FIRSTHDR(&m) != NULL)
        memcpy(&c->received, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
    redisReaderFeed(c->reader, bytes, (size_t)n);
    while (goes_on && redisReaderGetReply(c->reader, &reply) == REDIS_OK && reply != NULL) {
        goes_on = fake_run(c, reply, id);
        freeReplyObject(reply);
    }
    return goes_on;
}

static inline int fake_listen(void)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX, .sun_path = NODE_ADMIN_SOCKET};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    unlink(NODE_ADMIN_SOCKET);
    if (bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0 || listen(fd, FAKE_CONNS) != 0)
        _exit(8);
    return fd;
}

/* argv as the agent gives it: larder-server larder.conf --node-id ID */
static inline int fake_node_main(int argc, char **argv)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int lock = open(NODE_LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600), listener;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    fake.manner = getenv("FAKE") != NULL ? getenv("FAKE") : "";
    if (argc != 4 || access(argv[1], R_OK) != 0 || fcntl(lock, F_SETLK, &whole) != 0)
        _exit(7);
    if (strcmp(fake.manner, "dies") == 0) {
        fprintf(stderr, "The first line\nThe \033[1mlast\n123:M 01 Jan 2026 00:00:00.000 # The last\n");
        _exit(3);
    }
    listener = fake_listen();
    for (unsigned i = 0; i < FAKE_CONNS; i++)
        fake.conns[i].fd = -1;
    for (;;) {
        struct pollfd fds[FAKE_CONNS + 1] = {{listener, POLLIN, 0}};
        for (unsigned i = 0; i < FAKE_CONNS; i++)
            fds[i + 1] = (struct pollfd){fake.conns[i].fd, POLLIN, 0};
        if (poll(fds, FAKE_CONNS + 1, -1) < 0)
            _exit(6);
        for (unsigned i = 0; i < FAKE_CONNS; i++)
            if (fds[i + 1].revents != 0 && !fake_receive(&fake.conns[i], argv[3])) {
                close(fake.conns[i].fd);
                redisReaderFree(fake.conns[i].reader);
                fake.conns[i].fd = -1;
            }
        for (unsigned i = 0; i < FAKE_CONNS && fds[0].revents != 0; i++)
            if (fake.conns[i].fd < 0) {
                fake.conns[i] =
                    (struct fake_conn){accept4(listener, NULL, NULL, SOCK_CLOEXEC), redisReaderCreate(), -1};
                break;
            }
    }
}

#endif
