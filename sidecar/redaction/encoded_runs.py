"""Base64 and hex: runs of characters that may hold text, and what they hold."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Final, NamedTuple

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_AS_BASE64: Final = bytes(
    byte if byte in _ALPHABET else {0x2D: 0x2B, 0x5F: 0x2F}.get(byte, 0x66) for byte in range(256)
)
BASE64: Final = _ALPHABET + b"-_"
HEX: Final = b"0123456789abcdefABCDEF"
_AS_HEX: Final = bytes(byte if byte in HEX else 0x66 for byte in range(256))

_PRINTABLE: Final = frozenset((*range(0x20, 0x7F), 0x0A, 0x0D))
_TEXT: Final = _PRINTABLE | {0x00, 0xAD, 0xC2, 0xE2, 0xEF}
_UNITS: Final = re.compile(rb"\[[^\]]*\]|[^\[\]()?:]")
_OPENINGS: Final = 1000  # patterns of them, above which shorter ones do
_REMEMBERED: Final = 4096  # characters' classes: of pairs of bytes, not of keys
_ZERO: Final = frozenset((0,))


_UNSEEN: Final = rb"(?:[Cc]N2N[Aa]N[Dd]|[Ee]N2N8N[01]N[89Aa]N[0-9A-Fa-f]|[Ee]N[Ff]N[Bb]N[Bb]N[Bb]N[Ff])"


class Run(NamedTuple):
    """What a run of base64 or hex holds, if it is read from `start` on."""

    text: bytes
    start: int
    unit: int  # characters …
    octets: int  # … that hold so many bytes

    def begin(self, at: int) -> int:
        """Return where in the text the first character is that holds nothing before a byte."""
        return self.start + -(-at * self.unit // self.octets)

    def end(self, at: int) -> int:
        """Return the position behind the last character that holds nothing behind the byte before `at`."""
        return self.start + at * self.unit // self.octets


def base64_readings(text: bytes, start: int, end: int) -> Iterator[Run]:
    """Return what a run holds, read from each of its first four characters."""
    for begin in range(start, min(start + 4, end - 1)):
        run = text[begin:end].translate(_STANDARD)
        size = len(run) * 6 // 8
        yield Run(binascii.a2b_base64(run + b"A" * (-len(run) % 4))[:size], begin, 4, 3)


def hex_readings(text: bytes, start: int, end: int) -> Iterator[Run]:
    """Return what a run of hex holds, read from each of its first two digits."""
    for begin in (start, start + 1):
        even = (end - begin) // 2 * 2
        if even:
            yield Run(binascii.a2b_hex(text[begin : begin + even]), begin, 2, 1)


def all_base64(text: bytes) -> Iterator[Run]:
    """Return what a text holds if all of it is base64, at each alignment.

    What is no base64 stands for some character of it: only bytes at the edges of a run depend on that.
    """
    filled = text.translate(_AS_BASE64)
    for begin in range(4):
        size = max(0, len(text) - begin)
        run = binascii.a2b_base64(filled[begin:] + b"f" * (-size % 4))
        yield Run(run[: size * 6 // 8], begin, 4, 3)


def all_hex(text: bytes) -> Iterator[Run]:
    """Return the same for hex."""
    filled = text.translate(_AS_HEX)
    for begin in range(2):
        even = max(0, len(text) - begin) // 2 * 2
        yield Run(binascii.a2b_hex(filled[begin : begin + even]), begin, 2, 1)


def opening(octet: int) -> bytes:
    """Return the characters that may open base64 or hex of a text which begins with a byte."""
    letter = _ALPHABET[octet >> 2 : (octet >> 2) + 1]
    return letter + {b"+": b"-", b"/": b"_"}.get(letter, b"") + b"%x%X" % (octet >> 4, octet >> 4)


def opened(openings: Iterable[bytes]) -> bytes:
    """Return the pattern of the end of a text that may be the beginning of base64 or hex of such openings."""
    patterns = set()
    for one in openings:
        octets = [*(frozenset((byte,)) for byte in one[:3]), *[_TEXT] * (3 - len(one))]
        patterns |= {_pattern(octets, before) for before in range(3)}
        patterns.add("".join(c if c.isdigit() else f"[{c}{c.upper()}]" for c in one[:2].hex()).encode())
    for units in (3, 2):
        if len(patterns) > _OPENINGS:
            patterns = {b"".join(_UNITS.findall(pattern)[:units]) for pattern in patterns}
    return b"(?:" + b"|".join(sorted(patterns)) + b")[0-9A-Za-z+/=_\\r\\n-]{0,40}"


@cache
def readable(size: int) -> tuple[bytes, bytes]:
    """Return the patterns of base64 and of hex that hold text: so many bytes of it, at any alignment.

    Base64 of UTF-16 and of zero-width characters is text, too.
    """
    quads = max(2, min(4, size // 3))
    pairs = max(6, min(10, size + 1))
    wide = 2 * max(2, min(3, size // 4))
    in_hex = [
        rb"(?:[2-7]N[0-9A-Fa-f]N(?:0N[dD]N0N[aA]N)?){%d}".replace(b"N", rb"[\r\n]*") % pairs,
        rb"(?:[2-7]N[0-9A-Fa-f]N){2}0N[dD]N0N[aA]N(?:[2-7]N[0-9A-Fa-f]N){2}".replace(b"N", rb"[\r\n]*"),
        (rb"[2-7]N[0-9A-Fa-f]N" + _UNSEEN + rb"N[2-7]N[0-9A-Fa-f]").replace(b"N", rb"[\r\n]*"),
        b"(?:[2-7]N[0-9A-Fa-f]N0N0N){%d}|(?:0N0N[2-7]N[0-9A-Fa-f]N){%d}".replace(b"N", rb"[\r\n]*") % (wide, wide),
    ]
    in_base64 = [
        _pattern([_PRINTABLE] * 3, 0) + b"{%d}" % quads,
        *(_pattern([_PRINTABLE, _ZERO] * wide, at) for at in range(3)),
        *(_pattern([_ZERO, _PRINTABLE] * wide, at) for at in range(3)),
        *(
            _pattern([_PRINTABLE, *(frozenset((byte,)) for byte in mark), _PRINTABLE], at)
            for mark in (
                b"\xc2\xad",
                b"\xe2\x80\x8b",
                b"\xe2\x80\x8c",
                b"\xe2\x80\x8d",
                b"\xe2\x81\xa0",
                b"\xef\xbb\xbf",
            )
            for at in range(3)
        ),
    ]
    return b"|".join(in_base64), b"|".join(in_hex)


def _pattern(octets: Sequence[frozenset[int]], before: int) -> bytes:
    """Return the pattern of the base64 characters that bytes of these sets decide, behind so many others."""
    sets = [_ANYTHING] * before + [*octets]
    sets += [_ANYTHING] * (-len(sets) % 3)
    units: list[bytes] = []
    begin = (before * 8 + 5) // 6
    end = (len(octets) + before) * 8 // 6
    for at in range(0, len(sets), 3):
        first, second, third = sets[at : at + 3]
        units += (_unit(0, first, _ANYTHING), _unit(1, first, second), _unit(2, second, third))
        units.append(_unit(3, third, _ANYTHING))
    return b"(?:" + b"".join(units[begin:end]) + b")"


_ANYTHING: Final = frozenset(range(256))


@lru_cache(_REMEMBERED)
def _unit(number: int, one: frozenset[int], other: frozenset[int]) -> bytes:
    """Return the class of one of the four characters of three bytes, which one or two of them decide."""
    if number == 0:
        return _class({a >> 2 for a in one})
    if number == 1:
        return _class({a << 4 | b for a in {a & 3 for a in one} for b in {b >> 4 for b in other}})
    if number == 2:
        return _class({a << 2 | b for a in {a & 15 for a in one} for b in {b >> 6 for b in other}})
    return _class({a & 63 for a in one})


def _class(values: set[int]) -> bytes:
    letters = bytes(_ALPHABET[value] for value in sorted(values))
    more = (b"_" if b"/" in letters else b"") + (b"-" if b"+" in letters else b"")
    return b"[" + letters.replace(b"+", rb"\+").replace(b"/", rb"\/") + more.replace(b"-", rb"\-") + b"]"
