/* Writing, replacing, and what is left when a step fails. */
#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/larder-test-file-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[4][128];
    static unsigned turn;

    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static void assert_contents(const char *name, const char *expected)
{
    struct buf text = {0};

    assert_int_equal(file_read_all(path_of(name), 1 << 20, &text), 0);
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.p, expected, text.len);
    buf_free(&text);
}

static bool exists(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

static void temporary_names(void **state)
{
    char out[PATH_MAX], *path = malloc(PATH_MAX);

    (void)state;
    assert_int_equal(file_temp_path(out, "a/b.c/dump.rdb"), 0);
    assert_string_equal(out, "a/b.c/temp-dump.rdb");
    assert_int_equal(file_temp_path(out, "dump.rdb"), 0);
    assert_string_equal(out, "temp-dump.rdb");
    memset(path, 'x', PATH_MAX - 6);
    path[PATH_MAX - 6] = '\0';
    assert_int_equal(file_temp_path(out, path), 0);
    path[PATH_MAX - 6] = 'x';
    path[PATH_MAX - 5] = '\0';
    assert_int_equal(file_temp_path(out, path), -ENAMETOOLONG);
    free(path);
}

static void writes_and_reads(void **state)
{
    struct buf text = {0};
    char piece[4];
    int64_t size;
    int fd;

    (void)state;
    assert_int_equal(file_create_append(path_of("log"), &fd), 0);
    assert_int_equal(file_write(fd, "one", 3), 0);
    assert_int_equal(file_sync_data(fd), 0);
    file_close(fd);
    assert_int_equal(file_create_append(path_of("log"), &fd), -EEXIST);
    assert_int_equal(fd, -1);
    file_close(fd);
    assert_int_equal(file_open_append(path_of("log"), &fd), 0);
    assert_int_equal(file_write(fd, "two", 3), 0);
    assert_int_equal(file_resize(fd, 5), 0);
    assert_int_equal(file_write(fd, "!", 1), 0);
    file_close(fd);
    assert_contents("log", "onetw!");
    assert_int_equal(file_size(path_of("log"), &size), 0);
    assert_int_equal(size, 6);
    assert_int_equal(file_truncate(path_of("log"), 4), 0);
    assert_contents("log", "onet");
    assert_int_equal(file_open(path_of("log"), &fd), 0);
    assert_int_equal(file_read(fd, piece, sizeof piece), 4);
    assert_int_equal(file_read(fd, piece, sizeof piece), 0);
    file_close(fd);
    buf_put(&text, "kept", 4);
    assert_int_equal(file_read_all(path_of("log"), 3, &text), -EFBIG);
    assert_int_equal(text.len, 4);
    assert_int_equal(file_read_all(path_of("log"), 4, &text), 0);
    assert_int_equal(text.len, 8);
    assert_int_equal(file_read_all(path_of("none"), 3, &text), -ENOENT);
    assert_int_equal(file_read_all(dir, 3, &text), -EISDIR);
    assert_int_equal(text.len, 8);
    buf_free(&text);
    assert_int_equal(file_create(path_of("log"), &fd), 0);
    file_close(fd);
    assert_contents("log", "");
    assert_int_equal(file_remove(path_of("log")), 0);
    assert_int_equal(file_remove(path_of("log")), 0);
    assert_int_equal(file_size(path_of("log"), &size), -ENOENT);
    assert_int_equal(file_size(dir, &size), -EISDIR);
    assert_int_equal(file_open(path_of("log"), &fd), -ENOENT);
    assert_int_equal(file_truncate(path_of("log"), 1), -ENOENT);
    assert_int_equal(file_sync_path(path_of("log")), -ENOENT);
}

static void directories(void **state)
{
    int fd;

    (void)state;
    assert_int_equal(file_make_directory(path_of("d")), 0);
    assert_int_equal(file_make_directory(path_of("d")), 0);
    assert_int_equal(file_make_directory(path_of("no/d")), -ENOENT);
    assert_int_equal(file_create(path_of("d/f"), &fd), 0);
    file_close(fd);
    assert_int_equal(file_make_directory(path_of("d/f")), -ENOTDIR);
    assert_int_equal(file_sync_parent(path_of("d/f")), 0);
    assert_int_equal(file_sync_parent("f"), 0);
    assert_int_equal(file_remove(path_of("d")), -EISDIR);
    assert_int_equal(file_remove(path_of("d/f")), 0);
    assert_int_equal(rmdir(path_of("d")), 0);
}

/* The disk is full, or the world ends, before each step: the old contents or the new ones, and never a part. */
static void replaces_or_not(void **state)
{
    unsigned steps;
    bool renamed;

    (void)state;
    (void)file_fail_after(-1, 0, 0);
    assert_int_equal(file_write_all(path_of("f"), "old", 3, &renamed), 0);
    assert_true(renamed);
    steps = file_fail_after(-1, 0, 0);
    assert_true(steps >= 5);
    for (unsigned at = 0; at < steps; at++) {
        for (int crash = 0; crash <= 1; crash++) {
            int rc;
            assert_int_equal(file_write_all(path_of("f"), "old", 3, NULL), 0);
            (void)file_fail_after((int)at, crash ? -1 : 1, ENOSPC);
            rc = file_write_all(path_of("f"), "newer", 5, &renamed);
            (void)file_fail_after(-1, 0, 0);
            assert_int_equal(rc, -ENOSPC);
            assert_contents("f", renamed ? "newer" : "old");
            assert_true(renamed == (at == steps - 1)); /* the directory's sync comes last */
            assert_true(crash || !exists("temp-f"));
        }
    }
    assert_int_equal(file_write_all(path_of("f"), "newer", 5, NULL), 0);
    assert_false(exists("temp-f"));
    assert_contents("f", "newer");
    assert_int_equal(file_write_all(path_of("none/f"), "x", 1, &renamed), -ENOENT);
    assert_false(renamed);
    assert_int_equal(file_remove(path_of("f")), 0);
}

static void failing_writes_do_half(void **state)
{
    int fd;

    (void)state;
    assert_int_equal(file_create(path_of("half"), &fd), 0);
    (void)file_fail_after(1, 1, EIO);
    assert_int_equal(file_write(fd, "whole", 5), 0);
    assert_int_equal(file_write(fd, "half", 4), -EIO);
    assert_int_equal(file_write(fd, "!", 1), 0);
    assert_int_equal(file_fail_after(-1, 0, 0), 3);
    file_close(fd);
    assert_contents("half", "wholeha!");
    assert_int_equal(file_remove(path_of("half")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(temporary_names),        cmocka_unit_test(writes_and_reads), cmocka_unit_test(directories),
        cmocka_unit_test(failing_writes_do_half), cmocka_unit_test(replaces_or_not),
    };
    int rc;

    if (mkdtemp(dir) == NULL)
        return 1;
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    return rmdir(dir) != 0 || rc != 0;
}
