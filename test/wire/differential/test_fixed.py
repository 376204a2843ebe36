"""What the random streams leave out because it needs a server of its own settings: fixed lists of commands through both
servers, compared by the same rules, in both protocols."""

import pytest

from differential import rules
from support.resp import Client, to_bytes

MEGABYTE = 1 << 20
BITS = 8 * MEGABYTE

# At the limit of proto-max-bulk-len, which is a megabyte there.
LONGEST = [
    ["SET", "k", "x" * MEGABYTE], ["APPEND", "k", ""], ["APPEND", "k", "y"], ["SETRANGE", "k", MEGABYTE - 1, "y"],
    ["SETRANGE", "k", MEGABYTE - 1, "yz"], ["SETRANGE", "k", MEGABYTE, "y"], ["SETRANGE", "k", MEGABYTE, ""],
    ["SETRANGE", "new", MEGABYTE, "y"], ["SETRANGE", "new", MEGABYTE, ""], ["EXISTS", "new"],
    ["SETRANGE", "new", MEGABYTE - 1, "y"], ["STRLEN", "new"], ["SETRANGE", "new", 2 ** 63 - 1, "y"],
    ["SETBIT", "b", BITS - 1, 1], ["SETBIT", "b", BITS, 1], ["STRLEN", "b"], ["GETBIT", "b", BITS],
    ["GETBIT", "b", BITS - 1],
    # A field may reach beyond the limit, and the string with it.
    ["BITFIELD", "f", "SET", "u8", BITS - 1, 255], ["STRLEN", "f"], ["BITFIELD", "f", "SET", "u8", BITS, 255],
    ["BITFIELD", "f", "GET", "u63", BITS - 1], ["BITFIELD", "f", "INCRBY", "i64", f"#{BITS // 64 - 1}", 1],
    ["BITFIELD", "f", "INCRBY", "i64", f"#{BITS // 64}", 1], ["APPEND", "f", "x"], ["APPEND", "f", ""],
    ["SETRANGE", "f", 0, "z"], ["SETRANGE", "f", MEGABYTE, "z"], ["BITOP", "NOT", "d", "f"], ["STRLEN", "d"],
    ["BITOP", "OR", "d", "f", "b", "k"], ["STRLEN", "d"], ["BITCOUNT", "d"], ["BITPOS", "d", 0, MEGABYTE - 1],
    ["COPY", "f", "g"], ["RENAME", "g", "h"], ["STRLEN", "h"], ["DEBUG", "POPULATE", 1, "p", MEGABYTE],
    ["STRLEN", "p:0"],
    # LCS may need a table of 4-byte lengths of that size.
    ["LCS", "k", "k", "LEN"], ["SET", "l", "x" * 500], ["SET", "m", "x" * 522], ["LCS", "l", "m", "LEN"],
    ["SET", "m", "x" * 523], ["LCS", "l", "m", "LEN"],
]
# With that logarithm the first access of a new key counts, and later ones as good as never: some commands access twice.
FREQUENCIES = [
    ["SET", "none", "1"], ["OBJECT", "FREQ", "none"], ["TTL", "none"], ["EXISTS", "none"], ["TYPE", "none"],
    ["OBJECT", "FREQ", "none"], ["OBJECT", "IDLETIME", "none"], ["OBJECT", "FREQ", "absent"],
    ["OBJECT", "IDLETIME", "absent"],
    ["SET", "a", "1"], ["SET", "a", "2"], ["OBJECT", "FREQ", "a"],
    ["SET", "b", "1"], ["RENAME", "b", "c"], ["OBJECT", "FREQ", "c"],
    ["SET", "d", "1"], ["COPY", "d", "e"], ["OBJECT", "FREQ", "d"], ["OBJECT", "FREQ", "e"],
    ["SET", "f", "1"], ["EXPIRE", "f", "100000"], ["OBJECT", "FREQ", "f"],
    ["SET", "g", "1", "EX", "100000"], ["PERSIST", "g"], ["OBJECT", "FREQ", "g"],
    ["SET", "h", "1"], ["TOUCH", "h"], ["OBJECT", "FREQ", "h"],
    ["SET", "i", "1"], ["MOVE", "i", "1"], ["SELECT", "1"], ["OBJECT", "FREQ", "i"], ["SELECT", "0"],
    ["SET", "j", "1"], ["GETRANGE", "j", "0", "-1"], ["OBJECT", "FREQ", "j"],
]
LOGIN = [
    ["HELLO", 3], ["HELLO", 3, "SETNAME", "a"], ["HELLO", 9], ["HELLO", "abc"], ["HELLO", 3, "AUTH", "default", "x"],
    ["PING"], ["CLIENT"], ["CLIENT", "NOSUCH"], ["NOSUCH", "x"], ["GET"], ["AUTH"], ["AUTH", "x"],
    ["AUTH", "secret", "x"], ["AUTH", "default", "secret", "x"], ["AUTH", "default", "secret"], ["CLIENT", "GETNAME"],
    ["RESET"], ["PING"], ["HELLO", 2, "AUTH", "default", "secret", "SETNAME", "a b"], ["PING"],
]


@pytest.mark.parametrize("settings,commands,exactly", [
    ([("proto-max-bulk-len", "1mb")], LONGEST, False),
    ([("maxmemory-policy", "allkeys-lfu"), ("lfu-log-factor", "1000000")], FREQUENCIES, True),
    ([("requirepass", "secret")], LOGIN, False),
], ids=["longest", "frequencies", "login"])
@pytest.mark.parametrize("protocol", [2, 3])
def test_same_replies(start, start_oracle, settings, commands, exactly, protocol):
    ours, theirs = (Client(run(settings).address) for run in (start, start_oracle))
    with ours, theirs:
        for one in (ours, theirs):
            one.call("HELLO", protocol)
        for command in commands:
            mine, other = ours.call(*command), theirs.call(*command)
            compare = rules.exact if exactly else rules.compare
            wrong = compare([to_bytes(word) for word in command], mine, other)
            assert not wrong, f"{str(command)[:200]}: {wrong}: {mine} / {other}"
