"""Changes to groups while clients use them: rules, parameters, node types, reboots, replicas; and the reader endpoint."""

import collections
import ipaddress

import pytest
from cloud import ZONE_A, ZONE_C, Writer, eventually, fill, missing, run_id
from support.resp import Client, Closed, ReplyError

KEYS = 500


def make(cloud, members=2, name="g", **more):
    """An available group with KEYS keys; the addresses of its endpoints."""
    cloud.create_group(name, members, **more)
    cloud.available(name)
    cloud.settled(name)
    primary, reader = cloud.endpoints(name)
    fill(primary, KEYS, replicas=members - 1)
    return primary, reader


def setting(address, name):
    with Client(address) as client:
        return dict(zip(*[iter(client.do("CONFIG", "GET", name))] * 2))[name.encode()].decode()


def node_addresses(cloud, name):
    return [cloud.node_address(member) for member in cloud.group(name)["MemberClusters"]]


# ---- security groups -------------------------------------------------------------------------------------------------


def connects(address, source):
    try:
        with Client(address, source=source) as client:
            return client.do("PING") == b"PONG"
    except (Closed, ConnectionError):
        return False


def is_cut(client):
    """Does the server end that connection?"""
    return client.has_reply(15) and client.until_close() == b""


@pytest.fixture
def guarded(cloud):
    """A group in the default VPC behind a security group without rules: (primary, security group's id, a source)."""
    vpc = cloud.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
    group = cloud.ec2.create_security_group(GroupName="guard", Description="guard", VpcId=vpc)["GroupId"]
    cloud.create_group("g", SecurityGroupIds=[group])
    cloud.available("g")
    shadow = ipaddress.ip_address(cloud.names.partition(":")[0])
    source = ipaddress.ip_network((int(shadow), 16), strict=False)[0x1234]
    return cloud.endpoints("g")[0], group, str(source)


def rule(*blocks, port=6379, protocol="tcp"):
    return [{"IpProtocol": protocol, "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": b} for b in blocks]}]


def test_rules_hold_for_connections_that_are_there(cloud, guarded):
    primary, group, source = guarded
    assert not connects(primary, source)
    cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rule("172.31.0.0/16"))
    eventually(lambda: connects(primary, source), "the rule to have an effect")
    with Client(primary, source=source) as client:
        assert client.do("SET", "a", "1") == b"OK"
        cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rule("172.31.18.0/24"))
        cloud.ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=rule("172.31.0.0/16"))
        # The other rule allows it still: 172.31.18.52.
        assert client.do("GET", "a") == b"1"
        cloud.ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=rule("172.31.18.0/24"))
        assert is_cut(client)
    assert not connects(primary, source)


def test_rules_for_another_port_allow_nothing(cloud, guarded):
    primary, group, source = guarded
    cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rule("0.0.0.0/0", port=6380))
    cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rule("0.0.0.0/0", protocol="udp"))
    assert not connects(primary, source)
    cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rule("172.31.18.52/32"))
    eventually(lambda: connects(primary, source), "the rule to have an effect")


def test_other_security_groups_for_a_group(cloud, guarded):
    primary, group, source = guarded
    vpc = cloud.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["VpcId"]
    other = cloud.ec2.create_security_group(GroupName="open", Description="open", VpcId=vpc)["GroupId"]
    cloud.ec2.authorize_security_group_ingress(GroupId=other, IpPermissions=rule("0.0.0.0/0"))
    cloud.cache.modify_replication_group(ReplicationGroupId="g", SecurityGroupIds=[other], ApplyImmediately=True)
    eventually(lambda: connects(primary, source), "the group to have an effect")
    with Client(primary, source=source) as client:
        client.do("PING")
        cloud.cache.modify_replication_group(ReplicationGroupId="g", SecurityGroupIds=[group], ApplyImmediately=True)
        assert is_cut(client)
    assert not connects(primary, source)
    assert cloud.cluster("g-001")["SecurityGroups"] == [{"SecurityGroupId": group, "Status": "active"}]


def test_rules_hold_after_a_failover(cloud, guarded):
    primary, group, source = guarded
    cloud.cache.modify_replication_group(ReplicationGroupId="g", AutomaticFailoverEnabled=True, ApplyImmediately=True)
    cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rule("172.31.18.52/32"))
    eventually(lambda: connects(primary, source), "the rule to have an effect")
    with Client(primary, source=source) as client:
        assert client.do("SET", "a", "1") == b"OK" and client.do("WAIT", 1, 10000) == 1
    cloud.kill("g-001")
    eventually(lambda: cloud.primary("g") == "g-002" and connects(primary, source), "the other to take over")
    assert not connects(primary, str(ipaddress.ip_address(source) + 1))


# ---- parameters ------------------------------------------------------------------------------------------------------


def test_parameters_reach_the_nodes(cloud):
    cache = cloud.cache
    cache.create_cache_parameter_group(CacheParameterGroupName="p", CacheParameterGroupFamily="redis7", Description="p")
    make(cloud, CacheParameterGroupName="p")
    addresses = node_addresses(cloud, "g")
    before = setting(addresses[0], "maxmemory-policy")

    def change(value):
        cache.modify_cache_parameter_group(CacheParameterGroupName="p", ParameterNameValues=[
            {"ParameterName": "maxmemory-policy", "ParameterValue": value}])

    def all_have(value):
        return all(setting(address, "maxmemory-policy") == value for address in addresses)

    change("allkeys-lfu")
    eventually(lambda: all_have("allkeys-lfu"), "all nodes to have it")
    eventually(lambda: cloud.cluster("g-001")["CacheParameterGroup"]["ParameterApplyStatus"] == "in-sync", "in-sync")
    cloud.kill("g-002")
    cloud.settled("g")
    assert all_have("allkeys-lfu")
    cache.reset_cache_parameter_group(CacheParameterGroupName="p", ResetAllParameters=True)
    eventually(lambda: all_have(before), "all nodes to have their defaults again")
    change("noeviction")
    eventually(lambda: all_have("noeviction"), "all nodes to have it")
    cache.modify_replication_group(ReplicationGroupId="g", CacheParameterGroupName="default.redis7",
                                   ApplyImmediately=True)
    eventually(lambda: all_have(before), "all nodes to have those of the other group")


# ---- node types ------------------------------------------------------------------------------------------------------


def test_scaling_up_and_down(cloud):
    primary, reader = make(cloud)
    addresses = node_addresses(cloud, "g")

    def scale(to):
        group = cloud.cache.modify_replication_group(ReplicationGroupId="g", CacheNodeType=to, ApplyImmediately=True)
        assert group["ReplicationGroup"]["Status"] == "modifying"
        assert cloud.available("g")["CacheNodeType"] == cloud.cluster("g-002")["CacheNodeType"] == to
        cloud.settled("g")
        sizes = {int(setting(address, "maxmemory")) for address in addresses}
        assert len(sizes) == 1
        return sizes.pop()

    small = int(setting(primary, "maxmemory"))
    nodes = cloud.nodes()
    with Writer(primary) as writer:
        large = scale("cache.r5.large")
        assert large > 10 * small > 0
        assert scale("cache.t2.micro") == small
        writer.await_writes(10)
    assert writer.broken == writer.refused == 0 and writer.errors == {} and writer.lost() == []
    assert cloud.endpoints("g") == (primary, reader) and cloud.nodes() == nodes
    assert missing(primary, KEYS) == [] == missing(reader, KEYS)


def test_scaling_waits_for_the_maintenance_window(cloud):
    primary, _ = make(cloud)
    small = setting(primary, "maxmemory")
    cloud.cache.modify_replication_group(ReplicationGroupId="g", CacheNodeType="cache.r5.large", ApplyImmediately=False)
    assert cloud.group("g")["Status"] == "available"
    cluster = cloud.cluster("g-001")
    assert (cluster["CacheNodeType"], cluster["PendingModifiedValues"]) == (
        "cache.t2.micro", {"CacheNodeType": "cache.r5.large"})
    assert setting(primary, "maxmemory") == small


# ---- reboots ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("member", ["g-001", "g-002"])
def test_reboot_keeps_data(cloud, member):
    primary, _ = make(cloud)
    before = cloud.nodes()
    answer = cloud.cache.reboot_cache_cluster(CacheClusterId=member, CacheNodeIdsToReboot=["0001"])["CacheCluster"]
    assert answer["CacheClusterStatus"] == "rebooting cluster nodes"
    cloud.cluster_available(member)
    assert cloud.settled("g") == ("g-001", ["g-002"])
    after = cloud.nodes()
    assert after.pop(member) != before.pop(member) and after == before
    assert missing(primary, KEYS) == []
    assert missing(cloud.node_address(member), KEYS) == []
    assert "Cache node 0001 restarted" in cloud.events(member)


# ---- replicas --------------------------------------------------------------------------------------------------------


def readers(address, connections):
    """How many of so many connections each node served, by its run id."""
    counts = collections.Counter()
    for _ in range(connections):
        with Client(address) as client:
            counts[run_id(client)] += 1
    return counts


def test_reader_endpoint_balances(cloud):
    _, reader = make(cloud, members=3)
    counts = readers(reader, 100)
    assert len(counts) == 2 and min(counts.values()) > 10, counts
    with Client(cloud.node_address("g-001")) as client:
        assert run_id(client) not in counts


def test_reader_endpoint_without_replicas(cloud):
    primary, reader = make(cloud, members=1)
    with Client(primary) as one, Client(reader) as other:
        assert run_id(one) == run_id(other)
    cloud.cache.increase_replica_count(ReplicationGroupId="g", NewReplicaCount=1, ApplyImmediately=True)
    cloud.available("g")
    cloud.settled("g")
    with Client(cloud.node_address("g-002")) as replica:
        eventually(lambda: set(readers(reader, 5)) == {run_id(replica)}, "the replica to have the reader endpoint")


def test_reader_endpoint_never_fails(cloud):
    """While one of two replicas is killed, whoever comes to the reader endpoint is served by the other."""
    _, reader = make(cloud, members=3, AutomaticFailoverEnabled=True)
    failures = 0
    for _ in range(5):
        cloud.kill("g-003")
        for _ in range(20):
            try:
                with Client(reader, timeout=5) as client:
                    assert client.do("GET", "key:1") == b"1"
            except (OSError, Closed, ReplyError):
                failures += 1
        cloud.settled("g")
    assert failures == 0


def test_replicas_come_and_go_under_load(cloud):
    primary, _ = make(cloud)
    with Writer(primary) as writer:
        for count in (3, 1, 5, 0, 1):
            members = len(cloud.group("g")["MemberClusters"])
            call = (cloud.cache.increase_replica_count if count + 1 > members else cloud.cache.decrease_replica_count)
            call(ReplicationGroupId="g", NewReplicaCount=count, ApplyImmediately=True)
            assert len(cloud.available("g", 30)["MemberClusters"]) == count + 1
            first, others = cloud.settled("g", 30)
            assert first == "g-001" and len(others) == count
            assert sorted(cloud.nodes()) == cloud.directories() == sorted(cloud.group("g")["MemberClusters"])
    assert writer.broken == writer.refused == 0 and writer.errors == {} and writer.lost() == []
    for member in cloud.group("g")["MemberClusters"]:
        assert missing(cloud.node_address(member), KEYS) == []


def test_replica_in_a_chosen_zone(cloud):
    make(cloud, PreferredCacheClusterAZs=[ZONE_A, ZONE_C])
    cloud.cache.increase_replica_count(ReplicationGroupId="g", ApplyImmediately=True, ReplicaConfiguration=[
        {"NodeGroupId": "0001", "NewReplicaCount": 2, "PreferredAvailabilityZones": [ZONE_A, ZONE_C, ZONE_C]}])
    cloud.available("g")
    assert [cloud.cluster(m)["PreferredAvailabilityZone"] for m in cloud.group("g")["MemberClusters"]] == [
        ZONE_A, ZONE_C, ZONE_C]


# ---- the primary -----------------------------------------------------------------------------------------------------


def test_primary_is_chosen(cloud):
    primary, _ = make(cloud, AutomaticFailoverEnabled=False)
    with Writer(primary) as writer:
        cloud.cache.modify_replication_group(ReplicationGroupId="g", PrimaryClusterId="g-002", ApplyImmediately=True)
        cloud.available("g")
        writer.await_writes(50)
    assert cloud.settled("g") == ("g-002", ["g-001"])
    assert writer.lost() == [] and writer.refused == 0 and missing(primary, KEYS) == []


def test_failover_again_and_again(cloud):
    primary, reader = make(cloud, AutomaticFailoverEnabled=True)
    with Writer(primary) as writer:
        for _ in range(10):
            cloud.cache.test_failover(ReplicationGroupId="g", NodeGroupId="0001")
            cloud.available("g")
            writer.await_writes(20)
            cloud.settled("g")
    assert writer.lost() == [] and writer.refused == 0 and missing(primary, KEYS) == []
    assert cloud.primary("g") == "g-001" and cloud.endpoints("g") == (primary, reader)


def test_connection_through_the_primary_endpoint_ends_when_the_primary_changes(cloud):
    primary, _ = make(cloud, AutomaticFailoverEnabled=True)
    with Client(primary) as through, Client(cloud.node_address("g-001")) as direct:
        direct.do("PING")
        through.do("PING")
        cloud.cache.test_failover(ReplicationGroupId="g", NodeGroupId="0001")
        assert is_cut(through)
        cloud.available("g")
        assert direct.do("ROLE")[0] == b"slave"


def test_events_of_a_drill(cloud):
    make(cloud, AutomaticFailoverEnabled=True)
    cloud.cache.test_failover(ReplicationGroupId="g", NodeGroupId="0001")
    cloud.available("g")
    cloud.settled("g")
    events = cloud.events("g")
    done = "Failover from primary node g-001 to replica node g-002 completed"
    assert events.index("Test Failover API called for node group 0001") < events.index(done)
    assert any(done in cloud.events(member) for member in ("g-001", "g-002"))
