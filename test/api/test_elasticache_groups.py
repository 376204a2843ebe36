"""Cache subnet groups."""

import pytest


@pytest.fixture
def subnets(elasticache):
    """Those of the default VPC, by zone."""
    return ids(describe(elasticache, "default"))


def create(elasticache, subnets, name="mine", description="my subnets", **more):
    return elasticache.create_cache_subnet_group(
        CacheSubnetGroupName=name, CacheSubnetGroupDescription=description, SubnetIds=subnets, **more)["CacheSubnetGroup"]


def describe(elasticache, name):
    groups = elasticache.describe_cache_subnet_groups(CacheSubnetGroupName=name)["CacheSubnetGroups"]
    assert len(groups) == 1
    return groups[0]


def ids(group):
    return [s["SubnetIdentifier"] for s in group["Subnets"]]


def test_default_group(elasticache, refused):
    group = describe(elasticache, "default")
    assert group["CacheSubnetGroupName"] == "default"
    assert group["ARN"] == "arn:aws:elasticache:ap-northeast-2:000000000000:subnetgroup:default"
    assert [s["SubnetAvailabilityZone"]["Name"][-1] for s in group["Subnets"]] == ["a", "b", "c", "d"]
    refused("InvalidParameterValue", elasticache.delete_cache_subnet_group, CacheSubnetGroupName="default")
    refused("CacheSubnetGroupAlreadyExists", create, elasticache=elasticache, subnets=ids(group), name="Default")


def test_create_and_describe(elasticache, subnets):
    group = create(elasticache, [subnets[0], subnets[2], subnets[0]], name="Mine")
    assert group["CacheSubnetGroupName"] == "mine"
    assert group["CacheSubnetGroupDescription"] == "my subnets"
    assert group["VpcId"].startswith("vpc-")
    assert ids(group) == [subnets[0], subnets[2]]
    assert group["SupportedNetworkTypes"] == ["ipv4"]
    assert all(s["SupportedNetworkTypes"] == ["ipv4"] for s in group["Subnets"])
    assert [s["SubnetAvailabilityZone"]["Name"] for s in group["Subnets"]] == ["ap-northeast-2a", "ap-northeast-2c"]
    assert describe(elasticache, "MINE") == group


def test_faulty_subnets(elasticache, subnets, refused):
    message = refused("InvalidParameterValue", create, elasticache=elasticache,
                      subnets=["subnet-1", subnets[0], "subnet-2"])
    assert message == "Some input subnets in :[subnet-1, subnet-2] are invalid."
    refused("CacheSubnetGroupNotFoundFault", describe, elasticache=elasticache, name="mine")


def test_names(elasticache, subnets, refused):
    for name in ("1a", "a.b", "a--b", "a-", "a b"):
        refused("InvalidParameterValue", create, elasticache=elasticache, subnets=subnets, name=name)
    create(elasticache, subnets)
    assert refused("CacheSubnetGroupAlreadyExists", create, elasticache=elasticache, subnets=subnets) == (
        "Cache subnet group mine already exists.")


def test_modify(elasticache, subnets, refused):
    create(elasticache, subnets[:2])
    group = elasticache.modify_cache_subnet_group(CacheSubnetGroupName="mine", SubnetIds=subnets[1:])["CacheSubnetGroup"]
    assert ids(group) == subnets[1:] and group["CacheSubnetGroupDescription"] == "my subnets"
    group = elasticache.modify_cache_subnet_group(
        CacheSubnetGroupName="mine", CacheSubnetGroupDescription="others")["CacheSubnetGroup"]
    assert ids(group) == subnets[1:] and group["CacheSubnetGroupDescription"] == "others"
    assert describe(elasticache, "mine") == group
    refused("CacheSubnetGroupNotFoundFault", elasticache.modify_cache_subnet_group, CacheSubnetGroupName="other",
            SubnetIds=subnets)
    refused("InvalidParameterValue", elasticache.modify_cache_subnet_group, CacheSubnetGroupName="mine",
            SubnetIds=["subnet-1"])


def test_delete(elasticache, subnets, refused):
    create(elasticache, subnets)
    elasticache.delete_cache_subnet_group(CacheSubnetGroupName="mine")
    assert refused("CacheSubnetGroupNotFoundFault", elasticache.delete_cache_subnet_group,
                   CacheSubnetGroupName="mine") == "Cache Subnet Group mine does not exist."


def test_pages(elasticache, subnets, refused):
    names = ["default"] + [f"group-{i:02}" for i in range(44)]
    for name in reversed(names[1:]):
        create(elasticache, subnets[:1], name=name)
    pages = list(elasticache.get_paginator("describe_cache_subnet_groups").paginate(
        PaginationConfig={"PageSize": 20}))
    assert [len(page["CacheSubnetGroups"]) for page in pages] == [20, 20, 5]
    assert [g["CacheSubnetGroupName"] for page in pages for g in page["CacheSubnetGroups"]] == names
    refused("InvalidParameterValue", elasticache.describe_cache_subnet_groups, Marker="nonsense")
    refused("InvalidParameterValue", elasticache.describe_cache_subnet_groups, MaxRecords=19)


def test_restart(service, elasticache, subnets):
    group = create(elasticache, subnets, Tags=[{"Key": "a", "Value": "b"}])
    service.restart()
    assert describe(elasticache, "mine") == group
