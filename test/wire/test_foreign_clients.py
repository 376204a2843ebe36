"""Programs that people use: redis-py, redis-cli, redis-benchmark."""

import subprocess

import redis


def test_redis_py(shared):
    for protocol_socket in (False, True):
        kind = {"unix_socket_path": shared.socket} if protocol_socket else {"port": shared.port}
        one = redis.Redis(**kind)
        one.flushall()
        assert one.set("k", "v", ex=1000) and one.get("k") == b"v" and 990 < one.ttl("k") <= 1000
        assert one.set("k", "w", nx=True) is None
        assert one.mset({"a": 1, "b": 2}) and one.mget("a", "b", "c") == [b"1", b"2", None]
        assert one.incrbyfloat("a", 0.5) == 1.5
        assert sorted(one.scan_iter("*")) == [b"a", b"b", b"k"]
        assert one.bitfield("bits").set("u8", 0, 255).get("u4", 0).execute() == [0, 15]
        with one.pipeline() as pipe:
            pipe.watch("a")
            pipe.multi()
            pipe.incr("b").get("b")
            assert pipe.execute() == [3, b"3"]
        info = one.info()
        assert isinstance(info["used_memory"], int) and info["db0"]["keys"] == 4 and info["role"] == "master"
        assert one.client_list() and one.client_id() and one.config_get("maxmemory") == {"maxmemory": "0"}
        assert one.command_count() > 70 and "get" in one.command()
        assert one.role()[0] == b"master" and one.time()[0] > 10 ** 9
        assert one.object("encoding", "a") and one.memory_usage("a") > 0
        one.close()


def cli(shared, *words, stdin=None):
    done = subprocess.run(["redis-cli", "-p", str(shared.port), *words], input=stdin, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_redis_cli(shared):
    cli(shared, "FLUSHALL")
    assert cli(shared, "SET", "k", "v") == b"OK\n"
    assert cli(shared, "-3", "GET", "none") == b"\n"
    assert cli(shared, "-x", "SET", "raw", stdin=b"\x00\r\n") == b"OK\n"
    assert cli(shared, stdin=b"MULTI\nINCR n\nEXEC\n").splitlines() == [b"OK", b"QUEUED", b"1"]
    assert b"errors: 0, replies: 500" in cli(shared, "--pipe", stdin=b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n" * 500)
    assert sorted(cli(shared, "--scan").split()) == [b"k", b"n", b"raw"]
    assert b"redis_version" in cli(shared, "INFO", "server")


def test_redis_benchmark(shared):
    for pipeline in ("1", "16"):
        done = subprocess.run(["redis-benchmark", "-p", str(shared.port), "-n", "2000", "-c", "10", "-P", pipeline,
                               "-r", "100", "-q",
                               "-t", "ping,set,get,incr,mset"], capture_output=True, timeout=120, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("requests per second") >= 6 and "rror" not in done.stdout
