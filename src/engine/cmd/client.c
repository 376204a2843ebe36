/* CLIENT: what connections say of themselves, and what they may do to each other (server/clients.h). */
#include "engine/cmd/client.h"

#include "base/buf.h"
#include "base/checked.h"
#include "base/num.h"
#include "engine/cmd/generic.h"
#include "engine/cmd/work.h"
#include "engine/server/clients.h"
#include "engine/server/server.h"
#include "handlers.h"

/* ---- names ---- */

bool client_name_valid(struct view v)
{
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] < '!' || v.p[i] > '~')
            return false;
    return true;
}

bool client_set_name(struct call *c, struct view name)
{
    if (!client_name_valid(name)) {
        reply_error(c->reply, ERROR_CLIENT_NAME);
        return false;
    }
    card_set(c->session->card, &c->session->card->name, name);
    return true;
}

void cmd_client_id(struct call *c)
{
    reply_integer(c->reply, (int64_t)c->session->card->id);
}

void cmd_client_getname(struct call *c)
{
    struct buf name = {0};

    card_get(c->session->card, &c->session->card->name, &name);
    if (buf_live(&name) > 0)
        reply_bulk(c->reply, buf_view(&name));
    else
        reply_null(c->reply);
    buf_free(&name);
}

void cmd_client_setname(struct call *c)
{
    if (client_set_name(c, c->argv[2]))
        reply_ok(c->reply);
}

void cmd_client_setinfo(struct call *c)
{
    struct card *card = c->session->card;
    bool name = call_arg_is(c, 2, "LIB-NAME");

    if (!name && !call_arg_is(c, 2, "LIB-VER")) {
        reply_error(c->reply, ERROR_CLIENT_OPTION, ERROR_SHOWN(c->argv[2]));
        return;
    }
    if (!client_name_valid(c->argv[3])) {
        reply_error(c->reply, ERROR_CLIENT_ATTRIBUTE, name ? "lib-name" : "lib-ver");
        return;
    }
    card_set(card, name ? &card->lib_name : &card->lib_ver, c->argv[3]);
    reply_ok(c->reply);
}

/* ---- INFO, LIST ---- */

static bool describe(void *arg, struct card *card)
{
    struct buf *out = arg;

    card_describe(card, out);
    buf_put_char(out, '\n');
    return true;
}

static void reply_text(struct call *c, struct buf *text)
{
    reply_verbatim(c->reply, buf_live(text) ? buf_view(text) : VIEW(""), "txt");
    buf_free(text);
}

void cmd_client_info(struct call *c)
{
    struct buf text = {0};

    describe(&text, c->session->card);
    reply_text(c, &text);
}

/* Parses the name of a type of clients; on failure replies and returns false. */
static bool client_type(struct call *c, struct view name, int *type)
{
    if (view_is(name, "normal")) {
        *type = CLIENTS_NORMAL;
    } else if (view_is(name, "slave") || view_is(name, "replica")) {
        *type = CLIENTS_REPLICA;
    } else if (view_is(name, "pubsub")) {
        *type = CLIENTS_PUBSUB;
    } else if (view_is(name, "master")) {
        *type = CLIENTS_MASTER;
    } else {
        reply_error(c->reply, ERROR_CLIENT_TYPE, ERROR_SHOWN(name));
        return false;
    }
    return true;
}

/* CLIENT LIST ID: in the order of the arguments. */
static void list_ids(struct call *c)
{
    struct buf text = {0};
    int64_t id;

    for (int i = 3; i < c->argc; i++)
        if (!num_parse_int(c->argv[i], &id)) {
            reply_error(c->reply, ERROR_CLIENT_ID);
            return;
        }
    for (int i = 3; i < c->argc; i++)
        if (num_parse_int(c->argv[i], &id) && id > 0)
            clients_find(c->server->clients, (uint64_t)id, describe, &text);
    reply_text(c, &text);
}

struct listing {
    struct clients_filter filter;
    struct buf text;
};

static bool list_matching(void *arg, struct card *card)
{
    struct listing *listing = arg;

    return !clients_match(&listing->filter, card) || describe(&listing->text, card);
}

void cmd_client_list(struct call *c)
{
    struct listing listing = {.filter = {.type = -1}};
    bool by_type = c->argc == 4 && call_arg_is(c, 2, "TYPE"), by_id = c->argc > 3 && call_arg_is(c, 2, "ID");

    if (!by_type && !by_id && c->argc != 2) {
        reply_error(c->reply, ERROR_SYNTAX);
        return;
    }
    if (by_type && !client_type(c, c->argv[3], &listing.filter.type))
        return;
    if (!call_may_take(c, 2 * (by_id ? (uint64_t)c->argc : clients_count(c->server->clients))))
        return;
    if (by_id) {
        list_ids(c);
        return;
    }
    clients_each(c->server->clients, list_matching, &listing);
    reply_text(c, &listing.text);
}

/* ---- KILL ---- */

/* A view that says "given" even when it is empty. */
static struct view given(struct view v)
{
    return v.p ? v : VIEW("");
}

/* Reads one pair of option and value; on failure replies and returns false. */
static bool kill_option(struct call *c, int i, struct clients_filter *f, bool *skip_me)
{
    struct view value = given(c->argv[i + 1]);
    int64_t n;

    if (call_arg_is(c, i, "ID") || call_arg_is(c, i, "MAXAGE")) {
        bool id = call_arg_is(c, i, "ID");
        bool valid = num_parse_int(value, &n);
        if (!valid || n < 1) {
            reply_error(c->reply, id ? ERROR_CLIENT_ID_POSITIVE : valid ? ERROR_CLIENT_AGE_POSITIVE : ERROR_CLIENT_AGE);
            return false;
        }
        if (id)
            f->id = (uint64_t)n;
        else
            f->min_age = n;
        return true;
    }
    if (call_arg_is(c, i, "TYPE"))
        return client_type(c, value, &f->type);
    if (call_arg_is(c, i, "ADDR")) {
        f->addr = value;
    } else if (call_arg_is(c, i, "LADDR")) {
        f->laddr = value;
    } else if (call_arg_is(c, i, "USER")) {
        if (!view_equal(value, VIEW("default"))) {
            reply_error(c->reply, ERROR_NO_USER, ERROR_SHOWN(value));
            return false;
        }
        f->user = value;
    } else if (call_arg_is(c, i, "SKIPME") && (view_is(value, "yes") || view_is(value, "no"))) {
        *skip_me = view_is(value, "yes");
    } else {
        reply_error(c->reply, ERROR_SYNTAX);
        return false;
    }
    return true;
}

void cmd_client_kill(struct call *c)
{
    struct clients_filter f = {.type = -1};
    struct card *me = c->session->card;
    bool skip_me = c->argc > 3, self;
    uint64_t n;

    if (c->argc == 3)
        f.addr = given(c->argv[2]);
    for (int i = 2; c->argc > 3 && i < c->argc; i += 2) {
        if (i + 1 == c->argc) {
            reply_error(c->reply, ERROR_SYNTAX);
            return;
        }
        if (!kill_option(c, i, &f, &skip_me))
            return;
    }
    if (!call_may_take(c, clients_count(c->server->clients) / 8))
        return;
    /* One's own connection gets its reply first, so it closes by itself and not by a message. */
    self = !skip_me && clients_match(&f, me);
    f.skip = me->id;
    n = clients_kill(c->server->clients, &f) + self;
    if (self)
        c->session->close_after_reply = true;
    if (c->argc > 3)
        reply_integer(c->reply, (int64_t)n);
    else if (n > 0)
        reply_ok(c->reply);
    else
        reply_error(c->reply, ERROR_NO_CLIENT);
}

/* ---- PAUSE ---- */

void cmd_client_pause(struct call *c)
{
    struct server *s = c->server;
    int64_t timeout, end, now = call_now(c), until = atomic_load(&s->pause_until_ms);
    bool all = true;

    if (c->argc > 4) {
        reply_error(c->reply, ERROR_SUBCOMMAND_SYNTAX, ERROR_SHOWN(c->argv[1]), "CLIENT");
        return;
    }
    if (c->argc == 4) {
        all = call_arg_is(c, 3, "ALL");
        if (!all && !call_arg_is(c, 3, "WRITE")) {
            reply_error(c->reply, ERROR_PAUSE_MODE);
            return;
        }
    }
    if (!num_parse_int(c->argv[2], &timeout)) {
        reply_error(c->reply, ERROR_TIMEOUT);
        return;
    }
    if (timeout < 0) {
        reply_error(c->reply, ERROR_TIMEOUT_NEGATIVE);
        return;
    }
    /* A pause that ends beyond the clock's range is none, as in Redis 7.0; one in force is only ever made stricter. */
    if (checked_add(now, timeout, &end)) {
        bool paused = until > now;
        atomic_store(&s->pause_all, all || (paused && atomic_load(&s->pause_all)));
        atomic_store(&s->pause_until_ms, paused && until > end ? until : end);
    }
    reply_ok(c->reply);
}

void cmd_client_unpause(struct call *c)
{
    atomic_store(&c->server->pause_until_ms, 0);
    c->server->ops->unpause(c->server->ops_arg);
    reply_ok(c->reply);
}

/* ---- switches of one's own connection ---- */

void cmd_client_reply(struct call *c)
{
    struct session *s = c->session;

    if (call_arg_is(c, 2, "ON")) {
        s->reply_mode = SESSION_REPLY_ON;
        reply_ok(c->reply);
    } else if (call_arg_is(c, 2, "OFF")) {
        s->reply_mode = SESSION_REPLY_OFF;
    } else if (!call_arg_is(c, 2, "SKIP")) {
        reply_error(c->reply, ERROR_SYNTAX);
    } else if (s->reply_mode != SESSION_REPLY_OFF) {
        s->reply_mode = SESSION_REPLY_SKIP_NEXT;
    }
}

/* Sets a switch and its letter in CLIENT LIST from ON or OFF; replies. */
static void set_switch(struct call *c, bool *on, enum card_flag flag)
{
    if (!call_arg_is(c, 2, "ON") && !call_arg_is(c, 2, "OFF")) {
        reply_error(c->reply, ERROR_SYNTAX);
        return;
    }
    *on = call_arg_is(c, 2, "ON");
    if (*on)
        atomic_fetch_or_explicit(&c->session->card->flags, flag, memory_order_relaxed);
    else
        atomic_fetch_and_explicit(&c->session->card->flags, ~(uint32_t)flag, memory_order_relaxed);
    reply_ok(c->reply);
}

void cmd_client_no_evict(struct call *c)
{
    set_switch(c, &c->session->no_evict, CARD_NO_EVICT);
}

void cmd_client_no_touch(struct call *c)
{
    set_switch(c, &c->session->no_touch, CARD_NO_TOUCH);
}

void cmd_client_help(struct call *c)
{
    static const char *const lines[] = {
        "GETNAME",
        "    Answer the name of this connection.",
        "ID",
        "    Answer the number of this connection.",
        "INFO",
        "    Describe this connection.",
        "KILL <ip:port>",
        "    Close the connection that comes from there.",
        "KILL <option> <value> [<option> <value> ...]",
        "    Close every connection that meets all conditions:",
        "    * ADDR (<ip:port>|<unixsocket>:0)",
        "      It comes from this address.",
        "    * LADDR (<ip:port>|<unixsocket>:0)",
        "      It came to this address.",
        "    * ID <client-id>",
        "      It has this number.",
        "    * MAXAGE <seconds>",
        "      It is at least this old.",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      It is of this type.",
        "    * USER <username>",
        "      It is authenticated as this user.",
        "    * SKIPME (YES|NO)",
        "      Leave out this connection (the default) or not.",
        "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)]",
        "    Describe all connections, or those of a type.",
        "LIST ID <client-id> [<client-id> ...]",
        "    Describe the connections of these numbers.",
        "NO-EVICT (ON|OFF)",
        "    Keep this connection when connections hold too much memory, or do not.",
        "NO-TOUCH (ON|OFF)",
        "    Leave the access clock of keys alone, or do not.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Hold back writes, or all commands, for that many milliseconds.",
        "REPLY (ON|OFF|SKIP)",
        "    Send replies, send none, or skip the one of the next command.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    Say which library this connection is made with.",
        "SETNAME <name>",
        "    Name this connection.",
        "UNPAUSE",
        "    End a pause.",
    };

    GENERIC_HELP(c, "CLIENT", lines);
}
