"""Operations with text that no route looks at: remarks of `sidecar check`, and events when they are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sidecar.decision import PASS, Finding, Pass
from sidecar.exchange import Exchange
from sidecar.policy.kinds.catalogue import GENERIC, Kind, read_kind
from sidecar.policy.kinds.overlap import overlap
from sidecar.policy.kinds.placement import placed
from sidecar.policy.routes import Pattern, RouteTable
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.policy.schema.route import Route
from sidecar.vocabulary import Event

SPOKEN: Final[dict[str, str]] = {
    "openai": "openai", "openai-text": "openai", "openai-responses": "openai", "openai-threads": "openai",
    "anthropic": "anthropic", "ollama": "ollama", "langgraph": "langgraph", "gradio": "gradio",
    "open-webui": "open-webui", "chainlit": "chainlit",
}  # fmt: skip
"""The kind whose operations a backend has that speaks a protocol, where the policy names no kind."""


@dataclass(frozen=True, slots=True)
class Uncovered:
    """One operation that passes unread. `route` is the index of the route that takes it; -1: no route does."""

    kind: str
    operation: str
    pattern: Pattern
    route: int


def uncovered(schema: PolicySchema) -> list[Uncovered]:
    """Return the operations with text of the backend's kind that no route looks at.

    Without a kind, they are those of the protocols that the routes speak.
    """
    found: list[Uncovered] = []
    for name in _kinds(schema):
        kind = read_kind(name)
        for pattern, operation in kind.patterns() if kind is not None else ():
            taken = _taken_by(schema.routes, pattern)
            if taken >= 0 and _kind_behind(schema, schema.routes[taken]) is not None:
                continue  # of another backend
            if taken < 0 or schema.routes[taken].message is None:
                found.append(Uncovered(name, operation, pattern, taken))
            if kind is not None and schema.backend.kind != GENERIC:
                found += _partly(schema, kind, operation, pattern)
    return [*found, *_behind_routes(schema)]


def _partly(schema: PolicySchema, kind: Kind, operation: str, wanted: Pattern) -> list[Uncovered]:
    """Return the parts of an operation that routes take which look away, before one that takes all of it.

    A route that is for one operation of the kind has no others below.
    """
    found = []
    for number, route in enumerate(schema.routes):
        pattern = _pattern_of(route)
        if pattern.covers(wanted):
            break
        if route.message is None and _kind_behind(schema, route) is None:
            path = Pattern(route.match.path)
            owners = [name for each, name in kind.patterns() if Pattern(each.path).covers(path)]
            if not owners or operation in owners:
                parts = [each for each in overlap(wanted, pattern) if _taken_by(schema.routes, each) == number]
                found += [Uncovered(kind.name, operation, each, number) for each in parts]
    return found


def _behind_routes(schema: PolicySchema) -> list[Uncovered]:
    """Return the same of the servers of `backends`, within the routes that lead to them."""
    found: dict[Pattern, Uncovered] = {}
    for route in schema.routes:
        kind = _kind_behind(schema, route)
        for each in placed(kind, _pattern_of(route)) if kind is not None else ():
            taken = _taken_by(schema.routes, each.pattern)
            # A route with a protocol of its own is one operation, and has no others below.
            if taken >= 0 and schema.routes[taken].message is None and (each.whole or route.protocol == "plain"):
                name = each.operation["name"]
                found.setdefault(each.pattern, Uncovered(kind.name if kind else "", name, each.pattern, taken))
    return list(found.values())


def _kind_behind(schema: PolicySchema, route: Route) -> Kind | None:
    """Return the kind of the server of `backends` that a route leads to."""
    server = schema.backends.get(route.backend or "")
    return read_kind(server.kind) if server is not None and server.kind != GENERIC else None


def _kinds(schema: PolicySchema) -> list[str]:
    """Return the backend's kind, or those that the routes' protocols belong to."""
    if schema.backend.kind != GENERIC:
        return [schema.backend.kind]
    spoken = [route.protocol for route in schema.routes if route.message is not None]
    return sorted({SPOKEN[protocol] for protocol in spoken if protocol in SPOKEN})


def _taken_by(routes: tuple[Route, ...], wanted: Pattern) -> int:
    for number, route in enumerate(routes):
        if _pattern_of(route).covers(wanted):
            return number
    return -1


def _pattern_of(route: Route) -> Pattern:
    return Pattern(route.match.path, frozenset(route.match.methods))


class UncoveredOperationGuard:
    """Records requests whose text no route inspects. It refuses nothing."""

    name = "uncovered_operation"

    def __init__(self, operations: list[Uncovered]) -> None:
        rows = [(each.pattern, each.operation) for each in operations]
        self._table: RouteTable[str] = RouteTable(rows, "")

    def check(self, exchange: Exchange) -> Pass:
        """Return Pass, with a finding when the operation carries text that no route inspects."""
        operation = self._table.find(exchange.head.method, exchange.head.path)
        if not operation:
            return PASS
        return Pass((Finding(Event.MESSAGE_UNREADABLE, {"reason": "no_route_looks", "operation": operation}),))
