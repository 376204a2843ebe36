/* Stages: see stage.h. A stage is a keyspace of its own, of which every partition counts as held. */
#include "engine/store/stage.h"

#include <assert.h>

#include "base/mem.h"
#include "engine/store/keyspace.h"
#include "engine/store/watch.h"

#define BATCH 64

struct pending {
    struct item *item;
    struct key key;
};

struct stage {
    struct keyspace *target;
    struct keyspace *keyspace;
    uint64_t *expected;          /* keys a partition, by database; 0: unknown */
    struct pending batch[BATCH]; /* of database db, not looked up yet */
    unsigned count;
    uint32_t db;
    uint64_t duplicates;
    struct thread thread; /* heap and random numbers are the loading thread's, the counters are for the stage alone */
};

struct stage *stage_new(struct keyspace *ks, struct thread *t)
{
    struct stage *s = mem_zalloc(sizeof *s);

    s->target = ks;
    s->expected = mem_zalloc(ks->databases * sizeof *s->expected);
    s->keyspace = keyspace_new(ks->databases);
    s->keyspace->hash_key = ks->hash_key;
    s->keyspace->epoch_ms = ks->epoch_ms;
    atomic_store(&s->keyspace->exclusive, true);
    s->thread.index = t->index;
    s->thread.heap = t->heap;
    s->thread.random = t->random;
    keyspace_attach(s->keyspace, &s->thread);
    return s;
}

void stage_free(struct stage *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < s->count; i++)
        item_free(&s->thread, s->batch[i].item);
    keyspace_free(s->keyspace, &s->thread);
    mem_free(s->expected);
    mem_free(s->thread.db);
    mem_free(s);
}

void stage_expect(struct stage *s, uint32_t db, uint64_t keys)
{
    s->expected[db] = keys / PARTITIONS + keys / PARTITIONS / 8;
}

/* The items come in no order that this hash has anything to do with: memory is slower than all the rest, unless it is asked for
 * what a batch needs in advance. */
static void add_batch(struct stage *s)
{
    const struct key *keys[BATCH];
    struct db *db = &s->keyspace->db[s->db];
    struct db_owner owner;

    for (unsigned i = 0; i < s->count; i++)
        keys[i] = &s->batch[i].key;
    db_prefetch(db, keys, s->count);
    for (unsigned i = 0; i < s->count; i++) {
        struct pending *p = &s->batch[i];
        if (db_find(db, &p->key, NULL)) {
            s->duplicates++;
            item_free(&s->thread, p->item);
            continue;
        }
        if (s->expected[s->db] > 0) {
            db_owner_init(&owner, db, &s->thread);
            table_reserve(db_table_needed(db, key_partition(&p->key)), s->expected[s->db], &owner.base);
        }
        db_insert(db, &s->thread, &p->key, p->item);
    }
    s->count = 0;
}

void stage_add(struct stage *s, uint32_t db, struct item *it)
{
    if (s->count == BATCH || (s->count > 0 && s->db != db))
        add_batch(s);
    s->db = db;
    s->batch[s->count++] = (struct pending){it, key_make(&s->keyspace->hash_key, item_key(it))};
}

uint64_t stage_finish(struct stage *s)
{
    add_batch(s);
    return s->duplicates;
}

uint64_t stage_keys(const struct stage *s)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < s->keyspace->databases; i++)
        n += db_size(&s->keyspace->db[i]);
    return n;
}

static bool is_present(struct db *db, const struct key *key)
{
    return db_find(db, key, NULL) != NULL;
}

/* Watchers of what goes, and of what comes, see a change. */
static void tell_watchers(struct keyspace *ks, struct db *db)
{
    if (db_size(db) > 0)
        for (uint32_t p = 0; p < PARTITIONS; p++)
            watch_changed_all(&ks->partitions[p], db, is_present);
}

static void move_db(struct keyspace *to, struct db *db, struct db *from, const struct thread *counted)
{
    const struct db_tally *n = &counted->db[from->index];

    for (unsigned i = 0; i < TABLE_PAGES; i++)
        atomic_store(&db->pages[i], atomic_exchange(&from->pages[i], NULL));
    for (unsigned i = 0; i < PARTITIONS / 64; i++)
        atomic_store(&db->filled[i], atomic_exchange(&from->filled[i], 0));
    atomic_store(&to->threads[0]->db[db->index].keys, tally_read(&n->keys));
    atomic_store(&to->threads[0]->db[db->index].expires, tally_read(&n->expires));
}

void stage_commit(struct stage *s)
{
    struct keyspace *ks = s->target;

    assert(atomic_load(&ks->exclusive) && !ks->saving && s->count == 0);
    for (unsigned i = 0; i < ks->databases; i++) {
        struct db *db = &ks->db[i];
        if (db_size(db) == 0 && db_size(&s->keyspace->db[i]) == 0)
            continue;
        tell_watchers(ks, db);
        db_clear(ks, db); /* an empty one too: it may have tables, and counts of threads that cancel each other */
        move_db(ks, db, &s->keyspace->db[i], &s->thread);
        tell_watchers(ks, db);
    }
    for (unsigned i = 0; i < PARTITIONS; i++)
        atomic_store(&ks->deadlines[i], atomic_load(&s->keyspace->deadlines[i]));
    for (unsigned i = 0; i < PARTITIONS / DEADLINE_GROUP; i++)
        atomic_store(&ks->deadline_groups[i], atomic_load(&s->keyspace->deadline_groups[i]));
    for (unsigned i = 0; i < ks->databases; i++)
        s->thread.db[i] = (struct db_tally){0};
}
