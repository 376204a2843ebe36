/*
 * CONFIG. GET runs inside the executor, SET with the gate closed, so the strings of the configuration hold still. What
 * may be set, and why not, is the configuration's business (server/config.h).
 */
#include <stdio.h>

#include "base/mem.h"
#include "engine/cmd/call.h"
#include "engine/cmd/reply.h"
#include "engine/cmd/session.h"
#include "engine/server/config.h"
#include "engine/server/server.h"
#include "engine/server/stats.h"
#include "handlers.h"

#define REASON_MAX 1000
#define REWRITE_COST_US 20000 /* a file written and synced */

struct emission {
    struct reply *reply;
    size_t count;
};

static void emit(void *arg, const char *name, struct view value)
{
    struct emission *e = arg;

    reply_bulk_str(e->reply, name);
    reply_bulk(e->reply, value);
    e->count++;
}

/* CONFIG GET pattern [pattern ...] */
void cmd_config_get(struct call *c)
{
    struct emission e = {c->reply, 0};
    size_t mark = reply_mark(c->reply);

    config_get(c->server->config, c->argv + 2, (size_t)c->argc - 2, emit, &e);
    reply_insert(c->reply, mark, '%', e.count);
}

static void reply_reason(struct call *c, const char *reason)
{
    char text[REASON_MAX + 8];

    snprintf(text, sizeof text, "ERR %s", reason);
    reply_error_text(c->reply, text);
}

/* CONFIG SET name value [name value ...] */
void cmd_config_set(struct call *c)
{
    const struct session *s = c->session;
    size_t n = (size_t)(c->argc - 2) / 2;
    struct config *config = c->server->config;
    struct view *names, *values;
    char err[REASON_MAX];

    if (c->argc % 2 != 0) {
        reply_error(c->reply, ERROR_SYNTAX);
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
        reply_reason(c, err);
    mem_free(names);
}

/* CONFIG REWRITE */
void cmd_config_rewrite(struct call *c)
{
    char err[REASON_MAX];

    if (!call_may_take(c, REWRITE_COST_US))
        return;
    if (config_rewrite(c->server->config, err, sizeof err) == 0)
        reply_ok(c->reply);
    else
        reply_reason(c, err);
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
        "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GET <pattern>",
        "    Return parameters matching the glob-like <pattern> and their values.",
        "SET <directive> <value>",
        "    Set the configuration <directive> to <value>.",
        "RESETSTAT",
        "    Reset statistics reported by the INFO command.",
        "REWRITE",
        "    Rewrite the configuration file.",
        "HELP",
        "    Prints this help.",
    };

    reply_array(c->reply, sizeof lines / sizeof *lines);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        reply_status(c->reply, lines[i]);
}
