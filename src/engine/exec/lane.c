/* The slow lane: see lane.h. */
#include "engine/exec/lane.h"

#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"

struct lane_job {
    struct lane_job *next;
    lane_fn *fn;
    void *arg;
};

struct lane_thread {
    struct lane *lane;
    struct executor *ex;
    pthread_t thread;
};

struct lane {
    pthread_mutex_t lock;
    pthread_cond_t ready;
    struct lane_job *head, **tail;
    bool kicked, stopping;
    void (*idle)(struct executor *ex);
    int nice;
    unsigned n;
    struct lane_thread threads[];
};

static void *lane_run(void *arg)
{
    struct lane_thread *t = arg;
    struct lane *l = t->lane;

    if (l->nice != 0)
        setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), l->nice);
    pthread_setname_np(pthread_self(), "lane");
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); /* its rests are short */
    pthread_mutex_lock(&l->lock);
    for (;;) {
        struct lane_job *job = l->head;
        if (job) {
            l->head = job->next;
            if (!l->head)
                l->tail = &l->head;
            pthread_mutex_unlock(&l->lock);
            job->fn(t->ex, job->arg);
            mem_free(job);
            pthread_mutex_lock(&l->lock);
        } else if (l->kicked) {
            l->kicked = false;
            pthread_mutex_unlock(&l->lock);
            l->idle(t->ex);
            pthread_mutex_lock(&l->lock);
        } else if (l->stopping) {
            break;
        } else {
            pthread_cond_wait(&l->ready, &l->lock);
        }
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

struct lane *lane_start(unsigned n, int nice, struct executor *const *executors, void (*idle)(struct executor *ex))
{
    struct lane *l = mem_zalloc(sizeof *l + n * sizeof l->threads[0]);

    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->ready, NULL);
    l->tail = &l->head;
    l->idle = idle;
    l->n = n;
    l->nice = nice;
    for (unsigned i = 0; i < n; i++) {
        l->threads[i].lane = l;
        l->threads[i].ex = executors[i];
        pthread_create(&l->threads[i].thread, NULL, lane_run, &l->threads[i]);
    }
    return l;
}

void lane_post(struct lane *l, lane_fn *fn, void *arg)
{
    struct lane_job *job = mem_zalloc(sizeof *job);

    job->fn = fn;
    job->arg = arg;
    pthread_mutex_lock(&l->lock);
    *l->tail = job;
    l->tail = &job->next;
    pthread_cond_signal(&l->ready);
    pthread_mutex_unlock(&l->lock);
}

void lane_kick(struct lane *l)
{
    pthread_mutex_lock(&l->lock);
    if (!l->kicked) {
        l->kicked = true;
        pthread_cond_signal(&l->ready);
    }
    pthread_mutex_unlock(&l->lock);
}

void lane_stop(struct lane *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_broadcast(&l->ready);
    pthread_mutex_unlock(&l->lock);
    for (unsigned i = 0; i < l->n; i++)
        pthread_join(l->threads[i].thread, NULL);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->ready);
    mem_free(l);
}
