/* Tags of clusters and groups, whatever their state, and those of a create. */
#include "control/api/tag.h"

#include "unit/control/api/world.h"

#include "api_handlers.h"

#define ARN(kind) "arn:aws:elasticache:ap-northeast-2:000000000000:" kind

static void each_kind(struct world *w, const char *arn)
{
    struct elasticache_tag tags[] = {{.key = VIEW("a"), .value = VIEW("1")}, {.key = VIEW("b")}};
    struct add_tags_to_resource_request add = {
        .resource_name = view_str(arn),
        .tags = {.set = true, .count = 2, .items = tags},
    };
    struct view key = VIEW("a");
    struct remove_tags_from_resource_request remove = {
        .resource_name = view_str(arn),
        .tag_keys = {.set = true, .count = 1, .items = &key},
    };
    struct list_tags_for_resource_request list = {.resource_name = view_str(arn)};
    struct add_tags_to_resource_result added = {0};
    struct remove_tags_from_resource_result removed = {0};
    struct list_tags_for_resource_result listed = {0};

    assert_int_equal(elasticache_add_tags_to_resource(world_call(w), &add, &added), 0);
    assert_int_equal(added.tag_list.count, 2);
    world_end(w, 0);
    assert_int_equal(elasticache_remove_tags_from_resource(world_call(w), &remove, &removed), 0);
    assert_int_equal(removed.tag_list.count, 1);
    world_end(w, 0);
    assert_int_equal(elasticache_list_tags_for_resource(world_call(w), &list, &listed), 0);
    assert_int_equal(listed.tag_list.count, 1);
    assert_true(view_equal(listed.tag_list.items[0].key, VIEW("b")) && !listed.tag_list.items[0].value.p);
    assert_null(w->call.txn);
}

static void kinds(void **state)
{
    struct world *w = *state;

    world_add_cluster(w, "node", "default", "default.redis7");
    world_add_group(w, "group", "default", "default.redis7");
    each_kind(w, ARN("cluster:node"));
    each_kind(w, ARN("cluster:Node"));
    each_kind(w, ARN("replicationgroup:group"));
    each_kind(w, ARN("subnetgroup:default"));
}

static void put(void **state)
{
    struct world *w = *state;
    struct elasticache_tag tags[TAG_MAX + 1] = {{{0}, {0}}};
    struct elasticache_tag_list from = {.set = true, .count = 0, .items = tags};
    struct cache_cluster *n;
    char names[TAG_MAX + 1][8];

    world_add_cluster(w, "node", "default", "default.redis7");
    for (unsigned i = 0; i <= TAG_MAX; i++) {
        snprintf(names[i], sizeof names[i], "%u", i);
        tags[i].key = view_str(names[i]);
    }
    n = txn_edit_cache_cluster(call_txn(world_call(w)), VIEW("node"));
    assert_int_equal(tag_put(&w->call, n, &from, &n->tags), 0);
    assert_int_equal(n->tags.count, 0);
    from.count = TAG_MAX + 1;
    assert_int_equal(tag_put(&w->call, n, &from, &n->tags), ELASTICACHE_TAG_QUOTA_PER_RESOURCE_EXCEEDED);
    assert_int_equal(n->tags.count, 0);
    from.count = TAG_MAX;
    assert_int_equal(tag_put(&w->call, n, &from, &n->tags), 0);
    assert_int_equal(n->tags.count, TAG_MAX);
    tags[1].key = tags[0].key;
    assert_int_equal(tag_put(&w->call, n, &from, &n->tags), SERVICE_INVALID_PARAMETER_VALUE);
    world_end(w, SERVICE_INVALID_PARAMETER_VALUE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kinds, world_open, world_close),
        cmocka_unit_test_setup_teardown(put, world_open, world_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
