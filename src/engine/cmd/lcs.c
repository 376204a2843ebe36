/*
 * LCS, the longest common subsequence of two strings.
 *
 * The table of lengths is never built. Along one row of it a length grows by 0 or 1 per column, so a row is a bit vector,
 * and the next row follows from it by an addition, sixty-four columns at a time (Hyyro, "Bit-parallel LCS-length
 * computation revisited", 2004). The rows are kept where the subsequence itself is wanted: walking back needs lengths of
 * neighbours only, and a length is the number of steps before it in its row. The shorter string makes the columns, so
 * that the rows fill their words.
 *
 * Which of several longest subsequences is found, and where it breaks into ranges, is visible to clients: at a mismatch
 * the walk leaves the last byte of the first string if that keeps a longer common subsequence, else that of the second.
 * The limit on memory is that of a table of 32-bit lengths, as clients know it; this needs a fraction of that.
 */
#include <string.h>

#include "base/mem.h"
#include "engine/cmd/call.h"
#include "engine/cmd/work.h"
#include "engine/store/item.h"
#include "engine/types/bits.h"
#include "handlers.h"

#define WORD_BITS 64u
#define WORDS_PER_US 256 /* a cautious figure */

struct options {
    bool length, ranges, with_length;
    int64_t min_length;
};

struct lcs {
    struct view rows, columns; /* the longer string, the shorter string */
    bool rows_first;           /* `rows` is the first string of the command */
    size_t words;              /* of a bit vector over the columns */
    uint64_t *match;           /* 256 vectors: the columns that have this byte */
    uint64_t *row; /* the vector after each row (kept) or after the last; bit clear: the length grows there */
    bool kept;
    uint32_t length;
};

/* Ranges are written when they end, walking backwards. */
struct range {
    bool open;
    uint32_t first_start, first_end, second_start, second_end;
};

static struct view string_of(const struct item *it)
{
    return it ? item_string(it) : VIEW("");
}

static bool parse_options(struct call *c, struct options *o)
{
    for (int i = 3; i < c->argc; i++) {
        if (call_arg_is(c, i, "IDX")) {
            o->ranges = true;
        } else if (call_arg_is(c, i, "LEN")) {
            o->length = true;
        } else if (call_arg_is(c, i, "WITHMATCHLEN")) {
            o->with_length = true;
        } else if (call_arg_is(c, i, "MINMATCHLEN") && i + 1 < c->argc) {
            if (!call_arg_int(c, ++i, &o->min_length))
                return false;
        } else {
            reply_error(c->reply, ERROR_SYNTAX);
            return false;
        }
    }
    if (o->ranges && o->length) {
        reply_error(c->reply, ERROR_LCS_OPTIONS);
        return false;
    }
    return true;
}

static bool size_ok(struct call *c, struct view a, struct view b)
{
    unsigned __int128 table = (unsigned __int128)(a.n + 1) * (b.n + 1) * sizeof(uint32_t);

    if (a.n >= UINT32_MAX - 1 || b.n >= UINT32_MAX - 1) {
        reply_error(c->reply, ERROR_LCS_LENGTH);
        return false;
    }
    if (table > (unsigned __int128)work_string_max(c)) {
        reply_error(c->reply, ERROR_LCS_LIMIT);
        return false;
    }
    return true;
}

/* Where the vector after row r starts. */
static uint64_t *row_after(const struct lcs *l, size_t r)
{
    return l->row + (l->kept ? r * l->words : 0);
}

/* How much the length after row r grows over the columns before `column`. */
static uint32_t length_at(const struct lcs *l, size_t r, size_t column)
{
    const uint64_t *v = row_after(l, r);
    size_t word = column / WORD_BITS, rest = column % WORD_BITS;
    uint64_t level = 0;

    for (size_t i = 0; i < word; i++)
        level += (uint64_t)__builtin_popcountll(v[i]);
    if (rest > 0)
        level += (uint64_t)__builtin_popcountll(v[word] & (((uint64_t)1 << rest) - 1));
    return (uint32_t)(column - level);
}

/* Computes the rows; false when there is no memory. The caller frees l->match. */
static bool compute(struct lcs *l)
{
    size_t words = l->words, rows = l->kept && l->rows.n > 0 ? l->rows.n : 1, n = 256 * words;

    l->match = mem_try((n + rows * words) * sizeof *l->match);
    if (!l->match)
        return false;
    memset(l->match, 0, n * sizeof *l->match);
    l->row = l->match + n;
    for (size_t i = 0; i < l->columns.n; i++)
        l->match[(uint8_t)l->columns.p[i] * words + i / WORD_BITS] |= (uint64_t)1 << i % WORD_BITS;
    memset(l->row, 0xff, words * sizeof *l->row);
    for (size_t r = 0; r < l->rows.n; r++) {
        const uint64_t *match = l->match + (uint8_t)l->rows.p[r] * words;
        const uint64_t *before = row_after(l, r > 0 ? r - 1 : 0);
        uint64_t *after = row_after(l, r);
        unsigned carry = 0;

        for (size_t i = 0; i < words; i++) {
            uint64_t v = before[i], sum, again;

            carry = __builtin_add_overflow(v, (uint64_t)carry, &sum);
            again = __builtin_add_overflow(sum, v & match[i], &sum);
            after[i] = sum | (v & ~match[i]);
            carry |= (unsigned)again;
        }
    }
    l->length = l->rows.n > 0 ? length_at(l, l->rows.n - 1, l->columns.n) : 0;
    return true;
}

static void reply_range(struct call *c, const struct options *o, const struct range *r, int64_t *ranges)
{
    int64_t length = (int64_t)r->first_end - r->first_start + 1;

    if (!o->ranges || length < o->min_length)
        return;
    reply_array(c->reply, o->with_length ? 3 : 2);
    reply_array(c->reply, 2);
    reply_integer(c->reply, r->first_start);
    reply_integer(c->reply, r->first_end);
    reply_array(c->reply, 2);
    reply_integer(c->reply, r->second_start);
    reply_integer(c->reply, r->second_end);
    if (o->with_length)
        reply_integer(c->reply, length);
    ++*ranges;
}

/* Walks from the end of both strings to the start of one: replies with the ranges, or fills out with the subsequence. */
static int64_t walk(struct call *c, const struct options *o, const struct lcs *l, char *out)
{
    size_t x = l->rows.n, y = l->columns.n; /* bytes of rows, of columns that are left */
    uint32_t length = l->length;            /* of the subsequence of what is left */
    struct range r = {0};
    int64_t ranges = 0;

    while (x > 0 && y > 0) {
        if (l->rows.p[x - 1] == l->columns.p[y - 1]) {
            x--;
            y--;
            if (!r.open) {
                r.first_end = (uint32_t)(l->rows_first ? x : y);
                r.second_end = (uint32_t)(l->rows_first ? y : x);
            }
            r.open = true;
            r.first_start = (uint32_t)(l->rows_first ? x : y);
            r.second_start = (uint32_t)(l->rows_first ? y : x);
            length--;
            if (out)
                out[length] = l->rows.p[x];
        } else {
            uint32_t without_row = x > 1 ? length_at(l, x - 2, y) : 0;
            bool level = row_after(l, x - 1)[(y - 1) / WORD_BITS] >> (y - 1) % WORD_BITS & 1;
            uint32_t without_column = length - !level;

            if (l->rows_first ? without_row > without_column : without_row >= without_column) {
                x--;
                length = without_row;
            } else {
                y--;
                length = without_column;
            }
            if (r.open)
                reply_range(c, o, &r, &ranges);
            r.open = false;
        }
    }
    if (r.open)
        reply_range(c, o, &r, &ranges);
    return ranges;
}

static void reply_ranges(struct call *c, const struct options *o, const struct lcs *l)
{
    size_t mark;
    int64_t ranges;

    reply_map(c->reply, 2);
    reply_bulk(c->reply, VIEW("matches"));
    mark = reply_mark(c->reply);
    ranges = walk(c, o, l, NULL);
    reply_insert(c->reply, mark, '*', (size_t)ranges);
    reply_bulk(c->reply, VIEW("len"));
    reply_integer(c->reply, l->length);
}

static void reply_subsequence(struct call *c, const struct options *o, const struct lcs *l)
{
    char *out = mem_try(l->length + 1);

    if (!out) {
        reply_error(c->reply, ERROR_MEMORY);
        return;
    }
    walk(c, o, l, out);
    reply_bulk(c->reply, view_of(out, l->length));
    mem_free(out);
}

void cmd_lcs(struct call *c)
{
    struct options o = {0};
    struct lcs l = {0};
    struct item *first = call_find(c, 0, NULL), *second = call_find(c, 1, NULL);
    struct view a, b;

    if ((first && first->type != ITEM_STRING) || (second && second->type != ITEM_STRING)) {
        reply_error(c->reply, ERROR_LCS_TYPE);
        return;
    }
    a = string_of(first);
    b = string_of(second);
    if (!parse_options(c, &o) || !size_ok(c, a, b))
        return;
    l.rows_first = a.n >= b.n;
    l.rows = l.rows_first ? a : b;
    l.columns = l.rows_first ? b : a;
    l.words = l.columns.n / WORD_BITS + 1;
    l.kept = !o.length;
    if (!work_allowed(c, (uint64_t)l.rows.n * l.words / WORDS_PER_US))
        return;
    /* Found above without being counted, for a command that may have to run again. */
    call_read(c, 0);
    call_read(c, 1);
    if (!compute(&l))
        reply_error(c->reply, ERROR_LCS_MEMORY);
    else if (o.ranges)
        reply_ranges(c, &o, &l);
    else if (o.length)
        reply_integer(c->reply, l.length);
    else
        reply_subsequence(c, &o, &l);
    mem_free(l.match);
}
