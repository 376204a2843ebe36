"""The service for tests of its API: larderd (environment LARDERD, else build/bin/larderd) on a state directory and a
port of its own, and boto3's clients of it.

Every answer that a client of `Service.client` gets is read a second time, strictly, against botocore's model: each
element must be one that the model has, as often as the model allows and of its type, and what the model requires must
be there. botocore's own parser passes over all of these faults.

    service         a service with a fresh state directory, for one test
    ec2, elasticache, sts   its clients
    start_service   start_service(*options, state=DIRECTORY) runs another one
    shared_service  one service for all tests of a module
    refused         refused(code, function, **arguments): the call must fail with that code; returns the message
"""

import configparser
import datetime
import functools
import os
import pathlib
import re
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions
import pytest
from support.server import REPORTS, Output

ROOT = pathlib.Path(__file__).resolve().parents[2]
REGION = "ap-northeast-2"
VERSIONS = {"ec2": "2016-11-15", "elasticache": "2015-02-02", "sts": "2011-06-15"}
READY = "larderd serves the API at "
START_SECONDS = 60
STOP_SECONDS = 60

# What tests and clients may not pick up from whoever runs them.
for variable in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[variable]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


# ---- answers against the model ---------------------------------------------------------------------------------------


class Faults(AssertionError):
    """An answer does not fit botocore's model."""


# What AWS answers although its model does not have it, and newer members whose elements have other names.
BEYOND_THE_MODEL = {
    "AttachmentStatus=available", "RevokeSecurityGroupEgressResult.RevokedSecurityGroupRuleSet",
    "RevokeSecurityGroupIngressResult.RevokedSecurityGroupRuleSet",
}


def unknown_but_right():
    """What the service answers although this botocore, which may be too old, does not know of it."""
    import test_spec
    return test_spec.NEWER | BEYOND_THE_MODEL


class Checker:
    """Reads one answer by the model of its operation."""

    SCALARS = {
        "boolean": re.compile(r"true|false"),
        "integer": re.compile(r"-?[0-9]+"),
        "long": re.compile(r"-?[0-9]+"),
        "float": re.compile(r"-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?"),
        "double": re.compile(r"-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?"),
        "timestamp": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z"),
    }

    def __init__(self, operation):
        self.operation = operation
        self.ec2 = operation.service_model.metadata["protocol"] == "ec2"
        # What AWS sends ends with a slash, also where the model does not.
        self.namespace = operation.service_model.metadata["xmlNamespace"].rstrip("/") + "/"
        self.newer = unknown_but_right()
        self.faults = []

    def check(self, status, headers, body):
        if not headers.get("x-amzn-requestid"):
            self.faults.append("there is no header x-amzn-RequestId")
        if not headers.get("content-type", "").startswith("text/xml"):
            self.faults.append(f"the type is {headers.get('content-type')}")
        root = ElementTree.fromstring(body)
        if status >= 300:
            self.error(root)
        else:
            self.result(root)
        if self.faults:
            raise Faults(f"{self.operation.name}: " + "; ".join(self.faults) + "\n" + body.decode())

    def error(self, root):
        error = [("Type", "string")] * (not self.ec2) + [("Code", "string"), ("Message", "string")]
        place = self.tree(root, "Response/Errors/Error" if self.ec2 else "ErrorResponse/Error", "RequestID"
                          if self.ec2 else "RequestId", None if self.ec2 else self.namespace)
        if place is not None and [child.tag for child in place] != [self.tag(name) for name, _ in error]:
            self.faults.append("an error has not the elements " + ", ".join(name for name, _ in error))

    def tree(self, root, path, request_id, namespace):
        """The element at the path; beside its second one stands the request's id, and nothing else."""
        self.prefix = f"{{{namespace}}}" if namespace else ""
        names = path.split("/")
        if root.tag != self.tag(names[0]) or [e.tag for e in root] != [self.tag(names[1]), self.tag(request_id)]:
            self.faults.append(f"an answer is not made of {path} and {request_id}")
            return None
        for name in names[1:]:
            if [e.tag for e in root].count(self.tag(name)) != 1:
                self.faults.append(f"there is not one {name}")
                return None
            root = root.find(self.tag(name))
        return root

    def tag(self, name):
        return self.prefix + name

    def result(self, root):
        self.prefix = f"{{{self.namespace}}}"
        name = self.operation.name
        if root.tag != self.tag(name + "Response"):
            self.faults.append(f"the answer is {root.tag}, not {self.tag(name + 'Response')}")
            return
        shape, children = self.operation.output_shape, list(root)
        if self.ec2:
            if not children or children[0].tag != self.tag("requestId"):
                self.faults.append("the request's id does not come first")
            children = children[1:]
        else:
            wrapper = shape.serialization["resultWrapper"] if shape else None
            tags = ([self.tag(wrapper)] if wrapper else []) + [self.tag("ResponseMetadata")]
            if [child.tag for child in children] != tags:
                self.faults.append(f"the answer is not made of {tags}")
                return
            children = list(children[0]) if wrapper else []
        if shape is not None:
            self.structure(shape, children, name)
        elif [child.tag for child in children] != [self.tag("return")] * self.ec2 and name not in self.newer:
            self.faults.append("an answer without a result has one")

    def structure(self, shape, children, path):
        members = {}
        for name, member in shape.members.items():
            serialization = member.serialization
            if member.type_name == "list" and serialization.get("flattened"):
                name_on_wire = member.member.serialization.get("name", serialization.get("name", name))
            else:
                name_on_wire = serialization.get("name", name)
            members[self.tag(name_on_wire)] = (name, member)
        seen = []
        for child in children:
            local = child.tag.removeprefix(self.prefix)
            if child.tag not in members:
                if f"{shape.name}.{local[0].upper()}{local[1:]}" not in self.newer:
                    self.faults.append(f"{path} has the unknown element {local}")
                continue
            name, member = members[child.tag]
            flattened = member.type_name == "list" and member.serialization.get("flattened")
            if child.tag in seen and not flattened:
                self.faults.append(f"{path} has {local} twice")
            seen.append(child.tag)
            self.value(member.member if flattened else member, child, f"{path}.{name}")
        names = {members[tag][0] for tag in seen}
        self.faults += [f"{path} has no {name}" for name in shape.required_members if name not in names]

    def value(self, shape, element, path):
        if element.attrib:
            self.faults.append(f"{path} has attributes")
        if shape.type_name == "structure":
            self.no_text(element, path)
            self.structure(shape, list(element), path)
        elif shape.type_name == "list":
            self.no_text(element, path)
            item = self.tag(shape.member.serialization.get("name", "member"))
            for i, child in enumerate(element):
                if child.tag != item:
                    self.faults.append(f"an item of {path} is {child.tag}, not {item}")
                self.value(shape.member, child, f"{path}[{i}]")
        else:
            self.scalar(shape, element, path)

    def no_text(self, element, path):
        if (element.text or "").strip() or any((child.tail or "").strip() for child in element):
            self.faults.append(f"{path} has text")

    def scalar(self, shape, element, path):
        text = element.text or ""
        if len(element):
            self.faults.append(f"{path} has elements")
        if shape.type_name in self.SCALARS and not self.SCALARS[shape.type_name].fullmatch(text):
            self.faults.append(f"{path} is no {shape.type_name}: {text}")
        if shape.type_name == "string" and shape.enum and text not in shape.enum:
            if f"{shape.name}={text}" not in self.newer:
                self.faults.append(f"{path} is none of {shape.enum}: {text}")
        if shape.type_name == "timestamp" and self.SCALARS["timestamp"].fullmatch(text):
            datetime.datetime.fromisoformat(text.removesuffix("Z"))


# ---- the service -----------------------------------------------------------------------------------------------------


class Service:
    """One larderd. It keeps its port when it is restarted, so clients go on to work."""

    _session = None

    def __init__(self, state, options=()):
        self.state = pathlib.Path(state)
        self.options = list(options)
        self.port = 0
        self.process = None
        self.output = None
        self.clients = {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        binary = os.environ.get("LARDERD", str(ROOT / "build" / "bin" / "larderd"))
        argv = [binary, "--state-dir", str(self.state), "--api", f"127.0.0.1:{self.port}", *self.options]
        env = dict(os.environ)
        env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        self.process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.output = Output(self.process.stdout)
        if not self.output.wait_for(READY, START_SECONDS):
            self.kill()
            raise AssertionError(f"{binary} did not start:\n{self.output.text()}")
        self.port = int(re.search(re.escape(READY) + r"http://127\.0\.0\.1:([0-9]+)", self.output.text()).group(1))
        return self

    def kill(self):
        """Ends it by SIGKILL. The nodes, if there are any, go on."""
        process, self.process = self.process, None
        if process.poll() is None:
            process.kill()
        process.wait()
        self.output.thread.join()

    def stop(self):
        """Ends it as an operator does; fails when it crashed, or a sanitizer complained."""
        if self.process is None:
            return
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(STOP_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.output.thread.join()
        text = self.output.text()
        assert not any(report in text for report in REPORTS), text[-8000:]
        assert status == 0, f"larderd ended with status {status}:\n{text[-8000:]}"

    def restart(self):
        self.stop()
        return self.start()

    def credentials(self):
        """The root key: its id and its secret."""
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(self.state / "credentials")
        return parser["default"]["aws_access_key_id"], parser["default"]["aws_secret_access_key"]

    def client(self, name, region=REGION):
        """boto3's client of that name, which does not retry. Its answers are checked."""
        if (name, region) not in self.clients:
            key, secret = self.credentials()
            config = botocore.config.Config(retries={"total_max_attempts": 1, "mode": "standard"}, read_timeout=30,
                                            proxies={})
            if Service._session is None:
                Service._session = boto3.session.Session()
            client = Service._session.client(name, region_name=region, endpoint_url=self.url, aws_access_key_id=key,
                                             aws_secret_access_key=secret, config=config)
            client.meta.events.register("before-send", _stay_here)
            client.meta.events.register("response-received", functools.partial(_check, client))
            self.clients[name, region] = client
        return self.clients[name, region]

    def call(self, name, action, parameters=(), region=REGION):
        """A signed call as it goes over the wire, for what boto3 does not send: (status, root of the answer's XML,
        without namespaces). The parameters are pairs, or a dictionary, of texts."""
        pairs = list(parameters.items() if isinstance(parameters, dict) else parameters)
        body = urllib.parse.urlencode([("Action", action), ("Version", VERSIONS[name]), *pairs]).encode()
        request = botocore.awsrequest.AWSRequest("POST", self.url + "/", data=body, headers={
            "Content-Type": "application/x-www-form-urlencoded; charset=utf-8"})
        credentials = botocore.credentials.Credentials(*self.credentials())
        botocore.auth.SigV4Auth(credentials, name, region).add_auth(request)
        plain = urllib.request.Request(self.url + "/", data=body, headers=dict(request.headers.items()))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(plain, timeout=30) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        root = ElementTree.fromstring(text)
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        return status, root


def _check(client, event_name, response_dict, **_):
    if response_dict is not None:
        headers = {name.lower(): value for name, value in response_dict["headers"].items()}
        operation = client.meta.service_model.operation_model(event_name.rpartition(".")[2])
        Checker(operation).check(response_dict["status_code"], headers, response_dict["body"])


def _stay_here(request, **_):
    assert urllib.parse.urlsplit(request.url).hostname == "127.0.0.1", f"a client called {request.url}"


# ---- fixtures --------------------------------------------------------------------------------------------------------


def _stop_all(running):
    failures = []
    for one in running:
        try:
            one.stop()
        except AssertionError as failure:
            failures.append(str(failure))
    assert not failures, "\n".join(failures)


@pytest.fixture
def start_service(tmp_path):
    """start_service(*options, state=DIRECTORY) runs a larderd for this test; a fresh state directory unless one is
    given."""
    running = []

    def run(*options, state=None):
        one = Service(state or tmp_path / f"state-{len(running)}", options)
        running.append(one)
        return one.start()

    yield run
    _stop_all(running)


@pytest.fixture
def service(start_service):
    return start_service()


@pytest.fixture(scope="module")
def shared_service(tmp_path_factory):
    one = Service(tmp_path_factory.mktemp("shared") / "state")
    yield one.start()
    one.stop()


@pytest.fixture
def ec2(service):
    return service.client("ec2")


@pytest.fixture
def elasticache(service):
    return service.client("elasticache")


@pytest.fixture
def sts(service):
    return service.client("sts")


@pytest.fixture
def refused():
    """refused(code, function, **arguments): the call fails with that code; its message."""
    def call(code, function, **arguments):
        with pytest.raises(botocore.exceptions.ClientError) as failure:
            function(**arguments)
        error = failure.value.response["Error"]
        assert error["Code"] == code, error
        return error["Message"]
    return call
