/* Signs requests with AWS Signature Version 4: what a caller does. */
#ifndef CONTROL_AUTH_SIGN_H
#define CONTROL_AUTH_SIGN_H

#include <stdint.h>

#include "base/view.h"
#include "control/auth/canonical.h"

struct buf;

struct sign_key {
    struct view id, secret;
    struct view token; /* of a session; else empty */
};

struct sign_target {
    struct view region, service;
    int64_t time_s; /* wall clock */
};

/* Appends the value of Authorization for a request whose fields (with Host) are all signed, and writes the value of
 * X-Amz-Date, which is signed as well and must be sent along, and so X-Amz-Security-Token with the key's token if there
 * is one. None of these are among the fields. */
void sign_headers(struct buf *authorization, char date[CANONICAL_TIME_MAX], const struct canonical_message *m,
                  struct view body, const struct sign_key *key, const struct sign_target *target);

/* Appends the whole query of a presigned request without a body, m->query included, good for `expires` seconds. All of
 * the fields (with Host) are signed and must be sent. */
void sign_query(struct buf *query, const struct canonical_message *m, int64_t expires, const struct sign_key *key,
                const struct sign_target *target);

#endif
