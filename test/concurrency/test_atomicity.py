"""Commands over several keys, transactions and WATCH are atomic, with several connections on one worker and on several.

Writers and readers run as processes, so that they are really concurrent.
"""

import random

import pytest

from support.crowd import together, turns, values_of
from support.resp import plain

KEYS = [b"key:%d" % at for at in range(24)]
TURNS = turns(3000)


@pytest.fixture(params=(1, 2, 4))
def server(start, request):
    return start([("threads", request.param)])


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
    assert values_of(found) == [0, 0, 0]


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
    assert values_of(found) == [0, 0]


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
    rounds = turns(600)
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
    assert values_of(found) == [0, 0]
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
    together(server, [(optimistic, keys, TURNS) for _ in range(4)])
    with server.connect() as one:
        assert [int(value) for value in one.do("MGET", *keys)] == [2 * TURNS, 2 * TURNS]


def watch_two(client, name):
    """Keeps two keys equal: whoever sees them differ inside a successful transaction was told a lie."""
    for _ in range(turns(150)):
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
    for _ in range(turns // 10):
        client.pipeline([["INCR", "n"]] * 10)


def test_increments_are_not_lost(server):
    together(server, [(count_up, 20 * TURNS) for _ in range(4)])
    with server.connect() as one:
        assert one.do("GET", "n") == b"%d" % (4 * 20 * TURNS)


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
    assert values_of(found) == [0]


def flush(client):
    for turn in range(TURNS // 5):
        client.do("FLUSHALL" if turn % 2 else "FLUSHDB")
