"""The chapter "The service" of docs/benchmarks.md, with its own table of targets."""

import statistics


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows]) + "\n"


def percentile(values, share):
    """The smallest value that at least that share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def target_rows(r):
    """Rows of the chapter's table of targets: (what, target, measured, peer, reached)."""
    rows, s = [], r.get("service", {})

    def row(what, target, measured, reached):
        rows.append((what, target, measured, "-", "yes" if reached else "**no**"))

    if "creation" in s:
        high = percentile(s["creation"]["seconds"], 0.95)
        row("from CreateReplicationGroup to available, one replica, p95", "at most 0.4 s", f"{high:.3f} s", high <= 0.4)
    for name, what, limit in (("killed", "primary killed", 0.3), ("hung", "primary hangs", 6.0)):
        if name in s:
            middle = statistics.median(s[name]["seconds"])
            row(f"{what}: to the next write at its address, median", f"at most {limit:g} s", f"{middle:.3f} s",
                middle <= limit)
    if "switchover" in s:
        for what in ("refused", "lost"):
            text = {"refused": "connections refused", "lost": "acknowledged writes lost"}[what]
            row(f"TestFailover: {text}", "0", s["switchover"][what], s["switchover"][what] == 0)
    if "lists" in s:
        middle = statistics.median(s["lists"]["micros"]) / 1000
        row(f"DescribeReplicationGroups over {s['lists']['groups']} groups, the service's time, median", "at most 5 ms",
            f"{middle:.2f} ms", middle <= 5)
    if "idle" in s:
        own, all_of_it = 100 * s["idle"]["service"], 100 * (s["idle"]["service"] + s["idle"]["nodes"])
        row(f"larderd idle with {s['idle']['count']} nodes", "below 1 % of a core", f"{own:.2f} %", own < 1)
        row("the same, nodes included", "below 5 % of a core", f"{all_of_it:.2f} %", all_of_it < 5)
    return rows


def times_section(s):
    names = {"creation": "creation", "killed": "primary killed", "hung": "primary hangs",
             "switchover": "TestFailover, from the call to available"}
    rows = [(text, s[name]["seconds"]) for name, text in names.items() if name in s]
    if "switchover" in s:
        rows.append(("TestFailover, the longest time without a write", s["switchover"]["gaps"]))
    rows = [(text, len(values), *(f"{1000 * v:.0f}" for v in (
        min(values), statistics.median(values), percentile(values, 0.95), max(values)))) for text, values in rows]
    return [table(("milliseconds", "runs", "least", "median", "p95", "most"), rows)] if rows else []


def chapter(r):
    """The chapter, or nothing when none of its measurements were made."""
    s = r.get("service")
    if not s:
        return ""
    rows = target_rows(r)
    reached = sum(1 for row in rows if row[4] == "yes")
    parts = ["## The service\n",
             "larderd with groups of a primary and one replica of type cache.t2.micro, on one machine; times are those of "
             "a client beside it, which looks every 2 ms, with boto3 where it asks the API.\n",
             f"{reached} of {len(rows)} targets are reached.\n",
             table(("what", "target", "measured", "reached"), [(*row[:3], row[4]) for row in rows])]
    parts += times_section(s)
    if "switchover" in s:
        parts.append(f"During the switchovers one client wrote {s['switchover']['writes']} keys.\n")
    return "\n".join(parts)
