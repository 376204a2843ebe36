/*
 * The keyspace: databases of 16384 partitions, each a lock and, per database, a directory of segments of buckets.
 * Everything here that names a key requires that the key's partition is held by the caller (debug builds check).
 */
#ifndef STORE_DB_H
#define STORE_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/view.h"
#include "engine/store/item.h"

#define PARTITIONS 16384u
#define DB_CURSOR_END 0 /* cursor of a finished, and of a new, iteration */

struct bucket;
struct db;
struct keyspace;
struct thread;

/* A key with its hash: made once per command, before any lock is taken. */
struct key {
    struct view name;
    uint64_t hash;
};

static inline uint32_t key_partition(const struct key *k)
{
    return (uint32_t)k->hash & (PARTITIONS - 1);
}

/* Where an item sits. Valid until the next insertion, removal or unlock in its partition. */
struct place {
    struct bucket *bucket;
    unsigned slot;
};

/* databases: 1 .. 65536. */
struct keyspace *keyspace_new(unsigned databases);
void keyspace_free(struct keyspace *ks, struct thread *t);
struct db *keyspace_db(struct keyspace *ks, unsigned index);
unsigned keyspace_databases(const struct keyspace *ks);
const struct hash_key *keyspace_hash_key(const struct keyspace *ks);
unsigned db_index(const struct db *db);

/* Exchanges the contents of two databases. Gate closed. */
void keyspace_swap(struct keyspace *ks, unsigned a, unsigned b);

/* Empties a database; what it held is freed later in steps (keyspace_reclaim). Gate closed. Returns the keys dropped. */
uint64_t db_clear(struct keyspace *ks, struct db *db);

/* Frees up to about `blocks` items of dropped tables; false when nothing is left to free, or another thread is at it. Any
 * thread, no lock. */
bool keyspace_reclaim(struct keyspace *ks, struct thread *t, unsigned blocks);

static inline struct key key_make(const struct hash_key *hk, struct view name)
{
    return (struct key){name, hash_bytes(hk, name.p, name.n)};
}

/* The item under key or NULL, expired or not. at may be NULL. */
struct item *db_find(struct db *db, const struct key *key, struct place *at);

/* Adds an item under a key that is not there. */
void db_insert(struct db *db, struct thread *t, const struct key *key, struct item *it);

/* Puts `it` in the place of the item found there, with the same key; the old one is the caller's to free. */
void db_replace(struct db *db, struct thread *t, const struct key *key, const struct place *at, struct item *it);

/* Takes the item out; it is the caller's to free. */
void db_remove(struct db *db, struct thread *t, const struct key *key, const struct place *at);

/* Sets (at >= 0, ms since the epoch) or clears (-1) the expiry of the item at that place; the item may move: the new
 * address is returned. */
struct item *db_expire(struct db *db, struct thread *t, const struct key *key, const struct place *at, int64_t when);

/* Keys (and keys with an expiry) in the database, summed over threads. */
uint64_t db_size(const struct db *db);
uint64_t db_expires(const struct db *db);

/*
 * Iteration in the order of partition and hash. A position is the cursor of SCAN: below 2^53, 0 at the start. Returns
 * the first partition at or after the cursor that is not empty in this database, or PARTITIONS when there is none.
 */
uint32_t db_next_partition(const struct db *db, uint64_t cursor);

/* Visits one bucket chain of `partition` (held) at or after the cursor; fn gets every item in it. Returns the cursor
 * of what follows, which may be in the next partition; DB_CURSOR_END after the last partition. fn must not change the
 * table. */
typedef void db_visit_fn(void *arg, struct item *it);
uint64_t db_scan(struct db *db, uint32_t partition, uint64_t cursor, db_visit_fn *fn, void *arg);

/* A random item of `partition` (held), or NULL when it is empty. */
struct item *db_random(struct db *db, struct thread *t, uint32_t partition);

/* A random item of `partition` (held) with an expiry, or NULL when none is found. Not every one is as likely. */
struct item *db_random_volatile(struct db *db, struct thread *t, uint32_t partition);

#endif
