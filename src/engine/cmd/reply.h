/*
 * Replies in the terms of commands: a protocol implements struct reply_ops, and no handler knows which one it writes
 * to. Null, booleans, doubles, maps and sets are written as RESP3 has them and turn into RESP2's stand-ins there.
 */
#ifndef CMD_REPLY_H
#define CMD_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"
#include "engine/cmd/errors.h"

struct reply;

struct reply_ops {
    void (*bulk)(struct reply *r, const char *p, size_t n);
    void (*bulk_shared)(struct reply *r, const char *p, size_t n, void *owner, void (*release)(void *owner));
    void (*status)(struct reply *r, const char *p, size_t n);
    void (*error)(struct reply *r, const char *p, size_t n);
    void (*integer)(struct reply *r, int64_t v);
    void (*null)(struct reply *r);
    void (*null_array)(struct reply *r);
    void (*boolean)(struct reply *r, bool v);
    void (*real)(struct reply *r, double v);
    void (*verbatim)(struct reply *r, const char *p, size_t n, const char ext[4]);
    void (*aggregate)(struct reply *r, char kind, size_t n); /* '*' array, '%' map of n pairs, '~' set, '>' push */
    size_t (*mark)(struct reply *r);
    void (*insert)(struct reply *r, size_t mark, char kind, size_t n); /* an aggregate header before what came since */
    void (*raw)(struct reply *r, const char *p, size_t n);             /* bytes already framed */
};

/* A protocol's writer begins with this. */
struct reply {
    const struct reply_ops *ops;
    uint8_t resp;    /* 2 or 3 */
    uint64_t errors; /* error replies written so far */
    /* Told of every error, with its text; may be NULL. */
    void (*on_error)(void *arg, struct view text);
    void *on_error_arg;
};

/* Values of at least this many bytes are sent from where they are instead of being copied. */
#define REPLY_SHARE_MIN 16384

static inline void reply_bulk(struct reply *r, struct view v)
{
    r->ops->bulk(r, v.p, v.n);
}

/* The bytes stay with owner until they are sent or dropped; then release(owner) is called, on any thread. */
static inline void reply_bulk_shared(struct reply *r, struct view v, void *owner, void (*release)(void *owner))
{
    r->ops->bulk_shared(r, v.p, v.n, owner, release);
}

static inline void reply_bulk_str(struct reply *r, const char *s)
{
    r->ops->bulk(r, s, strlen(s));
}

/* A decimal number as a bulk string. */
void reply_bulk_integer(struct reply *r, int64_t v);

/* No CR or LF may stand in it. */
static inline void reply_status(struct reply *r, const char *s)
{
    r->ops->status(r, s, strlen(s));
}

static inline void reply_ok(struct reply *r)
{
    r->ops->status(r, LIT("OK"));
}

static inline void reply_integer(struct reply *r, int64_t v)
{
    r->ops->integer(r, v);
}

static inline void reply_null(struct reply *r)
{
    r->ops->null(r);
}

/* RESP2 "*-1", RESP3 "_". */
static inline void reply_null_array(struct reply *r)
{
    r->ops->null_array(r);
}

/* RESP2 :0 and :1. */
static inline void reply_boolean(struct reply *r, bool v)
{
    r->ops->boolean(r, v);
}

static inline void reply_double(struct reply *r, double v)
{
    r->ops->real(r, v);
}

/* ext: "txt" or "mkd". RESP2: a bulk string. */
static inline void reply_verbatim(struct reply *r, struct view v, const char ext[4])
{
    r->ops->verbatim(r, v.p, v.n, ext);
}

static inline void reply_array(struct reply *r, size_t n)
{
    r->ops->aggregate(r, '*', n);
}

/* n pairs; RESP2: an array of 2n. */
static inline void reply_map(struct reply *r, size_t n)
{
    r->ops->aggregate(r, '%', n);
}

/* RESP2: an array. */
static inline void reply_set(struct reply *r, size_t n)
{
    r->ops->aggregate(r, '~', n);
}

/* For aggregates whose length is known only at the end: mark, write the elements, then insert. */
static inline size_t reply_mark(struct reply *r)
{
    return r->ops->mark(r);
}

static inline void reply_insert(struct reply *r, size_t mark, char kind, size_t n)
{
    r->ops->insert(r, mark, kind, n);
}

/* A reply that goes nowhere; errors are counted. */
void reply_sink_init(struct reply *r);

/* One of the messages of cmd/errors.h, with its arguments. CR and LF in the text become spaces. */
void reply_error(struct reply *r, enum error_id id, ...);

/* A message made elsewhere, with its code: "ERR ...". CR and LF become spaces. */
void reply_error_text(struct reply *r, const char *text);

#endif
