/* Blocks of IPv4 addresses. Addresses are numbers in host order. */
#ifndef CONTROL_MODEL_CIDR_H
#define CONTROL_MODEL_CIDR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

struct cidr {
    uint32_t first; /* the lowest address */
    unsigned bits;  /* of the prefix */
};

#define CIDR_TEXT_MAX 19 /* bytes of "255.255.255.255/32" and a NUL */

/* Reads "10.0.0.0/16"; false for what is none. Bits behind the prefix are cleared; *exact (may be NULL) says whether they
 * were clear. */
bool cidr_parse(struct view text, struct cidr *out, bool *exact);

/* Reads "10.0.0.1". */
bool cidr_parse_address(struct view text, uint32_t *out);

/* Write the text and a NUL. */
void cidr_format(char out[CIDR_TEXT_MAX], struct cidr c);
void cidr_format_address(char out[CIDR_TEXT_MAX], uint32_t address);

static inline uint32_t cidr_mask(struct cidr c)
{
    return c.bits == 0 ? 0 : UINT32_MAX << (32 - c.bits);
}

static inline uint32_t cidr_last(struct cidr c)
{
    return c.first | ~cidr_mask(c);
}

static inline bool cidr_has(struct cidr c, uint32_t address)
{
    return (address & cidr_mask(c)) == c.first;
}

/* Is all of b in a? */
static inline bool cidr_covers(struct cidr a, struct cidr b)
{
    return a.bits <= b.bits && cidr_has(a, b.first);
}

static inline bool cidr_overlap(struct cidr a, struct cidr b)
{
    return cidr_covers(a, b) || cidr_covers(b, a);
}

#endif
