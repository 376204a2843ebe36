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

/* The listener of the old set that has this address already, taken out of it; -1 for none. */
static int reuse(struct listeners *old, const char *word, int port)
{
    struct sockaddr_storage want, have;
    socklen_t want_len, have_len;

    if (!parse_address(word, port, &want, &want_len))
        return -1;
    for (unsigned i = 0; i < old->count; i++) {
        int fd = old->fds[i];
        have_len = sizeof have;
        memset(&have, 0, sizeof have);
        if (fd < 0 || old->is_unix[i] || getsockname(fd, (struct sockaddr *)&have, &have_len) != 0)
            continue;
        if (have_len == want_len && memcmp(&have, &want, want_len) == 0) {
            old->fds[i] = -1;
            return fd;
        }
    }
    return -1;
}

static bool add(struct listeners *ls, int fd, bool is_unix)
{
    if (ls->count == LISTENERS_MAX)
        return false;
    ls->fds[ls->count] = fd;
    ls->is_unix[ls->count++] = is_unix;
    return true;
}

static int open_all(struct listeners *now, struct listeners *old, const struct config *c, char *err, size_t err_size)
{
    int port = (int)c->port, backlog = (int)c->tcp_backlog, fd;
    char *words = mem_strndup(c->bind, strlen(c->bind)), *rest = words, *word;
    int rc = 0;

    while (rc == 0 && port > 0 && (word = strtok_r(rest, " ", &rest))) {
        bool optional = *word == '-';
        word += optional;
        fd = reuse(old, word, port);
        if (fd < 0)
            fd = open_tcp(word, port, backlog);
        if (fd >= 0 && !add(now, fd, false)) {
            close(fd);
            fd = -1;
        }
        if (fd < 0 && !(optional && (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT))) {
            snprintf(err, err_size, "Could not create server TCP listening socket %s:%d: bind: %s", word, port,
                     strerror(errno));
            rc = -1;
        }
    }
    mem_free(words);
    return rc;
}

int listeners_open(struct listeners *ls, const struct config *c, char *err, size_t err_size)
{
    struct listeners now = {0}, old;
    int rc, fd;

    pthread_mutex_lock(&ls->lock);
    old = *ls;
    rc = open_all(&now, &old, c, err, err_size);
    for (unsigned i = 0; rc == 0 && i < old.count; i++)
        if (old.is_unix[i]) {
            add(&now, old.fds[i], true);
            old.fds[i] = -1;
        }
    if (rc == 0 && c->unixsocket[0] && !(now.count && now.is_unix[now.count - 1])) {
        fd = listener_unix(c->unixsocket, (int)c->unixsocketperm, (int)c->tcp_backlog, err, err_size);
        rc = fd >= 0 && add(&now, fd, true) ? 0 : -1;
    }
    for (unsigned i = 0; i < LISTENERS_MAX; i++) { /* on failure the new ones go, but not those that were open before */
        bool shared = false;
        if (rc == 0) {
            if (i < old.count && old.fds[i] >= 0)
                close(old.fds[i]);
            continue;
        }
        for (unsigned k = 0; i < now.count && k < ls->count; k++)
            shared |= ls->fds[k] == now.fds[i];
        if (i < now.count && !shared)
            close(now.fds[i]);
    }
    if (rc == 0) {
        memcpy(ls->fds, now.fds, sizeof ls->fds);
        memcpy(ls->is_unix, now.is_unix, sizeof ls->is_unix);
        ls->count = now.count;
    }
    pthread_mutex_unlock(&ls->lock);
    return rc;
}

void listeners_close(struct listeners *ls, const struct config *c)
{
    for (unsigned i = 0; i < ls->count; i++)
        close(ls->fds[i]);
    if (c->unixsocket[0])
        unlink(c->unixsocket);
    ls->count = 0;
    mem_free(ls->allowed);
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
