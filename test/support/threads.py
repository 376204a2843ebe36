"""What the kernel tells of a server's threads."""

import os
import time


def thread_named(pid, name):
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm") as f:
            if f.read().strip() == name:
                return task
    raise AssertionError(f"no thread is named {name}")


def _sleeps(pid, task):
    with open(f"/proc/{pid}/task/{task}/status") as f:
        return int(next(line for line in f if line.startswith("voluntary_ctxt_switches")).split()[1])


def await_sleeps(pid, name, times=3, seconds=20):
    """Waits until that thread has gone to sleep so often: one that spins never does."""
    task = thread_named(pid, name)
    enough, end = _sleeps(pid, task) + times, time.monotonic() + seconds
    while _sleeps(pid, task) < enough:
        assert time.monotonic() < end, f"{name} does not sleep"
        time.sleep(0.01)
