/* SAVE, BGSAVE, LASTSAVE, BGREWRITEAOF. SAVE waits without holding up anybody else. */
#include "engine/persist/persist.h"

#include "engine/cmd/call.h"
#include "engine/server/server.h"
#include "handlers.h"

void cmd_save(struct call *c)
{
    struct persistence *p = c->server->persistence;
    struct session *s = c->session;

    if (!s->waiting && persist_save(p, true, &s->wait_ticket) == PERSIST_SAVING) {
        reply_error(c->reply, ERROR_SAVING);
        return;
    }
    if (atomic_load(&p->finished) < s->wait_ticket) {
        call_wait(c, 0);
        return;
    }
    if (atomic_load(&p->save_done))
        reply_ok(c->reply);
    else
        reply_error(c->reply, ERROR_SAVE_FAILED);
}

/* It answers when the cut is taken: what is written behind it is not in the file. In a transaction it cannot wait. */
void cmd_bgsave(struct call *c)
{
    struct persistence *p = c->server->persistence;
    struct session *s = c->session;
    bool schedule = c->argc == 2 && call_arg_is(c, 1, "schedule");

    if (c->argc > 2 || (c->argc == 2 && !schedule)) {
        reply_error(c->reply, ERROR_SYNTAX);
        return;
    }
    switch (s->waiting ? PERSIST_STARTED : persist_save(p, schedule, &s->wait_ticket)) {
    case PERSIST_STARTED:
        if (atomic_load(&p->cuts) < s->wait_ticket && !c->in_exec)
            call_wait(c, 0);
        else
            reply_status(c->reply, "Background saving started");
        break;
    case PERSIST_SCHEDULED:
        reply_status(c->reply, "Background saving scheduled");
        break;
    case PERSIST_SAVING:
        reply_error(c->reply, ERROR_SAVING);
        break;
    case PERSIST_BUSY:
        reply_error(c->reply, ERROR_SAVE_BUSY);
        break;
    }
}

void cmd_lastsave(struct call *c)
{
    reply_integer(c->reply, atomic_load(&c->server->last_save_wall_s));
}

void cmd_bgrewriteaof(struct call *c)
{
    switch (persist_rewrite(c->server->persistence)) {
    case PERSIST_STARTED:
        reply_status(c->reply, "Background append only file rewriting started");
        break;
    case PERSIST_SCHEDULED:
        reply_status(c->reply, "Background append only file rewriting scheduled");
        break;
    case PERSIST_SAVING:
    case PERSIST_BUSY:
        reply_error(c->reply, ERROR_REWRITING);
        break;
    }
}
