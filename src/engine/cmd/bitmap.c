/*
 * The commands that see a string as bits. Ranges are turned into bits [from, to) at once, whichever unit they came in:
 * the algorithms (types/bits.h) know nothing of bytes at the edges.
 */
#include "engine/cmd/bitmap.h"

#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "base/num.h"
#include "engine/cmd/work.h"
#include "engine/store/item.h"
#include "engine/types/bits.h"
#include "engine/types/string.h"
#include "engine/types/value.h"
#include "handlers.h"

#define SOURCES_FEW 8 /* sources of BITOP that need no memory of their own */

static const uint8_t *bytes_of(struct view v)
{
    return (const uint8_t *)v.p;
}

bool bitmap_arg_offset(struct call *c, int i, unsigned width, uint64_t *out)
{
    struct view v = c->argv[i];
    int64_t factor = 1, n;

    if (width > 0 && v.n > 0 && v.p[0] == '#') {
        factor = width;
        v = view_of(v.p + 1, v.n - 1);
    }
    if (!num_parse_int(v, &n) || !checked_mul(n, factor, &n) || n < 0 || n >> 3 >= work_string_max(c)) {
        reply_error(c->reply, ERROR_BIT_OFFSET);
        return false;
    }
    *out = (uint64_t)n;
    return true;
}

struct item *bitmap_open(struct call *c, uint64_t last, bool *grown)
{
    struct place at;
    struct item *it;
    size_t had, n;

    if (!call_find_typed(c, 0, ITEM_STRING, &it, &at))
        return NULL;
    had = it ? item_string(it).n : 0;
    n = (last >> 3) + 1 > had ? (last >> 3) + 1 : had;
    if (!work_allowed(c, work_resize(it, n)))
        return NULL;
    *grown = n != had;
    it = string_resize(c->db, c->thread, &c->keys[0], it, &at, n, it != NULL);
    if (!it)
        reply_error(c->reply, ERROR_MEMORY);
    return it;
}

void cmd_setbit(struct call *c)
{
    uint64_t offset;
    int64_t bit;
    struct item *it;
    uint8_t *p;
    bool grown, was;

    if (!bitmap_arg_offset(c, 2, 0, &offset))
        return;
    if (!num_parse_int(c->argv[3], &bit) || (bit != 0 && bit != 1)) {
        reply_error(c->reply, ERROR_BIT_VALUE);
        return;
    }
    it = bitmap_open(c, offset, &grown);
    if (!it)
        return;
    p = (uint8_t *)item_bytes(it);
    was = bits_test(p, offset);
    if (grown || was != (bit == 1)) {
        bits_put(p, offset, bit == 1);
        call_changed(c, 0, "setbit");
    }
    reply_integer(c->reply, was);
}

void cmd_getbit(struct call *c)
{
    uint64_t offset;
    struct item *it;
    struct view v;

    if (!bitmap_arg_offset(c, 2, 0, &offset) || !call_read_typed(c, 0, ITEM_STRING, &it))
        return;
    v = it ? item_string(it) : VIEW("");
    reply_integer(c->reply, offset >> 3 < v.n && bits_test(bytes_of(v), offset));
}

/* ---- ranges ---- */

/* A range as it was given, both ends inclusive. */
struct range {
    int64_t start, end;
    bool in_bits;
};

/* BYTE or BIT at argv[i]; replies and returns false on anything else. */
static bool parse_unit(struct call *c, int i, struct range *r)
{
    r->in_bits = call_arg_is(c, i, "BIT");
    if (r->in_bits || call_arg_is(c, i, "BYTE"))
        return true;
    reply_error(c->reply, ERROR_SYNTAX);
    return false;
}

/* The range in a string of n bytes as bits [*from, *to); false when it is empty. */
static bool range_bits(const struct range *r, size_t n, uint64_t *from, uint64_t *to)
{
    int64_t total = (int64_t)(r->in_bits ? n * 8 : n), start = r->start, end = r->end;
    unsigned shift = r->in_bits ? 0 : 3;

    start = start < 0 ? start + total : start;
    end = end < 0 ? end + total : end;
    start = start < 0 ? 0 : start;
    end = end < 0 ? 0 : end;
    end = end < total ? end : total - 1;
    if (start > end)
        return false;
    *from = (uint64_t)start << shift;
    *to = (uint64_t)(end + 1) << shift;
    return true;
}

void cmd_bitcount(struct call *c)
{
    struct range r = {.end = -1};
    uint64_t from, to;
    struct item *it;
    struct view v;

    if (!call_read_typed(c, 0, ITEM_STRING, &it))
        return;
    if (!it) {
        reply_integer(c->reply, 0);
        return;
    }
    v = item_string(it);
    if (c->argc == 3 || c->argc > 5) {
        reply_error(c->reply, ERROR_SYNTAX);
        return;
    }
    if (c->argc > 3 && (!call_arg_int(c, 2, &r.start) || !call_arg_int(c, 3, &r.end)))
        return;
    if (r.start < 0 && r.end < 0 && r.start > r.end) {
        reply_integer(c->reply, 0);
        return;
    }
    if (c->argc == 5 && !parse_unit(c, 4, &r))
        return;
    if (!range_bits(&r, v.n, &from, &to)) {
        reply_integer(c->reply, 0);
        return;
    }
    if (work_allowed(c, work_scan((to - from) >> 3)))
        reply_integer(c->reply, (int64_t)bits_count(bytes_of(v), from, to));
}

void cmd_bitpos(struct call *c)
{
    struct range r = {.end = -1};
    uint64_t from, to;
    int64_t bit, found;
    struct item *it;
    struct view v;

    if (!call_arg_range(c, 2, 0, 1, ERROR_BIT_ARGUMENT, &bit) || !call_read_typed(c, 0, ITEM_STRING, &it))
        return;
    if (!it) {
        reply_integer(c->reply, bit ? -1 : 0);
        return;
    }
    v = item_string(it);
    if (c->argc > 6) {
        reply_error(c->reply, ERROR_SYNTAX);
        return;
    }
    if ((c->argc > 3 && !call_arg_int(c, 3, &r.start)) || (c->argc == 6 && !parse_unit(c, 5, &r)) ||
        (c->argc > 4 && !call_arg_int(c, 4, &r.end)))
        return;
    if (!range_bits(&r, v.n, &from, &to)) {
        reply_integer(c->reply, -1);
        return;
    }
    if (!work_allowed(c, work_scan((to - from) >> 3)))
        return;
    found = bits_find(bytes_of(v), from, to, bit == 1);
    /* Without an end the string reads as followed by clear bits. */
    if (found < 0 && bit == 0 && c->argc < 5)
        found = (int64_t)v.n * 8;
    reply_integer(c->reply, found);
}

/* ---- BITOP ---- */

static bool parse_operation(struct call *c, enum bits_operation *op)
{
    if (call_arg_is(c, 1, "AND")) {
        *op = BITS_AND;
    } else if (call_arg_is(c, 1, "OR")) {
        *op = BITS_OR;
    } else if (call_arg_is(c, 1, "XOR")) {
        *op = BITS_XOR;
    } else if (call_arg_is(c, 1, "NOT")) {
        *op = BITS_NOT;
    } else {
        reply_error(c->reply, ERROR_SYNTAX);
        return false;
    }
    if (*op != BITS_NOT || c->argc == 4)
        return true;
    reply_error(c->reply, ERROR_BITOP_NOT);
    return false;
}

/* Makes the result under the target (key 0), or removes the target when the result is empty. */
static void store_combined(struct call *c, enum bits_operation op, const struct view *sources, size_t count,
                           size_t longest)
{
    struct item *it = NULL, *old;
    struct place at;

    if (longest > 0) {
        it = item_new_string(c->thread, c->keys[0].name, longest, -1);
        if (!it) {
            reply_error(c->reply, ERROR_MEMORY);
            return;
        }
        it->form = ITEM_FORM_RAW;
        bits_combine(op, (uint8_t *)item_bytes(it), longest, sources, count);
    }
    old = call_find(c, 0, &at);
    if (it) {
        value_overwrite(c->db, c->thread, &c->keys[0], old, &at, it);
        call_changed(c, 0, "set");
    } else if (old) {
        call_delete(c, 0, &at);
    }
    reply_integer(c->reply, (int64_t)longest);
}

void cmd_bitop(struct call *c)
{
    struct view few[SOURCES_FEW], *sources = few;
    unsigned count = c->key_count - 1;
    size_t longest = 0, total = 0;
    enum bits_operation op;

    if (!parse_operation(c, &op))
        return;
    for (unsigned i = 0; i < count; i++) {
        struct item *it = call_find(c, i + 1, NULL);

        if (it && it->type == ITEM_STRING)
            total += item_string(it).n;
    }
    /* The longest is not longer than all of them together. */
    if (!work_allowed(c, work_copy(total) + work_keys(count)))
        return;
    if (count > SOURCES_FEW)
        sources = mem_try(count * sizeof *sources);
    if (!sources) {
        reply_error(c->reply, ERROR_MEMORY);
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        struct item *it;

        if (!call_read_typed(c, i + 1, ITEM_STRING, &it))
            goto done;
        sources[i] = it ? item_string(it) : VIEW("");
        longest = sources[i].n > longest ? sources[i].n : longest;
    }
    store_combined(c, op, sources, count, longest);
done:
    if (sources != few)
        mem_free(sources);
}
