"""The measurements. Each takes a Machine and Sizes and returns a dictionary of plain numbers for the report.

Servers that are compared are measured in turns (A B C A B C ...) and medians are taken, so that a change in the
machine's speed falls on all of them."""

import re
import statistics
import time

import redis

from lasting import LASTING
from servers import BenchError

CONNECTIONS = 50
VALUE_SIZE = 32
SLOW_VALUE = 100 * 1024 * 1024
MEMORY_LIMIT = 100 * 1024 * 1024
EXPIRY_LEAD_MS = 10000  # from the start of the fill to the first deadline


class Sizes:
    """How much work each measurement does."""

    def __init__(self, quick):
        def pick(full, small):
            return small if quick else full

        self.keys_small = pick(1_000_000, 20_000)
        self.keys_big = pick(5_000_000, 50_000)
        self.rounds = pick(5, 2)
        self.seconds = pick(3.0, 0.4)
        self.warmup = pick(0.5, 0.1)
        self.callgrind_keys = pick(50_000, 2_000)
        self.callgrind_requests = pick((10_000, 60_000), (1_000, 5_000))
        self.memory_step = pick(1_000_000, 50_000)
        self.idle_seconds = pick(12, 2)
        self.slow_repeat = pick(5, 2)
        self.refill_repeat = pick(3, 1)
        self.expiry_ms = pick(60_000, 4_000)
        self.maxmemory_keys = pick(400_000, 250_000)
        self.defrag_keys = pick(2_000_000, 200_000)
        self.defrag_seconds = pick(30, 4)
        self.during_rounds = pick(3, 1)
        self.quiet_seconds = pick(2.0, 0.4)
        self.load_rounds = 1
        self.write_seconds = pick(1.5, 0.3)
        self.confirm_seconds = pick(1.0, 0.2)
        self.replay_requests = pick(2_700_000, 50_000)


# ---------------------------------------------------------------- instructions

def callgrind_total(machine, start, pipeline, requests, keys):
    """Instructions of a server's whole life in which it served a fill and `requests` GETs."""
    wrapper = ["valgrind", "--tool=callgrind", "--callgrind-out-file=callgrind.out"]
    with start(wrapper=wrapper) as server:
        machine.fill(server, keys)
        result = machine.load(server, mode="mixed", keys=keys, requests=requests, set_percent=0, pipeline=pipeline,
                              connections=CONNECTIONS, pid=0)
        if result["misses"] or result["errors"]:
            raise BenchError(f"{server.kind} under callgrind: {result['misses']} misses, {result['errors']} errors")
        server.process.terminate()
        server.process.wait(60)
        match = re.search(r"Collected : (\d+)", server.said())
        if not match:
            raise BenchError(f"no total from callgrind for {server.kind}: {server.said()[-300:]}")
        return int(match.group(1))


def instructions(machine, sizes):
    """User instructions per GET: the difference of two runs that differ only in their number of GETs."""
    few, many = sizes.callgrind_requests
    result = {}
    for pipeline in (1, 16):
        for name, start in (("larder", machine.larder), ("redis", machine.redis)):
            totals = [callgrind_total(machine, start, pipeline, n, sizes.callgrind_keys) for n in (few, many)]
            result[f"{name}_p{pipeline}"] = (totals[1] - totals[0]) / (many - few)
    return result


# ---------------------------------------------------------------- CPU time

def cpu_rounds(machine, sizes, servers, **options):
    """Measures the named servers in turns. Returns name -> medians per request, and the raw rounds."""
    samples = {name: [] for name in servers}
    for _ in range(sizes.rounds):
        for name, server in servers.items():
            r = machine.load(server, mode="mixed", connections=CONNECTIONS, value_size=VALUE_SIZE,
                             warmup=sizes.warmup, seconds=sizes.seconds, **options)
            if r["errors"] or r["misses"]:
                raise BenchError(f"{name}: {r['errors']} errors, {r['misses']} misses; {r['first_error']}")
            n = r["requests"]
            samples[name].append({
                "user_us": r["user_us"] / n, "system_us": r["system_us"] / n, "cpu_us": r["cpu_us"] / n,
                "load_cpu_us": r["load_cpu_us"] / n, "busy": r["cpu_us"] / 1e6 / r["seconds"],
                "rate": n / r["seconds"], "p50_us": r["latency"]["p50_us"], "p99_us": r["latency"]["p99_us"],
            })
    return {name: {key: statistics.median(s[key] for s in rounds) for key in rounds[0]} | {"rounds": rounds}
            for name, rounds in samples.items()}


def round_ratio(result, name, other, key):
    """The median over the rounds of one server's figure divided by the other's of the same round."""
    pairs = zip(result[name]["rounds"], result[other]["rounds"])
    return statistics.median(a[key] / b[key] for a, b in pairs if b[key] > 0)


def cpu(machine, sizes):
    """CPU time per request, without pipeline and at pipeline 16, with few and with many keys."""
    with machine.larder() as larder, machine.redis() as peer, machine.floor() as floor, \
            machine.larder(threads=1, pinned=False) as unpinned, machine.larder(threads=2, pinned=False) as two:
        holders = (larder, peer, unpinned, two)
        compared = {"larder": larder, "redis": peer, "floor": floor, "larder_unpinned": unpinned, "larder_two": two}
        single = {name: compared[name] for name in ("larder", "redis", "floor")}
        for server in holders:
            machine.fill(server, sizes.keys_small)
        result = {"plain": cpu_rounds(machine, sizes, single, keys=sizes.keys_small, pipeline=1),
                  "p16_small": cpu_rounds(machine, sizes, compared, keys=sizes.keys_small, pipeline=16)}
        for server in holders:
            machine.fill(server, sizes.keys_big - sizes.keys_small, first=sizes.keys_small)
        del compared["floor"]
        result["p16_big"] = cpu_rounds(machine, sizes, compared, keys=sizes.keys_big, pipeline=16)
    for size in ("p16_small", "p16_big"):
        result[size]["ratios"] = {
            "redis": round_ratio(result[size], "larder", "redis", "user_us"),
            "two": round_ratio(result[size], "larder_two", "larder", "user_us"),
            "two_unpinned": round_ratio(result[size], "larder_two", "larder_unpinned", "user_us"),
        }
    return result


def idle(machine, sizes):
    """Share of one core that servers use with nothing to do, empty and holding keys."""
    with machine.larder() as empty, machine.larder() as holding, machine.redis() as peer, \
            machine.redis() as peer_holding:
        for server in (holding, peer_holding):
            machine.fill(server, sizes.keys_small)
        servers = {"larder": empty, "larder_holding": holding, "redis": peer, "redis_holding": peer_holding}
        time.sleep(2)  # work left over from the fill is not idleness
        before = {name: server.cpu_ns() for name, server in servers.items()}
        start = time.monotonic()
        time.sleep(sizes.idle_seconds)
        spent = {name: server.cpu_ns() - before[name] for name, server in servers.items()}
        seconds = time.monotonic() - start
    return {"seconds": seconds} | {name: 100 * ns / 1e9 / seconds for name, ns in spent.items()}


# ---------------------------------------------------------------- memory

def bytes_per_key(machine, server, steps, step, **options):
    """Fills in steps; returns [[keys, resident bytes per key], ...]."""
    base = server.rss()
    points = []
    for i in range(steps):
        machine.fill(server, step, first=i * step, value_size=VALUE_SIZE, **options)
        keys = (i + 1) * step
        with server.client() as client:
            held = client.dbsize()
        if held != keys:
            raise BenchError(f"{server.kind} holds {held} keys instead of {keys}")
        points.append([keys, (server.rss() - base) / keys])
    return points


def memory(machine, sizes):
    """Resident bytes per key of 15 + 32 bytes, with and without a TTL. One server at a time."""
    result = {}
    with machine.larder() as server:
        result["larder"] = bytes_per_key(machine, server, 10, sizes.memory_step)
    with machine.redis() as server:
        result["redis"] = bytes_per_key(machine, server, 5, sizes.memory_step)
    with machine.larder() as server:
        result["larder_ttl"] = bytes_per_key(machine, server, 5, sizes.memory_step, ttl=100000)
    with machine.redis() as server:
        result["redis_ttl"] = bytes_per_key(machine, server, 5, sizes.memory_step, ttl=100000)
    return result


def overshoot(machine, server, sizes):
    """Writes several times what maxmemory allows while a second client reads used_memory as fast as it may."""
    with server.client() as client:
        options = {"mode": "fill", "keys": sizes.maxmemory_keys, "value_size": 1000, "connections": CONNECTIONS,
                   "pipeline": 16}
        writer = machine.start_program("load", server, options)
        samples, start = [], time.monotonic()
        while writer.poll() is None and time.monotonic() - start < 120:
            used = client.info("memory")["used_memory"]
            samples.append([time.monotonic() - start, used])
            time.sleep(0.01)
        written = machine.finish_program(writer, 10)
        info = client.info("memory")
        samples.append([time.monotonic() - start, info["used_memory"]])
        evicted = client.info("stats").get("evicted_keys", 0)
    # The server's own peak counts too: a rise between two samples must not go unseen.
    peak = max([used for _, used in samples] + [info.get("used_memory_peak", 0)])
    return {"samples": samples, "peak": peak, "errors": written["errors"],
            "evicted": evicted, "rss": server.rss()}


def maxmemory(machine, sizes):
    """How far used_memory rises above maxmemory under allkeys-lru."""
    limit = ["--maxmemory", str(MEMORY_LIMIT), "--maxmemory-policy", "allkeys-lru"]
    result = {"limit": MEMORY_LIMIT}
    with machine.larder(threads=2, pinned=False, extra=limit) as server:
        result["larder"] = overshoot(machine, server, sizes)
    with machine.redis(extra=limit) as server:
        result["redis"] = overshoot(machine, server, sizes)
    return result


def defrag_curve(machine, server, sizes):
    with server.client() as client:
        try:
            client.config_set("activedefrag", "yes")
            client.config_set("active-defrag-ignore-bytes", "1mb")
        except redis.ResponseError as e:
            return {"unsupported": str(e)}
        base = server.rss()
        machine.fill(server, sizes.defrag_keys)
        full = server.rss() - base
        machine.load(server, mode="halve", keys=sizes.defrag_keys, connections=4, pipeline=32)
        samples, start = [], time.monotonic()
        while time.monotonic() - start < sizes.defrag_seconds:
            samples.append([time.monotonic() - start, server.rss() - base])
            time.sleep(0.25)
        left = client.dbsize()
    return {"full": full, "samples": samples, "keys_left": left, "keys": sizes.defrag_keys}


def defrag(machine, sizes):
    """Resident memory after a random half of the keys is deleted, with activedefrag on."""
    result = {}
    with machine.larder() as server:
        result["larder"] = defrag_curve(machine, server, sizes)
    with machine.redis() as server:
        result["redis"] = defrag_curve(machine, server, sizes)
    return result


# ---------------------------------------------------------------- expiry

def unexpired(now_ms, first_ms, sizes):
    """Keys of the expiring million whose deadline has not passed: deadlines are spread evenly by construction."""
    keys = sizes.keys_small
    gone = (now_ms - first_ms) * keys // sizes.expiry_ms
    return keys - min(max(gone, 0), keys)


def expiry(machine, sizes):
    """Expired keys that are still resident, while 1 M expire over a minute beside 1 M that stay."""
    curves = {"larder": [], "redis": []}
    with machine.larder() as larder, machine.redis() as peer:
        servers = {"larder": larder, "redis": peer}
        clients = {name: server.client() for name, server in servers.items()}
        for server in servers.values():
            machine.fill(server, sizes.keys_small)
        first = int(time.time() * 1000) + EXPIRY_LEAD_MS
        for server in servers.values():
            machine.fill(server, sizes.keys_small, first=sizes.keys_small, deadline=first, spread=sizes.expiry_ms)
        if time.time() * 1000 >= first:
            raise BenchError("filling took longer than the time before the first deadline")
        end = first + sizes.expiry_ms + 3000
        while time.time() * 1000 < end:
            for name, client in clients.items():
                before = int(time.time() * 1000)
                held = client.dbsize()
                # Counted just before the call: what expires during it is at most a millisecond's share.
                alive = sizes.keys_small + unexpired(before, first, sizes)
                curves[name].append([(before - first) / 1000, max(held - alive, 0) / max(held, 1)])
            time.sleep(max(0, 1 - time.time() % 1))
        left = {name: client.dbsize() for name, client in clients.items()}
        for client in clients.values():
            client.close()
    return {"curves": curves, "left": left, "worst": {name: max(p[1] for p in c) for name, c in curves.items()},
            "stay": sizes.keys_small}


# ---------------------------------------------------------------- slow commands

def join(histograms):
    """One histogram of several, as percentiles in microseconds."""
    buckets = {}
    for h in histograms:
        for us, count in h["buckets"]:
            buckets[us] = buckets.get(us, 0) + count
    total = sum(buckets.values())
    result = {"count": total, "max_us": max((h["max_us"] for h in histograms), default=0)}
    for key, fraction in (("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999)):
        seen = 0
        result[key] = 0
        for us in sorted(buckets):
            seen += buckets[us]
            if seen > fraction * total:
                result[key] = us
                break
    return result


def pauses(server):
    """The server's own account of its longest worker pause since the last reset, if it keeps one."""
    with server.client() as client:
        info = client.info("everything")
    histogram = {key: value for key, value in info.items() if key.startswith("larder_worker_pause_us_hist")}
    return {"max_us": info.get("larder_worker_pause_max_us"), "histogram": str(histogram) if histogram else None}


def slow_command(machine, server, words, sizes, before=None, refill=False):
    """Other clients' GETs while one client runs `words` several times."""
    options = {"keys": sizes.keys_small, "repeat": 1 if refill else sizes.slow_repeat}
    if before:
        options["before"] = before
    runs, paused = [], []
    for _ in range(sizes.refill_repeat):
        if refill:
            machine.fill(server, sizes.keys_small)
        with server.client() as client:
            client.config_resetstat()
        runs.append(machine.latency(server, words, **options))
        paused.append(pauses(server))
        if runs[-1]["errors"]:
            raise BenchError(f"{server.kind}: a GET failed during {words[0]}")
    result = {key: join([r[key] for r in runs]) for key in ("quiet", "during", "command")}
    worst = max(paused, key=lambda p: p["max_us"] or 0)
    usual = None if worst["max_us"] is None else statistics.median(p["max_us"] for p in paused)
    return result | {"pause": worst | {"usual_us": usual}}


def slow(machine, sizes):
    """Latency of other clients during slow commands: one worker on one core, two workers, and the peer."""
    top = str(SLOW_VALUE - 1)
    starts = {"larder_one": machine.larder, "larder_two": lambda: machine.larder(threads=2, pinned=False),
              "redis": machine.redis}
    result = {}
    for name, start in starts.items():
        with start() as server:
            machine.fill(server, sizes.keys_small)
            result[name] = {
                "PING": slow_command(machine, server, ["PING"], sizes),
                "KEYS": slow_command(machine, server, ["KEYS", "*"], sizes),
                "SETRANGE": slow_command(machine, server, ["SETRANGE", "big", top, "x"], sizes, before="DEL big"),
                "DEL": slow_command(machine, server, ["DEL", "big"], sizes, before=f"SETRANGE big {top} x"),
                "FLUSHALL": slow_command(machine, server, ["FLUSHALL"], sizes, refill=True),
            }
    return result


MEASURES = {
    "instructions": instructions,
    "cpu": cpu,
    "memory": memory,
    "idle": idle,
    "slow": slow,
    "expiry": expiry,
    "maxmemory": maxmemory,
    "defrag": defrag,
} | LASTING
