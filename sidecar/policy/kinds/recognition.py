"""Which kind a backend is of, told from the operations and the text places that were observed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sidecar.json_path import BELOW, EVERY, Path, PathError, compile_path
from sidecar.messages.protocols.catalogue import BY_NAME
from sidecar.messages.protocols.definition import Framing, Protocol
from sidecar.policy.kinds.catalogue import GENERIC, Kind, names, pattern_of, read_kind
from sidecar.policy.routes import Pattern
from sidecar.stores.observations import Operation, Place
from sidecar.suggest.observer import SOCKET
from sidecar.suggest.routes import Suggestion
from sidecar.suggest.yaml_text import KnownKind

UNTOLD: Final = frozenset({"ag-ui", GENERIC})
"""Kinds whose operations have no path of their own."""

COMMON: Final = frozenset({"ollama", "shiny", "vercel-ai"})
"""Kinds whose paths and text places other backends have too (`/api/chat`, `/websocket`): they are a remark only."""

OWN_PLACES: Final = {"shiny": "shinychat", "vercel-ai": ".parts[*].text"}
"""What none but such a kind has in a text place."""

PREFERRED: Final = ("openai", "anthropic", "mcp")
"""APIs that several kinds serve among others."""


def recognise(found: Sequence[Suggestion]) -> KnownKind:
    """Return the kind that reads most of the observed operations with text, and those that it reads.

    Without a name, `maybe` are the kinds that it could be.
    """
    read: dict[str, frozenset[Operation]] = {}
    for name in names():
        kind = read_kind(name) if name not in UNTOLD else None
        operations = frozenset(each.operation for each in found if kind is not None and _reads(kind, each))
        if operations:
            read[name] = operations
    most = max(map(len, read.values()), default=0)
    best = [name for name, operations in read.items() if len(operations) == most]
    chosen = [name for name in PREFERRED if name in best] or best
    sure = [name for name in chosen if name not in COMMON or _is_its_own(name, found)]
    if len(chosen) > 1 and chosen == best:
        sure = [name for name in sure if name in OWN_PLACES]
    if sure:
        known = read_kind(sure[0])
        headers = known.policy.get("security_headers", {}) if known is not None else {}
        return KnownKind(sure[0], read[sure[0]], strict=headers.get("preset") == "strict")
    return KnownKind(maybe=tuple(best))


def _is_its_own(name: str, found: Sequence[Suggestion]) -> bool:
    mark = OWN_PLACES.get(name)
    return mark is not None and any(mark in at.place.path for each in found for at in each.sure)


def _reads(kind: Kind, suggestion: Suggestion) -> bool:
    """Return whether an operation of a kind takes these requests and looks at all of their sure places."""
    method = "GET" if suggestion.operation.method == SOCKET else suggestion.operation.method
    wanted = Pattern(suggestion.operation.path, frozenset({method}))
    for operation in kind.operations:
        if pattern_of(operation).covers(wanted):
            protocol = BY_NAME[operation["protocol"]]
            return bool(suggestion.sure) and all(looks_at(protocol, at.place) for at in suggestion.sure)
    return False


def looks_at(protocol: Protocol, place: Place) -> bool:
    """Return whether a protocol has text where an observed place is."""
    if place.form == "protobuf":
        return protocol.framing is Framing.STREAMLIT
    if place.form not in ("json", "packet"):
        return False
    try:
        seen = compile_path(place.path.partition(" | ")[0])
    except PathError:
        return False
    return any(_leads_to(path, seen) for path in (*protocol.texts, *protocol.embedded))


def _leads_to(path: Path, seen: Path) -> bool:
    for at, step in enumerate(path.steps):
        if step is BELOW:
            return len(seen.steps) > at
        if at >= len(seen.steps) or (step is not EVERY and step != seen.steps[at]):
            return False
    return len(path.steps) == len(seen.steps)
