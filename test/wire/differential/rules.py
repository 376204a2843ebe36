"""How the replies of the two servers compare, command by command.

Replies are tagged (see support/resp.py), so types always count. The rule is equality. RULES lists the exceptions, each
with the reason why Redis's answer is no fixed truth; nothing else may differ. Errors are compared exactly whatever the
command, unless its rule takes `errors` upon itself. A comparison returns None, or says what is wrong.
"""

from differential import stream
from support.resp import plain

TOLERANCE_SECONDS = 10
CONTAINERS = {b"CLIENT", b"COMMAND", b"CONFIG", b"OBJECT", b"MEMORY", b"DEBUG"}
OWN_COMMANDS = {name.lower().decode() for name in stream.COMMANDS}
OWN_SUBCOMMANDS = {
    "client": {"id", "info", "list", "kill", "getname", "setname", "pause", "unpause", "reply", "no-evict"},
    "command": {"count", "docs", "getkeys", "getkeysandflags", "info", "list"},
    "config": {"get", "set", "resetstat", "rewrite"},
    "object": {"encoding", "freq", "idletime", "refcount"},
    "memory": {"usage"},
}
# What COMMAND DOCS says in words; subcommands are compared one by one.
DOCS_PROSE = {"summary", "complexity", "replaced_by", "subcommands"}
# Settings whose value belongs to the server at hand.
OWN_SETTINGS = {"port", "unixsocket"}
CLIENT_FIELDS = ("name", "db", "sub", "psub", "multi", "user", "redir", "resp", "flags", "cmd")
CLIENT_LIST_FIELDS = ("name", "db", "sub", "psub", "multi", "user", "resp")


def exact(args, ours, theirs):
    return None if ours == theirs else "the replies differ"


def same_type(args, ours, theirs):
    return None if ours[0] == theirs[0] and (ours[1] is None) == (theirs[1] is None) else "the reply types differ"


def memory_usage(args, ours, theirs):
    if ours == ("$", None) or ours == ("_", None):
        return None if theirs[0] == ":" else same_type(args, ours, theirs)
    return same_type(args, ours, theirs)


def unordered(args, ours, theirs):
    if ours[0] != theirs[0]:
        return "the reply types differ"
    return None if sorted(ours[1], key=repr) == sorted(theirs[1], key=repr) else "the elements differ"


def near(tolerance):
    """Integers at most `tolerance` apart; negative ones are answers of their own and have to be equal."""
    def compare(args, ours, theirs):
        if ours[0] != ":" or theirs[0] != ":" or min(ours[1], theirs[1]) < 0:
            return exact(args, ours, theirs)
        return None if abs(ours[1] - theirs[1]) <= tolerance else f"more than {tolerance} apart"
    return compare


def clock(args, ours, theirs):
    def seconds(reply):
        return int(reply[1][0][1])
    if [item[0] for item in ours[1]] != ["$", "$"] or ours[0] != theirs[0] or not 0 <= int(ours[1][1][1]) < 10 ** 6:
        return "not a time"
    return None if abs(seconds(ours) - seconds(theirs)) <= TOLERANCE_SECONDS else "the clocks differ"


def help_text(args, ours, theirs):
    if ours[0] != "*" or theirs[0] != "*":
        return exact(args, ours, theirs)
    if len(ours[1]) < 4 or any(item[0] != "+" for item in ours[1]):
        return "not a list of status lines"
    same = ours[1][0] == theirs[1][0] and ours[1][-2] == theirs[1][-2]
    return None if same else "another head, or no HELP at the end"


def hello(args, ours, theirs):
    mine, other = pairs(ours), pairs(theirs)
    if ours[0] != theirs[0] or list(mine) != list(other):
        return "the fields differ"
    return differing(mine, other, ("server", "proto", "mode", "role", "modules"))


def pairs(reply):
    """A map reply of either protocol as a dictionary with text keys."""
    value = plain(reply)
    if isinstance(value, list):
        value = dict(zip(value[::2], value[1::2]))
    return {key.decode(): item for key, item in value.items()}


def differing(mine, other, names):
    wrong = [name for name in names if mine.get(name) != other.get(name)]
    if wrong:
        return "different: " + ", ".join(f"{name} {mine.get(name)!r} / {other.get(name)!r}" for name in wrong)
    return None


def client_lines(reply):
    return [dict(field.split("=", 1) for field in line.split(" ")) for line in plain(reply).decode().splitlines()]


def client_info(args, ours, theirs):
    if ours[0] != theirs[0]:
        return "the reply types differ"
    mine, other = client_lines(ours), client_lines(theirs)
    if len(mine) != 1 or not set(other[0]) <= set(mine[0]):
        return f"fields are missing: {set(other[0]) - set(mine[0])}"
    return differing(mine[0], other[0], CLIENT_FIELDS)


def client_list(args, ours, theirs):
    if ours[0] != theirs[0]:
        return "the reply types differ"

    def summary(reply):
        return sorted([line[name] for name in CLIENT_LIST_FIELDS] for line in client_lines(reply))
    return None if summary(ours) == summary(theirs) else f"the clients differ: {summary(ours)} / {summary(theirs)}"


def config_get(args, ours, theirs):
    if ours[0] != theirs[0]:
        return "the reply types differ"
    mine, other = pairs(ours), pairs(theirs)
    names = [name.decode() for name in stream.SETTINGS if name.decode() not in OWN_SETTINGS]
    return differing(mine, other, names)


def names_of(reply):
    return {name.decode() for name in plain(reply)} & OWN_COMMANDS


def command_list(args, ours, theirs):
    if ours[0] != theirs[0]:
        return "the reply types differ"
    wrong = names_of(ours) ^ names_of(theirs)
    return f"different: {sorted(wrong)}" if wrong else None


def command_entry(mine, other):
    if mine is None or other is None:
        return None if mine == other else "one does not know the command"
    if mine[:2] + mine[3:6] != other[:2] + other[3:6]:
        return f"name, arity or key positions: {mine[:6]} / {other[:6]}"
    for at, what in ((2, "flags"), (6, "categories"), (7, "tips")):
        if sorted(mine[at]) != sorted(other[at]):
            return f"{what} of {mine[0]}: {sorted(mine[at])} / {sorted(other[at])}"
    if key_specs(mine[8]) != key_specs(other[8]):
        return f"key specifications of {mine[0]}: {mine[8]} / {other[8]}"
    mine_sub = {entry[0]: entry for entry in mine[9]}
    other_sub = {entry[0]: entry for entry in other[9]}
    name = mine[0].decode()
    missing = {f"{name}|{sub}".encode() for sub in OWN_SUBCOMMANDS.get(name, ())} - set(mine_sub)
    if missing:
        return f"subcommands are missing: {missing}"
    for sub in sorted(set(mine_sub) & set(other_sub)):
        wrong = command_entry(mine_sub[sub], other_sub[sub])
        if wrong:
            return wrong
    return None


def key_specs(specs):
    """Key specifications in a form that does not depend on the protocol or on the order of flags. Notes are prose."""
    out = []
    for spec in specs:
        if isinstance(spec, list):
            spec = dict(zip(spec[::2], spec[1::2]))
        out.append({key: sorted(value) if key == b"flags" else value for key, value in spec.items()
                    if key != b"notes"})
    return out


def command_info(args, ours, theirs):
    if shape(ours) != shape(theirs):
        return "the reply types differ"
    mine, other = plain(ours), plain(theirs)
    if len(args) <= 2:
        # The whole table.
        mine = [entry for entry in mine if entry[0].decode() in OWN_COMMANDS]
        mine_by = {entry[0]: entry for entry in mine}
        other_by = {entry[0]: entry for entry in other if entry[0].decode() in OWN_COMMANDS}
        if set(mine_by) != set(other_by):
            return f"different: {set(mine_by) ^ set(other_by)}"
        mine, other = [mine_by[name] for name in sorted(mine_by)], [other_by[name] for name in sorted(other_by)]
    if len(mine) != len(other):
        return "the number of entries differs"
    return next(filter(None, map(command_entry, mine, other)), None)


def shape(reply):
    """The wire types of each entry of a command table, by name."""
    tag, entries = reply
    shapes = {}
    for at, entry in enumerate(entries):
        if entry[1] is None:
            shapes[at] = entry[0]
        elif entry[1][0][1].decode() in OWN_COMMANDS:
            shapes[entry[1][0]] = (entry[0], [item[0] for item in entry[1]])
    return tag, shapes


def command_docs(args, ours, theirs):
    if ours[0] != theirs[0]:
        return "the reply types differ"
    mine, other = pairs(ours), pairs(theirs)
    if set(mine) != set(other):
        return f"different: {set(mine) ^ set(other)}"
    for name in mine:
        wrong = docs_entry(name, mine[name], other[name])
        if wrong:
            return wrong
    return None


def docs_entry(name, mine, other):
    """Everything but prose: the fields and their order, versions, flags, arguments, and the same of subcommands."""
    one, two = ({key.decode(): value for key, value in _mapping(doc).items()} for doc in (mine, other))
    if list(one) != list(two) or not one["summary"]:
        return f"{name}: the fields differ, or the summary is empty: {list(one)} / {list(two)}"
    for entry in (one, two):
        if "history" in entry:
            entry["history"] = [version for version, _ in entry["history"]]
    wrong = differing(one, two, [field for field in two if field not in DOCS_PROSE])
    if wrong:
        return f"{name}: {wrong}"
    subs, other_subs = _mapping(one.get("subcommands", {})), _mapping(two.get("subcommands", {}))
    return next(filter(None, (docs_entry(sub.decode(), subs[sub], other_subs[sub])
                              for sub in sorted(set(subs) & set(other_subs)))), None)


def _mapping(value):
    return dict(zip(value[::2], value[1::2])) if isinstance(value, list) else value


def debug_object(args, ours, theirs):
    def fields(reply):
        return dict(word.split(":", 1) for word in reply[1].decode().replace("Value at", "at").split(" "))
    if ours[0] != theirs[0]:
        return "the reply types differ"
    mine, other = fields(ours), fields(theirs)
    if not set(other) <= set(mine):
        return f"fields are missing: {set(other) - set(mine)}"
    return differing(mine, other, ("encoding",))


def scan_page(args, ours, theirs):
    if ours[0] != theirs[0] or [item[0] for item in ours[1]] != [item[0] for item in theirs[1]]:
        return "the reply types differ"
    return None


NOT_GONE = "a key that expired counts until something notices; probes compare exactly after a whole SCAN"
LAG = "relative deadlines start when each server runs the command, some milliseconds apart"
OWN_PROSE = "help texts and summaries are each server's own words"
OWN_STORE = "depends on how each server stores a value, which is not promised to clients"
MORE_COMMANDS = "each server also has commands that the other lacks"

# command or container|subcommand: (comparison, reason)
RULES = {
    "TTL": (near(TOLERANCE_SECONDS), LAG),
    "PTTL": (near(TOLERANCE_SECONDS * 1000), LAG),
    "EXPIRETIME": (near(TOLERANCE_SECONDS), LAG),
    "PEXPIRETIME": (near(TOLERANCE_SECONDS * 1000), LAG),
    "TIME": (clock, "the clock goes on"),
    "KEYS": (unordered, "the order is that of each server's table"),
    "SCAN": (scan_page, "cursors and pages are each server's own; probes compare whole iterations"),
    "RANDOMKEY": (same_type, "random; a probe checks that each server's choice exists in the other"),
    "DBSIZE": (same_type, NOT_GONE),
    "INFO": (same_type, "measured values; field names and types are tested one by one, key counts by a probe"),
    "HELLO": (hello, "version and connection id are each server's own"),
    "OBJECT|IDLETIME": (near(TOLERANCE_SECONDS), "measured time"),
    "OBJECT|FREQ": (same_type, "a probabilistic counter"),
    "OBJECT|REFCOUNT": (same_type, OWN_STORE),
    "OBJECT|HELP": (help_text, OWN_PROSE),
    "MEMORY|USAGE": (memory_usage, OWN_STORE + "; Redis also measures a key that has expired but is not removed yet"),
    "MEMORY|HELP": (help_text, OWN_PROSE),
    "DEBUG|OBJECT": (debug_object, OWN_STORE + "; the encoding is, and compared"),
    "DEBUG|HELP": (help_text, OWN_PROSE),
    "CLIENT|ID": (same_type, "ids count each server's own connections"),
    "CLIENT|INFO": (client_info, "addresses, ids, sizes and times differ; the fields in CLIENT_FIELDS may not"),
    "CLIENT|LIST": (client_list,
                    "as CLIENT INFO; a listed connection's flags, events and command are seen at some moment"),
    "CLIENT|HELP": (help_text, OWN_PROSE),
    "COMMAND|COUNT": (same_type, MORE_COMMANDS),
    "COMMAND|LIST": (command_list, MORE_COMMANDS),
    "COMMAND|INFO": (command_info, MORE_COMMANDS + ", and flags are sets"),
    "COMMAND": (command_info, MORE_COMMANDS + ", and flags are sets"),
    "COMMAND|DOCS": (command_docs, OWN_PROSE + "; all that is no prose is compared"),
    "COMMAND|HELP": (help_text, OWN_PROSE),
    "CONFIG|GET": (config_get, "each server has settings that the other lacks; those in stream.SETTINGS are compared"),
    "CONFIG|HELP": (help_text, OWN_PROSE),
}


def rule_name(args):
    name = args[0].upper()
    if name in CONTAINERS and len(args) > 1 and isinstance(args[1], bytes):
        name += b"|" + args[1].upper()
    return name.decode("latin-1")


def compare(args, ours, theirs):
    """What is wrong with our reply to one command, or None."""
    if ours == theirs:
        return None
    if ours[0] in "-!" or theirs[0] in "-!":
        return "the errors differ" if ours[0] == theirs[0] else "one of the replies is an error"
    if theirs == ("+", b"QUEUED") or ours == ("+", b"QUEUED"):
        return "one of the commands was queued"
    comparison = RULES.get(rule_name(args), (exact, ""))[0]
    try:
        return comparison(args, ours, theirs)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as failure:
        return f"the reply has another shape ({failure!r})"
