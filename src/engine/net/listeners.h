/*
 * The sockets that clients connect to, and who may: bind, port, unixsocket, allow-from. Changed by one thread at a time
 * (start, or CONFIG SET with the gate closed).
 *
 * Workers have the listeners in their epoll. One that is taken out of the set stops listening at once, but its
 * descriptor is closed by the last worker that gives it up: a number that is free again may come back as a connection
 * while somebody still takes it for the listener.
 */
#ifndef NET_LISTENERS_H
#define NET_LISTENERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "engine/server/config.h"

#define LISTENERS_MAX 32

struct listener {
    int fd;
    bool is_unix;
    bool retired;      /* no longer in the set */
    unsigned watchers; /* workers that have it */
};

struct listeners {
    pthread_mutex_t lock; /* all but the atomics */
    struct listener *set[LISTENERS_MAX];
    unsigned count;
    struct config_cidr *allowed; /* none: everybody */
    size_t allowed_count;
    atomic_bool allow_set, password_set; /* allow-from, requirepass: for those who may not read the strings */
    _Atomic int64_t files_complained_ms; /* monotonic: when the log last said that accepting fails */
};

void listeners_init(struct listeners *ls);

/* Opens what the configuration says and retires what is not in it any more; on failure everything stays as it was, and
 * err says why. Returns 0 or -1. The workers must be told. */
int listeners_open(struct listeners *ls, const struct config *c, char *err, size_t err_size);

/* Fills out with the set as it is, each to be given back by listeners_unwatch; returns how many. */
unsigned listeners_watch(struct listeners *ls, struct listener *out[LISTENERS_MAX]);
void listeners_unwatch(struct listeners *ls, struct listener *const *watched, unsigned n);

/* Closes everything and removes the unix socket. Nobody watches any more. */
void listeners_close(struct listeners *ls, const struct config *c);

/* Sets the allowed blocks from the configuration's text. */
int listeners_allow(struct listeners *ls, const struct config *c, char *err, size_t err_size);

/* Notes whether the configuration has a password. */
void listeners_note_password(struct listeners *ls, const struct config *c);

/* May that peer connect? Unix sockets always may. */
bool listeners_allowed(struct listeners *ls, const struct sockaddr_storage *peer);

/* A unix socket at path, removed first if it is a stale socket; mode 0 leaves the umask's. Returns the socket, or -1. */
int listener_unix(const char *path, int mode, int backlog, char *err, size_t err_size);

#endif
