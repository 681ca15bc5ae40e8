"""Paths with their variable segments replaced: `/threads/0b1c…/runs` and its like are one operation. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

LONGEST: Final = 256
SEGMENTS: Final = 16

_NUMBER = re.compile(r"[0-9]{1,20}")
_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_RANDOM = re.compile(r"(?=[^0-9]*[0-9])(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9_-]{10,}")
"""Letters and digits mixed, ten or more: an id rather than a word with a version."""
_WORDS = re.compile(r"[a-z]{3,}|v[0-9]{1,2}", re.IGNORECASE)
_STRANGE = re.compile(r"[\x00-\x20\"'\\*]")


def path_pattern(path: str) -> str:
    """Return a route's pattern for a path: ids are `*`, which stands for one segment; "" for what no route can name."""
    text = unquote(path, errors="replace").partition(";")[0]
    if len(text) > LONGEST or _STRANGE.search(text) or not text.startswith("/"):
        return ""
    segments = text.split("/")[1:]
    if len(segments) > SEGMENTS:
        return ""
    return "/" + "/".join("*" if _is_id(segment) else segment for segment in segments)


def _is_id(segment: str) -> bool:
    if _NUMBER.fullmatch(segment) or _UUID.fullmatch(segment):
        return True
    if not _RANDOM.fullmatch(segment):
        return False
    # `chat-completions-v2` is made of words; `8f14e45fceea` and `abc9XK2bq0` are not.
    words = sum(len(word) for word in _WORDS.findall(segment.replace("_", "-")) if len(word) > 3)
    return words < len(segment) / 2
