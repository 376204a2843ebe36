/*
 * A growing byte buffer with a consumed prefix: bytes are appended at the end and taken from the front. Buffers of
 * BUF_MAP_MIN bytes and more live in memory maps of their own, so that growing one moves page tables, never megabytes.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/view.h"

#define BUF_MAP_MIN (1u << 20)

/* All zero is an empty buffer. Bytes [off, len) are live. */
struct buf {
    char *p;
    size_t off, len, cap;
};

/* Makes room for n more bytes behind len; -1 when there is no memory, the buffer unchanged. */
int buf_try_reserve(struct buf *b, size_t n);

/* The same, aborting on failure. */
void buf_reserve_slow(struct buf *b, size_t n);

/* Frees the memory; the buffer is empty and usable. */
void buf_free(struct buf *b);

/* Drops the consumed prefix, and gives memory back when the buffer holds far more than it needs. */
void buf_compact(struct buf *b);

/* Appends printf output. */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap);

static inline size_t buf_live(const struct buf *b)
{
    return b->len - b->off;
}

/* NULL for an empty buffer that has no memory: to NULL not even 0 may be added. */
static inline char *buf_head(const struct buf *b)
{
    return b->off == 0 ? b->p : b->p + b->off;
}

static inline struct view buf_view(const struct buf *b)
{
    return view_of(buf_head(b), buf_live(b));
}

static inline void buf_reserve(struct buf *b, size_t n)
{
    if (__builtin_expect(b->cap - b->len < n, 0))
        buf_reserve_slow(b, n);
}

static inline void buf_put(struct buf *b, const void *p, size_t n)
{
    buf_reserve(b, n);
    if (n != 0)
        memcpy(b->p + b->len, p, n);
    b->len += n;
}

static inline void buf_put_view(struct buf *b, struct view v)
{
    buf_put(b, v.p, v.n);
}

static inline void buf_put_char(struct buf *b, char c)
{
    buf_reserve(b, 1);
    b->p[b->len++] = c;
}

/* Marks n live bytes as consumed; an empty buffer starts over. */
static inline void buf_consume(struct buf *b, size_t n)
{
    b->off += n;
    if (b->off == b->len)
        b->off = b->len = 0;
}

static inline void buf_clear(struct buf *b)
{
    b->off = b->len = 0;
}

#endif
