"""Primaries and replicas that lie, stall or speak something else: what is there stays there, and memory is bounded."""

import os
import random
import resource
import socket
import struct
import time

import pytest

from support.keyspace import assert_equal, read_all
from support.replica import EMPTY_RDB, FakePrimary, FakeReplica
from support.resp import Closed, encode
from support.topology import Servers, await_info, await_link, await_online, await_true, fill

ROUNDS = int(os.environ.get("LARDER_HOSTILE_ROUNDS", "1"))
VARIANT = os.environ.get("LARDER_VARIANT", "release")


@pytest.fixture
def servers(start, start_oracle):
    return Servers(start, start_oracle)


def snapshot_of(server):
    """A snapshot of what a server has."""
    with FakeReplica(server.address) as replica:
        replica.sync()
        return replica.rdb


def resident_mb(server):
    with open(f"/proc/{server.pid}/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize() >> 20


def await_small(server, megabytes):
    """Waits until a server has given memory back; the sanitizers keep what was freed."""
    if VARIANT == "release":
        await_true(lambda: resident_mb(server) < megabytes, lambda: f"{resident_mb(server)} MB instead of {megabytes}", 15)


@pytest.fixture
def victim(servers):
    """(a replica with data of its own history, that data, the primary it is to believe)."""
    with FakePrimary() as fake:
        one = servers.primary()
        before = fill(one, keys=50)
        with one.connect() as client:
            client.do("REPLICAOF", "127.0.0.1", fake.port)
        yield one, before, fake
        fake.close()
        assert one.alive()
        with one.connect() as client:
            client.do("REPLICAOF", "NO", "ONE")
            assert client.do("SET", "afterwards", "1") == b"OK"


# Primaries

def bad_snapshots(good):
    rng = random.Random(7)
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    yield "a wrong checksum", good[:-8] + os.urandom(8)
    yield "a flipped bit", bytes(flipped)
    yield "no magic", b"RUBIS" + good[5:]
    yield "another version", b"REDIS9999" + good[9:]
    yield "cut off", good[:len(good) // 2]
    yield "no end", good[:-9]
    yield "nothing but random bytes", rng.randbytes(3000)
    yield "an enormous string", good[:9] + b"\xfe\x00\x00\x81" + struct.pack(">Q", 1 << 60) + b"abc" + good[-9:]
    yield "an enormous key count", good[:9] + b"\xfe\x00\xfb\x81" + struct.pack(">Q", 1 << 62) + b"\x00" + good[-9:]
    yield "an unknown type", good[:9] + b"\xfe\x00\x63\x01a\x01b" + good[-9:]
    yield "a database that is not there", good[:9] + b"\xfe\x81" + struct.pack(">Q", 1 << 40) + good[-9:]


def test_snapshots_that_are_none(servers, victim):
    """Each try is given up, what was there is served on, and the next one comes. By length, and between marks."""
    one, before, fake = victim
    source = servers.primary()
    fill(source, keys=20)
    good = snapshot_of(source)
    for at, (what, rdb) in enumerate(bad_snapshots(good)):
        fake.accept(10)
        fake.full_resync(rdb, marked=at % 2 == 1, seconds=0)
        if at % 3 == 0:
            # More than was promised changes nothing.
            try:
                fake.send(encode(("SET", "a", "1")))
            except (BrokenPipeError, ConnectionResetError):
                pass
        if what in ("cut off", "no end"):
            fake.drop()
        else:
            fake.await_close(10)
        assert_equal(read_all(one), before)
    fake.accept(10)
    fake.full_resync(good)
    await_link(one)
    assert_equal(read_all(one), read_all(source))


def test_a_wrong_mark(servers, victim):
    one, before, fake = victim
    fake.accept(10)
    fake.send(b"+FULLRESYNC %s 1\r\n$EOF:%s\r\n%s%s" % (b"a" * 40, b"b" * 40, EMPTY_RDB, b"c" * 40))
    fake.await_close(10)
    fake.accept(10)
    fake.send(b"+FULLRESYNC %s 1\r\n$EOF:%s\r\n" % (b"a" * 40, b"short"))
    fake.await_close(10)
    assert_equal(read_all(one), before)


@pytest.mark.parametrize("answer", [
    b"+FULLRESYNC\r\n", b"+FULLRESYNC abc 1\r\n", b"+FULLRESYNC %s -1\r\n" % (b"a" * 40),
    b"+FULLRESYNC %s x\r\n" % (b"a" * 40), b"+CONTINUE short\r\n", b"-ERR no\r\n", b"$5\r\nhello\r\n", b"+" + b"x" * 100000,
    b"\r\n", b"+FULLRESYNC %s 1\r\n$-1\r\n" % (b"a" * 40), b"+FULLRESYNC %s 1\r\n$abc\r\n" % (b"a" * 40),
    b"+FULLRESYNC %s 1\r\n$99999999999999999999\r\n" % (b"a" * 40), b"+FULLRESYNC %s 99999999999999999999\r\n" % (b"a" * 40),
    b"+FULLRESYNC %s 18446744073709551615\r\n$18\r\n%s" % (b"a" * 40, EMPTY_RDB),
    b"+FULLRESYNC %s 9223372036854775807\r\n$18\r\n%s" % (b"a" * 40, EMPTY_RDB), random.Random(1).randbytes(200)],
                         ids=lambda answer: f"{len(answer)} bytes")
def test_answers_that_are_none(victim, answer):
    one, before, fake = victim
    fake.accept(10)
    fake.send(answer)
    time.sleep(0.02)
    fake.drop()
    # It comes again, and believes what is right.
    fake.accept(10)
    with one.connect() as client:
        assert client.do("PING") == b"PONG"
    fake.full_resync()
    fake.send_command("SET", "from", "fake")
    with one.connect() as client:
        await_true(lambda: client.do("GET", "from") == b"fake", "the stream does not come")
        assert client.do("DBSIZE") == 1


def test_a_primary_that_never_answers(servers):
    with FakePrimary() as fake:
        one = servers.primary(directives=[("repl-timeout", 1)])
        before = fill(one, keys=50)
        with one.connect() as client:
            client.do("REPLICAOF", "127.0.0.1", fake.port)
        fake.accept(10)
        fake.await_close(10)
        # Silence behind the connection itself.
        fake.listener.settimeout(10)
        silent, _ = fake.listener.accept()
        fake.listener.accept()[0].close()
        silent.close()
        assert_equal(read_all(one), before)


@pytest.mark.parametrize("garbage", [
    b"*1\r\n$-5\r\nx\r\n", b"*-7\r\n*1\r\n:5\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$abc\r\n", b"*2147483648\r\n",
    b"*1\r\n$99999999999999999999\r\n", b"$5\r\nhello\r\n*1\r\n+x\r\n"],
                         ids=lambda garbage: f"{len(garbage)} bytes")
def test_a_stream_that_is_none(victim, garbage):
    one, _, fake = victim
    fake.accept(10)
    fake.full_resync()
    fake.send_command("SET", "k", "v")
    fake.await_ack(fake.offset)
    fake.send(garbage)
    fake.await_close(10)
    with one.connect() as client:
        assert client.do("GET", "k") == b"v"
    known, offset = fake.accept(10)
    # It does not count what it could not read.
    assert known == fake.replid
    fake.full_resync()
    await_link(one)


def test_commands_that_nobody_may_send(victim):
    """Commands that fail, do nothing, or would end the replica: it goes on, with the right offset."""
    one, _, fake = victim
    fake.accept(10)
    fake.full_resync()
    for words in [("NOSUCH", "x"), ("SET",), ("INCR", "s", "t"), ("GET", "a"), ("DEBUG", "SLEEP", "0"), ("SHUTDOWN", "NOSAVE"),
                  ("REPLICAOF", "NO", "ONE"), ("FAILOVER",), ("PSYNC", "?", "-1"), ("SYNC",), ("MULTI",), ("EXEC",), ("EXEC",),
                  ("DISCARD",), ("SELECT", "99"), ("SELECT", "x"), ("WATCH", "a"), ("QUIT",), ("CLIENT", "KILL", "TYPE", "normal"),
                  ("CONFIG", "SET", "maxmemory", "1"), ("CLIENT", "PAUSE", "9999"),
                  ("WAIT", "1", "0"), ("AUTH", "x"), ("HELLO", "3"), ("RESET",),
                  ("CLIENT", "REPLY", "OFF"), ("SELECT", "0"), ("REPLCONF", "ACK", "99999"), ("PING",), ("SET", "k", "v")]:
        fake.send_command(*words)
    with one.connect() as client:
        await_true(lambda: client.do("GET", "k") == b"v", "it does not come so far")
        assert client.do("ROLE")[:2] == [b"slave", b"127.0.0.1"]
    assert fake.await_ack(fake.offset) >= 0


def test_an_argument_that_never_ends(victim):
    """A length of a terabyte reserves nothing, and what comes of it is not kept without bound."""
    one, _, fake = victim
    fake.accept(10)
    fake.full_resync()
    await_link(one)
    before = resident_mb(one)
    fake.send(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1099511627776\r\n" + b"x" * 100000)
    with one.connect() as client:
        for _ in range(20):
            client.do("PING")
    assert resident_mb(one) < before + 50


# Replicas

def test_commands_behind_psync(servers):
    """What a replica asks after PSYNC is not answered into its stream: the link may end instead."""
    one = servers.primary()
    fill(one, keys=10)
    with FakeReplica(one.address) as replica:
        replica.handshake()
        replica.client.send(encode(("PSYNC", "?", "-1")) + encode(("GET", "key:1")) + encode(("SET", "sneaked", "1")) +
                            encode(("NOSUCH",)) + encode(("REPLCONF", "ACK", "0")) + encode(("PSYNC", "?", "-1")))
        words = replica._line_after_newlines().split()
        assert words[0] == b"+FULLRESYNC"
        replica._begin(int(words[2]), 0)
        replica.receive_rdb()
        try:
            replica.ack()
            replica.poll(0.2)
            replica.poll(0.2)
        except Closed:
            pass
        assert replica.raw.startswith((b"", b"*"))
        assert b"nosuch" not in replica.raw.lower() and not replica.raw.startswith((b"$", b"-", b"+"))
    assert one.alive()
    with one.connect() as client:
        assert client.do("PING") == b"PONG"


def test_garbage_behind_psync(servers):
    one = servers.primary()
    for garbage in (b"*1\r\n$-9\r\n", b"*99999999999\r\n", b"\x00" * 100, b"GET \"x\r\n", os.urandom(500), b"*1\r\n$4\r\nQUIT\r\n"):
        with FakeReplica(one.address) as replica:
            replica.sync()
            await_online(one)
            replica.client.send(garbage)
            replica.client.send(b"\r\n" * 10)
        await_info(one, lambda info: info["connected_slaves"] == "0")
    with one.connect() as client:
        assert client.do("SET", "k", "v") == b"OK"


def test_acknowledgements_that_are_wrong(servers):
    one = servers.primary()
    with FakeReplica(one.address, ack_seconds=0, answer_getack=False) as replica, one.connect() as client:
        replica.sync()
        for offset in (2 ** 63 - 1, 2 ** 64, -1, "x", "", 10 ** 30):
            replica.ack(offset)
        replica.client.send(encode(("REPLCONF", "ACK", "5", "FACK", "x")) + encode(("REPLCONF", "ACK", "5", "NACK", "6")))
        client.do("SET", "k", "v")
        replica.read_until_command(lambda command: command.args == [b"SET", b"k", b"v"])
        client.pipeline([("SET", f"k:{i}", "x" * 1000) for i in range(5000)])
        replica.read_until_command(lambda command: command.args[1] == b"k:4999")
        assert client.do("ROLE")[0] == b"master"
        assert client.do("WAIT", 0, 0) >= 0
        # What would have to be answered ends the link.
        replica.client.send(encode(("REPLCONF", "ACK")))
        replica.read_until_close()


def test_replconf_with_odd_words(servers):
    one = servers.primary()
    with one.connect() as client:
        assert client.error("REPLCONF", "listening-port").startswith("ERR syntax error")
        assert client.error("REPLCONF", "listening-port", "x").startswith("ERR value is not an integer")
        assert client.error("REPLCONF", "nonsense", "1").startswith("ERR Unrecognized REPLCONF option: nonsense")
        assert client.error("REPLCONF", "ip-address", "x" * 1000).startswith("ERR REPLCONF ip-address provided by replica")
        assert client.do("REPLCONF", "capa", "nonsense", "capa", "eof") == b"OK"
        assert client.do("REPLCONF") == b"OK"
        assert client.error("REPLCONF", "rdb-only", "7").startswith("ERR")
        client.send(encode(("REPLCONF", "ACK", "1")) + encode(("REPLCONF", "GETACK", "*")) + encode(("PING",)))
        assert client.reply() == ("+", b"PONG")
        for psync in (("PSYNC",), ("PSYNC", "?"), ("PSYNC", "?", "x"), ("PSYNC", "a" * 40, "1", "FAILOVER")):
            assert client.error(*psync).startswith("ERR")
        client.do("MULTI")
        assert client.error("PSYNC", "?", "-1").startswith("ERR")
        client.do("DISCARD")
        assert client.error("REPLCONF", "ip-address", "a\r\nb,c=d").startswith("ERR")
        client.do("REPLCONF", "listening-port", "-5")
        assert "connected_slaves" in client.info("replication")


def test_psync_at_the_limits(servers):
    one = servers.primary()
    with FakeReplica(one.address) as replica, one.connect() as client:
        replica.sync()
        client.pipeline([("SET", f"k:{i}", "v") for i in range(100)])
        replica.read_until_command(lambda command: command.args[1] == b"k:99")
        replid, offset = replica.replid, replica.offset
    for position in (-2 ** 63, 2 ** 63 - 1, 0, -5, offset + 2, offset + 10 ** 9, 10 ** 18):
        with FakeReplica(one.address) as replica:
            replica.handshake()
            how = replica.psync(replid, position)
            assert how == "full", position
    with FakeReplica(one.address) as replica:
        replica.handshake()
        assert replica.psync(replid, offset + 1) == "continue"


def test_replicas_that_leave_behind_psync(servers):
    """The stream that goes on, and the connection that ends, in the turn that read PSYNC."""
    one = servers.primary()
    with FakeReplica(one.address) as replica:
        replica.sync()
        replid, offset = replica.replid, replica.offset
    fill(one, keys=200)
    asked = encode(("PSYNC", replid, str(offset + 1)))
    with one.connect() as client:
        for _ in range(100):
            with socket.create_connection(("127.0.0.1", one.port)) as sock:
                sock.sendall(asked)
        assert client.do("SET", "k", "v") == b"OK"
        await_info(one, lambda info: info["connected_slaves"] == "0")
        assert client.info("stats")["sync_partial_ok"] != "0"


def test_many_half_open_synchronisations(servers):
    one = servers.primary()
    fill(one, keys=200)
    # select() is not good for more.
    count = 900 if VARIANT == "release" else 200
    with one.connect() as client:
        before = resident_mb(one)
        for _ in range(ROUNDS):
            open_ones = []
            for i in range(count):
                sock = socket.create_connection(("127.0.0.1", one.port))
                sock.send(encode(("REPLCONF", "capa", "eof")) * (i % 2) + encode(("PSYNC", "?", "-1")))
                if i % 3 == 0:
                    sock.close()
                else:
                    open_ones.append(sock)
                if i % 100 == 0:
                    assert client.do("SET", "k", "v") == b"OK"
            # Whoever is honest gets a snapshot all the same.
            with FakeReplica(one.address) as honest:
                assert honest.sync() == "full"
                client.do("SET", "seen", "1")
                honest.read_until_command(lambda command: command.args[:2] == [b"SET", b"seen"])
            for sock in open_ones:
                sock.close()
            await_info(one, lambda info: info["connected_slaves"] == "0")
        await_small(one, before + 200)


def flood(client, megabytes):
    """Overwrites what there is, so that little of it is the same."""
    block = os.urandom(1 << 18)
    for i in range(megabytes // 25):
        client.pipeline([("SET", f"f:{(100 * i + j) % 400}", block) for j in range(100)])


def test_a_replica_that_stalls_in_the_snapshot(servers):
    """What changes meanwhile is saved to a file, and the stream that waits for it is bounded as its limit says."""
    one = servers.primary(directives=[("client-output-buffer-limit", "replica 64mb 0 0")])
    with one.connect() as client:
        flood(client, 100)
        with FakeReplica(one.address, ack_seconds=0) as stalled:
            stalled.handshake()
            assert stalled.psync() == "full"
            before = resident_mb(one)
            flood(client, 600)
            assert client.do("PING") == b"PONG"
            await_small(one, before + 300)


def test_a_replica_that_never_acknowledges_its_snapshot(servers):
    """It has the snapshot, and does not say so: the stream that waits for it is bounded."""
    one = servers.primary(directives=[("client-output-buffer-limit", "replica 16mb 0 0"), ("repl-backlog-size", "1mb")])
    with one.connect() as client, FakeReplica(one.address, ack_seconds=0) as silent:
        silent.handshake()
        assert silent.psync() == "full"
        silent.receive_rdb()
        before = resident_mb(one)
        for i in range(200):
            client.pipeline([("SET", "k", b"%d" % i + b"x" * (1 << 20))])
        await_info(one, lambda info: info["connected_slaves"] == "0", seconds=10)
        await_small(one, before + 100)
