"""Random command streams, repeatable from a seed.

A stream is a list of batches, a batch a list of items for one connection, sent as one pipeline. An item is the
smallest thing that may be left out when a divergence is shortened: one command, or several that need each other (CLIENT
REPLY OFF up to ON). Streams depend on the seed alone, never on replies.

Time is kept out of the answers. No key gets a deadline that can pass while a test runs: it has passed already, or it is
hours away. Relative deadlines are spread so widely that two of them never tie within the servers' difference in speed,
which would make GT and LT depend on it. Memory is kept small: offsets stay small or are beyond what any server accepts.

Left out, and tested one by one elsewhere: what makes a server wait (CLIENT PAUSE with writes behind it, DEBUG SLEEP of
any length), what ends it (SHUTDOWN with valid arguments), limits.
"""

import random

CONNECTIONS = 6
MAX_INLINE = 10000
MIN_SECONDS = 10 ** 5
MAX_SECONDS = 10 ** 9
FAR_FUTURE = 4 * 10 ** 9
PROTOCOL_LIMIT = 512 * 1024 * 1024

KEYS = ([b"k%d" % i for i in range(16)] +
        [b"{tag}a", b"{tag}b", b"", b"a b", b"\x00\xff\r\n", b"%s", b"K0", b"*", b"k[0]", b"0", b"-1",
         b"long:" + b"x" * 300, "\u00e9\ud55c".encode()])
INTEGERS = [b"0", b"1", b"-1", b"7", b"10", b"63", b"64", b"255", b"9999", b"10000", b"-9999", b"2147483647",
            b"2147483648", b"-2147483648", b"4294967295", b"4294967296", b"9223372036854775807",
            b"-9223372036854775808"]
BAD_INTEGERS = [b"", b" 1", b"1 ", b"+1", b"-0", b"01", b"1.0", b"1e3", b"0x10", b"abc", b"9223372036854775808", b"--1",
                b"-9223372036854775809", b"18446744073709551616", b"1\x00", b"-", b"99999999999999999999999"]
FLOATS = [b"0", b"1", b"-1", b"0.5", b"1.5e3", b"-3.14159", b"1e10", b"1e-10", b"0.1", b"0.2", b"3.0", b"5.0e3", b"200",
          b"1e17", b"123456789.987654321", b"10.50", b"-0", b"+1", b".5", b"5."]
BAD_FLOATS = [b"", b" 1", b"1 ", b"abc", b"nan", b"inf", b"-inf", b"1e400", b"1e5000", b"1.2.3", b"1,5", b"0x1p3x",
              b"1\x00"]
WORDS = [b"", b"foo", b"NX", b"XX", b"GET", b"EX", b"PX", b"EXAT", b"PXAT", b"KEEPTTL", b"PERSIST", b"BIT", b"BYTE",
         b"AND", b"MATCH", b"COUNT", b"DB", b"REPLACE", b"GT", b"LT", b"\x00", b"\xff\xfe", b"%n%s", b"a\r\nb", b"LEN",
         b"IDX"]
TYPES = [b"u1", b"u4", b"u8", b"u16", b"u32", b"u63", b"i1", b"i5", b"i8", b"i16", b"i32", b"i64", b"I8", b"U8"]
BAD_TYPES = [b"u64", b"i65", b"u0", b"i0", b"8", b"x8", b"u", b"", b"u-1", b"u8 ", b"i064"]
PATTERNS = [b"*", b"k*", b"k?", b"k[0-4]", b"k[^0]", b"\\*", b"*\xff*", b"[", b"k\\", b"", b"**0", b"?", b"K*",
            b"k[9-0]", b"{tag}*", b"*[a-z]*x", b"a b", b"k[]0]", b"x" * 40 + b"*"]
RELATIVE = {b"EX": 1, b"PX": 1000}
COMMANDS = b"""PING ECHO SELECT HELLO AUTH RESET QUIT CLIENT COMMAND CONFIG INFO DBSIZE TIME ROLE SHUTDOWN FLUSHDB
FLUSHALL SWAPDB MOVE COPY DEL UNLINK EXISTS TYPE TOUCH RENAME RENAMENX RANDOMKEY KEYS SCAN EXPIRE PEXPIRE EXPIREAT
PEXPIREAT TTL PTTL EXPIRETIME PEXPIRETIME PERSIST OBJECT MEMORY SET GET GETSET GETEX GETDEL SETNX SETEX PSETEX MGET MSET
MSETNX APPEND STRLEN SETRANGE GETRANGE SUBSTR INCR DECR INCRBY DECRBY INCRBYFLOAT LCS SETBIT GETBIT BITCOUNT BITPOS
BITOP BITFIELD BITFIELD_RO MULTI EXEC DISCARD WATCH UNWATCH DEBUG""".split()
# Settings that both servers know, each with values that are valid, invalid, or harmless in a test.
SETTINGS = {
    b"maxmemory": [b"0", b"10gb", b"10GB", b"1tb", b"20000mb", b"-1", b"abc", b"", b"1zb", b"10g", b"1.5gb"],
    b"maxmemory-policy": [b"noeviction", b"allkeys-lru", b"volatile-lru", b"allkeys-random", b"volatile-random",
                          b"volatile-ttl", b"NoEviction", b"lru", b""],
    b"maxmemory-samples": [b"5", b"10", b"64", b"0", b"-1", b"abc", b""],
    b"timeout": [b"0", b"100000", b"-1", b"abc"],
    b"tcp-keepalive": [b"0", b"300", b"-1", b"abc"],
    b"hz": [b"10", b"50", b"abc"],
    b"lfu-log-factor": [b"10", b"0", b"-1", b"abc"],
    b"lfu-decay-time": [b"1", b"0", b"-1", b"abc"],
    b"proto-max-bulk-len": [b"512mb", b"536870912", b"1000", b"abc", b"-1"],
    b"client-query-buffer-limit": [b"1gb", b"1073741824", b"1000", b"abc"],
    b"client-output-buffer-limit": [b"normal 0 0 0", b"normal 0 0 0 pubsub 33554432 8388608 60", b"normal 1",
                                    b"abc 0 0 0",
                                    b"normal -1 0 0", b"", b"pubsub 32mb 8mb 60", b"slave 256mb 64mb 60"],
    b"maxclients": [b"1000", b"2000", b"0", b"abc"],
    b"maxmemory-clients": [b"0", b"80%", b"5gb", b"101%", b"abc"],
    b"lazyfree-lazy-user-del": [b"yes", b"no", b"YES", b"maybe", b""],
    b"lazyfree-lazy-user-flush": [b"yes", b"no", b"1"],
    b"activedefrag": [b"no", b"maybe"],
    b"port": [b"abc", b"-1", b"65536"],
    b"databases": [b"16", b"32"],
    b"unixsocket": [b"/nowhere"],
    b"appendonly": [b"maybe"],
    b"no-such-setting": [b"1", b""],
}


class ConnectionId:
    """An argument that differs between the servers: the id of one of the stream's own connections."""

    def __init__(self, connection):
        self.connection = connection

    def __repr__(self):
        return f"<id of connection {self.connection}>"


class Item:
    """kind is `commands`, `raw` (bytes without a reply, or that end it) or `probe` (a method of Lockstep)."""

    __slots__ = ("connection", "kind", "commands", "closes", "inline", "silent", "size")

    def __init__(self, connection, commands, kind="commands", closes=False, inline=False, silent=()):
        self.connection = connection
        self.kind = kind
        self.commands = commands
        self.closes = closes
        self.inline = inline
        self.silent = frozenset(silent)
        self.size = len(commands) if kind == "commands" else 1

    def alone(self):
        """Whether nothing else may share its pipeline."""
        return self.closes or self.kind != "commands"

    def __repr__(self):
        how = " inline" if self.inline else ""
        if self.kind != "commands":
            return f"connection {self.connection} {self.kind} {self.commands!r}"
        return f"connection {self.connection}{how}: " + "; ".join(show(command) for command in self.commands)


def show(command):
    return " ".join(repr(arg)[1:] if isinstance(arg, bytes) else repr(arg) for arg in command)


GENERATORS = []


def command(weight, mutable=True):
    """Registers a method that makes one command; `mutable` ones also appear with damaged arguments."""
    def register(method):
        GENERATORS.append((weight, mutable, method))
        return method
    return register


class Stream:
    def __init__(self, seed, big=False):
        """`big` makes values of up to a megabyte now and then, and leaves out LCS, whose work is quadratic."""
        self.rng = random.Random(seed)
        self.big = big
        methods = [entry for entry in GENERATORS if not (big and entry[2] is Stream.lcs)]
        self.methods = methods
        self.weights = [entry[0] for entry in methods]

    # Arguments

    def chance(self, share):
        return self.rng.random() < share

    def pick(self, values):
        return self.rng.choice(values)

    def key(self):
        # A few keys are hot, so that commands meet each other's effects.
        if self.chance(0.5):
            return KEYS[int(self.rng.random() * 5)]
        return self.pick(KEYS)

    def keys(self, least=1, most=4):
        return [self.key() for _ in range(self.rng.randint(least, most))]

    def integer(self):
        if self.chance(0.04):
            return self.pick(BAD_INTEGERS)
        if self.chance(0.3):
            return self.pick(INTEGERS)
        return b"%d" % self.rng.randint(-100, 100)

    def number(self):
        return self.pick(BAD_FLOATS) if self.chance(0.08) else self.pick(FLOATS)

    def value(self):
        roll = self.rng.random()
        if roll < 0.3:
            return self.pick(INTEGERS)
        if roll < 0.36:
            return self.pick(FLOATS + BAD_INTEGERS)
        if roll < 0.42:
            return b"v" * self.pick([0, 1, 15, 16, 31, 32, 43, 44, 45, 63, 64, 65, 127, 128, 200, 255, 256, 1000, 2050])
        if self.big and roll < 0.55:
            return self.rng.randbytes(self.pick([4000, 16384, 65535, 65536, 70000, 300000, 1 << 20]))
        if roll < 0.6:
            return self.rng.randbytes(self.rng.randint(0, 80))
        return bytes(self.rng.choices(b"abcd", k=self.rng.randint(0, 30)))

    def seconds(self, scale=1):
        """A relative deadline: hours away at least, or already over, or invalid."""
        roll = self.rng.random()
        if roll < 0.1:
            return self.pick([b"0", b"-1", b"-100000", b"-9223372036854775808", b"9223372036854775807",
                              b"-9223372036854776"])
        if roll < 0.15:
            return self.pick(BAD_INTEGERS)
        return b"%d" % self.rng.randint(MIN_SECONDS * scale, MAX_SECONDS * scale)

    def moment(self, scale=1):
        """An absolute deadline: decades away, or in the past, or invalid."""
        roll = self.rng.random()
        if roll < 0.15:
            return self.pick([b"0", b"-1", b"1", b"1000000000", b"9223372036854775807", b"-9223372036854775808"])
        if roll < 0.2:
            return self.pick(BAD_INTEGERS)
        return b"%d" % (FAR_FUTURE * scale + self.rng.randint(0, MAX_SECONDS * scale))

    def offset(self):
        """A byte offset for SETRANGE: small, or beyond the limit of a string."""
        if self.chance(0.1):
            return self.pick([b"-1", b"536870912", b"4294967296", b"9223372036854775807", b"abc"])
        return b"%d" % self.rng.randint(0, 200000 if self.big and self.chance(0.2) else 60)

    def bit_offset(self):
        if self.chance(0.1):
            return self.pick([b"-1", b"4294967296", b"9223372036854775807", b"18446744073709551615", b"abc", b"1.5"])
        return b"%d" % self.rng.randint(0, 1500000 if self.big and self.chance(0.2) else 600)

    def database(self):
        if self.chance(0.06):
            return self.pick([b"16", b"-1", b"99999999999", b"abc", b"", b"4294967296", b"1.0"])
        return b"%d" % self.rng.choice([0, 0, 0, 0, 1, 1, 2, 15])

    def options(self, groups, most=2):
        """Up to `most` of the option groups, in any order, sometimes contradicting or twice."""
        chosen = [self.pick(groups) for _ in range(self.rng.randint(0, most))]
        return [word for group in chosen for word in (group() if callable(group) else [group])]

    def deadline_options(self):
        return [lambda: [b"EX", self.seconds()], lambda: [b"PX", self.seconds(1000)],
                lambda: [b"EXAT", self.moment()], lambda: [b"PXAT", self.moment(1000)]]

    # Strings

    @command(30)
    def set(self):
        return [b"SET", self.key(), self.value(),
                *self.options([b"NX", b"XX", b"GET", b"KEEPTTL", *self.deadline_options()])]

    @command(20)
    def get(self):
        return [b"GET", self.key()]

    @command(4)
    def getset(self):
        return [b"GETSET", self.key(), self.value()]

    @command(6)
    def getex(self):
        return [b"GETEX", self.key(), *self.options([b"PERSIST", *self.deadline_options()])]

    @command(4)
    def getdel(self):
        return [b"GETDEL", self.key()]

    @command(4)
    def setnx(self):
        return [b"SETNX", self.key(), self.value()]

    @command(4)
    def setex(self):
        if self.chance(0.5):
            return [b"SETEX", self.key(), self.seconds(), self.value()]
        return [b"PSETEX", self.key(), self.seconds(1000), self.value()]

    @command(6)
    def mget(self):
        return [b"MGET", *self.keys(1, 6)]

    @command(8)
    def mset(self):
        name = self.pick([b"MSET", b"MSET", b"MSETNX"])
        return [name, *(word for key in self.keys(1, 5) for word in (key, self.value()))]

    @command(8)
    def append(self):
        return [b"APPEND", self.key(), self.value()]

    @command(4)
    def strlen(self):
        return [b"STRLEN", self.key()]

    @command(8)
    def setrange(self):
        return [b"SETRANGE", self.key(), self.offset(), self.value()]

    @command(8)
    def getrange(self):
        return [self.pick([b"GETRANGE", b"GETRANGE", b"SUBSTR"]), self.key(), self.integer(), self.integer()]

    @command(12)
    def increment(self):
        if self.chance(0.5):
            return [self.pick([b"INCR", b"DECR"]), self.key()]
        return [self.pick([b"INCRBY", b"DECRBY"]), self.key(), self.integer()]

    @command(6)
    def incrbyfloat(self):
        return [b"INCRBYFLOAT", self.key(), self.number()]

    @command(4)
    def lcs(self):
        return [b"LCS", self.key(), self.key(),
                *self.options([b"LEN", b"IDX", b"WITHMATCHLEN", lambda: [b"MINMATCHLEN", self.integer()]], 3)]

    # Bits

    @command(8)
    def setbit(self):
        return [b"SETBIT", self.key(), self.bit_offset(),
                self.pick([b"0", b"1", b"1", b"0", b"1", b"2", b"-1", b"abc"])]

    @command(4)
    def getbit(self):
        return [b"GETBIT", self.key(), self.bit_offset()]

    @command(6)
    def bitcount(self):
        span = [] if self.chance(0.3) else [self.integer(), self.integer()]
        unit = [self.pick([b"BIT", b"BYTE", b"bit", b"foo"])] if span and self.chance(0.5) else []
        return [b"BITCOUNT", self.key(), *span, *unit]

    @command(6)
    def bitpos(self):
        span = [self.integer() for _ in range(self.rng.randint(0, 2))]
        unit = [self.pick([b"BIT", b"BYTE", b"byte", b"foo"])] if len(span) == 2 and self.chance(0.5) else []
        return [b"BITPOS", self.key(), self.pick([b"0", b"1", b"1", b"0", b"2", b"x"]), *span, *unit]

    @command(6)
    def bitop(self):
        operation = self.pick([b"AND", b"OR", b"XOR", b"NOT", b"and", b"FOO"])
        return [b"BITOP", operation, self.key(), *self.keys(1, 1 if operation == b"NOT" and self.chance(0.8) else 4)]

    @command(8)
    def bitfield(self):
        words = []
        readonly = self.chance(0.25)
        for _ in range(self.rng.randint(0, 4)):
            kind = self.pick(BAD_TYPES) if self.chance(0.04) else self.pick(TYPES)
            where = self.bit_offset()
            if self.chance(0.2):
                where = self.pick([b"#%d" % self.rng.randint(0, 9), b"#-1", b"#abc", b"#", b"#0"])
            operation = self.pick([b"GET", b"GET", b"SET", b"INCRBY", b"OVERFLOW", b"get",
                                   b"FOO" if self.chance(0.1) else b"GET"])
            if readonly and self.chance(0.9):
                operation = b"GET"
            if operation == b"OVERFLOW":
                words += [operation, self.pick([b"WRAP", b"SAT", b"FAIL", b"wrap", b"foo"])]
            elif operation.upper() == b"GET":
                words += [operation, kind, where]
            else:
                words += [operation, kind, where, self.integer()]
        return [b"BITFIELD_RO" if readonly else b"BITFIELD", self.key(), *words]

    # Keys

    @command(10)
    def remove(self):
        return [self.pick([b"DEL", b"UNLINK"]), *self.keys(1, 3)]

    @command(6)
    def exists(self):
        return [self.pick([b"EXISTS", b"TOUCH"]), *self.keys(1, 4)]

    @command(3)
    def type(self):
        return [b"TYPE", self.key()]

    @command(6)
    def rename(self):
        return [self.pick([b"RENAME", b"RENAMENX"]), self.key(), self.key()]

    @command(6)
    def copy(self):
        return [b"COPY", self.key(), self.key(),
                *self.options([b"REPLACE", b"REPLACE", lambda: [b"DB", self.database()]], 3)]

    @command(4)
    def move(self):
        return [b"MOVE", self.key(), self.database()]

    @command(2)
    def swapdb(self):
        return [b"SWAPDB", self.database(), self.database()]

    @command(3)
    def keys_matching(self):
        return [b"KEYS", self.pick(PATTERNS)]

    @command(2)
    def scan(self):
        cursor = self.pick([b"0", b"0", b"0", b"abc", b"-1", b"1.5", b"18446744073709551616", b""])
        return [b"SCAN", cursor,
                *self.options([lambda: [b"MATCH", self.pick(PATTERNS)], lambda: [b"COUNT", self.integer()],
                                                lambda: [b"TYPE", self.pick([b"string", b"hash", b"STRING", b"foo"])]],
                              3)]

    @command(1)
    def randomkey(self):
        return [b"RANDOMKEY"]

    @command(1)
    def dbsize(self):
        return [b"DBSIZE"]

    @command(14)
    def expire(self):
        name = self.pick([b"EXPIRE", b"PEXPIRE", b"EXPIREAT", b"PEXPIREAT"])
        scale = 1000 if name.startswith(b"P") else 1
        when = self.moment(scale) if name.endswith(b"AT") else self.seconds(scale)
        return [name, self.key(), when, *self.options([b"NX", b"XX", b"GT", b"LT"])]

    @command(10)
    def ttl(self):
        return [self.pick([b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME"]), self.key()]

    @command(4)
    def persist(self):
        return [b"PERSIST", self.key()]

    @command(5)
    def object(self):
        return [b"OBJECT", self.pick([b"ENCODING", b"ENCODING", b"FREQ", b"IDLETIME", b"REFCOUNT", b"HELP", b"FOO"]),
                self.key()]

    @command(1)
    def memory(self):
        return [b"MEMORY", b"USAGE", self.key(), *self.options([lambda: [b"SAMPLES", self.integer()]], 1)]

    @command(0.4, mutable=False)
    def flush(self):
        return [self.pick([b"FLUSHDB", b"FLUSHDB", b"FLUSHALL"]), *self.options([b"ASYNC", b"SYNC", b"async", b"foo"])]

    # Transactions

    @command(5)
    def multi(self):
        return [b"MULTI"]

    @command(6)
    def execute(self):
        return [self.pick([b"EXEC", b"EXEC", b"EXEC", b"DISCARD"])]

    @command(4)
    def watch(self):
        return [b"WATCH", *self.keys(1, 3)] if self.chance(0.8) else [b"UNWATCH"]

    # Connections

    @command(3)
    def ping(self):
        return [b"PING", *self.options([lambda: [self.value()]], 2)] if self.chance(0.5) else [b"ECHO", self.value()]

    @command(5)
    def select(self):
        return [b"SELECT", self.database()]

    @command(2)
    def hello(self):
        version = [] if self.chance(0.1) else [self.pick([b"2", b"3", b"3", b"2", b"3", b"4", b"1", b"abc", b""])]
        return [b"HELLO", *version, *self.options([lambda: [b"SETNAME", self.pick([b"me", b"a b", b"", b"\xff"])],
                                                   lambda: [b"AUTH", b"default", b"x"],
                                                   lambda: [b"AUTH", b"foo", b"bar"]])]

    @command(1)
    def auth(self):
        return [b"AUTH",
                *self.pick([[b"x"], [b"default", b"x"], [b"foo", b"bar"], [b"default", b""], [b"a", b"b", b"c"], []])]

    @command(1)
    def reset(self):
        return [b"RESET"]

    @command(4, mutable=False)
    def client(self):
        names = [b"me", b"name-1", b"", b"a b", b"a\nb", b"\xc3\xa9", b"!~", b"\x7f"]
        fixed = [
            [b"ID"], [b"INFO"], [b"LIST"], [b"GETNAME"], [b"SETNAME", self.pick(names)], [b"setname", self.pick(names)],
            [b"LIST", b"TYPE", self.pick([b"normal", b"NORMAL", b"pubsub", b"replica", b"master", b"foo"])],
            [b"LIST", b"ID", ConnectionId(self.rng.randrange(CONNECTIONS)),
             ConnectionId(self.rng.randrange(CONNECTIONS))],
            [b"LIST", b"ID"], [b"LIST", b"ID", self.integer()], [b"LIST", b"FOO"], [b"ID", b"x"], [b"HELP"], [b"FOO"],
            [],
            [b"NO-EVICT", self.pick([b"on", b"off", b"ON", b"foo"])], [b"NO-EVICT"], [b"REPLY", b"ON"],
            [b"REPLY", b"foo"],
            [b"REPLY"], [b"PAUSE", self.pick([b"abc", b"-1", b"", b"1.5"])], [b"PAUSE", b"1", b"FOO"], [b"PAUSE"],
            [b"UNPAUSE"], [b"UNPAUSE", b"x"], [b"KILL"], [b"KILL", b"1.2.3.4:5"], [b"KILL", b"ID", b"999999999"],
            [b"KILL", b"ID", self.pick([b"abc", b"0", b"-1", b""])],
            [b"KILL", b"TYPE", self.pick([b"pubsub", b"foo", b"master"])],
            [b"KILL", b"ADDR", b"1.2.3.4:5"], [b"KILL", b"LADDR", b"1.2.3.4:5", b"SKIPME", b"no"],
            [b"KILL", b"USER", b"nobody"],
            [b"KILL", b"ID", b"999999999", b"SKIPME", self.pick([b"yes", b"no", b"foo"])], [b"KILL", b"FOO", b"bar"],
            [b"KILL", b"ID"], [b"KILL", b"ID", b"1", b"ADDR"],
        ]
        return [b"CLIENT", *self.pick(fixed)]

    @command(3, mutable=False)
    def command_table(self):
        name = self.pick(COMMANDS)
        some = [self.spelled(self.pick(COMMANDS)) for _ in range(self.rng.randint(1, 3))]
        inner = self.arguments(self.pick(self.methods))
        fixed = [
            [], [b"COUNT"], [b"INFO"], [b"INFO", *some], [b"INFO", b"nosuch", name], [b"DOCS", *some],
            [b"DOCS", b"nosuch"], [b"LIST"],
            [b"GETKEYS", *inner], [b"GETKEYSANDFLAGS", *inner], [b"GETKEYS", *inner], [b"GETKEYSANDFLAGS", *inner],
            [b"GETKEYS"], [b"GETKEYS", b"nosuch", b"a"], [b"GETKEYS", name],
            [b"LIST", b"FILTERBY", b"PATTERN", b"*set*"],
            [b"LIST", b"FILTERBY", b"PATTERN", self.pick([b"S*", b"get?*", b"[a-d]*", b"nosuch"])],
            [b"LIST", b"FILTERBY", b"ACLCAT",
             self.pick([b"string", b"bitmap", b"keyspace", b"fast", b"dangerous", b"foo"])],
            [b"LIST", b"FILTERBY", b"MODULE", b"foo"], [b"LIST", b"FILTERBY"], [b"LIST", b"foo"],
            [b"LIST", b"FILTERBY", b"foo", b"bar"], [b"FOO"], [b"COUNT", b"x"], [b"HELP"],
        ]
        if any(isinstance(arg, ConnectionId) for arg in inner):
            return [b"COMMAND", b"COUNT"]
        return [b"COMMAND", *self.pick(fixed)]

    @command(2, mutable=False)
    def config(self):
        name = self.pick(list(SETTINGS))
        other = self.pick(list(SETTINGS))
        fixed = [
            [b"GET", self.spelled(name)], [b"GET", name, other], [b"GET", b"maxmemory*"], [b"GET", b"nosuch*"],
            [b"GET", b"max[mc]*"], [b"GET", b"*"], [b"GET"], [b"SET"], [b"SET", name], [b"RESETSTAT"],
            [b"RESETSTAT", b"x"],
            [b"SET", self.spelled(name), self.pick(SETTINGS[name])], [b"SET", name, self.pick(SETTINGS[name])],
            [b"SET", name, self.pick(SETTINGS[name]), other, self.pick(SETTINGS[other])],
            [b"SET", name, self.pick(SETTINGS[name]), other], [b"REWRITE"], [b"REWRITE", b"x"], [b"FOO"], [b"HELP"],
        ]
        return [b"CONFIG", *self.pick(fixed)]

    @command(1, mutable=False)
    def server(self):
        return self.pick([
            [b"TIME"], [b"TIME", b"x"], [b"ROLE"], [b"ROLE", b"x"], [b"INFO"], [b"INFO", b"server"],
            [b"INFO", b"everything"],
            [b"INFO", b"keyspace", b"memory"], [b"INFO", b"nosuch"], [b"SHUTDOWN", b"ABORT"], [b"SHUTDOWN", b"FOO"],
            [b"SHUTDOWN", b"NOSAVE", b"SAVE"], [b"SHUTDOWN", b"ABORT", b"NOW"],
            [b"nosuchcommand", self.value(), self.key()],
            [b"", b"x"], [b"GET|SET"], [b"client|list"], [b"x" * 200, b"y" * 300, b"z"], [b"no\r\nsuch", b"a\r\nb"],
            [b"DBSIZE", b"x"], [b"RANDOMKEY", b"x"],
        ])

    @command(1, mutable=False)
    def debug(self):
        return self.pick([
            [b"DEBUG", b"SLEEP", b"0"], [b"DEBUG", b"SLEEP"], [b"DEBUG", b"SET-ACTIVE-EXPIRE", self.pick([b"0", b"1"])],
            [b"DEBUG", b"SET-ACTIVE-EXPIRE"], [b"DEBUG", b"POPULATE", b"%d" % self.rng.randint(0, 30), b"k"],
            [b"DEBUG", b"POPULATE", b"20", b"k", b"%d" % self.rng.randint(0, 100)], [b"DEBUG", b"POPULATE", b"abc"],
            [b"DEBUG", b"FOO"], [b"DEBUG", b"HELP"], [b"DEBUG"], [b"debug", b"sleep", b"0"], [b"DEBUG", b"OBJECT"],
        ])

    # From arguments to a stream

    def spelled(self, word):
        return self.pick([word, word, word.lower(), word.lower(), word.title(), word.swapcase()])

    def mutate(self, args):
        """Damages a command: an argument dropped, added, doubled, swapped or replaced."""
        args = list(args)
        at = self.rng.randrange(1, len(args)) if len(args) > 1 else 0
        garbage = self.pick([self.pick(WORDS), self.pick(BAD_INTEGERS), self.pick(INTEGERS), self.key()])
        way = self.rng.randrange(6)
        if way == 0 and len(args) > 1:
            del args[at]
        elif way == 1:
            args.append(garbage)
        elif way == 2:
            args.insert(at + 1, args[at])
        elif way == 3 and len(args) > 2:
            other = self.rng.randrange(1, len(args))
            args[at], args[other] = args[other], args[at]
        elif way == 4:
            args = args[:1]
        elif at:
            args[at] = garbage
        return args

    def arguments(self, entry):
        _, mutable, method = entry
        args = method(self)
        if mutable and self.chance(0.05):
            args = self.mutate(args)
        if self.chance(0.2):
            args = [self.spelled(args[0]), *args[1:]]
        if self.chance(0.08):
            args = [args[0], *(arg.lower() if arg in WORDS and arg.isalpha() else arg for arg in args[1:])]
        return tame(args)

    def one(self):
        return self.arguments(self.rng.choices(self.methods, self.weights)[0])

    def item(self, connection):
        """The next item of one connection."""
        roll = self.rng.random()
        if roll < 0.002:
            return self.closing(connection)
        if roll < 0.005:
            return self.silenced(connection)
        if roll < 0.006:
            return self.empty(connection)
        if roll < 0.010:
            return self.probe(connection)
        if roll < 0.012:
            # DEBUG OBJECT also shows what has expired but not gone yet; EXISTS makes it go.
            key = self.key()
            return Item(connection, [[b"EXISTS", key], [b"DEBUG", b"OBJECT", key]])
        if roll < 0.03:
            return self.transaction(connection)
        args = self.one()
        inline = self.chance(0.03) and len(args[0]) > 0 and not any(isinstance(arg, ConnectionId) for arg in args)
        if inline and sum(map(len, args)) > MAX_INLINE:
            inline = False
        return Item(connection, [args], inline=inline)

    def transaction(self, connection):
        """A whole transaction, more often meaningful than those that single commands happen to make."""
        body = [self.one() for _ in range(self.rng.randint(0, 6))]
        watch = [[b"WATCH", *self.keys(1, 2)]] if self.chance(0.3) else []
        return Item(connection, [*watch, [b"MULTI"], *body, [self.pick([b"EXEC", b"EXEC", b"EXEC", b"DISCARD"])]])

    def silenced(self, connection):
        """CLIENT REPLY OFF or SKIP; DISCARD first, because inside MULTI it would only be queued."""
        quiet = [args for args in (self.one() for _ in range(3)) if args[0].upper() not in (b"MULTI", b"CLIENT",
                                                                                            b"RESET")]
        # RESET turns replies on again; MULTI would queue the CLIENT REPLY ON.
        if self.chance(0.5):
            commands = [[b"DISCARD"], [b"CLIENT", b"REPLY", b"OFF"], *quiet, [b"CLIENT", b"REPLY", b"ON"]]
            return Item(connection, commands, silent=range(1, len(commands) - 1))
        commands = [[b"DISCARD"], [b"CLIENT", b"REPLY", b"SKIP"], *quiet]
        return Item(connection, commands, silent=range(1, min(3, len(commands))))

    def closing(self, connection):
        """Something that makes the server close the connection."""
        if self.chance(0.3):
            return Item(connection, [[b"QUIT"]], closes=True)
        return Item(connection, self.pick([
            b"*1\r\n+PING\r\n", b"*1\r\n$abc\r\n", b"*abc\r\n", b"*1\r\n$-1\r\n", b"*2147483648\r\n",
            b"*99999999999\r\n",
            b"*2\r\n$4\r\nECHO\r\n$536870913\r\n", b"GET \"unbalanced\r\n", b"GET 'a'b\r\n", b"*1\r\n$ 4\r\nPING\r\n",
            b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n:1\r\n", b"*1\r\n\r\n", b"*1\r\n$4294967296\r\n",
            b"*1\r\n$-5\r\n", b"*3\r\n$3\r\nGET\r\n*1\r\n", b"PING \"a\\\r\n", b"*9223372036854775808\r\n",
        ]), kind="raw", closes=True)

    def empty(self, connection):
        """Requests that are complete, and get no reply."""
        return Item(connection,
                    self.pick([b"\r\n", b"*0\r\n", b"*-1\r\n", b"\n\r\n", b"   \r\n", b"*-100000000000\r\n"]),
                    kind="raw")

    def probe(self, connection):
        return Item(connection, self.pick([
            ("scan", self.pick(PATTERNS), self.pick([None, b"1", b"3", b"1000"]),
             self.pick([None, None, b"string", b"hash"])),
            ("settled_size",), ("random_key",), ("keyspace",),
            ("kill", self.pick(["id", "addr", "old", "all", "self"]), self.rng.randrange(CONNECTIONS)),
        ]), kind="probe")

    def batches(self, commands):
        """Batches until `commands` commands are made; connections start in both protocols."""
        made = 0
        for connection in range(CONNECTIONS):
            yield [Item(connection, [[b"HELLO", b"3" if connection % 2 else b"2"]])]
        while made < commands:
            connection = self.rng.randrange(CONNECTIONS)
            batch = []
            for _ in range(self.pick([1, 1, 2, 5, 10, 20, 40, 60]) if not self.big else self.rng.randint(1, 8)):
                item = self.item(connection)
                if item.alone():
                    if batch:
                        yield batch
                    yield [item]
                    batch = []
                else:
                    batch.append(item)
                made += item.size
            if batch:
                yield batch


def _number(arg):
    try:
        return int(arg)
    except (ValueError, TypeError):
        return None


def _far(arg, scale):
    """A relative deadline that would pass during the test is moved away."""
    number = _number(arg)
    least = MIN_SECONDS * scale
    return b"%d" % (least + number) if number is not None and 0 < number < least else arg


def _past_or_far(arg, scale):
    """An absolute deadline between long ago and far away is moved away; so are those that tie with relative ones."""
    number = _number(arg)
    if number is not None and 10 ** 9 * scale < number < FAR_FUTURE * scale:
        return b"%d" % (FAR_FUTURE * scale + number)
    return arg


def _small(arg, least, most):
    """A number between what is small and what every server refuses becomes small."""
    number = _number(arg)
    return b"%d" % (number % 50) if number is not None and least < number < most else arg


def tame(args):
    """Keeps damaged commands within the rules of time and memory given above."""
    if not args or isinstance(args[0], ConnectionId):
        return args
    args = list(args)
    name = args[0].upper()
    scale = 1000 if name.startswith(b"P") else 1
    if name in (b"EXPIRE", b"PEXPIRE", b"SETEX", b"PSETEX") and len(args) > 2:
        args[2] = _far(args[2], scale)
    elif name in (b"EXPIREAT", b"PEXPIREAT") and len(args) > 2:
        args[2] = _past_or_far(args[2], scale)
    elif name in (b"SET", b"GETEX"):
        for at in range(2, len(args)):
            before = args[at - 1].upper()
            if before in RELATIVE:
                args[at] = _far(args[at], RELATIVE[before])
            elif before in (b"EXAT", b"PXAT"):
                args[at] = _past_or_far(args[at], 1000 if before == b"PXAT" else 1)
    elif name == b"SETRANGE" and len(args) > 2:
        args[2] = _small(args[2], 200000, PROTOCOL_LIMIT)
    elif name == b"SETBIT" and len(args) > 2:
        args[2] = _small(args[2], 1600000, 1 << 32)
    elif name == b"BITFIELD":
        for at in range(2, len(args)):
            if args[at].startswith(b"#"):
                args[at] = b"#" + _small(args[at][1:], 1000, 1 << 60)
            else:
                before = args[at - 2].upper() if at > 3 else b""
                if args[at - 1].upper()[:1] in (b"U", b"I") and before in (b"SET", b"INCRBY", b"GET"):
                    args[at] = _small(args[at], 1600000, 1 << 32)
    return args
