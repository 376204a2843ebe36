/*
 * See agent.h. The tick comes twenty times within the time after which a node hangs, and is late when as much as four
 * ticks have passed since the last one: a stall that goes unnoticed is shorter than a fifth of what a node is given.
 */
#include "control/agent/agent.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define TICKS_PER_HANG 20
#define TICK_MIN_MS 5
#define LATE_TICKS 4

struct agent {
    struct event_base *base;
    struct agent_options options;
    LIST_HEAD(member_list, agent_member) members;
    STAILQ_HEAD(task_list, agent_task) tasks;
    struct event turn, tick;
    unsigned tick_ms;
    int64_t ticked_us;
    uint64_t stalls;
};

struct agent_times agent_times_default(void)
{
    return (struct agent_times){.hello_ms = 1000, .trouble_ms = 500, .retry_ms = 10, .hung_ms = 5000};
}

/* ---- members ---- */

bool agent_enter(struct agent *a, struct agent_member *m)
{
    struct agent_member *other;

    for (other = LIST_FIRST(&a->members); other != NULL; other = LIST_NEXT(other, link))
        if (strcmp(other->key, m->key) == 0)
            return false;
    LIST_INSERT_HEAD(&a->members, m, link);
    return true;
}

void agent_leave(struct agent_member *m)
{
    LIST_REMOVE(m, link);
}

/* Members do not leave meanwhile: what a tick finds is told from a deferred task. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct agent *a = arg;
    int64_t now = clock_mono_us(), gap = now - a->ticked_us;
    bool late = gap > (int64_t)a->tick_ms * 1000 * LATE_TICKS;
    struct agent_member *m;

    (void)fd, (void)what;
    a->ticked_us = now;
    if (late) {
        a->stalls++;
        log_notice("The service was held up for %lld ms: silence of nodes is counted anew", (long long)gap / 1000);
    }
    for (m = LIST_FIRST(&a->members); m != NULL; m = LIST_NEXT(m, link))
        m->tick(m, now, late);
}

/* ---- tasks ---- */

static void run_tasks(struct agent *a)
{
    struct agent_task *t;

    while ((t = STAILQ_FIRST(&a->tasks)) != NULL) {
        STAILQ_REMOVE_HEAD(&a->tasks, link);
        t->run(t);
    }
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    run_tasks(arg);
}

void agent_defer(struct agent *a, struct agent_task *t)
{
    STAILQ_INSERT_TAIL(&a->tasks, t, link);
    event_active(&a->turn, EV_TIMEOUT, 0);
}

/* ---- the agent ---- */

int agent_new(struct event_base *base, const struct agent_options *options, struct agent **out)
{
    char *directory = realpath(options->directory, NULL), *server = NULL;
    struct timeval interval;
    struct agent *a;
    int rc = 0;

    *out = NULL;
    if (directory == NULL || (server = realpath(options->server, NULL)) == NULL || access(server, X_OK) != 0)
        rc = -errno;
    if (rc != 0) {
        free(directory);
        free(server);
        return rc;
    }
    a = mem_zalloc(sizeof *a);
    a->base = base;
    a->options = *options;
    a->options.directory = directory;
    a->options.server = server;
    LIST_INIT(&a->members);
    STAILQ_INIT(&a->tasks);
    a->tick_ms = options->times.hung_ms / TICKS_PER_HANG;
    if (a->tick_ms < TICK_MIN_MS)
        a->tick_ms = TICK_MIN_MS;
    interval = agent_timeval(a->tick_ms);
    a->ticked_us = clock_mono_us();
    event_assign(&a->turn, base, -1, 0, on_turn, a);
    event_assign(&a->tick, base, -1, EV_PERSIST, on_tick, a);
    event_add(&a->tick, &interval);
    *out = a;
    return 0;
}

void agent_free(struct agent *a)
{
    if (a == NULL)
        return;
    while (!LIST_EMPTY(&a->members)) {
        struct agent_member *m = LIST_FIRST(&a->members);
        m->leave(m);
    }
    run_tasks(a);
    event_del(&a->tick);
    event_del(&a->turn);
    free((char *)a->options.directory);
    free((char *)a->options.server);
    mem_free(a);
}

uint64_t agent_stalls(const struct agent *a)
{
    return a->stalls;
}

struct event_base *agent_base(const struct agent *a)
{
    return a->base;
}

const struct agent_options *agent_options_of(const struct agent *a)
{
    return &a->options;
}
