/*
 * The append-only file while the server runs. One thread, the writer, reads the log and appends it to the current
 * incremental file; rewrites are the work of the snapshots' thread (aof_rewrite.c). The files themselves, their names
 * and the manifest are those of aof_files.h.
 *
 * The writer lets go of the log (oplog_advance) only what is on disk, unless `appendfsync no` asks for less. So after a
 * sync that failed, of which nobody knows what it lost, the file is cut back to the last good one, and the bytes are
 * written again. While the disk refuses, writes are answered with -MISCONF, what waits for `appendfsync always` goes on
 * waiting, and the log keeps what comes from elsewhere. Nothing is lost when the disk comes back.
 *
 * Group commit: with `always`, everything that can be read is written and synced, and only then the next round looks at
 * what came meanwhile. With the others there is a write every 10 ms at most, and the writer asks to be woken only when
 * nothing has come for a while, so that the workers do not pay for waking it.
 *
 * A rewrite hands the writer a new file at its cut, with the gate closed: `next`. The writer ends the old file exactly
 * there, syncs it, and only then begins the new one. When the base is on disk before the writer came so far (it failed
 * for want of space, say), the rest of the old file is of no use any more, and is skipped.
 *
 * Modes: OFF; FIRST, wanted, but a base is still to be made, and the promise of `always` holds from its cut on; ON.
 * Beside that it may be paused, while a replica replaces its data. Each change makes void what a rewrite under way was
 * for (`generation`).
 *
 * Who may wait for whom: everybody for the writer, which waits for the disk only; nobody for the snapshots' thread,
 * which waits for the gate. So switching off works with the gate closed.
 *
 * Rejected: writing on the workers (a disk that stalls would stall them), a thread of its own for syncing (the log
 * already buffers what comes meanwhile), waiting for a good disk when switching off (who does so because the disk is
 * full would wait for ever).
 */
#ifndef PERSIST_AOF_H
#define PERSIST_AOF_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/log/oplog.h"
#include "engine/persist/aof_files.h"

struct persistence;
struct server;

enum aof_mode { AOF_OFF, AOF_FIRST, AOF_ON };

/* How the writer is to leave its file. */
enum aof_leave {
    AOF_STAY,
    AOF_DROP,  /* as it is */
    AOF_FLUSH, /* after everything in the log is written and synced, if the disk lets it */
};

#define AOF_NO_DB (-1)

/* The file to go on in from that offset of the log on. */
struct aof_next {
    bool set, skips; /* skips: what is missing in the old file is not needed any more */
    int fd;
    uint64_t from;
    int64_t db; /* the log's database there, which the file is to be told; AOF_NO_DB: the log says it itself */
};

struct aof {
    struct server *server;
    struct persistence *persistence;

    pthread_t thread;
    bool running;         /* the thread; main's */
    pthread_mutex_t doze; /* kicked. Taken within the log's lock, and nothing within it */
    pthread_cond_t wake;
    bool kicked, stopping;

    pthread_mutex_t lock; /* up to `attached`; the log's lock and persistence's may be taken within it */
    pthread_cond_t left;
    enum aof_mode mode;
    bool paused;
    uint64_t generation;
    enum aof_leave leave;
    struct aof_next next;
    bool attached;

    /* The writer's: places in the log, and in the file. */
    struct oplog_reader reader;
    int fd;
    uint64_t limit;              /* where `next` takes over; UINT64_MAX without one */
    uint64_t written, safe;      /* the log up to here is in the file; and so that it stays there */
    uint64_t synced;             /* really: `safe` may be beyond it with appendfsync no */
    int64_t size, safe_size;     /* of the file at `written` and `safe` */
    int64_t begin_size;          /* when it was taken over */
    int64_t out_size;            /* what is before has begun its way to the disk */
    int64_t select_db;           /* to be told at begin_size, or AOF_NO_DB */
    bool must_cut;               /* behind `size` is what is not to be there */
    bool failing, behind, whole; /* whole: `written` is between two units */
    unsigned quiet;              /* rounds without anything to write */
    int64_t synced_us, retry_us, stamped_s;

    /* The snapshots' thread's; before that one begins, whoever starts things. */
    struct aof_files *files;

    /* Statistics. */
    _Atomic int64_t base_size, earlier_size, file_size; /* earlier: incremental files between the base and this one */
    _Atomic int64_t rewrite_base_size; /* all of it after the last rewrite: what growth is measured by */
    _Atomic int64_t rewrite_began_ms, rewrite_seconds; /* 0 while none is made; of the last one, or -1 */
    _Atomic int64_t rewrite_again_ms;                  /* not by itself before */
    atomic_uint rewrite_failures;                      /* since the last good one */
    _Atomic uint64_t rewrites, delayed_syncs;
    _Atomic uint64_t written_offset; /* as `written` */
    atomic_bool rewrite_ok, syncing;
};

struct aof *aof_new(struct server *s, struct persistence *p);
void aof_free(struct aof *a);

/* Starts the writer. */
void aof_start(struct aof *a);

/* Ends it: what is in the log is written and synced. Nothing appends to the log any more. */
void aof_stop(struct aof *a);

/* At the start, before the server takes commands: goes on appending to the last incremental file of `files`, whose data
 * is loaded, from the log's head on. The log is started if need be. Closes the gate for a moment. `files` is taken over
 * in any case. Returns 0, or a negative errno value with the reason in err. */
int aof_go_on(struct aof *a, struct aof_files *files, char *err, size_t err_size);

/* At the start without an append-only file, and without data: makes an empty one, so that whatever is answered is in
 * it. Returns as aof_go_on. */
int aof_begin_empty(struct aof *a, char *err, size_t err_size);

/* Makes a first base from what is in memory, soon, and goes on behind it. What there was is replaced by it. */
void aof_begin_first(struct aof *a);

/* Stops reading the log, and detaches; what is not written is forgotten. Waits for the writer alone. Until aof_resume
 * there is no rewrite, whatever is asked for; then, unless it is off, it is as after aof_begin_first. */
void aof_pause(struct aof *a);
void aof_resume(struct aof *a);

/* `appendonly` or `appendfsync` changed. Gate closed. */
void aof_configure(struct aof *a);

/* Every 100 ms: a first base that is still to be made, and automatic rewrites. */
void aof_tick(struct aof *a, int64_t mono_ms);

/* INFO's section Persistence. Any thread. */
struct aof_info {
    bool enabled, rewrite_in_progress, rewrite_scheduled, last_rewrite_ok, last_write_ok;
    int64_t last_rewrite_seconds, current_rewrite_seconds; /* -1: none */
    uint64_t rewrites;
    unsigned consecutive_failures;
    int64_t current_size, base_size; /* of all files; after the last rewrite */
    uint64_t buffer_length;          /* bytes in the log that are not written */
    unsigned pending_fsync;
    uint64_t delayed_fsync; /* syncs that took longer than two seconds */
};

void aof_info(struct aof *a, struct aof_info *out);

/* ---- for the parts of persist/ ---- */

/* Makes a new base: the snapshots' thread. */
void aof_rewrite(struct aof *a);

/* Something for the writer to look at. */
void aof_kick(struct aof *a);

/* Has the writer leave its file, and waits for that. */
void aof_leave(struct aof *a, enum aof_leave how);

/* The writer goes on in that file from that place in the log on, and closes it in the end; when it reads nothing yet,
 * it is attached there. Gate closed; the lock is held. */
int aof_hand_over(struct aof *a, int fd, uint64_t from, int64_t db);

/* One turn of the writer: its thread's, or a test's. Returns for how many microseconds there is nothing to do, unless
 * it is kicked; INT64_MAX for ever. */
int64_t aof_round(struct aof *a);

#endif
