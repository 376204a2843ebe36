/* Time. Monotonic for intervals and time-outs, wall clock for what users see: expiry times, TIME, logs. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Microseconds since an arbitrary start; never goes back. */
static inline int64_t clock_mono_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Microseconds since 1970-01-01 UTC. */
static inline int64_t clock_wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Milliseconds since 1970-01-01 UTC. */
static inline int64_t clock_wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* CPU time of the calling thread in microseconds. */
static inline int64_t clock_thread_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* A cheap counter for measuring short spans on one thread; clock_ticks_us converts a difference. */
static inline uint64_t clock_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t t;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(t));
    return t;
#else
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
#endif
}

/* Sleeps for about us microseconds. */
void clock_sleep_us(int64_t us);

/* Measures the tick rate; called once at start, takes about 2 ms. */
void clock_calibrate(void);

/* A span of ticks in microseconds, rounded down. */
uint64_t clock_ticks_us(uint64_t span);

/* A span of microseconds in ticks. */
uint64_t clock_us_ticks(uint64_t us);

#endif
