"""A listening address that serves guarded HTTP/1.1: connections in, an exchange for each request."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable

from sidecar.decision import Refuse
from sidecar.errors import cannot_listen
from sidecar.exchange import Exchange
from sidecar.head import RequestHead
from sidecar.policy.policy import Policy
from sidecar.proxy.client_connection import ClientConnection
from sidecar.proxy.codec.protocol import SocketProtocol
from sidecar.proxy.codec.proxy_protocol import ProxiedPeer
from sidecar.proxy.codec.server import SocketServer
from sidecar.proxy.exchange_context import ProxyServices
from sidecar.proxy.handler import Handler
from sidecar.proxy.known_heads import KnownHeads, ReadHead
from sidecar.proxy.lingering import Lingering
from sidecar.proxy.strict_rules import Malformed
from sidecar.vocabulary import Code

_ORIGIN = re.compile(rb"(?im)^origin:[ \t]*([\x21-\x7e]{1,256})[ \t]*\r?$")
_SITE = re.compile(rb"(?im)^sec-fetch-site:[ \t]*([a-z-]{1,16})[ \t]*\r?$")


class Listener:
    """The Owner of its connections: bounds their number and begins their exchanges."""

    def __init__(
        self,
        services: ProxyServices,
        current: Callable[[], Policy],
        new_id: Callable[[], str],
        tls: ssl.SSLContext | None = None,
        handler: type[Handler] = Handler,
        trusts: Callable[[str], bool] | None = None,
    ) -> None:
        self.services = services
        self.current = current
        self._new_id = new_id
        self._secure = tls is not None
        self.handler = handler
        self._loop = asyncio.get_running_loop()
        self._server = SocketServer(self._connect, tls, trusts)
        self._connections: set[ClientConnection] = set()
        self.waiting: dict[ClientConnection, None] = {}
        self._idle: asyncio.Event | None = None
        self._heads = KnownHeads(self._loop)
        self._lingering = Lingering()
        self.ending = False
        self.draining = False

    @property
    def port(self) -> int:
        """The port that is listened on, also when any was asked for."""
        return self._server.port

    async def open(self, host: str, port: int, path: str = "") -> None:
        """Listen, on a Unix socket if there is a path; what cannot be had is a SidecarError of one line."""
        try:
            await self._server.open(host, port, path)
        except OSError as error:
            raise cannot_listen(f"unix:{path}" if path else f"{host}:{port}", error) from None

    # --- connections ---------------------------------------------------------------------------

    def _connect(self, proxied: ProxiedPeer | None) -> SocketProtocol:
        return SocketProtocol(self._loop, ClientConnection(self._loop, self, self._secure, proxied))

    def connected(self, connection: ClientConnection) -> bool:
        """Count a connection; return whether it may be served."""
        full = len(self._connections) >= self.current().bounds.max_connections
        full = self.services.descriptors.is_short() or full
        if self.draining or (full and not self._made_room()):
            return False
        self._connections.add(connection)
        self.services.descriptors.take()
        self._server.made(connection)
        return True

    def _made_room(self) -> bool:
        """End the connection that has been idle the longest, so that idle connections keep no client out."""
        longest = next(iter(self.waiting), None)
        if longest is None:
            return False
        del self.waiting[longest]
        longest.abort()
        return True

    def lingers(self, connection: ClientConnection) -> bool:
        """Return whether a connection may be read on after its answer."""
        return self._lingering.begin(connection.client)

    def lost(self, connection: ClientConnection) -> None:
        """A connection is gone."""
        if connection.lingering:
            self._lingering.end(connection.client)
        self.waiting.pop(connection, None)
        if connection in self._connections:
            self._connections.remove(connection)
            self.services.descriptors.give_back()
        self._server.lost(connection)
        if self._idle is not None and not self._connections:
            self._idle.set()

    # --- exchanges -----------------------------------------------------------------------------

    def read_head(self, connection: ClientConnection, raw: bytes, policy: Policy) -> ReadHead:
        """Return a request's head; raise Malformed."""
        return self._heads.read(raw, policy, connection.secure)

    def serve(self, connection: ClientConnection, policy: Policy, read: ReadHead) -> None:
        """Begin the exchange of a request."""
        head, known = read.head, read.known
        exchange = self._exchange(head, connection)
        if known is not None:
            if known.begin(exchange):
                keep = known.keep and not self.ending
                handler = self.handler(self.services, policy, known.route, exchange, connection, read.framing, keep)
                handler.known = known
                handler.begin(known.route.open_steps)
                return
            exchange = self._exchange(head, connection)
        index = head.index
        method = head.method
        if method == "OPTIONS" and b"origin" in index:
            # A preflight takes the route of the request that will follow; any other OPTIONS its own.
            method = index.get(b"access-control-request-method", b"OPTIONS").decode("latin-1")
        found = policy.routes.find(method, head.path)
        refuse = None
        if found is None:
            refuse = Refuse(Code.REQUEST_MALFORMED, {"reason": "ambiguous path"}, close=True)
        route = policy.malformed if found is None else found
        exchange.route = route.name
        told = index.get(b"connection")
        keep = head.version == 1 and (told is None or b"close" not in told.lower())
        if read.key is not None and refuse is None:
            self._heads.keep(read, exchange, route, policy, reusable=keep)
        handler = self.handler(
            self.services, policy, route, exchange, connection, read.framing, keep and not self.ending
        )
        handler.only_refuse = refuse
        handler.begin(route.steps)

    def _exchange(self, head: RequestHead, connection: ClientConnection) -> Exchange:
        """Return a new exchange."""
        clock = self.services.clock
        exchange = Exchange(self._new_id(), clock.monotonic(), clock.now(), head, connection.peer, connection.secure)
        exchange.trace = self.services.traces.of(head.index.get(b"traceparent"))
        return exchange

    def refuse_head(self, connection: ClientConnection, raw: bytes, error: Malformed) -> None:
        """Refuse what has no readable head, as everything else is refused."""
        policy = self.current()
        index: dict[bytes, bytes] = {}
        start = raw[: policy.bounds.max_header_bytes]
        origins = _ORIGIN.findall(start)
        if len(origins) == 1:
            index[b"origin"] = origins[0]  # so that the page may read why
        site = _SITE.search(start)
        if site is not None:
            index[b"sec-fetch-site"] = site[1].lower()  # so that its visitor is not struck for it
        exchange = self._exchange(RequestHead("", b"", "", 1, [], index), connection)
        exchange.route = policy.malformed.name
        handler = self.handler(self.services, policy, policy.malformed, exchange, connection, 0, False)
        handler.only_refuse = Refuse(error.code, {"reason": error.reason}, close=True)
        handler.begin(policy.malformed.steps)

    def running(self) -> list[Handler]:
        """Return the exchanges that run now."""
        return [each for connection in self._connections if isinstance(each := connection.exchange, Handler)]

    # --- the end -------------------------------------------------------------------------------

    def announce_end(self) -> None:
        """Tell clients that connections end, while new ones are still taken: each answer is the last of its own."""
        self.ending = True
        for connection in list(self._connections):
            connection.leave_after_this()

    async def drain(self, seconds: float) -> None:
        """Accept no more, let what runs end within `seconds`, then end it."""
        self.ending = self.draining = True
        await self._server.stop_listening()
        if self._connections and seconds > 0:
            self._idle = asyncio.Event()
            try:
                async with asyncio.timeout(seconds):
                    await self._idle.wait()
            except TimeoutError:
                pass
        await self.close()

    async def close(self) -> None:
        """End every connection now."""
        await self._server.close()
