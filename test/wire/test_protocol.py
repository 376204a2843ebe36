"""The protocol at its edges: malformed requests, one byte at a time in either direction, half-closed connections."""

import socket
import threading

import pytest

from support.resp import Closed, encode, encode_inline

MALFORMED = [
    b"*1\r\n+PING\r\n", b"*1\r\n$abc\r\n", b"*abc\r\n", b"*1\r\n$-1\r\n", b"*2147483648\r\n", b"*99999999999\r\n",
    b"*2\r\n$4\r\nECHO\r\n$536870913\r\n", b"GET \"unbalanced\r\n", b"GET 'a'b\r\n", b"*1\r\n$ 4\r\nPING\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n:1\r\n", b"*1\r\n\r\n", b"*1\r\n$4294967296\r\n", b"*1\r\n$-5\r\n", b"*\r\n",
    b"*3\r\n$3\r\nGET\r\n*1\r\n", b"PING \"a\\\r\n", b"*9223372036854775808\r\n", b"*1\r\n$\r\n", b"* 1\r\n",
    b"*1.5\r\n",
    b"*" + b"1" * 70000, b"*1\r\n$" + b"1" * 70000, b"x" * 70000,
]


def last_words(client, data):
    client.send(data)
    return client.until_close()


@pytest.mark.parametrize("data", MALFORMED, ids=lambda data: repr(data[:30]))
@pytest.mark.parametrize("before", [b"", b"PING\r\n" * 3], ids=["first", "after others"])
def test_malformed_requests_get_the_error_and_the_close(shared, shared_oracle, data, before):
    with shared.connect() as ours, shared_oracle.connect() as theirs:
        answer = last_words(ours, before + data)
        assert b"-ERR Protocol error" in answer
        assert answer == last_words(theirs, before + data)


def test_an_error_in_a_transaction_closes_too(client, shared):
    with shared.connect() as other:
        other.pipeline([["MULTI"], ["SET", "k", "1"]])
        assert last_words(other, b"*1\r\n!\r\n").startswith(b"-ERR Protocol error: expected '$', got '!'")
    assert client.do("EXISTS", "k") == 0


def test_requests_without_content_get_no_reply(client):
    client.send(b"\r\n*0\r\n*-1\r\n   \r\n\r\nPING\r\n")
    assert client.reply() == ("+", b"PONG")
    assert not client.has_reply(0)


def test_byte_at_a_time(client):
    requests = encode(["SET", "k", b"a\r\nb\x00"]) + encode_inline(["APPEND", "k", "x y"]) + b"*0\r\n" + encode(["GET",
                                                                                                                 "k"])
    for at in range(len(requests)):
        client.send(requests[at:at + 1])
    assert client.replies(3) == [("+", b"OK"), (":", 8), ("$", b"a\r\nb\x00x y")]


def test_every_split_in_two(client):
    requests = encode(["SET", "key", "v" * 20]) + b"GET key\r\n" + encode(["STRLEN", "key"])
    for cut in range(1, len(requests)):
        client.send(requests[:cut])
        client.send(requests[cut:])
        assert client.replies(3) == [("+", b"OK"), ("$", b"v" * 20), (":", 20)]


def test_inline_quoting(client):
    client.send(b"set 'a b' \"x\\x41\\n\\\"y\"\r\nget \"a b\"\n  get   'a b'  \r\n")
    assert client.replies(3) == [("+", b"OK"), ("$", b'xA\n"y'), ("$", b'xA\n"y')]


def test_inline_just_below_its_limit(client):
    client.send(b"echo " + b"x" * 60000 + b"\r\n")
    assert client.reply() == ("$", b"x" * 60000)


def test_a_reader_of_one_byte_at_a_time(shared):
    with shared.connect(receive_buffer=4096) as slow, shared.connect() as other:
        other.do("SET", "big", "x" * 20000)
        slow.send(encode(["GET", "big"]) * 3 + encode(["PING"]))
        wanted = (b"$20000\r\n" + b"x" * 20000 + b"\r\n") * 3 + b"+PONG\r\n"
        got = bytearray()
        while len(got) < len(wanted):
            got += slow.sock.recv(1)
        assert bytes(got) == wanted
        assert other.do("PING") == b"PONG"


def test_a_reader_that_stalls_does_not_stall_others(shared):
    with shared.connect(receive_buffer=4096) as slow, shared.connect() as other:
        other.do("SET", "big", "x" * 1000000)
        for _ in range(20):
            slow.sock.sendall(encode(["GET", "big"]))
        for _ in range(100):
            assert other.do("PING") == b"PONG"
        assert slow.replies(20) == [("$", b"x" * 1000000)] * 20


def test_a_reader_that_dies(shared):
    for _ in range(20):
        with shared.connect(receive_buffer=4096) as dying:
            dying.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            dying.sock.sendall(encode(["SET", "big", "x" * 100000]) + encode(["GET", "big"]) * 50)
    with shared.connect() as other:
        assert other.do("PING") == b"PONG"


def test_half_closed(shared, shared_oracle):
    """After the end of input the replies to what came before may still arrive; the connection then closes."""
    for data in (b"PING\r\n", encode(["SET", "k", "1"]) + b"*2\r\n$3\r\nGET\r\n$1\r\n"):
        with shared.connect() as ours:
            ours.send(data)
            assert ours.reply()[0] == "+"
            ours.sock.shutdown(socket.SHUT_WR)
            assert ours.until_close() == b""


def test_a_value_larger_than_the_buffers(client):
    value = bytes(range(256)) * 40000
    client.do("SET", "k", value)
    assert client.do("GET", "k") == value
    assert client.pipeline([["GET", "k"], ["STRLEN", "k"]]) == [("$", value), (":", len(value))]


def test_deep_pipeline(client):
    count = 100000
    client.send(encode(["INCR", "n"]) * count)
    assert client.replies(count)[-1] == (":", count)


def test_many_arguments(client):
    keys = [b"k%d" % at for at in range(50000)]
    client.do("MSET", *(word for key in keys for word in (key, key)))
    assert client.do("MGET", *keys) == keys
    assert client.do("DEL", *keys) == len(keys)


def test_resp3_types(client):
    client.do("HELLO", 3)
    assert client.call("GET", "none") == ("_", None)
    assert client.call("CONFIG", "GET", "timeout")[0] == "%"
    assert client.call("INFO", "server")[0] == "="
    assert client.call("COMMAND", "INFO", "get")[1][0][1][2][0] == "~"
    assert client.call("RESET") == ("+", b"RESET")
    assert client.call("GET", "none") == ("$", None)


def test_quit_answers_and_closes(shared):
    with shared.connect() as one:
        one.send(encode(["SET", "k", "1"]) + encode(["QUIT"]) + encode(["SET", "k", "2"]))
        assert one.until_close() == b"+OK\r\n+OK\r\n"
    with shared.connect() as other:
        assert other.do("GET", "k") == b"1"


def test_replies_never_cross_connections(shared):
    """Each connection gets its own echoes, in its order, whatever the others do."""
    wrong = []

    def talk(name):
        with shared.connect() as one:
            for turn in range(100):
                texts = [f"{name}-{turn}-{at}" * (at * 7 % 50 + 1) for at in range(20)]
                if [reply[1].decode() for reply in one.pipeline([["ECHO", text] for text in texts])] != texts:
                    wrong.append((name, turn))

    threads = [threading.Thread(target=talk, args=(at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_argument_may_not_break_an_error_line(client):
    reply = client.call(b"no\r\n-ERR such", b"x\r\n+OK")
    assert reply[0] == "-"
    assert not client.has_reply(0)
    assert client.do("PING") == b"PONG"


def test_the_announced_length_is_not_allocated_before_it_arrives(shared):
    """Many connections that each announce the longest bulk string and send nothing."""
    with shared.connect() as watcher:
        before = int(watcher.info("memory")["used_memory"])
        waiting = [shared.connect() for _ in range(50)]
        for one in waiting:
            one.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc")
        for one in waiting:
            assert not one.has_reply(0)
        assert watcher.do("PING") == b"PONG"
        assert int(watcher.info("memory")["used_memory"]) - before < 100 << 20
        for one in waiting:
            one.close()


def test_closed_is_reported(shared):
    with shared.connect() as one:
        one.send(b"QUIT\r\n")
        one.reply()
        with pytest.raises(Closed):
            one.reply()
