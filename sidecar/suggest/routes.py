"""Routes that follow from what was observed: which places hold a person's text, how sure that is, and why. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sidecar.stores.observations import Observations, Operation, OperationCounts, Place, PlaceCounts
from sidecar.suggest.observer import SOCKET

TELLING: Final = frozenset(
    {"message", "messages", "text", "content", "prompt", "input", "query", "question", "output", "msg", "body"}
    | {"value", "new", "user_message", "user_input", "usermessage", "chat", "data", "parts", "args", "string_value"}
)
"""Names that chats give to the text of a person."""

MACHINE: Final = frozenset(
    {"user_agent", "useragent", "timezone", "locale", "language", "referrer", "href", "url", "title", "label", "name"}
    | {"description", "placeholder", "model", "role", "id", "type", "style", "css", "html", "error", "stack"}
    | {"user_name", "username", "current_datetime", "current_weekday", "variables", "version", "theme"}
)
"""Names that hold words which no person typed into a chat."""

_NAMES = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MAX_ROUTES: Final = 64


@dataclass(frozen=True, slots=True)
class TextPlace:
    """A place with text: `sure` when several different texts stood there and its name does not speak against it."""

    place: Place
    counts: PlaceCounts
    sure: bool
    why: str


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One route with its text places, the sure ones first."""

    operation: Operation
    counts: OperationCounts
    places: tuple[TextPlace, ...]

    @property
    def sure(self) -> tuple[TextPlace, ...]:
        """The places whose text certainly comes from a person."""
        return tuple(place for place in self.places if place.sure)


def suggestions(table: Observations) -> list[Suggestion]:
    """Return a suggestion for each operation in which text was seen, the one with the most different texts first."""
    found = []
    for operation, counts in table.operations.items():
        places = sorted(_places(counts), key=lambda each: (not each.sure, -each.counts.different))
        if places:
            found.append(Suggestion(operation, counts, tuple(places)))
    found.sort(key=lambda each: (not each.sure, -max(place.counts.different for place in each.places)))
    return found[:MAX_ROUTES]


def without_text(table: Observations) -> list[Operation]:
    """Return the operations that change something and in which no text was seen."""
    return [
        operation
        for operation, counts in table.operations.items()
        if operation.method not in ("GET", "HEAD", "OPTIONS") and not any(True for _ in _places(counts))
    ]


def _places(counts: OperationCounts) -> Iterator[TextPlace]:
    for place, at in counts.places.items():
        if at.texts:
            sure, why = _judged(place, at)
            yield TextPlace(place, at, sure, why)


def _judged(place: Place, at: PlaceCounts) -> tuple[bool, str]:
    """Return whether a place surely holds what persons type, and what speaks for or against it."""
    name = _last_name(place)
    if name in MACHINE:
        return False, f"the name {name} is hardly a message's"
    if at.different == 1 and at.texts > 1:
        return False, "the same text each time: a constant?"
    if at.texts * 4 < at.seen and name not in TELLING:
        return False, f"only {at.texts} of {at.seen} strings there read like text"
    if at.different == 1:
        told = name in TELLING
        return told, f"one text was seen, under the name {name}" if told else "one text was seen: chat some more"
    return True, f"{at.different} different texts"


def _last_name(place: Place) -> str:
    names = _NAMES.findall(place.path)
    return names[-1].lower() if names and place.form != "protobuf" else ""


def is_reachable(place: TextPlace) -> bool:
    """Return whether a route's `message.fields` can name the place."""
    return place.place.form in ("json", "packet", "field") and " | " not in place.place.path


def is_socket(suggestion: Suggestion) -> bool:
    """Return whether the operation is a WebSocket upgrade."""
    return suggestion.operation.method == SOCKET
