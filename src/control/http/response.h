/* Responses, and their form on the wire: the one place that writes heads, so that no text can break a line of one. */
#ifndef CONTROL_HTTP_RESPONSE_H
#define CONTROL_HTTP_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"
#include "control/http/request.h"

struct buf;

struct http_response {
    unsigned status;                   /* 200 to 599 */
    struct view content_type;          /* empty: no Content-Type */
    const struct http_header *headers; /* beside Date, Content-Type, Content-Length and Connection */
    size_t header_count;
    struct view body;
};

/* How it is sent. */
struct http_manner {
    unsigned minor; /* of the request: 0 or 1 */
    bool head_only; /* the answer to HEAD */
    bool keep_alive;
    int64_t now_s; /* wall clock */
};

/* Appends head and body. Header names are tokens (asserted); a control character in a value becomes '?'. 204 and 304
 * have no body. */
void http_response_put(struct buf *out, const struct http_response *r, const struct http_manner *manner);

/* The standard phrase of a status, or "". */
const char *http_response_reason(unsigned status);

#endif
