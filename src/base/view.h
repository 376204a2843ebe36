/* A view is a borrowed range of bytes: it never owns, and is not NUL-terminated. */
#ifndef BASE_VIEW_H
#define BASE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct view {
    const char *p;
    size_t n;
};

/* A string literal as pointer and length, the length counted by the compiler. */
#define LIT(s) ("" s), (sizeof(s) - 1)

/* A string literal as a view. */
#define VIEW(s) ((struct view){("" s), sizeof(s) - 1})

static inline struct view view_of(const char *p, size_t n)
{
    return (struct view){p, n};
}

static inline struct view view_str(const char *s)
{
    return (struct view){s, strlen(s)};
}

static inline bool view_equal(struct view a, struct view b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static inline char ascii_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c & ~0x20) : c;
}

/* Compares ignoring ASCII case, whatever the locale. */
static inline bool view_equal_case(struct view a, struct view b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
            return false;
    return true;
}

/* view_is(v, "literal"): does v spell the literal, ignoring case? */
#define view_is(v, s) view_equal_case((v), VIEW(s))

#endif
