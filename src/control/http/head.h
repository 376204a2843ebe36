/*
 * The head of a request, from the request line to the empty line. Reading it has two steps: http_head_scan looks at
 * every byte once, as it comes, finds the end and refuses at once what can never become a head; http_head_parse then
 * takes the whole head apart.
 *
 * Both are stricter than RFC 9112 asks: lines end with CR LF and nothing else, no line is folded, there is no space
 * before a colon, and every header that decides where the body ends is there once, or not at all. Two readers of one
 * stream of bytes, a proxy and this server, must not find different requests in it.
 *
 * Rejected: the http-parser library. Debian builds its lenient form (HTTP_PARSER_STRICT=0), which takes bare LF, folded
 * lines, "Name :", any transfer coding that ends with "chunked", any version 1.x or 2.x, and any two bytes for the line
 * end behind a chunk. What is to be checked before it gets the bytes is a whole parser. The fuzz target lets it read
 * what was accepted here: both must find the same.
 */
#ifndef CONTROL_HTTP_HEAD_H
#define CONTROL_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/http/request.h"

#define HTTP_LINE_MAX 8192 /* bytes of the request line */
#define HTTP_HEAD_MAX 16384
#define HTTP_HEADERS_MAX 100

enum http_parsed { HTTP_MORE, HTTP_DONE, HTTP_BAD };

/* Why a request is refused. */
struct http_fault {
    unsigned status;
    const char *why; /* one line for the peer, of static storage */
};

/* How far a head was scanned; all zero at its first byte. */
struct http_scan {
    size_t at;      /* the next byte to look at; after HTTP_DONE the length of the head */
    size_t line;    /* where the current line begins */
    unsigned lines; /* complete ones */
    bool cr;        /* the last byte was a CR */
};

/* Looks at the bytes [scan->at, n) of a head that begins at p. HTTP_BAD sets *fault: 400, 414 or 431. */
enum http_parsed http_head_scan(struct http_scan *scan, const char *p, size_t n, struct http_fault *fault);

struct http_head {
    struct http_request request; /* without body, peer and time */
    struct http_header headers[HTTP_HEADERS_MAX];
    uint64_t content_length; /* 0 without one */
    bool chunked;
    bool keep_alive;      /* what the peer wants */
    bool expect_continue; /* it waits for "100 Continue" */
    struct view host;     /* the name or address of Host without port and brackets */
};

/* Takes apart the n bytes of a head that http_head_scan found whole; the views point into it, and `request.headers` at
 * `headers`, so *head stays where it is. False sets *fault: 400, 413, 417, 501 or 505. */
bool http_head_parse(const char *p, size_t n, struct http_head *head, struct http_fault *fault);

#endif
