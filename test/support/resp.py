"""A small RESP2/RESP3 client on a raw socket.

Replies keep their wire type: every reply is a pair (tag, payload), where tag is the type's first byte on the wire, so
that a test can tell a null array from a null bulk string or a simple string from a bulk one. `plain` strips the tags
where a test cares for values only. A client library was rejected for the same reason: it hides the types.

Payloads: bytes for + - $ ! = and for the number types , and ( (their text matters); int for : ; bool for # ; list for
* ~ > ; list of pairs for % and | ; None for null, whichever its tag.
"""

import os
import select
import socket

TIMEOUT_SECONDS = float(os.environ.get("LARDER_TEST_TIMEOUT", "30"))


class Closed(Exception):
    """The server closed the connection before a whole reply arrived; args[0] is what did arrive of it."""


class ReplyError(Exception):
    """An error reply, raised by the calls that return plain values."""


class BadReply(Exception):
    """The server sent bytes that are not RESP."""


def to_bytes(arg):
    if isinstance(arg, bytes):
        return arg
    return str(arg).encode()


def encode(args):
    """One command as a multibulk request."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        arg = to_bytes(arg)
        parts.append(b"$%d\r\n%b\r\n" % (len(arg), arg))
    return b"".join(parts)


def quote_inline(arg):
    """One argument quoted as inline requests allow: every byte survives."""
    out = ['"']
    for byte in arg:
        if byte in b'"\\':
            out.append("\\" + chr(byte))
        elif 32 <= byte < 127:
            out.append(chr(byte))
        else:
            out.append("\\x%02x" % byte)
    out.append('"')
    return "".join(out).encode()


def encode_inline(args):
    return b" ".join(quote_inline(to_bytes(arg)) for arg in args) + b"\r\n"


def plain(reply):
    """The reply without tags; maps become dicts, errors stay as ReplyError instances."""
    tag, payload = reply
    if payload is None:
        return None
    if tag in "*~>":
        return [plain(item) for item in payload]
    if tag in "%|":
        return {_hashable(plain(key)): plain(value) for key, value in payload}
    if tag in "-!":
        return ReplyError(payload.decode("utf-8", "replace"))
    if tag == ",":
        return float(payload)
    if tag == "(":
        return int(payload)
    if tag == "=":
        return payload[4:]
    return payload


def _hashable(value):
    return tuple(value) if isinstance(value, list) else value


class Client:
    """One connection. `address` is (host, port) or a path of a unix socket."""

    def __init__(self, address, source=None, timeout=TIMEOUT_SECONDS, receive_buffer=None):
        self.address = address
        self.timeout = timeout
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            if receive_buffer:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source:
                self.sock.bind((source, 0))
            self.sock.settimeout(timeout)
            self.sock.connect(address)
        except OSError:
            self.sock.close()
            raise
        if family == socket.AF_INET:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""
        self.pos = 0
        self.chunk = memoryview(bytearray(1 << 16))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    # Sending

    def send(self, data):
        """Sends everything, reading meanwhile whatever arrives, so that neither side waits for the other."""
        view = memoryview(data)
        try:
            while view:
                try:
                    view = view[self.sock.send(view, socket.MSG_DONTWAIT):]
                except BlockingIOError:
                    readable, writable, _ = select.select([self.sock], [self.sock], [], self.timeout)
                    if not readable and not writable:
                        raise TimeoutError("the server neither reads nor writes") from None
                    if readable:
                        self._more()
        except (BrokenPipeError, ConnectionResetError):
            # The server may have answered before it closed; the reader reports what there is.
            pass

    def command(self, *args):
        self.send(encode(args))

    # Receiving

    def _more(self):
        try:
            # A fixed buffer: a fresh one for every read would cost more than the read.
            chunk = bytes(self.chunk[:self.sock.recv_into(self.chunk)])
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            raise Closed(self.buf[self.pos:])
        self.buf = self.buf[self.pos:] + chunk
        self.pos = 0

    def _line(self):
        while True:
            end = self.buf.find(b"\r\n", self.pos)
            if end >= 0:
                line = self.buf[self.pos:end]
                self.pos = end + 2
                return line
            self._more()

    def _exact(self, size):
        have = len(self.buf) - self.pos
        if have >= size:
            data = self.buf[self.pos:self.pos + size]
            self.pos += size
            return data
        parts = [self.buf[self.pos:]]
        self.buf, self.pos = b"", 0
        while have < size:
            chunk = self.sock.recv(min(size - have, 1 << 20))
            if not chunk:
                raise Closed(b"".join(parts))
            parts.append(chunk)
            have += len(chunk)
        return b"".join(parts)

    def _bulk(self, size):
        data = self._exact(size + 2)
        if data[-2:] != b"\r\n":
            raise BadReply(f"bulk string of {size} bytes without its end: {data[-20:]!r}")
        return data[:-2]

    def reply(self):
        """The next reply, tagged."""
        line = self._line()
        tag, rest = line[:1], line[1:]
        if tag == b"$":
            size = int(rest)
            return ("$", None if size < 0 else self._bulk(size))
        if tag == b"+":
            return ("+", rest)
        if tag == b":":
            return (":", int(rest))
        if tag == b"-":
            return ("-", rest)
        if tag == b"*" or tag == b"~" or tag == b">":
            count = int(rest)
            return (tag.decode(), None if count < 0 else [self.reply() for _ in range(count)])
        if tag == b"%" or tag == b"|":
            return (tag.decode(), [(self.reply(), self.reply()) for _ in range(int(rest))])
        if tag == b"_" and not rest:
            return ("_", None)
        if tag == b"#" and rest in (b"t", b"f"):
            return ("#", rest == b"t")
        if tag == b",":
            return (",", rest)
        if tag == b"(":
            return ("(", rest)
        if tag == b"=" or tag == b"!":
            return (tag.decode(), self._bulk(int(rest)))
        raise BadReply(f"not a reply: {line[:100]!r}")

    def replies(self, count):
        return [self.reply() for _ in range(count)]

    def has_reply(self, seconds):
        """Whether anything arrives within `seconds`: for asserting silence, and for bounded waits."""
        if self.pos < len(self.buf):
            return True
        return bool(select.select([self.sock], [], [], seconds)[0])

    def until_close(self):
        """Everything the server still sends before it closes the connection."""
        parts = [self.buf[self.pos:]]
        self.buf, self.pos = b"", 0
        while True:
            try:
                chunk = self.sock.recv(1 << 18)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                return b"".join(parts)
            parts.append(chunk)

    # Both

    def call(self, *args):
        """One command and its reply, tagged."""
        self.send(encode(args))
        return self.reply()

    def do(self, *args):
        """One command and its plain value; an error reply is raised."""
        value = plain(self.call(*args))
        if isinstance(value, ReplyError):
            raise value
        return value

    def error(self, *args):
        """One command that has to fail: its error text."""
        reply = self.call(*args)
        assert reply[0] in "-!", f"{args!r} should have failed, but answered {reply!r}"
        return reply[1].decode()

    def pipeline(self, commands):
        self.send(b"".join(encode(command) for command in commands))
        return self.replies(len(commands))

    def info(self, *sections):
        """INFO as a flat dictionary of strings."""
        text = self.do("INFO", *sections).decode()
        return dict(line.split(":", 1) for line in text.splitlines() if line and not line.startswith("#"))
