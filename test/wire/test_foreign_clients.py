"""Programs that people use: redis-py, redis-cli, redis-benchmark."""

import subprocess

import pytest
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


@pytest.fixture
def py(shared):
    one = redis.Redis(port=shared.port)
    one.flushall()
    yield one
    one.close()


def test_redis_py_strings_and_bits(py):
    assert py.set("k", "v", px=100000, nx=True) and py.set("k", "w", get=True, keepttl=True) == b"v"
    assert py.pttl("k") > 0 and py.set("k", "z", xx=True, exat=9999999999) and py.expiretime("k") == 9999999999
    assert py.getex("k", persist=True) == b"z" and py.ttl("k") == -1
    assert py.getex("k", pxat=9999999999999) == b"z" and py.pexpiretime("k") == 9999999999999
    assert py.getset("k", "y") == b"z" and py.getdel("k") == b"y" and py.getdel("k") is None
    assert py.msetnx({"a": "ohmytext", "b": "mynewtext"}) and not py.msetnx({"a": 1, "c": 1})
    assert py.lcs("a", "b") == b"mytext" and py.lcs("a", "b", len=True) == 6
    assert py.lcs("a", "b", idx=True, minmatchlen=4, withmatchlen=True) == [
        b"matches", [[[4, 7], [5, 8], 4]], b"len", 6]
    assert py.setrange("s", 2, "xy") == 4 and py.getrange("s", 1, 2) == b"\0x" and py.append("s", "z") == 5
    assert py.substr("s", 2, 3) == b"xy" and py.strlen("s") == 5
    assert (py.incr("n", 5), py.decr("n", 2), py.incrbyfloat("n", 0.25)) == (5, 3, 3.25)
    bits = py.bitfield("bits", default_overflow="SAT")
    assert bits.set("u8", "#1", 250).incrby("u8", "#1", 10).get("u8", 8).execute() == [0, 255, 255]
    assert bits.overflow("FAIL").incrby("u8", "#1", 1).execute() == [None]
    assert (py.bitcount("bits"), py.bitcount("bits", 8, -1, "BIT"), py.bitpos("bits", 1), py.getbit("bits", 9)) == (
        8, 8, 8, 1)
    assert py.bitop("NOT", "not", "bits") == 2 and py.get("not") == b"\xff\0"


def test_redis_py_keys(py):
    py.mset({"a": 1, "b": 2})
    assert py.copy("a", "c") and not py.copy("a", "c") and py.copy("a", "c", destination_db=1, replace=True)
    assert (py.exists("a", "b", "x"), py.touch("a", "x"), py.type("a"), py.unlink("b")) == (2, 1, b"string", 1)
    assert py.rename("c", "d") and py.renamenx("d", "e") and py.move("e", 2) and py.randomkey() == b"a"
    assert py.expire("a", 1000, nx=True) and not py.expire("a", 500, gt=True) and py.expireat("a", 9999999999)
    assert py.persist("a") and py.dbsize() == 1 and py.swapdb(0, 2) and py.keys() == [b"e"]
    assert list(py.scan_iter(match="?", count=1, _type="STRING")) == [b"e"]
    assert py.object("encoding", "e") == b"int" and py.object("idletime", "e") == 0 and py.object("refcount", "e") > 0
    assert py.memory_usage("e", samples=5) > 0 and py.memory_usage("none") is None
    assert py.flushdb(asynchronous=True) and py.flushall(asynchronous=True) and py.dbsize() == 0


def test_redis_py_server(py):
    assert py.client_setname("me") and py.client_getname() == "me" and py.client_info()["name"] == "me"
    assert py.client_id() in [int(one["id"]) for one in py.client_list(_type="normal")]
    assert py.client_list(client_id=[str(py.client_id())])[0]["db"] == "0"
    assert py.client_kill_filter(_id="999999999", skipme=True) == 0
    assert py.client_kill_filter(user="default", addr="192.0.2.1:1", laddr="192.0.2.1:2") == 0
    assert py.client_pause(1, all=False) and py.client_unpause() and py.client_no_evict("on") == b"OK"
    assert py.config_set("timeout", 0, "hz", 10) and py.config_get("timeout", "hz") == {"timeout": "0", "hz": "10"}
    assert py.config_resetstat()
    for section in ("server", "clients", "memory", "persistence", "stats", "replication", "cpu", "commandstats",
                    "cluster", "all", "everything", "default"):
        assert py.info(section), section
    assert py.command_getkeys("MSET", "a", 1, "b", 2) == ["a", "b"] and "client|kill" in map(bytes.decode,
                                                                                             py.command_list())
    assert py.echo("x") == b"x" and py.ping()


def test_redis_py_transactions(py):
    py.set("n", 1)

    def double(pipe):
        n = int(pipe.get("n"))
        pipe.multi()
        pipe.set("n", 2 * n)
    assert py.transaction(double, "n") == [True] and py.get("n") == b"2"
    with py.pipeline() as pipe:
        pipe.watch("n")
        py.incr("n")
        pipe.multi()
        pipe.get("n")
        with pytest.raises(redis.WatchError):
            pipe.execute()
    replies = py.pipeline().set("n", "x").incr("n").execute(raise_on_error=False)
    assert replies[0] is True and isinstance(replies[1], redis.ResponseError)


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
    assert b"3 strings" in cli(shared, "--bigkeys") and b"3 strings" in cli(shared, "--memkeys")
    assert b"tcp_port" in cli(shared, "-3", "INFO", "server") and b"name=" in cli(shared, "-3", "CLIENT", "LIST")
    assert len(cli(shared, "--csv", "--latency", "-i", "0.1").split(b",")) == 4


def test_redis_benchmark(shared):
    for pipeline in ("1", "16"):
        done = subprocess.run(["redis-benchmark", "-p", str(shared.port), "-n", "2000", "-c", "10", "-P", pipeline,
                               "-r", "100", "-q",
                               "-t", "ping,set,get,incr,mset"], capture_output=True, timeout=120, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("requests per second") >= 6 and "rror" not in done.stdout
