/* jemalloc's statistics are as old as the last change of its epoch: reading them advances it first. */
#include "base/allocator.h"

#include <stdio.h>
#include <sys/types.h>

#if LARDER_JEMALLOC

#include <jemalloc/jemalloc.h>

#define QUOTE(x) #x
#define TEXT(x) QUOTE(x)
#define VERSION(major, minor, patch) "jemalloc-" TEXT(major) "." TEXT(minor) "." TEXT(patch)

static uint64_t read_size(const char *name)
{
    size_t v = 0, n = sizeof v;

    return mallctl(name, &v, &n, NULL, 0) == 0 ? v : 0;
}

bool allocator_stats(struct allocator_stats *out)
{
    uint64_t epoch = 1;
    size_t n = sizeof epoch;

    if (mallctl("epoch", &epoch, &n, &epoch, n) != 0)
        return false;
    *out =
        (struct allocator_stats){read_size("stats.allocated"), read_size("stats.active"), read_size("stats.resident")};
    return out->allocated > 0;
}

void allocator_start(void)
{
    ssize_t decay_ms = 200;
    unsigned arenas = 0;
    size_t n = sizeof arenas;
    char name[48];

    mallctl("arenas.dirty_decay_ms", NULL, NULL, &decay_ms, sizeof decay_ms); /* of those to come */
    mallctl("arenas.narenas", &arenas, &n, NULL, 0);
    for (unsigned i = 0; i < arenas; i++) {
        snprintf(name, sizeof name, "arena.%u.dirty_decay_ms", i);
        mallctl(name, NULL, NULL, &decay_ms, sizeof decay_ms);
    }
}

void allocator_decay(void)
{
    mallctl("arena." TEXT(MALLCTL_ARENAS_ALL) ".decay", NULL, NULL, NULL, 0);
}

void allocator_trim(void)
{
    mallctl("arena." TEXT(MALLCTL_ARENAS_ALL) ".purge", NULL, NULL, NULL, 0);
}

const char *allocator_name(void)
{
    return VERSION(JEMALLOC_VERSION_MAJOR, JEMALLOC_VERSION_MINOR, JEMALLOC_VERSION_BUGFIX);
}

/* Without single arenas, and without classes that were never used. */
void allocator_report(void (*write)(void *arg, const char *text), void *arg)
{
    malloc_stats_print(write, arg, "ax");
}

#else

bool allocator_stats(struct allocator_stats *out)
{
    *out = (struct allocator_stats){0};
    return false;
}

void allocator_start(void)
{
}

void allocator_decay(void)
{
}

void allocator_trim(void)
{
}

const char *allocator_name(void)
{
    return "libc";
}

void allocator_report(void (*write)(void *arg, const char *text), void *arg)
{
    write(arg, "The linked allocator does not report.\n");
}

#endif
