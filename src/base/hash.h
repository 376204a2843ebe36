/* SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012), keyed: users choose the keys of a
 * cache, so an unkeyed or invertible hash would let them fill one partition. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct hash_key {
    uint64_t k0, k1;
};

/* 64 bits over n bytes. */
uint64_t hash_bytes(const struct hash_key *key, const void *p, size_t n);

#endif
