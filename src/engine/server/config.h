/*
 * The configuration: one row per directive (config_table.c), with type, default, limits and the field it sets.
 * Numbers are relaxed atomics and may be read anywhere; strings are plain: they change only while the gate is closed,
 * so they may be read inside the executor, at start, and in hooks.
 */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

typedef _Atomic int64_t config_number;

enum config_policy { /* maxmemory-policy */
                     POLICY_VOLATILE_LRU,
                     POLICY_ALLKEYS_LRU,
                     POLICY_VOLATILE_LFU,
                     POLICY_ALLKEYS_LFU,
                     POLICY_VOLATILE_RANDOM,
                     POLICY_ALLKEYS_RANDOM,
                     POLICY_VOLATILE_TTL,
                     POLICY_NOEVICTION,
};

enum config_protected { ENABLE_NO, ENABLE_YES, ENABLE_LOCAL }; /* enable-debug-command and its like */

enum config_supervised { SUPERVISED_NO, SUPERVISED_SYSTEMD, SUPERVISED_UPSTART, SUPERVISED_AUTO };

enum config_fsync { FSYNC_EVERYSEC, FSYNC_ALWAYS, FSYNC_NO }; /* appendfsync */

enum config_durability { /* durability: who has a write before it is answered */
                         DURABILITY_ASYNC,
                         DURABILITY_REPLICA,
                         DURABILITY_QUORUM,
};

enum config_client_commands { /* client-commands: cmd/rights.h */
                              CLIENT_COMMANDS_ALL,
                              CLIENT_COMMANDS_RELAXED,
                              CLIENT_COMMANDS_MANAGED,
                              CLIENT_COMMANDS_STRICT,
};

struct config_output_limit { /* client-output-buffer-limit, per class */
    config_number hard, soft, soft_seconds;
};

/* The strings are never NULL: "" is unset. Lists (bind, allow_from) are separated by single spaces. */
struct config {
    /* network */
    config_number port, tcp_backlog, timeout, tcp_keepalive, maxclients, login_timeout, protected_mode, threads,
        unixsocketperm;
    char *bind, *unixsocket, *admin_socket, *node_id, *node_lock, *allow_from, *bind_source_addr;
    /* limits */
    config_number client_query_buffer_limit, proto_max_bulk_len;
    config_number maxmemory_clients; /* bytes; a percentage of maxmemory is negative: -10 for "10%" */
    struct config_output_limit output_normal, output_replica, output_pubsub;
    /* keyspace and memory */
    config_number databases, maxmemory, maxmemory_policy, maxmemory_samples, lfu_log_factor, lfu_decay_time;
    config_number maxmemory_eviction_tenacity, active_expire_effort, activedefrag, active_defrag_ignore_bytes;
    config_number active_defrag_threshold_lower, active_defrag_threshold_upper, active_defrag_cycle_min;
    config_number active_defrag_cycle_max, hz, lua_time_limit;
    config_number lazyfree_lazy_eviction, lazyfree_lazy_expire, lazyfree_lazy_server_del, lazyfree_lazy_user_del;
    config_number lazyfree_lazy_user_flush;
    /* snapshots and the append-only file */
    char *save, *dbfilename, *appendfilename, *appenddirname;
    config_number stop_writes_on_bgsave_error, rdbcompression, rdbchecksum;
    config_number appendonly, appendfsync, no_appendfsync_on_rewrite, auto_aof_rewrite_percentage;
    config_number auto_aof_rewrite_min_size, aof_load_truncated, aof_use_rdb_preamble, aof_timestamp_enabled;
    /* replication */
    char *replicaof, *masterauth, *masteruser, *replica_announce_ip;
    config_number replica_serve_stale_data, replica_read_only, replica_ignore_maxmemory, replica_announced;
    config_number replica_announce_port, replica_priority;
    config_number repl_diskless_sync_delay, repl_diskless_sync_max_replicas, repl_ping_replica_period, repl_timeout;
    config_number repl_backlog_size, repl_backlog_ttl, min_replicas_to_write, min_replicas_max_lag;
    config_number durability, durability_timeout, durability_members, grant_required;
    /* access */
    char *requirepass, *replication_secret;
    config_number client_commands, enable_debug_command, enable_protected_configs, enable_module_command;
    /* process */
    config_number daemonize, supervised, syslog_enabled, always_show_logo;
    config_number loglevel;         /* enum log_level */
    config_number syslog_facility;  /* as <syslog.h> has it */
    config_number shutdown_timeout; /* seconds */
    char *shutdown_on_sigint, *shutdown_on_sigterm;
    char *pidfile, *logfile, *syslog_ident, *dir, *proc_title_template;
    struct config_private *private; /* values without meaning here, hooks, and what loading remembers */
};

/* Defaults; dir is the working directory. */
struct config *config_new(void);
void config_free(struct config *c);

/*
 * Reads a file in redis.conf syntax (quotes, \x escapes, comments, include with globs; "-" is standard input). On
 * failure returns -1 and a message of several lines naming file, line and directive. Directives accepted without meaning
 * here are collected for config_log_ignored.
 */
int config_load_file(struct config *c, const char *path, char *err, size_t err_size);

/* Reads --directive value ... from argv[first] on. */
int config_load_args(struct config *c, int argc, char **argv, int first, char *err, size_t err_size);

/* Reads text as if it were the file `name`; include is refused. */
int config_load_text(struct config *c, struct view text, const char *name, char *err, size_t err_size);

/* Checks what only shows when everything is read, and makes dir absolute. The caller changes to it. */
int config_finish(struct config *c, char *err, size_t err_size);

/* Logs, once, the directives that were given and have no meaning here; as warnings those whose absence could surprise:
 * access rules, TLS, replication, persistence. */
void config_log_ignored(const struct config *c);

/*
 * Sets n directives as one: all or none (gate closed). Protected directives are refused unless protected_ok (see
 * config_protected_ok). On failure returns -1 and in err the text of the error reply, without its code. Hooks run after
 * all fields are set; a failing hook undoes everything, and the hooks that ran are called again.
 */
int config_set(struct config *c, const struct view *names, const struct view *values, size_t n, bool protected_ok,
               char *err, size_t err_size);

/* Strings may be read inside the gate, or between these two, where config_set of another thread waits. */
void config_read_lock(const struct config *c);
void config_read_unlock(const struct config *c);

/* Does enable-protected-configs let a client, local or not, set protected directives? */
bool config_protected_ok(const struct config *c, bool local);

/* May clients set that directive where `client-commands relaxed` lets them set some? An unknown one they may try to. */
bool config_is_safe(struct view name);

/* Does it hold a password? Clients see those with `client-commands all` only; replication-secret, nobody does. */
bool config_is_secret(struct view name);

/* Calls hook after that directive changed by config_set; it returns 0, or -1 with a reason in err. A hook that stands on
 * several directives with the same arg is called once for all that change together. */
typedef int config_hook_fn(void *arg, struct config *c, char *err, size_t err_size);
void config_on_change(struct config *c, const char *name, config_hook_fn *hook, void *arg);

/* Gives a directive of one string, or of words, a value that something else than CONFIG SET decided on; no hook is called. Gate closed. */
void config_note(struct config *c, const char *name, struct view value);

/* Calls emit for each directive whose name matches one of the patterns, each name once: pattern by pattern, those that a
 * glob matches in table order. A name without glob characters is emitted as it was spelt, as Redis does. */
typedef void config_emit_fn(void *arg, const char *name, struct view value);
void config_get(const struct config *c, const struct view *patterns, size_t n, config_emit_fn *emit, void *arg);

/* Rewrites the file it was started with, keeping comments and order as CONFIG REWRITE does; durable replacement. On
 * failure err is the text of the error reply, without its code. May block on the disk. */
int config_rewrite(struct config *c, char *err, size_t err_size);

/* Path of the configuration file, absolute, or "" when there was none. */
const char *config_path(const struct config *c);

/* One block of addresses of allow-from. */
struct config_cidr {
    int family;       /* AF_INET or AF_INET6 */
    unsigned bits;    /* length of the prefix */
    uint8_t addr[16]; /* network byte order, the host's bits cleared; 4 or 16 bytes count */
};

/* Parses "10.0.0.0/8", "fd00::/8", or a single address. */
bool config_parse_cidr(struct view v, struct config_cidr *out);

#endif
