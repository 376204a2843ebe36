/* The program's log: one line a message, to standard output or to a file, written with one write(2). */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

/* Not LOG_DEBUG and so on: <syslog.h> defines those as other numbers. */
enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_VERBOSE, LOG_LEVEL_NOTICE, LOG_LEVEL_WARNING, LOG_LEVEL_NOTHING };

/* Where messages go: a file's path (opened for appending, created 0644), or "" for standard output. Returns 0, or an
 * errno value with the old target kept. */
int log_open(const char *path);

/* Messages below this level are dropped. Any thread, any time. */
void log_set_level(enum log_level level);

/* Also send messages to syslog under this name; NULL stops it. */
void log_set_syslog(const char *ident, int facility);

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_verbose(...) log_write(LOG_LEVEL_VERBOSE, __VA_ARGS__)
#define log_notice(...) log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)

#endif
