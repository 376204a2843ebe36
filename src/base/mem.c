/*
 * Allocation over plain malloc (whatever allocator is linked), with a count of the bytes in use.
 *
 * Each thread counts on a cache line of its own, written by that thread alone with plain loads and stores, so counting
 * costs no locked instruction. A slot is taken at a thread's first allocation and given back at its exit, when its
 * count is folded into the shared line, slot 0. Threads that find no free slot, and threads whose slot is already given
 * back (destructors that run after ours), count on the shared line with atomic additions. Single slots may be negative:
 * memory is often freed by another thread than the one that allocated it.
 *
 * Rejected: asking the allocator (glibc has no cheap total; jemalloc's is an epoch old and counts its caches), and one
 * shared counter (a contended line on every allocation).
 */
#include "base/mem.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE 64
#define SLOTS 256
#define UNMAP_STEP ((size_t)1 << 20) /* takes the kernel some tens of microseconds */
#define UNMAP_REST_US 20

struct slot {
    _Alignas(LINE) _Atomic int64_t bytes;
    atomic_bool taken;
};

static struct slot slots[SLOTS];   /* slot 0 is shared, the others belong to the thread that took them */
static atomic_uint slots_high = 1; /* slots from here on were never taken */
static pthread_key_t slot_key;
static pthread_once_t slot_once = PTHREAD_ONCE_INIT;
static bool slot_key_made; /* written under slot_once */

static _Thread_local struct slot *my_slot;
static _Thread_local int fail_left = -1; /* calls until failures begin; negative: no injection */

static _Noreturn void out_of_memory(size_t n)
{
    char line[80];
    int len = snprintf(line, sizeof line, "Out of memory allocating %zu bytes\n", n);

    if (write(STDERR_FILENO, line, (size_t)len) < 0)
        abort();
    abort();
}

/* Runs at thread exit. */
static void slot_release(void *arg)
{
    struct slot *s = arg;

    my_slot = &slots[0];
    atomic_fetch_add_explicit(&slots[0].bytes, atomic_load_explicit(&s->bytes, memory_order_relaxed),
                              memory_order_relaxed);
    atomic_store_explicit(&s->bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&s->taken, false, memory_order_release);
}

static void slot_make_key(void)
{
    slot_key_made = pthread_key_create(&slot_key, slot_release) == 0;
}

static struct slot *slot_take(void)
{
    /* pthread_setspecific may allocate through a replaced malloc, never through this file: no recursion. */
    my_slot = &slots[0];
    pthread_once(&slot_once, slot_make_key);
    for (unsigned i = 1; slot_key_made && i < SLOTS; i++) {
        struct slot *s = &slots[i];

        if (atomic_load_explicit(&s->taken, memory_order_relaxed) ||
            atomic_exchange_explicit(&s->taken, true, memory_order_acquire))
            continue;
        if (pthread_setspecific(slot_key, s) != 0) {
            atomic_store_explicit(&s->taken, false, memory_order_release);
            break;
        }
        unsigned high = atomic_load_explicit(&slots_high, memory_order_relaxed);
        while (high <= i && !atomic_compare_exchange_weak_explicit(&slots_high, &high, i + 1, memory_order_relaxed,
                                                                   memory_order_relaxed))
            ;
        my_slot = s;
        break;
    }
    return my_slot;
}

void mem_count(int64_t n)
{
    struct slot *s = my_slot;

    if (__builtin_expect(s == NULL, 0))
        s = slot_take();
    if (__builtin_expect(s == &slots[0], 0))
        atomic_fetch_add_explicit(&s->bytes, n, memory_order_relaxed);
    else
        atomic_store_explicit(&s->bytes, atomic_load_explicit(&s->bytes, memory_order_relaxed) + n,
                              memory_order_relaxed);
}

int64_t mem_used(void)
{
    unsigned high = atomic_load_explicit(&slots_high, memory_order_relaxed);
    int64_t sum = 0;

    for (unsigned i = 0; i < high; i++)
        sum += atomic_load_explicit(&slots[i].bytes, memory_order_relaxed);
    return sum;
}

int64_t mem_used_here(void)
{
    const struct slot *s = my_slot;

    return s && s != &slots[0] ? atomic_load_explicit(&s->bytes, memory_order_relaxed) : 0;
}

void mem_fail_after(int n)
{
    fail_left = n;
}

static bool fail_now(void)
{
    if (__builtin_expect(fail_left < 0, 1))
        return false;
    if (fail_left == 0)
        return true;
    fail_left--;
    return false;
}

size_t mem_size(const void *p)
{
    return malloc_usable_size((void *)p);
}

/* Counts a new block; passes NULL through. */
static void *counted(void *p)
{
    if (__builtin_expect(p != NULL, 1))
        mem_count((int64_t)malloc_usable_size(p));
    return p;
}

void *mem_alloc(size_t n)
{
    void *p = counted(malloc(n));

    if (__builtin_expect(p == NULL, 0))
        out_of_memory(n);
    return p;
}

void *mem_zalloc(size_t n)
{
    void *p = counted(calloc(1, n));

    if (__builtin_expect(p == NULL, 0))
        out_of_memory(n);
    return p;
}

void *mem_alloc_lines(size_t n)
{
    void *p = counted(aligned_alloc(LINE, n));

    if (__builtin_expect(p == NULL, 0))
        out_of_memory(n);
    return p;
}

void *mem_try(size_t n)
{
    return fail_now() ? NULL : counted(malloc(n));
}

/* realloc with the count kept; n = 0 asks for one byte, because realloc(p, 0) would free. */
static void *recounted(void *p, size_t n)
{
    int64_t before = (int64_t)malloc_usable_size(p);
    void *q = realloc(p, n != 0 ? n : 1);

    if (q != NULL)
        mem_count((int64_t)malloc_usable_size(q) - before);
    return q;
}

void *mem_try_realloc(void *p, size_t n)
{
    return fail_now() ? NULL : recounted(p, n);
}

void *mem_realloc(void *p, size_t n)
{
    void *q = recounted(p, n);

    if (__builtin_expect(q == NULL, 0))
        out_of_memory(n);
    return q;
}

char *mem_strndup(const char *p, size_t n)
{
    char *s = mem_alloc(n + 1);

    if (n != 0)
        memcpy(s, p, n);
    s[n] = '\0';
    return s;
}

void mem_free(void *p)
{
    if (p == NULL)
        return;
    mem_count(-(int64_t)malloc_usable_size(p));
    free(p);
}

void *mem_try_map(size_t n)
{
    void *p = fail_now() ? MAP_FAILED : mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    mem_count((int64_t)n);
    return p;
}

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define REMAP_UNSEEN 1 /* by the sanitizer, which takes what comes to the old place later for a race */
#endif
#endif

static void *remap(void *p, size_t old, size_t n)
{
#ifdef REMAP_UNSEEN
    void *q = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (q != MAP_FAILED) {
        memcpy(q, p, old < n ? old : n);
        munmap(p, old);
    }
    return q;
#else
    return mremap(p, old, n, MREMAP_MAYMOVE);
#endif
}

void *mem_try_remap(void *p, size_t old, size_t n)
{
    void *q = fail_now() ? MAP_FAILED : remap(p, old, n);

    if (q == MAP_FAILED)
        return NULL;
    mem_count((int64_t)n - (int64_t)old);
    return q;
}

/* Maps that wait for mem_reclaim, linked through their first bytes. */
struct deferred_map {
    struct deferred_map *next;
    size_t n;
};

static struct {
    pthread_mutex_t lock;
    struct deferred_map *head;
    void (*wake)(void *arg);
    void *arg;
} deferred = {.lock = PTHREAD_MUTEX_INITIALIZER};

void mem_on_deferred(void (*wake)(void *arg), void *arg)
{
    pthread_mutex_lock(&deferred.lock);
    deferred.wake = wake;
    deferred.arg = arg;
    pthread_mutex_unlock(&deferred.lock);
}

void mem_unmap(void *p, size_t n)
{
    struct deferred_map *map = p;
    void (*wake)(void *arg);

    mem_count(-(int64_t)n);
    pthread_mutex_lock(&deferred.lock);
    wake = n >= MEM_DEFER_MIN ? deferred.wake : NULL;
    if (wake) {
        *map = (struct deferred_map){deferred.head, n};
        deferred.head = map;
        wake(deferred.arg);
    }
    pthread_mutex_unlock(&deferred.lock);
    if (!wake)
        munmap(p, n);
}

bool mem_reclaim(void)
{
    struct deferred_map *map;
    size_t n;

    pthread_mutex_lock(&deferred.lock);
    map = deferred.head;
    if (map)
        deferred.head = map->next;
    pthread_mutex_unlock(&deferred.lock);
    if (!map)
        return false;
    for (n = map->n; n > UNMAP_STEP; n -= UNMAP_STEP) {
        munmap((char *)map + n - UNMAP_STEP, UNMAP_STEP);
        clock_sleep_us(UNMAP_REST_US);
    }
    munmap(map, n);
    return true;
}
