/* Headers are looked for one by one: there are 100 at most, and few are asked for. */
#include "control/http/request.h"

#include <stdbool.h>

#include "base/buf.h"

struct view http_header(const struct http_request *r, struct view name)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (view_equal_case(r->headers[i].name, name))
            return r->headers[i].value;
    return (struct view){NULL, 0};
}

size_t http_header_count(const struct http_request *r, struct view name)
{
    size_t count = 0;

    for (size_t i = 0; i < r->header_count; i++)
        count += view_equal_case(r->headers[i].name, name);
    return count;
}

/* Appends "name", "name=value" or "name=*". */
static void put_parameter(struct buf *out, struct view parameter)
{
    const char *equals = parameter.n == 0 ? NULL : memchr(parameter.p, '=', parameter.n);
    struct view name = equals == NULL ? parameter : view_of(parameter.p, (size_t)(equals - parameter.p));

    if (equals == NULL || view_equal(name, VIEW("Action")) || view_equal(name, VIEW("Version"))) {
        buf_put_view(out, parameter);
        return;
    }
    buf_put_view(out, name);
    buf_put(out, LIT("=*"));
}

void http_request_put_target(struct buf *out, const struct http_request *r, size_t limit)
{
    size_t start = out->len;
    struct view rest = r->query;
    char mark = '?';

    buf_put_view(out, r->path);
    while (rest.n > 0 && out->len - start <= limit) {
        const char *end = memchr(rest.p, '&', rest.n);
        struct view parameter = view_of(rest.p, end == NULL ? rest.n : (size_t)(end - rest.p));

        buf_put_char(out, mark);
        put_parameter(out, parameter);
        mark = '&';
        rest = end == NULL ? view_of(NULL, 0) : view_of(end + 1, rest.n - parameter.n - 1);
    }
    if (out->len - start > limit) {
        out->len = start + limit;
        if (limit >= 3)
            memcpy(out->p + out->len - 3, "...", 3);
    }
}
