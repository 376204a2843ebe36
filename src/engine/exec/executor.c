/* The executor: see executor.h. Lock order and rules: docs/locks.md. */
#include "engine/exec/executor.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/cmd/call.h"
#include "engine/cmd/transaction.h"
#include "engine/store/watch.h"
#include "engine/exec/lane.h"
#include "engine/log/oplog.h"
#include "engine/server/clients.h"
#include "engine/server/config.h"
#include "engine/server/server.h"
#include "engine/server/stats.h"
#include "engine/server/evict.h"
#include "engine/store/cut.h"
#include "engine/store/heap.h"
#include "engine/store/keyspace.h"
#include "handlers.h"

#define KEYS_MAX_STACK 16
#define PARTITIONS_MAX 256 /* a command that needs more waits for them in the slow lane */
#define GATE_WAIT_US 50    /* between two looks at a closed gate, or a taken partition, of threads that may wait */
#define WAIT_LOOK_US 1000 /* between two looks of the admin socket's thread at what a command waits for */
#define WORK_US 100        /* of a walk in the slow lane, before it lets a worker on the same core go on */
#define REST_US 20
#define ARGS_MAX 2048    /* longer requests, and transactions, are left to the slow lane from the beginning */
#define QUEUE_MAX 262144 /* bytes of a request that a worker copies into a transaction's queue */
#define EXEC_US 300      /* of an EXEC, before the rest of it moves to the slow lane */
#define FAILURES_MAX 16  /* as does one that found a partition taken so often in a row */

/* Partitions held for one command: ascending, each once. */
struct lock_set {
    unsigned n;
    uint32_t at[PARTITIONS_MAX];
};

/* How the slow lane runs a job. */
enum exec_manner {
    JOB_HOLDING,   /* with the partitions that came with it */
    JOB_WALKING,   /* inside the gate; it takes partitions one at a time */
    JOB_WAITING,   /* from its beginning, waiting for what it needs */
    JOB_EXCLUSIVE, /* with the gate closed */
};

struct exec_job {
    struct exec_client *client;
    struct exec_request request;
    struct arena arena; /* the worker's: what the request refers to, if not the connection's input */
    enum exec_manner manner;
    struct lock_set locks;
    struct effects effects;
    bool begun; /* an EXEC that goes on with its queued command `member`, at the time `now` */
    size_t member;
    int64_t now;
};

static int compare_partition(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* Adds a partition; false when the set is full. */
static bool lock_add(struct lock_set *set, uint32_t partition)
{
    for (unsigned i = 0; i < set->n; i++)
        if (set->at[i] == partition)
            return true;
    if (set->n == PARTITIONS_MAX)
        return false;
    set->at[set->n++] = partition;
    return true;
}

static void unlock_all(struct keyspace *ks, const struct lock_set *set)
{
    for (unsigned i = 0; i < set->n; i++)
        keyspace_release(ks, set->at[i]);
}

/* Takes the whole set or nothing; *busy is the one that was taken. */
static bool lock_all(struct keyspace *ks, const struct lock_set *set, uint32_t *busy)
{
    for (unsigned i = 0; i < set->n; i++) {
        if (partition_try(&ks->partitions[set->at[i]]) || partition_try_briefly(&ks->partitions[set->at[i]]))
            continue;
        *busy = set->at[i];
        while (i-- > 0)
            keyspace_release(ks, set->at[i]);
        return false;
    }
    return true;
}

/* Finds and hashes the keys of a command that has not just one in front. */
static __attribute__((noinline)) void hash_keys(struct executor *ex, struct exec_request *r)
{
    const struct hash_key *hk = keyspace_hash_key(ex->shared->server->keyspace);
    int few[KEYS_MAX_STACK], *index = few, max = KEYS_MAX_STACK, n;

    r->flaws &= (uint8_t)~REQUEST_KEYS_LATER;
    if (r->argc > ARGS_MAX && !ex->is_lane) {
        r->flaws |= REQUEST_KEYS_LATER;
        return;
    }
    if (r->argc > KEYS_MAX_STACK) {
        max = r->argc;
        index = arena_alloc(&ex->arena, (size_t)max * sizeof *index);
    }
    n = command_keys(r->command, r->argv, r->argc, index, NULL, max);
    if (n < 0)
        r->flaws |= REQUEST_BAD_KEYS;
    if (n <= 0)
        return;
    r->keys = arena_alloc(&ex->arena, (size_t)n * sizeof *r->keys);
    r->key_count = (unsigned)n;
    for (int i = 0; i < n; i++)
        r->keys[i] = key_make(hk, r->argv[index[i]]);
}

void exec_prepare(struct executor *ex, struct view *argv, int argc, struct exec_request *out)
{
    const struct command *cmd = command_find(argv[0]);

    out->container = NULL;
    out->argv = argv;
    out->argc = argc;
    out->keys = NULL;
    out->key_count = 0;
    out->flaws = 0;
    out->raw = (struct view){0};
    if (cmd && cmd->sub_count > 0 && argc > 1) {
        out->container = cmd;
        cmd = command_find_sub(cmd, argv[1]);
    }
    out->command = cmd;
    if (!cmd)
        return;
    if (__builtin_expect(!command_arity_ok(cmd, argc) || !cmd->run, 0))
        out->flaws = REQUEST_BAD_ARITY;
    if (out->flaws || cmd->scope != SCOPE_KEYS)
        return;
    if (cmd->first_key != 1 || cmd->last_key != 1) {
        hash_keys(ex, out);
        return;
    }
    out->only_key = key_make(keyspace_hash_key(ex->shared->server->keyspace), argv[1]);
    out->keys = &out->only_key;
    out->key_count = 1;
}

#define PREFETCH_KEYS 4 /* of one command */

void exec_prefetch(struct executor *ex, const struct exec_client *client, const struct exec_request *requests,
                   unsigned n)
{
    const struct key *keys[DB_PREFETCH_MAX];
    unsigned count = 0;

    for (unsigned i = 0; i < n && count <= DB_PREFETCH_MAX - PREFETCH_KEYS; i++)
        for (unsigned k = 0; k < requests[i].key_count && k < PREFETCH_KEYS; k++)
            keys[count++] = &requests[i].keys[k];
    db_prefetch(keyspace_db(ex->shared->server->keyspace, client->session.db), keys, count);
}

void exec_begin(struct executor *ex)
{
    ex->since = clock_ticks();
}

static struct command_tally *tally_of(struct executor *ex, const struct command *cmd)
{
    return &ex->shared->server->command_tallies[ex->thread->index][cmd->id];
}

/* Counts a call that failed without its handler. */
static void count_failure(struct executor *ex, const struct command *cmd)
{
    uint64_t now = clock_ticks();

    command_tally_note(tally_of(ex, cmd), now - ex->since);
    ex->since = now;
    tally_add(&tally_of(ex, cmd)->failed, 1);
}

/* What has been gathered gets its place in the log. Before anything that it touches is let go of. */
static __attribute__((noinline)) void log_effects(struct executor *ex)
{
    oplog_append(ex->shared->server->log, ex->thread->index, &ex->effects);
    effects_clear(&ex->effects);
}

static inline void commit(struct executor *ex)
{
    if (__builtin_expect(ex->effects.count > 0, 0))
        log_effects(ex);
}

/* The command itself is its effect: it goes into the log at once when it stands alone. */
static __attribute__((noinline)) void log_call(struct executor *ex, const struct call *c)
{
    bool is_raw = c->raw.n > 0 && c->raw.n == effects_words_size(c->argv, (size_t)c->argc);

    if (is_raw && ex->effects.count == 0 && !c->in_exec)
        oplog_append_raw(ex->shared->server->log, ex->thread->index, db_index(c->db), c->raw);
    else if (is_raw)
        effects_add_raw(&ex->effects, db_index(c->db), c->raw);
    else
        effects_add(&ex->effects, db_index(c->db), c->argv, (size_t)c->argc);
}

/* Runs one handler with its partitions held, and counts it. The caller commits before it lets go of them. */
static inline enum call_verdict run_handler(struct executor *ex, struct call *c)
{
    uint64_t errors = c->reply->errors, now;
    struct command_tally *t = tally_of(ex, c->command);

    if (__builtin_expect(c->server->keyspace->saving, 0) && (c->command->flags & COMMAND_WRITE))
        for (unsigned i = 0; i < c->key_count; i++)
            cut_before_write(c->db, c->thread, &c->keys[i]);
    c->command->run(c);
    if (__builtin_expect(c->walking != PARTITIONS, 0))
        call_unhold(c);
    if (__builtin_expect(c->verdict != CALL_DONE, 0))
        return c->verdict;
    c->session->waiting = false;
    now = clock_ticks();
    command_tally_note(t, now - ex->since);
    ex->since = now;
    if (__builtin_expect(c->reply->errors != errors, 0))
        tally_add(&t->failed, 1);
    if (c->changes > 0 || __builtin_expect(c->forced, 0)) {
        tally_add(&ex->thread->changes, (int64_t)c->changes);
        if (c->effects && !c->logged)
            log_call(ex, c);
    }
    return CALL_DONE;
}

static struct call make_call(struct executor *ex, struct exec_client *client, const struct exec_request *r)
{
    struct server *server = ex->shared->server;

    return (struct call){
        .server = server,
        .session = &client->session,
        .thread = ex->thread,
        .command = r->command,
        .argv = r->argv,
        .argc = r->argc,
        .reply = client->reply,
        .db = keyspace_db(server->keyspace, client->session.db),
        .keys = r->keys,
        .key_count = r->key_count,
        .in_lane = ex->is_lane,
        .walking = PARTITIONS,
        .effects = oplog_active(server->log) && !client->session.replays ? &ex->effects : NULL,
        .raw = r->raw,
    };
}

/* The reply to a name that is no command, with the beginning of its arguments as Redis quotes them. */
static void reply_unknown(struct exec_client *client, const struct exec_request *r)
{
    char args[160];
    size_t n = 0;

    if (r->container) {
        char upper[32];
        size_t k = 0;
        for (; k < sizeof upper - 1 && r->container->name[k]; k++)
            upper[k] = ascii_upper(r->container->name[k]);
        upper[k] = '\0';
        reply_error(client->reply, ERROR_UNKNOWN_SUBCOMMAND, (int)(r->argv[1].n < 128 ? r->argv[1].n : 128),
                    r->argv[1].p, upper);
        return;
    }
    for (int i = 1; i < r->argc && n < 128; i++) {
        size_t room = 128 - n, take = r->argv[i].n < room ? r->argv[i].n : room;
        args[n++] = '\'';
        memcpy(args + n, r->argv[i].p, take);
        n += take;
        args[n++] = '\'';
        args[n++] = ' ';
    }
    reply_error(client->reply, ERROR_UNKNOWN_COMMAND, (int)(r->argv[0].n < 128 ? r->argv[0].n : 128), r->argv[0].p,
                (int)n, args);
}

static bool refused(struct exec_client *client, struct executor *ex, const struct exec_request *r)
{
    if (client->session.transaction && client->session.transaction->active) {
        client->session.transaction->failed = true;
        transaction_show(&client->session);
    }
    tally_add(&ex->thread->rejected, 1);
    if (r->command)
        tally_add(&tally_of(ex, r->command)->rejected, 1);
    return true;
}

/* Is it a write, or a transaction with one? */
static bool writes(const struct exec_client *client, const struct command *cmd)
{
    const struct transaction *t = client->session.transaction;

    if (cmd->run == cmd_exec && t)
        for (size_t i = 0; i < t->count; i++)
            if (t->queue[i].command->flags & COMMAND_WRITE)
                return true;
    return (cmd->flags & COMMAND_WRITE) != 0;
}

/* Checks for times that are not ordinary: see enum server_restriction. */
static bool check_restricted(struct executor *ex, struct exec_client *client, const struct exec_request *r)
{
    struct server *server = ex->shared->server;
    unsigned why = atomic_load_explicit(&server->restrictions, memory_order_relaxed);
    const struct command *cmd = r->command;
    enum error_id error;

    if (client->session.replays || (client->session.admin && !(why & RESTRICT_LOADING)))
        return false;
    if ((why & RESTRICT_LOADING) && !(cmd->flags & COMMAND_LOADING))
        error = ERROR_LOADING;
    else if ((why & RESTRICT_STALE) && !(cmd->flags & COMMAND_STALE))
        error = ERROR_MASTERDOWN;
    else if (!(why & (RESTRICT_REPLICA | RESTRICT_DISK | RESTRICT_FEW_REPLICAS)) || !writes(client, cmd))
        return false;
    else if (why & RESTRICT_DISK)
        error = ERROR_MISCONF;
    else if (why & RESTRICT_FEW_REPLICAS)
        error = ERROR_NOREPLICAS;
    else
        error = ERROR_READONLY;
    if (cmd->run == cmd_exec)
        transaction_reset(&client->session);
    if (error == ERROR_MISCONF && atomic_load(&server->file_error) != 0)
        reply_error(client->reply, ERROR_MISCONF_FILE, strerror(atomic_load(&server->file_error)));
    else
        reply_error(client->reply, error);
    return refused(client, ex, r);
}

/* Checks that need no key; replies and returns true when the command may not run. */
static bool check_refused(struct executor *ex, struct exec_client *client, const struct exec_request *r)
{
    const struct command *cmd = r->command;

    if (!cmd) {
        reply_unknown(client, r);
        return refused(client, ex, r);
    }
    if (r->flaws & REQUEST_BAD_ARITY) {
        if (cmd->run == cmd_exec) { /* a refused EXEC ends its transaction */
            transaction_reset(&client->session);
            reply_error(client->reply, ERROR_EXECABORT_ARITY, cmd->name);
            return refused(client, ex, r);
        }
        reply_error(client->reply, ERROR_ARITY, cmd->name);
        return refused(client, ex, r);
    }
    if (!client->session.authenticated && !(cmd->flags & COMMAND_NO_AUTH)) {
        reply_error(client->reply, ERROR_NOAUTH);
        return refused(client, ex, r);
    }
    if (r->flaws & REQUEST_BAD_KEYS) {
        reply_error(client->reply, ERROR_SYNTAX);
        return refused(client, ex, r);
    }
    if (atomic_load_explicit(&ex->shared->server->restrictions, memory_order_relaxed) != 0)
        return check_restricted(ex, client, r);
    return false;
}

/* Makes room for a command that may grow memory; inside the gate. */
static enum evict_room make_room(struct executor *ex, const struct exec_client *client, const struct exec_request *r)
{
    struct server *server = ex->shared->server;
    const struct transaction *t = client->session.transaction;
    bool grows = (r->command->flags & COMMAND_DENYOOM) || (r->command->run == cmd_exec && t && t->grows);

    if (!grows || atomic_load_explicit(&server->config->maxmemory, memory_order_relaxed) == 0)
        return EVICT_ROOM;
    return evict_make_room(server, ex->thread);
}

static void refuse_for_memory(struct executor *ex, struct exec_client *client, const struct exec_request *r)
{
    if (r->command->run == cmd_exec) {
        transaction_reset(&client->session);
        reply_error(client->reply, ERROR_EXECABORT_OOM);
    } else {
        reply_error(client->reply, ERROR_OOM);
    }
    refused(client, ex, r);
}

/* Does CLIENT PAUSE hold this command back? */
static bool is_paused(struct server *server, const struct exec_client *client, const struct command *cmd)
{
    int64_t until = atomic_load_explicit(&server->pause_until_ms, memory_order_relaxed);

    if (__builtin_expect(until == 0, 1) || client->session.admin || clock_wall_ms() >= until)
        return false;
    if (atomic_load_explicit(&server->pause_all, memory_order_relaxed))
        return cmd->run != cmd_client_unpause;
    if (cmd->run == cmd_exec && client->session.transaction) {
        const struct transaction *t = client->session.transaction;
        for (size_t i = 0; i < t->count; i++)
            if (t->queue[i].command->flags & (COMMAND_WRITE | COMMAND_MAY_REPLICATE))
                return true;
        return false;
    }
    return (cmd->flags & (COMMAND_WRITE | COMMAND_MAY_REPLICATE)) != 0;
}

/* Queues the command if the session is in MULTI. */
static bool queued(struct executor *ex, struct exec_client *client, const struct exec_request *r)
{
    struct transaction *t = client->session.transaction;
    command_fn *run = r->command->run;

    if (!t || !t->active || run == cmd_exec || run == cmd_discard || run == cmd_multi || run == cmd_quit ||
        run == cmd_reset)
        return false;
    if (run == cmd_watch) { /* refused, but the transaction goes on */
        reply_error(client->reply, ERROR_WATCH_IN_MULTI);
        count_failure(ex, r->command);
        return true;
    }
    if (r->command->flags & COMMAND_NO_MULTI) {
        reply_error(client->reply, ERROR_NOT_IN_MULTI);
        return refused(client, ex, r);
    }
    transaction_queue(t, r->command, r->argv, r->argc);
    transaction_show(&client->session);
    reply_status(client->reply, "QUEUED");
    return true;
}

/* Makes the client's job out of what it tried to run. The arena goes with it; the bytes of the request are there, or in
 * the connection's input, which is left alone meanwhile. locks: of a job that holds partitions. */
static enum exec_status to_lane(struct executor *ex, struct exec_client *client, const struct exec_request *r,
                                enum exec_manner manner, const struct lock_set *locks)
{
    struct exec_job *job = mem_zalloc(sizeof *job);

    job->client = client;
    job->request = *r;
    if (r->keys == &r->only_key)
        job->request.keys = &job->request.only_key;
    job->arena = ex->arena;
    ex->arena = (struct arena){0};
    job->manner = manner;
    if (ex->effects.count > 0) {
        job->effects = ex->effects;
        ex->effects = (struct effects){0};
    }
    if (locks) {
        job->locks = *locks;
        gate_job_begin(&ex->shared->gate);
    }
    client->job = job;
    client->failures = 0;
    tally_add(&ex->thread->lane_jobs, 1);
    if (manner == JOB_EXCLUSIVE)
        tally_add(&ex->thread->gate_passes, 1);
    return EXEC_LANE;
}

static enum exec_status busy(struct executor *ex, struct exec_client *client, const struct exec_request *r,
                             uint32_t partition)
{
    struct exec_shared *sh = ex->shared;

    if (++client->failures > FAILURES_MAX)
        return to_lane(ex, client, r, JOB_WAITING, NULL);
    tally_add(&ex->thread->parks, 1);
    return park_wait(&sh->park, &sh->server->keyspace->partitions[partition], partition, client->handle) ? EXEC_PARKED
                                                                                                         : EXEC_AGAIN;
}

/* The queued commands, ready to run; in the arena. */
static struct exec_request *prepare_members(struct executor *ex, const struct transaction *t)
{
    struct exec_request *members = arena_alloc(&ex->arena, (t->count + 1) * sizeof *members);

    for (size_t i = 0; i < t->count; i++)
        exec_prepare(ex, t->queue[i].argv, t->queue[i].argc, &members[i]);
    return members;
}

/* Does one of the queued commands need the gate? */
static bool members_need_gate(const struct transaction *t, const struct exec_request *members)
{
    for (size_t i = 0; i < t->count; i++)
        if (members[i].command->scope == SCOPE_GATE || members[i].command->scope == SCOPE_WALK)
            return true;
    return false;
}

/* Fills the lock set with the partitions of the queued commands' keys and of the watched ones; false when they are too
 * many. */
static bool members_lock_set(const struct transaction *t, const struct exec_request *members, struct lock_set *locks)
{
    locks->n = 0;
    for (size_t i = 0; i < t->count; i++) {
        if (members[i].flaws & REQUEST_KEYS_LATER)
            return false;
        for (unsigned k = 0; k < members[i].key_count; k++)
            if (!lock_add(locks, key_partition(&members[i].keys[k])))
                return false;
    }
    for (size_t i = 0; i < t->watch_count; i++)
        if (!lock_add(locks, key_partition(&t->watches[i]->key)))
            return false;
    qsort(locks->at, locks->n, sizeof locks->at[0], compare_partition);
    return true;
}

static bool watches_broken(struct call *c, const struct transaction *t)
{
    if (t->watched && atomic_load(&t->watched->changed))
        return true;
    for (size_t i = 0; i < t->watch_count; i++) {
        const struct watch *w = t->watches[i];
        struct item *it = db_find(w->db, &w->key, NULL);
        if (it && (it->flags & ITEM_EXPIRES) && item_expiry(it) <= call_now(c))
            return true;
    }
    return false;
}

/* Runs the queue from member `at` on, everything it needs being held. Returns the member that must go on in the slow
 * lane, or the count when all are done: the transaction is then over. */
static size_t exec_members(struct executor *ex, struct exec_client *client, struct call *c,
                           struct exec_request *members, size_t at)
{
    size_t count = client->session.transaction->count;
    uint64_t end = ex->since + clock_us_ticks(EXEC_US);

    for (; at < count; at++) {
        struct call m = make_call(ex, client, &members[at]);
        if (!c->in_lane && ex->since > end)
            return at;
        m.now = call_now(c);
        m.in_exec = true;
        m.in_lane = c->in_lane;
        m.exclusive = c->exclusive;
        if (run_handler(ex, &m) == CALL_TO_LANE)
            return at;
    }
    transaction_reset(&client->session);
    return count;
}

/* Begins to run the queue: see exec_members. */
static size_t exec_begin_members(struct executor *ex, struct exec_client *client, struct call *c,
                                 struct exec_request *members)
{
    struct transaction *t = client->session.transaction;
    size_t count = t->count;

    if (watches_broken(c, t)) {
        reply_null_array(client->reply);
        transaction_reset(&client->session);
        return count;
    }
    transaction_unwatch(&client->session);
    reply_array(client->reply, count);
    return exec_members(ex, client, c, members, 0);
}

/* EXEC is run by the executor itself; the table needs a handler to name it. */
void cmd_exec(struct call *c)
{
    reply_error(c->reply, ERROR_EXEC_NO_MULTI);
}

/* Replies, and returns false, when there is nothing that EXEC could run. */
static bool exec_ready(struct executor *ex, struct exec_client *client, const struct exec_request *r)
{
    const struct transaction *t = client->session.transaction;
    bool active = t && t->active;

    if (active && !t->failed)
        return true;
    if (active) /* else watches stay */
        transaction_reset(&client->session);
    reply_error(client->reply, active ? ERROR_EXECABORT : ERROR_EXEC_NO_MULTI);
    count_failure(ex, r->command);
    return false;
}

/* On a worker. */
static enum exec_status run_exec(struct executor *ex, struct exec_client *client, struct exec_request *r)
{
    struct keyspace *ks = ex->shared->server->keyspace;
    struct transaction *t = client->session.transaction;
    struct call c = make_call(ex, client, r);
    struct lock_set locks;
    struct exec_request *members;
    uint64_t began = ex->since;
    size_t count, at;
    uint32_t taken;

    if (!exec_ready(ex, client, r))
        return EXEC_DONE;
    count = t->count;
    if (count + t->watch_count > ARGS_MAX)
        return to_lane(ex, client, r, JOB_WAITING, NULL);
    members = prepare_members(ex, t);
    if (members_need_gate(t, members))
        return to_lane(ex, client, r, JOB_EXCLUSIVE, NULL);
    if (!members_lock_set(t, members, &locks))
        return to_lane(ex, client, r, JOB_WAITING, NULL);
    if (!lock_all(ks, &locks, &taken))
        return busy(ex, client, r, taken);
    at = exec_begin_members(ex, client, &c, members);
    if (at < count) {
        to_lane(ex, client, r, JOB_HOLDING, &locks);
        client->job->begun = true;
        client->job->member = at;
        client->job->now = c.now;
        return EXEC_LANE;
    }
    command_tally_note(tally_of(ex, r->command), clock_ticks() - began);
    commit(ex);
    unlock_all(ks, &locks);
    return EXEC_DONE;
}

/* Runs a command whose keys are one partition: the common case. */
static enum exec_status run_single(struct executor *ex, struct exec_client *client, const struct exec_request *r)
{
    struct keyspace *ks = ex->shared->server->keyspace;
    uint32_t partition = key_partition(&r->keys[0]);
    struct partition *p = &ks->partitions[partition];
    struct call c = make_call(ex, client, r);
    struct lock_set locks;

    if (!partition_try(p) && !partition_try_briefly(p))
        return busy(ex, client, r, partition);
    if (__builtin_expect(run_handler(ex, &c) == CALL_TO_LANE, 0)) {
        locks.n = 1;
        locks.at[0] = partition;
        return to_lane(ex, client, r, JOB_HOLDING, &locks);
    }
    commit(ex);
    keyspace_release(ks, partition);
    return EXEC_DONE;
}

static enum exec_status run_keys(struct executor *ex, struct exec_client *client, const struct exec_request *r)
{
    struct keyspace *ks = ex->shared->server->keyspace;
    struct lock_set locks;
    struct call c;
    uint32_t taken;

    if (r->flaws & REQUEST_KEYS_LATER)
        return to_lane(ex, client, r, JOB_WAITING, NULL);
    locks.n = 0;
    for (unsigned i = 0; i < r->key_count; i++)
        if (!lock_add(&locks, key_partition(&r->keys[i])))
            return to_lane(ex, client, r, JOB_WAITING, NULL);
    qsort(locks.at, locks.n, sizeof locks.at[0], compare_partition);
    if (!lock_all(ks, &locks, &taken))
        return busy(ex, client, r, taken);
    c = make_call(ex, client, r);
    if (run_handler(ex, &c) == CALL_TO_LANE)
        return to_lane(ex, client, r, JOB_HOLDING, &locks);
    commit(ex);
    unlock_all(ks, &locks);
    return EXEC_DONE;
}

/* By what the command needs. */
static enum exec_status dispatch(struct executor *ex, struct exec_client *client, struct exec_request *r)
{
    struct call c;

    switch (r->command->scope) {
    case SCOPE_KEYS:
        return r->key_count == 1 ? run_single(ex, client, r) : run_keys(ex, client, r);
    case SCOPE_GATE:
        return to_lane(ex, client, r, JOB_EXCLUSIVE, NULL);
    default:
        if (r->command->run == cmd_exec)
            return run_exec(ex, client, r);
        c = make_call(ex, client, r);
        switch (run_handler(ex, &c)) {
        case CALL_TO_LANE:
            return to_lane(ex, client, r, JOB_WALKING, NULL);
        case CALL_BUSY:
            return busy(ex, client, r, c.busy);
        case CALL_WAITS:
            return EXEC_WAITS;
        default:
            return EXEC_DONE;
        }
    }
}

/* Does the command need none of what is rare: refusal, queueing, waiting, making room? */
static inline bool is_plain(struct executor *ex, const struct exec_client *client, const struct exec_request *r)
{
    struct server *server = ex->shared->server;

    return r->command && r->flaws == 0 && client->session.authenticated && !client->session.transaction &&
           atomic_load_explicit(&server->pause_until_ms, memory_order_relaxed) == 0 &&
           atomic_load_explicit(&server->restrictions, memory_order_relaxed) == 0 &&
           (!(r->command->flags & COMMAND_DENYOOM) ||
            atomic_load_explicit(&server->config->maxmemory, memory_order_relaxed) == 0);
}

/* Bytes of a request, whose arguments follow each other. */
static size_t request_bytes(const struct exec_request *r)
{
    const struct view *last = &r->argv[r->argc - 1];

    return (size_t)(last->p + last->n - r->argv[0].p);
}

/* The beginning of a command that is not plain. False: *status says how it ended, or why it goes on elsewhere. */
static bool begin_command(struct executor *ex, struct exec_client *client, struct exec_request *r,
                          enum exec_status *status)
{
    const struct transaction *t = client->session.transaction;

    *status = EXEC_DONE;
    if (check_refused(ex, client, r))
        return false;
    if (is_paused(ex->shared->server, client, r->command)) {
        *status = EXEC_HELD;
        return false;
    }
    if (t && t->active && request_bytes(r) > QUEUE_MAX) {
        *status = to_lane(ex, client, r, JOB_WAITING, NULL);
        return false;
    }
    switch (make_room(ex, client, r)) {
    case EVICT_ROOM:
        break;
    case EVICT_NO_ROOM:
        refuse_for_memory(ex, client, r);
        return false;
    case EVICT_LATER:
        *status = to_lane(ex, client, r, JOB_WAITING, NULL);
        return false;
    }
    return true;
}

enum exec_status exec_run(struct executor *ex, struct exec_client *client, struct exec_request *r)
{
    bool plain = is_plain(ex, client, r);
    enum exec_status status;

    if (__builtin_expect(!plain, 0) && !begin_command(ex, client, r, &status))
        return status;
    atomic_store_explicit(&client->session.card->last_command, r->command->name, memory_order_relaxed);
    if (__builtin_expect(!plain, 0)) {
        if (client->session.transaction)
            transaction_show(&client->session);
        if (queued(ex, client, r))
            return EXEC_DONE;
    }
    status = dispatch(ex, client, r);
    if (status == EXEC_DONE)
        client->failures = 0;
    return status;
}

/* ---- what may wait: the slow lane, and the admin socket's thread ---- */

/* Any number of partitions. */
struct wide_set {
    uint64_t bits[PARTITIONS / 64];
};

static void wide_add(struct wide_set *set, const struct key *key)
{
    set->bits[key_partition(key) / 64] |= UINT64_C(1) << key_partition(key) % 64;
}

/* The next partition from `from` on, PARTITIONS for none. */
static uint32_t wide_next(const struct wide_set *set, uint32_t from)
{
    for (uint32_t i = from; i < PARTITIONS; i = (i / 64 + 1) * 64) {
        uint64_t word = set->bits[i / 64] >> i % 64;
        if (word)
            return i + (uint32_t)__builtin_ctzll(word);
    }
    return PARTITIONS;
}

/* Takes the partitions one after the other, waiting for each. Whoever waits holding some does so in this one order, and
 * the others who hold any wait for nobody. */
static void wide_lock(struct keyspace *ks, const struct wide_set *set)
{
    for (uint32_t p = wide_next(set, 0); p < PARTITIONS; p = wide_next(set, p + 1))
        while (!partition_try_briefly(&ks->partitions[p]))
            clock_sleep_us(GATE_WAIT_US);
}

static void wide_unlock(struct keyspace *ks, const struct wide_set *set)
{
    for (uint32_t p = wide_next(set, 0); p < PARTITIONS; p = wide_next(set, p + 1))
        keyspace_release(ks, p);
}

/* Enters the gate, waiting for it to open. */
static void enter_waiting(struct executor *ex)
{
    while (!gate_enter(&ex->shared->gate, ex->thread->index))
        clock_sleep_us(GATE_WAIT_US);
}

static void leave(struct executor *ex)
{
    gate_leave(&ex->shared->gate, ex->thread->index);
}

/* Runs an EXEC from its beginning, everything being held or the gate closed. */
static void exec_here(struct executor *ex, struct exec_client *client, const struct exec_request *r,
                      struct exec_request *members, bool exclusive)
{
    struct call c = make_call(ex, client, r);
    uint64_t began = ex->since;

    c.in_lane = true;
    c.exclusive = exclusive;
    exec_begin_members(ex, client, &c, members);
    command_tally_note(tally_of(ex, r->command), clock_ticks() - began);
}

/* With the gate closed. */
static void run_exclusive(struct executor *ex, struct exec_client *client, struct exec_request *r)
{
    struct call c;

    gate_close(&ex->shared->gate);
    client->held = is_paused(ex->shared->server, client, r->command);
    if (client->held) {
        /* CLIENT PAUSE was answered meanwhile */
    } else if (r->command->run == cmd_exec) {
        exec_here(ex, client, r, prepare_members(ex, client->session.transaction), true);
    } else {
        c = make_call(ex, client, r);
        c.exclusive = c.in_lane = true;
        run_handler(ex, &c);
    }
    commit(ex);
    gate_open(&ex->shared->gate);
}

/* Runs a command with keys, or an EXEC, when all its partitions are taken. */
static void run_wide(struct executor *ex, struct exec_client *client, struct exec_request *r,
                     struct exec_request *members)
{
    struct keyspace *ks = ex->shared->server->keyspace;
    const struct transaction *t = client->session.transaction;
    struct wide_set *set = arena_alloc(&ex->arena, sizeof *set);

    memset(set, 0, sizeof *set);
    for (unsigned i = 0; i < r->key_count; i++)
        wide_add(set, &r->keys[i]);
    for (size_t i = 0; members && i < t->count; i++)
        for (unsigned k = 0; k < members[i].key_count; k++)
            wide_add(set, &members[i].keys[k]);
    for (size_t i = 0; members && i < t->watch_count; i++)
        wide_add(set, &t->watches[i]->key);
    enter_waiting(ex);
    client->held = is_paused(ex->shared->server, client, r->command);
    if (!client->held) {
        wide_lock(ks, set);
        gate_job_begin(&ex->shared->gate); /* from here on like a job that came with its partitions */
        leave(ex);
        if (members) {
            exec_here(ex, client, r, members, false);
        } else {
            struct call c = make_call(ex, client, r);
            c.in_lane = true;
            run_handler(ex, &c);
        }
        commit(ex);
        wide_unlock(ks, set);
        gate_job_end(&ex->shared->gate);
    } else {
        leave(ex);
    }
}

/* Evicts until there is room; false when there is none. */
static bool wait_for_room(struct executor *ex, const struct exec_client *client, const struct exec_request *r)
{
    enum evict_room room;

    if (r->command->scope == SCOPE_CONNECTION && r->command->run != cmd_exec)
        return true;
    enter_waiting(ex);
    while ((room = make_room(ex, client, r)) == EVICT_LATER)
        exec_let_in(ex->shared, ex->thread);
    leave(ex);
    return room == EVICT_ROOM;
}

void exec_run_waiting(struct executor *ex, struct exec_client *client, struct exec_request *r)
{
    struct exec_request *members = NULL;
    struct call c;

    exec_begin(ex);
    if (r->flaws & REQUEST_KEYS_LATER)
        hash_keys(ex, r);
    if (check_refused(ex, client, r))
        return;
    if (!wait_for_room(ex, client, r)) {
        refuse_for_memory(ex, client, r);
        return;
    }
    if (queued(ex, client, r))
        return;
    if (r->command->run == cmd_exec) {
        if (!exec_ready(ex, client, r))
            return;
        members = prepare_members(ex, client->session.transaction);
    }
    if (r->command->scope == SCOPE_GATE || (members && members_need_gate(client->session.transaction, members))) {
        run_exclusive(ex, client, r);
    } else if (r->command->scope != SCOPE_CONNECTION || members) {
        run_wide(ex, client, r, members);
    } else { /* outside the gate */
        do {
            config_read_lock(ex->shared->server->config);
            c = make_call(ex, client, r);
            c.in_lane = true;
            run_handler(ex, &c);
            config_read_unlock(ex->shared->server->config);
            if (c.verdict == CALL_WAITS)
                clock_sleep_us(WAIT_LOOK_US);
        } while (c.verdict == CALL_WAITS);
    }
    oplog_wake(ex->shared->server->log, ex->thread->index);
}

/* A walk; or what takes long and needs no keys. */
static void run_walk(struct executor *ex, struct exec_client *client, struct exec_request *r)
{
    struct call c = make_call(ex, client, r);

    enter_waiting(ex);
    client->held = is_paused(ex->shared->server, client, r->command);
    if (!client->held)
        run_handler(ex, &c);
    leave(ex);
}

/* What came with its partitions. */
static void run_holding(struct executor *ex, struct exec_job *job)
{
    struct exec_client *client = job->client;
    struct call c = make_call(ex, client, &job->request);
    uint64_t began = ex->since;

    if (job->begun) {
        c.now = job->now;
        exec_members(ex, client, &c, prepare_members(ex, client->session.transaction), job->member);
        command_tally_note(tally_of(ex, job->request.command), clock_ticks() - began);
    } else {
        run_handler(ex, &c);
    }
    commit(ex);
    unlock_all(ex->shared->server->keyspace, &job->locks);
    gate_job_end(&ex->shared->gate);
}

static void run_job(struct executor *ex, void *arg)
{
    struct exec_job *job = arg;
    struct exec_client *client = job->client;
    struct exec_shared *sh = ex->shared;
    struct handle h = client->handle;

    exec_begin(ex);
    if (job->effects.count > 0) {
        buf_free(&ex->effects.bytes);
        ex->effects = job->effects;
    }
    switch (job->manner) {
    case JOB_HOLDING:
        run_holding(ex, job);
        break;
    case JOB_WALKING:
        run_walk(ex, client, &job->request);
        break;
    case JOB_WAITING:
        exec_run_waiting(ex, client, &job->request);
        break;
    case JOB_EXCLUSIVE:
        run_exclusive(ex, client, &job->request);
        break;
    }
    if (oplog_appended(sh->server->log, ex->thread->index))
        client->session.write_offset = oplog_end(sh->server->log, ex->thread->index);
    oplog_wake(sh->server->log, ex->thread->index);
    evict_call_in(sh->server);
    heap_trim(ex->thread->heap); /* who knows when this thread works again */
    arena_reset(&ex->arena);
    arena_free(&job->arena);
    mem_free(job);
    client->job = NULL;
    sh->lane_done(sh->arg, h);
}

void exec_submit(struct executor *ex, struct exec_client *client)
{
    static const enum exec_lane lanes[] = {
        [JOB_HOLDING] = EXEC_LANE_HOLDING,
        [JOB_WALKING] = EXEC_LANE_WAITING,
        [JOB_WAITING] = EXEC_LANE_WAITING,
        [JOB_EXCLUSIVE] = EXEC_LANE_GATE,
    };

    lane_post(ex->shared->lanes[lanes[client->job->manner]], run_job, client->job);
}

void exec_let_in(struct exec_shared *sh, struct thread *t)
{
    int64_t now = clock_mono_us();
    bool tired = now - t->rested_us > WORK_US, closing = gate_closing(&sh->gate);

    if (!tired && !closing)
        return;
    gate_leave(&sh->gate, t->index);
    if (tired) {
        clock_sleep_us(REST_US);
        t->rested_us = clock_mono_us();
    }
    while (!gate_enter(&sh->gate, t->index))
        clock_sleep_us(GATE_WAIT_US);
}
