/*
 * The table of one partition, against an array that knows what should be in it. Hashes are chosen here, not computed:
 * that lets one table grow deep, and lets keys crowd where a good hash never would put them.
 */
#include "unit/support.h"

#include "base/hash.h"
#include "engine/store/item.h"
#include "engine/store/table.h"

#define KEYS 60000u

struct entry {
    uint64_t hash;
    struct item *it; /* NULL while absent */
    uint32_t deadline;
    unsigned seen;
};

struct model {
    struct table_owner owner; /* the first member: rehash gets this back */
    struct table table;
    struct random random;
    struct entry *entries;
    unsigned keys, present;
};

static unsigned item_id(const struct item *it)
{
    unsigned id;

    memcpy(&id, item_key(it).p, sizeof id);
    return id;
}

static uint64_t rehash(const struct table_owner *o, const struct item *it)
{
    return ((const struct model *)o)->entries[item_id(it)].hash;
}

static void model_start(struct model *m, struct random r, unsigned keys, uint64_t keep, uint64_t set)
{
    *m = (struct model){.owner.rehash = rehash, .random = r, .keys = keys};
    m->table.root.deadline = DEADLINE_NONE;
    m->entries = mem_zalloc(keys * sizeof *m->entries);
    for (unsigned i = 0; i < keys; i++)
        m->entries[i].hash = (random_next(&m->random) & keep) | set;
}

static void insert(struct model *m, unsigned id)
{
    struct entry *e = &m->entries[id];
    bool expires = random_below(&m->random, 4) == 0;
    struct item *it = mem_zalloc(item_block_size(sizeof id, 0, expires));

    it->key_len = sizeof id;
    it->flags = expires ? ITEM_EXPIRES : 0;
    memcpy(it->tail + item_expiry_size(it), &id, sizeof id);
    e->it = it;
    e->deadline = expires ? (uint32_t)random_below(&m->random, DEADLINE_NONE) : DEADLINE_NONE;
    table_insert(&m->table, e->hash, it, e->deadline, &m->owner);
    m->present++;
}

static struct bucket *find(struct model *m, unsigned id, unsigned *slot)
{
    uint64_t hash = m->entries[id].hash;

    for (struct bucket *b = table_home(&m->table, hash); b; b = bucket_next(b))
        for (uint64_t match = bucket_match(b, hash_tag(hash)); match; match &= match - 1) {
            *slot = match_slot(match);
            if (item_id(bucket_ref(b, *slot)) == id)
                return b;
        }
    return NULL;
}

static void check_one(struct model *m, unsigned id)
{
    unsigned slot = 0;
    struct bucket *b = find(m, id, &slot);

    assert_true((b != NULL) == (m->entries[id].it != NULL));
    if (b)
        assert_ptr_equal(bucket_ref(b, slot), m->entries[id].it);
}

static void take(struct model *m, unsigned id)
{
    unsigned slot = 0;
    struct bucket *b = find(m, id, &slot);

    assert_non_null(b);
    table_remove(&m->table, m->entries[id].hash, b, slot, &m->owner);
    mem_free(m->entries[id].it);
    m->entries[id].it = NULL;
    m->present--;
}

/* One random change: an insertion in `of` cases of 16, when the key is absent; else a removal. */
static void change(struct model *m, unsigned of)
{
    unsigned id = (unsigned)random_below(&m->random, m->keys);
    bool wanted = random_below(&m->random, 16) < of;

    if (wanted && !m->entries[id].it)
        insert(m, id);
    else if (!wanted && m->entries[id].it)
        take(m, id);
    else if (m->entries[id].it && random_below(&m->random, 4) == 0) {
        struct entry *e = &m->entries[id];
        if (!(e->it->flags & ITEM_EXPIRES))
            return;
        e->deadline = (uint32_t)random_below(&m->random, DEADLINE_NONE);
        table_note_deadline(&m->table, e->hash, e->deadline);
    }
}

struct walk {
    struct model *m;
    unsigned items, segments, longest;
    uint64_t position; /* of the last item of the bucket before */
};

static void walk_bucket(struct walk *w, const struct segment *s, struct bucket *home)
{
    uint64_t last = w->position;
    unsigned length = 0;

    assert_true(s->deadline <= home->deadline);
    for (struct bucket *b = home; b; b = bucket_next(b), length++)
        for (unsigned k = 0; k < TABLE_SLOTS; k++) {
            struct entry *e;
            if (b->tags[k] == 0)
                continue;
            e = &w->m->entries[item_id(bucket_ref(b, k))];
            assert_ptr_equal(e->it, bucket_ref(b, k));
            assert_int_equal(b->tags[k], hash_tag(e->hash));
            assert_ptr_equal(table_home(&w->m->table, e->hash), home);
            assert_true(home->deadline <= e->deadline);
            assert_true(hash_position(e->hash) >= w->position);
            if (hash_position(e->hash) > last)
                last = hash_position(e->hash);
            e->seen++;
            w->items++;
        }
    w->position = last;
    if (length > w->longest)
        w->longest = length;
}

static void walk_segment(void *arg, struct segment *s)
{
    struct walk *w = arg;
    unsigned before = w->items;

    w->segments++;
    assert_true(w->m->table.root.deadline <= s->deadline);
    for (unsigned i = 0; i < segment_buckets(s); i++)
        walk_bucket(w, s, segment_bucket(s, i));
    assert_int_equal(s->count, w->items - before);
}

/* Everything is there once, in order of position, below bounds that hold; and nothing else is. */
static struct walk check_all(struct model *m)
{
    struct walk w = {.m = m};

    assert_int_equal(m->table.root.count, m->present);
    for (unsigned i = 0; i < m->keys; i++) {
        check_one(m, i);
        m->entries[i].seen = 0;
    }
    table_each_segment(&m->table, walk_segment, &w);
    assert_int_equal(w.items, m->present);
    for (unsigned i = 0; i < m->keys; i++)
        assert_int_equal(m->entries[i].seen, m->entries[i].it ? 1 : 0);
    return w;
}

static void empty(struct model *m)
{
    unsigned start = (unsigned)random_below(&m->random, m->keys);

    for (unsigned i = 0; i < m->keys; i++)
        if (m->entries[(start + i * 7919u) % m->keys].it)
            take(m, (start + i * 7919u) % m->keys);
    for (unsigned i = 0; i < m->keys; i++)
        if (m->entries[i].it)
            take(m, i);
    check_all(m);
}

static void model_end(struct model *m)
{
    empty(m);
    table_free(&m->table);
    assert_int_equal(table_memory(&m->table), 0);
    mem_free(m->entries);
}

/* Grows, churns and shrinks. Returns the most segments there were. */
static unsigned exercise(struct model *m, unsigned rounds)
{
    static const unsigned phases[] = {15, 8, 2, 14, 5, 1};
    unsigned most = 0;

    for (unsigned phase = 0; phase < sizeof phases / sizeof *phases; phase++) {
        for (unsigned i = 0; i < rounds; i++)
            change(m, phases[phase]);
        struct walk w = check_all(m);
        if (w.segments > most)
            most = w.segments;
    }
    return most;
}

static void test_small(void **state)
{
    struct random r = support_random();

    (void)state;
    for (unsigned keys = 1; keys < 160; keys += 3) {
        int64_t used = mem_used();
        struct model m;

        model_start(&m, r, keys, ~UINT64_C(0), 0);
        for (unsigned i = 0; i < keys; i++) {
            insert(&m, i);
            check_all(&m);
        }
        exercise(&m, 5 * keys);
        if (check_all(&m).segments <= 1) {
            empty(&m);
            if (keys <= 100) /* never more than one segment: nothing is kept */
                assert_int_equal(table_memory(&m.table), 0);
        }
        model_end(&m);
        assert_true(mem_used() == used);
        r = m.random;
    }
}

static void test_grows_deep_and_shrinks(void **state)
{
    int64_t used = mem_used();
    size_t full;
    struct model m;

    (void)state;
    model_start(&m, support_random(), KEYS, ~UINT64_C(0), 0);
    for (unsigned i = 0; i < KEYS; i++)
        insert(&m, i);
    assert_true(check_all(&m).segments > 64);
    full = table_memory(&m.table);
    assert_true(full < KEYS * 16u);
    assert_true(exercise(&m, 3 * KEYS) > 64);
    empty(&m);
    assert_true(table_memory(&m.table) < full / 4);
    model_end(&m);
    assert_true(mem_used() == used);
}

/* All keys share the first ten bits of the position: the directory is deep on one side alone. */
static void test_lopsided(void **state)
{
    int64_t used = mem_used();
    struct model m;

    (void)state;
    model_start(&m, support_random(), 3000, ~UINT64_C(0) >> 10, UINT64_C(0x2a5) << 54);
    exercise(&m, 12000);
    model_end(&m);
    /* The other way round: a few keys everywhere, many in one place. */
    model_start(&m, m.random, 6000, ~UINT64_C(0), 0);
    for (unsigned i = 0; i < m.keys; i += 2)
        m.entries[i].hash |= UINT64_C(0xff) << 56;
    exercise(&m, 24000);
    model_end(&m);
    assert_true(mem_used() == used);
}

/* One position, and in the worst case one tag too, for as many keys as a segment takes: long chains. */
static void test_chains(void **state)
{
    int64_t used = mem_used();
    struct random r = support_random();

    (void)state;
    for (unsigned same_tag = 0; same_tag < 2; same_tag++) {
        unsigned longest = 0;
        struct model m;

        model_start(&m, r, 100, same_tag ? 0x3fff : 0x3fffff, UINT64_C(0x123456789a) << 24);
        for (unsigned round = 0; round < 3000; round++) {
            struct walk w;
            for (unsigned i = 0; i < 10; i++)
                change(&m, round / 500 % 2 ? 3 : 13);
            w = check_all(&m);
            if (w.longest > longest)
                longest = w.longest;
        }
        assert_true(longest >= 8);
        model_end(&m);
        r = m.random;
    }
    assert_true(mem_used() == used);
}

static bool lowest_is(struct model *m, unsigned n)
{
    uint32_t lowest = DEADLINE_NONE;

    for (unsigned i = 0; i < n; i++)
        if (m->entries[i].it && m->entries[i].deadline < lowest)
            lowest = m->entries[i].deadline;
    return m->table.root.deadline == lowest;
}

/* While deadlines are only added, the table's bound is the lowest of them, and note tells when it fell. */
static void test_note_deadline(void **state)
{
    struct model m;

    (void)state;
    model_start(&m, support_random(), 4000, ~UINT64_C(0), 0);
    for (unsigned i = 0; i < m.keys; i++) {
        uint32_t before, deadline;

        insert(&m, i);
        if (!(m.entries[i].it->flags & ITEM_EXPIRES))
            continue;
        before = m.table.root.deadline;
        deadline = (uint32_t)random_below(&m.random, m.entries[i].deadline + UINT64_C(1));
        m.entries[i].deadline = deadline;
        assert_true(table_note_deadline(&m.table, m.entries[i].hash, deadline) == (deadline < before));
        assert_true(m.table.root.deadline <= deadline);
        if (i % 64 == 0 && i < 100) /* before the first rebuild that could raise it */
            assert_true(lowest_is(&m, i + 1) || m.table.root.deadline < deadline);
    }
    check_all(&m);
    model_end(&m);
}

static void test_match(void **state)
{
    struct random r = support_random();

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t tag = (uint8_t)random_below(&r, 4);
        struct bucket b = {0};
        uint64_t match;

        for (unsigned k = 0; k < TABLE_SLOTS; k++)
            b.tags[k] = (uint8_t)(random_below(&r, 2) ? random_below(&r, 4) : random_next(&r));
        match = bucket_match(&b, tag);
        for (unsigned k = 0; k < TABLE_SLOTS; k++)
            assert_int_equal(match >> (8 * k) & 0xff, b.tags[k] == tag ? 0x80 : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match),    cmocka_unit_test(test_small),
        cmocka_unit_test(test_chains),   cmocka_unit_test(test_grows_deep_and_shrinks),
        cmocka_unit_test(test_lopsided), cmocka_unit_test(test_note_deadline),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
