/*
 * What a connection says about itself to begin, to prove who it is, and to end. There is the user "default", whose
 * password is requirepass, and for replicas another one, whose password is replication-secret (cmd/rights.h).
 */
#include <string.h>

#include "base/num.h"
#include "engine/cmd/call.h"
#include "engine/cmd/client.h"
#include "engine/cmd/rights.h"
#include "engine/server/clients.h"
#include "engine/server/config.h"
#include "engine/server/server.h"
#include "engine/server/version.h"
#include "handlers.h"

#define SECRET_WORK 1024 /* bytes that a comparison goes over, whatever is compared */

/* ---- authentication ---- */

/*
 * Is `given` the secret? The work depends on neither the bytes nor the length of what was given, and on the length of
 * the secret only above SECRET_WORK.
 */
static bool secret_equal(struct view given, struct view secret)
{
    size_t n = secret.n > SECRET_WORK ? secret.n : SECRET_WORK;
    volatile unsigned char differs = given.n != secret.n;
    static const char nothing = 0;

    for (size_t i = 0; i < n; i++) {
        const char *a = i < given.n ? given.p + i : &nothing, *b = i < secret.n ? secret.p + i : &nothing;
        differs |= (unsigned char)*a ^ (unsigned char)*b;
    }
    return !differs;
}

static bool password_needed(const struct call *c)
{
    return c->server->config->requirepass && c->server->config->requirepass[0] != '\0';
}

/* The session's user is known. */
static void log_in(struct session *s, bool as_replica)
{
    struct card *card = s->card;

    s->auth_failures = 0;
    s->authenticated = true;
    s->replica_login = as_replica;
    if (as_replica) {
        card_set(card, &card->user, VIEW(RIGHTS_REPLICA));
        atomic_fetch_or_explicit(&card->flags, CARD_EXEMPT, memory_order_relaxed);
    }
}

/* Authenticates the session; on failure replies and returns false. An unknown user costs the same work. A stranger that
 * fails has to wait for its next try; one that is in already, and could try as often as it likes, is closed. */
static bool authenticate(struct call *c, struct view user, struct view password)
{
    const struct config *config = c->server->config;
    struct session *s = c->session;
    bool wants_replica = view_equal(user, VIEW(RIGHTS_REPLICA));
    bool as_replica = wants_replica && config->replication_secret[0] != '\0';
    bool known = as_replica || (view_equal(user, VIEW("default")) && !s->outsider);
    bool right = secret_equal(password, view_str(as_replica ? config->replication_secret : config->requirepass));

    if (known && (right || (!as_replica && !password_needed(c)))) {
        log_in(s, as_replica);
        return true;
    }
    if (s->auth_failures < UINT8_MAX)
        s->auth_failures++;
    if (wants_replica && s->authenticated)
        s->close_after_reply = true;
    reply_error(c->reply, ERROR_WRONGPASS);
    return false;
}

void cmd_auth(struct call *c)
{
    if (c->argc > 3) {
        reply_error(c->reply, ERROR_SYNTAX);
        return;
    }
    if (c->argc == 2 && !password_needed(c)) {
        reply_error(c->reply, ERROR_AUTH_NO_PASSWORD);
        return;
    }
    if (authenticate(c, c->argc == 3 ? c->argv[1] : VIEW("default"), c->argv[c->argc - 1]))
        reply_ok(c->reply);
}

/* ---- HELLO ---- */

static void set_resp(struct call *c, uint8_t resp)
{
    c->session->resp = resp;
    c->reply->resp = resp;
    atomic_store_explicit(&c->session->card->resp, resp, memory_order_relaxed);
}

/* Carries out the options from argv[2] on, in their order; on failure replies and returns false. */
static bool hello_options(struct call *c)
{
    for (int i = 2; i < c->argc; i++) {
        int more = c->argc - 1 - i;
        if (more >= 2 && call_arg_is(c, i, "AUTH")) {
            if (!authenticate(c, c->argv[i + 1], c->argv[i + 2]))
                return false;
            i += 2;
        } else if (more >= 1 && call_arg_is(c, i, "SETNAME")) {
            if (!client_set_name(c, c->argv[++i]))
                return false;
        } else {
            reply_error(c->reply, ERROR_HELLO_OPTION, ERROR_SHOWN(c->argv[i]));
            return false;
        }
    }
    return true;
}

void cmd_hello(struct call *c)
{
    struct reply *r = c->reply;
    int64_t version = 0;

    if (c->argc > 1 && !num_parse_int(c->argv[1], &version)) {
        reply_error(r, ERROR_HELLO_VERSION);
        return;
    }
    if (c->argc > 1 && (version < 2 || version > 3)) {
        reply_error(r, ERROR_NOPROTO);
        return;
    }
    if (!hello_options(c))
        return;
    if (!c->session->authenticated) {
        reply_error(r, ERROR_HELLO_NOAUTH);
        return;
    }
    if (version != 0)
        set_resp(c, (uint8_t)version);
    reply_map(r, 7);
    reply_bulk(r, VIEW("server"));
    reply_bulk(r, VIEW("redis"));
    reply_bulk(r, VIEW("version"));
    reply_bulk(r, VIEW(SERVER_REDIS_VERSION));
    reply_bulk(r, VIEW("proto"));
    reply_integer(r, c->session->resp);
    reply_bulk(r, VIEW("id"));
    reply_integer(r, (int64_t)c->session->card->id);
    reply_bulk(r, VIEW("mode"));
    reply_bulk(r, VIEW("standalone"));
    reply_bulk(r, VIEW("role"));
    reply_bulk_str(r, atomic_load(&c->server->is_replica) ? "replica" : "master");
    reply_bulk(r, VIEW("modules"));
    reply_array(r, 0);
}

/* ---- the others ---- */

void cmd_ping(struct call *c)
{
    if (c->argc > 2)
        reply_error(c->reply, ERROR_ARITY, c->command->name);
    else if (c->argc == 2)
        reply_bulk(c->reply, c->argv[1]);
    else
        reply_status(c->reply, "PONG");
}

void cmd_echo(struct call *c)
{
    reply_bulk(c->reply, c->argv[1]);
}

void cmd_reset(struct call *c)
{
    struct session *s = c->session;
    struct card *card = s->card;

    call_discard(c);
    s->db = 0;
    atomic_store_explicit(&card->db, 0, memory_order_relaxed);
    set_resp(c, 2);
    s->authenticated = s->admin || (!password_needed(c) && !s->outsider);
    s->reply_mode = SESSION_REPLY_ON;
    s->no_touch = false;
    atomic_fetch_and_explicit(&card->flags, ~(uint32_t)(CARD_NO_TOUCH | CARD_READONLY), memory_order_relaxed);
    card_set(card, &card->name, VIEW(""));
    reply_status(c->reply, "RESET");
}

void cmd_quit(struct call *c)
{
    c->session->close_after_reply = true;
    reply_ok(c->reply);
}
