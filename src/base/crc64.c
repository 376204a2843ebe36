/*
 * Two ways to the same number.
 *
 * Tables: sixteen bytes a step (Sarwate's method, sliced: Kounavis and Berry, "Novel table lookup-based algorithms for
 * high-performance CRC generation", 2008), 32 KiB of tables, about 2 GB/s.
 *
 * Folding: carry-less multiplication replaces 16 bytes of the message by what is congruent to them modulo the polynomial
 * 64 bytes later (Gopal et al., "Fast CRC computation for generic polynomials using PCLMULQDQ instruction", 2009). Four
 * lanes hide the multiplier's latency, for 20 GB/s. In the end 16 bytes are left whose checksum, by the tables,
 * is that of the message: the paper's Barrett reduction would save some nanoseconds and cost a page of explanation.
 *
 * Tables and constants are computed at first use, in some microseconds: a generated file would have to be generated, and
 * nobody can proofread 4096 numbers.
 */
#include "base/crc64.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define CAN_FOLD 1
#else
#define CAN_FOLD 0
#endif

#define POLYNOMIAL UINT64_C(0x95ac9329ac4bc9b5) /* reflected: bit 63 is the coefficient of x^0 */
#define SLICES 16
#define ONE (UINT64_C(1) << 63)

static struct {
    pthread_once_t once;
    uint64_t table[SLICES][256]; /* [k][b]: the checksum of byte b and k zero bytes */
    uint64_t fold_far[2];        /* by 64 bytes: factors for the low and the high half of 16 bytes */
    uint64_t fold_near[2];       /* by 16 bytes */
    bool folds;
} crc = {.once = PTHREAD_ONCE_INIT};

/* v times x^bits, modulo the polynomial. */
static uint64_t times_power(uint64_t v, unsigned bits)
{
    while (bits-- > 0)
        v = v >> 1 ^ ((v & 1) ? POLYNOMIAL : 0);
    return v;
}

static void prepare(void)
{
    for (unsigned b = 0; b < 256; b++)
        crc.table[0][b] = times_power(b, 8);
    for (unsigned k = 1; k < SLICES; k++)
        for (unsigned b = 0; b < 256; b++)
            crc.table[k][b] = crc.table[k - 1][b] >> 8 ^ crc.table[0][crc.table[k - 1][b] & 0xff];
    /*
     * Of 16 bytes in a register the low half has the higher powers of x. The product of two reflected numbers of 64 bits
     * comes out one power too low for a register of 128; hence the - 1.
     */
    crc.fold_far[0] = times_power(ONE, 512 + 64 - 1);
    crc.fold_far[1] = times_power(ONE, 512 - 1);
    crc.fold_near[0] = times_power(ONE, 128 + 64 - 1);
    crc.fold_near[1] = times_power(ONE, 128 - 1);
#if CAN_FOLD
    crc.folds = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
#endif
}

static inline uint64_t load64(const unsigned char *p)
{
    uint64_t w;

    memcpy(&w, p, sizeof w);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap64(w);
#endif
    return w;
}

/* The checksum of eight bytes that `behind` further bytes follow. */
static inline uint64_t slice(uint64_t w, unsigned behind)
{
    const uint64_t(*t)[256] = crc.table + behind;

    return t[7][w & 0xff] ^ t[6][w >> 8 & 0xff] ^ t[5][w >> 16 & 0xff] ^ t[4][w >> 24 & 0xff] ^ t[3][w >> 32 & 0xff] ^
           t[2][w >> 40 & 0xff] ^ t[1][w >> 48 & 0xff] ^ t[0][w >> 56];
}

static uint64_t by_tables(uint64_t sum, const unsigned char *p, size_t n)
{
    for (; n >= SLICES; p += SLICES, n -= SLICES)
        sum = slice(load64(p) ^ sum, 8) ^ slice(load64(p + 8), 0);
    for (; n > 0; p++, n--)
        sum = sum >> 8 ^ crc.table[0][(sum ^ *p) & 0xff];
    return sum;
}

#if CAN_FOLD
#define FOLD_MIN 128 /* 64 at least; below, tables are about as quick */

static inline __attribute__((target("pclmul,sse4.1"))) __m128i fold(__m128i lane, __m128i factors, __m128i next)
{
    __m128i low = _mm_clmulepi64_si128(lane, factors, 0x00), high = _mm_clmulepi64_si128(lane, factors, 0x11);

    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

static inline __attribute__((target("pclmul,sse4.1"))) __m128i load(const unsigned char *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

static __attribute__((target("pclmul,sse4.1"))) uint64_t by_folding(uint64_t sum, const unsigned char *p, size_t n)
{
    __m128i far = load((const unsigned char *)crc.fold_far), near = load((const unsigned char *)crc.fold_near);
    __m128i a = _mm_xor_si128(load(p), _mm_set_epi64x(0, (long long)sum));
    __m128i b = load(p + 16), c = load(p + 32), d = load(p + 48);
    unsigned char last[16];

    for (p += 64, n -= 64; n >= 64; p += 64, n -= 64) {
        a = fold(a, far, load(p));
        b = fold(b, far, load(p + 16));
        c = fold(c, far, load(p + 32));
        d = fold(d, far, load(p + 48));
    }
    d = fold(fold(fold(a, near, b), near, c), near, d);
    _mm_storeu_si128((__m128i *)last, d);
    return by_tables(by_tables(0, last, sizeof last), p, n);
}
#endif

uint64_t crc64(uint64_t sum, const void *p, size_t n)
{
    pthread_once(&crc.once, prepare);
#if CAN_FOLD
    if (n >= FOLD_MIN && crc.folds)
        return by_folding(sum, p, n);
#endif
    return by_tables(sum, p, n);
}

uint64_t crc64_portable(uint64_t sum, const void *p, size_t n)
{
    pthread_once(&crc.once, prepare);
    return by_tables(sum, p, n);
}
