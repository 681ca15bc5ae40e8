"""How bodies end, and how they are framed anew. Chunked ones are read by `codec.chunked`."""

from __future__ import annotations

from typing import Final, Protocol


class Body(Protocol):
    """How a body ends. `take` returns what of it is in the buffer, and what of the buffer is left."""

    done: bool

    def take(self, buffer: bytes) -> tuple[bytes, bytes]:
        """Return the body's bytes in `buffer`, and the bytes behind its end; sets `done` at the end."""
        ...


class LengthBody:
    """A body of a known length."""

    __slots__ = ("done", "left")

    def __init__(self, length: int) -> None:
        self.left = length
        self.done = length == 0

    def take(self, buffer: bytes) -> tuple[bytes, bytes]:
        """Return up to the bytes that are left of the length, and the rest of the buffer."""
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
        """Return all of the buffer: every byte belongs to the body."""
        return buffer, b""


def chunk(data: bytes) -> bytes:
    """Frame one piece; empty data is nothing, because an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


LAST_CHUNK: Final = b"0\r\n\r\n"
