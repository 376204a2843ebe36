"""The two ends of replication, played by a test: a replica that shows every command with its offset, and a primary that
says whatever the test likes to a real replica.

Offsets are those of Redis: a full resync names the offset of the snapshot, the stream's first byte after it is number
offset + 1, and a replica's own offset is the number of the last byte of what it has applied. A transaction is applied
at its EXEC, so a link that breaks inside one leaves the offset before its MULTI.
"""

import collections
import os
import select
import socket
import time

from support.resp import TIMEOUT_SECONDS, Client, Closed, encode

MARK_BYTES = 40
# A snapshot of nothing: the version, the end, and a checksum of zero, which says that there is none.
EMPTY_RDB = b"REDIS0009\xff" + bytes(8)

# start and end are offsets: the command's bytes are start .. end - 1 of what was decoded. transaction is the number of
# the transaction that it stands in (counted from 0), or None. SELECT, MULTI, EXEC, PING and REPLCONF are not shown.
Command = collections.namedtuple("Command", "db args start end transaction")


class BadStream(Exception):
    """Bytes that no primary may send; the text says where."""


class StreamDecoder:
    """Decodes commands from bytes that come in pieces of any size; used for the stream and for append-only files."""

    def __init__(self, offset=0, db=0):
        self.db = db
        self.applied = offset       # the end of the last command outside a transaction, or of the last EXEC
        self.parsed = offset        # the end of the last whole command
        self.transactions = 0
        self.open = None            # commands of a transaction whose EXEC has not come
        self.hidden = []            # (name, start, end) of what is not shown: PING, REPLCONF ...
        self.buf = bytearray()

    @property
    def rest(self):
        """Bytes after the last whole command."""
        return bytes(self.buf)

    def feed(self, data):
        """The commands that these bytes completed."""
        self.buf += data
        found = []
        at = 0
        while True:
            parsed = self._parse(at)
            if parsed is None:
                break
            args, end = parsed
            start = self.parsed
            self.parsed += end - at
            at = end
            if args:
                self._take(args, start, found)
            elif self.open is None:
                self.applied = self.parsed
        del self.buf[:at]
        return found

    def _line(self, at):
        end = self.buf.find(b"\r\n", at)
        if end < 0:
            if len(self.buf) - at > 1 << 16:
                raise BadStream(f"no end of line after offset {self.parsed}")
            return None
        return bytes(self.buf[at:end]), end + 2

    def _number(self, line, tag):
        if line[:1] != tag or not line[1:].isdigit():
            raise BadStream(f"{line[:60]!r} instead of {tag.decode()}<count> after offset {self.parsed}")
        return int(line[1:])

    def _parse(self, at):
        """(arguments, end) of the command at `at`, or None; an annotation of an append-only file has no arguments."""
        if self.buf[at:at + 1] == b"\n":
            return [], at + 1
        got = self._line(at)
        if got is None:
            return None
        line, at = got
        if line[:1] == b"#":
            return [], at
        args = []
        for _ in range(self._number(line, b"*")):
            got = self._line(at)
            if got is None:
                return None
            size = self._number(got[0], b"$")
            at = got[1]
            if len(self.buf) < at + size + 2:
                return None
            if self.buf[at + size:at + size + 2] != b"\r\n":
                raise BadStream(f"an argument of {size} bytes without its end after offset {self.parsed}")
            args.append(bytes(self.buf[at:at + size]))
            at += size + 2
        return args, at

    def _take(self, args, start, found):
        name = args[0].upper()
        if name == b"MULTI":
            if self.open is not None:
                raise BadStream(f"MULTI inside MULTI at offset {start}")
            self.open = []
            return
        if name == b"EXEC":
            if self.open is None:
                raise BadStream(f"EXEC without MULTI at offset {start}")
            found += self.open
            self.open = None
            self.transactions += 1
        elif name == b"SELECT":
            self.db = int(args[1])
        elif name in (b"PING", b"REPLCONF"):
            self.hidden.append((b" ".join(args[:2]).upper(), start, self.parsed))
        else:
            inside = None if self.open is None else self.transactions
            (found if self.open is None else self.open).append(Command(self.db, args, start, self.parsed, inside))
        if self.open is None:
            self.applied = self.parsed


Decoded = collections.namedtuple("Decoded", "commands applied open rest")


def commands_of(raw, db=0):
    """What a piece of stream, or an increment of an append-only file, holds: its commands, how many bytes are whole
    commands and transactions, the commands of a transaction without its end (or None), and the bytes of a last command
    that is cut off."""
    decoder = StreamDecoder(db=db)
    commands = decoder.feed(raw)
    return Decoded(commands, decoder.applied, decoder.open, decoder.rest)


class _Connection(Client):
    """A connection that also reads what is not RESP."""

    def raw_line(self):
        """The next line, which a newline alone may end; an empty one for a newline that keeps the link alive."""
        while True:
            end = self.buf.find(b"\n", self.pos)
            if end >= 0:
                line = self.buf[self.pos:end]
                self.pos = end + 1
                return line.rstrip(b"\r")
            self._more()

    def exactly(self, size):
        return self._exact(size)

    def some(self):
        """Whatever has arrived, at least one byte."""
        if self.pos == len(self.buf):
            self._more()
        data = self.buf[self.pos:]
        self.buf, self.pos = b"", 0
        return data

    def unread(self, data):
        self.buf, self.pos = data + self.buf[self.pos:], 0


class FakeReplica:
    """Connects to the primary at `address` with the handshake of a replica, and receives.

    After sync() the snapshot is in .rdb; commands are collected in .commands, the stream's bytes in .raw, which begins
    at offset .raw_start. .offset is the replica's offset; .replid the history that it follows. While a call waits, the
    offset is acknowledged every ack_seconds (0: never)."""

    def __init__(self, address, port=0, user=None, password=None, capabilities=("eof", "psync2"),
                 timeout=TIMEOUT_SECONDS, answer_getack=True, ack_seconds=1.0):
        self.address = address
        self.port = port
        self.user, self.password = user, password
        self.capabilities = capabilities
        self.timeout = timeout
        self.answer_getack = answer_getack
        self.ack_seconds = ack_seconds
        self.next_ack = 0.0
        self.client = None
        self.replid = "?"
        self.replids = []
        self.rdb = None
        self.rdb_had_mark = None
        self.decoder = None
        self.commands = []
        self.raw, self.raw_start = bytearray(), 0
        self.full_syncs = self.partial_syncs = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.client:
            self.client.close()
            self.client = None

    @property
    def offset(self):
        return self.decoder.applied if self.decoder else -1

    @property
    def received(self):
        """The offset of the last byte that arrived, applied or not."""
        return self.raw_start + len(self.raw)

    # Handshake

    def _expect(self, good, *args):
        reply = self.client.call(*args)
        assert reply[0] == "+" and reply[1].startswith(good), f"{args!r} was answered with {reply!r}"

    def handshake(self):
        """A new connection, up to before PSYNC."""
        self.close()
        self.client = _Connection(self.address, timeout=self.timeout)
        answer = self.client.call("PING")
        assert answer == ("+", b"PONG") or answer[1].startswith((b"NOAUTH", b"NOPERM")), f"PING: {answer!r}"
        if self.password is not None:
            self._expect(b"OK", "AUTH", *([self.user] if self.user else []), self.password)
        self._expect(b"OK", "REPLCONF", "listening-port", self.port)
        if self.capabilities:
            capabilities = [word for one in self.capabilities for word in ("capa", one)]
            self._expect(b"OK", "REPLCONF", *capabilities)

    def psync(self, replid=None, offset=None):
        """Asks to go on after what it has; "full" or "continue". Arguments replace its own history and next offset.
        Other answers are raised as an AssertionError with their text."""
        known = self.decoder is not None
        replid = replid or (self.replid if known else "?")
        if offset is None:
            offset = self.offset + 1 if known else -1
        self.client.command("PSYNC", replid, offset)
        words = self._line_after_newlines().split()
        if words[0] == b"+FULLRESYNC":
            self.full_syncs += 1
            self.replid = words[1].decode()
            self._begin(int(words[2]), 0)
            return "full"
        assert words[0] == b"+CONTINUE", f"PSYNC was answered with {b' '.join(words)!r}"
        self.partial_syncs += 1
        if len(words) > 1:
            self.replid = words[1].decode()
        elif not known:
            self.replid = replid
        if self.replid not in self.replids:
            self.replids.append(self.replid)
        if not known or offset != self.offset + 1:
            self._begin(offset - 1, self.decoder.db if known else 0)
        else:
            # What came after the offset comes again.
            del self.raw[self.offset - self.raw_start:]
            self.decoder = StreamDecoder(self.offset, self.decoder.db)
        return "continue"

    def _begin(self, offset, db):
        if self.replid not in self.replids:
            self.replids.append(self.replid)
        self.decoder = StreamDecoder(offset, db)
        self.commands = []
        self.raw, self.raw_start = bytearray(), offset

    def sync(self):
        """Handshake, PSYNC and, for a full resync, the snapshot and a first acknowledgement; "full" or "continue"."""
        self.handshake()
        how = self.psync()
        if how == "full":
            self.receive_rdb()
        self.ack()
        return how

    def _line_after_newlines(self):
        """The next line; a primary that is busy keeps the link alive with empty ones."""
        while True:
            line = self.client.raw_line()
            if line:
                return line

    def receive_rdb(self):
        """The bytes of the snapshot, whichever way they are framed."""
        line = self._line_after_newlines()
        assert line[:1] == b"$", f"{line!r} instead of a snapshot"
        self.rdb_had_mark = line.startswith(b"$EOF:")
        if not self.rdb_had_mark:
            self.rdb = self.client.exactly(int(line[1:]))
            return self.rdb
        mark = line[5:]
        assert len(mark) == MARK_BYTES, f"a mark of {len(mark)} bytes"
        got = bytearray()
        while True:
            # The mark may come in pieces, so the search begins a mark's length before what is new.
            start = max(0, len(got) - MARK_BYTES)
            got += self.client.some()
            at = got.find(mark, start)
            if at >= 0:
                break
        self.client.unread(bytes(got[at + MARK_BYTES:]))
        self.rdb = bytes(got[:at])
        return self.rdb

    def ack(self, offset=None):
        """Acknowledges its offset, or the one given."""
        # A primary may overhear what comes before it has noticed that the snapshot is sent, and waits for the next one.
        self.next_ack = time.monotonic() + (self.ack_seconds if self.raw else min(0.05, self.ack_seconds))
        self.client.command("REPLCONF", "ACK", self.offset if offset is None else offset)

    # The stream

    def poll(self, seconds=0):
        """Takes what has arrived, waiting at most `seconds` for something; the new commands. Raises Closed at the end
        of the link; what came before it was taken."""
        fresh = []
        while self.client.has_reply(seconds):
            seconds = 0
            data = self.client.some()
            self.raw += data
            hidden = len(self.decoder.hidden)
            found = self.decoder.feed(data)
            fresh += found
            self.commands += found
            if self.answer_getack:
                for name, start, _ in self.decoder.hidden[hidden:]:
                    if name == b"REPLCONF GETACK":
                        # As Redis: the offset before the request itself.
                        self.ack(start)
        return fresh

    def _wait(self, seconds):
        if self.ack_seconds:
            if time.monotonic() >= self.next_ack:
                self.ack()
            seconds = min(seconds, max(0.001, self.next_ack - time.monotonic()))
        self.poll(seconds)

    def _read_until(self, done, what, seconds):
        end = time.monotonic() + (self.timeout if seconds is None else seconds)
        while not done():
            left = end - time.monotonic()
            assert left > 0, f"{what} did not come; the offset is {self.offset}, the last ones {self.commands[-5:]!r}"
            self._wait(left)

    def read_until_offset(self, offset, seconds=None):
        """Receives until its offset is at least this one; all commands so far."""
        self._read_until(lambda: self.offset >= offset, f"offset {offset}", seconds)
        return self.commands

    def read_until_command(self, wanted, seconds=None):
        """Receives until a command for which wanted(command) holds; that command. Looks at what it already has, too."""
        seen = 0

        def found():
            nonlocal seen
            while seen < len(self.commands):
                seen += 1
                if wanted(self.commands[seen - 1]):
                    return True
            return False

        self._read_until(found, "the command", seconds)
        return self.commands[seen - 1]

    def read_until_close(self, seconds=None):
        """Receives until the primary ends the link; all commands so far."""
        end = time.monotonic() + (self.timeout if seconds is None else seconds)
        try:
            while True:
                left = end - time.monotonic()
                assert left > 0, f"the link still stands; the offset is {self.offset}"
                self._wait(left)
        except Closed:
            return self.commands

    def stream(self, start, end):
        """The stream's bytes number start + 1 to end: those that move an offset from start to end."""
        assert self.raw_start <= start <= end <= self.received
        return bytes(self.raw[start - self.raw_start:end - self.raw_start])


class FakePrimary:
    """Listens like a primary, and answers a replica's handshake; then the test sends what it wants.

    Everything happens in the caller's thread, so a test knows what the replica has been told. `seen` holds the commands
    of the replica on its present connection, acknowledgements excepted; the last acknowledged offset is .acked."""

    def __init__(self, timeout=TIMEOUT_SECONDS, password=None):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.timeout = timeout
        self.password = password
        self.replid = os.urandom(20).hex()
        self.offset = 0
        self.sock = None
        self.seen = []
        self.acked = -1
        self.buf = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.drop()
        self.listener.close()

    def drop(self):
        """Ends the present connection."""
        if self.sock:
            self.sock.close()
            self.sock = None

    # Receiving

    def _requests(self, seconds):
        """Commands that have arrived, after at most `seconds` of waiting; None at the end of the connection."""
        if not select.select([self.sock], [], [], seconds)[0]:
            return []
        try:
            data = self.sock.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            return None
        self.buf += data
        found = []
        while self.buf:
            if self.buf[:1] != b"*":
                # Requests of one line are allowed as well.
                line, newline, rest = bytes(self.buf).partition(b"\n")
                if not newline:
                    break
                found += [line.split()] if line.split() else []
                self.buf[:] = rest
                continue
            decoder = StreamDecoder()
            decoder.buf = self.buf
            parsed = decoder._parse(0)
            if parsed is None:
                break
            found.append(parsed[0])
            del self.buf[:parsed[1]]
        return found

    def accept(self, seconds=None):
        """Waits for the replica to connect, and answers it up to its PSYNC; returns (replid, offset) of that."""
        self.drop()
        self.listener.settimeout(self.timeout if seconds is None else seconds)
        self.sock, _ = self.listener.accept()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(self.timeout)
        self.seen, self.acked, self.buf = [], -1, bytearray()
        authenticated = self.password is None
        end = time.monotonic() + self.timeout
        while True:
            requests = self._requests(max(0, end - time.monotonic()))
            assert requests, f"the replica went away or fell silent after {self.seen!r}"
            for args in requests:
                self.seen.append(args)
                name = args[0].upper()
                if name == b"PSYNC":
                    return args[1].decode(), int(args[2])
                if name == b"AUTH":
                    authenticated = args[-1] == (self.password or "").encode()
                    self.send(b"+OK\r\n" if authenticated else b"-WRONGPASS invalid username-password pair\r\n")
                elif not authenticated:
                    self.send(b"-NOAUTH Authentication required.\r\n")
                elif name == b"PING":
                    self.send(b"+PONG\r\n")
                else:
                    self.send(b"+OK\r\n")

    def await_ack(self, offset, seconds=None):
        """Waits until the replica acknowledges this offset or a later one, asking for it again and again; the last one.
        The questions belong to the stream, so they move the offset."""
        end = time.monotonic() + (self.timeout if seconds is None else seconds)
        while self.acked < offset:
            assert time.monotonic() < end, f"acknowledged is {self.acked}, not {offset}"
            self.send_command("REPLCONF", "GETACK", "*")
            self.take_acks(0.05)
        return self.acked

    def take_acks(self, seconds=0):
        """Reads what the replica sent; the last acknowledged offset. Raises Closed when the replica closed the link."""
        requests = self._requests(seconds)
        if requests is None:
            raise Closed(b"")
        for args in requests:
            if len(args) >= 3 and [word.upper() for word in args[:2]] == [b"REPLCONF", b"ACK"]:
                self.acked = int(args[2])
            else:
                self.seen.append(args)
        return self.acked

    def await_close(self, seconds=None):
        """Waits until the replica ends the connection."""
        end = time.monotonic() + (self.timeout if seconds is None else seconds)
        try:
            while True:
                assert time.monotonic() < end, "the replica keeps the link"
                self.take_acks(0.1)
        except (Closed, ConnectionResetError, BrokenPipeError):
            self.drop()

    # Sending

    def send(self, data):
        """Bytes as they are, which the offset does not count."""
        self.sock.sendall(data)

    def full_resync(self, rdb=EMPTY_RDB, replid=None, offset=None, marked=False, seconds=None):
        """Begins a full resync with this snapshot, by its length or between marks. After a mark the stream may begin
        only when the replica has acknowledged the snapshot; that is awaited, for at most `seconds` (0: not at all)."""
        self.replid = replid or self.replid
        self.offset = self.offset if offset is None else offset
        self.send(b"+FULLRESYNC %s %d\r\n" % (self.replid.encode(), self.offset))
        if marked:
            mark = os.urandom(MARK_BYTES // 2).hex().encode()
            self.send(b"$EOF:%s\r\n%s%s" % (mark, rdb, mark))
            end = time.monotonic() + (self.timeout if seconds is None else seconds)
            while self.acked < 0 and seconds != 0:
                assert time.monotonic() < end, "the snapshot is not acknowledged"
                self.take_acks(max(0, end - time.monotonic()))
        else:
            self.send(b"$%d\r\n%s" % (len(rdb), rdb))

    def continue_from(self, offset, replid=None):
        """Grants a partial resync: the stream goes on after `offset`, under a new id if one is given."""
        self.offset = offset
        if replid:
            self.replid = replid
        self.send(b"+CONTINUE" + (b" " + replid.encode() if replid else b"") + b"\r\n")

    def send_stream(self, data):
        """Bytes of the stream; the offset counts them."""
        self.offset += len(data)
        self.send(data)

    def send_command(self, *args):
        self.send_stream(encode(args))
