/* What the linked allocator tells of itself, for INFO and for the search for leaks. */
#ifndef BASE_ALLOCATOR_H
#define BASE_ALLOCATOR_H

#include <stdbool.h>
#include <stdint.h>

struct allocator_stats {
    uint64_t allocated; /* bytes that callers hold */
    uint64_t active;    /* bytes of pages that hold some of them */
    uint64_t resident;  /* bytes of memory, caches and bookkeeping included */
};

/* False when the allocator does not tell. Takes some tens of microseconds. */
bool allocator_stats(struct allocator_stats *out);

/* Sets for how long free pages are kept for reuse: a fifth of a second. Once, at start. */
void allocator_start(void);

/* Gives pages back that have been free for so long; to be called a few times a second. The allocator does this by itself
 * only while somebody allocates; its own thread for it waits for megabytes. */
void allocator_decay(void);

/* Gives pages that hold nothing back to the kernel. Takes as long as the kernel needs for them. */
void allocator_trim(void);

/* "jemalloc-5.3.0", "libc". */
const char *allocator_name(void);

/* Writes the allocator's own report, as text for people. Takes some milliseconds. */
void allocator_report(void (*write)(void *arg, const char *text), void *arg);

#endif
