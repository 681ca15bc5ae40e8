"""Is a string something that a person may have typed? Judged by its shape; nothing of it is kept. Pure."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 20_000
"""Characters of a string that are looked at."""

_SPACES = re.compile(r"(?<=[^\W\d_])[ ,.!?;:'\u2019)-]{0,3}[ \n](?=[\"'(]?[^\W_])")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")
"""Letters of scripts that write without spaces, or with few."""
_LETTER = re.compile(r"[^\W\d_]")

_MACHINE = re.compile(
    r"Mozilla/|AppleWebKit|\bGMT\b|\d{4}-\d\d-\d\d|^\w+/[\w.+-]+(;|$)|^https?://|^data:|^[\[{<(]|[{};=]{2}|\bsans-serif\b"
)
"""What programs write with spaces in it: user agents, dates, media types, markup, styles, code."""


def is_free_text(text: str) -> bool:
    """Return whether a string reads like a sentence: words with spaces between them, mostly letters."""
    sample = text[:LONGEST].strip()
    if len(sample) < 3 or _MACHINE.search(sample):
        return False
    if len(_UNSPACED.findall(sample)) >= 3:
        return True
    if not _SPACES.search(sample):
        return False
    return len(_LETTER.findall(sample)) >= len(sample) / 2


def share_of_spaces(text: str) -> float:
    """Return which part of a string is blank, 0 to 1."""
    sample = text[:LONGEST]
    return sum(map(str.isspace, sample)) / len(sample) if sample else 0.0
