"""One call for the three stores: in memory, or on Redis with memory behind it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from sidecar.clock import Clock
from sidecar.errors import StoreUnavailable
from sidecar.events import EventSink, SecurityEvent
from sidecar.revoked import Cause, Revoked, SubjectKind
from sidecar.secret import Secret
from sidecar.stores.interfaces import BanStore, BudgetStore, RateStore, SessionStore, UsageStore
from sidecar.stores.memory_bans import MemoryBanStore
from sidecar.stores.memory_budgets import MemoryBudgets
from sidecar.stores.memory_rates import MemoryRateStore
from sidecar.stores.memory_sessions import MemorySessionStore
from sidecar.vocabulary import Event, Outcome

_log = logging.getLogger(__name__)

CLEANING = 1.0
"""Seconds between two cleanings; each is bounded, so that no request waits for it."""


LEAST_PAUSE = 0.1
"""Seconds between two rounds with Redis, however much there is to tell."""

AFTER_FAULT = 0.6
"""Seconds from a round that failed in a way that is not known to the next."""


async def _nothing() -> None:
    """Memory has nothing to close."""


def _ignore(_seconds: float) -> None:
    """Memory has nothing to wait for."""


def _untold(_revoked: Revoked) -> None:
    """Without Redis there is no other replica to tell, and before the start nothing runs that could be ended."""


@dataclass(slots=True)
class Stores:
    """Where windows, bans and sessions live. `start` before the first request, `close` after the last.

    Time for `rates` and `budgets` is the monotonic clock, for `bans` and `sessions` the epoch.
    """

    rates: RateStore
    budgets: BudgetStore
    bans: BanStore
    sessions: SessionStore
    states: Callable[[], Mapping[str, bool]]
    """Which stores are up, by name, for the metric `sidecar_store_up{store}`."""
    replicas: Callable[[], int]
    """How many replicas live, as far as this one knows."""
    _clock: Clock
    _events: EventSink
    _clean: Callable[[], None]
    _round: Callable[[], Awaitable[float]]
    _hang_up: Callable[[], Awaitable[None]]
    use_timeout: Callable[[float], None] = _ignore
    """Take over how long a request may wait for a shared store, in seconds."""
    _tell: Callable[[Revoked], None] = _untold
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    revoked: Callable[[Revoked], None] = _untold
    """Called with each revocation that this replica makes or receives, and with each ban that begins."""
    usage: UsageStore | None = None
    """Where histories of usage outlive the process; None without a shared store."""
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self) -> None:
        """Find the shared store within one short timeout, or begin without it; then run the background."""
        if self._tasks:
            return
        pause = await self._round()
        self._tasks = [asyncio.create_task(self._keep(pause)), asyncio.create_task(self._cleaning())]

    async def close(self) -> None:
        """End the background task and close the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._hang_up()

    def revoke(self, revoked: Revoked) -> None:
        """End what depends on a subject: here at once, on the other replicas within a second."""
        self.revoked(revoked)
        self._tell(revoked)

    def ban_began(self, subject: str) -> None:
        """A ban began here; the replicas tell each other of bans themselves."""
        self.revoked(Revoked(SubjectKind.IP, subject, Cause.BANNED))

    async def _keep(self, pause: float) -> None:
        loop = asyncio.get_running_loop()
        ended = loop.time()
        failing = False
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
                    early = ended + min(pause, LEAST_PAUSE) - loop.time()
                    if early > 0:
                        await asyncio.sleep(early)
            self._wake.clear()
            try:
                pause = await self._round()
                failing = False
            except Exception:  # noqa: BLE001  without rounds no revocation and no ban of another replica would arrive
                if not failing:  # told once, however long it lasts
                    _log.exception("a round with the shared stores failed; others follow")
                failing, pause = True, AFTER_FAULT
            ended = loop.time()

    async def _cleaning(self) -> None:
        while True:
            await asyncio.sleep(CLEANING)
            self._clean()
            await self.clean_sessions()

    async def clean_sessions(self) -> None:
        """Drop expired sessions, and record how many."""
        now = self._clock.now()
        try:
            gone = await self.sessions.cleanup(now)
        except StoreUnavailable:
            return  # the store has reported it; expired sessions are refused anyway, and dropped next time
        if gone:
            self._events.record(SecurityEvent(Event.SESSION_CLEANUP, Outcome.ALLOWED, now, detail={"sessions": gone}))


def open_stores(
    redis_url: Secret | None,
    *,
    clock: Clock,
    events: EventSink,
    strikes: int = 20,
    within: float = 60.0,
    duration: float = 900.0,
    max_keys: int = 100_000,
    max_bans: int = 100_000,
    max_sessions: int = 100_000,
    per_client: int = 100,
    prefix: str = "sidecar",
    timeout: float = 0.06,
) -> Stores:
    """Build the stores; nothing is connected before `start`. A wrong URL is a ConfigError, now."""
    rates = MemoryRateStore(max_keys)
    budgets = MemoryBudgets(max_keys)
    bans = MemoryBanStore(strikes, within, duration, max_bans)

    def clean() -> None:
        rates.cleanup(clock.monotonic())
        budgets.cleanup(clock.monotonic())
        bans.cleanup(clock.now())

    if redis_url is None:
        sessions = MemorySessionStore(max_sessions, per_client)
        states = {"memory": True}
        local = Stores(rates, budgets, bans, sessions, lambda: states, lambda: 1, clock, events, clean, _once, _nothing)
        bans.began = local.ban_began
        return local
    # redis-py costs 19 MiB: imported only where it is used.
    from sidecar.stores.redis_stores import SharedStores

    wake = asyncio.Event()
    shared = SharedStores(
        redis_url,
        clock,
        events,
        mirror=rates,
        budgets=budgets,
        bans=bans,
        per_client=per_client,
        prefix=prefix,
        timeout=timeout,
        heard=lambda revoked: stores.revoked(revoked),  # noqa: PLW0108  `revoked` is set once all is made
        hurry=wake.set,
    )

    def clean_all() -> None:
        clean()
        shared.rates.cleanup(clock.monotonic())

    stores = Stores(
        shared.rates,
        shared.budgets,
        shared.bans,
        shared.sessions,
        lambda: {"redis": shared.circuit.up},
        lambda: shared.circuit.replicas,
        clock,
        events,
        clean_all,
        shared.round,
        shared.close,
        shared.use_timeout,
        shared.revocations.tell,
        wake,
    )
    stores.usage = shared.usage
    bans.began = stores.ban_began
    return stores


async def _once() -> float:
    """Memory needs no background but the cleaning."""
    return 3600.0
