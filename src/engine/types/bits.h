/* Bit strings: bit 0 is the highest bit of byte 0, as the commands number them. Pure functions over bytes. */
#ifndef TYPES_BITS_H
#define TYPES_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

/* Set bits among bits [from, to). */
uint64_t bits_count(const uint8_t *p, uint64_t from, uint64_t to);

/* Position of the first bit with that value among bits [from, to), or -1. */
int64_t bits_find(const uint8_t *p, uint64_t from, uint64_t to, bool bit);

static inline bool bits_test(const uint8_t *p, uint64_t at)
{
    return p[at >> 3] >> (7 - (at & 7)) & 1;
}

static inline void bits_put(uint8_t *p, uint64_t at, bool bit)
{
    uint8_t mask = (uint8_t)(0x80 >> (at & 7));

    p[at >> 3] = bit ? p[at >> 3] | mask : p[at >> 3] & (uint8_t)~mask;
}

enum bits_operation { BITS_AND, BITS_OR, BITS_XOR, BITS_NOT };

/* Combines the sources (one or more; exactly one for BITS_NOT) into out[0 .. n), n the length of the longest: shorter
 * ones read as padded with zeros. out overlaps no source. */
void bits_combine(enum bits_operation op, uint8_t *out, size_t n, const struct view *sources, size_t count);

/* The unsigned number in `width` (1 .. 64) bits from bit `at`, most significant first; bytes from n on read as zero. */
uint64_t bits_field(const uint8_t *p, size_t n, uint64_t at, unsigned width);

/* Stores the low `width` (1 .. 64) bits of v there. */
void bits_set_field(uint8_t *p, uint64_t at, unsigned width, uint64_t v);

/* Extends the sign of a number of `width` bits. */
int64_t bits_sign(uint64_t v, unsigned width);

enum bits_overflow { BITS_WRAP, BITS_SATURATE, BITS_FAIL };

/*
 * *out = value + increment as a number of `width` bits: signed ones of 1 .. 64, unsigned ones of 1 .. 63. True when that
 * overflowed; *out is then wrapped or saturated, and with BITS_FAIL without meaning. value itself may lie outside the
 * width only when increment is 0.
 */
bool bits_add_signed(int64_t value, int64_t increment, unsigned width, enum bits_overflow how, int64_t *out);
bool bits_add_unsigned(uint64_t value, int64_t increment, unsigned width, enum bits_overflow how, uint64_t *out);

#endif
