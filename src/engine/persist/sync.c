/*
 * Full synchronisation: one snapshot for all replicas that wait, written to their connections while it is made. Those
 * that know the form with an end mark get it at once; for the others, which want to be told the length first, it is made
 * as a file without a name.
 *
 * The slowest replica sets the pace, and one that takes nothing for repl-timeout is dropped. What is saved meanwhile
 * because it changes cannot wait: beyond SPOOL_AT it goes to a file, and follows at the end, since the order of pieces
 * does not matter.
 *
 * A replica's connection belongs to a worker, which leaves it alone in this state; this thread writes to a duplicate, so
 * that the number cannot become another connection's.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "engine/persist/output.h"
#include "engine/persist/persist.h"
#include "engine/server/config.h"
#include "engine/server/replication.h"
#include "engine/server/server.h"

#define TARGETS_MAX 64
#define CHECKSUM_SIZE 8
#define SPOOL_AT (32u << 20)
#define POLL_MS 20
#define COPY_STEP 262144

struct target {
    struct replica *replica;
    int fd;
    bool failed;
    size_t sent; /* of what is being written */
    int64_t moved_ms;
};

struct sync {
    struct output output; /* the first member: write gets this back */
    struct persistence *p;
    struct target targets[TARGETS_MAX];
    unsigned n;
    bool by_mark;
    int spool; /* what could not wait, or the whole snapshot; -1: none */
    uint64_t spooled;
    bool announced;
    char mark[REPLICATION_ID + 1];
    uint64_t offset;
};

static int64_t mono_ms(void)
{
    return clock_mono_us() / 1000;
}

/* Takes a replica that waits, if its kind is wanted. The list's lock is held. */
static void choose(void *arg, struct replica *p)
{
    struct sync *y = arg;
    bool by_mark = (p->capabilities & REPLICA_EOF) != 0;
    struct target *t;

    if (atomic_load(&p->state) != REPLICA_WAITING || y->n == TARGETS_MAX || (y->n > 0 && by_mark != y->by_mark))
        return;
    t = &y->targets[y->n];
    t->fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
    if (t->fd < 0) {
        atomic_store(&p->dropped, true);
        atomic_store(&p->state, REPLICA_NEW);
        y->p->server->ops->touch(y->p->server->ops_arg, p->worker, p->id);
        return;
    }
    y->by_mark = by_mark;
    t->replica = p;
    atomic_fetch_add(&p->refs, 1);
    atomic_store(&p->state, REPLICA_RECEIVING);
    y->n++;
}

static void drop(struct target *t, const char *why)
{
    if (t->failed)
        return;
    t->failed = true;
    if (!atomic_load(&t->replica->gone))
        log_warning("Full synchronisation with replica %s:%d failed: %s", t->replica->address, (int)t->replica->port,
                    why);
}

/* Sends what the socket takes; false when that is nothing. */
static bool send_some(struct target *t, const char *p, size_t n)
{
    ssize_t sent = send(t->fd, p + t->sent, n - t->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (atomic_load(&t->replica->gone)) {
        drop(t, "it is gone");
    } else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        drop(t, strerror(errno));
    } else if (sent > 0) {
        t->sent += (size_t)sent;
        t->moved_ms = mono_ms();
        return true;
    }
    return false;
}

static int open_spool(struct sync *y)
{
    if (y->spool < 0)
        y->spool = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return y->spool < 0 ? -errno : 0;
}

/* Puts pieces into the spool until not too many wait. Errors mean that they go on waiting in memory. */
static void relieve(struct sync *y)
{
    struct snapshot *s = &y->p->snapshot;
    struct snapshot_piece *piece;
    struct output o;

    if (atomic_load(&s->queued) < SPOOL_AT || open_spool(y) != 0)
        return;
    output_file(&o, y->spool, false);
    while (atomic_load(&s->queued) > SPOOL_AT / 2 && (piece = snapshot_take(s, 0))) {
        int rc = output_piece(&o, piece, s->options.compress);
        snapshot_piece_free(piece);
        if (rc != 0) { /* a part of it is there, and no other */
            for (unsigned i = 0; i < y->n; i++)
                drop(&y->targets[i], strerror(-rc));
            return;
        }
    }
    y->spooled += o.bytes;
}

/* Waits until a socket takes more; drops those that have taken nothing for too long. */
static void wait_for_sockets(struct sync *y, size_t n)
{
    struct pollfd fds[TARGETS_MAX];
    int64_t timeout = 1000 * atomic_load(&y->p->server->config->repl_timeout);
    nfds_t count = 0;

    for (unsigned i = 0; i < y->n; i++) {
        struct target *t = &y->targets[i];
        if (t->failed || t->sent == n)
            continue;
        if (mono_ms() - t->moved_ms > timeout)
            drop(t, "it takes nothing");
        else
            fds[count++] = (struct pollfd){.fd = t->fd, .events = POLLOUT};
    }
    if (count > 0)
        poll(fds, count, POLL_MS);
}

/* Writes to every replica that is still there; -EPIPE when none is. */
static int write_all(struct sync *y, const char *p, size_t n)
{
    for (unsigned i = 0; i < y->n; i++) {
        y->targets[i].sent = 0;
        y->targets[i].moved_ms = mono_ms();
    }
    for (;;) {
        bool moved = false, left = false, any = false;
        for (unsigned i = 0; i < y->n; i++) {
            struct target *t = &y->targets[i];
            if (!t->failed && t->sent < n)
                moved |= send_some(t, p, n);
            any |= !t->failed;
            left |= !t->failed && t->sent < n;
        }
        if (!any)
            return -EPIPE;
        if (!left)
            return 0;
        if (atomic_load(&y->p->cancel))
            return -ECANCELED;
        relieve(y);
        if (!moved)
            wait_for_sockets(y, n);
    }
}

/* Sends what the file holds. */
static int send_file(struct sync *y, int fd, uint64_t size)
{
    char *bytes = mem_alloc(COPY_STEP);
    int rc = 0;

    for (uint64_t at = 0; at < size && rc == 0;) {
        ssize_t n = pread(fd, bytes, COPY_STEP < size - at ? COPY_STEP : size - at, (off_t)at);
        if (n <= 0) {
            rc = n < 0 ? -errno : -EIO;
            break;
        }
        rc = y->by_mark ? output_put(&y->output, view_of(bytes, (size_t)n)) : write_all(y, bytes, (size_t)n);
        at += (uint64_t)n;
    }
    mem_free(bytes);
    return rc;
}

/* The cut: from here on the replicas' readers hold the log. Gate closed. */
static int took_cut(void *arg)
{
    struct sync *y = arg;
    struct server *s = y->p->server;

    if (!oplog_active(s->log)) {
        oplog_start(s->log);
        replication_new_id(s->replication);
    }
    if (!atomic_load(&s->is_replica))
        oplog_forget_db(s->log); /* they do not know it */
    y->offset = oplog_head(s->log);
    for (unsigned i = 0; i < y->n; i++) {
        struct replica *p = y->targets[i].replica;
        if (atomic_load(&p->gone) || !oplog_attach(s->log, &p->reader, y->offset))
            continue;
        p->sent = y->offset;
        atomic_store(&p->acked, y->offset);
        atomic_store(&p->attached, true);
    }
    return 0;
}

/* What stands before the snapshot: the answer to PSYNC, and how the end will be known. */
static void announce(struct sync *y, uint64_t size)
{
    char text[160], bulk[64];

    if (y->by_mark)
        snprintf(bulk, sizeof bulk, "$EOF:%s\r\n", y->mark);
    else
        snprintf(bulk, sizeof bulk, "$%llu\r\n", (unsigned long long)size);
    for (unsigned i = 0; i < y->n; i++) {
        struct target *t = &y->targets[i];
        ssize_t sent;
        int n = 0;
        if (!t->replica->old_sync)
            n = snprintf(text, sizeof text, "+FULLRESYNC %s %llu\r\n", y->p->server->replication->id,
                         (unsigned long long)y->offset);
        n += snprintf(text + n, sizeof text - (size_t)n, "%s", bulk);
        sent = send(t->fd, text, (size_t)n, MSG_NOSIGNAL);
        if (sent != n)
            drop(t, "it takes nothing");
    }
    y->announced = true;
}

static int write_output(struct output *o, const void *p, size_t n)
{
    struct sync *y = (struct sync *)o;

    if (!y->announced)
        announce(y, 0);
    return write_all(y, p, n);
}

/* As it is made, with a mark behind it. */
static int write_marked(struct sync *y)
{
    int rc;

    random_hex(y->mark, REPLICATION_ID);
    y->output = (struct output){.write = write_output, .checksum = true};
    rc = persist_write_snapshot(y->p, &y->output, took_cut, y, NULL);
    if (rc == 0 && y->spooled > 0)
        rc = send_file(y, y->spool, y->spooled);
    if (rc == 0)
        rc = output_end(&y->output);
    if (rc == 0)
        rc = write_all(y, y->mark, REPLICATION_ID);
    return rc;
}

/* As a file first, because its length is to be told. */
static int write_measured(struct sync *y)
{
    struct output o;
    int rc = open_spool(y);

    if (rc != 0)
        return rc;
    output_file(&o, y->spool, true);
    rc = persist_write_snapshot(y->p, &o, took_cut, y, NULL);
    if (rc == 0)
        rc = output_end(&o);
    if (rc != 0)
        return rc;
    announce(y, o.bytes + CHECKSUM_SIZE);
    return send_file(y, y->spool, o.bytes + CHECKSUM_SIZE);
}

/* Gives the connections back to their workers. */
static void hand_back(struct sync *y, int rc)
{
    struct server *s = y->p->server;

    for (unsigned i = 0; i < y->n; i++) {
        struct target *t = &y->targets[i];
        struct replica *p = t->replica;
        bool ok = rc == 0 && !t->failed && atomic_load(&p->attached) && !atomic_load(&p->dropped);
        if (ok)
            log_notice("Full synchronisation with replica %s:%d succeeded: %llu bytes", p->address, (int)p->port,
                       (unsigned long long)y->output.bytes);
        atomic_store(&p->acked_ms, mono_ms());
        if (ok) {
            replica_received(p, y->by_mark);
        } else {
            atomic_store(&p->dropped, true);
            atomic_store(&p->state, REPLICA_NEW); /* its worker may touch it again, and closes it */
        }
        s->ops->touch(s->ops_arg, p->worker, p->id);
        close(t->fd);
        replica_unref(p);
    }
}

static unsigned count_waiting(struct replication *r)
{
    unsigned n = 0;

    pthread_mutex_lock(&r->lock);
    for (struct replica *p = r->replicas; p; p = p->next)
        n += atomic_load(&p->state) == REPLICA_WAITING;
    pthread_mutex_unlock(&r->lock);
    return n;
}

/* repl-diskless-sync-delay: lets more replicas come, if that is wanted. */
static void gather(struct persistence *p)
{
    const struct config *c = p->server->config;
    int64_t end = mono_ms() + 1000 * atomic_load(&c->repl_diskless_sync_delay);

    while (mono_ms() < end && !atomic_load(&p->cancel)) {
        int64_t enough = atomic_load(&c->repl_diskless_sync_max_replicas);
        unsigned n = count_waiting(p->server->replication);
        if (n == 0 || (enough > 0 && n >= enough))
            return;
        clock_sleep_us(1000 * POLL_MS);
    }
}

void persist_sync_replicas(struct persistence *p)
{
    struct sync *y = mem_zalloc(sizeof *y);
    int rc;

    y->p = p;
    y->spool = -1;
    gather(p);
    replication_each(p->server->replication, choose, y);
    if (y->n > 0) {
        log_notice("Full synchronisation of %u replica(s)", y->n);
        rc = y->by_mark ? write_marked(y) : write_measured(y);
        if (rc != 0)
            log_warning("Full synchronisation failed: %s", strerror(-rc));
        hand_back(y, rc);
    }
    if (y->spool >= 0)
        close(y->spool);
    mem_free(y);
    if (count_waiting(p->server->replication) > 0)
        persist_want_sync(p);
}
