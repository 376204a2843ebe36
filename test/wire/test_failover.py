"""FAILOVER: a primary hands over to a replica of its own, under load, and nothing that was acknowledged is lost."""

import os
import time

import pytest

from support.crowd import SHARE
from support.keyspace import await_caught_up, await_equal, read_all
from support.proxy import Link
from support.resp import encode
from support.topology import Servers, await_info, await_link, await_online, await_role, await_true, fill, stats
from support.workload import Load, Recorder

ROUNDS = int(os.environ.get("LARDER_FAILOVER_ROUNDS", "1"))
PAIRS = [("larder", "larder"), ("larder", "redis"), ("redis", "larder")]
ENOUGH = int(2000 * SHARE)
# More keys than a transaction may have without being taken to a thread of its own.
WIDE = 600


@pytest.fixture
def servers(start, start_oracle):
    return Servers(start, start_oracle)


@pytest.fixture
def link():
    made = []

    def make(server):
        made.append(Link("127.0.0.1", server.port))
        return made[-1]

    yield make
    for one in made:
        one.close()


def state(server):
    with server.connect() as client:
        return client.info("replication").get("master_failover_state")


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("old, new", PAIRS)
def test_nothing_acknowledged_is_lost(servers, old, new, number):
    one = servers.primary(old)
    fill(one, keys=100)
    other = servers.replica(one, new)
    await_online(one)
    with Recorder(one.address, threads=4, seed=number) as load:
        load.await_acked(ENOUGH)
        with one.connect() as client:
            assert client.do("FAILOVER") == b"OK"
        await_role(other, "master")
        await_link(one)
        load.move(other.address)
        # Whoever is still at the old one is refused there, and goes.
        with one.connect() as client:
            client.do("CLIENT", "KILL", "TYPE", "normal")
        load.await_more(ENOUGH)
    assert load.check(other) == []
    await_equal(other, one)
    assert state(one) == "no-failover"
    if old == new == "larder":
        assert stats(other) == (0, 1)
    with one.connect() as client, other.connect() as replica:
        assert client.error("SET", "a", "1").startswith("READONLY")
        assert replica.do("SET", "a", "1") == b"OK"


class Wide(Load):
    """Counters that are raised together, by transactions so wide that they wait for their turn elsewhere, and by
    commands that need everything else to stand still. What was acknowledged is in .done."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.done = {}

    def turn(self, client, index, numbers):
        keys = [f"{index}:{i}" for i in range(WIDE)]
        client.send(b"".join(map(encode, [("MULTI",), *(("INCR", key) for key in keys), ("EXEC",), ("SWAPDB", 8, 9)])))
        replies = client.replies(WIDE + 3)
        counts = replies[-2][1] if replies[-2][0] == "*" else None
        if counts:
            assert len({count for _, count in counts}) == 1
            self.done[index] = counts[0][1]
            self.note(1)
        else:
            self.note_refused(b"NOT done")


@pytest.mark.parametrize("number", range(2 * ROUNDS))
def test_long_commands_are_not_lost(servers, number):
    one = servers.primary()
    other = servers.replica(one)
    await_online(one)
    with Wide(one.address, threads=4, seed=number) as load:
        load.await_acked(max(10, int(100 * SHARE)))
        with one.connect() as client:
            client.do("FAILOVER")
        await_role(other, "master")
        await_link(one)
        acknowledged = dict(load.done)
        load.stopping.set()
        with one.connect() as client:
            client.do("CLIENT", "KILL", "TYPE", "normal")
    with other.connect() as client:
        for index, count in acknowledged.items():
            values = {int(value) for value in client.do("MGET", *(f"{index}:{i}" for i in range(WIDE)))}
            assert len(values) == 1 and count <= min(values) <= count + 1
    await_equal(other, one)
    assert stats(other) == (0, 1)


def test_to_one_of_two(servers):
    one = servers.primary()
    first, second = servers.replica(one), servers.replica(one)
    await_online(one, 2)
    with one.connect() as client:
        client.do("SET", "k", "v")
        assert client.error("FAILOVER", "TO", "127.0.0.1", "1").startswith("ERR FAILOVER target HOST and PORT is not a replica")
        assert client.do("FAILOVER", "TO", "127.0.0.1", second.port, "TIMEOUT", 20000) == b"OK"
        await_role(second, "master")
        await_link(one)
        client.do("REPLICAOF", "127.0.0.1", second.port)
        with first.connect() as other:
            other.do("REPLICAOF", "127.0.0.1", second.port)
        await_link(first)
        with second.connect() as new:
            new.do("SET", "k", "w")
        await_equal(second, first)
        await_equal(second, one)
        # And back.
        await_online(second, 2)
        with second.connect() as new:
            assert new.do("FAILOVER", "TO", "localhost", one.port) == b"OK"
        await_role(one, "master")
        await_link(second)
        client.do("SET", "k", "x")
        await_equal(one, second)
        assert stats(one)[0] == 2


def test_words(servers):
    one = servers.primary()
    with one.connect() as client:
        assert client.error("FAILOVER") == "ERR FAILOVER requires connected replicas."
        assert client.error("FAILOVER", "ABORT") == "ERR No failover in progress."
        servers.replica(one)
        assert client.error("FAILOVER", "FORCE") == "ERR FAILOVER with force option requires both a timeout and target " \
                                                    "HOST and IP."
        assert client.error("FAILOVER", "TIMEOUT", 0) == "ERR FAILOVER timeout must be greater than 0"
        assert client.error("FAILOVER", "TIMEOUT") == "ERR syntax error"
        assert client.error("FAILOVER", "ABORT", "TIMEOUT", "1") == "ERR syntax error"
        assert client.error("FAILOVER", "TO", "127.0.0.1", "x").startswith("ERR")


def writes_wait(server):
    """A connection whose write is held back."""
    client = server.connect()
    # FAILOVER answers a moment before they are held.
    end = time.monotonic() + 10
    while time.monotonic() < end:
        client.command("SET", "held", "1")
        if not client.has_reply(0.1):
            return client
        assert client.reply() == ("+", b"OK")
    raise AssertionError("writes go on")


@pytest.mark.parametrize("how", ("abort", "timeout"))
def test_a_replica_that_does_not_catch_up(servers, link, how):
    """The failover is given up, and the writes that waited are done."""
    one = servers.primary()
    through = link(one)
    other = servers.replica(through.port)
    await_caught_up(one, other)
    through.stall()
    with one.connect() as client:
        client.do("SET", "k", "v")
        client.do("FAILOVER", *(("TIMEOUT", 1000) if how == "timeout" else ()))
        assert state(one) == "waiting-for-sync"
        assert client.error("FAILOVER") == "ERR FAILOVER already in progress."
        assert client.do("GET", "k") == b"v"
        held = writes_wait(one)
        if how == "abort":
            client.do("FAILOVER", "ABORT")
        assert held.reply() == ("+", b"OK")
        await_true(lambda: state(one) == "no-failover", "it goes on")
        assert client.do("ROLE")[0] == b"master"
        through.resume()
    await_equal(one, other)
    assert stats(one) == (1, 0)


def test_a_failover_by_force(servers, link):
    """The replica does not catch up in time, and gets the primary's place all the same."""
    one = servers.primary()
    through = link(one)
    other = servers.replica(through.port)
    await_caught_up(one, other)
    through.stall("down")
    with one.connect() as client:
        client.do("SET", "lost", "1")
        client.do("FAILOVER", "TO", "127.0.0.1", other.port, "FORCE", "TIMEOUT", 300)
        await_role(other, "master")
        await_link(one)
        await_equal(other, one)
        assert client.do("EXISTS", "lost") == 0
        through.resume()


def test_a_target_that_went_away(servers):
    """It had everything, and cannot be reached when it is to take over: ABORT makes the old primary one again."""
    one = servers.primary()
    other = servers.replica(one)
    with other.connect() as replica, one.connect() as client:
        # It promises to be at an address where nobody is.
        replica.do("CONFIG", "SET", "replica-announce-port", "1")
        client.do("CLIENT", "KILL", "TYPE", "replica")
        await_online(one)
        await_info(one, lambda info: "port=1," in info.get("slave0", ""))
        client.do("SET", "k", "v")
        client.do("FAILOVER")
        await_role(one, "slave")
        assert state(one) == "failover-in-progress"
        client.do("FAILOVER", "ABORT")
        await_role(one, "master")
        assert client.do("SET", "k", "w") == b"OK"
        await_true(lambda: replica.do("GET", "k") == b"w", "the replica does not come back")
        assert state(one) == "no-failover"


def test_a_target_that_refuses(servers):
    """The target follows somebody else by now: the failover ends, and the old primary is one again."""
    one = servers.primary()
    other = servers.replica(one)
    stranger = servers.primary()
    with other.connect() as replica, one.connect() as client:
        replica.do("CONFIG", "SET", "replica-announce-port", stranger.port)
        client.do("CLIENT", "KILL", "TYPE", "replica")
        await_info(one, lambda info: f"port={stranger.port}," in info.get("slave0", "") and "online" in info["slave0"])
        client.do("SET", "k", "v")
        client.do("FAILOVER")
        await_info(one, lambda info: info["role"] == "master" and info["master_failover_state"] == "no-failover",
                   seconds=10)
        assert client.do("SET", "k", "w") == b"OK"
        assert read_all(stranger) == {}
