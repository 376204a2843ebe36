"""Chaos: calls of the API while nodes and the service are killed or stopped, at random.

There are two groups. Of "careful" at most one node is hit at a time, and nothing else takes a node from it meanwhile; so no
write may be lost for which WAIT 1 has answered 1. Of "wild" anything may be hit, all nodes at once among others; it may
lose data, but not its service. After each round all is as the API says: groups are available, each member has one process
and one directory, the endpoints are served by those who ought to.

LARDER_CHAOS_ROUNDS says how many rounds there are (20), LARDER_CHAOS_SEED which ones. A failure names the seed.
"""

import contextlib
import os
import random
import signal
import threading
import time

import botocore.exceptions
from cloud import Process, Writer, eventually
from support.resp import Client

ROUNDS = int(os.environ.get("LARDER_CHAOS_ROUNDS", "20"))
SEED = int(os.environ.get("LARDER_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
TYPES = ["cache.t2.micro", "cache.t3.small", "cache.m5.large"]


# ---- calls -----------------------------------------------------------------------------------------------------------


def switch_over(cloud, group, dice):
    cloud.cache.test_failover(ReplicationGroupId=group, NodeGroupId="0001")


def describe(cloud, group, dice):
    cloud.cache.modify_replication_group(ReplicationGroupId=group, ApplyImmediately=True,
                                         ReplicationGroupDescription=f"number {dice.random()}")


def scale(cloud, group, dice):
    cloud.cache.modify_replication_group(ReplicationGroupId=group, ApplyImmediately=True,
                                         CacheNodeType=dice.choice(TYPES))


def grow(cloud, group, dice):
    members = len(cloud.group(group)["MemberClusters"])
    if members < 4:
        cloud.cache.increase_replica_count(ReplicationGroupId=group, NewReplicaCount=members, ApplyImmediately=True)


def shrink(cloud, group, dice):
    members = len(cloud.group(group)["MemberClusters"])
    if members > 2:
        cloud.cache.decrease_replica_count(ReplicationGroupId=group, NewReplicaCount=members - 2,
                                           ApplyImmediately=True)


def reboot(cloud, group, dice):
    cloud.cache.reboot_cache_cluster(CacheClusterId=dice.choice(cloud.group(group)["MemberClusters"]),
                                     CacheNodeIdsToReboot=["0001"])


def set_parameter(cloud, group, dice):
    cloud.cache.modify_cache_parameter_group(CacheParameterGroupName="chaos", ParameterNameValues=[
        {"ParameterName": "maxmemory-policy", "ParameterValue": dice.choice(["noeviction", "volatile-ttl"])}])


def come_and_go(cloud, group, dice):
    """Another group, which is deleted again."""
    name = f"guest-{dice.randrange(1 << 30)}"
    cloud.create_group(name, dice.randrange(1, 3))
    if dice.random() < 0.5:
        cloud.available(name)
    cloud.cache.delete_replication_group(ReplicationGroupId=name)


# What takes a node away by itself must not come together with the loss of another one.
GENTLE_CALLS = [switch_over, describe, scale, grow, set_parameter, come_and_go]
CALLS = GENTLE_CALLS + [shrink, reboot]


def call_anyhow(cloud, call, group, dice):
    """A call may be refused because of what goes on, or have nobody to answer it."""
    try:
        call(cloud, group, dice)
    except (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError):
        pass
    except botocore.exceptions.ClientError as error:
        code = error.response["Error"]["Code"]
        assert code.startswith("Invalid") and code.endswith("State"), error


# ---- faults ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def processes_of(cloud, clusters):
    """Those of these clusters that are there. One may end at any time, and nobody minds."""
    with contextlib.ExitStack() as stack:
        found = []
        for cluster, pid in cloud.nodes().items():
            with contextlib.suppress(ProcessLookupError):
                if cluster in clusters:
                    found.append(stack.enter_context(Process(pid)))
        yield found


def send(processes, number):
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.send(number)


def kill_nodes(cloud, clusters):
    with processes_of(cloud, clusters) as processes:
        send(processes, signal.SIGKILL)
        for process in processes:
            process.await_end()


def pause_nodes(cloud, clusters, seconds):
    """Stops processes for a while. One that is killed meanwhile needs no waking."""
    with processes_of(cloud, clusters) as processes:
        try:
            send(processes, signal.SIGSTOP)
            time.sleep(seconds)  # the pause is what is tried
        finally:
            send(processes, signal.SIGCONT)


def hit(cloud, clusters, dice):
    """Nodes, the service, or both."""
    kind = dice.choice(["nodes", "service", "both", "pause", "pause of the service"])
    if kind in ("service", "both"):
        cloud.kill_service()
    if kind in ("nodes", "both"):
        kill_nodes(cloud, clusters)
    if kind == "pause":
        pause_nodes(cloud, clusters, dice.choice([0.05, 0.3, 1.0]))
    if kind == "pause of the service":
        cloud.service.process.send_signal(signal.SIGSTOP)
        time.sleep(dice.choice([0.05, 0.3]))  # the pause is what is tried
        cloud.service.process.send_signal(signal.SIGCONT)
    if kind in ("service", "both"):
        cloud.service.start()
    return kind


# ---- rounds ----------------------------------------------------------------------------------------------------------


def settle(cloud):
    for group in ("careful", "wild"):
        cloud.available(group, 40)
        cloud.settled(group, 40)

    def agree():
        """Guests that nobody deleted are, now; then there is nothing but what the API shows."""
        groups = cloud.cache.describe_replication_groups()["ReplicationGroups"]
        for group in groups:
            if group["ReplicationGroupId"].startswith("guest") and group["Status"] == "available":
                cloud.cache.delete_replication_group(ReplicationGroupId=group["ReplicationGroupId"])
        members = sorted(member for group in groups for member in group["MemberClusters"])
        clusters = cloud.cache.describe_cache_clusters()["CacheClusters"]
        return (len(groups) == 2 and sorted(cloud.nodes()) == cloud.directories() == members
                and [c["CacheClusterId"] for c in clusters] == members
                and {c["CacheClusterStatus"] for c in clusters} == {"available"})

    eventually(agree, "processes, directories and the API to agree", 40)


def play(cloud, dice, log):
    group = dice.choice(["careful", "wild"])
    members = cloud.group(group)["MemberClusters"]
    if group == "careful":
        victims, calls = [dice.choice(members)], GENTLE_CALLS
    else:
        victims, calls = dice.sample(members, dice.randrange(1, len(members) + 1)), CALLS
    call = dice.choice(calls)
    moment = dice.choice([0, 0.005, 0.02, 0.1])
    failures = []

    def run(own):
        try:
            call_anyhow(cloud, call, group, own)
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run, args=(random.Random(dice.random()),))
    thread.start()
    time.sleep(moment)  # the moment is what is tried
    kind = hit(cloud, victims, dice)
    log.append(f"{call.__name__} of {group}, after {moment} s hit: {kind} {victims}")
    thread.join()
    assert not failures, failures


def check_endpoints(cloud):
    for name in ("careful", "wild"):
        group = cloud.group(name)["NodeGroups"][0]
        with Client(cloud.address(group["PrimaryEndpoint"])) as client:
            assert client.do("ROLE")[0] == b"master"
        for member in group["NodeGroupMembers"]:
            with Client(cloud.address(member["ReadEndpoint"])) as client:
                assert client.do("ROLE")[0] == (b"master" if member["CurrentRole"] == "primary" else b"slave")


def test_chaos(cloud):
    dice, log = random.Random(SEED), []
    cloud.cache.create_cache_parameter_group(CacheParameterGroupName="chaos", CacheParameterGroupFamily="redis7",
                                             Description="chaos")
    for group in ("careful", "wild"):
        cloud.create_group(group, 2, AutomaticFailoverEnabled=True, CacheParameterGroupName="chaos")
    settle(cloud)
    addresses = cloud.endpoints("careful"), cloud.endpoints("wild")
    try:
        with Writer(addresses[0][0], confirmed=True, timeout=10) as writer:
            for _ in range(ROUNDS):
                play(cloud, dice, log)
                settle(cloud)
                writer.await_writes(1)
        settle(cloud)
        check_endpoints(cloud)
        assert (cloud.endpoints("careful"), cloud.endpoints("wild")) == addresses
        lost = writer.lost()
        assert lost == [], f"{len(lost)} of {len(writer.acknowledged)} confirmed writes are lost: {lost[:10]}"
    except BaseException:
        print(f"LARDER_CHAOS_SEED={SEED}, {len(log)} rounds:", *log[-5:], cloud.report(), sep="\n")
        raise
