/* The server as commands see it: the parts that main wires together, and what belongs to no single part. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/server/defrag_cycle.h"
#include "engine/store/thread.h"

struct clients;
struct config;
struct keyspace;

/* What commands ask of the layers above them. */
struct server_ops {
    /* Begins an orderly end; returns at once. */
    void (*shutdown)(void *arg);
    /* Wakes the connections that CLIENT PAUSE holds. Gate closed. */
    void (*unpause)(void *arg);
    /* Between the steps of long work, holding nothing: lets others have the gate and the core. */
    void (*let_in)(void *arg, struct thread *t);
};

#define LATENCY_BUCKETS 64 /* half octaves of clock_ticks, up to 2^32; longer calls count in the last */

/* Statistics of a command, one array per thread, indexed by command id. */
struct command_tally {
    tally calls, ticks, rejected, failed;      /* ticks: clock_ticks */
    _Atomic uint32_t latency[LATENCY_BUCKETS]; /* calls by their ticks; wraps around, server/stats.c sees to that */
};

#define PAUSE_BUCKETS 24 /* histogram of worker pauses: bucket i counts pauses of [2^i, 2^(i+1)) microseconds */

/* The statistics that a worker keeps beside struct thread's. */
struct worker_tally {
    tally pause_max_us; /* longest loop turn since the last reset */
    tally pause_us[PAUSE_BUCKETS];
};

struct server {
    struct config *config;
    struct keyspace *keyspace;
    struct clients *clients;
    const struct server_ops *ops;
    void *ops_arg;

    unsigned thread_count;              /* entries in use of the next three */
    struct thread *threads[THREAD_MAX]; /* fixed after start */
    struct command_tally *command_tallies[THREAD_MAX];
    struct worker_tally *worker_tallies[THREAD_MAX]; /* NULL for threads that are no workers */
    unsigned worker_count;

    char run_id[41], repl_id[41]; /* 40 random hex digits each, set at start */
    char *executable, *config_file;
    int64_t start_wall_ms, start_mono_us;
    unsigned port;
    _Atomic bool active_expire; /* DEBUG SET-ACTIVE-EXPIRE */
    _Atomic int64_t
        pause_until_ms;     /* CLIENT PAUSE: wall clock, 0 for none; set under the gate, cleared when it has passed */
    _Atomic bool pause_all; /* pauses reads too */
    int64_t memory_startup; /* server_stats_memory before the first client */
    _Atomic int64_t memory_peak;
    _Atomic int64_t errors_reset_ms;
    _Atomic bool stopping;
    atomic_uint memory_epoch;                                       /* server/evict.c */
    atomic_uint strangers;                                          /* connections that must log in and have not */
    _Atomic int64_t ops_per_sec, input_kbps_x100, output_kbps_x100; /* sampled by the housekeeping timer */
    _Atomic uint64_t blocked_clients, evicted_clients;
    _Atomic int64_t last_save_wall_s;
    /* Sums of the tallies at the last CONFIG RESETSTAT are subtracted by readers: tallies have one writer each. */
    struct defrag_cycle defrag;
    struct server_baseline *baseline; /* server/stats.c */
};

#endif
