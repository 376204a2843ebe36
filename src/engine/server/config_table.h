/*
 * What the files of the configuration share: the rows of the table, and reading and writing one row's value. Nobody else
 * includes this.
 */
#ifndef SERVER_CONFIG_TABLE_H
#define SERVER_CONFIG_TABLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/view.h"
#include "engine/server/config.h"

enum row_type {
    ROW_BOOL,
    ROW_ENUM,
    ROW_NUMBER,
    ROW_STRING,       /* one argument */
    ROW_WORDS,        /* any number of arguments, kept as one string */
    ROW_SAVE,         /* ROW_WORDS that add up while loading, and are rewritten as a line per pair */
    ROW_OUTPUT_LIMIT, /* client-output-buffer-limit, which has fields of its own */
};

enum row_unit {
    UNIT_PLAIN,
    UNIT_MEMORY,  /* 64mb */
    UNIT_PERCENT, /* 64mb or 10%; a percentage is kept as a negative number */
    UNIT_OCTAL,
};

enum row_flag {
    ROW_IMMUTABLE = 1 << 0, /* CONFIG SET refuses it */
    ROW_PROTECTED = 1 << 1, /* CONFIG SET refuses it unless enable-protected-configs allows it */
    ROW_HIDDEN = 1 << 2,    /* no glob of CONFIG GET finds it */
    ROW_LOUD = 1 << 3,      /* being without meaning here deserves a warning, unless it has its default */
    ROW_ALWAYS = 1 << 4,    /* rewritten even with its default */
    ROW_SAFE = 1 << 6,      /* config_is_safe */
    ROW_SECRET = 1 << 7,    /* config_is_secret */
    ROW_UNSHOWN = 1 << 8,   /* CONFIG GET does not show it at all */
    ROW_BY_NAME = 1 << 5,   /* has an effect without a field: somebody reads it by its name */
};

#define ROW_NO_FIELD SIZE_MAX

struct config_name {
    const char *name; /* NULL ends the list */
    int value;
    bool unlisted; /* accepted, but not named in the error for other words */
};

/* Why a value is refused. */
struct config_reason {
    char text[256];
};

struct config_row;

/* What a string row's own rule gets: n arguments and what the row holds, if that counts (ROW_SAVE). */
struct config_input {
    const struct config_row *row;
    const struct view *args;
    size_t n;
    struct view old;
};

/* Checks the arguments and appends the text to keep; false with a reason when they are refused. */
typedef bool config_rule(const struct config_input *in, struct buf *out, struct config_reason *why);

struct config_row {
    const char *name, *alias; /* alias: the other spelling, or NULL */
    enum row_type type;
    enum row_unit unit;
    unsigned flags;
    size_t field; /* offset in struct config, or ROW_NO_FIELD: without meaning here, kept in config_private */
    int64_t min, max, initial;
    int64_t floor, ceiling; /* values are silently moved into this range, if ceiling is not 0 */
    const char *text;       /* initial value of strings */
    const struct config_name *names;
    config_rule *rule; /* strings: NULL takes any */
};

union config_value {
    config_number number;
    char *text;
};

struct config_hook {
    size_t row;
    config_hook_fn *fn;
    void *arg;
};

struct config_private {
    union config_value *values; /* one a row, used by those without a field */
    char **initial;             /* one a row: the text of its default */
    bool *given;                /* one a row: a file or the command line set it */
    bool users, renames;        /* "user" and "rename-command" were given */
    char *path;
    struct config_hook *hooks;
    size_t hook_count;
    unsigned depth;        /* of include */
    pthread_rwlock_t lock; /* config_read_lock */
};

const struct config_row *config_rows(void);
size_t config_row_count(void);

/* By name or alias in any case, or NULL. */
const struct config_row *config_row_find(struct view name);
size_t config_row_index(const struct config_row *row);

/* What a buffer holds, which may be nothing at all. */
static inline struct view config_text(const struct buf *b)
{
    return buf_live(b) != 0 ? buf_view(b) : VIEW("");
}

static inline bool config_row_is_text(const struct config_row *row)
{
    return row->type == ROW_STRING || row->type == ROW_WORDS || row->type == ROW_SAVE;
}

/* Does it take any number of arguments? */
static inline bool config_row_is_multi(const struct config_row *row)
{
    return row->type == ROW_WORDS || row->type == ROW_SAVE || row->type == ROW_OUTPUT_LIMIT;
}

/* Where the row's value is: config_row_number for booleans, enumerations and numbers, config_row_string for text. */
config_number *config_row_number(const struct config *c, const struct config_row *row);
char **config_row_string(const struct config *c, const struct config_row *row);

/* Appends the value as CONFIG GET answers it. */
void config_row_get(const struct config *c, const struct config_row *row, struct buf *out);

/* Sets it from arguments; false with a reason, the value then unchanged. loading: ROW_SAVE adds up. */
bool config_row_set(struct config *c, const struct config_row *row, const struct view *args, size_t n, bool loading,
                    struct config_reason *why);

/* Fills in the reason; always false. */
bool config_refuse(struct config_reason *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The entry of an enumeration that a word spells in any case, or NULL; and the reason that lists them all. */
const struct config_name *config_name_find(const struct config_name *names, struct view word);
bool config_refuse_name(struct config_reason *why, const struct config_name *names);

/* The rules (config_rules.c). */
config_rule config_rule_save, config_rule_bind, config_rule_allow_from, config_rule_notify, config_rule_percentiles;
config_rule config_rule_oom_values, config_rule_replicaof, config_rule_shutdown, config_rule_filename, config_rule_dir;
config_rule config_rule_socket, config_rule_title, config_rule_hostname;

/* client-output-buffer-limit. */
bool config_output_limit_set(struct config *c, const struct view *args, size_t n, struct config_reason *why);
void config_output_limit_get(const struct config *c, struct buf *out);

#define CONFIG_OUTPUT_CLASSES 3

/* Class i's name as CONFIG REWRITE spells it, and its limits. */
const char *config_output_class(size_t i);
const struct config_output_limit *config_output_limit(const struct config *c, size_t i);

/* Appends a whole file ("-": standard input), up to a limit; returns 0 or an errno value. */
int config_read_file(const char *path, struct buf *out);

/* The text that config_rewrite puts in place of `old`. */
void config_rewrite_text(const struct config *c, struct view old, struct buf *out);

#endif
