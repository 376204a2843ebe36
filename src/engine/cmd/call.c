/* What handlers reach keys through: see call.h. */
#include "engine/cmd/call.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/num.h"
#include "engine/log/effects.h"
#include "engine/store/watch.h"
#include "engine/server/config.h"
#include "engine/server/server.h"
#include "engine/store/access.h"
#include "engine/store/keyspace.h"

#define WAIT_US 20           /* between two looks at a partition that is taken */
#define WORKER_BUDGET_US 500 /* more than this moves to the slow lane */

int64_t call_now(struct call *c)
{
    if (c->now == 0)
        c->now = clock_wall_ms();
    return c->now;
}

static struct partition *partition_of(struct call *c, const struct key *key)
{
    return &c->server->keyspace->partitions[key_partition(key)];
}

/* DEL, or UNLINK where Redis is told to free such things in the background: that is all that this setting means here. */
static void log_delete(struct call *c, struct db *db, const struct key *key, const config_number *lazily)
{
    bool unlink = atomic_load_explicit((config_number *)lazily, memory_order_relaxed) != 0;
    struct view words[] = {unlink ? VIEW("UNLINK") : VIEW("DEL"), key->name};

    if (c->effects)
        effects_add(c->effects, db_index(db), words, 2);
}

static struct item *expire_now(struct call *c, struct db *db, const struct key *key, const struct place *at,
                               struct item *it)
{
    db_remove(db, c->thread, key, at);
    item_free(c->thread, it);
    watch_changed(partition_of(c, key), db, key);
    tally_add(&c->thread->expired, 1);
    tally_add(&c->thread->expired_lazily, 1);
    log_delete(c, db, key, &c->server->config->lazyfree_lazy_expire);
    return NULL;
}

/* What has expired, as this command sees it. On a replica the primary's DEL removes it, and during CLIENT PAUSE nothing
 * changes: until then it is only hidden from those who read. */
static __attribute__((noinline)) struct item *find_expired(struct call *c, struct db *db, const struct key *key,
                                                           const struct place *at, struct item *it)
{
    struct server *s = c->server;

    if (c->session->replays)
        return it;
    if (!(c->command->flags & COMMAND_WRITE) &&
        (atomic_load_explicit(&s->is_replica, memory_order_relaxed) ||
         atomic_load_explicit(&s->pause_until_ms, memory_order_relaxed) > call_now(c)))
        return NULL;
    return expire_now(c, db, key, at, it);
}

/* The item, unless it has expired: then it goes, as a change of its own. */
static inline struct item *find_live(struct call *c, struct db *db, const struct key *key, struct place *at)
{
    struct place here;
    struct item *it = db_find(db, key, &here);

    if (it && (it->flags & ITEM_EXPIRES) && item_expiry(it) <= call_now(c))
        it = find_expired(c, db, key, &here, it);
    if (at)
        *at = here;
    return it;
}

/* Declared key i, whose partition the executor locked: a handler gets at no other. */
static inline const struct key *declared(const struct call *c, unsigned i)
{
    if (__builtin_expect(i >= c->key_count, 0))
        abort();
    return &c->keys[i];
}

struct item *call_find(struct call *c, unsigned i, struct place *at)
{
    return find_live(c, c->db, declared(c, i), at);
}

struct item *call_find_in(struct call *c, struct db *db, unsigned i, struct place *at)
{
    return find_live(c, db, declared(c, i), at);
}

struct item *call_read(struct call *c, unsigned i)
{
    struct item *it = find_live(c, c->db, declared(c, i), NULL);

    if (!it) {
        tally_add(&c->thread->misses, 1);
        return NULL;
    }
    tally_add(&c->thread->hits, 1);
    if (!c->session->no_touch)
        access_touch(it, &c->thread->random);
    return it;
}

static bool typed(struct call *c, const struct item *it, enum item_type type)
{
    if (!it || it->type == type)
        return true;
    reply_error(c->reply, ERROR_WRONGTYPE);
    return false;
}

bool call_read_typed(struct call *c, unsigned i, enum item_type type, struct item **it)
{
    *it = call_read(c, i);
    return typed(c, *it, type);
}

bool call_find_typed(struct call *c, unsigned i, enum item_type type, struct item **it, struct place *at)
{
    *it = call_find(c, i, at);
    return typed(c, *it, type);
}

void call_changed_in(struct call *c, struct db *db, unsigned i, const char *event)
{
    (void)event; /* keyspace notifications start here */
    c->changes++;
    watch_changed(partition_of(c, &c->keys[i]), db, &c->keys[i]);
}

void call_changed(struct call *c, unsigned i, const char *event)
{
    call_changed_in(c, c->db, i, event);
}

static bool is_present(struct db *db, const struct key *key)
{
    return db_find(db, key, NULL) != NULL;
}

void call_flushed(struct call *c, struct db *db)
{
    struct keyspace *ks = c->server->keyspace;

    assert(c->exclusive);
    if (db_size(db) == 0)
        return;
    for (uint32_t p = 0; p < PARTITIONS; p++)
        watch_changed_all(&ks->partitions[p], db, is_present);
}

void call_delete(struct call *c, unsigned i, const struct place *at)
{
    struct item *it = bucket_ref(at->bucket, at->slot);

    db_remove(c->db, c->thread, &c->keys[i], at);
    item_free(c->thread, it);
    call_changed(c, i, "del");
}

void call_effect(struct call *c, const struct view *words, size_t n)
{
    c->logged = true;
    if (c->effects)
        effects_add(c->effects, db_index(c->db), words, n);
}

void call_effect_delete(struct call *c, unsigned i)
{
    c->logged = true;
    log_delete(c, c->db, declared(c, i), &c->server->config->lazyfree_lazy_expire);
}

void call_effect_set(struct call *c, unsigned i, struct view value, int64_t when)
{
    char text[NUM_INT_MAX];
    struct view words[] = {VIEW("SET"), declared(c, i)->name, value, VIEW("PXAT"), {text, 0}};

    words[4].n = when >= 0 ? num_format_int(text, when) : 0;
    call_effect(c, words, when >= 0 ? 5 : 3);
}

void call_wait(struct call *c, int64_t until_ms)
{
    if (atomic_load(&c->server->ended))
        return;
    c->session->waiting = true;
    c->session->wait_until_ms = until_ms;
    c->verdict = CALL_WAITS;
}

bool call_may_take(struct call *c, uint64_t cost_us)
{
    if (c->in_lane || cost_us <= WORKER_BUDGET_US)
        return true;
    c->verdict = CALL_TO_LANE;
    return false;
}

bool call_hold(struct call *c, uint32_t partition)
{
    struct partition *p = &c->server->keyspace->partitions[partition];

    if (c->walking == partition)
        return true;
    call_unhold(c);
    if (!c->exclusive && c->in_lane)
        c->server->ops->let_in(c->server->ops_arg, c->thread);
    if (!c->exclusive)
        while (!partition_try_briefly(p)) {
            if (!c->in_lane) {
                c->verdict = CALL_BUSY;
                c->busy = partition;
                return false;
            }
            clock_sleep_us(WAIT_US); /* its holder waits for nobody, or for others in order: exec/executor.c */
        }
    c->walking = partition;
    return true;
}

void call_unhold(struct call *c)
{
    uint32_t partition = c->walking;

    c->walking = PARTITIONS;
    if (partition != PARTITIONS && !c->exclusive)
        keyspace_release(c->server->keyspace, partition);
}

bool call_arg_int(struct call *c, int i, int64_t *out)
{
    if (num_parse_int(c->argv[i], out))
        return true;
    reply_error(c->reply, ERROR_NOT_INTEGER);
    return false;
}

bool call_arg_range(struct call *c, int i, int64_t min, int64_t max, enum error_id id, int64_t *out)
{
    if (!call_arg_int(c, i, out))
        return false;
    if (*out >= min && *out <= max)
        return true;
    reply_error(c->reply, id);
    return false;
}
