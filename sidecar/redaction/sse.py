"""Server-sent events: framing kept byte for byte, texts scanned as the reader will join them.

Grammar: WHATWG HTML §9.2.6. Lines end with CR LF, LF or CR; a blank line ends an event.
"""

from __future__ import annotations

import re
from typing import Final

from sidecar.redaction.joined_texts import JoinedTexts
from sidecar.redaction.prefilter import Question
from sidecar.redaction.records import event_data, read_event
from sidecar.redaction.scanner import Scanner, StreamFilter, clean
from sidecar.redaction.waiting_texts import leave

MAX_EVENT: Final = 256 * 1024
"""A longer event is cleaned as plain bytes while it passes; its texts are not joined with others."""

_BLANK: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_COMMENTS: Final = re.compile(rb"(?::[^\r\n]*(?:\r\n|\n|\r)|\r\n|\n|\r)+")
_DONE: Final = b"[DONE]"
"""The end marker of OpenAI's streams; no event that is like earlier ones, because it begins as JSON does."""
_SMALL: Final = 4096  # an event that may leave unread


class EventStreamFilter:
    """Clean one event stream. An event is held until its blank line, which a reader waits for too.

    `question` decides which joined texts must be read; without it all are.
    """

    __slots__ = ("_joined", "_long", "_pending", "_scanned", "_scanner", "counts")

    def __init__(
        self, scanner: Scanner, counts: dict[str, int] | None = None, *, question: Question | None = None
    ) -> None:
        self._scanner = scanner
        self.counts: dict[str, int] = {} if counts is None else counts
        self._joined = JoinedTexts(scanner, self.counts, question)
        self._pending = b""
        self._scanned = 0  # how much of what is pending holds no blank line
        self._long: StreamFilter | None = None

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; return the events that are complete, secrets replaced."""
        if not self._pending and self._long is None and chunk[-2:] == b"\n\n":
            taken = self._joined.take(chunk)
            if taken is not None:
                return taken
        out: list[bytes] = []
        text = self._pending + chunk if self._pending else chunk
        at = 0
        plain = text.find(b"\r", self._scanned) < 0
        while (end := _end_of_event(text, max(at, self._scanned), plain)) >= 0:
            self._event(text[at:end], out)
            at = end
            self._scanned = 0
        self._rest(text[at:], out)
        return b"".join(out)

    def finish(self) -> bytes:
        """Take the end of the stream; return what was held, secrets replaced."""
        out: list[bytes] = []
        if self._pending or self._long is not None:
            self._event(self._pending, out)
        self._pending = b""
        out += leave(self._joined.finish())
        return b"".join(out)

    def _rest(self, text: bytes, out: list[bytes]) -> None:
        """Keep an unfinished event; comments between events keep connections alive and do not wait."""
        if self._long is not None:
            # The last bytes stay: they may be the first half of the blank line.
            out.append(self._long.feed(text[:-3]))
            text = text[-3:]
        elif (comments := _COMMENTS.match(text)) is not None:
            self._read(comments.group(), out)
            text = text[comments.end() :]
        elif len(text) > MAX_EVENT:
            out += leave(self._joined.finish())
            self._long = StreamFilter(self._scanner, self.counts)
            out.append(self._long.feed(text[:-3]))
            text = text[-3:]
        self._pending = text
        self._scanned = max(0, len(text) - 3)

    def _event(self, raw: bytes, out: list[bytes]) -> None:
        if self._long is not None:
            out += (self._long.feed(raw), self._long.finish())
            self._long = None
        elif len(raw) <= _SMALL and (taken := self._joined.take(raw)) is not None:
            out.append(taken)
        elif raw.find(_DONE) >= 0 and event_data(raw) == _DONE:
            out += (*leave(self._joined.finish()), clean(raw, self._scanner, self.counts))
        else:
            self._read(raw, out)

    def _read(self, raw: bytes, out: list[bytes]) -> None:
        out += leave(self._joined.read(raw, read_event))


def _end_of_event(text: bytes, start: int, plain: bool) -> int:
    """Return where the first blank line ends that begins at or after `start`; -1: there is none.

    plain  lines end with LF alone there, as nearly all do
    """
    if plain:
        at = text.find(b"\n\n", start)
        return at if at < 0 else at + 2
    blank = _BLANK.search(text, start)
    return -1 if blank is None else blank.end()
