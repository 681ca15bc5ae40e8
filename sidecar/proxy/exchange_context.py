"""The state of one exchange, the services it uses, and how it is recorded.

Before the head of the response is sent, a failure becomes a refusal. After it, a failure can only cut
the body short: `head_sent` is that border.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from sidecar.clock import Clock
from sidecar.decision import Detail
from sidecar.events import MAX_PATH, EventSink, Served, about
from sidecar.exchange import Exchange
from sidecar.head import Fields
from sidecar.limit import LimitReport
from sidecar.policy.policy import BackendTarget, Injection, Policy, Route
from sidecar.proxy.client_connection import ClientConnection
from sidecar.proxy.descriptors import DescriptorReserve
from sidecar.proxy.forwarding_headers import front_format, head_end, request_head
from sidecar.proxy.known_heads import KnownHead, other_site
from sidecar.proxy.upstream import Upstream
from sidecar.trace_context import Traces
from sidecar.vocabulary import Code, Event, Outcome

CLIENT_LEFT: Final = 499
"""The status in logs and metrics of a request whose client left before an answer (as nginx says it)."""


class KeySource(Protocol):
    """Turns a route's injection into header fields; None when there is no usable credential."""

    def fields(
        self, exchange: Exchange, injection: Injection, target: BackendTarget
    ) -> Fields | Awaitable[Fields | None] | None:
        """Return the header fields of the key for this target, or an awaitable of them; None without a usable key."""
        ...


class Activity(Protocol):
    """Gauges of what is going on."""

    requests: int

    def stream_began(self, kind: str) -> None:
        """Count a stream of this kind: sse, websocket, chunked or egress."""
        ...

    def stream_ended(self, kind: str) -> None:
        """Count it no more."""
        ...


def _no_place(_: str, __: str, ___: Detail) -> str:
    return ""


@dataclass(frozen=True)
class ProxyServices:
    """What every exchange needs, built once by the composition root.

    place  (route, guard, detail of its refusal) → file and line of the policy that caused it, "" if none did
    """

    upstream: Callable[[BackendTarget], Upstream]
    events: EventSink
    clock: Clock
    limits: Callable[[LimitReport], None]
    keys: KeySource
    activity: Activity
    descriptors: DescriptorReserve
    traces: Traces
    place: Callable[[str, str, Detail], str] = _no_place


class ExchangeContext:
    """One exchange from its admission to its record. What most exchanges never set has its value in the class."""

    status = CLIENT_LEFT
    head_sent = False
    part = False  # the client's Range went to the backend
    provider_id = ""  # the provider's own id of the request
    sent_at = 0.0  # monotonic: the request went to the backend
    backend = -1.0  # seconds until the head of its answer
    spent = 0.0  # seconds here before the request was sent
    known: KnownHead | None = None  # the request's head has come before

    def __init__(
        self,
        services: ProxyServices,
        policy: Policy,
        route: Route,
        exchange: Exchange,
        connection: ClientConnection,
        framing: int,
        keep: bool,
    ) -> None:
        self.services = services
        self.policy = policy
        self.route = route
        self.exchange = exchange
        self.head = exchange.head  # as it was read; a guard may put another in its place
        self.connection = connection
        self.keep = keep
        self.sent_before = connection.sent
        self.began = connection.began  # where on the connection this request began: its head counts as received
        self.framing = framing  # of the body that goes to the backend
        self.unread = framing  # of the body that is still on the client's connection
        # Asked once: between the request and its answer the set of secrets may change.
        filters = route.filters
        self.filters = filters if filters is not None and filters.wanted() else None

    def ask_for_body(self) -> None:
        """Ask a waiting client for its body: it has been admitted."""
        if self.exchange.head.index.get(b"expect") is not None and not self.connection.has_unread:
            self.connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def request_bytes(self, put: Fields, drop: frozenset[bytes], upgrade: bytes = b"") -> bytes:
        """Return the head that the backend receives."""
        route, exchange = self.route, self.exchange
        known = self.known
        if known is not None and not drop and not upgrade and not self.part and exchange.head is self.head:
            return self._known_bytes(known, put)
        target = route.target
        host = exchange.host if target.preserve_host else None
        identity = self.policy.identity
        head = request_head(
            exchange,
            host=host or target.authority,
            framing=self.framing,
            put=put,
            drop=drop | route.dropped if route.dropped else drop,
            whole=self.filters is not None,
            part=self.part,
            identity=identity,
            outward=route.outward,
            prefix=route.prefix,
            base=route.base,
            upgrade=upgrade,
        )
        if not route.outward:
            identity.count(exchange.head.index, trusted=exchange.client.trusted)
        return head

    def _known_bytes(self, known: KnownHead, put: Fields) -> bytes:
        """Return the head that the backend receives, made of what did for the requests before."""
        exchange = self.exchange
        names = (put[0][0],) if len(put) == 1 else tuple([name for name, _ in put])
        # Whether tracestate goes on depends on the traceparent beside it.
        traced = b"tracestate" in exchange.head.index and exchange.trace is not None and exchange.trace.parent_id != ""
        what = (self.filters is not None, names, traced)
        front = known.front
        if front is None or known.front_of != what:
            route, identity = self.route, self.policy.identity
            target = route.target
            front = known.front = front_format(
                exchange,
                known.places,
                host=(exchange.host if target.preserve_host else b"") or target.authority,
                put=names,
                drop=route.dropped,
                whole=self.filters is not None,
                identity=identity,
                prefix=route.prefix,
                base=route.base,
            )
            known.front_of = what
            known.claims = identity.has_claims(exchange.head.index, trusted=exchange.client.trusted)
        if known.claims:
            self.policy.identity.count(exchange.head.index, trusted=exchange.client.trusted)
        return front.filled(exchange) + head_end(exchange, self.framing, put)

    def skip_body(self) -> bool:
        """Skip a body that is already here; one that is still to come ends the connection instead."""
        unread = self.unread
        if unread != 0 and self.keep:
            self.keep = unread > 0 and self.connection.take_whole(unread) is not None
            if self.keep:
                self.unread = 0
        return self.keep

    def backend_event(self, code: Code, reason: str) -> None:
        """Record CHAT_ERROR for a message that got no answer."""
        if self.route.inspected:
            detail = {"reason": reason, "code": code.name}
            event = about(self.exchange, Event.CHAT_ERROR, Outcome.FAILED, self.exchange.now, code.status, detail)
            self.services.events.record(event)

    def broke_off(self, reason: str) -> None:
        """Record that an answer ended before its end: the client could only be shown a broken connection."""
        detail = {"reason": reason, "code": Code.BACKEND_BROKEN.name, "answered": self.status}
        event = about(self.exchange, Event.BACKEND_ERROR, Outcome.FAILED, self.exchange.now, self.status, detail)
        self.services.events.record(event)
        self.backend_event(Code.BACKEND_BROKEN, reason)

    def record(self) -> None:
        """Record the finished request; once, at its end."""
        exchange, connection = self.exchange, self.connection
        if exchange.limits is not None and exchange.limits.counted:
            self.services.limits(exchange.limits)
        duration = self.services.clock.monotonic() - exchange.started
        path = exchange.head.path
        self.services.events.served(
            Served(
                exchange.now,
                exchange.id,
                exchange.client.address or exchange.peer,
                exchange.organization,
                exchange.session_key[:8],
                self.route.name,
                exchange.head.method,
                path if len(path) <= MAX_PATH else path[: MAX_PATH + 1],
                self.status,
                duration,
                self.spent if self.backend >= 0 else duration,
                self.backend,
                connection.received - self.began,
                connection.sent - self.sent_before,
                self.route.inspected,
                exchange.texts,
                exchange.characters,
                self.provider_id,
                other_site(exchange) if self.known is None else self.known.site,
                exchange.trace,
                exchange.usage,
            )
        )
