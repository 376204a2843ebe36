/*
 * The bytes of an RDB, as its decoders see them: integers, lengths and strings, taken from a source through a buffer,
 * counted, checked and summed up on the way. Every function returns RDB_OK, or fails for good with `error` filled in; the
 * caller passes the result on.
 */
#ifndef PERSIST_RDB_INPUT_H
#define PERSIST_RDB_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/num.h"
#include "engine/persist/rdb_read.h"

#define RDB_INPUT_STEP ((size_t)1 << 20) /* memory is taken this far ahead of the bytes that arrived */

struct rdb_input {
    struct rdb_source source; /* read is NULL when the buffer holds everything */
    uint64_t max_string;      /* bytes of the longest string */
    char *buffer;
    size_t size;
    size_t at, end;  /* what is in the buffer and not yet used */
    size_t summed;   /* <= at: how far crc covers the buffer */
    uint64_t before; /* bytes that came before the buffer's first */
    uint64_t crc;
    struct buf packed; /* a compressed string too long for the buffer */
    struct rdb_error error;
};

/* A string of which the head is read. n is verified but for RDB_STRING_PLAIN, where it is only a promise. */
struct rdb_string {
    enum { RDB_STRING_PLAIN, RDB_STRING_TEXT, RDB_STRING_PACKED } kind;
    uint64_t n;             /* bytes of the string */
    struct view packed;     /* compressed; valid until more is read */
    char text[NUM_INT_MAX]; /* of an integer */
};

/* Neither reads yet. The buffer is the caller's; with a source it has at least 64 bytes. */
void rdb_input_open(struct rdb_input *in, const struct rdb_source *source, char *buffer, size_t size);
void rdb_input_open_view(struct rdb_input *in, struct view bytes);
void rdb_input_close(struct rdb_input *in);

static inline uint64_t rdb_input_offset(const struct rdb_input *in)
{
    return in->before + in->at;
}

/* The checksum of all that was used. */
uint64_t rdb_input_crc(struct rdb_input *in);

/* Fills in the error, and returns result. */
enum rdb_result rdb_input_fail(struct rdb_input *in, enum rdb_result result, uint64_t offset, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

enum rdb_result rdb_input_byte(struct rdb_input *in, uint8_t *out);

/* An unsigned integer of up to 8 bytes, little endian. */
enum rdb_result rdb_input_uint(struct rdb_input *in, unsigned bytes, uint64_t *out);

/* n bytes; big ones go to p directly. */
enum rdb_result rdb_input_bytes(struct rdb_input *in, void *p, size_t n);
enum rdb_result rdb_input_skip(struct rdb_input *in, uint64_t n);

enum rdb_result rdb_input_length(struct rdb_input *in, uint64_t *out);

/* A whole string of at most `max` bytes, replacing what is in out. */
enum rdb_result rdb_input_string(struct rdb_input *in, uint64_t max, struct buf *out);
enum rdb_result rdb_input_skip_string(struct rdb_input *in);

/* A string of at most max bytes in two steps, for who wants to know its length first; p has room for s->n bytes. */
enum rdb_result rdb_input_string_head(struct rdb_input *in, uint64_t max, struct rdb_string *s);
enum rdb_result rdb_input_string_body(struct rdb_input *in, const struct rdb_string *s, char *p);

#endif
