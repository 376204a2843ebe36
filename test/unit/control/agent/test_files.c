/* A node's files: its configuration and its log. */
#include "control/agent/node_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "control/agent/node_log.h"

static char directory[] = "/tmp/larder-files-XXXXXX";
static int dir, writer;

static int setup(void **state)
{
    off_t start;

    (void)state;
    strcpy(directory + sizeof directory - 7, "XXXXXX");
    if (mkdtemp(directory) == NULL || (dir = open(directory, O_RDONLY | O_DIRECTORY)) < 0)
        return -1;
    return node_log_open(dir, &writer, &start) != 0 || start != 0;
}

static int teardown(void **state)
{
    (void)state;
    close(writer);
    unlinkat(dir, NODE_LOG_FILE, 0);
    unlinkat(dir, NODE_LOG_OLD, 0);
    close(dir);
    return rmdir(directory);
}

static void put(const char *text)
{
    assert_int_equal(write(writer, text, strlen(text)), strlen(text));
}

static void has_tail(off_t start, const char *expected)
{
    char text[256];

    assert_int_equal(node_log_tail(dir, start, text, sizeof text), strlen(expected));
    assert_string_equal(text, expected);
}

static void test_tail(void **state)
{
    off_t start;

    (void)state;
    has_tail(0, "");
    has_tail(100, "");
    put("\n\n");
    has_tail(0, "");
    put("12:M 23 Nov 2026 09:31:52.123 * Larder 0.1.0\n");
    has_tail(0, "Larder 0.1.0");
    start = node_log_size(dir);
    has_tail(start, "");
    put("no end");
    has_tail(start, "no end");
    put("\n12: no mark\n12:M 23 Nov 2026 09:31:52.123 # The end\nThe end\n\n\x01\x7f\n");
    has_tail(start, "no end; 12: no mark; The end; ??");
    put("a\nb\nc\nd\n");
    has_tail(start, "a; b; c; d");
}

static void test_tail_is_bounded(void **state)
{
    char text[8], line[3000];

    (void)state;
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    put(line);
    put(line);
    put("\nend");
    assert_int_equal(node_log_tail(dir, 0, text, sizeof text), sizeof text - 1);
    assert_string_equal(text, "xxxxxxx");
}

static void test_log_is_trimmed(void **state)
{
    static char block[1 << 16];
    struct stat st;
    off_t start;
    int again;

    (void)state;
    memset(block, 'x', sizeof block);
    block[sizeof block - 1] = '\n';
    node_log_trim(dir);
    for (size_t i = 0; i < NODE_LOG_MAX / sizeof block; i++) {
        node_log_trim(dir);
        assert_int_equal(node_log_size(dir), i * sizeof block);
        assert_int_equal(write(writer, block, sizeof block), sizeof block);
    }
    node_log_trim(dir);
    assert_int_equal(node_log_size(dir), 0);
    put("more\n");
    has_tail(0, "more");
    assert_int_equal(fstatat(dir, NODE_LOG_OLD, &st, 0), 0);
    assert_int_equal(st.st_size, NODE_LOG_MAX);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(node_log_open(dir, &again, &start), 0);
    assert_int_equal(start, 5);
    close(again);
}

static void test_config(void **state)
{
    const struct node_setting settings[] = {
        {"save", "60 1", true}, {"requirepass", "a b\"\\\n\xff", false}, {"notify-keyspace-events", "", false}};
    const struct node_config c = {.maxmemory = 1000,
                                  .replication_secret = "s",
                                  .client_commands = "strict",
                                  .settings = settings,
                                  .setting_count = 3};
    static const char head[] =
        "save \"\"\nclient-commands \"strict\"\nmaxmemory 1000\nsave \"60\" \"1\"\n"
        "requirepass \"a b\\\"\\\\\\x0a\\xff\"\nnotify-keyspace-events \"\"\n"
        "replication-secret \"s\"\nmasteruser \"larder-replica\"\nmasterauth \"s\"\nnode-id \"n\"\n";
    struct buf out = {0};
    const char *wrong;

    (void)state;
    assert_int_equal(node_config_write(&c, "n", &out, &wrong), 0);
    assert_true(buf_live(&out) > sizeof head);
    assert_memory_equal(buf_head(&out), head, sizeof head - 1);
    buf_free(&out);
}

static void test_config_refuses(void **state)
{
    static const struct node_setting settings[] = {
        {"a b", "c", false}, {"", "c", false}, {"a\nb", "c", false}, {"a", NULL, false}, {NULL, "c", false}};
    struct buf out = {0};
    const char *wrong;

    (void)state;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        const struct node_config c = {.settings = &settings[i], .setting_count = 1};
        wrong = NULL;
        assert_int_equal(node_config_write(&c, "n", &out, &wrong), -EINVAL);
        assert_non_null(wrong);
    }
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tail_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_is_trimmed, setup, teardown),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_config_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
