"""Decides whether a history of appends and reads can be explained by a server that keeps its promises.

Clients append tokens that nobody else uses ("c3.17;") to string keys, read the keys, and do several of both in a
transaction. Because every token is unique and an append keeps what was there, the final value of a key is the order in
which its appends took effect, and every read shows a moment of that order. So most of what may go wrong can be seen
directly: a token that is missing, there twice, out of order, or half of a transaction. What concerns several keys at
once (a transaction that another one saw the half of, two transactions in different orders on two keys, a read of an old
state after a newer one) is a cycle among the operations that had to come before one another; this is how Elle treats
histories of lists, with the difference that here the final value is known, so nothing has to be guessed.

Sound, not complete: a reported anomaly is one, whatever the timing was. An operation whose fate is unknown may have
happened or not, at any time after it began, but it happened in whole or not at all.
"""

import bisect
import collections
import dataclasses
import math
import typing

OK, FAIL, UNKNOWN = "ok", "fail", "unknown"
END = b";"
SHOWN = 30


@dataclasses.dataclass
class Append:
    key: bytes
    token: bytes                    # without the closing semicolon
    length: typing.Optional[int] = None     # what the server answered: the value's length after it


@dataclasses.dataclass
class Read:
    key: bytes
    value: typing.Optional[bytes] = None


@dataclasses.dataclass
class Operation:
    """One command, or one transaction of several actions. Operations of one client are in its order; a client that lost
    its connection goes on under another name, since the server may still be about to do what it was told."""

    client: str
    actions: list
    invoked: float
    completed: float = math.inf
    outcome: str = UNKNOWN
    stale: bool = False             # a read that may be old (from a replica): it has no place in time

    @property
    def appends(self):
        return [action for action in self.actions if isinstance(action, Append)]

    @property
    def reads(self):
        return [action for action in self.actions if isinstance(action, Read)]

    def __str__(self):
        words = [f"append {a.token.decode()} to {a.key.decode()}" if isinstance(a, Append) else f"read {a.key.decode()}"
                 for a in self.actions]
        kind = "" if len(words) == 1 else "transaction: "
        return f"[{self.client} {self.outcome}: {kind}{', '.join(words)}]"


def tokens_of(value):
    """The tokens of a value; None when it does not end with one."""
    if not value:
        return []
    if not value.endswith(END):
        return None
    return value[:-1].split(END)


def check(operations, final, allow_lost_after=None, durable_reads=True, shown=SHOWN):
    """The anomalies of a history as lines of text; none when there are none.

    `final` is {key: value} of every key after the last operation. `allow_lost_after` is for servers that promise less
    than to keep all they acknowledged: (since, until), or a list of such pairs, each for one crash at the time `until`:
    what was acknowledged after `since`, and begun before `until`, may be missing then, if nothing that came after it is
    there. A number alone is `since` of a crash after which nobody wrote. With durable_reads=False a value that was read
    may be missing later, although nobody was told that it was kept."""
    if allow_lost_after is None:
        windows = []
    elif isinstance(allow_lost_after, (int, float)):
        windows = [(allow_lost_after, math.inf)]
    else:
        windows = [allow_lost_after] if isinstance(allow_lost_after, tuple) else list(allow_lost_after)
    checker = _Checker(operations, final, windows, durable_reads)
    found = checker.run()
    if len(found) > shown:
        found[shown:] = [f"... and {len(found) - shown} more anomalies"]
    return found


class _Checker:
    def __init__(self, operations, final, windows, durable_reads):
        self.operations = sorted(operations, key=lambda op: op.invoked)
        self.windows = windows
        self.durable_reads = durable_reads
        self.found = []
        self.owner = {}         # token -> (operation, append)
        self.order = {}         # key -> tokens in their final order
        self.place = {}         # token -> its place in its key's order
        self.ends = {}          # token -> length of the value up to its end
        self.clean = {}         # key -> its final value, where that is made of the tokens of `order`
        self.accepted = {}      # key -> a value that was read, and that is in order although some of it is missing now
        self.prefixes = {}      # id of a read -> how many tokens it showed, when they were the first of the final order
        self.clients = collections.defaultdict(list)
        self.lost = []          # acknowledged operations that are missing, and may be
        for op in self.operations:
            self.clients[op.client].append(op)
            for append in op.appends:
                assert append.token not in self.owner, f"the token {append.token!r} was used twice"
                self.owner[append.token] = (op, append)
        self._read_final(final)

    def say(self, text):
        self.found.append(text)

    def run(self):
        self._check_presence()
        self._check_transactions()
        self._check_suffix()
        self._check_reads()
        self._check_lengths()
        self._check_client_order()
        self._check_time_order()
        if not self.found:
            # Most of what was found would be a cycle as well; it was said more simply.
            self._check_cycles()
        return self.found

    # ---- single tokens

    def _read_final(self, final):
        for key, value in final.items():
            tokens = tokens_of(value)
            if tokens is None:
                self.say(f"torn value: {key.decode()} ends with {value[-30:]!r}")
                tokens = value.split(END)[:-1]
            self.order[key] = []
            length = 0
            for token in tokens:
                length += len(token) + 1
                owner = self.owner.get(token)
                if owner is None:
                    self.say(f"phantom: {key.decode()} holds {token[:60]!r}, which nobody appended")
                elif owner[1].key != key:
                    self.say(f"wrong key: {key.decode()} holds {token.decode()}, of {owner[1].key.decode()}")
                elif token in self.place:
                    self.say(f"duplicate: {key.decode()} holds {token.decode()} twice, of {owner[0]}")
                else:
                    self.place[token] = len(self.order[key])
                    self.ends[token] = length
                    self.order[key].append(token)
            if len(self.order[key]) == len(tokens) and length == len(value):
                self.clean[key] = value

    def _crash_of(self, op):
        """The crash that this acknowledged operation may be lost in, or None."""
        for since, until in self.windows:
            if op.completed > since and op.invoked < until:
                return until
        return None

    def _check_presence(self):
        for op in self.operations:
            missing = [append for append in op.appends if append.token not in self.place]
            if op.outcome == FAIL:
                for append in op.appends:
                    if append.token in self.place:
                        self.say(f"failed, but there: {append.token.decode()} in {append.key.decode()}, of {op}")
            elif op.outcome == OK and missing:
                if self._crash_of(op) is not None:
                    self.lost.append(op)
                else:
                    for append in missing:
                        self.say(f"lost write: {append.token.decode()} was acknowledged at {op.completed:.3f}, and is "
                                 f"not in {append.key.decode()}; {op}")

    # ---- transactions

    def _check_transactions(self):
        for op in self.operations:
            if len(op.appends) < 2:
                continue
            there = [append.token in self.place for append in op.appends]
            if any(there) and not all(there):
                tokens = [f"{a.token.decode()} is {'there' if t else 'missing'}" for a, t in zip(op.appends, there)]
                self.say(f"half transaction: {', '.join(tokens)}, of {op}")
                continue
            if not any(there):
                continue
            last = {}
            for append in op.appends:
                place = self.place[append.token]
                if append.key in last and place != last[append.key] + 1:
                    self.say(f"transaction torn apart: {append.token.decode()} in {append.key.decode()} does not "
                             f"follow the append before it, of {op}")
                last[append.key] = place

    # ---- what a crash may take

    def _present(self, op):
        return any(append.token in self.place for append in op.appends)

    def _check_suffix(self):
        """Nothing later than something lost may be there: by the order of a client, and by time over all of them."""
        for until in {self._crash_of(op) for op in self.lost}:
            lost = {id(op) for op in self.lost if self._crash_of(op) == until}
            for ops in self.clients.values():
                gone = None
                for op in ops:
                    if id(op) in lost:
                        gone = gone or op
                    elif gone and op.invoked < until and self._present(op):
                        self.say(f"not a suffix: {gone} is lost, but {op} of that client came after it and is there")
                        break
            first = min((op for op in self.lost if id(op) in lost), key=lambda op: op.completed)
            for op in self.operations:
                if first.completed < op.invoked < until and op.client != first.client and self._present(op):
                    self.say(f"not a suffix: {first} is lost, but {op} was begun after its answer, and is there")
                    break

    # ---- reads

    def _check_reads(self):
        for op in self.operations:
            if op.outcome != OK:
                continue
            known = {}
            for action in op.actions:
                if isinstance(action, Append):
                    if action.key in known:
                        known[action.key] = known[action.key] + action.token + END
                    continue
                value = action.value or b""
                if action.key in known and value != known[action.key]:
                    self.say(f"read inside a transaction: {action.key.decode()} ends with {value[-40:]!r} instead of "
                             f"{known[action.key][-40:]!r}, in {op}")
                known[action.key] = value
                self._check_read(op, action)
            self._check_own(op)

    def _check_own(self, op):
        """A read sees what its own transaction appended to that key before it, at the end, and nothing of what it
        appended later."""
        if not op.appends:
            return
        mine = collections.defaultdict(list)
        later = {append.token for append in op.appends}
        for action in op.actions:
            if isinstance(action, Append):
                mine[action.key].append(action.token)
                later.discard(action.token)
                continue
            tokens = tokens_of(action.value) or []
            own = mine[action.key]
            if own and tokens[-len(own):] != own:
                self.say(f"own append not seen: {action.key.decode()} read as {(action.value or b'')[-40:]!r}, in {op}")
            for token in later.intersection(tokens):
                self.say(f"read from the future: {token.decode()} was seen before it was appended, in {op}")

    def _check_read(self, op, read):
        key = read.key.decode()
        value = read.value or b""
        if value[-1:] in (b"", END) and self.clean.get(read.key, b"").startswith(value):
            # Nearly every read, and some are long.
            self.prefixes[id(read)] = value.count(END)
            return
        if value and not value.endswith(END):
            self.say(f"torn read: {key} read as ...{value[-30:]!r}, in {op}")
            return
        final = self.order.get(read.key, [])
        start = _common(value, self.clean.get(read.key) or b"".join(token + END for token in final))
        same = value.count(END, 0, start)
        for token in tokens_of(value[max(start, _common(value, self.accepted.get(read.key, b""))):]):
            owner = self.owner.get(token)
            if owner is None:
                self.say(f"phantom read: {token[:60]!r} in {key}, which nobody appended, in {op}")
                return
            if owner[0].outcome == FAIL:
                self.say(f"dirty read: {token.decode()} in {key} was read, but its append failed, in {op}")
                return
            if token in self.place:
                shown = b";".join(tokens_of(value)[max(0, same - 1):same + 3]).decode()
                self.say(f"not a prefix: {key} was read as ...{shown} from place {max(0, same - 1)} on, but is "
                         f"...{b';'.join(final[max(0, same - 1):same + 3]).decode()} in the end, in {op}")
                return
            if self.durable_reads and owner[0].outcome == UNKNOWN and self._crash_of(owner[0]) is None:
                self.say(f"read, then lost: {token.decode()} in {key} was read at {op.completed:.3f}, and is not there "
                         f"in the end, in {op}")
                return
        self.accepted[read.key] = value

    def _check_lengths(self):
        """An append's answer tells its place. After a loss the places of what is still there have not changed."""
        for token, end in self.ends.items():
            op, append = self.owner[token]
            if op.outcome == OK and append.length is not None and append.length != end:
                self.say(f"wrong length: the append of {token.decode()} to {append.key.decode()} was answered "
                         f"{append.length}, but it ends at {end}, of {op}")

    # ---- order on one key

    def _check_client_order(self):
        number = {id(op): i for ops in self.clients.values() for i, op in enumerate(ops)}
        for key, tokens in self.order.items():
            last = {}
            for token in tokens:
                op = self.owner[token][0]
                before = last.get(op.client)
                if before is not None and number[id(before)] > number[id(op)]:
                    self.say(f"client order: in {key.decode()} {before} stands before {op}")
                last[op.client] = op

    def _check_time_order(self):
        for key, tokens in self.order.items():
            earliest = None
            for token in reversed(tokens):
                op = self.owner[token][0]
                if earliest is not None and earliest.completed < op.invoked:
                    self.say(f"time order: in {key.decode()} {op} stands before {earliest}, which was acknowledged "
                             f"{op.invoked - earliest.completed:.6f} s before that one began")
                if op.outcome == OK and (earliest is None or op.completed < earliest.completed):
                    earliest = op

    # ---- order over several keys

    def _graph(self):
        """{node: {node: reason}}: what had to come before what. Nodes are operations (by place in the list), and one
        per moment at which something was acknowledged: these stand for "before it in time" without an edge for every
        pair."""
        nodes = {i: op for i, op in enumerate(self.operations)
                 if op.outcome == OK and not (op.appends and not self._present(op)) or
                 op.outcome == UNKNOWN and self._present(op)}
        index = {id(op): i for i, op in nodes.items()}
        edges = collections.defaultdict(dict)

        def edge(before, after, reason):
            a, b = index.get(id(before)), index.get(id(after))
            if a is not None and b is not None and a != b:
                edges[a].setdefault(b, reason)

        for key, tokens in self.order.items():
            for one, other in zip(tokens, tokens[1:]):
                edge(self.owner[one][0], self.owner[other][0], f"appended to {key.decode()} before")
        for op in nodes.values():
            if op.outcome != OK:
                continue
            for read in op.reads:
                self._read_edges(op, read, edge)
        for ops in self.clients.values():
            present = [op for op in ops if id(op) in index]
            for one, other in zip(present, present[1:]):
                edge(one, other, "was sent by the same client before")
        timed = [op for op in nodes.values() if op.outcome == OK and not op.stale]
        moments = sorted(op.completed for op in timed)
        for i in range(len(moments) - 1):
            edges[("time", i)].setdefault(("time", i + 1), "")
        for op in timed:
            edges[index[id(op)]].setdefault(("time", bisect.bisect_left(moments, op.completed)), "")
        for op in nodes.values():
            at = bisect.bisect_left(moments, op.invoked) - 1
            if at >= 0 and not op.stale:
                edges[("time", at)].setdefault(index[id(op)], "")
        return edges

    def _read_edges(self, op, read, edge):
        size = self.prefixes.get(id(read))
        if size is None:
            return
        key, final = read.key.decode(), self.order.get(read.key, [])
        # Own appends say nothing about others: what counts is the last one of somebody else.
        last = size - 1
        while last >= 0 and self.owner[final[last]][0] is op:
            last -= 1
        if last >= 0:
            edge(self.owner[final[last]][0], op, f"was seen in {key} by")
        if size < len(final):
            edge(op, self.owner[final[size]][0], f"read {key} before the append of")

    def _check_cycles(self):
        edges = self._graph()
        for component in _components(edges):
            cycle = _shortest_cycle(edges, component)
            parts = []
            for i, node in enumerate(cycle):
                if isinstance(node, tuple):
                    continue
                reason = edges[node][cycle[(i + 1) % len(cycle)]] or "was acknowledged before the start of"
                parts.append(f"{self.operations[node]} {reason}")
            self.say(f"cycle: {' '.join(parts)} the first of these")


def _common(a, b):
    """The length of what two values have in common at their beginning, in whole tokens."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return a.rfind(END, 0, low) + 1


def _components(edges):
    """The strongly connected components of more than one node (Tarjan's algorithm, without recursion)."""
    number, low, on_stack, stack, found = {}, {}, set(), [], []
    for root in list(edges):
        if root in number:
            continue
        work = [(root, iter(edges.get(root, ())))]
        number[root] = low[root] = len(number)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, successors = work[-1]
            for successor in successors:
                if successor not in number:
                    number[successor] = low[successor] = len(number)
                    stack.append(successor)
                    on_stack.add(successor)
                    work.append((successor, iter(edges.get(successor, ()))))
                    break
                if successor in on_stack:
                    low[node] = min(low[node], number[successor])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    component = set()
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        component.add(member)
                        if member == node:
                            break
                    if len(component) > 1:
                        found.append(component)
    return found


def _shortest_cycle(edges, component):
    """A short cycle of a component: the shortest through one of its first operations."""
    best = None
    starts = sorted(node for node in component if not isinstance(node, tuple))[:50]
    for start in starts:
        came = {start: None}
        queue = collections.deque([start])
        while queue and start is not None:
            node = queue.popleft()
            if start in edges.get(node, ()):
                cycle = []
                while node is not None:
                    cycle.append(node)
                    node = came[node]
                if best is None or len(cycle) < len(best):
                    best = cycle[::-1]
                break
            for successor in edges.get(node, ()):
                if successor in component and successor not in came:
                    came[successor] = node
                    queue.append(successor)
    return best
