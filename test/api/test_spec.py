"""The declarations of the API against botocore's model of it, and the generator against faulty declarations.

botocore (Debian's python3-botocore) has the names and the wire names that clients send and read.
"""

import importlib.util
import json
import os
import shutil

import botocore
import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SPEC = os.path.join(ROOT, "spec")


def load_generator():
    spec = importlib.util.spec_from_file_location("gen_api", os.path.join(ROOT, "tools", "gen_api.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


gen_api = load_generator()
SERVICES = {service.name: service for service in gen_api.read_all(SPEC)[0]}
# Of results, what clients read that are newer than the oldest botocore that this is run with, 1.29.
NEWER = {
    "AvailabilityZone.GroupLongName", "CreateSecurityGroupResult.SecurityGroupArn", "DeleteSecurityGroup",
    "NetworkInterface.AvailabilityZoneId", "RevokeSecurityGroupEgressResult.RevokedSecurityGroupRules",
    "RevokeSecurityGroupIngressResult.RevokedSecurityGroupRules", "SecurityGroup.SecurityGroupArn",
    "SecurityGroupRule.SecurityGroupRuleArn", "CacheCluster.TransitEncryptionMode",
    "PendingModifiedValues.ScaleConfig", "PendingModifiedValues.TransitEncryptionEnabled",
    "PendingModifiedValues.TransitEncryptionMode", "ReplicationGroup.ClusterMode", "ReplicationGroup.Engine",
    "ReplicationGroup.TransitEncryptionMode", "ReplicationGroupPendingModifiedValues.ClusterMode",
    "ReplicationGroupPendingModifiedValues.TransitEncryptionEnabled",
    "ReplicationGroupPendingModifiedValues.TransitEncryptionMode",
}
SCALARS = {
    "string": "string", "integer": "integer", "long": "integer", "boolean": "boolean", "double": "double",
    "float": "double", "timestamp": "time",
}


class Model:
    """What botocore knows of a service."""

    def __init__(self, service):
        path = os.path.join(os.path.dirname(botocore.__file__), "data", service.name, service.version, "service-2.json")
        with open(path, encoding="utf-8") as f:
            self.json = json.load(f)
        self.service = service
        self.ec2 = service.protocol == "ec2"

    def shape(self, name):
        return self.json["shapes"][name]

    def traits(self, member):
        return {**self.shape(member["shape"]), **member}

    def query_name(self, name, member):
        traits = self.traits(member)
        if not self.ec2:
            return traits.get("locationName", name)
        if "queryName" in traits:
            return traits["queryName"]
        location = traits.get("locationName", name)
        return location[0].upper() + location[1:]

    def compare(self, ours, name, direction, path, faults, seen=()):
        """Members of ours, a shape of the generator's, against those of botocore's shape of that name."""
        members = {m.name: m for m in ours.members}
        theirs = self.shape(name)["members"]
        for member_name, member in theirs.items():
            place = f"{path}.{member_name}"
            m = members.get(member_name)
            if m is None:
                if direction == "input":
                    faults.append(f"{place} is missing")
                continue
            self.compare_member(m, member_name, member, direction, place, faults, seen)
            if direction == "input" and member_name in self.shape(name).get("required", []) and not m.plain:
                faults.append(f"{place} is required")
        if direction == "output":
            faults += [f"{name}.{unknown} is unknown" for unknown in members if unknown not in theirs]

    def compare_member(self, m, name, member, direction, place, faults, seen):
        shape = self.shape(member["shape"])
        if direction == "input":
            if m.query != self.query_name(name, member):
                faults.append(f"{place} is sent as {self.query_name(name, member)}, not {m.query}")
            if m.refused is not None:
                return
        elif m.xml != self.traits(member).get("locationName", name):
            faults.append(f"{place} is read as {self.traits(member).get('locationName', name)}, not {m.xml}")
        kind = shape["type"]
        if m.list != (kind == "list"):
            faults.append(f"{place} is a {kind}")
            return
        target = member["shape"]
        if kind == "list":
            item = self.traits(shape["member"]).get("locationName", "member")
            if m.item != item and not (self.ec2 and direction == "input"):
                faults.append(f"{place} has items {item}, not {m.item}")
            target, kind = shape["member"]["shape"], self.shape(shape["member"]["shape"])["type"]
        if (kind == "structure") != bool(m.shape) or (not m.shape and m.type != SCALARS[kind]):
            faults.append(f"{place} is of type {kind}, not {m.type}")
        elif m.shape and target not in seen:
            self.compare(m.shape, target, direction, place, faults, seen + (target,))
        self.compare_words(m, target, kind, direction, place, faults)

    def compare_words(self, m, target, kind, direction, place, faults):
        """What may be sent may not be less than what we call possible."""
        words = self.shape(target).get("enum") if kind == "string" else None
        if words and direction == "input" and "enum" in m.spec and not set(words) <= set(m.spec["enum"]):
            faults.append(f"{place} can also be {sorted(set(words) - set(m.spec['enum']))}")


@pytest.fixture(scope="module", params=sorted(SERVICES))
def model(request):
    return Model(SERVICES[request.param])


def test_every_action_is_declared(model):
    if model.service.name == "elasticache":
        assert set(model.json["operations"]) <= set(model.service.actions)
        assert len(model.service.actions) == 75


def known_actions(model):
    for action in model.service.actions.values():
        if action.handler and action.name in model.json["operations"]:
            yield action, model.json["operations"][action.name]


def test_requests_have_every_member_under_its_name(model):
    faults = []
    for action, operation in known_actions(model):
        if "input" in operation:
            model.compare(action.input, operation["input"]["shape"], "input", action.name, faults)
    assert faults == []


def test_results_have_their_members_under_their_names(model):
    faults = []
    for action, operation in known_actions(model):
        assert bool(action.output) == ("output" in operation) or action.name in NEWER, action.name
        if action.output and "output" in operation:
            wrapper = operation["output"].get("resultWrapper")
            assert model.ec2 or wrapper == action.name + "Result"
            model.compare(action.output, operation["output"]["shape"], "output", action.name, faults)
    assert [f for f in dict.fromkeys(faults) if f.removesuffix(" is unknown") not in NEWER] == []


def test_errors_have_their_codes(model):
    service = model.service
    codes = {e["code"]: e["status"] for e in list(service.errors.values()) + list(service.common.values())}
    for _, operation in known_actions(model):
        for error in operation.get("errors", []):
            traits = model.shape(error["shape"])["error"]
            assert codes.get(traits["code"]) == traits["httpStatusCode"], error["shape"]


# ---- the generator ---------------------------------------------------------------------------------------------------


@pytest.fixture
def spec(tmp_path):
    """A copy of sts' head with one more file, which edit(actions, shapes) writes."""
    shutil.copytree(os.path.join(SPEC, "api", "sts"), tmp_path / "api" / "sts")

    def edit(actions=None, shapes=None, model=None):
        value = {key: part for key, part in (("actions", actions), ("shapes", shapes)) if part is not None}
        (tmp_path / "api" / "sts" / "more.json").write_text(json.dumps(value), encoding="ascii")
        if model is not None:
            os.makedirs(tmp_path / "model", exist_ok=True)
            (tmp_path / "model" / "more.json").write_text(model, encoding="ascii")
        return gen_api.generate(str(tmp_path))
    return edit


def action(**members):
    return {"Act": {"summary": "Acts.", "input": members}}


GOOD = {"Names": {"list": "string", "item": "Name", "max_items": 3}, "Size": {"type": "integer", "default": 3}}

FAULTS = [
    ({"actions": {"Act": {"input": {}}}}, 'the field "summary" is missing'),
    ({"actions": {"Act": {"summary": "Acts."}}}, 'has "input", even an empty one'),
    ({"actions": {"Act": {"summary": "Acts.", "input": {}, "errors": ["Nothing"]}}}, 'no error "Nothing"'),
    ({"actions": {"Act": {"summary": "Acts.", "input": {}, "flags": ["fast"]}}}, "must be one of"),
    ({"actions": {"GetCallerIdentity": {"summary": "Acts.", "input": {}}}}, "there is such an action already"),
    ({"shapes": {"Credentials": {"A": "string"}}}, "there is such a shape already"),
    ({"actions": action(Name="text")}, 'there is no shape "text"'),
    ({"actions": action(Name={"required": True})}, "must have either a type or a list"),
    ({"actions": action(Name={"type": "string", "list": "string"})}, "must have either a type or a list"),
    ({"actions": action(Name={"type": "string", "lenght": 3})}, 'unknown field "lenght"'),
    ({"actions": action(Name={"type": "string", "item": "x"})}, "only a list has"),
    ({"actions": action(Name={"type": "integer", "form": "digits"})}, "only a string has"),
    ({"actions": action(Name={"type": "boolean", "max": 3})}, "only a string or a number has"),
    ({"actions": action(Name={"type": "string", "min": 4, "max": 3})}, "min is more than max"),
    ({"actions": action(Name={"type": "string", "form": "name"})}, "must be one of identifier"),
    ({"actions": action(Name={"type": "integer", "default": "3"})}, "there can be no such default"),
    ({"actions": action(Name={"type": "integer", "default": True})}, "there can be no such default"),
    ({"actions": action(Name={"type": "string", "default": "c", "enum": ["a"]})}, "none of the possible values"),
    ({"actions": action(Name={"list": "double"})}, "there are no lists of double"),
    ({"actions": action(Name={"refused": True, "required": True})}, "what is refused has no"),
    ({"actions": action(Return="string")}, "is no name in C"),
    ({"actions": action(AZMode="string", AzMode="string")}, "the same name in C"),
    ({"shapes": {"A": {"B": "B"}, "B": {"A": {"list": "A"}}}}, "contains itself"),
    ({"model": '{"shapes": {"A": {"B": "string", "B": "string"}}}'}, '"B" occurs twice'),
    ({"model": '{"shapes": {"StsCredentials": {"A": "string"}}}'}, "struct sts_credentials is there twice"),
    ({"model": '{"shapes": {"Tag": {"A": "Credentials"}}}'}, 'there is no shape "Credentials"'),
    ({"model": "{"}, "more.json"),
]


@pytest.mark.parametrize("change, message", FAULTS)
def test_a_fault_is_named(spec, change, message):
    with pytest.raises(gen_api.SpecError) as error:
        spec(**change)
    assert message in str(error.value)


def test_what_is_generated(spec):
    model = '{"shapes": {"Thing": {"At": "time", "Parts": {"list": "Part"}}, "Part": {}}}'
    files = spec(actions=action(**GOOD), model=model)
    assert "struct act_request {\n    struct string_list names;\n    int64_t size; /* default 3 */\n};\n" in \
        files["api_sts.h"]
    assert "int sts_act(struct api_call *call, const struct act_request *in);" in files["api_handlers.h"]
    header = files["model_shapes.h"]
    assert "struct thing {\n    struct maybe_time at; /* ms since 1970-01-01 UTC */\n    struct part_list parts;\n" in header
    assert header.index("struct part {") < header.index("struct thing {")
    assert files == spec(actions=action(**GOOD), model=model)


@pytest.mark.parametrize("name, expected", [
    ("CacheSubnetGroupName", "cache_subnet_group_name"), ("ARN", "arn"), ("MultiAZEnabled", "multi_az_enabled"),
    ("PreferredCacheClusterAZs", "preferred_cache_cluster_azs"), ("AZMode", "az_mode"), ("CidrIpv6", "cidr_ipv6"),
    ("EnableDns64", "enable_dns64"), ("EC2SecurityGroupName", "ec2_security_group_name"),
    ("Ipv6CidrBlockAssociationSet", "ipv6_cidr_block_association_set"),
    ("EnableResourceNameDnsAAAARecord", "enable_resource_name_dns_aaaa_record"),
])
def test_names_in_c(name, expected):
    assert gen_api.snake(name) == expected


def test_a_run_touches_only_what_changes(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["gen_api.py", SPEC, str(tmp_path)])
    assert gen_api.main() == 0
    stamps = {f: os.stat(tmp_path / f).st_mtime_ns for f in os.listdir(tmp_path)}
    assert {"api_ec2.h", "api_elasticache.h", "api_sts.h", "model_shapes.h", "api_shapes.c", "api_actions.c",
            "api_handlers.h"} == set(stamps)
    assert gen_api.main() == 0
    assert stamps == {f: os.stat(tmp_path / f).st_mtime_ns for f in os.listdir(tmp_path)}
