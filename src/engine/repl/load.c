/*
 * Loading: see load.h. A snapshot goes into a stage and becomes the data as a whole, so that nothing of a damaged one is
 * ever seen. Commands of an append-only file are replayed on the data itself; when they are damaged the server does not
 * start, and nobody saw it either.
 *
 * Where Redis starts empty (an append-only file is configured, and there is none yet) the snapshot is loaded.
 */
#include "engine/repl/load.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "engine/log/oplog.h"
#include "engine/persist/aof.h"
#include "engine/persist/aof_scan.h"
#include "engine/persist/persist.h"
#include "engine/persist/rdb_read.h"
#include "engine/repl/replay.h"
#include "engine/server/config.h"
#include "engine/server/replication.h"
#include "engine/server/server.h"
#include "engine/store/keyspace.h"
#include "engine/store/stage.h"

#define KEYS_PLAUSIBLE (UINT64_C(1) << 32) /* a hint beyond that is none */

struct load {
    struct server *server;
    struct executor *ex;
    struct stage *stage;
    int fd;
    uint32_t db;
    uint64_t keys, functions;
    uint64_t commands;
    bool is_append_only; /* keys that have expired count: commands may speak of them */
    bool has_history;
    char id[REPLICATION_ID + 1];
    uint64_t offset;
    uint32_t stream_db;
    int64_t began_ms;
};

static int64_t setting(const config_number *n)
{
    return atomic_load_explicit((config_number *)n, memory_order_relaxed);
}

static int64_t mono_ms(void)
{
    return clock_mono_us() / 1000;
}

static ssize_t load_read(void *arg, void *p, size_t n)
{
    struct load *l = arg;
    ssize_t got = file_read(l->fd, p, n);

    if (got < 0) {
        errno = (int)-got;
        return -1;
    }
    atomic_fetch_add(&l->server->loading.done, got);
    return got;
}

static bool load_aux(void *arg, struct view name, struct view value)
{
    struct load *l = arg;
    int64_t n = -1;

    if (view_equal(name, VIEW("repl-id")) && value.n == REPLICATION_ID) {
        memcpy(l->id, value.p, REPLICATION_ID);
    } else if (view_equal(name, VIEW("repl-offset")) && num_parse_int(value, &n) && n >= 0) {
        l->offset = (uint64_t)n;
        l->has_history = true;
    } else if (view_equal(name, VIEW("repl-stream-db")) && num_parse_int(value, &n) && n >= 0 &&
               n < (int64_t)keyspace_databases(l->server->keyspace)) {
        l->stream_db = (uint32_t)n;
    }
    return true;
}

static bool load_select(void *arg, uint64_t db)
{
    struct load *l = arg;

    l->db = (uint32_t)db;
    if (db < keyspace_databases(l->server->keyspace))
        return true;
    log_warning("The file has data in database %" PRIu64 ", but `databases` is %u", db,
                keyspace_databases(l->server->keyspace));
    return false;
}

static bool load_item(void *arg, struct item *it)
{
    struct load *l = arg;

    l->keys++;
    stage_add(l->stage, l->db, it);
    return true;
}

static bool load_resize(void *arg, uint64_t keys, uint64_t expires)
{
    struct load *l = arg;

    (void)expires;
    stage_expect(l->stage, l->db, keys < KEYS_PLAUSIBLE ? keys : 0);
    return true;
}

static bool load_function(void *arg, struct view source)
{
    struct load *l = arg;

    (void)source;
    l->functions++;
    return true;
}

static struct rdb_limits rdb_limits_of(const struct load *l)
{
    const struct server *s = l->server;
    int64_t policy = setting(&s->config->maxmemory_policy), longest = setting(&s->config->proto_max_bulk_len);

    return (struct rdb_limits){
        .max_string = longest > RDB_STRING_MAX ? longest : RDB_STRING_MAX,
        .check_checksum = setting(&s->config->rdbchecksum) != 0,
        .drop_expired_before_ms = atomic_load(&s->is_replica) || l->is_append_only ? -1 : clock_wall_ms(),
        .lru = policy == POLICY_ALLKEYS_LRU || policy == POLICY_VOLATILE_LRU,
        .lfu = policy == POLICY_ALLKEYS_LFU || policy == POLICY_VOLATILE_LFU,
        .now_ms = clock_wall_ms(),
    };
}

/* Gate closed. */
static void commit(void *arg)
{
    stage_commit(arg);
}

/* Loads a snapshot from the source, which is at its beginning, and makes it the data. *rest, if not NULL, gets what was read behind
 * it. */
static bool load_snapshot(struct load *l, const struct rdb_source *source, const char *path, struct buf *rest)
{
    struct rdb_limits limits = rdb_limits_of(l);
    struct rdb_visitor visitor = {l, load_aux, load_select, load_resize, load_item, load_function};
    struct rdb_reader *reader = rdb_reader_new(source, l->ex->thread, &limits);
    struct rdb_error error = {.text = "its contents are refused"};
    uint64_t duplicates = 0;
    enum rdb_result rc;

    l->stage = stage_new(l->server->keyspace, l->ex->thread);
    rc = rdb_read(reader, &visitor, &error);
    if (rc != RDB_OK)
        log_warning("Cannot load %s: %s, at byte %" PRIu64, path, error.text, error.offset);
    else if ((duplicates = stage_finish(l->stage)) > 0)
        log_warning("Cannot load %s: %" PRIu64 " of its keys are there twice", path, duplicates);
    else
        l->server->ops->exclusive(l->server->ops_arg, commit, l->stage);
    if (rest)
        buf_put_view(rest, rdb_reader_rest(reader));
    if (l->functions > 0)
        log_warning("%s has %" PRIu64 " libraries of functions, which are ignored", path, l->functions);
    rdb_reader_free(reader);
    stage_free(l->stage);
    return rc == RDB_OK && duplicates == 0;
}

/* Goes on with the history of the snapshot. Gate closed. */
static void take_history(void *arg)
{
    struct load *l = arg;
    struct server *s = l->server;
    struct replication *r = s->replication;

    oplog_start(s->log);
    oplog_restart(s->log, l->offset);
    replication_adopt_id(r, l->id);
    if (!atomic_load(&s->is_replica))
        replication_shift_id(r);
    pthread_mutex_lock(&r->lock);
    r->resumable = atomic_load(&s->is_replica);
    pthread_mutex_unlock(&r->lock);
}

static void say_loaded(const struct load *l, const char *what)
{
    log_notice("DB loaded from %s: %" PRIu64 " keys in %.3f seconds", what, l->keys,
               (double)(mono_ms() - l->began_ms) / 1000);
}

static bool load_rdb_file(struct load *l, const char *path)
{
    struct rdb_source source = {load_read, l};
    int64_t size = 0;
    int rc;
    bool ok;

    rc = file_open(path, &l->fd);
    if (rc == -ENOENT) {
        log_notice("There is no %s: the data is empty", path);
        return true;
    }
    if (rc != 0) {
        log_warning("Cannot load %s: %s", path, strerror(-rc));
        return false;
    }
    file_size(path, &size);
    atomic_store(&l->server->loading.total, size);
    ok = load_snapshot(l, &source, path, NULL);
    file_close(l->fd);
    if (!ok)
        return false;
    if (l->has_history && l->id[0])
        l->server->ops->exclusive(l->server->ops_arg, take_history, l);
    say_loaded(l, path);
    return true;
}

/* ---- the append-only file ---- */

static ssize_t part_read(void *arg, void *p, size_t n)
{
    struct load *l = arg;
    ssize_t got = file_read(l->fd, p, n);

    if (got > 0)
        atomic_fetch_add(&l->server->loading.done, got);
    return got;
}

/* The bytes of a base that begins as a snapshot does. */
static ssize_t preamble_read(void *arg, void *p, size_t n)
{
    ssize_t got = aof_scan_read(arg, p, n);

    if (got >= 0)
        return got;
    errno = (int)-got;
    return -1;
}

static bool load_preamble(struct load *l, struct aof_scan *scan, const char *path)
{
    struct rdb_source source = {preamble_read, scan};
    struct buf rest = {0};
    bool ok = load_snapshot(l, &source, path, &rest);

    if (ok && buf_live(&rest) > 0)
        aof_scan_unread(scan, buf_head(&rest), buf_live(&rest));
    buf_free(&rest);
    return ok;
}

/* The end of a file: false when it must not end like this. */
static bool accept_end(struct load *l, const struct aof_part *part, const struct aof_scan *scan, enum aof_found found)
{
    int64_t valid = aof_scan_valid(scan), total = aof_scan_total(scan);
    int rc;

    if (found == AOF_CLEAN)
        return true;
    if (found == AOF_FAILED) {
        log_warning("Cannot read %s: %s", part->path, strerror(-scan->error));
        return false;
    }
    if (found == AOF_DAMAGED || !part->is_last) {
        log_warning("Bad file format reading the append only file %s: %s, at byte %" PRId64 " of %" PRId64
                    ". Make a backup of it; redis-check-aof --fix cuts it there",
                    part->path, scan->reason, scan->end, total);
        return false;
    }
    if (!setting(&l->server->config->aof_load_truncated)) {
        log_warning("Unexpected end of %s: %s. It is valid up to byte %" PRId64 " of %" PRId64
                    ". With aof-load-truncated it would be cut there",
                    part->path, scan->reason, valid, total);
        return false;
    }
    rc = file_truncate(part->path, valid);
    if (rc != 0) {
        log_warning("Cannot cut %s at byte %" PRId64 ": %s", part->path, valid, strerror(-rc));
        return false;
    }
    log_warning("Unexpected end of %s: %s. It was cut at byte %" PRId64 " of %" PRId64, part->path, scan->reason, valid,
                total);
    return true;
}

static bool load_part(struct load *l, const struct aof_part *part)
{
    int64_t longest = setting(&l->server->config->proto_max_bulk_len);
    enum aof_found found = AOF_CLEAN;
    struct aof_scan scan;
    struct replay replay;
    int rc = file_open(part->path, &l->fd);
    bool ok = true;

    if (rc != 0) {
        log_warning("Cannot load %s: %s", part->path, strerror(-rc));
        return false;
    }
    aof_scan_init(&scan, part_read, l, longest > RDB_STRING_MAX ? longest : RDB_STRING_MAX);
    replay_init(&replay, l->ex, false);
    if (aof_scan_is_rdb(&scan))
        ok = load_preamble(l, &scan, part->path);
    while (ok && (found = aof_scan_next(&scan)) == AOF_COMMAND)
        replay_command(&replay, scan.argv, (int)scan.argc);
    ok = ok && accept_end(l, part, &scan, found);
    l->commands += replay.commands;
    replay_free(&replay);
    aof_scan_free(&scan);
    file_close(l->fd);
    return ok;
}

/* 1: loaded, 0: there is none, -1: it is there, and cannot be loaded. */
static int load_files(struct load *l, struct aof_files **files)
{
    const struct config *c = l->server->config;
    struct aof_part part;
    char err[512];
    size_t n;

    config_read_lock(c);
    n = (size_t)aof_files_open(files, c->dir, c->appenddirname, c->appendfilename, err, sizeof err);
    config_read_unlock(c);
    if (n != 0) {
        log_warning("Cannot read the append only file: %s", err);
        return -1;
    }
    if (aof_files_prepare(*files) != 0) {
        log_warning("Cannot read the append only file: %s", aof_files_error(*files));
        return -1;
    }
    for (n = 0; aof_files_part(*files, n, &part); n++)
        atomic_fetch_add(&l->server->loading.total, part.size > 0 ? part.size : 0);
    for (size_t i = 0; i < n; i++)
        if (!aof_files_part(*files, i, &part) || !load_part(l, &part))
            return -1;
    return n > 0;
}

static bool load_append_only(struct load *l, const char *snapshot)
{
    struct aof *aof = l->server->persistence->aof;
    struct aof_files *files = NULL;
    char err[512];
    int found;

    l->is_append_only = true;
    found = load_files(l, &files);
    if (found < 0) {
        aof_files_free(files);
        return false;
    }
    if (found == 0) { /* what there is becomes its first base */
        aof_files_free(files);
        l->is_append_only = false;
        if (!load_rdb_file(l, snapshot))
            return false;
        if (l->keys > 0)
            aof_begin_first(aof);
        else if (aof_begin_empty(aof, err, sizeof err) != 0)
            log_warning("Cannot begin the append only file: %s", err);
        else
            return true;
        return l->keys > 0;
    }
    log_notice("DB loaded from append only file: %" PRIu64 " keys in snapshots, %" PRIu64 " commands, %.3f seconds",
               l->keys, l->commands, (double)(mono_ms() - l->began_ms) / 1000);
    if (aof_go_on(aof, files, err, sizeof err) == 0)
        return true;
    log_warning("Cannot go on with the append only file: %s", err);
    return false;
}

static void finish(struct load *l)
{
    struct persistence *p = l->server->persistence;

    atomic_store(&p->keys_loaded, l->keys);
    atomic_store(&p->changes_saved, persist_changes_now(p));
    atomic_store(&l->server->last_save_wall_s, clock_wall_ms() / 1000);
    server_restrict(l->server, RESTRICT_LOADING, false);
}

bool load_data(struct executor *ex, struct load_result *out)
{
    struct server *s = ex->shared->server;
    struct load l = {.server = s, .ex = ex, .fd = -1, .began_ms = mono_ms()};
    char path[512];
    bool ok;

    config_read_lock(s->config);
    snprintf(path, sizeof path, "%s", s->config->dbfilename);
    config_read_unlock(s->config);
    ok = setting(&s->config->appendonly) ? load_append_only(&l, path) : load_rdb_file(&l, path);
    if (ok)
        finish(&l);
    out->stream_db = l.stream_db;
    return ok;
}
