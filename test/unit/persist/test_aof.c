/*
 * The writer, one round at a time, with every step of it failing. An effect is a letter, so the file's contents show
 * what is missing, there twice, or out of order; the log is fed and the thread is played by the test.
 */
#include "engine/persist/aof.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/persist/persist.h"
#include "engine/server/config.h"
#include "engine/server/replication.h"
#include "engine/server/server.h"

#define SELECT_2 "*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n"
#define THREAD 3
#define FILES_MAX 8

struct fixture {
    struct server server;
    struct replication replication;
    struct aof *aof;
    char dir[64];
    char paths[FILES_MAX][128];
    unsigned files;
    char expected[4096]; /* what was appended since the current file began */
    unsigned progressed;
};

static void on_progress(void *arg)
{
    struct fixture *f = arg;

    f->progressed++;
}

static void exclusive(void *arg, void (*fn)(void *fn_arg), void *fn_arg)
{
    (void)arg;
    fn(fn_arg);
}

static const struct server_ops ops = {.progressed = on_progress, .exclusive = exclusive, .post_exclusive = exclusive};

/* A new file that the writer is to go on in from here. */
static int hand_over(struct fixture *f, int64_t db)
{
    char *path = f->paths[f->files++];
    int fd, rc;

    snprintf(path, sizeof f->paths[0], "%s/%u.incr.aof", f->dir, f->files);
    assert_int_equal(file_create_append(path, &fd), 0);
    pthread_mutex_lock(&f->aof->lock);
    rc = aof_hand_over(f->aof, fd, oplog_head(f->server.log), db);
    pthread_mutex_unlock(&f->aof->lock);
    if (rc != 0) {
        f->files--;
        file_close(fd);
        unlink(path);
    } else {
        f->expected[0] = '\0';
    }
    return rc;
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    log_set_level(LOG_LEVEL_NOTHING);
    strcpy(f->dir, "/tmp/larder-test-aof-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->server.ops = &ops;
    f->server.ops_arg = f;
    f->server.config = config_new();
    f->server.config->appendonly = 1;
    f->server.config->appendfsync = FSYNC_ALWAYS;
    f->server.replication = &f->replication;
    replication_init(&f->replication, &f->server);
    atomic_store(&f->server.waiters, 1);
    f->server.log = oplog_new();
    oplog_start(f->server.log);
    f->server.persistence = persist_new(&f->server);
    f->server.persistence->aof = f->aof = aof_new(&f->server, f->server.persistence);
    assert_int_equal(hand_over(f, AOF_NO_DB), 0);
    aof_round(f->aof);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[100];

    (void)file_fail_after(-1, 0, 0);
    aof_free(f->aof);
    persist_free(f->server.persistence);
    oplog_free(f->server.log);
    replication_free(&f->replication);
    config_free(f->server.config);
    snprintf(command, sizeof command, "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
    mem_free(f);
    return 0;
}

/* Bytes that stand for an effect. */
static void append(struct fixture *f, const char *text)
{
    strcat(f->expected, text);
    oplog_append_verbatim(f->server.log, THREAD, view_of(text, strlen(text)), OPLOG_SAME_DB);
    oplog_wake(f->server.log, THREAD);
}

static void assert_file(struct fixture *f, unsigned number, const char *expected)
{
    struct buf b = {0};

    assert_int_equal(file_read_all(f->paths[number], 1 << 22, &b), 0);
    buf_put_char(&b, '\0');
    assert_string_equal(b.p, expected);
    buf_free(&b);
}

static void assert_current(struct fixture *f)
{
    assert_file(f, f->files - 1, f->expected);
}

static bool is_refused(struct fixture *f)
{
    return (atomic_load(&f->server.restrictions) & RESTRICT_DISK) != 0;
}

static uint64_t synced(struct fixture *f)
{
    return atomic_load(&f->server.synced);
}

/* Rounds until there is nothing to do, or the disk refuses. */
static int64_t rounds(struct fixture *f)
{
    int64_t us = 0;

    for (unsigned i = 0; i < 100 && us == 0; i++)
        us = aof_round(f->aof);
    return us;
}

static void always_syncs_each_round(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(rounds(f), INT64_MAX);
    append(f, "a");
    append(f, "b");
    (void)file_fail_after(-1, 0, 0);
    assert_int_equal(rounds(f), INT64_MAX);
    assert_int_equal(file_fail_after(-1, 0, 0), 2); /* one write and one sync for both */
    assert_current(f);
    assert_int_equal(synced(f), 2);
    assert_int_equal(atomic_load(&f->aof->reader.position), 2);
    assert_true(f->progressed > 0);
}

static void sleeps_until_something_comes(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(rounds(f), INT64_MAX);
    f->aof->kicked = false;
    append(f, "a");
    assert_true(f->aof->kicked);
    assert_int_equal(rounds(f), INT64_MAX);
    assert_current(f);
}

static void everysec_gathers(void **state)
{
    struct fixture *f = *state;
    int64_t us;

    f->server.config->appendfsync = FSYNC_EVERYSEC;
    append(f, "a");
    rounds(f); /* the first sync is due at once */
    assert_int_equal(synced(f), 1);
    append(f, "b");
    us = rounds(f);
    assert_true(us > 0 && us <= 20000);
    assert_current(f);
    assert_int_equal(synced(f), 1);
    assert_int_equal(atomic_load(&f->aof->reader.position), 1);
    f->aof->kicked = false;
    append(f, "c");
    assert_false(f->aof->kicked); /* nobody has to wake it while it gathers */
    for (unsigned i = 0; i < 20; i++)
        us = rounds(f);
    assert_true(us > 500000 && us <= 1000000); /* until the sync is due */
    append(f, "d");
    assert_true(f->aof->kicked);
    f->aof->synced_us -= 1000000;
    rounds(f);
    assert_int_equal(synced(f), 4);
    assert_current(f);
}

static void no_never_syncs(void **state)
{
    struct fixture *f = *state;

    f->server.config->appendfsync = FSYNC_NO;
    append(f, "a");
    (void)file_fail_after(-1, 0, 0);
    rounds(f);
    assert_int_equal(file_fail_after(-1, 0, 0), 1);
    assert_int_equal(synced(f), 1);
    assert_int_equal(atomic_load(&f->aof->reader.position), 1);
    f->server.config->appendfsync = FSYNC_ALWAYS;
    rounds(f);
    assert_int_equal(file_fail_after(-1, 0, 0), 1);
}

static void no_sync_while_saving_if_so_configured(void **state)
{
    struct fixture *f = *state;

    f->server.config->appendfsync = FSYNC_EVERYSEC;
    f->server.config->no_appendfsync_on_rewrite = 1;
    atomic_store(&f->server.persistence->work, PERSIST_SAVE);
    append(f, "a");
    assert_int_equal(rounds(f), 10000);
    assert_int_equal(synced(f), 0);
    atomic_store(&f->server.persistence->work, PERSIST_IDLE);
    rounds(f);
    assert_int_equal(synced(f), 1);
}

/* Each step of writing, syncing and repairing fails, up to three times in a row. */
static void every_step_fails(void **state)
{
    struct fixture *f = *state;
    uint64_t before;

    for (int policy = FSYNC_EVERYSEC; policy <= FSYNC_NO; policy++)
        for (int step = 0; step < 4; step++)
            for (int times = 1; times < 4; times++) {
                f->server.config->appendfsync = policy;
                f->aof->synced_us = 0;
                before = synced(f);
                append(f, "first ");
                (void)file_fail_after(step, times, ENOSPC);
                for (unsigned i = 0; i < 8; i++) {
                    int64_t us = aof_round(f->aof);
                    assert_int_equal(us, f->aof->failing ? f->aof->retry_us : us);
                    assert_int_equal(is_refused(f), f->aof->failing);
                    assert_int_equal(atomic_load(&f->server.file_error), f->aof->failing ? ENOSPC : 0);
                    assert_true(synced(f) >= before && synced(f) <= oplog_head(f->server.log));
                    if (i == 1)
                        append(f, "second ");
                }
                (void)file_fail_after(-1, 0, 0);
                f->aof->synced_us = 0;
                rounds(f);
                assert_int_equal(synced(f), oplog_head(f->server.log));
                assert_false(is_refused(f));
                assert_current(f);
            }
}

static void retries_become_rarer(void **state)
{
    struct fixture *f = *state;

    append(f, "a");
    (void)file_fail_after(0, -1, EIO);
    assert_int_equal(rounds(f), 100000);
    assert_int_equal(rounds(f), 200000);
    for (unsigned i = 0; i < 5; i++)
        rounds(f);
    assert_int_equal(rounds(f), 1000000);
    (void)file_fail_after(-1, 0, 0);
    assert_int_equal(rounds(f), INT64_MAX);
    append(f, "b");
    (void)file_fail_after(0, -1, EIO);
    assert_int_equal(rounds(f), 100000);
}

/* A sync that failed may have dropped pages that an earlier one of `no` was never asked for. */
static void unsynced_bytes_that_fail_are_rewritten(void **state)
{
    struct fixture *f = *state;

    f->server.config->appendfsync = FSYNC_NO;
    append(f, "a");
    rounds(f);
    f->server.config->appendfsync = FSYNC_ALWAYS;
    (void)file_fail_after(0, 1, EIO);
    rounds(f);
    rounds(f);
    assert_true(f->server.persistence->rewrite_wanted);
    assert_current(f);
}

static void both_reasons_for_misconf(void **state)
{
    struct fixture *f = *state;

    atomic_store(&f->server.persistence->save_ok, false);
    persist_configure(f->server.persistence, "900 1");
    append(f, "a");
    (void)file_fail_after(0, 1, EIO);
    rounds(f);
    rounds(f);
    assert_int_equal(atomic_load(&f->server.file_error), 0);
    assert_true(is_refused(f));
    persist_configure(f->server.persistence, "");
    assert_false(is_refused(f));
}

static void the_next_file_begins_at_the_cut(void **state)
{
    struct fixture *f = *state;
    char before[16];

    for (unsigned written = 0; written < 3; written++) {
        if (written > 0) {
            append(f, "a");
            rounds(f);
        }
        if (written > 1)
            append(f, "b");
        strcpy(before, f->expected);
        assert_int_equal(hand_over(f, AOF_NO_DB), 0);
        append(f, "c");
        (void)file_fail_after((int)written, 2, EIO);
        for (unsigned i = 0; i < 6; i++)
            rounds(f);
        assert_int_equal(rounds(f), INT64_MAX);
        assert_file(f, f->files - 2, before);
        assert_current(f);
        assert_int_equal(synced(f), oplog_head(f->server.log));
    }
}

static void one_next_file_at_a_time(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(rounds(f), INT64_MAX);
    append(f, "a");
    assert_int_equal(hand_over(f, AOF_NO_DB), 0);
    assert_int_equal(hand_over(f, AOF_NO_DB), -EBUSY);
    rounds(f);
    assert_int_equal(hand_over(f, AOF_NO_DB), 0);
}

/* The base is there before the old file is complete. */
static void what_the_base_has_is_skipped(void **state)
{
    struct fixture *f = *state;

    rounds(f);
    append(f, "a");
    (void)file_fail_after(0, -1, ENOSPC);
    rounds(f);
    (void)file_fail_after(-1, 0, 0);
    assert_int_equal(hand_over(f, AOF_NO_DB), 0);
    append(f, "b");
    (void)file_fail_after(0, -1, ENOSPC);
    rounds(f);
    assert_true(is_refused(f));
    pthread_mutex_lock(&f->aof->lock);
    f->aof->next.skips = true;
    pthread_mutex_unlock(&f->aof->lock);
    (void)file_fail_after(-1, 0, 0);
    assert_int_equal(rounds(f), INT64_MAX);
    assert_false(is_refused(f));
    assert_current(f);
    assert_int_equal(synced(f), 2);
    assert_int_equal(atomic_load(&f->aof->earlier_size), 0);
}

static void the_file_is_told_its_database(void **state)
{
    struct fixture *f = *state;

    rounds(f);
    assert_int_equal(hand_over(f, 2), 0);
    append(f, "a");
    (void)file_fail_after(2, 1, EIO); /* the sync: all of it again, and the database too */
    rounds(f);
    rounds(f);
    assert_file(f, 1, SELECT_2 "a");
    append(f, "b");
    (void)file_fail_after(1, 1, EIO);
    rounds(f);
    rounds(f);
    assert_file(f, 1, SELECT_2 "ab");
    assert_int_equal(synced(f), 2);
}

static void timestamps_stand_before_a_unit(void **state)
{
    struct fixture *f = *state;
    struct buf b = {0};

    f->server.config->aof_timestamp_enabled = 1;
    append(f, "a");
    rounds(f);
    append(f, "b");
    rounds(f);
    f->aof->stamped_s -= 5;
    append(f, "c");
    rounds(f);
    assert_int_equal(file_read_all(f->paths[0], 1000, &b), 0);
    buf_put_char(&b, '\0');
    assert_memory_equal(b.p, "#TS:", 4);
    assert_memory_equal(strchr(b.p, '\n') + 1, "ab#TS:", 6);
    assert_int_equal(b.p[b.len - 2], 'c');
    buf_free(&b);
}

static void leaving_writes_everything(void **state)
{
    struct fixture *f = *state;

    f->server.config->appendfsync = FSYNC_NO;
    append(f, "a");
    assert_int_equal(hand_over(f, AOF_NO_DB), 0);
    append(f, "b");
    aof_leave(f->aof, AOF_FLUSH);
    assert_file(f, 0, "a");
    assert_file(f, 1, "b");
    assert_false(oplog_read_by_anyone(f->server.log));
    assert_int_equal(rounds(f), INT64_MAX);
}

static void leaving_does_not_wait_for_the_disk(void **state)
{
    struct fixture *f = *state;

    append(f, "a");
    rounds(f);
    append(f, "b");
    (void)file_fail_after(0, 2, EIO);
    rounds(f);
    aof_leave(f->aof, AOF_FLUSH);
    assert_file(f, 0, "a");
    assert_false(is_refused(f));
    assert_int_equal(atomic_load(&f->server.file_error), 0);
}

static void a_lost_place_begins_anew(void **state)
{
    struct fixture *f = *state;

    rounds(f);
    f->aof->mode = AOF_ON;
    append(f, "a");
    atomic_store(&f->aof->reader.lost, true);
    rounds(f);
    assert_int_equal(f->aof->mode, AOF_FIRST);
    assert_false(f->aof->attached);
    assert_int_equal(synced(f), 0); /* what waits for the disk goes on waiting */
    aof_tick(f->aof, INT64_MAX);
    assert_true(f->server.persistence->rewrite_wanted);
}

static void pausing_lets_the_log_go(void **state)
{
    struct fixture *f = *state;

    f->aof->mode = AOF_ON;
    append(f, "a");
    aof_pause(f->aof);
    assert_file(f, 0, "");
    assert_false(oplog_read_by_anyone(f->server.log));
    assert_int_equal(synced(f), UINT64_MAX);
    oplog_restart(f->server.log, 1000);
    aof_tick(f->aof, INT64_MAX);
    assert_false(f->server.persistence->rewrite_wanted);
    aof_resume(f->aof);
    assert_true(f->server.persistence->rewrite_wanted);
    assert_int_equal(f->aof->mode, AOF_FIRST);
    assert_int_equal(hand_over(f, AOF_NO_DB), 0);
    append(f, "b");
    rounds(f);
    assert_current(f);
    assert_int_equal(synced(f), 1001);
}

static void pausing_is_nothing_while_off(void **state)
{
    struct fixture *f = *state;

    aof_leave(f->aof, AOF_DROP);
    aof_pause(f->aof);
    aof_resume(f->aof);
    assert_int_equal(f->aof->mode, AOF_OFF);
    assert_false(f->server.persistence->rewrite_wanted);
}

static void it_goes_on_in_the_last_file(void **state)
{
    struct fixture *f = *state;
    struct aof_files *files;
    struct aof_info info;
    char err[1000];

    for (unsigned run = 0; run < 2; run++) {
        aof_leave(f->aof, AOF_DROP);
        assert_int_equal(aof_files_open(&files, f->dir, "d", "f", err, sizeof err), 0);
        assert_int_equal(aof_go_on(f->aof, files, err, sizeof err), 0);
        append(f, run == 0 ? "a" : "b");
        rounds(f);
    }
    snprintf(f->paths[0], sizeof f->paths[0], "%s/d/f.1.incr.aof", f->dir);
    assert_file(f, 0, "ab");
    aof_info(f->aof, &info);
    assert_true(info.enabled && info.last_write_ok && !info.rewrite_in_progress);
    assert_int_equal(info.current_size, 2);
    assert_int_equal(info.buffer_length, 0);
}

static void automatic_rewrites(void **state)
{
    struct fixture *f = *state;
    bool *wanted = &f->server.persistence->rewrite_wanted;

    rounds(f);
    f->aof->mode = AOF_ON;
    f->server.config->auto_aof_rewrite_min_size = 100;
    f->server.config->auto_aof_rewrite_percentage = 100;
    atomic_store(&f->aof->base_size, 90);
    atomic_store(&f->aof->rewrite_base_size, 90);
    atomic_store(&f->aof->earlier_size, 89);
    aof_tick(f->aof, 1);
    assert_false(*wanted);
    append(f, "a");
    rounds(f);
    f->server.config->auto_aof_rewrite_percentage = 0;
    aof_tick(f->aof, 1);
    assert_false(*wanted);
    f->server.config->auto_aof_rewrite_percentage = 100;
    atomic_store(&f->aof->rewrite_again_ms, 1000);
    aof_tick(f->aof, 999);
    assert_false(*wanted);
    aof_tick(f->aof, 1000);
    assert_true(*wanted);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(always_syncs_each_round),
        TEST(sleeps_until_something_comes),
        TEST(everysec_gathers),
        TEST(no_never_syncs),
        TEST(no_sync_while_saving_if_so_configured),
        TEST(every_step_fails),
        TEST(retries_become_rarer),
        TEST(unsynced_bytes_that_fail_are_rewritten),
        TEST(both_reasons_for_misconf),
        TEST(the_next_file_begins_at_the_cut),
        TEST(one_next_file_at_a_time),
        TEST(what_the_base_has_is_skipped),
        TEST(the_file_is_told_its_database),
        TEST(timestamps_stand_before_a_unit),
        TEST(leaving_writes_everything),
        TEST(leaving_does_not_wait_for_the_disk),
        TEST(a_lost_place_begins_anew),
        TEST(pausing_lets_the_log_go),
        TEST(pausing_is_nothing_while_off),
        TEST(it_goes_on_in_the_last_file),
        TEST(automatic_rewrites),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
