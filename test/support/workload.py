"""Load from threads, for tests of what lasts: pipelines on raw connections that survive the server's death, with the
count of what was acknowledged.

    Mixed     every kind of write on strings, over several databases, from a seed
    Bank      money that moves between keys by transactions and by renames: its sum never changes (check_bank)
    Recorder  appends and reads, recorded for support.history

A load runs while its block lasts:

    with Mixed(server.address, seed=1) as load:
        load.await_acked(10000)
        link.cut()
"""

import collections
import random
import re
import socket
import threading
import time

from support import history
from support.history import FAIL, OK, UNKNOWN
from support.keyspace import read_all
from support.resp import BadReply, Client, Closed, encode

BROKEN = (Closed, OSError, BadReply)
# Errors that are answered instead of doing anything. Whatever else a write is answered leaves its fate open.
REFUSALS = {b"LOADING", b"READONLY", b"MASTERDOWN", b"OOM", b"MISCONF", b"NOAUTH", b"NOPERM", b"BUSY", b"EXECABORT",
            b"NOREPLICAS", b"CLUSTERDOWN", b"MOVED", b"ASK", b"TRYAGAIN", b"WRONGTYPE"}


class Load:
    """Threads that each keep a connection and call turn(client, thread's index, its random numbers) until the end.
    After a lost connection, or when the server does not accept one, they connect again."""

    def __init__(self, address, threads=2, seed=1, timeout=20):
        self.address = address
        self.seed = seed
        self.timeout = timeout
        self.stopping = threading.Event()
        self.changed = threading.Condition()
        self.acked = 0
        self.reconnects = 0
        self.refused = collections.Counter()    # by the first word of the error
        self.failure = None
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(threads)]

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        self.stop(check=kind is None)

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self, check=True):
        """Ends the load after the turns that are on their way; their answers are awaited."""
        self.stopping.set()
        with self.changed:
            self.changed.notify_all()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a thread of the load hangs"
        if check and self.failure:
            raise self.failure

    def move(self, address):
        """New connections go to this address."""
        self.address = address

    def await_acked(self, count, seconds=60):
        """Waits until so many commands are acknowledged since the beginning."""
        with self.changed:
            good = self.changed.wait_for(lambda: self.acked >= count or self.failure, seconds)
        if self.failure:
            raise self.failure
        assert good, f"only {self.acked} of {count} commands were acknowledged; refused: {dict(self.refused)}"

    def await_more(self, count=1, seconds=60):
        """Waits until so many more commands are acknowledged from now on."""
        self.await_acked(self.acked + count, seconds)

    def note(self, acked):
        with self.changed:
            self.acked += acked
            self.changed.notify_all()

    def note_refused(self, text):
        with self.changed:
            self.refused[text.split(b" ", 1)[0].decode()] += 1

    def _run(self, index):
        numbers = random.Random(self.seed * 1000003 + index)
        try:
            while not self.stopping.is_set():
                try:
                    client = Client(self.address, timeout=self.timeout)
                except (OSError, socket.timeout):
                    # Nobody listens at the moment: there is nothing to wait for but time.
                    self.stopping.wait(0.005)
                    continue
                try:
                    with client:
                        self.begin(client, index)
                        while not self.stopping.is_set():
                            self.turn(client, index, numbers)
                except BROKEN:
                    with self.changed:
                        self.reconnects += 1
        except BaseException as failure:  # noqa: BLE001 - whatever it is, the test has to see it
            with self.changed:
                self.failure = failure
                self.changed.notify_all()

    def begin(self, client, index):
        """After connecting."""

    def turn(self, client, index, numbers):
        raise NotImplementedError


class Mixed(Load):
    """SET, SET PX, INCR, APPEND, DEL, SETRANGE, expiries, GETDEL, RENAME, MSET and transactions over two keys, in
    pipelines over several databases. Threads write the same keys."""

    def __init__(self, address, threads=2, seed=1, pipeline=32, keys=500, databases=3, value_size=200, **options):
        super().__init__(address, threads, seed, **options)
        self.pipeline = pipeline
        self.keys = keys
        self.databases = databases
        self.value_size = value_size

    def _key(self, numbers):
        return b"s:%d" % numbers.randrange(self.keys)

    def _value(self, numbers):
        return b"%d:" % numbers.getrandbits(40) + b"x" * numbers.randrange(self.value_size)

    def commands(self, numbers):
        """The commands of one step; several for a transaction."""
        key = self._key
        value = self._value
        choice = numbers.randrange(100)
        if choice < 30:
            return [(b"SET", key(numbers), value(numbers))]
        if choice < 40:
            # From a few milliseconds to hours, so that some are gone soon.
            return [(b"SET", key(numbers), value(numbers), b"PX", 10 ** numbers.randrange(1, 8))]
        if choice < 50:
            return [(b"INCRBY", b"n:%d" % numbers.randrange(50), numbers.randrange(-9, 10))]
        if choice < 60:
            return [(b"APPEND", key(numbers), b"%d," % numbers.randrange(1000))]
        if choice < 66:
            return [(b"DEL", key(numbers), key(numbers))]
        if choice < 70:
            return [(b"SETRANGE", key(numbers), numbers.randrange(300), b"<%d>" % numbers.randrange(1000))]
        if choice < 76:
            return [(b"PEXPIRE", key(numbers), 10 ** numbers.randrange(1, 8))]
        if choice < 78:
            return [(b"PERSIST", key(numbers))]
        if choice < 82:
            return [(b"GETDEL", key(numbers))]
        if choice < 88:
            return [(b"RENAME", key(numbers), key(numbers))]
        if choice < 93:
            return [(b"MSET", key(numbers), value(numbers), key(numbers), value(numbers), key(numbers), value(numbers))]
        if choice < 95:
            return [(b"SELECT", numbers.randrange(self.databases))]
        body = [(b"SET", key(numbers), value(numbers)), (b"INCR", b"n:%d" % numbers.randrange(50))]
        return [(b"MULTI",), *body, (b"EXEC",)]

    def turn(self, client, index, numbers):
        commands = []
        while len(commands) < self.pipeline:
            commands += self.commands(numbers)
        client.send(b"".join(encode(command) for command in commands))
        good = 0
        for _ in commands:
            tag, text = client.reply()
            if tag == "-":
                self.note_refused(text)
            else:
                good += 1
        self.note(good)


# ---- the bank --------------------------------------------------------------------------------------------------------

ACCOUNT = re.compile(rb"account:(\d+)$")
PURSE = re.compile(rb"purse:(\d+):(\d+)$")


class Bank(Load):
    """Moves amounts between accounts by MULTI, and purses from place to place by RENAME. Every thread has a purse of
    its own, and keys that only it renames. The sum of all is the same at every moment."""

    OPENING = 1000
    PURSE = 7000
    PLACES = 5

    def __init__(self, address, threads=2, accounts=20, db=0, pipeline=8, **options):
        super().__init__(address, threads, **options)
        self.accounts = accounts
        self.db = db
        self.pipeline = pipeline
        self.places = {}

    def open(self):
        """Creates accounts and purses, before the start; the bank itself."""
        with Client(self.address, timeout=self.timeout) as client:
            client.do("SELECT", self.db)
            client.do("MSET", *[word for i in range(self.accounts) for word in (f"account:{i}", self.OPENING)],
                      *[word for i in range(len(self.threads)) for word in (f"purse:{i}:0", self.PURSE)])
        return self

    def begin(self, client, index):
        client.do("SELECT", self.db)
        # A rename whose answer was lost may have happened.
        names = [f"purse:{index}:{place}" for place in range(self.PLACES)]
        there = [place for place, value in enumerate(client.do("MGET", *names)) if value is not None]
        self.places[index] = there[0] if there else None

    def turn(self, client, index, numbers):
        commands = []
        place = self.places[index]
        for _ in range(self.pipeline):
            if place is not None and numbers.random() < 0.25:
                to = (place + numbers.randrange(1, self.PLACES)) % self.PLACES
                commands.append(("RENAME", f"purse:{index}:{place}", f"purse:{index}:{to}"))
                place = to
                continue
            one, other = numbers.sample(range(self.accounts), 2)
            amount = numbers.randrange(1, 50)
            commands += [("MULTI",), ("DECRBY", f"account:{one}", amount), ("INCRBY", f"account:{other}", amount),
                         ("EXEC",)]
        client.send(b"".join(encode(command) for command in commands))
        refused = False
        good = 0
        for reply in client.replies(len(commands)):
            if reply[0] == "-":
                refused = True
                self.note_refused(reply[1])
            else:
                good += 1
        self.places[index] = place
        self.note(good)
        if refused:
            self.begin(client, index)

    def check(self, keyspace):
        return check_bank(keyspace, self.accounts, len(self.threads), self.db)


def check_bank(keyspace, accounts=20, purses=2, db=0):
    """What is wrong with the bank's keys in a keyspace of support.keyspace, as lines of text."""
    found = []
    total = 0
    seen = set()
    where = collections.defaultdict(list)
    for key, (value, _) in keyspace.get(db, {}).items():
        account, purse = ACCOUNT.match(key), PURSE.match(key)
        if account:
            seen.add(int(account[1]))
            total += int(value)
        elif purse:
            where[int(purse[1])].append(key.decode())
            if int(value) != Bank.PURSE:
                found.append(f"{key.decode()} holds {value!r} instead of {Bank.PURSE}")
    if seen != set(range(accounts)):
        found.append(f"accounts are missing: {sorted(set(range(accounts)) - seen)}")
    if total != accounts * Bank.OPENING:
        found.append(f"the accounts hold {total} instead of {accounts * Bank.OPENING}")
    for purse in range(purses):
        if len(where[purse]) != 1:
            found.append(f"purse {purse} is in {len(where[purse])} places: {sorted(where[purse])}")
    return found


# ---- the recorder ----------------------------------------------------------------------------------------------------

class Recorder(Load):
    """Appends to, and reads of, a few keys, alone and in transactions, each recorded as an Operation of
    support.history. `depth` operations are on their way at once on every connection."""

    def __init__(self, address, threads=4, keys=5, depth=4, reads=0.3, transactions=0.3, **options):
        super().__init__(address, threads, **options)
        self.names = [b"h:%d" % i for i in range(keys)]
        self.depth = depth
        self.share_of_reads = reads
        self.share_of_transactions = transactions
        self.lives = collections.Counter()
        self.tokens = collections.Counter()
        self.recorded = [[] for _ in range(threads)]

    @property
    def operations(self):
        """All operations so far; complete once the load has stopped."""
        return [op for ops in self.recorded for op in list(ops)]

    def begin(self, client, index):
        # What the old connection was told may still happen, at the same time as what the new one is told.
        self.lives[index] += 1

    def _action(self, index, numbers):
        key = numbers.choice(self.names)
        if numbers.random() < self.share_of_reads:
            return history.Read(key)
        self.tokens[index] += 1
        return history.Append(key, b"%d.%d" % (index, self.tokens[index]))

    def turn(self, client, index, numbers):
        name = f"c{index}/{self.lives[index]}"
        batch = []
        request = []
        for _ in range(self.depth):
            count = numbers.randrange(2, 5) if numbers.random() < self.share_of_transactions else 1
            op = history.Operation(name, [self._action(index, numbers) for _ in range(count)], 0.0)
            words = [(b"APPEND", a.key, a.token + history.END) if isinstance(a, history.Append) else (b"GET", a.key)
                     for a in op.actions]
            if count > 1:
                words = [(b"MULTI",), *words, (b"EXEC",)]
            batch.append(op)
            request += [encode(word) for word in words]
        begun = time.monotonic()
        for op in batch:
            op.invoked = begun
        self.recorded[index] += batch
        client.send(b"".join(request))
        for op in batch:
            self._finish(client, op)
        self.note(sum(op.outcome == OK for op in batch))
        if any(op.outcome == UNKNOWN for op in batch):
            raise Closed(b"an answer that leaves the fate open")

    def _finish(self, client, op):
        """Takes the answers of one operation. A connection that breaks leaves it unknown, as it was created."""
        count = len(op.actions)
        if count == 1:
            answers = [client.reply()]
        else:
            queued = client.replies(count + 1)
            answer = client.reply()
            refused = next((reply for reply in queued if reply[0] == "-"), None)
            if answer[0] == "*" and answer[1] is not None and refused is None:
                answers = answer[1]
            else:
                # An error at MULTI itself would have let the commands after it run alone.
                answers = [answer if queued[0][0] == "+" else ("-", b"FATE unknown")]
        completed = time.monotonic()
        errors = [text for tag, text in answers if tag == "-"]
        for text in errors:
            self.note_refused(text)
        if errors:
            all_refused = all(text.split(b" ", 1)[0] in REFUSALS for text in errors)
            if all_refused and (len(errors) == count or len(answers) == 1):
                op.outcome, op.completed = FAIL, completed
            return
        for action, (_, payload) in zip(op.actions, answers):
            if isinstance(action, history.Append):
                action.length = payload
            else:
                action.value = payload
        op.outcome, op.completed = OK, completed

    def final(self, server):
        """{key: value} of the recorded keys, for the checker."""
        keys = read_all(server).keys_of(0)
        return {key: keys[key][0] for key in self.names if key in keys}

    def check(self, server, **options):
        """The anomalies of what was recorded, with the server as it is now; the load has to be over."""
        return history.check(self.operations, self.final(server), **options)
