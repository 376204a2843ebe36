/* Calendar arithmetic is the C library's (timegm, gmtime_r): UTC has no zones that could depend on the host. */
#include "control/shape/timestamp.h"

#include <stdio.h>
#include <time.h>

#define FIRST_MS (-62135596800000) /* 0001-01-01T00:00:00.000Z */
#define LAST_MS 253402300799999    /* 9999-12-31T23:59:59.999Z */

void timestamp_format(char out[TIMESTAMP_LEN + 1], int64_t ms)
{
    time_t seconds;
    struct tm t;
    unsigned fraction;

    if (ms < FIRST_MS)
        ms = FIRST_MS;
    if (ms > LAST_MS)
        ms = LAST_MS;
    seconds = (time_t)(ms / 1000);
    if (ms % 1000 < 0)
        seconds--;
    fraction = (unsigned)(ms - (int64_t)seconds * 1000);
    gmtime_r(&seconds, &t);
    /* The masks tell the compiler that it fits. */
    snprintf(out, TIMESTAMP_LEN + 1, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned)(t.tm_year + 1900) % 10000,
             (unsigned)(t.tm_mon + 1) % 100, (unsigned)t.tm_mday % 100, (unsigned)t.tm_hour % 100,
             (unsigned)t.tm_min % 100, (unsigned)t.tm_sec % 100, fraction % 1000);
}

/* Takes exactly n digits off the front. */
static bool take_digits(struct view *v, unsigned n, int *out)
{
    *out = 0;
    if (v->n < n)
        return false;
    for (unsigned i = 0; i < n; i++) {
        if (v->p[i] < '0' || v->p[i] > '9')
            return false;
        *out = *out * 10 + (v->p[i] - '0');
    }
    *v = view_of(v->p + n, v->n - n);
    return true;
}

static bool take(struct view *v, char c)
{
    if (v->n == 0 || v->p[0] != c)
        return false;
    *v = view_of(v->p + 1, v->n - 1);
    return true;
}

/* The fraction's first three digits; any number of further ones is passed over. */
static bool take_fraction(struct view *v, int *ms)
{
    int digit, scale = 100, n = 0;

    *ms = 0;
    while (v->n > 0 && v->p[0] >= '0' && v->p[0] <= '9' && take_digits(v, 1, &digit)) {
        *ms += digit * scale;
        scale /= 10;
        n++;
    }
    return n > 0;
}

/* Z, +hh:mm, -hh:mm or nothing; all that is left. */
static bool take_zone(struct view *v, int *minutes)
{
    int hour, minute, sign = 1;

    *minutes = 0;
    if (v->n == 0)
        return true;
    if (take(v, 'Z'))
        return v->n == 0;
    if (take(v, '-'))
        sign = -1;
    else if (!take(v, '+'))
        return false;
    if (!take_digits(v, 2, &hour) || !take(v, ':') || !take_digits(v, 2, &minute) || hour > 23 || minute > 59)
        return false;
    *minutes = sign * (hour * 60 + minute);
    return v->n == 0;
}

bool timestamp_parse(struct view v, int64_t *ms)
{
    int year, month, day, hour = 0, minute = 0, second = 0, fraction = 0, zone = 0;
    struct tm t = {0};
    int64_t seconds;

    if (!take_digits(&v, 4, &year) || !take(&v, '-') || !take_digits(&v, 2, &month) || !take(&v, '-') ||
        !take_digits(&v, 2, &day))
        return false;
    if (v.n > 0) {
        if (!take(&v, 'T') || !take_digits(&v, 2, &hour) || !take(&v, ':') || !take_digits(&v, 2, &minute) ||
            !take(&v, ':') || !take_digits(&v, 2, &second))
            return false;
        if (take(&v, '.') && !take_fraction(&v, &fraction))
            return false;
        if (!take_zone(&v, &zone))
            return false;
    }
    if (year < 1 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59)
        return false;
    t = (struct tm){.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute,
                    .tm_sec = second};
    seconds = timegm(&t);
    if (t.tm_mday != day) /* timegm took a 31st of a short month for the next one's first */
        return false;
    *ms = (seconds - zone * 60) * 1000 + fraction;
    return true;
}
