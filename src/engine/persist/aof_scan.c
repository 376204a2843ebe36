/*
 * The scanner; see aof_scan.h. `in` begins where the current command does, and places in it are offsets from there:
 * they outlast its growing. A command is parsed once, however it arrives; views are made when it is whole.
 *
 * Rejected: the parser of requests. It takes inline commands, forgives a missing '\n', says nothing of where a torn
 * command began, and knows none of the annotations.
 */
#include "engine/persist/aof_scan.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"

#define READ_MIN 65536
#define READ_MAX ((size_t)1 << 20)
#define LENGTH_DIGITS 20
#define ANNOTATION_MAX 65536
#define ARGS_KEPT 4096 /* memory for more arguments goes when their command does */
#define MAGIC "REDIS"
#define TIME_MARK "#TS:"

void aof_scan_init(struct aof_scan *s, aof_source *source, void *arg, int64_t max_bulk)
{
    *s = (struct aof_scan){.source = source, .arg = arg, .max_bulk = max_bulk, .time = -1};
    if (s->max_bulk > INT64_MAX / 4)
        s->max_bulk = INT64_MAX / 4;
}

static void free_args(struct aof_scan *s)
{
    mem_free(s->args);
    mem_free(s->places);
    s->args = NULL;
    s->places = NULL;
    s->args_cap = s->places_cap = 0;
}

void aof_scan_free(struct aof_scan *s)
{
    free_args(s);
    buf_free(&s->in);
    s->argv = NULL;
    s->argc = 0;
}

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

/* Reads what comes, up to 1 MiB when so much is wanted; the result is the source's, or -ENOMEM. */
static ssize_t read_more(struct aof_scan *s, size_t wanted)
{
    size_t n = wanted < READ_MIN ? READ_MIN : wanted > READ_MAX ? READ_MAX : wanted;
    size_t live = buf_live(&s->in);
    ssize_t got;

    if (s->at_eof)
        return 0;
    if (s->in.off > 0 && s->in.cap > 4 * READ_MAX && live < READ_MIN) {
        buf_compact(&s->in);
    } else if (s->in.off > 0) {
        memmove(s->in.p, s->in.p + s->in.off, live);
        s->in.off = 0;
        s->in.len = live;
    }
    if (buf_try_reserve(&s->in, n) != 0)
        return -ENOMEM;
    got = s->source(s->arg, s->in.p + s->in.len, n);
    if (got > 0) {
        s->in.len += (size_t)got;
        s->received += got;
    }
    s->at_eof = got == 0;
    return got;
}

/* Has `in` n bytes? Reads them if not: 1, 0 when the file ends before, or a negative errno value. */
static inline int need(struct aof_scan *s, size_t n)
{
    while (buf_live(&s->in) < n) {
        ssize_t got = read_more(s, n - buf_live(&s->in));
        if (got <= 0)
            return (int)got;
    }
    return 1;
}

static inline char byte_at(const struct aof_scan *s, size_t at)
{
    return s->in.p[s->in.off + at];
}

/* Leaves the command behind that the last call gave. */
static void drop(struct aof_scan *s)
{
    buf_consume(&s->in, (size_t)(s->end - s->start));
    s->start = s->end;
    s->argv = NULL;
    s->argc = 0;
    if (s->args_cap > ARGS_KEPT || s->places_cap > 2 * ARGS_KEPT)
        free_args(s);
}

bool aof_scan_is_rdb(struct aof_scan *s)
{
    return s->end == 0 && need(s, sizeof MAGIC - 1) > 0 && memcmp(buf_head(&s->in), LIT(MAGIC)) == 0;
}

ssize_t aof_scan_read(struct aof_scan *s, void *p, size_t n)
{
    int rc;

    drop(s);
    if (n == 0)
        return 0;
    if ((rc = need(s, 1)) <= 0)
        return rc;
    if (n > buf_live(&s->in))
        n = buf_live(&s->in);
    memcpy(p, buf_head(&s->in), n);
    buf_consume(&s->in, n);
    s->start = s->end = s->end + (int64_t)n;
    return (ssize_t)n;
}

void aof_scan_unread(struct aof_scan *s, const void *p, size_t n)
{
    struct buf in = {0};

    drop(s);
    buf_put(&in, p, n);
    buf_put_view(&in, buf_view(&s->in));
    buf_free(&s->in);
    s->in = in;
    s->start = s->end = s->end - (int64_t)n;
}

/* ---- endings ----------------------------------------------------------------------------------------------------- */

static enum aof_found fail(struct aof_scan *s, int error)
{
    s->error = error;
    return AOF_FAILED;
}

static enum aof_found torn(struct aof_scan *s, const char *reason)
{
    s->reason = reason;
    return AOF_TORN;
}

/* What need() says instead of 1. */
static enum aof_found short_of(struct aof_scan *s, int rc)
{
    return rc < 0 ? fail(s, rc) : torn(s, "the file ends in the middle of a command");
}

static bool is_zero(const char *p, size_t n)
{
    return n == 0 || (p[0] == '\0' && memcmp(p, p + 1, n - 1) == 0);
}

/* The byte at this place is none that can be there: damage, unless it and all behind it are zeros. */
static enum aof_found bad(struct aof_scan *s, size_t at, const char *reason)
{
    ssize_t got;

    s->reason = reason;
    buf_consume(&s->in, at);
    do {
        if (!is_zero(buf_head(&s->in), buf_live(&s->in)))
            return AOF_DAMAGED;
        buf_clear(&s->in);
    } while ((got = read_more(s, READ_MIN)) > 0);
    return got < 0 ? fail(s, (int)got) : torn(s, "zero bytes up to the end of the file");
}

/* ---- commands ---------------------------------------------------------------------------------------------------- */

/* Makes room for one more in an array of which `used` elements of `size` bytes are taken. */
static bool grow(void **p, size_t *cap, size_t used, size_t size)
{
    size_t more = *cap != 0 ? 2 * *cap : 64;
    void *q;

    if (used < *cap)
        return true;
    q = mem_try_realloc(*p, more * size);
    if (q == NULL)
        return false;
    *p = q;
    *cap = more;
    return true;
}

/* Reads "<mark><number>\r\n" at *at, and moves that behind it. */
static enum aof_found parse_length(struct aof_scan *s, char mark, size_t *at, int64_t *value)
{
    size_t first = *at + 1, i = first;
    int rc;

    if ((rc = need(s, first)) <= 0)
        return short_of(s, rc);
    if (byte_at(s, *at) != mark)
        return bad(s, *at,
                   mark == '*' ? "no '*' where a command should begin" : "no '$' where an argument should begin");
    for (;; i++) {
        if ((rc = need(s, i + 1)) <= 0)
            return short_of(s, rc);
        if (byte_at(s, i) == '\r')
            break;
        if (byte_at(s, i) < '0' || byte_at(s, i) > '9' || i - first >= LENGTH_DIGITS)
            return bad(s, i, "a length is no number");
    }
    if ((rc = need(s, i + 2)) <= 0)
        return short_of(s, rc);
    if (byte_at(s, i + 1) != '\n')
        return bad(s, i + 1, "no line end behind a length");
    if (!num_parse_int(view_of(buf_head(&s->in) + first, i - first), value))
        return bad(s, first, "a length is no number");
    *at = i + 2;
    return AOF_COMMAND;
}

/* Reads an argument at *at, and moves that behind it. */
static enum aof_found parse_arg(struct aof_scan *s, size_t *at, size_t number)
{
    size_t length_at = *at, end;
    enum aof_found found;
    int64_t length;
    int rc;

    if ((found = parse_length(s, '$', at, &length)) != AOF_COMMAND)
        return found;
    if (length > s->max_bulk)
        return bad(s, length_at, "an argument is too long");
    end = *at + (size_t)length;
    if ((rc = need(s, end + 2)) <= 0)
        return short_of(s, rc);
    if (byte_at(s, end) != '\r')
        return bad(s, end, "no line end behind an argument");
    if (byte_at(s, end + 1) != '\n')
        return bad(s, end + 1, "no line end behind an argument");
    if (!grow((void **)&s->places, &s->places_cap, 2 * number + 1, sizeof *s->places))
        return fail(s, -ENOMEM);
    s->places[2 * number] = *at;
    s->places[2 * number + 1] = (size_t)length;
    *at = end + 2;
    return AOF_COMMAND;
}

/* The command is whole: its views. */
static bool make_views(struct aof_scan *s, size_t count)
{
    const char *p = buf_head(&s->in);

    if (count > s->args_cap) {
        struct view *args = mem_try_realloc(s->args, count * sizeof *args);
        if (args == NULL)
            return false;
        s->args = args;
        s->args_cap = count;
    }
    for (size_t i = 0; i < count; i++)
        s->args[i] = view_of(p + s->places[2 * i], s->places[2 * i + 1]);
    s->argv = s->args;
    s->argc = count;
    return true;
}

static enum aof_found parse_command(struct aof_scan *s)
{
    enum aof_found found;
    int64_t count;
    size_t at = 0;

    if ((found = parse_length(s, '*', &at, &count)) != AOF_COMMAND)
        return found;
    if (count < 1 || count > AOF_SCAN_ARGS_MAX)
        return bad(s, 0, "a command cannot have so many arguments");
    for (size_t i = 0; i < (size_t)count; i++)
        if ((found = parse_arg(s, &at, i)) != AOF_COMMAND)
            return found;
    if (!make_views(s, (size_t)count))
        return fail(s, -ENOMEM);
    if (view_is(s->argv[0], "MULTI")) {
        if (s->in_multi)
            return bad(s, 0, "MULTI within MULTI");
        s->in_multi = true;
        s->multi_at = s->start;
    } else if (view_is(s->argv[0], "EXEC")) {
        if (!s->in_multi)
            return bad(s, 0, "EXEC without MULTI");
        s->in_multi = false;
    }
    s->end = s->start + (int64_t)at;
    return AOF_COMMAND;
}

/* The line at the beginning of `in` is an annotation. */
static enum aof_found parse_annotation(struct aof_scan *s)
{
    size_t i = 1, n;
    int64_t seconds;
    int rc;

    for (;; i++) {
        if ((rc = need(s, i + 1)) <= 0)
            return short_of(s, rc);
        if (byte_at(s, i) == '\n')
            break;
        if (byte_at(s, i) == '\0' || i >= ANNOTATION_MAX)
            return bad(s, i, "an annotation is no line");
    }
    n = i > 0 && byte_at(s, i - 1) == '\r' ? i - 1 : i;
    if (n > sizeof TIME_MARK - 1 && memcmp(buf_head(&s->in), LIT(TIME_MARK)) == 0 &&
        num_parse_int(view_of(buf_head(&s->in) + sizeof TIME_MARK - 1, n - (sizeof TIME_MARK - 1)), &seconds) &&
        seconds >= 0)
        s->time = seconds;
    s->end = s->start + (int64_t)i + 1;
    return AOF_COMMAND;
}

static enum aof_found next(struct aof_scan *s)
{
    for (;;) {
        enum aof_found found;
        int rc;

        drop(s);
        if ((rc = need(s, 1)) < 0)
            return fail(s, rc);
        if (rc == 0 && !s->in_multi)
            return AOF_CLEAN;
        if (rc == 0) {
            s->end = s->multi_at;
            return torn(s, "the file ends in the middle of a transaction");
        }
        if (byte_at(s, 0) != '#')
            return parse_command(s);
        if ((found = parse_annotation(s)) != AOF_COMMAND)
            return found;
    }
}

enum aof_found aof_scan_next(struct aof_scan *s)
{
    if (s->found == AOF_COMMAND)
        s->found = next(s);
    if (s->found != AOF_COMMAND) {
        s->argv = NULL;
        s->argc = 0;
    }
    return s->found;
}

int64_t aof_scan_valid(const struct aof_scan *s)
{
    return s->in_multi ? s->multi_at : s->end;
}

int64_t aof_scan_total(const struct aof_scan *s)
{
    return s->received;
}
