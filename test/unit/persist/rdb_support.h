/*
 * What tests of the RDB codec need: a source that hands out an exact block in pieces of any size, a visitor that keeps what
 * it sees, and files made of bytes.
 */
#ifndef UNIT_PERSIST_RDB_SUPPORT_H
#define UNIT_PERSIST_RDB_SUPPORT_H

#include "unit/support.h"

#include <errno.h>

#include "base/crc64.h"
#include "engine/persist/rdb.h"
#include "engine/persist/rdb_read.h"
#include "engine/persist/rdb_write.h"
#include "engine/store/item.h"

#define YEAR_2100 INT64_C(4102444800123)
#define FILE_VIEW(a) view_of((const char *)(a), sizeof(a))

/* Hands out `bytes` in pieces, then an end or an error. */
struct feed {
    struct view bytes;
    size_t piece;
    int error;
    int64_t most_used; /* the memory in use at the most, less before */
    int64_t before;
};

static inline ssize_t feed_read(void *arg, void *p, size_t n)
{
    struct feed *f = arg;
    int64_t used = mem_used() - f->before;

    if (used > f->most_used)
        f->most_used = used;
    if (f->bytes.n == 0) {
        errno = f->error;
        return f->error ? -1 : 0;
    }
    n = n < f->piece ? n : f->piece;
    n = n < f->bytes.n ? n : f->bytes.n;
    memcpy(p, f->bytes.p, n);
    f->bytes.p += n;
    f->bytes.n -= n;
    return (ssize_t)n;
}

#define SEEN_MAX 64

struct seen {
    struct thread *thread;
    unsigned items;
    struct item *item[SEEN_MAX];
    uint64_t item_db[SEEN_MAX];
    uint64_t db, keys, expires;
    struct buf aux, functions;
    unsigned stop_after; /* calls; 0 for never */
};

static inline bool go_on(struct seen *s)
{
    return s->stop_after == 0 || --s->stop_after > 0;
}

static inline bool see_aux(void *arg, struct view name, struct view value)
{
    struct seen *s = arg;

    buf_put_view(&s->aux, name);
    buf_put_char(&s->aux, '=');
    buf_put_view(&s->aux, value);
    buf_put_char(&s->aux, '\n');
    return go_on(s);
}

static inline bool see_select(void *arg, uint64_t db)
{
    struct seen *s = arg;

    s->db = db;
    return go_on(s);
}

static inline bool see_resize(void *arg, uint64_t keys, uint64_t expires)
{
    struct seen *s = arg;

    s->keys += keys;
    s->expires += expires;
    return go_on(s);
}

static inline bool see_item(void *arg, struct item *it)
{
    struct seen *s = arg;

    assert_true(s->items < SEEN_MAX);
    s->item_db[s->items] = s->db;
    s->item[s->items++] = it;
    return go_on(s);
}

static inline bool see_function(void *arg, struct view source)
{
    struct seen *s = arg;

    buf_put_view(&s->functions, source);
    return go_on(s);
}

static inline void forget(struct seen *s)
{
    for (unsigned i = 0; i < s->items; i++)
        item_free(s->thread, s->item[i]);
    buf_free(&s->aux);
    buf_free(&s->functions);
    *s = (struct seen){.thread = s->thread};
}

static inline const struct item *find(const struct seen *s, struct view key)
{
    for (unsigned i = 0; i < s->items; i++)
        if (view_equal(item_key(s->item[i]), key))
            return s->item[i];
    return NULL;
}

static const struct rdb_limits usual = {
    .max_string = RDB_STRING_MAX, .check_checksum = true, .drop_expired_before_ms = -1};

/* How a file is read, and what became of it. */
struct reading {
    struct rdb_limits limits;
    struct feed feed;
    struct rdb_error error;
    uint64_t offset;
    struct buf rest; /* what follows the RDB */
};

static inline enum rdb_result read_by(struct support *s, struct view file, struct reading *how, struct seen *seen)
{
    struct rdb_visitor v = {seen, see_aux, see_select, see_resize, see_item, see_function};
    char *copy = malloc(file.n + 1); /* never NULL, for bytes of exactly that length at its end */
    enum rdb_result rc;
    struct rdb_reader *r;

    memcpy(copy + 1, file.p, file.n);
    how->feed.bytes = view_of(copy + 1, file.n);
    how->feed.before = mem_used();
    r = rdb_reader_new(&(struct rdb_source){feed_read, &how->feed}, &s->thread, &how->limits);
    seen->thread = &s->thread;
    rc = rdb_read(r, &v, &how->error);
    how->offset = rdb_reader_offset(r);
    buf_clear(&how->rest);
    buf_put_view(&how->rest, rdb_reader_rest(r));
    buf_put_view(&how->rest, how->feed.bytes);
    rdb_reader_free(r);
    free(copy);
    if (rc != RDB_OK)
        assert_in_range(strnlen(how->error.text, sizeof how->error.text), 1, sizeof how->error.text - 1);
    return rc;
}

static inline enum rdb_result read_file(struct support *s, struct view file, struct seen *seen)
{
    struct reading how = {.limits = usual, .feed.piece = SIZE_MAX};
    enum rdb_result rc = read_by(s, file, &how, seen);

    buf_free(&how.rest);
    return rc;
}

/* Reads a file that is no good: the result, and what the error says. */
static inline void refuse(struct support *s, struct view file, enum rdb_result rc, const char *text, uint64_t offset)
{
    struct reading how = {.limits = usual, .feed.piece = SIZE_MAX};
    struct seen seen = {0};

    assert_int_equal(read_by(s, file, &how, &seen), rc);
    if (strstr(how.error.text, text) == NULL)
        fail_msg("'%s' does not say '%s'", how.error.text, text);
    assert_int_equal(how.error.offset, offset);
    forget(&seen);
    buf_free(&how.rest);
}

/* Appends an end and the right checksum to what was written. */
static inline void finish(struct buf *file)
{
    rdb_put_end(file);
    rdb_put_checksum(file, crc64(0, file->p, file->len));
}

/* A file of these bytes between header and end. */
static inline struct buf file_of(struct view body)
{
    struct buf file = {0};

    rdb_put_header(&file);
    buf_put_view(&file, body);
    finish(&file);
    return file;
}

#define BODY(s) file_of(VIEW(s))
#define HEADER_SIZE 9

static inline void refuse_body(struct support *s, struct view body, enum rdb_result rc, const char *text,
                               uint64_t offset)
{
    struct buf file = file_of(body);

    refuse(s, buf_view(&file), rc, text, HEADER_SIZE + offset);
    buf_free(&file);
}

static inline uint64_t slab_used(const struct support *s)
{
    struct heap_stats stats;

    heap_stats(s->heaps, &stats);
    return stats.used;
}

/* Bytes that no compressor makes shorter, or that any does. */
static inline struct buf bytes_of(struct random *r, size_t n, bool dull)
{
    struct buf b = {0};

    for (size_t i = 0; i < n; i++)
        buf_put_char(&b, (char)(dull ? i % 100 : random_next(r)));
    return b;
}

static inline void check_item(const struct seen *seen, struct view key, struct view value, int64_t expiry)
{
    const struct item *it = find(seen, key);

    assert_non_null(it);
    assert_true(view_equal(item_string(it), value));
    assert_true(item_expiry(it) == expiry);
}

#endif
