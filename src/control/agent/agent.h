/*
 * The agent: what it needs to run node processes (node.h), to talk to them (command.h) and to move their endpoints
 * (endpoint.h). It knows nothing of the API's model: it is told what to run.
 *
 * Everything happens on one libevent loop, on one thread, and nothing waits. Callbacks come from the loop alone, never
 * from inside a function that was called here; so a callback may call anything, and free what called it. What is freed
 * by such a call is forgotten at once, and its memory given back at the end of the turn.
 *
 * A tick tells whether the loop runs on time. A process that was itself stalled or stopped cannot say who was silent
 * meanwhile: after a late tick all members begin their waiting anew before any of them is judged.
 */
#ifndef CONTROL_AGENT_AGENT_H
#define CONTROL_AGENT_AGENT_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/time.h>

struct event_base;
struct agent;

struct agent_times {
    unsigned hello_ms;   /* between hellos */
    unsigned trouble_ms; /* ... while something is wrong with the node */
    unsigned retry_ms;   /* between attempts to reach an admin socket: these at first, ten times as long later */
    unsigned hung_ms;    /* silence after which a node hangs */
};

struct agent_options {
    const char *directory; /* exists; nodes' directories are below it */
    const char *server;    /* path of larder-server */
    int oom_score_adj;     /* of nodes, at least: a node is to be killed before the service is */
    struct agent_times times;
};

/* One second, 500 ms, 10 ms, 5 s. */
struct agent_times agent_times_default(void);

/* Texts are copied. base outlives the agent. Returns 0, or a negative errno value when the directory or the server is not
 * there, *out then being NULL. SIGCHLD must not be ignored, nor waited for by others; SIGPIPE must be. */
int agent_new(struct event_base *base, const struct agent_options *options, struct agent **out);

/* Lets go of all nodes, which live on, and closes what the agent has open. What is outstanding fails now: these callbacks,
 * and no others, come from inside. Accepts NULL. */
void agent_free(struct agent *a);

/* How often the loop was late. */
uint64_t agent_stalls(const struct agent *a);

/* ---- for the agent's own parts ---- */

struct agent_member {
    LIST_ENTRY(agent_member) link;
    const char *key;                                                     /* unique among members */
    void (*tick)(struct agent_member *m, int64_t now_us, bool was_late); /* the time is monotonic */
    void (*leave)(struct agent_member *m);                               /* the agent goes: must end the membership */
};

/* False when there is a member with that key. */
bool agent_enter(struct agent *a, struct agent_member *m);
void agent_leave(struct agent_member *m);

/* Something to do at the end of this turn, in the order in which it came; it may be freed by its own function. */
struct agent_task {
    STAILQ_ENTRY(agent_task) link;
    void (*run)(struct agent_task *t);
};
void agent_defer(struct agent *a, struct agent_task *t);

struct event_base *agent_base(const struct agent *a);
const struct agent_options *agent_options_of(const struct agent *a);

static inline struct timeval agent_timeval(unsigned ms)
{
    return (struct timeval){ms / 1000, (suseconds_t)(ms % 1000) * 1000};
}

/* What *t is in. */
#define AGENT_OUTER(t, type, field) ((type *)((char *)(t)-offsetof(type, field)))

#endif
