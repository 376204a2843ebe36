"""The walkthrough: a network, a security group, a subnet group, a replication group in two zones, and what happens to it;
once with Debian's aws and redis-cli, once with Debian's boto3, and the calls that Terraform makes for it."""

import ipaddress
import json
import time

import botocore.exceptions
import pytest
from cloud import SLOWNESS, ZONE_A, ZONE_C, Aws, Writer, dig, eventually, fill, missing, redis_cli, write
from support.resp import Client, Closed

KEYS = 1000


def other_source(cloud):
    """An address in the shadow of the default VPC, which is not the network that the caches are in."""
    shadow = ipaddress.ip_address(cloud.names.partition(":")[0])
    return str(ipaddress.ip_network((int(shadow), 16), strict=False)[0x2222])


def is_refused(address, source):
    """Is a connection from that address closed without an answer?"""
    try:
        with Client(address, source=source) as client:
            client.do("PING")
        return False
    except (Closed, ConnectionError):
        return True


def check_nothing_is_left(cloud):
    eventually(lambda: not cloud.nodes(), "the nodes to be gone")
    assert cloud.directories() == []


# ---- with aws and redis-cli ------------------------------------------------------------------------------------------


def make_network(aws):
    vpc = aws("ec2", "create-vpc", "--cidr-block", "10.0.0.0/16", query="Vpc.VpcId")
    subnets = [aws("ec2", "create-subnet", "--vpc-id", vpc, "--cidr-block", f"10.0.{third}.0/24",
                   "--availability-zone", zone, query="Subnet.SubnetId")
               for third, zone in ((13, ZONE_A), (23, ZONE_C))]
    group = aws("ec2", "create-security-group", "--group-name", "redis", "--description", "redis", "--vpc-id", vpc,
                query="GroupId")
    aws("ec2", "authorize-security-group-ingress", "--group-id", group, "--protocol", "tcp", "--port", "6379",
        "--cidr", "10.0.0.0/16")
    return vpc, subnets, group


def create(aws, subnets, security_group):
    aws("elasticache", "create-cache-subnet-group", "--cache-subnet-group-name", "redis",
        "--cache-subnet-group-description", "redis", "--subnet-ids", *subnets)
    start = time.monotonic()
    aws("elasticache", "create-replication-group", "--replication-group-id", "demo",
        "--replication-group-description", "demo", "--cache-node-type", "cache.t2.micro", "--num-cache-clusters", "2",
        "--preferred-cache-cluster-a-zs", ZONE_A, ZONE_C, "--cache-subnet-group-name", "redis",
        "--security-group-ids", security_group, "--no-automatic-failover-enabled")
    aws("elasticache", "wait", "replication-group-available", "--replication-group-id", "demo")
    # The second poll would have come 15 s after the first.
    assert time.monotonic() - start < 5 * SLOWNESS
    shown = json.loads(aws("elasticache", "describe-replication-groups", "--replication-group-id", "demo"))
    return shown["ReplicationGroups"][0]


def check_group(group):
    assert group["Status"] == "available" and group["AutomaticFailover"] == "disabled"
    members = group["NodeGroups"][0]["NodeGroupMembers"]
    assert [(m["CurrentRole"], m["PreferredAvailabilityZone"]) for m in members] == [
        ("primary", ZONE_A), ("replica", ZONE_C)]
    names = [group["NodeGroups"][0][kind]["Address"] for kind in ("PrimaryEndpoint", "ReaderEndpoint")]
    assert [name.partition(".")[0] for name in names] == ["demo", "demo-ro"]
    assert all(name.endswith(".apn2.cache.larder.internal") for name in names), names


def check_reading_and_writing(primary, reader):
    assert redis_cli(primary, "set", "greeting", "hello") == "OK"
    eventually(lambda: redis_cli(reader, "get", "greeting") == "hello", "the reader endpoint to have it")
    assert redis_cli(reader, "set", "greeting", "no").startswith("READONLY")


def check_rules(cloud, primary, reader):
    """Another network's hosts are refused; the host itself stands for 10.0.0.4, which the rule allows."""
    source = other_source(cloud)
    for address in (primary, reader, cloud.node_address("demo-001"), cloud.node_address("demo-002")):
        assert is_refused(address, source)
        assert not is_refused(address, "127.0.0.1")
        assert redis_cli(address, "ping") == "PONG"


def kill_without_failover(cloud, primary):
    fill(primary, KEYS)
    cloud.kill("demo-001")
    eventually(lambda: write(primary, "after"), "writes to be possible again")
    assert missing(primary, KEYS) == []
    assert cloud.settled("demo") == ("demo-001", ["demo-002"])
    assert missing(cloud.node_address("demo-002"), KEYS) == []


def kill_with_failover(cloud, aws, primary):
    aws("elasticache", "modify-replication-group", "--replication-group-id", "demo", "--automatic-failover-enabled",
        "--apply-immediately")
    aws("elasticache", "wait", "replication-group-available", "--replication-group-id", "demo")
    cloud.kill("demo-001")
    eventually(lambda: write(primary, "failover"), "writes to be possible again")
    assert cloud.primary("demo") == "demo-002"
    assert missing(primary, KEYS) == []
    assert cloud.settled("demo") == ("demo-002", ["demo-001"])
    assert "Failover from primary node demo-001 to replica node demo-002 completed" in cloud.events("demo")


def try_failover(cloud, aws, primary):
    with Writer(primary) as writer:
        aws("elasticache", "test-failover", "--replication-group-id", "demo", "--node-group-id", "0001")
        cloud.available("demo")
        writer.await_writes(100)
    assert cloud.settled("demo") == ("demo-001", ["demo-002"])
    assert writer.lost() == [] and writer.refused == 0


def change_replicas(cloud, aws):
    aws("elasticache", "increase-replica-count", "--replication-group-id", "demo", "--new-replica-count", "2",
        "--apply-immediately")
    cloud.available("demo")
    first, others = cloud.settled("demo")
    assert (first, sorted(others)) == ("demo-001", ["demo-002", "demo-003"])
    assert missing(cloud.node_address("demo-003"), KEYS) == []
    aws("elasticache", "decrease-replica-count", "--replication-group-id", "demo", "--new-replica-count", "1",
        "--apply-immediately")
    cloud.available("demo")
    assert cloud.settled("demo") == ("demo-001", ["demo-002"])
    assert sorted(cloud.nodes()) == cloud.directories() == ["demo-001", "demo-002"]


def delete(cloud, aws, names, vpc, subnets, security_group):
    aws("elasticache", "delete-replication-group", "--replication-group-id", "demo")
    aws("elasticache", "wait", "replication-group-deleted", "--replication-group-id", "demo")
    check_nothing_is_left(cloud)
    assert dig(cloud.names, names[0]) == dig(cloud.names, names[1]) == []
    aws("elasticache", "delete-cache-subnet-group", "--cache-subnet-group-name", "redis")
    aws("ec2", "delete-security-group", "--group-id", security_group)
    for subnet in subnets:
        aws("ec2", "delete-subnet", "--subnet-id", subnet)
    aws("ec2", "delete-vpc", "--vpc-id", vpc)


def test_walkthrough_with_aws(cloud, tmp_path):
    aws = Aws(cloud.service, tmp_path)
    vpc, subnets, security_group = make_network(aws)
    group = create(aws, subnets, security_group)
    check_group(group)
    primary, reader = cloud.endpoints("demo")
    names = [group["NodeGroups"][0][kind]["Address"] for kind in ("PrimaryEndpoint", "ReaderEndpoint")]
    check_reading_and_writing(primary, reader)
    check_rules(cloud, primary, reader)
    kill_without_failover(cloud, primary)
    kill_with_failover(cloud, aws, primary)
    try_failover(cloud, aws, primary)
    change_replicas(cloud, aws)
    assert cloud.endpoints("demo") == (primary, reader)
    delete(cloud, aws, names, vpc, subnets, security_group)


# ---- with boto3 ------------------------------------------------------------------------------------------------------


@pytest.fixture
def network(cloud):
    """(VPC, subnets in two zones, security group) as the walkthrough has them."""
    vpc = cloud.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    cloud.ec2.get_waiter("vpc_available").wait(VpcIds=[vpc])
    subnets = [cloud.ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{third}.0/24", AvailabilityZone=zone)["Subnet"]
               for third, zone in ((13, ZONE_A), (23, ZONE_C))]
    ids = [subnet["SubnetId"] for subnet in subnets]
    cloud.ec2.get_waiter("subnet_available").wait(SubnetIds=ids)
    group = cloud.ec2.create_security_group(GroupName="redis", Description="redis", VpcId=vpc)["GroupId"]
    cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 6379, "ToPort": 6379, "IpRanges": [{"CidrIp": "10.0.0.0/16"}]}])
    return vpc, ids, group


def wait(cloud, waiter, group):
    """The waiter of that name has to be content with its first poll, or at least before a minute is over."""
    cloud.cache.get_waiter(waiter).wait(ReplicationGroupId=group, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def listed(cloud, action, result, **arguments):
    """All of a list, in pages of 20."""
    pages = list(cloud.cache.get_paginator(action).paginate(PaginationConfig={"PageSize": 20}, **arguments))
    return [item for page in pages for item in page[result]]


def test_walkthrough_with_boto3(cloud, network):
    vpc, subnets, security_group = network
    cache = cloud.cache
    made = cache.create_cache_subnet_group(CacheSubnetGroupName="redis", CacheSubnetGroupDescription="redis",
                                           SubnetIds=subnets)["CacheSubnetGroup"]
    assert {s["SubnetAvailabilityZone"]["Name"] for s in made["Subnets"]} == {ZONE_A, ZONE_C} and made["VpcId"] == vpc
    created = cloud.create_group("demo", PreferredCacheClusterAZs=[ZONE_A, ZONE_C], CacheSubnetGroupName="redis",
                                 SecurityGroupIds=[security_group], AutomaticFailoverEnabled=False)
    assert created["Status"] == "creating" and created["MemberClusters"] == ["demo-001", "demo-002"]
    wait(cloud, "replication_group_available", "demo")
    group = cloud.group("demo")
    check_group(group)
    assert listed(cloud, "describe_replication_groups", "ReplicationGroups") == [group]
    clusters = listed(cloud, "describe_cache_clusters", "CacheClusters", ShowCacheNodeInfo=True)
    assert [(c["CacheClusterId"], c["CacheClusterStatus"], c["ReplicationGroupId"]) for c in clusters] == [
        ("demo-001", "available", "demo"), ("demo-002", "available", "demo")]
    cache.get_waiter("cache_cluster_available").wait(CacheClusterId="demo-002")

    primary, reader = cloud.endpoints("demo")
    check_reading_and_writing(primary, reader)
    check_rules(cloud, primary, reader)
    kill_without_failover(cloud, primary)
    cache.modify_replication_group(ReplicationGroupId="demo", AutomaticFailoverEnabled=True, ApplyImmediately=True)
    wait(cloud, "replication_group_available", "demo")
    with Writer(primary) as writer:
        cloud.kill("demo-001")
        writer.await_writes(100)
    assert cloud.settled("demo") == ("demo-002", ["demo-001"]) and missing(primary, KEYS) == []
    with Writer(primary, prefix="planned") as writer:
        answer = cache.test_failover(ReplicationGroupId="demo", NodeGroupId="0001")["ReplicationGroup"]
        assert answer["Status"] == "modifying"
        wait(cloud, "replication_group_available", "demo")
        writer.await_writes(100)
    assert cloud.settled("demo")[0] == "demo-001" and writer.lost() == [] and writer.refused == 0
    cache.increase_replica_count(ReplicationGroupId="demo", NewReplicaCount=2, ApplyImmediately=True)
    wait(cloud, "replication_group_available", "demo")
    cache.decrease_replica_count(ReplicationGroupId="demo", ReplicasToRemove=["demo-002"], ApplyImmediately=True)
    wait(cloud, "replication_group_available", "demo")
    assert cloud.settled("demo") == ("demo-001", ["demo-003"])
    assert cloud.endpoints("demo") == (primary, reader)
    assert cache.delete_replication_group(ReplicationGroupId="demo")["ReplicationGroup"]["Status"] == "deleting"
    wait(cloud, "replication_group_deleted", "demo")
    check_nothing_is_left(cloud)
    assert cloud.events("demo")[-1] == "Replication group demo deleted"


# ---- as Terraform ----------------------------------------------------------------------------------------------------

GROUP_FIELDS = {
    "ARN", "AutoMinorVersionUpgrade", "AutomaticFailover", "CacheNodeType", "ClusterEnabled", "ClusterMode",
    "DataTiering", "Description", "IpDiscovery", "LogDeliveryConfigurations", "MemberClusters", "MultiAZ",
    "NetworkType", "NodeGroups", "PendingModifiedValues", "ReplicationGroupCreateTime", "ReplicationGroupId",
    "SnapshotRetentionLimit", "SnapshotWindow", "Status", "TransitEncryptionEnabled", "AtRestEncryptionEnabled",
    "AuthTokenEnabled",
}
CLUSTER_FIELDS = {
    "ARN", "AtRestEncryptionEnabled", "AuthTokenEnabled", "AutoMinorVersionUpgrade", "CacheClusterCreateTime",
    "CacheClusterId", "CacheClusterStatus", "CacheNodeType", "CacheNodes", "CacheParameterGroup",
    "CacheSubnetGroupName", "Engine", "EngineVersion", "IpDiscovery", "LogDeliveryConfigurations", "NetworkType",
    "NumCacheNodes", "PreferredAvailabilityZone", "PreferredMaintenanceWindow", "ReplicationGroupId",
    "SecurityGroups", "SnapshotRetentionLimit", "SnapshotWindow", "TransitEncryptionEnabled",
}
NODE_FIELDS = {"CacheNodeId", "CacheNodeStatus", "CacheNodeCreateTime", "Endpoint", "CustomerAvailabilityZone",
               "ParameterGroupStatus"}
# botocore of Debian 12 does not know of it yet.
TOO_NEW = {"ClusterMode"}


def refresh(cloud, name):
    """What the provider reads of a group, and decides by whether there is a difference."""
    group = cloud.group(name)
    first = group["NodeGroups"][0]["NodeGroupMembers"][0]["CacheClusterId"]
    cluster = cloud.cluster(first)
    tags = cloud.cache.list_tags_for_resource(ResourceName=group["ARN"])["TagList"]
    assert GROUP_FIELDS - TOO_NEW <= set(group), GROUP_FIELDS - set(group)
    assert CLUSTER_FIELDS <= set(cluster), CLUSTER_FIELDS - set(cluster)
    assert NODE_FIELDS <= set(cluster["CacheNodes"][0]), NODE_FIELDS - set(cluster["CacheNodes"][0])
    assert cluster["EngineVersion"].count(".") == 2
    assert [m["Status"] for m in cluster["SecurityGroups"]] == ["active"]
    return group, cluster, tags


def poll_members(cloud, members):
    for member in members:
        cloud.cluster_available(member)


def test_terraform_replication_group(cloud, network):
    cache = cloud.cache
    _, subnets, security_group = network
    cloud.sts.get_caller_identity()
    cache.create_cache_subnet_group(CacheSubnetGroupName="tf-Subnets", CacheSubnetGroupDescription="Managed by Terraform",
                                    SubnetIds=subnets)
    assert cache.describe_cache_subnet_groups(CacheSubnetGroupName="tf-subnets")["CacheSubnetGroups"]
    cache.create_cache_parameter_group(CacheParameterGroupName="tf", CacheParameterGroupFamily="redis7",
                                       Description="Managed by Terraform")
    cache.modify_cache_parameter_group(CacheParameterGroupName="tf", ParameterNameValues=[
        {"ParameterName": "maxmemory-policy", "ParameterValue": "allkeys-lru"}])
    user = cache.describe_cache_parameters(CacheParameterGroupName="tf", Source="user")["Parameters"]
    assert [(p["ParameterName"], p["ParameterValue"]) for p in user] == [("maxmemory-policy", "allkeys-lru")]

    cloud.create_group("tf", AutomaticFailoverEnabled=True, MultiAZEnabled=True, CacheSubnetGroupName="tf-subnets",
                       CacheParameterGroupName="tf", SecurityGroupIds=[security_group], Port=6379, Engine="redis",
                       EngineVersion="7.0", PreferredMaintenanceWindow="sun:05:00-sun:06:00",
                       AutoMinorVersionUpgrade=True, Tags=[{"Key": "Name", "Value": "tf"}])
    cloud.available("tf")
    first = refresh(cloud, "tf")
    assert first[2] == [{"Key": "Name", "Value": "tf"}]
    assert first[1]["PreferredMaintenanceWindow"] == "sun:05:00-sun:06:00"
    assert first == refresh(cloud, "tf")  # the plan behind it is empty

    # num_cache_clusters = 3, then 2
    cache.increase_replica_count(ReplicationGroupId="tf", NewReplicaCount=2, ApplyImmediately=True)
    poll_members(cloud, cloud.available("tf")["MemberClusters"])
    cache.decrease_replica_count(ReplicationGroupId="tf", NewReplicaCount=1, ApplyImmediately=True)
    poll_members(cloud, cloud.available("tf")["MemberClusters"])
    cloud.cluster_gone("tf-003")
    assert first == refresh(cloud, "tf")

    # everything else in one call, tags in two
    cache.modify_replication_group(ReplicationGroupId="tf", ReplicationGroupDescription="other", ApplyImmediately=True,
                                   CacheNodeType="cache.t3.small", SnapshotWindow="01:00-02:00")
    poll_members(cloud, cloud.available("tf")["MemberClusters"])
    group, cluster, _ = refresh(cloud, "tf")
    assert (group["Description"], group["CacheNodeType"], group["SnapshotWindow"], cluster["CacheNodeType"]) == (
        "other", "cache.t3.small", "01:00-02:00", "cache.t3.small")
    cache.remove_tags_from_resource(ResourceName=group["ARN"], TagKeys=["Name"])
    cache.add_tags_to_resource(ResourceName=group["ARN"], Tags=[{"Key": "Owner", "Value": "me"}])
    assert refresh(cloud, "tf")[2] == [{"Key": "Owner", "Value": "me"}]

    cache.delete_replication_group(ReplicationGroupId="tf")
    cloud.gone("tf")
    cache.delete_cache_parameter_group(CacheParameterGroupName="tf")
    cache.delete_cache_subnet_group(CacheSubnetGroupName="tf-subnets")
    with pytest.raises(botocore.exceptions.ClientError, match="CacheSubnetGroupNotFoundFault"):
        cache.describe_cache_subnet_groups(CacheSubnetGroupName="tf-subnets")
    check_nothing_is_left(cloud)
