/*
 * SipHash-1-3: one round a word, three to finish. The last, partial word is put together from overlapping loads instead
 * of byte by byte, since keys are short and that loop would cost as much as the rounds.
 */
#include "base/hash.h"

#include <string.h>

static inline uint64_t load64(const unsigned char *p)
{
    uint64_t w;

    memcpy(&w, p, sizeof w);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap64(w);
#endif
    return w;
}

static inline uint64_t load32(const unsigned char *p)
{
    uint32_t w;

    memcpy(&w, p, sizeof w);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap32(w);
#endif
    return w;
}

/* The n % 8 bytes at the end of p[0..n), as the low bytes of a word. */
static inline uint64_t load_tail(const unsigned char *p, size_t n)
{
    size_t rest = n & 7;

    if (rest == 0)
        return 0;
    if (n >= 8)
        return load64(p + n - 8) >> (64 - 8 * rest);
    if (n >= 4)
        return load32(p) | load32(p + n - 4) << (8 * (n - 4));
    return (uint64_t)p[0] | (uint64_t)p[n / 2] << (8 * (n / 2)) | (uint64_t)p[n - 1] << (8 * (n - 1));
}

static inline uint64_t rotl(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

struct state {
    uint64_t a, b, c, d;
};

static inline void sip_round(struct state *s)
{
    s->a += s->b;
    s->c += s->d;
    s->b = rotl(s->b, 13) ^ s->a;
    s->d = rotl(s->d, 16) ^ s->c;
    s->a = rotl(s->a, 32);
    s->c += s->b;
    s->a += s->d;
    s->b = rotl(s->b, 17) ^ s->c;
    s->d = rotl(s->d, 21) ^ s->a;
    s->c = rotl(s->c, 32);
}

uint64_t hash_bytes(const struct hash_key *key, const void *p, size_t n)
{
    /* The four constants spell "somepseudorandomlygeneratedbytes". */
    struct state s = {key->k0 ^ 0x736f6d6570736575u, key->k1 ^ 0x646f72616e646f6du, key->k0 ^ 0x6c7967656e657261u,
                      key->k1 ^ 0x7465646279746573u};
    const unsigned char *at = p;
    uint64_t w = (uint64_t)n << 56 | load_tail(at, n);

    for (size_t left = n / 8; left != 0; left--, at += 8) {
        uint64_t m = load64(at);

        s.d ^= m;
        sip_round(&s);
        s.a ^= m;
    }
    s.d ^= w;
    sip_round(&s);
    s.a ^= w;
    s.c ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.a ^ s.b ^ s.c ^ s.d;
}
