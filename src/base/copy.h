/*
 * Copying what is short most of the time: values, words of a protocol. A call of memcpy costs more than the copy itself
 * then, and makes the function around it save its registers.
 */
#ifndef BASE_COPY_H
#define BASE_COPY_H

#include <stddef.h>
#include <string.h>

#define COPY_SHORT_MAX 32

/* memcpy of n <= COPY_SHORT_MAX bytes, 0 among them, by two copies of a fixed size that overlap as needed. */
static inline void copy_short(char *to, const char *from, size_t n)
{
    if (n >= 16) {
        char head[16], tail[16];
        memcpy(head, from, sizeof head);
        memcpy(tail, from + n - sizeof tail, sizeof tail);
        memcpy(to, head, sizeof head);
        memcpy(to + n - sizeof tail, tail, sizeof tail);
    } else if (n >= 8) {
        char head[8], tail[8];
        memcpy(head, from, sizeof head);
        memcpy(tail, from + n - sizeof tail, sizeof tail);
        memcpy(to, head, sizeof head);
        memcpy(to + n - sizeof tail, tail, sizeof tail);
    } else if (n >= 4) {
        char head[4], tail[4];
        memcpy(head, from, sizeof head);
        memcpy(tail, from + n - sizeof tail, sizeof tail);
        memcpy(to, head, sizeof head);
        memcpy(to + n - sizeof tail, tail, sizeof tail);
    } else if (n > 0) {
        char first = from[0], middle = from[n / 2], last = from[n - 1];
        to[0] = first;
        to[n / 2] = middle;
        to[n - 1] = last;
    }
}

#endif
