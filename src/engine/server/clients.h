/*
 * The registry of connections. Each has a card: what CLIENT LIST and CLIENT KILL of any thread may know of it. The
 * owner updates the relaxed fields; strings change under the card's lock. A card is in the registry from accept to
 * close; others see it only under its shard's lock, inside clients_each and clients_find.
 */
#ifndef SERVER_CLIENTS_H
#define SERVER_CLIENTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/view.h"

enum card_flag {                            /* letters of CLIENT LIST's flags */
                 CARD_MULTI = 1 << 0,       /* x */
                 CARD_DIRTY_EXEC = 1 << 1,  /* d */
                 CARD_BLOCKED = 1 << 2,     /* b */
                 CARD_UNIX = 1 << 3,        /* U */
                 CARD_CLOSE_AFTER = 1 << 4, /* c */
                 CARD_NO_EVICT = 1 << 5,    /* e */
                 CARD_NO_TOUCH = 1 << 6,    /* T */
                 CARD_READONLY = 1 << 7,    /* r */
                 CARD_REPLICA = 1 << 9,     /* S */
                 CARD_EXEMPT = 1 << 10,     /* no letter: rules about peers do not concern it */
                 CARD_ADMIN = 1 << 8,       /* not in the registry's lists: the admin socket's */
};

struct card {
    uint64_t id;
    int fd;
    uint32_t worker;                        /* as in struct handle: the owner and its slot there */
    char addr[128], laddr[128];             /* "ip:port" or "path:0", set at accept */
    int64_t created_ms;                     /* wall clock */
    pthread_mutex_t lock;                   /* name, lib_name, lib_ver, user */
    char *name, *lib_name, *lib_ver, *user; /* NULL reads as empty; user "default" */
    _Atomic uint32_t flags, db, resp;
    _Atomic int64_t last_active_ms; /* wall clock */
    _Atomic uint64_t query_len, query_free, argv_mem, multi_mem, out_len, out_mem, total_mem;
    _Atomic int32_t multi; /* queued commands, -1 outside MULTI */
    _Atomic int32_t watch; /* watched keys */
    _Atomic uint32_t reply_buf_size, reply_buf_pos, reply_list_len;
    _Atomic(const char *) last_command; /* a command table name, or NULL */
    _Atomic bool killed;
};

struct clients;

/* The owner of a connection is told to close it: called under the shard's lock, must only post a message. */
typedef void clients_kill_fn(void *arg, struct card *card);

struct clients *clients_new(clients_kill_fn *kill, void *arg);
void clients_free(struct clients *cs);

/* A new card with the next id, registered; last_active and created set from the clock. clients_remove frees it. */
struct card *clients_add(struct clients *cs, int fd, uint32_t worker, const char *addr, const char *laddr,
                         uint32_t flags);
void clients_remove(struct clients *cs, struct card *card);

/* Connections registered now, and all ever accepted; those of the admin socket are not counted. */
uint64_t clients_count(const struct clients *cs);
uint64_t clients_total(const struct clients *cs);

/* Calls fn for every card but the admin socket's, in ascending order of id, under its shard's lock: fn must be quick.
 * fn returns false to stop. */
typedef bool clients_visit_fn(void *arg, struct card *card);
void clients_each(struct clients *cs, clients_visit_fn *fn, void *arg);

/* The same for one id; false when there is no such connection. */
bool clients_find(struct clients *cs, uint64_t id, clients_visit_fn *fn, void *arg);

enum clients_type { CLIENTS_NORMAL, CLIENTS_MASTER, CLIENTS_REPLICA, CLIENTS_PUBSUB };

/* Filters of CLIENT KILL and LIST: what is zero, or a view of NULL, matches all. */
struct clients_filter {
    uint64_t id;
    struct view addr, laddr, user;
    int type;        /* -1 any, else enum clients_type */
    uint64_t skip;   /* this id never matches */
    int64_t min_age; /* seconds since it connected */
};

/* Does the filter match? The card is the caller's own, or its shard's lock is held. */
bool clients_match(const struct clients_filter *f, struct card *card);

/* Marks matching connections killed and tells their owners; returns how many. One that was killed before counts no
 * more. */
uint64_t clients_kill(struct clients *cs, const struct clients_filter *f);

/* Kills the connections that hold most, but for those exempt (CLIENT NO-EVICT, admin), until the rest holds at most
 * `limit` bytes; returns how many. Takes as long as looking at every card a few times. */
uint64_t clients_evict(struct clients *cs, uint64_t limit);

/* What INFO says of all connections together. */
struct clients_sums {
    uint64_t memory;                /* bytes held by connections */
    uint64_t max_input, max_output; /* the longest query buffer, the largest output */
};
void clients_sum(struct clients *cs, struct clients_sums *out);

/* Appends one line of CLIENT LIST, without the line end, in Redis 7.0's order of fields (7.2's lib-name, lib-ver
 * behind resp). The card is the caller's own, or its shard's lock is held. */
void card_describe(struct card *card, struct buf *out);

/* Sets one of the strings under the lock; an empty value clears it. */
void card_set(struct card *card, char **field, struct view value);

/* Copies one of the strings into out (appended). */
void card_get(struct card *card, char *const *field, struct buf *out);

#endif
