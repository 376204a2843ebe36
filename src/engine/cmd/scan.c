/*
 * SCAN, KEYS and RANDOMKEY: commands that walk over partitions.
 *
 * They hold one partition at a time, and only while they read it: names are copied out, and the reply is written when
 * nothing is held. A walk on a worker gives up at a partition that is taken; SCAN then answers with the cursor that it
 * reached, the others start again. Expired keys that are still there are passed over.
 */
#include <string.h>

#include "base/buf.h"
#include "base/glob.h"
#include "base/mem.h"
#include "base/num.h"
#include "engine/cmd/generic.h"
#include "engine/store/thread.h"
#include "handlers.h"

#define CURSOR_BITS 53
#define CURSOR_MASK ((UINT64_C(1) << CURSOR_BITS) - 1)
#define SCAN_STEPS 10    /* bucket chains that SCAN looks at for each key of COUNT */
#define RANDOM_TRIES 100 /* random keys that may turn out to be expired */
#define RANDOM_SMALL 64  /* with so few keys, all are visited */

/* Looking at that many keys, in the microseconds of call_may_take. */
static uint64_t work_visit(uint64_t keys)
{
    return keys / 5;
}

/* ---- gathering names ---- */

struct names {
    struct call *call;
    struct buf bytes; /* each a size_t and the name */
    size_t count;
    uint64_t visited;
    bool filtered; /* pattern applies */
    struct view pattern;
    bool typed; /* type applies */
    struct view type;
    bool no_memory;
};

static void names_visit(void *arg, struct item *it)
{
    struct names *names = arg;
    struct view key = item_key(it);

    names->visited++;
    if (names->no_memory || (names->filtered && !glob_match(names->pattern, key, false)) ||
        (names->typed && !view_equal_case(names->type, view_str(generic_type_name(it->type)))) ||
        generic_expired(names->call, it))
        return;
    if (buf_try_reserve(&names->bytes, sizeof key.n + key.n) != 0) {
        names->no_memory = true;
        return;
    }
    buf_put(&names->bytes, &key.n, sizeof key.n);
    buf_put_view(&names->bytes, key);
    names->count++;
}

/* "*" alone matches everything, the empty key too, which no other pattern of stars does. */
static void names_filter(struct names *names, struct view pattern)
{
    names->pattern = pattern;
    names->filtered = !(pattern.n == 1 && pattern.p[0] == '*');
}

static void names_reply(struct names *names, struct reply *r)
{
    const char *p = names->count > 0 ? buf_head(&names->bytes) : NULL;

    reply_array(r, names->count);
    for (size_t i = 0; i < names->count; i++) {
        size_t n;
        memcpy(&n, p, sizeof n);
        reply_bulk(r, view_of(p + sizeof n, n));
        p += sizeof n + n;
    }
}

/* ---- SCAN ---- */

/* Reads a cursor as Redis does, with strtoul's leniency: a sign, leading zeros, nothing at all, and whatever follows a
 * NUL. */
static bool cursor_parse(struct view v, uint64_t *out)
{
    const char *nul = v.n ? memchr(v.p, '\0', v.n) : NULL;
    size_t n = nul ? (size_t)(nul - v.p) : v.n, i = 0;
    bool negative = n > 0 && v.p[0] == '-';
    uint64_t value = 0;

    if (n > 0 && (v.p[0] == '-' || v.p[0] == '+') && ++i == n)
        return false;
    for (; i < n; i++)
        if (v.p[i] < '0' || v.p[i] > '9' || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(v.p[i] - '0'), &value))
            return false;
    *out = negative ? 0 - value : value;
    return true;
}

/* Reads the options from argv[2] on; on failure replies and returns false. */
static bool scan_options(struct call *c, struct names *names, int64_t *count)
{
    *count = 10;
    for (int i = 2; i < c->argc; i += 2) {
        bool more = i + 1 < c->argc;
        if (more && call_arg_is(c, i, "COUNT")) {
            if (!call_arg_range(c, i + 1, 1, INT64_MAX, ERROR_SYNTAX, count))
                return false;
        } else if (more && call_arg_is(c, i, "MATCH")) {
            names_filter(names, c->argv[i + 1]);
        } else if (more && call_arg_is(c, i, "TYPE")) {
            names->typed = true;
            names->type = c->argv[i + 1];
        } else {
            reply_error(c->reply, ERROR_SYNTAX);
            return false;
        }
    }
    return true;
}

/* Visits about `count` keys from the cursor on, and moves it. False when a taken partition kept it from starting. */
static bool scan_walk(struct call *c, struct names *names, uint64_t *cursor, uint64_t count)
{
    uint64_t steps = count < UINT64_MAX / SCAN_STEPS ? count * SCAN_STEPS : UINT64_MAX;
    bool begun = false;

    do {
        uint32_t partition = db_next_partition(c->db, *cursor);
        if (partition == PARTITIONS) {
            *cursor = DB_CURSOR_END;
        } else if (call_hold(c, partition)) {
            *cursor = db_scan(c->db, partition, *cursor, names_visit, names);
        } else if (begun) {
            c->verdict = CALL_DONE;
            break;
        } else {
            return false;
        }
        begun = true;
    } while (*cursor != DB_CURSOR_END && --steps > 0 && names->visited < count && !names->no_memory);
    call_unhold(c);
    return true;
}

void cmd_scan(struct call *c)
{
    struct names names = {.call = c};
    uint64_t cursor, size = db_size(c->db);
    char text[NUM_INT_MAX];
    int64_t count;

    if (!cursor_parse(c->argv[1], &cursor)) {
        reply_error(c->reply, ERROR_INVALID_CURSOR);
        return;
    }
    if (!scan_options(c, &names, &count))
        return;
    if (!call_may_take(c, work_visit((uint64_t)count < size ? (uint64_t)count : size)))
        return;
    cursor &= CURSOR_MASK;
    if (!scan_walk(c, &names, &cursor, (uint64_t)count)) {
        buf_free(&names.bytes);
        return;
    }
    if (names.no_memory) {
        reply_error(c->reply, ERROR_MEMORY);
    } else {
        reply_array(c->reply, 2);
        reply_bulk(c->reply, view_of(text, num_format_uint(text, cursor)));
        names_reply(&names, c->reply);
    }
    buf_free(&names.bytes);
}

/* ---- KEYS ---- */

void cmd_keys(struct call *c)
{
    struct names names = {.call = c};
    uint64_t cursor = 0;

    if (!call_may_take(c, work_visit(db_size(c->db))))
        return;
    names_filter(&names, c->argv[1]);
    do {
        uint32_t partition = db_next_partition(c->db, cursor);
        if (partition == PARTITIONS)
            break;
        if (!call_hold(c, partition)) {
            buf_free(&names.bytes);
            return;
        }
        cursor = db_scan(c->db, partition, cursor, names_visit, &names);
    } while (cursor != DB_CURSOR_END && !names.no_memory);
    call_unhold(c);
    if (names.no_memory)
        reply_error(c->reply, ERROR_MEMORY);
    else
        names_reply(&names, c->reply);
    buf_free(&names.bytes);
}

/* ---- RANDOMKEY ---- */

/* A sample of one from a stream of unknown length: the n-th replaces the choice with probability 1/n (Vitter,
 * "Random sampling with a reservoir", 1985, for the case of one). */
struct choice {
    struct call *call;
    uint64_t seen;
    struct buf name;
    bool no_memory;
};

static void choice_take(struct choice *choice, struct item *it)
{
    struct view key = item_key(it);

    buf_clear(&choice->name);
    choice->no_memory = buf_try_reserve(&choice->name, key.n) != 0;
    if (!choice->no_memory)
        buf_put_view(&choice->name, key);
}

static void choice_visit(void *arg, struct item *it)
{
    struct choice *choice = arg;

    if (!generic_expired(choice->call, it) && random_below(&choice->call->thread->random, ++choice->seen) == 0)
        choice_take(choice, it);
}

/* Chooses among all keys. False when a partition is taken. */
static bool random_among_all(struct call *c, struct choice *choice)
{
    uint64_t cursor = 0;

    do {
        uint32_t partition = db_next_partition(c->db, cursor);
        if (partition == PARTITIONS)
            break;
        if (!call_hold(c, partition))
            return false;
        cursor = db_scan(c->db, partition, cursor, choice_visit, choice);
    } while (cursor != DB_CURSOR_END);
    return true;
}

/* A partition that is not empty, each with the same chance while there are not too few; PARTITIONS for none. */
static uint32_t random_partition(struct call *c)
{
    uint32_t partition = PARTITIONS;

    for (unsigned i = 0; i < PARTITIONS / RANDOM_SMALL; i++) {
        uint64_t cursor = random_next(&c->thread->random) & CURSOR_MASK;
        uint32_t next = db_next_partition(c->db, cursor);
        if (next < PARTITIONS)
            partition = next;
        if (next == cursor / (CURSOR_MASK / PARTITIONS + 1))
            break;
    }
    return partition < PARTITIONS ? partition : db_next_partition(c->db, 0);
}

/* Tries random partitions until one gives a key. False when a partition is taken. */
static bool random_try(struct call *c, struct choice *choice)
{
    for (unsigned i = 0; i < RANDOM_TRIES && choice->seen == 0; i++) {
        uint32_t partition = random_partition(c);
        struct item *it;
        if (partition == PARTITIONS)
            break;
        if (!call_hold(c, partition))
            return false;
        it = db_random(c->db, c->thread, partition);
        if (it && !generic_expired(c, it)) {
            choice->seen = 1;
            choice_take(choice, it);
        }
    }
    return true;
}

void cmd_randomkey(struct call *c)
{
    struct choice choice = {.call = c};
    uint64_t size = db_size(c->db);
    bool done = true;

    if (size > RANDOM_SMALL)
        done = random_try(c, &choice);
    if (done && choice.seen == 0)
        done = call_may_take(c, work_visit(size)) && random_among_all(c, &choice);
    if (done) {
        call_unhold(c);
        if (choice.no_memory)
            reply_error(c->reply, ERROR_MEMORY);
        else if (choice.seen == 0)
            reply_null(c->reply);
        else
            reply_bulk(c->reply, buf_live(&choice.name) > 0 ? buf_view(&choice.name) : VIEW(""));
    }
    buf_free(&choice.name);
}
