/* Lookups in the generated tables. */
#include "control/shape/service.h"

#include <assert.h>
#include <string.h>

static int compare(struct view a, struct view b)
{
    int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

const struct service_action *service_find_action(const struct service *s, struct view name)
{
    size_t low = 0, high = s->action_count;

    while (low < high && name.n > 0) {
        size_t middle = low + (high - low) / 2;
        int order = compare(name, s->actions[middle].name);

        if (order == 0)
            return &s->actions[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct service_error_code *service_error(const struct service *s, int error)
{
    assert(error > SERVICE_OK && (size_t)error < s->error_count && s->errors[error].code != NULL);
    return &s->errors[error];
}
