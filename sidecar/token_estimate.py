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


def tokens_of_request(body: bytes) -> int:
    """Return about how many tokens a request has, by the size of its body without encoded pictures and files."""
    size, pictures = len(body), 0
    if size > 2048:
        for found in _ENCODED.finditer(body):
            pictures += 1
            size -= found.end() - found.start()
    return -(-size // BYTES) + pictures * PICTURE
