"""The tools that durability and replication are tested with, tried on a server that has both for long: what they must
find they find, and what is in order they leave alone."""

import errno
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from support import faults as disk
from support import keyspace as keys
from support.history import FAIL, OK, UNKNOWN, Append, Operation, Read, check
from support.proxy import Link
from support.replica import EMPTY_RDB, BadStream, FakePrimary, FakeReplica, StreamDecoder, commands_of
from support.resp import Client, Closed, encode
from support.server import StartError
from support.workload import Bank, Mixed, Recorder, check_bank

# Quick full syncs: the oracle otherwise waits some seconds for more replicas.
PRIMARY = [("repl-diskless-sync", "yes"), ("repl-diskless-sync-delay", 0), ("repl-backlog-size", "32mb")]
AOF = [("appendonly", "yes"), ("appendfsync", "always")]


def await_true(check_it, what, seconds=20):
    end = time.monotonic() + seconds
    while not check_it():
        assert time.monotonic() < end, what
        time.sleep(0.005)


# ---- the proxy -------------------------------------------------------------------------------------------------------

class Echo:
    """Sends back what it gets, on one connection after the other."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            with one:
                try:
                    while data := one.recv(1 << 16):
                        one.sendall(data)
                except OSError:
                    pass


@pytest.fixture
def link():
    echo = Echo()
    with Link("127.0.0.1", echo.port) as one:
        yield one
    echo.listener.close()


def dial(link):
    return socket.create_connection(("127.0.0.1", link.port), timeout=20)


def read_all_of(sock):
    data = b""
    try:
        while some := sock.recv(1 << 16):
            data += some
    except ConnectionResetError:
        pass
    return data


def read_exactly(sock, size):
    data = b""
    while len(data) < size:
        data += sock.recv(size - len(data))
    return data


def test_link_forwards_and_counts(link):
    data = os.urandom(3_000_000)
    with dial(link) as one:
        threading.Thread(target=lambda: (one.sendall(data), one.shutdown(socket.SHUT_WR)), daemon=True).start()
        assert read_all_of(one) == data
    link.await_true(lambda: link.live == 0)
    assert (link.up, link.down, link.connections, link.cuts) == (3_000_000, 3_000_000, 1, 0)


@pytest.mark.parametrize("direction", ["down", "up"])
@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_link_is_cut_after_exact_bytes(link, direction, size):
    link.cut_after(size, direction)
    with dial(link) as one:
        one.sendall(bytes(50_000))
        try:
            one.sendall(bytes(200_000))
        except OSError:
            pass
        got = read_all_of(one)
    link.await_cuts(1)
    assert (link.down if direction == "down" else link.up) == size
    assert len(got) == link.down
    with dial(link) as one:
        one.sendall(b"whole again")
        assert read_exactly(one, 11) == b"whole again"


def test_link_cut_refuse_stall_drip(link):
    with dial(link) as one:
        one.sendall(b"a")
        assert one.recv(1) == b"a"
        link.refuse()
        link.refuse()
        with pytest.raises(ConnectionRefusedError):
            dial(link)
        one.sendall(b"b")
        assert one.recv(1) == b"b"
        link.cut()
        assert read_all_of(one) == b"" and link.live == 0 and link.cuts == 1
    link.accept()
    with dial(link) as one:
        link.await_connections(2)
        link.stall("down")
        one.sendall(b"abc")
        link.await_bytes(5, "up")
        one.settimeout(0.05)
        with pytest.raises(TimeoutError):
            one.recv(1)
        one.settimeout(20)
        link.resume()
        link.await_bytes(5, "down")
        assert read_exactly(one, 3) == b"abc"
        link.drip()
        one.sendall(b"x" * 500)
        link.await_bytes(505)
        link.drip(False)
        assert read_exactly(one, 500) == b"x" * 500


# ---- the two fakes ---------------------------------------------------------------------------------------------------

def test_decoder_takes_any_pieces():
    raw = encode(["SELECT", 3]) + encode(["SET", "a", b"\r\n*1\r\n"]) + encode(["PING"]) + encode(["MULTI"]) + \
        encode(["INCR", "n"]) + b"#TS:1700000000\r\n" + encode(["DEL", "a"]) + encode(["EXEC"]) + encode(["DEL", "b"])
    whole = commands_of(raw)
    assert [(c.db, c.args, c.transaction) for c in whole.commands] == [
        (3, [b"SET", b"a", b"\r\n*1\r\n"], None), (3, [b"INCR", b"n"], 0), (3, [b"DEL", b"a"], 0),
        (3, [b"DEL", b"b"], None)]
    assert whole.applied == len(raw) and whole.open is None and whole.rest == b""
    for command in whole.commands:
        assert raw[command.start:command.end] == encode(command.args)
    for piece in (1, 7, 30):
        decoder = StreamDecoder()
        got = [c for i in range(0, len(raw), piece) for c in decoder.feed(raw[i:i + piece])]
        assert got == whole.commands and decoder.applied == len(raw)
        assert [name for name, _, _ in decoder.hidden] == [b"PING"]
    cut = commands_of(raw[:raw.index(encode(["DEL", "a"])) + 5])
    assert len(cut.commands) == 1 and cut.applied == raw.index(encode(["MULTI"])) and cut.rest == b"*2\r\n$"
    assert [c.args for c in cut.open] == [[b"INCR", b"n"]]
    for bad in (b"+OK\r\n", b"*1\r\n$x\r\n", b"*1\r\n$1\r\nab\r\n", encode(["EXEC"])):
        with pytest.raises(BadStream):
            commands_of(bad)


@pytest.mark.parametrize("marked", [True, False])
def test_fake_replica_full_sync_and_stream(start_oracle, marked):
    primary = start_oracle([*PRIMARY, ("requirepass", "secret")])
    with primary.connect() as one:
        one.do("AUTH", "secret")
        one.do("MSET", "a", 1, "b", "x" * 100000)
        with FakeReplica(primary.address, port=1234, password="secret",
                         capabilities=("eof", "psync2") if marked else ("psync2",)) as replica:
            assert replica.sync() == "full" and replica.rdb_had_mark == marked
            assert replica.rdb.startswith(b"REDIS00") and replica.rdb[-9:-8] == b"\xff"
            await_true(lambda: "state=online" in one.info("replication")["slave0"], "the replica is not online")
            before = replica.offset
            one.pipeline([("SET", "a", 2), ("SELECT", 5), ("INCR", "n"), ("MULTI",), ("SET", "x", 1), ("SET", "y", 2),
                          ("EXEC",), ("APPEND", "x", "end")])
            last = replica.read_until_command(lambda c: c.args[0] == b"APPEND")
            assert [(c.db, c.args) for c in replica.commands] == [
                (0, [b"SET", b"a", b"2"]), (5, [b"INCR", b"n"]), (5, [b"SET", b"x", b"1"]), (5, [b"SET", b"y", b"2"]),
                (5, [b"APPEND", b"x", b"end"])]
            assert [c.transaction for c in replica.commands] == [None, None, 0, 0, None]
            offset = int(one.info("replication")["master_repl_offset"])
            replica.read_until_offset(offset)
            assert replica.offset == offset == replica.received and before < last.start < last.end == offset
            assert replica.stream(last.start, last.end) == encode(last.args)
            assert one.info("replication")["slave0"].startswith("ip=127.0.0.1,port=1234,")
            # WAIT makes the primary ask, and counts who answered.
            one.do("SET", "w", 1)
            one.command("WAIT", 1, 20000)
            await_true(lambda: (replica.poll(0.02), one.has_reply(0))[1], "WAIT is not answered")
            assert one.reply() == (":", 1)


def test_fake_replica_goes_on_after_cuts(start_oracle):
    primary = start_oracle(PRIMARY)
    with Link("127.0.0.1", primary.port) as link, FakeReplica(("127.0.0.1", link.port)) as replica, \
            primary.connect() as one:
        assert replica.sync() == "full"
        whole = []
        for turn in range(5):
            link.cut_after(1500 + turn)
            one.pipeline([command for i in range(30) for command in (
                ("SET", f"k{turn}.{i}", i), ("MULTI",), ("INCR", "n"), ("INCR", "m"), ("EXEC",))])
            whole += [f"k{turn}.{i}".encode() for i in range(30)]
            replica.read_until_close()
            assert replica.offset <= replica.received
            assert replica.sync() == "continue" and replica.replid == one.info("replication")["master_replid"]
        replica.read_until_offset(int(one.info("replication")["master_repl_offset"]))
        assert [c.args[1] for c in replica.commands if c.args[0] == b"SET"] == whole
        assert sum(c.args == [b"INCR", b"n"] for c in replica.commands) == 150
        assert (replica.full_syncs, replica.partial_syncs) == (1, 5) and len(replica.replids) == 1
        assert commands_of(bytes(replica.raw)).applied == len(replica.raw)
        # A history that the primary does not know makes it begin again.
        replica.handshake()
        assert replica.psync("f" * 40, 5) == "full" and replica.receive_rdb()


def test_fake_primary_feeds_a_real_replica(start_oracle):
    source = start_oracle(PRIMARY)
    with source.connect() as one, FakeReplica(source.address) as reader:
        one.do("MSET", "a", 1, "b", "two")
        reader.sync()
    with FakePrimary() as primary:
        replica = start_oracle([("replicaof", f"127.0.0.1 {primary.port}")])
        with replica.connect() as one:
            assert primary.accept() == ("?", -1)
            assert [b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"] in primary.seen
            primary.full_resync(reader.rdb, offset=1000, marked=True)
            primary.send_command("SELECT", 2)
            primary.send_command("SET", "c", "three")
            assert primary.await_ack(primary.offset) >= 1000
            assert keys.read_all(one) == {0: {b"a": (b"1", None), b"b": (b"two", None)}, 2: {b"c": (b"three", None)}}
            # It applies nothing of a transaction that has no end, and asks for it again.
            offset = primary.offset
            primary.send_command("MULTI")
            primary.send_command("SET", "d", 1)
            primary.take_acks(0.05)
            primary.drop()
            assert primary.accept() == (primary.replid, offset + 1)
            fresh = "b" * 40
            primary.continue_from(offset, fresh)
            primary.send_command("SET", "e", 1)
            primary.await_ack(primary.offset)
            assert sorted(keys.read_all(one)[2]) == [b"c", b"e"]
            assert one.info("replication")["master_replid"] == fresh
            # A link that dies inside the snapshot leads to another request; so does an error.
            primary.drop()
            primary.accept()
            primary.send(b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n")
            primary.accept()
            primary.full_resync(EMPTY_RDB, replid="c" * 40, offset=7)
            primary.send_command("SET", "f", 1)
            primary.await_ack(primary.offset)
            assert keys.read_all(one) == {0: {b"f": (b"1", None)}}
            one.do("REPLICAOF", "NO", "ONE")
            primary.await_close()


# ---- keyspaces -------------------------------------------------------------------------------------------------------

def test_keyspaces_are_read_and_compared(start_oracle):
    a, b = start_oracle(), start_oracle()
    at = int(time.time() * 1000) + 3_600_000
    with a.connect() as one, b.connect() as other:
        for client in (one, other):
            client.pipeline([("SET", "s", 1), ("SET", "t", 1, "PXAT", at), ("RPUSH", "l", 1, 2), ("HSET", "h", 1, 2),
                             ("SADD", "set", "b", "a"), ("ZADD", "z", 2, "b", 1.5, "a"), ("XADD", "x", "1-1", "f", "v"),
                             ("SELECT", 7), ("SET", "s", "")])
        left, right = keys.read_all(a), keys.read_all(b)
        assert left == right and keys.compare(left, right) == []
        assert left == {0: {b"s": (b"1", None), b"t": (b"1", at), b"l": (("list", [b"1", b"2"]), None),
                            b"h": (("hash", {b"1": b"2"}), None), b"set": (("set", [b"a", b"b"]), None),
                            b"z": (("zset", [(b"a", 1.5), (b"b", 2.0)]), None),
                            b"x": (("stream", [[b"1-1", [b"f", b"v"]]]), None)}, 7: {b"s": (b"", None)}}
        other.pipeline([("SET", "only", 1), ("SELECT", 0), ("SET", "s", "x" * 1000), ("PEXPIREAT", "t", at + 5),
                        ("LPUSH", "l", 0), ("PEXPIREAT", "h", at), ("DEL", "z")])
        one.do("SET", "soon", 1, "PX", 1)
        left = keys.read_all(a)
        left[0].setdefault(b"soon", (b"1", 1))
        found = keys.compare(left, keys.read_all(b), names=("a", "b"))
        assert len(found) == 6 and all(any(line.startswith(f"db {where}") for line in found) for where in (
            "0 b's': value b'1' / b'xxx", "0 b't': expiry", "0 b'l': value", "0 b'h': expiry None", "0 b'z': only a",
            "7 b'only': only b"))
        assert len(keys.compare(left, keys.read_all(b), tolerance_ms=5)) == 5
        assert len(keys.compare(left, {}, shown=3)) == 4
        with pytest.raises(AssertionError, match="the keyspaces differ"):
            keys.assert_equal(left, keys.read_all(b))


def test_many_keys_are_read_quickly(start_oracle):
    server = start_oracle()
    with server.connect() as one:
        one.do("DEBUG", "POPULATE", 100000)
        one.do("PEXPIRE", "key:7", 1000000)
        begun = time.monotonic()
        found = keys.read_all(one)
        taken = time.monotonic() - begun
    assert len(found[0]) == 100000 and found[0][b"key:7"][1] and found[0][b"key:99999"] == (b"value:99999", None)
    assert taken < 10, taken


# ---- a pair under load -----------------------------------------------------------------------------------------------

def test_a_pair_converges_over_a_link_that_breaks(start_oracle):
    primary = start_oracle(PRIMARY)
    with Link("127.0.0.1", primary.port) as link:
        replica = start_oracle([("replicaof", f"127.0.0.1 {link.port}"), ("repl-timeout", 10)])
        keys.await_caught_up(primary, replica)
        with Mixed(primary.address, seed=7) as load, Bank(primary.address, db=9).open() as bank:
            load.await_acked(3000)
            link.cut_after(20000)
            link.await_cuts(1)
            link.await_connections(2)
            load.await_more(3000)
            link.stall()
            load.await_more(3000)
            link.cut()
            link.resume()
            link.await_connections(3)
            bank.await_more(500)
            load.await_more(1000)
        keys.await_equal(primary, replica)
        assert load.acked > 10000 and bank.acked > 500
        assert set(load.refused) <= {"ERR"} and not bank.refused
        assert bank.check(keys.read_all(replica)) == []
        with replica.connect() as one, primary.connect() as other:
            one.do("REPLICAOF", "NO", "ONE")
            one.do("INCRBY", "n:1", 100000000)
            assert any("n:1" in line for line in keys.compare(keys.read_all(other), keys.read_all(one)))


def test_equality_is_not_awaited_for_ever(start_oracle):
    one, other = start_oracle(), start_oracle()
    with pytest.raises(AssertionError, match="does not catch up"):
        keys.await_equal(one, other, seconds=0.2)


def test_the_bank_is_checked():
    good = {0: {b"account:0": (b"990", None), b"account:1": (b"1010", None), b"purse:0:3": (b"7000", None)}}
    assert check_bank(good, accounts=2, purses=1) == []
    for key, value, text in ((b"account:0", b"991", "hold 2001"), (b"purse:0:1", b"7000", "in 2 places"),
                             (b"purse:0:3", b"70", "holds b'70'")):
        assert any(text in line for line in check_bank({0: {**good[0], key: (value, None)}}, 2, 1))
    assert len(check_bank({}, 2, 1)) == 3


# ---- histories -------------------------------------------------------------------------------------------------------

class History:
    """Operations one after the other in time, unless a test says when."""

    def __init__(self):
        self.operations = []
        self.now = 0.0

    def _add(self, client, actions, at, outcome, **options):
        begun, ended = at or (self.now + 1, self.now + 2)
        self.now = max(self.now, begun, ended)
        op = Operation(client, actions, begun, ended if outcome == OK else float("inf"), outcome, **options)
        self.operations.append(op)
        return op

    def append(self, client, *pairs, at=None, outcome=OK):
        """append("c1", "x:a", "y:b") is one transaction."""
        actions = [Append(*(word.encode() for word in pair.split(":"))) for pair in pairs]
        return self._add(client, actions, at, outcome)

    def read(self, client, *pairs, at=None, outcome=OK, **options):
        """read("c1", "x:a;b;")"""
        actions = [Read(*(word.encode() for word in pair.split(":"))) for pair in pairs]
        return self._add(client, actions, at, outcome, **options)

    def check(self, *pairs, **options):
        return check(self.operations, dict([word.encode() for word in pair.split(":")] for pair in pairs), **options)


@pytest.fixture
def h():
    return History()


def only(found, *texts):
    """Each anomaly begins with one of these, and each of these is there."""
    kinds = {line.split(":")[0] for line in found}
    assert kinds == set(texts), found


def test_history_in_order(h):
    h.append("c1", "x:a")
    h.append("c2", "x:b", "y:c", "x:d", at=(2, 6))
    h.append("c1", "y:e", at=(3, 5))
    h.read("c3", "x:a;", "y:e;", at=(5.5, 6))
    h.append("c4", "x:f", outcome=FAIL)
    h.append("c5", "x:g", "y:h", outcome=UNKNOWN)
    h.append("c6", "x:i", outcome=UNKNOWN)
    h.read("c3", "x:a;b;d;", "y:e;c;")
    op = h.append("c3", "x:j")
    op.actions += [Read(b"x", b"a;b;d;i;j;"), Append(b"x", b"k", 12), Read(b"x", b"a;b;d;i;j;k;")]
    assert h.check("x:a;b;d;i;j;k;", "y:e;c;") == []
    assert check([], {}) == []


def test_history_lost_duplicate_phantom(h):
    h.append("c1", "x:a")
    h.append("c1", "x:b")
    only(h.check("x:a;"), "lost write")
    only(h.check(), "lost write")
    only(h.check("x:a;b;b;"), "duplicate")
    only(h.check("x:a;b;z;"), "phantom")
    only(h.check("x:a;b;", "y:a;"), "wrong key")
    only(h.check("x:a;b"), "torn value", "lost write")
    h.append("c1", "x:f", outcome=FAIL)
    only(h.check("x:a;b;f;"), "failed, but there")


def test_history_half_transactions(h):
    h.append("c1", "x:a", "y:b", outcome=UNKNOWN)
    assert h.check("x:a;", "y:b;") == h.check() == []
    only(h.check("x:a;"), "half transaction")
    only(h.check("y:b;", allow_lost_after=0), "half transaction")
    h.append("c2", "x:c", "x:d", at=(0, 9))
    h.append("c3", "x:e", at=(0, 9))
    only(h.check("x:c;e;d;"), "transaction torn apart")
    only(h.check("x:d;c;e;"), "transaction torn apart")
    assert h.check("x:e;c;d;") == []


def test_history_reads_that_are_no_prefix(h):
    h.append("c1", "x:a", at=(0, 9))
    h.append("c2", "x:b", at=(0, 9))
    h.append("c3", "x:f", outcome=FAIL)
    h.append("c4", "x:u", outcome=UNKNOWN)
    read = h.read("c5", "x:b;", at=(0, 20))
    only(h.check("x:a;b;"), "not a prefix")
    for value, kind in ((b"a;f;", "dirty read"), (b"a;z;", "phantom read"), (b"a;b", "torn read"),
                        (b"a;a;", "not a prefix"), (b"a;b;u;", "read, then lost")):
        read.actions[0].value = value
        only(h.check("x:a;b;"), kind)
    assert h.check("x:a;b;", durable_reads=False) == []
    assert h.check("x:a;b;u;") == []


def test_history_order_of_clients_and_time(h):
    h.append("c1", "x:a", at=(1, 9))
    h.append("c1", "x:b", at=(2, 9))
    only(h.check("x:b;a;"), "client order")
    h.append("c2", "x:c", at=(10, 11))
    only(h.check("x:a;c;b;"), "time order")
    assert h.check("x:a;b;c;") == []


def test_history_reads_inside_transactions(h):
    op = h.append("c1", "x:a")
    op.actions.append(Read(b"x", b""))
    assert any("own append not seen" in line for line in h.check("x:a;"))
    op.actions[:] = [Read(b"x", b"a;"), op.actions[0]]
    assert any("read from the future" in line for line in h.check("x:a;"))
    other = History()
    op = other.append("c1", "x:a", at=(0, 9))
    other.append("c2", "x:b", at=(0, 9))
    op.actions[:] = [Read(b"x", b""), op.actions[0], Read(b"x", b"b;a;")]
    only(other.check("x:b;a;"), "read inside a transaction")


def test_history_lengths(h):
    first = h.append("c1", "x:a")
    first.actions[0].length = 2
    second = h.append("c1", "x:b")
    second.actions[0].length = 4
    assert h.check("x:a;b;") == []
    second.actions[0].length = 2
    only(h.check("x:a;b;"), "wrong length")


def test_history_cycles(h):
    # Two transactions in different orders on two keys.
    h.append("c1", "x:a", "y:b", at=(0, 9))
    h.append("c2", "x:c", "y:d", at=(0, 9))
    only(h.check("x:a;c;", "y:d;b;"), "cycle")
    assert h.check("x:a;c;", "y:b;d;") == []
    # Half of one was seen.
    h.read("c3", "x:a;", at=(0, 9)).actions.append(Read(b"y", b""))
    only(h.check("x:a;c;", "y:b;d;"), "cycle")


def test_history_old_reads(h):
    h.append("c1", "x:a")
    h.read("c2", "x:")
    found = h.check("x:a;")
    only(found, "cycle")
    assert "read x before the append of" in found[0] and "acknowledged before the start of" in found[0]
    h.operations[-1].stale = True
    assert h.check("x:a;") == []
    # One client saw a newer state first.
    h.read("c2", "x:a;", stale=True)
    h.read("c2", "x:", stale=True)
    only(h.check("x:a;"), "cycle")


def test_history_lost_after_a_crash(h):
    for token in "abcd":
        h.append("c1", f"x:{token}")
    h.append("c2", "y:e", "x:f")
    assert h.check("x:a;b;", allow_lost_after=4.5) == []
    assert h.check("x:a;b;c;d;", allow_lost_after=4.5) == []
    only(h.check("x:a;b;"), "lost write")
    only(h.check("x:a;", allow_lost_after=4.5), "lost write")
    only(h.check("x:a;b;d;", allow_lost_after=4.5), "not a suffix")
    only(h.check("x:a;b;c;f;", "y:e;", allow_lost_after=4.5), "not a suffix")
    only(h.check("x:a;b;c;d;f;", allow_lost_after=4.5), "half transaction")
    h.read("c3", "x:a;b;c;d;")
    assert h.check("x:a;b;", allow_lost_after=4.5) == []
    # After the crash at 15 things go on.
    h.append("c4", "x:g", at=(20, 21))
    h.read("c4", "x:a;b;g;", at=(22, 23))
    assert h.check("x:a;b;g;", allow_lost_after=(4.5, 15)) == []
    assert any("lost write" in line for line in h.check("x:a;b;", allow_lost_after=[(4.5, 15)]))


# ---- recorded histories ----------------------------------------------------------------------------------------------

def crash_under_record(server, times, **options):
    """Kills and restarts a server under a recorder so often; the recorder."""
    with Recorder(server.address, **options) as recorder:
        for _ in range(times):
            recorder.await_more(400)
            server.crash()
            server.restart()
        recorder.await_more(100)
    return recorder


def test_recorder_finds_nothing_wrong_with_a_log_that_is_synced(start_oracle):
    server = start_oracle(AOF)
    recorder = crash_under_record(server, 3)
    assert recorder.check(server) == []
    outcomes = {op.outcome for op in recorder.operations}
    assert outcomes >= {OK, UNKNOWN} and recorder.reconnects >= 3
    assert any(len(op.actions) > 1 and op.outcome == OK for op in recorder.operations)
    # It would have found something.
    final = recorder.final(server)
    key = max(final, key=lambda one: len(final[one]))
    tokens = final[key].split(b";")
    broken = check(recorder.operations, {**final, key: b";".join(tokens[:50] + tokens[51:])})
    assert any(line.startswith(("lost write", "half transaction", "read, then lost")) for line in broken)


def test_recorder_finds_lost_writes(start_oracle):
    server = start_oracle()
    recorder = crash_under_record(server, 1)
    found = recorder.check(server)
    assert any(line.startswith("lost write") for line in found)
    # A server that may lose everything up to the crash has done so in order.
    crash = max(op.completed for op in recorder.operations if op.client.endswith("/1") and op.outcome == OK) + 1e-6
    assert recorder.check(server, allow_lost_after=(0, crash)) == []


# ---- disks that fail -------------------------------------------------------------------------------------------------

@pytest.fixture
def start_faulty(start_oracle, tmp_path):
    """start_faulty(directives) -> (server, Faults of its directory `data`)"""
    made = []

    def run(directives, **options):
        data = tmp_path / f"data{len(made)}"
        data.mkdir()
        faults = disk.Faults(data, track=True)
        made.append(faults)
        return start_oracle([("dir", data), *directives], env=faults.env(), **options), faults

    yield run
    for faults in made:
        faults.close()


def test_sync_that_fails(start_faulty):
    server, faults = start_faulty([("appendonly", "yes"), ("appendfsync", "everysec")])
    with server.connect() as one:
        one.do("SET", "a", 1)
        await_true(lambda: faults.calls("fsync") >= 1, "no fsync")
        rule = faults.fail("fsync", errno.EIO, suffix=".incr.aof")
        one.do("SET", "b", 1)
        rule.await_hit()
        await_true(lambda: one.info("persistence")["aof_last_write_status"] == "err", "the error is not noticed")
        assert one.error("SET", "c", 1).startswith("MISCONF")


def test_disk_that_is_full(start_faulty):
    server, faults = start_faulty([("appendonly", "yes"), ("appendfsync", "no")])
    log = pathlib.Path(faults.directory) / "appendonlydir" / "appendonly.aof.1.incr.aof"
    with server.connect() as one:
        before = log.stat().st_size
        rule = faults.full_after(100, suffix=".aof")
        one.do("SET", "a", "x" * 1000)
        assert rule.hits >= 1
        await_true(lambda: one.info("persistence")["aof_last_write_status"] == "err", "the error is not noticed")
        assert server.output.wait_for("Short write", 20) and log.stat().st_size <= before + 100
        rule.clear()
        await_true(lambda: one.info("persistence")["aof_last_write_status"] == "ok", "the error does not go away")
        # The snapshot is written through stdio, by a child.
        rule = faults.full_after(1000, suffix=".rdb")
        one.do("SET", "a", os.urandom(5000))
        one.do("BGSAVE")
        await_true(lambda: one.info("persistence")["rdb_last_bgsave_status"] == "err", "the error is not noticed")
        assert rule.hits >= 1 and not list(pathlib.Path(faults.directory).glob("dump.rdb"))
        rule.clear()
        one.do("CONFIG", "SET", "appendonly", "no")
        assert one.do("SAVE") == b"OK" and faults.calls("rename") >= 1


def test_calls_fail_by_number_and_name(start_faulty):
    server, faults = start_faulty([("save", "")])
    with server.connect() as one:
        for op, kind in (("rename", errno.EACCES), ("open", errno.EMFILE), ("fsync", errno.EIO), ("write", errno.EIO)):
            rule = faults.fail(op, kind, times=1, suffix=".rdb")
            other = faults.fail(op, kind, suffix=".none")
            assert "ERR" in one.error("SAVE") and rule.hits == 1 and other.hits == 0, op
            assert one.do("SAVE") == b"OK" and rule.hits == 1
            faults.clear()
        rule = faults.fail("rename", errno.EACCES, after=1, pattern="dump.*")
        assert one.do("SAVE") == b"OK" and "ERR" in one.error("SAVE")
        rule.clear()
        # A call that hangs, until it does not.
        rule = faults.hold("fsync", suffix=".rdb")
        one.command("SAVE")
        rule.await_hit()
        assert not one.has_reply(0.05)
        rule.clear()
        assert one.reply() == ("+", b"OK")
        faults.slow("fsync", 0.05, suffix=".rdb")
        begun = time.monotonic()
        assert one.do("SAVE") == b"OK" and time.monotonic() - begun >= 0.05


def test_death_in_the_middle_of_a_write(start_faulty):
    server, faults = start_faulty(AOF)
    log = pathlib.Path(faults.directory) / "appendonlydir" / "appendonly.aof.1.incr.aof"
    with server.connect() as one:
        one.do("SET", "a", 1)
        size = log.stat().st_size
        rule = faults.kill_after_bytes(10, suffix=".incr.aof")
        with pytest.raises(Closed):
            one.do("SET", "b", 1)
        assert server.process.wait(20) == -signal.SIGKILL and rule.hits == 1
        server.crash()
    assert log.stat().st_size == size + 10 and len(commands_of(log.read_bytes()).rest) == 10
    faults.clear()
    server.restart()
    with server.connect() as one:
        assert one.do("MGET", "a", "b") == [b"1", None]
        faults.kill_at("fsync", after=1, suffix=".aof")
        one.do("SET", "c", 1)
        with pytest.raises(Closed):
            one.do("SET", "d", 1)
        server.crash()


@pytest.mark.parametrize("policy, loses", [("always", False), ("no", True)])
def test_power_that_is_lost(start_faulty, policy, loses):
    server, faults = start_faulty([("appendonly", "yes"), ("appendfsync", policy)])
    with Recorder(server.address) as recorder:
        recorder.await_acked(500)
        server.crash()
        crash = time.monotonic()
        assert bool(faults.lose_power()) == loses or policy == "always"
        server.restart()
        recorder.await_more(50)
    found = recorder.check(server)
    if loses:
        assert any(line.startswith("lost write") for line in found)
        assert recorder.check(server, allow_lost_after=(0, crash)) == []
    else:
        assert found == [] and faults.calls("fsync") > 20


CALLS = """
import os, sys
def attempt(call, *args):
    try:
        print(call.__name__, call(*args))
    except OSError as error:
        print(call.__name__, error.errno)
fd = os.open("f", os.O_CREAT | os.O_RDWR)
attempt(os.write, fd, b"x" * 10)
attempt(os.writev, fd, [b"x" * 15, b"y" * 15])
attempt(os.pwrite, fd, b"x", 0)
attempt(os.posix_fallocate, fd, 0, 10)
attempt(os.ftruncate, fd, 5)
attempt(os.fsync, fd)
attempt(os.fdatasync, fd)
attempt(os.fsync, os.open(".", os.O_RDONLY))
attempt(os.rename, "f", "g")
attempt(os.unlink, "g")
attempt(os.open, "f", os.O_RDONLY)
attempt(os.open, "f", os.O_CREAT | os.O_WRONLY)
os.write(1, b"")
"""


def test_every_call_is_caught(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    faults = disk.Faults(data, track=True)

    def run():
        done = subprocess.run([sys.executable, "-c", CALLS], cwd=data, env=dict(os.environ, **faults.env()), timeout=60,
                              stdout=subprocess.PIPE, check=True)
        return [int(line.split()[1]) if line.split()[1] != b"None" else 0 for line in done.stdout.splitlines()]

    assert run()[:-1] == [10, 30, 1, 0, 0, 0, 0, 0, 0, 0, errno.ENOENT]
    assert [faults.calls(op) for op in disk.OPS] == [2, 1, 3, 4, 1, 1, 1, 1]
    # Ten bytes, then half of the second part of the vector, then nothing.
    faults.full_after(32, pattern="f")
    assert run()[:4] == [10, 22, errno.ENOSPC, errno.ENOSPC]
    faults.clear()
    faults.fail(disk.OPS, errno.EDQUOT, pattern="[fg]", after=1)
    assert run() == [errno.EDQUOT] * 7 + [0] + [errno.EDQUOT] * 4
    faults.clear()
    faults.fail("fsync_dir")
    assert run()[5:8] == [0, 0, errno.EIO]
    faults.close()


def test_a_server_that_does_not_start_again_leaves_its_files(start_oracle):
    server = start_oracle(AOF)
    with server.connect() as one:
        one.pipeline([("SET", "a", 1), ("SET", "b", 2)])
    server.crash()
    log = server.dir / "appendonlydir" / "appendonly.aof.1.incr.aof"
    whole = log.read_bytes()
    log.write_bytes(whole.replace(b"SET", b"SE\0", 1).replace(b"*3", b"*x", 1))
    with pytest.raises(StartError):
        server.restart()
    log.write_bytes(whole)
    with server.restart().connect() as one:
        assert one.do("MGET", "a", "b") == [b"1", b"2"]


def test_without_rules_nothing_is_in_the_way(start_faulty):
    server, faults = start_faulty([("appendonly", "yes"), ("appendfsync", "always")])
    with Client(server.address) as one:
        for _ in range(100):
            one.do("INCR", "n")
    assert faults.calls("write") >= 100 and faults.calls("fsync") >= 100
    assert all(size == os.path.getsize(path) for path, size in faults.synced().items() if path.endswith(".incr.aof"))
