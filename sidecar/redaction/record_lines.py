"""Streams of records without events: JSON lines, `0:"…"` lines, arrays that grow (RFC 7464, ndjson, AI SDK, Gemini).

Whether a body is one is seen at its beginning; any other body is cleaned as it comes, byte by byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import Final

from sidecar.redaction.joined_texts import JoinedTexts
from sidecar.redaction.prefilter import Question
from sidecar.redaction.records import Piece, clean_record, is_json, read_message, read_tokens
from sidecar.redaction.scanner import Scanner, StreamFilter
from sidecar.redaction.waiting_texts import leave

MAX_LINE: Final = 256 * 1024
"""A longer line of a declared stream of records is cleaned as plain bytes while it passes …"""
MAX_SEEN_LINE: Final = 4096
"""… and a line of this length where only its beginning looks like a record: it may be a document."""
_SMALL: Final = 4096
_READ: Final = 16 * 1024
"""Bytes of an array that are read for texts in pieces whatever the size of the chunks."""

_LINE: Final = re.compile(rb"[^\n\x1e]*[\n\x1e]")
_END: Final = re.compile(rb"[\n\x1e]")
# The same where values follow one another with nothing between: `{"a":1}{"a":2}`; strings are passed over.
_VALUE: Final = re.compile(
    rb'(?:[^"\n\x1e}]++|"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"|\}(?![ \t\r]*\{))*+(?:[\n\x1e]|\}(?=[ \t\r]*\{))'
)
_ADJOINED: Final = (b"}{", b"} {")
# An element of an array, or a line of one: strings are passed over.
_ELEMENT: Final = re.compile(rb'(?:[^"\n}]++|"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"|\}(?![ \t\r]*,))*+(?:\n|\}[ \t\r]*,)')
_BLANK: Final = re.compile(rb"[ \t\r\n\x1e]*")
_RECORD: Final = re.compile(
    rb'[ \t\x1e]*(?:(?:data|event|id|retry|):[ \n]|[\w-]{1,16}:[ ]?["\[{\dtfn]|\{[ \t]*["}]|\["?'
    rb"|\d{1,6}(?:/[\w/.-]{1,64},)?\d{0,6}[\[{])"  # a packet of engine.io
)
_MAYBE: Final = re.compile(
    rb"[ \t\x1e]*(?:[\w-]{1,16}(?::[ ]?)?|:|\{[ \t]*|\d{1,6}/[\w/.-]{0,64}|\d{1,6}/[\w/.-]{1,64},\d{0,6})?\Z"
)
_OPEN: Final = re.compile(rb"[{\[,:][ \t\r]*\n\Z")
_ARRAY: Final = re.compile(rb"\[[ \t\r\n]*(?:\{|\Z)")


class Body(Enum):
    """What a media type says of a body's framing."""

    RECORDS = "records"  # lines that are records
    JSON = "json"  # a document, or records that are called so
    TEXT = "text"  # anything


class _Mode(Enum):
    UNSEEN = 0
    BYTES = 1
    LINES = 2
    ELEMENTS = 3


class RecordLinesFilter:
    """Clean one body that may be a stream of records.

    A record is held until its line ends; a line that does not look like the beginning of a record passes
    as it comes.
    """

    __slots__ = ("_body", "_joined", "_mode", "_pending", "_plain", "_records", "_scanner", "_seen", "_sent", "counts")

    def __init__(
        self,
        scanner: Scanner,
        body: Body,
        counts: dict[str, int] | None = None,
        *,
        question: Question | None = None,
    ) -> None:
        self._scanner = scanner
        self._body = body
        self.counts: dict[str, int] = {} if counts is None else counts
        self._joined = JoinedTexts(scanner, self.counts, question)
        self._mode = _Mode.LINES if body is Body.RECORDS else _Mode.UNSEEN
        self._pending = b""
        self._sent = 0  # bytes of what is pending that have left already
        self._plain: StreamFilter | None = None  # of a line, or a body, that passes as it comes
        self._records = 0
        self._seen = 0  # bytes of an array that were read

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; return the records that are complete, secrets replaced."""
        if self._mode is _Mode.BYTES:
            assert self._plain is not None
            return self._plain.feed(chunk)
        out: list[bytes] = []
        if self._mode is _Mode.UNSEEN:
            chunk = self._see(chunk, out)
        if self._mode is _Mode.ELEMENTS:
            if len(chunk) > _SMALL and self._seen + len(chunk) > _READ:
                self._pass(self._pending + chunk, out)  # a document: streamed texts do not come in pieces so large
                self._pending = b""
                return b"".join(out)
            self._seen += len(chunk)
        if chunk:
            self._lines(self._pending + chunk if self._pending else chunk, out)
        return b"".join(out)

    def finish(self) -> bytes:
        """Take the end of the body; return what was held, secrets replaced."""
        out: list[bytes] = []
        pending, self._pending = self._pending, b""
        if self._plain is not None:
            if self._mode is not _Mode.UNSEEN:  # there, what is pending has been fed already
                self._emit((self._plain.feed(pending),), out)
            self._emit((self._plain.finish(),), out)
        elif pending and (self._records or (self._mode is _Mode.LINES and not self._scanner.framing)):
            self._record(pending, out)
        elif pending:
            self._emit((clean_record(pending, self._scanner, self.counts, self._read),), out)  # one record is no stream
        self._emit(leave(self._joined.finish()), out)
        return b"".join(out)

    def _see(self, chunk: bytes, out: list[bytes]) -> bytes:
        """Decide what the body is, and return what of it is still to be read."""
        text = self._pending + chunk
        begin = _BLANK.match(text)
        start = begin.end() if begin is not None else 0
        if self._body is Body.JSON and start == len(text):
            out.append(chunk)
            return b""
        if self._body is Body.JSON and text[start] in b'{["':
            is_array = _ARRAY.match(text, start) is not None
            self._mode = _Mode.ELEMENTS if is_array else _Mode.LINES if text[start] in b'{"' else _Mode.BYTES
        elif _RECORD.match(text, start):
            self._mode = _Mode.LINES
        elif not _MAYBE.match(text, start):
            self._mode = _Mode.BYTES
        if self._mode is _Mode.BYTES or self._mode is _Mode.UNSEEN:
            # What may become the prefix of a record leaves like any text.
            if self._plain is None:
                self._plain = StreamFilter(self._scanner, self.counts)
            out.append(self._plain.feed(chunk))
            self._pending = text if self._mode is _Mode.UNSEEN else b""
            return b""
        if self._plain is not None:
            if self.counts:
                self._mode = _Mode.BYTES  # a key in the first bytes: they are no prefix
                out.append(self._plain.feed(chunk))
                self._pending = b""
                return b""
            self._sent = len(self._pending) - self._plain.waiting
            self._plain = None
        return chunk

    def _lines(self, text: bytes, out: list[bytes]) -> None:
        at = 0
        if self._plain is not None:
            found = _END.search(text)
            end = found.end() if found is not None else len(text)
            self._emit((self._plain.feed(text[:end]),), out)
            if found is None:
                return
            self._emit((self._plain.finish(),), out)
            self._plain = None
            at = end
        cut = other = _ELEMENT if self._mode is _Mode.ELEMENTS else _LINE
        if cut is _LINE and len(text) <= _READ and any(mark in text for mark in _ADJOINED):
            cut = _VALUE
        while (found := cut.match(text, at) or other.match(text, at)) is not None:
            line = found.group()
            if not self._records and self._mode is _Mode.LINES and _OPEN.search(line) is not None:
                self._mode = _Mode.BYTES  # the first line of a document that is written over many
                self._pending = b""
                self._pass(text[at:], out)
                return
            self._record(line, out)
            at = found.end()
        rest = text[at:]
        self._pending = b""
        if rest.endswith(b"}") and cut is not _ELEMENT and len(rest) <= MAX_SEEN_LINE and is_json(rest):
            self._record(rest, out)  # no line has to end for it to be one
            return
        if not rest or (len(rest) <= self._longest() and self._waits(rest)):
            self._pending = rest
            return
        self._pass(rest, out)

    def _longest(self) -> int:
        return MAX_LINE if self._body is Body.RECORDS else MAX_SEEN_LINE

    def _waits(self, rest: bytes) -> bool:
        """Return whether an unfinished line may be a record."""
        if self._body is not Body.TEXT:
            return True
        return (_RECORD.match(rest) or _MAYBE.match(rest)) is not None

    def _pass(self, text: bytes, out: list[bytes]) -> None:
        """Pass a part of a line that is no record as it comes."""
        self._emit(leave(self._joined.decided()), out)
        if self._plain is None:
            self._plain = StreamFilter(self._scanner, self.counts)
        self._emit((self._plain.feed(text),), out)

    def _emit(self, parts: Iterable[bytes], out: list[bytes]) -> None:
        """Send what is clean, but not the bytes that left before it was known what they begin."""
        for part in parts:
            out.append(part[self._sent :] if self._sent else part)
            self._sent = max(0, self._sent - len(part))

    def _record(self, raw: bytes, out: list[bytes]) -> None:
        self._records += 1
        if not self._sent and len(raw) <= _SMALL:
            taken = self._joined.take(raw)
            if taken is not None:
                out.append(taken)
                return
        self._emit(leave(self._joined.read(raw, self._read)), out)

    def _read(self, raw: bytes) -> list[Piece]:
        return read_tokens(raw, ((0, len(raw)),), ()) if self._mode is _Mode.ELEMENTS else read_message(raw)
