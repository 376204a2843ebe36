/*
 * Filters of EC2's Describe actions. What can be filtered is data: each action has a table of its filters' names, each
 * with the place of the value in the answer's structure, or with a function that offers the values it has.
 *
 * A thing passes when it has, for each filter, a value that fits one of the filter's patterns. In a pattern * stands
 * for any characters, ? for one or none, and a backslash takes the next character as it is.
 */
#ifndef CONTROL_API_EC2_FILTER_H
#define CONTROL_API_EC2_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api_ec2.h"
#include "base/view.h"

struct api_call;

/* One filter that is tried on one thing. */
struct ec2_filter_try {
    struct api_call *call;
    const struct string_list *patterns;
    bool fits;
};

/* Say that the thing has this value. */
void ec2_filter_offer(struct ec2_filter_try *t, struct view value);
void ec2_filter_offer_flag(struct ec2_filter_try *t, bool value);
void ec2_filter_offer_integer(struct ec2_filter_try *t, int64_t value);

struct ec2_filter_field {
    const char *name;
    enum { EC2_FILTER_KIND_NONE, EC2_FILTER_KIND_TEXT, EC2_FILTER_KIND_FLAG, EC2_FILTER_KIND_CALL } kind;
    size_t place; /* in the thing, of a struct view or a bool */
    void (*offer)(struct ec2_filter_try *t, const void *thing);
};

/* Rows: a text, a flag, values that a function offers, and what AWS knows but nothing here ever has. */
#define EC2_FILTER_TEXT(name, type, member)                                                                            \
    {                                                                                                                  \
        name, EC2_FILTER_KIND_TEXT, offsetof(type, member), NULL                                                       \
    }
#define EC2_FILTER_FLAG(name, type, member)                                                                            \
    {                                                                                                                  \
        name, EC2_FILTER_KIND_FLAG, offsetof(type, member), NULL                                                       \
    }
#define EC2_FILTER_CALL(name, function)                                                                                \
    {                                                                                                                  \
        name, EC2_FILTER_KIND_CALL, 0, function                                                                        \
    }
#define EC2_FILTER_NONE(name)                                                                                          \
    {                                                                                                                  \
        name, EC2_FILTER_KIND_NONE, 0, NULL                                                                            \
    }

struct ec2_filter_table {
    const struct ec2_filter_field *fields;
    size_t count;
    bool tagged; /* tag:KEY and tag-key are filters too */
    size_t tags; /* where in the thing its struct ec2_tag_list is */
};

#define EC2_FILTER_VALUES_MAX 200 /* of all filters of a request */

/* Are these filters that the action has? Returns 0 or the error. */
int ec2_filter_check(struct api_call *c, const struct ec2_filter_table *table, const struct ec2_filter_list *filters);

/* Does the thing pass? They have been checked. */
bool ec2_filter_passes(struct api_call *c, const struct ec2_filter_table *table, const struct ec2_filter_list *filters,
                       const void *thing);

#endif
