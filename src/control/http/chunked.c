/* One state per kind of byte that may come next. Sizes have eight digits at most, so that nothing can overflow. */
#include "control/http/chunked.h"

#define SIZE_DIGITS_MAX 8

static int hex_value(char c)
{
    c = ascii_lower(c);
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum http_parsed bad(struct http_fault *fault, unsigned status, const char *why)
{
    *fault = (struct http_fault){status, why};
    return HTTP_BAD;
}

/* One byte of the line of a chunk's size, CR included. */
static enum http_parsed take_size(struct http_chunked *d, char c, uint64_t max, struct http_fault *fault)
{
    int value = hex_value(c);

    if (value >= 0) {
        if (++d->digits > SIZE_DIGITS_MAX)
            return bad(fault, 400, "The size of a chunk has too many digits.");
        d->left = d->left * 16 + (unsigned)value;
        return HTTP_MORE;
    }
    if (c != '\r' || d->digits == 0)
        return bad(fault, 400, "The size of a chunk is not a number.");
    if (d->left > max - d->total)
        return bad(fault, 413, "The request's body is too long.");
    d->total += d->left;
    d->digits = 0;
    d->state = HTTP_CHUNK_SIZE_LF;
    return HTTP_MORE;
}

/* One byte that is not data. */
static enum http_parsed take_byte(struct http_chunked *d, char c, uint64_t max, struct http_fault *fault)
{
    static const struct {
        char expected;
        enum http_chunked_state next;
    } steps[] = {
        [HTTP_CHUNK_SIZE_LF] = {'\n', HTTP_CHUNK_DATA}, [HTTP_CHUNK_DATA_CR] = {'\r', HTTP_CHUNK_DATA_LF},
        [HTTP_CHUNK_DATA_LF] = {'\n', HTTP_CHUNK_SIZE}, [HTTP_CHUNK_END_CR] = {'\r', HTTP_CHUNK_END_LF},
        [HTTP_CHUNK_END_LF] = {'\n', HTTP_CHUNK_SIZE},
    };

    if (d->state == HTTP_CHUNK_SIZE)
        return take_size(d, c, max, fault);
    if (c != steps[d->state].expected)
        return bad(fault, 400, "A chunk does not end where it should.");
    if (d->state == HTTP_CHUNK_END_LF) {
        *d = (struct http_chunked){0};
        return HTTP_DONE;
    }
    d->state = steps[d->state].next;
    if (d->state == HTTP_CHUNK_DATA && d->left == 0)
        d->state = HTTP_CHUNK_END_CR;
    return HTTP_MORE;
}

enum http_parsed http_chunked_take(struct http_chunked *d, const char *p, size_t n, uint64_t max, size_t *taken,
                                   struct view *data, struct http_fault *fault)
{
    size_t at = 0;

    *data = view_of(NULL, 0);
    while (at < n) {
        enum http_parsed rc;

        if (d->state == HTTP_CHUNK_DATA) {
            *data = view_of(p + at, d->left < n - at ? (size_t)d->left : n - at);
            at += data->n;
            d->left -= data->n;
            if (d->left == 0)
                d->state = HTTP_CHUNK_DATA_CR;
            break;
        }
        rc = take_byte(d, p[at++], max, fault);
        if (rc != HTTP_MORE) {
            *taken = at;
            return rc;
        }
    }
    *taken = at;
    return HTTP_MORE;
}
