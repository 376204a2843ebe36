/* Structures as JSON and back, what an older or newer program wrote, and copies and comparison on the way. */
#include "control/shape/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api_ec2.h"
#include "api_elasticache.h"
#include "base/arena.h"
#include "base/buf.h"
#include "control/shape/shape.h"

static struct arena arena;
static struct buf out;
static char why[JSON_WHY_MAX];

static int reset(void **state)
{
    (void)state;
    arena_reset(&arena);
    buf_clear(&out);
    return 0;
}

static void assert_json(const char *text)
{
    if (!view_equal(buf_view(&out), view_str(text)))
        fail_msg("\n%.*s\nis not\n%s", (int)buf_live(&out), buf_head(&out), text);
}

/* Something of everything. */
static struct elasticache_replication_group *sample(void)
{
    struct elasticache_replication_group *g = shape_new(&elasticache_replication_group_shape, &arena, 1);

    g->replication_group_id = VIEW("g");
    g->description = VIEW("");
    g->member_clusters.set = true;
    g->member_clusters.count = 2;
    g->member_clusters.items = arena_alloc(&arena, 2 * sizeof(struct view));
    g->member_clusters.items[0] = VIEW("a\0b");
    g->member_clusters.items[1] = VIEW("\xed\x95\x9c");
    g->node_groups.set = true;
    g->node_groups.count = 1;
    g->node_groups.items = shape_new(&elasticache_node_group_shape, &arena, 1);
    g->node_groups.items[0].primary_endpoint = shape_new(&elasticache_endpoint_shape, &arena, 1);
    g->node_groups.items[0].primary_endpoint->port = 6379;
    g->user_group_ids.set = true;
    g->auth_token_last_modified_date = (struct maybe_time){true, 5};
    g->replication_group_create_time = INT64_MAX;
    g->auto_minor_version_upgrade = true;
    g->pending_modified_values = shape_new(&elasticache_replication_group_pending_modified_values_shape, &arena, 1);
    g->pending_modified_values->resharding = shape_new(&elasticache_resharding_status_shape, &arena, 1);
    g->pending_modified_values->resharding->slot_migration = shape_new(&elasticache_slot_migration_shape, &arena, 1);
    g->pending_modified_values->resharding->slot_migration->progress_percentage = 0.1;
    g->pending_modified_values->transit_encryption_enabled = (struct maybe_boolean){true, false};
    return g;
}

static const char sample_text[] =
    "{\"ReplicationGroupId\":\"g\",\"Description\":\"\",\"PendingModifiedValues\":{\"Resharding\":{\"SlotMigration\":"
    "{\"ProgressPercentage\":0.10000000000000001}},\"TransitEncryptionEnabled\":false},\"MemberClusters\":["
    "\"a\\u0000b\",\"\xed\x95\x9c\"],\"NodeGroups\":[{\"PrimaryEndpoint\":{\"Port\":6379}}],"
    "\"SnapshotRetentionLimit\":0,\"ClusterEnabled\":false,\"AuthTokenEnabled\":false,\"AuthTokenLastModifiedDate\":5,"
    "\"TransitEncryptionEnabled\":false,\"AtRestEncryptionEnabled\":false,\"UserGroupIds\":[],"
    "\"ReplicationGroupCreateTime\":9223372036854775807,\"AutoMinorVersionUpgrade\":true}";

static void there_and_back(void **state)
{
    const struct shape *shape = &elasticache_replication_group_shape;
    struct elasticache_replication_group *g = sample(), back, copy;

    (void)state;
    buf_printf(&out, "kept ");
    assert_int_equal(json_write_shape(shape, g, &out), 0);
    buf_consume(&out, 5);
    assert_json(sample_text);
    assert_int_equal(json_read_shape(shape, buf_view(&out), &arena, &back, why), 0);
    assert_true(shape_equal(shape, g, &back));
    shape_copy(shape, g, &copy, &arena);
    assert_true(shape_equal(shape, g, &copy));
    assert_ptr_not_equal(copy.node_groups.items, g->node_groups.items);
    assert_ptr_not_equal(copy.member_clusters.items[0].p, g->member_clusters.items[0].p);
    assert_ptr_not_equal(copy.pending_modified_values, g->pending_modified_values);
    assert_non_null(copy.description.p);
}

#define DIFFERS(change)                                                                                                \
    do {                                                                                                               \
        struct elasticache_replication_group *a = sample(), *b = sample();                                             \
        assert_true(shape_equal(&elasticache_replication_group_shape, a, b));                                          \
        b->change;                                                                                                     \
        assert_false(shape_equal(&elasticache_replication_group_shape, a, b));                                         \
        assert_false(shape_equal(&elasticache_replication_group_shape, b, a));                                         \
    } while (0)

static void differences(void **state)
{
    (void)state;
    DIFFERS(replication_group_id = VIEW("h"));
    DIFFERS(description.p = NULL);
    DIFFERS(status = VIEW("s"));
    DIFFERS(member_clusters.count = 1);
    DIFFERS(member_clusters.items[1] = VIEW("x"));
    DIFFERS(node_groups.items[0].primary_endpoint->port = 1);
    DIFFERS(node_groups.items[0].primary_endpoint = NULL);
    DIFFERS(user_group_ids.set = false);
    DIFFERS(auth_token_last_modified_date.set = false);
    DIFFERS(auth_token_last_modified_date.value = 6);
    DIFFERS(cluster_enabled = true);
    DIFFERS(pending_modified_values->resharding->slot_migration->progress_percentage = 0.2);
    DIFFERS(pending_modified_values->transit_encryption_enabled.value = true);
}

static void other_programs(void **state)
{
    struct create_replication_group_request r;

    (void)state;
    assert_int_equal(
        json_read_shape(&create_replication_group_request_shape,
                        VIEW(" {\"New\": [1, {}], \"Engine\": null, \"Port\": 7, \"AuthToken\": \"refused\"}\n"),
                        &arena, &r, why),
        0);
    assert_true(view_equal(r.engine, VIEW("redis")));
    assert_true(r.auto_minor_version_upgrade);
    assert_true(r.port.set && r.port.value == 7);
    assert_false(r.tags.set);
    assert_null(r.replication_group_id.p);
}

static void other_types(void **state)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{",
        "1",
        "{\"ReplicationGroupId\": 1}",
        "{\"MemberClusters\": {}}",
        "{\"MemberClusters\": [1]}",
        "{\"NodeGroups\": [[]]}",
        "{\"PendingModifiedValues\": []}",
        "{\"ClusterEnabled\": 0}",
        "{\"SnapshotRetentionLimit\": 1.0}",
        "{\"SnapshotRetentionLimit\": 9223372036854775808}",
        "{\"AuthTokenLastModifiedDate\": \"1970-01-01\"}",
        "{\"Description\": \"a\", \"Description\": \"b\"}",
        "{\"PendingModifiedValues\": {\"Resharding\": {\"SlotMigration\": {\"ProgressPercentage\": true}}}}",
        "{\"Description\": \"\xff\"}",
    };
    struct elasticache_replication_group g;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        why[0] = '\0';
        assert_int_equal(json_read_shape(&elasticache_replication_group_shape, view_str(texts[i]), &arena, &g, why),
                         -1);
        assert_true(strlen(why) > 5);
    }
    assert_int_equal(json_read_shape(&elasticache_replication_group_shape, view_of(NULL, 0), &arena, &g, why), -1);
}

static void what_json_cannot_say(void **state)
{
    struct elasticache_replication_group *g = sample();

    (void)state;
    buf_printf(&out, "kept");
    g->node_groups.items[0].slots = VIEW("\xff");
    assert_int_equal(json_write_shape(&elasticache_replication_group_shape, g, &out), -1);
    g = sample();
    g->member_clusters.items[1] = VIEW("\xc3");
    assert_int_equal(json_write_shape(&elasticache_replication_group_shape, g, &out), -1);
    g = sample();
    g->pending_modified_values->resharding->slot_migration->progress_percentage = 1.0 / 0.0;
    assert_int_equal(json_write_shape(&elasticache_replication_group_shape, g, &out), -1);
    assert_json("kept");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(there_and_back, reset),       cmocka_unit_test_setup(differences, reset),
        cmocka_unit_test_setup(other_programs, reset),       cmocka_unit_test_setup(other_types, reset),
        cmocka_unit_test_setup(what_json_cannot_say, reset),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    arena_free(&arena);
    buf_free(&out);
    return failed;
}
