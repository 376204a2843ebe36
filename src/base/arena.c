/*
 * The arena's chunks. An ordinary chunk serves many allocations; a request too big to share one gets a chunk of its
 * own, linked behind the current chunk, whose rest stays in use. All chunk room is a multiple of 16.
 */
#include "base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

#define CHUNK_ROOM (16384 - sizeof(struct arena_chunk))
#define SHARED_MAX (CHUNK_ROOM / 4) /* bigger requests get a chunk of their own: bounds the rest that is wasted */

struct arena_chunk {
    struct arena_chunk *next;
    size_t room; /* bytes behind this header */
};

_Static_assert(sizeof(struct arena_chunk) % 16 == 0, "chunk room must be 16-byte aligned");

static char *chunk_start(struct arena_chunk *c)
{
    return (char *)(c + 1);
}

static struct arena_chunk *chunk_new(size_t room)
{
    struct arena_chunk *c = mem_alloc(sizeof *c + room);

    c->room = room;
    return c;
}

static void use_chunk(struct arena *a, struct arena_chunk *c)
{
    a->chunk = c;
    a->next = chunk_start(c);
    a->end = a->next + c->room;
}

void *arena_alloc_slow(struct arena *a, size_t n)
{
    struct arena_chunk *c;
    void *p;

    if (n > PTRDIFF_MAX - 2 * sizeof *c) {
        fprintf(stderr, "Out of memory allocating %zu bytes\n", n);
        abort();
    }
    n = n != 0 ? (n + 15) & ~(size_t)15 : 16;
    if (n > SHARED_MAX && a->chunk != NULL) {
        c = chunk_new(n);
        c->next = a->chunk->next;
        a->chunk->next = c;
        return chunk_start(c);
    }
    if ((size_t)(a->end - a->next) < n) {
        c = chunk_new(n > CHUNK_ROOM ? n : CHUNK_ROOM);
        c->next = a->chunk;
        use_chunk(a, c);
    }
    p = a->next;
    a->next += n;
    return p;
}

void arena_reset(struct arena *a)
{
    struct arena_chunk *c = a->chunk, *keep = NULL;

    if (c == NULL)
        return;
    if (c->next == NULL && c->room == CHUNK_ROOM) {
        a->next = chunk_start(c);
        return;
    }
    while (c != NULL) {
        struct arena_chunk *next = c->next;

        if (keep == NULL && c->room == CHUNK_ROOM)
            keep = c;
        else
            mem_free(c);
        c = next;
    }
    *a = (struct arena){0};
    if (keep != NULL) {
        keep->next = NULL;
        use_chunk(a, keep);
    }
}

void arena_free(struct arena *a)
{
    struct arena_chunk *c = a->chunk;

    while (c != NULL) {
        struct arena_chunk *next = c->next;

        mem_free(c);
        c = next;
    }
    *a = (struct arena){0};
}
