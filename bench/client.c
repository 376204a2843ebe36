/* Connections and the little of RESP2 that a load program needs. A client library was rejected: its cost per request
 * is several times that of the servers measured here, and the load program must not be the bottleneck. */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void client_die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

uint64_t client_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int client_connect(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        client_die("connect to port %d: %s", port, strerror(errno));
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        client_die("socket options: %s", strerror(errno));
    return fd;
}

void client_put_key(char *out, uint64_t index)
{
    memcpy(out, "key:", 4);
    for (unsigned i = CLIENT_KEY_LEN - 1; i >= 4; i--) {
        out[i] = (char)('0' + index % 10);
        index /= 10;
    }
}

size_t client_put_command(char *out, size_t size, int argc, char **argv)
{
    size_t used = (size_t)snprintf(out, size, "*%d\r\n", argc);

    for (int i = 0; i < argc; i++) {
        if (used < size)
            used += (size_t)snprintf(out + used, size - used, "$%zu\r\n%s\r\n", strlen(argv[i]), argv[i]);
    }
    if (used >= size)
        client_die("the command is too long");
    return used;
}

/* Acts on a complete header line; the value it opens is counted off unless it has parts still to come. */
static void reply_line(struct client_reply *r)
{
    long long number;

    r->line[r->line_len] = 0;
    number = atoll(r->line + 1);
    if (!r->started) {
        r->started = true;
        r->is_error = r->line[0] == '-';
        r->values = 1;
    }
    r->values--;
    switch (r->line[0]) {
    case '+':
    case '-':
    case ':':
        break;
    case '$':
        if (number >= 0)
            r->skip = (uint64_t)number + 2;
        break;
    case '*':
        if (number > 0)
            r->values += (uint64_t)number;
        break;
    default:
        client_die("not a RESP2 reply: %s", r->line);
    }
    r->line_len = 0;
}

size_t client_reply_feed(struct client_reply *r, const char *data, size_t len, bool *done)
{
    size_t at = 0;

    *done = false;
    while (at < len && !*done) {
        if (r->skip > 0) {
            size_t step = r->skip < len - at ? (size_t)r->skip : len - at;
            at += step;
            r->skip -= step;
        } else {
            const char *end = memchr(data + at, '\n', len - at);
            size_t part = end ? (size_t)(end - data) - at : len - at;
            size_t room = sizeof r->line - 1 - r->line_len;

            memcpy(r->line + r->line_len, data + at, part < room ? part : room);
            r->line_len += (unsigned)(part < room ? part : room);
            at += part + (end ? 1 : 0);
            if (end)
                reply_line(r);
        }
        if (r->started && r->values == 0 && r->skip == 0 && r->line_len == 0) {
            r->started = false;
            *done = true;
        }
    }
    return at;
}
