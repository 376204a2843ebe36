/*
 * Strings as items. A value is plain bytes whatever it spells: numbers are parsed when a command wants one, which costs
 * less than a second representation in every command that wants bytes. What OBJECT ENCODING says is kept as a form
 * beside them (store/item.h).
 *
 * A value is rewritten where it lies when the block it needs has the size of the block it has: blocks come in classes of
 * 8 bytes, so most counters, and values of one length, never move.
 */
#include "engine/types/string.h"

#include <stdatomic.h>
#include <string.h>

#include "base/num.h"
#include "engine/store/access.h"
#include "engine/store/item.h"
#include "engine/store/thread.h"
#include "engine/types/value.h"

#define BLOCK_CLASS 8               /* bytes: sizes of blocks are multiples of this */
#define EMBSTR_MAX 44               /* bytes up to which Redis calls a string embstr */
#define FRESH_ZEROES_MIN (1u << 20) /* from so many zero bytes on, ask for memory that is zero already */
#define SLACK_MAX (1u << 20)        /* bytes to grow into; blobs so large grow by moving page tables */

static inline size_t block_class(size_t size)
{
    return (size + BLOCK_CLASS - 1) / BLOCK_CLASS;
}

static inline bool has_blob(const struct item *it)
{
    return (it->flags & ITEM_BLOB) != 0;
}

/* Does a value of n bytes lie in the item's block? An expiry field must always find room there too. */
static inline bool is_inline(size_t key_len, size_t n)
{
    return n <= ITEM_BLOCK_MAX && item_block_size(key_len, n, true) <= ITEM_BLOCK_MAX;
}

/* Does a value of n bytes fit into the block of `it`, under the same key and with an expiry field or without? */
static bool fits_block(const struct item *it, size_t key_len, size_t n, bool expires)
{
    return !has_blob(it) && expires == ((it->flags & ITEM_EXPIRES) != 0) && is_inline(key_len, n) &&
           block_class(item_block_size(key_len, n, expires)) == block_class(item_size(it));
}

struct item *string_new(struct thread *t, const struct key *key, struct view value, int64_t expiry)
{
    struct item *it = item_new_string(t, key->name, value.n, expiry);

    if (it && value.n > 0)
        memcpy(item_bytes(it), value.p, value.n);
    return it;
}

struct item *string_store(struct db *db, struct thread *t, const struct key *key, struct item *old,
                          const struct place *at, struct view value, int64_t expiry, enum item_form form)
{
    struct item *it;

    if (old && old->type == ITEM_STRING && fits_block(old, key->name.n, value.n, expiry >= 0)) {
        if (value.n > 0)
            memcpy(item_value(old), value.p, value.n);
        old->value_len = (uint16_t)value.n;
        old->form = form;
        access_touch(old, &t->random);
        return item_expiry(old) == expiry ? old : db_expire(db, t, key, at, expiry);
    }
    it = string_new(t, key, value, expiry);
    if (!it)
        return NULL;
    it->form = form;
    value_overwrite(db, t, key, old, at, it);
    return it;
}

/* A new item that refers to b, whose reference it takes over; NULL when there is no memory. */
static struct item *new_around(struct thread *t, const struct key *key, struct blob *b, int64_t expiry)
{
    struct item *it = item_new_string(t, key->name, sizeof b, expiry);

    if (!it)
        return NULL;
    /* Beside a very long key even this value got a blob, which is in the way. */
    if (has_blob(it))
        blob_unref(item_blob(it));
    it->flags |= ITEM_BLOB;
    it->value_len = 0;
    memcpy(item_value(it), &b, sizeof b);
    return it;
}

static size_t capacity(size_t n, bool slack)
{
    if (!slack)
        return n;
    return n + (n / 4 < SLACK_MAX ? n / 4 : SLACK_MAX);
}

/* A blob of n bytes: those of `head`, then zeros; NULL when there is no memory. */
static struct blob *blob_with(struct view head, size_t n, bool slack)
{
    size_t cap = capacity(n, slack), keep = head.n < n ? head.n : n;
    bool fresh = n - keep >= FRESH_ZEROES_MIN;
    struct blob *b = fresh ? blob_new_zeroed(n, cap) : blob_new(n, cap);

    if (!b)
        return NULL;
    if (keep > 0)
        memcpy(b->bytes, head.p, keep);
    if (!fresh)
        memset(b->bytes + keep, 0, n - keep);
    return b;
}

/* string_resize of an item with a blob: its block stays. */
static struct item *resize_blob(struct item *it, size_t n, bool slack)
{
    struct blob *old = item_blob(it), *b = old;
    bool shared = atomic_load_explicit(&old->refs, memory_order_acquire) != 1;

    if (shared || (n > old->cap && n - old->len >= FRESH_ZEROES_MIN)) {
        b = blob_with(view_of(old->bytes, old->len), n, slack);
        if (!b)
            return NULL;
        blob_unref(old);
    } else {
        if (n > old->cap)
            b = blob_grow(old, capacity(n, slack));
        if (!b)
            return NULL;
        if (n > b->len)
            memset(b->bytes + b->len, 0, n - b->len);
        b->len = n;
    }
    memcpy(item_value(it), &b, sizeof b);
    return it;
}

struct item *string_resize(struct db *db, struct thread *t, const struct key *key, struct item *old,
                           const struct place *at, size_t n, bool slack)
{
    int64_t expiry = old ? item_expiry(old) : -1;
    struct view had = old ? item_string(old) : view_of(NULL, 0);
    size_t keep = had.n < n ? had.n : n;
    struct item *it = old;

    if (old && has_blob(old)) {
        it = resize_blob(old, n, slack);
        if (!it)
            return NULL;
    } else if (old && fits_block(old, key->name.n, n, expiry >= 0)) {
        memset(item_value(old) + keep, 0, n - keep);
        old->value_len = (uint16_t)n;
    } else if (is_inline(key->name.n, n)) {
        it = item_new_string(t, key->name, n, expiry);
        if (!it)
            return NULL;
        if (keep > 0)
            memcpy(item_value(it), had.p, keep);
        memset(item_value(it) + keep, 0, n - keep);
    } else {
        struct blob *b = blob_with(had, n, slack && old);

        if (!b)
            return NULL;
        it = new_around(t, key, b, expiry);
        if (!it) {
            blob_unref(b);
            return NULL;
        }
    }
    it->form = ITEM_FORM_RAW;
    if (it != old)
        value_overwrite(db, t, key, old, at, it);
    else
        access_touch(it, &t->random);
    return it;
}

bool string_int(const struct item *it, int64_t *out)
{
    if (!it) {
        *out = 0;
        return true;
    }
    return num_parse_int(item_string(it), out);
}

const char *string_encoding(const struct item *it)
{
    struct view v = item_string(it);
    int64_t number;

    if (it->form == ITEM_FORM_PLAIN && num_parse_int(v, &number))
        return "int";
    return it->form != ITEM_FORM_RAW && v.n <= EMBSTR_MAX ? "embstr" : "raw";
}
