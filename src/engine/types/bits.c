/*
 * Counting, searching and combining bit strings, and numbers of any width inside them.
 *
 * Counting adds sixteen vectors into carry-save adders before any bits are summed (Harley and Seal, in Warren,
 * "Hacker's Delight", section 5.1; Mula, Kurz and Lemire, "Faster Population Counts Using AVX2 Instructions", 2016), in
 * the compiler's vector types: the same source is SSE2 or NEON, and runs at about the speed of memory. The population
 * count instruction was rejected: the oldest x86-64 lacks it, so it needs a second version and a choice at run time.
 */
#include "engine/types/bits.h"

#include <endian.h>
#include <string.h>

#define COMBINE_CHUNK 16384 /* bytes combined at a time: stays in the first-level cache while the sources pass */

typedef uint64_t lanes __attribute__((vector_size(16)));

#define LANES_AT_ONCE 16
#define BLOCK (LANES_AT_ONCE * sizeof(lanes))

static inline lanes splat(uint64_t v)
{
    return (lanes){v, v};
}

static inline lanes load_lanes(const uint8_t *p)
{
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Set bits of each lane. */
static inline lanes count_lanes(lanes v)
{
    v -= (v >> 1) & splat(0x5555555555555555);
    v = (v & splat(0x3333333333333333)) + ((v >> 2) & splat(0x3333333333333333));
    v = (v + (v >> 4)) & splat(0x0f0f0f0f0f0f0f0f);
    v += v >> 8;
    v += v >> 16;
    v += v >> 32;
    return v & splat(0x7f);
}

/* Full adder: a + b + c = 2 * *carry + the result, bit by bit. */
static inline lanes add_bits(lanes a, lanes b, lanes c, lanes *carry)
{
    lanes u = a ^ b;

    *carry = (a & b) | (u & c);
    return u ^ c;
}

/* Adds four vectors: bits of weight 1 go into *ones, of weight 2 into *twos, the carry of weight 4 is returned. */
static inline lanes add_four(const uint8_t *p, lanes *ones, lanes *twos)
{
    lanes a, b, fours;

    *ones = add_bits(*ones, load_lanes(p), load_lanes(p + sizeof(lanes)), &a);
    *ones = add_bits(*ones, load_lanes(p + 2 * sizeof(lanes)), load_lanes(p + 3 * sizeof(lanes)), &b);
    *twos = add_bits(*twos, a, b, &fours);
    return fours;
}

/* Set bits of n bytes. */
static uint64_t count_bytes(const uint8_t *p, size_t n)
{
    lanes ones = splat(0), twos = splat(0), fours = splat(0), eights = splat(0), total = splat(0);
    uint64_t count, w;

    for (; n >= BLOCK; p += BLOCK, n -= BLOCK) {
        lanes a, b, c, d, sixteens;

        a = add_four(p, &ones, &twos);
        b = add_four(p + BLOCK / 4, &ones, &twos);
        fours = add_bits(fours, a, b, &c);
        a = add_four(p + BLOCK / 2, &ones, &twos);
        b = add_four(p + BLOCK / 4 * 3, &ones, &twos);
        fours = add_bits(fours, a, b, &d);
        eights = add_bits(eights, c, d, &sixteens);
        total += count_lanes(sixteens);
    }
    total = total * splat(16) + count_lanes(eights) * splat(8) + count_lanes(fours) * splat(4) +
            count_lanes(twos) * splat(2) + count_lanes(ones);
    count = total[0] + total[1];
    for (; n >= sizeof w; p += sizeof w, n -= sizeof w) {
        memcpy(&w, p, sizeof w);
        count += count_lanes((lanes){w, 0})[0];
    }
    w = 0;
    if (n > 0)
        memcpy(&w, p, n);
    return count + count_lanes((lanes){w, 0})[0];
}

/* Of the byte that bit `at` is in: the bits before it. */
static inline uint8_t bits_before(uint8_t byte, uint64_t at)
{
    return (uint8_t)(byte & ~(0xff >> (at & 7)));
}

uint64_t bits_count(const uint8_t *p, uint64_t from, uint64_t to)
{
    uint64_t first = from >> 3, end = to >> 3, count;
    uint8_t edge;

    if (from >= to)
        return 0;
    /* Whole bytes from the one that `from` is in; then what stands before `from` goes, and what stands before `to` in
     * its byte comes. */
    count = count_bytes(p + first, end - first);
    if ((from & 7) != 0) {
        edge = bits_before(p[first], from);
        count -= (uint64_t)__builtin_popcount(edge);
    }
    if ((to & 7) != 0) {
        edge = bits_before(p[end], to);
        count += (uint64_t)__builtin_popcount(edge);
    }
    return count;
}

/* Skips the 64-byte pieces from bit `at`, the start of a byte, that have no set bit once flipped. */
static uint64_t skip_pieces(const uint8_t *p, uint64_t at, uint64_t to, lanes flip)
{
    for (; to - at >= 512; at += 512) {
        const uint8_t *q = p + (at >> 3);
        lanes any = (load_lanes(q) ^ flip) | (load_lanes(q + 16) ^ flip) | (load_lanes(q + 32) ^ flip) |
                    (load_lanes(q + 48) ^ flip);

        if ((any[0] | any[1]) != 0)
            break;
    }
    return at;
}

int64_t bits_find(const uint8_t *p, uint64_t from, uint64_t to, bool bit)
{
    uint64_t flip = bit ? 0 : UINT64_MAX, at = from, w;

    while (at < to) {
        if ((at & 7) == 0 && to - at >= 64) {
            at = skip_pieces(p, at, to, splat(flip));
            if (to - at < 64)
                continue;
            memcpy(&w, p + (at >> 3), sizeof w);
            w = be64toh(w ^ flip);
            if (w != 0)
                return (int64_t)(at + (unsigned)__builtin_clzll(w));
            at += 64;
        } else {
            /* What is left of this byte, its first bit on top. */
            w = (uint64_t)(uint8_t)(p[at >> 3] ^ flip) << (56 + (at & 7));
            if (w != 0) {
                at += (unsigned)__builtin_clzll(w);
                return at < to ? (int64_t)at : -1;
            }
            at = (at | 7) + 1;
        }
    }
    return -1;
}

static inline lanes combine_lanes(enum bits_operation op, lanes a, lanes b)
{
    switch (op) {
    case BITS_AND:
        return a & b;
    case BITS_OR:
        return a | b;
    case BITS_XOR:
        return a ^ b;
    case BITS_NOT:
        break;
    }
    return ~b;
}

/* out = out op source, over n bytes; inlined once for each operation, so that the loop does not choose. */
static inline __attribute__((always_inline)) void combine_all(enum bits_operation op, uint8_t *out,
                                                              const uint8_t *source, size_t n)
{
    lanes v, a = splat(0), b = splat(0);

    for (; n >= sizeof v; out += sizeof v, source += sizeof v, n -= sizeof v) {
        v = combine_lanes(op, load_lanes(out), load_lanes(source));
        memcpy(out, &v, sizeof v);
    }
    if (n == 0)
        return;
    memcpy(&a, out, n);
    memcpy(&b, source, n);
    v = combine_lanes(op, a, b);
    memcpy(out, &v, n);
}

static void combine_bytes(enum bits_operation op, uint8_t *out, const uint8_t *source, size_t n)
{
    switch (op) {
    case BITS_AND:
        combine_all(BITS_AND, out, source, n);
        break;
    case BITS_OR:
        combine_all(BITS_OR, out, source, n);
        break;
    case BITS_XOR:
        combine_all(BITS_XOR, out, source, n);
        break;
    case BITS_NOT:
        combine_all(BITS_NOT, out, source, n);
        break;
    }
}

/* How many of the bytes [at, at + n) the source has. */
static size_t overlap(struct view source, size_t at, size_t n)
{
    if (source.n <= at)
        return 0;
    return source.n - at < n ? source.n - at : n;
}

void bits_combine(enum bits_operation op, uint8_t *out, size_t n, const struct view *sources, size_t count)
{
    for (size_t at = 0; at < n; at += COMBINE_CHUNK) {
        size_t chunk = n - at < COMBINE_CHUNK ? n - at : COMBINE_CHUNK;
        size_t have = overlap(sources[0], at, chunk);

        if (op == BITS_NOT) {
            combine_bytes(op, out + at, (const uint8_t *)sources[0].p + at, have);
            continue;
        }
        if (have > 0)
            memcpy(out + at, sources[0].p + at, have);
        memset(out + at + have, 0, chunk - have);
        for (size_t i = 1; i < count; i++) {
            have = overlap(sources[i], at, chunk);
            if (have > 0)
                combine_bytes(op, out + at, (const uint8_t *)sources[i].p + at, have);
            if (op == BITS_AND)
                memset(out + at + have, 0, chunk - have);
        }
    }
}

/* A field touches at most nine bytes. */
static inline unsigned field_bytes(uint64_t at, unsigned width)
{
    return ((unsigned)(at & 7) + width + 7) / 8;
}

static inline uint64_t field_mask(unsigned width)
{
    return width == 64 ? UINT64_MAX : ((uint64_t)1 << width) - 1;
}

uint64_t bits_field(const uint8_t *p, size_t n, uint64_t at, unsigned width)
{
    unsigned bytes = field_bytes(at, width);
    unsigned __int128 window = 0;

    for (uint64_t i = at >> 3; i < (at >> 3) + bytes; i++)
        window = window << 8 | (i < n ? p[i] : 0);
    return (uint64_t)(window >> (bytes * 8 - (unsigned)(at & 7) - width)) & field_mask(width);
}

void bits_set_field(uint8_t *p, uint64_t at, unsigned width, uint64_t v)
{
    unsigned bytes = field_bytes(at, width);
    unsigned shift = bytes * 8 - (unsigned)(at & 7) - width;
    unsigned __int128 window = (unsigned __int128)(v & field_mask(width)) << shift;
    unsigned __int128 mask = (unsigned __int128)field_mask(width) << shift;

    p += at >> 3;
    for (unsigned i = bytes; i-- > 0; window >>= 8, mask >>= 8)
        p[i] = (uint8_t)((p[i] & ~(unsigned)mask) | (unsigned)window);
}

int64_t bits_sign(uint64_t v, unsigned width)
{
    uint64_t top = (uint64_t)1 << (width - 1);

    v &= field_mask(width);
    return (int64_t)((v ^ top) - top);
}

bool bits_add_signed(int64_t value, int64_t increment, unsigned width, enum bits_overflow how, int64_t *out)
{
    int64_t max = (int64_t)(field_mask(width) >> 1), min = -max - 1;
    __int128 sum = (__int128)value + increment;
    /* A quirk of Redis that clients can see: it takes max - value in 64 bits, and a value so low that the difference
     * wraps counts as too high. */
    bool wraps = increment == 0 && value < min && (__int128)max - value > INT64_MAX;

    if (sum >= min && sum <= max) {
        *out = (int64_t)sum;
        return false;
    }
    if (how == BITS_SATURATE)
        *out = sum > max || wraps ? max : min;
    else
        *out = bits_sign((uint64_t)sum, width);
    return true;
}

bool bits_add_unsigned(uint64_t value, int64_t increment, unsigned width, enum bits_overflow how, uint64_t *out)
{
    uint64_t max = field_mask(width);
    __int128 sum = (__int128)value + increment;

    if (sum >= 0 && sum <= max) {
        *out = (uint64_t)sum;
        return false;
    }
    if (how == BITS_SATURATE)
        *out = sum < 0 ? 0 : max;
    else
        *out = (uint64_t)sum & max;
    return true;
}
