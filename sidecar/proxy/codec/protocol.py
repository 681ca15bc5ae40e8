"""aiohttp's protocol of a socket, in front of a connection of ours."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from aiohttp.base_protocol import BaseProtocol


class SocketEvents(Protocol):
    """What a connection is told of its socket; as asyncio.Protocol, whose names these are."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """The socket is open."""
        ...

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is closed; `exc` is None when it was closed in order."""
        ...

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        ...

    def eof_received(self) -> bool | None:
        """The peer sends no more."""
        ...

    def pause_writing(self) -> None:
        """The peer does not take what is written."""
        ...

    def resume_writing(self) -> None:
        """It does again."""
        ...


class SocketProtocol(BaseProtocol):
    """Hands the events of a socket to a connection.

    A connection derives from nothing of aiohttp's, so that it can be compiled; the loop calls its
    `data_received` without a call in between.
    """

    __slots__ = ("_connection", "data_received")

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: SocketEvents) -> None:
        super().__init__(loop)
        self._connection = connection
        self.data_received = connection.data_received  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport, set TCP_NODELAY, and hand the transport on."""
        super().connection_made(transport)
        self._connection.connection_made(cast(asyncio.Transport, transport))

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the transport, and say so."""
        super().connection_lost(exc)
        self._connection.connection_lost(exc)

    def eof_received(self) -> bool | None:
        """Hand it on."""
        return self._connection.eof_received()

    def pause_writing(self) -> None:
        """Note it, and hand it on."""
        super().pause_writing()
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Note it, and hand it on."""
        super().resume_writing()
        self._connection.resume_writing()
