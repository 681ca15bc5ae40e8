"""A fact, as the log, the metrics and the console receive it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from sidecar.exchange import Exchange, TokensUsed
from sidecar.trace_context import TraceContext
from sidecar.vocabulary import Event, Outcome

MAX_PATH: Final = 2048
"""Characters of a path that a log line has; records wait in queues, so their paths are cut one after it."""


@dataclass(frozen=True)
class SecurityEvent:
    """One recorded fact. Fields that do not apply are empty; `at` is seconds since the epoch.

    `detail` holds names, counts, sizes and addresses; never message text, a key, a token, a cookie
    or a query value. `path` is the raw path without its query.
    """

    event: Event
    outcome: Outcome
    at: float
    request_id: str = ""
    client_ip: str = ""
    organization: str = ""
    session: str = ""
    route: str = ""
    method: str = ""
    path: str = ""
    status: int = 0
    detail: Mapping[str, Any] = field(default_factory=dict)
    trace_id: str = ""


class Served(NamedTuple):
    """One finished request: the access line and the request metrics are made of it.

    duration  seconds from the complete head to the last byte
    overhead  seconds spent here: duration less the waiting for backend and client
    backend   seconds from sending to the head of the backend's answer; negative: it was not asked
    inspected the route's messages were looked at, and the backend got one
    texts     texts in it that were looked at; `characters` is their length together
    origin    the allowed Origin of another site, "" for a request without one or of our own page
    usage     tokens and cost of the models that it used, as far as they are known
    provider_id the id that the provider or backend gave the request, when it is not ours
    """

    at: float
    request_id: str
    client_ip: str
    organization: str
    session: str
    route: str
    method: str
    path: str
    status: int
    duration: float
    overhead: float
    backend: float
    received: int
    sent: int
    inspected: bool = False
    texts: int = 0
    characters: int = 0
    provider_id: str = ""
    origin: str = ""
    trace: TraceContext | None = None
    usage: TokensUsed | None = None


class EventSink(Protocol):
    """Where facts go. It never blocks and never raises: recording must not break a request."""

    def record(self, event: SecurityEvent) -> None:
        """Take one event."""
        ...

    def served(self, served: Served) -> None:
        """Take the summary of one finished request."""
        ...


def about(
    exchange: Exchange,
    event: Event,
    outcome: Outcome,
    at: float,
    status: int = 0,
    detail: Mapping[str, Any] | None = None,
) -> SecurityEvent:
    """Build an event of the kind `event` from an exchange."""
    return SecurityEvent(
        event,
        outcome,
        at,
        exchange.id,
        exchange.client.address or exchange.peer,
        exchange.organization,
        exchange.session_key[:8],
        exchange.route,
        exchange.head.method,
        exchange.head.path,
        status,
        detail or {},
        exchange.trace.trace_id if exchange.trace is not None else "",
    )
