/* The worker's loop: events, messages, timers; what a turn takes is measured. See worker.h. */
#include "engine/net/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/exec/lane.h"
#include "engine/net/conn.h"
#include "engine/server/clients.h"
#include "engine/server/config.h"
#include "engine/server/server.h"
#include "engine/server/stats.h"
#include "engine/store/access.h"
#include "engine/store/expire.h"
#include "engine/store/heap.h"
#include "engine/store/keyspace.h"

#define EVENTS_MAX 128
#define ACCEPTS_MAX 64
#define TICK_MS 100
#define STEP_US 100
#define TURN_US 400 /* after which connections wait for the next turn */
#define RECLAIM_BLOCKS 256
#define STRANGERS_MAX 1024 /* connections that have not logged in, when they must */

static struct server *server_of(struct worker *w)
{
    return w->ex.shared->server;
}

static void watch_fd(struct worker *w, int fd, void *tag, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = tag};

    epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &ev);
}

/* Tags of epoll that are no connections: odd numbers. */
static void *tag_of(int fd)
{
    return (void *)(uintptr_t)((unsigned)fd * 2 + 1);
}

static void listen_again(struct worker *w)
{
    for (unsigned i = 0; i < w->watched_count; i++)
        epoll_ctl(w->epoll, EPOLL_CTL_DEL, w->watched[i], NULL);
    pthread_mutex_lock(&w->listeners->lock);
    w->watched_count = w->listeners->count;
    memcpy(w->watched, w->listeners->fds, sizeof w->watched);
    pthread_mutex_unlock(&w->listeners->lock);
    for (unsigned i = 0; i < w->watched_count; i++)
        watch_fd(w, w->watched[i], tag_of(w->watched[i]), EPOLLIN | EPOLLEXCLUSIVE);
}

void worker_init(struct worker *w, struct exec_shared *shared, struct thread *thread, unsigned index,
                 struct listeners *listeners)
{
    w->ex.shared = shared;
    w->ex.thread = thread;
    w->index = index;
    w->listeners = listeners;
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    inbox_init(&w->inbox);
    watch_fd(w, w->inbox.eventfd, tag_of(w->inbox.eventfd), EPOLLIN);
    listen_again(w);
}

void worker_free(struct worker *w)
{
    for (uint32_t i = 0; i < w->conn_cap; i++)
        if (w->conns[i]) { /* its job ended after the loop did */
            w->conns[i]->state = CONN_READY;
            conn_close(w, w->conns[i]);
        }
    conn_bury(w);
    close(w->epoll);
    inbox_free(&w->inbox);
    buf_free(&w->spare);
    arena_free(&w->ex.arena);
    mem_free(w->conns);
    mem_free(w->later);
}

/* "127.0.0.1:6379", "[::1]:6379", or "path:0" for a unix socket. */
static void describe(const struct sockaddr_storage *sa, const char *path, char *out, size_t size)
{
    char ip[INET6_ADDRSTRLEN];

    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
        snprintf(out, size, "%s:%u", inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof ip), ntohs(v4->sin_port));
    } else if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;
        snprintf(out, size, "[%s]:%u", inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof ip), ntohs(v6->sin6_port));
    } else {
        snprintf(out, size, "%s:0", path);
    }
}

static bool is_local(const struct sockaddr_storage *sa)
{
    if (sa->ss_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)sa)->sin_addr.s_addr) >> 24) == 127;
    if (sa->ss_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)sa)->sin6_addr);
    return true;
}

static void set_options(struct worker *w, int fd, const struct sockaddr_storage *peer)
{
    int on = 1, keepalive = (int)server_of(w)->config->tcp_keepalive, interval = keepalive / 3, probes = 3;

    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (peer->ss_family == AF_UNIX)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (keepalive <= 0)
        return;
    interval = interval > 0 ? interval : 1;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &keepalive, sizeof keepalive);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

static uint32_t free_slot(struct worker *w)
{
    if (w->conn_used == w->conn_cap) {
        uint32_t cap = w->conn_cap ? 2 * w->conn_cap : 64;
        w->conns = mem_realloc(w->conns, cap * sizeof *w->conns);
        memset(w->conns + w->conn_cap, 0, (cap - w->conn_cap) * sizeof *w->conns);
        w->conn_cap = cap;
        return w->conn_used;
    }
    for (uint32_t i = 0;; i++)
        if (!w->conns[i])
            return i;
}

/* Takes a new connection over. */
static void adopt(struct worker *w, int fd)
{
    struct server *s = server_of(w);
    struct sockaddr_storage peer = {0}, local = {0};
    socklen_t peer_len = sizeof peer, local_len = sizeof local;
    char addr[128], laddr[128];
    struct conn *c = mem_zalloc(sizeof *c);

    getpeername(fd, (struct sockaddr *)&peer, &peer_len);
    getsockname(fd, (struct sockaddr *)&local, &local_len);
    if (peer_len == 0)
        peer.ss_family = AF_UNIX;
    set_options(w, fd, &local);
    describe(&peer, s->config->unixsocket, addr, sizeof addr);
    describe(&local, s->config->unixsocket, laddr, sizeof laddr);
    conn_init(c, s, fd);
    c->slot = free_slot(w);
    c->accepted_ms = clock_mono_us() / 1000;
    c->events = EPOLLIN;
    c->client.session.local = is_local(&local) && is_local(&peer);
    c->client.session.authenticated = s->config->requirepass[0] == '\0';
    c->stranger = !c->client.session.authenticated;
    if (c->stranger)
        atomic_fetch_add(&s->strangers, 1);
    c->client.session.card =
        clients_add(s->clients, fd, w->index, addr, laddr, local.ss_family == AF_UNIX ? CARD_UNIX : 0);
    c->client.handle = (struct handle){w->index | c->slot << 8, c->client.session.card->id};
    w->conns[c->slot] = c;
    w->conn_used++;
    tally_add(&w->ex.thread->connections, 1);
    watch_fd(w, fd, c, EPOLLIN);
}

static void refuse(struct worker *w, int fd, const char *text, size_t n)
{
    if (n && write(fd, text, n) < 0)
        n = 0; /* it will see the close */
    tally_add(&w->ex.thread->refused, 1);
    close(fd);
}

/* Is that peer, and one more connection, welcome? Closes the socket when not. */
static bool admitted(struct worker *w, int fd, const struct sockaddr_storage *peer)
{
    struct server *s = server_of(w);
    static const char full[] = "-ERR max number of clients reached\r\n";
    static const char is_protected[] =
        "-DENIED Larder is running in protected mode because no password is set and a client outside this host "
        "connected. Set requirepass, or allow-from, or switch protected-mode off.\r\n";

    if (!listeners_allowed(w->listeners, peer)) {
        refuse(w, fd, NULL, 0);
        return false;
    }
    if (s->config->protected_mode && s->config->requirepass[0] == '\0' && s->config->allow_from[0] == '\0' &&
        !is_local(peer)) {
        refuse(w, fd, is_protected, sizeof is_protected - 1);
        return false;
    }
    if (clients_count(s->clients) >= (uint64_t)s->config->maxclients ||
        (s->config->requirepass[0] != '\0' && atomic_load(&s->strangers) >= STRANGERS_MAX)) {
        refuse(w, fd, full, sizeof full - 1);
        return false;
    }
    return true;
}

static void accept_some(struct worker *w, int listener)
{
    for (unsigned i = 0; i < ACCEPTS_MAX; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t len = sizeof peer;
        struct worker *least = w;
        int fd = accept4(listener, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (peer.ss_family != AF_INET && peer.ss_family != AF_INET6)
            peer.ss_family = AF_UNIX;
        if (!admitted(w, fd, &peer))
            continue;
        for (unsigned k = 0; k < w->peer_count; k++)
            if (atomic_load(&w->peers[k]->load) < atomic_load(&least->load))
                least = w->peers[k];
        atomic_fetch_add(&least->load, 1);
        if (least == w)
            adopt(w, fd);
        else
            inbox_post(&least->inbox, (struct message){MESSAGE_ADOPT, fd, 0});
    }
}

/* Calls fn for every connection; fn may close it. */
static void each_conn(struct worker *w, void (*fn)(struct worker *w, struct conn *c))
{
    for (uint32_t i = 0; i < w->conn_cap; i++)
        if (w->conns[i])
            fn(w, w->conns[i]);
}

static void recheck(struct worker *w, struct conn *c)
{
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof peer;

    if (getpeername(c->fd, (struct sockaddr *)&peer, &len) == 0 && !listeners_allowed(w->listeners, &peer))
        conn_close(w, c);
}

static void retry_held(struct worker *w, struct conn *c)
{
    if (c->state == CONN_HELD && c->held_until_ms <= clock_mono_us() / 1000)
        conn_resume(w, c);
}

/* Idle and not logged in for too long. */
static void check_idle(struct worker *w, struct conn *c)
{
    const struct config *cfg = server_of(w)->config;
    int64_t timeout = 1000 * cfg->timeout, login = 1000 * cfg->login_timeout, now = clock_mono_us() / 1000;
    int64_t idle = w->now_ms - atomic_load_explicit(&c->client.session.card->last_active_ms, memory_order_relaxed);

    if (c->state != CONN_READY)
        return;
    if ((timeout > 0 && idle > timeout) ||
        (login > 0 && !c->client.session.authenticated && now - c->accepted_ms > login))
        conn_close(w, c);
}

static struct conn *conn_of(struct worker *w, uint64_t id)
{
    for (uint32_t i = 0; i < w->conn_cap; i++)
        if (w->conns[i] && w->conns[i]->client.handle.id == id)
            return w->conns[i];
    return NULL;
}

static void handle_message(struct worker *w, const struct message *m)
{
    struct conn *c = NULL;

    if (m->kind == MESSAGE_RESUME || m->kind == MESSAGE_DONE) {
        uint32_t slot = (uint32_t)m->fd;
        c = slot < w->conn_cap ? w->conns[slot] : NULL;
        if (!c || c->client.handle.id != m->id)
            return;
    } else if (m->kind == MESSAGE_KILL) {
        c = conn_of(w, m->id);
    }
    switch (m->kind) {
    case MESSAGE_RESUME:
        if (c->state == CONN_PARKED)
            conn_resume(w, c);
        break;
    case MESSAGE_DONE:
        conn_lane_done(w, c);
        break;
    case MESSAGE_ADOPT:
        adopt(w, m->fd);
        break;
    case MESSAGE_KILL:
        if (c && !c->client.session.close_after_reply)
            conn_close(w, c);
        break;
    case MESSAGE_HELD:
        if (w->held > 0)
            each_conn(w, retry_held);
        break;
    case MESSAGE_LISTEN:
        listen_again(w);
        break;
    case MESSAGE_RECHECK:
        each_conn(w, recheck);
        break;
    case MESSAGE_STOP:
        w->stopping = true;
        break;
    }
}

static void handle_inbox(struct worker *w)
{
    struct message *messages;
    size_t n = inbox_take(&w->inbox, &messages);

    for (size_t i = 0; i < n; i++)
        handle_message(w, &messages[i]);
    mem_free(messages);
}

/* The partitions whose upkeep is this worker's: [*from, *to). */
static void own_partitions(const struct worker *w, uint32_t *from, uint32_t *to)
{
    *from = PARTITIONS / w->peer_count * w->index;
    *to = w->index + 1 == w->peer_count ? PARTITIONS : *from + PARTITIONS / w->peer_count;
}

/* Expires what is due among the partitions of this worker. */
static void expire(struct worker *w)
{
    struct exec_shared *sh = w->ex.shared;
    int64_t wait, start;
    uint32_t from, to;

    own_partitions(w, &from, &to);
    if (!atomic_load_explicit(&sh->server->active_expire, memory_order_relaxed) ||
        atomic_load_explicit(&sh->server->pause_until_ms, memory_order_relaxed) > w->now_ms ||
        !gate_enter(&sh->gate, w->ex.thread->index)) {
        w->expire_due_ms = w->now_ms + TICK_MS;
        return;
    }
    start = clock_mono_us();
    wait = expire_step(sh->server->keyspace, w->ex.thread, from, to, &w->expire_next, STEP_US);
    gate_leave(&sh->gate, w->ex.thread->index);
    tally_add(&w->ex.thread->expire_us, clock_mono_us() - start);
    if (wait == 0)
        tally_add(&w->ex.thread->expire_stops, 1);
    w->expire_due_ms = w->now_ms + (wait < TICK_MS ? wait : TICK_MS);
}

/* Takes its part in a defragmentation cycle, if there is one; returns the milliseconds until it must again. */
static int64_t defrag(struct worker *w)
{
    struct exec_shared *sh = w->ex.shared;
    uint32_t from, to;
    int64_t wait;

    if (!defrag_cycle_running(sh->server))
        return INT64_MAX;
    if (!gate_enter(&sh->gate, w->ex.thread->index))
        return 1;
    own_partitions(w, &from, &to);
    wait = defrag_cycle_step(sh->server, w->ex.thread, &w->defrag, from, to);
    gate_leave(&sh->gate, w->ex.thread->index);
    return wait;
}

static void tick(struct worker *w)
{
    struct server *s = server_of(w);

    w->tick_due_ms = w->now_ms + TICK_MS;
    if (w->index == 0) {
        access_tick(w->now_ms);
        server_stats_sample(s);
        if (defrag_cycle_tick(s, w->now_ms) || atomic_load(&s->config->maxmemory_clients) != 0)
            lane_kick(w->ex.shared->lanes[EXEC_LANE_WAITING]);
    }
    heap_drain_check(w->ex.thread->heap);
    if (w->held > 0)
        each_conn(w, retry_held);
    if (w->now_ms / 1000 != (w->now_ms - TICK_MS) / 1000)
        each_conn(w, check_idle);
}

/* Timers and steps; returns how long the loop may sleep, in ms. */
static int housekeeping(struct worker *w)
{
    bool more = keyspace_reclaim(server_of(w)->keyspace, w->ex.thread, RECLAIM_BLOCKS);
    int64_t due, defrag_ms = defrag(w);

    if (w->now_ms >= w->expire_due_ms || w->expire_due_ms > w->now_ms + TICK_MS)
        expire(w);
    if (w->now_ms >= w->tick_due_ms || w->tick_due_ms > w->now_ms + TICK_MS)
        tick(w);
    due = w->expire_due_ms < w->tick_due_ms ? w->expire_due_ms : w->tick_due_ms;
    due = due - w->now_ms < defrag_ms ? due - w->now_ms : defrag_ms;
    return more || due <= 0 ? 0 : (int)due;
}

/* Notes how long this turn kept the connections waiting. */
static void note_pause(struct worker *w, int64_t us)
{
    unsigned bucket = us < 1 ? 0 : 63u - (unsigned)__builtin_clzll((unsigned long long)us);

    tally_add(&w->tally->pause_us[bucket < PAUSE_BUCKETS ? bucket : PAUSE_BUCKETS - 1], 1);
    if (us > tally_read(&w->tally->pause_max_us))
        atomic_store_explicit(&w->tally->pause_max_us, us, memory_order_relaxed);
}

static void handle_event(struct worker *w, const struct epoll_event *ev)
{
    uintptr_t tag = (uintptr_t)ev->data.ptr;
    struct conn *c = ev->data.ptr;
    uint32_t slot;

    if (tag & 1) {
        if ((int)(tag / 2) == w->inbox.eventfd)
            handle_inbox(w);
        else
            accept_some(w, (int)(tag / 2));
        return;
    }
    slot = c->slot;
    if (c->state == CONN_CLOSED)
        return;
    if (ev->events & EPOLLOUT)
        conn_writable(w, c);
    if (w->conns[slot] != c)
        return;
    if (ev->events & (EPOLLERR | EPOLLHUP) && !(ev->events & EPOLLIN))
        conn_close(w, c);
    else if (ev->events & EPOLLIN)
        conn_readable(w, c);
}

void *worker_run(void *arg)
{
    struct worker *w = arg;
    struct epoll_event events[EVENTS_MAX];
    uint64_t turn_ticks = clock_us_ticks(TURN_US);
    char name[16];
    int sleep_ms = 0;
    bool more;

    snprintf(name, sizeof name, "worker-%u", w->index);
    pthread_setname_np(pthread_self(), name);
    while (!w->stopping) {
        int n = epoll_wait(w->epoll, events, EVENTS_MAX, sleep_ms);
        int64_t start = clock_mono_us();

        w->now_ms = clock_wall_ms();
        w->ex.since = clock_ticks();
        w->turn_end = w->ex.since + turn_ticks;
        for (int i = 0; i < n && w->ex.since <= w->turn_end; i++) /* what is left is reported again */
            handle_event(w, &events[i]);
        more = conn_go_on(w);
        sleep_ms = housekeeping(w);
        if (more)
            sleep_ms = 0;
        conn_bury(w);
        note_pause(w, clock_mono_us() - start);
    }
    for (uint32_t i = 0; i < w->conn_cap; i++)
        if (w->conns[i] && w->conns[i]->state != CONN_LANE)
            conn_close(w, w->conns[i]);
    return NULL;
}
