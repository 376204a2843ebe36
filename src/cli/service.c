/* The service by its state directory: see service.h. */
#include "cli/service.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "cli/cli.h"

#define FILE_MAX (64 << 10)
#define ANSWER_MAX 4096
#define PATIENCE_S 300 /* a copy of a big state takes its time */

static int copy_text(const json_t *o, const char *name, char out[SERVICE_TEXT_MAX])
{
    const char *s = json_string_value(json_object_get(o, name));

    if (!s || strlen(s) >= SERVICE_TEXT_MAX)
        return -1;
    strcpy(out, s);
    return 0;
}

static int read_object(struct service *s, const json_t *o)
{
    json_t *pid = json_object_get(o, "pid");

    if (!json_is_integer(pid))
        return -1;
    s->pid = (long)json_integer_value(pid);
    if (copy_text(o, "api_url", s->api_url) != 0 || copy_text(o, "dns_address", s->dns_address) != 0 ||
        copy_text(o, "dns_suffix", s->dns_suffix) != 0 || copy_text(o, "region", s->region) != 0 ||
        copy_text(o, "account", s->account) != 0 || copy_text(o, "version", s->version) != 0)
        return -1;
    return 0;
}

int service_load(struct service *s, const char *state_dir)
{
    char path[PATH_MAX + 32];
    json_error_t error;
    json_t *o;
    int rc;

    *s = (struct service){0};
    if (!realpath(state_dir, s->directory))
        return cli_fail("%s: %s; larderd makes its state directory when it starts, --state-dir says where it is",
                        state_dir, strerror(errno));
    snprintf(path, sizeof path, "%s/service.json", s->directory);
    if (access(path, R_OK) != 0)
        return cli_fail("%s: %s%s", path, strerror(errno),
                        errno == ENOENT ? "; is that larderd's state directory, and was larderd started?" : "");
    o = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    rc = o ? read_object(s, o) : -1;
    json_decref(o);
    return rc == 0 ? 0 : cli_fail("%s is not as larderd writes it; larderd writes it again when it starts", path);
}

int service_load_with_key(struct service *s, const char *state_dir)
{
    char path[PATH_MAX + 32];
    struct buf text = {0};
    int rc = service_load(s, state_dir);

    if (rc != 0)
        return rc;
    snprintf(path, sizeof path, "%s/credentials", s->directory);
    rc = file_read_all(path, FILE_MAX, &text);
    if (rc == 0) {
        buf_put_char(&text, '\0');
        if (sscanf(text.p, "[default] aws_access_key_id = %128s aws_secret_access_key = %128s", s->access_key_id,
                   s->secret_access_key) != 2)
            rc = -EINVAL;
    }
    if (text.p)
        explicit_bzero(text.p, text.cap);
    buf_free(&text);
    if (rc != 0)
        return cli_fail("%s: %s%s", path, strerror(-rc),
                        rc == -EACCES ? "; only larderd's user and root may read it" : "");
    return 0;
}

/* Through the directory's descriptor, because a socket's path has only 107 bytes. Returns it or a negative errno value. */
static int connect_control(const char *directory)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int dir = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC), fd, rc = 0;

    if (dir < 0)
        return -errno;
    snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/control", dir);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
        connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        rc = -errno;
    close(dir);
    if (rc == 0)
        return fd;
    file_close(fd);
    return rc;
}

bool service_is_running(const char *directory)
{
    int fd = connect_control(directory);

    file_close(fd);
    return fd >= 0;
}

/* Reads up to the peer's end; a descriptor may come with the first bytes. */
static ssize_t receive(int fd, char out[ANSWER_MAX], int *attached)
{
    size_t length = 0;
    ssize_t n;

    do {
        union {
            struct cmsghdr header;
            char space[CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec part = {out + length, ANSWER_MAX - length};
        struct msghdr m = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
        const struct cmsghdr *c;
        n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
        c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
        if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && *attached < 0)
            memcpy(attached, CMSG_DATA(c), sizeof *attached);
        length += n > 0 ? (size_t)n : 0;
    } while (n > 0 && length < ANSWER_MAX);
    return n < 0 ? -errno : (ssize_t)length;
}

int service_ask(const char *state_dir, const char *name, json_t **answer, int *fd)
{
    char text[ANSWER_MAX];
    int s = connect_control(state_dir), attached = -1, rc = 1;
    ssize_t n;
    const char *error;

    *answer = NULL;
    if (s == -ENOENT || s == -ECONNREFUSED)
        return cli_fail("no larderd serves %s", state_dir);
    if (s < 0)
        return cli_fail("%s/control: %s%s", state_dir, strerror(-s),
                        s == -EACCES ? "; only larderd's user and root may ask it" : "");
    n = snprintf(text, sizeof text, "{\"request\": \"%s\"}\n", name);
    n = send(s, text, (size_t)n, MSG_NOSIGNAL) == n ? receive(s, text, &attached) : -errno;
    close(s);
    if (n > 0)
        *answer = json_loadb(text, (size_t)n, 0, NULL);
    error = json_string_value(json_object_get(*answer, "error"));
    if (error)
        cli_fail("larderd refuses: %s", error);
    else if (!json_is_object(*answer))
        cli_fail("larderd gave no answer%s%s", n < 0 ? ": " : "", n < 0 ? strerror((int)-n) : "");
    else
        rc = 0;
    if (rc != 0) {
        json_decref(*answer);
        *answer = NULL;
    }
    if (fd && rc == 0)
        *fd = attached;
    else
        file_close(attached);
    return rc;
}
