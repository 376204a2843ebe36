"""The same random commands through larder-server and redis-server: the same replies, the same contents.

    pytest test/wire/differential                       200,000 commands over 8 seeds
    pytest test/wire/differential --seed 17 --commands 50000

A failure prints how to repeat it, and a shortened stream that shows it.
"""

import contextlib

import pytest

from differential import shrink, stream
from differential.lockstep import Divergence, Lockstep, describe, last_commands
from support import server as servers


def _stop(running):
    """Stops servers; what they left to complain about."""
    complaints = []
    for one in running:
        try:
            one.stop()
        except AssertionError as failure:
            complaints.append(str(failure))
    return "\n".join(complaints)


@contextlib.contextmanager
def pair(ours=servers.larder, theirs=servers.oracle):
    """A fresh server of each kind. What a crashed one printed goes into the divergence that the crash shows as."""
    running = []
    try:
        running += [ours().start()]
        running += [theirs().start()]
        yield running
    except Divergence as divergence:
        complaints = _stop(running)
        divergence.problem += f"\n{complaints}" if complaints else ""
        raise
    except BaseException:
        _stop(running)
        raise
    complaints = _stop(running)
    assert not complaints, complaints


def pytest_generate_tests(metafunc):
    if "seed" not in metafunc.fixturenames:
        return
    option = metafunc.config.getoption
    if option("--seed") is not None:
        cases = [(option("--seed"), option("--commands"))]
    else:
        count, streams = option("--commands"), option("--streams")
        # Whatever does not divide evenly goes to the first stream, so that no command is missing.
        cases = [(option("--first-seed") + at, count // streams + (count % streams if at == 0 else 0))
                 for at in range(streams)]
    metafunc.parametrize("seed,commands", cases)


def is_big(seed):
    """Every fourth seed has big values."""
    return seed % 4 == 0


def run(seed, commands, make_pair=pair, tamper=None, done=None):
    """Runs one stream; raises Divergence. `done` collects the items that ran."""
    with make_pair() as (ours, theirs):
        lockstep = Lockstep(ours, theirs, seed, tamper)
        last = None
        try:
            for batch in stream.Stream(seed, big=is_big(seed)).batches(commands):
                if done is not None:
                    done.extend(batch)
                last = batch[-1]
                lockstep.batch(batch)
            lockstep.compare_contents(last)
            return lockstep.number
        finally:
            lockstep.close()


def report(divergence, seed, commands):
    return "\n".join([
        f"The servers diverge: {divergence.problem}",
        f"  seed {seed}, command {divergence.number}, connection {divergence.item.connection}",
        f"  command: {describe(divergence.command)}",
        f"  ours:    {describe(divergence.ours)}",
        f"  theirs:  {describe(divergence.theirs)}",
        f"  the last commands:\n{last_commands(divergence)}",
        f"  repeat:  pytest test/wire/differential --seed {seed} --commands {commands}",
    ])


def shortened(done, seed):
    items, divergence = shrink.shrink(done, pair, seed)
    if not items:
        return "  It does not repeat on fresh servers."
    lines = [f"  Shortened to {len(items)} items: {divergence.problem}", *(f"    {item!r}" for item in items[:200]),
             f"    ours:    {describe(divergence.ours)}", f"    theirs:  {describe(divergence.theirs)}"]
    return "\n".join(lines)


def test_same_replies_and_contents(seed, commands, request):
    done = []
    try:
        assert run(seed, commands, done=done) >= commands
    except Divergence as divergence:
        text = report(divergence, seed, commands)
        if not request.config.getoption("--no-shrink"):
            text += "\n" + shortened(done, seed)
        pytest.fail(text, pytrace=False)
