/*
 * Events. The model keeps them in the order of time, and they are shown from the newest on; a page's key is therefore what is
 * left of an event's number to the largest one.
 */
#include <inttypes.h>

#include "api_elasticache.h"
#include "api_handlers.h"
#include "base/num.h"
#include "control/api/call.h"

#define MINUTE_MS INT64_C(60000)
#define DEFAULT_MINUTES 60

/* Which time is asked for. */
static int read_window(struct api_call *c, const struct describe_events_request *in, int64_t *from, int64_t *to)
{
    int64_t length = (in->duration.set ? in->duration.value : DEFAULT_MINUTES) * MINUTE_MS;

    if (in->duration.set && in->start_time.set && in->end_time.set)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                         "Two of StartTime, EndTime and Duration are enough to say which time is meant.");
    if (in->start_time.set) {
        *from = in->start_time.value;
        *to = in->end_time.set ? in->end_time.value : in->duration.set ? *from + length : c->now_ms;
    } else {
        *to = in->end_time.set ? in->end_time.value : c->now_ms;
        *from = *to - length;
    }
    if (in->start_time.set && in->end_time.set && *from > *to)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION, "StartTime must not be after EndTime.");
    return 0;
}

static bool fits(const struct describe_events_request *in, const struct event *e)
{
    return (!in->source_type.p || view_equal(e->source_type, in->source_type)) &&
           (!in->source_identifier.p || view_equal(e->source, in->source_identifier));
}

static struct view page_key(struct api_call *c, const struct event *e)
{
    uint64_t number = 0;

    num_parse_uint(e->id, &number);
    return call_text(c, "%020" PRIu64, UINT64_MAX - number);
}

int elasticache_describe_events(struct api_call *c, const struct describe_events_request *in,
                                struct describe_events_result *out)
{
    struct elasticache_event_list *list = &out->events;
    int64_t from = 0, to = 0;
    struct page page;
    int rc;

    if (!page_begin(&page, c, in->marker, in->max_records))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The marker is not valid.");
    if (in->source_identifier.p && !in->source_type.p)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                         "A SourceIdentifier can only be given together with a SourceType.");
    if ((rc = read_window(c, in, &from, &to)) != 0)
        return rc;
    list->set = true;
    list->items = call_zalloc(c, page.limit * sizeof *list->items);
    for (size_t i = model_count(c->model, MODEL_EVENT); i-- > 0 && !page.more;) {
        const struct event *e = model_event_at(c->model, i);
        if (e->date < from || e->date > to || !fits(in, e) || !page_take(&page, page_key(c, e)))
            continue;
        list->items[list->count++] = (struct elasticache_event){
            .source_identifier = e->source,
            .source_type = e->source_type,
            .message = e->message,
            .date = e->date,
        };
    }
    out->marker = page_marker(&page, c);
    return 0;
}
