/* Blocks of IPv4 addresses: see cidr.h. */
#include "control/model/cidr.h"

#include <stdio.h>

/* Takes a number of up to `most` off the text: digits without a leading zero. */
static bool take_number(struct view *v, uint32_t most, uint32_t *out)
{
    uint32_t n = 0;
    size_t i = 0;

    for (; i < v->n && v->p[i] >= '0' && v->p[i] <= '9' && i < 3; i++)
        n = n * 10 + (uint32_t)(v->p[i] - '0');
    if (i == 0 || n > most || (i > 1 && v->p[0] == '0'))
        return false;
    *v = view_of(v->p + i, v->n - i);
    *out = n;
    return true;
}

static bool take_char(struct view *v, char c)
{
    if (v->n == 0 || v->p[0] != c)
        return false;
    *v = view_of(v->p + 1, v->n - 1);
    return true;
}

static bool take_address(struct view *v, uint32_t *out)
{
    uint32_t address = 0, part;

    for (unsigned i = 0; i < 4; i++) {
        if ((i > 0 && !take_char(v, '.')) || !take_number(v, 255, &part))
            return false;
        address = address << 8 | part;
    }
    *out = address;
    return true;
}

bool cidr_parse_address(struct view text, uint32_t *out)
{
    return take_address(&text, out) && text.n == 0;
}

bool cidr_parse(struct view text, struct cidr *out, bool *exact)
{
    uint32_t address, bits;

    if (!take_address(&text, &address) || !take_char(&text, '/') || !take_number(&text, 32, &bits) || text.n != 0)
        return false;
    out->bits = bits;
    out->first = address & cidr_mask(*out);
    if (exact)
        *exact = out->first == address;
    return true;
}

void cidr_format_address(char out[CIDR_TEXT_MAX], uint32_t address)
{
    snprintf(out, CIDR_TEXT_MAX, "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
}

void cidr_format(char out[CIDR_TEXT_MAX], struct cidr c)
{
    snprintf(out, CIDR_TEXT_MAX, "%u.%u.%u.%u/%u", c.first >> 24, c.first >> 16 & 255, c.first >> 8 & 255,
             c.first & 255, c.bits % 33);
}
