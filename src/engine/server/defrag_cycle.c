/*
 * Defragmentation cycles: see defrag_cycle.h. What counts as fragmentation is what the heap's pages hold beyond the
 * blocks in use; thresholds and shares of time are read as Redis reads them, with a share meaning each worker's own.
 */
#include "engine/server/defrag_cycle.h"

#include "base/allocator.h"
#include "base/clock.h"
#include "engine/server/config.h"
#include "engine/server/server.h"
#include "engine/store/heap.h"
#include "engine/store/keyspace.h"

#define STEP_US 100
#define AGAIN_MS 1000      /* after a cycle that gave pages back */
#define FRUITLESS_MS 30000 /* after one that did not */

static int64_t get(const config_number *n)
{
    return atomic_load_explicit((config_number *)n, memory_order_relaxed);
}

bool defrag_cycle_running(const struct server *s)
{
    return atomic_load_explicit(&((struct server *)s)->defrag.percent, memory_order_relaxed) != 0;
}

/* The share of time that this fragmentation deserves: 0 below the thresholds, else between cycle-min and cycle-max. */
static int64_t percent_for(const struct config *c, const struct heap_stats *h)
{
    int64_t lower = get(&c->active_defrag_threshold_lower), upper = get(&c->active_defrag_threshold_upper);
    int64_t min = get(&c->active_defrag_cycle_min), max = get(&c->active_defrag_cycle_max);
    int64_t wasted = (int64_t)h->resident - (int64_t)h->used;
    int64_t fragmentation = h->used ? wasted * 100 / (int64_t)h->used : 100;

    if (wasted < get(&c->active_defrag_ignore_bytes) || fragmentation < lower)
        return 0;
    if (upper <= lower || fragmentation >= upper)
        return max;
    return min + (max - min) * (fragmentation - lower) / (upper - lower);
}

static void begin(struct server *s, const struct heap_stats *h)
{
    struct defrag_cycle *d = &s->defrag;
    int64_t percent = percent_for(s->config, h);

    if (percent == 0)
        return;
    d->pages = h->pages;
    heap_choose_drain(s->threads[0]->heap->shared);
    atomic_store(&d->walking, s->worker_count);
    atomic_store(&d->percent, percent);
    atomic_fetch_add(&d->number, 1);
}

static void end(struct server *s, const struct heap_stats *h)
{
    struct defrag_cycle *d = &s->defrag;

    heap_end_drain(s->threads[0]->heap->shared);
    d->due_ms = clock_wall_ms() + (h->pages < d->pages ? AGAIN_MS : FRUITLESS_MS);
    atomic_store(&d->percent, 0);
    allocator_trim();
}

void defrag_cycle_turn(struct server *s)
{
    struct heap_stats h;

    if (atomic_load(&s->defrag.wanted) == DEFRAG_TURN_NONE)
        return;
    heap_stats(s->threads[0]->heap->shared, &h);
    if (atomic_load(&s->defrag.wanted) == DEFRAG_TURN_BEGIN)
        begin(s, &h);
    else
        end(s, &h);
    atomic_store(&s->defrag.wanted, DEFRAG_TURN_NONE);
}

void defrag_cycle_tick(struct server *s, int64_t now_ms)
{
    struct defrag_cycle *d = &s->defrag;
    struct heap_stats h;
    int64_t percent;

    if (atomic_load(&d->wanted) != DEFRAG_TURN_NONE)
        return;
    if (!get(&s->config->activedefrag) && !defrag_cycle_running(s)) {
        d->due_ms = 0;
        return;
    }
    heap_stats(s->threads[0]->heap->shared, &h);
    percent = percent_for(s->config, &h);
    if (defrag_cycle_running(s)) {
        if (percent > atomic_load(&d->percent)) /* what began with little may have become much */
            atomic_store(&d->percent, percent);
        if (atomic_load(&d->walking) > 0)
            return;
        atomic_store(&d->wanted, DEFRAG_TURN_END);
        return;
    }
    if (percent == 0 || (now_ms < d->due_ms && d->due_ms <= now_ms + FRUITLESS_MS))
        return;
    atomic_store(&d->wanted, DEFRAG_TURN_BEGIN);
}

int64_t defrag_cycle_step(struct server *s, struct thread *t, struct defrag_share *share, uint32_t from, uint32_t to)
{
    struct defrag_cycle *d = &s->defrag;
    int64_t percent = atomic_load_explicit(&d->percent, memory_order_relaxed), start, now;
    uint32_t number = atomic_load(&d->number);

    if (share->number != number) {
        *share = (struct defrag_share){.number = number, .walking = true, .walk.partition = from, .to = to};
        heap_drain_check(t->heap);
    }
    if (!share->walking)
        return INT64_MAX;
    start = clock_mono_us();
    if (start < share->due_us)
        return (share->due_us - start) / 1000 + 1;
    if (!get(&s->config->activedefrag) || defrag_step(s->keyspace, t, share->to, &share->walk, STEP_US)) {
        share->walking = false;
        atomic_fetch_sub(&d->walking, 1);
        return INT64_MAX;
    }
    now = clock_mono_us();
    share->due_us = now + (now - start) * (100 - percent) / percent;
    return 1;
}
