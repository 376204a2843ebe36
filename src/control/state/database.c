/*
 * SQLite as a store of records. The settings, and why:
 *
 *   journal_mode=WAL         a commit is one sequential write and one sync
 *   synchronous=FULL         a commit that returned is on disk
 *   locking_mode=EXCLUSIVE   the file is one process's; and there is no shared memory file beside it
 *   journal_size_limit       a log that a burst made long is cut again
 *   trusted_schema=OFF, cell_size_check=ON, quick_check at the start: a file that was tampered with or is damaged is
 *                            found out before the service builds on it. The check reads what would be read anyway.
 *
 * An error rolls the transaction back at once, whether SQLite has done so itself (it does after some) or not, so that
 * there is one state after errors. Rejected: a savepoint for each batch, which helps against nothing that fails in
 * practice, since a full disk fails the commit.
 *
 * https://sqlite.org/wal.html, https://sqlite.org/pragma.html, https://sqlite.org/backup.html
 */
#include "control/state/database.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define APPLICATION_ID 0x4c617264 /* "Lard" */

static const char *const steps[] = {
    ("CREATE TABLE records (kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, value TEXT NOT NULL,"
     " PRIMARY KEY (kind, id)) WITHOUT ROWID"),
};

static const struct database_schema current = {steps, sizeof steps / sizeof *steps};

struct database {
    sqlite3 *sql;
    sqlite3_stmt *begin, *put, *delete, *commit, *rollback;
    char path[PATH_MAX];
};

/* ---- errors ------------------------------------------------------------------------------------------------------ */

static enum database_status status_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
        return DATABASE_OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return DATABASE_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return DATABASE_DAMAGED;
    default:
        return DATABASE_FAILED;
    }
}

/* "PATH: ...", and the status. A path that is absurdly long is cut rather than the reason. */
static enum database_status refuse(char *error, enum database_status status, const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static enum database_status refuse(char *error, enum database_status status, const char *path, const char *format, ...)
{
    int n = snprintf(error, DATABASE_ERROR_MAX, "%.256s: ", path);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(error + n, DATABASE_ERROR_MAX - (size_t)n, format, arguments);
    va_end(arguments);
    return status;
}

/* What SQLite says, and the system where it knows more. */
static enum database_status fail(sqlite3 *sql, const char *path, int rc, char *error)
{
    enum database_status status = status_of(rc);
    int kind = rc & 0xff;
    int system = sql != NULL && (kind == SQLITE_IOERR || kind == SQLITE_CANTOPEN) ? sqlite3_system_errno(sql) : 0;

    if (status == DATABASE_BUSY)
        return refuse(error, status, path, "another process has it open");
    if (kind == SQLITE_NOTADB)
        return refuse(error, status, path, "is not a database, or its beginning is damaged");
    if (status == DATABASE_DAMAGED)
        return refuse(error, status, path, "the database is damaged: %s", sqlite3_errstr(rc));
    if (system != 0)
        return refuse(error, status, path, "%s (%s)", sqlite3_errstr(rc), strerror(system));
    return refuse(error, status, path, "%s", sqlite3_errstr(rc));
}

static enum database_status fail_errno(const char *path, int error_number, char *error)
{
    return refuse(error, DATABASE_FAILED, path, "%s", strerror(error_number));
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static enum database_status run(struct database *d, const char *text, char *error)
{
    int rc = sqlite3_exec(d->sql, text, NULL, NULL, NULL);

    return rc == SQLITE_OK ? DATABASE_OK : fail(d->sql, d->path, rc, error);
}

static enum database_status read_int(struct database *d, const char *text, long long *out, char *error)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(d->sql, text, -1, &statement, NULL);

    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        *out = sqlite3_column_int64(statement, 0);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_OK ? DATABASE_OK : fail(d->sql, d->path, rc, error);
}

/* An empty file, unless there is one. SQLite gives its log the mode of the database, so only that is set. */
static enum database_status make_private(const char *path, char *error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), rc;

    if (fd < 0)
        return errno == EEXIST ? DATABASE_OK : fail_errno(path, errno, error);
    close(fd);
    rc = file_sync_parent(path);
    return rc == 0 ? DATABASE_OK : fail_errno(path, -rc, error);
}

static enum database_status open_file(struct database *d, char *error)
{
    enum database_status status = make_private(d->path, error);
    int rc;

    if (status != DATABASE_OK)
        return status;
    rc = sqlite3_open_v2(d->path, &d->sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (rc != SQLITE_OK)
        return fail(d->sql, d->path, rc, error);
    sqlite3_limit(d->sql, SQLITE_LIMIT_LENGTH, DATABASE_VALUE_MAX);
    sqlite3_limit(d->sql, SQLITE_LIMIT_ATTACHED, 0);
    return run(d,
               "PRAGMA locking_mode=EXCLUSIVE; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;"
               "PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY; PRAGMA journal_size_limit=4194304;",
               error);
}

/* Whose file is it, and of what version? A file without tables and marks is new. */
static enum database_status identify(struct database *d, const struct database_schema *schema, long long *version,
                                     char *error)
{
    long long id = 0, tables = 0;
    enum database_status status = read_int(d, "PRAGMA application_id", &id, error);

    *version = 0;
    if (status == DATABASE_OK)
        status = read_int(d, "PRAGMA user_version", version, error);
    if (status == DATABASE_OK)
        status = read_int(d, "SELECT count(*) FROM sqlite_schema", &tables, error);
    if (status != DATABASE_OK)
        return status;
    if (id != APPLICATION_ID && (id != 0 || *version != 0 || tables != 0))
        return refuse(error, DATABASE_FOREIGN, d->path, "is the database of another application");
    if (*version < 0 || *version > (long long)schema->count)
        return refuse(error, DATABASE_NEWER, d->path,
                      "was written by a later version of Larder (schema %lld; this one knows up to %u)", *version,
                      schema->count);
    return DATABASE_OK;
}

/* Is the file whole? */
static enum database_status check(struct database *d, char *error)
{
    sqlite3_stmt *statement = NULL;
    enum database_status status = DATABASE_OK;
    int rc = sqlite3_prepare_v2(d->sql, "PRAGMA quick_check(1)", -1, &statement, NULL);

    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        rc = SQLITE_OK;
        if (text == NULL || strcmp(text, "ok") != 0)
            status = refuse(error, DATABASE_DAMAGED, d->path, "the database is damaged: %s", text != NULL ? text : "?");
    }
    if (rc != SQLITE_OK)
        status = fail(d->sql, d->path, rc, error);
    sqlite3_finalize(statement);
    return status;
}

/* All steps or none. */
static enum database_status migrate(struct database *d, const struct database_schema *schema, unsigned version,
                                    char *error)
{
    char marks[96];
    enum database_status status = run(d, "BEGIN IMMEDIATE", error);

    for (unsigned i = version; i < schema->count && status == DATABASE_OK; i++)
        status = run(d, schema->steps[i], error);
    snprintf(marks, sizeof marks, "PRAGMA application_id=%d; PRAGMA user_version=%u;", APPLICATION_ID, schema->count);
    if (status == DATABASE_OK)
        status = run(d, marks, error);
    if (status == DATABASE_OK)
        status = run(d, "COMMIT", error);
    if (status != DATABASE_OK && !sqlite3_get_autocommit(d->sql))
        sqlite3_exec(d->sql, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

static enum database_status bring_forward(struct database *d, const struct database_schema *schema, char *error)
{
    long long version = 0;
    enum database_status status = identify(d, schema, &version, error);

    /* Only now, because the file is ours; and by name, because closing any descriptor of a file lets go of the locks that
     * SQLite holds on it. */
    if (status == DATABASE_OK && chmod(d->path, 0600) != 0)
        status = fail_errno(d->path, errno, error);
    if (status == DATABASE_OK)
        status = run(d, "PRAGMA journal_mode=WAL", error);
    if (status == DATABASE_OK)
        status = check(d, error);
    if (status != DATABASE_OK || version == (long long)schema->count)
        return status;
    if (version > 0) {
        char copy[PATH_MAX];
        int n = snprintf(copy, sizeof copy, "%s.schema-%lld", d->path, version);
        if (n < 0 || n >= PATH_MAX)
            return fail_errno(d->path, ENAMETOOLONG, error);
        status = database_copy(d, copy, error);
    }
    return status == DATABASE_OK ? migrate(d, schema, (unsigned)version, error) : status;
}

static enum database_status prepare(struct database *d, char *error)
{
    static const char put[] = "INSERT INTO records (kind, id, version, value) VALUES (?, ?, ?, ?)"
                              " ON CONFLICT DO UPDATE SET version = excluded.version, value = excluded.value";
    const struct {
        sqlite3_stmt **statement;
        const char *text;
    } all[] = {{&d->begin, "BEGIN IMMEDIATE"},
               {&d->put, put},
               {&d->delete, "DELETE FROM records WHERE kind = ? AND id = ?"},
               {&d->commit, "COMMIT"},
               {&d->rollback, "ROLLBACK"}};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        int rc = sqlite3_prepare_v3(d->sql, all[i].text, -1, SQLITE_PREPARE_PERSISTENT, all[i].statement, NULL);
        if (rc != SQLITE_OK)
            return fail(d->sql, d->path, rc, error);
    }
    return DATABASE_OK;
}

enum database_status database_open_schema(const char *path, const struct database_schema *schema, struct database **out,
                                          char error[DATABASE_ERROR_MAX])
{
    struct database *d;
    enum database_status status;

    *out = NULL;
    if (strlen(path) >= PATH_MAX - sizeof "-journal")
        return fail_errno(path, ENAMETOOLONG, error);
    d = mem_zalloc(sizeof *d);
    memcpy(d->path, path, strlen(path) + 1);
    status = open_file(d, error);
    if (status == DATABASE_OK)
        status = bring_forward(d, schema, error);
    if (status == DATABASE_OK)
        status = prepare(d, error);
    if (status != DATABASE_OK) {
        database_close(d);
        return status;
    }
    *out = d;
    return DATABASE_OK;
}

enum database_status database_open(const char *path, struct database **out, char error[DATABASE_ERROR_MAX])
{
    return database_open_schema(path, &current, out, error);
}

void database_close(struct database *d)
{
    if (d == NULL)
        return;
    sqlite3_finalize(d->begin);
    sqlite3_finalize(d->put);
    sqlite3_finalize(d->delete);
    sqlite3_finalize(d->commit);
    sqlite3_finalize(d->rollback);
    sqlite3_close(d->sql);
    mem_free(d);
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

static struct view column(sqlite3_stmt *statement, int i)
{
    const void *p = sqlite3_column_blob(statement, i);

    return view_of(p, (size_t)sqlite3_column_bytes(statement, i));
}

enum database_status database_read(struct database *d,
                                   const char *(*each)(void *arg, const struct database_record *record), void *arg,
                                   char error[DATABASE_ERROR_MAX])
{
    sqlite3_stmt *statement = NULL;
    const char *wrong = NULL;
    enum database_status status = DATABASE_OK;
    int rc = sqlite3_prepare_v2(d->sql, "SELECT kind, id, version, value FROM records ORDER BY kind, id", -1,
                                &statement, NULL);

    if (rc != SQLITE_OK)
        return fail(d->sql, d->path, rc, error);
    while (wrong == NULL && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        sqlite3_int64 version = sqlite3_column_int64(statement, 2);
        struct database_record record = {column(statement, 0), column(statement, 1), (unsigned)version,
                                         column(statement, 3)};
        wrong = version < 0 || version > UINT_MAX ? "its version is out of range" : each(arg, &record);
        if (wrong != NULL)
            status = refuse(error, DATABASE_DAMAGED, d->path, "%.*s %.*s: %s", (int)record.kind.n, record.kind.p,
                            (int)record.id.n, record.id.p, wrong);
    }
    if (wrong == NULL && rc != SQLITE_DONE)
        status = fail(d->sql, d->path, rc, error);
    sqlite3_finalize(statement);
    return status;
}

/* Runs a statement to its end; on an error the transaction is rolled back. */
static enum database_status step(struct database *d, sqlite3_stmt *statement, int rc, char *error)
{
    enum database_status status = DATABASE_OK;

    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
        sqlite3_reset(statement);
    }
    if (rc != SQLITE_DONE) {
        status = fail(d->sql, d->path, rc, error);
        if (!sqlite3_get_autocommit(d->sql)) {
            sqlite3_step(d->rollback);
            sqlite3_reset(d->rollback);
        }
    }
    return status;
}

static void bind_text(sqlite3_stmt *statement, int i, struct view v, int *rc)
{
    if (*rc == SQLITE_OK)
        *rc = sqlite3_bind_text64(statement, i, v.n != 0 ? v.p : "", v.n, SQLITE_STATIC, SQLITE_UTF8);
}

enum database_status database_begin(struct database *d, char error[DATABASE_ERROR_MAX])
{
    assert(sqlite3_get_autocommit(d->sql));
    return step(d, d->begin, SQLITE_OK, error);
}

enum database_status database_put(struct database *d, const struct database_record *record,
                                  char error[DATABASE_ERROR_MAX])
{
    enum database_status status;
    int rc = SQLITE_OK;

    assert(!sqlite3_get_autocommit(d->sql));
    bind_text(d->put, 1, record->kind, &rc);
    bind_text(d->put, 2, record->id, &rc);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(d->put, 3, record->version);
    bind_text(d->put, 4, record->value, &rc);
    status = step(d, d->put, rc, error);
    sqlite3_clear_bindings(d->put);
    return status;
}

enum database_status database_delete(struct database *d, struct view kind, struct view id,
                                     char error[DATABASE_ERROR_MAX])
{
    enum database_status status;
    int rc = SQLITE_OK;

    assert(!sqlite3_get_autocommit(d->sql));
    bind_text(d->delete, 1, kind, &rc);
    bind_text(d->delete, 2, id, &rc);
    status = step(d, d->delete, rc, error);
    sqlite3_clear_bindings(d->delete);
    return status;
}

enum database_status database_commit(struct database *d, char error[DATABASE_ERROR_MAX])
{
    assert(!sqlite3_get_autocommit(d->sql));
    return step(d, d->commit, SQLITE_OK, error);
}

/* ---- copies ------------------------------------------------------------------------------------------------------ */

/* The copy is a rollback-journal database in one file; whoever opens it through database_open turns it into the other. */
static enum database_status copy_pages(struct database *d, const char *path, char *error)
{
    sqlite3 *to = NULL;
    sqlite3_backup *backup;
    int rc = sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_exec(to, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;", NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        backup = sqlite3_backup_init(to, "main", d->sql, "main");
        if (backup != NULL)
            sqlite3_backup_step(backup, -1);
        rc = backup != NULL ? sqlite3_backup_finish(backup) : sqlite3_extended_errcode(to);
    }
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(to, "PRAGMA journal_mode=DELETE", NULL, NULL, NULL);
    if (rc != SQLITE_OK) {
        enum database_status status = fail(to, path, rc, error);
        sqlite3_close(to);
        return status;
    }
    sqlite3_close(to);
    return DATABASE_OK;
}

/* Removes the logs beside a database that goes: another one of its name would take them for its own. */
static int remove_logs(const char *path)
{
    static const char *const suffixes[] = {"-wal", "-shm", "-journal"};
    int rc = 0;

    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes && rc == 0; i++) {
        char name[PATH_MAX];
        int n = snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        rc = n >= 0 && n < PATH_MAX ? file_remove(name) : -ENAMETOOLONG;
    }
    return rc;
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;

    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

enum database_status database_copy(struct database *d, const char *path, char error[DATABASE_ERROR_MAX])
{
    char temp[PATH_MAX];
    enum database_status status;
    int rc = file_temp_path(temp, path);

    if (is_same_file(d->path, path))
        return refuse(error, DATABASE_FAILED, path, "is the database itself");
    if (rc == 0 && (rc = file_remove(temp)) == 0)
        rc = remove_logs(temp);
    if (rc != 0)
        return fail_errno(path, -rc, error);
    status = make_private(temp, error);
    if (status != DATABASE_OK)
        return status;
    status = copy_pages(d, temp, error);
    if (status == DATABASE_OK && ((rc = file_sync_path(temp)) != 0 || (rc = remove_logs(path)) != 0 ||
                                  (rc = file_replace(temp, path, NULL)) != 0))
        status = fail_errno(path, -rc, error);
    if (status != DATABASE_OK)
        file_remove(temp);
    return status;
}
