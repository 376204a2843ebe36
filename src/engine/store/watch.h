/*
 * Watched keys (WATCH). A watch hangs in its partition's list, under the partition's lock, and is shared with the
 * transaction that made it: whoever changes the key marks it, and a forgotten watch is dropped by the next one who
 * walks the list or adds to it.
 */
#ifndef STORE_WATCH_H
#define STORE_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/store/db.h"

struct partition;

/* What the watches of one transaction share. */
struct watch_set {
    atomic_bool changed; /* a watched key was */
    atomic_uint refs;    /* transaction and watches */
};

struct watch {
    struct watch *next;
    struct watch_set *set;
    struct db *db;
    struct key key; /* the name is the watch's own copy */
    atomic_bool forgotten;
    atomic_uint refs; /* list and transaction */
};

struct watch_set *watch_set_new(void);
void watch_set_unref(struct watch_set *set);

/* A watch on that key, in the partition's list (held); the caller owns one reference. NULL when the set has one
 * already. */
struct watch *watch_new(struct watch_set *set, struct partition *p, struct db *db, const struct key *key);

/* The transaction's reference goes; any thread, no lock. */
void watch_forget(struct watch *w);

/* Empties the partition's list (held). */
void watch_drop_all(struct partition *p);

/* Marks the watches on that key (held), and drops forgotten ones. */
void watch_changed(struct partition *p, const struct db *db, const struct key *key);

/* The same by hash and name of an item that is about to go. */
void watch_changed_all(struct partition *p, const struct db *db, bool (*present)(struct db *db, const struct key *key));

#endif
