/*
 * The protocol of the files, with every step of it failing once, a few times over, or for good as in a crash.
 *
 * The data of these tests is a string, and an effect appends a letter to it. So a base holds the string at its time, an
 * incremental file the letters that came, and loading is putting all parts behind one another: an effect that is lost,
 * or applied twice, shows.
 */
#include "engine/persist/aof_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "engine/persist/aof_manifest.h"

#define DIRNAME "appendonlydir"
#define FILENAME "appendonly.aof"

static char dir[] = "/tmp/larder-test-aof-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[4][512];
    static unsigned turn;

    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static const char *inner(const char *name)
{
    static char path[4][300];
    static unsigned turn;

    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], DIRNAME "/%s", name);
    return path_of(path[turn]);
}

static void remove_files(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;

    if (d == NULL)
        return;
    while ((e = readdir(d)) != NULL) {
        char name[600];
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        if (e->d_name[0] != '.' && unlink(name) != 0)
            assert_int_equal(errno, EISDIR);
    }
    closedir(d);
}

/* An empty directory for the next case. */
static void clean(void)
{
    (void)file_fail_after(-1, 0, 0);
    remove_files(path_of(DIRNAME));
    (void)rmdir(path_of(DIRNAME));
    remove_files(dir);
}

static void put_file(const char *path, const char *text)
{
    int fd;

    assert_int_equal(file_create(path, &fd), 0);
    assert_int_equal(file_write(fd, text, strlen(text)), 0);
    file_close(fd);
}

static void put_manifest(const char *text)
{
    (void)mkdir(path_of(DIRNAME), 0755);
    put_file(inner(FILENAME ".manifest"), text);
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void assert_file(const char *path, const char *expected)
{
    struct buf text = {0};

    assert_int_equal(file_read_all(path, 1 << 16, &text), 0);
    buf_put_char(&text, '\0');
    assert_string_equal(text.p, expected);
    buf_free(&text);
}

static struct aof_files *open_files(void)
{
    struct aof_files *f;
    char err[5000] = "";

    if (aof_files_open(&f, dir, DIRNAME, FILENAME, err, sizeof err) != 0)
        fail_msg("%s", err);
    return f;
}

static struct aof_files *open_prepared(void)
{
    struct aof_files *f = open_files();

    if (aof_files_prepare(f) != 0)
        fail_msg("%s", aof_files_error(f));
    return f;
}

/* What loading these files gives. */
static void load(const struct aof_files *f, char out[256])
{
    struct buf text = {0};
    struct aof_part part;

    for (size_t i = 0; aof_files_part(f, i, &part); i++)
        assert_int_equal(file_read_all(part.path, 1 << 16, &text), 0);
    buf_put_char(&text, '\0');
    assert_true(text.len <= 256);
    memcpy(out, text.p, text.len);
    buf_free(&text);
}

/* What loading would give after a crash now, looked up without touching anything; "" without a manifest. */
static void load_disk(char out[256])
{
    struct buf text = {0}, data = {0};
    struct aof_manifest_error error;
    struct aof_manifest m;

    if (file_read_all(inner(FILENAME ".manifest"), 1 << 16, &text) == 0) {
        assert_int_equal(aof_manifest_parse(&m, buf_view(&text), &error), 0);
        for (size_t i = 0; i < m.count; i++)
            if (m.entries[i].type != AOF_TYPE_HISTORY)
                assert_int_equal(file_read_all(inner(m.entries[i].name), 1 << 16, &data), 0);
        aof_manifest_free(&m);
    }
    buf_put_char(&data, '\0');
    assert_true(data.len <= 256);
    memcpy(out, data.p, data.len);
    buf_free(&data);
    buf_free(&text);
}

/* ---- a server ---------------------------------------------------------------------------------------------------- */

struct server {
    struct aof_files *f;
    int fd;          /* appended to; -1 while the append-only file is off or was never begun */
    char data[256];  /* what the server knows */
    char disk[256];  /* what a crash must leave: data, but for an append-only file that is just being switched on */
    bool committing; /* and then data will do as well */
    bool crash;      /* the first failure is a crash: it ends everything */
    bool crashed;
};

static void assert_disk(const struct server *s)
{
    char found[256];

    load_disk(found);
    if (strcmp(found, s->disk) != 0 && !(s->committing && strcmp(found, s->data) == 0))
        fail_msg("after a crash there would be '%s', not '%s'", found, s->disk);
}

/* An effect happens. */
static void effect(struct server *s, char letter)
{
    char text[2] = {letter, '\0'};

    if (s->crashed)
        return;
    strcat(s->data, text);
    if (s->fd >= 0)
        assert_int_equal(write(s->fd, text, 1), 1);
}

/* As effect, when the file that is appended to is one that a crash leaves. */
static void lasting(struct server *s, char letter)
{
    effect(s, letter);
    if (!s->crashed)
        strcpy(s->disk, s->data);
    assert_disk(s);
}

/* A call failed: true when it is to be tried again. */
static bool again(struct server *s, int rc, const char *step)
{
    assert_disk(s);
    if (rc == 0)
        return false;
    if (aof_files_error(s->f)[0] == '\0')
        fail_msg("%s fails without a word", step);
    s->crashed = s->crash;
    return !s->crashed;
}

static int write_base(struct server *s, const char *text)
{
    int fd, rc = file_create(aof_files_temp_base(s->f), &fd);

    if (rc != 0)
        return rc;
    rc = file_write(fd, text, strlen(text));
    file_close(fd);
    return rc;
}

enum ending {
    COMMIT,
    COMMIT_ONCE, /* and give up when that fails */
    ABORT,
};

/* A rewrite, tried until it works; effects come between its steps. */
static void rewrite(struct server *s, bool first, enum ending ending)
{
    char base[256];
    int fd, rc;

    do {
        if (s->crashed)
            return;
        rc = first ? aof_files_begin_first(s->f, true, &fd) : aof_files_begin_rewrite(s->f, true, &fd);
        assert_true((rc == 0) == (fd >= 0));
    } while (again(s, rc, "begin"));
    if (s->crashed)
        return;
    file_close(s->fd);
    s->fd = fd;
    strcpy(base, s->data);
    (first ? effect : lasting)(s, 'r');
    if (ending == ABORT) {
        aof_files_abort_rewrite(s->f);
        assert_false(aof_files_rewriting(s->f));
        if (first) {
            file_close(s->fd);
            s->fd = -1;
        }
        assert_disk(s);
        return;
    }
    while ((rc = write_base(s, base)) != 0) {
        s->crashed = s->crash;
        if (s->crashed)
            return;
    }
    (first ? effect : lasting)(s, 's');
    s->committing = first;
    while (again(s, rc = aof_files_commit_rewrite(s->f), "commit")) {
        assert_true(aof_files_rewriting(s->f));
        if (ending == COMMIT_ONCE) {
            aof_files_abort_rewrite(s->f);
            assert_disk(s);
            return;
        }
        (first ? effect : lasting)(s, 't');
    }
    if (rc == 0)
        strcpy(s->disk, s->data);
    s->committing = s->crashed && first;
}

static void stop(struct server *s)
{
    aof_files_free(s->f);
    file_close(s->fd);
    s->f = NULL;
    s->fd = -1;
}

/* A life: switched on, rewritten, a rewrite given up, rewritten again and again, off, on. */
static void live(struct server *s)
{
    s->f = open_prepared();
    rewrite(s, true, COMMIT);
    lasting(s, 'a');
    rewrite(s, false, COMMIT);
    lasting(s, 'b');
    rewrite(s, false, ABORT);
    lasting(s, 'c');
    rewrite(s, false, COMMIT_ONCE);
    rewrite(s, false, COMMIT_ONCE);
    lasting(s, 'd');
    file_close(s->fd);
    s->fd = -1;
    effect(s, 'e');
    rewrite(s, true, ABORT);
    rewrite(s, true, COMMIT);
    if (!s->crashed)
        lasting(s, 'f');
    stop(s);
}

static unsigned count_entries(const char *prefix)
{
    DIR *d = opendir(path_of(DIRNAME));
    struct dirent *e;
    unsigned n = 0;

    while (d != NULL && (e = readdir(d)) != NULL)
        n += e->d_name[0] != '.' && strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    if (d != NULL)
        closedir(d);
    return n;
}

/* After whatever happened: starts, finds what must be there, and goes on as if nothing had been. */
static void restart(struct server *s)
{
    char found[256];
    int fd;

    (void)file_fail_after(-1, 0, 0);
    s->f = open_prepared();
    load(s->f, found);
    assert_true(strcmp(found, s->disk) == 0 || (s->committing && strcmp(found, s->data) == 0));
    assert_int_equal(count_entries("temp-"), 0);
    *s = (struct server){.f = s->f, .fd = -1};
    strcpy(s->data, found);
    strcpy(s->disk, found);
    if (aof_files_incr_count(s->f) > 0) {
        assert_int_equal(aof_files_open_incr(s->f, &fd), 0);
        s->fd = fd;
        lasting(s, 'x');
        rewrite(s, false, COMMIT);
    } else {
        rewrite(s, true, COMMIT);
    }
    lasting(s, 'y');
    stop(s);
    /* Manifest, base, incremental file; and an empty one may be left that a crash kept from being named. */
    assert_true(count_entries("") >= 3 && count_entries("") <= 4);
}

static void every_step_fails(void **state)
{
    static const int times[] = {-1, 1, 2,
                                4}; /* 2: putting the old manifest back fails as well; 4: so does the next try */
    struct server s = {.fd = -1};
    unsigned steps;

    (void)state;
    (void)file_fail_after(-1, 0, 0);
    live(&s);
    steps = file_fail_after(-1, 0, 0);
    assert_string_equal(s.disk, "rsarsbrcrsrsderrsf");
    assert_int_equal(count_entries(""), 3);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        for (unsigned at = 0; at < steps; at++) {
            clean();
            s = (struct server){.fd = -1, .crash = times[i] < 0};
            (void)file_fail_after((int)at, times[i], ENOSPC);
            live(&s);
            restart(&s);
        }
    }
    clean();
}

/* ---- what is found ----------------------------------------------------------------------------------------------- */

static void moves_old_files_in(void **state)
{
    struct aof_files *f;
    struct aof_part part;
    unsigned steps;
    int fd;

    (void)state;
    put_file(path_of(FILENAME), "abc");
    (void)file_fail_after(-1, 0, 0);
    f = open_prepared();
    steps = file_fail_after(-1, 0, 0);
    assert_true(aof_files_part(f, 0, &part));
    assert_true(part.is_base && part.is_last && !part.is_rdb);
    assert_int_equal(part.size, 3);
    assert_false(aof_files_part(f, 1, &part));
    assert_int_equal(aof_files_base_size(f), 3);
    assert_int_equal(aof_files_open_incr(f, &fd), -ENOENT);
    assert_int_equal(aof_files_start_incr(f, &fd), 0);
    file_close(fd);
    aof_files_free(f);
    assert_false(exists(path_of(FILENAME)));
    assert_file(inner(FILENAME ".manifest"),
                "file appendonly.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n");
    for (unsigned at = 0; at < steps; at++) {
        char found[256];
        clean();
        put_file(path_of(FILENAME), "abc");
        (void)file_fail_after((int)at, -1, EIO);
        f = open_files();
        (void)aof_files_prepare(f);
        aof_files_free(f);
        (void)file_fail_after(-1, 0, 0);
        f = open_prepared();
        load(f, found);
        assert_string_equal(found, "abc");
        aof_files_free(f);
    }
    clean();
}

static void leaves_old_files_alone(void **state)
{
    struct aof_files *f;

    (void)state;
    /* A manifest that names other things: the old file is a leftover. */
    put_manifest("file i seq 1 type i\n");
    put_file(inner("i"), "x");
    put_file(path_of(FILENAME), "old");
    aof_files_free(open_prepared());
    assert_file(path_of(FILENAME), "old");
    clean();
    /* Which of the two it is, nothing says. */
    (void)mkdir(path_of(DIRNAME), 0755);
    put_file(path_of(FILENAME), "old");
    put_file(inner(FILENAME), "other");
    f = open_files();
    assert_int_equal(aof_files_prepare(f), -EEXIST);
    aof_files_free(f);
    assert_file(path_of(FILENAME), "old");
    assert_file(inner(FILENAME), "other");
    clean();
}

static void refusals(void **state)
{
    struct aof_files *f;
    char err[512], *long_name = malloc(300);
    static const struct {
        const char *manifest, *error;
    } cases[] = {
        {"", "line 0: the manifest is empty"},
        {"#\nfile i seq 0 type i\n", "line 2: the sequence is not above 0"},
        {"file appendonly.aof.manifest seq 1 type h\n", "names appendonly.aof.manifest"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_manifest(cases[i].manifest);
        assert_int_equal(aof_files_open(&f, dir, DIRNAME, FILENAME, err, sizeof err), -EINVAL);
        assert_null(f);
        assert_non_null(strstr(err, cases[i].error));
        assert_true(exists(inner(FILENAME ".manifest")));
    }
    put_manifest("file i seq 1 type i\n");
    f = open_files();
    assert_int_equal(aof_files_prepare(f), -ENOENT);
    assert_non_null(strstr(aof_files_error(f), DIRNAME "/i: "));
    aof_files_free(f);
    assert_int_equal(aof_files_open(&f, dir, "a/b", FILENAME, err, sizeof err), -EINVAL);
    assert_int_equal(aof_files_open(&f, dir, DIRNAME, "..", err, sizeof err), -EINVAL);
    assert_int_equal(aof_files_open(&f, dir, "", FILENAME, err, sizeof err), -EINVAL);
    memset(long_name, 'x', 299);
    long_name[299] = '\0';
    assert_int_equal(aof_files_open(&f, dir, DIRNAME, long_name, err, sizeof err), -ENAMETOOLONG);
    free(long_name);
    clean();
}

static void parts(void **state)
{
    struct aof_files *f;
    struct aof_part part;
    /* base, incremental files; is_last of each */
    static const struct {
        const char *text[3];
        const char *last;
    } cases[] = {
        {{"REDIS", "a", "b"}, "001"},
        {{"REDIS", "a", ""}, "011"},
        {{"REDI", "", ""}, "111"},
        {{"", "", "b"}, "001"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = 0;
        put_manifest("file 1 seq 2 type i\nfile gone seq 1 type h\nfile 2 seq 9 type i\nfile 0 seq 3 type b\n");
        for (size_t j = 0; j < 3; j++)
            put_file(inner((const char *[]){"0", "1", "2"}[j]), cases[i].text[j]);
        f = open_prepared();
        for (; aof_files_part(f, n, &part); n++) {
            assert_int_equal(part.size, strlen(cases[i].text[n]));
            assert_int_equal(part.path[strlen(part.path) - 1], '0' + (char)n);
            assert_int_equal(part.is_base, n == 0);
            assert_int_equal(part.is_rdb, strcmp(cases[i].text[n], "REDIS") == 0);
            assert_int_equal(part.is_last, cases[i].last[n] == '1');
        }
        assert_int_equal(n, 3);
        assert_int_equal(aof_files_incr_count(f), 2);
        aof_files_free(f);
    }
    clean();
}

static void deletes_history(void **state)
{
    (void)state;
    put_manifest("file i seq 3 type i\nfile h seq 1 type h\nfile d seq 2 type h\n# x\n");
    put_file(inner("h"), "x");
    put_file(inner("i"), "i");
    put_file(inner("temp-" FILENAME ".manifest"), "x");
    put_file(inner("temp-" FILENAME ".base"), "x");
    put_file(inner("temp-" FILENAME ".incr"), "x");
    put_file(inner("temp-other"), "x");
    assert_int_equal(mkdir(inner("d"), 0755), 0); /* cannot be deleted, and stays in the manifest */
    aof_files_free(open_prepared());
    assert_file(inner(FILENAME ".manifest"), "file d seq 2 type h\nfile i seq 3 type i\n");
    assert_false(exists(inner("h")));
    assert_int_equal(count_entries("temp-"), 1);
    assert_int_equal(rmdir(inner("d")), 0);
    aof_files_free(open_prepared());
    assert_file(inner(FILENAME ".manifest"), "file i seq 3 type i\n");
    clean();
}

/* Nothing that is there is overwritten, unless it is ours. */
static void spares_what_is_there(void **state)
{
    struct server s = {.fd = -1};

    (void)state;
    (void)mkdir(path_of(DIRNAME), 0755);
    put_file(inner(FILENAME ".1.incr.aof"), "precious");
    put_file(inner(FILENAME ".1.base.rdb"), "precious");
    put_file(inner(FILENAME ".2.incr.aof"), "");
    s.f = open_prepared();
    rewrite(&s, true, COMMIT);
    stop(&s);
    assert_file(inner(FILENAME ".manifest"), "file appendonly.aof.2.base.rdb seq 2 type b\n"
                                             "file appendonly.aof.2.incr.aof seq 2 type i\n");
    assert_file(inner(FILENAME ".1.incr.aof"), "precious");
    assert_file(inner(FILENAME ".1.base.rdb"), "precious");
    clean();

    /* Names of ours with sequences that are not ours. */
    put_manifest("file appendonly.aof.2.base.rdb seq 1 type b\nfile appendonly.aof.2.incr.aof seq 1 type i\n");
    put_file(inner(FILENAME ".2.base.rdb"), "b");
    put_file(inner(FILENAME ".2.incr.aof"), "i");
    s = (struct server){.f = open_prepared(), .fd = -1, .data = "bi", .disk = "bi"};
    rewrite(&s, false, COMMIT);
    lasting(&s, 'z');
    stop(&s);
    assert_file(inner(FILENAME ".manifest"), "file appendonly.aof.3.base.rdb seq 3 type b\n"
                                             "file appendonly.aof.3.incr.aof seq 3 type i\n");
    assert_int_equal(count_entries(""), 3);
    clean();

    put_manifest("file i seq 9223372036854775807 type i\n");
    put_file(inner("i"), "i");
    s = (struct server){.f = open_prepared(), .fd = -1};
    assert_int_equal(aof_files_start_incr(s.f, &s.fd), -EOVERFLOW);
    stop(&s);
    clean();
}

static void wrong_order(void **state)
{
    struct aof_files *f = open_prepared();
    int fd, other;

    (void)state;
    assert_int_equal(aof_files_commit_rewrite(f), -EINVAL);
    aof_files_abort_rewrite(f);
    assert_int_equal(aof_files_begin_rewrite(f, false, &fd), 0);
    assert_int_equal(aof_files_begin_rewrite(f, false, &other), -EALREADY);
    assert_int_equal(aof_files_begin_first(f, false, &other), -EALREADY);
    assert_int_equal(other, -1);
    assert_int_equal(aof_files_commit_rewrite(f), -ENOENT); /* nobody wrote the base */
    assert_true(aof_files_rewriting(f));
    put_file(aof_files_temp_base(f), "base");
    assert_int_equal(aof_files_commit_rewrite(f), 0);
    assert_int_equal(aof_files_base_size(f), 4);
    assert_string_equal(aof_files_error(f), "");
    file_close(fd);
    aof_files_free(f);
    assert_file(inner(FILENAME ".manifest"), "file appendonly.aof.1.base.aof seq 1 type b\n"
                                             "file appendonly.aof.1.incr.aof seq 1 type i\n");
    clean();

    /* Something else stands where the directory was: an error, not a search for a free name without end. */
    f = open_prepared();
    assert_int_equal(aof_files_begin_first(f, false, &fd), 0);
    file_close(fd);
    clean();
    put_file(path_of(DIRNAME), "");
    assert_int_equal(aof_files_commit_rewrite(f), -ENOTDIR);
    assert_int_equal(aof_files_start_incr(f, &fd), -ENOTDIR);
    aof_files_free(f);
    clean();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_step_fails),
        cmocka_unit_test(moves_old_files_in),
        cmocka_unit_test(leaves_old_files_alone),
        cmocka_unit_test(refusals),
        cmocka_unit_test(parts),
        cmocka_unit_test(deletes_history),
        cmocka_unit_test(spares_what_is_there),
        cmocka_unit_test(wrong_order),
    };
    int rc;

    if (mkdtemp(dir) == NULL)
        return 1;
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    return rmdir(dir) != 0 || rc != 0;
}
