/*
 * The parameters of a request: application/x-www-form-urlencoded, from a body or from the query part of a URL. They are
 * kept sorted by name, with the dot before all other characters, so that everything below "Tags.Tag.1" stands together.
 */
#ifndef CONTROL_SHAPE_FORM_H
#define CONTROL_SHAPE_FORM_H

#include <stddef.h>

#include "base/view.h"

struct arena;

#define FORM_PARAMS_MAX 2000
#define FORM_NAME_MAX 512 /* bytes of a decoded name */

struct form_param {
    struct view name, value;
};

/* All zero has no parameters. */
struct form {
    struct form_param *params;
    size_t count;
};

enum form_result {
    FORM_OK,
    FORM_TOO_MANY,  /* more than FORM_PARAMS_MAX, or a name longer than FORM_NAME_MAX */
    FORM_MALFORMED, /* a percent sign without two hexadecimal digits, or a value without a name */
    FORM_DUPLICATE, /* two parameters have the same name */
};

/* Adds the parameters in text, which is at most once a URL's query and once a body. What they hold is decoded into
 * the arena, any bytes at all. On failure *f is as it was, *culprit the name where there is one. Parts between two &
 * that are empty are passed over; one without = has an empty value. */
enum form_result form_decode(struct form *f, struct arena *a, struct view text, struct view *culprit);

/* The value of that name; p == NULL when there is none. */
struct view form_get(const struct form *f, struct view name);

#endif
