/* The parts of a reply that are the same in every protocol. */
#include "engine/cmd/reply.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/num.h"

const char *error_format(enum error_id id)
{
    static const char *const formats[] = {
#define X(name, text) [name] = text,
        ERROR_TABLE(X)
#undef X
    };
    return formats[id];
}

void reply_bulk_integer(struct reply *r, int64_t v)
{
    char text[NUM_INT_MAX];

    r->ops->bulk(r, text, num_format_int(text, v));
}

static void send_error(struct reply *r, char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] == '\r' || text[i] == '\n')
            text[i] = ' ';
    r->errors++;
    if (r->on_error)
        r->on_error(r->on_error_arg, view_of(text, n));
    r->ops->error(r, text, n);
}

void reply_error(struct reply *r, enum error_id id, ...)
{
    char text[ERROR_LINE_MAX];
    va_list ap;
    int n;

    va_start(ap, id);
    n = vsnprintf(text, sizeof text, error_format(id), ap);
    va_end(ap);
    send_error(r, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1);
}

void reply_error_text(struct reply *r, const char *text)
{
    reply_error(r, ERROR_TEXT, text);
}

/* ---- the sink ---- */

static void sink_bytes(struct reply *r, const char *p, size_t n)
{
    (void)r;
    (void)p;
    (void)n;
}

static void sink_shared(struct reply *r, const char *p, size_t n, void *owner, void (*release)(void *owner))
{
    sink_bytes(r, p, n);
    release(owner);
}

static void sink_integer(struct reply *r, int64_t v)
{
    (void)r;
    (void)v;
}

static void sink_nothing(struct reply *r)
{
    (void)r;
}

static void sink_boolean(struct reply *r, bool v)
{
    (void)r;
    (void)v;
}

static void sink_real(struct reply *r, double v)
{
    (void)r;
    (void)v;
}

static void sink_verbatim(struct reply *r, const char *p, size_t n, const char ext[4])
{
    (void)ext;
    sink_bytes(r, p, n);
}

static void sink_aggregate(struct reply *r, char kind, size_t n)
{
    (void)r;
    (void)kind;
    (void)n;
}

static size_t sink_mark(struct reply *r)
{
    (void)r;
    return 0;
}

static void sink_insert(struct reply *r, size_t mark, char kind, size_t n)
{
    (void)mark;
    sink_aggregate(r, kind, n);
}

void reply_sink_init(struct reply *r)
{
    static const struct reply_ops ops = {
        .bulk = sink_bytes,
        .bulk_shared = sink_shared,
        .status = sink_bytes,
        .error = sink_bytes, /* who wrote it has counted it, and told of it */
        .integer = sink_integer,
        .null = sink_nothing,
        .null_array = sink_nothing,
        .boolean = sink_boolean,
        .real = sink_real,
        .verbatim = sink_verbatim,
        .aggregate = sink_aggregate,
        .mark = sink_mark,
        .insert = sink_insert,
        .raw = sink_bytes,
    };

    *r = (struct reply){.ops = &ops, .resp = 2};
}
