/* Subnet groups that are in use, and VPCs that do not fit. */
#include "control/api/subnet_group.h"

#include "unit/control/api/world.h"

#include "api_handlers.h"

static int create(struct world *w, const char *name, struct view *subnets, size_t count)
{
    struct create_cache_subnet_group_request in = {
        .cache_subnet_group_name = view_str(name),
        .cache_subnet_group_description = VIEW("a group"),
        .subnet_ids = {.set = true, .count = count, .items = subnets},
    };
    struct create_cache_subnet_group_result out = {0};

    return world_end(w, elasticache_create_cache_subnet_group(world_call(w), &in, &out));
}

static int modify(struct world *w, const char *name, struct view *subnets, size_t count)
{
    struct modify_cache_subnet_group_request in = {
        .cache_subnet_group_name = view_str(name),
        .subnet_ids = {.set = true, .count = count, .items = subnets},
    };
    struct modify_cache_subnet_group_result out = {0};

    return world_end(w, elasticache_modify_cache_subnet_group(world_call(w), &in, &out));
}

static int drop(struct world *w, const char *name)
{
    struct delete_cache_subnet_group_request in = {.cache_subnet_group_name = view_str(name)};

    return world_end(w, elasticache_delete_cache_subnet_group(world_call(w), &in));
}

static void in_use(void **state)
{
    struct world *w = *state;
    struct view subnets[4];
    struct txn *t;

    for (unsigned i = 0; i < 4; i++)
        subnets[i] = world_default_subnets(w)->subnet_ids.items[i];
    assert_int_equal(create(w, "mine", subnets, 2), 0);
    world_add_cluster(w, "node", "mine", "default.redis7"); /* in the first subnet */
    assert_int_equal(modify(w, "mine", subnets + 1, 3), ELASTICACHE_SUBNET_IN_USE);
    assert_int_equal(modify(w, "mine", subnets, 1), 0);
    assert_int_equal(modify(w, "mine", subnets, 4), 0);
    assert_int_equal(drop(w, "mine"), ELASTICACHE_CACHE_SUBNET_GROUP_IN_USE);
    t = txn_begin(w->api.model);
    txn_remove(t, MODEL_CACHE_CLUSTER, VIEW("node"));
    txn_commit(t, NULL, NULL);
    world_add_group(w, "group", "mine", "default.redis7");
    assert_int_equal(drop(w, "mine"), ELASTICACHE_CACHE_SUBNET_GROUP_IN_USE);
    t = txn_begin(w->api.model);
    txn_remove(t, MODEL_REPLICATION_GROUP, VIEW("group"));
    txn_commit(t, NULL, NULL);
    assert_int_equal(drop(w, "mine"), 0);
    assert_int_equal(drop(w, "mine"), ELASTICACHE_CACHE_SUBNET_GROUP_NOT_FOUND);
}

/* Another VPC with 21 subnets. */
static void add_vpc(struct world *w, struct view ids[21])
{
    static char names[21][16];
    struct txn *t = txn_begin(w->api.model);
    struct vpc *v = txn_add_vpc(t, VIEW("vpc-2"));

    v->vpc_id = txn_text(t, v, VIEW("vpc-2"));
    v->cidr_block = txn_text(t, v, VIEW("10.0.0.0/16"));
    for (unsigned i = 0; i < 21; i++) {
        struct subnet *s;
        snprintf(names[i], sizeof names[i], "subnet-%u", i);
        ids[i] = view_str(names[i]);
        s = txn_add_subnet(t, ids[i]);
        s->subnet_id = txn_text(t, s, ids[i]);
        s->vpc_id = txn_text(t, s, VIEW("vpc-2"));
        s->cidr_block = txn_text(t, s, VIEW("10.0.0.0/24"));
        s->zone = txn_text(t, s, VIEW("ap-northeast-2b"));
    }
    txn_commit(t, NULL, NULL);
}

static void two_vpcs(void **state)
{
    struct world *w = *state;
    struct view other[21], mixed[2];
    const struct cache_subnet_group *g;

    add_vpc(w, other);
    mixed[0] = world_default_subnets(w)->subnet_ids.items[0];
    mixed[1] = other[0];
    assert_int_equal(create(w, "mine", mixed, 2), ELASTICACHE_INVALID_SUBNET);
    assert_null(model_cache_subnet_group(w->api.model, VIEW("mine")));
    assert_int_equal(create(w, "mine", other, 21), ELASTICACHE_CACHE_SUBNET_QUOTA_EXCEEDED);
    assert_int_equal(create(w, "mine", other, 20), 0);
    assert_int_equal(subnet_group_find(world_call(w), VIEW("mine"), &g), 0);
    assert_true(view_equal(g->vpc_id, VIEW("vpc-2")));
    assert_int_equal(modify(w, "mine", other, 21), ELASTICACHE_CACHE_SUBNET_QUOTA_EXCEEDED);
    assert_int_equal(modify(w, "mine", mixed, 1), 0);
    assert_int_equal(subnet_group_find(world_call(w), VIEW("mine"), &g), 0);
    assert_true(view_equal(g->vpc_id, world_default_subnets(w)->vpc_id));
}

static void find(void **state)
{
    struct world *w = *state;
    const struct cache_subnet_group *g;

    assert_int_equal(subnet_group_find(world_call(w), (struct view){0}, &g), 0);
    assert_true(view_equal(g->name, VIEW("default")));
    assert_int_equal(subnet_group_find(world_call(w), VIEW("other"), &g), ELASTICACHE_CACHE_SUBNET_GROUP_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(in_use, world_open, world_close),
        cmocka_unit_test_setup_teardown(two_vpcs, world_open, world_close),
        cmocka_unit_test_setup_teardown(find, world_open, world_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
