/* What values of every type share: how a new one comes into the table. */
#ifndef TYPES_VALUE_H
#define TYPES_VALUE_H

#include "engine/store/db.h"

/*
 * Puts an item that is in no table yet under key. old is what db_find found there at `at`, of any type, or NULL; it is
 * freed.
 */
void value_put(struct db *db, struct thread *t, const struct key *key, struct item *old, const struct place *at,
               struct item *it);

/* The same for a new value of a key that goes on: what is known of the accesses to old is kept, and this is one. */
void value_overwrite(struct db *db, struct thread *t, const struct key *key, struct item *old, const struct place *at,
                     struct item *it);

#endif
