/*
 * Every tally has one writer, its thread, and is never set back: a reset takes a snapshot of the sums, the baseline, and
 * readers subtract it. Exceptions are the longest pause, the counts of errors and evicted clients, which are simply set
 * to zero; what is counted at that very moment may be lost.
 *
 * Latencies are counted in half octaves of ticks, whose bounds are a few instructions away from the ticks; they become
 * microseconds when they are read. The threads' counts are 32 bits wide, for the sake of their caches, and wrap around:
 * what they grew by is folded into wide sums by whoever reads, and by the sampling timer, a command each time, so that
 * every command has its turn long before its counts can grow by 2^32. Redis's histogram of some hundred linear steps an
 * octave was rejected: 64 buckets tell milliseconds from microseconds, and stay in the cache.
 *
 * Errors are counted by code in slots that all threads share. An error reply is rare enough for that, and there are
 * few codes: they come from our own texts, and a bound keeps it so.
 */
#include "engine/server/stats.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/server/config.h"
#include "engine/store/heap.h"

#define SAMPLES 16
#define ERROR_CODES 64
#define ERROR_CODE_MAX 31
#define OVERSHOOT 65536 /* above maxmemory, for each thread, is what eviction allows (server/evict.c) */

/* A rate: the mean over the last SAMPLES. */
struct rate {
    int64_t total, per_second[SAMPLES];
};

/* A command's latencies since the last reset, and the threads' wrapping sums when they were folded last. */
struct latency {
    int64_t counts[LATENCY_BUCKETS];
    uint32_t seen[LATENCY_BUCKETS];
};

/* Something that is so at times; monotonic microseconds, since_us 0 while it is not. */
struct spell {
    int64_t since_us, total_us;
};

struct error_slot {
    char code[ERROR_CODE_MAX + 1];
    _Atomic int64_t count;
};

struct server_baseline {
    pthread_mutex_t lock; /* everything but the counts of errors */
    struct server_sums sums;
    int64_t pauses[PAUSE_BUCKETS];
    unsigned command_count, next_fold; /* next_fold: the command whose latencies the timer folds next */
    struct server_command_sums *commands;
    struct latency *latencies; /* by command id */
    int64_t sampled_us;
    unsigned sample;
    struct rate ops, in, out;
    struct spell over_limit, defrag;

    _Atomic unsigned error_count; /* grows under the lock */
    _Atomic int64_t other_errors; /* those that found no slot */
    struct error_slot errors[ERROR_CODES];
};

void server_stats_init(struct server *s, unsigned commands)
{
    struct server_baseline *b = mem_zalloc(sizeof *b);

    pthread_mutex_init(&b->lock, NULL);
    b->command_count = commands;
    b->commands = mem_zalloc(commands * sizeof *b->commands);
    b->latencies = mem_zalloc(commands * sizeof *b->latencies);
    b->sampled_us = clock_mono_us();
    s->baseline = b;
}

void server_stats_free(struct server *s)
{
    if (!s->baseline)
        return;
    pthread_mutex_destroy(&s->baseline->lock);
    mem_free(s->baseline->commands);
    mem_free(s->baseline->latencies);
    mem_free(s->baseline);
    s->baseline = NULL;
}

/* ---- sums ---- */

static void add_all(struct server *s, struct server_sums *out)
{
    *out = (struct server_sums){0};
    for (unsigned i = 0; i < s->thread_count; i++) {
#define X(name) out->name += tally_read(&s->threads[i]->name);
        SERVER_TALLIES(X)
#undef X
        for (unsigned id = 0; s->command_tallies[i] && id < s->baseline->command_count; id++)
            out->commands += tally_read(&s->command_tallies[i][id].calls);
    }
}

static void add_command(struct server *s, unsigned id, struct server_command_sums *out)
{
    *out = (struct server_command_sums){0};
    for (unsigned i = 0; i < s->thread_count; i++) {
        const struct command_tally *t = s->command_tallies[i];
        if (!t)
            continue;
        out->calls += tally_read(&t[id].calls);
        out->ticks += tally_read(&t[id].ticks);
        out->rejected += tally_read(&t[id].rejected);
        out->failed += tally_read(&t[id].failed);
    }
}

/* Adds what the threads counted since the last time. Locked. */
static void fold_latency(struct server *s, unsigned id)
{
    struct latency *l = &s->baseline->latencies[id];
    uint32_t sums[LATENCY_BUCKETS] = {0};

    for (unsigned i = 0; i < s->thread_count; i++) {
        const struct command_tally *t = s->command_tallies[i];
        if (!t || tally_read(&t[id].calls) == 0)
            continue;
        for (unsigned k = 0; k < LATENCY_BUCKETS; k++)
            sums[k] += atomic_load_explicit((_Atomic uint32_t *)&t[id].latency[k], memory_order_relaxed);
    }
    for (unsigned k = 0; k < LATENCY_BUCKETS; k++) {
        l->counts[k] += (uint32_t)(sums[k] - l->seen[k]);
        l->seen[k] = sums[k];
    }
}

static void add_pauses(struct server *s, struct server_pauses *out)
{
    *out = (struct server_pauses){0};
    for (unsigned i = 0; i < s->thread_count; i++) {
        const struct worker_tally *t = s->worker_tallies[i];
        if (!t)
            continue;
        if (tally_read(&t->pause_max_us) > out->max_us)
            out->max_us = tally_read(&t->pause_max_us);
        for (unsigned k = 0; k < PAUSE_BUCKETS; k++)
            out->counts[k] += tally_read(&t->pause_us[k]);
    }
}

void server_stats_sums(struct server *s, struct server_sums *out)
{
    struct server_baseline *b = s->baseline;

    pthread_mutex_lock(&b->lock);
    add_all(s, out);
#define X(name) out->name -= b->sums.name;
    SERVER_TALLIES(X)
#undef X
    out->commands -= b->sums.commands;
    pthread_mutex_unlock(&b->lock);
}

void server_stats_command(struct server *s, unsigned id, struct server_command_sums *out)
{
    struct server_baseline *b = s->baseline;

    pthread_mutex_lock(&b->lock);
    add_command(s, id, out);
    out->calls -= b->commands[id].calls;
    out->ticks -= b->commands[id].ticks;
    out->rejected -= b->commands[id].rejected;
    out->failed -= b->commands[id].failed;
    pthread_mutex_unlock(&b->lock);
}

void server_stats_pauses(struct server *s, struct server_pauses *out)
{
    struct server_baseline *b = s->baseline;

    pthread_mutex_lock(&b->lock);
    add_pauses(s, out);
    for (unsigned k = 0; k < PAUSE_BUCKETS; k++)
        out->counts[k] -= b->pauses[k];
    pthread_mutex_unlock(&b->lock);
}

void server_stats_latency(struct server *s, unsigned id, struct server_latency *out)
{
    struct server_baseline *b = s->baseline;

    pthread_mutex_lock(&b->lock);
    fold_latency(s, id);
    memcpy(out->counts, b->latencies[id].counts, sizeof out->counts);
    pthread_mutex_unlock(&b->lock);
    out->calls = 0;
    for (unsigned k = 0; k < LATENCY_BUCKETS; k++)
        out->calls += out->counts[k];
}

double server_latency_ticks(const struct server_latency *l, double percentile)
{
    int64_t rank = (int64_t)(percentile / 100 * (double)l->calls + 0.5), below = 0;

    if (l->calls == 0)
        return 0;
    rank = rank < 1 ? 1 : rank > l->calls ? l->calls : rank;
    for (unsigned k = 0;; k++) {
        if (below + l->counts[k] >= rank) {
            double floor = (double)latency_floor(k), width = (double)latency_floor(k + 1) - floor;
            return floor + width * ((double)(rank - below) - 0.5) / (double)l->counts[k];
        }
        below += l->counts[k];
    }
}

/* ---- resets ---- */

static void rate_reset(struct rate *r)
{
    memset(r->per_second, 0, sizeof r->per_second);
}

/* One that goes on begins anew. */
static void spell_reset(struct spell *sp, int64_t now)
{
    sp->total_us = 0;
    if (sp->since_us)
        sp->since_us = now;
}

/* What is set to zero, by whoever may write it. Locked. */
static void reset_shared(struct server *s)
{
    struct server_baseline *b = s->baseline;

    for (unsigned i = 0; i < s->thread_count; i++)
        if (s->worker_tallies[i])
            atomic_store_explicit(&s->worker_tallies[i]->pause_max_us, 0, memory_order_relaxed);
    for (unsigned i = 0; i < atomic_load(&b->error_count); i++)
        atomic_store_explicit(&b->errors[i].count, 0, memory_order_relaxed);
    atomic_store_explicit(&b->other_errors, 0, memory_order_relaxed);
    atomic_store_explicit(&s->evicted_clients, 0, memory_order_relaxed);
    atomic_store_explicit(&s->ops_per_sec, 0, memory_order_relaxed);
    atomic_store_explicit(&s->input_kbps_x100, 0, memory_order_relaxed);
    atomic_store_explicit(&s->output_kbps_x100, 0, memory_order_relaxed);
}

void server_stats_reset(struct server *s)
{
    struct server_baseline *b = s->baseline;
    int64_t now = clock_mono_us();
    struct server_pauses pauses;

    pthread_mutex_lock(&b->lock);
    add_all(s, &b->sums);
    for (unsigned id = 0; id < b->command_count; id++) {
        add_command(s, id, &b->commands[id]);
        fold_latency(s, id);
        memset(b->latencies[id].counts, 0, sizeof b->latencies[id].counts);
    }
    add_pauses(s, &pauses);
    memcpy(b->pauses, pauses.counts, sizeof b->pauses);
    rate_reset(&b->ops);
    rate_reset(&b->in);
    rate_reset(&b->out);
    spell_reset(&b->over_limit, now);
    spell_reset(&b->defrag, now);
    reset_shared(s);
    pthread_mutex_unlock(&b->lock);
}

/* ---- samples ---- */

/* Notes a total that grew for elapsed_us; returns the mean rate per second. */
static int64_t rate_note(struct rate *r, unsigned sample, int64_t total, int64_t elapsed_us)
{
    int64_t mean = 0;

    r->per_second[sample] = (total - r->total) * 1000000 / elapsed_us;
    r->total = total;
    for (unsigned i = 0; i < SAMPLES; i++)
        mean += r->per_second[i];
    return mean / SAMPLES;
}

/* Locked. */
static void sample_rates(struct server *s, int64_t elapsed)
{
    struct server_baseline *b = s->baseline;
    struct server_sums sums;

    add_all(s, &sums);
    atomic_store_explicit(&s->ops_per_sec, rate_note(&b->ops, b->sample, sums.commands, elapsed), memory_order_relaxed);
    atomic_store_explicit(&s->input_kbps_x100, rate_note(&b->in, b->sample, sums.net_in, elapsed) * 100 / 1024,
                          memory_order_relaxed);
    atomic_store_explicit(&s->output_kbps_x100, rate_note(&b->out, b->sample, sums.net_out, elapsed) * 100 / 1024,
                          memory_order_relaxed);
    b->sample = (b->sample + 1) % SAMPLES;
}

static void spell_note(struct spell *sp, bool on, int64_t now)
{
    if (on && !sp->since_us)
        sp->since_us = now;
    if (!on && sp->since_us) {
        sp->total_us += now - sp->since_us;
        sp->since_us = 0;
    }
}

static bool is_over_limit(const struct server *s, int64_t memory)
{
    int64_t limit = atomic_load_explicit(&s->config->maxmemory, memory_order_relaxed);

    return limit > 0 && memory > limit + (int64_t)s->thread_count * OVERSHOOT;
}

void server_stats_sample(struct server *s)
{
    struct server_baseline *b = s->baseline;
    int64_t now = clock_mono_us(), memory = server_stats_memory(s);

    if (memory > atomic_load_explicit(&s->memory_peak, memory_order_relaxed))
        atomic_store_explicit(&s->memory_peak, memory, memory_order_relaxed);
    pthread_mutex_lock(&b->lock);
    if (now > b->sampled_us) {
        sample_rates(s, now - b->sampled_us);
        b->sampled_us = now;
    }
    spell_note(&b->over_limit, is_over_limit(s, memory), now);
    spell_note(&b->defrag, defrag_cycle_running(s), now);
    fold_latency(s, b->next_fold);
    b->next_fold = (b->next_fold + 1) % b->command_count;
    pthread_mutex_unlock(&b->lock);
}

static struct server_spell spell_read(const struct spell *sp, int64_t now)
{
    int64_t current = sp->since_us ? now - sp->since_us : 0;

    return (struct server_spell){(sp->total_us + current) / 1000, current / 1000};
}

void server_stats_spells(struct server *s, struct server_spells *out)
{
    struct server_baseline *b = s->baseline;
    int64_t now;

    pthread_mutex_lock(&b->lock);
    now = clock_mono_us();
    out->over_limit = spell_read(&b->over_limit, now);
    out->defrag = spell_read(&b->defrag, now);
    pthread_mutex_unlock(&b->lock);
}

int64_t server_stats_changes(const struct server *s)
{
    int64_t n = 0;

    for (unsigned i = 0; i < s->thread_count; i++)
        n += tally_read(&s->threads[i]->changes);
    return n;
}

int64_t server_stats_memory(const struct server *s)
{
    int64_t blocks = 0;

    if (s->thread_count > 0 && s->threads[0]->heap)
        blocks = (int64_t)heap_used(s->threads[0]->heap->shared);
    return mem_used() + blocks;
}

/* ---- errors ---- */

static struct error_slot *error_slot(struct server_baseline *b, const char *code, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        if (strcmp(b->errors[i].code, code) == 0)
            return &b->errors[i];
    return NULL;
}

void server_stats_error(void *arg, struct view text)
{
    const struct server *s = arg;
    struct server_baseline *b = s->baseline;
    const char *space = text.n ? memchr(text.p, ' ', text.n) : NULL;
    size_t n = space ? (size_t)(space - text.p) : text.n;
    unsigned known = atomic_load_explicit(&b->error_count, memory_order_acquire);
    char code[ERROR_CODE_MAX + 1] = {0};
    struct error_slot *slot;

    memcpy(code, n ? text.p : "", n < ERROR_CODE_MAX ? n : ERROR_CODE_MAX);
    slot = error_slot(b, code, 0, known);
    if (!slot) {
        pthread_mutex_lock(&b->lock);
        slot = error_slot(b, code, known, atomic_load(&b->error_count));
        known = atomic_load(&b->error_count);
        if (!slot && known < ERROR_CODES) {
            slot = &b->errors[known];
            memcpy(slot->code, code, sizeof code);
            atomic_store_explicit(&b->error_count, known + 1, memory_order_release);
        }
        pthread_mutex_unlock(&b->lock);
    }
    atomic_fetch_add_explicit(slot ? &slot->count : &b->other_errors, 1, memory_order_relaxed);
}

int64_t server_stats_error_total(const struct server *s)
{
    const struct server_baseline *b = s->baseline;
    unsigned known = atomic_load_explicit((_Atomic unsigned *)&b->error_count, memory_order_acquire);
    int64_t n = atomic_load_explicit((_Atomic int64_t *)&b->other_errors, memory_order_relaxed);

    for (unsigned i = 0; i < known; i++)
        n += atomic_load_explicit((_Atomic int64_t *)&b->errors[i].count, memory_order_relaxed);
    return n;
}

static int compare_slots(const void *a, const void *b)
{
    return strcmp((*(struct error_slot *const *)a)->code, (*(struct error_slot *const *)b)->code);
}

void server_stats_errors(struct server *s, void (*fn)(void *arg, const char *code, int64_t count), void *arg)
{
    struct server_baseline *b = s->baseline;
    unsigned n = atomic_load_explicit(&b->error_count, memory_order_acquire);
    struct error_slot *slots[ERROR_CODES] = {NULL};

    for (unsigned i = 0; i < n; i++)
        slots[i] = &b->errors[i];
    qsort(slots, n, sizeof slots[0], compare_slots);
    for (unsigned i = 0; i < n; i++) {
        int64_t count = atomic_load_explicit(&slots[i]->count, memory_order_relaxed);
        if (count > 0)
            fn(arg, slots[i]->code, count);
    }
}
