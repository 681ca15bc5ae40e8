"""The backend's response on its way to the client: piece by piece, through filters, never collected."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from sidecar.exchange import Exchange
from sidecar.guard import ResponseFilter
from sidecar.proxy.backend_connection import BackendConnection
from sidecar.proxy.body_framing import LAST_CHUNK, chunk
from sidecar.proxy.codec.response_heads import ResponseHead
from sidecar.proxy.exchange_context import ExchangeContext
from sidecar.proxy.strict_rules import Malformed
from sidecar.proxy.upstream_error import UpstreamError
from sidecar.vocabulary import Code

TURN: Final = 16 * 1024
"""Bytes that are searched before others get their turn of the loop."""
INFLATED_TURN: Final = 4 * 1024
"""The same where they are compressed: they may be a thousand times as long as they look."""
_INFLATE_STEP: Final = 256 * 1024


class RelayedExchange(Protocol):
    """What a relay needs of its exchange besides the context."""

    def wait(self, awaitable: Awaitable[Any], then: Callable[[Any], None]) -> None:
        """Go on with `then` once the awaitable is done."""
        ...

    def relayed(self) -> None:
        """All of the response has been written."""
        ...


class TruncatedResponse(Exception):
    """The response ended before its end."""


def inflated(chosen: ResponseFilter, answer: ResponseHead) -> ResponseFilter:
    """Put a decompressor before a filter when the backend compressed although it was asked not to."""
    coding = answer.index.get(b"content-encoding")
    if coding is None or coding.lower() in (b"identity", b""):
        return chosen
    coding = coding.lower()
    if coding in (b"gzip", b"x-gzip", b"deflate"):
        answer.lines[:] = [pair for pair in answer.lines if pair[0] not in (b"content-encoding", b"etag")]
        return Inflated(chosen, coding)
    # A response that cannot be looked at is not passed on.
    raise UpstreamError(Code.BACKEND_BROKEN, "an answer in a content coding that cannot be inspected")


class Inflated:
    """Decompress, then filter. Memory stays flat: the output goes through in bounded steps."""

    def __init__(self, inner: ResponseFilter, coding: bytes) -> None:
        self._inner = inner
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS if coding == b"deflate" else zlib.MAX_WBITS | 16)

    def feed(self, chunk: bytes) -> bytes:
        pieces = []
        try:
            while chunk:
                pieces.append(self._inner.feed(self._zlib.decompress(chunk, _INFLATE_STEP)))
                chunk = self._zlib.unconsumed_tail
        except zlib.error:
            raise Malformed(Code.BACKEND_BROKEN, "compressed answer") from None
        return b"".join(pieces)

    def finish(self) -> bytes:
        if not self._zlib.eof or self._zlib.unused_data:
            raise Malformed(Code.BACKEND_BROKEN, "compressed answer ends too early or too late")
        return self._inner.finish()


class ResponseRelay:
    """A ResponseSink that writes a body to the client as it comes, and holds the backend back where it must."""

    __slots__ = (
        "_activity", "_back", "_chosen", "_chunked", "_exchange", "_front", "_handler", "_idle", "_kind", "_over",
        "_piece", "framed", "holding",
    )  # fmt: skip

    def __init__(
        self,
        context: ExchangeContext,
        handler: RelayedExchange,
        back: BackendConnection,
        chosen: ResponseFilter | None,
        kind: str,
        *,
        chunked: bool,
        framed: bool,
    ) -> None:
        self._handler = handler
        self._exchange = context.exchange
        self._front = context.connection
        self._back = back
        self._chosen = chosen
        self._kind = kind
        self._chunked = chunked
        self.framed = framed  # its end can be told from a broken connection
        self._idle = context.route.target.idle
        self._activity = context.services.activity
        self._piece = b""  # what the client may see once `exchange.pending` is done
        self._over = False  # the body ended meanwhile
        self.holding = False  # the client does not read

    def begin(self) -> None:
        """Let the body flow."""
        self._activity.stream_began(self._kind)
        if self._front.writing_paused:
            self._hold()
        turn = 0 if self._chosen is None else INFLATED_TURN if isinstance(self._chosen, Inflated) else TURN
        self._back.deliver(self, turn, self._idle)

    def end(self) -> None:
        """The stream is over, however it ended."""
        self._activity.stream_ended(self._kind)

    def response_piece(self, data: bytes) -> None:
        chosen = self._chosen
        if chosen is not None:
            data = chosen.feed(data)
            if not data:
                return
            if self._exchange.pending:
                self._back.hold()
                self._piece = data
                self._handler.wait(settle(self._exchange), self._settled)
                return
        front = self._front
        front.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        if front.writing_paused:
            self._hold()

    def _settled(self, _: None) -> None:
        self._front.write(chunk(self._piece) if self._chunked else self._piece)
        self._piece = b""
        if self._over:
            self._finish()
        elif self._front.writing_paused:
            self._hold()
        else:
            self._back.release()

    def _hold(self) -> None:
        # A client that reads slowly is waited for, but not one that does not read.
        self.holding = True
        self._back.hold()
        self._front.expect_within(self._idle)

    def client_takes_more(self) -> None:
        """The client has read what was held back."""
        if self.holding:
            self.holding = False
            self._front.expect_within(0)
            self._back.release()

    def response_ended(self) -> None:
        self._over = True
        if not self._piece:
            self._finish()

    def _finish(self) -> None:
        rest = self._chosen.finish() if self._chosen is not None else b""
        if self._exchange.pending:
            self._handler.wait(settle(self._exchange), lambda _: self._write_end(rest))
        else:
            self._write_end(rest)

    def _write_end(self, rest: bytes) -> None:
        if self._chunked:
            rest = chunk(rest) + LAST_CHUNK
        if rest:
            self._front.write(rest)
        self._handler.relayed()


async def settle(exchange: Exchange) -> None:
    """Do what must be done before the client sees what the response said."""
    while exchange.pending:
        await exchange.pending.pop(0)()
