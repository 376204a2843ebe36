/*
 * Values of the directives: defaults, reading, setting, and CONFIG GET and SET over them.
 *
 * Setting several directives as one works on text: what each held is kept as CONFIG GET would answer it, and put back
 * when one of them, or a hook, refuses. Rejected: a copy of the whole struct, because it would have to copy what hooks
 * have already seen.
 */
#include "engine/server/config.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/glob.h"
#include "base/mem.h"
#include "base/num.h"
#include "engine/server/config_table.h"
#include "engine/server/config_words.h"

#define NAME_SHOWN_MAX 640 /* bytes of a name in an error reply */

bool config_refuse(struct config_reason *why, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why->text, sizeof why->text, fmt, ap);
    va_end(ap);
    return false;
}

const struct config_name *config_name_find(const struct config_name *names, struct view word)
{
    for (; names->name != NULL; names++)
        if (view_equal_case(word, view_str(names->name)))
            return names;
    return NULL;
}

bool config_refuse_name(struct config_reason *why, const struct config_name *names)
{
    struct buf list = {0};

    for (; names->name != NULL; names++)
        if (!names->unlisted)
            buf_printf(&list, "%s%s", buf_live(&list) != 0 ? ", " : "", names->name);
    config_refuse(why, "argument(s) must be one of the following: %.*s", (int)buf_live(&list), buf_head(&list));
    buf_free(&list);
    return false;
}

/* ---- where values are ---- */

config_number *config_row_number(const struct config *c, const struct config_row *row)
{
    if (row->field == ROW_NO_FIELD)
        return &c->private->values[config_row_index(row)].number;
    return (config_number *)((char *)c + row->field);
}

char **config_row_string(const struct config *c, const struct config_row *row)
{
    if (row->field == ROW_NO_FIELD)
        return &c->private->values[config_row_index(row)].text;
    return (char **)((char *)c + row->field);
}

static int64_t number_of(const struct config *c, const struct config_row *row)
{
    return atomic_load_explicit(config_row_number(c, row), memory_order_relaxed);
}

static void store_number(struct config *c, const struct config_row *row, int64_t v)
{
    if (row->ceiling != 0)
        v = v < row->floor ? row->floor : v > row->ceiling ? row->ceiling : v;
    atomic_store_explicit(config_row_number(c, row), v, memory_order_relaxed);
}

static void store_string(struct config *c, const struct config_row *row, struct view v)
{
    char **at = config_row_string(c, row), *copy = mem_strndup(v.n != 0 ? v.p : "", v.n);

    mem_free(*at);
    *at = copy;
}

static void get_number(const struct config_row *row, int64_t v, struct buf *out)
{
    if (row->unit == UNIT_OCTAL)
        buf_printf(out, "%llo", (unsigned long long)v);
    else if (row->unit == UNIT_PERCENT && v < 0)
        buf_printf(out, "%lld%%", -(long long)v);
    else
        buf_printf(out, "%lld", (long long)v);
}

void config_row_get(const struct config *c, const struct config_row *row, struct buf *out)
{
    const char *text;

    switch (row->type) {
    case ROW_BOOL:
        text = number_of(c, row) != 0 ? "yes" : "no";
        break;
    case ROW_ENUM:
        text = "unknown";
        for (const struct config_name *name = row->names; name->name != NULL; name++) {
            if (name->value == number_of(c, row)) {
                text = name->name;
                break;
            }
        }
        break;
    case ROW_NUMBER:
        get_number(row, number_of(c, row), out);
        return;
    case ROW_OUTPUT_LIMIT:
        config_output_limit_get(c, out);
        return;
    default:
        text = *config_row_string(c, row);
        break;
    }
    buf_put(out, text, strlen(text));
}

/* ---- setting one ---- */

/* Redis takes a missing number for 0 here: "" and "kb" are 0. Sizes that need 64 bits become the negative INT64_MIN, for
 * the caller to find out of range. */
static bool parse_memory(struct view v, int64_t *out)
{
    char text[32] = "0";
    uint64_t u;

    if (v.n >= sizeof text - 1)
        return false;
    if (v.n != 0)
        memcpy(text + 1, v.p, v.n);
    if (!num_parse_memory(view_of(text, v.n + 1), &u))
        return false;
    *out = u > INT64_MAX ? INT64_MIN : (int64_t)u;
    return true;
}

static bool parse_octal(struct view v, int64_t *out)
{
    char text[32], *end;

    if (v.n >= sizeof text)
        return false;
    if (v.n != 0)
        memcpy(text, v.p, v.n);
    text[v.n] = '\0';
    errno = 0;
    *out = strtoll(text, &end, 8);
    return errno == 0 && end == text + v.n;
}

static bool parse_percent(struct view v, int64_t *out, struct config_reason *why)
{
    uint64_t u;

    if (v.n != 0 && v.p[v.n - 1] == '%') {
        if (!num_parse_uint(view_of(v.p, v.n - 1), &u) || u > INT64_MAX)
            return config_refuse(why, "argument must be a memory or percent value");
        if (u > 100)
            return config_refuse(why, "percentage argument must be less or equal to 100");
        *out = -(int64_t)u;
        return true;
    }
    return parse_memory(v, out) || config_refuse(why, "argument must be a memory or percent value");
}

static bool parse_number(const struct config_row *row, struct view v, int64_t *out, struct config_reason *why)
{
    switch (row->unit) {
    case UNIT_MEMORY:
        if (!parse_memory(v, out))
            return config_refuse(why, "argument must be a memory value");
        break;
    case UNIT_PERCENT:
        if (!parse_percent(v, out, why))
            return false;
        break;
    case UNIT_OCTAL:
        if (!parse_octal(v, out))
            return config_refuse(why, "argument couldn't be parsed as an octal number");
        break;
    default:
        if (!num_parse_int(v, out))
            return config_refuse(why, "argument couldn't be parsed into an integer");
        break;
    }
    if (*out >= row->min && *out <= row->max)
        return true;
    if (row->unit == UNIT_OCTAL)
        return config_refuse(why, "argument must be between %llo and %llo inclusive", (unsigned long long)row->min,
                             (unsigned long long)row->max);
    return config_refuse(why, "argument must be between %lld and %lld inclusive", (long long)row->min,
                         (long long)row->max);
}

static bool set_text(struct config *c, const struct config_row *row, const struct view *args, size_t n, bool loading,
                     struct config_reason *why)
{
    struct config_input in = {row, args, n, {"", 0}};
    struct buf text = {0};
    bool ok = true;

    if (row->type == ROW_SAVE && loading && c->private->given[config_row_index(row)])
        in.old = view_str(*config_row_string(c, row));
    if (row->rule != NULL)
        ok = row->rule(&in, &text, why);
    else
        buf_put_view(&text, args[0]);
    if (ok && buf_live(&text) != 0 && memchr(buf_head(&text), '\0', buf_live(&text)) != NULL)
        ok = config_refuse(why, "argument must not contain a NUL byte");
    if (ok)
        store_string(c, row, config_text(&text));
    buf_free(&text);
    return ok;
}

bool config_row_set(struct config *c, const struct config_row *row, const struct view *args, size_t n, bool loading,
                    struct config_reason *why)
{
    const struct config_name *name;
    int64_t v;

    if (!config_row_is_multi(row) && n != 1)
        return config_refuse(why, "wrong number of arguments");
    switch (row->type) {
    case ROW_BOOL:
        v = view_is(args[0], "yes");
        if (v == 0 && !view_is(args[0], "no"))
            return config_refuse(why, "argument must be 'yes' or 'no'");
        break;
    case ROW_ENUM:
        if ((name = config_name_find(row->names, args[0])) == NULL)
            return config_refuse_name(why, row->names);
        v = name->value;
        break;
    case ROW_NUMBER:
        if (!parse_number(row, args[0], &v, why))
            return false;
        break;
    case ROW_OUTPUT_LIMIT:
        return config_output_limit_set(c, args, n, why);
    default:
        return set_text(c, row, args, n, loading, why);
    }
    store_number(c, row, v);
    return true;
}

/* The same from the text of a CONFIG SET. */
static bool set_value(struct config *c, const struct config_row *row, struct view value, struct config_reason *why)
{
    struct config_words words;
    bool ok;

    if (!config_row_is_multi(row))
        return config_row_set(c, row, &value, 1, false, why);
    config_words_split_spaces(value, &words);
    ok = config_row_set(c, row, words.v, words.n, false, why);
    config_words_free(&words);
    return ok;
}

/* ---- life ---- */

static void set_output_defaults(struct config *c)
{
    struct view args[] = {VIEW("replica"), VIEW("256mb"), VIEW("64mb"), VIEW("60"),
                          VIEW("pubsub"),  VIEW("32mb"),  VIEW("8mb"),  VIEW("60")};
    struct config_reason why = {""};

    config_output_limit_set(c, args, sizeof args / sizeof *args, &why);
}

struct config *config_new(void)
{
    size_t count = config_row_count();
    struct config *c = mem_zalloc(sizeof *c);
    struct config_private *p = mem_zalloc(sizeof *p);
    char cwd[PATH_MAX];

    c->private = p;
    pthread_rwlock_init(&p->lock, NULL);
    p->values = mem_zalloc(count * sizeof *p->values);
    p->initial = mem_zalloc(count * sizeof *p->initial);
    p->given = mem_zalloc(count * sizeof *p->given);
    p->path = mem_strndup("", 0);
    set_output_defaults(c);
    for (size_t i = 0; i < count; i++) {
        const struct config_row *row = &config_rows()[i];
        struct buf text = {0};

        if (config_row_is_text(row))
            store_string(c, row, view_str(row->text));
        else if (row->type != ROW_OUTPUT_LIMIT)
            store_number(c, row, row->initial);
        config_row_get(c, row, &text);
        p->initial[i] = mem_strndup(buf_live(&text) != 0 ? buf_head(&text) : "", buf_live(&text));
        buf_free(&text);
    }
    if (getcwd(cwd, sizeof cwd) != NULL)
        store_string(c, config_row_find(VIEW("dir")), view_str(cwd));
    return c;
}

void config_free(struct config *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < config_row_count(); i++) {
        if (config_row_is_text(&config_rows()[i]))
            mem_free(*config_row_string(c, &config_rows()[i]));
        mem_free(c->private->initial[i]);
    }
    mem_free(c->private->values);
    mem_free(c->private->initial);
    mem_free(c->private->given);
    mem_free(c->private->path);
    mem_free(c->private->hooks);
    pthread_rwlock_destroy(&c->private->lock);
    mem_free(c->private);
    mem_free(c);
}

int config_finish(struct config *c, char *err, size_t err_size)
{
    if ((c->port == 0 || c->bind[0] == '\0') && c->unixsocket[0] == '\0' && c->admin_socket[0] == '\0') {
        snprintf(err, err_size,
                 "Configured to not listen anywhere: no port or no bind address, no unixsocket, and no "
                 "admin-socket");
        return -1;
    }
    return 0;
}

const char *config_path(const struct config *c)
{
    return c->private->path;
}

/* ---- CONFIG SET ---- */

void config_note(struct config *c, const char *name, struct view value)
{
    pthread_rwlock_wrlock(&c->private->lock);
    store_string(c, config_row_find(view_str(name)), value);
    pthread_rwlock_unlock(&c->private->lock);
}

void config_on_change(struct config *c, const char *name, config_hook_fn *hook, void *arg)
{
    struct config_private *p = c->private;
    const struct config_row *row = config_row_find(view_str(name));

    if (row == NULL)
        abort();
    p->hooks = mem_realloc(p->hooks, (p->hook_count + 1) * sizeof *p->hooks);
    p->hooks[p->hook_count++] = (struct config_hook){config_row_index(row), hook, arg};
}

bool config_protected_ok(const struct config *c, bool local)
{
    return c->enable_protected_configs == ENABLE_YES || (c->enable_protected_configs == ENABLE_LOCAL && local);
}

bool config_is_safe(struct view name)
{
    const struct config_row *row = config_row_find(name);

    return row == NULL || (row->flags & ROW_SAFE) != 0;
}

bool config_is_secret(struct view name)
{
    const struct config_row *row = config_row_find(name);

    return row != NULL && (row->flags & ROW_SECRET) != 0;
}

/* One pair of a CONFIG SET. */
struct change {
    const struct config_row *row;
    struct buf old;
    bool changed;
};

/* The reason why pair i may not be set at all, or NULL; an unknown name leaves changes[i].row NULL. */
static const char *find_objection(struct change *changes, const struct view *names, size_t i, bool protected_ok)
{
    const struct config_row *row = changes[i].row = config_row_find(names[i]);

    if (row == NULL)
        return "unknown";
    if (row->flags & ROW_IMMUTABLE)
        return "can't set immutable config";
    if ((row->flags & ROW_PROTECTED) && !protected_ok)
        return "can't set protected config";
    for (size_t k = 0; k < i; k++)
        if (view_equal_case(names[k], names[i]))
            return "duplicate parameter";
    return NULL;
}

static void explain(char *err, size_t err_size, struct view name, const char *reason)
{
    snprintf(err, err_size, "CONFIG SET failed (possibly related to argument '%.*s') - %s",
             (int)(name.n < NAME_SHOWN_MAX ? name.n : NAME_SHOWN_MAX), name.p, reason);
}

/* Puts back what the first n pairs held. The last comes first, because two names may mean one directive. */
static void undo(struct config *c, struct change *changes, size_t n)
{
    struct config_reason why = {""};

    while (n-- > 0)
        if (!set_value(c, changes[n].row, config_text(&changes[n].old), &why) && config_row_is_text(changes[n].row))
            store_string(c, changes[n].row, config_text(&changes[n].old));
}

static bool hook_is_due(const struct config_hook *hook, const struct change *changes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (changes[i].changed && config_row_index(changes[i].row) == hook->row)
            return true;
    return false;
}

/* Was the same function called for an earlier directive of this change? */
static bool hook_was_called(const struct config_private *p, size_t at, const struct change *changes, size_t n)
{
    for (size_t i = 0; i < at; i++)
        if (p->hooks[i].fn == p->hooks[at].fn && p->hooks[i].arg == p->hooks[at].arg &&
            hook_is_due(&p->hooks[i], changes, n))
            return true;
    return false;
}

/* Calls the hooks of what changed, the first `limit` of them; the index of the one that refused, or the count. */
static size_t call_hooks(struct config *c, const struct change *changes, size_t n, size_t limit,
                         struct config_reason *why)
{
    struct config_private *p = c->private;

    for (size_t i = 0; i < limit; i++) {
        if (!hook_is_due(&p->hooks[i], changes, n) || hook_was_called(p, i, changes, n))
            continue;
        why->text[0] = '\0';
        if (p->hooks[i].fn(p->hooks[i].arg, c, why->text, sizeof why->text) != 0)
            return i;
    }
    return limit;
}

/* The pair that a hook stands on. */
static size_t pair_of_hook(const struct config_hook *hook, const struct change *changes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (config_row_index(changes[i].row) == hook->row)
            return i;
    return 0;
}

static int apply(struct config *c, struct change *changes, const struct view *values, size_t n, char *err,
                 size_t err_size)
{
    struct config_reason why = {""}, ignored = {""};
    struct buf now = {0};
    size_t hook;

    for (size_t i = 0; i < n; i++) {
        config_row_get(c, changes[i].row, &changes[i].old);
        if (!set_value(c, changes[i].row, values[i], &why)) {
            explain(err, err_size, view_str(changes[i].row->name), why.text);
            undo(c, changes, i);
            buf_free(&now);
            return -1;
        }
        buf_clear(&now);
        config_row_get(c, changes[i].row, &now);
        changes[i].changed = !view_equal(config_text(&now), config_text(&changes[i].old));
    }
    buf_free(&now);
    hook = call_hooks(c, changes, n, c->private->hook_count, &why);
    if (hook == c->private->hook_count)
        return 0;
    explain(err, err_size, view_str(changes[pair_of_hook(&c->private->hooks[hook], changes, n)].row->name), why.text);
    undo(c, changes, n);
    for (size_t i = 0; i <= hook; i++)
        if (hook_is_due(&c->private->hooks[i], changes, n) && !hook_was_called(c->private, i, changes, n))
            c->private->hooks[i].fn(c->private->hooks[i].arg, c, ignored.text, sizeof ignored.text);
    return -1;
}

void config_read_lock(const struct config *c)
{
    pthread_rwlock_rdlock(&c->private->lock);
}

void config_read_unlock(const struct config *c)
{
    pthread_rwlock_unlock(&c->private->lock);
}

int config_set(struct config *c, const struct view *names, const struct view *values, size_t n, bool protected_ok,
               char *err, size_t err_size)
{
    struct change *changes = mem_zalloc(n * sizeof *changes + 1);
    const char *objection = NULL;
    size_t at;
    int rc = -1;

    for (at = 0; at < n && objection == NULL; at++)
        objection = find_objection(changes, names, at, protected_ok);
    if (objection == NULL) {
        pthread_rwlock_wrlock(&c->private->lock);
        rc = apply(c, changes, values, n, err, err_size);
        pthread_rwlock_unlock(&c->private->lock);
    } else if (changes[at - 1].row == NULL)
        snprintf(err, err_size, "Unknown option or number of arguments for CONFIG SET - '%.*s'",
                 (int)(names[at - 1].n < NAME_SHOWN_MAX ? names[at - 1].n : NAME_SHOWN_MAX), names[at - 1].p);
    else
        explain(err, err_size, names[at - 1], objection);
    for (size_t i = 0; i < n; i++)
        buf_free(&changes[i].old);
    mem_free(changes);
    return rc;
}

/* ---- CONFIG GET ---- */

/* Emitting, each name once: `seen` has two entries a row, name and alias. */
struct emitter {
    const struct config *config;
    config_emit_fn *emit;
    void *arg;
    bool *seen;
    struct buf value;
};

static void emit_row(struct emitter *e, size_t i, bool alias, const char *name)
{
    bool *seen = &e->seen[i * 2 + alias];

    if (*seen || (config_rows()[i].flags & ROW_UNSHOWN))
        return;
    *seen = true;
    buf_clear(&e->value);
    config_row_get(e->config, &config_rows()[i], &e->value);
    e->emit(e->arg, name, config_text(&e->value));
}

static bool has_glob(struct view v)
{
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] == '*' || v.p[i] == '?' || v.p[i] == '[')
            return true;
    return false;
}

static void emit_exact(struct emitter *e, struct view name)
{
    const struct config_row *row = config_row_find(name);
    char *spelt;

    if (row == NULL)
        return;
    spelt = mem_strndup(name.p, name.n);
    emit_row(e, config_row_index(row), !view_equal_case(name, view_str(row->name)), spelt);
    mem_free(spelt);
}

static void emit_matching(struct emitter *e, struct view pattern)
{
    for (size_t i = 0; i < config_row_count(); i++) {
        const struct config_row *row = &config_rows()[i];

        if (row->flags & ROW_HIDDEN)
            continue;
        if (glob_match(pattern, view_str(row->name), true))
            emit_row(e, i, false, row->name);
        if (row->alias != NULL && glob_match(pattern, view_str(row->alias), true))
            emit_row(e, i, true, row->alias);
    }
}

void config_get(const struct config *c, const struct view *patterns, size_t n, config_emit_fn *emit, void *arg)
{
    struct emitter e = {c, emit, arg, mem_zalloc(config_row_count() * 2 * sizeof(bool)), {0}};

    for (size_t i = 0; i < n; i++) {
        if (has_glob(patterns[i]))
            emit_matching(&e, patterns[i]);
        else
            emit_exact(&e, patterns[i]);
    }
    buf_free(&e.value);
    mem_free(e.seen);
}
