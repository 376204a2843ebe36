/*
 * The steps follow each other as they do at AWS, for callers meet the errors in that order: find the signature and its
 * parts, the credential's scope, the time, what is signed, the payload, and only then the key and the signature itself.
 */
#include "control/auth/sigv4.h"

#include <openssl/crypto.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/num.h"
#include "control/auth/canonical.h"
#include "control/auth/uri.h"

#define SKEW_S 900
#define EXPIRES_MAX_S 604800
#define EXPIRES_DEFAULT_S 900 /* of a presigned request that does not say */
#define SIGNED_HEADERS_MAX 128
#define QUOTED_MAX 256 /* bytes of the request that a message quotes */

/* What a signed request says of its signature; the views point into it or into the arena. */
struct claim {
    struct arena arena;
    bool presigned;
    struct view algorithm, credential, signed_headers, signature;
    struct view access_key;
    struct canonical_scope scope;
    struct view token;
    int64_t time_s;
    int64_t expires_s; /* of a presigned one: seconds that it is good for */
    char time[CANONICAL_TIME_MAX];
    char body_hash[CANONICAL_HEX];
    struct view payload; /* as it stands in the canonical request */
};

#define QUOTE(v) (int)((v).n < QUOTED_MAX ? (v).n : QUOTED_MAX), (v).n == 0 ? "" : (v).p

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

struct sigv4_refusal sigv4_refusal(enum sigv4_result result, enum sigv4_dialect dialect)
{
    static const char ec2_sentence[] = "AWS was not able to validate the provided access credentials";
    static const struct sigv4_refusal refusals[][3] = {
        [SIGV4_OK] = {{200, "", NULL}, {200, "", NULL}, {200, "", NULL}},
        [SIGV4_MISSING] = {{403, "MissingAuthenticationToken", NULL},
                           {401, "AuthFailure", ec2_sentence},
                           {400, "MissingAuthenticationTokenException", NULL}},
        [SIGV4_INCOMPLETE] = {{400, "IncompleteSignature", NULL},
                              {400, "IncompleteSignature", NULL},
                              {400, "IncompleteSignatureException", NULL}},
        [SIGV4_UNKNOWN_KEY] = {{403, "InvalidClientTokenId", NULL},
                               {401, "AuthFailure", ec2_sentence},
                               {400, "UnrecognizedClientException", NULL}},
        [SIGV4_MISMATCH] = {{403, "SignatureDoesNotMatch", NULL},
                            {403, "SignatureDoesNotMatch", NULL},
                            {400, "InvalidSignatureException", NULL}},
        [SIGV4_EXPIRED_TOKEN] = {{403, "ExpiredToken", NULL},
                                 {400, "RequestExpired", "Request has expired."},
                                 {400, "ExpiredTokenException", NULL}},
    };

    return refusals[result][dialect];
}

/* ---- where signatures are ---------------------------------------------------------------------------------------- */

static struct view decode(struct arena *arena, struct view v)
{
    struct buf text = {0};
    struct view decoded;

    uri_decode(&text, v);
    decoded = buf_view(&text);
    decoded.p = decoded.n == 0 ? "" : memcpy(arena_alloc(arena, decoded.n), decoded.p, decoded.n);
    buf_free(&text);
    return decoded;
}

/* The query's parameter of that name, decoded; returns how often it is there, of which the first is taken. */
static size_t find_parameter(struct claim *claim, struct view query, struct view name, struct view *value)
{
    struct view found, found_value;
    size_t count = 0;

    while (uri_next_parameter(&query, &found, &found_value)) {
        if (!view_equal(decode(&claim->arena, found), name))
            continue;
        if (count++ == 0)
            *value = decode(&claim->arena, found_value);
    }
    return count;
}

static struct view trim(struct view v)
{
    while (v.n > 0 && (*v.p == ' ' || *v.p == '\t'))
        v = view_of(v.p + 1, v.n - 1);
    while (v.n > 0 && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t'))
        v.n--;
    return v;
}

/* Takes what stands before the first `c`, and it, off *v; the whole of it when there is none. */
static struct view take_until(struct view *v, char c)
{
    const char *found = v->n == 0 ? NULL : memchr(v->p, c, v->n);
    struct view taken = view_of(v->p, found == NULL ? v->n : (size_t)(found - v->p));

    *v = found == NULL ? view_of(NULL, 0) : view_of(found + 1, v->n - taken.n - 1);
    return taken;
}

static enum sigv4_result parse_authorization(struct claim *claim, const struct http_request *r, struct buf *message)
{
    struct view all = http_header(r, VIEW("authorization")), rest = all;
    struct view token = http_header(r, VIEW("x-amz-security-token"));
    size_t start = message->len;
    bool dated = http_header_count(r, VIEW("x-amz-date")) + http_header_count(r, VIEW("date")) > 0;

    claim->algorithm = trim(take_until(&rest, ' '));
    if (token.n > 0)
        claim->token = token;
    while (rest.n > 0) {
        struct view value = trim(take_until(&rest, ',')), pair = value, *place = NULL;
        struct view name = take_until(&value, '=');

        if (name.n == pair.n) {
            buf_printf(message,
                       "'%.*s' not a valid key=value pair (missing equal-sign) in Authorization header: '%.*s'.",
                       QUOTE(pair), QUOTE(all));
            return SIGV4_INCOMPLETE;
        }
        if (view_equal(name, VIEW("Credential")))
            place = &claim->credential;
        else if (view_equal(name, VIEW("SignedHeaders")))
            place = &claim->signed_headers;
        else if (view_equal(name, VIEW("Signature")))
            place = &claim->signature;
        if (place == NULL || place->n > 0) {
            buf_printf(message, "Authorization header has an unexpected or repeated '%.*s' parameter.", QUOTE(name));
            return SIGV4_INCOMPLETE;
        }
        *place = value;
    }
    if (claim->credential.n == 0)
        buf_put(message, LIT("Authorization header requires 'Credential' parameter. "));
    if (claim->signature.n == 0)
        buf_put(message, LIT("Authorization header requires 'Signature' parameter. "));
    if (claim->signed_headers.n == 0)
        buf_put(message, LIT("Authorization header requires 'SignedHeaders' parameter. "));
    if (!dated)
        buf_put(message, LIT("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "));
    if (message->len == start)
        return SIGV4_OK;
    buf_printf(message, "Authorization=%.*s", QUOTE(claim->algorithm));
    return SIGV4_INCOMPLETE;
}

static enum sigv4_result parse_presigned(struct claim *claim, const struct http_request *r, struct buf *message)
{
    const struct {
        struct view name, *place;
    } parameters[] = {
        {VIEW("X-Amz-Algorithm"), &claim->algorithm},
        {VIEW("X-Amz-Credential"), &claim->credential},
        {VIEW("X-Amz-Signature"), &claim->signature},
        {VIEW("X-Amz-SignedHeaders"), &claim->signed_headers},
    };
    size_t start = message->len;

    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++)
        if (find_parameter(claim, r->query, parameters[i].name, parameters[i].place) != 1 ||
            parameters[i].place->n == 0)
            buf_printf(message, "AWS query-string parameters must include '%.*s'. ", QUOTE(parameters[i].name));
    if (message->len > start) {
        buf_put(message, LIT("Re-examine the query-string parameters."));
        return SIGV4_INCOMPLETE;
    }
    return SIGV4_OK;
}

/* ---- scope and time ---------------------------------------------------------------------------------------------- */

static enum sigv4_result parse_credential(struct claim *claim, const struct sigv4_policy *policy, struct buf *message)
{
    struct view rest = claim->credential, terminator;
    const char *const *service = policy->services;
    size_t slashes = 0;

    for (size_t i = 0; i < rest.n; i++)
        slashes += rest.p[i] == '/';
    claim->access_key = take_until(&rest, '/');
    claim->scope.date = take_until(&rest, '/');
    claim->scope.region = take_until(&rest, '/');
    claim->scope.service = take_until(&rest, '/');
    terminator = rest;
    if (slashes != 4 || claim->access_key.n == 0 || claim->access_key.n > SIGV4_NAME_MAX ||
        claim->scope.region.n > SIGV4_NAME_MAX || claim->scope.service.n > SIGV4_NAME_MAX) {
        buf_printf(message,
                   "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
                   "got '%.*s'",
                   QUOTE(claim->credential));
        return SIGV4_INCOMPLETE;
    }
    if (!view_equal(terminator, VIEW("aws4_request"))) {
        buf_printf(message, "Credential should be scoped with a valid terminator: 'aws4_request', not '%.*s'.",
                   QUOTE(terminator));
        return SIGV4_MISMATCH;
    }
    if (claim->scope.region.n == 0 ||
        (policy->region != NULL && !view_equal(claim->scope.region, view_str(policy->region)))) {
        buf_printf(message, "Credential should be scoped to a valid region, not '%.*s'.", QUOTE(claim->scope.region));
        return SIGV4_MISMATCH;
    }
    while (service != NULL && *service != NULL && !view_equal(claim->scope.service, view_str(*service)))
        service++;
    if (claim->scope.service.n > 0 && (service == NULL || *service != NULL))
        return SIGV4_OK;
    buf_put(message, LIT("Credential should be scoped to correct service: "));
    for (service = policy->services; service != NULL && *service != NULL; service++)
        buf_printf(message, "%s'%s'", service == policy->services ? "" : " or ", *service);
    buf_put_char(message, '.');
    return SIGV4_MISMATCH;
}

static bool read_time(struct claim *claim, const struct http_request *r, struct view *text)
{
    if (claim->presigned) {
        if (find_parameter(claim, r->query, VIEW("X-Amz-Date"), text) != 1)
            return false;
    } else if (http_header_count(r, VIEW("x-amz-date")) > 0) {
        *text = http_header(r, VIEW("x-amz-date"));
        if (http_header_count(r, VIEW("x-amz-date")) > 1)
            return false;
    } else {
        *text = http_header(r, VIEW("date"));
        if (canonical_parse_http_date(*text, &claim->time_s))
            return true;
    }
    return canonical_parse_time(*text, &claim->time_s);
}

static enum sigv4_result parse_time(struct claim *claim, const struct http_request *r, struct buf *message)
{
    struct view text = VIEW("");

    if (!read_time(claim, r, &text)) {
        buf_printf(message,
                   "Date must be in ISO-8601 'basic format'. Got '%.*s'. See http://en.wikipedia.org/wiki/ISO_8601",
                   QUOTE(text));
        return SIGV4_INCOMPLETE;
    }
    canonical_format_time(claim->time, claim->time_s);
    if (view_equal(claim->scope.date, view_of(claim->time, 8)))
        return SIGV4_OK;
    buf_printf(message,
               "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
               "'%.*s' != '%.8s', from '%s'.",
               QUOTE(claim->scope.date), claim->time, claim->time);
    return SIGV4_MISMATCH;
}

static enum sigv4_result parse_expires(struct claim *claim, const struct http_request *r, struct buf *message)
{
    struct view text;
    uint64_t expires = EXPIRES_DEFAULT_S;
    size_t count = find_parameter(claim, r->query, VIEW("X-Amz-Expires"), &text);

    if (count > 1 || (count == 1 && !num_parse_uint(text, &expires)) || expires < 1 || expires > EXPIRES_MAX_S) {
        buf_printf(message, "X-Amz-Expires must be between 1 and %d seconds.", EXPIRES_MAX_S);
        return SIGV4_INCOMPLETE;
    }
    claim->expires_s = (int64_t)expires;
    return SIGV4_OK;
}

static void put_span(struct buf *out, int64_t seconds)
{
    if (seconds % 60 == 0)
        buf_printf(out, "%lld min.", (long long)seconds / 60);
    else
        buf_printf(out, "%lld sec.", (long long)seconds);
}

static enum sigv4_result check_time(const struct claim *claim, int64_t now_s, struct buf *message)
{
    int64_t good_for = claim->presigned ? claim->expires_s : SKEW_S;
    char now[CANONICAL_TIME_MAX], limit[CANONICAL_TIME_MAX];

    canonical_format_time(now, now_s);
    if (claim->time_s < now_s - good_for) {
        canonical_format_time(limit, now_s - good_for);
        buf_printf(message, "Signature expired: %s is now earlier than %s (%s - ", claim->time, limit, now);
        put_span(message, good_for);
    } else if (claim->time_s > now_s + SKEW_S) {
        canonical_format_time(limit, now_s + SKEW_S);
        buf_printf(message, "Signature not yet current: %s is still later than %s (%s + ", claim->time, limit, now);
        put_span(message, SKEW_S);
    } else {
        return SIGV4_OK;
    }
    buf_put_char(message, ')');
    return SIGV4_MISMATCH;
}

/* ---- what is signed ---------------------------------------------------------------------------------------------- */

static bool names_header(struct view signed_headers, struct view name)
{
    while (signed_headers.n > 0)
        if (view_equal_case(take_until(&signed_headers, ';'), name))
            return true;
    return false;
}

/* Are they in lower case, sorted, each there once, and not too many? */
static bool well_formed(struct view signed_headers)
{
    struct view rest = signed_headers, previous = view_of("", 0);
    size_t count = 0;

    if (signed_headers.p[signed_headers.n - 1] == ';')
        return false;
    while (rest.n > 0) {
        struct view name = take_until(&rest, ';');
        size_t n = name.n < previous.n ? name.n : previous.n;
        int order = memcmp(name.p, previous.p, n);

        if (name.n == 0 || ++count > SIGNED_HEADERS_MAX || order < 0 || (order == 0 && name.n <= previous.n))
            return false;
        for (size_t i = 0; i < name.n; i++)
            if (name.p[i] <= ' ' || name.p[i] >= 0x7f || (name.p[i] >= 'A' && name.p[i] <= 'Z'))
                return false;
        previous = name;
    }
    return true;
}

static enum sigv4_result check_signed_headers(const struct claim *claim, const struct http_request *r,
                                              struct buf *message)
{
    if (!well_formed(claim->signed_headers)) {
        buf_printf(message, "'SignedHeaders' must be sorted names in lower case, each once, got '%.*s'.",
                   QUOTE(claim->signed_headers));
        return SIGV4_INCOMPLETE;
    }
    if (!names_header(claim->signed_headers, VIEW("host"))) {
        buf_put(message, LIT("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."));
        return SIGV4_MISMATCH;
    }
    for (size_t i = 0; i < r->header_count; i++) {
        struct view name = r->headers[i].name;

        if (name.n < sizeof "x-amz-" - 1 || !view_is(view_of(name.p, sizeof "x-amz-" - 1), "x-amz-") ||
            names_header(claim->signed_headers, name))
            continue;
        buf_printf(message, "'%.*s' must be a 'SignedHeader' in the AWS Authorization.", QUOTE(name));
        return SIGV4_MISMATCH;
    }
    return SIGV4_OK;
}

static enum sigv4_result check_payload(struct claim *claim, const struct sigv4_policy *policy,
                                       const struct http_request *r, struct buf *message)
{
    struct view said = http_header(r, VIEW("x-amz-content-sha256"));

    canonical_hash(claim->body_hash, r->body);
    claim->payload = view_of(claim->body_hash, sizeof claim->body_hash);
    if (said.p == NULL)
        return SIGV4_OK;
    if (http_header_count(r, VIEW("x-amz-content-sha256")) == 1) {
        if (policy->unsigned_payload && view_equal(said, VIEW("UNSIGNED-PAYLOAD"))) {
            claim->payload = VIEW("UNSIGNED-PAYLOAD");
            return SIGV4_OK;
        }
        if (view_equal(said, claim->payload))
            return SIGV4_OK;
    }
    buf_put(message, LIT("The provided 'x-amz-content-sha256' header does not match what was computed."));
    return SIGV4_MISMATCH;
}

static void compute(char out[CANONICAL_HEX], const struct claim *claim, const struct http_request *r,
                    struct view secret)
{
    struct arena arena = {0};
    struct canonical_field *fields = arena_alloc(&arena, (r->header_count + 1) * sizeof *fields);
    struct canonical_message m = {r->method, r->path, r->query, fields, r->header_count};
    struct buf request = {0};

    for (size_t i = 0; i < r->header_count; i++)
        fields[i] = (struct canonical_field){r->headers[i].name, r->headers[i].value};
    canonical_put_request(&request, &m, claim->signed_headers, claim->payload);
    canonical_sign(out, secret, view_str(claim->time), &claim->scope, buf_view(&request));
    buf_free(&request);
    arena_free(&arena);
}

static bool equal_secretly(struct view a, struct view b)
{
    return a.n == b.n && (a.n == 0 || CRYPTO_memcmp(a.p, b.p, a.n) == 0);
}

static enum sigv4_result check_signature(const struct claim *claim, const struct sigv4_policy *policy,
                                         const struct http_request *r, int64_t now_s, bool *session,
                                         struct buf *message)
{
    struct sigv4_key key = {0};
    bool known = policy->lookup(policy->lookup_arg, claim->access_key, &key), good;
    char signature[CANONICAL_HEX];

    if (!known)
        key = (struct sigv4_key){.secret = VIEW("0123456789012345678901234567890123456789")};
    compute(signature, claim, r, key.secret);
    good = equal_secretly(claim->signature, view_of(signature, sizeof signature));
    *session = key.token.n > 0;
    if (!known || !equal_secretly(claim->token, key.token)) {
        buf_put(message, LIT("The security token included in the request is invalid."));
        return SIGV4_UNKNOWN_KEY;
    }
    if (!good) {
        buf_put(message,
                LIT("The request signature we calculated does not match the signature you provided. Check your "
                    "AWS Secret Access Key and signing method. Consult the service documentation for details."));
        return SIGV4_MISMATCH;
    }
    if (*session && key.expires_s <= now_s) {
        buf_put(message, LIT("The security token included in the request is expired"));
        return SIGV4_EXPIRED_TOKEN;
    }
    return SIGV4_OK;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

/* Fills the claim from where the signature is. */
static enum sigv4_result parse_claim(struct claim *claim, const struct http_request *r, struct buf *message)
{
    size_t headers = http_header_count(r, VIEW("authorization"));
    struct view ignored;
    enum sigv4_result rc;

    claim->presigned = find_parameter(claim, r->query, VIEW("X-Amz-Algorithm"), &ignored) > 0 ||
                       find_parameter(claim, r->query, VIEW("X-Amz-Signature"), &ignored) > 0;
    if (headers == 0 && !claim->presigned) {
        buf_put(message, LIT("Request is missing Authentication Token"));
        return SIGV4_MISSING;
    }
    if (headers + claim->presigned > 1) {
        buf_put(message, LIT("There is more than one signature in the request."));
        return SIGV4_INCOMPLETE;
    }
    rc = claim->presigned ? parse_presigned(claim, r, message) : parse_authorization(claim, r, message);
    if (rc == SIGV4_OK && !view_equal(claim->algorithm, VIEW(CANONICAL_ALGORITHM))) {
        buf_printf(message, "Unsupported AWS 'algorithm': '%.*s'.", QUOTE(claim->algorithm));
        return SIGV4_INCOMPLETE;
    }
    if (rc == SIGV4_OK && claim->presigned) {
        size_t tokens = find_parameter(claim, r->query, VIEW("X-Amz-Security-Token"), &claim->token);

        if (tokens == 0)
            claim->token = http_header(r, VIEW("x-amz-security-token"));
        rc = parse_expires(claim, r, message);
    }
    return rc;
}

static void put_name(char out[SIGV4_NAME_MAX + 1], struct view v)
{
    memcpy(out, v.p, v.n);
    out[v.n] = '\0';
}

enum sigv4_result sigv4_verify(const struct sigv4_policy *policy, const struct http_request *r, int64_t now_s,
                               struct sigv4_caller *caller, struct buf *message)
{
    struct claim claim = {0};
    bool session = false;
    enum sigv4_result rc;

    *caller = (struct sigv4_caller){0};
    if ((rc = parse_claim(&claim, r, message)) != SIGV4_OK ||
        (rc = parse_credential(&claim, policy, message)) != SIGV4_OK ||
        (rc = parse_time(&claim, r, message)) != SIGV4_OK || (rc = check_time(&claim, now_s, message)) != SIGV4_OK ||
        (rc = check_signed_headers(&claim, r, message)) != SIGV4_OK ||
        (rc = check_payload(&claim, policy, r, message)) != SIGV4_OK ||
        (rc = check_signature(&claim, policy, r, now_s, &session, message)) != SIGV4_OK)
        goto done;
    put_name(caller->access_key, claim.access_key);
    put_name(caller->region, claim.scope.region);
    put_name(caller->service, claim.scope.service);
    caller->session = session;
    caller->presigned = claim.presigned;
    caller->body_signed = claim.payload.p == claim.body_hash;
done:
    arena_free(&claim.arena);
    return rc;
}
