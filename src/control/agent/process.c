/*
 * See process.h. Starting is posix_spawn(3), which shares memory with the parent until the program is loaded, so that
 * neither the size of the service nor its threads matter, and says when loading fails. Rejected: fork, and a helper
 * process that forks for the service, which would have to be looked after itself.
 */
#include "control/agent/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"

#define HOLDER_TRIES 5

/* Raises only: lowering takes a privilege, and nobody wants it. Of no consequence when it fails. */
static void raise_oom_score(pid_t pid, int wanted)
{
    char path[64], text[16];
    int fd, own;
    ssize_t n;

    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)pid);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    own = atoi(text);
    n = snprintf(text, sizeof text, "%d", wanted);
    if (own < wanted && pwrite(fd, text, (size_t)n, 0) != n)
        log_verbose("%s cannot be set to %d", path, wanted);
    close(fd);
}

static int fill_actions(posix_spawn_file_actions_t *actions, const struct process_options *o)
{
    int rc = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);

    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(actions, o->output, 1);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(actions, o->output, 2);
    if (rc == 0)
        rc = posix_spawn_file_actions_addfchdir_np(actions, o->directory);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(actions, 3);
    return -rc;
}

static int fill_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    int rc;

    sigemptyset(&none);
    sigfillset(&all);
    rc = posix_spawnattr_setsigmask(attributes, &none);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(attributes, &all);
    if (rc == 0)
        rc = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return -rc;
}

int process_start(const struct process_options *o, struct process *p)
{
    static const char *const nothing[] = {NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int rc;

    *p = PROCESS_NONE;
    if ((rc = -posix_spawn_file_actions_init(&actions)) != 0)
        return rc;
    if ((rc = -posix_spawnattr_init(&attributes)) != 0)
        goto actions;
    if ((rc = fill_actions(&actions, o)) == 0 && (rc = fill_attributes(&attributes)) == 0)
        rc = -posix_spawn(&p->pid, o->program, &actions, &attributes, o->argv,
                          (char *const *)(o->environment != NULL ? o->environment : nothing));
    posix_spawnattr_destroy(&attributes);
actions:
    posix_spawn_file_actions_destroy(&actions);
    if (rc != 0) {
        *p = PROCESS_NONE;
        return rc;
    }
    p->fd = pidfd_open(p->pid, 0); /* nobody else waits for our children: the number is still its own */
    if (p->fd < 0) {
        rc = -errno;
        kill(p->pid, SIGKILL);
        waitpid(p->pid, NULL, 0);
        *p = PROCESS_NONE;
        return rc;
    }
    raise_oom_score(p->pid, o->oom_score_adj);
    return 0;
}

/* The lock's owner, or 0 for none; negative errno values. */
static int lock_owner(int fd, pid_t *pid)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fcntl(fd, F_GETLK, &whole) != 0)
        return -errno;
    *pid = whole.l_type == F_UNLCK ? 0 : whole.l_pid;
    return whole.l_type != F_UNLCK && whole.l_pid <= 0 ? -EACCES : 0;
}

int process_find_holder(int directory, const char *file, struct process *p)
{
    int fd = openat(directory, file, O_RDWR | O_CLOEXEC | O_NOFOLLOW), rc = -EAGAIN;
    pid_t pid = 0, again = 0;

    *p = PROCESS_NONE;
    if (fd < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    /* Between the lock and the pidfd the process may have ended and its number may be somebody else's: only one that
     * has the lock while the pidfd is open is the right one. */
    for (unsigned i = 0; i < HOLDER_TRIES && rc == -EAGAIN; i++) {
        if ((rc = lock_owner(fd, &pid)) != 0)
            break;
        if (pid == 0) {
            rc = -ESRCH;
            break;
        }
        p->fd = pidfd_open(pid, 0);
        rc = p->fd < 0 ? (errno == ESRCH ? -EAGAIN : -errno) : lock_owner(fd, &again);
        if (rc == 0 && again != pid)
            rc = -EAGAIN;
        if (rc == 0)
            p->pid = pid;
        else
            process_close(p);
    }
    close(fd);
    return rc;
}

int process_signal(const struct process *p, int signal)
{
    if (p->fd < 0)
        return -ESRCH;
    return pidfd_send_signal(p->fd, signal, NULL, 0) < 0 ? -errno : 0;
}

struct process_end process_reap(const struct process *p)
{
    struct process_end end = {0};
    siginfo_t info = {0};

    if (waitid(P_PIDFD, (id_t)p->fd, &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0)
        return end;
    end.is_known = true;
    if (info.si_code == CLD_EXITED)
        end.status = info.si_status;
    else
        end.signal = info.si_status;
    return end;
}

void process_describe_end(const struct process_end *end, char *out, size_t size)
{
    if (!end->is_known)
        snprintf(out, size, "ended");
    else if (end->signal != 0)
        snprintf(out, size, "was killed by signal %d (%s)", end->signal, sigdescr_np(end->signal));
    else
        snprintf(out, size, "ended with status %d", end->status);
}

void process_close(struct process *p)
{
    file_close(p->fd);
    *p = PROCESS_NONE;
}
