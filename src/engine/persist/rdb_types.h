/*
 * How values of each type look in an RDB. A new type is a reader and a writer in rdb_types.c (or a file beside it), and
 * a line in each of its two tables; nothing else of the codec knows types.
 */
#ifndef PERSIST_RDB_TYPES_H
#define PERSIST_RDB_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "engine/persist/rdb_input.h"
#include "engine/store/item.h"

/* Of one type of item. */
struct rdb_value_writer {
    /* The code under which put writes this item. */
    uint8_t (*code)(const struct item *it);
    /* Appends the value. When big is not NULL, a value that is one blob of RDB_BIG bytes or more may be left out: *big is
     * then a new reference to it, and NULL otherwise. */
    void (*put)(struct buf *out, const struct item *it, bool compress, struct blob **big);
};

/* Of one type code. */
struct rdb_value_reader {
    const char *name; /* for people: "hash (listpack)" */
    /* Makes an item of the value that comes next; NULL when this server has no such type. */
    enum rdb_result (*read)(struct rdb_input *in, struct thread *t, struct view key, int64_t expiry, struct item **out);
};

const struct rdb_value_writer *rdb_value_writer(const struct item *it);

/* NULL for a code that does not exist. */
const struct rdb_value_reader *rdb_value_reader(uint8_t code);

#endif
