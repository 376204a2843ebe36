/* The access log: a line for each answered or refused request. The file is capped: at ACCESS_LOG_MAX bytes it becomes
 * NAME.1, over the one before, and a new one begins. When the disk is full, lines are lost, and nothing else. */
#ifndef CONTROL_DAEMON_ACCESS_LOG_H
#define CONTROL_DAEMON_ACCESS_LOG_H

#define ACCESS_LOG_MAX (32 << 20)

struct access_log;
struct http_access;

/* Opens the file for appending, mode 0600. Returns 0 or a negative errno value. */
int access_log_open(const char *path, struct access_log **out);
void access_log_close(struct access_log *l);

/* "time peer method target status bytes microseconds", then "incomplete" if so, and the note of the exchange. An http_access_fn; arg is the log. */
void access_log_write(void *arg, const struct http_access *a);

#endif
