/* Encoding is that of signatures: upper-case digits, and nothing left as it is but what RFC 3986 calls unreserved. */
#include "control/auth/uri.h"

#include "base/buf.h"

static const char digits[] = "0123456789ABCDEF";

static bool is_unreserved(char c)
{
    char lower = ascii_lower(c);

    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

static int hex_value(char c)
{
    const char *found = c == '\0' ? NULL : strchr(digits, ascii_upper(c));

    return found == NULL ? -1 : (int)(found - digits);
}

void uri_encode(struct buf *out, struct view v, bool keep_slash)
{
    for (size_t i = 0; i < v.n; i++) {
        unsigned char c = (unsigned char)v.p[i];

        if (is_unreserved(v.p[i]) || (c == '/' && keep_slash)) {
            buf_put_char(out, v.p[i]);
        } else {
            buf_put_char(out, '%');
            buf_put_char(out, digits[c >> 4]);
            buf_put_char(out, digits[c & 15]);
        }
    }
}

void uri_decode(struct buf *out, struct view v)
{
    for (size_t i = 0; i < v.n; i++) {
        int high = -1, low = -1;

        if (v.p[i] == '%' && v.n - i >= 3) {
            high = hex_value(v.p[i + 1]);
            low = hex_value(v.p[i + 2]);
        }
        if (high >= 0 && low >= 0) {
            buf_put_char(out, (char)(high << 4 | low));
            i += 2;
        } else {
            buf_put_char(out, v.p[i] == '+' ? ' ' : v.p[i]);
        }
    }
}

bool uri_next_parameter(struct view *query, struct view *name, struct view *value)
{
    while (query->n > 0) {
        const char *end = memchr(query->p, '&', query->n), *equals;
        struct view pair = view_of(query->p, end == NULL ? query->n : (size_t)(end - query->p));

        *query = end == NULL ? view_of(NULL, 0) : view_of(end + 1, query->n - pair.n - 1);
        if (pair.n == 0)
            continue;
        equals = memchr(pair.p, '=', pair.n);
        *name = view_of(pair.p, equals == NULL ? pair.n : (size_t)(equals - pair.p));
        *value = equals == NULL ? view_of(pair.p + pair.n, 0) : view_of(equals + 1, pair.n - name->n - 1);
        return true;
    }
    return false;
}
