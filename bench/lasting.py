"""The measurements of data that lasts: snapshots, the append-only file, replicas.

What other clients feel and what memory is used while something is saved or sent; how long saving and loading take; what
a SET costs when it is also logged or replicated; how fast a replica replays; how long a confirmed write takes. Figures
of both servers come from turns (A B A B ...) where servers can wait for each other, and are kept round by round."""

import contextlib
import os
import select
import shutil
import signal
import socket
import statistics
import tempfile
import time

from servers import BenchError

CONNECTIONS = 50
PIPELINE = 16
KINDS = ("larder", "redis")
WAIT_SECONDS = 180
LONG = 300  # for a load program that is ended by a signal
# A replica that is behind is meant to stay connected.
PRIMARY = ["--client-output-buffer-limit", "replica 0 0 0", "--repl-diskless-sync-delay", "0"]


def wait_until(done, what, pause=0.02):
    deadline = time.monotonic() + WAIT_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise BenchError(f"waited {WAIT_SECONDS} s for {what}")
        time.sleep(pause)


def persistence(client, field):
    return client.info("persistence")[field]


@contextlib.contextmanager
def on_core(cores):
    """Keeps this program on `cores`: its own work must not take those of the server that is measured."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


# ---------------------------------------------------------------- during snapshots

class Nothing:
    """The quiet time that the others are compared with."""

    def __init__(self, unused_server, client, seconds):
        self.end = time.monotonic() + seconds

    def step(self):
        time.sleep(0.1)
        return time.monotonic() >= self.end


class Saving:
    def __init__(self, unused_server, client, unused_seconds):
        self.client = client
        client.bgsave()

    def step(self):
        time.sleep(0.1)
        return not persistence(self.client, "rdb_bgsave_in_progress")


class Rewriting:
    def __init__(self, unused_server, client, unused_seconds):
        self.client = client
        client.bgrewriteaof()

    def step(self):
        time.sleep(0.1)
        return not persistence(self.client, "aof_rewrite_in_progress")


class Syncing:
    """A replica that swallows what it is sent, up to the end of the snapshot."""

    def __init__(self, server, unused_client, unused_seconds):
        self.socket = socket.create_connection(("127.0.0.1", server.port), 60)
        self.socket.settimeout(60)
        for request in (b"REPLCONF listening-port 1\r\n", b"REPLCONF capa eof capa psync2\r\n"):
            self.socket.sendall(request)
            if not self.socket.recv(100).startswith(b"+OK"):
                raise BenchError(f"{server.kind} refused {request.decode().strip()}")
        self.socket.sendall(b"PSYNC ? -1\r\n")
        self.deadline = time.monotonic() + WAIT_SECONDS
        self.header, self.tail, self.mark = b"", b"", None
        self.buffer = bytearray(1 << 20)

    def take(self, data):
        """Looks for the text that the primary has announced as the end. Returns whether it has come."""
        if self.mark is None:
            self.header += data
            start = self.header.find(b"$EOF:")
            if start < 0 or len(self.header) < start + 47:
                return False
            self.mark, data = self.header[start + 5:start + 45], self.header[start + 47:]
        data = self.tail + data
        self.tail = data[-39:]
        return self.mark in data

    def step(self):
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            if not select.select([self.socket], [], [], 0.1)[0]:
                continue
            size = self.socket.recv_into(self.buffer)
            if size == 0:
                raise BenchError("the primary closed the connection of its replica")
            if self.take(bytes(memoryview(self.buffer)[:size])):
                self.socket.close()
                return True
        if end > self.deadline:
            raise BenchError(f"no full synchronisation in {WAIT_SECONDS} s")
        return False


def under_load(machine, server, client, sizes, job_type):
    """GETs of other clients while a job lasts, and what it does to the server."""
    load = machine.start_program("load", server, {
        "mode": "mixed", "keys": sizes.keys_big, "connections": CONNECTIONS, "set_percent": 10, "reads": True,
        "warmup": sizes.warmup, "seconds": LONG, "pid": server.pid})
    try:
        time.sleep(sizes.warmup + 0.2)
        client.config_resetstat()
        before = peak = server.footprint()
        start = time.monotonic()
        job = job_type(server, client, sizes.quiet_seconds)
        while not job.step():
            peak = max(peak, server.footprint())
        seconds = time.monotonic() - start
        load.send_signal(signal.SIGTERM)
        result = machine.finish_program(load, 60)
    except BaseException:
        load.kill()
        load.communicate()
        raise
    info = client.info("everything")
    wait_until(lambda: not persistence(client, "rdb_bgsave_in_progress"), "the end of a snapshot")
    histogram = info.get("larder_worker_pause_us_hist")
    return {"seconds": seconds, "before": before, "peak": peak, "rate": result["requests"] / result["seconds"],
            "errors": result["errors"], "pause_us": info.get("larder_worker_pause_max_us"),
            "pauses": None if histogram is None else str(histogram), "fork_us": info["latest_fork_usec"]
            } | {key: result["latency"][key] for key in ("p50_us", "p99_us", "p999_us", "max_us")}


def during_rounds(machine, server, sizes, job_type):
    """Rounds of quiet and job by turns."""
    result = {"quiet": [], "during": []}
    with server.client() as client:
        machine.fill(server, sizes.keys_big)
        client.config_set("auto-aof-rewrite-percentage", 0)
        client.config_set("repl-diskless-sync-delay", 0)
        if job_type is Rewriting:
            client.config_set("appendonly", "yes")
            time.sleep(0.1)
            wait_until(lambda: not persistence(client, "aof_rewrite_in_progress"), "the append-only file")
        for _ in range(sizes.during_rounds):
            result["quiet"].append(under_load(machine, server, client, sizes, Nothing))
            result["during"].append(under_load(machine, server, client, sizes, job_type))
    return result


def during(machine, sizes, job_type):
    """One server at a time: another one's memory and timers would be in the way."""
    starts = {"larder_one": machine.larder, "redis": machine.redis}
    if job_type is Saving:
        starts["larder_two"] = lambda: machine.larder(threads=2, pinned=False)
    result = {}
    with on_core(machine.load_core):
        for name, start in starts.items():
            with start() as server:
                result[name] = during_rounds(machine, server, sizes, job_type)
    return result


def saving(machine, sizes):
    """Other clients and memory during BGSAVE."""
    return during(machine, sizes, Saving)


def rewriting(machine, sizes):
    """Other clients and memory during BGREWRITEAOF."""
    return during(machine, sizes, Rewriting)


def syncing(machine, sizes):
    """Other clients and memory during the full synchronisation of a replica."""
    return during(machine, sizes, Syncing)


# ---------------------------------------------------------------- files

def save_rounds(server, client, rounds):
    """Times BGSAVE of an idle server; leaves the file in the server's folder."""
    path, result = os.path.join(server.directory, "dump.rdb"), []
    for _ in range(rounds):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
        cpu, start = server.cpu_ns(), time.monotonic()
        client.bgsave()
        wait_until(lambda: os.path.exists(path), "the file of BGSAVE")
        result.append({"seconds": time.monotonic() - start, "cpu_s": (server.cpu_ns() - cpu) / 1e9})
        wait_until(lambda: not persistence(client, "rdb_bgsave_in_progress"), "the end of BGSAVE")
    return path, {"rounds": result, "bytes": os.path.getsize(path)}


def save_files(machine, server, sizes, folder):
    """Saves keys with varied values with and without compression, into `folder`, and those with uniform ones."""
    result = {}
    with server.client() as client:
        machine.fill(server, sizes.keys_big, vary=True)
        for compression in ("yes", "no"):
            client.config_set("rdbcompression", compression)
            path, result[compression] = save_rounds(server, client, sizes.during_rounds)
            shutil.move(path, os.path.join(folder, f"{server.kind}-{compression}.rdb"))
        machine.fill(server, sizes.keys_big)
        client.config_set("rdbcompression", "yes")
        result["uniform"] = save_rounds(server, client, sizes.during_rounds)[1]
    return result


def load_file(start, path, keys):
    """Starts a server on a snapshot. Returns wall and CPU seconds until it holds all keys."""
    begin = time.monotonic()
    with start(extra=["--dir", os.path.dirname(path), "--dbfilename", os.path.basename(path)]) as server:
        with server.client() as client:
            wait_until(lambda: client.dbsize() == keys, f"{keys} keys out of {path}")
        return {"seconds": time.monotonic() - begin, "cpu_s": server.cpu_ns() / 1e9}


def files(machine, sizes):
    """Time and size of snapshots, and the time that loading them takes each server."""
    starts = {"larder": machine.larder, "redis": machine.redis}
    result = {"saves": {}, "loads": {}}
    folder = tempfile.mkdtemp(prefix="bench-")
    try:
        for kind, start in starts.items():
            with start() as server:
                result["saves"][kind] = save_files(machine, server, sizes, folder)
        for compression in ("yes", "no"):
            for writer in KINDS:
                path = os.path.join(folder, f"{writer}-{compression}.rdb")
                rounds = {kind: [] for kind in KINDS}
                for _ in range(sizes.load_rounds):
                    for kind, start in starts.items():
                        rounds[kind].append(load_file(start, path, sizes.keys_big))
                result["loads"][f"{writer}_{compression}"] = rounds
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return result


# ---------------------------------------------------------------- writes

@contextlib.contextmanager
def replicas_of(machine, server, count=1):
    """Starts replicas of the same kind on the load program's core, and waits until they follow."""
    with contextlib.ExitStack() as stack:
        start = machine.larder if server.kind == "larder" else machine.redis
        replicas = [stack.enter_context(start(cores=machine.load_core)) for _ in range(count)]
        for replica in replicas:
            with replica.client() as client:
                client.replicaof("127.0.0.1", server.port)
                wait_until(lambda c=client: c.info("replication").get("master_link_status") == "up", "the replica")
        yield replicas


WRITE_MODES = {"none": [], "replica": PRIMARY, "everysec": ["--appendonly", "yes", "--appendfsync", "everysec"],
               "always": ["--appendonly", "yes", "--appendfsync", "always"]}


def write_rounds(machine, sizes, mode):
    """CPU per SET of both servers in turns."""
    rounds = {kind: [] for kind in KINDS}
    with contextlib.ExitStack() as stack:
        extra = WRITE_MODES[mode] + ["--auto-aof-rewrite-percentage", "0"]
        servers = {"larder": stack.enter_context(machine.larder(extra=extra)),
                   "redis": stack.enter_context(machine.redis(extra=extra))}
        replicas = {}
        for kind, server in servers.items():
            machine.fill(server, sizes.keys_small)
            if mode == "replica":
                replicas[kind] = stack.enter_context(replicas_of(machine, server))[0]
        for _ in range(sizes.during_rounds):
            for kind, server in servers.items():
                r = machine.load(server, mode="mixed", set_percent=100, keys=sizes.keys_small, pipeline=PIPELINE,
                                 connections=CONNECTIONS, warmup=sizes.warmup, seconds=sizes.write_seconds)
                if r["errors"]:
                    raise BenchError(f"{kind}, {mode}: {r['first_error']}")
                n = r["requests"]
                rounds[kind].append({"user_us": r["user_us"] / n, "system_us": r["system_us"] / n,
                                     "cpu_us": r["cpu_us"] / n, "rate": n / r["seconds"]})
                if replicas:
                    caught_up(server, replicas[kind])
    return rounds


def writes(machine, sizes):
    """CPU per SET: nothing else to do, a replica, an append-only file, and one that is synced before each reply."""
    return {mode: write_rounds(machine, sizes, mode) for mode in WRITE_MODES}


# ---------------------------------------------------------------- replicas

def offset(server):
    with server.client() as client:
        info = client.info("replication")
    return info["master_repl_offset"] if info["role"] == "master" else info["slave_repl_offset"]


def caught_up(server, replica):
    """Waits until a replica is where its primary, which nobody writes to, is. Returns the seconds."""
    start, end = time.monotonic(), offset(server)
    wait_until(lambda: offset(replica) >= end, "the replica to catch up")
    return time.monotonic() - start


def replay_rounds(machine, sizes, kind):
    """A replica is stopped, its primary writes, the replica goes on."""
    start = machine.larder if kind == "larder" else machine.redis
    rounds = []
    with start(extra=PRIMARY + ["--repl-backlog-size", str(1 << 30)]) as server:
        machine.fill(server, sizes.keys_small)
        with replicas_of(machine, server) as (replica,):
            for _ in range(sizes.during_rounds):
                caught_up(server, replica)
                begin = offset(server)
                os.kill(replica.pid, signal.SIGSTOP)
                try:
                    r = machine.load(server, mode="mixed", set_percent=100, keys=sizes.keys_small, pipeline=PIPELINE,
                                     connections=CONNECTIONS, requests=sizes.replay_requests)
                finally:
                    os.kill(replica.pid, signal.SIGCONT)
                cpu, written = replica.cpu_ns(), offset(server) - begin
                seconds = caught_up(server, replica)
                rounds.append({"write_rate": r["requests"] / r["seconds"], "write_cpu_us": r["cpu_us"] / r["requests"],
                               "replay_rate": sizes.replay_requests / seconds, "bytes": written,
                               "replay_cpu_us": (replica.cpu_ns() - cpu) / 1000 / sizes.replay_requests})
            with server.client() as client:
                if client.info("stats")["sync_full"] != 1:
                    raise BenchError(f"{kind}: the replica did not stay connected")
    return rounds


def replay(machine, sizes):
    """How fast a replica that fell behind replays, beside the rate at which its primary wrote."""
    with on_core(machine.server_core):
        return {kind: replay_rounds(machine, sizes, kind) for kind in KINDS}


def confirmed_rounds(machine, server, sizes, options):
    result = {}
    for connections in (1, CONNECTIONS):
        rounds = []
        for _ in range(sizes.during_rounds):
            r = machine.load(server, mode="mixed", set_percent=100, keys=sizes.keys_small, connections=connections,
                             warmup=sizes.warmup / 2, seconds=sizes.confirm_seconds, **options)
            if r["errors"]:
                raise BenchError(f"{server.kind}: {r['first_error']}")
            rounds.append({key: r["latency"][key] for key in ("p50_us", "p99_us")})
        result[str(connections)] = {key: statistics.median(x[key] for x in rounds) for key in rounds[0]}
    return result


def durability(machine, sizes):
    """Latency of a SET by itself, and of one that replicas have confirmed. Two replicas share the load's core."""
    result = {}
    for kind, start in (("larder", machine.larder), ("redis", machine.redis)):
        with start(extra=PRIMARY) as server, server.client() as client:
            machine.fill(server, sizes.keys_small)
            with replicas_of(machine, server, 2):
                result[f"{kind}_async"] = confirmed_rounds(machine, server, sizes, {})
                result[f"{kind}_wait"] = confirmed_rounds(machine, server, sizes, {"wait": True})
                if kind == "redis" or machine.stand_in:
                    continue
                client.config_set("durability-members", 5)
                for mode in ("replica", "quorum"):
                    client.config_set("durability", mode)
                    result[f"larder_{mode}"] = confirmed_rounds(machine, server, sizes, {})
    return result


LASTING = {"saving": saving, "rewriting": rewriting, "syncing": syncing, "files": files, "writes": writes,
           "replay": replay, "durability": durability}
