/*
 * Snapshots without a fork. A cut is a moment, taken with the gate closed: from then on every home bucket that is not
 * marked with the cut's number still holds what it held at that moment. Whoever is about to change such a bucket hands
 * it to `save` first, and marks it; a walk over all partitions hands over the rest. What was made since carries the mark
 * from the beginning. Databases that are swapped keep the number that they had at the cut, and dropped ones are handed
 * over before they are freed.
 *
 * The bucket is the unit, not the segment, because a write then saves about eight items instead of some hundreds.
 */
#ifndef STORE_CUT_H
#define STORE_CUT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/store/db.h"
#include "engine/store/keyspace.h"

/* Takes the cut. Gate closed; no other is running. */
void cut_begin(struct keyspace *ks, cut_save_fn *save, void *arg);

/* No more buckets are handed over. Gate closed. */
void cut_end(struct keyspace *ks);

void cut_save_slow(struct db *db, struct thread *t, struct bucket *home);

/* Before anything in the chain of that home bucket changes; its partition is held. home may be NULL. */
static inline void cut_before_change(struct db *db, struct thread *t, struct bucket *home)
{
    struct keyspace *ks = db->keyspace;

    if (__builtin_expect(ks->saving, 0) && home && home->cut != ks->cut)
        cut_save_slow(db, t, home);
}

/* Before a handler writes to that key, which is held. */
void cut_before_write(struct db *db, struct thread *t, const struct key *key);

/* Hands over what is left in that partition, of all databases, until clock_mono_us reaches end_us. True when nothing is
 * left, false when the time is up, or the partition is taken. Inside the gate. */
bool cut_partition(struct keyspace *ks, struct thread *t, uint32_t partition, int64_t end_us);

/* Has everything dropped since the cut been freed, and so been handed over? */
bool cut_dropped_done(struct keyspace *ks);

#endif
