/*
 * A channel to a node's admin socket: commands go out one behind the other over one connection, and their replies come
 * back in that order. A connection that breaks is made again, for as long as the channel lives.
 *
 * Each command has a fate, told exactly once: a reply, or why there is none. Without a reply nobody knows whether it was
 * carried out, unless it was never sent. A command whose time is over fails alone: those behind it wait on, and its reply,
 * should it still come, is thrown away.
 *
 * hiredis takes the replies apart; its connections are not used, as they can neither pass descriptors nor time out.
 */
#ifndef CONTROL_AGENT_COMMAND_H
#define CONTROL_AGENT_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/view.h"
#include "control/agent/agent.h"

#define COMMAND_OUTSTANDING_MAX 1024
#define COMMAND_REPLY_MAX (64u << 20) /* bytes of one reply */
#define COMMAND_PATH_MAX 64           /* of a socket, below its directory, with the NUL */

struct redisReply;
struct command_channel;

/* Tells a command's fate, from the loop. reply is NULL when there is none; it lives as long as the call. error is NULL when
 * the node answered and not with an error; else a line for people, which an error reply is, too. descriptor is what came
 * with the reply, or -1; whoever is called closes it. */
typedef void command_reply_fn(void *arg, const struct redisReply *reply, int descriptor, const char *error);

/* Says that a connection has been made. */
typedef void command_up_fn(void *arg);

struct command {
    size_t argc;
    const struct view *argv;
    unsigned timeout_ms;      /* 0: none but the channel's end */
    int descriptor;           /* to be sent along, and left to the caller; -1: none */
    bool receives_descriptor; /* with a reply that is no error */
};

/* A channel to the socket `path` in a directory, whose descriptor stays the caller's and open. peer: the process that must
 * be at the other end. up may be NULL. */
struct command_channel *command_channel_new(struct agent *a, int directory, const char *path, pid_t peer,
                                            command_up_fn *up, void *arg);

/* Did the last attempt to connect fail for want of something of our own, such as a descriptor? That says nothing about the
 * node. */
bool command_channel_is_starved(const struct command_channel *ch);

/* Closes; what is outstanding fails with that text at the end of the turn. Accepts NULL. */
void command_channel_free(struct command_channel *ch, const char *reason);

/* Sends a command, when there is a connection. Its texts are copied. fn may be NULL. Returns 0, or a negative errno value
 * with fn not called: -ENOBUFS when too many are outstanding, what dup(2) says of a descriptor. */
int command_channel_send(struct command_channel *ch, const struct command *c, command_reply_fn *fn, void *arg);

#endif
