/*
 * What fuzz targets of the engine need: a server without network, files or a primary, on one thread. It is made once, and
 * emptied for every run, so that a run depends on its input alone: the keys' hash is fixed, too. Who targets it sees in
 * `ops` what the layers above would be asked for.
 */
#ifndef FUZZ_SERVER_H
#define FUZZ_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/cmd/command.h"
#include "engine/exec/executor.h"
#include "engine/log/effects.h"
#include "engine/log/oplog.h"
#include "engine/persist/aof.h"
#include "engine/persist/persist.h"
#include "engine/server/clients.h"
#include "engine/server/config.h"
#include "engine/server/replication.h"
#include "engine/server/server.h"
#include "engine/server/stats.h"
#include "engine/store/heap.h"
#include "engine/store/keyspace.h"

#define FUZZ_DATABASES 4
#define FUZZ_BULK_MAX (1 << 20) /* keeps what one short command can make small */

struct fuzz_server {
    struct server server;
    struct replication replication;
    struct exec_shared shared;
    struct heap_shared *heaps;
    struct executor ex;
};

static inline void demand(bool good)
{
    if (!good)
        abort();
}

/* One more thread that executes. */
static inline struct thread *fuzz_thread(struct fuzz_server *f)
{
    struct server *s = &f->server;
    struct thread *t = mem_zalloc(sizeof *t);

    t->index = s->thread_count++;
    t->heap = heap_new(f->heaps);
    t->random.s[0] = 1;
    keyspace_attach(s->keyspace, t);
    s->threads[t->index] = t;
    s->command_tallies[t->index] = mem_zalloc(command_count * sizeof(struct command_tally));
    return t;
}

static inline void fuzz_ignore_kill(void *arg, struct card *card)
{
    (void)arg;
    (void)card;
}

static inline void fuzz_ignore_handle(void *arg, struct handle h)
{
    (void)arg;
    (void)h;
}

static inline void fuzz_ignore(void *arg)
{
    (void)arg;
}

/* A key expired or was evicted. */
static inline void fuzz_removed(void *arg, struct thread *t, struct db *db, struct view name, bool evicted)
{
    struct fuzz_server *f = arg;
    struct view words[] = {VIEW("DEL"), name};
    struct effects e = {0};

    (void)evicted;
    if (!oplog_active(f->server.log))
        return;
    effects_add(&e, db_index(db), words, 2);
    oplog_append(f->server.log, t->index, &e);
    buf_free(&e.bytes);
}

/* Makes the server; what is said of replication comes with fuzz_server_begin. ops_arg is given to ops. */
static inline void fuzz_server_make(struct fuzz_server *f, const struct server_ops *ops, void *ops_arg)
{
    struct server *s = &f->server;

    log_set_level(LOG_LEVEL_NOTHING);
    clock_calibrate();
    s->ops = ops;
    s->ops_arg = ops_arg;
    s->replication = &f->replication;
    s->active_expire = true;
    s->start_mono_us = clock_mono_us();
    f->heaps = heap_shared_new();
    s->config = config_new(); /* the same for all runs, because making one takes longer than most of them */
    s->log = oplog_new();
    oplog_retain(s->log, 1 << 20);
    s->keyspace = keyspace_new(FUZZ_DATABASES);
    memset(&s->keyspace->hash_key, 1, sizeof s->keyspace->hash_key);
    s->keyspace->removed = fuzz_removed;
    s->keyspace->removed_arg = f;
    s->persistence = persist_new(s);
    s->persistence->aof = aof_new(s, s->persistence);
    s->clients = clients_new(fuzz_ignore_kill, NULL);
    f->shared.server = s;
    park_init(&f->shared.park, fuzz_ignore_handle, NULL);
    gate_init(&f->shared.gate, &s->keyspace->exclusive, fuzz_ignore, NULL);
    s->worker_count = 1;
    server_stats_init(s, command_count);
    f->ex = (struct executor){.shared = &f->shared, .thread = fuzz_thread(f)};
}

/* A run begins: an empty server, a primary, whose log begins at offset 0. */
static inline void fuzz_server_begin(struct fuzz_server *f)
{
    struct server *s = &f->server;

    atomic_store(&s->config->proto_max_bulk_len, FUZZ_BULK_MAX);
    memset(&f->replication, 0, sizeof f->replication);
    replication_init(&f->replication, s);
    memset(f->replication.id, 'a', REPLICATION_ID);
    oplog_start(s->log);
    oplog_restart(s->log, 0);
    atomic_store(&s->is_replica, false);
    atomic_store(&s->restrictions, 0);
    atomic_store(&s->pause_until_ms, 0);
    atomic_store(&s->pause_all, false);
    s->persistence->save_wanted = false;
    s->persistence->rewrite_wanted = s->persistence->sync_wanted = false;
}

/* Empties the keyspace. */
static inline void fuzz_server_clear(struct fuzz_server *f)
{
    struct keyspace *ks = f->server.keyspace;

    atomic_store(&ks->exclusive, true);
    for (unsigned i = 0; i < FUZZ_DATABASES; i++)
        if (db_next_partition(keyspace_db(ks, i), 0) < PARTITIONS)
            db_clear(ks, keyspace_db(ks, i));
    while (keyspace_reclaim(ks, f->ex.thread, UINT32_MAX))
        ;
    atomic_store(&ks->exclusive, false);
}

/* A run ends; nobody reads the log any more. */
static inline void fuzz_server_end(struct fuzz_server *f)
{
    struct server *s = &f->server;

    demand(!oplog_read_by_anyone(s->log));
    fuzz_server_clear(f);
    arena_free(&f->ex.arena);
    buf_free(&f->ex.effects.bytes);
    f->ex.effects = (struct effects){0};
    replication_free(&f->replication);
    while (mem_reclaim())
        ;
}

struct fuzz_digest {
    struct fuzz_server *f;
    unsigned db;
    uint64_t sum, keys;
};

static inline void fuzz_digest_item(void *arg, struct item *it)
{
    struct fuzz_digest *d = arg;
    const struct hash_key *hk = keyspace_hash_key(d->f->server.keyspace);
    struct view key = item_key(it), value = item_string(it);
    uint64_t h = hash_bytes(hk, key.p, key.n) * UINT64_C(0x9e3779b97f4a7c15);

    h ^= hash_bytes(hk, value.p, value.n) + 2 * d->db + ((it->flags & ITEM_EXPIRES) != 0);
    h *= UINT64_C(0xff51afd7ed558ccd);
    d->sum += h ^ h >> 32;
    d->keys++;
}

/* A number that tells data sets apart: keys, values, and whether they expire. */
static inline uint64_t fuzz_server_digest(struct fuzz_server *f)
{
    struct keyspace *ks = f->server.keyspace;
    struct fuzz_digest d = {.f = f};

    atomic_store(&ks->exclusive, true);
    for (d.db = 0; d.db < FUZZ_DATABASES; d.db++) {
        struct db *db = keyspace_db(ks, d.db);
        uint64_t cursor = 0, keys = d.keys;
        uint32_t partition;
        while ((partition = db_next_partition(db, cursor)) < PARTITIONS) {
            do
                cursor = db_scan(db, partition, cursor, fuzz_digest_item, &d);
            while (cursor != DB_CURSOR_END && db_next_partition(db, cursor) == partition);
            if (cursor == DB_CURSOR_END)
                break;
        }
        demand(d.keys - keys == db_size(db));
    }
    atomic_store(&ks->exclusive, false);
    return d.sum;
}

/* Appends what the log holds from offset `from` on. */
static inline void fuzz_server_log(struct fuzz_server *f, uint64_t from, struct buf *out)
{
    uint64_t tail = oplog_tail(f->server.log);
    struct iovec iov[8];
    int n;

    demand(from >= oplog_first(f->server.log) && tail == oplog_head(f->server.log));
    while ((n = oplog_gather(f->server.log, from, tail, iov, 8)) > 0)
        for (int i = 0; i < n; i++) {
            buf_put(out, iov[i].iov_base, iov[i].iov_len);
            from += iov[i].iov_len;
        }
}

#endif
