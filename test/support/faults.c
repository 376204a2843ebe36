/*
 * A preloaded library that makes a server's disk fail, on command and while the server runs.
 *
 * The environment variable LARDER_FAULTS names a control file that faults.py has laid out as `struct control` below. It
 * is mapped shared, so that a test changes rules, and reads counters, without the server making a system call for it;
 * children that the server forks share it too. Without the variable every call passes through.
 *
 * A rule names calls (a set of OP_ bits), a directory, a pattern for the last part of the path, and what is to happen:
 * an error, a pause, a pause that ends with the rule, a budget of bytes after which the disk is full (the write that
 * crosses it is short, as on a real disk), or the end of the process by SIGKILL. The first `skip` matching calls are
 * let through, and `times` bounds how many are hit.
 *
 * Beside rules, the library keeps for every file what a loss of power would leave of it: its size at its last
 * successful fsync or fdatasync, or at the first write that was seen. A failed sync freezes that size, since the kernel
 * drops the pages that it could not write, and a later sync says nothing of them. Only appending is modelled: not what
 * happens to bytes that are overwritten or allocated ahead, nor to names in a directory that was not synced; neither
 * O_DSYNC nor syncfs makes anything safe here.
 *
 * Real calls are made by syscall(), not through dlsym(RTLD_NEXT): the library is called before its constructor ran, by
 * the start of sanitizers among others, and then dlsym may not be ready. Only stdio needs dlsym. The C library's own
 * calls (what fflush and fclose write) cannot be intercepted; fwrite and fopen are.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x4c464c31u
#define RULES 16
#define FILES 1024
#define OPS 8

/* The order is that of OPS in faults.py. */
enum {
    OP_FSYNC,
    OP_FSYNC_DIR,
    OP_WRITE,
    OP_OPEN,
    OP_RENAME,
    OP_TRUNCATE,
    OP_ALLOCATE,
    OP_UNLINK,
};

enum { HOLD = 1, KILL = 2 };

/* The layouts are those of RULE, FILE and CONTROL in faults.py. */
struct rule {
    uint32_t active;
    uint32_t ops;      /* bits 1 << OP_ */
    int32_t error;     /* an errno, or 0: the call is made */
    uint32_t flags;    /* HOLD, KILL */
    uint64_t sleep_us; /* before anything else */
    int64_t skip;
    int64_t times; /* -1: without end */
    int64_t bytes; /* what may still be written, or -1: no budget */
    uint64_t hits;
    char directory[256];
    char pattern[120];
};

struct file {
    uint64_t inode; /* 0: free */
    uint64_t device;
    uint64_t synced;
    uint64_t frozen;
};

struct control {
    uint32_t magic;
    uint32_t ops;   /* of all active rules together */
    uint32_t track; /* whether `calls` and `files` are kept */
    uint32_t lost;  /* files that found no room in `files` */
    uint64_t calls[OPS];
    char directory[256]; /* what is tracked is below it */
    struct rule rules[RULES];
    struct file files[FILES];
};

static struct control *control;

__attribute__((constructor)) static void faults_start(void)
{
    const char *path = getenv("LARDER_FAULTS");
    struct control *c;
    long fd;

    if (path == NULL)
        return;
    fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    c = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0);
    if (c == MAP_FAILED || c->magic != MAGIC) {
        fprintf(stderr, "faults: %s is no control file\n", path);
        _exit(125);
    }
    syscall(SYS_close, fd);
    control = c;
}

/* ---- which files, which rules ----------------------------------------------------------------------------------- */

static int is_wanted(int op)
{
    return control != NULL && (__atomic_load_n(&control->track, __ATOMIC_RELAXED) ||
                               (__atomic_load_n(&control->ops, __ATOMIC_ACQUIRE) & 1u << op));
}

static int is_below(const char *path, const char *directory)
{
    size_t len = strlen(directory);

    return strncmp(path, directory, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* The path of an open file in `path` (PATH_MAX bytes) and what it is in `st`. False for anything but files and
 * directories, which costs one system call: most descriptors of a server are sockets. */
static int path_of_fd(int fd, char *path, struct stat *st)
{
    char link[40];
    long len;

    if (fstat(fd, st) != 0 || !(S_ISREG(st->st_mode) || S_ISDIR(st->st_mode)))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (len < 0)
        return 0;
    path[len] = '\0';
    return 1;
}

static int path_of_name(int dirfd, const char *name, char *path)
{
    struct stat st;
    size_t len = 0;

    path[0] = '\0';
    if (name[0] != '/') {
        if (dirfd == AT_FDCWD ? syscall(SYS_getcwd, path, PATH_MAX) < 0 : !path_of_fd(dirfd, path, &st))
            return 0;
        len = strlen(path);
        path[len++] = '/';
    }
    if (len + strlen(name) >= PATH_MAX)
        return 0;
    strcpy(path + len, name);
    return 1;
}

/* Takes one off a counter that others take from too; false when it is 0. A negative one never ends. */
static int take(int64_t *counter)
{
    int64_t n = __atomic_load_n(counter, __ATOMIC_RELAXED);

    while (n > 0 && !__atomic_compare_exchange_n(counter, &n, n - 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    return n != 0;
}

/* As many of `size` bytes as the budget still gives. */
static size_t take_bytes(int64_t *budget, size_t size)
{
    int64_t left = __atomic_load_n(budget, __ATOMIC_RELAXED);
    int64_t taken;

    do
        taken = left < (int64_t)size ? left : (int64_t)size;
    while (!__atomic_compare_exchange_n(budget, &left, left - taken, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return (size_t)taken;
}

static void pause_us(uint64_t us)
{
    struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};

    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

static void hit(struct rule *r)
{
    __atomic_fetch_add(&r->hits, 1, __ATOMIC_RELAXED);
}

static _Noreturn void die(void)
{
    for (;;)
        syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
}

/* What a rule that applies does to a call. Returns an errno, or 0. *size is the number of bytes of a write, and becomes
 * smaller where a budget ends; *last says that the process ends after the write. */
static int apply(struct rule *r, int op, size_t *size, int *last)
{
    size_t wanted = *size;

    if (r->bytes >= 0) {
        if (op == OP_ALLOCATE) {
            if ((int64_t)wanted <= __atomic_load_n(&r->bytes, __ATOMIC_RELAXED))
                return 0;
            hit(r);
            return r->error;
        }
        *size = take_bytes(&r->bytes, wanted);
        if (*size == wanted)
            return 0;
        hit(r);
        if (!(r->flags & KILL))
            return *size == 0 ? r->error : 0;
        *last = 1;
        return 0;
    }
    if (!take(&r->skip) && take(&r->times)) {
        hit(r);
        if (r->sleep_us)
            pause_us(r->sleep_us);
        while ((r->flags & HOLD) && __atomic_load_n(&r->active, __ATOMIC_ACQUIRE))
            pause_us(1000);
        if (r->flags & KILL)
            die();
        return r->error;
    }
    return 0;
}

static int apply_all(int op, const char *path, size_t *size, int *last)
{
    const char *slash = strrchr(path, '/');
    int error = 0;

    if (!(__atomic_load_n(&control->ops, __ATOMIC_ACQUIRE) & 1u << op))
        return 0;
    for (int i = 0; i < RULES && error == 0; i++) {
        struct rule *r = &control->rules[i];

        if (__atomic_load_n(&r->active, __ATOMIC_ACQUIRE) && (r->ops & 1u << op) && is_below(path, r->directory) &&
            fnmatch(r->pattern, slash ? slash + 1 : path, 0) == 0)
            error = apply(r, op, size, last);
    }
    return error;
}

/* ---- what a loss of power would leave --------------------------------------------------------------------------- */

/* The entry of a file; a new one takes the file's present size for what is safe. NULL when there is no room. */
static struct file *file_entry(const struct stat *st)
{
    for (unsigned i = 0; i < FILES; i++) {
        struct file *f = &control->files[(st->st_ino + i) % FILES];
        uint64_t inode = __atomic_load_n(&f->inode, __ATOMIC_ACQUIRE);

        if (inode == 0 &&
            __atomic_compare_exchange_n(&f->inode, &inode, st->st_ino, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            f->device = st->st_dev;
            f->frozen = 0;
            __atomic_store_n(&f->synced, (uint64_t)st->st_size, __ATOMIC_RELEASE);
            return f;
        }
        if (inode == st->st_ino)
            return f;
    }
    __atomic_fetch_add(&control->lost, 1, __ATOMIC_RELAXED);
    return NULL;
}

static int is_tracked(const char *path)
{
    return __atomic_load_n(&control->track, __ATOMIC_RELAXED) && is_below(path, control->directory);
}

static void count(int op)
{
    __atomic_fetch_add(&control->calls[op], 1, __ATOMIC_RELAXED);
}

/* A file that became shorter, or that was just created (perhaps with the inode of one that is gone): what is appended
 * to it from here on is not safe yet. When nothing is left behind what is safe, a failed sync is no matter any more. */
static void note_size(int fd)
{
    char path[PATH_MAX];
    struct stat st;
    struct file *f;
    int saved = errno;

    if (path_of_fd(fd, path, &st) && S_ISREG(st.st_mode) && is_tracked(path) && (f = file_entry(&st)) != NULL) {
        if (__atomic_load_n(&f->synced, __ATOMIC_ACQUIRE) > (uint64_t)st.st_size)
            __atomic_store_n(&f->synced, (uint64_t)st.st_size, __ATOMIC_RELEASE);
        if ((uint64_t)st.st_size == __atomic_load_n(&f->synced, __ATOMIC_ACQUIRE))
            f->frozen = 0;
    }
    errno = saved;
}

static void note_synced(const struct stat *st, int good)
{
    struct file *f = file_entry(st);
    uint64_t size = (uint64_t)st->st_size;
    uint64_t before;

    if (f == NULL)
        return;
    if (!good)
        __atomic_store_n(&f->frozen, 1, __ATOMIC_RELEASE);
    if (__atomic_load_n(&f->frozen, __ATOMIC_ACQUIRE))
        return;
    before = __atomic_load_n(&f->synced, __ATOMIC_RELAXED);
    while (before < size &&
           !__atomic_compare_exchange_n(&f->synced, &before, size, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        ;
}

/* ---- the calls -------------------------------------------------------------------------------------------------- */

static int failed(int error)
{
    errno = error;
    return -1;
}

/* Rules for a call on an open file. *size as in apply(); NULL where there is none. */
static int on_fd(int op, int fd, size_t *size, int *last)
{
    char path[PATH_MAX];
    struct stat st;
    size_t none = 0;
    int saved = errno;
    int dead = 0;
    int error;

    if (!is_wanted(op) || !path_of_fd(fd, path, &st)) {
        errno = saved;
        return 0;
    }
    if (is_tracked(path)) {
        count(op);
        if (op == OP_WRITE)
            file_entry(&st);
    }
    error = apply_all(op, path, size ? size : &none, last ? last : &dead);
    errno = saved;
    return error;
}

static int on_name(int op, int dirfd, const char *name, int counts)
{
    char path[PATH_MAX];
    size_t size = 0;
    int last = 0;
    int saved = errno;
    int error = 0;

    if (is_wanted(op) && path_of_name(dirfd, name, path)) {
        if (counts && is_tracked(path))
            count(op);
        error = apply_all(op, path, &size, &last);
    }
    errno = saved;
    return error;
}

static int synchronise(int fd, long number)
{
    char path[PATH_MAX];
    struct stat st;
    size_t size = 0;
    int last = 0;
    int known, op, error = 0;
    int result;

    if (!is_wanted(OP_FSYNC) && !is_wanted(OP_FSYNC_DIR))
        return (int)syscall(number, fd);
    /* The size before the call: what is appended while it runs may or may not be part of it. */
    known = path_of_fd(fd, path, &st);
    op = known && S_ISDIR(st.st_mode) ? OP_FSYNC_DIR : OP_FSYNC;
    if (known) {
        if (is_tracked(path))
            count(op);
        error = apply_all(op, path, &size, &last);
    }
    result = error ? failed(error) : (int)syscall(number, fd);
    if (known && op == OP_FSYNC && is_tracked(path)) {
        int saved = errno;

        note_synced(&st, result == 0);
        errno = saved;
    }
    return result;
}

int fsync(int fd)
{
    return synchronise(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return synchronise(fd, SYS_fdatasync);
}

/* Starts or awaits writing, but promises nothing: it may fail as a sync, and makes nothing safe. */
int sync_file_range(int fd, off64_t offset, off64_t count_, unsigned flags)
{
    int error = on_fd(OP_FSYNC, fd, NULL, NULL);

    return error ? failed(error) : (int)syscall(SYS_sync_file_range, fd, offset, count_, flags);
}

static ssize_t finish_write(ssize_t done, int last)
{
    if (last)
        die();
    return done;
}

ssize_t write(int fd, const void *data, size_t size)
{
    int last = 0;
    int error = on_fd(OP_WRITE, fd, &size, &last);

    return error ? failed(error) : finish_write(syscall(SYS_write, fd, data, size), last);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    int last = 0;
    int error = on_fd(OP_WRITE, fd, &size, &last);

    return error ? failed(error) : finish_write(syscall(SYS_pwrite64, fd, data, size, offset), last);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return pwrite64(fd, data, size, offset);
}

/* A vector that is cut short is written part by part up to the cut; offset -1 writes where the file stands. */
static ssize_t write_vector(int fd, const struct iovec *parts, int n, off64_t offset)
{
    size_t wanted = 0, left, part;
    ssize_t done = 0;
    int last = 0;
    int error;

    for (int i = 0; i < n; i++)
        wanted += parts[i].iov_len;
    left = wanted;
    if ((error = on_fd(OP_WRITE, fd, &left, &last)) != 0)
        return failed(error);
    if (left == wanted)
        return offset < 0 ? syscall(SYS_writev, fd, parts, n) : syscall(SYS_pwritev, fd, parts, n, offset, 0);
    for (int i = 0; i < n && left > 0; i++) {
        ssize_t rc;

        part = parts[i].iov_len < left ? parts[i].iov_len : left;
        rc = offset < 0 ? syscall(SYS_write, fd, parts[i].iov_base, part)
                        : syscall(SYS_pwrite64, fd, parts[i].iov_base, part, offset + done);
        if (rc < 0)
            break;
        done += rc;
        left -= (size_t)rc;
        if ((size_t)rc < part)
            break;
    }
    return finish_write(done, last);
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
    return write_vector(fd, parts, n, -1);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int n, off64_t offset)
{
    return write_vector(fd, parts, n, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t offset)
{
    return write_vector(fd, parts, n, offset);
}

static int open_at(int dirfd, const char *name, int flags, mode_t mode)
{
    int error = on_name(OP_OPEN, dirfd, name, 1);
    int fd = error ? failed(error) : (int)syscall(SYS_openat, dirfd, name, flags, mode);

    if (fd >= 0 && is_wanted(OP_WRITE) && (flags & (O_CREAT | O_TRUNC)))
        note_size(fd);
    return fd;
}

#define MODE_OF(flags, mode)                                                                                           \
    do {                                                                                                               \
        va_list args;                                                                                                  \
        va_start(args, flags);                                                                                         \
        (mode) = (flags) & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;                                         \
        va_end(args);                                                                                                  \
    } while (0)

int open(const char *name, int flags, ...)
{
    mode_t mode;

    MODE_OF(flags, mode);
    return open_at(AT_FDCWD, name, flags, mode);
}

int open64(const char *name, int flags, ...)
{
    mode_t mode;

    MODE_OF(flags, mode);
    return open_at(AT_FDCWD, name, flags, mode);
}

int openat(int dirfd, const char *name, int flags, ...)
{
    mode_t mode;

    MODE_OF(flags, mode);
    return open_at(dirfd, name, flags, mode);
}

int openat64(int dirfd, const char *name, int flags, ...)
{
    mode_t mode;

    MODE_OF(flags, mode);
    return open_at(dirfd, name, flags, mode);
}

int creat(const char *name, mode_t mode)
{
    return open_at(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

/* What fortified code calls instead of open() and openat() without a mode. */
int __open_2(const char *name, int flags);
int __open64_2(const char *name, int flags);
int __openat_2(int dirfd, const char *name, int flags);

int __open_2(const char *name, int flags)
{
    return open_at(AT_FDCWD, name, flags, 0);
}

int __open64_2(const char *name, int flags)
{
    return open_at(AT_FDCWD, name, flags, 0);
}

int __openat_2(int dirfd, const char *name, int flags)
{
    return open_at(dirfd, name, flags, 0);
}

/* A rename matches by the new name as well as by the old one: temporary names are of no interest to a test. */
static int rename_at(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    int error = on_name(OP_RENAME, to_dir, to, 1);

    if (error == 0)
        error = on_name(OP_RENAME, from_dir, from, 0);
    return error ? failed(error) : (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

int rename(const char *from, const char *to)
{
    return rename_at(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return rename_at(from_dir, from, to_dir, to, 0);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    return rename_at(from_dir, from, to_dir, to, flags);
}

int unlinkat(int dirfd, const char *name, int flags)
{
    int error = on_name(OP_UNLINK, dirfd, name, 1);

    return error ? failed(error) : (int)syscall(SYS_unlinkat, dirfd, name, flags);
}

int unlink(const char *name)
{
    return unlinkat(AT_FDCWD, name, 0);
}

int ftruncate64(int fd, off64_t size)
{
    int error = on_fd(OP_TRUNCATE, fd, NULL, NULL);
    int result = error ? failed(error) : (int)syscall(SYS_ftruncate, fd, size);

    if (result == 0 && is_wanted(OP_WRITE))
        note_size(fd);
    return result;
}

int ftruncate(int fd, off_t size)
{
    return ftruncate64(fd, size);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t size)
{
    size_t bytes = (size_t)size;
    int error = on_fd(OP_ALLOCATE, fd, &bytes, NULL);

    return error ? failed(error) : (int)syscall(SYS_fallocate, fd, mode, offset, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    return fallocate64(fd, mode, offset, size);
}

int posix_fallocate64(int fd, off64_t offset, off64_t size)
{
    return fallocate64(fd, 0, offset, size) == 0 ? 0 : errno;
}

int posix_fallocate(int fd, off_t offset, off_t size)
{
    return posix_fallocate64(fd, offset, size);
}

/* ---- stdio ------------------------------------------------------------------------------------------------------ */

static FILE *open_stream(const char *symbol, const char *name, const char *mode)
{
    FILE *(*real)(const char *, const char *);
    int error = on_name(OP_OPEN, AT_FDCWD, name, 1);
    FILE *stream;

    if (error) {
        errno = error;
        return NULL;
    }
    *(void **)&real = dlsym(RTLD_NEXT, symbol);
    stream = real(name, mode);
    if (stream != NULL && mode[0] == 'w' && is_wanted(OP_WRITE))
        note_size(fileno(stream));
    return stream;
}

FILE *fopen(const char *name, const char *mode)
{
    return open_stream("fopen", name, mode);
}

FILE *fopen64(const char *name, const char *mode)
{
    return open_stream("fopen64", name, mode);
}

size_t fwrite(const void *data, size_t size, size_t n, FILE *stream)
{
    static size_t (*real)(const void *, size_t, size_t, FILE *);
    size_t bytes = size * n;
    size_t wanted = bytes;
    int last = 0;
    int error = on_fd(OP_WRITE, fileno(stream), &bytes, &last);
    size_t done;

    if (error) {
        errno = error;
        return 0;
    }
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "fwrite");
    if (bytes == wanted)
        return real(data, size, n, stream);
    done = real(data, 1, bytes, stream);
    if (last) {
        fflush(stream);
        die();
    }
    errno = ENOSPC;
    return done / size;
}
