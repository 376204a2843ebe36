/* Events: see events.h. */
#include "control/model/events.h"

#include <inttypes.h>
#include <stdio.h>

#include "control/model/model.h"

#define TAKEN_AT_ONCE 16 /* old ones, for each that comes */

static void drop_old(struct txn *t, struct model *m, int64_t now_ms)
{
    for (unsigned i = 0; i < TAKEN_AT_ONCE && model_count(m, MODEL_EVENT) > 0; i++) {
        const struct event *oldest = model_event_at(m, 0);
        if (oldest->date >= now_ms - EVENTS_KEPT_MS && model_count(m, MODEL_EVENT) <= EVENTS_MAX)
            return;
        txn_remove(t, MODEL_EVENT, oldest->id);
    }
}

void events_add(struct txn *t, struct model *m, const char *source_type, struct view source, struct view message,
                int64_t now_ms)
{
    const struct account *known = model_account_at(m, 0);
    struct account *account = txn_edit_account(t, known->id);
    struct event *e;
    char id[24];

    snprintf(id, sizeof id, "%020" PRId64, account->next_event++);
    e = txn_add_event(t, view_str(id));
    e->id = txn_text(t, e, view_str(id));
    e->source = txn_text(t, e, source);
    e->source_type = txn_text(t, e, view_str(source_type));
    e->message = txn_text(t, e, message);
    e->date = now_ms;
    drop_old(t, m, now_ms);
}
