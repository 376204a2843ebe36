/*
 * A connection's way through its requests, and the server as connections see it: for server.c and connection.c alone.
 *
 *     IDLE -> HEAD -> BODY -> ANSWERING -> WRITING -> IDLE, or LINGERING -> DEAD
 *
 * A connection reads in IDLE, HEAD, BODY and LINGERING only, so one that sends a second request before the first is
 * answered waits in the kernel's buffers. It serves one request per turn of the loop. A dead one has left its place and
 * its lists but for `dead`, and is freed in the server's next turn (connection_turn), never inside a callback.
 */
#ifndef CONTROL_HTTP_CONNECTION_H
#define CONTROL_HTTP_CONNECTION_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "control/http/chunked.h"
#include "control/http/head.h"
#include "control/http/server.h"

enum connection_state {
    CONNECTION_IDLE,
    CONNECTION_HEAD,
    CONNECTION_BODY,
    CONNECTION_ANSWERING, /* the handler has the exchange */
    CONNECTION_WRITING,
    CONNECTION_LINGERING, /* nothing more is sent; waits for the peer's end */
    CONNECTION_DEAD,
};

/* Names a connection over time: a place, and which of its tenants. */
struct connection_id {
    uint32_t place, generation;
};

struct connection {
    struct http_server *server;
    struct connection_id id;
    enum connection_state state;
    int fd;
    TAILQ_ENTRY(connection) link;  /* in the server's list for its state */
    TAILQ_ENTRY(connection) ready; /* in the server's `ready`, if is_ready */
    bool is_ready;
    bool keep_alive; /* after the current answer */
    struct event readable, writable, deadline;
    struct buf in, out;
    struct http_scan scan;
    struct http_chunked chunked;
    struct http_exchange *exchange; /* owned, but in ANSWERING */
    int64_t began_us;               /* monotonic: the first byte of the request, or the start of being idle */
    uint64_t sent;                  /* bytes of the current answer */
    unsigned status;                /* of the current answer */
    uint64_t discarded;             /* bytes, while lingering */
    char peer[HTTP_ADDRESS_MAX];
};

TAILQ_HEAD(connection_list, connection);

struct http_exchange {
    struct http_server *server; /* NULL once that was freed */
    struct connection_id id;
    TAILQ_ENTRY(http_exchange) link; /* in the server's `exchanges` */
    bool replied;
    char *bytes; /* the head's */
    struct buf body;
    struct http_head head;
    char peer[HTTP_ADDRESS_MAX];
    char note[HTTP_NOTE_MAX];
    size_t note_size;
};

TAILQ_HEAD(exchange_list, http_exchange);

struct connection_place {
    struct connection *connection; /* NULL when it is free */
    uint32_t generation;
};

struct http_listener;

struct http_server {
    struct event_base *base;
    struct http_limits limits;
    http_handler_fn *handler;
    void *handler_arg;
    http_access_fn *access;
    void *access_arg;
    struct http_listener *listeners;
    char **hosts; /* in lower case */
    size_t host_count;
    struct connection_place *places; /* limits.connections of them */
    uint32_t *free_places;           /* a stack */
    unsigned free_count;
    struct connection_list idle;      /* IDLE and LINGERING, in the order of getting there */
    struct connection_list receiving; /* HEAD and BODY, in the order of their first bytes */
    struct connection_list busy;      /* ANSWERING and WRITING */
    struct connection_list ready;     /* to be looked at in the next turn */
    struct connection_list dead;      /* to be freed in the next turn */
    struct exchange_list exchanges;
    struct event turn;
    bool stopping;
    void (*done)(void *arg);
    void *done_arg;
};

/* Takes a free place for an accepted socket, which it then owns. There must be one. */
void connection_open(struct http_server *s, int fd, const char *peer);

/* Closes without a word. An exchange that the handler has is its own now. */
void connection_close(struct connection *c);

/* Has the server's turn come round. */
void connection_schedule_turn(struct http_server *s);

/* Goes on with connections that are ready, and frees dead ones. */
void connection_turn(struct http_server *s);

#endif
