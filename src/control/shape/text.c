/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#include "control/shape/text.h"

/* Length, and the least value, of a sequence that starts with this byte; 0 when none does. */
static unsigned lead(unsigned char c, uint32_t *bits, uint32_t *least)
{
    if (c < 0x80) {
        *bits = c;
        *least = 0;
        return 1;
    }
    if ((c & 0xe0) == 0xc0) {
        *bits = c & 0x1f;
        *least = 0x80;
        return 2;
    }
    if ((c & 0xf0) == 0xe0) {
        *bits = c & 0x0f;
        *least = 0x800;
        return 3;
    }
    if ((c & 0xf8) == 0xf0) {
        *bits = c & 0x07;
        *least = 0x10000;
        return 4;
    }
    return 0;
}

static bool xml_char(uint32_t c)
{
    if (c < 0x20)
        return c == '\t' || c == '\n' || c == '\r';
    return c <= 0xd7ff || (c >= 0xe000 && c <= 0xfffd) || (c >= 0x10000 && c <= 0x10ffff);
}

unsigned text_next(struct view v)
{
    uint32_t c = 0, least = 0;
    unsigned n = lead((unsigned char)v.p[0], &c, &least);

    if (n == 0 || n > v.n)
        return 0;
    for (unsigned i = 1; i < n; i++) {
        unsigned char next = (unsigned char)v.p[i];

        if ((next & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (next & 0x3f);
    }
    return c >= least && xml_char(c) ? n : 0;
}

bool text_is_clean(struct view v)
{
    while (v.n > 0) {
        unsigned n = text_next(v);

        if (n == 0)
            return false;
        v = view_of(v.p + n, v.n - n);
    }
    return true;
}

static bool continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

size_t text_length(struct view v)
{
    size_t n = 0;

    for (size_t i = 0; i < v.n; i++)
        n += !continues(v.p[i]);
    return n;
}

size_t text_fit(struct view v, size_t max)
{
    size_t n = max;

    if (v.n <= max)
        return v.n;
    while (n > 0 && continues(v.p[n]))
        n--;
    return n;
}
