#!/usr/bin/python3
"""Generates C structures, their descriptions and the tables of actions from the declarations of the API.

    tools/gen_api.py SPEC_DIR OUT_DIR

Reads SPEC_DIR/api/<service>/*.json and SPEC_DIR/model/*.json (the format: spec/api/README.md), and writes to OUT_DIR:

    api_<service>.h  the structures of a service's requests and results, and its errors
    model_shapes.h   the structures of the model
    api_shapes.c     the descriptions of all of these (src/control/shape/shape.h)
    api_handlers.h   the declarations of the functions that carry actions out
    api_actions.c    the services: their errors and actions (src/control/shape/service.h)

Any fault of a declaration ends the program with status 1 and a message that names the file and the place; nothing is
written then. The same declarations always give the same bytes, and a file that would not change is not touched.
"""

import glob
import json
import os
import re
import sys

SERVICES = ["ec2", "elasticache", "sts"]
PROTOCOLS = {"query": "SERVICE_QUERY", "ec2": "SERVICE_EC2"}
SCALARS = {
    "string": "SHAPE_STRING", "integer": "SHAPE_INTEGER", "boolean": "SHAPE_BOOLEAN", "double": "SHAPE_DOUBLE",
    "time": "SHAPE_TIME",
}
OPTIONAL = {
    "integer": "struct maybe_integer", "boolean": "struct maybe_boolean", "double": "struct maybe_double",
    "time": "struct maybe_time",
}
PLAIN = {"string": "struct view", "integer": "int64_t", "boolean": "bool", "double": "double", "time": "int64_t"}
LISTS = {"string": "struct string_list", "integer": "struct integer_list"}
FORMS = [
    "identifier", "reference", "maintenance-window", "snapshot-window", "cidr", "arn", "tag-key", "tag-value", "digits",
    "token",
]
FLAGS = {"read-only": "SERVICE_READ_ONLY", "unsigned": "SERVICE_UNSIGNED"}
# The errors that every service has: src/control/shape/service.h lists the same.
COMMON = [
    "access-denied", "expired-token", "incomplete-signature", "internal-failure", "invalid-action",
    "invalid-client-token", "invalid-parameter-combination", "invalid-parameter-value", "malformed-query",
    "missing-action", "missing-authentication", "missing-parameter", "request-expired", "signature-mismatch",
    "throttling", "unavailable", "unknown-parameter", "unsupported",
]
KEYWORDS = set("""auto bool break case char const continue default do double else enum extern float for goto if inline
int long register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
errno stdin stdout stderr""".split())

NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")
ERROR_NAME = re.compile(r"[A-Z][A-Za-z0-9]*")
ERROR_CODE = re.compile(r"[A-Z][A-Za-z0-9]*(\.[A-Z][A-Za-z0-9]*)*")
C_NAME = re.compile(r"[a-z][a-z0-9_]*")
TEXT = re.compile(r"[ -~]+")
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
ITEMS_MAX = 1000


class SpecError(Exception):
    pass


class Place:
    """Where in which file we are, for messages."""

    def __init__(self, path, inside=""):
        self.path = path
        self.inside = inside

    def at(self, step):
        return Place(self.path, f"{self.inside}.{step}" if self.inside else str(step))

    def fail(self, text):
        where = f"{self.path}: {self.inside}" if self.inside else self.path
        raise SpecError(f"{where}: {text}")


# ---- checking --------------------------------------------------------------------------------------------------------


def check_text(value, place):
    if not isinstance(value, str) or not TEXT.fullmatch(value) or value != value.strip():
        place.fail("must be a line of printable ASCII without spaces around it")


def check_form(form, what):
    def check(value, place):
        if not isinstance(value, str) or not form.fullmatch(value):
            place.fail(f"must be {what}, not {json.dumps(value)}")
    return check


def check_one_of(words):
    def check(value, place):
        if not isinstance(value, str) or value not in words:
            place.fail(f"must be one of {', '.join(words)}, not {json.dumps(value)}")
    return check


def check_int(low, high):
    def check(value, place):
        if type(value) is not int or not low <= value <= high:
            place.fail(f"must be an integer from {low} to {high}, not {json.dumps(value)}")
    return check


def check_bool(word):
    def check(value, place):
        if value is not word:
            place.fail(f"must be {json.dumps(word)}, or left out")
    return check


def check_list(check, empty=False):
    def check_all(value, place):
        if not isinstance(value, list) or not (value or empty):
            place.fail("must be a list" if empty else "must be a list that is not empty")
        for i, element in enumerate(value):
            check(element, place.at(i))
            if element in value[:i]:
                place.at(i).fail(f"{json.dumps(element)} is there twice")
    return check_all


def check_object(fields):
    """fields: name to (required, check). No other name may occur."""
    def check_fields(value, place):
        if not isinstance(value, dict):
            place.fail("must be an object")
        for name in value:
            if name not in fields:
                place.fail(f"unknown field {json.dumps(name)}")
        for name, (required, check) in fields.items():
            if name in value:
                check(value[name], place.at(name))
            elif required:
                place.fail(f"the field {json.dumps(name)} is missing")
    return check_fields


def check_map(key, check, empty=True):
    def check_entries(value, place):
        if not isinstance(value, dict) or not (value or empty):
            place.fail("must be an object" if empty else "must be an object that is not empty")
        for name in value:
            if not key.fullmatch(name):
                place.fail(f"{json.dumps(name)} is no possible name")
            check(value[name], place.at(name))
    return check_entries


def check_refused(value, place):
    if value is not True:
        check_list(check_text)(value, place)


def check_default(value, place):
    if not isinstance(value, (str, int, float, bool)):
        place.fail("must be a string, a number or a boolean")


def check_any(value, place):
    pass


MEMBER_FIELDS = {
    "type": (False, check_form(NAME, "a type or the name of a shape")),
    "list": (False, check_form(NAME, "a type or the name of a shape")),
    "item": (False, check_form(NAME, "a name")),
    "query": (False, check_form(NAME, "a name")),
    "xml": (False, check_form(NAME, "a name")),
    "c": (False, check_form(C_NAME, "a name in C")),
    "required": (False, check_bool(True)),
    "default": (False, check_default),
    "form": (False, check_one_of(FORMS)),
    "min": (False, check_int(INT64_MIN, INT64_MAX)),
    "max": (False, check_int(INT64_MIN, INT64_MAX)),
    "enum": (False, check_list(check_text)),
    "min_items": (False, check_int(1, ITEMS_MAX)),
    "max_items": (False, check_int(1, ITEMS_MAX)),
    "sensitive": (False, check_bool(True)),
    "refused": (False, check_refused),
    "note": (False, check_text),
}


def check_member(value, place):
    if isinstance(value, str):
        check_form(NAME, "a type or the name of a shape")(value, place)
        return
    check_object(MEMBER_FIELDS)(value, place)
    if "refused" in value:
        for field in value:
            if field not in ("refused", "query", "note"):
                place.fail(f"what is refused has no {json.dumps(field)}")
    elif ("type" in value) == ("list" in value):
        place.fail("must have either a type or a list")


check_members = check_map(NAME, check_member)

check_action = check_object({
    "summary": (True, check_text),
    "flags": (False, check_list(check_one_of(list(FLAGS)))),
    "handler": (False, check_bool(False)),
    "input": (False, check_members),
    "output": (False, check_members),
    "errors": (False, check_list(check_form(ERROR_NAME, "the name of an error"))),
})


def check_error(value, place):
    if isinstance(value, int) and not isinstance(value, bool):
        check_int(400, 599)(value, place)
        return
    check_object({"code": (True, check_form(ERROR_CODE, "an error code")), "status": (True, check_int(400, 599))})(
        value, place)


check_common = check_object({
    name: (True, check_object({
        "code": (True, check_form(ERROR_CODE, "an error code")), "status": (True, check_int(400, 599)),
    })) for name in COMMON
})

check_resource = check_object({
    "actions": (False, check_map(NAME, check_action, empty=False)),
    "shapes": (False, check_map(NAME, check_members, empty=False)),
})

check_service = check_object({
    "protocol": (True, check_one_of(list(PROTOCOLS))),
    "version": (True, check_text),
    "namespace": (True, check_text),
    "common": (True, check_common),
    "errors": (False, check_map(ERROR_NAME, check_error)),
    "shapes": (False, check_map(NAME, check_members, empty=False)),
})

check_model = check_object({"shapes": (True, check_map(NAME, check_members, empty=False))})


def once(pairs):
    """Refuses names that occur twice in an object."""
    result = {}
    for name, value in pairs:
        if name in result:
            raise SpecError(f"{json.dumps(name)} occurs twice")
        result[name] = value
    return result


def load(path, check):
    place = Place(path)
    try:
        with open(path, encoding="utf-8") as f:
            value = json.load(f, object_pairs_hook=once)
    except (ValueError, SpecError) as error:
        place.fail(str(error))
    check(value, place)
    return value, place


# ---- names -----------------------------------------------------------------------------------------------------------


def snake(name):
    """CacheSubnetGroupName: cache_subnet_group_name; AZMode: az_mode; PreferredAZs: preferred_azs."""
    name = re.sub(r"([A-Z]{2,})s(?=[A-Z]|$)", lambda m: m.group(1).capitalize() + "s", name)
    name = re.sub(r"([A-Za-z0-9])([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def c_string(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def c_int(value):
    if value == INT64_MIN:
        return "INT64_MIN"
    if value == INT64_MAX:
        return "INT64_MAX"
    return str(value)


# ---- from JSON to descriptions ---------------------------------------------------------------------------------------


class Member:
    """One member of a shape. What is refused has no place in the structure."""

    def __init__(self, owner, name, spec, place):
        if isinstance(spec, str):
            spec = {"type": spec}
        self.name, self.spec, self.place = name, spec, place
        self.refused = spec.get("refused")
        self.list = "list" in spec
        self.type = spec.get("list", spec.get("type"))
        self.required = "required" in spec
        ec2 = owner.protocol == "ec2"
        self.query = spec.get("query", name)
        self.xml = spec.get("xml", name[0].lower() + name[1:] if ec2 else name)
        self.item = spec.get("item", "item" if ec2 else "member")
        self.c = spec.get("c", snake(name))
        self.shape = None
        if self.c in KEYWORDS:
            place.fail(f'"{self.c}" is no name in C: say another one in "c"')
        if self.refused is None:
            self.check(place)

    def check(self, place):
        spec = self.spec
        scalar = None if self.list else self.type
        for field in ("item", "min_items", "max_items"):
            if field in spec and not self.list:
                place.fail(f"only a list has {json.dumps(field)}")
        for field in ("form", "enum", "sensitive"):
            if field in spec and self.type != "string":
                place.fail(f"only a string has {json.dumps(field)}")
        for field in ("min", "max"):
            if field in spec and self.type not in ("string", "integer", "double"):
                place.fail(f"only a string or a number has {json.dumps(field)}")
        if spec.get("min", INT64_MIN) > spec.get("max", INT64_MAX):
            place.fail("min is more than max")
        if spec.get("min_items", 0) > spec.get("max_items", ITEMS_MAX):
            place.fail("min_items is more than max_items")
        if "default" in spec:
            types = {"string": str, "integer": int, "boolean": bool, "double": (int, float)}
            if self.required or scalar not in types or not isinstance(spec["default"], types[scalar]) or (
                    scalar == "integer" and isinstance(spec["default"], bool)):
                place.fail("there can be no such default")
            if "enum" in spec and spec["default"] not in spec["enum"]:
                place.fail("the default is none of the possible values")

    def resolve(self, owner):
        if self.refused is None and self.type not in SCALARS:
            self.shape = owner.shapes.get(self.type)
            if self.shape is None:
                self.place.fail(f"there is no shape {json.dumps(self.type)}")
        elif self.refused is None and self.list and self.type not in LISTS:
            self.place.fail(f"there are no lists of {self.type}")

    @property
    def plain(self):
        """Is it there always?"""
        return self.required or "default" in self.spec

    def c_type(self):
        if self.list:
            return f"struct {self.shape.c}_list " if self.shape else f"{LISTS[self.type]} "
        if self.shape:
            return f"struct {self.shape.c} *"
        if self.type == "string" or self.plain:
            return PLAIN[self.type] + " "
        return OPTIONAL[self.type] + " "

    def remark(self):
        spec, parts = self.spec, []
        if self.type == "time" and not self.list:
            parts.append("ms since 1970-01-01 UTC")
        if self.required:
            parts.append("always there")
        if "default" in spec:
            parts.append(f"default {json.dumps(spec['default'])}")
        if "enum" in spec:
            parts.append(", ".join(spec["enum"]))
        if spec.get("form") in ("identifier", "reference"):
            parts.append("lower case")
        text = "; ".join(parts)
        return f" /* {text} */" if text and len(text) < 70 and "*/" not in text else ""

    def rule(self):
        """The initialiser of its struct shape_rule, or None."""
        spec, fields = self.spec, []
        if "form" in spec:
            fields.append(f".form = SHAPE_FORM_{spec['form'].upper().replace('-', '_')}")
        low, high = spec.get("min", INT64_MIN), spec.get("max", INT64_MAX)
        if "min" in spec or "max" in spec:
            fields += [f".min = {c_int(low)}", f".max = {c_int(high)}", ".bounded = true"]
        for field in ("min_items", "max_items"):
            if field in spec:
                fields.append(f".{field} = {spec[field]}")
        words = spec.get("enum") or (self.refused if isinstance(self.refused, list) else None)
        if words:
            views = ", ".join(f"INIT({c_string(word)})" for word in words)
            fields += [f".words = (const struct view[]){{{views}}}", f".word_count = {len(words)}"]
        if "sensitive" in spec:
            fields.append(".sensitive = true")
        if "default" in spec:
            fields.append(".initial = true")
            value = spec["default"]
            if self.type == "string":
                fields.append(f".initial_text = INIT({c_string(value)})")
            elif self.type == "double":
                fields.append(f".initial_double = {float(value)!r}")
            else:
                fields.append(f".initial_integer = {c_int(int(value))}")
        return "{" + ", ".join(fields) + "}" if fields else None

    def initialiser(self, owner):
        fields = [f".name = INIT({c_string(self.name)})"]
        if owner.group.protocol:
            fields.append(f".query = INIT({c_string(self.query)})")
        if self.refused is not None:
            fields.append(".type = SHAPE_REFUSED")
        else:
            if owner.group.protocol:
                fields.append(f".xml = {c_string(self.xml)}")
                if self.list:
                    fields.append(f".item = INIT({c_string(self.item)})")
            fields.append(f".offset = offsetof(struct {owner.c}, {self.c})")
            fields.append(f".type = {'SHAPE_STRUCT' if self.shape else SCALARS[self.type]}")
            if self.list:
                fields.append(".list = true")
            if self.required:
                fields.append(".required = true")
            if not (self.list or self.shape or self.plain or self.type == "string"):
                fields.append(".optional = true")
            if self.shape:
                fields.append(f".shape = &{self.shape.c}_shape")
        rule = self.rule()
        if rule:
            fields.append(f".rule = &(const struct shape_rule){rule}")
        return "    {" + ", ".join(fields) + "},\n"


class Shape:
    def __init__(self, group, name, c, members, place, title=None):
        self.group, self.name, self.c, self.place = group, name, c, place
        self.title = title or name
        self.members = [Member(group, n, m, place.at(n)) for n, m in members.items()]
        seen = {}
        for member in self.members:
            if member.refused is None and seen.setdefault(member.c, member) is not member:
                member.place.fail(f"has the same name in C as {seen[member.c].name}")

    def resolve(self):
        for member in self.members:
            member.resolve(self.group)

    def uses(self):
        return [m.shape for m in self.members if m.shape]

    def structure(self):
        lines = [f"struct {self.c} {{\n"]
        kept = [m for m in self.members if m.refused is None]
        for member in kept:
            lines.append(f"    {member.c_type()}{member.c};{member.remark()}\n")
        if not kept:
            lines.append("    char nothing; /* C has no empty structures */\n")
        return "".join(lines) + "};\n"

    def description(self):
        name = f"{self.c}_members"
        text = ""
        if self.members:
            text = f"static const struct shape_member {name}[] = {{\n"
            text += "".join(m.initialiser(self) for m in self.members) + "};\n\n"
        members = f", .members = {name}, .count = {len(self.members)}" if self.members else ""
        return text + (f"const struct shape {self.c}_shape = {{.name = {c_string(self.title)}, "
                       f".size = sizeof(struct {self.c}){members}}};\n\n")


class Action:
    def __init__(self, service, name, spec, place):
        self.service, self.name, self.spec, self.place = service, name, spec, place
        self.c = snake(name)
        self.handler = spec.get("handler", True)
        self.input = self.output = None
        if self.handler:
            if "input" not in spec:
                place.fail('an action that has a handler has "input", even an empty one')
            self.input = Shape(service, f"{name}Request", f"{self.c}_request", spec["input"], place.at("input"), name)
            if "output" in spec:
                self.output = Shape(service, f"{name}Result", f"{self.c}_result", spec["output"], place.at("output"),
                                    f"{name}Result")

    def prototype(self, end=";"):
        parameters = f"struct api_call *call, const struct {self.c}_request *in"
        if self.output:
            parameters += f", struct {self.c}_result *out"
        return f"int {self.service.name}_{self.c}({parameters}){end}\n"


class Group:
    """Shapes that can refer to each other: a service, or the model."""

    def __init__(self, name, prefix, protocol):
        self.name, self.prefix, self.protocol = name, prefix, protocol
        self.shapes, self.actions = {}, {}

    def add_shapes(self, shapes, place):
        for name, members in shapes.items():
            if name in self.shapes:
                place.at(name).fail("there is such a shape already")
            self.shapes[name] = Shape(self, name, self.prefix + snake(name), members, place.at(name))

    def add_actions(self, actions, place):
        for name, spec in actions.items():
            if name in self.actions:
                place.at(name).fail("there is such an action already")
            action = Action(self, name, spec, place.at(name))
            for error in spec.get("errors", []):
                if error not in self.errors:
                    place.at(name).at("errors").fail(f"there is no error {json.dumps(error)}")
            self.actions[name] = action

    def all_shapes(self):
        """Every shape behind those that it refers to."""
        roots = [s for a in sorted(self.actions.values(), key=lambda a: a.name) for s in (a.input, a.output) if s]
        roots = [self.shapes[name] for name in sorted(self.shapes)] + roots
        ordered, state = [], {}

        def visit(shape):
            if state.get(shape) == "open":
                shape.place.fail("contains itself")
            if shape in state:
                return
            state[shape] = "open"
            for used in shape.uses():
                visit(used)
            state[shape] = "done"
            ordered.append(shape)

        for shape in roots:
            shape.resolve()
        for shape in roots:
            visit(shape)
        return ordered


def read_service(spec_dir, name):
    folder = os.path.join(spec_dir, "api", name)
    head, place = load(os.path.join(folder, "service.json"), check_service)
    service = Group(name, name + "_", head["protocol"])
    service.version, service.namespace, service.common = head["version"], head["namespace"], head["common"]
    service.errors = {}
    for error, value in head.get("errors", {}).items():
        if isinstance(value, int):
            value = {"code": error, "status": value}
        service.errors[error] = value
    service.add_shapes(head.get("shapes", {}), place.at("shapes"))
    for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
        if os.path.basename(path) != "service.json":
            resource, place = load(path, check_resource)
            service.add_shapes(resource.get("shapes", {}), place.at("shapes"))
            service.add_actions(resource.get("actions", {}), place.at("actions"))
    return service


def read_all(spec_dir):
    """The services that are declared, and the model."""
    present = sorted(os.path.basename(d) for d in glob.glob(os.path.join(spec_dir, "api", "*")) if os.path.isdir(d))
    for name in present:
        if name not in SERVICES:
            raise SpecError(f"{spec_dir}/api/{name}: there is no such service")
    services = [read_service(spec_dir, name) for name in SERVICES if name in present]
    model = Group("model", "", None)
    model.errors = {}
    for path in sorted(glob.glob(os.path.join(spec_dir, "model", "*.json"))):
        value, place = load(path, check_model)
        model.add_shapes(value["shapes"], place.at("shapes"))
    groups = services + [model]
    seen = {}
    for group in groups:
        for shape in group.all_shapes():
            for name in (shape.c, shape.c + "_list"):
                if seen.setdefault(name, shape) is not shape:
                    shape.place.fail(f"struct {name} is there twice, the other one is from {seen[name].place.path}")
    return services, model


# ---- writing ---------------------------------------------------------------------------------------------------------


def generated(what):
    return f"/* {what} Generated by tools/gen_api.py. */\n"


def write_header(group, path):
    guard = re.sub(r"[^A-Z0-9]", "_", path.upper())
    shapes = group.all_shapes()
    listed = {m.shape.c for s in shapes for m in s.members if m.shape and m.list}
    includes = ['"control/shape/shape.h"'] if group.protocol is None else [
        '"control/shape/service.h"', '"control/shape/shape.h"']
    text = generated(f"The structures of {group.name if group.protocol else 'the model'}.")
    text += f"#ifndef {guard}\n#define {guard}\n\n#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n\n"
    text += "".join(f"#include {name}\n" for name in includes) + "\n"
    if group.errors:
        upper = group.name.upper()
        text += f"/* Errors of {group.name} beside those of every service. */\nenum {group.name}_error {{\n"
        for i, name in enumerate(group.errors):
            first = " = SERVICE_COMMON_ERRORS" if i == 0 else ""
            text += f"    {upper}_{snake(name).upper()}{first},\n"
        text += "};\n\n"
    for shape in shapes:
        text += shape.structure() + "\n"
        if shape.c in listed:
            text += f"struct {shape.c}_list {{\n    bool set;\n    size_t count;\n    struct {shape.c} *items;\n}};\n\n"
    for shape in shapes:
        text += f"extern const struct shape {shape.c}_shape;\n"
    if group.protocol:
        text += f"\nextern const struct service {group.name}_service;\n"
    return text + "\n#endif\n"


def write_shapes(groups, headers):
    text = generated("The descriptions of all structures.")
    text += "#include <stddef.h>\n\n" + "".join(f'#include "{h}"\n' for h in headers)
    text += "\n#define INIT(s) {(s), sizeof(s) - 1}\n\n"
    for group in groups:
        for shape in group.all_shapes():
            text += shape.description()
    return text.rstrip("\n") + "\n"


def write_handlers(services):
    text = generated("The functions that carry actions out.")
    text += "#ifndef API_HANDLERS_H\n#define API_HANDLERS_H\n\n"
    text += "".join(f'#include "api_{s.name}.h"\n' for s in services)
    text += "\nstruct api_call;\n\n"
    text += "/* Each returns 0, the result in *out, which was all zero; or the error that it reported to the call. */\n"
    for service in services:
        for name in sorted(service.actions):
            if service.actions[name].handler:
                text += service.actions[name].prototype()
    return text + "\n#endif\n"


def write_action(action):
    service = action.service
    fields = [f".name = INIT({c_string(action.name)})"]
    flags = [FLAGS[flag] for flag in action.spec.get("flags", [])]
    if flags:
        fields.append(".flags = " + " | ".join(flags))
    if action.handler:
        fields.append(f".request = &{action.c}_request_shape")
        if action.output:
            fields.append(f".result = &{action.c}_result_shape")
        dry_run = any(m.name == "DryRun" for m in action.input.members)
        fields.append(f".dry_run = offsetof(struct {action.c}_request, dry_run)" if dry_run else ".dry_run = -1")
        fields.append(f".handler = (service_function){service.name}_{action.c}")
        fields.append(f".run = run_{service.name}_{action.c}")
    return "    {" + ", ".join(fields) + "},\n"


def write_service(service):
    text = ""
    actions = [service.actions[name] for name in sorted(service.actions)]
    for action in actions:
        if not action.handler:
            continue
        call = f"{service.name}_{action.c}(call, in{', out' if action.output else ''})"
        text += action.prototype(" __attribute__((weak));")
        text += f"static int run_{service.name}_{action.c}(struct api_call *call, const void *in, void *out)\n{{\n"
        text += ("" if action.output else "    (void)out;\n") + f"    return {call};\n}}\n\n"
    text += f"static const struct service_action {service.name}_actions[] = {{\n"
    text += "".join(write_action(a) for a in actions) + "};\n\n"
    text += f"static const struct service_error_code {service.name}_errors[] = {{\n"
    for name in COMMON:
        error = service.common[name]
        text += f"    [SERVICE_{name.upper().replace('-', '_')}] = {{{c_string(error['code'])}, {error['status']}}},\n"
    for name, error in service.errors.items():
        constant = f"{service.name}_{snake(name)}".upper()
        text += f"    [{constant}] = {{{c_string(error['code'])}, {error['status']}}},\n"
    text += "};\n\n"
    text += f"const struct service {service.name}_service = {{\n"
    text += f"    .name = {c_string(service.name)},\n    .version = INIT({c_string(service.version)}),\n"
    text += f"    .name_space = {c_string(service.namespace)},\n    .protocol = {PROTOCOLS[service.protocol]},\n"
    text += f"    .actions = {service.name}_actions,\n    .action_count = {len(actions)},\n"
    text += f"    .errors = {service.name}_errors,\n    .error_count = {1 + len(COMMON) + len(service.errors)},\n"
    return text + "};\n\n"


def write_actions(services):
    text = generated("The services: their actions and errors.")
    text += '#include <stddef.h>\n\n#include "api_handlers.h"\n\n#define INIT(s) {(s), sizeof(s) - 1}\n\n'
    text += ("/* Weak: an action without a function is refused when it is called (service_action_ready), so that "
             "programs can be\n * linked with a part of them. */\n")
    for service in services:
        text += write_service(service)
    return text.rstrip("\n") + "\n"


def write_if_changed(path, text):
    try:
        with open(path, encoding="ascii") as f:
            if f.read() == text:
                return
    except FileNotFoundError:
        pass
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def generate(spec_dir):
    """File name to text."""
    services, model = read_all(spec_dir)
    files = {f"api_{s.name}.h": write_header(s, f"api_{s.name}.h") for s in services}
    headers = sorted(files) + ["model_shapes.h"]
    files["model_shapes.h"] = write_header(model, "model_shapes.h")
    files["api_shapes.c"] = write_shapes(services + [model], headers)
    files["api_handlers.h"] = write_handlers(services)
    files["api_actions.c"] = write_actions(services)
    return files


def main():
    if len(sys.argv) != 3:
        print("usage: tools/gen_api.py SPEC_DIR OUT_DIR", file=sys.stderr)
        return 2
    try:
        files = generate(sys.argv[1])
    except SpecError as error:
        print(f"gen_api.py: {error}", file=sys.stderr)
        return 1
    os.makedirs(sys.argv[2], exist_ok=True)
    for name, text in files.items():
        write_if_changed(os.path.join(sys.argv[2], name), text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
