"""The backend's side of the proxy: one request at a time, its response handed on as it comes."""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.proxy.body_framing import Body, CloseBody, LengthBody
from sidecar.proxy.codec.chunked import ChunkedResponse
from sidecar.proxy.connection import HIGH_WATER, ByteStream, Connection, PeerLeft, TooSlow, unacknowledged
from sidecar.proxy.keep_alive import promised
from sidecar.proxy.strict_rules import CHUNKED, END_OF_HEAD, UNTIL_CLOSE, Malformed
from sidecar.proxy.upstream_error import UpstreamError
from sidecar.vocabulary import Code

if TYPE_CHECKING:
    from sidecar.proxy.codec.response_heads import ResponseHead, ResponseHeadReader

_MAX_HEAD: Final = 64 * 1024
_MAX_INTERIM: Final = 16

_IDLE: Final = 0  # no request is under way
_HEAD: Final = 1  # the head of a response is awaited
_HELD: Final = 2  # the head has come; what follows waits until it is asked for
_BODY: Final = 3  # the body is handed on
_STREAM: Final = 4  # a WebSocket reads
_DONE: Final = 5  # the response is complete


class Receiver(Protocol):
    """Takes the response to a request."""

    def answered(self, answer: ResponseHead) -> None:
        """The head of the final response has come; its body waits for `take_whole` or `deliver`."""
        ...

    def interim(self, answer: ResponseHead) -> None:
        """Take a 1xx response other than 101; the final one follows (RFC 9110 §15.2)."""
        ...

    def failed(self, error: Exception) -> None:
        """No (complete) response will come."""
        ...

    def backend_takes_more(self) -> None:
        """Go on writing: the backend has read enough of what was written."""
        ...


class ResponseSink:
    """Takes a response's body, piece by piece."""

    __slots__ = ()

    def response_piece(self, data: bytes) -> None:
        """Take the next bytes of the body, without its framing."""
        raise NotImplementedError

    def response_ended(self) -> None:
        """Take the end of the body; called once, after the last piece."""
        raise NotImplementedError


class BackendConnection(Connection):
    """One connection to a backend."""

    def __init__(self, loop: asyncio.AbstractEventLoop, reader: ResponseHeadReader) -> None:
        super().__init__(loop)
        # Those first that each piece of a body needs: they are side by side in memory.
        self._mode = _IDLE
        self._receiver: Receiver | None = None
        self._held = False
        self._buffer = b""
        self._turn = 0
        self._body: Body | None = None
        self._sink: ResponseSink | None = None
        self._idle = 0.0
        self._taken = 0  # of the buffer, while a body is handed on in turns
        self._again = b""  # the beginning of a body that was handed back, without its framing
        self._method = ""
        self._interim = 0
        self._stream: ByteStream | None = None
        self.idle_since = 0.0  # proxy.upstream, while the connection waits in its pool
        self.rest = 0.0  # how long it had waited there when it was taken out
        self.promise: float | None = None  # seconds of rest that the last response promised
        self.spoiled = False  # bytes came that belong to no response
        self._unacknowledged = False
        self._reader = reader
        self._poll = select.poll()
        self.on_lost: Pool | None = None

    @property
    def has_unread(self) -> bool:
        """Bytes have come that belong to no response."""
        return self.spoiled or self._buffer != b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Register the socket with the poll that `is_clean` asks."""
        super().connection_made(transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def is_silent(self) -> bool:
        """Return whether nothing waits in the socket, the end of the connection included.

        The loop may read the client's request before it learns, in the same turn, that the backend
        has hung up.
        """
        return not self._poll.poll(0)

    def ask(self, data: bytes, method: str, receiver: Receiver, within: float) -> None:
        """Send a request (or its beginning); its response goes to `receiver`. `within` 0: no deadline yet."""
        self._receiver = receiver
        self._method = method
        self._mode = _HEAD
        self._interim = 0
        self.write(data)
        self.expect_within(within)

    def forget(self) -> None:
        """Hand nothing on any more."""
        self._receiver = self._sink = self._body = None
        self._deadline = 0.0
        self._held = False
        if self._reading_stopped:
            self.go_on_reading()
        if self._mode != _DONE:
            self._mode = _IDLE

    # --- what the event loop calls -------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Hand bytes to the reader of the head or body; bytes that belong to no response abort the connection."""
        self.received += len(data)
        mode = self._mode
        if mode == _STREAM:
            assert self._stream is not None
            self._stream.arrived(data)
            return
        receiver = self._receiver
        if receiver is None:
            self.spoiled = True
            self.abort()
            return
        try:
            if mode == _BODY:
                self._take_body(data)
            elif mode == _HEAD:
                self._head(self._buffer + data if self._buffer else data)
            else:
                self._buffer += data
                if len(self._buffer) > HIGH_WATER:
                    self.stop_reading()
        except Malformed as error:
            receiver.failed(UpstreamError(error.code, error.reason))
        except Exception as error:  # noqa: BLE001  whatever breaks ends the exchange, in its one place for that
            receiver.failed(error)

    def eof_received(self) -> bool | None:
        """The backend sends no more; asked while the socket can still tell what it has read."""
        self._unacknowledged = self._mode == _HEAD and unacknowledged(self.transport) > 0
        return super().eof_received()

    def timed_out(self) -> None:
        """Fail the receiver: BACKEND_TIMEOUT before the head of a response, TooSlow in its body."""
        if self._stream is not None:
            self._stream.timed_out()
        elif self._receiver is not None:
            if self._mode == _HEAD:
                self._receiver.failed(UpstreamError(Code.BACKEND_TIMEOUT, "no answer in time"))
            else:
                self._receiver.failed(TooSlow("silence"))

    def lost(self) -> None:
        """Report the end to the pool and to the receiver, with whether the request may have been read."""
        if self.on_lost is not None:
            self.on_lost.lost(self)
        if self._stream is not None:
            self._stream.lost()
            return
        receiver = self._receiver
        if receiver is None:
            return
        try:
            if self._mode == _HEAD:
                unsent = not self._buffer and not self._interim
                unread = unsent and (self.broken or self._unacknowledged)
                receiver.failed(
                    UpstreamError(Code.BACKEND_BROKEN, "closed without an answer", unsent=unsent, unread=unread)
                )
            elif self._mode in (_BODY, _HELD) and not self._ended_by_closing():
                receiver.failed(PeerLeft())
        except Exception as error:  # noqa: BLE001  as above
            receiver.failed(error)

    def writable(self) -> None:
        """Let the WebSocket or the receiver go on writing."""
        if self._stream is not None:
            self._stream.writable()
        elif self._receiver is not None:
            self._receiver.backend_takes_more()

    # --- responses -----------------------------------------------------------------------------

    def _head(self, buffer: bytes) -> None:
        receiver = self._receiver
        assert receiver is not None
        while True:
            end = buffer.find(END_OF_HEAD)
            if (len(buffer) if end < 0 else end) > _MAX_HEAD:  # also of one that came in a single read
                raise UpstreamError(Code.BACKEND_BROKEN, "the answer's head is too large")
            if end < 0:
                self._buffer = buffer
                return
            end += 4
            answer = self._reader.read(buffer[:end], self._method)
            buffer = buffer[end:]
            if answer.status >= 200 or answer.status == 101:
                break
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                raise UpstreamError(Code.BACKEND_BROKEN, "too many interim answers")
            if answer.status != 100:
                receiver.interim(answer)
        self._buffer = buffer
        self._mode = _HELD
        self._deadline = 0.0
        self.promise = promised(answer.index.get(b"keep-alive"))
        framing = answer.framing
        if framing == CHUNKED:
            self._body = ChunkedResponse()
        else:
            self._body = CloseBody() if framing == UNTIL_CLOSE else LengthBody(framing)
        receiver.answered(answer)

    def peek_whole(self) -> bytes | None:
        """Return the body if its length is known and all of it has come, else None; it waits on."""
        body, buffer = self._body, self._buffer
        if type(body) is not LengthBody or body.left > len(buffer) or self._again:
            return None
        return buffer if body.left == len(buffer) else buffer[: body.left]

    def take_whole(self, most: int | None = None) -> bytes | None:
        """Return the body if its length is known, all of it has come, and it is at most `most` bytes; else None."""
        body, buffer = self._body, self._buffer
        if type(body) is not LengthBody or self._again:
            return None
        length = body.left
        if length > len(buffer) or (most is not None and length > most):
            return None
        self._mode = _DONE
        self._buffer = buffer[length:]
        return buffer[:length]

    def deliver(self, sink: ResponseSink, turn: int, idle: float) -> None:
        """Hand the body to `sink`, now and as it comes.

        turn  bytes that are handed on before other connections get their turn; 0: all
        idle  seconds of silence after which it has failed
        """
        self._sink = sink
        self._turn = turn
        self._idle = idle
        self._mode = _BODY
        self.expect_within(idle)
        body = self._body
        assert body is not None
        again, self._again = self._again, b""
        if again:
            sink.response_piece(again)
            if self._sink is not sink:
                return  # it has ended meanwhile
        data = self._unread()
        self._buffer, self._taken = b"", 0
        if self.left:
            # It closed while something had to be waited for.
            if data or body.done:
                self._take_body(data)
            if self._waits_for_body() and not self._ended_by_closing():
                raise PeerLeft
            return
        self.go_on_reading()
        if data or body.done:
            self._take_body(data)

    def hand_back(self, data: bytes, *, whole: bool) -> None:
        """Take back what the sink was given: the response waits as if it had just come.

        whole  it is all of the body; else what follows comes behind it
        """
        self._sink = None
        self._deadline = 0.0
        if whole:
            self._mode = _DONE  # that the connection ends now is no matter
            self._body = LengthBody(len(data))
            self._buffer = data + self._buffer
        else:
            self._mode = _HELD
            self._again = data

    def _take_body(self, data: bytes) -> None:
        if self._held or self._buffer:
            self._buffer, self._taken = self._unread() + data, 0
            if len(self._buffer) > HIGH_WATER:
                self.stop_reading()
        elif 0 < self._turn < len(data):
            self._buffer = data
            self._take_turn()
        else:
            self._hand_on(data)

    def _take_turn(self) -> None:
        """Hand on the next bytes of the buffer."""
        buffer, start = self._buffer, self._taken
        end = start + self._turn
        if self._turn == 0 or end >= len(buffer):
            self._buffer, self._taken = b"", 0
            self._hand_on(buffer[start:] if start else buffer)
        else:
            self._taken = end
            self._hand_on(buffer[start:end])

    def _hand_on(self, data: bytes) -> None:
        body, sink = self._body, self._sink
        assert body is not None
        assert sink is not None
        self.expect_within(self._idle)
        piece, rest = body.take(data)
        if piece:
            sink.response_piece(piece)
            if self._sink is not sink:
                return  # it has ended meanwhile
        if body.done:
            self._mode = _DONE
            self._buffer, self._taken = rest + self._unread(), 0
            self._deadline = 0.0
            sink.response_ended()
        elif self._buffer:
            self.stop_reading()
            if not self._held:
                self.loop.call_soon(self._go_on)

    def _unread(self) -> bytes:
        return self._buffer[self._taken :] if self._taken else self._buffer

    def _ended_by_closing(self) -> bool:
        """End a body that ends with its connection; return whether it was one, and ended in order."""
        body, sink = self._body, self._sink
        if not isinstance(body, CloseBody) or self.broken:
            return False
        if sink is None or self._held or self._buffer:
            return True  # once what has come is handed on
        body.done = True
        self._mode = _DONE
        sink.response_ended()
        return True

    def hold(self) -> None:
        """Hand on no more of the body until `release`: its sink cannot take it now."""
        self._held = True
        self._deadline = 0.0
        self.stop_reading()

    def release(self) -> None:
        """Hand on the body again."""
        if not self._held:
            return
        self._held = False
        if self._mode == _BODY:
            self.expect_within(self._idle)
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        receiver = self._receiver
        if self._mode != _BODY or self._held or receiver is None:
            return
        try:
            if self._buffer:
                self._take_turn()
            if self._waits_for_body():
                if not self.left:
                    self.go_on_reading()
                elif not self._ended_by_closing():
                    receiver.failed(PeerLeft())
        except Malformed as error:
            receiver.failed(UpstreamError(error.code, error.reason))
        except Exception as error:  # noqa: BLE001  as above
            receiver.failed(error)

    def _waits_for_body(self) -> bool:
        return self._mode == _BODY and not self._held and not self._buffer

    def stream(self) -> ByteStream:
        """Read this connection by awaiting from now on."""
        self._mode = _STREAM
        self._stream = ByteStream(self, self._buffer)
        self._buffer = b""
        self._receiver = None
        return self._stream


class Pool(Protocol):
    """Where a connection belongs: told once, when it is gone."""

    def lost(self, connection: BackendConnection) -> None:
        """Give back the place of a connection that is gone."""
        ...
