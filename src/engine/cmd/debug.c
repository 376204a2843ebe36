/*
 * DEBUG: for tests and for the search for faults; off unless enable-debug-command allows it. What takes time runs in the
 * slow lane, where a sleep holds up nobody but the one who asked for it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/allocator.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "engine/cmd/generic.h"
#include "engine/cmd/work.h"
#include "engine/server/config.h"
#include "engine/server/server.h"
#include "engine/store/access.h"
#include "engine/store/heap.h"
#include "engine/store/keyspace.h"
#include "engine/store/thread.h"
#include "engine/store/watch.h"
#include "engine/types/string.h"
#include "handlers.h"

#define WORK_OF_LANE 1000000 /* microseconds that no worker grants */
#define SLEEP_STEP_US 50000  /* a sleeper looks this often whether the server stops */
#define REPORT_US 5000
#define NAME_SHOWN 128 /* bytes of an unknown subcommand that the error shows */

/* ---- SLEEP, SET-ACTIVE-EXPIRE ---- */

/* The leading number of the argument, as Redis reads it: 0 when there is none. */
static double leading_number(struct view v)
{
    char text[64];
    double number;

    snprintf(text, sizeof text, "%.*s", (int)(v.n < sizeof text ? v.n : sizeof text - 1), v.n ? v.p : "");
    number = strtod(text, NULL);
    return isnan(number) ? 0 : number;
}

static void debug_sleep(struct call *c)
{
    double us = leading_number(c->argv[2]) * 1000000;
    int64_t end, left;

    if (us >= 1 && !call_may_take(c, WORK_OF_LANE))
        return;
    end = clock_mono_us() + (us >= 1e15 ? (int64_t)1e15 : us >= 1 ? (int64_t)us : 0);
    while ((left = end - clock_mono_us()) > 0 && !atomic_load_explicit(&c->server->stopping, memory_order_relaxed)) {
        struct timespec step = {0, (left < SLEEP_STEP_US ? left : SLEEP_STEP_US) * 1000};
        nanosleep(&step, NULL);
        if (c->in_lane && !c->exclusive && !c->in_exec)
            c->server->ops->let_in(c->server->ops_arg, c->thread);
    }
    reply_ok(c->reply);
}

static void debug_set_active_expire(struct call *c)
{
    atomic_store_explicit(&c->server->active_expire, leading_number(c->argv[2]) != 0, memory_order_relaxed);
    reply_ok(c->reply);
}

/* ---- OBJECT ---- */

/* Bytes that the value takes in an RDB file, without compression. */
static size_t serialised_length(const struct item *it)
{
    size_t n = item_string(it).n;
    int64_t v;

    /* Integers of up to 32 bits have encodings of their own, whatever OBJECT ENCODING says. */
    if (n <= 11 && string_int(it, &v) && v >= INT32_MIN && v <= INT32_MAX)
        return v >= INT8_MIN && v <= INT8_MAX ? 2 : v >= INT16_MIN && v <= INT16_MAX ? 3 : 5;
    return n + (n < 64 ? 1 : n < 16384 ? 2 : n <= UINT32_MAX ? 5 : 9);
}

static void debug_object(struct call *c)
{
    struct key key = key_make(keyspace_hash_key(c->server->keyspace), c->argv[2]);
    char line[256];
    struct item *it;

    if (!call_hold(c, key_partition(&key)))
        return;
    it = db_find(c->db, &key, NULL);
    if (!it || generic_expired(c, it)) {
        reply_error(c->reply, ERROR_NO_KEY);
    } else {
        snprintf(line, sizeof line,
                 "Value at:%p refcount:1 encoding:%s serializedlength:%zu lru:%u lru_seconds_idle:%u", (void *)it,
                 string_encoding(it), serialised_length(it), (unsigned)it->access,
                 access_idle_seconds(it, call_now(c)));
        reply_status(c->reply, line);
    }
    call_unhold(c);
}

/* ---- JMAP ---- */

static void put_text(void *arg, const char *text)
{
    buf_put_view(arg, view_str(text));
}

static void debug_jmap(struct call *c)
{
    struct heap_stats heap;
    struct buf out = {0};

    if (!call_may_take(c, REPORT_US))
        return;
    heap_stats(c->thread->heap->shared, &heap);
    buf_printf(&out, "slab: %llu bytes used, %llu resident, %llu pages\n", (unsigned long long)heap.used,
               (unsigned long long)heap.resident, (unsigned long long)heap.pages);
    allocator_report(put_text, &out);
    reply_verbatim(c->reply, buf_view(&out), "txt");
    buf_free(&out);
}

/* ---- POPULATE ---- */

/* Makes one key, unless it is there. False when there is no memory. */
static bool populate_one(struct call *c, struct view name, struct view value, size_t size)
{
    struct key key = key_make(keyspace_hash_key(c->server->keyspace), name);
    struct item *it;
    size_t n = value.n < size ? value.n : size;

    if (!call_hold(c, key_partition(&key)) || db_find(c->db, &key, NULL))
        return true;
    it = item_new_string(c->thread, key.name, size, -1);
    if (!it)
        return false;
    memcpy(item_bytes(it), value.p, n);
    memset(item_bytes(it) + n, 0, size - n);
    db_insert(c->db, c->thread, &key, it);
    watch_changed(&c->server->keyspace->partitions[key_partition(&key)], c->db, &key);
    c->changes++;
    return true;
}

/* DEBUG POPULATE count [prefix] [size]: always in the lane, where holding a partition waits and never fails. */
static void debug_populate(struct call *c)
{
    struct view prefix = c->argc > 3 ? c->argv[3] : VIEW("key");
    struct buf name = {0};
    int64_t count, size = 0;
    bool memory = true;

    if (!num_parse_int(c->argv[2], &count) || count < 0 ||
        (c->argc > 4 && (!num_parse_int(c->argv[4], &size) || size < 0))) {
        reply_error(c->reply, ERROR_NOT_POSITIVE);
        return;
    }
    if (size > work_string_max(c)) {
        reply_error(c->reply, ERROR_STRING_TOO_LONG);
        return;
    }
    if (!call_may_take(c, WORK_OF_LANE))
        return;
    for (int64_t i = 0; i < count && memory; i++) {
        char value[8 + NUM_INT_MAX] = "value:";
        size_t n = sizeof "value:" - 1;
        if (atomic_load_explicit(&c->server->stopping, memory_order_relaxed))
            break;
        n += num_format_int(value + n, i);
        buf_clear(&name);
        buf_put_view(&name, prefix);
        buf_put(&name, value + sizeof "value" - 1, n - (sizeof "value" - 1));
        memory = populate_one(c, buf_view(&name), view_of(value, n), size > 0 ? (size_t)size : n);
    }
    call_unhold(c);
    buf_free(&name);
    if (memory)
        reply_ok(c->reply);
    else
        reply_error(c->reply, ERROR_MEMORY);
}

/* ---- the command ---- */

static void debug_help(struct call *c)
{
    static const char *const lines[] = {
        "JMAP",
        "    Report what the allocators hold.",
        "OBJECT <key>",
        "    Show how the key's value is kept.",
        "POPULATE <count> [<prefix>] [<size>]",
        "    Make that many string keys, named <prefix>:<number>; the prefix is key unless given.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    Leave expired keys until somebody asks for them, or remove them at once (the default).",
        "SLEEP <seconds>",
        "    Answer after that time. Decimals are allowed.",
    };

    GENERIC_HELP(c, "DEBUG", lines);
}

static const struct subcommand {
    struct view name;
    int min_argc, max_argc;
    void (*run)(struct call *c);
} subcommands[] = {
    {{LIT("help")}, 2, 2, debug_help},
    {{LIT("jmap")}, 2, 2, debug_jmap},
    {{LIT("object")}, 3, 3, debug_object},
    {{LIT("populate")}, 3, 5, debug_populate},
    {{LIT("set-active-expire")}, 3, 3, debug_set_active_expire},
    {{LIT("sleep")}, 3, 3, debug_sleep},
};

void cmd_debug(struct call *c)
{
    int64_t enabled = atomic_load_explicit(&c->server->config->enable_debug_command, memory_order_relaxed);
    struct view name = c->argv[1];

    if (enabled == ENABLE_NO || (enabled == ENABLE_LOCAL && !c->session->local)) {
        reply_error(c->reply, ERROR_DEBUG_OFF);
        return;
    }
    for (size_t i = 0; i < sizeof subcommands / sizeof subcommands[0]; i++)
        if (view_equal_case(name, subcommands[i].name) && c->argc >= subcommands[i].min_argc &&
            c->argc <= subcommands[i].max_argc) {
            subcommands[i].run(c);
            return;
        }
    reply_error(c->reply, ERROR_SUBCOMMAND_SYNTAX, (int)(name.n < NAME_SHOWN ? name.n : NAME_SHOWN), name.p, "DEBUG");
}
