"""Connections that go at any moment, of their own will or killed, while others work.

The others keep getting their own answers, no partition stays taken, and the count of connections returns to what it was.
"""

import random
import socket

import pytest

from support.crowd import Background, abort, turns
from support.resp import Client, Closed, encode

MEGABYTE = 1 << 20
SHARED = [f"shared:{at}" for at in range(16)]


@pytest.fixture(params=(1, 2, 4))
def server(start, request):
    return start([("threads", request.param)])


def work(client, name):
    """Every value says whose it is; every answer has to be to this connection's question."""
    tag = f"{name}:{random.random()}"
    key = f"work:{name}"
    commands = [["SET", key, tag], ["GET", key], ["ECHO", tag], ["MGET", *SHARED], ["INCR", random.choice(SHARED)],
                ["MULTI"], ["GETSET", key, "other"], ["GET", key], ["EXEC"], ["ECHO", tag]]
    replies = client.pipeline(commands)
    value = ("$", tag.encode())
    assert replies[1] == replies[2] == replies[9] == value, replies
    assert replies[3][0] == "*" and len(replies[3][1]) == len(SHARED)
    assert replies[8] == ("*", [value, ("$", b"other")]), replies


# How a connection may be caught. Each leaves it in some state, and returns a second connection to be closed as well.

def idle(server, one):
    one.do("PING")


def in_a_pipeline(server, one):
    one.sock.sendall(b"".join(encode(["INCR", random.choice(SHARED)]) for _ in range(300)))


def in_a_bulk(server, one):
    one.sock.sendall(b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$100000\r\n" + b"h" * random.randint(0, 70000))


def in_multi(server, one):
    one.pipeline([["WATCH", *SHARED], ["MULTI"], ["INCR", SHARED[0]], ["SET", "half", "x"]])


def in_the_lane(server, one):
    one.sock.sendall(encode(["BITCOUNT", "big"]) + encode(["INCR", SHARED[1]]))


def asleep_in_the_lane(server, one):
    one.sock.sendall(encode(["DEBUG", "SLEEP", "0.02"]) + encode(["INCR", SHARED[1]]))


def parked(server, one):
    holder = Client(server.address)
    holder.command("BITCOUNT", "big")
    one.sock.sendall(encode(["GETRANGE", "big", 0, 0]) * 3)
    return holder


def waiting_for_the_gate(server, one):
    one.sock.sendall(encode(["SWAPDB", 6, 7]) * 3 + encode(["CONFIG", "SET", "lfu-decay-time", "1"]))


def reading_nothing(server, one):
    one.sock.sendall(encode(["GET", "big"]) * 2)


STATES = [idle, in_a_pipeline, in_a_bulk, in_multi, in_the_lane, asleep_in_the_lane, parked, waiting_for_the_gate,
          reading_nothing]


def reset(server, boss, one):
    abort(one)


def close(server, boss, one):
    one.close()


def half_close(server, boss, one):
    one.sock.shutdown(socket.SHUT_WR)
    one.until_close()
    one.close()


def killed_by_id(server, boss, one):
    for line in boss.do("CLIENT", "LIST").decode().splitlines():
        if "addr=%s:%d " % one.sock.getsockname() in line:
            boss.call("CLIENT", "KILL", "ID", line.split()[0][3:])
    one.until_close()
    one.close()


def killed_by_addr(server, boss, one):
    assert boss.do("CLIENT", "KILL", "ADDR", "%s:%d" % one.sock.getsockname()) == 1
    one.until_close()
    one.close()


ENDS = [reset, close, half_close, killed_by_id, killed_by_addr]


def connected(client):
    return int(client.info("clients")["connected_clients"])


def settle(boss, wanted):
    while connected(boss) != wanted:
        pass


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_leaving(server, state):
    with server.connect() as boss:
        boss.do("SETRANGE", "big", 20 * MEGABYTE - 1, "x")
        boss.do("MSET", *(word for key in SHARED for word in (key, 0)))
        before = connected(boss)
        with Background(server, [(work, name) for name in range(2)]):
            for turn in range(turns(60)):
                one = Client(server.address)
                # The server may be quicker than whoever looks for the connection: it has to be there first.
                one.do("PING")
                other = state(server, one)
                ENDS[turn % len(ENDS)](server, boss, one)
                if other:
                    other.close()
        settle(boss, before)
        for key in [*SHARED, "big", "half"]:
            assert boss.do("EXISTS", key) in (0, 1)
        assert boss.do("GET", "half") is None
        assert boss.do("BITCOUNT", "big") == 4
        assert all(value is not None for value in boss.do("MGET", *SHARED))
        assert boss.do("SWAPDB", 6, 7) == b"OK"




def test_killing_by_type(server):
    """CLIENT KILL TYPE normal takes everybody but its sender, in whatever state."""
    with server.connect() as boss:
        boss.do("MSET", *(word for key in SHARED for word in (key, 0)))
        for _ in range(turns(30)):
            victims = [Client(server.address) for _ in range(8)]
            for at, one in enumerate(victims):
                one.do("PING")
                (idle, in_a_pipeline, in_a_bulk, in_multi)[at % 4](server, one)
            assert boss.do("CLIENT", "KILL", "TYPE", "normal") == len(victims)
            for one in victims:
                one.until_close()
                one.close()
            settle(boss, 1)
        for key in SHARED:
            assert boss.do("INCR", key) > 0


def test_half_closed_pipeline_is_answered(server):
    """Whoever sends its last command and half-closes gets every answer."""
    with server.connect() as boss:
        boss.do("SETRANGE", "big", 20 * MEGABYTE - 1, "x")
        for turn in range(turns(30)):
            one = Client(server.address)
            commands = [["ECHO", f"{turn}:{at}"] for at in range(200)]
            commands[100] = ["BITCOUNT", "big"]
            one.sock.sendall(b"".join(map(encode, commands)))
            one.sock.shutdown(socket.SHUT_WR)
            replies = one.replies(200)
            assert replies[100] == (":", 4)
            assert [reply[1] for at, reply in enumerate(replies) if at != 100] == [
                b"%d:%d" % (turn, at) for at in range(200) if at != 100]
            assert one.until_close() == b""
            one.close()
        settle(boss, 1)
