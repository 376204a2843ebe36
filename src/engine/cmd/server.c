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

/* The end takes its time: replicas catch up, data is saved. When it cannot be saved the server goes on, and who asked is
 * told. */
void cmd_shutdown(struct call *c)
{
    enum { ABORT = 16 };
    struct server *s = c->server;
    unsigned options = 0;

    if (c->session->waiting) {
        if (atomic_load(&s->shutdowns_failed) == c->session->wait_ticket)
            call_wait(c, 0);
        else
            reply_error(c->reply, ERROR_SHUTDOWN);
        return;
    }
    for (int i = 1; i < c->argc; i++) {
        unsigned option = call_arg_is(c, i, "NOSAVE")  ? SHUTDOWN_NOSAVE
                          : call_arg_is(c, i, "SAVE")  ? SHUTDOWN_SAVE
                          : call_arg_is(c, i, "NOW")   ? SHUTDOWN_NOW
                          : call_arg_is(c, i, "FORCE") ? SHUTDOWN_FORCE
                          : call_arg_is(c, i, "ABORT") ? ABORT
                                                       : 0;
        if (option == 0) {
            reply_error(c->reply, ERROR_SYNTAX);
            return;
        }
        options |= option;
    }
    if (((options & ABORT) && options != ABORT) || ((options & SHUTDOWN_NOSAVE) && (options & SHUTDOWN_SAVE))) {
        reply_error(c->reply, ERROR_SYNTAX);
        return;
    }
    if (options & ABORT) {
        if (s->ops->shutdown_abort(s->ops_arg))
            reply_ok(c->reply);
        else
            reply_error(c->reply, ERROR_NO_SHUTDOWN);
        return;
    }
    c->session->wait_ticket = atomic_load(&s->shutdowns_failed);
    s->ops->shutdown(s->ops_arg, options);
    call_wait(c, 0);
}
