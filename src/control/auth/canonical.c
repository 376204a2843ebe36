/* Hashing and HMAC are OpenSSL's. Keys and secrets are wiped from memory that is given back. */
#include "control/auth/canonical.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/buf.h"
#include "base/mem.h"
#include "control/auth/uri.h"

/* ---- the canonical request --------------------------------------------------------------------------------------- */

static void put_path(struct buf *out, struct view path)
{
    struct buf normal = {0};
    struct view rest = path;
    bool slash = true; /* the path ends with one */

    while (rest.n > 0) {
        const char *end = memchr(rest.p, '/', rest.n);
        struct view segment = view_of(rest.p, end == NULL ? rest.n : (size_t)(end - rest.p));

        rest = end == NULL ? view_of(NULL, 0) : view_of(end + 1, rest.n - segment.n - 1);
        slash = end != NULL;
        if (view_equal(segment, VIEW(".."))) {
            while (normal.len > 0 && normal.p[--normal.len] != '/')
                ;
        } else if (segment.n > 0 && !view_equal(segment, VIEW("."))) {
            buf_put_char(&normal, '/');
            buf_put_view(&normal, segment);
        }
    }
    if (slash || normal.len == 0)
        buf_put_char(&normal, '/');
    uri_encode(out, buf_view(&normal), true);
    buf_free(&normal);
}

struct parameter {
    struct view name, value;
};

static int compare_views(struct view a, struct view b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n == 0 ? 0 : memcmp(a.p, b.p, n);

    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_parameters(const void *left, const void *right)
{
    const struct parameter *a = left, *b = right;
    int order = compare_views(a->name, b->name);

    return order != 0 ? order : compare_views(a->value, b->value);
}

/* Appends v decoded and encoded again; `spare` is for the time in between. */
static struct view encode_again(struct buf *out, struct buf *spare, struct view v)
{
    size_t start = out->len;

    buf_clear(spare);
    uri_decode(spare, v);
    uri_encode(out, buf_view(spare), false);
    return view_of(out->p + start, out->len - start);
}

static void put_query(struct buf *out, struct view query)
{
    struct buf text = {0}, spare = {0};
    struct parameter *parameters, parameter;
    struct view rest = query;
    size_t count = 0, n = 0;

    while (uri_next_parameter(&rest, &parameter.name, &parameter.value))
        count++;
    if (count == 0)
        return;
    parameters = mem_alloc(count * sizeof *parameters);
    buf_reserve(&text, 3 * query.n); /* so that it does not move */
    for (rest = query; uri_next_parameter(&rest, &parameter.name, &parameter.value);) {
        parameter.name = encode_again(&text, &spare, parameter.name);
        parameter.value = encode_again(&text, &spare, parameter.value);
        if (!view_equal(parameter.name, VIEW("X-Amz-Signature")))
            parameters[n++] = parameter;
    }
    qsort(parameters, n, sizeof *parameters, compare_parameters);
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_put_char(out, '&');
        buf_put_view(out, parameters[i].name);
        buf_put_char(out, '=');
        buf_put_view(out, parameters[i].value);
    }
    mem_free(parameters);
    buf_free(&text);
    buf_free(&spare);
}

/* Appends a value without space at its ends, and every other run of space as one. */
static void put_value(struct buf *out, struct view v)
{
    size_t start = out->len;
    bool space = false;

    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] == ' ' || v.p[i] == '\t') {
            space = true;
            continue;
        }
        if (space && out->len > start)
            buf_put_char(out, ' ');
        space = false;
        buf_put_char(out, v.p[i]);
    }
}

static void put_header(struct buf *out, const struct canonical_message *m, struct view name)
{
    bool first = true;

    buf_put_view(out, name);
    buf_put_char(out, ':');
    for (size_t i = 0; i < m->field_count; i++) {
        if (!view_equal_case(m->fields[i].name, name))
            continue;
        if (!first)
            buf_put_char(out, ',');
        first = false;
        put_value(out, m->fields[i].value);
    }
    buf_put_char(out, '\n');
}

void canonical_put_request(struct buf *out, const struct canonical_message *m, struct view signed_headers,
                           struct view payload)
{
    struct view rest = signed_headers;

    buf_put_view(out, m->method);
    buf_put_char(out, '\n');
    put_path(out, m->path);
    buf_put_char(out, '\n');
    put_query(out, m->query);
    buf_put_char(out, '\n');
    while (rest.n > 0) {
        const char *end = memchr(rest.p, ';', rest.n);
        struct view name = view_of(rest.p, end == NULL ? rest.n : (size_t)(end - rest.p));

        rest = end == NULL ? view_of(NULL, 0) : view_of(end + 1, rest.n - name.n - 1);
        put_header(out, m, name);
    }
    buf_put_char(out, '\n');
    buf_put_view(out, signed_headers);
    buf_put_char(out, '\n');
    buf_put_view(out, payload);
}

void canonical_put_scope(struct buf *out, const struct canonical_scope *scope)
{
    buf_put_view(out, scope->date);
    buf_put_char(out, '/');
    buf_put_view(out, scope->region);
    buf_put_char(out, '/');
    buf_put_view(out, scope->service);
    buf_put(out, LIT("/aws4_request"));
}

/* ---- keys and hashes --------------------------------------------------------------------------------------------- */

static void put_hex(char out[CANONICAL_HEX], const unsigned char hash[CANONICAL_HASH])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < CANONICAL_HASH; i++) {
        out[2 * i] = digits[hash[i] >> 4];
        out[2 * i + 1] = digits[hash[i] & 15];
    }
}

void canonical_hash(char out[CANONICAL_HEX], struct view v)
{
    unsigned char hash[CANONICAL_HASH];

    /* It can fail for want of memory only. */
    if (EVP_Digest(v.n == 0 ? "" : v.p, v.n, hash, NULL, EVP_sha256(), NULL) != 1)
        abort();
    put_hex(out, hash);
}

static void hmac(unsigned char out[CANONICAL_HASH], const void *key, size_t key_length, struct view v)
{
    if (HMAC(EVP_sha256(), key, (int)key_length, (const unsigned char *)(v.n == 0 ? "" : v.p), v.n, out, NULL) == NULL)
        abort();
}

void canonical_sign(char out[CANONICAL_HEX], struct view secret, struct view time, const struct canonical_scope *scope,
                    struct view request)
{
    unsigned char key[CANONICAL_HASH];
    char hash[CANONICAL_HEX];
    struct buf text = {0};

    buf_reserve(&text, sizeof "AWS4" + secret.n);
    buf_put(&text, LIT("AWS4"));
    buf_put_view(&text, secret);
    hmac(key, buf_head(&text), buf_live(&text), scope->date);
    OPENSSL_cleanse(text.p, text.len);
    hmac(key, key, sizeof key, scope->region);
    hmac(key, key, sizeof key, scope->service);
    hmac(key, key, sizeof key, VIEW("aws4_request"));

    buf_clear(&text);
    buf_put(&text, LIT(CANONICAL_ALGORITHM "\n"));
    buf_put_view(&text, time);
    buf_put_char(&text, '\n');
    canonical_put_scope(&text, scope);
    buf_put_char(&text, '\n');
    canonical_hash(hash, request);
    buf_put(&text, hash, sizeof hash);
    hmac(key, key, sizeof key, buf_view(&text));
    put_hex(out, key);
    OPENSSL_cleanse(key, sizeof key);
    buf_free(&text);
}

/* ---- times ------------------------------------------------------------------------------------------------------- */

void canonical_format_time(char out[CANONICAL_TIME_MAX], int64_t time_s)
{
    time_t t = (time_t)time_s;
    struct tm tm;

    if (gmtime_r(&t, &tm) == NULL || strftime(out, CANONICAL_TIME_MAX, "%Y%m%dT%H%M%SZ", &tm) == 0)
        out[0] = '\0';
}

/* A number of exactly n digits, or -1. */
static int number(const char *p, size_t n)
{
    int value = 0;

    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return -1;
        value = value * 10 + (p[i] - '0');
    }
    return value;
}

/* Only for times that there are: timegm would take the 31st of April for the 1st of May. */
static bool to_seconds(int year, int month, int day, int hour, int minute, int second, int64_t *time_s)
{
    struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour, .tm_min = minute};
    time_t t;

    if (year < 1970 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
        second < 0 || second > 60)
        return false;
    t = timegm(&tm);
    if (tm.tm_mday != day || tm.tm_mon != month - 1)
        return false;
    *time_s = (int64_t)t + second;
    return true;
}

bool canonical_parse_time(struct view v, int64_t *time_s)
{
    if (v.n != CANONICAL_TIME_MAX - 1 || v.p[8] != 'T' || v.p[15] != 'Z')
        return false;
    return to_seconds(number(v.p, 4), number(v.p + 4, 2), number(v.p + 6, 2), number(v.p + 9, 2), number(v.p + 11, 2),
                      number(v.p + 13, 2), time_s);
}

bool canonical_parse_http_date(struct view v, int64_t *time_s)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int month = 0;

    if (v.n != sizeof "Sun, 30 Aug 2026 12:36:00 GMT" - 1 || memcmp(v.p + 3, ", ", 2) != 0 || v.p[7] != ' ' ||
        v.p[11] != ' ' || v.p[16] != ' ' || v.p[19] != ':' || v.p[22] != ':' || memcmp(v.p + 25, " GMT", 4) != 0)
        return false;
    for (int i = 0; i < 12; i++)
        if (memcmp(v.p + 8, months + 3 * i, 3) == 0)
            month = i + 1;
    return to_seconds(number(v.p + 12, 4), month, number(v.p + 5, 2), number(v.p + 17, 2), number(v.p + 20, 2),
                      number(v.p + 23, 2), time_s);
}
