/*
 * The lock that says which process is a node: a POSIX write lock (fcntl) on a file of the node's directory. It ends with
 * the process, however that ends, and whoever asks the kernel is told the owner's pid: no file that names a process
 * which is gone, or whose number somebody else has got, can do both.
 *
 * Such a lock belongs to the process, is not inherited by fork, and goes when the process closes any descriptor of the
 * file: nobody else in it may open that file.
 */
#ifndef SERVER_NODE_LOCK_H
#define SERVER_NODE_LOCK_H

#include <sys/types.h>

/* Makes the file (mode 0600) if there is none, and takes the lock, which lasts as long as *fd stays open. Returns 0;
 * -EBUSY when another process has it, whose pid is then in *holder (0 when it let go of it just now); or another
 * negative errno value. */
int node_lock_take(const char *path, int *fd, pid_t *holder);

#endif
