"""How many tokens a text has, estimated where no provider has counted them.

Measured against two vocabularies of `tiktoken` (docs/budgets.md). Streams come in pieces of about one token, and a
piece of up to eight characters is counted as one.
"""

from __future__ import annotations

import re
from typing import Final

PIECE: Final = 8
"""Characters that are one token when they come alone."""

SHORT: Final = 2
"""The same for texts with other characters than those of ASCII."""

BYTES: Final = 4
"""Bytes of a request for each token of it: its JSON, and its text in UTF-8."""

PICTURE: Final = 1000
"""Tokens of an encoded picture or file in a request, whatever its size; providers count some 85 to 1600."""

_PARTS: Final = re.compile(
    r" ?[A-Za-z\u00c0-\u024f]{1,10}"  # Latin words, with the space before them
    r"|\d{1,3}"
    r"| ?[\u0370-\u058f]{1,6}"  # Greek, Cyrillic, Armenian
    r"| ?[\u0590-\u08ff]{1,4}"  # Hebrew, Arabic
    r"| ?[\u0900-\u0dff]{1,3}"  # the scripts of India
    r"| ?[\uac00-\ud7af]{1,2}"  # Korean
    r"| ?[!-/:-@\[-`{-~]{1,3}"
    r"|\s+"
    r"|[^\s]"
).findall
_DENSE: Final = re.compile(r"[\u2e80-\u9fff\uff00-\uffef]").findall
_DENSE_TOKENS: Final = 0.78
"""Tokens of a Chinese or Japanese character."""
_ENCODED: Final = re.compile(rb"[A-Za-z0-9+/=_-]{2048,}")


def tokens_of(text: str) -> int:
    """Return about how many tokens a text has; a stream's piece has one at least."""
    if text.isascii():
        return len(_PARTS(text)) if len(text) > PIECE else 1 if text else 0
    if len(text) <= SHORT:
        return 1
    parts = len(_PARTS(text))
    dense = len(_DENSE(text))
    return parts - dense + int(dense * _DENSE_TOKENS + 0.5) if dense else parts


_LETTERS: Final = bytes((*range(0x41, 0x5B), *range(0x61, 0x7B)))
_KINDS: Final = bytes(
    0x61
    if byte in _LETTERS
    else 0x20
    if byte == 0x20
    else 0x2E
    if 0x20 < byte < 0x7F and not 0x30 <= byte < 0x3A
    else 0
    for byte in range(256)
)
"""Byte → `a` for a letter, `.` for a sign, a space for a space, NUL for all else."""
_PARTS_OF_ASCII: Final = re.compile(
    rb" ?[A-Za-z]{1,10}|\d{1,3}| ?[!-/:-@\[-`{-~]{1,3}|[ \t-\r\x1c-\x1f]+|[^\s]"
).findall


def tokens_of_ascii(text: bytes) -> int:
    """Return what `tokens_of` returns for a text in ASCII.

    Most are words and single signs: there the beginnings of both are counted, at half the cost of finding them.
    """
    if len(text) <= PIECE:
        return 1 if text else 0
    kinds = text.translate(_KINDS)
    if b"\0" in kinds or b"  " in kinds or b"aaaaaaaaaaa" in kinds or b"...." in kinds:
        return len(_PARTS_OF_ASCII(text))
    # One begins at the front, one behind each space, and one where words and signs meet; a space at the end is one.
    return 1 + kinds.count(b" ", 1) + kinds.count(b"a.") + kinds.count(b".a")


def tokens_of_request(body: bytes) -> int:
    """Return about how many tokens a request has, by the size of its body without encoded pictures and files."""
    size, pictures = len(body), 0
    if size > 2048:
        for found in _ENCODED.finditer(body):
            pictures += 1
            size -= found.end() - found.start()
    return -(-size // BYTES) + pictures * PICTURE
