/*
 * The executor: takes parsed commands through checks, queueing (MULTI), locking, handlers and unlocking, on the
 * contract that locks are tried and never waited for. What cannot go on says why, and the caller runs it again.
 */
#ifndef EXEC_EXECUTOR_H
#define EXEC_EXECUTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/view.h"
#include "engine/log/effects.h"
#include "engine/cmd/session.h"
#include "engine/exec/gate.h"
#include "engine/exec/park.h"
#include "engine/store/db.h"

struct command;
struct lane;
struct reply;
struct server;
struct thread;

/*
 * The slow lane has queues with threads of their own, so that who waits never keeps away what it waits for: jobs
 * that came with their partitions wait for nobody; jobs that walk, or take partitions themselves, wait for those; and
 * who closes the gate waits for both.
 */
enum exec_lane { EXEC_LANE_HOLDING, EXEC_LANE_WAITING, EXEC_LANE_GATE, EXEC_LANES };

/* What all executors share. */
struct exec_shared {
    struct server *server;
    struct gate gate;
    struct park park;
    struct lane *lanes[EXEC_LANES];
    /* A job of that connection is over; must only post a message. */
    void (*lane_done)(void *arg, struct handle h);
    void *arg;
};

/* One per executing thread. */
struct executor {
    struct exec_shared *shared;
    struct thread *thread;
    struct arena arena;            /* emptied by the caller between batches */
    struct effects effects;        /* of what runs now, until they are in the log */
    struct view verbatim;          /* what is replayed, and stands in our log as it came; else empty */
    struct command_tally *tallies; /* the thread's, by command id; set by exec_begin */
    uint64_t since;                /* clock_ticks at which the command that runs, or runs next, began */
    bool is_lane;
};

/* What the executor knows of a connection. Owned by its worker; by the slow lane while a job runs. */
struct exec_client {
    struct session session;
    struct reply *reply;
    struct handle handle;
    struct exec_job *job; /* in the slow lane, or about to go there */
    bool held;            /* the job ended without running it, since CLIENT PAUSE holds it: run it again later */
    unsigned failures;    /* times in a row that its command found a partition taken */

    /* Of who replays a log, else NULL: is it still to be followed? Asked inside the gate, in which that cannot change. */
    bool (*follows)(void *arg);
    void *follows_arg;
};

enum exec_status {
    EXEC_DONE,   /* replied */
    EXEC_PARKED, /* will be woken when a partition is free: run it again then */
    EXEC_AGAIN,  /* run it again at once */
    EXEC_WAITS,  /* its session waits (call_wait): run it again when that may be over */
    EXEC_HELD,   /* the gate is closed, or CLIENT PAUSE holds it: run it again later */
    EXEC_LANE,   /* call exec_submit; the connection is left alone until lane_done */
};

enum request_flaw {
    REQUEST_BAD_ARITY = 1,
    REQUEST_BAD_KEYS = 2,   /* its arguments do not say which its keys are */
    REQUEST_KEYS_LATER = 4, /* too many keys for a worker to hash: the slow lane does */
};

/* A command before it runs. It is not copied: `keys` may refer to `only_key`. */
struct exec_request {
    const struct command *command; /* NULL: unknown, or without its subcommand */
    const struct command *container;
    struct view *argv;
    struct key *keys;
    int argc;
    unsigned key_count;
    uint8_t flaws;       /* enum request_flaw */
    const char *raw;     /* where the request begins, when it came as an array; else NULL */
    struct key only_key; /* of a command with one key; several are in the arena */
};

/* Looks the command up and hashes its keys. No lock, no gate. */
void exec_prepare(struct executor *ex, struct view *argv, int argc, struct exec_request *out);

/* Prefetches what a batch of n requests will touch. The caller has entered the gate, so that no table goes meanwhile. */
void exec_prefetch(struct executor *ex, const struct exec_client *client, const struct exec_request *requests,
                   unsigned n);

/* Starts the clock by which commands are timed: from here, then each from the end of the one before. */
void exec_begin(struct executor *ex);

/* Runs the command. The caller has entered the gate. */
enum exec_status exec_run(struct executor *ex, struct exec_client *client, struct exec_request *r);

/* Sends the client's job to the slow lane. The connection's input must stay where it is until that is done. */
void exec_submit(struct executor *ex, struct exec_client *client);

/* Between the steps of long work, holding nothing: leaves the gate and enters it again if somebody waits to close it,
 * and rests now and then, so that a worker on the same core is not held up for longer than a step. */
void exec_let_in(struct exec_shared *sh, struct thread *t);

/* Runs n commands out of a log, one after the other, on this thread, which may wait. `client` is in no transaction, but
 * for one request alone that is its EXEC. verbatim: the lengths[i] bytes at each request's `raw` go into our own log, with
 * its effects. None of them is run once the client does not follow that log any more. Outside the gate. */
void exec_replay(struct executor *ex, struct exec_client *client, struct exec_request *requests, const size_t *lengths,
                 unsigned n, bool verbatim);

/* Runs the command to its end on this thread, waiting where it must: the admin socket's thread, and the slow lane. */
void exec_run_waiting(struct executor *ex, struct exec_client *client, struct exec_request *r);

#endif
