"""Joins known secrets and key patterns into one filter for each response that needs one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from sidecar.errors import Problems
from sidecar.redaction.assignments import GENERIC, AssignmentScanner
from sidecar.redaction.binary_scanner import BinaryScanner
from sidecar.redaction.known_secrets import KnownMatcher
from sidecar.redaction.patterns import SHAPES, ShapeScanner
from sidecar.redaction.prefilter import Prefilter, PrefilteredScanner, Question, joined, never, present
from sidecar.redaction.record_lines import Body, RecordLinesFilter
from sidecar.redaction.scanner import Both, Scanner, StreamFilter, clean
from sidecar.redaction.sse import EventStreamFilter
from sidecar.redaction.websocket_filter import FrameFilter

PATTERN_NAMES: Final = frozenset({*SHAPES, GENERIC})

_TEXT_TYPES: Final = frozenset(
    {
        b"",  # a reader will guess, and may guess text
        b"application/json",
        b"application/javascript",
        b"application/ecmascript",
        b"application/xml",
        b"application/xhtml+xml",
        b"application/x-www-form-urlencoded",
        b"application/yaml",
        b"application/x-yaml",
        b"application/toml",
        b"application/x-ndjson",
        b"application/ndjson",
        b"application/jsonl",
        b"application/json-seq",
        b"application/graphql",
        b"application/sql",
        b"application/x-sh",
        b"image/svg+xml",
    }
)
EVENT_STREAM: Final = b"text/event-stream"
RECORDS: Final = frozenset(
    {
        b"application/x-ndjson",
        b"application/ndjson",
        b"application/x-jsonlines",
        b"application/jsonlines",
        b"application/jsonl",
        b"application/json-seq",
        b"application/stream+json",
        b"application/x-json-stream",
        b"application/json-stream",
        b"text/x-ndjson",
        b"text/ndjson",
        b"text/jsonl",
    }
)
_NEVER_RECORDS: Final = (b"image/", b"audio/", b"video/", b"font/")
_DOCUMENTS: Final = frozenset({b"text/css", b"text/javascript", b"application/javascript"})


class RedactionFilter(Protocol):
    """A ResponseFilter that says what it took out: kind (`known`, or a pattern's name) → how often."""

    counts: dict[str, int]

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes of the body; return what may be sent now, secrets replaced."""
        ...

    def finish(self) -> bytes:
        """Take the end of the body; return what was held, secrets replaced."""
        ...


class Redaction:
    """The redaction of a policy. The set of known secrets may change; filters in flight keep theirs."""

    __slots__ = ("_binary", "_known", "_question", "_shapes", "_suspects", "_text", "suspicious")

    def __init__(self, known: KnownMatcher | None, shapes: Scanner | None, suspects: Prefilter) -> None:
        self._shapes = shapes
        self._suspects = suspects
        self._known: KnownMatcher | None = None
        self._text: Scanner | None = None
        self._question: Question | None = None
        self._binary: BinaryScanner | None = None  # made for the first body that is no text
        self.suspicious: Question = never
        """Whether `redact_value` may change any value in these bytes, such as a whole block of header lines."""
        self._use(known)

    def know(self, known: KnownMatcher | None) -> None:
        """Use another set of known secrets from the next answer on; the same one again changes nothing."""
        if known is not self._known:
            self._use(known)

    def _use(self, known: KnownMatcher | None) -> None:
        self._known = known if known is not None and known.size else None
        self._binary = None
        if self._known is None and self._shapes is None:
            self._text, self._question, self.suspicious = None, None, never
            return
        if self._known is None:
            self._question, self.suspicious = present(self._suspects.anything()), present(self._suspects.whole)
        else:
            self._question, self.suspicious = self._known.questions(self._suspects)
        self._text = PrefilteredScanner(_both(self._known, self._shapes), self._question)

    @property
    def active(self) -> bool:
        """Whether anything is looked for: if not, answers may come compressed and pass untouched."""
        return self._text is not None

    def filter_for(self, content_type: bytes) -> RedactionFilter | None:
        """Return the filter of one answer, or None when nothing is looked for in such a body."""
        kind = media_type(content_type)
        if not is_text(kind):
            if self._known is None:
                return None
            if self._binary is None:
                self._binary = BinaryScanner(self._known, self._known.forms)
            if kind.startswith(_NEVER_RECORDS):
                return StreamFilter(self._binary)
            return RecordLinesFilter(self._binary, Body.TEXT)
        if self._text is None:
            return None
        return text_filter(kind, self._text, self._question)

    def passes_whole(self, content_type: bytes, lines: bytes, body: bytes) -> bool:
        """Return whether header lines and a complete body are surely as they may be; False: ask one by one.

        A JSON object on one line is one record, which no stream of texts in pieces is made of.
        """
        if self._text is None:
            return True
        if content_type != b"application/json":
            kind = media_type(content_type)
            if kind in RECORDS or not kind.endswith(b"json"):
                return False
        question = self._question
        return body.startswith(b"{") and body.find(b"\n") < 0 and question is not None and not question(lines + body)

    def frames(self) -> FrameFilter | None:
        """Return the filter of one direction of a WebSocket's text messages."""
        return None if self._text is None else FrameFilter(self._text, question=self._question)

    def redact_value(self, value: bytes, counts: dict[str, int] | None = None) -> bytes:
        """Return a complete value (a header, an error body) without what must not pass."""
        return redact_value(value, self._text, counts)


def build_redaction(
    known: KnownMatcher | None,
    patterns: Sequence[str],
    problems: Problems,
) -> Redaction:
    """Build what `redaction` of a policy asks for; unknown names are problems, each with its place."""
    for at, name in enumerate(patterns):
        if name not in PATTERN_NAMES:
            problems.at(f"[{at}]").add(f'"{name}" is not a known pattern', f"one of {', '.join(sorted(PATTERN_NAMES))}")
    return Redaction(known, *_scanner(frozenset(patterns)))


def _scanner(names: frozenset[str]) -> tuple[Scanner | None, Prefilter]:
    shapes = ShapeScanner(names & SHAPES) if names & SHAPES else None
    generic = AssignmentScanner() if GENERIC in names else None
    suspects = joined(one.suspects for one in (shapes, generic) if one is not None)
    if shapes is not None and generic is not None:
        return Both(shapes, generic), suspects
    return shapes if shapes is not None else generic, suspects


def _both(known: Scanner | None, shapes: Scanner | None) -> Scanner:
    if known is not None and shapes is not None:
        return Both(known, shapes)
    found = known if known is not None else shapes
    assert found is not None
    return found


def text_filter(kind: bytes, scanner: Scanner, question: Question | None) -> RedactionFilter:
    """Return the filter of a body of text, by its media type; `question` says which texts must be scanned."""
    if kind == EVENT_STREAM:
        return EventStreamFilter(scanner, question=question)
    if kind in _DOCUMENTS:
        return StreamFilter(scanner)
    body = Body.RECORDS if kind in RECORDS else Body.JSON if kind.endswith(b"json") else Body.TEXT
    return RecordLinesFilter(scanner, body, question=question)


def media_type(content_type: bytes) -> bytes:
    """Return `type/subtype` of a Content-Type, in lower case."""
    return content_type.partition(b";")[0].strip().lower()


def is_text(kind: bytes) -> bool:
    """Return whether people or programs read it as text: patterns over pictures find only accidents."""
    return kind.startswith(b"text/") or kind in _TEXT_TYPES or kind in RECORDS or kind.endswith((b"+json", b"+xml"))


def redact_value(value: bytes, scanner: Scanner | None, counts: dict[str, int] | None = None) -> bytes:
    """Return a complete value without what must not pass; the very object when there is nothing.

    The mark holds no byte that a header value may not hold, so a clean value stays a valid one.
    """
    return value if scanner is None or not value else clean(value, scanner, counts)
