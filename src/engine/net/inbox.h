/* Messages to a worker: posted by any thread, read by the worker's loop, which an eventfd wakes. */
#ifndef NET_INBOX_H
#define NET_INBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum message_kind {
    MESSAGE_RESUME,   /* fd: slot, id: run the parked connection's command again */
    MESSAGE_DONE,     /* fd: slot, id: its slow-lane job is over */
    MESSAGE_ADOPT,    /* fd: take this new connection; id: the address of its listener */
    MESSAGE_KILL,     /* fd: slot, id: close it */
    MESSAGE_HELD,     /* run again what the gate or CLIENT PAUSE held back */
    MESSAGE_LISTEN,   /* the set of listeners changed */
    MESSAGE_CLOSE,    /* close every connection of a client */
    MESSAGE_CUT,      /* close those that came through a listener that is cut */
    MESSAGE_RECHECK,  /* who may connect changed */
    MESSAGE_TOUCH,    /* fd: slot, id: its record as a replica changed */
    MESSAGE_PROGRESS, /* what replies and commands wait for has come further */
    MESSAGE_STOP,
};

struct message {
    enum message_kind kind;
    int fd;
    uint64_t id;
};

struct inbox_array {
    struct message *messages;
    size_t count, cap;
};

struct inbox {
    pthread_mutex_t lock;
    struct inbox_array posted;
    struct inbox_array taken; /* the reader's own, until it takes again */
    uint64_t takes;
    bool announced; /* a write to the eventfd since the last take is complete */
    int eventfd;
};

void inbox_init(struct inbox *in);
void inbox_free(struct inbox *in);

void inbox_post(struct inbox *in, struct message m);

/* Takes all messages: *out is valid until the next call. One reader. */
size_t inbox_take(struct inbox *in, const struct message **out);

#endif
