"""Servers that follow one another, for tests of replication: starting them, and waiting for what they become."""

import time

from support.keyspace import read_all

# A redis-server waits five seconds for more replicas before it makes a snapshot.
REDIS = (("repl-diskless-sync-delay", 0),)


class Servers:
    """Starts servers of both kinds: "larder" or "redis"."""

    def __init__(self, start, start_oracle):
        self.starters = {"larder": start, "redis": start_oracle}

    def primary(self, kind="larder", directives=(), **options):
        return self.starters[kind]([*(REDIS if kind == "redis" else ()), *directives], **options)

    def replica(self, of, kind="larder", directives=(), up=True, **options):
        """A replica of a server, or of a port of 127.0.0.1; `up`: wait until it has synchronised."""
        port = getattr(of, "port", of)
        server = self.primary(kind, [("replicaof", "127.0.0.1", port), *directives], **options)
        if up:
            await_link(server)
        return server


def await_true(check, what, seconds=30):
    """Waits until check() gives something; that."""
    end = time.monotonic() + seconds
    while True:
        got = check()
        if got:
            return got
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.005)


def await_info(server, wanted, section="replication", seconds=30):
    """Waits until wanted(INFO of that section) holds; that section."""
    seen = {}
    with server.connect() as client:
        def look():
            seen.update(client.info(section))
            return wanted(seen)
        await_true(look, lambda: f"it does not come so far: {seen}", seconds)
    return seen


def await_link(server, status="up", seconds=30):
    return await_info(server, lambda info: info.get("master_link_status") == status, seconds=seconds)


def await_role(server, role, seconds=30):
    return await_info(server, lambda info: info["role"] == role, seconds=seconds)


def await_online(server, count=1, seconds=30):
    """Waits until so many replicas of a server have the stream."""
    def online(info):
        return sum("state=online" in value for name, value in info.items() if name.startswith("slave")) >= count
    return await_info(server, online, seconds=seconds)


def stats(server):
    """Full synchronisations, and partial ones, that a server has granted."""
    with server.connect() as client:
        info = client.info("stats")
    return int(info["sync_full"]), int(info["sync_partial_ok"])


def fill(server, keys=2000, seed=1, big=0):
    """Data of every sort in several databases: integers, binary and empty values, deadlines, long ones."""
    with server.connect() as client:
        for db in (0, 3, 9):
            commands = [("SELECT", db)]
            for i in range(keys):
                name = b"\x00%d\r\n" % i if i % 7 == 0 else b"key:%d" % i
                value = (b"%d" % (i * seed), b"v" * (i % 300), b"", bytes(range(256)), b"-%d" % i)[i % 5]
                commands.append(("SET", name, value, *(("PX", 10 ** 8 + i) if i % 3 == 0 else ())))
            client.pipeline(commands)
        client.do("SELECT", 0)
        if big:
            client.do("SET", "big", b"%d" % seed + b"b" * big)
    return read_all(server)
