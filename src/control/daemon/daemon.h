/* The service as a whole: opens the state, wires the parts together, and runs the loop. */
#ifndef CONTROL_DAEMON_DAEMON_H
#define CONTROL_DAEMON_DAEMON_H

#include "control/daemon/options.h"

#define DAEMON_VERSION "0.1.0"

/* Runs until a signal ends it. Returns the process's exit status: 0 after an orderly end, else 1, with the reason on
 * standard error. */
int daemon_run(const struct options *o);

#endif
