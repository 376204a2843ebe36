/*
 * Signatures. An input whose first byte is even is a request, head and body, that is verified for a lasting and for a
 * session's key; it must not be taken for signed, as whoever makes inputs does not know the secret. One that is odd
 * gives the parts of a request (method, path, query, body, and names and values of headers, each on a line): what
 * sign_headers and sign_query make of it must be good, and bad with another secret. In both cases the canonical form of
 * a query must be its own canonical form.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "control/auth/canonical.h"
#include "control/auth/sign.h"
#include "control/auth/sigv4.h"
#include "control/auth/uri.h"
#include "control/http/head.h"

#define NOW 1788093360
#define SECRET "0Zv4hT5mXq8nB1cLs7PdW2yKf9RgJe3Aa6UiYoQx"
#define TOKEN "a/session+token=="
#define FIELDS_MAX 20

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool good)
{
    if (!good)
        abort();
}

struct secret {
    struct view secret, token;
};

static bool find_key(void *arg, struct view id, struct sigv4_key *key)
{
    const struct secret *s = arg;

    if (!view_equal(id, VIEW("AKIDEXAMPLE")) && !view_equal(id, VIEW("A")))
        return false;
    *key = (struct sigv4_key){s->secret, s->token, NOW + 1};
    return true;
}

static enum sigv4_result verify(const struct http_request *r, struct secret secret)
{
    const struct sigv4_policy policy = {.lookup = find_key, .lookup_arg = &secret, .unsigned_payload = true};
    struct sigv4_caller caller;
    struct buf message = {0};
    enum sigv4_result rc = sigv4_verify(&policy, r, NOW, &caller, &message);

    demand((rc == SIGV4_OK) == (message.len == 0) && (rc == SIGV4_OK) == (caller.access_key[0] != '\0'));
    demand(message.len < 4096);
    buf_free(&message);
    return rc;
}

/* The third line of a canonical request without headers. */
static struct buf canonical_query(struct view query)
{
    const struct canonical_message m = {VIEW("GET"), VIEW("/"), query, NULL, 0};
    struct buf out = {0};
    const size_t before = sizeof "GET\n/\n" - 1, behind = sizeof "\n\n\n" - 1;

    canonical_put_request(&out, &m, VIEW(""), VIEW(""));
    demand(out.len >= before + behind);
    out.len -= behind;
    buf_consume(&out, before);
    return out;
}

static void check_query(struct view query)
{
    struct buf once = canonical_query(query), twice = canonical_query(buf_view(&once));

    demand(view_equal(buf_view(&once), buf_view(&twice)));
    buf_free(&once);
    buf_free(&twice);
}

static void verify_text(struct view text)
{
    struct http_head *head = mem_zalloc(sizeof *head);
    struct http_scan scan = {0};
    struct http_fault fault;

    if (http_head_scan(&scan, text.p, text.n, &fault) == HTTP_DONE && http_head_parse(text.p, scan.at, head, &fault)) {
        head->request.body = view_of(text.p + scan.at, text.n - scan.at);
        check_query(head->request.query);
        demand(verify(&head->request, (struct secret){VIEW(SECRET), VIEW("")}) != SIGV4_OK);
        demand(verify(&head->request, (struct secret){VIEW(SECRET), VIEW(TOKEN)}) != SIGV4_OK);
    }
    mem_free(head);
}

/* ---- round trip -------------------------------------------------------------------------------------------------- */

static struct view take_line(struct view *v)
{
    const char *found = v->n == 0 ? NULL : memchr(v->p, '\n', v->n);
    struct view taken = view_of(v->p, found == NULL ? v->n : (size_t)(found - v->p));

    *v = found == NULL ? view_of("", 0) : view_of(found + 1, v->n - taken.n - 1);
    return taken;
}

/* Is it a name that a caller may give a header beside those of the signature? */
static bool is_name(struct view v)
{
    for (size_t i = 0; i < v.n; i++)
        if ((ascii_lower(v.p[i]) < 'a' || ascii_lower(v.p[i]) > 'z') && v.p[i] != '-')
            return false;
    return v.n > 0 && !view_is(v, "host") && !view_is(v, "date") && !view_is(v, "authorization") &&
           !view_is(v, "x-amz-date") && !view_is(v, "x-amz-security-token") && !view_is(v, "x-amz-content-sha256");
}

static bool mentions_signatures(struct view query)
{
    struct buf decoded = {0};
    bool found;

    uri_decode(&decoded, query);
    found = decoded.len > 0 && memmem(decoded.p, decoded.len, "X-Amz-", 6) != NULL;
    buf_free(&decoded);
    return found;
}

struct parts {
    struct canonical_message message;
    struct canonical_field fields[FIELDS_MAX + 3];
    struct view body;
};

static void take_parts(struct view rest, struct parts *p)
{
    struct canonical_message *m = &p->message;

    m->method = take_line(&rest);
    m->path = take_line(&rest);
    m->query = take_line(&rest);
    p->body = take_line(&rest);
    m->fields = p->fields;
    p->fields[m->field_count++] = (struct canonical_field){VIEW("Host"), VIEW("h")};
    while (rest.n > 0 && m->field_count < FIELDS_MAX) {
        struct view name = take_line(&rest), value = take_line(&rest);

        if (is_name(name))
            p->fields[m->field_count++] = (struct canonical_field){name, value};
    }
}

/* Verifies the parts with further fields, each way. */
static void verify_parts(const struct parts *p, struct view query, struct view body, const struct canonical_field *more,
                         size_t more_count, struct view token)
{
    struct http_header headers[FIELDS_MAX + 3];
    struct http_request r = {.method = p->message.method,
                             .path = p->message.path,
                             .query = query,
                             .minor = 1,
                             .headers = headers,
                             .body = body};

    for (size_t i = 0; i < p->message.field_count; i++)
        headers[r.header_count++] = (struct http_header){p->fields[i].name, p->fields[i].value};
    for (size_t i = 0; i < more_count; i++)
        headers[r.header_count++] = (struct http_header){more[i].name, more[i].value};
    demand(verify(&r, (struct secret){VIEW(SECRET), token}) == SIGV4_OK);
    demand(verify(&r, (struct secret){VIEW("other"), token}) == SIGV4_MISMATCH);
    demand(verify(&r, (struct secret){VIEW(SECRET), VIEW("no")}) == SIGV4_UNKNOWN_KEY);
}

static void sign_and_verify(struct view rest, bool session)
{
    struct parts *p = mem_zalloc(sizeof *p);
    const struct sign_key key = {VIEW("A"), VIEW(SECRET), session ? VIEW(TOKEN) : VIEW("")};
    const struct sign_target target = {VIEW("r"), VIEW("s"), NOW};
    struct buf text = {0};
    char date[CANONICAL_TIME_MAX];

    take_parts(rest, p);
    check_query(p->message.query);
    if (!mentions_signatures(p->message.query)) {
        sign_headers(&text, date, &p->message, p->body, &key, &target);
        struct canonical_field more[] = {{VIEW("Authorization"), buf_view(&text)},
                                         {VIEW("X-Amz-Date"), view_str(date)},
                                         {VIEW("X-Amz-Security-Token"), key.token}};
        verify_parts(p, p->message.query, p->body, more, session ? 3 : 2, key.token);
        buf_clear(&text);
        sign_query(&text, &p->message, 60, &key, &target);
        verify_parts(p, buf_view(&text), VIEW(""), NULL, 0, key.token);
    }
    buf_free(&text);
    mem_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view rest;

    if (size < 1 || size > HTTP_HEAD_MAX)
        return 0;
    rest = view_of((const char *)data + 1, size - 1);
    if (*data % 2 == 0)
        verify_text(rest);
    else
        sign_and_verify(rest, *data % 4 == 3);
    return 0;
}
