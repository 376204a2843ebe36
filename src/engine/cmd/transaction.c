/* MULTI, DISCARD, WATCH, UNWATCH, and the queue that EXEC (exec/executor.c) runs. */
#include "engine/cmd/transaction.h"

#include "base/mem.h"
#include "engine/cmd/call.h"
#include "engine/store/watch.h"
#include "engine/server/clients.h"
#include "engine/server/server.h"
#include "engine/store/keyspace.h"
#include "handlers.h"

struct transaction *transaction_of(struct session *s)
{
    if (!s->transaction)
        s->transaction = mem_zalloc(sizeof *s->transaction);
    return s->transaction;
}

bool transaction_broken(const struct transaction *t)
{
    return t->failed || (t->watched && atomic_load(&t->watched->changed));
}

void transaction_show(const struct session *s)
{
    const struct transaction *t = s->transaction;
    uint32_t flags =
        atomic_load_explicit(&s->card->flags, memory_order_relaxed) & ~(uint32_t)(CARD_MULTI | CARD_DIRTY_EXEC);

    if (t && t->active)
        flags |= CARD_MULTI;
    if (t && transaction_broken(t))
        flags |= CARD_DIRTY_EXEC;
    atomic_store_explicit(&s->card->flags, flags, memory_order_relaxed);
    atomic_store_explicit(&s->card->multi, t && t->active ? (int)t->count : -1, memory_order_relaxed);
    atomic_store_explicit(&s->card->multi_mem, t ? t->bytes : 0, memory_order_relaxed);
    atomic_store_explicit(&s->card->watch, t ? (int)t->watch_count : 0, memory_order_relaxed);
}

void transaction_queue(struct transaction *t, const struct command *cmd, const struct view *argv, int argc)
{
    size_t bytes = (size_t)argc * sizeof *argv;
    struct queued *q;
    char *p;

    if (transaction_broken(t))
        return; /* it can only fail: its commands need not be kept */
    for (int i = 0; i < argc; i++)
        bytes += argv[i].n;
    if (t->count == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 4;
        t->queue = mem_realloc(t->queue, t->cap * sizeof *t->queue);
    }
    q = &t->queue[t->count++];
    q->command = cmd;
    t->grows |= (cmd->flags & COMMAND_DENYOOM) != 0;
    q->argc = argc;
    q->argv = arena_alloc(&t->arena, bytes);
    p = (char *)(q->argv + argc);
    for (int i = 0; i < argc; i++) {
        if (argv[i].n)
            memcpy(p, argv[i].p, argv[i].n);
        q->argv[i] = view_of(p, argv[i].n);
        p += argv[i].n;
    }
    t->bytes += bytes + sizeof *q;
}

void transaction_unwatch(struct session *s)
{
    struct transaction *t = s->transaction;

    if (!t)
        return;
    for (size_t i = 0; i < t->watch_count; i++)
        watch_forget(t->watches[i]);
    watch_set_unref(t->watched);
    t->watched = NULL;
    mem_free(t->watches);
    t->watches = NULL;
    t->bytes -= t->watch_bytes;
    t->watch_count = t->watch_cap = t->watch_bytes = 0;
    transaction_show(s);
}

void transaction_reset(struct session *s)
{
    struct transaction *t = s->transaction;

    if (!t)
        return;
    arena_free(&t->arena);
    mem_free(t->queue);
    t->queue = NULL;
    t->count = t->cap = 0;
    t->bytes = t->watch_bytes;
    t->active = t->failed = t->grows = false;
    transaction_unwatch(s);
}

void transaction_free(struct session *s)
{
    transaction_reset(s);
    mem_free(s->transaction);
    s->transaction = NULL;
}

void call_discard(struct call *c)
{
    transaction_reset(c->session);
}

void cmd_multi(struct call *c)
{
    struct transaction *t = transaction_of(c->session);

    if (t->active) {
        reply_error(c->reply, ERROR_MULTI_NESTED);
        return;
    }
    t->active = true;
    transaction_show(c->session);
    reply_ok(c->reply);
}

void cmd_discard(struct call *c)
{
    if (!c->session->transaction || !c->session->transaction->active) {
        reply_error(c->reply, ERROR_DISCARD_NO_MULTI);
        return;
    }
    transaction_reset(c->session);
    reply_ok(c->reply);
}

void cmd_watch(struct call *c)
{
    struct transaction *t = transaction_of(c->session);
    struct keyspace *ks = c->server->keyspace;

    if (!t->watched)
        t->watched = watch_set_new();
    for (unsigned i = 0; i < c->key_count; i++) {
        const struct key *key = &c->keys[i];
        struct watch *w;

        call_find(c, i, NULL); /* what has expired already must not look like a change later */
        w = watch_new(t->watched, &ks->partitions[key_partition(key)], c->db, key);
        if (!w)
            continue;
        if (t->watch_count == t->watch_cap) {
            t->watch_cap = t->watch_cap ? 2 * t->watch_cap : 4;
            t->watches = mem_realloc(t->watches, t->watch_cap * sizeof *t->watches);
        }
        t->watches[t->watch_count++] = w;
        t->watch_bytes += sizeof *w + sizeof w + key->name.n;
        t->bytes += sizeof *w + sizeof w + key->name.n;
    }
    transaction_show(c->session);
    reply_ok(c->reply);
}

void cmd_unwatch(struct call *c)
{
    transaction_unwatch(c->session);
    reply_ok(c->reply);
}
