"""SAVE, BGSAVE, save points, what is loaded at start, and disks that fail."""

import os
import pathlib
import struct
import subprocess

import pytest

from support.faults import Faults, errors
from support.keyspace import assert_equal, read_all
from support.server import StartError
from support.workload import Bank

DUMP = "dump.rdb"


def persistence(client):
    lines = client.do("INFO", "persistence").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def await_saved(client):
    while persistence(client)["rdb_bgsave_in_progress"] == "1":
        pass


def fill(client):
    for db in (0, 3, 15):
        client.do("SELECT", db)
        client.pipeline([("SET", f"k{db}:{i}", f"v{i}" * (i % 50)) for i in range(300)])
        client.do("SET", "counter", 12345)
        client.do("SET", "", "the empty key")
        client.do("SET", "expires", "later", "PX", 10000000)
        client.do("SET", "big", "x" * 300000)
        client.do("SET", "binary", bytes(range(256)))
    client.do("SELECT", 0)


@pytest.mark.parametrize("compression", ["yes", "no"])
def test_what_is_saved_is_loaded(start, start_oracle, compression):
    server = start([("save", ""), ("rdbcompression", compression)])
    with server.connect() as client:
        fill(client)
        assert client.do("SAVE") == b"OK"
        assert persistence(client)["rdb_changes_since_last_save"] == "0"
    before = read_all(server)
    server.crash()
    path = os.path.join(server.dir, DUMP)
    assert b"RDB looks OK" in subprocess.run(["redis-check-rdb", path], capture_output=True, check=True).stdout
    server.restart()
    assert_equal(before, read_all(server))

    redis = start_oracle([("save", "")])
    redis.terminate()
    pathlib.Path(redis.dir, DUMP).write_bytes(pathlib.Path(path).read_bytes())
    redis.restart()
    assert_equal(before, read_all(redis))
    with redis.connect() as client:  # and what it writes is loaded here
        client.do("CONFIG", "SET", "rdbcompression", compression)
        client.do("SAVE")
    pathlib.Path(path).write_bytes(pathlib.Path(redis.dir, DUMP).read_bytes())
    server.crash()
    server.restart()
    assert_equal(before, read_all(server))


def test_save_and_its_relatives(start):
    server = start([("save", "")])
    with server.connect() as client:
        was = client.do("LASTSAVE")
        assert client.do("BGSAVE") == b"Background saving started"
        await_saved(client)
        assert client.do("LASTSAVE") >= was
        assert client.do("BGSAVE", "SCHEDULE") in (b"Background saving started", b"Background saving scheduled")
        await_saved(client)
        assert client.call("BGSAVE", "NOW")[0] == "-"
        client.do("MULTI")
        assert client.call("SAVE")[0] == "-"
        client.do("DISCARD")
        client.do("MULTI")
        client.do("SET", "a", 1)
        client.do("BGSAVE")
        assert client.do("EXEC")[0] == b"OK"


@pytest.mark.parametrize("threads", [1, 4])
def test_every_snapshot_is_a_cut(start, threads):
    """Amounts move between keys, and keys are renamed, while one snapshot after the other is made."""
    server = start([("save", ""), ("threads", threads)])
    bank = Bank(server.address, threads=3, seed=threads)
    bank.open()
    dumps = []
    with server.connect() as filler:
        filler.pipeline([("SET", f"ballast:{i}", "x" * 40) for i in range(20000)])
    with bank, server.connect() as client:
        for _ in range(5):
            bank.await_more(50)
            assert client.do("SAVE") == b"OK"
            dumps.append(pathlib.Path(server.dir, DUMP).read_bytes())
    for dump in dumps:
        server.crash()
        pathlib.Path(server.dir, DUMP).write_bytes(dump)
        server.restart()
        assert not bank.check(read_all(server))


def test_databases_that_change_meanwhile(start):
    """FLUSHALL, FLUSHDB and SWAPDB right behind BGSAVE take nothing from the snapshot."""
    server = start([("save", "")])
    with server.connect() as client:
        for db in (0, 1):
            client.do("SELECT", db)
            for first in range(0, 100000, 10000):
                client.pipeline([("SET", f"{db}:{i}", i) for i in range(first, first + 10000)])
        client.pipeline([("BGSAVE",), ("SWAPDB", 0, 1), ("SELECT", 0), ("SET", "new", 1), ("FLUSHDB",), ("FLUSHALL",),
                         ("SET", "newer", 1)])
        await_saved(client)
    server.crash()
    server.restart()
    found = read_all(server)
    assert {db: len(found.keys_of(db)) for db in (0, 1)} == {0: 100000, 1: 100000}
    for db in (0, 1):
        assert all(key == b"%d:%s" % (db, value) for key, (value, _) in found.keys_of(db).items())


def test_save_points(start):
    server = start([("save", "1 5")])
    with server.connect() as client:
        client.pipeline([("SET", f"k{i}", i) for i in range(5)])
        while persistence(client)["rdb_saves"] == "0":
            pass
        assert persistence(client)["rdb_changes_since_last_save"] == "0"


@pytest.mark.parametrize("words, saved", [(["NOSAVE"], False), (["SAVE"], True), ([], True), (["NOW"], True)])
def test_the_end_saves(start, words, saved):
    server = start([("save", "900 1")])
    with server.connect() as client:
        client.do("SET", "a", 1)
        client.command("SHUTDOWN", *words)
        assert client.until_close() == b""
    server.process.wait()
    assert os.path.exists(os.path.join(server.dir, DUMP)) == saved


# Files that cannot be loaded

def dump_of(server):
    with server.connect() as client:
        client.pipeline([("SET", f"k{i}", "v" * i) for i in range(200)])
        client.do("SAVE")
    server.crash()
    return pathlib.Path(server.dir, DUMP)


def refuses(server, text):
    with pytest.raises(StartError) as failure:
        server.restart()
    assert text in str(failure.value), str(failure.value)


def test_damaged_files_are_refused(start):
    server = start([("save", "")])
    path = dump_of(server)
    good = path.read_bytes()
    for damage, text in [
        (good[:len(good) // 2], "at byte"),
        (good[:-1], "at byte"),
        (good[:100] + bytes([good[100] ^ 0xff]) + good[101:], "at byte"),
        (good[:-4] + struct.pack("<I", 0x12345678), "checksum"),
        (b"REDIS0099" + good[9:], "99"),
        (b"no snapshot at all", "at byte"),
        (b"", "at byte"),
    ]:
        path.write_bytes(damage)
        refuses(server, text)
        assert path.read_bytes() == damage
    path.write_bytes(good)
    server.restart()
    with server.connect() as client:
        assert client.do("DBSIZE") == 200


def test_types_that_do_not_exist_yet_are_named(start, start_oracle):
    redis = start_oracle([("save", "")])
    with redis.connect() as client:
        client.do("RPUSH", "list", "a")
        client.do("SAVE")
    server = start([("save", "")])
    server.crash()
    pathlib.Path(server.dir, DUMP).write_bytes(pathlib.Path(redis.dir, DUMP).read_bytes())
    refuses(server, "list")


# Disks that fail

def test_a_disk_that_fails(start, tmp_path):
    faults = Faults(str(tmp_path))
    server = start([("save", "900 1000"), ("dir", str(tmp_path))], env=faults.env())
    with server.connect() as client:
        client.do("SET", "a", 1)
        for fault in (lambda: faults.fail("fsync", errors.EIO), lambda: faults.full_after(100, suffix=".rdb"),
                      lambda: faults.fail("rename", errors.EACCES)):
            rule = fault()
            assert client.call("SAVE")[0] == "-"
            assert persistence(client)["rdb_last_bgsave_status"] == "err"
            tag, text = client.call("SET", "a", 2)
            assert tag == "-" and text.startswith(b"MISCONF Redis is configured to save RDB snapshots")
            assert client.do("GET", "a") == b"1"
            rule.clear()
            assert client.do("SAVE") == b"OK"
            assert client.do("SET", "a", 1) == b"OK"
            assert not [name for name in os.listdir(tmp_path) if name.startswith("temp")]
        rule = faults.fail("fsync", errors.EIO)
        client.call("SAVE")
        client.do("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
        assert client.do("SET", "a", 3) == b"OK"
        client.do("CONFIG", "SET", "stop-writes-on-bgsave-error", "yes")
        assert client.call("SHUTDOWN")[0] == "-"
        assert client.do("PING") == b"PONG"
        rule.clear()
    server.stop()
    faults.close()
