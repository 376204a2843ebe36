/*
 * How much a command may do: what big work costs, in the microseconds that call_may_take asks for, and how long a string
 * may grow. Prices are those of an ordinary core on memory it has not seen, rounded to powers of two: they decide only
 * whether a worker does it or the slow lane.
 */
#ifndef CMD_WORK_H
#define CMD_WORK_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/cmd/call.h"
#include "engine/server/config.h"
#include "engine/server/server.h"
#include "engine/store/item.h"

#define WORK_REMAP_MIN (1u << 20) /* blobs of at least this many bytes grow without copying (blob_grow) */

/* Copying n bytes into new memory. */
static inline uint64_t work_copy(size_t n)
{
    return n >> 12;
}

/* Reading n bytes. */
static inline uint64_t work_scan(size_t n)
{
    return n >> 14;
}

/* Finding, and replying with or storing, n small values. */
static inline uint64_t work_keys(size_t n)
{
    return n >> 2;
}

/* string_resize of that string (NULL: an absent one) to n bytes, n at least its length. */
static inline uint64_t work_resize(const struct item *it, size_t n)
{
    const struct blob *b = it && (it->flags & ITEM_BLOB) ? item_blob(it) : NULL;

    /* One that is not shared stays where it is, or grows by moving its page tables. */
    if (b && atomic_load_explicit(&b->refs, memory_order_relaxed) == 1 && (n <= b->cap || b->len >= WORK_REMAP_MIN))
        return work_copy(n - b->len);
    return work_copy(n);
}

/* call_may_take, without the call for work that costs nothing to speak of. */
static inline bool work_allowed(struct call *c, uint64_t cost_us)
{
    return cost_us == 0 || call_may_take(c, cost_us);
}

/* proto-max-bulk-len. */
static inline int64_t work_string_max(const struct call *c)
{
    return atomic_load_explicit(&c->server->config->proto_max_bulk_len, memory_order_relaxed);
}

#endif
