/* The writer of the append-only file: see aof.h. */
#include "engine/persist/aof.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/log/effects.h"
#include "engine/persist/persist.h"
#include "engine/server/config.h"
#include "engine/server/replication.h"
#include "engine/server/server.h"

#define BLOCKS_MAX 64              /* of the log in one round: 16 MiB */
#define GATHER_US 10000            /* between two writes, unless every write is synced */
#define QUIET_ROUNDS 5             /* without anything to write, then it asks to be woken */
#define SYNC_US 1000000            /* everysec */
#define SLOW_SYNC_US 2000000       /* is counted */
#define RETRY_MIN_US 100000        /* after an error, doubling */
#define RETRY_MAX_US 1000000       /* at most */
#define BEHIND ((uint64_t)1 << 30) /* so much of the log waits: no more writes */

static int64_t setting(const config_number *n)
{
    return atomic_load_explicit((config_number *)n, memory_order_relaxed);
}

/* ---- telling others ---- */

static void publish(struct aof *a, uint64_t offset)
{
    atomic_store(&a->server->synced, offset);
    server_progressed(a->server);
}

/* Brings MISCONF up to date. */
static void restrict_writes(struct aof *a, int error)
{
    if (atomic_exchange(&a->server->file_error, error) != error)
        persist_restrict(a->persistence);
}

static void note_size(struct aof *a)
{
    atomic_store_explicit(&a->file_size, a->size, memory_order_relaxed);
    atomic_store_explicit(&a->written_offset, a->written, memory_order_relaxed);
}

/* The log waits, because the disk refuses or is too slow for what comes. */
static void watch_backlog(struct aof *a, uint64_t tail)
{
    uint64_t waits = tail > a->safe ? tail - a->safe : 0; /* the tail may seem to go back for a moment */

    if (!a->behind && waits > BEHIND) {
        a->behind = true;
        log_warning("%" PRIu64 " MiB wait to be written to the AOF file: no more writes until the disk keeps up",
                    waits >> 20);
    } else if (a->behind && waits < BEHIND / 2) {
        a->behind = false;
        log_notice("The AOF file keeps up again");
    }
    if (!a->failing)
        restrict_writes(a, a->behind ? EBUSY : 0);
}

static void failed(struct aof *a, int rc)
{
    if (!a->failing) {
        log_warning("Error writing to the AOF file: %s", strerror(-rc));
        a->retry_us = RETRY_MIN_US;
    } else {
        a->retry_us = 2 * a->retry_us < RETRY_MAX_US ? 2 * a->retry_us : RETRY_MAX_US;
    }
    a->failing = true;
    restrict_writes(a, -rc);
}

static void recovered(struct aof *a)
{
    if (!a->failing)
        return;
    a->failing = false;
    restrict_writes(a, a->behind ? EBUSY : 0);
    log_notice("AOF write error looks solved, the server can write again.");
}

/* ---- the file ---- */

/* What is in the file up to here stays there, and the log may forget it. */
static void keep(struct aof *a)
{
    a->safe = a->written;
    a->safe_size = a->size;
    oplog_advance(a->server->log, &a->reader, a->safe);
    publish(a, a->safe);
}

/* What of the data since the last sync is on disk, nobody knows: all of it is written again. */
static void fall_back(struct aof *a)
{
    if (a->safe > a->synced) {
        log_warning("What was written to the AOF file without a sync may be lost: it is rewritten");
        persist_want_rewrite(a->persistence);
        a->synced = a->safe;
    }
    a->written = a->safe;
    a->size = a->safe_size;
    a->out_size = a->size < a->out_size ? a->size : a->out_size;
    a->must_cut = true;
    a->whole = true;
    a->stamped_s = 0;
    note_size(a);
}

static int sync_file(struct aof *a)
{
    int64_t began = clock_mono_us(), end;
    int rc;

    if (a->synced == a->written)
        return 0;
    atomic_store_explicit(&a->syncing, true, memory_order_relaxed);
    rc = file_sync_data(a->fd);
    atomic_store_explicit(&a->syncing, false, memory_order_relaxed);
    a->synced_us = end = clock_mono_us();
    if (end - began > SLOW_SYNC_US)
        atomic_fetch_add(&a->delayed_syncs, 1);
    if (rc != 0) {
        fall_back(a);
        return rc;
    }
    a->synced = a->written;
    keep(a);
    return 0;
}

/* What stands in the file before the log's next bytes and is not in the log. */
static void put_prefix(struct aof *a, struct buf *b)
{
    if (a->select_db != AOF_NO_DB && a->size == a->begin_size)
        effects_put_select(b, (uint32_t)a->select_db);
    if (a->whole && setting(&a->server->config->aof_timestamp_enabled)) {
        int64_t now_s = clock_wall_ms() / 1000;
        char text[40];
        if (now_s == a->stamped_s)
            return;
        buf_put(b, text, (size_t)snprintf(text, sizeof text, "#TS:%" PRId64 "\r\n", now_s));
        a->stamped_s = now_s;
    }
}

/* Writes what there is up to `end`, or a part of it. */
static int write_some(struct aof *a, uint64_t end)
{
    struct iovec iov[BLOCKS_MAX];
    int n = oplog_gather(a->server->log, a->written, end, iov, BLOCKS_MAX), rc = 0;
    struct buf prefix = {0};
    size_t total = 0;

    put_prefix(a, &prefix);
    if (buf_live(&prefix) > 0)
        rc = file_write(a->fd, prefix.p, buf_live(&prefix));
    for (int i = 0; i < n && rc == 0; i++) {
        rc = file_write(a->fd, iov[i].iov_base, iov[i].iov_len);
        total += iov[i].iov_len;
    }
    if (rc != 0) { /* `size` is where this piece began */
        a->must_cut = true;
        a->stamped_s = 0;
    } else {
        a->written += total;
        a->size += (int64_t)(total + buf_live(&prefix));
        a->whole = a->written == end;
        note_size(a);
        for (; a->size - a->out_size >= (int64_t)FILE_WRITE_OUT; a->out_size += (int64_t)FILE_WRITE_OUT)
            file_write_out(a->fd, (uint64_t)a->out_size, FILE_WRITE_OUT);
    }
    buf_free(&prefix);
    return rc;
}

/* A file must not begin before the one before it is on disk, or need not be there any more. */
static void switch_file(struct aof *a, const struct aof_next *next)
{
    struct stat st;

    file_close(a->fd);
    if (!next->skips)
        atomic_fetch_add(&a->earlier_size, a->size);
    a->fd = next->fd;
    a->size = fstat(a->fd, &st) == 0 ? st.st_size : 0;
    a->begin_size = a->safe_size = a->out_size = a->size;
    a->written = a->safe = a->synced = next->from;
    a->select_db = next->db;
    a->must_cut = false;
    a->whole = true;
    a->stamped_s = 0;
    a->limit = UINT64_MAX;
    a->quiet = 0;
    note_size(a);
    keep(a);
}

/* Takes the next file over, if that is due. */
static void take_next(struct aof *a)
{
    pthread_mutex_lock(&a->lock);
    if (a->next.set && (a->fd < 0 || a->next.skips || (a->synced == a->next.from && !a->must_cut))) {
        if (a->next.skips)
            recovered(a);
        switch_file(a, &a->next);
        a->next.set = false;
    }
    a->limit = a->next.set ? a->next.from : UINT64_MAX;
    pthread_mutex_unlock(&a->lock);
}

static bool sync_is_due(struct aof *a, bool flush)
{
    const struct config *c = a->server->config;
    unsigned work = atomic_load(&a->persistence->work);

    if (flush || a->failing || a->written == a->limit)
        return true;
    switch (setting(&c->appendfsync)) {
    case FSYNC_ALWAYS:
        return true;
    case FSYNC_EVERYSEC:
        if (setting(&c->no_appendfsync_on_rewrite) && (work == PERSIST_SAVE || work == PERSIST_REWRITE))
            return false;
        return clock_mono_us() - a->synced_us >= SYNC_US;
    default:
        return false;
    }
}

/* Writes up to `tail` at most, not beyond the end of the file, and syncs what is due. */
static int step(struct aof *a, uint64_t tail, bool flush)
{
    uint64_t end = tail < a->limit ? tail : a->limit;
    int rc = 0;

    if (a->must_cut && (rc = file_resize(a->fd, a->size)) == 0)
        a->must_cut = false;
    if (rc == 0 && a->written < end)
        rc = write_some(a, end);
    if (rc == 0 && sync_is_due(a, flush))
        rc = sync_file(a);
    if (rc == 0 && setting(&a->server->config->appendfsync) == FSYNC_NO && a->safe != a->written)
        keep(a);
    if (rc != 0)
        failed(a, rc);
    else
        recovered(a);
    return rc;
}

/* ---- leaving ---- */

static void flush(struct aof *a)
{
    uint64_t tail = oplog_tail(a->server->log);
    int rc = 0;

    while (rc == 0 && a->fd >= 0 && (a->synced < tail || a->limit != UINT64_MAX)) {
        rc = step(a, tail, true);
        take_next(a);
    }
    if (rc != 0)
        log_warning("The AOF file ends %" PRIu64 " bytes before the last write", tail - a->written);
}

/* Without the file there is nothing to promise, and nothing to fail. */
static void leave_file(struct aof *a, enum aof_leave how)
{
    if (how == AOF_FLUSH)
        flush(a);
    if (a->fd >= 0 && a->must_cut && file_resize(a->fd, a->size) != 0)
        log_warning("The AOF file ends with a part of a command");
    file_close(a->fd);
    a->fd = -1;
    a->must_cut = a->failing = a->behind = false;
    a->size = a->out_size = 0;
    note_size(a);
    restrict_writes(a, 0);
    pthread_mutex_lock(&a->lock);
    if (a->attached)
        oplog_detach(a->server->log, &a->reader);
    if (a->next.set)
        file_close(a->next.fd);
    a->attached = a->next.set = false;
    a->leave = AOF_STAY;
    pthread_cond_broadcast(&a->left);
    pthread_mutex_unlock(&a->lock);
}

void aof_leave(struct aof *a, enum aof_leave how)
{
    if (!a->running) {
        take_next(a);
        leave_file(a, how);
        return;
    }
    pthread_mutex_lock(&a->lock);
    a->leave = how > a->leave ? how : a->leave;
    aof_kick(a);
    while (a->leave != AOF_STAY)
        pthread_cond_wait(&a->left, &a->lock);
    pthread_mutex_unlock(&a->lock);
}

/* The log went on without us, so this file can never be continued. */
static void lose_place(struct aof *a)
{
    log_warning("The AOF file is too far behind what is written: it begins anew");
    pthread_mutex_lock(&a->lock);
    a->generation++; /* from now on nobody hands a file over */
    if (a->mode == AOF_ON)
        a->mode = AOF_FIRST;
    pthread_mutex_unlock(&a->lock);
    leave_file(a, AOF_DROP);
}

/* ---- rounds ---- */

int aof_hand_over(struct aof *a, int fd, uint64_t from, int64_t db)
{
    if (a->next.set)
        return -EBUSY;
    if (!a->attached) {
        if (!oplog_attach(a->server->log, &a->reader, from))
            return -EINVAL;
        a->attached = true;
        atomic_store(&a->server->synced, from);
    }
    a->next = (struct aof_next){.set = true, .fd = fd, .from = from, .db = db};
    aof_kick(a);
    return 0;
}

/* Everything is written: until when? */
static int64_t rest(struct aof *a, bool wrote)
{
    int64_t fsync = setting(&a->server->config->appendfsync), due;

    a->quiet = wrote ? 0 : a->quiet + 1;
    if (fsync != FSYNC_ALWAYS && a->quiet < QUIET_ROUNDS)
        return GATHER_US;
    if (!oplog_sleep(a->server->log, &a->reader, a->written))
        return 0;
    if (a->synced == a->written || fsync == FSYNC_NO)
        return INT64_MAX;
    due = a->synced_us + SYNC_US - clock_mono_us();
    return due > GATHER_US ? due : GATHER_US;
}

int64_t aof_round(struct aof *a)
{
    enum aof_leave leave;
    uint64_t tail, before;

    pthread_mutex_lock(&a->lock);
    leave = a->leave;
    pthread_mutex_unlock(&a->lock);
    take_next(a);
    if (leave != AOF_STAY) {
        leave_file(a, leave);
        return 0;
    }
    if (a->fd < 0)
        return INT64_MAX;
    if (atomic_load(&a->reader.lost)) {
        lose_place(a);
        return 0;
    }
    tail = oplog_tail(a->server->log);
    before = a->written;
    watch_backlog(a, tail);
    if (step(a, tail, false) != 0)
        return a->retry_us;
    take_next(a);
    return a->written < tail || a->limit != UINT64_MAX ? 0 : rest(a, a->written != before);
}

/* ---- the thread ---- */

static void wake_up(void *arg)
{
    aof_kick(arg);
}

void aof_kick(struct aof *a)
{
    pthread_mutex_lock(&a->doze);
    a->kicked = true;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->doze);
}

/* Waits for a kick, or that long; has the end been asked for? */
static bool doze(struct aof *a, int64_t us)
{
    struct timespec until;
    bool stopping;

    pthread_mutex_lock(&a->doze);
    if (us == INT64_MAX) {
        while (!a->kicked)
            pthread_cond_wait(&a->wake, &a->doze);
    } else if (us > 0) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += us / 1000000;
        until.tv_nsec += us % 1000000 * 1000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        while (!a->kicked && pthread_cond_timedwait(&a->wake, &a->doze, &until) == 0)
            ;
    }
    a->kicked = false;
    stopping = a->stopping;
    pthread_mutex_unlock(&a->doze);
    return stopping;
}

static void *run(void *arg)
{
    struct aof *a = arg;

    pthread_setname_np(pthread_self(), "aof");
    while (!doze(a, aof_round(a)))
        ;
    return NULL;
}

struct aof *aof_new(struct server *s, struct persistence *p)
{
    struct aof *a = mem_zalloc(sizeof *a);
    pthread_condattr_t attr;

    a->server = s;
    a->persistence = p;
    a->fd = -1;
    a->limit = UINT64_MAX;
    a->reader.wake = wake_up;
    a->reader.arg = a;
    pthread_mutex_init(&a->lock, NULL);
    pthread_mutex_init(&a->doze, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&a->wake, &attr);
    pthread_cond_init(&a->left, NULL);
    pthread_condattr_destroy(&attr);
    atomic_store(&a->rewrite_seconds, -1);
    atomic_store(&a->rewrite_ok, true);
    atomic_store(&s->synced, UINT64_MAX);
    return a;
}

void aof_free(struct aof *a)
{
    if (!a)
        return;
    aof_leave(a, AOF_DROP);
    aof_files_free(a->files);
    pthread_mutex_destroy(&a->lock);
    pthread_mutex_destroy(&a->doze);
    pthread_cond_destroy(&a->wake);
    pthread_cond_destroy(&a->left);
    mem_free(a);
}

void aof_start(struct aof *a)
{
    a->running = pthread_create(&a->thread, NULL, run, a) == 0;
}

void aof_stop(struct aof *a)
{
    aof_leave(a, AOF_FLUSH);
    if (!a->running)
        return;
    pthread_mutex_lock(&a->doze);
    a->stopping = a->kicked = true;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->doze);
    pthread_join(a->thread, NULL);
    a->running = false;
}
