/* What the commands on keys of any type share. */
#ifndef CMD_GENERIC_H
#define CMD_GENERIC_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/cmd/call.h"
#include "engine/store/item.h"

/* TYPE's word for a type. */
const char *generic_type_name(enum item_type type);

/* call_read without touching the access clock: what only asks about a key must not make it look used. */
struct item *generic_peek(struct call *c, unsigned i);

/* call_find, noting an access: for writers that leave the value as it is (EXPIRE, RENAME ...). */
struct item *generic_use(struct call *c, unsigned i, struct place *at);

/* Parses argv[i] as the number of a database; on failure replies and returns NULL. */
struct db *generic_db(struct call *c, int i);

/* Has the item expired, though it is still there? */
bool generic_expired(struct call *c, const struct item *it);

/* Gives the item under key 0, found at `at`, an expiry (ms since the epoch); a time that is past removes it. The log gets
 * the words from argv[conditions] on with it; 0 for none. */
void generic_expire(struct call *c, const struct place *at, int64_t when, int conditions);

/* Takes the expiry of `it`, the item under key 0, found at `at`, away; false when it has none. */
bool generic_persist(struct call *c, const struct item *it, const struct place *at);

/* Answers HELP of a container: a line of the command's name, these lines, and those of HELP itself. */
void generic_help(struct call *c, const char *container, const char *const *lines, size_t n);

/* generic_help with an array. */
#define GENERIC_HELP(c, container, lines) generic_help((c), (container), (lines), sizeof(lines) / sizeof((lines)[0]))

#endif
