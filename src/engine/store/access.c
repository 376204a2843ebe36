/* The access clock: see access.h. */
#include "engine/store/access.h"

#include "base/random.h"

#define LFU_INIT 5 /* a new item's counter: it must not be the first to go */
#define CLOCK_MASK 0xffffffu
#define BITS_LFU 0x80000000u /* beyond an item's 24: nothing equals it */

static struct {
    _Atomic uint32_t bits; /* what an item touched now gets: seconds, or minutes << 8 and BITS_LFU */
    atomic_bool lfu;
    _Atomic int64_t log_factor, decay_minutes;
} access = {.log_factor = 10, .decay_minutes = 1};

static uint32_t lru_clock(int64_t now_ms)
{
    return (uint32_t)(now_ms / 1000) & CLOCK_MASK;
}

static uint32_t lfu_minutes(int64_t now_ms)
{
    return (uint32_t)(now_ms / 60000) & 0xffff;
}

void access_configure(bool lfu, int64_t log_factor, int64_t decay_minutes)
{
    atomic_store_explicit(&access.lfu, lfu, memory_order_relaxed);
    atomic_store_explicit(&access.log_factor, log_factor, memory_order_relaxed);
    atomic_store_explicit(&access.decay_minutes, decay_minutes, memory_order_relaxed);
}

void access_tick(int64_t now_ms)
{
    bool lfu = atomic_load_explicit(&access.lfu, memory_order_relaxed);

    atomic_store_explicit(&access.bits, lfu ? lfu_minutes(now_ms) << 8 | BITS_LFU : lru_clock(now_ms),
                          memory_order_relaxed);
}

uint32_t access_now(void)
{
    uint32_t bits = atomic_load_explicit(&access.bits, memory_order_relaxed);

    return (bits & BITS_LFU) ? (bits & CLOCK_MASK) | LFU_INIT : bits;
}

/* The counter of those bits after the minutes that passed. */
static unsigned lfu_decayed(uint32_t bits, uint32_t now_minutes, int64_t decay_minutes)
{
    unsigned counter = bits & 0xff;
    uint32_t elapsed = (now_minutes - (bits >> 8)) & 0xffff;
    int64_t periods = decay_minutes > 0 ? elapsed / decay_minutes : 0;

    return periods >= counter ? 0 : counter - (unsigned)periods;
}

static unsigned lfu_incremented(unsigned counter, int64_t log_factor, struct random *random)
{
    uint64_t base = counter > LFU_INIT ? counter - LFU_INIT : 0;

    if (counter == 255 || random_below(random, base * (uint64_t)log_factor + 1) != 0)
        return counter;
    return counter + 1;
}

static __attribute__((noinline)) void count_touch(struct item *it, uint32_t bits, struct random *random)
{
    int64_t decay = atomic_load_explicit(&access.decay_minutes, memory_order_relaxed);
    int64_t factor = atomic_load_explicit(&access.log_factor, memory_order_relaxed);

    bits &= CLOCK_MASK;
    bits |= lfu_incremented(lfu_decayed(it->access, bits >> 8, decay), factor, random);
    if (it->access != bits)
        it->access = bits;
}

void access_touch(struct item *it, struct random *random)
{
    uint32_t bits = atomic_load_explicit(&access.bits, memory_order_relaxed);

    if (it->access == bits)
        return;
    if (bits & BITS_LFU)
        count_touch(it, bits, random);
    else
        it->access = bits;
}

uint32_t access_idle_seconds(const struct item *it, int64_t now_ms)
{
    return (lru_clock(now_ms) - it->access) & CLOCK_MASK;
}

unsigned access_frequency(const struct item *it, int64_t now_ms, int64_t decay_minutes)
{
    return lfu_decayed(it->access, lfu_minutes(now_ms), decay_minutes);
}
