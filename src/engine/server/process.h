/* The process as those who start and watch it see it: daemon, pid file, supervisor, processors. */
#ifndef SERVER_PROCESS_H
#define SERVER_PROCESS_H

struct config;

/* The parent leaves; the child goes on in a session of its own. 0, or -1 in the parent when there is no child. */
int process_daemonize(void);

/* Writes the pid; a failure is only logged. */
void process_write_pid(const char *path);

/* Tells the supervisor that asked to be told (sd_notify's protocol: a datagram to $NOTIFY_SOCKET). state: "READY=1\n" and
 * the like. */
void process_notify(const struct config *c, const char *state);

/* Processors that this process may use: its affinity, cut by the cgroup's quota (version 2); 1 to 64. */
unsigned process_processors(void);

#endif
