/* Requests: finding the command and hashing its keys, before any lock is taken. */
#include "engine/exec/run.h"

#define KEYS_MAX_STACK 16

/* Finds and hashes the keys of a command that has not just one in front. */
__attribute__((noinline)) void request_hash_keys(struct executor *ex, struct exec_request *r)
{
    const struct hash_key *hk = keyspace_hash_key(ex->shared->server->keyspace);
    int few[KEYS_MAX_STACK], *index = few, max = KEYS_MAX_STACK, n;

    r->flaws &= (uint8_t)~REQUEST_KEYS_LATER;
    if (r->argc > RUN_ARGS_MAX && !ex->is_lane) {
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
    out->raw = NULL;
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
        request_hash_keys(ex, out);
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
