/*
 * The HTTP server: HTTP/1.1 and 1.0 on libevent's loop, for one thread. It gives whole requests to a handler, which
 * answers now or later.
 *
 * What a peer can take is bounded: bytes of a head (head.h), of a body, of an answer that it does not read; the time
 * for each of them; and the connections of all peers together. When all places are taken, a newcomer gets that of the
 * connection that has been between two requests for longest, or, when there is none, of the one that has been sending a
 * request for longest, if that is more than a second: idle and slow peers do not keep others out.
 *
 * Hosts. A request is served only when its Host names one of the allowed names: a page in a browser that made its own
 * name lead to this server's address (DNS rebinding) gets 421. Nothing is allowed from the start. A request of HTTP/1.0
 * without Host passes: browsers do not send such.
 *
 * Lifetime. An exchange belongs to the handler from the call until http_reply, whatever happens to the connection or to
 * the server meanwhile. Nothing is freed, and no handler called, inside of http_reply.
 *
 * Rejected: evhttp, which takes two Content-Length headers and NUL in headers and knows no deadline but one of idle
 * time; noticing, before the answer is ready, that the peer has gone, as a peer that closed only its sending side looks
 * the same.
 */
#ifndef CONTROL_HTTP_SERVER_H
#define CONTROL_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"
#include "control/http/request.h"
#include "control/http/response.h"

struct event_base;
struct http_server;
struct http_exchange;

struct http_limits {
    unsigned connections;
    size_t body;        /* bytes of a request's body */
    size_t reply;       /* bytes of an answer's body; a longer one is replaced by a 500 */
    int64_t head_ms;    /* from the first byte of a request to the end of its head */
    int64_t request_ms; /* to the end of its body */
    int64_t idle_ms;    /* between requests */
    int64_t write_ms;   /* for the peer to take an answer */
    int64_t linger_ms;  /* for the peer to close after the last answer, while what it still sends is thrown away */
};

/* 2048 connections; bodies of 1 MiB, answers of 16 MiB; 10, 60, 60, 60 and 2 seconds. */
struct http_limits http_limits_default(void);

/* A request has arrived whole. Exactly one http_reply must follow, in the call or at any later time. */
typedef void http_handler_fn(void *arg, struct http_exchange *x);

/* What the access log may know of an answered or refused request. The views are valid during the call. */
struct http_access {
    const char *peer;
    struct view method; /* "-" when the request line was not understood, and so the target */
    struct view target; /* without secrets: http_request_put_target */
    unsigned status;
    uint64_t bytes;   /* that were sent, head included */
    int64_t micros;   /* from the request's first byte to the end of the answer */
    bool complete;    /* the whole answer was given to the kernel */
    struct view note; /* http_exchange_note; empty for none */
};
typedef void http_access_fn(void *arg, const struct http_access *access);

/* A server that listens nowhere. limits NULL: the default. base outlives the server. */
struct http_server *http_server_new(struct event_base *base, const struct http_limits *limits, http_handler_fn *handler,
                                    void *arg);

/* Closes everything at once; accepts NULL. Exchanges that wait for http_reply still need it. Not inside a handler. */
void http_server_free(struct http_server *s);

/* Allows a host: a name, or an address without brackets, and without a port, as any port passes. */
void http_server_allow_host(struct http_server *s, struct view name);

/* Called after each answer; NULL for none. */
void http_server_on_access(struct http_server *s, http_access_fn *fn, void *arg);

#define HTTP_ADDRESS_MAX 64 /* bytes that fit an address with its port, and a NUL */
#define HTTP_ERROR_MAX 160

/* Listens on "127.0.0.1:8000" or "[::1]:8000", also on several, one call each; port 0 takes a free one. Returns 0 with
 * the address in `bound` (may be NULL), or a negative errno value with a line for people in `error` (may be NULL). */
int http_server_listen(struct http_server *s, const char *address, char bound[HTTP_ADDRESS_MAX],
                       char error[HTTP_ERROR_MAX]);

/* An orderly end: stops listening, closes what is between or within requests, lets every answer be finished. `done` is
 * called from the loop once no connection is left; it may free the server. */
void http_server_stop(struct http_server *s, void (*done)(void *arg), void *arg);

/* Connections there are. */
unsigned http_server_connections(const struct http_server *s);

/* Valid until http_reply. */
const struct http_request *http_exchange_request(const struct http_exchange *x);

#define HTTP_NOTE_MAX 160

/* Has the access log say that of the exchange; what is longer than HTTP_NOTE_MAX is cut. Before http_reply. */
void http_exchange_note(struct http_exchange *x, struct view note);

/* Answers, once; *r and what it views are copied. If the peer or the server has gone, the answer is dropped. x must not
 * be used afterwards. */
void http_reply(struct http_exchange *x, const struct http_response *r);

/* The same with a status, a type and a body. */
void http_reply_text(struct http_exchange *x, unsigned status, struct view content_type, struct view body);

#endif
