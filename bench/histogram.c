/* Buckets of equal relative width. Durations below 64 ns have a bucket each; above, the highest bit chooses the group
 * and the next six bits the bucket in it. Sorting raw samples was rejected: a run makes tens of millions of them. */
#include "histogram.h"

#define SUB_COUNT (1u << HISTOGRAM_SUB_BITS)

static unsigned bucket_of(uint64_t ns)
{
    unsigned shift;

    if (ns < SUB_COUNT)
        return (unsigned)ns;
    shift = 63 - (unsigned)__builtin_clzll(ns) - HISTOGRAM_SUB_BITS;
    return ((shift + 1) << HISTOGRAM_SUB_BITS) + (unsigned)((ns >> shift) & (SUB_COUNT - 1));
}

/* The middle of a bucket, in nanoseconds. */
static double bucket_middle(unsigned i)
{
    unsigned group = i >> HISTOGRAM_SUB_BITS;
    double width;

    if (group == 0)
        return (double)i;
    width = (double)(1ull << (group - 1));
    return width * (double)(SUB_COUNT + (i & (SUB_COUNT - 1))) + width / 2;
}

void histogram_add(struct histogram *h, uint64_t ns)
{
    h->bucket[bucket_of(ns)]++;
    h->count++;
    if (ns > h->max)
        h->max = ns;
}

double histogram_quantile_us(const struct histogram *h, double fraction)
{
    uint64_t rank = (uint64_t)(fraction * (double)h->count), seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen > rank) {
            double ns = bucket_middle(i);
            return (ns < (double)h->max ? ns : (double)h->max) / 1000;
        }
    }
    return (double)h->max / 1000;
}

void histogram_print(const struct histogram *h, FILE *out, bool with_buckets)
{
    const char *separator = "";

    fprintf(out, "{\"count\":%llu,\"p50_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,\"max_us\":%.2f",
            (unsigned long long)h->count, histogram_quantile_us(h, 0.5), histogram_quantile_us(h, 0.99),
            histogram_quantile_us(h, 0.999), (double)h->max / 1000);
    if (with_buckets) {
        fputs(",\"buckets\":[", out);
        for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
            if (h->bucket[i] == 0)
                continue;
            fprintf(out, "%s[%.3f,%llu]", separator, bucket_middle(i) / 1000, (unsigned long long)h->bucket[i]);
            separator = ",";
        }
        fputc(']', out);
    }
    fputc('}', out);
}
