/* One connection: buffers, parser state, session. Owned by its worker. */
#ifndef NET_CONN_H
#define NET_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "engine/exec/executor.h"
#include "engine/proto/resp.h"

enum conn_state {
    CONN_READY,  /* reads and runs */
    CONN_PARKED, /* its next command waits for a partition */
    CONN_HELD,   /* its next command waits for the gate, or for CLIENT PAUSE to end */
    CONN_WAITS,  /* its command waits for replicas, the disk, a snapshot */
    CONN_LANE,   /* the slow lane has its session and its writer */
    CONN_CLOSED, /* is freed at the end of the turn */
};

struct conn {
    struct conn *next_closed;
    struct listener *listener; /* through which it came; NULL on the admin socket */
    int fd;
    uint32_t slot;
    uint8_t state;    /* enum conn_state */
    bool closing;     /* close as soon as it is out of the slow lane */
    bool flushing;    /* close when everything is sent */
    bool peer_done;   /* the peer sends no more */
    bool later;       /* goes on in the next turn */
    bool stranger;    /* counts among the server's strangers */
    bool fed;         /* is in its worker's list of replicas */
    bool hands_off;   /* a replica's, to which the snapshots' thread writes: nothing is read or sent */
    bool blocked_out; /* the socket took less of the stream than there is */
    bool queued;      /* is among those that conn_progress looks at */
    bool wrote;       /* the batch that ran last stands in the log */
    bool single;      /* what is written to its output is one command's reply */
    bool withheld;    /* its replies wait until what they promise is safe: it runs nothing meanwhile */
    uint64_t withheld_offset;
    int64_t withheld_until_ms; /* monotonic; 0: for ever */
    uint8_t failures_seen;     /* failed logins that it has waited for */
    uint32_t events;           /* what epoll watches */
    size_t need;               /* input bytes before parsing is worth it */
    size_t lane_len;           /* input bytes of the command in the slow lane */
    size_t lane_mark;          /* where its reply starts in the writer */
    unsigned lane_shares;
    int64_t login_sent;    /* bytes sent before it logged in */
    int64_t accepted_ms;   /* monotonic */
    int64_t held_until_ms; /* monotonic, CONN_HELD: not tried before, after a failed login */
    int64_t soft_since_ms; /* over the soft output limit since; 0: not */
    struct buf in;
    struct resp_partial partial; /* of the request at the input's head */
    struct resp_writer out;
    struct exec_client client;
};

struct listener;
struct server;
struct worker;

/* Prepares a connection that is all zero, for whoever accepted fd. */
void conn_init(struct conn *c, struct server *s, int fd);

/* Events. Each may close and free the connection. */
void conn_readable(struct worker *w, struct conn *c);
void conn_writable(struct worker *w, struct conn *c);

/* Its slow-lane job is over. */
void conn_lane_done(struct worker *w, struct conn *c);

/* What it waited for may have come. */
void conn_resume(struct worker *w, struct conn *c);

/* Runs what is in its input buffer, until the turn is over. */
void conn_process(struct worker *w, struct conn *c);

/* Goes on with connections that the last turn left, one at least; true when there are still some. */
bool conn_go_on(struct worker *w);

/* Sends what is ready, and has epoll watch what is to be watched now. May close the connection. */
void conn_settle(struct worker *w, struct conn *c);

/* What replies or waiting commands wait for has come further, or a time is up: looks at those of this worker. */
void conn_progress(struct worker *w);

/* Closes it when too much output waits for too long. */
void conn_check(struct worker *w, struct conn *c);

/* Closes it, now or when it is out of the slow lane. All its memory stays until conn_bury, so that whoever is at work on
 * it further up need only look at its state before it sends or parses. */
void conn_close(struct worker *w, struct conn *c);

/* Frees what was closed: at the end of a turn, when nothing refers to it. */
void conn_bury(struct worker *w);

#endif
