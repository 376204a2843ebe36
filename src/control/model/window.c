/* Windows: see window.h. */
#include "control/model/window.h"

#include <stdio.h>
#include <string.h>

#include "base/random.h"

#define FIRST_HOUR 12 /* UTC: maintenance begins in the night of this region's people */
#define HOURS 8
#define DAY (24 * 60) /* minutes */
#define WEEK (7 * DAY)
#define MONDAY 4 /* 1970-01-01 was a Thursday: the days since then, plus this, count from Sunday */

static const char *const days[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

static unsigned random_up_to(struct random *r, unsigned n)
{
    return (unsigned)random_below(r, n);
}

void window_make(char maintenance[WINDOW_TEXT_MAX], char snapshot[WINDOW_TEXT_MAX])
{
    struct random r;
    unsigned day, from;

    random_seed(&r);
    day = random_up_to(&r, 7);
    from = FIRST_HOUR * 60 + 30 * random_up_to(&r, 2 * (HOURS - 1));
    snprintf(maintenance, WINDOW_TEXT_MAX, "%s:%02u:%02u-%s:%02u:%02u", days[day], from / 60, from % 60, days[day],
             (from + 60) / 60, (from + 60) % 60);
    from = 30 * random_up_to(&r, 2 * (FIRST_HOUR - 1));
    snprintf(snapshot, WINDOW_TEXT_MAX, "%02u:%02u-%02u:%02u", from / 60, from % 60, (from + 60) / 60,
             (from + 60) % 60);
}

static unsigned minutes(const char *p)
{
    return (unsigned)(10 * (p[0] - '0') + p[1] - '0') * 60 + (unsigned)(10 * (p[3] - '0') + p[4] - '0');
}

static unsigned day_of(const char *p)
{
    for (unsigned i = 0; i < 7; i++)
        if (memcmp(days[i], p, 3) == 0)
            return i;
    return 0;
}

/* Minutes since Sunday, to behind `from`. */
static void week_minutes(struct view v, unsigned *from, unsigned *to)
{
    *from = day_of(v.p) * DAY + minutes(v.p + 4);
    *to = day_of(v.p + 10) * DAY + minutes(v.p + 14);
    if (*to <= *from)
        *to += WEEK;
}

bool window_overlap(struct view maintenance, struct view snapshot)
{
    unsigned from, to, begin = minutes(snapshot.p), length = (minutes(snapshot.p + 6) + DAY - begin) % DAY;

    week_minutes(maintenance, &from, &to);
    for (unsigned day = 0; day < 15; day++)
        if (day * DAY + begin < to && from < day * DAY + begin + length)
            return true;
    return false;
}

bool window_is_open(struct view maintenance, int64_t now_ms)
{
    unsigned now = (unsigned)((now_ms / 60000 + MONDAY * DAY) % WEEK), from, to;

    week_minutes(maintenance, &from, &to);
    return (from <= now && now < to) || now + WEEK < to;
}
