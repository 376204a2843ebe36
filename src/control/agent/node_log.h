/*
 * A node's log: what its process writes to standard output and error, in its directory. It is a file that is only appended
 * to, so that the process can write on when this service is gone. It is kept from growing without end by whoever watches
 * the node.
 */
#ifndef CONTROL_AGENT_NODE_LOG_H
#define CONTROL_AGENT_NODE_LOG_H

#include <stddef.h>
#include <sys/types.h>

#define NODE_LOG_FILE "node.log"
#define NODE_LOG_OLD "node.log.1"
#define NODE_LOG_MAX (4 << 20) /* bytes from which on it begins anew, the old ones being kept once */

/* Opens it for appending, with mode 0600. Returns 0 with the descriptor, the caller's, and the place where new lines will
 * begin; or a negative errno value. */
int node_log_open(int directory, int *fd, off_t *start);

/* Moves what is in it to the old log when it has become too long, as when it is opened. Its writer need not know: it appends.
 * A line that is written just then may be lost. Takes some milliseconds, seldom. When there is no room for the old log, there
 * will be none. */
void node_log_trim(int directory);

/* Bytes in it; 0 when there is none. */
off_t node_log_size(int directory);

/* The last lines from that place on, without process, time and mark, in one line for people. Returns its length. */
size_t node_log_tail(int directory, off_t start, char *out, size_t size);

#endif
