/* Walks structures by their descriptions: defaults, copies, comparison. Recursion ends with the descriptions, none
 * of which contains itself. */
#include "control/shape/shape.h"

#include <assert.h>

#include "base/arena.h"
#include "base/checked.h"

_Static_assert(sizeof(struct shape_list) == sizeof(struct string_list) &&
                   offsetof(struct shape_list, items) == offsetof(struct string_list, items) &&
                   offsetof(struct shape_list, count) == offsetof(struct integer_list, count),
               "lists of everything look the same");

size_t shape_item_size(const struct shape_member *m)
{
    switch (m->type) {
    case SHAPE_STRING:
        return sizeof(struct view);
    case SHAPE_INTEGER:
    case SHAPE_TIME:
        return sizeof(int64_t);
    case SHAPE_BOOLEAN:
        return sizeof(bool);
    case SHAPE_DOUBLE:
        return sizeof(double);
    case SHAPE_STRUCT:
        return m->shape->size;
    case SHAPE_REFUSED:
        break;
    }
    assert(0);
    return 0;
}

static void *zeroed(struct arena *a, size_t n, size_t size)
{
    size_t bytes = 0;
    bool fits = checked_size_mul(n, size, &bytes);
    void *p;

    assert(fits);
    (void)fits;
    p = arena_alloc(a, bytes);
    memset(p, 0, bytes);
    return p;
}

void *shape_new(const struct shape *shape, struct arena *a, size_t count)
{
    return zeroed(a, count, shape->size);
}

/* Where the value of an optional scalar is. */
static size_t maybe_offset(enum shape_type type)
{
    switch (type) {
    case SHAPE_BOOLEAN:
        return offsetof(struct maybe_boolean, value);
    case SHAPE_DOUBLE:
        return offsetof(struct maybe_double, value);
    default:
        return offsetof(struct maybe_integer, value);
    }
}

bool shape_scalar(const struct shape_member *m, const void *at, const void **value)
{
    if (m->optional) {
        *value = (const char *)at + maybe_offset(m->type);
        return *(const bool *)at;
    }
    *value = at;
    return m->type != SHAPE_STRING || ((const struct view *)at)->p != NULL;
}

void *shape_scalar_place(const struct shape_member *m, void *at)
{
    if (!m->optional)
        return at;
    *(bool *)at = true;
    return (char *)at + maybe_offset(m->type);
}

void shape_set_defaults(const struct shape *shape, void *value)
{
    for (size_t i = 0; i < shape->count; i++) {
        const struct shape_member *m = &shape->members[i];
        void *at = shape_place(m, value);

        if (m->rule == NULL || !m->rule->initial)
            continue;
        if (m->type == SHAPE_STRING)
            *(struct view *)at = m->rule->initial_text;
        else if (m->type == SHAPE_DOUBLE)
            *(double *)at = m->rule->initial_double;
        else if (m->type == SHAPE_BOOLEAN)
            *(bool *)at = m->rule->initial_integer != 0;
        else
            *(int64_t *)at = m->rule->initial_integer;
    }
}

/* ---- copies ------------------------------------------------------------------------------------------------------ */

static struct view copy_view(struct view v, struct arena *a)
{
    char *p;

    if (v.p == NULL)
        return v;
    p = arena_alloc(a, v.n);
    if (v.n > 0)
        memcpy(p, v.p, v.n);
    return view_of(p, v.n);
}

static void copy_list(const struct shape_member *m, const void *from, void *to, struct arena *a)
{
    struct shape_list l = shape_load_list(from), copy = l;
    size_t size = shape_item_size(m);

    if (l.count == 0) {
        copy.items = NULL;
        shape_store_list(to, copy);
        return;
    }
    copy.items = zeroed(a, l.count, size);
    for (size_t i = 0; i < l.count; i++) {
        const char *item = (const char *)l.items + i * size;
        char *place = (char *)copy.items + i * size;

        if (m->type == SHAPE_STRUCT)
            shape_copy(m->shape, item, place, a);
        else if (m->type == SHAPE_STRING)
            *(struct view *)place = copy_view(*(const struct view *)item, a);
        else
            memcpy(place, item, size);
    }
    shape_store_list(to, copy);
}

void shape_copy(const struct shape *shape, const void *from, void *to, struct arena *a)
{
    memcpy(to, from, shape->size);
    for (size_t i = 0; i < shape->count; i++) {
        const struct shape_member *m = &shape->members[i];
        const void *at = shape_at(m, from);
        void *place = shape_place(m, to);

        if (m->type == SHAPE_REFUSED)
            continue;
        if (m->list) {
            copy_list(m, at, place, a);
        } else if (m->type == SHAPE_STRING) {
            *(struct view *)place = copy_view(*(const struct view *)at, a);
        } else if (m->type == SHAPE_STRUCT) {
            const void *inner = shape_load_pointer(at);
            void *copy = NULL;

            if (inner != NULL) {
                copy = shape_new(m->shape, a, 1);
                shape_copy(m->shape, inner, copy, a);
            }
            shape_store_pointer(place, copy);
        }
    }
}

/* ---- comparison -------------------------------------------------------------------------------------------------- */

static bool equal_value(const struct shape_member *m, const void *a, const void *b)
{
    switch (m->type) {
    case SHAPE_STRUCT:
        return shape_equal(m->shape, a, b);
    case SHAPE_STRING: {
        const struct view *x = a, *y = b;
        return (x->p == NULL) == (y->p == NULL) && view_equal(*x, *y);
    }
    case SHAPE_BOOLEAN:
        return *(const bool *)a == *(const bool *)b;
    default: /* a double is the same when its bits are */
        return memcmp(a, b, sizeof(int64_t)) == 0;
    }
}

static bool equal_list(const struct shape_member *m, const void *a, const void *b)
{
    struct shape_list x = shape_load_list(a), y = shape_load_list(b);
    size_t size = shape_item_size(m);

    if (x.set != y.set || x.count != y.count)
        return false;
    for (size_t i = 0; i < x.count; i++)
        if (!equal_value(m, (const char *)x.items + i * size, (const char *)y.items + i * size))
            return false;
    return true;
}

static bool equal_member(const struct shape_member *m, const void *a, const void *b)
{
    const void *x, *y;

    if (m->list)
        return equal_list(m, a, b);
    if (m->type == SHAPE_STRUCT) {
        x = shape_load_pointer(a);
        y = shape_load_pointer(b);
        return x == NULL || y == NULL ? x == y : shape_equal(m->shape, x, y);
    }
    if (shape_scalar(m, a, &x) != shape_scalar(m, b, &y))
        return false;
    return (m->optional && !*(const bool *)a) || equal_value(m, x, y);
}

bool shape_equal(const struct shape *shape, const void *a, const void *b)
{
    for (size_t i = 0; i < shape->count; i++) {
        const struct shape_member *m = &shape->members[i];

        if (m->type != SHAPE_REFUSED && !equal_member(m, shape_at(m, a), shape_at(m, b)))
            return false;
    }
    return true;
}
