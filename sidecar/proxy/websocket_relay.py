"""A WebSocket, relayed frame by frame both ways once its upgrade was admitted like any request."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from sidecar.admission import observe
from sidecar.decision import Refuse
from sidecar.events import about
from sidecar.head import RequestHead
from sidecar.limit import LimitReport
from sidecar.messages.sockets.inspector import SocketInspector
from sidecar.messages.sockets.results import Inspected, KeepMessage, RefuseMessage, RewriteMessage, SocketMessage
from sidecar.proxy.codec.response_heads import ResponseHead
from sidecar.proxy.codec.websocket_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    GOING_AWAY,
    HEAD,
    INTERNAL_ERROR,
    PING,
    POLICY_VIOLATION,
    PONG,
    TEXT,
    TOO_BIG,
    Frame,
    FrameError,
    FrameReader,
    close_frame,
    encode,
)
from sidecar.proxy.connection import ByteStream, PeerLeft, TooSlow
from sidecar.proxy.exchange_context import ExchangeContext
from sidecar.vocabulary import Code, Event, Outcome

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
_LAST_WORDS: Final = 2.0
"""Seconds that a peer has to answer a close frame (§7.1.1)."""
_UNDECIDED: Final = 1.0
"""Seconds of silence after which a message leaves whose end may begin a secret: for all we know, it is whole."""
_PINGS: Final = 64
"""Pings of a client whose payloads are remembered until they are answered."""
_TURN: Final = 64
"""Frames that one socket may have relayed before the others have their turn."""
_MOST_REPLIES: Final = 64
"""Messages of ours that may wait for the end of one of the backend's."""
_SKIPPED: Final = 16
"""Times `max_message` that a message of an inspected socket may have to be refused in the page's own words, unread."""
_TOO_MANY: Final = {"limit": "websocket.messages_per_minute"}
NOT_NEGOTIATED: Final = frozenset({b"sec-websocket-extensions"})
"""What the head of an upgrade request loses: no extension is understood here."""


OTHER_VERSION: Final = "websocket version"
SPOKEN: Final = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Version", b"13")]
"""What a client of another version is told to speak (RFC 6455 §4.4, RFC 9110 §15.5.22)."""
UPGRADE: Final = b"Connection: Upgrade\r\nUpgrade: websocket"


def fault_of_upgrade(head: RequestHead, *, has_body: bool) -> str:
    """Return what is wrong with an upgrade request, or nothing (RFC 6455 §4.2.1)."""
    index = head.index
    named = {name.strip(b" \t").lower() for name in index.get(b"connection", b"").split(b",")}
    try:
        key = base64.b64decode(index.get(b"sec-websocket-key", b""), validate=True)
    except binascii.Error:
        key = b""
    if head.method != "GET" or head.version != 1 or b"upgrade" not in named:
        return "upgrade request"
    if index.get(b"sec-websocket-version", b"13") != b"13":
        return OTHER_VERSION
    if len(key) != 16 or b"sec-websocket-version" not in index:
        return "websocket handshake"
    return "upgrade with a body" if has_body else ""


def accepts_upgrade(head: RequestHead, answer: ResponseHead) -> bool:
    """Return whether a 101 is the answer to this upgrade request (RFC 6455 §4.1)."""
    key = head.index[b"sec-websocket-key"]
    digest = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    chosen = answer.index.get(b"sec-websocket-protocol")
    offered = {part.strip() for part in head.index.get(b"sec-websocket-protocol", b"").split(b",")}
    return (
        answer.index.get(b"sec-websocket-accept") == digest
        and answer.index.get(b"upgrade", b"").lower() == b"websocket"
        and b"sec-websocket-extensions" not in answer.index
        and (chosen is None or chosen in offered)
    )


class WebSocketRelay:
    """Relays frames in both directions until either side closes."""

    def __init__(self, context: ExchangeContext, front: ByteStream, back: ByteStream) -> None:
        bounds = context.policy.bounds
        self._context = context
        self._front = front
        self._back = back
        self._idle = bounds.socket_idle
        self._max = bounds.max_socket_message
        self._rate = bounds.socket_rate
        guard = context.route.frames
        exchange = context.exchange
        self._inspector = (
            guard.begin(exchange.head.path, exchange.id, context.services.clock.now) if guard is not None else None
        )
        self._replies: list[Frame] = []  # refusals that wait until a message of the backend is complete
        self._between = True  # no message of the backend is half-way to the client
        self._over = 0  # messages beyond `messages_per_minute`
        self._filter = context.filters.frames(context.exchange) if context.filters is not None else None
        self._enforce = context.filters is not None and context.filters.enforce
        self._waiting = 0  # messages of the backend that the filter has not decided about
        self._closing: Frame | None = None
        self._pings: deque[bytes] = deque(maxlen=_PINGS)  # of the client, which may be answered still
        self._said: bytes | None = None  # the payload of the client's close frame
        self._observer = context.route.observer
        self._report: LimitReport | None = None  # of the message that a limit refused
        self._pumps: list[asyncio.Task[None]] = []
        self._early = ""  # why it is ended here

    def end_early(self, reason: str) -> None:
        """End the socket: close frame 1008 with the reason to the client, 1001 to the backend."""
        self._early = reason
        for pump in self._pumps:
            pump.cancel()

    async def run(self) -> None:
        """Relay both ways, then close the backend's side; the client's is closed by its exchange."""
        activity = self._context.services.activity
        activity.stream_began("websocket")
        pumps = self._pumps = [
            asyncio.create_task(self._pump(self._front, self._back, from_client=True)),
            asyncio.create_task(self._pump(self._back, self._front, from_client=False)),
        ]
        try:
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if self._early:
                self._say_close(close_frame(POLICY_VIOLATION, self._early), to_client=True)
                self._say_close(close_frame(GOING_AWAY), to_client=False)
                return
            # Both may end in the same turn; the client's side speaks first.
            first = pumps[0] if pumps[0] in done else pumps[1]
            await self._end(first, pumps)
        except asyncio.CancelledError:
            # The client's connection is gone, or the drain is over.
            self._say_close(close_frame(GOING_AWAY), to_client=True)
            self._say_close(close_frame(GOING_AWAY), to_client=False)
            raise
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            activity.stream_ended("websocket")
            back = self._back.connection
            back.close()  # once it was told why …
            back.loop.call_later(_LAST_WORDS, back.abort)  # … unless it does not answer

    async def _end(self, first: asyncio.Task[None], pumps: list[asyncio.Task[None]]) -> None:
        """Tell both sides why it ends, and give the one that has to answer a moment for it."""
        error = first.exception()
        from_client = first is pumps[0]
        if isinstance(error, FrameError):
            self._say_close(close_frame(error.code, str(error)), to_client=True)
            self._say_close(close_frame(GOING_AWAY if from_client else error.code), to_client=False)
            if not from_client:
                self._context.backend_event(Code.BACKEND_BROKEN, str(error))
            elif error.code == TOO_BIG:
                exchange, detail = self._context.exchange, {"limit": "websocket.max_message"}
                event = about(exchange, Event.MESSAGE_TOO_LONG, Outcome.REFUSED, exchange.now, 101, detail)
                self._context.services.events.record(event)
        elif isinstance(error, TooSlow):
            self._say_close(close_frame(GOING_AWAY, "idle"), to_client=True)
            self._say_close(close_frame(GOING_AWAY, "idle"), to_client=False)
        elif isinstance(error, PeerLeft):
            if from_client:
                self._say_close(close_frame(GOING_AWAY), to_client=False)
            else:
                self._say_close(close_frame(INTERNAL_ERROR if self._back.broken else GOING_AWAY), to_client=True)
        elif error is not None:
            raise error
        else:
            # A close frame was relayed: its answer comes the other way.
            other = pumps[1] if from_client else pumps[0]
            await asyncio.wait([other], timeout=_LAST_WORDS)

    def _say_close(self, frame: Frame, *, to_client: bool) -> None:
        connection = self._front if to_client else self._back
        if not connection.left:
            connection.write(encode(frame, mask=not to_client))

    async def _pump(self, source: ByteStream, sink: ByteStream, *, from_client: bool) -> None:
        most = _SKIPPED * self._max if from_client and self._inspector is not None else 0
        reader = FrameReader(masked=from_client, max_message=self._max, max_skipped=most)
        looked_at = (self._inspector or self._observer) is not None if from_client else self._filter is not None
        messages = _Whole() if looked_at else None
        budget = _Budget(self._rate, source.connection.loop.time) if from_client and self._rate else None
        at = taken = 0
        while True:
            frame, at = reader.take(source.buffer, at)
            if frame is None:
                source.buffer, at = source.buffer[at:], 0
                await self._more(source, sink, from_client=from_client)
                continue
            taken += 1
            if taken % _TURN == 0:
                await asyncio.sleep(0)
            if messages is not None:
                frame = messages.whole(frame)
                if frame is None:
                    continue
            over = False
            if budget is not None and frame.opcode in (TEXT, BINARY, CONTINUATION) and frame.fin and not budget.spend():
                over = self._too_many()
            for each in await self._judged(frame, over=over) if from_client else self._cleaned(frame):
                sink.write(encode(each, mask=from_client))
                if not from_client:
                    self._passed(each)
            await sink.drain()
            if frame.opcode == CLOSE:
                return

    async def _more(self, source: ByteStream, sink: ByteStream, *, from_client: bool) -> None:
        """Wait for bytes; what waits behind the filter leaves when nothing comes for a while, or ever."""
        while True:
            waits = self._waiting > 0 and not from_client
            source.expect_within(min(_UNDECIDED, self._idle) if waits else self._idle)
            sink_seen = sink.received
            try:
                await source.more()
                return
            except TooSlow:
                if waits:
                    await self._let_go(sink)
                # The other way was busy meanwhile: the connection is not idle.
                elif sink.received == sink_seen:
                    raise
            except PeerLeft:
                if waits and source.left and not sink.left:
                    await self._let_go(sink)
                raise

    async def _let_go(self, sink: ByteStream) -> None:
        for each in self._released():
            sink.write(encode(each, mask=False))
            self._passed(each)
        await sink.drain()

    async def _judged(self, frame: Frame, *, over: bool = False) -> tuple[Frame, ...]:
        """Return what goes to the backend for a client's frame; `over`: it is beyond `messages_per_minute`."""
        if frame.opcode == PING:
            self._pings.append(frame.data)
        elif frame.opcode == CLOSE:
            self._said = frame.data
        if self._observer is not None and frame.opcode in (TEXT, BINARY) and not frame.skipped:
            self._observer.socket_message(self._context.exchange, frame.data, binary=frame.opcode == BINARY)
        if self._inspector is None:
            return (frame,)
        if frame.opcode not in (TEXT, BINARY):
            # A close reason is a text that no inspector reads; the payload of a ping has to come back as it was.
            return (Frame(CLOSE, frame.data[:2]),) if frame.opcode == CLOSE else (frame,)
        found = await self._inspected(frame, over=over)
        if isinstance(found, KeepMessage):
            return (frame,)
        if isinstance(found, RewriteMessage):
            return tuple(map(_frame, found.messages))
        self._reply(found.replies)
        await self._front.drain()
        return tuple(map(_frame, found.forward))

    def _reply(self, replies: Sequence[SocketMessage]) -> None:
        """Send the client what a refusal says, as soon as no message of the backend is half-way."""
        if len(self._replies) + len(replies) <= _MOST_REPLIES:
            self._replies += map(_frame, replies)
        if self._between:
            self._flush()

    def _flush(self) -> None:
        for frame in self._replies:
            self._front.write(encode(frame, mask=False))
        self._replies.clear()

    def _passed(self, frame: Frame) -> None:
        """Note a frame of the backend that went to the client."""
        if self._inspector is None or frame.opcode not in (TEXT, BINARY, CONTINUATION):
            return
        self._between = frame.fin and self._inspector.passed(frame.data, binary=frame.opcode == BINARY)
        if self._between and self._replies:
            self._flush()

    def _too_many(self) -> bool:
        """Count a message beyond the bound; raise FrameError where nothing answers it, or too many were answered."""
        self._over += 1
        if self._inspector is None or self._over > self._rate:
            exchange, refuse = self._context.exchange, Refuse(Code.RATE_LIMIT_EXCEEDED, _TOO_MANY)
            event = about(exchange, Event.RATE_LIMIT_EXCEEDED, Outcome.REFUSED, exchange.now, 101, refuse.detail)
            self._context.services.events.record(event)
            raise FrameError(POLICY_VIOLATION, "too many messages")
        return True

    def _cleaned(self, frame: Frame) -> Sequence[Frame]:
        """Return what may be sent to the client now that the backend has sent this frame."""
        if self._filter is None:
            return (frame,)
        if frame.opcode == PING:
            return (Frame(PING, self._filter.control(frame.data)),)
        if frame.opcode == PONG:
            # Not looked at: what the client sent comes back as it was, or it would learn whether that begins a secret.
            return (frame if frame.data in self._pings or not self._enforce else Frame(PONG, b""),)
        if frame.opcode == CLOSE and frame.data == self._said:
            return (*self._released(), frame)
        if frame.opcode not in (TEXT, BINARY):
            data = frame.data
            if frame.opcode == CLOSE and len(data) > 2:
                data = data[:2] + self._filter.close_reason(data[2:])
            return (*self._released(), Frame(frame.opcode, data))
        return self._sent(self._filter.take(frame.data, binary=frame.opcode == BINARY), 1)

    def _released(self) -> list[Frame]:
        """Return the messages that wait: nothing overtakes them but what keeps the connection alive."""
        if self._filter is None or not self._waiting:
            return []
        return self._sent(self._filter.rest(), 0)

    def _sent(self, messages: list[tuple[bytes, bool]], arrived: int) -> list[Frame]:
        self._waiting += arrived - len(messages)
        return [Frame(BINARY if binary else TEXT, data) for data, binary in messages]

    async def _inspected(self, frame: Frame, *, over: bool) -> Inspected:
        """Look at one message, take the limits that it counts for, and record what was found."""
        assert self._inspector is not None
        exchange, events = self._context.exchange, self._context.services.events
        found = self._looked_at(self._inspector, frame)
        if not isinstance(found, RefuseMessage):
            refuse = Refuse(Code.RATE_LIMIT_EXCEEDED, _TOO_MANY) if over and found.texts else None
            if refuse is None and found.counts:
                refuse = await self._within_limits()
            if refuse is not None:
                found = self._inspector.refused(refuse.code, refuse.detail)
        if isinstance(found, RefuseMessage):
            events.record(about(exchange, found.recorded, Outcome.REFUSED, exchange.now, 101, found.detail))
            self._struck(found)
            return found
        outcome = Outcome.CHANGED if isinstance(found, RewriteMessage) else Outcome.ALLOWED
        for finding in found.findings:
            events.record(about(exchange, finding.event, outcome, exchange.now, 101, finding.detail))
        exchange.texts += found.texts
        exchange.characters += found.characters
        return found

    @staticmethod
    def _looked_at(inspector: SocketInspector, frame: Frame) -> Inspected:
        """Return what is to be done about one message; raise FrameError where the socket cannot go on without it."""
        if frame.skipped:
            refused = inspector.too_big(frame.data, frame.skipped, binary=frame.opcode == BINARY)
            if refused is None:
                raise FrameError(TOO_BIG, "message too big")
            return refused
        return inspector.text(frame.data.decode()) if frame.opcode == TEXT else inspector.binary(frame.data)

    async def _within_limits(self) -> Refuse | None:
        """Take one message of the route's limits; return the refusal when one of them is used up."""
        limits, exchange, parts = self._context.route.socket_limits, self._context.exchange, self._context.services
        if limits is None:
            return None
        report, refuse = await limits.take(exchange, parts.clock.monotonic(), parts.clock.now())
        parts.limits(report)
        if refuse is None:
            return None
        if not limits.enforce:
            observe(exchange, limits.guard.name, refuse, parts.events)
            return None
        self._report = report
        return refuse

    def _struck(self, found: RefuseMessage) -> None:
        """Tell the bans of a refused message."""
        struck = self._context.policy.struck
        if struck is not None:
            report = self._report or LimitReport((), (), self._context.services.clock.now())
            struck(self._context.exchange, Refuse(found.code, found.detail), report)
        self._report = None


def _frame(message: SocketMessage) -> Frame:
    return Frame(BINARY if message.binary else TEXT, message.data)


class _Whole:
    """Puts the fragments of messages together; `max_message` of the reader bounds what is held."""

    __slots__ = ("_data", "_kind", "_skipped")

    def __init__(self) -> None:
        self._data = bytearray()  # a list would grow with empty fragments, which no size bounds
        self._kind = 0  # of the message that is under way
        self._skipped = 0  # bytes of it, once it is too big to be kept

    def whole(self, frame: Frame) -> Frame | None:
        """Return a message once it is complete, any other frame as it is; of one that is too big, its beginning."""
        if frame.opcode in (TEXT, BINARY):
            if frame.fin:
                return frame
            self._kind = frame.opcode
        elif frame.opcode != CONTINUATION or not self._kind:
            return frame
        if frame.skipped:
            self._skipped = (self._skipped or len(self._data)) + frame.skipped
        self._data += frame.data
        if self._skipped:
            del self._data[HEAD:]
        if not frame.fin:
            return None
        whole = Frame(self._kind, bytes(self._data), skipped=self._skipped)
        self._data.clear()
        self._kind = self._skipped = 0
        return whole


class _Budget:
    """Messages per minute that one socket may send: a bucket that refills steadily."""

    __slots__ = ("_at", "_clock", "_left", "_rate")

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._rate = per_minute
        self._left = float(per_minute)
        self._clock = clock
        self._at = clock()

    def spend(self) -> bool:
        now = self._clock()
        self._left = min(self._rate, self._left + (now - self._at) * self._rate / 60)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
