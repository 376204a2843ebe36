/*
 * What the files of the executor share: locking, running one handler, checks, transactions, jobs of the slow lane. Nobody
 * else includes this.
 */
#ifndef EXEC_RUN_H
#define EXEC_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "engine/cmd/call.h"
#include "engine/cmd/transaction.h"
#include "engine/exec/executor.h"
#include "engine/log/oplog.h"
#include "engine/server/evict.h"
#include "engine/server/server.h"
#include "engine/server/stats.h"
#include "engine/store/cut.h"
#include "engine/store/keyspace.h"

#define RUN_PARTITIONS_MAX 256 /* a command that needs more waits for them in the slow lane */
#define RUN_ARGS_MAX 2048      /* longer requests, and transactions, are left to the slow lane from the beginning */
#define RUN_WAIT_US 50         /* between two looks at a closed gate, or a taken partition, of threads that may wait */

/* ---- partitions (exec/executor.c) ---- */

/* Those held for one command: ascending, each once. */
struct lock_set {
    unsigned n;
    uint32_t at[RUN_PARTITIONS_MAX];
};

/* Adds a partition, in any order; false when the set is full. */
bool lock_add(struct lock_set *set, uint32_t partition);

/* Puts them into order. */
void lock_sort(struct lock_set *set);

/* Takes the whole set or nothing; *busy is the one that was taken. */
bool lock_take(struct keyspace *ks, const struct lock_set *set, uint32_t *busy);
void lock_release(struct keyspace *ks, const struct lock_set *set);

/* ---- requests (exec/request.c) ---- */

/* Finds and hashes the keys of a command that has not just one in front. */
void request_hash_keys(struct executor *ex, struct exec_request *r);

/* ---- checks (exec/check.c) ---- */

/* Checks that need no key; replies and returns true when the command may not run. */
bool check_refused(struct executor *ex, struct exec_client *client, const struct exec_request *r);

/* Makes room for a command that may grow memory; inside the gate. */
enum evict_room check_room(struct executor *ex, const struct exec_client *client, const struct exec_request *r);
void check_refuse_for_memory(struct executor *ex, struct exec_client *client, const struct exec_request *r);

/* Does CLIENT PAUSE hold this command back? */
bool check_paused(struct server *server, const struct exec_client *client, const struct command *cmd);

/* Queues the command if the session is in MULTI. */
bool check_queued(struct executor *ex, struct exec_client *client, const struct exec_request *r);

/* ---- EXEC (exec/members.c) ---- */

/* The queued commands, ready to run; in the arena. */
struct exec_request *members_prepare(struct executor *ex, const struct transaction *t);

/* Does one of the queued commands need the gate? */
bool members_need_gate(const struct transaction *t, const struct exec_request *members);

/* Fills the lock set with the partitions of the queued commands' keys and of the watched ones; false when they are too
 * many. */
bool members_lock_set(const struct transaction *t, const struct exec_request *members, struct lock_set *locks);

/* Runs the queue from member `at` on, everything it needs being held. Returns the member that must go on in the slow
 * lane, or the count when all are done: the transaction is then over. members_begin runs it from its beginning. */
size_t members_run(struct executor *ex, struct exec_client *client, struct call *c, struct exec_request *members,
                   size_t at);
size_t members_begin(struct executor *ex, struct exec_client *client, struct call *c, struct exec_request *members);

/* Replies, and returns false, when there is nothing that EXEC could run. */
bool members_ready(struct executor *ex, struct exec_client *client, const struct exec_request *r);

/* ---- the slow lane (exec/job.c) ---- */

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

/* ---- one handler ---- */

static inline struct command_tally *run_tally_of(struct executor *ex, const struct command *cmd)
{
    return &ex->tallies[cmd->id];
}

/* Counts a call that failed without its handler. */
static inline void run_count_failure(struct executor *ex, const struct command *cmd)
{
    uint64_t now = clock_ticks();

    command_tally_note(run_tally_of(ex, cmd), now - ex->since);
    ex->since = now;
    tally_add(&run_tally_of(ex, cmd)->failed, 1);
}

void run_log_effects(struct executor *ex);
void run_log_verbatim(struct executor *ex, const struct exec_client *client);
void run_log_call(struct executor *ex, const struct call *c);

/* What has been gathered gets its place in the log. Before anything that it touches is let go of. */
static inline void run_commit(struct executor *ex, const struct exec_client *client)
{
    if (__builtin_expect(ex->effects.count > 0, 0))
        run_log_effects(ex);
    if (__builtin_expect(ex->verbatim.n > 0, 0))
        run_log_verbatim(ex, client);
}

/* Runs one handler with its partitions held, and counts it. The caller commits before it lets go of them. */
static inline __attribute__((always_inline)) enum call_verdict run_handler(struct executor *ex, struct call *c)
{
    uint64_t errors = c->reply->errors, now;
    struct command_tally *t = run_tally_of(ex, c->command);

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
            run_log_call(ex, c);
    }
    return CALL_DONE;
}

static inline __attribute__((always_inline)) struct call run_make_call(struct executor *ex, struct exec_client *client,
                                                                       const struct exec_request *r)
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
        .effects = oplog_active(server->log) && !client->session.replays &&
                           !atomic_load_explicit(&server->is_replica, memory_order_relaxed)
                       ? &ex->effects
                       : NULL,
        .raw = r->raw,
    };
}

#endif
