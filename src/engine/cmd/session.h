/*
 * What commands know of the connection that sent them. A session is owned by its connection's worker (or by the slow
 * lane while a command of it runs there); other threads see only its card (server/clients.h).
 */
#ifndef CMD_SESSION_H
#define CMD_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

struct card;
struct replica;
struct transaction;

enum session_reply_mode { SESSION_REPLY_ON, SESSION_REPLY_OFF, SESSION_REPLY_SKIP, SESSION_REPLY_SKIP_NEXT };

/* Descriptors that travel with the bytes of an admin connection. */
struct session_descriptors {
    int received; /* came with the command; who takes it puts -1 here, and what nobody took is closed. -1: none */
    int reply;    /* goes with the reply; -1: none */
    char reply_name[32]; /* the listener that it is */
};

struct session {
    struct card *card; /* what CLIENT LIST shows; holds id, names, addresses (server/clients.h) */
    uint32_t db;       /* selected database */
    uint8_t resp;      /* 2 or 3 */
    bool authenticated;
    bool replica_login;     /* logged in with replication-secret: it may do what a replica must, and nothing else */
    bool outsider;          /* its address may not connect: it may stay for that login alone */
    bool admin;             /* came over the admin socket: no gate, limit or pause applies */
    bool replays;           /* runs effects out of a log (a primary's stream, a file): nothing expires for it */
    bool local;             /* peer is loopback or a unix socket */
    bool no_touch;          /* CLIENT NO-TOUCH */
    bool no_evict;          /* CLIENT NO-EVICT */
    bool close_after_reply; /* QUIT, CLIENT KILL of oneself, protocol errors */
    uint8_t reply_mode;     /* enum session_reply_mode */
    uint8_t auth_failures;
    bool waiting;            /* its command has been begun, and is run again until it need not wait (call_wait) */
    int64_t wait_until_ms;   /* monotonic; 0: for ever */
    uint64_t wait_ticket;    /* what it waits for */
    uint64_t write_offset;   /* where in the log its last write ends */
    struct replica *replica; /* it introduced itself as a replica's (server/replication.h); else NULL */
    struct session_descriptors *descriptors; /* of an admin connection; else NULL */
    struct transaction *transaction;         /* MULTI and WATCH (cmd/transaction.h); NULL when neither was used */
};

#endif
