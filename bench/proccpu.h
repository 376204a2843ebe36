/* CPU time of another process, as the kernel accounts it under /proc. */
#ifndef BENCH_PROCCPU_H
#define BENCH_PROCCPU_H

#include <stdint.h>
#include <sys/types.h>

struct proccpu {
    uint64_t run_ns;     /* time on a CPU, all living threads, exact */
    uint64_t user_ticks; /* user and system time in clock ticks; coarse, good for the split */
    uint64_t system_ticks;
};

struct proccpu_span {
    double total_us; /* exact */
    double user_us;  /* the exact total, split in the proportion of the ticks */
    double system_us;
};

/* Reads the process's counters. Returns 0, or -1 if it is not there. */
int proccpu_read(pid_t pid, struct proccpu *out);

/* What was used between two readings. */
struct proccpu_span proccpu_between(const struct proccpu *from, const struct proccpu *to);

#endif
