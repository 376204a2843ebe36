/* Answers, byte for byte. */
#include "control/shape/answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api_ec2.h"
#include "api_elasticache.h"
#include "base/buf.h"
#include "control/shape/service.h"
#include "control/shape/shape.h"

#define ELASTICACHE "http://elasticache.amazonaws.com/doc/2015-02-02/"
#define EC2 "http://ec2.amazonaws.com/doc/2016-11-15/"
#define DECLARATION "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"

static struct buf out;

static int reset(void **state)
{
    (void)state;
    buf_clear(&out);
    return 0;
}

static void assert_out(const char *text)
{
    struct view v = buf_view(&out);

    if (v.n > 0 && v.p[v.n - 1] == '\n')
        v.n--;
    if (!view_equal(v, view_str(text)))
        fail_msg("\n%.*s\nis not\n%s", (int)v.n, v.p, text);
    buf_clear(&out);
}

static const struct service_action *find(const struct service *s, const char *name)
{
    const struct service_action *a = service_find_action(s, view_str(name));

    assert_non_null(a);
    return a;
}

static void query_results(void **state)
{
    struct elasticache_availability_zone zone = {.name = VIEW("z")};
    struct elasticache_subnet subnets[2] = {
        {.subnet_identifier = VIEW("subnet-1"), .subnet_availability_zone = &zone},
        {.subnet_identifier = VIEW("<&\">\r\n]]>")},
    };
    struct elasticache_cache_subnet_group group = {
        .cache_subnet_group_name = VIEW("g"),
        .cache_subnet_group_description = VIEW(""),
        .subnets = {.set = true, .count = 2, .items = subnets},
    };
    struct create_cache_subnet_group_result result = {.cache_subnet_group = &group};
    struct describe_cache_subnet_groups_result none = {.cache_subnet_groups = {.set = true}}, absent = {0};

    (void)state;
    answer_write_result(&elasticache_service, find(&elasticache_service, "CreateCacheSubnetGroup"), &result, VIEW("id"),
                        &out);
    assert_out(
        "<CreateCacheSubnetGroupResponse xmlns=\"" ELASTICACHE "\"><CreateCacheSubnetGroupResult><CacheSubnetGroup>"
        "<CacheSubnetGroupName>g</CacheSubnetGroupName><CacheSubnetGroupDescription/>"
        "<Subnets><Subnet><SubnetIdentifier>subnet-1</SubnetIdentifier><SubnetAvailabilityZone><Name>z</Name>"
        "</SubnetAvailabilityZone></Subnet><Subnet><SubnetIdentifier>&lt;&amp;&quot;&gt;&#13;\n]]&gt;"
        "</SubnetIdentifier></Subnet></Subnets></CacheSubnetGroup></CreateCacheSubnetGroupResult><ResponseMetadata>"
        "<RequestId>id</RequestId></ResponseMetadata></CreateCacheSubnetGroupResponse>");

    answer_write_result(&elasticache_service, find(&elasticache_service, "DescribeCacheSubnetGroups"), &none, VIEW("i"),
                        &out);
    assert_out("<DescribeCacheSubnetGroupsResponse xmlns=\"" ELASTICACHE "\"><DescribeCacheSubnetGroupsResult>"
               "<CacheSubnetGroups/></DescribeCacheSubnetGroupsResult><ResponseMetadata><RequestId>i</RequestId>"
               "</ResponseMetadata></DescribeCacheSubnetGroupsResponse>");
    answer_write_result(&elasticache_service, find(&elasticache_service, "DescribeCacheSubnetGroups"), &absent,
                        VIEW("i"), &out);
    assert_out("<DescribeCacheSubnetGroupsResponse xmlns=\"" ELASTICACHE "\"><DescribeCacheSubnetGroupsResult/>"
               "<ResponseMetadata><RequestId>i</RequestId></ResponseMetadata></DescribeCacheSubnetGroupsResponse>");

    answer_write_result(&elasticache_service, find(&elasticache_service, "DeleteCacheSubnetGroup"), NULL, VIEW("i"),
                        &out);
    assert_out("<DeleteCacheSubnetGroupResponse xmlns=\"" ELASTICACHE "\"><ResponseMetadata><RequestId>i</RequestId>"
               "</ResponseMetadata></DeleteCacheSubnetGroupResponse>");
}

static void scalars(void **state)
{
    struct view ids[] = {VIEW("c-001"), VIEW("c-002")};
    struct elasticache_slot_migration migration = {.progress_percentage = 12.5};
    struct elasticache_resharding_status resharding = {.slot_migration = &migration};
    struct elasticache_replication_group_pending_modified_values pending = {.resharding = &resharding};
    struct elasticache_replication_group group = {
        .pending_modified_values = &pending,
        .member_clusters = {.set = true, .count = 2, .items = ids},
        .snapshot_retention_limit = 0,
        .cluster_enabled = false,
        .transit_encryption_enabled = true,
        .replication_group_create_time = 1000,
        .auto_minor_version_upgrade = true,
    };
    struct delete_replication_group_result result = {.replication_group = &group};

    (void)state;
    answer_write_result(&elasticache_service, find(&elasticache_service, "DeleteReplicationGroup"), &result, VIEW("i"),
                        &out);
    assert_out(
        "<DeleteReplicationGroupResponse xmlns=\"" ELASTICACHE "\"><DeleteReplicationGroupResult><ReplicationGroup>"
        "<PendingModifiedValues><Resharding><SlotMigration><ProgressPercentage>12.5</ProgressPercentage>"
        "</SlotMigration></Resharding></PendingModifiedValues><MemberClusters><ClusterId>c-001</ClusterId><ClusterId>"
        "c-002</ClusterId></MemberClusters><SnapshotRetentionLimit>0</SnapshotRetentionLimit><ClusterEnabled>false"
        "</ClusterEnabled><AuthTokenEnabled>false</AuthTokenEnabled><TransitEncryptionEnabled>true"
        "</TransitEncryptionEnabled><AtRestEncryptionEnabled>false</AtRestEncryptionEnabled>"
        "<ReplicationGroupCreateTime>1970-01-01T00:00:01.000Z</ReplicationGroupCreateTime><AutoMinorVersionUpgrade>"
        "true</AutoMinorVersionUpgrade></ReplicationGroup></DeleteReplicationGroupResult><ResponseMetadata><RequestId>"
        "i</RequestId></ResponseMetadata></DeleteReplicationGroupResponse>");
}

static void ec2_results(void **state)
{
    struct ec2_tag tags[] = {{.key = VIEW("k"), .value = VIEW("v")}};
    struct ec2_vpc vpcs[] = {
        {.vpc_id = VIEW("vpc-1"), .is_default = true, .tags = {.set = true, .count = 1, .items = tags}},
        {.vpc_id = VIEW("vpc-2"), .tags = {.set = true}},
    };
    struct describe_vpcs_result result = {.vpcs = {.set = true, .count = 2, .items = vpcs}};

    (void)state;
    answer_write_result(&ec2_service, find(&ec2_service, "DescribeVpcs"), &result, VIEW("id"), &out);
    assert_out(DECLARATION
               "<DescribeVpcsResponse xmlns=\"" EC2 "\"><requestId>id</requestId><vpcSet><item><isDefault>true"
               "</isDefault><tagSet><item><key>k</key><value>v</value></item></tagSet><vpcId>vpc-1</vpcId></item>"
               "<item><isDefault>false</isDefault><tagSet/><vpcId>vpc-2</vpcId></item></vpcSet>"
               "</DescribeVpcsResponse>");
    answer_write_result(&ec2_service, find(&ec2_service, "DeleteVpc"), NULL, VIEW("id"), &out);
    assert_out(DECLARATION "<DeleteVpcResponse xmlns=\"" EC2
                           "\"><requestId>id</requestId><return>true</return></DeleteVpcResponse>");
}

static void errors(void **state)
{
    (void)state;
    assert_int_equal(answer_write_error(&elasticache_service, ELASTICACHE_REPLICATION_GROUP_NOT_FOUND, VIEW("no <g>"),
                                        VIEW("id"), &out),
                     404);
    assert_out("<ErrorResponse xmlns=\"" ELASTICACHE
               "\"><Error><Type>Sender</Type><Code>ReplicationGroupNotFoundFault</Code>"
               "<Message>no &lt;g&gt;</Message></Error><RequestId>id</RequestId></ErrorResponse>");
    assert_int_equal(
        answer_write_error(&elasticache_service, SERVICE_INTERNAL_FAILURE, VIEW("\x01\xff\xe2\x82"), VIEW("id"), &out),
        500);
    assert_out(
        "<ErrorResponse xmlns=\"" ELASTICACHE "\"><Error><Type>Receiver</Type><Code>InternalFailure</Code><Message>"
        "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd</Message></Error><RequestId>id</RequestId></ErrorResponse>");
    assert_int_equal(answer_write_error(&ec2_service, EC2_INVALID_VPC_ID_NOT_FOUND, VIEW("m"), VIEW("id"), &out), 400);
    assert_out(DECLARATION
               "<Response><Errors><Error><Code>InvalidVpcID.NotFound</Code><Message>m</Message></Error></Errors>"
               "<RequestID>id</RequestID></Response>");
}

static void long_text_is_whole(void **state)
{
    struct buf text = {0};
    struct view v;
    int euros = 0;

    (void)state;
    for (int i = 0; i < 10000; i++)
        buf_printf(&text, "%s\xe2\x82\xac", i % 2 ? "<" : "ab");
    answer_write_error(&ec2_service, SERVICE_INTERNAL_FAILURE, buf_view(&text), VIEW("id"), &out);
    v = buf_view(&out);
    for (size_t i = 0; i < v.n; i++)
        euros += v.p[i] == '\xe2';
    assert_int_equal(euros, 10000);
    buf_free(&text);
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(query_results, reset),      cmocka_unit_test_setup(scalars, reset),
        cmocka_unit_test_setup(ec2_results, reset),        cmocka_unit_test_setup(errors, reset),
        cmocka_unit_test_setup(long_text_is_whole, reset),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    buf_free(&out);
    return failed;
}
