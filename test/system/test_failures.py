"""What goes wrong: nodes and the service that die or hang, addresses that somebody else has, a full disk."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import botocore.exceptions
import pytest
from cloud import SLOWNESS, Cloud, Process, Writer, api, eventually, fill, missing, run_id, write
from support.resp import Client

KEYS = 1000
HUNG_SECONDS = 5  # after so much silence a node counts as hung


def make(cloud, failover, members=2, name="g"):
    """An available group with KEYS keys; the address of its primary endpoint."""
    cloud.create_group(name, members, AutomaticFailoverEnabled=failover)
    cloud.available(name)
    assert cloud.settled(name)[0] == f"{name}-001"
    primary, _ = cloud.endpoints(name)
    fill(primary, KEYS, replicas=members - 1)
    return primary


def restart(cloud, after=None):
    """Kills the service with SIGKILL and starts it again; `after` is called in between."""
    cloud.kill_service()
    if after:
        after()
    cloud.service.start()


# ---- nodes that die --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failover", [False, True])
def test_primary_killed_again_and_again(cloud, failover):
    primary = make(cloud, failover)
    for _ in range(4):
        before, _ = cloud.roles("g")
        with Writer(primary) as writer:
            cloud.kill(before)
            writer.await_writes(10)
        assert writer.refused == 0
        now, _ = cloud.settled("g")
        assert (now != before) == failover
        assert missing(primary, KEYS) == []


def test_replica_killed_again_and_again(cloud):
    primary = make(cloud, failover=True)
    with Client(primary) as client:
        for _ in range(4):
            cloud.kill("g-002")
            assert client.do("SET", "meanwhile", "1") == b"OK"  # clients of the primary notice nothing
            assert cloud.settled("g") == ("g-001", ["g-002"])
    assert missing(cloud.node_address("g-002"), KEYS) == []


@pytest.mark.parametrize("failover", [False, True])
def test_all_nodes_killed_at_once(cloud, failover):
    """What was in memory is gone, unless a save was there; the service is not."""
    primary = make(cloud, failover)
    cloud.kill("g-001", "g-002")
    eventually(lambda: write(primary, "again"), "writes to be possible again")
    cloud.settled("g")
    with Client(primary) as client:
        assert client.do("GET", "again") == b"1"


def test_single_node_killed(cloud):
    cloud.cache.create_cache_cluster(CacheClusterId="one", CacheNodeType="cache.t2.micro", Engine="redis",
                                     NumCacheNodes=1)
    cloud.cluster_available("one")
    address = cloud.node_address("one")
    assert write(address, "before")
    cloud.kill("one")
    eventually(lambda: write(address, "after"), "writes to be possible again")


# ---- nodes that hang -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failover", [False, True])
def test_hung_primary(cloud, failover):
    primary = make(cloud, failover)
    with cloud.node("g-001") as process:
        process.send(signal.SIGSTOP)
        process.await_end(3 * HUNG_SECONDS * SLOWNESS)  # nobody would wake it up
    eventually(lambda: write(primary, "after"), "writes to be possible again")
    assert missing(primary, KEYS) == []
    assert cloud.settled("g") == (("g-002", ["g-001"]) if failover else ("g-001", ["g-002"]))


def test_hung_replica_does_not_disturb(cloud):
    primary = make(cloud, failover=True)
    with Writer(primary) as writer, cloud.node("g-002") as process:
        process.send(signal.SIGSTOP)
        process.await_end(3 * HUNG_SECONDS * SLOWNESS)
        writer.await_writes(10)
    assert writer.broken == writer.refused == 0
    assert cloud.settled("g") == ("g-001", ["g-002"])


def test_short_pause_is_no_failure(cloud):
    make(cloud, failover=True)
    before = cloud.nodes()
    with cloud.node("g-001") as process:
        process.send(signal.SIGSTOP)
        time.sleep(HUNG_SECONDS / 3)  # the pause is what is tried
        process.send(signal.SIGCONT)
    assert cloud.settled("g") == ("g-001", ["g-002"]) and cloud.nodes() == before


# ---- the service dies ------------------------------------------------------------------------------------------------


def test_service_killed_and_started_again(cloud):
    primary = make(cloud, failover=True)
    reader = cloud.endpoints("g")[1]
    addresses = [primary, reader, cloud.node_address("g-001"), cloud.node_address("g-002")]
    clients = [Client(address) for address in addresses]
    before = [(run_id(client), client.do("CLIENT", "ID")) for client in clients]
    nodes, roles = cloud.nodes(), cloud.roles("g")

    def meanwhile():
        assert write(primary, "alone")
        assert missing(reader, KEYS) == []

    restart(cloud, meanwhile)
    eventually(lambda: cloud.service.output.text().count("adopted") >= 2, "both nodes to be adopted")
    assert cloud.settled("g") == roles == cloud.roles("g") and cloud.nodes() == nodes
    assert [(run_id(client), client.do("CLIENT", "ID")) for client in clients] == before
    for client in clients:
        client.close()
    # It is as good as the old one was.
    cloud.kill("g-001")
    eventually(lambda: write(primary, "after"), "writes to be possible again")
    assert cloud.settled("g")[0] == "g-002" and missing(primary, KEYS) == []


def test_service_killed_again_and_again(cloud):
    """Every start, but the last, is cut short at another moment."""
    primary = make(cloud, failover=True)
    nodes = cloud.nodes()
    with Writer(primary) as writer:
        for _ in range(10):
            restart(cloud)
        writer.await_writes(10)
    assert writer.broken == writer.refused == 0 and writer.errors == {} and writer.lost() == []
    assert cloud.settled("g") == ("g-001", ["g-002"]) and cloud.nodes() == nodes


@pytest.mark.parametrize("failover", [False, True])
def test_primary_dies_without_the_service(cloud, failover):
    primary = make(cloud, failover)
    restart(cloud, lambda: cloud.kill("g-001"))
    eventually(lambda: write(primary, "after"), "writes to be possible again")
    assert missing(primary, KEYS) == []
    assert cloud.settled("g")[0] == ("g-002" if failover else "g-001")


def test_all_nodes_die_without_the_service(cloud):
    primary = make(cloud, failover=True)
    restart(cloud, lambda: cloud.kill("g-001", "g-002"))
    eventually(lambda: write(primary, "after"), "writes to be possible again")
    cloud.settled("g")


@pytest.mark.parametrize("failover", [False, True])
def test_primary_hangs_without_the_service(cloud, failover):
    primary = make(cloud, failover)
    with cloud.node("g-001") as process:
        restart(cloud, lambda: process.send(signal.SIGSTOP))
        process.await_end(3 * HUNG_SECONDS * SLOWNESS)
    eventually(lambda: write(primary, "after"), "writes to be possible again")
    assert missing(primary, KEYS) == []
    assert cloud.settled("g")[0] == ("g-002" if failover else "g-001")


def test_adoption_is_no_failover(cloud):
    """A primary that is found later than its replica is alive all the same."""
    primary = make(cloud, failover=True)
    with cloud.node("g-001") as process:
        restart(cloud, lambda: process.send(signal.SIGSTOP))
        eventually(lambda: "g-002 is up" in cloud.service.output.text(), "the replica to be adopted")
        assert cloud.primary("g") == "g-001"
        process.send(signal.SIGCONT)
    assert cloud.settled("g") == ("g-001", ["g-002"])
    assert missing(primary, KEYS) == [] and not [e for e in cloud.events("g") if "Failover from" in e]


def test_replica_that_cannot_start(cloud):
    """It does not keep the others from their work, not even those who are found anew."""
    primary = make(cloud, failover=False, members=3)
    place = cloud.directory / "g-003"

    def spoil():
        cloud.kill("g-003")
        shutil.rmtree(place)
        place.write_text("this is no directory")

    restart(cloud, spoil)
    cloud.kill("g-001")
    eventually(lambda: write(primary, "after"), "writes to be possible again")
    assert missing(primary, KEYS) == []
    place.unlink()
    assert cloud.settled("g")[0] == "g-001"


# Moments, in milliseconds after a call or a death began, at which the service is killed.
MOMENTS = [0, 2, 5, 10, 20, 40, 80, 160]


def kill_service_in(cloud, milliseconds, call):
    """Has the service killed so long after the call has begun; whether the call was answered."""
    begun, answers = threading.Event(), []

    def run():
        begun.set()
        try:
            answers.append(call())
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, OSError):
            pass  # nobody answers any more

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    time.sleep(milliseconds / 1000)  # the moment is what is tried
    cloud.kill_service()
    thread.join()
    cloud.service.start()
    return bool(answers)


def status(cloud, name):
    """Of a group; None: there is none."""
    groups = cloud.cache.describe_replication_groups()["ReplicationGroups"]
    return next((group["Status"] for group in groups if group["ReplicationGroupId"] == name), None)


def exists(cloud, name):
    return status(cloud, name) is not None


def test_service_killed_while_it_creates(cloud):
    for moment in MOMENTS:
        name = f"g{moment}"
        answered = kill_service_in(cloud, moment, lambda n=name: cloud.create_group(n))
        assert exists(cloud, name) or not answered, f"{name} was promised"
        if exists(cloud, name):
            cloud.available(name)
            cloud.settled(name)
            cloud.cache.delete_replication_group(ReplicationGroupId=name)
            cloud.gone(name)
        eventually(lambda: not cloud.nodes(), f"no process to be left after {moment} ms", 5)
        eventually(lambda: not cloud.directories(), f"no directory to be left after {moment} ms", 5)


def test_service_killed_while_it_deletes(cloud):
    for moment in MOMENTS:
        name = f"g{moment}"
        make(cloud, failover=False, name=name)
        answered = kill_service_in(cloud, moment, lambda n=name: cloud.cache.delete_replication_group(
            ReplicationGroupId=n))
        if not answered and status(cloud, name) == "available":  # it may go at any moment
            cloud.cache.delete_replication_group(ReplicationGroupId=name)
        cloud.gone(name)
        eventually(lambda: not cloud.nodes(), f"no process to be left after {moment} ms", 5)
        eventually(lambda: not cloud.directories(), f"no directory to be left after {moment} ms", 5)


def test_service_killed_while_it_adds_and_removes_replicas(cloud):
    primary = make(cloud, failover=True)
    for moment in MOMENTS:
        kill_service_in(cloud, moment, lambda: cloud.cache.increase_replica_count(
            ReplicationGroupId="g", NewReplicaCount=2, ApplyImmediately=True))
        cloud.available("g")
        cloud.settled("g")
        if len(cloud.group("g")["MemberClusters"]) == 3:
            kill_service_in(cloud, moment, lambda: cloud.cache.decrease_replica_count(
                ReplicationGroupId="g", NewReplicaCount=1, ApplyImmediately=True))
            if len(cloud.available("g")["MemberClusters"]) == 3:
                cloud.cache.decrease_replica_count(ReplicationGroupId="g", NewReplicaCount=1, ApplyImmediately=True)
                cloud.available("g")
        cloud.settled("g")
        members = cloud.group("g")["MemberClusters"]
        eventually(lambda m=members: sorted(cloud.nodes()) == m == cloud.directories(), f"only {members} to be there", 5)
    assert missing(primary, KEYS) == []


def test_service_killed_in_a_failover(cloud):
    primary = make(cloud, failover=True)
    for moment in MOMENTS:
        before = cloud.primary("g")
        with Writer(primary) as writer:
            kill_service_in(cloud, moment, lambda b=before: cloud.kill(b))
            writer.await_writes(10)
        assert cloud.settled("g")[0] != before
        assert missing(primary, KEYS) == []


def test_service_killed_in_a_switchover(cloud):
    primary = make(cloud, failover=True)
    for moment in MOMENTS:
        with Writer(primary, prefix=f"moment-{moment}") as writer:
            kill_service_in(cloud, moment, lambda: cloud.cache.test_failover(ReplicationGroupId="g",
                                                                             NodeGroupId="0001"))
            writer.await_writes(10)
            cloud.available("g")
        cloud.settled("g")
        assert writer.refused == 0 and writer.lost() == []
        assert missing(primary, KEYS) == []


# ---- the service is stopped ------------------------------------------------------------------------------------------


def test_data_lasts_over_an_orderly_stop(cloud):
    primary = make(cloud, failover=True)
    roles = cloud.roles("g")
    cloud.service.stop()
    assert cloud.nodes() == {}
    cloud.service.start()
    eventually(lambda: write(primary, "after"), "writes to be possible again")
    assert missing(primary, KEYS) == [] and cloud.settled("g") == roles
    assert cloud.endpoints("g")[0] == primary


def test_stop_while_a_replica_gets_its_data(cloud):
    """A node that cannot save just now, because its data is being replaced, ends all the same."""
    make(cloud, failover=True)
    for moment in range(0, 40, 5):
        cloud.kill(cloud.settled("g")[0])
        time.sleep(moment / 1000)  # the moment is what is tried
        start = time.monotonic()
        cloud.service.stop()
        assert time.monotonic() - start < 10 * SLOWNESS and cloud.nodes() == {}
        cloud.service.start()
    cloud.settled("g")


def test_keep_nodes(start_cloud):
    cloud = start_cloud("--keep-nodes")
    primary = make(cloud, failover=True)
    nodes = cloud.nodes()
    with Client(primary) as client:
        cloud.service.stop()
        assert cloud.nodes() == nodes and client.do("SET", "alone", "1") == b"OK"
        cloud.service.start()
        assert cloud.settled("g") == ("g-001", ["g-002"]) and cloud.nodes() == nodes
        assert client.do("GET", "alone") == b"1"


# ---- addresses that somebody else has --------------------------------------------------------------------------------


@contextlib.contextmanager
def taken(address):
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(address)
        holder.listen()
        yield


def holder_is_named(cloud):
    """The event says which process has the address."""
    return [event for event in cloud.events() if "create" in event and str(os.getpid()) in event]


def test_address_of_a_group_is_taken(cloud):
    cloud.create_group("g")
    cloud.available("g")
    addresses = cloud.endpoints("g")
    cloud.cache.delete_replication_group(ReplicationGroupId="g")
    cloud.gone("g")
    for address in addresses:
        with taken(address):
            cloud.create_group("g")
            eventually(lambda: cloud.group("g")["Status"] == "create-failed", "the creation to fail")
            assert holder_is_named(cloud), cloud.events()
            eventually(lambda: not cloud.nodes(), "the processes to be stopped")
            cloud.cache.delete_replication_group(ReplicationGroupId="g")
            cloud.gone("g")
        assert cloud.directories() == []
    cloud.create_group("g")
    cloud.available("g")
    assert cloud.endpoints("g") == addresses and write(addresses[0], "free")


def test_address_of_a_cluster_is_taken(cloud):
    def create():
        cloud.cache.create_cache_cluster(CacheClusterId="one", CacheNodeType="cache.t2.micro", Engine="redis",
                                         NumCacheNodes=1)

    def status():
        return cloud.cluster("one")["CacheClusterStatus"]

    create()
    cloud.cluster_available("one")
    address = cloud.node_address("one")
    cloud.cache.delete_cache_cluster(CacheClusterId="one")
    cloud.cluster_gone("one")
    with taken(address):
        create()
        eventually(lambda: status() == "incompatible-network", "the creation to fail")
        assert holder_is_named(cloud), cloud.events()
        eventually(lambda: not cloud.nodes(), "the process to be stopped")
        cloud.cache.delete_cache_cluster(CacheClusterId="one")
        cloud.cluster_gone("one")
    create()
    cloud.cluster_available("one")
    assert write(address, "free")


# ---- a full disk -----------------------------------------------------------------------------------------------------


class SmallDisk(api.Service):
    """A service whose state directory is a file system of its own, of 16 MiB, which only it and its nodes see."""

    def start(self):
        self.state.mkdir(exist_ok=True)
        script = pathlib.Path(self.state.parent / "larderd-on-a-small-disk")
        binary = os.environ.get("LARDERD", str(api.ROOT / "build" / "bin" / "larderd"))
        script.write_text(f"#!/bin/sh\nmount -t tmpfs -o size=16m,mode=700 none {self.state} && exec {binary} \"$@\"\n")
        wrapper = self.state.parent / "wrapper"
        wrapper.write_text(f"#!/bin/sh\nexec unshare -rm sh {script} \"$@\"\n")
        wrapper.chmod(0o755)
        before = os.environ.get("LARDERD")
        os.environ["LARDERD"] = str(wrapper)
        try:
            return super().start()
        finally:
            os.environ.pop("LARDERD")
            if before is not None:
                os.environ["LARDERD"] = before

    @property
    def inside(self):
        """The state directory as the service sees it."""
        return pathlib.Path(f"/proc/{self.process.pid}/root{self.state.resolve()}")

    def credentials(self):
        outside, self.state = self.state, self.inside
        try:
            return super().credentials()
        finally:
            self.state = outside


def can_mount():
    return shutil.which("unshare") and subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0


def fill_disk(directory):
    path = directory / "filler"
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as f:
        while True:
            f.write(bytes(4096))
    return path


@pytest.fixture
def small_disk(tmp_path):
    if not can_mount():
        pytest.skip("this user cannot mount a file system of its own")
    service = SmallDisk(tmp_path / "state")
    cloud = Cloud(service.start())
    yield cloud
    try:
        service.stop()
    finally:
        assert cloud.leave_nothing() == {}


def test_full_disk(small_disk):
    """Changes are refused, reading and failing over go on; with room again, everything does."""
    cloud = small_disk
    primary = make(cloud, failover=True)
    filler = fill_disk(cloud.service.inside)

    def change():
        cloud.cache.modify_replication_group(ReplicationGroupId="g", ReplicationGroupDescription="other",
                                             ApplyImmediately=True)

    with pytest.raises(botocore.exceptions.ClientError) as refused:
        for _ in range(1000):  # the store may have room of its own for some
            change()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500, refused.value.response
    assert cloud.group("g")["Status"] == "available"
    cloud.kill("g-001")
    eventually(lambda: write(primary, "after"), "writes to be possible again")
    assert missing(primary, KEYS) == []
    filler.unlink()
    change()
    assert cloud.settled("g")[0] == "g-002"


# ---- what is not the service's ---------------------------------------------------------------------------------------


def test_second_service_on_the_same_state_is_refused(cloud, tmp_path):
    second = subprocess.run([os.environ.get("LARDERD", str(api.ROOT / "build" / "bin" / "larderd")), "--state-dir",
                             str(cloud.service.state), "--api", "127.0.0.1:0"], capture_output=True, text=True,
                            timeout=30)
    assert second.returncode == 1 and "larderd: " in second.stderr, second.stderr
    assert cloud.service.process.poll() is None


def test_two_services_share_nothing(start_cloud):
    clouds = [start_cloud(), start_cloud()]
    addresses = [make(cloud, failover=False) for cloud in clouds]
    assert addresses[0] != addresses[1]
    clouds[0].kill("g-001")
    assert clouds[1].settled("g") == ("g-001", ["g-002"]) and missing(addresses[1], KEYS) == []
    with Process(clouds[1].nodes()["g-001"]) as process:
        clouds[0].cache.delete_replication_group(ReplicationGroupId="g") if clouds[0].settled("g") else None
        clouds[0].gone("g")
        assert process.pid == clouds[1].nodes()["g-001"]


def test_all_nodes_die_during_a_switchover(cloud):
    """At moments that lie around the switchover itself: before it, in it, and when only its endpoints are left to move."""
    cloud.create_group("g", 3, AutomaticFailoverEnabled=True)
    cloud.settled("g")
    for moment in (0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05):
        cloud.cache.test_failover(ReplicationGroupId="g", NodeGroupId="0001")
        time.sleep(moment)  # the moment is what is tried
        cloud.kill(*cloud.nodes())
        cloud.available("g")
        cloud.settled("g")


def test_the_service_stands_still_during_a_switchover(cloud):
    """What it knew of the roles is old when it goes on."""
    cloud.create_group("g", 3, AutomaticFailoverEnabled=True)
    cloud.settled("g")
    for moment in (0, 0.002, 0.005, 0.01, 0.02, 0.03):
        cloud.cache.test_failover(ReplicationGroupId="g", NodeGroupId="0001")
        time.sleep(moment)  # the moment is what is tried
        cloud.service.process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        cloud.service.process.send_signal(signal.SIGCONT)
        cloud.available("g")
        cloud.settled("g")


def test_a_node_without_a_record_is_ended(cloud):
    """As when the service is killed between starting a node and writing its record: the record is taken away here."""
    cloud.create_group("g", 1)
    cloud.settled("g")
    cloud.kill_service()
    with contextlib.closing(sqlite3.connect(cloud.service.state / "state.db")) as db, db:
        db.execute("DELETE FROM records WHERE kind IN ('cache_cluster', 'replication_group', 'shard')")
    cloud.service.start()
    eventually(lambda: cloud.nodes() == {} and cloud.directories() == [], "the node to be ended")
