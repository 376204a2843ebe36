/* Active expiry: finds what has expired by the deadline bounds of the tables, partition by partition. */
#ifndef STORE_EXPIRE_H
#define STORE_EXPIRE_H

#include <stdint.h>

struct keyspace;
struct thread;

/*
 * Expires what is due in partitions [from, to), starting at *next and leaving there where to go on; stops after about
 * budget_us. Partitions that are taken are passed by. The caller has entered the gate. Returns the milliseconds until
 * the earliest deadline of the partitions that it looked at, 0 when it stopped early, INT64_MAX when there is none.
 */
int64_t expire_step(struct keyspace *ks, struct thread *t, uint32_t from, uint32_t to, uint32_t *next,
                    int64_t budget_us);

#endif
