"""A server as a node of the service: what its agent does over the admin socket. Listeners that are passed on, rules about
peers, the grant, the lock, and which commands clients may call."""

import os
import socket
import subprocess
import threading
import time

import pytest

from support import server as servers
from support.crowd import turns
from support.resp import Client, Closed, encode
from support.topology import await_link, await_true


class Agent(Client):
    """A connection to the admin socket, on which descriptors travel."""

    def command_with(self, fds, *words):
        socket.send_fds(self.sock, [encode(words)], fds)

    def listen(self, name, listener):
        self.command_with([listener.fileno()], "LARDER", "LISTEN", name)
        assert self.reply() == ("+", b"OK")

    def hand_back(self, name):
        """The listening socket that a node had."""
        self.command("LARDER", "HANDBACK", name)
        data, fds, _, _ = socket.recv_fds(self.sock, 100, 4)
        assert data == b"+OK\r\n" and len(fds) == 1, data
        return socket.socket(fileno=fds[0])

    def hello(self):
        words = self.do("LARDER", "HELLO")
        return {name.decode(): value if isinstance(value, int) else value.decode()
                for name, value in zip(words[::2], words[1::2])}

    def listeners(self):
        return {name.decode(): (address.decode(), accepted)
                for name, address, accepted in self.do("LARDER", "LISTENERS")}


@pytest.fixture
def node(start):
    """node(directives) is a server without a listener of its own, with its agent's connection as .agent."""
    agents = []

    def run(directives=(), **options):
        server = start([("port", 0), ("admin-socket", "admin"), ("threads", 2), *directives], **options)
        server.agent = Agent(str(server.dir / "admin"))
        agents.append(server.agent)
        server.agent.do("PING")
        return server

    yield run
    for agent in agents:
        agent.close()


@pytest.fixture
def listener():
    """listener(host) is a listening socket."""
    made = []

    def make(host="127.0.0.1", port=0):
        one = socket.create_server((host, port), backlog=511)
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def at(listener, **options):
    """A client of whoever serves that listener."""
    return Client(listener.getsockname(), **options)


def run_id(client):
    return client.info("server")["run_id"]


def open_files(server):
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def await_files(server, count):
    await_true(lambda: open_files(server) == count, lambda: f"{open_files(server)} descriptors instead of {count}")


# Listeners

def test_a_node_lives_from_a_passed_listener(node, listener):
    one = node()
    here = listener()
    assert one.agent.listeners().keys() == {"unixsocket"}
    one.agent.listen("primary", here)
    with at(here) as client, at(here) as another:
        assert client.do("SET", "k", "v") == b"OK" and another.do("GET", "k") == b"v"
        assert "%s:%d" % here.getsockname() in client.do("CLIENT", "INFO").decode()
    assert one.agent.listeners()["primary"] == ("127.0.0.1:%d" % here.getsockname()[1], 2)


def test_an_ipv6_listener(node):
    one = node()
    try:
        here = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("there is no IPv6")
    with here:
        one.agent.listen("node", here)
        assert one.agent.listeners()["node"][0] == f"[::1]:{here.getsockname()[1]}"
        with socket.create_connection(here.getsockname()[:2]) as client:
            client.sendall(b"PING\r\n")
            assert client.recv(100) == b"+PONG\r\n"


def test_what_is_no_listener_is_refused(node, listener, tmp_path):
    one = node()
    here = listener()
    files = open_files(one)
    silent, stream = socket.socket(), socket.socket(socket.AF_UNIX)
    stream.bind(str(tmp_path / "s"))
    stream.listen()
    with silent, stream, open(os.devnull) as file:
        for other in (silent, stream, file):
            one.agent.command_with([other.fileno()], "LARDER", "LISTEN", "primary")
            assert one.agent.reply()[1].startswith(b"ERR LISTEN failed")
    for name in ("", "Primary", "a b", "x" * 32, "bind", "unixsocket"):
        one.agent.command_with([here.fileno()], "LARDER", "LISTEN", name)
        assert one.agent.reply()[1].startswith(b"ERR LISTEN failed"), name
    assert one.agent.error("LARDER", "LISTEN", "primary").startswith("ERR LISTEN takes one descriptor")
    assert open_files(one) == files


def test_there_is_a_limit(node, listener):
    one = node()
    for number in range(12):
        one.agent.listen(f"l{number}", listener())
    one.agent.command_with([listener().fileno()], "LARDER", "LISTEN", "more")
    assert one.agent.reply()[1].endswith(b"there are too many")


def test_descriptors_that_nobody_wants_are_closed(node, listener):
    one = node()
    here = listener()
    files = open_files(one)
    for _ in range(50):
        one.agent.command_with([here.fileno()], "PING")
        assert one.agent.reply() == ("+", b"PONG")
        one.agent.command_with([here.fileno()] * 8, "LARDER", "LISTEN", "primary")
        assert one.agent.reply()[1].startswith(b"ERR LISTEN takes one descriptor")
        one.agent.command_with([here.fileno()], "LARDER", "LISTENERS")
        one.agent.reply()
        one.agent.command_with([here.fileno()], "SET", "k", "v")
        assert one.agent.reply() == ("+", b"OK")
    assert open_files(one) == files
    # One command is complete, of the next one a part: whose it is shows later.
    first, second = encode(["PING"]), encode(["LARDER", "LISTEN", "primary"])
    socket.send_fds(one.agent.sock, [first + second[:9]], [here.fileno()])
    assert one.agent.reply() == ("+", b"PONG")
    one.agent.sock.sendall(second[9:])
    assert one.agent.reply() == ("+", b"OK")
    # The connection closes with a command that never becomes complete.
    with Agent(str(one.dir / "admin")) as rude:
        rude.do("PING")
        files = open_files(one)
        socket.send_fds(rude.sock, [second[:9]], [here.fileno()])
        await_files(one, files + 1)
    await_files(one, files - 1)


def test_clients_may_not(node, listener):
    one = node()
    here = listener()
    one.agent.listen("primary", here)
    with at(here) as client:
        for words in (("HELLO",), ("LISTENERS",), ("UNLISTEN", "primary"), ("HANDBACK", "primary"), ("LISTEN", "x"),
                      ("ALLOW", 1, "none"), ("GRANT", 1), ("REVOKE", 1)):
            assert client.error("LARDER", *words).startswith("NOPERM"), words
        assert client.do("PING") == b"PONG"


def test_a_listener_is_handed_back(node, listener):
    one = node()
    here = listener()
    address = here.getsockname()
    files = open_files(one)
    one.agent.listen("primary", here)
    here.close()
    with Client(address) as client:
        assert client.do("PING") == b"PONG"
        back = one.agent.hand_back("primary")
        with back, Client(address) as waiting:
            assert back.getsockname() == address
            waiting.command("PING")
            assert client.do("PING") == b"PONG"
            assert one.agent.listeners().keys() == {"unixsocket"}
            assert not waiting.has_reply(0.1)
            one.agent.listen("primary", back)
            assert waiting.reply() == ("+", b"PONG")
            assert one.agent.do("LARDER", "UNLISTEN", "primary") == b"OK"
    assert one.agent.error("LARDER", "HANDBACK", "primary").startswith("NOLISTENER")
    assert one.agent.error("LARDER", "UNLISTEN", "primary").startswith("NOLISTENER")
    await_files(one, files)  # that was the last one of this socket
    with pytest.raises(OSError):
        Client(address)


def test_a_listener_that_cannot_be_handed_back_stays(node, listener):
    one = node()
    here = listener()
    one.agent.listen("primary", here)
    rude = Agent(str(one.dir / "admin"))
    rude.do("PING")
    rude.sock.shutdown(socket.SHUT_RD)
    rude.command("LARDER", "HANDBACK", "primary")
    rude.close()
    await_true(lambda: "primary" in one.agent.listeners(), "it is gone")
    with at(here) as client:
        assert client.do("PING") == b"PONG"


def test_leaving_leaves_the_queue_alone(node, listener):
    """Neither the socket nor who waits in its queue notices that a server left, whichever way."""
    one, two = node(), node()
    here = listener()
    for number in range(turns(30)):
        one.agent.listen("primary", here)
        if number % 2:
            one.agent.hand_back("primary").close()
        else:
            one.agent.do("LARDER", "UNLISTEN", "primary")
        waiting = [at(here) for _ in range(5)]
        for client in waiting:
            client.command("PING")
        two.agent.listen("primary", here)
        for client in waiting:
            assert client.reply() == ("+", b"PONG")
            client.close()
        two.agent.do("LARDER", "UNLISTEN", "primary")


def test_handover_under_load_loses_no_connection(node, listener):
    """A listener goes to and fro between two servers while clients connect; each gets its PONG from one of them."""
    nodes = [node(), node()]
    here = listener()
    stop = threading.Event()
    failures, served = [], []

    def knock():
        count = 0
        try:
            while not stop.is_set():
                with at(here, timeout=20) as client:
                    assert client.do("PING") == b"PONG"
                    count += 1
        except Exception as failure:  # noqa: BLE001 - whatever it is, the test has to see it
            failures.append(repr(failure))
        served.append(count)

    nodes[0].agent.listen("primary", here)
    crowd = [threading.Thread(target=knock) for _ in range(4)]
    for one in crowd:
        one.start()
    for number in range(turns(200)):
        has, wants = nodes[number % 2], nodes[1 - number % 2]
        if number % 4 < 2:
            with has.agent.hand_back("primary") as passed:
                wants.agent.listen("primary", passed)
        else:
            has.agent.do("LARDER", "UNLISTEN", "primary")
            wants.agent.listen("primary", here)
        before = sum(one.agent.listeners().get("primary", ("", 0))[1] for one in nodes)
        await_true(lambda: failures or sum(one.agent.listeners().get("primary", ("", 0))[1] for one in nodes) > before,
                   "nobody is served any more")
        if failures:
            break
    stop.set()
    for one in crowd:
        one.join()
    assert not failures, failures
    assert sum(served) > turns(200)


def test_the_death_of_a_server_leaves_the_queue_alone(node, listener):
    one, two = node(), node()
    here = listener()
    one.agent.listen("primary", here)
    with at(here) as first:
        assert first.do("PING") == b"PONG"
        one.crash()
        with at(here) as client:
            client.command("PING")
            two.agent.listen("primary", here)
            assert client.reply() == ("+", b"PONG")


def test_closing_with_the_listener(node, listener):
    one = node()
    primary, other = listener(), listener()
    one.agent.listen("primary", primary)
    one.agent.listen("node", other)
    with at(primary) as a, at(other) as b, one.connect(unix=True) as c:
        for client in (a, b, c):
            client.do("PING")
        # Connections of an earlier time under that name, too.
        with one.agent.hand_back("primary") as back:
            one.agent.listen("primary", back)
        with at(primary) as later:
            later.do("PING")
            assert one.agent.do("LARDER", "UNLISTEN", "primary", "CLOSE") == b"OK"
            assert a.until_close() == b"" and later.until_close() == b""
        assert b.do("PING") == c.do("PING") == b"PONG"
        # A worker forgets a connection a moment after its peer saw the end.
        await_true(lambda: one.agent.call("LARDER", "UNLISTEN", "primary", "CLOSE")[1].startswith(b"NOLISTENER"),
                   "somebody still has the listener")
        assert one.agent.error("LARDER", "UNLISTEN", "node", "NOW") == "ERR syntax error"
        assert one.agent.do("LARDER", "UNLISTEN", "node") == b"OK"
        assert b.do("PING") == b"PONG"
        # It was left open then, and is closed now.
        assert one.agent.do("LARDER", "UNLISTEN", "node", "CLOSE") == b"OK"
        assert b.until_close() == b""
        assert c.do("PING") == b"PONG"


def test_closing_under_load_leaves_nobody(node, listener):
    """Whoever came through the listener is gone when it has left, those just accepted included."""
    one = node([("threads", 4)])
    here = listener()
    stop = threading.Event()
    failures = []

    def knock():
        while not stop.is_set():
            try:
                with at(here, timeout=20) as client:
                    while not stop.is_set():
                        client.do("PING")
            except (Closed, OSError) as failure:
                if isinstance(failure, TimeoutError):
                    failures.append(repr(failure))

    crowd = [threading.Thread(target=knock) for _ in range(6)]
    for thread in crowd:
        thread.start()
    for _ in range(turns(100)):
        one.agent.listen("primary", here)
        await_true(lambda: one.agent.listeners()["primary"][1] > 3, "nobody comes")
        assert one.agent.do("LARDER", "UNLISTEN", "primary", "CLOSE") == b"OK"
        await_true(lambda: one.agent.do("CLIENT", "LIST") == b"", lambda: one.agent.do("CLIENT", "LIST").decode())
    one.agent.listen("primary", here)
    stop.set()
    for thread in crowd:
        thread.join()
    assert not failures, failures


def test_the_same_name_again(node, listener):
    one = node()
    here, there = listener(), listener()
    files = open_files(one)
    one.agent.listen("primary", here)
    for _ in range(5):
        one.agent.listen("primary", here)  # the same socket: nothing happens
    assert len(one.agent.listeners()) == 2
    await_files(one, files + 1)
    with at(here) as client:
        client.do("PING")
        one.agent.listen("primary", there)
        assert client.do("PING") == b"PONG"
        assert one.agent.listeners()["primary"][0] == "%s:%d" % there.getsockname()
        with at(there) as other, at(here) as waiting:
            assert other.do("PING") == b"PONG"
            waiting.command("PING")
            assert not waiting.has_reply(0.1)


def test_passed_listeners_stay_when_addresses_change(node, listener):
    one = node()
    here = listener()
    one.agent.listen("primary", here)
    port = servers.free_port()
    assert one.agent.do("CONFIG", "SET", "port", port, "bind", "127.0.0.1") == b"OK"
    assert one.agent.listeners()["bind"] == (f"127.0.0.1:{port}", 0)
    with at(here) as client, Client(("127.0.0.1", port)) as other:
        assert client.do("PING") == other.do("PING") == b"PONG"
        assert one.agent.error("LARDER", "UNLISTEN", "bind").startswith("NOLISTENER")
        assert one.agent.do("CONFIG", "SET", "port", 0) == b"OK"
        assert client.do("PING") == other.do("PING") == b"PONG"
    with at(here) as client:
        assert client.do("PING") == b"PONG"


def test_readers_share_an_address(node):
    """Each process has a listener of its own on one address, and the kernel spreads the connections."""
    made = []
    for _ in range(2):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(made[0].getsockname() if made else ("127.0.0.1", 0))
        one.listen(511)
        made.append(one)
    nodes = [node(), node()]
    for one, own in zip(nodes, made):
        one.agent.listen("reader", own)
    seen = set()
    for _ in range(200):
        with at(made[0]) as client:
            seen.add(run_id(client))
        if len(seen) == 2:
            break
    assert len(seen) == 2
    for own in made:
        own.close()


# HELLO

def test_hello(node, start):
    one = node([("node-id", "cache-0001-001"), ("databases", 4)])
    hello = one.agent.hello()
    assert hello["node-id"] == "cache-0001-001" and hello["protocol"] == 1 and hello["pid"] == one.pid
    assert hello["role"] == "master" and hello["epoch"] == 0 and hello["granted"] == "yes"
    assert hello["link"] == "none" and hello["loading"] == "no" and hello["keys"] == 0 and hello["rules"] == 0
    assert hello["version"] and hello["uptime"] >= 0
    info = one.agent.info("replication")
    assert hello["replication-id"] == info["master_replid"] and str(hello["offset"]) == info["master_repl_offset"]
    one.agent.pipeline([("SET", "a", 1), ("SELECT", 3), ("SET", "b", 2), ("SET", "c", 3), ("SELECT", 0)])
    assert one.agent.hello()["keys"] == 3
    primary = start()
    one.agent.do("REPLICAOF", "127.0.0.1", primary.port)
    await_true(lambda: one.agent.hello()["link"] == "connected", lambda: one.agent.hello())
    hello = one.agent.hello()
    assert hello["role"] == "slave" and hello["keys"] == 0 and hello["loading"] == "no"
    assert one.agent.error("CONFIG", "SET", "node-id", "x").startswith("ERR CONFIG SET failed")
    assert one.agent.do("HELLO", 3) and one.agent.call("LARDER", "HELLO")[0] == "*"


def test_hello_while_the_gate_cannot_close(node, listener):
    """A command holds a partition for long, and another one waits to close the gate for its sake."""
    one = node()
    here = listener()
    one.agent.listen("primary", here)
    with at(here) as slow, at(here) as closer, Agent(str(one.dir / "admin")) as busy:
        slow.pipeline([("SET", "a", "ab" * 2500), ("SET", "b", "ba" * 2500), ("MULTI",)])
        slow.pipeline([("LCS", "a", "b", "LEN")] * 40)
        jobs = one.agent.info("larder")["larder_lane_jobs"]
        slow.command("EXEC")
        await_true(lambda: one.agent.info("larder")["larder_lane_jobs"] != jobs, "it does not begin")
        closer.command("FLUSHALL")
        busy.command("CONFIG", "SET", "timeout", "7")   # the agent's own: it waits for the gate as well
        rounds = 0
        while not slow.has_reply(0):
            waited = not closer.has_reply(0) and not busy.has_reply(0)
            assert one.agent.do("PING") == b"PONG" and one.agent.hello()["pid"] == one.pid
            assert "uptime_in_seconds" in one.agent.info("server")
            with Agent(str(one.dir / "admin")) as another:
                assert another.hello()["pid"] == one.pid
            rounds += waited and not slow.has_reply(0)
        assert rounds > 3
        assert slow.reply() == ("*", [(":", 4999)] * 40)
        assert closer.reply() == busy.reply() == ("+", b"OK")


def test_commands_that_wait_do_not_hold_up_the_others(node):
    one = node()
    with Agent(str(one.dir / "admin")) as patient:
        patient.send(encode(["WAIT", 1, 300]) + encode(["PING"]) + encode(["LARDER", "LISTENERS"]))
        assert one.agent.hello()["pid"] == one.pid
        assert not patient.has_reply(0.1)
        assert patient.reply() == (":", 0) and patient.reply() == ("+", b"PONG")
        assert patient.reply()[0] == "*"


def test_the_admin_socket_feeds_no_replica(node):
    one = node()
    for words in (("PSYNC", "?", "-1"), ("SYNC",), ("REPLCONF", "listening-port", 1)):
        assert one.agent.error(*words).startswith("ERR unknown command")


def test_shutdown_over_the_admin_socket(node):
    one = node()
    one.agent.command("SHUTDOWN", "NOSAVE")
    assert one.process.wait(20) == 0


# Rules about peers

def test_rules_apply_to_live_connections(node, listener):
    one = node([("protected-mode", "no")])
    here = listener()
    one.agent.listen("primary", here)
    clients = {number: at(here, source=f"127.0.0.{number}") for number in range(1, 6)}
    with one.connect(unix=True) as exempt:
        for client in (*clients.values(), exempt):
            client.do("PING")
        assert one.agent.do("LARDER", "ALLOW", 7, "127.0.0.2/31", "127.0.0.5") == b"OK"
        for number, client in clients.items():
            if number in (2, 3, 5):
                assert client.do("PING") == b"PONG"
            else:
                assert client.until_close() == b""
        assert one.agent.hello()["rules"] == 7
        with at(here, source="127.0.0.4") as late:
            assert late.until_close() == b""
        assert one.agent.do("LARDER", "ALLOW", 7, "127.0.0.2", "fd00::/8") == b"OK"
        assert clients[3].until_close() == b"" and clients[5].until_close() == b""
        assert clients[2].do("PING") == b"PONG"
        assert one.agent.do("LARDER", "ALLOW", 8, "none") == b"OK"
        assert clients[2].until_close() == b""
        with at(here, source="127.0.0.2") as late:
            assert late.until_close() == b""
        assert exempt.do("PING") == b"PONG" and one.agent.hello()["rules"] == 8
        assert one.agent.do("LARDER", "ALLOW", 2 ** 63 - 1, "0.0.0.0/0") == b"OK"
        with at(here, source="127.0.0.4") as late:
            assert late.do("PING") == b"PONG"
    for client in clients.values():
        client.close()


def test_rules_are_replaced_whole_or_not_at_all(node, listener):
    one = node()
    here = listener()
    one.agent.listen("primary", here)
    assert one.agent.do("LARDER", "ALLOW", 5, "127.0.0.2") == b"OK"
    assert one.agent.error("LARDER", "ALLOW", 4, "127.0.0.3") == "STALERULES The rules in force have version 5"
    for wrong in (("x",), ("127.0.0.3", "127.0.0.1/33"), ("127.0.0.3", "none"), ("",)):
        assert one.agent.error("LARDER", "ALLOW", 6, *wrong).endswith("is no address block such as 10.0.0.0/8")
    for wrong in (-1, "x", 2 ** 63):
        assert one.agent.error("LARDER", "ALLOW", wrong, "none").startswith("ERR value is")
    assert one.agent.error("LARDER", "ALLOW", 6).startswith("ERR wrong number of arguments")
    assert one.agent.hello()["rules"] == 5
    with at(here, source="127.0.0.2") as allowed, at(here, source="127.0.0.3") as other:
        assert allowed.do("PING") == b"PONG" and other.until_close() == b""
        # Many at once, and rules under the hands of those who come.
        many = [f"127.0.{i // 200}.{i % 200 + 1}" for i in range(1000)]
        assert one.agent.do("LARDER", "ALLOW", 6, *many) == b"OK"
        assert allowed.do("PING") == b"PONG"


def test_rules_beside_connects(node, listener):
    one = node([("threads", 4)])
    here = listener()
    one.agent.listen("primary", here)
    stop = threading.Event()
    failures = []

    def knock(source, always):
        while not stop.is_set():
            try:
                with at(here, source=source, timeout=20) as client:
                    assert client.do("PING") == b"PONG"
            except (Closed, OSError) as failure:
                if always or isinstance(failure, TimeoutError):
                    failures.append(repr(failure))

    crowd = [threading.Thread(target=knock, args=(f"127.0.0.{2 + i % 2}", i % 2 == 0)) for i in range(4)]
    for thread in crowd:
        thread.start()
    for version in range(1, turns(300)):
        sources = ["127.0.0.2"] + ["127.0.0.3"] * (version % 2)
        assert one.agent.do("LARDER", "ALLOW", version, *sources) == b"OK"
    stop.set()
    for thread in crowd:
        thread.join()
    assert not failures, failures


# The lock

def test_the_lock_forbids_a_second_server(node, start):
    one = node([("node-lock", "lock")])
    path = str(one.dir / "lock")
    before = (one.dir / "admin").stat().st_ino
    argv = [servers.larder_binary(), "--dir", str(one.dir), "--node-lock", "lock", "--port", "0", "--admin-socket", "admin"]
    ended = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
    assert ended.returncode == 1
    assert f"The node lock lock is held by process {one.pid}\n" in ended.stdout
    # It ended before it touched anything.
    assert (one.dir / "admin").stat().st_ino == before and one.agent.do("PING") == b"PONG"
    one.crash()
    with Client(start([("node-lock", path)]).address) as client:
        assert client.do("PING") == b"PONG"
    one.agent.close()


def test_a_lock_that_cannot_be_taken(node, tmp_path):
    with pytest.raises(servers.StartError) as failure:
        node([("node-lock", tmp_path / "none" / "lock")])
    assert "Can't take the node lock" in str(failure.value)


# Which commands clients may call

REFUSED = (("BGREWRITEAOF",), ("DEBUG", "JMAP"), ("PSYNC", "?", -1), ("SYNC",), ("REPLCONF", "capa", "eof"),
           ("REPLICAOF", "no", "one"), ("SLAVEOF", "no", "one"), ("SAVE",), ("SHUTDOWN",), ("FAILOVER",),
           ("LARDER", "HELLO"))
MANAGED = (("BGSAVE",),)
ALLOWED = (("PING",), ("CLIENT", "LIST"), ("DBSIZE",), ("ROLE",), ("INFO",), ("LASTSAVE",), ("KEYS", "*"), ("SWAPDB", 0, 1))


def unknown(words):
    args = "".join(f"'{word}' " for word in words[1:])
    return f"ERR unknown command '{words[0]}', with args beginning with: {args}"


def no_subcommand(container, name):
    return f"ERR unknown subcommand '{name}'. Try {container} HELP."


@pytest.mark.parametrize("mode", ["relaxed", "managed", "strict"])
def test_commands_refused_to_clients(node, listener, mode):
    one = node([("client-commands", mode)])
    here = listener()
    one.agent.listen("primary", here)
    with at(here) as client, one.connect(unix=True) as local:
        for c in (client, local):
            for words in REFUSED + (MANAGED if mode != "relaxed" else ()):
                assert c.error(*words).strip() == unknown(words).strip()
            for words in ALLOWED:
                c.do(*words)
        # Names are as they were sent, in pipelines too, and transactions notice.
        replies = client.pipeline([("SET", "a", 1), ("Save",), ("GET", "a"), ("MULTI",), ("sHutdown", "now"), ("EXEC",)])
        assert replies[1] == ("-", b"ERR unknown command 'Save', with args beginning with: ")
        assert replies[2] == ("$", b"1") and replies[5][1].startswith(b"EXECABORT")
        # The agent may do all that.
        assert one.agent.do("SAVE") == b"OK" and one.agent.do("CONFIG", "GET", "port") == [b"port", b"0"]
        assert one.agent.do("DEBUG", "JMAP") and one.agent.do("REPLICAOF", "no", "one") == b"OK"
        assert one.agent.do("CONFIG", "SET", "client-commands", "all") == b"OK"
        assert client.do("SAVE") == b"OK"


def test_config_for_clients(node, listener):
    one = node([("client-commands", "managed"), ("masterauth", "open"), ("enable-debug-command", "yes")])
    here = listener()
    one.agent.listen("primary", here)
    with at(here) as client:
        assert client.do("CONFIG", "GET", "maxmemory", "masterauth") == [b"maxmemory", b"0"]
        assert client.do("CONFIG", "GET", "*auth") == []
        assert one.agent.do("CONFIG", "GET", "masterauth") == [b"masterauth", b"open"]
        assert client.do("CONFIG", "HELP")
        for words in (("SET", "timeout", 1), ("RESETSTAT",), ("REWRITE",)):
            assert client.error("CONFIG", *words) == no_subcommand("CONFIG", words[0])
        one.agent.do("CONFIG", "SET", "client-commands", "relaxed")
        assert client.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "hash-max-ziplist-value", 70) == b"OK"
        assert client.do("CONFIG", "GET", "hash-max-listpack-value") == [b"hash-max-listpack-value", b"70"]
        assert client.do("CONFIG", "RESETSTAT") == b"OK"
        assert client.error("CONFIG", "REWRITE") == no_subcommand("CONFIG", "REWRITE")
        for name in ("dir", "requirepass", "bind", "maxmemory", "client-commands", "replication-secret", "save"):
            error = client.error("CONFIG", "SET", "maxmemory-policy", "noeviction", name, "x")
            assert error == f"ERR CONFIG SET failed (possibly related to argument '{name}') - can't set protected config"
        assert client.do("CONFIG", "GET", "maxmemory-policy", "masterauth") == [b"maxmemory-policy", b"allkeys-lru"]
        assert client.error("CONFIG", "SET", "nonsense", 1).startswith("ERR Unknown option")
        one.agent.do("CONFIG", "SET", "client-commands", "strict")
        for words in (("CONFIG", "GET", "port"), ("config", "help"), ("CONFIG", "nonsense"), ("CONFIG",)):
            assert client.error(*words).strip() == unknown(words).strip()
        one.agent.do("CONFIG", "SET", "client-commands", "all")
        assert client.do("CONFIG", "GET", "masterauth") == [b"masterauth", b"open"]
        assert client.error("CONFIG", "SET", "client-commands", "strict").endswith("can't set protected config")


def test_command_lists_what_there_is(node, listener):
    one = node()
    here = listener()
    one.agent.listen("primary", here)
    with at(here) as client:
        full = set(client.do("COMMAND", "LIST"))
        count = client.do("COMMAND", "COUNT")
        one.agent.do("CONFIG", "SET", "client-commands", "managed")
        gone = full - set(client.do("COMMAND", "LIST"))
        assert {b"bgsave", b"debug", b"psync", b"config|set", b"larder", b"larder|hello"} <= gone
        assert not {b"config", b"config|get", b"client", b"get"} & gone
        names = [info[0] for info in client.do("COMMAND")]
        assert len(names) == client.do("COMMAND", "COUNT") < count and b"bgsave" not in names
        config = client.do("COMMAND", "INFO", "config", "save", "config|set")
        assert [sub[0] for sub in config[0][9]] == [b"config|get", b"config|help"] and config[1:] == [None, None]
        docs = client.do("COMMAND", "DOCS", "config", "save", "get")
        assert docs[::2] == [b"config", b"get"]
        assert len(client.do("COMMAND", "DOCS")) == 2 * len(names)
        assert one.agent.do("COMMAND", "COUNT") == count
        assert not any(b"no_managed" in str(info[2]).encode() for info in one.agent.do("COMMAND"))


# The secret of replicas

SECRET = "a secret of 32 letters and digits"


def test_a_replica_logs_in_and_does_nothing_else(node, listener):
    one = node([("client-commands", "managed"), ("replication-secret", SECRET), ("requirepass", "open")])
    here = listener()
    one.agent.listen("primary", here)
    with at(here) as client:
        assert client.error("PING").startswith("NOAUTH")
        assert client.do("AUTH", "larder-replica", SECRET) == b"OK"
        assert client.do("PING") == b"PONG" and client.do("REPLCONF", "capa", "psync2") == b"OK"
        for words in (("GET", "k"), ("AUTH", "open"), ("RESET",), ("QUIT",), ("HELLO", 3), ("CONFIG", "GET", "*"),
                      ("COMMAND",), ("INFO",), ("CLIENT", "LIST"), ("MULTI",), ("REPLICAOF", "no", "one"),
                      ("LARDER", "HELLO")):
            assert client.error(*words).startswith("ERR unknown"), words
        client.command("PSYNC", "?", -1)
        assert client.reply()[1].startswith(b"FULLRESYNC")
    with at(here) as client:  # also as an option of HELLO, and for one who was somebody else before
        client.do("AUTH", "open")
        assert client.do("SET", "k", "v") == b"OK"
        client.call("HELLO", 2, "AUTH", "larder-replica", SECRET)
        assert client.error("GET", "k").startswith("ERR unknown command")
    assert one.agent.do("CONFIG", "GET", "replication-secret", "*secret*") == []


def answer_to(address, source, words):
    """What the server at that address says to somebody from `source`; b"" when it closes."""
    with socket.socket() as sock:
        sock.bind((source, 0))
        sock.settimeout(10)
        sock.connect(address)
        try:
            sock.sendall(words)
            return sock.recv(1000)
        except ConnectionResetError:
            return b""


def test_replicas_come_from_named_addresses(node, listener):
    one = node([("replication-secret", SECRET)])
    here = listener()
    one.agent.listen("primary", here)
    address = here.getsockname()
    login = encode(("AUTH", "larder-replica", SECRET))
    assert one.agent.do("LARDER", "ALLOW", 1, "127.7.0.0/16") == b"OK"
    assert answer_to(address, "127.7.0.1", b"PING\r\n") == b"+PONG\r\n"
    assert answer_to(address, "127.8.0.1", login) == b"+OK\r\n"
    assert one.agent.do("LARDER", "ALLOW", 2, "127.7.0.0/16", "REPLICAS", "127.8.0.1/32") == b"OK"
    assert answer_to(address, "127.7.0.1", b"PING\r\n") == b"+PONG\r\n"
    assert answer_to(address, "127.8.0.1", b"PING\r\n").startswith(b"-NOAUTH")
    assert answer_to(address, "127.8.0.1", login) == b"+OK\r\n"
    assert answer_to(address, "127.8.0.2", login) == b""
    assert one.agent.do("LARDER", "ALLOW", 3, "none", "replicas") == b"OK"
    assert answer_to(address, "127.8.0.1", login) == b""


def test_failed_logins_of_replicas(node, listener):
    one = node([("replication-secret", SECRET), ("requirepass", "open")])
    here = listener()
    one.agent.listen("primary", here)
    with at(here) as client:  # as any other login: the next try has to wait
        begin = time.monotonic()
        for wrong in ("", SECRET[:-1], SECRET + "x"):
            assert client.error("AUTH", "larder-replica", wrong).startswith("WRONGPASS")
        assert client.error("AUTH", "larder-replica", "open").startswith("WRONGPASS")
        assert client.error("AUTH", "default", SECRET).startswith("WRONGPASS")
        assert time.monotonic() - begin > 1.4
    with at(here) as client:  # who is in already has one try
        client.do("AUTH", "open")
        assert client.error("AUTH", "larder-replica", "x").startswith("WRONGPASS")
        assert client.until_close() == b""
    assert one.agent.do("CONFIG", "SET", "replication-secret", "") == b"OK"
    with at(here) as client:  # without a secret there is no such user, and an empty password is none
        assert client.error("AUTH", "larder-replica", "").startswith("WRONGPASS")


def test_rules_do_not_concern_replicas(node, listener, start):
    one = node([("client-commands", "managed"), ("replication-secret", SECRET)])
    here = listener()
    one.agent.listen("primary", here)
    one.agent.do("LARDER", "ALLOW", 1, "127.0.0.9")
    follow = [("replicaof", "127.0.0.1", here.getsockname()[1])]
    login = [("masteruser", "larder-replica"), ("masterauth", SECRET)]
    replica = start(follow + login)
    await_link(replica)
    with at(here) as outsider, at(here, source="127.0.0.9") as client, replica.connect() as reader:
        client.do("SET", "k", "v")
        await_true(lambda: reader.do("GET", "k") == b"v", "it does not come through")
        # Other logins are none for them, though there is no password.
        for words in (("PING",), ("GET", "k"), ("HELLO", 3)):
            assert outsider.error(*words).startswith("NOAUTH"), words
        assert outsider.do("RESET") == b"RESET" and outsider.error("GET", "k").startswith("NOAUTH")
        assert outsider.error("AUTH", "default", "").startswith("WRONGPASS")
        assert outsider.error("HELLO", 3, "AUTH", "default", "").startswith("WRONGPASS")
        one.agent.do("LARDER", "ALLOW", 2, "none")
        assert client.until_close() == b""
        assert outsider.error("PING").startswith("NOAUTH")  # it may yet become a replica
        one.agent.do("LARDER", "ALLOW", 3, "none", "REPLICAS", "127.0.0.1")
        assert outsider.error("PING").startswith("NOAUTH")
        one.agent.do("SET", "k", "w")
        await_true(lambda: reader.do("GET", "k") == b"w", "it does not come through")
        assert one.agent.info("stats")["sync_full"] == "1"
    one.agent.do("CONFIG", "SET", "replication-secret", "")
    with at(here) as late:
        assert late.until_close() == b""


def test_a_replica_without_the_secret_is_refused(node, listener, start):
    one = node([("client-commands", "managed"), ("replication-secret", SECRET)])
    here = listener()
    one.agent.listen("primary", here)
    replica = start([("replicaof", "127.0.0.1", here.getsockname()[1])])
    assert replica.output.wait_for("unknown command 'PSYNC'", 20)
    with replica.connect() as client:
        client.do("CONFIG", "SET", "masteruser", "larder-replica", "masterauth", SECRET)
    await_link(replica)


def test_the_secret_stays_out_of_messages(start, tmp_path):
    with pytest.raises(servers.StartError) as failure:
        start(config=f'replication-secret {SECRET} too many words\n')
    assert "replication-secret ..." in str(failure.value) and "letters" not in str(failure.value)


# The grant

def test_without_a_grant_nobody_is_served(node, listener, start):
    one = node([("grant-required", "yes"), ("replication-secret", SECRET)])
    here = listener()
    one.agent.listen("primary", here)
    assert one.agent.hello()["granted"] == "no"
    with at(here) as client, at(here) as replica:
        assert client.error("GET", "k").startswith("NOGRANT")
        assert client.error("PING").startswith("NOGRANT")
        assert replica.do("AUTH", "larder-replica", SECRET) == b"OK"
        for words in (("PING",), ("REPLCONF", "capa", "eof"), ("PSYNC", "?", -1), ("SYNC",)):
            assert replica.error(*words).startswith("NOGRANT"), words
        follower = start([("replicaof", "127.0.0.1", here.getsockname()[1]), ("masteruser", "larder-replica"),
                          ("masterauth", SECRET)])
        assert follower.output.wait_for("NOGRANT", 20)
        assert one.agent.do("SET", "k", "v") == b"OK"
        assert one.agent.do("LARDER", "GRANT", 3) == b"OK"
        assert client.do("GET", "k") == b"v" and replica.do("PING") == b"PONG"
        hello = one.agent.hello()
        assert (hello["granted"], hello["epoch"]) == ("yes", 3)
        await_link(follower)
        # An epoch of the past changes nothing.
        assert one.agent.error("LARDER", "REVOKE", 2).startswith("STALEEPOCH") and client.do("GET", "k") == b"v"
        assert one.agent.do("LARDER", "REVOKE", 4) == b"OK"
        assert client.until_close() == b"" and replica.until_close() == b""
        assert one.agent.error("LARDER", "GRANT", 3).startswith("STALEEPOCH")
        hello = one.agent.hello()
        assert (hello["granted"], hello["epoch"]) == ("no", 4)
    with at(here) as client:
        assert client.error("GET", "k").startswith("NOGRANT")


def test_a_change_of_roles_keeps_the_grant(node, listener, start):
    primary = start()
    one = node([("grant-required", "yes")])
    here = listener()
    one.agent.listen("primary", here)
    one.agent.do("LARDER", "GRANT", 1)
    with at(here) as client:
        assert client.do("SET", "k", "v") == b"OK"
        assert one.agent.do("REPLICAOF", "127.0.0.1", primary.port) == b"OK"
        await_true(lambda: one.agent.hello()["link"] == "connected", lambda: one.agent.hello())
        assert client.do("GET", "k") is None and client.error("SET", "k", "v").startswith("READONLY")
        assert one.agent.hello()["granted"] == "yes"
        assert one.agent.do("REPLICAOF", "no", "one") == b"OK"
        assert one.agent.hello()["granted"] == "yes" and client.do("SET", "k", "w") == b"OK"


def test_a_restart_ends_the_grant(node, listener):
    one = node([("grant-required", "yes"), ("save", "3600 1")])
    here = listener()
    one.agent.listen("primary", here)
    one.agent.do("LARDER", "GRANT", 5)
    with at(here) as client:
        assert client.do("SET", "k", "v") == b"OK"
    one.agent.close()
    assert one.terminate() == 0
    one.restart()
    one.agent = Agent(str(one.dir / "admin"))
    hello = one.agent.hello()
    assert (hello["granted"], hello["epoch"], hello["keys"]) == ("no", 0, 1)
    assert one.agent.listeners().keys() == {"unixsocket"}
    one.agent.listen("primary", here)
    with at(here) as client:
        assert client.error("GET", "k").startswith("NOGRANT")
        one.agent.do("LARDER", "GRANT", 6)
        assert client.do("GET", "k") == b"v"
    one.agent.close()
