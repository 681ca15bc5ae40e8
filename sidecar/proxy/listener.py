"""A listening address that serves guarded HTTP/1.1: connections in, exchanges one after another."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from typing import Final

from sidecar.decision import Refuse
from sidecar.errors import cannot_listen
from sidecar.exchange import Exchange
from sidecar.head import RequestHead
from sidecar.policy.policy import Policy
from sidecar.proxy.codec.http1 import FieldReader, Malformed, find_head, malformed, parse_request_head, request_framing
from sidecar.proxy.connection import Connection, PeerLeft, TooSlow
from sidecar.proxy.exchange_context import ExchangeContext, ProxyServices
from sidecar.proxy.handler import refuse_at_once, serve
from sidecar.vocabulary import Code

_log = logging.getLogger(__name__)

_UNREAD: Final = 30.0
"""Seconds that a client has for the rest of an answer once its connection is over."""
_LINGER: Final = 1.0
_LINGER_BYTES: Final = 1024 * 1024
_ORIGIN = re.compile(rb"(?im)^origin:[ \t]*([\x21-\x7e]{1,256})[ \t]*\r?$")
_SITE = re.compile(rb"(?im)^sec-fetch-site:[ \t]*([a-z-]{1,16})[ \t]*\r?$")
_BACKLOG: Final = 1024


class Listener:
    """Accept connections of one address and serve each in one task."""

    def __init__(
        self,
        parts: ProxyServices,
        current: Callable[[], Policy],
        new_id: Callable[[], str],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._parts = parts
        self._current = current
        self._new_id = new_id
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._tasks: dict[Connection, asyncio.Task[None]] = {}
        self._busy: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}  # for a request's head; who waits longest stands in front
        self._draining = False
        self._reader = FieldReader()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def open(self, host: str, port: int) -> None:
        """Listen; a taken port or an address that is not ours is a SidecarError of one line."""
        try:
            self._server = await self._loop.create_server(
                self._accept,
                host,
                port,
                ssl=self._tls,
                backlog=_BACKLOG,
                ssl_handshake_timeout=10 if self._tls else None,
            )
        except OSError as error:
            raise cannot_listen(host, port, error) from None

    def _accept(self) -> Connection:
        connection = Connection(self._loop, self._lost)
        connection.on_connected = self._connected
        return connection

    def _connected(self, connection: Connection) -> None:
        full = len(self._tasks) >= self._current().bounds.max_connections
        if self._draining or (full and not self._made_room()):
            # A full house answers nothing: each word would cost what is missing.
            connection.abort()
            return
        self._tasks[connection] = self._loop.create_task(self._serve(connection))

    def _made_room(self) -> bool:
        """End the connection that has asked for nothing the longest: holding many keeps nobody else out."""
        longest = next(iter(self._waiting), None)
        if longest is None:
            return False
        del self._waiting[longest]
        longest.abort()
        return True

    def _lost(self, connection: Connection) -> None:
        task = self._tasks.pop(connection, None)
        if task is not None and not task.done():
            task.cancel()

    async def _serve(self, connection: Connection) -> None:
        peername = connection.transport.get_extra_info("peername")
        peer = str(peername[0]) if peername else ""
        try:
            while await self._one(connection, peer):
                if self._draining:
                    break
                if connection.buffer:
                    await asyncio.sleep(0)  # who sends many requests at once takes turns with the others
            await self._linger(connection)
        except (PeerLeft, TooSlow, asyncio.CancelledError):
            pass  # the client left, or never said anything: nobody is there to be told
        except Exception:  # noqa: BLE001  a fault of ours ends one connection, never the process
            _log.exception("fault on a connection")
        finally:
            # It counts until it is lost: who does not read what is left holds it open, and not for long.
            connection.close()
            if not connection.left and connection.transport.get_write_buffer_size():
                self._loop.call_later(_UNREAD, connection.abort)

    async def _one(self, connection: Connection, peer: str) -> bool:
        """Read one head and serve it; return whether another may follow."""
        raw = b""
        self._waiting[connection] = None
        try:
            raw = await self._next_head(connection)
            policy = self._current()  # once: a reload never changes an exchange in flight
            bounds = policy.bounds
            head = parse_request_head(raw, bounds.max_target, bounds.max_fields, self._reader)
            framing = request_framing(head)
        except Malformed as error:
            await self._refuse_head(connection, peer, raw or connection.buffer, error)
            return False
        except TooSlow:
            if connection.buffer and not connection.writing_paused:
                await self._refuse_head(connection, peer, connection.buffer, Malformed(Code.REQUEST_TIMEOUT, "head"))
            return False
        finally:
            self._waiting.pop(connection, None)
        clock = self._parts.clock
        exchange = Exchange(self._new_id(), clock.monotonic(), clock.now(), head, peer, self._tls is not None)
        index = head.index
        method = head.method
        if method == "OPTIONS" and b"origin" in index:
            # A preflight speaks for the request that will follow; any other OPTIONS for itself.
            method = index.get(b"access-control-request-method", b"OPTIONS").decode("latin-1")
        route = policy.routes.find(method, head.path)
        options = index.get(b"connection", b"").lower()
        keep = head.version == 1 and b"close" not in options and not self._draining
        chosen = route if route is not None else policy.malformed
        exchange.route = chosen.name
        context = ExchangeContext(self._parts, policy, chosen, exchange, connection, framing, keep=keep)
        self._busy.add(connection)
        try:
            if route is None:
                await refuse_at_once(context, Refuse(Code.REQUEST_MALFORMED, {"reason": "ambiguous path"}, close=True))
                return False
            return await serve(context)
        finally:
            self._busy.discard(connection)

    async def _next_head(self, connection: Connection) -> bytes:
        """Wait for a complete head and take it off the connection."""
        bounds = self._current().bounds
        if connection.writing_paused:
            # Answers that are made here wait for nobody; who asks on without reading them does.
            connection.expect_within(bounds.idle_timeout)
            await connection.drain()
        searched = 0
        connection.taken = connection.received - len(connection.buffer)
        connection.expect_within(bounds.header_timeout if connection.buffer else bounds.idle_timeout)
        while True:
            buffer = connection.buffer
            if buffer:
                if searched == 0 and buffer.startswith(b"\r\n") and len(buffer) > 2:
                    # RFC 9112 §2.2: one empty line before a request is forgiven.
                    buffer = connection.buffer = buffer[2:]
                end = find_head(buffer, searched)
                if end >= 0:
                    if end > bounds.max_header_bytes:
                        raise Malformed(Code.HEADERS_TOO_LARGE, "head")
                    connection.buffer = buffer[end + 4 :]
                    connection.expect_within(0)
                    return buffer[:end]
                if len(buffer) > bounds.max_header_bytes:
                    raise Malformed(Code.HEADERS_TOO_LARGE, "head")
                if searched == 0:
                    connection.expect_within(bounds.header_timeout)
                    if buffer[0] < 33 and buffer not in {b"\r\n", b"\r"}:
                        raise malformed("no request line")
                searched = len(buffer)
            await connection.more()

    async def _refuse_head(self, connection: Connection, peer: str, raw: bytes, error: Malformed) -> None:
        """Refuse what has no readable head, through the same door as everything else."""
        policy = self._current()
        index: dict[bytes, bytes] = {}
        start = raw[: policy.bounds.max_header_bytes]
        origins = _ORIGIN.findall(start)
        if len(origins) == 1:
            index[b"origin"] = origins[0]  # so that the page may read why
        site = _SITE.search(start)
        if site is not None:
            index[b"sec-fetch-site"] = site[1].lower()  # so that its visitor is not struck for it
        clock = self._parts.clock
        head = RequestHead("", b"", "", 1, [], index)
        exchange = Exchange(self._new_id(), clock.monotonic(), clock.now(), head, peer, self._tls is not None)
        exchange.route = policy.malformed.name
        context = ExchangeContext(self._parts, policy, policy.malformed, exchange, connection, 0, keep=False)
        await refuse_at_once(context, Refuse(error.code, {"reason": error.reason}, close=True))

    async def _linger(self, connection: Connection) -> None:
        """Close without a reset that would take the answer away from a client that still sends."""
        transport = connection.transport
        if connection.left or transport.is_closing():
            return
        if transport.can_write_eof():
            transport.write_eof()
        dropped = len(connection.buffer)
        connection.buffer = b""
        connection.expect_within(_LINGER)
        while dropped < _LINGER_BYTES:
            await connection.more()
            dropped += len(connection.buffer)
            connection.buffer = b""

    async def drain(self, seconds: float) -> None:
        """Accept no more, let what runs end within `seconds`, then end it."""
        self._draining = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._tasks):
            if connection not in self._busy:
                connection.close()
        if self._tasks and seconds > 0:
            await asyncio.wait(list(self._tasks.values()), timeout=seconds)
        await self.close()

    async def close(self) -> None:
        """End every connection now."""
        if self._server is not None:
            self._server.close()
        tasks = list(self._tasks.values())
        for connection, task in list(self._tasks.items()):
            if not task.done():
                connection.abort()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)
