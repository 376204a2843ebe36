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
