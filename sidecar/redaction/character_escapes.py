r"""Single characters in disguise: `\u0073`, `\x73`, `\/`, `%73`, and what nesting makes of them.

JSON inside a JSON string doubles its backslashes, a URL inside a URL turns `%` into `%25`. Three
levels of either are undone; the bounds also bound what a filter holds back.
"""

from __future__ import annotations

from typing import Final

import re2

LONGEST: Final = 2 * (7 + 5)
"""A surrogate pair, each half behind seven backslashes: the longest spelling of one character."""

NAMED: Final = {0x62: 8, 0x66: 12, 0x6E: 10, 0x72: 13, 0x74: 9}  # b f n r t: RFC 8259 §7
ITSELF: Final = b"\"/'"

_HEX: Final = rb"[0-9A-Fa-f]"
_BACKSLASH: Final = 0x5C
_PARTIAL: Final = re2.compile(
    rb"(?:\\{1,7}(?:u" + _HEX + rb"{0,4}|x" + _HEX + rb"?)?"
    rb"|\\{1,7}u[Dd][89ABab]" + _HEX + rb"{2}\\{0,7}(?:u(?:[Dd](?:[C-Fc-f]" + _HEX + rb"?)?)?)?"
    rb"|%(?:25){0,3}2?" + _HEX + rb"?)\z"
)


def unfinished(text: bytes, start: int, end: int) -> int:
    """Return where the spelling begins, between `start` and `end`, that a text which ends at `end` cuts; or `end`."""
    start = max(start, end - LONGEST)
    if text.find(b"\\", start, end) < 0 and text.find(b"%", start, end) < 0:
        return end
    found = _PARTIAL.search(text[start:end])
    return end if found is None else start + int(found.start())


def spelled(byte: int) -> bytes:
    """Return the pattern of one ASCII character in every spelling."""
    digits = b"%02x" % byte
    named = rb"\\{1,7}(?:(?i:(?:u00|x)" + digits + b")" + _letter(byte) + b")"
    return b"(?:\\x" + digits + rb"|%(?:25){0,3}(?i:" + digits + b")|" + named + b")"


def _letter(byte: int) -> bytes:
    """Return the short escape of a byte as one more alternative, if it has one."""
    letter = next((name for name, meant in NAMED.items() if meant == byte), byte)
    if letter == byte and byte != _BACKSLASH and byte not in ITSELF:
        return b""
    return b"|\\x%02x" % letter
