"""CLIENT, transactions and SCAN: what concerns several connections at once."""

import threading

import pytest

from support.resp import encode, plain


def test_kill_by_id_address_and_type(shared):
    with shared.connect() as killer:
        for words in (lambda one: ["ID", one.do("CLIENT", "ID")],
                      lambda one: ["ADDR", "%s:%d" % one.sock.getsockname()]):
            victim = shared.connect()
            victim.do("PING")  # a worker has it now
            assert killer.do("CLIENT", "KILL", *words(victim)) == 1
            assert victim.until_close() == b""
        victim = shared.connect()
        victim.do("PING")
        assert killer.do("CLIENT", "KILL", "%s:%d" % victim.sock.getsockname()) == b"OK"
        assert victim.until_close() == b""
        victims = [shared.connect() for _ in range(5)]
        for victim in victims:
            victim.do("PING")
        assert killer.do("CLIENT", "KILL", "TYPE", "normal") >= 5
        for victim in victims:
            assert victim.until_close() == b""
        assert killer.do("PING") == b"PONG"


def test_kill_itself_answers_first(shared):
    with shared.connect() as one:
        own = one.do("CLIENT", "ID")
        one.send(encode(["CLIENT", "KILL", "ID", own, "SKIPME", "no"]) + encode(["SET", "after", "1"]))
        assert one.until_close() == b":1\r\n"
    with shared.connect() as other:
        assert other.do("EXISTS", "after") == 0


def test_kill_skips_oneself_by_default(client):
    assert client.do("CLIENT", "KILL", "ID", client.do("CLIENT", "ID")) == 0


def test_a_killed_client_with_a_pipeline_in_flight(shared):
    with shared.connect() as killer:
        for _ in range(30):
            victim = shared.connect()
            own = victim.do("CLIENT", "ID")
            victim.send(encode(["INCR", "n"]) * 1000)
            assert killer.do("CLIENT", "KILL", "ID", own) in (0, 1)
            victim.until_close()
        assert killer.do("PING") == b"PONG"


def test_pause_write_lets_reads_pass(start):
    server = start()
    with server.connect() as boss, server.connect() as writer, server.connect() as reader:
        boss.do("SET", "k", "old")
        assert boss.do("CLIENT", "PAUSE", 100000, "WRITE") == b"OK"
        writer.command("SET", "k", "new")
        assert not writer.has_reply(0.1)
        assert reader.do("GET", "k") == b"old"
        assert boss.do("CLIENT", "UNPAUSE") == b"OK"
        assert writer.reply() == ("+", b"OK")
        assert reader.do("GET", "k") == b"new"


def test_pause_write_holds_transactions_that_write(start):
    server = start()
    with server.connect() as boss, server.connect() as writer:
        boss.do("DEL", "k")
        writer.pipeline([["MULTI"], ["SET", "k", "1"]])
        boss.do("CLIENT", "PAUSE", 100000, "WRITE")
        writer.command("EXEC")
        assert not writer.has_reply(0.1)
        boss.do("CLIENT", "UNPAUSE")
        assert plain(writer.reply()) == [b"OK"]


def test_pause_all_holds_everybody_and_ends_by_itself(start):
    server = start()
    with server.connect() as boss, server.connect() as other:
        assert boss.do("CLIENT", "PAUSE", 300) == b"OK"
        other.command("PING")
        assert not other.has_reply(0.05)
        assert other.reply() == ("+", b"PONG")


def test_many_held_go_on_when_the_pause_ends(start):
    server = start([("threads", 3)])
    with server.connect() as boss:
        for words in ((200,), (200, "WRITE"), (200, "ALL")):
            crowd = [server.connect() for _ in range(100)]
            boss.do("CLIENT", "PAUSE", *words)
            for one in crowd:
                one.command("INCR", "n")
            for one in crowd:
                assert one.reply()[0] == ":"
                one.close()
        assert boss.do("GET", "n") == b"300"


def test_killing_many_at_once(start):
    server = start([("threads", 2)])
    with server.connect() as boss:
        crowd = [server.connect() for _ in range(500)]
        for one in crowd:
            one.do("PING")
        for one in crowd[::2]:
            one.close()
        crowd = crowd[1::2] + [server.connect() for _ in range(100)]
        for one in crowd:
            one.do("PING")
        boss.do("CLIENT", "KILL", "TYPE", "normal")
        for one in crowd:
            assert one.until_close() == b""
        assert boss.do("PING") == b"PONG"


def test_a_client_that_leaves_while_paused(start):
    server = start()
    with server.connect() as boss:
        boss.do("DEL", "left")
        boss.do("CLIENT", "PAUSE", 100000, "WRITE")
        for _ in range(10):
            with server.connect() as leaving:
                leaving.command("SET", "left", "1")
        boss.do("CLIENT", "UNPAUSE")
        assert boss.do("PING") == b"PONG"


def test_reply_modes(client):
    client.send(encode(["CLIENT", "REPLY", "OFF"]) + encode(["SET", "k", "1"]) + encode(["NOSUCH"]) + encode(["GET",
                                                                                                              "k"])
                + encode(["CLIENT", "REPLY", "ON"]))
    assert client.reply() == ("+", b"OK")
    client.send(encode(["CLIENT", "REPLY", "SKIP"]) + encode(["SET", "k", "2"]) + encode(["GET", "k"]))
    assert client.reply() == ("$", b"2")
    assert not client.has_reply(0)


def test_list_shows_every_client(shared):
    with shared.connect() as one:
        others = [shared.connect(unix=at % 2 == 0) for at in range(10)]
        for at, other in enumerate(others):
            other.do("CLIENT", "SETNAME", f"n{at}")
            other.do("SELECT", at)
        lines = [dict(field.split("=", 1) for field in line.split(" "))
                 for line in one.do("CLIENT", "LIST").decode().splitlines()]
        named = {line["name"]: line for line in lines}
        for at, other in enumerate(others):
            assert named[f"n{at}"]["db"] == str(at)
            assert int(named[f"n{at}"]["id"]) == other.do("CLIENT", "ID")
        assert len({line["id"] for line in lines}) == len(lines)


def test_watch_notices_every_kind_of_change(shared):
    changes = [["SET", "w", "2"], ["DEL", "w"], ["EXPIRE", "w", "100000"], ["APPEND", "w", "x"], ["RENAME", "w", "v"],
               ["RENAME", "o", "w"], ["COPY", "o", "w", "REPLACE"], ["MOVE", "w", "5"], ["FLUSHDB"], ["FLUSHALL"],
               ["SWAPDB", "0", "5"], ["PEXPIREAT", "w", "1"], ["GETDEL", "w"], ["SETBIT", "w", "0", "1"],
               ["SETRANGE", "w", "0", "z"],
               ["BITOP", "NOT", "w", "o"], ["INCR", "w"], ["MSET", "w", "9", "x", "1"], ["GETEX", "w", "EX", "100000"]]
    with shared.connect() as one, shared.connect() as two:
        for change in changes:
            two.do("FLUSHALL")
            two.do("MSET", "w", "1", "o", "2")
            one.do("WATCH", "w")
            two.do(*change)
            assert plain(one.pipeline([["MULTI"], ["PING"], ["EXEC"]])[2]) is None, change
        for harmless in (["GET", "w"], ["SET", "other", "1"], ["SET", "w", "1", "NX"], ["TOUCH", "w"],
                         ["PERSIST", "w"]):
            two.do("FLUSHALL")
            two.do("MSET", "w", "1", "o", "2")
            one.do("WATCH", "w")
            two.do(*harmless)
            assert plain(one.pipeline([["MULTI"], ["PING"], ["EXEC"]])[2]) == [b"PONG"], harmless


def test_watch_notices_debug_populate(shared):
    with shared.connect() as one, shared.connect() as two:
        two.do("FLUSHALL")
        one.do("WATCH", "w:0")
        two.do("DEBUG", "POPULATE", 1, "w")
        assert plain(one.pipeline([["MULTI"], ["PING"], ["EXEC"]])[2]) is None
        one.do("WATCH", "w:0")
        two.do("DEBUG", "POPULATE", 1, "w")  # it is there already
        assert plain(one.pipeline([["MULTI"], ["PING"], ["EXEC"]])[2]) == [b"PONG"]


def test_watch_is_forgotten(shared):
    with shared.connect() as one, shared.connect() as two:
        for forget in (["UNWATCH"], ["RESET"], ["MULTI"]):
            two.do("SET", "w", "1")
            one.do("WATCH", "w")
            one.do(*forget)
            if forget == ["MULTI"]:
                one.do("DISCARD")
            two.do("SET", "w", "2")
            assert plain(one.pipeline([["MULTI"], ["PING"], ["EXEC"]])[2]) == [b"PONG"], forget


def test_a_watched_key_that_was_already_expired(shared):
    with shared.connect() as one, shared.connect() as two:
        two.do("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        try:
            two.do("SET", "w", "1", "PXAT", 1)
            one.do("WATCH", "w")
            assert two.do("EXISTS", "w") == 0
            assert plain(one.pipeline([["MULTI"], ["PING"], ["EXEC"]])[2]) == [b"PONG"]
        finally:
            two.do("DEBUG", "SET-ACTIVE-EXPIRE", 1)


def test_a_watched_key_that_expires_after(shared):
    with shared.connect() as one, shared.connect() as two:
        two.do("SET", "w", "1", "PX", 20)
        one.do("WATCH", "w")
        while two.do("EXISTS", "w"):
            pass
        assert plain(one.pipeline([["MULTI"], ["PING"], ["EXEC"]])[2]) is None


def test_transaction_errors(client):
    assert client.error("EXEC") == "ERR EXEC without MULTI"
    assert client.error("DISCARD") == "ERR DISCARD without MULTI"
    client.do("MULTI")
    assert client.error("MULTI") == "ERR MULTI calls can not be nested"
    assert client.error("WATCH", "k") == "ERR WATCH inside MULTI is not allowed"
    assert client.error("GET").startswith("ERR wrong number of arguments")
    assert client.error("EXEC") == "EXECABORT Transaction discarded because of previous errors."
    client.do("SET", "k", "abc")
    replies = client.pipeline([["MULTI"], ["INCR", "k"], ["SET", "j", "1"], ["EXEC"]])[3]
    assert replies == ("*", [("-", b"ERR value is not an integer or out of range"), ("+", b"OK")])


@pytest.mark.slow
def test_scan_returns_what_stays_while_others_write(shared):
    """Keys that exist from the beginning to the end of an iteration are returned, whatever comes and goes."""
    with shared.connect() as scanner:
        scanner.do("FLUSHALL")
        stay = {b"stay:%d" % at for at in range(20000)}
        scanner.do("MSET", *(word for key in stay for word in (key, "x")))
        stop = threading.Event()

        def churn(name):
            with shared.connect() as one:
                turn = 0
                while not stop.is_set():
                    keys = [b"go:%d:%d" % (name, turn * 500 + at) for at in range(500)]
                    one.do("MSET", *(word for key in keys for word in (key, "x" * 50)))
                    if turn % 2:
                        one.do("DEL", *keys)
                    if turn % 40 == 39:
                        for page in range(0, (turn + 1) * 500, 2000):
                            one.do("DEL", *(b"go:%d:%d" % (name, page + at) for at in range(2000)))
                    turn += 1

        threads = [threading.Thread(target=churn, args=(name,)) for name in range(2)]
        for thread in threads:
            thread.start()
        try:
            for count in (10, 100, 1000):
                cursor, found, calls = b"0", set(), 0
                while True:
                    cursor, page = scanner.do("SCAN", cursor, "COUNT", count)
                    found.update(page)
                    calls += 1
                    if cursor == b"0":
                        break
                    assert calls < 2000000
                assert stay <= found
                assert all(key.startswith((b"stay:", b"go:")) for key in found)
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def test_scan_cursors_are_small_enough_for_every_client(client):
    client.do("DEBUG", "POPULATE", 5000)
    cursor, seen = b"0", set()
    while True:
        cursor, page = client.do("SCAN", cursor, "COUNT", 7)
        seen.update(page)
        assert 0 <= int(cursor) < 2 ** 53
        if cursor == b"0":
            break
    assert len(seen) == 5000


def test_no_touch_leaves_the_access_clock_alone(start):
    with start([("maxmemory-policy", "allkeys-lfu")]).connect() as one:
        one.do("SET", "k", "v")
        one.do("CLIENT", "NO-TOUCH", "on")
        new = one.do("OBJECT", "FREQ", "k")
        one.pipeline([["GET", "k"], ["EXPIRE", "k", 1000], ["PERSIST", "k"]])
        assert one.do("OBJECT", "FREQ", "k") == new
        one.do("TOUCH", "k")
        assert one.do("OBJECT", "FREQ", "k") == new + 1
