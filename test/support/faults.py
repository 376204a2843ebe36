"""Disks that fail, fill up, stall or lose power, for one server process: the Python side of faults.c.

    faults = Faults(data)               # what happens below this directory, which is there
    server = servers.larder([("dir", data), ...], env=faults.env())
    faults.fail("fsync", errno.EIO, suffix=".aof")
    faults.full_after(4096, suffix=".rdb")
    faults.clear()

The library is compiled when it is first wanted, into build/test/, under a name made from its content. Rules and
counters live in a file that the server maps, so they change while it runs. Calls are named as in OPS: "write" stands
for every way of writing, "fsync" for fdatasync and sync_file_range too, "fsync_dir" for fsync of a directory.

lose_power() goes further than SIGKILL, which loses nothing that was written: it cuts every file to what was synced.
"""

import errno as errors
import fcntl
import hashlib
import mmap
import os
import pathlib
import struct
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE / "faults.c"
BUILT = HERE.parents[1] / "build" / "test"
COMPILE = ["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]

# The layouts are those of struct control, struct rule and struct file in faults.c.
OPS = ("fsync", "fsync_dir", "write", "open", "rename", "truncate", "allocate", "unlink")
HOLD, KILL = 1, 2
MAGIC, RULES, FILES = 0x4c464c31, 16, 1024
HEADER = struct.Struct(f"@4I{len(OPS)}Q256s")
RULE = struct.Struct("@IIiIQqqqQ256s120s")
FILE = struct.Struct("@4Q")
RULES_AT = HEADER.size
FILES_AT = RULES_AT + RULES * RULE.size
SIZE = FILES_AT + FILES * FILE.size
HITS_AT = RULE.size - 256 - 120 - 8


def library():
    """The path of the compiled library."""
    source = SOURCE.read_bytes()
    name = hashlib.sha256(source + " ".join(COMPILE).encode()).hexdigest()[:16]
    path = BUILT / f"faults-{name}.so"
    if not path.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        with open(BUILT / "faults.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                fresh = path.with_suffix(".new")
                subprocess.run([*COMPILE, "-o", str(fresh), str(SOURCE), "-ldl"], check=True)
                os.replace(fresh, path)
    return str(path)


class Rule:
    """One thing that goes wrong, until it is cleared."""

    def __init__(self, faults, slot):
        self.faults = faults
        self.at = RULES_AT + slot * RULE.size
        self.slot = slot

    @property
    def hits(self):
        """How many calls it has struck; it starts again with the rule that takes its place."""
        return struct.unpack_from("@Q", self.faults.map, self.at + HITS_AT)[0]

    def await_hit(self, hits=1, seconds=20):
        end = time.monotonic() + seconds
        while self.hits < hits:
            assert time.monotonic() < end, f"only {self.hits} of {hits} calls came"
            time.sleep(0.002)

    def clear(self):
        struct.pack_into("@I", self.faults.map, self.at, 0)
        self.faults.used.discard(self.slot)
        self.faults._publish()


class Faults:
    """Rules for the process, and its children, that are started with env(), about files below `directory`. With
    track=True calls are counted, and lose_power() is possible."""

    def __init__(self, directory, track=False):
        self.directory = os.path.realpath(directory)
        # Beside the directory, not in it: a server may list what is in its own.
        self.path = self.directory + ".faults"
        with open(self.path, "w+b") as f:
            f.truncate(SIZE)
            self.map = mmap.mmap(f.fileno(), SIZE)
        self.used = set()
        self.track = track
        HEADER.pack_into(self.map, 0, MAGIC, 0, int(track), 0, *[0] * len(OPS), self.directory.encode())

    def env(self, **more):
        """The environment of the server. A sanitizer's runtime that is linked statically, as clang's is, gets along."""
        preload = [library()] + [word for word in os.environ.get("LD_PRELOAD", "").split(":") if word]
        return dict(LD_PRELOAD=":".join(preload), LARDER_FAULTS=self.path, **more)

    def close(self):
        self.clear()
        pathlib.Path(self.path).unlink(missing_ok=True)

    # Rules

    def _publish(self):
        ops = 0
        for slot in self.used:
            ops |= struct.unpack_from("@II", self.map, RULES_AT + slot * RULE.size)[1]
        struct.pack_into("@I", self.map, 4, ops)

    def _add(self, ops, error=0, flags=0, sleep=0.0, skip=0, times=None, size=None, suffix="", pattern=None):
        mask = 0
        for op in [ops] if isinstance(ops, str) else ops:
            mask |= 1 << OPS.index(op)
        free = [slot for slot in range(RULES) if slot not in self.used]
        assert free, f"more than {RULES} rules at once"
        rule = Rule(self, free[0])
        wanted = (pattern or "*" + suffix).encode()
        assert len(wanted) < 120 and len(self.directory) < 256
        # A rule becomes active last, when all of it can be seen.
        RULE.pack_into(self.map, rule.at, 0, mask, error, flags, int(sleep * 1e6), skip,
                       -1 if times is None else times, -1 if size is None else size, 0, self.directory.encode(), wanted)
        struct.pack_into("@I", self.map, rule.at, 1)
        self.used.add(rule.slot)
        self._publish()
        return rule

    def fail(self, ops, error=errors.EIO, times=None, after=0, suffix="", pattern=None):
        """Calls fail with `error`, the first `after` of them excepted, and at most `times`. Files are chosen by the
        last part of their path: its suffix, or a shell pattern."""
        return self._add(ops, error, skip=after, times=times, suffix=suffix, pattern=pattern)

    def full_after(self, size, error=errors.ENOSPC, suffix="", pattern=None):
        """The disk takes that many more bytes; the write that crosses the limit is short, later ones fail."""
        return self._add(("write", "allocate"), error, size=size, suffix=suffix, pattern=pattern)

    def slow(self, ops, seconds, times=None, after=0, suffix="", pattern=None):
        """Calls take that much longer."""
        return self._add(ops, sleep=seconds, skip=after, times=times, suffix=suffix, pattern=pattern)

    def hold(self, ops, times=None, after=0, suffix="", pattern=None):
        """Calls do not return before the rule is cleared; then they are made as usual."""
        return self._add(ops, flags=HOLD, skip=after, times=times, suffix=suffix, pattern=pattern)

    def kill_at(self, ops, after=0, suffix="", pattern=None):
        """The process that makes the call after the first `after` ones is killed instead of it."""
        return self._add(ops, flags=KILL, skip=after, suffix=suffix, pattern=pattern)

    def kill_after_bytes(self, size, suffix="", pattern=None):
        """The process is killed in the middle of a write: once exactly that many more bytes are written."""
        return self._add("write", flags=KILL, size=size, suffix=suffix, pattern=pattern)

    def clear(self):
        for slot in list(self.used):
            Rule(self, slot).clear()

    # What happened (track=True)

    def calls(self, op):
        """How many such calls were made below the directory."""
        return struct.unpack_from("@Q", self.map, 16 + 8 * OPS.index(op))[0]

    def synced(self):
        """{path: how many of its bytes are safe} for the files below the directory that were written."""
        lost = struct.unpack_from("@I", self.map, 12)[0]
        assert lost == 0, f"more than {FILES} files: {lost} writes or syncs were not followed"
        safe = {}
        for i in range(FILES):
            inode, device, size, _ = FILE.unpack_from(self.map, FILES_AT + i * FILE.size)
            if inode:
                safe[(device, inode)] = size
        found = {}
        for folder, _, names in os.walk(self.directory):
            for name in names:
                path = os.path.join(folder, name)
                status = os.lstat(path)
                if (status.st_dev, status.st_ino) in safe:
                    found[path] = min(safe[(status.st_dev, status.st_ino)], status.st_size)
        return found

    def lose_power(self, keep=None):
        """Cuts every file to its safe size, and forgets what it knew, as if the machine came up again; the server has
        to be dead. `keep(path, safe, size)` may say that more than the safe part has reached the disk: how much of the
        file is left. Returns {path: bytes that were lost}."""
        assert self.track, "nothing was tracked"
        lost = {}
        for path, safe in self.synced().items():
            size = os.path.getsize(path)
            left = safe if keep is None else min(size, max(safe, keep(path, safe, size)))
            if left < size:
                os.truncate(path, left)
                lost[path] = size - left
        self.map[FILES_AT:SIZE] = bytes(SIZE - FILES_AT)
        return lost
