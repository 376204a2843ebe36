/*
 * Eviction. A thread that wants to write tries partitions at random, looks at maxmemory-samples items of each, and
 * removes the best by the policy. Partitions that are taken are passed by.
 *
 * Summing what all threads use for every command would cost more than the command. A thread that found memory below
 * the limit may use CREDIT bytes more before it looks again; what it used is what its own counters grew by, so growth
 * that no argument tells is settled too. Where much may have changed at once, in the slow lane or by CONFIG SET, all credits are called
 * in. The overshoot is thus CREDIT a thread and what one command adds.
 */
#include "engine/server/evict.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/log/oplog.h"
#include "engine/server/config.h"
#include "engine/server/server.h"
#include "engine/server/stats.h"
#include "engine/store/access.h"
#include "engine/store/heap.h"
#include "engine/store/keyspace.h"

#define CREDIT 65536
#define TRIES_MAX 64    /* partitions tried for one victim */
#define VICTIMS_MAX 256 /* evicted in one go */

static int64_t get(const config_number *n)
{
    return atomic_load_explicit((config_number *)n, memory_order_relaxed);
}

/* How gladly the policy sees this item go; -1: not at all. */
static int64_t score(const struct server *s, struct thread *t, int64_t policy, const struct item *it, int64_t now)
{
    bool is_volatile = it->flags & ITEM_EXPIRES;

    switch (policy) {
    case POLICY_VOLATILE_LRU:
        return is_volatile ? (int64_t)access_idle_seconds(it, now) : -1;
    case POLICY_ALLKEYS_LRU:
        return (int64_t)access_idle_seconds(it, now);
    case POLICY_VOLATILE_LFU:
        return is_volatile ? 255 - (int64_t)access_frequency(it, now, get(&s->config->lfu_decay_time)) : -1;
    case POLICY_ALLKEYS_LFU:
        return 255 - (int64_t)access_frequency(it, now, get(&s->config->lfu_decay_time));
    case POLICY_VOLATILE_TTL:
        return is_volatile ? INT64_MAX - item_expiry(it) : -1;
    case POLICY_VOLATILE_RANDOM:
        return is_volatile ? (int64_t)(random_next(&t->random) >> 1) : -1;
    case POLICY_ALLKEYS_RANDOM:
        return (int64_t)(random_next(&t->random) >> 1);
    default:
        return -1;
    }
}

static bool is_volatile_policy(int64_t policy)
{
    return policy == POLICY_VOLATILE_LRU || policy == POLICY_VOLATILE_LFU || policy == POLICY_VOLATILE_RANDOM ||
           policy == POLICY_VOLATILE_TTL;
}

/* Evicts one item of that partition (held); false when none is eligible among the samples. */
static bool evict_from(struct server *s, struct thread *t, struct db *db, uint32_t partition)
{
    struct keyspace *ks = s->keyspace;
    int64_t now = clock_wall_ms(), best = -1, policy = get(&s->config->maxmemory_policy);
    struct item *victim = NULL;
    struct place at;
    struct key key;

    for (int64_t i = get(&s->config->maxmemory_samples); i > 0; i--) {
        struct item *it =
            is_volatile_policy(policy) ? db_random_volatile(db, t, partition) : db_random(db, t, partition);
        int64_t points = it ? score(s, t, policy, it, now) : -1;
        if (points > best) {
            best = points;
            victim = it;
        }
    }
    if (!victim)
        return false;
    key = key_make(&ks->hash_key, item_key(victim));
    if (!db_find(db, &key, &at))
        return false;
    db_remove(db, t, &key, &at);
    keyspace_removed(ks, t, db, &key, true);
    item_free(t, victim);
    tally_add(&t->evicted, 1);
    return true;
}

/* The next partition from `from` on, round the end, that holds something the policy may evict; PARTITIONS for none. */
static uint32_t next_candidate(struct keyspace *ks, const struct db *db, uint32_t from, bool only_volatile)
{
    uint32_t partition = from;

    for (uint32_t seen = 0; seen < PARTITIONS; seen++, partition++) {
        uint32_t at = partition % PARTITIONS, next;
        if (only_volatile &&
            atomic_load_explicit(&ks->deadline_groups[at / DEADLINE_GROUP], memory_order_relaxed) == DEADLINE_NONE) {
            uint32_t rest = DEADLINE_GROUP - 1 - at % DEADLINE_GROUP;
            partition += rest;
            seen += rest;
            continue;
        }
        next = db_next_partition(db, (uint64_t)at << TABLE_POSITION_BITS);
        if (next == PARTITIONS)
            next = db_next_partition(db, 0);
        if (next == PARTITIONS || !only_volatile ||
            atomic_load_explicit(&ks->deadlines[next], memory_order_relaxed) != DEADLINE_NONE)
            return next;
        partition = next;
    }
    return PARTITIONS;
}

/* Evicts one item of some database, the first to be asked chosen at random. */
static bool evict_one(struct server *s, struct thread *t)
{
    struct keyspace *ks = s->keyspace;
    bool only_volatile = is_volatile_policy(get(&s->config->maxmemory_policy));
    unsigned first = (unsigned)random_below(&t->random, ks->databases);

    for (unsigned d = 0; d < ks->databases; d++) {
        struct db *db = keyspace_db(ks, (first + d) % ks->databases);
        uint32_t partition = (uint32_t)random_below(&t->random, PARTITIONS);
        if ((only_volatile ? db_expires(db) : db_size(db)) == 0)
            continue;
        for (unsigned i = 0; i < TRIES_MAX; i++, partition++) {
            bool done;
            partition = next_candidate(ks, db, partition % PARTITIONS, only_volatile);
            if (partition == PARTITIONS)
                break;
            if (!partition_try(&ks->partitions[partition]))
                continue;
            done = evict_from(s, t, db, partition);
            keyspace_release(ks, partition);
            if (done)
                return true;
        }
    }
    return false;
}

/* What counts against maxmemory: all but the part of the log that is kept for slow readers, because evicting would only
 * make that longer. */
static int64_t counted(const struct server *s)
{
    int64_t log = (int64_t)atomic_load_explicit(&s->log->bytes, memory_order_relaxed);
    int64_t kept = (int64_t)atomic_load_explicit(&s->log->retain, memory_order_relaxed);

    return server_stats_memory(s) - (log > kept ? log - kept : 0);
}

void evict_call_in(struct server *s)
{
    atomic_fetch_add_explicit(&s->memory_epoch, 1, memory_order_relaxed);
}

enum evict_room evict_make_room(struct server *s, struct thread *t)
{
    int64_t here = tally_read(&t->heap->used) + mem_used_here();

    unsigned epoch = atomic_load_explicit(&s->memory_epoch, memory_order_relaxed);

    if (here > t->credit_mark)
        t->credit -= here - t->credit_mark;
    t->credit_mark = here;
    if (t->credit_epoch != epoch) {
        t->credit_epoch = epoch;
        t->credit = 0;
    }
    if (t->credit > 0)
        return EVICT_ROOM;
    for (unsigned i = 0; i < VICTIMS_MAX; i++) {
        if (counted(s) <= get(&s->config->maxmemory)) {
            t->credit = CREDIT;
            t->credit_mark = tally_read(&t->heap->used) + mem_used_here();
            return EVICT_ROOM;
        }
        if (get(&s->config->maxmemory_policy) == POLICY_NOEVICTION || !evict_one(s, t))
            return EVICT_NO_ROOM;
    }
    return EVICT_LATER;
}
