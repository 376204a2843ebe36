/* Listings: see ec2_listing.h. */
#include "control/api/ec2_listing.h"

int ec2_listing_begin(struct ec2_listing *l, struct api_call *c, enum ec2_id_kind kind, const struct string_list *ids,
                      const struct ec2_filter_table *table, const struct ec2_filter_list *filters, struct view token,
                      const struct maybe_integer *max_results)
{
    int error;

    *l = (struct ec2_listing){.call = c, .kind = kind, .ids = ids, .table = table, .filters = filters};
    for (size_t i = 0; ids && i < ids->count; i++)
        if ((error = ec2_id_check(c, kind, ids->items[i])) != 0)
            return error;
    if (ids && ids->count > 0) {
        l->seen = call_zalloc(c, ids->count * sizeof *l->seen);
        if (max_results && max_results->set)
            return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                             "The parameter maxResults cannot be used together with a list of ids");
    }
    if ((error = ec2_filter_check(c, table, filters)) != 0)
        return error;
    if (!page_begin(&l->page, c, token, max_results && max_results->set ? max_results->value : EC2_LISTING_MAX))
        return call_fail(c, EC2_INVALID_NEXT_TOKEN, "The specified NextToken is not valid.");
    return 0;
}

static bool is_wanted(struct ec2_listing *l, struct view id)
{
    bool wanted = false;

    if (!l->ids || l->ids->count == 0)
        return true;
    for (size_t i = 0; i < l->ids->count; i++)
        if (view_equal(l->ids->items[i], id))
            wanted = l->seen[i] = true;
    return wanted;
}

bool ec2_listing_take(struct ec2_listing *l, struct view id, const void *thing)
{
    return is_wanted(l, id) && ec2_filter_passes(l->call, l->table, l->filters, thing) && page_take(&l->page, id);
}

int ec2_listing_end(struct ec2_listing *l, struct view *token)
{
    for (size_t i = 0; l->ids && i < l->ids->count; i++)
        if (!l->seen[i])
            return ec2_id_fail(l->call, l->kind, l->ids->items[i]);
    if (token)
        *token = page_marker(&l->page, l->call);
    return 0;
}
