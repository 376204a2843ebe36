/* Accepting connections: see accept.h. */
#include "engine/net/accept.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/net/conn.h"
#include "engine/net/worker.h"
#include "engine/server/clients.h"
#include "engine/server/config.h"
#include "engine/server/server.h"

#define ACCEPTS_MAX 64
#define STRANGERS_MAX 1024
#define COMPLAINT_MS 60000

static struct server *server_of(struct worker *w)
{
    return w->ex.shared->server;
}

static bool is_set(atomic_bool *b)
{
    return atomic_load_explicit(b, memory_order_relaxed);
}

/* ---- listeners ---- */

static bool watches(struct listener *const *watched, unsigned n, const struct listener *l)
{
    for (unsigned i = 0; i < n; i++)
        if (watched[i] == l)
            return true;
    return false;
}

static void hear(struct worker *w, const struct listener *l)
{
    listeners_hear(w->listeners, l, w->epoll, worker_tag(l->fd));
}

/* One that was retired is out already. */
static void unhear(struct worker *w, const struct listener *l)
{
    epoll_ctl(w->epoll, EPOLL_CTL_DEL, l->fd, NULL);
}

void accept_listen(struct worker *w)
{
    struct listener *now[LISTENERS_MAX];
    unsigned n = listeners_watch(w->listeners, now);

    for (unsigned i = 0; i < w->watched_count && !w->deaf; i++)
        if (!watches(now, n, w->watched[i]))
            unhear(w, w->watched[i]);
    for (unsigned i = 0; i < n && !w->deaf; i++)
        if (!watches(w->watched, w->watched_count, now[i]))
            hear(w, now[i]);
    listeners_unwatch(w->listeners, w->watched, w->watched_count);
    memcpy(w->watched, now, n * sizeof *now);
    w->watched_count = n;
}

void accept_end(struct worker *w)
{
    for (unsigned i = 0; i < w->watched_count; i++)
        unhear(w, w->watched[i]);
    listeners_unwatch(w->listeners, w->watched, w->watched_count);
    w->watched_count = 0;
}

/* Accepting fails and the listeners stay readable: without this, epoll would return at once, for ever. */
static void go_deaf(struct worker *w, int error)
{
    _Atomic int64_t *complained = &w->listeners->files_complained_ms;
    int64_t last = atomic_load(complained);

    for (unsigned i = 0; i < w->watched_count; i++)
        unhear(w, w->watched[i]);
    w->deaf = true;
    if ((last == 0 || w->mono_ms - last >= COMPLAINT_MS) &&
        atomic_compare_exchange_strong(complained, &last, w->mono_ms))
        log_warning("Error accepting a client connection: %s", strerror(error));
}

void accept_retry(struct worker *w)
{
    if (!w->deaf)
        return;
    w->deaf = false;
    for (unsigned i = 0; i < w->watched_count; i++)
        hear(w, w->watched[i]);
}

/* ---- strangers ---- */

/* The connection behind entry i; NULL when it is gone, or has logged in. */
static struct conn *stranger_conn(struct worker *w, uint32_t i)
{
    const struct stranger *s = &w->strangers.list[i];
    struct conn *c = worker_conn(w, s->slot, s->id);

    return c && c->stranger ? c : NULL;
}

static void add_stranger(struct worker *w, const struct conn *c)
{
    struct strangers *ss = &w->strangers;

    if (ss->count == ss->cap) {
        ss->cap = ss->cap ? 2 * ss->cap : 64;
        ss->list = mem_realloc(ss->list, ss->cap * sizeof *ss->list);
    }
    ss->list[ss->count++] = (struct stranger){c->slot, c->client.handle.id};
}

/* Closes the oldest stranger of this worker, but for the newest, which is the last entry. */
static void close_oldest(struct worker *w)
{
    struct strangers *ss = &w->strangers;

    while (ss->first + 1 < ss->count) {
        struct conn *c = stranger_conn(w, ss->first++);
        if (c) {
            conn_close(w, c);
            return;
        }
    }
}

unsigned accept_tick(struct worker *w)
{
    struct strangers *ss = &w->strangers;
    uint32_t kept = 0;
    unsigned held = 0;

    for (uint32_t i = ss->first; i < ss->count; i++) {
        struct conn *c = stranger_conn(w, i);
        if (c && c->state == CONN_HELD && c->held_until_ms <= w->mono_ms) {
            conn_resume(w, c);
            c = stranger_conn(w, i);
        }
        if (!c)
            continue;
        held += c->state == CONN_HELD;
        ss->list[kept++] = ss->list[i];
    }
    ss->first = 0;
    ss->count = kept;
    return held;
}

/* ---- new connections ---- */

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
        w->slot_next = w->conn_cap;
        w->conn_cap = cap;
    }
    while (w->conns[w->slot_next])
        w->slot_next = (w->slot_next + 1) & (w->conn_cap - 1);
    return w->slot_next;
}

/* Takes a new connection over. outsider: its address may not connect, but it may log in as a replica. */
static void adopt(struct worker *w, int fd, struct listener *l, const struct sockaddr_storage *peer, bool outsider)
{
    struct server *s = server_of(w);
    struct sockaddr_storage local = {0};
    socklen_t len = sizeof local;
    char addr[128], laddr[128];
    struct conn *c = mem_zalloc(sizeof *c);

    getsockname(fd, (struct sockaddr *)&local, &len);
    set_options(w, fd, &local);
    listener_describe(peer, s->config->unixsocket, addr, sizeof addr);
    listener_describe(&local, s->config->unixsocket, laddr, sizeof laddr);
    conn_init(c, s, fd);
    c->listener = l;
    c->slot = free_slot(w);
    c->accepted_ms = w->mono_ms;
    c->events = EPOLLIN;
    c->client.handle.worker = w->index | c->slot << 8;
    c->client.session.local = is_local(&local) && is_local(peer);
    c->client.session.outsider = outsider;
    c->client.session.authenticated = !is_set(&w->listeners->password_set) && !outsider;
    c->stranger = !c->client.session.authenticated;
    c->client.session.card =
        clients_add(s->clients, fd, c->client.handle.worker, addr, laddr, local.ss_family == AF_UNIX ? CARD_UNIX : 0);
    c->client.handle.id = c->client.session.card->id;
    w->conns[c->slot] = c;
    w->conn_used++;
    tally_add(&w->ex.thread->connections, 1);
    worker_watch(w, fd, c, EPOLLIN);
    if (c->stranger) {
        add_stranger(w, c);
        if (atomic_fetch_add(&s->strangers, 1) >= STRANGERS_MAX)
            close_oldest(w);
    }
}

static void refuse(struct worker *w, int fd, struct listener *l, const char *text, size_t n)
{
    if (n && write(fd, text, n) < 0)
        n = 0; /* it will see the close */
    tally_add(&w->ex.thread->refused, 1);
    close(fd);
    listener_release(w->listeners, l);
}

bool accept_may_stay(struct listeners *ls, const struct sockaddr_storage *peer, bool *outsider)
{
    *outsider = !listeners_allowed(ls, peer);
    return !*outsider || (is_set(&ls->secret_set) && listeners_allowed_replica(ls, peer));
}

/* Is that peer, and one more connection, welcome? Closes the socket when not. */
static bool admitted(struct worker *w, int fd, struct listener *l, const struct sockaddr_storage *peer, bool *outsider)
{
    struct server *s = server_of(w);
    struct listeners *ls = w->listeners;
    static const char full[] = "-ERR max number of clients reached\r\n";
    static const char is_protected[] =
        "-DENIED Larder is running in protected mode because no password is set and a client outside this host "
        "connected. Set requirepass, or allow-from, or switch protected-mode off.\r\n";

    if (!accept_may_stay(ls, peer, outsider)) {
        refuse(w, fd, l, NULL, 0);
        return false;
    }
    if (s->config->protected_mode && !is_set(&ls->password_set) && !is_set(&ls->allow_set) && !is_local(peer)) {
        refuse(w, fd, l, is_protected, sizeof is_protected - 1);
        return false;
    }
    if (clients_count(s->clients) >= (uint64_t)s->config->maxclients) {
        refuse(w, fd, l, full, sizeof full - 1);
        return false;
    }
    return true;
}

void accept_adopt(struct worker *w, int fd, struct listener *l)
{
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof peer;
    bool outsider;

    /* who may come, and whether it may stay, may have changed since, and the message that tells so been handled before
     * this one */
    if (!atomic_load(&l->cut) && getpeername(fd, (struct sockaddr *)&peer, &len) == 0 &&
        accept_may_stay(w->listeners, &peer, &outsider)) {
        adopt(w, fd, l, &peer, outsider);
        return;
    }
    refuse(w, fd, l, NULL, 0);
    atomic_fetch_sub(&w->load, 1);
}

void accept_some(struct worker *w, int listener)
{
    struct listener *l;
    unsigned at = 0;

    while (at < w->watched_count && w->watched[at]->fd != listener)
        at++;
    if (at == w->watched_count) /* given up in this turn */
        return;
    l = w->watched[at];
    for (unsigned i = 0; i < ACCEPTS_MAX; i++) {
        struct sockaddr_storage peer = {0};
        struct worker *least = w;
        bool outsider;
        int fd = listener_accept(l, &peer);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                go_deaf(w, errno);
            return;
        }
        if (!admitted(w, fd, l, &peer, &outsider))
            continue;
        for (unsigned k = 0; k < w->peer_count; k++)
            if (atomic_load(&w->peers[k]->load) < atomic_load(&least->load))
                least = w->peers[k];
        atomic_fetch_add(&least->load, 1);
        if (least == w)
            adopt(w, fd, l, &peer, outsider);
        else
            inbox_post(&least->inbox, (struct message){MESSAGE_ADOPT, fd, (uintptr_t)l});
    }
}
