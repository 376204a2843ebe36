/*
 * CONFIG. GET runs inside the executor, SET with the gate closed, so the strings of the configuration hold still. What
 * may be set, and why not, is the configuration's business (server/config.h).
 */
#include "base/mem.h"
#include "engine/cmd/generic.h"
#include "engine/server/config.h"
#include "engine/server/server.h"
#include "engine/server/stats.h"
#include "handlers.h"

#define REWRITE_COST_US 20000 /* a file written and synced */

struct emission {
    struct reply *reply;
    size_t count;
    bool secrets;
};

static void emit(void *arg, const char *name, struct view value)
{
    struct emission *e = arg;

    if (!e->secrets && config_is_secret(view_str(name)))
        return;
    reply_bulk_str(e->reply, name);
    reply_bulk(e->reply, value);
    e->count++;
}

static int64_t client_commands(const struct call *c)
{
    return atomic_load_explicit(&c->server->config->client_commands, memory_order_relaxed);
}

/* CONFIG GET pattern [pattern ...] */
void cmd_config_get(struct call *c)
{
    struct emission e = {c->reply, 0, c->session->admin || client_commands(c) == CLIENT_COMMANDS_ALL};
    size_t mark = reply_mark(c->reply);

    config_get(c->server->config, c->argv + 2, (size_t)c->argc - 2, emit, &e);
    reply_insert(c->reply, mark, '%', e.count);
}

/* CONFIG SET name value [name value ...] */
void cmd_config_set(struct call *c)
{
    const struct session *s = c->session;
    size_t n = (size_t)(c->argc - 2) / 2;
    struct config *config = c->server->config;
    struct view *names, *values;
    char err[ERROR_LINE_MAX];

    if (c->argc % 2 != 0) {
        reply_error(c->reply, ERROR_SYNTAX);
        return;
    }
    for (int i = 2; i < c->argc && !s->admin && client_commands(c) != CLIENT_COMMANDS_ALL; i += 2)
        if (!config_is_safe(c->argv[i])) {
            reply_error(c->reply, ERROR_CONFIG_UNSAFE, ERROR_SHOWN(c->argv[i]));
            return;
        }
    names = mem_alloc(2 * n * sizeof *names);
    values = names + n;
    for (size_t i = 0; i < n; i++) {
        names[i] = c->argv[2 + 2 * i];
        values[i] = c->argv[3 + 2 * i];
    }
    if (config_set(config, names, values, n, s->admin || config_protected_ok(config, s->local), err, sizeof err) == 0)
        reply_ok(c->reply);
    else
        reply_error(c->reply, ERROR_CONFIG, err);
    mem_free(names);
}

/* CONFIG REWRITE */
void cmd_config_rewrite(struct call *c)
{
    char err[ERROR_LINE_MAX];

    if (!call_may_take(c, REWRITE_COST_US))
        return;
    if (config_rewrite(c->server->config, err, sizeof err) == 0)
        reply_ok(c->reply);
    else
        reply_error(c->reply, ERROR_CONFIG, err);
}

/* CONFIG RESETSTAT */
void cmd_config_resetstat(struct call *c)
{
    server_stats_reset(c->server);
    reply_ok(c->reply);
}

/* CONFIG HELP */
void cmd_config_help(struct call *c)
{
    static const char *const lines[] = {
        "GET <pattern> [<pattern> ...]",
        "    Answer the parameters whose names match, with their values.",
        "RESETSTAT",
        "    Begin the statistics of INFO anew.",
        "REWRITE",
        "    Write what has changed into the configuration file.",
        "SET <parameter> <value> [<parameter> <value> ...]",
        "    Change parameters: all of them, or none when one cannot be.",
    };

    GENERIC_HELP(c, "CONFIG", lines);
}
