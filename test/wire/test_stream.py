"""The differential test of the log: the same commands, to a larder-server and to a redis-server, have to arrive at their
replicas as the same effects: the same words in the same case, the same databases, the same transactions.

Where SELECTs stand, and how often the primary pings, is each server's own affair. Differences that are meant, all of
which leave the same data:

- BITFIELD whose operations all fail has lengthened the string: Redis says nothing of that, ours does (may_fail()).
- SET with a time that is over: Redis sets a key that the next command finds expired; ours removes it at once, with a
  DEL behind the SET (without_past(), test_a_set_with_a_time_that_is_over).
- WATCH of a key that has expired removes it, where Redis remembers that it had expired; BITOP without a result, to a key
  that has expired: Redis says BITOP, ours only that the key expired; RANDOMKEY looks at other keys in every server. These
  three are left out where keys expire (test_what_has_expired).
"""

import itertools
import os
import time

import pytest

from differential.stream import FAR_FUTURE, KEYS, Stream
from support.crowd import SHARE
from support.keyspace import assert_equal, read_all
from support.replica import FakeReplica
from support.resp import encode

ROUNDS = int(os.environ.get("LARDER_STREAM_ROUNDS", "0"))
SEEDS = range(1000, 1000 + ROUNDS) if ROUNDS else (1, 2, 3)
CHUNKS = max(4, int(30 * SHARE))
CHUNK_COMMANDS = 150
MARKER = b"the marker"

# What a relative time became depends on when the command ran: the servers are not told at the same moment.
TOLERANCE_MS = 30000
ABOUT_ALL = (b"MULTI", b"EXEC", b"DISCARD", b"SELECT", b"SWAPDB", b"FLUSHALL", b"FLUSHDB", b"RESET")

# Generators of the stream whose commands have effects, or decide about those of others.
KINDS = """set get getset getex getdel setnx setex mget mset append setrange increment incrbyfloat setbit bitop bitfield
remove exists rename copy move swapdb keys_matching randomkey dbsize expire ttl persist flush multi execute watch select
reset""".split()


def normal(commands):
    """(transaction, db, words) of a stream's commands; transactions are numbered from 0."""
    numbers = {None: None}
    return [(numbers.setdefault(command.transaction, len(numbers) - 1), command.db, command.args) for command in commands]


def same_words(ours, theirs):
    if len(ours) != len(theirs):
        return False
    for at, (one, other) in enumerate(zip(ours, theirs)):
        if one == other:
            continue
        is_time = at == 2 if ours[0] == b"PEXPIREAT" else at == 4 and ours[3] == b"PXAT"
        # What was given as an absolute time is decades away, and exact.
        if not is_time or max(int(one), int(other)) >= FAR_FUTURE * 1000 or abs(int(one) - int(other)) > TOLERANCE_MS:
            return False
    return True


def told(said, effect):
    """What a pair of servers was told of the keys of an effect."""
    return [words for words in said if set(words[1:]) & set(effect[2][1:]) or words[0].upper() in ABOUT_ALL]


def assert_same_stream(ours, theirs, said=()):
    """`said` is what the servers were told, for the report."""
    ours, theirs = normal(ours), normal(theirs)
    for at, (one, other) in enumerate(itertools.zip_longest(ours, theirs)):
        if one is None or other is None or one[:2] != other[:2] or not same_words(one[2], other[2]):
            raise AssertionError(
                f"the streams part at effect {at}:\n  larder {one}\n  redis  {other}\nbefore that: {ours[max(0, at - 5):at]}\n"
                f"afterwards: larder {ours[at + 1:at + 4]}\n            redis  {theirs[at + 1:at + 4]}\n"
                f"they were told: {told(said, one or other)}")


class Pair:
    """Both servers, a connection to each, and a replica that listens to each."""

    def __init__(self, start, start_oracle, directives=()):
        self.servers = [start(directives), start_oracle([("repl-diskless-sync-delay", 0), *directives])]
        self.clients = [server.connect() for server in self.servers]
        self.replicas = [FakeReplica(server.address) for server in self.servers]
        self.taken = [0, 0]
        self.chunks = 0
        for replica in self.replicas:
            assert replica.sync() == "full"

    def close(self):
        for replica in self.replicas:
            replica.close()

    def tell(self, *commands):
        """Sends the commands to both as one pipeline; the replies of each."""
        data = b"".join(encode(command) for command in commands)
        for client in self.clients:
            client.send(data)
        return [client.replies(len(commands)) for client in self.clients]

    def fresh(self):
        """The effects since the last call."""
        self.chunks += 1
        found = []
        for i, (server, replica) in enumerate(zip(self.servers, self.replicas)):
            name = MARKER + b"%d" % self.chunks
            with server.connect() as client:
                client.do("SET", name, "1")
            replica.read_until_command(lambda command, name=name: command.args[:2] == [b"SET", name])
            effects = [command for command in replica.commands if not command.args[1:2] == [name]]
            replica.commands.clear()
            found.append(effects)
        return found

    def compare(self, *commands):
        """Both are told this, and their effects have to be equal; these effects."""
        self.tell(*commands)
        ours, theirs = self.fresh()
        assert_same_stream(ours, theirs, commands)
        return [words for _, _, words in normal(ours)]


@pytest.fixture
def pair(start, start_oracle):
    made = []

    def make(directives=()):
        made.append(Pair(start, start_oracle, directives))
        return made[-1]

    yield make
    for one in made:
        one.close()


# Random streams

def without_past(args):
    """A SET whose time is over gets one that is not."""
    if args[0].upper() != b"SET":
        return args
    args = list(args)
    for at in range(4, len(args)):
        if args[at - 1].upper() in (b"EXAT", b"PXAT") and args[at].isdigit() and int(args[at]) < FAR_FUTURE:
            args[at] = b"%d" % (FAR_FUTURE * 1000 + int(args[at]))
    return args


def random_stream(seed, left_out=()):
    stream = Stream(seed)
    chosen = [(weight, entry) for weight, entry in zip(stream.weights, stream.methods)
              if entry[2].__name__ in KINDS and entry[2].__name__ not in left_out]
    assert len(chosen) == len(KINDS) - len(left_out)
    stream.weights, stream.methods = map(list, zip(*chosen))
    return stream


def may_fail(words):
    return words[0].upper() == b"BITFIELD" and any(word.upper() == b"FAIL" for word in words)


def chunk_of(stream):
    commands = []
    while len(commands) < CHUNK_COMMANDS:
        commands += stream.transaction(0).commands if stream.chance(0.05) else [stream.one()]
    return [without_past(args) for args in commands if not may_fail(args)]


@pytest.mark.parametrize("seed", SEEDS)
def test_random_commands_have_the_same_effects(pair, seed):
    two = pair()
    stream = random_stream(seed)
    for _ in range(CHUNKS):
        two.compare(*chunk_of(stream))
    assert_equal(*map(read_all, two.servers), tolerance_ms=TOLERANCE_MS)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_commands_meet_keys_that_have_expired(pair, seed):
    """Nothing expires by itself, and what a chunk finds expired had expired before it began: who removes it is the first
    command that looks."""
    two = pair()
    two.tell([b"DEBUG", b"SET-ACTIVE-EXPIRE", b"0"])
    stream = random_stream(seed, ("watch", "randomkey", "bitop"))
    for _ in range(CHUNKS):
        keys = [key for key in KEYS if stream.chance(0.5)]
        two.tell([b"DISCARD"], *([b"SET", key, stream.value(), b"PX", b"1"] for key in keys))
        time.sleep(0.003)
        two.compare(*(args for args in chunk_of(stream) if args[0].upper() != b"WATCH"))


# One by one

def test_what_is_rewritten(pair):
    two = pair()
    later = b"%d" % (FAR_FUTURE * 1000)
    for commands, expected in [
            ([["set", "k", "v", "ex", "100000", "GET"]], b"SET"),
            ([["SET", "k", "v", "px", "100000000", "nx"]], None),
            ([["SET", "k", "v", "PX", "100000000", "XX"]], b"SET"),
            ([["set", "k", "v", "exat", FAR_FUTURE]], b"SET"),
            ([["Set", "k", "v", "get"]], b"Set"),
            ([["Set", "k", "v", "PXAT", later, "get"]], b"SET"),
            ([["SET", "k", "v", "PXAT", later]], b"SET"),
            ([["SET", "k", "v", "KEEPTTL"]], b"SET"),
            ([["setex", "k", "100000", "v"]], b"SET"),
            ([["PSETEX", "k", "100000000", "v"]], b"SET"),
            ([["getex", "k", "EX", "100000"]], b"PEXPIREAT"),
            ([["GETEX", "k", "persist"]], b"PERSIST"),
            ([["GETEX", "k", "persist"]], None),
            ([["GETEX", "k"]], None),
            ([["getex", "k", "pxat", later]], b"PEXPIREAT"),
            ([["getex", "k", "exat", "1"]], b"DEL"),
            ([["getdel", "k"]], None),
            ([["set", "k", "v"], ["getdel", "k"]], b"DEL"),
            ([["set", "n", "10"], ["incrbyfloat", "n", "0.5"]], b"SET"),
            ([["incrbyfloat", "fresh", "3"]], b"SET"),
            ([["expire", "n", "100000"]], b"PEXPIREAT"),
            ([["expire", "n", "100000", "nx"]], None),
            ([["EXPIRE", "n", "200000", "xx", "gt"]], b"PEXPIREAT"),
            ([["EXPIRE", "n", "300000", "LT"]], None),
            ([["PEXPIRE", "n", "100000000", "LT"]], b"PEXPIREAT"),
            ([["expireat", "n", FAR_FUTURE]], b"PEXPIREAT"),
            ([["pexpireat", "n", later]], b"pexpireat"),
            ([["PEXPIREAT", "n", later]], b"PEXPIREAT"),
            ([["expire", "n", "-1"]], b"DEL"),
            ([["set", "n", "1"], ["pexpireat", "n", "1"]], b"DEL"),
            ([["getset", "k", "w"]], b"SET"),
            ([["setnx", "k", "w"]], None),
            ([["setnx", "other", "w"]], b"setnx"),
            ([["mset", "a", "1", "a", "2"]], b"mset"),
            ([["msetnx", "a", "1", "b", "2"]], None),
            ([["append", "a", ""]], b"append"),
            ([["setrange", "a", "3", ""]], None),
            ([["setrange", "nothing", "0", ""]], None),
            ([["setbit", "bits", "9", "1"]], b"setbit"),
            ([["setbit", "bits", "9", "1"]], None),
            ([["bitfield", "bits", "get", "u8", "0"]], None),
            ([["bitfield", "bits", "set", "u8", "0", "7", "get", "u8", "0"]], b"bitfield"),
            ([["bitfield", "bits", "overflow", "fail", "incrby", "u2", "0", "100"]], None),
            ([["bitop", "and", "result", "none", "nothing"]], None),
            ([["bitop", "not", "result", "bits"]], b"bitop"),
            ([["bitop", "and", "result", "none"]], b"bitop"),
            ([["rename", "a", "a"]], None),
            ([["renamenx", "a", "k"]], None),
            ([["rename", "a", "z"]], b"rename"),
            ([["copy", "z", "z"]], None),
            ([["copy", "z", "z", "db", "3"]], b"copy"),
            ([["copy", "z", "k"]], None),
            ([["move", "z", "3"]], None),
            ([["move", "z", "4"]], b"move"),
            ([["persist", "k"]], None),
            ([["del", "none", "k", "none"]], b"del"),
            ([["unlink", "none"]], None),
            ([["swapdb", "0", "0"]], b"swapdb"),
            ([["swapdb", "3", "4"]], b"swapdb"),
            ([["flushdb"]], b"flushdb"),
            ([["flushdb", "async"]], b"flushdb"),
            ([["flushall", "sync"]], b"flushall")]:
        effects = two.compare(*commands)
        last = effects[-1][0] if len(effects) == len(commands) else None
        assert last == expected, (commands, effects)


def test_transactions(pair):
    two = pair()
    several = two.compare(["MULTI"], ["SET", "a", "1"], ["SELECT", "3"], ["incr", "a"], ["SELECT", "0"], ["GET", "a"],
                          ["SET", "b", "1"], ["EXEC"])
    assert several == [[b"SET", b"a", b"1"], [b"incr", b"a"], [b"SET", b"b", b"1"]]
    two.compare(["MULTI"], ["SET", "a", "1"], ["EXEC"])
    two.compare(["MULTI"], ["GET", "a"], ["EXEC"])
    two.compare(["MULTI"], ["EXEC"])
    two.compare(["MULTI"], ["SET", "a", "1"], ["DISCARD"])
    two.compare(["MULTI"], ["SET", "a", "1"], ["NOSUCH"], ["EXEC"])
    two.compare(["MULTI"], ["SET", "a", "x"], ["INCR", "a"], ["SET", "b", "2"], ["EXEC"])
    two.compare(["WATCH", "a"], ["SET", "a", "2"], ["MULTI"], ["SET", "a", "3"], ["EXEC"])
    two.compare(["MULTI"], ["SELECT", "5"], ["SET", "a", "3"], ["SWAPDB", "0", "5"], ["SET", "b", "3"], ["EXEC"])
    two.compare(["SET", "b", "4"], ["MULTI"], ["FLUSHALL"], ["EXEC"], ["MULTI"], ["SET", "c", "4"], ["FLUSHDB"],
                ["SET", "d", "4", "EX", "100000"], ["EXPIRE", "d", "-1"], ["EXEC"])
    two.compare(["MULTI"], ["SELECT", "1"], ["EXEC"], ["SET", "in", "1"])


def test_a_transaction_whose_keys_have_expired(pair):
    two = pair()
    two.tell(["DEBUG", "SET-ACTIVE-EXPIRE", "0"])
    two.tell(["SET", "a", "1", "PX", "1"], ["SET", "b", "1", "PX", "1"], ["SET", "c", "1", "PX", "1"],
             ["SET", "d", "1", "PX", "1"])
    time.sleep(0.003)
    two.compare(["MULTI"], ["GET", "a"], ["EXEC"], ["MULTI"], ["GET", "b"], ["INCR", "c"], ["EXEC"], ["INCR", "d"])


def test_what_has_expired(pair):
    """Ours says more than Redis here, or less; the data is the same."""
    two = pair()
    two.tell(["DEBUG", "SET-ACTIVE-EXPIRE", "0"])
    two.tell(["SET", "a", "1", "PX", "1"], ["SET", "b", "1", "PX", "1"])
    two.fresh()
    time.sleep(0.003)
    two.tell(["WATCH", "a"], ["MULTI"], ["SET", "c", "1"], ["EXEC"], ["BITOP", "AND", "b", "nothing"])
    ours, theirs = map(normal, two.fresh())
    assert ours == [(None, 0, [b"DEL", b"a"]), (None, 0, [b"SET", b"c", b"1"]), (None, 0, [b"DEL", b"b"])]
    assert theirs == [(None, 0, [b"SET", b"c", b"1"]), (None, 0, [b"BITOP", b"AND", b"b", b"nothing"])]
    assert_equal(*map(read_all, two.servers))


def test_a_set_with_a_time_that_is_over(pair):
    two = pair()
    two.tell(["SET", "a", "1"], ["SET", "a", "2", "EXAT", "1"], ["GET", "a"], ["SET", "b", "1", "PXAT", "1000"], ["GET", "b"])
    ours, theirs = ([words for _, _, words in normal(commands)] for commands in two.fresh())
    assert ours == theirs


@pytest.mark.parametrize("lazily", ("no", "yes"))
def test_keys_that_expire_by_themselves(pair, lazily):
    two = pair([("lazyfree-lazy-expire", lazily)])
    names = [b"e%d" % i for i in range(200)]
    for client in two.clients:
        client.pipeline([["SET", name, "v", "PX", 1 + i % 50] for i, name in enumerate(names)])
    word = b"UNLINK" if lazily == "yes" else b"DEL"
    for replica in two.replicas:
        missing = set(names)
        for name in names:
            replica.read_until_command(lambda command, name=name: command.args == [word, name])
        removed = [command for command in replica.commands if command.args[0].upper() in (b"DEL", b"UNLINK")]
        assert sorted(command.args[1] for command in removed) == sorted(missing)
        assert all(command.transaction is None for command in removed)


@pytest.mark.parametrize("lazily", ("no", "yes"))
def test_what_is_evicted(pair, lazily):
    """Which keys go is each server's own choice; that its stream says so is not."""
    two = pair([("maxmemory-policy", "allkeys-random"), ("lazyfree-lazy-eviction", lazily)])
    word = b"UNLINK" if lazily == "yes" else b"DEL"
    for server, client, replica in zip(two.servers, two.clients, two.replicas):
        client.pipeline([["SET", f"fill:{i}", "x" * 1000] for i in range(1000)])
        used = int(client.info("memory")["used_memory"])
        client.do("CONFIG", "SET", "maxmemory", used)
        client.pipeline([["SET", f"more:{i}", "x" * 1000] for i in range(1500)])
        client.do("CONFIG", "SET", "maxmemory", 0)
        client.do("SET", MARKER, "1")
        replica.read_until_command(lambda command: command.args[:2] == [b"SET", MARKER])
        model = {}
        gone = 0
        for command in replica.commands:
            if command.args[0] == b"SET":
                model[command.args[1]] = (command.args[2], None)
            else:
                assert command.args[0] == word and len(command.args) == 2, command
                del model[command.args[1]]
                gone += 1
        assert gone > 100
        assert int(client.info("stats")["evicted_keys"]) == gone
        assert_equal(read_all(server), {0: model})


def test_what_has_no_effect(pair):
    """What reads, and what fails, has no effect."""
    two = pair()
    two.tell(["SET", "a", "x"])
    two.fresh()
    assert two.compare(["GET", "a"], ["INCR", "a"], ["SET", "a"], ["SETRANGE", "a", "-1", "x"], ["SETBIT", "a", "-1", "0"],
                       ["EXPIRE", "nothing", "10"], ["DEL", "nothing"], ["PERSIST", "a"], ["RENAME", "nothing", "a"],
                       ["MOVE", "nothing", "1"], ["COPY", "nothing", "b"], ["TOUCH", "a"], ["OBJECT", "ENCODING", "a"],
                       ["SELECT", "99"], ["SWAPDB", "0", "99"], ["SET", "a", "y", "EX", "0"], ["GETEX", "a", "EX", "0"],
                       ["MSET", "a"], ["FLUSHALL", "nothing"], ["BITOP", "NOT", "a", "b", "c"], ["SELECT", "7"]) == []
