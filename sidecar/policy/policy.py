"""The compiled policy: frozen values that a request reads as they are."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecar.decision import Refuse
from sidecar.exchange import Exchange
from sidecar.guard import BodyStep, HeaderWriter, Step
from sidecar.guards.clients.identity_headers import IdentityHeaders
from sidecar.guards.limits.socket_rate_limit import SocketRateLimit
from sidecar.guards.response_headers.backend_urls import BackendUrls
from sidecar.head import VARYING
from sidecar.limit import LimitReport
from sidecar.messages.websocket_messages import WebSocketMessageGuard
from sidecar.policy.routes import RouteTable
from sidecar.responses.interfaces import ResponseFilters

if TYPE_CHECKING:
    from sidecar.suggest.observer import Observer


@dataclass(frozen=True, slots=True)
class Injection:
    """Whose key goes into a request, and how: `header` puts the key in, `handle` a phantom one.

    name    which credential, when an organization has several; empty: the newest
    sealed  only to the hosts that are sealed with the key, also when the target is on this machine
    """

    provider: str
    form: str
    ttl: float = 900.0
    name: str = ""
    sealed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class BackendTarget:
    """Where requests go. Times in seconds. Compared by identity: it is looked up once a request."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    server_name: str
    authority: bytes
    preserve_host: bool
    connect: float
    first_byte: float
    idle: float
    max_connections: int
    local: bool = False  # on this machine: what goes there does not leave the pod
    path: str = ""  # of a Unix socket, in place of host and port
    keep_alive: float | None = None  # rest of an idle connection; None: as it turns out

    def values(self) -> tuple[object, ...]:
        """Return what makes two targets the same server, used in the same way."""
        return (
            self.host, self.port, self.path, self.tls, self.server_name, self.max_connections, self.keep_alive,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the routing table with everything that its requests meet, in order.

    target     the backend
    prefix     what the target's path loses on its way (an egress provider's name)
    base       what it gets instead (the base path of the provider's URL)
    outward    the other end is a third party: it gets no headers about the client
    steps      head guards; `settled_steps` are those that go by the head alone, `varying_steps` those of them that
               look at its varying fields, `open_steps` the others
    body_steps guards of the complete body; when empty, bodies stream through a counter
    header_writers     header lines of every response
    removed    lower-case names that the backend's answer loses
    dropped    lower-case names that the client's request loses
    cookies    rewrites one Set-Cookie value of the backend: (value, secure) → value, or None to drop it
    urls       rewrites the backend's own address in its answers; None where it receives the public host
    max_body   bytes of a request's body
    frames     inspects text messages of its WebSockets
    observer   notes the shape of its WebSockets' messages, for suggestions; None: nothing does
    socket_limits  take one message of its WebSockets; None: nothing counts them
    peek       fills in `exchange.limits` for a refusal that came before limits were taken
    """

    name: str
    target: BackendTarget
    steps: tuple[Step, ...]
    header_writers: tuple[HeaderWriter, ...]
    removed: frozenset[bytes]
    cookies: Callable[[bytes, bool], bytes | None]
    max_body: int
    body_steps: tuple[BodyStep, ...] = ()
    dropped: frozenset[bytes] = frozenset()
    protocol: str = "plain"
    prefix: bytes = b""
    base: bytes = b""
    outward: bool = False
    inspected: bool = False
    injection: Injection | None = None
    filters: ResponseFilters | None = None
    frames: WebSocketMessageGuard | None = None
    socket_limits: SocketRateLimit | None = None
    observer: Observer | None = None
    peek: Callable[[Exchange], Awaitable[None] | None] | None = None
    urls: BackendUrls | None = None
    settled_steps: tuple[Step, ...] = field(init=False, repr=False, compare=False)
    varying_steps: tuple[Step, ...] = field(init=False, repr=False, compare=False)
    open_steps: tuple[Step, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        settled = tuple(step for step in self.steps if step.settled is not None)
        object.__setattr__(self, "settled_steps", settled)
        object.__setattr__(self, "varying_steps", tuple(step for step in settled if step.varying))
        object.__setattr__(self, "open_steps", tuple(step for step in self.steps if step.settled is None))


@dataclass(frozen=True, slots=True)
class RequestBounds:
    """Bounds of what one client can make the sidecar store or wait for. Sizes in bytes, times in seconds."""

    max_header_bytes: int
    max_fields: int
    max_target: int
    header_timeout: float
    body_timeout: float
    min_body_rate: int
    idle_timeout: float
    max_connections: int
    max_socket_message: int
    socket_idle: float
    socket_rate: int


@dataclass(frozen=True, slots=True)
class Policy:
    """One compiled policy. An exchange reads it once and keeps it to its end.

    malformed  the route of requests that have no readable head
    identity   which request headers never reach the other end
    struck     called with every refusal, also of a WebSocket message (with the report of its limits): bans
               count them
    varying    lower-case names of the fields by which heads differ from client to client
    """

    digest: str
    bounds: RequestBounds
    routes: RouteTable[Route]
    malformed: Route
    identity: IdentityHeaders
    struck: Callable[[Exchange, Refuse, LimitReport | None], None] | None = None
    varying: frozenset[bytes] = VARYING
