"""The chapter "Data that lasts" of docs/benchmarks.md, with its own table of targets."""

import statistics

from lasting import LASTING, PIPELINE

MIB = 1024 * 1024
SERVERS = {"larder_one": "larder-server, 1 worker", "larder_two": "larder-server, 2 workers", "redis": "Redis"}
KINDS = {"larder": "larder-server", "redis": "Redis"}
EVENTS = {"saving": "BGSAVE", "rewriting": "BGREWRITEAOF", "syncing": "a full synchronisation"}
LATENCIES = ("p50_us", "p99_us", "p999_us", "max_us")
COMPRESSION = {"yes": "with compression", "no": "without"}
SAVED = COMPRESSION | {"uniform": "with compression, values of one byte repeated"}
WRITE_MODES = {"none": "none", "replica": "one replica", "everysec": "`appendfsync everysec`",
               "always": "`appendfsync always`"}
CONFIRMED = {"larder_async": "larder-server, SET", "redis_async": "Redis, SET",
             "larder_wait": "larder-server, SET and WAIT 1", "redis_wait": "Redis, SET and WAIT 1",
             "larder_replica": "larder-server, `durability replica`",
             "larder_quorum": "larder-server, `durability quorum`, both replicas needed"}


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows]) + "\n"


def median(rounds, key):
    return statistics.median(r[key] for r in rounds)


def paired(rounds, others, key):
    """The median of the ratios round by round."""
    return statistics.median(a[key] / b[key] for a, b in zip(rounds, others) if b[key] > 0)


def tail_ratio(server):
    return paired(server["during"], server["quiet"], "p999_us")


def growth(rounds):
    return statistics.median(r["peak"] / r["before"] - 1 for r in rounds)


# ---------------------------------------------------------------- targets

def during_rows(r, row):
    for event, text in EVENTS.items():
        if event not in r:
            continue
        peer = r[event]["redis"]
        for name, workers in (("larder_one", "1 worker"), ("larder_two", "2 workers")):
            if name not in r[event]:
                continue
            own = r[event][name]
            ratio = tail_ratio(own)
            row(f"p99.9 of GETs during {text}, {workers}", "at most 1.50 of that without",
                f"{ratio:.2f} ({median(own['during'], 'p999_us') / 1000:.2f} ms)",
                f"{tail_ratio(peer):.2f} ({median(peer['during'], 'p999_us') / 1000:.2f} ms)", ratio <= 1.5)
            pauses = [x["pause_us"] for x in own["during"]]
            if None not in pauses:
                quiet = max(x["pause_us"] for x in own["quiet"])
                row(f"server's own longest worker pause during {text}, {workers}", "at most 1 ms",
                    f"{max(pauses) / 1000:.2f} ms (median of rounds {statistics.median(pauses) / 1000:.2f}); "
                    f"without {quiet / 1000:.2f}",
                    f"its fork: {max(x['fork_us'] for x in peer['during']) / 1000:.1f} ms", max(pauses) <= 1000)
        own = growth(r[event]["larder_one"]["during"])
        row(f"memory at its highest during {text}", "at most 5 % more", f"{100 * own:+.1f} %",
            f"{100 * growth(peer['during']):+.1f} %", own <= 0.05)


def files_rows(r, row):
    if "files" not in r:
        return
    saves, loads = r["files"]["saves"], r["files"]["loads"]

    def compare(what, own, peer, unit):
        row(what, "at most the peer's", f"{own:.2f} {unit} ({own / peer:.2f})", f"{peer:.2f} {unit}", own <= peer)

    for compression, text in SAVED.items():
        own, peer = saves["larder"][compression], saves["redis"][compression]
        compare(f"BGSAVE of an idle server, {text}", median(own["rounds"], "seconds"),
                median(peer["rounds"], "seconds"), "s")
        if compression not in COMPRESSION:
            continue
        compare(f"loading the own file, {text}", median(loads[f"larder_{compression}"]["larder"], "seconds"),
                median(loads[f"redis_{compression}"]["redis"], "seconds"), "s")


def writes_rows(r, row):
    for mode in ("replica", "everysec"):
        if "writes" not in r:
            continue
        own, peer = r["writes"][mode]["larder"], r["writes"][mode]["redis"]
        for key, text in (("user_us", "user us"), ("cpu_us", "CPU us")):
            ratio = paired(own, peer, key)
            row(f"{text} per SET, pipeline {PIPELINE}, {WRITE_MODES[mode]}", "at most 0.50 of the peer",
                f"{ratio:.2f} ({median(own, key):.3f})", f"{median(peer, key):.3f}", ratio <= 0.5)
    if "replay" in r:
        own, peer = r["replay"]["larder"], r["replay"]["redis"]
        ratio = statistics.median(x["replay_cpu_us"] / x["write_cpu_us"] for x in own)
        row("CPU us per SET that a replica replays", "at most its primary's",
            f"{ratio:.2f} of it ({median(own, 'replay_cpu_us'):.3f})",
            f"{statistics.median(x['replay_cpu_us'] / x['write_cpu_us'] for x in peer):.2f} "
            f"({median(peer, 'replay_cpu_us'):.3f})", ratio <= 1)


def target_rows(r):
    """Rows of the chapter's table of targets: (what, target, measured, peer, reached)."""
    rows = []

    def row(what, target, measured, peer, reached):
        rows.append((what, target, measured, peer, "yes" if reached else "**no**"))

    during_rows(r, row)
    files_rows(r, row)
    writes_rows(r, row)
    return rows


# ---------------------------------------------------------------- text

def during_section(r):
    if not any(event in r for event in EVENTS):
        return []
    meta = r["meta"]
    parts = ["### While something is saved\n",
             f"{meta['keys_big'] / 1e6:g} M keys of 15 + 32 bytes; 50 connections, each a closed loop of 9 GET : 1 SET "
             "without pipeline; latencies of the GETs, milliseconds. Each round measures "
             f"{meta['quiet_seconds']:g} s of quiet and then the job from its start to its end; medians of "
             f"{meta['during_rounds']} rounds, for pauses the longest of all and in brackets the median of the longest "
             "of each round. The replica of a full synchronisation is a program that swallows what it is sent. "
             "BGREWRITEAOF has `appendonly yes`, in quiet as well. Memory is the highest resident size meanwhile over "
             "that before (Redis: the proportional sizes of parent and child together), sampled ten times a second. A "
             "worker's pause is a turn of its loop in wall time; it holds what the kernel took the core away for. With "
             "scheduler events and processor time recorded beside them, the pauses above 1 ms were of two kinds: another "
             "process that the kernel ran on the same core, and turns in which the worker was never switched out and used "
             "200 to 400 us of processor time while 1.5 to 5 ms passed, as when a virtual machine stands still (so do "
             "pauses in quiet). Before, one fdatasync of 32 MiB on the snapshots' thread was 2 ms of kernel work on that "
             "core; now what is written goes to the disk a MiB at a time.\n"]
    rows = []
    for event, text in EVENTS.items():
        for name in r.get(event, ()):
            for phase in ("quiet", "during"):
                rounds = r[event][name][phase]
                pauses = [x["pause_us"] for x in rounds]
                fork = f"fork {max(x['fork_us'] for x in rounds) / 1000:.1f}" if phase == "during" else ""
                rows.append((text if phase == "during" else f"before {text}", SERVERS[name],
                             f"{median(rounds, 'seconds'):.1f}", f"{median(rounds, 'rate'):,.0f}",
                             *(f"{median(rounds, key) / 1000:.2f}" for key in LATENCIES),
                             fork if None in pauses else
                             f"{max(pauses) / 1000:.2f} ({statistics.median(pauses) / 1000:.2f})",
                             f"{median(rounds, 'before') / MIB:.0f}", f"{100 * growth(rounds):+.1f} %"))
    parts.append(table(("job", "server", "seconds", "requests/s", "p50", "p99", "p99.9", "max", "pause", "MiB before",
                        "at its highest"), rows))
    for event, text in EVENTS.items():
        rounds = r[event]["larder_one"]["during"] if event in r else []
        if rounds and rounds[0]["pauses"]:
            worst = max(rounds, key=lambda x: x["pause_us"])
            parts.append(f"Worker pauses in us during {text} with one worker, the round with the longest: "
                         f"`{worst['pauses']}`.\n")
    return parts


def files_section(r):
    if "files" not in r:
        return []
    saves, loads = r["files"]["saves"], r["files"]["loads"]
    rows = [(SAVED[c], KINDS[k], f"{median(saves[k][c]['rounds'], 'seconds'):.2f}", f"{saves[k][c]['bytes'] / 1e6:.1f}")
            for c in SAVED for k in KINDS]
    parts = ["### Snapshots of an idle server\n",
             "The same keys; values of 32 random hexadecimal digits, which hardly compress, or, where the table says "
             "so, of one byte repeated: Redis shortens those, larder-server tries text from 65 bytes on. Loading is "
             "the time from the start of the process until DBSIZE counts all keys, files in the page cache.\n",
             table(("rdbcompression", "server", "BGSAVE, s", "file, MB"), rows)]
    rows = []
    for compression, text in COMPRESSION.items():
        for writer in KINDS:
            for kind, rounds in loads[f"{writer}_{compression}"].items():
                rows.append((f"{KINDS[writer]}'s, {text}", KINDS[kind], f"{median(rounds, 'seconds'):.2f}",
                             f"{median(rounds, 'cpu_s'):.2f}"))
    return parts + [table(("file", "loaded by", "seconds", "CPU seconds"), rows)]


def writes_section(r):
    if "writes" not in r:
        return []
    rows = []
    for mode, text in WRITE_MODES.items():
        for kind, name in KINDS.items():
            own, peer = r["writes"][mode][kind], r["writes"][mode]["redis"]
            rows.append((text, name, *(f"{median(own, key):.3f}" for key in ("user_us", "system_us", "cpu_us")),
                         f"{paired(own, peer, 'user_us'):.2f}", f"{paired(own, peer, 'cpu_us'):.2f}",
                         f"{median(own, 'rate'):,.0f}"))
    return ["### CPU time per SET\n",
            f"1 worker, {r['meta']['keys_small'] / 1e6:g} M keys, 50 connections, pipeline {PIPELINE}, 32-byte values; "
            "CPU time of all of the server's threads. Servers in turns, medians of "
            f"{r['meta']['during_rounds']} rounds. The replica is of the server's own kind and shares the load "
            "program's core.\n",
            table(("what is kept", "server", "user us", "system us", "CPU us", "user us of Redis", "CPU us of Redis",
                   "SETs/s"), rows)]


def replay_section(r):
    if "replay" not in r:
        return []
    rows = [(name, f"{median(rounds, 'bytes') / 1e6:.0f}", f"{median(rounds, 'write_rate'):,.0f}",
             f"{median(rounds, 'replay_rate'):,.0f}",
             f"{statistics.median(x['replay_rate'] / x['write_rate'] for x in rounds):.2f}",
             f"{median(rounds, 'write_cpu_us'):.3f}", f"{median(rounds, 'replay_cpu_us'):.3f}")
            for name, rounds in ((KINDS[k], r["replay"][k]) for k in KINDS)]
    return ["### A replica that catches up\n",
            "A replica of the same kind, alone on its core, is stopped; its primary (1 worker) takes SETs from 50 "
            f"connections at pipeline {PIPELINE}; the replica goes on, until both have the same offset.\n",
            table(("server", "MB behind", "primary, SETs/s", "replica, SETs/s", "ratio", "primary, CPU us per SET",
                   "replica, CPU us per SET"), rows)]


def durability_section(r):
    if "durability" not in r:
        return []
    d = r["durability"]
    rows = [(text, *(f"{d[name][connections][key]:.0f}" for connections in ("1", "50") for key in ("p50_us", "p99_us")))
            for name, text in CONFIRMED.items() if name in d]
    return ["### Confirmed writes\n",
            "Latency of a SET without pipeline, microseconds, with two replicas that share one core with the load "
            "program; of SET and WAIT in one write, that of the WAIT.\n",
            table(("", "1 connection, p50", "p99", "50 connections, p50", "p99"), rows)]


def chapter(r):
    """The chapter, or nothing when none of its measurements were made."""
    if not any(name in r for name in LASTING):
        return []
    rows = target_rows(r)
    reached = sum(1 for row in rows if row[4] == "yes")
    parts = ["## Data that lasts\n"]
    if rows:
        parts += [f"{reached} of {len(rows)} targets reached.\n",
                  table(("what", "target", "larder-server", "peer", "reached"), rows)]
    for section in (during_section, files_section, writes_section, replay_section, durability_section):
        parts += section(r)
    return parts
