/* A model with an account's defaults in a directory of its own, and calls of handlers on it, without a service around. */
#ifndef UNIT_CONTROL_API_WORLD_H
#define UNIT_CONTROL_API_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api_elasticache.h"
#include "control/api/call.h"
#include "control/model/defaults.h"

#define WORLD_NOW INT64_C(1700000000000)

struct world {
    char dir[40];
    struct api api;
    struct api_call call;
    struct arena arena;
};

/* The call that a handler gets next; what the last one left is freed. */
static inline struct api_call *world_call(struct world *w)
{
    arena_reset(&w->arena);
    buf_clear(&w->call.message);
    w->call.api = &w->api;
    w->call.service = &elasticache_service;
    w->call.model = w->api.model;
    w->call.account = model_account_at(w->api.model, 0);
    w->call.arena = &w->arena;
    w->call.now_ms = WORLD_NOW;
    return &w->call;
}

/* Ends the call as the front does: its changes stay if it succeeded. Returns the error. */
static inline int world_end(struct world *w, int error)
{
    struct txn *t = w->call.txn;

    w->call.txn = NULL;
    if (error != 0)
        txn_abort(t);
    else if (t)
        txn_commit(t, NULL, NULL);
    return error;
}

static inline int world_open(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    char path[64], error[MODEL_ERROR_MAX];
    struct txn *t;

    snprintf(w->dir, sizeof w->dir, "/tmp/larder-test-api-XXXXXX");
    if (!mkdtemp(w->dir))
        return -1;
    snprintf(path, sizeof path, "%s/state.db", w->dir);
    w->api.partition = VIEW("aws");
    if (model_open(&w->api.model, path, error) != 0)
        return -1;
    t = txn_begin(w->api.model);
    defaults_make(t, VIEW("000000000000"), VIEW("ap-northeast-2"), WORLD_NOW);
    txn_commit(t, NULL, NULL);
    *state = w;
    return 0;
}

static inline int world_close(void **state)
{
    static const char *const names[] = {"state.db", "state.db-wal", "state.db-shm"};
    struct world *w = *state;
    char path[64];

    model_close(w->api.model);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", w->dir, names[i]);
        unlink(path);
    }
    rmdir(w->dir);
    buf_free(&w->call.message);
    arena_free(&w->arena);
    free(w);
    return 0;
}

static inline const struct cache_subnet_group *world_default_subnets(const struct world *w)
{
    const struct cache_subnet_group *g = model_cache_subnet_group(w->api.model, VIEW("default"));

    assert_non_null(g);
    return g;
}

/* A cache cluster in the first subnet of the default group. */
static inline void world_add_cluster(struct world *w, const char *id, const char *subnet_group,
                                     const char *parameter_group)
{
    struct view subnet = world_default_subnets(w)->subnet_ids.items[0];
    struct txn *t = txn_begin(w->api.model);
    struct cache_cluster *n = txn_add_cache_cluster(t, view_str(id));

    n->id = txn_text(t, n, view_str(id));
    n->shard_id = txn_text(t, n, VIEW("shard"));
    n->status = txn_text(t, n, VIEW("creating"));
    n->engine = txn_text(t, n, VIEW("redis"));
    n->engine_version = txn_text(t, n, VIEW("7.1.0"));
    n->node_type = txn_text(t, n, VIEW("cache.t4g.small"));
    n->zone = txn_text(t, n, VIEW("ap-northeast-2a"));
    n->subnet_id = txn_text(t, n, subnet);
    n->address = txn_text(t, n, VIEW("172.31.0.4"));
    n->interface_id = txn_text(t, n, VIEW("eni-1"));
    n->subnet_group = txn_text(t, n, view_str(subnet_group));
    n->parameter_group = txn_text(t, n, view_str(parameter_group));
    n->maintenance_window = txn_text(t, n, VIEW("sun:05:00-sun:06:00"));
    n->snapshot_window = txn_text(t, n, VIEW("03:00-04:00"));
    txn_commit(t, NULL, NULL);
}

/* A replication group without members. */
static inline void world_add_group(struct world *w, const char *id, const char *subnet_group,
                                   const char *parameter_group)
{
    struct txn *t = txn_begin(w->api.model);
    struct replication_group *g = txn_add_replication_group(t, view_str(id));

    g->id = txn_text(t, g, view_str(id));
    g->description = txn_text(t, g, VIEW("a group"));
    g->status = txn_text(t, g, VIEW("creating"));
    g->engine = txn_text(t, g, VIEW("redis"));
    g->engine_version = txn_text(t, g, VIEW("6.0.5"));
    g->node_type = txn_text(t, g, VIEW("cache.r6g.large"));
    g->subnet_group = txn_text(t, g, view_str(subnet_group));
    g->parameter_group = txn_text(t, g, view_str(parameter_group));
    g->maintenance_window = txn_text(t, g, VIEW("sun:05:00-sun:06:00"));
    g->snapshot_window = txn_text(t, g, VIEW("03:00-04:00"));
    txn_commit(t, NULL, NULL);
}

#endif
