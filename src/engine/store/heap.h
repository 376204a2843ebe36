/*
 * The block allocator of the store: 8-byte classes up to HEAP_BLOCK_MAX, in pages of 64 KiB that live in 2 MiB chunks.
 * A thread takes blocks from magazines of its own and exchanges them with the pages in batches. A page in which too
 * few blocks are used can be set to drain: it gives out no more blocks, and whoever walks the tables moves its items
 * elsewhere (store/defrag.c); an empty page goes back to the kernel.
 */
#ifndef STORE_HEAP_H
#define STORE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/store/thread.h"

#define HEAP_BLOCK_MAX 2048
#define HEAP_CLASSES (HEAP_BLOCK_MAX / 8 + 1)

struct heap_shared;

/* A stack of free blocks of one class, linked through their first bytes. */
struct magazine {
    void *head;
    uint32_t count;
    uint32_t limit; /* how many it may hold before half go back; 0 until first used */
};

/* A thread's front. */
struct heap {
    struct heap_shared *shared;
    tally used;           /* bytes handed out by this front minus bytes returned to it; the sum over fronts counts */
    uint32_t drain_epoch; /* of the shared heap when the magazines were last emptied for it */
    struct magazine magazines[HEAP_CLASSES];
};

struct heap_stats {
    uint64_t used;     /* bytes in blocks that are in use */
    uint64_t resident; /* bytes of pages in use or kept for reuse */
    uint64_t pages;    /* in use */
};

struct heap_shared *heap_shared_new(void);
void heap_shared_free(struct heap_shared *hs);

/* A front for one thread; the shared heap keeps it for statistics until it is freed itself. */
struct heap *heap_new(struct heap_shared *hs);

void *heap_alloc_slow(struct heap *h, unsigned class);
void heap_flush(struct heap *h, unsigned class, uint32_t keep);

/* Gives all magazines back to the pages. */
void heap_trim(struct heap *h);

/* Blocks of at most HEAP_BLOCK_MAX bytes, 8-byte aligned, uninitialised; aborts when there is no memory. */
void *heap_alloc(struct heap *h, size_t size);

/* size is what it was allocated with. A block of a draining page goes straight back to it. */
void heap_free(struct heap *h, void *p, size_t size);

/* Does the block lie in a page that is being drained? */
bool heap_draining(const void *p);

/* Chooses the pages to drain: those with the fewest used blocks, as long as their items fit into the free blocks of
 * the others of their class. Returns how many pages drain now. Also tells all fronts to empty their magazines. */
uint64_t heap_choose_drain(struct heap_shared *hs);

/* Lets pages that still drain take part again. */
void heap_end_drain(struct heap_shared *hs);

/* Empties the front's magazines if a drain began since the last call. */
void heap_drain_check(struct heap *h);

void heap_stats(struct heap_shared *hs, struct heap_stats *out);

/* Bytes in blocks that are in use, without a lock. */
uint64_t heap_used(struct heap_shared *hs);

#endif
