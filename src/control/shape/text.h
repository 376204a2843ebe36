/* Text that answers can hold: UTF-8 whose characters all belong to XML 1.0 (its production [2] Char). */
#ifndef CONTROL_SHAPE_TEXT_H
#define CONTROL_SHAPE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

/* The length of the character at the front of v, whose n is not 0; 0 when it is no UTF-8, or none that XML can hold. */
unsigned text_next(struct view v);

/* Can XML hold all of it? */
bool text_is_clean(struct view v);

/* How many characters clean text has. */
size_t text_length(struct view v);

/* How many bytes of clean text make up at most `max` bytes without cutting a character. */
size_t text_fit(struct view v, size_t max);

#endif
