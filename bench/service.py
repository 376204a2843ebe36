#!/usr/bin/python3
"""The measurements of the service: how long it takes to make a group, to replace a primary that died or hangs, what a
planned switchover costs clients, what a long list costs the service, and what it uses while nothing happens.

Times are those of a client beside the service. There is no peer: the figures stand beside their targets.

    bench/service.py [--quick] [--docs] [--out FILE]

prints a table and writes the figures as JSON (to build/bench/service.json); with --docs also docs/benchmarks-service.md."""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import signal
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "test"), str(ROOT / "test" / "system")]

import cloud as clouds  # noqa: E402 - the path has to be there first
import service_report  # noqa: E402

from servers import BenchError  # noqa: E402

RUNS, HUNG_RUNS, GROUPS, LISTS, IDLE_NODES, IDLE_SECONDS = 20, 3, 100, 50, 20, 20
QUICK = {"runs": 3, "hung_runs": 1, "groups": 10, "lists": 10, "idle_nodes": 4, "idle_seconds": 3}
WHOLE = {"runs": RUNS, "hung_runs": HUNG_RUNS, "groups": GROUPS, "lists": LISTS, "idle_nodes": IDLE_NODES,
         "idle_seconds": IDLE_SECONDS}
LOOK_SECONDS = 0.002  # between two looks of a client
LIMIT_SECONDS = 60


@contextlib.contextmanager
def running():
    """A service with a state directory of its own; nothing of it is left behind."""
    with tempfile.TemporaryDirectory(prefix="bench-service-") as directory:
        service = clouds.api.Service(pathlib.Path(directory) / "state")
        cloud = clouds.Cloud(service.start())
        try:
            yield cloud
        finally:
            try:
                service.stop()
            finally:
                cloud.leave_nothing()


def until(look, what):
    """Seconds until a look is content."""
    start = time.monotonic()
    while True:
        with contextlib.suppress(OSError, clouds.Closed, clouds.ReplyError):
            if look():
                return time.monotonic() - start
        if time.monotonic() - start > LIMIT_SECONDS:
            raise BenchError(f"waited {LIMIT_SECONDS} s for {what}")
        time.sleep(LOOK_SECONDS)


def is_available(cloud, name):
    return cloud.group(name)["Status"] == "available"


def delete(cloud, name):
    cloud.cache.delete_replication_group(ReplicationGroupId=name)
    cloud.gone(name)


# ---------------------------------------------------------------- groups

def creation(sizes):
    """From the call to `available`, a primary with one replica."""
    rounds = []
    with running() as cloud:
        for i in range(sizes["runs"]):
            start = time.monotonic()
            cloud.create_group(f"g{i}")
            until(lambda i=i: is_available(cloud, f"g{i}"), "a group")
            rounds.append(time.monotonic() - start)
            delete(cloud, f"g{i}")
    return {"seconds": rounds}


@contextlib.contextmanager
def group():
    """(service, address of the primary endpoint) of a group that fails over, with data."""
    with running() as cloud:
        cloud.create_group("g", AutomaticFailoverEnabled=True)
        cloud.available("g")
        cloud.settled("g")
        address = cloud.endpoints("g")[0]
        clouds.fill(address, 1000)
        yield cloud, address


def loss(runs, number):
    """From the signal to the primary to the next write that its endpoint's address accepts."""
    rounds = []
    with group() as (cloud, address):
        for _ in range(runs):
            primary, _ = cloud.settled("g")
            with cloud.node(primary) as process:
                start = time.monotonic()
                process.send(number)
                # What is accepted from now on is not the old primary's.
                if number == signal.SIGKILL:
                    process.await_end()
                else:
                    until(lambda p=process.pid: clouds.is_stopped(p), "a process to be stopped")
                until(lambda: clouds.write_soon(address), "a write")
                rounds.append(time.monotonic() - start)
                process.await_end()
            if cloud.settled("g")[0] == primary or clouds.missing(address, 1000):
                raise BenchError("the replica has not taken over, or has lost data")
    return {"seconds": rounds}


def killed(sizes):
    return loss(sizes["runs"], signal.SIGKILL)


def hung(sizes):
    return loss(sizes["hung_runs"], signal.SIGSTOP)


def switchover(sizes):
    """TestFailover under a client that writes on: what it lost, and how long it could not write."""
    gaps, seconds, lost, refused, writes = [], [], 0, 0, 0
    with group() as (cloud, address):
        for i in range(sizes["runs"]):
            with clouds.Writer(address, prefix=f"run-{i}") as writer:
                start = time.monotonic()
                cloud.cache.test_failover(ReplicationGroupId="g", NodeGroupId="0001")
                until(lambda: is_available(cloud, "g"), "the end of a switchover")
                seconds.append(time.monotonic() - start)
                writer.await_writes(50)
            cloud.settled("g")
            lost += len(writer.lost())
            refused += writer.refused
            writes += len(writer.acknowledged)
            gaps.append(writer.gap)
    return {"seconds": seconds, "gaps": gaps, "lost": lost, "refused": refused, "writes": writes}


# ---------------------------------------------------------------- the service itself

def micros_of_last(cloud, count):
    """The service's own time for the last requests, by its access log."""
    lines = (cloud.service.state / "access.log").read_text(encoding="ascii", errors="replace").splitlines()
    return [int(line.split()[6]) for line in lines[-count:]]


def lists(sizes):
    """DescribeReplicationGroups over many groups of one node."""
    with running() as cloud:
        for i in range(sizes["groups"]):
            cloud.create_group(f"g{i:03}", 1)
        for i in range(sizes["groups"]):
            cloud.available(f"g{i:03}", LIMIT_SECONDS)
        for _ in range(sizes["lists"]):
            answer = cloud.cache.describe_replication_groups()
            if len(answer["ReplicationGroups"]) != sizes["groups"]:
                raise BenchError("a list is not whole")
        micros = micros_of_last(cloud, sizes["lists"])
    return {"micros": micros, "groups": sizes["groups"]}


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle(sizes):
    """What the service, and its nodes, use of a core while nobody asks for anything."""
    count = sizes["idle_nodes"]
    with running() as cloud:
        for i in range(count // 2):
            cloud.create_group(f"g{i}")
        for i in range(count // 2):
            cloud.settled(f"g{i}", LIMIT_SECONDS)
        nodes = cloud.nodes().values()
        pids = {"service": [cloud.service.process.pid], "nodes": list(nodes)}
        before = {name: sum(map(cpu_seconds, of)) for name, of in pids.items()}
        start = time.monotonic()
        time.sleep(sizes["idle_seconds"])
        passed = time.monotonic() - start
        used = {name: (sum(map(cpu_seconds, of)) - before[name]) / passed for name, of in pids.items()}
    return {"service": used["service"], "nodes": used["nodes"], "count": count, "seconds": passed}


SERVICE = {"creation": creation, "killed": killed, "hung": hung, "switchover": switchover, "lists": lists,
           "idle": idle}


def measure(sizes):
    """Results by name, and why others failed."""
    results, failures = {}, {}
    for name, function in SERVICE.items():
        start = time.monotonic()
        try:
            results[name] = function(sizes)
        except (BenchError, AssertionError, OSError) as failure:
            failures[name] = f"{type(failure).__name__}: {failure}"
        print(f"{name}: {failures.get(name, 'done')} ({time.monotonic() - start:.0f} s)", flush=True)
    return results, failures


def page(chapter):
    """The page of the documentation: the chapter under a title of its own, with where and when it was measured."""
    title, body = chapter.split("\n", 1)
    assert title.startswith("## "), title
    machine = f"{os.cpu_count()} cores, Linux {platform.release()}"
    written = f"Written by `bench/service.py` ({datetime.date.today()}, {machine})."
    return f"# Benchmarks of the service\n\n{written}\n{body}"


def main():
    parser = argparse.ArgumentParser(description="Measures larderd.")
    parser.add_argument("--quick", action="store_true", help="few runs: tries the benchmark itself")
    parser.add_argument("--docs", action="store_true", help="write docs/benchmarks-service.md")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/bench/service.json")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    results, failures = measure(QUICK if arguments.quick else WHOLE)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"service": results, "failures": failures}), encoding="utf-8")
    chapter = service_report.chapter({"service": results})
    print(chapter, end="")
    if arguments.docs and not failures:
        (ROOT / "docs" / "benchmarks-service.md").write_text(page(chapter), encoding="utf-8")
    print(f"wrote {arguments.out}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
