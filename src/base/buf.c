/*
 * Growing buffers. cap says where the memory lives: below BUF_MAP_MIN it is an ordinary block that doubles, from there
 * on a map in whole pages that grows by half, because growing a map is cheap and its whole size counts as used. Growth
 * never moves the live bytes within the buffer (offsets stay valid, pointers do not); only buf_compact does.
 */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/mem.h"

#define CAP_FIRST 64
#define CAP_KEEP (16u << 10) /* compaction leaves capacities up to this one alone */
#define PAGE_ROUND 65536     /* the largest page size of the supported machines */

static bool is_mapped(const struct buf *b)
{
    return b->cap >= BUF_MAP_MIN;
}

static void release(struct buf *b)
{
    if (is_mapped(b))
        mem_unmap(b->p, b->cap);
    else
        mem_free(b->p);
}

/* Moves the buffer to memory of exactly cap bytes (in whole pages for a map), cap >= len; -1 when there is none. */
static int set_cap(struct buf *b, size_t cap)
{
    bool map = cap >= BUF_MAP_MIN;
    char *p;

    if (map == is_mapped(b)) {
        p = map ? mem_try_remap(b->p, b->cap, cap) : mem_try_realloc(b->p, cap);
        if (p == NULL)
            return -1;
    } else {
        p = map ? mem_try_map(cap) : mem_try(cap);
        if (p == NULL)
            return -1;
        if (b->len != b->off)
            memcpy(p + b->off, b->p + b->off, b->len - b->off);
        release(b);
    }
    b->p = p;
    b->cap = cap;
    return 0;
}

/* The capacity for a buffer that must hold need bytes; 0 when that is more than can be addressed. */
static size_t grown_cap(size_t cap, size_t need)
{
    size_t more = cap + (cap >= BUF_MAP_MIN ? cap / 2 : cap);

    if (more < need)
        more = need;
    if (more < CAP_FIRST)
        return CAP_FIRST;
    if (more < BUF_MAP_MIN)
        return more;
    if (more > PTRDIFF_MAX - PAGE_ROUND)
        return 0;
    return (more + PAGE_ROUND - 1) & ~(size_t)(PAGE_ROUND - 1);
}

int buf_try_reserve(struct buf *b, size_t n)
{
    size_t need, cap;

    if (b->cap - b->len >= n)
        return 0;
    if (!checked_size_add(b->len, n, &need) || (cap = grown_cap(b->cap, need)) == 0)
        return -1;
    return set_cap(b, cap);
}

void buf_reserve_slow(struct buf *b, size_t n)
{
    if (buf_try_reserve(b, n) == 0)
        return;
    fprintf(stderr, "Out of memory growing a buffer of %zu bytes by %zu\n", b->len, n);
    abort();
}

void buf_free(struct buf *b)
{
    release(b);
    *b = (struct buf){0};
}

void buf_compact(struct buf *b)
{
    size_t live = buf_live(b);

    if (live == 0 && b->cap > CAP_KEEP) {
        buf_free(b);
        return;
    }
    if (b->off > 0) {
        memmove(b->p, b->p + b->off, live);
        b->off = 0;
        b->len = live;
    }
    /* Without memory for the smaller block, the larger one stays. */
    if (b->cap > CAP_KEEP && b->cap / 4 > live)
        (void)set_cap(b, grown_cap(0, live * 2 > CAP_KEEP ? live * 2 : CAP_KEEP));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    int n;

    va_copy(again, ap);
    buf_reserve(b, 1);
    n = vsnprintf(b->p + b->len, b->cap - b->len, fmt, ap);
    if (n < 0)
        abort();
    if ((size_t)n >= b->cap - b->len) {
        buf_reserve(b, (size_t)n + 1);
        vsnprintf(b->p + b->len, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    b->len += (size_t)n;
}
