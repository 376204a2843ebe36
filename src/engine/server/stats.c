/*
 * Every tally has one writer, its thread, and is never set back: a reset takes a snapshot of the sums, the baseline, and
 * readers subtract it. Exceptions are the longest pause and the counts of errors, which are simply set to zero; what is
 * counted at that very moment may be lost.
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
#include "engine/store/heap.h"

#define SAMPLES 16
#define ERROR_CODES 64
#define ERROR_CODE_MAX 31

/* A rate: the mean over the last SAMPLES. */
struct rate {
    int64_t total, per_second[SAMPLES];
};

struct error_slot {
    char code[ERROR_CODE_MAX + 1];
    _Atomic int64_t count;
};

struct server_baseline {
    pthread_mutex_t lock; /* the snapshot, and new error slots */
    struct server_sums sums;
    int64_t pauses[PAUSE_BUCKETS];
    unsigned command_count;
    struct server_command_sums *commands;

    /* the sampling thread's */
    int64_t sampled_us;
    unsigned sample;
    struct rate ops, in, out;

    _Atomic unsigned error_count;
    struct error_slot errors[ERROR_CODES];
};

void server_stats_init(struct server *s, unsigned commands)
{
    struct server_baseline *b = mem_zalloc(sizeof *b);

    pthread_mutex_init(&b->lock, NULL);
    b->command_count = commands;
    b->commands = mem_zalloc(commands * sizeof *b->commands);
    b->sampled_us = clock_mono_us();
    s->baseline = b;
}

void server_stats_free(struct server *s)
{
    if (!s->baseline)
        return;
    pthread_mutex_destroy(&s->baseline->lock);
    mem_free(s->baseline->commands);
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

void server_stats_reset(struct server *s)
{
    struct server_baseline *b = s->baseline;
    struct server_pauses pauses;

    pthread_mutex_lock(&b->lock);
    add_all(s, &b->sums);
    for (unsigned id = 0; id < b->command_count; id++)
        add_command(s, id, &b->commands[id]);
    add_pauses(s, &pauses);
    memcpy(b->pauses, pauses.counts, sizeof b->pauses);
    for (unsigned i = 0; i < s->thread_count; i++)
        if (s->worker_tallies[i])
            atomic_store_explicit(&s->worker_tallies[i]->pause_max_us, 0, memory_order_relaxed);
    for (unsigned i = 0; i < atomic_load(&b->error_count); i++)
        atomic_store_explicit(&b->errors[i].count, 0, memory_order_relaxed);
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

void server_stats_sample(struct server *s)
{
    struct server_baseline *b = s->baseline;
    int64_t now = clock_mono_us(), elapsed = now - b->sampled_us, memory = server_stats_memory(s);
    struct server_sums sums;

    if (memory > atomic_load_explicit(&s->memory_peak, memory_order_relaxed))
        atomic_store_explicit(&s->memory_peak, memory, memory_order_relaxed);
    if (elapsed <= 0)
        return;
    add_all(s, &sums);
    atomic_store_explicit(&s->ops_per_sec, rate_note(&b->ops, b->sample, sums.commands, elapsed), memory_order_relaxed);
    atomic_store_explicit(&s->input_kbps_x100, rate_note(&b->in, b->sample, sums.net_in, elapsed) * 100 / 1024,
                          memory_order_relaxed);
    atomic_store_explicit(&s->output_kbps_x100, rate_note(&b->out, b->sample, sums.net_out, elapsed) * 100 / 1024,
                          memory_order_relaxed);
    b->sample = (b->sample + 1) % SAMPLES;
    b->sampled_us = now;
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
    struct heap_stats heap = {0};

    if (s->thread_count > 0 && s->threads[0]->heap)
        heap_stats(s->threads[0]->heap->shared, &heap);
    return mem_used() + (int64_t)heap.used;
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
    if (slot)
        atomic_fetch_add_explicit(&slot->count, 1, memory_order_relaxed);
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
