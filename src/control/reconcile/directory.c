/* Removing a node's directory: see directory.h. */
#include "control/reconcile/directory.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define OPEN_MAX_FTW 16 /* descriptors at a time */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

void directory_remove(const char *path)
{
    if (nftw(path, remove_one, OPEN_MAX_FTW, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0 && errno != ENOENT)
        log_warning("%s cannot be removed: %s", path, strerror(errno));
}
