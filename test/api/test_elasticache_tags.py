"""Tags of ElastiCache's resources."""

import pytest

PREFIX = "arn:aws:elasticache:ap-northeast-2:000000000000:"
ARN = PREFIX + "parametergroup:mine"


def pairs(tags):
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def plain(answer):
    return {tag["Key"]: tag.get("Value") for tag in answer["TagList"]}


def add(elasticache, tags, arn=ARN):
    return plain(elasticache.add_tags_to_resource(ResourceName=arn, Tags=pairs(tags)))


def listed(elasticache, arn=ARN):
    return plain(elasticache.list_tags_for_resource(ResourceName=arn))


def create(elasticache, tags, name="mine"):
    elasticache.create_cache_parameter_group(
        CacheParameterGroupName=name, CacheParameterGroupFamily="redis7", Description="of tags", Tags=pairs(tags))


@pytest.fixture
def group(elasticache):
    create(elasticache, {"a": "1", "b": ""})


def test_round_trip(service, elasticache, group):
    assert listed(elasticache) == {"a": "1", "b": ""}
    assert add(elasticache, {"b": "2", "c": "caf\u00e9 + x=y"}) == {"a": "1", "b": "2", "c": "caf\u00e9 + x=y"}
    answer = elasticache.remove_tags_from_resource(ResourceName=ARN, TagKeys=["a", "b"])
    assert plain(answer) == {"c": "caf\u00e9 + x=y"}
    service.restart()
    assert listed(elasticache) == {"c": "caf\u00e9 + x=y"}
    assert elasticache.remove_tags_from_resource(ResourceName=ARN, TagKeys=["c"])["TagList"] == []
    assert listed(elasticache) == {}


def test_subnet_group(elasticache):
    default = elasticache.describe_cache_subnet_groups(CacheSubnetGroupName="default")["CacheSubnetGroups"][0]
    subnets = [s["SubnetIdentifier"] for s in default["Subnets"]]
    arn = elasticache.create_cache_subnet_group(
        CacheSubnetGroupName="Mine", CacheSubnetGroupDescription="of tags", SubnetIds=subnets,
        Tags=pairs({"a": "1"}))["CacheSubnetGroup"]["ARN"]
    assert listed(elasticache, arn) == {"a": "1"}
    assert add(elasticache, {"b": "2"}, arn) == {"a": "1", "b": "2"}
    assert listed(elasticache, PREFIX + "subnetgroup:MINE") == {"a": "1", "b": "2"}
    assert add(elasticache, {"x": "y"}, PREFIX + "subnetgroup:default") == {"x": "y"}


def test_removing_what_is_not_there(elasticache, group, refused):
    refused("TagNotFound", elasticache.remove_tags_from_resource, ResourceName=ARN, TagKeys=["a", "z"])
    assert listed(elasticache) == {"a": "1", "b": ""}


def test_limit(elasticache, group, refused):
    def many(first, last):
        return {f"key-{i}": str(i) for i in range(first, last)}

    refused("TagQuotaPerResourceExceeded", add, elasticache=elasticache, tags=many(0, 49))
    assert len(add(elasticache, many(0, 48))) == 50
    refused("TagQuotaPerResourceExceeded", add, elasticache=elasticache, tags={"one": "more"})
    assert add(elasticache, {"a": "again"})["a"] == "again"
    refused("TagQuotaPerResourceExceeded", create, elasticache=elasticache, tags=many(0, 51), name="other")
    refused("CacheParameterGroupNotFound", listed, elasticache=elasticache, arn=PREFIX + "parametergroup:other")


def test_faulty_tags(elasticache, group, refused):
    for tags in ([{"Key": "aws:x", "Value": ""}], [{"Key": "k" * 129, "Value": ""}], [{"Key": "k", "Value": "v" * 257}],
                 [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}]):
        refused("InvalidParameterValue", elasticache.add_tags_to_resource, ResourceName=ARN, Tags=tags)
    assert listed(elasticache) == {"a": "1", "b": ""}


def test_default_parameter_group(elasticache, refused):
    arn = PREFIX + "parametergroup:default.redis7"
    assert listed(elasticache, arn) == {}
    refused("InvalidParameterValue", add, elasticache=elasticache, tags={"a": "b"}, arn=arn)


MISSING = {
    "cluster": "CacheClusterNotFound", "replicationgroup": "ReplicationGroupNotFoundFault",
    "subnetgroup": "CacheSubnetGroupNotFoundFault", "parametergroup": "CacheParameterGroupNotFound",
    "securitygroup": "CacheSecurityGroupNotFound", "snapshot": "SnapshotNotFoundFault", "user": "UserNotFound",
    "usergroup": "UserGroupNotFound", "serverlesscache": "ServerlessCacheNotFoundFault",
    "serverlesscachesnapshot": "ServerlessCacheSnapshotNotFoundFault", "reserved-instance": "ReservedCacheNodeNotFound",
}


def test_missing_resources(elasticache, refused):
    for kind, code in MISSING.items():
        for function, more in ((elasticache.list_tags_for_resource, {}),
                               (elasticache.add_tags_to_resource, {"Tags": pairs({"a": "b"})}),
                               (elasticache.remove_tags_from_resource, {"TagKeys": ["a"]})):
            assert refused(code, function, ResourceName=f"{PREFIX}{kind}:none", **more) == "none is not present"


def test_faulty_arns(elasticache, refused):
    faults = {
        "": "", "mine": "Input ARN string does not have 7 components.", ARN + ":x": "Input ARN string does not have 7",
        ARN.replace("arn:", "urn:"): "arn field is wrong",
        ARN.replace(":aws:", ":aws-cn:"): "partition field is wrong. Expected value is aws",
        ARN.replace(":elasticache:", ":rds:"): "service field is wrong. Expected value is elasticache",
        ARN.replace("ap-northeast-2", "us-east-1"): "region field is wrong",
        ARN.replace("000000000000", "111111111111"): "account field is wrong",
        ARN.replace("parametergroup", "thing"): "resource type field is wrong",
    }
    for arn, text in faults.items():
        assert text in refused("InvalidARN", elasticache.list_tags_for_resource, ResourceName=arn)
