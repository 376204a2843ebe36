/*
 * The queue before the database, its thread, and the way back.
 *
 * Owner and writer share two lists under one lock, `queued` and `finished`; a batch is the owner's before it is queued,
 * the writer's until it is finished, and the owner's again. The database is the writer's as long as that runs.
 *
 * When a transaction of several batches fails, each is tried again in one of its own: one that the database cannot take
 * (a value that is too long) fails alone, and on a full disk those that free space, or need none, still get through.
 */
#include "control/state/store.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"

struct change {
    struct change *next;
    bool delete;
    struct database_record record;
};

struct store_batch {
    struct store_batch *next;
    struct arena arena; /* of the changes */
    struct change *first, **end;
    char *backup; /* where to, when it is no batch but a backup */
    char *error;  /* why it failed */
    store_done *done;
    void *arg;
};

struct list {
    struct store_batch *first, **end;
};

struct store {
    struct database *database;
    pthread_t thread;
    int fd;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t work;  /* queued or closing has changed */
    struct list queued, finished;
    bool closing;
};

static void list_init(struct list *l)
{
    l->first = NULL;
    l->end = &l->first;
}

static void list_add(struct list *l, struct store_batch *b)
{
    b->next = NULL;
    *l->end = b;
    l->end = &b->next;
}

/* All of `from` behind what is in `to`. */
static void list_move(struct list *to, struct list *from)
{
    if (from->first == NULL)
        return;
    *to->end = from->first;
    to->end = from->end;
    list_init(from);
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

struct store_batch *store_begin(void)
{
    struct store_batch *b = mem_zalloc(sizeof *b);

    b->end = &b->first;
    return b;
}

void store_abandon(struct store_batch *b)
{
    if (b == NULL)
        return;
    arena_free(&b->arena);
    mem_free(b->backup);
    mem_free(b->error);
    mem_free(b);
}

static struct view copy(struct store_batch *b, struct view v)
{
    char *p = arena_alloc(&b->arena, v.n);

    if (v.n != 0)
        memcpy(p, v.p, v.n);
    return view_of(p, v.n);
}

static void add(struct store_batch *b, bool delete, struct database_record record)
{
    struct change *c = arena_alloc(&b->arena, sizeof *c);

    *c = (struct change){
        NULL, delete, {copy(b, record.kind), copy(b, record.id), record.version, copy(b, record.value)}};
    *b->end = c;
    b->end = &c->next;
}

void store_put(struct store_batch *b, struct view kind, struct view id, unsigned version, struct view value)
{
    add(b, false, (struct database_record){kind, id, version, value});
}

void store_delete(struct store_batch *b, struct view kind, struct view id)
{
    add(b, true, (struct database_record){kind, id, 0, VIEW("")});
}

static void hand_over(struct store *s, struct store_batch *b, store_done *done, void *arg)
{
    b->done = done;
    b->arg = arg;
    pthread_mutex_lock(&s->lock);
    list_add(&s->queued, b);
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}

void store_commit(struct store *s, struct store_batch *b, store_done *done, void *arg)
{
    hand_over(s, b, done, arg);
}

void store_backup(struct store *s, const char *path, store_done *done, void *arg)
{
    struct store_batch *b = store_begin();

    b->backup = mem_strndup(path, strlen(path));
    hand_over(s, b, done, arg);
}

/* ---- the writer -------------------------------------------------------------------------------------------------- */

static enum database_status write_changes(struct database *d, const struct store_batch *b, char *error)
{
    enum database_status status = DATABASE_OK;

    for (const struct change *c = b->first; c != NULL && status == DATABASE_OK; c = c->next)
        status =
            c->delete ? database_delete(d, c->record.kind, c->record.id, error) : database_put(d, &c->record, error);
    return status;
}

/* Writes the batches from b up to `end` in one transaction. */
static enum database_status write_together(struct database *d, const struct store_batch *b,
                                           const struct store_batch *end, char *error)
{
    enum database_status status = database_begin(d, error);

    for (; b != end && status == DATABASE_OK; b = b->next)
        status = write_changes(d, b, error);
    return status == DATABASE_OK ? database_commit(d, error) : status;
}

static void write_group(struct database *d, struct store_batch *b, const struct store_batch *end)
{
    char error[DATABASE_ERROR_MAX];

    if (write_together(d, b, end, error) == DATABASE_OK)
        return;
    if (b->next == end) {
        log_warning("A change could not be made durable: %s", error);
        b->error = mem_strndup(error, strlen(error));
        return;
    }
    for (; b != end; b = b->next)
        write_group(d, b, b->next);
}

static void write_all(struct database *d, struct store_batch *b)
{
    while (b != NULL) {
        struct store_batch *end = b->next;

        if (b->backup != NULL) {
            char error[DATABASE_ERROR_MAX];
            if (database_copy(d, b->backup, error) != DATABASE_OK)
                b->error = mem_strndup(error, strlen(error));
        } else {
            while (end != NULL && end->backup == NULL)
                end = end->next;
            write_group(d, b, end);
        }
        b = end;
    }
}

static void wake_owner(struct store *s)
{
    uint64_t one = 1;

    while (write(s->fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void *writer(void *arg)
{
    struct store *s = arg;
    struct list group;

    list_init(&group);
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (s->queued.first == NULL && !s->closing)
            pthread_cond_wait(&s->work, &s->lock);
        if (s->queued.first == NULL)
            break;
        list_move(&group, &s->queued);
        pthread_mutex_unlock(&s->lock);
        write_all(s->database, group.first);
        pthread_mutex_lock(&s->lock);
        list_move(&s->finished, &group);
        wake_owner(s);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- the owner --------------------------------------------------------------------------------------------------- */

/* Signals are for the owner's thread. */
static int start_writer(struct store *s)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&s->thread, NULL, writer, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static void release(struct store *s)
{
    database_close(s->database);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    close(s->fd);
    mem_free(s);
}

enum database_status store_open(const char *path, const char *(*each)(void *arg, const struct database_record *record),
                                void *arg, struct store **out, char error[DATABASE_ERROR_MAX])
{
    struct database *d;
    struct store *s;
    enum database_status status = database_open(path, &d, error);
    int fd = -1, rc;

    *out = NULL;
    if (status == DATABASE_OK)
        status = database_read(d, each, arg, error);
    if (status == DATABASE_OK && (fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0) {
        snprintf(error, DATABASE_ERROR_MAX, "%s: eventfd: %s", path, strerror(errno));
        status = DATABASE_FAILED;
    }
    if (status != DATABASE_OK) {
        database_close(d);
        return status;
    }
    s = mem_zalloc(sizeof *s);
    s->database = d;
    s->fd = fd;
    list_init(&s->queued);
    list_init(&s->finished);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    rc = start_writer(s);
    if (rc != 0) {
        snprintf(error, DATABASE_ERROR_MAX, "%s: no thread for it: %s", path, strerror(rc));
        release(s);
        return DATABASE_FAILED;
    }
    *out = s;
    return DATABASE_OK;
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    store_dispatch(s);
    while (s->queued.first != NULL) { /* by those callbacks, and nobody else is there any more */
        write_all(s->database, s->queued.first);
        list_move(&s->finished, &s->queued);
        store_dispatch(s);
    }
    release(s);
}

int store_fd(const struct store *s)
{
    return s->fd;
}

void store_dispatch(struct store *s)
{
    struct list due;
    uint64_t count;

    while (read(s->fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
    list_init(&due);
    pthread_mutex_lock(&s->lock);
    list_move(&due, &s->finished);
    pthread_mutex_unlock(&s->lock);
    for (struct store_batch *b = due.first, *next; b != NULL; b = next) {
        next = b->next;
        if (b->done != NULL)
            b->done(b->arg, b->error);
        store_abandon(b);
    }
}
