"""Put what is known about the backend's kind under what the operator wrote; the operator's keys win.

A route of the kind is merged into the operator's route of the same name, or of the same or a narrower path.
Where another route of the operator would take all or some of its requests, it comes before that one, for those
requests, and has all of its keys: `/v1/*` with `session: required` does not switch the text's guard off.
Otherwise it comes last.

A kind of a server of `backends` belongs to the routes that name the server: its operations come before such a
route, within its path, and its CSP and sizes are those of the route.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from sidecar.policy.document.load import Document
from sidecar.policy.document.yaml_nodes import NOWHERE, Node, Place
from sidecar.policy.kinds.catalogue import GENERIC, Kind, pattern_of, read_kind
from sidecar.policy.kinds.overlap import overlap
from sidecar.policy.kinds.placement import at, placed
from sidecar.policy.routes import Pattern
from sidecar.policy.schema.quantities import octets

PREFIX: Final = "kind:"
OWN: Final = ("name", "match")
"""Keys of a route that never come from another one."""

LONGEST_NAME: Final = 63
"""Characters of a route's name."""

MAX_BODY: Final = "4MiB"
"""Of a body with text; conversations that pages send again may hold pictures."""

ADAPTABLE: Final = ("app", "embeddable")
"""Presets whose CSP a kind adapts: with another one, the operator has decided about the CSP."""


@dataclass(frozen=True, slots=True)
class Merged:
    """A document with a kind's values in it; `made` are the indexes of the routes that the kind added."""

    document: Document
    kind: Kind | None = None
    made: frozenset[int] = frozenset()


def with_kind(document: Document) -> Merged:
    """Return the document with the values of its `backend.kind`, and with its own `message` in each route."""
    root = document.root
    kind = _kind_of(document.tree.get("backend"))
    others = _kinds_of_backends(document.tree)
    own = {"message": root.children["message"]} if isinstance(root.value.get("message"), dict) else {}
    if others:
        root = _with_backends(root, others, own)
    if kind is not None:
        origin = PREFIX + kind.name
        bound = _bound(kind, root)
        root = under(root, made(_policy_of(kind, root.value.get("security_headers")), origin))
        routes = root.children.get("routes") or made([], origin)
        if isinstance(routes.value, list):
            root = with_child(root, "routes", _merged_routes(routes, kind, bound, own, frozenset(others)))
    root = _with_message_defaults(root)
    rows = root.children["routes"].children if "routes" in root.children else {}
    numbers = frozenset(number for number, row in enumerate(rows.values()) if row.origin)
    return Merged(Document(document.source, root.value, root), kind, numbers)


def _kind_of(server: Any) -> Kind | None:
    name = server.get("kind") if isinstance(server, dict) else None
    return read_kind(name) if isinstance(name, str) else None


def _kinds_of_backends(tree: dict[str, Any]) -> dict[str, Kind]:
    servers = tree.get("backends")
    found = {name: _kind_of(one) for name, one in servers.items()} if isinstance(servers, dict) else {}
    return {name: kind for name, kind in found.items() if kind is not None and kind.name != GENERIC}


def made(value: Any, origin: str) -> Node:
    """Return a node for a value that is in no file of the operator's."""
    if isinstance(value, dict):
        children = {key: made(item, origin) for key, item in value.items()}
    elif isinstance(value, list):
        children = {f"[{index}]": made(item, origin) for index, item in enumerate(value)}
    else:
        children = {}
    return Node(value, NOWHERE, NOWHERE, children, origin=origin)


def under(node: Node, other: Node) -> Node:
    """Return the node with the keys of `other` that it lacks, at every depth. Lists are not joined."""
    if not (isinstance(node.value, dict) and isinstance(other.value, dict)):
        return node
    for key, child in other.children.items():
        node = with_child(node, key, under(node.children[key], child) if key in node.children else child)
    return node


def with_child(node: Node, key: str, child: Node) -> Node:
    """Return a mapping's node with this child."""
    return replace(node, value={**node.value, key: child.value}, children={**node.children, key: child})


def listed(node: Node, rows: list[Node]) -> Node:
    """Return a list's node with these rows."""
    return replace(node, value=[row.value for row in rows], children={f"[{i}]": row for i, row in enumerate(rows)})


def _policy_of(kind: Kind, headers: Any) -> dict[str, Any]:
    """Return the kind's sections, without its CSP where the operator's `security_headers` have decided about that."""
    if not isinstance(headers, dict) or "security_headers" not in kind.policy:
        return kind.policy
    if headers.get("preset", ADAPTABLE[0]) in ADAPTABLE and "Content-Security-Policy" not in headers:
        return kind.policy
    return {key: value for key, value in kind.policy.items() if key != "security_headers"}


def _bound(kind: Kind, root: Node) -> dict[str, str]:
    """Return the size of bodies with text where the kind allows larger uploads: bodies with text are held in memory."""
    requests = root.value.get("requests")
    written = isinstance(requests, dict) and "max_body" in requests
    return {} if written or "max_body" not in kind.policy.get("requests", {}) else {"max_body": MAX_BODY}


def _merged_routes(
    routes: Node, kind: Kind, bound: dict[str, str], own: dict[str, Node], elsewhere: frozenset[str]
) -> Node:
    """Return the routes with the kind's; those that lead to the backends `elsewhere` have kinds of their own."""
    rows = list(routes.children.values())
    operations = [_made_route({**operation, **bound}, kind, own) for operation in kind.operations]
    filled = frozenset(row.at for row in rows if any(_is_for(row, each) for each in operations))
    for operation in operations:
        suffix = operation.value["name"].removeprefix(f"{kind.name}-")
        rows = _with_operation(rows, operation, suffix, elsewhere, filled)
    return listed(routes, rows)


def _made_route(operation: dict[str, Any], kind: Kind, own: dict[str, Node]) -> Node:
    """Return a route of a kind. What the policy's `message` says goes before what the kind says of messages."""
    route = made(operation, PREFIX + kind.name)
    if "message" in own and "message" in route.children:
        route = with_child(route, "message", under(own["message"], route.children["message"]))
    return route


def _with_operation(
    rows: list[Node], operation: Node, suffix: str, elsewhere: frozenset[str], filled: frozenset[Place]
) -> list[Node]:
    """Return the routes with this operation: in those that are for it, before others that would take it, at the end.

    Routes in `filled` are for one operation: below them are no others.
    """
    wanted = pattern_of(operation.value)
    covered = False
    merged: list[Node] = []
    for row in rows:
        pattern = _pattern(row)
        if covered or row.origin or not isinstance(row.value, dict):
            merged.append(row)
        elif _backend_of(row) in elsewhere:
            merged.append(row)
            covered = pattern is not None and pattern.covers(wanted)
        elif _name_of(row) == operation.value["name"]:
            merged.append(under(row, operation))
            covered = True
        elif pattern is None:
            merged.append(row)
        elif _is_for(row, operation):
            merged.append(_keyed(row, operation))
            covered = pattern.covers(wanted)
        elif pattern.covers(wanted):
            merged += (_in_front(operation, operation, row), row)
            covered = True
        elif row.at in filled:
            merged.append(row)
        else:
            used = {_name_of(each) for each in (*rows, *merged)}
            for part in overlap(wanted, pattern):
                if not _is_taken(part, merged):
                    name = _free_name(f"{_name_of(row)}-{suffix}", used)
                    used.add(name)
                    merged.append(_in_front(made(at(operation.value, part, name), operation.origin), operation, row))
            merged.append(row)
    return merged if covered else [*merged, operation]


def _is_for(row: Node, operation: Node) -> bool:
    """Return whether a written route is for one operation: by its name, or because its path is the same or narrower."""
    if _name_of(row) == operation.value["name"]:
        return True
    pattern, wanted = _pattern(row), pattern_of(operation.value)
    return pattern is not None and Pattern(wanted.path).covers(Pattern(pattern.path)) and _meet(pattern, wanted)


def _in_front(named: Node, operation: Node, row: Node) -> Node:
    """Return a route with the name and match of `named`, and the keys of a written route before the operation's."""
    return _keyed(replace(named, children=_own(named), value=_values(named)), row, operation)


def _is_taken(pattern: Pattern, rows: list[Node]) -> bool:
    """Return whether routes before it take all that a pattern would, so that a route for it could never match."""
    taking = [found for row in rows if (found := _pattern(row)) and Pattern(found.path).covers(Pattern(pattern.path))]
    methods = frozenset[str]().union(*(each.methods for each in taking))
    return any(not each.methods for each in taking) or bool(pattern.methods and pattern.methods <= methods)


def _free_name(name: str, used: set[Any]) -> str:
    """Return a route's name that no other has."""
    found, number = name[:LONGEST_NAME], 1
    while found in used:
        number += 1
        found = f"{name[: LONGEST_NAME - 3]}-{number}"
    return found


def _with_backends(root: Node, kinds: dict[str, Kind], own: dict[str, Node]) -> Node:
    """Put the kinds of `backends` into the routes that name them, and what sockets and preflights need at the top."""
    routes = root.children.get("routes")
    if routes is None or not isinstance(routes.value, list):
        return root
    rows = list(routes.children.values())
    written = {row.value["name"]: number for number, row in enumerate(rows) if isinstance(_name_of(row), str)}
    before: dict[int, list[Node]] = {}
    used: dict[str, Kind] = {}
    used_names: set[Any] = set()
    for number, row in enumerate(rows):
        backend, pattern = _backend_of(row), _pattern(row)
        kind = kinds.get(backend)
        if kind is None or pattern is None:
            continue
        used[backend] = kind
        bound = _bound(kind, root)
        whole, needs = row, _as_kind_needs(row, root, kind, bound)
        for each in placed(kind, pattern):
            suffix = each.operation["name"].removeprefix(f"{kind.name}-")
            name = f"{_name_of(row)}-{suffix}"[:LONGEST_NAME]
            name = name if name in written else _free_name(name, used_names)
            operation = _made_route({**at(each.operation, each.pattern, name), **bound}, kind, own)
            if each.whole:
                whole = _keyed(whole, operation)
            elif _is_taken(each.pattern, before.get(number, [])):
                continue
            elif name in written:
                rows[written[name]] = _keyed(under(rows[written[name]], operation), row, needs)
            else:
                used_names.add(name)
                before.setdefault(number, []).append(_keyed(_in_front(operation, operation, row), needs))
        rows[number] = _keyed(whole, needs)
    merged = [each for number, row in enumerate(rows) for each in (*before.get(number, ()), row)]
    root = with_child(root, "routes", listed(routes, merged))
    main = _kind_of(root.value.get("backend"))
    return _shared(root, [*([main] if main is not None else []), *used.values()])


def _as_kind_needs(row: Node, root: Node, kind: Kind, bound: dict[str, str]) -> Node:
    """Return a route of the operator with the CSP and the size of uploads that the kind of its backend needs."""
    origin = PREFIX + kind.name
    headers = _policy_of(kind, row.value.get("security_headers") or root.value.get("security_headers"))
    if "security_headers" in headers and row.value.get("security_headers", {}) is not None:
        section = made(headers["security_headers"], origin)
        for node in (root, row):
            written = node.children.get("security_headers")
            section = under(written, section) if written is not None else section
        row = with_child(row, "security_headers", section)
    if bound and "max_body" not in row.value:
        row = with_child(row, "max_body", made(kind.policy["requests"]["max_body"], origin))
    return row


def _shared(root: Node, kinds: list[Kind]) -> Node:
    """Put what several kinds need of sections that all routes share under what is written."""
    methods = [(kind, kind.policy.get("cors", {}).get("allowed_methods", [])) for kind in kinds]
    sizes = [(kind, kind.policy.get("websocket", {}).get("max_message", "0B")) for kind in kinds]
    together = list(dict.fromkeys(method for _, each in methods for method in each))
    if together:
        widest = max(methods, key=lambda each: len(each[1]))[0]
        root = under(root, made({"cors": {"allowed_methods": together}}, PREFIX + widest.name))
    largest, size = max(sizes, key=lambda each: octets(each[1]), default=(None, "0B"))
    if largest is not None and octets(size):
        root = under(root, made({"websocket": {"max_message": size}}, PREFIX + largest.name))
    return root


def _keyed(row: Node, *others: Node) -> Node:
    """Return the route with the keys of others, in this order, that it lacks: all but name and match."""
    for other in others:
        children = {key: child for key, child in other.children.items() if key not in OWN}
        values = {key: child.value for key, child in children.items()}
        row = under(row, replace(other, value=values, children=children))
    return row


def _own(operation: Node) -> dict[str, Node]:
    return {key: operation.children[key] for key in OWN}


def _values(operation: Node) -> dict[str, Any]:
    return {key: operation.children[key].value for key in OWN}


def _backend_of(row: Node) -> str:
    """Return the name of the server of `backends` that a written route leads to; empty: the policy's `backend`."""
    name = row.value.get("backend") if isinstance(row.value, dict) else None
    return name if isinstance(name, str) else ""


def _name_of(row: Node) -> Any:
    return row.value.get("name") if isinstance(row.value, dict) else None


def _pattern(row: Node) -> Pattern | None:
    """Return what a written route takes; None if it does not say so in a way that can be read."""
    match = row.value.get("match") if isinstance(row.value, dict) else None
    if not isinstance(match, dict) or not isinstance(match.get("path"), str):
        return None
    methods = match.get("methods", [])
    words = isinstance(methods, list) and all(isinstance(each, str) for each in methods)
    return Pattern(match["path"], frozenset(methods)) if words else None


def _meet(one: Pattern, other: Pattern) -> bool:
    return not one.methods or not other.methods or bool(one.methods & other.methods)


def _with_message_defaults(root: Node) -> Node:
    """Put the policy's `message` under the one of each route that looks at messages."""
    defaults, routes = root.children.get("message"), root.children.get("routes")
    if defaults is None or routes is None or not isinstance(routes.value, list):
        return root
    rows = [_with_defaults(row, defaults) for row in routes.children.values()]
    return with_child(root, "routes", listed(routes, rows))


def _with_defaults(row: Node, defaults: Node) -> Node:
    if not isinstance(row.value, dict):
        return row
    own = row.children.get("message")
    if own is not None:
        return with_child(row, "message", under(own, defaults))
    return row if row.value.get("protocol", "plain") == "plain" else with_child(row, "message", defaults)
