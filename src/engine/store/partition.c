/* Partition locks: see partition.h. */
#include "engine/store/partition.h"

#define SPINS 24 /* of a pause instruction each: about 2 us on current x86 */

bool partition_try_briefly(struct partition *p)
{
    for (unsigned i = 0; i < SPINS; i++) {
        if (partition_try(p))
            return true;
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("isb");
#endif
    }
    return false;
}
