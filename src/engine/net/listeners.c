/* Listening sockets and allowed peers: see listeners.h. */
#include "engine/net/listeners.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

#define NAME_OWN "bind"
#define NAME_UNIX "unixsocket"

void listeners_init(struct listeners *ls)
{
    memset(ls, 0, sizeof *ls);
    pthread_mutex_init(&ls->lock, NULL);
}

int listener_unix(const char *path, int mode, int backlog, char *err, size_t err_size)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct stat st;
    int fd;

    if (strlen(path) >= sizeof sa.sun_path) {
        snprintf(err, err_size, "unix socket path too long: %s", path);
        return -1;
    }
    memcpy(sa.sun_path, path, strlen(path) + 1);
    if (stat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || (mode && fchmod(fd, (mode_t)mode) != 0) || bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0 ||
        (mode && chmod(path, (mode_t)mode) != 0) || listen(fd, backlog) != 0) {
        snprintf(err, err_size, "Could not create unix socket %s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

/* Fills sa for an address word of `bind`; false when it is none. */
static bool parse_address(const char *word, int port, struct sockaddr_storage *sa, socklen_t *len)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)sa;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)sa;

    memset(sa, 0, sizeof *sa);
    if (inet_pton(AF_INET, strcmp(word, "*") == 0 ? "0.0.0.0" : word, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *len = sizeof *v4;
        return true;
    }
    if (inet_pton(AF_INET6, strcmp(word, "::*") == 0 ? "::" : word, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        *len = sizeof *v6;
        return true;
    }
    return false;
}

static int open_tcp(const char *word, int port, int backlog)
{
    struct sockaddr_storage sa;
    socklen_t len;
    int fd, on = 1;

    if (!parse_address(word, port, &sa, &len)) {
        errno = EINVAL;
        return -1;
    }
    fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (sa.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&sa, len) != 0 || listen(fd, backlog) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

void listener_describe(const struct sockaddr_storage *sa, const char *path, char *out, size_t size)
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

/* ---- one listener; the lock is held ---- */

static struct listener *listener_new(struct listeners *ls, int fd, const char *name)
{
    struct listener *l = mem_zalloc(sizeof *l);
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof sa;

    l->fd = fd;
    snprintf(l->name, sizeof l->name, "%s", name);
    l->is_unix = getsockname(fd, (struct sockaddr *)&sa, &len) != 0 || sa.ss_family == AF_UNIX;
    if (!l->is_unix)
        listener_describe(&sa, "", l->address, sizeof l->address);
    l->next = ls->all;
    ls->all = l;
    return l;
}

static void listener_free(struct listeners *ls, struct listener *l)
{
    struct listener **at = &ls->all;

    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    if (l->fd >= 0)
        close(l->fd);
    mem_free(l);
}

/* Closes and frees what nobody needs any more. */
static void settle(struct listeners *ls, struct listener *l)
{
    if (!atomic_load(&l->retired) || l->watchers > 0)
        return;
    if (atomic_load(&l->connections) == 0) {
        listener_free(ls, l);
    } else if (l->fd >= 0) {
        close(l->fd);
        l->fd = -1;
    }
}

/* Takes it out of service: refusing from now on, and leaving the address to others, must not wait for the workers. */
static void retire(struct listeners *ls, struct listener *l)
{
    atomic_store(&l->retired, true);
    for (unsigned i = 0; i < ls->epoll_count; i++)
        epoll_ctl(ls->epolls[i], EPOLL_CTL_DEL, l->fd, NULL);
    if (!l->passed && l->watchers > 0)
        shutdown(l->fd, SHUT_RDWR);
    settle(ls, l);
}

/* ---- the server's own ---- */

static bool contains(struct listener *const *set, unsigned count, const struct listener *l)
{
    for (unsigned i = 0; i < count; i++)
        if (set[i] == l)
            return true;
    return false;
}

/* The listener of the old set that has this address already and is not in the new one; NULL for none. */
static struct listener *reuse(const struct listeners *old, struct listener *const *set, unsigned count,
                              const char *word, int port)
{
    struct sockaddr_storage want, have;
    socklen_t want_len, have_len;

    if (!parse_address(word, port, &want, &want_len))
        return NULL;
    for (unsigned i = 0; i < old->count; i++) {
        struct listener *l = old->set[i];
        have_len = sizeof have;
        memset(&have, 0, sizeof have);
        if (l->is_unix || l->passed || contains(set, count, l) ||
            getsockname(l->fd, (struct sockaddr *)&have, &have_len) != 0)
            continue;
        if (have_len == want_len && memcmp(&have, &want, want_len) == 0)
            return l;
    }
    return NULL;
}

/* Adds what bind and port say to the new set; the last place is left for the unix socket. */
static int open_addresses(struct listeners *old, struct listener **set, unsigned *count, const struct config *c,
                          char *err, size_t err_size)
{
    int port = (int)c->port, backlog = (int)c->tcp_backlog, rc = 0;
    char *words = mem_strndup(c->bind, strlen(c->bind)), *rest = words, *word;

    while (rc == 0 && port > 0 && (word = strtok_r(rest, " ", &rest))) {
        bool optional = *word == '-';
        struct listener *l;
        int fd = -1;
        word += optional;
        errno = ENOBUFS;
        l = *count < LISTENERS_MAX - 1 ? reuse(old, set, *count, word, port) : NULL;
        if (!l && *count < LISTENERS_MAX - 1 && (fd = open_tcp(word, port, backlog)) >= 0)
            l = listener_new(old, fd, NAME_OWN);
        if (l) {
            set[(*count)++] = l;
        } else if (!(optional && (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT))) {
            snprintf(err, err_size, "Could not create server TCP listening socket %s:%d: bind: %s", word, port,
                     strerror(errno));
            rc = -1;
        }
    }
    mem_free(words);
    return rc;
}

/* The unix socket is opened once. */
static int open_unix(struct listeners *old, struct listener **set, unsigned *count, const struct config *c, char *err,
                     size_t err_size)
{
    int fd;

    for (unsigned i = 0; i < old->count; i++)
        if (old->set[i]->is_unix) {
            set[(*count)++] = old->set[i];
            return 0;
        }
    if (!c->unixsocket[0])
        return 0;
    fd = listener_unix(c->unixsocket, (int)c->unixsocketperm, (int)c->tcp_backlog, err, err_size);
    if (fd < 0)
        return -1;
    set[(*count)++] = listener_new(old, fd, NAME_UNIX);
    return 0;
}

int listeners_open(struct listeners *ls, const struct config *c, char *err, size_t err_size)
{
    struct listener *set[LISTENERS_MAX];
    unsigned count = 0;
    int rc;

    pthread_mutex_lock(&ls->lock);
    for (unsigned i = 0; i < ls->count; i++)
        if (ls->set[i]->passed)
            set[count++] = ls->set[i];
    rc = open_addresses(ls, set, &count, c, err, err_size);
    if (rc == 0)
        rc = open_unix(ls, set, &count, c, err, err_size);
    if (rc == 0) {
        for (unsigned i = 0; i < ls->count; i++)
            if (!contains(set, count, ls->set[i]))
                retire(ls, ls->set[i]);
        memcpy(ls->set, set, count * sizeof *set);
        ls->count = count;
    } else {
        for (unsigned i = 0; i < count; i++)
            if (!contains(ls->set, ls->count, set[i]))
                listener_free(ls, set[i]);
    }
    pthread_mutex_unlock(&ls->lock);
    return rc;
}

void listeners_close(struct listeners *ls, const struct config *c)
{
    while (ls->all)
        listener_free(ls, ls->all);
    if (c->unixsocket[0])
        unlink(c->unixsocket);
    ls->count = 0;
    mem_free(ls->allowed);
    ls->allowed = NULL;
}

/* ---- passed ones ---- */

static bool is_name(struct view v)
{
    if (v.n == 0 || v.n >= LISTENER_NAME_MAX || view_is(v, NAME_OWN) || view_is(v, NAME_UNIX))
        return false;
    for (size_t i = 0; i < v.n; i++)
        if (!(v.p[i] >= 'a' && v.p[i] <= 'z') && !(v.p[i] >= '0' && v.p[i] <= '9') && v.p[i] != '-')
            return false;
    return true;
}

/* Why that descriptor is no TCP socket that listens; NULL when it is one. */
static const char *listening_flaw(int fd)
{
    int domain = 0, protocol = 0, listens = 0;
    socklen_t len = sizeof domain;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0)
        return "it is no socket";
    if ((domain != AF_INET && domain != AF_INET6) || protocol != IPPROTO_TCP)
        return "it is no TCP socket";
    return listens ? NULL : "it does not listen";
}

static bool same_socket(int a, int b)
{
    struct stat one, other;

    return fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

static bool has_name(const struct listener *l, struct view name)
{
    return l->passed && view_equal(view_str(l->name), name);
}

/* The place of the passed listener of that name in the set; the set's count when there is none. */
static unsigned find_passed(const struct listeners *ls, struct view name)
{
    unsigned i = 0;

    while (i < ls->count && !has_name(ls->set[i], name))
        i++;
    return i;
}

static unsigned count_passed(const struct listeners *ls)
{
    unsigned n = 0;

    for (unsigned i = 0; i < ls->count; i++)
        n += ls->set[i]->passed;
    return n;
}

/* Puts the socket into the set, in the place of the one that has the name. The lock is held. */
static void take_over(struct listeners *ls, unsigned at, struct view name, int fd)
{
    char text[LISTENER_NAME_MAX];
    struct listener *l;

    snprintf(text, sizeof text, "%.*s", (int)name.n, name.p);
    l = listener_new(ls, fd, text);
    l->passed = true;
    if (at < ls->count)
        retire(ls, ls->set[at]);
    else
        ls->count++;
    ls->set[at] = l;
}

int listeners_pass(struct listeners *ls, struct view name, int fd, char *err, size_t err_size)
{
    const char *flaw = listening_flaw(fd);
    unsigned at;

    if (!is_name(name))
        flaw = "the name must be of 1 to 31 lower-case letters, digits and hyphens, and not one of our own";
    if (!flaw && fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        flaw = strerror(errno);
    pthread_mutex_lock(&ls->lock);
    at = find_passed(ls, name);
    if (!flaw && at == ls->count && count_passed(ls) == LISTENERS_PASSED_MAX)
        flaw = "there are too many";
    if (!flaw && at < ls->count && same_socket(ls->set[at]->fd, fd))
        close(fd);
    else if (!flaw)
        take_over(ls, at, name, fd);
    pthread_mutex_unlock(&ls->lock);
    if (flaw)
        snprintf(err, err_size, "%s", flaw);
    return flaw ? -1 : 0;
}

int listeners_withdraw(struct listeners *ls, struct view name, int *fd)
{
    struct listener *l = NULL;
    unsigned at;
    int rc = -ENOENT;

    pthread_mutex_lock(&ls->lock);
    at = find_passed(ls, name);
    if (at < ls->count) {
        l = ls->set[at];
        rc = 0;
        if (fd && (*fd = fcntl(l->fd, F_DUPFD_CLOEXEC, 0)) < 0)
            rc = -errno;
    }
    if (rc == 0) {
        ls->set[at] = ls->set[--ls->count];
        l->watchers++; /* it must outlive the wait */
        retire(ls, l);
    }
    pthread_mutex_unlock(&ls->lock);
    if (rc != 0)
        return rc;
    while (atomic_load(&l->accepting) > 0)
        sched_yield();
    listeners_unwatch(ls, &l, 1);
    return 0;
}

bool listeners_cut(struct listeners *ls, struct view name)
{
    bool found = false;

    pthread_mutex_lock(&ls->lock);
    for (struct listener *l = ls->all; l; l = l->next)
        if (has_name(l, name) && atomic_load(&l->retired)) {
            atomic_store(&l->cut, true);
            found = true;
        }
    pthread_mutex_unlock(&ls->lock);
    return found;
}

void listeners_each(struct listeners *ls, void (*fn)(void *arg, const struct listener *l), void *arg)
{
    pthread_mutex_lock(&ls->lock);
    for (unsigned i = 0; i < ls->count; i++)
        fn(arg, ls->set[i]);
    pthread_mutex_unlock(&ls->lock);
}

/* ---- for workers ---- */

void listeners_add_epoll(struct listeners *ls, int epoll)
{
    pthread_mutex_lock(&ls->lock);
    ls->epolls[ls->epoll_count++] = epoll;
    pthread_mutex_unlock(&ls->lock);
}

unsigned listeners_watch(struct listeners *ls, struct listener *out[LISTENERS_MAX])
{
    unsigned n;

    pthread_mutex_lock(&ls->lock);
    n = ls->count;
    for (unsigned i = 0; i < n; i++) {
        out[i] = ls->set[i];
        out[i]->watchers++;
    }
    pthread_mutex_unlock(&ls->lock);
    return n;
}

void listeners_unwatch(struct listeners *ls, struct listener *const *watched, unsigned n)
{
    pthread_mutex_lock(&ls->lock);
    for (unsigned i = 0; i < n; i++) {
        watched[i]->watchers--;
        settle(ls, watched[i]);
    }
    pthread_mutex_unlock(&ls->lock);
}

void listeners_hear(struct listeners *ls, const struct listener *l, int epoll, void *tag)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = tag};

    pthread_mutex_lock(&ls->lock);
    if (!atomic_load(&l->retired))
        epoll_ctl(epoll, EPOLL_CTL_ADD, l->fd, &ev);
    pthread_mutex_unlock(&ls->lock);
}

/* Who retires a listener stores `retired` and then waits for `accepting`; here it is the other way round: one of the two
 * sees the other. */
int listener_accept(struct listener *l, struct sockaddr_storage *peer)
{
    socklen_t len = sizeof *peer;
    int fd = -1, error = EAGAIN;

    atomic_fetch_add(&l->accepting, 1);
    if (!atomic_load(&l->retired)) {
        fd = accept4(l->fd, (struct sockaddr *)peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        error = errno;
    }
    atomic_fetch_sub(&l->accepting, 1);
    if (fd < 0) {
        errno = error;
        return -1;
    }
    atomic_fetch_add(&l->connections, 1);
    atomic_fetch_add_explicit(&l->accepted, 1, memory_order_relaxed);
    return fd;
}

void listener_release(struct listeners *ls, struct listener *l)
{
    pthread_mutex_lock(&ls->lock);
    atomic_fetch_sub(&l->connections, 1);
    settle(ls, l);
    pthread_mutex_unlock(&ls->lock);
}

/* ---- who may connect ---- */

void listeners_note_passwords(struct listeners *ls, const struct config *c)
{
    atomic_store_explicit(&ls->secret_set, c->replication_secret[0] != '\0', memory_order_relaxed);
    atomic_store_explicit(&ls->password_set, c->requirepass[0] != '\0', memory_order_relaxed);
}

/* Takes the blocks over. */
static void set_allowed(struct listeners *ls, struct config_cidr *blocks, size_t n, size_t replicas, bool named,
                        bool restricted)
{
    pthread_mutex_lock(&ls->lock);
    mem_free(ls->allowed);
    ls->allowed = blocks;
    ls->allowed_count = n;
    ls->replica_count = replicas;
    ls->replicas_named = named;
    ls->restricted = restricted;
    atomic_store_explicit(&ls->allow_set, restricted, memory_order_relaxed);
    pthread_mutex_unlock(&ls->lock);
}

int listeners_allow(struct listeners *ls, const struct config *c, char *err, size_t err_size)
{
    char *words = mem_strndup(c->allow_from, strlen(c->allow_from)), *rest = words, *word;
    struct config_cidr *blocks = NULL, one;
    size_t n = 0;
    int rc = 0;

    while ((word = strtok_r(rest, " ", &rest))) {
        if (!config_parse_cidr(view_str(word), &one)) {
            snprintf(err, err_size, "not an address block: %s", word);
            rc = -1;
            break;
        }
        blocks = mem_realloc(blocks, (n + 1) * sizeof *blocks);
        blocks[n++] = one;
    }
    mem_free(words);
    if (rc != 0) {
        mem_free(blocks);
        return rc;
    }
    set_allowed(ls, blocks, n, 0, false, n > 0);
    return 0;
}

void listeners_restrict(struct listeners *ls, const struct config_cidr *blocks, size_t n, size_t replicas, bool named)
{
    struct config_cidr *copy = NULL;

    if (n + replicas > 0) {
        copy = mem_alloc((n + replicas) * sizeof *copy);
        memcpy(copy, blocks, (n + replicas) * sizeof *copy);
    }
    set_allowed(ls, copy, n, replicas, named, true);
}

static bool in_block(const struct config_cidr *b, int family, const uint8_t *addr)
{
    unsigned whole = b->bits / 8, rest = b->bits % 8;

    if (b->family != family || memcmp(b->addr, addr, whole) != 0)
        return false;
    return rest == 0 || ((b->addr[whole] ^ addr[whole]) & (0xff00u >> rest) & 0xff) == 0;
}

/* Is the peer in one of n blocks? Lock held. */
static bool in_blocks(const struct config_cidr *blocks, size_t n, const struct sockaddr_storage *peer)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)peer;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)peer;
    const uint8_t *addr = peer->ss_family == AF_INET ? (const uint8_t *)&v4->sin_addr : v6->sin6_addr.s6_addr;

    if (peer->ss_family != AF_INET && peer->ss_family != AF_INET6)
        return true;
    for (size_t i = 0; i < n; i++)
        if (in_block(&blocks[i], peer->ss_family, addr))
            return true;
    return false;
}

bool listeners_allowed(struct listeners *ls, const struct sockaddr_storage *peer)
{
    bool ok;

    pthread_mutex_lock(&ls->lock);
    ok = !ls->restricted || in_blocks(ls->allowed, ls->allowed_count, peer);
    pthread_mutex_unlock(&ls->lock);
    return ok;
}

bool listeners_allowed_replica(struct listeners *ls, const struct sockaddr_storage *peer)
{
    bool ok;

    pthread_mutex_lock(&ls->lock);
    ok = !ls->replicas_named ||
         (ls->replica_count > 0 && in_blocks(ls->allowed + ls->allowed_count, ls->replica_count, peer));
    pthread_mutex_unlock(&ls->lock);
    return ok;
}
