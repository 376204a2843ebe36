"""Drives one stream through two servers in lockstep and compares every reply, then the contents.

A batch goes to both servers, cut at random places, a piece to one and a piece to the other in turn; then all its
replies are read from both. One connection is active at a time, so both servers see the same order of commands
whatever their threads do.
"""

import random
from collections import deque

from differential import rules
from differential.stream import CONNECTIONS, ConnectionId
from support.resp import BadReply, Closed, ReplyError, encode, encode_inline

DATABASES = 16
HISTORY = 20


class Divergence(Exception):
    """The servers disagreed. `number` counts commands from 1."""

    def __init__(self, number, item, command, problem, ours, theirs, history):
        super().__init__(problem)
        self.number = number
        self.item = item
        self.command = command
        self.problem = problem
        self.ours = ours
        self.theirs = theirs
        self.history = list(history)


class Connection:
    """A connection of a side: the client, and what the server calls it."""

    def __init__(self, server, unix):
        self.client = server.connect(unix=unix)
        self.id = self.client.do("CLIENT", "ID")


class Side:
    """One of the two servers with its connections."""

    def __init__(self, server, tamper=None):
        """`tamper(number, reply)` may replace a reply: for testing the test."""
        self.server = server
        self.tamper = tamper
        self.connections = [Connection(server, self.unix(at)) for at in range(CONNECTIONS)]

    @staticmethod
    def unix(at):
        return at % 3 == 2

    def reconnect(self, at):
        self.connections[at].client.close()
        self.connections[at] = Connection(self.server, self.unix(at))

    def client(self, at):
        return self.connections[at].client

    def resolve(self, args):
        return [b"%d" % self.connections[arg.connection].id if isinstance(arg, ConnectionId) else arg for arg in args]

    def bytes_of(self, batch):
        out = []
        for item in batch:
            if item.kind == "raw":
                out.append(item.commands)
            else:
                make = encode_inline if item.inline else encode
                out += [make(self.resolve(args)) for args in item.commands]
        return b"".join(out)

    def close(self):
        for connection in self.connections:
            connection.client.close()


class Lockstep:
    def __init__(self, ours, theirs, seed, tamper=None):
        self.sides = [Side(ours, tamper), Side(theirs)]
        self.rng = random.Random(seed)
        self.number = 0
        self.history = deque(maxlen=HISTORY)
        self.queues = [None] * CONNECTIONS

    def close(self):
        for side in self.sides:
            side.close()

    # One batch

    def run(self, batches):
        for batch in batches:
            self.batch(batch)

    def batch(self, batch):
        try:
            self.run_batch(batch)
        except (Closed, BadReply, ReplyError, OSError) as failure:
            # Whatever was not expected of a server, be it while connecting again.
            raise self.failed(batch[-1], batch[-1].commands, f"unexpected: {failure!r}", None, None) from failure

    def run_batch(self, batch):
        connection = batch[0].connection
        if batch[0].kind == "probe":
            self.count(batch[0], batch[0].commands)
            self.probe(batch[0])
            return
        self.send(connection, [side.bytes_of(batch) for side in self.sides])
        for item in batch:
            if item.kind == "commands":
                self.read(item)
            elif item.kind == "raw":
                self.count(item, [item.commands])
        if batch[-1].closes:
            self.closed(batch[-1], connection)

    def send(self, connection, requests):
        pieces = self.rng.choice([1, 1, 2, 3, 8])
        cuts = sorted(self.rng.random() for _ in range(pieces - 1))
        places = [[0, *(int(cut * len(data)) for cut in cuts), len(data)] for data in requests]
        for piece in range(pieces):
            for side, data, place in zip(self.sides, requests, places):
                if place[piece] < place[piece + 1]:
                    side.client(connection).send(data[place[piece]:place[piece + 1]])

    def count(self, item, command):
        self.number += 1
        self.history.append((self.number, item.connection, command))

    def read(self, item):
        for at, args in enumerate(item.commands):
            self.count(item, args)
            if at not in item.silent:
                replies = [self.reply(side, item, args) for side in self.sides]
                self.compare(item, args, *replies)

    def reply(self, side, item, args):
        try:
            reply = side.client(item.connection).reply()
        except Closed as closed:
            raise self.failed(item, args, f"{side.server.binary} closed the connection", closed.args[0], None) from None
        except (BadReply, ValueError) as bad:
            raise self.failed(item, args, f"{side.server.binary} sent no RESP: {bad}", None, None) from None
        except TimeoutError:
            raise self.failed(item, args, f"{side.server.binary} did not answer", None, None) from None
        return side.tamper(self.number, reply) if side.tamper else reply

    def failed(self, item, command, problem, ours, theirs):
        return Divergence(self.number, item, command, problem, ours, theirs, self.history)

    def compare(self, item, args, ours, theirs):
        queue = self.queues[item.connection]
        name = args[0].upper()
        if queue is not None and name == b"EXEC" and theirs[0] == "*" and theirs[1] is not None:
            problem = self.compare_exec(queue, ours, theirs)
        else:
            problem = rules.compare(args, ours, theirs)
        if problem:
            raise self.failed(item, args, problem, ours, theirs)
        self.follow(item.connection, name, args, theirs)

    @staticmethod
    def compare_exec(queue, ours, theirs):
        if ours[0] != "*" or ours[1] is None or len(ours[1]) != len(queue) or len(theirs[1]) != len(queue):
            return "EXEC answers something else"
        for at, args in enumerate(queue):
            problem = rules.compare(args, ours[1][at], theirs[1][at])
            if problem:
                return f"in EXEC, command {at + 1}, {args!r}: {problem}"
        return None

    def follow(self, connection, name, args, reply):
        """Keeps what a connection has queued, judged by its replies."""
        queue = self.queues[connection]
        if queue is None:
            if name == b"MULTI" and reply == ("+", b"OK"):
                self.queues[connection] = []
        elif reply == ("+", b"QUEUED"):
            queue.append(args)
        elif (name in (b"DISCARD", b"RESET") and reply[0] == "+") or (
                name == b"EXEC" and (reply[0] != "-" or reply[1].startswith(b"EXECABORT"))):
            self.queues[connection] = None

    def closed(self, item, connection):
        """Both servers have to close this connection, with the same last words."""
        rest = []
        for side in self.sides:
            try:
                rest.append(side.client(connection).until_close())
            except TimeoutError:
                raise self.failed(item, item.commands, f"{side.server.binary} keeps the connection open", None,
                                  None) from None
        if rest[0] != rest[1]:
            raise self.failed(item, item.commands, "the last bytes before the close differ", *rest)
        self.queues[connection] = None
        for side in self.sides:
            side.reconnect(connection)

    # Probes: several requests whose answers depend on the server, and are compared as a whole

    def probe(self, item):
        self.queues[item.connection] = None
        for side in self.sides:
            side.client(item.connection).call("DISCARD")
        getattr(self, "probe_" + item.commands[0])(item, *item.commands[1:])

    def agree(self, item, what, ours, theirs):
        if ours != theirs:
            raise self.failed(item, item.commands, f"{what} differ", ours, theirs)

    @staticmethod
    def scan(client, pattern=None, count=None, kind=None):
        """All keys that a whole iteration returns."""
        options = [word for name, value in (("MATCH", pattern), ("COUNT", count), ("TYPE", kind)) if value
                   for word in (name, value)]
        cursor, found = b"0", set()
        while True:
            cursor, page = client.do("SCAN", cursor, *options)
            found.update(page)
            if cursor == b"0":
                return found

    def each(self, item, work):
        try:
            return [work(side.client(item.connection)) for side in self.sides]
        except (Closed, BadReply, ReplyError, TimeoutError) as failure:
            raise self.failed(item, item.commands, f"a probe failed: {failure!r}", None, None) from failure

    def probe_scan(self, item, pattern, count, kind):
        self.agree(item, "the scanned keys", *self.each(item, lambda client: self.scan(client, pattern, count, kind)))

    def probe_settled_size(self, item):
        def size(client):
            found = self.scan(client, count=1000)
            return len(found), client.do("DBSIZE")
        self.agree(item, "the sizes", *self.each(item, size))

    def probe_random_key(self, item):
        found = self.each(item, lambda client: client.do("RANDOMKEY"))
        known = self.each(item,
                          lambda client: [client.do("EXISTS",
                                                    key or b"") if key is not None else None for key in found])
        wanted = [None, None] if found[1] is None else [1, 1]
        for side in known:
            if side != wanted:
                raise self.failed(item, item.commands, "a random key does not exist everywhere", found[0], found[1])

    def probe_keyspace(self, item):
        def count(client):
            own = dict(field.split("=", 1) for field in client.do("CLIENT", "INFO").decode().strip().split(" "))["db"]
            for database in range(DATABASES):
                client.do("SELECT", database)
                self.scan(client, count=1000)
            client.do("SELECT", own)
            info = client.info("keyspace")
            return {name: value.split(",")[:2] for name, value in info.items()}
        self.agree(item, "the key counts", *self.each(item, count))

    def probe_kill(self, item, way, target):
        at = item.connection
        if way == "self":
            target = at
        if way in ("addr", "old"):
            # Unix connections share one address.
            target -= Side.unix(target)
        if way in ("id", "addr") and target == at:
            way, target = "self", at

        def kill(side):
            connection = side.connections[target]
            name = None if Side.unix(target) else "%s:%d" % connection.client.sock.getsockname()
            words = {"id": ["ID", connection.id], "addr": ["ADDR", name], "old": [name],
                     "all": ["TYPE", "normal", "SKIPME", "yes"], "self": ["ID", connection.id, "SKIPME", "no"]}[way]
            return side.client(at).call("CLIENT", "KILL", *words)

        self.agree(item, "the replies", *[kill(side) for side in self.sides])
        for victim in range(CONNECTIONS) if way == "all" else [target]:
            if way != "all" or victim != at:
                self.closed(item, victim)

    # Contents

    def compare_contents(self, item):
        """Every key of every database: its type, value, deadline and encoding."""
        self.history.append((self.number, "new", "the final contents"))
        try:
            found = [self.contents(side.server) for side in self.sides]
        except (Closed, BadReply, ReplyError, OSError) as failure:
            raise self.failed(item, "the final contents", f"unexpected: {failure!r}", None, None) from failure
        for database in range(DATABASES):
            ours, theirs = found[0][database], found[1][database]
            self.agree(item, f"the keys of database {database}", sorted(ours), sorted(theirs))
            for key in theirs:
                for what, one, two in zip(("TYPE", "GET", "PEXPIRETIME", "OBJECT|ENCODING"), ours[key], theirs[key]):
                    problem = rules.compare(what.encode().split(b"|"), one, two)
                    if problem:
                        raise self.failed(item, [what, key], f"contents of database {database}: {problem}", one, two)

    @staticmethod
    def contents(server):
        out = []
        with server.connect() as client:
            for database in range(DATABASES):
                client.do("SELECT", database)
                keys = client.do("KEYS", "*")
                out.append({key: client.pipeline([["TYPE", key], ["GET", key], ["PEXPIRETIME", key],
                                                  ["OBJECT", "ENCODING", key]])
                            for key in keys})
        return out


def describe(reply):
    """A reply or a command for people: tagged, shortened."""
    text = repr(reply)
    return text if len(text) < 1500 else f"{text[:1200]} ... ({len(text)} characters) ... {text[-200:]}"


def last_commands(divergence):
    return "\n".join(f"  {number:>8} connection {connection}: {describe(command)}"
                     for number, connection, command in divergence.history)
