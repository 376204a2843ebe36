"""Single commands that hand something out, move it or let it expire, raced for by several connections."""

import random

import pytest

from support.crowd import Background, together, turns, values_of
from support.resp import plain

TURNS = turns(3000)


@pytest.fixture(params=(1, 2, 4))
def server(start, request):
    return start([("threads", request.param)])


# Tokens: each is handed out once

def exchange(client, name):
    return [client.do("GETSET", "token", f"{name}:{turn}") for turn in range(TURNS)]


def test_getset_hands_each_value_out_once(server):
    with server.connect() as one:
        one.do("SET", "token", "first")
        got = sum(together(server, [(exchange, name) for name in range(4)]), [one.do("GET", "token")])
        put = [b"first", *(b"%d:%d" % (name, turn) for name in range(4) for turn in range(TURNS))]
        # What is there at the end came out of no GETSET; everything else came out of exactly one.
        assert sorted(got) == sorted(put)


def take(client, name, count):
    return [token for at in range(count) if (token := client.do("GETDEL", f"t:{at}"))]


def test_getdel_hands_each_value_out_once(server):
    with server.connect() as one:
        one.do("MSET", *(word for at in range(TURNS) for word in (f"t:{at}", at)))
        got = sum(together(server, [(take, name, TURNS) for name in range(4)]), [])
        assert sorted(map(int, got)) == list(range(TURNS))
        assert one.do("DBSIZE") == 0


def win(client, name):
    return [at for at in range(TURNS) if client.do("SET", f"lock:{at}", name, "NX") == b"OK"]


def test_set_nx_is_won_once(server):
    won = sum(together(server, [(win, name) for name in range(4)]), [])
    assert sorted(won) == list(range(TURNS))


# Whole values

def replace(client, name, command):
    letter = b"abc"[name:name + 1]
    for turn in range(TURNS // 3):
        client.do("SET", f"new:{name}", letter * random.randint(1, 20000))
        if command == "RENAME":
            client.do("RENAME", f"new:{name}", "target")
        else:
            assert client.do("COPY", f"new:{name}", "target", "REPLACE") == 1


def see_whole(client):
    wrong = 0
    for _ in range(TURNS):
        value = client.do("GET", "target")
        wrong += not value or value != value[:1] * len(value)
    return wrong


@pytest.mark.parametrize("command", ("RENAME", "COPY"))
def test_a_replaced_value_is_old_or_new(server, command):
    with server.connect() as one:
        one.do("SET", "target", "aaa")
    found = together(server, [*[(replace, name, command) for name in range(3)], (see_whole,), (see_whole,)])
    assert values_of(found) == [0, 0]


def move(client):
    for _ in range(TURNS // 2):
        for home in (0, 1):
            client.pipeline([["SELECT", home], ["MOVE", "token", 1 - home]])


def find_in_both(client):
    wrong = 0
    for _ in range(TURNS // 2):
        replies = client.pipeline([["MULTI"], ["SELECT", 0], ["GET", "token"], ["SELECT", 1], ["GET", "token"],
                                   ["EXEC"]])
        values = plain(replies[-1])
        wrong += sorted([values[1] or b"", values[3] or b""]) != [b"", b"token"]
    return wrong


def test_a_moved_key_is_in_one_database(server):
    with server.connect() as one:
        one.do("SET", "token", "token")
    found = together(server, [(move,), (move,), (find_in_both,), (find_in_both,)])
    assert values_of(found) == [0, 0]


def flush_now_and_then(client):
    for _ in range(TURNS // 10):
        client.do("FLUSHDB")


def write_group(client, name):
    for turn in range(TURNS):
        client.do("MSET", *(word for at in range(8) for word in (f"g:{at}", f"{name}:{turn}")))


def read_group(client):
    torn = 0
    for _ in range(TURNS):
        torn += len(set(client.do("MGET", *(f"g:{at}" for at in range(8))))) != 1
    return torn


def test_flushdb_takes_all_or_nothing(server):
    found = together(server, [(write_group, 0), (write_group, 1), (read_group,), (read_group,),
                              (flush_now_and_then,)])
    assert values_of(found) == [0, 0]


# Expiry

def persist(client, name):
    """Whether PERSIST comes in time or not, what follows has to agree with what it said."""
    kept = 0
    for turn in range(TURNS // 3):
        key = f"e:{name}:{turn % 8}"
        client.do("SET", key, f"{key}={turn}", "PX", random.randint(1, 2))
        for _ in range(random.randint(0, 20)):
            client.do("GET", f"e:{(name + 1) % 3}:{turn % 8}")
        done, value, ttl = plain_all(client.pipeline([["PERSIST", key], ["GET", key], ["PTTL", key]]))
        assert (done, value, ttl) in ((1, f"{key}={turn}".encode(), -1), (0, None, -2))
        kept += done
    return kept


def plain_all(replies):
    return [plain(reply) for reply in replies]


def read_expiring(client):
    for turn in range(TURNS):
        key = f"e:{turn % 3}:{turn % 8}"
        value, ttl = plain(client.pipeline([["MULTI"], ["GET", key], ["PTTL", key], ["EXEC"]])[-1])
        assert (value is None) == (ttl == -2), (value, ttl)
        assert value is None or value.startswith(key.encode() + b"=")


def test_expiry_against_persist(server):
    together(server, [*[(persist, name) for name in range(3)], (read_expiring,), (read_expiring,)])
    with server.connect() as one:
        # Whoever was not persisted goes, with nobody asking for it.
        while any(one.do("PTTL", key) >= 0 for key in one.do("KEYS", "*")):
            pass


# SCAN

def churn(client, name):
    for turn in range(200):
        keys = [f"go:{name}:{turn}:{at}" for at in range(20)]
        client.pipeline([["SET", key, "x"] for key in keys])
        client.pipeline([["DEL", key] for key in keys])


def scan(client, count):
    cursor, found = b"0", []
    while True:
        cursor, keys = client.do("SCAN", cursor, "COUNT", count)
        found += keys
        if cursor == b"0":
            return found


def scan_often(client, stay):
    for turn in range(turns(60)):
        found = set(scan(client, random.choice((1, 10, 100, 1000))))
        missing = stay - found
        assert not missing, f"scan {turn} missed {sorted(missing)[:5]}"
        assert all(key.startswith(b"go:") for key in found - stay)


def test_scan_reports_all_that_stay(server):
    stay = {b"stay:%d" % at for at in range(500)}
    with server.connect() as one:
        one.do("MSET", *(word for key in stay for word in (key, "x")))
    with Background(server, [(churn, name) for name in range(2)]):
        together(server, [(scan_often, stay), (scan_often, stay)])
