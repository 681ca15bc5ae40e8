"""Known secrets: never out, however they are written and wherever the stream is cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import re2

from sidecar.redaction.escapes import LONGEST, NAMED, readings, spelled, unfinished
from sidecar.redaction.needles import END, Tree, grow, spellings
from sidecar.redaction.scan import Hit, StreamFilter
from sidecar.secret import Secret

KNOWN: Final = "known"
MIN_BYTES: Final = 8
"""Shorter secrets are not searched: they are words of ordinary text, and redacting them would break it."""
_HEADS: Final = (16, 8, 5, 3, 2)  # as many bytes of each needle may the first, cheap search look for …
_BUDGET: Final = 6500  # … as long as all of them are no more than this
_MEMORY: Final = 64 << 20  # for the search's automaton, which is built as far as it is used
_LIVE: Final = -1
_Path: TypeAlias = tuple["Tree | bytes", int, int]  # a node, how far into it when it is a tail, a place in the text
_DEAD: Final = 0


class SecretMatcher:
    """Find a fixed set of secrets, raw or in any of their spellings.

    Immutable: when the set changes, build another and let filters in flight keep theirs.
    `skipped` counts secrets that are too short to be searched safely.
    """

    __slots__ = ("_firsts", "_head", "_quick", "_reaches_end", "_tree", "reach", "size", "skipped")

    def __init__(self, secrets: Iterable[Secret]) -> None:
        plain = [secret.reveal().encode("utf-8", "surrogatepass") for secret in secrets]
        kept = {value for value in plain if len(value) >= MIN_BYTES}
        needles = sorted(set().union(*map(spellings, kept)))
        self.size = len(kept)
        self.skipped = sum(len(value) < MIN_BYTES for value in plain)
        self.reach = LONGEST * max(map(len, needles), default=0)
        self._tree: Tree = grow(needles)
        heads, self._head = _heads(needles)
        self._firsts = frozenset(head[0] for head in heads)
        self._reaches_end = _ends(needles)
        self._quick = _compile(heads)

    def __repr__(self) -> str:
        return f"SecretMatcher({self.size} secrets)"

    def filter(self) -> StreamFilter:
        """Return the filter of one answer."""
        return StreamFilter(self)

    def scan(self, text: bytes, before: bytes, final: bool) -> tuple[Sequence[Hit], int]:  # noqa: ARG002  # a secret needs no word boundary
        size = len(text)
        if not size or not self.size:
            return (), size
        found = self._quick.search(text)
        if found is None and (final or text[-1] not in self._reaches_end):
            return (), size
        hits: list[Hit] = []
        live = size
        for at in self._candidates(text, found is not None, final):
            end = self._walk(text, at, final)
            if end == _LIVE:
                # Whatever begins later is looked at again, together with this.
                live = at
                break
            if end != _DEAD:
                hits.append(Hit(at, end, KNOWN))
        return hits, live

    def _candidates(self, text: bytes, some: bool, final: bool) -> list[int]:
        """Return, in order, where a needle may begin: where its head is, or where the end of the text may cut it."""
        places: set[int] = set()
        if some:
            at = 0
            while (found := self._quick.search(text, at)) is not None:
                places.add(found.start())
                at = found.start() + 1
        if not final:
            places.update(self._near_end(text))
        return sorted(places)

    def _near_end(self, text: bytes) -> Iterable[int]:
        """Return where a head may have begun that the end of the text cuts."""
        size = len(text)
        start = max(0, size - self._head * LONGEST)
        disguised = text.find(b"\\", start) >= 0 or text.find(b"%", start) >= 0
        start = start if disguised else max(0, size - self._head + 1)
        return (at for at in range(start, size) if text[at] in self._firsts or text[at] in b"\\%")

    def _walk(self, text: bytes, at: int, final: bool) -> int:
        """Return where the longest needle that begins at `at` ends, or _LIVE, or _DEAD."""
        best = _DEAD
        paths: list[_Path] = [(self._tree, 0, at)]
        seen: set[tuple[int, int, int]] = set()
        while paths:
            path = paths.pop()
            end = _arrived(path, text, final)
            if end == _LIVE:
                return _LIVE
            best = max(best, end)
            node, depth, at = path
            if at >= len(text) or (end and isinstance(node, bytes)):
                continue
            byte = text[at]
            step = _step(node, depth, byte)
            if step is not None:
                paths.append((*step, at + 1))
            if byte in b"\\%":
                if not final and unfinished(text, at):
                    return _LIVE
                paths += _ways(node, depth, text, at, seen)
        return best


def _arrived(path: _Path, text: bytes, final: bool) -> int:
    """Return where a needle ends that this path leads to, or _LIVE where the text ends before it, or _DEAD."""
    node, depth, at = path
    if not isinstance(node, bytes):
        if at >= len(text) and not final and len(node) > (END in node):
            return _LIVE
        return at if END in node else _DEAD
    rest = node[depth:] if depth else node
    if text.startswith(rest, at):
        return at + len(rest)
    if not final and len(text) - at < len(rest) and rest.startswith(text[at:]):
        return _LIVE
    return _DEAD


def _ways(node: Tree | bytes, depth: int, text: bytes, at: int, seen: set[tuple[int, int, int]]) -> Iterable[_Path]:
    """Return the new places that a disguised character leads to; `seen` keeps runs of backslashes from multiplying."""
    for characters, end in readings(text, at):
        place = _follow(node, depth, characters)
        if place is not None and (key := (id(place[0]), place[1], end)) not in seen:
            seen.add(key)
            yield (*place, end)


def _step(node: Tree | bytes, depth: int, byte: int) -> tuple[Tree | bytes, int] | None:
    if isinstance(node, bytes):
        return (node, depth + 1) if depth < len(node) and node[depth] == byte else None
    child = node.get(byte)
    return None if child is None else (child, 0)


def _follow(node: Tree | bytes, depth: int, characters: bytes) -> tuple[Tree | bytes, int] | None:
    place: tuple[Tree | bytes, int] | None = (node, depth)
    for byte in characters:
        if place is None:
            return None
        place = _step(*place, byte)
    return place


def _ends(needles: Iterable[bytes]) -> frozenset[int]:
    """Return the bytes that a text may end with when it ends inside a needle."""
    inside = frozenset().union(*map(frozenset, needles))
    letters = {letter for letter, meant in NAMED.items() if meant in inside}
    return inside | letters | frozenset(b"0123456789abcdefABCDEF\\%ux")


def _heads(needles: list[bytes]) -> tuple[list[bytes], int]:
    """Return the beginnings to search for, as long as their number allows, and that length."""
    heads: set[bytes] = set()
    size = 0
    for size in _HEADS:
        heads = {needle[:size] for needle in needles}
        if len(heads) * size <= _BUDGET:
            break
    return sorted(heads), size


def _compile(heads: list[bytes]) -> re2._Regexp:
    options = re2.Options()
    options.max_mem = _MEMORY
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile(b"|".join(map(spelled, heads)) if heads else b"[^\\x00-\\xff]", options=options)
