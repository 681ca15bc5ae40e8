"""One socket: what came and was not read yet, and whether more may be written.

Both sides of the proxy speak through a Connection: it has one reader and one writer at a time, bounds what
it holds by pausing the peer, and carries one deadline that costs nothing while it only moves away.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Final, cast

from sidecar.proxy.codec.body_framing import Body

_HIGH: Final = 64 * 1024
"""Bytes that may wait unread before the peer is paused; a single read of the loop may add to it."""
_RESET: Final = struct.pack("ii", 1, 0)  # on, for no time: close() sends RST (POSIX, SO_LINGER)


class PeerLeft(Exception):
    """The other end closed or broke the connection."""


class TooSlow(Exception):
    """The deadline passed."""


class Connection(asyncio.Protocol):
    """A connection's buffer, deadline and flow control."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_lost: Callable[[Connection], None] | None = None) -> None:
        self.loop = loop
        self.buffer = b""
        self.left = False
        self.broken = False  # it left by an error, not by closing
        self.received = 0
        self.taken = 0  # proxy.listener: of the received bytes, those before the current request
        self.sent = 0
        self.idle_since = 0.0  # proxy.upstream, while the connection waits in its pool
        self.on_lost = on_lost
        self.on_connected: Callable[[Connection], None] | None = None
        self._transport: asyncio.Transport | None = None
        self._paused_reading = False
        self.writing_paused = False
        self._reader: asyncio.Future[None] | None = None
        self._tap: Callable[[], bool] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._expired = False

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    # --- what the event loop calls -----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.on_connected is not None:
            self.on_connected(self)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self.buffer = self.buffer + data if self.buffer else data
        reader = self._reader
        if self._tap is not None and self._flows(self._tap):
            return
        if reader is not None:
            self._reader = None
            if not reader.done():
                reader.set_result(None)
        elif len(self.buffer) > _HIGH and not self._paused_reading:
            self._paused_reading = True
            self.transport.pause_reading()

    def _flows(self, tap: Callable[[], bool]) -> bool:
        """Let the tap take what came; return whether it goes on by itself."""
        try:
            if tap():
                return True
        except Exception as error:  # noqa: BLE001  it belongs to whoever waits for the flow
            self._wake(error)
        self._tap = None
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.left = True
        self.broken = exc is not None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake(PeerLeft())
        if self.on_lost is not None:
            self.on_lost(self)

    def pause_writing(self) -> None:
        self.writing_paused = True

    def resume_writing(self) -> None:
        self.writing_paused = False
        writer = self._writer
        if writer is not None:
            self._writer = None
            if not writer.done():
                writer.set_result(None)

    def _wake(self, error: Exception) -> None:
        for future in (self._reader, self._writer):
            if future is not None and not future.done():
                future.set_exception(error)
                future.exception()  # a waiter that was cancelled meanwhile must not be reported as never retrieved
        self._reader = self._writer = None

    # --- the deadline --------------------------------------------------------------------------

    def expect_within(self, seconds: float) -> None:
        """Move the deadline of the waits that follow; 0 takes it away."""
        self._expired = False
        if seconds <= 0:
            self._deadline = 0.0
            return
        self._deadline = deadline = self.loop.time() + seconds
        timer = self._timer
        if timer is None:
            self._timer = self.loop.call_at(deadline, self._check_deadline)
        elif deadline < timer.when():
            timer.cancel()
            self._timer = self.loop.call_at(deadline, self._check_deadline)

    def _check_deadline(self) -> None:
        self._timer = None
        deadline = self._deadline
        if deadline == 0.0:
            return
        if self.loop.time() + 0.001 < deadline:
            self._timer = self.loop.call_at(deadline, self._check_deadline)
            return
        self._expired = True
        self._wake(TooSlow())

    # --- reading -------------------------------------------------------------------------------

    async def more(self) -> None:
        """Wait until more bytes came; raise PeerLeft or TooSlow."""
        if self.left:
            raise PeerLeft
        if self._expired:
            raise TooSlow
        if self._paused_reading:
            self._paused_reading = False
            self.transport.resume_reading()
        self._reader = self.loop.create_future()
        await self._reader

    async def flow(self, tap: Callable[[], bool]) -> None:
        """Call `tap` for whatever comes, as it comes, until it returns False; raise what it raises.

        It takes bytes from `buffer` without a turn of the loop between: a stream's events pass at
        the cost of a call.
        """
        self._tap = tap
        try:
            await self.more()
        finally:
            self._tap = None

    async def read(self, body: Body) -> bytes:
        """Return the next piece of a body, b"" at its end."""
        while True:
            if self.buffer:
                piece, self.buffer = body.take(self.buffer)
                if piece or body.done:
                    return piece
            elif body.done:
                return b""
            await self.more()

    # --- writing -------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Hand bytes to the socket; raise PeerLeft when nobody is there any more."""
        if self.left:
            raise PeerLeft
        self.sent += len(data)
        self.transport.write(data)

    async def drain(self) -> None:
        """Wait until the peer has taken enough of what was written."""
        if self.left:
            raise PeerLeft
        if self.writing_paused:
            if self._expired:
                raise TooSlow
            self._writer = self.loop.create_future()
            await self._writer

    def close(self) -> None:
        """Close once what was written has been sent."""
        if self._transport is not None and not self.left:
            self._transport.close()

    def abort(self) -> None:
        """Close now, and throw away what was not sent yet."""
        if self._transport is not None:
            self._transport.abort()

    def reset(self) -> None:
        """Close so that the peer cannot take the end of the connection for the end of the answer."""
        sock = self._transport.get_extra_info("socket") if self._transport is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.abort()
