/* Random numbers: xoshiro256** (Blackman and Vigna, 2018) for sampling, the kernel's for seeds and identifiers. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* A generator is owned by one thread. */
struct random {
    uint64_t s[4];
};

/* Seeds from the kernel; aborts if the kernel has no random bytes. */
void random_seed(struct random *r);

/* Fills n bytes from the kernel. */
void random_bytes(void *p, size_t n);

/* n random hexadecimal digits (even, at most 64) and a NUL. */
void random_hex(char *out, size_t n);

static inline uint64_t random_next(struct random *r)
{
    uint64_t *s = r->s, x = s[1] * 5, t = s[1] << 17;

    x = ((x << 7) | (x >> 57)) * 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return x;
}

/* Uniform below n (n > 0), by Lemire's multiplication; bias below n / 2^64. */
static inline uint64_t random_below(struct random *r, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)random_next(r) * n) >> 64);
}

#endif
