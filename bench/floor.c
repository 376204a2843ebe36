/* The I/O floor: a server that does what no server can leave out and nothing else. It waits on epoll, reads, counts
 * the commands that a read brought, and answers each with the same bulk string in one write. No parsing, no table: a
 * command is one '*' in the input, which holds because the load program's keys and values have none. What an engine
 * spends above this program is the engine's own cost; what this program spends is the kernel's and the socket API's.
 *
 * Use: floor [PORT [VALUE_SIZE]]. Prints "port N" when it listens; ends by a signal. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE 16384
#define EVENTS 128
#define REPLIES_AT_ONCE 512

static char replies[1 << 20]; /* REPLIES_AT_ONCE times the reply */
static size_t reply_len;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void prepare_replies(size_t value_size)
{
    char *at = replies;
    int head = snprintf(replies, sizeof replies, "$%zu\r\n", value_size);

    reply_len = (size_t)head + value_size + 2;
    if (reply_len * REPLIES_AT_ONCE > sizeof replies) {
        fputs("the value is too big\n", stderr);
        exit(1);
    }
    memset(replies + head, 'x', value_size);
    memcpy(replies + head + value_size, "\r\n", 2);
    for (unsigned i = 1; i < REPLIES_AT_ONCE; i++)
        memcpy(at + i * reply_len, at, reply_len);
}

static size_t count_commands(const char *data, size_t len)
{
    const char *end = data + len;
    size_t count = 0;

    while (data < end && (data = memchr(data, '*', (size_t)(end - data)))) {
        count++;
        data++;
    }
    return count;
}

/* Answers what one read brings. Returns -1 when the connection is over. */
static int serve(int fd)
{
    char in[READ_SIZE];
    ssize_t n = read(fd, in, sizeof in);
    size_t count;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return -1;
    count = count_commands(in, (size_t)n);
    while (count > 0) {
        size_t part = count < REPLIES_AT_ONCE ? count : REPLIES_AT_ONCE;

        /* The clients wait for their replies, so a blocking write of some kilobytes never blocks. */
        if (write(fd, replies, part * reply_len) != (ssize_t)(part * reply_len))
            return -1;
        count -= part;
    }
    return 0;
}

static int listen_on(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 511) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        die("listen");
    printf("port %d\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

static void accept_one(int poll, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), one = 1;
    struct epoll_event want = {.events = EPOLLIN, .data.fd = fd};

    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &want) != 0)
        die("epoll_ctl");
}

int main(int argc, char **argv)
{
    int listener, poll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[EVENTS];

    prepare_replies(argc > 2 ? (size_t)atol(argv[2]) : 32);
    listener = listen_on(argc > 1 ? atoi(argv[1]) : 0);
    events[0] = (struct epoll_event){.events = EPOLLIN, .data.fd = listener};
    if (poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, listener, &events[0]) != 0)
        die("epoll");
    for (;;) {
        int n = epoll_wait(poll, events, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;

            if (fd == listener)
                accept_one(poll, listener);
            else if (serve(fd) != 0)
                close(fd);
        }
    }
}
