/*
 * The directives. Names, defaults, limits and mutability are those of Redis 7.0, so that its configuration files start
 * this server and its tools find what they look for; after them come those that Redis 7.2 and Valkey 8 added, and
 * Larder's own. A row whose field is NONE has no meaning here: it is checked, kept for CONFIG GET, SET and REWRITE, and
 * named in the log once when it was given. Giving it a meaning is giving it a field.
 *
 * Where defaults differ from Redis: bind is the loopback addresses (a cache that nobody configured is not for the
 * network), syslog-ident is "larder", and a full synchronisation waits for nobody (repl-diskless-sync-delay).
 */
#include "engine/server/config_table.h"

#include <limits.h>
#include <syslog.h>

#include "base/log.h"
#include "engine/store/thread.h"

#define NONE ROW_NO_FIELD
#define F(field) offsetof(struct config, field)

#define FIXED ROW_IMMUTABLE
#define HIDDEN ROW_HIDDEN
#define LOUD ROW_LOUD
#define SAFE ROW_SAFE
#define SECRET ROW_SECRET

#define KB INT64_C(1024)
#define MB (KB * 1024)
#define GB (MB * 1024)

#define THREADS_LIMIT (THREAD_MAX - 32) /* leaves room for the slow lane and the admin thread */

/* One macro a kind of row; `other` is the second spelling or NULL. */
#define BOOL(title, other, bits, at, value)                                                                            \
    {                                                                                                                  \
        .name = title, .alias = other, .type = ROW_BOOL, .flags = bits, .field = at, .max = 1, .initial = value        \
    }
#define ENUM(title, other, bits, at, list, value)                                                                      \
    {                                                                                                                  \
        .name = title, .alias = other, .type = ROW_ENUM, .flags = bits, .field = at, .names = list, .initial = value   \
    }
#define NUMBER(title, other, bits, at, low, high, value, kind)                                                         \
    {                                                                                                                  \
        .name = title, .alias = other, .type = ROW_NUMBER, .unit = kind, .flags = bits, .field = at, .min = low,       \
        .max = high, .initial = value                                                                                  \
    }
#define CLAMPED(title, at, low, high, value, kind, least, most)                                                        \
    {                                                                                                                  \
        .name = title, .type = ROW_NUMBER, .unit = kind, .field = at, .min = low, .max = high, .initial = value,       \
        .floor = least, .ceiling = most                                                                                \
    }
#define INT(title, other, bits, at, low, high, value) NUMBER(title, other, bits, at, low, high, value, UNIT_PLAIN)
#define MEMORY(title, other, bits, at, low, value) NUMBER(title, other, bits, at, low, INT64_MAX, value, UNIT_MEMORY)
#define TEXT(title, other, kind, bits, at, value, check)                                                               \
    {                                                                                                                  \
        .name = title, .alias = other, .type = kind, .flags = bits, .field = at, .text = value, .rule = check          \
    }
#define STRING(title, other, bits, at, value, check) TEXT(title, other, ROW_STRING, bits, at, value, check)
#define WORDS(title, other, bits, at, value, check) TEXT(title, other, ROW_WORDS, bits, at, value, check)

/* ---- enumerations ---- */

static const struct config_name policies[] = {
    {"volatile-lru", POLICY_VOLATILE_LRU, false},
    {"volatile-lfu", POLICY_VOLATILE_LFU, false},
    {"volatile-random", POLICY_VOLATILE_RANDOM, false},
    {"volatile-ttl", POLICY_VOLATILE_TTL, false},
    {"allkeys-lru", POLICY_ALLKEYS_LRU, false},
    {"allkeys-lfu", POLICY_ALLKEYS_LFU, false},
    {"allkeys-random", POLICY_ALLKEYS_RANDOM, false},
    {"noeviction", POLICY_NOEVICTION, false},
    {NULL, 0, false},
};

static const struct config_name supervisors[] = {
    {"upstart", SUPERVISED_UPSTART, false},
    {"systemd", SUPERVISED_SYSTEMD, false},
    {"auto", SUPERVISED_AUTO, false},
    {"no", SUPERVISED_NO, false},
    {NULL, 0, false},
};

static const struct config_name facilities[] = {
    {"user", LOG_USER, false},     {"local0", LOG_LOCAL0, false},
    {"local1", LOG_LOCAL1, false}, {"local2", LOG_LOCAL2, false},
    {"local3", LOG_LOCAL3, false}, {"local4", LOG_LOCAL4, false},
    {"local5", LOG_LOCAL5, false}, {"local6", LOG_LOCAL6, false},
    {"local7", LOG_LOCAL7, false}, {NULL, 0, false},
};

/* "nothing" came with Redis 7.2. */
static const struct config_name levels[] = {
    {"debug", LOG_LEVEL_DEBUG, false},     {"verbose", LOG_LEVEL_VERBOSE, false}, {"notice", LOG_LEVEL_NOTICE, false},
    {"warning", LOG_LEVEL_WARNING, false}, {"nothing", LOG_LEVEL_NOTHING, true},  {NULL, 0, false},
};

static const struct config_name protections[] = {
    {"no", ENABLE_NO, false},
    {"yes", ENABLE_YES, false},
    {"local", ENABLE_LOCAL, false},
    {NULL, 0, false},
};

static const struct config_name client_commands[] = {
    {"all", CLIENT_COMMANDS_ALL, false},
    {"relaxed", CLIENT_COMMANDS_RELAXED, false},
    {"managed", CLIENT_COMMANDS_MANAGED, false},
    {"strict", CLIENT_COMMANDS_STRICT, false},
    {NULL, 0, false},
};

static const struct config_name fsyncs[] = {
    {"everysec", FSYNC_EVERYSEC, false},
    {"always", FSYNC_ALWAYS, false},
    {"no", FSYNC_NO, false},
    {NULL, 0, false},
};

static const struct config_name durabilities[] = {
    {"async", DURABILITY_ASYNC, false},
    {"replica", DURABILITY_REPLICA, false},
    {"quorum", DURABILITY_QUORUM, false},
    {NULL, 0, false},
};

/* Enumerations of directives without meaning here: the values only tell the names apart. */
static const struct config_name oom_adjustments[] = {
    {"no", 0, false}, {"yes", 1, false}, {"relative", 1, false}, {"absolute", 2, false}, {NULL, 0, false}};
static const struct config_name pubsub_defaults[] = {
    {"allchannels", 0, false}, {"resetchannels", 1, false}, {NULL, 0, false}};
static const struct config_name sanitize_levels[] = {
    {"no", 0, false}, {"yes", 1, false}, {"clients", 2, false}, {NULL, 0, false}};
static const struct config_name endpoint_types[] = {
    {"ip", 0, false}, {"hostname", 1, false}, {"unknown-endpoint", 2, false}, {NULL, 0, false}};
static const struct config_name propagation_errors[] = {
    {"ignore", 0, false}, {"panic", 1, false}, {"panic-on-replicas", 2, false}, {NULL, 0, false}};
static const struct config_name diskless_loads[] = {{"disabled", 0, false},
                                                    {"on-empty-db", 1, false},
                                                    {"swapdb", 2, false},
                                                    {"flush-before-load", 3, true},
                                                    {NULL, 0, false}};
static const struct config_name tls_client_checks[] = {
    {"no", 0, false}, {"yes", 1, false}, {"optional", 2, false}, {NULL, 0, false}};
static const struct config_name version_checks[] = {{"strict", 0, false}, {"relaxed", 1, false}, {NULL, 0, false}};
static const struct config_name log_formats[] = {{"legacy", 0, false}, {"logfmt", 1, false}, {NULL, 0, false}};
static const struct config_name timestamp_formats[] = {
    {"legacy", 0, false}, {"iso8601", 1, false}, {"milliseconds", 2, false}, {NULL, 0, false}};
static const struct config_name certificate_users[] = {{"off", 0, false}, {"cn", 1, false}, {NULL, 0, false}};
static const struct config_name cluster_saves[] = {{"sync", 0, false}, {"best-effort", 1, false}, {NULL, 0, false}};

/* What a signal asks of the shutdown; any of them but "default" together. */
static const struct config_name shutdown_options[] = {
    {"default", 0, false}, {"save", 1, false},  {"nosave", 2, false},
    {"now", 4, false},     {"force", 8, false}, {NULL, 0, false},
};

#define SHUTDOWN(title, at)                                                                                            \
    {                                                                                                                  \
        .name = title, .type = ROW_WORDS, .field = at, .text = "default", .names = shutdown_options,                   \
        .rule = config_rule_shutdown                                                                                   \
    }

/* ---- the table ---- */

static const struct config_row rows[] = {
    /* Network */
    WORDS("bind", NULL, 0, F(bind), "127.0.0.1 -::1", config_rule_bind),
    STRING("bind-source-addr", NULL, 0, F(bind_source_addr), "", NULL),
    BOOL("protected-mode", NULL, 0, F(protected_mode), 1),
    INT("port", NULL, 0, F(port), 0, 65535, 6379),
    INT("tcp-backlog", NULL, FIXED, F(tcp_backlog), 0, INT_MAX, 511),
    STRING("unixsocket", NULL, FIXED, F(unixsocket), "", config_rule_socket),
    NUMBER("unixsocketperm", NULL, FIXED, F(unixsocketperm), 0, 0777, 0, UNIT_OCTAL),
    INT("timeout", NULL, 0, F(timeout), 0, INT_MAX, 0),
    INT("login-timeout", NULL, 0, F(login_timeout), 0, INT_MAX, 30),
    INT("tcp-keepalive", NULL, 0, F(tcp_keepalive), 0, INT_MAX, 300),
    INT("maxclients", NULL, 0, F(maxclients), 1, UINT_MAX, 10000),
    INT("socket-mark-id", NULL, FIXED, NONE, 0, UINT_MAX, 0),

    /* Larder's own */
    INT("threads", NULL, FIXED, F(threads), 0, THREADS_LIMIT, 0),
    WORDS("allow-from", NULL, 0, F(allow_from), "", config_rule_allow_from),
    STRING("admin-socket", NULL, FIXED, F(admin_socket), "", config_rule_socket),
    STRING("node-lock", NULL, FIXED, F(node_lock), "", NULL),
    STRING("node-id", NULL, FIXED, F(node_id), "", NULL),
    ENUM("client-commands", NULL, ROW_PROTECTED, F(client_commands), client_commands, CLIENT_COMMANDS_ALL),
    STRING("replication-secret", NULL, ROW_PROTECTED | SECRET | ROW_UNSHOWN, F(replication_secret), "", NULL),
    ENUM("durability", NULL, 0, F(durability), durabilities, DURABILITY_ASYNC),
    INT("durability-timeout", NULL, 0, F(durability_timeout), 1, INT_MAX, 5000),
    BOOL("grant-required", NULL, FIXED, F(grant_required), 0),
    INT("durability-members", NULL, 0, F(durability_members), 0, INT_MAX, 0),

    /* Process */
    BOOL("daemonize", NULL, FIXED, F(daemonize), 0),
    ENUM("supervised", NULL, FIXED, F(supervised), supervisors, SUPERVISED_NO),
    STRING("pidfile", NULL, FIXED, F(pidfile), "", NULL),
    ENUM("loglevel", NULL, 0, F(loglevel), levels, LOG_LEVEL_NOTICE),
    STRING("logfile", NULL, FIXED, F(logfile), "", NULL),
    BOOL("syslog-enabled", NULL, FIXED, F(syslog_enabled), 0),
    STRING("syslog-ident", NULL, FIXED, F(syslog_ident), "larder", NULL),
    ENUM("syslog-facility", NULL, FIXED, F(syslog_facility), facilities, LOG_LOCAL0),
    BOOL("crash-log-enabled", NULL, 0, NONE, 1),
    BOOL("crash-memcheck-enabled", NULL, 0, NONE, 1),
    BOOL("use-exit-on-panic", NULL, HIDDEN, NONE, 0),
    BOOL("always-show-logo", NULL, FIXED, F(always_show_logo), 0),
    BOOL("set-proc-title", NULL, FIXED, NONE, 1),
    STRING("proc-title-template", NULL, 0, F(proc_title_template), "{title} {listen-addr} {server-mode}",
           config_rule_title),
    STRING("dir", NULL, ROW_PROTECTED | ROW_ALWAYS, F(dir), "", config_rule_dir),
    SHUTDOWN("shutdown-on-sigint", F(shutdown_on_sigint)),
    SHUTDOWN("shutdown-on-sigterm", F(shutdown_on_sigterm)),
    INT("shutdown-timeout", NULL, 0, F(shutdown_timeout), 0, INT_MAX, 10),
    STRING("ignore-warnings", NULL, 0, NONE, "", NULL),
    BOOL("disable-thp", NULL, FIXED, NONE, 1),
    ENUM("oom-score-adj", NULL, 0, NONE, oom_adjustments, 0),
    WORDS("oom-score-adj-values", NULL, 0, NONE, "0 200 800", config_rule_oom_values),
    STRING("server_cpulist", "server-cpulist", FIXED, NONE, "", NULL),
    STRING("bio_cpulist", "bio-cpulist", FIXED, NONE, "", NULL),
    STRING("aof_rewrite_cpulist", "aof-rewrite-cpulist", FIXED, NONE, "", NULL),
    STRING("bgsave_cpulist", "bgsave-cpulist", FIXED, NONE, "", NULL),
    INT("io-threads", NULL, FIXED, NONE, 1, 128, 1),
    BOOL("io-threads-do-reads", NULL, FIXED, NONE, 0),
    CLAMPED("hz", F(hz), 0, INT_MAX, 10, UNIT_PLAIN, 1, 500),
    BOOL("dynamic-hz", NULL, 0, NONE, 1),
    INT("watchdog-period", NULL, HIDDEN, NONE, 0, INT_MAX, 0),

    /* Access */
    STRING("requirepass", NULL, SECRET, F(requirepass), "", NULL),
    ENUM("enable-debug-command", NULL, FIXED, F(enable_debug_command), protections, ENABLE_NO),
    ENUM("enable-protected-configs", NULL, FIXED, F(enable_protected_configs), protections, ENABLE_NO),
    ENUM("enable-module-command", NULL, FIXED, F(enable_module_command), protections, ENABLE_NO),
    STRING("aclfile", NULL, FIXED | LOUD, NONE, "", NULL),
    INT("acllog-max-len", NULL, 0, NONE, 0, INT64_MAX, 128),
    ENUM("acl-pubsub-default", NULL, 0, NONE, pubsub_defaults, 1),

    /* Limits of clients */
    MEMORY("client-query-buffer-limit", NULL, 0, F(client_query_buffer_limit), MB, GB),
    {.name = "client-output-buffer-limit", .type = ROW_OUTPUT_LIMIT, .field = F(output_normal)},
    NUMBER("maxmemory-clients", NULL, 0, F(maxmemory_clients), -100, INT64_MAX, 0, UNIT_PERCENT),
    MEMORY("proto-max-bulk-len", NULL, 0, F(proto_max_bulk_len), MB, 512 * MB),

    /* Keyspace and memory */
    INT("databases", NULL, FIXED, F(databases), 1, 65536, 16),
    MEMORY("maxmemory", NULL, 0, F(maxmemory), 0, 0),
    ENUM("maxmemory-policy", NULL, SAFE, F(maxmemory_policy), policies, POLICY_NOEVICTION),
    INT("maxmemory-samples", NULL, SAFE, F(maxmemory_samples), 1, INT_MAX, 5),
    INT("maxmemory-eviction-tenacity", NULL, SAFE, F(maxmemory_eviction_tenacity), 0, 100, 10),
    INT("lfu-log-factor", NULL, SAFE, F(lfu_log_factor), 0, INT_MAX, 10),
    INT("lfu-decay-time", NULL, SAFE, F(lfu_decay_time), 0, INT_MAX, 1),
    INT("active-expire-effort", NULL, SAFE, F(active_expire_effort), 1, 10, 1),
    BOOL("lazyfree-lazy-eviction", NULL, SAFE, F(lazyfree_lazy_eviction), 0),
    BOOL("lazyfree-lazy-expire", NULL, SAFE, F(lazyfree_lazy_expire), 0),
    BOOL("lazyfree-lazy-server-del", NULL, SAFE, F(lazyfree_lazy_server_del), 0),
    BOOL("lazyfree-lazy-user-del", NULL, SAFE, F(lazyfree_lazy_user_del), 0),
    BOOL("lazyfree-lazy-user-flush", NULL, SAFE, F(lazyfree_lazy_user_flush), 0),
    BOOL("activerehashing", NULL, SAFE, NONE, 1),
    BOOL("jemalloc-bg-thread", NULL, 0, NONE, 1),
    BOOL("activedefrag", NULL, SAFE, F(activedefrag), 0),
    MEMORY("active-defrag-ignore-bytes", NULL, SAFE, F(active_defrag_ignore_bytes), 1, 100 * MB),
    INT("active-defrag-threshold-lower", NULL, SAFE, F(active_defrag_threshold_lower), 0, 1000, 10),
    INT("active-defrag-threshold-upper", NULL, SAFE, F(active_defrag_threshold_upper), 0, 1000, 100),
    INT("active-defrag-cycle-min", NULL, SAFE, F(active_defrag_cycle_min), 1, 99, 1),
    INT("active-defrag-cycle-max", NULL, SAFE, F(active_defrag_cycle_max), 1, 99, 25),
    INT("active-defrag-max-scan-fields", NULL, SAFE, NONE, 1, INT64_MAX, 1000),
    STRING("notify-keyspace-events", NULL, SAFE, NONE, "", config_rule_notify),
    INT("tracking-table-max-keys", NULL, SAFE, NONE, 0, INT64_MAX, 1000000),

    /* Encodings */
    INT("hash-max-listpack-entries", "hash-max-ziplist-entries", SAFE, NONE, 0, INT64_MAX, 512),
    MEMORY("hash-max-listpack-value", "hash-max-ziplist-value", SAFE, NONE, 0, 64),
    INT("list-max-listpack-size", "list-max-ziplist-size", SAFE, NONE, INT_MIN, INT_MAX, -2),
    INT("list-compress-depth", NULL, SAFE, NONE, 0, INT_MAX, 0),
    INT("set-max-intset-entries", NULL, SAFE, NONE, 0, INT64_MAX, 512),
    INT("zset-max-listpack-entries", "zset-max-ziplist-entries", SAFE, NONE, 0, INT64_MAX, 128),
    MEMORY("zset-max-listpack-value", "zset-max-ziplist-value", SAFE, NONE, 0, 64),
    MEMORY("hll-sparse-max-bytes", NULL, SAFE, NONE, 0, 3000),
    MEMORY("stream-node-max-bytes", NULL, SAFE, NONE, 0, 4096),
    INT("stream-node-max-entries", NULL, SAFE, NONE, 0, INT64_MAX, 100),

    /* Scripts, observation */
    INT("busy-reply-threshold", "lua-time-limit", SAFE, F(lua_time_limit), 0, INT64_MAX, 5000),
    INT("slowlog-log-slower-than", "commandlog-execution-slower-than", SAFE, NONE, -1, INT64_MAX, 10000),
    INT("slowlog-max-len", "commandlog-slow-execution-max-len", SAFE, NONE, 0, INT64_MAX, 128),
    INT("latency-monitor-threshold", NULL, SAFE, NONE, 0, INT64_MAX, 0),
    BOOL("latency-tracking", NULL, ROW_BY_NAME | SAFE, NONE, 1),
    WORDS("latency-tracking-info-percentiles", NULL, ROW_BY_NAME | SAFE, NONE, "50 99 99.9", config_rule_percentiles),

    /* Snapshots and the append-only file */
    TEXT("save", NULL, ROW_SAVE, 0, F(save), "3600 1 300 100 60 10000", config_rule_save),
    BOOL("stop-writes-on-bgsave-error", NULL, 0, F(stop_writes_on_bgsave_error), 1),
    BOOL("rdbcompression", NULL, 0, F(rdbcompression), 1),
    BOOL("rdbchecksum", NULL, FIXED, F(rdbchecksum), 1),
    ENUM("sanitize-dump-payload", NULL, 0, NONE, sanitize_levels, 0),
    STRING("dbfilename", NULL, ROW_PROTECTED, F(dbfilename), "dump.rdb", config_rule_filename),
    BOOL("rdb-del-sync-files", NULL, 0, NONE, 0),
    BOOL("rdb-save-incremental-fsync", NULL, 0, NONE, 1),
    INT("rdb-key-save-delay", NULL, HIDDEN, NONE, INT_MIN, INT_MAX, 0),
    INT("key-load-delay", NULL, HIDDEN, NONE, INT_MIN, INT_MAX, 0),
    INT("loading-process-events-interval-bytes", NULL, HIDDEN, NONE, 1024, INT_MAX, 2 * MB),
    BOOL("appendonly", NULL, 0, F(appendonly), 0),
    STRING("appendfilename", NULL, FIXED, F(appendfilename), "appendonly.aof", config_rule_filename),
    STRING("appenddirname", NULL, FIXED, F(appenddirname), "appendonlydir", config_rule_filename),
    ENUM("appendfsync", NULL, 0, F(appendfsync), fsyncs, 0),
    BOOL("no-appendfsync-on-rewrite", NULL, 0, F(no_appendfsync_on_rewrite), 0),
    INT("auto-aof-rewrite-percentage", NULL, 0, F(auto_aof_rewrite_percentage), 0, INT_MAX, 100),
    MEMORY("auto-aof-rewrite-min-size", NULL, 0, F(auto_aof_rewrite_min_size), 0, 64 * MB),
    BOOL("aof-load-truncated", NULL, 0, F(aof_load_truncated), 1),
    BOOL("aof-use-rdb-preamble", NULL, 0, F(aof_use_rdb_preamble), 1),
    BOOL("aof-timestamp-enabled", NULL, 0, F(aof_timestamp_enabled), 0),
    BOOL("aof-rewrite-incremental-fsync", NULL, 0, NONE, 1),
    BOOL("aof-disable-auto-gc", NULL, 0, NONE, 0),

    /* Replication */
    WORDS("replicaof", "slaveof", FIXED, F(replicaof), "", config_rule_replicaof),
    STRING("masterauth", "primaryauth", SECRET, F(masterauth), "", NULL),
    STRING("masteruser", "primaryuser", 0, F(masteruser), "", NULL),
    BOOL("replica-serve-stale-data", "slave-serve-stale-data", 0, F(replica_serve_stale_data), 1),
    BOOL("replica-read-only", "slave-read-only", 0, F(replica_read_only), 1),
    BOOL("replica-lazy-flush", "slave-lazy-flush", 0, NONE, 0),
    BOOL("replica-ignore-maxmemory", "slave-ignore-maxmemory", 0, F(replica_ignore_maxmemory), 1),
    BOOL("replica-ignore-disk-write-errors", NULL, 0, NONE, 0),
    BOOL("replica-announced", NULL, 0, F(replica_announced), 1),
    STRING("replica-announce-ip", "slave-announce-ip", 0, F(replica_announce_ip), "", NULL),
    INT("replica-announce-port", "slave-announce-port", 0, F(replica_announce_port), 0, 65535, 0),
    INT("replica-priority", "slave-priority", 0, F(replica_priority), 0, INT_MAX, 100),
    BOOL("repl-disable-tcp-nodelay", NULL, 0, NONE, 0),
    BOOL("repl-diskless-sync", NULL, 0, NONE, 1),
    INT("repl-diskless-sync-delay", NULL, 0, F(repl_diskless_sync_delay), 0, INT_MAX, 0),
    INT("repl-diskless-sync-max-replicas", NULL, 0, F(repl_diskless_sync_max_replicas), 0, INT_MAX, 0),
    ENUM("repl-diskless-load", NULL, 0, NONE, diskless_loads, 0),
    INT("repl-ping-replica-period", "repl-ping-slave-period", 0, F(repl_ping_replica_period), 1, INT_MAX, 10),
    INT("repl-timeout", NULL, 0, F(repl_timeout), 1, INT_MAX, 60),
    CLAMPED("repl-backlog-size", F(repl_backlog_size), 1, INT64_MAX, MB, UNIT_MEMORY, 16 * KB, INT64_MAX),
    INT("repl-backlog-ttl", NULL, 0, F(repl_backlog_ttl), 0, INT64_MAX, 3600),
    INT("min-replicas-to-write", "min-slaves-to-write", 0, F(min_replicas_to_write), 0, INT_MAX, 0),
    INT("min-replicas-max-lag", "min-slaves-max-lag", 0, F(min_replicas_max_lag), 0, INT_MAX, 10),
    ENUM("propagation-error-behavior", NULL, 0, NONE, propagation_errors, 0),

    /* Cluster */
    BOOL("cluster-enabled", NULL, FIXED | LOUD, NONE, 0),
    STRING("cluster-config-file", NULL, FIXED, NONE, "nodes.conf", NULL),
    INT("cluster-node-timeout", NULL, 0, NONE, 0, INT64_MAX, 15000),
    INT("cluster-port", NULL, FIXED, NONE, 0, 65535, 0),
    INT("cluster-ping-interval", NULL, HIDDEN, NONE, 0, INT64_MAX, 0),
    INT("cluster-migration-barrier", NULL, 0, NONE, 0, INT_MAX, 1),
    BOOL("cluster-allow-replica-migration", NULL, 0, NONE, 1),
    BOOL("cluster-require-full-coverage", NULL, 0, NONE, 1),
    BOOL("cluster-allow-reads-when-down", NULL, 0, NONE, 0),
    BOOL("cluster-allow-pubsubshard-when-down", NULL, 0, NONE, 1),
    BOOL("cluster-replica-no-failover", "cluster-slave-no-failover", 0, NONE, 0),
    INT("cluster-replica-validity-factor", "cluster-slave-validity-factor", 0, NONE, 0, INT_MAX, 10),
    MEMORY("cluster-link-sendbuf-limit", NULL, 0, NONE, 0, 0),
    STRING("cluster-announce-ip", NULL, 0, NONE, "", NULL),
    INT("cluster-announce-port", NULL, 0, NONE, 0, 65535, 0),
    INT("cluster-announce-tls-port", NULL, 0, NONE, 0, 65535, 0),
    INT("cluster-announce-bus-port", NULL, 0, NONE, 0, 65535, 0),
    STRING("cluster-announce-hostname", NULL, 0, NONE, "", config_rule_hostname),
    ENUM("cluster-preferred-endpoint-type", NULL, 0, NONE, endpoint_types, 0),

    /* TLS */
    INT("tls-port", NULL, LOUD, NONE, 0, 65535, 0),
    BOOL("tls-cluster", NULL, LOUD, NONE, 0),
    BOOL("tls-replication", NULL, LOUD, NONE, 0),
    ENUM("tls-auth-clients", NULL, 0, NONE, tls_client_checks, 1),
    STRING("tls-cert-file", NULL, 0, NONE, "", NULL),
    STRING("tls-key-file", NULL, 0, NONE, "", NULL),
    STRING("tls-key-file-pass", NULL, SECRET, NONE, "", NULL),
    STRING("tls-client-cert-file", NULL, 0, NONE, "", NULL),
    STRING("tls-client-key-file", NULL, 0, NONE, "", NULL),
    STRING("tls-client-key-file-pass", NULL, SECRET, NONE, "", NULL),
    STRING("tls-dh-params-file", NULL, 0, NONE, "", NULL),
    STRING("tls-ca-cert-file", NULL, 0, NONE, "", NULL),
    STRING("tls-ca-cert-dir", NULL, 0, NONE, "", NULL),
    STRING("tls-protocols", NULL, 0, NONE, "", NULL),
    STRING("tls-ciphers", NULL, 0, NONE, "", NULL),
    STRING("tls-ciphersuites", NULL, 0, NONE, "", NULL),
    BOOL("tls-prefer-server-ciphers", NULL, 0, NONE, 0),
    BOOL("tls-session-caching", NULL, 0, NONE, 1),
    INT("tls-session-cache-size", NULL, 0, NONE, 0, INT_MAX, 20480),
    INT("tls-session-cache-timeout", NULL, 0, NONE, 0, INT_MAX, 300),

    /* Redis 7.2 */
    INT("set-max-listpack-entries", NULL, SAFE, NONE, 0, INT64_MAX, 128),
    MEMORY("set-max-listpack-value", NULL, SAFE, NONE, 0, 64),
    STRING("locale-collate", NULL, 0, NONE, "", NULL),
    STRING("cluster-announce-human-nodename", NULL, 0, NONE, "", config_rule_hostname),

    /* Valkey 8 */
    BOOL("extended-redis-compatibility", NULL, 0, NONE, 0),
    BOOL("hide-user-data-from-log", NULL, 0, NONE, 1),
    BOOL("import-mode", NULL, 0, NONE, 0),
    BOOL("dual-channel-replication-enabled", NULL, 0, NONE, 0),
    BOOL("cluster-slot-stats-enabled", NULL, 0, NONE, 0),
    BOOL("lua-enable-insecure-api", "lua-enable-deprecated-api", FIXED, NONE, 0),
    BOOL("mptcp", NULL, FIXED, NONE, 0),
    BOOL("repl-mptcp", NULL, 0, NONE, 0),
    BOOL("auto-failover-on-shutdown", NULL, 0, NONE, 0),
    STRING("availability-zone", NULL, 0, NONE, "", NULL),
    STRING("unixsocketgroup", NULL, FIXED | LOUD, NONE, "", NULL),
    STRING("cluster-announce-client-ipv4", NULL, 0, NONE, "", NULL),
    STRING("cluster-announce-client-ipv6", NULL, 0, NONE, "", NULL),
    INT("cluster-announce-client-port", NULL, 0, NONE, 0, 65535, 0),
    INT("cluster-announce-client-tls-port", NULL, 0, NONE, 0, 65535, 0),
    INT("cluster-manual-failover-timeout", NULL, 0, NONE, 1, INT_MAX, 5000),
    INT("cluster-blacklist-ttl", NULL, 0, NONE, 0, INT64_MAX, 60),
    INT("cluster-databases", NULL, FIXED, NONE, 1, INT_MAX, 1),
    ENUM("cluster-config-save-behavior", NULL, 0, NONE, cluster_saves, 0),
    INT("commandlog-request-larger-than", NULL, SAFE, NONE, -1, INT64_MAX, MB),
    INT("commandlog-large-request-max-len", NULL, SAFE, NONE, 0, INT64_MAX, 128),
    INT("commandlog-reply-larger-than", NULL, SAFE, NONE, -1, INT64_MAX, MB),
    INT("commandlog-large-reply-max-len", NULL, SAFE, NONE, 0, INT64_MAX, 128),
    INT("prefetch-batch-max-size", NULL, 0, NONE, 0, 128, 16),
    INT("events-per-io-thread", NULL, HIDDEN, NONE, 0, INT_MAX, 2),
    INT("active-defrag-cycle-us", NULL, SAFE, NONE, 0, 100000, 500),
    INT("max-new-connections-per-cycle", NULL, 0, NONE, 1, 1000, 10),
    INT("max-new-tls-connections-per-cycle", NULL, 0, NONE, 1, 1000, 1),
    ENUM("rdb-version-check", NULL, 0, NONE, version_checks, 0),
    ENUM("log-format", NULL, 0, NONE, log_formats, 0),
    ENUM("log-timestamp-format", NULL, 0, NONE, timestamp_formats, 0),
    ENUM("tls-auth-clients-user", NULL, 0, NONE, certificate_users, 0),
    INT("tls-auto-reload-interval", NULL, 0, NONE, 0, INT_MAX, 0),
    WORDS("rdma-bind", NULL, FIXED, NONE, "", config_rule_bind),
    INT("rdma-port", NULL, LOUD, NONE, 0, 65535, 0),
    MEMORY("rdma-rx-size", NULL, FIXED, NONE, 64 * KB, MB),
    INT("rdma-completion-vector", NULL, FIXED, NONE, -1, 1024, -1),
};

#define ROW_COUNT (sizeof rows / sizeof rows[0])

const struct config_row *config_rows(void)
{
    return rows;
}

size_t config_row_count(void)
{
    return ROW_COUNT;
}

size_t config_row_index(const struct config_row *row)
{
    return (size_t)(row - rows);
}

const struct config_row *config_row_find(struct view name)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (view_equal_case(name, view_str(rows[i].name)))
            return &rows[i];
        if (rows[i].alias != NULL && view_equal_case(name, view_str(rows[i].alias)))
            return &rows[i];
    }
    return NULL;
}
