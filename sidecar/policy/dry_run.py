"""Services that read the live ones and change nothing: no limit is taken, nothing is stored, no strike counts."""

# ruff: noqa: ARG002 - a read-only store ignores what it is given to write
from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sidecar.budget import Budget, Claim, Helds, Standing
from sidecar.clock import SystemClock
from sidecar.events import SecurityEvent, Served
from sidecar.exchange import Exchange
from sidecar.limit import Ask, Takes
from sidecar.services import Services
from sidecar.session import Session
from sidecar.stores.budget_ledger import BudgetLedger
from sidecar.stores.interfaces import Ban, BanStore, BudgetStore, Erased, RateStore, SessionsFound, SessionStore
from sidecar.stores.memory_bans import MemoryBanStore
from sidecar.stores.memory_budgets import MemoryBudgets
from sidecar.stores.memory_rates import MemoryRateStore
from sidecar.stores.memory_sessions import MemorySessionStore


class NullEventSink:
    """An EventSink that keeps nothing."""

    def record(self, event: SecurityEvent) -> None:
        """Say nothing."""

    def served(self, served: Served) -> None:
        """Say nothing."""


def isolated_services() -> Services:
    """Return a services in memory: no key, no network, no file but those that the policy names."""
    clock = SystemClock()
    return Services(
        rates=MemoryRateStore(),
        budgets=BudgetLedger(MemoryBudgets(), clock),
        waits=False,
        bans=MemoryBanStore(),
        sessions=MemorySessionStore(),
        events=NullEventSink(),
        clock=clock,
        open_requests={},
    )


def read_only_services(services: Services, sessions: SessionStore | None = None) -> Services:
    """Return services upon which a policy decides as it would upon these, with nothing changed or sent.

    They are isolated services with read-only views of some live ones, so that a new field of Services
    is isolated until it is named here. Moderation is left out: it would send the text away.
    `sessions` replaces the live session store.
    """
    return replace(
        isolated_services(),
        rates=ReadOnlyRates(services.rates),
        budgets=BudgetLedger(ReadOnlyBudgets(services.budgets.store), services.clock),
        waits=services.waits,
        bans=ReadOnlyBans(services.bans),
        sessions=sessions or ReadOnlySessions(services.sessions),
        clock=services.clock,
        open_requests=ReadOnlyCounts(services.open_requests),
        verify=services.verify,
    )


class ReadOnlyCounts(dict[str, int]):
    """How many requests each client has open. A guard may write to it as usual; writes are dropped."""

    def __init__(self, live: dict[str, int]) -> None:
        super().__init__()
        self._live = live

    def get(self, key: str, otherwise: Any = None, /) -> Any:
        """Return the live count of a client."""
        return self._live.get(key, otherwise)

    def pop(self, key: str, *otherwise: Any) -> Any:
        """Return the live count of a client and leave it there."""
        return self._live.get(key, *otherwise)

    def __setitem__(self, key: str, value: int) -> None:
        """Write nothing."""


class ReadOnlyRates:
    """A RateStore whose limits are looked at only."""

    def __init__(self, live: RateStore) -> None:
        self._live = live

    def take(self, asks: Sequence[Ask], now: float) -> Takes | Awaitable[Takes]:
        """Answer whether the request would be admitted; consume nothing."""
        return self._live.peek(asks, now)

    def peek(self, asks: Sequence[Ask], now: float) -> Takes | Awaitable[Takes]:
        """Answer from the live windows."""
        return self._live.peek(asks, now)

    async def reset(self, per: str, subject: str) -> int:
        """Forget nothing; return 0."""
        return 0


class ReadOnlyBudgets:
    """A BudgetStore whose budgets are looked at only: a hold that lasts no time is none."""

    def __init__(self, live: BudgetStore) -> None:
        self._live = live

    def claim(self, claims: Sequence[Claim], holder: str, ttl: float, now: float) -> Helds | Awaitable[Helds]:
        """Answer whether the request would be admitted; hold nothing."""
        return self._live.claim([claim._replace(spend=0) for claim in claims], holder, 0.0, now)

    async def look(self, budgets: Sequence[Budget], subject: str, now: float) -> Sequence[Standing]:
        """Return how the live budgets stand."""
        return await self._live.look(budgets, subject, now)

    async def forget(self, budgets: Sequence[Budget], subject: str) -> int:
        """Forget nothing; return 0."""
        return 0


class ReadOnlyBans:
    """A BanStore that reads the live bans and counts no strike."""

    def __init__(self, live: BanStore) -> None:
        self._live = live

    def banned(self, subject: str, now: float) -> float:
        """Return until when the subject is banned, in epoch seconds; 0.0 if it is not."""
        return self._live.banned(subject, now)

    def strike(self, subject: str, weight: int, now: float, kind: str = "", request: str = "") -> Ban | None:
        """Count nothing; return None."""
        return None

    def rule(self, strikes: int, within: float, duration: float) -> None:
        """Change no rule."""

    async def ban(self, subject: str, until: float, reason: str) -> None:
        """Add no ban."""

    async def lift(self, subject: str) -> bool:
        """Lift nothing; return False."""
        return False

    async def list(self, now: float) -> Sequence[Ban]:
        """Return the live bans."""
        return await self._live.list(now)

    def count(self) -> int:
        """Return how many bans are in force."""
        return self._live.count()


class ReadOnlySessions:
    """A SessionStore that is read only: sessions are neither begun nor prolonged, conversations not given away."""

    def __init__(self, live: SessionStore) -> None:
        self._live = live

    def bound(self, per_client: int) -> None:
        """Leave the live store's bound as it is."""
        return

    async def create(self, session: Session, seal: bytes, ttl: float) -> int:
        """Store nothing; return 0."""
        return 0

    async def get(self, key: str, seal: bytes, now: float) -> Session | None:
        """Return the live session, or None."""
        return await self._live.get(key, seal, now)

    async def touch(self, key: str, seen: float, ttl: float) -> None:
        """Prolong nothing."""

    async def delete(self, key: str, organization: str = "") -> bool:
        """End nothing; return False."""
        return False

    async def own(self, conversation: str, key: str, ttl: float, now: float) -> str:
        """Return the owner; `key`, which would become the owner, if there is none. Stores nothing."""
        return await self._live.owner(conversation, now) or key

    async def owner(self, conversation: str, now: float) -> str | None:
        """Return the key of the session that the conversation belongs to, or None."""
        return await self._live.owner(conversation, now)

    async def move(self, old: str, new: str, now: float) -> int:
        """Move nothing; return 0."""
        return 0

    async def erase(self, kind: str, subject: str) -> Erased:
        """Delete nothing; return zero counts."""
        return Erased()

    async def cleanup(self, now: float) -> int:
        """Drop nothing; return 0."""
        return 0

    async def count(self, now: float) -> int:
        """Return how many sessions the live store has."""
        return await self._live.count(now)

    async def counts(self, organization: str | None, now: float, most: int) -> Mapping[str, int]:
        """Return how many sessions organizations have in the live store."""
        return await self._live.counts(organization, now, most)

    async def search(self, prefix: str, organization: str | None, now: float, most: int) -> SessionsFound:
        """Return sessions of the live store whose key begins with `prefix`."""
        return await self._live.search(prefix, organization, now, most)

    async def some(self, organization: str, now: float, most: int) -> SessionsFound:
        """Return sessions of an organization in the live store."""
        return await self._live.some(organization, now, most)


class AssumedSessions(ReadOnlySessions):
    """Sessions where there is no live store: one that is presented is taken for a good one of that client."""

    def __init__(self, live: SessionStore) -> None:
        super().__init__(live)
        self.asked: Exchange | None = None  # explain, before the guards are asked
        self.believed = False

    async def get(self, key: str, seal: bytes, now: float) -> Session | None:
        """Return a session of the client in question, and note in `believed` that it was assumed."""
        exchange = self.asked
        if exchange is None:
            return None
        self.believed = True
        return Session(key, exchange.organization, now, now, exchange.client.network, exchange.client.subject)
