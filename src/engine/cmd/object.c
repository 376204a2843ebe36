/* OBJECT and MEMORY USAGE: how a value is kept. */
#include <limits.h>

#include "engine/cmd/generic.h"
#include "engine/server/config.h"
#include "engine/server/server.h"
#include "engine/store/access.h"
#include "engine/types/string.h"
#include "handlers.h"

/* Below this, Redis keeps one shared object per integer, and OBJECT REFCOUNT shows it; but not while evicting needs an
 * access clock of every key's own. */
#define SHARED_INTEGERS 10000

static bool policy_is_lfu(const struct call *c)
{
    int64_t policy = atomic_load_explicit(&c->server->config->maxmemory_policy, memory_order_relaxed);

    return policy == POLICY_ALLKEYS_LFU || policy == POLICY_VOLATILE_LFU;
}

static bool shares_integers(const struct call *c)
{
    int64_t policy = atomic_load_explicit(&c->server->config->maxmemory_policy, memory_order_relaxed);
    bool lru = policy == POLICY_ALLKEYS_LRU || policy == POLICY_VOLATILE_LRU;

    return atomic_load_explicit(&c->server->config->maxmemory, memory_order_relaxed) == 0 || !(lru || policy_is_lfu(c));
}

/* The item that an OBJECT subcommand asks about; replies null when there is none. */
static struct item *asked(struct call *c)
{
    struct item *it = generic_peek(c, 0);

    if (!it)
        reply_null(c->reply);
    return it;
}

void cmd_object_encoding(struct call *c)
{
    struct item *it = asked(c);

    if (it)
        reply_bulk_str(c->reply, string_encoding(it));
}

void cmd_object_freq(struct call *c)
{
    struct item *it = asked(c);

    if (!it)
        return;
    if (!policy_is_lfu(c)) {
        reply_error(c->reply, ERROR_LFU_OFF);
        return;
    }
    reply_integer(c->reply,
                  access_frequency(it, call_now(c),
                                   atomic_load_explicit(&c->server->config->lfu_decay_time, memory_order_relaxed)));
}

void cmd_object_idletime(struct call *c)
{
    struct item *it = asked(c);

    if (!it)
        return;
    if (policy_is_lfu(c)) {
        reply_error(c->reply, ERROR_LFU_ON);
        return;
    }
    reply_integer(c->reply, access_idle_seconds(it, call_now(c)));
}

void cmd_object_refcount(struct call *c)
{
    struct item *it = asked(c);
    int64_t v;
    bool shared;

    if (!it)
        return;
    shared = shares_integers(c) && strcmp(string_encoding(it), "int") == 0 && string_int(it, &v) && v >= 0 &&
             v < SHARED_INTEGERS;
    reply_integer(c->reply, shared ? INT_MAX : 1);
}

void cmd_object_help(struct call *c)
{
    static const char *const lines[] = {
        "ENCODING <key>", "    Name the representation of the key's value.",
        "FREQ <key>",     "    Answer the access counter of the key, which grows with the logarithm of its use.",
        "IDLETIME <key>", "    Answer the seconds since the key was last read or written.",
        "REFCOUNT <key>", "    Answer the number of references to the key's value.",
    };

    GENERIC_HELP(c, "OBJECT", lines);
}

void cmd_memory_usage(struct call *c)
{
    struct item *it;
    int64_t samples;

    /* No value is estimated from samples of it, but clients send the option. */
    for (int i = 3; i < c->argc; i += 2) {
        if (!call_arg_is(c, i, "SAMPLES") || i + 1 >= c->argc) {
            reply_error(c->reply, ERROR_SYNTAX);
            return;
        }
        if (!call_arg_range(c, i + 1, 0, INT64_MAX, ERROR_SYNTAX, &samples))
            return;
    }
    it = call_find(c, 0, NULL);
    if (it)
        reply_integer(c->reply, (int64_t)item_memory(it));
    else
        reply_null(c->reply);
}

void cmd_memory_help(struct call *c)
{
    static const char *const lines[] = {
        "USAGE <key> [SAMPLES <count>]",
        "    Answer the bytes that the key and its value hold.",
    };

    GENERIC_HELP(c, "MEMORY", lines);
}
