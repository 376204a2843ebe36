/* Everything that is given is signed: there is no choice of headers to get wrong. */
#include "control/auth/sign.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "control/auth/uri.h"

static int compare_names(const void *left, const void *right)
{
    const struct canonical_field *a = left, *b = right;
    size_t n = a->name.n < b->name.n ? a->name.n : b->name.n;

    for (size_t i = 0; i < n; i++) {
        int order = (unsigned char)ascii_lower(a->name.p[i]) - (unsigned char)ascii_lower(b->name.p[i]);
        if (order != 0)
            return order;
    }
    return (a->name.n > b->name.n) - (a->name.n < b->name.n);
}

/* Appends the names of the fields as SignedHeaders has them. */
static void put_names(struct buf *out, const struct canonical_field *fields, size_t n)
{
    struct canonical_field *sorted = mem_alloc((n + 1) * sizeof *sorted);
    bool first = true;

    if (n > 0)
        memcpy(sorted, fields, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_names);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && view_equal_case(sorted[i].name, sorted[i - 1].name))
            continue;
        if (!first)
            buf_put_char(out, ';');
        first = false;
        for (size_t j = 0; j < sorted[i].name.n; j++)
            buf_put_char(out, ascii_lower(sorted[i].name.p[j]));
    }
    mem_free(sorted);
}

/* Signs at the time that is written; the scope's day is of it. */
static void sign(char out[CANONICAL_HEX], const struct canonical_message *m, struct view names, struct view body,
                 struct view date, const struct sign_key *key, const struct canonical_scope *scope)
{
    struct buf request = {0};
    char payload[CANONICAL_HEX];

    canonical_hash(payload, body);
    canonical_put_request(&request, m, names, view_of(payload, sizeof payload));
    canonical_sign(out, key->secret, date, scope, buf_view(&request));
    buf_free(&request);
}

static struct canonical_scope scope_of(const char date[CANONICAL_TIME_MAX], const struct sign_target *target)
{
    return (struct canonical_scope){.date = view_of(date, 8), .region = target->region, .service = target->service};
}

void sign_headers(struct buf *authorization, char date[CANONICAL_TIME_MAX], const struct canonical_message *m,
                  struct view body, const struct sign_key *key, const struct sign_target *target)
{
    struct canonical_field *fields = mem_alloc((m->field_count + 2) * sizeof *fields);
    struct canonical_message full = *m;
    struct canonical_scope scope;
    struct buf names = {0};
    char signature[CANONICAL_HEX];

    canonical_format_time(date, target->time_s);
    scope = scope_of(date, target);
    if (m->field_count > 0)
        memcpy(fields, m->fields, m->field_count * sizeof *fields);
    fields[full.field_count++] = (struct canonical_field){VIEW("X-Amz-Date"), view_str(date)};
    if (key->token.n > 0)
        fields[full.field_count++] = (struct canonical_field){VIEW("X-Amz-Security-Token"), key->token};
    full.fields = fields;
    put_names(&names, fields, full.field_count);
    sign(signature, &full, buf_view(&names), body, view_str(date), key, &scope);

    buf_put(authorization, LIT(CANONICAL_ALGORITHM " Credential="));
    buf_put_view(authorization, key->id);
    buf_put_char(authorization, '/');
    canonical_put_scope(authorization, &scope);
    buf_put(authorization, LIT(", SignedHeaders="));
    buf_put_view(authorization, buf_view(&names));
    buf_put(authorization, LIT(", Signature="));
    buf_put(authorization, signature, sizeof signature);
    buf_free(&names);
    mem_free(fields);
}

void sign_query(struct buf *query, const struct canonical_message *m, int64_t expires, const struct sign_key *key,
                const struct sign_target *target)
{
    size_t start = query->len;
    struct canonical_message full = *m;
    struct canonical_scope scope;
    struct buf names = {0}, credential = {0};
    char date[CANONICAL_TIME_MAX], signature[CANONICAL_HEX];

    canonical_format_time(date, target->time_s);
    scope = scope_of(date, target);
    put_names(&names, m->fields, m->field_count);
    buf_put_view(&credential, key->id);
    buf_put_char(&credential, '/');
    canonical_put_scope(&credential, &scope);

    buf_put_view(query, m->query);
    if (m->query.n > 0)
        buf_put_char(query, '&');
    buf_put(query, LIT("X-Amz-Algorithm=" CANONICAL_ALGORITHM "&X-Amz-Credential="));
    uri_encode(query, buf_view(&credential), false);
    buf_printf(query, "&X-Amz-Date=%s&X-Amz-Expires=%lld&X-Amz-SignedHeaders=", date, (long long)expires);
    uri_encode(query, buf_view(&names), false);
    if (key->token.n > 0) {
        buf_put(query, LIT("&X-Amz-Security-Token="));
        uri_encode(query, key->token, false);
    }
    full.query = view_of(query->p + start, query->len - start);
    sign(signature, &full, buf_view(&names), view_of(NULL, 0), view_str(date), key, &scope);
    buf_put(query, LIT("&X-Amz-Signature="));
    buf_put(query, signature, sizeof signature);
    buf_free(&names);
    buf_free(&credential);
}
