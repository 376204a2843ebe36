/* Parking: see park.h. The lot's lock orders marking a partition as wanted with waking those who did. */
#include "engine/exec/park.h"

#include "base/mem.h"

struct parked {
    struct parked *next;
    uint32_t partition;
    struct handle handle;
};

void park_init(struct park *pk, void (*wake)(void *arg, struct handle h), void *arg)
{
    for (unsigned i = 0; i < PARK_LOTS; i++)
        pthread_mutex_init(&pk->lots[i].lock, NULL);
    pk->wake = wake;
    pk->arg = arg;
}

bool park_wait(struct park *pk, struct partition *p, uint32_t partition, struct handle h)
{
    struct parked *w = mem_alloc(sizeof *w);
    bool waits;

    *w = (struct parked){.partition = partition, .handle = h};
    pthread_mutex_lock(&pk->lots[partition % PARK_LOTS].lock);
    waits = partition_want(p);
    if (waits) {
        w->next = pk->lots[partition % PARK_LOTS].head;
        pk->lots[partition % PARK_LOTS].head = w;
    }
    pthread_mutex_unlock(&pk->lots[partition % PARK_LOTS].lock);
    if (!waits)
        mem_free(w);
    return waits;
}

void park_wake(struct park *pk, uint32_t partition)
{
    struct parked *woken = NULL, *w;

    pthread_mutex_lock(&pk->lots[partition % PARK_LOTS].lock);
    for (struct parked **link = &pk->lots[partition % PARK_LOTS].head; (w = *link);) {
        if (w->partition != partition) {
            link = &w->next;
            continue;
        }
        *link = w->next;
        w->next = woken;
        woken = w;
    }
    pthread_mutex_unlock(&pk->lots[partition % PARK_LOTS].lock);
    while ((w = woken)) {
        woken = w->next;
        pk->wake(pk->arg, w->handle);
        mem_free(w);
    }
}
