/* Roles, ids and replicas: see replication.h. */
#include "engine/server/replication.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "engine/server/config.h"
#include "engine/server/server.h"

static int64_t setting(const config_number *n)
{
    return atomic_load_explicit((config_number *)n, memory_order_relaxed);
}

static int64_t mono_ms(void)
{
    return clock_mono_us() / 1000;
}

void replication_init(struct replication *r, struct server *s)
{
    r->server = s;
    pthread_mutex_init(&r->lock, NULL);
    random_hex(r->id, REPLICATION_ID);
    memcpy(r->id2, REPLICATION_NO_ID, sizeof r->id2);
    r->id2_end = UINT64_MAX;
    r->nobody_since_ms = mono_ms();
    r->host = mem_strndup("", 0);
}

void replication_free(struct replication *r)
{
    mem_free(r->host);
    pthread_mutex_destroy(&r->lock);
}

void replication_new_id(struct replication *r)
{
    pthread_mutex_lock(&r->lock);
    random_hex(r->id, REPLICATION_ID);
    memcpy(r->id2, REPLICATION_NO_ID, sizeof r->id2);
    r->id2_end = UINT64_MAX;
    pthread_mutex_unlock(&r->lock);
}

void replication_shift_id(struct replication *r)
{
    pthread_mutex_lock(&r->lock);
    memcpy(r->id2, r->id, sizeof r->id2);
    r->id2_end = oplog_head(r->server->log);
    random_hex(r->id, REPLICATION_ID);
    pthread_mutex_unlock(&r->lock);
}

void replication_adopt_id(struct replication *r, const char id[REPLICATION_ID])
{
    pthread_mutex_lock(&r->lock);
    memcpy(r->id, id, REPLICATION_ID);
    memcpy(r->id2, REPLICATION_NO_ID, sizeof r->id2);
    r->id2_end = UINT64_MAX;
    pthread_mutex_unlock(&r->lock);
}

/* ---- replicas ---- */

/* There is more of the stream for it. */
static void wake_replica(void *arg)
{
    struct replica *p = arg;

    p->server->ops->touch(p->server->ops_arg, p->worker, p->id);
}

struct replica *replica_new(struct server *s, uint64_t id, uint32_t worker, int fd, const char *address)
{
    struct replica *p = mem_zalloc(sizeof *p);
    const char *colon = strrchr(address, ':');
    size_t n = colon ? (size_t)(colon - address) : strlen(address);

    p->server = s;
    p->id = id;
    p->worker = worker;
    p->fd = fd;
    snprintf(p->address, sizeof p->address, "%.*s", (int)(n < sizeof p->address ? n : sizeof p->address - 1), address);
    atomic_init(&p->refs, 1);
    p->reader.wake = wake_replica;
    p->reader.arg = p;
    atomic_store(&p->acked_ms, mono_ms());
    return p;
}

void replica_unref(struct replica *p)
{
    if (!p || atomic_fetch_sub(&p->refs, 1) != 1)
        return;
    if (atomic_exchange(&p->attached, false))
        oplog_detach(p->server->log, &p->reader);
    mem_free(p);
}

/* The lock is held. */
static void enlist(struct replication *r, struct replica *p)
{
    if (p->listed)
        return;
    p->listed = true;
    p->next = r->replicas;
    r->replicas = p;
    r->count++;
    r->nobody_since_ms = -1;
}

void replica_leave(struct replica *p)
{
    struct replication *r = p->server->replication;

    pthread_mutex_lock(&r->lock);
    atomic_store(&p->gone, true);
    for (struct replica **link = &r->replicas; *link; link = &(*link)->next)
        if (*link == p) {
            *link = p->next;
            r->count--;
            if (atomic_load(&p->state) == REPLICA_ONLINE)
                atomic_fetch_sub(&r->online, 1);
            break;
        }
    p->listed = false;
    if (r->count == 0 && r->nobody_since_ms < 0)
        r->nobody_since_ms = mono_ms();
    pthread_mutex_unlock(&r->lock);
    if (atomic_exchange(&p->attached, false))
        oplog_detach(p->server->log, &p->reader);
    replica_unref(p);
}

static bool is_id(const char have[REPLICATION_ID + 1], struct view id)
{
    return id.n == REPLICATION_ID && memcmp(have, id.p, REPLICATION_ID) == 0;
}

enum replica_answer replica_psync(struct replica *p, struct view id, int64_t position)
{
    struct replication *r = p->server->replication;
    bool known, continues = false;

    pthread_mutex_lock(&r->lock);
    known = position >= 0 && !p->rdb_only &&
            (is_id(r->id, id) || (is_id(r->id2, id) && r->id2_end != UINT64_MAX && (uint64_t)position <= r->id2_end));
    if (known && oplog_attach(p->server->log, &p->reader, (uint64_t)position)) {
        continues = true;
        p->sent = (uint64_t)position;
        atomic_store(&p->acked, (uint64_t)position);
        atomic_store(&p->attached, true);
        atomic_store(&p->state, REPLICA_ONLINE);
        atomic_fetch_add(&r->online, 1);
    } else {
        atomic_store(&p->state, REPLICA_WAITING);
    }
    enlist(r, p);
    pthread_mutex_unlock(&r->lock);
    if (continues)
        atomic_fetch_add(&r->partial_syncs, 1);
    else if (id.n == REPLICATION_ID)
        atomic_fetch_add(&r->partial_refused, 1);
    if (!continues)
        atomic_fetch_add(&r->full_syncs, 1);
    return continues ? REPLICA_CONTINUES : REPLICA_FULL;
}

void replica_acknowledge(struct replica *p, uint64_t offset, uint64_t file_offset, bool has_file)
{
    struct replication *r = p->server->replication;
    unsigned loading = REPLICA_LOADING;

    uint64_t head = oplog_head(p->server->log);

    offset = offset < head ? offset : head; /* nobody has what there is not */
    if (offset > atomic_load(&p->acked))
        atomic_store(&p->acked, offset);
    if (has_file && file_offset > atomic_load(&p->acked_file))
        atomic_store(&p->acked_file, file_offset);
    atomic_store(&p->acked_ms, mono_ms());
    if (atomic_compare_exchange_strong(&p->state, &loading, REPLICA_ONLINE))
        atomic_fetch_add(&r->online, 1);
    server_progressed(p->server);
}

void replica_received(struct replica *p, bool awaits_ack)
{
    struct replication *r = p->server->replication;

    pthread_mutex_lock(&r->lock);
    if (p->listed) {
        atomic_store(&p->state, awaits_ack ? REPLICA_LOADING : REPLICA_ONLINE);
        if (!awaits_ack)
            atomic_fetch_add(&r->online, 1);
    }
    pthread_mutex_unlock(&r->lock);
}

/* Has every replica connect again. The lock is held. */
static void drop_replicas(struct replication *r)
{
    for (struct replica *p = r->replicas; p; p = p->next) {
        atomic_store(&p->dropped, true);
        r->server->ops->touch(r->server->ops_arg, p->worker, p->id);
    }
}

void replication_drop_replicas(struct replication *r)
{
    pthread_mutex_lock(&r->lock);
    drop_replicas(r);
    pthread_mutex_unlock(&r->lock);
}

/* CONFIG GET and REWRITE know it, too. Not under the lock: who reads the configuration may take that. */
static void note_primary(struct server *s, struct view host, int64_t port)
{
    char text[512] = "";

    if (host.n > 0)
        snprintf(text, sizeof text, "%.*s %lld", (int)host.n, host.p, (long long)port);
    config_note(s->config, "replicaof", view_str(text));
}

/* The lock is held. */
static void set_primary(struct replication *r, struct view host, int64_t port)
{
    mem_free(r->host);
    r->host = mem_strndup(host.p, host.n);
    r->port = port;
    r->primary_epoch++;
    drop_replicas(r);
}

void replication_follow(struct replication *r, struct view host, int64_t port)
{
    struct server *s = r->server;

    note_primary(s, host, port);
    pthread_mutex_lock(&r->lock);
    if (!atomic_load(&s->is_replica)) /* our own history is a place to go on from, if it was written down */
        r->resumable = oplog_active(s->log);
    set_primary(r, host, port);
    pthread_mutex_unlock(&r->lock);
    atomic_store(&s->is_replica, true);
    atomic_store(&r->link, LINK_CONNECT);
    atomic_store(&r->link_down_ms, mono_ms());
    replication_restrict(r);
    log_notice("Following the primary %.*s:%lld", (int)host.n, host.p, (long long)port);
    s->ops->follow(s->ops_arg);
    server_progressed(s); /* who waits for replicas cannot any more */
}

void replication_promote(struct replication *r)
{
    struct server *s = r->server;

    replication_shift_id(r);
    oplog_forget_db(s->log);
    note_primary(s, VIEW(""), 0);
    pthread_mutex_lock(&r->lock);
    set_primary(r, VIEW(""), 0);
    r->resumable = false;
    if (r->count == 0)
        r->nobody_since_ms = mono_ms();
    pthread_mutex_unlock(&r->lock);
    atomic_store(&s->is_replica, false);
    atomic_store(&r->link, LINK_NONE);
    replication_restrict(r);
    log_notice("Primary from now on: new history %s, the old one up to %llu", r->id, (unsigned long long)r->id2_end);
    s->ops->follow(s->ops_arg);
    server_progressed(s);
}

void replication_restrict(struct replication *r)
{
    struct server *s = r->server;
    bool is_replica = atomic_load(&s->is_replica);

    server_restrict(s, RESTRICT_REPLICA, is_replica && setting(&s->config->replica_read_only));
    server_restrict(s, RESTRICT_STALE,
                    is_replica && !setting(&s->config->replica_serve_stale_data) &&
                        atomic_load(&r->link) != LINK_CONNECTED);
    server_restrict(s, RESTRICT_FEW_REPLICAS,
                    !is_replica && setting(&s->config->min_replicas_to_write) > 0 &&
                        setting(&s->config->min_replicas_max_lag) > 0 &&
                        atomic_load(&r->good) < setting(&s->config->min_replicas_to_write));
}

bool replication_failover(struct replication *r, struct view host, int64_t port, int64_t timeout_ms, bool force)
{
    bool found = host.n == 0;

    pthread_mutex_lock(&r->lock);
    for (struct replica *p = r->replicas; p && !found; p = p->next)
        found =
            p->port == port && (view_equal(host, view_str(p->address)) || view_equal(host, view_str(p->announced)) ||
                                (view_is(host, "localhost") && view_is(view_str(p->address), "127.0.0.1")));
    if (found) {
        snprintf(r->failover_host, sizeof r->failover_host, "%.*s", (int)host.n, host.p);
        r->failover_port = port;
        r->failover_until_ms = timeout_ms > 0 ? mono_ms() + timeout_ms : 0;
        r->failover_force = force;
        atomic_store(&r->failover, FAILOVER_WAITING);
    }
    pthread_mutex_unlock(&r->lock);
    if (found)
        r->server->ops->follow(r->server->ops_arg);
    return found;
}

void replication_failover_abort(struct replication *r)
{
    unsigned state = FAILOVER_WAITING;

    if (!atomic_compare_exchange_strong(&r->failover, &state, FAILOVER_NONE) && state == FAILOVER_IN_PROGRESS)
        atomic_store(&r->failover, FAILOVER_ABORTING);
    r->server->ops->follow(r->server->ops_arg);
}

unsigned replication_count_acked(struct replication *r, uint64_t offset, bool in_file)
{
    unsigned n = 0;

    pthread_mutex_lock(&r->lock);
    for (struct replica *p = r->replicas; p; p = p->next)
        n += atomic_load(&p->state) == REPLICA_ONLINE && atomic_load(in_file ? &p->acked_file : &p->acked) >= offset;
    pthread_mutex_unlock(&r->lock);
    return n;
}

int64_t replica_lag_ms(const struct replica *p)
{
    int64_t lag = mono_ms() - atomic_load(&((struct replica *)p)->acked_ms);

    return lag > 0 ? lag : 0;
}

static unsigned count_good(struct replication *r)
{
    int64_t most = 1000 * setting(&r->server->config->min_replicas_max_lag);
    unsigned n = 0;

    pthread_mutex_lock(&r->lock);
    for (struct replica *p = r->replicas; p; p = p->next)
        n += atomic_load(&p->state) == REPLICA_ONLINE && replica_lag_ms(p) / 1000 * 1000 <= most;
    pthread_mutex_unlock(&r->lock);
    return n;
}

/* Nobody followed for repl-backlog-ttl: what was kept goes, and with it the history that it belonged to. Gate closed. */
static void forget(void *arg)
{
    struct replication *r = arg;
    struct server *s = r->server;

    if (r->count > 0 || atomic_load(&s->is_replica) || server_log_needed(s))
        return;
    oplog_stop(s->log);
    replication_new_id(r);
}

void replication_ask(struct replication *r, struct thread *t)
{
    static const struct view getack = VIEW("*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n");

    if (!atomic_load_explicit(&r->want_acks, memory_order_relaxed) || !atomic_exchange(&r->want_acks, false))
        return;
    if (oplog_active(r->server->log) && atomic_load(&r->online) > 0 && !atomic_load(&r->server->is_replica))
        oplog_append_verbatim(r->server->log, t->index, getack, OPLOG_SAME_DB);
}

void replication_tick(struct replication *r, struct thread *t, int64_t now_ms)
{
    static const struct view ping = VIEW("*1\r\n$4\r\nPING\r\n");
    struct server *s = r->server;
    int64_t ttl = setting(&s->config->repl_backlog_ttl);
    bool is_replica = atomic_load(&s->is_replica);

    atomic_store(&r->good, count_good(r));
    replication_restrict(r);
    if (!oplog_active(s->log) || is_replica)
        return;
    if (r->count > 0 && now_ms - r->pinged_ms >= 1000 * setting(&s->config->repl_ping_replica_period)) {
        r->pinged_ms = now_ms;
        if (atomic_load(&r->failover) == FAILOVER_NONE)
            oplog_append_verbatim(s->log, t->index, ping, OPLOG_SAME_DB);
    }
    if (ttl > 0 && r->nobody_since_ms >= 0 && now_ms - r->nobody_since_ms > 1000 * ttl && !server_log_needed(s)) {
        r->nobody_since_ms = now_ms;
        s->ops->post_exclusive(s->ops_arg, forget, r);
    }
}

void replication_each(struct replication *r, void (*fn)(void *arg, struct replica *p), void *arg)
{
    pthread_mutex_lock(&r->lock);
    for (struct replica *p = r->replicas; p; p = p->next)
        fn(arg, p);
    pthread_mutex_unlock(&r->lock);
}

const char *replication_link_name(unsigned link)
{
    static const char *const names[] = {
        [LINK_NONE] = "none",           [LINK_CONNECT] = "connect", [LINK_CONNECTING] = "connecting",
        [LINK_HANDSHAKE] = "handshake", [LINK_TRANSFER] = "sync",   [LINK_CONNECTED] = "connected",
    };

    return names[link];
}

const char *replica_state_name(unsigned state)
{
    static const char *const names[] = {
        [REPLICA_NEW] = "none",          [REPLICA_WAITING] = "wait_bgsave", [REPLICA_RECEIVING] = "send_bulk",
        [REPLICA_LOADING] = "send_bulk", [REPLICA_ONLINE] = "online",
    };

    return names[state];
}
