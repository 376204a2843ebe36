"""INFO against the oracle: sections, the names of all fields and their order, and values after known commands.

Values are compared by running the same commands on both servers, each fresh, and reading the same fields of both.
"""

import re
import time

import pytest

from support.resp import encode

# Fields of the oracle that ours may lack, and why. Nothing else may be missing, out of order, or added.
WITHOUT_ALLOCATOR = "the allocator of this build does not tell what it holds"
EXCEPTIONS = {
    "allocator_allocated": WITHOUT_ALLOCATOR,
    "allocator_active": WITHOUT_ALLOCATOR,
    "allocator_resident": WITHOUT_ALLOCATOR,
    "allocator_frag_ratio": WITHOUT_ALLOCATOR,
    "allocator_frag_bytes": WITHOUT_ALLOCATOR,
    "allocator_rss_ratio": WITHOUT_ALLOCATOR,
    "allocator_rss_bytes": WITHOUT_ALLOCATOR,
    "rss_overhead_ratio": WITHOUT_ALLOCATOR,
    "rss_overhead_bytes": WITHOUT_ALLOCATOR,
}

# Sections whose fields are not a fixed list.
LISTS = {"Commandstats", "Errorstats", "Latencystats", "Keyspace"}
OWN = "Larder"


def await_equal(read, expected, seconds=20):
    end = time.monotonic() + seconds
    while (value := read()) != expected:
        assert time.monotonic() < end, f"{value!r} instead of {expected!r}"
        time.sleep(0.005)


def text_of(client, *sections):
    return client.do("INFO", *sections).decode()


def sections_of(text):
    """[(title, {name: value})] in the order of the text, which has to be well-formed."""
    found = []
    for block in text.split("\r\n\r\n") if text else []:
        header, *lines = block.removesuffix("\r\n").split("\r\n")
        assert header.startswith("# "), block
        found.append((header[2:], dict(line.split(":", 1) for line in lines)))
    return found


def titles(client, *sections):
    return [title for title, _ in sections_of(text_of(client, *sections))]


def kind(value):
    for name, pattern in (("integer", r"-?\d+"), ("decimal", r"-?\d+\.\d+"), ("percentage", r"\d+\.\d\d%"),
                          ("size", r"\d+(\.\d\d)?[BKMGTPE]")):
        if re.fullmatch(pattern, value):
            return name
    return "text"


def stat_line(value):
    return {name: float(number) for name, number in (part.split("=") for part in value.split(","))}


@pytest.fixture
def both(start, start_oracle):
    """(client of ours, client of the oracle), of fresh servers."""
    return start().connect(), start_oracle().connect()


# Names

def test_every_field_of_the_oracle(shared, shared_oracle):
    with shared.connect() as ours, shared_oracle.connect() as theirs:
        own = sections_of(text_of(ours, "everything"))
        expected = sections_of(text_of(theirs, "everything"))
    assert own[-1][0] == OWN and [title for title, _ in own[:-1]] == [title for title, _ in expected]
    excused = set() if "allocator_allocated" in dict(own)["Memory"] else set(EXCEPTIONS)
    for (title, fields), (_, theirs) in zip(own, expected):
        if title not in LISTS:
            assert list(fields) == [name for name in theirs if name not in excused], title


def test_values_have_the_oracles_types(shared, shared_oracle):
    with shared.connect() as ours, shared_oracle.connect() as theirs:
        own, expected = ours.info("everything"), theirs.info("everything")
    for name, value in expected.items():
        # a size in whole bytes reads "0B", an amount may be negative: kinds are told by the oracle's value
        if name in own and kind(value) != "text" and name != "redis_build_id":
            assert kind(own[name]) == kind(value), f"{name}:{own[name]} and {name}:{value}"


@pytest.mark.parametrize("names", [
    [], ["default"], ["all"], ["everything"], ["nosuch"], [""], ["server"], ["clients"], ["memory"], ["persistence"],
    ["stats"], ["replication"], ["cpu"], ["modules"], ["commandstats"], ["errorstats"], ["latencystats"], ["cluster"],
    ["keyspace"], ["SeRvEr"], ["cpu", "server"], ["server", "nosuch"], ["memory", "memory"],
    ["default", "commandstats"], ["keyspace", "default"], ["all", "modules"], ["nosuch", "everything"],
], ids=lambda names: " ".join(names) or "none")
def test_sections(shared, shared_oracle, names):
    with shared.connect() as ours, shared_oracle.connect() as theirs:
        own, expected = titles(ours, *names), titles(theirs, *names)
        whole = not names or {"default", "all", "everything"} & set(names)
        assert own == expected + ([OWN] if whole else [])
        assert (text_of(ours, *names) == "") == (text_of(theirs, *names) == "")


def test_own_section(shared):
    with shared.connect() as one:
        (title, fields), = sections_of(text_of(one, "larder"))
        assert title == OWN and all(name.startswith("larder_") for name in fields)


# Values

COMPARED = ("total_connections_received", "total_commands_processed", "rejected_connections", "expired_keys",
            "evicted_keys", "evicted_clients", "keyspace_hits", "keyspace_misses", "total_error_replies",
            "unexpected_error_replies", "connected_clients", "blocked_clients", "maxclients", "maxmemory",
            "maxmemory_policy", "loading", "role", "connected_slaves", "cluster_enabled", "rdb_bgsave_in_progress",
            "aof_enabled")


def compare(ours, theirs, names=COMPARED):
    own, expected = ours.info("everything"), theirs.info("everything")
    assert {name: own[name] for name in names} == {name: expected[name] for name in names}


def errors(client):
    return client.info("errorstats")


def command_counts(client):
    """{name: (calls, rejected, failed)}"""
    lines = {name: stat_line(value) for name, value in client.info("commandstats").items()}
    assert all(set(line) == {"calls", "usec", "usec_per_call", "rejected_calls", "failed_calls"}
               for line in lines.values())
    return {name: (line["calls"], line["rejected_calls"], line["failed_calls"]) for name, line in lines.items()}


def run_on(clients, commands):
    """Runs the commands on all clients; their replies have to be of the same type."""
    for command in commands:
        replies = [client.call(*command) for client in clients]
        assert len({reply[0] for reply in replies}) == 1, f"{command}: {replies}"


FIXED = [
    ["SET", "a", "1"], ["SET", "b", "text"], ["GET", "a"], ["GET", "none"], ["MGET", "a", "none", "b"],
    ["EXISTS", "a", "none"], ["STRLEN", "none"], ["GETRANGE", "a", "0", "1"], ["TYPE", "a"], ["TTL", "none"],
    ["OBJECT", "ENCODING", "a"], ["SET", "c", "1", "EX", "100"], ["INCR", "a"], ["INCR", "new"], ["INCR", "b"],
    ["INCRBY", "a", "x"], ["APPEND", "b", "x"], ["DEL", "b", "none"], ["EXPIRE", "a", "100"], ["PERSIST", "none"],
    ["SET", "a", "2", "NX", "XX"], ["SET", "a", "1", "NX"], ["GET"], ["get", "a", "b"], ["nosuch"], ["nosuch", "a"],
    ["CONFIG", "nosuch"], ["CONFIG"], ["CONFIG", "GET"], ["CONFIG", "GET", "maxmemory"], ["OBJECT", "HELP"],
    ["CONFIG", "SET", "nosuch", "1"], ["SELECT", "99"], ["SELECT", "1"], ["SET", "d", "1"], ["SELECT", "0"],
    ["PING"], ["PING", "a", "b"], ["ECHO", "a"], ["RENAME", "none", "x"], ["COPY", "a", "e"], ["DBSIZE"],
    ["SETRANGE", "a", "-1", "x"], ["SETBIT", "bits", "0", "2"], ["BITCOUNT", "none"], ["GETDEL", "none"],
]
TRANSACTIONS = [
    ["EXEC"], ["DISCARD"], ["MULTI"], ["MULTI"], ["DISCARD"],
    ["MULTI"], ["SET", "t", "1"], ["INCR", "t"], ["GET", "none"], ["EXEC"],
    ["MULTI"], ["SET", "t", "text"], ["INCR", "t"], ["INCR", "t"], ["EXEC"],
    ["MULTI"], ["nosuch"], ["SET", "t", "1"], ["EXEC"],
    ["MULTI"], ["SET", "t"], ["EXEC"],
    ["MULTI"], ["WATCH", "t"], ["EXEC"],
    ["MULTI"], ["SHUTDOWN", "ABORT"], ["EXEC"],
    ["MULTI"], ["EXEC", "x"], ["DISCARD"],
    ["WATCH", "t"], ["SET", "t", "other"], ["MULTI"], ["GET", "t"], ["EXEC"],
    ["WATCH", "t"], ["UNWATCH"], ["MULTI"], ["EXEC"],
]


@pytest.mark.parametrize("commands", [FIXED, TRANSACTIONS, FIXED + TRANSACTIONS], ids=["fixed", "multi", "all"])
def test_counts_after_known_commands(both, commands):
    run_on(both, commands)
    ours, theirs = both
    assert command_counts(ours) == command_counts(theirs)
    assert errors(ours) == errors(theirs)
    compare(ours, theirs)
    own, expected = ours.info("keyspace"), theirs.info("keyspace")
    assert {db: value.split(",")[:2] for db, value in own.items()} == \
        {db: value.split(",")[:2] for db, value in expected.items()}


def test_counts_of_a_pipeline(both):
    for client in both:
        client.pipeline([["SET", "p", "x"], ["INCR", "p"], ["GET", "p"], ["GET"], ["nosuch"]] * 100)
    ours, theirs = both
    assert command_counts(ours) == command_counts(theirs)
    assert errors(ours) == errors(theirs) == {"errorstat_ERR": "count=300"}
    compare(ours, theirs)


def test_errors_by_code(start, start_oracle):
    """NOAUTH, WRONGPASS, NOPROTO, EXECABORT, OOM: the codes, how often, and against which commands they count."""
    directives = [("requirepass", "secret"), ("maxmemory-policy", "noeviction")]
    both = start(directives).connect(), start_oracle(directives).connect()
    run_on(both, [
        ["SET", "a", "1"], ["GET", "a"], ["GET"], ["nosuch"], ["PING"], ["MULTI"], ["CONFIG", "GET", "dir"],
        ["AUTH", "wrong"], ["AUTH"], ["HELLO", "9"], ["HELLO", "3"], ["AUTH", "secret"],
        ["MULTI"], ["nosuch"], ["EXEC"], ["SET", "a", "1"], ["CONFIG", "SET", "maxmemory", "1"],
        ["SET", "b", "1"], ["GET", "a"], ["DEL", "a"], ["INCR", "n"], ["MULTI"], ["SET", "b", "1"], ["EXEC"],
        ["CONFIG", "SET", "maxmemory", "0"],
    ])
    ours, theirs = both
    counted = errors(ours)
    assert counted == errors(theirs)
    assert {"errorstat_NOAUTH", "errorstat_WRONGPASS", "errorstat_EXECABORT", "errorstat_OOM"} <= set(counted)
    assert command_counts(ours) == command_counts(theirs)
    compare(ours, theirs, ("total_error_replies", "total_commands_processed"))


def test_wrong_type(both):
    ours, theirs = both
    if ours.do("COMMAND", "INFO", "lpush")[0] is None:
        pytest.skip("there is no type but strings to be wrong about")
    run_on(both, [["LPUSH", "list", "a"], ["GET", "list"], ["INCR", "list"]])
    assert errors(ours) == errors(theirs) == {"errorstat_WRONGTYPE": "count=2"}
    assert command_counts(ours) == command_counts(theirs)


def test_expired_keys(both):
    for client in both:
        for i in range(20):
            client.do("SET", f"k{i}", "x", "PX", "1")
        client.do("SET", "stays", "x", "EX", "100")
        await_equal(lambda: client.info("stats")["expired_keys"], "20")
        assert client.info("keyspace")["db0"].startswith("keys=1,expires=1,")


def test_lazily_expired_keys_count_once(both):
    for client in both:
        client.do("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        client.do("SET", "k", "x", "PX", "1")
        await_equal(lambda: client.do("EXISTS", "k"), 0)
        client.do("EXISTS", "k")
        assert client.info("stats")["expired_keys"] == "1"


def test_traffic(both):
    """Bytes and connections: what was sent is known, what was received too."""
    for client in both:
        before = client.info("stats")
        request = encode(["ECHO", "x" * 1000])
        client.send(request * 10)
        assert len(client.replies(10)) == 10
        after = client.info("stats")
        grown = {name: int(after[name]) - int(before[name])
                 for name in ("total_net_input_bytes", "total_net_output_bytes")}
        own_request = len(encode(["INFO", "stats"]))
        assert grown["total_net_input_bytes"] == 10 * len(request) + own_request
        assert grown["total_net_output_bytes"] > 10 * 1008


def test_reads_and_writes(both):
    for client in both:
        before = client.info("stats")
        for _ in range(50):
            client.do("PING")
        after = client.info("stats")
        for name in ("total_reads_processed", "total_writes_processed"):
            assert int(after[name]) - int(before[name]) == 51, name


def test_time_spent_expiring(both):
    for client in both:
        client.do("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        client.pipeline([["SET", f"k{i}", "x", "PX", "1"] for i in range(50000)])
        client.do("DEBUG", "SET-ACTIVE-EXPIRE", "1")
        await_equal(lambda: client.info("stats")["expired_keys"], "50000")
        assert int(client.info("stats")["expire_cycle_cpu_milliseconds"]) > 0
    assert int(both[0].info("stats")["expired_time_cap_reached_count"]) > 0


def test_refused_connections(start, start_oracle):
    servers = [begin([("maxclients", "1")]) for begin in (start, start_oracle)]
    for server in servers:
        with server.connect() as first:
            first.do("PING")
            for _ in range(3):
                with server.connect() as other:
                    assert b"max number of clients" in other.until_close()
            info = first.info()
            assert info["rejected_connections"] == "3" and info["connected_clients"] == "1"


def test_resetstat(both):
    run_on(both, FIXED + TRANSACTIONS + [["SET", "k", "x", "PX", "1"]])
    for client in both:
        await_equal(lambda: client.info("stats")["expired_keys"], "1")
        client.do("CONFIG", "RESETSTAT")
    ours, theirs = both
    own = ours.info("stats")
    assert (own["total_commands_processed"], own["instantaneous_ops_per_sec"]) == ("1", "0")
    assert {own[name] for name in ("keyspace_hits", "keyspace_misses", "expired_keys", "evicted_keys",
                                   "total_error_replies", "total_connections_received")} == {"0"}
    theirs.info("stats")
    assert command_counts(ours) == command_counts(theirs) == {"cmdstat_config|resetstat": (1, 0, 0),
                                                              "cmdstat_info": (1, 0, 0)}
    assert errors(ours) == errors(theirs) == {}
    run_on(both, FIXED)
    assert command_counts(ours) == command_counts(theirs)
    compare(ours, theirs)


def test_time_above_maxmemory(start):
    with start([("maxmemory-policy", "noeviction")]).connect() as one:
        def spell():
            info = one.info("stats")
            return int(info["total_eviction_exceeded_time"]), int(info["current_eviction_exceeded_time"])

        assert spell() == (0, 0)
        one.do("CONFIG", "SET", "maxmemory", "1")
        await_equal(lambda: spell()[1] > 0, True)
        total, current = spell()
        assert total >= current > 0
        one.do("CONFIG", "SET", "maxmemory", "0")
        await_equal(lambda: spell()[1], 0)
        assert spell()[0] > 0
        one.do("CONFIG", "RESETSTAT")
        assert spell() == (0, 0)


# Latencies

def percentiles(client):
    """{command: [(percentile, microseconds)]}"""
    found = {}
    for name, value in client.info("latencystats").items():
        pairs = [part.split("=") for part in value.split(",") if part]
        assert name.startswith("latency_percentiles_usec_") and all(re.fullmatch(r"\d+\.\d{3}", us) for _, us in pairs)
        found[name.removeprefix("latency_percentiles_usec_")] = [(label, float(us)) for label, us in pairs]
    return found


def test_latencystats(both):
    for client in both:
        client.pipeline([["SET", "a", "b"], ["GET", "a"]] * 500)
        client.do("DEBUG", "SLEEP", "0.05")
        client.call("CONFIG", "GET", "maxmemory")
        client.call("GET")
    ours, theirs = both
    own = percentiles(ours)
    assert set(own) == set(percentiles(theirs)) == {"set", "get", "debug", "config|get"}
    for name, line in own.items():
        assert [label for label, _ in line] == ["p50", "p99", "p99.9"]
        assert [us for _, us in line] == sorted(us for _, us in line), name
    assert 37000 < own["debug"][0][1] < 1000000
    assert own["get"][0][1] < own["debug"][0][1]
    for client in both:
        client.do("CONFIG", "RESETSTAT")
    assert set(percentiles(ours)) == set(percentiles(theirs)) == {"config|resetstat"}


def test_latency_directives(both):
    for client in both:
        client.do("SET", "a", "b")
    ours, theirs = both
    for wanted in ("0 0.1 33.333333 50 99.99 100", "100.0 1e1", "50"):
        for client in both:
            client.do("CONFIG", "SET", "latency-tracking-info-percentiles", wanted)
        labels = [label for label, _ in percentiles(ours)["set"]]
        assert labels == [label for label, _ in percentiles(theirs)["set"]] and len(labels) == len(wanted.split())
    for client in both:
        client.do("CONFIG", "SET", "latency-tracking-info-percentiles", "")
        assert client.info("latencystats")["latency_percentiles_usec_set"] == ""
        client.do("CONFIG", "SET", "latency-tracking", "no")
        assert text_of(client, "latencystats") == "# Latencystats\r\n"
