/* Saving: see persist.h. */
#include "engine/persist/persist.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/log/oplog.h"
#include "engine/persist/aof.h"
#include "engine/persist/output.h"
#include "engine/server/config.h"
#include "engine/server/replication.h"
#include "engine/server/server.h"
#include "engine/server/stats.h"
#include "engine/server/version.h"
#include "engine/store/db.h"

#define NICE 10       /* of the thread: workers go first */
#define TAKE_MS 5     /* between two looks at whether the walk is over */
#define RETRY_MS 5000 /* after a save that failed, before a save point tries again */
#define POINTS_MAX 64
#define WORK_US 100
#define REST_US 20
#define CANCEL_LOOK_US 500

static int64_t setting(const config_number *n)
{
    return atomic_load_explicit((config_number *)n, memory_order_relaxed);
}

static int64_t mono_ms(void)
{
    return clock_mono_us() / 1000;
}

struct persistence *persist_new(struct server *s)
{
    struct persistence *p = mem_alloc_lines((sizeof *p + 63) & ~(size_t)63);

    memset(p, 0, sizeof *p);
    p->server = s;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    atomic_store(&p->save_ok, true);
    atomic_store(&p->save_seconds, -1);
    snapshot_init(&p->snapshot, s->keyspace);
    return p;
}

void persist_free(struct persistence *p)
{
    if (!p)
        return;
    snapshot_free(&p->snapshot);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->wake);
    mem_free(p);
}

/* ---- writing ---- */

struct cut {
    struct persistence *p;
    struct rdb_options options;
    int (*took)(void *arg);
    void *arg;
    int rc;
    int64_t changes;
    uint64_t offset;
    int64_t stream_db;
    char id[REPLICATION_ID + 1];
};

/* Gate closed. */
static void take_cut(void *arg)
{
    struct cut *cut = arg;
    struct server *s = cut->p->server;

    if (cut->took && (cut->rc = cut->took(cut->arg)) != 0)
        return;
    cut->changes = server_stats_changes(s);
    cut->offset = oplog_head(s->log);
    cut->stream_db = oplog_db(s->log);
    memcpy(cut->id, s->replication->id, sizeof cut->id);
    snapshot_begin(&cut->p->snapshot, &cut->options);
}

/* Gate closed. */
static void end_cut(void *arg)
{
    snapshot_end(arg);
}

static void put_aux(struct buf *b, const char *name, const char *value)
{
    rdb_put_aux(b, view_of(name, strlen(name)), view_of(value, strlen(value)));
}

/* What Redis writes about a file, with the place in the history that it belongs to. */
static void put_header(const struct cut *cut, struct buf *b)
{
    struct server *s = cut->p->server;

    rdb_put_header(b);
    put_aux(b, "redis-ver", SERVER_REDIS_VERSION);
    rdb_put_aux_int(b, VIEW("redis-bits"), sizeof(void *) * 8);
    rdb_put_aux_int(b, VIEW("ctime"), clock_wall_ms() / 1000);
    rdb_put_aux_int(b, VIEW("used-mem"), server_stats_memory(s));
    if (oplog_active(s->log)) {
        rdb_put_aux_int(b, VIEW("repl-stream-db"), cut->stream_db < 0 ? 0 : cut->stream_db);
        put_aux(b, "repl-id", cut->id);
        rdb_put_aux_int(b, VIEW("repl-offset"), (int64_t)cut->offset);
    }
    rdb_put_aux_int(b, VIEW("aof-base"), atomic_load(&cut->p->work) == PERSIST_REWRITE);
    for (unsigned i = 0; i < keyspace_databases(s->keyspace); i++) {
        struct db *db = keyspace_db(s->keyspace, i);
        uint64_t keys = db_size(db);
        if (keys == 0)
            continue;
        rdb_put_select(b, i);
        rdb_put_resize(b, keys, db_expires(db)); /* a hint: it changes meanwhile */
    }
}

/* Sleeps a moment after a while of work: a worker on the same core would else be kept away for a whole time slice. */
static void rest(int64_t *rested_us)
{
    if (clock_mono_us() - *rested_us < WORK_US)
        return;
    clock_sleep_us(REST_US);
    *rested_us = clock_mono_us();
}

static int put_pieces(struct persistence *p, struct output *o, unsigned wait_ms)
{
    int64_t rested_us = clock_mono_us();
    struct snapshot_piece *piece;
    int rc = 0;

    while (rc == 0 && (piece = snapshot_take(&p->snapshot, wait_ms))) {
        rc = output_piece(o, piece, p->snapshot.options.compress);
        snapshot_piece_free(piece);
        if (atomic_load(&p->cancel))
            rc = -ECANCELED;
        rest(&rested_us);
    }
    return rc;
}

int persist_write_snapshot(struct persistence *p, struct output *o, int (*took_cut)(void *arg), void *arg,
                           int64_t *changes)
{
    struct server *s = p->server;
    struct cut cut = {.p = p, .took = took_cut, .arg = arg};
    int64_t policy = setting(&s->config->maxmemory_policy);
    struct buf head = {0};
    int rc;

    cut.options = (struct rdb_options){
        .compress = setting(&s->config->rdbcompression) != 0,
        .lru = setting(&s->config->maxmemory) > 0 && (policy == POLICY_ALLKEYS_LRU || policy == POLICY_VOLATILE_LRU),
        .lfu = setting(&s->config->maxmemory) > 0 && (policy == POLICY_ALLKEYS_LFU || policy == POLICY_VOLATILE_LFU),
        .lfu_decay_minutes = setting(&s->config->lfu_decay_time),
        .now_ms = clock_wall_ms(),
    };
    s->ops->exclusive(s->ops_arg, take_cut, &cut);
    if (cut.rc != 0)
        return cut.rc;
    put_header(&cut, &head);
    rc = output_put(o, buf_view(&head));
    buf_free(&head);
    while (rc == 0 && !snapshot_walked(&p->snapshot)) {
        rc = put_pieces(p, o, TAKE_MS);
        if (rc == 0 && atomic_load(&p->cancel))
            rc = -ECANCELED;
    }
    s->ops->exclusive(s->ops_arg, end_cut, &p->snapshot);
    if (rc == 0)
        rc = put_pieces(p, o, 0);
    snapshot_drop(&p->snapshot);
    if (rc == 0 && changes)
        *changes = cut.changes;
    return rc;
}

/* ---- SAVE and BGSAVE ---- */

/* Who asked for it may go on. */
static int took_save_cut(void *arg)
{
    struct persistence *p = arg;

    atomic_store(&p->cuts, atomic_load(&p->started));
    server_progressed(p->server);
    return 0;
}

static int save_to(struct persistence *p, const char *path, int64_t *changes)
{
    const struct config *c = p->server->config;
    char temp[64];
    struct output o;
    int fd = -1, rc;

    snprintf(temp, sizeof temp, "temp-%d.rdb", (int)getpid());
    if ((rc = file_create(temp, &fd)) != 0)
        return rc;
    output_file(&o, fd, setting(&c->rdbchecksum) != 0);
    rc = persist_write_snapshot(p, &o, took_save_cut, p, changes);
    if (rc == 0)
        rc = output_end(&o);
    if (rc == 0)
        rc = file_sync(fd);
    file_close(fd);
    if (rc == 0)
        rc = file_replace(temp, path, NULL);
    if (rc != 0)
        file_remove(temp);
    return rc;
}

/* The name that a save goes to; strings of the configuration are read under its lock. */
static void copy_name(const struct persistence *p, char *out, size_t size)
{
    config_read_lock(p->server->config);
    snprintf(out, size, "%s", p->server->config->dbfilename);
    config_read_unlock(p->server->config);
}

static void save(struct persistence *p)
{
    struct server *s = p->server;
    char path[512];
    int64_t changes;
    int rc;

    copy_name(p, path, sizeof path);
    atomic_store(&p->save_began_ms, mono_ms());
    log_notice("Saving to %s", path);
    rc = save_to(p, path, &changes);
    took_save_cut(p);
    atomic_store(&p->save_done, rc == 0);
    atomic_store(&p->save_tried_ms, mono_ms());
    atomic_store(&p->save_seconds, (mono_ms() - atomic_load(&p->save_began_ms)) / 1000);
    if (rc == 0) {
        atomic_store(&p->changes_saved, changes);
        atomic_store(&s->last_save_wall_s, clock_wall_ms() / 1000);
        atomic_fetch_add(&p->saves, 1);
        log_notice("DB saved on disk: %s, %lld keys", path, (long long)atomic_load(&p->snapshot.keys));
    } else if (rc == -ECANCELED) {
        log_warning("Saving was given up");
    } else {
        log_warning("Error saving DB to %s: %s", path, strerror(-rc));
    }
    if (rc != -ECANCELED) {
        atomic_store(&p->save_ok, rc == 0);
        persist_restrict(p);
    }
}

void persist_restrict(struct persistence *p)
{
    struct server *s = p->server;
    bool blocks;

    pthread_mutex_lock(&p->lock);
    blocks =
        !atomic_load(&p->save_ok) && setting(&s->config->stop_writes_on_bgsave_error) && atomic_load(&p->has_points);
    server_restrict(s, RESTRICT_DISK, blocks || atomic_load(&s->file_error) != 0);
    pthread_mutex_unlock(&p->lock);
}

void persist_configure(struct persistence *p, const char *points)
{
    atomic_store(&p->has_points, points[0] != '\0');
    persist_restrict(p);
}

enum persist_answer persist_save(struct persistence *p, bool schedule, uint64_t *ticket)
{
    enum persist_answer answer = PERSIST_STARTED;
    unsigned work;

    pthread_mutex_lock(&p->lock);
    work = atomic_load(&p->work);
    *ticket = atomic_load(&p->started) + 1;
    if (work == PERSIST_SAVE || p->save_wanted) {
        answer = PERSIST_SAVING;
    } else if (work == PERSIST_REWRITE && !schedule) {
        answer = PERSIST_BUSY;
    } else {
        answer = work == PERSIST_IDLE ? PERSIST_STARTED : PERSIST_SCHEDULED;
        p->save_wanted = true;
        atomic_store(&p->started, *ticket);
        pthread_cond_signal(&p->wake);
    }
    pthread_mutex_unlock(&p->lock);
    return answer;
}

enum persist_answer persist_rewrite(struct persistence *p)
{
    enum persist_answer answer;

    pthread_mutex_lock(&p->lock);
    if (p->rewrite_wanted || atomic_load(&p->work) == PERSIST_REWRITE) {
        answer = PERSIST_BUSY;
    } else {
        answer = atomic_load(&p->work) == PERSIST_IDLE ? PERSIST_STARTED : PERSIST_SCHEDULED;
        p->rewrite_wanted = true;
        pthread_cond_signal(&p->wake);
    }
    pthread_mutex_unlock(&p->lock);
    return answer;
}

void persist_want_rewrite(struct persistence *p)
{
    pthread_mutex_lock(&p->lock);
    p->rewrite_wanted = true;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

void persist_cancel_rewrite(struct persistence *p)
{
    pthread_mutex_lock(&p->lock);
    p->rewrite_wanted = false;
    if (atomic_load(&p->work) == PERSIST_REWRITE)
        atomic_store(&p->cancel, true);
    pthread_mutex_unlock(&p->lock);
}

void persist_want_sync(struct persistence *p)
{
    pthread_mutex_lock(&p->lock);
    p->sync_wanted = true;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

int64_t persist_changes(const struct persistence *p)
{
    int64_t n = server_stats_changes(p->server) - atomic_load(&((struct persistence *)p)->changes_saved);

    return n > 0 ? n : 0;
}

int64_t persist_changes_now(const struct persistence *p)
{
    return server_stats_changes(p->server);
}

void persist_cancel(struct persistence *p)
{
    while (atomic_load(&p->work) != PERSIST_IDLE) {
        atomic_store(&p->cancel, true);
        clock_sleep_us(CANCEL_LOOK_US);
    }
    atomic_store(&p->cancel, false);
}

void persist_leave_log(struct persistence *p)
{
    aof_pause(p->aof);
}

void persist_rejoin_log(struct persistence *p)
{
    aof_resume(p->aof);
}

/* ---- save points ---- */

bool persist_has_points(const struct persistence *p)
{
    return atomic_load(&((struct persistence *)p)->has_points);
}

static bool point_reached(struct persistence *p)
{
    int64_t changes = persist_changes(p), passed;
    char points[512], *at = points;
    bool reached = false;

    config_read_lock(p->server->config);
    snprintf(points, sizeof points, "%s", p->server->config->save);
    config_read_unlock(p->server->config);
    passed = clock_wall_ms() / 1000 - atomic_load(&p->server->last_save_wall_s);
    for (unsigned i = 0; i < POINTS_MAX && *at && !reached; i++) {
        int64_t seconds = strtoll(at, &at, 10), least = strtoll(at, &at, 10);
        reached = changes >= least && passed > seconds;
    }
    return reached;
}

void persist_tick(struct persistence *p, int64_t now_ms)
{
    uint64_t ticket;

    aof_tick(p->aof, now_ms);
    if (atomic_load(&p->work) != PERSIST_IDLE || !point_reached(p))
        return;
    if (!atomic_load(&p->save_ok) && now_ms - atomic_load(&p->save_tried_ms) < RETRY_MS)
        return;
    persist_save(p, false, &ticket);
}

/* ---- the thread ---- */

/* What to do next, under the lock. */
static enum persist_work next_work(struct persistence *p)
{
    if (p->sync_wanted) {
        p->sync_wanted = false;
        return PERSIST_SYNC;
    }
    if (p->rewrite_wanted) {
        p->rewrite_wanted = false;
        return PERSIST_REWRITE;
    }
    if (p->save_wanted) {
        p->save_wanted = false;
        return PERSIST_SAVE;
    }
    return PERSIST_IDLE;
}

static void *run(void *arg)
{
    struct persistence *p = arg;

    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
    pthread_setname_np(pthread_self(), "snapshots");
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    pthread_mutex_lock(&p->lock);
    while (!p->stopping) {
        enum persist_work work = next_work(p);
        atomic_store(&p->work, work);
        if (work == PERSIST_IDLE) {
            pthread_cond_wait(&p->wake, &p->lock);
            continue;
        }
        pthread_mutex_unlock(&p->lock);
        if (work == PERSIST_SYNC)
            persist_sync_replicas(p);
        else if (work == PERSIST_SAVE)
            save(p);
        else
            aof_rewrite(p->aof);
        pthread_mutex_lock(&p->lock);
        atomic_store(&p->work, PERSIST_IDLE);
        atomic_store(&p->cancel, p->stopping);
        if (work == PERSIST_SAVE)
            atomic_store(&p->finished, atomic_load(&p->started));
        server_progressed(p->server);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

void persist_start(struct persistence *p)
{
    p->running = pthread_create(&p->thread, NULL, run, p) == 0;
}

void persist_stop(struct persistence *p)
{
    if (!p->running)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    atomic_store(&p->cancel, true);
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    p->running = false;
}

int persist_last_save(struct persistence *p)
{
    uint64_t ticket;

    if (persist_save(p, true, &ticket) == PERSIST_SAVING) {
        while (atomic_load(&p->finished) + 1 < ticket)
            clock_sleep_us(1000);
        persist_save(p, true, &ticket);
    }
    while (atomic_load(&p->finished) < ticket)
        clock_sleep_us(1000);
    return atomic_load(&p->save_done) ? 0 : -1;
}
