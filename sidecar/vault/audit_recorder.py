"""Records what is done and refused: in the audit log, and as an event."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sidecar.clock import Clock
from sidecar.errors import StoreUnavailable
from sidecar.events import EventSink, SecurityEvent
from sidecar.vault.audit import AuditLog, Entry, Facts
from sidecar.vault.database import Write
from sidecar.vault.errors import VaultError
from sidecar.vault.models import Actor
from sidecar.vocabulary import Event, Outcome

DONE = "done"
REFUSED = "refused"


class AuditRecorder:
    """The one place that turns an operation into an audit entry and an event."""

    def __init__(self, log: AuditLog, events: EventSink, clock: Clock) -> None:
        self._log = log
        self._events = events
        self._clock = clock

    def entry(self, actor: Actor, action: str, organization: str, subject: str, detail: Facts | None = None) -> Entry:
        """Return the entry of something done, to be appended in the transaction that does it."""
        return Entry(self._clock.now(), actor, action, DONE, organization, subject, detail or {})

    async def append(self, write: Write, entry: Entry) -> None:
        """Append an entry in the transaction of the change that it records."""
        await self._log.append(write, entry)

    async def record(
        self,
        actor: Actor,
        action: str,
        outcome: str,
        organization: str,
        subject: str,
        detail: Facts | None = None,
    ) -> None:
        """Append an entry that belongs to no change of the vault's own."""
        await self._log.record([Entry(self._clock.now(), actor, action, outcome, organization, subject, detail or {})])

    def tell(self, actor: Actor, event: Event, outcome: Outcome, organization: str, detail: Facts) -> None:
        """Record an event."""
        told = {**detail, "actor": actor.name}
        at = self._clock.now()
        self._events.record(
            SecurityEvent(event, outcome, at, actor.request_id, actor.address, organization, detail=told)
        )

    @asynccontextmanager
    async def refusals(self, actor: Actor, action: str, organization: str, subject: str) -> AsyncIterator[None]:
        """Record a refusal that is raised in the block, then let it pass on."""
        try:
            yield
        except VaultError as error:
            # Nothing was changed. If the log cannot be written either, the caller still gets the reason.
            with suppress(StoreUnavailable):
                await self.record(actor, action, REFUSED, organization, subject, {"reason": error.reason})
            raise
