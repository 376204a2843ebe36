/* The executor: see executor.h. Lock order and rules: docs/locks.md. */
#include "engine/exec/executor.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/cmd/call.h"
#include "engine/cmd/transaction.h"
#include "engine/store/watch.h"
#include "engine/exec/lane.h"
#include "engine/server/clients.h"
#include "engine/server/config.h"
#include "engine/server/server.h"
#include "engine/server/stats.h"
#include "engine/server/evict.h"
#include "engine/store/heap.h"
#include "engine/store/keyspace.h"
#include "handlers.h"

#define KEYS_MAX_STACK 16
#define PARTITIONS_MAX 256 /* a command that needs more goes through the gate */
#define GATE_WAIT_US 50    /* between two looks at a closed gate, or a taken partition, of threads that may wait */
#define WORK_US 100        /* of a walk in the slow lane, before it lets a worker on the same core go on */
#define REST_US 20
#define FAILURES_MAX 16 /* as does one that found a partition taken so often */

/* Partitions held for one command: ascending, each once. */
struct lock_set {
    unsigned n;
    uint32_t at[PARTITIONS_MAX];
};

struct exec_job {
    struct executor *from;
    struct exec_client *client;
    struct exec_request request; /* argv and keys are copies */
    struct lock_set locks;
    bool locked;    /* the partitions of `locks` came with it */
    bool exclusive; /* needs the gate */
    bool waits;     /* must wait for room first, then runs as a whole */
    bool begun;     /* an EXEC that goes on with its queued command `member`, at the time `now` */
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

    if (r->argc > KEYS_MAX_STACK) {
        max = r->argc;
        index = arena_alloc(&ex->arena, (size_t)max * sizeof *index);
    }
    n = command_keys(r->command, r->argv, r->argc, index, NULL, max);
    r->bad_keys = n < 0;
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
    out->bad_arity = out->bad_keys = false;
    if (cmd && cmd->sub_count > 0 && argc > 1) {
        out->container = cmd;
        cmd = command_find_sub(cmd, argv[1]);
    }
    out->command = cmd;
    if (!cmd)
        return;
    out->bad_arity = !command_arity_ok(cmd, argc) || !cmd->run;
    if (out->bad_arity || cmd->scope != SCOPE_KEYS)
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
    tally_add(&ex->thread->commands, 1);
}

/* Runs one handler with its partitions held, and counts it. */
static inline enum call_verdict run_handler(struct executor *ex, struct call *c)
{
    uint64_t errors = c->reply->errors, now;
    struct command_tally *t = tally_of(ex, c->command);

    c->command->run(c);
    if (__builtin_expect(c->walking != PARTITIONS, 0))
        call_unhold(c);
    if (__builtin_expect(c->verdict != CALL_DONE, 0))
        return c->verdict;
    now = clock_ticks();
    command_tally_note(t, now - ex->since);
    ex->since = now;
    tally_add(&ex->thread->commands, 1);
    if (__builtin_expect(c->reply->errors != errors, 0))
        tally_add(&t->failed, 1);
    tally_add(&ex->thread->changes, (int64_t)c->changes);
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

/* Checks that need no key; replies and returns true when the command may not run. */
static bool check_refused(struct executor *ex, struct exec_client *client, const struct exec_request *r)
{
    const struct command *cmd = r->command;

    if (!cmd) {
        reply_unknown(client, r);
        return refused(client, ex, r);
    }
    if (r->bad_arity) {
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
    if (r->bad_keys) {
        reply_error(client->reply, ERROR_SYNTAX);
        return refused(client, ex, r);
    }
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

#define COPY_MAX 65536 /* longest request whose bytes a job copies */

/* Copies the argument array, and the bytes too unless there are many: those of an inline request are in the arena, and
 * are few; others stay in the connection's input buffer, which is left alone meanwhile. */
static void copy_arguments(struct exec_request *to, const struct exec_request *r)
{
    size_t bytes = 0;
    char *p;

    for (int i = 0; i < r->argc; i++)
        bytes += r->argv[i].n;
    to->argv = mem_alloc((size_t)r->argc * sizeof *r->argv + (bytes <= COPY_MAX ? bytes : 0));
    memcpy(to->argv, r->argv, (size_t)r->argc * sizeof *r->argv);
    p = (char *)(to->argv + r->argc);
    for (int i = 0; i < r->argc && bytes <= COPY_MAX; i++) {
        if (r->argv[i].n)
            memcpy(p, r->argv[i].p, r->argv[i].n);
        to->argv[i].p = p;
        p += r->argv[i].n;
    }
}

/* Points the copied keys at the copied arguments. */
static void copy_keys(struct exec_request *to, const struct exec_request *r)
{
    if (r->key_count == 0)
        return;
    to->keys = mem_alloc(r->key_count * sizeof *r->keys);
    for (unsigned k = 0, i = 0; k < r->key_count; k++) {
        to->keys[k] = r->keys[k];
        while (r->argv[i].p != r->keys[k].name.p || r->argv[i].n != r->keys[k].name.n)
            i++;
        to->keys[k].name = to->argv[i].p ? to->argv[i] : r->keys[k].name;
    }
}

/* Makes the client's job out of what it tried to run. */
static enum exec_status to_lane(struct executor *ex, struct exec_client *client, const struct exec_request *r,
                                const struct lock_set *locks, bool exclusive)
{
    struct exec_job *job = mem_zalloc(sizeof *job);

    job->from = ex;
    job->client = client;
    job->request = *r;
    copy_arguments(&job->request, r);
    copy_keys(&job->request, r);
    if (locks) {
        job->locks = *locks;
        job->locked = true;
        gate_job_begin(&ex->shared->gate);
    }
    job->exclusive = exclusive;
    client->job = job;
    client->failures = 0;
    tally_add(&ex->thread->lane_jobs, 1);
    if (exclusive)
        tally_add(&ex->thread->gate_passes, 1);
    return EXEC_LANE;
}

static enum exec_status busy(struct executor *ex, struct exec_client *client, const struct exec_request *r,
                             uint32_t partition)
{
    struct exec_shared *sh = ex->shared;

    if (++client->failures > FAILURES_MAX)
        return to_lane(ex, client, r, NULL, true);
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

/* Fills the lock set with the partitions of the queued commands' keys and of the watched ones. Returns whether the
 * transaction needs the gate. */
static bool exec_plan(const struct transaction *t, const struct exec_request *members, struct lock_set *locks)
{
    bool gate = false;

    for (size_t i = 0; i < t->count; i++) {
        if (members[i].command->scope == SCOPE_GATE || members[i].command->scope == SCOPE_WALK)
            gate = true;
        for (unsigned k = 0; k < members[i].key_count && !gate; k++)
            gate = !lock_add(locks, key_partition(&members[i].keys[k]));
    }
    for (size_t i = 0; i < t->watch_count && !gate; i++)
        gate = !lock_add(locks, key_partition(&t->watches[i]->key));
    qsort(locks->at, locks->n, sizeof locks->at[0], compare_partition);
    return gate;
}

static bool watches_broken(struct call *c, const struct transaction *t)
{
    for (size_t i = 0; i < t->watch_count; i++) {
        const struct watch *w = t->watches[i];
        struct item *it;
        if (atomic_load(&w->changed))
            return true;
        it = db_find(w->db, &w->key, NULL);
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

    for (; at < count; at++) {
        struct call m = make_call(ex, client, &members[at]);
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

static enum exec_status run_exec(struct executor *ex, struct exec_client *client, struct exec_request *r,
                                 bool exclusive)
{
    struct keyspace *ks = ex->shared->server->keyspace;
    struct transaction *t = client->session.transaction;
    struct call c = make_call(ex, client, r);
    struct command_tally *counts = tally_of(ex, r->command);
    struct lock_set locks = {0};
    struct exec_request *members;
    size_t count, at;
    uint64_t began = ex->since;
    uint32_t taken;

    if (!t || !t->active || t->failed) {
        bool none = !t || !t->active; /* watches then stay */
        if (!none)
            transaction_reset(&client->session);
        reply_error(client->reply, none ? ERROR_EXEC_NO_MULTI : ERROR_EXECABORT);
        count_failure(ex, r->command);
        return EXEC_DONE;
    }
    count = t->count;
    members = prepare_members(ex, t);
    if (exec_plan(t, members, &locks) && !exclusive)
        return to_lane(ex, client, r, NULL, true);
    c.exclusive = c.in_lane = exclusive;
    if (!exclusive && !lock_all(ks, &locks, &taken))
        return busy(ex, client, r, taken);
    tally_add(&ex->thread->commands, 1);
    at = exec_begin_members(ex, client, &c, members);
    if (at < count) {
        to_lane(ex, client, r, &locks, false);
        client->job->begun = true;
        client->job->member = at;
        client->job->now = c.now;
        return EXEC_LANE;
    }
    command_tally_note(counts, clock_ticks() - began);
    if (!exclusive)
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
        return to_lane(ex, client, r, &locks, false);
    }
    keyspace_release(ks, partition);
    return EXEC_DONE;
}

static enum exec_status run_keys(struct executor *ex, struct exec_client *client, const struct exec_request *r)
{
    struct keyspace *ks = ex->shared->server->keyspace;
    struct lock_set locks = {0};
    struct call c;
    uint32_t taken;

    for (unsigned i = 0; i < r->key_count; i++)
        if (!lock_add(&locks, key_partition(&r->keys[i])))
            return to_lane(ex, client, r, NULL, true);
    qsort(locks.at, locks.n, sizeof locks.at[0], compare_partition);
    if (!lock_all(ks, &locks, &taken))
        return busy(ex, client, r, taken);
    c = make_call(ex, client, r);
    if (run_handler(ex, &c) == CALL_TO_LANE)
        return to_lane(ex, client, r, &locks, false);
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
        return to_lane(ex, client, r, NULL, true);
    default:
        if (r->command->run == cmd_exec)
            return run_exec(ex, client, r, false);
        c = make_call(ex, client, r);
        switch (run_handler(ex, &c)) {
        case CALL_TO_LANE:
            return to_lane(ex, client, r, NULL, false);
        case CALL_BUSY:
            return busy(ex, client, r, c.busy);
        default:
            return EXEC_DONE;
        }
    }
}

/* Does the command need none of what is rare: refusal, queueing, waiting, making room? */
static inline bool is_plain(struct executor *ex, const struct exec_client *client, const struct exec_request *r)
{
    struct server *server = ex->shared->server;

    return r->command && !r->bad_arity && !r->bad_keys && client->session.authenticated &&
           !client->session.transaction && atomic_load_explicit(&server->pause_until_ms, memory_order_relaxed) == 0 &&
           (!(r->command->flags & COMMAND_DENYOOM) ||
            atomic_load_explicit(&server->config->maxmemory, memory_order_relaxed) == 0);
}

enum exec_status exec_run(struct executor *ex, struct exec_client *client, struct exec_request *r)
{
    bool plain = is_plain(ex, client, r);
    enum exec_status status;

    if (__builtin_expect(!plain, 0)) {
        if (r->command && is_paused(ex->shared->server, client, r->command))
            return EXEC_HELD;
        if (check_refused(ex, client, r))
            return EXEC_DONE;
        switch (make_room(ex, client, r)) {
        case EVICT_ROOM:
            break;
        case EVICT_NO_ROOM:
            refuse_for_memory(ex, client, r);
            return EXEC_DONE;
        case EVICT_LATER:
            to_lane(ex, client, r, NULL, false);
            client->job->waits = true;
            return EXEC_LANE;
        }
    }
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

/* With the gate closed. */
static void run_exclusive(struct executor *ex, struct exec_client *client, struct exec_request *r)
{
    struct call c;

    gate_close(&ex->shared->gate);
    if (r->command->run == cmd_exec) {
        run_exec(ex, client, r, true);
    } else {
        c = make_call(ex, client, r);
        c.exclusive = c.in_lane = true;
        run_handler(ex, &c);
    }
    gate_open(&ex->shared->gate);
}

/* Enters the gate, waiting for it to open: for threads that may wait. */
static void enter_waiting(struct executor *ex)
{
    while (!gate_enter(&ex->shared->gate, ex->thread->index))
        clock_sleep_us(GATE_WAIT_US);
}

/* Goes on with an EXEC that began on a worker. */
static void go_on_with_exec(struct executor *ex, const struct exec_job *job)
{
    struct exec_client *client = job->client;
    struct call c = make_call(ex, client, &job->request);
    uint64_t began = ex->since;

    c.now = job->now;
    exec_members(ex, client, &c, prepare_members(ex, client->session.transaction), job->member);
    command_tally_note(tally_of(ex, job->request.command), clock_ticks() - began);
}

static void run_job(struct executor *ex, void *arg)
{
    struct exec_job *job = arg;
    struct exec_client *client = job->client;
    struct exec_shared *sh = ex->shared;
    struct handle h = client->handle;

    exec_begin(ex);
    if (job->exclusive) {
        run_exclusive(ex, client, &job->request);
    } else if (job->waits) {
        exec_run_waiting(ex, client, &job->request);
    } else {
        struct call c = make_call(ex, client, &job->request);
        if (!job->locked)
            enter_waiting(ex);
        if (job->begun)
            go_on_with_exec(ex, job);
        else
            run_handler(ex, &c);
        if (job->locked) {
            unlock_all(sh->server->keyspace, &job->locks);
            gate_job_end(&sh->gate);
        } else {
            gate_leave(&sh->gate, ex->thread->index);
        }
    }
    evict_call_in(sh->server);
    heap_trim(ex->thread->heap); /* who knows when this thread works again */
    arena_reset(&ex->arena);
    mem_free(job->request.argv);
    mem_free(job->request.keys);
    mem_free(job);
    client->job = NULL;
    sh->lane_done(sh->arg, h);
}

void exec_submit(struct executor *ex, struct exec_client *client)
{
    enum exec_lane lane = client->job->locked ? EXEC_LANE_HOLDING : EXEC_LANE_WAITING;

    lane_post(ex->shared->lanes[lane], run_job, client->job);
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

/* Evicts until there is room; false when there is none. */
static bool wait_for_room(struct executor *ex, const struct exec_client *client, const struct exec_request *r)
{
    enum evict_room room;

    if (r->command->scope == SCOPE_CONNECTION && r->command->run != cmd_exec)
        return true;
    enter_waiting(ex);
    while ((room = make_room(ex, client, r)) == EVICT_LATER)
        exec_let_in(ex->shared, ex->thread);
    gate_leave(&ex->shared->gate, ex->thread->index);
    return room == EVICT_ROOM;
}

void exec_run_waiting(struct executor *ex, struct exec_client *client, struct exec_request *r)
{
    struct keyspace *ks = ex->shared->server->keyspace;
    struct lock_set locks = {0};
    bool gate = false;
    uint32_t taken;
    struct call c;

    exec_begin(ex);
    if (check_refused(ex, client, r))
        return;
    if (!wait_for_room(ex, client, r)) {
        refuse_for_memory(ex, client, r);
        return;
    }
    if (queued(ex, client, r))
        return;
    for (unsigned i = 0; i < r->key_count && !gate; i++)
        gate = !lock_add(&locks, key_partition(&r->keys[i]));
    if (gate || r->command->scope == SCOPE_GATE || r->command->run == cmd_exec) {
        run_exclusive(ex, client, r);
        return;
    }
    qsort(locks.at, locks.n, sizeof locks.at[0], compare_partition);
    c = make_call(ex, client, r);
    c.in_lane = true;
    if (r->command->scope == SCOPE_CONNECTION) {
        run_handler(ex, &c);
        return;
    }
    enter_waiting(ex);
    while (!lock_all(ks, &locks, &taken))
        clock_sleep_us(GATE_WAIT_US);
    run_handler(ex, &c);
    unlock_all(ks, &locks);
    gate_leave(&ex->shared->gate, ex->thread->index);
}
