/*
 * Requests and replies of RESP. Every input is used twice:
 *
 * - as requests: whole, byte by byte, in two pieces at every place, and in pieces whose sizes the input gives. Each way
 *   must find the same requests, the same number of consumed bytes and the same error. The parser gets a block of
 *   exactly the length that it is told, so that a sanitizer sees it read further. A line that is longer than the limit
 *   is the exception: whether it is an error depends on how much of it came at once, so such inputs go in whole only.
 * - as a program that writes replies, in RESP2 and RESP3. What comes out is read by a strict reader, and must say what
 *   the program wanted to say: both keep a list of events, in a text form where strings carry their lengths.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/num.h"
#include "engine/proto/resp.h"

#define LINE_MAX_BYTES 65536 /* a longer line may be refused */
#define SINGLE_MAX 512       /* longest input that is fed byte by byte */
#define SPLIT_MAX 128        /* longest input that is cut in two at every place */
#define LOGIN_ARGS 10
#define LOGIN_BULK 16384
#define DEPTH_MAX 6

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool good)
{
    if (!good)
        abort();
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static void put_string(struct buf *out, char kind, struct view v)
{
    buf_printf(out, "%c%zu:", kind, v.n);
    buf_put_view(out, v);
    buf_put_char(out, '\n');
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static void check_request(const char *p, size_t n, const struct resp_limits *limits, const struct resp_request *r)
{
    demand(r->consumed > 0 && r->consumed <= n && r->argc >= 0);
    if (*p != '*') {
        demand((size_t)r->argc <= (r->consumed + 1) / 2);
        return;
    }
    demand(r->argc <= limits->max_args && (limits->authenticated || r->argc <= LOGIN_ARGS));
    for (int i = 0; i < r->argc; i++) {
        struct view v = r->argv[i];
        demand(v.p >= p && v.p + v.n <= p + r->consumed);
        demand((int64_t)v.n <= limits->max_bulk && (limits->authenticated || v.n <= LOGIN_BULK));
    }
}

/* Parses what there is, from a block of just that size; appends requests, and the error of a bad one, to `events`. */
static enum resp_parsed parse(const char *p, size_t n, const struct resp_limits *limits, struct resp_partial *partial,
                              struct resp_request *r, struct buf *events)
{
    char *block = malloc(n);
    struct arena arena = {0};
    enum resp_parsed rc;

    demand(block != NULL || n == 0);
    if (n > 0)
        memcpy(block, p, n);
    *r = (struct resp_request){0};
    rc = resp_parse(block, n, limits, &arena, partial, r);
    if (rc == RESP_DONE) {
        check_request(block, n, limits, r);
        buf_printf(events, "%d arguments\n", r->argc);
        for (int i = 0; i < r->argc; i++)
            put_string(events, 'a', r->argv[i]);
    } else if (rc == RESP_BAD) {
        demand(memchr(r->error, '\0', sizeof r->error) != NULL && starts_with(r->error, "ERR Protocol error: "));
        put_string(events, 'e', view_str(r->error));
    } else {
        int64_t longest = limits->authenticated || limits->max_bulk < LOGIN_BULK ? limits->max_bulk : LOGIN_BULK;
        demand(r->need > n && r->need <= n + (size_t)longest + 2);
    }
    arena_free(&arena);
    free(block);
    return rc;
}

/* How the input arrives: `first` bytes, then `later` bytes at a time; 0 for sizes that the input itself gives. */
struct pieces {
    size_t first, later;
};

static size_t next_piece(struct pieces pieces, size_t number, struct view in, size_t at)
{
    size_t n = number == 0 ? pieces.first : pieces.later;

    if (n == 0)
        n = 1 + (unsigned char)in.p[number % in.n];
    return n < in.n - at ? n : in.n - at;
}

/* Appends what the parser finds when the input arrives in these pieces. */
static void feed(struct view in, struct pieces pieces, const struct resp_limits *limits, struct buf *events)
{
    size_t at = 0, have = 0, need = 0;
    struct resp_partial partial = {0};
    struct resp_request r;

    for (size_t number = 0; have < in.n; number++) {
        have += next_piece(pieces, number, in, have);
        while (at < have) {
            enum resp_parsed rc = parse(in.p + at, have - at, limits, &partial, &r, events);
            /* Nobody would have asked before that many bytes came. */
            demand(rc == RESP_MORE || have - at >= need);
            if (rc == RESP_BAD)
                goto done;
            if (rc == RESP_MORE) {
                need = r.need > need ? r.need : need;
                break;
            }
            at += r.consumed;
            need = 0;
        }
    }
done:
    resp_partial_free(&partial);
    buf_printf(events, "%zu consumed\n", at);
}

static void demand_same(struct view in, struct pieces pieces, const struct resp_limits *limits, const struct buf *whole)
{
    struct buf events = {0};

    feed(in, pieces, limits, &events);
    demand(view_equal(buf_view(whole), buf_view(&events)));
    buf_free(&events);
}

/* Before login the same is found, or an error that says why not. */
static void check_login(struct view after, struct view before)
{
    demand(view_equal(after, before) ||
           memmem(before.p, before.n, LIT("ERR Protocol error: unauthenticated ")) != NULL);
}

static void fuzz_requests(struct view in)
{
    static const struct resp_limits limits[] = {
        {512 << 20, INT32_MAX, true},
        {512 << 20, INT32_MAX, false},
        {24, 6, true},
    };
    struct buf whole[3] = {{0}};

    for (size_t i = 0; i < 3; i++) {
        feed(in, (struct pieces){in.n, in.n}, &limits[i], &whole[i]);
        if (in.n > LINE_MAX_BYTES)
            continue;
        demand_same(in, (struct pieces){0, 0}, &limits[i], &whole[i]);
        if (in.n <= SINGLE_MAX)
            demand_same(in, (struct pieces){1, 1}, &limits[i], &whole[i]);
        for (size_t cut = 1; cut < in.n && in.n <= SPLIT_MAX; cut++)
            demand_same(in, (struct pieces){cut, in.n}, &limits[i], &whole[i]);
    }
    check_login(buf_view(&whole[0]), buf_view(&whole[1]));
    for (size_t i = 0; i < 3; i++)
        buf_free(&whole[i]);
}

/* ---- the program that writes replies ----------------------------------------------------------------------------- */

/* A connection's writer, what it should say, and what it has sent. */
struct session {
    struct view program;
    struct resp_writer writer;
    struct buf wanted, sent;
    int64_t owned; /* shared blobs that are not released yet */
};

struct owner {
    struct session *session;
    char *bytes;
};

static void release_owner(void *arg)
{
    struct owner *o = arg;

    o->session->owned--;
    free(o->bytes);
    free(o);
}

/* The next byte of the program; 0 behind its end. */
static unsigned next_byte(struct session *s)
{
    if (s->program.n == 0)
        return 0;
    s->program.n--;
    return (unsigned char)*s->program.p++;
}

static struct view next_string(struct session *s)
{
    size_t n = next_byte(s);
    struct view v = {s->program.p, n < s->program.n ? n : s->program.n};

    s->program.p += v.n;
    s->program.n -= v.n;
    return v;
}

static int64_t next_number(struct session *s)
{
    unsigned width = next_byte(s) % 9;
    uint64_t v = 0;

    for (unsigned i = 0; i < width; i++)
        v = v << 8 | next_byte(s);
    return (int64_t)v;
}

static double next_double(struct session *s)
{
    int64_t bits = next_number(s);
    double v;

    memcpy(&v, &bits, sizeof v);
    return v;
}

/* What an error line may look like on the way: one line, at most 1023 bytes, ended by a NUL. */
static void want_error(struct session *s, const char *text)
{
    size_t from;

    buf_printf(&s->wanted, "error %zu:", strnlen(text, 1023));
    from = s->wanted.len;
    buf_put(&s->wanted, text, strnlen(text, 1023));
    for (size_t i = from; i < s->wanted.len; i++)
        if (s->wanted.p[i] == '\r' || s->wanted.p[i] == '\n')
            s->wanted.p[i] = ' ';
    buf_put_char(&s->wanted, '\n');
}

static void write_error_text(struct session *s)
{
    struct view v = next_string(s);
    char *text = mem_strndup(v.p, v.n);

    reply_error_text(&s->writer.base, text);
    want_error(s, text);
    mem_free(text);
}

static void write_error_format(struct session *s)
{
    struct view name = next_string(s), rest = next_string(s);
    char text[2048];

    reply_error(&s->writer.base, ERROR_UNKNOWN_COMMAND, (int)name.n, name.p, (int)rest.n, rest.p);
    snprintf(text, sizeof text, error_format(ERROR_UNKNOWN_COMMAND), (int)name.n, name.p, (int)rest.n, rest.p);
    want_error(s, text);
}

static void write_shared(struct session *s)
{
    struct view v = next_string(s);
    struct owner *o = malloc(sizeof *o);

    demand(o != NULL);
    o->session = s;
    o->bytes = malloc(v.n);
    demand(o->bytes != NULL || v.n == 0);
    if (v.n > 0)
        memcpy(o->bytes, v.p, v.n);
    s->owned++;
    reply_bulk_shared(&s->writer.base, view_of(o->bytes, v.n), o, release_owner);
    put_string(&s->wanted, '$', v);
}

static void write_double(struct session *s)
{
    double v = next_double(s);
    char text[NUM_DOUBLE_MAX];
    unsigned n = num_format_double(text, v);
    double back;

    demand(isnan(v) || (num_parse_double(view_of(text, n), &back) && back == v));
    reply_double(&s->writer.base, v);
    put_string(&s->wanted, s->writer.base.resp == 2 ? '$' : ',', view_of(text, n));
}

static void write_verbatim(struct session *s)
{
    const char *ext = next_byte(s) % 2 ? "txt" : "mkd";
    struct view v = next_string(s);

    reply_verbatim(&s->writer.base, v, ext);
    if (s->writer.base.resp == 3)
        buf_printf(&s->wanted, "%s ", ext);
    put_string(&s->wanted, s->writer.base.resp == 2 ? '$' : '=', v);
}

static void write_scalar(struct session *s, unsigned op)
{
    struct reply *r = &s->writer.base;
    struct view v;
    int64_t number;

    switch (op) {
    case 0:
        reply_null(r);
        buf_printf(&s->wanted, r->resp == 2 ? "null bulk\n" : "null\n");
        break;
    case 1:
        reply_null_array(r);
        buf_printf(&s->wanted, r->resp == 2 ? "null array\n" : "null\n");
        break;
    case 2:
        number = next_number(s);
        reply_integer(r, number);
        buf_printf(&s->wanted, "integer %lld\n", (long long)number);
        break;
    case 3:
        v = next_string(s);
        reply_bulk(r, v);
        put_string(&s->wanted, '$', v);
        break;
    case 4:
        number = next_number(s);
        reply_bulk_integer(r, number);
        buf_printf(&s->wanted, "$%d:%lld\n", snprintf(NULL, 0, "%lld", (long long)number), (long long)number);
        break;
    case 5:
        number = next_byte(s) % 2;
        reply_boolean(r, number);
        buf_printf(&s->wanted, r->resp == 2 ? "integer %d\n" : "boolean %d\n", (int)number);
        break;
    case 6:
        reply_ok(r);
        buf_printf(&s->wanted, "status 2:OK\n");
        break;
    case 7:
        r->ops->raw(r, LIT("+a line\r\n"));
        buf_printf(&s->wanted, "status 6:a line\n");
        break;
    case 8:
        write_error_text(s);
        break;
    case 9:
        write_error_format(s);
        break;
    case 10:
        write_double(s);
        break;
    case 11:
        write_verbatim(s);
        break;
    default:
        write_shared(s);
        break;
    }
}

static void write_value(struct session *s, unsigned depth);

/* An aggregate whose length is told before its elements, or inserted behind them. */
static void write_aggregate(struct session *s, unsigned depth, char kind, bool inserted)
{
    struct reply *r = &s->writer.base;
    size_t n = next_byte(s) % 12, elements = kind == '%' ? 2 * n : n;
    size_t mark = reply_mark(r);

    if (r->resp == 2)
        buf_printf(&s->wanted, "* %zu\n", elements);
    else
        buf_printf(&s->wanted, "%c %zu\n", kind, n);
    if (!inserted)
        r->ops->aggregate(r, kind, n);
    for (size_t i = 0; i < elements; i++)
        write_value(s, depth + 1);
    if (inserted)
        reply_insert(r, mark, kind, n);
}

static void write_value(struct session *s, unsigned depth)
{
    static const char kinds[] = "**%~";
    unsigned op = next_byte(s) % 24;

    if (op < 16 || depth >= DEPTH_MAX)
        write_scalar(s, op % 16);
    else
        write_aggregate(s, depth, kinds[op % 4], op < 20);
}

/* Sends up to n bytes, with at most `entries` entries at a time. */
static void send_some(struct session *s, size_t n, int entries)
{
    struct iovec iov[8];

    while (n > 0 && resp_pending(&s->writer) > 0) {
        int count = resp_gather(&s->writer, iov, entries);
        size_t taken = 0;
        demand(count > 0 && count <= entries);
        for (int i = 0; i < count && n > 0; i++) {
            size_t take = iov[i].iov_len < n ? iov[i].iov_len : n;
            demand(iov[i].iov_len > 0);
            buf_put(&s->sent, iov[i].iov_base, take);
            taken += take;
            n -= take;
        }
        resp_sent(&s->writer, taken);
    }
}

/* A whole reply, written by a writer of its own and then moved behind the others. */
static void write_moved(struct session *s)
{
    struct resp_writer writer = s->writer;

    resp_writer_init(&s->writer);
    s->writer.base.resp = writer.base.resp;
    write_value(s, 0);
    resp_writer_move(&writer, &s->writer);
    demand(resp_pending(&s->writer) == 0);
    resp_writer_free(&s->writer);
    s->writer = writer;
}

static void write_reply(struct session *s)
{
    struct resp_writer *w = &s->writer;
    size_t mark = w->buf.len, wanted = s->wanted.len;
    unsigned shares = w->share_count, op = next_byte(s) % 8;

    if (op == 0) {
        write_moved(s);
    } else if (op == 1) { /* a reply that nobody wants to see */
        write_value(s, 0);
        resp_writer_cut(w, mark, shares);
        s->wanted.len = wanted;
    } else if (op == 2 && w->base.resp == 3) {
        write_aggregate(s, 0, '>', next_byte(s) % 2);
    } else {
        write_value(s, 0);
    }
    if (next_byte(s) % 2)
        send_some(s, next_byte(s), 1 + (int)(next_byte(s) % 8));
}

/* ---- the reader of replies --------------------------------------------------------------------------------------- */

struct reader {
    const char *p, *end;
    struct buf events;
    unsigned resp;
};

/* The line at the reader's place, without its CR LF; there is no other CR or LF in it. */
static struct view read_line(struct reader *r)
{
    const char *start = r->p;

    while (r->p < r->end && *r->p != '\r' && *r->p != '\n')
        r->p++;
    demand(r->end - r->p >= 2 && r->p[0] == '\r' && r->p[1] == '\n');
    r->p += 2;
    return view_of(start, (size_t)(r->p - 2 - start));
}

static int64_t read_integer(struct reader *r)
{
    int64_t v;

    demand(num_parse_int(read_line(r), &v));
    return v;
}

static struct view read_bytes(struct reader *r, int64_t n)
{
    struct view v = {r->p, (size_t)n};

    demand(n >= 0 && n <= r->end - r->p - 2 && r->p[n] == '\r' && r->p[n + 1] == '\n');
    r->p += n + 2;
    return v;
}

static void read_verbatim(struct reader *r)
{
    struct view v = read_bytes(r, read_integer(r));

    demand(v.n >= 4 && v.p[3] == ':');
    buf_printf(&r->events, "%.3s ", v.p);
    put_string(&r->events, '=', view_of(v.p + 4, v.n - 4));
}

static void read_value(struct reader *r, unsigned depth);

static void read_aggregate(struct reader *r, char kind, int64_t n, unsigned depth)
{
    demand(n >= 0 && depth <= DEPTH_MAX);
    buf_printf(&r->events, "%c %lld\n", kind, (long long)n);
    for (int64_t i = 0; i < (kind == '%' ? 2 * n : n); i++)
        read_value(r, depth + 1);
}

/* What is only in RESP3. */
static void read_value3(struct reader *r, char kind, unsigned depth)
{
    struct view line;

    demand(r->resp == 3);
    switch (kind) {
    case '_':
        demand(read_line(r).n == 0);
        buf_printf(&r->events, "null\n");
        break;
    case '#':
        line = read_line(r);
        demand(line.n == 1 && (*line.p == 't' || *line.p == 'f'));
        buf_printf(&r->events, "boolean %d\n", *line.p == 't');
        break;
    case ',':
        put_string(&r->events, ',', read_line(r));
        break;
    case '=':
        read_verbatim(r);
        break;
    case '>':
        demand(depth == 0);
        /* fall through */
    case '%':
    case '~':
        read_aggregate(r, kind, read_integer(r), depth);
        break;
    default:
        abort();
    }
}

static void read_value(struct reader *r, unsigned depth)
{
    struct view line;
    int64_t n;
    char kind;

    demand(r->p < r->end);
    kind = *r->p++;
    switch (kind) {
    case '+':
    case '-':
        line = read_line(r);
        buf_printf(&r->events, kind == '+' ? "status %zu:" : "error %zu:", line.n);
        buf_put_view(&r->events, line);
        buf_put_char(&r->events, '\n');
        break;
    case ':':
        buf_printf(&r->events, "integer %lld\n", (long long)read_integer(r));
        break;
    case '$':
    case '*':
        n = read_integer(r);
        if (n == -1 && r->resp == 2)
            buf_printf(&r->events, kind == '$' ? "null bulk\n" : "null array\n");
        else if (kind == '$')
            put_string(&r->events, '$', read_bytes(r, n));
        else
            read_aggregate(r, kind, n, depth);
        break;
    default:
        read_value3(r, kind, depth);
        break;
    }
}

static void fuzz_replies(struct view program, unsigned resp)
{
    struct session s = {.program = program};
    struct reader reader = {.resp = resp};

    resp_writer_init(&s.writer);
    s.writer.base.resp = (uint8_t)resp;
    while (s.program.n > 0)
        write_reply(&s);
    if (program.n % 4 == 0) { /* the connection is lost before all is sent */
        resp_writer_free(&s.writer);
        demand(s.owned == 0);
        goto done;
    }
    send_some(&s, SIZE_MAX, 8);
    demand(s.owned == 0 && resp_pending(&s.writer) == 0);
    if (buf_live(&s.sent) > 0) {
        reader.p = buf_head(&s.sent);
        reader.end = reader.p + buf_live(&s.sent);
    }
    while (reader.p < reader.end)
        read_value(&reader, 0);
    demand(view_equal(buf_view(&reader.events), buf_view(&s.wanted)));
    resp_writer_free(&s.writer);
done:
    buf_free(&reader.events);
    buf_free(&s.wanted);
    buf_free(&s.sent);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view in = {(const char *)data, size};

    if (size == 0)
        return 0;
    fuzz_requests(in);
    fuzz_replies(in, 2);
    fuzz_replies(in, 3);
    return 0;
}
