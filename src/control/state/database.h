/*
 * The file that the store keeps its records in: a SQLite database. Every call waits for the disk; one thread at a time
 * uses a database. This is all of SQLite that the service knows: state/store.c builds on nothing else, and what takes
 * SQLite's place has these functions.
 *
 * The file belongs to one process: it is locked as long as it is open, and has mode 0600. Beside it lies its write-ahead
 * log ("-wal"), part of it until the database was closed in order. `application_id` says whose file it is,
 * `user_version` which schema it has.
 *
 * No schema is ever changed by hand: a file of an older one is copied ("NAME.schema-N") and then brought forward step by
 * step, in one transaction; one of a newer schema is refused.
 */
#ifndef CONTROL_STATE_DATABASE_H
#define CONTROL_STATE_DATABASE_H

#include <stddef.h>

#include "base/view.h"

#define DATABASE_ERROR_MAX 512       /* bytes of an error's text, its NUL included */
#define DATABASE_VALUE_MAX (8 << 20) /* bytes of one record; a longer one fails its transaction */

enum database_status {
    DATABASE_OK,
    DATABASE_BUSY,    /* another process has it open */
    DATABASE_FOREIGN, /* another application's */
    DATABASE_NEWER,   /* of a later schema */
    DATABASE_DAMAGED,
    DATABASE_FAILED, /* the disk is full, may not be written, is sick */
};

struct database;

/* What a record consists of. The pair of kind and id names it; `version` is the version of the value's form, which
 * means something to its owner alone. */
struct database_record {
    struct view kind, id;
    unsigned version;
    struct view value;
};

/* Steps of a schema: SQL that brings version i of it to i + 1. There is one schema, but tests have others. */
struct database_schema {
    const char *const *steps;
    unsigned count;
};

/* Opens the file, makes it when there is none, checks it, and brings it to the current schema. After an error *out is NULL,
 * and `error` has a text for people, with the path in it. */
enum database_status database_open(const char *path, struct database **out, char error[DATABASE_ERROR_MAX]);

/* The same with another schema. */
enum database_status database_open_schema(const char *path, const struct database_schema *schema, struct database **out,
                                          char error[DATABASE_ERROR_MAX]);

/* Writes what the log holds into the file, and closes. Accepts NULL. */
void database_close(struct database *d);

/* Calls for every record, ordered by the bytes of kind and id, until `each` returns a text, which says what is wrong
 * with the record and stays with its owner: that is DATABASE_DAMAGED, and in `error` with the record's name. The views
 * live as long as the call. */
enum database_status database_read(struct database *d,
                                   const char *(*each)(void *arg, const struct database_record *record), void *arg,
                                   char error[DATABASE_ERROR_MAX]);

/* A transaction: begin, any number of puts and deletes, commit. What was put has replaced what was there; what is not
 * there may be deleted. After an error of any of them the transaction is over, without a trace; only when syncing the
 * disk was what failed, nobody knows what is there after a crash. */
enum database_status database_begin(struct database *d, char error[DATABASE_ERROR_MAX]);
enum database_status database_put(struct database *d, const struct database_record *record,
                                  char error[DATABASE_ERROR_MAX]);
enum database_status database_delete(struct database *d, struct view kind, struct view id,
                                     char error[DATABASE_ERROR_MAX]);
enum database_status database_commit(struct database *d, char error[DATABASE_ERROR_MAX]);

/* Makes a copy of what is committed, mode 0600, over what was at `path`: durably, and whole or not at all. Outside of a
 * transaction. Whoever puts a copy in the place of a database removes the log ("-wal") that lies there. */
enum database_status database_copy(struct database *d, const char *path, char error[DATABASE_ERROR_MAX]);

#endif
