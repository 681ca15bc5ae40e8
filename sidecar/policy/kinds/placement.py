"""Where the operations of a kind are, behind a route that leads to one of several backends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sidecar.policy.kinds.catalogue import Kind, pattern_of
from sidecar.policy.kinds.overlap import overlap
from sidecar.policy.routes import Pattern

ANYWHERE: Final = "/**"


@dataclass(frozen=True, slots=True)
class Placed:
    """One operation within a route. `whole`: it takes all that the route takes."""

    operation: dict[str, Any]
    pattern: Pattern
    whole: bool


def placed(kind: Kind, route: Pattern) -> list[Placed]:
    """Return the kind's operations that are within a route, at the route's prefix where the backend is under one.

    A backend gets requests with their own paths: one under `/wiki/*` has its operations there too.
    """
    return [
        Placed(operation, pattern, pattern.path == route.path)
        for operation in kind.operations
        for pattern in _within(pattern_of(operation), route)
    ]


def _within(operation: Pattern, route: Pattern) -> list[Pattern]:
    """Return where an operation is within a route; empty: it is not there."""
    path = operation.path
    if path.startswith(ANYWHERE + "/"):
        return overlap(operation, route)
    return overlap(operation, route) or overlap(Pattern(ANYWHERE + path, operation.methods), route)


def at(operation: dict[str, Any], pattern: Pattern, name: str) -> dict[str, Any]:
    """Return the operation as a route of this name, at this pattern."""
    match = {"path": pattern.path, **({"methods": sorted(pattern.methods)} if pattern.methods else {})}
    return {**operation, "name": name, "match": match}
