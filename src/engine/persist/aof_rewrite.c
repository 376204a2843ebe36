/* What begins, replaces and ends an append-only file, and what is told about it: see aof.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/persist/aof.h"
#include "engine/persist/output.h"
#include "engine/persist/persist.h"
#include "engine/persist/rdb_write.h"
#include "engine/server/config.h"
#include "engine/server/replication.h"
#include "engine/server/server.h"
#include "engine/server/version.h"

#define RETRY_MS 1000 /* after a rewrite that failed; from PATIENT of them on a minute, doubling up to an hour */
#define PATIENT 3
#define RETRY_LONG_MS 60000
#define RETRY_DOUBLINGS 6
#define RETRY_MAX_MS 3600000

static int64_t setting(const config_number *n)
{
    return atomic_load_explicit((config_number *)n, memory_order_relaxed);
}

static int64_t mono_ms(void)
{
    return clock_mono_us() / 1000;
}

/* ---- on and off ---- */

/* What a rewrite under way is for does not hold any more; the lock is held. */
static void set_mode(struct aof *a, enum aof_mode mode)
{
    a->mode = mode;
    a->generation++;
    persist_cancel_rewrite(a->persistence);
}

static void promise_nothing(struct aof *a)
{
    atomic_store(&a->server->synced, UINT64_MAX);
    server_progressed(a->server);
}

void aof_begin_first(struct aof *a)
{
    pthread_mutex_lock(&a->lock);
    set_mode(a, AOF_FIRST);
    atomic_store(&a->rewrite_again_ms, 0);
    pthread_mutex_unlock(&a->lock);
    persist_want_rewrite(a->persistence);
}

void aof_pause(struct aof *a)
{
    pthread_mutex_lock(&a->lock);
    a->paused = true;
    set_mode(a, a->mode == AOF_OFF ? AOF_OFF : AOF_FIRST);
    pthread_mutex_unlock(&a->lock);
    aof_leave(a, AOF_DROP);
    promise_nothing(a);
}

void aof_resume(struct aof *a)
{
    bool on;

    pthread_mutex_lock(&a->lock);
    a->paused = false;
    on = a->mode != AOF_OFF;
    pthread_mutex_unlock(&a->lock);
    if (on)
        persist_want_rewrite(a->persistence);
}

/* Stops the log when it was for the file alone: no replica may want to go on with it. Gate closed. */
static void drop_log(void *arg)
{
    struct aof *a = arg;
    struct server *s = a->server;

    if (!oplog_active(s->log) || server_log_needed(s) || atomic_load(&s->replication->full_syncs) > 0 ||
        atomic_load(&s->replication->partial_syncs) > 0 || atomic_load(&s->is_replica) || oplog_read_by_anyone(s->log))
        return;
    oplog_stop(s->log);
    replication_new_id(s->replication);
}

static void turn_off(struct aof *a)
{
    pthread_mutex_lock(&a->lock);
    set_mode(a, AOF_OFF);
    pthread_mutex_unlock(&a->lock);
    aof_leave(a, AOF_FLUSH);
    promise_nothing(a);
    /* Not at once: the command that does this may be in an EXEC with others that are to be logged. */
    a->server->ops->post_exclusive(a->server->ops_arg, drop_log, a);
}

void aof_configure(struct aof *a)
{
    bool on = setting(&a->server->config->appendonly) != 0, is_on;

    pthread_mutex_lock(&a->lock);
    is_on = a->mode != AOF_OFF;
    pthread_mutex_unlock(&a->lock);
    if (on && !is_on)
        aof_begin_first(a);
    else if (!on && is_on)
        turn_off(a);
    else
        aof_kick(a);
}

/* Sizes of what there is, but for the last incremental file, which the writer measures. */
static void measure(struct aof *a)
{
    struct aof_part part;
    int64_t base = aof_files_base_size(a->files), earlier = 0, last = 0;

    for (size_t i = 0; aof_files_part(a->files, i, &part); i++)
        if (!part.is_base) {
            earlier += last;
            last = part.size > 0 ? part.size : 0;
        }
    atomic_store(&a->base_size, base);
    atomic_store(&a->rewrite_base_size, base);
    atomic_store(&a->earlier_size, earlier);
}

struct join {
    struct aof *a;
    int fd, rc;
};

/* Gate closed. */
static void join(void *arg)
{
    struct join *j = arg;
    struct aof *a = j->a;
    struct server *s = a->server;
    bool replica = atomic_load(&s->is_replica);

    if (!oplog_active(s->log))
        oplog_start(s->log);
    if (!replica)
        oplog_forget_db(s->log);
    pthread_mutex_lock(&a->lock);
    j->rc = aof_hand_over(a, j->fd, oplog_head(s->log), replica ? oplog_db(s->log) : AOF_NO_DB);
    if (j->rc == 0)
        a->mode = AOF_ON;
    pthread_mutex_unlock(&a->lock);
}

/* The writer goes on at the log's head, in a file whose data is what is in memory. */
static int join_log(struct aof *a, int fd, char *err, size_t err_size)
{
    struct join j = {a, fd, 0};

    a->server->ops->exclusive(a->server->ops_arg, join, &j);
    if (j.rc != 0) {
        snprintf(err, err_size, "The log cannot be read");
        file_close(fd);
    }
    return j.rc;
}

int aof_go_on(struct aof *a, struct aof_files *files, char *err, size_t err_size)
{
    int fd, rc;

    aof_files_free(a->files);
    a->files = files;
    rc = aof_files_open_incr(files, &fd);
    if (rc == -ENOENT)
        rc = aof_files_start_incr(files, &fd);
    if (rc != 0) {
        snprintf(err, err_size, "%s", aof_files_error(files));
        return rc;
    }
    measure(a);
    return join_log(a, fd, err, err_size);
}

/* ---- rewriting ---- */

struct rewrite {
    struct aof *a;
    enum aof_mode mode; /* at its beginning */
    uint64_t generation;
    int fd; /* of the new incremental file, until the writer has it */
    char reason[PATH_MAX + 256];
};

/* From here on everything goes to the new file. Gate closed; the lock is held. */
static int hand_over(struct rewrite *r)
{
    struct server *s = r->a->server;
    int64_t db = AOF_NO_DB;
    int rc;

    if (!oplog_active(s->log)) {
        oplog_start(s->log);
        replication_new_id(s->replication);
    }
    if (!atomic_load(&s->is_replica))
        oplog_forget_db(s->log);
    else if (oplog_db(s->log) > 0) /* the stream is the primary's, and readers of the file begin on database 0 */
        db = oplog_db(s->log);
    rc = aof_hand_over(r->a, r->fd, oplog_head(s->log), db);
    if (rc == 0)
        r->fd = -1;
    return rc;
}

/* Gate closed. */
static int at_cut(void *arg)
{
    struct rewrite *r = arg;
    int rc = 0;

    pthread_mutex_lock(&r->a->lock);
    if (r->generation != r->a->generation)
        rc = -ECANCELED;
    else if (r->mode != AOF_OFF)
        rc = hand_over(r);
    pthread_mutex_unlock(&r->a->lock);
    return rc;
}

/* Opens what there is anew: nobody appends to it, and `dir` may have changed. */
static int open_files(struct aof *a, char *err, size_t err_size)
{
    struct config *c = a->server->config;
    int rc;

    aof_files_free(a->files);
    config_read_lock(c);
    rc = aof_files_open(&a->files, c->dir, c->appenddirname, c->appendfilename, err, err_size);
    config_read_unlock(c);
    return rc;
}

static int begin(struct rewrite *r)
{
    struct aof *a = r->a;
    bool busy;
    int rc = 0;

    pthread_mutex_lock(&a->lock);
    r->mode = a->mode;
    r->generation = a->generation;
    busy = a->next.set;
    if (a->paused)
        rc = -ECANCELED;
    pthread_mutex_unlock(&a->lock);
    if (rc == 0 && busy) /* the disk has not even taken what came before the last rewrite */
        rc = -EBUSY;
    if (rc == 0 && r->mode != AOF_ON)
        rc = open_files(a, r->reason, sizeof r->reason);
    if (rc != 0)
        return rc;
    /* Redis writes commands as a base when aof-use-rdb-preamble says no, and reads either. */
    rc = r->mode == AOF_ON ? aof_files_begin_rewrite(a->files, true, &r->fd)
                           : aof_files_begin_first(a->files, true, &r->fd);
    if (rc != 0)
        snprintf(r->reason, sizeof r->reason, "%s", aof_files_error(a->files));
    return rc;
}

static int write_base(struct rewrite *r)
{
    struct persistence *p = r->a->persistence;
    struct output o;
    int fd, rc = file_create(aof_files_temp_base(r->a->files), &fd);

    if (rc != 0)
        return rc;
    output_file(&o, fd, setting(&p->server->config->rdbchecksum) != 0);
    rc = persist_write_snapshot(p, &o, at_cut, r, NULL);
    if (rc == 0)
        rc = output_end(&o);
    if (rc == 0)
        rc = file_sync(fd);
    file_close(fd);
    return rc;
}

static bool is_void(struct rewrite *r)
{
    bool changed;

    pthread_mutex_lock(&r->a->lock);
    changed = r->generation != r->a->generation;
    pthread_mutex_unlock(&r->a->lock);
    return changed;
}

/* The new base counts. */
static void settle(struct rewrite *r)
{
    struct aof *a = r->a;
    int64_t base = aof_files_base_size(a->files);

    pthread_mutex_lock(&a->lock);
    if (r->generation == a->generation && r->mode == AOF_FIRST)
        a->mode = AOF_ON;
    a->next.skips = a->next.set;
    atomic_store(&a->base_size, base);
    atomic_store(&a->earlier_size, 0);
    atomic_store(&a->rewrite_base_size, base + (a->next.set ? 0 : atomic_load(&a->file_size)));
    pthread_mutex_unlock(&a->lock);
    aof_kick(a);
}

/* The files are as before. A first one that has begun ends again, unless whoever made it void has done that. */
static void give_up(struct rewrite *r)
{
    if (r->mode == AOF_FIRST && r->fd < 0 && !is_void(r)) {
        aof_leave(r->a, AOF_DROP);
        promise_nothing(r->a);
    }
    aof_files_abort_rewrite(r->a->files);
}

static int rewrite(struct rewrite *r)
{
    int rc = begin(r);

    if (rc != 0)
        return rc;
    rc = write_base(r);
    if (rc == 0 && is_void(r))
        rc = -ECANCELED;
    if (rc == 0 && (rc = aof_files_commit_rewrite(r->a->files)) != 0)
        snprintf(r->reason, sizeof r->reason, "%s", aof_files_error(r->a->files));
    if (rc == 0)
        settle(r);
    else
        give_up(r);
    file_close(r->fd);
    return rc;
}

static int write_empty_base(struct aof *a)
{
    struct buf b = {0};
    struct output o;
    int fd, rc = file_create(aof_files_temp_base(a->files), &fd);

    if (rc != 0)
        return rc;
    rdb_put_header(&b);
    rdb_put_aux(&b, VIEW("redis-ver"), VIEW(SERVER_REDIS_VERSION));
    rdb_put_aux_int(&b, VIEW("aof-base"), 1);
    output_file(&o, fd, setting(&a->server->config->rdbchecksum) != 0);
    rc = output_put(&o, buf_view(&b));
    if (rc == 0)
        rc = output_end(&o);
    if (rc == 0)
        rc = file_sync(fd);
    buf_free(&b);
    file_close(fd);
    return rc;
}

int aof_begin_empty(struct aof *a, char *err, size_t err_size)
{
    int fd, rc = open_files(a, err, err_size);

    if (rc != 0)
        return rc;
    rc = aof_files_begin_first(a->files, true, &fd);
    if (rc == 0 && (rc = write_empty_base(a)) != 0)
        snprintf(err, err_size, "Writing %s: %s", aof_files_temp_base(a->files), strerror(-rc));
    else if (rc != 0 || (rc = aof_files_commit_rewrite(a->files)) != 0)
        snprintf(err, err_size, "%s", aof_files_error(a->files));
    if (rc != 0) {
        aof_files_abort_rewrite(a->files);
        file_close(fd);
        return rc;
    }
    measure(a);
    return join_log(a, fd, err, err_size);
}

static void note_failure(struct aof *a)
{
    unsigned n = atomic_fetch_add(&a->rewrite_failures, 1) + 1;
    int64_t wait = RETRY_MS;

    if (n >= PATIENT)
        wait = n - PATIENT < RETRY_DOUBLINGS ? (int64_t)RETRY_LONG_MS << (n - PATIENT) : RETRY_MAX_MS;
    atomic_store(&a->rewrite_again_ms, mono_ms() + wait);
}

void aof_rewrite(struct aof *a)
{
    struct rewrite r = {.a = a, .fd = -1, .reason = ""};
    int64_t began = mono_ms();
    int rc;

    log_notice("Rewriting the AOF");
    atomic_fetch_add(&a->rewrites, 1);
    atomic_store(&a->rewrite_began_ms, began);
    rc = rewrite(&r);
    atomic_store(&a->rewrite_seconds, (mono_ms() - began) / 1000);
    atomic_store(&a->rewrite_began_ms, 0);
    if (rc == -ECANCELED) {
        log_notice("Rewriting the AOF was given up");
        return;
    }
    atomic_store(&a->rewrite_ok, rc == 0);
    if (rc == 0) {
        atomic_store(&a->rewrite_failures, 0);
        log_notice("AOF rewritten, %lld bytes", (long long)atomic_load(&a->base_size));
    } else {
        note_failure(a);
        log_warning("Rewriting the AOF failed: %s", r.reason[0] ? r.reason : strerror(-rc));
    }
}

/* ---- by itself ---- */

static int64_t current_size(struct aof *a)
{
    return atomic_load(&a->base_size) + atomic_load(&a->earlier_size) + atomic_load(&a->file_size);
}

static bool has_grown(struct aof *a)
{
    const struct config *c = a->server->config;
    int64_t percent = setting(&c->auto_aof_rewrite_percentage), size = current_size(a);
    int64_t base = atomic_load(&a->rewrite_base_size);

    if (percent == 0 || size <= setting(&c->auto_aof_rewrite_min_size))
        return false;
    return (double)size * 100 / (double)(base > 0 ? base : 1) - 100 >= (double)percent;
}

void aof_tick(struct aof *a, int64_t now_ms)
{
    enum aof_mode mode;
    bool paused;

    pthread_mutex_lock(&a->lock);
    mode = a->mode;
    paused = a->paused;
    pthread_mutex_unlock(&a->lock);
    if (mode == AOF_OFF || paused || now_ms < atomic_load(&a->rewrite_again_ms) ||
        atomic_load(&a->persistence->work) == PERSIST_REWRITE)
        return;
    if (mode == AOF_FIRST || has_grown(a))
        persist_want_rewrite(a->persistence);
}

/* ---- INFO ---- */

void aof_info(struct aof *a, struct aof_info *out)
{
    struct persistence *p = a->persistence;
    uint64_t tail = oplog_tail(a->server->log), written = atomic_load(&a->written_offset);
    int64_t began = atomic_load(&a->rewrite_began_ms);

    *out = (struct aof_info){
        .last_rewrite_ok = atomic_load(&a->rewrite_ok),
        .last_write_ok = atomic_load(&a->server->file_error) == 0,
        .last_rewrite_seconds = atomic_load(&a->rewrite_seconds),
        .current_rewrite_seconds = began != 0 ? (mono_ms() - began) / 1000 : -1,
        .rewrites = atomic_load(&a->rewrites),
        .consecutive_failures = atomic_load(&a->rewrite_failures),
        .current_size = current_size(a),
        .base_size = atomic_load(&a->rewrite_base_size),
        .pending_fsync = atomic_load(&a->syncing),
        .delayed_fsync = atomic_load(&a->delayed_syncs),
    };
    pthread_mutex_lock(&a->lock);
    out->enabled = a->mode != AOF_OFF;
    if (a->attached && tail > written)
        out->buffer_length = tail - written;
    pthread_mutex_unlock(&a->lock);
    pthread_mutex_lock(&p->lock);
    out->rewrite_in_progress = atomic_load(&p->work) == PERSIST_REWRITE; /* the same that BGREWRITEAOF looks at */
    out->rewrite_scheduled = p->rewrite_wanted;
    pthread_mutex_unlock(&p->lock);
}
