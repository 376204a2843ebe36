/*
 * The RDB encoder: see rdb.h for the format. This runs for every key of a snapshot, under the lock of its partition, so
 * the common case, short strings, has no loop and no call but memcpy.
 */
#include "engine/persist/rdb_write.h"

#include <liblzf/lzf.h>

#include "base/crc64.h"
#include "base/num.h"
#include "engine/persist/rdb.h"
#include "engine/persist/rdb_types.h"
#include "engine/store/access.h"

#define LENGTH_MAX 9        /* bytes of an encoded length */
#define INTEGER_TEXT_MAX 11 /* bytes of the longest text that becomes an integer: "-2147483648" */

/*
 * Longer strings are tried by LZF. Redis tries from 21 bytes on. The library needs about 6 ns a byte (its table of 256 KiB
 * misses the first-level cache, and what it finds there is stale more often than not), so that a random value of 32 bytes
 * would cost 190 ns, nine times all the rest of its key, and text this short hardly ever gets shorter: it takes a
 * repetition within.
 */
#define LZF_MIN 64
#define LZF_SAVED_MIN 4

static inline void put_little_endian(char *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (char)(v >> 8 * i);
}

static inline void put_big_endian(char *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (char)(v >> 8 * (bytes - 1 - i));
}

/* Writes a length to p, where there is room for LENGTH_MAX bytes; returns how many it took. */
static inline unsigned encode_length(char *p, uint64_t n)
{
    if (n < 1 << 6) {
        p[0] = (char)n;
        return 1;
    }
    if (n < 1 << 14) {
        put_big_endian(p, n | RDB_LENGTH_14 << 8, 2);
        return 2;
    }
    if (n <= UINT32_MAX) {
        p[0] = (char)RDB_LENGTH_32;
        put_big_endian(p + 1, n, 4);
        return 5;
    }
    p[0] = (char)RDB_LENGTH_64;
    put_big_endian(p + 1, n, 8);
    return 9;
}

void rdb_put_length(struct buf *out, uint64_t n)
{
    buf_reserve(out, LENGTH_MAX);
    out->len += encode_length(out->p + out->len, n);
}

/* Appends a short text that is the decimal form of an integer of 32 bits, as that integer. */
static bool put_integer(struct buf *out, struct view v)
{
    char *p = out->p + out->len;
    unsigned bytes;
    int64_t n;

    if (!num_parse_int(v, &n) || n < INT32_MIN || n > INT32_MAX)
        return false;
    if (n >= INT8_MIN && n <= INT8_MAX) {
        p[0] = (char)RDB_STRING_INT8;
        bytes = 1;
    } else if (n >= INT16_MIN && n <= INT16_MAX) {
        p[0] = (char)RDB_STRING_INT16;
        bytes = 2;
    } else {
        p[0] = (char)RDB_STRING_INT32;
        bytes = 4;
    }
    put_little_endian(p + 1, (uint64_t)n, bytes);
    out->len += 1 + bytes;
    return true;
}

/* Appends v compressed, if that saves something. There is room for v and the lengths. */
static bool put_compressed(struct buf *out, struct view v)
{
    const unsigned ahead = 1 + 2 * LENGTH_MAX; /* the compressed bytes go here first, their length not yet known */
    char *p = out->p + out->len;
    unsigned n, at = 1;

    if (v.n > UINT32_MAX)
        return false;
    n = lzf_compress(v.p, (unsigned)v.n, p + ahead, (unsigned)v.n - LZF_SAVED_MIN);
    if (n == 0)
        return false;
    p[0] = (char)RDB_STRING_LZF;
    at += encode_length(p + at, n);
    at += encode_length(p + at, v.n);
    memmove(p + at, p + ahead, n);
    out->len += at + n;
    return true;
}

void rdb_put_string(struct buf *out, struct view v, bool compress)
{
    buf_reserve(out, 1 + 2 * LENGTH_MAX + v.n);
    if (v.n <= INTEGER_TEXT_MAX && put_integer(out, v))
        return;
    if (compress && v.n > LZF_MIN && put_compressed(out, v))
        return;
    out->len += encode_length(out->p + out->len, v.n);
    buf_put_view(out, v);
}

void rdb_put_header(struct buf *out)
{
    buf_printf(out, RDB_MAGIC "%04d", RDB_VERSION_WRITTEN);
}

void rdb_put_aux(struct buf *out, struct view name, struct view value)
{
    buf_put_char(out, (char)RDB_OP_AUX);
    rdb_put_string(out, name, false);
    rdb_put_string(out, value, false);
}

void rdb_put_aux_int(struct buf *out, struct view name, int64_t value)
{
    char text[NUM_INT_MAX];

    rdb_put_aux(out, name, view_of(text, num_format_int(text, value)));
}

void rdb_put_select(struct buf *out, uint32_t db)
{
    buf_put_char(out, (char)RDB_OP_SELECT);
    rdb_put_length(out, db);
}

void rdb_put_resize(struct buf *out, uint64_t keys, uint64_t expires)
{
    buf_put_char(out, (char)RDB_OP_RESIZE);
    rdb_put_length(out, keys);
    rdb_put_length(out, expires);
}

static void put_access(struct buf *out, const struct item *it, const struct rdb_options *o)
{
    if (o->lru) {
        buf_put_char(out, (char)RDB_OP_IDLE);
        rdb_put_length(out, access_idle_seconds(it, o->now_ms));
    }
    if (o->lfu) {
        buf_put_char(out, (char)RDB_OP_FREQUENCY);
        buf_put_char(out, (char)access_frequency(it, o->now_ms, o->lfu_decay_minutes));
    }
}

size_t rdb_put_item(struct buf *out, const struct item *it, const struct rdb_options *o, struct blob **big)
{
    const struct rdb_value_writer *writer = rdb_value_writer(it);
    size_t start = out->len;

    *big = NULL;
    if (it->flags & ITEM_EXPIRES) {
        buf_reserve(out, 9);
        out->p[out->len] = (char)RDB_OP_EXPIRY_MS;
        put_little_endian(out->p + out->len + 1, (uint64_t)item_expiry(it), 8);
        out->len += 9;
    }
    put_access(out, it, o);
    buf_put_char(out, (char)writer->code(it));
    rdb_put_string(out, item_key(it), o->compress);
    writer->put(out, it, o->compress, big);
    return out->len - start;
}

void rdb_put_end(struct buf *out)
{
    buf_put_char(out, (char)RDB_OP_EOF);
}

void rdb_put_checksum(struct buf *out, uint64_t crc)
{
    buf_reserve(out, 8);
    put_little_endian(out->p + out->len, crc, 8);
    out->len += 8;
}

void rdb_put_payload(struct buf *out, const struct item *it, bool compress)
{
    const struct rdb_value_writer *writer = rdb_value_writer(it);
    size_t start = out->len;

    buf_put_char(out, (char)writer->code(it));
    writer->put(out, it, compress, NULL);
    buf_reserve(out, 2);
    put_little_endian(out->p + out->len, RDB_VERSION_WRITTEN, 2);
    out->len += 2;
    rdb_put_checksum(out, crc64(0, out->p + start, out->len - start));
}
