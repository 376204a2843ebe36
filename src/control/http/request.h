/* A request as handlers see it: what the head said, and the whole body. All views point into one exchange's memory. */
#ifndef CONTROL_HTTP_REQUEST_H
#define CONTROL_HTTP_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

struct http_header {
    struct view name; /* as it was written: compare without regard to case */
    struct view value;
};

struct http_request {
    struct view method; /* one of GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH */
    struct view target; /* of the request line, as it was sent; every '%' in it has its two digits */
    struct view path;   /* of the target, still encoded; begins with '/' */
    struct view query;  /* behind the '?', still encoded; empty when there is none */
    struct view host;   /* Host as it was sent, with its port; empty in HTTP/1.0 without one */
    unsigned minor;     /* HTTP/1.minor: 0 or 1 */
    const struct http_header *headers;
    size_t header_count;
    struct view body;
    const char *peer;    /* "127.0.0.1:51234", "[::1]:51234" */
    int64_t received_us; /* wall clock, of the first byte */
};

/* The value of the first header of that name, or a view whose pointer is NULL. */
struct view http_header(const struct http_request *r, struct view name);

/* How many headers have that name. */
size_t http_header_count(const struct http_request *r, struct view name);

/* Appends the target as it may stand in a log: the path, and the names of the query's parameters, with values of Action
 * and Version only, since any other may be a password or a signature. At most `limit` bytes; "..." marks a cut. */
struct buf;
void http_request_put_target(struct buf *out, const struct http_request *r, size_t limit);

#endif
