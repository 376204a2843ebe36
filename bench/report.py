"""Results as docs/benchmarks.md and plots. Everything shown comes from one run; nothing is kept from earlier ones."""

import datetime
import os
import platform
import re
import subprocess

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 - the backend must be chosen first

import lasting_report
from lasting import LASTING
from measures import MEASURES

MIB = 1024 * 1024
COLOURS = {"larder": "#2b6cb0", "larder_one": "#2b6cb0", "larder_two": "#63b3ed", "larder_unpinned": "#90cdf4",
           "larder_ttl": "#63b3ed", "redis": "#c05621", "redis_ttl": "#ed8936", "floor": "#a0aec0"}
NAMES = {"larder": "larder-server", "larder_one": "larder-server, 1 worker", "larder_two": "larder-server, 2 workers",
         "larder_unpinned": "larder-server, 1 worker, any core", "larder_ttl": "larder-server, with TTL",
         "redis": "Redis", "redis_ttl": "Redis, with TTL", "floor": "I/O floor"}
SLOW_COMMANDS = {"KEYS": "KEYS over all keys", "SETRANGE": "SETRANGE of 100 MB", "DEL": "DEL of a 100 MB value",
                 "FLUSHALL": "FLUSHALL of all keys"}
# What one command may add to memory before eviction has made room: its arguments and the split of one segment.
OVERSHOOT_BOUND = 2 * 64 * 1024 + 64 * 1024


# ---------------------------------------------------------------- targets

def at_keys(points, index):
    return points[index][1]


def target_rows(r):
    """Rows of the table of targets: (what, target as text, measured as text, peer as text, reached)."""
    rows = []

    def row(what, target, measured, peer, reached):
        rows.append((what, target, measured, peer, "yes" if reached else "**no**"))

    def ratio_row(what, limit, ratio, own, peer, unit):
        row(what, f"at most {limit:.2f} of the peer", f"{ratio:.2f} ({own:{unit}})", f"{peer:{unit}}", ratio <= limit)

    if "instructions" in r:
        i = r["instructions"]
        for p, limit, text in ((1, 0.40, "no pipeline"), (16, 0.30, "pipeline 16")):
            own, peer = i[f"larder_p{p}"], i[f"redis_p{p}"]
            ratio_row(f"user instructions per GET, {text}", limit, own / peer, own, peer, ",.0f")
    if "cpu" in r:
        for size in ("p16_small", "p16_big"):
            c = r["cpu"][size]
            ratio_row(f"user us per request, pipeline 16, {keys_text(r, size)} keys", 0.35, c["ratios"]["redis"],
                      c["larder"]["user_us"], c["redis"]["user_us"], ".3f")
        for size in ("p16_small", "p16_big"):
            c = r["cpu"][size]
            row(f"user us per request with two workers, {keys_text(r, size)} keys", "at most 1.15 of one worker",
                f"{c['ratios']['two']:.2f} ({c['larder_two']['user_us']:.3f})",
                f"one worker: {c['larder']['user_us']:.3f}", c["ratios"]["two"] <= 1.15)
    if "memory" in r:
        m = r["memory"]
        five, worst = at_keys(m["larder"], 4), max(m["larder"], key=lambda p: p[1])
        row(f"bytes per key, {count_text(m['larder'][4][0])} keys", "at most 72", f"{five:.1f}",
            f"{at_keys(m['redis'], 4):.1f}", five <= 72)
        row(f"bytes per key, worst of {count_text(m['larder'][0][0])} to {count_text(m['larder'][-1][0])} keys",
            "at most 78", f"{worst[1]:.1f} (at {count_text(worst[0])})", "", worst[1] <= 78)
        ttl = at_keys(m["larder_ttl"], 4) - five
        row("bytes more per key with a TTL", "at most 12", f"{ttl:.1f}",
            f"{at_keys(m['redis_ttl'], 4) - at_keys(m['redis'], 4):.1f}", ttl <= 12)
    if "idle" in r:
        i = r["idle"]
        worst = max(i["larder"], i["larder_holding"])
        row("CPU of an idle server (worse of empty and full)", "below 0.2 % of a core", f"{worst:.3f} %",
            f"{max(i['redis'], i['redis_holding']):.3f} %", worst < 0.2)
    slow_rows(r, row)
    other_rows(r, row)
    return rows


def slow_rows(r, row):
    if "slow" not in r:
        return
    s = r["slow"]
    for command, text in SLOW_COMMANDS.items():
        for name, workers in (("larder_one", "1 worker"), ("larder_two", "2 workers")):
            p99 = s[name][command]["during"]["p99_us"] / 1000
            row(f"p99 of other clients' GETs during {text}, {workers}", "below 10 ms", f"{p99:.2f} ms",
                f"{s['redis'][command]['during']['p99_us'] / 1000:.1f} ms", p99 < 10)
    for name, workers in (("larder_one", "1 worker"), ("larder_two", "2 workers")):
        known = [s[name][c]["pause"]["max_us"] for c in SLOW_COMMANDS if s[name][c]["pause"]["max_us"] is not None]
        usual = [s[name][c]["pause"]["usual_us"] for c in SLOW_COMMANDS if s[name][c]["pause"]["usual_us"] is not None]
        row(f"server's own longest worker pause in these, {workers}", "below 1 ms",
            f"{max(known) / 1000:.2f} ms (median of rounds {max(usual) / 1000:.2f})" if known else "not reported",
            "nothing slow: " + f"{s[name]['PING']['pause']['max_us'] / 1000:.2f} ms" if known else "",
            bool(known) and max(known) < 1000)


def other_rows(r, row):
    if "expiry" in r:
        w = r["expiry"]["worst"]
        row("expired keys among the resident ones, worst second", "below 1 %", f"{100 * w['larder']:.3f} %",
            f"{100 * w['redis']:.3f} %", w["larder"] < 0.01)
    if "maxmemory" in r:
        m = r["maxmemory"]
        over = {name: m[name]["peak"] - m["limit"] for name in ("larder", "redis")}
        row("overshoot of maxmemory, 2 workers", f"at most {OVERSHOOT_BOUND // 1024} KiB",
            f"{over['larder'] / 1024:.0f} KiB", f"{over['redis'] / 1024:.0f} KiB",
            over["larder"] <= OVERSHOOT_BOUND and m["larder"]["evicted"] > 0)
    if "defrag" in r:
        d = r["defrag"]
        if "unsupported" in d["larder"]:
            row("memory left after half is deleted, activedefrag", "at most 60 %", "not supported", "", False)
        else:
            left = {n: "not supported" if "unsupported" in d[n] else d[n]["samples"][-1][1] / d[n]["full"]
                    for n in ("larder", "redis")}
            peer = left["redis"] if isinstance(left["redis"], str) else f"{100 * left['redis']:.0f} %"
            row("memory left after half is deleted, activedefrag", "at most 60 %", f"{100 * left['larder']:.0f} %",
                peer, left["larder"] <= 0.6)


def count_text(n):
    return f"{n / 1e6:g} M" if n >= 1_000_000 else f"{n:,}"


def keys_text(r, size):
    return count_text(r["meta"]["keys_small" if size == "p16_small" else "keys_big"])


# ---------------------------------------------------------------- text

def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows]) + "\n"


def cpu_section(r):
    c = r["cpu"]
    floor = c["plain"]["floor"]["cpu_us"]
    parts = ["## CPU time per request\n",
             "50 connections, 32-byte values, 1 SET : 9 GET, random keys. Medians over "
             f"{r['meta']['rounds']} rounds of {r['meta']['seconds']:g} s, servers in turns. \"Above the floor\" is "
             "the engine's own cost: what it spends beyond a program that only reads, counts and writes. \"Busy\" is "
             "how much of a core the server used; below 100 % the load program was the limit.\n",
             "Without pipeline:\n",
             table(("server", "user us", "system us", "CPU us", "above the floor", "of Redis", "p50 us", "p99 us",
                    "requests/s", "busy"),
                   [(NAMES[n], f"{v['user_us']:.2f}", f"{v['system_us']:.2f}", f"{v['cpu_us']:.2f}",
                     f"{v['cpu_us'] - floor:.2f}", f"{v['cpu_us'] / c['plain']['redis']['cpu_us']:.2f}",
                     f"{v['p50_us']:.0f}", f"{v['p99_us']:.0f}", f"{v['rate']:,.0f}", f"{100 * v['busy']:.0f} %")
                    for n, v in c["plain"].items()])]
    for size in ("p16_small", "p16_big"):
        servers = {n: v for n, v in c[size].items() if n != "ratios"}
        parts += [f"Pipeline 16, {keys_text(r, size)} keys:\n",
                  table(("server", "user us", "system us", "CPU us", "user us of Redis", "requests/s", "busy"),
                        [(NAMES[n], f"{v['user_us']:.3f}", f"{v['system_us']:.3f}", f"{v['cpu_us']:.3f}",
                          f"{v['user_us'] / c[size]['redis']['user_us']:.2f}", f"{v['rate']:,.0f}",
                          f"{100 * v['busy']:.0f} %") for n, v in servers.items()]),
                  f"Two workers against one on the same set of cores: {c[size]['ratios']['two_unpinned']:.2f}.\n"]
    return parts + ["![CPU per request](bench/cpu.png)\n"]


def memory_section(r):
    m = r["memory"]
    rows = []
    for i, (keys, size) in enumerate(m["larder"]):
        rows.append([count_text(keys), f"{size:.1f}"] +
                    [f"{m[n][i][1]:.1f}" if i < len(m[n]) else "" for n in ("larder_ttl", "redis", "redis_ttl")])
    return ["## Resident bytes per key\n",
            "15-byte keys, 32-byte values. The growth of the process's resident size since its start, divided by the "
            "keys it holds.\n",
            table(("keys", *(NAMES[n] for n in ("larder", "larder_ttl", "redis", "redis_ttl"))), rows),
            "![Bytes per key](bench/memory.png)\n"]


def slow_section(r):
    rows = []
    for command, text in ({"PING": "PING, which is not slow"} | SLOW_COMMANDS).items():
        for name in ("larder_one", "larder_two", "redis"):
            s = r["slow"][name][command]
            pause = s["pause"]["max_us"]
            rows.append((text, NAMES[name], f"{s['command']['p50_us'] / 1000:.1f}",
                         *(f"{s['during'][k] / 1000:.2f}" for k in ("p50_us", "p99_us", "p999_us", "max_us")),
                         f"{s['quiet']['p99_us'] / 1000:.2f}", s["during"]["count"],
                         "" if pause is None else f"{pause / 1000:.2f} ({s['pause']['usual_us'] / 1000:.2f})"))
    parts = ["## Other clients during slow commands\n",
             "16 connections send one GET per millisecond each, answered or not, while another connection runs the "
             "slow command; GETs sent between the command and 20 ms after its reply are counted. The quiet p99 is that "
             "of the same connections before the command: what machine and prober add by themselves. With one worker, "
             "server and slow lane share one core, and every connection shares its worker with the slow client. "
             "Milliseconds. A worker's pause is a turn of its loop in wall time, so that it holds what the kernel took the "
             "core away for, by other threads of this server or by anybody; the longest of all rounds, and in brackets "
             "the median of the longest of each round. What PING shows is the machine's own.\n",
             table(("command", "server", "it takes", "p50", "p99", "p99.9", "max", "quiet p99", "GETs",
                    "worker pause"), rows)]
    histogram = r["slow"]["larder_one"]["FLUSHALL"]["pause"]["histogram"]
    if histogram:
        parts.append(f"Worker pauses during the FLUSHALL with one worker, as the server reports them: `{histogram}`.\n")
    parts.append("The work of a turn is bounded: connections go on in the next turn after 400 us of commands, a flush ends "
                 "after 256 KiB, upkeep goes in steps of 100 us, one worker at a time frees what FLUSHALL dropped, and walks "
                 "and unmapping rest between their steps in threads of low priority. The pauses that are longer come and go "
                 "between runs, and as long ones are there when nothing is slow (PING, and the quiet p99 before a command): "
                 "workers, slow lane, load and prober are more threads than these cores, and the kernel lets one run for "
                 "milliseconds.\n")
    return parts + ["![Latency during slow commands](bench/slow.png)\n"]


def expiry_section(r):
    e = r["expiry"]
    return ["## Expiry\n",
            f"{count_text(e['stay'])} keys expire, spread over {r['meta']['expiry_ms'] / 1000:g} s, beside as many "
            "that stay. The deadlines are known, so the number of keys past theirs that still count in DBSIZE is "
            "DBSIZE less the number that should be left. Three seconds after the last deadline "
            f"larder-server held {e['left']['larder']:,} keys and Redis {e['left']['redis']:,}.\n",
            "![Expired keys still resident](bench/expiry.png)\n"]


def maxmemory_section(r):
    m = r["maxmemory"]
    return ["## maxmemory\n",
            "50 connections at pipeline 16 write 1000-byte values, several times what `maxmemory 100mb` with "
            "`allkeys-lru` allows, while another connection reads `used_memory` every 10 ms; the server's own peak "
            "counts too. The bound counts 64 KiB for each of two "
            "workers, and 64 KiB for the growth of one command.\n",
            table(("server", "peak over the limit, KiB", "evicted keys", "refused SETs", "resident at the end, MiB"),
                  [(NAMES[n], f"{(m[n]['peak'] - m['limit']) / 1024:.0f}", f"{m[n]['evicted']:,}", m[n]["errors"],
                    f"{m[n]['rss'] / MIB:.0f}") for n in ("larder", "redis")]),
            "![used_memory under maxmemory](bench/maxmemory.png)\n"]


def defrag_section(r):
    d = r["defrag"]
    parts = ["## activedefrag\n",
             "A random half of the keys is deleted; the resident memory above that of the empty server is then "
             "watched.\n"]
    for name in ("larder", "redis"):
        if "unsupported" in d[name]:
            parts.append(f"{NAMES[name]}: not supported (\"{d[name]['unsupported']}\").\n")
        else:
            s = d[name]["samples"]
            parts.append(f"{NAMES[name]}: {d[name]['full'] / MIB:.0f} MiB with {d[name]['keys']:,} keys, "
                         f"{s[0][1] / MIB:.0f} MiB just after the deletion, {s[-1][1] / MIB:.0f} MiB "
                         f"{s[-1][0]:.0f} s later with {d[name]['keys_left']:,} keys.\n")
    return parts + ["![Resident memory after the deletion](bench/defrag.png)\n"]


def instructions_section(r):
    i = r["instructions"]
    few, many = r["meta"]["callgrind_requests"]
    return ["## Instructions per GET\n",
            f"User instructions under callgrind: the difference between a run with {many:,} and one with {few:,} GETs, "
            "divided by the difference in GETs. 50 connections, every key found. Unlike CPU time this hardly varies "
            "between runs.\n",
            table(("server", "no pipeline", "pipeline 16"),
                  [(NAMES[n], f"{i[n + '_p1']:,.0f}", f"{i[n + '_p16']:,.0f}") for n in ("larder", "redis")] +
                  [("ratio", *(f"{i[f'larder_p{p}'] / i[f'redis_p{p}']:.2f}" for p in (1, 16)))]),
            "![Instructions per GET](bench/instructions.png)\n"]


def idle_section(r):
    i = r["idle"]
    return ["## Idle servers\n", f"Share of one core over {i['seconds']:.0f} s without a request.\n",
            table(("server", "empty", f"with {count_text(r['meta']['keys_small'])} keys"),
                  [(NAMES[n], f"{i[n]:.3f} %", f"{i[n + '_holding']:.3f} %") for n in ("larder", "redis")])]


SECTIONS = {"instructions": instructions_section, "cpu": cpu_section, "memory": memory_section, "idle": idle_section,
            "slow": slow_section, "expiry": expiry_section, "maxmemory": maxmemory_section, "defrag": defrag_section}
assert SECTIONS.keys() | LASTING.keys() == MEASURES.keys()


# ---------------------------------------------------------------- plots

def save(figure, path):
    figure.tight_layout()
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


def bars(axis, labels, groups):
    """Grouped bars. groups: [(name, colour, [value per label])]."""
    width = 0.8 / len(groups)
    for g, (name, colour, values) in enumerate(groups):
        at = [i - 0.4 + (g + 0.5) * width for i in range(len(labels))]
        drawn = axis.bar(at, values, width, label=name, color=colour)
        axis.bar_label(drawn, fmt="%.3g", fontsize=7)
    axis.set_xticks(range(len(labels)), labels)
    axis.legend(fontsize=8)


def plot_instructions(r, path):
    figure, axis = plt.subplots(figsize=(6, 3.5))
    bars(axis, ["no pipeline", "pipeline 16"],
         [(NAMES[n], COLOURS[n], [r["instructions"][f"{n}_p{p}"] for p in (1, 16)]) for n in ("larder", "redis")])
    axis.set_ylabel("user instructions per GET")
    save(figure, path / "instructions.png")


def plot_cpu(r, path):
    c = r["cpu"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    names = list(c["plain"])
    user, system = ([c["plain"][n][k] for n in names] for k in ("user_us", "system_us"))
    left.bar(range(len(names)), system, color="#cbd5e0", label="system")
    left.bar(range(len(names)), user, bottom=system, color=[COLOURS[n] for n in names], label="user")
    left.set_xticks(range(len(names)), [NAMES[n] for n in names])
    left.set_ylabel("us of CPU per request")
    left.set_title("no pipeline (grey: system)")
    sizes = ("p16_small", "p16_big")
    bars(right, [f"{keys_text(r, s)} keys" for s in sizes],
         [(NAMES[n], COLOURS[n], [c[s][n]["user_us"] for s in sizes])
          for n in ("larder", "larder_two", "larder_unpinned", "redis")])
    right.set_title("pipeline 16")
    right.set_ylabel("us of user CPU per request")
    save(figure, path / "cpu.png")


def plot_memory(r, path):
    figure, axis = plt.subplots(figsize=(7, 4))
    for name, points in r["memory"].items():
        axis.plot([p[0] / 1e6 for p in points], [p[1] for p in points], "o-", color=COLOURS[name], label=NAMES[name])
    axis.axhline(78, color="grey", linestyle=":", label="target: 78 anywhere")
    axis.axhline(72, color="grey", linestyle="--", label="target: 72 at 5 M")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("million keys")
    axis.set_ylabel("resident bytes per key")
    axis.legend(fontsize=8)
    save(figure, path / "memory.png")


def plot_slow(r, path):
    figure, axis = plt.subplots(figsize=(9, 4))
    bars(axis, list(SLOW_COMMANDS),
         [(NAMES[n], COLOURS[n], [r["slow"][n][c]["during"]["p99_us"] / 1000 for c in SLOW_COMMANDS])
          for n in ("larder_one", "larder_two", "redis")])
    axis.set_yscale("log")
    axis.axhline(10, color="grey", linestyle="--")
    axis.set_ylabel("p99 of other clients' GETs, ms")
    save(figure, path / "slow.png")


def plot_expiry(r, path):
    figure, axis = plt.subplots(figsize=(7, 4))
    for name, points in r["expiry"]["curves"].items():
        axis.plot([p[0] for p in points], [100 * p[1] for p in points], color=COLOURS[name], label=NAMES[name])
    axis.axhline(1, color="grey", linestyle="--", label="target: 1 %")
    axis.set_xlabel("seconds since the first deadline")
    axis.set_ylabel("% of resident keys that are expired")
    axis.legend(fontsize=8)
    save(figure, path / "expiry.png")


def plot_maxmemory(r, path):
    figure, axis = plt.subplots(figsize=(7, 4))
    for name in ("larder", "redis"):
        points = r["maxmemory"][name]["samples"]
        axis.plot([p[0] for p in points], [p[1] / MIB for p in points], color=COLOURS[name], label=NAMES[name])
    axis.axhline(r["maxmemory"]["limit"] / MIB, color="grey", linestyle="--", label="maxmemory")
    axis.set_xlabel("seconds")
    axis.set_ylabel("used_memory, MiB")
    axis.legend(fontsize=8)
    save(figure, path / "maxmemory.png")


def plot_defrag(r, path):
    figure, axis = plt.subplots(figsize=(7, 4))
    for name in ("larder", "redis"):
        d = r["defrag"][name]
        if "unsupported" not in d:
            axis.plot([-1, 0] + [p[0] for p in d["samples"]],
                      [100, 100] + [100 * p[1] / d["full"] for p in d["samples"]],
                      color=COLOURS[name], label=NAMES[name])
            axis.legend(fontsize=8)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("seconds since half of the keys was deleted")
    axis.set_ylabel("% of the resident memory before")
    save(figure, path / "defrag.png")


PLOTS = {"instructions": plot_instructions, "cpu": plot_cpu, "memory": plot_memory, "slow": plot_slow,
         "expiry": plot_expiry, "maxmemory": plot_maxmemory, "defrag": plot_defrag}


# ---------------------------------------------------------------- the whole

def version_of(binary):
    try:
        out = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    match = re.search(r"v=(\S+)|(\d+\.\d+\.\d+)", out)
    return match.group(1) or match.group(2) if match else "unknown"


def machine_text():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        info = f.read()
    model = re.search(r"model name\s*:\s*(.*)", info)
    with open("/proc/meminfo", encoding="ascii") as f:
        memory = int(re.search(r"MemTotal:\s+(\d+)", f.read()).group(1)) / MIB
    virtual = ", virtual machine" if " hypervisor" in info else ""
    return (f"{model.group(1) if model else platform.machine()}, {len(os.sched_getaffinity(0))} cores{virtual}, "
            f"{memory:.0f} GiB, Linux {platform.release().split('-')[0]}")


def head(r, rows):
    meta = r["meta"]
    reached = sum(1 for row in rows if row[4] == "yes")
    parts = ["# Benchmarks\n"]
    if meta["stand_in"]:
        parts.append("**The figures under larder-server are those of another server that stood in for it.**\n")
    if meta["quick"]:
        parts.append("**A quick run with small sizes: it tries the benchmark and says nothing about the engine.**\n")
    parts += [
        "Written by `make bench`, which measures everything anew and replaces this page; `bench/run.py --only NAME` "
        "measures a part, `--quick` tries the benchmark itself. A figure counts only beside the peer of the same run: "
        "between runs, figures drift by a fifth on shared machines, ratios less.\n",
        f"- Date: {meta['date']}\n- Machine: {meta['machine']}\n"
        f"- larder-server {meta['larder_version']} with its defaults (no persistence); peer: redis-server "
        f"{meta['peer_version']} without persistence; I/O floor: `bench/floor.c`\n"
        f"- {meta['placing']}\n",
    ]
    if rows:
        parts += [f"## Targets: {reached} of {len(rows)} reached\n",
                  table(("what", "target", "larder-server", "peer", "reached"), rows)]
    if meta["failures"]:
        parts += ["Not measured:\n", "\n".join(f"- {n}: {text}" for n, text in meta["failures"].items()) + "\n"]
    return parts


def collect_meta(machine, sizes, quick, failures):
    one = len(machine.all_cores) == 1
    return {
        "date": datetime.date.today().isoformat(), "machine": machine_text(), "quick": quick,
        "stand_in": machine.stand_in, "failures": failures,
        "larder_version": version_of(machine.larder_path), "peer_version": version_of(machine.peer_path),
        "placing": "Servers and load program share the only core: waiting times include each other's work."
                   if one else "One core for the server, another for the load program; with two workers the server may "
                               "use both, and the load program runs on one of them.",
        "keys_small": sizes.keys_small, "keys_big": sizes.keys_big, "rounds": sizes.rounds, "seconds": sizes.seconds,
        "during_rounds": sizes.during_rounds, "quiet_seconds": sizes.quiet_seconds,
        "expiry_ms": sizes.expiry_ms, "callgrind_requests": sizes.callgrind_requests,
    }


def write(results, out):
    """Writes benchmarks.md and bench/*.png under `out`. Returns the rows of the targets."""
    plots = out / "bench"
    plots.mkdir(parents=True, exist_ok=True)
    rows = target_rows(results)
    parts = head(results, rows)
    for name, section in SECTIONS.items():
        if name in results:
            parts += section(results)
    parts += lasting_report.chapter(results)
    for name, plot in PLOTS.items():
        if name in results:
            plot(results, plots)
    (out / "benchmarks.md").write_text("\n".join(parts), encoding="utf-8")
    return rows + lasting_report.target_rows(results)
