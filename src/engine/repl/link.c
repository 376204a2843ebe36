/* The link to a primary: see link.h. */
#include "engine/repl/link.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "engine/log/effects.h"
#include "engine/log/oplog.h"
#include "engine/persist/persist.h"
#include "engine/repl/failover.h"
#include "engine/repl/handshake.h"
#include "engine/repl/load.h"
#include "engine/repl/peer.h"
#include "engine/repl/replay.h"
#include "engine/repl/transfer.h"
#include "engine/server/config.h"
#include "engine/server/replication.h"
#include "engine/server/server.h"
#include "engine/store/keyspace.h"
#include "engine/store/stage.h"

#define SOURCE_MAX 64      /* an address as text */
#define AGAIN_MS 20        /* before the first try after a connection that worked */
#define RETRY_MS 1000      /* between two tries to connect */
#define ACK_MS 1000        /* between two acknowledgements that nobody asked for */
#define FIRST_ACK_MS 100   /* a redis-server overlooks one that comes too soon after a snapshot */
#define RUN_US 20000       /* of replaying, before the socket is looked at again */
#define READ_MAX 262144    /* bytes of the stream that are read in one go */
#define READER_WAIT_US 500 /* between two looks at whether our own replicas are gone */

struct link {
    struct exec_shared *shared;
    struct server *server;
    struct executor ex;
    struct replay replay;
    struct peer peer;
    pthread_t thread;
    void (*loaded)(void *arg, bool ok);
    void *arg;
    atomic_bool stopping;
    uint64_t epoch; /* of the primary that is followed */
    int64_t acked_ms;
    bool full; /* the last synchronisation was one, and nothing came since */
};

static int64_t setting(const config_number *n)
{
    return atomic_load_explicit((config_number *)n, memory_order_relaxed);
}

static int64_t mono_ms(void)
{
    return clock_mono_us() / 1000;
}

/* Is the primary that the thread follows still the one to follow? */
static bool is_current(void *arg)
{
    struct link *l = arg;
    struct replication *r = l->server->replication;
    bool current;

    pthread_mutex_lock(&r->lock);
    current = r->primary_epoch == l->epoch && atomic_load(&l->server->is_replica);
    pthread_mutex_unlock(&r->lock);
    return current && !atomic_load(&l->stopping);
}

/* ---- acknowledging ---- */

static void acknowledge(void *arg)
{
    struct link *l = arg;
    char offset[NUM_INT_MAX], file[NUM_INT_MAX];
    struct view words[] = {VIEW("REPLCONF"), VIEW("ACK"), {offset, 0}, VIEW("FACK"), {file, 0}};
    bool has_file = setting(&l->server->config->appendonly) != 0;

    words[2].n = num_format_uint(offset, oplog_head(l->server->log));
    words[4].n = num_format_uint(file, atomic_load(&l->server->synced));
    peer_send_words(&l->peer, words, has_file ? 5 : 3);
    l->acked_ms = mono_ms();
}

/* ---- full synchronisation ---- */

struct swap {
    struct link *l;
    struct transfer *t;
    const char *id;
    uint64_t offset;
    bool done;
};

/* Gate closed. */
static void swap_in(void *arg)
{
    struct swap *swap = arg;
    struct server *s = swap->l->server;

    if (s->keyspace->saving || oplog_read_by_anyone(s->log))
        return; /* a moment later */
    stage_commit(swap->t->stage);
    oplog_start(s->log);
    oplog_restart(s->log, swap->offset);
    replication_adopt_id(s->replication, swap->id);
    pthread_mutex_lock(&s->replication->lock);
    s->replication->resumable = true;
    pthread_mutex_unlock(&s->replication->lock);
    swap->done = true;
}

/* Has those that read the log let go of it: our own replicas, and the append-only file. */
static void clear_readers(struct link *l)
{
    persist_leave_log(l->server->persistence);
    replication_drop_replicas(l->server->replication);
    while (oplog_read_by_anyone(l->server->log) && is_current(l))
        clock_sleep_us(READER_WAIT_US);
}

static int full_sync(struct link *l, const char *id, uint64_t offset)
{
    struct replication *r = l->server->replication;
    struct transfer t = {
        .peer = &l->peer, .server = l->server, .thread = l->ex.thread, .goes_on = is_current, .arg = l};
    struct swap swap = {.l = l, .t = &t, .id = id, .offset = offset};
    int64_t began = mono_ms();
    bool left = false;
    int rc;

    log_notice("Full synchronisation from the primary: %s:%llu", id, (unsigned long long)offset);
    atomic_store(&r->sync_done, 0);
    atomic_store(&r->link, LINK_TRANSFER);
    t.stage = stage_new(l->server->keyspace, l->ex.thread);
    rc = transfer_receive(&t);
    while (rc == 0 && !swap.done) {
        persist_cancel(l->server->persistence);
        clear_readers(l);
        left = true;
        if (!is_current(l))
            rc = -1;
        else
            l->server->ops->exclusive(l->server->ops_arg, swap_in, &swap);
    }
    stage_free(t.stage);
    if (left)
        persist_rejoin_log(l->server->persistence);
    if (rc != 0)
        return -1;
    if (t.function_count > 0)
        log_warning("The snapshot has %llu libraries of functions, which are ignored",
                    (unsigned long long)t.function_count);
    replay_reset(&l->replay, (uint32_t)t.stream_db);
    log_notice("Full synchronisation is complete: %lld bytes in %lld ms", (long long)atomic_load(&r->sync_done),
               (long long)(mono_ms() - began));
    return 0;
}

/* ---- following ---- */

/* The stream goes on where we were; the history may have got another name. */
static void continue_sync(struct link *l, const char *id)
{
    struct replication *r = l->server->replication;

    pthread_mutex_lock(&r->lock);
    if (id[0] && memcmp(id, r->id, REPLICATION_ID) != 0) {
        memcpy(r->id2, r->id, sizeof r->id2);
        r->id2_end = oplog_head(l->server->log);
        memcpy(r->id, id, sizeof r->id);
        pthread_mutex_unlock(&r->lock);
        replication_drop_replicas(r); /* they learn the new name by connecting again */
    } else {
        pthread_mutex_unlock(&r->lock);
    }
    replay_reset(&l->replay, replay_db(&l->replay));
    log_notice("Partial synchronisation from the primary, from byte %llu on",
               (unsigned long long)oplog_head(l->server->log));
}

/* Reads and replays until the link breaks, or another primary is to be followed. */
static void follow_stream(struct link *l)
{
    struct replication *r = l->server->replication;
    int more = 0;

    while (is_current(l)) {
        int64_t now = mono_ms(), timeout = 1000 * setting(&l->server->config->repl_timeout);
        bool enough = more && buf_live(&l->replay.in) >= READ_MAX; /* the rest waits where it is */
        int got = enough ? 0 : peer_receive(&l->peer, &l->replay.in, READ_MAX, more ? 0 : FIRST_ACK_MS);
        if (got < 0) {
            log_warning("Connection with the primary lost: %s", peer_error(&l->peer));
            return;
        }
        if (enough) {
            atomic_store(&r->heard_ms, now);
        } else if (got > 0) {
            atomic_store(&r->heard_ms, now);
            tally_add(&l->ex.thread->net_in, got);
            tally_add(&l->ex.thread->replication_in, got);
        } else if (now - atomic_load(&r->heard_ms) > timeout) {
            log_warning("Primary timed out: nothing came for %lld s", (long long)(timeout / 1000));
            return;
        }
        more = replay_run(&l->replay, RUN_US);
        if (more < 0)
            return;
        if (got > 0)
            l->full = false;
        if (mono_ms() - l->acked_ms >= (l->full ? FIRST_ACK_MS : ACK_MS))
            acknowledge(l);
    }
}

/* One connection, from beginning to end. Returns whether it worked at all. */
static bool follow(struct link *l, const char *host, int64_t port)
{
    struct replication *r = l->server->replication;
    struct config *c = l->server->config;
    char id[REPLICATION_ID + 1], source[SOURCE_MAX];
    uint64_t offset = 0;
    enum handshake_answer answer;

    config_read_lock(c);
    snprintf(source, sizeof source, "%s", c->bind_source_addr);
    config_read_unlock(c);

    atomic_store(&r->link, LINK_CONNECTING);
    if (peer_connect(&l->peer, host, port, source, setting(&c->repl_timeout) * 1000) != 0) {
        log_warning("Cannot connect to the primary %s:%lld: %s", host, (long long)port, peer_error(&l->peer));
        return false;
    }
    atomic_store(&r->link, LINK_HANDSHAKE);
    if (handshake_introduce(&l->peer, l->server) != 0)
        return false;
    answer = handshake_psync(&l->peer, l->server, id, &offset);
    if (answer == HANDSHAKE_FULL) {
        if (full_sync(l, id, offset) != 0)
            return false;
        l->full = true;
    } else if (answer == HANDSHAKE_CONTINUE) {
        continue_sync(l, id);
    } else {
        return false;
    }
    atomic_store(&r->link, LINK_CONNECTED);
    atomic_store(&r->link_down_ms, 0);
    atomic_store(&r->heard_ms, mono_ms());
    replication_restrict(r);
    failover_done(r);
    acknowledge(l);
    follow_stream(l);
    return true;
}

static void link_down(struct link *l)
{
    struct replication *r = l->server->replication;

    peer_close(&l->peer);
    if (!atomic_load(&l->server->is_replica))
        return;
    atomic_store(&r->link, LINK_CONNECT);
    if (atomic_load(&r->link_down_ms) == 0)
        atomic_store(&r->link_down_ms, mono_ms());
    replication_restrict(r);
}

/* Copies whom to follow; false when nobody. */
static bool primary(struct link *l, char *host, size_t size, int64_t *port)
{
    struct replication *r = l->server->replication;
    bool is;

    pthread_mutex_lock(&r->lock);
    is = atomic_load(&l->server->is_replica) && r->host[0] != '\0';
    snprintf(host, size, "%s", r->host);
    *port = r->port;
    l->epoch = r->primary_epoch;
    pthread_mutex_unlock(&r->lock);
    return is;
}

static void *run(void *arg)
{
    struct link *l = arg;
    struct load_result loaded;
    char host[512];
    int64_t port;
    bool ok;

    pthread_setname_np(pthread_self(), "link");
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    ok = load_data(&l->ex, &loaded);
    if (ok)
        replay_reset(&l->replay, loaded.stream_db);
    l->loaded(l->arg, ok);
    while (ok && !atomic_load(&l->stopping)) {
        peer_drain(&l->peer);
        failover_abort(l->server);
        if (primary(l, host, sizeof host, &port)) {
            bool worked = follow(l, host, port);
            link_down(l);
            if (is_current(l))
                peer_wait(&l->peer, worked ? AGAIN_MS : RETRY_MS);
        } else if (!failover_step(l->server)) {
            peer_wait(&l->peer, -1);
        } else {
            peer_wait(&l->peer, FAILOVER_STEP_MS);
        }
    }
    peer_close(&l->peer);
    return NULL;
}

struct link *link_start(struct exec_shared *shared, struct thread *thread, void (*loaded)(void *arg, bool ok),
                        void *arg)
{
    struct link *l = mem_zalloc(sizeof *l);

    l->shared = shared;
    l->server = shared->server;
    l->ex = (struct executor){.shared = shared, .thread = thread, .is_lane = true};
    l->loaded = loaded;
    l->arg = arg;
    peer_init(&l->peer);
    replay_init(&l->replay, &l->ex, true);
    l->replay.asked = acknowledge;
    l->replay.arg = l;
    l->replay.client.follows = is_current;
    l->replay.client.follows_arg = l;
    pthread_create(&l->thread, NULL, run, l);
    return l;
}

void link_wake(struct link *l)
{
    peer_wake(&l->peer);
}

void link_stop(struct link *l)
{
    if (!l)
        return;
    atomic_store(&l->stopping, true);
    peer_wake(&l->peer);
    pthread_join(l->thread, NULL);
    replay_free(&l->replay);
    peer_free(&l->peer);
    arena_free(&l->ex.arena);
    buf_free(&l->ex.effects.bytes);
    mem_free(l);
}
