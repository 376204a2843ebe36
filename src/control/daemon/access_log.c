/* The access log: see access_log.h. */
#include "control/daemon/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "control/http/server.h"

struct access_log {
    int fd;
    off_t size;
    struct buf line;
    char path[PATH_MAX];
};

static int open_file(struct access_log *l)
{
    struct stat st;

    l->fd = open(l->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (l->fd < 0)
        return -errno;
    l->size = fstat(l->fd, &st) == 0 ? st.st_size : 0;
    return 0;
}

int access_log_open(const char *path, struct access_log **out)
{
    struct access_log *l = mem_zalloc(sizeof *l);
    int rc;

    *out = NULL;
    snprintf(l->path, sizeof l->path, "%s", path);
    rc = open_file(l);
    if (rc != 0) {
        mem_free(l);
        return rc;
    }
    *out = l;
    return 0;
}

void access_log_close(struct access_log *l)
{
    if (!l)
        return;
    if (l->fd >= 0)
        close(l->fd);
    buf_free(&l->line);
    mem_free(l);
}

static void turn_over(struct access_log *l)
{
    char old[PATH_MAX + 2];

    snprintf(old, sizeof old, "%s.1", l->path);
    if (l->fd >= 0)
        close(l->fd);
    rename(l->path, old);
    open_file(l);
}

void access_log_write(void *arg, const struct http_access *a)
{
    struct access_log *l = arg;
    time_t now = time(NULL);
    char text[32];
    struct tm tm;
    ssize_t n;

    gmtime_r(&now, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    buf_clear(&l->line);
    buf_printf(&l->line, "%s %s %.*s %.*s %u %" PRIu64 " %" PRId64 "%s%s%.*s\n", text, a->peer, (int)a->method.n,
               a->method.p, (int)a->target.n, a->target.p, a->status, a->bytes, a->micros,
               a->complete ? "" : " incomplete", a->note.n > 0 ? " " : "", (int)a->note.n, a->note.p);
    if (l->size > ACCESS_LOG_MAX)
        turn_over(l);
    n = l->fd >= 0 ? write(l->fd, l->line.p, buf_live(&l->line)) : 0;
    if (n > 0)
        l->size += n;
}
