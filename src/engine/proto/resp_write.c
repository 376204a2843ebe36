/* Replies in RESP2 and RESP3. One encoder: what a client sent can only come back inside a length-prefixed string, or in
 * an error line without line ends (cmd/reply.c). */
#include <assert.h>
#include <stdio.h>
#include <sys/uio.h>

#include "base/copy.h"
#include "base/mem.h"
#include "base/num.h"
#include "engine/proto/resp.h"

static struct resp_writer *writer(struct reply *r)
{
    return (struct resp_writer *)r;
}

#define HEADER_MAX (1 + NUM_INT_MAX + 2)

static const char two_digits[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
    "49505152535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697"
    "9899";

/* Writes kind, number, CR LF at p; returns what is behind. format_short is for numbers below 100. */
static inline char *format_short(char *p, char kind, unsigned v)
{
    *p++ = kind;
    if (v < 10) {
        *p++ = (char)('0' + v);
    } else {
        memcpy(p, two_digits + 2 * v, 2);
        p += 2;
    }
    memcpy(p, "\r\n", 2);
    return p + 2;
}

static inline char *format_header(char *p, char kind, int64_t v)
{
    if (v >= 0 && v < 100)
        return format_short(p, kind, (unsigned)v);
    *p++ = kind;
    p += num_format_int(p, v);
    memcpy(p, "\r\n", 2);
    return p + 2;
}

static void put_header(struct buf *b, char kind, int64_t v)
{
    buf_reserve(b, HEADER_MAX);
    b->len = (size_t)(format_header(b->p + b->len, kind, v) - b->p);
}

static void put_line(struct buf *b, char kind, const char *p, size_t n)
{
    buf_reserve(b, n + 3);
    b->p[b->len++] = kind;
    memcpy(b->p + b->len, p, n);
    b->len += n;
    memcpy(b->p + b->len, "\r\n", 2);
    b->len += 2;
}

static __attribute__((noinline)) void write_long_bulk(struct buf *b, const char *p, size_t n)
{
    buf_reserve(b, HEADER_MAX + n + 2);
    b->len = (size_t)(format_header(b->p + b->len, '$', (int64_t)n) - b->p);
    buf_put(b, p, n);
    buf_put(b, LIT("\r\n"));
}

static void write_bulk(struct reply *r, const char *p, size_t n)
{
    struct buf *b = &writer(r)->buf;
    char *to;

    if (n > COPY_SHORT_MAX || b->cap - b->len < HEADER_MAX + COPY_SHORT_MAX + 2) {
        write_long_bulk(b, p, n);
        return;
    }
    to = format_short(b->p + b->len, '$', (unsigned)n);
    copy_short(to, p, n);
    to += n;
    memcpy(to, "\r\n", 2);
    b->len = (size_t)(to + 2 - b->p);
}

static void write_bulk_shared(struct reply *r, const char *p, size_t n, void *owner, void (*release)(void *owner))
{
    struct resp_writer *w = writer(r);

    put_header(&w->buf, '$', (int64_t)n);
    if (w->share_count == w->share_cap) {
        w->share_cap = w->share_cap ? 2 * w->share_cap : 4;
        w->shares = mem_realloc(w->shares, w->share_cap * sizeof *w->shares);
    }
    w->shares[w->share_count++] = (struct resp_share){w->buf.len, p, n, owner, release};
    w->shared_bytes += n;
    buf_put(&w->buf, LIT("\r\n"));
}

static void write_status(struct reply *r, const char *p, size_t n)
{
    put_line(&writer(r)->buf, '+', p, n);
}

static void write_error(struct reply *r, const char *p, size_t n)
{
    put_line(&writer(r)->buf, '-', p, n);
}

static void write_integer(struct reply *r, int64_t v)
{
    put_header(&writer(r)->buf, ':', v);
}

static void write_null(struct reply *r)
{
    if (r->resp == 2)
        buf_put(&writer(r)->buf, LIT("$-1\r\n"));
    else
        buf_put(&writer(r)->buf, LIT("_\r\n"));
}

static void write_null_array(struct reply *r)
{
    if (r->resp == 2)
        buf_put(&writer(r)->buf, LIT("*-1\r\n"));
    else
        buf_put(&writer(r)->buf, LIT("_\r\n"));
}

static void write_boolean(struct reply *r, bool v)
{
    if (r->resp == 2)
        write_integer(r, v);
    else
        put_line(&writer(r)->buf, '#', v ? "t" : "f", 1);
}

static void write_real(struct reply *r, double v)
{
    char text[NUM_DOUBLE_MAX];
    unsigned n = num_format_double(text, v);

    if (r->resp == 2)
        write_bulk(r, text, n);
    else
        put_line(&writer(r)->buf, ',', text, n);
}

static void write_verbatim(struct reply *r, const char *p, size_t n, const char ext[4])
{
    struct buf *b = &writer(r)->buf;

    if (r->resp == 2) {
        write_bulk(r, p, n);
        return;
    }
    put_header(b, '=', (int64_t)n + 4);
    buf_put(b, ext, 3);
    buf_put_char(b, ':');
    buf_put(b, p, n);
    buf_put(b, LIT("\r\n"));
}

/* RESP2 knows arrays only. */
static char kind_for(const struct reply *r, char kind, size_t *n)
{
    if (r->resp != 2)
        return kind;
    if (kind == '%')
        *n *= 2;
    return '*';
}

static void write_aggregate(struct reply *r, char kind, size_t n)
{
    kind = kind_for(r, kind, &n);
    put_header(&writer(r)->buf, kind, (int64_t)n);
}

static size_t write_mark(struct reply *r)
{
    return writer(r)->buf.len;
}

static void write_insert(struct reply *r, size_t mark, char kind, size_t n)
{
    struct resp_writer *w = writer(r);
    char text[NUM_INT_MAX + 3];
    unsigned len;

    text[0] = kind_for(r, kind, &n);
    len = 1 + num_format_int(text + 1, (int64_t)n);
    text[len++] = '\r';
    text[len++] = '\n';
    buf_reserve(&w->buf, len);
    memmove(w->buf.p + mark + len, w->buf.p + mark, w->buf.len - mark);
    memcpy(w->buf.p + mark, text, len);
    w->buf.len += len;
    for (unsigned i = w->share_count; i > 0 && w->shares[i - 1].at >= mark; i--)
        w->shares[i - 1].at += len;
}

static void write_raw(struct reply *r, const char *p, size_t n)
{
    buf_put(&writer(r)->buf, p, n);
}

static const struct reply_ops resp_ops = {
    .bulk = write_bulk,
    .bulk_shared = write_bulk_shared,
    .status = write_status,
    .error = write_error,
    .integer = write_integer,
    .null = write_null,
    .null_array = write_null_array,
    .boolean = write_boolean,
    .real = write_real,
    .verbatim = write_verbatim,
    .aggregate = write_aggregate,
    .mark = write_mark,
    .insert = write_insert,
    .raw = write_raw,
};

void resp_writer_init(struct resp_writer *w)
{
    memset(w, 0, sizeof *w);
    w->base.ops = &resp_ops;
    w->base.resp = 2;
}

void resp_writer_cut(struct resp_writer *w, size_t mark, unsigned shares)
{
    while (w->share_count > shares) {
        struct resp_share *s = &w->shares[--w->share_count];
        w->shared_bytes -= s->n;
        s->release(s->owner);
    }
    w->buf.len = mark;
}

void resp_writer_free(struct resp_writer *w)
{
    resp_writer_cut(w, w->buf.off, 0);
    mem_free(w->shares);
    w->shares = NULL;
    w->share_cap = 0;
    buf_free(&w->buf);
}

void resp_writer_move(struct resp_writer *to, struct resp_writer *from)
{
    size_t base = to->buf.len;

    assert(from->buf.off == 0);
    buf_put(&to->buf, from->buf.p, from->buf.len);
    for (unsigned i = 0; i < from->share_count; i++) {
        if (to->share_count == to->share_cap) {
            to->share_cap = to->share_cap ? 2 * to->share_cap : 4;
            to->shares = mem_realloc(to->shares, to->share_cap * sizeof *to->shares);
        }
        to->shares[to->share_count] = from->shares[i];
        to->shares[to->share_count++].at += base;
        to->shared_bytes += from->shares[i].n;
    }
    from->share_count = 0;
    from->shared_bytes = 0;
    resp_writer_free(from);
}

int resp_gather(const struct resp_writer *w, struct iovec *iov, int max)
{
    size_t at = w->buf.off;
    unsigned share = 0;
    int n = 0;

    while (n < max) {
        size_t end = share < w->share_count ? w->shares[share].at : w->buf.len;
        if (end > at)
            iov[n++] = (struct iovec){w->buf.p + at, end - at};
        at = end;
        if (share == w->share_count || n == max)
            break;
        if (w->shares[share].n)
            iov[n++] = (struct iovec){(void *)w->shares[share].p, w->shares[share].n};
        share++;
    }
    return n;
}

void resp_sent(struct resp_writer *w, size_t n)
{
    unsigned done = 0;

    while (n > 0 || (done < w->share_count && w->shares[done].n == 0)) {
        struct resp_share *s = done < w->share_count ? &w->shares[done] : NULL;
        size_t plain = (s ? s->at : w->buf.len) - w->buf.off;
        size_t take = n < plain ? n : plain;

        w->buf.off += take;
        n -= take;
        if (!s || w->buf.off < s->at)
            break;
        take = n < s->n ? n : s->n;
        s->p += take;
        s->n -= take;
        w->shared_bytes -= take;
        n -= take;
        if (s->n > 0)
            break;
        s->release(s->owner);
        done++;
    }
    if (done > 0) {
        w->share_count -= done;
        memmove(w->shares, w->shares + done, w->share_count * sizeof *w->shares);
    }
    if (w->share_count == 0 && w->buf.off == w->buf.len)
        buf_clear(&w->buf);
}
