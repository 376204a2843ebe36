/*
 * Filters: see ec2_filter.h. A pattern is run as the set of places in it that the text read so far can have led to: the
 * work is the length of the text times that of the pattern, whatever both look like.
 */
#include "control/api/ec2_filter.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/num.h"
#include "control/api/call.h"
#include "control/shape/text.h"

#define TAG_PREFIX "tag:"

/* ---- patterns ---- */

enum token_kind { TOKEN_CHARACTER, TOKEN_ANY, TOKEN_ONE_OR_NONE };

struct token {
    enum token_kind kind;
    struct view character;
};

/* Takes the first character off clean text. */
static struct view take_character(struct view *text)
{
    unsigned length = text_next(*text);
    struct view c = view_of(text->p, length > 0 ? length : 1);

    *text = view_of(text->p + c.n, text->n - c.n);
    return c;
}

static size_t read_pattern(struct view pattern, struct token *tokens)
{
    size_t count = 0;

    while (pattern.n > 0) {
        struct view c = take_character(&pattern);
        struct token t = {TOKEN_CHARACTER, c};

        if (c.p[0] == '\\' && pattern.n > 0)
            t.character = take_character(&pattern);
        else if (c.p[0] == '*')
            t.kind = TOKEN_ANY;
        else if (c.p[0] == '?')
            t.kind = TOKEN_ONE_OR_NONE;
        tokens[count++] = t;
    }
    return count;
}

/* Places behind a wildcard that has taken nothing. */
static void pass_over(const struct token *tokens, size_t count, bool *at)
{
    for (size_t i = 0; i < count; i++)
        if (at[i] && tokens[i].kind != TOKEN_CHARACTER)
            at[i + 1] = true;
}

/* From the places before a character to those behind it. False when there is none. */
static bool step(const struct token *tokens, size_t count, struct view c, const bool *from, bool *to)
{
    bool any = false;

    memset(to, 0, (count + 1) * sizeof *to);
    for (size_t i = 0; i < count; i++) {
        if (!from[i])
            continue;
        if (tokens[i].kind == TOKEN_ANY)
            any = to[i] = true;
        else if (tokens[i].kind == TOKEN_ONE_OR_NONE || view_equal(tokens[i].character, c))
            any = to[i + 1] = true;
    }
    pass_over(tokens, count, to);
    return any;
}

static bool fits(struct arena *a, struct view pattern, struct view text)
{
    struct token *tokens;
    bool *at, *next;
    size_t count;

    if (!memchr(pattern.p, '*', pattern.n) && !memchr(pattern.p, '?', pattern.n) && !memchr(pattern.p, '\\', pattern.n))
        return view_equal(pattern, text);
    tokens = arena_alloc(a, pattern.n * sizeof *tokens);
    count = read_pattern(pattern, tokens);
    at = arena_alloc(a, 2 * (count + 1) * sizeof *at);
    next = at + count + 1;
    memset(at, 0, (count + 1) * sizeof *at);
    at[0] = true;
    pass_over(tokens, count, at);
    while (text.n > 0) {
        bool *before = at;

        if (!step(tokens, count, take_character(&text), at, next))
            return false;
        at = next;
        next = before;
    }
    return at[count];
}

void ec2_filter_offer(struct ec2_filter_try *t, struct view value)
{
    struct arena scratch = {0};

    if (!value.p)
        return;
    for (size_t i = 0; i < t->patterns->count && !t->fits; i++)
        t->fits = fits(&scratch, t->patterns->items[i], value);
    arena_free(&scratch);
}

void ec2_filter_offer_flag(struct ec2_filter_try *t, bool value)
{
    ec2_filter_offer(t, value ? VIEW("true") : VIEW("false"));
}

void ec2_filter_offer_integer(struct ec2_filter_try *t, int64_t value)
{
    char text[NUM_INT_MAX];

    ec2_filter_offer(t, view_of(text, num_format_int(text, value)));
}

/* ---- tables ---- */

static const struct ec2_filter_field *find_field(const struct ec2_filter_table *table, struct view name)
{
    for (size_t i = 0; i < table->count; i++)
        if (view_equal(view_str(table->fields[i].name), name))
            return &table->fields[i];
    return NULL;
}

/* The key in "tag:KEY"; p == NULL when the name is none of that form. */
static struct view tag_key(struct view name)
{
    const size_t n = sizeof TAG_PREFIX - 1;

    if (name.n <= n || memcmp(name.p, TAG_PREFIX, n) != 0)
        return (struct view){0};
    return view_of(name.p + n, name.n - n);
}

int ec2_filter_check(struct api_call *c, const struct ec2_filter_table *table, const struct ec2_filter_list *filters)
{
    size_t values = 0;

    for (size_t i = 0; i < filters->count; i++) {
        const struct ec2_filter *f = &filters->items[i];
        bool is_tag = table->tagged && (tag_key(f->name).p || view_equal(f->name, VIEW("tag-key")));

        if (!is_tag && !find_field(table, f->name))
            return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The filter '%.*s' is invalid", CALL_TEXT(f->name));
        if (f->values.count == 0)
            return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The filter '%.*s' has no values", CALL_TEXT(f->name));
        values += f->values.count;
    }
    if (values > EC2_FILTER_VALUES_MAX)
        return call_fail(c, EC2_FILTER_LIMIT_EXCEEDED,
                         "The maximum number of filter values specified on a single call is %d", EC2_FILTER_VALUES_MAX);
    return 0;
}

static void try_tags(struct ec2_filter_try *t, const struct ec2_tag_list *tags, struct view key)
{
    for (size_t i = 0; i < tags->count; i++)
        if (!key.p)
            ec2_filter_offer(t, tags->items[i].key);
        else if (view_equal(tags->items[i].key, key))
            ec2_filter_offer(t, tags->items[i].value);
}

static void try_field(struct ec2_filter_try *t, const struct ec2_filter_field *f, const void *thing)
{
    const char *at = (const char *)thing + f->place;
    struct view text;
    bool flag;

    switch (f->kind) {
    case EC2_FILTER_KIND_NONE:
        break;
    case EC2_FILTER_KIND_TEXT:
        memcpy(&text, at, sizeof text);
        ec2_filter_offer(t, text);
        break;
    case EC2_FILTER_KIND_FLAG:
        memcpy(&flag, at, sizeof flag);
        ec2_filter_offer_flag(t, flag);
        break;
    case EC2_FILTER_KIND_CALL:
        f->offer(t, thing);
        break;
    }
}

bool ec2_filter_passes(struct api_call *c, const struct ec2_filter_table *table, const struct ec2_filter_list *filters,
                       const void *thing)
{
    for (size_t i = 0; i < filters->count; i++) {
        struct ec2_filter_try t = {.call = c, .patterns = &filters->items[i].values};
        const struct ec2_filter_field *f = find_field(table, filters->items[i].name);
        struct ec2_tag_list tags;

        if (f) {
            try_field(&t, f, thing);
        } else {
            memcpy(&tags, (const char *)thing + table->tags, sizeof tags);
            try_tags(&t, &tags, tag_key(filters->items[i].name));
        }
        if (!t.fits)
            return false;
    }
    return true;
}
