/*
 * How connections come to a worker: its listeners, who is let in, and those that have not logged in yet.
 *
 * A stranger is a connection that must log in and has not. There are STRANGERS_MAX of them at most, and who comes then
 * takes the place of the oldest: refusing the newcomer would let a crowd that never logs in keep everybody else out.
 * "The oldest" is that of the worker that takes the newcomer, since connections are spread evenly; a worker that has no
 * other stranger lets it in beyond the limit.
 */
#ifndef NET_ACCEPT_H
#define NET_ACCEPT_H

#include <stdbool.h>
#include <stdint.h>

struct listener;
struct listeners;
struct sockaddr_storage;
struct worker;

struct stranger {
    uint32_t slot;
    uint64_t id;
};

/* A worker's strangers in order of acceptance. Those that closed or logged in stay until accept_tick. */
struct strangers {
    struct stranger *list;
    uint32_t first, count, cap;
};

/* Takes the set of listeners as it is now into epoll. */
void accept_listen(struct worker *w);

/* Gives the listeners back: the worker ends. */
void accept_end(struct worker *w);

/* A listener is readable. */
void accept_some(struct worker *w, int fd);

/* Takes over a connection that another worker accepted from l. */
void accept_adopt(struct worker *w, int fd, struct listener *l);

/* After accepting failed for want of files or memory: tries again from the next turn on. */
void accept_retry(struct worker *w);

/* Lets strangers go on that waited after a failed login; returns how many of them are still held. */
unsigned accept_tick(struct worker *w);

/* May that peer connect? outsider: only to log in as a replica. */
bool accept_may_stay(struct listeners *ls, const struct sockaddr_storage *peer, bool *outsider);

#endif
