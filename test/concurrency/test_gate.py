"""Commands that close the gate, in a loop beside load; eviction beside writers."""

import random

import pytest

from support.crowd import Background, together, turns
from support.resp import Client

TURNS = turns(600)


@pytest.fixture(params=(1, 2, 4))
def server(start, request):
    return start([("threads", request.param)])


def use(client, name):
    """Ordinary work on keys of its own; every answer has to be its own."""
    keys = [f"use:{name}:{at}" for at in range(5)]
    tag = f"{name}:{random.random()}"
    replies = client.pipeline([["MSET", *(word for key in keys for word in (key, tag))], ["MGET", *keys],
                               ["ECHO", tag], ["MULTI"], ["GET", keys[0]], ["EXEC"]])
    value = tag.encode()
    assert replies[1] == ("*", [("$", value)] * 5)
    assert replies[2] == ("$", value)
    assert replies[5] == ("*", [("$", value)])


LOOPS = {
    "config": lambda turn: [["CONFIG", "SET", "lfu-decay-time", turn % 5]],
    "pause": lambda turn: [["CLIENT", "PAUSE", 100000, "WRITE"], ["CLIENT", "UNPAUSE"]],
    "pause all": lambda turn: [["CLIENT", "PAUSE", 100000, "ALL"], ["CLIENT", "UNPAUSE"]],
    "swapdb": lambda turn: [["SWAPDB", 2, 3]],
    "flushdb": lambda turn: [["SELECT", 5], ["SET", "x", turn], ["FLUSHDB"]],
    "mixed": lambda turn: [["CONFIG", "SET", "maxmemory-samples", 3 + turn % 5], ["SWAPDB", 2, 3],
                           ["CONFIG", "RESETSTAT"], ["CLIENT", "PAUSE", 100000], ["CLIENT", "UNPAUSE"]],
}


def loop(client, what):
    for turn in range(TURNS):
        for reply in client.pipeline(LOOPS[what](turn)):
            assert reply == ("+", b"OK")


@pytest.mark.parametrize("what", LOOPS)
def test_closings_beside_load(server, what):
    with Background(server, [(use, name) for name in range(4)]):
        together(server, [(loop, what)])
        # Nothing stays held: a newcomer is served at once.
        with server.connect() as one:
            use(one, "newcomer")


def swap(client):
    for _ in range(TURNS):
        assert client.do("SWAPDB", 0, 1) == b"OK"


def increments(client):
    for _ in range(TURNS):
        for reply in client.pipeline([["INCR", "n"]] * 7):
            assert reply[0] == ":"
    return 7 * TURNS


def test_increments_across_swapdb(server):
    found = together(server, [(increments,), (increments,), (swap,), (increments,)])
    with server.connect() as one:
        total = 0
        for at in (0, 1):
            one.do("SELECT", at)
            total += int(one.do("GET", "n") or 0)
    assert total == sum(value for value in found if value)


def fill(client, name):
    """Values are there whole or have been evicted."""
    for turn in range(3 * TURNS):
        key = f"fill:{name}:{turn}"
        assert client.do("SET", key, key * 400) == b"OK"
        old = f"fill:{(name + 1) % 4}:{random.randint(0, turn)}"
        value = client.do("GET", old)
        assert value is None or value == (old * 400).encode()


def test_eviction_beside_writers(server):
    with server.connect() as one:
        one.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        one.do("CONFIG", "SET", "maxmemory", int(one.info("memory")["used_memory"]) + 1500000)
        together(server, [(fill, name) for name in range(4)])
        stats = one.info("stats")
        assert int(stats["evicted_keys"]) > 0
        assert one.do("DBSIZE") == len(one.do("KEYS", "*"))
        one.do("CONFIG", "SET", "maxmemory", 0)
        one.do("FLUSHALL")
        assert one.do("DBSIZE") == 0


def test_pause_held_connections_may_leave(server):
    """Connections that go while PAUSE holds their command do not run it later."""
    with server.connect() as one:
        one.do("CLIENT", "PAUSE", 100000, "WRITE")
        before = int(one.info("clients")["connected_clients"])
        held = [Client(server.address) for _ in range(10)]
        for client in held:
            client.do("PING")
            client.command("SET", "ghost", "x")
        for client in held:
            id_line = [line for line in one.do("CLIENT", "LIST").decode().splitlines()
                       if "addr=%s:%d " % client.sock.getsockname() in line][0]
            assert one.do("CLIENT", "KILL", "ID", id_line.split()[0][3:]) == 1
            assert client.until_close() == b""
        while int(one.info("clients")["connected_clients"]) > before:
            pass
        one.do("CLIENT", "UNPAUSE")
        assert one.do("GET", "ghost") is None
        assert one.do("SET", "alive", "x") == b"OK"
