/*
 * COMMAND and its subcommands: what the command table says, in the shapes of Redis 7.0. Names come out in alphabetical
 * order, a container before its subcommands. (Redis's own order is that of a hash table and means nothing.)
 */
#include "engine/cmd/command.h"

#include <stddef.h>
#include <string.h>

#include "base/glob.h"
#include "base/mem.h"
#include "engine/cmd/generic.h"
#include "engine/cmd/rights.h"
#include "engine/server/server.h"
#include "handlers.h"

#define KEYS_ON_STACK 64
#define NAMES_SMALL 64  /* so many names are described without asking what it costs */
#define ARGS_SMALL 1000 /* so many arguments are searched for keys without asking */
#define NAME_COST_US 4  /* describing one: between 1 for a plain command and 30 for the largest container */
#define ARGS_PER_US_LOG2 4

struct flag_name {
    uint32_t bit;
    const char *name;
};

/* In the order in which clients see them. The flags sentinel, only_sentinel, protected and those of
 * client-commands are never shown. */
static const struct flag_name command_flags[] = {
    {COMMAND_WRITE, "write"},
    {COMMAND_READONLY, "readonly"},
    {COMMAND_DENYOOM, "denyoom"},
    {COMMAND_ADMIN, "admin"},
    {COMMAND_PUBSUB, "pubsub"},
    {COMMAND_NOSCRIPT, "noscript"},
    {COMMAND_BLOCKING, "blocking"},
    {COMMAND_LOADING, "loading"},
    {COMMAND_STALE, "stale"},
    {COMMAND_SKIP_MONITOR, "skip_monitor"},
    {COMMAND_SKIP_SLOWLOG, "skip_slowlog"},
    {COMMAND_ASKING, "asking"},
    {COMMAND_FAST, "fast"},
    {COMMAND_NO_AUTH, "no_auth"},
    {COMMAND_MAY_REPLICATE, "may_replicate"},
    {COMMAND_NO_MANDATORY_KEYS, "no_mandatory_keys"},
    {COMMAND_NO_ASYNC_LOADING, "no_async_loading"},
    {COMMAND_NO_MULTI, "no_multi"},
    {COMMAND_MOVABLEKEYS, "movablekeys"},
    {COMMAND_ALLOW_BUSY, "allow_busy"},
    {0, NULL},
};

static const struct flag_name key_flags[] = {
    {KEY_RO, "RO"},
    {KEY_RW, "RW"},
    {KEY_OW, "OW"},
    {KEY_RM, "RM"},
    {KEY_ACCESS, "access"},
    {KEY_UPDATE, "update"},
    {KEY_INSERT, "insert"},
    {KEY_DELETE, "delete"},
    {KEY_NOT_KEY, "not_key"},
    {KEY_INCOMPLETE, "incomplete"},
    {KEY_VARIABLE_FLAGS, "variable_flags"},
    {0, NULL},
};

/* Those that there are for who asks. */
static struct rights rights_here(const struct call *c)
{
    return rights_of(c->server->config, c->session);
}

/* How many of these commands there are. */
static size_t count_shown(struct rights rights, const struct command *const *commands, size_t n)
{
    size_t shown = 0;

    for (size_t i = 0; i < n; i++)
        shown += rights_cover(rights, commands[i]);
    return shown;
}

/* The command of that name, if there is one for who asks; "container|sub" names a subcommand. */
static const struct command *find_full_name(struct rights rights, struct view name)
{
    const char *bar = name.n > 0 ? memchr(name.p, '|', name.n) : NULL;
    const struct command *cmd;

    if (bar) {
        cmd = command_find(view_of(name.p, (size_t)(bar - name.p)));
        cmd = cmd ? command_find_sub(cmd, view_of(bar + 1, name.n - (size_t)(bar - name.p) - 1)) : NULL;
    } else {
        cmd = command_find(name);
    }
    return cmd && rights_cover(rights, cmd) ? cmd : NULL;
}

/* May the commands that these arguments name be described here? */
static bool names_allowed(struct call *c)
{
    return c->argc <= NAMES_SMALL || call_may_take(c, (uint64_t)c->argc * NAME_COST_US);
}

/* ---- COMMAND INFO ----------------------------------------------------------------------------------------------- */

static void reply_flags(struct reply *r, uint32_t flags, const struct flag_name *names)
{
    size_t n = 0;

    for (const struct flag_name *f = names; f->name; f++)
        n += (flags & f->bit) != 0;
    reply_set(r, n);
    for (const struct flag_name *f = names; f->name; f++)
        if (flags & f->bit)
            reply_status(r, f->name);
}

static void reply_categories(struct reply *r, uint32_t categories)
{
    reply_set(r, (size_t)__builtin_popcount(categories));
    for (unsigned i = 0; command_category_names[i]; i++) {
        char name[32] = "@";

        if (!(categories & 1u << i))
            continue;
        strncat(name, command_category_names[i], sizeof name - 2);
        reply_status(r, name);
    }
}

static void reply_tips(struct reply *r, const char *const *tips)
{
    size_t n = 0;

    while (tips && tips[n])
        n++;
    reply_set(r, n);
    for (size_t i = 0; i < n; i++)
        reply_bulk_str(r, tips[i]);
}

static void reply_named(struct reply *r, const char *name, int64_t value)
{
    reply_bulk_str(r, name);
    reply_integer(r, value);
}

static void reply_named_str(struct reply *r, const char *name, const char *value)
{
    reply_bulk_str(r, name);
    reply_bulk_str(r, value);
}

/* The head of the value of begin_search and find_keys: its type, and how many fields its specification has. */
static void reply_search(struct reply *r, const char *name, const char *type, size_t fields)
{
    reply_bulk_str(r, name);
    reply_map(r, 2);
    reply_named_str(r, "type", type);
    reply_bulk_str(r, "spec");
    reply_map(r, fields);
}

static void reply_begin_search(struct reply *r, const struct key_spec *spec)
{
    switch (spec->begin) {
    case KEYS_AT_INDEX:
        reply_search(r, "begin_search", "index", 1);
        reply_named(r, "index", spec->index);
        break;
    case KEYS_AT_KEYWORD:
        reply_search(r, "begin_search", "keyword", 2);
        reply_named_str(r, "keyword", spec->keyword);
        reply_named(r, "startfrom", spec->start_from);
        break;
    case KEYS_AT_UNKNOWN:
        reply_search(r, "begin_search", "unknown", 0);
        break;
    }
}

static void reply_find_keys(struct reply *r, const struct key_spec *spec)
{
    switch (spec->find) {
    case KEYS_RANGE:
        reply_search(r, "find_keys", "range", 3);
        reply_named(r, "lastkey", spec->last);
        reply_named(r, "keystep", spec->step);
        reply_named(r, "limit", spec->limit);
        break;
    case KEYS_KEYNUM:
        reply_search(r, "find_keys", "keynum", 3);
        reply_named(r, "keynumidx", spec->keynum_at);
        reply_named(r, "firstkey", spec->first);
        reply_named(r, "keystep", spec->knstep);
        break;
    case KEYS_FIND_UNKNOWN:
        reply_search(r, "find_keys", "unknown", 0);
        break;
    }
}

static void reply_key_spec(struct reply *r, const struct key_spec *spec)
{
    reply_map(r, spec->notes ? 4 : 3);
    if (spec->notes)
        reply_named_str(r, "notes", spec->notes);
    reply_bulk_str(r, "flags");
    reply_flags(r, spec->flags, key_flags);
    reply_begin_search(r, spec);
    reply_find_keys(r, spec);
}

/* Subcommands nest one level deep. */
static void reply_info(struct reply *r, struct rights rights, const struct command *cmd)
{
    reply_array(r, 10);
    reply_bulk(r, view_of(cmd->name, cmd->name_len));
    reply_integer(r, cmd->arity);
    reply_flags(r, cmd->flags, command_flags);
    reply_integer(r, cmd->first_key);
    reply_integer(r, cmd->last_key);
    reply_integer(r, cmd->key_step);
    reply_categories(r, cmd->categories);
    reply_tips(r, cmd->tips);
    reply_set(r, cmd->spec_count);
    for (unsigned i = 0; i < cmd->spec_count; i++)
        reply_key_spec(r, &cmd->specs[i]);
    if (cmd->sub_count == 0)
        reply_set(r, 0);
    else
        reply_array(r, count_shown(rights, cmd->subs, cmd->sub_count));
    for (unsigned i = 0; i < cmd->sub_count; i++)
        if (rights_cover(rights, cmd->subs[i]))
            reply_info(r, rights, cmd->subs[i]);
}

void cmd_command(struct call *c)
{
    struct rights rights = rights_here(c);

    reply_array(c->reply, count_shown(rights, command_table, command_table_count));
    for (unsigned i = 0; i < command_table_count; i++)
        if (rights_cover(rights, command_table[i]))
            reply_info(c->reply, rights, command_table[i]);
}

void cmd_command_info(struct call *c)
{
    struct rights rights = rights_here(c);

    if (c->argc == 2) {
        cmd_command(c);
        return;
    }
    if (!names_allowed(c))
        return;
    reply_array(c->reply, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) {
        const struct command *cmd = find_full_name(rights, c->argv[i]);

        if (cmd)
            reply_info(c->reply, rights, cmd);
        else
            reply_null(c->reply);
    }
}

void cmd_command_count(struct call *c)
{
    reply_integer(c->reply, (int64_t)count_shown(rights_here(c), command_table, command_table_count));
}

/* ---- COMMAND DOCS ----------------------------------------------------------------------------------------------- */

/* A field of a map that may be absent: written if value is not NULL. Returns how many fields that is. */
static size_t reply_field(struct reply *r, const char *name, const char *value)
{
    if (!value)
        return 0;
    reply_named_str(r, name, value);
    return 1;
}

static void reply_arguments(struct reply *r, const struct command_arg *args, unsigned count);

static size_t reply_argument_flags(struct reply *r, const struct command_arg *arg)
{
    unsigned n = arg->optional + arg->multiple + arg->multiple_token;

    if (n == 0)
        return 0;
    reply_bulk_str(r, "flags");
    reply_set(r, n);
    if (arg->optional)
        reply_status(r, "optional");
    if (arg->multiple)
        reply_status(r, "multiple");
    if (arg->multiple_token)
        reply_status(r, "multiple_token");
    return 1;
}

static void reply_argument(struct reply *r, const struct command_arg *arg)
{
    size_t mark = reply_mark(r), n = 2;

    reply_named_str(r, "name", arg->name);
    reply_named_str(r, "type", arg->type);
    if (arg->key_spec >= 0) {
        reply_named(r, "key_spec_index", arg->key_spec);
        n++;
    }
    n += reply_field(r, "token", arg->token);
    n += reply_field(r, "since", arg->since);
    n += reply_field(r, "deprecated_since", arg->deprecated_since);
    n += reply_argument_flags(r, arg);
    if (arg->arg_count > 0) {
        reply_bulk_str(r, "arguments");
        reply_arguments(r, arg->args, arg->arg_count);
        n++;
    }
    reply_insert(r, mark, '%', n);
}

/* As deep as the specification's tree of arguments: a handful of levels. */
static void reply_arguments(struct reply *r, const struct command_arg *args, unsigned count)
{
    reply_array(r, count);
    for (unsigned i = 0; i < count; i++)
        reply_argument(r, &args[i]);
}

static size_t reply_history(struct reply *r, const struct command_doc *doc)
{
    if (doc->history_count == 0)
        return 0;
    reply_bulk_str(r, "history");
    reply_set(r, doc->history_count);
    for (unsigned i = 0; i < doc->history_count; i++) {
        reply_array(r, 2);
        reply_bulk_str(r, doc->history[i].since);
        reply_bulk_str(r, doc->history[i].change);
    }
    return 1;
}

static size_t reply_doc_flags(struct reply *r, const struct command_doc *doc)
{
    unsigned n = doc->deprecated + doc->syscmd;

    if (n == 0)
        return 0;
    reply_bulk_str(r, "doc_flags");
    reply_set(r, n);
    if (doc->deprecated)
        reply_status(r, "deprecated");
    if (doc->syscmd)
        reply_status(r, "syscmd");
    return 1;
}

/* A name and what is documented under it: one pair of a map. */
static void reply_docs(struct reply *r, struct rights rights, const struct command *cmd)
{
    const struct command_doc *doc = cmd->doc;
    size_t mark, n = 0;

    reply_bulk(r, view_of(cmd->name, cmd->name_len));
    mark = reply_mark(r);
    n += reply_field(r, "summary", doc->summary);
    n += reply_field(r, "since", doc->since);
    n += reply_field(r, "group", doc->group);
    n += reply_field(r, "complexity", doc->complexity);
    n += reply_doc_flags(r, doc);
    n += reply_field(r, "deprecated_since", doc->deprecated_since);
    n += reply_field(r, "replaced_by", doc->replaced_by);
    n += reply_history(r, doc);
    if (doc->arg_count > 0) {
        reply_bulk_str(r, "arguments");
        reply_arguments(r, doc->args, doc->arg_count);
        n++;
    }
    if (cmd->sub_count > 0) {
        reply_bulk_str(r, "subcommands");
        reply_map(r, count_shown(rights, cmd->subs, cmd->sub_count));
        for (unsigned i = 0; i < cmd->sub_count; i++)
            if (rights_cover(rights, cmd->subs[i]))
                reply_docs(r, rights, cmd->subs[i]);
        n++;
    }
    reply_insert(r, mark, '%', n);
}

/* Names that are unknown are left out. */
void cmd_command_docs(struct call *c)
{
    struct rights rights = rights_here(c);
    size_t mark, n = 0;

    if (c->argc == 2) {
        reply_map(c->reply, count_shown(rights, command_table, command_table_count));
        for (unsigned i = 0; i < command_table_count; i++)
            if (rights_cover(rights, command_table[i]))
                reply_docs(c->reply, rights, command_table[i]);
        return;
    }
    if (!names_allowed(c))
        return;
    mark = reply_mark(c->reply);
    for (int i = 2; i < c->argc; i++) {
        const struct command *cmd = find_full_name(rights, c->argv[i]);

        if (cmd) {
            reply_docs(c->reply, rights, cmd);
            n++;
        }
    }
    reply_insert(c->reply, mark, '%', n);
}

/* ---- COMMAND LIST ----------------------------------------------------------------------------------------------- */

typedef bool list_filter(const struct command *cmd, struct view arg);

static bool list_all(const struct command *cmd, struct view arg)
{
    (void)cmd;
    (void)arg;
    return true;
}

static bool list_by_category(const struct command *cmd, struct view arg)
{
    for (unsigned i = 0; command_category_names[i]; i++)
        if ((cmd->categories & 1u << i) && view_equal_case(arg, view_str(command_category_names[i])))
            return true;
    return false;
}

static bool list_by_pattern(const struct command *cmd, struct view arg)
{
    return glob_match(arg, view_of(cmd->name, cmd->name_len), true);
}

/* There are no modules, so none has commands. */
static bool list_by_module(const struct command *cmd, struct view arg)
{
    (void)cmd;
    (void)arg;
    return false;
}

static list_filter *list_filter_named(struct view name)
{
    if (view_is(name, "aclcat"))
        return list_by_category;
    if (view_is(name, "pattern"))
        return list_by_pattern;
    return view_is(name, "module") ? list_by_module : NULL;
}

/* COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN glob] */
void cmd_command_list(struct call *c)
{
    struct rights rights = rights_here(c);
    list_filter *filter = NULL;
    struct view arg = VIEW("");
    size_t mark, n = 0;

    if (c->argc == 2) {
        filter = list_all;
    } else if (c->argc == 5 && call_arg_is(c, 2, "FILTERBY")) {
        filter = list_filter_named(c->argv[3]);
        arg = c->argv[4];
    }
    if (!filter) {
        reply_error(c->reply, ERROR_SYNTAX);
        return;
    }
    mark = reply_mark(c->reply);
    for (unsigned i = 0; i < command_count; i++) {
        const struct command *cmd = command_by_id[i];

        if (rights_cover(rights, cmd) && filter(cmd, arg)) {
            reply_bulk(c->reply, view_of(cmd->name, cmd->name_len));
            n++;
        }
    }
    reply_insert(c->reply, mark, '*', n);
}

/* ---- COMMAND GETKEYS -------------------------------------------------------------------------------------------- */

static bool has_keys(const struct command *cmd)
{
    for (unsigned i = 0; i < cmd->spec_count; i++)
        if (!(cmd->specs[i].flags & KEY_NOT_KEY))
            return true;
    return false;
}

/* The command that the arguments from the third on spell, if it is one with keys; else NULL, having replied. */
static const struct command *getkeys_command(struct call *c)
{
    const struct command *cmd = command_find(c->argv[2]);

    if (cmd && cmd->sub_count > 0 && c->argc > 3)
        cmd = command_find_sub(cmd, c->argv[3]);
    if (!cmd)
        reply_error(c->reply, ERROR_GETKEYS_COMMAND);
    else if (!has_keys(cmd))
        reply_error(c->reply, ERROR_GETKEYS_NONE);
    else if (!command_arity_ok(cmd, c->argc - 2))
        reply_error(c->reply, ERROR_GETKEYS_ARITY);
    else
        return cmd;
    return NULL;
}

static void reply_keys(struct call *c, const int *index, const uint32_t *flags, int n, bool with_flags)
{
    reply_array(c->reply, (size_t)n);
    for (int i = 0; i < n; i++) {
        if (with_flags)
            reply_array(c->reply, 2);
        reply_bulk(c->reply, c->argv[2 + index[i]]);
        if (with_flags)
            reply_flags(c->reply, flags[i], key_flags);
    }
}

static void getkeys(struct call *c, bool with_flags)
{
    const struct command *cmd = getkeys_command(c);
    int on_stack[KEYS_ON_STACK], *index = on_stack;
    uint32_t flags_on_stack[KEYS_ON_STACK], *flags = flags_on_stack;
    void *block = NULL;
    int n;

    if (!cmd || (c->argc > ARGS_SMALL && !call_may_take(c, (uint64_t)c->argc >> ARGS_PER_US_LOG2)))
        return;
    n = command_keys(cmd, c->argv + 2, c->argc - 2, index, flags, KEYS_ON_STACK);
    if (n > KEYS_ON_STACK) {
        block = mem_try((size_t)n * (sizeof *index + sizeof *flags));
        if (!block) {
            reply_error(c->reply, ERROR_MEMORY);
            return;
        }
        index = block;
        flags = (uint32_t *)(index + n);
        command_keys(cmd, c->argv + 2, c->argc - 2, index, flags, n);
    }
    if (n > 0 || (n == 0 && (cmd->flags & COMMAND_NO_MANDATORY_KEYS)))
        reply_keys(c, index, flags, n, with_flags);
    else
        reply_error(c->reply, ERROR_GETKEYS_ARGUMENTS);
    mem_free(block);
}

void cmd_command_getkeys(struct call *c)
{
    getkeys(c, false);
}

void cmd_command_getkeysandflags(struct call *c)
{
    getkeys(c, true);
}

/* ---- COMMAND HELP ----------------------------------------------------------------------------------------------- */

void cmd_command_help(struct call *c)
{
    static const char *const lines[] = {
        "(no subcommand)",
        "    Describe every command.",
        "COUNT",
        "    Count the commands.",
        "DOCS [<command-name> ...]",
        "    Answer the documentation of these commands, or of all.",
        "GETKEYS <full-command>",
        "    Answer the keys of a complete command.",
        "GETKEYSANDFLAGS <full-command>",
        "    Answer the keys of a complete command, and how it would use each.",
        "INFO [<command-name> ...]",
        "    Describe these commands, or all.",
        "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <glob>)]",
        "    List the names of commands, of all or of those that pass the filter.",
    };

    GENERIC_HELP(c, "COMMAND", lines);
}
