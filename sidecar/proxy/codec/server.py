"""aiohttp's server, runner and sites, with connections of our own: sockets, TLS, and the order of their end."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, NoReturn, Protocol, TypeAlias, cast

from aiohttp import web

from sidecar.proxy.codec.acceptor import Acceptor, remove_socket, tcp_sockets, unix_socket
from sidecar.proxy.codec.proxy_protocol import ProxiedPeer

_BACKLOG: Final = 1024
_HANDSHAKE: Final = 10.0
"""Seconds that a client has for the TLS handshake."""


class ServedConnection(Protocol):
    """What the server needs of a connection."""

    def close_when_idle(self) -> None:
        """Close now if no exchange is under way, and otherwise at its end."""
        ...

    def shut_down(self) -> None:
        """Close now, whatever is under way."""
        ...


Connect: TypeAlias = Callable[[ProxiedPeer | None], asyncio.Protocol]
"""Makes a connection; the argument is what a proxy said of its peer before its first byte."""


class _Server(web.Server):
    """Makes our connections where aiohttp would make its own, which begin a task each."""

    def __init__(self, connect: Connect) -> None:
        super().__init__(_never_called)
        self._connect = connect
        self.served: set[ServedConnection] = set()

    def __call__(self) -> Any:
        return self._connect(None)

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


class _UnixSite(web.BaseSite):
    """The path of a Unix socket, for the owner and the group; a socket without a listening process is replaced."""

    def __init__(self, runner: web.ServerRunner, path: str, tls: ssl.SSLContext | None) -> None:
        super().__init__(runner, ssl_context=tls, backlog=_BACKLOG)
        self._path = path

    @property
    def name(self) -> str:
        return f"unix:{self._path}"

    async def start(self) -> None:
        await super().start()
        server = self._runner.server
        assert server is not None
        sock = unix_socket(self._path)
        self._server = await asyncio.get_running_loop().create_unix_server(
            cast(Callable[[], asyncio.Protocol], server),
            sock=sock,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=_HANDSHAKE if self._ssl_context else None,
        )

    async def stop(self) -> None:
        await super().stop()
        if self._server is not None:  # else the path is another process's
            remove_socket(self._path)


class _ProxiedSite(web.BaseSite):
    """An address whose trusted peers may speak the PROXY protocol, before TLS too."""

    def __init__(
        self,
        runner: web.ServerRunner,
        sockets: Callable[[], list[socket.socket]],
        connect: Connect,
        trusts: Callable[[str], bool],
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(runner, ssl_context=tls, backlog=_BACKLOG)
        self._sockets = sockets
        self._connect = connect
        self._trusts = trusts

    @property
    def name(self) -> str:
        return "proxied"

    async def start(self) -> None:
        await super().start()
        acceptor = Acceptor(self._sockets(), self._connect, self._trusts, self._ssl_context, _HANDSHAKE)
        self._server = cast(asyncio.Server, acceptor)


class SocketServer:
    """Listens on one address and makes a connection of each client.

    trusts  tells of a peer whether its PROXY headers are read; None: no peer sends them
    """

    def __init__(
        self, connect: Connect, tls: ssl.SSLContext | None, trusts: Callable[[str], bool] | None = None
    ) -> None:
        self._server = _Server(connect)
        self._runner = web.ServerRunner(self._server, handle_signals=False)
        self._connect = connect
        self._tls = tls
        self._trusts = trusts

    async def open(self, host: str, port: int, path: str = "") -> None:
        """Listen on host and port, or on the Unix socket at `path`; raises OSError."""
        await self._runner.setup()
        site: web.BaseSite
        if self._trusts is not None:
            made = (lambda: [unix_socket(path)]) if path else (lambda: tcp_sockets(host, port))
            site = _ProxiedSite(self._runner, made, self._connect, self._trusts, self._tls)
        elif path:
            site = _UnixSite(self._runner, path, self._tls)
        else:
            site = _Site(self._runner, host, port, self._tls)
        await site.start()

    @property
    def port(self) -> int:
        """The port that is listened on, also when any was asked for; 0 for a Unix socket."""
        address = self._runner.addresses[0]
        return 0 if isinstance(address, str) else int(address[1])

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
