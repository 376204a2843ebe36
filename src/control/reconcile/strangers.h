/*
 * Nodes that no record knows. A node is started while its record is on its way to the disk; when the service is killed in
 * between, the process is there and the record is not. The service that comes then ends such nodes, and removes their
 * directories.
 */
#ifndef CONTROL_RECONCILE_STRANGERS_H
#define CONTROL_RECONCILE_STRANGERS_H

struct event_base;
struct model;

struct strangers;

/* Looks for them at once, and again after some seconds: a process that was just started has no lock yet by which it is
 * found, so a directory without one is only removed then. directory: of the nodes. */
struct strangers *strangers_new(struct event_base *base, const struct model *m, const char *directory);

/* Accepts NULL. */
void strangers_free(struct strangers *s);

#endif
