/*
 * A descent along the description. The parameters are sorted, so that those below one name are one range of them: a
 * structure splits its range by the next component of the names, and hands each part to the member of that name. Depth
 * is that of the description, work is the number of parameters times the members of a structure.
 */
#include "control/shape/query.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/num.h"
#include "control/shape/form.h"
#include "control/shape/rule.h"
#include "control/shape/shape.h"
#include "control/shape/text.h"
#include "control/shape/timestamp.h"

#define SHOWN_MAX 100 /* bytes of a name or a value in a message */
#define INDEX_DIGITS 9

struct reader {
    enum service_protocol protocol;
    struct arena *arena;
    struct query_problem *problem;
};

/* Parameters [first, end), whose names share their first `prefix` bytes. */
struct range {
    const struct form_param *first, *end;
    size_t prefix;
};

/* One item of a list. */
struct entry {
    int64_t index;
    struct range range; /* the prefix ends behind the index */
};

/* ---- messages ---------------------------------------------------------------------------------------------------- */

struct shown {
    char text[SHOWN_MAX + 4];
};

/* A name: printable ASCII, cut when it is long. */
static struct shown show_name(struct view name)
{
    struct shown s;
    size_t n = name.n < SHOWN_MAX ? name.n : SHOWN_MAX;

    for (size_t i = 0; i < n; i++)
        s.text[i] = name.p[i] > ' ' && name.p[i] <= '~' ? name.p[i] : '?';
    snprintf(s.text + n, sizeof s.text - n, "%s", name.n > n ? "..." : "");
    return s;
}

/* A value, which is clean text. */
static struct shown show_value(struct view value)
{
    struct shown s;
    size_t n = text_fit(value, SHOWN_MAX);

    if (n > 0)
        memcpy(s.text, value.p, n);
    snprintf(s.text + n, sizeof s.text - n, "%s", value.n > n ? "..." : "");
    return s;
}

static int fail(const struct reader *r, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int fail(const struct reader *r, int error, const char *format, ...)
{
    va_list ap;

    r->problem->error = error;
    va_start(ap, format);
    vsnprintf(r->problem->message, sizeof r->problem->message, format, ap);
    va_end(ap);
    return -1;
}

/* `owner` is the name of the structure that lacks the member, empty for the request itself. */
static int fail_missing(const struct reader *r, struct view owner, struct view member)
{
    struct shown s;
    char name[FORM_NAME_MAX + SHOWN_MAX];
    size_t n = owner.n < FORM_NAME_MAX ? owner.n : FORM_NAME_MAX;

    memcpy(name, owner.p, n);
    n += (size_t)snprintf(name + n, sizeof name - n, "%s%.*s", n > 0 ? "." : "", (int)member.n, member.p);
    s = show_name(view_of(name, n < sizeof name ? n : sizeof name - 1));
    if (r->protocol == SERVICE_EC2)
        return fail(r, SERVICE_MISSING_PARAMETER, "The request must contain the parameter %s.", s.text);
    return fail(r, SERVICE_MISSING_PARAMETER, "The parameter %s must be provided and must not be null.", s.text);
}

static int fail_unknown(const struct reader *r, struct view name)
{
    return fail(r, SERVICE_UNKNOWN_PARAMETER, "The parameter %s is not recognized.", show_name(name).text);
}

/* why: "must be ..." or "is not ...". value.p == NULL: it is not to be shown. */
static int fail_invalid(const struct reader *r, struct view name, struct view value, const char *why)
{
    struct shown n = show_name(name), v = show_value(value.p != NULL ? value : VIEW(""));

    if (r->protocol == SERVICE_EC2) {
        if (value.p == NULL)
            return fail(r, SERVICE_INVALID_PARAMETER_VALUE, "The value for parameter %s is invalid. It %s.", n.text,
                        why);
        return fail(r, SERVICE_INVALID_PARAMETER_VALUE, "Value (%s) for parameter %s is invalid. It %s.", v.text,
                    n.text, why);
    }
    if (value.p == NULL)
        return fail(r, SERVICE_INVALID_PARAMETER_VALUE, "The parameter %s %s.", n.text, why);
    return fail(r, SERVICE_INVALID_PARAMETER_VALUE, "The parameter %s %s. The value is '%s'.", n.text, why, v.text);
}

static int fail_refused(const struct reader *r, const struct shape_member *m, struct view name, struct view value)
{
    char accepted[RULE_WHY_MAX] = "";
    size_t n = 0;

    for (size_t i = 0; m->rule != NULL && i < m->rule->word_count && n < sizeof accepted; i++)
        n += (size_t)snprintf(accepted + n, sizeof accepted - n, "%s%.*s",
                              i > 0 ? ", " : " Possible is: ", (int)m->rule->words[i].n, m->rule->words[i].p);
    /* Where no value is possible it may be a secret. */
    if (n == 0 || !text_is_clean(value))
        return fail(r, SERVICE_UNSUPPORTED, "The parameter %s is not supported.%s", show_name(name).text, accepted);
    return fail(r, SERVICE_UNSUPPORTED, "The value '%s' of the parameter %s is not supported.%s",
                show_value(value).text, show_name(name).text, accepted);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* The component of a name behind its first `prefix` bytes. */
static struct view component(struct view name, size_t prefix)
{
    struct view rest = view_of(name.p + prefix, name.n - prefix);
    const char *dot = memchr(rest.p, '.', rest.n);

    if (dot != NULL)
        rest.n = (size_t)(dot - rest.p);
    return rest;
}

/* Cuts off the front of *rest the parameters that have the same next component, which goes to *name; the part's
 * prefix ends with that component. False when nothing is left. */
static bool next_part(struct range *rest, struct range *part, struct view *name)
{
    const struct form_param *p = rest->first;

    if (p == rest->end)
        return false;
    *name = component(p->name, rest->prefix);
    while (p != rest->end && view_equal(component(p->name, rest->prefix), *name))
        p++;
    *part = (struct range){rest->first, p, rest->prefix + name->n};
    rest->first = p;
    return true;
}

/* Is the first of them the name itself, with nothing behind it? */
static bool is_bare(struct range part)
{
    return part.first->name.n == part.prefix;
}

/* What stands below the name: the bare parameter left out, the prefix with the dot. */
static struct range below(struct range part)
{
    if (is_bare(part))
        part.first++;
    part.prefix++;
    return part;
}

/* A parameter that says how the request is to be read, or belongs to its signature. */
static bool is_of_protocol(struct view name)
{
    static const struct view names[] = {
        {LIT("Action")},          {LIT("Version")},          {LIT("AWSAccessKeyId")}, {LIT("Signature")},
        {LIT("SignatureMethod")}, {LIT("SignatureVersion")}, {LIT("Timestamp")},      {LIT("SecurityToken")},
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (view_equal(names[i], name))
            return true;
    return name.n > 6 && view_equal_case(view_of(name.p, 6), VIEW("X-Amz-"));
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static int parse_shape(const struct reader *r, const struct shape *shape, struct range range, void *out);

static int parse_integer(const struct reader *r, const struct shape_member *m, const struct form_param *p, int64_t *out)
{
    char why[RULE_WHY_MAX];

    if (!num_parse_int(p->value, out) ||
        ((m->rule == NULL || !m->rule->bounded) && (*out < INT32_MIN || *out > INT32_MAX)))
        return fail_invalid(r, p->name, p->value, "must be an integer");
    return rule_check_integer(m->rule, *out, why) ? 0 : fail_invalid(r, p->name, p->value, why);
}

static int parse_string(const struct reader *r, const struct shape_member *m, const struct form_param *p,
                        struct view *out)
{
    char why[RULE_WHY_MAX];

    *out = p->value;
    if (rule_check_text(m->rule, out, r->arena, why))
        return 0;
    return fail_invalid(r, p->name, m->rule->sensitive ? view_of(NULL, 0) : p->value, why);
}

static int parse_boolean(const struct reader *r, const struct form_param *p, bool *out)
{
    *out = view_is(p->value, "true");
    return *out || view_is(p->value, "false") ? 0 : fail_invalid(r, p->name, p->value, "must be true or false");
}

/* One value, at a place for a struct view, int64_t, bool or double. */
static int parse_scalar(const struct reader *r, const struct shape_member *m, struct range part, void *out)
{
    const struct form_param *p = part.first;

    if (!is_bare(part))
        return fail_unknown(r, p->name);
    if (part.end - p > 1)
        return fail_unknown(r, p[1].name);
    if (!text_is_clean(p->value))
        return fail_invalid(r, p->name, view_of(NULL, 0), "must be UTF-8 text without control characters");
    switch (m->type) {
    case SHAPE_STRING:
        return parse_string(r, m, p, out);
    case SHAPE_BOOLEAN:
        return parse_boolean(r, p, out);
    case SHAPE_DOUBLE:
        return num_parse_double(p->value, out) ? 0 : fail_invalid(r, p->name, p->value, "must be a number");
    case SHAPE_TIME:
        return timestamp_parse(p->value, out) ? 0
                                              : fail_invalid(r, p->name, p->value, "must be a time as ISO 8601 has it");
    default:
        return parse_integer(r, m, p, out);
    }
}

static int parse_struct(const struct reader *r, const struct shape_member *m, struct range part, void *out)
{
    if (is_bare(part) && part.first->value.n > 0)
        return fail_unknown(r, part.first->name);
    return parse_shape(r, m->shape, below(part), out);
}

/* An index: digits, without a leading zero. */
static bool parse_index(struct view v, int64_t *out)
{
    return v.n <= INDEX_DIGITS && num_parse_int(v, out) && *out > 0;
}

static int compare_entries(const void *a, const void *b)
{
    int64_t x = ((const struct entry *)a)->index, y = ((const struct entry *)b)->index;
    return (x > y) - (x < y);
}

/* Adds the items that stand directly in the range, which is behind the list's name or that of its items. */
static int collect(const struct reader *r, const struct shape_member *m, struct range rest, bool inner,
                   struct entry *entries, size_t *count)
{
    struct range part;
    struct view name;

    while (next_part(&rest, &part, &name)) {
        int64_t index;

        if (parse_index(name, &index)) {
            entries[(*count)++] = (struct entry){index, part};
        } else if (!inner && !is_bare(part) && (view_equal(name, m->item) || view_equal(name, VIEW("member")))) {
            if (collect(r, m, below(part), true, entries, count) != 0)
                return -1;
        } else {
            return fail_unknown(r, part.first->name);
        }
    }
    return 0;
}

static int check_count(const struct reader *r, const struct shape_member *m, struct view name, size_t count)
{
    size_t max = m->rule != NULL && m->rule->max_items > 0 ? m->rule->max_items : SHAPE_ITEMS_MAX;
    size_t min = m->rule != NULL ? m->rule->min_items : 0;
    char why[RULE_WHY_MAX];

    if (count >= min && count <= max)
        return 0;
    snprintf(why, sizeof why, "must have at %s %zu %s", count > max ? "most" : "least", count > max ? max : min,
             (count > max ? max : min) == 1 ? "item" : "items");
    return fail_invalid(r, name, view_of(NULL, 0), why);
}

static int parse_list(const struct reader *r, const struct shape_member *m, struct range part, void *at)
{
    struct view name = view_of(part.first->name.p, part.prefix);
    struct range items = below(part);
    struct entry *entries = arena_alloc(r->arena, (size_t)(items.end - items.first) * sizeof *entries);
    struct shape_list list = {.set = true};
    size_t size = shape_item_size(m);

    if (is_bare(part) && part.first->value.n > 0)
        return fail_unknown(r, part.first->name);
    if (collect(r, m, items, false, entries, &list.count) != 0 || check_count(r, m, name, list.count) != 0)
        return -1;
    if (list.count > 0) {
        qsort(entries, list.count, sizeof *entries, compare_entries);
        list.items = arena_alloc(r->arena, list.count * size);
        memset(list.items, 0, list.count * size);
    }
    for (size_t i = 0; i < list.count; i++) {
        void *item = (char *)list.items + i * size;
        int rc;

        if (i > 0 && entries[i].index == entries[i - 1].index)
            return fail_invalid(r, entries[i].range.first->name, view_of(NULL, 0), "is there twice");
        rc = m->type == SHAPE_STRUCT ? parse_struct(r, m, entries[i].range, item)
                                     : parse_scalar(r, m, entries[i].range, item);
        if (rc != 0)
            return rc;
    }
    shape_store_list(at, list);
    return 0;
}

/* What is not supported passes when it says nothing: empty, or one of the values that do no harm. Those below it
 * too. */
static int parse_refused(const struct reader *r, const struct shape_member *m, struct range part)
{
    for (const struct form_param *p = part.first; p != part.end; p++) {
        bool empty = p->name.n == part.prefix && p->value.n == 0;

        if (!empty && !rule_harmless(m->rule, p->value))
            return fail_refused(r, m, p->name, p->value);
    }
    return 0;
}

static int parse_member(const struct reader *r, const struct shape_member *m, struct range part, void *out)
{
    void *at;

    if (m->type == SHAPE_REFUSED)
        return parse_refused(r, m, part);
    at = shape_place(m, out);
    if (m->list)
        return parse_list(r, m, part, at);
    if (m->type == SHAPE_STRUCT) {
        void *inner = shape_new(m->shape, r->arena, 1);

        shape_store_pointer(at, inner);
        return parse_struct(r, m, part, inner);
    }
    return parse_scalar(r, m, part, shape_scalar_place(m, at));
}

static const struct shape_member *find_member(const struct shape *shape, struct view name)
{
    for (size_t i = 0; i < shape->count; i++)
        if (view_equal(shape->members[i].query, name))
            return &shape->members[i];
    return NULL;
}

/* The name of the structure whose members the range has. If there are none it is that of the bare parameter before
 * them, which below() left out. */
static struct view owner_of(struct range range)
{
    if (range.prefix == 0)
        return VIEW("");
    return view_of(range.first[range.first == range.end ? -1 : 0].name.p, range.prefix - 1);
}

/* *out is zeroed. */
static int parse_shape(const struct reader *r, const struct shape *shape, struct range range, void *out)
{
    struct range *parts = arena_alloc(r->arena, shape->count * sizeof *parts), part, rest = range;
    struct view name;

    memset(parts, 0, shape->count * sizeof *parts);
    while (next_part(&rest, &part, &name)) {
        const struct shape_member *m = find_member(shape, name);

        if (m != NULL)
            parts[m - shape->members] = part;
        else if (range.prefix > 0 || !is_of_protocol(name))
            return fail_unknown(r, part.first->name);
    }
    shape_set_defaults(shape, out);
    for (size_t i = 0; i < shape->count; i++) {
        const struct shape_member *m = &shape->members[i];

        if (parts[i].first != NULL) {
            if (parse_member(r, m, parts[i], out) != 0)
                return -1;
        } else if (m->required) {
            return fail_missing(r, owner_of(range), m->query);
        }
    }
    return 0;
}

int query_parse(const struct service *service, const struct shape *shape, const struct form *form, struct arena *a,
                void *out, struct query_problem *problem)
{
    struct reader r = {service->protocol, a, problem};
    struct range all = {form->params, form->count > 0 ? form->params + form->count : form->params, 0};

    memset(out, 0, shape->size);
    return parse_shape(&r, shape, all, out);
}
