"""Connections to one backend: opened, reused while they are clean, thrown away after anything odd."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from sidecar.errors import SidecarError
from sidecar.policy.policy import BackendTarget
from sidecar.proxy.codec.http1 import END_OF_HEAD, FieldReader, Malformed, ResponseHead, parse_response_head
from sidecar.proxy.connection import Connection, PeerLeft, TooSlow
from sidecar.vocabulary import Code

_KEEP_IDLE: Final = 55.0
"""Seconds that a connection waits for its next request; common backends close theirs after 60 or more …"""
_KEEP_FRESH: Final = 1.5
"""… but Node after 5 and gunicorn after 2: what must not be sent twice only takes connections this fresh."""
_MAX_HEAD: Final = 64 * 1024
_MAX_INTERIM: Final = 16
_MAX_WAITING: Final = 1024


class UpstreamError(SidecarError):
    """The backend did not give an answer; `code` is what the client is told."""

    def __init__(self, code: Code, reason: str, *, unsent: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.unsent = unsent


class Upstream:
    """A bounded pool of connections to one address."""

    def __init__(self, target: BackendTarget, loop: asyncio.AbstractEventLoop) -> None:
        self.target = target
        self._loop = loop
        self._idle: deque[Connection] = deque()
        self._open = 0
        self._closed = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.reader = FieldReader(frozenset())

    def idle(self, *, replayable: bool) -> Connection | None:
        """Return a clean connection that waits for its next request, or None.

        What must not be sent twice (not `replayable`) only takes one that was used a moment ago.
        """
        if not self._idle:
            return None
        oldest = self._loop.time() - (_KEEP_IDLE if replayable else _KEEP_FRESH)
        while self._idle:
            connection = self._idle.pop()
            # Bytes that came while nobody asked belong to no answer.
            if not (connection.left or connection.buffer or connection.idle_since < oldest):
                return connection
            connection.abort()
        return None

    async def open(self) -> Connection:
        """Open a connection, or wait for a place for it: at most the connect timeout in all."""
        try:
            async with asyncio.timeout(self.target.connect):
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

    async def _connect(self) -> Connection:
        target = self.target
        connection = Connection(self._loop)
        made = False
        try:
            await self._loop.create_connection(
                lambda: connection,
                target.host,
                target.port,
                ssl=target.tls,
                server_hostname=target.server_name if target.tls else None,
            )
            made = True
        except OSError as error:
            raise UpstreamError(Code.BACKEND_UNREACHABLE, type(error).__name__, unsent=True) from None
        finally:
            # Whoever is cancelled here may have been connected already: the slot is given back once, never twice.
            if made and not connection.left:
                connection.on_lost = lambda _: self._free()
            else:
                self._free()
        return connection

    def _free(self) -> None:
        self._open -= 1
        self._next()

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def release(self, connection: Connection, *, clean: bool) -> None:
        """Take a connection back, or throw it away when anything about its last exchange was odd."""
        connection.expect_within(0)
        if not clean or connection.left or connection.buffer or self._waiting or self._closed:
            # Somebody waits for a slot: a fresh connection is the simplest thing to hand over.
            connection.abort()
            return
        now = connection.idle_since = self._loop.time()
        self._idle.append(connection)
        while self._idle and self._idle[0].idle_since < now - _KEEP_IDLE:
            self._idle.popleft().abort()

    def close(self) -> None:
        """Close what is idle; connections in use end with their exchanges."""
        self._closed = True
        while self._idle:
            self._idle.pop().abort()


class Pools:
    """One pool for each address, kept over reloads as long as a policy names it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pools: dict[BackendTarget, Upstream] = {}

    def pool(self, target: BackendTarget) -> Upstream:
        """Return the pool of a target; an exchange under an older policy may still bring one of its own."""
        found = self._pools.get(target)
        if found is None:
            found = self._pools[target] = Upstream(target, self._loop)
        return found

    def keep(self, targets: set[BackendTarget]) -> None:
        """Close what a new policy does not name any more."""
        before = list(self._pools.values())
        known = {target.values(): pool for target, pool in self._pools.items()}
        self._pools = {target: known.get(target.values(), Upstream(target, self._loop)) for target in targets}
        kept = set(map(id, self._pools.values()))
        for pool in before:
            if id(pool) not in kept:
                pool.close()

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()


async def read_answer(
    connection: Connection,
    method: str,
    within: float,
    reader: FieldReader,
    on_interim: Callable[[ResponseHead], None] | None = None,
) -> ResponseHead:
    """Wait for the head of the final answer (or a 101); interim ones go to `on_interim`."""
    connection.expect_within(within)
    interim = 0
    try:
        while True:
            end = connection.buffer.find(END_OF_HEAD)
            if end < 0:
                if len(connection.buffer) > _MAX_HEAD:
                    raise UpstreamError(Code.BACKEND_BROKEN, "the answer's head is too large")
                await connection.more()
                continue
            raw, connection.buffer = connection.buffer[:end], connection.buffer[end + 4 :]
            answer = parse_response_head(raw, method, reader)
            if answer.status >= 200 or answer.status == 101:
                return answer
            interim += 1
            if interim > _MAX_INTERIM:
                raise UpstreamError(Code.BACKEND_BROKEN, "too many interim answers")
            if on_interim is not None and answer.status != 100:
                on_interim(answer)
    except Malformed as error:
        raise UpstreamError(error.code, error.reason) from None
    except PeerLeft:
        raise UpstreamError(Code.BACKEND_BROKEN, "closed without an answer", unsent=not connection.buffer) from None
    except TooSlow:
        raise UpstreamError(Code.BACKEND_TIMEOUT, "no answer in time") from None
