"""Cache clusters: single nodes, and members of replication groups as clusters."""

import os
import time

import pytest

from support.server import ROOT

ONE = {"CacheNodeType": "cache.t2.micro", "Engine": "redis", "NumCacheNodes": 1}


def eventually(look, seconds=60):
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def create(client, name="one", **more):
    return client.create_cache_cluster(**{"CacheClusterId": name, **ONE, **more})["CacheCluster"]


def describe(client, name="one"):
    clusters = client.describe_cache_clusters(CacheClusterId=name, ShowCacheNodeInfo=True)["CacheClusters"]
    assert len(clusters) == 1
    return clusters[0]


def available(client, name="one"):
    return eventually(lambda: (lambda c: c if c["CacheClusterStatus"] == "available" else None)(describe(client, name)))


def names(client, **more):
    return [c["CacheClusterId"] for c in client.describe_cache_clusters(**more)["CacheClusters"]]


@pytest.fixture
def one(elasticache):
    create(elasticache)
    return available(elasticache)


@pytest.fixture
def group(elasticache):
    elasticache.create_replication_group(ReplicationGroupId="g", ReplicationGroupDescription="g", NumCacheClusters=2,
                                         CacheNodeType="cache.t2.micro")
    return group_available(elasticache)


def group_available(client):
    def look():
        group = client.describe_replication_groups(ReplicationGroupId="g")["ReplicationGroups"][0]
        return group if group["Status"] == "available" else None
    return eventually(look)


def test_create_and_describe(elasticache):
    made = create(elasticache, "One", Tags=[{"Key": "a", "Value": "b"}], PreferredAvailabilityZone="ap-northeast-2c")
    assert (made["CacheClusterId"], made["CacheClusterStatus"]) == ("one", "creating") and "CacheNodes" not in made
    shown = available(elasticache)
    assert shown["ARN"] == "arn:aws:elasticache:ap-northeast-2:000000000000:cluster:one"
    assert (shown["Engine"], shown["NumCacheNodes"], shown["PreferredAvailabilityZone"]) == (
        "redis", 1, "ap-northeast-2c")
    assert shown["EngineVersion"].count(".") == 2 and shown["CacheSubnetGroupName"] == "default"
    assert "ReplicationGroupId" not in shown and shown["PendingModifiedValues"] == {}
    assert shown["CacheParameterGroup"] == {"CacheParameterGroupName": "default.redis7", "CacheNodeIdsToReboot": [],
                                            "ParameterApplyStatus": "in-sync"}
    node, = shown["CacheNodes"]
    assert (node["CacheNodeId"], node["CacheNodeStatus"], node["CustomerAvailabilityZone"]) == (
        "0001", "available", "ap-northeast-2c")
    name = node["Endpoint"]["Address"].split(".")
    assert [name[0], *name[2:]] == ["one", "0001", "apn2", "cache", "larder", "internal"]
    assert node["Endpoint"]["Port"] == 6379
    assert elasticache.list_tags_for_resource(ResourceName=shown["ARN"])["TagList"] == [{"Key": "a", "Value": "b"}]
    plain, = elasticache.describe_cache_clusters()["CacheClusters"]
    assert "CacheNodes" not in plain


@pytest.mark.parametrize("faulty, code", [
    ({"CacheClusterId": "1"}, "InvalidParameterValue"),
    ({"CacheClusterId": "a--b"}, "InvalidParameterValue"),
    ({"CacheClusterId": "a" * 51}, "InvalidParameterValue"),
    ({"NumCacheNodes": 2}, "InvalidParameterValue"),
    ({"Engine": "memcached"}, "InvalidParameterValue"),
    ({"CacheNodeType": "cache.x9.huge"}, "InvalidParameterValue"),
    ({"AZMode": "cross-az"}, "InvalidParameterCombination"),
    ({"PreferredAvailabilityZone": "ap-northeast-2z"}, "InvalidParameterValue"),
    ({"PreferredAvailabilityZones": ["ap-northeast-2a", "ap-northeast-2b"]}, "InvalidParameterCombination"),
    ({"CacheSubnetGroupName": "nobodys"}, "CacheSubnetGroupNotFoundFault"),
    ({"CacheParameterGroupName": "nobodys"}, "CacheParameterGroupNotFound"),
    ({"SecurityGroupIds": ["sg-00000000000000000"]}, "InvalidParameterValue"),
    ({"ReplicationGroupId": "nobodys"}, "InvalidParameterCombination"),
    ({"SnapshotName": "s"}, "InvalidParameterValue"),
    ({"AuthToken": "a" * 16}, "InvalidParameterValue"),
    ({"TransitEncryptionEnabled": True}, "InvalidParameterValue"),
])
def test_faulty_creation(shared_service, refused, faulty, code):
    client = shared_service.client("elasticache")
    refused(code, create, client=client, **({"name": faulty["CacheClusterId"]} if "CacheClusterId" in faulty else faulty))
    assert client.describe_cache_clusters()["CacheClusters"] == []


def test_not_found(elasticache, refused):
    for function, arguments in (
            (elasticache.describe_cache_clusters, {}), (elasticache.delete_cache_cluster, {}),
            (elasticache.modify_cache_cluster, {"ApplyImmediately": True}),
            (elasticache.reboot_cache_cluster, {"CacheNodeIdsToReboot": ["0001"]})):
        refused("CacheClusterNotFound", function, CacheClusterId="nobodys", **arguments)


def test_names_are_taken(elasticache, one, refused):
    refused("CacheClusterAlreadyExists", create, client=elasticache, name="ONE")


def test_lists(elasticache, group):
    create(elasticache)
    assert names(elasticache) == ["g-001", "g-002", "one"]
    assert names(elasticache, ShowCacheClustersNotInReplicationGroups=True) == ["one"]
    for i in range(20):
        create(elasticache, f"z{i:02}")
    pages = list(elasticache.get_paginator("describe_cache_clusters").paginate(
        ShowCacheClustersNotInReplicationGroups=True, PaginationConfig={"PageSize": 20}))
    assert [len(page["CacheClusters"]) for page in pages] == [20, 1]


@pytest.fixture
def held(start_service, tmp_path):
    """A client of a service whose nodes begin when told to: (client, begin)."""
    program, gate = tmp_path / "held-server", tmp_path / "gate"
    server = os.environ.get("LARDER_SERVER", str(ROOT / "build" / "bin" / "larder-server"))
    os.mkfifo(gate)
    program.write_text(f'#!/bin/sh\nread go <"{gate}"\nexec "{server}" "$@"\n')
    program.chmod(0o755)
    yield start_service("--server", str(program)).client("elasticache"), lambda: gate.write_text("go\n")


def test_states_refuse_changes(held, refused):
    elasticache, begin = held
    create(elasticache)
    refused("InvalidCacheClusterState", elasticache.modify_cache_cluster, CacheClusterId="one",
            SnapshotWindow="01:00-02:00", ApplyImmediately=True)
    refused("InvalidCacheClusterState", elasticache.delete_cache_cluster, CacheClusterId="one")
    refused("InvalidCacheClusterState", elasticache.reboot_cache_cluster, CacheClusterId="one",
            CacheNodeIdsToReboot=["0001"])
    begin()
    available(elasticache)


def window_to_come():
    """A maintenance window that is days away."""
    day = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[(time.gmtime().tm_wday + 3) % 7]
    return f"{day}:03:00-{day}:05:00"


def test_modify(elasticache, one, refused):
    window = window_to_come()
    changed = elasticache.modify_cache_cluster(CacheClusterId="one", SnapshotWindow="01:00-02:00",
                                               PreferredMaintenanceWindow=window, ApplyImmediately=True)["CacheCluster"]
    assert (changed["SnapshotWindow"], changed["PreferredMaintenanceWindow"]) == ("01:00-02:00", window)
    elasticache.modify_cache_cluster(CacheClusterId="one", CacheNodeType="cache.t3.small", ApplyImmediately=True)
    assert available(elasticache)["CacheNodeType"] == "cache.t3.small"
    elasticache.modify_cache_cluster(CacheClusterId="one", CacheNodeType="cache.m5.large", ApplyImmediately=False)
    shown = describe(elasticache)
    assert (shown["CacheClusterStatus"], shown["CacheNodeType"], shown["PendingModifiedValues"]) == (
        "available", "cache.t3.small", {"CacheNodeType": "cache.m5.large"})
    for faulty in ({"NumCacheNodes": 2}, {"CacheNodeType": "cache.x9.huge"}, {"EngineVersion": "4.0.10"},
                   {"SnapshotRetentionLimit": 1}, {"AuthToken": "a" * 16}):
        refused("InvalidParameterValue", elasticache.modify_cache_cluster, CacheClusterId="one", ApplyImmediately=True,
                **faulty)


def test_reboot(elasticache, one, refused):
    refused("InvalidParameterValue", elasticache.reboot_cache_cluster, CacheClusterId="one",
            CacheNodeIdsToReboot=["0002"])
    answer = elasticache.reboot_cache_cluster(CacheClusterId="one", CacheNodeIdsToReboot=["0001"])["CacheCluster"]
    assert answer["CacheClusterStatus"] == "rebooting cluster nodes"
    assert available(elasticache)["CacheNodes"][0]["CacheNodeStatus"] == "available"


def test_delete(elasticache, one, refused):
    answer = elasticache.delete_cache_cluster(CacheClusterId="one")["CacheCluster"]
    assert answer["CacheClusterStatus"] == "deleting"
    eventually(lambda: names(elasticache) == [])
    refused("CacheClusterNotFound", elasticache.describe_cache_clusters, CacheClusterId="one")
    create(elasticache)
    available(elasticache)


# ---- members of groups -----------------------------------------------------------------------------------------------


def test_member_joins_and_leaves(elasticache, group, refused):
    refused("InvalidParameterCombination", create, client=elasticache, name="third", ReplicationGroupId="g")
    made = elasticache.create_cache_cluster(CacheClusterId="third", ReplicationGroupId="g",
                                            PreferredAvailabilityZone="ap-northeast-2d")["CacheCluster"]
    assert (made["ReplicationGroupId"], made["CacheClusterStatus"]) == ("g", "creating")
    assert group_available(elasticache)["MemberClusters"] == ["g-001", "g-002", "third"]
    assert describe(elasticache, "third")["PreferredAvailabilityZone"] == "ap-northeast-2d"
    answer = elasticache.delete_cache_cluster(CacheClusterId="g-002")["CacheCluster"]
    assert answer["CacheClusterStatus"] == "deleting"
    assert group_available(elasticache)["MemberClusters"] == ["g-001", "third"]


def test_member_that_must_stay(elasticache, group, refused):
    message = refused("InvalidCacheClusterState", elasticache.delete_cache_cluster, CacheClusterId="g-001")
    assert "serving as primary" in message
    elasticache.delete_cache_cluster(CacheClusterId="g-002")
    group_available(elasticache)
    message = refused("InvalidCacheClusterState", elasticache.delete_cache_cluster, CacheClusterId="g-001")
    assert "only member of a replication group" in message


def test_member_is_changed_through_its_group(elasticache, group, refused):
    refused("InvalidParameterCombination", elasticache.modify_cache_cluster, CacheClusterId="g-001",
            CacheNodeType="cache.m5.large", ApplyImmediately=True)


def test_member_reboots(elasticache, group, refused):
    elasticache.reboot_cache_cluster(CacheClusterId="g-002", CacheNodeIdsToReboot=["0001"])
    assert available(elasticache, "g-002")["ReplicationGroupId"] == "g"
    assert group_available(elasticache)["MemberClusters"] == ["g-001", "g-002"]
