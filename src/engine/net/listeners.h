/* The sockets that clients connect to, and who may: bind, port, unixsocket, allow-from. Changed by one thread at a time
 * (start, or CONFIG SET with the gate closed). */
#ifndef NET_LISTENERS_H
#define NET_LISTENERS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "engine/server/config.h"

#define LISTENERS_MAX 32

struct listeners {
    pthread_mutex_t lock;
    int fds[LISTENERS_MAX];
    bool is_unix[LISTENERS_MAX];
    unsigned count;
    struct config_cidr *allowed; /* none: everybody */
    size_t allowed_count;
};

void listeners_init(struct listeners *ls);

/* Opens what the configuration says and closes what was open before; on failure everything stays as it was, and err
 * says why. Returns 0 or -1. */
int listeners_open(struct listeners *ls, const struct config *c, char *err, size_t err_size);

/* Closes everything and removes the unix socket. */
void listeners_close(struct listeners *ls, const struct config *c);

/* Sets the allowed blocks from the configuration's text. */
int listeners_allow(struct listeners *ls, const struct config *c, char *err, size_t err_size);

/* May that peer connect? Unix sockets always may. */
bool listeners_allowed(struct listeners *ls, const struct sockaddr_storage *peer);

/* A unix socket at path, removed first if it is a stale socket; mode 0 leaves the umask's. Returns the socket, or -1. */
int listener_unix(const char *path, int mode, int backlog, char *err, size_t err_size);

#endif
