"""aiohttp's server, runner and sites, with connections of our own: sockets, TLS, and the order of their end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final, NoReturn, Protocol, cast

from aiohttp import web

_BACKLOG: Final = 1024
_HANDSHAKE: Final = 10.0
"""Seconds that a client has for the TLS handshake."""


class ServedConnection(Protocol):
    """What the server needs of a connection."""

    def close_when_idle(self) -> None: ...

    def shut_down(self) -> None: ...


class _Server(web.Server):
    """Makes our connections where aiohttp would make its own, which begin a task each."""

    def __init__(self, connect: Callable[[], asyncio.Protocol]) -> None:
        super().__init__(_never_called)
        self._connect = connect
        self.served: set[ServedConnection] = set()

    def __call__(self) -> Any:
        return self._connect()

    def pre_shutdown(self) -> None:
        """What is idle closes; each exchange under way closes its connection at its end."""
        for connection in list(self.served):
            connection.close_when_idle()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109  its time was the drain
        for connection in list(self.served):
            connection.shut_down()


class _Site(web.BaseSite):
    """An address; differs from aiohttp's by the time that a TLS handshake may take."""

    def __init__(self, runner: web.ServerRunner, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(runner, ssl_context=tls, backlog=_BACKLOG)
        self._host = host
        self._port = port

    @property
    def name(self) -> str:
        return f"{'https' if self._ssl_context else 'http'}://{self._host}:{self._port}"

    async def start(self) -> None:
        await super().start()
        server = self._runner.server
        assert server is not None
        self._server = await asyncio.get_running_loop().create_server(
            cast(Callable[[], asyncio.Protocol], server),
            self._host,
            self._port,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=_HANDSHAKE if self._ssl_context else None,
        )


class SocketServer:
    """Listens on one address and makes a connection of each client."""

    def __init__(self, connect: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None) -> None:
        self._server = _Server(connect)
        self._runner = web.ServerRunner(self._server, handle_signals=False)
        self._tls = tls

    async def open(self, host: str, port: int) -> None:
        """Listen; raises OSError."""
        await self._runner.setup()
        await _Site(self._runner, host, port, self._tls).start()

    @property
    def port(self) -> int:
        """The port that is listened on, also when any was asked for."""
        return int(self._runner.addresses[0][1])

    def made(self, connection: ServedConnection) -> None:
        """Count a connection among those that the end of the server concerns."""
        self._server.served.add(connection)

    def lost(self, connection: ServedConnection) -> None:
        """Forget a connection."""
        self._server.served.discard(connection)

    async def stop_listening(self) -> None:
        """Accept no more, and close what is idle."""
        for site in list(self._runner.sites):
            await site.stop()
        self._server.pre_shutdown()

    async def close(self) -> None:
        """End every connection now."""
        await self._runner.cleanup()


async def _never_called(_: Any) -> NoReturn:
    raise AssertionError("aiohttp's request loop is not used")
