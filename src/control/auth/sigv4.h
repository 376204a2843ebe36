/*
 * Verifies requests that are signed with AWS Signature Version 4, in the Authorization header or in the query
 * (presigned URLs). Refusals read as those of AWS's services do, since people search for these sentences.
 *
 * What a signature must cover: the method, the path, the query, the body (or, where the policy lets callers do so, they
 * say UNSIGNED-PAYLOAD), Host, and every x-amz-* header. It is good for 15 minutes to either side of its time, or, for
 * a presigned URL, until it expires.
 *
 * Guessing. Signatures and tokens are compared in constant time. A key id that does not exist costs the same work as
 * one that does. For that reason derived keys are not kept: a cache would tell by its speed which keys are in use, to
 * save some microseconds.
 */
#ifndef CONTROL_AUTH_SIGV4_H
#define CONTROL_AUTH_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"
#include "control/http/request.h"

struct buf;

enum sigv4_result {
    SIGV4_OK,
    SIGV4_MISSING,       /* there is no signature */
    SIGV4_INCOMPLETE,    /* it has not all its parts, or one is malformed */
    SIGV4_UNKNOWN_KEY,   /* no such access key, or not with this session token */
    SIGV4_MISMATCH,      /* another signature would be right, or not for this scope, or not now */
    SIGV4_EXPIRED_TOKEN, /* of a session that is over */
};

/* Codes differ by the protocol of the service. */
enum sigv4_dialect { SIGV4_QUERY, SIGV4_EC2, SIGV4_JSON };

struct sigv4_refusal {
    unsigned status;     /* of HTTP */
    const char *code;    /* AWS's error code */
    const char *message; /* the dialect's own sentence, or NULL: the one of sigv4_verify */
};

/* How a result other than SIGV4_OK is answered. */
struct sigv4_refusal sigv4_refusal(enum sigv4_result result, enum sigv4_dialect dialect);

struct sigv4_key {
    struct view secret;
    struct view token; /* of a session; empty for a lasting key */
    int64_t expires_s; /* of a session, wall clock */
};

/* Finds an access key; the views in *key last until sigv4_verify returns. False: there is none. */
typedef bool sigv4_lookup_fn(void *arg, struct view access_key, struct sigv4_key *key);

struct sigv4_policy {
    sigv4_lookup_fn *lookup;
    void *lookup_arg;
    const char *const *services; /* those that a signature may be for, with a NULL behind them; NULL: any */
    const char *region;          /* the same for the region; NULL: any */
    bool unsigned_payload;       /* x-amz-content-sha256 may be UNSIGNED-PAYLOAD */
};

#define SIGV4_NAME_MAX 128

/* Who called. All of it was signed. */
struct sigv4_caller {
    char access_key[SIGV4_NAME_MAX + 1];
    char region[SIGV4_NAME_MAX + 1], service[SIGV4_NAME_MAX + 1];
    bool session;
    bool presigned;
    bool body_signed; /* false: UNSIGNED-PAYLOAD */
};

/* Verifies r at the time now_s (wall clock). *caller is filled only when it is good; else a sentence for the peer,
 * which may quote the request, is appended to *message. */
enum sigv4_result sigv4_verify(const struct sigv4_policy *policy, const struct http_request *r, int64_t now_s,
                               struct sigv4_caller *caller, struct buf *message);

#endif
