/*
 * INFO. A section is a row of `sections`; a field is a line of the section's function. Names and their order are those
 * that Redis 7.0 gives and that clients and exporters read; a field that would mean nothing here is left out rather than
 * filled with an invented value, and what stands for a part that does not exist yet has the value of its absence. What
 * is Larder's own is in a section of its own, with its name in front. Latencies are read from buckets half an octave
 * wide (server/stats.c), so a percentile may be off by up to a quarter.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/allocator.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "engine/cmd/call.h"
#include "engine/log/oplog.h"
#include "engine/persist/aof.h"
#include "engine/persist/persist.h"
#include "engine/server/clients.h"
#include "engine/server/config.h"
#include "engine/server/replication.h"
#include "engine/server/server.h"
#include "engine/server/stats.h"
#include "engine/server/version.h"
#include "engine/store/db.h"
#include "engine/store/heap.h"
#include "handlers.h"

/* What several sections need, read once. */
struct facts {
    struct server *server;
    struct buf *out;
    struct server_sums sums;
    struct heap_stats heap;
};

/* ---- fields ---- */

static int64_t number(const config_number *v)
{
    return atomic_load_explicit((config_number *)v, memory_order_relaxed);
}

/* A line "name:value". */
static void __attribute__((format(printf, 3, 4))) field(struct facts *f, const char *name, const char *fmt, ...)
{
    va_list ap;

    buf_put_view(f->out, view_str(name));
    buf_put_char(f->out, ':');
    va_start(ap, fmt);
    buf_vprintf(f->out, fmt, ap);
    va_end(ap);
    buf_put(f->out, LIT("\r\n"));
}

static void field_int(struct facts *f, const char *name, int64_t v)
{
    field(f, name, "%lld", (long long)v);
}

/* A number of bytes, for people. */
static void field_human(struct facts *f, const char *name, int64_t bytes)
{
    static const char units[] = "BKMGTPE";
    double v = (double)bytes;
    unsigned unit = 0;

    while (v >= 1024 && unit < sizeof units - 2) {
        v /= 1024;
        unit++;
    }
    if (unit == 0)
        field(f, name, "%lldB", (long long)bytes);
    else
        field(f, name, "%.2f%c", v, units[unit]);
}

static void append_value(void *arg, const char *name, struct view value)
{
    (void)name;
    buf_put_view(arg, value);
}

/* A field with the value of a directive as CONFIG GET words it. */
static void field_config(struct facts *f, const char *name, struct view directive)
{
    buf_put_view(f->out, view_str(name));
    buf_put_char(f->out, ':');
    config_get(f->server->config, &directive, 1, append_value, f->out);
    buf_put(f->out, LIT("\r\n"));
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

/* ---- Redis's sections ---- */

static void info_server(struct facts *f)
{
    struct server *s = f->server;
    int64_t up = (clock_mono_us() - s->start_mono_us) / 1000000;
    struct utsname os = {0};

    uname(&os);
    field(f, "redis_version", SERVER_REDIS_VERSION);
    field(f, "redis_git_sha1", "00000000");
    field(f, "redis_git_dirty", "0");
    field(f, "redis_build_id", "larder-" SERVER_VERSION);
    field(f, "redis_mode", "standalone");
    field(f, "os", "%s %s %s", os.sysname, os.release, os.machine);
    field_int(f, "arch_bits", (int64_t)sizeof(void *) * 8);
    field(f, "monotonic_clock", "POSIX clock_gettime");
    field(f, "multiplexing_api", "epoll");
    field(f, "atomicvar_api", "c11-builtin");
#ifdef __clang__
    field(f, "gcc_version", "0.0.0");
#else
    field(f, "gcc_version", "%d.%d.%d", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif
    field_int(f, "process_id", getpid());
    field_config(f, "process_supervised", VIEW("supervised"));
    field(f, "run_id", "%s", s->run_id);
    field_int(f, "tcp_port", s->port);
    field_int(f, "server_time_usec", clock_wall_us());
    field_int(f, "uptime_in_seconds", up);
    field_int(f, "uptime_in_days", up / 86400);
    field_int(f, "hz", number(&s->config->hz));
    field_int(f, "configured_hz", number(&s->config->hz));
    field_int(f, "lru_clock", clock_wall_ms() / 1000 & 0xffffff);
    field(f, "executable", "%s", s->executable ? s->executable : "");
    field(f, "config_file", "%s", config_path(s->config));
    field(f, "io_threads_active", "0");
}

static void info_clients(struct facts *f)
{
    struct clients_sums clients;

    clients_sum(f->server->clients, &clients);
    field_int(f, "connected_clients", (int64_t)clients_count(f->server->clients));
    field(f, "cluster_connections", "0");
    field_int(f, "maxclients", number(&f->server->config->maxclients));
    field_int(f, "client_recent_max_input_buffer", (int64_t)clients.max_input);
    field_int(f, "client_recent_max_output_buffer", (int64_t)clients.max_output);
    field_int(f, "blocked_clients", (int64_t)atomic_load_explicit(&f->server->blocked_clients, memory_order_relaxed));
    field(f, "tracking_clients", "0");
    field(f, "clients_in_timeout_table", "0");
}

/* Bytes of memory that the process has, from the kernel; 0 when it does not say. */
static int64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    long pages = 0;

    if (!file)
        return 0;
    if (fscanf(file, "%*s %ld", &pages) != 1)
        pages = 0;
    fclose(file);
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

/* What the allocator, the store's pages and memory maps hold together; all 0 when the allocator does not tell. */
static struct allocator_stats allocator_facts(const struct facts *f)
{
    struct allocator_stats a;
    uint64_t used = (uint64_t)mem_used(), others;

    if (!allocator_stats(&a))
        return (struct allocator_stats){0};
    others = f->heap.resident + (used > a.allocated ? used - a.allocated : 0);
    return (struct allocator_stats){(uint64_t)server_stats_memory(f->server), a.active + others, a.resident + others};
}

static void info_fragmentation(struct facts *f, const struct allocator_stats *a, int64_t used, int64_t rss)
{
    if (a->allocated > 0) {
        field(f, "allocator_frag_ratio", "%.2f", ratio((double)a->active, (double)a->allocated));
        field_int(f, "allocator_frag_bytes", (int64_t)(a->active - a->allocated));
        field(f, "allocator_rss_ratio", "%.2f", ratio((double)a->resident, (double)a->active));
        field_int(f, "allocator_rss_bytes", (int64_t)(a->resident - a->active));
        field(f, "rss_overhead_ratio", "%.2f", ratio((double)rss, (double)a->resident));
        field_int(f, "rss_overhead_bytes", rss - (int64_t)a->resident);
    }
    field(f, "mem_fragmentation_ratio", "%.2f", ratio((double)rss, (double)used));
    field_int(f, "mem_fragmentation_bytes", rss - used);
}

static void info_scripts(struct facts *f)
{
    field(f, "used_memory_lua", "0");
    field(f, "used_memory_vm_eval", "0");
    field(f, "used_memory_lua_human", "0B");
    field(f, "used_memory_scripts_eval", "0");
    field(f, "number_of_cached_scripts", "0");
    field(f, "number_of_functions", "0");
    field(f, "number_of_libraries", "0");
    field(f, "used_memory_vm_functions", "0");
    field(f, "used_memory_vm_total", "0");
    field(f, "used_memory_vm_total_human", "0B");
    field(f, "used_memory_functions", "0");
    field(f, "used_memory_scripts", "0");
    field(f, "used_memory_scripts_human", "0B");
}

static void info_memory(struct facts *f)
{
    struct server *s = f->server;
    struct allocator_stats allocator = allocator_facts(f);
    struct clients_sums clients;
    int64_t used = server_stats_memory(s), peak = atomic_load_explicit(&s->memory_peak, memory_order_relaxed);
    int64_t rss = resident_bytes(), total = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    int64_t overhead, dataset;

    clients_sum(s->clients, &clients);
    overhead = s->memory_startup + (int64_t)clients.memory;
    dataset = used > overhead ? used - overhead : 0;
    if (used > peak)
        peak = used;
    field_int(f, "used_memory", used);
    field_human(f, "used_memory_human", used);
    field_int(f, "used_memory_rss", rss);
    field_human(f, "used_memory_rss_human", rss);
    field_int(f, "used_memory_peak", peak);
    field_human(f, "used_memory_peak_human", peak);
    field(f, "used_memory_peak_perc", "%.2f%%", 100 * ratio((double)used, (double)peak));
    field_int(f, "used_memory_overhead", overhead);
    field_int(f, "used_memory_startup", s->memory_startup);
    field_int(f, "used_memory_dataset", dataset);
    field(f, "used_memory_dataset_perc", "%.2f%%", 100 * ratio((double)dataset, (double)(used - s->memory_startup)));
    if (allocator.allocated > 0) {
        field_int(f, "allocator_allocated", (int64_t)allocator.allocated);
        field_int(f, "allocator_active", (int64_t)allocator.active);
        field_int(f, "allocator_resident", (int64_t)allocator.resident);
    }
    field_int(f, "total_system_memory", total);
    field_human(f, "total_system_memory_human", total);
    info_scripts(f);
    field_int(f, "maxmemory", number(&s->config->maxmemory));
    field_human(f, "maxmemory_human", number(&s->config->maxmemory));
    field_config(f, "maxmemory_policy", VIEW("maxmemory-policy"));
    info_fragmentation(f, &allocator, used, rss);
    field(f, "mem_not_counted_for_evict", "0");
    field(f, "mem_replication_backlog", "0");
    field(f, "mem_total_replication_buffers", "0");
    field(f, "mem_clients_slaves", "0");
    field_int(f, "mem_clients_normal", (int64_t)clients.memory);
    field(f, "mem_cluster_links", "0");
    field(f, "mem_aof_buffer", "0");
    field(f, "mem_allocator", "%s", allocator_name());
    field(f, "active_defrag_running", "%d", defrag_cycle_running(f->server));
    field(f, "lazyfree_pending_objects", "0");
    field(f, "lazyfreed_objects", "0");
}

/* Seconds since that monotonic time in milliseconds; -1 for 0. */
static int64_t seconds_since(int64_t then_ms)
{
    return then_ms == 0 ? -1 : (clock_mono_us() / 1000 - then_ms) / 1000;
}

static void info_loading(struct facts *f)
{
    const struct server_loading *l = &f->server->loading;
    int64_t total = atomic_load((_Atomic int64_t *)&l->total), done = atomic_load((_Atomic int64_t *)&l->done);
    int64_t began = atomic_load((_Atomic int64_t *)&l->began_s), took = clock_wall_ms() / 1000 - began;

    field_int(f, "loading_start_time", began);
    field_int(f, "loading_total_bytes", total);
    field_int(f, "loading_loaded_bytes", done);
    field(f, "loading_loaded_perc", "%.2f", total > 0 ? (double)done / (double)total * 100 : 0);
    field_int(f, "loading_eta_seconds", done > 0 && total > done ? took * (total - done) / done : 1);
}

static void info_snapshots(struct facts *f)
{
    struct persistence *p = f->server->persistence;
    unsigned work = atomic_load(&p->work);
    bool saving = work != PERSIST_IDLE;
    uint64_t keys = 0;

    for (unsigned i = 0; saving && i < keyspace_databases(f->server->keyspace); i++)
        keys += db_size(keyspace_db(f->server->keyspace, i));
    field(f, "async_loading", "%d", atomic_load(&f->server->replication->link) == LINK_TRANSFER);
    field(f, "current_cow_peak", "0");
    field(f, "current_cow_size", "0");
    field(f, "current_cow_size_age", "0");
    field(f, "current_fork_perc", "0.00");
    field_int(f, "current_save_keys_processed", saving ? (int64_t)atomic_load(&p->snapshot.keys) : 0);
    field_int(f, "current_save_keys_total", (int64_t)keys);
    field_int(f, "rdb_changes_since_last_save", persist_changes(p));
    field(f, "rdb_bgsave_in_progress", "%d",
          atomic_load(&p->started) > atomic_load(&p->finished) || work == PERSIST_SYNC);
    field_int(f, "rdb_last_save_time", atomic_load(&f->server->last_save_wall_s));
    field(f, "rdb_last_bgsave_status", atomic_load(&p->save_ok) ? "ok" : "err");
    field_int(f, "rdb_last_bgsave_time_sec", atomic_load(&p->save_seconds));
    field_int(f, "rdb_current_bgsave_time_sec",
              work == PERSIST_SAVE ? seconds_since(atomic_load(&p->save_began_ms)) : -1);
    field_int(f, "rdb_saves", (int64_t)atomic_load(&p->saves));
    field(f, "rdb_last_cow_size", "0");
    field_int(f, "rdb_last_load_keys_expired", (int64_t)atomic_load(&p->keys_expired_at_load));
    field_int(f, "rdb_last_load_keys_loaded", (int64_t)atomic_load(&p->keys_loaded));
}

static void info_append_only(struct facts *f)
{
    struct aof_info a;

    aof_info(f->server->persistence->aof, &a);
    field(f, "aof_enabled", "%d", a.enabled);
    field(f, "aof_rewrite_in_progress", "%d", a.rewrite_in_progress);
    field(f, "aof_rewrite_scheduled", "%d", a.rewrite_scheduled);
    field_int(f, "aof_last_rewrite_time_sec", a.last_rewrite_seconds);
    field_int(f, "aof_current_rewrite_time_sec", a.current_rewrite_seconds);
    field(f, "aof_last_bgrewrite_status", a.last_rewrite_ok ? "ok" : "err");
    field_int(f, "aof_rewrites", (int64_t)a.rewrites);
    field_int(f, "aof_rewrites_consecutive_failures", a.consecutive_failures);
    field(f, "aof_last_write_status", a.last_write_ok ? "ok" : "err");
    field(f, "aof_last_cow_size", "0");
    if (!a.enabled)
        return;
    field_int(f, "aof_current_size", a.current_size);
    field_int(f, "aof_base_size", a.base_size);
    field(f, "aof_pending_rewrite", "%d", a.rewrite_scheduled);
    field_int(f, "aof_buffer_length", (int64_t)a.buffer_length);
    field_int(f, "aof_pending_bio_fsync", a.pending_fsync);
    field_int(f, "aof_delayed_fsync", (int64_t)a.delayed_fsync);
}

static void info_persistence(struct facts *f)
{
    bool loading = (atomic_load(&f->server->restrictions) & RESTRICT_LOADING) != 0;

    field(f, "loading", "%d", loading);
    info_snapshots(f);
    info_append_only(f);
    field(f, "module_fork_in_progress", "0");
    field(f, "module_fork_last_cow_size", "0");
    if (loading)
        info_loading(f);
}

static void field_x100(struct facts *f, const char *name, int64_t x100)
{
    field(f, name, "%lld.%02lld", (long long)(x100 / 100), (long long)(x100 % 100));
}

static void info_traffic(struct facts *f)
{
    struct server *s = f->server;
    const struct server_sums *n = &f->sums;

    field_int(f, "total_connections_received", n->connections);
    field_int(f, "total_commands_processed", n->commands);
    field_int(f, "instantaneous_ops_per_sec", atomic_load_explicit(&s->ops_per_sec, memory_order_relaxed));
    field_int(f, "total_net_input_bytes", n->net_in);
    field_int(f, "total_net_output_bytes", n->net_out);
    field_int(f, "total_net_repl_input_bytes", n->replication_in);
    field_int(f, "total_net_repl_output_bytes", n->replication_out);
    field_x100(f, "instantaneous_input_kbps", atomic_load_explicit(&s->input_kbps_x100, memory_order_relaxed));
    field_x100(f, "instantaneous_output_kbps", atomic_load_explicit(&s->output_kbps_x100, memory_order_relaxed));
    field(f, "instantaneous_input_repl_kbps", "0.00");
    field(f, "instantaneous_output_repl_kbps", "0.00");
    field_int(f, "rejected_connections", n->refused);
    field_int(f, "sync_full", (int64_t)atomic_load(&s->replication->full_syncs));
    field_int(f, "sync_partial_ok", (int64_t)atomic_load(&s->replication->partial_syncs));
    field_int(f, "sync_partial_err", (int64_t)atomic_load(&s->replication->partial_refused));
}

static void info_stats(struct facts *f)
{
    struct server *s = f->server;
    const struct server_sums *n = &f->sums;
    struct server_spells spells;

    server_stats_spells(s, &spells);
    info_traffic(f);
    field_int(f, "expired_keys", n->expired);
    field(f, "expired_stale_perc", "0.00");
    field_int(f, "expired_time_cap_reached_count", n->expire_stops);
    field_int(f, "expire_cycle_cpu_milliseconds", n->expire_us / 1000);
    field_int(f, "evicted_keys", n->evicted);
    field_int(f, "evicted_clients", (int64_t)atomic_load_explicit(&s->evicted_clients, memory_order_relaxed));
    field_int(f, "total_eviction_exceeded_time", spells.over_limit.total_ms);
    field_int(f, "current_eviction_exceeded_time", spells.over_limit.current_ms);
    field_int(f, "keyspace_hits", n->hits);
    field_int(f, "keyspace_misses", n->misses);
    field(f, "pubsub_channels", "0");
    field(f, "pubsub_patterns", "0");
    field(f, "pubsubshard_channels", "0");
    field(f, "latest_fork_usec", "0");
    field(f, "total_forks", "0");
    field(f, "migrate_cached_sockets", "0");
    field(f, "slave_expires_tracked_keys", "0");
    field_int(f, "active_defrag_hits", n->defrag_moved);
    field_int(f, "active_defrag_misses", n->defrag_scanned - n->defrag_moved);
    field_int(f, "active_defrag_key_hits", n->defrag_moved);
    field_int(f, "active_defrag_key_misses", n->defrag_scanned - n->defrag_moved);
    field_int(f, "total_active_defrag_time", spells.defrag.total_ms);
    field_int(f, "current_active_defrag_time", spells.defrag.current_ms);
    field(f, "tracking_total_keys", "0");
    field(f, "tracking_total_items", "0");
    field(f, "tracking_total_prefixes", "0");
    field(f, "unexpected_error_replies", "0");
    field_int(f, "total_error_replies", server_stats_error_total(s));
    field(f, "dump_payload_sanitizations", "0");
    field_int(f, "total_reads_processed", n->reads);
    field_int(f, "total_writes_processed", n->writes);
    field(f, "io_threaded_reads_processed", "0");
    field(f, "io_threaded_writes_processed", "0");
    field(f, "reply_buffer_shrinks", "0");
    field(f, "reply_buffer_expands", "0");
}

static void info_transfer(struct facts *f)
{
    struct replication *r = f->server->replication;
    int64_t total = atomic_load(&r->sync_total), done = atomic_load(&r->sync_done);

    field_int(f, "master_sync_total_bytes", total < 0 ? 0 : total);
    field_int(f, "master_sync_read_bytes", done);
    field_int(f, "master_sync_left_bytes", total < 0 ? -1 : total - done);
    field(f, "master_sync_perc", "%.2f", total > 0 ? (double)done / (double)total * 100 : 0);
    field_int(f, "master_sync_last_io_seconds_ago", seconds_since(atomic_load(&r->heard_ms)));
}

/* As a replica. The lock is held. */
static void info_link(struct facts *f)
{
    struct replication *r = f->server->replication;
    const struct config *c = f->server->config;
    unsigned link = atomic_load(&r->link);

    field(f, "master_host", "%s", r->host);
    field_int(f, "master_port", r->port);
    field(f, "master_link_status", link == LINK_CONNECTED ? "up" : "down");
    field_int(f, "master_last_io_seconds_ago", link == LINK_CONNECTED ? seconds_since(atomic_load(&r->heard_ms)) : -1);
    field(f, "master_sync_in_progress", "%d", link == LINK_TRANSFER);
    field_int(f, "slave_read_repl_offset", (int64_t)oplog_head(f->server->log));
    field_int(f, "slave_repl_offset", (int64_t)oplog_head(f->server->log));
    if (link == LINK_TRANSFER)
        info_transfer(f);
    if (link != LINK_CONNECTED)
        field_int(f, "master_link_down_since_seconds", seconds_since(atomic_load(&r->link_down_ms)));
    field_int(f, "slave_priority", number(&c->replica_priority));
    field_int(f, "slave_read_only", number(&c->replica_read_only));
    field_int(f, "replica_announced", number(&c->replica_announced));
}

static void info_history(struct facts *f)
{
    struct replication *r = f->server->replication;
    const struct oplog *log = f->server->log;
    bool active = oplog_active(log);
    uint64_t first = oplog_first(log), tail = oplog_tail(log);

    field(f, "master_replid", "%s", r->id);
    field(f, "master_replid2", "%s", r->id2);
    field_int(f, "master_repl_offset", (int64_t)oplog_head(log));
    field_int(f, "second_repl_offset", r->id2_end == UINT64_MAX ? -1 : (int64_t)r->id2_end + 1);
    field(f, "repl_backlog_active", "%d", active);
    field_config(f, "repl_backlog_size", VIEW("repl-backlog-size"));
    field_int(f, "repl_backlog_first_byte_offset", active ? (int64_t)first + 1 : 0);
    field_int(f, "repl_backlog_histlen", active && tail > first ? (int64_t)(tail - first) : 0);
}

static void info_replication(struct facts *f)
{
    static const char *const failovers[] = {
        [FAILOVER_NONE] = "no-failover",
        [FAILOVER_WAITING] = "waiting-for-sync",
        [FAILOVER_IN_PROGRESS] = "failover-in-progress",
        [FAILOVER_ABORTING] = "failover-in-progress",
    };
    struct replication *r = f->server->replication;
    bool is_replica = atomic_load(&f->server->is_replica);
    unsigned n = 0;

    pthread_mutex_lock(&r->lock);
    field(f, "role", is_replica ? "slave" : "master");
    if (is_replica)
        info_link(f);
    field_int(f, "connected_slaves", r->count);
    if (number(&f->server->config->min_replicas_to_write) > 0 && number(&f->server->config->min_replicas_max_lag) > 0)
        field_int(f, "min_slaves_good_slaves", atomic_load(&r->good));
    for (struct replica *p = r->replicas; p; p = p->next) {
        char name[24];
        unsigned state = atomic_load(&p->state);
        snprintf(name, sizeof name, "slave%u", n++);
        field(f, name, "ip=%s,port=%lld,state=%s,offset=%llu,lag=%lld", p->announced[0] ? p->announced : p->address,
              (long long)p->port, replica_state_name(state), (unsigned long long)atomic_load(&p->acked),
              state == REPLICA_ONLINE ? (long long)replica_lag_ms(p) / 1000 : 0);
    }
    field(f, "master_failover_state", "%s", failovers[atomic_load(&r->failover)]);
    info_history(f);
    pthread_mutex_unlock(&r->lock);
}

static void field_time(struct facts *f, const char *name, struct timeval t)
{
    field(f, name, "%lld.%06ld", (long long)t.tv_sec, (long)t.tv_usec);
}

/* CPU time of the main thread, which waits for signals while others work: from the kernel's list of threads, in units
 * of its clock tick; 0 when it does not say. */
static void main_thread_times(struct timeval *sys, struct timeval *user)
{
    char text[1024] = "", path[64];
    unsigned long long user_ticks = 0, sys_ticks = 0, hz = (unsigned long long)sysconf(_SC_CLK_TCK);
    const char *name_end;
    FILE *file;

    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)getpid());
    file = fopen(path, "re");
    if (file) {
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        fclose(file);
    }
    /* "pid (name) state", ten numbers, utime, stime; the name may have anything in it */
    name_end = strrchr(text, ')');
    if (!name_end ||
        sscanf(name_end, ") %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu", &user_ticks, &sys_ticks) != 2)
        user_ticks = sys_ticks = 0;
    *user = (struct timeval){(time_t)(user_ticks / hz), (suseconds_t)(user_ticks % hz * 1000000 / hz)};
    *sys = (struct timeval){(time_t)(sys_ticks / hz), (suseconds_t)(sys_ticks % hz * 1000000 / hz)};
}

static void info_cpu(struct facts *f)
{
    struct rusage self = {0}, children = {0};
    struct timeval sys, user;

    main_thread_times(&sys, &user);
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    field_time(f, "used_cpu_sys", self.ru_stime);
    field_time(f, "used_cpu_user", self.ru_utime);
    field_time(f, "used_cpu_sys_children", children.ru_stime);
    field_time(f, "used_cpu_user_children", children.ru_utime);
    field_time(f, "used_cpu_sys_main_thread", sys);
    field_time(f, "used_cpu_user_main_thread", user);
}

static void info_nothing(struct facts *f)
{
    (void)f;
}

static void info_commandstats(struct facts *f)
{
    for (unsigned id = 0; id < command_count; id++) {
        struct server_command_sums n;
        int64_t us;
        server_stats_command(f->server, id, &n);
        if (n.calls == 0 && n.rejected == 0 && n.failed == 0)
            continue;
        us = (int64_t)clock_ticks_us((uint64_t)n.ticks);
        buf_printf(f->out,
                   "cmdstat_%s:calls=%lld,usec=%lld,usec_per_call=%.2f,rejected_calls=%lld,failed_calls=%lld\r\n",
                   command_by_id[id]->name, (long long)n.calls, (long long)us, ratio((double)us, (double)n.calls),
                   (long long)n.rejected, (long long)n.failed);
    }
}

static void put_error(void *arg, const char *code, int64_t count)
{
    struct facts *f = arg;

    buf_printf(f->out, "errorstat_%s:count=%lld\r\n", code, (long long)count);
}

static void info_errorstats(struct facts *f)
{
    server_stats_errors(f->server, put_error, f);
}

/* The value of a directive, as a string. */
static void directive_text(const struct facts *f, struct view name, struct buf *out)
{
    buf_clear(out);
    config_get(f->server->config, &name, 1, append_value, out);
    buf_put_char(out, '\0');
}

/* "p99.9": at most six decimals, without zeros at the end. */
static void put_percentile(struct buf *out, double p)
{
    char text[32];
    size_t n = (size_t)snprintf(text, sizeof text, "p%.6f", p);

    while (text[n - 1] == '0')
        n--;
    if (text[n - 1] == '.')
        n--;
    buf_put(out, text, n);
}

/* list: numbers from 0 to 100, separated by spaces. */
static void put_latencies(struct facts *f, const struct server_latency *l, const char *list)
{
    const char *comma = "";
    char *end;

    for (double p = strtod(list, &end); end != list; p = strtod(list, &end)) {
        uint64_t ns = clock_ticks_us((uint64_t)(server_latency_ticks(l, p) * 1000));
        buf_put_view(f->out, view_str(comma));
        put_percentile(f->out, p);
        buf_printf(f->out, "=%llu.%03llu", (unsigned long long)ns / 1000, (unsigned long long)ns % 1000);
        comma = ",";
        list = end;
    }
}

static void info_latencystats(struct facts *f)
{
    struct buf text = {0};

    directive_text(f, VIEW("latency-tracking"), &text);
    if (strcmp(buf_head(&text), "yes") != 0)
        goto done;
    directive_text(f, VIEW("latency-tracking-info-percentiles"), &text);
    for (unsigned id = 0; id < command_count; id++) {
        struct server_latency l;
        server_stats_latency(f->server, id, &l);
        if (l.calls == 0)
            continue;
        buf_printf(f->out, "latency_percentiles_usec_%s:", command_by_id[id]->name);
        put_latencies(f, &l, buf_head(&text));
        buf_put(f->out, LIT("\r\n"));
    }
done:
    buf_free(&text);
}

static void info_cluster(struct facts *f)
{
    field(f, "cluster_enabled", "0");
}

static void info_keyspace(struct facts *f)
{
    struct keyspace *ks = f->server->keyspace;

    for (unsigned i = 0; i < keyspace_databases(ks); i++) {
        const struct db *db = keyspace_db(ks, i);
        uint64_t keys = db_size(db);
        if (keys > 0)
            buf_printf(f->out, "db%u:keys=%llu,expires=%llu,avg_ttl=0\r\n", i, (unsigned long long)keys,
                       (unsigned long long)db_expires(db));
    }
}

/* ---- Larder's section ---- */

/* "1:5,2:17": 5 pauses from 1 us to below 2 us, 17 from there to below 4 us; buckets without any are left out. */
static void field_histogram(struct facts *f, const char *name, const int64_t counts[PAUSE_BUCKETS])
{
    const char *comma = "";

    buf_printf(f->out, "%s:", name);
    for (unsigned i = 0; i < PAUSE_BUCKETS; i++)
        if (counts[i] > 0) {
            buf_printf(f->out, "%s%llu:%lld", comma, 1ULL << i, (long long)counts[i]);
            comma = ",";
        }
    buf_put(f->out, LIT("\r\n"));
}

static void info_larder(struct facts *f)
{
    struct server_pauses pauses;

    server_stats_pauses(f->server, &pauses);
    field(f, "larder_version", SERVER_VERSION);
    field_int(f, "larder_workers", f->server->worker_count);
    field_int(f, "larder_partitions", PARTITIONS);
    field_int(f, "larder_worker_pause_max_us", pauses.max_us);
    field_histogram(f, "larder_worker_pause_us_hist", pauses.counts);
    field_int(f, "larder_parks", f->sums.parks);
    field_int(f, "larder_gate_passes", f->sums.gate_passes);
    field_int(f, "larder_lane_jobs", f->sums.lane_jobs);
    field_int(f, "larder_keys_expired_on_access", f->sums.expired_lazily);
    field_int(f, "larder_slab_used_bytes", (int64_t)f->heap.used);
    field_int(f, "larder_slab_resident_bytes", (int64_t)f->heap.resident);
    field_int(f, "larder_slab_pages", (int64_t)f->heap.pages);
    field_int(f, "larder_slab_fragmentation_bytes", (int64_t)f->heap.resident - (int64_t)f->heap.used);
}

/* ---- choosing ---- */

static const struct section {
    struct view name;
    const char *title;
    bool by_default;
    void (*write)(struct facts *f);
} sections[] = {
    {{LIT("server")}, "Server", true, info_server},
    {{LIT("clients")}, "Clients", true, info_clients},
    {{LIT("memory")}, "Memory", true, info_memory},
    {{LIT("persistence")}, "Persistence", true, info_persistence},
    {{LIT("stats")}, "Stats", true, info_stats},
    {{LIT("replication")}, "Replication", true, info_replication},
    {{LIT("cpu")}, "CPU", true, info_cpu},
    {{LIT("modules")}, "Modules", true, info_nothing},
    {{LIT("commandstats")}, "Commandstats", false, info_commandstats},
    {{LIT("errorstats")}, "Errorstats", true, info_errorstats},
    {{LIT("latencystats")}, "Latencystats", false, info_latencystats},
    {{LIT("cluster")}, "Cluster", true, info_cluster},
    {{LIT("keyspace")}, "Keyspace", true, info_keyspace},
    {{LIT("larder")}, "Larder", true, info_larder},
};

static bool wanted(const struct call *c, const struct section *s)
{
    if (c->argc == 1)
        return s->by_default;
    for (int i = 1; i < c->argc; i++)
        if (view_equal_case(c->argv[i], s->name) || call_arg_is(c, i, "all") || call_arg_is(c, i, "everything") ||
            (s->by_default && call_arg_is(c, i, "default")))
            return true;
    return false;
}

void cmd_info(struct call *c)
{
    struct server *s = c->server;
    struct buf out = {0};
    struct facts f = {.server = s, .out = &out};

    server_stats_sums(s, &f.sums);
    heap_stats(s->threads[0]->heap->shared, &f.heap);
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++)
        if (wanted(c, &sections[i])) {
            buf_printf(&out, "%s# %s\r\n", buf_live(&out) ? "\r\n" : "", sections[i].title);
            sections[i].write(&f);
        }
    reply_verbatim(c->reply, buf_live(&out) ? buf_view(&out) : VIEW(""), "txt");
    buf_free(&out);
}
