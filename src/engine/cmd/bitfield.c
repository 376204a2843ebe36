/*
 * BITFIELD and BITFIELD_RO: numbers of any width at any bit of a string.
 *
 * The arguments are read twice, first to check all of them and to learn how far the string must reach, then to do what
 * they say: reading them is cheap, and so no list of operations has to be kept, whose length a client would choose.
 */
#include <string.h>

#include "base/num.h"
#include "engine/cmd/bitmap.h"
#include "engine/cmd/call.h"
#include "engine/cmd/work.h"
#include "engine/store/item.h"
#include "engine/types/bits.h"
#include "handlers.h"

enum field_action { FIELD_GET, FIELD_SET, FIELD_INCRBY };

struct operation {
    enum field_action action;
    enum bits_overflow overflow; /* kept from one operation to the next */
    bool is_signed;
    unsigned width;
    uint64_t at;
    int64_t value;
};

/* What the first reading learns. */
struct plan {
    size_t operations;
    bool writes;
    uint64_t last; /* highest bit that is written */
};

/* A type such as i16 or u8. */
static bool parse_type(struct call *c, int i, struct operation *op)
{
    struct view v = c->argv[i];
    int64_t width;

    if (v.n > 1 && (v.p[0] == 'i' || v.p[0] == 'u') && num_parse_int(view_of(v.p + 1, v.n - 1), &width)) {
        op->is_signed = v.p[0] == 'i';
        op->width = (unsigned)width;
        if (width >= 1 && width <= (op->is_signed ? 64 : 63))
            return true;
    }
    reply_error(c->reply, ERROR_FIELD_TYPE);
    return false;
}

static bool parse_overflow(struct call *c, int i, struct operation *op)
{
    if (call_arg_is(c, i, "WRAP")) {
        op->overflow = BITS_WRAP;
    } else if (call_arg_is(c, i, "SAT")) {
        op->overflow = BITS_SATURATE;
    } else if (call_arg_is(c, i, "FAIL")) {
        op->overflow = BITS_FAIL;
    } else {
        reply_error(c->reply, ERROR_FIELD_OVERFLOW);
        return false;
    }
    return true;
}

/* Reads the next operation from argv[*i] on, passing over OVERFLOW. 1: read, 0: there is none, -1: replied with an
 * error. */
static int next_operation(struct call *c, int *i, struct operation *op)
{
    int more = c->argc - *i - 1;

    while (more >= 1 && call_arg_is(c, *i, "OVERFLOW")) {
        if (!parse_overflow(c, *i + 1, op))
            return -1;
        *i += 2;
        more -= 2;
    }
    if (*i >= c->argc)
        return 0;
    if (more >= 2 && call_arg_is(c, *i, "GET")) {
        op->action = FIELD_GET;
    } else if (more >= 3 && call_arg_is(c, *i, "SET")) {
        op->action = FIELD_SET;
    } else if (more >= 3 && call_arg_is(c, *i, "INCRBY")) {
        op->action = FIELD_INCRBY;
    } else {
        reply_error(c->reply, ERROR_SYNTAX);
        return -1;
    }
    if (!parse_type(c, *i + 1, op) || !bitmap_arg_offset(c, *i + 2, op->width, &op->at))
        return -1;
    if (op->action != FIELD_GET && !call_arg_int(c, *i + 3, &op->value))
        return -1;
    *i += op->action == FIELD_GET ? 3 : 4;
    return 1;
}

static bool make_plan(struct call *c, struct plan *plan)
{
    struct operation op = {.overflow = BITS_WRAP};
    int i = 2, rc;

    while ((rc = next_operation(c, &i, &op)) > 0) {
        plan->operations++;
        if (op.action == FIELD_GET)
            continue;
        plan->writes = true;
        if (plan->last < op.at + op.width - 1)
            plan->last = op.at + op.width - 1;
    }
    return rc == 0;
}

static int64_t field(const struct operation *op, const uint8_t *p, size_t n)
{
    uint64_t v = bits_field(p, n, op->at, op->width);

    return op->is_signed ? bits_sign(v, op->width) : (int64_t)v;
}

/* What is to be stored, given what is there; true on overflow. */
static bool new_value(const struct operation *op, int64_t old, int64_t *v)
{
    int64_t increment = op->action == FIELD_INCRBY ? op->value : 0;
    uint64_t u;
    bool overflow;

    if (op->action == FIELD_SET)
        old = op->value;
    if (op->is_signed)
        return bits_add_signed(old, increment, op->width, op->overflow, v);
    overflow = bits_add_unsigned((uint64_t)old, increment, op->width, op->overflow, &u);
    *v = (int64_t)u;
    return overflow;
}

/* Does SET or INCRBY, and replies; true when that counts as a change: in a string that was made or grown for it, what is
 * stored need not differ. */
static bool write_field(struct call *c, const struct operation *op, uint8_t *p, size_t n, bool grown)
{
    int64_t old = field(op, p, n), v;

    if (new_value(op, old, &v) && op->overflow == BITS_FAIL) {
        reply_null(c->reply);
        return false;
    }
    bits_set_field(p, op->at, op->width, (uint64_t)v);
    reply_integer(c->reply, op->action == FIELD_SET ? old : v);
    return grown || v != old;
}

static void read_fields(struct call *c, const struct plan *plan)
{
    struct operation op = {.overflow = BITS_WRAP};
    struct item *it;
    struct view v;
    int i = 2;

    if (!call_read_typed(c, 0, ITEM_STRING, &it))
        return;
    v = it ? item_string(it) : VIEW("");
    reply_array(c->reply, plan->operations);
    while (next_operation(c, &i, &op) > 0)
        reply_integer(c->reply, field(&op, (const uint8_t *)v.p, v.n));
}

static void write_fields(struct call *c, const struct plan *plan)
{
    struct operation op = {.overflow = BITS_WRAP};
    uint64_t changes = 0;
    struct item *it;
    bool grown;
    int i = 2;

    it = bitmap_open(c, plan->last, &grown);
    if (!it)
        return;
    reply_array(c->reply, plan->operations);
    while (next_operation(c, &i, &op) > 0) {
        size_t n = item_string(it).n;
        uint8_t *p = (uint8_t *)item_bytes(it);

        if (op.action == FIELD_GET)
            reply_integer(c->reply, field(&op, p, n));
        else
            changes += write_field(c, &op, p, n, grown);
    }
    /* Redis keeps quiet when it grew the string and every operation failed; watchers and the log must know. */
    if (changes == 0 && !grown)
        return;
    call_changed(c, 0, "setbit");
    /* One event, but each operation counts as a change. */
    if (changes > 1)
        c->changes += changes - 1;
}

void cmd_bitfield(struct call *c)
{
    struct plan plan = {0};

    if (!make_plan(c, &plan))
        return;
    if (plan.writes)
        write_fields(c, &plan);
    else
        read_fields(c, &plan);
}

void cmd_bitfield_ro(struct call *c)
{
    struct plan plan = {0};

    if (!make_plan(c, &plan))
        return;
    if (plan.writes)
        reply_error(c->reply, ERROR_FIELD_READONLY);
    else
        read_fields(c, &plan);
}
