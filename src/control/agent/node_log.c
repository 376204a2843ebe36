/*
 * See node_log.h. Rejected: a pipe to the service, which would end with it; renaming the log under its writer, which would
 * go on with the old one.
 */
#include "control/agent/node_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/view.h"

#define TAIL_BYTES 4096
#define TAIL_LINES 4

int node_log_open(int directory, int *fd, off_t *start)
{
    node_log_trim(directory);
    *fd = openat(directory, NODE_LOG_FILE, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd < 0)
        return -errno;
    *start = node_log_size(directory);
    return 0;
}

static int copy_all(int from, int to)
{
    ssize_t n;

    do
        n = copy_file_range(from, NULL, to, NULL, NODE_LOG_MAX, 0);
    while (n > 0);
    return n < 0 ? -errno : 0;
}

void node_log_trim(int directory)
{
    int log, old, rc;

    if (node_log_size(directory) < NODE_LOG_MAX)
        return;
    unlinkat(directory, NODE_LOG_OLD, 0);
    log = openat(directory, NODE_LOG_FILE, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    old = openat(directory, NODE_LOG_OLD, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    rc = log >= 0 && old >= 0 ? copy_all(log, old) : -errno;
    if (rc != 0)
        unlinkat(directory, NODE_LOG_OLD, 0);
    if (log >= 0 && ftruncate(log, 0) != 0)
        log_verbose("A node's log cannot be trimmed: %s", strerror(errno));
    file_close(log);
    file_close(old);
}

off_t node_log_size(int directory)
{
    struct stat st;

    return fstatat(directory, NODE_LOG_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_size : 0;
}

/* Up to size bytes of the file's end, not from before `start`; their number. */
static size_t read_end(int directory, off_t start, char *out, size_t size)
{
    off_t end = node_log_size(directory);
    int fd = openat(directory, NODE_LOG_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = 0;

    if (end - start > (off_t)size)
        start = end - (off_t)size;
    if (fd >= 0)
        n = pread(fd, out, size, start);
    file_close(fd);
    return n > 0 ? (size_t)n : 0;
}

/* What is behind "<pid>:M 23 Nov 2026 09:31:52.123 # "; the whole line when it does not begin so. */
static struct view message(struct view line)
{
    static const char marks[] = ".-*#";
    size_t digits = 0, at;

    while (digits < line.n && line.p[digits] >= '0' && line.p[digits] <= '9')
        digits++;
    if (digits == 0 || digits == line.n || line.p[digits] != ':')
        return line;
    for (at = digits; at + 2 < line.n && at < digits + 40; at++)
        if (line.p[at] == ' ' && strchr(marks, line.p[at + 1]) != NULL && line.p[at + 2] == ' ')
            return view_of(line.p + at + 3, line.n - at - 3);
    return line;
}

/* Splits off the last line that has text, without what comes before its message; false when there is none. */
static bool last_line(struct view *text, struct view *line)
{
    while (text->n > 0) {
        const char *newline;
        size_t end = text->n;
        if (text->p[end - 1] == '\n')
            end--;
        newline = end > 0 ? memrchr(text->p, '\n', end) : NULL;
        *line = newline != NULL ? view_of(newline + 1, end - (size_t)(newline + 1 - text->p)) : view_of(text->p, end);
        text->n = (size_t)(line->p - text->p);
        *line = message(*line);
        if (line->n > 0)
            return true;
    }
    return false;
}

size_t node_log_tail(int directory, off_t start, char *out, size_t size)
{
    char bytes[TAIL_BYTES];
    struct view text = {bytes, read_end(directory, start, bytes, sizeof bytes)}, lines[TAIL_LINES];
    size_t count = 0, length = 0;

    /* The server writes a reason to standard error and to its log, which are both this file. */
    while (count < TAIL_LINES && last_line(&text, &lines[count]))
        if (count == 0 || !view_equal(lines[count], lines[count - 1]))
            count++;
    out[0] = '\0';
    while (count-- > 0 && length < size)
        length += (size_t)snprintf(out + length, size - length, "%s%.*s", length > 0 ? "; " : "", (int)lines[count].n,
                                   lines[count].p);
    length = strlen(out);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)out[i] < ' ' || out[i] == 0x7f)
            out[i] = '?';
    return length;
}
