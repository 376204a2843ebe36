#!/usr/bin/python3
"""Runs the benchmark: larder-server beside Debian's redis-server and the I/O floor, all in one run.

Writes benchmarks.md and plots: to docs/ after a full run, and to build/bench/out/ after a partial or a quick one, so
that the published page always comes from one complete run. A measurement that fails is named in the page and makes
the exit status 1; targets that are missed do not."""

import argparse
import json
import pathlib
import signal
import subprocess
import sys
import time

import redis

import report
from measures import MEASURES, Sizes
from servers import ROOT, BenchError, Machine, build_programs

LIMIT_SECONDS = 24 * 60  # no measurement starts later than this


def parse_arguments():
    parser = argparse.ArgumentParser(description="Compares larder-server with redis-server and the I/O floor.")
    parser.add_argument("--quick", action="store_true", help="small sizes: tries the benchmark itself")
    parser.add_argument("--only", help="comma-separated measurements: " + ", ".join(MEASURES))
    parser.add_argument("--out", type=pathlib.Path, help="folder for benchmarks.md and bench/*.png")
    parser.add_argument("--larder", type=pathlib.Path, default=ROOT / "build/bin/larder-server",
                        help="the server to measure; a Redis or Valkey binary may stand in for it")
    parser.add_argument("--peer", default="/usr/bin/redis-server", help="the server to compare with")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",") if arguments.only else list(MEASURES)
    unknown = [name for name in arguments.only if name not in MEASURES]
    if unknown:
        parser.error("unknown measurement: " + ", ".join(unknown))
    if not arguments.larder.exists():
        parser.error(f"{arguments.larder} is missing: build it first")
    if arguments.out is None:
        whole = not arguments.quick and len(arguments.only) == len(MEASURES)
        arguments.out = ROOT / "docs" if whole else ROOT / "build/bench/out"
    return arguments


def measure(machine, sizes, names):
    """Runs the measurements; returns results and failures by name."""
    results, failures = {}, {}
    begin = time.monotonic()
    for name, function in MEASURES.items():
        if name not in names:
            continue
        start = time.monotonic()
        if start - begin > LIMIT_SECONDS:
            failures[name] = "no time was left"
            continue
        try:
            results[name] = function(machine, sizes)
        except (BenchError, redis.RedisError, OSError, subprocess.SubprocessError) as e:
            failures[name] = f"{type(e).__name__}: {e}" if not isinstance(e, BenchError) else str(e)
        print(f"{name}: {failures.get(name, 'done')} ({time.monotonic() - start:.0f} s)", flush=True)
    return results, failures


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    programs = ROOT / "build/bench"
    build_programs(programs)
    machine = Machine(arguments.larder.absolute(), arguments.peer, programs)
    sizes = Sizes(arguments.quick)
    results, failures = measure(machine, sizes, arguments.only)
    results["meta"] = report.collect_meta(machine, sizes, arguments.quick, failures)
    (programs / "results.json").write_text(json.dumps(results), encoding="utf-8")
    rows = report.write(results, arguments.out)
    for row in rows:
        print(f"{row[0]}: {row[2]}; target {row[1]}; reached: {row[4].strip('*')}")
    print(f"wrote {arguments.out / 'benchmarks.md'}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
