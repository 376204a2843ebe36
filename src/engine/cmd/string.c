/*
 * The string commands. Handlers look their key up, ask whether the work may be done here (cmd/work.h), change, say so,
 * and reply: in this order, because a handler that was told to run again elsewhere must not have done anything, and one
 * that finds no memory must not have replied.
 *
 * The one exception are replies with a value that the command itself replaces: what replaces it is made before the reply
 * and put in its place after it.
 */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "base/num.h"
#include "engine/cmd/call.h"
#include "engine/cmd/generic.h"
#include "engine/cmd/work.h"
#include "engine/store/db.h"
#include "engine/store/item.h"
#include "engine/store/thread.h"
#include "engine/types/string.h"
#include "engine/types/value.h"
#include "handlers.h"

#define SET_WORDS_MAX 8 /* more options than these only say the same again */
#define MGET_SMALL 64   /* so many values are read without asking what they cost */

/* ---- replies ---- */

static void release_blob(void *owner)
{
    blob_unref(owner);
}

/* Part of the value of `it` as a bulk string: big ones are sent from where they are. */
static void reply_part(struct call *c, const struct item *it, struct view part)
{
    if (part.n >= REPLY_SHARE_MIN && (it->flags & ITEM_BLOB))
        reply_bulk_shared(c->reply, part, blob_ref(item_blob(it)), release_blob);
    else
        reply_bulk(c->reply, part);
}

/* The value, or null for NULL. */
static void reply_value(struct call *c, const struct item *it)
{
    if (it)
        reply_part(c, it, item_string(it));
    else
        reply_null(c->reply);
}

/* ---- storing ---- */

/* string_store under key i, replying with an error when there is no memory. */
static bool store(struct call *c, unsigned i, struct item *old, const struct place *at, struct view value,
                  int64_t expiry, enum item_form form)
{
    if (string_store(c->db, c->thread, &c->keys[i], old, at, value, expiry, form))
        return true;
    reply_error(c->reply, ERROR_MEMORY);
    return false;
}

/* Stores a plain value without expiry under key i, whatever was there. */
static bool store_plain(struct call *c, unsigned i, struct view value)
{
    struct place at;
    struct item *old = call_find(c, i, &at);

    if (!store(c, i, old, &at, value, -1, ITEM_FORM_PLAIN))
        return false;
    call_changed(c, i, "set");
    return true;
}

/* ---- SET and GETEX: options ---- */

/* What a command says about the expiry; one command takes one of these, as often as it likes. */
enum expiry_option { EXPIRY_NONE, EXPIRY_EX, EXPIRY_PX, EXPIRY_EXAT, EXPIRY_PXAT, EXPIRY_KEEP, EXPIRY_PERSIST };

struct options {
    bool nx, xx, get;
    enum expiry_option expiry;
    int expiry_arg; /* where the time stands */
};

static bool is_time(enum expiry_option option)
{
    return option >= EXPIRY_EX && option <= EXPIRY_PXAT;
}

static enum expiry_option expiry_option(struct call *c, int i, bool set)
{
    static const struct {
        struct view name;
        enum expiry_option option;
    } names[] = {
        {{LIT("EX")}, EXPIRY_EX}, {{LIT("PX")}, EXPIRY_PX}, {{LIT("EXAT")}, EXPIRY_EXAT}, {{LIT("PXAT")}, EXPIRY_PXAT}};

    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        if (view_equal_case(c->argv[i], names[k].name))
            return i + 1 < c->argc ? names[k].option : EXPIRY_NONE;
    if (set)
        return call_arg_is(c, i, "KEEPTTL") ? EXPIRY_KEEP : EXPIRY_NONE;
    return call_arg_is(c, i, "PERSIST") ? EXPIRY_PERSIST : EXPIRY_NONE;
}

/* Reads the options from argv[i] on, those of SET or those of GETEX; replies and returns false when they are wrong. */
static bool parse_options(struct call *c, int i, bool set, struct options *o)
{
    for (; i < c->argc; i++) {
        enum expiry_option option;

        if (set && !o->xx && call_arg_is(c, i, "NX")) {
            o->nx = true;
        } else if (set && !o->nx && call_arg_is(c, i, "XX")) {
            o->xx = true;
        } else if (set && call_arg_is(c, i, "GET")) {
            o->get = true;
        } else {
            option = expiry_option(c, i, set);
            if (option == EXPIRY_NONE || (o->expiry != EXPIRY_NONE && o->expiry != option)) {
                reply_error(c->reply, ERROR_SYNTAX);
                return false;
            }
            o->expiry = option;
            if (is_time(option))
                o->expiry_arg = ++i;
        }
    }
    return true;
}

/* The time that an option gives, in ms since the epoch; replies and returns false when it is none. */
static bool expiry_time(struct call *c, const struct options *o, int64_t *at)
{
    bool seconds = o->expiry == EXPIRY_EX || o->expiry == EXPIRY_EXAT;
    bool relative = o->expiry == EXPIRY_EX || o->expiry == EXPIRY_PX;

    if (!call_arg_int(c, o->expiry_arg, at))
        return false;
    if (*at <= 0 || (seconds && !checked_mul(*at, 1000, at)) || (relative && !checked_add(*at, call_now(c), at))) {
        reply_error(c->reply, ERROR_INVALID_EXPIRE, c->command->name);
        return false;
    }
    return true;
}

/* ---- SET and its older forms ---- */

enum set_result {
    SET_DONE,    /* set; the reply is still to be given */
    SET_NOT,     /* NX or XX forbade it; the reply is still to be given */
    SET_REPLIED, /* replied, or to be run again in the slow lane */
};

/* Puts value in the place of old, replying with old. */
static bool exchange(struct call *c, struct item *old, const struct place *at, struct view value, int64_t expiry)
{
    struct item *it = string_new(c->thread, &c->keys[0], value, expiry);

    if (!it) {
        reply_error(c->reply, ERROR_MEMORY);
        return false;
    }
    reply_value(c, old);
    value_overwrite(c->db, c->thread, &c->keys[0], old, at, it);
    return true;
}

/* The SET whose reply is wanted stands in the log as one that has none: SET with its other options, or GETSET's. */
static void log_without_get(struct call *c, struct view value)
{
    struct view words[SET_WORDS_MAX] = {call_arg_is(c, 0, "SET") ? c->argv[0] : VIEW("SET"), c->keys[0].name, value};
    size_t n = 3;

    for (int i = 3; i < c->argc && n < SET_WORDS_MAX; i++)
        if (!call_arg_is(c, i, "GET"))
            words[n++] = c->argv[i];
    call_effect(c, words, n);
}

static enum set_result set(struct call *c, const struct options *o, struct view value)
{
    int64_t expiry = -1;
    struct place at;
    struct item *old;

    if (is_time(o->expiry) && !expiry_time(c, o, &expiry))
        return SET_REPLIED;
    if (!work_allowed(c, work_copy(value.n)) || (o->get && !call_read_typed(c, 0, ITEM_STRING, &old)))
        return SET_REPLIED;
    old = call_find(c, 0, &at);
    if (o->nx ? old != NULL : o->xx && !old) {
        if (!o->get)
            return SET_NOT;
        reply_value(c, old);
        return SET_REPLIED;
    }
    if (o->expiry == EXPIRY_KEEP && old)
        expiry = item_expiry(old);
    if (o->get ? !exchange(c, old, &at, value, expiry) : !store(c, 0, old, &at, value, expiry, ITEM_FORM_PLAIN))
        return SET_REPLIED;
    call_changed(c, 0, "set");
    if (is_time(o->expiry)) {
        call_effect_set(c, 0, value, expiry);
        call_changed(c, 0, "expire");
        c->changes--; /* two events, but one change */
        /* What was born expired goes as whatever expires: by being looked for. */
        if (expiry <= call_now(c))
            call_find(c, 0, NULL);
    } else if (o->get) {
        log_without_get(c, value);
    }
    return o->get ? SET_REPLIED : SET_DONE;
}

void cmd_set(struct call *c)
{
    struct options o = {0};

    if (c->argc == 3) {
        if (work_allowed(c, work_copy(c->argv[2].n)) && store_plain(c, 0, c->argv[2]))
            reply_ok(c->reply);
        return;
    }
    if (!parse_options(c, 3, true, &o))
        return;
    switch (set(c, &o, c->argv[2])) {
    case SET_DONE:
        reply_ok(c->reply);
        break;
    case SET_NOT:
        reply_null(c->reply);
        break;
    case SET_REPLIED:
        break;
    }
}

void cmd_setnx(struct call *c)
{
    struct options o = {.nx = true};
    enum set_result result = set(c, &o, c->argv[2]);

    if (result != SET_REPLIED)
        reply_integer(c->reply, result == SET_DONE);
}

static void set_for(struct call *c, enum expiry_option unit)
{
    struct options o = {.expiry = unit, .expiry_arg = 2};

    if (set(c, &o, c->argv[3]) == SET_DONE)
        reply_ok(c->reply);
}

void cmd_setex(struct call *c)
{
    set_for(c, EXPIRY_EX);
}

void cmd_psetex(struct call *c)
{
    set_for(c, EXPIRY_PX);
}

void cmd_getset(struct call *c)
{
    struct options o = {.get = true};

    set(c, &o, c->argv[2]);
}

/* ---- reading ---- */

void cmd_get(struct call *c)
{
    struct item *it;

    if (call_read_typed(c, 0, ITEM_STRING, &it))
        reply_value(c, it);
}

void cmd_getdel(struct call *c)
{
    struct place at;
    struct item *it;

    if (!call_read_typed(c, 0, ITEM_STRING, &it))
        return;
    reply_value(c, it);
    if (!it || !call_find(c, 0, &at))
        return;
    call_effect_delete(c, 0);
    call_delete(c, 0, &at);
}

void cmd_getex(struct call *c)
{
    struct options o = {0};
    int64_t expiry = -1;
    struct place at;
    struct item *it;

    if (!parse_options(c, 2, false, &o) || !call_read_typed(c, 0, ITEM_STRING, &it))
        return;
    if (it && is_time(o.expiry) && !expiry_time(c, &o, &expiry))
        return;
    reply_value(c, it);
    if (!it || o.expiry == EXPIRY_NONE || !call_find(c, 0, &at))
        return;
    if (is_time(o.expiry)) {
        generic_expire(c, &at, expiry, 0);
    } else if (generic_persist(c, it, &at)) {
        struct view words[] = {VIEW("PERSIST"), c->keys[0].name};
        call_effect(c, words, 2);
    }
}

void cmd_strlen(struct call *c)
{
    struct item *it;

    if (call_read_typed(c, 0, ITEM_STRING, &it))
        reply_integer(c->reply, it ? (int64_t)item_string(it).n : 0);
}

void cmd_getrange(struct call *c)
{
    int64_t start, end, n;
    struct item *it;
    struct view value;

    if (!call_arg_int(c, 2, &start) || !call_arg_int(c, 3, &end) || !call_read_typed(c, 0, ITEM_STRING, &it))
        return;
    value = it ? item_string(it) : VIEW("");
    n = (int64_t)value.n;
    if (start < 0 && end < 0 && start > end)
        n = 0;
    start = start < 0 ? start + n : start;
    end = end < 0 ? end + n : end;
    start = start < 0 ? 0 : start;
    end = end < 0 ? 0 : end < n ? end : n - 1;
    if (start > end || n == 0)
        reply_bulk(c->reply, VIEW(""));
    else
        reply_part(c, it, view_of(value.p + start, (size_t)(end - start + 1)));
}

void cmd_substr(struct call *c)
{
    cmd_getrange(c);
}

/* ---- several keys ---- */

/* What MGET will copy into the reply, and the keys themselves. */
static uint64_t mget_cost(struct call *c)
{
    uint64_t cost = work_keys(c->key_count);
    size_t bytes = 0;

    for (unsigned i = 0; i < c->key_count; i++) {
        struct item *it = call_find(c, i, NULL);

        if (it && it->type == ITEM_STRING && item_string(it).n < REPLY_SHARE_MIN)
            bytes += item_string(it).n;
    }
    return cost + work_copy(bytes);
}

void cmd_mget(struct call *c)
{
    if (c->key_count > MGET_SMALL && (!work_allowed(c, work_keys(c->key_count)) || !work_allowed(c, mget_cost(c))))
        return;
    reply_array(c->reply, c->key_count);
    for (unsigned i = 0; i < c->key_count; i++) {
        struct item *it = call_read(c, i);

        reply_value(c, it && it->type == ITEM_STRING ? it : NULL);
    }
}

/* Sets all pairs when values among them may not find memory: everything is made before anything is set. */
static bool set_pairs_made(struct call *c)
{
    struct item **made = mem_try(c->key_count * sizeof(struct item *));
    unsigned n = 0;
    bool ok;

    while (made && n < c->key_count && (made[n] = string_new(c->thread, &c->keys[n], c->argv[2 + 2 * n], -1)) != NULL)
        n++;
    ok = made && n == c->key_count;
    for (unsigned i = 0; i < n; i++) {
        struct place at;
        struct item *old;

        if (!ok) {
            item_free(c->thread, made[i]);
            continue;
        }
        old = call_find(c, i, &at);
        value_overwrite(c->db, c->thread, &c->keys[i], old, &at, made[i]);
        call_changed(c, i, "set");
    }
    mem_free(made);
    if (!ok)
        reply_error(c->reply, ERROR_MEMORY);
    return ok;
}

/* Sets the pairs of MSET and MSETNX, the latter only if none of the keys is there. */
static enum set_result set_pairs(struct call *c, bool nx)
{
    uint64_t cost = work_keys(c->key_count);
    bool big = false;

    if (c->argc % 2 == 0) {
        reply_error(c->reply, ERROR_ARITY, c->command->name);
        return SET_REPLIED;
    }
    for (unsigned i = 0; i < c->key_count; i++) {
        size_t n = c->argv[2 + 2 * i].n;

        /* Only blobs may find no memory. */
        big = big || item_block_size(c->keys[i].name.n, n, true) > ITEM_BLOCK_MAX;
        cost += work_copy(n);
    }
    if (!work_allowed(c, cost))
        return SET_REPLIED;
    for (unsigned i = 0; nx && i < c->key_count; i++)
        if (call_find(c, i, NULL))
            return SET_NOT;
    if (big)
        return set_pairs_made(c) ? SET_DONE : SET_REPLIED;
    for (unsigned i = 0; i < c->key_count; i++)
        if (!store_plain(c, i, c->argv[2 + 2 * i]))
            return SET_REPLIED;
    return SET_DONE;
}

void cmd_mset(struct call *c)
{
    if (set_pairs(c, false) == SET_DONE)
        reply_ok(c->reply);
}

void cmd_msetnx(struct call *c)
{
    enum set_result result = set_pairs(c, true);

    if (result != SET_REPLIED)
        reply_integer(c->reply, result == SET_DONE);
}

/* ---- changing a part ---- */

/* May a string have size + more bytes? Replies when not. */
static bool length_ok(struct call *c, int64_t size, size_t more)
{
    int64_t total;

    if (checked_add(size, (int64_t)more, &total) && total <= work_string_max(c))
        return true;
    reply_error(c->reply, ERROR_STRING_TOO_LONG);
    return false;
}

/* Writes bytes at `offset` of the string under key 0 (it, found at `at`, or NULL), which grows to hold them. */
static bool write_at(struct call *c, struct item *it, const struct place *at, size_t offset, struct view bytes)
{
    size_t n = it ? item_string(it).n : 0;

    if (n < offset + bytes.n)
        n = offset + bytes.n;
    if (!work_allowed(c, work_resize(it, n) + work_copy(bytes.n)))
        return false;
    it = string_resize(c->db, c->thread, &c->keys[0], it, at, n, it != NULL);
    if (!it) {
        reply_error(c->reply, ERROR_MEMORY);
        return false;
    }
    if (bytes.n > 0)
        memcpy(item_bytes(it) + offset, bytes.p, bytes.n);
    return true;
}

void cmd_append(struct call *c)
{
    struct view more = c->argv[2];
    struct place at;
    struct item *it;
    size_t n;

    if (!call_find_typed(c, 0, ITEM_STRING, &it, &at))
        return;
    n = it ? item_string(it).n : 0;
    if (it) {
        if (!length_ok(c, (int64_t)n, more.n) || !write_at(c, it, &at, n, more))
            return;
    } else if (!work_allowed(c, work_copy(more.n)) || !store(c, 0, NULL, &at, more, -1, ITEM_FORM_PLAIN)) {
        return;
    }
    call_changed(c, 0, "append");
    reply_integer(c->reply, (int64_t)(n + more.n));
}

void cmd_setrange(struct call *c)
{
    struct view bytes = c->argv[3];
    struct place at;
    struct item *it;
    int64_t offset;
    size_t n;

    if (!call_arg_int(c, 2, &offset))
        return;
    if (offset < 0) {
        reply_error(c->reply, ERROR_OFFSET);
        return;
    }
    if (!call_find_typed(c, 0, ITEM_STRING, &it, &at))
        return;
    n = it ? item_string(it).n : 0;
    if (bytes.n == 0) {
        reply_integer(c->reply, (int64_t)n);
        return;
    }
    if (!length_ok(c, offset, bytes.n) || !write_at(c, it, &at, (size_t)offset, bytes))
        return;
    call_changed(c, 0, "setrange");
    n = n > (size_t)offset + bytes.n ? n : (size_t)offset + bytes.n;
    reply_integer(c->reply, (int64_t)n);
}

/* ---- numbers ---- */

static void add_integer(struct call *c, int64_t increment)
{
    char digits[NUM_INT_MAX];
    struct place at;
    struct item *it;
    int64_t value;

    if (!call_find_typed(c, 0, ITEM_STRING, &it, &at))
        return;
    if (!string_int(it, &value)) {
        reply_error(c->reply, ERROR_NOT_INTEGER);
        return;
    }
    if (!checked_add(value, increment, &value)) {
        reply_error(c->reply, ERROR_OVERFLOW);
        return;
    }
    if (!store(c, 0, it, &at, view_of(digits, num_format_int(digits, value)), it ? item_expiry(it) : -1,
               ITEM_FORM_PLAIN))
        return;
    call_changed(c, 0, "incrby");
    reply_integer(c->reply, value);
}

void cmd_incr(struct call *c)
{
    add_integer(c, 1);
}

void cmd_decr(struct call *c)
{
    add_integer(c, -1);
}

void cmd_incrby(struct call *c)
{
    int64_t increment;

    if (call_arg_int(c, 2, &increment))
        add_integer(c, increment);
}

void cmd_decrby(struct call *c)
{
    int64_t decrement;

    if (!call_arg_int(c, 2, &decrement))
        return;
    if (decrement == INT64_MIN)
        reply_error(c->reply, ERROR_DECR_OVERFLOW);
    else
        add_integer(c, -decrement);
}

void cmd_incrbyfloat(struct call *c)
{
    char digits[NUM_DOUBLE_MAX];
    long double value = 0, increment;
    struct place at;
    struct item *it;
    struct view text;

    if (!call_find_typed(c, 0, ITEM_STRING, &it, &at))
        return;
    if ((it && !num_parse_long_double(item_string(it), &value)) || !num_parse_long_double(c->argv[2], &increment)) {
        reply_error(c->reply, ERROR_NOT_FLOAT);
        return;
    }
    value += increment;
    if (!isfinite(value)) {
        reply_error(c->reply, ERROR_NAN);
        return;
    }
    text = view_of(digits, num_format_long_double(digits, value));
    if (!store(c, 0, it, &at, text, it ? item_expiry(it) : -1, ITEM_FORM_EMBSTR))
        return;
    call_changed(c, 0, "incrbyfloat");
    call_effect(c, (struct view[]){VIEW("SET"), c->keys[0].name, text, VIEW("KEEPTTL")}, 4);
    reply_bulk(c->reply, text);
}
