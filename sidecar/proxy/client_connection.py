"""The client's side of the proxy: reads heads, one exchange after another, and hands each body to its sink."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.proxy import lingering
from sidecar.proxy.body_framing import Body
from sidecar.proxy.codec.proxy_protocol import ProxiedPeer
from sidecar.proxy.connection import HIGH_WATER, ByteStream, Connection, TooSlow
from sidecar.proxy.strict_rules import (
    END_OF_HEAD,
    Malformed,
    find_end_of_head,
    head_too_large,
    malformed,
)
from sidecar.vocabulary import Code

if TYPE_CHECKING:
    from sidecar.policy.policy import Policy, RequestBounds
    from sidecar.proxy.known_heads import ReadHead

_UNREAD: Final = 30.0
"""Seconds that a client has for the rest of an answer once its connection is over."""
_BODY_TURN: Final = 64 * 1024
"""Bytes of a body that are read before other connections get their turn."""

_HEAD: Final = 0  # a head is awaited
_TURN: Final = 1  # the next head waits for this connection's turn, or for the client to read
_BUSY: Final = 2  # an exchange is under way, and the body is not read
_BODY: Final = 3  # a body is read
_STREAM: Final = 4  # a WebSocket reads
_OVER: Final = 5  # what comes is dropped


class BodySink(Protocol):
    """Takes a request's body, piece by piece."""

    def body_piece(self, data: bytes) -> None:
        """Take the next bytes of the body, without its framing. Raises TooLarge."""
        ...

    def body_ended(self) -> None:
        """Take the end of the body; called once, after the last piece."""
        ...


class ExchangeUnderWay(Protocol):
    """What a connection tells the exchange that it serves."""

    def failed(self, error: Exception) -> None:
        """Something broke: chunk syntax, a deadline, a fault of ours."""
        ...

    def client_left(self) -> None:
        """The client closed or broke its connection."""
        ...

    def client_takes_more(self) -> None:
        """Go on writing: the client has read enough of what was written."""
        ...

    def last(self) -> None:
        """No further request is taken on this connection."""
        ...

    def shut_down(self) -> None:
        """The process ends."""
        ...


class Owner(Protocol):
    """What a connection needs of its listener."""

    current: Callable[[], Policy]
    waiting: dict[ClientConnection, None]  # those that wait for a request, the longest first
    draining: bool

    def connected(self, connection: ClientConnection) -> bool:
        """Count a new connection; return whether it may be served."""
        ...

    def read_head(self, connection: ClientConnection, raw: bytes, policy: Policy) -> ReadHead:
        """Parse a complete request head, blank line included. Raises Malformed."""
        ...

    def serve(self, connection: ClientConnection, policy: Policy, read: ReadHead) -> None:
        """Begin an exchange; `framing` is the body's length in bytes, or CHUNKED."""
        ...

    def refuse_head(self, connection: ClientConnection, raw: bytes, error: Malformed) -> None:
        """Answer bytes that are no readable head, and close."""
        ...

    def lingers(self, connection: ClientConnection) -> bool:
        """Return whether a connection may be read on after its answer, within the bounds of `Lingering`."""
        ...

    def lost(self, connection: ClientConnection) -> None:
        """Forget a connection that is gone."""
        ...


class ClientConnection(Connection):
    """One connection of a client."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, owner: Owner, secure: bool = False, proxied: ProxiedPeer | None = None
    ) -> None:
        super().__init__(loop)
        self._proxied = proxied  # what a trusted proxy said before the first byte
        self._owner = owner
        self._mode = _TURN
        self._buffer = b""
        self._searched = 0
        self.exchange: ExchangeUnderWay | None = None  # told what happens to the connection
        self._body: Body | None = None
        self._sink: BodySink | None = None
        self._stream: ByteStream | None = None
        self._body_held = False
        self._sending = False  # a body was still to come when the last exchange ended
        self._over_left = 0  # bytes that are read on
        self._over_until = 0.0
        self.lingering = False  # it has taken a place among those that are read on
        self.client = ""  # the client, as bounds count clients
        self.began = 0  # of the received bytes, those before the current request
        self.peer = ""
        self.secure = secure  # the client speaks TLS, to us or to the proxy that says so

    @property
    def busy(self) -> bool:
        """An exchange is under way."""
        return self.exchange is not None

    # --- what the event loop calls -------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take the peer's address, then wait for a head; close at once beyond `max_connections`."""
        super().connection_made(transport)
        peername = transport.get_extra_info("peername")
        # The name of a Unix socket's peer is empty.
        self.peer = str(peername[0]) if isinstance(peername, tuple) else ""
        if self._proxied is not None:
            self.peer = self._proxied.address or self.peer
            if self._proxied.secure is not None:
                self.secure = self._proxied.secure
        if self._owner.connected(self):
            self._mode = _HEAD
            self._wait_for_head()
        else:
            # At max_connections, new connections are closed without a response: a response costs memory and time.
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Hand bytes to the reader of the head, body or WebSocket; beyond HIGH_WATER, stop reading."""
        self.received += len(data)
        mode = self._mode
        if mode == _HEAD:
            self._head(self._buffer + data if self._buffer else data)
        elif mode == _BODY:
            self._take_body(data)
        elif mode == _STREAM:
            assert self._stream is not None
            self._stream.arrived(data)
        elif mode == _OVER:
            self._drop(data)
        else:
            self._buffer += data
            if len(self._buffer) > HIGH_WATER:
                self.stop_reading()

    def timed_out(self) -> None:
        """Fail the exchange, refuse an unfinished head with 408, or close an idle connection."""
        mode = self._mode
        if mode == _STREAM:
            assert self._stream is not None
            self._stream.timed_out()
        elif self.exchange is not None:
            self.exchange.failed(TooSlow())
        elif mode == _HEAD and self._buffer:
            self._refuse(self._buffer, Malformed(Code.REQUEST_TIMEOUT, "head"))
        elif mode == _OVER:
            self._end()
        else:
            self._linger()

    def lost(self) -> None:
        """Report the end to the WebSocket or the exchange, and to the owner."""
        self._mode = _OVER
        self._buffer = b""
        if self._stream is not None:
            self._stream.lost()
        elif self.exchange is not None:
            self.exchange.client_left()
        self._owner.lost(self)

    def writable(self) -> None:
        """Let the WebSocket or the exchange go on writing, or serve the next request."""
        if self._stream is not None:
            self._stream.writable()
        elif self.exchange is not None:
            self.exchange.client_takes_more()
        elif self._mode == _TURN:
            self.loop.call_soon(self._next)

    # --- heads ---------------------------------------------------------------------------------

    def _next(self) -> None:
        """Look for the next head, now that it is this connection's turn."""
        if self._mode != _TURN or self.left or self.full:
            return
        if self._owner.draining:
            self._linger()
            return
        self._mode = _HEAD
        if self._buffer:
            self._head(self._buffer)
        else:
            self.go_on_reading()
            self._wait_for_head()

    def _wait_for_head(self) -> None:
        owner = self._owner
        owner.waiting[self] = None
        self.expect_within(owner.current().bounds.idle_timeout)

    def _head(self, buffer: bytes) -> None:
        """Serve the request whose head is complete in the buffer, or wait for more of it."""
        owner = self._owner
        if buffer.startswith(b"\r\n") and len(buffer) > 2 and not self._searched:
            buffer = buffer[2:]  # RFC 9112 §2.2: one empty line before a request is forgiven.
        policy = owner.current()  # once: a reload never changes an exchange in flight
        bounds = policy.bounds
        try:
            end = buffer.find(END_OF_HEAD)
            if end < 0:
                self._incomplete(buffer, bounds)
                return
            read = owner.read_head(self, buffer[: end + 4], policy)
        except Malformed as error:
            self._refuse(buffer, error)
            return
        owner.waiting.pop(self, None)
        self._mode = _BUSY
        self._deadline = 0.0
        self._buffer = buffer[end + 4 :]
        self._searched = 0
        self.began = self.received - len(buffer)
        owner.serve(self, policy, read)

    def _incomplete(self, buffer: bytes, bounds: RequestBounds) -> None:
        find_end_of_head(buffer, self._searched)
        if len(buffer) > bounds.max_header_bytes:
            raise head_too_large(buffer, bounds.max_target)
        if not self._searched:
            self.expect_within(bounds.header_timeout)
            if buffer[0] < 33 and buffer not in {b"\r\n", b"\r"}:
                raise malformed("no request line")
        self._searched = len(buffer)
        self._buffer = buffer
        self.go_on_reading()

    def _refuse(self, raw: bytes, error: Malformed) -> None:
        self._owner.waiting.pop(self, None)
        self._mode = _BUSY
        self._deadline = 0.0
        self._buffer = b""
        self.began = self.received - len(raw)
        self._owner.refuse_head(self, raw, error)

    # --- exchanges -----------------------------------------------------------------------------

    def exchange_ended(self, *, keep: bool, sending: bool = False) -> None:
        """Serve the next request, or close: once, by the exchange that is over.

        sending  a part of its request's body is still to come
        """
        self._sending = sending
        self.exchange = self._body = self._sink = self._stream = None
        if self.left:
            return
        if not keep or self._owner.draining:
            self._linger()
            return
        if self._buffer or self.full:
            # A client that pipelines requests takes turns with others, and one that does not read its
            # responses is not served further.
            self._mode = _TURN
            if self.full:
                self.expect_within(self._owner.current().bounds.idle_timeout)
            else:
                self.loop.call_soon(self._next)
            return
        self._mode = _HEAD
        if self._reading_stopped:
            self.go_on_reading()
        self._wait_for_head()

    # --- bodies --------------------------------------------------------------------------------

    @property
    def has_unread(self) -> bool:
        """Bytes have come that were not taken yet."""
        return self._buffer != b""

    def take_whole(self, length: int) -> bytes | None:
        """Return a body of a known length if all of it has come, else None."""
        buffer = self._buffer
        if not 0 <= length <= len(buffer):
            return None
        self._buffer = buffer[length:]
        return buffer[:length]

    def read_body(self, body: Body, sink: BodySink) -> None:
        """Hand the body to `sink`, now and as it comes."""
        self._mode = _BODY
        self._body = body
        self._sink = sink
        data, self._buffer = self._buffer, b""
        self.go_on_reading()
        if data or body.done:
            self._take_body(data)

    def stop_body(self) -> None:
        """Stop handing out the body; what comes of it waits."""
        if self._mode == _BODY:
            self._mode = _BUSY
            self._body = self._sink = None
            self._body_held = False

    def hold_body(self) -> None:
        """Hand out no more of the body until `release_body`: its sink cannot take it now."""
        self._body_held = True
        self.stop_reading()

    def release_body(self) -> None:
        """Hand out the body again."""
        self._body_held = False
        if self._mode == _BODY and self._buffer:
            self.loop.call_soon(self._go_on_with_body)
        else:
            self.go_on_reading()

    def _go_on_with_body(self) -> None:
        if self._mode == _BODY and not self._body_held:
            data, self._buffer = self._buffer, b""
            self.go_on_reading()
            self._take_body(data)

    def _take_body(self, data: bytes) -> None:
        if self._body_held or self._buffer:
            self._buffer += data
            return
        body, sink, exchange = self._body, self._sink, self.exchange
        assert body is not None
        assert sink is not None
        assert exchange is not None
        later = b""
        if len(data) > _BODY_TURN:
            data, later = data[:_BODY_TURN], data[_BODY_TURN:]
        try:
            piece, rest = body.take(data)
            done = body.done
            self._buffer = rest + later if rest else later
            if done:
                self._mode = _BUSY
                self._body = self._sink = None
                if len(self._buffer) > HIGH_WATER:
                    self.stop_reading()
            elif later:
                self.stop_reading()
                self.loop.call_soon(self._go_on_with_body)
            if piece:
                sink.body_piece(piece)
            if done:
                sink.body_ended()
        except Exception as error:  # noqa: BLE001  whatever breaks ends the exchange, in its one place for that
            self.stop_body()
            exchange.failed(error)

    def stream(self) -> ByteStream:
        """Read this connection by awaiting from now on."""
        self._mode = _STREAM
        self._stream = ByteStream(self, self._buffer)
        self._buffer = b""
        return self._stream

    # --- the end -------------------------------------------------------------------------------

    def _linger(self) -> None:
        """Close without a reset that would take the answer away from a client that still sends."""
        self._mode = _OVER
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        first, self._buffer = self._buffer, b""
        if transport.can_write_eof():
            transport.write_eof()
        sending = self._sending
        if sending and not self.lingering:
            self.lingering = self._owner.lingers(self)
            if not self.lingering:
                self._end()
                return
        self._over_left = lingering.MOST_BYTES if sending else lingering.SHORT_BYTES
        self._over_until = self.loop.time() + (lingering.LONGEST if sending else lingering.SHORT)
        self.go_on_reading()
        self._drop(first)

    def _drop(self, data: bytes) -> None:
        """Read on from a client that may not have read its answer yet, within bounds."""
        self._over_left -= len(data)
        left = self._over_until - self.loop.time()
        if self._over_left <= 0 or left <= 0:
            self._end()
        else:
            self.expect_within(min(left, lingering.SILENCE))

    def close(self) -> None:
        """Close once what was written has been sent; a client that does not read it is not waited for long."""
        self._end()

    def _end(self) -> None:
        # It counts until it is lost: a client that does not read keeps it open, within the bounds of `Lingering`.
        transport = self.transport
        if transport is None:
            return
        unsent = transport.get_write_buffer_size()
        transport.close()
        if unsent:
            self.loop.call_later(_UNREAD, self.abort)

    def leave_after_this(self) -> None:
        """Take no further request after the one that is being served."""
        if self.exchange is not None:
            self.exchange.last()

    def close_when_idle(self) -> None:
        """Close now if no exchange is under way; an exchange closes it at its end."""
        if self.exchange is None and self._mode != _OVER:
            self.close()

    def shut_down(self) -> None:
        """End now, whatever is under way."""
        exchange = self.exchange
        self.abort()
        if exchange is not None:
            exchange.shut_down()
