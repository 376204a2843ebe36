/* The server as commands see it: the parts that main wires together, and what belongs to no single part. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"
#include "engine/server/defrag_cycle.h"
#include "engine/store/thread.h"

struct clients;
struct config;
struct config_cidr;
struct keyspace;
struct oplog;
struct persistence;
struct replication;

/* How the server is to end: as SHUTDOWN's words say. */
enum shutdown_option {
    SHUTDOWN_NOSAVE = 1,
    SHUTDOWN_SAVE = 2,
    SHUTDOWN_NOW = 4,   /* replicas are not waited for */
    SHUTDOWN_FORCE = 8, /* it ends though it could not save */
};

/* A listener as an agent sees it. */
struct server_listener {
    const char *name, *address;
    uint64_t accepted; /* connections that ever came through it */
};

/* What commands ask of the layers above them. */
struct server_ops {
    /* Begins an orderly end; returns at once. options: enum shutdown_option. */
    void (*shutdown)(void *arg, unsigned options);
    /* Gives it up; false when none has begun, or it cannot be given up any more. */
    bool (*shutdown_abort)(void *arg);
    /* Wakes the connections that CLIENT PAUSE holds. Gate closed. */
    void (*unpause)(void *arg);
    /* Between the steps of long work, holding nothing: lets others have the gate and the core. */
    void (*let_in)(void *arg, struct thread *t);
    /* Runs fn(fn_arg) with the gate closed: at once, on this thread, which may wait and is in no gate; or soon, on another. */
    void (*exclusive)(void *arg, void (*fn)(void *fn_arg), void *fn_arg);
    void (*post_exclusive)(void *arg, void (*fn)(void *fn_arg), void *fn_arg);
    /* Has all workers look again at what waits for replicas, for the disk, or for a snapshot. */
    void (*progressed)(void *arg);
    /* Has a connection's worker look at it: its record as a replica changed. */
    void (*touch)(void *arg, uint32_t worker, uint64_t id);
    /* Closes every connection of a client, whatever waits to be sent. */
    void (*close_clients)(void *arg);
    /* The primary to follow changed (server/replication.h). */
    void (*follow)(void *arg);
    /* Listeners that an agent passes, and peers that may connect (net/listeners.h). Outside the gate. listen takes the
     * descriptor over when it returns 0, else says why not; unlisten gives one (fd may be NULL), and returns 0 or a
     * negative errno value; cut closes all connections that came through a listener of that name that has left, and is
     * false when there is none. */
    int (*listen)(void *arg, struct view name, int fd, char *err, size_t err_size);
    int (*unlisten)(void *arg, struct view name, int *fd);
    bool (*cut)(void *arg, struct view name);
    void (*each_listener)(void *arg, void (*fn)(void *fn_arg, const struct server_listener *l), void *fn_arg);
    void (*restrict_peers)(void *arg, const struct config_cidr *blocks, size_t n, size_t replicas, bool named);
};

/* Why commands may be refused: all bits 0 in ordinary times. */
enum server_restriction {
    RESTRICT_LOADING = 1,       /* the data set is being loaded */
    RESTRICT_REPLICA = 2,       /* a replica that takes no writes of clients */
    RESTRICT_STALE = 4,         /* a replica whose link is down and which must not serve what it has */
    RESTRICT_DISK = 8,          /* what is written could not be saved */
    RESTRICT_FEW_REPLICAS = 16, /* too few good replicas for min-replicas-to-write */
    RESTRICT_NO_GRANT = 32,     /* its agent has not let it serve, or not any more (grant-required) */
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

/* How far loading is, in bytes and time. */
struct server_loading {
    _Atomic int64_t total, done, began_s;
};

struct server {
    struct config *config;
    struct keyspace *keyspace;
    struct oplog *log;
    struct replication *replication;
    struct persistence *persistence;
    struct clients *clients;
    const struct server_ops *ops;
    void *ops_arg;

    unsigned thread_count;              /* entries in use of the next three */
    struct thread *threads[THREAD_MAX]; /* fixed after start */
    struct command_tally *command_tallies[THREAD_MAX];
    struct worker_tally *worker_tallies[THREAD_MAX]; /* NULL for threads that are no workers */
    unsigned worker_count;

    char run_id[41]; /* 40 random hex digits, set at start */
    char *executable, *config_file;
    int64_t start_wall_ms, start_mono_us;
    unsigned port;
    _Atomic bool is_replica;     /* changes with the gate closed */
    _Atomic int64_t grant_epoch; /* of the agent's last word about it */
    _Atomic int64_t rules;       /* version of the agent's rules about peers (LARDER ALLOW); 0: none yet */
    atomic_bool ended;           /* the workers are gone: nothing that is waited for will come */
    atomic_uint restrictions;    /* enum server_restriction */
    atomic_int file_error;       /* errno of the append-only file's last write; 0: it went well */
    atomic_uint waiters;         /* connections that wait for server_progressed */
    _Atomic uint64_t synced;     /* offset up to which the append-only file is on disk */
    _Atomic bool active_expire;  /* DEBUG SET-ACTIVE-EXPIRE */
    _Atomic int64_t
        pause_until_ms;     /* CLIENT PAUSE: wall clock, 0 for none; set under the gate, cleared when it has passed */
    _Atomic bool pause_all; /* pauses reads too */
    int64_t memory_startup; /* server_stats_memory before the first client */
    _Atomic int64_t memory_peak;
    _Atomic int64_t errors_reset_ms;
    _Atomic bool stopping;
    _Atomic uint64_t shutdowns_failed;                              /* ends that were given up */
    atomic_uint memory_epoch;                                       /* server/evict.c */
    atomic_uint strangers;                                          /* connections that must log in and have not */
    _Atomic int64_t ops_per_sec, input_kbps_x100, output_kbps_x100; /* sampled by the housekeeping timer */
    _Atomic uint64_t blocked_clients, evicted_clients;
    _Atomic int64_t last_save_wall_s;
    /* Sums of the tallies at the last CONFIG RESETSTAT are subtracted by readers: tallies have one writer each. */
    struct server_loading loading;
    struct defrag_cycle defrag;
    struct server_baseline *baseline; /* server/stats.c */
};

/* Sets or clears a restriction. Any thread. */
static inline void server_restrict(struct server *s, enum server_restriction bit, bool on)
{
    if (on)
        atomic_fetch_or(&s->restrictions, (unsigned)bit);
    else
        atomic_fetch_and(&s->restrictions, ~(unsigned)bit);
}

/* Something that connections wait for has come further: replicas' acknowledgements, the disk, a snapshot. Any thread. */
static inline void server_progressed(struct server *s)
{
    if (atomic_load(&s->waiters) > 0)
        s->ops->progressed(s->ops_arg);
}

/* Must the log be kept though nobody follows? */
bool server_log_needed(const struct server *s);

/* The offset up to which writes are as durable as `durability` and `appendfsync always` ask for; UINT64_MAX when they
 * ask for nothing. */
uint64_t server_safe(struct server *s);

/* Does an answer to a write have to wait at all? */
bool server_holds_replies(const struct server *s);

#endif
