/*
 * Endpoints: listening sockets that move. The agent opens one, keeps it, and gives it to the node that is to serve it; what
 * connects while no node has it waits in its queue, and is served by the next. So no connection is lost when the primary
 * changes, and none when the service restarts: the nodes have the sockets, and hand them back.
 *
 * A primary's endpoint, and a node's own address, is one socket. A reader endpoint is one socket per replica on one address
 * (is_shared), among which the kernel spreads what connects; each has a queue of its own. A socket of these that nobody
 * serves swallows its share: when its replica leaves, it must at once be given to another node (under another name), or
 * closed, by endpoint_free as well as by the node, which loses what waits in it.
 *
 * Who has which endpoint is not remembered here, for that would have to be kept true when nodes die: whoever decides it
 * knows, and LARDER LISTENERS tells.
 */
#ifndef CONTROL_AGENT_ENDPOINT_H
#define CONTROL_AGENT_ENDPOINT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENDPOINT_ERROR_MAX 512
#define ENDPOINT_TIMEOUT_MS 5000 /* for a node to take or leave one */

struct endpoint;
struct node;

/* Listens at an IPv4 address ("127.64.0.10"), from now on; port 0 takes a free one. Returns 0; or a negative errno value with
 * a line for people in `error`, which names who is in the way if that can be found out, and *out NULL: -EINVAL for what is
 * no address, -EADDRINUSE, -EADDRNOTAVAIL, -EACCES ... Looking for who is in the way takes some 10 ms. */
int endpoint_open(const char *address, uint16_t port, bool is_shared, struct endpoint **out,
                  char error[ENDPOINT_ERROR_MAX]);

/* Closes our descriptor: a node that has the endpoint serves it on. Accepts NULL. */
void endpoint_free(struct endpoint *e);

const char *endpoint_address(const struct endpoint *e);
uint16_t endpoint_port(const struct endpoint *e);
bool endpoint_is_shared(const struct endpoint *e);

/* Tells how it went, from the loop; error is NULL when it is done, else a line for people that lives as long as the call.
 * What failed in time may still have been done. */
typedef void endpoint_done_fn(void *arg, const char *error);

/* Has a node serve the endpoint under a name: 1 to 31 lower-case letters, digits and hyphens. One that has the name already
 * makes way, unless it is this one. done may be NULL. Returns 0, or as node_command with done not called. */
int endpoint_give(struct endpoint *e, struct node *n, const char *name, endpoint_done_fn *done, void *arg);

/* Has a node leave what it serves under that name; when that is done it accepts nobody from it any more. closes: it closes
 * all connections, too, that ever came that way. A node that has no such name has left it: no error. */
int endpoint_take(struct node *n, const char *name, bool closes, endpoint_done_fn *done, void *arg);

/* What a node serves that was given to it. */
struct endpoint_served {
    const char *name;
    const char *address; /* "127.64.0.10:6379" */
    int64_t accepted;    /* connections */
};

/* Tells all of it, from the loop; nothing, when there is an error. Everything lives as long as the call. */
typedef void endpoint_list_fn(void *arg, const struct endpoint_served *list, size_t count, const char *error);

/* Asks a node what it serves. Returns 0, or as node_command with done not called. */
int endpoint_list(struct node *n, endpoint_list_fn *done, void *arg);

/* Tells what was found. The endpoint is the callee's, and NULL when there is none: error says why. With an endpoint and an
 * error, the node has handed it back, but does not serve it any more. */
typedef void endpoint_regained_fn(void *arg, struct endpoint *e, const char *error);

/* After the service was restarted: has a node hand back what it serves under that name, and gives it back to it at once. There
 * is no time limit but the node's life: an answer that nobody waited for would take the socket with it. */
int endpoint_regain(struct node *n, const char *name, endpoint_regained_fn *done, void *arg);

#endif
