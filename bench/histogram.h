/* A log-linear histogram of durations: 64 buckets for each power of two, so a percentile is exact to 1.6 %. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t count;
    uint64_t max; /* ns, exact */
    uint64_t bucket[HISTOGRAM_BUCKETS];
};

/* Counts one duration in nanoseconds. */
void histogram_add(struct histogram *h, uint64_t ns);

/* The duration in microseconds below which `fraction` (0 to 1) of the samples lie; 0 when there are none. */
double histogram_quantile_us(const struct histogram *h, double fraction);

/* Writes a JSON object: count, p50_us, p99_us, p999_us, max_us and, if asked for, the non-empty buckets as
 * [[us, samples], ...], with which histograms of several runs can be joined. */
void histogram_print(const struct histogram *h, FILE *out, bool with_buckets);

#endif
