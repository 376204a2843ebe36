/* The hash table of one partition: see table.h for its shape. Every function needs the partition held. */
#include "engine/store/table.h"

#include <assert.h>

#include "base/mem.h"

const uint8_t table_sizes[TABLE_SIZES] = {1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64};

/* Items at which a segment of each size is rebuilt: about four fifths of its home slots. */
static const uint16_t fill_limit[TABLE_SIZES] = {8,   13,  19,  26,  38,  51,  77,  103,
                                                 128, 154, 179, 205, 256, 307, 358, 410};
#define SIZE_MAX_INDEX (TABLE_SIZES - 1)
#define SIZE_AFTER_SPLIT (TABLE_SIZES - 4) /* half of what fills the largest, and room */

static struct bucket *buckets_new(unsigned n, uint32_t cut)
{
    struct bucket *b = mem_alloc_lines(n * sizeof *b);

    memset(b, 0, n * sizeof *b);
    for (unsigned i = 0; i < n; i++) {
        b[i].deadline = DEADLINE_NONE;
        b[i].cut = cut;
    }
    return b;
}

static uint64_t segment_make(const struct bucket *b, unsigned size, unsigned depth)
{
    return (uint64_t)(uintptr_t)b | (uint64_t)size << 48 | (uint64_t)depth << 52;
}

static void segment_store(struct segment *s, uint64_t word)
{
    atomic_store_explicit(&s->word, word, memory_order_relaxed);
}

static struct segment *table_directory(const struct table *t, unsigned *depth)
{
    uint64_t word = segment_word(&t->root);

    if (!(word & WORD_DIRECTORY))
        return NULL;
    *depth = word_depth(word);
    return word_address(word);
}

struct segment *table_segment(struct table *t, uint64_t position)
{
    unsigned dir_depth, depth;
    struct segment *dir = table_directory(t, &dir_depth);
    size_t i;

    if (!dir)
        return &t->root;
    i = position_entry(position, dir_depth);
    depth = word_depth(segment_word(&dir[i]));
    return &dir[i & ~(((size_t)1 << (dir_depth - depth)) - 1)];
}

/* Puts the item into the chain, which it may lengthen. */
static void chain_add(struct bucket *b, uint8_t tag, struct item *it)
{
    struct bucket *more;
    unsigned slot;

    for (;; b = bucket_next(b)) {
        uint64_t empty = bucket_match(b, 0);
        if (empty && ((slot = match_slot(empty)) < TABLE_SLOTS - 1 || !b->chained))
            break;
        if (b->chained)
            continue;
        more = buckets_new(1, 0);
        slot = TABLE_SLOTS - 1;
        more->tags[0] = b->tags[slot];
        bucket_set_ref(more, 0, bucket_ref(b, slot));
        b->tags[slot] = 0;
        bucket_set_ref(b, slot, more);
        b->chained = 1;
        b = more;
        slot = 1;
        break;
    }
    b->tags[slot] = tag;
    bucket_set_ref(b, slot, it);
}

/* Frees the overflow buckets of n home buckets, then the buckets. */
static void buckets_free(struct bucket *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct bucket *more = bucket_next(&b[i]), *next;
        for (; more; more = next) {
            next = bucket_next(more);
            mem_free(more);
        }
    }
    mem_free(b);
}

/* Moves every item of one bucket chain to the segments `to` by its hash. to[1].word 0: all go to to[0]. */
static void chain_rehome(const struct bucket *b, uint32_t deadline, struct segment *to, const struct table_owner *o)
{
    for (; b; b = bucket_next(b))
        for (unsigned i = 0; i < TABLE_SLOTS; i++) {
            struct item *it;
            struct segment *s = to;
            struct bucket *home;
            uint64_t hash, word;
            unsigned depth;

            if (b->tags[i] == 0)
                continue;
            it = bucket_ref(b, i);
            hash = o->rehash(o, it);
            if (segment_word(&to[1]) != 0) {
                depth = word_depth(segment_word(&to[0]));
                s = &to[(hash_position(hash) >> (TABLE_POSITION_BITS - depth)) & 1];
            }
            word = segment_word(s);
            home = (struct bucket *)word_address(word) +
                   position_bucket(hash_position(hash), word_depth(word), word_size(word));
            chain_add(home, b->tags[i], it);
            if ((it->flags & ITEM_EXPIRES) && deadline < home->deadline)
                home->deadline = deadline;
            if ((it->flags & ITEM_EXPIRES) && deadline < s->deadline)
                s->deadline = deadline;
            s->count++;
        }
}

/* Moves the items of segment s to the new segments; their addresses are prefetched, since each key is read. */
static void segment_rehome(const struct segment *s, struct segment *to, const struct table_owner *o)
{
    unsigned n = segment_buckets(s);

    for (unsigned i = 0; i < n; i++) {
        const struct bucket *b = segment_bucket(s, i);
        for (unsigned k = 0; k < TABLE_SLOTS; k++)
            if (b->tags[k] != 0)
                __builtin_prefetch(bucket_ref(b, k));
    }
    for (unsigned i = 0; i < n; i++) {
        struct bucket *b = segment_bucket(s, i);
        if (o->save && b->cut != o->cut)
            o->save(o, b);
        chain_rehome(b, b->deadline, to, o);
    }
    buckets_free(segment_bucket(s, 0), n);
}

/* Rebuilds segment s at another size. Every reference to it gets the new address; its count and bound are those of the
 * first. */
static void segment_resize(struct table *t, struct segment *s, unsigned size, const struct table_owner *o)
{
    struct segment to[2] = {{.deadline = DEADLINE_NONE}, {.deadline = DEADLINE_NONE}};
    uint64_t word = segment_word(s);
    unsigned dir_depth = 0;
    size_t shares = 1;

    segment_store(&to[0], segment_make(buckets_new(table_sizes[size], o->cut), size, word_depth(word)));
    segment_rehome(s, to, o);
    s->deadline = to[0].deadline;
    s->count = to[0].count;
    if (table_directory(t, &dir_depth))
        shares = (size_t)1 << (dir_depth - word_depth(word));
    for (size_t i = 0; i < shares; i++)
        segment_store(&s[i], segment_word(&to[0]));
}

/* Doubles the directory, or makes the first one of two entries. */
static void directory_double(struct table *t)
{
    unsigned depth = 0;
    struct segment *old = table_directory(t, &depth), *dir;
    size_t n = (size_t)1 << depth;

    dir = mem_alloc(2 * n * sizeof *dir);
    for (size_t i = 0; i < n; i++)
        dir[2 * i] = dir[2 * i + 1] = old ? old[i] : t->root;
    mem_free(old);
    segment_store(&t->root, (uint64_t)(uintptr_t)dir | (uint64_t)(depth + 1) << 52 | WORD_DIRECTORY);
}

/* Splits the largest segment at that position in two. */
static void segment_split(struct table *t, uint64_t position, const struct table_owner *o)
{
    struct segment to[2] = {{.deadline = DEADLINE_NONE}, {.deadline = DEADLINE_NONE}}, *s, *dir;
    unsigned depth = word_depth(segment_word(table_segment(t, position))), dir_depth = 0;
    size_t half;

    dir = table_directory(t, &dir_depth);
    if (dir_depth == depth) {
        directory_double(t);
        dir = table_directory(t, &dir_depth);
    }
    s = table_segment(t, position);
    for (unsigned i = 0; i < 2; i++)
        segment_store(&to[i],
                      segment_make(buckets_new(table_sizes[SIZE_AFTER_SPLIT], o->cut), SIZE_AFTER_SPLIT, depth + 1));
    segment_rehome(s, to, o);
    half = (size_t)1 << (dir_depth - depth - 1);
    for (size_t i = (size_t)(s - dir), k = 0; k < 2 * half; k++)
        dir[i + k] = to[k >= half];
}

static void lower(uint32_t *bound, uint32_t deadline)
{
    if (deadline < *bound)
        *bound = deadline;
}

bool table_note_deadline(struct table *t, uint64_t hash, uint32_t deadline)
{
    bool lowered = deadline < t->root.deadline;

    lower(&table_home(t, hash)->deadline, deadline);
    lower(&table_segment(t, hash_position(hash))->deadline, deadline);
    lower(&t->root.deadline, deadline);
    return lowered;
}

void table_insert(struct table *t, uint64_t hash, struct item *it, uint32_t deadline, const struct table_owner *o)
{
    uint64_t position = hash_position(hash), word;
    struct segment *s = table_segment(t, position);
    struct bucket *home;

    word = segment_word(s);
    if (word == 0) {
        s->deadline = DEADLINE_NONE;
        s->count = 0;
        segment_store(s, segment_make(buckets_new(1, o->cut), 0, 0));
    } else if (s->count >= fill_limit[word_size(word)]) {
        if (word_size(word) < SIZE_MAX_INDEX)
            segment_resize(t, s, word_size(word) + 1, o);
        else if (word_depth(word) < TABLE_MAX_DEPTH)
            segment_split(t, position, o);
        s = table_segment(t, position);
    }
    s->count++;
    if (s != &t->root)
        t->root.count++;
    home = table_home(t, hash);
    chain_add(home, hash_tag(hash), it);
    if (deadline != DEADLINE_NONE) {
        lower(&home->deadline, deadline);
        lower(&s->deadline, deadline);
        lower(&t->root.deadline, deadline);
    }
}

void table_reserve(struct table *t, uint64_t n, const struct table_owner *o)
{
    unsigned size = 0;

    while (size < SIZE_MAX_INDEX && fill_limit[size] < n)
        size++;
    if (segment_word(&t->root) != 0)
        return;
    t->root.deadline = DEADLINE_NONE;
    t->root.count = 0;
    segment_store(&t->root, segment_make(buckets_new(table_sizes[size], o->cut), size, 0));
}

/* Gives back overflow buckets at the end of the chain that hold nothing. */
static void chain_shorten(struct bucket *home)
{
    for (struct bucket *b = home, *next; (next = bucket_next(b)); b = next) {
        uint64_t tags;
        memcpy(&tags, next->tags, 8);
        if (tags != 0 || next->chained)
            continue;
        mem_free(next);
        b->chained = 0;
        return;
    }
}

void table_remove(struct table *t, uint64_t hash, struct bucket *b, unsigned slot, const struct table_owner *o)
{
    uint64_t position = hash_position(hash), word;
    struct segment *s = table_segment(t, position);
    struct bucket *home = table_home(t, hash);
    unsigned size;

    assert(b->tags[slot] == hash_tag(hash));
    b->tags[slot] = 0;
    s->count--;
    if (s != &t->root)
        t->root.count--;
    if (home->chained)
        chain_shorten(home);
    word = segment_word(s);
    size = word_size(word);
    if (s == &t->root && s->count == 0) {
        buckets_free(word_address(word), table_sizes[size]);
        segment_store(s, 0);
        s->deadline = DEADLINE_NONE;
    } else if (size >= 2 && s->count < fill_limit[size] / 4u) {
        segment_resize(t, s, size - 2, o);
    }
}

void table_trim(struct table *t, uint64_t position, const struct table_owner *o)
{
    struct segment *s = table_segment(t, position);
    unsigned size = 0, now = word_size(segment_word(s));

    while (size < now && s->count > fill_limit[size] * 7u / 8)
        size++;
    if (size < now)
        segment_resize(t, s, size, o);
}

void table_each_segment(struct table *t, table_segment_fn *fn, void *arg)
{
    unsigned dir_depth = 0;
    struct segment *dir = table_directory(t, &dir_depth);

    if (!dir) {
        if (segment_word(&t->root) != 0)
            fn(arg, &t->root);
        return;
    }
    for (size_t i = 0; i < (size_t)1 << dir_depth; i += (size_t)1 << (dir_depth - word_depth(segment_word(&dir[i]))))
        fn(arg, &dir[i]);
}

static void free_segment(void *arg, struct segment *s)
{
    (void)arg;
    buckets_free(segment_bucket(s, 0), segment_buckets(s));
}

void table_free(struct table *t)
{
    unsigned dir_depth = 0;

    table_each_segment(t, free_segment, NULL);
    mem_free(table_directory(t, &dir_depth));
    segment_store(&t->root, 0);
    t->root.count = 0;
    t->root.deadline = DEADLINE_NONE;
}

static void count_segment(void *arg, struct segment *s)
{
    size_t *bytes = arg;
    unsigned n = segment_buckets(s);

    *bytes += n * sizeof(struct bucket);
    for (unsigned i = 0; i < n; i++)
        for (struct bucket *b = bucket_next(segment_bucket(s, i)); b; b = bucket_next(b))
            *bytes += sizeof *b;
}

size_t table_memory(const struct table *t)
{
    unsigned dir_depth = 0;
    size_t bytes = 0;

    if (table_directory(t, &dir_depth))
        bytes = sizeof(struct segment) << dir_depth;
    table_each_segment((struct table *)t, count_segment, &bytes);
    return bytes;
}
