"""The server as a process: its configuration, sockets, signals, addresses, and the admin socket."""

import os
import pathlib
import re
import resource
import signal
import stat
import subprocess
import threading
import time

import pytest

from support import server as servers
from support.crowd import turns
from support.resp import Client, Closed, encode
from support.threads import await_sleeps

DEBIAN_CONFIG = pathlib.Path("/etc/redis/redis.conf")


def await_true(check, what, seconds=20):
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, what


def refuses(server, source):
    """Whether a connection from `source` is closed without an answer."""
    try:
        with server.connect(source=source) as one:
            one.send(b"PING\r\n")
            return not one.until_close().startswith(b"+PONG")
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    except TimeoutError:
        return False


def answers(server, source):
    with server.connect(source=source) as one:
        return one.call("PING") == ("+", b"PONG")


# Start and end

def test_log_lines_of_the_start(start):
    server = start()
    text = server.output.text()
    for line in (f"PID: {server.pid}", "Server initialized", "Ready to accept connections"):
        assert line in text


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_cleanly(start, sig):
    server = start()
    with server.connect() as idle, server.connect() as busy:
        idle.do("PING")
        busy.sock.sendall(encode(["INCR", "n"]) * 1000)
        assert server.terminate(sig) == 0
    assert not os.path.exists(server.socket)


@pytest.mark.parametrize("words", [["SHUTDOWN"], ["SHUTDOWN", "NOSAVE"], ["SHUTDOWN", "NOW", "FORCE"]])
def test_shutdown(start, words):
    server = start()
    with server.connect() as one:
        one.command(*words)
        assert one.until_close() == b""
    assert server.process.wait(servers.STOP_SECONDS) == 0


def test_sigterm_while_paused(start):
    server = start()
    with server.connect() as one, server.connect() as waiting:
        one.do("CLIENT", "PAUSE", 1000000, "WRITE")
        waiting.command("SET", "k", "v")
        assert server.terminate() == 0


# Configuration

def test_directives_from_file_and_command_line(start):
    config = "# a comment\n\nmaxmemory 100mb\n  MaxMemory-Policy   allkeys-lru\ndatabases 4\ntimeout \"77\"\n" \
             "client-output-buffer-limit normal 1mb 512kb 60\nclient-output-buffer-limit pubsub 2mb 1mb 30\n"
    server = start([("timeout", 88)], config=config)
    with server.connect() as one:
        assert one.do("CONFIG", "GET", "maxmemory")[1] == b"104857600"
        assert one.do("CONFIG", "GET", "maxmemory-policy")[1] == b"allkeys-lru"
        assert one.do("CONFIG", "GET", "timeout")[1] == b"88"
        limits = one.do("CONFIG", "GET", "client-output-buffer-limit")[1]
        assert b"normal 1048576 524288 60" in limits and b"pubsub 2097152 1048576 30" in limits
        assert one.error("SELECT", 4) == "ERR DB index is out of range"


@pytest.mark.parametrize("text,line", [
    ("port 0\nno-such-directive 1\n", 2), ("\n\n\nbogus\n", 4), ("maxmemory abc\n", 1), ("timeout\n", 1),
    ("hz 10\nmaxmemory-policy foo\n", 2), ("databases 0\n", 1), ("save \"\nport 0\n", 1),
])
def test_errors_in_the_file_name_file_and_line(tmp_path, text, line):
    path = tmp_path / "broken.conf"
    path.write_text(text)
    done = subprocess.run([servers.larder_binary(), str(path)], cwd=tmp_path, capture_output=True, text=True,
                          timeout=60)
    output = done.stdout + done.stderr
    assert done.returncode not in (0, None) and done.returncode > 0
    assert "broken.conf" in output
    assert re.search(rf"(line |:){line}\b", output), output
    if line == 4 or "no-such" in text:
        assert text.splitlines()[line - 1].split()[0] in output


def test_errors_on_the_command_line(tmp_path):
    done = subprocess.run([servers.larder_binary(), "--no-such-directive", "1"], cwd=tmp_path, capture_output=True,
                          text=True,
                          timeout=60)
    assert done.returncode > 0
    assert "no-such-directive" in done.stdout + done.stderr


def test_a_missing_file(tmp_path):
    done = subprocess.run([servers.larder_binary(), "missing.conf"], cwd=tmp_path, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode > 0
    assert "missing.conf" in done.stdout + done.stderr


def test_include(start, tmp_path):
    (tmp_path / "more.conf").write_text("timeout 66\n")
    server = start(config=f"include {tmp_path}/more.conf\n")
    with server.connect() as one:
        assert one.do("CONFIG", "GET", "timeout")[1] == b"66"


def test_the_configuration_file_of_debians_package(start):
    """As it is, apart from what names places and ports that a test may not use."""
    text = DEBIAN_CONFIG.read_text()
    server = start([("daemonize", "no"), ("supervised", "no"), ("logfile", ""), ("pidfile", "pid")], config=text)
    with server.connect() as one:
        assert one.do("PING") == b"PONG"
        assert one.do("CONFIG", "GET", "tcp-keepalive")[1] == b"300"


def test_directives_without_meaning_are_accepted_and_logged(start):
    given = ["rdbchecksum yes", "io-threads 4", "jemalloc-bg-thread yes", "activerehashing yes", "disable-thp yes",
             "always-show-logo no", "dynamic-hz yes", "list-compress-depth 0"]
    server = start(config="\n".join(given) + "\n")
    text = server.output.text()
    assert "activerehashing" in text or "io-threads" in text
    with server.connect() as one:
        assert one.do("PING") == b"PONG"


def test_rewrite_keeps_the_file_and_changes_values(start):
    server = start(config="# first comment\ntimeout 5\nmaxmemory 100mb\n")
    with server.connect() as one:
        one.do("CONFIG", "SET", "timeout", "9")
        one.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
        assert one.do("CONFIG", "REWRITE") == b"OK"
    text = (server.dir / "server.conf").read_text()
    assert "# first comment" in text and "timeout 9" in text and "maxmemory-policy allkeys-lfu" in text
    assert "timeout 5" not in text


def test_logfile_and_pidfile(start, tmp_path):
    log, pid = tmp_path / "log", tmp_path / "pid"
    log.touch()
    server = servers.larder([("logfile", log), ("pidfile", pid), ("daemonize", "yes")], tcp=False)
    argv = server._command_line()
    try:
        assert subprocess.run(argv, cwd=server.dir, timeout=60).returncode == 0
        await_true(lambda: "Ready to accept connections" in log.read_text(), "the log never said that it was ready")
        number = int(pid.read_text())
        with Client(server.socket) as one:
            assert one.info("server")["process_id"] == str(number)
            one.command("SHUTDOWN", "NOSAVE")
            one.until_close()
        await_true(lambda: not pid.exists(), "the pid file stays")
    finally:
        if pid.exists():
            os.kill(int(pid.read_text()), signal.SIGKILL)


def test_unix_socket_and_its_mode(start):
    server = start([("unixsocketperm", "700")], tcp=True)
    assert stat.S_IMODE(os.stat(server.socket).st_mode) == 0o700
    with server.connect(unix=True) as one:
        assert one.do("PING") == b"PONG"


def test_only_a_unix_socket(start):
    server = start([("port", 0)], tcp=False)
    with server.connect() as one:
        assert one.do("PING") == b"PONG"


def test_a_port_in_use_is_an_error(start, tmp_path):
    server = start()
    done = subprocess.run([servers.larder_binary(), "--port", str(server.port), "--dir", str(tmp_path)],
                          capture_output=True,
                          text=True, timeout=60, cwd=tmp_path)
    assert done.returncode > 0
    assert "in use" in done.stdout + done.stderr


# Addresses

def reachable(server, host):
    try:
        with Client((host, server.port)) as one:
            return one.call("PING") == ("+", b"PONG")
    except (ConnectionRefusedError, Closed):
        return False


def test_several_addresses(start):
    server = start([("bind", "127.0.0.1", "127.0.0.2")])
    assert [reachable(server, host) for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3")] == [True, True, False]


def test_addresses_changed_while_running(start):
    server = start([("bind", "127.0.0.1")])
    with server.connect(unix=True) as boss, server.connect() as old:
        old.do("PING")
        assert boss.do("CONFIG", "SET", "bind", "127.0.0.2 127.0.0.3") == b"OK"
        assert [reachable(server, f"127.0.0.{at}") for at in (1, 2, 3)] == [False, True, True]
        assert old.do("PING") == b"PONG"
        assert boss.error("CONFIG", "SET", "bind", "192.0.2.1").startswith("ERR CONFIG SET failed")
        assert [reachable(server, f"127.0.0.{at}") for at in (1, 2, 3)] == [False, True, True]
        boss.do("CONFIG", "SET", "bind", "127.0.0.1")
        assert [reachable(server, f"127.0.0.{at}") for at in (1, 2, 3)] == [True, False, False]


def test_ports_changed_beside_connects(start):
    """Descriptors of listeners that go are used again by connections at once; each must be answered all the same."""
    server = start([("threads", 4)])
    ports = [servers.free_port() for _ in range(4)]
    stop = threading.Event()
    failures = []

    def knock():
        try:
            while not stop.is_set():
                kept = [Client(server.socket, timeout=5) for _ in range(4)]
                for one in kept:
                    assert one.do("PING") == b"PONG"
                    one.close()
        except Exception as failure:  # noqa: BLE001 - whatever it is, the test has to see it
            failures.append(repr(failure))

    crowd = [threading.Thread(target=knock) for _ in range(4)]
    with server.connect(unix=True) as boss:
        for one in crowd:
            one.start()
        try:
            for at in range(turns(1000)):
                if at % 2:  # some taken away, some kept, the same one given up and wanted again
                    boss.call("CONFIG", "SET", "bind", " ".join(f"127.0.0.{1 + (at + k) % 5}" for k in range(3)))
                else:
                    boss.call("CONFIG", "SET", "port", ports[at // 2 % 4])
                if failures:
                    break
        finally:
            stop.set()
            for one in crowd:
                one.join()
        assert not failures, failures
        assert boss.do("CONFIG", "SET", "port", server.port, "bind", "127.0.0.1") == b"OK"
    with server.connect() as one:
        assert one.do("PING") == b"PONG"


def test_addresses_given_up_are_free_at_once(start):
    server = start()
    with server.connect(unix=True) as boss:
        for _ in range(turns(200)):
            assert boss.do("CONFIG", "SET", "bind", "127.0.0.2") == b"OK"
            assert not reachable(server, "127.0.0.1")
            assert boss.do("CONFIG", "SET", "bind", "127.0.0.1") == b"OK"
            assert reachable(server, "127.0.0.1")


def open_files(server):
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def test_listeners_given_up_are_closed(start):
    server = start([("threads", 3), ("bind", "127.0.0.1")])
    with server.connect(unix=True) as boss:
        boss.do("PING")
        before = open_files(server)
        for _ in range(20):
            boss.do("CONFIG", "SET", "bind", "127.0.0.1 127.0.0.2 127.0.0.3")
            boss.do("CONFIG", "SET", "bind", "127.0.0.1")
        await_true(lambda: open_files(server) == before, "listeners left open")


def test_out_of_files(start):
    """New connections wait, without a busy loop, until a file is free."""
    server = start([("threads", 2)])
    with server.connect() as boss:
        boss.do("PING")
        limit = open_files(server) + 3
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit, 1000))
        crowd = [server.connect() for _ in range(6)]
        assert server.output.wait_for("Error accepting a client connection", 20)
        for worker in ("worker-0", "worker-1"):
            await_sleeps(server.pid, worker)
        assert server.output.text().count("Error accepting") == 1
        for one in crowd:  # in the order in which they came: each that goes lets another one in
            assert one.do("PING") == b"PONG"
            one.close()
        assert boss.do("PING") == b"PONG"


def test_maxclients_within_the_limit_on_files(start):
    server = start([("maxclients", 50)])
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (200, 400))
    with server.connect() as one:
        assert one.do("CONFIG", "SET", "maxclients", 300) == b"OK"
        assert resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[0] == 364
        assert one.error("CONFIG", "SET", "maxclients", 5000) == (
            "ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating system is not able to "
            "handle the specified number of clients, try with 336")
        assert one.do("CONFIG", "GET", "maxclients") == [b"maxclients", b"300"]
        assert one.do("CONFIG", "SET", "maxclients", 336) == b"OK"


def test_allow_from_refuses_others(start):
    server = start([("allow-from", "127.0.0.2/32", "127.0.1.0/24"), ("protected-mode", "no")])
    assert refuses(server, "127.0.0.1") and refuses(server, "127.0.0.3") and refuses(server, "127.0.2.1")
    assert answers(server, "127.0.0.2") and answers(server, "127.0.1.77")
    with server.connect(unix=True) as exempt:
        assert exempt.do("PING") == b"PONG"


def test_allow_from_cuts_live_connections_when_it_changes(start):
    server = start([("protected-mode", "no")])
    with server.connect(unix=True) as boss:
        kept = [server.connect(source=f"127.0.0.{at}") for at in (2, 3)]
        cut = [server.connect(source=f"127.0.0.{at}") for at in (4, 5)]
        for one in kept + cut:
            one.do("PING")
        assert boss.do("CONFIG", "SET", "allow-from", "127.0.0.2/31") == b"OK"
        for one in cut:
            assert one.until_close() == b""
        for one in kept:
            assert one.do("PING") == b"PONG"
        assert refuses(server, "127.0.0.4")
        assert boss.do("CONFIG", "SET", "allow-from", "") == b"OK"
        assert answers(server, "127.0.0.4")
        for bad in ("127.0.0.1/33", "abc", "127.0.0/8", "127.0.0.1/-1"):
            assert boss.error("CONFIG", "SET", "allow-from", bad).startswith("ERR CONFIG SET failed")


def test_access_changed_beside_connects(start):
    server = start([("threads", 4), ("protected-mode", "no")])
    stop = threading.Event()

    def knock():
        while not stop.is_set():
            try:
                with Client(server.address, timeout=20) as one:
                    one.call("PING")
            except (Closed, OSError) as failure:
                assert not isinstance(failure, TimeoutError)

    crowd = [threading.Thread(target=knock) for _ in range(3)]
    with server.connect(unix=True) as boss:
        for one in crowd:
            one.start()
        for at in range(turns(300)):
            boss.do("CONFIG", "SET", "requirepass", ["", "secret"][at % 2], "allow-from", ["", "127.0.0.2"][at // 2 % 2])
        stop.set()
        for one in crowd:
            one.join()
        assert boss.do("CONFIG", "SET", "requirepass", "", "allow-from", "") == b"OK"
    with server.connect() as one:
        assert one.do("PING") == b"PONG"


# The admin socket

@pytest.fixture
def administered(start, tmp_path):
    server = start([("admin-socket", tmp_path / "admin"), ("maxclients", 4), ("requirepass", "secret"),
                    ("threads", 2), ("allow-from", "127.0.0.1/32")])
    server.admin = str(tmp_path / "admin")
    return server


def admin(server):
    return Client(server.admin)


def test_admin_socket_is_private(administered):
    assert stat.S_IMODE(os.stat(administered.admin).st_mode) == 0o600


def test_admin_socket_answers_whatever_happens(administered):
    clients = [administered.connect() for _ in range(4)]
    for one in clients:
        one.do("AUTH", "secret")
    with administered.connect() as refused:
        assert refused.until_close().startswith(b"-ERR max number of clients")
    with admin(administered) as one:
        assert one.do("PING") == b"PONG"
        clients[0].do("CLIENT", "PAUSE", 1000000, "ALL")
        clients[1].command("GET", "k")
        assert one.do("PING") == b"PONG"
        assert "uptime_in_seconds" in one.info("server")
        assert one.do("CLIENT", "UNPAUSE") == b"OK"
        assert clients[1].reply()[0] == "$"
        for sleeper in clients:
            sleeper.command("DEBUG", "SLEEP", "2")
        for _ in range(5):
            assert one.do("PING") == b"PONG"
            with admin(administered) as another:
                assert another.do("PING") == b"PONG"
        assert not clients[0].has_reply(0), "the admin socket waited for DEBUG SLEEP"
        for sleeper in clients:
            assert sleeper.reply() == ("+", b"OK")


def test_admin_socket_is_gone_after_the_end(administered):
    assert administered.terminate() == 0
    assert not os.path.exists(administered.admin)


# Threads and INFO

@pytest.mark.parametrize("threads", [1, 2, 4, 16])
def test_threads(start, threads):
    server = start([("threads", threads)])
    clients = [server.connect() for _ in range(threads * 3)]
    for one in clients:
        assert one.do("INCR", "n")
    assert clients[0].do("GET", "n") == b"%d" % len(clients)


def test_info_fields(shared):
    wanted = {
        "server": "redis_version redis_mode os arch_bits process_id run_id tcp_port uptime_in_seconds uptime_in_days "
                  "hz executable config_file",
        "clients": "connected_clients maxclients blocked_clients",
        "memory": "used_memory used_memory_human used_memory_rss used_memory_peak maxmemory maxmemory_policy "
                  "mem_fragmentation_ratio mem_allocator total_system_memory",
        "persistence": "loading rdb_changes_since_last_save rdb_last_save_time aof_enabled",
        "stats": "total_connections_received total_commands_processed instantaneous_ops_per_sec total_net_input_bytes "
                 "total_net_output_bytes rejected_connections expired_keys evicted_keys keyspace_hits keyspace_misses",
        "replication": "role connected_slaves master_replid master_repl_offset",
        "cpu": "used_cpu_sys used_cpu_user",
        "cluster": "cluster_enabled",
    }
    with shared.connect() as one:
        whole = one.info()
        for section, fields in wanted.items():
            part = one.info(section)
            for field in fields.split():
                assert field in part and field in whole, f"{section}: {field}"
        one.pipeline([["FLUSHALL"], ["SET", "a", "1"], ["SET", "b", "1", "EX", "1000"]])
        assert one.info("keyspace")["db0"].startswith("keys=2,expires=1,avg_ttl=")
        assert "cmdstat_set" in one.info("commandstats")
        assert list(one.info("nosuch")) == []


def test_counters_and_resetstat(shared):
    with shared.connect() as one:
        one.do("CONFIG", "RESETSTAT")
        one.pipeline([["FLUSHALL"], ["SET", "a", "1"], ["GET", "a"], ["GET", "a"], ["GET", "none"]])
        stats = one.info("stats")
        assert (stats["keyspace_hits"], stats["keyspace_misses"]) == ("2", "1")
        one.do("CONFIG", "RESETSTAT")
        assert one.info("stats")["keyspace_hits"] == "0"


def test_debug_is_off_unless_enabled(start):
    server = start([("enable-debug-command", "no")])
    with server.connect() as one:
        assert one.error("DEBUG", "SLEEP", "0").startswith("ERR DEBUG command not allowed.")


def test_debug_jmap_is_there(shared):
    with shared.connect() as one:
        assert one.call("DEBUG", "JMAP")[0] in "+$"


def test_setinfo_and_no_touch(shared):
    with shared.connect() as one:
        assert one.do("CLIENT", "SETINFO", "LIB-NAME", "larder-test") == b"OK"
        assert one.do("CLIENT", "SETINFO", "lib-ver", "1.2") == b"OK"
        assert b"lib-name=larder-test lib-ver=1.2" in one.do("CLIENT", "INFO")
        assert one.error("CLIENT", "SETINFO", "lib-name", "a b").startswith("ERR lib-name cannot contain spaces")
        assert one.error("CLIENT", "SETINFO", "foo", "x") == "ERR Unrecognized option 'foo'"
        assert one.do("CLIENT", "NO-TOUCH", "on") == b"OK"
        assert one.do("CLIENT", "NO-TOUCH", "off") == b"OK"
        assert one.error("CLIENT", "NO-TOUCH", "x") == "ERR syntax error"
