/*
 * See node.h. A node has two channels to the same socket. The node answers some commands whatever it does (node.h names
 * them), the others it takes one after the other, and on a connection whose command waits it reads nothing more. Hello must
 * not wait behind such a command, or a node that saves would look as if it hung.
 *
 * Silence is counted from the first hello that was not answered, or from the first attempt to reach the socket, and begins
 * anew when the agent itself was late, or had no descriptor left to knock with. It is judged in the agent's tick alone.
 *
 * Events, and death, come from the loop. A node that was freed lives on as a husk to the end of the turn, deaf to all.
 */
#include "control/agent/node.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/agent/node_log.h"

#define ID_MAX 60
#define DIRECTORY_MAX 512
#define CONFIG_TEMP "temp-" NODE_CONFIG_FILE
#define INSIST_MS 1000 /* a node that cannot save refuses to end, and has to be told again */

enum { PROMPT, PATIENT, CHANNELS };

struct node {
    struct agent_member member;
    struct agent_task farewell, verdict;
    struct agent *agent;
    char *id, *path; /* of the directory */
    int directory;
    struct process process;
    struct event death, patience, hello;
    bool has_events;
    struct command_channel *channels[CHANNELS];
    node_event_fn *fn;
    void *arg;
    bool was_adopted, is_ready, is_hung, is_ending, is_over, is_freed, has_verdict;
    bool hello_is_out;
    int64_t silent_since_us; /* monotonic; 0: it is not */
    int64_t stop_limit_us;   /* monotonic: when one that was told to end is killed */
    off_t log_start;         /* where this process's lines begin */
    char *flaw;              /* why it is being killed, other than that somebody wanted it */
    struct node_state state;
};

static struct node *node_of(struct agent_member *m)
{
    return AGENT_OUTER(m, struct node, member);
}

/* ---- events ---- */

static void tell(struct node *n, struct node_event e)
{
    if (!n->is_freed)
        n->fn(n->arg, n, &e);
}

/* The end of all events: closes what there is of the process. */
static void end(struct node *n, const char *reason)
{
    n->is_over = true;
    n->is_ready = n->is_hung = false;
    if (n->has_events) {
        event_del(&n->death);
        event_del(&n->patience);
        event_del(&n->hello);
    }
    n->has_events = false;
    for (unsigned i = 0; i < CHANNELS; i++) {
        command_channel_free(n->channels[i], reason);
        n->channels[i] = NULL;
    }
    process_close(&n->process);
}

static void fail(struct node *n, const char *text)
{
    log_warning("Node %s failed: %s", n->id, text);
    end(n, "the node failed");
    tell(n, (struct node_event){.what = NODE_FAILED, .text = text, .was_adopted = n->was_adopted});
}

static void on_death(evutil_socket_t fd, short what, void *arg)
{
    struct node *n = arg;
    struct process_end how = process_reap(&n->process);
    char text[NODE_ERROR_MAX], lines[NODE_ERROR_MAX - 128];
    pid_t pid = n->process.pid;
    bool was_expected = n->is_ready || n->is_ending;

    (void)fd, (void)what;
    if (n->flaw != NULL) {
        fail(n, n->flaw);
        return;
    }
    process_describe_end(&how, text, sizeof text);
    if (!was_expected && node_log_tail(n->directory, n->log_start, lines, sizeof lines) > 0)
        snprintf(text + strlen(text), sizeof text - strlen(text), ": %s", lines);
    if (!was_expected) {
        fail(n, text);
        return;
    }
    log_notice("Node %s (process %d) %s", n->id, (int)pid, text);
    end(n, "the node is dead");
    tell(n, (struct node_event){.what = NODE_DIED, .end = how, .text = text});
}

/* ---- hello ---- */

static bool is_in_trouble(const struct node *n)
{
    const struct node_state *s = &n->state;

    return !n->is_ready || n->is_hung || s->is_loading || (s->role == NODE_REPLICA && s->link != NODE_LINK_UP);
}

static void plan_hello(struct node *n)
{
    const struct agent_times *times = &agent_options_of(n->agent)->times;
    struct timeval pause = agent_timeval(is_in_trouble(n) ? times->trouble_ms : times->hello_ms);

    event_add(&n->hello, &pause);
}

static void on_state(struct node *n)
{
    bool was_ready = n->is_ready;

    if (n->is_hung)
        log_notice("Node %s answers again", n->id);
    n->is_ready = true;
    n->is_hung = false;
    plan_hello(n);
    node_log_trim(n->directory);
    if (!was_ready)
        log_notice("Node %s is %s: process %d, version %s", n->id, n->was_adopted ? "adopted" : "ready",
                   (int)n->process.pid, n->state.version);
    tell(n, (struct node_event){
                .what = was_ready ? NODE_STATE : NODE_READY, .state = &n->state, .was_adopted = n->was_adopted});
}

/* It says that it is somebody else, or nothing that can be understood. One that we started is killed: nobody else would
 * ever do it. */
static void refuse(struct node *n, const char *flaw)
{
    char text[NODE_ERROR_MAX];

    snprintf(text, sizeof text, "process %d, which has the directory %s, says no proper hello: %s", (int)n->process.pid,
             n->path, flaw);
    if (n->was_adopted) {
        fail(n, text);
        return;
    }
    n->flaw = mem_strndup(text, strlen(text));
    process_signal(&n->process, SIGKILL);
}

static void on_hello(void *arg, const struct redisReply *reply, int fd, const char *error)
{
    struct node *n = arg;
    struct node_state state;
    const char *flaw = error;

    (void)fd;
    if (n->is_freed || n->is_over || n->flaw != NULL)
        return;
    n->hello_is_out = false;
    if (reply == NULL)
        return; /* the connection broke: the next one begins with a hello */
    if (flaw == NULL)
        flaw = hello_parse(reply, &state);
    if (flaw == NULL && strcmp(state.node_id, n->id) != 0)
        flaw = "it is another node";
    if (flaw != NULL) {
        refuse(n, flaw);
        return;
    }
    n->silent_since_us = 0;
    n->state = state;
    on_state(n);
}

static void send_hello(struct node *n)
{
    const struct view words[] = {VIEW("LARDER"), VIEW("HELLO")};
    const struct command c = {.argc = 2, .argv = words, .descriptor = -1};

    if (n->hello_is_out)
        return;
    if (n->silent_since_us == 0)
        n->silent_since_us = clock_mono_us();
    n->hello_is_out = command_channel_send(n->channels[PROMPT], &c, on_hello, n) == 0;
    if (!n->hello_is_out)
        plan_hello(n); /* too many others are outstanding */
}

static void on_hello_due(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    send_hello(arg);
}

static void on_up(void *arg)
{
    send_hello(arg);
}

/* ---- judging ---- */

static void pronounce(struct agent_task *t)
{
    struct node *n = AGENT_OUTER(t, struct node, verdict);
    char text[NODE_ERROR_MAX];

    n->has_verdict = false;
    if (n->is_freed || n->is_over || n->is_hung || n->silent_since_us == 0)
        return;
    n->is_hung = true;
    snprintf(text, sizeof text, "process %d has not answered for %u ms", (int)n->process.pid,
             agent_options_of(n->agent)->times.hung_ms);
    log_warning("Node %s hangs: %s", n->id, text);
    tell(n, (struct node_event){.what = NODE_HUNG, .text = text});
}

static void on_tick(struct agent_member *m, int64_t now_us, bool was_late)
{
    struct node *n = node_of(m);

    if (n->silent_since_us == 0 || n->is_hung || n->is_over || n->has_verdict)
        return;
    if (was_late || command_channel_is_starved(n->channels[PROMPT]))
        n->silent_since_us = now_us;
    if (now_us - n->silent_since_us < (int64_t)agent_options_of(n->agent)->times.hung_ms * 1000)
        return;
    n->has_verdict = true;
    agent_defer(n->agent, &n->verdict);
}

/* ---- ending it ---- */

static void on_patience(evutil_socket_t fd, short what, void *arg)
{
    const struct timeval again = agent_timeval(INSIST_MS);
    struct node *n = arg;

    (void)fd, (void)what;
    if (clock_mono_us() < n->stop_limit_us) {
        process_signal(&n->process, SIGTERM);
        event_add(&n->patience, &again);
        return;
    }
    log_warning("Node %s does not end: it is killed", n->id);
    process_signal(&n->process, SIGKILL);
}

int node_kill(struct node *n)
{
    if (n->is_over)
        return -ESRCH;
    n->is_ending = true;
    return process_signal(&n->process, SIGKILL);
}

int node_stop(struct node *n, unsigned limit_ms)
{
    const struct timeval first = agent_timeval(limit_ms < INSIST_MS ? limit_ms : INSIST_MS);

    if (n->is_over)
        return -ESRCH;
    n->is_ending = true;
    n->stop_limit_us = clock_mono_us() + (int64_t)limit_ms * 1000;
    event_add(&n->patience, &first);
    return process_signal(&n->process, SIGTERM);
}

/* ---- beginning ---- */

static bool is_id(const char *id)
{
    size_t n = strlen(id);

    return n > 0 && n <= ID_MAX && strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == n &&
           id[0] != '-';
}

/* Relative, and below. */
static bool is_inside(const char *path)
{
    const char *part = path;

    if (*path == '\0' || *path == '/' || strlen(path) > DIRECTORY_MAX)
        return false;
    for (;;) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (n == 2 && memcmp(part, "..", 2) == 0) || (n == 1 && *part == '.'))
            return false;
        if (part[n] == '\0')
            return true;
        part += n + 1;
    }
}

static int open_directory(struct node *n)
{
    if (mkdir(n->path, 0700) != 0 && errno != EEXIST)
        return -errno;
    n->directory = open(n->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return n->directory < 0 || fchmod(n->directory, 0700) != 0 ? -errno : 0;
}

/* Over a temporary file that nobody else could have opened before. */
static int write_config(const struct node *n, struct view text)
{
    int fd, rc;

    unlinkat(n->directory, CONFIG_TEMP, 0);
    fd = openat(n->directory, CONFIG_TEMP, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    rc = file_write(fd, text.p, text.n);
    file_close(fd);
    if (rc == 0 && renameat(n->directory, CONFIG_TEMP, n->directory, NODE_CONFIG_FILE) != 0)
        rc = -errno;
    return rc;
}

/* The id is among the arguments so that people can tell one node's process from another's. */
static int spawn(struct node *n, const struct node_spec *spec)
{
    const struct agent_options *o = agent_options_of(n->agent);
    char *const argv[] = {(char *)"larder-server", (char *)NODE_CONFIG_FILE, (char *)"--node-id", n->id, NULL};
    struct process_options p = {.program = o->server,
                                .argv = argv,
                                .environment = spec->environment,
                                .directory = n->directory,
                                .oom_score_adj = o->oom_score_adj};
    int rc = node_log_open(n->directory, &p.output, &n->log_start);

    if (rc != 0)
        return rc;
    rc = process_start(&p, &n->process);
    file_close(p.output);
    return rc;
}

static int find_or_spawn(struct node *n, const struct node_spec *spec, char error[NODE_ERROR_MAX])
{
    struct buf text = {0};
    const char *wrong, *what = "its lock cannot be looked at";
    int rc = process_find_holder(n->directory, NODE_LOCK_FILE, &n->process);

    if (rc == 0) {
        n->was_adopted = true;
        n->log_start = node_log_size(n->directory);
        return 0;
    }
    if (rc == -ESRCH) {
        what = "its configuration cannot be written";
        rc = node_config_write(&spec->config, n->id, &text, &wrong);
        if (rc != 0)
            snprintf(error, NODE_ERROR_MAX, "Node %s: its setting '%s' is wrong", n->id, wrong);
        else if ((rc = write_config(n, buf_view(&text))) == 0 && (rc = spawn(n, spec)) != 0)
            what = "its process cannot be started";
        explicit_bzero(buf_head(&text), buf_live(&text));
        buf_free(&text);
    }
    if (rc != 0 && error[0] == '\0')
        snprintf(error, NODE_ERROR_MAX, "Node %s: %s: %s", n->id, what, strerror(-rc));
    return rc;
}

/* There is a process: from now on there are events. */
static void watch(struct node *n)
{
    struct event_base *base = agent_base(n->agent);

    event_assign(&n->death, base, n->process.fd, EV_READ, on_death, n);
    event_assign(&n->patience, base, -1, 0, on_patience, n);
    event_assign(&n->hello, base, -1, 0, on_hello_due, n);
    event_add(&n->death, NULL);
    n->has_events = true;
    for (unsigned i = 0; i < CHANNELS; i++)
        n->channels[i] = command_channel_new(n->agent, n->directory, NODE_ADMIN_SOCKET, n->process.pid,
                                             i == PROMPT ? on_up : NULL, n);
    n->silent_since_us = clock_mono_us();
    log_notice("Node %s: process %d %s", n->id, (int)n->process.pid, n->was_adopted ? "was found" : "was started");
}

static void bury(struct agent_task *t)
{
    struct node *n = AGENT_OUTER(t, struct node, farewell);

    file_close(n->directory);
    mem_free(n->id);
    mem_free(n->path);
    mem_free(n->flaw);
    mem_free(n);
}

void node_free(struct node *n)
{
    if (n == NULL)
        return;
    assert(!n->is_freed);
    n->is_freed = true;
    end(n, "the service has let go of the node");
    agent_leave(&n->member);
    n->farewell.run = bury;
    agent_defer(n->agent, &n->farewell);
}

static void on_leave(struct agent_member *m)
{
    node_free(node_of(m));
}

int node_start(struct agent *a, const struct node_spec *spec, node_event_fn *fn, void *arg, struct node **out,
               char error[NODE_ERROR_MAX])
{
    char path[PATH_MAX];
    struct node *n;
    int rc;

    *out = NULL;
    error[0] = '\0';
    if (!is_id(spec->id) || !is_inside(spec->directory) ||
        snprintf(path, sizeof path, "%s/%s", agent_options_of(a)->directory, spec->directory) >= (int)sizeof path) {
        snprintf(error, NODE_ERROR_MAX, "That cannot be a node's name or directory");
        return -EINVAL;
    }
    n = mem_zalloc(sizeof *n);
    n->agent = a;
    n->id = mem_strndup(spec->id, strlen(spec->id));
    n->path = mem_strndup(path, strlen(path));
    n->directory = -1;
    n->process = PROCESS_NONE;
    n->fn = fn;
    n->arg = arg;
    n->verdict.run = pronounce;
    n->member = (struct agent_member){.key = n->path, .tick = on_tick, .leave = on_leave};
    if (!agent_enter(a, &n->member)) {
        snprintf(error, NODE_ERROR_MAX, "Node %s: there is a node in %s already", n->id, n->path);
        bury(&n->farewell);
        return -EEXIST;
    }
    rc = open_directory(n);
    if (rc != 0)
        snprintf(error, NODE_ERROR_MAX, "Node %s: the directory %s cannot be had: %s", n->id, n->path, strerror(-rc));
    else
        rc = find_or_spawn(n, spec, error);
    if (rc != 0) {
        agent_leave(&n->member);
        bury(&n->farewell);
        return rc;
    }
    watch(n);
    *out = n;
    return 0;
}

/* ---- commands ---- */

/* Those of LARDER that the node answers whatever it does. */
static bool is_prompt(const struct command *c)
{
    return c->argc >= 2 && view_is(c->argv[0], "LARDER") && !view_is(c->argv[1], "GRANT") &&
           !view_is(c->argv[1], "REVOKE");
}

int node_command(struct node *n, const struct command *c, command_reply_fn *fn, void *arg)
{
    if (n->is_over)
        return -ESRCH;
    if (!n->is_ready)
        return -ENOTCONN;
    return command_channel_send(n->channels[is_prompt(c) ? PROMPT : PATIENT], c, fn, arg);
}

int node_command_words(struct node *n, unsigned timeout_ms, command_reply_fn *fn, void *arg, const char *const *words)
{
    struct view views[NODE_WORDS_MAX];
    struct command c = {.argv = views, .timeout_ms = timeout_ms, .descriptor = -1};

    for (; words[c.argc] != NULL; c.argc++) {
        assert(c.argc < NODE_WORDS_MAX);
        views[c.argc] = view_str(words[c.argc]);
    }
    return node_command(n, &c, fn, arg);
}

/* ---- looking at it ---- */

const char *node_id(const struct node *n)
{
    return n->id;
}

struct agent *node_agent(const struct node *n)
{
    return n->agent;
}

pid_t node_pid(const struct node *n)
{
    return n->process.pid;
}

bool node_is_ready(const struct node *n)
{
    return n->is_ready;
}

bool node_is_hung(const struct node *n)
{
    return n->is_hung;
}

const struct node_state *node_last_state(const struct node *n)
{
    return &n->state;
}
