/* Statistics: sums of the threads' tallies since the last CONFIG RESETSTAT, rates, and counts of errors. Any thread. */
#ifndef SERVER_STATS_H
#define SERVER_STATS_H

#include <stdint.h>

#include "base/view.h"
#include "engine/server/server.h"

/* The tallies of struct thread that are statistics. */
/* clang-format off */
#define SERVER_TALLIES(X)                                                                                              \
    X(hits) X(misses) X(expired) X(evicted) X(expired_lazily) X(rejected) X(net_in) X(net_out)               \
    X(connections) X(refused) X(defrag_moved) X(defrag_scanned) X(parks) X(gate_passes) X(lane_jobs)     \
    X(reads) X(writes) X(expire_us) X(expire_stops) X(replication_in) X(replication_out)
/* clang-format on */

struct server_sums {
#define X(name) int64_t name;
    SERVER_TALLIES(X)
#undef X
    int64_t commands; /* calls of all of them */
};

struct server_command_sums {
    int64_t calls, ticks, rejected, failed;
};

struct server_pauses {
    int64_t max_us;
    int64_t counts[PAUSE_BUCKETS];
};

/* Calls of one command by how long they took: counts[i] of at least latency_floor(i) ticks and less than
 * latency_floor(i + 1). */
struct server_latency {
    int64_t calls, counts[LATENCY_BUCKETS];
};

/* For how long something has been so, in milliseconds: altogether, and without a break until now. */
struct server_spell {
    int64_t total_ms, current_ms;
};

struct server_spells {
    struct server_spell over_limit; /* memory above maxmemory */
    struct server_spell defrag;     /* a defragmentation cycle running */
};

/* The bucket of a call of so many ticks. */
static inline unsigned latency_bucket(uint64_t ticks)
{
    uint64_t span = ticks < UINT32_MAX ? ticks : UINT32_MAX;
    unsigned octave = 63u - (unsigned)__builtin_clzll(span | 1);

    return 2 * octave + ((span << 1) >> octave & 1);
}

/* The fewest ticks that fall into bucket i. Bucket 1 is always empty: there is nothing between 1 and 2. */
static inline uint64_t latency_floor(unsigned i)
{
    return i == 0 ? 0 : ((uint64_t)1 << i / 2) + (i % 2 ? (uint64_t)1 << i / 2 >> 1 : 0);
}

/* Counts a call that took so many ticks. The tally's own thread. */
static inline __attribute__((always_inline)) void command_tally_note(struct command_tally *t, uint64_t ticks)
{
    _Atomic uint32_t *n = &t->latency[latency_bucket(ticks)];

    tally_add(&t->calls, 1);
    tally_add(&t->ticks, (int64_t)ticks);
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* Makes s->baseline. commands: how many ids there are. */
void server_stats_init(struct server *s, unsigned commands);
void server_stats_free(struct server *s);

void server_stats_sums(struct server *s, struct server_sums *out);
void server_stats_command(struct server *s, unsigned id, struct server_command_sums *out);
void server_stats_pauses(struct server *s, struct server_pauses *out);
void server_stats_latency(struct server *s, unsigned id, struct server_latency *out);
void server_stats_spells(struct server *s, struct server_spells *out);

/* The ticks that `percentile` (0 to 100) per cent of the calls did not exceed, interpolated within its bucket; 0 when
 * there were no calls. */
double server_latency_ticks(const struct server_latency *l, double percentile);

/* From here on everything counts from zero. */
void server_stats_reset(struct server *s);

/* Takes a sample for rates, spells and the memory peak: a timer's work, every 100 ms, always on the same thread. */
void server_stats_sample(struct server *s);

/* Counts an error reply under its code, the first word of `text`. A reply's on_error: arg is the struct server. */
void server_stats_error(void *arg, struct view text);

/* Calls fn for each code that was counted, in alphabetical order. */
void server_stats_errors(struct server *s, void (*fn)(void *arg, const char *code, int64_t count), void *arg);

/* All error replies, with those whose code found no slot. */
int64_t server_stats_error_total(const struct server *s);

/* Changes of keys since the last save, as Redis's dirty counts them. */
int64_t server_stats_changes(const struct server *s);

/* Bytes in use: everything that was allocated, and the blocks of the store. */
int64_t server_stats_memory(const struct server *s);

#endif
