/*
 * One execution of one command. The executor fills it, locks what the command declared, and runs the handler; the
 * handler reaches items only through the functions below, by the index of a declared key.
 */
#ifndef CMD_CALL_H
#define CMD_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"
#include "engine/cmd/command.h"
#include "engine/cmd/reply.h"
#include "engine/cmd/session.h"
#include "engine/store/db.h"
#include "engine/store/item.h"

struct effects;
struct server;
struct thread;

enum call_verdict {
    CALL_DONE,    /* replied */
    CALL_TO_LANE, /* run again in the slow lane, with the locks it holds; nothing was changed or replied */
    CALL_WAITS,   /* run again when what it waits for may have come (call_wait) */
    CALL_BUSY,    /* a partition that it wanted is taken (call.busy): run again when it is free */
};

struct call {
    struct server *server;
    struct session *session;
    struct thread *thread;
    const struct command *command;
    const struct view *argv; /* argv[0] is the command's name, as sent */
    int argc;
    struct reply *reply;
    struct db *db;          /* the session's database */
    const struct key *keys; /* the declared keys in the order of the arguments */
    unsigned key_count;
    int64_t now;      /* wall clock in ms, frozen for the command; 0 until call_now reads it */
    bool in_lane;     /* runs in the slow lane: may take long */
    bool exclusive;   /* the gate is closed: every partition is held */
    bool in_exec;     /* a member of a transaction */
    uint32_t walking; /* partition held by call_hold, PARTITIONS for none */
    uint32_t busy;    /* CALL_BUSY: the partition to wait for */
    enum call_verdict verdict;
    uint64_t changes;        /* what it changed, as Redis's dirty counts */
    struct effects *effects; /* what goes into the log; NULL: nothing does */
    const char *raw;         /* where the command begins, when it came as an array of RESP; else NULL */
    bool logged;             /* its effects are in `effects` already: not the command's own words */
    bool forced;             /* the command's own words go into the log though nothing changed */
};

/* Wall clock in milliseconds, the same for the whole command (and transaction). */
int64_t call_now(struct call *c);

/*
 * The item under declared key i, or NULL. An expired one is removed on the way and reads as absent. call_read counts a
 * hit or a miss and touches the access clock; call_find does neither and is what writers use. at may be NULL.
 */
struct item *call_read(struct call *c, unsigned i);
struct item *call_find(struct call *c, unsigned i, struct place *at);

/* Also checks the type: on a mismatch replies WRONGTYPE and returns false; else *it is the item or NULL. */
bool call_read_typed(struct call *c, unsigned i, enum item_type type, struct item **it);
bool call_find_typed(struct call *c, unsigned i, enum item_type type, struct item **it, struct place *at);

/* The same for a key in another database (COPY, MOVE). */
struct item *call_find_in(struct call *c, struct db *db, unsigned i, struct place *at);

/* Says that key i changed: watchers see it, the change is counted. event is the name of the keyspace notification
 * ("set", "expire", "del" ...). One call per effect, before the handler returns. */
void call_changed(struct call *c, unsigned i, const char *event);
void call_changed_in(struct call *c, struct db *db, unsigned i, const char *event);

/* Says that every key present in db changed (FLUSHALL, SWAPDB). Gate closed. */
void call_flushed(struct call *c, struct db *db);

/* Gives a command that stands in the log for what this one did; several add up. Without it the command itself stands
 * there, if it changed anything. */
void call_effect(struct call *c, const struct view *words, size_t n);

/* The same for commands that many have: "DEL key", and "SET key value", with "PXAT when" for when >= 0. */
void call_effect_delete(struct call *c, unsigned i);
void call_effect_set(struct call *c, unsigned i, struct view value, int64_t when);

/* The command can answer only later: nothing was replied, and it is run again whenever server_progressed is called, and
 * at until_ms (monotonic; 0: then not). c->session->waiting tells the later runs from the first. Not in a transaction.
 * When the server has ended it is not run again, and gets no answer. */
void call_wait(struct call *c, int64_t until_ms);

/* Ends the session's transaction and forgets what it watches (DISCARD, RESET, close). */
void call_discard(struct call *c);

/* Removes the item at that place, frees it, and says so. */
void call_delete(struct call *c, unsigned i, const struct place *at);

/*
 * Asks whether work of about cost_us microseconds may be done here. False on a worker when it is too much: the handler
 * must return at once, having changed and replied nothing, and is run again in the slow lane.
 */
bool call_may_take(struct call *c, uint64_t cost_us);

/* SCOPE_WALK: holds that partition (and lets go of the one before). False when it is taken: the handler must return at
 * once, or answer with what it has. In the slow lane and under the gate it waits or need not, and is always true. */
bool call_hold(struct call *c, uint32_t partition);
void call_unhold(struct call *c);

/* Parses argv[i] as a 64-bit integer; on failure replies ERROR_NOT_INTEGER and returns false. */
bool call_arg_int(struct call *c, int i, int64_t *out);

/* The same within [min, max], replying with `id` outside it. */
bool call_arg_range(struct call *c, int i, int64_t min, int64_t max, enum error_id id, int64_t *out);

static inline bool call_arg_is_n(const struct call *c, int i, const char *s, size_t n)
{
    return view_equal_case(c->argv[i], view_of(s, n));
}

/* call_arg_is(c, i, "NX"): does argument i spell the literal, ignoring case? */
#define call_arg_is(c, i, s) call_arg_is_n((c), (i), LIT(s))

#endif
