/*
 * Commands on keys of any type, and on whole databases.
 *
 * A look-up removes an expired item, and any removal moves what else stands in the partition: where two keys are
 * involved, both are looked up first, and the place that is used is looked up again. The time of a command is frozen, so
 * the second look-up removes nothing.
 */
#include "engine/cmd/generic.h"

#include <limits.h>
#include <stdio.h>

#include "base/num.h"
#include "engine/cmd/work.h"
#include "engine/server/clients.h"
#include "engine/store/access.h"
#include "engine/store/thread.h"
#include "engine/types/value.h"
#include "handlers.h"

/* ---- shared ---- */

const char *generic_type_name(enum item_type type)
{
    static const char *const names[ITEM_TYPES] = {
        [ITEM_STRING] = "string", [ITEM_LIST] = "list", [ITEM_SET] = "set",
        [ITEM_ZSET] = "zset",     [ITEM_HASH] = "hash", [ITEM_STREAM] = "stream",
    };

    return names[type];
}

struct item *generic_peek(struct call *c, unsigned i)
{
    struct item *it = call_find(c, i, NULL);

    tally_add(it ? &c->thread->hits : &c->thread->misses, 1);
    return it;
}

struct item *generic_use(struct call *c, unsigned i, struct place *at)
{
    struct item *it = call_find(c, i, at);

    if (it && !c->session->no_touch)
        access_touch(it, &c->thread->random);
    return it;
}

struct db *generic_db(struct call *c, int i)
{
    int64_t n;

    if (!call_arg_range(c, i, INT_MIN, INT_MAX, ERROR_INT_RANGE, &n))
        return NULL;
    if (n < 0 || n >= (int64_t)keyspace_databases(c->server->keyspace)) {
        reply_error(c->reply, ERROR_DB_INDEX);
        return NULL;
    }
    return keyspace_db(c->server->keyspace, (unsigned)n);
}

bool generic_expired(struct call *c, const struct item *it)
{
    int64_t at = item_expiry(it);

    return at >= 0 && at <= call_now(c);
}

void generic_help(struct call *c, const char *container, const char *const *lines, size_t n)
{
    char head[96];

    snprintf(head, sizeof head, "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", container);
    reply_array(c->reply, n + 3);
    reply_status(c->reply, head);
    for (size_t i = 0; i < n; i++)
        reply_status(c->reply, lines[i]);
    reply_status(c->reply, "HELP");
    reply_status(c->reply, "    Print this help.");
}

#define EXPIRE_WORDS_MAX 8 /* more conditions than these only say the same again */

/* The expiry as the log has it, as a point in time, with the conditions from argv[conditions] on. */
static void log_expiry(struct call *c, int64_t when, int conditions)
{
    char text[NUM_INT_MAX];
    struct view words[EXPIRE_WORDS_MAX] = {VIEW("PEXPIREAT"), c->keys[0].name};
    size_t n = 3;

    if (view_equal_case(c->argv[0], words[0]))
        words[0] = c->argv[0]; /* as it was said */
    words[2] = view_of(text, num_format_int(text, when));
    for (int i = conditions; i > 0 && i < c->argc && n < EXPIRE_WORDS_MAX; i++)
        words[n++] = c->argv[i];
    call_effect(c, words, n);
}

void generic_expire(struct call *c, const struct place *at, int64_t when, int conditions)
{
    if (when <= call_now(c) && !c->session->replays) {
        call_effect_delete(c, 0);
        call_delete(c, 0, at);
        return;
    }
    log_expiry(c, when, conditions);
    db_expire(c->db, c->thread, &c->keys[0], at, when);
    call_changed(c, 0, "expire");
}

bool generic_persist(struct call *c, const struct item *it, const struct place *at)
{
    if (item_expiry(it) < 0)
        return false;
    db_expire(c->db, c->thread, &c->keys[0], at, -1);
    call_changed(c, 0, "persist");
    return true;
}

/* ---- one key, or several of them ---- */

static void delete_keys(struct call *c)
{
    int64_t n = 0;

    if (!work_allowed(c, work_keys(c->key_count)))
        return;
    for (unsigned i = 0; i < c->key_count; i++) {
        struct place at;
        if (!call_find(c, i, &at))
            continue;
        call_delete(c, i, &at);
        n++;
    }
    reply_integer(c->reply, n);
}

/* Freeing a big value is nobody's wait here, so both delete alike. */
void cmd_del(struct call *c)
{
    delete_keys(c);
}

void cmd_unlink(struct call *c)
{
    delete_keys(c);
}

static void count_keys(struct call *c, struct item *(*find)(struct call *c, unsigned i))
{
    int64_t n = 0;

    if (!work_allowed(c, work_keys(c->key_count)))
        return;
    for (unsigned i = 0; i < c->key_count; i++)
        n += find(c, i) != NULL;
    reply_integer(c->reply, n);
}

void cmd_exists(struct call *c)
{
    count_keys(c, generic_peek);
}

/* Also when the connection leaves the access clock alone otherwise (CLIENT NO-TOUCH). */
static struct item *touch(struct call *c, unsigned i)
{
    struct item *it = generic_peek(c, i);

    if (it)
        access_touch(it, &c->thread->random);
    return it;
}

void cmd_touch(struct call *c)
{
    count_keys(c, touch);
}

void cmd_type(struct call *c)
{
    struct item *it = generic_peek(c, 0);

    reply_status(c->reply, it ? generic_type_name(it->type) : "none");
}

/* ---- from one key to another ---- */

/* Puts a new item under key i of db, in the place of what is there. */
static void put(struct call *c, struct db *db, unsigned i, struct item *it)
{
    struct place at;
    struct item *old = call_find_in(c, db, i, &at);

    value_put(db, c->thread, &c->keys[i], old, &at, it);
}

/* Says that the item went from key 0 of c->db to key i of db: two events, one change as Redis counts. */
static void moved(struct call *c, struct db *db, unsigned i, const char *from_event, const char *to_event)
{
    call_changed(c, 0, from_event);
    call_changed_in(c, db, i, to_event);
    c->changes--;
}

static void rename_key(struct call *c, bool only_new)
{
    struct item *from, *it;
    struct place at;

    if (!call_find(c, 0, NULL)) {
        reply_error(c->reply, ERROR_NO_KEY);
        return;
    }
    if (view_equal(c->keys[0].name, c->keys[1].name)) {
        only_new ? reply_integer(c->reply, 0) : reply_ok(c->reply);
        return;
    }
    if (call_find(c, 1, NULL) && only_new) {
        reply_integer(c->reply, 0);
        return;
    }
    from = generic_use(c, 0, &at);
    db_remove(c->db, c->thread, &c->keys[0], &at);
    it = item_move(c->thread, c->keys[1].name, from, item_expiry(from));
    if (!it) {
        db_insert(c->db, c->thread, &c->keys[0], from);
        reply_error(c->reply, ERROR_MEMORY);
        return;
    }
    put(c, c->db, 1, it);
    moved(c, c->db, 1, "rename_from", "rename_to");
    only_new ? reply_integer(c->reply, 1) : reply_ok(c->reply);
}

void cmd_rename(struct call *c)
{
    rename_key(c, false);
}

void cmd_renamenx(struct call *c)
{
    rename_key(c, true);
}

/* Reads COPY's options; on failure replies and returns false. */
static bool copy_options(struct call *c, struct db **db, bool *replace)
{
    *db = c->db;
    *replace = false;
    for (int i = 3; i < c->argc; i++) {
        if (call_arg_is(c, i, "REPLACE")) {
            *replace = true;
        } else if (call_arg_is(c, i, "DB") && i + 1 < c->argc) {
            *db = generic_db(c, ++i);
            if (!*db)
                return false;
        } else {
            reply_error(c->reply, ERROR_SYNTAX);
            return false;
        }
    }
    if (*db == c->db && view_equal(c->keys[0].name, c->keys[1].name)) {
        reply_error(c->reply, ERROR_SAME_OBJECT);
        return false;
    }
    return true;
}

void cmd_copy(struct call *c)
{
    struct item *from, *it;
    struct db *db;
    bool replace;

    if (!copy_options(c, &db, &replace))
        return;
    from = call_find(c, 0, NULL);
    if (from && !work_allowed(c, work_copy(item_memory(from))))
        return;
    from = call_read(c, 0);
    if (!from || (call_find_in(c, db, 1, NULL) && !replace)) {
        reply_integer(c->reply, 0);
        return;
    }
    it = item_copy(c->thread, c->keys[1].name, from, item_expiry(from));
    if (!it) {
        reply_error(c->reply, ERROR_MEMORY);
        return;
    }
    it->access = access_now(); /* a copy has no past */
    put(c, db, 1, it);
    call_changed_in(c, db, 1, "copy_to");
    reply_integer(c->reply, 1);
}

void cmd_move(struct call *c)
{
    struct db *db = generic_db(c, 2);
    struct item *it;
    struct place at;

    if (!db)
        return;
    if (db == c->db) {
        reply_error(c->reply, ERROR_SAME_OBJECT);
        return;
    }
    if (!call_find(c, 0, NULL) || call_find_in(c, db, 0, NULL)) {
        reply_integer(c->reply, 0);
        return;
    }
    it = generic_use(c, 0, &at);
    db_remove(c->db, c->thread, &c->keys[0], &at);
    db_insert(db, c->thread, &c->keys[0], it);
    moved(c, db, 0, "move_from", "move_to");
    reply_integer(c->reply, 1);
}

/* ---- databases ---- */

void cmd_dbsize(struct call *c)
{
    reply_integer(c->reply, (int64_t)db_size(c->db));
}

void cmd_select(struct call *c)
{
    struct db *db = generic_db(c, 1);

    if (!db)
        return;
    c->session->db = db_index(db);
    atomic_store_explicit(&c->session->card->db, c->session->db, memory_order_relaxed);
    reply_ok(c->reply);
}

void cmd_swapdb(struct call *c)
{
    struct keyspace *ks = c->server->keyspace;
    int64_t n[2];

    for (int i = 0; i < 2; i++)
        if (!num_parse_int(c->argv[i + 1], &n[i]) || n[i] < INT_MIN || n[i] > INT_MAX) {
            reply_error(c->reply, i == 0 ? ERROR_FIRST_DB : ERROR_SECOND_DB);
            return;
        }
    for (int i = 0; i < 2; i++)
        if (n[i] < 0 || n[i] >= (int64_t)keyspace_databases(ks)) {
            reply_error(c->reply, ERROR_DB_INDEX);
            return;
        }
    /* Before for the keys that go, after for those that come. */
    for (int turn = 0; turn < 2 && n[0] != n[1]; turn++) {
        call_flushed(c, keyspace_db(ks, (unsigned)n[0]));
        call_flushed(c, keyspace_db(ks, (unsigned)n[1]));
        if (turn == 0)
            keyspace_swap(ks, (unsigned)n[0], (unsigned)n[1]);
    }
    c->changes++;
    reply_ok(c->reply);
}

/* FLUSHDB and FLUSHALL free in the background either way: ASYNC and SYNC are accepted and mean the same. */
static bool flush_options(struct call *c)
{
    if (c->argc == 1 || (c->argc == 2 && (call_arg_is(c, 1, "SYNC") || call_arg_is(c, 1, "ASYNC"))))
        return true;
    reply_error(c->reply, ERROR_SYNTAX);
    return false;
}

static void flush(struct call *c, struct db *db)
{
    if (db_size(db) == 0)
        return;
    call_flushed(c, db);
    c->changes += db_clear(c->server->keyspace, db);
}

void cmd_flushdb(struct call *c)
{
    if (!flush_options(c))
        return;
    flush(c, c->db);
    c->forced = true;
    reply_ok(c->reply);
}

void cmd_flushall(struct call *c)
{
    if (!flush_options(c))
        return;
    for (unsigned i = 0; i < keyspace_databases(c->server->keyspace); i++)
        flush(c, keyspace_db(c->server->keyspace, i));
    c->forced = true;
    reply_ok(c->reply);
}
