/* Strings: plain bytes, inline in the item while the block stays small, else in a blob. */
#ifndef TYPES_STRING_H
#define TYPES_STRING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"
#include "engine/store/db.h"

/* A plain string item for key that is in no table yet (types/value.h puts it there), expiry in ms since the epoch, -1 for
 * none. NULL when there is no memory. */
struct item *string_new(struct thread *t, const struct key *key, struct view value, int64_t expiry);

/*
 * Stores value under key with that expiry (ms since the epoch, -1 none). old is what db_find found there at `at`, of
 * any type, or NULL; it is overwritten in place when the block fits, else freed. Returns the item that is there now, or
 * NULL when there is no memory, with nothing changed.
 */
struct item *string_store(struct db *db, struct thread *t, const struct key *key, struct item *old,
                          const struct place *at, struct view value, int64_t expiry, enum item_form form);

/*
 * Gives the string under key a length of n bytes, for writing through item_bytes: the bytes that were there stay, new
 * ones are zero. old (a string, or NULL for an absent key) and `at` as above. The result is not shared with any reply.
 * slack: leave room to grow in a blob (APPEND). Returns the item that is there now, form RAW, expiry kept; NULL when
 * there is no memory, with nothing changed.
 */
struct item *string_resize(struct db *db, struct thread *t, const struct key *key, struct item *old,
                           const struct place *at, size_t n, bool slack);

/* The value as a 64-bit integer, if its bytes spell one canonically. it may be NULL: reads as 0. */
bool string_int(const struct item *it, int64_t *out);

/* "int", "embstr" or "raw". */
const char *string_encoding(const struct item *it);

#endif
