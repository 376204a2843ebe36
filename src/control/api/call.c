/* Calls of the API: see call.h. */
#include "control/api/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "control/model/events.h"

struct txn *call_txn(struct api_call *c)
{
    if (!c->txn)
        c->txn = txn_begin(c->model);
    return c->txn;
}

int call_fail(struct api_call *c, int error, const char *fmt, ...)
{
    va_list ap;

    buf_clear(&c->message);
    va_start(ap, fmt);
    buf_vprintf(&c->message, fmt, ap);
    va_end(ap);
    return error;
}

static struct view vtext(struct arena *a, const char *fmt, va_list ap)
{
    va_list again;
    char *p;
    int n;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0)
        return VIEW("");
    p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    return view_of(p, (size_t)n);
}

struct view call_text(struct api_call *c, const char *fmt, ...)
{
    struct view text;
    va_list ap;

    va_start(ap, fmt);
    text = vtext(c->arena, fmt, ap);
    va_end(ap);
    return text;
}

void *call_zalloc(struct api_call *c, size_t n)
{
    void *p = arena_alloc(c->arena, n > 0 ? n : 1);

    memset(p, 0, n);
    return p;
}

struct view call_arn(struct api_call *c, const char *kind, struct view id)
{
    return call_text(c, "arn:%.*s:elasticache:%.*s:%.*s:%s:%.*s", CALL_TEXT(c->api->partition),
                     CALL_TEXT(c->account->region), CALL_TEXT(c->account->id), kind, CALL_TEXT(id));
}

struct view call_ec2_arn(struct api_call *c, const char *kind, struct view id)
{
    return call_text(c, "arn:%.*s:ec2:%.*s:%.*s:%s/%.*s", CALL_TEXT(c->api->partition), CALL_TEXT(c->account->region),
                     CALL_TEXT(c->account->id), kind, CALL_TEXT(id));
}

struct view call_new_id(struct api_call *c, const char *prefix)
{
    char digits[19];

    random_hex(digits, 18);
    return call_text(c, "%s%.17s", prefix, digits);
}

void call_event(struct api_call *c, const char *source_type, struct view source, const char *fmt, ...)
{
    struct view message;
    va_list ap;

    va_start(ap, fmt);
    message = vtext(c->arena, fmt, ap);
    va_end(ap);
    events_add(call_txn(c), c->model, source_type, source, message, c->now_ms);
}

/* ---- pages ---- */

/* A marker is the last id in hexadecimal digits: nobody should build on what it looks like. */
static int digit_value(char d)
{
    return d >= '0' && d <= '9' ? d - '0' : d >= 'a' && d <= 'f' ? d - 'a' + 10 : -1;
}

bool page_begin(struct page *p, struct api_call *c, struct view marker, int64_t limit)
{
    char *id;

    *p = (struct page){.limit = (size_t)limit};
    if (!marker.p || marker.n == 0)
        return true;
    if (marker.n % 2 != 0 || marker.n > 1024)
        return false;
    id = arena_alloc(c->arena, marker.n / 2);
    for (size_t i = 0; i < marker.n / 2; i++) {
        int high = digit_value(marker.p[2 * i]), low = digit_value(marker.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        id[i] = (char)(high << 4 | low);
    }
    p->after = view_of(id, marker.n / 2);
    return true;
}

static bool is_after(struct view id, struct view mark)
{
    size_t n = id.n < mark.n ? id.n : mark.n;
    int order = memcmp(id.p, mark.p, n);

    return order > 0 || (order == 0 && id.n > mark.n);
}

bool page_take(struct page *p, struct view id)
{
    if (p->after.p && !is_after(id, p->after))
        return false;
    if (p->taken == p->limit) {
        p->more = true;
        return false;
    }
    p->taken++;
    p->last = id;
    return true;
}

struct view page_marker(const struct page *p, struct api_call *c)
{
    char *text;

    if (!p->more)
        return (struct view){0};
    text = arena_alloc(c->arena, 2 * p->last.n + 1);
    for (size_t i = 0; i < p->last.n; i++)
        snprintf(text + 2 * i, 3, "%02x", (unsigned char)p->last.p[i]);
    return view_of(text, 2 * p->last.n);
}
