"""Content codings of responses, opened in bounded steps (RFC 9110 §8.4.1, RFC 7932, RFC 8878); and which are asked for.

A few bytes of brotli or zstd can stand for gigabytes, so a decoder is read like a file: input is pushed,
output is taken piece by piece, at the reader's pace.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol

import brotli

from sidecar.proxy.strict_rules import Malformed
from sidecar.vocabulary import Code

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

_MOST_CODINGS: Final = 3
_MOST_MEMBERS: Final = 10_000
"""Parts that one body may consist of: an empty one costs 20 bytes and a new decoder."""
_ZSTD_WINDOW: Final = 23  # RFC 9659 §3: a window of at most 8 MiB on the web
_GZIP_MAGIC: Final = b"\x1f\x8b"


class Decoder(Protocol):
    """Opens one body. `push` is called when `read` has returned b"", and not after the end."""

    def push(self, data: bytes) -> None:
        """Take more coded bytes."""
        ...

    def read(self, most: int) -> bytes:
        """Return up to about `most` opened bytes; b"" when more input is needed. Raises Malformed."""
        ...

    def finish(self) -> None:
        """Raise Malformed unless the body has come to its end."""
        ...


def decoder(content_encoding: bytes | None) -> Decoder | None:
    """Return what opens a response with this Content-Encoding, None for one that is plain.

    Raises Unreadable for a coding that is not known here.
    """
    if content_encoding is None:
        return None
    names = [name for each in content_encoding.lower().split(b",") if (name := each.strip(b" \t")) != b"identity"]
    names = [name for name in names if name]
    if not names:
        return None
    if len(names) > _MOST_CODINGS or not READABLE.issuperset(names):
        raise Unreadable
    opened = [_DECODERS[name]() for name in reversed(names)]
    return opened[0] if len(opened) == 1 else _Chain(opened)


def open_whole(content_encoding: bytes, body: bytes, most: int) -> bytes | None:
    """Return a complete body opened, or None when it is longer than `most` bytes. Raises Malformed, Unreadable."""
    made = decoder(content_encoding)
    if made is None:
        return body
    made.push(body)
    pieces: list[bytes] = []
    left = most
    while piece := made.read(left + 1):
        pieces.append(piece)
        left -= len(piece)
        if left < 0:
            return None
    made.finish()
    return b"".join(pieces)


class Unreadable(Exception):
    """A content coding that cannot be opened."""


def _broken(reason: str = "compressed answer") -> Malformed:
    return Malformed(Code.BACKEND_BROKEN, reason)


class Inflater:
    """gzip of one or more members (RFC 1952 §2.2), and deflate: in its zlib wrapper, or raw as some servers send it."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._input = b""
        self._zlib: Any = None
        self._began = False
        self._members = 0

    def push(self, data: bytes) -> None:
        """Take more coded bytes."""
        self._input += data
        self._began = self._began or data != b""

    def read(self, most: int) -> bytes:
        """Return up to `most` opened bytes; b"" when more input is needed. Raises Malformed."""
        while True:
            inflate = self._zlib or self._member()
            if inflate is None:
                return b""
            try:
                piece: bytes = inflate.decompress(self._input, most)
            except zlib.error:
                raise _broken() from None
            self._input = inflate.unconsumed_tail
            if inflate.eof:
                self._input = inflate.unused_data
                self._zlib = None
            if piece or not inflate.eof:
                return piece

    def finish(self) -> None:
        """Raise Malformed when the last member is cut, or followed by anything but zeros."""
        if self._zlib is not None or (self._input and not self._padding()):
            raise _broken("compressed answer ends too early or too late")

    def _member(self) -> Any:
        """Begin with the next member; None when it has not come, or cannot be told yet from what has come."""
        waiting = self._input
        if len(waiting) < 2 or (self._members and self._gzip and self._padding()):
            return None
        if self._gzip and not waiting.startswith(_GZIP_MAGIC):
            raise _broken("not gzip")
        if self._members and not self._gzip:
            raise _broken("compressed answer ends too late")
        self._members += 1
        if self._members > _MOST_MEMBERS:
            raise _broken("too many gzip members")
        wrapped = waiting[0] & 0x0F == 8 and int.from_bytes(waiting[:2], "big") % 31 == 0  # RFC 1950 §2.2
        bits = zlib.MAX_WBITS | 16 if self._gzip else zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS
        self._zlib = zlib.decompressobj(bits)
        return self._zlib

    def _padding(self) -> bool:
        # gzip pads with zeros to the size of a block; they stand for nothing.
        return self._members > 0 and not self._input.strip(b"\0")


class _Brotli:
    def __init__(self) -> None:
        self._brotli: Any = brotli.Decompressor()
        self._input = b""
        self._began = False
        self._gave = False

    def push(self, data: bytes) -> None:
        self._input += data

    def read(self, most: int) -> bytes:
        opened = self._brotli
        while True:
            data = b""
            # What it took may still have an end to tell of, after the last byte that it gave.
            if not self._gave and opened.can_accept_more_data():
                if not self._input:
                    return b""
                if opened.is_finished():
                    raise _broken("compressed answer ends too late")
                data, self._input = self._input, b""
                self._began = True
            try:
                piece: bytes = opened.process(data, output_buffer_limit=most)
            except brotli.error:
                raise _broken() from None
            self._gave = piece != b""
            if piece:
                return piece

    def finish(self) -> None:
        if self._input or (self._began and not self._brotli.is_finished()):
            raise _broken("compressed answer ends too early or too late")


class _Zstandard:
    """Frames, one after another (RFC 8878 §3.1)."""

    def __init__(self) -> None:
        self._zstd: Any = None
        self._input = b""
        self._frames = 0

    def push(self, data: bytes) -> None:
        self._input += data

    def read(self, most: int) -> bytes:
        while self._input or (self._zstd is not None and not self._zstd.needs_input):
            opened = self._zstd or self._frame()
            data, self._input = self._input, b""
            try:
                piece: bytes = opened.decompress(data, max_length=most)
            except zstd.ZstdError:
                raise _broken() from None
            if opened.eof:
                self._input = opened.unused_data
                self._zstd = None
            if piece:
                return piece
        return b""

    def finish(self) -> None:
        if self._zstd is not None or self._input:
            raise _broken("compressed answer ends too early or too late")

    def _frame(self) -> Any:
        self._frames += 1
        if self._frames > _MOST_MEMBERS:
            raise _broken("too many zstd frames")
        self._zstd = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW})
        return self._zstd


class _Chain:
    """Several codings: the last one that was applied is opened first."""

    def __init__(self, decoders: list[Decoder]) -> None:
        self._decoders = decoders

    def push(self, data: bytes) -> None:
        self._decoders[0].push(data)

    def read(self, most: int) -> bytes:
        return self._read(len(self._decoders) - 1, most)

    def _read(self, at: int, most: int) -> bytes:
        while not (piece := self._decoders[at].read(most)) and at > 0:
            inner = self._read(at - 1, most)
            if not inner:
                return b""
            self._decoders[at].push(inner)
        return piece

    def finish(self) -> None:
        for each in self._decoders:
            each.finish()


_DECODERS: Final[dict[bytes, Callable[[], Decoder]]] = {
    b"gzip": lambda: Inflater(gzip=True),
    b"x-gzip": lambda: Inflater(gzip=True),
    b"deflate": lambda: Inflater(gzip=False),
    b"br": _Brotli,
    b"zstd": _Zstandard,
}
READABLE: Final = frozenset(_DECODERS)
"""The content codings that can be opened."""


def accepted_codings(accept_encoding: bytes | None) -> bytes:
    """Narrow a client's Accept-Encoding to codings that can be opened (RFC 9110 §12.5.3); else `identity`."""
    if accept_encoding is None:
        return b"identity"
    return _known(accept_encoding) if len(accept_encoding) <= 128 else _narrowed(accept_encoding)


@lru_cache(maxsize=256)  # what browsers send are a few values
def _known(accept_encoding: bytes) -> bytes:
    return _narrowed(accept_encoding)


def accepts(accept_encoding: bytes | None, coding: bytes) -> bool:
    """Return whether a client names a content coding in Accept-Encoding."""
    return coding.lower() in [
        item.strip(b" \t").lower() for item in accepted_codings(accept_encoding).split(b",") if b";" not in item
    ]


def _narrowed(accept_encoding: bytes) -> bytes:
    kept = [
        item.strip(b" \t")
        for item in accept_encoding.split(b",")
        if item.partition(b";")[0].strip(b" \t").lower() in READABLE
    ]
    return b", ".join(kept) if kept and len(accept_encoding) <= 1024 else b"identity"
