"""Atomicity and progress with several connections on several workers.

Writers and readers run as processes, so that they are really concurrent. Nothing here asserts a time: slow commands may
not stop the progress of others, which shows as replies that arrive before the slow command's.
"""

import multiprocessing
import random

import pytest

from support.resp import Client, encode, plain

THREADS = 4
KEYS = [b"key:%d" % at for at in range(24)]
TURNS = 5000
MEGABYTE = 1 << 20


@pytest.fixture
def server(start):
    return start([("threads", THREADS)])


def _child(work, address, arguments, results):
    try:
        with Client(address) as client:
            results.put((True, work(client, *arguments)))
    except BaseException as failure:  # noqa: BLE001 - whatever it is, the parent has to see it
        results.put((False, repr(failure)))
        raise


def together(server, jobs):
    """Runs every (work, arguments...) as a process with a connection of its own; their results, in any order."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=_child, args=(work, server.address, arguments, results)) for work,
                *arguments in jobs]
    for child in children:
        child.start()
    try:
        found = [results.get(timeout=300) for _ in children]
    finally:
        for child in children:
            child.join(10)
            if child.is_alive():
                child.kill()
                child.join()
    assert all(good for good, _ in found), found
    return [value for _, value in found]


# MSET and MGET

def write_all(client, name, command):
    rng = random.Random(name)
    for turn in range(TURNS):
        keys = list(KEYS)
        rng.shuffle(keys)
        value = b"%d:%d" % (name, turn)
        client.do(command, *(word for key in keys for word in (key, value)))


def read_all(client, name):
    rng = random.Random(name)
    torn = 0
    for _ in range(TURNS):
        keys = list(KEYS)
        rng.shuffle(keys)
        torn += len(set(client.do("MGET", *keys))) != 1
    return torn


def test_mset_is_seen_whole(server):
    with server.connect() as one:
        one.do("MSET", *(word for key in KEYS for word in (key, b"0")))
    found = together(server, [*[(write_all, at, "MSET") for at in range(3)], *[(read_all, at) for at in range(3)]])
    assert [value for value in found if value is not None] == [0, 0, 0]


def read_in_transactions(client, name):
    torn = 0
    for _ in range(TURNS // 3):
        replies = client.pipeline([["MULTI"], *(["GET", key] for key in KEYS), ["EXEC"]])
        torn += len(set(plain(replies[-1]))) != 1
    return torn


def test_mset_is_seen_whole_by_transactions(server):
    with server.connect() as one:
        one.do("MSET", *(word for key in KEYS for word in (key, b"0")))
    found = together(server, [*[(write_all, at, "MSET") for at in range(2)],
                              *[(read_in_transactions, at) for at in range(2)]])
    assert [value for value in found if value is not None] == [0, 0]


# MSETNX

def claim(client, name, rounds):
    """Tries to claim overlapping sets of keys, round by round."""
    won = 0
    rng = random.Random(name)
    for number in range(rounds):
        keys = [b"claim:%d:%d" % (number, at) for at in range(6)]
        rng.shuffle(keys)
        # Any two sets of four out of six share a key.
        won += client.do("MSETNX", *(word for key in keys[:4] for word in (key, b"%d" % name)))
    return won


def test_msetnx_is_exclusive(server):
    rounds = 1500
    won = together(server, [(claim, at, rounds) for at in range(4)])
    assert sum(won) == rounds
    with server.connect() as one:
        for number in range(rounds):
            values = [value for value in one.do("MGET",
                                                *(b"claim:%d:%d" % (number,
                                                                    at) for at in range(6))) if value is not None]
            assert len(values) == 4 and len(set(values)) == 1


# Transactions

def transfer(client, name, accounts):
    rng = random.Random(name)
    for _ in range(TURNS):
        giver, taker = rng.sample(accounts, 2)
        amount = rng.randint(1, 50)
        replies = client.pipeline([["MULTI"], ["DECRBY", giver, amount], ["INCRBY", taker, amount], ["EXEC"]])
        assert replies[-1][0] == "*"


def audit(client, accounts, total):
    wrong = 0
    for turn in range(TURNS):
        if turn % 2:
            values = client.do("MGET", *accounts)
        else:
            values = plain(client.pipeline([["MULTI"], *(["GET", key] for key in accounts), ["EXEC"]])[-1])
        wrong += sum(map(int, values)) != total
    return wrong


def test_transfers_keep_the_sum(server):
    accounts = [b"account:%d" % at for at in range(10)]
    with server.connect() as one:
        one.do("MSET", *(word for key in accounts for word in (key, 1000)))
    found = together(server,
                     [*[(transfer, at, accounts) for at in range(4)], *[(audit, accounts, 10000) for _ in range(2)]])
    assert [value for value in found if value is not None] == [0, 0]
    with server.connect() as one:
        assert sum(map(int, one.do("MGET", *accounts))) == 10000


def optimistic(client, keys, turns):
    """Increments with WATCH, GET and SET; tries again when EXEC finds a change."""
    retries = 0
    for turn in range(turns):
        key = keys[turn % len(keys)]
        while True:
            _, value = client.pipeline([["WATCH", key], ["GET", key]])
            replies = client.pipeline([["MULTI"], ["SET", key, int(value[1] or 0) + 1], ["EXEC"]])
            if replies[-1][1] is not None:
                break
            retries += 1
    return retries


def test_watch_never_loses_an_update(server):
    keys = [b"w:0", b"w:1"]
    together(server, [(optimistic, keys, 2000) for _ in range(4)])
    with server.connect() as one:
        assert [int(value) for value in one.do("MGET", *keys)] == [4000, 4000]


def watch_two(client, name):
    """Keeps two keys equal: whoever sees them differ inside a successful transaction was told a lie."""
    for _ in range(400):
        while True:
            values = client.pipeline([["WATCH", "x", "y"], ["GET", "x"], ["GET", "y"]])[1:]
            replies = client.pipeline([["MULTI"], ["INCR", "x"], ["INCR", "y"], ["EXEC"]])
            if replies[-1][1] is None:
                continue
            assert values[0] == values[1], values
            assert replies[-1][1][0] == replies[-1][1][1] == (":", int(values[0][1] or 0) + 1)
            break


def test_watch_over_two_keys(server):
    together(server, [(watch_two, at) for at in range(4)])


# Single keys, renames, databases

def count_up(client, turns):
    for _ in range(turns // 50):
        client.pipeline([["INCR", "n"]] * 50)


def test_increments_are_not_lost(server):
    together(server, [(count_up, 20000) for _ in range(4)])
    with server.connect() as one:
        assert one.do("GET", "n") == b"80000"


def rename_around(client, name):
    rng = random.Random(name)
    for _ in range(TURNS * 2):
        one, two = rng.sample(["r:0", "r:1", "r:2"], 2)
        client.call("RENAMENX", one, two)


def count_tokens(client):
    return [client.do("EXISTS", "r:0", "r:1", "r:2") for _ in range(TURNS * 2)]


def test_a_renamed_key_is_always_somewhere(server):
    with server.connect() as one:
        one.do("SET", "r:0", "token")
    found = together(server, [*[(rename_around, at) for at in range(3)], (count_tokens,)])
    assert set(next(value for value in found if value)) == {1}


def swap(client):
    for _ in range(TURNS):
        client.do("SWAPDB", 0, 1)


def write_pair(client, name):
    for turn in range(TURNS):
        client.do("MSET", "p", f"{name}{turn}", "q", f"{name}{turn}")


def read_pair(client):
    torn = 0
    for _ in range(TURNS):
        one, two = client.do("MGET", "p", "q")
        torn += one != two
    return torn


def test_swapdb_and_flushes_are_seen_whole(server):
    found = together(server, [(swap,), (write_pair, "a"), (write_pair, "b"), (read_pair,), (flush,)])
    assert [value for value in found if value is not None] == [0]


def flush(client):
    for turn in range(TURNS // 5):
        client.do("FLUSHALL" if turn % 2 else "FLUSHDB")


# Progress beside slow commands

def while_slow(server, command, wanted, others=3):
    """Runs a slow command and lets others work meanwhile; all have to be answered, and the slow one as wanted."""
    slow = server.connect()
    clients = [server.connect() for _ in range(others)]
    for at, one in enumerate(clients):
        one.do("SET", f"own:{at}", 0)
    slow.command(*command)
    turns = 0
    while not slow.has_reply(0) or turns < 100:
        for at, one in enumerate(clients):
            one.command("INCR", f"other:{at}")
        for one in clients:
            assert one.reply()[0] == ":"
        turns += 1
    reply = slow.reply()
    assert wanted(reply), repr(reply)[:200]
    for one in [slow, *clients]:
        assert one.do("PING") == b"PONG"
        one.close()


@pytest.mark.slow
def test_progress_beside_a_large_setrange(server):
    size = 100 * MEGABYTE
    while_slow(server, ["SETRANGE", "big", size - 1, "x"], lambda reply: reply == (":", size))
    with server.connect() as one:
        assert one.do("STRLEN", "big") == size
        assert one.do("GETRANGE", "big", 0, 3) == b"\0\0\0\0"
    while_slow(server, ["DEL", "big"], lambda reply: reply == (":", 1))


@pytest.mark.slow
def test_progress_beside_keys_and_flushall_of_a_million(server):
    count = 10 ** 6
    with server.connect() as one:
        one.do("DEBUG", "POPULATE", count)
        assert one.do("DBSIZE") == count
    while_slow(server, ["KEYS", "key:*"], lambda reply: reply[0] == "*" and len(reply[1]) == count)
    while_slow(server, ["KEYS", "nothing*"], lambda reply: reply == ("*", []))
    while_slow(server, ["FLUSHALL"], lambda reply: reply == ("+", b"OK"))
    with server.connect() as one:
        assert one.do("EXISTS", "key:1", "key:999999") == 0


@pytest.mark.slow
def test_progress_beside_large_readers(server):
    """Readers of a large value that nobody reads from do not hold up its writers."""
    with server.connect() as writer:
        writer.do("SETRANGE", "big", 20 * MEGABYTE - 1, "x")
        readers = [server.connect(receive_buffer=4096) for _ in range(4)]
        for one in readers:
            one.sock.sendall(encode(["GET", "big"]))
        for turn in range(50):
            assert writer.do("SETRANGE", "big", turn, "y") == 20 * MEGABYTE
        for one in readers:
            reply = one.reply()
            assert len(reply[1]) == 20 * MEGABYTE and reply[1][-1:] == b"x"
            # A snapshot of one moment: a run of y, then only zeroes up to the end.
            assert reply[1].rstrip(b"x").lstrip(b"y").strip(b"\0") == b""
            one.close()
