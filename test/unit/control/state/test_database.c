/* Opening what is there, and what must be refused; migration; copies; a disk that is full. */
#include "control/state/database.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

static char dir[] = "/tmp/larder-test-database-XXXXXX";
static char error[DATABASE_ERROR_MAX];

/* A new path for every test. */
static const char *fresh(void)
{
    static char path[64];
    static unsigned n;

    snprintf(path, sizeof path, "%s/%u.db", dir, ++n);
    return path;
}

static const char *beside(const char *path, const char *suffix)
{
    static char name[128];

    snprintf(name, sizeof name, "%s%s", path, suffix);
    return name;
}

static struct database *open_good(const char *path)
{
    struct database *d;
    enum database_status status = database_open(path, &d, error);

    if (status != DATABASE_OK)
        fail_msg("%s", error);
    return d;
}

static void refuses(const char *path, enum database_status expected, const char *words)
{
    struct database *d = (struct database *)error;

    assert_int_equal(database_open(path, &d, error), expected);
    assert_null(d);
    assert_memory_equal(error, path, strlen(path));
    if (strstr(error, words) == NULL)
        fail_msg("%s", error);
}

static void put(struct database *d, const char *kind, const char *id, unsigned version, const char *value)
{
    struct database_record record = {view_str(kind), view_str(id), version, view_str(value)};

    assert_int_equal(database_begin(d, error), DATABASE_OK);
    assert_int_equal(database_put(d, &record, error), DATABASE_OK);
    assert_int_equal(database_commit(d, error), DATABASE_OK);
}

static const char *list_record(void *arg, const struct database_record *r)
{
    buf_printf(arg, "%.*s/%.*s.%u=%.*s ", (int)r->kind.n, r->kind.p, (int)r->id.n, r->id.p, r->version, (int)r->value.n,
               r->value.p);
    return NULL;
}

static void assert_records(struct database *d, const char *expected)
{
    struct buf text = {0};

    assert_int_equal(database_read(d, list_record, &text, error), DATABASE_OK);
    buf_put_char(&text, '\0');
    assert_string_equal(text.p, expected);
    buf_free(&text);
}

static void assert_mode(const char *path, unsigned mode)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
}

/* Runs SQL on a database that nobody has open. */
static void sql(const char *path, const char *text)
{
    sqlite3 *s;

    assert_int_equal(sqlite3_open(path, &s), SQLITE_OK);
    assert_int_equal(sqlite3_exec(s, text, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(s), SQLITE_OK);
}

static const char *dislike(void *arg, const struct database_record *r)
{
    (void)r;
    return --*(int *)arg == 0 ? "no size" : NULL;
}

static void records(void **state)
{
    const char *path = fresh();
    struct database *d = open_good(path);
    int n = 2;

    (void)state;
    assert_records(d, "");
    put(d, "node", "b", 1, "{}");
    put(d, "node", "a", 4294967295u, "{\"x\": \"\xc3\xa4\"}");
    put(d, "group", "z", 1, "");
    put(d, "node", "A", 1, "1");
    put(d, "node", "b", 2, "[]");
    assert_records(d, "group/z.1= node/A.1=1 node/a.4294967295={\"x\": \"\xc3\xa4\"} node/b.2=[] ");
    assert_int_equal(database_read(d, dislike, &n, error), DATABASE_DAMAGED);
    assert_non_null(strstr(error, ": node A: no size"));
    assert_int_equal(database_begin(d, error), DATABASE_OK);
    assert_int_equal(database_delete(d, VIEW("node"), VIEW("a"), error), DATABASE_OK);
    assert_int_equal(database_delete(d, VIEW("node"), VIEW("not there"), error), DATABASE_OK);
    assert_int_equal(database_commit(d, error), DATABASE_OK);
    database_close(d);
    d = open_good(path);
    assert_records(d, "group/z.1= node/A.1=1 node/b.2=[] ");
    database_close(d);
    database_close(NULL);
}

static void too_long_a_value(void **state)
{
    struct database *d = open_good(fresh());
    char *long_value = calloc(1, DATABASE_VALUE_MAX + 1);
    struct database_record small = {VIEW("a"), VIEW("small"), 1, VIEW("{}")};
    struct database_record big = {VIEW("a"), VIEW("big"), 1, {long_value, DATABASE_VALUE_MAX + 1}};

    (void)state;
    assert_int_equal(database_begin(d, error), DATABASE_OK);
    assert_int_equal(database_put(d, &small, error), DATABASE_OK);
    assert_int_equal(database_put(d, &big, error), DATABASE_FAILED);
    assert_non_null(strstr(error, "too big"));
    assert_records(d, ""); /* and the transaction is over */
    big.value.n = DATABASE_VALUE_MAX - 100;
    assert_int_equal(database_begin(d, error), DATABASE_OK);
    assert_int_equal(database_put(d, &big, error), DATABASE_OK);
    assert_int_equal(database_commit(d, error), DATABASE_OK);
    database_close(d);
    free(long_value);
}

static void files_are_private(void **state)
{
    const char *path = fresh();
    struct database *d = open_good(path);

    (void)state;
    put(d, "a", "b", 1, "{}");
    assert_mode(path, 0600);
    assert_mode(beside(path, "-wal"), 0600);
    assert_int_equal(access(beside(path, "-shm"), F_OK), -1);
    database_close(d);
    assert_int_equal(access(beside(path, "-wal"), F_OK), -1);
    assert_int_equal(chmod(path, 0644), 0);
    database_close(open_good(path));
    assert_mode(path, 0600);
}

static void one_process_at_a_time(void **state)
{
    const char *path = fresh();
    struct database *d = open_good(path), *second;
    int status;
    pid_t child = fork();

    (void)state;
    if (child == 0)
        _exit(database_open(path, &second, error) == DATABASE_BUSY && second == NULL ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    put(d, "a", "b", 1, "{}"); /* still its own */
    database_close(d);
    database_close(open_good(path));
}

/* A descriptor of the database that a later process would inherit would keep nothing locked, but leak it. */
static void nothing_is_inherited(void **state)
{
    const char *path = fresh();
    struct database *d = open_good(path);

    (void)state;
    for (int fd = 3; fd < 256; fd++) {
        char link[PATH_MAX] = "", name[32];
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        if (readlink(name, link, sizeof link - 1) > 0 && strncmp(link, path, strlen(path)) == 0)
            assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    }
    database_close(d);
}

static void what_is_not_ours(void **state)
{
    const char *path = fresh();
    char text[8192];

    (void)state;
    sql(path, "CREATE TABLE t (x); PRAGMA user_version = 1");
    assert_int_equal(chmod(path, 0640), 0);
    refuses(path, DATABASE_FOREIGN, "another application");
    assert_mode(path, 0640);
    path = fresh();
    sql(path, "PRAGMA application_id = 5");
    refuses(path, DATABASE_FOREIGN, "another application");
    path = fresh();
    memset(text, 'x', sizeof text);
    assert_int_equal(file_write_all(path, text, sizeof text, NULL), 0);
    refuses(path, DATABASE_DAMAGED, "not a database");
    path = fresh();
    assert_int_equal(mkdir(path, 0700), 0);
    refuses(path, DATABASE_FAILED, "");
    refuses("/tmp/larder-no-such-directory/state.db", DATABASE_FAILED, strerror(ENOENT));
    path = fresh();
    database_close(open_good(path));
    sql(path, "PRAGMA user_version = 7");
    refuses(path, DATABASE_NEWER, "schema 7; this one knows up to 1");
}

static void long_paths(void **state)
{
    char *path = malloc(PATH_MAX + 1);
    struct database *d;

    (void)state;
    memset(path, 'x', PATH_MAX);
    path[PATH_MAX] = '\0';
    assert_int_equal(database_open(path, &d, error), DATABASE_FAILED);
    assert_non_null(strstr(error, strerror(ENAMETOOLONG)));
    free(path);
}

static void an_empty_file_is_new(void **state)
{
    const char *path = fresh();

    (void)state;
    assert_int_equal(file_write_all(path, "", 0, NULL), 0);
    database_close(open_good(path));
    database_close(open_good(path));
}

/* Overwrites pages of the file one by one: it is refused, or has what it had (the page was free). */
static void damage(void **state)
{
    const char *path = fresh();
    struct database *d = open_good(path);
    struct buf whole = {0};
    unsigned refused = 0;

    (void)state;
    for (int i = 0; i < 400; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        put(d, "node", id, 1, "{\"Engine\": \"redis\", \"NumCacheNodes\": 1, \"PreferredAvailabilityZone\": \"2a\"}");
    }
    database_close(d);
    assert_int_equal(file_read_all(path, 1 << 24, &whole), 0);
    for (size_t at = 0; at + 4096 <= whole.len; at += 4096) {
        char page[4096];
        memcpy(page, whole.p + at, sizeof page);
        memset(whole.p + at, 0xa5, 512);
        assert_int_equal(file_write_all(path, whole.p, whole.len, NULL), 0);
        refuses(path, DATABASE_DAMAGED, "damaged");
        refused++;
        memcpy(whole.p + at, page, sizeof page);
    }
    assert_true(refused > 5);
    assert_int_equal(file_write_all(path, whole.p, whole.len / 8192 * 4096, NULL), 0); /* cut */
    refuses(path, DATABASE_DAMAGED, "damaged");
    buf_free(&whole);
}

/* ---- schemas ----------------------------------------------------------------------------------------------------- */

static const char *const three_steps[] = {
    ("CREATE TABLE records (kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, value TEXT NOT NULL,"
     " PRIMARY KEY (kind, id)) WITHOUT ROWID"),
    "UPDATE records SET kind = 'new-' || kind",
    "UPDATE records SET id = 'new-' || id; UPDATE records SET version = version + 1",
};

static void migration(void **state)
{
    const struct database_schema three = {three_steps, 3};
    const char *path = fresh();
    struct database *d = open_good(path);
    char copy[128];

    (void)state;
    put(d, "node", "a", 1, "{}");
    database_close(d);
    assert_int_equal(database_open_schema(path, &three, &d, error), DATABASE_OK);
    assert_records(d, "new-node/new-a.2={} ");
    database_close(d);
    refuses(path, DATABASE_NEWER, "schema 3");
    assert_int_equal(database_open_schema(path, &three, &d, error), DATABASE_OK);
    assert_records(d, "new-node/new-a.2={} ");
    database_close(d);
    snprintf(copy, sizeof copy, "%s", beside(path, ".schema-1"));
    assert_mode(copy, 0600);
    d = open_good(copy);
    assert_records(d, "node/a.1={} ");
    database_close(d);
    /* A new file needs no copy. */
    path = fresh();
    assert_int_equal(database_open_schema(path, &three, &d, error), DATABASE_OK);
    database_close(d);
    assert_int_equal(access(beside(path, ".schema-0"), F_OK), -1);
}

static void migration_that_fails(void **state)
{
    const char *const steps[] = {three_steps[0], three_steps[1], "UPDATE nothing SET x = 1"};
    const struct database_schema wrong = {steps, 3};
    const char *path = fresh();
    struct database *d = open_good(path);

    (void)state;
    put(d, "node", "a", 1, "{}");
    database_close(d);
    assert_int_equal(database_open_schema(path, &wrong, &d, error), DATABASE_FAILED);
    assert_null(d);
    d = open_good(path);
    assert_records(d, "node/a.1={} ");
    database_close(d);
    /* Without the copy nothing is touched. */
    path = fresh();
    d = open_good(path);
    put(d, "node", "a", 1, "{}");
    database_close(d);
    assert_int_equal(mkdir(beside(path, ".schema-1"), 0700), 0);
    assert_int_equal(file_write_all(beside(path, ".schema-1/x"), "", 0, NULL), 0);
    assert_int_equal(database_open_schema(path, &(struct database_schema){three_steps, 3}, &d, error), DATABASE_FAILED);
    d = open_good(path);
    assert_records(d, "node/a.1={} ");
    database_close(d);
}

/* ---- copies and full disks --------------------------------------------------------------------------------------- */

static void copies(void **state)
{
    const char *path = fresh();
    struct database *d = open_good(path), *copy;
    char to[128];

    (void)state;
    snprintf(to, sizeof to, "%s", beside(path, ".copy"));
    put(d, "a", "b", 1, "{}");
    assert_int_equal(database_copy(d, to, error), DATABASE_OK);
    put(d, "a", "c", 1, "{}");
    assert_mode(to, 0600);
    copy = open_good(to);
    assert_records(copy, "a/b.1={} ");
    database_close(copy);
    assert_int_equal(database_copy(d, to, error), DATABASE_OK); /* over the first */
    copy = open_good(to);
    assert_records(copy, "a/b.1={} a/c.1={} ");
    database_close(copy);
    file_fail_after(0, 1, EIO);
    assert_int_equal(database_copy(d, to, error), DATABASE_FAILED);
    assert_non_null(strstr(error, strerror(EIO)));
    file_fail_after(-1, 0, 0);
    assert_int_equal(database_copy(d, "/tmp/larder-no-such-directory/x", error), DATABASE_FAILED);
    assert_int_equal(database_copy(d, dir, error), DATABASE_FAILED);
    assert_int_equal(database_copy(d, path, error), DATABASE_FAILED);
    assert_non_null(strstr(error, "itself"));
    assert_records(d, "a/b.1={} a/c.1={} ");
    database_close(d);
}

/* A process that had the old copy open, or was making this one, was killed: its log is not the new copy's. */
static void copies_over_stale_logs(void **state)
{
    const char *path = fresh();
    struct database *d = open_good(path), *copy;
    struct buf log = {0};
    char to[128], name[160];

    (void)state;
    snprintf(to, sizeof to, "%s/stale", dir);
    put(d, "a", "b", 1, "old");
    assert_int_equal(file_read_all(beside(path, "-wal"), 1 << 20, &log), 0);
    put(d, "a", "b", 1, "new");
    snprintf(name, sizeof name, "%s-wal", to);
    assert_int_equal(file_write_all(name, log.p, log.len, NULL), 0);
    snprintf(name, sizeof name, "%s/temp-stale-wal", dir);
    assert_int_equal(file_write_all(name, log.p, log.len, NULL), 0);
    assert_int_equal(database_copy(d, to, error), DATABASE_OK);
    copy = open_good(to);
    assert_records(copy, "a/b.1=new ");
    database_close(copy);
    database_close(d);
    buf_free(&log);
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
    struct database *d = open_good(fresh());
    struct database_record record = {VIEW("a"), VIEW("big"), 1, VIEW("")};
    char *value = malloc(300000);
    char to[128];

    (void)state;
    memset(value, 'x', 300000);
    record.value = view_of(value, 300000);
    put(d, "a", "first", 1, "{}");
    signal(SIGXFSZ, SIG_IGN);
    limit_files(100000);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(database_begin(d, error), DATABASE_OK);
        enum database_status status = database_put(d, &record, error);
        if (status == DATABASE_OK)
            status = database_commit(d, error);
        assert_int_equal(status, DATABASE_FAILED);
        assert_non_null(strstr(error, "disk"));
        assert_records(d, "a/first.1={} ");
        put(d, "a", "first", 1, "{}"); /* what has room is still taken */
    }
    limit_files(RLIM_INFINITY);
    assert_int_equal(database_begin(d, error), DATABASE_OK);
    assert_int_equal(database_put(d, &record, error), DATABASE_OK);
    assert_int_equal(database_commit(d, error), DATABASE_OK);
    limit_files(100000);
    snprintf(to, sizeof to, "%s/copy", dir);
    assert_int_equal(database_copy(d, to, error), DATABASE_FAILED);
    assert_int_equal(access(to, F_OK), -1);
    limit_files(RLIM_INFINITY);
    database_close(d);
    free(value);
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
        cmocka_unit_test(records),
        cmocka_unit_test(too_long_a_value),
        cmocka_unit_test(files_are_private),
        cmocka_unit_test(one_process_at_a_time),
        cmocka_unit_test(nothing_is_inherited),
        cmocka_unit_test(what_is_not_ours),
        cmocka_unit_test(long_paths),
        cmocka_unit_test(an_empty_file_is_new),
        cmocka_unit_test(damage),
        cmocka_unit_test(migration),
        cmocka_unit_test(migration_that_fails),
        cmocka_unit_test(copies),
        cmocka_unit_test(copies_over_stale_logs),
        cmocka_unit_test(full_disk),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
