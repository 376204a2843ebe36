/* Receiving a primary's snapshot: see transfer.h. */
#include "engine/repl/transfer.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "engine/persist/rdb_read.h"
#include "engine/repl/peer.h"
#include "engine/server/config.h"
#include "engine/server/server.h"
#include "engine/store/db.h"
#include "engine/store/stage.h"

#define KEYS_PLAUSIBLE (UINT64_C(1) << 32) /* a hint beyond that is none */

static int64_t setting(const config_number *n)
{
    return atomic_load_explicit((config_number *)n, memory_order_relaxed);
}

static int64_t mono_ms(void)
{
    return clock_mono_us() / 1000;
}

static ssize_t read_bytes(void *arg, void *p, size_t n)
{
    struct transfer *t = arg;
    ssize_t got;

    if (!t->by_mark && n > t->left)
        n = t->left;
    if (n == 0)
        return 0;
    if (!t->goes_on(t->arg)) {
        errno = ECANCELED;
        return -1;
    }
    got = peer_read(t->peer, p, n);
    if (got > 0) {
        t->left -= t->by_mark ? 0 : (uint64_t)got;
        atomic_fetch_add(&t->server->replication->sync_done, got);
        atomic_store(&t->server->replication->heard_ms, mono_ms());
        tally_add(&t->thread->net_in, got);
        tally_add(&t->thread->replication_in, got);
    }
    return got;
}

static bool take_aux(void *arg, struct view name, struct view value)
{
    struct transfer *t = arg;
    int64_t db;

    if (view_equal(name, VIEW("repl-stream-db")) && num_parse_int(value, &db) && db >= 0 &&
        db < (int64_t)keyspace_databases(t->server->keyspace))
        t->stream_db = (uint64_t)db;
    return true;
}

static bool take_select(void *arg, uint64_t db)
{
    struct transfer *t = arg;

    t->db = (uint32_t)db;
    return db < keyspace_databases(t->server->keyspace);
}

static bool take_item(void *arg, struct item *it)
{
    struct transfer *t = arg;

    stage_add(t->stage, t->db, it);
    return true;
}

static bool take_resize(void *arg, uint64_t keys, uint64_t expires)
{
    struct transfer *t = arg;

    (void)expires;
    stage_expect(t->stage, t->db, keys < KEYS_PLAUSIBLE ? keys : 0);
    return true;
}

static bool take_function(void *arg, struct view source)
{
    struct transfer *t = arg;

    (void)source;
    t->function_count++;
    return true;
}

/* "$EOF:<mark>" or "$<length>". */
static int read_size(struct transfer *t)
{
    char line[PEER_LINE_MAX];
    int64_t size;

    do
        if (peer_line(t->peer, line, sizeof line) != 0) {
            log_warning("Full synchronisation: %s", peer_error(t->peer));
            return -1;
        }
    while (line[0] == '\0');
    if (strncmp(line, "$EOF:", 5) == 0 && strlen(line) == 5 + REPLICATION_ID) {
        t->by_mark = true;
        memcpy(t->mark, line + 5, REPLICATION_ID);
        atomic_store(&t->server->replication->sync_total, -1);
        return 0;
    }
    if (line[0] == '$' && num_parse_int(view_str(line + 1), &size) && size > 0) {
        t->left = (uint64_t)size;
        atomic_store(&t->server->replication->sync_total, size);
        return 0;
    }
    log_warning("Full synchronisation: the primary sends '%s' where a snapshot should begin", line);
    return -1;
}

/* The mark behind a snapshot of unknown length. `rest` was read ahead; what is behind the mark stays with the peer. */
static int read_mark(struct transfer *t, struct view rest)
{
    char mark[REPLICATION_ID];

    peer_unread(t->peer, rest);
    if (peer_read_all(t->peer, mark, sizeof mark) != 0 || memcmp(mark, t->mark, sizeof mark) != 0) {
        log_warning("Full synchronisation: the snapshot does not end with its mark");
        return -1;
    }
    return 0;
}

int transfer_receive(struct transfer *t)
{
    const struct config *c = t->server->config;
    struct rdb_source source = {read_bytes, t};
    struct rdb_visitor visitor = {t, take_aux, take_select, take_resize, take_item, take_function};
    struct rdb_limits limits = {.max_string = setting(&c->proto_max_bulk_len) > RDB_STRING_MAX
                                                  ? setting(&c->proto_max_bulk_len)
                                                  : RDB_STRING_MAX,
                                .check_checksum = true,
                                .drop_expired_before_ms = -1,
                                .now_ms = clock_wall_ms()};
    struct rdb_reader *reader;
    struct rdb_error error;
    enum rdb_result rc;

    if (read_size(t) != 0)
        return -1;
    reader = rdb_reader_new(&source, t->thread, &limits);
    rc = rdb_read(reader, &visitor, &error);
    if (rc != RDB_OK)
        log_warning("Full synchronisation: %s, at byte %llu of the snapshot", error.text,
                    (unsigned long long)error.offset);
    else if (t->by_mark)
        rc = read_mark(t, rdb_reader_rest(reader)) == 0 ? RDB_OK : RDB_DAMAGED;
    else if (t->left > 0 || rdb_reader_rest(reader).n > 0)
        log_warning("Full synchronisation: %llu bytes behind the snapshot are ignored", (unsigned long long)t->left);
    while (rc == RDB_OK && !t->by_mark && t->left > 0) {
        char junk[4096];
        if (read_bytes(t, junk, sizeof junk) <= 0)
            rc = RDB_IO;
    }
    rdb_reader_free(reader);
    if (rc == RDB_OK && stage_finish(t->stage) > 0) {
        log_warning("Full synchronisation: keys of the snapshot are there twice");
        return -1;
    }
    return rc == RDB_OK ? 0 : -1;
}
