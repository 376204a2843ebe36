/*
 * What all Describe actions of EC2 do: only the ids that were asked for, each of which must exist; only what the
 * filters let pass; a page of it.
 *
 *     begin; for each thing in the order of ids: if (take) append it; end
 */
#ifndef CONTROL_API_EC2_LISTING_H
#define CONTROL_API_EC2_LISTING_H

#include "control/api/call.h"
#include "control/api/ec2_filter.h"
#include "control/api/ec2_id.h"

struct ec2_listing {
    struct api_call *call;
    enum ec2_id_kind kind;
    const struct string_list *ids; /* NULL: the action has none */
    bool *seen;                    /* which of them exist */
    const struct ec2_filter_table *table;
    const struct ec2_filter_list *filters;
    struct page page;
};

#define EC2_LISTING_MAX 1000 /* on a page, when nobody asks for less */

/* Begins with what the caller sent. Returns 0 or an error. */
int ec2_listing_begin(struct ec2_listing *l, struct api_call *c, enum ec2_id_kind kind, const struct string_list *ids,
                      const struct ec2_filter_table *table, const struct ec2_filter_list *filters, struct view token,
                      const struct maybe_integer *max_results);

/* Does it belong onto the page? `thing` is what the table's places are in. */
bool ec2_listing_take(struct ec2_listing *l, struct view id, const void *thing);

/* Returns 0 and where the next page begins, or the error that an id is of nothing. token may be NULL. */
int ec2_listing_end(struct ec2_listing *l, struct view *token);

#endif
