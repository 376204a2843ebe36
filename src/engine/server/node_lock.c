/* The node's lock: see node_lock.h. */
#include "engine/server/node_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int node_lock_take(const char *path, int *fd, pid_t *holder)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int rc;

    *holder = 0;
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0)
        return -errno;
    if (fcntl(*fd, F_SETLK, &whole) == 0)
        return 0;
    rc = errno == EACCES || errno == EAGAIN ? -EBUSY : -errno;
    if (rc == -EBUSY && fcntl(*fd, F_GETLK, &whole) == 0 && whole.l_type != F_UNLCK)
        *holder = whole.l_pid;
    close(*fd);
    *fd = -1;
    return rc;
}
