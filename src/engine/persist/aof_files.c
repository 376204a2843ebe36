/*
 * The protocol of aof_files.h. Order within each step: what the manifest is going to name is on disk, name and
 * contents, before the manifest is replaced; what it named before goes only when the new one is on disk.
 *
 * `unsure` covers the one failure that cannot be undone: the manifest was replaced, the sync of its directory failed,
 * and so did putting the old one back. Then either may be found after a crash. Both stay loadable as long as no file
 * that one of them names is deleted or given new contents, so every step that does such a thing settles it before.
 */
#include "engine/persist/aof_files.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "engine/persist/aof_manifest.h"

#define SUFFIX_MAX 40 /* bytes that we put before and behind the file's name, at most */
#define MAGIC "REDIS" /* how an RDB begins */

enum rewrite { REWRITE_NONE, REWRITE_AGAIN, REWRITE_FIRST };

/* A file of ours: its name in the manifest, and whether it already has that name or is still a temporary one. */
struct target {
    char name[NAME_MAX + 1];
    int64_t seq;
    bool placed;
};

struct aof_files {
    char *name;
    char directory[PATH_MAX]; /* <dir>/<dirname> */
    char old_path[PATH_MAX];  /* <dir>/<filename>: where Redis had it before version 7 */
    char manifest_path[PATH_MAX];
    char temp_base[PATH_MAX], temp_incr[PATH_MAX];

    struct aof_manifest manifest; /* on disk as well, unless `unsure` */
    bool unsure;
    int64_t base_size;

    enum rewrite rewrite;
    bool base_is_rdb;
    int64_t first_seq; /* REWRITE_AGAIN: of the incremental file that began with it */
    struct target base, incr;

    char error[PATH_MAX + 256];
};

/* Keeps the text and returns rc. */
static int failed(struct aof_files *f, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int failed(struct aof_files *f, int rc, const char *fmt, ...)
{
    char reason[128];
    va_list ap;
    size_t n;

    va_start(ap, fmt);
    vsnprintf(f->error, sizeof f->error, fmt, ap);
    va_end(ap);
    n = strlen(f->error);
    snprintf(f->error + n, sizeof f->error - n, ": %s", strerror_r(-rc, reason, sizeof reason));
    return rc;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static int join(char out[PATH_MAX], const char *directory, const char *name)
{
    size_t head = strlen(directory), tail = strlen(name);

    if (head + 1 + tail + 1 > PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(out, directory, head);
    out[head] = '/';
    memcpy(out + head + 1, name, tail + 1);
    return 0;
}

/* The path of a file in the directory, whose length was checked in aof_files_open. */
static void path_of(const struct aof_files *f, const char *name, char out[PATH_MAX])
{
    (void)join(out, f->directory, name);
}

static bool is_named(const struct aof_manifest *m, const char *name)
{
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->entries[i].name, name) == 0)
            return true;
    return false;
}

/* May a new file have this name? 1, 0, or a negative errno value when that cannot be told. An incremental file that
 * nothing names and that has contents is none of ours; nor is a base when there is no manifest at all. A base that we
 * renamed just before a crash may be overwritten. */
static int is_free(const struct aof_files *f, enum aof_type type, const char *name)
{
    char path[PATH_MAX];
    int64_t size;
    int rc;

    if (is_named(&f->manifest, name))
        return 0;
    path_of(f, name, path);
    rc = file_size(path, &size);
    if (rc == 0)
        return size == 0 || (type == AOF_TYPE_BASE && f->manifest.count > 0);
    if (rc == -EISDIR || rc == -EINVAL) /* not a regular file */
        return 0;
    return rc == -ENOENT ? 1 : rc;
}

/* The next free name of this type. */
static int pick_name(struct aof_files *f, enum aof_type type, struct target *out)
{
    int64_t seq = aof_manifest_last_seq(&f->manifest, type);
    const char *suffix = type == AOF_TYPE_INCR ? ".incr.aof" : f->base_is_rdb ? ".base.rdb" : ".base.aof";

    int rc;

    do {
        if (seq == INT64_MAX)
            return failed(f, -EOVERFLOW, "No sequence is left for %s%s", f->name, suffix);
        seq++;
        snprintf(out->name, sizeof out->name, "%s.%lld%s", f->name, (long long)seq, suffix);
        rc = is_free(f, type, out->name);
    } while (rc == 0);
    if (rc < 0)
        return failed(f, rc, "Looking for %s/%s", f->directory, out->name);
    out->seq = seq;
    out->placed = false;
    return 0;
}

/* ---- the manifest ------------------------------------------------------------------------------------------------ */

/* The manifest on disk may be one that was not wanted: the old one goes back. */
static void put_back(struct aof_files *f)
{
    struct buf text = {0};
    int rc;

    aof_manifest_format(&f->manifest, &text);
    if (f->manifest.count > 0)
        rc = file_write_all(f->manifest_path, text.p, text.len, NULL);
    else if ((rc = file_remove(f->manifest_path)) == 0)
        rc = file_sync_parent(f->manifest_path);
    f->unsure = rc != 0;
    buf_free(&text);
}

/* Makes `next` the manifest, on disk and in memory; frees it. */
static int save(struct aof_files *f, struct aof_manifest *next)
{
    struct buf text = {0};
    bool renamed = false;
    int rc = -EFBIG;

    aof_manifest_format(next, &text);
    if (text.len <= AOF_MANIFEST_MAX)
        rc = file_write_all(f->manifest_path, text.p, text.len, &renamed);
    buf_free(&text);
    if (rc == 0) {
        aof_manifest_free(&f->manifest);
        f->manifest = *next;
        f->unsure = false;
        return 0;
    }
    aof_manifest_free(next);
    if (renamed)
        put_back(f);
    return failed(f, rc, "Writing the manifest %s", f->manifest_path);
}

/* Makes sure that the manifest on disk is the one in memory. */
static int settle(struct aof_files *f)
{
    if (f->unsure)
        put_back(f);
    return f->unsure ? failed(f, -EIO, "The manifest %s could not be restored", f->manifest_path) : 0;
}

/* Deletes the history's files and, where that worked, forgets them. What fails stays for the next time. */
static void delete_history(struct aof_files *f)
{
    struct aof_manifest next = {0};
    size_t at = 0, before = f->manifest.count;
    char path[PATH_MAX];

    aof_manifest_copy(&next, &f->manifest);
    while (at < next.count) {
        int rc;
        if (next.entries[at].type != AOF_TYPE_HISTORY) {
            at++;
            continue;
        }
        path_of(f, next.entries[at].name, path);
        rc = file_remove(path);
        if (rc == 0) {
            aof_manifest_remove(&next, at);
        } else {
            (void)failed(f, rc, "Deleting %s", path);
            at++;
        }
    }
    /* A manifest of nothing would be refused, by Redis as well. */
    if (next.count < before && next.count > 0)
        (void)save(f, &next);
    else
        aof_manifest_free(&next);
}

static int read_manifest(struct aof_files *f)
{
    struct aof_manifest_error error;
    struct buf text = {0};
    char path[PATH_MAX];
    int rc = file_read_all(f->manifest_path, AOF_MANIFEST_MAX, &text);

    if (rc == -ENOENT)
        return 0;
    if (rc != 0) {
        rc = failed(f, rc, "Reading the manifest %s", f->manifest_path);
        goto done;
    }
    if (aof_manifest_parse(&f->manifest, buf_view(&text), &error) != 0) {
        rc = failed(f, -EINVAL, "The manifest %s, line %u: %s", f->manifest_path, error.line, error.reason);
        goto done;
    }
    for (size_t i = 0; i < f->manifest.count; i++) {
        rc = join(path, f->directory, f->manifest.entries[i].name);
        if (rc == 0 && strcmp(path, f->manifest_path) == 0)
            rc = -EINVAL;
        if (rc != 0) {
            rc = failed(f, rc, "The manifest %s names %s", f->manifest_path, f->manifest.entries[i].name);
            goto done;
        }
    }
done:
    buf_free(&text);
    return rc;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static bool is_plain(const char *name)
{
    return name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int set_paths(struct aof_files *f, const char *dir, const char *dirname)
{
    char name[NAME_MAX + 1], longest[PATH_MAX];
    int rc;

    if (!is_plain(dirname) || !is_plain(f->name))
        return failed(f, -EINVAL, "A directory '%s' and a file '%s' are no plain names", dirname, f->name);
    if (strlen(f->name) > NAME_MAX - SUFFIX_MAX)
        return failed(f, -ENAMETOOLONG, "The name %s", f->name);
    if ((rc = join(f->directory, dir, dirname)) != 0 || (rc = join(f->old_path, dir, f->name)) != 0)
        return failed(f, rc, "The path %s", dir);
    snprintf(name, sizeof name, "%s.%lld.base.rdb", f->name, (long long)INT64_MAX);
    if ((rc = join(longest, f->directory, name)) != 0)
        return failed(f, rc, "The path %s", f->directory);
    snprintf(name, sizeof name, "%s.manifest", f->name);
    path_of(f, name, f->manifest_path);
    snprintf(name, sizeof name, "temp-%s.base", f->name);
    path_of(f, name, f->temp_base);
    snprintf(name, sizeof name, "temp-%s.incr", f->name);
    path_of(f, name, f->temp_incr);
    return 0;
}

static void remove_softly(struct aof_files *f, const char *path)
{
    int rc = file_remove(path);

    if (rc != 0)
        (void)failed(f, rc, "Deleting %s", path);
}

static void remove_stale(struct aof_files *f)
{
    char temp[PATH_MAX];

    if (file_temp_path(temp, f->manifest_path) == 0)
        remove_softly(f, temp);
    remove_softly(f, f->temp_base);
    remove_softly(f, f->temp_incr);
}

static int64_t size_or(const char *path, int64_t otherwise)
{
    int64_t size;

    return file_size(path, &size) == 0 ? size : otherwise;
}

static void find_base_size(struct aof_files *f)
{
    const struct aof_entry *base = aof_manifest_base(&f->manifest);
    char path[PATH_MAX];

    f->base_size = 0;
    if (base == NULL)
        return;
    path_of(f, base->name, path);
    f->base_size = size_or(path, 0);
}

int aof_files_open(struct aof_files **out, const char *dir, const char *dirname, const char *filename, char *err,
                   size_t err_size)
{
    struct aof_files *f = mem_zalloc(sizeof *f);
    int rc;

    *out = NULL;
    f->name = mem_strndup(filename, strlen(filename));
    if ((rc = set_paths(f, dir, dirname)) != 0 || (rc = read_manifest(f)) != 0) {
        snprintf(err, err_size, "%s", f->error);
        aof_files_free(f);
        return rc;
    }
    remove_stale(f);
    delete_history(f);
    find_base_size(f);
    *out = f;
    return 0;
}

void aof_files_free(struct aof_files *f)
{
    if (f == NULL)
        return;
    aof_files_abort_rewrite(f);
    aof_manifest_free(&f->manifest);
    mem_free(f->name);
    mem_free(f);
}

const char *aof_files_error(const struct aof_files *f)
{
    return f->error;
}

/* Moves the old file in. The manifest comes first: should a crash come before the move, the next start sees a base that
 * is missing, and the old file that it is. */
static int move_old(struct aof_files *f)
{
    struct aof_manifest next = {0};
    char path[PATH_MAX];
    int rc;

    path_of(f, f->name, path);
    if (f->manifest.count == 0) {
        if (file_size(path, &(int64_t){0}) != -ENOENT)
            return failed(f, -EEXIST, "No manifest says which is the append-only file, %s or %s", f->old_path, path);
        if ((rc = file_make_directory(f->directory)) != 0)
            return failed(f, rc, "Making the directory %s", f->directory);
        (void)aof_manifest_add(&next, view_str(f->name), 1, AOF_TYPE_BASE);
        if ((rc = save(f, &next)) != 0)
            return rc;
    }
    if ((rc = file_sync_path(f->old_path)) != 0 || (rc = file_rename(f->old_path, path)) != 0 ||
        (rc = file_sync_parent(path)) != 0 || (rc = file_sync_parent(f->old_path)) != 0)
        return failed(f, rc, "Moving %s to %s", f->old_path, path);
    return 0;
}

/* Is there a file of the old kind that is ours to load? When a manifest names other things, it is a leftover. */
static bool has_old(const struct aof_files *f)
{
    const struct aof_entry *base = aof_manifest_base(&f->manifest);
    char path[PATH_MAX];

    if (size_or(f->old_path, -1) < 0)
        return false;
    if (f->manifest.count == 0)
        return true;
    path_of(f, f->name, path);
    return f->manifest.count == 1 && base != NULL && strcmp(base->name, f->name) == 0 && size_or(path, -1) < 0;
}

int aof_files_prepare(struct aof_files *f)
{
    char path[PATH_MAX];
    int64_t size;
    int rc;

    f->error[0] = '\0';
    if (has_old(f) && (rc = move_old(f)) != 0)
        return rc;
    for (size_t i = 0; i < f->manifest.count; i++) {
        if (f->manifest.entries[i].type == AOF_TYPE_HISTORY)
            continue;
        path_of(f, f->manifest.entries[i].name, path);
        if ((rc = file_size(path, &size)) != 0)
            return failed(f, rc, "The manifest names %s", path);
    }
    find_base_size(f);
    return 0;
}

/* ---- what there is ----------------------------------------------------------------------------------------------- */

static bool begins_as_rdb(const char *path)
{
    char magic[sizeof MAGIC - 1];
    size_t have = 0;
    ssize_t n = 1;
    int fd;

    if (file_open(path, &fd) != 0)
        return false;
    while (have < sizeof magic && (n = file_read(fd, magic + have, sizeof magic - have)) > 0)
        have += (size_t)n;
    file_close(fd);
    return have == sizeof magic && memcmp(magic, MAGIC, sizeof magic) == 0;
}

/* Where the parts are in the manifest: the base, then the incremental files; count behind the last. */
static size_t part_at(const struct aof_manifest *m, size_t number)
{
    size_t bases = aof_manifest_base(m) != NULL, first = aof_manifest_first_incr(m);

    if (number < bases)
        return 0;
    return number - bases < m->count - first ? first + number - bases : m->count;
}

bool aof_files_part(const struct aof_files *f, size_t number, struct aof_part *out)
{
    const struct aof_manifest *m = &f->manifest;
    size_t at = part_at(m, number);
    char path[PATH_MAX];

    if (at == m->count)
        return false;
    path_of(f, m->entries[at].name, out->path);
    out->size = size_or(out->path, -1);
    out->is_base = m->entries[at].type == AOF_TYPE_BASE;
    out->is_rdb = begins_as_rdb(out->path);
    out->is_last = true;
    while (out->is_last && (at = part_at(m, ++number)) < m->count) {
        path_of(f, m->entries[at].name, path);
        out->is_last = size_or(path, -1) <= 0;
    }
    return true;
}

int64_t aof_files_base_size(const struct aof_files *f)
{
    return f->base_size;
}

size_t aof_files_incr_count(const struct aof_files *f)
{
    return f->manifest.count - aof_manifest_first_incr(&f->manifest);
}

/* ---- incremental files ------------------------------------------------------------------------------------------- */

/* The path of the last incremental file; false without one. */
static bool last_incr(const struct aof_files *f, char path[PATH_MAX])
{
    if (aof_files_incr_count(f) == 0)
        return false;
    path_of(f, f->manifest.entries[f->manifest.count - 1].name, path);
    return true;
}

int aof_files_open_incr(struct aof_files *f, int *fd)
{
    char path[PATH_MAX];
    int rc;

    *fd = -1;
    f->error[0] = '\0';
    if (!last_incr(f, path))
        return failed(f, -ENOENT, "The manifest names no incremental file");
    rc = file_open_append(path, fd);
    return rc == 0 ? 0 : failed(f, rc, "Opening %s", path);
}

/* Makes the file, or takes the empty one that a crash left. */
static int make_incr(struct aof_files *f, const char *path, int *fd)
{
    int rc = file_create_append(path, fd);

    if (rc == -EEXIST)
        rc = file_open_append(path, fd);
    if (rc == 0)
        rc = file_sync_parent(path);
    if (rc == 0)
        return 0;
    file_close(*fd);
    *fd = -1;
    return failed(f, rc, "Making %s", path);
}

/* Without a directory, or with a manifest that may not be the one on disk, nothing begins. */
static int ready(struct aof_files *f)
{
    int rc;

    f->error[0] = '\0';
    if ((rc = file_make_directory(f->directory)) != 0)
        return failed(f, rc, "Making the directory %s", f->directory);
    return settle(f);
}

int aof_files_start_incr(struct aof_files *f, int *fd)
{
    struct aof_manifest next = {0};
    struct target incr;
    char path[PATH_MAX];
    int rc = ready(f);

    *fd = -1;
    if (rc != 0)
        return rc;
    /* What comes later must not be on disk without what came before. */
    if (last_incr(f, path) && (rc = file_sync_path(path)) != 0)
        return failed(f, rc, "Syncing %s", path);
    if ((rc = pick_name(f, AOF_TYPE_INCR, &incr)) != 0)
        return rc;
    path_of(f, incr.name, path);
    if ((rc = make_incr(f, path, fd)) != 0)
        return rc;
    aof_manifest_copy(&next, &f->manifest);
    (void)aof_manifest_add(&next, view_str(incr.name), incr.seq, AOF_TYPE_INCR);
    if ((rc = save(f, &next)) == 0)
        return 0;
    file_close(*fd);
    *fd = -1;
    if (!f->unsure)
        (void)file_remove(path);
    return rc;
}

/* ---- rewrites ---------------------------------------------------------------------------------------------------- */

int aof_files_begin_rewrite(struct aof_files *f, bool base_is_rdb, int *fd)
{
    int rc;

    *fd = -1;
    if (f->rewrite != REWRITE_NONE)
        return failed(f, -EALREADY, "A rewrite of %s is under way", f->name);
    if ((rc = aof_files_start_incr(f, fd)) != 0)
        return rc;
    f->rewrite = REWRITE_AGAIN;
    f->base_is_rdb = base_is_rdb;
    f->first_seq = f->manifest.entries[f->manifest.count - 1].seq;
    f->base = f->incr = (struct target){0};
    return 0;
}

int aof_files_begin_first(struct aof_files *f, bool base_is_rdb, int *fd)
{
    int rc;

    *fd = -1;
    if (f->rewrite != REWRITE_NONE)
        return failed(f, -EALREADY, "A rewrite of %s is under way", f->name);
    if ((rc = ready(f)) != 0)
        return rc;
    if ((rc = file_remove(f->temp_incr)) != 0 || (rc = file_create_append(f->temp_incr, fd)) != 0)
        return failed(f, rc, "Making %s", f->temp_incr);
    f->rewrite = REWRITE_FIRST;
    f->base_is_rdb = base_is_rdb;
    f->base = f->incr = (struct target){0};
    return 0;
}

bool aof_files_rewriting(const struct aof_files *f)
{
    return f->rewrite != REWRITE_NONE;
}

const char *aof_files_temp_base(const struct aof_files *f)
{
    return f->temp_base;
}

/* Syncs a temporary file and gives it its name, unless an earlier commit did. */
static int place(struct aof_files *f, enum aof_type type, const char *temp, struct target *target)
{
    char path[PATH_MAX];
    int rc;

    if (target->placed)
        return 0;
    if ((rc = pick_name(f, type, target)) != 0)
        return rc;
    path_of(f, target->name, path);
    if ((rc = file_sync_path(temp)) != 0)
        return failed(f, rc, "Syncing %s", temp);
    if ((rc = file_rename(temp, path)) != 0)
        return failed(f, rc, "Renaming %s to %s", temp, path);
    target->placed = true;
    return 0;
}

int aof_files_commit_rewrite(struct aof_files *f)
{
    bool first = f->rewrite == REWRITE_FIRST;
    struct aof_manifest next = {0};
    int rc;

    f->error[0] = '\0';
    if (f->rewrite == REWRITE_NONE)
        return failed(f, -EINVAL, "No rewrite of %s is under way", f->name);
    if ((rc = place(f, AOF_TYPE_BASE, f->temp_base, &f->base)) != 0 ||
        (first && (rc = place(f, AOF_TYPE_INCR, f->temp_incr, &f->incr)) != 0))
        return rc;
    if ((rc = file_sync_parent(f->manifest_path)) != 0)
        return failed(f, rc, "Syncing %s", f->directory);
    aof_manifest_copy(&next, &f->manifest);
    aof_manifest_retire(&next, first ? INT64_MAX : f->first_seq);
    (void)aof_manifest_add(&next, view_str(f->base.name), f->base.seq, AOF_TYPE_BASE);
    if (first)
        (void)aof_manifest_add(&next, view_str(f->incr.name), f->incr.seq, AOF_TYPE_INCR);
    if ((rc = save(f, &next)) != 0)
        return rc;
    f->rewrite = REWRITE_NONE;
    find_base_size(f);
    delete_history(f);
    return 0;
}

/* Removes a file of a rewrite that is given up, by the name that it has. */
static void discard(struct aof_files *f, const char *temp, const struct target *target)
{
    char path[PATH_MAX];

    path_of(f, target->name, path);
    remove_softly(f, target->placed ? path : temp);
}

void aof_files_abort_rewrite(struct aof_files *f)
{
    bool first = f->rewrite == REWRITE_FIRST;

    if (f->rewrite == REWRITE_NONE)
        return;
    f->rewrite = REWRITE_NONE;
    f->error[0] = '\0';
    if (settle(f) != 0)
        return;
    discard(f, f->temp_base, &f->base);
    if (first)
        discard(f, f->temp_incr, &f->incr);
}
