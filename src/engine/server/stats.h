/* Statistics: sums of the threads' tallies since the last CONFIG RESETSTAT, rates, and counts of errors. Any thread. */
#ifndef SERVER_STATS_H
#define SERVER_STATS_H

#include <stdint.h>

#include "base/view.h"
#include "engine/server/server.h"

/* The tallies of struct thread that are statistics. */
/* clang-format off */
#define SERVER_TALLIES(X)                                                                                              \
    X(hits) X(misses) X(expired) X(evicted) X(expired_lazily) X(commands) X(rejected) X(net_in) X(net_out)   \
    X(connections) X(refused) X(defrag_moved) X(defrag_scanned) X(parks) X(gate_passes) X(lane_jobs)
/* clang-format on */

struct server_sums {
#define X(name) int64_t name;
    SERVER_TALLIES(X)
#undef X
};

struct server_command_sums {
    int64_t calls, ticks, rejected, failed;
};

struct server_pauses {
    int64_t max_us;
    int64_t counts[PAUSE_BUCKETS];
};

/* Makes s->baseline. commands: how many ids there are. */
void server_stats_init(struct server *s, unsigned commands);
void server_stats_free(struct server *s);

void server_stats_sums(struct server *s, struct server_sums *out);
void server_stats_command(struct server *s, unsigned id, struct server_command_sums *out);
void server_stats_pauses(struct server *s, struct server_pauses *out);

/* From here on everything counts from zero. */
void server_stats_reset(struct server *s);

/* Takes a sample for the rates and the memory peak: a timer's work, every 100 ms, always on the same thread. */
void server_stats_sample(struct server *s);

/* Counts an error reply under its code, the first word of `text`. A reply's on_error: arg is the struct server. */
void server_stats_error(void *arg, struct view text);

/* Calls fn for each code that was counted, in alphabetical order. */
void server_stats_errors(struct server *s, void (*fn)(void *arg, const char *code, int64_t count), void *arg);

/* Changes of keys since the last save, as Redis's dirty counts them. */
int64_t server_stats_changes(const struct server *s);

/* Bytes in use: everything that was allocated, and the blocks of the store. */
int64_t server_stats_memory(const struct server *s);

#endif
