/*
 * Node processes as the kernel knows them. A process is held by a pidfd: a number may be given to somebody else, a pidfd
 * stays with its process, becomes readable when that is dead, and works for children and for processes that were there
 * before. Who a directory's node is, a POSIX lock says: it ends with its owner, and the kernel names that.
 */
#ifndef CONTROL_AGENT_PROCESS_H
#define CONTROL_AGENT_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

struct process {
    pid_t pid; /* 0: none */
    int fd;    /* the pidfd; -1: none */
};

#define PROCESS_NONE ((struct process){0, -1})

/* How a process ended. Of one that was no child only the fact is known. */
struct process_end {
    bool is_known;
    int signal; /* that killed it, or 0 */
    int status; /* it exited with */
};

struct process_options {
    const char *program;            /* absolute path */
    char *const *argv;              /* NULL-terminated, with the name */
    const char *const *environment; /* NULL-terminated NAME=VALUE; NULL for none */
    int directory;                  /* descriptor of its working directory */
    int output;                     /* for standard output and error */
    int oom_score_adj;              /* at least that */
};

/* Starts a program in a session of its own, with /dev/null to read, no signal ignored or blocked, and no descriptor beside
 * the three. The calling thread sleeps until the program is loaded. Returns 0 or a negative errno value; *p is closed by
 * process_close. */
int process_start(const struct process_options *options, struct process *p);

/* Finds who has the POSIX write lock on that file. Returns 0 with *p, -ESRCH when there is none or no file, -EACCES when it
 * is somebody outside of this PID namespace, or another negative errno value. The caller must not itself have a lock on
 * the file: looking would end it. */
int process_find_holder(int directory, const char *file, struct process *p);

/* Returns 0, or a negative errno value: -ESRCH when it is dead. */
int process_signal(const struct process *p, int signal);

/* Called when the pidfd is readable: how did it end? Reaps a child. */
struct process_end process_reap(const struct process *p);

/* "was killed by signal 9 (Killed)", "ended with status 1", "ended". */
void process_describe_end(const struct process_end *end, char *out, size_t size);

/* Lets go; the process goes on, if it does. *p is PROCESS_NONE then. */
void process_close(struct process *p);

#endif
