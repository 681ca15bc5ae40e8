r"""Single characters in disguise: `\u0073`, `\x73`, `\/`, `%73`, and what nesting makes of them.

JSON inside a JSON string doubles its backslashes, a URL inside a URL turns `%` into `%25`. Three
levels of either are undone; the bounds also bound what a filter holds back.
"""

from __future__ import annotations

import re
from typing import Final

import re2

LONGEST: Final = 2 * (7 + 5)
"""A surrogate pair, each half behind seven backslashes: the longest spelling of one character."""

NAMED: Final = {0x62: 8, 0x66: 12, 0x6E: 10, 0x72: 13, 0x74: 9}  # b f n r t: RFC 8259 §7
_ITSELF: Final = b"\"/'"

_HEX: Final = rb"[0-9A-Fa-f]"
_LOW: Final = rb"[Dd][C-Fc-f]" + _HEX + rb"{2}"
_PERCENT: Final = 0x25
_BACKSLASH: Final = 0x5C
_SLASHES: Final = (2, 4, 8)  # a backslash at one, two and three levels
_DIGITS: Final = re.compile(rb"[0-9A-Fa-f]{2}")
_ESCAPE = re2.compile(
    rb"\\{1,7}(?:u(" + _HEX + rb"{4})(?:\\{1,7}u(" + _LOW + rb"))?|x(" + _HEX + rb"{2})|([\"/'bfnrt]))"
)
_PARTIAL = re2.compile(
    rb"\\{1,7}(?:u" + _HEX + rb"{0,4}|x" + _HEX + rb"?)?"
    rb"|\\{1,7}u[Dd][89ABab]" + _HEX + rb"{2}\\{0,7}(?:u(?:[Dd](?:[C-Fc-f]" + _HEX + rb"?)?)?)?"
    rb"|%(?:25){0,3}2?" + _HEX + rb"?"
)


def readings(text: bytes, at: int) -> list[tuple[bytes, int]]:
    """Return each character (UTF-8) that may be spelled at `at`, with where its spelling ends.

    There may be several: `%2523` is `#` in a URL in a URL, and the `%` of `%23` in a URL.
    """
    if text[at] == _PERCENT:
        return _percent(text, at)
    found = [(b"\\", at + level) for level in _SLASHES if text.startswith(b"\\" * level, at)]
    escape = _ESCAPE.match(text, at, at + LONGEST)
    if escape is not None:
        found.append(_named(escape))
    return found


def _percent(text: bytes, at: int) -> list[tuple[bytes, int]]:
    found: list[tuple[bytes, int]] = []
    for nested in range(4):
        at += 1 if nested == 0 else 2
        digits = text[at : at + 2]
        if _DIGITS.fullmatch(digits) is None:
            break
        found.append((bytes((int(digits, 16),)), at + 2))
        if digits != b"25":
            break
    return found


def _named(escape: re2._Match) -> tuple[bytes, int]:
    unicode, low, short, named = escape.groups()
    if unicode:
        point = int(unicode, 16)
        if low and 0xD800 <= point < 0xDC00:
            point = 0x10000 + ((point - 0xD800) << 10) + (int(low, 16) - 0xDC00)
            return chr(point).encode(), escape.end()
        return chr(point).encode("utf-8", "surrogatepass"), escape.end(1)
    if named:
        byte = named[0]
        return bytes((byte if byte in _ITSELF else NAMED[byte],)), escape.end()
    return bytes((int(short, 16),)), escape.end()


def unfinished(text: bytes, at: int) -> bool:
    """Say whether the text ends inside a spelling that begins at `at`."""
    return len(text) - at < LONGEST and _PARTIAL.fullmatch(text, at) is not None


def spelled(head: bytes) -> bytes:
    """Return a pattern for the beginning of a needle in every spelling.

    It ends early at a character beyond ASCII: an escape names it whole, not byte by byte.
    """
    out = b""
    for byte in head:
        plain = b"\\x%02x" % byte
        percent = rb"%(?:25){0,3}(?i:" + b"%02x" % byte + b")"
        if byte >= 0x80:
            return out + b"(?:" + plain + b"|" + percent + rb"|\\{1,7}u" + _HEX + rb"{4})"
        out += (
            b"(?:"
            + plain
            + b"|"
            + percent
            + rb"|\\{1,7}(?:(?i:(?:u00|x)"
            + b"%02x" % byte
            + b")"
            + _letter(byte)
            + b"))"
        )
    return out


def _letter(byte: int) -> bytes:
    """Return the short escape of a byte as one more alternative, if it has one."""
    letter = next((name for name, meant in NAMED.items() if meant == byte), byte)
    if letter == byte and byte != _BACKSLASH and byte not in _ITSELF:
        return b""
    return b"|\\x%02x" % letter
