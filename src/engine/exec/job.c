/* What may wait: the slow lane, the admin socket's thread, and who replays a log. */
#include <string.h>

#include "base/mem.h"
#include "engine/exec/lane.h"
#include "engine/exec/run.h"
#include "engine/server/clients.h"
#include "engine/server/config.h"
#include "engine/store/heap.h"
#include "engine/store/watch.h"
#include "handlers.h"

#define WAIT_LOOK_US 1000 /* between two looks of the admin socket's thread at what a command waits for */
#define WORK_US 100       /* of a walk in the slow lane, before it lets a worker on the same core go on */
#define REST_US 20

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
            clock_sleep_us(RUN_WAIT_US);
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
        clock_sleep_us(RUN_WAIT_US);
}

static void leave(struct executor *ex)
{
    gate_leave(&ex->shared->gate, ex->thread->index);
}

/* Runs an EXEC from its beginning, everything being held or the gate closed. */
static void exec_here(struct executor *ex, struct exec_client *client, const struct exec_request *r,
                      struct exec_request *members, bool exclusive)
{
    struct call c = run_make_call(ex, client, r);
    uint64_t began = ex->since;

    c.in_lane = true;
    c.exclusive = exclusive;
    members_begin(ex, client, &c, members);
    command_tally_note(run_tally_of(ex, r->command), clock_ticks() - began);
}

/* Does CLIENT PAUSE hold the command back, or does it come from a primary that is not followed any more? Inside the gate. */
static bool is_held_back(struct executor *ex, const struct exec_client *client, const struct command *cmd)
{
    if (!client->session.replays)
        return check_paused(ex->shared->server, client, cmd);
    if (!client->follows || client->follows(client->follows_arg))
        return false;
    ex->verbatim = (struct view){0};
    return true;
}

/* With the gate closed. */
static void run_exclusive(struct executor *ex, struct exec_client *client, struct exec_request *r)
{
    struct call c;

    gate_close(&ex->shared->gate);
    client->held = is_held_back(ex, client, r->command);
    if (client->held) {
        /* CLIENT PAUSE, or REPLICAOF, was answered meanwhile */
    } else if (r->command->run == cmd_exec) {
        exec_here(ex, client, r, members_prepare(ex, client->session.transaction), true);
    } else {
        c = run_make_call(ex, client, r);
        c.exclusive = c.in_lane = true;
        run_handler(ex, &c);
    }
    run_commit(ex, client);
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
    client->held = is_held_back(ex, client, r->command);
    if (!client->held) {
        wide_lock(ks, set);
        gate_job_begin(&ex->shared->gate); /* from here on like a job that came with its partitions */
        leave(ex);
        if (members) {
            exec_here(ex, client, r, members, false);
        } else {
            struct call c = run_make_call(ex, client, r);
            c.in_lane = true;
            run_handler(ex, &c);
        }
        run_commit(ex, client);
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
    while ((room = check_room(ex, client, r)) == EVICT_LATER)
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
        request_hash_keys(ex, r);
    if (check_refused(ex, client, r))
        return;
    if (!wait_for_room(ex, client, r)) {
        check_refuse_for_memory(ex, client, r);
        return;
    }
    if (check_queued(ex, client, r))
        return;
    if (r->command->run == cmd_exec) {
        if (!members_ready(ex, client, r))
            return;
        members = members_prepare(ex, client->session.transaction);
    }
    if (r->command->scope == SCOPE_GATE || (members && members_need_gate(client->session.transaction, members))) {
        run_exclusive(ex, client, r);
    } else if (r->command->scope != SCOPE_CONNECTION || members) {
        run_wide(ex, client, r, members);
    } else { /* outside the gate */
        do {
            config_read_lock(ex->shared->server->config);
            c = run_make_call(ex, client, r);
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
    struct call c = run_make_call(ex, client, r);

    enter_waiting(ex);
    client->held = check_paused(ex->shared->server, client, r->command);
    if (!client->held)
        run_handler(ex, &c);
    leave(ex);
}

/* What came with its partitions. */
static void run_holding(struct executor *ex, struct exec_job *job)
{
    struct exec_client *client = job->client;
    struct call c = run_make_call(ex, client, &job->request);
    uint64_t began = ex->since;

    if (job->begun) {
        c.now = job->now;
        members_run(ex, client, &c, members_prepare(ex, client->session.transaction), job->member);
        command_tally_note(run_tally_of(ex, job->request.command), clock_ticks() - began);
    } else {
        run_handler(ex, &c);
    }
    run_commit(ex, client);
    lock_release(ex->shared->server->keyspace, &job->locks);
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
        clock_sleep_us(RUN_WAIT_US);
}

/* ---- replaying a log ---- */

/* Takes the partitions of the command's keys, in order, waiting for each; false when they are too many for that. */
static bool replay_lock(struct keyspace *ks, const struct exec_request *r, struct lock_set *locks)
{
    locks->n = 0;
    for (unsigned i = 0; i < r->key_count; i++)
        if (!lock_add(locks, key_partition(&r->keys[i])))
            return false;
    lock_sort(locks);
    for (unsigned i = 0; i < locks->n; i++)
        while (!partition_try(&ks->partitions[locks->at[i]]) && !partition_try_briefly(&ks->partitions[locks->at[i]]))
            clock_sleep_us(RUN_WAIT_US);
    return true;
}

/* One that needs the gate, or more partitions than a lock set holds. The caller is inside the gate. */
static void replay_widely(struct executor *ex, struct exec_client *client, struct exec_request *r)
{
    struct exec_request *members = NULL;

    leave(ex);
    if (r->command->run == cmd_exec)
        members = members_prepare(ex, client->session.transaction);
    if (r->command->scope == SCOPE_GATE || (members && members_need_gate(client->session.transaction, members)))
        run_exclusive(ex, client, r);
    else
        run_wide(ex, client, r, members);
    enter_waiting(ex);
}

static void replay_one(struct executor *ex, struct exec_client *client, struct exec_request *r)
{
    struct keyspace *ks = ex->shared->server->keyspace;
    const struct command *cmd = r->command;
    struct lock_set locks;
    struct call c;

    if (check_refused(ex, client, r)) { /* it is no command, or cannot have these arguments */
        run_commit(ex, client);
        return;
    }
    if (cmd->scope == SCOPE_GATE || cmd->run == cmd_exec || !replay_lock(ks, r, &locks)) {
        replay_widely(ex, client, r);
        return;
    }
    c = run_make_call(ex, client, r);
    c.in_lane = true;
    run_handler(ex, &c);
    run_commit(ex, client);
    lock_release(ks, &locks);
}

void exec_replay(struct executor *ex, struct exec_client *client, struct exec_request *requests, const size_t *lengths,
                 unsigned n, bool verbatim)
{
    struct gate *gate = &ex->shared->gate;

    enter_waiting(ex);
    if (n > 1)
        exec_prefetch(ex, client, requests, n);
    exec_begin(ex);
    for (unsigned i = 0; i < n && !is_held_back(ex, client, requests[i].command); i++) {
        if (gate_closing(gate)) {
            leave(ex);
            enter_waiting(ex);
            if (is_held_back(ex, client, requests[i].command))
                break;
        }
        if (verbatim)
            ex->verbatim = view_of(requests[i].raw, lengths[i]);
        replay_one(ex, client, &requests[i]);
    }
    leave(ex);
    if (verbatim)
        oplog_wake(ex->shared->server->log, ex->thread->index);
}
