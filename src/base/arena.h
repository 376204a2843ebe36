/*
 * A region of short-lived memory: allocations are bumped from chunks and freed all together. Used for what lives as
 * long as one batch of commands: argument arrays, keys, lock sets.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena_chunk;

/* All zero is an empty arena. */
struct arena {
    struct arena_chunk *chunk;
    char *next, *end;
};

void *arena_alloc_slow(struct arena *a, size_t n);

/* n bytes, 16-byte aligned, uninitialised; aborts when there is no memory. */
static inline __attribute__((always_inline)) void *arena_alloc(struct arena *a, size_t n)
{
    /* What is left is a multiple of 16, so rounding n up stays inside, and cannot wrap. */
    if ((size_t)(a->end - a->next) > n) {
        void *p = a->next;
        a->next += (n + 15) & ~(size_t)15;
        return p;
    }
    return arena_alloc_slow(a, n);
}

/* Empties the arena; keeps one chunk of ordinary size for the next round. */
void arena_reset(struct arena *a);

/* Frees everything. */
void arena_free(struct arena *a);

#endif
