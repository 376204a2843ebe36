/* The ordered log: see oplog.h. */
#include "engine/log/oplog.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/mem.h"
#include "engine/log/effects.h"

#define OFFSET_BITS 47
#define OFFSET_MASK (((uint64_t)1 << OFFSET_BITS) - 1)
#define REBASE_AT ((uint64_t)1 << (OFFSET_BITS - 2))
#define NOTHING UINT64_MAX
#define SPARE_MAX 8u
#define RING_BYTES (OPLOG_RING * sizeof(_Atomic(char *)))

static const struct view multi = VIEW("*1\r\n$5\r\nMULTI\r\n"), exec = VIEW("*1\r\n$4\r\nEXEC\r\n");

struct oplog *oplog_new(void)
{
    struct oplog *log = mem_alloc_lines((sizeof *log + 63) & ~(size_t)63);

    memset(log, 0, sizeof *log);
    pthread_mutex_init(&log->lock, NULL);
    log->threads = OPLOG_THREADS;
    for (unsigned i = 0; i < OPLOG_THREADS; i++)
        atomic_init(&log->lines[i].pending, NOTHING);
    return log;
}

void oplog_limit_threads(struct oplog *log, unsigned n)
{
    assert(n <= OPLOG_THREADS);
    log->threads = n;
}

/* Frees the blocks [from, to) by their numbers; `lock` held. */
static void free_blocks(struct oplog *log, uint64_t from, uint64_t to)
{
    for (uint64_t n = from; n < to; n++) {
        char *block = atomic_exchange_explicit(&log->ring[n % OPLOG_RING], NULL, memory_order_relaxed);
        if (!block)
            continue;
        if (log->spare_count < SPARE_MAX) {
            log->spare[log->spare_count++] = block;
        } else {
            mem_free(block);
            atomic_fetch_sub_explicit(&log->bytes, OPLOG_BLOCK, memory_order_relaxed);
        }
    }
}

static void free_spare(struct oplog *log)
{
    while (log->spare_count > 0) {
        mem_free(log->spare[--log->spare_count]);
        atomic_fetch_sub_explicit(&log->bytes, OPLOG_BLOCK, memory_order_relaxed);
    }
}

void oplog_free(struct oplog *log)
{
    if (!log)
        return;
    if (oplog_active(log))
        oplog_stop(log);
    pthread_mutex_destroy(&log->lock);
    mem_free(log);
}

/* Origin and head of one moment. */
static void look(const struct oplog *l, uint64_t *origin, uint64_t *word)
{
    struct oplog *log = (struct oplog *)l;

    for (;;) {
        unsigned version = atomic_load(&log->version);
        *origin = atomic_load(&log->origin);
        *word = atomic_load(&log->head);
        if (!(version & 1) && atomic_load(&log->version) == version)
            return;
    }
}

/* Gate closed. */
static void set_head(struct oplog *log, uint64_t offset, uint64_t db_bits)
{
    atomic_fetch_add(&log->version, 1);
    atomic_store(&log->origin, offset);
    atomic_store(&log->head, db_bits);
    atomic_fetch_add(&log->version, 1);
}

uint64_t oplog_head(const struct oplog *log)
{
    uint64_t origin, word;

    look(log, &origin, &word);
    return origin + (word & OFFSET_MASK);
}

int64_t oplog_db(const struct oplog *log)
{
    uint64_t origin, word;

    look(log, &origin, &word);
    return (int64_t)(word >> OFFSET_BITS) - 1;
}

uint64_t oplog_tail(const struct oplog *l)
{
    struct oplog *log = (struct oplog *)l;
    uint64_t tail = oplog_head(log);

    for (unsigned i = 0; i < log->threads; i++) {
        uint64_t pending = atomic_load(&log->lines[i].pending);
        tail = pending < tail ? pending : tail;
    }
    return tail;
}

void oplog_start(struct oplog *log)
{
    if (oplog_active(log))
        return;
    log->ring = mem_try_map(RING_BYTES);
    log->spare = mem_alloc(SPARE_MAX * sizeof *log->spare);
    if (!log->ring)
        abort();
    set_head(log, oplog_head(log), 0);
    atomic_store(&log->first, oplog_head(log));
    atomic_store(&log->active, true);
}

static void drop_all(struct oplog *log)
{
    uint64_t first = oplog_first(log) >> OPLOG_BLOCK_BITS, last = oplog_head(log) >> OPLOG_BLOCK_BITS;

    free_blocks(log, first, last + 1);
}

void oplog_stop(struct oplog *log)
{
    if (!oplog_active(log))
        return;
    pthread_mutex_lock(&log->lock);
    atomic_store(&log->active, false);
    drop_all(log);
    free_spare(log);
    mem_unmap(log->ring, RING_BYTES);
    mem_free(log->spare);
    log->ring = NULL;
    log->spare = NULL;
    atomic_store(&log->first, oplog_head(log));
    set_head(log, oplog_head(log), 0);
    pthread_mutex_unlock(&log->lock);
}

void oplog_restart(struct oplog *log, uint64_t offset)
{
    pthread_mutex_lock(&log->lock);
    assert(!log->readers);
    if (oplog_active(log))
        drop_all(log);
    set_head(log, offset, 0);
    atomic_store(&log->first, offset);
    pthread_mutex_unlock(&log->lock);
}

void oplog_forget_db(struct oplog *log)
{
    set_head(log, oplog_head(log), 0);
}

bool oplog_rebase_due(const struct oplog *log)
{
    return (atomic_load_explicit(&((struct oplog *)log)->head, memory_order_relaxed) & OFFSET_MASK) > REBASE_AT;
}

void oplog_rebase(struct oplog *log)
{
    set_head(log, oplog_head(log), atomic_load(&log->head) & ~OFFSET_MASK);
}

/* ---- freeing ---- */

/* Lets blocks go that nobody needs; `lock` held. */
static void trim(struct oplog *log)
{
    uint64_t tail = oplog_tail(log), keep = atomic_load_explicit(&log->retain, memory_order_relaxed);
    uint64_t first = oplog_first(log), low = tail > keep ? tail - keep : 0;

    for (struct oplog_reader *r = log->readers; r; r = r->next) {
        uint64_t at = atomic_load(&r->position);
        if (tail > at && tail - at > OPLOG_SPAN_MAX && !atomic_exchange(&r->lost, true))
            r->wake(r->arg);
        low = at < low ? at : low;
    }
    if (low <= first)
        return;
    atomic_store_explicit(&log->first, low, memory_order_release);
    free_blocks(log, first >> OPLOG_BLOCK_BITS, low >> OPLOG_BLOCK_BITS);
}

static void try_trim(struct oplog *log)
{
    if (pthread_mutex_trylock(&log->lock) != 0)
        return;
    trim(log);
    pthread_mutex_unlock(&log->lock);
}

/* Puts a block there if nobody did yet. */
static __attribute__((noinline)) char *add_block(struct oplog *log, uint64_t number)
{
    char *block = NULL, *there = NULL;

    if (pthread_mutex_trylock(&log->lock) == 0) {
        trim(log);
        if (log->spare_count > 0)
            block = log->spare[--log->spare_count];
        pthread_mutex_unlock(&log->lock);
    }
    if (!block) {
        block = mem_alloc(OPLOG_BLOCK);
        atomic_fetch_add_explicit(&log->bytes, OPLOG_BLOCK, memory_order_relaxed);
    }
    if (atomic_compare_exchange_strong(&log->ring[number % OPLOG_RING], &there, block))
        return block;
    mem_free(block);
    atomic_fetch_sub_explicit(&log->bytes, OPLOG_BLOCK, memory_order_relaxed);
    return there;
}

/* ---- appending ---- */

static inline char *block_for(struct oplog *log, uint64_t at)
{
    uint64_t number = at >> OPLOG_BLOCK_BITS;
    char *block = atomic_load_explicit(&log->ring[number % OPLOG_RING], memory_order_acquire);

    return __builtin_expect(block != NULL, 1) ? block : add_block(log, number);
}

/* Fills a place that was taken; returns where it ends. */
static uint64_t fill(struct oplog *log, uint64_t at, struct view v)
{
    while (v.n > 0) {
        size_t inside = at & (OPLOG_BLOCK - 1), n = OPLOG_BLOCK - inside < v.n ? OPLOG_BLOCK - inside : v.n;
        memcpy(block_for(log, at) + inside, v.p, n);
        v = view_of(v.p + n, v.n - n);
        at += n;
    }
    return at;
}

/* Takes a place for `size` bytes, and for a SELECT when the stream is on another database than db; *select says whether
 * it is. The stream is then on database last_db. */
static uint64_t reserve(struct oplog *log, unsigned thread, uint32_t db, uint32_t last_db, size_t size, bool *select)
{
    uint64_t origin = atomic_load_explicit(&log->origin, memory_order_relaxed);
    uint64_t word = atomic_load_explicit(&log->head, memory_order_relaxed), next;

    atomic_store(&log->lines[thread].pending, origin + (word & OFFSET_MASK));
    do {
        *select = word >> OFFSET_BITS != (uint64_t)db + 1;
        next = (word & OFFSET_MASK) + size + (*select ? effects_select_size(db) : 0);
        next |= ((uint64_t)last_db + 1) << OFFSET_BITS;
    } while (!atomic_compare_exchange_weak(&log->head, &word, next));
    return origin + (word & OFFSET_MASK);
}

/* What was taken is filled up to `end`. */
static uint64_t publish(struct oplog *log, unsigned thread, uint64_t end)
{
    struct oplog_line *line = &log->lines[thread];

    atomic_store_explicit(&line->pending, NOTHING, memory_order_release);
    line->end = end;
    line->dirty = true;
    return end;
}

static uint64_t fill_select(struct oplog *log, uint64_t at, uint32_t db)
{
    struct buf b = {0};

    effects_put_select(&b, db);
    at = fill(log, at, buf_view(&b));
    buf_free(&b);
    return at;
}

uint64_t oplog_append(struct oplog *log, unsigned thread, const struct effects *e)
{
    bool several = e->count > 1, select;
    struct view bytes = buf_view(&e->bytes);
    size_t size = bytes.n + (several ? multi.n + exec.n : 0);
    uint64_t at = reserve(log, thread, e->first_db, e->last_db, size, &select);

    if (several)
        at = fill(log, at, multi);
    if (select)
        at = fill_select(log, at, e->first_db);
    at = fill(log, at, bytes);
    if (several)
        at = fill(log, at, exec);
    return publish(log, thread, at);
}

uint64_t oplog_append_raw(struct oplog *log, unsigned thread, uint32_t db, struct view raw)
{
    bool select;
    uint64_t at = reserve(log, thread, db, db, raw.n, &select);

    if (__builtin_expect(select, 0))
        at = fill_select(log, at, db);
    return publish(log, thread, fill(log, at, raw));
}

uint64_t oplog_append_verbatim(struct oplog *log, unsigned thread, struct view bytes, int64_t db)
{
    uint64_t origin = atomic_load_explicit(&log->origin, memory_order_relaxed);
    uint64_t word = atomic_load_explicit(&log->head, memory_order_relaxed), next;

    atomic_store(&log->lines[thread].pending, origin + (word & OFFSET_MASK));
    do {
        uint64_t bits = db == OPLOG_SAME_DB ? word & ~OFFSET_MASK : ((uint64_t)db + 1) << OFFSET_BITS;
        next = ((word & OFFSET_MASK) + bytes.n) | bits;
    } while (!atomic_compare_exchange_weak(&log->head, &word, next));
    return publish(log, thread, fill(log, origin + (word & OFFSET_MASK), bytes));
}

void oplog_wake_slow(struct oplog *log, unsigned thread)
{
    log->lines[thread].dirty = false;
    atomic_thread_fence(memory_order_seq_cst); /* what was published stands before the look at who sleeps */
    if (atomic_load_explicit(&log->sleepers, memory_order_relaxed) == 0)
        return;
    pthread_mutex_lock(&log->lock);
    for (struct oplog_reader *r = log->readers; r; r = r->next)
        if (atomic_exchange(&r->asleep, false)) {
            atomic_fetch_sub(&log->sleepers, 1);
            r->wake(r->arg);
        }
    pthread_mutex_unlock(&log->lock);
}

/* ---- reading ---- */

void oplog_retain(struct oplog *log, uint64_t bytes)
{
    atomic_store_explicit(&log->retain, bytes < OPLOG_SPAN_MAX ? bytes : OPLOG_SPAN_MAX, memory_order_relaxed);
    try_trim(log);
}

bool oplog_attach(struct oplog *log, struct oplog_reader *r, uint64_t position)
{
    bool there;

    pthread_mutex_lock(&log->lock);
    there = oplog_active(log) && position >= oplog_first(log) && position <= oplog_head(log);
    if (there) {
        atomic_store(&r->position, position);
        atomic_store(&r->asleep, false);
        atomic_store(&r->lost, false);
        r->next = log->readers;
        log->readers = r;
    }
    pthread_mutex_unlock(&log->lock);
    return there;
}

void oplog_detach(struct oplog *log, struct oplog_reader *r)
{
    pthread_mutex_lock(&log->lock);
    for (struct oplog_reader **link = &log->readers; *link; link = &(*link)->next)
        if (*link == r) {
            *link = r->next;
            if (atomic_exchange(&r->asleep, false))
                atomic_fetch_sub(&log->sleepers, 1);
            break;
        }
    if (oplog_active(log))
        trim(log);
    pthread_mutex_unlock(&log->lock);
}

int oplog_gather(const struct oplog *log, uint64_t from, uint64_t end, struct iovec *iov, int max)
{
    int n = 0;

    for (; from < end && n < max; n++) {
        size_t inside = from & (OPLOG_BLOCK - 1), size = OPLOG_BLOCK - inside;
        char *block = atomic_load_explicit(&log->ring[(from >> OPLOG_BLOCK_BITS) % OPLOG_RING], memory_order_acquire);
        size = end - from < size ? end - from : size;
        iov[n] = (struct iovec){block + inside, size};
        from += size;
    }
    return n;
}

void oplog_advance(struct oplog *log, struct oplog_reader *r, uint64_t position)
{
    uint64_t was = atomic_load_explicit(&r->position, memory_order_relaxed);

    atomic_store(&r->position, position);
    if (was >> OPLOG_BLOCK_BITS != position >> OPLOG_BLOCK_BITS)
        try_trim(log);
}

bool oplog_read_by_anyone(struct oplog *log)
{
    bool is;

    pthread_mutex_lock(&log->lock);
    is = log->readers != NULL;
    pthread_mutex_unlock(&log->lock);
    return is;
}

/* The count goes up first and down last: it may say too many, which costs a waker a look, but never too few. */
bool oplog_sleep(struct oplog *log, struct oplog_reader *r, uint64_t seen)
{
    atomic_fetch_add(&log->sleepers, 1);
    if (atomic_exchange(&r->asleep, true)) {
        atomic_fetch_sub(&log->sleepers, 1);
        return true;
    }
    if (oplog_tail(log) <= seen && !atomic_load(&r->lost))
        return true;
    if (atomic_exchange(&r->asleep, false))
        atomic_fetch_sub(&log->sleepers, 1);
    return false;
}
