/* Types and type codes: see rdb_types.h. */
#include "engine/persist/rdb_types.h"

#include <assert.h>

#include "engine/persist/rdb_write.h"

/* ---- strings ----------------------------------------------------------------------------------------------------- */

#define CODE_STRING 0

#define STEP_MAX ((size_t)4 << 20) /* each step moves page tables: so long values take longer steps */

static uint8_t string_code(const struct item *it)
{
    (void)it;
    return CODE_STRING;
}

static void put_string(struct buf *out, const struct item *it, bool compress, struct blob **big)
{
    if (big != NULL && (it->flags & ITEM_BLOB) && item_blob(it)->len >= RDB_BIG)
        *big = blob_ref(item_blob(it));
    else
        rdb_put_string(out, item_string(it), compress);
}

static void set_blob(struct item *it, struct blob *b)
{
    memcpy(item_value(it), &b, sizeof b);
}

/* Lets the blob of the item grow to hold n bytes; of its `have` bytes more may be promised than there are. */
static bool grow_blob(struct item *it, size_t have, size_t n)
{
    size_t step = have / 4;
    struct blob *b;

    if (step < RDB_INPUT_STEP)
        step = RDB_INPUT_STEP;
    if (step > STEP_MAX)
        step = STEP_MAX;
    if (n - have < step)
        step = n - have;
    b = blob_grow(item_blob(it), have + step);
    if (b == NULL)
        return false;
    b->len = have + step;
    set_blob(it, b);
    return true;
}

/* The bytes of a plain string, into an item that has room for the first `have` of n. */
static enum rdb_result read_long(struct rdb_input *in, struct item *it, size_t have, size_t n)
{
    enum rdb_result rc = rdb_input_bytes(in, item_bytes(it), have);

    while (rc == RDB_OK && have < n) {
        size_t from = have;

        if (!grow_blob(it, have, n))
            return rdb_input_fail(in, RDB_NO_MEMORY, rdb_input_offset(in), "no memory for a string");
        have = item_blob(it)->len;
        rc = rdb_input_bytes(in, item_bytes(it) + from, have - from);
    }
    return rc;
}

static enum rdb_result read_string(struct rdb_input *in, struct thread *t, struct view key, int64_t expiry,
                                   struct item **out)
{
    struct rdb_string s;
    enum rdb_result rc = rdb_input_string_head(in, in->max_string, &s);
    size_t first = s.n;
    struct item *it;

    if (rc != RDB_OK)
        return rc;
    if (s.kind == RDB_STRING_PLAIN && first > RDB_INPUT_STEP)
        first = RDB_INPUT_STEP;
    it = item_new_string(t, key, first, expiry);
    if (it == NULL)
        return rdb_input_fail(in, RDB_NO_MEMORY, rdb_input_offset(in), "no memory for a string");
    rc = first < s.n ? read_long(in, it, first, s.n) : rdb_input_string_body(in, &s, item_bytes(it));
    if (rc != RDB_OK) {
        item_free(t, it);
        return rc;
    }
    *out = it;
    return RDB_OK;
}

/* ---- the tables -------------------------------------------------------------------------------------------------- */

static const struct rdb_value_writer writers[ITEM_TYPES] = {
    [ITEM_STRING] = {string_code, put_string},
};

static const struct rdb_value_reader readers[] = {
    [CODE_STRING] = {"string", read_string},
    [1] = {"list", NULL},
    [2] = {"set", NULL},
    [3] = {"sorted set (scores as text)", NULL},
    [4] = {"hash", NULL},
    [5] = {"sorted set", NULL},
    [6] = {"module (of a release candidate)", NULL},
    [7] = {"module", NULL},
    [9] = {"hash (zipmap)", NULL},
    [10] = {"list (ziplist)", NULL},
    [11] = {"set (intset)", NULL},
    [12] = {"sorted set (ziplist)", NULL},
    [13] = {"hash (ziplist)", NULL},
    [14] = {"list (quicklist of ziplists)", NULL},
    [15] = {"stream (version 1)", NULL},
    [16] = {"hash (listpack)", NULL},
    [17] = {"sorted set (listpack)", NULL},
    [18] = {"list (quicklist of listpacks)", NULL},
    [19] = {"stream (version 2)", NULL},
    [20] = {"set (listpack)", NULL},
    [21] = {"stream (version 3)", NULL},
    [22] = {"hash (with field expiry, of a release candidate)", NULL},
    [23] = {"hash (listpack with field expiry, of a release candidate)", NULL},
    [24] = {"hash (with field expiry)", NULL},
    [25] = {"hash (listpack with field expiry)", NULL},
};

const struct rdb_value_writer *rdb_value_writer(const struct item *it)
{
    assert(it->type < ITEM_TYPES && writers[it->type].put != NULL);
    return &writers[it->type];
}

const struct rdb_value_reader *rdb_value_reader(uint8_t code)
{
    if (code >= sizeof readers / sizeof *readers || readers[code].name == NULL)
        return NULL;
    return &readers[code];
}
