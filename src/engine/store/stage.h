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

/* About how many keys are to come in that database: makes adding them quicker. */
void stage_expect(struct stage *s, uint32_t db, uint64_t keys);

/* Adds an item to a database. Its key must not be there already: stage_finish tells. */
void stage_add(struct stage *s, uint32_t db, struct item *it);

/* Everything was added; returns how many keys came twice, of which the first is there. */
uint64_t stage_finish(struct stage *s);

/* Keys in all databases. */
uint64_t stage_keys(const struct stage *s);

/* It becomes the data of its keyspace; what was there is freed later in steps. Gate closed, and no snapshot running. The
 * stage, which was finished, is empty afterwards. */
void stage_commit(struct stage *s);

#endif
