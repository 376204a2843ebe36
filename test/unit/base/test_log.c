/* The layout of lines, levels, reopening, and lines from many threads. */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

static char dir[] = "/tmp/larder-test-log-XXXXXX";

static void path_of(char path[64], const char *name)
{
    snprintf(path, 64, "%s/%s", dir, name);
}

/* Logs to a fresh file of this name. */
static void open_file(const char *name)
{
    char path[64];

    path_of(path, name);
    unlink(path);
    assert_int_equal(log_open(path), 0);
}

/* The file's text with a NUL behind it; the caller frees the buffer. */
static struct buf read_file(const char *name)
{
    struct buf text = {0};
    char path[64], piece[4096];
    size_t n;
    FILE *f;

    path_of(path, name);
    f = fopen(path, "r");
    assert_non_null(f);
    while ((n = fread(piece, 1, sizeof piece, f)) != 0)
        buf_put(&text, piece, n);
    fclose(f);
    buf_put_char(&text, '\0');
    return text;
}

static void assert_file_matches(const char *name, const char *pattern)
{
    struct buf text = read_file(name);
    regex_t re;

    assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    if (regexec(&re, text.p, 0, NULL, 0) != 0)
        fail_msg("'%s' does not match '%s'", text.p, pattern);
    regfree(&re);
    buf_free(&text);
}

#define TIME "[0-9]+:M [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3} "

static void line_layout(void **state)
{
    struct buf text;
    char pid[16];

    (void)state;
    open_file("layout");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("one %d", 1);
    log_verbose("two");
    log_notice("three");
    log_warning("four");
    assert_file_matches("layout", "^" TIME "\\. one 1\n" TIME "- two\n" TIME "\\* three\n" TIME "# four\n$");
    text = read_file("layout");
    snprintf(pid, sizeof pid, "%d:M ", (int)getpid());
    assert_memory_equal(text.p, pid, strlen(pid));
    buf_free(&text);
}

static void levels(void **state)
{
    (void)state;
    open_file("levels");
    log_set_level(LOG_LEVEL_WARNING);
    log_notice("dropped");
    log_warning("kept");
    log_set_level(LOG_LEVEL_NOTHING);
    log_warning("dropped");
    log_set_level(LOG_LEVEL_NOTICE);
    log_verbose("dropped");
    log_notice("kept too");
    assert_file_matches("levels", "^" TIME "# kept\n" TIME "\\* kept too\n$");
}

static void control_bytes_cannot_forge_lines(void **state)
{
    (void)state;
    open_file("control");
    log_notice("a\r\n1:M b\x1b[0m\x7f\xc3\xa9");
    assert_file_matches("control", "^" TIME "\\* a\\?\\?1:M b\\?\\[0m\\?\xc3\xa9\n$");
}

static void long_messages_are_cut(void **state)
{
    struct buf text;

    (void)state;
    open_file("long");
    log_notice("%05000d", 7);
    log_notice("next");
    assert_file_matches("long", "^" TIME "\\* 0+\n" TIME "\\* next\n$");
    text = read_file("long");
    assert_int_equal(strchr(text.p, '\n') - text.p, 2047 - 1);
    buf_free(&text);
}

static void errno_is_kept(void **state)
{
    (void)state;
    open_file("errno");
    errno = ENOENT;
    log_notice("failed: %m");
    assert_int_equal(errno, ENOENT);
    assert_file_matches("errno", "failed: No such file or directory\n$");
}

static void reopening(void **state)
{
    char path[64], missing[64];
    struct stat st;

    (void)state;
    open_file("first");
    log_notice("one");
    assert_int_equal(log_open("/"), EISDIR);
    path_of(missing, "missing/file");
    assert_int_equal(log_open(missing), ENOENT);
    log_notice("still here");
    open_file("second");
    log_notice("moved");
    path_of(path, "first");
    assert_int_equal(log_open(path), 0);
    log_notice("appended");
    assert_file_matches("first", "^[^\n]* one\n[^\n]* still here\n[^\n]* appended\n$");
    assert_file_matches("second", "^[^\n]* moved\n$");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0133, 0);
}

static void standard_output_and_back(void **state)
{
    int saved = dup(STDOUT_FILENO);
    char path[64];
    FILE *f;

    (void)state;
    path_of(path, "stdout");
    fflush(stdout);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_true(dup2(fileno(f), STDOUT_FILENO) >= 0);
    fclose(f);
    int rc = log_open("");
    log_notice("to standard output");
    dup2(saved, STDOUT_FILENO);
    close(saved);
    assert_int_equal(rc, 0);
    open_file("back");
    log_notice("to a file");
    assert_file_matches("stdout", "^" TIME "\\* to standard output\n$");
    assert_file_matches("back", "^" TIME "\\* to a file\n$");
}

#define THREADS 4
#define LINES 500

static void *write_lines(void *arg)
{
    for (int i = 0; i < LINES; i++)
        log_notice("thread %d says %d.", *(int *)arg, i);
    return NULL;
}

/* No line is lost or mixed with another while the log moves between files. */
static void many_threads(void **state)
{
    static const char *const names[] = {"many0", "many1"};
    pthread_t threads[THREADS];
    int ids[THREADS], lines = 0;

    (void)state;
    open_file("many1");
    open_file("many0");
    for (int i = 0; i < THREADS; i++) {
        ids[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &ids[i]), 0);
    }
    for (int i = 0; i < 100; i++) {
        char path[64];

        path_of(path, names[i % 2]);
        assert_int_equal(log_open(path), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++) {
        struct buf text = read_file(names[i]);

        for (const char *p = text.p; *p != '\0'; p = strchr(p, '\n') + 1)
            lines++;
        buf_free(&text);
        assert_file_matches(names[i], "^(" TIME "\\* thread [0-9] says [0-9]+\\.\n)*$");
    }
    assert_int_equal(lines, THREADS * LINES);
}

/* Nothing listens here as a rule: what counts is that the file still gets its lines. */
static void syslog_beside_the_file(void **state)
{
    (void)state;
    open_file("syslog");
    log_set_syslog("larder-test", 16 << 3); /* local0 */
    log_notice("both");
    log_set_syslog(NULL, 0);
    log_notice("one");
    assert_file_matches("syslog", "^" TIME "\\* both\n" TIME "\\* one\n$");
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_dir(void **state)
{
    static const char *const names[] = {"layout", "levels", "control", "long",  "errno", "first",
                                        "second", "stdout", "back",    "many0", "many1", "syslog"};
    char path[64];

    (void)state;
    log_open("");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        path_of(path, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_layout),
        cmocka_unit_test(levels),
        cmocka_unit_test(control_bytes_cannot_forge_lines),
        cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(errno_is_kept),
        cmocka_unit_test(reopening),
        cmocka_unit_test(standard_output_and_back),
        cmocka_unit_test(many_threads),
        cmocka_unit_test(syslog_beside_the_file),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
