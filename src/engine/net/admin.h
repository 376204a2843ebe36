/*
 * The admin socket: a unix socket of mode 0600 that no limit, allow-list, password or pause applies to. Two threads
 * serve it. One waits for nobody: it answers whatever the gate and the workers do, and that is how an agent tells a
 * hung server from a busy one. What may have to wait (for partitions, for the gate, for replicas, for a file) is run by
 * the other, one command after the other.
 *
 * Descriptors travel with commands and replies (SCM_RIGHTS): see cmd/session.h.
 */
#ifndef NET_ADMIN_H
#define NET_ADMIN_H

#include "engine/exec/executor.h"

struct admin;

/* Opens the socket and starts the threads, which run commands as `prompt` and `patient`; NULL and a message on
 * failure. */
struct admin *admin_start(const char *path, struct exec_shared *shared, struct thread *prompt, struct thread *patient,
                          char *err, size_t err_size);

/* Ends the threads and removes the socket. No command waits any more (server.ended). Accepts NULL. */
void admin_stop(struct admin *a);

#endif
