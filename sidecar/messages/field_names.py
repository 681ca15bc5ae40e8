"""Names that some backends read as another name: `Message`, `message[]` or `user.message` for a guarded field.

A field that a guard sanitizes has one name. A request that holds a second name which some framework
reads as the same field would carry a text that was not inspected.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote, unquote_plus

from sidecar.bounded_cache import BoundedCache
from sidecar.json_path import BELOW, Path, Step, children
from sidecar.messages.invisible import SUSPECT

# `_` and `-`: readers of Pydantic, protobuf and Jackson take userMessage and user_message for one field.
_DROPPED: Final = dict.fromkeys((*range(0x21), 0x7F, ord("_"), ord("-")))
_BLANKS: Final = dict.fromkeys((*range(0x21), 0x7F))
_UNSEEN: Final = re.compile(
    r"[\s\u00ad\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd\U0001bca0-\U0001bca3]"
)
"""Blanks, and the format characters (category Cf) that `SUSPECT` leaves in texts."""
LONGEST: Final = 2048
"""Characters of a name that is compared with ours; the path of a policy has at most 1024."""
_SEGMENTS: Final = re.compile(r"[.\[\]]+")  # PHP, qs, Rails and ASP.NET: user[message], user.message, [message]
_KNOWN: Final = 256 * 1024
"""Bytes of sets of keys that are remembered."""
_BRACKETS: Final = re.compile(r"[.\[\]]")


def folded(name: str, dropped: Mapping[int, None] = _DROPPED) -> str:
    """Return what readers that ignore case, blanks, separators and invisible characters compare names by."""
    if name.isascii():
        return name.lower().translate(dropped)
    name = unicodedata.normalize("NFKC", _UNSEEN.sub("", SUSPECT.sub("", name)))
    if len(name) > LONGEST:
        return ""  # none of ours; a few characters expand to hundreds, and all that follows takes its time
    return _UNSEEN.sub("", name).casefold().translate(dropped)


def reads_as(key: str, name: str) -> bool:
    """Return whether a key is another spelling of a name: by case, blanks, invisible characters, a NUL behind it.

    Separators count: `session_id` beside `sessionId` is a second id, and may be the client's own.
    """
    if key == name:
        return False
    wanted = folded(name, _BLANKS)
    return folded(key, _BLANKS) == wanted or ("\0" in key and folded(key.partition("\0")[0], _BLANKS) == wanted)


def json_readings(name: str) -> Iterator[str]:
    """Yield the folded names that readers of JSON may take a key for. C readers end a name at NUL."""
    yield folded(name)
    if "\0" in name:
        yield folded(name.partition("\0")[0])


def form_readings(name: str, *, prefixed: bool = True) -> Iterator[str]:
    """Yield the folded names that readers of forms may take a field's name for.

    PHP turns `.`, blank and `[` into `_` and ends a name at NUL; qs and Rails nest at `[`, ASP.NET at
    `.`; some readers of multipart decode percent escapes.
    """
    for spelled in {name, unquote(name)} if "%" in name else {name}:
        for text in {spelled, spelled.partition("\0")[0]}:
            yield folded(_BRACKETS.sub("", text))
            segments = [segment for segment in _SEGMENTS.split(text) if segment.strip()]
            for segment in segments if prefixed else segments[:1]:
                yield folded(segment)


class FormNames:
    """The names of a route's form fields. `prefixed`: also `chat.Message` reads as `Message`, as ASP.NET has it."""

    __slots__ = ("_folded", "_prefixed", "exact")

    def __init__(self, names: Iterable[str], *, prefixed: bool = True) -> None:
        self.exact = frozenset(names)
        self._prefixed = prefixed
        self._folded = frozenset(map(folded, self.exact))

    def __bool__(self) -> bool:
        return bool(self.exact)

    def ambiguous(self, name: str) -> bool:
        """Return whether a name is none of ours, and some reader would take it for one."""
        return name not in self.exact and any(
            one in self._folded for one in form_readings(name, prefixed=self._prefixed)
        )

    def in_query(self, target: bytes) -> bool:
        """Return whether a query names one of ours: readers merge it with the form, some before it."""
        query = target.partition(b"?")[2].decode("latin-1")
        names = (unquote_plus(pair.partition("=")[0]) for pair in re.split("[&;]", query) if pair)
        return any(name in self.exact or self.ambiguous(name) for name in names)


class KeyTree:
    """The keys on the paths of a route, as a tree; finds a key beside one of them that reads as the same key."""

    __slots__ = ("_flat", "_known", "_root")

    def __init__(self, paths: Iterable[Path]) -> None:
        self._known: BoundedCache[tuple[str, ...], bool] = BoundedCache(_KNOWN)
        self._root = _Node()
        for path in paths:
            node = self._root
            for step in path.steps:
                node = node.below.setdefault(step, _Node())
                if step is BELOW:
                    break  # every name below is one text among others
        self._flat = not any(node.below for node in self._root.below.values())

    def ambiguous(self, value: Any) -> bool:
        """Return whether an object on a path has a key that is none of the path's names and reads as one."""
        if self._flat and type(value) is dict:
            # The answer depends on the keys alone, and clients send the same ones again and again.
            keys = tuple(value)
            known = self._known.get(keys)
            if known is None:
                known = self._known.remember(keys, self._root.ambiguous(value), sum(map(len, keys)))
            return known
        return self._root.ambiguous(value)


class _Node:
    """One place: the steps that paths take from here."""

    __slots__ = ("_folded", "below")

    def __init__(self) -> None:
        self.below: dict[Step, _Node] = {}
        self._folded: frozenset[str] | None = None

    def ambiguous(self, value: Any) -> bool:
        return self._walk(value, {})

    def _walk(self, value: Any, known: dict[tuple[int, str], bool]) -> bool:
        """`known` holds what was found of a name at a place: long histories repeat the same few."""
        if type(value) is dict:
            for key in value:
                if key not in self.below and self._reads_as_ours(key, known):
                    return True
        elif type(value) is not list:
            return False
        for step, node in self.below.items():
            if not node.below:
                continue
            if isinstance(step, str):
                if type(value) is dict and step in value and node._walk(value[step], known):  # noqa: SLF001
                    return True
            elif any(node._walk(child, known) for _, child in children((), value, step)):  # noqa: SLF001
                return True
        return False

    def _reads_as_ours(self, key: str, known: dict[tuple[int, str], bool]) -> bool:
        at = (id(self), key)
        found = known.get(at)
        if found is None:
            if self._folded is None:
                self._folded = frozenset(folded(step) for step in self.below if isinstance(step, str))
            found = known[at] = bool(self._folded) and any(one in self._folded for one in json_readings(key))
        return found
