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
#include "engine/cmd/session.h"
#include "engine/exec/gate.h"
#include "engine/exec/park.h"
#include "engine/store/db.h"

struct command;
struct lane;
struct reply;
struct server;
struct thread;

/* What all executors share. */
struct exec_shared {
    struct server *server;
    struct gate gate;
    struct park park;
    struct lane *lane;
    /* A job of that connection is over; must only post a message. */
    void (*lane_done)(void *arg, struct handle h);
    void *arg;
};

/* One per executing thread. */
struct executor {
    struct exec_shared *shared;
    struct thread *thread;
    struct arena arena; /* emptied by the caller between batches */
    bool is_lane;
};

/* What the executor knows of a connection. Owned by its worker; by the slow lane while a job runs. */
struct exec_client {
    struct session session;
    struct reply *reply;
    struct handle handle;
    struct exec_job *job; /* in the slow lane, or about to go there */
    unsigned failures;    /* times in a row that its command found a partition taken */
};

enum exec_status {
    EXEC_DONE,   /* replied */
    EXEC_PARKED, /* will be woken when a partition is free: run it again then */
    EXEC_AGAIN,  /* run it again at once */
    EXEC_HELD,   /* the gate is closed, or CLIENT PAUSE holds it: run it again later */
    EXEC_LANE,   /* call exec_submit; the connection is left alone until lane_done */
};

/* A command before it runs; lives in the arena. */
struct exec_request {
    const struct command *command; /* NULL: unknown, or without its subcommand */
    const struct command *container;
    struct view *argv;
    int argc;
    struct key *keys;
    unsigned key_count;
    bool bad_arity, bad_keys;
};

/* Looks the command up and hashes its keys. No lock, no gate. */
void exec_prepare(struct executor *ex, struct view *argv, int argc, struct exec_request *out);

/* Stages of prefetching for a batch: call the first for all, then the second, then the third. */
void exec_prefetch(struct executor *ex, const struct exec_client *client, const struct exec_request *r, int stage);

/* Runs the command. The caller has entered the gate. */
enum exec_status exec_run(struct executor *ex, struct exec_client *client, struct exec_request *r);

/* Sends the client's job to the slow lane. The argument bytes must stay where they are until it is done. */
void exec_submit(struct executor *ex, struct exec_client *client);

/* Runs the command to its end on this thread, waiting where it must: the admin socket's thread. */
void exec_run_waiting(struct executor *ex, struct exec_client *client, struct exec_request *r);

#endif
