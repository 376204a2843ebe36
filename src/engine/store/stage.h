/*
 * A data set in the making, beside the one that is served: a file that is loaded, a primary's snapshot that comes in. It
 * becomes the data as a whole or not at all.
 */
#ifndef STORE_STAGE_H
#define STORE_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/store/db.h"

struct item;
struct stage;
struct thread;

/* An empty one, with as many databases as ks and the same hash. t: whose heap its items are made with. Used by one thread, whatever
 * its gate or locks. */
struct stage *stage_new(struct keyspace *ks, struct thread *t);

/* Frees it with what it holds. Accepts NULL. */
void stage_free(struct stage *s);

/* Adds an item to a database; false, the item freed, when the key is there already. */
bool stage_add(struct stage *s, uint32_t db, struct item *it);

/* Keys in all databases. */
uint64_t stage_keys(const struct stage *s);

/* It becomes the data of its keyspace; what was there is freed later in steps. Gate closed, and no snapshot running. The
 * stage is empty afterwards. */
void stage_commit(struct stage *s);

#endif
