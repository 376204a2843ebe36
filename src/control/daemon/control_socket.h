/*
 * The socket that the operator's tools ask the service through: `control` in the state directory, mode 0600, for the
 * service's own user and root. A connection carries one request, a JSON object on one line, {"request": NAME, ...}, and one
 * answer of the same form, to which a file may be attached (SCM_RIGHTS); then it is closed. An answer with the member
 * "error" is a refusal.
 */
#ifndef CONTROL_DAEMON_CONTROL_SOCKET_H
#define CONTROL_DAEMON_CONTROL_SOCKET_H

#include <jansson.h>

#define CONTROL_SOCKET_NAME "control"
#define CONTROL_SOCKET_LINE_MAX 4096    /* bytes of a request */
#define CONTROL_SOCKET_CONNECTIONS 16   /* at a time; whoever comes then waits */
#define CONTROL_SOCKET_PATIENCE_MS 5000 /* for a request to be complete */

struct control_call;
struct control_socket;
struct event_base;

/* Gets each request, and has it answered with control_call_answer, at once or later. `request` lives as long as the call of
 * the handler. */
typedef void control_handler(void *arg, struct control_call *call, const json_t *request);

/* Listens in the directory, which is the caller's alone: a socket that lies there is one that nobody serves any more.
 * Returns 0 or a negative errno value. */
int control_socket_new(struct event_base *base, const char *directory, control_handler *handler, void *arg,
                       struct control_socket **out);

/* Answers and closes. The answer and the descriptor (-1: none) are taken. */
void control_call_answer(struct control_call *c, json_t *answer, int fd);

/* Answers {"error": TEXT}. */
void control_call_refuse(struct control_call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Closes everything and removes the socket; every call must have been answered. Accepts NULL. */
void control_socket_free(struct control_socket *s);

#endif
