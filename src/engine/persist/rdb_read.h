/*
 * Reading RDB of versions 1 to 12, from a file, a connection or memory, none of which is trusted: every length is checked
 * against a limit, memory for a string is taken as its bytes arrive, and whatever the input is, the result is an error
 * with text and offset. Values are built anew, and handed out one key at a time; which of two equal keys stays, and what
 * a database number means, is the visitor's business.
 *
 * The RDB may be followed by other bytes, as in an append-only file or on a replication link. Reading stops at its end;
 * what was read ahead is in rdb_reader_rest.
 */
#ifndef PERSIST_RDB_READ_H
#define PERSIST_RDB_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/view.h"

struct item;
struct thread;

#define RDB_STRING_MAX (INT64_C(512) << 20) /* the usual limit of a string, in bytes */

enum rdb_result {
    RDB_OK,
    RDB_TRUNCATED,   /* the source ended too early */
    RDB_DAMAGED,     /* not an RDB, or a broken one */
    RDB_UNSUPPORTED, /* holds what this server has no type for */
    RDB_TOO_NEW,     /* of a version above RDB_VERSION_MAX */
    RDB_IO,          /* the source failed */
    RDB_STOPPED,     /* a visitor's function returned false */
    RDB_NO_MEMORY,
};

struct rdb_error {
    char text[200];
    uint64_t offset; /* in bytes from the start: of what is wrong, or where the source ended */
};

/* Where bytes come from: up to n of them, waiting for one at least; 0 at the end, -1 with errno set on an error. */
struct rdb_source {
    ssize_t (*read)(void *arg, void *p, size_t n);
    void *arg;
};

/* What is told of the contents, in their order; any may be NULL. false stops reading. Views last for the call. */
struct rdb_visitor {
    void *arg;
    bool (*aux)(void *arg, struct view name, struct view value);
    bool (*select)(void *arg, uint64_t db);
    bool (*resize)(void *arg, uint64_t keys, uint64_t expires);
    bool (*item)(void *arg, struct item *it); /* the item is the visitor's */
    bool (*function)(void *arg, struct view source);
};

struct rdb_limits {
    int64_t max_string;             /* bytes; RDB_STRING_MAX */
    bool check_checksum;            /* else it is read and ignored */
    int64_t drop_expired_before_ms; /* keys that expire then or earlier are dropped; -1 for none */
    bool lru, lfu;                  /* take what is said of accesses, as under such a policy */
    int64_t now_ms;                 /* with lru or lfu: ms since the epoch */
};

struct rdb_reader;

/* A reader for one RDB; items are made with t's heap. */
struct rdb_reader *rdb_reader_new(const struct rdb_source *source, struct thread *t, const struct rdb_limits *limits);
void rdb_reader_free(struct rdb_reader *r);

/* Reads it all. On an error *err says what and where. */
enum rdb_result rdb_read(struct rdb_reader *r, const struct rdb_visitor *v, struct rdb_error *err);

/* The bytes behind the RDB that were taken from the source already; valid until the reader is freed. */
struct view rdb_reader_rest(const struct rdb_reader *r);

/* Bytes of the RDB read so far; after RDB_OK, its length. May be called by a visitor, to tell progress. */
uint64_t rdb_reader_offset(const struct rdb_reader *r);

/*
 * The item of a value that rdb_put_payload (or DUMP elsewhere) wrote, under that key and with that expiry (ms since the
 * epoch, -1 for none). The checksum must be right.
 */
enum rdb_result rdb_read_payload(struct thread *t, struct view payload, struct view key, int64_t expiry,
                                 struct item **out, struct rdb_error *err);

#endif
