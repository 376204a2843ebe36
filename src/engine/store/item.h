/*
 * An item is one block: header, optional fields, key, then the value or a reference to it.
 *
 *     struct item (8 bytes) | expiry, 8 bytes, if ITEM_EXPIRES | key length, 4 bytes, if ITEM_LONG_KEY | key | value
 *
 * The value of a string is its bytes while the whole block is at most ITEM_BLOCK_MAX; longer ones are a struct blob
 * outside (ITEM_BLOB). Types to come keep a packed encoding or one pointer in the same place. Items move: only their
 * bucket slot refers to them, and only under their partition's lock.
 */
#ifndef STORE_ITEM_H
#define STORE_ITEM_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/view.h"

struct thread;

#define ITEM_BLOCK_MAX 2048 /* larger blocks come from the general allocator and do not move */
#define ITEM_KEY_SHORT 255  /* keys shorter than this keep their length in the header */

enum item_type { ITEM_STRING, ITEM_LIST, ITEM_SET, ITEM_ZSET, ITEM_HASH, ITEM_STREAM, ITEM_TYPES };

enum item_flag {
    ITEM_EXPIRES = 1,  /* an expiry field follows the header */
    ITEM_LONG_KEY = 2, /* a 4-byte key length follows */
    ITEM_BLOB = 4,     /* the value area holds a struct blob pointer */
};

/* How OBJECT ENCODING speaks of a string; the bytes are stored alike. */
enum item_form {
    ITEM_FORM_PLAIN,  /* int when the bytes spell an integer, else embstr or raw by length */
    ITEM_FORM_RAW,    /* was modified in place: raw at any length */
    ITEM_FORM_EMBSTR, /* never int: embstr or raw by length */
};

struct item {
    uint8_t type : 4, form : 4; /* enum item_type, enum item_form */
    uint8_t flags;              /* enum item_flag */
    uint16_t value_len;         /* bytes of an inline value; 0 with ITEM_BLOB */
    uint32_t access : 24;       /* clock of LRU, or LFU's {minutes 16, counter 8} */
    uint32_t key_len : 8;       /* with ITEM_LONG_KEY unused */
    uint8_t tail[];
};

/* A value of its own, shared with replies that are being sent: immutable while refs > 1. */
struct blob {
    _Atomic uint64_t refs;
    size_t len, cap;
    char bytes[];
};

static inline unsigned item_expiry_size(const struct item *it)
{
    return (it->flags & ITEM_EXPIRES) ? 8 : 0;
}

static inline struct view item_key(const struct item *it)
{
    const uint8_t *p = it->tail + item_expiry_size(it);
    uint32_t n = it->key_len;

    if (it->flags & ITEM_LONG_KEY) {
        memcpy(&n, p, 4);
        p += 4;
    }
    return view_of((const char *)p, n);
}

/* Where the value area starts. */
static inline char *item_value(const struct item *it)
{
    struct view k = item_key(it);
    return (char *)k.p + k.n;
}

/* Expiry in milliseconds since the epoch, or -1 for none. */
static inline int64_t item_expiry(const struct item *it)
{
    int64_t at = -1;

    if (it->flags & ITEM_EXPIRES)
        memcpy(&at, it->tail, 8);
    return at;
}

static inline struct blob *item_blob(const struct item *it)
{
    struct blob *b;
    memcpy(&b, item_value(it), sizeof b);
    return b;
}

/* The bytes of a string item. */
static inline struct view item_string(const struct item *it)
{
    if (it->flags & ITEM_BLOB) {
        struct blob *b = item_blob(it);
        return view_of(b->bytes, b->len);
    }
    return view_of(item_value(it), it->value_len);
}

/* Block size in bytes for a key and an inline value area of these sizes. */
static inline size_t item_block_size(size_t key_len, size_t value_len, bool expires)
{
    return sizeof(struct item) + (expires ? 8 : 0) + (key_len >= ITEM_KEY_SHORT ? 4 : 0) + key_len + value_len;
}

/* Size of the block that it occupies. */
static inline size_t item_size(const struct item *it)
{
    return (size_t)(item_value(it) - (const char *)it) +
           ((it->flags & ITEM_BLOB) ? sizeof(struct blob *) : it->value_len);
}

/*
 * A new string item for key, not yet in any table, its bytes uninitialised and writable through item_bytes. expiry in
 * ms since the epoch, -1 for none. NULL when there is no memory for a value this long.
 */
struct item *item_new_string(struct thread *t, struct view key, size_t value_len, int64_t expiry);

/* The writable bytes of a string item; with a blob only while it is not shared (item_unshare). */
static inline char *item_bytes(struct item *it)
{
    return (it->flags & ITEM_BLOB) ? item_blob(it)->bytes : item_value(it);
}

/* Frees the item and what it refers to. */
void item_free(struct thread *t, struct item *it);

/* A block of that size, uninitialised, from the slab or, above ITEM_BLOCK_MAX, from the general allocator. */
struct item *item_new_block(struct thread *t, size_t size);

/* A deep copy of the value under another key; NULL when there is no memory. */
struct item *item_copy(struct thread *t, struct view key, const struct item *from, int64_t expiry);

/* The value of `from`, which is freed, under another key; NULL (and `from` as it was) when there is no memory. */
struct item *item_move(struct thread *t, struct view key, struct item *from, int64_t expiry);

/* Frees the block alone, after its value was handed to another block. */
void item_free_block(struct thread *t, struct item *it);

/* Bytes held by the item: block, and blob or structure. */
size_t item_memory(const struct item *it);

/* blob_new returns NULL when there is no memory. The caller owns one reference. */
struct blob *blob_new(size_t len, size_t cap);
struct blob *blob_new_zeroed(size_t len, size_t cap);

/* Makes room for cap bytes in a blob that is not shared; it may move. NULL when there is no memory, b as it was. */
struct blob *blob_grow(struct blob *b, size_t cap);

struct blob *blob_ref(struct blob *b);
void blob_unref(struct blob *b);

#endif
