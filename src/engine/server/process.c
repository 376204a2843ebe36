/* The process from outside: see process.h. */
#include "engine/server/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/server/config.h"

int process_daemonize(void)
{
    int null;

    switch (fork()) {
    case -1:
        return -1;
    case 0:
        break;
    default:
        _exit(0);
    }
    setsid();
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        close(null);
    }
    return 0;
}

void process_write_pid(const char *path)
{
    FILE *f = fopen(path, "we");

    if (!f) {
        log_warning("Failed to write PID file: %s: %s", path, strerror(errno));
        return;
    }
    fprintf(f, "%d\n", (int)getpid());
    fclose(f);
}

void process_notify(const struct config *c, const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd;

    if (c->supervised == SUPERVISED_UPSTART || (c->supervised == SUPERVISED_AUTO && getenv("UPSTART_JOB"))) {
        raise(SIGSTOP);
        return;
    }
    if (c->supervised == SUPERVISED_NO || !path || strlen(path) >= sizeof sa.sun_path)
        return;
    memcpy(sa.sun_path, path, strlen(path) + 1);
    if (sa.sun_path[0] == '@')
        sa.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&sa,
           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
    close(fd);
}

unsigned process_processors(void)
{
    cpu_set_t set;
    long n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1, quota, period;
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");

    if (f) {
        if (fscanf(f, "%ld %ld", &quota, &period) == 2 && period > 0 && quota > 0 && (quota + period - 1) / period < n)
            n = (quota + period - 1) / period;
        fclose(f);
    }
    return n < 1 ? 1 : n > 64 ? 64 : (unsigned)n;
}
