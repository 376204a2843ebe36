"""The whole contents of a server as plain values, and what is different between two of them.

A keyspace is {db: {key: (value, expiry)}}. A string's value is its bytes, that of another type a pair of its name and a
plain value: ("list", [...]), ("hash", {...}), ("set", [...] sorted), ("zset", [(member, score) ...]), ("stream",
[...]). The expiry is None, or the absolute time in milliseconds, so that it does not depend on when it was read. DUMP
is not used: two servers may encode equal values differently.
"""

import time

from support.resp import BadReply, Client, encode, plain

CHUNK = 512
SHOWN = 20
VALUE_SHOWN = 60


class Keyspace(dict):
    """{db: {key: (value, expiry)}}, empty databases left out; `taken` is when reading began and ended, in ms."""

    taken = (0, 0)

    def keys_of(self, db=0):
        return self.get(db, {})


def read_all(server):
    """Reads everything from a server (see support.server), an address, or a client of support.resp. Other clients
    should be quiet: keys come chunk by chunk."""
    if isinstance(server, Client):
        return _read_all(server)
    with Client(getattr(server, "address", server)) as client:
        return _read_all(client)


def _read_all(client):
    found = Keyspace()
    begun = time.time() * 1000
    databases = {int(name[2:]): dict(pair.split("=") for pair in text.split(","))
                 for name, text in client.info("keyspace").items() if name.startswith("db")}
    for db, facts in sorted(databases.items()):
        client.do("SELECT", db)
        keys = _read_db(client, expires=facts["expires"] != "0")
        if keys:
            found[db] = keys
    if databases:
        client.do("SELECT", 0)
    found.taken = (begun, time.time() * 1000)
    return found


def _read_db(client, expires):
    found = {}
    others = []
    keys = _scan(client)
    for at in range(0, len(keys), CHUNK * 16):
        # A bounded pipeline: neither side has to hold more than that.
        chunks = [keys[i:i + CHUNK] for i in range(at, min(at + CHUNK * 16, len(keys)), CHUNK)]
        request = []
        for chunk in chunks:
            request.append(encode([b"MGET", *chunk]))
            if expires:
                request += [encode((b"PEXPIRETIME", key)) for key in chunk]
        client.send(b"".join(request))
        for chunk in chunks:
            values = _bulks(client)
            times = [client.reply()[1] for _ in chunk] if expires else [-1] * len(chunk)
            for key, value, when in zip(chunk, values, times):
                if value is None:
                    others.append((key, when))
                elif when != -2:
                    found[key] = (value, None if when == -1 else when)
    for at in range(0, len(others), CHUNK):
        _read_others(client, others[at:at + CHUNK], found)
    return found


def _scan(client):
    keys, cursor = {}, b"0"
    while True:
        cursor, some = client.do("SCAN", cursor, "COUNT", 5000)
        keys.update(dict.fromkeys(some))
        if cursor == b"0":
            return list(keys)


def _bulks(client):
    """An array of bulk strings; faster than the general reader, and MGET's answers are most of what is read."""
    tag, values = client.reply()
    if tag != "*":
        raise BadReply(f"{tag}{values!r} instead of an array")
    return [value for _, value in values]


READERS = {
    b"list": lambda key: ("LRANGE", key, 0, -1),
    b"hash": lambda key: ("HGETALL", key),
    b"set": lambda key: ("SMEMBERS", key),
    b"zset": lambda key: ("ZRANGE", key, 0, -1, "WITHSCORES"),
    b"stream": lambda key: ("XRANGE", key, "-", "+"),
}


def _read_others(client, keys, found):
    """Keys that are not strings, or that went away in the meantime."""
    types = [plain(reply) for reply in client.pipeline([("TYPE", key) for key, _ in keys])]
    present = [(key, when, kind) for (key, when), kind in zip(keys, types) if kind != b"none"]
    strange = {kind for _, _, kind in present} - set(READERS)
    # A string here was no string a moment ago: somebody writes.
    assert not strange, f"keys changed while they were read, or types that nobody can read here: {strange}"
    values = client.pipeline([READERS[kind](key) for key, _, kind in present])
    for (key, when, kind), reply in zip(present, values):
        found[key] = ((kind.decode(), _shape(kind, plain(reply))), None if when == -1 else when)


def _shape(kind, value):
    if kind == b"hash":
        return value if isinstance(value, dict) else dict(zip(value[::2], value[1::2]))
    if kind == b"set":
        return sorted(value)
    if kind == b"zset":
        return list(zip(value[::2], [float(score) for score in value[1::2]]))
    return value


# ---- comparing -------------------------------------------------------------------------------------------------------

def short(value):
    if isinstance(value, bytes) and len(value) > VALUE_SHOWN:
        return f"{value[:VALUE_SHOWN // 2]!r}...{value[-12:]!r} ({len(value)} bytes)"
    text = repr(value)
    return text if len(text) <= 2 * VALUE_SHOWN else text[:2 * VALUE_SHOWN] + "..."


def _value_difference(a, b):
    if isinstance(a, bytes) and isinstance(b, bytes) and min(len(a), len(b)) > VALUE_SHOWN // 2:
        at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        return f"{len(a)} and {len(b)} bytes, different from byte {at}: {a[at:at + 20]!r} / {b[at:at + 20]!r}"
    return f"{short(a)} / {short(b)}"


def _differences(a, b, tolerance_ms, names, now):
    for db in sorted(set(a) | set(b)):
        left, right = a.get(db, {}), b.get(db, {})
        if left == right:
            continue
        for key in sorted(set(left) | set(right)):
            one, other = left.get(key), right.get(key)
            if one == other:
                continue
            where = f"db {db} {short(key)}"
            if one is None or other is None:
                value, when = one or other
                # It may have expired between the two readings.
                if when is None or when > now:
                    yield f"{where}: only {names[0] if one else names[1]} has it: {short(value)}, expiry {when}"
                continue
            if one[0] != other[0]:
                yield f"{where}: value {_value_difference(one[0], other[0])}"
            if (one[1] is None) != (other[1] is None) or (one[1] and abs(one[1] - other[1]) > tolerance_ms):
                yield f"{where}: expiry {one[1]} / {other[1]}"


def compare(a, b, tolerance_ms=0, names=("the first", "the second"), shown=SHOWN):
    """The differences of two keyspaces as lines of text; none when they are equal. A key that only one of them has is
    no difference when it expired before the later reading ended."""
    now = max(getattr(a, "taken", (0, 0))[1], getattr(b, "taken", (0, 0))[1])
    lines = []
    more = 0
    for line in _differences(a, b, tolerance_ms, names, now):
        if len(lines) < shown:
            lines.append(line)
        else:
            more += 1
    if more:
        lines.append(f"... and {more} more differences")
    return lines


def assert_equal(a, b, tolerance_ms=0, **options):
    found = compare(a, b, tolerance_ms, **options)
    assert not found, "the keyspaces differ:\n" + "\n".join(found)


def offsets(primary, replica):
    """(offset of the primary, offset of the replica, whether the link is up), of two clients."""
    there = primary.info("replication")
    here = replica.info("replication")
    return (int(there["master_repl_offset"]), int(here.get("slave_repl_offset", -1)),
            here.get("master_link_status") == "up" and here.get("master_sync_in_progress", "0") == "0")


def await_caught_up(primary, replica, seconds=30):
    """Waits until the replica has the primary's offset, and both have it still a moment later; the offset. Nobody may
    write meanwhile."""
    end = time.monotonic() + seconds
    steady, before = 0, None
    with Client(primary.address) as one, Client(replica.address) as other:
        while True:
            now = offsets(one, other)
            # An idle primary's offset moves by its pings, so that equal is not enough of a sign.
            steady = steady + 1 if now[2] and now[0] == now[1] and now == before else 0
            if steady >= 2:
                return now[0]
            before = now
            assert time.monotonic() < end, f"the replica does not catch up: primary {now[0]}, replica {now[1]}, " \
                                           f"link {'up' if now[2] else 'down'}"
            time.sleep(0.02)


def await_equal(primary, replica, seconds=30, tolerance_ms=0):
    """Waits until the replica has caught up, then fails unless both hold the same."""
    await_caught_up(primary, replica, seconds)
    assert_equal(read_all(primary), read_all(replica), tolerance_ms, names=("the primary", "the replica"))
