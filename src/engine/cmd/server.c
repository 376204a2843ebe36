/* TIME, ROLE, SHUTDOWN. */
#include "engine/server/server.h"

#include "base/clock.h"
#include "engine/cmd/call.h"
#include "handlers.h"

void cmd_time(struct call *c)
{
    int64_t now = clock_wall_us();

    reply_array(c->reply, 2);
    reply_bulk_integer(c->reply, now / 1000000);
    reply_bulk_integer(c->reply, now % 1000000);
}

/* The end begins at once and cannot be stopped, so there is nothing to abort. There is nothing to save to either: who
 * asks for a save keeps the server, unless the end is forced. */
void cmd_shutdown(struct call *c)
{
    enum { NOSAVE = 1, SAVE = 2, NOW = 4, FORCE = 8, ABORT = 16 };
    unsigned options = 0;

    for (int i = 1; i < c->argc; i++) {
        unsigned option = call_arg_is(c, i, "NOSAVE")  ? NOSAVE
                          : call_arg_is(c, i, "SAVE")  ? SAVE
                          : call_arg_is(c, i, "NOW")   ? NOW
                          : call_arg_is(c, i, "FORCE") ? FORCE
                          : call_arg_is(c, i, "ABORT") ? ABORT
                                                       : 0;
        if (option == 0) {
            reply_error(c->reply, ERROR_SYNTAX);
            return;
        }
        options |= option;
    }
    if (((options & ABORT) && options != ABORT) || ((options & NOSAVE) && (options & SAVE))) {
        reply_error(c->reply, ERROR_SYNTAX);
        return;
    }
    if (options & ABORT) {
        reply_error(c->reply, ERROR_NO_SHUTDOWN);
        return;
    }
    if ((options & SAVE) && !(options & FORCE)) {
        reply_error(c->reply, ERROR_SHUTDOWN);
        return;
    }
    c->session->close_after_reply = true;
    c->server->ops->shutdown(c->server->ops_arg);
}
