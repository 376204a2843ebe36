/*
 * Splitting and quoting of words. Decoding never makes a line longer, so one block of the line's size holds all words.
 */
#include "engine/server/config_words.h"

#include <stdint.h>

#include "base/escape.h"
#include "base/mem.h"

/* Reads a line's words from p to end, writing what they decode to at to. */
struct reader {
    const char *p, *end;
    char *to;
};

bool config_words_is_space(char ch)
{
    return ch == ' ' || (ch >= '\t' && ch <= '\r');
}

/* Is the word over behind a closing quote? */
static bool at_break(const struct reader *r)
{
    return r->p == r->end || config_words_is_space(*r->p);
}

/* From behind the opening quote to behind the closing one. */
static bool read_double_quoted(struct reader *r)
{
    while (r->p != r->end) {
        char ch = *r->p++;

        if (ch == '"')
            return at_break(r);
        if (ch == '\\' && r->p != r->end) {
            size_t used;
            ch = escape_decode(r->p - 1, r->end, &used);
            r->p += used - 1;
        }
        *r->to++ = ch;
    }
    return false;
}

static bool read_single_quoted(struct reader *r)
{
    while (r->p != r->end) {
        char ch = *r->p++;

        if (ch == '\'')
            return at_break(r);
        if (ch == '\\' && r->p != r->end && *r->p == '\'')
            ch = *r->p++;
        *r->to++ = ch;
    }
    return false;
}

/* One word; a quote may open in the middle of a bare word, and then ends it. */
static bool read_word(struct reader *r)
{
    while (!at_break(r)) {
        char ch = *r->p++;

        if (ch == '"')
            return read_double_quoted(r);
        if (ch == '\'')
            return read_single_quoted(r);
        *r->to++ = ch;
    }
    return true;
}

static void add_word(struct config_words *w, size_t *room, const char *p, size_t n)
{
    if (w->n == *room) {
        *room = *room != 0 ? *room * 2 : 8;
        w->v = mem_realloc(w->v, *room * sizeof *w->v);
    }
    w->v[w->n++] = view_of(p, n);
}

bool config_words_split(struct view line, struct config_words *out)
{
    struct reader r = {line.p, line.p + line.n, NULL};
    size_t room = 0;

    *out = (struct config_words){.text = mem_alloc(line.n + 1)};
    r.to = out->text;
    for (;;) {
        char *word = r.to;

        while (r.p != r.end && config_words_is_space(*r.p))
            r.p++;
        if (r.p == r.end)
            return true;
        if (!read_word(&r)) {
            config_words_free(out);
            return false;
        }
        add_word(out, &room, word, (size_t)(r.to - word));
    }
}

void config_words_split_spaces(struct view text, struct config_words *out)
{
    size_t room = 0, start = 0;

    *out = (struct config_words){.text = mem_strndup(text.n != 0 ? text.p : "", text.n)};
    if (text.n == 0)
        return;
    for (size_t i = 0; i <= text.n; i++) {
        if (i == text.n || text.p[i] == ' ') {
            add_word(out, &room, out->text + start, i - start);
            start = i + 1;
        }
    }
}

void config_words_free(struct config_words *w)
{
    mem_free(w->v);
    mem_free(w->text);
    *w = (struct config_words){0};
}

void config_words_quote(struct buf *out, struct view v)
{
    static const char plain[] = "\n\r\t\a\b", letters[] = "nrtab";

    buf_put_char(out, '"');
    for (size_t i = 0; i < v.n; i++) {
        char ch = v.p[i];
        const char *at = ch != '\0' ? strchr(plain, ch) : NULL;

        if (ch == '"' || ch == '\\')
            buf_printf(out, "\\%c", ch);
        else if (at != NULL)
            buf_printf(out, "\\%c", letters[at - plain]);
        else if (ch >= ' ' && ch <= '~')
            buf_put_char(out, ch);
        else
            buf_printf(out, "\\x%02x", (unsigned)(uint8_t)ch);
    }
    buf_put_char(out, '"');
}

void config_words_put(struct buf *out, struct view v)
{
    bool bare = v.n != 0;

    for (size_t i = 0; i < v.n && bare; i++)
        bare = v.p[i] > ' ' && v.p[i] <= '~' && v.p[i] != '"' && v.p[i] != '\'';
    if (bare)
        buf_put_view(out, v);
    else
        config_words_quote(out, v);
}
