"""Servers killed with SIGKILL at random moments under load. What clients were promised is judged by the history checker
(support/history.py): lists of appends, alone and in transactions, with every answer recorded.

LARDER_KILL_ROUNDS says how often each of them is killed; `make crash` does it 500 times."""

import os
import random
import time

import pytest

from support import server as servers
from support.keyspace import await_caught_up
from support.workload import Bank, Recorder
from support.keyspace import read_all

ROUNDS = int(os.environ.get("LARDER_KILL_ROUNDS", "20"))
EVERYSEC_LOSS = 2.0  # seconds of acknowledged writes that everysec may lose


def rounds(seed):
    """A seeded random for each round, so that one can be run again: the test's id has its number."""
    return [pytest.param(random.Random(f"{seed} {i}"), id=str(i)) for i in range(ROUNDS)]


def load_for(recorder, numbers, least=1):
    recorder.await_acked(least)
    time.sleep(numbers.uniform(0, 0.25))


@pytest.mark.parametrize("numbers", rounds("always"))
def test_always(start, numbers):
    """appendfsync always: no acknowledged write is missing, and no transaction is half there."""
    server = start([("appendonly", "yes"), ("appendfsync", "always"), ("save", ""),
                    ("threads", numbers.choice([1, 2, 4]))])
    recorder = Recorder(server.address, threads=4, seed=numbers.random())
    with recorder:
        load_for(recorder, numbers)
        if numbers.random() < 0.3:
            with server.connect() as client:
                client.do("BGREWRITEAOF")
            time.sleep(numbers.uniform(0, 0.05))
        server.crash()
        recorder.stop(check=False)
    server.restart()
    assert not recorder.check(server)


@pytest.mark.parametrize("numbers", rounds("everysec"))
def test_everysec(start, numbers):
    """appendfsync everysec: at most the last two seconds are lost, and they are the last."""
    server = start([("appendonly", "yes"), ("appendfsync", "everysec"), ("save", ""),
                    ("threads", numbers.choice([1, 2, 4]))])
    recorder = Recorder(server.address, threads=4, seed=numbers.random())
    with recorder:
        load_for(recorder, numbers)
        crashed = time.monotonic()
        server.crash()
        recorder.stop(check=False)
    server.restart()
    assert not recorder.check(server, allow_lost_after=crashed - EVERYSEC_LOSS, durable_reads=False)


def offset_of(server):
    with server.connect() as client:
        role = client.do("ROLE")
        return int(role[4] if role[0] == b"slave" else role[1])


@pytest.mark.parametrize("numbers", rounds("quorum"))
def test_quorum(start, numbers):
    """durability quorum with two replicas: the primary dies, the one that is further takes over, nothing that was
    acknowledged is missing."""
    common = [("save", ""), ("threads", numbers.choice([1, 2]))]
    primary = start([*common, ("durability", "quorum"), ("durability-members", 3)])
    replicas = [start([*common, ("replicaof", f"127.0.0.1 {primary.port}")]) for _ in range(2)]
    for replica in replicas:
        await_caught_up(primary, replica)
    recorder = Recorder(primary.address, threads=4, seed=numbers.random())
    with recorder:
        load_for(recorder, numbers)
        primary.crash()
        recorder.stop(check=False)
    # What is on its way still arrives; the offsets then stand.
    promoted = max(replicas, key=settled_offset)
    with promoted.connect() as client:
        client.do("REPLICAOF", "NO", "ONE")
    assert not recorder.check(promoted)


def settled_offset(server):
    last = -1
    while True:
        with server.connect() as client:
            info = client.do("INFO", "replication").decode()
        up = "master_link_status:up" in info
        offset = next(int(line.split(":")[1]) for line in info.splitlines() if line.startswith("master_repl_offset"))
        if not up and offset == last:
            return offset
        last = offset


@pytest.mark.parametrize("numbers", rounds("snapshot")[:max(3, ROUNDS // 5)])
def test_snapshots_are_cuts(start, numbers):
    """Amounts move between keys meanwhile: every snapshot holds the same sum."""
    server = start([("save", ""), ("threads", numbers.choice([1, 2, 4]))])
    bank = Bank(server.address, threads=3, seed=numbers.random())
    bank.open()
    with bank, server.connect() as client:
        bank.await_acked(10)
        assert client.do("SAVE") == b"OK"
        server.crash()
        bank.stop(check=False)
    server.restart()
    assert not bank.check(read_all(server))
