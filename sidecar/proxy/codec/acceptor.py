"""Accepts connections whose peers may send a PROXY header first: it is read before TLS and before HTTP begin."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidecar.proxy.codec.proxy_protocol import INCOMPLETE, LONGEST, BadHeader, ProxiedPeer, read_header

_BACKLOG: Final = 1024
_PATIENCE: Final = 5.0
"""Seconds that a proxy has for its header."""
_MOST_WAITING: Final = 1024
_AT_ONCE: Final = 64
"""Connections that are taken before others get their turn of the loop."""
_PAUSE: Final = 0.01


class Acceptor:
    """Stands for asyncio's server: `sockets` and `close`."""

    def __init__(
        self,
        sockets: list[socket.socket],
        connect: Callable[[ProxiedPeer | None], asyncio.Protocol],
        trusts: Callable[[str], bool],
        tls: ssl.SSLContext | None,
        handshake: float,
    ) -> None:
        self.sockets = sockets
        self._loop = asyncio.get_running_loop()
        self._connect = connect
        self._trusts = trusts
        self._tls = tls
        self._handshake = handshake
        self._tasks: set[asyncio.Task[None]] = set()
        for each in sockets:
            self._loop.add_reader(each.fileno(), self._accept, each)

    def close(self) -> None:
        """Accept no more; peers whose header has not come are disconnected."""
        for each in self.sockets:
            self._loop.remove_reader(each.fileno())
            path = each.getsockname() if each.family == socket.AF_UNIX else ""
            each.close()
            if path:
                remove_socket(path)
        for task in list(self._tasks):
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until no connection is being accepted."""
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                sock, address = listening.accept()
            except OSError:
                return  # none waits any more, or no descriptor is left: the loop asks again
            sock.setblocking(False)
            if len(self._tasks) >= _MOST_WAITING:
                sock.close()
                continue
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = str(address[0]) if isinstance(address, tuple) else ""
            task = self._loop.create_task(self._begin(sock, peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _begin(self, sock: socket.socket, peer: str) -> None:
        try:
            proxied = None
            if self._trusts(peer):
                async with asyncio.timeout(_PATIENCE):
                    proxied = await self._header(sock)
            await self._loop.connect_accepted_socket(
                lambda: self._connect(proxied),
                sock,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake if self._tls is not None else None,
            )
        except (OSError, BadHeader, TimeoutError):
            sock.close()
        except BaseException:
            sock.close()
            raise

    async def _header(self, sock: socket.socket) -> ProxiedPeer | None:
        """Take a header off the socket, and nothing behind it: the bytes that follow may be TLS."""
        seen = -1
        while True:
            if seen >= 0:
                await asyncio.sleep(_PAUSE)  # what has come is not consumed: the socket would stay readable
            else:
                await self._readable(sock)
            data = sock.recv(LONGEST, socket.MSG_PEEK)
            if not data:
                raise BadHeader("closed")
            size, proxied = read_header(data)
            if size == 0:
                return None
            if size != INCOMPLETE:
                sock.recv(size)
                return proxied
            seen = len(data)

    async def _readable(self, sock: socket.socket) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        number = sock.fileno()
        self._loop.add_reader(number, _wake, waiter)
        try:
            await waiter
        finally:
            self._loop.remove_reader(number)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def tcp_sockets(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets for each address of a host, as asyncio makes them; raises OSError."""
    made: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            made.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.setblocking(False)
            sock.listen(_BACKLOG)
    except BaseException:
        for each in made:
            each.close()
        raise
    return made


def unix_socket(path: str) -> socket.socket:
    """Return a listening Unix socket for its owner and group; raises OSError, also when a process listens there."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _make_way(path)
        sock.bind(path)
        Path(path).chmod(0o660)
        sock.setblocking(False)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def remove_socket(path: str) -> None:
    """Remove the path of a socket that is closed."""
    with contextlib.suppress(OSError):
        Path(path).unlink()


def _make_way(path: str) -> None:
    """Remove a socket that a process left behind; anything else stays."""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "is a file already")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return
    raise OSError(errno.EADDRINUSE, "in use")
