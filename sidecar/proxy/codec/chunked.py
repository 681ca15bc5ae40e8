"""Chunked bodies, decoded by aiohttp's parser in its strict mode, for requests and responses alike."""

from __future__ import annotations

from typing import Final

from sidecar.proxy.body_framing import Body
from sidecar.proxy.codec.parser import PARSER_ERRORS, body_parser, has_ended, take_payload
from sidecar.proxy.strict_rules import END_OF_HEAD, Malformed
from sidecar.vocabulary import Code

_HEAD: Final = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
_MOST_SILENT: Final = 4096
"""Bytes without any data among them: extensions of chunks, and trailers, which are both dropped."""
_BEGINNINGS: Final = (b"", b"\r", b"\r\n", b"\r\n\r")
"""What the last bytes may be of END_OF_HEAD, by their number."""


class ChunkedBody(Body):
    """A chunked body (RFC 9112 §7.1). Extensions and trailers are checked and dropped; both are bounded.

    Each body has a parser of its own: one that was used again would put the trailers of this message
    among the fields of the next. The request parser also reads responses, because the response parser
    takes a line feed for a line's end.
    """

    __slots__ = ("_begun", "_code", "_parser", "_payload", "_silent")

    def __init__(self, code: Code = Code.REQUEST_MALFORMED) -> None:
        super().__init__()
        self._begun = 0  # bytes of END_OF_HEAD that came last: the end of the body may be in two reads
        self._silent = 0
        self._code = code
        self._parser, self._payload = body_parser(_HEAD, most_trailers=128, longest=8190)

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
        try:
            self._parser.feed_data(data)
        except PARSER_ERRORS:
            raise Malformed(self._code, "chunk") from None
        self.done = has_ended(self._payload)
        piece = take_payload(self._payload)
        if piece:
            self._silent = 0
        else:
            self._silent += len(data)
            if self._silent > _MOST_SILENT:
                raise Malformed(self._code, "chunk extension or trailers too long")
        return piece


def _begun(data: bytes) -> int:
    """Return how many bytes of END_OF_HEAD, but not all, the last bytes are."""
    size = len(data)
    if not size:
        return 0
    if data[size - 1] == 0x0D:
        return 3 if data[-3:] == _BEGINNINGS[3] else 1
    return 2 if size > 1 and data[size - 1] == 0x0A and data[size - 2] == 0x0D else 0
