/* Random bytes from the kernel, by getrandom(2): no file descriptor, and never before the pool is seeded. */
#include "base/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

void random_bytes(void *p, size_t n)
{
    char *at = p;

    while (n != 0) {
        ssize_t got = getrandom(at, n, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            perror("getrandom");
            abort();
        }
        at += got;
        n -= (size_t)got;
    }
}

void random_seed(struct random *r)
{
    /* The state of all zeros is the one that the generator never leaves. */
    do
        random_bytes(r->s, sizeof r->s);
    while ((r->s[0] | r->s[1] | r->s[2] | r->s[3]) == 0);
}

void random_hex(char *out, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[32];

    random_bytes(bytes, n / 2);
    for (size_t i = 0; i < n; i++)
        out[i] = digits[bytes[i / 2] >> (i % 2 ? 0 : 4) & 15];
    out[n] = '\0';
}
