/* Removing a node's directory. */
#ifndef CONTROL_RECONCILE_DIRECTORY_H
#define CONTROL_RECONCILE_DIRECTORY_H

/* Removes it with all that is in it; what cannot be removed is logged. None is no failure. */
void directory_remove(const char *path);

#endif
