/* Percent-encoding (RFC 3986) and query strings, as signatures read them. */
#ifndef CONTROL_AUTH_URI_H
#define CONTROL_AUTH_URI_H

#include <stdbool.h>

#include "base/view.h"

struct buf;

/* Appends v with every byte but A-Z a-z 0-9 - . _ ~ as %XX; '/' stays too if keep_slash. */
void uri_encode(struct buf *out, struct view v, bool keep_slash);

/* Appends v decoded, as forms are: "%XX" is a byte, '+' a space. A '%' without two digits stands for itself. */
void uri_decode(struct buf *out, struct view v);

/* Takes the next "name=value" off *query, still encoded; a missing '=' is an empty value, empty ones are passed over.
 * False when there is none left. */
bool uri_next_parameter(struct view *query, struct view *name, struct view *value);

#endif
