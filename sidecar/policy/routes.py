"""Which route a request takes: the first whose path and method match, under every reading of its path.

A backend may decode, collapse, resolve or fold the case of a path before it routes; the target that
it receives is byte for byte what the client sent. So a path is read twice, as written and as the most
lenient backend would read it. When both readings name different routes, it is undecided which guards
the request deserves, and it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from urllib.parse import quote, unquote_to_bytes

from sidecar.bounded_cache import BoundedCache

T = TypeVar("T")

_PLAIN = re.compile(r"(?:/[a-z0-9_~!$&'()*+,=:@-][a-z0-9_.~!$&'()*+,=:@-]*)+")
_CONTROLS = re.compile("%(?:[01][0-9a-f]|7f)", re.IGNORECASE)
_DEPTHS: Final = ("", "/*", "/*/*")
_CACHED: Final = 1024 * 1024  # bytes of remembered paths
_OBJECT: Final = 64  # bytes of a string besides its characters


@dataclass(frozen=True, slots=True)
class Pattern:
    """`/api/chat`, `/threads/*/runs` (one segment), `/**/ws` (any number of segments), `/assets/*` (all below).

    `methods` empty means all.
    """

    path: str
    methods: frozenset[str] = frozenset()

    def expression(self) -> str:
        """Return the regular expression that matches a folded path."""
        return self._expression(self.path.lower().rstrip("/"))

    def literal(self) -> str:
        """Return the regular expression that matches a path as it is written, in its own letter case."""
        return self._expression(self.path)

    def covers(self, other: Pattern) -> bool:
        """Return whether every request that the other takes would be taken here, methods included."""
        if self.methods and not (other.methods and other.methods <= self.methods):
            return False
        expression = self.compiled()
        return all(expression.fullmatch(sample) for sample in other.samples())

    def compiled(self) -> re.Pattern[str]:
        """Return what matches a folded path. Who asks often keeps it."""
        return re.compile(self.expression(), re.DOTALL)

    def beginning(self) -> str:
        """Return the segments before the first star, folded: what every path of this pattern begins with."""
        kept: list[str] = []
        for segment in self.path.lower().rstrip("/").split("/")[1:]:
            if "*" in segment:
                break
            kept.append(segment)
        return "".join(f"/{segment}" for segment in kept)

    def samples(self) -> tuple[str, ...]:
        """Return folded paths that this pattern takes: one of each depth that its stars allow, up to two segments."""
        text = self.path.lower()
        below = text.endswith("/*")
        text = text[:-2] if below else text
        inner = [text.replace("/**", each) for each in _DEPTHS] if "/**" in text else [text]
        return tuple(fold(quote(one + end)) for one in inner for end in (_DEPTHS if below else ("",)))

    @staticmethod
    def _expression(text: str) -> str:
        below = text.endswith("/*")
        parts = (text[:-2] if below else text).split("/**")
        inner = "(?:/[^/]*)*".join("[^/]*".join(re.escape(piece) for piece in part.split("*")) for part in parts)
        return f"{inner}(?:/.*)?" if below else inner


class RouteTable(Generic[T]):
    """Find a request's route; answers are cached, with a bound.

    Rows are looked up by what their paths begin with: among a thousand routes, a path is held against a few patterns.
    """

    def __init__(self, rows: Sequence[tuple[Pattern, T]], unmatched: T) -> None:
        self._rows = [(pattern.compiled(), pattern.methods, row) for pattern, row in rows]
        self._unmatched = unmatched
        self._by_beginning: dict[str, list[int]] = {}  # the segments before the first star → rows
        for number, (pattern, _) in enumerate(rows):
            self._by_beginning.setdefault(pattern.beginning(), []).append(number)
        self._most_segments = max((each.count("/") for each in self._by_beginning), default=0)
        self._cache: BoundedCache[tuple[str, str], T | None] = BoundedCache(_CACHED)

    def find(self, method: str, path: str) -> T | None:
        """Return the route, `unmatched`, or None when two readings of the path name two routes."""
        key = (method, path)
        try:
            return self._cache[key]
        except KeyError:
            pass
        return self._cache.remember(key, self._find(method, path), 2 * _OBJECT + len(method) + len(path))

    def _find(self, method: str, path: str) -> T | None:
        if _PLAIN.fullmatch(path):
            return self._match(method, fold(path))
        # Many routers' `$` also matches before a line feed, and C ends its strings at a NUL.
        if _CONTROLS.search(path) is not None:
            return None
        lenient = self._match(method, fold(path))
        literal = self._match(method, path.lower().rstrip("/"))
        if literal is lenient or literal is self._unmatched:
            return lenient
        return None

    def _match(self, method: str, path: str) -> T:
        for number in self._candidates(path):
            expression, methods, row = self._rows[number]
            if (not methods or method in methods) and expression.fullmatch(path):
                return row
        return self._unmatched

    def _candidates(self, path: str) -> list[int]:
        """Return the rows that a path may take by its beginning, in their order."""
        found: list[int] = []
        end = -1
        for _ in range(self._most_segments + 1):
            end = path.find("/", end + 1)
            found += self._by_beginning.get(path if end < 0 else path[:end], ())
            if end < 0:
                break
        return sorted(found)

    def rows(self) -> list[T]:
        """Return every route, the one for what no row matches included."""
        return [*(row for _, _, row in self._rows), self._unmatched]

    def methods(self, path: str) -> frozenset[str]:
        """Return the methods of the routes that match this path, for `Allow`."""
        folded = fold(path)
        return frozenset[str]().union(
            *(methods for expression, methods, _ in self._rows if expression.fullmatch(folded))
        )


def fold(path: str) -> str:
    """Read a raw path as the most lenient backend would.

    Percent-escapes are decoded once, backslashes are slashes, path parameters (`;v=1`) and trailing
    slashes are dropped, repeated slashes are one, dot segments are resolved, letters are lower-case.
    The root is the empty string.
    """
    text = unquote_to_bytes(path.encode("latin-1")).decode("utf-8", "surrogateescape").replace("\\", "/").lower()
    segments: list[str] = []
    for raw in text.split("/"):
        segment = raw.partition(";")[0]
        if segment == "..":
            if segments:
                segments.pop()
        elif segment not in ("", "."):
            segments.append(segment)
    return "/" + "/".join(segments) if segments else ""
