/* Asking the name server: see lookup.h. */
#include "preload/lookup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEADER 12
#define LABEL_MAX 63
#define NAME_MAX_WIRE 255
#define TYPE_A 1
#define CLASS_IN 1
#define FLAG_RESPONSE 0x8000
#define FLAG_TRUNCATED 0x0200
#define RCODE_NXDOMAIN 3

bool lookup_is_below(const char *name, const char *suffix)
{
    size_t n = strlen(name), s = strlen(suffix);

    if (n > 0 && name[n - 1] == '.')
        n--;
    if (s == 0 || n < s || strncasecmp(name + n - s, suffix, s) != 0)
        return false;
    return n == s || name[n - s - 1] == '.';
}

bool lookup_read_server(const char *text, struct sockaddr_in *out)
{
    const char *colon = strrchr(text, ':');
    char address[INET_ADDRSTRLEN] = "", *end;
    unsigned long port;

    if (!colon || (size_t)(colon - text) >= sizeof address || colon[1] < '0' || colon[1] > '9')
        return false;
    memcpy(address, text, (size_t)(colon - text));
    port = strtoul(colon + 1, &end, 10);
    if (*end != '\0' || port == 0 || port > 65535)
        return false;
    memset(out, 0, sizeof *out);
    out->sin_family = AF_INET;
    out->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, address, &out->sin_addr) == 1;
}

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static unsigned get16(const uint8_t *p)
{
    return (unsigned)(p[0] << 8 | p[1]);
}

size_t lookup_write(uint16_t id, const char *name, uint8_t out[LOOKUP_PACKET_MAX])
{
    size_t at = HEADER;

    memset(out, 0, HEADER);
    put16(out, id);
    put16(out + 4, 1);
    while (*name != '\0') {
        size_t n = strcspn(name, ".");
        if (n == 0 || n > LABEL_MAX || at - HEADER + 1 + n + 1 > NAME_MAX_WIRE)
            return 0;
        out[at++] = (uint8_t)n;
        memcpy(out + at, name, n);
        at += n;
        name += n;
        if (*name == '.')
            name++;
    }
    if (at == HEADER)
        return 0;
    out[at++] = 0;
    put16(out + at, TYPE_A);
    put16(out + at + 2, CLASS_IN);
    return at + 4;
}

/* The place behind a name, or n + 1 when it does not end. */
static size_t skip_name(const uint8_t *p, size_t n, size_t at)
{
    while (at < n) {
        if (p[at] == 0)
            return at + 1;
        if (p[at] >= 0xc0)
            return at + 2;
        at += 1 + (size_t)p[at];
    }
    return n + 1;
}

bool lookup_read(const uint8_t *question, size_t question_n, const uint8_t *answer, size_t n,
                 struct in_addr out[LOOKUP_ADDRESSES_MAX], unsigned *count, enum lookup_result *result)
{
    unsigned flags, records;
    size_t at = question_n;

    *count = 0;
    if (n < question_n || memcmp(question, answer, 2) != 0 || get16(answer + 4) != 1 ||
        memcmp(question + HEADER, answer + HEADER, question_n - HEADER) != 0)
        return false;
    flags = get16(answer + 2);
    records = get16(answer + 6);
    if (!(flags & FLAG_RESPONSE))
        return false;
    *result = (flags & 15) == RCODE_NXDOMAIN ? LOOKUP_NO_NAME : LOOKUP_FAILED;
    if ((flags & 15) != 0 || flags & FLAG_TRUNCATED)
        return true;
    for (; records > 0; records--) {
        size_t length;
        at = skip_name(answer, n, at);
        if (at + 10 > n)
            return true;
        length = get16(answer + at + 8);
        if (at + 10 + length > n)
            return true;
        if (get16(answer + at) == TYPE_A && get16(answer + at + 2) == CLASS_IN && length == sizeof out[0] &&
            *count < LOOKUP_ADDRESSES_MAX)
            memcpy(&out[(*count)++], answer + at + 10, length);
        at += 10 + length;
    }
    *result = *count > 0 ? LOOKUP_FOUND : LOOKUP_NO_ADDRESS;
    return true;
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Waits for the answer to one question; false when there is none in time. *refused: nobody listens there. */
static bool wait_for_answer(int fd, const uint8_t *question, size_t question_n,
                            struct in_addr out[LOOKUP_ADDRESSES_MAX], unsigned *count, enum lookup_result *result,
                            bool *refused)
{
    int64_t deadline = now_ms() + LOOKUP_WAIT_MS, left;
    uint8_t answer[LOOKUP_PACKET_MAX];

    while ((left = deadline - now_ms()) > 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n;
        if (poll(&p, 1, (int)left) <= 0)
            continue;
        n = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
        if (n > 0 && lookup_read(question, question_n, answer, (size_t)n, out, count, result))
            return true;
        if (n < 0 && errno == ECONNREFUSED) {
            *refused = true;
            return false;
        }
    }
    return false;
}

enum lookup_result lookup_addresses(const struct sockaddr_in *server, const char *name,
                                    struct in_addr out[LOOKUP_ADDRESSES_MAX], unsigned *count)
{
    enum lookup_result result = LOOKUP_FAILED;
    uint8_t question[LOOKUP_PACKET_MAX];
    uint16_t id = 0;
    size_t n;
    bool done = false;
    int fd;

    *count = 0;
    if (getrandom(&id, sizeof id, GRND_NONBLOCK) < 0)
        id = (uint16_t)now_ms();
    n = lookup_write(id, name, question);
    if (n == 0)
        return LOOKUP_NO_NAME;
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return LOOKUP_FAILED;
    if (connect(fd, (const struct sockaddr *)server, sizeof *server) == 0)
        for (unsigned i = 0; i < LOOKUP_TRIES && !done; i++) {
            bool refused = false;
            if (send(fd, question, n, MSG_NOSIGNAL) == (ssize_t)n)
                done = wait_for_answer(fd, question, n, out, count, &result, &refused);
            if (refused)
                break;
        }
    close(fd);
    return done ? result : LOOKUP_FAILED;
}
