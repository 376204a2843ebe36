/* Active expiry: see expire.h; the bounds are explained in table.h. */
#include "engine/store/expire.h"

#include "base/clock.h"
#include "engine/store/keyspace.h"

struct sweep {
    struct keyspace *ks;
    struct thread *t;
    struct db *db;
    uint32_t partition;
    int64_t now_ms;
    uint32_t now;
    uint32_t next;       /* lowest deadline that remains */
    struct item *victim; /* one expired item of the segment; removing may rebuild it, so the search starts over */
    int64_t end_us;      /* monotonic: no victim is looked for later */
    bool stopped;        /* there is more, but the time was up */
};

#define VICTIMS_PER_LOOK 32 /* at the clock */

/* Finds an expired item in the chain of b and sets the bound anew. */
static void sweep_bucket(struct sweep *s, struct bucket *b)
{
    uint32_t bound = DEADLINE_NONE;

    for (struct bucket *at = b; at; at = bucket_next(at))
        for (unsigned i = 0; i < TABLE_SLOTS; i++) {
            struct item *it = at->tags[i] ? bucket_ref(at, i) : NULL;
            uint32_t deadline;
            if (!it || !(it->flags & ITEM_EXPIRES))
                continue;
            if (item_expiry(it) <= s->now_ms) {
                s->victim = it;
                return;
            }
            deadline = keyspace_deadline(s->ks, item_expiry(it));
            if (deadline < bound)
                bound = deadline;
        }
    b->deadline = bound;
}

static void sweep_segment(void *arg, struct segment *seg)
{
    struct sweep *s = arg;
    uint32_t bound = DEADLINE_NONE;

    if (s->victim)
        return;
    if (seg->deadline <= s->now || segment_word(&db_table(s->db, s->partition)->root) == segment_word(seg)) {
        for (unsigned i = 0; i < segment_buckets(seg); i++) {
            struct bucket *b = segment_bucket(seg, i);
            if (b->deadline <= s->now)
                sweep_bucket(s, b);
            if (s->victim)
                return;
            if (b->deadline < bound)
                bound = b->deadline;
        }
        seg->deadline = bound;
    }
    if (seg->deadline < s->next)
        s->next = seg->deadline;
}

static void sweep_table(struct sweep *s)
{
    struct table *table = db_table(s->db, s->partition);

    if (!table || table->root.deadline == DEADLINE_NONE)
        return;
    if (table->root.deadline > s->now) {
        if (table->root.deadline < s->next)
            s->next = table->root.deadline;
        return;
    }
    for (unsigned n = 1;; n++) {
        uint32_t before = s->next;
        struct place at;
        struct key key;
        if (n % VICTIMS_PER_LOOK == 0 && clock_mono_us() > s->end_us) {
            s->stopped = true;
            s->next = s->now;
            return;
        }
        s->victim = NULL;
        s->next = DEADLINE_NONE;
        table_each_segment(table, sweep_segment, s);
        if (!s->victim) {
            table->root.deadline = s->next;
            if (before < s->next)
                s->next = before;
            return;
        }
        s->next = before;
        key = key_make(&s->ks->hash_key, item_key(s->victim));
        if (!db_find(s->db, &key, &at))
            return;
        db_remove(s->db, s->t, &key, &at);
        keyspace_removed(s->ks, s->t, s->db, &key, false);
        item_free(s->t, s->victim);
        tally_add(&s->t->expired, 1);
    }
}

int64_t expire_step(struct keyspace *ks, struct thread *t, uint32_t from, uint32_t to, uint32_t *next,
                    int64_t budget_us)
{
    struct sweep s = {.ks = ks, .t = t, .now_ms = clock_wall_ms()};
    int64_t start = clock_mono_us();
    uint32_t earliest = DEADLINE_NONE;

    s.now = keyspace_deadline_now(ks, s.now_ms);
    s.end_us = start + budget_us;
    if (*next < from || *next >= to)
        *next = from;
    for (; *next < to; ++*next) {
        uint32_t group = atomic_load_explicit(&ks->deadline_groups[*next / DEADLINE_GROUP], memory_order_relaxed);
        uint32_t deadline = atomic_load_explicit(&ks->deadlines[*next], memory_order_relaxed);
        struct partition *p = &ks->partitions[*next];
        if (*next % DEADLINE_GROUP == 0 && group > s.now) {
            if (group < earliest)
                earliest = group;
            *next += DEADLINE_GROUP - 1;
            continue;
        }
        if (*next % DEADLINE_GROUP == 0)
            keyspace_refresh_group(ks, *next);
        if (deadline > s.now) {
            if (deadline < earliest)
                earliest = deadline;
            continue;
        }
        if (!partition_try(p)) {
            earliest = s.now;
            continue;
        }
        s.partition = *next;
        s.next = DEADLINE_NONE;
        for (unsigned i = 0; i < ks->databases; i++) {
            s.db = &ks->db[i];
            sweep_table(&s);
        }
        atomic_store_explicit(&ks->deadlines[*next], s.next, memory_order_relaxed);
        keyspace_release(ks, *next);
        if (s.next < earliest)
            earliest = s.next;
        if (s.stopped || clock_mono_us() > s.end_us)
            return 0;
    }
    *next = from;
    if (earliest == DEADLINE_NONE)
        return INT64_MAX;
    return earliest <= s.now ? 1 : (int64_t)(earliest - s.now) * DEADLINE_UNIT_MS;
}
