/* The inside of the keyspace, for store/ and for the executor's locking: everybody else uses db.h. */
#ifndef STORE_KEYSPACE_H
#define STORE_KEYSPACE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "engine/store/db.h"
#include "engine/store/partition.h"
#include "engine/store/table.h"
#include "engine/store/thread.h"

#define TABLE_PAGE 256u /* tables allocated together */
#define TABLE_PAGES (PARTITIONS / TABLE_PAGE)
#define DEADLINE_UNIT_MS 16
#define DEADLINE_GROUP 64u

/* Gets a home bucket, with its chain, as it was at the cut; db is its database's number then. The partition is held. */
typedef void cut_save_fn(void *arg, struct thread *t, uint32_t db, const struct bucket *home);

struct table_page {
    struct table tables[TABLE_PAGE];
};

struct db {
    unsigned index;
    uint32_t number_at_cut; /* goes with the tables when databases are swapped */
    struct keyspace *keyspace;
    _Atomic(struct table_page *) pages[TABLE_PAGES];
    _Atomic uint64_t filled[PARTITIONS / 64]; /* a bit for each partition that is not empty */
};

/* The pages of a cleared database, until keyspace_reclaim has freed them. */
struct dropped {
    struct dropped *next;
    unsigned page; /* the one to free next */
    unsigned table;
    uint32_t cut;    /* of the snapshot that still needs it; 0: none */
    struct db stand; /* in for its database, for that */
};

struct keyspace {
    struct partition *partitions;      /* PARTITIONS */
    _Atomic uint32_t *deadlines;       /* PARTITIONS: lower bound over the databases, in units since epoch_ms */
    _Atomic uint32_t *deadline_groups; /* lower bounds over DEADLINE_GROUP partitions each */
    int64_t epoch_ms;                  /* wall clock at creation, minus a day for clocks that are set back */
    struct hash_key hash_key;
    unsigned databases;
    struct db *db;
    atomic_bool exclusive; /* the gate is closed: every partition counts as held */
    struct thread *threads[THREAD_MAX];
    unsigned thread_count;
    pthread_mutex_t dropped_lock;
    struct dropped *dropped;
    atomic_bool has_dropped;
    void (*wake)(void *arg, uint32_t partition); /* somebody parked for a partition that is free now */
    void *wake_arg;
    /* A key went without anybody's command: it expired, or was evicted. Its partition is held. */
    void (*removed)(void *arg, struct thread *t, struct db *db, struct view name, bool evicted);
    void *removed_arg;
    uint32_t cut;           /* number of the last cut; this and the next change with the gate closed */
    atomic_bool saving;     /* its snapshot is not complete; commands outside the gate look at it, and write nothing */
    unsigned cut_databases; /* those from here on have nothing that it needs */
    cut_save_fn *save;
    void *save_arg;
};

/* Lets go of a partition, and wakes who waits for it. */
void keyspace_release(struct keyspace *ks, uint32_t partition);

/* Makes a thread known, so that its tallies are summed; at start, before it runs. */
void keyspace_attach(struct keyspace *ks, struct thread *t);

/* A wall clock time in units, rounded up, so that nothing is looked for before it has expired. */
uint32_t keyspace_deadline(const struct keyspace *ks, int64_t ms);

/* The unit that has wholly passed at that wall clock time. */
uint32_t keyspace_deadline_now(const struct keyspace *ks, int64_t ms);

/* Lowers the partition's bound (held), and its group's. */
void keyspace_note_deadline(struct keyspace *ks, uint32_t partition, uint32_t deadline);

/* Raises the bound of the partition's group to the least of its partitions'. */
void keyspace_refresh_group(struct keyspace *ks, uint32_t partition);

/* The table of a partition, or NULL while its page was never needed. Without the lock only its word may be read. */
static inline struct table *db_table(struct db *db, uint32_t partition)
{
    struct table_page *page = atomic_load_explicit(&db->pages[partition / TABLE_PAGE], memory_order_acquire);
    return page ? &page->tables[partition % TABLE_PAGE] : NULL;
}

/* The same, its page allocated if need be. */
struct table *db_table_needed(struct db *db, uint32_t partition);

/* What table functions need of the database when they rebuild a segment. */
struct db_owner {
    struct table_owner base;
    struct db *db;
    struct thread *t;
};
void db_owner_init(struct db_owner *o, struct db *db, struct thread *t);

/* Says that the key goes, and why it is nobody's command: watchers see it, it gets into the log. */
void keyspace_removed(struct keyspace *ks, struct thread *t, struct db *db, const struct key *key, bool evicted);

/* Removes what stands in that slot: table, counters, bitmap. The item is the caller's. */
void db_take(struct db *db, struct thread *t, uint32_t partition, uint64_t hash, struct bucket *b, unsigned slot);

#define DB_PREFETCH_MAX 256

/* Prefetches what looking up n <= DB_PREFETCH_MAX keys will touch. No lock held; nothing that the database consists of
 * is freed meanwhile (the gate). */
void db_prefetch(struct db *db, const struct key *const *keys, unsigned n);

#endif
