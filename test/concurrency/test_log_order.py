"""Several connections write to the same keys from several threads: what replicas are told, in its order, has to give
exactly the data that the primary has."""

import os
import random

import pytest

from support.crowd import together, turns
from support.keyspace import assert_equal, await_caught_up, read_all
from support.replica import FakeReplica
from support.resp import encode

ROUNDS = int(os.environ.get("LARDER_LOG_ROUNDS", "1"))
TURNS = turns(200)
KEYS = 12
WIDE = 300      # keys of a transaction that is too wide to run at once
LONG = 70000
SHIFT = 10 ** 7


def key(rng):
    return b"k:%d" % rng.randrange(KEYS)


def commands(rng):
    """Commands whose outcome depends on the order in which they meet others."""
    roll = rng.randrange(100)
    if roll < 20:
        return [(b"APPEND", key(rng), b"%d," % rng.randrange(1000))]
    if roll < 30:
        return [(b"SET", key(rng), b"%d" % rng.getrandbits(30), *rng.choice([(), (b"NX",), (b"XX", b"GET"), (b"KEEPTTL",),
                                                                             (b"EX", b"100000")]))]
    if roll < 38:
        return [(b"GETDEL", key(rng)), (b"INCR", b"n:%d" % rng.randrange(3))]
    if roll < 46:
        return [(rng.choice([b"RENAME", b"RENAMENX"]), key(rng), key(rng))]
    if roll < 54:
        return [(b"COPY", key(rng), key(rng), b"REPLACE"), (b"COPY", key(rng), key(rng), b"DB", b"1")]
    if roll < 62:
        return [(b"MSET", key(rng), b"a", key(rng), b"b", key(rng), b"c")]
    if roll < 66:
        return [(b"MOVE", key(rng), b"1"), (b"SELECT", b"%d" % rng.randrange(2))]
    if roll < 72:
        return [(b"SETRANGE", key(rng), b"%d" % rng.randrange(40), b"<%d>" % rng.randrange(100))]
    if roll < 76:
        return [(b"BITOP", rng.choice([b"AND", b"XOR"]), key(rng), key(rng), key(rng)), (b"INCRBYFLOAT", b"f", b"0.5")]
    if roll < 82:
        return [(b"PEXPIRE", key(rng), b"%d" % rng.choice([1, 3, 10 ** 7])), (b"PERSIST", key(rng))]
    if roll < 86:
        return [(b"SET", key(rng), b"short", b"PX", b"%d" % rng.randrange(1, 4)), (b"GET", key(rng))]
    if roll < 94:
        return [(b"MULTI",), (b"APPEND", key(rng), b"t"), (b"INCR", b"n:%d" % rng.randrange(3)), (b"RENAME", key(rng), key(rng)),
                (b"SELECT", b"1"), (b"APPEND", key(rng), b"u"), (b"EXEC",), (b"SELECT", b"0")]
    if roll < 96:
        return [(b"SWAPDB", b"0", b"1")]
    if roll < 97:
        return [(rng.choice([b"FLUSHDB", b"FLUSHALL"]),)]
    if roll < 98:
        return [(b"APPEND", b"long", b"x" * LONG), (b"SETRANGE", b"long", b"%d" % LONG, b"y" * LONG), (b"DEL", b"long")]
    if roll < 99:
        return [(b"MULTI",), *((b"INCR", b"w:%d" % i) for i in range(WIDE)), (b"EXEC",)]
    return [(b"DEL", *(b"w:%d" % i for i in range(WIDE)))]


def write(client, seed):
    rng = random.Random(seed)
    for _ in range(TURNS):
        batch = [command for _ in range(rng.randrange(1, 20)) for command in commands(rng)]
        client.send(b"".join(map(encode, batch)))
        client.replies(len(batch))


def later(words):
    """The same with its time far away: nothing may expire while it is replayed, but by its DEL."""
    at = 2 if words[0].upper() == b"PEXPIREAT" else 4 if len(words) > 4 and words[3].upper() == b"PXAT" else None
    return words if at is None else [*words[:at], b"%d" % (int(words[at]) + SHIFT), *words[at + 1:]]


def replay(commands, server):
    """The data that a stream makes, in a redis-server that nobody else writes to."""
    with server.connect() as client:
        db = 0
        for at in range(0, len(commands), 1000):
            words = []
            for command in commands[at:at + 1000]:
                if command.db != db:
                    db = command.db
                    words.append((b"SELECT", b"%d" % db))
                words.append(later(command.args))
            client.send(b"".join(map(encode, words)))
            for one, reply in zip(words, client.replies(len(words))):
                assert reply[0] != "-", f"{one[:4]!r} cannot be replayed: {reply[1]!r}"


@pytest.mark.parametrize("seed", range(1, ROUNDS + 1))
@pytest.mark.parametrize("threads", (2, 4))
def test_the_stream_is_the_data(start, start_oracle, threads, seed):
    server = start([("threads", threads), ("client-output-buffer-limit", "replica 0 0 0")])
    # A replica that replays expires nothing by itself, as a real one.
    copy = start_oracle([("replicaof", "127.0.0.1", server.port), ("repl-diskless-sync-delay", 0)])
    with FakeReplica(server.address, timeout=120) as replica, server.connect() as client:
        replica.sync()
        together(server, [(write, 100 * seed + i) for i in range(4)])
        client.do("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        # Whatever expired is looked for, so that its DEL is in the stream as well.
        for db in (0, 1):
            client.do("SELECT", db)
            client.do("EXISTS", *(b"k:%d" % i for i in range(KEYS)))
        client.do("SELECT", 0)
        client.do("SET", "the end", "1")
        replica.read_until_command(lambda command: command.args == [b"SET", b"the end", b"1"])
        data = read_all(server)
        assert replica.offset <= client.do("ROLE")[1]
        await_caught_up(server, copy)
        assert_equal(read_all(copy), data, names=("a redis-server as replica", "the primary"))
        model = start_oracle()
        replay(replica.commands, model)
        made = {db: {name: (value, when and when - SHIFT) for name, (value, when) in keys.items()}
                for db, keys in read_all(model).items()}
        assert_equal(made, data, names=("what was replayed", "the primary"))
