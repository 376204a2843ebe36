"""Fixtures and options that every folder of tests shares."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from support import server as servers  # noqa: E402 - the path has to be there first


def pytest_addoption(parser):
    group = parser.getgroup("differential")
    group.addoption("--seed", type=int, default=None, help="run the one stream with this seed")
    group.addoption("--commands", type=int, default=200000, help="how many commands, over all streams (or for --seed)")
    group.addoption("--streams", type=int, default=8, help="over how many seeds the commands are spread")
    group.addoption("--first-seed", type=int, default=1, help="the first of these seeds")
    group.addoption("--no-shrink", action="store_true", help="report a divergence without looking for a short one")


@pytest.fixture
def start():
    """start(directives, **options) runs a server of ours for this test."""
    running = []

    def run(directives=(), **options):
        one = servers.larder(directives, **options).start()
        running.append(one)
        return one

    yield run
    _stop_all(running)


@pytest.fixture
def start_oracle():
    """start_oracle(directives, **options) runs the server that answers are compared with."""
    running = []

    def run(directives=(), **options):
        one = servers.oracle(directives, **options).start()
        running.append(one)
        return one

    yield run
    _stop_all(running)


def _stop_all(running):
    failures = []
    for one in running:
        try:
            one.stop()
        except AssertionError as failure:
            failures.append(str(failure))
    assert not failures, "\n".join(failures)


@pytest.fixture(scope="module")
def shared():
    """One server of ours with its defaults, for the tests of a module that leave it as they found it."""
    one = servers.larder().start()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def shared_oracle():
    one = servers.oracle().start()
    yield one
    one.stop()


@pytest.fixture
def client(shared):
    """A connection to the shared server, its databases empty."""
    with shared.connect() as connection:
        connection.do("FLUSHALL")
        yield connection
