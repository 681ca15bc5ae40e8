"""The backend's response on its way to the client: piece by piece, through filters, never collected."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from sidecar.exchange import Exchange
from sidecar.guard import ResponseFilter
from sidecar.proxy.backend_connection import BackendConnection, ResponseSink
from sidecar.proxy.body_framing import LAST_CHUNK, chunk
from sidecar.proxy.content_codings import Decoder
from sidecar.proxy.early_end import BLANK, after_event, end_of_event
from sidecar.proxy.exchange_context import ExchangeContext
from sidecar.responses.stream_end import LastEvent

TURN: Final = 16 * 1024
"""Bytes that are searched before others get their turn of the loop."""
OPENED_TURN: Final = 256 * 1024
"""Bytes that come out of a content coding before others get their turn: a few bytes may stand for gigabytes …"""
_SEARCHED_TURN: Final = 2 * TURN
"""… and where they are searched."""
_STEP: Final = 64 * 1024
_EVENT_ENDS: Final = 0.25
"""Seconds that the event under way has to end before an early end breaks it off."""


class RelayedExchange(Protocol):
    """What a relay needs of its exchange besides the context."""

    def wait(self, awaitable: Awaitable[Any], then: Callable[[Any], None]) -> None:
        """Go on with `then` once the awaitable is done."""
        ...

    def relayed(self) -> None:
        """All of the response has been written."""
        ...

    def ended_early(self) -> None:
        """The response has ended before its end; its last event, if it has one, is written."""
        ...


class TruncatedResponse(Exception):
    """The response ended before its end."""


class ResponseRelay(ResponseSink):
    """A ResponseSink that writes a body to the client as it comes, and holds the backend back where it must."""

    __slots__ = (
        "_activity", "_back", "_chosen", "_chunked", "_decoder", "_events", "_exchange", "_front", "_handler", "_idle",
        "_kind", "_last", "_opening", "_over", "_pending", "_piece", "_tail", "_timer", "cut", "framed", "holding",
    )  # fmt: skip

    def __init__(
        self,
        context: ExchangeContext,
        handler: RelayedExchange,
        back: BackendConnection,
        chosen: ResponseFilter | None,
        decoder: Decoder | None,
        kind: str,
        *,
        chunked: bool,
        framed: bool,
        events: bool = False,
    ) -> None:
        # Those first that each piece needs: they are side by side in memory.
        self._decoder = decoder
        self._chosen = chosen
        self._pending = context.exchange.pending
        self._last: LastEvent | None = None  # ends the response once the event under way is complete
        self._front = context.connection
        self._chunked = chunked
        self._events = events  # it is an event stream in plain text, to which an event may be added
        self._tail = b""  # the last four bytes of it that were written
        self._handler = handler
        self._exchange = context.exchange
        self._back = back
        self._kind = kind
        self.framed = framed  # its end can be told from a broken connection
        self._idle = context.route.target.idle
        self._activity = context.services.activity
        self._piece = b""  # what the client may see once `exchange.pending` is done
        self._opening = False  # the decoder may have more to give
        self._over = False  # the body ended meanwhile
        self.holding = False  # the client does not read
        self._timer: asyncio.TimerHandle | None = None
        self.cut = True  # an early end has to be shown by breaking the body off

    def begin(self, whole: bytes | None = None) -> None:
        """Let the body flow; `whole`: all of it has come, and is too long to be opened at once."""
        self._activity.stream_began(self._kind)
        if self._front.full:
            self._hold()
        if whole is None:
            self._back.deliver(self, 0 if self._chosen is None else TURN, self._idle)
        else:
            self._over = True
            self.response_piece(whole)

    def end(self) -> None:
        """The stream is over, however it ended."""
        if self._timer is not None:
            self._timer.cancel()
        self._activity.stream_ended(self._kind)

    def end_early(self, last: LastEvent) -> None:
        """End the response: after the event that is under way, with `last`; what is no event stream is broken off."""
        if not self._events or self._last is not None:
            self._handler.ended_early()
        elif after_event(self._tail):
            self._last = last
            self._end_with(b"")
        else:
            self._last = last
            self._timer = self._front.loop.call_later(_EVENT_ENDS, self._end_with, b"\n\n")

    def _end_with(self, rest: bytes) -> None:
        last = self._last
        assert last is not None
        data = rest + last.data
        self.cut = self.framed and not last.complete
        if self._chunked:
            data = chunk(data) + (LAST_CHUNK if last.complete else b"")
        if not self._front.left:
            self._front.write(data)
        self._over = self._opening = False  # nothing of the answer is looked for any more
        self._handler.ended_early()

    def response_piece(self, data: bytes) -> None:
        """Pass the bytes on through the filter, opened first where they are coded."""
        if self._decoder is None:
            self._pass_on(data)
        else:
            self._decoder.push(data)
            self._opening = True
            self._open()

    def _open(self) -> None:
        """Pass on what the decoder gives, until it needs more, something is waited for, or it is others' turn."""
        decoder = self._decoder
        assert decoder is not None
        left, step = (OPENED_TURN, _STEP) if self._chosen is None else (_SEARCHED_TURN, TURN)
        while self._opening and not self.holding and not self._piece:
            if left <= 0:
                self._back.hold()
                self._handler.wait(asyncio.sleep(0), lambda _: self._open())
                return
            piece = decoder.read(step)
            if piece:
                left -= len(piece)
                self._pass_on(piece)
            else:
                self._opening = False
        if not (self._opening or self.holding or self._piece):
            self._go_on()

    def _go_on(self) -> None:
        """Nothing is waited for any more."""
        if self._opening:
            self._open()
        elif self._over:
            self._finish()
        else:
            self._back.release()

    def _pass_on(self, data: bytes) -> None:
        chosen = self._chosen
        if chosen is not None:
            data = chosen.feed(data)
            if not data:
                return
            if self._pending:
                self._back.hold()
                self._piece = data
                self._handler.wait(settle(self._exchange), self._settled)
                return
        if self._last is not None:
            self._go_on_to_end(data)
            return
        front = self._front
        front.write(chunk(data) if self._chunked else data)
        if self._events:
            if data[-2:] == BLANK:
                self._tail = BLANK
            else:
                self._tail = data[-4:] if len(data) > 3 else (self._tail + data)[-4:]
        if front.full:
            self._hold()

    def _go_on_to_end(self, data: bytes) -> None:
        """Write what of `data` belongs to the event under way; end after it."""
        end = end_of_event(self._tail, data)
        if end >= 0:
            self._end_with(data[:end])
            return
        self._front.write(chunk(data) if self._chunked else data)
        self._tail = (self._tail + data)[-4:]

    def _settled(self, _: None) -> None:
        data, self._piece = self._piece, b""
        if self._last is not None:
            self._go_on_to_end(data)
            self._go_on()
            return
        self._front.write(chunk(data) if self._chunked else data)
        if self._events:
            self._tail = (self._tail + data)[-4:]
        if self._front.full and not (self._over and not self._opening):
            self._hold()
        else:
            self._go_on()

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
            if self._opening:
                self._handler.wait(asyncio.sleep(0), lambda _: self._open())
            else:
                self._back.release()

    def response_ended(self) -> None:
        """Finish the body once nothing is waited for."""
        self._over = True
        if not (self._piece or self._opening):
            self._finish()

    def _finish(self) -> None:
        if self._decoder is not None:
            self._decoder.finish()
        rest = self._chosen.finish() if self._chosen is not None else b""
        if self._exchange.pending:
            self._handler.wait(settle(self._exchange), lambda _: self._write_end(rest))
        else:
            self._write_end(rest)

    def last(self, data: bytes, *, complete: bool) -> bytes:
        """Return a body's last bytes as they are written; not `complete`: the client must see it broken off."""
        if not self._chunked:
            return data
        return chunk(data) + LAST_CHUNK if complete else chunk(data)

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
