"""The management listener's sockets: they accept connections also when the process has run out of file descriptors.

A flood on the public listener may take every descriptor. Probes and operators must be answered then, so a
few descriptors are held here and closed, one for each connection, when `accept` finds none left.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Final, cast

from aiohttp import web

SPARE: Final = 8
ACCEPTED_AT_ONCE: Final = 32  # connections that are accepted before others have their turn
PAUSE: Final = 0.05  # seconds until `accept` is tried again when even the spare descriptors are used up
_NONE_LEFT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class SpareDescriptors:
    """Descriptors that are held to be closed when one is needed."""

    def __init__(self, most: int = SPARE) -> None:
        self._most = most
        self._held: list[int] = []
        self.refill()

    def lend(self) -> bool:
        """Close one, so that the next call that needs a descriptor finds it; False when none is held."""
        if not self._held:
            return False
        os.close(self._held.pop())
        return True

    def refill(self) -> None:
        """Hold as many as there should be, if they can be had."""
        try:
            while len(self._held) < self._most:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            pass  # still none: the next connection that ends tries again

    def close(self) -> None:
        """Close all."""
        while self.lend():
            pass


class _AcceptingServer:
    """Accepts on sockets of its own; what aiohttp's runner needs of an asyncio server."""

    def __init__(
        self,
        sockets: list[socket.socket],
        connect: Callable[[], asyncio.Protocol],
        spare: SpareDescriptors,
        free_one: Callable[[], bool],
    ) -> None:
        self.sockets = sockets
        self._connect = connect
        self._spare = spare
        self._free_one = free_one
        self._loop = asyncio.get_running_loop()
        self._accepted: set[asyncio.Task[None]] = set()
        for listening in sockets:
            self._loop.add_reader(listening, self._accept, listening)

    def close(self) -> None:
        """Accept no more."""
        for listening in self.sockets:
            self._loop.remove_reader(listening)
            listening.close()
        self.sockets = []
        for task in self._accepted:
            task.cancel()

    def _accept(self, listening: socket.socket) -> None:
        self._spare.refill()
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, _address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in _NONE_LEFT:
                    if self._spare.lend():
                        continue
                    # The socket stays readable: without a pause this would be called again and again.
                    self._loop.remove_reader(listening)
                    self._loop.call_later(0 if self._free_one() else PAUSE, self._resume, listening)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._serve(connection))
            self._accepted.add(task)
            task.add_done_callback(self._accepted.discard)

    def _resume(self, listening: socket.socket) -> None:
        if listening in self.sockets:
            self._loop.add_reader(listening, self._accept, listening)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._connect, connection)
        except OSError:
            connection.close()  # the client is gone already


class SpareSite(web.BaseSite):
    """An address of the management listener, accepted on with spare descriptors.

    `free_one` is called when those are used up, too: it closes a connection that can be spared, or returns False.
    """

    def __init__(
        self, runner: web.ServerRunner, host: str, port: int, spare: SpareDescriptors, free_one: Callable[[], bool]
    ) -> None:
        super().__init__(runner, backlog=128)
        self._host = host
        self._port = port
        self._spare = spare
        self._free_one = free_one

    @property
    def name(self) -> str:
        """The URL of this address, as aiohttp's runner shows it."""
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen. Raises OSError when the address cannot be had."""
        await super().start()
        found = await asyncio.get_running_loop().getaddrinfo(
            self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        sockets: list[socket.socket] = []
        try:
            for family, kind, protocol, _, address in found:
                sockets.append(_listening(family, kind, protocol, address, self._backlog))
        except OSError:
            for each in sockets:
                each.close()
            raise
        server = self._runner.server
        assert server is not None
        made = _AcceptingServer(sockets, cast(Callable[[], asyncio.Protocol], server), self._spare, self._free_one)
        self._server = cast(asyncio.AbstractServer, made)


def _listening(family: int, kind: int, protocol: int, address: tuple[object, ...], backlog: int) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setblocking(False)
        made.bind(address)
        made.listen(backlog)
    except OSError:
        made.close()
        raise
    return made
