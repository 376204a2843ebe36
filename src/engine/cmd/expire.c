/* Expiry: setting, reading and removing it. Times are kept in milliseconds since 1970; a time that is past deletes. */
#include "base/checked.h"
#include "engine/cmd/generic.h"
#include "handlers.h"

enum condition { ONLY_NONE = 1, ONLY_SOME = 2, ONLY_LATER = 4, ONLY_SOONER = 8 }; /* NX XX GT LT */

/* Reads NX, XX, GT, LT from argv[3] on; on failure replies and returns false. */
static bool conditions(struct call *c, unsigned *out)
{
    static const struct {
        struct view word;
        enum condition flag;
    } words[] = {
        {{LIT("NX")}, ONLY_NONE}, {{LIT("XX")}, ONLY_SOME}, {{LIT("GT")}, ONLY_LATER}, {{LIT("LT")}, ONLY_SOONER}};

    *out = 0;
    for (int i = 3; i < c->argc; i++) {
        unsigned k = 0;
        while (k < 4 && !view_equal_case(c->argv[i], words[k].word))
            k++;
        if (k == 4) {
            reply_error(c->reply, ERROR_EXPIRE_OPTION, ERROR_SHOWN(c->argv[i]));
            return false;
        }
        *out |= words[k].flag;
    }
    if ((*out & ONLY_NONE) && (*out & ~(unsigned)ONLY_NONE)) {
        reply_error(c->reply, ERROR_EXPIRE_NX);
        return false;
    }
    if ((*out & ONLY_LATER) && (*out & ONLY_SOONER)) {
        reply_error(c->reply, ERROR_EXPIRE_GT_LT);
        return false;
    }
    return true;
}

/* Does an expiry of `old` (-1 for none, which counts as never) allow setting it to `when`? */
static bool allowed(unsigned conditions, int64_t old, int64_t when)
{
    if ((conditions & ONLY_NONE) && old >= 0)
        return false;
    if ((conditions & ONLY_SOME) && old < 0)
        return false;
    if ((conditions & ONLY_LATER) && (old < 0 || when <= old))
        return false;
    return !(conditions & ONLY_SOONER) || old < 0 || when < old;
}

/* argv[2] counts units of unit_ms from 1970, or from now. */
static void expire(struct call *c, int64_t unit_ms, bool from_now)
{
    unsigned only;
    int64_t when;
    struct place at;
    struct item *it;

    if (!conditions(c, &only) || !call_arg_int(c, 2, &when))
        return;
    if (!checked_mul(when, unit_ms, &when) || (from_now && !checked_add(when, call_now(c), &when))) {
        reply_error(c->reply, ERROR_INVALID_EXPIRE, c->command->name);
        return;
    }
    it = generic_use(c, 0, &at);
    if (!it || !allowed(only, item_expiry(it), when)) {
        reply_integer(c->reply, 0);
        return;
    }
    generic_expire(c, &at, when, 3);
    reply_integer(c->reply, 1);
}

void cmd_expire(struct call *c)
{
    expire(c, 1000, true);
}

void cmd_pexpire(struct call *c)
{
    expire(c, 1, true);
}

void cmd_expireat(struct call *c)
{
    expire(c, 1000, false);
}

void cmd_pexpireat(struct call *c)
{
    expire(c, 1, false);
}

static int64_t rounded_seconds(int64_t ms)
{
    return ms / 1000 + (ms % 1000 >= 500);
}

/* The expiry as milliseconds since 1970, or milliseconds left; -1 without one. False when it replied -2: no key. */
static bool expiry(struct call *c, bool left, int64_t *ms)
{
    struct item *it = generic_peek(c, 0);

    if (!it) {
        reply_integer(c->reply, -2);
        return false;
    }
    *ms = item_expiry(it);
    if (left && *ms >= 0)
        *ms = *ms > call_now(c) ? *ms - call_now(c) : 0;
    return true;
}

static void reply_expiry(struct call *c, bool left, bool seconds)
{
    int64_t ms;

    if (expiry(c, left, &ms))
        reply_integer(c->reply, seconds && ms >= 0 ? rounded_seconds(ms) : ms);
}

void cmd_ttl(struct call *c)
{
    reply_expiry(c, true, true);
}

void cmd_pttl(struct call *c)
{
    reply_expiry(c, true, false);
}

void cmd_expiretime(struct call *c)
{
    reply_expiry(c, false, true);
}

void cmd_pexpiretime(struct call *c)
{
    reply_expiry(c, false, false);
}

void cmd_persist(struct call *c)
{
    struct place at;
    struct item *it = generic_use(c, 0, &at);

    reply_integer(c->reply, it && generic_persist(c, it, &at));
}
