/*
 * A shard at run time: members, who of them is the primary, and the endpoints that move. shard_step looks at what is and
 * what ought to be, and does what can be done now; it is called again when that is done, until nothing is left to do.
 *
 * Roles follow grants. A node serves only what it was granted, in an epoch; the shard's epoch rises with every new primary.
 * Whoever was granted the highest epoch as a primary is the primary, whatever the record says: the nodes know better than a
 * state that could not be written in time.
 *
 * A primary that died is replaced only when it is certainly dead (its process is confirmed to be gone). A node that lost its
 * memory follows the member that has most of the data, before it becomes a primary again.
 */
#ifndef CONTROL_RECONCILE_SHARD_H
#define CONTROL_RECONCILE_SHARD_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/view.h"
#include "control/model/model.h"
#include "control/reconcile/member.h"

struct reconciler;

TAILQ_HEAD(member_list, member);

#define SHARD_ID_MAX 64
#define SHARD_STARTS_MAX 3 /* failed ones, and a node counts as one that does not start */
#define SHARD_OPENS_MAX 10 /* failed ones, and an address counts as taken */

struct runtime {
    LIST_ENTRY(runtime) link;
    struct reconciler *reconciler;
    char id[SHARD_ID_MAX]; /* the shard's */
    struct member_list members;
    struct endpoint *primary_endpoint;
    char serving[MEMBER_ID_MAX]; /* the member that has the primary endpoint; "" for none */
    struct event *timer;
    uint32_t shadow;
    bool has_shadow;
    int64_t lost_us;            /* since when there is no primary; 0: there is one */
    int64_t asked_us;           /* when the last FAILOVER was asked for */
    char target[MEMBER_ID_MAX]; /* of the switchover that is under way; "" for none */
    struct {
        char id[MEMBER_ID_MAX];
        int64_t pid;
    } switching[2];        /* the old primary and the target as it began: it ends with either's process */
    bool refused;          /* the primary would not do it */
    unsigned failed_opens; /* of endpoints, in a row */
    char complaint[512];   /* the last one, so that it is not repeated */
};

struct runtime *runtime_new(struct reconciler *r, struct view shard_id);

/* Lets go of the nodes. Accepts NULL. */
void runtime_free(struct runtime *r);

/* Has it looked at, now or in so many microseconds. */
void runtime_kick(struct runtime *r, int64_t in_us);

/* Looks at it. False: the shard is gone and its last node, too: it may be freed. */
bool runtime_step(struct runtime *r);

/* The loopback address at which a member's node is: false while its VPC has none. `out` has CIDR_TEXT_MAX bytes. */
bool runtime_address(const struct runtime *r, const struct member *m, char *out);

/* Is a switchover under way, between the processes that it began with, and the target not yet known to be the primary? */
bool runtime_is_switching(struct runtime *r);

struct member *runtime_member(struct runtime *r, struct view id);

#endif
