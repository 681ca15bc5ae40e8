"""Bodies of HTTP/1.1 without I/O: how they end, and how they are framed anew."""

from __future__ import annotations

import re
from typing import Final, Protocol

from sidecar.proxy.codec.http1 import BARE_LF, CHUNKED, END_OF_HEAD, TOKEN, UNTIL_CLOSE, Malformed
from sidecar.vocabulary import Code

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})((?:;" + TOKEN + rb"(?:=" + TOKEN + rb")?)*)")
_FIELD_LINES = re.compile(rb"(?:" + TOKEN + rb":[\t \x21-\x7e\x80-\xff]*\r\n)*")
_MAX_CHUNK_LINE: Final = 256
_MAX_TRAILERS: Final = 8192


class Body(Protocol):
    """How a body ends. `take` returns what of it stands in the buffer, and what of the buffer is left."""

    done: bool

    def take(self, buffer: bytes) -> tuple[bytes, bytes]: ...


class LengthBody:
    """A body of a known length."""

    __slots__ = ("done", "left")

    def __init__(self, length: int) -> None:
        self.left = length
        self.done = length == 0

    def take(self, buffer: bytes) -> tuple[bytes, bytes]:
        left = self.left
        size = len(buffer)
        if size <= left:
            self.left = left - size
            self.done = size == left
            return buffer, b""
        self.left = 0
        self.done = True
        return buffer[:left], buffer[left:]


class CloseBody:
    """A body that ends with its connection; who reads it sets `done`."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def take(self, buffer: bytes) -> tuple[bytes, bytes]:
        return buffer, b""


class ChunkedBody:
    """A chunked body (RFC 9112 §7.1). Extensions are dropped, so are trailers; both are bounded."""

    __slots__ = ("_code", "_left", "_state", "done")

    def __init__(self, code: Code = Code.REQUEST_MALFORMED) -> None:
        self.done = False
        self._code = code
        self._left = 0
        self._state = "size"

    def take(self, buffer: bytes) -> tuple[bytes, bytes]:
        pieces: list[bytes] = []
        position = 0
        size = len(buffer)
        while position < size and not self.done:
            if self._state == "data":
                piece = buffer[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._state = "end"
            elif self._state == "end":
                if size - position < 2 and buffer[position] == 13:
                    break
                if buffer[position : position + 2] != b"\r\n":
                    raise Malformed(self._code, "chunk end")
                position += 2
                self._state = "size"
            elif self._state == "size":
                end = self._line(buffer, position, _MAX_CHUNK_LINE)
                if end < 0:
                    break
                match = _CHUNK_LINE.fullmatch(buffer, position, end)
                if match is None:
                    raise Malformed(self._code, "chunk size")
                self._left = int(match[1], 16)
                position = end + 2
                self._state = "data" if self._left else "trailers"
            else:
                position = self._trailers(buffer, position)
                if not self.done:
                    break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), buffer[position:]

    def _line(self, buffer: bytes, start: int, bound: int) -> int:
        end = buffer.find(b"\r\n", start, start + bound)
        if end < 0 and (len(buffer) - start >= bound or buffer.find(b"\n", start, start + bound) >= 0):
            raise Malformed(self._code, "chunk line")
        return end

    def _trailers(self, buffer: bytes, start: int) -> int:
        """Consume the trailer section once all of it is there; return the new position."""
        if buffer.startswith(b"\r\n", start):
            self.done = True
            return start + 2
        end = buffer.find(END_OF_HEAD, start, start + _MAX_TRAILERS)
        if end < 0:
            if len(buffer) - start >= _MAX_TRAILERS or BARE_LF.search(buffer, start):
                raise Malformed(self._code, "trailers")
            return start
        if _FIELD_LINES.fullmatch(buffer, start, end + 2) is None:
            raise Malformed(self._code, "trailers")
        self.done = True
        return end + 4


def body_of(framing: int, code: Code = Code.REQUEST_MALFORMED) -> Body:
    """Return the reader for a framing; `code` is what odd chunk syntax is called."""
    if framing == CHUNKED:
        return ChunkedBody(code)
    return CloseBody() if framing == UNTIL_CLOSE else LengthBody(framing)


def chunk(data: bytes) -> bytes:
    """Frame one piece; empty data is nothing, because an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


LAST_CHUNK: Final = b"0\r\n\r\n"
