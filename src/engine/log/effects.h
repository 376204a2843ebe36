/*
 * The effects of one unit of execution, a command or a whole EXEC: commands in RESP that bring another server, or a
 * later run, to the same data. They are gathered here while the unit's partitions are held, and get their place in the
 * log together (log/oplog.h).
 */
#ifndef LOG_EFFECTS_H
#define LOG_EFFECTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/view.h"

/* All zero is none. Owned by the thread that executes; it goes along when an EXEC moves to another one. */
struct effects {
    struct buf bytes; /* the commands; before one on another database than its predecessor's stands a SELECT */
    unsigned count;   /* commands, without those SELECTs */
    uint32_t first_db, last_db;
};

/* Appends a command on database db. */
void effects_add(struct effects *e, uint32_t db, const struct view *words, size_t n);

/* The same for one that is in RESP already. */
void effects_add_raw(struct effects *e, uint32_t db, struct view raw);

/* Appends "SELECT db" in RESP. */
void effects_put_select(struct buf *out, uint32_t db);

/* The bytes that it takes. */
size_t effects_select_size(uint32_t db);

/* Appends the words as a RESP array of bulk strings. */
void effects_put_words(struct buf *out, const struct view *words, size_t n);

/* How long that array is. */
size_t effects_words_size(const struct view *words, size_t n);

/* Forgets them; keeps a buffer of ordinary size. */
void effects_clear(struct effects *e);

#endif
