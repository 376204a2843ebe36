/*
 * Saving: one thread that makes snapshots, one at a time, for whoever wants them: SAVE and BGSAVE, save points, the
 * append-only file's base, and replicas. Replicas come first, and all that wait share one snapshot.
 */
#ifndef PERSIST_PERSIST_H
#define PERSIST_PERSIST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/persist/snapshot.h"

struct aof;
struct output;
struct server;

enum persist_work { PERSIST_IDLE, PERSIST_SAVE, PERSIST_REWRITE, PERSIST_SYNC };

struct persistence {
    struct server *server;
    struct snapshot snapshot;
    struct aof *aof;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool running, stopping; /* under the lock, and the next */
    bool save_wanted, rewrite_wanted, sync_wanted;
    atomic_uint work;                   /* enum persist_work: what is being done */
    atomic_bool cancel;                 /* what is being done is not wanted any more */
    _Atomic uint64_t started, finished; /* saves asked for, and done: the n-th is done when finished >= n */
    _Atomic uint64_t cuts;              /* as `finished`, but when the cut is taken, or will not be */
    atomic_bool save_ok;                /* the last one */
    atomic_bool save_done;              /* the last one that was asked for is on disk: not if it was given up */
    atomic_bool has_points;             /* `save` is not empty */
    _Atomic int64_t save_began_ms, save_tried_ms; /* monotonic */
    _Atomic int64_t save_seconds;                 /* that the last one took; -1: none yet */
    _Atomic int64_t changes_saved;                /* server_stats_changes at the cut of the last good one */
    _Atomic uint64_t saves, keys_loaded, keys_expired_at_load;
};

struct persistence *persist_new(struct server *s);
void persist_free(struct persistence *p);

/* Starts and ends the thread; ending gives up what it does. */
void persist_start(struct persistence *p);
void persist_stop(struct persistence *p);

enum persist_answer { PERSIST_STARTED, PERSIST_SAVING, PERSIST_BUSY, PERSIST_SCHEDULED };

/* Asks for a save to dbfilename. *ticket is its number: done when p->finished reaches it. schedule: after what is being done,
 * else only at once. */
enum persist_answer persist_save(struct persistence *p, bool schedule, uint64_t *ticket);

/* A replica waits for a snapshot. */
void persist_want_sync(struct persistence *p);

/* Asks for a new base of the append-only file. */
enum persist_answer persist_rewrite(struct persistence *p);

/* Changes since the last save, as Redis's dirty counts them. */
int64_t persist_changes(const struct persistence *p);

/* server_stats_changes, for who loads. */
int64_t persist_changes_now(const struct persistence *p);

/* Gives up the save or rewrite that is under way, and waits until it is over. A thread that may wait. */
void persist_cancel(struct persistence *p);

/* The log is about to begin anew: the append-only file lets go of it, and begins anew itself, with what there is then. */
void persist_leave_log(struct persistence *p);
void persist_rejoin_log(struct persistence *p);

/* Saves when a save point says so. A timer's work, every 100 ms. */
void persist_tick(struct persistence *p, int64_t mono_ms);

/* Saves once more and waits for it, while no command runs any more: before the end. Returns 0, or -1 when it failed. */
int persist_last_save(struct persistence *p);

/* `save` (its text) or stop-writes-on-bgsave-error was set. */
void persist_configure(struct persistence *p, const char *points);

/* Are there save points? */
bool persist_has_points(const struct persistence *p);

/* ---- for the parts of persist/ ---- */

/* A new base is to be made as soon as may be, after the one that is being made, if any; and what of that is under way or
 * asked for is not wanted any more. Neither waits. */
void persist_want_rewrite(struct persistence *p);
void persist_cancel_rewrite(struct persistence *p);

/* Refuses writes, or takes them again, as the last save and the append-only file have it. Any thread. */
void persist_restrict(struct persistence *p);

/* Writes a snapshot, but for output_end. took_cut(arg), which may be NULL, is called with the gate closed, at the cut, and
 * may fail; *changes, if changes is not NULL, is server_stats_changes then. Returns 0, or a negative errno value: -ECANCELED when it was given
 * up. */
int persist_write_snapshot(struct persistence *p, struct output *o, int (*took_cut)(void *arg), void *arg,
                           int64_t *changes);

/* Writes a snapshot for the replicas that wait (persist/sync.c). */
void persist_sync_replicas(struct persistence *p);

#endif
