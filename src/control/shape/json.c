/* By jansson, which checks UTF-8 and bounds the depth. The object is built before it is written: an object costs little
 * beside the commit that follows. */
#include "control/shape/json.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "control/shape/shape.h"

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static json_t *object_of(const struct shape *shape, const void *value);

static json_t *value_of(const struct shape_member *m, const void *value)
{
    const struct view *text = value;

    switch (m->type) {
    case SHAPE_STRUCT:
        return object_of(m->shape, value);
    case SHAPE_STRING:
        return json_stringn(text->p != NULL ? text->p : "", text->n);
    case SHAPE_BOOLEAN:
        return json_boolean(*(const bool *)value);
    case SHAPE_DOUBLE:
        return json_real(*(const double *)value);
    default:
        return json_integer(*(const int64_t *)value);
    }
}

static json_t *array_of(const struct shape_member *m, struct shape_list list)
{
    json_t *array = json_array();
    size_t size = shape_item_size(m);

    for (size_t i = 0; i < list.count; i++)
        if (json_array_append_new(array, value_of(m, (const char *)list.items + i * size)) != 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

/* NULL when something in it cannot be said in JSON. */
static json_t *object_of(const struct shape *shape, const void *value)
{
    json_t *object = json_object();

    for (size_t i = 0; i < shape->count; i++) {
        const struct shape_member *m = &shape->members[i];
        const void *at = shape_at(m, value), *inner;
        json_t *part;

        if (m->type == SHAPE_REFUSED)
            continue;
        if (m->list) {
            struct shape_list list = shape_load_list(at);

            if (!list.set && list.count == 0)
                continue;
            part = array_of(m, list);
        } else {
            if (m->type == SHAPE_STRUCT ? (inner = shape_load_pointer(at)) == NULL : !shape_scalar(m, at, &inner))
                continue;
            part = value_of(m, inner);
        }
        if (json_object_set_new(object, m->name.p, part) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static int append(const char *p, size_t n, void *out)
{
    buf_put(out, p, n);
    return 0;
}

int json_write_shape(const struct shape *shape, const void *value, struct buf *out)
{
    size_t len = out->len;
    json_t *object = object_of(shape, value);
    int rc = object != NULL ? json_dump_callback(object, append, out, JSON_COMPACT) : -1;

    json_decref(object);
    if (rc != 0)
        out->len = len;
    return rc == 0 ? 0 : -1;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

struct reader {
    struct arena *arena;
    char *why;
};

static int read_object(const struct reader *r, const struct shape *shape, const json_t *json, void *out);

static int fail(const struct reader *r, const struct shape *shape, const struct shape_member *m)
{
    snprintf(r->why, JSON_WHY_MAX, "%s.%s is of another type", shape->name, m->name.p);
    return -1;
}

static int read_string(const struct reader *r, const json_t *json, struct view *out)
{
    size_t n = json_string_length(json);
    char *p = arena_alloc(r->arena, n);

    if (n > 0)
        memcpy(p, json_string_value(json), n);
    *out = view_of(p, n);
    return 0;
}

static int read_value(const struct reader *r, const struct shape *shape, const struct shape_member *m,
                      const json_t *json, void *out)
{
    switch (m->type) {
    case SHAPE_STRUCT:
        return json_is_object(json) ? read_object(r, m->shape, json, out) : fail(r, shape, m);
    case SHAPE_STRING:
        return json_is_string(json) ? read_string(r, json, out) : fail(r, shape, m);
    case SHAPE_BOOLEAN:
        if (!json_is_boolean(json))
            return fail(r, shape, m);
        *(bool *)out = json_is_true(json);
        return 0;
    case SHAPE_DOUBLE:
        if (!json_is_number(json))
            return fail(r, shape, m);
        *(double *)out = json_number_value(json);
        return 0;
    default:
        if (!json_is_integer(json))
            return fail(r, shape, m);
        *(int64_t *)out = json_integer_value(json);
        return 0;
    }
}

static int read_list(const struct reader *r, const struct shape *shape, const struct shape_member *m,
                     const json_t *json, void *at)
{
    struct shape_list list = {.set = true, .count = json_array_size(json)};
    size_t size = shape_item_size(m);

    if (!json_is_array(json))
        return fail(r, shape, m);
    if (list.count > 0) {
        list.items = arena_alloc(r->arena, list.count * size);
        memset(list.items, 0, list.count * size);
    }
    for (size_t i = 0; i < list.count; i++)
        if (read_value(r, shape, m, json_array_get(json, i), (char *)list.items + i * size) != 0)
            return -1;
    shape_store_list(at, list);
    return 0;
}

/* *out is zeroed. */
static int read_object(const struct reader *r, const struct shape *shape, const json_t *json, void *out)
{
    shape_set_defaults(shape, out);
    for (size_t i = 0; i < shape->count; i++) {
        const struct shape_member *m = &shape->members[i];
        const json_t *part = m->type != SHAPE_REFUSED ? json_object_get(json, m->name.p) : NULL;
        void *at, *inner;
        int rc;

        if (part == NULL || json_is_null(part))
            continue;
        at = shape_place(m, out);
        if (m->list) {
            rc = read_list(r, shape, m, part, at);
        } else if (m->type == SHAPE_STRUCT) {
            inner = shape_new(m->shape, r->arena, 1);
            shape_store_pointer(at, inner);
            rc = read_value(r, shape, m, part, inner);
        } else {
            rc = read_value(r, shape, m, part, shape_scalar_place(m, at));
        }
        if (rc != 0)
            return rc;
    }
    return 0;
}

int json_read_shape(const struct shape *shape, struct view text, struct arena *a, void *out, char why[JSON_WHY_MAX])
{
    struct reader r = {a, why};
    json_error_t error;
    json_t *json = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    int rc = -1;

    memset(out, 0, shape->size);
    if (json == NULL)
        snprintf(why, JSON_WHY_MAX, "no JSON: %s", error.text);
    else if (!json_is_object(json))
        snprintf(why, JSON_WHY_MAX, "no object");
    else
        rc = read_object(&r, shape, json, out);
    json_decref(json);
    return rc;
}
