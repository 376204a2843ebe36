/* The server over real sockets. It runs on a thread of its own; the clients here wait for what they read. */
#include "control/dns/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define DEADLINE_MS 1500
#define CONNECTIONS 8

static bool lookup(void *arg, struct view name, struct dns_addresses *out)
{
    (void)arg;
    out->count = view_is(name, "four.test") ? 4 : 1;
    for (unsigned i = 0; i < out->count; i++)
        out->address[i].s_addr = htonl(0x7f400001 + i);
    return true;
}

static struct {
    pthread_t thread;
    struct event_base *base;
    struct dns_server *dns;
    int stop[2];
    uint16_t port;
    int left_open; /* a connection */
} server;

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(arg);
}

static void *run(void *arg)
{
    struct event *stop = event_new(server.base, server.stop[0], EV_READ, on_stop, server.base);

    event_add(stop, NULL);
    event_base_dispatch(server.base);
    event_free(stop);
    return arg;
}

static int start(void **state)
{
    static const char *const zone = "test";
    struct dns_server_options options = {.zones = &zone,
                                         .zone_count = 1,
                                         .nameserver = {htonl(INADDR_LOOPBACK)},
                                         .lookup = lookup,
                                         .tcp_deadline_ms = DEADLINE_MS,
                                         .tcp_connections = CONNECTIONS};

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    server.base = event_base_new();
    server.dns = dns_server_new(server.base, &options);
    if (dns_server_listen(server.dns, "0.0.0.0", 0, &server.port) != 0 || pipe(server.stop) != 0)
        return -1;
    return pthread_create(&server.thread, NULL, run, NULL);
}

static int stop(void **state)
{
    (void)state;
    close(server.stop[1]);
    pthread_join(server.thread, NULL);
    close(server.stop[0]);
    dns_server_free(server.dns);
    dns_server_free(NULL);
    event_base_free(server.base);
    if (server.left_open > 0) {
        char byte;
        if (recv(server.left_open, &byte, 1, 0) > 0)
            return -1;
        close(server.left_open);
    }
    return 0;
}

/* ---- a client ---------------------------------------------------------------------------------------------------- */

static int client(int type, const char *address)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(server.port)};
    struct timeval patience = {20, 0};
    int fd = socket(AF_INET, type, 0);

    inet_pton(AF_INET, address, &a.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

/* A query for A of "LABEL.test"; its length. */
static size_t make_query(uint8_t *p, unsigned id, const char *label)
{
    size_t n = strlen(label);

    memcpy(p, "\0\0\1\0\0\1\0\0\0\0\0\0", 12);
    p[0] = (uint8_t)(id >> 8);
    p[1] = (uint8_t)id;
    p[12] = (uint8_t)n;
    memcpy(p + 13, label, n);
    memcpy(p + 13 + n, "\4test\0\0\1\0\1", 10);
    return 23 + n;
}

/* The same with its length before it, for TCP. */
static size_t make_framed(uint8_t *p, unsigned id, const char *label)
{
    size_t n = make_query(p + 2, id, label);

    p[0] = 0;
    p[1] = (uint8_t)n;
    return n + 2;
}

static void send_all(int fd, const void *p, size_t n)
{
    assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), n);
}

static void read_exactly(int fd, uint8_t *p, size_t n)
{
    assert_int_equal(recv(fd, p, n, MSG_WAITALL), n);
}

/* Reads an answer; its length. */
static size_t read_framed(int fd, unsigned id, uint8_t p[DNS_ANSWER_MAX])
{
    uint8_t head[2];
    size_t n;

    read_exactly(fd, head, 2);
    n = (size_t)head[0] << 8 | head[1];
    assert_true(n >= 12 && n <= DNS_ANSWER_MAX);
    read_exactly(fd, p, n);
    assert_int_equal(p[0] << 8 | p[1], id);
    assert_int_equal(p[3] & 15, 0);
    return n;
}

static void ask_framed(int fd, unsigned id)
{
    uint8_t query[64], answer[DNS_ANSWER_MAX];

    send_all(fd, query, make_framed(query, id, "x"));
    assert_int_equal(read_framed(fd, id, answer), 24 + 16);
}

static void assert_closed(int fd)
{
    uint8_t byte;
    ssize_t n = recv(fd, &byte, 1, 0);

    assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
}

/* ---- UDP --------------------------------------------------------------------------------------------------------- */

static void datagrams(void **state)
{
    int fd = client(SOCK_DGRAM, "127.0.0.1");
    uint8_t query[64], answer[2048];

    (void)state;
    for (unsigned id = 0; id < 300; id++) {
        size_t n = make_query(query, id, "x");
        send_all(fd, query, n);
        assert_int_equal(recv(fd, answer, sizeof answer, 0), n + 16);
        assert_int_equal(answer[0] << 8 | answer[1], id);
    }
    close(fd);
}

/* The socket is connected: it takes answers from the address alone that it asked. */
static void from_the_address_that_was_asked(void **state)
{
    uint8_t query[64], answer[2048];
    int fd = client(SOCK_DGRAM, "127.77.1.9");
    size_t n = make_query(query, 7, "x");

    (void)state;
    send_all(fd, query, n);
    assert_int_equal(recv(fd, answer, sizeof answer, 0), n + 16);
    close(fd);
}

static void garbage(void **state)
{
    int fd = client(SOCK_DGRAM, "127.0.0.1");
    static uint8_t big[20000];
    uint8_t query[64], answer[2048];
    size_t n = make_query(query, 1, "x");

    (void)state;
    send_all(fd, "", 0);
    send_all(fd, "x", 1);
    query[2] |= 0x80; /* a response: no answer, so there is no endless exchange */
    send_all(fd, query, n);
    send_all(fd, big, sizeof big);
    assert_int_equal(recv(fd, answer, sizeof answer, 0), 12);
    assert_int_equal(answer[3] & 15, 1);
    n = make_query(query, 2, "x");
    send_all(fd, query, n);
    assert_int_equal(recv(fd, answer, sizeof answer, 0), n + 16);
    close(fd);
}

static void every_address_comes_first(void **state)
{
    int fd = client(SOCK_DGRAM, "127.0.0.1");
    uint8_t query[64], answer[2048];
    unsigned seen = 0;

    (void)state;
    for (unsigned i = 0; i < 100000 && seen != 15; i++) {
        size_t n = make_query(query, i & 0xffff, "four");
        send_all(fd, query, n);
        assert_int_equal(recv(fd, answer, sizeof answer, 0), n + 4 * 16);
        seen |= 1u << (answer[n + 15] - 1);
    }
    assert_int_equal(seen, 15);
    close(fd);
}

/* ---- TCP --------------------------------------------------------------------------------------------------------- */

static void several_queries(void **state)
{
    int fd = client(SOCK_STREAM, "127.0.0.1");
    uint8_t queries[8192], answer[DNS_ANSWER_MAX];
    size_t n = 0;

    (void)state;
    ask_framed(fd, 1);
    ask_framed(fd, 2);
    for (unsigned id = 0; id < 200; id++)
        n += make_framed(queries + n, id, "x");
    send_all(fd, queries, n);
    for (unsigned id = 0; id < 200; id++)
        read_framed(fd, id, answer);
    close(fd);
}

static void byte_by_byte(void **state)
{
    int fd = client(SOCK_STREAM, "127.0.0.1");
    uint8_t query[64], answer[DNS_ANSWER_MAX];
    size_t n = make_framed(query, 9, "x");

    (void)state;
    for (size_t i = 0; i < n; i++)
        send_all(fd, query + i, 1);
    read_framed(fd, 9, answer);
    close(fd);
}

/* Who says that nothing more comes still gets the answers. */
static void half_closed(void **state)
{
    int fd = client(SOCK_STREAM, "127.0.0.1");
    uint8_t queries[128], answer[DNS_ANSWER_MAX];
    size_t n = make_framed(queries, 1, "x");

    (void)state;
    n += make_framed(queries + n, 2, "four");
    send_all(fd, queries, n);
    send_all(fd, "\0", 1);
    shutdown(fd, SHUT_WR);
    read_framed(fd, 1, answer);
    read_framed(fd, 2, answer);
    assert_closed(fd);
    close(fd);
}

static void wrong_frames(void **state)
{
    static const char *const frames[] = {"\0\0", "\0\13", "\20\1", "\377\377"};
    uint8_t query[64];
    int fd;

    (void)state;
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        fd = client(SOCK_STREAM, "127.0.0.1");
        ask_framed(fd, 1);
        send_all(fd, frames[i], 2);
        assert_closed(fd);
        close(fd);
    }
    fd = client(SOCK_STREAM, "127.0.0.1");
    size_t n = make_framed(query, 1, "x");
    query[4] |= 0x80; /* a response */
    send_all(fd, query, n);
    assert_closed(fd);
    close(fd);
}

static void silence_is_ended(void **state)
{
    int idle = client(SOCK_STREAM, "127.0.0.1"), half = client(SOCK_STREAM, "127.0.0.1");
    int64_t start_us = clock_mono_us();

    (void)state;
    send_all(half, "\0\30abc", 5);
    assert_closed(idle);
    assert_closed(half);
    assert_true(clock_mono_us() - start_us >= DEADLINE_MS * 900);
    close(idle);
    close(half);
}

/* Who holds connections keeps nobody out. */
static void too_many(void **state)
{
    int held[CONNECTIONS], active = client(SOCK_STREAM, "127.0.0.1"), fd;

    (void)state;
    for (unsigned i = 0; i < CONNECTIONS - 1; i++) {
        held[i] = client(SOCK_STREAM, "127.0.0.1");
        send_all(held[i], "\0\30abc", 5);
        ask_framed(active, i);
    }
    for (unsigned i = 0; i < CONNECTIONS - 1; i++) {
        fd = client(SOCK_STREAM, "127.0.0.1");
        ask_framed(fd, 100 + i);
        assert_closed(held[i]);
        ask_framed(active, 200 + i);
        close(held[i]);
        held[i] = fd;
    }
    for (unsigned i = 0; i < CONNECTIONS - 1; i++)
        close(held[i]);
    close(active);
}

/* It asks and asks and reads nothing: the server stops to read, and then ends it; others are served meanwhile. */
static void answers_nobody_reads(void **state)
{
    int fd = client(SOCK_STREAM, "127.0.0.1"), other, small = 4096;
    uint8_t queries[8192], chunk[4096];
    size_t n = 0, sent = 0;

    (void)state;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    for (unsigned id = 0; id < 200; id++)
        n += make_framed(queries + n, id, "four");
    for (;;) {
        struct timeval patience = {20, 0};
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        ssize_t k = send(fd, queries, n, MSG_NOSIGNAL);
        if (k < 0)
            break;
        sent += (size_t)k;
        assert_true(sent < 100u << 20);
        other = client(SOCK_DGRAM, "127.0.0.1");
        assert_int_equal(send(other, queries + 2, 27, 0), 27);
        assert_int_equal(recv(other, chunk, sizeof chunk, 0), 27 + 4 * 16);
        close(other);
    }
    assert_true(errno == ECONNRESET || errno == EPIPE);
    close(fd);
}

/* The same, but it reads in the end. */
static void answers_read_late(void **state)
{
    int fd = client(SOCK_STREAM, "127.0.0.1"), small = 65536;
    uint8_t queries[8192], answer[DNS_ANSWER_MAX];
    size_t n = 0;
    unsigned sent = 0;

    (void)state;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    for (unsigned id = 0; id < 200; id++)
        n += make_framed(queries + n, id, "four");
    for (; sent < 20; sent++)
        send_all(fd, queries, n);
    shutdown(fd, SHUT_WR);
    for (unsigned i = 0; i < sent * 200; i++)
        read_framed(fd, i % 200, answer);
    assert_closed(fd);
    close(fd);
}

/* Without a descriptor for it a connection waits, and the loop goes on. */
static void out_of_descriptors(void **state)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(server.port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int datagrams = client(SOCK_DGRAM, "127.0.0.1"), fd = socket(AF_INET, SOCK_STREAM, 0);
    uint8_t query[64], answer[DNS_ANSWER_MAX];
    struct rlimit limit, low;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    low.rlim_cur = (rlim_t)fd + 1; /* fd was the lowest that was free */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    for (unsigned id = 0; id < 3; id++) { /* a turn of the loop for each */
        send_all(datagrams, query, make_query(query, id, "x"));
        assert_int_equal(recv(datagrams, answer, sizeof answer, 0), 24 + 16);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ask_framed(fd, 1);
    close(datagrams);
    close(fd);
}

/* ---- listening --------------------------------------------------------------------------------------------------- */

static void addresses(void **state)
{
    static const char *const zones[] = {"test", "a..b"};
    struct dns_server_options options = {.zones = zones, .zone_count = 1, .lookup = lookup};
    struct event_base *base = event_base_new();
    struct dns_server *s = dns_server_new(base, &options);
    struct sockaddr_in taken = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof taken;
    uint16_t port = 0, other;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    (void)state;
    assert_int_equal(dns_server_listen(s, "127.0.0.1", 0, &port), 0);
    assert_int_not_equal(port, 0);
    assert_int_equal(dns_server_listen(s, "127.0.0.1", port, NULL), -EADDRINUSE);
    assert_int_equal(dns_server_listen(s, "127.0.0.2", port, &other), 0);
    assert_int_equal(other, port);
    assert_int_equal(dns_server_listen(s, "localhost", 0, NULL), -EINVAL);
    assert_int_equal(dns_server_listen(s, "", 0, NULL), -EINVAL);
    assert_int_equal(dns_server_listen(s, "198.51.100.1", 0, NULL), -EADDRNOTAVAIL);
    /* For TCP only the port is somebody's: then there is no UDP there either. */
    assert_int_equal(bind(fd, (struct sockaddr *)&taken, sizeof taken), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&taken, &length), 0);
    assert_int_equal(dns_server_listen(s, "127.0.0.1", ntohs(taken.sin_port), NULL), -EADDRINUSE);
    close(fd);
    assert_int_equal(dns_server_listen(s, "127.0.0.1", ntohs(taken.sin_port), NULL), 0);
    dns_server_free(s);
    options.zone_count = 2;
    assert_null(dns_server_new(base, &options));
    event_base_free(base);
}

/* Connections are closed with the server. */
static void left_open(void **state)
{
    (void)state;
    server.left_open = client(SOCK_STREAM, "127.0.0.1");
    ask_framed(server.left_open, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(datagrams),
        cmocka_unit_test(from_the_address_that_was_asked),
        cmocka_unit_test(garbage),
        cmocka_unit_test(every_address_comes_first),
        cmocka_unit_test(several_queries),
        cmocka_unit_test(byte_by_byte),
        cmocka_unit_test(half_closed),
        cmocka_unit_test(wrong_frames),
        cmocka_unit_test(silence_is_ended),
        cmocka_unit_test(too_many),
        cmocka_unit_test(answers_nobody_reads),
        cmocka_unit_test(answers_read_late),
        cmocka_unit_test(out_of_descriptors),
        cmocka_unit_test(addresses),
        cmocka_unit_test(left_open),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
