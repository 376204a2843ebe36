/*
 * Durable files over plain system calls. A step is a call that changes a file or a directory, or syncs one; each asks
 * fail_now first, so that a test can end the world, or fill the disk, before any of them.
 *
 * New files and new names are durable only after the directory was synced, too (fsync(2)); hence file_sync_parent. The
 * sync of a directory is an error like any other here: file systems that cannot do it (EINVAL) have nothing to sync.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMP_PREFIX "temp-"
#define READ_PIECE 65536

static _Thread_local struct {
    int left, times, error;
    unsigned steps;
} injected = {.left = -1};

unsigned file_fail_after(int n, int times, int error)
{
    unsigned steps = injected.steps;

    injected.left = n;
    injected.times = times;
    injected.error = error;
    injected.steps = 0;
    return steps;
}

/* The error that this step fails with, or 0. */
static int fail_now(void)
{
    injected.steps++;
    if (__builtin_expect(injected.left < 0, 1))
        return 0;
    if (injected.left > 0) {
        injected.left--;
        return 0;
    }
    if (injected.times > 0 && --injected.times == 0)
        injected.left = -1;
    return -injected.error;
}

/* The length of a path up to its last part: 0, or just behind a '/'. */
static size_t directory_length(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? (size_t)(slash - path) + 1 : 0;
}

int file_temp_path(char out[PATH_MAX], const char *path)
{
    size_t directory = directory_length(path);
    int n = snprintf(out, PATH_MAX, "%.*s" TEMP_PREFIX "%s", (int)directory, path, path + directory);

    return n >= 0 && n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int open_with(const char *path, int flags, int *fd)
{
    do
        *fd = open(path, flags | O_CLOEXEC, 0644);
    while (*fd < 0 && errno == EINTR);
    return *fd < 0 ? -errno : 0;
}

/* open_with as a step. */
static int make(const char *path, int flags, int *fd)
{
    int rc = fail_now();

    *fd = -1;
    return rc != 0 ? rc : open_with(path, O_WRONLY | O_CREAT | flags, fd);
}

int file_create(const char *path, int *fd)
{
    return make(path, O_TRUNC, fd);
}

int file_create_append(const char *path, int *fd)
{
    return make(path, O_EXCL | O_APPEND, fd);
}

int file_open(const char *path, int *fd)
{
    return open_with(path, O_RDONLY, fd);
}

int file_open_append(const char *path, int *fd)
{
    return open_with(path, O_WRONLY | O_APPEND, fd);
}

void file_close(int fd)
{
    if (fd >= 0)
        (void)close(fd);
}

int file_write(int fd, const void *p, size_t n)
{
    int rc = fail_now();
    const char *at = p;

    if (rc != 0)
        n /= 2;
    while (n > 0) {
        ssize_t done = write(fd, at, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? -errno : -EIO;
        at += done;
        n -= (size_t)done;
    }
    return rc;
}

ssize_t file_read(int fd, void *p, size_t n)
{
    ssize_t done;

    do
        done = read(fd, p, n);
    while (done < 0 && errno == EINTR);
    return done < 0 ? -errno : done;
}

int file_read_all(const char *path, size_t limit, struct buf *out)
{
    size_t before = out->len;
    ssize_t n = 0;
    int fd, rc = file_open(path, &fd);

    if (rc != 0)
        return rc;
    do {
        out->len += (size_t)n;
        if (out->len - before > limit)
            rc = -EFBIG;
        else if (buf_try_reserve(out, READ_PIECE) != 0)
            rc = -ENOMEM;
        if (rc != 0)
            goto done;
        n = file_read(fd, out->p + out->len, READ_PIECE);
    } while (n > 0);
    rc = (int)n;
done:
    file_close(fd);
    if (rc != 0)
        out->len = before;
    return rc;
}

static int sync_with(int (*sync)(int fd), int fd)
{
    int rc = fail_now();

    if (rc != 0)
        return rc;
    do
        rc = sync(fd) < 0 ? -errno : 0;
    while (rc == -EINTR);
    return rc;
}

int file_sync(int fd)
{
    return sync_with(fsync, fd);
}

int file_sync_data(int fd)
{
    return sync_with(fdatasync, fd);
}

void file_write_out(int fd, uint64_t offset, size_t n)
{
    sync_file_range(fd, (off64_t)offset, (off64_t)n, SYNC_FILE_RANGE_WRITE);
}

int file_sync_path(const char *path)
{
    int fd, rc = file_open(path, &fd);

    if (rc != 0)
        return rc;
    rc = file_sync(fd);
    file_close(fd);
    return rc;
}

int file_sync_parent(const char *path)
{
    char directory[PATH_MAX];
    size_t n = directory_length(path);
    int rc;

    if (n >= sizeof directory)
        return -ENAMETOOLONG;
    memcpy(directory, n != 0 ? path : ".", n != 0 ? n : 1);
    directory[n != 0 ? n : 1] = '\0';
    rc = file_sync_path(directory);
    return rc == -EINVAL ? 0 : rc;
}

int file_rename(const char *from, const char *to)
{
    int rc = fail_now();

    if (rc != 0)
        return rc;
    return rename(from, to) < 0 ? -errno : 0;
}

int file_replace(const char *from, const char *to, bool *renamed)
{
    int rc = file_rename(from, to);

    if (renamed != NULL)
        *renamed = rc == 0;
    return rc != 0 ? rc : file_sync_parent(to);
}

int file_write_all(const char *path, const void *p, size_t n, bool *renamed)
{
    char temp[PATH_MAX];
    bool done = false;
    int fd = -1, rc;

    if (renamed != NULL)
        *renamed = false;
    if ((rc = file_temp_path(temp, path)) != 0 || (rc = file_create(temp, &fd)) != 0)
        return rc;
    if ((rc = file_write(fd, p, n)) == 0 && (rc = file_sync(fd)) == 0)
        rc = file_replace(temp, path, &done);
    file_close(fd);
    if (!done)
        (void)file_remove(temp);
    if (renamed != NULL)
        *renamed = done;
    return rc;
}

int file_remove(const char *path)
{
    int rc = fail_now();

    if (rc != 0)
        return rc;
    return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

int file_size(const char *path, int64_t *size)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    *size = st.st_size;
    return 0;
}

int file_make_directory(const char *path)
{
    struct stat st;
    int rc;

    if (stat(path, &st) == 0)
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
    if ((rc = fail_now()) != 0)
        return rc;
    if (mkdir(path, 0755) < 0)
        return errno == EEXIST ? 0 : -errno;
    return file_sync_parent(path);
}

int file_resize(int fd, int64_t size)
{
    int rc = fail_now();

    if (rc != 0)
        return rc;
    do
        rc = ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
    while (rc == -EINTR);
    return rc;
}

int file_truncate(const char *path, int64_t size)
{
    int fd, rc = open_with(path, O_WRONLY, &fd);

    if (rc != 0)
        return rc;
    if ((rc = file_resize(fd, size)) == 0)
        rc = file_sync(fd);
    file_close(fd);
    return rc;
}
