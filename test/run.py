#!/usr/bin/python3
"""Runs stages of the test suite on programs that are already built, and ends with the runners' own closing lines.

    test/run.py STAGE...

    unit:VARIANT         every cmocka program of test/unit
    wire:VARIANT         pytest over test/wire
    concurrency:VARIANT  pytest over test/concurrency
    crash:VARIANT        pytest over test/crash: servers that are killed
    api:VARIANT          pytest over test/api: the service's API, with AWS's own libraries
    system:VARIANT       pytest over test/system: the whole service
    fuzz:SECONDS         every libFuzzer target: its regression inputs once, then SECONDS of fuzzing

pytest is told by its environment what to test: LARDER_SERVER, LARDERD and LARDER are the programs'
paths, LARDER_VARIANT the variant. Sanitizers write their reports to build/test/; any report fails its stage, even
when the program went on and the test did not notice. A failed stage does not keep later ones from running; the exit
status is 0 only when nothing failed.
"""

import collections
import concurrent.futures
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESULTS = "build/test"
UNIT_SECONDS = 300
PYTEST_SECONDS = {"release": 600, "debug": 600, "asan": 900, "tsan": 900}
FUZZ_GRACE_SECONDS = 180

# The sanitizers take their time: fewer commands of the differential test, and under tsan nothing marked slow.
PYTEST_ARGUMENTS = {
    "asan": ["--commands", "40000"],
    "tsan": ["--commands", "16000", "-m", "not slow"],
}

Tally = collections.namedtuple("Tally", "passed failed skipped closing")


def out_dir(variant):
    return "build" if variant == "release" else f"build/{variant}"


# ---- children --------------------------------------------------------------------------------------------------------

_children = set()
_children_lock = threading.Lock()


def kill_group(child):
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def run(argv, env, seconds, on_line=None):
    """Runs a program in a process group of its own; returns (exit status, output). Status None: it took too long."""
    child = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
    with _children_lock:
        _children.add(child)
    late = threading.Event()

    def expire():
        late.set()
        kill_group(child)

    timer = threading.Timer(seconds, expire)
    timer.start()
    lines = []
    try:
        for line in child.stdout:
            lines.append(line)
            if on_line:
                on_line(line)
        status = child.wait()
    finally:
        timer.cancel()
        kill_group(child)
        with _children_lock:
            _children.discard(child)
    return (None if late.is_set() else status), "".join(lines)


def stop(signum, _frame):
    with _children_lock:
        for child in _children:
            kill_group(child)
    os._exit(128 + signum)


def fixed_addresses():
    """The prefix of a command that switches off address randomisation, where the kernel's is too wide for the
    sanitizers of clang 14 (their shadow memory would be in the way), or nothing."""
    try:
        with open("/proc/sys/vm/mmap_rnd_bits") as f:
            wide = int(f.read()) > 28
    except (OSError, ValueError):
        wide = False
    prefix = ["setarch", "-R"]
    if wide and shutil.which("setarch") and subprocess.run(prefix + ["true"], stderr=subprocess.DEVNULL).returncode == 0:
        return prefix
    return []


# ---- sanitizers ------------------------------------------------------------------------------------------------------

def environment(stage, variant):
    """Environment of a stage, and the pattern of its sanitizer reports; earlier reports are removed."""
    env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", LARDER_VARIANT=variant,
               LARDER_SERVER=os.path.join(ROOT, out_dir(variant), "bin/larder-server"),
               LARDERD=os.path.join(ROOT, out_dir(variant), "bin/larderd"),
               LARDER=os.path.join(ROOT, out_dir(variant), "bin/larder"))
    log = os.path.join(ROOT, RESULTS, stage.replace(":", "-") + ".sanitizer")
    for old in glob.glob(log + ".*"):
        os.remove(old)
    if variant in ("asan", "fuzz"):
        # A size chosen by a client may fail: then malloc returns NULL, as in release.
        env["ASAN_OPTIONS"] = "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:" \
                              "allocator_may_return_null=1:handle_abort=1"
        env["UBSAN_OPTIONS"] = "print_stacktrace=1:halt_on_error=1"
    if variant == "asan":
        env["ASAN_OPTIONS"] += f":log_path={log}"
        env["UBSAN_OPTIONS"] += f":log_path={log}"
    if variant == "tsan":
        env["TSAN_OPTIONS"] = f"second_deadlock_stack=1:history_size=4:allocator_may_return_null=1:log_path={log}"
    return env, log + ".*"


def print_reports(pattern):
    reports = sorted(f for f in glob.glob(pattern) if os.path.getsize(f) > 0)
    for name in reports[:5]:
        print(f"---- {os.path.relpath(name, ROOT)}")
        with open(name, errors="replace") as f:
            sys.stdout.write(f.read(20000))
    if len(reports) > 5:
        print(f"---- and {len(reports) - 5} more reports like these: {os.path.relpath(pattern, ROOT)}")
    return len(reports)


# ---- stages ----------------------------------------------------------------------------------------------------------

def cmocka_count(word, output):
    return sum(int(n) for n in re.findall(rf"\[  {word}  \] (\d+) test\(s\)", output))


def stage_unit(stage, variant):
    sources = sorted(glob.glob("test/unit/**/test_*.c", recursive=True))
    if not sources:
        return Tally(0, 0, 0, ["no unit tests"])
    env, reports = environment(stage, variant)
    prefix = fixed_addresses() if variant in ("asan", "tsan") else []
    programs = [os.path.join(out_dir(variant), source[:-2]) for source in sources]
    passed = failed = skipped = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda p: run(prefix + [p], env, UNIT_SECONDS), programs)
        for program, (status, output) in zip(programs, results):
            good, bad = cmocka_count("PASSED", output), cmocka_count("FAILED", output)
            if status != 0 and bad == 0 or status == 0 and good == 0:
                bad += 1
            passed, failed, skipped = passed + good, failed + bad, skipped + cmocka_count("SKIPPED", output)
            if bad:
                print(output, end="")
                how = f"still ran after {UNIT_SECONDS} s" if status is None else f"exit status {status}"
                print(f"FAILED {program}: {how}", flush=True)
            else:
                print(f"[  PASSED  ] {good} test(s). {program}", flush=True)
    if print_reports(reports) and failed == 0:
        failed = 1
    closing = [f"{len(programs)} programs", f"[  PASSED  ] {passed} test(s)."]
    if skipped:
        closing.append(f"[  SKIPPED ] {skipped} test(s).")
    if failed:
        closing.append(f"[  FAILED  ] {failed} test(s).")
    return Tally(passed, failed, skipped, closing)


def stage_pytest(stage, folder, variant):
    if not glob.glob(f"{folder}/**/test_*.py", recursive=True):
        return Tally(0, 0, 0, [f"no tests in {folder}"])
    env, reports = environment(stage, variant)
    if not os.access(env["LARDER_SERVER"], os.X_OK):
        return Tally(0, 1, 0, [f"there is no {env['LARDER_SERVER']}"])
    xml_path = os.path.join(RESULTS, stage.replace(":", "-") + ".xml")
    if os.path.exists(xml_path):
        os.remove(xml_path)
    argv = [sys.executable, "-m", "pytest", folder, "--color=no", "--durations=5", f"--junitxml={xml_path}",
            "-o", "faulthandler_timeout=120"]
    argv += PYTEST_ARGUMENTS.get(variant, [])
    prefix = fixed_addresses() if variant in ("asan", "tsan") else []
    seconds = PYTEST_SECONDS[variant]
    status, output = run(prefix + argv, env, seconds, lambda line: print(line, end="", flush=True))

    passed = failed = skipped = 0
    if os.path.exists(xml_path):
        for suite in xml.etree.ElementTree.parse(xml_path).getroot().iter("testsuite"):
            bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            failed, skipped = failed + bad, skipped + int(suite.get("skipped", 0))
            passed += max(0, int(suite.get("tests", 0)) - bad - int(suite.get("skipped", 0)))
    if status != 0 and failed == 0:
        failed = 1
    found = print_reports(reports)
    if found and failed == 0:
        failed = 1
    lines = [line for line in output.splitlines() if re.match(r"=+ .* in [0-9.]+s.* =+$", line)]
    closing = [folder] + lines[-1:]
    if status is None:
        closing.append(f"still ran after {seconds} s")
    elif status not in (0, 1):
        closing.append(f"pytest: exit status {status}")
    if found:
        closing.append(f"{found} sanitizer reports")
    return Tally(passed, failed, skipped, closing)


def fuzz_folder(kind, target):
    """The folder of inputs for a target, with or without the fuzz_ of its name, or None."""
    for name in (target, target[len("fuzz_"):]):
        folder = f"test/fuzz/{kind}/{name}"
        if os.path.isdir(folder):
            return folder
    return None


def fuzz_one(target, seconds, env):
    program = f"build/fuzz/test/fuzz/targets/{target}"
    found = f"build/fuzz/corpus/{target}"
    artifacts = f"build/fuzz/artifacts/{target}"
    os.makedirs(found, exist_ok=True)
    os.makedirs(artifacts, exist_ok=True)
    common = fixed_addresses() + [program, f"-artifact_prefix={artifacts}/", "-timeout=20", "-rss_limit_mb=2560"]
    seeds = fuzz_folder("corpus", target)
    regression = fuzz_folder("regression", target)
    inputs = sorted(f for f in glob.glob(f"{regression}/*") if os.path.isfile(f)) if regression else []

    if inputs:
        status, output = run(common + inputs, env, FUZZ_GRACE_SECONDS)
        if status != 0:
            return target, False, output, f"{target}: a regression input fails"
    argv = common + [f"-max_total_time={seconds}", "-print_final_stats=1", "-verbosity=1"]
    dictionary = f"test/fuzz/targets/{target}.dict"
    if os.path.exists(dictionary):
        argv.append(f"-dict={dictionary}")
    argv += [found] + [folder for folder in (seeds, regression) if folder]
    status, output = run(argv, env, seconds + FUZZ_GRACE_SECONDS)
    executions = re.findall(r"stat::number_of_executed_units:\s*(\d+)", output)
    if status == 0 and executions and int(executions[-1]) > 0:
        return target, True, output, f"{target}: {executions[-1]} executions in {seconds} s, {len(inputs)} regression " \
                                     "inputs, nothing found"
    how = "hangs" if status is None else f"exit status {status}"
    return target, False, output, f"{target}: FAILED, {how}; inputs are in {artifacts}/, and belong into " \
                                  f"test/fuzz/regression/{target}/"


def stage_fuzz(stage, seconds):
    targets = sorted(os.path.basename(f)[:-2] for f in glob.glob("test/fuzz/targets/fuzz_*.c"))
    if not targets:
        return Tally(0, 0, 0, ["no fuzz targets"])
    env, _ = environment(stage, "fuzz")
    passed, closing = 0, []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for target, good, output, line in pool.map(lambda t: fuzz_one(t, seconds, env), targets):
            if good:
                passed += 1
            else:
                print("".join(output.splitlines(keepends=True)[-200:]), end="")
            print(line, flush=True)
            closing.append(line)
    return Tally(passed, len(targets) - passed, 0, closing)


def run_stage(stage):
    kind, _, what = stage.partition(":")
    if kind == "unit":
        return stage_unit(stage, what)
    if kind in ("wire", "concurrency", "crash", "api", "system"):
        return stage_pytest(stage, f"test/{kind}", what)
    if kind == "fuzz":
        return stage_fuzz(stage, int(what))
    sys.exit(f"{sys.argv[0]}: there is no stage '{stage}'")


def main(stages):
    if not stages:
        sys.exit(__doc__)
    os.chdir(ROOT)
    os.makedirs(RESULTS, exist_ok=True)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, stop)
    tallies = []
    for stage in stages:
        print(f"\n######## {stage}", flush=True)
        start = time.monotonic()
        tally = run_stage(stage)
        tallies.append((stage, tally, time.monotonic() - start))

    print("\n######## all stages")
    for stage, tally, seconds in tallies:
        print(f"{stage} ({seconds:.0f} s): {tally.closing[0]}")
        for line in tally.closing[1:]:
            print(line)
    passed, failed, skipped = (sum(t[1][i] for t in tallies) for i in range(3))
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    sys.exit(0 if failed == 0 and passed > 0 else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
