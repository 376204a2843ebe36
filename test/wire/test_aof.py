"""The append-only file while the server runs: what is in it after a crash, a loss of power, and with a disk that fails.
What the files come to is what Redis loads from a copy of them."""

import errno
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import pytest

from support.faults import Faults
from support.keyspace import assert_equal, await_equal, read_all
from support.resp import encode
from support.workload import Bank, Mixed, Recorder

FOLDER = "appendonlydir"
MANIFEST = "appendonly.aof.manifest"


def await_true(check, what, seconds=20):
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, what
        time.sleep(0.005)


class Started:
    """A server with an append-only file in a directory of its own, whose disk can fail."""

    def __init__(self, start, *directives, track=False, faulty=True, data=None):
        self.data = data or tempfile.mkdtemp(prefix="larder-test-aof-")
        self.faults = Faults(self.data, track=track) if faulty else None
        words = dict([("dir", self.data), ("appendonly", "yes"), *directives])
        self.server = start(list(words.items()), env=self.faults.env() if faulty else None)
        self.client = self.server.connect()

    def rewrites(self):
        return self.server.output.text().count("AOF rewritten")

    def await_rewrites(self, count):
        await_true(lambda: self.rewrites() >= count, f"{self.rewrites()} of {count} rewrites were made")

    def rewrite(self):
        # One that is logged is over a moment later.
        await_true(lambda: b"aof_rewrite_in_progress:0" in self.client.do("INFO", "persistence"), "a rewrite goes on")
        count = self.rewrites()
        assert self.client.do("BGREWRITEAOF").startswith(b"Background append only file rewriting")
        self.await_rewrites(count + 1)

    def log(self, text, count=1):
        await_true(lambda: self.server.output.text().count(text) >= count, f"{text!r} is not logged")

    def path(self, name=""):
        return os.path.join(self.data, FOLDER, name)

    def manifest(self):
        return pathlib.Path(self.path(MANIFEST)).read_text()

    def names(self):
        return sorted(os.listdir(self.path()))

    def await_written(self):
        """Everything answered so far is in the files. WAITAOF is about the connection's own last write."""
        self.client.pipeline([("SET", "waits", 1), ("DEL", "waits")])
        assert self.client.do("WAITAOF", 1, 0, 20000)[0] == 1


@pytest.fixture
def begin(start):
    """begin(directives...) starts a server with an append-only file."""
    begun = []

    def run(*directives, **options):
        begun.append(Started(start, *directives, **options))
        return begun[-1]

    yield run
    for one in begun:
        if one.faults:
            one.faults.close()
        if one.server.alive():
            one.server.terminate()
        shutil.rmtree(one.data, ignore_errors=True)


@pytest.fixture
def redis_with(start_oracle):
    """redis_with(directory) is a Redis that has loaded a copy of its append-only file."""
    copies = []

    def run(data):
        copies.append(tempfile.mkdtemp(prefix="larder-test-copy-"))
        shutil.copytree(os.path.join(data, FOLDER), os.path.join(copies[-1], FOLDER))
        return start_oracle([("dir", copies[-1]), ("appendonly", "yes"), ("auto-aof-rewrite-percentage", "0")])

    yield run
    for copy in copies:
        shutil.rmtree(copy, ignore_errors=True)


# Names and contents

def test_files_are_named_as_redis_names_them(begin, start_oracle):
    ours, theirs = begin(), start_oracle([("appendonly", "yes")])
    folder = theirs.dir / FOLDER

    def same():
        return ours.manifest() == (folder / MANIFEST).read_text() and ours.names() == sorted(os.listdir(folder))

    with theirs.connect() as redis:
        for steps in ([], [("SET", "a", 1), ("BGREWRITEAOF",)], [("CONFIG", "SET", "appendonly", "no")],
                      [("CONFIG", "SET", "appendonly", "yes")], [("SET", "b", 1), ("BGREWRITEAOF",)]):
            for step in steps:
                ours.client.do(*step)
                redis.do(*step)
            await_true(same, f"after {steps}: {ours.manifest()!r}, {(folder / MANIFEST).read_text()!r}")


def test_contents_are_those_of_redis(begin, start_oracle):
    ours, theirs = begin(("appendfsync", "always")), start_oracle([("appendonly", "yes"), ("appendfsync", "always")])
    commands = [("SET", "a", 1), ("SELECT", 3), ("SET", "b", 2), ("DEL", "none"), ("MULTI",), ("INCR", "c"),
                ("INCR", "c"), ("EXEC",), ("SELECT", 0), ("APPEND", "a", "x")]
    with theirs.connect() as redis:
        ours.client.pipeline(commands)
        redis.pipeline(commands)
        name = "appendonly.aof.1.incr.aof"
        assert pathlib.Path(ours.path(name)).read_bytes() == (theirs.dir / FOLDER / name).read_bytes()


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_redis_loads_what_was_written(begin, redis_with, policy):
    one = begin(("appendfsync", policy))
    with Mixed(one.server.address, seed=1) as load:
        for count in range(1, 5):
            load.await_acked(2000 * count)
            one.rewrite()
        load.await_more(2000)
    one.await_written()
    ours = read_all(one.server)
    one.server.crash()
    assert_equal(ours, read_all(redis_with(one.data)))
    assert one.names() == ["appendonly.aof.5.base.rdb", "appendonly.aof.5.incr.aof", MANIFEST]


def test_timestamps(begin, redis_with):
    one = begin(("aof-timestamp-enabled", "yes"), ("appendfsync", "always"))
    began = int(time.time())
    one.client.pipeline([("SET", "a", 1), ("MULTI",), ("SET", "b", 1), ("INCR", "b"), ("EXEC",)])
    one.server.crash()
    text = pathlib.Path(one.path("appendonly.aof.1.incr.aof")).read_bytes()
    assert text.startswith(b"#TS:") and began <= int(text[4:text.index(b"\r\n")]) <= time.time()
    assert read_all(redis_with(one.data)) == {0: {b"a": (b"1", None), b"b": (b"2", None)}}
    assert subprocess.run(["redis-check-aof", one.path(MANIFEST)], capture_output=True, check=False).returncode == 0


def test_large_values_and_transactions(begin, redis_with):
    one = begin()
    big = os.urandom(3 << 20)
    one.client.do("SET", "big", big)
    one.client.pipeline([("MULTI",), *[("SET", f"k{i}", "x" * 5000) for i in range(500)], ("EXEC",)])
    one.rewrite()
    one.client.do("APPEND", "big", big)
    one.await_written()
    ours = read_all(one.server)
    one.server.crash()
    assert_equal(ours, read_all(redis_with(one.data)))


# What is promised

@pytest.mark.parametrize("power", [False, True])
def test_always_keeps_what_was_acknowledged(begin, redis_with, power):
    one = begin(("appendfsync", "always"), track=power)
    load = Recorder(one.server.address).start()
    load.await_acked(2000)
    one.client.do("BGREWRITEAOF")
    load.await_more(2000)
    one.server.crash()
    load.stop()
    if power:
        one.faults.lose_power()
    assert load.check(redis_with(one.data)) == []


def test_always_answers_only_after_the_sync(begin):
    one = begin(("appendfsync", "always"))
    held = one.faults.hold("fsync", suffix=".incr.aof")
    with one.server.connect() as writer, one.server.connect() as reader:
        writer.send(encode(["SET", "a", 1]))
        held.await_hit()
        reader.send(encode(["GET", "a"]))
        assert not writer.has_reply(0.05) and not reader.has_reply(0)
        held.clear()
        assert writer.reply() == ("+", b"OK") and reader.reply() == ("$", b"1")


def test_everysec_keeps_what_waitaof_says(begin, redis_with):
    one = begin(track=True)
    one.client.do("SET", "a", 1)
    one.await_written()
    one.server.crash()
    one.faults.lose_power()
    assert read_all(redis_with(one.data)) == {0: {b"a": (b"1", None)}}


@pytest.mark.parametrize("policy", ["everysec", "no"])
def test_the_end_syncs_everything(begin, redis_with, policy):
    one = begin(("appendfsync", policy), track=True)
    with Mixed(one.server.address, seed=2) as load:
        load.await_acked(3000)
    ours = read_all(one.server)
    assert one.server.terminate() == 0
    assert all(not name.endswith("aof") for name in one.faults.lose_power())
    assert_equal(ours, read_all(redis_with(one.data)))


def test_the_policy_changes_at_once(begin):
    one = begin(("appendfsync", "no"), track=True)
    one.client.do("SET", "a", 1)
    one.await_written()
    calls = one.faults.calls("fsync")
    one.client.do("CONFIG", "SET", "appendfsync", "always")
    one.client.do("SET", "a", 2)
    assert one.faults.calls("fsync") > calls
    assert min(one.faults.synced().values()) > 0


@pytest.mark.parametrize("size", [1000, 33333, 99999])
def test_a_transaction_is_there_whole_or_not_at_all(begin, redis_with, size):
    one = begin(("appendfsync", "always"))
    load = Bank(one.server.address).open().start()
    one.faults.kill_after_bytes(size, suffix=".incr.aof")
    one.server.process.wait(20)
    one.server.crash()
    load.stop()
    assert load.check(read_all(redis_with(one.data))) == []


# Switching it on and off

def test_on_and_off_under_load(begin, redis_with):
    one = begin(("appendonly", "no"))
    assert not os.path.exists(one.path())
    with Mixed(one.server.address, seed=3) as load:
        for count in range(1, 4):
            load.await_more(1000)
            one.client.do("CONFIG", "SET", "appendonly", "yes")
            one.await_rewrites(count)
            load.await_more(1000)
            one.client.do("CONFIG", "SET", "appendonly", "no")
        one.client.do("CONFIG", "SET", "appendonly", "yes")
        one.await_rewrites(4)
        load.await_more(1000)
    one.await_written()
    ours = read_all(one.server)
    one.server.crash()
    assert_equal(ours, read_all(redis_with(one.data)))


def test_off_keeps_what_was_written(begin, redis_with):
    one = begin(track=True)
    one.client.do("SET", "a", 1)
    one.client.do("CONFIG", "SET", "appendonly", "no")
    one.client.do("SET", "a", 2)
    one.server.crash()
    one.faults.lose_power()
    assert read_all(redis_with(one.data)) == {0: {b"a": (b"1", None)}}


def test_quickly_on_and_off(begin, redis_with):
    one = begin(("appendonly", "no"))
    with Bank(one.server.address).open() as load:
        for i in range(40):
            one.client.do("CONFIG", "SET", "appendonly", "no" if i % 2 else "yes")
            if i % 8 == 0:
                one.client.call("BGREWRITEAOF")
        done = one.rewrites()
        one.client.do("CONFIG", "SET", "appendonly", "yes")
        one.await_rewrites(done + 1)
        one.rewrite()
        load.await_more(100)
    one.await_written()
    one.server.crash()
    assert load.check(read_all(redis_with(one.data))) == []
    assert all(name.startswith("appendonly.aof.") for name in one.names())


def test_off_within_a_transaction(begin, redis_with):
    one = begin()
    for value, switch in ((1, "no"), (2, "yes")):
        one.client.pipeline([("MULTI",), ("SET", "a", value), ("CONFIG", "SET", "appendonly", switch),
                             ("SET", "b", value), ("EXEC",)])
    one.await_rewrites(1)
    one.await_written()
    one.server.crash()
    assert read_all(redis_with(one.data)) == {0: {b"a": (b"2", None), b"b": (b"2", None)}}


def test_a_rewrite_while_it_is_off(begin, redis_with):
    one = begin(("appendonly", "no"))
    one.client.do("SET", "a", 1)
    one.rewrite()
    one.client.do("SET", "a", 2)
    one.server.crash()
    assert one.manifest().startswith("file appendonly.aof.1.base.rdb seq 1 type b\n")
    assert read_all(redis_with(one.data)) == {0: {b"a": (b"1", None)}}


# Replicas

def test_a_replica_keeps_one_of_the_primarys_data(begin, redis_with, start):
    primary = start()
    one = begin(("appendfsync", "always"))
    one.client.do("SET", "own", 1)
    with Mixed(primary.address, seed=4) as load:
        load.await_acked(1000)
        one.client.do("REPLICAOF", "127.0.0.1", primary.port)
        one.await_rewrites(1)
        for count in range(2, 4):
            load.await_more(1000)
            one.rewrite()
        load.await_more(1000)
    await_equal(primary, one.server)
    ours = read_all(one.server)
    one.server.crash()
    assert_equal(ours, read_all(redis_with(one.data)))


def test_a_replica_that_is_promoted_goes_on(begin, redis_with, start):
    primary = start()
    one = begin()
    one.client.do("REPLICAOF", "127.0.0.1", primary.port)
    one.await_rewrites(1)
    with primary.connect() as writer:
        writer.pipeline([("SELECT", 5), ("SET", "a", 1)])
        await_equal(primary, one.server)
        one.rewrite()
        writer.do("SET", "b", 1)
        await_equal(primary, one.server)
    one.client.do("REPLICAOF", "NO", "ONE")
    one.client.do("SET", "c", 1)
    one.await_written()
    one.server.crash()
    assert read_all(redis_with(one.data)) == {0: {b"c": (b"1", None)}, 5: {b"a": (b"1", None), b"b": (b"1", None)}}


# Rewrites

def test_it_is_rewritten_when_it_has_grown(begin, redis_with):
    one = begin(("auto-aof-rewrite-min-size", "20kb"), ("auto-aof-rewrite-percentage", "100"))
    for i in range(100):
        one.client.do("SET", "a", str(i) * 1000)
    one.await_rewrites(1)
    one.client.do("SET", "b", 1)
    one.await_written()
    ours = read_all(one.server)
    one.server.crash()
    assert_equal(ours, read_all(redis_with(one.data)))


@pytest.mark.parametrize("op, pattern", [("open", "temp-*.base"), ("write", "temp-*.base"), ("fsync", "temp-*.base"),
                                         ("rename", "temp-*.base"), ("open", "*.2.incr.aof"),
                                         ("rename", "temp-*.manifest")])
def test_a_rewrite_that_fails_loses_nothing(begin, redis_with, op, pattern):
    one = begin()
    with Bank(one.server.address).open() as load:
        load.await_acked(200)
        fault = one.faults.fail(op, errno.ENOSPC, pattern=pattern)
        one.client.do("BGREWRITEAOF")
        one.log("Rewriting the AOF failed: ")
        load.await_more(200)
        fault.clear()
        one.rewrite()
        load.await_more(200)
    one.await_written()
    one.server.crash()
    assert load.check(read_all(redis_with(one.data))) == []
    assert "temp" not in "".join(one.names())


@pytest.mark.parametrize("op, pattern", [("open", "temp-*.base"), ("write", "temp-*.base"), ("fsync", "temp-*.base"),
                                         ("rename", "temp-*.base"), ("rename", "temp-*.manifest"),
                                         ("write", "*.2.incr.aof"), ("unlink", "*.1.incr.aof")])
def test_a_crash_in_a_rewrite_loses_nothing(begin, redis_with, op, pattern):
    one = begin(("appendfsync", "always"), track=True)
    load = Recorder(one.server.address).start()
    load.await_acked(500)
    one.faults.kill_at(op, pattern=pattern)
    one.client.send(encode(["BGREWRITEAOF"]))
    one.server.process.wait(20)
    one.server.crash()
    load.stop()
    one.faults.lose_power()
    assert load.check(redis_with(one.data)) == []


def test_a_first_base_that_fails_is_tried_again(begin, redis_with):
    one = begin(("appendonly", "no"))
    one.client.do("SET", "a", 1)
    fault = one.faults.fail("write", errno.ENOSPC, times=2, pattern="temp-*.base")
    one.client.do("CONFIG", "SET", "appendonly", "yes", "appendfsync", "always")
    fault.await_hit()
    one.client.do("SET", "b", 1)
    one.await_rewrites(1)
    one.client.do("SET", "c", 1)
    one.server.crash()
    assert set(read_all(redis_with(one.data))[0]) == {b"a", b"b", b"c"}


# Disks that fail

@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_a_full_disk_and_space_again(begin, redis_with, policy):
    one = begin(("appendfsync", policy))
    load = Bank(one.server.address).open().start()
    fault = one.faults.full_after(10000, suffix=".incr.aof")
    one.log("Error writing to the AOF file: No space left on device")
    with one.server.connect() as writer:
        def refused():
            return writer.call("SET", "x", 1)[1].startswith(b"MISCONF Errors writing to the AOF file: No space left")
        if policy != "always":
            await_true(refused, "writes are not refused")
        assert fault.hits > 0
        fault.clear()
        one.log("the server can write again")
        await_true(lambda: writer.call("SET", "x", 1)[0] == "+", "writes are still refused")
    load.await_more(500)
    load.stop()
    one.await_written()
    ours = read_all(one.server)
    one.server.crash()
    assert load.check(ours) == []
    assert_equal(ours, read_all(redis_with(one.data)))
    assert one.server.output.text().count("Error writing to the AOF file") == 1


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_what_a_failed_sync_lost_is_written_again(begin, redis_with, policy):
    one = begin(("appendfsync", policy), track=True)
    with Recorder(one.server.address) as load:
        load.await_acked(500)
        fault = one.faults.fail("fsync", errno.EIO, times=3, suffix=".incr.aof")
        fault.await_hit(3)
        one.log("the server can write again")
        load.await_more(500)
    one.await_written()
    one.server.crash()
    one.faults.lose_power()
    assert load.check(redis_with(one.data)) == []


def test_off_works_with_a_full_disk(begin):
    one = begin()
    fault = one.faults.fail("write", errno.ENOSPC, suffix=".incr.aof")
    one.client.do("SET", "a", 1)
    fault.await_hit(2)
    await_true(lambda: one.client.call("SET", "a", 2)[1].startswith(b"MISCONF"), "writes are not refused")
    one.client.do("CONFIG", "SET", "appendonly", "no")
    one.client.do("SET", "a", 3)


def test_a_rewrite_helps_a_full_disk(begin, redis_with):
    one = begin(("appendfsync", "always"))
    one.client.do("SET", "a", 1)
    fault = one.faults.fail("write", errno.ENOSPC, suffix=".1.incr.aof")
    with one.server.connect() as held:
        held.send(encode(["SET", "b", 1]))
        fault.await_hit()
        # Its answer is held back as well.
        one.client.send(encode(["BGREWRITEAOF"]))
        one.await_rewrites(1)
        assert held.reply() == ("+", b"OK")
        assert one.client.reply()[0] == "+"
    one.client.do("SET", "c", 1)
    one.server.crash()
    assert set(read_all(redis_with(one.data))[0]) == {b"a", b"b", b"c"}


def test_a_small_disk(begin, redis_with):
    data = tempfile.mkdtemp(prefix="larder-test-aof-")
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", data],
                                           capture_output=True, check=False).returncode != 0:
        os.rmdir(data)
        pytest.skip("no file system can be mounted here")
    try:
        filler = pathlib.Path(data, "filler")
        filler.write_bytes(b"x" * (1 << 20))
        one = begin(data=data, faulty=False)
        with one.server.connect() as writer:
            for i in range(4000):
                if writer.call("SET", f"k{i}", "x" * 1000)[1].startswith(b"MISCONF Errors writing to the AOF file"):
                    break
            await_true(lambda: writer.call("SET", "a", 1)[1].startswith(b"MISCONF"), "writes are not refused")
            filler.unlink()
            await_true(lambda: writer.call("SET", "a", 1)[0] == "+", "writes are still refused")
        one.await_written()
        ours = read_all(one.server)
        one.server.crash()
        assert_equal(ours, read_all(redis_with(one.data)))
    finally:
        subprocess.run(["umount", "-l", data], check=True)
