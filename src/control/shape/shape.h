/*
 * Shapes: descriptions of C structures. One description serves to read a request into a structure (query.h), to write a
 * structure as XML (xml.h) or JSON (json.h), to copy and to compare. The structures and their descriptions are
 * generated from spec/ by tools/gen_api.py; the format is explained in spec/api/README.md.
 *
 * How members look in C:
 *     a string         struct view, p == NULL when it is absent
 *     another scalar   its value when it is always there (required, or with a default), else a struct maybe_...
 *     a structure      a pointer, NULL when it is absent
 *     a list           {set, count, items}; set tells a list that is empty from one that is absent
 * Whatever they refer to lives in an arena of whoever made the structure. All zero is a structure without anything.
 *
 * Rejected: a tree of generic nodes (handlers would look members up by name, and a wrong name would show at run time);
 * generated code for each reading and writing (a description is a tenth of it, and one reader can be fuzzed).
 */
#ifndef CONTROL_SHAPE_SHAPE_H
#define CONTROL_SHAPE_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

struct arena;

/* Scalars that may be absent. */
struct maybe_integer {
    bool set;
    int64_t value;
};

struct maybe_boolean {
    bool set;
    bool value;
};

struct maybe_double {
    bool set;
    double value;
};

struct maybe_time {
    bool set;
    int64_t value; /* milliseconds since 1970-01-01 UTC */
};

/* Lists of scalars. Those of structures are generated and look the same. */
struct string_list {
    bool set;
    size_t count;
    struct view *items;
};

struct integer_list {
    bool set;
    size_t count;
    int64_t *items;
};

enum shape_type {
    SHAPE_STRING,
    SHAPE_INTEGER,
    SHAPE_BOOLEAN,
    SHAPE_DOUBLE,
    SHAPE_TIME,
    SHAPE_STRUCT,
    SHAPE_REFUSED, /* a parameter that is known and not supported: no place in the structure */
};

/* What a string must look like (rule.h). */
enum shape_form {
    SHAPE_FORM_NONE,
    SHAPE_FORM_IDENTIFIER,
    SHAPE_FORM_REFERENCE,
    SHAPE_FORM_MAINTENANCE_WINDOW,
    SHAPE_FORM_SNAPSHOT_WINDOW,
    SHAPE_FORM_CIDR,
    SHAPE_FORM_ARN,
    SHAPE_FORM_TAG_KEY,
    SHAPE_FORM_TAG_VALUE,
    SHAPE_FORM_DIGITS,
    SHAPE_FORM_TOKEN,
};

/* What a member's value, or each value of a list, must satisfy. */
struct shape_rule {
    enum shape_form form;
    bool bounded;     /* min and max hold: of a number, or of a string's length in characters */
    bool sensitive;   /* never shown */
    bool initial;     /* there is a default: the member's type tells which of the three */
    size_t min_items; /* 0: none */
    size_t max_items; /* 0: SHAPE_ITEMS_MAX */
    int64_t min, max;
    const struct view *words; /* the possible values; of what is refused, those that do no harm */
    size_t word_count;
    struct view initial_text;
    int64_t initial_integer;
    double initial_double;
};

#define SHAPE_ITEMS_MAX 1000

struct shape_member {
    struct view name;  /* as the API spells it; in JSON */
    struct view query; /* in requests */
    const char *xml;   /* element in answers */
    struct view item;  /* of a list: the element of each item, in requests and answers */
    uint32_t offset;
    enum shape_type type; /* of a list: of its items */
    bool list;
    bool required;
    bool optional;             /* a struct maybe_... */
    const struct shape *shape; /* SHAPE_STRUCT */
    const struct shape_rule *rule;
};

struct shape {
    const char *name;
    size_t size;
    const struct shape_member *members;
    size_t count;
};

/* The size of one item of a list of that member. */
size_t shape_item_size(const struct shape_member *m);

/* A zeroed structure, or count of them, in the arena. */
void *shape_new(const struct shape *shape, struct arena *a, size_t count);

/* Writes the defaults of members that have one into a zeroed structure. */
void shape_set_defaults(const struct shape *shape, void *value);

/* Copies *from to *to with everything that it refers to, into the arena. */
void shape_copy(const struct shape *shape, const void *from, void *to, struct arena *a);

/* Do both hold the same? An absent list is not the same as an empty one. */
bool shape_equal(const struct shape *shape, const void *a, const void *b);

/* What the readers and writers of structures use. Pointers go through memcpy: a pointer member's type is not known
 * here, and reading it through another type would be undefined. */
static inline const void *shape_at(const struct shape_member *m, const void *value)
{
    return (const char *)value + m->offset;
}

static inline void *shape_place(const struct shape_member *m, void *value)
{
    return (char *)value + m->offset;
}

static inline void *shape_load_pointer(const void *at)
{
    void *p;
    memcpy(&p, at, sizeof p);
    return p;
}

static inline void shape_store_pointer(void *at, void *p)
{
    memcpy(at, &p, sizeof p);
}

/* A list of anything, as it is stored. */
struct shape_list {
    bool set;
    size_t count;
    void *items;
};

static inline struct shape_list shape_load_list(const void *at)
{
    struct shape_list l;
    memcpy(&l, at, sizeof l);
    return l;
}

static inline void shape_store_list(void *at, struct shape_list l)
{
    memcpy(at, &l, sizeof l);
}

/* Is the scalar at `at` (optional or plain) there? If so *value points to it: a struct view, int64_t, bool or
 * double. */
bool shape_scalar(const struct shape_member *m, const void *at, const void **value);

/* The same for writing: marks an optional scalar as there. */
void *shape_scalar_place(const struct shape_member *m, void *at);

#endif
