"""The management listener: metrics, probes, the admin API and the console, over aiohttp."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.web_protocol import RequestHandler

from sidecar.admin.api_request import MAX_BODY
from sidecar.admin.console_files import Console
from sidecar.admin.dispatch import Dispatcher, refusal_response
from sidecar.admin.ports import Ports
from sidecar.admin.refusal import INTERNAL, SECURITY_HEADERS, Refusal, refuse
from sidecar.admin.spare_descriptors import SpareDescriptors, SpareSite
from sidecar.errors import cannot_listen
from sidecar.events import SecurityEvent
from sidecar.vocabulary import Code, Event, Outcome

IDLE: Final = 15.0  # seconds that a connection may be silent, and that a head may take to arrive
SILENT: Final = 0.1  # … before it is closed where descriptors are short
MAX_CONNECTIONS: Final = 256
MAX_PER_PEER: Final = 64  # so that no single peer can keep out the kubelet's probes
MAX_SCRAPES: Final = 4  # waiting for the one that renders
SENDING: Final = 30.0  # seconds that an answer may take to leave
GRACE: Final = 2.0  # seconds that running calls get when the listener stops


class ManagementServer:
    """Serve one address. `start`, then `stop`; `port` is known in between."""

    def __init__(self, parts: Ports, host: str, port: int, path: str = "") -> None:
        self._parts = parts
        self._host = host
        self._port = port
        self._path = path  # of a Unix socket, in place of host and port
        self._dispatcher = Dispatcher(parts)
        self._console = Console()
        self._scraping = asyncio.Lock()
        self._scrapes = 0
        self._streams: set[asyncio.Task[Any]] = set()
        self._spare = SpareDescriptors()
        self._runner: web.ServerRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen; SidecarError when the address cannot be had."""
        # Inside a running loop: aiohttp's server binds to it.
        self._spare.refill()
        server = _Server(self._answer, self._malformed, self._spare)
        runner = web.ServerRunner(server, shutdown_timeout=GRACE)
        await runner.setup()
        try:
            if self._path:
                await web.UnixSite(runner, self._path, backlog=128).start()
            else:
                await SpareSite(runner, self._host, self._port, self._spare, server.free_one).start()
        except OSError as error:
            await runner.cleanup()
            self._spare.close()
            raise cannot_listen(f"unix:{self._path}" if self._path else f"{self._host}:{self._port}", error) from None
        self._runner = runner
        self.port = 0 if self._path else runner.addresses[0][1]

    async def stop(self) -> None:
        """End the event streams, let running calls finish within `GRACE`, close."""
        for task in tuple(self._streams):
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._spare.close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        request_id = self._parts.new_id()
        path = request.rel_url.raw_path
        if path.startswith("/api/"):
            response = await self._call(request, request_id)
        elif request.method not in ("GET", "HEAD"):
            response = self._refusal(
                refuse(Code.METHOD_NOT_ALLOWED, headers={"Allow": "GET, HEAD"}).refusal, request, request_id
            )
        elif path == "/metrics":
            response = await self._metrics(request, request_id)
        elif path == "/livez":
            response = web.json_response({"status": "alive"})
        elif path == "/readyz":
            response = await self._ready()
        else:
            response = self._console.page(path) or self._refusal(refuse(Code.NOT_FOUND).refusal, request, request_id)
        if not response.prepared:
            response.headers["X-Request-ID"] = request_id
            await _send(request, response)
        return response

    async def _call(self, request: web.BaseRequest, request_id: str) -> web.StreamResponse:
        task = asyncio.current_task()
        streams = "text/event-stream" in request.headers.get("Accept", "")
        if task is not None and streams:
            self._streams.add(task)
        try:
            return await self._dispatcher.answer(request, request_id, request.remote or "")
        finally:
            if task is not None:
                self._streams.discard(task)

    async def _metrics(self, request: web.BaseRequest, request_id: str) -> web.StreamResponse:
        if self._scrapes >= MAX_SCRAPES:
            return self._refusal(refuse(Code.OVERLOADED).refusal, request, request_id)
        self._scrapes += 1
        try:
            async with self._scraping:
                reading = self._parts.metrics.read()
                accept = request.headers.get("Accept", "")
                body, content_type = await asyncio.to_thread(self._parts.metrics.render, accept, reading)
        finally:
            self._scrapes -= 1
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _ready(self) -> web.StreamResponse:
        """Answer from this process alone while it is not ready itself; else ask for the backend too."""
        reasons = list(self._parts.not_ready())
        if not reasons:
            reasons = list(filter(None, (await self._parts.backend_ready(),)))
        if reasons:
            return web.json_response({"status": "not ready", "reasons": reasons}, status=503)
        return web.json_response({"status": "ready"})

    def _refusal(self, refusal: Refusal, request: web.BaseRequest, request_id: str) -> web.Response:
        return refusal_response(refusal, request, request_id)

    def _malformed(self, request: web.BaseRequest, status: int) -> web.StreamResponse:
        """Answer what the parser refused, or what failed where nothing should: without quoting it."""
        request_id = self._parts.new_id()
        at, peer = self._parts.clock.now(), request.remote or ""
        refusal = INTERNAL if status >= 500 else refuse(Code.REQUEST_MALFORMED).refusal
        outcome = Outcome.FAILED if status >= 500 else Outcome.REFUSED
        self._parts.events.record(
            SecurityEvent(Event.REQUEST_MALFORMED, outcome, at, request_id, peer, status=refusal.status)
        )
        return refusal_response(refusal, request, request_id)


async def _send(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Send a response within `SENDING`: a client that does not read must not keep a connection for ever."""
    try:
        async with asyncio.timeout(SENDING):
            await response.prepare(request)
            await response.write_eof()
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()


class _Request(web.BaseRequest):
    """Puts on every response what all of them carry, the parser's own refusals included."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        # aiohttp names itself and its version in front of us.
        response.headers.popall(hdrs.SERVER, None)


class _Server(web.Server):
    """aiohttp's server with bounds of our own."""

    def __init__(self, handler: Any, malformed: Any, spare: SpareDescriptors) -> None:
        super().__init__(
            handler,
            request_factory=self._request,
            access_log=None,
            keepalive_timeout=IDLE,
            max_line_size=8190,
            max_field_size=16384,
            lingering_time=2.0,
        )
        self.malformed = malformed
        self._spare = spare

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        # Its own descriptor is free once this turn of the loop is over.
        self._loop.call_soon(self._spare.refill)

    def free_one(self) -> bool:
        """Close the oldest connection that waits for a request, for a client that may have one; False: none waits."""
        for each in self.connections:
            if each.transport is not None and each._current_request is None:  # noqa: SLF001 - nothing public says it
                silent = isinstance(each, _Connection) and self._loop.time() - each.since > SILENT
                if silent:
                    each.transport.abort()
                return silent
        return False

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> _Request:
        return _Request(message, payload, protocol, writer, task, self._loop, client_max_size=MAX_BODY)


class _Connection(RequestHandler):
    """One connection: closed at once beyond the bound; parser errors get our refusals, not aiohttp's."""

    __slots__ = ("_server", "since")

    def __init__(self, manager: _Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._server = manager
        self.since = self._loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        connections = self._server.connections
        peer = _address(transport)
        if len(connections) > MAX_CONNECTIONS or sum(_address(each.transport) == peer for each in connections) > (
            MAX_PER_PEER
        ):
            transport.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002  its text may quote what was sent
        message: str | None = None,  # noqa: ARG002  likewise
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("the head of an answer is out already")
        response: web.StreamResponse = self._server.malformed(request, status)
        response.force_close()
        return response


def _address(transport: asyncio.BaseTransport | None) -> str:
    peer = transport.get_extra_info("peername") if transport is not None else None
    return str(peer[0]) if peer else ""
