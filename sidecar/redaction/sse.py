"""Server-sent events: framing kept byte for byte, texts scanned as the reader will join them.

Grammar: WHATWG HTML §9.2.6. Lines end with CR LF, LF or CR; a blank line ends an event.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any, Final

import orjson

from sidecar.redaction.delta_stream import Changes, DeltaStream, Event
from sidecar.redaction.deltas import Delta, Deltas, put
from sidecar.redaction.prefilter import Question
from sidecar.redaction.scanner import Scanner, StreamFilter, clean

MAX_EVENT: Final = 256 * 1024
"""A longer event is cleaned as plain bytes while it passes; its texts are not joined with others."""

_BREAK: Final = re.compile(rb"\r\n|\n|\r")
_BLANK: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_COMMENTS: Final = re.compile(rb"(?::[^\r\n]*(?:\r\n|\n|\r)|\r\n|\n|\r)+")
_BOM: Final = b"\xef\xbb\xbf"
_DONE: Final = b"[DONE]"  # the end marker of OpenAI's streams
_PLAIN: Final = ("plain",)
_SMALL: Final = 4096  # a chunk of whole events that is looked at as one


class EventStreamFilter:
    """Clean one event stream. An event is held until its blank line, which a reader waits for too.

    `loud` says of whole events that their texts must be read; without it all are.
    """

    __slots__ = ("_deltas", "_joined", "_long", "_loud", "_pending", "_scanned", "_scanner", "counts")

    def __init__(
        self,
        scanner: Scanner,
        deltas: Deltas,
        counts: dict[str, int] | None = None,
        *,
        loud: Question | None = None,
    ) -> None:
        self._loud = loud
        self._scanner = scanner
        self._deltas = deltas
        self.counts: dict[str, int] = {} if counts is None else counts
        self._joined = DeltaStream(scanner, self.counts, partial(_texts, deltas))
        self._pending = b""
        self._scanned = 0  # how much of what is pending holds no blank line
        self._long: StreamFilter | None = None

    def feed(self, chunk: bytes) -> bytes:
        if not self._pending and self._long is None and chunk[-2:] == b"\n\n" and self._skips(chunk):
            return chunk
        out: list[bytes] = []
        text = self._pending + chunk if self._pending else chunk
        at = 0
        while (found := _BLANK.search(text, max(at, self._scanned))) is not None:
            self._event(text[at : found.end()], out)
            at = found.end()
            self._scanned = 0
        self._rest(text[at:], out)
        return b"".join(out)

    def finish(self) -> bytes:
        out: list[bytes] = []
        if self._pending or self._long is not None:
            self._event(self._pending, out)
        self._pending = b""
        out += self._joined.finish()
        return b"".join(out)

    def _rest(self, text: bytes, out: list[bytes]) -> None:
        """Keep an unfinished event; comments between events keep connections alive and do not wait."""
        if self._long is not None:
            # The last bytes stay: they may be the first half of the blank line.
            out.append(self._long.feed(text[:-3]))
            text = text[-3:]
        elif (comments := _COMMENTS.match(text)) is not None:
            self._plain(clean(comments.group(), self._scanner, self.counts), out)
            text = text[comments.end() :]
        elif len(text) > MAX_EVENT:
            out += self._joined.finish()
            self._long = StreamFilter(self._scanner, self.counts)
            out.append(self._long.feed(text[:-3]))
            text = text[-3:]
        self._pending = text
        self._scanned = max(0, len(text) - 3)

    def _skips(self, raw: bytes) -> bool:
        """Say whether whole events may leave unread, as most do; if so, they are taken."""
        if self._loud is None or len(raw) > _SMALL or not self._joined.idle or self._loud(raw):
            return False
        self._joined.skip(raw)
        return True

    def _event(self, raw: bytes, out: list[bytes]) -> None:
        if self._long is not None:
            out += (self._long.feed(raw), self._long.finish())
            self._long = None
            return
        if self._skips(raw):
            out.append(raw)
            return
        raw = clean(raw, self._scanner, self.counts)
        data = _data(raw)
        if data is None:
            self._plain(raw, out)
            return
        if data == _DONE:
            out += (*self._joined.finish(), raw)
            return
        event, deltas = _read(self._deltas, data)
        if self._joined.passes(deltas):
            out.append(raw)
            return
        out += self._joined.push(Event(raw, _rebuilt if event is not None else _retold), deltas)

    def _plain(self, raw: bytes, out: list[bytes]) -> None:
        out += self._joined.push(Event(raw, _rebuilt), ())


# No method: what the joined deltas hold must not hold the filter, or every stream ended as a cycle.
def _texts(deltas: Deltas, events: bytes) -> list[Delta]:
    """Return the texts of events that passed unread."""
    found: list[Delta] = []
    for raw in _BLANK.split(events):
        data = _data(raw + b"\n\n")
        found += _read(deltas, data)[1] if data is not None else ()
    return found


def _read(deltas: Deltas, data: bytes) -> tuple[Any, list[Delta]]:
    """Return the parsed event and its deltas; what is not JSON is a piece of plain text itself."""
    if data[:1] in b'{["':
        event = _parsed(data)
        if event is not None:
            return event, deltas.find(event)
    try:
        return None, [Delta(_PLAIN, (), data.decode())] if data else []
    except UnicodeDecodeError:
        return None, []


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data)  # halves of surrogate pairs, NaN: some servers send them
    except (ValueError, RecursionError):
        return None


def _data(raw: bytes) -> bytes | None:
    """Return what a reader gets as the event's data, or None when there is none."""
    if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:
        return raw[6:-2]  # as nearly all events are written
    lines = [line for line in _BREAK.split(raw.removeprefix(_BOM)) if line.startswith(b"data")]
    values = [line[5:].removeprefix(b" ") for line in lines if line[4:5] == b":"]
    return b"\n".join(values) if values else None


def _rebuilt(raw: bytes, changed: Changes) -> bytes:
    """Return the event with other texts in its JSON: every line that is not data stays as it was."""
    # Parsed again by the parser that keeps long integers: the quick one makes floats of them.
    event: Any = json.loads(_data(raw) or b"null")
    for path, text in changed.items():
        event = put(event, path, text)
    return _with_data(
        raw, json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    )


def _retold(raw: bytes, changed: Changes) -> bytes:
    """Return the event with another plain text as its data."""
    return _with_data(raw, changed[()].encode("utf-8", "surrogatepass"))


def _with_data(raw: bytes, data: bytes) -> bytes:
    mark = _BOM if raw.startswith(_BOM) else b""
    out: list[bytes] = [mark]
    written = False
    for line, ending in _lines(raw.removeprefix(_BOM)):
        if not line.startswith(b"data:"):
            out += (line, ending)
        elif not written:
            written = True
            space = b" " if line[5:6] == b" " else b""
            out += [b"data:" + space + part + (ending or b"\n") for part in _BREAK.split(data)]
    return b"".join(out)


def _lines(raw: bytes) -> list[tuple[bytes, bytes]]:
    parts = re.split(rb"(\r\n|\n|\r)", raw)
    return [(line, parts[at + 1] if at + 1 < len(parts) else b"") for at, line in enumerate(parts) if at % 2 == 0]
