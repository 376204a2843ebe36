/* control/model/model.h: what transactions do, and what the store has afterwards. */
#include "control/model/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

struct fixture {
    char path[64];
    struct model *model;
    unsigned done, failed, rollbacks;
};

static void on_done(void *arg, const char *error)
{
    struct fixture *f = arg;

    f->done++;
    f->failed += error != NULL;
}

static void on_rollback(void *arg)
{
    struct fixture *f = arg;

    f->rollbacks++;
}

static void open_model(struct fixture *f)
{
    char error[MODEL_ERROR_MAX] = "";

    if (model_open(&f->model, f->path, error) != 0)
        fail_msg("%s", error);
    model_on_rollback(f->model, on_rollback, f);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    snprintf(f->path, sizeof f->path, "/tmp/larder-model-%d.db", (int)getpid());
    unlink(f->path);
    signal(SIGXFSZ, SIG_IGN);
    open_model(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    struct fixture *f = *state;
    char path[80];

    model_close(f->model);
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", f->path, ends[i]);
        unlink(path);
    }
    free(f);
    return 0;
}

/* Waits for the fate of everything that was committed. */
static void settle(struct fixture *f, unsigned commits)
{
    struct pollfd p = {model_fd(f->model), POLLIN, 0};

    while (f->done < commits) {
        assert_int_equal(poll(&p, 1, 10000), 1);
        model_dispatch(f->model);
    }
}

static void add_group(struct txn *t, const char *name, const char *description)
{
    struct cache_subnet_group *g = txn_add_cache_subnet_group(t, view_str(name));

    g->name = txn_text(t, g, view_str(name));
    g->description = txn_text(t, g, view_str(description));
    g->vpc_id = txn_text(t, g, VIEW("vpc-1"));
}

static void describe(struct fixture *f, const char *name, const char *description)
{
    struct txn *t = txn_begin(f->model);
    struct cache_subnet_group *g = txn_edit_cache_subnet_group(t, view_str(name));

    assert_non_null(g);
    g->description = txn_text(t, g, view_str(description));
    assert_true(txn_commit(t, on_done, f));
}

static void assert_described(const struct fixture *f, const char *name, const char *description)
{
    const struct cache_subnet_group *g = model_cache_subnet_group(f->model, view_str(name));

    if (!description) {
        assert_null(g);
        return;
    }
    assert_non_null(g);
    assert_int_equal(g->description.n, strlen(description));
    assert_memory_equal(g->description.p, description, strlen(description));
}

static void test_records_are_ordered_and_last(void **state)
{
    struct fixture *f = *state;
    struct txn *t = txn_begin(f->model);

    add_group(t, "b", "two");
    add_group(t, "a", "one");
    add_group(t, "ab", "between");
    assert_true(txn_commit(t, on_done, f));
    assert_int_equal(model_count(f->model, MODEL_CACHE_SUBNET_GROUP), 3);
    assert_string_equal(model_cache_subnet_group_at(f->model, 1)->name.p, "ab");
    assert_int_equal(model_lower_bound(f->model, MODEL_CACHE_SUBNET_GROUP, VIEW("aa")), 1);
    settle(f, 1);
    model_close(f->model);
    open_model(f);
    assert_described(f, "a", "one");
    assert_described(f, "ab", "between");
    assert_described(f, "b", "two");
}

static void test_an_aborted_transaction_leaves_no_trace(void **state)
{
    struct fixture *f = *state;
    struct txn *t = txn_begin(f->model);

    add_group(t, "a", "one");
    add_group(t, "b", "two");
    assert_true(txn_commit(t, on_done, f));
    t = txn_begin(f->model);
    txn_edit_cache_subnet_group(t, VIEW("a"))->description = VIEW("changed");
    txn_remove(t, MODEL_CACHE_SUBNET_GROUP, VIEW("b"));
    add_group(t, "c", "three");
    assert_described(f, "a", "changed");
    assert_described(f, "b", NULL);
    txn_abort(t);
    assert_described(f, "a", "one");
    assert_described(f, "b", "two");
    assert_described(f, "c", NULL);
    settle(f, 1);
}

static void test_what_was_added_and_removed_was_never_there(void **state)
{
    struct fixture *f = *state;
    struct txn *t = txn_begin(f->model);

    add_group(t, "a", "one");
    txn_remove(t, MODEL_CACHE_SUBNET_GROUP, VIEW("a"));
    txn_remove(t, MODEL_CACHE_SUBNET_GROUP, VIEW("never"));
    assert_false(txn_changed(t));
    assert_false(txn_commit(t, on_done, f));
    assert_described(f, "a", NULL);
}

static void test_removed_and_added_again(void **state)
{
    struct fixture *f = *state;
    struct txn *t = txn_begin(f->model);

    add_group(t, "a", "one");
    txn_commit(t, on_done, f);
    t = txn_begin(f->model);
    txn_remove(t, MODEL_CACHE_SUBNET_GROUP, VIEW("a"));
    add_group(t, "a", "two");
    txn_commit(t, on_done, f);
    settle(f, 2);
    model_close(f->model);
    open_model(f);
    assert_described(f, "a", "two");
}

/* The disk refuses what goes beyond its present size. */
static void fill_disk(bool full)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = full ? 1 : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_what_cannot_be_written_comes_back(void **state)
{
    struct fixture *f = *state;
    struct txn *t = txn_begin(f->model);

    add_group(t, "a", "one");
    txn_commit(t, on_done, f);
    settle(f, 1);
    fill_disk(true);
    describe(f, "a", "two");
    assert_described(f, "a", "two");
    settle(f, 2);
    assert_int_equal(f->failed, 1);
    assert_int_equal(f->rollbacks, 1);
    assert_described(f, "a", "one");
    describe(f, "a", "three");
    describe(f, "a", "four");
    settle(f, 4);
    assert_int_equal(f->failed, 3);
    assert_described(f, "a", "one");
    fill_disk(false);
    describe(f, "a", "five");
    settle(f, 5);
    assert_int_equal(f->failed, 3);
    assert_described(f, "a", "five");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_records_are_ordered_and_last, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_aborted_transaction_leaves_no_trace, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_added_and_removed_was_never_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_removed_and_added_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_written_comes_back, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
