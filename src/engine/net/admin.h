/* The admin socket: a unix socket of mode 0600 served by a thread of its own, which waits where others would park, and
 * which no limit, allow-list, password or pause applies to. */
#ifndef NET_ADMIN_H
#define NET_ADMIN_H

#include "engine/exec/executor.h"

struct admin;

/* Opens the socket and starts the thread; NULL and a message on failure. */
struct admin *admin_start(const char *path, struct exec_shared *shared, struct thread *thread, char *err,
                          size_t err_size);

/* Ends the thread and removes the socket. Accepts NULL. */
void admin_stop(struct admin *a);

#endif
