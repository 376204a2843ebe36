/*
 * The append-only file: its manifest, and the scanner of its commands. Every input is used as both.
 *
 * - A manifest that is accepted keeps its invariants, and comes back the same from its own text.
 * - A file is scanned whole, byte by byte, and in pieces whose sizes the input gives, from blocks of exactly the length
 *   that is read: each way must find the same commands and the same end. Cut where the scanner says that it is valid,
 *   it must be clean, and have the same commands up to there.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "engine/persist/aof_manifest.h"
#include "engine/persist/aof_scan.h"

#define MAX_BULK 100000
#define SINGLE_MAX 4096 /* longest input that is read byte by byte */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool good)
{
    if (!good)
        abort();
}

/* ---- the manifest ------------------------------------------------------------------------------------------------ */

static void check_manifest(const struct aof_manifest *m)
{
    size_t first = aof_manifest_first_incr(m);

    for (size_t i = 0; i < m->count; i++) {
        const struct aof_entry *e = &m->entries[i];
        demand(e->seq > 0 && e->name[0] != '\0' && strchr(e->name, '/') == NULL);
        demand((e->type == AOF_TYPE_INCR) == (i >= first));
        demand(e->type != AOF_TYPE_BASE || e == aof_manifest_base(m));
        demand(i <= first || e->seq > m->entries[i - 1].seq);
    }
}

static void fuzz_manifest(struct view in)
{
    struct aof_manifest_error error;
    struct aof_manifest m, again;
    struct buf text = {0}, text_again = {0};

    if (aof_manifest_parse(&m, in, &error) != 0) {
        demand(error.reason != NULL && m.count == 0);
        return;
    }
    check_manifest(&m);
    aof_manifest_format(&m, &text);
    if (m.count > 0 && text.len <= AOF_MANIFEST_MAX) {
        demand(aof_manifest_parse(&again, buf_view(&text), &error) == 0);
        check_manifest(&again);
        aof_manifest_format(&again, &text_again);
        demand(again.count == m.count && view_equal(buf_view(&text), buf_view(&text_again)));
        aof_manifest_retire(&again, again.entries[0].seq);
        check_manifest(&again);
        aof_manifest_free(&again);
    }
    aof_manifest_free(&m);
    buf_free(&text);
    buf_free(&text_again);
}

/* ---- the scanner ------------------------------------------------------------------------------------------------- */

/* A file that is read `step` bytes at a time; 0 for sizes that the file itself gives. */
struct source {
    struct view file;
    size_t at, step, reads;
};

static ssize_t read_source(void *arg, void *p, size_t n)
{
    struct source *s = arg;
    size_t left = s->file.n - s->at, step = s->step;

    if (left == 0)
        return 0;
    if (step == 0)
        step = 1 + (unsigned char)s->file.p[s->reads++ % s->file.n];
    if (step > n)
        step = n;
    if (step > left)
        step = left;
    memcpy(p, s->file.p + s->at, step);
    s->at += step;
    return (ssize_t)step;
}

struct outcome {
    struct buf events;    /* commands, and how it ended */
    size_t valid_events;  /* events up to `valid` */
    int64_t valid, total; /* total only without damage */
    enum aof_found found;
};

static void put_command(const struct aof_scan *s, struct buf *events)
{
    buf_printf(events, "%lld %lld %d:", (long long)s->end, (long long)s->time, s->in_multi);
    for (size_t i = 0; i < s->argc; i++) {
        demand((int64_t)s->argv[i].n <= MAX_BULK);
        buf_printf(events, "%zu ", s->argv[i].n);
        buf_put_view(events, s->argv[i]);
    }
    buf_put_char(events, '\n');
}

static void scan(struct view file, size_t step, struct outcome *out)
{
    struct source source = {file, 0, step, 0};
    struct aof_scan s;
    int64_t end = 0;

    *out = (struct outcome){0};
    aof_scan_init(&s, read_source, &source, MAX_BULK);
    if (aof_scan_is_rdb(&s)) { /* a reader that takes too much */
        char head[9];
        ssize_t n = aof_scan_read(&s, head, sizeof head);
        demand(n >= 5);
        aof_scan_unread(&s, head + 5, (size_t)n - 5);
        end = 5;
    }
    while ((out->found = aof_scan_next(&s)) == AOF_COMMAND) {
        demand(s.argc > 0 && s.end > end && s.end <= (int64_t)file.n && aof_scan_valid(&s) <= s.end);
        end = s.end;
        put_command(&s, &out->events);
        if (!s.in_multi)
            out->valid_events = out->events.len;
    }
    demand(out->found != AOF_FAILED && s.argc == 0 && aof_scan_next(&s) == out->found);
    out->valid = aof_scan_valid(&s);
    demand(out->valid <= s.end && s.end <= (int64_t)file.n);
    if (out->found != AOF_DAMAGED)
        demand(aof_scan_total(&s) == (int64_t)file.n);
    if (out->found == AOF_CLEAN)
        demand(out->valid == (int64_t)file.n);
    else
        demand(s.reason != NULL);
    buf_printf(&out->events, "%d at %lld, %s\n", (int)out->found, (long long)s.end, s.reason ? s.reason : "");
    aof_scan_free(&s);
}

static void demand_same(struct view file, size_t step, const struct outcome *whole)
{
    struct outcome o;

    scan(file, step, &o);
    demand(o.found == whole->found && o.valid == whole->valid);
    demand(view_equal(buf_view(&o.events), buf_view(&whole->events)));
    buf_free(&o.events);
}

static void fuzz_scan(struct view file)
{
    struct outcome whole, cut;

    scan(file, file.n, &whole);
    demand_same(file, 0, &whole);
    if (file.n <= SINGLE_MAX)
        demand_same(file, 1, &whole);
    scan(view_of(file.p, (size_t)whole.valid), file.n, &cut);
    demand(cut.found == AOF_CLEAN && cut.valid_events == whole.valid_events);
    demand(whole.valid_events == 0 || memcmp(cut.events.p, whole.events.p, whole.valid_events) == 0);
    buf_free(&whole.events);
    buf_free(&cut.events);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_manifest(view_of((const char *)data, size));
    fuzz_scan(view_of((const char *)data, size));
    return 0;
}
