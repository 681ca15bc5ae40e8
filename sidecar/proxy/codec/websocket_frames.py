"""WebSocket frames (RFC 6455), without I/O: read strictly, written plainly.

No extension is ever negotiated, so reserved bits are an error. Frames are relayed one by one; a
message is put together only where its text is inspected.
"""

from __future__ import annotations

import codecs
import os
import struct
from dataclasses import dataclass
from typing import Final

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
INVALID_TEXT: Final = 1007
POLICY_VIOLATION: Final = 1008
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011

_KNOWN: Final = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
HEAD: Final = 4096
"""Bytes that are kept of a message that is skipped."""

_UNSENDABLE: Final = frozenset({1004, 1005, 1006, 1015})
"""RFC 6455 §7.4.1: codes that are never in a frame."""


class FrameError(Exception):
    """The peer broke the protocol; `code` is the close code that says so."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True)
class Frame:
    """One frame, unmasked."""

    opcode: int
    data: bytes
    fin: bool = True
    skipped: int = 0
    """Payload bytes of a message that was too big to be kept: `data` has only its beginning."""


class FrameReader:
    """Turn bytes into frames; `masked` says whether the peer is a client (RFC 6455 §5.1).

    A message of more than `max_message` bytes is an error. Where `max_skipped` is more than that, one of up to
    `max_skipped` bytes is read without being kept, and its frames say so.
    """

    __slots__ = ("_decoder", "_head", "_kind", "_left", "_mask", "_masked", "_max", "_most", "_size", "_skip")

    def __init__(self, *, masked: bool, max_message: int, max_skipped: int = 0) -> None:
        self._masked = masked
        self._max = max_message
        self._most = max(max_message, max_skipped)
        self._skip: Frame | None = None  # the frame whose payload is being skipped
        self._left = 0  # bytes of it that are to come
        self._head = b""  # its first bytes, masked
        self._mask = b""
        self._kind = 0  # opcode of the message that is under way
        self._size = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def take(self, buffer: bytes, at: int = 0) -> tuple[Frame | None, int]:
        """Return the complete frame that begins at a position, or None, and the position behind it.

        A position, because a copy of what is left for each of ten thousand small frames would take seconds.
        """
        if self._skip is not None:
            return self._skipping(self._skip, buffer, at)
        size = len(buffer)
        if size < at + 2:
            return None, at
        first, second = buffer[at], buffer[at + 1]
        opcode, fin = first & 0x0F, first >= 0x80
        self._check_head(first, second, opcode, fin, second & 0x7F)
        length, start = _length(buffer, at + 1)
        if not start:
            return None, at
        if opcode < 8 and length + self._size > self._most:
            raise FrameError(TOO_BIG, "message too big")
        mask = b""
        if self._masked:
            mask, start = buffer[start : start + 4], start + 4
        if opcode < 8 and length + self._size > self._max:
            if size < start:
                return None, at
            self._skip, self._left, self._mask, self._head = Frame(opcode, b"", fin, length), length, mask, b""
            return self._skipping(self._skip, buffer, start)
        if size < start + length:
            return None, at
        data = buffer[start : start + length]
        if mask and data:
            data = masked(data, mask)
        self._follow(opcode, fin, data)
        return Frame(opcode, data, fin), start + length

    def _skipping(self, frame: Frame, buffer: bytes, at: int) -> tuple[Frame | None, int]:
        """Read on in a payload that is not kept; return its frame with its first bytes once it is over."""
        end = min(len(buffer), at + self._left)
        if len(self._head) < HEAD:
            self._head += buffer[at : min(end, at + HEAD - len(self._head))]
        self._left -= end - at
        if self._left:
            return None, end
        self._skip = None
        head = masked(self._head, self._mask) if self._mask else self._head
        self._kind = frame.opcode or self._kind
        self._size += frame.skipped
        self._decoder.reset()  # what is not kept is not looked at either
        if frame.fin:
            self._kind = self._size = 0
        return Frame(frame.opcode, head, frame.fin, frame.skipped), end

    def _check_head(self, first: int, second: int, opcode: int, fin: bool, length: int) -> None:
        if first & 0x70:
            raise FrameError(PROTOCOL_ERROR, "reserved bits")
        if opcode not in _KNOWN:
            raise FrameError(PROTOCOL_ERROR, "unknown opcode")
        if (second >= 0x80) is not self._masked:
            raise FrameError(PROTOCOL_ERROR, "masking")
        if opcode >= 8:
            if not fin or length > 125:
                raise FrameError(PROTOCOL_ERROR, "control frame")
        elif (opcode == CONTINUATION) is (self._kind == 0):
            raise FrameError(PROTOCOL_ERROR, "continuation")

    def _follow(self, opcode: int, fin: bool, data: bytes) -> None:
        """Keep account of the message that the frames make up."""
        if opcode >= 8:
            if opcode == CLOSE:
                close_code(data)
            return
        if opcode != CONTINUATION:
            self._kind = opcode
            self._size = 0
        self._size += len(data)
        if self._kind == TEXT:
            try:
                self._decoder.decode(data, fin)
            except UnicodeDecodeError:
                raise FrameError(INVALID_TEXT, "text that is not UTF-8") from None
        if fin:
            self._kind = self._size = 0


def _length(buffer: bytes, at: int) -> tuple[int, int]:
    """Return the length that is written at a position, and the position behind it: 0 while bytes are missing."""
    length = buffer[at] & 0x7F
    more = {126: 2, 127: 8}.get(length, 0)
    end = at + 1 + more
    if len(buffer) < end:
        return 0, 0
    return (_extended(buffer[at + 1 : end], 126 if more == 2 else 65536) if more else length), end


def _extended(digits: bytes, least: int) -> int:
    """Return a length that has bytes of its own; it must need them (RFC 6455 §5.2)."""
    length = int.from_bytes(digits, "big")
    if length < least:
        raise FrameError(PROTOCOL_ERROR, "length in too many bytes")
    return length


def close_code(data: bytes) -> int:
    """Return the code in a close frame's payload, 0 when it has none; refuse what §7.4 does not allow."""
    if not data:
        return 0
    if len(data) < 2:
        raise FrameError(PROTOCOL_ERROR, "close frame")
    code = int.from_bytes(data[:2], "big")
    if not (1000 <= code < 1016 or 3000 <= code < 5000) or code in _UNSENDABLE:
        raise FrameError(PROTOCOL_ERROR, "close code")
    try:
        data[2:].decode()
    except UnicodeDecodeError:
        raise FrameError(INVALID_TEXT, "close reason") from None
    return code


def masked(data: bytes, mask: bytes) -> bytes:
    """Apply a mask, or take it away: one exclusive-or over the whole payload as one number."""
    size = len(data)
    pad = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(pad, "little")).to_bytes(size, "little")


def encode(frame: Frame, *, mask: bool) -> bytes:
    """Return the bytes of a frame; clients mask (§5.3), servers do not."""
    first = frame.opcode | (0x80 if frame.fin else 0)
    size = len(frame.data)
    bit = 0x80 if mask else 0
    if size < 126:
        head = bytes((first, size | bit))
    elif size < 65536:
        head = struct.pack("!BBH", first, 126 | bit, size)
    else:
        head = struct.pack("!BBQ", first, 127 | bit, size)
    if not mask:
        return head + frame.data
    key = os.urandom(4)
    return head + key + (masked(frame.data, key) if size else b"")


def close_frame(code: int, reason: str = "") -> Frame:
    """Return a close frame; a reason has at most 123 bytes (§5.5)."""
    return Frame(CLOSE, struct.pack("!H", code) + reason.encode()[:123] if code else b"")
