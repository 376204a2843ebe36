/* Messages to a worker: see inbox.h. */
#include "engine/net/inbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

void inbox_init(struct inbox *in)
{
    pthread_mutex_init(&in->lock, NULL);
    in->messages = NULL;
    in->count = in->cap = 0;
    in->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

void inbox_free(struct inbox *in)
{
    close(in->eventfd);
    mem_free(in->messages);
    pthread_mutex_destroy(&in->lock);
}

void inbox_post(struct inbox *in, struct message m)
{
    uint64_t one = 1;
    bool first;

    pthread_mutex_lock(&in->lock);
    if (in->count == in->cap) {
        in->cap = in->cap ? 2 * in->cap : 16;
        in->messages = mem_realloc(in->messages, in->cap * sizeof *in->messages);
    }
    first = in->count == 0;
    in->messages[in->count++] = m;
    pthread_mutex_unlock(&in->lock);
    if (first && write(in->eventfd, &one, sizeof one) < 0)
        return; /* the counter is full: it is readable anyhow */
}

size_t inbox_take(struct inbox *in, struct message **out)
{
    uint64_t n;
    size_t count;

    if (read(in->eventfd, &n, sizeof n) < 0)
        n = 0;
    pthread_mutex_lock(&in->lock);
    *out = in->messages;
    count = in->count;
    in->messages = NULL;
    in->count = in->cap = 0;
    pthread_mutex_unlock(&in->lock);
    return count;
}
