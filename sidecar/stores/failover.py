"""Rate limits that go on in memory while the shared store is away, and are merged into it when it is back."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Final, Protocol, cast

from sidecar.clock import Clock
from sidecar.errors import StoreUnavailable
from sidecar.events import EventSink, SecurityEvent
from sidecar.limit import Ask, Limit, Takes
from sidecar.stores.interfaces import KnownSession, RateStore, SessionTakes
from sidecar.stores.memory_rates import KNOWN, MemoryRateStore, Spent
from sidecar.vocabulary import Event, Outcome

MERGED_AT_ONCE: Final = 200
"""Windows in one round trip of a merge: a few milliseconds of Redis."""


class Circuit:
    """Whether the shared store may be asked. Requests open it; only the background probe closes it.

    Until the first probe it is open without an event: starting before Redis is not a fault.
    """

    def __init__(self, store: str, events: EventSink, clock: Clock) -> None:
        self.store = store
        self.up = False
        self.replicas = 1
        self._events = events
        self._clock = clock
        self._since = clock.monotonic()
        self._told = False
        self.opened: Callable[[], None] | None = None
        """Called when the store is given up."""

    def trip(self, error: StoreUnavailable) -> None:
        """Stop asking the store; recorded once."""
        if self.up or not self._told:
            self.up = False
            self._told = True
            self._since = self._clock.monotonic()
            self._record(Event.STORE_DEGRADED, Outcome.FAILED, {"store": self.store, "why": str(error)})
            if self.opened is not None:
                self.opened()

    def close(self) -> None:
        """Ask again."""
        if self.up:
            return
        self.up = True
        if self._told:
            seconds = round(self._clock.monotonic() - self._since, 3)
            self._record(Event.STORE_RECOVERED, Outcome.ALLOWED, {"store": self.store, "seconds": seconds})
        self._told = True

    @property
    def since(self) -> float:
        """When it last opened, by the monotonic clock."""
        return self._since

    def _record(self, event: Event, outcome: Outcome, detail: dict[str, str | float]) -> None:
        self._events.record(SecurityEvent(event, outcome, self._clock.now(), detail=detail))


class SharedRateStore(RateStore, Protocol):
    """A RateStore that reports what it admits, passes on what it cannot decide, and takes over later admissions."""

    admitted: Callable[[Sequence[Ask], float], None] | None
    instead: Callable[[Sequence[Ask], float, StoreUnavailable], Takes] | None
    lost: Callable[[StoreUnavailable], None] | None

    def take_with(self, known: KnownSession, asks: Sequence[Ask], now: float) -> Future[SessionTakes | None] | None:
        """Do what `take` does if the session is still there."""
        ...

    async def merge(self, spent: Sequence[Spent]) -> None:
        """Add requests that were admitted without the shared store to its windows, by their age."""
        ...


class FailoverRateStore:
    """Ask the primary while the circuit is closed, memory while it is open.

    `mirror` knows at all times what this replica admitted. Alone, it admits up to limit ÷ live
    replicas, what it had admitted before included: one replica never exceeds a limit through an
    outage. What is admitted meanwhile is also written down as debt, and `settle` pays it.
    """

    def __init__(
        self, primary: SharedRateStore, mirror: MemoryRateStore, circuit: Circuit, max_keys: int = 100_000
    ) -> None:
        self._most = max_keys
        self._primary = primary
        self._mirror = mirror
        self._circuit = circuit
        self._debt = MemoryRateStore(self._most)
        self._owed = MemoryRateStore(self._most)
        self._shares: dict[int, tuple[Limit, int, Limit]] = {}
        primary.admitted = mirror.record
        primary.instead = self._instead
        primary.lost = circuit.trip

    def take(self, asks: Sequence[Ask], now: float) -> Takes | Awaitable[Takes]:
        """Consume one request of every ask, or none."""
        if not self._circuit.up:
            return self._alone(asks, now)
        return self._primary.take(asks, now)

    def take_with(self, known: KnownSession, asks: Sequence[Ask], now: float) -> Future[SessionTakes | None] | None:
        """Do the same in one question with the request's session; None while the shared store is away."""
        return self._primary.take_with(known, asks, now) if self._circuit.up else None

    def peek(self, asks: Sequence[Ask], now: float) -> Takes | Awaitable[Takes]:
        """Answer like `take`, consuming nothing."""
        if not self._circuit.up:
            return self._mirror.peek(self._shared(asks), now)
        return self._peeked(asks, now)

    async def reset(self, per: str, subject: str) -> int:
        """Forget every window of one subject; while the shared store is away, what is counted here."""
        here = await self._mirror.reset(per, subject)
        for owed in (self._debt, self._owed):
            await owed.reset(per, subject)
        if not self._circuit.up:
            return here
        try:
            return max(await self._primary.reset(per, subject), here)
        except StoreUnavailable as error:
            self._circuit.trip(error)
            return here

    async def settle(self, clock: Callable[[], float], lost: bool) -> None:
        """Send the primary what was admitted without it, then close the circuit.

        `lost`: the primary came back empty and is sent everything that this replica knows. Raises
        StoreUnavailable when it goes away meanwhile; what was not sent is sent the next time.
        """
        if lost:
            self._debt, self._owed = MemoryRateStore(self._most), MemoryRateStore(self._most)
            await self._pay(self._mirror, clock(), keep=True)
        while len(self._owed) or len(self._debt):
            if not len(self._owed):
                self._owed, self._debt = self._debt, self._owed
            await self._pay(self._owed, clock(), keep=False)
            self._owed = MemoryRateStore(self._most)
        self._circuit.close()  # Nothing is awaited since the debt was seen to be empty.

    def cleanup(self, now: float) -> None:
        """Forget what is over."""
        for store in (self._mirror, self._debt, self._owed):
            store.cleanup(now)

    async def _pay(self, owed: MemoryRateStore, now: float, *, keep: bool) -> None:
        spent = owed.spent(now)
        while batch := list(islice(spent, MERGED_AT_ONCE)):
            await self._primary.merge(batch)
            if not keep:
                owed.settled(batch)

    def _instead(self, asks: Sequence[Ask], now: float, error: StoreUnavailable) -> Takes:
        self._circuit.trip(error)
        return self._alone(asks, now)

    async def _peeked(self, asks: Sequence[Ask], now: float) -> Takes:
        try:
            return await cast(Awaitable[Takes], self._primary.peek(asks, now))
        except StoreUnavailable as error:
            self._circuit.trip(error)
            return self._mirror.peek(self._shared(asks), now)

    def _alone(self, asks: Sequence[Ask], now: float) -> Takes:
        takes = self._mirror.take(self._shared(asks), now)
        if all(take.allowed or not ask.counted for ask, take in zip(asks, takes, strict=True)):
            self._debt.record(asks, now)
        return takes

    def _shared(self, asks: Sequence[Ask]) -> tuple[Ask, ...]:
        """Return the asks at this replica's share of their limits, at least 1."""
        replicas = self._circuit.replicas
        return tuple([Ask(self._share(ask.limit, replicas), ask.subject, ask.counted) for ask in asks])

    def _share(self, limit: Limit, replicas: int) -> Limit:
        entry = self._shares.get(id(limit))
        if entry is not None and entry[1] == replicas:
            return entry[2]
        if len(self._shares) >= KNOWN:
            self._shares.clear()
        share = Limit(limit.name, limit.per, max(1, limit.limit // replicas), limit.window)
        # The limit itself is kept beside its share: its id cannot be used anew meanwhile.
        self._shares[id(limit)] = (limit, replicas, share)
        return share
