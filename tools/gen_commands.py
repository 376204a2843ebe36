#!/usr/bin/python3
"""Generates the command table and the command documentation from the command specifications.

    tools/gen_commands.py SPEC_DIR OUT_DIR

Reads every SPEC_DIR/*.json (the format: spec/commands/README.md), and writes to OUT_DIR:

    command_table.c  the table, and the perfect hash over its names (src/engine/cmd/command.h, command_slots.h)
    command_docs.c   what COMMAND DOCS answers
    handlers.h       the declarations of the handlers

Any fault of a specification ends the program with status 1 and a message that names the file and the place; nothing is
written then. The same specifications always give the same bytes, and a file that would not change is not touched.

What follows from something else is derived here and may not be stated: the ACL categories that follow from flags, the
legacy triple (first key, last key, step), the flag movablekeys, a subcommand's container, a plain command's handler.
"""

import json
import os
import re
import sys

FLAGS = [
    "write", "readonly", "denyoom", "admin", "pubsub", "noscript", "blocking", "loading", "stale", "skip_monitor",
    "skip_slowlog", "asking", "fast", "no_auth", "may_replicate", "sentinel", "only_sentinel", "no_mandatory_keys",
    "protected", "no_async_loading", "no_multi", "allow_busy", "no_relaxed", "no_managed", "no_strict", "replica_login",
]
# In the order of their bits, which is that in which COMMAND INFO lists them.
CATEGORIES = [
    "keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo", "stream",
    "pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction", "scripting",
]
SCOPES = ["keys", "connection", "walk", "gate"]
GROUPS = [
    "bitmap", "cluster", "connection", "generic", "geo", "hash", "hyperloglog", "list", "pubsub", "scripting",
    "sentinel", "server", "set", "sorted-set", "stream", "string", "transactions",
]
ACCESS = ["RO", "RW", "OW", "RM"]
KEY_FLAGS = ACCESS + ["access", "update", "insert", "delete", "not_key", "incomplete", "variable_flags"]
ARG_TYPES = ["string", "integer", "double", "key", "pattern", "unix-time", "pure-token", "oneof", "block"]
ARG_BRANCHES = ["oneof", "block"]
DOC_FLAGS = ["syscmd"]

NAME = re.compile(r"[a-z][a-z0-9_-]*(\|[a-z][a-z0-9_-]*)?")
VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
TIP = re.compile(r"[a-z_]+(:[a-z_]+)?")
HANDLER = re.compile(r"cmd_[a-z0-9_]+")
TEXT = re.compile(r"[ -~]+")

NAME_MAX = 255
INT16_MAX = 32767
U64 = (1 << 64) - 1
DISPLACEMENTS_LOG2 = 6
SEEDS = 1000


class SpecError(Exception):
    pass


# ---- checking --------------------------------------------------------------------------------------------------------


class Place:
    """Where in which file we are, for messages."""

    def __init__(self, path, inside=""):
        self.path = path
        self.inside = inside

    def at(self, step):
        if isinstance(step, int):
            return Place(self.path, f"{self.inside}[{step}]")
        return Place(self.path, f"{self.inside}.{step}" if self.inside else step)

    def fail(self, text):
        where = f"{self.path}: {self.inside}" if self.inside else self.path
        raise SpecError(f"{where}: {text}")


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
        if value not in words:
            place.fail(f"must be one of {', '.join(words)}, not {json.dumps(value)}")
    return check


def check_int(low, high):
    def check(value, place):
        if type(value) is not int or not low <= value <= high:
            place.fail(f"must be an integer from {low} to {high}, not {json.dumps(value)}")
    return check


def check_true(value, place):
    if value is not True:
        place.fail("must be true, or left out")


def check_list(check, empty=False, unique=False):
    def check_all(value, place):
        if not isinstance(value, list) or not (value or empty):
            place.fail("must be a list" if empty else "must be a list that is not empty")
        for i, element in enumerate(value):
            check(element, place.at(i))
            if unique and element in value[:i]:
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


def check_begin(value, place):
    if value == "unknown":
        return
    if not isinstance(value, dict) or "keyword" not in value:
        check_object({"index": (True, check_int(1, INT16_MAX))})(value, place)
        return
    check_object({
        "keyword": (True, check_text),
        "start_from": (True, check_int(-INT16_MAX, INT16_MAX)),
    })(value, place)
    if value["start_from"] == 0:
        place.at("start_from").fail("must not be 0")


check_range = check_object({
    "last": (True, check_int(-INT16_MAX, INT16_MAX)),
    "step": (True, check_int(1, INT16_MAX)),
    "limit": (True, check_int(0, INT16_MAX)),
})
check_keynum = check_object({
    "at": (True, check_int(0, INT16_MAX)),
    "first": (True, check_int(0, INT16_MAX)),
    "step": (True, check_int(1, INT16_MAX)),
})


def check_find(value, place):
    if value == "unknown":
        return
    if not isinstance(value, dict) or len(value) != 1:
        place.fail('must be {"range": ...}, {"keynum": ...} or "unknown"')
    check_object({"range": (False, check_range), "keynum": (False, check_keynum)})(value, place)
    if value.get("range", {}).get("limit", 0) > 1 and value["range"]["last"] != -1:
        place.at("range").fail("a limit goes with last -1")


check_key_spec_fields = check_object({
    "flags": (True, check_list(check_one_of(KEY_FLAGS), unique=True)),
    "notes": (False, check_text),
    "begin": (True, check_begin),
    "find": (True, check_find),
})


def check_key_spec(value, place):
    check_key_spec_fields(value, place)
    if sum(flag in ACCESS for flag in value["flags"]) != 1:
        place.at("flags").fail(f"needs exactly one of {', '.join(ACCESS)}")


def check_argument(value, place):
    check_argument_fields(value, place)
    branch = value["type"] in ARG_BRANCHES
    if branch != ("arguments" in value):
        place.fail("oneof and block have arguments, other types have none")
    if value["type"] == "pure-token" and "token" not in value:
        place.fail("a pure-token needs its token")
    if (value["type"] == "key") != ("key_spec" in value):
        place.fail("a key names its key_spec, other types have none")
    if "multiple_token" in value and not ("multiple" in value and "token" in value):
        place.fail("multiple_token goes with multiple and a token")


check_version = check_form(VERSION, "a version such as 7.0.0")
check_argument_fields = check_object({
    "name": (True, check_text),
    "type": (True, check_one_of(ARG_TYPES)),
    "token": (False, check_text),
    "key_spec": (False, check_int(0, INT16_MAX)),
    "since": (False, check_version),
    "deprecated_since": (False, check_version),
    "optional": (False, check_true),
    "multiple": (False, check_true),
    "multiple_token": (False, check_true),
    "arguments": (False, lambda value, place: check_list(check_argument)(value, place)),
})


def check_history(value, place):
    if not isinstance(value, list) or len(value) != 2:
        place.fail("must be a version and a text")
    check_version(value[0], place.at(0))
    check_text(value[1], place.at(1))


check_command = check_object({
    "name": (True, check_form(NAME, "a name in lower case, for a subcommand container|name")),
    "summary": (True, check_text),
    "since": (True, check_version),
    "group": (True, check_one_of(GROUPS)),
    "complexity": (True, check_text),
    "deprecated_since": (False, check_version),
    "replaced_by": (False, check_text),
    "doc_flags": (False, check_list(check_one_of(DOC_FLAGS), unique=True)),
    "arity": (True, check_int(-INT16_MAX, INT16_MAX)),
    "scope": (True, check_one_of(SCOPES)),
    "flags": (True, check_list(check_one_of(FLAGS), empty=True, unique=True)),
    "categories": (True, check_list(check_one_of(CATEGORIES), empty=True, unique=True)),
    "tips": (False, check_list(check_form(TIP, "a tip such as request_policy:all_shards"), unique=True)),
    "key_specs": (False, check_list(check_key_spec)),
    "arguments": (False, check_list(check_argument)),
    "history": (False, check_list(check_history)),
    "reply": (True, check_text),
    "handler": (False, check_form(HANDLER, "a function name such as cmd_get")),
})


def no_repeats(pairs):
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the field {json.dumps(name)} is there twice")
    return dict(pairs)


def walk_arguments(arguments, place):
    for i, argument in enumerate(arguments):
        yield argument, place.at(i)
        yield from walk_arguments(argument.get("arguments", []), place.at(i).at("arguments"))


def implied_categories(flags):
    implied = {flag for flag in ("write", "admin", "pubsub", "fast", "blocking") if flag in flags}
    if "readonly" in flags:
        implied.add("read")
    if "admin" in flags:
        implied.add("dangerous")
    if "fast" not in flags:
        implied.add("slow")
    return implied


def check_consistent(command, place):
    """What check_command cannot see field by field."""
    arity, specs = command["arity"], command.get("key_specs", [])
    if len(command["name"]) > NAME_MAX:
        place.at("name").fail(f"is longer than {NAME_MAX}")
    if abs(arity) < command["name"].count("|") + 1:
        place.at("arity").fail("counts the words of the name too")
    if "write" in command["flags"] and "readonly" in command["flags"]:
        place.at("flags").fail("write and readonly exclude each other")
    for category in command["categories"]:
        if category in implied_categories(command["flags"]):
            place.at("categories").fail(f"{category} follows from the flags and is not repeated here")
    if ("deprecated_since" in command) != ("replaced_by" in command):
        place.fail("deprecated_since and replaced_by go together")
    if (command["scope"] == "keys") != bool(specs):
        place.at("scope").fail("keys goes with key_specs, any other scope without")
    for i, spec in enumerate(specs):
        reach = spec["begin"]["index"] if "index" in spec["begin"] else 0
        if "range" in spec["find"]:
            reach += max(0, spec["find"]["range"]["last"])
        if 0 < arity <= reach:
            place.at("key_specs").at(i).fail("reaches beyond the arity")
    for argument, at in walk_arguments(command.get("arguments", []), place.at("arguments")):
        if argument.get("key_spec", 0) >= max(1, len(specs)) or ("key_spec" in argument and not specs):
            at.at("key_spec").fail("there is no such key specification")


def read_command(path):
    place = Place(path)
    try:
        with open(path, encoding="utf-8") as file:
            command = json.load(file, object_pairs_hook=no_repeats)
    except ValueError as error:
        place.fail(error)
    check_command(command, place)
    name = command["name"].replace("|", "-") + ".json"
    if os.path.basename(path) != name:
        place.fail(f"the name {command['name']} belongs into {name}")
    check_consistent(command, place)
    return command


def identifier(name):
    return re.sub(r"[|-]", "_", name)


def read_commands(directory):
    """All commands, sorted by name, so that a container comes before its subcommands; the index is the id."""
    paths = sorted(os.path.join(directory, f) for f in os.listdir(directory) if f.endswith(".json"))
    if not paths:
        raise SpecError(f"{directory}: there is no specification")
    by_identifier = {}
    commands = []
    for path in paths:
        command = read_command(path)
        other = by_identifier.setdefault(identifier(command["name"]), path)
        if other != path:
            raise SpecError(f"{path}: {command['name']} gives the same identifier as {other}")
        commands.append((command, Place(path)))
    by_name = {command["name"]: command for command, _ in commands}
    for command, place in commands:
        command["subs"] = []
        container = command["name"].partition("|")[0]
        if "|" in command["name"] and container not in by_name:
            place.fail(f"there is no container {container}")
    for name in sorted(by_name):
        if "|" in name:
            by_name[name.partition("|")[0]]["subs"].append(by_name[name])
    for command, place in commands:
        complete(command, place)
    for number, name in enumerate(sorted(by_name)):
        by_name[name]["id"] = number
    return [by_name[name] for name in sorted(by_name)]


def complete(command, place):
    """Adds what follows: handler, categories, legacy triple, movablekeys."""
    default = "cmd_" + identifier(command["name"])
    if command["subs"]:
        if command.get("key_specs") or command.get("arguments"):
            place.fail("a container has neither key_specs nor arguments")
    elif command.get("handler") == default:
        place.at("handler").fail("is the default and is left out")
    else:
        command.setdefault("handler", default)
    categories = implied_categories(command["flags"]) | set(command["categories"])
    command["categories"] = [category for category in CATEGORIES if category in categories]
    command["legacy"], movable = legacy_triple(command.get("key_specs", []))
    if movable:
        command["flags"] = command["flags"] + ["movablekeys"]


def legacy_triple(specs):
    """(first, last, step) as clients from before key specifications know them, and whether that is not exact."""
    ranges = [(s["begin"]["index"], s["find"]["range"])
              for s in specs if "index" in s["begin"] and "range" in s["find"]]
    odd = {"not_key", "incomplete"}
    movable = len(ranges) != len(specs) or any(odd & set(s["flags"]) for s in specs)
    movable = movable or any(r["limit"] > 1 for _, r in ranges)
    triple = None
    for index, found in ranges:
        last = found["last"] if found["last"] < 0 else index + found["last"]
        if triple is None:
            triple = (index, last, found["step"])
        elif triple[1] == index - 1 and triple[2] == found["step"] == 1:
            triple = (triple[0], last, 1)
        else:
            movable = True
    return triple or (0, 0, 0), movable


# ---- the perfect hash ------------------------------------------------------------------------------------------------
# The same arithmetic as in src/engine/cmd/command.c, which explains it.

FOLD = int.from_bytes(b"\x20" * 8, "little")


def name_words(name):
    n = len(name)
    if n >= 8:
        head, tail = name[:8], name[-8:]
    elif n >= 4:
        head, tail = name[:4], name[-4:]
    else:
        head, tail = bytes([name[0], name[n // 2], name[-1]]), b""
    return int.from_bytes(head, "little"), int.from_bytes(tail, "little")


def name_hash(name, seed):
    head, tail = name_words(name)
    tail |= FOLD
    mixed = (head | FOLD) ^ ((tail << 29 | tail >> 35) & U64)
    return (mixed + len(name)) * seed & U64


def letters_mask(word):
    return sum(0x20 << 8 * i for i in range(8) if chr(word >> 8 * i & 0xff).islower())


def place_names(names, seed, size):
    """Displacements and slots for that seed, or None."""
    groups = [[] for _ in range(1 << DISPLACEMENTS_LOG2)]
    for name in names:
        value = name_hash(name.encode(), seed)
        groups[value >> (64 - DISPLACEMENTS_LOG2)].append((value >> 32, name))
    slots = [None] * size
    displacements = [0] * len(groups)
    for number in sorted(range(len(groups)), key=lambda g: (-len(groups[g]), g)):
        for shift in range(size):
            wanted = [(value + shift) % size for value, _ in groups[number]]
            if len(set(wanted)) == len(wanted) and all(slots[w] is None for w in wanted):
                break
        else:
            return None
        displacements[number] = shift
        for slot, (_, name) in zip(wanted, groups[number]):
            slots[slot] = name
    return displacements, slots


def perfect_hash(names):
    """(seed, displacements, slots); at most three quarters of the slots are taken."""
    size = 4
    while size * 3 < len(names) * 4:
        size *= 2
    seed = 0
    for _ in range(SEEDS):
        seed = (seed * 6364136223846793005 + 1442695040888963407) & U64
        placed = place_names(names, seed | 1, size)
        if placed is not None:
            return seed | 1, *placed
    raise SpecError("no perfect hash was found: names share length and outer characters")


# ---- C ---------------------------------------------------------------------------------------------------------------

GENERATED = "/* Generated by tools/gen_commands.py from spec/commands: change those. */\n"


def c_string(text):
    return "NULL" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def c_bits(prefix, names):
    return " | ".join(prefix + name.upper().replace("-", "_") for name in names) or "0"


def c_fields(fields):
    """Designated initialisers; what is None is left to be zero."""
    return ", ".join(f".{name} = {value}" for name, value in fields if value is not None)


class Shared:
    """Constant arrays, each written once however often it is used."""

    def __init__(self, declaration):
        self.declaration = declaration
        self.names = {}
        self.text = []

    def use(self, name, rows):
        body = "".join(f"    {row},\n" for row in rows)
        if body not in self.names:
            self.names[body] = name
            self.text.append(f"static const {self.declaration.format(name)}[] = {{\n{body}}};\n")
        return self.names[body]


def c_key_spec(spec):
    begin, find = spec["begin"], spec["find"]
    fields = [("flags", c_bits("KEY_", spec["flags"])), ("notes", c_string(spec["notes"]) if "notes" in spec else None)]
    if begin == "unknown":
        fields.append(("begin", "KEYS_AT_UNKNOWN"))
    elif "index" in begin:
        fields += [("begin", "KEYS_AT_INDEX"), ("index", begin["index"])]
    else:
        fields += [("begin", "KEYS_AT_KEYWORD"), ("keyword", c_string(begin["keyword"])),
                   ("start_from", begin["start_from"])]
    if find == "unknown":
        fields.append(("find", "KEYS_FIND_UNKNOWN"))
    elif "range" in find:
        found = find["range"]
        fields += [("find", "KEYS_RANGE"), ("last", found["last"]), ("step", found["step"]), ("limit", found["limit"])]
    else:
        found = find["keynum"]
        fields += [("find", "KEYS_KEYNUM"), ("keynum_at", found["at"]), ("first", found["first"]),
                   ("knstep", found["step"])]
    return "{" + c_fields(fields) + "}"


def c_command(command, specs, tips):
    name, key_specs, subs = command["name"], command.get("key_specs", []), command["subs"]
    symbol = identifier(name)
    first, last, step = command["legacy"]
    tip_rows = [*map(c_string, command.get("tips", [])), "NULL"]
    fields = [
        ("name", c_string(name)),
        ("name_len", f"sizeof {c_string(name)} - 1"),
        ("scope", "SCOPE_" + command["scope"].upper()),
        ("arity", command["arity"]),
        ("id", command["id"]),
        ("first_key", first), ("last_key", last), ("key_step", step),
        ("flags", c_bits("COMMAND_", command["flags"])),
        ("categories", " | ".join(f"CATEGORY_{c.upper()}" for c in command["categories"])),
        ("run", command.get("handler", "NULL")),
        ("specs", specs.use(f"specs_{symbol}", map(c_key_spec, key_specs)) if key_specs else "NULL"),
        ("spec_count", len(key_specs)),
        ("sub_count", len(subs)),
        ("subs", f"subs_{symbol}" if subs else "NULL"),
        ("tips", tips.use(f"tips_{symbol}", tip_rows) if "tips" in command else "NULL"),
        ("doc", f"&command_docs[{command['id']}]"),
    ]
    return "    {\n" + "".join(f"        .{field} = {value},\n" for field, value in fields) + "    },\n"


def c_slot(name, by_name):
    if name is None:
        return "    {0, 0, 0, 0, NULL, 0},\n"
    words = name_words(name.encode())
    masks = map(letters_mask, words)
    numbers = ", ".join(f"UINT64_C(0x{word:016x})" for word in (*words, *masks))
    return f"    {{{numbers}, &commands[{by_name[name]['id']}], {len(name)}}}, /* {name} */\n"


def c_handlers(commands):
    handlers = sorted({command["handler"] for command in commands if "handler" in command})
    return (GENERATED + "#ifndef HANDLERS_H\n#define HANDLERS_H\n\n" + '#include "engine/cmd/command.h"\n\n'
            + "".join(f"command_fn {handler};\n" for handler in handlers) + "\n#endif\n")


def c_table(commands):
    top = [command for command in commands if "|" not in command["name"]]
    by_name = {command["name"]: command for command in commands}
    specs = Shared("struct key_spec {}")
    tips = Shared("char *const {}")
    rows = "".join(c_command(command, specs, tips) for command in commands)
    seed, displacements, slots = perfect_hash([command["name"] for command in top])
    out = [GENERATED, '#include "engine/cmd/command.h"\n\n#include <stddef.h>\n\n'
           '#include "engine/cmd/command_slots.h"\n#include "handlers.h"\n']
    out.append("enum {\n"
               + "".join(f"    CATEGORY_{c.upper()} = 1u << {i},\n" for i, c in enumerate(CATEGORIES)) + "};\n")
    out.append("const char *const command_category_names[] = {\n"
               + "".join(f"    {c_string(c)},\n" for c in CATEGORIES) + "    NULL,\n};\n")
    out.append("extern const struct command_doc command_docs[];\n")
    out.append(f"static const struct command commands[{len(commands)}];\n")
    out += specs.text + tips.text
    for command in top:
        if command["subs"]:
            members = "".join(f"    &commands[{sub['id']}], /* {sub['name']} */\n" for sub in command["subs"])
            out.append(f"static const struct command *const subs_{identifier(command['name'])}[] = {{\n{members}}};\n")
    out.append(f"static const struct command commands[{len(commands)}] = {{\n{rows}}};\n")
    for symbol, members in (("command_table", top), ("command_by_id", commands)):
        rows = "".join(f"    &commands[{command['id']}], /* {command['name']} */\n" for command in members)
        out.append(f"const struct command *const {symbol}[] = {{\n{rows}}};\n")
    out.append(f"const unsigned command_table_count = {len(top)};\nconst unsigned command_count = {len(commands)};\n")
    out.append(f"static const uint16_t displacements[{len(displacements)}] = {{\n"
               + "".join(f"    {d},\n" for d in displacements) + "};\n")
    out.append(f"static const struct command_slot slots[{len(slots)}] = {{\n"
               + "".join(c_slot(name, by_name) for name in slots) + "};\n")
    out.append("const struct command_slots command_slots = {\n"
               f"    .seed = UINT64_C(0x{seed:016x}),\n    .mask = {len(slots) - 1},\n"
               f"    .shift = {64 - DISPLACEMENTS_LOG2},\n    .displacements = displacements,\n"
               "    .slots = slots,\n};\n")
    return "\n".join(out)


def c_arguments(arguments, symbol, out):
    """Writes the arrays of a list of arguments, inner ones first; returns the name of the list's own."""
    rows = []
    for i, argument in enumerate(arguments):
        inner = argument.get("arguments", [])
        fields = [("name", c_string(argument["name"])), ("type", c_string(argument["type"]))]
        fields += [(f, c_string(argument[f])) for f in ("token", "since", "deprecated_since") if f in argument]
        fields.append(("key_spec", argument.get("key_spec", -1)))
        fields += [(f, 1) for f in ("optional", "multiple", "multiple_token") if f in argument]
        if inner:
            fields += [("arg_count", len(inner)), ("args", c_arguments(inner, f"{symbol}_{i}", out))]
        rows.append("    {" + c_fields(fields) + "},\n")
    out.append(f"static const struct command_arg {symbol}[] = {{\n{''.join(rows)}}};\n")
    return symbol


def c_docs(commands):
    out = [GENERATED, '#include "engine/cmd/command.h"\n\n#include <stddef.h>\n']
    rows = []
    for command in commands:
        symbol = identifier(command["name"])
        arguments, history = command.get("arguments", []), command.get("history", [])
        fields = [(f, c_string(command.get(f)) if f in command else None)
                  for f in ("summary", "since", "group", "complexity", "replaced_by", "deprecated_since")]
        if "deprecated_since" in command:
            fields.append(("deprecated", 1))
        fields += [(flag, 1) for flag in command.get("doc_flags", [])]
        if arguments:
            fields += [("arg_count", len(arguments)), ("args", c_arguments(arguments, f"args_{symbol}", out))]
        if history:
            lines = "".join(f"    {{{c_string(since)}, {c_string(change)}}},\n" for since, change in history)
            out.append(f"static const struct command_history history_{symbol}[] = {{\n{lines}}};\n")
            fields += [("history_count", len(history)), ("history", f"history_{symbol}")]
        rows.append(f"    /* {command['name']} */\n    {{\n"
                    + "".join(f"        .{f} = {value},\n" for f, value in fields if value is not None) + "    },\n")
    out.append("extern const struct command_doc command_docs[];\n")
    out.append(f"const struct command_doc command_docs[{len(commands)}] = {{\n{''.join(rows)}}};\n")
    return "\n".join(out)


def write_if_changed(path, text):
    try:
        with open(path, encoding="ascii") as file:
            if file.read() == text:
                return
    except FileNotFoundError:
        pass
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def main(arguments):
    if len(arguments) != 3:
        print("usage: gen_commands.py SPEC_DIR OUT_DIR", file=sys.stderr)
        return 2
    try:
        commands = read_commands(arguments[1])
        files = {"command_table.c": c_table(commands), "command_docs.c": c_docs(commands),
                 "handlers.h": c_handlers(commands)}
    except SpecError as error:
        print(f"gen_commands.py: {error}", file=sys.stderr)
        return 1
    os.makedirs(arguments[2], exist_ok=True)
    for name, text in files.items():
        write_if_changed(os.path.join(arguments[2], name), text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
