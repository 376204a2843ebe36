/* Moments as text: ISO 8601, the form of the AWS APIs. A moment is milliseconds since 1970-01-01 UTC. */
#ifndef CONTROL_SHAPE_TIMESTAMP_H
#define CONTROL_SHAPE_TIMESTAMP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

#define TIMESTAMP_LEN 24 /* 2026-01-31T23:59:59.999Z */

/* Writes the moment, in UTC; a NUL behind it. One outside the years 1 to 9999 is written as the nearest inside. */
void timestamp_format(char out[TIMESTAMP_LEN + 1], int64_t ms);

/* Reads YYYY-MM-DD, or YYYY-MM-DDThh:mm:ss with an optional fraction and an optional Z or +hh:mm or -hh:mm (none: UTC).
 * What is finer than a millisecond is cut off. Returns false on anything else, and on a day that does not exist. */
bool timestamp_parse(struct view v, int64_t *ms);

#endif
