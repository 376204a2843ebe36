/*
 * One member of a shard at run time: the process behind a cache cluster, what is known of it, and what it was told.
 *
 * One thing at a time is asked of a node: `busy` until it has answered and said hello again, so that whoever decides sees
 * the node as it is after the last change. What fails is tried again half a second later.
 */
#ifndef CONTROL_RECONCILE_MEMBER_H
#define CONTROL_RECONCILE_MEMBER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/view.h"
#include "control/agent/endpoint.h"
#include "control/agent/node.h"

struct cache_cluster;
struct member;
struct runtime;

#define MEMBER_ID_MAX 64
#define MEMBER_STOP_MS 60000 /* for a node to save and end */

enum member_life {
    MEMBER_DOWN,     /* no process */
    MEMBER_STARTING, /* not ready yet */
    MEMBER_UP,
    MEMBER_STOPPING, /* told to end */
};

struct member {
    TAILQ_ENTRY(member) link;
    struct runtime *runtime; /* its shard's */
    char id[MEMBER_ID_MAX];
    enum member_life life;
    struct node *node; /* NULL when down */
    struct node_state state;
    int64_t seen_us; /* monotonic: when the state was told */
    bool busy;
    int64_t retry_us;             /* nothing is asked before */
    int64_t start_us;             /* not started before */
    char failure[NODE_ERROR_MAX]; /* why the last start failed */
    unsigned failed_starts;       /* in a row */
    bool ask_failed;              /* the last asking */
    bool hung, adopted, killed;
    bool paused;                 /* its clients' writes wait: others get their data from it */
    bool leaving;                /* it is to go for good */
    bool reboots;                /* it was told to end for a reboot */
    char follows[MEMBER_ID_MAX]; /* the member that it was told to follow */
    struct endpoint *own, *reader;
    bool serves_own, serves_reader, serves_primary;
    bool regained;       /* after adoption: what it serves is known */
    bool met;            /* this service has seen its process, or that there is none */
    struct buf rules;    /* that it was given last */
    struct buf settings; /* that it was started with, or given last */
};

/* A member without a process. */
struct member *member_new(struct runtime *r, struct view id);

/* Lets go of the process, which lives on. Accepts NULL. */
void member_free(struct member *m);

/* Starts or adopts the process, with the settings of the cluster's record. */
void member_start(struct member *m, const struct cache_cluster *c, const char *secret);

/* May something be asked now? */
bool member_is_free(const struct member *m);

/* Asks for what words say, up to a NULL, and for a hello behind it. */
void member_ask(struct member *m, const char *const *words);

/* Asks for a hello only. */
void member_ask_hello(struct member *m);

/* Asks for several commands, one behind the other; separated by an empty word. */
void member_ask_all(struct member *m, const char *const *words);

/* An endpoint was given or taken: as an asking. */
void member_give(struct member *m, struct endpoint *e, const char *name, bool *serves);
void member_take(struct member *m, const char *name, bool closes, bool *serves);

/* After adoption: has the node hand back what it serves, and gives it back at once. */
void member_regain(struct member *m);

/* Tells the node the settings that differ from those that it has. Some wait for a restart: the record says so then. */
void member_set(struct member *m, const struct buf *wanted);

/* The settings that the record asks for, as text: "name value\n" lines. */
void member_settings(const struct member *m, const struct cache_cluster *c, struct buf *out);

#endif
