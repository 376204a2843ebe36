/* Nodes that no record knows: see strangers.h. */
#include "control/reconcile/strangers.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "control/agent/process.h"
#include "control/model/model.h"
#include "control/reconcile/directory.h"

#define AGAIN_S 3
#define DEATH_MS 5000 /* after SIGKILL a process may still have pages to free */

struct strangers {
    const struct model *model;
    char *directory;
    struct event *again;
};

/* Kills the node of that directory. True when there was one, and it is dead. */
static bool end_node(const char *path, const char *name)
{
    int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct process p = PROCESS_NONE;
    struct pollfd ended;
    bool is_dead = false;

    if (dir < 0)
        return false;
    if (process_find_holder(dir, "lock", &p) == 0) {
        log_warning("Node %s: process %d is in no record, and is ended", name, (int)p.pid);
        ended = (struct pollfd){.fd = p.fd, .events = POLLIN};
        process_signal(&p, SIGKILL);
        is_dead = poll(&ended, 1, DEATH_MS) == 1;
        process_close(&p);
    }
    close(dir);
    return is_dead;
}

static void look(struct strangers *s, bool again)
{
    DIR *d = opendir(s->directory);
    const struct dirent *e;
    char path[PATH_MAX];

    /* cppcheck-suppress readdirCalled ; it is safe for a stream of one's own */
    while (d && (e = readdir(d))) {
        if (e->d_name[0] == '.' || model_cache_cluster(s->model, view_str(e->d_name)) ||
            snprintf(path, sizeof path, "%s/%s", s->directory, e->d_name) >= (int)sizeof path)
            continue;
        if (end_node(path, e->d_name) || again)
            directory_remove(path);
    }
    if (d)
        closedir(d);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    look(arg, true);
}

struct strangers *strangers_new(struct event_base *base, const struct model *m, const char *directory)
{
    const struct timeval again = {AGAIN_S, 0};
    struct strangers *s = mem_zalloc(sizeof *s);

    s->model = m;
    s->directory = mem_strndup(directory, strlen(directory));
    s->again = evtimer_new(base, on_again, s);
    look(s, false);
    event_add(s->again, &again);
    return s;
}

void strangers_free(struct strangers *s)
{
    if (!s)
        return;
    event_free(s->again);
    mem_free(s->directory);
    mem_free(s);
}
