/*
 * The buffer between a source and the decoders. Short things are decoded in the buffer, where fill() makes them
 * contiguous; long strings go from the source to where they belong. The checksum is taken over what was used, in long
 * runs: when the buffer is moved, and at the end.
 *
 * Compressed strings are walked through before anything is allocated for them: their control bytes say how long the
 * result is, so that a small lie cannot ask for much memory, and the decompressor sees nothing it could stumble over.
 */
#include "engine/persist/rdb_input.h"

#include <errno.h>
#include <liblzf/lzf.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/crc64.h"
#include "engine/persist/rdb.h"

void rdb_input_open(struct rdb_input *in, const struct rdb_source *source, char *buffer, size_t size)
{
    *in = (struct rdb_input){.source = *source, .buffer = buffer, .size = size};
}

void rdb_input_open_view(struct rdb_input *in, struct view bytes)
{
    *in = (struct rdb_input){.buffer = (char *)bytes.p, .size = bytes.n, .end = bytes.n};
}

void rdb_input_close(struct rdb_input *in)
{
    buf_free(&in->packed);
}

enum rdb_result rdb_input_fail(struct rdb_input *in, enum rdb_result result, uint64_t offset, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(in->error.text, sizeof in->error.text, fmt, ap);
    va_end(ap);
    in->error.offset = offset;
    return result;
}

uint64_t rdb_input_crc(struct rdb_input *in)
{
    in->crc = crc64(in->crc, in->buffer + in->summed, in->at - in->summed);
    in->summed = in->at;
    return in->crc;
}

/* Moves what is unused to the front. */
static void compact(struct rdb_input *in)
{
    rdb_input_crc(in);
    memmove(in->buffer, in->buffer + in->at, in->end - in->at);
    in->before += in->at;
    in->end -= in->at;
    in->at = in->summed = 0;
}

/* Reads up to n bytes from the source. */
static enum rdb_result read_some(struct rdb_input *in, char *p, size_t n, size_t *got)
{
    uint64_t end = in->before + in->end;
    ssize_t r = in->source.read ? in->source.read(in->source.arg, p, n) : 0;

    if (r < 0)
        return rdb_input_fail(in, RDB_IO, end, "cannot read: %s", strerror(errno));
    if (r == 0)
        return rdb_input_fail(in, RDB_TRUNCATED, end, "the data ends too early");
    *got = (size_t)r;
    return RDB_OK;
}

/* Gets n bytes, at most the buffer's size, into the buffer. */
static enum rdb_result fill(struct rdb_input *in, size_t n)
{
    while (in->end - in->at < n) {
        enum rdb_result rc;
        size_t got = 0;

        if (in->source.read && (in->at == in->end || in->size - in->at < n))
            compact(in);
        rc = read_some(in, in->buffer + in->end, in->size - in->end, &got);
        if (rc != RDB_OK)
            return rc;
        in->end += got;
    }
    return RDB_OK;
}

static inline enum rdb_result need(struct rdb_input *in, size_t n)
{
    return __builtin_expect(in->end - in->at >= n, 1) ? RDB_OK : fill(in, n);
}

/* Takes n bytes that are in the buffer. */
static inline const uint8_t *take(struct rdb_input *in, size_t n)
{
    const uint8_t *p = (const uint8_t *)in->buffer + in->at;

    in->at += n;
    return p;
}

static uint64_t little_endian(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static uint64_t big_endian(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

enum rdb_result rdb_input_byte(struct rdb_input *in, uint8_t *out)
{
    enum rdb_result rc = need(in, 1);

    if (rc == RDB_OK)
        *out = *take(in, 1);
    return rc;
}

enum rdb_result rdb_input_uint(struct rdb_input *in, unsigned bytes, uint64_t *out)
{
    enum rdb_result rc = need(in, bytes);

    if (rc == RDB_OK)
        *out = little_endian(take(in, bytes), bytes);
    return rc;
}

/* Reads from the source to p, past the empty buffer. */
static enum rdb_result read_direct(struct rdb_input *in, char *p, size_t n)
{
    compact(in);
    while (n > 0) {
        size_t got = 0;
        enum rdb_result rc = read_some(in, p, n, &got);

        if (rc != RDB_OK)
            return rc;
        in->crc = crc64(in->crc, p, got);
        in->before += got;
        p += got;
        n -= got;
    }
    return RDB_OK;
}

enum rdb_result rdb_input_bytes(struct rdb_input *in, void *p, size_t n)
{
    size_t there = in->end - in->at;
    enum rdb_result rc;

    if (n == 0)
        return RDB_OK;
    if (there < n) {
        if (there > 0)
            memcpy(p, take(in, there), there);
        p = (char *)p + there;
        n -= there;
        if (n >= in->size)
            return read_direct(in, p, n);
        rc = fill(in, n);
        if (rc != RDB_OK)
            return rc;
    }
    memcpy(p, take(in, n), n);
    return RDB_OK;
}

enum rdb_result rdb_input_skip(struct rdb_input *in, uint64_t n)
{
    while (n > 0) {
        enum rdb_result rc = need(in, 1);
        size_t there = in->end - in->at;

        if (rc != RDB_OK)
            return rc;
        if (there > n)
            there = n;
        take(in, there);
        n -= there;
    }
    return RDB_OK;
}

/* A length of which the first byte is in the buffer, and not one of a special string. */
static enum rdb_result plain_length(struct rdb_input *in, uint64_t *out)
{
    uint8_t first = (uint8_t)in->buffer[in->at];
    unsigned bytes = first == RDB_LENGTH_32 ? 4 : 8;
    enum rdb_result rc;

    if (first < RDB_LENGTH_14) {
        *out = *take(in, 1);
        return RDB_OK;
    }
    if (first < RDB_LENGTH_32) {
        rc = need(in, 2);
        if (rc == RDB_OK)
            *out = big_endian(take(in, 2), 2) & 0x3fff;
        return rc;
    }
    if (first != RDB_LENGTH_32 && first != RDB_LENGTH_64)
        return rdb_input_fail(in, RDB_DAMAGED, rdb_input_offset(in), "byte 0x%02x where a length should be", first);
    rc = need(in, 1 + bytes);
    if (rc == RDB_OK)
        *out = big_endian(take(in, 1 + bytes) + 1, bytes);
    return rc;
}

enum rdb_result rdb_input_length(struct rdb_input *in, uint64_t *out)
{
    enum rdb_result rc = need(in, 1);

    return rc == RDB_OK ? plain_length(in, out) : rc;
}

static enum rdb_result check_length(struct rdb_input *in, uint64_t offset, uint64_t n, uint64_t max)
{
    if (n <= max)
        return RDB_OK;
    return rdb_input_fail(in, RDB_DAMAGED, offset, "a string of %llu bytes: the limit is %llu", (unsigned long long)n,
                          (unsigned long long)max);
}

/* Appends n bytes to out, taking memory as they arrive: the buffer grows by half when it is full. */
static enum rdb_result append(struct rdb_input *in, uint64_t n, struct buf *out)
{
    while (n > 0) {
        size_t step = n < RDB_INPUT_STEP ? n : RDB_INPUT_STEP;
        enum rdb_result rc;

        if (buf_try_reserve(out, step) != 0)
            return rdb_input_fail(in, RDB_NO_MEMORY, rdb_input_offset(in), "no memory for a string");
        rc = rdb_input_bytes(in, out->p + out->len, step);
        if (rc != RDB_OK)
            return rc;
        out->len += step;
        n -= step;
    }
    return RDB_OK;
}

/* The size of what these compressed bytes stand for; false when they do not stand for anything. */
static bool unpacked_size(struct view v, uint64_t *size)
{
    const uint8_t *p = (const uint8_t *)v.p, *end = p + v.n;
    uint64_t n = 0;

    while (p < end) {
        unsigned control = *p++, run = control >> 5, back;

        if (run == 0) { /* control + 1 bytes as they are */
            if ((size_t)(end - p) < control + 1)
                return false;
            p += control + 1;
            n += control + 1;
            continue;
        }
        if ((size_t)(end - p) < (run == 7 ? 2 : 1))
            return false;
        if (run == 7)
            run += *p++;
        back = ((control & 31) << 8 | *p++) + 1;
        if (back > n)
            return false;
        n += run + 2;
    }
    *size = n;
    return true;
}

static enum rdb_result packed_head(struct rdb_input *in, uint64_t offset, uint64_t max, struct rdb_string *s)
{
    uint64_t packed, size = 0;
    enum rdb_result rc;

    take(in, 1);
    if ((rc = rdb_input_length(in, &packed)) != RDB_OK || (rc = rdb_input_length(in, &s->n)) != RDB_OK)
        return rc;
    if (max > UINT32_MAX)
        max = UINT32_MAX; /* of the decompressor */
    if ((rc = check_length(in, offset, packed, max)) != RDB_OK || (rc = check_length(in, offset, s->n, max)) != RDB_OK)
        return rc;
    if (packed <= in->size) {
        if ((rc = need(in, packed)) != RDB_OK)
            return rc;
        s->packed = view_of((const char *)take(in, packed), packed);
    } else {
        buf_clear(&in->packed);
        if ((rc = append(in, packed, &in->packed)) != RDB_OK)
            return rc;
        s->packed = buf_view(&in->packed);
    }
    s->kind = RDB_STRING_PACKED;
    if (!unpacked_size(s->packed, &size) || size != s->n || size == 0)
        return rdb_input_fail(in, RDB_DAMAGED, offset, "a compressed string is damaged");
    return RDB_OK;
}

static enum rdb_result integer_head(struct rdb_input *in, unsigned bytes, struct rdb_string *s)
{
    enum rdb_result rc = need(in, 1 + bytes);
    uint64_t v;
    int64_t n;

    if (rc != RDB_OK)
        return rc;
    v = little_endian(take(in, 1 + bytes) + 1, bytes);
    n = bytes == 1 ? (int8_t)v : bytes == 2 ? (int16_t)v : (int32_t)v;
    s->kind = RDB_STRING_TEXT;
    s->n = num_format_int(s->text, n);
    return RDB_OK;
}

enum rdb_result rdb_input_string_head(struct rdb_input *in, uint64_t max, struct rdb_string *s)
{
    uint64_t offset = rdb_input_offset(in);
    enum rdb_result rc = need(in, 1);
    uint8_t first;

    if (rc != RDB_OK)
        return rc;
    first = (uint8_t)in->buffer[in->at];
    switch (first) {
    case RDB_STRING_INT8:
        return integer_head(in, 1, s);
    case RDB_STRING_INT16:
        return integer_head(in, 2, s);
    case RDB_STRING_INT32:
        return integer_head(in, 4, s);
    case RDB_STRING_LZF:
        return packed_head(in, offset, max, s);
    default:
        s->kind = RDB_STRING_PLAIN;
        rc = plain_length(in, &s->n);
        return rc == RDB_OK ? check_length(in, offset, s->n, max) : rc;
    }
}

enum rdb_result rdb_input_string_body(struct rdb_input *in, const struct rdb_string *s, char *p)
{
    switch (s->kind) {
    case RDB_STRING_PLAIN:
        return rdb_input_bytes(in, p, s->n);
    case RDB_STRING_TEXT:
        memcpy(p, s->text, s->n);
        return RDB_OK;
    default:
        if (lzf_decompress(s->packed.p, (unsigned)s->packed.n, p, (unsigned)s->n) != s->n)
            return rdb_input_fail(in, RDB_DAMAGED, rdb_input_offset(in), "a compressed string is damaged");
        buf_free(&in->packed);
        return RDB_OK;
    }
}

enum rdb_result rdb_input_string(struct rdb_input *in, uint64_t max, struct buf *out)
{
    struct rdb_string s;
    enum rdb_result rc = rdb_input_string_head(in, max, &s);

    if (rc != RDB_OK)
        return rc;
    buf_clear(out);
    /* An empty string gets memory too: its view must not be NULL. */
    if (buf_try_reserve(out, s.kind == RDB_STRING_PLAIN ? 1 : s.n) != 0)
        return rdb_input_fail(in, RDB_NO_MEMORY, rdb_input_offset(in), "no memory for a string");
    if (s.kind == RDB_STRING_PLAIN)
        return append(in, s.n, out);
    rc = rdb_input_string_body(in, &s, out->p);
    out->len = s.n;
    return rc;
}

enum rdb_result rdb_input_skip_string(struct rdb_input *in)
{
    struct rdb_string s;
    enum rdb_result rc = rdb_input_string_head(in, in->max_string, &s);

    if (rc == RDB_OK && s.kind == RDB_STRING_PLAIN)
        rc = rdb_input_skip(in, s.n);
    buf_free(&in->packed);
    return rc;
}
