"""A TCP proxy between a replica and its primary, whose link a test can cut, stall, refuse or make deliver byte by byte.

"down" is from the target (the primary) to whoever connected, "up" is the other direction. One thread serves all
connections of a link with non-blocking sockets; a test's calls change its state under the lock and wake it, so what a
call asks for holds when it returns.
"""

import selectors
import socket
import threading

READ_SIZE = 1 << 16
# A side that does not read holds up the other one, as without a proxy.
PENDING_LIMIT = 1 << 18
DIRECTIONS = ("down", "up")


class _Flow:
    """One direction of one connection."""

    def __init__(self, direction, source, sink):
        self.direction, self.source, self.sink = direction, source, sink
        self.pending = bytearray()
        self.ended = False
        self.finished = False


class _Pair:
    def __init__(self, client, target):
        self.client, self.target = client, target
        self.flows = (_Flow("down", target, client), _Flow("up", client, target))


class Link:
    """Listens on `port` of 127.0.0.1 and forwards every connection to the target."""

    def __init__(self, target_host, target_port):
        self.target = (target_host, target_port)
        self.changed = threading.Condition(threading.RLock())
        self.selector = selectors.DefaultSelector()
        self.pairs = []
        self.forwarded = dict.fromkeys(DIRECTIONS, 0)
        self.left = dict.fromkeys(DIRECTIONS)
        self.stalled = set()
        self.dripping = False
        self.connections = 0
        self.cuts = 0
        self.closing = False
        self.accepting = True
        # Bound, and never listening: nobody else gets the port while connections are refused.
        self.holder = self._socket(0)
        self.port = self.holder.getsockname()[1]
        self.listener = self._listen()
        self.waker, self.woken = socket.socketpair()
        self.woken.setblocking(False)
        self.selector.register(self.woken, selectors.EVENT_READ)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # What a test asks for

    @property
    def down(self):
        """Bytes delivered to the side that connected, over all connections."""
        return self.forwarded["down"]

    @property
    def up(self):
        return self.forwarded["up"]

    @property
    def live(self):
        """Connections that are open now."""
        return len(self.pairs)

    def cut(self):
        """Closes both sides of every connection. The link goes on accepting."""
        with self.changed:
            for pair in list(self.pairs):
                self._drop(pair)
                self.cuts += 1
            self.changed.notify_all()

    def cut_after(self, n_bytes, direction="down"):
        """Cuts, one time, when exactly that many further bytes of that direction are delivered."""
        assert direction in DIRECTIONS
        with self.changed:
            self.left[direction] = n_bytes
            self._wake()

    def refuse(self):
        """New connections are refused. Those that are open go on: cut() ends them."""
        with self.changed:
            if self.accepting:
                self.accepting = False
                self.selector.unregister(self.listener)
                self.listener.close()
                self._wake()

    def accept(self):
        with self.changed:
            if not self.accepting:
                self.listener = self._listen()
                self.accepting = True
                self.selector.register(self.listener, selectors.EVENT_READ)
                self._wake()

    def stall(self, *directions):
        """Forwards nothing more in these directions (default: both), without closing anything."""
        with self.changed:
            self.stalled.update(directions or DIRECTIONS)
            self._wake()

    def resume(self):
        with self.changed:
            self.stalled.clear()
            self._wake()

    def drip(self, on=True):
        """Delivers one byte at a time, each in a segment of its own."""
        with self.changed:
            self.dripping = on
            self._wake()

    def await_true(self, check, seconds=20, what="the link does not get there"):
        """Waits until check() holds; it is called whenever bytes were forwarded or a connection came or went."""
        with self.changed:
            assert self.changed.wait_for(check, seconds), f"{what}: {self!r}"

    def await_bytes(self, n_bytes, direction="down", seconds=20):
        """Waits until that many bytes were delivered since the link exists."""
        self.await_true(lambda: self.forwarded[direction] >= n_bytes, seconds, f"no {n_bytes} bytes {direction}")

    def await_connections(self, count, seconds=20):
        """Waits until so many connections were made since the link exists."""
        self.await_true(lambda: self.connections >= count, seconds, f"no {count} connections")

    def await_cuts(self, count, seconds=20):
        self.await_true(lambda: self.cuts >= count, seconds, f"no {count} cuts")

    def __repr__(self):
        return (f"Link(port={self.port}, connections={self.connections}, live={self.live}, cuts={self.cuts}, "
                f"down={self.down}, up={self.up})")

    def close(self):
        with self.changed:
            self.closing = True
            self._wake()
        self.thread.join()

    # The thread

    @staticmethod
    def _socket(port):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("127.0.0.1", port))
        return one

    def _listen(self):
        one = self._socket(self.port)
        one.listen(128)
        one.setblocking(False)
        return one

    def _wake(self):
        self.waker.send(b"x")

    def _run(self):
        while True:
            ready = self.selector.select()
            with self.changed:
                if self.closing:
                    break
                for key, events in ready:
                    if key.fileobj is self.woken:
                        self._drain_wakes()
                    elif key.fileobj is self.listener:
                        self._accept_one()
                    elif key.data in self.pairs:
                        self._serve(key.data, key.fileobj, events)
                for pair in list(self.pairs):
                    self._want(pair)
                self.changed.notify_all()
        for pair in list(self.pairs):
            self._drop(pair)
        for one in (self.listener, self.holder, self.waker, self.woken):
            one.close()
        self.selector.close()

    def _drain_wakes(self):
        try:
            while self.woken.recv(4096):
                pass
        except BlockingIOError:
            pass

    def _accept_one(self):
        try:
            client, _ = self.listener.accept()
        except OSError:
            return
        try:
            target = socket.create_connection(self.target, timeout=10)
        except OSError:
            client.close()
            return
        for one in (client, target):
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pairs.append(_Pair(client, target))
        self.connections += 1

    def _want(self, pair):
        """Tells the selector what this connection waits for now."""
        for one in (pair.client, pair.target):
            events = 0
            for flow in pair.flows:
                if flow.direction in self.stalled:
                    continue
                if flow.source is one and not flow.ended and len(flow.pending) < PENDING_LIMIT:
                    events |= selectors.EVENT_READ
                if flow.sink is one and flow.pending:
                    events |= selectors.EVENT_WRITE
            known = self.selector.get_map().get(one)
            if known is None:
                if events:
                    self.selector.register(one, events, pair)
            elif not events:
                self.selector.unregister(one)
            elif known.events != events:
                self.selector.modify(one, events, pair)

    def _serve(self, pair, ready, events):
        for flow in pair.flows:
            if flow.direction in self.stalled:
                continue
            try:
                if flow.source is ready and events & selectors.EVENT_READ and not flow.ended:
                    data = flow.source.recv(READ_SIZE)
                    flow.pending += data
                    flow.ended = not data
                if not self._deliver(pair, flow):
                    return
            except BlockingIOError:
                pass
            except OSError:
                self._drop(pair)
                return
        if all(flow.finished for flow in pair.flows):
            self._drop(pair)

    def _deliver(self, pair, flow):
        """Sends what may be sent; False when that was the end of the connection."""
        while flow.pending:
            left = self.left[flow.direction]
            size = 1 if self.dripping else len(flow.pending)
            if left is not None:
                size = min(size, left)
            sent = flow.sink.send(memoryview(flow.pending)[:size]) if size else 0
            del flow.pending[:sent]
            self.forwarded[flow.direction] += sent
            if left is not None:
                self.left[flow.direction] = left - sent
                if left == sent:
                    self.left[flow.direction] = None
                    self._cut_exactly(pair, flow)
                    return False
            if self.dripping and flow.pending:
                # The rest waits for the next turn, so that every other connection and call has its own.
                break
        if flow.ended and not flow.pending and not flow.finished:
            flow.finished = True
            try:
                flow.sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        return True

    def _cut_exactly(self, pair, flow):
        try:
            # What was delivered arrives before the end does, whatever else is still unread.
            flow.sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        self._drop(pair)
        self.cuts += 1

    def _drop(self, pair):
        if pair not in self.pairs:
            return
        self.pairs.remove(pair)
        for one in (pair.client, pair.target):
            if one in self.selector.get_map():
                self.selector.unregister(one)
            one.close()
