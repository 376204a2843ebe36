#!/usr/bin/python3
"""Checks that includes follow the arrows of the architecture, and the form of C files.

    tools/check-includes.py [ROOT]       checks the tree (default: the one this script is in)
    tools/check-includes.py --self-test  checks the checks

The folders of the engine stand in one line, and a file may include what is in its own folder or to the left:

    base <- log <- store <- types <- server <- persist <- cmd <- exec <- proto <- repl <- net <- main

with two exceptions: proto/ encodes and decodes bytes and never sees a store, neither directly nor through another
header, and of cmd/ it takes only the interface that it implements. Only main.c, where everything is wired, and net/
include proto/.

The folders of the service stand in a line of their own, of which only base/ is the engine's too:

    base <- shape <- http <- auth <- dns <- state <- model <- agent <- reconcile <- api <- daemon <- main

where http/, auth/ and dns/ do not know each other or shape/, but that auth/ signs and checks what http/ reads. The command
line tool in src/cli/ takes base/, and of the library in src/preload/, which takes nothing, what looks names up.

Errors beside the edges: an include that is not written from src/ or does not exist; a .c that does not include the
header of its own name first; a guard that is not the header's path; a header that is only a collection of includes; a
file of more than 1000 lines. A function of more than 120 lines is only reported.
"""

import os
import re
import sys
import tempfile

FILE_LINES = 1000
FUNCTION_LINES = 120
UMBRELLA_INCLUDES = 16

LINE = ["base", "log", "store", "types", "server", "persist", "cmd", "exec", "proto", "repl", "net", "main"]
MAY_INCLUDE = {folder: set(LINE[:i + 1]) for i, folder in enumerate(LINE)}
MAY_INCLUDE["proto"] -= {"log", "store", "types", "persist", "cmd"}

SERVICE = ["base"] + ["control/" + f for f in (
    "shape", "http", "auth", "dns", "state", "model", "agent", "reconcile", "api", "daemon", "main")]
MAY_INCLUDE.update({folder: set(SERVICE[:i + 1]) for i, folder in enumerate(SERVICE)})
for alone in ("http", "auth", "dns", "state"):
    MAY_INCLUDE["control/" + alone] = {"base", "control/" + alone}
MAY_INCLUDE["control/auth"].add("control/http")
MAY_INCLUDE["preload"] = {"preload"}
MAY_INCLUDE["cli"] = {"base", "preload", "cli"}

# Single headers beyond that, and folders that may not be reached even through others.
ALSO = {"proto": {"engine/cmd/reply.h", "engine/cmd/errors.h"}}
NEVER_REACHES = {"base": set(LINE[1:]), "types": {"proto", "net"}, "proto": {"store", "types", "persist", "net"}}

# What tools/gen_commands.py writes into build/gen, and the folder whose interface it is.
GENERATED = {"handlers.h": "cmd"}
for _header in ("api_elasticache.h", "api_ec2.h", "api_sts.h", "model_shapes.h"):
    GENERATED[_header] = "control/shape"
for _header in ("api_handlers.h",):
    GENERATED[_header] = "control/api"

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"', re.M)
ANY_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+["<]([^">]+)[">]', re.M)
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|("(?:\\.|[^"\\\n])*")', re.S)


def strip_comments(text):
    return COMMENT.sub(lambda m: m.group(1) or re.sub(r"[^\n]", " ", m.group(0)), text)


def folder_of(path):
    """The architecture's name for the folder of a path below src/, or None."""
    parts = path.split("/")
    if path in GENERATED:
        return GENERATED[path]
    if path == "engine/main.c":
        return "main"
    if path == "cli/main.c":
        return "cli"
    if path == "control/main.c":
        return "control/main"
    if parts[0] == "control" and len(parts) == 3 and "/".join(parts[:2]) in SERVICE:
        return "/".join(parts[:2])
    if parts[0] in ("cli", "preload") and len(parts) == 2:
        return parts[0]
    if parts[0] == "base" and len(parts) == 2:
        return "base"
    if parts[0] == "engine" and len(parts) == 3 and parts[1] in LINE:
        return parts[1]
    return None


def guard_of(path):
    """src/engine/store/db.h is guarded by STORE_DB_H, src/base/buf.h by BASE_BUF_H."""
    return re.sub(r"[^A-Z0-9]", "_", re.sub(r"^engine/", "", path).upper())


class Tree:
    """The C files below ROOT/src and ROOT/test, and what is wrong with them."""

    def __init__(self, root):
        self.root = root
        self.sources = self.read("src")
        self.tests = self.read("test")
        self.includes = {path: INCLUDE.findall(text) for path, text in self.sources.items()}
        self.errors = []
        self.warnings = []

    def read(self, top):
        found = {}
        base = os.path.join(self.root, top)
        for folder, _, names in sorted(os.walk(base)):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    path = os.path.join(folder, name)
                    with open(path, encoding="utf-8") as f:
                        found[os.path.relpath(path, base)] = strip_comments(f.read())
        return found

    def error(self, path, text):
        self.errors.append(f"{path}: {text}")

    def check(self):
        for path in self.sources:
            self.check_edges(path)
            self.check_form("src/" + path, path, self.sources[path])
        for path in self.tests:
            self.check_form("test/" + path, path, self.tests[path])
        return self

    def check_edges(self, path):
        folder = folder_of(path)
        where = "src/" + path
        if folder is None:
            self.error(where, "its folder has no place in the line of folders (tools/check-includes.py)")
            return
        allowed = []
        for include in self.includes[path]:
            if include not in self.sources and include not in GENERATED:
                self.error(where, f'"{include}" is no file below src/')
                continue
            target = folder_of(include)
            if not include.endswith(".h"):
                self.error(where, f'includes "{include}", which is no header')
            elif target not in MAY_INCLUDE[folder] and include not in ALSO.get(folder, ()):
                self.error(where, f'{folder} may not include {target}: "{include}"')
            else:
                allowed.append(include)
        for way in self.reached(allowed):
            if folder_of(way[-1]) in NEVER_REACHES.get(folder, ()):
                self.error(where, f"{folder} must not see {folder_of(way[-1])}: " + " -> ".join(way))

    def reached(self, headers):
        """A shortest way of includes to every header that is seen through these, the last of each way."""
        ways, seen = [[header] for header in headers], set(headers)
        for way in ways:
            for include in self.includes.get(way[-1], ()):
                if include not in seen and include in self.sources:
                    seen.add(include)
                    ways.append(way + [include])
        return ways

    def check_form(self, where, path, text):
        if text.count("\n") > FILE_LINES:
            self.error(where, f"{text.count(chr(10))} lines, more than {FILE_LINES}")
        if path.endswith(".h"):
            self.check_header(where, path, text)
        else:
            own = path[:-2] + ".h"
            first = ANY_INCLUDE.search(text)
            if own in self.sources and where.startswith("src/") and (not first or first.group(1) != own):
                self.error(where, f'does not include "{own}" first')
        start = None
        for number, line in enumerate(text.split("\n"), 1):
            if line.rstrip() == "{":
                start = number
            elif line.startswith("}") and start:
                if number - start - 1 > FUNCTION_LINES:
                    self.warnings.append(f"{where}:{start}: a function of {number - start - 1} lines")
                start = None

    def check_header(self, where, path, text):
        guard = guard_of(path)
        if not re.match(rf"\s*#ifndef {guard}\n#define {guard}\n", text) or not re.search(r"\n#endif\s*\Z", text):
            self.error(where, f"is not guarded by {guard} as a whole")
        body = re.sub(r"^[ \t]*#(\\\n|[^\n])*", "", text, flags=re.M)
        if not body.strip() and not re.search(rf"^#[ \t]*define (?!{guard}\b)", text, flags=re.M):
            self.error(where, "is only a collection of includes")
        count = len(INCLUDE.findall(text))
        if count > UMBRELLA_INCLUDES:
            self.error(where, f"includes {count} of our headers: who includes it sees everything")


# ---- self-test -------------------------------------------------------------------------------------------------------

def header(path, body="int x;\n"):
    return f"/* A header. */\n#ifndef {guard_of(path)}\n#define {guard_of(path)}\n\n{body}\n#endif\n"


def include(*paths):
    return "".join(f'#include "{path}"\n' for path in paths)


GOOD = {
    "src/base/buf.h": header("base/buf.h"),
    "src/base/buf.c": include("base/buf.h") + "int f(void)\n{\n" + "    f();\n" * FUNCTION_LINES + "}\n",
    "src/engine/store/db.h": header("engine/store/db.h", include("base/buf.h") + "int y;\n"),
    "src/engine/types/string.h": header("engine/types/string.h", include("engine/store/db.h") + "int y;\n"),
    "src/engine/cmd/reply.h": header("engine/cmd/reply.h", include("base/buf.h") + "int y;\n"),
    "src/engine/cmd/call.h": header("engine/cmd/call.h", include("engine/store/db.h") + "int y;\n"),
    "src/engine/cmd/strings.c": "#include <string.h>\n\n" + include("engine/cmd/call.h", "engine/types/string.h"),
    "src/engine/cmd/keys.c": include("handlers.h"),
    "src/engine/exec/run.h": header("engine/exec/run.h"),
    "src/engine/proto/resp.h": header("engine/proto/resp.h", include("engine/cmd/reply.h") + "int y;\n"),
    "src/engine/net/conn.h": header("engine/net/conn.h"),
    "src/engine/net/conn.c": include("engine/net/conn.h", "engine/proto/resp.h", "engine/exec/run.h"),
    "src/engine/main.c": "/* #include \"engine/none.h\" */\n" + include("engine/net/conn.h", "engine/store/db.h"),
    "src/control/http/server.h": header("control/http/server.h", include("base/buf.h") + "int y;\n"),
    "src/control/auth/sigv4.c": include("control/http/server.h"),
    "src/control/main.c": include("control/http/server.h"),
    "src/preload/lookup.h": header("preload/lookup.h"),
    "src/cli/env.c": include("base/buf.h", "preload/lookup.h"),
    "test/unit/help.h": header("unit/help.h"),
}

BAD = [
    ({"src/base/bad.c": include("engine/store/db.h")}, "base may not include store"),
    ({"src/engine/store/bad.c": include("engine/types/string.h")}, "store may not include types"),
    ({"src/engine/types/bad.c": include("handlers.h")}, "types may not include cmd"),
    ({"src/engine/types/bad.c": include("engine/proto/resp.h")}, "types may not include proto"),
    ({"src/engine/cmd/bad.c": include("engine/exec/run.h")}, "cmd may not include exec"),
    ({"src/engine/proto/bad.c": include("engine/store/db.h")}, "proto may not include store"),
    ({"src/engine/proto/bad.c": include("engine/cmd/call.h")}, "proto may not include cmd"),
    ({"src/engine/proto/bad.c": include("engine/net/conn.h")}, "proto may not include net"),
    ({"src/engine/exec/run.h": header("engine/exec/run.h", include("engine/store/db.h") + "int z;\n"),
      "src/engine/proto/bad.c": include("engine/exec/run.h")},
     "proto must not see store: engine/exec/run.h -> engine/store/db.h"),
    ({"src/control/http/bad.c": include("engine/store/db.h")}, "control/http may not include store"),
    ({"src/engine/store/bad.c": include("control/http/server.h")}, "store may not include control/http"),
    ({"src/control/state/bad.c": include("control/http/server.h")}, "control/state may not include control/http"),
    ({"src/cli/bad.c": include("control/http/server.h")}, "cli may not include control/http"),
    ({"src/preload/bad.c": include("base/buf.h")}, "preload may not include base"),
    ({"src/engine/exec/bad.c": include("buf.h")}, '"buf.h" is no file below src/'),
    ({"src/engine/exec/bad.c": include("base/buf.c")}, "which is no header"),
    ({"src/engine/odd/bad.c": ""}, "has no place in the line"),
    ({"src/engine/net/conn.c": "#include <stdio.h>\n" + include("engine/net/conn.h")},
     'does not include "engine/net/conn.h" first'),
    ({"src/base/bad.h": header("base/good.h")}, "is not guarded by BASE_BAD_H"),
    ({"src/base/bad.h": "int early;\n" + header("base/bad.h")}, "is not guarded by BASE_BAD_H"),
    ({"src/base/bad.h": header("base/bad.h") + "int late;\n"}, "is not guarded by BASE_BAD_H"),
    ({"test/unit/bad.h": header("unit/good.h")}, "is not guarded by UNIT_BAD_H"),
    ({"src/base/bad.h": header("base/bad.h", include("base/buf.h"))}, "only a collection of includes"),
    ({"src/engine/exec/bad.h": header("engine/exec/bad.h", include("base/buf.h") * 17 + "int z;\n")},
     "includes 17 of our headers"),
    ({"src/base/bad.c": "\n" * (FILE_LINES + 1)}, f"more than {FILE_LINES}"),
]


def checked(files):
    with tempfile.TemporaryDirectory() as root:
        for name, text in files.items():
            path = os.path.join(root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        return Tree(root).check()


def self_test():
    tree = checked(GOOD)
    assert not tree.errors, tree.errors
    assert not tree.warnings, tree.warnings
    for files, expected in BAD:
        errors = checked({**GOOD, **files}).errors
        assert len(errors) == 1 and expected in errors[0], (expected, errors)
    long = {"src/base/buf.c": GOOD["src/base/buf.c"].replace("}\n", "    f();\n}\n")}
    tree = checked({**GOOD, **long})
    assert not tree.errors and tree.warnings == [f"src/base/buf.c:3: a function of {FUNCTION_LINES + 1} lines"], \
        (tree.errors, tree.warnings)


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    tree = Tree(root).check()
    for text in tree.warnings:
        print(f"warning: {text}")
    for text in tree.errors:
        print(f"error: {text}", file=sys.stderr)
    return 1 if tree.errors else 0


if __name__ == "__main__":
    sys.exit(main())
