"""Base64 and hex: runs of characters that may hold text, and what they hold."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final, NamedTuple

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_RUN: Final = re.compile(rb"[A-Za-z0-9+/_-]{11,}|[A-Za-z0-9+/_-]+\Z")
_HEX_RUN: Final = re.compile(rb"[0-9A-Fa-f]{16,}|[0-9A-Fa-f]+\Z")

_PRINTABLE: Final = frozenset(range(0x20, 0x7F))
_ZERO: Final = frozenset((0,))


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


def base64_runs(text: bytes, end: int) -> Iterator[tuple[int, int]]:
    """Return where runs of base64 are before `end`: long ones, and any that reaches it."""
    return (found.span() for found in _RUN.finditer(text, 0, end))


def hex_runs(text: bytes, end: int) -> Iterator[tuple[int, int]]:
    """Return the same for hex."""
    return (found.span() for found in _HEX_RUN.finditer(text, 0, end))


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


def opening(octet: int) -> bytes:
    """Return the characters that may open base64 or hex of a text which begins with a byte."""
    letter = _ALPHABET[octet >> 2 : (octet >> 2) + 1]
    return letter + {b"+": b"-", b"/": b"_"}.get(letter, b"") + b"%x%X" % (octet >> 4, octet >> 4)


@cache
def readable(size: int) -> bytes:
    """Return the pattern of base64 or hex that holds text: so many bytes of it, at any alignment.

    Base64 of UTF-16 and of zero-width characters is text, too.
    """
    quads = max(2, min(4, size // 3))
    pairs = max(6, min(10, size + 1))
    wide = 2 * max(2, min(3, size // 4))
    patterns = [
        rb"(?:[2-7][\r\n]*[0-9A-Fa-f][\r\n]*){%d}" % pairs,
        b"(?:[2-7][0-9A-Fa-f]00){%d}|(?:00[2-7][0-9A-Fa-f]){%d}" % (wide, wide),
        _pattern([_PRINTABLE] * 3, 0) + b"{%d}" % quads,
        *(_pattern([_PRINTABLE, _ZERO] * wide, at) for at in range(3)),
        *(_pattern([_ZERO, _PRINTABLE] * wide, at) for at in range(3)),
        *(
            _pattern([_PRINTABLE, *(frozenset((byte,)) for byte in mark), _PRINTABLE], at)
            for mark in (b"\xe2\x80\x8b", b"\xe2\x80\x8c", b"\xe2\x80\x8d", b"\xe2\x81\xa0", b"\xef\xbb\xbf")
            for at in range(3)
        ),
    ]
    return b"|".join(patterns)


def _pattern(octets: Sequence[frozenset[int]], before: int) -> bytes:
    """Return the pattern of the base64 characters that bytes of these sets decide, behind so many others."""
    anything = frozenset(range(256))
    sets = [anything] * before + [*octets]
    sets += [anything] * (-len(sets) % 3)
    out = b""
    first = (before * 8 + 5) // 6
    last = (len(octets) + before) * 8 // 6
    for at in range(0, len(sets), 3):
        one, two, three = sets[at : at + 3]
        out += _class({a >> 2 for a in one})
        out += _class({(a & 3) << 4 | b >> 4 for a in one for b in two})
        out += _class({(a & 15) << 2 | b >> 6 for a in two for b in three})
        out += _class({a & 63 for a in three})
    units = re.findall(rb"\[[^\]]*\]", out)
    return b"(?:" + b"".join(units[first:last]) + b")"


def _class(values: set[int]) -> bytes:
    letters = bytes(_ALPHABET[value] for value in sorted(values))
    more = (b"_" if b"/" in letters else b"") + (b"-" if b"+" in letters else b"")
    return b"[" + letters.replace(b"+", rb"\+").replace(b"/", rb"\/") + more.replace(b"-", rb"\-") + b"]"
