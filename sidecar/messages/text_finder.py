"""Find the texts of a parsed message, and the ones that the length limit counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, TypeAlias

from sidecar.json_path import EVERY, Location, Path, Step, children
from sidecar.messages.field_names import KeyTree
from sidecar.messages.protocols import AUTO, LENIENT_IN_AUTO, Protocol

Texts: TypeAlias = list[tuple[Location, str]]

# Escapes, the Kelvin sign and the long s: all that may become a letter of ours beside its capital.
HIDES_CASE: Final = (b"\\u", "\u212a".encode(), "\u017f".encode())
NO_KEYS: Final = KeyTree(())
USER_ROLES: Final = frozenset({"user", "human"})


@dataclass(frozen=True, slots=True)
class Place:
    """One path of texts, and what else than a string may stand there."""

    path: Path
    lists: bool
    objects: bool
    lenient: bool
    first: str | None  # the name that the path starts with, if it is one: most paths of `auto` end there

    def allows(self, value: Any) -> bool:
        if value is None or self.lenient:
            return True
        return (self.lists and isinstance(value, list)) or (self.objects and isinstance(value, dict))


@dataclass(frozen=True, slots=True)
class TextFinder:
    """Where the texts of one route are. `required`: a body without any is refused."""

    places: tuple[Place, ...]
    required: bool
    only: str | None = None  # the one name of the simplest shape (`$.message`), which goes a shorter way
    keys: KeyTree = NO_KEYS

    def disguised(self, value: Any) -> bool:
        """Say whether a key beside the texts is read as one of theirs by some backend (`Message`)."""
        if self.only is not None and len(value) == 1:
            return False
        return self.keys.ambiguous(value)

    def find(self, value: Any, *, none_is_fine: bool = False) -> Texts | None:
        """Return the texts with their places, or None: something that is no text stands at a text's place.

        `none_is_fine`: for once, a body without any is fine.
        """
        if self.only is not None:
            text = value.get(self.only) if type(value) is dict else None
            return [((self.only,), text)] if type(text) is str else None
        found: dict[Location, str] = {}
        names = value if type(value) is dict else ()
        for place in self.places:
            if place.first is not None and place.first not in names:
                continue
            for where, text in place.path.find(value):
                if isinstance(text, str):
                    found[where] = text
                elif not place.allows(text):
                    return None
        return None if self.required and not found and not none_is_fine else list(found.items())


def finder(protocol: Protocol, fields: Sequence[Path] = ()) -> TextFinder:
    """Build the finder of a route: the protocol's texts, and the policy's own `fields`.

    With `plain` the fields stand instead of `$.message`, and at least one of them must be there.
    """
    instead = protocol.name == "plain" and bool(fields)
    strict = [*fields] if instead else [*fields, *(() if protocol.lenient else protocol.texts)]
    lenient = [] if instead else [*LENIENT_IN_AUTO.texts] if protocol is AUTO else [*protocol.texts]
    if not (protocol.lenient or protocol is AUTO):
        lenient = []
    every = [*strict, *lenient]
    places = tuple(place(path, every, lenient=path in lenient) for path in dict.fromkeys(every))
    name = strict[0].name if len(places) == 1 and strict and protocol.required else None
    return TextFinder(places, protocol.required, name, KeyTree(every))


def disguised(value: Any, steps: tuple[Step, ...]) -> bool:
    """Follow a path; True where an object on the way has a key that differs from its name in case only."""
    for at, step in enumerate(steps):
        if isinstance(step, str):
            if type(value) is not dict:
                return False
            folded = step.casefold()
            if any(key != step and key.casefold() == folded for key in value):
                return True
            value = value.get(step)
        else:
            below = [child for _, child in children((), value, step)]
            return any(disguised(child, steps[at + 1 :]) for child in below)
    return False


def place(path: Path, every: Sequence[Path], *, lenient: bool) -> Place:
    size = len(path.steps)
    next_steps = [other.steps[size] for other in every if len(other.steps) > size and other.steps[:size] == path.steps]
    lists = any(step is EVERY or isinstance(step, int) for step in next_steps)
    objects = any(step is EVERY or isinstance(step, str) for step in next_steps)
    first = path.steps[0] if path.steps and isinstance(path.steps[0], str) else None
    return Place(path, lists, objects, lenient, first)


def counted(protocol: Protocol, value: Any, texts: Texts) -> int:
    """Return the length in characters that the limit applies to.

    That is the last message of the user, all its parts together (clients send the whole history
    each turn), or the longest text where there are no turns.
    """
    if protocol.turns is not None:
        found = protocol.turns.find(value)
        if found and isinstance(found[0][1], list):
            base, turns = found[0]
            prefix = (*base, last_of_user(turns))
            return sum(len(text) for where, text in texts if where[: len(prefix)] == prefix)
    if len(texts) == 1:
        return len(texts[0][1])
    return max((len(text) for _, text in texts), default=0)


def last_of_user(turns: list[Any]) -> int:
    """Return the index of the last message of the user; of the last message, if none is."""
    for index in range(len(turns) - 1, -1, -1):
        turn = turns[index]
        if isinstance(turn, dict) and (is_user(turn.get("role")) or is_user(turn.get("type"))):
            return index
    return len(turns) - 1


def is_user(role: Any) -> bool:
    return isinstance(role, str) and role.lower() in USER_ROLES


def joined_openers(texts: Texts) -> list[int]:
    """Return the texts that end in a `<` which the next text would complete to a tag.

    Backends join the parts of a message; `<` and `script>` are harmless each, and a tag together.
    """
    filled = [(index, text) for index, (_, text) in enumerate(texts) if text]
    return [
        index
        for (index, text), (_, after) in pairwise(filled)
        if text.endswith("<") and (after[0] in "/!?" or (after[0].isascii() and after[0].isalpha()))
    ]
