"""Following the database: changes of other replicas, ends of keys, retention. One task per process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

from sidecar.clock import Clock
from sidecar.errors import SidecarError
from sidecar.events import EventSink, SecurityEvent
from sidecar.vault.audit import AuditLog, Entry
from sidecar.vault.audit_seal import HEAD, NOTHING, Seal
from sidecar.vault.database import Database, Versions
from sidecar.vault.keys import MasterKeys
from sidecar.vault.models import SIDECAR, Expiry, State
from sidecar.vocabulary import Event, Outcome

PRUNE_SECONDS: Final = 3600.0
HOUSEKEEPING_SECONDS: Final = 1.0
ANCHOR_SECONDS: Final = 60.0
UNREACHED_SECONDS: Final = 0.25
WARNINGS: Final = (7 * 86400, 86400, 3600, 0)  # seconds left at which an event reports an expiring key; 0: it expired
MAX_WARNED: Final = 100_000


class RefreshableHandles(Protocol):
    """The cache of handles."""

    async def refresh(self) -> None:
        """Read revoked sessions and each cached handle again."""
        ...


class WatchedVault(Protocol):
    """What a vault does when its database has changed."""

    audit_retention: float | None  # seconds

    @property
    def handles(self) -> RefreshableHandles:
        """The cache of handles to refresh."""
        ...

    async def refresh(self, *, preload: bool) -> None:
        """Read all credentials and forget what changed; with `preload`, open those that are not open."""
        ...

    async def preload(self) -> None:
        """Open every credential that is not open yet: redaction must know every key."""
        ...

    async def tell_changed(self) -> None:
        """Tell of a change of the database, once it has been read."""
        ...

    def confirm(self, at: float) -> None:
        """Note that the database was reached at `at` (epoch seconds) and nothing had changed."""
        ...

    def expiries(self) -> Iterable[Expiry]:
        """Return one fact per credential, as of the last look at the database."""
        ...


class DatabaseWatch:
    """Checks whether the database was written to, and then the change counters. Idle, it costs next to nothing."""

    def __init__(
        self,
        vault: WatchedVault,
        database: Database,
        audit: AuditLog,
        keys: MasterKeys,
        clock: Clock,
        events: EventSink,
        *,
        poll: float | None = None,
    ) -> None:
        self._vault = vault
        self._database = database
        self._audit = audit
        self._keys = keys
        self._clock = clock
        self._events = events
        self._poll = database.poll if poll is None else poll
        self._stamp: int | None = None
        self._housekeeping_at = float("-inf")
        self._seen: Versions | None = None
        self._head: Seal | None = None
        self._anchored: Seal | None = None
        self._anchored_at = float("-inf")
        self._reached = True
        self._pruned_at = float("-inf")
        self._warned: dict[tuple[str, str, str, int], int] = {}
        self._task: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task that watches; call it on the running loop."""
        self._task = asyncio.create_task(self._run(), name="vault-watch")

    def look_again(self) -> None:
        """Take the next look as the first: read everything, open what is not open."""
        self._seen = None

    async def stop(self) -> None:
        """Cancel the tasks, wait for their end, and report the audit anchor of the last state."""
        running = [task for task in (self._task, self._opening) if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._tell_anchor()

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
                await self._database.wait(self._poll if self._reached else max(self._poll, UNREACHED_SECONDS))
            except Exception as error:  # noqa: BLE001  a watch that ended would leave revoked keys in use
                self._stamp = None
                self._tell_reached(reached=False, cause=f"unexpected {type(error).__name__}")
                await asyncio.sleep(UNREACHED_SECONDS)

    async def look(self) -> None:
        """Check once. The begin and the end of an outage are each recorded once."""
        at = self._clock.now()
        try:
            stamp = await self._database.stamp()
            if self._seen is None or stamp is None or stamp != self._stamp:
                await self._read_changes()
                self._stamp = stamp
            self._vault.confirm(at)
            await self._prune()
        except SidecarError as error:
            self._stamp = None
            self._tell_reached(reached=False, cause=str(error))
            return
        self._tell_reached(reached=True, cause="")
        self._keep_house()

    async def _read_changes(self) -> None:
        state = await self._database.state()
        versions = Versions(state["credentials_version"], state["handles_version"])
        self._head = Seal.of(HEAD, state)
        if self._seen is None or versions.credentials != self._seen.credentials:
            await self._vault.refresh(preload=False)
            self._open_the_rest()
            self._housekeeping_at = float("-inf")
        if self._seen is None or versions.handles != self._seen.handles:
            await self._vault.handles.refresh()
        if versions != self._seen:
            await self._vault.tell_changed()
        self._seen = versions

    def _keep_house(self) -> None:
        """Drop derived keys that are over, and tell of credentials that end: once a second, not at every look."""
        now = self._clock.monotonic()
        if now - self._housekeeping_at >= HOUSEKEEPING_SECONDS:
            self._housekeeping_at = now
            self._keys.sweep()
            self._warn()
            if now - self._anchored_at >= ANCHOR_SECONDS:
                self._anchored_at = now
                self._tell_anchor()

    def _tell_anchor(self) -> None:
        """Write the end of the audit log, if it moved, to where a writer of the database cannot reach."""
        if self._head in (None, self._anchored) or self._head.place == NOTHING.place:
            return
        self._anchored = self._head
        authentic = self._audit.keys.holds(HEAD, self._head)
        outcome = Outcome.ALLOWED if authentic else Outcome.FAILED
        end = {"anchor": str(self._head)} if authentic else {"why": "the end of the audit log is not authentic"}
        detail = {"action": "audit.anchor", "actor": SIDECAR.name, **end}
        self._events.record(SecurityEvent(Event.ADMIN_ACTION, outcome, self._clock.now(), detail=detail))

    def _open_the_rest(self) -> None:
        # A task of its own: with many keys it takes seconds, and a revoked handle must not wait for it.
        if self._opening is not None:
            self._opening.cancel()
        self._opening = asyncio.create_task(self._vault.preload(), name="vault-preload")

    def _tell_reached(self, *, reached: bool, cause: str) -> None:
        if reached != self._reached:
            self._reached = reached
            event = Event.STORE_RECOVERED if reached else Event.STORE_DEGRADED
            outcome = Outcome.ALLOWED if reached else Outcome.FAILED
            self._events.record(
                SecurityEvent(event, outcome, self._clock.now(), detail={"store": "vault", "cause": cause})
            )

    async def _prune(self) -> None:
        now = self._clock.now()
        retention = self._vault.audit_retention
        if retention is None or self._clock.monotonic() - self._pruned_at < PRUNE_SECONDS:
            return
        self._pruned_at = self._clock.monotonic()
        await self._audit.prune(now - retention, Entry(now, SIDECAR, "audit.prune", "done"))

    def _warn(self) -> None:
        now = self._clock.now()
        for fact in self._vault.expiries():
            if fact.expires_at is not None and fact.state is not State.UNDECRYPTABLE:
                self._warn_of(fact, fact.expires_at, now)

    def _warn_of(self, fact: Expiry, expires_at: int, now: float) -> None:
        left = expires_at - now
        stage = next((seconds for seconds in reversed(WARNINGS) if left <= seconds), None)
        key = (fact.organization, fact.provider, fact.name, expires_at)
        if stage is None or self._warned.get(key, WARNINGS[0] + 1) <= stage:
            return
        if len(self._warned) >= MAX_WARNED:
            self._warned.clear()
        self._warned[key] = stage
        outcome = Outcome.REFUSED if stage == 0 else Outcome.ALLOWED
        detail = {"provider": fact.provider, "name": fact.name, "seconds_left": max(0, int(left))}
        self._events.record(
            SecurityEvent(Event.CREDENTIAL_EXPIRED, outcome, now, organization=fact.organization, detail=detail)
        )
