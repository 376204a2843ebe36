/* Snapshots: see snapshot.h. */
#include "engine/persist/snapshot.h"

#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/store/cut.h"
#include "engine/store/item.h"

#define PIECE_BYTES 65536    /* an output of this size joins the queue */
#define QUEUE_MAX (8u << 20) /* the walk waits while so much is queued */
#define STEP_US 100          /* of a worker's time */
#define IDLE_STEP_US 400     /* when nobody else wants it */
#define REST_US 300          /* between two steps of a worker that has other work */
#define WAIT_US 1000         /* for a taken partition, or for the queue */

void snapshot_init(struct snapshot *s, struct keyspace *ks)
{
    pthread_condattr_t attr;

    s->keyspace = ks;
    s->tail = &s->head;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->ready, &attr);
    pthread_condattr_destroy(&attr);
}

void snapshot_free(struct snapshot *s)
{
    snapshot_drop(s);
    for (unsigned i = 0; i < THREAD_MAX; i++)
        buf_free(&s->outs[i].buf);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->ready);
}

/* Moves the output into the queue as a piece. */
static void push(struct snapshot *s, struct snapshot_out *out, struct blob *big)
{
    struct snapshot_piece *p = mem_zalloc(sizeof *p);

    p->bytes = out->buf;
    p->big = big;
    *out = (struct snapshot_out){0};
    atomic_fetch_add_explicit(&s->queued, p->bytes.cap + (big ? big->len : 0), memory_order_relaxed);
    pthread_mutex_lock(&s->lock);
    *s->tail = p;
    s->tail = &p->next;
    pthread_cond_signal(&s->ready);
    pthread_mutex_unlock(&s->lock);
}

static void save_item(struct snapshot *s, struct snapshot_out *out, uint32_t db, const struct item *it)
{
    struct blob *big;

    if (!out->has_db || out->db != db) {
        if (!out->has_db)
            buf_reserve(&out->buf, PIECE_BYTES / 16);
        rdb_put_select(&out->buf, db);
        out->db = db;
        out->has_db = true;
    }
    rdb_put_item(&out->buf, it, &s->options, &big);
    if (big || buf_live(&out->buf) >= PIECE_BYTES)
        push(s, out, big);
}

/* The keyspace's hook: see cut_save_fn. */
static void save_home(void *arg, struct thread *t, uint32_t db, const struct bucket *home)
{
    struct snapshot *s = arg;
    uint64_t keys = 0;

    for (const struct bucket *b = home; b; b = bucket_next(b))
        for (unsigned i = 0; i < TABLE_SLOTS; i++)
            if (b->tags[i] != 0) {
                save_item(s, &s->outs[t->index], db, bucket_ref(b, i));
                keys++;
            }
    atomic_fetch_add_explicit(&s->keys, keys, memory_order_relaxed);
}

void snapshot_begin(struct snapshot *s, const struct rdb_options *o)
{
    s->options = *o;
    atomic_store(&s->next, 0);
    atomic_store(&s->left, PARTITIONS);
    atomic_store(&s->keys, 0);
    cut_begin(s->keyspace, save_home, s);
    atomic_store(&s->walking, true);
}

int64_t snapshot_step(struct snapshot *s, struct thread *t, struct snapshot_share *share, bool idle)
{
    int64_t now = clock_mono_us(), end = now + (idle ? IDLE_STEP_US : STEP_US);

    if (!idle && now < share->due_us)
        return share->due_us - now;
    if (share->cut != s->keyspace->cut) /* of a snapshot that was given up */
        share->claimed = false;
    share->cut = s->keyspace->cut;
    for (;;) {
        if (!share->claimed) {
            share->partition = atomic_fetch_add(&s->next, 1);
            share->claimed = share->partition < PARTITIONS;
        }
        if (!share->claimed)
            return INT64_MAX;
        if (snapshot_full(s))
            return WAIT_US;
        if (cut_partition(s->keyspace, t, share->partition, end)) {
            share->claimed = false;
            if (atomic_fetch_sub(&s->left, 1) == 1) {
                atomic_store(&s->walking, false);
                snapshot_wake(s);
            }
        } else if (clock_mono_us() < end) {
            return WAIT_US; /* a partition that is taken is tried again a little later */
        }
        now = clock_mono_us();
        if (now >= end) {
            share->due_us = now + REST_US;
            return idle ? 0 : REST_US;
        }
    }
}

bool snapshot_full(const struct snapshot *s)
{
    return atomic_load_explicit(&((struct snapshot *)s)->queued, memory_order_relaxed) > QUEUE_MAX;
}

struct snapshot_piece *snapshot_take(struct snapshot *s, unsigned wait_ms)
{
    struct snapshot_piece *p;
    struct timespec until;

    pthread_mutex_lock(&s->lock);
    if (!s->head && wait_ms > 0) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (long)wait_ms * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&s->ready, &s->lock, &until);
    }
    p = s->head;
    if (p) {
        s->head = p->next;
        if (!s->head)
            s->tail = &s->head;
        atomic_fetch_sub_explicit(&s->queued, p->bytes.cap + (p->big ? p->big->len : 0), memory_order_relaxed);
    }
    pthread_mutex_unlock(&s->lock);
    return p;
}

void snapshot_piece_free(struct snapshot_piece *p)
{
    if (!p)
        return;
    if (p->big)
        blob_unref(p->big);
    buf_free(&p->bytes);
    mem_free(p);
}

bool snapshot_walked(struct snapshot *s)
{
    return atomic_load(&s->left) == 0 && cut_dropped_done(s->keyspace);
}

void snapshot_end(struct snapshot *s)
{
    cut_end(s->keyspace);
    atomic_store(&s->walking, false);
    atomic_store(&s->next, PARTITIONS);
    for (unsigned i = 0; i < THREAD_MAX; i++)
        if (buf_live(&s->outs[i].buf) > 0)
            push(s, &s->outs[i], NULL);
}

void snapshot_drop(struct snapshot *s)
{
    struct snapshot_piece *p;

    while ((p = snapshot_take(s, 0)))
        snapshot_piece_free(p);
}

void snapshot_wake(struct snapshot *s)
{
    pthread_mutex_lock(&s->lock);
    pthread_cond_signal(&s->ready);
    pthread_mutex_unlock(&s->lock);
}
