r"""Escapes of single characters: `\u0073`, `\x73`, `%73`, `&#115;`, and what nesting makes of them.

Each round undoes every escape of one layer, whatever its kind, or drops the characters that no reader
sees (zero-width ones, soft hyphens, line breaks, NUL).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from enum import Enum
from html.entities import html5
from itertools import accumulate
from typing import Final, NamedTuple, TypeAlias

ROUNDS: Final = 16
"""Layers that are undone."""
LONGEST: Final = 64
"""Bytes that one character of a secret may take on average."""

SHOWN_INVISIBLE: Final = (
    rb"\xc2\xad|\xcd\x8f|\xe1\xa0[\x8b-\x8f]|\xe2\x80[\x8b-\x8f\xa8-\xae]|\xe2\x81[\xa0-\xaf]"
    rb"|\xef\xb8[\x80-\x8f]|\xef\xbb\xbf|\xf3\xa0[\x80-\x87][\x80-\xbf]"
)
"""Characters that no reader sees, as UTF-8: joiners, marks of direction, selectors, tags …"""
INVISIBLE: Final = rb"[\x00-\x08\x0a-\x1f\x7f]|" + SHOWN_INVISIBLE
"""… and controls but TAB."""
_WIDE: Final = (  # in UTF-16, either order; only among other characters of it
    # A backtick before a mark in the other order is a backtick.
    rb"(?<=\x00)(?:[\x0b-\x0f]\x20|\x60\x20(?![\x0b-\x0f]\x00)|\xff\xfe|\xad(?=\x00))(?=[^\x00]\x00|\x00)"
    rb"|(?<=\x00[^\x00])(?:\x20[\x0b-\x0f\x60]|\xfe\xff)(?=\x00)"
)
_HEX: Final = rb"[0-9A-Fa-f]"
_BACKSLASHED: Final = (
    rb"(?P<pair>" + rb"\\u[Dd][89ABab]" + _HEX + rb"{2}" + rb"\\u[Dd][C-Fc-f]" + _HEX + rb"{2})"
    rb"|\\(?:u(?P<u>" + _HEX + rb"{4})|x(?P<x>" + _HEX + rb"{2})|u\{0{0,4}(?P<b>" + _HEX + rb"{1,6})\}"
    rb"|U000(?P<U>" + _HEX + rb"{5})|(?P<o>[0-3][0-7]{2})|(?P<c>[bfnrt\"'/\\]))"
)
_PERCENT: Final = rb"%(?:(?P<p>" + _HEX + rb"{2})|u(?P<v>" + _HEX + rb"{4}))"
_ENTITY: Final = (
    rb"&#(?:[xX]0{0,8}(?P<h>" + _HEX + rb"{1,6})(?:;|(?!" + _HEX + rb"))"
    rb"|0{0,8}(?P<d>[0-9]{1,7})(?:;|(?![0-9])))"
    rb"|&(?P<n>[A-Za-z][A-Za-z0-9]{1,31});"
)
_ESCAPE: Final = re.compile(b"|".join((_BACKSLASHED, _PERCENT, _ENTITY)))
_KINDS: Final = tuple(map(re.compile, (_BACKSLASHED, _PERCENT, _ENTITY)))
LETTERS: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}  # RFC 8259 §7
SHOWN: Final = {
    name[:-1].encode(): text.encode()
    for name, text in html5.items()
    if name.endswith(";") and (text.isascii() or re.fullmatch(rb"(?:" + INVISIBLE + rb")+", text.encode()))
}
"""Named entities of characters that a secret may hold, or that no reader sees."""
NAMES: Final = {
    byte: sorted(name for name, text in SHOWN.items() if text == bytes((byte,))) for byte in range(0x21, 0x7F)
}

_UNFINISHED: Final = re.compile(
    rb"(?:" + rb"\\+(?:u(?:" + _HEX + rb"{0,3}|\{" + _HEX + rb"{0,9})|x" + _HEX + rb"?|U" + _HEX + rb"{0,7}"
    rb"|[0-3][0-7]?)?"
    rb"|\\u[Dd][89ABab]" + _HEX + rb"{2}(?:" + rb"\\(?:u(?:[Dd](?:[C-Fc-f]" + _HEX
    + rb"?)?)?)?)?"
    rb"|\xed[\xa0-\xaf][\x80-\xbf](?:\\(?:u(?:[Dd](?:[C-Fc-f]" + _HEX + rb"?)?)?)?)?"  # the first half of a pair
    rb"|%(?:2|" + _HEX + rb"?|u" + _HEX + rb"{0,3})"
    rb"|&(?:#[0-9]{0,15}|#[xX]" + _HEX + rb"{0,14}|(?P<name>[A-Za-z]{0,24}))"
    rb"|(?<=\x00)(?:[\x0b-\x0f\x60]|\xff)(?:[\x20\xfe][^\x00]?)?|(?<=\x00)\xad(?:\x00[^\x00]?)?"
    rb"|(?<=\x00[^\x00])(?:\x20[\x0b-\x0f\x60]?|\xfe\xff?)|\xc2|\xcd|\xe1\xa0?|\xe2[\x80\x81]?|\xef[\xb8\xbb]?|\xf3(?:\xa0[\x80-\x87]?)?)\Z"
)  # fmt: skip
_BEGUN: Final = frozenset(name[:size] for name in (*SHOWN, b"amp") for size in range(len(name) + 1))
_NEAR: Final = 40
_TAIL: Final = 512
_FAR: Final = 4096
_IN_NO_ESCAPE: Final = (b" ", b"=", b".", b",", b"-")


Token: TypeAlias = tuple[tuple[int, int], bytes]
"""Where an escape or an invisible character is, and what it means."""


class Undone(Enum):
    """What was undone, which `Positions` finds again: few texts hold what is looked for."""

    UNSEEN = 0
    ESCAPES = 1


def undo(text: bytes) -> tuple[bytes, Undone]:
    """Return the text without what is invisible or, if nothing is, without its outermost layer of escapes."""
    seen = text.translate(None, _CONTROLS) if _WANTED(text) is None else _unseen(text).sub(b"", text)
    if len(seen) < len(text):
        return seen, Undone.UNSEEN
    if _INTRODUCED(text) is None:
        return text, Undone.UNSEEN
    known = _MEANT.get

    def meant(found: re.Match[bytes]) -> bytes:
        means = known(found.group())
        return means if means is not None else _meant(found)

    return _ESCAPE.sub(meant, text), Undone.ESCAPES


def _tokens(kind: re.Pattern[bytes], text: bytes) -> list[Token]:
    return [(found.span(), _MEANT.get(found.group()) or _meant(found)) for found in kind.finditer(text)]


def undo_each(text: bytes) -> Iterator[tuple[bytes, list[Token]]]:
    """Return what each kind of escape alone makes of a text in which it is, and what was undone."""
    for kind, introducer in zip(_KINDS, b"\\%&", strict=True):
        if introducer not in text:
            continue
        tokens = _tokens(kind, text)
        if tokens:
            pieces: list[bytes] = []
            at = 0
            for (start, end), means in tokens:
                pieces += (text[at:start], means)
                at = end
            yield b"".join((*pieces, text[at:])), tokens


class Layer(NamedTuple):
    """A text in one layer of its escapes.

    stop    where the escape begins that the end of the text cuts; or the end
    tokens  what was undone of the layer above
    """

    text: bytes
    stop: int
    tokens: list[Token] | Undone


def layers(text: bytes, *, final: bool) -> list[Layer]:
    """Return the text and what each round of undoing makes of it, until nothing changes.

    What an escape cuts that the end of the text cuts itself is in no layer below.
    """
    found = [Layer(text, len(text) if final else unfinished(text), [])]
    for _ in range(ROUNDS):
        above = found[-1]
        given = above.text[: above.stop]
        below, tokens = undo(given)
        stop = len(below) if final else unfinished(below)
        if below == given and (stop == len(given) or len(given) == len(above.text)):
            break
        found.append(Layer(below, stop, tokens if below != given else []))  # the end may cut one escape in another
    return found


def plain(text: bytes) -> bytes:
    """Return the text without any escape."""
    return layers(text, final=True)[-1].text


def unfinished(text: bytes) -> int:
    """Return where the escape begins that the end of the text cuts; or the end."""
    size = len(text)
    found = _UNFINISHED.search(text, max(0, size - _NEAR))
    if found is None or (found.group("name") and found.group("name") not in _BEGUN):
        return size
    return found.start()


class Positions:
    """Where the bytes of a text stood before one layer was undone. Made only once something was found."""

    __slots__ = ("_begin", "_end", "_lower", "_upper")

    def __init__(self, text: bytes, tokens: list[Token] | Undone) -> None:
        if tokens is Undone.UNSEEN:
            tokens = [(found.span(), b"") for found in _unseen(text).finditer(text)]
        elif tokens is Undone.ESCAPES:
            tokens = _tokens(_ESCAPE, text)
        self._begin = [begin for (begin, _), _ in tokens]
        self._end = [end for (_, end), _ in tokens]
        shrunk = list(accumulate((end - begin - len(means) for (begin, end), means in tokens), initial=0))
        self._lower = [begin - less for begin, less in zip(self._begin, shrunk, strict=False)]
        self._upper = [end - less for end, less in zip(self._end, shrunk[1:], strict=True)]

    def start(self, at: int) -> int:
        """Return where what is at a position of the undone text began."""
        token = bisect_right(self._lower, at) - 1
        if token < 0:
            return at
        return self._begin[token] if at < self._upper[token] else self._end[token] + at - self._upper[token]

    def end(self, at: int) -> int:
        """Return where what ends at a position of the undone text ended."""
        token = bisect_right(self._lower, at - 1) - 1
        if token < 0:
            return at
        return self._end[token] if at <= self._upper[token] else self._end[token] + at - self._upper[token]


def begin_near_end(above: Layer, below: Layer, at: int) -> int | None:
    """Return where what is at a position of a layer began in the layer above, as `Positions.start` does.

    None where that is not near the end: only what is behind a byte that no escape holds is read again.
    """
    if below.tokens is not Undone.ESCAPES:
        return None
    before = max(0, len(above.text) - _TAIL)
    start = max(above.text.rfind(byte, 0, before) for byte in _IN_NO_ESCAPE) + 1
    if not start or len(above.text) - start > _FAR:
        return None
    tail = above.text[start : above.stop]
    tokens = _tokens(_ESCAPE, tail)
    size = len(tail) - sum(end - begin - len(means) for (begin, end), means in tokens)
    if at < len(below.text) - size:
        return None
    return start + Positions(tail, tokens).start(at - len(below.text) + size)


def _unseen(text: bytes) -> re.Pattern[bytes]:
    """Return the search for what is invisible in a text."""
    return _UNSEEN if b"\x00" not in text or _IS_WIDE(text) is None else _UNSEEN_WIDE


def _meant(found: re.Match[bytes]) -> bytes:
    kind = found.lastgroup
    whole = found.group()
    known = _decoded(found, kind or "", whole)
    if len(whole) <= 8 and len(_MEANT) < _REMEMBERED:
        _MEANT[whole] = known
    return known


_MEANT: Final[dict[bytes, bytes]] = {}
"""Short escapes and what they mean: a table of the alphabet, not of what answers hold; it is bounded."""
_REMEMBERED: Final = 4096
_CONTROLS: Final = bytes((*range(9), *range(10, 32), 127))
_UNSEEN: Final = re.compile(  # one set of first bytes: the engine skips all others quickly
    rb"[\x00-\x08\x0a-\x1f\x7f\xc2\xcd\xe1\xe2\xef\xf3]"
    rb"(?:(?<=[\x00-\x7f])|(?<=\xc2)\xad|(?<=\xcd)\x8f|(?<=\xe1)\xa0[\x8b-\x8f]"
    rb"|(?<=\xe2)(?:\x80[\x8b-\x8f\xa8-\xae]|\x81[\xa0-\xaf])|(?<=\xef)(?:\xb8[\x80-\x8f]|\xbb\xbf)"
    rb"|(?<=\xf3)\xa0[\x80-\x87][\x80-\xbf])"
)
_UNSEEN_WIDE: Final = re.compile(rb"(?:" + _WIDE + rb"|" + INVISIBLE + rb")+")
_IS_WIDE: Final = re.compile(
    rb"\x00(?:(?:[\x0b-\x0f\x60]\x20|\xff\xfe|\xad)(?:[^\x00]?\x00)"
    rb"|[^\x00](?:\x20[\x0b-\x0f\x60]|\xfe\xff)\x00)"
).search
_WANTED: Final = re.compile(rb"[\x00\xc2\xcd\xe1\xe2\xef\xf3]").search
_INTRODUCED: Final = re.compile(rb"[%\\&]").search


def _decoded(found: re.Match[bytes], kind: str, whole: bytes) -> bytes:
    if kind == "pair":
        halves = re.findall(rb"u([0-9A-Fa-f]{4})", whole)
        return b"".join(bytes.fromhex(half.decode()) for half in halves).decode("utf-16-be").encode()
    text = found.group(kind)
    if kind == "c":
        return LETTERS.get(text, text)
    if kind == "n":
        return SHOWN.get(text, whole)
    if kind == "p":
        return bytes.fromhex(text.decode())
    number = int(text, 10 if kind == "d" else 8 if kind == "o" else 16)
    if kind in ("x", "o"):
        return bytes((number,))
    return chr(number).encode("utf-8", "surrogatepass") if number < 0x110000 else whole
