/* Cuts: see cut.h. */
#include "engine/store/cut.h"

#include <assert.h>

#include "base/clock.h"

#define SEGMENT_MIN 8 /* home buckets that are handed over between two looks at the clock, at least */

void cut_begin(struct keyspace *ks, cut_save_fn *save, void *arg)
{
    assert(!ks->saving);
    ks->save = save;
    ks->save_arg = arg;
    ks->cut++;
    ks->cut_databases = 0;
    for (unsigned i = 0; i < ks->databases; i++) {
        ks->db[i].number_at_cut = i;
        if (db_size(&ks->db[i]) > 0)
            ks->cut_databases = i + 1;
    }
    ks->saving = true;
}

void cut_end(struct keyspace *ks)
{
    ks->saving = false;
}

void cut_save_slow(struct db *db, struct thread *t, struct bucket *home)
{
    struct keyspace *ks = db->keyspace;

    ks->save(ks->save_arg, t, db->number_at_cut, home);
    home->cut = ks->cut;
}

void cut_before_write(struct db *db, struct thread *t, const struct key *key)
{
    struct table *table = db_table(db, key_partition(key));

    cut_before_change(db, t, table ? table_home(table, key->hash) : NULL);
}

struct sweep {
    struct db *db;
    struct thread *t;
    int64_t end_us;
    unsigned saved; /* since the last look at the clock */
    bool stopped;
};

static void prefetch_items(const struct bucket *b)
{
    for (unsigned i = 0; i < TABLE_SLOTS; i++)
        if (b->tags[i] != 0)
            __builtin_prefetch(bucket_ref(b, i));
}

static void save_segment(void *arg, struct segment *s)
{
    struct sweep *sweep = arg;
    uint32_t cut = sweep->db->keyspace->cut;

    for (unsigned i = 0; i < segment_buckets(s) && !sweep->stopped; i++) {
        struct bucket *home = segment_bucket(s, i);
        if (home->cut == cut)
            continue;
        if (i + 1 < segment_buckets(s))
            prefetch_items(home + 1);
        cut_save_slow(sweep->db, sweep->t, home);
        if (++sweep->saved >= SEGMENT_MIN) {
            sweep->saved = 0;
            sweep->stopped = clock_mono_us() > sweep->end_us;
        }
    }
}

bool cut_partition(struct keyspace *ks, struct thread *t, uint32_t partition, int64_t end_us)
{
    struct sweep sweep = {.t = t, .end_us = end_us};

    if (!partition_try(&ks->partitions[partition]))
        return false;
    for (unsigned i = 0; i < ks->cut_databases && !sweep.stopped; i++) {
        struct table *table = db_table(&ks->db[i], partition);
        sweep.db = &ks->db[i];
        if (table)
            table_each_segment(table, save_segment, &sweep);
    }
    keyspace_release(ks, partition);
    return !sweep.stopped;
}

bool cut_dropped_done(struct keyspace *ks)
{
    bool done = true;

    pthread_mutex_lock(&ks->dropped_lock);
    for (const struct dropped *d = ks->dropped; d; d = d->next)
        done = done && d->cut != ks->cut;
    pthread_mutex_unlock(&ks->dropped_lock);
    return done;
}
