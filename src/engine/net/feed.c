/*
 * Feeding replicas: see feed.h. The stream is sent from where it is, the log's blocks, without a copy. A replica's
 * connection is owned by a worker like any other; while the snapshots' thread writes to it (persist/sync.c), the worker
 * neither reads nor writes.
 */
#include "engine/net/feed.h"

#include <errno.h>
#include <sys/uio.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/log/oplog.h"
#include "engine/net/conn.h"
#include "engine/net/worker.h"
#include "engine/server/config.h"
#include "engine/server/replication.h"
#include "engine/server/server.h"

#define IOV_MAX_HERE 8
#define SEND_MAX (1u << 20) /* of the stream in one go */

static struct server *server_of(const struct worker *w)
{
    return w->ex.shared->server;
}

static struct replica *replica_of(const struct conn *c)
{
    return c->client.session.replica;
}

static bool is_online(const struct conn *c)
{
    const struct replica *p = replica_of(c);

    return p && atomic_load(&((struct replica *)p)->state) == REPLICA_ONLINE;
}

bool feed_pending(const struct worker *w, const struct conn *c)
{
    return is_online(c) && oplog_tail(server_of(w)->log) > replica_of(c)->sent;
}

bool feed_send(struct worker *w, struct conn *c)
{
    struct oplog *log = server_of(w)->log;
    struct replica *p = replica_of(c);
    struct iovec iov[IOV_MAX_HERE];
    size_t left = SEND_MAX;
    uint64_t tail;

    if (!is_online(c) || resp_pending(&c->out) > 0)
        return true;
    if (atomic_load(&p->reader.lost)) {
        log_warning("Replica %s:%d is too far behind: it is let go", p->address, (int)p->port);
        conn_close(w, c);
        return false;
    }
    tail = oplog_tail(log);
    while (p->sent < tail && left > 0) {
        uint64_t end = tail - p->sent < left ? tail : p->sent + left;
        int count = oplog_gather(log, p->sent, end, iov, IOV_MAX_HERE);
        ssize_t n = writev(c->fd, iov, count);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            conn_close(w, c);
            return false;
        }
        left -= (size_t)n;
        p->sent += (uint64_t)n;
        tally_add(&w->ex.thread->net_out, n);
        tally_add(&w->ex.thread->replication_out, n);
    }
    oplog_advance(log, &p->reader, p->sent);
    return true;
}

void feed_enlist(struct worker *w, struct conn *c)
{
    if (c->fed)
        return;
    if (w->feed_count == w->feed_cap) {
        w->feed_cap = w->feed_cap ? 2 * w->feed_cap : 4;
        w->feeds = mem_realloc(w->feeds, w->feed_cap * sizeof(struct conn *));
    }
    w->feeds[w->feed_count++] = c;
    c->fed = true;
}

void feed_leave(struct worker *w, struct conn *c)
{
    for (unsigned i = 0; c->fed && i < w->feed_count; i++)
        if (w->feeds[i] == c) {
            w->feeds[i] = w->feeds[--w->feed_count];
            c->fed = false;
        }
    if (c->client.session.replica)
        replica_leave(c->client.session.replica);
    c->client.session.replica = NULL;
}

void feed_touch(struct worker *w, struct conn *c)
{
    struct replica *p = replica_of(c);
    unsigned state;

    if (!p)
        return;
    state = atomic_load(&p->state);
    if (atomic_load(&p->dropped) && state != REPLICA_RECEIVING) {
        conn_close(w, c);
        return;
    }
    if (state == REPLICA_LOADING || state == REPLICA_ONLINE)
        c->hands_off = false;
    if (state == REPLICA_ONLINE)
        feed_enlist(w, c);
    conn_settle(w, c);
}

void feed_check(struct worker *w, struct conn *c)
{
    const struct config *cfg = server_of(w)->config;
    const struct config_output_limit *limit = &cfg->output_replica;
    struct replica *p = replica_of(c);
    int64_t behind, now = w->mono_ms;

    if (!p || !atomic_load(&p->attached))
        return;
    behind = (int64_t)(oplog_tail(server_of(w)->log) - p->sent);
    if (behind <= (int64_t)limit->soft || limit->soft == 0)
        c->soft_since_ms = 0;
    else if (c->soft_since_ms == 0)
        c->soft_since_ms = now;
    if ((limit->hard > 0 && behind > (int64_t)limit->hard) ||
        (c->soft_since_ms > 0 && now - c->soft_since_ms > 1000 * limit->soft_seconds)) {
        log_warning("Replica %s:%d is let go: %lld bytes of the stream wait for it", p->address, (int)p->port,
                    (long long)behind);
        conn_close(w, c);
    } else if (is_online(c) && replica_lag_ms(p) > 1000 * cfg->repl_timeout) {
        log_warning("Disconnecting timedout replica: %s:%d", p->address, (int)p->port);
        conn_close(w, c);
    }
}

void feed_turn(struct worker *w)
{
    struct exec_shared *sh = w->ex.shared;

    if (atomic_load_explicit(&sh->server->replication->want_acks, memory_order_relaxed) &&
        gate_enter(&sh->gate, w->ex.thread->index)) {
        replication_ask(sh->server->replication, w->ex.thread);
        gate_leave(&sh->gate, w->ex.thread->index);
        oplog_wake(sh->server->log, w->ex.thread->index);
    }
    for (unsigned i = w->feed_count; i-- > 0;)
        if (i < w->feed_count && feed_pending(w, w->feeds[i]))
            conn_settle(w, w->feeds[i]);
}

bool feed_sleep(struct worker *w)
{
    struct oplog *log = server_of(w)->log;
    bool sleeps = true;

    for (unsigned i = 0; i < w->feed_count; i++) {
        struct conn *c = w->feeds[i];
        if (!c->blocked_out) /* epoll tells when it takes more */
            sleeps &= oplog_sleep(log, &replica_of(c)->reader, replica_of(c)->sent);
    }
    return sleeps;
}
