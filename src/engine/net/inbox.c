/*
 * Messages to a worker: see inbox.h. The eventfd is written outside the lock, because the write may give the processor
 * to the reader at once, which would then wait for the lock. Whoever posts before such a write is known to be complete
 * writes too: a poster that is preempted before its own must not keep the reader asleep.
 */
#include "engine/net/inbox.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

#define KEPT_MAX 1024 /* messages whose room is kept for the next ones */

void inbox_init(struct inbox *in)
{
    *in = (struct inbox){.eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    pthread_mutex_init(&in->lock, NULL);
}

void inbox_free(struct inbox *in)
{
    close(in->eventfd);
    mem_free(in->posted.messages);
    mem_free(in->taken.messages);
    pthread_mutex_destroy(&in->lock);
}

void inbox_post(struct inbox *in, struct message m)
{
    struct inbox_array *a = &in->posted;
    const uint64_t one = 1;
    uint64_t takes;
    bool announced;

    pthread_mutex_lock(&in->lock);
    if (a->count == a->cap) {
        a->cap = a->cap ? 2 * a->cap : 16;
        a->messages = mem_realloc(a->messages, a->cap * sizeof *a->messages);
    }
    a->messages[a->count++] = m;
    announced = in->announced;
    takes = in->takes;
    pthread_mutex_unlock(&in->lock);
    if (announced)
        return;
    while (write(in->eventfd, &one, sizeof one) < 0 && errno == EINTR)
        ; /* EAGAIN: the counter is full, so it is readable anyhow */
    pthread_mutex_lock(&in->lock);
    if (in->takes == takes) /* else the reader may have read what was written, and later messages need their own */
        in->announced = true;
    pthread_mutex_unlock(&in->lock);
}

size_t inbox_take(struct inbox *in, const struct message **out)
{
    struct inbox_array used = in->taken;
    uint64_t n;

    if (used.cap > KEPT_MAX) {
        mem_free(used.messages);
        used = (struct inbox_array){0};
    }
    used.count = 0;
    if (read(in->eventfd, &n, sizeof n) < 0)
        n = 0;
    pthread_mutex_lock(&in->lock);
    in->taken = in->posted;
    in->posted = used;
    in->announced = false;
    in->takes++;
    pthread_mutex_unlock(&in->lock);
    *out = in->taken.messages;
    return in->taken.count;
}
