"""The whole service, seen from outside: what its clients see, and which processes there are.

Processes are found by their working directory, which is the node's below this service's state directory; so no test can
end what is another's. A signal goes through a descriptor of the process, so never to somebody who has its number now.

The clients are those of the tests of the API: every answer that one of them gets is checked against botocore's model.
"""

import importlib.util
import os
import pathlib
import re
import select
import signal
import subprocess
import sys
import threading
import time

import botocore.exceptions
from support.resp import Client, Closed, ReplyError
from support.server import REPORTS

API = pathlib.Path(__file__).resolve().parents[1] / "api"


def _load_api():
    """The module with the service and the checked clients: a conftest, as others are, so it gets another name."""
    sys.path.append(str(API))
    spec = importlib.util.spec_from_file_location("api_conftest", API / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


api = _load_api()

# The sanitizers take their time.
SLOWNESS = {"asan": 5, "tsan": 10}.get(os.environ.get("LARDER_VARIANT", "release"), 1)
PAUSE = 0.01  # between two looks
ZONE_A, ZONE_C = "ap-northeast-2a", "ap-northeast-2c"


def eventually(look, what, seconds=15):
    """Looks until there is something that counts as true, and returns that. Failures of connections count as nothing."""
    end = time.monotonic() + seconds * SLOWNESS
    while True:
        try:
            found = look()
        except (OSError, Closed, ReplyError) as failure:
            found, last = None, failure
        else:
            last = found
        if found:
            return found
        assert time.monotonic() < end, f"waited {seconds * SLOWNESS} s for {what}; the last look: {last!r}"
        time.sleep(PAUSE)


# ---- processes -------------------------------------------------------------------------------------------------------


def processes_below(directory):
    """{name of the folder: pid} of the processes that work in a folder of the directory."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            path = pathlib.Path(os.readlink(f"/proc/{entry}/cwd"))
        except OSError:
            continue
        if path.parent == directory:
            assert path.name not in found, f"two processes work in {path}"
            found[path.name] = int(entry)
    return found


class Process:
    """A process by its descriptor."""

    def __init__(self, pid):
        self.pid = pid
        self.fd = os.pidfd_open(pid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    def send(self, number):
        signal.pidfd_send_signal(self.fd, number)

    def await_end(self, seconds=30):
        assert select.select([self.fd], [], [], seconds)[0], f"process {self.pid} does not end"


def is_stopped(pid):
    """Has SIGSTOP reached every thread?"""
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/stat"):
        if path.read_text().rpartition(")")[2].split()[0] != "T":
            return False
    return True


# ---- names -----------------------------------------------------------------------------------------------------------


def dig(server, name, *options):
    """What Debian's dig answers for a name at "ADDRESS:PORT": a list of addresses."""
    address, _, port = server.rpartition(":")
    words = ["dig", f"@{address}", "-p", port, "+short", "+tries=3", "+time=2", *options, name, "A"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()


# ---- the service -----------------------------------------------------------------------------------------------------


class Cloud:
    """A running service and its clients."""

    def __init__(self, service):
        self.service = service
        self.ec2 = service.client("ec2")
        self.cache = service.client("elasticache")
        self.sts = service.client("sts")

    # Processes

    @property
    def names(self):
        """ADDRESS:PORT at which names are served."""
        return re.search(r"names at ([0-9.]+:[0-9]+)", self.service.output.text()).group(1)

    @property
    def directory(self):
        return self.service.state.resolve() / "nodes"

    def nodes(self):
        """{cluster's id: pid}"""
        return processes_below(self.directory)

    def directories(self):
        return sorted(path.name for path in self.directory.iterdir())

    def node(self, cluster):
        return Process(self.nodes()[cluster])

    def kill(self, *clusters):
        """Kills the nodes of these clusters, and waits for their deaths."""
        opened = [self.node(cluster) for cluster in clusters]
        for process in opened:
            process.send(signal.SIGKILL)
        for process in opened:
            with process:
                process.await_end()

    def kill_service(self):
        self.service.kill()

    def log(self, cluster):
        return (self.directory / cluster / "node.log").read_text(errors="replace")

    def sanitizer_reports(self):
        """What nodes that are still there have reported; larderd's own output is the service's to check."""
        return [log.read_text(errors="replace")[-8000:] for log in sorted(self.directory.glob("*/node.log"))
                if any(report in log.read_text(errors="replace") for report in REPORTS)]

    # Groups

    def create_group(self, name, members=2, **more):
        request = {"ReplicationGroupDescription": name, "CacheNodeType": "cache.t2.micro", "NumCacheClusters": members}
        return self.cache.create_replication_group(ReplicationGroupId=name, **{**request, **more})["ReplicationGroup"]

    def group(self, name):
        return self.cache.describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"][0]

    def cluster(self, name):
        return self.cache.describe_cache_clusters(CacheClusterId=name, ShowCacheNodeInfo=True)["CacheClusters"][0]

    def available(self, name, seconds=15):
        """Waits for a group to be available; the group."""
        def look():
            group = self.group(name)
            assert group["Status"] != "create-failed", self.events(name)
            return group if group["Status"] == "available" else None
        return eventually(look, f"{name} to be available", seconds)

    def cluster_available(self, name, seconds=15):
        def look():
            cluster = self.cluster(name)
            return cluster if cluster["CacheClusterStatus"] == "available" else None
        return eventually(look, f"{name} to be available", seconds)

    def gone(self, name, seconds=15):
        """Waits until there is no such group."""
        def look():
            try:
                assert self.group(name)["Status"] == "deleting"
            except botocore.exceptions.ClientError as error:
                return error.response["Error"]["Code"] == "ReplicationGroupNotFoundFault"
            return False
        eventually(look, f"{name} to be gone", seconds)

    def cluster_gone(self, name, seconds=15):
        def look():
            try:
                assert self.cluster(name)["CacheClusterStatus"] == "deleting"
            except botocore.exceptions.ClientError as error:
                return error.response["Error"]["Code"] == "CacheClusterNotFound"
            return False
        eventually(look, f"{name} to be gone", seconds)

    def roles(self, name):
        """The primary's id, and those of the replicas."""
        members = self.group(name)["NodeGroups"][0]["NodeGroupMembers"]
        primaries = [m["CacheClusterId"] for m in members if m["CurrentRole"] == "primary"]
        assert len(primaries) == 1 and members[0]["CacheClusterId"] == primaries[0], members
        return primaries[0], [m["CacheClusterId"] for m in members[1:]]

    def primary(self, name):
        return self.roles(name)[0]

    def events(self, source=None):
        """Texts of the events, the oldest first."""
        pages = self.cache.get_paginator("describe_events").paginate()
        events = [event for page in pages for event in page["Events"]]
        events.sort(key=lambda event: event["Date"])
        return [event["Message"] for event in events if source in (None, event["SourceIdentifier"])]

    def await_event(self, text, seconds=15):
        return eventually(lambda: [event for event in self.events() if text in event], f"an event '{text}'", seconds)

    # Endpoints

    def address(self, endpoint):
        """(address, port) of an endpoint of the API, through the service's names."""
        addresses = dig(self.names, endpoint["Address"])
        assert len(addresses) == 1, f"{endpoint['Address']}: {addresses}"
        return addresses[0], endpoint["Port"]

    def endpoints(self, name):
        """(address, port) of the primary endpoint, and of the reader endpoint."""
        group = self.group(name)["NodeGroups"][0]
        return self.address(group["PrimaryEndpoint"]), self.address(group["ReaderEndpoint"])

    def node_address(self, cluster):
        return self.address(self.cluster(cluster)["CacheNodes"][0]["Endpoint"])

    def settled(self, name, seconds=20):
        """Waits until a group is available, its nodes run and have their roles, replicas have their data, and its
        endpoints are served. Returns the primary's id and the replicas'."""
        primary, reader = self.endpoints(name)

        def look():
            group = self.group(name)
            first, others = self.roles(name)
            if group["Status"] != "available" or not set(group["MemberClusters"]) <= set(self.nodes()):
                return None
            with Client(primary, timeout=5) as client, Client(self.node_address(first), timeout=5) as node:
                roles = node.do("ROLE"), client.do("ROLE")
                if any(role[0] != b"master" for role in roles) or len(roles[0][2]) != len(others):
                    return None
                if run_id(client) != run_id(node):
                    return None
                node.do("SET", "larder:settled", "1")
                if node.do("WAIT", len(others), 1000) != len(others):
                    return None
            with Client(reader, timeout=5) as client:
                if client.do("ROLE")[0] != (b"slave" if others else b"master"):
                    return None
            return first, others
        return eventually(look, f"{name} to be settled", seconds)

    def wake(self):
        """Has all nodes go on that a test stopped, and left so because it failed: they could not be ended else."""
        for pid in self.nodes().values():
            with Process(pid) as process:
                process.send(signal.SIGCONT)

    def report(self):
        """What nodes say of themselves, and the end of the service's log: for people who look into a failure."""
        lines = []
        for name in self.directories():
            try:
                with Client(str(self.service.state / "nodes" / name / "admin"), timeout=5) as admin:
                    lines += [name, str(admin.do("LARDER", "HELLO")), admin.do("INFO", "replication").decode()]
            except (OSError, Closed, ReplyError) as failure:
                lines.append(f"{name}: {failure}")
        return "\n".join([*lines, self.service.output.text()[-6000:]])

    def leave_nothing(self):
        """For the end of a test: there is no process of this service any more."""
        left = self.nodes()
        for cluster, pid in left.items():
            with Process(pid) as process:
                process.send(signal.SIGKILL)
        return left


def run_id(client):
    return client.info("server")["run_id"]


def fill(address, count, prefix="key", replicas=1):
    """Writes that many keys, and waits until so many replicas have them."""
    with Client(address) as client:
        replies = client.pipeline([("SET", f"{prefix}:{i}", i) for i in range(count)])
        assert all(reply == ("+", b"OK") for reply in replies), replies[:3]
        assert client.do("WAIT", replicas, 10000) >= replicas


def missing(address, count, prefix="key"):
    """Those of the keys that are not there."""
    with Client(address) as client:
        values = client.do("MGET", *[f"{prefix}:{i}" for i in range(count)])
    return [i for i, value in enumerate(values) if value != b"%d" % i]


def write(address, key, value="1"):
    """A SET on a connection of its own; true when it was carried out."""
    with Client(address, timeout=5) as client:
        return client.do("SET", key, value) == b"OK"


def write_soon(address):
    """The same for whoever looks often: a connection that is accepted, but not served within a second, is given up."""
    with Client(address, timeout=1) as client:
        return client.do("SET", "soon", "1") == b"OK"


class Writer:
    """Writes one key after the other at an address for as long as it runs, over one connection, which it renews when it
    breaks. `confirmed`: a write counts as acknowledged when a WAIT 1 behind it answered 1."""

    def __init__(self, address, confirmed=False, prefix="writer", timeout=20):
        self.address, self.confirmed, self.prefix, self.timeout = address, confirmed, prefix, timeout
        self.count = 0
        self.acknowledged = []
        self.gap = 0.0       # the longest time without an acknowledged write, in seconds
        self.refused = 0     # connections
        self.broken = 0      # connections that ended under it
        self.errors = {}     # answers, by their first word
        self.failure = None
        self.changed = threading.Condition()
        self.stopping = False
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        self.await_writes(1)
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stopping = True
        self.thread.join(60)
        assert not self.thread.is_alive(), "the writer does not end"
        assert self.failure is None, repr(self.failure)

    def await_writes(self, count, seconds=20):
        """Waits until so many more writes have been acknowledged."""
        with self.changed:
            target = len(self.acknowledged) + count
            came = self.changed.wait_for(lambda: len(self.acknowledged) >= target or self.failure, seconds * SLOWNESS)
            assert came and self.failure is None, f"no write in {seconds} s: {self.errors} {self.failure!r}"

    def lost(self, address=None):
        """Acknowledged writes that are not there."""
        numbers, lost = list(self.acknowledged), []
        with Client(address or self.address) as client:
            for start in range(0, len(numbers), 1000):
                part = numbers[start:start + 1000]
                values = client.do("MGET", *[f"{self.prefix}:{i}" for i in part])
                lost += [i for i, value in zip(part, values) if value != b"%d" % i]
        return lost

    def _run(self):
        try:
            self._write_on()
        except BaseException as failure:  # whoever waits has to know
            with self.changed:
                self.failure = failure
                self.changed.notify_all()

    def _write_on(self):
        client, last = None, time.monotonic()
        while not self.stopping:
            try:
                client = client or Client(self.address, timeout=self.timeout)
                if self._write_one(client):
                    now = time.monotonic()
                    with self.changed:
                        self.acknowledged.append(self.count)
                        self.gap = max(self.gap, now - last)
                        self.changed.notify_all()
                    last = now
            except ConnectionRefusedError:
                self.refused += 1
                time.sleep(PAUSE)
            except (OSError, Closed):
                self.broken += 1
                client and client.close()
                client = None
            self.count += 1
        client and client.close()

    def _write_one(self, client):
        try:
            client.do("SET", f"{self.prefix}:{self.count}", self.count)
            return not self.confirmed or client.do("WAIT", 1, 1000) == 1
        except ReplyError as error:
            word = str(error).split(" ")[0]
            self.errors[word] = self.errors.get(word, 0) + 1
            time.sleep(PAUSE)
            return False


# ---- AWS's own tool --------------------------------------------------------------------------------------------------


class Aws:
    """Debian's aws. It can reach nothing but this service."""

    PROGRAM = "/usr/bin/aws"

    def __init__(self, service, home):
        key, secret = service.credentials()
        self.env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "AWS_ACCESS_KEY_ID": key,
                    "AWS_SECRET_ACCESS_KEY": secret, "AWS_DEFAULT_REGION": "ap-northeast-2",
                    "AWS_EC2_METADATA_DISABLED": "true", "AWS_PAGER": "", "AWS_MAX_ATTEMPTS": "1",
                    "LC_ALL": "C.UTF-8", "http_proxy": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1",
                    "no_proxy": "127.0.0.1"}
        self.url = service.url

    def __call__(self, *words, query=None, code=0):
        """Runs it; its output, without the line's end. With a query the answer's part, as text."""
        argv = [self.PROGRAM, "--endpoint-url", self.url, *words]
        argv += ["--query", query, "--output", "text"] if query else ["--output", "json"]
        done = subprocess.run(argv, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip() if code == 0 else done.stderr.strip()


def redis_cli(address, *words):
    """Debian's redis-cli; its output without the line's end."""
    argv = ["/usr/bin/redis-cli", "-h", address[0], "-p", str(address[1]), *words]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    return (done.stdout + done.stderr).strip()
