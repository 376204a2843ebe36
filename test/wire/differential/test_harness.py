"""Tests of the differential test itself: it is silent between equals, and it notices every kind of wrong reply."""

import contextlib

import pytest

from differential import rules, stream
from differential.lockstep import Divergence, Lockstep
from differential.shrink import shrink
from differential.test_differential import pair, run
from support import server as servers

COMMANDS = 3000


def oracles():
    return pair(servers.oracle, servers.oracle)


@pytest.mark.parametrize("number", [1003, 1004])
def test_equals_do_not_diverge(number):
    assert run(number, COMMANDS, oracles) >= COMMANDS


def change_integer(reply):
    return (":", reply[1] + 10 ** 7) if reply[0] == ":" and reply[1] >= 0 else None


def change_type(reply):
    return ("$", reply[1]) if reply[0] == "+" else None


def change_null(reply):
    return ("*", None) if reply == ("$", None) else None


def change_error(reply):
    return ("-", reply[1] + b".") if reply[0] == "-" else None


def change_bulk(reply):
    return ("$", reply[1] + b"x") if reply[0] == "$" and reply[1] is not None else None


def drop_element(reply):
    return ("*", reply[1][:-1]) if reply[0] == "*" and reply[1] else None


def change_null_to_resp3(reply):
    return ("_", None) if reply == ("$", None) else None


@pytest.mark.parametrize("change", [change_integer, change_type, change_null, change_error, change_bulk, drop_element,
                                    change_null_to_resp3])
def test_a_wrong_reply_is_noticed(change):
    # Replies that a rule lets vary may pass, so the change goes on until one is caught; one in a handful has to be.
    tried = []

    def tamper(number, reply):
        changed = change(reply) if number > 200 else None
        if changed is not None:
            tried.append(number)
        return changed or reply

    with pytest.raises(Divergence):
        run(1, COMMANDS, oracles, tamper)
    assert len(tried) <= 10


def test_different_contents_are_noticed():
    with oracles() as (ours, theirs):
        for one in (ours, theirs):
            with one.connect() as client:
                client.pipeline([["SET", "k", "1"], ["SET", "e", "x", "PXAT", 10 ** 14], ["SELECT", "3"],
                                 ["SET", "k", "abc"]])
        item = stream.Item(0, [[b"PING"]])
        lockstep = Lockstep(ours, theirs, 1)
        lockstep.compare_contents(item)
        for spoil, restore in ((["SET", "k", "2"], ["SET", "k", "1"]), (["SET", "new", "x"], ["DEL", "new"]),
                               (["PERSIST", "e"], ["PEXPIREAT", "e", 10 ** 14]),
                               (["APPEND", "k", ""], ["SET", "k", "1"])):
            with ours.connect() as client:
                client.do(*spoil)
                if spoil[0] == "APPEND":
                    client.do("SETRANGE", "k", "0", "1")
                with pytest.raises(Divergence):
                    lockstep.compare_contents(item)
                client.do(*restore)
            lockstep.compare_contents(item)
        lockstep.close()


def test_a_divergence_is_shortened():
    """A server that was told something the other was not: the shortest stream is the one GET that shows it."""
    @contextlib.contextmanager
    def unequal():
        with oracles() as (ours, theirs):
            with ours.connect() as client:
                client.do("SET", "k1", "different")
            yield ours, theirs

    items = [stream.Item(0, [[b"SET", b"k%d" % (at % 3 + 2), b"x"]]) for at in range(30)]
    items.insert(17, stream.Item(0, [[b"GET", b"k1"]]))
    short, divergence = shrink(items, unequal, 1)
    assert divergence is not None
    assert len(short) == 1


def test_streams_repeat():
    one = [repr(batch) for batch in stream.Stream(5).batches(2000)]
    two = [repr(batch) for batch in stream.Stream(5).batches(2000)]
    assert one == two
    assert one != [repr(batch) for batch in stream.Stream(6).batches(2000)]


def test_streams_cover_every_command():
    seen = set()
    for batch in stream.Stream(1).batches(60000):
        for item in batch:
            if item.kind == "commands":
                seen.update(rules.rule_name(args) for args in item.commands)
    wanted = {name.decode() for name in stream.COMMANDS} - {"CLIENT", "CONFIG", "OBJECT", "MEMORY"}
    wanted |= {f"{name}|{sub}".upper() for name, subs in rules.OWN_SUBCOMMANDS.items() for sub in subs}
    wanted |= {"DEBUG|SLEEP", "DEBUG|SET-ACTIVE-EXPIRE", "DEBUG|OBJECT", "DEBUG|POPULATE"}
    assert not wanted - seen


def test_every_rule_has_a_reason():
    assert all(reason for _, reason in rules.RULES.values())
