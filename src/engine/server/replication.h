/*
 * What this server knows of its primary and of its replicas: identifiers, roles, who has acknowledged what. It moves no
 * bytes: replicas are fed by the workers that own their connections (net/feed.h), full synchronisations come from the
 * snapshots' thread (persist/persist.h), and a primary is followed by a thread of its own (repl/link.h).
 *
 * An offset counts the bytes of the stream; it is what oplog_head gives. A history is an id and the offsets under it. A
 * server that was promoted, or came back from a saved snapshot, begins a new one, and remembers the old one (`id2`) up
 * to the offset where they part, so that those who followed it can go on.
 */
#ifndef SERVER_REPLICATION_H
#define SERVER_REPLICATION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"
#include "engine/log/oplog.h"
#include "engine/store/thread.h"

struct server;

#define REPLICATION_ID 40
#define REPLICATION_NO_ID "0000000000000000000000000000000000000000"

enum replica_state {
    REPLICA_NEW,       /* has introduced itself, at most */
    REPLICA_WAITING,   /* for a snapshot to begin */
    REPLICA_RECEIVING, /* the snapshots' thread has its connection */
    REPLICA_LOADING,   /* it has the snapshot; the stream begins with its first ACK */
    REPLICA_ONLINE,
};

enum replica_capability { REPLICA_EOF = 1, REPLICA_PSYNC2 = 2 };

/* A replica of ours, or somebody who says so. Its connection has one reference, who writes a snapshot to it another. */
struct replica {
    struct replica *next;
    struct server *server;
    uint64_t id; /* of its connection, and where that is: as in its card */
    uint32_t worker;
    int fd; /* of its connection; while it is in the list, under the lock */
    char address[64];
    char announced[64]; /* REPLCONF ip-address, or "" */
    int64_t port;
    uint32_t capabilities; /* enum replica_capability */
    bool rdb_only;
    bool old_sync;       /* asked by SYNC, which has no answer but the snapshot */
    atomic_bool dropped; /* its worker is to close the connection */
    bool listed;         /* under the lock */
    atomic_bool gone;    /* its connection is closed */
    atomic_uint refs;
    atomic_uint state;                  /* enum replica_state */
    _Atomic uint64_t acked, acked_file; /* offsets that it has, and that its append-only file has */
    _Atomic int64_t acked_ms;           /* monotonic: its last sign of life */
    struct oplog_reader reader;         /* attached from the cut, or the partial resynchronisation, on */
    atomic_bool attached;
    uint64_t sent; /* its worker's: the offset up to which its socket has taken the stream */
};

/* The link to our primary, as others see it. */
enum link_state {
    LINK_NONE,
    LINK_CONNECT, /* to be tried */
    LINK_CONNECTING,
    LINK_HANDSHAKE,
    LINK_TRANSFER,
    LINK_CONNECTED,
};

enum failover_state { FAILOVER_NONE, FAILOVER_WAITING, FAILOVER_IN_PROGRESS, FAILOVER_ABORTING };

struct replication {
    struct server *server;
    pthread_mutex_t lock; /* the list, ids, the primary's name, waiters */
    char id[REPLICATION_ID + 1], id2[REPLICATION_ID + 1];
    uint64_t id2_end; /* id2 holds up to this offset; UINT64_MAX: there is none */
    struct replica *replicas;
    atomic_uint count; /* changes under the lock */
    atomic_uint online;
    atomic_uint good;                /* online ones that were heard of within min-replicas-max-lag */
    _Atomic int64_t nobody_since_ms; /* monotonic: there were no replicas; -1: there are */
    int64_t pinged_ms;
    atomic_bool want_acks; /* somebody waits: replicas are to be asked how far they are */

    /* as a replica; the strings change under the lock */
    char *host;
    int64_t port;
    uint64_t primary_epoch;                /* changes with host and port */
    atomic_uint link;                      /* enum link_state */
    _Atomic int64_t link_down_ms;          /* monotonic: since when; 0 while it is up */
    _Atomic int64_t heard_ms;              /* monotonic: when the primary was heard last */
    _Atomic int64_t sync_total, sync_done; /* bytes of a transfer; total -1: unknown */
    bool resumable;                        /* id and offset are those of data that we have: PSYNC may be tried */

    /* coordinated failover */
    atomic_uint failover;   /* enum failover_state */
    int64_t asked_ms;       /* the same thread: when it last had replicas asked */
    bool holds_writes;      /* the link's thread: it paused them for a failover */
    char failover_host[64]; /* "" for any; these under the lock */
    int64_t failover_port, failover_until_ms;
    bool failover_force;

    /* statistics */
    atomic_uint_fast64_t full_syncs, partial_syncs, partial_refused;
};

void replication_init(struct replication *r, struct server *s);
void replication_free(struct replication *r);

/* A new history that nobody else shares, or (promotion) one that goes on from the current one at the log's head. Gate
 * closed. */
void replication_new_id(struct replication *r);
void replication_shift_id(struct replication *r);

/* Goes on with that history: of a primary, or of a snapshot. Gate closed. */
void replication_adopt_id(struct replication *r, const char id[REPLICATION_ID]);

/* Follows another primary from now on; becomes one. Gate closed. */
void replication_follow(struct replication *r, struct view host, int64_t port);
void replication_promote(struct replication *r);

/* Begins a coordinated exchange of roles with the replica at that address, or with whichever is ready first; false when
 * there is no such replica. timeout_ms 0: none. */
bool replication_failover(struct replication *r, struct view host, int64_t port, int64_t timeout_ms, bool force);
void replication_failover_abort(struct replication *r);

/* Has every replica connect again. */
void replication_drop_replicas(struct replication *r);

/* A connection becomes a replica's: the record for its session. */
struct replica *replica_new(struct server *s, uint64_t id, uint32_t worker, int fd, const char *address);
void replica_unref(struct replica *p);

/* Its connection closes. */
void replica_leave(struct replica *p);

/* It has its snapshot; awaits_ack: the stream begins when it says so. Nothing happens when its connection is closed. */
void replica_received(struct replica *p, bool awaits_ack);

enum replica_answer {
    REPLICA_CONTINUES, /* online from that offset on */
    REPLICA_FULL,      /* a snapshot is to be made for it; it waits in the list */
};

/* PSYNC: position is the offset of the first byte that it wants. Inside the gate. */
enum replica_answer replica_psync(struct replica *p, struct view id, int64_t position);

/* REPLCONF ACK. */
void replica_acknowledge(struct replica *p, uint64_t offset, uint64_t file_offset, bool has_file);

/* How many replicas have everything up to that offset; in their append-only files. */
unsigned replication_count_acked(struct replication *r, uint64_t offset, bool in_file);

/* Brings the server's restrictions up to date with roles, link and replicas. */
void replication_restrict(struct replication *r);

/* Once a second or more often, by worker 0, inside the gate: pings, counts, lets go of a log that nobody needs. */
void replication_tick(struct replication *r, struct thread *t, int64_t mono_ms);

/* Asks the replicas how far they are, if anybody wants to know. Inside the gate; any worker, at the end of a turn. */
void replication_ask(struct replication *r, struct thread *t);

/* Calls fn for each replica that has asked to synchronise, under the lock. */
void replication_each(struct replication *r, void (*fn)(void *arg, struct replica *p), void *arg);

/* "connected", "sync" and so on, as ROLE says it. */
const char *replication_link_name(unsigned link);

/* "online", "wait_bgsave" and so on, as INFO says it. */
const char *replica_state_name(unsigned state);

/* Milliseconds since the replica was heard of. */
int64_t replica_lag_ms(const struct replica *p);

#endif
