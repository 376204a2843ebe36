/*
 * Snapshots: what is read back from the pieces is the data of the cut. Two threads walk, one changes keys under the
 * locks of their partitions, and a fourth takes the pieces, all of them behind a lock that stands for the gate.
 */
#include "unit/support.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/num.h"
#include "engine/persist/output.h"
#include "engine/persist/rdb_read.h"
#include "engine/persist/snapshot.h"
#include "engine/store/cut.h"
#include "engine/store/item.h"

#define DATABASES 3u
#define KEYS 3000u
#define WALKERS 2u
#define THREADS (WALKERS + 2) /* and who writes, and who takes */
#define HOUR_MS (INT64_C(3600) * 1000)

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ROUNDS 8u
#endif
#endif
#ifndef ROUNDS
#define ROUNDS 30u
#endif

struct entry {
    bool present;
    uint32_t version, len; /* they tell the value */
    int64_t expiry;
};

struct contents {
    struct entry of[DATABASES][KEYS];
};

struct fixture {
    struct heap_shared *heaps;
    struct thread threads[THREADS];
    struct keyspace *keyspace;
    struct key keys[KEYS];
    struct snapshot *snapshot;
    struct random random;
    struct contents now; /* the writer's, or the gate is closed */
    struct contents cut;
    pthread_rwlock_t gate; /* held for writing: closed */
    uint32_t versions;
    atomic_bool stop;
    atomic_uint changes;
    /* of a file that is read */
    unsigned seen[DATABASES][KEYS];
    uint32_t db;
    char *value;
};

static struct thread *writer_of(struct fixture *f)
{
    return &f->threads[WALKERS];
}

static struct thread *taker_of(struct fixture *f)
{
    return &f->threads[WALKERS + 1];
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    pthread_rwlockattr_t attr;

    f->random = support_random();
    f->heaps = heap_shared_new();
    f->keyspace = keyspace_new(DATABASES);
    for (unsigned i = 0; i < THREADS; i++) {
        f->threads[i].index = i;
        f->threads[i].heap = heap_new(f->heaps);
        keyspace_attach(f->keyspace, &f->threads[i]);
    }
    for (unsigned i = 0; i < KEYS; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u", i);
        f->keys[i] = key_make(keyspace_hash_key(f->keyspace), view_of(mem_strndup(name, strlen(name)), strlen(name)));
    }
    f->snapshot = mem_alloc_lines((sizeof *f->snapshot + 63) & ~(size_t)63);
    memset(f->snapshot, 0, sizeof *f->snapshot);
    snapshot_init(f->snapshot, f->keyspace);
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&f->gate, &attr);
    pthread_rwlockattr_destroy(&attr);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    snapshot_free(f->snapshot);
    mem_free(f->snapshot);
    keyspace_free(f->keyspace, &f->threads[0]);
    for (unsigned i = 0; i < THREADS; i++)
        mem_free(f->threads[i].db);
    for (unsigned i = 0; i < KEYS; i++)
        mem_free((char *)f->keys[i].name.p);
    heap_shared_free(f->heaps);
    pthread_rwlock_destroy(&f->gate);
    mem_free(f->value);
    mem_free(f);
    return 0;
}

static void close_gate(struct fixture *f)
{
    pthread_rwlock_wrlock(&f->gate);
    atomic_store(&f->keyspace->exclusive, true);
}

static void open_gate(struct fixture *f)
{
    atomic_store(&f->keyspace->exclusive, false);
    pthread_rwlock_unlock(&f->gate);
}

/* ---- changes ---- */

static void write_value(const struct entry *e, char *p)
{
    uint64_t x = (uint64_t)e->version * UINT64_C(0x9e3779b97f4a7c15) + e->len;

    for (uint32_t i = 0; i < e->len; i++) { /* compresses a little, like much of what is stored */
        p[i] = (char)('a' + (x >> 60));
        if (i % 4 != 0)
            x = x * UINT64_C(6364136223846793005) + 1;
    }
}

static struct item *new_item(struct fixture *f, struct thread *t, unsigned n, const struct entry *e)
{
    struct item *it = item_new_string(t, f->keys[n].name, e->len, e->expiry);

    write_value(e, item_bytes(it));
    return it;
}

static uint32_t some_length(struct fixture *f)
{
    unsigned kind = (unsigned)random_below(&f->random, 40);

    if (kind == 0)
        return RDB_BIG - 2 + (uint32_t)random_below(&f->random, 5);
    return (uint32_t)random_below(&f->random, kind < 3 ? 60000 : kind < 5 ? 4000 : 40);
}

/* Changes the bytes of an item that is there: in place, unless a snapshot still refers to them. */
static void overwrite(struct fixture *f, struct thread *t, struct db *db, const struct key *key, struct entry *e,
                      struct item *it)
{
    struct blob *old, *b;

    cut_before_write(db, t, key);
    e->version = ++f->versions;
    if (it->flags & ITEM_BLOB) {
        old = item_blob(it);
        if (atomic_load_explicit(&old->refs, memory_order_acquire) != 1) {
            b = blob_new(old->len, old->len);
            blob_unref(old);
            memcpy(item_value(it), &b, sizeof b);
        }
    }
    write_value(e, item_bytes(it));
}

static void change_key(struct fixture *f, struct thread *t, unsigned d, unsigned n)
{
    struct db *db = keyspace_db(f->keyspace, d);
    const struct key *key = &f->keys[n];
    struct entry *e = &f->now.of[d][n];
    uint64_t kind = random_below(&f->random, 10);
    struct place at;
    struct item *old = db_find(db, key, &at);

    if (old && kind < 2) {
        db_remove(db, t, key, &at);
        item_free(t, old);
        e->present = false;
    } else if (old && kind < 4) {
        e->expiry = e->expiry < 0 ? clock_wall_ms() + HOUR_MS : -1;
        db_expire(db, t, key, &at, e->expiry);
    } else if (old && kind < 7) {
        overwrite(f, t, db, key, e, old);
    } else {
        *e = (struct entry){true, ++f->versions, some_length(f), kind == 7 ? clock_wall_ms() + HOUR_MS : -1};
        if (old) {
            db_replace(db, t, key, &at, new_item(f, t, n, e));
            item_free(t, old);
        } else {
            db_insert(db, t, key, new_item(f, t, n, e));
        }
    }
}

/* A random change under its partition's lock; inside the gate. */
static void change(struct fixture *f)
{
    unsigned d = (unsigned)random_below(&f->random, DATABASES), n = (unsigned)random_below(&f->random, KEYS);
    uint32_t p = key_partition(&f->keys[n]);

    while (!partition_try_briefly(&f->keyspace->partitions[p]))
        sched_yield();
    change_key(f, writer_of(f), d, n);
    keyspace_release(f->keyspace, p);
    if (random_below(&f->random, 8) == 0)
        keyspace_reclaim(f->keyspace, writer_of(f), 20);
    atomic_fetch_add(&f->changes, 1);
}

static void clear(struct fixture *f, unsigned d)
{
    db_clear(f->keyspace, keyspace_db(f->keyspace, d));
    for (unsigned i = 0; i < KEYS; i++)
        f->now.of[d][i].present = false;
}

static void swap(struct fixture *f, unsigned a, unsigned b)
{
    keyspace_swap(f->keyspace, a, b);
    for (unsigned i = 0; i < KEYS; i++) {
        struct entry e = f->now.of[a][i];
        f->now.of[a][i] = f->now.of[b][i];
        f->now.of[b][i] = e;
    }
}

/* ---- reading ---- */

struct file {
    struct output output;
    struct buf bytes;
    size_t read;
};

static int write_file(struct output *o, const void *p, size_t n)
{
    buf_put(&((struct file *)o)->bytes, p, n);
    return 0;
}

static ssize_t read_file(void *arg, void *p, size_t n)
{
    struct file *file = arg;
    size_t left = file->bytes.len - file->read;

    n = n < left ? n : left;
    memcpy(p, file->bytes.p + file->read, n);
    file->read += n;
    return (ssize_t)n;
}

static bool see_select(void *arg, uint64_t db)
{
    struct fixture *f = arg;

    assert_true(db < DATABASES);
    f->db = (uint32_t)db;
    return true;
}

static bool see_item(void *arg, struct item *it)
{
    struct fixture *f = arg;
    struct view name = item_key(it);
    const struct entry *e;
    int64_t n;

    assert_true(num_parse_int(name, &n) && n >= 0 && n < KEYS);
    e = &f->cut.of[f->db][n];
    assert_int_equal(f->seen[f->db][n]++, 0);
    assert_true(e->present);
    assert_int_equal(item_expiry(it), e->expiry);
    f->value = mem_realloc(f->value, e->len + 1);
    write_value(e, f->value);
    assert_true(view_equal(item_string(it), view_of(f->value, e->len)));
    item_free(taker_of(f), it);
    return true;
}

/* The file holds what there was at the cut. */
static void check_file(struct fixture *f, struct file *file)
{
    static const struct rdb_limits limits = {
        .max_string = RDB_STRING_MAX, .check_checksum = true, .drop_expired_before_ms = -1};
    const struct rdb_visitor v = {.arg = f, .select = see_select, .item = see_item};
    struct rdb_reader *r = rdb_reader_new(&(struct rdb_source){read_file, file}, taker_of(f), &limits);
    struct rdb_error error = {.text = ""};
    uint64_t keys = 0;

    memset(f->seen, 0, sizeof f->seen);
    if (rdb_read(r, &v, &error) != RDB_OK)
        fail_msg("%s at %llu", error.text, (unsigned long long)error.offset);
    assert_int_equal(rdb_reader_offset(r), file->bytes.len);
    rdb_reader_free(r);
    for (unsigned d = 0; d < DATABASES; d++)
        for (unsigned i = 0; i < KEYS; i++) {
            if (f->seen[d][i] != f->cut.of[d][i].present)
                fail_msg("key %u of database %u is there %u times", i, d, f->seen[d][i]);
            keys += f->seen[d][i];
        }
    assert_int_equal(atomic_load(&f->snapshot->keys), keys);
}

static struct file file_new(void)
{
    struct file file = {.output = {.write = write_file, .checksum = true}};
    struct buf header = {0};

    rdb_put_header(&header);
    assert_int_equal(output_put(&file.output, buf_view(&header)), 0);
    buf_free(&header);
    return file;
}

/* Takes what there is; returns whether there was anything. */
static bool take(struct fixture *f, struct file *file, unsigned wait_ms)
{
    struct snapshot_piece *p = snapshot_take(f->snapshot, wait_ms);

    if (!p)
        return false;
    assert_int_equal(output_piece(&file->output, p, f->snapshot->options.compress), 0);
    snapshot_piece_free(p);
    return true;
}

/* ---- threads ---- */

struct walker {
    struct fixture *f;
    struct thread *thread;
    bool idle;
    struct snapshot_share share;
};

static void *run_walker(void *arg)
{
    struct walker *w = arg;
    struct fixture *f = w->f;

    while (!atomic_load(&f->stop)) {
        pthread_rwlock_rdlock(&f->gate);
        if (snapshot_walking(f->snapshot))
            snapshot_step(f->snapshot, w->thread, &w->share, w->idle);
        keyspace_reclaim(f->keyspace, w->thread, 50);
        pthread_rwlock_unlock(&f->gate);
        sched_yield();
    }
    return NULL;
}

static void *run_writer(void *arg)
{
    struct fixture *f = arg;

    while (!atomic_load(&f->stop)) {
        pthread_rwlock_rdlock(&f->gate);
        for (unsigned i = 0; i < 8; i++)
            change(f);
        pthread_rwlock_unlock(&f->gate);
        sched_yield();
    }
    return NULL;
}

/* Waits until the writer has changed so much. */
static void await_changes(struct fixture *f, unsigned n)
{
    unsigned from = atomic_load(&f->changes);

    while (atomic_load(&f->changes) - from < n)
        sched_yield();
}

/* With the gate closed between pieces, databases are dropped and exchanged now and then. */
static void upset(struct fixture *f, struct random *r)
{
    if (random_below(r, 12) != 0)
        return;
    close_gate(f);
    if (random_below(r, 4) == 0)
        clear(f, (unsigned)random_below(r, DATABASES));
    else
        swap(f, (unsigned)random_below(r, DATABASES), (unsigned)random_below(r, DATABASES));
    open_gate(f);
}

static void begin(struct fixture *f, bool compress)
{
    close_gate(f);
    f->cut = f->now;
    snapshot_begin(f->snapshot, &(struct rdb_options){.compress = compress});
    open_gate(f);
}

static void end(struct fixture *f)
{
    close_gate(f);
    snapshot_end(f->snapshot);
    open_gate(f);
}

static void run_round(struct fixture *f, struct random *r, unsigned round)
{
    bool given_up = round % 4 == 1;
    struct file file = file_new();
    unsigned pieces = 0, enough = (unsigned)random_below(r, 10);

    await_changes(f, (unsigned)random_below(r, 3000));
    begin(f, round % 2 == 0);
    while (!snapshot_walked(f->snapshot) && !(given_up && pieces >= enough)) {
        pieces += take(f, &file, 1);
        upset(f, r);
    }
    await_changes(f, (unsigned)random_below(r, 20));
    end(f);
    if (given_up) {
        snapshot_drop(f->snapshot);
    } else {
        while (take(f, &file, 0))
            ;
        assert_int_equal(output_end(&file.output), 0);
        check_file(f, &file);
    }
    assert_null(snapshot_take(f->snapshot, 0));
    assert_int_equal(atomic_load(&f->snapshot->queued), 0);
    buf_free(&file.bytes);
}

static void test_threads(void **state)
{
    struct fixture *f = *state;
    struct walker walkers[WALKERS];
    pthread_t threads[WALKERS + 1];
    struct random r = f->random;

    r.s[1] ^= 1;
    for (unsigned i = 0; i < 2000; i++)
        change(f);
    for (unsigned i = 0; i < WALKERS; i++) {
        walkers[i] = (struct walker){.f = f, .thread = &f->threads[i], .idle = i == 0};
        assert_int_equal(pthread_create(&threads[i], NULL, run_walker, &walkers[i]), 0);
    }
    assert_int_equal(pthread_create(&threads[WALKERS], NULL, run_writer, f), 0);
    for (unsigned round = 0; round < ROUNDS; round++)
        run_round(f, &r, round);
    atomic_store(&f->stop, true);
    for (unsigned i = 0; i <= WALKERS; i++)
        pthread_join(threads[i], NULL);
}

/* ---- one thread ---- */

static void put(struct fixture *f, unsigned d, unsigned n, uint32_t len)
{
    struct entry *e = &f->now.of[d][n];
    struct db *db = keyspace_db(f->keyspace, d);
    struct place at;
    struct item *old = db_find(db, &f->keys[n], &at);

    *e = (struct entry){true, ++f->versions, len, -1};
    if (old) {
        db_replace(db, writer_of(f), &f->keys[n], &at, new_item(f, writer_of(f), n, e));
        item_free(writer_of(f), old);
    } else {
        db_insert(db, writer_of(f), &f->keys[n], new_item(f, writer_of(f), n, e));
    }
}

static void take_rest(struct fixture *f, struct file *file)
{
    end(f);
    while (take(f, file, 0))
        ;
    assert_int_equal(output_end(&file->output), 0);
    check_file(f, file);
    buf_free(&file->bytes);
}

static void test_nothing(void **state)
{
    struct fixture *f = *state;
    struct snapshot_share share = {0};
    struct file file = file_new();

    assert_false(snapshot_walking(f->snapshot));
    assert_null(snapshot_take(f->snapshot, 1));
    begin(f, false);
    assert_true(snapshot_walking(f->snapshot));
    assert_false(snapshot_walked(f->snapshot));
    while (snapshot_step(f->snapshot, taker_of(f), &share, true) == 0)
        ;
    assert_false(snapshot_walking(f->snapshot));
    assert_true(snapshot_walked(f->snapshot));
    take_rest(f, &file);
}

/* The walk waits while too much is queued; what is saved because it changes does not. */
static void test_queue(void **state)
{
    struct fixture *f = *state;
    const uint32_t size = 1 << 20;
    struct snapshot_share share = {0};
    struct file file = file_new();
    int64_t wait;
    size_t queued;
    unsigned stops = 0;

    atomic_store(&f->keyspace->exclusive, true);
    for (unsigned i = 0; i < 30; i++)
        put(f, i % DATABASES, i, size);
    atomic_store(&f->keyspace->exclusive, false);
    begin(f, false);
    do {
        wait = snapshot_step(f->snapshot, taker_of(f), &share, true);
        queued = atomic_load(&f->snapshot->queued);
        assert_true(queued <= (10u + 64) << 20);
        if (wait == 1000) {
            assert_true(queued > 8u << 20);
            assert_int_equal(snapshot_step(f->snapshot, taker_of(f), &share, true), 1000);
            assert_int_equal(atomic_load(&f->snapshot->queued), queued);
            if (stops++ == 0) {
                atomic_store(&f->keyspace->exclusive, true);
                for (unsigned i = 0; i < 30; i++)
                    put(f, i % DATABASES, i, size / 2);
                atomic_store(&f->keyspace->exclusive, false);
                assert_in_range(atomic_load(&f->snapshot->queued), 30 * size, 32 * size + 30 * 100000);
            }
            assert_true(take(f, &file, 0));
        }
    } while (wait != INT64_MAX);
    assert_true(stops > 1);
    take_rest(f, &file);
}

/* A partition that is taken is tried again, and holds up nothing but its own share. */
static void test_taken(void **state)
{
    struct fixture *f = *state;
    struct snapshot_share shares[2] = {0};
    struct file file = file_new();
    uint32_t p = key_partition(&f->keys[0]);

    atomic_store(&f->keyspace->exclusive, true);
    for (unsigned i = 0; i < KEYS; i++)
        put(f, i % DATABASES, i, 20);
    atomic_store(&f->keyspace->exclusive, false);
    begin(f, true);
    assert_true(partition_try(&f->keyspace->partitions[p]));
    while (!shares[0].claimed || shares[0].partition != p)
        assert_in_range(snapshot_step(f->snapshot, taker_of(f), &shares[0], true), 0, 1000);
    assert_int_equal(snapshot_step(f->snapshot, taker_of(f), &shares[0], true), 1000);
    while (snapshot_step(f->snapshot, taker_of(f), &shares[1], true) != INT64_MAX)
        ;
    assert_int_equal(snapshot_step(f->snapshot, taker_of(f), &shares[0], true), 1000);
    assert_true(snapshot_walking(f->snapshot));
    assert_false(snapshot_walked(f->snapshot));
    keyspace_release(f->keyspace, p);
    while (snapshot_step(f->snapshot, taker_of(f), &shares[0], true) == 0)
        ;
    assert_false(snapshot_walking(f->snapshot));
    take_rest(f, &file);
}

/* A worker with other work rests between its steps; what it claimed of a snapshot that was given up is forgotten. */
static void test_rests(void **state)
{
    struct fixture *f = *state;
    struct snapshot_share share = {0};
    struct file file = file_new();
    int64_t wait;

    atomic_store(&f->keyspace->exclusive, true);
    for (unsigned i = 0; i < KEYS; i++)
        put(f, 0, i, 20);
    atomic_store(&f->keyspace->exclusive, false);
    begin(f, false);
    assert_true(partition_try(&f->keyspace->partitions[0]));
    assert_int_equal(snapshot_step(f->snapshot, taker_of(f), &share, false), 1000);
    assert_true(share.claimed);
    keyspace_release(f->keyspace, 0);
    end(f);
    snapshot_drop(f->snapshot);
    assert_false(snapshot_walking(f->snapshot));

    begin(f, false);
    share.due_us = INT64_MAX;
    assert_true(snapshot_step(f->snapshot, taker_of(f), &share, false) > 1000000);
    assert_int_equal(atomic_load(&f->snapshot->next), 0);
    share.due_us = 0;
    do {
        wait = snapshot_step(f->snapshot, taker_of(f), &share, false);
        if (wait != INT64_MAX)
            share.due_us = 0;
    } while (wait != INT64_MAX);
    take_rest(f, &file);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing), TEST(test_queue), TEST(test_taken), TEST(test_rests), TEST(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
