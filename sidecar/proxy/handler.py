"""A request's life: read, admit, send, relay, record.

Before the head of the answer is sent, a failure becomes a refusal. After it, a failure can only cut
the body short: `Life.answered` is that border.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, cast

from sidecar.admission import admit, inspect
from sidecar.clock import Clock
from sidecar.decision import PASS, Answer, Refuse, Rewrite
from sidecar.events import EventSink, Served, about
from sidecar.exchange import Exchange
from sidecar.head import Fields
from sidecar.limit import LimitReport
from sidecar.policy.policy import BackendTarget, Injection, Policy, Route
from sidecar.proxy import replies
from sidecar.proxy.bodies import body_of
from sidecar.proxy.http1 import CHUNKED, Malformed, ResponseHead
from sidecar.proxy.outbound import request_head
from sidecar.proxy.relay import Cut, relay
from sidecar.proxy.upload import TooLarge, collect, upload
from sidecar.proxy.upstream import Upstream, UpstreamError, read_answer
from sidecar.proxy.websocket import relay_socket
from sidecar.proxy.wire import PeerLeft, TooSlow, Wire
from sidecar.vocabulary import Code, Event, Outcome

_log = logging.getLogger(__name__)

CLIENT_LEFT: Final = 499
"""The status in logs and metrics of a request whose client left before an answer (as nginx says it)."""


class KeySource(Protocol):
    """Turns a route's injection into header fields; None when there is no usable credential."""

    def fields(
        self, exchange: Exchange, injection: Injection, target: BackendTarget
    ) -> Fields | Awaitable[Fields | None] | None: ...


class Activity(Protocol):
    """Gauges of what is going on."""

    def request_began(self) -> None: ...
    def request_ended(self) -> None: ...
    def stream_began(self, kind: str) -> None: ...
    def stream_ended(self, kind: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What every exchange needs, built once by the composition root."""

    upstream: Callable[[BackendTarget], Upstream]
    events: EventSink
    clock: Clock
    limits: Callable[[LimitReport], None]
    keys: KeySource
    activity: Activity


class Life:
    """One exchange from its admission to its record."""

    __slots__ = (
        "answered", "backend", "began", "exchange", "filters", "framing", "keep", "parts", "policy", "route", "sent_at",
        "spent", "status", "unread", "wire",
    )  # fmt: skip

    def __init__(
        self, parts: Parts, policy: Policy, route: Route, exchange: Exchange, wire: Wire, framing: int, *, keep: bool
    ) -> None:
        self.parts = parts
        self.policy = policy
        self.route = route
        self.exchange = exchange
        self.wire = wire
        self.keep = keep
        self.began = wire.taken  # where on the wire this request began: its head counts as received
        self.framing = framing  # of the body that goes to the backend
        self.unread = framing  # of the body that still stands on the client's wire
        # Asked once: between the request and its answer the set of secrets may change.
        self.filters = route.filters if route.filters is not None and route.filters.wanted() else None
        self.status = CLIENT_LEFT
        self.answered = False
        self.sent_at = 0.0  # monotonic: the request went to the backend
        self.backend = -1.0  # seconds until the head of its answer
        self.spent = 0.0  # seconds here before the request was sent

    async def run(self) -> bool:
        """Serve the exchange; return whether the connection may carry another one."""
        parts = self.parts
        parts.activity.request_began()
        sent, received = self.wire.sent, self.began
        try:
            await self._answer()
        except (TooSlow, PeerLeft) as error:
            self.keep = False
            if isinstance(error, TooSlow) and not self.answered:
                await self.refuse(Refuse(Code.REQUEST_TIMEOUT, {"reason": "body"}, close=True))
        except Malformed as error:
            # Chunk syntax shows itself only while the body is read.
            await self.refuse(Refuse(error.code, {"reason": error.reason}, close=True))
        except TooLarge:
            await self.refuse(Refuse(Code.BODY_TOO_LARGE, {"limit": self.route.max_body}, close=True))
        except UpstreamError as error:
            await self.failed(error)
        except Cut as cut:
            self.backend_event(Code.BACKEND_BROKEN, str(cut))
            self.keep = False
            if cut.unframed:
                self.wire.reset()
            else:
                self.wire.close()
        except Exception as error:  # noqa: BLE001 - a fault of ours refuses one request; it never ends the process
            _log.exception("fault while serving %s", self.exchange.id)
            await self.refuse(Refuse(Code.BACKEND_BROKEN, {"reason": f"internal: {type(error).__name__}"}, close=True))
        finally:
            for release in self.exchange.releases:
                release()
            parts.activity.request_ended()
            self._record(self.wire.sent - sent, self.wire.received - received)
        return self.keep

    async def refuse_at_once(self, refuse: Refuse) -> None:
        """Refuse what has no route: malformed heads, ambiguous paths. Only who asks is looked at."""
        self.parts.activity.request_began()
        sent, received = self.wire.sent, self.began
        try:
            decision = await admit(self.exchange, self.route.steps, self.parts.events)
            await self.refuse(decision if isinstance(decision, Refuse) else refuse)
        finally:
            self.parts.activity.request_ended()
            self._record(self.wire.sent - sent, self.wire.received - received)

    async def _answer(self) -> None:
        exchange, route = self.exchange, self.route
        decision = await admit(exchange, route.steps, self.parts.events)
        if decision is not PASS:
            if isinstance(decision, Refuse):
                await self.refuse(decision)
            else:
                self._reply(cast(Answer, decision))
            return
        if self.framing > route.max_body:
            raise TooLarge
        if exchange.head.index.get(b"upgrade", b"").lower() == b"websocket":
            await relay_socket(self)
            return
        body = None
        drop: frozenset[bytes] = frozenset()
        if route.body_steps:
            # An empty body is a body: what is asked about it must not be left out with it.
            body = b""
            if self.framing != 0:
                self._continue()
                body = await collect(self.wire, body_of(self.framing), route.max_body, self.policy.bounds)
                self.unread = 0
            result = await inspect(exchange, body, route.body_steps, self.parts.events)
            if isinstance(result, Refuse):
                await self.refuse(result)
                return
            if isinstance(result, Rewrite):
                body, drop = result.body, frozenset(result.drop)
            self.framing = len(body)
        put = await self.key()
        if put is None:
            await self.refuse(Refuse(Code.CREDENTIAL_UNAVAILABLE, {"provider": self._provider()}))
            return
        await self._send(body, put, drop)

    # --- to the backend ------------------------------------------------------------------------

    def _provider(self) -> str:
        return self.route.injection.provider if self.route.injection is not None else ""

    async def key(self) -> Fields | None:
        injection = self.route.injection
        if injection is None:
            return []
        fields = self.parts.keys.fields(self.exchange, injection, self.route.target)
        return fields if fields is None or isinstance(fields, list) else await fields

    def _continue(self) -> None:
        """Ask a waiting client for its body: it has been admitted."""
        if self.exchange.head.index.get(b"expect") is not None and not self.wire.buffer:
            self.wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def request_bytes(self, put: Fields, drop: frozenset[bytes], upgrade: bytes = b"") -> bytes:
        route, exchange = self.route, self.exchange
        target = route.target
        host = exchange.head.index.get(b"host") if target.preserve_host else None
        return request_head(
            exchange,
            host=host or target.authority,
            framing=self.framing,
            put=put,
            drop=drop | route.dropped if route.dropped else drop,
            whole=self.filters is not None,
            outward=route.outward,
            prefix=route.prefix,
            base=route.base,
            upgrade=upgrade,
        )

    async def _send(self, body: bytes | None, put: Fields, drop: frozenset[bytes]) -> None:
        """Send the request, once more when a reused connection turns out to be dead and that is safe."""
        method = self.exchange.head.method
        if body is None and self.framing > 0 and len(self.wire.buffer) >= self.framing:
            body, self.wire.buffer = self.wire.buffer[: self.framing], self.wire.buffer[self.framing :]
            self.unread = 0
        whole = body is not None or self.framing == 0
        replayable = whole and method in ("GET", "HEAD", "OPTIONS")
        head = self.request_bytes(put, drop)
        upstream = self.parts.upstream(self.route.target)
        while True:
            back = upstream.idle(replayable=replayable)
            reused = back is not None
            if back is None:
                back = await upstream.open()
            try:
                await self._converse(upstream, back, head, body if whole else None)
            except UpstreamError as error:
                back.abort()
                if reused and replayable and error.unsent:
                    replayable = False
                    continue
                raise
            except BaseException:
                back.abort()  # the client left, or something broke: the backend stops working on it
                raise
            return

    async def _converse(self, upstream: Upstream, back: Wire, head: bytes, body: bytes | None) -> None:
        target = self.route.target
        self.left_for_backend()
        sender: asyncio.Task[None] | None = None
        try:
            back.write(head + body if body else head)
            if body is None and self.framing != 0:
                self._continue()
                sender = asyncio.create_task(
                    upload(
                        self.wire,
                        back,
                        body_of(self.framing),
                        self.framing == CHUNKED,
                        self.route.max_body,
                        self.policy.bounds,
                        target.first_byte,
                    )
                )
                sender.add_done_callback(lambda task: self._sent(task, back))
            # While the client still sends, its pace counts; the backend's time begins when all is sent.
            patience = target.first_byte if sender is None else 0
            try:
                answer = await read_answer(back, self.exchange.head.method, patience, upstream.reader, self._interim)
            except UpstreamError:
                # What the client did wrong while it sent explains the broken exchange better.
                fault = sender.exception() if sender is not None and sender.done() and not sender.cancelled() else None
                if fault is not None:
                    raise fault from None
                raise
            if answer.status == 101:
                raise UpstreamError(Code.BACKEND_BROKEN, "an upgrade that nobody asked for")
            self.head_arrived()
            clean = await relay(self, back, answer)
            # One that failed in this very turn of the loop is done as well, and nothing is in step after it.
            finished = sender is None or (sender.done() and not sender.cancelled() and sender.exception() is None)
            if finished:
                self.unread = 0
            else:
                self.keep = False  # the rest of the body is still to come, and nobody will read it
            upstream.release(back, clean=clean and finished and answer.reusable)
        except PeerLeft:
            if not self.wire.left:
                raise UpstreamError(Code.BACKEND_BROKEN, "closed while it was sent to") from None
            raise
        finally:
            if sender is not None and not sender.done():
                sender.cancel()

    def _sent(self, sender: asyncio.Task[None], back: Wire) -> None:
        """Stop the exchange when the upload failed, or give the backend its time to answer."""
        if sender.cancelled():
            return
        if sender.exception() is not None:
            back.abort()
        elif self.backend < 0:
            back.expect_within(self.route.target.first_byte)

    def left_for_backend(self) -> None:
        now = self.parts.clock.monotonic()
        self.spent = now - self.exchange.started
        self.sent_at = now

    def head_arrived(self) -> None:
        now = self.parts.clock.monotonic()
        self.backend = now - self.sent_at

    def _interim(self, answer: ResponseHead) -> None:
        """Pass on an interim answer (103 Early Hints); RFC 9110 §15.2."""
        if self.exchange.head.version == 1 and not self.wire.left:
            lines = replies.relayed_lines(answer, self, length_known=False)
            self.wire.write(replies.interim(answer.status, lines))

    # --- to the client -------------------------------------------------------------------------

    def _reply(self, answer: Answer) -> None:
        keep = self._skip_body()
        self.status = answer.status
        self.answered = True
        self.wire.write(replies.local(answer, self.exchange, self.route, keep=keep))

    async def refuse(self, refuse: Refuse, status: int = 0) -> None:
        """Answer with a refusal, or cut what was begun."""
        exchange, policy = self.exchange, self.policy
        code = refuse.code
        if self.answered:
            self.keep = False
            self.wire.reset()
            return
        if policy.struck is not None:
            policy.struck(exchange, code)
        if exchange.limits is None and self.route.peek is not None and code is not Code.IP_BLOCKED:
            peeked = self.route.peek(exchange)
            if peeked is not None:
                await peeked
        self.status = status or code.status
        if refuse.recorded is not None:
            detail = {**refuse.detail, "code": code.name}
            self.parts.events.record(
                about(exchange, refuse.recorded, Outcome.REFUSED, exchange.now, self.status, detail)
            )
        if refuse.close:
            self.keep = False
        keep = self._skip_body()
        self.answered = True
        self.wire.write(replies.refused(refuse, exchange, self.route, keep=keep, status=status))

    def _skip_body(self) -> bool:
        """Skip a body that is already here; one that is still to come ends the connection instead."""
        unread = self.unread
        if unread != 0 and self.keep:
            buffer = self.wire.buffer
            self.keep = 0 < unread <= len(buffer)
            if self.keep:
                self.wire.buffer = buffer[unread:]
                self.unread = 0
        return self.keep

    async def failed(self, error: UpstreamError) -> None:
        """Say 502, 503 or 504 for a backend that gave no answer."""
        self.backend_event(error.code, str(error))
        await self.refuse(Refuse(error.code, {"reason": str(error)}))

    def backend_failed(self, refuse: Refuse) -> None:
        """Record that the backend answered with a failure of its own."""
        self.backend_event(refuse.code, f"status {refuse.detail.get('backend_status')}")

    def backend_event(self, code: Code, reason: str) -> None:
        if self.route.inspected:
            detail = {"reason": reason, "code": code.name}
            event = about(self.exchange, Event.CHAT_ERROR, Outcome.FAILED, self.exchange.now, code.status, detail)
            self.parts.events.record(event)

    def _record(self, sent: int, received: int) -> None:
        exchange = self.exchange
        if exchange.limits is not None and exchange.limits.counted:
            self.parts.limits(exchange.limits)
        duration = self.parts.clock.monotonic() - exchange.started
        self.parts.events.served(
            Served(
                exchange.now,
                exchange.id,
                exchange.client.address or exchange.peer,
                exchange.organization,
                exchange.session_key[:8],
                self.route.name,
                exchange.head.method,
                exchange.head.path,
                self.status,
                duration,
                self.spent if self.backend >= 0 else duration,
                self.backend,
                received,
                sent,
                self.route.inspected,
            )
        )
