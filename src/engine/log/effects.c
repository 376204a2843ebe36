/* Effects: see effects.h. */
#include "engine/log/effects.h"

#include "base/num.h"

#define KEEP_MAX 65536 /* a longer buffer is not kept for the next unit */
#define HEADER_MAX (NUM_INT_MAX + 3)

static unsigned digits(uint64_t v)
{
    unsigned n = 1;

    for (; v >= 10; v /= 10)
        n++;
    return n;
}

/* "*3\r\n" or "$3\r\n". */
static char *put_header(char *p, char kind, uint64_t v)
{
    *p++ = kind;
    p += num_format_uint(p, v);
    *p++ = '\r';
    *p++ = '\n';
    return p;
}

size_t effects_words_size(const struct view *words, size_t n)
{
    size_t size = digits(n) + 3;

    for (size_t i = 0; i < n; i++)
        size += digits(words[i].n) + 5 + words[i].n;
    return size;
}

void effects_put_words(struct buf *out, const struct view *words, size_t n)
{
    char *p;

    buf_reserve(out, effects_words_size(words, n) + HEADER_MAX);
    p = put_header(out->p + out->len, '*', n);
    for (size_t i = 0; i < n; i++) {
        p = put_header(p, '$', words[i].n);
        if (words[i].n)
            memcpy(p, words[i].p, words[i].n);
        p += words[i].n;
        *p++ = '\r';
        *p++ = '\n';
    }
    out->len = (size_t)(p - out->p);
}

size_t effects_select_size(uint32_t db)
{
    unsigned n = digits(db);

    return sizeof "*2\r\n$6\r\nSELECT\r\n$1\r\n\r\n" - 1 + n;
}

void effects_put_select(struct buf *out, uint32_t db)
{
    char text[NUM_INT_MAX];
    struct view words[] = {VIEW("SELECT"), view_of(text, num_format_uint(text, db))};

    effects_put_words(out, words, 2);
}

/* Counts a command on that database. */
static void begin(struct effects *e, uint32_t db)
{
    if (e->count == 0)
        e->first_db = db;
    else if (e->last_db != db)
        effects_put_select(&e->bytes, db);
    e->last_db = db;
    e->count++;
}

void effects_add(struct effects *e, uint32_t db, const struct view *words, size_t n)
{
    begin(e, db);
    effects_put_words(&e->bytes, words, n);
}

void effects_add_raw(struct effects *e, uint32_t db, struct view raw)
{
    begin(e, db);
    buf_put_view(&e->bytes, raw);
}

void effects_clear(struct effects *e)
{
    if (e->bytes.cap > KEEP_MAX)
        buf_free(&e->bytes);
    buf_clear(&e->bytes);
    e->count = 0;
}
