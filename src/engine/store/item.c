/* Items and blobs: see item.h for the layout. */
#include "engine/store/item.h"

#include <stdatomic.h>

#include "base/checked.h"
#include "base/mem.h"
#include "engine/store/access.h"
#include "engine/store/heap.h"
#include "engine/store/thread.h"

/* Blobs from this size on live in maps of their own: they arrive zeroed, and growing moves page tables, not bytes. */
#define BLOB_MAP_MIN (1u << 20)

static size_t map_size(size_t cap)
{
    return (sizeof(struct blob) + cap + 4095) & ~(size_t)4095;
}

struct blob *blob_new_zeroed(size_t len, size_t cap)
{
    struct blob *b;
    size_t size;

    if (!checked_size_add(cap, sizeof *b + 4096, &size))
        return NULL;
    if (cap >= BLOB_MAP_MIN) {
        b = mem_try_map(map_size(cap));
        if (!b)
            return NULL;
    } else {
        b = mem_try(sizeof *b + cap);
        if (!b)
            return NULL;
        memset(b->bytes, 0, cap);
    }
    atomic_init(&b->refs, 1);
    b->len = len;
    b->cap = cap;
    return b;
}

struct blob *blob_new(size_t len, size_t cap)
{
    struct blob *b;

    if (cap >= BLOB_MAP_MIN)
        return blob_new_zeroed(len, cap);
    b = mem_try(sizeof *b + cap);
    if (!b)
        return NULL;
    atomic_init(&b->refs, 1);
    b->len = len;
    b->cap = cap;
    return b;
}

struct blob *blob_grow(struct blob *b, size_t cap)
{
    struct blob *grown;

    if (b->cap < BLOB_MAP_MIN) {
        grown = cap < BLOB_MAP_MIN ? mem_try_realloc(b, sizeof *b + cap) : blob_new(b->len, cap);
        if (!grown)
            return NULL;
        if (cap >= BLOB_MAP_MIN) {
            memcpy(grown->bytes, b->bytes, b->len);
            mem_free(b);
        }
    } else {
        grown = mem_try_remap(b, map_size(b->cap), map_size(cap));
        if (!grown)
            return NULL;
    }
    grown->cap = cap;
    return grown;
}

struct blob *blob_ref(struct blob *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

static void blob_free(struct blob *b)
{
    if (b->cap < BLOB_MAP_MIN) {
        mem_free(b);
        return;
    }
    mem_unmap(b, map_size(b->cap));
}

void blob_unref(struct blob *b)
{
    if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
        blob_free(b);
}

struct item *item_new_block(struct thread *t, size_t size)
{
    return size <= ITEM_BLOCK_MAX ? heap_alloc(t->heap, size) : mem_alloc(size);
}

static void block_free(struct thread *t, struct item *it, size_t size)
{
    if (size <= ITEM_BLOCK_MAX)
        heap_free(t->heap, it, size);
    else
        mem_free(it);
}

/* A block with header, expiry and key written, for a value area of value_len bytes. */
static struct item *item_new(struct thread *t, struct view key, size_t value_len, int64_t expiry, unsigned flags)
{
    struct item *it = item_new_block(t, item_block_size(key.n, value_len, expiry >= 0));
    uint32_t n = (uint32_t)key.n;
    uint8_t *p = it->tail;

    it->type = ITEM_STRING;
    it->form = ITEM_FORM_PLAIN;
    it->flags = (uint8_t)(flags | (expiry >= 0 ? ITEM_EXPIRES : 0) | (key.n >= ITEM_KEY_SHORT ? ITEM_LONG_KEY : 0));
    it->value_len = (uint16_t)value_len;
    it->access = access_now() & 0xffffff;
    it->key_len = (uint8_t)key.n;
    if (expiry >= 0) {
        memcpy(p, &expiry, 8);
        p += 8;
    }
    if (key.n >= ITEM_KEY_SHORT) {
        memcpy(p, &n, 4);
        p += 4;
    }
    memcpy(p, key.p, key.n);
    return it;
}

static struct item *item_new_blob(struct thread *t, struct view key, struct blob *b, int64_t expiry)
{
    struct item *it = item_new(t, key, sizeof b, expiry, ITEM_BLOB);

    it->value_len = 0;
    memcpy(item_value(it), &b, sizeof b);
    return it;
}

struct item *item_new_string(struct thread *t, struct view key, size_t value_len, int64_t expiry)
{
    struct blob *b;

    if (value_len <= ITEM_BLOCK_MAX && item_block_size(key.n, value_len, true) <= ITEM_BLOCK_MAX)
        return item_new(t, key, value_len, expiry, 0);
    b = blob_new(value_len, value_len);
    return b ? item_new_blob(t, key, b, expiry) : NULL;
}

struct item *item_copy(struct thread *t, struct view key, const struct item *from, int64_t expiry)
{
    struct view value = item_string(from);
    struct item *it = item_new_string(t, key, value.n, expiry);

    if (!it)
        return NULL;
    memcpy(item_bytes(it), value.p, value.n);
    it->form = from->form;
    it->access = from->access;
    return it;
}

struct item *item_move(struct thread *t, struct view key, struct item *from, int64_t expiry)
{
    struct item *it;

    if (!(from->flags & ITEM_BLOB)) {
        it = item_copy(t, key, from, expiry);
    } else {
        it = item_new_blob(t, key, item_blob(from), expiry);
        it->form = from->form;
        it->access = from->access;
    }
    if (it)
        item_free_block(t, from);
    return it;
}

void item_free_block(struct thread *t, struct item *it)
{
    block_free(t, it, item_size(it));
}

void item_free(struct thread *t, struct item *it)
{
    struct blob *b = (it->flags & ITEM_BLOB) ? item_blob(it) : NULL;

    block_free(t, it, item_size(it));
    if (b)
        blob_unref(b);
}

size_t item_memory(const struct item *it)
{
    size_t n = item_size(it);

    n = n <= ITEM_BLOCK_MAX ? (n + 7) & ~(size_t)7 : mem_size(it);
    if (it->flags & ITEM_BLOB) {
        const struct blob *b = item_blob(it);
        n += b->cap >= BLOB_MAP_MIN ? map_size(b->cap) : mem_size(b);
    }
    return n;
}
