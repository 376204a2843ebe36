/* Requests as structures: the spellings of lists, what is missing, invalid, unknown, refused, and that it stays
 * bounded. */
#include "control/shape/query.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api_ec2.h"
#include "api_elasticache.h"
#include "api_sts.h"
#include "base/arena.h"
#include "base/buf.h"
#include "control/shape/form.h"
#include "control/shape/shape.h"

static struct arena arena;
static struct query_problem problem;

static int reset(void **state)
{
    (void)state;
    arena_reset(&arena);
    problem = (struct query_problem){0};
    return 0;
}

static int parse(const struct service *service, const struct shape *shape, const char *text, void *out)
{
    struct form form = {0};
    struct view culprit;

    assert_int_equal(form_decode(&form, &arena, view_str(text), &culprit), FORM_OK);
    return query_parse(service, shape, &form, &arena, out, &problem);
}

#define PARSE(service, name, text) parse(&service##_service, &name##_shape, text, &(struct name){0})

static void assert_view(struct view v, const char *text)
{
    if (!view_equal(v, view_str(text)))
        fail_msg("'%.*s' is not '%s'", (int)v.n, v.p != NULL ? v.p : "", text);
}

static void assert_problem(int rc, int error, const char *message)
{
    assert_int_equal(rc, -1);
    assert_int_equal(problem.error, error);
    assert_string_equal(problem.message, message);
}

#define SUBNET_GROUP "Action=CreateCacheSubnetGroup&Version=2015-02-02&CacheSubnetGroupDescription=d+d&"

static void lists_of_strings(void **state)
{
    static const char *const spellings[] = {
        "SubnetIds.SubnetIdentifier.1=a&SubnetIds.SubnetIdentifier.2=b",
        "SubnetIds.member.2=b&SubnetIds.member.1=a",
        "SubnetIds.9=b&SubnetIds.3=a",
        "SubnetIds.member.2=a&SubnetIds.member.10=b",
        "SubnetIds.SubnetIdentifier.1=a&SubnetIds.member.2=b",
    };

    (void)state;
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        struct create_cache_subnet_group_request r;
        char text[300];

        snprintf(text, sizeof text, SUBNET_GROUP "CacheSubnetGroupName=My-Group&%s", spellings[i]);
        assert_int_equal(parse(&elasticache_service, &create_cache_subnet_group_request_shape, text, &r), 0);
        assert_view(r.cache_subnet_group_name, "my-group");
        assert_view(r.cache_subnet_group_description, "d d");
        assert_true(r.subnet_ids.set);
        assert_int_equal(r.subnet_ids.count, 2);
        assert_view(r.subnet_ids.items[0], "a");
        assert_view(r.subnet_ids.items[1], "b");
        assert_false(r.tags.set);
    }
}

static void lists_of_structures(void **state)
{
    struct describe_vpcs_request v;
    struct create_replication_group_request g;

    (void)state;
    assert_int_equal(
        parse(&ec2_service, &describe_vpcs_request_shape,
              "VpcId.1=vpc-1&Filter.1.Name=tag%3Aa.b&Filter.1.Value.1=x&Filter.1.Value.2=y&Filter.2.Name=z", &v),
        0);
    assert_int_equal(v.vpc_ids.count, 1);
    assert_int_equal(v.filters.count, 2);
    assert_view(v.filters.items[0].name, "tag:a.b");
    assert_int_equal(v.filters.items[0].values.count, 2);
    assert_view(v.filters.items[0].values.items[1], "y");
    assert_view(v.filters.items[1].name, "z");
    assert_false(v.filters.items[1].values.set);
    assert_false(v.dry_run);

    assert_int_equal(
        parse(&elasticache_service, &create_replication_group_request_shape,
              "ReplicationGroupId=g&ReplicationGroupDescription=&NumCacheClusters=3&AutomaticFailoverEnabled=True&"
              "NodeGroupConfiguration.NodeGroupConfiguration.1.ReplicaAvailabilityZones.AvailabilityZone.1=z&"
              "NodeGroupConfiguration.NodeGroupConfiguration.1.NodeGroupId=0001",
              &g),
        0);
    assert_true(g.num_cache_clusters.set && g.num_cache_clusters.value == 3);
    assert_true(g.automatic_failover_enabled.set && g.automatic_failover_enabled.value);
    assert_false(g.multi_az_enabled.set);
    assert_true(g.auto_minor_version_upgrade);
    assert_view(g.engine, "redis");
    assert_non_null(g.replication_group_description.p);
    assert_int_equal(g.replication_group_description.n, 0);
    assert_null(g.cache_node_type.p);
    assert_int_equal(g.node_group_configuration.count, 1);
    assert_view(g.node_group_configuration.items[0].node_group_id, "0001");
    assert_view(g.node_group_configuration.items[0].replica_availability_zones.items[0], "z");
}

static void structures(void **state)
{
    struct modify_vpc_attribute_request r;

    (void)state;
    assert_int_equal(
        parse(&ec2_service, &modify_vpc_attribute_request_shape, "VpcId=v&EnableDnsHostnames.Value=true", &r), 0);
    assert_non_null(r.enable_dns_hostnames);
    assert_true(r.enable_dns_hostnames->value);
    assert_null(r.enable_dns_support);

    assert_problem(PARSE(ec2, modify_vpc_attribute_request, "VpcId=v&EnableDnsSupport="), SERVICE_MISSING_PARAMETER,
                   "The request must contain the parameter EnableDnsSupport.Value.");
    assert_problem(PARSE(ec2, modify_vpc_attribute_request, "VpcId=v&EnableDnsSupport=true"), SERVICE_UNKNOWN_PARAMETER,
                   "The parameter EnableDnsSupport is not recognized.");
}

static void empty_lists(void **state)
{
    struct modify_replication_group_request r;

    (void)state;
    assert_int_equal(parse(&elasticache_service, &modify_replication_group_request_shape,
                           "ReplicationGroupId=g&SecurityGroupIds=", &r),
                     0);
    assert_true(r.security_group_ids.set);
    assert_int_equal(r.security_group_ids.count, 0);
    assert_problem(PARSE(elasticache, modify_replication_group_request, "ReplicationGroupId=g&SecurityGroupIds=x"),
                   SERVICE_UNKNOWN_PARAMETER, "The parameter SecurityGroupIds is not recognized.");
    assert_problem(
        PARSE(elasticache, create_cache_subnet_group_request, SUBNET_GROUP "CacheSubnetGroupName=g&SubnetIds="),
        SERVICE_INVALID_PARAMETER_VALUE, "The parameter SubnetIds must have at least 1 item.");
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    assert_problem(PARSE(elasticache, create_cache_subnet_group_request, SUBNET_GROUP "SubnetIds.1=a"),
                   SERVICE_MISSING_PARAMETER,
                   "The parameter CacheSubnetGroupName must be provided and must not be null.");
    assert_problem(PARSE(elasticache, add_tags_to_resource_request, "ResourceName=a&Tags.Tag.1.Value=x"),
                   SERVICE_MISSING_PARAMETER, "The parameter Tags.Tag.1.Key must be provided and must not be null.");
    assert_problem(PARSE(ec2, delete_vpc_request, ""), SERVICE_MISSING_PARAMETER,
                   "The request must contain the parameter VpcId.");
    assert_problem(PARSE(ec2, describe_vpcs_request, "Filter.3="), SERVICE_MISSING_PARAMETER,
                   "The request must contain the parameter Filter.3.Name.");
}

static void what_is_unknown_is_named(void **state)
{
    static const char *const unknown[] = {
        "CacheSubnetGroupname=x",
        "SubnetIds.x=1",
        "SubnetIds.SubnetIdentifier=1",
        "SubnetIds.SubnetIdentifier.1.x=1",
        "SubnetIds.0=1",
        "SubnetIds.01=1",
        "SubnetIds.-1=1",
        "SubnetIds.9999999999=1",
        "Tags.Tag.1.Kez=1",
        "CacheSubnetGroupName.x",
        "Tags.Tag.Tag.1.Key=1",
        "Tags.=1",
        "Tags..Key=1",
        ".=1",
        "..=1",
        "X-Amz=1",
        "Tags.member.Tag.1.Key=1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        char text[300], message[300];

        snprintf(text, sizeof text, SUBNET_GROUP "SubnetIds.2=a&CacheSubnetGroupName=g&%s", unknown[i]);
        snprintf(message, sizeof message, "The parameter %.*s is not recognized.", (int)strcspn(unknown[i], "="),
                 unknown[i]);
        assert_problem(PARSE(elasticache, create_cache_subnet_group_request, text), SERVICE_UNKNOWN_PARAMETER, message);
    }
    /* Bytes that a message cannot hold. */
    assert_problem(PARSE(ec2, delete_vpc_request, "VpcId=v&a%00%0a%ff%3c=1"), SERVICE_UNKNOWN_PARAMETER,
                   "The parameter a??"
                   "?< is not recognized.");
    assert_int_equal(PARSE(ec2, delete_vpc_request, "VpcId=v&X-Amz-Date=1&x-amz-security-token=2&AWSAccessKeyId=k"), 0);
}

static void what_is_invalid_is_explained(void **state)
{
    (void)state;
    assert_problem(PARSE(elasticache, describe_cache_clusters_request, "MaxRecords=19"),
                   SERVICE_INVALID_PARAMETER_VALUE,
                   "The parameter MaxRecords must be between 20 and 100. The value is '19'.");
    assert_problem(PARSE(elasticache, describe_cache_clusters_request, "MaxRecords=2x"),
                   SERVICE_INVALID_PARAMETER_VALUE, "The parameter MaxRecords must be an integer. The value is '2x'.");
    assert_problem(PARSE(elasticache, describe_cache_clusters_request, "ShowCacheNodeInfo="),
                   SERVICE_INVALID_PARAMETER_VALUE,
                   "The parameter ShowCacheNodeInfo must be true or false. The value is ''.");
    assert_problem(PARSE(elasticache, describe_events_request, "StartTime=now"), SERVICE_INVALID_PARAMETER_VALUE,
                   "The parameter StartTime must be a time as ISO 8601 has it. The value is 'now'.");
    assert_problem(
        PARSE(elasticache, describe_events_request, "SourceType=cluster"), SERVICE_INVALID_PARAMETER_VALUE,
        "The parameter SourceType must be one of cache-cluster, cache-parameter-group, cache-security-group, "
        "cache-subnet-group, replication-group, serverless-cache, serverless-cache-snapshot, user, user-group. "
        "The value is 'cluster'.");
    assert_problem(PARSE(elasticache, describe_events_request, "Marker=a%ff"), SERVICE_INVALID_PARAMETER_VALUE,
                   "The parameter Marker must be UTF-8 text without control characters.");
    assert_problem(PARSE(elasticache, describe_events_request, "Marker=a%00"), SERVICE_INVALID_PARAMETER_VALUE,
                   "The parameter Marker must be UTF-8 text without control characters.");
    assert_problem(
        PARSE(ec2, create_vpc_request, "CidrBlock=10.0.0.0%2F33"), SERVICE_INVALID_PARAMETER_VALUE,
        "Value (10.0.0.0/33) for parameter CidrBlock is invalid. It is not a valid CIDR block. It has the form "
        "a.b.c.d/n.");
    assert_problem(PARSE(ec2, describe_tags_request, "MaxResults=99999999999999999999"),
                   SERVICE_INVALID_PARAMETER_VALUE,
                   "Value (99999999999999999999) for parameter MaxResults is invalid. It must be an integer.");
    assert_problem(
        PARSE(elasticache, add_tags_to_resource_request, "ResourceName=a&Tags.Tag.1.Key=k&Tags.member.1.Key=l"),
        SERVICE_INVALID_PARAMETER_VALUE, "The parameter Tags.member.1.Key is there twice.");
}

static void what_is_refused_is_named_without_its_value(void **state)
{
    (void)state;
    assert_problem(PARSE(elasticache, create_replication_group_request,
                         "ReplicationGroupId=g&ReplicationGroupDescription=d&AuthToken=topsecrettopsecret"),
                   SERVICE_UNSUPPORTED, "The parameter AuthToken is not supported.");
    assert_problem(PARSE(elasticache, create_replication_group_request,
                         "ReplicationGroupId=g&ReplicationGroupDescription=d&NetworkType=ipv6"),
                   SERVICE_UNSUPPORTED,
                   "The value 'ipv6' of the parameter NetworkType is not supported. Possible is: ipv4");
    assert_problem(PARSE(elasticache, create_replication_group_request,
                         "ReplicationGroupId=g&ReplicationGroupDescription=d&SnapshotArns.SnapshotArn.1=arn"),
                   SERVICE_UNSUPPORTED, "The parameter SnapshotArns.SnapshotArn.1 is not supported.");
    assert_int_equal(
        PARSE(elasticache, create_replication_group_request,
              "ReplicationGroupId=g&ReplicationGroupDescription=d&NetworkType=ipv4&SnapshotRetentionLimit=0&"
              "TransitEncryptionEnabled=FALSE&CacheSecurityGroupNames=&AuthToken="),
        0);
}

static void what_is_refused_passes_when_it_does_no_harm(void **state)
{
    struct modify_subnet_attribute_request r;

    (void)state;
    assert_int_equal(parse(&ec2_service, &modify_subnet_attribute_request_shape,
                           "SubnetId=s&EnableDns64.Value=false&MapPublicIpOnLaunch.Value=true", &r),
                     0);
    assert_true(r.map_public_ip_on_launch->value);
    assert_problem(PARSE(ec2, modify_subnet_attribute_request, "SubnetId=s&EnableDns64.Value=true"),
                   SERVICE_UNSUPPORTED,
                   "The value 'true' of the parameter EnableDns64.Value is not supported. Possible is: false");
    assert_problem(PARSE(ec2, modify_subnet_attribute_request, "SubnetId=s&EnableDns64.Value="), SERVICE_UNSUPPORTED,
                   "The value '' of the parameter EnableDns64.Value is not supported. Possible is: false");
    assert_problem(PARSE(ec2, modify_subnet_attribute_request, "SubnetId=s&EnableDns64.Value=%00"), SERVICE_UNSUPPORTED,
                   "The parameter EnableDns64.Value is not supported. Possible is: false");
}

static void secrets_are_not_shown(void **state)
{
    char text[200];

    (void)state;
    snprintf(text, sizeof text, "RoleArn=arn:aws:iam::000000000000:role/r&RoleSessionName=ab&WebIdentityToken=abc");
    assert_problem(PARSE(sts, assume_role_with_web_identity_request, text), SERVICE_INVALID_PARAMETER_VALUE,
                   "The parameter WebIdentityToken must be between 4 and 20000 characters long.");
}

static void messages_are_bounded(void **state)
{
    struct buf b = {0};
    struct describe_vpcs_request r;

    (void)state;
    buf_printf(&b, "Attribute=");
    for (int i = 0; i < 5000; i++)
        buf_printf(&b, "%%e2%%82%%ac");
    buf_printf(&b, "&VpcId=v");
    buf_put_char(&b, '\0');
    assert_int_equal(PARSE(ec2, describe_vpc_attribute_request, b.p), -1);
    assert_non_null(strstr(problem.message, "\xe2\x82\xac...) for parameter Attribute"));
    assert_true(strlen(problem.message) < 400);
    buf_clear(&b);
    for (int i = 0; i < FORM_NAME_MAX; i++)
        buf_put_char(&b, 'n');
    buf_put_char(&b, '\0');
    assert_int_equal(parse(&ec2_service, &describe_vpcs_request_shape, b.p, &r), -1);
    assert_true(strlen(problem.message) < 200);
    buf_free(&b);
}

static void counts_are_bounded(void **state)
{
    struct buf b = {0};

    (void)state;
    for (int i = 1; i <= SHAPE_ITEMS_MAX + 1; i++)
        buf_printf(&b, "VpcId.%d=v&", i);
    buf_put_char(&b, '\0');
    assert_problem(PARSE(ec2, describe_vpcs_request, b.p), SERVICE_INVALID_PARAMETER_VALUE,
                   "The value for parameter VpcId is invalid. It must have at most 1000 items.");
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(lists_of_strings, reset),
        cmocka_unit_test_setup(lists_of_structures, reset),
        cmocka_unit_test_setup(structures, reset),
        cmocka_unit_test_setup(empty_lists, reset),
        cmocka_unit_test_setup(what_is_missing_is_named, reset),
        cmocka_unit_test_setup(what_is_unknown_is_named, reset),
        cmocka_unit_test_setup(what_is_invalid_is_explained, reset),
        cmocka_unit_test_setup(what_is_refused_is_named_without_its_value, reset),
        cmocka_unit_test_setup(what_is_refused_passes_when_it_does_no_harm, reset),
        cmocka_unit_test_setup(secrets_are_not_shown, reset),
        cmocka_unit_test_setup(messages_are_bounded, reset),
        cmocka_unit_test_setup(counts_are_bounded, reset),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    arena_free(&arena);
    return failed;
}
