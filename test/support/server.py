"""Starting and stopping servers: ours (environment LARDER_SERVER, else build/bin/larder-server) and the oracle.

A server runs on a free port and a unix socket in a directory of its own. Ready is when its log says so; stopping is a
signal to its pid. A server that died, ended with another status than 0, or left a sanitizer's report fails the test.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

from support.resp import Client

ROOT = pathlib.Path(__file__).resolve().parents[2]
ORACLE = "/usr/bin/redis-server"
# Redis begins the line differently when it only has a unix socket.
READY = "eady to accept connections"
START_SECONDS = 60
STOP_SECONDS = 60
REPORTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer", "runtime error:",
           "=== REDIS BUG REPORT START")


def larder_binary():
    return os.environ.get("LARDER_SERVER", str(ROOT / "build" / "bin" / "larder-server"))


def free_port(host="127.0.0.1"):
    """A port that is free now. Somebody else may take it before the server does; `start` then tries another one."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


class StartError(Exception):
    """The server ended before it was ready; the text is its output."""


class Output:
    """Collects a child's output, line by line, in a thread; lets others wait for a text in it."""

    def __init__(self, stream):
        self.lines = []
        self.ended = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._collect, args=(stream,), daemon=True)
        self.thread.start()

    def _collect(self, stream):
        with stream:
            for line in stream:
                with self.changed:
                    self.lines.append(line.decode("utf-8", "replace"))
                    self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def text(self):
        with self.changed:
            return "".join(self.lines)

    def wait_for(self, text, seconds):
        """True once `text` was written; False at the end of the output or of the time."""
        def seen():
            return self.ended or any(text in line for line in self.lines)
        with self.changed:
            self.changed.wait_for(seen, seconds)
            return any(text in line for line in self.lines)


class Server:
    """One server process. `directives` are (name, value, ...) tuples; `config` is the text of a configuration file."""

    def __init__(self, binary, directives=(), config=None, tcp=True, defaults=True, argv=None, env=None):
        self.binary = binary
        self.directives = [tuple(str(word) for word in directive) for directive in directives]
        self.config = config
        self.tcp = tcp
        self.defaults = defaults
        self.argv = argv
        self.env = env
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="larder-test-"))
        self.port = 0
        self.socket = str(self.dir / "s")
        self.process = None
        self.output = None
        self.clients = []
        self.good_ends = {None, 0}

    def _command_line(self):
        given = {directive[0].lower() for directive in self.directives}
        directives = list(self.directives)
        if self.defaults:
            for name, value in (("port", self.port), ("unixsocket", self.socket), ("dir", self.dir), ("save", ""),
                                ("appendonly", "no"), ("enable-debug-command", "yes")):
                if name not in given:
                    directives.append((name, str(value)))
        argv = [self.binary]
        if self.config is not None:
            path = self.dir / "server.conf"
            path.write_text(self.config)
            argv.append(str(path))
        for directive in directives:
            argv += ["--" + directive[0], *directive[1:]]
        return argv

    def start(self, port=None):
        """Starts it, on a free port unless one is given."""
        for attempt in range(5 if port is None else 1):
            self.port = port or (free_port() if self.tcp else 0)
            env = dict(os.environ, **(self.env or {}))
            env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
            self.process = subprocess.Popen(self.argv or self._command_line(), cwd=self.dir, env=env,
                                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.output = Output(self.process.stdout)
            if self.output.wait_for(READY, START_SECONDS):
                return self
            self.kill()
            text = self.output.text()
            if "in use" not in text or attempt == 4 or port is not None:
                self.process = self.output = None
                if port is None:
                    shutil.rmtree(self.dir, ignore_errors=True)
                raise StartError(text)
        raise AssertionError("unreachable")

    def restart(self):
        """Starts it again after its end, in its directory and on its port. When it cannot, its files stay."""
        return self.start(self.port)

    def crash(self):
        """Ends it by SIGKILL, unless that has happened already. check() takes this for a good end."""
        self.good_ends.add(-signal.SIGKILL)
        self.kill()
        self.check()

    @property
    def address(self):
        return ("127.0.0.1", self.port) if self.tcp else self.socket

    @property
    def pid(self):
        return self.process.pid

    def connect(self, unix=False, **options):
        client = Client(self.socket if unix else self.address, **options)
        self.clients.append(client)
        return client

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.output.thread.join()

    def terminate(self, sig=signal.SIGTERM):
        """Asks for the end and waits for it; the exit status."""
        self.process.send_signal(sig)
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            if self.process.poll() is None:
                self.kill()

    def check(self):
        """Raises when the server crashed or a sanitizer complained."""
        text = self.output.text()
        for report in REPORTS:
            assert report not in text, f"{self.binary} reported:\n{text[-8000:]}"
        status = self.process.poll()
        assert status in self.good_ends, f"{self.binary} ended with status {status}:\n{text[-8000:]}"

    def stop(self):
        """Ends the server if it still runs, then checks that it ended well."""
        for client in self.clients:
            client.close()
        try:
            if self.process and self.process.poll() is None:
                self.terminate()
            if self.output:
                self.output.thread.join()
                self.check()
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)


def larder(directives=(), **options):
    return Server(larder_binary(), directives, **options)


def oracle(directives=(), **options):
    return Server(ORACLE, directives, **options)
