/*
 * The block allocator. Lock order: a class's lock, then the chunk lock. A block belongs to its thread's magazine, to
 * its page's free list, or to whoever allocated it; a page counts blocks in magazines as used.
 *
 * Pages of a class wait in four bins by how full they are, and allocation prefers the fullest: what is nearly empty
 * gets the chance to become empty. Rejected: pages owned by threads (a block freed elsewhere needs a message back, and
 * a moving collector wants any thread to free anything); size in every block (8 bytes of 60).
 */
#include "engine/store/heap.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#define HEAP_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HEAP_ASAN 1
#endif
#endif
#ifdef HEAP_ASAN
#include <sanitizer/asan_interface.h>
#define block_poison(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define block_unpoison(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define block_poison(p, n) ((void)0)
#define block_unpoison(p, n) ((void)0)
#endif

#define PAGE_SIZE ((size_t)64 * 1024)
#define CHUNK_SIZE ((size_t)2 * 1024 * 1024)
#define CHUNK_PAGES (CHUNK_SIZE / PAGE_SIZE)
#define PAGE_HEADER 64
#define BINS 4
#define SLOT_NONE UINT16_MAX
#define LOCKED_PAGES 128 /* pages looked at while a class is locked */
#define KEEP_PAGES 32    /* empty pages kept before they go back to the kernel */

enum page_where { PAGE_FULL, PAGE_BINNED, PAGE_DRAINING };

struct page {
    struct page *next, *prev; /* in its bin, or in the list of empty pages */
    uint32_t size;            /* of a block */
    uint16_t slots, used;
    uint16_t free_head; /* a chain of slot numbers through the blocks */
    uint16_t fresh;     /* slots from here on were never handed out */
    uint8_t where, bin;
    atomic_bool draining;
};
_Static_assert(sizeof(struct page) <= PAGE_HEADER, "page header");

struct size_class {
    pthread_mutex_t lock;
    struct page *bins[BINS];
    struct page *drain;     /* pages set to drain */
    uint64_t pages, blocks; /* in use; blocks include those in magazines */
} __attribute__((aligned(64)));

struct heap_shared {
    struct size_class classes[HEAP_CLASSES];
    pthread_mutex_t chunk_lock;
    struct page *warm, *cold;       /* empty pages: still resident, given back */
    uint64_t warm_count, pages_out; /* pages_out: pages in classes */
    void **chunks;
    size_t chunk_count;
    struct heap *fronts[THREAD_MAX];
    atomic_uint front_count;
    _Atomic uint32_t drain_epoch;
    atomic_bool drains; /* some pages may be draining: whoever frees must look */
};

static struct page *page_of(const void *p)
{
    return (struct page *)((uintptr_t)p & ~(PAGE_SIZE - 1));
}

static char *page_slot(struct page *pg, unsigned slot)
{
    return (char *)pg + PAGE_HEADER + (size_t)slot * pg->size;
}

static void list_push(struct page **head, struct page *pg)
{
    pg->prev = NULL;
    pg->next = *head;
    if (*head)
        (*head)->prev = pg;
    *head = pg;
}

static void list_take(struct page **head, struct page *pg)
{
    if (pg->prev)
        pg->prev->next = pg->next;
    else
        *head = pg->next;
    if (pg->next)
        pg->next->prev = pg->prev;
}

struct heap_shared *heap_shared_new(void)
{
    struct heap_shared *hs = mem_alloc_lines((sizeof *hs + 63) & ~(size_t)63);

    memset(hs, 0, sizeof *hs);
    for (unsigned i = 0; i < HEAP_CLASSES; i++)
        pthread_mutex_init(&hs->classes[i].lock, NULL);
    pthread_mutex_init(&hs->chunk_lock, NULL);
    return hs;
}

void heap_shared_free(struct heap_shared *hs)
{
    if (!hs)
        return;
    for (size_t i = 0; i < hs->chunk_count; i++) {
        block_unpoison(hs->chunks[i], CHUNK_SIZE);
        munmap(hs->chunks[i], CHUNK_SIZE);
    }
    for (unsigned i = 0; i < hs->front_count; i++)
        mem_free(hs->fronts[i]);
    mem_free(hs->chunks);
    mem_free(hs);
}

struct heap *heap_new(struct heap_shared *hs)
{
    struct heap *h = mem_zalloc(sizeof *h);

    h->shared = hs;
    pthread_mutex_lock(&hs->chunk_lock);
    if (hs->front_count == THREAD_MAX)
        abort();
    hs->fronts[hs->front_count] = h;
    atomic_fetch_add(&hs->front_count, 1); /* what is counted is there */
    pthread_mutex_unlock(&hs->chunk_lock);
    return h;
}

/* Maps one chunk at its own alignment and puts its pages on the cold list. chunk_lock held. */
static void chunk_map(struct heap_shared *hs)
{
    char *p = mmap(NULL, 2 * CHUNK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char *at;

    if (p == MAP_FAILED) {
        fprintf(stderr, "larder-server: out of memory: a chunk of %zu bytes was refused\n", CHUNK_SIZE);
        abort();
    }
    at = (char *)(((uintptr_t)p + CHUNK_SIZE - 1) & ~(CHUNK_SIZE - 1));
    if (at > p)
        munmap(p, (size_t)(at - p));
    if (at + CHUNK_SIZE < p + 2 * CHUNK_SIZE)
        munmap(at + CHUNK_SIZE, (size_t)(p + 2 * CHUNK_SIZE - (at + CHUNK_SIZE)));
    madvise(at, CHUNK_SIZE, MADV_HUGEPAGE);
    hs->chunks = mem_realloc(hs->chunks, (hs->chunk_count + 1) * sizeof *hs->chunks);
    hs->chunks[hs->chunk_count++] = at;
    for (size_t i = CHUNK_PAGES; i-- > 0;)
        list_push(&hs->cold, (struct page *)(at + i * PAGE_SIZE));
}

static struct page *page_get(struct heap_shared *hs, uint32_t size)
{
    struct page *pg;

    pthread_mutex_lock(&hs->chunk_lock);
    if (hs->warm) {
        pg = hs->warm;
        list_take(&hs->warm, pg);
        hs->warm_count--;
    } else {
        if (!hs->cold)
            chunk_map(hs);
        pg = hs->cold;
        list_take(&hs->cold, pg);
    }
    hs->pages_out++;
    pthread_mutex_unlock(&hs->chunk_lock);
    pg->size = size;
    pg->slots = (uint16_t)((PAGE_SIZE - PAGE_HEADER) / size);
    pg->used = pg->fresh = 0;
    pg->free_head = SLOT_NONE;
    atomic_init(&pg->draining, false);
    block_poison((char *)pg + PAGE_HEADER, PAGE_SIZE - PAGE_HEADER);
    return pg;
}

static void page_put(struct heap_shared *hs, struct page *pg)
{
    bool keep;

    block_unpoison((char *)pg, PAGE_SIZE);
    pthread_mutex_lock(&hs->chunk_lock);
    hs->pages_out--;
    keep = hs->warm_count < KEEP_PAGES;
    if (keep) {
        list_push(&hs->warm, pg);
        hs->warm_count++;
    }
    pthread_mutex_unlock(&hs->chunk_lock);
    if (keep)
        return;
    /* or the kernel would make a huge page of what is left, and fill the gap */
    madvise((void *)((uintptr_t)pg & ~(CHUNK_SIZE - 1)), CHUNK_SIZE, MADV_NOHUGEPAGE);
    madvise(pg, PAGE_SIZE, MADV_DONTNEED);
    pthread_mutex_lock(&hs->chunk_lock);
    list_push(&hs->cold, pg);
    pthread_mutex_unlock(&hs->chunk_lock);
}

/* The bin by use: the last one is the fullest. */
static unsigned page_bin(const struct page *pg)
{
    return (unsigned)pg->used * BINS / ((unsigned)pg->slots + 1);
}

/* Puts the page where its use says. Class lock held. */
static void page_settle(struct size_class *sc, struct page *pg)
{
    unsigned bin = page_bin(pg);

    if (pg->where == PAGE_DRAINING)
        return;
    if (pg->where == PAGE_BINNED) {
        if (pg->used < pg->slots && pg->bin == bin)
            return;
        list_take(&sc->bins[pg->bin], pg);
    }
    if (pg->used == pg->slots) {
        pg->where = PAGE_FULL;
        return;
    }
    pg->where = PAGE_BINNED;
    pg->bin = (uint8_t)bin;
    list_push(&sc->bins[bin], pg);
}

static struct page *class_page(struct heap_shared *hs, struct size_class *sc, unsigned class)
{
    struct page *pg;

    for (unsigned b = BINS; b-- > 0;)
        if (sc->bins[b])
            return sc->bins[b];
    pg = page_get(hs, class * 8);
    pg->where = PAGE_FULL;
    sc->pages++;
    page_settle(sc, pg);
    return pg;
}

static void *page_take(struct page *pg)
{
    char *p;

    pg->used++;
    if (pg->free_head != SLOT_NONE) {
        p = page_slot(pg, pg->free_head);
        block_unpoison(p, sizeof(void *));
        memcpy(&pg->free_head, p, sizeof pg->free_head);
        return p;
    }
    p = page_slot(pg, pg->fresh++);
    block_unpoison(p, sizeof(void *));
    return p;
}

static uint32_t magazine_limit(unsigned class)
{
    uint32_t n = 8192 / (class * 8);
    return n < 8 ? 8 : n > 128 ? 128 : n;
}

void *heap_alloc_slow(struct heap *h, unsigned class)
{
    struct magazine *m = &h->magazines[class];
    struct heap_shared *hs = h->shared;
    struct size_class *sc = &hs->classes[class];
    uint32_t want;
    void *p;

    if (m->limit == 0)
        m->limit = magazine_limit(class);
    want = m->limit / 2;
    pthread_mutex_lock(&sc->lock);
    while (m->count < want) {
        struct page *pg = class_page(hs, sc, class);
        for (; m->count < want && pg->used < pg->slots; m->count++, sc->blocks++) {
            p = page_take(pg);
            memcpy(p, &m->head, sizeof m->head);
            m->head = p;
            block_poison(p, class * 8);
        }
        page_settle(sc, pg);
    }
    pthread_mutex_unlock(&sc->lock);
    p = m->head;
    block_unpoison(p, class * 8);
    memcpy(&m->head, p, sizeof m->head);
    m->count--;
    return p;
}

/* Puts a block, poisoned but for its first bytes, on its page's chain. Returns the page if that emptied it: it is then
 * in no list, and page_put's. Class lock held. */
static struct page *page_return(struct size_class *sc, char *p)
{
    struct page *pg = page_of(p);
    uint16_t slot = (uint16_t)((size_t)(p - (char *)pg - PAGE_HEADER) / pg->size);

    memcpy(p, &pg->free_head, sizeof pg->free_head);
    block_poison(p, pg->size);
    pg->free_head = slot;
    pg->used--;
    sc->blocks--;
    if (pg->used > 0) {
        page_settle(sc, pg);
        return NULL;
    }
    if (pg->where == PAGE_BINNED)
        list_take(&sc->bins[pg->bin], pg);
    else if (pg->where == PAGE_DRAINING)
        list_take(&sc->drain, pg);
    sc->pages--;
    return pg;
}

void heap_flush(struct heap *h, unsigned class, uint32_t keep)
{
    struct magazine *m = &h->magazines[class];
    struct heap_shared *hs = h->shared;
    struct size_class *sc = &hs->classes[class];
    struct page *empty = NULL, *next;

    pthread_mutex_lock(&sc->lock);
    for (; m->count > keep; m->count--) {
        char *p = m->head;
        struct page *pg;

        block_unpoison(p, sizeof(void *));
        memcpy(&m->head, p, sizeof m->head);
        pg = page_return(sc, p);
        if (pg) {
            pg->next = empty;
            empty = pg;
        }
    }
    pthread_mutex_unlock(&sc->lock);
    for (; empty; empty = next) {
        next = empty->next;
        page_put(hs, empty);
    }
}

void heap_trim(struct heap *h)
{
    for (unsigned i = 0; i < HEAP_CLASSES; i++)
        if (h->magazines[i].count > 0)
            heap_flush(h, i, 0);
}

static inline unsigned class_of(size_t size)
{
    return size < 16 ? 2 : (unsigned)((size + 7) / 8);
}

void *heap_alloc(struct heap *h, size_t size)
{
    unsigned class = class_of(size);
    struct magazine *m = &h->magazines[class];
    void *p = m->head;

    tally_add(&h->used, class * 8);
    if (__builtin_expect(!p, 0))
        return heap_alloc_slow(h, class);
    block_unpoison(p, class * 8);
    memcpy(&m->head, p, sizeof m->head);
    m->count--;
    return p;
}

/* Frees a block straight to its page: a magazine would hand it out again. */
static void return_block(struct heap *h, void *p, unsigned class)
{
    struct size_class *sc = &h->shared->classes[class];
    struct page *empty;

    pthread_mutex_lock(&sc->lock);
    empty = page_return(sc, p);
    pthread_mutex_unlock(&sc->lock);
    if (empty)
        page_put(h->shared, empty);
}

void heap_free(struct heap *h, void *p, size_t size)
{
    unsigned class = class_of(size);
    struct magazine *m = &h->magazines[class];

    tally_add(&h->used, -(int64_t)(class * 8));
    if (__builtin_expect(atomic_load_explicit(&h->shared->drains, memory_order_relaxed), 0) && heap_draining(p)) {
        return_block(h, p, class);
        return;
    }
    memcpy(p, &m->head, sizeof m->head);
    m->head = p;
    block_poison(p, class * 8);
    if (m->limit == 0)
        m->limit = magazine_limit(class);
    if (__builtin_expect(++m->count >= m->limit, 0))
        heap_flush(h, class, m->limit / 2);
}

bool heap_draining(const void *p)
{
    return atomic_load_explicit(&page_of(p)->draining, memory_order_relaxed);
}

/* Sets pages of one class to drain, emptiest first, while the free blocks of the rest can take what they hold. */
static uint64_t class_choose(struct size_class *sc, unsigned class)
{
    uint64_t per_page = (PAGE_SIZE - PAGE_HEADER) / (class * 8), chosen = 0, before, spare = 0;

    do {
        struct page *pg = NULL;
        before = chosen;
        pthread_mutex_lock(&sc->lock);
        if (chosen == 0)
            spare = sc->pages * per_page - sc->blocks;
        for (unsigned i = 0; i < LOCKED_PAGES; i++) {
            for (unsigned b = 0; b < BINS - 1 && !(pg = sc->bins[b]); b++)
                ;
            if (!pg || spare < 2 * per_page)
                break;
            list_take(&sc->bins[pg->bin], pg);
            pg->where = PAGE_DRAINING;
            list_push(&sc->drain, pg);
            atomic_store_explicit(&pg->draining, true, memory_order_relaxed);
            spare -= per_page;
            chosen++;
        }
        pthread_mutex_unlock(&sc->lock);
    } while (chosen - before == LOCKED_PAGES);
    return chosen;
}

uint64_t heap_choose_drain(struct heap_shared *hs)
{
    uint64_t chosen = 0;

    atomic_store_explicit(&hs->drains, true, memory_order_relaxed);
    for (unsigned i = 2; i < HEAP_CLASSES; i++)
        chosen += class_choose(&hs->classes[i], i);
    if (chosen > 0)
        atomic_fetch_add_explicit(&hs->drain_epoch, 1, memory_order_relaxed);
    return chosen;
}

void heap_end_drain(struct heap_shared *hs)
{
    for (unsigned i = 2; i < HEAP_CLASSES; i++) {
        struct size_class *sc = &hs->classes[i];
        struct page *pg;

        do {
            pthread_mutex_lock(&sc->lock);
            for (unsigned k = 0; k < LOCKED_PAGES && (pg = sc->drain); k++) {
                list_take(&sc->drain, pg);
                atomic_store_explicit(&pg->draining, false, memory_order_relaxed);
                pg->where = PAGE_FULL;
                page_settle(sc, pg);
            }
            pg = sc->drain;
            pthread_mutex_unlock(&sc->lock);
        } while (pg);
    }
    atomic_store_explicit(&hs->drains, false, memory_order_relaxed);
}

void heap_drain_check(struct heap *h)
{
    uint32_t epoch = atomic_load_explicit(&h->shared->drain_epoch, memory_order_relaxed);

    if (h->drain_epoch == epoch)
        return;
    h->drain_epoch = epoch;
    heap_trim(h);
}

uint64_t heap_used(struct heap_shared *hs)
{
    unsigned n = atomic_load_explicit(&hs->front_count, memory_order_acquire);
    int64_t used = 0;

    for (unsigned i = 0; i < n; i++)
        used += tally_read(&hs->fronts[i]->used);
    return used > 0 ? (uint64_t)used : 0;
}

void heap_stats(struct heap_shared *hs, struct heap_stats *out)
{
    *out = (struct heap_stats){.used = heap_used(hs)};
    pthread_mutex_lock(&hs->chunk_lock);
    out->pages = hs->pages_out;
    out->resident = (hs->pages_out + hs->warm_count) * PAGE_SIZE;
    pthread_mutex_unlock(&hs->chunk_lock);
}
