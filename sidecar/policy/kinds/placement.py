"""Where the operations of a kind are, behind a route that leads to one of several backends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sidecar.policy.kinds.catalogue import Kind, pattern_of
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
    found = []
    for operation in kind.operations:
        own = pattern_of(operation)
        methods = own.methods & route.methods if own.methods and route.methods else own.methods or route.methods
        if own.methods and route.methods and not methods:
            continue
        path = _within(own.path, route.path)
        if path:
            pattern = Pattern(path, methods)
            found.append(Placed(operation, pattern, path == route.path))
    return found


def _within(operation: str, route: str) -> str:
    """Return the path of an operation within the path of a route; empty: it is not there."""
    if Pattern(route).covers(Pattern(operation)):
        return operation
    anywhere = operation if operation.startswith(ANYWHERE + "/") else ANYWHERE + operation
    if Pattern(anywhere).covers(Pattern(route)):
        return route
    return route[:-2] + operation if route.endswith("/*") and ANYWHERE not in route else ""


def at(operation: dict[str, Any], pattern: Pattern, name: str) -> dict[str, Any]:
    """Return the operation as a route of this name, at this pattern."""
    match = {"path": pattern.path, **({"methods": sorted(pattern.methods)} if pattern.methods else {})}
    return {**operation, "name": name, "match": match}
