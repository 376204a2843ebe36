/*
 * The RDB reader. The first byte of an input says how the rest arrives, and the rest is used three times: as a file, whole
 * and in pieces, which must tell the same; and as the value of a payload, with a footer that fits. What was read is
 * written, and must be read back as the same keys; written again it must give the same bytes, if not compressed.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/crc64.h"
#include "base/random.h"
#include "engine/persist/rdb_read.h"
#include "engine/persist/rdb_write.h"
#include "engine/store/access.h"
#include "engine/store/heap.h"
#include "engine/store/item.h"
#include "engine/store/thread.h"

#define STRING_MAX (1 << 20) /* keeps what a compressed string becomes small */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct thread thread;

static void demand(bool good)
{
    if (!good)
        abort();
}

struct feed {
    struct view bytes;
    size_t piece;
};

static ssize_t feed_read(void *arg, void *p, size_t n)
{
    struct feed *f = arg;

    demand(n > 0);
    n = n < f->piece ? n : f->piece;
    n = n < f->bytes.n ? n : f->bytes.n;
    if (n > 0)
        memcpy(p, f->bytes.p, n);
    f->bytes.p += n;
    f->bytes.n -= n;
    return (ssize_t)n;
}

/* What was read, as text, and as an RDB again. */
struct seen {
    struct buf events, written;
    struct rdb_options options;
};

static void put_string(struct buf *out, struct view v)
{
    buf_printf(out, "%zu:", v.n);
    buf_put_view(out, v);
    buf_put_char(out, '\n');
}

static bool see_aux(void *arg, struct view name, struct view value)
{
    struct seen *s = arg;

    put_string(&s->events, name);
    put_string(&s->events, value);
    rdb_put_aux(&s->written, name, value);
    return true;
}

static bool see_select(void *arg, uint64_t db)
{
    struct seen *s = arg;

    if (db > UINT32_MAX)
        return false;
    buf_printf(&s->events, "select %llu\n", (unsigned long long)db);
    rdb_put_select(&s->written, (uint32_t)db);
    return true;
}

static bool see_resize(void *arg, uint64_t keys, uint64_t expires)
{
    struct seen *s = arg;

    buf_printf(&s->events, "resize %llu %llu\n", (unsigned long long)keys, (unsigned long long)expires);
    rdb_put_resize(&s->written, keys, expires);
    return true;
}

static bool see_item(void *arg, struct item *it)
{
    struct seen *s = arg;
    struct blob *big;

    buf_printf(&s->events, "%lld %u ", (long long)item_expiry(it), it->access);
    put_string(&s->events, item_key(it));
    put_string(&s->events, item_string(it));
    rdb_put_item(&s->written, it, &s->options, &big);
    if (big) {
        rdb_put_string(&s->written, view_of(big->bytes, big->len), s->options.compress);
        blob_unref(big);
    }
    item_free(&thread, it);
    return true;
}

static enum rdb_result read_file(struct view file, size_t piece, bool check, struct seen *seen, struct rdb_error *err)
{
    struct rdb_limits limits = {.max_string = STRING_MAX, .check_checksum = check, .drop_expired_before_ms = -1};
    struct rdb_visitor v = {seen, see_aux, see_select, see_resize, see_item, NULL};
    struct feed feed = {file, piece};
    struct rdb_reader *r;
    enum rdb_result rc;

    limits.lru = seen->options.lru;
    limits.lfu = seen->options.lfu;
    limits.now_ms = seen->options.now_ms;
    r = rdb_reader_new(&(struct rdb_source){feed_read, &feed}, &thread, &limits);
    rdb_put_header(&seen->written);
    rc = rdb_read(r, &v, err);
    rdb_put_end(&seen->written);
    rdb_put_checksum(&seen->written, crc64(0, seen->written.p, seen->written.len));
    if (rc == RDB_OK)
        demand(rdb_reader_offset(r) + rdb_reader_rest(r).n + feed.bytes.n == file.n);
    else
        demand(err->offset <= file.n && err->text[0] != '\0' && memchr(err->text, '\0', sizeof err->text) != NULL);
    rdb_reader_free(r);
    return rc;
}

static void forget(struct seen *seen)
{
    buf_free(&seen->events);
    buf_free(&seen->written);
}

static void fuzz_file(struct view file, uint8_t how)
{
    struct rdb_options options = {how & 1, (how & 6) == 2, (how & 6) == 4, 1, INT64_C(1700000000000)};
    struct seen whole = {.options = options}, pieces = {.options = options}, again = {.options = options};
    struct rdb_error err = {0}, err_pieces = {0};
    enum rdb_result rc;

    access_configure(options.lfu, 10, options.lfu_decay_minutes);
    access_tick(options.now_ms);
    rc = read_file(file, SIZE_MAX, false, &whole, &err);
    demand(read_file(file, 1 + how / 8, false, &pieces, &err_pieces) == rc);
    demand(view_equal(buf_view(&whole.events), buf_view(&pieces.events)));
    demand(err.offset == err_pieces.offset && strcmp(err.text, err_pieces.text) == 0);
    demand(read_file(buf_view(&whole.written), SIZE_MAX, true, &again, &err) == RDB_OK);
    demand(view_equal(buf_view(&whole.events), buf_view(&again.events)));
    /* The compressor may find another form for the same bytes. */
    demand(options.compress || view_equal(buf_view(&whole.written), buf_view(&again.written)));
    forget(&whole);
    forget(&pieces);
    forget(&again);
}

static void fuzz_payload(struct view value, bool compress)
{
    static const char version[] = {10, 0};
    struct buf payload = {0}, again = {0};
    struct item *it, *other;
    struct rdb_error err;
    char *block;

    buf_put_view(&payload, value);
    buf_put(&payload, version, sizeof version);
    rdb_put_checksum(&payload, crc64(0, payload.p, payload.len));
    /* A block of exactly that size, so that a sanitizer sees what is read behind it. */
    block = malloc(payload.len);
    demand(block != NULL);
    memcpy(block, payload.p, payload.len);
    if (rdb_read_payload(&thread, view_of(block, payload.len), VIEW("key"), -1, &it, &err) == RDB_OK) {
        rdb_put_payload(&again, it, compress);
        demand(rdb_read_payload(&thread, buf_view(&again), VIEW("key"), -1, &other, &err) == RDB_OK);
        demand(view_equal(item_string(it), item_string(other)));
        item_free(&thread, it);
        item_free(&thread, other);
    }
    free(block);
    buf_free(&payload);
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view rest;

    if (thread.heap == NULL) {
        thread.heap = heap_new(heap_shared_new());
        random_seed(&thread.random);
    }
    if (size == 0)
        return 0;
    rest = view_of((const char *)data + 1, size - 1);
    fuzz_file(rest, data[0]);
    fuzz_payload(rest, data[0] & 1);
    return 0;
}
