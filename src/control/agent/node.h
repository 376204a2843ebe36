/*
 * One node: a larder-server in a directory of its own, that lives longer than this service. node_start finds the process
 * that holds the directory's lock and adopts it, or starts one; which of the two happened, NODE_READY tells.
 *
 * In a node's directory are larder.conf (written before each start), lock, admin (the socket), node.log and what the server
 * saves. No secret is in an argument, in the environment or in a log.
 *
 * A node's life, as its events tell it: NODE_READY once, when it has said hello; NODE_STATE with every later hello;
 * NODE_HUNG when it has been silent for too long, once for each silence, which ends with a NODE_STATE, or, if there was none
 * before, with NODE_READY. At last NODE_DIED, which the kernel confirmed; or NODE_FAILED instead when it ended before it was
 * ready and nobody had asked for that, or when it is another process than it should be. After one of these two there is no
 * event any more, and all but node_free is refused.
 */
#ifndef CONTROL_AGENT_NODE_H
#define CONTROL_AGENT_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/agent/agent.h"
#include "control/agent/command.h"
#include "control/agent/hello.h"
#include "control/agent/node_config.h"
#include "control/agent/process.h"

#define NODE_ERROR_MAX 1024

struct node;

struct node_spec {
    const char *id;        /* "my-cache-001": 1 to 60 letters, digits and hyphens */
    const char *directory; /* relative to the agent's; its parent exists. No part of it is ".." */
    struct node_config config;
    const char *const
        *environment; /* NAME=VALUE, NULL-terminated: all that the process gets; NULL for none, since what is
                                       in the service's may be secret */
};

enum node_happening { NODE_READY, NODE_STATE, NODE_HUNG, NODE_DIED, NODE_FAILED };

struct node_event {
    enum node_happening what;
    const struct node_state *state; /* NODE_READY, NODE_STATE */
    bool was_adopted;               /* NODE_READY, NODE_FAILED: the process was there before, with the configuration of
                                       that time */
    struct process_end end;         /* NODE_DIED */
    const char *text;               /* NODE_HUNG, NODE_DIED, NODE_FAILED: for people */
};

/* *e lives as long as the call. The node may be freed in it. */
typedef void node_event_fn(void *arg, struct node *n, const struct node_event *e);

/* Starts or adopts a node. Everything is copied. Returns 0; or a negative errno value with a line for people in `error` and
 * *out NULL: -EEXIST when this agent has a node in that directory, -EINVAL for a specification that cannot be, or what the
 * system says. */
int node_start(struct agent *a, const struct node_spec *spec, node_event_fn *fn, void *arg, struct node **out,
               char error[NODE_ERROR_MAX]);

/* Lets go of a node; its process goes on, if it lives (and when it was started here and ends, stays a zombie until somebody
 * waits for it or the service ends). No event comes any more; commands that are outstanding fail at the
 * end of the turn. Accepts NULL. */
void node_free(struct node *n);

/* Kills at once (SIGKILL); NODE_DIED tells when it is dead. 0, or -ESRCH when it is already. */
int node_kill(struct node *n);

/* Has it end in an orderly way (SIGTERM: it saves), and kills it after so many milliseconds; otherwise as node_kill. */
int node_stop(struct node *n, unsigned limit_ms);

/* Sends a command to the node. As command_channel_send; -ESRCH when it is dead, -ENOTCONN before it was ready. Commands
 * are carried out in their order, but in two orders: LARDER HELLO, LISTEN, HANDBACK, UNLISTEN, LISTENERS and ALLOW wait for
 * nobody in the node, and do not wait here for others that may. */
int node_command(struct node *n, const struct command *c, command_reply_fn *fn, void *arg);

/* The same for words that are strings: at most NODE_WORDS_MAX, with a NULL behind them, as NODE_WORDS("PING") makes it. */
int node_command_words(struct node *n, unsigned timeout_ms, command_reply_fn *fn, void *arg, const char *const *words);

#define NODE_WORDS_MAX 16
#define NODE_WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

const char *node_id(const struct node *n);
struct agent *node_agent(const struct node *n);

/* 0 when it is dead. */
pid_t node_pid(const struct node *n);

/* Has it said hello, and does it live? */
bool node_is_ready(const struct node *n);
bool node_is_hung(const struct node *n);

/* The last hello; all zero before the first. */
const struct node_state *node_last_state(const struct node *n);

#endif
