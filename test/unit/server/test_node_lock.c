/* The node's lock between processes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/server/node_lock.h"

struct answer {
    int rc;
    pid_t holder;
};

/* What another process is told that wants the lock; it ends at once. */
static struct answer ask(const char *path)
{
    struct answer a;
    int ends[2];
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        int fd;
        a.rc = node_lock_take(path, &fd, &a.holder);
        _exit(write(ends[1], &a, sizeof a) == sizeof a ? 0 : 1);
    }
    assert_int_equal(read(ends[0], &a, sizeof a), sizeof a);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ends[0]);
    close(ends[1]);
    return a;
}

static void test_one_process_has_it(void **state)
{
    char dir[] = "/tmp/larder-lock-XXXXXX", path[64];
    pid_t holder = -1;
    int fd;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/lock", dir);
    assert_int_equal(ask(path).rc, 0); /* and it is free again */
    assert_int_equal(node_lock_take(path, &fd, &holder), 0);
    assert_int_equal(holder, 0);
    assert_int_equal(ask(path).rc, -EBUSY);
    assert_int_equal(ask(path).holder, getpid());
    close(fd);
    assert_int_equal(ask(path).rc, 0);
    unlink(path);
    rmdir(dir);
}

static void test_a_place_that_there_is_not(void **state)
{
    pid_t holder = -1;
    int fd;

    (void)state;
    assert_int_equal(node_lock_take("/nowhere/at/all", &fd, &holder), -ENOENT);
    assert_int_equal(fd, -1);
    assert_int_equal(holder, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_process_has_it),
        cmocka_unit_test(test_a_place_that_there_is_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
