/* Requests in RESP and inline form (https://redis.io/docs/reference/protocol-spec/). Error texts are Redis's. */

#include <stddef.h>
#include <stdio.h>

#include "base/escape.h"
#include "base/mem.h"
#include "base/num.h"
#include "engine/proto/resp.h"
#include "engine/proto/resp_plain.h"

#define INLINE_MAX 65536
#define LOGIN_ARGS 10
#define LOGIN_BULK 16384
#define PARTIAL_MIN 64 /* shorter arrays are parsed again */

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

/* What to say about a line that begins with an array's or a string's length. */
struct length_errors {
    const char *too_long, *invalid;
};
static const struct length_errors count_errors = {"too big mbulk count string", "invalid multibulk length"};
static const struct length_errors bulk_errors = {"too big bulk count string", "invalid bulk length"};

/* Reads the integer of a "*3\r\n" or "$5\r\n" line behind its first byte at p + *at. */
static enum resp_parsed length(const char *p, size_t n, size_t *at, int64_t *value, struct resp_request *out,
                               const struct length_errors *errors)
{
    const char *s = p + *at + 1, *end = memchr(p + *at, '\r', n - *at);

    if (!end)
        return n - *at > INLINE_MAX ? bad(out, errors->too_long) : more(out, n + 1);
    if (end + 1 == p + n)
        return more(out, n + 1);
    if (!num_parse_int(view_of(s, (size_t)(end - s)), value))
        return bad(out, errors->invalid);
    *at = (size_t)(end - p) + 2;
    return RESP_DONE;
}

/* Parses the string at p + *at, and moves *at behind it when it is whole; *arg is where it stands in the input. */
static enum resp_parsed parse_bulk(const char *p, size_t n, size_t *at, const struct resp_limits *limits,
                                   struct view *arg, struct resp_request *out)
{
    enum resp_parsed rc;
    size_t text = *at; /* where the bytes begin */
    int64_t len;

    if (*at >= n)
        return more(out, n + 1);
    if (p[*at] != '$') {
        char line[40];
        snprintf(line, sizeof line, "expected '$', got '%c'", p[*at]);
        return bad(out, line);
    }
    rc = length(p, n, &text, &len, out, &bulk_errors);
    if (rc != RESP_DONE)
        return rc;
    if (len < 0 || len > limits->max_bulk)
        return bad(out, "invalid bulk length");
    if (len > LOGIN_BULK && !limits->authenticated)
        return bad(out, "unauthenticated bulk length");
    if (n - text < (size_t)len + 2)
        return more(out, text + (size_t)len + 2);
    *arg = view_of(p + text, (size_t)len);
    *at = text + (size_t)len + 2;
    return RESP_DONE;
}

void resp_partial_free(struct resp_partial *partial)
{
    mem_free(partial->pieces);
    *partial = (struct resp_partial){0};
}

/* Goes on with an array of partial->count arguments where the last call ended. */
static enum resp_parsed parse_partial(const char *p, size_t n, const struct resp_limits *limits, struct arena *arena,
                                      struct resp_partial *partial, struct resp_request *out)
{
    struct view arg = {0};

    while (partial->done < partial->count) {
        enum resp_parsed rc = parse_bulk(p, n, &partial->at, limits, &arg, out);
        if (rc != RESP_DONE)
            return rc;
        if (partial->done == partial->cap) {
            partial->cap = partial->cap ? 2 * partial->cap : 2 * PARTIAL_MIN;
            partial->pieces = mem_realloc(partial->pieces, partial->cap * sizeof *partial->pieces);
        }
        partial->pieces[partial->done++] = (struct resp_piece){(size_t)(arg.p - p), arg.n};
    }
    out->argc = (int)partial->count;
    out->consumed = partial->at;
    out->argv = arena_alloc(arena, partial->count * sizeof *out->argv);
    for (size_t i = 0; i < partial->count; i++)
        out->argv[i] = view_of(p + partial->pieces[i].at, partial->pieces[i].n);
    resp_partial_free(partial);
    return RESP_DONE;
}

static enum resp_parsed parse_array(const char *p, size_t n, const struct resp_limits *limits, struct arena *arena,
                                    struct resp_partial *partial, struct resp_request *out)
{
    enum resp_parsed rc;
    int64_t count, fitting;
    size_t at = 0;

    rc = length(p, n, &at, &count, out, &count_errors);
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
    if (count > PARTIAL_MIN && partial) {
        partial->count = (size_t)count;
        partial->at = at;
        return parse_partial(p, n, limits, arena, partial, out);
    }
    fitting = (int64_t)((n - at) / 4) + 1; /* an argument takes more than four bytes: no array for what cannot be */
    if (fitting > count)
        fitting = count;
    out->argv = arena_alloc(arena, (size_t)fitting * sizeof *out->argv);
    for (int64_t i = 0; i < fitting; i++) {
        rc = parse_bulk(p, n, &at, limits, &out->argv[i], out);
        if (rc != RESP_DONE)
            return rc;
    }
    if (fitting < count)
        return more(out, n + 1);
    out->argc = (int)count;
    out->consumed = at;
    return RESP_DONE;
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
            to[n++] = escape_decode(s, end, &used);
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
        } else if (!quote && strchr(" \t\r\n", *s)) { /* and NUL, the literal's end; not the rarer spaces */
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

    if (newline ? newline - p > INLINE_MAX : n > INLINE_MAX)
        return bad(out, "too big inline request");
    if (!newline)
        return more(out, n + 1);
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
                            struct resp_partial *partial, struct resp_request *out)
{
    if (n == 0)
        return more(out, 1);
    if (*p != '*')
        return parse_inline(p, n, arena, out);
    if (partial && partial->count > 0)
        return parse_partial(p, n, limits, arena, partial, out);
    if (resp_parse_plain(p, n, limits, arena, out))
        return RESP_DONE;
    return parse_array(p, n, limits, arena, partial, out);
}
