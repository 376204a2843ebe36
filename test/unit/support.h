/*
 * What unit tests of the store and of what stands on it need: a thread with its heap, and a keyspace whose partitions
 * all count as held.
 */
#ifndef UNIT_SUPPORT_H
#define UNIT_SUPPORT_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/random.h"
#include "engine/store/db.h"
#include "engine/store/heap.h"
#include "engine/store/keyspace.h"
#include "engine/store/thread.h"

#define SUPPORT_DATABASES 2

struct support {
    struct heap_shared *heaps;
    struct thread thread;
    struct keyspace *keyspace;
    struct db *db; /* database 0 */
};

/* A set-up function for cmocka. */
static inline int support_setup(void **state)
{
    struct support *s = mem_zalloc(sizeof *s);

    s->heaps = heap_shared_new();
    s->thread.heap = heap_new(s->heaps);
    random_seed(&s->thread.random);
    s->keyspace = keyspace_new(SUPPORT_DATABASES);
    keyspace_attach(s->keyspace, &s->thread);
    atomic_store(&s->keyspace->exclusive, true);
    s->db = keyspace_db(s->keyspace, 0);
    *state = s;
    return 0;
}

static inline int support_teardown(void **state)
{
    struct support *s = *state;

    mem_fail_after(-1);
    keyspace_free(s->keyspace, &s->thread);
    mem_free(s->thread.db);
    heap_shared_free(s->heaps);
    mem_free(s);
    return 0;
}

static inline struct key support_key(const struct support *s, const char *name)
{
    return key_make(keyspace_hash_key(s->keyspace), view_str(name));
}

/* Random numbers from a seed that is new in each run, or given by LARDER_TEST_SEED; printed, to repeat what failed. */
static inline struct random support_random(void)
{
    const char *given = getenv("LARDER_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 0;
    struct random r;

    if (!given)
        random_bytes(&seed, sizeof seed);
    print_message("LARDER_TEST_SEED=%llu\n", (unsigned long long)seed);
    for (unsigned i = 0; i < 4; i++)
        r.s[i] = (seed += UINT64_C(0x9e3779b97f4a7c15)) | (i == 0); /* never all zeros */
    for (unsigned i = 0; i < 32; i++)
        random_next(&r);
    return r;
}

#endif
