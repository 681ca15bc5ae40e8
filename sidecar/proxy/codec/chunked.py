"""Chunked bodies, decoded by the parser llhttp in its strict mode: aiohttp's of requests, httptools' of responses.

Both refuse the same bytes. What a model streams comes in small chunks, for which httptools needs a quarter of the
time: it fills no payload that could be awaited.
"""

from __future__ import annotations

from typing import Final

from httptools import HttpParserError, HttpRequestParser

from sidecar.proxy.body_framing import Body
from sidecar.proxy.codec.parser import PARSER_ERRORS, body_parser, has_ended, take_payload
from sidecar.proxy.strict_rules import END_OF_HEAD, Malformed
from sidecar.vocabulary import Code

_HEAD: Final = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
_MOST_SILENT: Final = 4096
"""Bytes without any data among them: extensions of chunks, and trailers, which are both dropped."""
_BEGINNINGS: Final = (b"", b"\r", b"\r\n", b"\r\n\r")
"""What the last bytes may be of END_OF_HEAD, by their number."""


class Chunked(Body):
    """A chunked body (RFC 9112 §7.1). Extensions and trailers are checked and dropped; both are bounded.

    Each body has a parser of its own: one that was used again would put the trailers of this message
    among the fields of the next. A parser of requests also reads responses, because that of responses
    takes a line feed for a line's end.
    """

    __slots__ = ("_begun", "_code", "_silent")

    def __init__(self, code: Code) -> None:
        super().__init__()
        self._begun = 0  # bytes of END_OF_HEAD that came last: the end of the body may be in two reads
        self._silent = 0
        self._code = code

    def _read(self, data: bytes) -> bytes:
        """Return the data in some bytes of the body; raise Malformed, set `done`."""
        raise NotImplementedError

    def take(self, buffer: bytes) -> tuple[bytes, bytes]:
        """Return the data in a buffer, and what is behind the body's end."""
        if self.done:
            return b"", buffer
        begun = self._begun
        found = buffer.find(END_OF_HEAD)
        if (found < 0 or found + 4 == len(buffer)) and not (begun and buffer[: 4 - begun] == END_OF_HEAD[begun:]):
            # No end of the body has anything behind it here.
            self._begun = _begun(buffer if len(buffer) > 2 else _BEGINNINGS[begun] + buffer)
            return self._feed(buffer), b""
        return self._take_in_steps(buffer)

    def _take_in_steps(self, buffer: bytes) -> tuple[bytes, bytes]:
        """Feed up to each place where the body may end: the parser would read on into the next message."""
        whole = _BEGINNINGS[self._begun] + buffer
        before = self._begun
        pieces, at, found = [], 0, whole.find(END_OF_HEAD)
        while found >= 0 and not self.done:
            end = found + 4 - before
            if end > at:
                pieces.append(self._feed(buffer[at:end]))
                at = end
            found = whole.find(END_OF_HEAD, found + 1)
        if not self.done and at < len(buffer):
            pieces.append(self._feed(buffer[at:]))
            at = len(buffer)
        self._begun = _begun(whole)
        return b"".join(pieces), buffer[at:]

    def _feed(self, data: bytes) -> bytes:
        piece = self._read(data)
        if piece:
            self._silent = 0
        else:
            self._silent += len(data)
            if self._silent > _MOST_SILENT:
                raise Malformed(self._code, "chunk extension or trailers too long")
        return piece


class ChunkedRequest(Chunked):
    """The body of a request."""

    __slots__ = ("_parser", "_payload")

    def __init__(self) -> None:
        super().__init__(Code.REQUEST_MALFORMED)
        self._parser, self._payload = body_parser(_HEAD, most_trailers=128, longest=8190)

    def _read(self, data: bytes) -> bytes:
        try:
            self._parser.feed_data(data)
        except PARSER_ERRORS:
            raise Malformed(self._code, "chunk") from None
        self.done = has_ended(self._payload)
        return take_payload(self._payload)


class ChunkedResponse(Chunked):
    """The body of a response."""

    __slots__ = ("_parsed", "_parser")

    def __init__(self) -> None:
        super().__init__(Code.BACKEND_BROKEN)
        self._parsed = _Parsed()
        self._parser = HttpRequestParser(self._parsed)
        self._parser.feed_data(_HEAD)

    def _read(self, data: bytes) -> bytes:
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            raise Malformed(self._code, "chunk") from None
        parsed = self._parsed
        self.done = parsed.done
        piece, parsed.piece = parsed.piece, b""
        if parsed.more is not None:
            piece, parsed.more = b"".join((piece, *parsed.more)), None
        return piece


class _Parsed:
    """What a parser of httptools tells: these are names of its protocol."""

    __slots__ = ("done", "more", "piece")

    def __init__(self) -> None:
        self.piece = b""
        self.more: list[bytes] | None = None  # the data of further chunks in one read
        self.done = False

    def on_body(self, data: bytes) -> None:
        if not self.piece:
            self.piece = data
        elif self.more is None:
            self.more = [data]
        else:
            self.more.append(data)

    def on_message_complete(self) -> None:
        self.done = True


def _begun(data: bytes) -> int:
    """Return how many bytes of END_OF_HEAD, but not all, the last bytes are."""
    size = len(data)
    if not size:
        return 0
    if data[size - 1] == 0x0D:
        return 3 if data[-3:] == _BEGINNINGS[3] else 1
    return 2 if size > 1 and data[size - 1] == 0x0A and data[size - 2] == 0x0D else 0
