/*
 * The texts and keys of AWS Signature Version 4, for those who sign and those who verify. Source: "Create a signed AWS
 * API request" in the IAM User Guide, and what SDKs do where that is silent.
 *
 * Signing is a chain: the canonical request, its hash in the string to sign, and that under a key which is derived from
 * the secret by day, region and service.
 */
#ifndef CONTROL_AUTH_CANONICAL_H
#define CONTROL_AUTH_CANONICAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

struct buf;

#define CANONICAL_ALGORITHM "AWS4-HMAC-SHA256"
#define CANONICAL_HASH 32
#define CANONICAL_HEX 64
#define CANONICAL_TIME_MAX 17 /* "20260830T123600Z" and a NUL */

struct canonical_field {
    struct view name, value;
};

/* A request before it is signed, or without regard to that. */
struct canonical_message {
    struct view method;
    struct view path;  /* as it is sent, encoded */
    struct view query; /* the same, without '?' */
    const struct canonical_field *fields;
    size_t field_count;
};

/* The day, region and service that a signature is for. */
struct canonical_scope {
    struct view date; /* "20260830" */
    struct view region, service;
};

/* Appends the canonical request. signed_headers is "a;b;c" in lower case, sorted; payload the body's hash in
 * hexadecimal, or what stands for it. X-Amz-Signature in the query is left out.
 *
 * The path is normalised (no empty, "." or ".." segments) and then encoded once more, as all services but S3 do. The
 * query's names and values are decoded, encoded in one way, and sorted. '+' in it means a space, as services read
 * it. */
void canonical_put_request(struct buf *out, const struct canonical_message *m, struct view signed_headers,
                           struct view payload);

/* Appends "date/region/service/aws4_request". */
void canonical_put_scope(struct buf *out, const struct canonical_scope *scope);

/* The signature, in lower-case hexadecimal without NUL, of a canonical request at a time ("20260830T123600Z"). */
void canonical_sign(char out[CANONICAL_HEX], struct view secret, struct view time, const struct canonical_scope *scope,
                    struct view request);

/* SHA-256 in lower-case hexadecimal without NUL. */
void canonical_hash(char out[CANONICAL_HEX], struct view v);

/* Seconds since 1970 as "20260830T123600Z". */
void canonical_format_time(char out[CANONICAL_TIME_MAX], int64_t time_s);

/* The reverse, and the form of the Date header: "Sun, 30 Aug 2026 12:36:00 GMT". False: v is no such time. */
bool canonical_parse_time(struct view v, int64_t *time_s);
bool canonical_parse_http_date(struct view v, int64_t *time_s);

#endif
