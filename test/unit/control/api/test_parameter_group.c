/* Parameter groups that are in use, and their versions. */
#include "control/api/parameter_group.h"

#include "unit/control/api/world.h"

#include "api_handlers.h"
#include "control/model/catalog.h"

static int modify(struct world *w, const char *name, const char *value)
{
    struct elasticache_parameter_name_value change = {
        .parameter_name = view_str(name),
        .parameter_value = view_str(value),
    };
    struct modify_cache_parameter_group_request in = {
        .cache_parameter_group_name = VIEW("mine"),
        .parameter_name_values = {.set = true, .count = 1, .items = &change},
    };
    struct modify_cache_parameter_group_result out = {0};

    return world_end(w, elasticache_modify_cache_parameter_group(world_call(w), &in, &out));
}

/* name == NULL: all of them. */
static int reset(struct world *w, const char *name)
{
    struct elasticache_parameter_name_value change = {.parameter_name = name ? view_str(name) : VIEW("")};
    struct reset_cache_parameter_group_request in = {
        .cache_parameter_group_name = VIEW("mine"),
        .reset_all_parameters = !name,
        .parameter_name_values = {.set = name != NULL, .count = name != NULL, .items = &change},
    };
    struct reset_cache_parameter_group_result out = {0};

    return world_end(w, elasticache_reset_cache_parameter_group(world_call(w), &in, &out));
}

static int create(struct world *w)
{
    struct create_cache_parameter_group_request in = {
        .cache_parameter_group_name = VIEW("mine"),
        .cache_parameter_group_family = VIEW("redis7"),
        .description = VIEW("a group"),
    };
    struct create_cache_parameter_group_result out = {0};

    return world_end(w, elasticache_create_cache_parameter_group(world_call(w), &in, &out));
}

static int drop(struct world *w)
{
    struct delete_cache_parameter_group_request in = {.cache_parameter_group_name = VIEW("mine")};

    return world_end(w, elasticache_delete_cache_parameter_group(world_call(w), &in));
}

static int64_t version(struct world *w)
{
    struct catalog_group g;

    assert_true(catalog_group(w->api.model, VIEW("mine"), &g));
    return g.version;
}

static void versions(void **state)
{
    struct world *w = *state;

    assert_int_equal(create(w), 0);
    assert_int_equal(version(w), 1);
    assert_int_equal(modify(w, "timeout", "20"), 0);
    assert_int_equal(version(w), 2);
    assert_int_equal(modify(w, "timeout", "20"), 0); /* as it was */
    assert_int_equal(version(w), 2);
    assert_int_equal(modify(w, "timeout", "7"), SERVICE_INVALID_PARAMETER_VALUE);
    assert_int_equal(version(w), 2);
    assert_int_equal(reset(w, "tcp-keepalive"), 0);
    assert_int_equal(version(w), 2);
    assert_int_equal(reset(w, "timeout"), 0);
    assert_int_equal(version(w), 3);
    assert_int_equal(reset(w, NULL), 0);
    assert_int_equal(version(w), 3);
    assert_int_equal(modify(w, "timeout", "20"), 0);
    assert_int_equal(modify(w, "tcp-keepalive", "20"), 0);
    assert_int_equal(reset(w, NULL), 0);
    assert_int_equal(version(w), 6);
    assert_int_equal(model_parameter_group(w->api.model, VIEW("mine"))->values.count, 0);
}

static void in_use(void **state)
{
    struct world *w = *state;
    struct catalog_group g;
    struct txn *t;

    assert_int_equal(create(w), 0);
    assert_int_equal(modify(w, "cluster-enabled", "yes"), 0);
    assert_true(catalog_group(w->api.model, VIEW("mine"), &g) && catalog_group_cluster_mode(&g));
    assert_int_equal(modify(w, "timeout", "20"), 0);
    world_add_cluster(w, "node", "default", "mine");
    assert_true(parameter_group_is_used(w->api.model, VIEW("mine")));
    assert_int_equal(modify(w, "cluster-enabled", "no"), SERVICE_INVALID_PARAMETER_VALUE);
    assert_int_equal(reset(w, "cluster-enabled"), SERVICE_INVALID_PARAMETER_VALUE);
    assert_int_equal(reset(w, NULL), SERVICE_INVALID_PARAMETER_VALUE);
    assert_int_equal(model_parameter_group(w->api.model, VIEW("mine"))->values.count, 2);
    assert_int_equal(modify(w, "timeout", "0"), 0);
    assert_int_equal(drop(w), ELASTICACHE_INVALID_CACHE_PARAMETER_GROUP_STATE);
    t = txn_begin(w->api.model);
    txn_remove(t, MODEL_CACHE_CLUSTER, VIEW("node"));
    txn_commit(t, NULL, NULL);
    world_add_group(w, "group", "default", "mine");
    assert_int_equal(drop(w), ELASTICACHE_INVALID_CACHE_PARAMETER_GROUP_STATE);
    t = txn_begin(w->api.model);
    txn_remove(t, MODEL_REPLICATION_GROUP, VIEW("group"));
    txn_commit(t, NULL, NULL);
    assert_int_equal(reset(w, "cluster-enabled"), 0);
    assert_int_equal(drop(w), 0);
    assert_int_equal(drop(w), ELASTICACHE_CACHE_PARAMETER_GROUP_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(versions, world_open, world_close),
        cmocka_unit_test_setup_teardown(in_use, world_open, world_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
