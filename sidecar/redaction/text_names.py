"""Tells texts at one place of successive records apart by names, as in `{"id": "t0", "delta": "…"}`.

Which strings are names is not known: some servers make a new id for each record of one text. A name counts once it
has been in an earlier record, in one that announced the text or in another of its pieces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from sidecar.redaction.records import Piece, Place

NAMING: Final = frozenset(
    "id item_id itemId message_id messageId part_id partId block_id blockId tool_call_id toolCallId "  # noqa: SIM905
    "call_id callId run_id runId stream_id streamId".split()
)
"""Keys under which protocols name the text that a record goes on with."""
MAX_NAME: Final = 64
MAX_NAMES: Final = 256
_MAX_LEFT: Final = 16  # texts whose names have not come again yet

Key: TypeAlias = tuple[int, str]
"""How deep in a record a name is, and under which key."""


def is_name(piece: Piece) -> bool:
    """Return whether a string may be the name of a text."""
    return piece.quoted and bool(piece.place) and piece.place[-1] in NAMING and len(piece.text) <= MAX_NAME


class Switch(NamedTuple):
    """A place's own text goes on under another name; what had the old one is a text of its own if it comes again."""

    place: Place
    old: Place


class TextNames:
    """Says to which of several texts at one place a piece belongs; bounded in names.

    At each place the text that was there first has no name of its own; its owner is the name that it had last.
    """

    __slots__ = ("_left", "_named", "_owners", "_seen", "parted", "switches")

    def __init__(self) -> None:
        self._seen: dict[bytes, None] = {}
        self._owners: dict[Place, dict[Key, bytes]] = {}
        self._named: set[Place] = set()
        self._left: dict[Place, None] = {}
        self.switches: list[Switch] = []
        """What became of texts since it was last looked at."""
        self.parted = False
        """Whether a piece was given to a text of its own for the first time since then."""

    def told_apart(self, pieces: list[Piece]) -> list[Piece]:
        """Return the pieces of a record with the places of their texts."""
        naming = [piece for piece in pieces if is_name(piece)]
        if not naming:
            return pieces
        found = [piece if is_name(piece) or piece.written else self._placed(piece, naming) for piece in pieces]
        for piece in naming:
            self._see(piece.text)
        return found

    def is_seen(self, name: bytes) -> bool:
        """Return whether a string was a name in an earlier record."""
        return name in self._seen

    def forget(self) -> None:
        """Forget which names the texts had; names that were seen stay."""
        self._owners.clear()
        self._named.clear()
        self._left.clear()

    def _see(self, name: bytes) -> None:
        if name not in self._seen:
            if len(self._seen) >= MAX_NAMES:
                del self._seen[next(iter(self._seen))]
            self._seen[name] = None

    def _placed(self, piece: Piece, naming: Sequence[Piece]) -> Piece:
        place = piece.place
        names = {
            (len(one.place), one.place[-1]): one.text for one in naming if place[: len(one.place) - 1] == one.place[:-1]
        }
        if not names:
            return piece
        owner = self._owners.get(place)
        if owner is None:
            self._owners[place] = names
            return piece
        own = self._own(place, names)
        if own in self._named:
            return piece._replace(place=own)
        differ = [name for key, name in names.items() if owner.get(key, name) != name]
        if not differ:
            owner.update(names)
            return piece
        if any(map(self.is_seen, differ)):
            self._left.pop(own, None)
            self._named.add(own)
            self.parted = True
            return piece._replace(place=own)
        old = self._own(place, owner)
        if len(self._left) >= _MAX_LEFT:
            del self._left[next(iter(self._left))]
        self._left[old] = None
        self.switches.append(Switch(place, old))
        self._owners[place] = names
        return piece

    def _own(self, place: Place, names: Mapping[Key, bytes]) -> Place:
        return (*place, tuple((key, name) for key, name in names.items() if name in self._seen))
