"""One socket: flow control in both directions, and a deadline whose timer is set again only when it is reached.

Both sides of the proxy are connections; what arrives is handled by what derives from this class.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from typing import Final

HIGH_WATER: Final = 64 * 1024
"""Bytes that may wait unread before the peer is paused; a single read of the loop may add to it."""
_RESET: Final = struct.pack("ii", 1, 0)  # on, for no time: close() sends RST (POSIX, SO_LINGER)


class PeerLeft(Exception):
    """The other end closed or broke the connection."""


class TooSlow(Exception):
    """The deadline passed."""


class Connection:
    """A socket with a deadline and flow control. Derived classes say what happens when something does.

    Its `SocketProtocol` tells it what happens on the socket.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.transport: asyncio.Transport | None = None
        self.left = False
        self.broken = False  # it left by an error, not by closing
        self.received = 0
        self.sent = 0
        self._reading_stopped = False
        self.full = False  # the peer does not take what is written: wait until it is `writable`
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    # --- what derived classes do ---------------------------------------------------------------

    def timed_out(self) -> None:
        """The deadline has passed."""
        raise NotImplementedError

    def lost(self) -> None:
        """The connection is gone; `left` and `broken` are set."""
        raise NotImplementedError

    def writable(self) -> None:
        """The peer takes bytes again."""
        raise NotImplementedError

    # --- what the event loop calls -------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Take bytes off the socket."""
        raise NotImplementedError

    def eof_received(self) -> bool | None:
        """The peer sends no more: the transport closes when this returns None."""
        return None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Note whether it was closed or broken, cancel the deadline, and call `lost`."""
        self.left = True
        self.broken = exc is not None
        self.transport = None
        self._deadline = 0.0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.lost()

    def pause_writing(self) -> None:
        """Set `full`: the peer does not read, so nothing more should be written."""
        self.full = True

    def resume_writing(self) -> None:
        """Clear `full` and call `writable`."""
        self.full = False
        self.writable()

    # --- the deadline --------------------------------------------------------------------------

    def expect_within(self, seconds: float) -> None:
        """Move the deadline; 0 takes it away."""
        if seconds <= 0:
            self._deadline = 0.0
            return
        self._deadline = deadline = self.loop.time() + seconds
        timer = self._timer
        if timer is None or deadline < self._timer_at:
            if self.left:
                return
            if timer is not None:
                timer.cancel()
            self._timer_at = deadline
            self._timer = self.loop.call_at(deadline, self._check_deadline)

    def _check_deadline(self) -> None:
        self._timer = None
        deadline = self._deadline
        if deadline == 0.0 or self.left:
            return
        if self.loop.time() + 0.001 < deadline:
            self._timer_at = deadline
            self._timer = self.loop.call_at(deadline, self._check_deadline)
            return
        self._deadline = 0.0
        self.timed_out()

    # --- reading -------------------------------------------------------------------------------

    def stop_reading(self) -> None:
        """Take no more bytes off the socket: the peer has to wait."""
        if not self._reading_stopped and self.transport is not None:
            self._reading_stopped = True
            self.transport.pause_reading()

    def go_on_reading(self) -> None:
        """Take bytes off the socket again."""
        if self._reading_stopped:
            self._reading_stopped = False
            if self.transport is not None and not self.transport.is_closing():
                self.transport.resume_reading()

    # --- writing -------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Hand bytes to the socket; raise PeerLeft when the peer is gone."""
        transport = self.transport
        if transport is None:
            raise PeerLeft
        self.sent += len(data)
        transport.write(data)

    def close(self) -> None:
        """Close once what was written has been sent."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close now, and throw away what was not sent yet."""
        if self.transport is not None:
            self.transport.abort()

    def reset(self) -> None:
        """Close so that the peer cannot take the end of the connection for the end of the answer."""
        sock = self.transport.get_extra_info("socket") if self.transport is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.abort()


def unacknowledged(transport: asyncio.BaseTransport | None) -> int:
    """Return the bytes written to a socket that the other end's machine has not acknowledged; 0 if unknown."""
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), "little")  # tcp(7): SIOCOUTQ
    except OSError:
        return 0


class ByteStream:
    """A connection that is read by awaiting: what WebSocket relays do.

    `buffer` is what came and was not taken yet; a reader that takes from it puts the rest back.
    """

    def __init__(self, connection: Connection, first: bytes = b"") -> None:
        self.connection = connection
        self.buffer = first
        self._expired = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    @property
    def left(self) -> bool:
        """Whether the connection is gone."""
        return self.connection.left

    @property
    def broken(self) -> bool:
        """Whether it ended by an error."""
        return self.connection.broken

    @property
    def received(self) -> int:
        """Bytes that have come on this connection in all."""
        return self.connection.received

    # --- what the connection tells -------------------------------------------------------------

    def arrived(self, data: bytes) -> None:
        """Add bytes to the buffer and wake the reader; without one, stop reading beyond HIGH_WATER."""
        self.buffer = self.buffer + data if self.buffer else data
        reader = self._reader
        if reader is not None:
            self._reader = None
            if not reader.done():
                reader.set_result(None)
        elif len(self.buffer) > HIGH_WATER:
            self.connection.stop_reading()

    def writable(self) -> None:
        """Wake the writer that waits in `drain`."""
        writer = self._writer
        if writer is not None:
            self._writer = None
            if not writer.done():
                writer.set_result(None)

    def timed_out(self) -> None:
        """Raise TooSlow in every wait, now and later."""
        self._expired = True
        self._wake(TooSlow())

    def lost(self) -> None:
        """Raise PeerLeft in the waits that are under way."""
        self._wake(PeerLeft())

    def _wake(self, error: Exception) -> None:
        for future in (self._reader, self._writer):
            if future is not None and not future.done():
                future.set_exception(error)
                future.exception()  # a waiter that was cancelled meanwhile must not be reported as never retrieved
        self._reader = self._writer = None

    # --- what relays ask for -------------------------------------------------------------------

    def expect_within(self, seconds: float) -> None:
        """Move the deadline of the waits that follow; 0 takes it away."""
        self._expired = False
        self.connection.expect_within(seconds)

    async def more(self) -> None:
        """Wait until more bytes came; raise PeerLeft or TooSlow."""
        if self.left:
            raise PeerLeft
        if self._expired:
            raise TooSlow
        self.connection.go_on_reading()
        self._reader = self.connection.loop.create_future()
        await self._reader

    def write(self, data: bytes) -> None:
        """Hand bytes to the socket; raise PeerLeft when the peer is gone."""
        self.connection.write(data)

    async def drain(self) -> None:
        """Wait until the peer has taken enough of what was written."""
        if self.left:
            raise PeerLeft
        if self.connection.full:
            if self._expired:
                raise TooSlow
            self._writer = self.connection.loop.create_future()
            await self._writer
