/* Messages to a worker: posted by any thread, read by the worker's loop, which an eventfd wakes. */
#ifndef NET_INBOX_H
#define NET_INBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum message_kind {
    MESSAGE_RESUME,  /* id: run the parked connection's command again */
    MESSAGE_DONE,    /* id: its slow-lane job is over */
    MESSAGE_ADOPT,   /* fd: take this new connection; id: the listener's index */
    MESSAGE_KILL,    /* id: close it */
    MESSAGE_HELD,    /* run again what the gate or CLIENT PAUSE held back */
    MESSAGE_LISTEN,  /* the set of listeners changed */
    MESSAGE_RECHECK, /* allow-from changed */
    MESSAGE_STOP,
};

struct message {
    enum message_kind kind;
    int fd;
    uint64_t id;
};

struct inbox {
    pthread_mutex_t lock;
    struct message *messages;
    size_t count, cap;
    int eventfd;
};

void inbox_init(struct inbox *in);
void inbox_free(struct inbox *in);

void inbox_post(struct inbox *in, struct message m);

/* Takes all messages; the caller frees *out with mem_free. */
size_t inbox_take(struct inbox *in, struct message **out);

#endif
