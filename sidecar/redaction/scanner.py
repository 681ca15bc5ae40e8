"""What a scanner answers about a piece of text, and the filter that turns answers into a clean stream.

A scanner looks at bytes; it keeps no state. The state of a stream is what has been held back, and it
lives in the filter, so that scanners of known secrets and of key shapes share one filter, and the
joined deltas of a chat stream share the scanners with raw bodies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

MARK: Final = b"[redacted]"
KNOWN: Final = "known"  # the kind of a hit that is a stored secret
OUTSIDE: Final = b""  # what is before the first byte of a stream
_CONTEXT: Final = 96  # bytes of what has passed that a scanner may ask for: a secret may have begun there
_LONG: Final = 2048  # live bytes from which on a text is scanned anew only …
_SHARE: Final = 4  # … when it has grown by this part: else small pieces would cost the square of their number


class Hit(NamedTuple):
    """Bytes to be replaced, why (`known`, or the name of a pattern), and by what."""

    start: int
    end: int
    kind: str
    mark: bytes = MARK


class Scanner(Protocol):
    """Look for what must not pass.

    `scan` returns the hits in order of their start, and where the text turns live: from there on it
    may be the beginning of a hit, and only more text can tell. Nothing is live once the text is
    final. `before` is the end of what has
    passed, a few bytes. The live part of a text is never
    longer than `reach`.
    """

    reach: int
    framing: bool
    """Whether what it looks for may be in the framing of a record, too."""

    @property
    def known(self) -> Scanner | None:
        """The part of it that looks for stored secrets."""
        ...

    def scan(self, text: bytes, before: bytes, final: bool) -> tuple[Sequence[Hit], int]:
        """Return the hits, and the offset from which the text is live (its length if it is not)."""
        ...


class Both:
    """Two scanners as one."""

    framing = True
    __slots__ = ("_first", "_second", "reach")

    def __init__(self, first: Scanner, second: Scanner) -> None:
        self._first = first
        self._second = second
        self.reach = max(first.reach, second.reach)

    @property
    def known(self) -> Scanner | None:
        """The part that looks for stored secrets."""
        return self._first.known or self._second.known

    def scan(self, text: bytes, before: bytes, final: bool) -> tuple[Sequence[Hit], int]:
        """Return the hits of both in order, and the lower of the two offsets."""
        hits, live = self._first.scan(text, before, final)
        more, other = self._second.scan(text, before, final)
        if more:
            hits = sorted((*hits, *more)) if hits else more
        return hits, min(live, other)


class Edit(NamedTuple):
    """How a text is rewritten: the clean part of `text[:live]`, and what is carried to the next text."""

    clean: bytes
    covered: int  # bytes after `live` that belong to a hit whose mark has been written
    kinds: Sequence[str]


def rewrite(text: bytes, hits: Sequence[Hit], live: int, covered: int) -> Edit:
    """Replace the hits that begin before `live`; hits that overlap share one mark."""
    pieces: list[bytes] = []
    kinds: list[str] = []
    cursor = covered
    for hit in hits:
        if hit.start >= live:
            break
        if hit.start < cursor:
            cursor = max(cursor, hit.end)
            continue
        pieces += (text[cursor : hit.start], hit.mark)
        kinds.append(hit.kind)
        cursor = hit.end
    if cursor < live:
        pieces.append(text[cursor:live])
    return Edit(b"".join(pieces), max(0, cursor - live), kinds)


class StreamFilter:
    """Clean one body, chunk by chunk; holds back what is live, which the scanner's reach bounds."""

    __slots__ = ("_before", "_covered", "_held", "_scanned", "_scanner", "counts")

    def __init__(self, scanner: Scanner, counts: dict[str, int] | None = None) -> None:
        self._scanner = scanner
        self._held = b""
        self._scanned = 0  # bytes of what is held that were live when it was scanned
        self._covered = 0
        self._before = OUTSIDE
        self.counts: dict[str, int] = {} if counts is None else counts

    @property
    def waiting(self) -> int:
        """How many bytes are held back."""
        return len(self._held)

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; return what is not live, secrets replaced."""
        text = self._held + chunk if self._held else chunk
        if self._scanned > _LONG and len(text) - self._scanned < self._scanned // _SHARE:
            self._held = text
            return b""
        return self._pass(text, final=False)

    def finish(self) -> bytes:
        """Take the end of the body; return what was held, secrets replaced."""
        return self._pass(self._held, final=True)

    def _pass(self, text: bytes, *, final: bool) -> bytes:
        if not text:
            return b""
        hits, live = self._scanner.scan(text, self._before, final)
        if live == len(text) and not hits and not self._covered:
            self._held = b""
            self._scanned = 0
            self._before = context(self._before, text)
            return text
        edit = rewrite(text, hits, live, self._covered)
        tally(self.counts, edit.kinds)
        self._held = text[live:]
        self._scanned = len(self._held)
        self._covered = edit.covered
        self._before = context(self._before, text[:live])
        return edit.clean


def context(before: bytes, passed: bytes) -> bytes:
    """Return the last bytes of what has passed."""
    if before and len(passed) < _CONTEXT:
        passed = before + passed
    return passed[-_CONTEXT:] if len(passed) > _CONTEXT else passed


def tally(counts: dict[str, int], kinds: Sequence[str]) -> None:
    """Count marks by kind. The names come from a closed set, so the table is bounded."""
    for kind in kinds:
        counts[kind] = counts.get(kind, 0) + 1


def clean(text: bytes, scanner: Scanner, counts: dict[str, int] | None = None) -> bytes:
    """Return a complete text without what must not pass."""
    hits, live = scanner.scan(text, OUTSIDE, True)
    if not hits:
        return text
    edit = rewrite(text, hits, live, 0)
    if counts is not None:
        tally(counts, edit.kinds)
    return edit.clean
