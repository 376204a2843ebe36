/* The keyspace and its databases: see db.h for what callers may do, keyspace.h for the shape. */
#include "engine/store/db.h"

#include <assert.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"
#include "engine/store/cut.h"
#include "engine/store/heap.h"
#include "engine/store/keyspace.h"
#include "engine/store/watch.h"

#define DAY_MS (INT64_C(24) * 3600 * 1000)

struct keyspace *keyspace_new(unsigned databases)
{
    struct keyspace *ks = mem_zalloc(sizeof *ks);

    ks->partitions = mem_alloc_lines(PARTITIONS * sizeof *ks->partitions);
    memset(ks->partitions, 0, PARTITIONS * sizeof *ks->partitions);
    ks->deadlines = mem_alloc_lines(PARTITIONS * sizeof *ks->deadlines);
    memset((void *)ks->deadlines, 0xff, PARTITIONS * sizeof *ks->deadlines);
    ks->deadline_groups = mem_alloc_lines(PARTITIONS / DEADLINE_GROUP * sizeof *ks->deadline_groups);
    memset((void *)ks->deadline_groups, 0xff, PARTITIONS / DEADLINE_GROUP * sizeof *ks->deadline_groups);
    ks->epoch_ms = clock_wall_ms() - DAY_MS;
    random_bytes(&ks->hash_key, sizeof ks->hash_key);
    ks->databases = databases;
    ks->db = mem_zalloc(databases * sizeof *ks->db);
    for (unsigned i = 0; i < databases; i++) {
        ks->db[i].index = i;
        ks->db[i].keyspace = ks;
    }
    pthread_mutex_init(&ks->dropped_lock, NULL);
    return ks;
}

void keyspace_free(struct keyspace *ks, struct thread *t)
{
    if (!ks)
        return;
    for (unsigned i = 0; i < ks->databases; i++)
        db_clear(ks, &ks->db[i]);
    while (keyspace_reclaim(ks, t, UINT32_MAX))
        ;
    for (unsigned i = 0; i < PARTITIONS; i++)
        watch_drop_all(&ks->partitions[i]);
    pthread_mutex_destroy(&ks->dropped_lock);
    mem_free(ks->db);
    mem_free((void *)ks->deadlines);
    mem_free((void *)ks->deadline_groups);
    mem_free(ks->partitions);
    mem_free(ks);
}

void keyspace_attach(struct keyspace *ks, struct thread *t)
{
    assert(ks->thread_count < THREAD_MAX);
    t->db = mem_zalloc(ks->databases * sizeof *t->db);
    ks->threads[ks->thread_count++] = t;
}

struct db *keyspace_db(struct keyspace *ks, unsigned index)
{
    return &ks->db[index];
}

unsigned keyspace_databases(const struct keyspace *ks)
{
    return ks->databases;
}

const struct hash_key *keyspace_hash_key(const struct keyspace *ks)
{
    return &ks->hash_key;
}

unsigned db_index(const struct db *db)
{
    return db->index;
}

uint32_t keyspace_deadline(const struct keyspace *ks, int64_t ms)
{
    int64_t units;

    if (ms <= ks->epoch_ms)
        return 0;
    units = (ms - ks->epoch_ms - 1) / DEADLINE_UNIT_MS + 1;
    return units < DEADLINE_NONE ? (uint32_t)units : DEADLINE_NONE - 1;
}

uint32_t keyspace_deadline_now(const struct keyspace *ks, int64_t ms)
{
    int64_t units = (ms - ks->epoch_ms) / DEADLINE_UNIT_MS;

    return units < 0 ? 0 : units < DEADLINE_NONE ? (uint32_t)units : DEADLINE_NONE - 1;
}

static void lower_group(struct keyspace *ks, uint32_t partition, uint32_t deadline)
{
    _Atomic uint32_t *group = &ks->deadline_groups[partition / DEADLINE_GROUP];
    uint32_t bound = atomic_load(group);

    while (deadline < bound && !atomic_compare_exchange_weak(group, &bound, deadline))
        ;
}

/* Whoever lowers stores the partition's bound and then looks at the group's; whoever refreshes exchanges the group's and
 * then looks at the partitions': in the one order of these accesses, one of the two sees the other's. */
void keyspace_note_deadline(struct keyspace *ks, uint32_t partition, uint32_t deadline)
{
    if (deadline >= atomic_load_explicit(&ks->deadlines[partition], memory_order_relaxed))
        return;
    atomic_store(&ks->deadlines[partition], deadline);
    lower_group(ks, partition, deadline);
}

void keyspace_refresh_group(struct keyspace *ks, uint32_t partition)
{
    uint32_t first = partition / DEADLINE_GROUP * DEADLINE_GROUP, bound = DEADLINE_NONE;

    atomic_exchange(&ks->deadline_groups[partition / DEADLINE_GROUP], DEADLINE_NONE);
    for (uint32_t p = first; p < first + DEADLINE_GROUP; p++) {
        uint32_t deadline = atomic_load(&ks->deadlines[p]);
        bound = deadline < bound ? deadline : bound;
    }
    lower_group(ks, partition, bound);
}

static uint64_t rehash(const struct table_owner *o, const struct item *it)
{
    const struct db_owner *owner = (const struct db_owner *)o;
    struct view key = item_key(it);

    return hash_bytes(&owner->db->keyspace->hash_key, key.p, key.n);
}

static void save_home(const struct table_owner *o, struct bucket *home)
{
    const struct db_owner *owner = (const struct db_owner *)o;

    cut_save_slow(owner->db, owner->t, home);
}

void db_owner_init(struct db_owner *o, struct db *db, struct thread *t)
{
    const struct keyspace *ks = db->keyspace;

    *o = (struct db_owner){{rehash, ks->saving ? save_home : NULL, ks->cut}, db, t};
}

void keyspace_removed(struct keyspace *ks, struct thread *t, struct db *db, const struct key *key, bool evicted)
{
    watch_changed(&ks->partitions[key_partition(key)], db, key);
    if (ks->removed)
        ks->removed(ks->removed_arg, t, db, key->name, evicted);
}

void keyspace_release(struct keyspace *ks, uint32_t partition)
{
    if (partition_release(&ks->partitions[partition]) && ks->wake)
        ks->wake(ks->wake_arg, partition);
}

__attribute__((unused)) static bool held(const struct db *db, uint32_t partition)
{
    return partition_held(&db->keyspace->partitions[partition]) ||
           atomic_load_explicit(&db->keyspace->exclusive, memory_order_relaxed);
}

struct table *db_table_needed(struct db *db, uint32_t partition)
{
    struct table *t = db_table(db, partition);
    struct table_page *page, *none = NULL;

    if (t)
        return t;
    page = mem_zalloc(sizeof *page);
    for (unsigned i = 0; i < TABLE_PAGE; i++)
        page->tables[i].root.deadline = DEADLINE_NONE;
    if (!atomic_compare_exchange_strong(&db->pages[partition / TABLE_PAGE], &none, page))
        mem_free(page);
    return db_table(db, partition);
}

static void mark_filled(struct db *db, uint32_t partition, bool filled)
{
    uint64_t bit = UINT64_C(1) << (partition % 64);

    if (filled)
        atomic_fetch_or_explicit(&db->filled[partition / 64], bit, memory_order_relaxed);
    else
        atomic_fetch_and_explicit(&db->filled[partition / 64], ~bit, memory_order_relaxed);
}

/* First the lock and the table, then the bucket, then the item: each stage over all keys, so that what one fetched is
 * there when the next one looks. A bucket is read under its lock only; when that is taken, the key does without. */
void db_prefetch(struct db *db, const struct key *const *keys, unsigned n)
{
    struct partition *partitions = db->keyspace->partitions;
    struct table *tables[DB_PREFETCH_MAX];
    struct bucket *buckets[DB_PREFETCH_MAX];
    uint64_t words[DB_PREFETCH_MAX];

    for (unsigned i = 0; i < n; i++) {
        uint32_t partition = key_partition(keys[i]);
        tables[i] = db_table(db, partition);
        __builtin_prefetch(&partitions[partition], 1);
        __builtin_prefetch(tables[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        uint64_t word = tables[i] ? segment_word(&tables[i]->root) : 0, position = hash_position(keys[i]->hash);
        words[i] = word;
        if (word & WORD_DIRECTORY) {
            __builtin_prefetch((struct segment *)word_address(word) + position_entry(position, word_depth(word)));
        } else if (word != 0) {
            buckets[i] =
                (struct bucket *)word_address(word) + position_bucket(position, word_depth(word), word_size(word));
            __builtin_prefetch(buckets[i]);
        }
    }
    for (unsigned i = 0; i < n; i++) {
        struct partition *p = &partitions[key_partition(keys[i])];
        struct bucket *b;
        uint64_t match;
        if (words[i] == 0 || !partition_try(p))
            continue;
        if (!(words[i] & WORD_DIRECTORY) && segment_word(&tables[i]->root) == words[i])
            b = buckets[i];
        else
            b = table_home(tables[i], keys[i]->hash);
        match = b ? bucket_match(b, hash_tag(keys[i]->hash)) : 0;
        if (match)
            __builtin_prefetch(bucket_ref(b, match_slot(match)), 1);
        keyspace_release(db->keyspace, key_partition(keys[i]));
    }
}

/* Are the n bytes the same? Keys are short: whole words that may overlap beat a call. */
static inline bool bytes_equal(const char *a, const char *b, size_t n)
{
    uint64_t x, y;

    if (n < 8 || n > 32)
        return memcmp(a, b, n) == 0;
    for (size_t i = 0; i + 8 < n; i += 8) {
        memcpy(&x, a + i, 8);
        memcpy(&y, b + i, 8);
        if (x != y)
            return false;
    }
    memcpy(&x, a + n - 8, 8);
    memcpy(&y, b + n - 8, 8);
    return x == y;
}

static inline bool item_has_key(const struct item *it, struct view key)
{
    struct view k = item_key(it);

    return k.n == key.n && bytes_equal(k.p, key.p, k.n);
}

struct item *db_find(struct db *db, const struct key *key, struct place *at)
{
    struct table *t = db_table(db, key_partition(key));
    uint8_t tag = hash_tag(key->hash);

    assert(held(db, key_partition(key)));
    for (struct bucket *b = t ? table_home(t, key->hash) : NULL; b; b = bucket_next(b))
        for (uint64_t match = bucket_match(b, tag); match; match &= match - 1) {
            unsigned slot = match_slot(match);
            struct item *it = bucket_ref(b, slot);
            if (!item_has_key(it, key->name))
                continue;
            if (at)
                *at = (struct place){b, slot};
            return it;
        }
    return NULL;
}

static uint32_t item_deadline(const struct keyspace *ks, const struct item *it)
{
    int64_t at = item_expiry(it);

    return at < 0 ? DEADLINE_NONE : keyspace_deadline(ks, at);
}

void db_insert(struct db *db, struct thread *t, const struct key *key, struct item *it)
{
    struct keyspace *ks = db->keyspace;
    uint32_t partition = key_partition(key), deadline = item_deadline(ks, it);
    struct table *table = db_table_needed(db, partition);
    struct db_owner owner;

    assert(held(db, partition));
    if (table->root.count == 0)
        mark_filled(db, partition, true);
    cut_before_change(db, t, table_home(table, key->hash));
    db_owner_init(&owner, db, t);
    table_insert(table, key->hash, it, deadline, &owner.base);
    tally_add(&t->db[db->index].keys, 1);
    if (deadline == DEADLINE_NONE)
        return;
    tally_add(&t->db[db->index].expires, 1);
    keyspace_note_deadline(ks, partition, deadline);
}

void db_replace(struct db *db, struct thread *t, const struct key *key, const struct place *at, struct item *it)
{
    struct item *old = bucket_ref(at->bucket, at->slot);
    int had = (old->flags & ITEM_EXPIRES) != 0, has = (it->flags & ITEM_EXPIRES) != 0;

    assert(held(db, key_partition(key)));
    cut_before_write(db, t, key);
    bucket_set_ref(at->bucket, at->slot, it);
    if (has != had)
        tally_add(&t->db[db->index].expires, has - had);
    if (has) {
        uint32_t deadline = item_deadline(db->keyspace, it);
        if (table_note_deadline(db_table(db, key_partition(key)), key->hash, deadline))
            keyspace_note_deadline(db->keyspace, key_partition(key), deadline);
    }
}

void db_take(struct db *db, struct thread *t, uint32_t partition, uint64_t hash, struct bucket *b, unsigned slot)
{
    struct item *it = bucket_ref(b, slot);
    struct table *table = db_table(db, partition);
    struct db_owner owner;

    assert(held(db, partition));
    cut_before_change(db, t, table_home(table, hash));
    tally_add(&t->db[db->index].keys, -1);
    if (it->flags & ITEM_EXPIRES)
        tally_add(&t->db[db->index].expires, -1);
    db_owner_init(&owner, db, t);
    table_remove(table, hash, b, slot, &owner.base);
    if (table->root.count == 0)
        mark_filled(db, partition, false);
}

void db_remove(struct db *db, struct thread *t, const struct key *key, const struct place *at)
{
    db_take(db, t, key_partition(key), key->hash, at->bucket, at->slot);
}

struct item *db_expire(struct db *db, struct thread *t, const struct key *key, const struct place *at, int64_t when)
{
    struct item *old = bucket_ref(at->bucket, at->slot), *it;
    size_t size = item_size(old), head = sizeof *old + item_expiry_size(old);
    bool had = old->flags & ITEM_EXPIRES;

    cut_before_write(db, t, key);
    if (had && when >= 0) {
        memcpy(old->tail, &when, 8);
        it = old;
    } else if (!had && when < 0) {
        return old;
    } else {
        it = item_new_block(t, when >= 0 ? size + 8 : size - 8);
        memcpy(it, old, sizeof *it);
        it->flags = (uint8_t)(when >= 0 ? it->flags | ITEM_EXPIRES : it->flags & ~ITEM_EXPIRES);
        if (when >= 0)
            memcpy(it->tail, &when, 8);
        memcpy((char *)it + sizeof *it + item_expiry_size(it), (char *)old + head, size - head);
    }
    db_replace(db, t, key, at, it);
    if (it != old)
        item_free_block(t, old);
    return it;
}

static int64_t sum(const struct db *db, bool expires)
{
    const struct keyspace *ks = db->keyspace;
    int64_t n = 0;

    for (unsigned i = 0; i < ks->thread_count; i++) {
        const struct db_tally *d = &ks->threads[i]->db[db->index];
        n += tally_read(expires ? &d->expires : &d->keys);
    }
    return n < 0 ? 0 : n;
}

uint64_t db_size(const struct db *db)
{
    return (uint64_t)sum(db, false);
}

uint64_t db_expires(const struct db *db)
{
    return (uint64_t)sum(db, true);
}

void keyspace_swap(struct keyspace *ks, unsigned a, unsigned b)
{
    struct db *x = &ks->db[a], *y = &ks->db[b];

    uint32_t number = x->number_at_cut;

    assert(atomic_load(&ks->exclusive));
    if (a == b)
        return;
    x->number_at_cut = y->number_at_cut;
    y->number_at_cut = number;
    if (ks->cut_databases > 0 && ks->cut_databases <= (a > b ? a : b))
        ks->cut_databases = (a > b ? a : b) + 1;
    for (unsigned i = 0; i < TABLE_PAGES; i++)
        atomic_store(&y->pages[i], atomic_exchange(&x->pages[i], atomic_load(&y->pages[i])));
    for (unsigned i = 0; i < PARTITIONS / 64; i++)
        atomic_store(&y->filled[i], atomic_exchange(&x->filled[i], atomic_load(&y->filled[i])));
    for (unsigned i = 0; i < ks->thread_count; i++) {
        struct db_tally *d = ks->threads[i]->db;
        int64_t keys = tally_read(&d[a].keys), expires = tally_read(&d[a].expires);
        atomic_store(&d[a].keys, tally_read(&d[b].keys));
        atomic_store(&d[a].expires, tally_read(&d[b].expires));
        atomic_store(&d[b].keys, keys);
        atomic_store(&d[b].expires, expires);
    }
}

uint64_t db_clear(struct keyspace *ks, struct db *db)
{
    uint64_t n = db_size(db);
    struct dropped *d = mem_zalloc(sizeof *d);

    d->cut = ks->saving ? ks->cut : 0;
    d->stand.keyspace = ks;
    d->stand.number_at_cut = db->number_at_cut;
    for (unsigned i = 0; i < TABLE_PAGES; i++)
        atomic_init(&d->stand.pages[i], atomic_exchange(&db->pages[i], NULL));
    for (unsigned i = 0; i < PARTITIONS / 64; i++)
        atomic_store(&db->filled[i], 0);
    for (unsigned i = 0; i < ks->thread_count; i++) {
        atomic_store(&ks->threads[i]->db[db->index].keys, 0);
        atomic_store(&ks->threads[i]->db[db->index].expires, 0);
    }
    pthread_mutex_lock(&ks->dropped_lock);
    d->next = ks->dropped;
    ks->dropped = d;
    atomic_store(&ks->has_dropped, true);
    pthread_mutex_unlock(&ks->dropped_lock);
    return n;
}

#define BLOB_BYTES_PER_BLOCK 4096 /* of a large value take as long to free as one small item */

struct reclaim {
    struct thread *t;
    struct dropped *from;
    uint64_t freed;
};

static void free_items(void *arg, struct segment *s)
{
    struct reclaim *r = arg;
    struct keyspace *ks = r->from->stand.keyspace;

    for (unsigned i = 0; i < segment_buckets(s); i++) {
        struct bucket *home = segment_bucket(s, i);
        if (r->from->cut != 0 && ks->saving && r->from->cut == ks->cut && home->cut != ks->cut)
            cut_save_slow(&r->from->stand, r->t, home);
        for (struct bucket *b = home; b; b = bucket_next(b))
            for (unsigned k = 0; k < TABLE_SLOTS; k++)
                if (b->tags[k] != 0) {
                    struct item *it = bucket_ref(b, k);
                    r->freed += (it->flags & ITEM_BLOB) ? 1 + item_blob(it)->cap / BLOB_BYTES_PER_BLOCK : 1;
                    item_free(r->t, it);
                }
    }
}

bool keyspace_reclaim(struct keyspace *ks, struct thread *t, unsigned blocks)
{
    struct reclaim r = {t, NULL, 0};
    struct dropped *d;
    bool more;

    if (!atomic_load_explicit(&ks->has_dropped, memory_order_relaxed) || pthread_mutex_trylock(&ks->dropped_lock) != 0)
        return false;
    while ((d = ks->dropped) && r.freed < blocks) {
        struct table_page *page =
            d->page < TABLE_PAGES ? atomic_load_explicit(&d->stand.pages[d->page], memory_order_relaxed) : NULL;
        r.from = d;
        if (d->page == TABLE_PAGES) {
            ks->dropped = d->next;
            mem_free(d);
        } else if (!page || d->table == TABLE_PAGE) {
            mem_free(page);
            d->page++;
            d->table = 0;
        } else {
            table_each_segment(&page->tables[d->table], free_items, &r);
            table_free(&page->tables[d->table++]);
        }
    }
    more = ks->dropped != NULL;
    atomic_store(&ks->has_dropped, more);
    pthread_mutex_unlock(&ks->dropped_lock);
    return more;
}

uint32_t db_next_partition(const struct db *db, uint64_t cursor)
{
    uint64_t first = cursor >> TABLE_POSITION_BITS;
    uint64_t word;

    if (first >= PARTITIONS)
        return PARTITIONS;
    word = atomic_load_explicit(&((struct db *)db)->filled[first / 64], memory_order_relaxed) &
           (~UINT64_C(0) << first % 64);
    for (uint64_t i = first / 64;;) {
        if (word)
            return (uint32_t)(i * 64 + (unsigned)__builtin_ctzll(word));
        if (++i == PARTITIONS / 64)
            return PARTITIONS;
        word = atomic_load_explicit(&((struct db *)db)->filled[i], memory_order_relaxed);
    }
}

/* The first position of what follows bucket i of segment s, which covers positions from `base`. */
static uint64_t next_position(uint64_t base, uint64_t word, unsigned i)
{
    unsigned n = table_sizes[word_size(word)], bits = TABLE_POSITION_BITS - word_depth(word);
    uint64_t fraction;

    if (i + 1 >= n)
        return base + (UINT64_C(1) << bits);
    fraction = (((uint64_t)(i + 1) << 32) + n - 1) / n; /* the least that lands in bucket i + 1 */
    if (bits >= 32)
        return base + (fraction << (bits - 32));
    return base + ((fraction + (UINT64_C(1) << (32 - bits)) - 1) >> (32 - bits));
}

uint64_t db_scan(struct db *db, uint32_t partition, uint64_t cursor, db_visit_fn *fn, void *arg)
{
    const uint64_t end = UINT64_C(1) << TABLE_POSITION_BITS;
    uint64_t position = cursor >> TABLE_POSITION_BITS == partition ? cursor & (end - 1) : 0, next = end;
    struct table *t = db_table(db, partition);
    struct segment *s = t ? table_segment(t, position) : NULL;
    uint64_t word = s ? segment_word(s) : 0;

    assert(held(db, partition));
    if (word != 0) {
        uint64_t base = position & ~((end >> word_depth(word)) - 1);
        unsigned i = position_bucket(position, word_depth(word), word_size(word));
        for (struct bucket *b = segment_bucket(s, i); b; b = bucket_next(b))
            for (unsigned k = 0; k < TABLE_SLOTS; k++)
                if (b->tags[k] != 0)
                    fn(arg, bucket_ref(b, k));
        next = next_position(base, word, i);
    }
    if (next < end)
        return (uint64_t)partition << TABLE_POSITION_BITS | next;
    partition = db_next_partition(db, (uint64_t)(partition + 1) << TABLE_POSITION_BITS);
    return partition == PARTITIONS ? DB_CURSOR_END : (uint64_t)partition << TABLE_POSITION_BITS;
}

struct item *db_random(struct db *db, struct thread *t, uint32_t partition)
{
    struct table *table = db_table(db, partition);

    if (!table || table->root.count == 0)
        return NULL;
    for (;;) { /* ends: some slot of some chain is not empty, and each may be drawn */
        struct bucket *b = table_home(table, random_next(&t->random));
        unsigned length = 1, slot;
        for (struct bucket *next = b; (next = bucket_next(next));)
            length++;
        slot = (unsigned)random_below(&t->random, (uint64_t)length * TABLE_SLOTS);
        for (; slot >= TABLE_SLOTS; slot -= TABLE_SLOTS)
            b = bucket_next(b);
        if (b->tags[slot] != 0)
            return bucket_ref(b, slot);
    }
}

/* An item with an expiry in the chain, the search beginning at a random slot; NULL when there is none. */
static struct item *chain_volatile(struct bucket *b, struct thread *t)
{
    for (; b; b = bucket_next(b)) {
        unsigned first = (unsigned)random_below(&t->random, TABLE_SLOTS);
        for (unsigned i = 0; i < TABLE_SLOTS; i++) {
            unsigned slot = (first + i) % TABLE_SLOTS;
            struct item *it = b->tags[slot] ? bucket_ref(b, slot) : NULL;
            if (it && (it->flags & ITEM_EXPIRES))
                return it;
        }
    }
    return NULL;
}

struct item *db_random_volatile(struct db *db, struct thread *t, uint32_t partition)
{
    struct table *table = db_table(db, partition);
    struct segment *s;
    unsigned n, first;

    if (!table || table->root.count == 0 || table->root.deadline == DEADLINE_NONE)
        return NULL;
    s = table_segment(table, hash_position(random_next(&t->random)));
    n = segment_buckets(s);
    first = (unsigned)random_below(&t->random, n);
    for (unsigned i = 0; i < n; i++) {
        struct bucket *b = segment_bucket(s, (first + i) % n);
        struct item *it = b->deadline == DEADLINE_NONE ? NULL : chain_volatile(b, t);
        if (it)
            return it;
    }
    return NULL;
}
