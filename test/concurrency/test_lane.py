"""The slow lane and the gate under more work than they have threads: every command is answered, and the server can
always be stopped."""

import signal
import time

import pytest

from support.crowd import Background, abort, turns
from support.resp import Closed
from support.threads import await_sleeps

MEGABYTE = 1 << 20


@pytest.fixture(params=(1, 4))
def server(start, request):
    return start([("threads", request.param)])


def all_answered(clients, wanted):
    for client in clients:
        reply = client.reply()
        assert wanted(reply), repr(reply)[:200]


def test_walks_beside_jobs_with_partitions(server):
    """KEYS waits for partitions that a job in the same lane holds: the job must get a thread though all walk."""
    with server.connect() as one:
        one.do("DEBUG", "POPULATE", turns(400000))
        for at in range(8):
            one.do("SETRANGE", f"big:{at}", 20 * MEGABYTE, "x")
    walkers = [server.connect() for _ in range(8)]
    readers = [server.connect() for _ in range(8)]
    for _ in range(turns(10) // 3):
        for one in walkers:
            one.command("KEYS", "nothing*")
        for at, one in enumerate(readers):
            one.command("BITCOUNT", f"big:{at}")
        all_answered(readers, lambda reply: reply == (":", 4))
        all_answered(walkers, lambda reply: reply == ("*", []))


def test_gate_beside_jobs_with_partitions(server):
    """Whoever closes the gate waits for jobs that hold partitions: they must get a thread though all wait."""
    with server.connect() as one:
        for at in range(8):
            one.do("SETRANGE", f"big:{at}", 20 * MEGABYTE, "x")
    closers = [server.connect() for _ in range(8)]
    readers = [server.connect() for _ in range(8)]
    for _ in range(turns(20)):
        for closer, (at, reader) in zip(closers, enumerate(readers)):
            closer.command("CONFIG", "SET", "lfu-decay-time", "1")
            reader.command("BITCOUNT", f"big:{at}")
        all_answered(closers, lambda reply: reply == ("+", b"OK"))
        all_answered(readers, lambda reply: reply == (":", 4))


def test_walks_and_gate_and_jobs(server):
    with server.connect() as one:
        one.do("DEBUG", "POPULATE", turns(100000))
        for at in range(4):
            one.do("SETRANGE", f"big:{at}", 20 * MEGABYTE, "x")
    commands = [*[["KEYS", "nothing*"]] * 4, *[["SWAPDB", 1, 2]] * 4, *[["BITCOUNT", f"big:{at}"] for at in range(4)],
                ["SCAN", 0, "COUNT", 50000, "MATCH", "nothing*"]]
    clients = [server.connect() for _ in commands]
    for turn in range(turns(20)):
        order = list(zip(clients, commands))
        order = order[turn % len(order):] + order[:turn % len(order)]
        for client, command in order:
            client.command(*command)
        all_answered(clients, lambda reply: reply[0] != "-")


LOADS = {
    "keys": [["SET", "a", "1"], ["GET", "a"], ["MSET", "b", "1", "c", "2"], ["MULTI"], ["INCR", "a"], ["EXEC"]],
    "lane": [["SETRANGE", "big", 30 * MEGABYTE, "x"], ["BITCOUNT", "big"], ["DEL", "big"]],
    "gate": [["CONFIG", "SET", "lfu-decay-time", "1"], ["SWAPDB", 0, 1]],
    "walks": [["KEYS", "nothing*"], ["RANDOMKEY"], ["SCAN", 0, "COUNT", 10000]],
}


def load(client, commands):
    try:
        client.pipeline(commands * 4)
    except (Closed, OSError):
        client.address = None
        time.sleep(0.01)  # the server has gone: nothing is left to wait for


@pytest.mark.parametrize("what", LOADS)
@pytest.mark.parametrize("threads", (1, 4))
def test_termination_under_load(start, threads, what):
    for _ in range(3):
        server = start([("threads", threads)])
        with server.connect() as one:
            one.do("DEBUG", "POPULATE", turns(20000))
            with Background(server, [(load, LOADS[what]) for _ in range(3)]):
                before = int(one.info("stats")["total_commands_processed"])
                while int(one.info("stats")["total_commands_processed"]) < before + 100:
                    pass
                assert server.terminate() == 0
        server.check()


@pytest.mark.parametrize("threads", (1, 4))
def test_shutdown_command_under_load(start, threads):
    server = start([("threads", threads)])
    with server.connect() as one, Background(server, [(load, LOADS[what]) for what in LOADS]):
        for _ in range(20):
            one.do("PING")
        one.command("SHUTDOWN", "NOSAVE")
        assert one.until_close() == b""
        assert server.process.wait(60) == 0


def test_reset_in_the_lane_leaves_the_worker_asleep(start):
    """A connection that is reset while the lane has its command may not keep its worker's loop spinning: a loop with
    nothing to do waits, and goes to sleep again after every tick."""
    server = start([("threads", 1)])
    with server.connect() as one:
        slow = server.connect()
        assert slow.do("PING") == b"PONG"
        slow.command("DEBUG", "SLEEP", 100)
        while "cmd=debug" not in one.do("CLIENT", "LIST").decode():
            pass
        abort(slow)
        one.do("PING")
        await_sleeps(server.pid, "worker-0")
        assert one.do("PING") == b"PONG"
    assert server.terminate(signal.SIGTERM) == 0
