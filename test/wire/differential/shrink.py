"""Makes a diverging stream short: first its beginning and its end are cut, then parts of the middle (ddmin).

Every trial runs on a fresh pair of servers, so what remains repeats from nothing. The time is bounded; what was reached
by then is still a diverging stream.
"""

import itertools
import time

from differential.lockstep import Divergence, Lockstep


def regroup(items):
    """Items back into batches: neighbours on one connection share a pipeline, except those that must be alone."""
    batches = []
    for item in items:
        last = batches[-1] if batches else None
        if last and last[-1].connection == item.connection and not last[-1].alone() and not item.alone():
            last.append(item)
        else:
            batches.append([item])
    return batches


def diverges(items, pair, seed):
    """The divergence that these items lead to, or None. `pair()` is a context manager that yields fresh servers."""
    try:
        with pair() as (ours, theirs):
            lockstep = Lockstep(ours, theirs, seed)
            try:
                lockstep.run(regroup(items))
                lockstep.compare_contents(items[-1])
            finally:
                lockstep.close()
    except Divergence as divergence:
        return divergence
    except AssertionError:
        # A server that ended badly without a wrong reply is not what is being looked for.
        return None
    return None


def shrink(items, pair, seed, seconds=90):
    """A short list of items that still diverges, and its divergence; (None, None) if the divergence does not repeat."""
    end = time.monotonic() + seconds
    divergence = diverges(items, pair, seed)
    if not divergence:
        return None, None
    # The end alone often suffices.
    for size in itertools.takewhile(lambda size: size < len(items), (4 ** power for power in itertools.count())):
        found = diverges(items[-size:], pair, seed)
        if found:
            items, divergence = items[-size:], found
            break
        if time.monotonic() > end:
            return items, divergence
    chunk = max(len(items) // 2, 1)
    while True:
        at = 0
        while at < len(items) and time.monotonic() < end:
            shorter = items[:at] + items[at + chunk:]
            found = diverges(shorter, pair, seed) if shorter else None
            if found:
                items, divergence = shorter, found
            else:
                at += chunk
        if chunk == 1 or time.monotonic() >= end:
            return items, divergence
        chunk = max(chunk // 2, 1)
