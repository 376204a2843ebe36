/*
 * The command table: what spec/commands says, generated into build/gen/command_table.c. One key specification drives
 * locking, COMMAND GETKEYS and, later, ACL and tracking.
 */
#ifndef CMD_COMMAND_H
#define CMD_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

struct call;

typedef void command_fn(struct call *c);

/* Flags with Redis's meanings; their names in COMMAND INFO are the lower-case words. */
enum command_flag {
    COMMAND_WRITE = 1u << 0,
    COMMAND_READONLY = 1u << 1,
    COMMAND_DENYOOM = 1u << 2,
    COMMAND_ADMIN = 1u << 3,
    COMMAND_PUBSUB = 1u << 4,
    COMMAND_NOSCRIPT = 1u << 5,
    COMMAND_BLOCKING = 1u << 6,
    COMMAND_LOADING = 1u << 7,
    COMMAND_STALE = 1u << 8,
    COMMAND_SKIP_MONITOR = 1u << 9,
    COMMAND_SKIP_SLOWLOG = 1u << 10,
    COMMAND_ASKING = 1u << 11,
    COMMAND_FAST = 1u << 12,
    COMMAND_NO_AUTH = 1u << 13,
    COMMAND_MAY_REPLICATE = 1u << 14,
    COMMAND_SENTINEL = 1u << 15,
    COMMAND_ONLY_SENTINEL = 1u << 16,
    COMMAND_NO_MANDATORY_KEYS = 1u << 17,
    COMMAND_PROTECTED = 1u << 18,
    COMMAND_NO_ASYNC_LOADING = 1u << 19,
    COMMAND_NO_MULTI = 1u << 20,
    COMMAND_ALLOW_BUSY = 1u << 21,
    COMMAND_MOVABLEKEYS = 1u << 22,
    COMMAND_NO_RELAXED = 1u << 23, /* the last four: cmd/rights.h */
    COMMAND_NO_MANAGED = 1u << 24,
    COMMAND_NO_STRICT = 1u << 25,
    COMMAND_REPLICA_LOGIN = 1u << 26,
};

/* What a command needs around it. */
enum command_scope {
    SCOPE_KEYS,       /* the partitions of its declared keys */
    SCOPE_CONNECTION, /* nothing: it touches its own connection, or state with its own synchronisation */
    SCOPE_WALK,       /* takes partitions one after the other by call_hold */
    SCOPE_GATE,       /* everything: runs in the slow lane with the gate closed */
};

enum key_spec_flag {
    KEY_RO = 1u << 0,
    KEY_RW = 1u << 1,
    KEY_OW = 1u << 2,
    KEY_RM = 1u << 3,
    KEY_ACCESS = 1u << 4,
    KEY_UPDATE = 1u << 5,
    KEY_INSERT = 1u << 6,
    KEY_DELETE = 1u << 7,
    KEY_NOT_KEY = 1u << 8,
    KEY_INCOMPLETE = 1u << 9,
    KEY_VARIABLE_FLAGS = 1u << 10,
};

/* begin_search and find_keys of Redis's key specifications. */
struct key_spec {
    enum { KEYS_AT_INDEX, KEYS_AT_KEYWORD, KEYS_AT_UNKNOWN } begin;
    enum { KEYS_RANGE, KEYS_KEYNUM, KEYS_FIND_UNKNOWN } find;
    uint32_t flags; /* enum key_spec_flag */
    const char *notes;
    int16_t index;                    /* KEYS_AT_INDEX */
    const char *keyword;              /* KEYS_AT_KEYWORD */
    int16_t start_from;               /* KEYS_AT_KEYWORD: where the search starts; negative from the end */
    int16_t last, step, limit;        /* KEYS_RANGE */
    int16_t keynum_at, first, knstep; /* KEYS_KEYNUM */
};

struct command_doc;

struct command {
    const char *name; /* lower case; "client|id" for a subcommand */
    uint8_t name_len;
    uint8_t scope;                         /* enum command_scope */
    int16_t arity;                         /* at least -arity arguments when negative; the name counts */
    uint16_t id;                           /* 0 .. command_count - 1, subcommands included: the index of statistics */
    int16_t first_key, last_key, key_step; /* the legacy triple; 0 for none. Exact unless COMMAND_MOVABLEKEYS */
    uint32_t flags;                        /* enum command_flag */
    uint32_t categories;                   /* ACL categories, one bit each, in the order of command_category_names */
    command_fn *run;                       /* NULL for a container whose subcommand must be named */
    const struct key_spec *specs;
    uint16_t spec_count;
    uint16_t sub_count;
    const struct command *const *subs;
    const char *const *tips; /* command tips, NULL-terminated, or NULL */
    const struct command_doc *doc;
};

/* Documentation as COMMAND DOCS answers it (generated into build/gen/command_docs.c). */
struct command_arg {
    const char *name, *type, *token, *since, *deprecated_since;
    int16_t key_spec; /* index of the key specification, -1 for none */
    uint8_t optional, multiple, multiple_token;
    uint16_t arg_count;
    const struct command_arg *args; /* of oneof and block */
};

struct command_history {
    const char *since, *change;
};

struct command_doc {
    const char *summary, *since, *group, *complexity, *replaced_by, *deprecated_since;
    uint8_t deprecated, syscmd;
    uint16_t arg_count, history_count;
    const struct command_arg *args;
    const struct command_history *history;
};

extern const struct command *const command_table[]; /* top-level commands, sorted by name */
extern const unsigned command_table_count;
extern const unsigned command_count; /* subcommands included */
extern const struct command *const command_by_id[];
extern const char *const command_category_names[]; /* without the @; NULL-terminated */

/* A top-level command by name in any case, or NULL. The generated table is a perfect hash over (length, characters). */
const struct command *command_find(struct view name);

/* A subcommand of a container, by its own name in any case, or NULL. */
const struct command *command_find_sub(const struct command *container, struct view name);

/* Does argc satisfy the command's arity? */
static inline bool command_arity_ok(const struct command *cmd, int argc)
{
    return cmd->arity >= 0 ? argc == cmd->arity : argc >= -cmd->arity;
}

/*
 * The indexes into argv of the command's keys, in order, with the flags of the specification each came from (flags may
 * be NULL). At most max are written; returns how many there are, 0 for none, or -1 when the arguments are invalid for
 * the specification (a key count that is no number or reaches beyond argc).
 */
int command_keys(const struct command *cmd, const struct view *argv, int argc, int *index, uint32_t *flags, int max);

#endif
