/* A connection to a primary, used by one thread that waits for it; another may wake that thread. */
#ifndef REPL_PEER_H
#define REPL_PEER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/view.h"

#define PEER_LINE_MAX 1024

struct peer {
    int fd, wakeup;   /* the connection, -1: none; an eventfd */
    struct buf ahead; /* received, and not asked for yet */
    int64_t timeout_ms;
    char error[160];
};

void peer_init(struct peer *p);
void peer_free(struct peer *p);

/* Connects within timeout_ms, which is also how long each of the following waits; from the address `source`, unless that is
 * empty. 0 or -1, and then peer_error. */
int peer_connect(struct peer *p, const char *host, int64_t port, const char *source, int64_t timeout_ms);
void peer_close(struct peer *p);

/* Why the last call failed. */
const char *peer_error(const struct peer *p);

/* Sends a command. */
int peer_send_words(struct peer *p, const struct view *words, size_t n);

/* Reads a line, without its end. */
int peer_line(struct peer *p, char *out, size_t size);

/* Up to n bytes, waiting for one: 0 at the end, -1 with errno on failure. */
ssize_t peer_read(struct peer *p, void *out, size_t n);

/* All n of them: 0 or -1. */
int peer_read_all(struct peer *p, void *out, size_t n);

/* Puts bytes back that were read last. */
void peer_unread(struct peer *p, struct view v);

/* Appends up to max bytes to out, waiting up to wait_ms for the first: their number, 0 when none came, -1 when the connection
 * ended. */
int peer_receive(struct peer *p, struct buf *out, size_t max, int wait_ms);

/* Waits until peer_wake, or for so long (-1: for ever). */
void peer_wait(struct peer *p, int wait_ms);

/* Forgets a peer_wake of before. */
void peer_drain(struct peer *p);

/* Interrupts what the thread waits for. Any thread. */
void peer_wake(struct peer *p);

#endif
