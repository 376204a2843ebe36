/* Decoding and sorting. Sorting makes duplicates neighbours and keeps a hostile request at n log n. */
#include "control/shape/form.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

/* The value of a hexadecimal digit, or -1. */
static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes into a view that is not NULL even when it is empty. */
static bool unescape(struct view v, struct arena *a, struct view *out)
{
    char *p = arena_alloc(a, v.n);
    size_t n = 0;

    for (size_t i = 0; i < v.n; i++) {
        char c = v.p[i];

        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            int high = i + 2 < v.n ? digit(v.p[i + 1]) : -1, low = i + 2 < v.n ? digit(v.p[i + 2]) : -1;

            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        p[n++] = c;
    }
    *out = view_of(p, n);
    return true;
}

/* A dot comes before everything, the end included in "everything" only for equal names. */
static unsigned weight(char c)
{
    return c == '.' ? 0 : (unsigned)(unsigned char)c + 1;
}

static int compare_names(struct view a, struct view b)
{
    size_t n = a.n < b.n ? a.n : b.n;

    for (size_t i = 0; i < n; i++)
        if (a.p[i] != b.p[i])
            return weight(a.p[i]) < weight(b.p[i]) ? -1 : 1;
    return (a.n > b.n) - (a.n < b.n);
}

static int compare_params(const void *a, const void *b)
{
    return compare_names(((const struct form_param *)a)->name, ((const struct form_param *)b)->name);
}

/* Cuts the part up to the separator off the front; false when nothing is left. */
static bool next_part(struct view *text, struct view *part)
{
    const char *end;

    if (text->n == 0)
        return false;
    end = memchr(text->p, '&', text->n);
    part->p = text->p;
    part->n = end != NULL ? (size_t)(end - text->p) : text->n;
    *text = end != NULL ? view_of(end + 1, text->n - part->n - 1) : view_of(text->p, 0);
    return true;
}

static enum form_result decode_part(struct view part, struct arena *a, struct form_param *param)
{
    const char *equals = memchr(part.p, '=', part.n);
    struct view name = part, value = view_of(part.p, 0);

    if (equals != NULL) {
        name.n = (size_t)(equals - part.p);
        value = view_of(equals + 1, part.n - name.n - 1);
    }
    if (!unescape(name, a, &param->name) || !unescape(value, a, &param->value) || param->name.n == 0)
        return FORM_MALFORMED;
    return param->name.n > FORM_NAME_MAX ? FORM_TOO_MANY : FORM_OK;
}

enum form_result form_decode(struct form *f, struct arena *a, struct view text, struct view *culprit)
{
    struct form_param *params;
    struct view part, rest = text;
    size_t count = f->count, added = 0;

    *culprit = view_of(NULL, 0);
    while (next_part(&rest, &part))
        added += part.n > 0;
    if (added > FORM_PARAMS_MAX - count)
        return FORM_TOO_MANY;
    if (added == 0)
        return FORM_OK;
    params = arena_alloc(a, (count + added) * sizeof *params);
    if (count > 0)
        memcpy(params, f->params, count * sizeof *params);
    rest = text;
    while (next_part(&rest, &part)) {
        enum form_result result = part.n > 0 ? decode_part(part, a, &params[count]) : FORM_OK;

        if (result != FORM_OK)
            return result;
        count += part.n > 0;
    }
    qsort(params, count, sizeof *params, compare_params);
    for (size_t i = 1; i < count; i++)
        if (view_equal(params[i - 1].name, params[i].name)) {
            *culprit = params[i].name;
            return FORM_DUPLICATE;
        }
    *f = (struct form){params, count};
    return FORM_OK;
}

struct view form_get(const struct form *f, struct view name)
{
    size_t low = 0, high = f->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_names(name, f->params[middle].name);

        if (order == 0)
            return f->params[middle].value;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return view_of(NULL, 0);
}
