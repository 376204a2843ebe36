/*
 * The RDB reader: header, opcodes, keys, checksum. The format is in rdb.h, bytes come from rdb_input.h, values from
 * rdb_types.h.
 *
 * When the checksum is found wrong, all keys have been handed out already: whoever must not show them before keeps them
 * aside. A first pass over the file would cost as much as the reading, and a connection cannot be read twice.
 */
#include "engine/persist/rdb_read.h"

#include <stdlib.h>

#include "base/crc64.h"
#include "base/mem.h"
#include "engine/persist/rdb.h"
#include "engine/persist/rdb_input.h"
#include "engine/persist/rdb_types.h"

#define BUFFER_SIZE (64u << 10)
#define PAYLOAD_FOOTER 10 /* bytes: version and checksum */
#define ACCESS_MASK 0xffffff

/* What opcodes said about the key that comes next. */
struct about_key {
    int64_t expiry; /* ms since the epoch; -1: none */
    int64_t idle;   /* seconds; -1: unknown */
    int frequency;  /* -1: unknown */
};

static const struct about_key nothing_known = {-1, -1, -1};

struct rdb_reader {
    struct rdb_input in;
    struct thread *thread;
    struct rdb_limits limits;
    const struct rdb_visitor *visitor;
    int version;
    struct about_key next;
    struct buf name, value; /* a key, or the strings of an opcode */
    char buffer[BUFFER_SIZE];
};

struct rdb_reader *rdb_reader_new(const struct rdb_source *source, struct thread *t, const struct rdb_limits *limits)
{
    struct rdb_reader *r = mem_alloc(sizeof *r);

    rdb_input_open(&r->in, source, r->buffer, sizeof r->buffer);
    r->in.max_string = limits->max_string < 0 ? 0 : (uint64_t)limits->max_string;
    r->thread = t;
    r->limits = *limits;
    r->next = nothing_known;
    r->name = r->value = (struct buf){0};
    return r;
}

void rdb_reader_free(struct rdb_reader *r)
{
    if (r == NULL)
        return;
    rdb_input_close(&r->in);
    buf_free(&r->name);
    buf_free(&r->value);
    mem_free(r);
}

struct view rdb_reader_rest(const struct rdb_reader *r)
{
    return view_of(r->buffer + r->in.at, r->in.end - r->in.at);
}

uint64_t rdb_reader_offset(const struct rdb_reader *r)
{
    return rdb_input_offset(&r->in);
}

static enum rdb_result stopped(struct rdb_reader *r)
{
    return rdb_input_fail(&r->in, RDB_STOPPED, rdb_reader_offset(r), "loading was stopped");
}

static enum rdb_result too_new(struct rdb_input *in, uint64_t offset, unsigned version)
{
    return rdb_input_fail(in, RDB_TOO_NEW, offset,
                          "RDB version %u is of a newer server: versions up to %d are understood", version,
                          RDB_VERSION_MAX);
}

static enum rdb_result read_header(struct rdb_reader *r)
{
    char text[sizeof RDB_MAGIC - 1 + 4];
    uint64_t version;
    enum rdb_result rc = rdb_input_bytes(&r->in, text, sizeof text);

    if (rc != RDB_OK)
        return rc;
    if (memcmp(text, LIT(RDB_MAGIC)) != 0 || !num_parse_uint(view_of(text + sizeof RDB_MAGIC - 1, 4), &version) ||
        version == 0)
        return rdb_input_fail(&r->in, RDB_DAMAGED, 0,
                              "this is no RDB: it does not begin with " RDB_MAGIC " and a version");
    if (version > RDB_VERSION_MAX)
        return too_new(&r->in, 0, (unsigned)version);
    r->version = (int)version;
    return RDB_OK;
}

static enum rdb_result read_checksum(struct rdb_reader *r)
{
    uint64_t offset = rdb_reader_offset(r), is = rdb_input_crc(&r->in), said;
    enum rdb_result rc;

    if (r->version < RDB_VERSION_CHECKED)
        return RDB_OK;
    rc = rdb_input_uint(&r->in, 8, &said);
    if (rc != RDB_OK || !r->limits.check_checksum || said == 0 || said == is)
        return rc;
    return rdb_input_fail(&r->in, RDB_DAMAGED, offset, "wrong checksum: %016llx is stored, %016llx was computed",
                          (unsigned long long)said, (unsigned long long)is);
}

static enum rdb_result read_lengths(struct rdb_reader *r, uint64_t *out, unsigned n)
{
    enum rdb_result rc = RDB_OK;

    for (unsigned i = 0; i < n && rc == RDB_OK; i++)
        rc = rdb_input_length(&r->in, &out[i]);
    return rc;
}

/* ---- opcodes ----------------------------------------------------------------------------------------------------- */

/* Reads a string into a buffer that is kept from one opcode to the next, unless it grew long. */
static enum rdb_result read_text(struct rdb_reader *r, struct buf *b)
{
    buf_clear(b);
    buf_compact(b);
    return rdb_input_string(&r->in, r->in.max_string, b);
}

static enum rdb_result read_aux(struct rdb_reader *r)
{
    const struct rdb_visitor *v = r->visitor;
    enum rdb_result rc;

    if (!v->aux) {
        rc = rdb_input_skip_string(&r->in);
        return rc == RDB_OK ? rdb_input_skip_string(&r->in) : rc;
    }
    if ((rc = read_text(r, &r->name)) != RDB_OK || (rc = read_text(r, &r->value)) != RDB_OK)
        return rc;
    return v->aux(v->arg, buf_view(&r->name), buf_view(&r->value)) ? RDB_OK : stopped(r);
}

static enum rdb_result read_function(struct rdb_reader *r)
{
    const struct rdb_visitor *v = r->visitor;
    enum rdb_result rc;

    if (!v->function)
        return rdb_input_skip_string(&r->in);
    if ((rc = read_text(r, &r->value)) != RDB_OK)
        return rc;
    return v->function(v->arg, buf_view(&r->value)) ? RDB_OK : stopped(r);
}

static enum rdb_result read_select(struct rdb_reader *r)
{
    const struct rdb_visitor *v = r->visitor;
    uint64_t db;
    enum rdb_result rc = read_lengths(r, &db, 1);

    if (rc == RDB_OK && v->select && !v->select(v->arg, db))
        return stopped(r);
    return rc;
}

static enum rdb_result read_resize(struct rdb_reader *r)
{
    const struct rdb_visitor *v = r->visitor;
    uint64_t sizes[2];
    enum rdb_result rc = read_lengths(r, sizes, 2);

    if (rc == RDB_OK && v->resize && !v->resize(v->arg, sizes[0], sizes[1]))
        return stopped(r);
    return rc;
}

/* Module, moment of saving, and fields up to an end mark: all of it is skipped. */
static enum rdb_result skip_module_aux(struct rdb_reader *r)
{
    uint64_t offset = rdb_reader_offset(r), about[3], field;
    enum rdb_result rc = read_lengths(r, about, 3);

    if (rc == RDB_OK && about[1] != RDB_MODULE_UNSIGNED)
        return rdb_input_fail(&r->in, RDB_DAMAGED, offset, "module data without a moment of saving");
    while (rc == RDB_OK) {
        offset = rdb_reader_offset(r);
        rc = rdb_input_length(&r->in, &field);
        if (rc != RDB_OK || field == RDB_MODULE_END)
            return rc;
        switch (field) {
        case RDB_MODULE_SIGNED:
        case RDB_MODULE_UNSIGNED:
            rc = read_lengths(r, about, 1);
            break;
        case RDB_MODULE_FLOAT:
            rc = rdb_input_skip(&r->in, 4);
            break;
        case RDB_MODULE_DOUBLE:
            rc = rdb_input_skip(&r->in, 8);
            break;
        case RDB_MODULE_STRING:
            rc = rdb_input_skip_string(&r->in);
            break;
        default:
            return rdb_input_fail(&r->in, RDB_DAMAGED, offset, "module data with a field of unknown kind %llu",
                                  (unsigned long long)field);
        }
    }
    return rc;
}

/* Redis takes -1 for no expiry; any other moment before 1970 is as good as 1970. */
static void set_expiry(struct rdb_reader *r, int64_t ms)
{
    r->next.expiry = ms < -1 ? 0 : ms;
}

static enum rdb_result read_expiry(struct rdb_reader *r, uint8_t opcode)
{
    uint64_t v;
    enum rdb_result rc = rdb_input_uint(&r->in, opcode == RDB_OP_EXPIRY_MS ? 8 : 4, &v);

    if (rc == RDB_OK)
        set_expiry(r, opcode == RDB_OP_EXPIRY_MS ? (int64_t)v : (int64_t)(int32_t)v * 1000);
    return rc;
}

static enum rdb_result read_idle(struct rdb_reader *r)
{
    uint64_t idle;
    enum rdb_result rc = read_lengths(r, &idle, 1);

    if (rc == RDB_OK)
        r->next.idle = idle < ACCESS_MASK ? (int64_t)idle : ACCESS_MASK;
    return rc;
}

static enum rdb_result read_frequency(struct rdb_reader *r)
{
    uint8_t frequency;
    enum rdb_result rc = rdb_input_byte(&r->in, &frequency);

    if (rc == RDB_OK)
        r->next.frequency = frequency;
    return rc;
}

static enum rdb_result read_opcode(struct rdb_reader *r, uint8_t opcode)
{
    uint64_t slot[3];

    switch (opcode) {
    case RDB_OP_SLOT_INFO:
        return read_lengths(r, slot, 3);
    case RDB_OP_FUNCTION:
        return read_function(r);
    case RDB_OP_FUNCTION_PRE_GA:
        return rdb_input_fail(&r->in, RDB_UNSUPPORTED, rdb_reader_offset(r) - 1,
                              "a library of functions in the form of a release candidate is not supported");
    case RDB_OP_MODULE_AUX:
        return skip_module_aux(r);
    case RDB_OP_IDLE:
        return read_idle(r);
    case RDB_OP_FREQUENCY:
        return read_frequency(r);
    case RDB_OP_AUX:
        return read_aux(r);
    case RDB_OP_RESIZE:
        return read_resize(r);
    case RDB_OP_EXPIRY_MS:
    case RDB_OP_EXPIRY_SECONDS:
        return read_expiry(r, opcode);
    default: /* RDB_OP_SELECT; the loop knows the end */
        return read_select(r);
    }
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static enum rdb_result find_reader(struct rdb_input *in, uint8_t code, const struct rdb_value_reader **out)
{
    uint64_t offset = rdb_input_offset(in) - 1;

    *out = rdb_value_reader(code);
    if (*out == NULL)
        return rdb_input_fail(in, RDB_DAMAGED, offset, "unknown type code %u", code);
    if ((*out)->read == NULL)
        return rdb_input_fail(in, RDB_UNSUPPORTED, offset, "type %s is not supported", (*out)->name);
    return RDB_OK;
}

/* What the item's access clock would be now, had it been here all the time: the layout is in store/access.h. */
static void set_access(const struct rdb_reader *r, struct item *it)
{
    uint64_t now = (uint64_t)r->limits.now_ms;

    if (r->limits.lru && r->next.idle >= 0)
        it->access = (uint32_t)(now / 1000 - (uint64_t)r->next.idle) & ACCESS_MASK;
    if (r->limits.lfu && r->next.frequency >= 0)
        it->access = (uint32_t)(now / 60000 & 0xffff) << 8 | (uint32_t)r->next.frequency;
}

static enum rdb_result read_key(struct rdb_reader *r, uint8_t code)
{
    const struct rdb_visitor *v = r->visitor;
    int64_t expiry = r->next.expiry;
    const struct rdb_value_reader *reader;
    struct item *it;
    enum rdb_result rc;

    if ((rc = find_reader(&r->in, code, &reader)) != RDB_OK ||
        (rc = rdb_input_string(&r->in, RDB_KEY_MAX, &r->name)) != RDB_OK ||
        (rc = reader->read(&r->in, r->thread, buf_view(&r->name), expiry, &it)) != RDB_OK)
        return rc;
    if (r->name.cap > BUFFER_SIZE)
        buf_free(&r->name);
    set_access(r, it);
    r->next = nothing_known;
    if (v->item == NULL || (expiry >= 0 && expiry <= r->limits.drop_expired_before_ms)) {
        item_free(r->thread, it);
        return RDB_OK;
    }
    return v->item(v->arg, it) ? RDB_OK : stopped(r);
}

static enum rdb_result read_all(struct rdb_reader *r)
{
    enum rdb_result rc = read_header(r);
    uint8_t code;

    while (rc == RDB_OK && (rc = rdb_input_byte(&r->in, &code)) == RDB_OK) {
        if (code == RDB_OP_EOF)
            return read_checksum(r);
        rc = code >= RDB_OP_SLOT_INFO ? read_opcode(r, code) : read_key(r, code);
    }
    return rc;
}

enum rdb_result rdb_read(struct rdb_reader *r, const struct rdb_visitor *v, struct rdb_error *err)
{
    enum rdb_result rc;

    r->visitor = v;
    rc = read_all(r);
    if (rc != RDB_OK)
        *err = r->in.error;
    return rc;
}

/* ---- a single value ---------------------------------------------------------------------------------------------- */

static enum rdb_result read_payload(struct rdb_input *in, struct thread *t, struct view key, int64_t expiry,
                                    struct item **out)
{
    const struct rdb_value_reader *reader;
    struct item *it;
    uint8_t code;
    enum rdb_result rc;

    if ((rc = rdb_input_byte(in, &code)) != RDB_OK || (rc = find_reader(in, code, &reader)) != RDB_OK ||
        (rc = reader->read(in, t, key, expiry, &it)) != RDB_OK)
        return rc;
    if (in->at != in->end) {
        item_free(t, it);
        return rdb_input_fail(in, RDB_DAMAGED, rdb_input_offset(in), "there are bytes behind the value");
    }
    *out = it;
    return RDB_OK;
}

/* Checks the footer of a payload. */
static enum rdb_result check_footer(struct rdb_input *in, struct view payload)
{
    const uint8_t *footer = (const uint8_t *)payload.p + payload.n - PAYLOAD_FOOTER;
    unsigned version = footer[0] | (unsigned)footer[1] << 8;
    uint64_t said = 0;

    if (version > RDB_VERSION_MAX)
        return too_new(in, payload.n - PAYLOAD_FOOTER, version);
    for (unsigned i = 0; i < 8; i++)
        said |= (uint64_t)footer[2 + i] << 8 * i;
    if (said != crc64(0, payload.p, payload.n - 8))
        return rdb_input_fail(in, RDB_DAMAGED, payload.n - 8, "wrong checksum");
    return RDB_OK;
}

enum rdb_result rdb_read_payload(struct thread *t, struct view payload, struct view key, int64_t expiry,
                                 struct item **out, struct rdb_error *err)
{
    struct rdb_input in;
    enum rdb_result rc;

    rdb_input_open_view(&in, view_of(payload.p, payload.n > PAYLOAD_FOOTER ? payload.n - PAYLOAD_FOOTER : 0));
    in.max_string = (uint64_t)RDB_STRING_MAX;
    if (payload.n <= PAYLOAD_FOOTER)
        rc = rdb_input_fail(&in, RDB_TRUNCATED, payload.n, "the data ends too early");
    else if ((rc = check_footer(&in, payload)) == RDB_OK)
        rc = read_payload(&in, t, key, expiry, out);
    if (rc != RDB_OK)
        *err = in.error;
    rdb_input_close(&in);
    return rc;
}
