/* Questions to the name server and its answers, as bytes; and asking a server. */
#include "preload/lookup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void test_names_below(void **state)
{
    static const struct {
        const char *name;
        bool below;
    } rows[] = {
        {"cache.larder.internal", true},
        {"cache.larder.internal.", true},
        {"x.cache.larder.internal", true},
        {"X.Cache.LARDER.internal.", true},
        {"xcache.larder.internal", false},
        {"larder.internal", false},
        {"cache.larder.internal.x", false},
        {"cache.larder.internal..", false},
        {"", false},
        {".", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(lookup_is_below(rows[i].name, "cache.larder.internal"), rows[i].below);
    assert_false(lookup_is_below("x.", ""));
}

static void test_servers(void **state)
{
    static const char *const bad[] = {"",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      ":53",
                                      "127.0.0.1:0",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:5x",
                                      "127.0.0.1:-5",
                                      "127.0.0:53",
                                      "[::1]:53",
                                      "localhost:53",
                                      "1234567890123456:53"};
    struct sockaddr_in a;

    (void)state;
    assert_true(lookup_read_server("127.64.0.2:5353", &a));
    assert_int_equal(a.sin_family, AF_INET);
    assert_int_equal(ntohs(a.sin_port), 5353);
    assert_int_equal(ntohl(a.sin_addr.s_addr), 0x7f400002);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(lookup_read_server(bad[i], &a));
}

static void test_question(void **state)
{
    static const uint8_t expected[] = "\x12\x34\0\0\0\1\0\0\0\0\0\0\1a\2bc\0\0\1\0\1";
    uint8_t q[LOOKUP_PACKET_MAX];
    char name[300];

    (void)state;
    assert_int_equal(lookup_write(0x1234, "a.bc", q), sizeof expected - 1);
    assert_memory_equal(q, expected, sizeof expected - 1);
    assert_int_equal(lookup_write(0x1234, "a.bc.", q), sizeof expected - 1);
    assert_int_equal(lookup_write(1, "", q), 0);
    assert_int_equal(lookup_write(1, ".", q), 0);
    assert_int_equal(lookup_write(1, "a..b", q), 0);
    memset(name, 'x', sizeof name);
    name[63] = '\0';
    assert_int_equal(lookup_write(1, name, q), 12 + 64 + 1 + 4);
    name[63] = 'x';
    name[64] = '\0';
    assert_int_equal(lookup_write(1, name, q), 0);
    for (size_t i = 0; i < sizeof name; i++)
        name[i] = i % 2 ? '.' : 'x';
    name[253] = '\0'; /* 127 labels of one character: 255 bytes */
    assert_int_equal(lookup_write(1, name, q), 12 + 255 + 4);
    name[253] = '.';
    name[255] = '\0';
    assert_int_equal(lookup_write(1, name, q), 0);
}

/* ---- answers ---- */

static uint8_t question[LOOKUP_PACKET_MAX];
static size_t question_n;

/* The question as an answer of so many records: A records of 127.64.0.1 and so on, with compressed names. */
static size_t make_answer(uint8_t out[LOOKUP_PACKET_MAX], unsigned rcode, unsigned records)
{
    size_t n = question_n;

    memcpy(out, question, n);
    out[2] = 0x84;
    out[3] = (uint8_t)rcode;
    out[7] = (uint8_t)records;
    for (unsigned i = 0; i < records; i++) {
        const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 127, 64, 0, (uint8_t)(i + 1)};
        memcpy(out + n, record, sizeof record);
        n += sizeof record;
    }
    return n;
}

static int make_question(void **state)
{
    (void)state;
    question_n = lookup_write(77, "a.cache.larder.internal", question);
    return 0;
}

static void test_answers(void **state)
{
    struct in_addr found[LOOKUP_ADDRESSES_MAX];
    uint8_t a[LOOKUP_PACKET_MAX];
    enum lookup_result result;
    unsigned count;
    size_t n;

    (void)state;
    n = make_answer(a, 0, 2);
    assert_true(lookup_read(question, question_n, a, n, found, &count, &result));
    assert_int_equal(result, LOOKUP_FOUND);
    assert_int_equal(count, 2);
    assert_int_equal(ntohl(found[1].s_addr), 0x7f400002);
    n = make_answer(a, 0, LOOKUP_ADDRESSES_MAX + 3);
    assert_true(lookup_read(question, question_n, a, n, found, &count, &result));
    assert_int_equal(count, LOOKUP_ADDRESSES_MAX);
    n = make_answer(a, 0, 0);
    assert_true(lookup_read(question, question_n, a, n, found, &count, &result));
    assert_int_equal(result, LOOKUP_NO_ADDRESS);
    n = make_answer(a, 3, 0);
    assert_true(lookup_read(question, question_n, a, n, found, &count, &result));
    assert_int_equal(result, LOOKUP_NO_NAME);
    n = make_answer(a, 5, 0);
    assert_true(lookup_read(question, question_n, a, n, found, &count, &result));
    assert_int_equal(result, LOOKUP_FAILED);
    n = make_answer(a, 0, 1);
    a[2] |= 2; /* cut */
    assert_true(lookup_read(question, question_n, a, n, found, &count, &result));
    assert_int_equal(result, LOOKUP_FAILED);
}

static void test_other_answers(void **state)
{
    struct in_addr found[LOOKUP_ADDRESSES_MAX];
    uint8_t a[LOOKUP_PACKET_MAX];
    enum lookup_result result;
    unsigned count;
    size_t n = make_answer(a, 0, 1);

    (void)state;
    a[0] ^= 1; /* another id */
    assert_false(lookup_read(question, question_n, a, n, found, &count, &result));
    a[0] ^= 1;
    a[14] ^= 1; /* another name */
    assert_false(lookup_read(question, question_n, a, n, found, &count, &result));
    a[14] ^= 1;
    a[2] &= 0x7f; /* a question */
    assert_false(lookup_read(question, question_n, a, n, found, &count, &result));
    assert_false(lookup_read(question, question_n, a, question_n - 1, found, &count, &result));
}

/* Cut anywhere, any byte anything: memory is never read beyond the packet (that is for the sanitizers to see). */
static void test_hostile_answers(void **state)
{
    static const uint8_t values[] = {0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff};
    struct in_addr found[LOOKUP_ADDRESSES_MAX];
    uint8_t a[LOOKUP_PACKET_MAX];
    enum lookup_result result;
    unsigned count;
    size_t n = make_answer(a, 0, 3);

    (void)state;
    for (size_t cut = 0; cut <= n; cut++)
        for (size_t i = 0; i < cut; i++)
            for (size_t v = 0; v < sizeof values; v++) {
                uint8_t *exact = malloc(cut);
                memcpy(exact, a, cut);
                exact[i] = values[v];
                lookup_read(question, question_n, exact, cut, found, &count, &result);
                assert_true(count <= LOOKUP_ADDRESSES_MAX);
                free(exact);
            }
}

/* ---- a server ---- */

/* Answers the second question, and before that sends what is no answer to it. */
static void *serve(void *arg)
{
    int fd = *(int *)arg;
    struct sockaddr_in peer;
    socklen_t peer_n = sizeof peer;
    uint8_t a[LOOKUP_PACKET_MAX];
    ssize_t n;

    recvfrom(fd, a, sizeof a, 0, (struct sockaddr *)&peer, &peer_n);
    n = recvfrom(fd, a, sizeof a, 0, (struct sockaddr *)&peer, &peer_n);
    memcpy(question, a, (size_t)n);
    question_n = (size_t)n;
    sendto(fd, "?", 1, 0, (struct sockaddr *)&peer, peer_n);
    sendto(fd, a, (size_t)n, 0, (struct sockaddr *)&peer, peer_n);
    n = (ssize_t)make_answer(a, 0, 1);
    sendto(fd, a, (size_t)n, 0, (struct sockaddr *)&peer, peer_n);
    return NULL;
}

static void test_asking(void **state)
{
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof server;
    struct in_addr found[LOOKUP_ADDRESSES_MAX];
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    pthread_t thread;
    unsigned count;

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&server, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&server, &n), 0);
    assert_int_equal(pthread_create(&thread, NULL, serve, &fd), 0);
    assert_int_equal(lookup_addresses(&server, "a.cache.larder.internal", found, &count), LOOKUP_FOUND);
    assert_int_equal(count, 1);
    assert_int_equal(ntohl(found[0].s_addr), 0x7f400001);
    pthread_join(thread, NULL);
    close(fd);
    assert_int_equal(lookup_addresses(&server, "a.cache.larder.internal", found, &count), LOOKUP_FAILED);
    assert_int_equal(lookup_addresses(&server, "a..b", found, &count), LOOKUP_NO_NAME);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_below),
        cmocka_unit_test(test_servers),
        cmocka_unit_test(test_question),
        cmocka_unit_test_setup(test_answers, make_question),
        cmocka_unit_test_setup(test_other_answers, make_question),
        cmocka_unit_test_setup(test_hostile_answers, make_question),
        cmocka_unit_test(test_asking),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
