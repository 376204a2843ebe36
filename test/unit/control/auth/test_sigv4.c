/* Signatures: those that botocore makes (vectors.txt) and AWS publishes are good, and any change to what they cover
 * makes them bad. */
#include "control/auth/sigv4.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "control/auth/canonical.h"
#include "control/auth/sign.h"
#include "control/auth/uri.h"
#include "control/http/head.h"

#define VECTORS "test/unit/control/auth/vectors.txt"
#define VECTORS_MAX (1 << 20)
#define KEY_ID "AKIDEXAMPLE"
#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define NOW 1788093360 /* 20260830T123600Z */

/* ---- help -------------------------------------------------------------------------------------------------------- */

static void assert_text(struct view v, const char *text)
{
    if (!view_equal(v, view_str(text)))
        fail_msg("'%.*s' is not '%s'", (int)v.n, v.n == 0 ? "" : v.p, text);
}

/* The one key of a test. */
struct keys {
    struct view id;
    struct sigv4_key key;
    unsigned lookups;
};

static bool find_key(void *arg, struct view id, struct sigv4_key *key)
{
    struct keys *keys = arg;

    keys->lookups++;
    if (!view_equal(id, keys->id))
        return false;
    *key = keys->key;
    return true;
}

struct checked {
    enum sigv4_result result;
    struct sigv4_caller caller;
    char message[1024];
};

/* Reads a head (with its empty line), gives it the body, and verifies it. */
static struct checked check(struct view text, struct view body, struct keys *keys, struct sigv4_policy policy,
                            int64_t now_s)
{
    struct http_head *head = mem_zalloc(sizeof *head);
    struct http_scan scan = {0};
    struct http_fault fault = {0};
    struct buf message = {0};
    struct checked c;

    if (http_head_scan(&scan, text.p, text.n, &fault) != HTTP_DONE || !http_head_parse(text.p, scan.at, head, &fault))
        fail_msg("no request: %s", fault.why == NULL ? "not whole" : fault.why);
    head->request.body = body;
    policy.lookup = find_key;
    policy.lookup_arg = keys;
    c.result = sigv4_verify(&policy, &head->request, now_s, &c.caller, &message);
    snprintf(c.message, sizeof c.message, "%.*s", (int)buf_live(&message), message.len == 0 ? "" : buf_head(&message));
    assert_int_equal(c.result == SIGV4_OK, message.len == 0);
    assert_int_equal(c.result == SIGV4_OK, c.caller.access_key[0] != '\0');
    buf_free(&message);
    mem_free(head);
    return c;
}

static void expect(struct checked c, enum sigv4_result result, const char *message)
{
    if (c.result != result || strstr(c.message, message) == NULL)
        fail_msg("%d, '%s' is not %d, '%s'", c.result, c.message, result, message);
}

static struct view take_until(struct view *v, char c)
{
    const char *found = v->n == 0 ? NULL : memchr(v->p, c, v->n);
    struct view taken = view_of(v->p, found == NULL ? v->n : (size_t)(found - v->p));

    *v = found == NULL ? view_of(NULL, 0) : view_of(found + 1, v->n - taken.n - 1);
    return taken;
}

/* ---- vectors ----------------------------------------------------------------------------------------------------- */

struct vector {
    struct view name, id, secret, token, region, service;
    int64_t now_s;
    struct buf head, body;
};

static void put_hex(struct buf *out, struct view hex)
{
    for (size_t i = 0; i + 1 < hex.n; i += 2) {
        char digits[3] = {hex.p[i], hex.p[i + 1], '\0'};
        buf_put_char(out, (char)strtoul(digits, NULL, 16));
    }
}

/* Reads up to the next "end"; false when there is no further case. */
static bool next_vector(struct view *rest, struct vector *v)
{
    buf_clear(&v->head);
    buf_clear(&v->body);
    while (rest->n > 0) {
        struct view line = take_until(rest, '\n'), all = line;
        struct view word = take_until(&line, ' ');

        if (view_equal(word, VIEW("case"))) {
            v->name = line;
        } else if (view_equal(word, VIEW("key"))) {
            v->id = take_until(&line, ' ');
            v->secret = take_until(&line, ' ');
            v->token = line;
        } else if (view_equal(word, VIEW("now"))) {
            v->now_s = atoll(line.p);
        } else if (view_equal(word, VIEW("scope"))) {
            v->region = take_until(&line, ' ');
            v->service = line;
        } else if (view_equal(word, VIEW("body"))) {
            put_hex(&v->body, line);
        } else if (view_equal(word, VIEW(">"))) {
            buf_put_view(&v->head, view_of(all.p + 2, all.n - 2));
            buf_put(&v->head, LIT("\r\n"));
        } else if (view_equal(word, VIEW("end"))) {
            buf_put(&v->head, LIT("\r\n"));
            return true;
        }
    }
    return false;
}

static struct keys keys_of(const struct vector *v)
{
    return (struct keys){.id = v->id, .key = {.secret = v->secret, .token = v->token, .expires_s = v->now_s + 1}};
}

/* Calls fn with every vector. */
static void each_vector(void (*fn)(struct vector *v))
{
    struct buf file = {0};
    struct vector v = {0};
    struct view rest;
    unsigned count = 0;

    assert_int_equal(file_read_all(VECTORS, VECTORS_MAX, &file), 0);
    for (rest = buf_view(&file); next_vector(&rest, &v); count++)
        fn(&v);
    assert_true(count >= 25);
    buf_free(&v.head);
    buf_free(&v.body);
    buf_free(&file);
}

static void check_vector(struct vector *v)
{
    struct keys keys = keys_of(v);
    struct sigv4_policy policy = {.unsigned_payload = true};
    struct checked c = check(buf_view(&v->head), buf_view(&v->body), &keys, policy, v->now_s);

    if (c.result != SIGV4_OK)
        fail_msg("%.*s: %s", (int)v->name.n, v->name.p, c.message);
    assert_text(v->id, c.caller.access_key);
    assert_text(v->region, c.caller.region);
    assert_text(v->service, c.caller.service);
    assert_int_equal(c.caller.session, v->token.n > 0);
    assert_int_equal(c.caller.presigned, view_equal(view_of(v->name.p, 4), VIEW("pres")));
    assert_int_equal(c.caller.body_signed, !view_equal(v->name, VIEW("unsigned_payload")));

    keys.key.secret = VIEW("another");
    c = check(buf_view(&v->head), buf_view(&v->body), &keys, policy, v->now_s);
    expect(c, SIGV4_MISMATCH, "The request signature we calculated does not match");
    if (c.caller.presigned || v->body.len == 0 || view_equal(v->name, VIEW("unsigned_payload")))
        return;
    keys = keys_of(v);
    buf_put_char(&v->body, 'x');
    expect(check(buf_view(&v->head), buf_view(&v->body), &keys, policy, v->now_s), SIGV4_MISMATCH, "match");
}

static void agrees_with_botocore(void **state)
{
    (void)state;
    each_vector(check_vector);
}

/* Changes single bytes of the head, each in turn: what is a request nevertheless must be refused. */
static void spoil_vector(struct vector *v)
{
    struct keys keys = keys_of(v);
    struct sigv4_policy policy = {.lookup = find_key, .lookup_arg = &keys};
    struct http_head *head = mem_zalloc(sizeof *head);
    const char *version = memmem(v->head.p, v->head.len, " HTTP/1.1\r\n", 11);
    const char *length = memmem(v->head.p, v->head.len, "Content-Length: ", 16);
    size_t end = length == NULL ? v->head.len : (size_t)(length - v->head.p);
    unsigned refused = 0;

    if (!view_equal(v->name, VIEW("presigned_token")) && !view_equal(v->name, VIEW("identity_with_token")))
        end = 0;
    for (size_t i = 0; i < end; i++) {
        struct http_scan scan = {0};
        struct http_fault fault;
        struct sigv4_caller caller;
        struct buf message = {0};

        if (v->head.p + i == version + 8) /* HTTP/1.0 is as good */
            continue;
        v->head.p[i] ^= 1;
        if (http_head_scan(&scan, v->head.p, v->head.len, &fault) == HTTP_DONE && scan.at == v->head.len &&
            http_head_parse(v->head.p, scan.at, head, &fault)) {
            head->request.body = buf_view(&v->body);
            if (sigv4_verify(&policy, &head->request, v->now_s, &caller, &message) == SIGV4_OK)
                fail_msg("%.*s: byte %zu ('%c' now) is not signed", (int)v->name.n, v->name.p, i, v->head.p[i]);
            refused++;
        }
        buf_free(&message);
        v->head.p[i] ^= 1;
    }
    assert_true(end == 0 || refused > 300);
    mem_free(head);
}

static void covers_every_byte(void **state)
{
    (void)state;
    each_vector(spoil_vector);
}

/* ---- facts that are published ------------------------------------------------------------------------------------ */

/* From AWS's test suite for Signature Version 4 and its IAM example. */
static void agrees_with_published_examples(void **state)
{
    static const struct canonical_field fields[] = {
        {VIEW("Host"), VIEW("example.amazonaws.com")},
        {VIEW("X-Amz-Date"), VIEW("20150830T123600Z")},
    };
    static const struct canonical_field iam_fields[] = {
        {VIEW("Host"), VIEW("iam.amazonaws.com")},
        {VIEW("Content-Type"), VIEW("application/x-www-form-urlencoded; charset=utf-8")},
        {VIEW("X-Amz-Date"), VIEW("20150830T123600Z")},
    };
    static const struct {
        const char *query, *signature;
    } cases[] = {
        {"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
        {"Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
    };
    struct canonical_scope scope = {VIEW("20150830"), VIEW("us-east-1"), VIEW("service")};
    char hash[CANONICAL_HEX], signature[CANONICAL_HEX];
    struct buf request = {0};

    (void)state;
    canonical_hash(hash, VIEW(""));
    assert_text(view_of(hash, sizeof hash), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct canonical_message m = {VIEW("GET"), VIEW("/"), view_str(cases[i].query), fields, 2};

        buf_clear(&request);
        canonical_put_request(&request, &m, VIEW("host;x-amz-date"), view_of(hash, sizeof hash));
        canonical_sign(signature, VIEW(SECRET), VIEW("20150830T123600Z"), &scope, buf_view(&request));
        assert_text(view_of(signature, sizeof signature), cases[i].signature);
    }
    scope.service = VIEW("iam");
    buf_clear(&request);
    canonical_put_request(
        &request,
        &(struct canonical_message){VIEW("GET"), VIEW("/"), VIEW("Action=ListUsers&Version=2010-05-08"), iam_fields, 3},
        VIEW("content-type;host;x-amz-date"), view_of(hash, sizeof hash));
    canonical_sign(signature, VIEW(SECRET), VIEW("20150830T123600Z"), &scope, buf_view(&request));
    assert_text(view_of(signature, sizeof signature),
                "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
    buf_free(&request);
}

static void writes_canonical_queries(void **state)
{
    static const struct {
        const char *query, *canonical;
    } cases[] = {
        {"", ""},
        {"&&", ""},
        {"a", "a="},
        {"b=2&b=10&b=1&a", "a=&b=1&b=10&b=2"},
        {"a=x+y&b=x%20y&c=x%2by", "a=x%20y&b=x%20y&c=x%2By"},
        {"%e3=%7E~", "%E3=~~"},
        {"a=b=c&=", "=&a=b%3Dc"},
        {"X-Amz-Signature=s&a=1&X%2dAmz-Signature=t", "a=1"},
        {"ab=1&a=2&a%2D=3", "a=2&a-=3&ab=1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct canonical_message m = {VIEW("GET"), VIEW("/"), view_str(cases[i].query), NULL, 0};
        struct buf out = {0};
        char expected[200];

        canonical_put_request(&out, &m, VIEW(""), VIEW("hash"));
        snprintf(expected, sizeof expected, "GET\n/\n%s\n\n\nhash", cases[i].canonical);
        assert_text(buf_view(&out), expected);
        buf_free(&out);
    }
}

static void decodes_what_is_no_code(void **state)
{
    struct buf out = {0};

    (void)state;
    uri_decode(&out, VIEW("%4%zz%41+%2"));
    assert_text(buf_view(&out), "%4%zzA %2");
    buf_free(&out);
}

static void reads_times(void **state)
{
    static const char *const bad[] = {"",
                                      "20260830T123600",
                                      "20260830T123600z",
                                      "20260830t123600Z",
                                      "20260230T000000Z",
                                      "20261330T000000Z",
                                      "20260830T240000Z",
                                      "20260830T006000Z",
                                      "2026083xT000000Z",
                                      "19690101T000000Z",
                                      "20260800T000000Z"};
    static const char *const bad_dates[] = {"", "Sun, 30 Aug 2026 12:36:00 UTC", "Sun, 30 aug 2026 12:36:00 GMT",
                                            "Sun, 31 Jun 2026 12:36:00 GMT", "Sunday, 30-Aug-26 12:36:00 GMT"};
    int64_t t;
    char text[CANONICAL_TIME_MAX];

    (void)state;
    assert_true(canonical_parse_time(VIEW("20260830T123600Z"), &t));
    assert_int_equal(t, NOW);
    canonical_format_time(text, NOW);
    assert_string_equal(text, "20260830T123600Z");
    assert_true(canonical_parse_time(VIEW("20240229T235960Z"), &t));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(canonical_parse_time(view_str(bad[i]), &t));
    assert_true(canonical_parse_http_date(VIEW("Sun, 30 Aug 2026 12:36:00 GMT"), &t));
    assert_int_equal(t, NOW);
    for (size_t i = 0; i < sizeof bad_dates / sizeof *bad_dates; i++)
        assert_false(canonical_parse_http_date(view_str(bad_dates[i]), &t));
}

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

#define SCOPE "20260830/r1/elasticache/aws4_request"
#define DATE "X-Amz-Date: 20260830T123600Z\r\n"
#define SIGNATURE "0000000000000000000000000000000000000000000000000000000000000000"
#define HEAD "GET / HTTP/1.1\r\nHost: h\r\n"
#define AUTH "Authorization: AWS4-HMAC-SHA256 "
#define NAMES "SignedHeaders=host;x-amz-date"
#define PRESIGNED(rest)                                                                                                \
    "GET /?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" KEY_ID "/" SCOPE                                        \
    "&X-Amz-SignedHeaders=host&X-Amz-Signature=" SIGNATURE rest " HTTP/1.1\r\nHost: h\r\n\r\n"

static void says_what_is_wrong(void **state)
{
    static const struct {
        const char *text;
        enum sigv4_result result;
        const char *message;
    } cases[] = {
        {HEAD "\r\n", SIGV4_MISSING, "Request is missing Authentication Token"},
        {HEAD AUTH "\r\n" AUTH "\r\n\r\n", SIGV4_INCOMPLETE, "more than one signature"},
        {HEAD "Authorization: Bearer x\r\n\r\n", SIGV4_INCOMPLETE, "'x' not a valid key=value pair"},
        {HEAD "Authorization: Basic\r\n\r\n", SIGV4_INCOMPLETE, "requires 'Credential' parameter. "},
        {HEAD "Authorization:\r\n\r\n", SIGV4_INCOMPLETE, "requires 'Credential' parameter. "},
        {HEAD AUTH "Credential=" KEY_ID "/" SCOPE "\r\n\r\n", SIGV4_INCOMPLETE,
         "Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. "
         "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
         "Authorization=AWS4-HMAC-SHA256"},
        {HEAD DATE AUTH "Credential=a, Credential=b\r\n\r\n", SIGV4_INCOMPLETE, "repeated 'Credential'"},
        {HEAD DATE AUTH "Colour=a\r\n\r\n", SIGV4_INCOMPLETE, "unexpected or repeated 'Colour'"},
        {HEAD DATE "Authorization: AWS4-HMAC-SHA257 Credential=a, " NAMES ", Signature=b\r\n\r\n", SIGV4_INCOMPLETE,
         "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA257'."},
        {HEAD DATE AUTH "Credential=a/b/c, " NAMES ", Signature=b\r\n\r\n", SIGV4_INCOMPLETE,
         "exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'a/b/c'"},
        {HEAD DATE AUTH "Credential=" KEY_ID "/" SCOPE "/x, " NAMES ", Signature=b\r\n\r\n", SIGV4_INCOMPLETE,
         "exactly 5"},
        {HEAD DATE AUTH "Credential=/" SCOPE ", " NAMES ", Signature=b\r\n\r\n", SIGV4_INCOMPLETE, "exactly 5"},
        {HEAD DATE AUTH "Credential=a/20260830/r1/elasticache/aws5, " NAMES ", Signature=b\r\n\r\n", SIGV4_MISMATCH,
         "'aws4_request', not 'aws5'."},
        {HEAD DATE AUTH "Credential=a/20260830/r2/elasticache/aws4_request, " NAMES ", Signature=b\r\n\r\n",
         SIGV4_MISMATCH, "valid region, not 'r2'."},
        {HEAD DATE AUTH "Credential=a/20260830/r1/s3/aws4_request, " NAMES ", Signature=b\r\n\r\n", SIGV4_MISMATCH,
         "scoped to correct service: 'elasticache' or 'sts'."},
        {HEAD "X-Amz-Date: now\r\n" AUTH "Credential=a/" SCOPE ", " NAMES ", Signature=b\r\n\r\n", SIGV4_INCOMPLETE,
         "Date must be in ISO-8601 'basic format'. Got 'now'."},
        {HEAD DATE DATE AUTH "Credential=a/" SCOPE ", " NAMES ", Signature=b\r\n\r\n", SIGV4_INCOMPLETE, "ISO-8601"},
        {HEAD "X-Amz-Date: 20260831T000000Z\r\n" AUTH "Credential=a/" SCOPE ", " NAMES ", Signature=b\r\n\r\n",
         SIGV4_MISMATCH,
         "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20260830' != "
         "'20260831', from '20260831T000000Z'."},
        {HEAD "X-Amz-Date: 20260830T122059Z\r\n" AUTH "Credential=a/" SCOPE ", " NAMES ", Signature=b\r\n\r\n",
         SIGV4_MISMATCH,
         "Signature expired: 20260830T122059Z is now earlier than 20260830T122100Z (20260830T123600Z - 15 min.)"},
        {HEAD "X-Amz-Date: 20260830T125101Z\r\n" AUTH "Credential=a/" SCOPE ", " NAMES ", Signature=b\r\n\r\n",
         SIGV4_MISMATCH,
         "Signature not yet current: 20260830T125101Z is still later than 20260830T125100Z (20260830T123600Z + 15 min.)"},
        {HEAD DATE AUTH "Credential=a/" SCOPE ", SignedHeaders=x-amz-date, Signature=b\r\n\r\n", SIGV4_MISMATCH,
         "'Host' or ':authority' must be a 'SignedHeader'"},
        {HEAD DATE AUTH "Credential=a/" SCOPE ", SignedHeaders=host, Signature=b\r\n\r\n", SIGV4_MISMATCH,
         "'X-Amz-Date' must be a 'SignedHeader'"},
        {HEAD DATE "x-AMZ-thing: 1\r\n" AUTH "Credential=a/" SCOPE ", " NAMES ", Signature=b\r\n\r\n", SIGV4_MISMATCH,
         "'x-AMZ-thing' must be a 'SignedHeader'"},
        {HEAD DATE AUTH "Credential=a/" SCOPE ", SignedHeaders=x-amz-date;host, Signature=b\r\n\r\n", SIGV4_INCOMPLETE,
         "sorted names"},
        {HEAD DATE AUTH "Credential=a/" SCOPE ", SignedHeaders=host;host;x-amz-date, Signature=b\r\n\r\n",
         SIGV4_INCOMPLETE, "sorted names"},
        {HEAD DATE AUTH "Credential=a/" SCOPE ", SignedHeaders=Host;x-amz-date, Signature=b\r\n\r\n", SIGV4_INCOMPLETE,
         "sorted names"},
        {HEAD DATE AUTH "Credential=a/" SCOPE ", SignedHeaders=host;x-amz-date;, Signature=b\r\n\r\n", SIGV4_INCOMPLETE,
         "sorted names"},
        {HEAD DATE "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\n" AUTH "Credential=a/" SCOPE
                   ", SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=b\r\n\r\n",
         SIGV4_MISMATCH, "'x-amz-content-sha256' header does not match"},
        {HEAD DATE "X-Amz-Content-Sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\r\n" AUTH "Credential=a/" SCOPE
                   ", SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=b\r\n\r\n",
         SIGV4_MISMATCH, "'x-amz-content-sha256' header does not match"},
        {HEAD DATE AUTH "Credential=a/" SCOPE ", " NAMES ", Signature=" SIGNATURE "\r\n\r\n", SIGV4_UNKNOWN_KEY,
         "The security token included in the request is invalid."},
        {HEAD DATE AUTH "Credential=" KEY_ID "/" SCOPE ", " NAMES ", Signature=" SIGNATURE "\r\n\r\n", SIGV4_MISMATCH,
         "Check your AWS Secret Access Key"},
        {HEAD DATE AUTH "Credential=" KEY_ID "/" SCOPE "," NAMES ",Signature=short\r\n\r\n", SIGV4_MISMATCH,
         "Check your AWS Secret Access Key"},
        {HEAD "Date: Sun, 30 Aug 2026 12:36:00 GMT\r\n" AUTH "Credential=" KEY_ID "/" SCOPE
              ", SignedHeaders=date;host, Signature=" SIGNATURE "\r\n\r\n",
         SIGV4_MISMATCH, "Check your AWS Secret Access Key"},
        {"GET /?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature= HTTP/1.1\r\nHost: h\r\n\r\n", SIGV4_INCOMPLETE,
         "AWS query-string parameters must include 'X-Amz-Credential'. AWS query-string parameters must include "
         "'X-Amz-Signature'. AWS query-string parameters must include 'X-Amz-SignedHeaders'. Re-examine"},
        {"GET /?X-Amz-Signature=a HTTP/1.1\r\nHost: h\r\n" AUTH "\r\n\r\n", SIGV4_INCOMPLETE,
         "more than one signature"},
        {PRESIGNED("&X-Amz-Signature=1&X-Amz-Date=20260830T123600Z&X-Amz-Expires=1"), SIGV4_INCOMPLETE,
         "must include 'X-Amz-Signature'"},
        {PRESIGNED("&X%2DAmz-Signature=1&X-Amz-Date=20260830T123600Z&X-Amz-Expires=1"), SIGV4_INCOMPLETE,
         "must include 'X-Amz-Signature'"},
        {PRESIGNED("&X-Amz-Expires=1"), SIGV4_INCOMPLETE, "Date must be in"},
        {PRESIGNED("&X-Amz-Date=20260830T123600Z&X-Amz-Expires=0"), SIGV4_INCOMPLETE, "between 1 and 604800 seconds."},
        {PRESIGNED("&X-Amz-Date=20260830T123600Z&X-Amz-Expires=604801"), SIGV4_INCOMPLETE, "X-Amz-Expires"},
        {PRESIGNED("&X-Amz-Date=20260830T123600Z&X-Amz-Expires=-1"), SIGV4_INCOMPLETE, "X-Amz-Expires"},
        {PRESIGNED("&X-Amz-Date=20260830T123600Z&X-Amz-Expires=1&X-Amz-Expires=1"), SIGV4_INCOMPLETE, "X-Amz-Expires"},
        {PRESIGNED("&X-Amz-Date=20260830T123558Z&X-Amz-Expires=1"), SIGV4_MISMATCH,
         "Signature expired: 20260830T123558Z is now earlier than 20260830T123559Z (20260830T123600Z - 1 sec.)"},
        {PRESIGNED("&X-Amz-Date=20260830T122059Z"), SIGV4_MISMATCH, "Signature expired"},
        {PRESIGNED("&X-Amz-Date=20260830T125101Z&X-Amz-Expires=60"), SIGV4_MISMATCH, "Signature not yet current"},
        {PRESIGNED("&X-Amz-Date=20260830T123600Z&X-Amz-Expires=60"), SIGV4_MISMATCH, "Check your AWS Secret"},
    };
    static const char *const services[] = {"elasticache", "sts", NULL};
    struct sigv4_policy policy = {.services = services, .region = "r1"};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct keys keys = {.id = VIEW(KEY_ID), .key = {.secret = VIEW(SECRET)}};

        expect(check(view_str(cases[i].text), VIEW(""), &keys, policy, NOW), cases[i].result, cases[i].message);
    }
}

static void bounds_signed_headers(void **state)
{
    struct keys keys = {.id = VIEW(KEY_ID), .key = {.secret = VIEW(SECRET)}};
    struct buf text = {0};

    (void)state;
    buf_put(&text, LIT(HEAD DATE AUTH "Credential=a/" SCOPE ", SignedHeaders="));
    for (int i = 0; i < 129; i++)
        buf_printf(&text, "a%03d;", i);
    buf_put(&text, LIT("host;x-amz-date, Signature=b\r\n\r\n"));
    expect(check(buf_view(&text), VIEW(""), &keys, (struct sigv4_policy){0}, NOW), SIGV4_INCOMPLETE, "sorted names");
    buf_free(&text);
}

static void names_errors_as_services_do(void **state)
{
    (void)state;
    for (int result = SIGV4_MISSING; result <= SIGV4_EXPIRED_TOKEN; result++)
        for (int dialect = SIGV4_QUERY; dialect <= SIGV4_JSON; dialect++) {
            struct sigv4_refusal r = sigv4_refusal((enum sigv4_result)result, (enum sigv4_dialect)dialect);
            assert_true(r.status >= 400 && r.status < 500 && strlen(r.code) > 0);
        }
    assert_string_equal(sigv4_refusal(SIGV4_MISMATCH, SIGV4_QUERY).code, "SignatureDoesNotMatch");
    assert_int_equal(sigv4_refusal(SIGV4_MISMATCH, SIGV4_QUERY).status, 403);
}

/* ---- signing ----------------------------------------------------------------------------------------------------- */

/* A request signed by sign_headers or sign_query, as text. */
static struct buf signed_text(bool presigned, struct view body, const struct sign_key *key)
{
    static const struct canonical_field fields[] = {
        {VIEW("X-Thing"), VIEW(" a  b")}, {VIEW("Host"), VIEW("h:1")}, {VIEW("x-thing"), VIEW("c")}};
    struct canonical_message m = {presigned ? VIEW("GET") : VIEW("POST"), VIEW("/a%20b"), VIEW("c=d+e&C"), fields, 3};
    struct sign_target target = {VIEW("r1"), VIEW("elasticache"), NOW};
    struct buf text = {0}, value = {0};
    char date[CANONICAL_TIME_MAX];

    if (presigned) {
        sign_query(&value, &m, 60, key, &target);
        buf_printf(&text, "GET /a%%20b?%.*s HTTP/1.1\r\n", (int)value.len, value.p);
    } else {
        sign_headers(&value, date, &m, body, key, &target);
        buf_printf(&text, "POST /a%%20b?c=d+e&C HTTP/1.1\r\nX-Amz-Date: %s\r\nAuthorization: %.*s\r\n", date,
                   (int)value.len, value.p);
        if (key->token.n > 0)
            buf_printf(&text, "X-Amz-Security-Token: %.*s\r\n", (int)key->token.n, key->token.p);
    }
    buf_put(&text, LIT("Host: h:1\r\nx-thing: a b\r\nx-thing: c\r\n\r\n"));
    buf_free(&value);
    return text;
}

static void verifies_what_it_signs(void **state)
{
    struct sign_key key = {VIEW(KEY_ID), VIEW(SECRET), VIEW("")},
                    temporary = {VIEW(KEY_ID), VIEW(SECRET), VIEW("t/k+=")};
    struct keys keys = {.id = VIEW(KEY_ID), .key = {.secret = VIEW(SECRET)}};
    struct keys session = {.id = VIEW(KEY_ID), .key = {VIEW(SECRET), VIEW("t/k+="), NOW + 1}};
    struct sigv4_policy policy = {0};

    (void)state;
    for (int presigned = 0; presigned < 2; presigned++) {
        struct view body = presigned ? VIEW("") : VIEW("Action=X");
        struct buf text = signed_text(presigned, body, &key);

        expect(check(buf_view(&text), body, &keys, policy, NOW), SIGV4_OK, "");
        expect(check(buf_view(&text), VIEW("Action=Y"), &keys, policy, NOW), SIGV4_MISMATCH, "Check");
        /* A lasting key without the token of a session is not that session's. */
        expect(check(buf_view(&text), body, &session, policy, NOW), SIGV4_UNKNOWN_KEY, "");
        buf_free(&text);

        text = signed_text(presigned, body, &temporary);
        assert_true(check(buf_view(&text), body, &session, policy, NOW).caller.session);
        expect(check(buf_view(&text), body, &keys, policy, NOW), SIGV4_UNKNOWN_KEY, "");
        session.key.token = VIEW("t/k+?");
        expect(check(buf_view(&text), body, &session, policy, NOW), SIGV4_UNKNOWN_KEY, "is invalid.");
        session.key.token = VIEW("t/k+=");
        session.key.expires_s = NOW;
        expect(check(buf_view(&text), body, &session, policy, NOW), SIGV4_EXPIRED_TOKEN, "is expired");
        session.key.expires_s = NOW + 1;
        buf_free(&text);
    }
}

/* The lookup and the hash are done for keys that do not exist too. */
static void works_as_hard_for_unknown_keys(void **state)
{
    struct sign_key key = {VIEW("AKIDOTHER"), VIEW("0123456789012345678901234567890123456789"), VIEW("")};
    struct keys keys = {.id = VIEW(KEY_ID), .key = {.secret = VIEW(SECRET)}};
    struct buf text = signed_text(false, VIEW(""), &key);

    (void)state;
    /* Whoever reads the secret that stands in for one gets nowhere with it. */
    expect(check(buf_view(&text), VIEW(""), &keys, (struct sigv4_policy){0}, NOW), SIGV4_UNKNOWN_KEY, "is invalid.");
    assert_int_equal(keys.lookups, 1);
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_botocore),
        cmocka_unit_test(covers_every_byte),
        cmocka_unit_test(agrees_with_published_examples),
        cmocka_unit_test(writes_canonical_queries),
        cmocka_unit_test(decodes_what_is_no_code),
        cmocka_unit_test(reads_times),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(bounds_signed_headers),
        cmocka_unit_test(names_errors_as_services_do),
        cmocka_unit_test(verifies_what_it_signs),
        cmocka_unit_test(works_as_hard_for_unknown_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
