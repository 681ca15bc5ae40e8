"""A cheap first search: can a text contain anything that a scanner looks for?

One search over one joined pattern answers for all scanners at once. A false positive costs a full scan; there
are no false negatives.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import re2

from sidecar.redaction.encoded_patterns import compiled
from sidecar.redaction.scanner import Hit, Scanner

Question: TypeAlias = Callable[[bytes], bool]

UNANCHORED: Final = re2._re2.RE2.Anchor.UNANCHORED  # noqa: SLF001  # the library names it nowhere else
_SHORT_LINE: Final = 48  # bytes of lines on average below which what they say together is looked at, too
_NOTHING: Final = [(-1, -1)]
_LONG: Final = 2048  # bytes of a text that is looked at for randomness
_LONG_BYTES: Final = 256  # … where it holds more than ASCII
_SAMPLE: Final = 128
_DIFFERENT: Final = 62  # in so many bytes: random ASCII 70, bytes 100; prose and JSON 30 to 45, Chinese up to 60
_DIFFERENT_LETTERS: Final = 42  # base64 53, random ASCII 46; prose 20 to 30
_ALPHANUMERIC: Final = frozenset(string.ascii_letters.encode() + string.digits.encode())
_NEVER: Final = b"[^\\x00-\\xff]"
CONTROLS: Final = bytes((*range(9), *range(10, 32), 127))


class Prefilter(NamedTuple):
    """Patterns of what a scanner stops at.

    whole   the beginning of every hit, enough of it to be rare
    cut     every end of a text that may be the beginning of a hit; empty: none
    """

    whole: bytes
    cut: bytes

    def anything(self) -> bytes:
        """The alternation of both, as one regular expression."""
        ends = (b"(?:" + self.cut + b")\\z",) if self.cut else ()
        return b"|".join(((self.whole,) if self.whole else ()) + ends)


def joined(suspects: Iterable[Prefilter]) -> Prefilter:
    """Return what stops any of several scanners."""
    some = list(suspects)
    return Prefilter(b"|".join(one.whole for one in some if one.whole), b"|".join(one.cut for one in some if one.cut))


def present(*patterns: bytes) -> Question:
    """Return the question whether one of some patterns is in a text, by the shortest way into the engine.

    The library's own `search` costs as much again for a text of some hundred bytes.
    """
    matches = [matcher(pattern) for pattern in patterns] or [matcher(_NEVER)]
    if len(matches) > 1:
        return _one_of(matches)
    match = matches[0]

    def question(text: bytes) -> bool:
        if match(UNANCHORED, text, 0, len(text)) != _NOTHING:
            return True
        if text.find(b"\n") < 0 or text.count(b"\n") * _SHORT_LINE <= len(text):
            return False
        text = text.translate(None, b"\r\n")
        return bool(match(UNANCHORED, text, 0, len(text)) != _NOTHING)

    return question


def matcher(pattern: bytes) -> Any:
    """Return the engine's own `Match` of a pattern."""
    return compiled(pattern or _NEVER)._regexp.Match  # noqa: SLF001  # see above


def begins(match: Any, text: bytes, at: int) -> int:
    """Return where a pattern is next in a text, by the engine's own `Match`; -1 if nowhere."""
    ((start, _),) = match(UNANCHORED, text, at, len(text))
    return int(start)


def _one_of(matches: Sequence[Any]) -> Question:
    def question(text: bytes) -> bool:
        size = len(text)
        for match in matches:
            if match(UNANCHORED, text, 0, size) != _NOTHING:
                return True
        if text.find(b"\n") < 0 or text.count(b"\n") * _SHORT_LINE <= size:
            return False
        text = text.translate(None, b"\r\n")
        return any(match(UNANCHORED, text, 0, len(text)) != _NOTHING for match in matches)

    return question


def present_by_parts(first: Question, parts: Sequence[bytes], together: Sequence[bytes]) -> Question:
    """Return the question whether what `first` asks or one of some patterns is in a text; `together` is all, joined.

    One search for all is the quickest in anything that people or programs write. In random characters a joined
    automaton meets a new state with nearly every byte, which costs a hundred times as much as what is known; those of
    the parts have few states.
    """
    joined_search = present(*together)
    searches: list[Question] = []  # compiled for the first random text

    def question(text: bytes) -> bool:
        if len(text) < (_LONG if text.isascii() else _LONG_BYTES) or not looks_random(text):
            return joined_search(text)
        if not searches:
            searches.append(either(first, present(*parts)))
        return searches[0](text)

    return question


def looks_random(text: bytes) -> bool:
    """Return whether a sample of a long text has more different bytes, or letters, than a text that means something."""
    sample = set(text[:: len(text) // _SAMPLE])
    return len(sample) > _DIFFERENT or len(sample & _ALPHANUMERIC) > _DIFFERENT_LETTERS


def present_as_they_are(patterns: Sequence[bytes]) -> Question:
    """Return the question whether one of some patterns is in a text from which control characters are taken out."""
    matches = [matcher(pattern) for pattern in patterns]

    def question(text: bytes) -> bool:
        shown = text.translate(None, CONTROLS)
        for each in (text, shown) if len(shown) < len(text) else (text,):
            for match in matches:
                if match(UNANCHORED, each, 0, len(each)) != _NOTHING:
                    return True
        return False

    return question


def either(*questions: Question) -> Question:
    """Return the question whether one of several answers yes, in their order."""
    if len(questions) == 1:
        return questions[0]

    def question(text: bytes) -> bool:
        return any(one(text) for one in questions)

    return question


def never(text: bytes) -> bool:  # noqa: ARG001  # nothing is looked for
    """Answer no."""
    return False


class PrefilteredScanner:
    """A scanner that runs only on texts that the prefilter does not clear."""

    framing = True
    __slots__ = ("_known", "_question", "_scanner", "reach")

    def __init__(self, scanner: Scanner, question: Question) -> None:
        self._scanner = scanner
        self._question = question
        known = scanner.known
        self._known = None if known is None or known is scanner else PrefilteredScanner(known, question)
        self.reach = scanner.reach

    @property
    def known(self) -> Scanner | None:
        """The part that looks for stored secrets, behind the same prefilter."""
        return self if self._known is None and self._scanner.known is not None else self._known

    def scan(self, text: bytes, before: bytes, final: bool) -> tuple[Sequence[Hit], int]:
        """Return no hits for a text that the prefilter clears; ask the scanner about any other."""
        if self._question(before + text if before else text):
            return self._scanner.scan(text, before, final)
        return (), len(text)
