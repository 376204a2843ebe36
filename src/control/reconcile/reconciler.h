/*
 * The reconciler moves the world towards the model, in small steps that may be repeated. Per shard (reconcile/shard.h) it
 * sees to its nodes, their roles and their endpoints; here is what shards share: the agent, the loopback blocks that stand
 * for VPCs, and when a shard is looked at.
 *
 * A shard is looked at when something happened to it, when the model changed, and from time to time. Whoever changes the
 * model calls reconciler_changed; the looking happens later, from the loop.
 */
#ifndef CONTROL_RECONCILE_RECONCILER_H
#define CONTROL_RECONCILE_RECONCILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

struct agent;
struct event_base;
struct model;
struct reconciler;
struct secrets;
struct shadow_pool;

struct reconciler_options {
    struct event_base *base;
    struct model *model;
    struct agent *agent;
    struct secrets *secrets;
    const struct shadow_pool *pool; /* copied */
};

/* The agent's nodes are the reconciler's alone. */
struct reconciler *reconciler_new(const struct reconciler_options *o);

/* Lets go of all nodes, which live on. Accepts NULL. */
void reconciler_free(struct reconciler *r);

/* Something in the model changed. */
void reconciler_changed(struct reconciler *r);

/* Stops all nodes in an orderly way, and calls done when none is left. */
void reconciler_stop_nodes(struct reconciler *r, void (*done)(void *arg), void *arg);

/* The first address of the block that stands for a VPC; it is claimed if need be. Returns 0 or a negative errno value. */
int reconciler_shadow(struct reconciler *r, struct view vpc_id, uint32_t *base);

/* The same for a VPC that has one already; false when it has none. */
bool reconciler_find_shadow(const struct reconciler *r, struct view vpc_id, uint32_t *base);

/* ---- for the parts of reconcile/ ---- */

struct buf;
struct runtime;
struct shard;

struct event_base *reconciler_base(const struct reconciler *r);
struct model *reconciler_model(const struct reconciler *r);
struct agent *reconciler_agent(const struct reconciler *r);

/* Are the nodes being stopped? Then nothing is started any more. */
bool reconciler_is_stopping(const struct reconciler *r);

/* Appends a shard's secret; 0, or -1 when it cannot be read. */
int reconciler_secret(const struct reconciler *r, const struct shard *s, struct buf *out);

/* Forgets a runtime whose shard is gone. It is freed later, not within the call. */
void reconciler_drop(struct reconciler *r, struct runtime *runtime);

/* Removes the directory of a node that has gone. */
void reconciler_remove_directory(const struct reconciler *r, const char *id);

#endif
