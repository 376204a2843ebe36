/*
 * The rate of the tick counter, measured against the monotonic clock and kept as two fixed-point factors: converting a
 * span is one wide multiplication. They are written once, before threads start. The counter is assumed to run at a
 * constant rate on all cores (invariant TSC, the generic timer of ARM), as it does on every machine of the last decade.
 */
#include "base/clock.h"

#define CALIBRATE_NS 2000000
#define US_SHIFT 48
#define TICK_SHIFT 32

/* Until clock_calibrate runs, a tick counts as a nanosecond. */
static uint64_t us_per_tick = ((uint64_t)1 << US_SHIFT) / 1000;
static uint64_t ticks_per_us = (uint64_t)1000 << TICK_SHIFT;

struct moment {
    uint64_t ticks;
    int64_t ns;
};

/* Both clocks at one moment: the tightest of a few readings, in case one is interrupted. */
static struct moment now(void)
{
    struct moment m = {0, 0};
    uint64_t tightest = UINT64_MAX;

    for (int i = 0; i < 5; i++) {
        struct timespec t;
        uint64_t before = clock_ticks();

        clock_gettime(CLOCK_MONOTONIC, &t);
        uint64_t gap = clock_ticks() - before;
        if (gap < tightest) {
            tightest = gap;
            m.ticks = before + gap / 2;
            m.ns = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
        }
    }
    return m;
}

void clock_calibrate(void)
{
    struct moment start = now(), end;

    do
        end = now();
    while (end.ns - start.ns < CALIBRATE_NS || end.ticks <= start.ticks);

    uint64_t ticks = end.ticks - start.ticks, ns = (uint64_t)(end.ns - start.ns);
    us_per_tick = (uint64_t)(((unsigned __int128)ns << US_SHIFT) / ((unsigned __int128)ticks * 1000));
    ticks_per_us = (uint64_t)((((unsigned __int128)ticks * 1000) << TICK_SHIFT) / ns);
}

uint64_t clock_ticks_us(uint64_t span)
{
    return (uint64_t)(((unsigned __int128)span * us_per_tick) >> US_SHIFT);
}

uint64_t clock_us_ticks(uint64_t us)
{
    return (uint64_t)(((unsigned __int128)us * ticks_per_us) >> TICK_SHIFT);
}

void clock_sleep_us(int64_t us)
{
    struct timespec t = {us / 1000000, us % 1000000 * 1000};

    nanosleep(&t, NULL);
}
