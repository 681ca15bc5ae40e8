r"""Every reading of a text in escapes, for keys that themselves hold what escapes are made of.

`0000%12"` may be written `0000%12\"`: undoing all escapes of a layer at once would also undo the `%12` that
belongs to the key. Here each place of a text has as many readings as there are ways to undo what begins there,
each with where it ends, and a key is followed through all of them. That is exact and slow, so it is done only
around places where a cheaper search has seen the beginning of such a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sidecar.redaction.character_escapes import INVISIBLE, LETTERS, LONGEST, SHOWN, unfinished
from sidecar.redaction.encoded_patterns import begun, compiled, heads, in_parts, short_heads, whole

SPAN: Final = 96
"""The most bytes of one character that is read here."""
_BLOCK: Final = 512
_HEAD: Final = 16  # bytes of a key that must be seen, loosely, before its readings are followed
_FEW_BYTES: Final = 4  # … where many keys begin unlike
_SHARED: Final = 2048  # bytes in which keys may begin that are read from one chart
_AHEAD: Final = 64
_READINGS: Final = 128
"""Readings of one place, and steps of reading one number, beyond which no more are followed."""
WORK: Final = 12_000
"""Steps of reading one text. What is not read by then is replaced: it looks like a key in escapes without end."""
_STATES: Final = 4096  # of one key's readings from one place; beyond that, what was found is found
_INTRODUCERS: Final = frozenset(b"%\\&")
_BACKSLASH: Final = 0x5C
_RUN: Final = 32  # backslashes of which one is looked at: fewer than SPAN
_BYTES: Final = tuple(bytes((byte,)) for byte in range(256))
_ODD: Final = re.compile(rb"[%\\&\"'\x00-\x1f\x7f-\xff]")
_UNSEEN: Final = re.compile(INVISIBLE)
_LEAD: Final = {0xC2: 2, 0xCD: 2, 0xE1: 3, 0xE2: 3, 0xEF: 3, 0xF3: 4}
_HEXES: Final = frozenset(b"0123456789abcdefABCDEF")
_DECIMALS: Final = frozenset(b"0123456789")

Tree = dict[Any, Any]
_END: Final = "end"


def is_ambiguous(secret: bytes) -> bool:
    """Return whether a key holds what escapes are made of."""
    return _ODD.search(secret) is not None


def _tree(words: Sequence[bytes]) -> Tree:
    root: Tree = {}
    for word in words:
        node = root
        for byte in word:
            node = node.setdefault(byte, {})
        node[_END] = word
    return root


_NAMES: Final = _tree([name + b";" for name in (*SHOWN, b"amp")])


class _Exhausted(Exception):
    """A text takes too many steps to read."""


class Steps:
    """Counts the steps of reading one text in all its layers; raises _Exhausted behind the last."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = WORK

    def take(self, count: int) -> None:
        """Count some more."""
        self.left -= count
        if self.left < 0:
            raise _Exhausted


class _Chart:
    """The readings of the places of a text: what each may say, and where that ends."""

    __slots__ = ("_ascii", "_high", "_reads", "_steps", "_text", "cut", "low", "size")

    def __init__(self, text: bytes, low: int, steps: Steps) -> None:
        self._steps = steps
        self._text = text
        self.size = len(text)
        self.low = low
        self._high = low
        self._reads: dict[int, list[tuple[bytes, int]]] = {}
        self._ascii: dict[int, list[tuple[int, int]]] = {}
        self.cut: set[int] = set()
        """Places where an escape begins that the end of the text cuts."""

    def reads(self, place: int) -> list[tuple[bytes, int]]:
        """Return what may be at a place: bytes, none for what is invisible, and where they end."""
        if place + SPAN > self._high and self._high < self.size:
            self._extend(place)
        return self._reads[place]

    def _extend(self, place: int) -> None:
        """Read further, and anew what the end of what was read may have cut."""
        begin = max(self.low, self._high - 2 * SPAN)
        self._high = min(self.size, max(place + 2 * SPAN, self._high + _BLOCK))
        self.cut = {at for at in self.cut if at < begin}
        for at in range(self._high - 1, begin - 1, -1):
            self._read(at)

    def _read(self, at: int) -> None:
        raw = self._text[at]
        if raw not in _INTRODUCERS:
            self._read_single(raw, at)
            return
        found = {(_BYTES[raw], at + 1): None}
        self._reads[at], self._ascii[at] = [], []
        agenda = [(raw, at + 1)]
        while agenda:
            kind, start = agenda.pop()
            if kind == _BACKSLASH and start > at + 1 and self._text[start : start + 1] == b"\\":
                continue  # what is behind it is behind the first of these backslashes, too
            tails = list(self._tails(kind, start, at))
            self._steps.take(1 + len(tails))
            for means, end in tails:
                if end - at > SPAN or (means, end) in found or len(found) >= _READINGS:
                    continue
                found[means, end] = None
                if len(means) == 1 and means[0] in _INTRODUCERS:
                    agenda.append((means[0], end))
                found.update(dict.fromkeys(self._more(means, end, at)))
        self._reads[at] = list(found)
        letters = dict.fromkeys((means[0], end) for means, end in found if len(means) == 1)
        for means, end in found:
            if not means:
                letters.update(dict.fromkeys(self._characters(end, at)))
        self._ascii[at] = list(letters)[:_READINGS]

    def _read_single(self, raw: int, at: int) -> None:
        """Read a byte that begins no escape: it says what it is, or nothing that is seen."""
        self._reads[at], self._ascii[at] = [(_BYTES[raw], at + 1)], [(raw, at + 1)]
        if 0x20 <= raw < 0x7F:
            return
        unseen = _UNSEEN.match(self._text, at)
        if unseen is not None:
            self._reads[at].append((b"", unseen.end()))
            letters = dict.fromkeys([(raw, at + 1), *self._characters(unseen.end(), at)])
            self._ascii[at] = list(letters)[:_READINGS]
        elif raw in _LEAD and self.size - at < _LEAD[raw]:
            self.cut.add(at)

    def _more(self, means: bytes, end: int, at: int) -> Iterator[tuple[bytes, int]]:
        """Return what an escape says besides: nothing that is seen, or one character with those behind it."""
        if means and _UNSEEN.fullmatch(means):
            yield b"", end
        elif means[:1] == b"\xed" and len(means) == 3 and 0xA0 <= means[1] < 0xB0:
            yield from self._paired(means, end, at)
        elif len(means) == 1 and means[0] in _LEAD:
            for last in self._continued(means, end, _LEAD[means[0]], at):
                yield b"", last

    def _paired(self, means: bytes, end: int, at: int) -> Iterator[tuple[bytes, int]]:
        """Return the character of two halves of a surrogate pair."""
        if end >= self._high:
            self._touch(end, at)
            return
        if end in self.cut:
            self.cut.add(at)
        for other, last in self._reads[end]:
            if len(other) == 3 and other[0] == 0xED and other[1] >= 0xB0:
                halves = (means + other).decode("utf-8", "surrogatepass")
                yield halves.encode("utf-16", "surrogatepass").decode("utf-16").encode(), last

    def _continued(self, means: bytes, start: int, size: int, at: int) -> Iterator[int]:
        """Return where an invisible character ends whose bytes are escaped one by one."""
        if len(means) == size:
            if _UNSEEN.fullmatch(means):
                yield start
            return
        if start >= self._high:
            self._touch(start, at)
            return
        for more, end in self._reads[start]:
            if len(more) == 1 and 0x80 <= more[0] < 0xC0:
                yield from self._continued(means + more, end, size, at)

    def _touch(self, place: int, at: int) -> None:
        if place >= self.size:
            self.cut.add(at)

    def _characters(self, place: int, at: int) -> list[tuple[int, int]]:
        """Return the ASCII characters that may be at a place, behind what is invisible."""
        if place >= self._high:
            self._touch(place, at)
            return []
        if place - at > SPAN:
            return []
        if place in self.cut:
            self.cut.add(at)
        return self._ascii[place]

    def _digits(self, place: int, at: int, least: int, most: int) -> Iterator[tuple[bytes, int]]:
        agenda: list[tuple[bytes, int]] = [(b"", place)]
        seen = set(agenda)
        while agenda and len(seen) < _READINGS:
            said, here = agenda.pop()
            if len(said) >= least:
                yield said, here
            if len(said) < most:
                more = [(said + bytes((byte,)), end) for byte, end in self._characters(here, at) if byte in _HEXES]
                agenda += [one for one in more if one not in seen]
                seen.update(more)

    def _tails(self, kind: int, start: int, at: int) -> Iterator[tuple[bytes, int]]:
        """Return what an escape says whose first character ends at `start`, and where it ends."""
        if kind == 0x25:
            yield from self._numbers(start, at, 2, octets=True)
        for byte, end in self._characters(start, at):
            if kind == 0x25 and byte == 0x75:
                yield from self._numbers(end, at, 4)
            elif kind == 0x26 and byte == 0x23:
                yield from self._entities(end, at)
            elif kind == 0x5C:
                yield from self._backslashed(byte, end, at)
        if kind == 0x26:
            yield from self._named(start, at)

    def _numbers(self, start: int, at: int, size: int, *, octets: bool = False) -> Iterator[tuple[bytes, int]]:
        for said, end in self._digits(start, at, size, size):
            number = int(said, 16)
            yield (bytes((number,)) if octets else _character(number)), end

    def _backslashed(self, byte: int, end: int, at: int) -> Iterator[tuple[bytes, int]]:
        letter = bytes((byte,))
        if letter in b"bfnrt\"'/\\":
            yield LETTERS.get(letter, letter), end
        elif letter == b"x":
            yield from self._numbers(end, at, 2, octets=True)
        elif letter == b"u":
            yield from self._numbers(end, at, 4)
            yield from self._braced(end, at)
        elif letter == b"U":
            yield from self._numbers(end, at, 8)
        elif letter in b"0123":
            for said, last in self._digits(end, at, 2, 2):
                if said.isdigit() and b"8" not in said and b"9" not in said:
                    yield bytes((int(letter + said, 8),)), last

    def _braced(self, start: int, at: int) -> Iterator[tuple[bytes, int]]:
        for brace, first in self._characters(start, at):
            for said, last in self._digits(first, at, 1, 10) if brace == 0x7B else ():
                for closing, end in self._characters(last, at):
                    if closing == 0x7D:
                        yield _character(int(said, 16)), end

    def _entities(self, start: int, at: int) -> Iterator[tuple[bytes, int]]:
        for base, first in ((10, start), *((16, end) for byte, end in self._characters(start, at) if byte in b"xX")):
            for said, last in self._digits(first, at, 1, 10):
                if base == 10 and not said.isdigit():
                    continue
                means = _character(int(said, base))
                if means:
                    if last >= self.size or self._text[last] not in (_HEXES if base == 16 else _DECIMALS):
                        yield means, last  # without its semicolon it ends where its digits do
                    for byte, end in self._characters(last, at):
                        if byte == 0x3B:
                            yield means, end

    def _named(self, start: int, at: int) -> Iterator[tuple[bytes, int]]:
        agenda: list[tuple[Tree, int]] = [(_NAMES, start)]
        while agenda:
            node, here = agenda.pop()
            if (name := node.get(_END)) is not None:
                yield SHOWN.get(name[:-1], b"&"), here
                continue
            agenda += [(node[byte], end) for byte, end in self._characters(here, at) if byte in node]


def _character(number: int) -> bytes:
    return chr(number).encode("utf-8", "surrogatepass") if number < 0x110000 else b""


class AmbiguousSecrets:
    """Find keys that hold what escapes are made of, in any reading of a text."""

    __slots__ = ("_begun", "_tree", "_whole")

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._tree = _tree(secrets)
        loose = short_heads(heads(secrets) or short_heads(secrets, _FEW_BYTES), _HEAD)
        self._whole = [compiled(part) for part in in_parts(loose, whole)]
        self._begun = [compiled(b"(?:" + part + rb")\z") for part in in_parts(loose, begun)]

    def found(self, text: bytes, steps: Steps, *, final: bool) -> tuple[list[tuple[int, int]], int]:
        """Return where keys are, and where one begins that the end of the text cuts.

        When no steps are left, all that follows the beginning of a key counts as one.
        """
        spans: set[tuple[int, int]] = set()
        size = len(text)
        live = size
        chart: _Chart | None = None
        for start, end in self._places(text, final):
            try:
                if chart is None or not chart.low <= start < chart.low + _SHARED:
                    chart = _Chart(text, start, steps)
                for at in range(start, end):
                    if at > start and at % _RUN and text[at] == _BACKSLASH == text[at - 1]:
                        continue  # what one of a run of backslashes says, the first of them says, too
                    if self._follow(chart, at, steps, spans) and not final:
                        live = min(live, at)
            except _Exhausted:
                spans.add((start, size))
                break
        return sorted(spans), live

    def _places(self, text: bytes, final: bool) -> list[tuple[int, int]]:
        """Return where keys may begin."""
        found: list[tuple[int, int]] = []
        for part in self._whole:
            at = 0
            while (match := part.search(text, at)) is not None:
                start, end = match.span()
                found.append((max(at, start, end - _AHEAD * _HEAD), end))
                at = end
        if not final and self._begun:
            near = max(0, len(text) - LONGEST * _HEAD)
            starts = [match.start() for part in self._begun if (match := part.search(text, near)) is not None]
            start = min(starts, default=unfinished(text))
            if start < len(text):
                found.append((start, len(text)))
        return found

    def _follow(self, chart: _Chart, at: int, steps: Steps, spans: set[tuple[int, int]]) -> bool:
        """Follow all readings from a place; say whether the end of the text cuts one of them."""
        agenda = [(at, self._tree)]
        seen: set[tuple[int, int]] = set()
        cut = False
        while agenda and len(seen) < _STATES:
            place, node = agenda.pop()
            if place >= chart.size:
                cut = cut or any(byte != _END for byte in node)
                continue
            if (place, id(node)) in seen:
                continue
            seen.add((place, id(node)))
            steps.take(1)
            for means, end in chart.reads(place):
                below: Tree | None = node
                for byte in means:
                    below = below.get(byte) if below is not None else None
                if below is not None and (means or node is not self._tree):
                    agenda.append((end, below))
                    if means and _END in below:
                        spans.add((at, end))
            if place in chart.cut:
                cut = True
        return cut
