"""Replication groups: what a request may say, what the answers show, what states refuse. What becomes of nodes and data is
the matter of test/system."""

import time

import pytest

ZONE = "ap-northeast-2"
GROUP = {"ReplicationGroupDescription": "mine", "CacheNodeType": "cache.t2.micro"}


def eventually(look, seconds=60):
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def create(client, name="g", members=2, **more):
    request = {**GROUP, "ReplicationGroupId": name, **more}
    if members and not {"NumNodeGroups", "ReplicasPerNodeGroup", "NodeGroupConfiguration"} & set(more):
        request["NumCacheClusters"] = members
    return client.create_replication_group(**request)["ReplicationGroup"]


def describe(client, name="g"):
    groups = client.describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"]
    assert len(groups) == 1
    return groups[0]


def available(client, name="g"):
    return eventually(lambda: (lambda g: g if g["Status"] == "available" else None)(describe(client, name)))


def zones(client, name="g"):
    members = describe(client, name)["NodeGroups"][0]["NodeGroupMembers"]
    return [(m["CacheClusterId"], m["PreferredAvailabilityZone"]) for m in members]


@pytest.fixture
def group(elasticache):
    create(elasticache)
    return available(elasticache)


# ---- creation --------------------------------------------------------------------------------------------------------


def test_create_and_describe(elasticache):
    made = create(elasticache, "Mine")
    assert (made["ReplicationGroupId"], made["Status"], made["Description"]) == ("mine", "creating", "mine")
    assert made["MemberClusters"] == ["mine-001", "mine-002"] and "NodeGroups" not in made
    group = available(elasticache, "MINE")
    assert group["ARN"] == "arn:aws:elasticache:ap-northeast-2:000000000000:replicationgroup:mine"
    assert (group["AutomaticFailover"], group["MultiAZ"], group["ClusterEnabled"]) == ("disabled", "disabled", False)
    assert (group["SnapshotRetentionLimit"], group["AutoMinorVersionUpgrade"]) == (0, True)
    assert (group["TransitEncryptionEnabled"], group["AtRestEncryptionEnabled"], group["AuthTokenEnabled"]) == (
        False, False, False)
    assert group["PendingModifiedValues"] == {} and group["LogDeliveryConfigurations"] == []
    node_group, = group["NodeGroups"]
    assert (node_group["NodeGroupId"], node_group["Status"]) == ("0001", "available")
    roles = [(m["CacheClusterId"], m["CacheNodeId"], m["CurrentRole"]) for m in node_group["NodeGroupMembers"]]
    assert roles == [("mine-001", "0001", "primary"), ("mine-002", "0001", "replica")]
    names = [node_group["PrimaryEndpoint"]["Address"], node_group["ReaderEndpoint"]["Address"]]
    names += [m["ReadEndpoint"]["Address"] for m in node_group["NodeGroupMembers"]]
    account = names[0].split(".")[1]
    assert len(account) == 6 and names == [
        f"mine.{account}.ng.0001.apn2.cache.larder.internal", f"mine-ro.{account}.ng.0001.apn2.cache.larder.internal",
        f"mine-001.{account}.0001.apn2.cache.larder.internal", f"mine-002.{account}.0001.apn2.cache.larder.internal"]
    assert node_group["PrimaryEndpoint"]["Port"] == node_group["ReaderEndpoint"]["Port"] == 6379


@pytest.mark.parametrize("size, members", [
    ({"NumCacheClusters": 1}, 1), ({"NumCacheClusters": 6}, 6), ({"ReplicasPerNodeGroup": 2}, 3), ({}, 1),
    ({"NumNodeGroups": 1, "ReplicasPerNodeGroup": 0}, 1), ({"NodeGroupConfiguration": [{"ReplicaCount": 1}]}, 2),
    ({"PreferredCacheClusterAZs": [ZONE + "a", ZONE + "b", ZONE + "c"]}, 3),
])
def test_sizes(elasticache, size, members):
    made = create(elasticache, members=None, **size)
    assert made["MemberClusters"] == [f"g-{i:03}" for i in range(1, members + 1)]


def test_zones(elasticache):
    create(elasticache, "chosen", PreferredCacheClusterAZs=[ZONE + "a", ZONE + "c"])
    assert zones(elasticache, "chosen") == [("chosen-001", ZONE + "a"), ("chosen-002", ZONE + "c")]
    create(elasticache, "shards", NodeGroupConfiguration=[
        {"ReplicaCount": 1, "PrimaryAvailabilityZone": ZONE + "d", "ReplicaAvailabilityZones": [ZONE + "b"]}])
    assert zones(elasticache, "shards") == [("shards-001", ZONE + "d"), ("shards-002", ZONE + "b")]
    create(elasticache, "spread", 4)
    assert len({zone for _, zone in zones(elasticache, "spread")}) == 4


def test_port(elasticache):
    create(elasticache, Port=7000)
    group = available(elasticache)
    assert group["NodeGroups"][0]["PrimaryEndpoint"]["Port"] == 7000
    member = elasticache.describe_cache_clusters(CacheClusterId="g-002", ShowCacheNodeInfo=True)["CacheClusters"][0]
    assert member["CacheNodes"][0]["Endpoint"]["Port"] == 7000


@pytest.mark.parametrize("faulty, code", [
    ({"ReplicationGroupId": "1g"}, "InvalidParameterValue"),
    ({"ReplicationGroupId": "g--h"}, "InvalidParameterValue"),
    ({"ReplicationGroupId": "g-"}, "InvalidParameterValue"),
    ({"ReplicationGroupId": "g_h"}, "InvalidParameterValue"),
    ({"ReplicationGroupId": "g" * 41}, "InvalidParameterValue"),
    ({"NumCacheClusters": 7}, "InvalidParameterValue"),
    ({"NumCacheClusters": 0}, "InvalidParameterValue"),
    ({"NumCacheClusters": 2, "ReplicasPerNodeGroup": 1}, "InvalidParameterCombination"),
    ({"NumNodeGroups": 2}, "InvalidParameterValue"),
    ({"CacheNodeType": "cache.x9.huge"}, "InvalidParameterValue"),
    ({"Engine": "memcached"}, "InvalidParameterValue"),
    ({"EngineVersion": "3.3"}, "InvalidParameterCombination"),
    ({"PreferredCacheClusterAZs": [ZONE + "a"]}, "InvalidParameterCombination"),
    ({"PreferredCacheClusterAZs": [ZONE + "a", ZONE + "z"]}, "InvalidParameterValue"),
    ({"PreferredCacheClusterAZs": [ZONE + "a", "us-east-1a"]}, "InvalidParameterValue"),
    ({"CacheSubnetGroupName": "nobodys"}, "CacheSubnetGroupNotFoundFault"),
    ({"CacheParameterGroupName": "nobodys"}, "CacheParameterGroupNotFound"),
    ({"CacheParameterGroupName": "default.redis3.2"}, "InvalidParameterCombination"),
    ({"SecurityGroupIds": ["sg-00000000000000000"]}, "InvalidParameterValue"),
    ({"AutomaticFailoverEnabled": True, "NumCacheClusters": 1}, "InvalidParameterCombination"),
    ({"MultiAZEnabled": True}, "InvalidParameterCombination"),
    ({"MultiAZEnabled": True, "AutomaticFailoverEnabled": True,
      "PreferredCacheClusterAZs": [ZONE + "a", ZONE + "a"]}, "InvalidParameterCombination"),
    ({"PreferredMaintenanceWindow": "sun:05:00-sun:05:30"}, "InvalidParameterValue"),
    ({"PreferredMaintenanceWindow": "sometime"}, "InvalidParameterValue"),
    ({"SnapshotWindow": "05:00-05:30"}, "InvalidParameterValue"),
    ({"Port": 70000}, "InvalidParameterValue"),
    ({"Tags": [{"Key": "aws:mine", "Value": "1"}]}, "InvalidParameterValue"),
])
def test_faulty_creation(shared_service, refused, faulty, code):
    client = shared_service.client("elasticache")
    faulty = dict(faulty)
    name = faulty.pop("ReplicationGroupId", "g")
    members = None if {"NumCacheClusters", "NumNodeGroups"} & set(faulty) else 2
    if "ReplicasPerNodeGroup" in faulty:
        refused(code, client.create_replication_group, ReplicationGroupId=name, **GROUP, **faulty)
    else:
        refused(code, create, client=client, name=name, members=members, **faulty)
    assert client.describe_replication_groups()["ReplicationGroups"] == []
    assert client.describe_cache_clusters()["CacheClusters"] == []


@pytest.mark.parametrize("later", [
    {"TransitEncryptionEnabled": True}, {"AtRestEncryptionEnabled": True}, {"AuthToken": "a" * 16},
    {"SnapshotRetentionLimit": 1}, {"SnapshotName": "s"}, {"UserGroupIds": ["u"]}, {"DataTieringEnabled": True},
    {"GlobalReplicationGroupId": "g"}, {"NetworkType": "ipv6"}, {"NotificationTopicArn": "arn:aws:sns:a:0:t"},
])
def test_what_is_not_there_yet_is_refused_by_name(shared_service, refused, later):
    client = shared_service.client("elasticache")
    message = refused("InvalidParameterValue", create, client=client, **later)
    assert next(iter(later)) in message, message


def test_names_are_taken(elasticache, group, refused):
    refused("ReplicationGroupAlreadyExists", create, client=elasticache, name="G")
    elasticache.create_cache_cluster(CacheClusterId="other-002", CacheNodeType="cache.t2.micro", Engine="redis",
                                     NumCacheNodes=1)
    refused("ReplicationGroupAlreadyExists", create, client=elasticache, name="other")


def test_network_without_free_addresses(service, elasticache, refused):
    """A subnet of 16 addresses has 11 to give."""
    ec2 = service.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/28", AvailabilityZone=ZONE + "a")["Subnet"]["SubnetId"]
    elasticache.create_cache_subnet_group(CacheSubnetGroupName="small", CacheSubnetGroupDescription="small",
                                          SubnetIds=[subnet])
    create(elasticache, "first", 6, CacheSubnetGroupName="small")
    assert refused("InvalidVPCNetworkStateFault", create, client=elasticache, name="second", members=6,
                   CacheSubnetGroupName="small")
    available(elasticache, "first")
    groups = elasticache.describe_replication_groups()["ReplicationGroups"]
    assert [g["ReplicationGroupId"] for g in groups] == ["first"]
    create(elasticache, "third", 1, CacheSubnetGroupName="small")
    available(elasticache, "third")


def test_tags_of_a_new_group(elasticache):
    group = create(elasticache, Tags=[{"Key": "Name", "Value": "mine"}])
    assert elasticache.list_tags_for_resource(ResourceName=group["ARN"])["TagList"] == [{"Key": "Name", "Value": "mine"}]


# ---- lists -----------------------------------------------------------------------------------------------------------


def test_not_found(elasticache, refused):
    everything = [
        (elasticache.describe_replication_groups, {}), (elasticache.delete_replication_group, {}),
        (elasticache.modify_replication_group, {"ApplyImmediately": True}),
        (elasticache.increase_replica_count, {"NewReplicaCount": 1, "ApplyImmediately": True}),
        (elasticache.decrease_replica_count, {"NewReplicaCount": 1, "ApplyImmediately": True}),
        (elasticache.test_failover, {"NodeGroupId": "0001"}),
    ]
    for function, arguments in everything:
        refused("ReplicationGroupNotFoundFault", function, ReplicationGroupId="nobodys", **arguments)


def test_pages(elasticache):
    names = [f"g{i:02}" for i in range(25)]
    for name in reversed(names):
        create(elasticache, name, 1)
    pages = list(elasticache.get_paginator("describe_replication_groups").paginate(PaginationConfig={"PageSize": 20}))
    assert [[g["ReplicationGroupId"] for g in page["ReplicationGroups"]] for page in pages] == [names[:20], names[20:]]


# ---- states ----------------------------------------------------------------------------------------------------------


def test_states_refuse_changes(elasticache, refused):
    create(elasticache)
    message = refused("InvalidReplicationGroupState", elasticache.modify_replication_group, ReplicationGroupId="g",
                      ReplicationGroupDescription="other", ApplyImmediately=True)
    assert "not in available state" in message
    refused("InvalidReplicationGroupState", elasticache.delete_replication_group, ReplicationGroupId="g")
    available(elasticache)
    assert elasticache.delete_replication_group(ReplicationGroupId="g")["ReplicationGroup"]["Status"] == "deleting"
    try:
        status = describe(elasticache)["Status"]
    except elasticache.exceptions.ReplicationGroupNotFoundFault:
        return
    assert status == "deleting"


def test_delete(elasticache, group, refused):
    refused("InvalidParameterValue", elasticache.delete_replication_group, ReplicationGroupId="g",
            FinalSnapshotIdentifier="last")
    elasticache.delete_replication_group(ReplicationGroupId="g")
    eventually(lambda: elasticache.describe_replication_groups()["ReplicationGroups"] == [])
    assert elasticache.describe_cache_clusters()["CacheClusters"] == []
    refused("ReplicationGroupNotFoundFault", elasticache.describe_replication_groups, ReplicationGroupId="g")
    create(elasticache)
    available(elasticache)


# ---- changes ---------------------------------------------------------------------------------------------------------


def modify(client, **more):
    return client.modify_replication_group(ReplicationGroupId="g", ApplyImmediately=True, **more)["ReplicationGroup"]


def test_modify_settings(elasticache, group):
    changed = modify(elasticache, ReplicationGroupDescription="other", SnapshotWindow="01:00-02:00",
                     PreferredMaintenanceWindow="MON:03:00-mon:04:00", AutoMinorVersionUpgrade=False)
    assert (changed["Description"], changed["SnapshotWindow"], changed["AutoMinorVersionUpgrade"]) == (
        "other", "01:00-02:00", False)
    available(elasticache)
    for member in elasticache.describe_cache_clusters()["CacheClusters"]:
        assert (member["PreferredMaintenanceWindow"], member["SnapshotWindow"], member["AutoMinorVersionUpgrade"]) == (
            "mon:03:00-mon:04:00", "01:00-02:00", False)


def test_automatic_failover_and_multi_az(elasticache, refused):
    create(elasticache, PreferredCacheClusterAZs=[ZONE + "a", ZONE + "c"])
    available(elasticache)
    refused("TestFailoverNotAvailableFault", elasticache.test_failover, ReplicationGroupId="g", NodeGroupId="0001")
    refused("InvalidParameterCombination", modify, client=elasticache, MultiAZEnabled=True)
    modify(elasticache, AutomaticFailoverEnabled=True, MultiAZEnabled=True)
    group = available(elasticache)
    assert (group["AutomaticFailover"], group["MultiAZ"]) == ("enabled", "enabled")
    refused("NodeGroupNotFoundFault", elasticache.test_failover, ReplicationGroupId="g", NodeGroupId="0002")
    refused("InvalidParameterValue", elasticache.decrease_replica_count, ReplicationGroupId="g", NewReplicaCount=0,
            ApplyImmediately=True)
    refused("InvalidParameterCombination", modify, client=elasticache, PrimaryClusterId="g-002")
    modify(elasticache, AutomaticFailoverEnabled=False, MultiAZEnabled=False)
    group = available(elasticache)
    assert (group["AutomaticFailover"], group["MultiAZ"]) == ("disabled", "disabled")


@pytest.mark.parametrize("faulty, code", [
    ({"CacheNodeType": "cache.x9.huge"}, "InvalidParameterValue"),
    ({"EngineVersion": "6.2"}, "InvalidParameterValue"),
    ({"EngineVersion": "9.9"}, "InvalidParameterCombination"),
    ({"CacheParameterGroupName": "nobodys"}, "CacheParameterGroupNotFound"),
    ({"SecurityGroupIds": ["sg-00000000000000000"]}, "InvalidParameterValue"),
    ({"PrimaryClusterId": "nobodys-001"}, "InvalidParameterValue"),
    ({"PreferredMaintenanceWindow": "sun:05:00"}, "InvalidParameterValue"),
    ({"AuthToken": "a" * 16}, "InvalidParameterValue"),
    ({"SnapshotRetentionLimit": 1}, "InvalidParameterValue"),
])
def test_faulty_changes(elasticache, group, refused, faulty, code):
    refused(code, modify, client=elasticache, **faulty)
    assert describe(elasticache) == group


def test_pending_changes(elasticache, group):
    elasticache.modify_replication_group(ReplicationGroupId="g", CacheNodeType="cache.m5.large", ApplyImmediately=False)
    shown = describe(elasticache)
    assert (shown["Status"], shown["CacheNodeType"]) == ("available", "cache.t2.micro")
    member = elasticache.describe_cache_clusters(CacheClusterId="g-001")["CacheClusters"][0]
    assert member["PendingModifiedValues"] == {"CacheNodeType": "cache.m5.large"}
    modify(elasticache, CacheNodeType="cache.m5.large")
    available(elasticache)
    member = elasticache.describe_cache_clusters(CacheClusterId="g-001")["CacheClusters"][0]
    assert (member["CacheNodeType"], member["PendingModifiedValues"]) == ("cache.m5.large", {})


def test_upgrade(elasticache, refused):
    create(elasticache, EngineVersion="6.2", CacheParameterGroupName="default.redis6.x")
    available(elasticache)
    modify(elasticache, EngineVersion="7.0", CacheParameterGroupName="default.redis7")
    available(elasticache)
    for member in elasticache.describe_cache_clusters()["CacheClusters"]:
        assert member["EngineVersion"].startswith("7.0.")
        assert member["CacheParameterGroup"]["CacheParameterGroupName"] == "default.redis7"
    refused("InvalidParameterValue", modify, client=elasticache, EngineVersion="6.2")


# ---- replicas --------------------------------------------------------------------------------------------------------


def increase(client, **more):
    return client.increase_replica_count(**{"ReplicationGroupId": "g", "ApplyImmediately": True, **more})


def decrease(client, **more):
    return client.decrease_replica_count(**{"ReplicationGroupId": "g", "ApplyImmediately": True, **more})


def test_increase_and_decrease(elasticache, group, refused):
    grown = increase(elasticache, NewReplicaCount=3)["ReplicationGroup"]
    assert grown["Status"] == "modifying" and grown["MemberClusters"] == [f"g-{i:03}" for i in range(1, 5)]
    available(elasticache)
    refused("InvalidParameterValue", increase, client=elasticache, NewReplicaCount=3)
    refused("InvalidParameterValue", increase, client=elasticache, NewReplicaCount=6)
    refused("InvalidParameterValue", increase, client=elasticache, NewReplicaCount=4, ApplyImmediately=False)
    refused("InvalidParameterCombination", increase, client=elasticache)
    assert decrease(elasticache, ReplicasToRemove=["g-002"])["ReplicationGroup"]["Status"] == "modifying"
    assert available(elasticache)["MemberClusters"] == ["g-001", "g-003", "g-004"]
    refused("InvalidParameterValue", decrease, client=elasticache, ReplicasToRemove=["g-001"])
    refused("InvalidParameterValue", decrease, client=elasticache, ReplicasToRemove=["g-002"])
    refused("InvalidParameterValue", decrease, client=elasticache, NewReplicaCount=2)
    decrease(elasticache, NewReplicaCount=0)
    assert available(elasticache)["MemberClusters"] == ["g-001"]
    # Names are not used again.
    increase(elasticache, ReplicaConfiguration=[{"NodeGroupId": "0001", "NewReplicaCount": 1}])
    assert available(elasticache)["MemberClusters"] == ["g-001", "g-005"]
    refused("NodeGroupNotFoundFault", increase, client=elasticache,
            ReplicaConfiguration=[{"NodeGroupId": "0002", "NewReplicaCount": 2}])


def test_a_replica_is_removed_once(elasticache, refused):
    """A name that stands there twice does not count for two."""
    create(elasticache, members=3)
    available(elasticache)
    refused("InvalidParameterValue", decrease, client=elasticache, ReplicasToRemove=["g-002", "g-002"])
    assert available(elasticache)["MemberClusters"] == ["g-001", "g-002", "g-003"]


def test_failover_swaps_roles(elasticache):
    create(elasticache, AutomaticFailoverEnabled=True)
    available(elasticache)
    assert elasticache.test_failover(ReplicationGroupId="g", NodeGroupId="0001")["ReplicationGroup"]["Status"] == \
        "modifying"
    members = available(elasticache)["NodeGroups"][0]["NodeGroupMembers"]
    assert [(m["CacheClusterId"], m["CurrentRole"]) for m in members] == [("g-002", "primary"), ("g-001", "replica")]
