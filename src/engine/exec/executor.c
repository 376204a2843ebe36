/* The executor on a worker: see executor.h. Lock order and rules: docs/locks.md. */
#include "engine/exec/executor.h"

#include <stdlib.h>

#include "base/mem.h"
#include "engine/exec/run.h"
#include "engine/server/clients.h"
#include "engine/server/config.h"
#include "handlers.h"

#define QUEUE_MAX 262144 /* bytes of a request that a worker copies into a transaction's queue */
#define FAILURES_MAX 16  /* times in a row that a command finds a partition taken, before it waits in the slow lane */

/* ---- partitions ---- */

static int lock_compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

bool lock_add(struct lock_set *set, uint32_t partition)
{
    for (unsigned i = 0; i < set->n; i++)
        if (set->at[i] == partition)
            return true;
    if (set->n == RUN_PARTITIONS_MAX)
        return false;
    set->at[set->n++] = partition;
    return true;
}

void lock_release(struct keyspace *ks, const struct lock_set *set)
{
    for (unsigned i = 0; i < set->n; i++)
        keyspace_release(ks, set->at[i]);
}

/* Takes the whole set or nothing; *busy is the one that was taken. */
bool lock_take(struct keyspace *ks, const struct lock_set *set, uint32_t *busy)
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

void lock_sort(struct lock_set *set)
{
    qsort(set->at, set->n, sizeof set->at[0], lock_compare);
}

/* ---- the log ---- */

void exec_begin(struct executor *ex)
{
    ex->tallies = ex->shared->server->command_tallies[ex->thread->index];
    ex->since = clock_ticks();
}

__attribute__((noinline)) void run_log_effects(struct executor *ex)
{
    oplog_append(ex->shared->server->log, ex->thread->index, &ex->effects);
    effects_clear(&ex->effects);
}

/* A primary's stream stands in our log as it came. */
__attribute__((noinline)) void run_log_verbatim(struct executor *ex, const struct exec_client *client)
{
    oplog_append_verbatim(ex->shared->server->log, ex->thread->index, ex->verbatim, client->session.db);
    ex->verbatim = (struct view){0};
}

/* The command as it came, if that is how the log has it; else empty. */
static struct view raw_of(const struct call *c)
{
    size_t n = effects_words_size(c->argv, (size_t)c->argc);
    const struct view *last = &c->argv[c->argc - 1];

    /* Bytes in between can only be what they must be, but for lengths that are written longer than they need be. */
    if (!c->raw || last->p + last->n + 2 != c->raw + n)
        return (struct view){0};
    return view_of(c->raw, n);
}

/* The command itself is its effect: it goes into the log at once when it stands alone. */
__attribute__((noinline)) void run_log_call(struct executor *ex, const struct call *c)
{
    struct view raw = raw_of(c);

    if (!(c->command->flags & (COMMAND_WRITE | COMMAND_MAY_REPLICATE)))
        return; /* DEBUG changes this server alone */
    if (raw.n > 0 && ex->effects.count == 0 && !c->in_exec)
        oplog_append_raw(ex->shared->server->log, ex->thread->index, db_index(c->db), raw);
    else if (raw.n > 0)
        effects_add_raw(&ex->effects, db_index(c->db), raw);
    else
        effects_add(&ex->effects, db_index(c->db), c->argv, (size_t)c->argc);
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

/* On a worker. */
static enum exec_status run_exec(struct executor *ex, struct exec_client *client, struct exec_request *r)
{
    struct keyspace *ks = ex->shared->server->keyspace;
    struct transaction *t = client->session.transaction;
    struct call c = run_make_call(ex, client, r);
    struct lock_set locks;
    struct exec_request *members;
    uint64_t began = ex->since;
    size_t count, at;
    uint32_t taken;

    if (!members_ready(ex, client, r))
        return EXEC_DONE;
    count = t->count;
    if (count + t->watch_count > RUN_ARGS_MAX)
        return to_lane(ex, client, r, JOB_WAITING, NULL);
    members = members_prepare(ex, t);
    if (members_need_gate(t, members))
        return to_lane(ex, client, r, JOB_EXCLUSIVE, NULL);
    if (!members_lock_set(t, members, &locks))
        return to_lane(ex, client, r, JOB_WAITING, NULL);
    if (!lock_take(ks, &locks, &taken))
        return busy(ex, client, r, taken);
    at = members_begin(ex, client, &c, members);
    if (at < count) {
        to_lane(ex, client, r, JOB_HOLDING, &locks);
        client->job->begun = true;
        client->job->member = at;
        client->job->now = c.now;
        return EXEC_LANE;
    }
    command_tally_note(run_tally_of(ex, r->command), clock_ticks() - began);
    run_commit(ex, client);
    lock_release(ks, &locks);
    return EXEC_DONE;
}

/* Runs a command whose keys are one partition: the common case. */
static enum exec_status run_single(struct executor *ex, struct exec_client *client, const struct exec_request *r)
{
    struct keyspace *ks = ex->shared->server->keyspace;
    uint32_t partition = key_partition(&r->keys[0]);
    struct partition *p = &ks->partitions[partition];
    struct call c = run_make_call(ex, client, r);
    struct lock_set locks;

    if (!partition_try(p) && !partition_try_briefly(p))
        return busy(ex, client, r, partition);
    if (__builtin_expect(run_handler(ex, &c) == CALL_TO_LANE, 0)) {
        locks.n = 1;
        locks.at[0] = partition;
        return to_lane(ex, client, r, JOB_HOLDING, &locks);
    }
    if (__builtin_expect(c.effects != NULL, 0))
        run_commit(ex, client);
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
    lock_sort(&locks);
    if (!lock_take(ks, &locks, &taken))
        return busy(ex, client, r, taken);
    c = run_make_call(ex, client, r);
    if (run_handler(ex, &c) == CALL_TO_LANE)
        return to_lane(ex, client, r, JOB_HOLDING, &locks);
    run_commit(ex, client);
    lock_release(ks, &locks);
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
        c = run_make_call(ex, client, r);
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
    if (check_paused(ex->shared->server, client, r->command)) {
        *status = EXEC_HELD;
        return false;
    }
    if (t && t->active && request_bytes(r) > QUEUE_MAX) {
        *status = to_lane(ex, client, r, JOB_WAITING, NULL);
        return false;
    }
    switch (check_room(ex, client, r)) {
    case EVICT_ROOM:
        break;
    case EVICT_NO_ROOM:
        check_refuse_for_memory(ex, client, r);
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
        if (check_queued(ex, client, r))
            return EXEC_DONE;
    }
    status = dispatch(ex, client, r);
    if (status == EXEC_DONE)
        client->failures = 0;
    return status;
}
