/*
 * The ordered log under several threads: some append, others read. Each command says who made it and where it belongs,
 * so that a reader can tell that the stream is whole and in order; and who is not woken ends the test.
 */
#include "unit/support.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/uio.h>
#include <time.h>

#include "base/buf.h"
#include "base/num.h"
#include "engine/log/effects.h"
#include "engine/log/oplog.h"

#define APPENDERS 4
#define FOLLOWERS 2
#define VISITORS 3
#define READERS (FOLLOWERS + VISITORS)
#define DATABASES 4
#define KEYS 6
#define SECONDS 60 /* a wake-up that is lost ends the test */

#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define UNITS 10000u
#endif
#endif
#ifndef UNITS
#define UNITS 30000u
#endif

struct crowd {
    struct oplog *log;
    unsigned units;        /* of each appender */
    bool in_step;          /* who appended goes on when all have read it: nobody else wakes a reader that was missed */
    bool locked;           /* keys have locks and counters, and somebody closes the gate */
    pthread_rwlock_t gate; /* held for writing: closed */
    pthread_mutex_t locks[KEYS];
    uint64_t counters[KEYS];
    atomic_uint running; /* appenders */
    struct follower *followers;
    atomic_bool failed;
    char failure[256];
    pthread_mutex_t lock; /* failure */
};

struct appender {
    struct crowd *crowd;
    unsigned number;
    struct random random;
};

struct follower {
    struct crowd *crowd;
    struct oplog_reader reader;
    struct random random;
    sem_t woken;
    struct buf in;
    uint64_t position;
    int64_t db;
    bool in_multi;
    unsigned last_thread, index, of; /* of the unit that is being read; of 0: none */
    unsigned units[APPENDERS];
    uint64_t counters[KEYS];
    unsigned sleeps;
};

__attribute__((format(printf, 2, 3))) static void complain(struct crowd *c, const char *format, ...)
{
    va_list ap;

    pthread_mutex_lock(&c->lock);
    if (!atomic_exchange(&c->failed, true)) {
        va_start(ap, format);
        vsnprintf(c->failure, sizeof c->failure, format, ap);
        va_end(ap);
    }
    pthread_mutex_unlock(&c->lock);
}

static uint64_t sum_of(struct view v)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < v.n; i++)
        h = (h ^ (unsigned char)v.p[i]) * UINT64_C(0x100000001b3);
    return h;
}

/* Numbers, and a payload. */
enum { THREAD, UNIT, INDEX, OF, DATABASE, KEY, COUNTER, SUM, PAYLOAD, WORDS };

static size_t payload_size(struct random *r)
{
    uint64_t kind = random_below(r, 1000);

    return (size_t)random_below(r, kind == 0 ? 3 * OPLOG_BLOCK : kind < 20 ? 20000 : 200);
}

static void add_command(struct effects *e, const uint64_t numbers[PAYLOAD], struct view payload, bool raw)
{
    char text[PAYLOAD][NUM_INT_MAX];
    struct view words[WORDS];
    struct buf b = {0};

    for (unsigned i = 0; i < PAYLOAD; i++)
        words[i] = view_of(text[i], num_format_uint(text[i], numbers[i]));
    words[PAYLOAD] = payload;
    if (!raw) {
        effects_add(e, (uint32_t)numbers[DATABASE], words, WORDS);
        return;
    }
    effects_put_words(&b, words, WORDS);
    effects_add_raw(e, (uint32_t)numbers[DATABASE], buf_view(&b));
    buf_free(&b);
}

static void append_unit(struct appender *a, unsigned unit, struct effects *e, char *payload)
{
    struct crowd *c = a->crowd;
    unsigned of = random_below(&a->random, 4) == 0 ? 2 + (unsigned)random_below(&a->random, 3) : 1;
    unsigned key = (unsigned)random_below(&a->random, KEYS);

    if (c->locked) {
        pthread_rwlock_rdlock(&c->gate);
        pthread_mutex_lock(&c->locks[key]);
    }
    for (unsigned i = 0; i < of; i++) {
        size_t n = payload_size(&a->random);
        uint64_t numbers[PAYLOAD] = {a->number, unit, i, of, random_below(&a->random, DATABASES), key};
        memset(payload, (int)random_next(&a->random), n);
        for (size_t k = 0; k < n; k += 61)
            payload[k] = (char)random_next(&a->random);
        numbers[COUNTER] = c->locked ? ++c->counters[key] : 0;
        numbers[SUM] = sum_of(view_of(payload, n));
        add_command(e, numbers, view_of(payload, n), random_below(&a->random, 2) == 0);
    }
    if (of == 1 && random_below(&a->random, 2) == 0)
        oplog_append_raw(c->log, a->number, e->first_db, buf_view(&e->bytes));
    else
        oplog_append(c->log, a->number, e);
    effects_clear(e);
    if (c->locked) {
        pthread_mutex_unlock(&c->locks[key]);
        pthread_rwlock_unlock(&c->gate);
    }
}

/* Waits until everybody has read what this thread appended. */
static void await_readers(struct appender *a)
{
    struct crowd *c = a->crowd;

    for (unsigned i = 0; i < FOLLOWERS; i++)
        while (atomic_load(&c->followers[i].reader.position) < oplog_end(c->log, a->number) && !atomic_load(&c->failed))
            sched_yield();
}

static void *run_appender(void *arg)
{
    struct appender *a = arg;
    char *payload = mem_alloc(3 * OPLOG_BLOCK);
    struct effects e = {0};

    for (unsigned unit = 0; unit < a->crowd->units && !atomic_load(&a->crowd->failed); unit++) {
        append_unit(a, unit, &e, payload);
        if (a->crowd->in_step || unit + 1 == a->crowd->units || random_below(&a->random, 3) == 0)
            oplog_wake(a->crowd->log, a->number);
        if (a->crowd->in_step)
            await_readers(a);
        if (random_below(&a->random, 50) == 0)
            sched_yield();
    }
    atomic_fetch_sub(&a->crowd->running, 1);
    buf_free(&e.bytes);
    mem_free(payload);
    return NULL;
}

/* A number in decimal behind `kind`; returns its length with the line's end, 0 when there is more to come, -1 when it
 * is none. */
static int parse_line(struct view v, char kind, uint64_t *n)
{
    size_t i = 1;

    if (v.n > 0 && v.p[0] != kind)
        return -1;
    for (*n = 0; i < v.n && v.p[i] >= '0' && v.p[i] <= '9' && i < 12; i++)
        *n = *n * 10 + (uint64_t)(v.p[i] - '0');
    if (i + 2 > v.n)
        return v.n < 16 ? 0 : -1;
    return i > 1 && v.p[i] == '\r' && v.p[i + 1] == '\n' ? (int)(i + 2) : -1;
}

/* A command of up to WORDS words: like parse_line. */
static int64_t parse_command(struct view v, struct view words[WORDS], uint64_t *count)
{
    int n = parse_line(v, '*', count);
    size_t at = (size_t)n;

    if (n <= 0)
        return n;
    if (*count == 0 || *count > WORDS)
        return -1;
    for (uint64_t i = 0; i < *count; i++) {
        uint64_t size;
        n = parse_line(view_of(v.p + at, v.n - at), '$', &size);
        if (n <= 0)
            return n;
        at += (size_t)n;
        if (v.n - at < size + 2)
            return size > 4 * OPLOG_BLOCK ? -1 : 0;
        words[i] = view_of(v.p + at, size);
        at += size;
        if (v.p[at] != '\r' || v.p[at + 1] != '\n')
            return -1;
        at += 2;
    }
    return (int64_t)at;
}

/* A command of an appender, in its place? */
static void see_command(struct follower *f, const struct view words[WORDS])
{
    struct crowd *c = f->crowd;
    int64_t n[PAYLOAD];

    for (unsigned i = 0; i < PAYLOAD; i++)
        if (i != SUM && !num_parse_int(words[i], &n[i])) {
            complain(c, "word %u is no number", i);
            return;
        }
    if (n[THREAD] >= APPENDERS || n[KEY] >= KEYS)
        complain(c, "thread %d, key %d", (int)n[THREAD], (int)n[KEY]);
    else if (n[DATABASE] != f->db)
        complain(c, "database %d on %d", (int)n[DATABASE], (int)f->db);
    else if ((n[OF] > 1) != f->in_multi || (f->of > 0 && (n[OF] != f->of || n[THREAD] != f->last_thread)))
        complain(c, "a unit of %d in one of %u, MULTI %d", (int)n[OF], f->of, f->in_multi);
    else if (n[UNIT] != f->units[n[THREAD]] || n[INDEX] != f->index)
        complain(c, "thread %d: unit %d, index %d; not %u, %u", (int)n[THREAD], (int)n[UNIT], (int)n[INDEX],
                 f->units[n[THREAD]], f->index);
    else if (c->locked && (uint64_t)n[COUNTER] != ++f->counters[n[KEY]])
        complain(c, "key %d: %d, not %d", (int)n[KEY], (int)n[COUNTER], (int)f->counters[n[KEY]]);
    if (atomic_load(&c->failed))
        return;
    f->last_thread = (unsigned)n[THREAD];
    f->of = f->in_multi ? (unsigned)n[OF] : 0;
    f->index = f->in_multi ? f->index + 1 : 0;
    if (!f->in_multi)
        f->units[n[THREAD]]++;
}

static void see(struct follower *f, const struct view words[WORDS], uint64_t count)
{
    char sum[NUM_INT_MAX];
    int64_t db;

    if (count == 2 && view_equal(words[0], VIEW("SELECT")) && num_parse_int(words[1], &db)) {
        if (db == f->db && !f->crowd->locked)
            complain(f->crowd, "SELECT %d changes nothing", (int)db);
        f->db = db;
    } else if (count == 1 && view_equal(words[0], VIEW("MULTI")) && !f->in_multi) {
        f->in_multi = true;
    } else if (count == 1 && view_equal(words[0], VIEW("EXEC")) && f->in_multi && f->index == f->of && f->of > 1) {
        f->units[f->last_thread]++;
        f->in_multi = false;
        f->of = f->index = 0;
    } else if (count == WORDS && view_equal(words[SUM], view_of(sum, num_format_uint(sum, sum_of(words[PAYLOAD]))))) {
        see_command(f, words);
    } else {
        complain(f->crowd, "a command of %u words, '%.*s', MULTI %d, %u of %u", (unsigned)count,
                 (int)(words[0].n < 40 ? words[0].n : 40), words[0].p, f->in_multi, f->index, f->of);
    }
}

static void take(struct follower *f, uint64_t end)
{
    struct view words[WORDS];
    struct iovec iov[4];
    uint64_t count;
    int n = oplog_gather(f->crowd->log, f->position, end, iov, 1 + (int)random_below(&f->random, 4));
    int64_t used;

    for (int i = 0; i < n; i++) {
        buf_put(&f->in, iov[i].iov_base, iov[i].iov_len);
        f->position += iov[i].iov_len;
    }
    oplog_advance(f->crowd->log, &f->reader, f->position);
    while (!atomic_load(&f->crowd->failed) && (used = parse_command(buf_view(&f->in), words, &count)) != 0) {
        if (used < 0) {
            complain(f->crowd, "no command before %llu", (unsigned long long)f->position);
            return;
        }
        see(f, words, count);
        buf_consume(&f->in, (size_t)used);
    }
    buf_compact(&f->in);
}

static bool has_all(const struct follower *f)
{
    for (unsigned i = 0; i < APPENDERS; i++)
        if (f->units[i] < f->crowd->units)
            return false;
    return true;
}

static void *run_follower(void *arg)
{
    struct follower *f = arg;
    struct crowd *c = f->crowd;
    struct timespec until;

    while (!atomic_load(&c->failed) && !has_all(f)) {
        uint64_t tail;
        if (c->locked)
            pthread_rwlock_rdlock(&c->gate);
        tail = oplog_tail(c->log);
        if (c->locked)
            pthread_rwlock_unlock(&c->gate);
        if (tail > f->position) {
            take(f, tail);
        } else if (oplog_sleep(c->log, &f->reader, f->position)) {
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec += SECONDS;
            f->sleeps++;
            while (sem_timedwait(&f->woken, &until) != 0)
                if (errno != EINTR) {
                    complain(c, "nobody woke the reader at %llu", (unsigned long long)f->position);
                    break;
                }
        }
    }
    return NULL;
}

static void post(void *arg)
{
    struct follower *f = arg;

    sem_post(&f->woken);
}

/* Comes and goes, and changes what is kept; with a gate, closes it now and then. */
static void *run_visitor(void *arg)
{
    struct follower *f = arg;
    struct crowd *c = f->crowd;
    struct iovec iov[4];
    uint64_t sum = 0;

    while (atomic_load(&c->running) > 0 && !atomic_load(&c->failed)) {
        uint64_t first = oplog_first(c->log), head = oplog_head(c->log), tail;
        if (oplog_attach(c->log, &f->reader, first + random_below(&f->random, head - first + 1))) {
            f->position = atomic_load(&f->reader.position);
            tail = oplog_tail(c->log);
            for (int n = oplog_gather(c->log, f->position, tail, iov, 4); n-- > 0;)
                sum += sum_of(view_of(iov[n].iov_base, iov[n].iov_len));
            if (oplog_first(c->log) > f->position)
                complain(c, "what is read is not kept");
            if (c->in_step || random_below(&f->random, 2) == 0)
                oplog_sleep(c->log, &f->reader, tail);
            oplog_detach(c->log, &f->reader);
        }
        oplog_retain(c->log, random_below(&f->random, 4) * OPLOG_BLOCK);
        if (c->locked) {
            pthread_rwlock_wrlock(&c->gate);
            if (oplog_tail(c->log) != oplog_head(c->log))
                complain(c, "something is not filled though the gate is closed");
            oplog_rebase(c->log);
            if (random_below(&f->random, 3) == 0)
                oplog_forget_db(c->log);
            pthread_rwlock_unlock(&c->gate);
        }
        sched_yield();
    }
    f->position = sum;
    return NULL;
}

static void run_crowd(bool locked, bool in_step)
{
    struct random random = support_random();
    struct crowd *c = mem_zalloc(sizeof *c);
    struct appender appenders[APPENDERS];
    struct follower followers[READERS]; /* the last ones only visit */
    pthread_t threads[APPENDERS + READERS];
    pthread_rwlockattr_t attr;
    unsigned n = 0;

    c->log = oplog_new();
    c->locked = locked;
    c->in_step = in_step;
    c->units = in_step ? UNITS / 5 : UNITS;
    c->followers = followers;
    oplog_start(c->log);
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&c->gate, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&c->lock, NULL);
    for (unsigned i = 0; i < KEYS; i++)
        pthread_mutex_init(&c->locks[i], NULL);
    atomic_store(&c->running, APPENDERS);
    for (unsigned i = 0; i < READERS; i++) {
        followers[i] = (struct follower){.crowd = c, .db = -1, .random = random};
        random_next(&random);
        followers[i].reader.wake = post;
        followers[i].reader.arg = &followers[i];
        sem_init(&followers[i].woken, 0, 0);
        if (i < FOLLOWERS)
            assert_true(oplog_attach(c->log, &followers[i].reader, 0));
        assert_int_equal(pthread_create(&threads[n++], NULL, i < FOLLOWERS ? run_follower : run_visitor, &followers[i]),
                         0);
    }
    for (unsigned i = 0; i < APPENDERS; i++) {
        appenders[i] = (struct appender){c, i, random};
        for (unsigned k = 0; k <= i; k++)
            random_next(&random);
        appenders[i].random.s[0] ^= i + 1;
        assert_int_equal(pthread_create(&threads[n++], NULL, run_appender, &appenders[i]), 0);
    }
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    if (atomic_load(&c->failed))
        fail_msg("%s", c->failure);
    for (unsigned i = 0; i < FOLLOWERS; i++) {
        assert_int_equal(followers[i].position, oplog_head(c->log));
        assert_int_equal(buf_live(&followers[i].in), 0);
        for (unsigned k = 0; k < KEYS; k++)
            assert_int_equal(followers[i].counters[k], c->counters[k]);
        oplog_detach(c->log, &followers[i].reader);
    }
    assert_int_equal(atomic_load(&c->log->sleepers), 0);
    for (unsigned i = 0; i < READERS; i++) {
        buf_free(&followers[i].in);
        sem_destroy(&followers[i].woken);
    }
    print_message("%llu MiB; the readers slept %u and %u times\n", (unsigned long long)oplog_head(c->log) >> 20,
                  followers[0].sleeps, followers[1].sleeps);
    oplog_free(c->log);
    for (unsigned i = 0; i < KEYS; i++)
        pthread_mutex_destroy(&c->locks[i]);
    pthread_mutex_destroy(&c->lock);
    pthread_rwlock_destroy(&c->gate);
    mem_free(c);
}

static void test_threads(void **state)
{
    (void)state;
    run_crowd(false, false);
}

static void test_threads_in_order(void **state)
{
    (void)state;
    run_crowd(true, false);
}

static void test_threads_in_step(void **state)
{
    (void)state;
    run_crowd(false, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_threads_in_order),
        cmocka_unit_test(test_threads_in_step),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
