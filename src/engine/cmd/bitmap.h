/* What the bit commands share. */
#ifndef CMD_BITMAP_H
#define CMD_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/cmd/call.h"

/* Parses argv[i] as a bit offset; with width > 0 also as "#n", n fields of that width. Replies and returns false on
 * anything else, and on offsets that no string may reach. */
bool bitmap_arg_offset(struct call *c, int i, unsigned width, uint64_t *out);

/* The string under key 0, made or grown so that it has the bit `last`, not shared, its bytes writable; *grown says whether
 * it was made or grown. NULL when that cannot be done: replied, or to be run again in the slow lane. */
struct item *bitmap_open(struct call *c, uint64_t last, bool *grown);

#endif
