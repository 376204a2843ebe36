/*
 * The log's lines: "<pid>:M 23 Nov 2026 09:31:52.123 # message", the layout that tools for Redis's logs read; the mark
 * is '.', '-', '*' or '#' from debug to warning. A message is formatted on the stack, cut at LINE_MAX_BYTES, and
 * written with one write(2), so lines of different threads never mix and writing takes no lock. Control bytes in a
 * message become '?': what clients send must not be able to forge a line.
 *
 * Reopening puts the new file behind the same descriptor with dup3, which is atomic: a writer meets the old file or the
 * new one, never a closed or reused descriptor. Rejected: a lock around each write, which would let a slow disk hold
 * all threads that log.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048
#define IDENT_MAX 64

static atomic_int lowest = LOG_LEVEL_NOTICE;
static atomic_int target = STDOUT_FILENO; /* once a file was opened, the log's own descriptor, never closed */
static atomic_bool to_syslog;

static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;   /* changes of target and what is behind it */
static pthread_mutex_t syslog_lock = PTHREAD_MUTEX_INITIALIZER; /* syslog(3)'s state and ident */
static char ident[IDENT_MAX];                                   /* openlog(3) keeps the pointer */

static const struct {
    char mark;
    int priority;
} levels[] = {
    [LOG_LEVEL_DEBUG] = {'.', LOG_DEBUG},
    [LOG_LEVEL_VERBOSE] = {'-', LOG_INFO},
    [LOG_LEVEL_NOTICE] = {'*', LOG_NOTICE},
    [LOG_LEVEL_WARNING] = {'#', LOG_WARNING},
};

int log_open(const char *path)
{
    int fd, rc = 0, own;

    fd = path[0] != '\0' ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644)
                         : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return errno;
    pthread_mutex_lock(&open_lock);
    own = atomic_load(&target);
    if (own == STDOUT_FILENO) {
        atomic_store(&target, fd);
    } else {
        /* EBUSY: another thread is just opening a file; Linux asks to try again. */
        while (dup3(fd, own, O_CLOEXEC) < 0 && rc == 0)
            if (errno != EINTR && errno != EBUSY)
                rc = errno;
        close(fd);
    }
    pthread_mutex_unlock(&open_lock);
    return rc;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&lowest, (int)level, memory_order_relaxed);
}

void log_set_syslog(const char *name, int facility)
{
    pthread_mutex_lock(&syslog_lock);
    atomic_store(&to_syslog, name != NULL);
    closelog();
    if (name != NULL) {
        snprintf(ident, sizeof ident, "%s", name);
        openlog(ident, LOG_PID | LOG_NDELAY | LOG_NOWAIT, facility);
    }
    pthread_mutex_unlock(&syslog_lock);
}

static void send_syslog(enum log_level level, const char *message)
{
    pthread_mutex_lock(&syslog_lock);
    if (atomic_load(&to_syslog))
        syslog(levels[level].priority, "%s", message);
    pthread_mutex_unlock(&syslog_lock);
}

/* Writes "<pid>:M <date> <mark> " and returns its length. */
static size_t format_head(char *line, size_t cap, enum log_level level)
{
    struct timespec now;
    struct tm tm;
    size_t n;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    n = (size_t)snprintf(line, cap, "%d:M ", (int)getpid());
    n += strftime(line + n, cap - n, "%d %b %Y %H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, cap - n, ".%03d %c ", (int)(now.tv_nsec / 1000000), levels[level].mark);
    return n;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    char line[LINE_MAX_BYTES];
    size_t head, len;
    va_list ap;
    int n, saved = errno;

    if ((int)level < atomic_load_explicit(&lowest, memory_order_relaxed) || level >= LOG_LEVEL_NOTHING)
        return;
    head = format_head(line, sizeof line, level);
    errno = saved; /* for %m in the message */
    va_start(ap, fmt);
    n = vsnprintf(line + head, sizeof line - head, fmt, ap);
    va_end(ap);
    len = head + (n > 0 ? (size_t)n : 0);
    if (len > sizeof line - 2)
        len = sizeof line - 2;
    for (size_t i = head; i < len; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
    line[len] = '\0';
    if (atomic_load(&to_syslog))
        send_syslog(level, line + head);
    line[len] = '\n';
    while (write(atomic_load(&target), line, len + 1) < 0 && errno == EINTR)
        ;
    errno = saved;
}
