/*
 * Defragmentation: see defrag.h. Only a bucket's slot refers to an item, and only under the partition's lock, so moving
 * one is a copy and a store. Values of their own (blobs) stay where they are: the general allocator packs their few classes well enough.
 */
#include "engine/store/defrag.h"

#include <string.h>

#include "base/clock.h"
#include "engine/store/heap.h"
#include "engine/store/keyspace.h"

static void move_item(struct thread *t, struct bucket *b, unsigned slot)
{
    struct item *old = bucket_ref(b, slot), *it;
    size_t size = item_size(old);

    if (size > HEAP_BLOCK_MAX || !heap_draining(old))
        return;
    it = heap_alloc(t->heap, size);
    memcpy(it, old, size);
    bucket_set_ref(b, slot, it);
    heap_free(t->heap, old, size);
    tally_add(&t->defrag_moved, 1);
}

static void defrag_segment(struct thread *t, const struct segment *s)
{
    unsigned n = segment_buckets(s);

    for (unsigned i = 0; i < n; i++)
        for (struct bucket *b = segment_bucket(s, i); b; b = bucket_next(b))
            for (unsigned k = 0; k < TABLE_SLOTS; k++)
                if (b->tags[k] != 0) {
                    move_item(t, b, k);
                    tally_add(&t->defrag_scanned, 1);
                }
}

/* One segment, and on to the next; false when the partition (held) has no more. */
static bool partition_step(struct keyspace *ks, struct thread *t, struct defrag_walk *walk)
{
    const uint64_t end = UINT64_C(1) << TABLE_POSITION_BITS;
    struct table *table;
    struct db_owner owner;
    uint64_t span;

    while (!(table = db_table(&ks->db[walk->db], walk->partition)) || segment_word(&table->root) == 0) {
        walk->position = 0;
        if (++walk->db == ks->databases)
            return false;
    }
    db_owner_init(&owner, &ks->db[walk->db], t);
    table_trim(table, walk->position, &owner.base);
    defrag_segment(t, table_segment(table, walk->position));
    span = end >> word_depth(segment_word(table_segment(table, walk->position)));
    walk->position = (walk->position & ~(span - 1)) + span;
    if (walk->position < end)
        return true;
    walk->position = 0;
    return ++walk->db < ks->databases;
}

bool defrag_step(struct keyspace *ks, struct thread *t, uint32_t to, struct defrag_walk *walk, int64_t budget_us)
{
    int64_t start = clock_mono_us();

    while (walk->partition < to) {
        struct partition *p = &ks->partitions[walk->partition];
        bool more = partition_try(p), out_of_time = false;

        if (more) {
            while ((more = partition_step(ks, t, walk)) && !out_of_time)
                out_of_time = clock_mono_us() - start > budget_us;
            keyspace_release(ks, walk->partition);
        }
        if (!more)
            *walk = (struct defrag_walk){.partition = walk->partition + 1};
        if (out_of_time || clock_mono_us() - start > budget_us)
            return walk->partition >= to;
    }
    return true;
}
