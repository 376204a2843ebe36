"""Servers and load programs as child processes: building, starting, pinning, measuring and stopping them.

Every child is stopped by its pid and dies with this program (PR_SET_PDEATHSIG), so an interrupted run leaves nothing
behind. Ports are chosen by the kernel. Servers get one core and load programs another; on a machine with one core they
share it, and the report says so."""

import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import redis

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
PROGRAMS = {
    "floor": ["floor.c"],
    "load": ["load.c", "client.c", "histogram.c", "proccpu.c"],
    "latency": ["latency.c", "client.c", "histogram.c"],
}
START_SECONDS = 60
STOP_SECONDS = 30
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class BenchError(Exception):
    """A measurement that could not be made; the report names it and the run goes on."""


def build_programs(directory):
    """Compiles the C programs of this folder into `directory` where they are older than their sources."""
    directory.mkdir(parents=True, exist_ok=True)
    newest = max(path.stat().st_mtime for path in HERE.glob("*.[ch]"))
    for name, sources in PROGRAMS.items():
        program = directory / name
        if not program.exists() or program.stat().st_mtime < newest:
            compiler = os.environ.get("CC", "cc").split()
            flags = ["-O2", "-std=gnu11", "-D_GNU_SOURCE=", "-Wall", "-Wextra"]
            subprocess.run(compiler + flags + [HERE / s for s in sources] + ["-o", program], check=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def resident(path, field):
    """A size in bytes out of a file of /proc."""
    with open(path, encoding="ascii") as f:
        match = re.search(rf"^{field}:\s+(\d+) kB", f.read(), re.MULTILINE)
    if not match:
        raise BenchError(f"no {field} in {path}")
    return int(match.group(1)) * 1024


def child_setup(cores):
    """What a child does before it becomes its program."""

    def setup():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.sched_setaffinity(0, cores)

    return setup


class Server:
    """One running server. `kind` is "larder", "redis" or "floor"."""

    def __init__(self, kind, argv, cores, port, wrapper=()):
        self.kind = kind
        self.directory = tempfile.mkdtemp(prefix="bench-")
        self.output = open(os.path.join(self.directory, "output"), "w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen([*wrapper, *argv], cwd=self.directory, stdin=subprocess.DEVNULL,
                                        stdout=self.output, stderr=subprocess.STDOUT, preexec_fn=child_setup(cores))
        self.pid = self.process.pid
        self.port = port
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def said(self):
        self.output.flush()
        return pathlib.Path(self.output.name).read_text(encoding="utf-8", errors="replace")

    def wait_ready(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise BenchError(f"{self.kind} ended while starting: {self.said()[-500:]}")
            if self.ready():
                return
            time.sleep(0.02)
        raise BenchError(f"{self.kind} did not start in {START_SECONDS} s: {self.said()[-500:]}")

    def ready(self):
        if self.kind == "floor":
            match = re.search(r"port (\d+)", self.said())
            if match:
                self.port = int(match.group(1))
            return match is not None
        try:
            with self.client(timeout=5) as client:
                return client.ping()
        except (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError):
            return False

    def client(self, timeout=60):
        return redis.Redis(port=self.port, socket_timeout=timeout)

    def rss(self):
        """Resident bytes, once they have stayed the same for half a second: allocators give pages back with a delay."""
        last, same = -1, 0
        for _ in range(100):
            now = resident(f"/proc/{self.pid}/status", "VmRSS")
            same = same + 1 if now == last else 0
            if same == 10:
                break
            last = now
            time.sleep(0.05)
        return now

    def footprint(self):
        """Bytes that the server occupies now. What a forked child shares with its parent counts once."""
        if self.kind != "redis":
            return resident(f"/proc/{self.pid}/status", "VmRSS")
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as f:
            pids = [self.pid, *map(int, f.read().split())]
        total = 0
        for pid in pids:
            try:
                total += resident(f"/proc/{pid}/smaps_rollup", "Pss")
            except (OSError, BenchError):  # the child has ended
                continue
        return total

    def cpu_ns(self):
        """Nanoseconds that the server's threads were on a CPU so far."""
        total = 0
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
        return total

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.output.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.stop()


class Machine:
    """Starts servers and load programs on their cores."""

    def __init__(self, larder, peer, programs):
        self.larder_path, self.peer_path, self.programs = str(larder), str(peer), programs
        self.all_cores = sorted(os.sched_getaffinity(0))
        self.server_core, self.load_core = {self.all_cores[0]}, {self.all_cores[-1]}
        # A Redis or Valkey binary may stand in for larder-server, to try the benchmark itself.
        self.stand_in = re.match(r"redis|valkey", os.path.basename(self.larder_path)) is not None

    @staticmethod
    def peer_arguments(path, port):
        return [path, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]

    def larder(self, threads=1, pinned=True, wrapper=(), extra=(), cores=None):
        port = free_port()
        if self.stand_in:
            argv = self.peer_arguments(self.larder_path, port)
        else:
            argv = [self.larder_path, "--port", str(port), "--threads", str(threads), "--save", ""]
        if cores is None:
            cores = self.server_core if pinned else set(self.all_cores)
        return Server("larder", argv + list(extra), cores, port, wrapper)

    def redis(self, wrapper=(), extra=(), cores=None):
        port = free_port()
        argv = self.peer_arguments(self.peer_path, port)
        return Server("redis", argv + list(extra), cores or self.server_core, port, wrapper)

    def floor(self):
        return Server("floor", [str(self.programs / "floor"), "0"], self.server_core, 0)

    def start_program(self, name, server, options, words=()):
        argv = [str(self.programs / name), "--port", str(server.port)]
        for key, value in options.items():
            argv += ["--" + key.replace("_", "-")] + ([] if value is True else [str(value)])
        argv += ["--", *words] if words else []
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                preexec_fn=child_setup(self.load_core))

    @staticmethod
    def finish_program(process, timeout):
        try:
            out, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as e:
            process.kill()
            process.communicate()
            raise BenchError(f"{process.args[0].rsplit('/', 1)[-1]} did not end in {timeout} s") from e
        if process.returncode != 0:
            raise BenchError(f"{process.args[0].rsplit('/', 1)[-1]}: {errors.strip()}")
        return json.loads(out)

    def load(self, server, timeout=180, **options):
        """Runs the load generator to its end; returns what it measured."""
        options.setdefault("pid", server.pid)
        if server.kind == "floor":
            options["fixed_reply"] = True
        return self.finish_program(self.start_program("load", server, options), timeout)

    def fill(self, server, keys, **options):
        """Sets `keys` keys. Every SET must succeed."""
        options = {"mode": "fill", "keys": keys, "connections": 4, "pipeline": 32, **options}
        result = self.load(server, **options)
        if result["errors"]:
            raise BenchError(f"{server.kind} refused a SET: {result['first_error']}")
        return result

    def latency(self, server, words, timeout=300, **options):
        return self.finish_program(self.start_program("latency", server, options, words), timeout)
