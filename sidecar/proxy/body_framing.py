"""How bodies end, and how they are framed anew. Chunked ones are read by `codec.chunked`."""

from __future__ import annotations

from typing import Final


class Body:
    """How a body ends. `take` returns what of it is in the buffer, and what of the buffer is left."""

    __slots__ = ("done",)

    def __init__(self, *, done: bool = False) -> None:
        self.done = done

    def take(self, buffer: bytes) -> tuple[bytes, bytes]:
        """Return the body's bytes in `buffer`, and the bytes behind its end; sets `done` at the end."""
        raise NotImplementedError


class LengthBody(Body):
    """A body of a known length."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        super().__init__(done=length == 0)
        self.left = length

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


class CloseBody(Body):
    """A body that ends with its connection; who reads it sets `done`."""

    __slots__ = ()

    def take(self, buffer: bytes) -> tuple[bytes, bytes]:
        """Return all of the buffer: every byte belongs to the body."""
        return buffer, b""


_SIZES: Final = [b"%x\r\n" % size for size in range(1024)]
"""The first line of a chunk, by its size, for those of most events."""


def chunk(data: bytes) -> bytes:
    """Frame one piece; empty data is nothing, because an empty chunk would end the body."""
    size = len(data)
    if 0 < size < len(_SIZES):
        return b"".join((_SIZES[size], data, b"\r\n"))
    return b"%x\r\n%b\r\n" % (size, data) if data else b""


LAST_CHUNK: Final = b"0\r\n\r\n"
