"""The command line tool `larder` with a running service (environment LARDERD and LARDER, else build/bin), and, under the
environment that it prints, Debian's own AWS CLI and boto3.

No tool may try any other address than the service's: whatever leaves by HTTP or HTTPS goes through a proxy here, which is
a trap that counts.
"""

import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import threading

import pytest
from support.server import REPORTS, Output

ROOT = pathlib.Path(__file__).resolve().parents[2]
LARDERD = os.environ.get("LARDERD", str(ROOT / "build" / "bin" / "larderd"))
LARDER = os.environ.get("LARDER", str(ROOT / "build" / "bin" / "larder"))
AWS = "/usr/bin/aws"
PYTHON = "/usr/bin/python3"
READY = "larderd serves the API at "
SUFFIX = "cache.larder.internal"
SECONDS = 120

needs_aws = pytest.mark.skipif(not os.access(AWS, os.X_OK), reason="there is no /usr/bin/aws")


# ---- the service and the tool ----------------------------------------------------------------------------------------


class Trap:
    """A proxy that nobody may use: it accepts, keeps what was asked for, and closes."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.caught = []
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(10)
                self.caught.append(peer.recv(4096))

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


def plain_environment(home, **more):
    """What tests do not pick up from whoever runs them: AWS's settings, proxies, a home."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("AWS_", "LARDER_")) and not name.lower().endswith("_proxy")}
    return {**kept, "HOME": str(home), **more}


class Service:
    """A larderd, and `larder` for it."""

    def __init__(self, directory, *options, api="127.0.0.1:0"):
        self.state = directory / "state"
        self.environment = plain_environment(directory)
        argv = [LARDERD, "--state-dir", str(self.state), *options]
        if api:
            argv += ["--api", api]
        self.process = subprocess.Popen(argv, env=self.environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.output = Output(self.process.stdout)
        if not self.output.wait_for(READY, 60):
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"larderd did not start:\n{self.output.text()}")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(60)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        self.output.thread.join()
        text = self.output.text()
        assert status == 0 and not any(report in text for report in REPORTS), text[-8000:]

    def larder(self, *arguments, status=0, **options):
        """Runs the tool; its output. What it says on standard error is in `complaint`."""
        options = {"env": self.environment, "stdin": subprocess.DEVNULL, **options}
        done = subprocess.run([LARDER, "--state-dir", str(self.state), *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=SECONDS, **options)
        self.complaint = done.stderr
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        assert not any(report in done.stderr for report in REPORTS), done.stderr
        return done.stdout

    def json(self, *arguments):
        return json.loads(self.larder(*arguments, "--json"))

    def shell(self, script, env):
        """A shell's output, under what `larder env` prints."""
        tool = f"{shlex.quote(LARDER)} --state-dir {shlex.quote(str(self.state))}"
        done = subprocess.run(["/bin/sh", "-euc", f'eval "$({tool} env)"\n{script}'], env=env, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=SECONDS)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout

    def aws(self, *words):
        return self.shell(" ".join(shlex.quote(word) for word in (AWS, *words)), self.environment)


@pytest.fixture
def service(tmp_path):
    one = Service(tmp_path)
    yield one
    one.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A service with a group of two nodes and a cluster by itself."""
    one = Service(tmp_path_factory.mktemp("a 'quoted' place"))
    one.aws("elasticache", "create-replication-group", "--replication-group-id", "web",
            "--replication-group-description", "for tests", "--engine", "redis", "--num-cache-clusters", "2",
            "--cache-node-type", "cache.t2.micro", "--automatic-failover-enabled")
    one.aws("elasticache", "create-cache-cluster", "--cache-cluster-id", "alone", "--engine", "redis",
            "--num-cache-nodes", "1", "--cache-node-type", "cache.t2.micro")
    one.aws("elasticache", "wait", "replication-group-available", "--replication-group-id", "web")
    one.aws("elasticache", "wait", "cache-cluster-available", "--cache-cluster-id", "alone")
    yield one
    one.stop()


@pytest.fixture
def trap():
    one = Trap()
    yield one
    one.close()
    assert one.caught == []


@pytest.fixture
def trapped(trap, tmp_path):
    """An environment in which HTTPS, and HTTP to other hosts than the service's, lead into the trap; with settings that point
    elsewhere, as a user of AWS may have them."""
    home = tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    (home / ".aws" / "config").write_text("[default]\nregion = us-east-1\n[profile work]\nregion = eu-west-1\n")
    (home / ".aws" / "credentials").write_text("[default]\naws_access_key_id = A\naws_secret_access_key = B\n")
    return plain_environment(home, http_proxy=trap.url, https_proxy=trap.url, HTTPS_PROXY=trap.url,
                             AWS_PROFILE="work", AWS_SESSION_TOKEN="T", AWS_REGION="eu-west-1",
                             AWS_ENDPOINT_URL_STS="https://sts.eu-west-1.amazonaws.com")


def endpoints(status, group="web"):
    found = next(g for g in status["replication_groups"] if g["id"] == group)
    return {e["kind"]: e for e in found["endpoints"]}


# ---- env -------------------------------------------------------------------------------------------------------------


@needs_aws
@pytest.mark.parametrize("without", ["", "unset AWS_ENDPOINT_URL", "unset AWS_DATA_PATH"])
def test_the_aws_cli_finds_the_service(service, trapped, without):
    """By either of the two ways: which one works depends on the version of the CLI, so one without the other is only tried
    where it does."""
    version = subprocess.run([AWS, "--version"], env=trapped, capture_output=True, text=True, check=True).stdout
    number = [int(n) for n in re.search(r"aws-cli/([0-9.]+)", version).group(1).split(".")]
    if "DATA_PATH" in without and number < [2, 13]:
        pytest.skip("this CLI does not know AWS_ENDPOINT_URL")
    out = service.shell(f"{without}\n{AWS} sts get-caller-identity\n"
                        f"{AWS} elasticache describe-cache-clusters --output text", trapped)
    assert '"Account": "000000000000"' in out


def test_boto3_goes_nowhere_else(service, trapped):
    """Not even for services that there are not here, or regions of other partitions."""
    script = ("import boto3\n"
              "for name in 'elasticache', 'ec2', 'sts', 'cloudwatch', 'sqs':\n"
              "    for region in 'ap-northeast-2', 'us-east-1', 'us-gov-west-1':\n"
              "        print(boto3.client(name, region_name=region).meta.endpoint_url)\n")
    out = service.shell(f"{PYTHON} -c {shlex.quote(script)}", trapped)
    assert out.splitlines() == [json.loads((service.state / "service.json").read_text())["api_url"]] * 15


def test_boto3_calls_the_service(service, trapped):
    script = ("import boto3\n"
              "print(boto3.client('sts').get_caller_identity()['Account'])\n"
              "print(boto3.client('elasticache').describe_cache_clusters()['CacheClusters'])\n"
              "try:\n    boto3.client('s3').list_buckets()\n"
              "except Exception as failure:\n    print(type(failure).__name__)\n")
    out = service.shell(f"{PYTHON} -c {shlex.quote(script)}", trapped).splitlines()
    assert out[:2] == ["000000000000", "[]"]
    assert out[2] == "ClientError"


def test_the_trap_works(service, trapped, trap):
    """Without `larder env`, the same call goes into it."""
    script = "import boto3; boto3.client('elasticache', region_name='us-east-1').describe_cache_clusters()"
    env = {**trapped, "AWS_MAX_ATTEMPTS": "1", "AWS_EC2_METADATA_DISABLED": "true"}
    del env["AWS_PROFILE"]
    assert subprocess.run([PYTHON, "-c", script], env=env, capture_output=True, timeout=SECONDS).returncode != 0
    assert trap.caught and trap.caught[0].startswith(b"CONNECT elasticache.us-east-1.amazonaws.com:443")
    trap.caught.clear()


def test_env_as_json_says_the_same(shared):
    pairs = shared.json("env")
    assert pairs["AWS_PROFILE"] is None and pairs["AWS_SESSION_TOKEN"] is None
    assert pairs["AWS_DATA_PATH"] == str(shared.state / "aws")
    assert pairs["AWS_EC2_METADATA_DISABLED"] == "true"
    assert pairs["AWS_REGION"] == pairs["AWS_DEFAULT_REGION"] == "ap-northeast-2"
    shown = shared.shell("env -0", {**shared.environment, "AWS_PROFILE": "x"}).split("\0")
    shown = dict(pair.split("=", 1) for pair in shown if pair)
    assert {name: shown.get(name) for name in pairs} == pairs


def test_env_says_when_the_service_does_not_run(tmp_path):
    one = Service(tmp_path)
    one.stop()
    assert "AWS_ENDPOINT_URL" in one.larder("env")
    assert "does not run" in one.complaint


# ---- status ----------------------------------------------------------------------------------------------------------


def test_status_shows_what_there_is(shared):
    status = shared.json("status")
    assert status["service"]["region"] == "ap-northeast-2"
    (web,), (alone,) = status["replication_groups"], status["cache_clusters"]
    assert (web["id"], web["status"], alone["id"], alone["status"]) == ("web", "available", "alone", "available")
    assert sorted((n["cluster_id"], n["role"], n["status"]) for n in web["nodes"]) == [
        ("web-001", "primary", "available"), ("web-002", "replica", "available")]
    assert len({n["zone"] for n in web["nodes"]}) == 2
    for place in [*web["endpoints"], *web["nodes"], *alone["nodes"]]:
        assert place["name"].endswith(SUFFIX) and place["port"] == 6379 and place["lookup"] == "found"
        assert all(address.startswith("127.") for address in place["addresses"]) and place["addresses"]
    table = shared.larder("status")
    for word in ("web-001", "web-002", "primary", "replica", "reader", "alone", web["nodes"][0]["zone"],
                 *(a for e in web["endpoints"] for a in e["addresses"]), *(e["name"] for e in web["endpoints"])):
        assert word in table, table


def test_status_of_nothing(service):
    assert "no replication groups and no clusters" in service.larder("status")
    assert service.json("status")["replication_groups"] == []


def test_status_lists_clusters_in_order(service):
    script = ("import boto3\n"
              "c = boto3.client('elasticache')\n"
              "for i in range(3):\n"
              "    c.create_cache_cluster(CacheClusterId=f'c{i}', Engine='redis', NumCacheNodes=1,\n"
              "                           CacheNodeType='cache.t2.micro')\n"
              "c.get_waiter('cache_cluster_available').wait(CacheClusterId='c2', WaiterConfig={'Delay': 1})\n")
    service.shell(f"{PYTHON} -c {shlex.quote(script)}", service.environment)
    assert [c["id"] for c in service.json("status")["cache_clusters"]] == ["c0", "c1", "c2"]


@pytest.mark.parametrize("api, host", [("127.0.0.5:0", "127.0.0.5"), ("0.0.0.0:0", "127.0.0.1"), ("[::1]:0", "[::1]"),
                                       ("[::]:0", "[::1]")])
def test_wherever_the_api_is_served(tmp_path, api, host):
    if "::" in api and not pathlib.Path("/proc/net/if_inet6").exists():
        pytest.skip("this host has no IPv6")
    one = Service(tmp_path, "--api", api)
    try:
        assert one.json("status")["service"]["api_url"].startswith(f"http://{host}:")
        assert one.json("env")["AWS_ENDPOINT_URL"].startswith(f"http://{host}:")
    finally:
        one.stop()


def test_status_with_addresses_in_place_of_names(tmp_path):
    one = Service(tmp_path, "--addresses")
    try:
        script = ("import boto3\n"
                  "c = boto3.client('elasticache')\n"
                  "c.create_cache_cluster(CacheClusterId='c', Engine='redis', NumCacheNodes=1,\n"
                  "                       CacheNodeType='cache.t2.micro')\n"
                  "c.get_waiter('cache_cluster_available').wait(CacheClusterId='c', WaiterConfig={'Delay': 1})\n")
        one.shell(f"{PYTHON} -c {shlex.quote(script)}", one.environment)
        (node,) = one.json("status")["cache_clusters"][0]["nodes"]
        assert node["addresses"] == [node["name"]]
    finally:
        one.stop()


# ---- run -------------------------------------------------------------------------------------------------------------


def test_run_resolves_names(shared):
    script = ("import socket, sys, json\n"
              "n = sys.argv[1]\n"
              "print(json.dumps([sorted({a[4][0] for a in socket.getaddrinfo(n, 6379)}),\n"
              "    socket.gethostbyname(n.upper() + '.'), socket.gethostbyname_ex(n)[2],\n"
              "    socket.getaddrinfo(n, 'http', type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)[0][3],\n"
              "    socket.getaddrinfo('localhost', 80, socket.AF_INET)[0][4][0]]))\n"
              "for name, family in (('no.' + n, 0), (n, socket.AF_INET6)):\n"
              "    try:\n        print(socket.getaddrinfo(name, 1, family))\n"
              "    except socket.gaierror as failure:\n        print(failure.errno == socket.EAI_NONAME)\n")
    for place in endpoints(shared.json("status")).values():
        lines = shared.larder("run", "--", PYTHON, "-c", script, place["name"]).splitlines()
        addresses, one, all_of_it, canonical, local = json.loads(lines[0])
        assert addresses == all_of_it == [one] == place["addresses"]
        assert canonical == place["name"] and local == "127.0.0.1"
        assert lines[1:] == ["True", "True"]


def test_run_resolves_names_for_old_programs(shared):
    """Those that call gethostbyname and gethostbyname2 themselves."""
    script = ("import ctypes, socket, sys\n"
              "class Host(ctypes.Structure):\n"
              "    _fields_ = [('name', ctypes.c_char_p), ('aliases', ctypes.POINTER(ctypes.c_char_p)),\n"
              "                ('family', ctypes.c_int), ('length', ctypes.c_int),\n"
              "                ('addresses', ctypes.POINTER(ctypes.POINTER(ctypes.c_char * 4)))]\n"
              "c, n = ctypes.CDLL(None), sys.argv[1].encode()\n"
              "for find in c.gethostbyname, lambda name: c.gethostbyname2(name, socket.AF_INET):\n"
              "    c.gethostbyname.restype = c.gethostbyname2.restype = ctypes.POINTER(Host)\n"
              "    h = find(n).contents\n"
              "    print(h.name == n, not h.aliases[0], not h.addresses[1], socket.inet_ntoa(h.addresses[0].contents.raw))\n"
              "    print(bool(find(b'no.' + n)), bool(find(b'localhost')))\n"
              "print(bool(c.gethostbyname2(n, socket.AF_INET6)))\n")
    place = endpoints(shared.json("status"))["primary"]
    out = shared.larder("run", "--", PYTHON, "-c", script, place["name"])
    assert out.splitlines() == [f"True True True {place['addresses'][0]}", "False True"] * 2 + ["False"]


@pytest.mark.skipif(not shutil.which("redis-cli"), reason="there is no redis-cli")
def test_run_with_a_client(shared):
    places = endpoints(shared.json("status"))
    out = shared.larder("run", "redis-cli", "-h", places["primary"]["name"], "set", "k", "v")
    assert out == "OK\n"
    out = shared.larder("run", "--", "redis-cli", "-h", places["reader"]["name"], "role")
    assert out.startswith("slave\n")


def test_run_says_how_the_program_ended(shared):
    shared.larder("run", "--", "/bin/sh", "-c", "exit 7", status=7)
    shared.larder("run", "--", "/no/such/program", status=127)
    assert "/no/such/program: No such file or directory" in shared.complaint
    shared.larder("run", "--", str(shared.state / "service.json"), status=126)
    shared.larder("run", "--", "printf", "%s", "--help", status=0)
    assert "is missing" in (shared.larder("run", status=2), shared.complaint)[1]


def test_run_keeps_what_is_preloaded(shared):
    env = {**shared.environment, "LD_PRELOAD": "libdl.so.2"}
    out = shared.larder("run", "--", "/bin/sh", "-c", "echo $LD_PRELOAD", env=env)
    assert out.strip().endswith("liblarder-names.so:libdl.so.2")


# ---- doctor ----------------------------------------------------------------------------------------------------------


def wrong(findings):
    return [f for f in findings if f["level"] == "wrong"]


def doctor(one, status):
    return json.loads(one.larder("doctor", "--json", status=status))


def test_doctor_of_a_sound_service(shared):
    findings = shared.json("doctor")
    assert wrong(findings) == []
    texts = "\n".join(f["finding"] for f in findings)
    for part in ("the API answers", "the name server answers", "runs, process", "6379", "memory", "state directory"):
        assert part in texts
    assert re.search(r"^0 wrong, \d+ to note$", shared.larder("doctor"), re.M)


def test_doctor_finds_rights_of_others(service):
    (service.state / "credentials").chmod(0o644)
    (found,) = wrong(doctor(service, 1))
    assert "credentials" in found["finding"] and found["advice"].startswith("chmod 600 ")
    (service.state / "credentials").chmod(0o600)
    service.state.chmod(0o755)
    (found,) = wrong(doctor(service, 1))
    assert "state directory" in found["finding"]
    service.state.chmod(0o711)
    assert wrong(doctor(service, 0)) == []


def test_doctor_names_who_holds_a_port(service):
    try:
        holder = socket.create_server(("0.0.0.0", 11211))
    except OSError:
        pytest.skip("somebody else has the port")
    with holder:
        (found,) = wrong(doctor(service, 1))
    assert "11211" in found["finding"] and f"process {os.getpid()} " in found["finding"]
    assert "stop it" in found["advice"]


def test_doctor_without_a_service(tmp_path):
    one = Service(tmp_path)
    one.stop()
    findings = doctor(one, 0)
    assert any("does not run" in f["finding"] for f in findings)
    shutil.rmtree(one.state)
    assert any("No such file" in f["finding"] for f in doctor(one, 0))


def test_doctor_finds_a_service_that_hangs(service):
    service.process.send_signal(signal.SIGSTOP)
    try:
        found = {f["finding"].split(" at ")[0] for f in wrong(doctor(service, 1))}
    finally:
        service.process.send_signal(signal.SIGCONT)
    assert found == {"the API", "the name server"}


def test_doctor_misses_a_program(service, tmp_path):
    for name in ("bin", "lib/larder"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(LARDER, tmp_path / "bin" / "larder")
    shutil.copy("/bin/false", tmp_path / "bin" / "larderd")
    done = subprocess.run([tmp_path / "bin" / "larder", "--state-dir", service.state, "doctor"],
                          env=service.environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 1
    assert "larderd does not run\n" in done.stdout and "larder-server: No such file" in done.stdout


# ---- dns -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def system(tmp_path):
    """A root directory with an /etc."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n# a comment")
    return root


def files_of(root):
    return {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}


def test_dns_in_hosts(shared, system):
    shown = shared.larder("dns", "install", "--root", str(system), "--yes")
    text = (system / "etc" / "hosts").read_text()
    assert text.startswith("127.0.0.1 localhost\n# a comment\n# Written by `larder dns install`")
    for place in endpoints(shared.json("status")).values():
        assert f"\n{place['addresses'][0]} {place['name']}\n" in text
        assert f"+ {place['addresses'][0]} {place['name']}" in shown
    assert "alone." in text
    assert stat.S_IMODE((system / "etc" / "hosts").stat().st_mode) == 0o644
    assert "nothing to change" in shared.larder("dns", "install", "--root", str(system), "--yes")
    with open(system / "etc" / "hosts", "a", encoding="utf-8") as f:
        f.write("127.0.0.2 later\n")
    (system / "etc" / "hosts").write_text((system / "etc" / "hosts").read_text().replace("alone.", "gone."))
    shown = shared.larder("dns", "install", "--root", str(system), "--yes")
    assert "gone." in shown and "later" not in shown and "localhost" not in shown
    shared.larder("dns", "remove", "--root", str(system), "--yes")
    assert files_of(system) == {"etc/hosts": "127.0.0.1 localhost\n# a comment\n127.0.0.2 later\n"}
    assert "nothing to change" in shared.larder("dns", "remove", "--root", str(system), "--yes")


@pytest.mark.parametrize("answer, done", [("y\n", True), ("n\n", False), ("\n", False), ("", False)])
def test_dns_asks(shared, system, answer, done):
    before = files_of(system)
    shared.larder("dns", "install", "--root", str(system), status=0 if done else 1, stdin=None, input=answer)
    assert (files_of(system) != before) == done
    assert ("nothing was changed" in shared.complaint) != done


def test_dns_takes_what_the_system_resolves_with(shared, system):
    place = json.loads((shared.state / "service.json").read_text())["dns_address"]
    (system / "run/systemd/resolve").mkdir(parents=True)
    (system / "etc/resolv.conf").write_text("search x\nnameserver 127.0.0.53\n")
    hosts = (system / "etc/hosts").read_text()
    shown = shared.larder("dns", "install", "--root", str(system), "--yes")
    assert "systemctl try-reload-or-restart systemd-resolved" in shown
    text = (system / "etc/systemd/resolved.conf.d/larder.conf").read_text()
    assert f"\n[Resolve]\nDNS={place}\nDomains=~{SUFFIX}\n" in text
    assert (system / "etc/hosts").read_text() == hosts

    for path in ("usr/sbin", "etc/dnsmasq.d"):
        (system / path).mkdir(parents=True)
    (system / "usr/sbin/dnsmasq").touch()
    (system / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
    shared.larder("dns", "install", "--root", str(system), "--yes")
    text = (system / "etc/dnsmasq.d/larder.conf").read_text()
    assert f"\nserver=/{SUFFIX}/{place.replace(':', '#')}\n" in text
    shown = shared.larder("dns", "remove", "--root", str(system), "--yes")
    assert "resolved.conf.d/larder.conf (is removed)" in shown and "dnsmasq.d/larder.conf (is removed)" in shown
    assert not [name for name in files_of(system) if name.endswith("larder.conf")]


def test_dns_leaves_what_others_wrote(shared, system):
    (system / "etc/dnsmasq.d").mkdir()
    (system / "etc/dnsmasq.d/larder.conf").write_text("server=1.1.1.1\n")
    shared.larder("dns", "install", "--root", str(system), "--yes", "--method", "dnsmasq", status=1)
    assert "was not written by larder" in shared.complaint
    shared.larder("dns", "remove", "--root", str(system), "--yes", status=1)
    (system / "etc/dnsmasq.d/larder.conf").unlink()
    with open(system / "etc/hosts", "a", encoding="utf-8") as f:
        f.write("\n# Written by `larder dns install`; `larder dns remove` removes it.\n1.2.3.4 x\n")
    before = files_of(system)
    shared.larder("dns", "remove", "--root", str(system), "--yes", status=1)
    assert "has no end" in shared.complaint and files_of(system) == before


def test_dns_follows_links(shared, system):
    (system / "etc/hosts").rename(system / "etc/hosts.real")
    (system / "etc/hosts").symlink_to("hosts.real")
    shared.larder("dns", "install", "--root", str(system), "--yes")
    assert (system / "etc/hosts").is_symlink() and "web." in (system / "etc/hosts.real").read_text()


# ---- backup and rotate-key -------------------------------------------------------------------------------------------


def test_a_backup_can_be_restored(shared, tmp_path):
    copy = tmp_path / "copy.db"
    assert str(copy) in shared.larder("backup", str(copy))
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert not [p for p in shared.state.iterdir() if "backup" in p.name]
    shared.larder("backup", str(copy), status=1)
    assert "--force" in shared.complaint
    shared.larder("backup", "copy.db", "--force", cwd=tmp_path)

    other = tmp_path / "other"
    (other / "state").mkdir(parents=True, mode=0o700)
    shutil.copy(copy, other / "state" / "state.db")
    shutil.copy(shared.state / "secret.key", other / "state")
    one = Service(other, "--loopback", "127.32.0.0/11")
    try:
        assert [g["id"] for g in one.json("status")["replication_groups"]] == ["web"]
        keys = [json.dumps({n: s.json("env")[n] for n in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")})
                for s in (one, shared)]
        assert keys[0] == keys[1]
    finally:
        one.stop()


def test_a_backup_needs_a_place(service, tmp_path):
    service.larder("backup", str(tmp_path / "none" / "copy.db"), status=1)
    assert "cannot be written: No such file or directory" in service.complaint
    service.larder("backup", str(tmp_path), "--force", status=1)
    assert tmp_path.is_dir()


def test_a_key_is_rotated(service):
    call = f"{PYTHON} -c 'import boto3; print(boto3.client(\"sts\").get_caller_identity()[\"Account\"])'"
    before = service.json("env")
    shown = service.larder("rotate-key")
    after = service.json("env")
    assert after["AWS_ACCESS_KEY_ID"] in shown and after["AWS_SECRET_ACCESS_KEY"] not in shown
    assert before["AWS_ACCESS_KEY_ID"] != after["AWS_ACCESS_KEY_ID"]
    assert stat.S_IMODE((service.state / "credentials").stat().st_mode) == 0o600
    assert service.shell(call, service.environment) == "000000000000\n"
    old = {n: v for n, v in before.items() if v is not None}
    done = subprocess.run(["/bin/sh", "-c", call], env={**service.environment, **old}, capture_output=True, text=True,
                          timeout=SECONDS)
    assert done.returncode != 0 and "InvalidClientTokenId" in done.stderr


def test_credentials_are_written_again(tmp_path):
    one = Service(tmp_path)
    before = one.json("env")
    one.stop()
    (one.state / "credentials").unlink()
    one = Service(tmp_path)
    try:
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        assert [one.json("env")[n] for n in names] == [before[n] for n in names]
    finally:
        one.stop()


def test_a_code_is_exchanged_once(service):
    code = service.larder("sign-in").strip()
    exchange = f"""{PYTHON} -c 'if True:
        import boto3, botocore
        unsigned = botocore.config.Config(signature_version=botocore.UNSIGNED)
        print(boto3.client("sts", config=unsigned).assume_role_with_web_identity(
            RoleArn="arn:aws:iam::000000000000:role/console", RoleSessionName="console",
            WebIdentityToken="{code}")["Credentials"]["AccessKeyId"])'"""
    key = service.shell(exchange, service.environment).strip()
    assert key.startswith("ASIA") and key != service.json("env")["AWS_ACCESS_KEY_ID"]
    again = service.shell(f"{exchange} 2>&1 || true", service.environment)
    assert "InvalidIdentityToken" in again and code not in (service.state / "access.log").read_text()


def test_the_access_log_says_who_called_what(service):
    key = service.json("env")["AWS_ACCESS_KEY_ID"]
    service.aws("elasticache", "describe-cache-clusters")
    service.shell(f"AWS_SECRET_ACCESS_KEY=wrong {AWS} elasticache describe-events || true", service.environment)
    lines = (service.state / "access.log").read_text().splitlines()
    good, bad = (re.search(r"(\d+) \d+ \d+ (\S+) (\S+) [0-9a-f-]{36}$", line) for line in lines[-2:])
    assert good.groups() == ("200", "elasticache.DescribeCacheClusters", key)
    assert bad.groups() == ("403", "elasticache.-", "-")


def test_the_api_has_the_same_port_again(tmp_path):
    """Also when a port below has become free."""
    places = [tmp_path / "a", tmp_path / "b"]
    for place in places:
        place.mkdir()
    first, second = (Service(place, api=None) for place in places)
    urls = [one.json("env")["AWS_ENDPOINT_URL"] for one in (first, second)]
    first.stop()
    second.stop()
    second = Service(places[1], api=None)
    try:
        assert second.json("env")["AWS_ENDPOINT_URL"] == urls[1] != urls[0]
    finally:
        second.stop()


# ---- wrong use, and wrong places -------------------------------------------------------------------------------------


@pytest.mark.parametrize("words, complaint", [
    ([], "a command is missing"),
    (["stat"], "there is no command stat"),
    (["--foo", "status"], "there is no option --foo"),
    (["--state-dir"], "--state-dir needs a value"),
    (["status", "--jsn"], "there is no option --jsn"),
    (["status", "--json=yes"], "--json takes no value"),
    (["status", "-j"], "there is no option -j"),
    (["env", "more"], "more is one argument too many"),
    (["backup"], "an argument is missing"),
    (["backup", "a", "b"], "b is one argument too many"),
    (["dns"], "an argument is missing"),
    (["dns", "add"], "install or remove is expected, not add"),
    (["dns", "install", "--root"], "--root needs a value"),
    (["dns", "install", "--method", "bind"], "resolved, dnsmasq or hosts, not bind"),
    (["dns", "remove", "--method", "hosts"], "--method is for install"),
    (["run", "--verbose", "x"], "there is no option --verbose"),
])
def test_wrong_use(tmp_path, words, complaint):
    done = subprocess.run([LARDER, *words], env=plain_environment(tmp_path), cwd=tmp_path, capture_output=True,
                          text=True, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (2, "") and complaint in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_tells_of_everything(tmp_path):
    def ask(*words):
        return subprocess.run([LARDER, *words], env=plain_environment(tmp_path), cwd=tmp_path, check=True,
                              capture_output=True, text=True, timeout=SECONDS).stdout
    text = ask("--help")
    for word in ("env", "status", "doctor", "dns", "run", "backup", "rotate-key", "sign-in"):
        assert f"\n  {word}" in text
        assert ask(word, "--help").startswith(f"usage: larder [--state-dir DIR] {word}")
    assert ask("--version").startswith("larder ")


@pytest.mark.parametrize("command", [["env"], ["status"], ["run", "true"], ["backup", "copy"], ["rotate-key"],
                                     ["sign-in"],                                     ["dns", "install", "--root", "."]])
def test_without_a_state_directory(tmp_path, command):
    done = subprocess.run([LARDER, *command], env=plain_environment(tmp_path), cwd=tmp_path, capture_output=True,
                          text=True, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (1, "") and "var" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_state_directory_from_the_environment(shared):
    env = {**shared.environment, "LARDER_STATE_DIR": str(shared.state)}
    out = subprocess.run([LARDER, "status"], env=env, check=True, capture_output=True, text=True, timeout=SECONDS)
    assert "web-001" in out.stdout


# ---- the control socket, and what is installed -----------------------------------------------------------------------


def ask_control(one, data):
    with socket.socket(socket.AF_UNIX) as s:
        directory = os.open(one.state, os.O_PATH)
        s.settimeout(30)
        s.connect(f"/proc/self/fd/{directory}/control")
        os.close(directory)
        s.sendall(data)
        return json.loads(s.makefile().read())


def test_the_control_socket(service):
    assert stat.S_IMODE((service.state / "control").stat().st_mode) == 0o600
    for data in (b"\n", b"[]\n", b'{"request": 1}\n', b'{"request": "backup"\n', b'{"request": "none"}\n', b"x" * 4096):
        assert ask_control(service, data).keys() == {"error"}
    assert ask_control(service, b'{"request": "backup"}\n') == {}


def test_a_state_directory_with_a_long_path(tmp_path):
    deep = tmp_path / ("d" * 150)
    deep.mkdir()
    one = Service(deep)
    try:
        one.larder("rotate-key")
    finally:
        one.stop()
    assert not (one.state / "control").exists()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
def test_the_unit_is_sound(tmp_path):
    text = (ROOT / "packaging" / "larderd.service").read_text().replace("@PREFIX@", "/usr")
    unit = tmp_path / "larderd.service"
    unit.write_text(text.replace("/usr/bin/larderd", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
