/*
 * The access clock: 24 bits in every item, as Redis has them. Under an LRU policy they hold seconds; under an LFU
 * policy the minute of the last decay (16 bits) and a logarithmic counter (8 bits; Morris, "Counting large numbers of
 * events in small registers", 1978). Written only when the value changes, so that reads leave the line clean.
 */
#ifndef STORE_ACCESS_H
#define STORE_ACCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/store/item.h"

struct random;

/* What touching an item means; set when the configuration changes, read by every thread (relaxed). */
void access_configure(bool lfu, int64_t log_factor, int64_t decay_minutes);

/* Advances the clock; called by a timer at least once a second. */
void access_tick(int64_t now_ms);

/* The 24 bits of an item that was just made. */
uint32_t access_now(void);

/* Notes an access. */
void access_touch(struct item *it, struct random *random);

/* Seconds since the last access (LRU). */
uint32_t access_idle_seconds(const struct item *it, int64_t now_ms);

/* The counter as decayed by now (LFU). */
unsigned access_frequency(const struct item *it, int64_t now_ms, int64_t decay_minutes);

#endif
