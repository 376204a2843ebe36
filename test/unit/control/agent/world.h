/* What tests of the agent share: a loop, an agent in a directory of its own, and a record of what its nodes did. */
#ifndef UNIT_CONTROL_AGENT_WORLD_H
#define UNIT_CONTROL_AGENT_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/agent/agent.h"
#include "control/agent/node.h"

#define PATIENCE_US 60000000

struct world {
    struct event_base *base;
    struct event *wake;
    struct agent *agent;
    char directory[64];
    const char *server;
    struct agent_times times;
    unsigned descriptors;
};

/* What a node did so far. */
struct diary {
    struct node *node;
    unsigned count[NODE_FAILED + 1];
    bool was_adopted;
    struct process_end end;
    char text[NODE_ERROR_MAX];
    int64_t ready_us;
    bool frees; /* the node is to be freed in its next event */
};

/* A reply, or the lack of one. */
struct outcome {
    bool is_told;
    int type;
    int descriptor;
    long long integer;
    char text[256], error[256];
};

static inline unsigned world_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;

    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

static inline void world_on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
}

static inline void world_open_agent(struct world *w)
{
    const struct agent_options o = {
        .directory = w->directory, .server = w->server, .oom_score_adj = 500, .times = w->times};

    assert_int_equal(agent_new(w->base, &o, &w->agent), 0);
}

static inline void world_open(struct world *w, const char *server)
{
    const struct timeval interval = {0, 20000};

    memset(w, 0, sizeof *w);
    w->descriptors = world_descriptors();
    signal(SIGPIPE, SIG_IGN);
    log_set_level(LOG_LEVEL_NOTHING);
    w->server = server;
    w->times = agent_times_default();
    snprintf(w->directory, sizeof w->directory, "/tmp/larder-agent-XXXXXX");
    assert_non_null(mkdtemp(w->directory));
    w->base = event_base_new();
    w->wake = event_new(w->base, -1, EV_PERSIST, world_on_wake, NULL);
    event_add(w->wake, &interval);
    world_open_agent(w);
}

static inline void world_remove(const char *path)
{
    struct dirent *entry;
    DIR *d = opendir(path);
    char below[512];

    while (d != NULL && (entry = readdir(d)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(below, sizeof below, "%.200s/%.200s", path, entry->d_name);
        if (unlink(below) != 0)
            world_remove(below);
    }
    if (d != NULL)
        closedir(d);
    rmdir(path);
}

/* Kills the children that are left, as nodes would live on; returns how many that were. */
static inline unsigned world_kill_children(void)
{
    char path[64];
    unsigned n = 0;
    FILE *f;
    int pid;

    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    f = fopen(path, "re");
    for (; f != NULL && fscanf(f, "%d", &pid) == 1; n++) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    if (f != NULL)
        fclose(f);
    return n;
}

/* Everything is closed then: no process and no descriptor is left. */
static inline void world_close(struct world *w)
{
    unsigned children = world_kill_children();

    agent_free(w->agent);
    event_free(w->wake);
    event_base_free(w->base);
    world_remove(w->directory);
    assert_int_equal(children, 0);
    assert_int_equal(world_descriptors(), w->descriptors);
}

/* Runs the loop until the condition holds. */
#define world_await(w, condition)                                                                                      \
    do {                                                                                                               \
        int64_t end_ = clock_mono_us() + PATIENCE_US;                                                                  \
        while (!(condition)) {                                                                                         \
            event_base_loop((w)->base, EVLOOP_ONCE);                                                                   \
            if (clock_mono_us() > end_)                                                                                \
                fail_msg("%s: it never came", #condition);                                                             \
        }                                                                                                              \
    } while (0)

static inline void diary_write(void *arg, struct node *n, const struct node_event *e)
{
    struct diary *d = arg;

    assert_ptr_equal(n, d->node);
    d->count[e->what]++;
    if (e->what == NODE_READY) {
        d->was_adopted = e->was_adopted;
        d->ready_us = clock_mono_us();
    }
    if (e->what == NODE_DIED)
        d->end = e->end;
    assert_int_equal(e->state != NULL, e->what == NODE_READY || e->what == NODE_STATE);
    assert_int_equal(e->text != NULL, e->state == NULL);
    if (e->text != NULL)
        snprintf(d->text, sizeof d->text, "%s", e->text);
    if (d->frees) {
        node_free(n);
        d->node = NULL;
    }
}

static inline int world_try_start(struct world *w, const struct node_spec *spec, struct diary *d)
{
    memset(d, 0, sizeof *d);
    return node_start(w->agent, spec, diary_write, d, &d->node, d->text);
}

/* Starts a node under that name, with those settings. */
static inline void world_start(struct world *w, const char *id, const struct node_setting *settings, size_t count,
                               struct diary *d)
{
    const struct node_spec spec = {.id = id,
                                   .directory = id,
                                   .config = {.maxmemory = 64 << 20, .settings = settings, .setting_count = count},
                                   .environment = (const char *const *)environ};

    if (world_try_start(w, &spec, d) != 0)
        fail_msg("%s", d->text);
}

static inline void world_start_ready(struct world *w, const char *id, struct diary *d)
{
    world_start(w, id, NULL, 0, d);
    world_await(w, d->count[NODE_READY] > 0 || d->count[NODE_FAILED] > 0);
    assert_string_equal(d->text, "");
}

static inline void world_kill(struct world *w, struct diary *d)
{
    assert_int_equal(node_kill(d->node), 0);
    world_await(w, d->count[NODE_DIED] > 0);
    node_free(d->node);
}

static inline void outcome_write(void *arg, const struct redisReply *reply, int descriptor, const char *error)
{
    struct outcome *o = arg;

    assert_false(o->is_told);
    o->is_told = true;
    o->type = reply != NULL ? reply->type : 0;
    o->integer = reply != NULL ? reply->integer : 0;
    o->descriptor = descriptor;
    snprintf(o->text, sizeof o->text, "%s", reply != NULL && reply->str != NULL ? reply->str : "");
    snprintf(o->error, sizeof o->error, "%s", error != NULL ? error : "");
}

#endif
