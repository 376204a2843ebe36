"""Replication end to end: larder-servers and redis-servers follow one another, lose one another and find together."""

import os
import random
import signal
import subprocess
import threading
import time

import pytest

from support.crowd import SHARE
from support.keyspace import assert_equal, await_caught_up, await_equal, read_all
from support.proxy import Link
from support.replica import FakePrimary, FakeReplica
from support.resp import Client
from support.topology import (Servers, await_info, await_link, await_online, await_role, await_true, fill, stats)
from support.workload import Bank, Mixed

ROUNDS = int(os.environ.get("LARDER_REPLICATION_ROUNDS", "3"))
BOTH_WAYS = [("larder", "larder"), ("larder", "redis"), ("redis", "larder")]
ENOUGH = int(4000 * SHARE)
SAVES = ("save", "3600 1")


@pytest.fixture
def servers(start, start_oracle):
    return Servers(start, start_oracle)


@pytest.fixture
def link():
    """link(server) is a proxy in front of it."""
    made = []

    def make(server):
        made.append(Link("127.0.0.1", server.port))
        return made[-1]

    yield make
    for one in made:
        one.close()


# Full synchronisation

@pytest.mark.parametrize("primary, replica", BOTH_WAYS)
def test_a_replica_gets_everything(servers, primary, replica):
    one = servers.primary(primary)
    before = fill(one, big=1 << 20)
    other = servers.replica(one, replica)
    await_equal(one, other)
    assert_equal(before, read_all(other))
    fill(one, keys=500, seed=7)
    with one.connect() as client:
        client.pipeline([("SWAPDB", 0, 5), ("SELECT", 9), ("FLUSHDB",), ("SET", "last", "1", "EX", 1000), ("SWAPDB", 3, 9)])
    await_equal(one, other)
    assert stats(one) == (1, 0)


@pytest.mark.parametrize("primary, replica", BOTH_WAYS)
def test_a_replica_joins_under_load(servers, primary, replica):
    one = servers.primary(primary)
    fill(one)
    with Mixed(one.address, threads=3, seed=5) as load:
        load.await_acked(ENOUGH // 4)
        other = servers.replica(one, replica)
        load.await_more(ENOUGH)
    await_equal(one, other)


def test_a_chain_joins_under_load(servers):
    one = servers.primary()
    fill(one)
    with Mixed(one.address, threads=2, seed=6) as load:
        load.await_acked(ENOUGH // 4)
        middle = servers.replica(one)
        last = servers.replica(middle)
        redis = servers.replica(middle, "redis")
        load.await_more(ENOUGH)
    await_equal(one, middle)
    await_equal(middle, last)
    await_equal(middle, redis)
    with Client(middle.address) as client:
        offsets = {server.connect().do("ROLE")[-1] for server in (middle, last)}
        assert len(offsets) == 1 and client.info("replication")["connected_slaves"] == "2"


def test_replicas_that_wait_share_a_snapshot(servers):
    """While one replica takes its time, the others wait, and then get one snapshot together."""
    one = servers.primary()
    with one.connect() as client:
        client.pipeline([("SET", f"k:{i}", os.urandom(1 << 20)) for i in range(20)])
    with FakeReplica(one.address) as slow, FakeReplica(one.address) as a, FakeReplica(one.address) as b:
        for replica in (slow, a, b):
            replica.handshake()
        assert slow.psync() == "full"
        for replica in (a, b):
            replica.client.command("PSYNC", "?", "-1")
        await_info(one, lambda info: info["connected_slaves"] == "3")
        slow.receive_rdb()
        starts = []
        for replica in (a, b):
            words = replica._line_after_newlines().split()
            assert words[0] == b"+FULLRESYNC"
            starts.append(words)
            replica._begin(int(words[2]), 0)
        # Neither is read to the end before the other one: the slowest sets the pace.
        readers = [threading.Thread(target=replica.receive_rdb) for replica in (a, b)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(60)
        assert starts[0] == starts[1] and a.rdb == b.rdb
    assert "Full synchronisation of 2 replica(s)" in one.output.text()


def test_old_data_is_served_until_the_new_is_complete(servers, link):
    one, other = servers.primary(), servers.primary()
    fill(one, keys=100)
    with one.connect() as client:
        client.pipeline([("SET", f"new:{i}", os.urandom(1 << 18)) for i in range(40)])
    old = fill(other, keys=50, seed=3)
    through = link(one)
    through.stall("down")
    with other.connect() as client, Client(other.address) as reader:
        client.do("REPLICAOF", "127.0.0.1", through.port)
        # So much that the transfer has begun, and cannot be over.
        through.cut_after(5 << 20)
        through.resume()
        through.await_cuts(1)
        assert_equal(read_all(reader), old)
        assert reader.error("SET", "a", "1").startswith("READONLY")
    await_link(other)
    await_equal(one, other)


def test_old_data_is_hidden_if_so_configured(servers):
    other = servers.primary(directives=[("replica-serve-stale-data", "no")])
    with other.connect() as client, FakePrimary() as fake:
        client.do("SET", "k", "old")
        client.do("REPLICAOF", "127.0.0.1", fake.port)
        assert client.error("GET", "k").startswith("MASTERDOWN")
        assert client.error("SET", "k", "v").startswith("MASTERDOWN")
        for allowed in (("INFO",), ("ROLE",), ("CONFIG", "GET", "port")):
            client.do(*allowed)
        fake.accept()
        fake.full_resync()
        await_link(other)
        assert client.do("GET", "k") is None
        fake.drop()
        await_link(other, "down")
        assert client.error("GET", "k").startswith("MASTERDOWN")
        client.do("CONFIG", "SET", "replica-serve-stale-data", "yes")
        assert client.do("GET", "k") is None
        client.do("REPLICAOF", "NO", "ONE")


@pytest.mark.slow
def test_a_long_value_while_a_replica_joins(servers):
    one = servers.primary()
    with one.connect() as client:
        client.do("SETRANGE", "long", (100 << 20) - 3, "end")
        client.do("SET", "other", "x" * 1000)
    other = servers.replica(one, up=False)
    with one.connect() as client:
        client.do("APPEND", "long", "more")
        client.do("SET", "second", "y" * (20 << 20))
    await_link(other)
    await_caught_up(one, other)
    with one.connect() as a, other.connect() as b:
        for client in (a, b):
            assert client.do("STRLEN", "long") == (100 << 20) + 4
            assert client.do("GETRANGE", "long", -8, -1) == b"\x00endmore"
            assert client.do("STRLEN", "second") == 20 << 20


# Partial synchronisation

@pytest.mark.parametrize("primary, replica", BOTH_WAYS)
def test_a_link_that_breaks_goes_on(servers, link, primary, replica):
    one = servers.primary(primary)
    through = link(one)
    other = servers.replica(through.port, replica)
    for direction in ("down", "up"):
        with Mixed(one.address, seed=8) as load:
            load.await_more(ENOUGH // 8)
            through.cut_after(random.Random(direction).randrange(1, 3000) if direction == "down" else 5, direction)
            through.await_cuts(1 if direction == "down" else 2)
            load.await_more(ENOUGH // 8)
        await_link(other)
        await_equal(one, other)
    full, partial = stats(one)
    # A redis-server may make it begin anew when the link broke before it had noticed that its snapshot was sent.
    assert (full, partial) == (1, 2) or (primary == "redis" and full + partial == 3)


def cuts(seed):
    """(direction, after how many bytes) of a few cuts: in the handshake, in a snapshot, in the stream."""
    rng = random.Random(seed)
    return [("down", rng.randrange(1, 30)), ("up", rng.randrange(1, 150)), ("down", rng.randrange(30, 2000)),
            ("down", rng.randrange(2000, 400000)), ("up", rng.randrange(150, 400)), ("down", rng.randrange(400000, 800000))]


@pytest.mark.parametrize("seed", range(1, ROUNDS + 1))
@pytest.mark.parametrize("primary, replica", [("larder", "larder"), ("redis", "larder")])
def test_a_link_that_breaks_anywhere(servers, link, primary, replica, seed):
    one = servers.primary(primary)
    fill(one)
    through = link(one)
    rng = random.Random(seed)
    chosen = [cuts(seed)[i] for i in sorted(rng.sample(range(6), 3))]
    with Mixed(one.address, seed=seed):
        through.cut_after(chosen[0][1], chosen[0][0])
        other = servers.replica(through.port, replica, up=False)
        for at, _ in enumerate(chosen):
            through.await_cuts(at + 1, seconds=60)
            if at + 1 < len(chosen):
                through.cut_after(chosen[at + 1][1], chosen[at + 1][0])
        await_link(other, seconds=60)
    await_equal(one, other)


def test_a_link_that_delivers_byte_by_byte(servers, link):
    one = servers.primary()
    fill(one, keys=20)
    through = link(one)
    through.drip()
    other = servers.replica(through.port)
    fill(one, keys=20, seed=4)
    with one.connect() as client:
        client.pipeline([("MULTI",), ("SET", "a", "1"), ("SELECT", 2), ("SET", "b", "2"), ("EXEC",)])
    await_equal(one, other)
    assert stats(one) == (1, 0)


def test_the_backlog_decides(servers, link):
    one = servers.primary(directives=[("repl-backlog-size", "1mb")])
    through = link(one)
    other = servers.replica(through.port)
    with one.connect() as client:
        for size, expected in ((500 << 10, (1, 1)), (3 << 20, (2, 1))):
            await_caught_up(one, other)
            through.refuse()
            through.cut()
            await_link(other, "down")
            client.pipeline([("SET", f"k:{i}", "x" * 1024) for i in range(size >> 10)])
            through.accept()
            await_link(other)
            await_equal(one, other)
            assert stats(one) == expected
        client.do("CONFIG", "SET", "repl-backlog-size", "16mb")
        through.refuse()
        through.cut()
        await_link(other, "down")
        client.pipeline([("SET", f"k:{i}", "x" * 1024) for i in range(8 << 10)])
        through.accept()
        await_link(other)
        await_equal(one, other)
        assert stats(one) == (2, 2)


@pytest.mark.parametrize("primary, replica", [("larder", "larder"), ("redis", "larder"), ("larder", "redis")])
def test_a_replica_that_restarts_goes_on(servers, primary, replica):
    one = servers.primary(primary)
    fill(one, keys=300)
    other = servers.replica(one, replica, [SAVES])
    fill(one, keys=100, seed=9)
    await_caught_up(one, other)
    other.terminate()
    with one.connect() as client:
        client.pipeline([("SELECT", 3), ("SET", "meanwhile", "1"), ("SELECT", 0), ("INCR", "n")])
    other.restart()
    await_link(other)
    await_equal(one, other)
    assert stats(one) == (1, 1)


def test_a_replica_that_was_killed_begins_anew(servers):
    one = servers.primary()
    fill(one, keys=300)
    other = servers.replica(one)
    with Mixed(one.address) as load:
        load.await_acked(ENOUGH // 8)
        other.crash()
        load.await_more(ENOUGH // 8)
        other.restart()
        await_link(other)
    await_equal(one, other)
    assert stats(one) == (2, 0)


@pytest.mark.parametrize("primary, replica", BOTH_WAYS)
def test_a_primary_that_restarts_is_followed_again(servers, primary, replica):
    one = servers.primary(primary, [SAVES])
    other = servers.replica(one, replica)
    fill(one, keys=300)
    await_caught_up(one, other)
    one.terminate()
    one.restart()
    await_link(other)
    fill(one, keys=20, seed=5)
    await_equal(one, other)
    assert stats(one) == (0, 1)


def test_a_primary_that_lost_data_is_not_followed_blindly(servers):
    """It saved, wrote more, and was killed: the replica is ahead of it, and has to begin anew."""
    one = servers.primary(directives=[SAVES])
    other = servers.replica(one)
    fill(one, keys=100)
    with one.connect() as client:
        client.do("SAVE")
        client.do("SET", "lost", "1")
        await_caught_up(one, other)
    one.crash()
    one.restart()
    await_link(other)
    fill(one, keys=20, seed=5)
    await_equal(one, other)
    assert stats(one)[0] == 1
    with other.connect() as client:
        assert client.do("EXISTS", "lost") == 0


# Roles

def test_promotion_in_a_chain(servers):
    """The middle becomes the primary; its replica goes on without a full synchronisation, and so does the old primary
    that joins, if it has nothing of its own."""
    old = servers.primary()
    fill(old, keys=300)
    middle = servers.replica(old)
    last = servers.replica(middle)
    with old.connect() as client:
        client.pipeline([("SELECT", 2), ("SET", "in two", "1")])
    await_caught_up(old, middle)
    await_caught_up(middle, last)
    before = stats(middle)
    with middle.connect() as client:
        client.do("REPLICAOF", "NO", "ONE")
        client.do("SET", "from the middle", "1")
    await_link(last)
    await_equal(middle, last)
    assert stats(middle) == (before[0], before[1] + 1)
    with old.connect() as client:
        client.do("REPLICAOF", "127.0.0.1", middle.port)
    await_link(old)
    await_equal(middle, old)
    fill(middle, keys=20, seed=6)
    await_equal(middle, old)
    await_equal(middle, last)
    assert stats(middle) == (before[0], before[1] + 2)


@pytest.mark.parametrize("primary, replica", BOTH_WAYS)
def test_an_old_primary_that_went_on_begins_anew(servers, primary, replica):
    old = servers.primary(primary)
    fill(old, keys=300)
    new = servers.replica(old, replica)
    await_caught_up(old, new)
    with new.connect() as a, old.connect() as b:
        a.do("REPLICAOF", "NO", "ONE")
        a.do("SET", "new", "1")
        b.do("SET", "old", "1")
        b.do("INCR", "n")
        b.do("REPLICAOF", "127.0.0.1", new.port)
        await_link(old)
        await_equal(new, old)
        assert b.do("EXISTS", "old", "new") == 1


def test_nothing_of_the_old_primary_comes_after_the_promotion(servers):
    """What had been received when REPLICAOF NO ONE was answered, and what was still on its way, is not run any more."""
    one = servers.primary()
    two = servers.replica(one)
    with Bank(one.address).open(), two.connect() as client:
        for _ in range(20):
            await_link(two)
            before = client.info("replication")["slave_repl_offset"]
            await_info(two, lambda info: info["slave_repl_offset"] != before)
            (_, text) = client.pipeline([["REPLICAOF", "NO", "ONE"], ["INFO", "replication"]])[1]
            offset = next(line for line in text.split() if line.startswith(b"master_repl_offset:"))
            await_info(one, lambda info: info["connected_slaves"] == "0")
            assert offset in client.do("INFO", "replication").split()
            client.do("REPLICAOF", "127.0.0.1", one.port)


def test_a_chain_while_the_middle_begins_anew(servers, link):
    one, two = servers.primary(), servers.primary()
    fill(one, keys=300)
    fill(two, keys=200, seed=8)
    middle = servers.replica(one)
    last = servers.replica(middle)
    await_equal(one, last)
    through = link(two)
    with middle.connect() as client, Mixed(two.address):
        client.do("REPLICAOF", "127.0.0.1", through.port)
        through.await_true(lambda: through.down > 1000)
        await_link(middle)
        await_link(last)
    await_equal(two, middle)
    await_equal(middle, last)


def test_roles_are_told(servers):
    one = servers.primary()
    other = servers.replica(one, directives=[("replica-announce-ip", "localhost"), ("replica-announce-port", "7")])
    await_online(one)
    offset = await_caught_up(one, other)
    with one.connect() as client, other.connect() as replica:
        told = [b"master", offset, [[b"localhost", b"7", b"%d" % offset]]]
        await_true(lambda: client.do("ROLE") == told, f"{client.do('ROLE')}, not {told}")  # with the next ACK
        assert replica.do("ROLE") == [b"slave", b"127.0.0.1", one.port, b"connected", offset]
        assert replica.do("REPLICAOF", "127.0.0.1", one.port) == b"OK Already connected to specified master"
        assert replica.error("FAILOVER").startswith("ERR")
        assert replica.do("CONFIG", "GET", "replicaof") == [b"replicaof", b"127.0.0.1 %d" % one.port]
        replica.do("SLAVEOF", "no", "one")
        assert replica.do("ROLE")[0] == b"master"
        assert replica.do("REPLICAOF", "no", "one") == b"OK"
    await_info(one, lambda info: info["connected_slaves"] == "0")


# What replicas do with data

@pytest.mark.parametrize("primary", ("larder", "redis"))
def test_a_key_that_expires(servers, primary):
    """The replica hides it, and keeps it until its primary says DEL."""
    one = servers.primary(primary)
    with one.connect() as client:
        client.do("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        client.pipeline([("SET", "a", "1", "PX", 300), ("SET", "b", "1", "PX", 300), ("SET", "stays", "1", "PX", 10 ** 7)])
        other = servers.replica(one)
        client.do("SET", "late", "1", "PX", 300)
        await_caught_up(one, other)
        with other.connect() as replica:
            assert replica.do("PEXPIRETIME", "stays") == client.do("PEXPIRETIME", "stays")
            await_true(lambda: replica.do("EXISTS", "a", "b", "late") == 0, "they do not expire")
            assert replica.do("TTL", "a") == -2 and replica.do("TYPE", "b") == b"none"
            assert replica.do("DBSIZE") == 4
            client.do("GET", "a")
            client.do("SET", "b", "2")
            await_caught_up(one, other)
            assert replica.do("DBSIZE") == 3 and replica.do("GET", "b") == b"2" and replica.do("TTL", "b") == -1
            replica.do("REPLICAOF", "NO", "ONE")
            # A primary now: it removes what has expired itself.
            await_true(lambda: replica.do("DBSIZE") == 2, "nothing expires after the promotion")


def test_writes_to_a_replica(servers):
    one = servers.primary()
    other = servers.replica(one)
    with other.connect() as client:
        assert client.error("SET", "a", "1").startswith("READONLY")
        client.do("MULTI")
        assert client.error("SET", "a", "1").startswith("READONLY")
        assert client.error("EXEC").startswith("EXECABORT")
        client.do("CONFIG", "SET", "replica-read-only", "no")
        assert client.do("SET", "own", "1") == b"OK"
        client.do("SET", "own2", "1", "PX", "1")
        await_true(lambda: client.do("GET", "own2") is None, "it does not expire")
        with one.connect() as primary:
            primary.do("SET", "own", "2")
            await_caught_up(one, other)
            assert client.do("GET", "own") == b"2"
        client.do("CONFIG", "SET", "replica-read-only", "yes")
        assert client.error("SET", "a", "1").startswith("READONLY")


def test_writes_to_a_replica_stay_there(servers):
    """What is written to a replica goes to nobody, and does not move the offset."""
    one = servers.primary()
    other = servers.replica(one, directives=[("replica-read-only", "no")])
    last = servers.replica(other)
    with other.connect() as client:
        client.do("SET", "own", "1")
        client.do("FLUSHDB")
        client.do("SET", "own", "1")
    with one.connect() as client:
        client.do("SET", "k", "1")
    await_caught_up(one, other)
    await_caught_up(other, last)
    with last.connect() as client:
        assert client.do("KEYS", "*") == [b"k"]
    assert stats(one) == (1, 0) and stats(other) == (1, 0)


# Passwords

@pytest.mark.parametrize("primary, replica", BOTH_WAYS)
def test_a_primary_with_a_password(servers, primary, replica):
    one = servers.primary(primary, [("requirepass", "secret")])
    with one.connect() as client:
        client.do("AUTH", "secret")
        client.do("SET", "k", "v")
        other = servers.replica(one, replica, [("masterauth", "wrong")], up=False)
        await_info(other, lambda info: info["master_link_status"] == "down")
        with other.connect() as replica_client:
            replica_client.do("CONFIG", "SET", "masterauth", "secret")
            await_link(other)
            assert replica_client.do("GET", "k") == b"v"
            # As a user with a name.
            replica_client.do("CONFIG", "SET", "masteruser", "default")
            client.do("CLIENT", "KILL", "TYPE", "replica")
            client.do("SET", "k", "w")
            await_true(lambda: replica_client.do("GET", "k") == b"w", "it does not come back")


# WAIT and what depends on replicas

def test_wait(servers, link):
    one = servers.primary()
    through = link(one)
    with one.connect() as client:
        assert client.do("WAIT", 0, 0) == 0
        assert client.do("WAIT", 1, 10) == 0
        servers.replica(one)
        servers.replica(one, "redis")
        servers.replica(through.port)
        await_online(one, 3)
        for i in range(20):
            client.do("SET", f"k:{i}", "v")
            assert client.do("WAIT", 3, 0) == 3
        assert client.do("WAIT", 1, 0) >= 1
        through.stall()
        client.do("SET", "k", "v")
        begun = time.monotonic()
        assert client.do("WAIT", 3, 100) == 2
        assert time.monotonic() - begun > 0.09
        assert client.do("WAIT", 2, 0) == 2
        through.resume()
        assert client.do("WAIT", 3, 0) == 3
        client.pipeline([("MULTI",), ("SET", "k", "w"), ("WAIT", 3, 0)])
        assert client.do("EXEC")[0] == b"OK"
        assert client.error("WAIT", 1, -1) == "ERR timeout is negative"
        assert client.error("WAIT", "x", 1).startswith("ERR value is not an integer")
        # Nothing was written by this connection: there is nothing to wait for.
        with one.connect() as other:
            assert other.do("WAIT", 3, 0) == 3


def test_wait_on_a_replica(servers):
    one = servers.primary()
    other = servers.replica(one)
    with other.connect() as client:
        assert client.error("WAIT", 0, 0).startswith("ERR WAIT cannot be used with replica instances")
    with one.connect() as client:
        client.do("SET", "k", "v")
        client.send(b"*3\r\n$4\r\nWAIT\r\n$1\r\n5\r\n$1\r\n0\r\n")
        with one.connect() as killer:
            await_true(lambda: b"cmd=wait" in killer.do("CLIENT", "LIST"), "it does not wait")
            # Who waits when its server becomes a replica is let go.
            killer.do("REPLICAOF", "127.0.0.1", 1)
        assert client.reply()[0] == "-"


def test_too_few_replicas(servers, link):
    one = servers.primary(directives=[("min-replicas-to-write", 1), ("min-replicas-max-lag", 2)])
    through = link(one)
    with one.connect() as client:
        assert client.error("SET", "k", "v") == "NOREPLICAS Not enough good replicas to write."
        other = servers.replica(through.port)
        await_true(lambda: client.call("SET", "k", "v") == ("+", b"OK"), "writes are not allowed again")
        await_equal(one, other)
        through.stall()
        await_true(lambda: client.call("SET", "k", "w")[0] == "-", "writes go on")
        assert client.do("GET", "k") is not None
        assert client.info("replication")["min_slaves_good_slaves"] == "0"
        client.do("CONFIG", "SET", "min-replicas-to-write", 0)
        assert client.do("SET", "k", "x") == b"OK"
        through.resume()


# Replicas that fall behind

def test_a_stalled_replica_is_let_go(servers):
    one = servers.primary(directives=[("client-output-buffer-limit", "replica 4mb 0 0"), ("repl-backlog-size", "1mb")])
    with FakeReplica(one.address, ack_seconds=0) as stalled, one.connect() as client:
        assert stalled.sync() == "full"
        await_online(one)
        slowest = 0
        for _ in range(60):
            begun = time.monotonic()
            client.pipeline([("SET", "k", "x" * (1 << 20))])
            slowest = max(slowest, time.monotonic() - begun)
        await_info(one, lambda info: info["connected_slaves"] == "0")
        assert slowest < 5
        stalled.read_until_close()
        assert int(client.info("memory")["used_memory"]) < 64 << 20


def test_a_replica_that_is_silent_is_let_go(servers):
    one = servers.primary(directives=[("repl-timeout", 2), ("repl-ping-replica-period", 1)])
    with FakeReplica(one.address, ack_seconds=0, answer_getack=False) as silent:
        silent.sync()
        silent.read_until_close(10)
    assert "timedout" in one.output.text()


def test_a_primary_that_is_silent_is_left(servers):
    with FakePrimary() as fake:
        other = servers.replica(fake.port, directives=[("repl-timeout", 2)], up=False)
        for _ in range(2):
            fake.accept(10)
            fake.full_resync()
            await_link(other)
            fake.await_close(10)


# redis-cli

def run_cli(*args, data=None, seconds=60):
    return subprocess.run(["/usr/bin/redis-cli", *map(str, args)], input=data, capture_output=True, timeout=seconds)


def test_redis_cli_fetches_a_snapshot(servers, tmp_path):
    one = servers.primary()
    before = fill(one, keys=500, big=1 << 20)
    path = tmp_path / "dump.rdb"
    done = run_cli("-p", one.port, "--rdb", path)
    assert done.returncode == 0, done
    checked = subprocess.run(["/usr/bin/redis-check-rdb", str(path)], capture_output=True, timeout=60)
    assert checked.returncode == 0, checked
    for kind in ("larder", "redis"):
        loaded = servers.starters[kind]([("dbfilename", path.name), ("dir", str(tmp_path))])
        assert_equal(read_all(loaded), before)
    await_info(one, lambda info: info["connected_slaves"] == "0")


def test_redis_cli_pipes(servers):
    one = servers.primary()
    other = servers.replica(one)
    data = b"".join(b"SET pipe:%d %d\r\n" % (i, i) for i in range(20000))
    done = run_cli("-p", one.port, "--pipe", data=data)
    assert b"errors: 0, replies: 20000" in done.stdout, done
    await_equal(one, other)


def test_redis_cli_listens_as_a_replica(servers):
    one = servers.primary()
    with one.connect() as client:
        client.do("SET", "k", "v")
        child = subprocess.Popen(["/usr/bin/redis-cli", "-p", str(one.port), "--replica"], stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT)
        try:
            await_online(one)
            client.do("SET", "heard", "this")
            text = b""
            while b"heard" not in text:
                line = child.stdout.readline()
                assert line, text
                text += line
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(10)
            child.stdout.close()
    await_role(one, "master")
