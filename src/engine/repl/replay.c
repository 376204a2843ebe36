/* Replaying: see replay.h. */
#include "engine/repl/replay.h"

#include <limits.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/cmd/command.h"
#include "engine/cmd/transaction.h"
#include "engine/log/oplog.h"
#include "engine/server/clients.h"
#include "engine/server/server.h"
#include "handlers.h"

#define BATCH_MAX 64

/* An error among effects means that this data is not what the effects were made on. */
static void complain(void *arg, struct view text)
{
    (void)arg;
    log_warning("An effect of the log could not be replayed: %.*s", (int)(text.n < 200 ? text.n : 200), text.p);
}

void replay_init(struct replay *r, struct executor *ex, bool verbatim)
{
    *r = (struct replay){.ex = ex, .verbatim = verbatim};
    reply_sink_init(&r->sink);
    r->sink.on_error = complain;
    r->card = mem_zalloc(sizeof *r->card);
    pthread_mutex_init(&r->card->lock, NULL);
    r->client.reply = &r->sink;
    r->client.session.card = r->card;
    r->client.session.resp = 2;
    r->client.session.authenticated = true;
    r->client.session.replays = true;
}

void replay_free(struct replay *r)
{
    if (!r->card)
        return;
    transaction_free(&r->client.session);
    pthread_mutex_destroy(&r->card->lock);
    mem_free(r->card);
    resp_partial_free(&r->partial);
    buf_free(&r->in);
    r->card = NULL;
}

void replay_reset(struct replay *r, uint32_t db)
{
    transaction_reset(&r->client.session);
    resp_partial_free(&r->partial);
    buf_free(&r->in);
    r->parsed = r->need = 0;
    r->client.session.db = db;
}

uint32_t replay_db(const struct replay *r)
{
    return r->client.session.db;
}

static bool in_transaction(const struct replay *r)
{
    return r->client.session.transaction && r->client.session.transaction->active;
}

/* Runs n requests, which begin the input and take `bytes` of it. */
static void run(struct replay *r, struct exec_request *requests, const size_t *lengths, unsigned n, size_t bytes)
{
    if (n > 0)
        exec_replay(r->ex, &r->client, requests, lengths, n, r->verbatim);
    r->commands += n;
    buf_consume(&r->in, bytes);
    r->parsed = r->need = 0;
    arena_reset(&r->ex->arena);
}

/* Bytes that are no effect: they only have their place in the log. */
static void pass_on(struct replay *r, struct view bytes)
{
    struct oplog *log = r->ex->shared->server->log;

    if (r->verbatim && (!r->client.follows || r->client.follows(r->client.follows_arg)))
        oplog_append_verbatim(log, r->ex->thread->index, bytes, r->client.session.db);
}

enum kind { KIND_EFFECT, KIND_MULTI, KIND_QUEUED, KIND_EXEC, KIND_ASKED, KIND_NOTHING };

/* Is it no command, or one with arguments that it cannot have? It is an effect that cannot be replayed. */
static bool is_flawed(const struct exec_request *q)
{
    return !q->command || (q->flaws & (REQUEST_BAD_ARITY | REQUEST_BAD_KEYS));
}

/* Whatever else a primary says is passed on, and not done: SHUTDOWN, or an EXEC that ends nothing. */
static bool is_effect(const struct exec_request *q)
{
    return is_flawed(q) || (q->command->flags & (COMMAND_WRITE | COMMAND_MAY_REPLICATE)) ||
           q->command->run == cmd_select;
}

static enum kind kind_of(const struct replay *r, const struct exec_request *q)
{
    command_fn *fn = q->command ? q->command->run : NULL;

    if (in_transaction(r)) /* an empty line there, too: its bytes go with the rest */
        return fn == cmd_exec ? KIND_EXEC : KIND_QUEUED;
    if (q->argc == 0)
        return KIND_NOTHING;
    if (fn == cmd_multi)
        return KIND_MULTI;
    if (fn == cmd_replconf)
        return q->argc > 1 && view_equal_case(q->argv[1], VIEW("getack")) ? KIND_ASKED : KIND_NOTHING;
    return is_effect(q) ? KIND_EFFECT : KIND_NOTHING;
}

/* Queues what EXEC is to run. */
static void queue(struct replay *r, const struct exec_request *q)
{
    if (q->argc == 0 || !is_effect(q))
        return;
    if (is_flawed(q)) /* EXEC looks at none of that any more */
        complain(NULL, q->argv[0]);
    else
        transaction_queue(r->client.session.transaction, q->command, q->argv, q->argc);
}

/* What is no effect by itself; its bytes are [at, at + n) of the input, all before them is done or queued. Returns how
 * much of the input is parsed now. */
static size_t handle(struct replay *r, enum kind kind, struct exec_request *q, size_t at, size_t n)
{
    switch (kind) {
    case KIND_MULTI:
        transaction_of(&r->client.session)->active = true;
        return at + n;
    case KIND_QUEUED:
        queue(r, q);
        return at + n;
    case KIND_EXEC:
        q->raw = buf_head(&r->in);
        n += at;
        run(r, q, &n, 1, n);
        return 0;
    default:
        pass_on(r, view_of(buf_head(&r->in) + at, n));
        buf_consume(&r->in, at + n);
        if (kind == KIND_ASKED && r->asked)
            r->asked(r->arg);
        return 0;
    }
}

/* Parses and runs up to BATCH_MAX requests: 1, 0 and -1 as replay_run. */
static int run_batch(struct replay *r)
{
    static const struct resp_limits limits = {INT64_MAX / 4, INT32_MAX, true};
    struct exec_request requests[BATCH_MAX];
    size_t lengths[BATCH_MAX], at = r->parsed;
    unsigned n = 0;
    int rc = 1;

    while (n < BATCH_MAX) {
        struct resp_request parsed;
        struct exec_request *q = &requests[n];
        enum resp_parsed found = RESP_MORE;
        enum kind kind;
        if (at < buf_live(&r->in))
            found = resp_parse(buf_head(&r->in) + at, buf_live(&r->in) - at, &limits, &r->ex->arena,
                               at == r->parsed ? &r->partial : NULL, &parsed);
        else
            parsed.need = 1;
        if (found != RESP_DONE) {
            r->need = found == RESP_MORE ? at + parsed.need : 0;
            rc = found == RESP_MORE ? 0 : -1;
            if (found == RESP_BAD)
                log_warning("The log cannot be replayed: %s", parsed.error);
            break;
        }
        *q = (struct exec_request){.argc = parsed.argc};
        if (parsed.argc > 0)
            exec_prepare(r->ex, parsed.argv, parsed.argc, q);
        q->raw = buf_head(&r->in) + at;
        lengths[n] = parsed.consumed;
        kind = kind_of(r, q);
        if (kind == KIND_EFFECT) {
            at += parsed.consumed;
            n++;
            continue;
        }
        if (n > 0)
            break; /* what came before is run first; this is parsed again */
        r->parsed = at = handle(r, kind, q, at, parsed.consumed);
    }
    if (n > 0) {
        run(r, requests, lengths, n, at);
        return 1;
    }
    arena_reset(&r->ex->arena);
    return rc;
}

int replay_run(struct replay *r, int64_t budget_us)
{
    int64_t end = clock_mono_us() + budget_us;
    int rc = 1;

    if (buf_live(&r->in) < r->need)
        return 0;
    r->need = 0;
    while (rc == 1 && clock_mono_us() < end)
        rc = run_batch(r);
    if (r->verbatim)
        oplog_wake(r->ex->shared->server->log, r->ex->thread->index);
    return rc;
}

void replay_command(struct replay *r, const struct view *argv, int argc)
{
    struct exec_request q;

    exec_prepare(r->ex, (struct view *)argv, argc, &q);
    switch (kind_of(r, &q)) {
    case KIND_EFFECT:
    case KIND_EXEC:
        exec_replay(r->ex, &r->client, &q, NULL, 1, false);
        r->commands++;
        break;
    case KIND_MULTI:
        transaction_of(&r->client.session)->active = true;
        break;
    case KIND_QUEUED:
        queue(r, &q);
        break;
    default:
        break;
    }
    arena_reset(&r->ex->arena);
}
