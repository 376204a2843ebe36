/*
 * Writing RDB: pure functions that append to a buffer. Any number of threads may write at once, each into its own. The
 * checksum is the business of who joins the pieces.
 *
 * Memory for the buffer is taken as elsewhere: these functions abort when there is none. What one call appends is at most
 * a small multiple of the item's own size, and a value of RDB_BIG bytes or more is left to the caller.
 */
#ifndef PERSIST_RDB_WRITE_H
#define PERSIST_RDB_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/view.h"
#include "engine/store/item.h"

#define RDB_BIG 16384 /* bytes of a value that is not copied by rdb_put_item */

struct rdb_options {
    bool compress;
    bool lru, lfu;             /* write what is known of accesses, as under such a policy */
    int64_t lfu_decay_minutes; /* with lfu: minutes a decrement of the counter */
    int64_t now_ms;            /* with lru or lfu: ms since the epoch */
};

/* "REDIS0010" */
void rdb_put_header(struct buf *out);

/* A field about the file: "redis-ver", "ctime" ... */
void rdb_put_aux(struct buf *out, struct view name, struct view value);
void rdb_put_aux_int(struct buf *out, struct view name, int64_t value);

/* What follows belongs to this database. */
void rdb_put_select(struct buf *out, uint32_t db);

/* How many keys follow in this database, and how many of them expire: a hint. */
void rdb_put_resize(struct buf *out, uint64_t keys, uint64_t expires);

/*
 * A key with its expiry, access and value; returns the bytes appended. Of a value in a blob of RDB_BIG bytes or more all
 * is appended but its string: *big is then a new reference to the blob, which the caller writes with rdb_put_string and
 * lets go of (blob_unref). Otherwise *big is NULL. The item's partition is held; for writing *big it need not be.
 */
size_t rdb_put_item(struct buf *out, const struct item *it, const struct rdb_options *o, struct blob **big);

/* A string: as an integer, compressed or plain, whatever is allowed and shorter. */
void rdb_put_string(struct buf *out, struct view v, bool compress);

void rdb_put_length(struct buf *out, uint64_t n);

/* The opcode of the end; the checksum follows: the crc64 of all bytes before it, or 0 for none. */
void rdb_put_end(struct buf *out);
void rdb_put_checksum(struct buf *out, uint64_t crc);

/* A value without its key, as DUMP gives it: type code, value, version and checksum. */
void rdb_put_payload(struct buf *out, const struct item *it, bool compress);

#endif
