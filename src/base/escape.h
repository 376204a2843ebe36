/* Backslash sequences as configuration files and inline requests have them: \xHH, \n, \r, \t, \b, \a; before any other
 * byte the backslash only goes. */
#ifndef BASE_ESCAPE_H
#define BASE_ESCAPE_H

#include <stddef.h>

/* The byte that the sequence at s, s[0] being its backslash, stands for; *used is the sequence's length. At least two bytes
 * must be there. */
char escape_decode(const char *s, const char *end, size_t *used);

#endif
