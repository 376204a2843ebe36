/* Requests in RESP and inline form (https://redis.io/docs/reference/protocol-spec/). Error texts are Redis's. */

#include <stdio.h>

#include "base/num.h"
#include "engine/proto/resp.h"

#define INLINE_MAX 65536
#define LOGIN_ARGS 10
#define LOGIN_BULK 16384

static enum resp_parsed bad(struct resp_request *out, const char *text)
{
    snprintf(out->error, sizeof out->error, "ERR Protocol error: %s", text);
    return RESP_BAD;
}

static enum resp_parsed more(struct resp_request *out, size_t need)
{
    out->need = need;
    return RESP_MORE;
}

/* Reads the integer of a "*3\r\n" or "$5\r\n" line behind its first byte. The fast case is one or two digits. */
static enum resp_parsed header(const char *p, size_t n, size_t *at, int64_t *value, struct resp_request *out,
                               const char *too_long, const char *invalid)
{
    const char *s = p + *at + 1, *end;

    if (n - *at >= 4 && s[1] == '\r' && s[0] >= '0' && s[0] <= '9') {
        *value = s[0] - '0';
        *at += 4;
        return RESP_DONE;
    }
    end = memchr(p + *at, '\r', n - *at);
    if (!end)
        return n - *at > INLINE_MAX ? bad(out, too_long) : more(out, n + 1);
    if (end + 1 == p + n)
        return more(out, n + 1);
    if (!num_parse_int(view_of(s, (size_t)(end - s)), value))
        return bad(out, invalid);
    *at = (size_t)(end - p) + 2;
    return RESP_DONE;
}

static enum resp_parsed parse_array(const char *p, size_t n, const struct resp_limits *limits, struct arena *arena,
                                    struct resp_request *out)
{
    enum resp_parsed rc;
    int64_t count, len;
    size_t at = 0;

    rc = header(p, n, &at, &count, out, "too big mbulk count string", "invalid multibulk length");
    if (rc != RESP_DONE)
        return rc;
    if (count > limits->max_args)
        return bad(out, "invalid multibulk length");
    if (count > LOGIN_ARGS && !limits->authenticated)
        return bad(out, "unauthenticated multibulk length");
    out->argc = 0;
    out->consumed = at;
    if (count <= 0)
        return RESP_DONE;
    if ((size_t)count > (n - at) / 4 + 1) /* every argument takes more than four bytes: no array for what cannot be */
        count = (int64_t)((n - at) / 4 + 1), out->argc = -1;
    out->argv = arena_alloc(arena, (size_t)count * sizeof *out->argv);
    for (int64_t i = 0; i < count; i++) {
        if (at >= n)
            return more(out, n + 1);
        if (p[at] != '$') {
            char text[40];
            snprintf(text, sizeof text, "expected '$', got '%c'", p[at]);
            return bad(out, text);
        }
        rc = header(p, n, &at, &len, out, "too big bulk count string", "invalid bulk length");
        if (rc != RESP_DONE)
            return rc;
        if (len < 0 || len > limits->max_bulk)
            return bad(out, "invalid bulk length");
        if (len > LOGIN_BULK && !limits->authenticated)
            return bad(out, "unauthenticated bulk length");
        if (n - at < (size_t)len + 2)
            return more(out, at + (size_t)len + 2);
        out->argv[i] = view_of(p + at, (size_t)len);
        at += (size_t)len + 2;
    }
    if (out->argc == -1)
        return more(out, n + 1);
    out->argc = (int)count;
    out->consumed = at;
    return RESP_DONE;
}

static int hex_digit(char c)
{
    c = ascii_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that a backslash sequence at s stands for; *used is its length. */
static char unescape(const char *s, const char *end, size_t *used)
{
    *used = 2;
    if (end - s >= 4 && s[1] == 'x' && hex_digit(s[2]) >= 0 && hex_digit(s[3]) >= 0) {
        *used = 4;
        return (char)(hex_digit(s[2]) * 16 + hex_digit(s[3]));
    }
    switch (s[1]) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return s[1];
    }
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* One argument of an inline line into `to`; NULL when its quotes do not balance, else where it ended. */
static const char *inline_argument(const char *s, const char *end, char *to, size_t *len)
{
    char quote = 0;
    size_t n = 0, used;

    for (; s < end; s += used) {
        used = 1;
        if (quote == '"' && *s == '\\' && s + 1 < end) {
            to[n++] = unescape(s, end, &used);
        } else if (quote == '\'' && *s == '\\' && s + 1 < end && s[1] == '\'') {
            to[n++] = '\'';
            used = 2;
        } else if (quote && *s == quote) {
            if (s + 1 < end && !is_space(s[1]))
                return NULL;
            *len = n;
            return s + 1;
        } else if (!quote && (*s == '"' || *s == '\'')) {
            quote = *s;
        } else if (!quote && (is_space(*s) || *s == '\0')) {
            break;
        } else {
            to[n++] = *s;
        }
    }
    *len = n;
    return quote ? NULL : s;
}

static enum resp_parsed parse_inline(const char *p, size_t n, struct arena *arena, struct resp_request *out)
{
    const char *newline = memchr(p, '\n', n), *end = newline, *s = p;
    char *bytes;

    if (!newline)
        return n > INLINE_MAX ? bad(out, "too big inline request") : more(out, n + 1);
    if (end > p && end[-1] == '\r')
        end--;
    out->consumed = (size_t)(newline - p) + 1;
    out->argc = 0;
    out->argv = arena_alloc(arena, ((size_t)(end - p) / 2 + 1) * sizeof *out->argv);
    bytes = arena_alloc(arena, (size_t)(end - p) + 1);
    for (;;) {
        size_t len;
        while (s < end && is_space(*s))
            s++;
        if (s == end || *s == '\0')
            return RESP_DONE;
        s = inline_argument(s, end, bytes, &len);
        if (!s)
            return bad(out, "unbalanced quotes in request");
        out->argv[out->argc++] = view_of(bytes, len);
        bytes += len;
    }
}

enum resp_parsed resp_parse(const char *p, size_t n, const struct resp_limits *limits, struct arena *arena,
                            struct resp_request *out)
{
    if (n == 0)
        return more(out, 1);
    return *p == '*' ? parse_array(p, n, limits, arena, out) : parse_inline(p, n, arena, out);
}
