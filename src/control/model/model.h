/*
 * The model: everything that the service knows durably, as structures in memory, by kind and id. Their shapes are declared
 * in spec/model; the store holds each as a JSON text (state/store.h).
 *
 * A record is never changed in place. Who changes something begins a transaction, gets copies to write on, and commits:
 * from the edit on everybody sees the copy, and when the store has failed to make it durable, the old record comes back
 * (and the transaction's callback says so). So a pointer to a record is good until control goes back to the event loop, but
 * shows the state of the moment at which it was looked up.
 *
 * One thread, that of the event loop.
 */
#ifndef CONTROL_MODEL_MODEL_H
#define CONTROL_MODEL_MODEL_H

#include <stddef.h>

#include "base/arena.h"
#include "base/view.h"
#include "model_shapes.h"

struct model;
struct shape;
struct txn;

/* Kinds: constant, structure. The name in the store is the structure's. */
#define MODEL_KIND_LIST(X)                                                                                             \
    X(ACCOUNT, account)                                                                                                \
    X(ACCESS_KEY, access_key)                                                                                          \
    X(VPC, vpc)                                                                                                        \
    X(SUBNET, subnet)                                                                                                  \
    X(SECURITY_GROUP, security_group)                                                                                  \
    X(CACHE_SUBNET_GROUP, cache_subnet_group)                                                                          \
    X(PARAMETER_GROUP, parameter_group)                                                                                \
    X(REPLICATION_GROUP, replication_group)                                                                            \
    X(SHARD, shard)                                                                                                    \
    X(CACHE_CLUSTER, cache_cluster)                                                                                    \
    X(EVENT, event)

enum model_kind {
#define X(constant, name) MODEL_##constant,
    MODEL_KIND_LIST(X)
#undef X
        MODEL_KINDS
};

#define MODEL_ERROR_MAX 512

/* Opens the store at `path`, reads everything, and starts writing. Returns 0; or -1 with a text that says which file and
 * why. */
int model_open(struct model **out, const char *path, char error[MODEL_ERROR_MAX]);

/* Waits until what was committed is durable or has failed, runs the callbacks and frees everything. Accepts NULL. */
void model_close(struct model *m);

/* Becomes readable when commits have become durable; model_dispatch then runs their callbacks. */
int model_fd(const struct model *m);
void model_dispatch(struct model *m);

/* Called when a commit failed and old records came back; may be NULL. */
void model_on_rollback(struct model *m, void (*fn)(void *arg), void *arg);

/* Makes a copy of the store, see store_backup. */
void model_backup(struct model *m, const char *path, void (*done)(void *arg, const char *error), void *arg);

/* The record of that kind and id, or NULL. Records of a kind are ordered by id: the i-th, and how many there are; and the
 * first whose id is not less than `id`. */
const void *model_find(const struct model *m, enum model_kind kind, struct view id);
const void *model_at(const struct model *m, enum model_kind kind, size_t i);
size_t model_count(const struct model *m, enum model_kind kind);
size_t model_lower_bound(const struct model *m, enum model_kind kind, struct view id);

/* ---- changing ---- */

/* Begins a transaction; it is to be ended by txn_commit or txn_abort before another one begins. */
struct txn *txn_begin(struct model *m);

/* A copy of the record to write on, which everybody sees from now on; the same one when it is edited again in this
 * transaction. NULL when there is no such record. */
void *txn_edit(struct txn *t, enum model_kind kind, struct view id);

/* A new record, zeroed but for its defaults; the caller fills in everything that is always there, its id among them. There
 * must be none of that id. */
void *txn_add(struct txn *t, enum model_kind kind, struct view id);

/* Takes the record away; one that is not there is passed over. */
void txn_remove(struct txn *t, enum model_kind kind, struct view id);

/* Where everything lives that an edited or added record refers to. */
struct arena *txn_arena(struct txn *t, const void *record);

/* A copy of the text for that record; absent stays absent. */
struct view txn_text(struct txn *t, const void *record, struct view text);

/* Has the transaction changed anything? */
bool txn_changed(const struct txn *t);

/* Hands the changes to the store. done, which may be NULL, is called from model_dispatch: error is NULL when they are
 * durable. Returns false when nothing was changed: done is then not called. */
typedef void txn_done(void *arg, const char *error);
bool txn_commit(struct txn *t, txn_done *done, void *arg);

/* Takes all changes back. Accepts NULL. */
void txn_abort(struct txn *t);

/* The same with types: model_vpc(m, id), model_vpc_at(m, i), txn_edit_vpc(t, id), txn_add_vpc(t, id). */
#define X(constant, name)                                                                                              \
    static inline const struct name *model_##name(const struct model *m, struct view id)                               \
    {                                                                                                                  \
        return (const struct name *)model_find(m, MODEL_##constant, id);                                               \
    }                                                                                                                  \
    static inline const struct name *model_##name##_at(const struct model *m, size_t i)                                \
    {                                                                                                                  \
        return (const struct name *)model_at(m, MODEL_##constant, i);                                                  \
    }                                                                                                                  \
    static inline struct name *txn_edit_##name(struct txn *t, struct view id)                                          \
    {                                                                                                                  \
        return (struct name *)txn_edit(t, MODEL_##constant, id);                                                       \
    }                                                                                                                  \
    static inline struct name *txn_add_##name(struct txn *t, struct view id)                                           \
    {                                                                                                                  \
        return (struct name *)txn_add(t, MODEL_##constant, id);                                                        \
    }
MODEL_KIND_LIST(X)
#undef X

#endif
