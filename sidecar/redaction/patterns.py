"""Keys that are not ours, by their shape. Linear time: RE2, and single runs of one class of characters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import re2

from sidecar.redaction.key_formats import RULES, KeyFormat
from sidecar.redaction.prefilter import Prefilter, begins, joined, matcher, present
from sidecar.redaction.scanner import Hit

SHAPES: Final = frozenset(rule.name for rule in RULES)

_LIVE: Final = -1
_NOTHING: Final = 0
_TURN: Final = re.compile(rb"[A-Za-z](?=[0-9])|[0-9](?=[A-Za-z])")
_JUDGED: Final = 64  # bytes of a match that are judged: a key shows what it is early, and the cost stays linear
_ESCAPED_BEFORE: Final = re.compile(rb"(?:\\[bfnrt]|\\x?[0-9a-f]{2}|%[0-9A-Fa-f]{2})\Z")

_BORDER: Final = rb"(?:\A|[^A-Za-z0-9]|\\[bfnrt]|\\x?[0-9a-f]{2}|%[0-9A-Fa-f]{2})"  # see _inside_word


@dataclass(frozen=True, slots=True)
class _Shape:
    """A rule, compiled. `start` is how long the literal is that it was found by."""

    rule: KeyFormat
    start: int
    tail: Any
    run: re.Pattern[bytes]
    until: Any


class ShapeScanner:
    """Find what looks like a key of the named services.

    Rules that judge whether a text looks random have a part of their own: it leaps over text that cannot.
    """

    framing = True
    known = None
    __slots__ = ("_parts", "_suspect", "reach", "suspects")

    def __init__(self, names: Iterable[str]) -> None:
        wanted = set(names)
        rules = [rule for rule in RULES if rule.name in wanted]
        kinds = (
            [rule for rule in rules if rule.bounded and not rule.random],
            [rule for rule in rules if not rule.bounded],
            [rule for rule in rules if rule.bounded and rule.random],
        )
        self._parts = [_Part(some) for some in kinds if some]
        self.suspects = joined(part.suspects for part in self._parts)
        self._suspect = present(self.suspects.anything())
        self.reach = max((part.reach for part in self._parts), default=1)

    def scan(self, text: bytes, before: bytes, final: bool) -> tuple[Sequence[Hit], int]:
        """Return the hits of all rules in order of their start; see Scanner."""
        live = len(text)
        if not self._suspect(text):
            return (), live
        hits: list[Hit] = []
        for part in self._parts:
            found, begun = part.scan(text, before, final)
            hits += found
            live = min(live, begun)
        # Stable: where both begin, the rule that is surer gives the hit its name.
        return sorted(hits, key=itemgetter(0)), live


class _Part:
    """Rules that are searched for together."""

    __slots__ = (
        "_bounded",
        "_by_start",
        "_cut",
        "_longest_start",
        "_open",
        "_outer",
        "_quick",
        "_random",
        "_sizes",
        "reach",
        "suspects",
    )

    def __init__(self, rules: Sequence[KeyFormat]) -> None:
        self._random = all(rule.random for rule in rules)
        literals = sorted({re2.escape(start) for rule in rules for start in rule.starts})
        self._outer = matcher(_BORDER + b"(?:" + b"|".join(literals) + b")")
        self._bounded = all(rule.bounded for rule in rules)
        self._open = re2.compile(b"(?:" + b"|".join(sorted({rule.run for rule in rules})) + b")*\\z", _latin1())
        starts = sorted({start for rule in rules for start in rule.starts}, key=lambda start: (-len(start), start))
        shapes = [(start, _compiled(rule, start)) for rule in rules for start in rule.starts]
        self._by_start = {found: [shape for start, shape in shapes if found.startswith(start)] for found in starts}
        self._sizes = sorted({len(start) for start in starts}, reverse=True)
        probes = sorted({_probe(rule, start) for rule in rules for start in rule.starts}, key=len, reverse=True)
        self._quick = matcher(b"|".join(probes))
        # A start that the end of a text cuts: whether it may be in the middle of a word.
        self._cut: dict[bytes, bool] = {}
        for start, shape in shapes:
            for size in range(1, len(start)):
                self._cut[start[:size]] = self._cut.get(start[:size], False) or not shape.rule.bounded
        self.suspects = Prefilter(
            b"|".join(_sure(shape.rule, start) for start, shape in shapes), _unsure(self._cut, shapes)
        )
        self._longest_start = max(map(len, starts), default=1)
        self.reach = max((rule.longest for rule in rules), default=0) + self._longest_start

    def scan(self, text: bytes, before: bytes, final: bool) -> tuple[Sequence[Hit], int]:
        size = len(text)
        start = begins(self._quick, text, 0)
        if start < 0:
            return (), size if final else self._cut_start(text, before)
        hits: list[Hit] = []
        turns = _Turns(text)
        while start >= 0:
            end, name = self._at(text, start, before, final)
            if end == _LIVE:
                return hits, min(start, self._cut_start(text, before))
            if end:
                hits.append(Hit(start, end, name))
            start = begins(self._quick, text, end or self._leap(text, start, final, turns))
        return hits, size if final else self._cut_start(text, before)

    def _leap(self, text: bytes, start: int, final: bool, turns: _Turns) -> int:
        """Return where to go on after a start that began nothing: behind its word, or near text that looks random."""
        onward = start + 1
        if self._bounded:
            # The border may lie before: an escape is six bytes at most.
            border = begins(self._outer, text, max(0, onward - 6))
            onward = len(text) if border < 0 else max(onward, border)
        if not self._random:
            return onward
        ahead = _JUDGED + self._longest_start
        second = turns.second(start)
        target = len(text) if second is None else second - ahead
        if target > onward and not final:
            near = max(0, len(text) - self.reach)  # what may not be decided yet
            target = min(target, near + self._open.search(text[near:]).start() - self._longest_start)
        return max(onward, target)

    def _at(self, text: bytes, at: int, before: bytes, final: bool) -> tuple[int, str]:
        inside = _inside_word(text, at, before)
        best = (_NOTHING, "")
        found = next(text[at : at + size] for size in self._sizes if text[at : at + size] in self._by_start)
        for shape in self._by_start[found]:
            if inside and shape.rule.bounded:
                continue
            end = _end(shape, text, at, final)
            if end == _LIVE:
                return _LIVE, ""
            if end > best[0]:
                best = (end, shape.rule.name)
        return best

    def _cut_start(self, text: bytes, before: bytes) -> int:
        """Return where a start begins that the end of the text cuts."""
        size = len(text)
        for length in range(min(size, self._longest_start - 1), 0, -1):
            anywhere = self._cut.get(text[-length:])
            if anywhere is not None and (anywhere or not _inside_word(text, size - length, before)):
                return size - length
        return size


class _Turns:
    """Where letters and digits alternate in a text, found once for all places before."""

    __slots__ = ("_first", "_from", "_second", "_text")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._from = len(text) + 1
        self._first: int | None = None
        self._second: int | None = None

    def second(self, start: int) -> int | None:
        """Return where the second turn behind a place is."""
        if not self._from <= start or (self._first is not None and self._first < start):
            first = _TURN.search(self._text, start)
            second = _TURN.search(self._text, first.end()) if first is not None else None
            self._from = start
            self._first = first.start() if first is not None else None
            self._second = second.start() if second is not None else None
        return self._second


def _end(shape: _Shape, text: bytes, at: int, final: bool) -> int:
    rule = shape.rule
    body = at + shape.start
    run = shape.run.match(text, body, at + rule.longest)
    end = run.end() if run is not None else body
    closed = shape.until.search(text, body, end) if shape.until is not None else None
    if closed is not None:
        return int(closed.end())
    if end == len(text) and not final and end - at < rule.longest:
        return _LIVE
    found = shape.tail.match(text, body, end)
    if found is None:
        return _NOTHING
    end = int(found.end())
    if (rule.bounded and end < at + rule.longest and text[end : end + 1].isalnum()) or (
        rule.random and not looks_random(text[body:end])
    ):
        return _NOTHING
    return end


def looks_random(text: bytes, turns: int = 2) -> bool:
    """Return whether letters and digits alternate as they do in keys, and not in words, versions or dates."""
    return len(_TURN.findall(text, 0, _JUDGED)) >= turns


def _inside_word(text: bytes, at: int, before: bytes) -> bool:
    r"""Return whether a letter or digit is before `at`, unless that is the end of an escape (`\n`, `%3D`)."""
    ahead = text[max(0, at - 6) : at] if at >= 6 else before + text[:at]
    return bool(ahead) and ahead[-1:].isalnum() and _ESCAPED_BEFORE.search(ahead) is None


def _sure(rule: KeyFormat, start: bytes) -> bytes:
    """Return what every match of a rule begins with."""
    literal: bytes = re2.escape(start)
    return (_BORDER if rule.bounded else b"") + literal + rule.run + b"{%d}" % rule.least


def _unsure(cut: dict[bytes, bool], shapes: Iterable[tuple[bytes, _Shape]]) -> bytes:
    """Return what a text ends with when it cuts a start, or what is behind one."""
    ends = [re2.escape(start) + shape.rule.run + b"{0,%d}" % (shape.rule.least - 1) for start, shape in shapes]
    free = [re2.escape(prefix) for prefix, anywhere in cut.items() if anywhere]
    bound = [re2.escape(prefix) for prefix, anywhere in cut.items() if not anywhere]
    return b"|".join((*ends, *free, *((_BORDER + b"(?:" + b"|".join(bound) + b")",) if bound else ())))


def _probe(rule: KeyFormat, start: bytes) -> bytes:
    """Return what the first search looks for: a start and a little of what must follow, or the end of the text."""
    literal: bytes = re2.escape(start)
    return literal + b"(?:" + rule.run + b"{%d}|" % rule.least + rule.run + b"{0,%d}\\z)" % (rule.least - 1)


def _compiled(rule: KeyFormat, start: bytes) -> _Shape:
    return _Shape(
        rule,
        len(start),
        re2.compile(rule.tail, _latin1()),
        re.compile(rule.run + b"*"),
        re2.compile(rule.until, _latin1()) if rule.until else None,
    )


def _latin1() -> Any:
    """Return options for bytes: a pattern over bytes must not read them as UTF-8."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = 32 << 20
    return options
