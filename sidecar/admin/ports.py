"""Interfaces that the management listener uses; other packages implement them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sidecar.admin.auth import Authority
from sidecar.budget import Budget
from sidecar.clock import Clock
from sidecar.events import EventSink
from sidecar.limit import Limit
from sidecar.revoked import Revoked
from sidecar.secret import Secret
from sidecar.stores.interfaces import BanStore, BudgetStore, RateStore, SessionStore, UsageStore
from sidecar.vault.costs import Cost, DayAndOrganization
from sidecar.vault.models import Actor, Change, CredentialSummary, Handle


class Exposition(Protocol):
    """The metrics: read on the loop, rendered in a thread."""

    def read(self) -> Any:
        """Copy the current numbers. Runs on the event loop, so it must be short."""
        ...

    def render(self, accept: str, reading: Any) -> tuple[bytes, str]:
        """Return the text of a reading and its content type, in the format that `accept` asks for. Runs in a thread."""
        ...


class EventSubscription(Protocol):
    """A subscription to events."""

    async def next(self, timeout: float) -> tuple[Sequence[Mapping[str, Any]], int]:  # noqa: ASYNC109
        """Wait up to `timeout` seconds; return the events since the last call, and how many of them were lost."""
        ...

    def close(self) -> None:
        """End the subscription and free its place."""
        ...


class Maintenance(Protocol):
    """The switch of maintenance mode."""

    def state(self) -> Mapping[str, Any]:
        """Return whether maintenance mode is on, with its message and Retry-After, as the API shows it."""
        ...

    def on(self, message: str, retry_after: float) -> None:
        """Refuse all requests from now on with `message`; `retry_after` is in seconds."""
        ...

    def off(self) -> None:
        """Serve requests again."""
        ...


class EventHistory(Protocol):
    """The latest events, each with the fields of its log line and a number `seq`."""

    def latest(
        self, *, limit: int = 100, organization: str | None = None, after: int = 0
    ) -> Sequence[Mapping[str, Any]]:
        """Return up to `limit` events with `seq` above `after`, of one organization or (None) of all."""
        ...

    def watch(self, organization: str | None = None) -> EventSubscription | None:
        """Subscribe to the events of one organization or (None) of all; None when too many are subscribed."""
        ...

    def forget(self, kind: str, subject: str) -> int:
        """Drop the events about an erased session, address or organization; return how many were dropped."""
        ...


class TrafficView(Protocol):
    """The last hour in minutes, and the latest access lines: `telemetry.history`."""

    def hour(self) -> Mapping[str, Any]:
        """Return the minutes of the last hour with their counts, and what they make together."""
        ...

    def about(self, request_id: str, organization: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Return the lines of one request; `organization` None: whosever it is."""
        ...

    def forget(self, kind: str, subject: str) -> None:
        """Drop the lines about an erased session, address or organization."""
        ...


class PolicyView(Protocol):
    """The live policy, as operators see it. No part contains a secret."""

    def state(self) -> Mapping[str, Any]:
        """Return `digest`, `mode`, `source`, `loaded_at`, `successful` and the `problems` of a rejected reload."""
        ...

    def text(self) -> str:
        """Return the YAML that is in force."""
        ...

    def notes(self) -> Sequence[str]:
        """Return what is right in it, but probably not meant."""
        ...

    def values(self) -> Sequence[tuple[str, str, str]]:
        """Return every value as (key path, value, where it comes from)."""
        ...

    def reloads(self) -> Sequence[Mapping[str, Any]]:
        """Return the policies that were tried, newest first: `at`, `successful`, `digest`, `problems`."""
        ...

    def document(self) -> Mapping[str, Any]:
        """Return the policy with its defaults filled in."""
        ...

    def limits(self) -> Sequence[Limit]:
        """Return every rate limit, those of routes included."""
        ...

    def budgets(self) -> Sequence[Budget]:
        """Return every budget."""
        ...


class PolicyCandidates(Protocol):
    """Judges a policy that is not in force: `explain.candidate`. `ok` False comes with the problems."""

    @property
    def is_busy(self) -> bool:
        """Whether one is being judged now."""
        ...

    async def check(self, text: str) -> Mapping[str, Any]:
        """Return the problems, or the notes and the digest."""
        ...

    async def diff(self, text: str) -> Mapping[str, Any]:
        """Return the effective values that would change."""
        ...

    async def replay(self, text: str) -> Mapping[str, Any]:
        """Return what would be refused of recent requests, compared with the policy in force."""
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

    async def recent(self, organization: str | None, *, limit: int = 100, before: int | None = None) -> Sequence[Any]:
        """Return up to `limit` entries, newest first; `before` is a sequence number to page back from."""
        ...


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
    ) -> tuple[Secret, Handle]:
        """Make a handle; return its secret, which is shown only now, and its record. `expires_at` is epoch seconds."""
        ...

    async def list(self, organization: str | None) -> Sequence[Handle]:
        """Return the stored handles of one organization or (None) of all, without their secrets."""
        ...

    async def revoke(self, actor: Actor, organization: str, handle: str) -> Handle:
        """Refuse a handle from now on; return its record. Raises NotFound."""
        ...


class Credentials(Protocol):
    """The vault's keys: `vault.credentials`. It audits what it does and what it refuses."""

    async def list(self, organization: str | None) -> Sequence[CredentialSummary]:
        """Return the credentials of one organization or (None) of all, without their values."""
        ...

    async def find(self, credential: str) -> CredentialSummary:
        """Return one credential by its id, without its value. Raises NotFound."""
        ...

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
    ) -> CredentialSummary:
        """Seal and store a key. `expires_at` is epoch seconds. Raises Conflict when the name is taken."""
        ...

    async def update(self, actor: Actor, organization: str, credential: str, change: Change) -> CredentialSummary:
        """Change name, hosts, expiry or value. Raises NotFound, or Conflict when the name is taken."""
        ...

    async def rotate(
        self, actor: Actor, organization: str, credential: str, value: Secret, *, expires_at: float | None = None
    ) -> CredentialSummary:
        """Replace the value; the old one is used until the new one is stored. Raises NotFound."""
        ...

    async def delete(self, actor: Actor, organization: str, credential: str) -> CredentialSummary:
        """Delete a credential; it is used for no further request. Raises NotFound."""
        ...

    async def test(
        self, actor: Actor, organization: str, provider: str, value: Secret, *, hosts: Sequence[str] | None = None
    ) -> CredentialTestResult:
        """Send a key that is not stored to its provider and report what the provider says of it."""
        ...

    async def test_stored(
        self, actor: Actor, organization: str, credential: str, *, value: Secret | None = None
    ) -> CredentialTestResult:
        """Send a stored key, or `value`, which is to take its place, to its provider and report what that says of it.

        Raises NotFound.
        """
        ...

    async def erase(self, actor: Actor, organization: str) -> Mapping[str, int]:
        """Delete all credentials and handles of an organization; return how many of each kind."""
        ...


class CredentialTestResult(Protocol):
    """A provider's response to a test of a key; `status` 0: it did not respond."""

    @property
    def valid(self) -> bool:
        """Whether the provider accepted the key."""
        ...

    @property
    def status(self) -> int:
        """The HTTP status of the provider's response; 0 when there was none."""
        ...

    @property
    def message(self) -> str:
        """A sentence for operators about the result; it never contains the key."""
        ...


class CostReport(Protocol):
    """What models have cost since a day."""

    @property
    def since(self) -> str:
        """The first day, in UTC (`2026-01-31`)."""
        ...

    @property
    def stored(self) -> bool:
        """Whether the sums are those of all replicas, from a database; else they are this process' since its start."""
        ...

    @property
    def costs(self) -> Mapping[DayAndOrganization, Cost]:
        """The sums by day and organization."""
        ...


class Costs(Protocol):
    """What models have cost, by organization and day."""

    async def report(self, days: int, organization: str | None, most: int) -> CostReport:
        """Return the sums of the last `days` days, today included. Raises StoreUnavailable.

        Of one organization, or (None) of the `most` that cost most, and of all others together under no name.
        """
        ...

    async def forget(self, organization: str) -> int:
        """Delete what an organization has cost; return how many rows that were. Raises StoreUnavailable."""
        ...


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
    ) -> None:
        """Append one entry: who did what to which subject, and the outcome. `detail` holds no secrets."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """All that the listener works with; None: this deployment has no such part, and its endpoints answer 404.

    not_ready  why this process should get no traffic now (starting, draining); empty when it should
    backend_ready  why the backend is not ready; "" when it is, or when the policy does not ask (`ready.backend`)
    subject_of the name under which an address is counted (an IPv6 address's prefix)
    suggestions  routes for what was observed; None while nothing is observed
    stores     which shared stores answer: `{"redis": True}`
    new_id     a fresh request id
    undeclared_proxies  peers that send forwarding headers without being trusted
    dropped_headers  request headers that were dropped because clients may not send them: lower-case name → times
    why        (request id, organization or None for all) → why it was refused; None: no recent refusal
    usage      histories of usage that outlive the process; None: there are none
    revoke     ends what runs for a subject, on every replica
    end_sessions  (actor, organization or "" when it is not known, keys): ends what runs for sessions that were ended,
               and refuses the handles that were made for them; False: those could not be refused
    verify_audit  (anchors) → what is proven of the audit log; None: another verification runs
    providers  the providers whose keys can be stored, with the hosts that their keys go to
    drain      begins to get ready to end, as SIGTERM does, without the end
    """

    clock: Clock
    events: EventSink
    metrics: Exposition
    recent: EventHistory
    history: TrafficView
    authority: Authority
    policy: PolicyView
    rates: RateStore
    budgets: BudgetStore
    bans: BanStore
    sessions: SessionStore | None
    credentials: Credentials | None
    handles: Handles | None
    audit: AuditTrail | None
    journal: AuditRecorder | None
    explain: Callable[[Question], Awaitable[Mapping[str, Any]]] | None
    candidates: PolicyCandidates
    suggestions: Callable[[], Mapping[str, Any] | None]
    not_ready: Callable[[], Sequence[str]]
    backend_ready: Callable[[], Awaitable[str]]
    subject_of: Callable[[str], str]
    stores: Callable[[], Mapping[str, bool]]
    new_id: Callable[[], str]
    dropped_headers: Callable[[], Mapping[str, int]]
    why: Callable[[str, str | None], Mapping[str, Any] | None]
    maintenance: Maintenance
    drain: Callable[[], None]
    revoke: Callable[[Revoked], None]
    end_sessions: Callable[[Actor, str, Sequence[str]], Awaitable[bool]]
    verify_audit: Callable[[Sequence[str]], Awaitable[Mapping[str, Any] | None]] | None
    providers: Callable[[], Sequence[Mapping[str, Any]]]
    costs: Costs
    usage: UsageStore | None
    undeclared_proxies: Callable[[], Sequence[str]]
