"""Which requests two path patterns have in common, as patterns again. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from sidecar.policy.routes import Pattern

MANY: Final = "**"
"""Stands for any number of segments, none included."""

MOST: Final = 64
"""Patterns that one overlap is written with at most; operations of a kind need two or three."""

Segments = tuple[str, ...]


def overlap(one: Pattern, other: Pattern) -> list[Pattern]:
    """Return patterns that together take the requests which both take; empty: there are none.

    Where both have a `*` beside letters in the same segment, the segment of `one` stands, so that the result
    may take a few requests more.
    """
    methods = one.methods & other.methods if one.methods and other.methods else one.methods or other.methods
    if one.methods and other.methods and not methods:
        return []
    found = [Pattern(_path(each), methods) for each in _common(_segments(one.path), _segments(other.path))[:MOST]]
    kept: list[Pattern] = []
    for number, each in enumerate(found):
        wider = [*kept, *found[number + 1 :]]
        if not any(other.covers(each) for other in wider):
            kept.append(each)
    return kept


def _segments(path: str) -> Segments:
    parts = path.rstrip("/").split("/")[1:]
    return (*parts[:-1], MANY) if parts[-1:] == ["*"] else tuple(parts)


def _path(segments: Segments) -> str:
    inner = "".join(f"/{each}" for each in segments[:-1])
    last = segments[-1] if segments else ""
    return f"{inner}/{'*' if last == MANY else last}"


@lru_cache(maxsize=1024)
def _common(one: Segments, other: Segments) -> list[Segments]:
    """Return the lists of segments that both lists of segments stand for."""
    if not one or not other:
        rest = one or other
        return [()] if all(each == MANY for each in rest) else []
    first, second = one[0], other[0]
    if first == MANY and second == MANY:
        return _behind(MANY, [*_common(one[1:], other), *_common(one, other[1:])])
    if first == MANY:
        return [*_common(one[1:], other), *_behind(second, _common(one, other[1:]))]
    if second == MANY:
        return [*_common(one, other[1:]), *_behind(first, _common(one[1:], other))]
    segment = _segment(first, second)
    return _behind(segment, _common(one[1:], other[1:])) if segment is not None else []


def _behind(segment: str, rests: list[Segments]) -> list[Segments]:
    found = [rest if segment == MANY == (rest[0] if rest else "") else (segment, *rest) for rest in rests]
    return list(dict.fromkeys(found))[:MOST]


def _segment(one: str, other: str) -> str | None:
    """Return what stands for a segment that both take; None: there is none."""
    if _takes(other, one):
        return one
    if _takes(one, other):
        return other
    return one if "*" in one and "*" in other else None


def _takes(wide: str, narrow: str) -> bool:
    expression = ".*".join(re.escape(piece) for piece in wide.lower().split("*"))
    return re.fullmatch(expression, narrow.lower()) is not None
