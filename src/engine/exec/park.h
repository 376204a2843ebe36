/* Connections that wait for a partition: who they are, and how they are woken. Any thread. */
#ifndef EXEC_PARK_H
#define EXEC_PARK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/store/partition.h"

#define PARK_LOTS 64

/* Names a connection across threads: its worker, and its id, which is never used again. */
struct handle {
    uint32_t worker;
    uint64_t id;
};

struct parked;

struct park {
    struct {
        pthread_mutex_t lock;
        struct parked *head;
    } lots[PARK_LOTS];
    void (*wake)(void *arg, struct handle h);
    void *arg;
};

/* wake must only post a message. */
void park_init(struct park *pk, void (*wake)(void *arg, struct handle h), void *arg);

/* Registers h for the partition, to be woken when it is let go. False when it is free already. */
bool park_wait(struct park *pk, struct partition *p, uint32_t partition, struct handle h);

/* Wakes all that wait for it. */
void park_wake(struct park *pk, uint32_t partition);

#endif
