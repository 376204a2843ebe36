/*
 * The sockets that clients connect to, and who may. There are the server's own listeners (bind, port, unixsocket;
 * changed by one thread at a time: start, or CONFIG SET with the gate closed), and those that an agent passes over the
 * admin socket, which have names and belong to the agent: others may go on accepting from them.
 *
 * Workers have the listeners in their epoll. One that is taken out of the set leaves every epoll at once, but its
 * descriptor is closed by the last worker that gives it up: a number that is free again may come back as a connection
 * while somebody still takes it for the listener. One of our own is shut down, so that its address is free at once. One
 * that was passed never is, because that would end it for everybody; when listeners_withdraw returns, nobody here
 * accepts from it or is woken by it any more, so what waits in its queue is left to whoever has it next.
 */
#ifndef NET_LISTENERS_H
#define NET_LISTENERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/view.h"
#include "engine/server/config.h"
#include "engine/store/thread.h"

#define LISTENERS_MAX 32
#define LISTENERS_PASSED_MAX 12 /* the others are left for 16 addresses of bind, and the unix socket */
#define LISTENER_NAME_MAX 32    /* with its NUL */
#define LISTENER_ADDRESS_MAX 64

/* Lives while it is in the set, a worker watches it, or a connection came through it. */
struct listener {
    struct listener *next; /* of all that live */
    int fd;                /* -1 when the last watcher has closed it */
    bool is_unix;
    bool passed;
    atomic_bool retired;                /* no longer in the set */
    atomic_bool cut;                    /* its connections are to close */
    unsigned watchers;                  /* workers that have it */
    atomic_uint accepting;              /* threads that are about to accept from it */
    atomic_uint connections;            /* that came through it and are open */
    _Atomic uint64_t accepted;          /* connections that ever came through it */
    char name[LISTENER_NAME_MAX];       /* "bind" and "unixsocket" for our own */
    char address[LISTENER_ADDRESS_MAX]; /* "127.0.0.1:6379", or "" for a unix socket */
};

struct listeners {
    pthread_mutex_t lock; /* all but the atomics */
    struct listener *set[LISTENERS_MAX];
    unsigned count;
    struct listener *all;
    int epolls[THREAD_MAX]; /* of the workers */
    unsigned epoll_count;
    struct config_cidr *allowed; /* then those that may only log in as replicas */
    size_t allowed_count, replica_count;
    bool replicas_named; /* else whoever is not allowed may log in as one */
    bool restricted;     /* only `allowed` may connect; else everybody */
    /* `restricted`, and whether there is a requirepass and a replication-secret: for those who may not read them */
    atomic_bool allow_set, password_set, secret_set;
    _Atomic int64_t files_complained_ms; /* monotonic: when the log last said that accepting fails */
};

void listeners_init(struct listeners *ls);

/* Opens what the configuration says and retires what is not in it any more; what was passed stays. On failure
 * everything stays as it was, and err says why. Returns 0 or -1. The workers must be told. */
int listeners_open(struct listeners *ls, const struct config *c, char *err, size_t err_size);

/* Closes everything and removes the unix socket. No worker and no connection is left. */
void listeners_close(struct listeners *ls, const struct config *c);

/* ---- passed ones: the workers must be told after each change ---- */

/* Takes the socket over under that name: 1 to 31 lower-case letters, digits and hyphens. One that had the name before
 * leaves, unless it is the same socket. On failure returns -1 and a reason, and the socket stays the caller's. */
int listeners_pass(struct listeners *ls, struct view name, int fd, char *err, size_t err_size);

/* Takes the listener of that name out of the set, and waits until nobody accepts from it: as long as one accept(2)
 * takes, since no one sleeps in it. fd: gets a descriptor of the same socket, the caller's; may be NULL. Returns 0, or a
 * negative errno value: -ENOENT when there is none, or why the descriptor cannot be had; nothing has changed then. */
int listeners_withdraw(struct listeners *ls, struct view name, int *fd);

/* Marks all listeners that had that name and left: the connections that came through them must close. False when there
 * is none. */
bool listeners_cut(struct listeners *ls, struct view name);

/* Calls fn for each listener of the set, under the lock. */
void listeners_each(struct listeners *ls, void (*fn)(void *arg, const struct listener *l), void *arg);

/* ---- for workers ---- */

/* Says which epoll retired listeners are to be taken out of. Before the first worker runs. */
void listeners_add_epoll(struct listeners *ls, int epoll);

/* Fills out with the set as it is, each to be given back by listeners_unwatch; returns how many. */
unsigned listeners_watch(struct listeners *ls, struct listener *out[LISTENERS_MAX]);
void listeners_unwatch(struct listeners *ls, struct listener *const *watched, unsigned n);

/* Puts a watched listener into an epoll, unless it has left the set. */
void listeners_hear(struct listeners *ls, const struct listener *l, int epoll, void *tag);

/* accept4(2) from a watched listener, not blocking; the connection counts as one of its own until listener_release. -1
 * with errno; EAGAIN also when it has left the set. */
int listener_accept(struct listener *l, struct sockaddr_storage *peer);
void listener_release(struct listeners *ls, struct listener *l);

/* ---- who may connect ---- */

/* Sets the allowed blocks from the configuration's text; none means everybody. */
int listeners_allow(struct listeners *ls, const struct config *c, char *err, size_t err_size);

/* Sets them: only the first n may connect, and the `replicas` behind them to log in as a replica; when those are not named,
 * everybody may for that. Copies the blocks. */
void listeners_restrict(struct listeners *ls, const struct config_cidr *blocks, size_t n, size_t replicas, bool named);

/* Notes whether the configuration has passwords. */
void listeners_note_passwords(struct listeners *ls, const struct config *c);

/* May that peer connect? Unix sockets always may. */
bool listeners_allowed(struct listeners *ls, const struct sockaddr_storage *peer);

/* May it come to log in as a replica, if there is a secret for that? */
bool listeners_allowed_replica(struct listeners *ls, const struct sockaddr_storage *peer);

/* "127.0.0.1:6379", "[::1]:6379", or "path:0" for a unix socket. */
void listener_describe(const struct sockaddr_storage *sa, const char *path, char *out, size_t size);

/* A unix socket at path, removed first if it is a stale socket; mode 0 leaves the umask's. Returns the socket, or -1. */
int listener_unix(const char *path, int mode, int backlog, char *err, size_t err_size);

#endif
