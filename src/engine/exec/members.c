/* EXEC: the queue of a transaction, run as one. */
#include "engine/exec/run.h"
#include "engine/store/watch.h"
#include "handlers.h"

#define EXEC_US 300 /* on a worker, before the rest of it moves to the slow lane */

/* The queued commands, ready to run; in the arena. */
struct exec_request *members_prepare(struct executor *ex, const struct transaction *t)
{
    struct exec_request *members = arena_alloc(&ex->arena, (t->count + 1) * sizeof *members);

    for (size_t i = 0; i < t->count; i++)
        exec_prepare(ex, t->queue[i].argv, t->queue[i].argc, &members[i]);
    return members;
}

/* Does one of the queued commands need the gate? */
bool members_need_gate(const struct transaction *t, const struct exec_request *members)
{
    for (size_t i = 0; i < t->count; i++)
        if (members[i].command->scope == SCOPE_GATE || members[i].command->scope == SCOPE_WALK)
            return true;
    return false;
}

/* Fills the lock set with the partitions of the queued commands' keys and of the watched ones; false when they are too
 * many. */
bool members_lock_set(const struct transaction *t, const struct exec_request *members, struct lock_set *locks)
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
    lock_sort(locks);
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
size_t members_run(struct executor *ex, struct exec_client *client, struct call *c, struct exec_request *members,
                   size_t at)
{
    size_t count = client->session.transaction->count;
    uint64_t end = ex->since + clock_us_ticks(EXEC_US);

    for (; at < count; at++) {
        struct call m = run_make_call(ex, client, &members[at]);
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
size_t members_begin(struct executor *ex, struct exec_client *client, struct call *c, struct exec_request *members)
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
    return members_run(ex, client, c, members, 0);
}

/* EXEC is run by the executor itself; the table needs a handler to name it. */
void cmd_exec(struct call *c)
{
    reply_error(c->reply, ERROR_EXEC_NO_MULTI);
}

/* Replies, and returns false, when there is nothing that EXEC could run. */
bool members_ready(struct executor *ex, struct exec_client *client, const struct exec_request *r)
{
    const struct transaction *t = client->session.transaction;
    bool active = t && t->active;

    if (active && !t->failed)
        return true;
    if (active) /* else watches stay */
        transaction_reset(&client->session);
    reply_error(client->reply, active ? ERROR_EXECABORT : ERROR_EXEC_NO_MULTI);
    run_count_failure(ex, r->command);
    return false;
}
