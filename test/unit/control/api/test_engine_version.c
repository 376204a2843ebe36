/* Which node types a cache may change to. */
#include "unit/control/api/world.h"

#include "api_handlers.h"

static bool has(const struct string_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (view_equal(list->items[i], view_str(name)))
            return true;
    return false;
}

static void node_types(void **state)
{
    struct world *w = *state;
    struct list_allowed_node_type_modifications_request cluster = {.cache_cluster_id = VIEW("node")};
    struct list_allowed_node_type_modifications_request group = {.replication_group_id = VIEW("group")};
    struct list_allowed_node_type_modifications_result out = {0};

    world_add_cluster(w, "node", "default", "default.redis7");  /* cache.t4g.small, 7.1 */
    world_add_group(w, "group", "default", "default.redis6.x"); /* cache.r6g.large, 6.0 */
    assert_int_equal(elasticache_list_allowed_node_type_modifications(world_call(w), &cluster, &out), 0);
    assert_true(has(&out.scale_up_modifications, "cache.r6g.large"));
    assert_true(has(&out.scale_up_modifications, "cache.t3.small")); /* as large */
    assert_true(has(&out.scale_down_modifications, "cache.t4g.micro"));
    assert_false(has(&out.scale_up_modifications, "cache.t4g.small"));
    assert_false(has(&out.scale_up_modifications, "cache.r8g.large"));   /* Valkey only */
    assert_false(has(&out.scale_up_modifications, "cache.r6gd.xlarge")); /* data tiering */
    assert_false(has(&out.scale_up_modifications, "cache.m3.large"));    /* retired */
    out = (struct list_allowed_node_type_modifications_result){0};
    assert_int_equal(elasticache_list_allowed_node_type_modifications(world_call(w), &group, &out), 0);
    assert_true(has(&out.scale_down_modifications, "cache.m6g.large"));
    assert_true(has(&out.scale_up_modifications, "cache.r5.large"));
    assert_true(has(&out.scale_up_modifications, "cache.r5.24xlarge"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(node_types, world_open, world_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
