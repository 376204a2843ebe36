/*
 * The chunked transfer coding (RFC 9112, 7.1), without chunk extensions and trailers: no AWS client sends them, and
 * what is refused cannot be misread.
 */
#ifndef CONTROL_HTTP_CHUNKED_H
#define CONTROL_HTTP_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

#include "control/http/head.h"

enum http_chunked_state {
    HTTP_CHUNK_SIZE, /* all zero is the state before the first chunk */
    HTTP_CHUNK_SIZE_LF,
    HTTP_CHUNK_DATA,
    HTTP_CHUNK_DATA_CR,
    HTTP_CHUNK_DATA_LF,
    HTTP_CHUNK_END_CR,
    HTTP_CHUNK_END_LF,
};

struct http_chunked {
    enum http_chunked_state state;
    unsigned digits; /* of the size that is being read */
    uint64_t left;   /* of the chunk */
    uint64_t total;  /* of all chunks that were announced */
};

/* Takes bytes of a body of at most `max` bytes; *taken says how many. At most one run of data is found, and *data views
 * it. HTTP_MORE with *taken == n: the next bytes are needed; else call again with the rest. HTTP_DONE: *taken ends the
 * body. HTTP_BAD sets *fault: 400 or 413. */
enum http_parsed http_chunked_take(struct http_chunked *d, const char *p, size_t n, uint64_t max, size_t *taken,
                                   struct view *data, struct http_fault *fault);

#endif
