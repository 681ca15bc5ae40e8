"""Connections to one backend: opened, reused while they are clean, thrown away after anything odd."""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from typing import Final

from sidecar.policy.policy import BackendTarget
from sidecar.proxy.backend_connection import BackendConnection
from sidecar.proxy.codec.protocol import SocketProtocol
from sidecar.proxy.codec.response_heads import ResponseHeadReader
from sidecar.proxy.keep_alive import RestLimit
from sidecar.proxy.upstream_error import UpstreamError
from sidecar.vocabulary import Code

_MAX_WAITING: Final = 1024


class Upstream:
    """A bounded pool of connections to one address."""

    def __init__(self, target: BackendTarget, loop: asyncio.AbstractEventLoop) -> None:
        self.target = target
        self._loop = loop
        self._idle: deque[BackendConnection] = deque()
        self._open = 0
        self._closed = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._reader = ResponseHeadReader()
        self._rest = RestLimit(target.keep_alive)

    def idle(self, *, replayable: bool) -> BackendConnection | None:
        """Return a clean connection that waits for its next request, or None.

        What must not be sent twice (not `replayable`) only takes one that was used a moment ago.
        """
        if not self._idle:
            return None
        now = self._loop.time()
        while self._idle:
            connection = self._idle.pop()
            rest = connection.rest = now - connection.idle_since
            connection.idle_since = 0.0
            # Bytes that came without a request belong to no response.
            if (
                not (connection.left or connection.has_unread)
                and rest < self._rest.of(connection.promise, now, replayable=replayable)
                and (replayable or connection.is_silent())
            ):
                return connection
            connection.abort()
        return None

    async def open(self, within: float | None = None) -> BackendConnection:
        """Open a connection, or wait for a place for it: at most `within` seconds in all, else the target's timeout."""
        try:
            async with asyncio.timeout(self.target.connect if within is None else within):
                await self._slot()
                return await self._connect()
        except TimeoutError:
            code = Code.OVERLOADED if self._open >= self.target.max_connections else Code.BACKEND_TIMEOUT
            raise UpstreamError(code, "connecting took too long", unsent=True) from None

    async def _slot(self) -> None:
        while self._open >= self.target.max_connections:
            if len(self._waiting) >= _MAX_WAITING:
                raise UpstreamError(Code.OVERLOADED, "too many requests wait for a connection", unsent=True)
            turn: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                else:
                    self._next()  # the slot that it was given, and cannot take any more
                raise
        self._open += 1

    async def _connect(self) -> BackendConnection:
        target = self.target
        connection = BackendConnection(self._loop, self._reader)
        protocol = SocketProtocol(self._loop, connection)
        made = False
        try:
            if target.path:
                await self._loop.create_unix_connection(lambda: protocol, target.path)
            else:
                await self._loop.create_connection(
                    lambda: protocol,
                    target.host,
                    target.port,
                    ssl=target.tls,
                    server_hostname=target.server_name if target.tls else None,
                )
            made = True
        except OSError as error:
            code = Code.OVERLOADED if error.errno in {errno.EMFILE, errno.ENFILE} else Code.BACKEND_UNREACHABLE
            raise UpstreamError(code, type(error).__name__, unsent=True) from None
        finally:
            # A cancelled caller may have been connected already: the slot is given back once, never twice.
            if made and not connection.left:
                connection.on_lost = self
            else:
                self._free()
        return connection

    def lost(self, connection: BackendConnection) -> None:
        """Give back the slot of a connection that is gone; learn from one that the backend closed while it rested."""
        now = self._loop.time()
        if connection.idle_since:
            self._rest.closed_early(now - connection.idle_since, now)
        self._free()

    def failed_after(self, rest: float) -> None:
        """Learn from a connection that turned out to be closed when it was used again after a rest."""
        self._rest.closed_early(rest, self._loop.time())

    def _free(self) -> None:
        self._open -= 1
        self._next()

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def release(self, connection: BackendConnection, *, clean: bool) -> None:
        """Take a connection back, or throw it away when anything about its last exchange was odd."""
        connection.forget()
        if not clean or connection.left or connection.has_unread or self._waiting or self._closed:
            # A caller waits for a slot: it gets a fresh connection.
            connection.abort()
            return
        now = connection.idle_since = self._loop.time()
        self._idle.append(connection)
        while self._idle and self._idle[0].idle_since < now - self._rest.longest:
            oldest = self._idle.popleft()
            oldest.idle_since = 0.0
            oldest.abort()

    def close(self) -> None:
        """Close what is idle; connections in use end with their exchanges."""
        self._closed = True
        while self._idle:
            last = self._idle.pop()
            last.idle_since = 0.0
            last.abort()


class Pools:
    """One pool for each address, kept over reloads as long as a policy names it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pools: dict[BackendTarget, Upstream] = {}

    def pool(self, target: BackendTarget) -> Upstream:
        """Return the pool of a target; an exchange under an older policy may still bring one of its own.

        Routes that only wait otherwise for the same server share its pool.
        """
        found = self._pools.get(target)
        if found is None:
            values = target.values()
            same = (pool for known, pool in self._pools.items() if known.values() == values)
            found = self._pools[target] = next(same, None) or Upstream(target, self._loop)
        return found

    def keep(self, targets: set[BackendTarget]) -> None:
        """Close what a new policy does not name any more."""
        before = list(self._pools.values())
        known = {target.values(): pool for target, pool in self._pools.items()}
        self._pools = {}
        for target in targets:
            pool = known.get(target.values())
            if pool is None:
                pool = known[target.values()] = Upstream(target, self._loop)
            self._pools[target] = pool
        kept = set(map(id, self._pools.values()))
        for pool in before:
            if id(pool) not in kept:
                pool.close()

    def close(self) -> None:
        """Close all pools."""
        for pool in self._pools.values():
            pool.close()
