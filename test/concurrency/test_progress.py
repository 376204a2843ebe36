"""A slow command leaves the others going: those of its own worker (one thread) and those of other workers.

Progress is demanded while the slow reply is outstanding: round trips that began after the slow command was sent and
ended before its reply came. Nothing here measures time. A slow command that is over too soon to tell is tried again,
with other keys, so a loaded machine does not fail a test; a server that lets others wait never passes one, since
whoever came after the slow command is answered after it.
"""

import socket

import pytest

from support.crowd import abort, trips_before_reply
from support.resp import encode

MEGABYTE = 1 << 20
BIG = 100 * MEGABYTE
TRIPS = 6     # one could have overtaken the slow command
ATTEMPTS = 20


@pytest.fixture(params=(1, 4))
def server(start, request):
    return start([("threads", request.param)])


def beside(server, prepare, commands, wanted, attempts=ATTEMPTS):
    """Sends commands(attempt) at once and lets others read meanwhile, until they did so TRIPS times before the last
    reply; every reply has to be as wanted(replies) says."""
    with server.connect() as slow, server.connect() as one, server.connect() as two, server.connect() as three:
        for attempt in range(attempts):
            prepare(slow, attempt)
            others = []
            for at, client in enumerate([one, two, three, one]):
                key = f"own:{attempt}:{at}"
                client.do("SET", key, key)
                others.append((client, ["GET", key]))
            batch = commands(attempt)
            data = b"".join(encode(command) for command in batch)
            assert len(data) < 16384  # one read of the server
            slow.send(data)
            trips = 0
            replies = []
            while len(replies) < len(batch):
                trips += trips_before_reply(slow, others, TRIPS - trips)
                replies.append(slow.reply())
            assert wanted(replies), repr(replies)[:300]
            if trips >= TRIPS:
                return
        pytest.fail(f"at best {trips} round trips beside {batch[0][0]}")


def nothing(client, attempt):
    pass


@pytest.mark.slow
def test_setrange_of_100_megabytes(server):
    def commands(attempt):
        return [["SETRANGE", f"big:{attempt}", BIG - 1, "x"], ["DEL", f"big:{attempt}"]] * 20

    beside(server, nothing, commands, lambda replies: replies == [(":", BIG), (":", 1)] * 20)


@pytest.mark.slow
def test_del_of_100_megabytes(server):
    """The DEL alone may be answered before anybody else can ask; filling the value again makes the stream last."""
    def prepare(client, attempt):
        # Zeroes take no memory until they are written: their complement does.
        client.do("SETRANGE", "zeroes", BIG - 1, "\0")

    def commands(attempt):
        return [["BITOP", "NOT", f"big:{attempt}", "zeroes"], ["DEL", f"big:{attempt}"]] * 5

    beside(server, prepare, commands, lambda replies: replies == [(":", BIG), (":", 1)] * 5)


@pytest.mark.slow
@pytest.mark.parametrize("pattern,count", (("nothing*", 0), ("key:*", 10 ** 6)))
def test_keys_over_a_million(server, pattern, count):
    def prepare(client, attempt):
        client.do("DEBUG", "POPULATE", 10 ** 6)

    beside(server, prepare, lambda attempt: [["KEYS", pattern]], lambda replies: len(replies[0][1]) == count)


@pytest.mark.slow
def test_flushall_of_a_million(server):
    def prepare(client, attempt):
        client.do("DEBUG", "POPULATE", 10 ** 6)
        assert client.do("DBSIZE") >= 10 ** 6

    # The first one drops them; the others come behind it, and make it last long enough to look. Their replies come one by
    # one, too quickly for a round trip between two of them: what counts is that the last has not come yet.
    count, reply = 400, b"+OK\r\n"
    with server.connect() as slow, server.connect() as one, server.connect() as two:
        for attempt in range(ATTEMPTS):
            prepare(slow, attempt)
            slow.send(encode(["FLUSHALL"]) * count)
            for _ in range(TRIPS):
                assert one.do("GET", "nothing") is None
                assert two.do("GET", "nothing") is None
            arrived = len(slow.sock.recv(count * len(reply), socket.MSG_PEEK))
            assert slow.replies(count) == [("+", b"OK")] * count
            if arrived < count * len(reply):
                break
        else:
            pytest.fail("everybody waited for the last FLUSHALL")
    with server.connect() as one:
        assert one.do("EXISTS", "key:1", "key:999999") == 0


@pytest.mark.slow
@pytest.mark.parametrize("command", ("BITCOUNT", "BITPOS"))
def test_reading_100_megabytes(server, command):
    def prepare(client, attempt):
        client.do("SETRANGE", "big", BIG - 1, "\0")

    words = [command, "big"] + (["1"] if command == "BITPOS" else [])
    answer = (":", -1 if command == "BITPOS" else 0)
    beside(server, prepare, lambda attempt: [words] * 10, lambda replies: replies == [answer] * 10)


@pytest.mark.slow
def test_transaction_of_slow_commands(server):
    def prepare(client, attempt):
        client.do("SETRANGE", "big", BIG - 1, "\0")

    def commands(attempt):
        return [["MULTI"], *[["BITCOUNT", "big"]] * 5, ["EXEC"]]

    beside(server, prepare, commands, lambda replies: replies[-1] == ("*", [(":", 0)] * 5), 5)


def test_sleeping_command(server):
    """Asleep for long, whoever wins: the replies of others come first, or never."""
    with server.connect() as slow, server.connect() as one:
        one.do("SET", "own", "value")
        slow.command("DEBUG", "SLEEP", 1000)
        assert trips_before_reply(slow, [(one, ["GET", "own"])], 1000) == 1000
        abort(slow)


@pytest.mark.slow
def test_large_readers(server):
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
