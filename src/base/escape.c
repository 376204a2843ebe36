/* Backslash sequences: see escape.h. */
#include "base/escape.h"

#include "base/view.h"

static int hex_digit(char c)
{
    c = ascii_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char escape_decode(const char *s, const char *end, size_t *used)
{
    *used = 2;
    if (end - s >= 4 && s[1] == 'x' && hex_digit(s[2]) >= 0 && hex_digit(s[3]) >= 0) {
        *used = 4;
        return (char)(hex_digit(s[2]) * 16 + hex_digit(s[3]));
    }
    switch (s[1]) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return s[1];
    }
}
