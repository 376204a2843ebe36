"""Many connections at once: workers as processes of their own, disconnects of every kind, and counting what others get
done while one command is on its way."""

import multiprocessing
import os
import socket
import struct

from support.resp import Client

# How much the sanitizers slow the server down, roughly.
SHARE = {"asan": 0.25, "tsan": 0.1}.get(os.environ.get("LARDER_VARIANT", "release"), 1)


def turns(count):
    """That many turns of a loop in a release build, fewer under a sanitizer."""
    return max(10, int(count * SHARE))


def _child(work, address, arguments, results):
    try:
        with Client(address) as client:
            results.put((True, work(client, *arguments)))
    except BaseException as failure:  # noqa: BLE001 - whatever it is, the parent has to see it
        results.put((False, f"{work.__name__}: {failure!r}"))
        raise


def together(server, jobs):
    """Runs every (work, arguments...) as a process with a connection of its own; their results, in any order."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=_child, args=(work, server.address, arguments, results)) for work,
                *arguments in jobs]
    for child in children:
        child.start()
    try:
        found = [results.get(timeout=300) for _ in children]
    finally:
        for child in children:
            child.join(10)
            if child.is_alive():
                child.kill()
                child.join()
    assert all(good for good, _ in found), found
    return [value for _, value in found]


def values_of(found):
    """The results that are something."""
    return [value for value in found if value is not None]


class Background:
    """Processes that run work(client, *arguments) until the block ends, over and over; a failure fails the block. All
    are connected when it begins."""

    def __init__(self, server, jobs):
        context = multiprocessing.get_context("fork")
        self.stopping = context.Event()
        self.results = context.Queue()
        self.connected = context.Semaphore(0)
        self.children = [context.Process(target=self._run, args=(server.address, work, arguments)) for work,
                         *arguments in jobs]

    def _run(self, address, work, arguments):
        done = 0
        try:
            with Client(address) as client:
                client.do("PING")
                self.connected.release()
                while not self.stopping.is_set():
                    work(client, *arguments)
                    done += 1
            self.results.put((True, done))
        except BaseException as failure:  # noqa: BLE001
            self.results.put((False, f"{work.__name__}: {failure!r}"))
            raise

    def __enter__(self):
        for child in self.children:
            child.start()
        for _ in self.children:
            assert self.connected.acquire(timeout=60)
        return self

    def __exit__(self, kind, *_):
        self.stopping.set()
        found = []
        try:
            found = [self.results.get(timeout=60) for _ in self.children]
        finally:
            for child in self.children:
                child.join(10)
                if child.is_alive():
                    child.kill()
                    child.join()
        if kind is None:
            assert all(good for good, _ in found), found


def abort(client):
    """Closes the connection with a reset."""
    if client.sock.family == socket.AF_INET:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def trips_before_reply(slow, others, enough):
    """Round trips of the others, one after the other, each begun after the slow connection's commands were sent and over
    before anything of their replies was read; stops at `enough`. Each of `others` is (client, command)."""
    done = 0
    while done < enough:
        client, command = others[done % len(others)]
        client.command(*command)
        # What arrives first decides: a round trip that ends together with the slow reply does not count.
        if not client.has_reply(client.timeout):
            raise TimeoutError("no reply beside a slow command")
        late = slow.has_reply(0)
        client.reply()
        if late:
            break
        done += 1
    return done
