/*
 * One call of the API, as its handler sees it. A handler finds its request complete and valid, looks records up in the
 * model, changes them in the call's transaction, and fills its result in; or it fails with an error of its service and
 * a text. Who answers (api/front.h) commits or takes back what it changed.
 */
#ifndef CONTROL_API_CALL_H
#define CONTROL_API_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/view.h"
#include "control/model/model.h"
#include "control/shape/service.h"

struct secrets;
struct sessions;

/* What all calls share. */
struct api {
    struct model *model;
    struct secrets *secrets;
    struct sessions *sessions;
    struct view partition; /* "aws" */
    struct view dns_suffix;
    bool plain_addresses; /* endpoints read as addresses, not as names */
    bool strict_memory;   /* nodes that the host has no memory for are refused; else there is an event that says so */
    uint64_t host_memory; /* bytes */
    /* Something was committed: the world is to be moved towards it. */
    void (*changed)(void *arg);
    void *changed_arg;
};

struct api_call {
    const struct api *api;
    const struct service *service;
    const struct service_action *action;
    struct model *model;
    const struct account *account;
    struct arena *arena; /* lives until the answer is written: for what a result refers to */
    int64_t now_ms;      /* wall clock */
    struct txn *txn;     /* NULL until call_txn */
    struct buf message;  /* why it failed */
};

/* The call's transaction; begun by the first to ask. */
struct txn *call_txn(struct api_call *c);

/* Fails with an error of the service and a sentence; returns the error: `return call_fail(c, ELASTICACHE_..., "...")`. */
int call_fail(struct api_call *c, int error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* A text, or memory, that lives as long as the call. */
struct view call_text(struct api_call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void *call_zalloc(struct api_call *c, size_t n);

/* For printf's "%.*s". */
#define CALL_TEXT(v) (int)(v).n, (v).p

/* The ARN of a resource of ElastiCache ("cluster", "replicationgroup", "subnetgroup", "parametergroup" ...), and of EC2
 * ("vpc", "subnet", "security-group" ...). */
struct view call_arn(struct api_call *c, const char *kind, struct view id);
struct view call_ec2_arn(struct api_call *c, const char *kind, struct view id);

/* An id as EC2 makes them: the prefix, which ends with a hyphen, and 17 random hexadecimal digits. */
struct view call_new_id(struct api_call *c, const char *prefix);

/* Records an event, in the call's transaction. */
void call_event(struct api_call *c, const char *source_type, struct view source, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/*
 * A page of records that are ordered by id. Begun with the marker that the caller sent (p == NULL: from the start) and the
 * most it wants; page_take is asked for each record that fits the request, in order, and answers whether it belongs onto the
 * page. page_marker is what the answer says: p == NULL when nothing is left.
 */
struct page {
    struct view after; /* ids up to here were on earlier pages; p == NULL: none */
    struct view last;
    size_t taken, limit;
    bool more;
};

/* False when the marker is none that was given out. */
bool page_begin(struct page *p, struct api_call *c, struct view marker, int64_t limit);
bool page_take(struct page *p, struct view id);
struct view page_marker(const struct page *p, struct api_call *c);

#endif
