/*
 * The durable form of the model: records, each a JSON text under a kind and an id. The model lives in memory; what it
 * changes it hands over here in batches, and answers when they are on disk.
 *
 * One thread of the store's own writes. Everything that is handed over while one transaction is being committed goes
 * into the next (group commit), so a slow disk makes transactions bigger, not the queue longer. A batch is atomic, and
 * batches become durable in the order in which they were handed over. A batch that failed is gone, and says why; those
 * behind it are tried on their own merits, without regard to what they were built on: the owner decides what a failure
 * means for them.
 *
 * The functions are called on one thread, the owner's; so are the callbacks, from within store_dispatch and store_close.
 * Nothing here, nor in what it asks of its backend (state/database.h), is more than a replicated store has to offer:
 * reading all at the start, atomic batches, and word of their fate.
 */
#ifndef CONTROL_STATE_STORE_H
#define CONTROL_STATE_STORE_H

#include "control/state/database.h"

struct store;
struct store_batch;

/* Tells the fate of a batch or a backup: error is NULL when it is on disk, else a text for people that lives as long as the
 * call. It may hand over further batches; it may not close the store. */
typedef void store_done(void *arg, const char *error);

/* Opens the store at `path`, whose directory is there, and reads everything through `each` (as database_read does) before
 * it returns. After an error *out is NULL and the text in `error` says which file and why. */
enum database_status store_open(const char *path, const char *(*each)(void *arg, const struct database_record *record),
                                void *arg, struct store **out, char error[DATABASE_ERROR_MAX]);

/* Waits until everything that was handed over is written or has failed, runs the callbacks, and closes. What the callbacks
 * hand over is still written. Accepts NULL. */
void store_close(struct store *s);

/* Becomes readable when callbacks are due; for the owner's event loop to watch. The store closes it. */
int store_fd(const struct store *s);

/* Runs the callbacks that are due, in the order in which their batches were handed over. */
void store_dispatch(struct store *s);

/* A batch is filled and then committed or abandoned; either way it is the caller's no more. The texts are copied. */
struct store_batch *store_begin(void);
void store_put(struct store_batch *b, struct view kind, struct view id, unsigned version, struct view value);
void store_delete(struct store_batch *b, struct view kind, struct view id);
void store_abandon(struct store_batch *b);

/* Hands the batch over. An empty one is done when everything before it is. done may be NULL. */
void store_commit(struct store *s, struct store_batch *b, store_done *done, void *arg);

/* Makes a copy of the store at `path`, with all batches handed over so far and none after, while the store goes on. The
 * copy is itself a store that can be opened. done may be NULL. */
void store_backup(struct store *s, const char *path, store_done *done, void *arg);

#endif
