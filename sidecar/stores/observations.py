"""What was observed of an unknown backend: counts and sizes by operation and by place. Bounded, and without content.

Strings themselves are never kept. That one came again is told from a keyed hash of 8 bytes, whose key
is made when the process starts and never leaves it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, NamedTuple

OPERATIONS: Final = 256
PLACES: Final = 200
"""Places with strings that are remembered of one operation."""
REPEATS: Final = 32
"""Hashes of one place: enough to tell a person's messages from a constant."""
NAMES: Final = 64
"""Cookies, origins and content types that are remembered."""


class Operation(NamedTuple):
    """One kind of request: a method and a path pattern. Messages of a WebSocket have the method `SOCKET`."""

    method: str
    path: str


class Place(NamedTuple):
    """Where a string is. `form` is json, packet, field, query or protobuf; `event` names a socket's event."""

    form: str
    path: str
    event: str = ""


@dataclass(slots=True)
class PlaceCounts:
    """What was seen at one place; lengths in characters."""

    seen: int = 0
    texts: int = 0  # of them, those that read like a person's
    shortest: int = 0
    longest: int = 0
    spaces: float = 0.0  # sum of shares
    hashes: set[bytes] = field(default_factory=set)

    @property
    def different(self) -> int:
        """How many different values were seen, up to the bound of `hashes`."""
        return len(self.hashes)


@dataclass(slots=True)
class OperationCounts:
    """What was seen of one operation."""

    requests: int = 0
    largest: int = 0
    unreadable: int = 0
    sockets: int = 0
    kinds: set[str] = field(default_factory=set)
    streams: set[str] = field(default_factory=set)
    places: dict[Place, PlaceCounts] = field(default_factory=dict)


class Observations:
    """The tables. `note_…` are called for each request; all of them are cheap and none raises."""

    def __init__(self, *, operations: int = OPERATIONS, places: int = PLACES) -> None:
        self._most_operations = operations
        self._most_places = places
        self._key = os.urandom(16)
        self.operations: dict[Operation, OperationCounts] = {}
        self.cookies: set[str] = set()
        self.origins: set[str] = set()
        self.overflowed = False

    def operation(self, operation: Operation) -> OperationCounts:
        """Return an operation's counts; beyond the bound all share one that is not told."""
        found = self.operations.get(operation)
        if found is not None:
            return found
        if len(self.operations) >= self._most_operations:
            self.overflowed = True
            return OperationCounts()
        made = self.operations[operation] = OperationCounts()
        return made

    def note_texts(self, counts: OperationCounts, texts: Iterable[tuple[Place, str, bool, float]]) -> None:
        """Count strings: each with its place, whether it reads like a person's, and its share of spaces."""
        for place, text, free, spaces in texts:
            at = counts.places.get(place)
            if at is None:
                if len(counts.places) >= self._most_places:
                    self.overflowed = True
                    continue
                at = counts.places[place] = PlaceCounts(shortest=len(text))
            at.seen += 1
            at.longest = max(at.longest, len(text))
            at.shortest = min(at.shortest, len(text))
            if free:
                at.texts += 1
                at.spaces += spaces
                if len(at.hashes) < REPEATS:
                    at.hashes.add(self._hash(text))

    def note_cookie(self, name: str) -> None:
        """Note a cookie whose value came back in another header: a script of the page read it."""
        if len(self.cookies) < NAMES:
            self.cookies.add(name)

    def note_origin(self, origin: str) -> None:
        """Note an origin other than the page's own."""
        if len(self.origins) < NAMES:
            self.origins.add(origin)

    def _hash(self, text: str) -> bytes:
        return blake2b(text.encode("utf-8", "surrogatepass")[:65536], digest_size=8, key=self._key).digest()
