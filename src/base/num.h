/* Numbers and their text, with exactly the rules that Redis applies to arguments and replies. */
#ifndef BASE_NUM_H
#define BASE_NUM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

#define NUM_INT_MAX 21      /* bytes that any formatted 64-bit integer fits in, sign included */
#define NUM_DOUBLE_MAX 5200 /* bytes that any formatted long double fits in */

/* Parses a canonical signed 64-bit integer: "0", or an optional '-' and digits without a leading zero; no '+', no
 * spaces, no "-0". Returns false on anything else and on overflow. (Redis: string2ll) */
bool num_parse_int(struct view v, int64_t *out);

/* Parses an unsigned 64-bit decimal, digits only, leading zeros allowed, overflow refused. */
bool num_parse_uint(struct view v, uint64_t *out);

/* Parses a long double as INCRBYFLOAT takes it: what strtold takes over the whole view without leading space; NaN is
 * refused, infinities are accepted. Decimal point is '.' whatever the locale. (Redis: string2ld / getLongDouble) */
bool num_parse_long_double(struct view v, long double *out);

/* Parses a double as Redis's getDoubleFromObject does (strtod over the whole view, no leading space, NaN refused). */
bool num_parse_double(struct view v, double *out);

/* Parses a memory size as redis.conf takes it: digits and optionally b, k, kb, m, mb, g, gb (k = 1000, kb = 1024, any
 * case). Returns false on anything else and on overflow. (Redis: memtoull) */
bool num_parse_memory(struct view v, uint64_t *out);

/* Writes v in decimal; returns its length. No NUL. */
unsigned num_format_int(char out[NUM_INT_MAX], int64_t v);
unsigned num_format_uint(char out[NUM_INT_MAX], uint64_t v);

/* Writes v as INCRBYFLOAT stores it: 17 digits behind the point, trailing zeros and a trailing point removed, "-0" as
 * "0"; inf and -inf spelled so. Returns the length. (Redis: ld2string, LD_STR_HUMAN) */
unsigned num_format_long_double(char out[NUM_DOUBLE_MAX], long double v);

/* Writes v as Redis 7.0 sends a double: "%.17g", which reads back as the same double but is not always the shortest
 * text that does; "inf", "-inf", "nan". Returns the length. */
unsigned num_format_double(char out[NUM_DOUBLE_MAX], double v);

#endif
