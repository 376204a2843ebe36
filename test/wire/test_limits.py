"""Limits: of clients, buffers, sizes and memory, and those before login."""

import os
import time

import pytest

from support.resp import Closed, encode, plain

MEGABYTE = 1 << 20
POLICIES = ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random",
            "volatile-ttl"]


def await_value(read, wanted, seconds=20):
    """Polls until `wanted(read())` holds: for what happens by itself, without an event to wait for."""
    end = time.monotonic() + seconds
    while True:
        value = read()
        if wanted(value):
            return value
        assert time.monotonic() < end, f"still {value!r}"


# Before login

@pytest.fixture
def locked(start):
    return start([("requirepass", "secret")])


def test_only_a_few_commands_before_login(locked):
    with locked.connect() as one:
        for words in (["PING"], ["GET", "k"], ["COMMAND"], ["CLIENT", "ID"], ["MULTI"], ["ECHO", "x"]):
            assert one.error(*words) == "NOAUTH Authentication required."
        assert one.error("HELLO", "3").startswith("NOAUTH HELLO must be called with the client already authenticated")
        assert one.call("RESET") == ("+", b"RESET")
        assert one.error("AUTH", "wrong").startswith("WRONGPASS invalid username-password pair")
        assert one.error("AUTH", "nobody", "secret").startswith("WRONGPASS")
        assert one.do("AUTH", "secret") == b"OK"
        assert one.do("PING") == b"PONG"
    with locked.connect() as one:
        assert one.do("HELLO", "3", "AUTH", "default", "secret")[b"proto"] == 3
        assert one.call("RESET") == ("+", b"RESET")
        assert one.error("PING").startswith("NOAUTH")
    with locked.connect() as one:
        assert one.call("QUIT") == ("+", b"OK")
        assert one.until_close() == b""


def test_input_before_login_is_capped(locked):
    with locked.connect() as one:
        one.send(b"*2\r\n$4\r\nAUTH\r\n$10000\r\n" + b"x" * 10000 + b"\r\n")
        assert one.reply()[0] == "-"
    for data in (b"*2\r\n$4\r\nAUTH\r\n$16385\r\n" + b"x" * 16384, b"*11\r\n", b"*2\r\n$4\r\nAUTH\r\n$1000000\r\n",
                 b"AUTH " + b"x" * 20000):
        with locked.connect() as one:
            one.send(data)
            answer = one.until_close()
            assert answer == b"" or answer.startswith(b"-ERR Protocol error"), data[:40]


def test_output_before_login_is_capped(locked):
    with locked.connect() as one:
        one.send(encode(["PING"]) * 10000)
        assert len(one.until_close()) <= 8192


def test_there_is_a_deadline_for_login(start):
    server = start([("requirepass", "secret"), ("login-timeout", 1)])
    with server.connect() as idle, server.connect() as user:
        user.do("AUTH", "secret")
        assert idle.until_close() == b""
        assert user.do("PING") == b"PONG"


def test_the_deadline_for_login_holds_while_tries_are_slowed_down(start):
    server = start([("requirepass", "secret"), ("login-timeout", 1)])
    begin = time.monotonic()
    with server.connect() as guesser:
        guesser.send(encode(["AUTH", "wrong"]) * 100)
        guesser.until_close()
    assert time.monotonic() - begin < 5


def test_the_deadline_for_login_holds_while_paused(start):
    server = start([("requirepass", "secret"), ("login-timeout", 1)])
    with server.connect() as boss, server.connect() as held:
        boss.do("AUTH", "secret")
        boss.do("CLIENT", "PAUSE", 100000, "ALL")
        held.command("AUTH", "secret")
        assert held.until_close() == b""
        assert boss.do("CLIENT", "UNPAUSE") == b"OK"


def test_a_login_slowed_down_goes_on_while_writes_are_paused(start):
    server = start([("requirepass", "secret")])
    with server.connect() as boss, server.connect() as other:
        boss.do("AUTH", "secret")
        boss.do("CLIENT", "PAUSE", 100000, "WRITE")
        other.error("AUTH", "wrong")
        assert other.do("AUTH", "secret") == b"OK"
        assert boss.do("CLIENT", "UNPAUSE") == b"OK"


def test_a_crowd_that_does_not_log_in_keeps_nobody_out(start):
    """Whoever comes when there are 1024 such connections takes the place of the oldest."""
    server = start([("requirepass", "secret"), ("threads", 1)])
    with server.connect() as boss:
        boss.do("AUTH", "secret")
        crowd = [server.connect() for _ in range(1024)]
        assert crowd[-1].error("PING").startswith("NOAUTH")
        with server.connect() as newcomer:
            assert newcomer.do("AUTH", "secret") == b"OK"
        assert crowd[0].until_close() == b""
        assert crowd[1].error("PING").startswith("NOAUTH")
        assert int(boss.info("clients")["connected_clients"]) <= 1026
        assert boss.do("PING") == b"PONG"


def test_requirepass_set_while_running(start):
    server = start()
    with server.connect() as boss:
        boss.do("CONFIG", "SET", "requirepass", "new")
        assert boss.do("PING") == b"PONG"
        with server.connect() as other:
            assert other.error("PING").startswith("NOAUTH")
            assert other.do("AUTH", "new") == b"OK"


# Clients and buffers

def test_maxclients(start):
    server = start([("maxclients", 5)])
    clients = [server.connect() for _ in range(5)]
    for one in clients:
        assert one.do("PING") == b"PONG"
    with server.connect() as refused:
        assert refused.until_close() == b"-ERR max number of clients reached\r\n"
    assert int(clients[0].info("stats")["rejected_connections"]) == 1
    clients.pop().close()
    await_value(lambda: int(clients[0].info("clients")["connected_clients"]), lambda count: count == 4)
    with server.connect() as welcome:
        assert welcome.do("PING") == b"PONG"


def test_query_buffer_limit(start):
    server = start([("client-query-buffer-limit", "1mb")])
    with server.connect() as greedy, server.connect() as other:
        greedy.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5000000\r\n" + b"x" * 5000000)
        assert greedy.until_close() == b""
        assert other.do("EXISTS", "k") == 0


def test_output_buffer_limit(start):
    server = start([("client-output-buffer-limit", "normal 4mb 0 0")])
    with server.connect() as greedy, server.connect() as other:
        other.do("SET", "big", "x" * MEGABYTE)
        greedy.sock.sendall(encode(["GET", "big"]) * 200)
        await_value(lambda: int(other.info("clients")["connected_clients"]), lambda count: count == 1)
        assert len(greedy.until_close()) < 200 * MEGABYTE


def test_soft_output_limit_without_further_commands(start):
    server = start([("client-output-buffer-limit", "normal 0 1mb 1")])
    with server.connect() as greedy, server.connect() as other:
        other.do("SET", "big", "x" * 20 * MEGABYTE)
        greedy.command("GET", "big")
        await_value(lambda: int(other.info("clients")["connected_clients"]), lambda count: count == 1)
        assert len(greedy.until_close()) < 20 * MEGABYTE


def test_multi_queue_is_bounded_by_the_query_limit(start):
    server = start([("client-query-buffer-limit", "2mb")])
    with server.connect() as greedy, server.connect() as other:
        greedy.do("MULTI")
        greedy.send(encode(["SET", "k", "x" * 100000]) * 100)
        greedy.until_close()
        assert other.do("EXISTS", "k") == 0


def test_proto_max_bulk_len(start):
    server = start([("proto-max-bulk-len", "1mb")])
    with server.connect() as one:
        assert one.do("SET", "k", "x" * MEGABYTE) == b"OK"
        assert one.error("APPEND", "k", "y") == "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
        assert one.error("SETRANGE", "k", MEGABYTE,
                         "y") == "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
        assert one.error("SETBIT", "b", MEGABYTE * 8, "1") == "ERR bit offset is not an integer or out of range"
        one.send(b"*2\r\n$4\r\nECHO\r\n$1048577\r\n")
        assert one.until_close() == b"-ERR Protocol error: invalid bulk length\r\n"


def test_idle_clients_are_closed(start):
    server = start([("timeout", 1)])
    with server.connect() as idle:
        idle.do("PING")
        assert idle.until_close() == b""


# Memory

def fill(client, count, size, deadline=True):
    """Writes keys, and returns how many writes were refused."""
    commands = [["SET", f"key:{at}", bytes([65 + at % 26]) * size, *(["EX", 100000 + at] if deadline else [])]
                for at in range(count)]
    refused = 0
    for at in range(0, count, 200):
        for reply in client.pipeline(commands[at:at + 200]):
            refused += reply[0] == "-"
    return refused


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_eviction_keeps_memory_below_the_limit(start, policy):
    server = start([("maxmemory-policy", policy)])
    with server.connect() as one:
        limit = int(one.info("memory")["used_memory"]) + 20 * MEGABYTE
        one.do("CONFIG", "SET", "maxmemory", limit)
        assert fill(one, 60000, 1000) == 0
        info = one.info("memory", "stats")
        assert int(info["used_memory"]) <= limit + 2 * MEGABYTE
        assert int(info["evicted_keys"]) > 20000
        assert 5000 < one.do("DBSIZE") < 40000


def test_volatile_policies_leave_other_keys_alone(start):
    server = start([("maxmemory-policy", "volatile-lru")])
    with server.connect() as one:
        one.do("CONFIG", "SET", "maxmemory", int(one.info("memory")["used_memory"]) + 10 * MEGABYTE)
        for at in range(0, 1000):
            one.do("SET", f"stay:{at}", "x" * 1000)
        assert fill(one, 30000, 1000) == 0
        assert one.do("EXISTS", *(f"stay:{at}" for at in range(1000))) == 1000


def test_noeviction_refuses_writes_only(start):
    server = start()
    with server.connect() as one:
        one.do("SET", "k", "v")
        limit = int(one.info("memory")["used_memory"]) + 5 * MEGABYTE
        one.do("CONFIG", "SET", "maxmemory", limit)
        assert fill(one, 20000, 1000) > 10000
        assert one.error("SET", "k", "x" * 2000) == "OOM command not allowed when used memory > 'maxmemory'."
        assert one.do("GET", "k") == b"v"
        one.do("MULTI")
        assert one.error("SET", "k", "x" * 2000).startswith("OOM command not allowed")
        assert one.error("EXEC").startswith("EXECABORT")
        assert int(one.info("memory")["used_memory"]) <= limit + 2 * MEGABYTE
        assert one.do("DEL", "k") == 1
        one.do("FLUSHALL", "SYNC")
        await_value(lambda: int(one.info("memory")["used_memory"]), lambda used: used < limit)
        assert one.do("SET", "k", "v") == b"OK"


def test_a_limit_lowered_while_running(start):
    server = start([("maxmemory-policy", "allkeys-lru")])
    with server.connect() as one:
        base = int(one.info("memory")["used_memory"])
        fill(one, 20000, 1000)
        one.do("CONFIG", "SET", "maxmemory", base + 10 * MEGABYTE)

        def used():
            one.do("SET", "k", "v")
            return int(one.info("memory")["used_memory"])
        await_value(used, lambda value: value <= base + 12 * MEGABYTE)


def test_one_value_larger_than_the_limit(start):
    server = start([("maxmemory-policy", "allkeys-random")])
    with server.connect() as one:
        limit = int(one.info("memory")["used_memory"]) + 5 * MEGABYTE
        one.do("CONFIG", "SET", "maxmemory", limit)
        one.call("SETRANGE", "big", 50 * MEGABYTE, "x")
        one.call("SET", "other", "x")
        await_value(lambda: (one.call("SET", "other", "x"), int(one.info("memory")["used_memory"]))[1],
                    lambda used: used <= limit + 2 * MEGABYTE)
        assert one.do("PING") == b"PONG"


# Expiry

def test_expired_keys_go_by_themselves(start):
    server = start()
    with server.connect() as one:
        fill(one, 1000, 10, deadline=False)
        commands = [["SET", f"gone:{at}", "x", "PX", 50 + at % 200] for at in range(10000)]
        assert all(reply == ("+", b"OK") for reply in one.pipeline(commands))
        await_value(lambda: one.do("DBSIZE"), lambda size: size == 1000)
        assert int(one.info("stats")["expired_keys"]) == 10000


def test_without_active_expiry_keys_go_when_touched(start):
    server = start()
    with server.connect() as one:
        one.do("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        one.do("SET", "k", "v", "PX", 1)
        await_value(lambda: one.do("GET", "k"), lambda value: value is None)
        one.do("DEBUG", "SET-ACTIVE-EXPIRE", 1)
        assert one.do("EXISTS", "k") == 0


def test_a_deadline_moved_keeps_its_key(start):
    server = start()
    with server.connect() as one:
        for at in range(500):
            one.pipeline([["SET", f"k{at}", "x", "PX", 100],
                          [["PERSIST", f"k{at}"], ["EXPIRE", f"k{at}", 1000]][at % 2]])
        one.do("SET", "last", "x", "PX", 300)
        await_value(lambda: one.do("DBSIZE"), lambda size: size == 500)
        assert one.do("EXISTS", *(f"k{at}" for at in range(500))) == 500


def test_closed_early(start):
    """Connections that come and go without a word."""
    server = start()
    for _ in range(500):
        server.connect().close()
    with server.connect() as one:
        assert plain(one.call("PING")) == b"PONG"
        await_value(lambda: int(one.info("clients")["connected_clients"]), lambda count: count == 1)
        with pytest.raises(Closed):
            one.do("QUIT")
            one.reply()


# Memory of clients

def test_the_client_that_holds_most_is_evicted(start):
    server = start([("maxmemory-clients", 3 * MEGABYTE)])
    with server.connect() as boss, server.connect() as small, server.connect() as spared, server.connect() as greedy:
        boss.do("CLIENT", "NO-EVICT", "ON")
        spared.do("CLIENT", "NO-EVICT", "ON")
        for client in (spared, greedy):
            client.do("MULTI")
        spared.do("SET", "k", "x" * 5 * MEGABYTE)
        with pytest.raises(Closed):  # before it is answered, or soon after
            assert greedy.do("SET", "k", "x" * 5 * MEGABYTE) == b"QUEUED"
            greedy.reply()
        await_value(lambda: int(boss.info("stats")["evicted_clients"]), lambda count: count == 1)
        assert small.do("PING") == b"PONG"
        assert spared.do("EXEC") == [b"OK"]


def test_the_working_directory_can_be_set(start, tmp_path):
    server = start([("enable-protected-configs", "yes")])
    with server.connect() as one:
        assert one.do("CONFIG", "SET", "dir", str(tmp_path)) == b"OK"
        assert os.readlink(f"/proc/{server.pid}/cwd") == str(tmp_path)
        assert one.call("CONFIG", "SET", "dir", str(tmp_path / "missing"))[0] == "-"
        assert os.readlink(f"/proc/{server.pid}/cwd") == str(tmp_path)
