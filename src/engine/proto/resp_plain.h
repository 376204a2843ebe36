/* The common case of parsing a request, in one go, for whoever parses many: an array that is complete. */
#ifndef PROTO_RESP_PLAIN_H
#define PROTO_RESP_PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "engine/proto/resp.h"

static inline uint32_t resp_digit(const char *s)
{
    return (unsigned char)*s - (uint32_t)'0';
}

/* A length of up to five digits without sign or leading zero, and its line end: what follows begins where it returns;
 * NULL for another. At least five bytes must be there. Unrolled, for this is a third of parsing. */
static inline const char *resp_plain_length(const char *s, const char *end, uint32_t *value)
{
    uint32_t v = resp_digit(s);

    *value = v;
    if (v > 9)
        return NULL;
    if (s[1] == '\r')
        return s + 3;
    if (v == 0 || resp_digit(s + 1) > 9)
        return NULL;
    *value = v = v * 10 + resp_digit(s + 1);
    if (s[2] == '\r')
        return s + 4;
    if (end - s < 7)
        return NULL;
    s += 2;
    for (unsigned i = 0; i < 3 && resp_digit(s) <= 9; i++)
        v = v * 10 + resp_digit(s++);
    *value = v;
    return *s == '\r' ? s + 2 : NULL;
}

/* Parses a request of client that has logged in, if it is complete and has nothing unusual. False: resp_parse must look. */
static inline bool resp_parse_plain(const char *p, size_t n, const struct resp_limits *limits, struct arena *arena,
                                    struct resp_request *out)
{
    const char *end = p + n, *s;
    struct view *argv;
    uint32_t count, len;

    if (!limits->authenticated || n < 6 || *p != '*')
        return false;
    s = resp_plain_length(p + 1, end, &count);
    if (!s || count == 0 || count > n / 4 || count > limits->max_args)
        return false;
    argv = arena_alloc(arena, count * sizeof *argv);
    for (uint32_t i = 0; i < count; i++) {
        if (end - s < 6 || *s != '$')
            return false;
        s = resp_plain_length(s + 1, end, &len);
        if (!s || end - s < (ptrdiff_t)len + 2 || len > limits->max_bulk)
            return false;
        argv[i] = view_of(s, len);
        s += (size_t)len + 2;
    }
    out->argv = argv;
    out->argc = (int)count;
    out->consumed = (size_t)(s - p);
    return true;
}

#endif
