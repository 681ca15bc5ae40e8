"""What the management listener needs of the others, as small shapes that they fill."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sidecar.admin.auth import Authority
from sidecar.clock import Clock
from sidecar.events import EventSink
from sidecar.limit import Limit
from sidecar.secret import Secret
from sidecar.stores.interfaces import BanStore, RateStore, SessionStore
from sidecar.vault.models import Actor, Change, CredentialSummary, Handle


class Exposition(Protocol):
    """The metrics: read on the loop, rendered in a thread."""

    def read(self) -> Any: ...

    def render(self, accept: str, reading: Any) -> tuple[bytes, str]: ...


class EventSubscription(Protocol):
    """A subscription to events."""

    async def next(self, timeout: float) -> tuple[Sequence[Mapping[str, Any]], int]: ...  # noqa: ASYNC109

    def close(self) -> None: ...


class Maintenance(Protocol):
    """The switch of maintenance mode."""

    def state(self) -> Mapping[str, Any]: ...

    def on(self, message: str, retry_after: float) -> None: ...

    def off(self) -> None: ...


class EventHistory(Protocol):
    """The latest events, each with the fields of its log line and a number `seq`."""

    def latest(
        self, *, limit: int = 100, organization: str | None = None, after: int = 0
    ) -> Sequence[Mapping[str, Any]]: ...

    def watch(self, organization: str | None = None) -> EventSubscription | None: ...

    def forget(self, kind: str, subject: str) -> int: ...


class PolicyView(Protocol):
    """The live policy, as operators see it. No part contains a secret."""

    def state(self) -> Mapping[str, Any]:
        """Return `digest`, `mode`, `source`, `loaded_at`, `successful` and the `problems` of a rejected reload."""
        ...

    def document(self) -> Mapping[str, Any]:
        """Return the policy with its defaults filled in."""
        ...

    def limits(self) -> Sequence[Limit]:
        """Return every rate limit, those of routes included."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """A request that `explain` is asked about."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    address: str
    body: bytes


class AuditTrail(Protocol):
    """The audit log, as a reader sees it: `vault.audit`. A row is a dict of its columns."""

    async def recent(
        self, organization: str | None, *, limit: int = 100, before: int | None = None
    ) -> Sequence[Any]: ...


class Handles(Protocol):
    """Phantom keys: `vault.handles`."""

    async def create(
        self,
        actor: Actor,
        organization: str,
        provider: str,
        *,
        expires_at: float,
        session: str = "",
        name: str = "",
    ) -> tuple[Secret, Handle]: ...

    async def list(self, organization: str | None) -> Sequence[Handle]: ...

    async def revoke(self, actor: Actor, organization: str, handle: str) -> Handle: ...


class Credentials(Protocol):
    """The vault's keys: `vault.credentials`. It audits what it does and what it refuses."""

    async def list(self, organization: str | None) -> Sequence[CredentialSummary]: ...

    async def find(self, credential: str) -> CredentialSummary: ...

    async def create(
        self,
        actor: Actor,
        organization: str,
        provider: str,
        value: Secret,
        *,
        name: str = ...,
        hosts: Sequence[str] | None = None,
        expires_at: float | None = None,
    ) -> CredentialSummary: ...

    async def update(self, actor: Actor, organization: str, credential: str, change: Change) -> CredentialSummary: ...

    async def rotate(
        self, actor: Actor, organization: str, credential: str, value: Secret, *, expires_at: float | None = None
    ) -> CredentialSummary: ...

    async def delete(self, actor: Actor, organization: str, credential: str) -> CredentialSummary: ...

    async def test(
        self, actor: Actor, organization: str, provider: str, value: Secret, *, hosts: Sequence[str] | None = None
    ) -> CredentialTestResult: ...

    async def test_stored(self, actor: Actor, organization: str, credential: str) -> CredentialTestResult: ...

    async def erase(self, actor: Actor, organization: str) -> Mapping[str, int]: ...


class CredentialTestResult(Protocol):
    """A provider's response to a test of a key; `status` 0: it did not respond."""

    @property
    def valid(self) -> bool: ...

    @property
    def status(self) -> int: ...

    @property
    def message(self) -> str: ...


class AuditRecorder(Protocol):
    """Writes into the audit log: `vault.journal`. Raises StoreUnavailable when it cannot."""

    async def record(
        self,
        actor: Actor,
        action: str,
        outcome: str,
        organization: str,
        subject: str,
        detail: Mapping[str, str | int | float | bool | None] | None = None,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Ports:
    """All that the listener works with; None: this deployment has no such part, and its endpoints answer 404.

    not_ready  why this process should get no traffic now (starting, draining); empty when it should
    subject_of the name under which an address is counted (an IPv6 address's prefix)
    suggestions  routes for what was observed; None while nothing is observed
    stores     which shared stores answer: `{"redis": True}`
    new_id     a fresh request id
    undeclared_proxies  peers that send forwarding headers without being trusted
    dropped_headers  request headers that were dropped because clients may not send them: lower-case name → times
    why        (request id, organization or None for all) → why it was refused; None: no recent refusal
    drain      begins to get ready to end, as SIGTERM does, without the end
    """

    clock: Clock
    events: EventSink
    metrics: Exposition
    recent: EventHistory
    authority: Authority
    policy: PolicyView
    rates: RateStore
    bans: BanStore
    sessions: SessionStore | None
    credentials: Credentials | None
    handles: Handles | None
    audit: AuditTrail | None
    journal: AuditRecorder | None
    explain: Callable[[Question], Awaitable[Mapping[str, Any]]] | None
    suggestions: Callable[[], Mapping[str, Any] | None]
    not_ready: Callable[[], Sequence[str]]
    subject_of: Callable[[str], str]
    stores: Callable[[], Mapping[str, bool]]
    new_id: Callable[[], str]
    dropped_headers: Callable[[], Mapping[str, int]]
    why: Callable[[str, str | None], Mapping[str, Any] | None]
    maintenance: Maintenance
    drain: Callable[[], None]
    undeclared_proxies: Callable[[], Sequence[str]]
