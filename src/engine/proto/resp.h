/* RESP2, RESP3 and inline requests: the parser, and the writer of replies. Neither knows keys or connections. */
#ifndef PROTO_RESP_H
#define PROTO_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/view.h"
#include "engine/cmd/reply.h"

enum resp_parsed {
    RESP_DONE, /* a request: argv, argc; 0 arguments for an empty line, which is to be skipped */
    RESP_MORE, /* incomplete; nothing is consumed. need: bytes that there must be before it is worth another try */
    RESP_BAD,  /* not the protocol: error is the reply's text, the connection is to be closed */
};

struct resp_limits {
    int64_t max_bulk;   /* longest argument */
    int64_t max_args;   /* most arguments */
    bool authenticated; /* false: at most 10 arguments of 16 KiB */
};

struct resp_request {
    struct view *argv; /* in the arena; the bytes are those of the input */
    int argc;
    size_t consumed;
    size_t need;
    char error[80];
};

struct resp_piece {
    size_t at, n; /* an argument's bytes, from the request's first byte */
};

/* How far a long array was parsed that has not arrived whole, so that each read does not parse it from its start. All
 * zero: not at all. It stands for the request that begins at one place of one input, and is to be freed. */
struct resp_partial {
    struct resp_piece *pieces;
    size_t done, count, cap; /* arguments: parsed, announced, room for */
    size_t at;
};

void resp_partial_free(struct resp_partial *partial);

/* Parses one request from the n bytes at p. Inline arguments with quotes are unescaped into the arena. partial, which
 * may be NULL, is from the call before that returned RESP_MORE for the same p. */
enum resp_parsed resp_parse(const char *p, size_t n, const struct resp_limits *limits, struct arena *arena,
                            struct resp_partial *partial, struct resp_request *out);

/* Bytes that are sent from where they are, behind the first `at` bytes of the writer's buffer. */
struct resp_share {
    size_t at;
    const char *p;
    size_t n;
    void *owner;
    void (*release)(void *owner);
};

/* Replies of one connection that are not sent yet. Owned like the connection. */
struct resp_writer {
    struct reply base;
    struct buf buf; /* its off: bytes sent */
    struct resp_share *shares;
    unsigned share_count, share_cap;
    size_t shared_bytes; /* not sent yet */
};

void resp_writer_init(struct resp_writer *w);

/* Drops what is not sent. */
void resp_writer_free(struct resp_writer *w);

/* Appends everything of `from`, which is empty afterwards. */
void resp_writer_move(struct resp_writer *to, struct resp_writer *from);

/* Cuts off what was written since buf.len was `mark` and there were `shares` shares (CLIENT REPLY OFF). */
void resp_writer_cut(struct resp_writer *w, size_t mark, unsigned shares);

/* Bytes that wait to be sent. */
static inline size_t resp_pending(const struct resp_writer *w)
{
    return buf_live(&w->buf) + w->shared_bytes;
}

/* Fills iov with what comes next, at most max entries; returns how many. */
struct iovec;
int resp_gather(const struct resp_writer *w, struct iovec *iov, int max);

/* n of those bytes were sent. */
void resp_sent(struct resp_writer *w, size_t n);

#endif
