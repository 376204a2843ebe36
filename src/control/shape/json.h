/*
 * Structures as JSON text: the durable form of the model. Members keep the names of the declaration; what is absent is
 * left out. Times are integers, milliseconds since 1970-01-01 UTC.
 */
#ifndef CONTROL_SHAPE_JSON_H
#define CONTROL_SHAPE_JSON_H

#include "base/view.h"

struct arena;
struct buf;
struct shape;

#define JSON_WHY_MAX 200

/* Appends an object in one line. Returns 0, or -1 when a string is no UTF-8 or a number is not finite; *out is then
 * as it was. */
int json_write_shape(const struct shape *shape, const void *value, struct buf *out);

/*
 * Fills *out from such an object. Members that the declaration does not know, and null, are passed over, and what is
 * missing gets its default, or is zero or absent: so a newer and an older program read each other's text. Returns 0; or
 * -1 when it is no JSON or a member has another type, `why` then says where. What *out refers to lives in the arena.
 */
int json_read_shape(const struct shape *shape, struct view text, struct arena *a, void *out, char why[JSON_WHY_MAX]);

#endif
