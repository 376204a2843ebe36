/* The model: see model.h. */
#include "control/model/model.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/shape/json.h"
#include "control/shape/shape.h"
#include "control/state/store.h"

#define RECORD_VERSION 1 /* of the JSON's form; members that come and go need no other */

/* What is looked up is `value`; it and all that it refers to live in the arena. */
struct record {
    enum model_kind kind;
    struct view id;
    struct arena arena;
    void *value;
};

struct table {
    struct record **records; /* ordered by id */
    size_t count, cap;
};

/* What a transaction did to one id: NULL is "there was none", or "there is none". */
struct change {
    struct record *old, *new;
};

struct txn {
    struct model *model;
    struct change *changes;
    size_t count, cap;
    txn_done *done;
    void *arg;
    struct txn *next; /* those whose fate is not known, in the order of commits */
};

struct model {
    struct store *store;
    struct table tables[MODEL_KINDS];
    struct txn *open;
    struct txn *first, *last;
    void (*on_rollback)(void *arg);
    void *rollback_arg;
};

static const struct {
    struct view name;
    const struct shape *shape;
} kinds[MODEL_KINDS] = {
#define X(constant, name) [MODEL_##constant] = {{#name, sizeof #name - 1}, &name##_shape},
    MODEL_KIND_LIST(X)
#undef X
};

/* ---- records ---- */

static struct record *record_new(enum model_kind kind, struct view id)
{
    struct record *r = mem_zalloc(sizeof *r);
    char *copy = arena_alloc(&r->arena, id.n + 1);

    memcpy(copy, id.p, id.n);
    r->kind = kind;
    r->id = view_of(copy, id.n);
    r->value = shape_new(kinds[kind].shape, &r->arena, 1);
    return r;
}

static void record_free(struct record *r)
{
    if (!r)
        return;
    arena_free(&r->arena);
    mem_free(r);
}

static int id_compare(struct view a, struct view b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0;

    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

size_t model_lower_bound(const struct model *m, enum model_kind kind, struct view id)
{
    const struct table *t = &m->tables[kind];
    size_t low = 0, high = t->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (id_compare(t->records[middle]->id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct record *lookup(const struct model *m, enum model_kind kind, struct view id)
{
    const struct table *t = &m->tables[kind];
    size_t at = model_lower_bound(m, kind, id);

    return at < t->count && view_equal(t->records[at]->id, id) ? t->records[at] : NULL;
}

/* Puts the record in the place of the one with its id, or takes away what has that id when it is NULL. */
static void place(struct model *m, enum model_kind kind, struct view id, struct record *r)
{
    struct table *t = &m->tables[kind];
    size_t at = model_lower_bound(m, kind, id);
    bool is_there = at < t->count && view_equal(t->records[at]->id, id);

    if (r && is_there) {
        t->records[at] = r;
    } else if (r) {
        if (t->count == t->cap) {
            t->cap = t->cap > 0 ? 2 * t->cap : 16;
            t->records = mem_realloc(t->records, t->cap * sizeof(struct record *));
        }
        memmove(t->records + at + 1, t->records + at, (t->count - at) * sizeof(struct record *));
        t->records[at] = r;
        t->count++;
    } else if (is_there) {
        t->count--;
        memmove(t->records + at, t->records + at + 1, (t->count - at) * sizeof(struct record *));
    }
}

const void *model_find(const struct model *m, enum model_kind kind, struct view id)
{
    struct record *r = lookup(m, kind, id);

    return r ? r->value : NULL;
}

const void *model_at(const struct model *m, enum model_kind kind, size_t i)
{
    assert(i < m->tables[kind].count);
    return m->tables[kind].records[i]->value;
}

size_t model_count(const struct model *m, enum model_kind kind)
{
    return m->tables[kind].count;
}

/* ---- the store ---- */

static const char *read_record(void *arg, const struct database_record *stored)
{
    static char why[JSON_WHY_MAX];
    struct model *m = arg;
    struct record *r;

    for (unsigned kind = 0; kind < MODEL_KINDS; kind++) {
        if (!view_equal(stored->kind, kinds[kind].name))
            continue;
        if (stored->version > RECORD_VERSION)
            return "it was written by a newer larderd";
        r = record_new(kind, stored->id);
        if (json_read_shape(kinds[kind].shape, stored->value, &r->arena, r->value, why) != 0) {
            record_free(r);
            return why;
        }
        place(m, kind, r->id, r);
        return NULL;
    }
    return "it is of a kind that this larderd does not know";
}

int model_open(struct model **out, const char *path, char error[MODEL_ERROR_MAX])
{
    struct model *m = mem_zalloc(sizeof *m);

    static_assert(MODEL_ERROR_MAX >= DATABASE_ERROR_MAX, "the store's texts fit");
    *out = NULL;
    if (store_open(path, read_record, m, &m->store, error) != DATABASE_OK) {
        model_close(m);
        return -1;
    }
    *out = m;
    return 0;
}

void model_close(struct model *m)
{
    if (!m)
        return;
    txn_abort(m->open);
    store_close(m->store);
    for (unsigned kind = 0; kind < MODEL_KINDS; kind++) {
        for (size_t i = 0; i < m->tables[kind].count; i++)
            record_free(m->tables[kind].records[i]);
        mem_free(m->tables[kind].records);
    }
    mem_free(m);
}

int model_fd(const struct model *m)
{
    return store_fd(m->store);
}

void model_dispatch(struct model *m)
{
    store_dispatch(m->store);
}

void model_on_rollback(struct model *m, void (*fn)(void *arg), void *arg)
{
    m->on_rollback = fn;
    m->rollback_arg = arg;
}

void model_backup(struct model *m, const char *path, void (*done)(void *arg, const char *error), void *arg)
{
    store_backup(m->store, path, done, arg);
}

/* ---- transactions ---- */

struct txn *txn_begin(struct model *m)
{
    struct txn *t = mem_zalloc(sizeof *t);

    assert(!m->open);
    t->model = m;
    m->open = t;
    return t;
}

/* What this transaction did to that id, or NULL. */
static struct change *find_change(struct txn *t, enum model_kind kind, struct view id)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct record *r = t->changes[i].new ? t->changes[i].new : t->changes[i].old;
        if (r && r->kind == kind && view_equal(r->id, id))
            return &t->changes[i];
    }
    return NULL;
}

static struct change *new_change(struct txn *t)
{
    if (t->count == t->cap) {
        t->cap = t->cap > 0 ? 2 * t->cap : 8;
        t->changes = mem_realloc(t->changes, t->cap * sizeof *t->changes);
    }
    t->changes[t->count] = (struct change){0};
    return &t->changes[t->count++];
}

void *txn_edit(struct txn *t, enum model_kind kind, struct view id)
{
    struct record *old = lookup(t->model, kind, id);
    struct change *c = find_change(t, kind, id);

    if (!old)
        return NULL;
    if (!c || c->new != old) {
        assert(!c);
        c = new_change(t);
        c->old = old;
        c->new = record_new(kind, id);
        shape_copy(kinds[kind].shape, old->value, c->new->value, &c->new->arena);
        place(t->model, kind, id, c->new);
    }
    return c->new->value;
}

void *txn_add(struct txn *t, enum model_kind kind, struct view id)
{
    struct change *c = find_change(t, kind, id);

    assert(!lookup(t->model, kind, id));
    if (!c)
        c = new_change(t);
    c->new = record_new(kind, id);
    shape_set_defaults(kinds[kind].shape, c->new->value);
    place(t->model, kind, id, c->new);
    return c->new->value;
}

void txn_remove(struct txn *t, enum model_kind kind, struct view id)
{
    struct record *old = lookup(t->model, kind, id);
    struct change *c = find_change(t, kind, id);

    if (!old)
        return;
    place(t->model, kind, id, NULL);
    if (!c) {
        c = new_change(t);
        c->old = old;
    } else {
        c->new = NULL;
        if (!c->old) /* it was added in this transaction: as if nothing had been */
            *c = t->changes[--t->count];
        record_free(old);
    }
}

static struct record *record_of(const struct txn *t, const void *value)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->changes[i].new && t->changes[i].new->value == value)
            return t->changes[i].new;
    assert(!"a record of this transaction");
    return NULL;
}

struct arena *txn_arena(struct txn *t, const void *record)
{
    return &record_of(t, record)->arena;
}

struct view txn_text(struct txn *t, const void *record, struct view text)
{
    char *copy;

    if (!text.p)
        return text;
    copy = arena_alloc(txn_arena(t, record), text.n + 1);
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    return view_of(copy, text.n);
}

bool txn_changed(const struct txn *t)
{
    return t->count > 0;
}

static void txn_free(struct txn *t)
{
    mem_free(t->changes);
    mem_free(t);
}

/* The old records come back, but for those that a later transaction has replaced: that one is told what it replaced in
 * truth. */
static void roll_back(struct model *m, struct txn *t)
{
    for (size_t i = t->count; i-- > 0;) {
        struct change *c = &t->changes[i];
        const struct record *any = c->new ? c->new : c->old;
        struct txn *later = t->next;

        for (; later; later = later->next) {
            struct change *after = find_change(later, any->kind, any->id);
            if (after) {
                assert(after->old == c->new);
                after->old = c->old;
                break;
            }
        }
        if (!later)
            place(m, any->kind, any->id, c->old);
        record_free(c->new);
    }
}

static void settle(void *arg, const char *error)
{
    struct txn *t = arg;
    struct model *m = t->model;

    assert(m->first == t);
    if (error) {
        log_warning("The state could not be written: %s", error);
        roll_back(m, t);
    } else {
        for (size_t i = 0; i < t->count; i++)
            record_free(t->changes[i].old);
    }
    m->first = t->next;
    if (!m->first)
        m->last = NULL;
    if (t->done)
        t->done(t->arg, error);
    if (error && m->on_rollback)
        m->on_rollback(m->rollback_arg);
    txn_free(t);
}

bool txn_commit(struct txn *t, txn_done *done, void *arg)
{
    struct model *m = t->model;
    struct store_batch *batch;
    struct buf text = {0};

    assert(m->open == t);
    if (t->count == 0) {
        txn_abort(t);
        return false;
    }
    batch = store_begin();
    for (size_t i = 0; i < t->count; i++) {
        const struct change *c = &t->changes[i];
        const struct record *any = c->new ? c->new : c->old;
        if (!c->new) {
            store_delete(batch, kinds[any->kind].name, any->id);
            continue;
        }
        buf_clear(&text);
        if (json_write_shape(kinds[any->kind].shape, c->new->value, &text) != 0)
            assert(!"the model holds clean text only");
        store_put(batch, kinds[any->kind].name, any->id, RECORD_VERSION, buf_view(&text));
    }
    buf_free(&text);
    t->done = done;
    t->arg = arg;
    m->open = NULL;
    if (m->last)
        m->last->next = t;
    else
        m->first = t;
    m->last = t;
    store_commit(m->store, batch, settle, t);
    return true;
}

void txn_abort(struct txn *t)
{
    if (!t)
        return;
    assert(t->model->open == t);
    t->model->open = NULL;
    roll_back(t->model, t);
    txn_free(t);
}
