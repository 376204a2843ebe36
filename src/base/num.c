/*
 * Numbers and text. The integer functions are on the path of every command (argument counts, lengths, INCR), so they
 * work without libc; the floating-point ones lean on strtod, strtold and printf for correct rounding, with short cuts
 * for the plain numbers that scores mostly are. The program never calls setlocale, so libc's decimal point is '.'.
 */
#include "base/num.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLOAT_TEXT_MAX (5 * 1024) /* longer text is refused as a floating-point number, as Redis refuses it */

static const char digit_pairs[] = "00010203040506070809"
                                  "10111213141516171819"
                                  "20212223242526272829"
                                  "30313233343536373839"
                                  "40414243444546474849"
                                  "50515253545556575859"
                                  "60616263646566676869"
                                  "70717273747576777879"
                                  "80818283848586878889"
                                  "90919293949596979899";

bool num_parse_int(struct view v, int64_t *out)
{
    const char *p = v.p, *end = v.p + v.n;
    bool negative;
    uint64_t u;

    if (v.n == 0 || v.n > 20)
        return false;
    if (v.n == 1 && *p == '0') {
        *out = 0;
        return true;
    }
    negative = *p == '-';
    p += negative;
    if (p == end || *p < '1' || *p > '9')
        return false;
    u = (uint64_t)(*p++ - '0');
    /* Any 19 digits fit in 64 unsigned bits. */
    if (end - p > 18)
        return false;
    for (; p != end; p++) {
        unsigned digit = (unsigned char)*p - (unsigned)'0';

        if (digit > 9)
            return false;
        u = u * 10 + digit;
    }
    if (u > (uint64_t)INT64_MAX + negative)
        return false;
    *out = (int64_t)(negative ? 0 - u : u);
    return true;
}

bool num_parse_uint(struct view v, uint64_t *out)
{
    uint64_t u = 0;

    if (v.n == 0)
        return false;
    for (size_t i = 0; i < v.n; i++) {
        unsigned digit = (unsigned char)v.p[i] - (unsigned)'0';

        if (digit > 9 || __builtin_mul_overflow(u, (uint64_t)10, &u) || __builtin_add_overflow(u, digit, &u))
            return false;
    }
    *out = u;
    return true;
}

/* Copies v with a NUL behind it for strtod and strtold; false when it cannot be a number. */
static bool float_text(char text[FLOAT_TEXT_MAX], struct view v)
{
    if (v.n == 0 || v.n >= FLOAT_TEXT_MAX || isspace((unsigned char)v.p[0]))
        return false;
    memcpy(text, v.p, v.n);
    text[v.n] = '\0';
    return true;
}

bool num_parse_long_double(struct view v, long double *out)
{
    char text[FLOAT_TEXT_MAX], *end;
    long double d;

    if (!float_text(text, v))
        return false;
    errno = 0;
    d = strtold(text, &end);
    if ((size_t)(end - text) != v.n || isnan(d) || (errno == ERANGE && (isinf(d) || d == 0)))
        return false;
    *out = d;
    return true;
}

/* Parses [-]digits[.digits] of at most 15 digits: integer and power of ten are exact doubles then, so one division
 * rounds correctly. (Clinger, "How to read floating point numbers accurately", 1990) */
static bool parse_short_double(struct view v, double *out)
{
    static const double tens[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    size_t i = 0, digits = 0, behind = 0;
    bool negative, point = false;
    uint64_t u = 0;
    double d;

    if (v.n == 0 || v.n > 17)
        return false;
    negative = v.p[0] == '-';
    for (i = negative; i < v.n; i++) {
        unsigned digit = (unsigned char)v.p[i] - (unsigned)'0';

        if (v.p[i] == '.' && !point) {
            point = true;
            continue;
        }
        if (digit > 9 || ++digits > 15)
            return false;
        u = u * 10 + digit;
        behind += point;
    }
    if (digits == 0)
        return false;
    d = (double)u / tens[behind];
    *out = negative ? -d : d;
    return true;
}

bool num_parse_double(struct view v, double *out)
{
    char text[FLOAT_TEXT_MAX], *end;
    double d;

    if (parse_short_double(v, out))
        return true;
    if (!float_text(text, v))
        return false;
    errno = 0;
    d = strtod(text, &end);
    if ((size_t)(end - text) != v.n || isnan(d) || (errno == ERANGE && (isinf(d) || d == 0)))
        return false;
    *out = d;
    return true;
}

bool num_parse_memory(struct view v, uint64_t *out)
{
    uint64_t n, unit;
    struct view suffix;
    size_t digits = 0;

    while (digits < v.n && v.p[digits] >= '0' && v.p[digits] <= '9')
        digits++;
    suffix = view_of(v.p + digits, v.n - digits);
    if (suffix.n == 0 || view_is(suffix, "b"))
        unit = 1;
    else if (view_is(suffix, "k"))
        unit = 1000;
    else if (view_is(suffix, "kb"))
        unit = 1024;
    else if (view_is(suffix, "m"))
        unit = 1000 * 1000;
    else if (view_is(suffix, "mb"))
        unit = 1024 * 1024;
    else if (view_is(suffix, "g"))
        unit = 1000 * 1000 * 1000;
    else if (view_is(suffix, "gb"))
        unit = 1024 * 1024 * 1024;
    else
        return false;
    if (!num_parse_uint(view_of(v.p, digits), &n) || __builtin_mul_overflow(n, unit, &n))
        return false;
    *out = n;
    return true;
}

static unsigned digit_count(uint64_t v)
{
    unsigned n = 1;

    for (;;) {
        if (v < 10)
            return n;
        if (v < 100)
            return n + 1;
        if (v < 1000)
            return n + 2;
        if (v < 10000)
            return n + 3;
        v /= 10000;
        n += 4;
    }
}

static inline unsigned put_digits(char *out, uint64_t v)
{
    unsigned n = digit_count(v);
    char *p = out + n;

    while (v >= 100) {
        p -= 2;
        memcpy(p, digit_pairs + v % 100 * 2, 2);
        v /= 100;
    }
    if (v >= 10)
        memcpy(out, digit_pairs + v * 2, 2);
    else
        out[0] = (char)('0' + v);
    return n;
}

unsigned num_format_uint(char out[NUM_INT_MAX], uint64_t v)
{
    return put_digits(out, v);
}

unsigned num_format_int(char out[NUM_INT_MAX], int64_t v)
{
    if (v >= 0)
        return put_digits(out, (uint64_t)v);
    out[0] = '-';
    return 1 + put_digits(out + 1, 0 - (uint64_t)v);
}

static unsigned put_text(char *out, const char *text)
{
    size_t n = strlen(text);

    memcpy(out, text, n);
    return (unsigned)n;
}

unsigned num_format_long_double(char out[NUM_DOUBLE_MAX], long double v)
{
    unsigned n;

    if (isnan(v))
        return put_text(out, "nan");
    if (isinf(v))
        return put_text(out, v > 0 ? "inf" : "-inf");
    n = (unsigned)snprintf(out, NUM_DOUBLE_MAX, "%.17Lf", v);
    while (out[n - 1] == '0')
        n--;
    if (out[n - 1] == '.')
        n--;
    if (n == 2 && out[0] == '-' && out[1] == '0')
        return put_text(out, "0");
    return n;
}

unsigned num_format_double(char out[NUM_DOUBLE_MAX], double v)
{
    if (isnan(v))
        return put_text(out, "nan");
    if (isinf(v))
        return put_text(out, v > 0 ? "inf" : "-inf");
    /* "%.17g" writes an integer below 1e17 as its digits. */
    if (v > -1e17 && v < 1e17 && v == (double)(int64_t)v && !(v == 0 && signbit(v)))
        return num_format_int(out, (int64_t)v);
    return (unsigned)snprintf(out, NUM_DOUBLE_MAX, "%.17g", v);
}
