/*
 * Finds the commands in an append-only file, one after the other, and says how the file ends. It knows of commands only
 * that MULTI and EXEC belong together: effects between them apply together or not at all, so a file that ends in
 * between is valid up to the MULTI.
 *
 *     *3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n      a command, as an array of strings
 *     #TS:1700000000\r\n                             an annotation, between commands only: a time, or anything else
 *
 * The end is torn when the file stops in the middle of a command, of an annotation or of a transaction; a crash does
 * that, and the file can be cut at aof_scan_valid. Anything else that is no command is damage, and nobody's to repair
 * without being asked. Zero bytes up to the end of the file count as torn: file systems extend a file before its data
 * arrives, and after a power failure the rest reads as zeros, in the middle of a command as well. (Redis 7.0 refuses to
 * start on such a file, and redis-check-aof --fix cuts it where we do.) Zeros followed by anything else are damage.
 *
 * Stricter than Redis's loader and as strict as redis-check-aof: lengths without signs or leading zeros, CR LF behind
 * every string, EXEC only after MULTI, no MULTI within MULTI. An annotation without an end is torn (Redis takes it for
 * whole, and then the next command that is appended becomes part of it).
 *
 * A file may begin with an RDB: aof_scan_is_rdb tells, aof_scan_read hands the bytes to its reader, and what follows is
 * scanned. Memory: the bytes of one command, some 48 for each of its arguments, and a read of at most 1 MiB; a length
 * allocates nothing for what has not come.
 */
#ifndef PERSIST_AOF_SCAN_H
#define PERSIST_AOF_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/view.h"

#define AOF_SCAN_ARGS_MAX INT32_MAX

/* Up to n bytes of the file into p: their number, 0 at its end, or a negative errno value. */
typedef ssize_t aof_source(void *arg, void *p, size_t n);

enum aof_found {
    AOF_COMMAND, /* the next command is in argv */
    AOF_CLEAN,   /* the file ends behind a command */
    AOF_TORN,    /* it ends within one, or within a transaction: `reason` */
    AOF_DAMAGED, /* this is no command: `reason` */
    AOF_FAILED,  /* the source failed, or there was no memory: `error` */
};

struct aof_scan {
    /* What was found. Views last until the next call. */
    const struct view *argv;
    size_t argc;
    int64_t end;        /* AOF_COMMAND: the offset behind it; else where what is torn or damaged begins */
    int64_t time;       /* of the last #TS: annotation, unix seconds; -1 before the first */
    bool in_multi;      /* inside of a transaction; its MULTI and EXEC are given as commands, too */
    const char *reason; /* of AOF_TORN and AOF_DAMAGED */
    int error;          /* of AOF_FAILED, a negative errno value */

    /* The scanner's own. */
    aof_source *source;
    void *arg;
    int64_t max_bulk;
    struct buf in;    /* begins at `start` */
    int64_t start;    /* of the current command */
    int64_t multi_at; /* where the open transaction begins */
    int64_t received; /* bytes that the source gave */
    bool at_eof;
    enum aof_found found;
    struct view *args; /* argv's memory */
    size_t *places;    /* of the arguments so far, two for each: offset in `in`, length */
    size_t args_cap, places_cap;
};

/* max_bulk is the longest argument, at least as long as one that a client may send. */
void aof_scan_init(struct aof_scan *s, aof_source *source, void *arg, int64_t max_bulk);

void aof_scan_free(struct aof_scan *s);

/* Before the first command: does the file begin as an RDB does? False as well when it cannot be read; aof_scan_next
 * says so, then. */
bool aof_scan_is_rdb(struct aof_scan *s);

/* Takes bytes off as they are, between commands; the result is the source's. */
ssize_t aof_scan_read(struct aof_scan *s, void *p, size_t n);

/* Puts back the last n bytes that were taken off. */
void aof_scan_unread(struct aof_scan *s, const void *p, size_t n);

/* The next command or the end. Behind the end it says the same again. */
enum aof_found aof_scan_next(struct aof_scan *s);

/* The offset up to which the file is whole, transactions included: where to cut it when it is torn. */
int64_t aof_scan_valid(const struct aof_scan *s);

/* At the end: how many bytes the file has. */
int64_t aof_scan_total(const struct aof_scan *s);

#endif
