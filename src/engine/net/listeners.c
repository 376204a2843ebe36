/* Listening sockets and allowed peers: see listeners.h. */
#include "engine/net/listeners.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

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

static struct listener *listener_new(int fd, bool is_unix)
{
    struct listener *l = mem_zalloc(sizeof *l);

    l->fd = fd;
    l->is_unix = is_unix;
    return l;
}

static void listener_free(struct listener *l)
{
    close(l->fd);
    mem_free(l);
}

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
        if (l->is_unix || contains(set, count, l) || getsockname(l->fd, (struct sockaddr *)&have, &have_len) != 0)
            continue;
        if (have_len == want_len && memcmp(&have, &want, want_len) == 0)
            return l;
    }
    return NULL;
}

/* Adds what bind and port say to the new set; the last place is left for the unix socket. */
static int open_addresses(const struct listeners *old, struct listener **set, unsigned *count, const struct config *c,
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
            l = listener_new(fd, false);
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
static int open_unix(const struct listeners *old, struct listener **set, unsigned *count, const struct config *c,
                     char *err, size_t err_size)
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
    set[(*count)++] = listener_new(fd, true);
    return 0;
}

/* Takes it out of service. Refusing from now on, and leaving the address to others, must not wait for the workers. */
static void retire(struct listener *l)
{
    l->retired = true;
    if (l->watchers == 0)
        listener_free(l);
    else
        shutdown(l->fd, SHUT_RDWR);
}

int listeners_open(struct listeners *ls, const struct config *c, char *err, size_t err_size)
{
    struct listener *set[LISTENERS_MAX];
    unsigned count = 0;
    int rc;

    pthread_mutex_lock(&ls->lock);
    rc = open_addresses(ls, set, &count, c, err, err_size);
    if (rc == 0)
        rc = open_unix(ls, set, &count, c, err, err_size);
    if (rc == 0) {
        for (unsigned i = 0; i < ls->count; i++)
            if (!contains(set, count, ls->set[i]))
                retire(ls->set[i]);
        memcpy(ls->set, set, count * sizeof *set);
        ls->count = count;
    } else {
        for (unsigned i = 0; i < count; i++)
            if (!contains(ls->set, ls->count, set[i]))
                listener_free(set[i]);
    }
    pthread_mutex_unlock(&ls->lock);
    return rc;
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
    for (unsigned i = 0; i < n; i++)
        if (--watched[i]->watchers == 0 && watched[i]->retired)
            listener_free(watched[i]);
    pthread_mutex_unlock(&ls->lock);
}

void listeners_close(struct listeners *ls, const struct config *c)
{
    for (unsigned i = 0; i < ls->count; i++)
        listener_free(ls->set[i]);
    if (c->unixsocket[0])
        unlink(c->unixsocket);
    ls->count = 0;
    mem_free(ls->allowed);
}

void listeners_note_password(struct listeners *ls, const struct config *c)
{
    atomic_store_explicit(&ls->password_set, c->requirepass[0] != '\0', memory_order_relaxed);
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
    pthread_mutex_lock(&ls->lock);
    mem_free(ls->allowed);
    ls->allowed = blocks;
    ls->allowed_count = n;
    atomic_store_explicit(&ls->allow_set, n > 0, memory_order_relaxed);
    pthread_mutex_unlock(&ls->lock);
    return 0;
}

static bool in_block(const struct config_cidr *b, int family, const uint8_t *addr)
{
    unsigned whole = b->bits / 8, rest = b->bits % 8;

    if (b->family != family || memcmp(b->addr, addr, whole) != 0)
        return false;
    return rest == 0 || ((b->addr[whole] ^ addr[whole]) & (0xff00u >> rest) & 0xff) == 0;
}

bool listeners_allowed(struct listeners *ls, const struct sockaddr_storage *peer)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)peer;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)peer;
    const uint8_t *addr = peer->ss_family == AF_INET ? (const uint8_t *)&v4->sin_addr : v6->sin6_addr.s6_addr;
    bool ok;

    if (peer->ss_family != AF_INET && peer->ss_family != AF_INET6)
        return true;
    pthread_mutex_lock(&ls->lock);
    ok = ls->allowed_count == 0;
    for (size_t i = 0; i < ls->allowed_count && !ok; i++)
        ok = in_block(&ls->allowed[i], peer->ss_family, addr);
    pthread_mutex_unlock(&ls->lock);
    return ok;
}
