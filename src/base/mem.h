/*
 * Allocation helpers. Small fixed allocations abort when memory is out; sizes that a client chooses go through
 * mem_try and may fail. Every allocation counts towards mem_used, by its usable size, on a counter of the calling
 * thread (a thread may free what another allocated: only the sum has a meaning).
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* At least n bytes, uninitialised; aborts with a message when there is no memory. */
void *mem_alloc(size_t n) __attribute__((malloc, returns_nonnull));

/* The same, zeroed. */
void *mem_zalloc(size_t n) __attribute__((malloc, returns_nonnull));

/* Like mem_alloc at a 64-byte boundary; n is a multiple of 64. */
void *mem_alloc_lines(size_t n) __attribute__((malloc, returns_nonnull));

/* Like mem_alloc, but returns NULL when there is no memory (or when a test injects that failure). */
void *mem_try(size_t n) __attribute__((malloc));

/* realloc that returns NULL on failure and leaves p as it was. p may be NULL. */
void *mem_try_realloc(void *p, size_t n);

/* realloc that aborts on failure. p may be NULL. */
void *mem_realloc(void *p, size_t n) __attribute__((returns_nonnull));

/* A copy of n bytes with a NUL behind it. */
char *mem_strndup(const char *p, size_t n) __attribute__((malloc, returns_nonnull));

/* Accepts NULL. */
void mem_free(void *p);

/* Usable bytes of a block; 0 for NULL. */
size_t mem_size(const void *p);

/* Counts n bytes (may be negative) that were allocated elsewhere, by mmap for instance. */
void mem_count(int64_t n);

/* Bytes in use over all threads, a moment's approximation. */
int64_t mem_used(void);

/* What this thread has allocated less what it has freed; 0 on the few threads that share a counter. */
int64_t mem_used_here(void);

/* Maps of their own for big blocks, n and old in whole pages: growing one moves page tables, not bytes. NULL when there
 * is no memory, p then as it was. */
void *mem_try_map(size_t n);
void *mem_try_remap(void *p, size_t old, size_t n);
void mem_unmap(void *p, size_t n);

/* From MEM_DEFER_MIN bytes on mem_unmap only counts and queues, once somebody offers to give the pages back: wake, called
 * on any thread, must only get mem_reclaim called. NULL ends the offer. */
#define MEM_DEFER_MIN ((size_t)1 << 20)
void mem_on_deferred(void (*wake)(void *arg), void *arg);

/* Gives one queued map back, in small steps with rests; false when there was none. Where time does not matter. */
bool mem_reclaim(void);

/* Tests: the mem_try, mem_try_realloc, mem_try_map and mem_try_remap calls of this thread fail from the n-th on (0: the
 * very next); negative switches the injection off. */
void mem_fail_after(int n);

#endif
