"""Find the texts of a parsed message, and the ones that the length limit counts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, TypeAlias

from sidecar.json_path import BELOW, EMBEDDED, EVERY, Location, Path, Step, children
from sidecar.messages.field_names import KeyTree, reads_as
from sidecar.messages.protocols.catalogue import AUTO, KNOWN
from sidecar.messages.protocols.definition import EVERYTHING, Protocol
from sidecar.messages.protocols.pages import PLAIN
from sidecar.messages.strict_json import Fault, parse

Texts: TypeAlias = list[tuple[Location, str]]

NO_KEYS: Final = KeyTree(())
# Escapes, the Kelvin sign and the long s: all that may become a letter of ours beside its capital.
HIDES_CASE: Final = (b"\\u", "\u212a".encode(), "\u017f".encode())
IDENTIFIER = re.compile(r"[A-Za-z0-9_.:/@-]{0,64}")
ROLES: Final = frozenset({"user", "human", "ai", "assistant", "system", "tool", "developer"})
USER_ROLES: Final = frozenset({"user", "human"})


def is_label(where: Location, value: Any, labels: frozenset[str]) -> bool:
    """Return whether a string that `..*` found under a name in `labels` is a protocol token: an id, a type, a role.

    A token has neither blanks nor markup, so no text can pass as one.
    """
    if type(value) is not str or IDENTIFIER.fullmatch(value) is None:
        return False
    name = next((step for step in reversed(where) if isinstance(step, str)), "")
    return name in labels or (where[-1] == 0 and value.lower() in ROLES)


@dataclass(frozen=True)
class Place:
    """One path of texts, and what else than a string may be there."""

    path: Path
    lists: bool
    objects: bool
    lenient: bool
    first: str | None  # the name that the path starts with, if it is one: most paths of `auto` end there
    skipped: frozenset[str] = frozenset()  # names below which `..*` finds nothing
    embedded: bool = False  # the strings hold JSON
    labels: frozenset[str] = frozenset()  # names of members whose values are protocol tokens

    def allows(self, value: Any) -> bool:
        """Return whether a value that is no string may be here without making the message invalid."""
        if value is None or self.lenient:
            return True
        return (self.lists and isinstance(value, list)) or (self.objects and isinstance(value, dict))

    def find(self, value: Any) -> list[tuple[Location, Any]]:
        """Return what is at the path, with its places."""
        found = self.path.find(value)
        if not self.path.steps or self.path.steps[-1] is not BELOW:
            return found
        fixed = len(self.path.steps) - 1  # what the path itself names is never skipped
        return [
            (where, each)
            for where, each in found
            if not any(step in self.skipped for step in where[fixed:]) and not is_label(where, each, self.labels)
        ]


@dataclass(frozen=True)
class TextFinder:
    """Where the texts of one route are."""

    places: tuple[Place, ...]
    only: str | None = None  # the one name of the simplest shape (`$.message`), which goes a shorter way
    keys: KeyTree = NO_KEYS

    def disguised(self, value: Any) -> bool:
        """Return whether a key beside the texts is read as one of theirs by some backend (`Message`)."""
        if self.only is not None and len(value) == 1:
            return False
        return self.keys.ambiguous(value)

    def find(self, value: Any) -> Texts | None:
        """Return the texts with their places, or None: something that is no text is at a text's place."""
        if self.only is not None:
            if type(value) is not dict:
                return None
            text = value.get(self.only)
            return [((self.only,), text)] if type(text) is str else None if text is not None else []
        found: dict[Location, str] = {}
        names = value if type(value) is dict else ()
        for place in self.places:
            if place.first is not None and place.first not in names:
                continue
            for where, text in place.find(value):
                if isinstance(text, str):
                    if place.embedded:
                        inner = embedded_texts(where, text)
                        if inner is None:
                            return None
                        found.update(inner)
                    else:
                        found[where] = text
                elif not place.allows(text):
                    return None
        return list(found.items())


def embedded_texts(where: Location, text: str) -> Texts | None:
    """Return the strings of the JSON that a string holds; of anything else, the string itself.

    None: it is no strict JSON and has escapes, so that a lenient reader could find other characters in it.
    """
    value = parse(text.encode("utf-8", "surrogatepass"))
    if type(value) is Fault:
        return None if "\\" in text else [(where, text)]
    inner = (*where, EMBEDDED)
    if isinstance(value, str):
        return [(inner, value)]
    return [((*inner, *place), each) for place, each in EVERYTHING.find(value) if isinstance(each, str)]


def finder(protocol: Protocol, fields: Sequence[Path] = ()) -> TextFinder:
    """Build the finder of a route: the protocol's texts, and the policy's own `fields`.

    With `plain` the fields replace `$.message`, and at least one of them must be there.
    """
    if protocol.name == PLAIN.name and fields:
        return TextFinder(*_places(fields))
    known: tuple[Protocol, ...] = KNOWN if protocol is AUTO else (protocol,)
    lenient = {path: each for each in known for path in (each.texts if each.lenient else each.beside)}
    texts = (path for each in known if not each.lenient for path in each.texts if path not in each.beside)
    strict = [*fields, *texts]
    embedded = [path for each in known for path in each.embedded]
    return TextFinder(*_places(strict, lenient, embedded))


def _places(
    strict: Sequence[Path], lenient: Mapping[Path, Protocol] | None = None, embedded: Sequence[Path] = ()
) -> tuple[tuple[Place, ...], str | None, KeyTree]:
    """Return the places, the one name if a single name is all, and the keys on the paths."""
    lenient = lenient or {}
    every = list(dict.fromkeys([*strict, *lenient]))
    places = [
        replace(place(path, every, lenient=path in lenient), skipped=lenient[path].skipped, labels=lenient[path].labels)
        if path in lenient and path.steps[-1:] == (BELOW,)
        else place(path, every, lenient=path in lenient)
        for path in every
    ]
    places += [replace(place(path, [], lenient=True), embedded=True) for path in embedded]
    name = strict[0].name if len(places) == 1 and strict else None
    return tuple(places), name, KeyTree([*every, *embedded])


def disguised(value: Any, steps: tuple[Step, ...]) -> bool:
    """Follow a path; True where an object on the way has a key that is another spelling of its name."""
    for at, step in enumerate(steps):
        if isinstance(step, str):
            if type(value) is not dict:
                return False
            if any(reads_as(key, step) for key in value):
                return True
            value = value.get(step)
        else:
            below = [child for _, child in children((), value, step)]
            return any(disguised(child, steps[at + 1 :]) for child in below)
    return False


def place(path: Path, every: Sequence[Path], *, lenient: bool) -> Place:
    """Return the place of `path`; arrays and objects are allowed where another of the paths leads through them."""
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
    longest = 0
    turned: list[Location] = []
    for path in protocol.turns:
        for base, turns in path.find(value):
            if not isinstance(turns, list):
                continue
            turned.append(base)
            prefix = (*base, last_of_user(turns))
            longest = max(longest, sum(len(text) for where, text in texts if where[: len(prefix)] == prefix))
    if turned and protocol.counted is None:
        return longest
    for where, text in texts:
        if len(text) <= longest or any(where[: len(base)] == base for base in turned):
            continue
        if protocol.counted is None or any(path.selects(where) for path in protocol.counted):
            longest = len(text)
    return longest


def of_roles(protocol: Protocol, value: Any, texts: Texts, roles: frozenset[str]) -> Texts:
    """Return the texts of turns that claim one of these roles, and those that stand for a turn (`counted`).

    A tool's result within a turn is of the role `tool`. Everything else (`system`, `instructions`) is left out.
    """
    lists = [(base, turns) for path in protocol.turns for base, turns in path.find(value) if isinstance(turns, list)]
    kept: Texts = []
    for where, text in texts:
        within = [(base, turns) for base, turns in lists if where[: len(base)] == base and len(where) > len(base)]
        if within:
            base, turns = within[0]
            chosen = role_in(turns, where[len(base) :]) in roles
        elif lists:
            chosen = any(path.selects(where) for path in protocol.counted or ())
        else:
            chosen = True
        if chosen:
            kept.append((where, text))
    return kept


def role_in(turns: list[Any], where: Location) -> str:
    """Return the role of the text that is at this place of a list of turns."""
    value: Any = turns
    role = ""
    for depth, step in enumerate(where[:-1]):
        value = value[step]
        if depth == 0:
            role = role_of(value)
        elif isinstance(value, dict) and value.get("type") == "tool_result":
            return "tool"
    return role


def last_of_user(turns: list[Any]) -> int:
    """Return the index of the last message of the user; of the last message, if none is."""
    for index in range(len(turns) - 1, -1, -1):
        if role_of(turns[index]) in USER_ROLES:
            return index
    return len(turns) - 1


def role_of(turn: Any) -> str:
    """Return the role that a message claims, in lower case; "" for none.

    `{"role": …}`, LangChain's `{"type": …}`, its serialised constructors (`["langchain_core", "messages",
    "HumanMessage"]`) and its pairs `["user", text]`.
    """
    if isinstance(turn, list):
        return turn[0].lower() if len(turn) == 2 and isinstance(turn[0], str) else ""
    if not isinstance(turn, dict):
        return ""
    made = turn.get("id")
    if "lc" in turn and isinstance(made, list) and made and isinstance(made[-1], str):
        return made[-1].removesuffix("Chunk").removesuffix("Message").lower()
    for key in ("role", "type"):
        role = turn.get(key)
        if isinstance(role, str):
            return role.lower()
    return ""


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
