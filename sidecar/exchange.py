"""One request and all that is known about it: the value that guards look at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from sidecar.head import RequestHead
from sidecar.limit import LimitReport, Takes
from sidecar.session import Session
from sidecar.trace_context import TraceContext


@dataclass(init=False)  # a generated constructor is not compiled; nothing writes to it
class Client:
    """The client of a request.

    address  the client's address as text, IPv4-in-IPv6 unmapped (`203.0.113.9`)
    subject  what counts as one client: the address, or its IPv6 prefix (`2001:db8:1:2::/64`)
    network  the address's /24 or /64, for binding sessions
    trusted  the peer is a trusted proxy, whose forwarding headers count
    refused  the address may not come in (deny list, or not on the allow list)
    exempt   it can never be banned (a trusted proxy itself)
    uncounted  a trusted proxy's own requests, such as health probes: no limit counts them
    """

    address: str
    subject: str
    network: str
    trusted: bool
    refused: bool
    exempt: bool
    uncounted: bool

    def __init__(
        self,
        address: str,
        subject: str,
        network: str,
        trusted: bool = False,
        refused: bool = False,
        exempt: bool = False,
        uncounted: bool = False,
    ) -> None:
        self.address = address
        self.subject = subject
        self.network = network
        self.trusted = trusted
        self.refused = refused
        self.exempt = exempt
        self.uncounted = uncounted


class TokensUsed(NamedTuple):
    """The tokens that a model has used for one request.

    cost       in nano-dollars; None: the model has no price
    estimated  the provider did not report them
    """

    model: str
    given: int
    made: int
    cost: int | None = None
    estimated: bool = False


UNKNOWN_CLIENT = Client("", "", "")


class Exchange:
    """A request on its way. Each mutable field names its one writer."""

    id: str
    started: float  # clock.monotonic() when the head was complete
    now: float  # clock.now() at the same moment
    head: RequestHead
    peer: str  # the address at the other end of the socket
    secure: bool  # the public scheme is https; guards.address may set it
    public_host: bytes | None = None  # guards.address: what a trusted proxy says in place of Host
    trace: TraceContext | None = None  # proxy.listener
    route: str = ""  # proxy.handler, from the policy's table
    client: Client = UNKNOWN_CLIENT  # guards.address
    organization: str = "default"  # guards.organization
    user: str = ""  # guards.organization: the verified token's subject, "" when there is none
    origin: bytes | None = None  # guards.cors: the allowed Origin of this request, as sent
    session_id: str = ""  # guards.session_id: what the client presented, if well-formed; guards.sessions: what begins
    session_key: str = ""  # its writers are those of the id: SHA-256 in hex
    handle: str = ""  # guards.egress: the id of a stored handle
    key_fault: str = ""  # proxy.credential_injection: why no key goes into the request
    credential: str = ""  # proxy.credential_injection: the id of the credential whose key goes into the request
    session: Session | None = None  # guards.session; guards.sessions: one that begins, or is learned from the answer
    texts: int = 0  # messages.message_guard: texts that were looked at
    characters: int = 0  # messages.message_guard: their length together
    parsed: tuple[bytes, object] | None = None  # messages.strict_json: the body that was parsed last, and its value
    says_new: bool = False  # messages.message_guard: limits count it; False: a page sends it beside a message
    taken: Takes | None = None  # guards.sessions: its limits were taken with the session; guards.rate_limit reads it
    limits: LimitReport | None = None  # guards.rate_limit
    question: str = ""  # messages.guardrail: what the answer is to, where a service judges answers
    refused_by: str = ""  # admission: the name of the guard that refused
    releases: list[Callable[[], None]]  # guards.concurrency: given back when the exchange ends
    spend: Any = None  # guards.budgets: the Spend that holds what the request may use of its budgets
    usage: TokensUsed | None = None  # responses: what the model used, once it is known
    left: bool = False  # proxy.handler: the client left before the end
    notes: dict[str, str]  # response headers that a guard owes (`X-Sidecar-Sanitized`)
    pending: list[Callable[[], Awaitable[None]]]
    """Of filters of the answer: done before the client sees what they found."""

    def __init__(self, request_id: str, started: float, now: float, head: RequestHead, peer: str, secure: bool) -> None:
        self.id = request_id
        self.started = started
        self.now = now
        self.head = head
        self.peer = peer
        self.secure = secure
        self.releases = []
        self.notes = {}
        self.pending = []

    def anew(self) -> Exchange:
        """Return the same request as no guard has met it."""
        made = Exchange(self.id, self.started, self.now, self.head, self.peer, self.secure)
        made.trace, made.route = self.trace, self.route
        return made

    @property
    def host(self) -> bytes:
        """The public host: what the client was sent to, with its port if that is not the scheme's own; b"" if none."""
        return self.public_host or self.head.index.get(b"host", b"")
