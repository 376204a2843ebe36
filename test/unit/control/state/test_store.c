/* Batches, their order, their fates; and a process that is killed while it writes. */
#include "control/state/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/num.h"
#include "base/random.h"

static char dir[] = "/tmp/larder-test-store-XXXXXX";
static char error[DATABASE_ERROR_MAX];

static const char *fresh(void)
{
    static char path[64];
    static unsigned n;

    snprintf(path, sizeof path, "%s/%u.db", dir, ++n);
    return path;
}

static const char *list_record(void *arg, const struct database_record *r)
{
    buf_printf(arg, "%.*s/%.*s.%u=%.*s ", (int)r->kind.n, r->kind.p, (int)r->id.n, r->id.p, r->version, (int)r->value.n,
               r->value.p);
    return NULL;
}

/* Opens, and demands these records. */
static struct store *open_with(const char *path, const char *expected)
{
    struct store *s;
    struct buf text = {0};

    if (store_open(path, list_record, &text, &s, error) != DATABASE_OK)
        fail_msg("%s", error);
    buf_put_char(&text, '\0');
    assert_string_equal(text.p, expected);
    buf_free(&text);
    return s;
}

/* What the callbacks said. */
static struct outcome {
    unsigned done;
    struct buf text; /* "1 2! " for a first that is durable and a second that is not */
} outcome;

static void note(void *arg, const char *failure)
{
    buf_printf(&outcome.text, "%s%s ", (const char *)arg, failure != NULL ? "!" : "");
    outcome.done++;
    if (failure != NULL)
        snprintf(error, sizeof error, "%s", failure);
}

static void assert_outcome(const char *expected)
{
    buf_put_char(&outcome.text, '\0');
    assert_string_equal(outcome.text.p, expected);
    buf_free(&outcome.text);
    outcome.done = 0;
}

/* Waits until n callbacks have run, as an event loop does. */
static void wait_done(struct store *s, unsigned n)
{
    while (outcome.done < n) {
        struct pollfd p = {store_fd(s), POLLIN, 0};
        assert_int_equal(poll(&p, 1, 20000), 1);
        store_dispatch(s);
    }
}

static struct store_batch *batch_of(const char *id, const char *value)
{
    struct store_batch *b = store_begin();

    store_put(b, VIEW("k"), view_str(id), 1, view_str(value));
    return b;
}

static void batches(void **state)
{
    const char *path = fresh();
    struct store *s = open_with(path, "");
    struct store_batch *b = store_begin();
    char id[] = "a";

    (void)state;
    store_put(b, VIEW("k"), view_str(id), 1, VIEW("1"));
    store_put(b, VIEW("k"), VIEW("b"), 2, VIEW(""));
    store_put(b, VIEW(""), VIEW(""), 0, VIEW("{}"));
    id[0] = 'x'; /* it was copied */
    store_commit(s, b, note, "1");
    b = store_begin();
    store_delete(b, VIEW("k"), VIEW("b"));
    store_put(b, VIEW("k"), VIEW("c"), 3, VIEW("3"));
    store_delete(b, VIEW("k"), VIEW("c"));
    store_put(b, VIEW("k"), VIEW("c"), 4, VIEW("4"));
    store_commit(s, b, note, "2");
    store_commit(s, store_begin(), note, "3");
    store_commit(s, batch_of("d", "5"), NULL, NULL);
    b = batch_of("e", "6");
    store_abandon(b);
    store_abandon(NULL);
    wait_done(s, 3);
    assert_outcome("1 2 3 ");
    store_close(s);
    s = open_with(path, "/.0={} k/a.1=1 k/c.4=4 k/d.1=5 ");
    store_close(s);
    store_close(NULL);
}

static void refused_files(void **state)
{
    struct store *s = (struct store *)error;

    (void)state;
    assert_int_equal(store_open("/tmp/larder-no-such-directory/x", list_record, NULL, &s, error), DATABASE_FAILED);
    assert_null(s);
    assert_non_null(strstr(error, strerror(ENOENT)));
}

static const char *dislike(void *arg, const struct database_record *r)
{
    (void)arg;
    (void)r;
    return "bad";
}

static void refused_records(void **state)
{
    const char *path = fresh();
    struct store *s = open_with(path, "");

    (void)state;
    store_commit(s, batch_of("a", "1"), NULL, NULL);
    store_close(s);
    assert_int_equal(store_open(path, dislike, NULL, &s, error), DATABASE_DAMAGED);
    assert_null(s);
    assert_non_null(strstr(error, "k a: bad"));
    store_close(open_with(path, "k/a.1=1 "));
}

/* Many batches at once: few transactions, and the callbacks in order. */
static unsigned next_expected;

static void in_order(void *arg, const char *failure)
{
    assert_null(failure);
    assert_int_equal((uintptr_t)arg, next_expected);
    next_expected++;
    outcome.done++;
}

static void many(void **state)
{
    const char *path = fresh();
    struct store *s = open_with(path, "");
    char id[16];

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(id, sizeof id, "%u", i % 7);
        store_commit(s, batch_of(id, "{}"), in_order, (void *)(uintptr_t)i);
        if (i % 100 == 0)
            store_dispatch(s);
    }
    wait_done(s, 5000);
    outcome.done = 0;
    store_close(s);
    store_close(open_with(path, "k/0.1={} k/1.1={} k/2.1={} k/3.1={} k/4.1={} k/5.1={} k/6.1={} "));
}

static void close_waits(void **state)
{
    const char *path = fresh();
    struct store *s = open_with(path, "");

    (void)state;
    store_commit(s, batch_of("a", "1"), note, "1");
    store_commit(s, batch_of("b", "2"), note, "2");
    store_close(s);
    assert_outcome("1 2 ");
    store_close(open_with(path, "k/a.1=1 k/b.1=2 "));
}

/* A callback may hand over more, even while the store closes. */
static void and_another(void *arg, const char *failure)
{
    static unsigned left = 3;

    assert_null(failure);
    if (left-- > 0)
        store_commit(arg, batch_of("again", "{}"), and_another, arg);
    outcome.done++;
}

static void callbacks_that_commit(void **state)
{
    const char *path = fresh();
    struct store *s = open_with(path, "");

    (void)state;
    store_commit(s, batch_of("a", "1"), and_another, s);
    store_close(s);
    assert_int_equal(outcome.done, 4);
    outcome.done = 0;
    store_close(open_with(path, "k/a.1=1 k/again.1={} "));
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

static void one_bad_batch(void **state)
{
    const char *path = fresh();
    struct store *s = open_with(path, "");
    char *value = calloc(1, DATABASE_VALUE_MAX + 1);

    (void)state;
    log_set_level(LOG_LEVEL_NOTHING);
    /* A backup keeps the writer busy, so that the rest is one group. */
    for (unsigned round = 0; round < 5; round++) {
        struct store_batch *bad = store_begin();
        store_backup(s, "/tmp/larder-no-such-directory/x", note, "1");
        store_commit(s, batch_of("a", "1"), note, "2");
        store_put(bad, VIEW("k"), VIEW("before"), 1, VIEW("{}"));
        store_put(bad, VIEW("k"), VIEW("bad"), 1, view_of(value, DATABASE_VALUE_MAX + 1));
        store_commit(s, bad, note, "3");
        store_commit(s, batch_of("b", "2"), note, "4");
        wait_done(s, 4);
        assert_outcome("1! 2 3! 4 ");
        assert_non_null(strstr(error, "too big"));
    }
    log_set_level(LOG_LEVEL_NOTICE);
    store_close(s);
    store_close(open_with(path, "k/a.1=1 k/b.1=2 "));
    free(value);
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void full_disk(void **state)
{
    const char *path = fresh();
    struct store *s = open_with(path, "");
    struct store_batch *b;
    char value[100000];

    (void)state;
    memset(value, 'x', sizeof value);
    signal(SIGXFSZ, SIG_IGN);
    log_set_level(LOG_LEVEL_NOTHING);
    store_commit(s, batch_of("a", "1"), note, "1");
    wait_done(s, 1);
    limit_files(80000);
    b = store_begin();
    store_put(b, VIEW("k"), VIEW("big"), 1, view_of(value, sizeof value));
    store_put(b, VIEW("k"), VIEW("a"), 1, VIEW("changed"));
    store_commit(s, b, note, "2");
    store_commit(s, batch_of("b", "2"), note, "3");
    wait_done(s, 3);
    assert_outcome("1 2! 3 ");
    assert_non_null(strstr(error, path));
    limit_files(RLIM_INFINITY);
    log_set_level(LOG_LEVEL_NOTICE);
    store_commit(s, batch_of("c", "3"), note, "4");
    wait_done(s, 1);
    assert_outcome("4 ");
    store_close(s);
    store_close(open_with(path, "k/a.1=1 k/b.1=2 k/c.1=3 "));
}

static void backups(void **state)
{
    const char *path = fresh();
    struct store *s = open_with(path, "");
    char to[80];

    (void)state;
    snprintf(to, sizeof to, "%s.backup", path);
    store_commit(s, batch_of("a", "1"), note, "1");
    store_backup(s, to, note, "2");
    store_commit(s, batch_of("b", "2"), note, "3");
    wait_done(s, 3);
    assert_outcome("1 2 3 ");
    store_close(open_with(to, "k/a.1=1 "));
    store_close(s);
    store_close(open_with(path, "k/a.1=1 k/b.1=2 "));
}

/* ---- kill -9 ----------------------------------------------------------------------------------------------------- */

static int reports_to;

/* Tells the parent: this one is durable. */
static void report(void *arg, const char *failure)
{
    uint64_t n = (uintptr_t)arg;

    if (failure != NULL || write(reports_to, &n, sizeof n) != sizeof n)
        _exit(1);
}

/* Batch n puts n under two keys that share the rest of n by 50, and takes two others away. */
static void write_on(const char *path, int pipe, uint64_t first)
{
    struct buf text = {0};
    struct store *s;

    if (store_open(path, list_record, &text, &s, error) != DATABASE_OK)
        _exit(1);
    reports_to = pipe;
    for (uint64_t n = first;; n++) {
        struct pollfd p = {store_fd(s), POLLIN, 0};
        struct store_batch *b = store_begin();
        char value[32], id[32], old[32];
        snprintf(value, sizeof value, "%llu", (unsigned long long)n);
        snprintf(id, sizeof id, "%02u", (unsigned)(n % 50));
        snprintf(old, sizeof old, "%02u", (unsigned)((n + 25) % 50));
        store_put(b, VIEW("left"), view_str(id), 1, view_str(value));
        store_delete(b, VIEW("left"), view_str(old));
        store_put(b, VIEW("right"), view_str(id), 1, view_str(value));
        store_delete(b, VIEW("right"), view_str(old));
        store_commit(s, b, report, (void *)(uintptr_t)n);
        if (n % 3 == 0 && poll(&p, 1, 20000) != 1)
            _exit(1);
        store_dispatch(s);
    }
}

struct found {
    uint64_t left[50], right[50];
};

static const char *find(void *arg, const struct database_record *r)
{
    struct found *f = arg;
    uint64_t id = 0, value = 0;

    assert_true(num_parse_uint(r->id, &id) && id < 50 && num_parse_uint(r->value, &value));
    (view_is(r->kind, "left") ? f->left : f->right)[id] = value;
    return NULL;
}

/* The state must be that after some batch that is not before `durable`; its number. */
static uint64_t assert_whole(const char *path, uint64_t durable)
{
    struct found f = {{0}, {0}};
    struct store *s;
    uint64_t last = 0;

    if (store_open(path, find, &f, &s, error) != DATABASE_OK)
        fail_msg("%s", error);
    for (unsigned i = 0; i < 50; i++)
        if (f.left[i] > last)
            last = f.left[i];
    assert_true(last >= durable);
    for (unsigned i = 0; i < 50; i++) {
        uint64_t age = (last + 50 - i) % 50, expected = age < 25 && last > age ? last - age : 0;
        assert_int_equal(f.left[i], f.right[i]);
        assert_int_equal(f.left[i], expected);
    }
    store_close(s);
    return last;
}

static void killed(void **state)
{
    const char *path = fresh();
    struct random r;
    uint64_t last = 0;

    (void)state;
    random_seed(&r);
    for (unsigned round = 0; round < 12; round++) {
        uint64_t durable = last, reports = 1 + random_below(&r, 300);
        int ends[2], status;
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) {
            close(ends[0]);
            write_on(path, ends[1], last + 1);
        }
        close(ends[1]);
        for (uint64_t i = 0; i < reports; i++) {
            uint64_t n;
            assert_int_equal(read(ends[0], &n, sizeof n), sizeof n);
            assert_int_equal(n, durable + 1);
            durable = n;
        }
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        for (uint64_t n; read(ends[0], &n, sizeof n) == sizeof n;)
            durable = n;
        close(ends[0]);
        last = assert_whole(path, durable);
    }
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int remove_dir(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed),
        cmocka_unit_test(batches),
        cmocka_unit_test(refused_files),
        cmocka_unit_test(refused_records),
        cmocka_unit_test(many),
        cmocka_unit_test(close_waits),
        cmocka_unit_test(callbacks_that_commit),
        cmocka_unit_test(one_bad_batch),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(backups),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
