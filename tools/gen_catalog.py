#!/usr/bin/python3
"""Generates the catalog's constant tables from spec/catalog.

    tools/gen_catalog.py SPEC_DIR OUT_DIR

Reads SPEC_DIR/{node-types,engine-versions,parameters}.json (the format: spec/catalog/README.md), and writes
OUT_DIR/catalog_tables.c, the tables that src/control/model/catalog.h describes. Any fault ends the program with status 1
and a message that names the file and the place; nothing is written then. The same files always give the same bytes, and
a file that would not change is not touched.
"""

import json
import os
import re
import sys

ENGINES = {"redis": "CATALOG_REDIS", "valkey": "CATALOG_VALKEY", "memcached": "CATALOG_MEMCACHED"}
TYPES = ("string", "integer", "boolean", "float")
FORMS = {"renames": "CATALOG_RENAMES", "event-letters": "CATALOG_EVENT_LETTERS"}
NODE_VALUES = {
    "maxmemory": "CATALOG_NODE_MAXMEMORY", "replica-buffer": "CATALOG_NODE_REPLICA_BUFFER",
    "memcached-memory": "CATALOG_NODE_MEMCACHED_MEMORY", "memcached-threads": "CATALOG_NODE_MEMCACHED_THREADS",
}
# Three parameters of each class make one directive: see catalog_directives.
BUFFER_CLASSES = ("normal", "replica", "pubsub")
BUFFER_PARTS = ("hard-limit", "soft-limit", "soft-seconds")
MAXCLIENTS = 65000

VERSION = re.compile(r"\d+\.\d+(\.\d+)?")
ALIAS = re.compile(r"\d+\.x")
FAMILY = re.compile(r"(redis|valkey|memcached)\d+(\.(\d+|x))?")
SIZE = re.compile(r"[a-z0-9]+")
PARAMETER = re.compile(r"[a-z][a-z0-9_-]*")
DIRECTIVE = re.compile(rf"[a-z-]+( ({'|'.join(BUFFER_CLASSES)}) ({'|'.join(BUFFER_PARTS)}))?")
TEXT = re.compile(r"[ -~]*")


class SpecError(Exception):
    pass


class Place:
    """Where in which file we are, for messages."""

    def __init__(self, path, inside=""):
        self.path, self.inside = path, inside

    def at(self, step):
        return Place(self.path, f"{self.inside}.{step}" if self.inside else str(step))

    def fail(self, text):
        raise SpecError(f"{self.path}: {self.inside}: {text}" if self.inside else f"{self.path}: {text}")


# ---- checking --------------------------------------------------------------------------------------------------------


def text(value, place):
    if not isinstance(value, str) or not TEXT.fullmatch(value):
        place.fail("must be a line of printable ASCII")


def matching(form, what):
    def check(value, place):
        if not isinstance(value, str) or not form.fullmatch(value):
            place.fail(f"must be {what}, not {json.dumps(value)}")
    return check


def one_of(words):
    def check(value, place):
        if value not in words:
            place.fail(f"must be one of {', '.join(words)}, not {json.dumps(value)}")
    return check


def number(low, high):
    def check(value, place):
        if type(value) not in (int, float) or not low <= value <= high:
            place.fail(f"must be a number from {low} to {high}, not {json.dumps(value)}")
    return check


def whole(low, high):
    def check(value, place):
        if type(value) is not int or not low <= value <= high:
            place.fail(f"must be an integer from {low} to {high}, not {json.dumps(value)}")
    return check


def true(value, place):
    if value is not True:
        place.fail("must be true, or left out")


def boolean(value, place):
    if not isinstance(value, bool):
        place.fail("must be true or false")


def optional(check):
    def check_if_there(value, place):
        if value is not None:
            check(value, place)
    return check_if_there


def every(check):
    def check_all(value, place):
        if not isinstance(value, list) or not value:
            place.fail("must be a list that is not empty")
        for i, element in enumerate(value):
            check(element, place.at(i))
    return check_all


def fields(known):
    """known: name to (required, check). No other name may occur."""
    def check_fields(value, place):
        if not isinstance(value, dict):
            place.fail("must be an object")
        for name in value:
            if name not in known:
                place.fail(f"unknown field {json.dumps(name)}")
        for name, (required, check) in known.items():
            if name in value:
                check(value[name], place.at(name))
            elif required:
                place.fail(f"the field {json.dumps(name)} is missing")
    return check_fields


def mapping(key, check):
    def check_entries(value, place):
        if not isinstance(value, dict) or not value:
            place.fail("must be an object that is not empty")
        for name in value:
            if not key.fullmatch(name):
                place.fail(f"{json.dumps(name)} is no possible name")
            check(value[name], place.at(name))
    return check_entries


BYTES = whole(1, 1 << 44)
check_node_types = fields({"families": (True, mapping(SIZE, fields({
    "previous": (False, true), "retired": (False, true), "data_tiering": (False, true), "burstable": (False, true),
    "engines": (True, every(one_of(ENGINES))),
    "min_redis": (False, matching(VERSION, "a version")),
    "sizes": (True, mapping(SIZE, fields({
        "vcpus": (True, whole(1, 1024)), "gib": (True, number(0, 1 << 14)), "maxmemory": (True, BYTES),
        "replica_buffer": (False, BYTES), "maxclients": (False, whole(1, MAXCLIENTS)),
        "memcached_mb": (False, whole(1, 1 << 24)), "memcached_threads": (False, whole(1, 1024)),
        "min_redis": (False, matching(VERSION, "a version")),
    }))),
})))})

check_versions = fields({"engines": (True, fields({engine: (True, fields({
    "title": (True, text),
    "default": (True, matching(VERSION, "a version")),
    "also": (False, mapping(ALIAS, matching(VERSION, "a version"))),
    "versions": (True, every(fields({
        "version": (True, matching(VERSION, "a version")), "full": (False, matching(VERSION, "a version")),
        "family": (True, matching(FAMILY, "a family")),
    }))),
})) for engine in ENGINES}))})

# What may be different from family to family.
VARYING = {
    "type": (False, one_of(TYPES)), "default": (False, optional(text)), "allowed": (False, optional(text)),
    "modifiable": (False, boolean), "reboot": (False, boolean), "from": (False, matching(VERSION, "a version")),
}


def check_span(value, place):
    if isinstance(value, str):
        text(value, place)
    else:
        fields({"families": (True, text), **VARYING})(value, place)


check_parameters = fields({
    "families": (True, mapping(FAMILY, fields({
        "engine": (True, one_of(ENGINES)), "cluster_mode": (False, true),
        "first_version": (True, matching(VERSION, "a version")),
    }))),
    "parameters": (True, mapping(PARAMETER, fields({
        **VARYING,
        "description": (True, text), "type": (True, one_of(TYPES)),
        "form": (False, one_of(FORMS)), "node": (False, one_of(NODE_VALUES)), "while_unused": (False, true),
        "directive": (False, matching(DIRECTIVE, "a directive")), "most": (False, whole(1, (1 << 63) - 1)),
        "families": (True, every(check_span)),
    }))),
    "commands": (True, every(matching(re.compile(r"[A-Z_]+"), "a command"))),
})


def once(pairs):
    """Refuses names that occur twice in an object."""
    result = {}
    for name, value in pairs:
        if name in result:
            raise SpecError(f"{json.dumps(name)} occurs twice")
        result[name] = value
    return result


def load(spec_dir, name, check):
    place = Place(os.path.join(spec_dir, name))
    try:
        with open(place.path, encoding="utf-8") as f:
            value = json.load(f, object_pairs_hook=once)
    except (ValueError, SpecError) as error:
        place.fail(str(error))
    check(value, place)
    return value, place


# ---- from JSON to tables ---------------------------------------------------------------------------------------------


def c_string(value):
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def c_view(value):
    return f"INIT({c_string(value)})"


def c_name(value):
    return re.sub(r"[^a-z0-9]", "_", value)


def row(pairs):
    """The initialiser of a structure; pairs of a member and its text, None for what stays zero."""
    return "{" + ", ".join(f".{name} = {value}" for name, value in pairs if value is not None) + "}"


def flag(value):
    return "true" if value else None


def span(families, value, place):
    """The families that "redis5.0 - valkey7", or one name, means."""
    ends = value.split(" - ")
    for name in ends:
        if name not in families:
            place.fail(f"there is no family {json.dumps(name)}")
    first, last = families.index(ends[0]), families.index(ends[-1])
    if len(ends) > 2 or last < first:
        place.fail(f"{json.dumps(value)} is no span of families")
    return families[first:last + 1]


def buffer_slot(directive):
    """Of "client-output-buffer-limit normal hard-limit": the directive's name, and which of its nine numbers it is."""
    words = directive.split(" ")
    if len(words) == 1:
        return directive, None
    return words[0], BUFFER_CLASSES.index(words[1]) * len(BUFFER_PARTS) + BUFFER_PARTS.index(words[2])


def node_type_row(family_name, family, size_name, size):
    first = size.get("min_redis", family.get("min_redis"))
    maxmemory, memcached = size["maxmemory"], "memcached" in family["engines"]
    memory = size.get("memcached_mb", round(maxmemory / (1 << 20)))
    return row([
        ("name", c_view(f"cache.{family_name}.{size_name}")),
        ("engines", " | ".join(f"1u << {ENGINES[engine]}" for engine in family["engines"])),
        ("vcpus", size["vcpus"]),
        ("memory", round(size["gib"] * (1 << 30))),
        ("maxmemory", maxmemory),
        ("replica_buffer", size.get("replica_buffer", maxmemory // 10)),
        ("maxclients", size.get("maxclients", MAXCLIENTS)),
        ("memcached_mb", memory if memcached else None),
        ("memcached_threads", size.get("memcached_threads", size["vcpus"]) if memcached else None),
        ("min_redis", c_view(first) if first else None),
        ("previous", flag("previous" in family)),
        ("retired", flag("retired" in family)),
        ("data_tiering", flag("data_tiering" in family)),
        ("burstable", flag("burstable" in family)),
    ])


def node_types(spec_dir):
    value, _ = load(spec_dir, "node-types.json", check_node_types)
    return [node_type_row(family_name, family, size_name, size)
            for family_name, family in value["families"].items() for size_name, size in family["sizes"].items()]


def versions(spec_dir, families):
    value, place = load(spec_dir, "engine-versions.json", check_versions)
    rows = []
    for engine, spec in value["engines"].items():
        here = place.at("engines").at(engine)
        also = {version: alias for alias, version in spec.get("also", {}).items()}
        for version in (spec["default"], *also):
            if version not in [v["version"] for v in spec["versions"]]:
                here.fail(f"there is no version {version}")
        for v in spec["versions"]:
            if families.get(v["family"], {}).get("engine") != engine:
                here.fail(f"{engine} has no family {v['family']}")
            name = v["version"]
            rows.append(row([
                ("engine", ENGINES[engine]), ("name", c_view(name)), ("full", c_view(v.get("full", name))),
                ("also", c_view(also[name]) if name in also else None),
                ("family", f"&families[{list(families).index(v['family'])}]"),
                ("title", c_view(spec["title"])),
                ("initial", flag(name == spec["default"])),
            ]))
    return rows


def parameter_row(name, spec, family, commands):
    """One parameter as a family has it; spec: with what is different there."""
    directive, slot = buffer_slot(spec["directive"]) if "directive" in spec else (None, None)
    allowed = ",".join(commands) if spec.get("form") == "renames" else spec.get("allowed")
    default = spec.get("default")
    return row([
        ("name", c_view(name)), ("description", c_view(spec["description"])), ("type", c_view(spec["type"])),
        ("value", None if default is None else c_view(default)),
        ("allowed", None if allowed is None else c_view(allowed)),
        ("min_version", c_view(spec.get("from", family["first_version"]))),
        ("form", FORMS[spec["form"]] if "form" in spec else None),
        ("node_value", NODE_VALUES[spec["node"]] if "node" in spec else None),
        ("modifiable", flag(spec.get("modifiable", True))),
        ("while_unused", flag("while_unused" in spec)),
        ("reboot", flag(spec.get("reboot"))),
        ("directive", None if directive is None else c_view(directive)),
        ("most", spec.get("most")),
        ("buffer_slot", None if slot is None else slot + 1),
    ])


def parameters(spec_dir):
    """The families, and family to rows, which are ordered by name."""
    value, place = load(spec_dir, "parameters.json", check_parameters)
    families = value["families"]
    names = list(families)
    rows = {family: {} for family in families}
    for name, spec in value["parameters"].items():
        here = place.at("parameters").at(name)
        for part in spec["families"]:
            differs = {} if isinstance(part, str) else {k: v for k, v in part.items() if k != "families"}
            for family in span(names, part if isinstance(part, str) else part["families"], here):
                if name in rows[family]:
                    here.fail(f"{family} is there twice")
                rows[family][name] = parameter_row(name, {**spec, **differs}, families[family], value["commands"])
    return families, {family: [known[name] for name in sorted(known)] for family, known in rows.items()}


def table(kind, name, rows):
    return f"static const struct {kind} {name}[] = {{\n" + "".join(f"    {r},\n" for r in rows) + "};\n\n"


def generate(spec_dir):
    families, rows = parameters(spec_dir)
    out = ("/* The catalog's tables. Generated by tools/gen_catalog.py. */\n"
           '#include "control/model/catalog.h"\n\n#define INIT(s) {(s), sizeof(s) - 1}\n'
           "#define COUNT(a) (sizeof(a) / sizeof((a)[0]))\n\n")
    family_rows = []
    for name in sorted(families):
        parameter_table = f"{c_name(name)}_parameters"
        out += table("catalog_parameter", parameter_table, rows[name])
        family_rows.append(row([
            ("name", c_view(name)), ("default_group", c_view(f"default.{name}")),
            ("cluster_group", c_view(f"default.{name}.cluster.on") if "cluster_mode" in families[name] else None),
            ("engine", ENGINES[families[name]["engine"]]),
            ("parameters", parameter_table), ("count", f"COUNT({parameter_table})"),
        ]))
    out += table("catalog_family", "families", family_rows)
    out += table("catalog_version", "versions", versions(spec_dir, {name: families[name] for name in sorted(families)}))
    out += table("catalog_node_type", "node_types", node_types(spec_dir))
    return out + ("const struct catalog_tables catalog_tables = {\n    .families = families,\n"
                  "    .family_count = COUNT(families),\n    .versions = versions,\n"
                  "    .version_count = COUNT(versions),\n    .node_types = node_types,\n"
                  "    .node_type_count = COUNT(node_types),\n};\n")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    spec_dir, out_dir = sys.argv[1:]
    try:
        out = generate(spec_dir)
    except (SpecError, OSError) as error:
        sys.exit(f"gen_catalog.py: {error}")
    os.makedirs(out_dir, exist_ok=True)
    path = os.path.join(out_dir, "catalog_tables.c")
    try:
        with open(path, encoding="ascii") as f:
            if f.read() == out:
                return
    except FileNotFoundError:
        pass
    with open(path, "w", encoding="ascii") as f:
        f.write(out)


if __name__ == "__main__":
    main()
