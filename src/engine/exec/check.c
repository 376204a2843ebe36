/*
 * What is looked at before a command runs: whether it is one, who may run it when, whether there is room, and whether it is only
 * to be queued.
 */
#include <string.h>

#include "base/num.h"
#include "engine/exec/run.h"
#include "engine/server/clients.h"
#include "engine/server/config.h"
#include "handlers.h"

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
    client->session.waiting = false; /* if it did, it was let through before */
    if (client->session.transaction && client->session.transaction->active) {
        client->session.transaction->failed = true;
        transaction_show(&client->session);
    }
    tally_add(&ex->thread->rejected, 1);
    if (r->command)
        tally_add(&run_tally_of(ex, r->command)->rejected, 1);
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

    if (client->session.admin)
        why &= RESTRICT_LOADING;
    if (client->session.replays || why == 0)
        return false;
    if ((why & RESTRICT_NO_GRANT) && !(cmd->flags & COMMAND_NO_AUTH))
        error = ERROR_NO_GRANT;
    else if ((why & RESTRICT_LOADING) && !(cmd->flags & COMMAND_LOADING))
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
bool check_refused(struct executor *ex, struct exec_client *client, const struct exec_request *r)
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
enum evict_room check_room(struct executor *ex, const struct exec_client *client, const struct exec_request *r)
{
    struct server *server = ex->shared->server;
    const struct transaction *t = client->session.transaction;
    bool grows = (r->command->flags & COMMAND_DENYOOM) || (r->command->run == cmd_exec && t && t->grows);

    if (!grows || atomic_load_explicit(&server->config->maxmemory, memory_order_relaxed) == 0 ||
        (atomic_load_explicit(&server->is_replica, memory_order_relaxed) &&
         atomic_load_explicit(&server->config->replica_ignore_maxmemory, memory_order_relaxed)))
        return EVICT_ROOM;
    return evict_make_room(server, ex->thread);
}

void check_refuse_for_memory(struct executor *ex, struct exec_client *client, const struct exec_request *r)
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
bool check_paused(struct server *server, const struct exec_client *client, const struct command *cmd)
{
    int64_t until = atomic_load_explicit(&server->pause_until_ms, memory_order_relaxed);

    if (__builtin_expect(until == 0, 1) || client->session.admin || client->session.replays ||
        client->session.replica || clock_wall_ms() >= until)
        return false;
    if (atomic_load_explicit(&server->pause_all, memory_order_relaxed))
        return cmd->run != cmd_shutdown &&
               (cmd->run != cmd_client_unpause || atomic_load_explicit(&server->stopping, memory_order_relaxed));
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
bool check_queued(struct executor *ex, struct exec_client *client, const struct exec_request *r)
{
    struct transaction *t = client->session.transaction;
    command_fn *run = r->command->run;

    if (!t || !t->active || run == cmd_exec || run == cmd_discard || run == cmd_multi || run == cmd_quit ||
        run == cmd_reset)
        return false;
    if (run == cmd_watch) { /* refused, but the transaction goes on */
        reply_error(client->reply, ERROR_WATCH_IN_MULTI);
        run_count_failure(ex, r->command);
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
