"""The backend's answer on its way to the client: piece by piece, through filters, never collected."""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from sidecar.exchange import Exchange
from sidecar.guard import ResponseFilter
from sidecar.proxy import response_heads
from sidecar.proxy.codec.body_framing import LAST_CHUNK, Body, CloseBody, body_of, chunk
from sidecar.proxy.codec.http1 import Malformed, ResponseHead
from sidecar.proxy.connection import Connection, PeerLeft, TooSlow
from sidecar.proxy.exchange_context import ExchangeContext
from sidecar.proxy.upstream import UpstreamError
from sidecar.vocabulary import Code

_TURN: Final = 16 * 1024
"""Bytes that are searched before others get their turn of the loop."""
_OPENED_TURN: Final = 4 * 1024
"""The same where they are compressed: they may be a thousand times as long as they look."""
_INFLATE_STEP: Final = 256 * 1024


class TruncatedResponse(Exception):
    """The answer ended before its end. `unframed`: only a reset can tell the client so."""

    def __init__(self, reason: str, *, unframed: bool) -> None:
        super().__init__(reason)
        self.unframed = unframed


async def relay(context: ExchangeContext, back: Connection, answer: ResponseHead) -> bool:
    """Relay a final answer; return whether the backend's connection is still in step."""
    instead = response_heads.replaces(answer.status)
    if instead is not None:
        return await _replace(context, back, answer)
    filters = context.filters
    chosen: ResponseFilter | None = None
    if filters is not None:
        chosen = filters.for_answer(context.exchange, answer)
        if answer.framing == 0:
            chosen = None
        elif chosen is not None:
            chosen = _opened(chosen, answer)
    await _stream(context, back, answer, chosen)
    return True


async def _replace(context: ExchangeContext, back: Connection, answer: ResponseHead) -> bool:
    """Send our own words for a backend's 5xx; its text is read only if that is cheap."""
    refuse = response_heads.replaces(answer.status)
    assert refuse is not None
    retry = answer.index.get(b"retry-after")
    if retry is not None and retry.isdigit():
        refuse.fields.append((b"Retry-After", retry))
    context.backend_failed(refuse)
    if 0 <= answer.framing <= len(back.buffer):
        back.buffer = back.buffer[answer.framing :]
        clean = True
    else:
        clean = False
    await context.refuse(refuse, answer.status)
    return clean


def _opened(chosen: ResponseFilter, answer: ResponseHead) -> ResponseFilter:
    """Put a decompressor before a filter when the backend compressed although it was asked not to."""
    coding = answer.index.get(b"content-encoding", b"identity").lower()
    if coding in (b"identity", b""):
        return chosen
    if coding in (b"gzip", b"x-gzip", b"deflate"):
        answer.lines[:] = [pair for pair in answer.lines if pair[0] not in (b"content-encoding", b"etag")]
        return Inflated(chosen, coding)
    # An answer that cannot be looked at is not passed on.
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


async def _stream(
    context: ExchangeContext, back: Connection, answer: ResponseHead, chosen: ResponseFilter | None
) -> None:
    front, exchange = context.connection, context.exchange
    body = body_of(answer.framing, Code.BACKEND_BROKEN)
    known = answer.framing >= 0 and chosen is None
    lines = response_heads.relayed_lines(answer, context.exchange, context.route, context.filters, length_known=known)
    first = b""
    at_once = _OPENED_TURN if isinstance(chosen, Inflated) else len(back.buffer)
    if 0 < answer.framing <= min(at_once, len(back.buffer)):
        # The whole answer is here: one write, and a filtered one can say its new length.
        first, back.buffer = body.take(back.buffer)
        if chosen is not None:
            first = chosen.feed(first) + chosen.finish()
            lines += b"Content-Length: %d\r\n" % len(first)
            known = True
    chunked = not known and exchange.head.version == 1
    if chunked:
        lines += b"Transfer-Encoding: chunked\r\n"
    elif not known:
        context.keep = False
    kind = _kind(answer)
    if kind == "sse" and b"x-accel-buffering" not in answer.index:
        lines += b"X-Accel-Buffering: no\r\n"
    context.status = answer.status
    context.answered = True
    if exchange.pending:
        await _settle(exchange)
    front.write(response_heads.head(answer.status, lines, exchange, context.route, keep=context.keep) + first)
    if not body.done:
        shown = "egress" if context.route.outward else kind
        await _body(context, back, body, chosen, shown, chunked=chunked, unframed=not (chunked or known))
    elif front.writing_paused:
        await _drain(front, context.route.target.idle)


async def _body(
    context: ExchangeContext,
    back: Connection,
    body: Body,
    chosen: ResponseFilter | None,
    kind: str,
    *,
    chunked: bool,
    unframed: bool,
) -> None:
    """Pump the body; whatever goes wrong now is a TruncatedResponse, because the head has been sent."""
    front, activity = context.connection, context.parts.activity
    activity.stream_began(kind)
    try:
        await _Flow(context, back, body, chosen, chunked=chunked).run()
    except Malformed as error:
        raise TruncatedResponse(error.reason, unframed=unframed) from None
    except TooSlow:
        raise TruncatedResponse(
            "a client that does not read" if front.writing_paused else "silence", unframed=unframed
        ) from None
    except PeerLeft:
        if front.left:
            raise
        raise TruncatedResponse("closed in the middle of the answer", unframed=unframed) from None
    finally:
        activity.stream_ended(kind)


class _Flow:
    """A body on its way: it flows by itself, as it comes.

    Its owner steps in only when the client is slow, when something has to be done first, and at the end.
    """

    def __init__(
        self, context: ExchangeContext, back: Connection, body: Body, chosen: ResponseFilter | None, *, chunked: bool
    ) -> None:
        self._exchange = context.exchange
        self._front = context.connection
        self._idle = context.route.target.idle
        self._back = back
        self._body = body
        self._filter = chosen
        self._turn = _OPENED_TURN if isinstance(chosen, Inflated) else _TURN
        self._chunked = chunked
        self._held = b""  # what the client may see once `pending` is done

    def _tap(self) -> bool:
        """Pass on what came; return whether it goes on flowing."""
        back = self._back
        back.expect_within(self._idle)
        arrived, rest = back.buffer, b""
        if self._filter is not None and len(arrived) > self._turn:
            arrived, rest = arrived[: self._turn], arrived[self._turn :]
        piece, left = self._body.take(arrived)
        back.buffer = left + rest
        if self._filter is not None and piece:
            piece = self._filter.feed(piece)
        if not piece:
            return not (self._body.done or rest)
        if self._exchange.pending:
            self._held = piece
            return False
        self._front.write(chunk(piece) if self._chunked else piece)
        return not (self._body.done or self._front.writing_paused or rest)

    async def run(self) -> None:
        back, front = self._back, self._front
        back.expect_within(self._idle)
        ended = False
        while not ended:
            if not back.buffer or self._tap():
                ended = await self._flow()
            if self._held:
                await self._pass_on(self._held)
                self._held = b""
            ended = ended or self._body.done
            if front.writing_paused and not ended:
                back.expect_within(0)
                await _drain(front, self._idle)
            elif back.buffer and not ended:
                await asyncio.sleep(0)
        rest = self._filter.finish() if self._filter is not None else b""
        await self._pass_on(rest)
        if self._chunked:
            front.write(LAST_CHUNK)

    async def _flow(self) -> bool:
        """Wait for a reason to step in; return whether it is the end of a body that ends with its connection."""
        try:
            await self._back.flow(self._tap)
        except PeerLeft:
            if not isinstance(self._body, CloseBody) or self._back.broken or self._front.left:
                raise
            return True
        return False

    async def _pass_on(self, piece: bytes) -> None:
        """Do what must be done before the client sees what the answer said; then let it see."""
        await _settle(self._exchange)
        if piece:
            self._front.write(chunk(piece) if self._chunked else piece)


async def _settle(exchange: Exchange) -> None:
    """Do what must be done before the client sees what the answer said."""
    while exchange.pending:
        await exchange.pending.pop(0)()


async def _drain(front: Connection, idle: float) -> None:
    """Wait for a client that reads slowly, but not for one that does not read."""
    front.expect_within(idle)
    await front.drain()
    front.expect_within(0)


def _kind(answer: ResponseHead) -> str:
    return "sse" if answer.index.get(b"content-type", b"").startswith(b"text/event-stream") else "chunked"
