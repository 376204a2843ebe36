/*
 * The catalog: see catalog.h. The tables are short (112 node types, 22 versions, 13 families of at most 75 parameters) and
 * asked a few times a call, so they are searched from the front.
 */
#include "control/model/catalog.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/num.h"
#include "control/model/model.h"

#define BUFFER_CLASSES 3
#define BUFFER_PARTS 3
#define NAME_MAX_BYTES 64 /* of a command's new name */

static const struct view engine_names[CATALOG_ENGINES] = {
    [CATALOG_REDIS] = {LIT("redis")},
    [CATALOG_VALKEY] = {LIT("valkey")},
    [CATALOG_MEMCACHED] = {LIT("memcached")},
};

struct view catalog_engine_name(enum catalog_engine engine)
{
    return engine_names[engine];
}

enum catalog_engine catalog_engine(struct view name)
{
    for (unsigned i = 0; i < CATALOG_ENGINES; i++)
        if (view_equal(engine_names[i], name))
            return (enum catalog_engine)i;
    return CATALOG_ENGINES;
}

/* ---- node types ---- */

const struct catalog_node_type *catalog_node_type(struct view name)
{
    for (size_t i = 0; i < catalog_tables.node_type_count; i++)
        if (view_equal(catalog_tables.node_types[i].name, name))
            return &catalog_tables.node_types[i];
    return NULL;
}

const struct catalog_node_type *catalog_node_type_at(size_t i)
{
    return i < catalog_tables.node_type_count ? &catalog_tables.node_types[i] : NULL;
}

/* ---- engine versions ---- */

const struct catalog_version *catalog_engine_version(enum catalog_engine engine, struct view text)
{
    for (size_t i = 0; i < catalog_tables.version_count; i++) {
        const struct catalog_version *v = &catalog_tables.versions[i];
        if (v->engine != engine)
            continue;
        if (text.n == 0 ? v->initial
                        : view_equal(v->name, text) || view_equal(v->full, text) || view_equal(v->also, text))
            return v;
    }
    return NULL;
}

const struct catalog_version *catalog_engine_version_at(size_t i)
{
    return i < catalog_tables.version_count ? &catalog_tables.versions[i] : NULL;
}

bool catalog_version_newer(const struct catalog_version *a, const struct catalog_version *b)
{
    assert(a->engine == b->engine);
    return a > b;
}

/* The number at the front of a text with points, which it is taken off of. */
static unsigned take_number(struct view *v)
{
    unsigned n = 0;

    while (v->n > 0 && *v->p != '.') {
        n = n * 10 + (unsigned)(*v->p - '0');
        *v = view_of(v->p + 1, v->n - 1);
    }
    if (v->n > 0)
        *v = view_of(v->p + 1, v->n - 1);
    return n;
}

static bool version_reaches(struct view version, struct view least)
{
    while (least.n > 0) {
        unsigned have = take_number(&version), want = take_number(&least);
        if (have != want)
            return have > want;
    }
    return true;
}

bool catalog_node_type_runs(const struct catalog_node_type *t, const struct catalog_version *v)
{
    if ((t->engines & 1u << v->engine) == 0)
        return false;
    return v->engine != CATALOG_REDIS || version_reaches(v->full, t->min_redis);
}

bool catalog_node_type_scales(const struct catalog_node_type *from, const struct catalog_node_type *to,
                              const struct catalog_version *v)
{
    return from != to && !to->retired && from->data_tiering == to->data_tiering && catalog_node_type_runs(to, v);
}

/* ---- families ---- */

const struct catalog_family *catalog_family(struct view name)
{
    for (size_t i = 0; i < catalog_tables.family_count; i++)
        if (view_equal(catalog_tables.families[i].name, name))
            return &catalog_tables.families[i];
    return NULL;
}

const struct catalog_family *catalog_family_at(size_t i)
{
    return i < catalog_tables.family_count ? &catalog_tables.families[i] : NULL;
}

const struct catalog_parameter *catalog_parameter(const struct catalog_family *f, struct view name)
{
    for (size_t i = 0; i < f->count; i++)
        if (view_equal(f->parameters[i].name, name))
            return &f->parameters[i];
    return NULL;
}

uint64_t catalog_node_value(const struct catalog_parameter *p, const struct catalog_node_type *t)
{
    switch (p->node_value) {
    case CATALOG_NODE_MAXMEMORY:
        return t->maxmemory;
    case CATALOG_NODE_REPLICA_BUFFER:
        return t->replica_buffer;
    case CATALOG_NODE_MEMCACHED_MEMORY:
        return t->memcached_mb;
    case CATALOG_NODE_MEMCACHED_THREADS:
        return t->memcached_threads;
    case CATALOG_NODE_NONE:
        break;
    }
    assert(!"a parameter that depends on the node");
    return 0;
}

/* ---- allowed values ---- */

/* Takes what stands before the next separator off the text; false when nothing is left. */
static bool take_word(struct view *rest, char separator, struct view *word)
{
    const char *end;

    if (!rest->p)
        return false;
    end = rest->n > 0 ? memchr(rest->p, separator, rest->n) : NULL;
    if (!end) {
        *word = *rest;
        *rest = (struct view){0};
        return true;
    }
    *word = view_of(rest->p, (size_t)(end - rest->p));
    *rest = view_of(end + 1, rest->n - word->n - 1);
    return true;
}

/* Is the number in "a-b", "a-" or "-"? The hyphen of a negative number is not that of a range. */
static bool in_range(struct view range, double v)
{
    const char *hyphen;
    double low, high;
    size_t n;

    if (range.n == 1 && range.p[0] == '-')
        return true;
    hyphen = range.n > 1 ? memchr(range.p + 1, '-', range.n - 1) : NULL;
    if (!hyphen)
        return false;
    n = (size_t)(hyphen - range.p);
    if (!num_parse_double(view_of(range.p, n), &low) || v < low)
        return false;
    return n + 1 == range.n || (num_parse_double(view_of(hyphen + 1, range.n - n - 1), &high) && v <= high);
}

static bool in_list(struct view list, struct view value, bool is_number, double number)
{
    struct view word;

    while (take_word(&list, ',', &word))
        if (view_equal(word, value) || (is_number && in_range(word, number)))
            return true;
    return false;
}

static bool is_new_name(struct view name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= ' ' || name.p[i] > '~')
            return false;
    return name.n > 0 && name.n <= NAME_MAX_BYTES;
}

/* "KEYS hidden FLUSHALL blocked": commands of the list, each once, in any case, and names without spaces. */
static bool renames_allowed(struct view list, struct view value)
{
    struct view rest = value, command, name;

    if (value.n == 0)
        return true;
    while (take_word(&rest, ' ', &command)) {
        struct view earlier = view_of(value.p, (size_t)(command.p - value.p)), known, other = list;
        bool found = false;
        if (!take_word(&rest, ' ', &name) || !is_new_name(name))
            return false;
        while (!found && take_word(&other, ',', &known))
            found = view_equal_case(known, command);
        while (found && earlier.n > 0 && take_word(&earlier, ' ', &known)) {
            found = !view_equal_case(known, command);
            take_word(&earlier, ' ', &known);
        }
        if (!found)
            return false;
    }
    return true;
}

static bool letters_allowed(struct view value)
{
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] == '\0' || !strchr("KEg$lshzxetdmnA", value.p[i]))
            return false;
    return value.n <= 64;
}

/* Digits and points; whether they are a number is not looked at. */
static bool is_decimal(struct view value)
{
    for (size_t i = 0; i < value.n; i++)
        if ((value.p[i] < '0' || value.p[i] > '9') && value.p[i] != '.')
            return false;
    return value.n <= 32;
}

bool catalog_allows(const struct catalog_parameter *p, struct view value)
{
    bool is_string = view_is(p->type, "string"), is_float = view_is(p->type, "float");
    int64_t integer = 0;
    double number = 0;

    if (value.n > CATALOG_VALUE_MAX)
        return false;
    if (p->form == CATALOG_RENAMES)
        return renames_allowed(p->allowed, value);
    if (p->form == CATALOG_EVENT_LETTERS)
        return letters_allowed(value);
    if (is_float) {
        if (!is_decimal(value) || !num_parse_double(value, &number))
            return false;
    } else if (!is_string) {
        if (!num_parse_int(value, &integer))
            return false;
        number = (double)integer;
    }
    if (!p->allowed.p)
        return is_string || number >= 0;
    return in_list(p->allowed, value, !is_string, number);
}

/* ---- groups ---- */

static void default_group(const struct catalog_family *f, bool cluster_on, struct catalog_group *out)
{
    *out = (struct catalog_group){
        .name = cluster_on ? f->cluster_group : f->default_group,
        .family = f,
        .cluster_on = cluster_on,
        .version = 1,
    };
}

bool catalog_default_group_at(size_t i, struct catalog_group *out)
{
    for (size_t k = 0; k < catalog_tables.family_count; k++) {
        const struct catalog_family *f = &catalog_tables.families[k];
        if (i < (f->cluster_group.p ? 2u : 1u)) {
            default_group(f, i == 1, out);
            return true;
        }
        i -= f->cluster_group.p ? 2 : 1;
    }
    return false;
}

bool catalog_group(const struct model *m, struct view name, struct catalog_group *out)
{
    const struct parameter_group *stored = model_parameter_group(m, name);
    const struct catalog_family *f = stored ? catalog_family(stored->family) : NULL;

    if (stored) {
        *out = (struct catalog_group){.name = stored->name, .family = f, .stored = stored, .version = stored->version};
        return f != NULL;
    }
    for (size_t i = 0; catalog_default_group_at(i, out); i++)
        if (view_equal(out->name, name))
            return true;
    return false;
}

struct view catalog_group_value(const struct catalog_group *g, const struct catalog_parameter *p, bool *user)
{
    const struct parameter_value_list *values = g->stored ? &g->stored->values : NULL;

    for (size_t i = 0; values && i < values->count; i++)
        if (view_equal(values->items[i].name, p->name)) {
            if (user)
                *user = true;
            return values->items[i].value;
        }
    if (user)
        *user = false;
    return g->cluster_on && view_is(p->name, "cluster-enabled") ? VIEW("yes") : p->value;
}

bool catalog_group_cluster_mode(const struct catalog_group *g)
{
    const struct catalog_parameter *p = catalog_parameter(g->family, VIEW("cluster-enabled"));

    return p && view_is(catalog_group_value(g, p, NULL), "yes");
}

/* The value of a number, 0 when the family does not have it. */
static uint64_t group_number(const struct catalog_group *g, struct view name)
{
    const struct catalog_parameter *p = catalog_parameter(g->family, name);
    uint64_t n;

    return p && num_parse_uint(catalog_group_value(g, p, NULL), &n) ? n : 0;
}

/* Families that have both reserves keep the larger one. */
uint64_t catalog_group_maxmemory(const struct catalog_group *g, const struct catalog_node_type *t)
{
    uint64_t all = t->maxmemory, percent = group_number(g, VIEW("reserved-memory-percent"));
    uint64_t bytes = group_number(g, VIEW("reserved-memory"));
    uint64_t rest = percent < 100 ? all / 100 * (100 - percent) + all % 100 * (100 - percent) / 100 : 0;

    if (bytes < all && all - bytes < rest)
        rest = all - bytes;
    else if (bytes >= all)
        rest = 0;
    return rest > 0 ? rest : 1; /* 0 would be no limit at all */
}

/* ---- directives ---- */

struct emitter {
    const struct catalog_group *group;
    const struct catalog_node_type *type;
    catalog_emit *emit;
    void *arg;
    uint64_t buffers[BUFFER_CLASSES * BUFFER_PARTS];
};

static void emit_number(const struct emitter *e, const struct catalog_parameter *p, uint64_t n)
{
    char digits[NUM_INT_MAX];

    e->emit(e->arg, p->directive, view_of(digits, num_format_uint(digits, n)), p->reboot);
}

static void emit_parameter(struct emitter *e, const struct catalog_parameter *p)
{
    struct view value = {0};
    uint64_t n = 0;
    bool cut = false;

    if (p->node_value != CATALOG_NODE_NONE) {
        n = catalog_node_value(p, e->type);
    } else {
        value = catalog_group_value(e->group, p, NULL);
        num_parse_uint(value, &n);
        cut = p->most > 0 && n > p->most;
        n = cut ? p->most : n;
    }
    if (p->buffer_slot > 0)
        e->buffers[p->buffer_slot - 1] = n;
    else if (p->node_value == CATALOG_NODE_MAXMEMORY)
        emit_number(e, p, catalog_group_maxmemory(e->group, e->type));
    else if (view_is(p->name, "maxclients"))
        emit_number(e, p, n < e->type->maxclients ? n : e->type->maxclients);
    else if (cut)
        emit_number(e, p, n);
    else if (p->directive.p)
        e->emit(e->arg, p->directive, value.p ? value : VIEW(""), p->reboot);
}

void catalog_directives(const struct catalog_group *g, const struct catalog_node_type *t, catalog_emit *emit, void *arg)
{
    static const char *const classes[BUFFER_CLASSES] = {"normal", "replica", "pubsub"};
    struct emitter e = {.group = g, .type = t, .emit = emit, .arg = arg};
    struct buf text = {0};

    if (g->family->engine == CATALOG_MEMCACHED)
        return;
    for (size_t i = 0; i < g->family->count; i++)
        emit_parameter(&e, &g->family->parameters[i]);
    for (unsigned i = 0; i < BUFFER_CLASSES; i++) {
        const uint64_t *n = &e.buffers[i * BUFFER_PARTS];
        buf_printf(&text, "%s%s %" PRIu64 " %" PRIu64 " %" PRIu64, i > 0 ? " " : "", classes[i], n[0], n[1], n[2]);
    }
    emit(arg, VIEW("client-output-buffer-limit"), buf_view(&text), false);
    buf_free(&text);
}
