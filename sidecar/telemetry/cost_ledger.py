"""What models have cost, by organization and day: summaries of requests are added up, and written once a minute."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from sidecar.clock import Clock
from sidecar.errors import StoreUnavailable
from sidecar.events import Served
from sidecar.vault.costs import MAX_ORGANIZATIONS, OTHERS, Cost, DayAndOrganization, named
from sidecar.waiting_records import FollowedSink, WaitingRecords

_log = logging.getLogger(__name__)
DAYS: Final = 31
"""Days that are kept, today included."""
WRITTEN: Final = 60.0
"""Seconds between two writings: what a killed process loses of its costs."""
LAST: Final = 2.0
"""Seconds that the last writing may take when the process ends."""


class CostStore(Protocol):
    """Sums that outlive the process, and that replicas share: `vault.costs`. Every method raises StoreUnavailable."""

    async def add(self, costs: Mapping[DayAndOrganization, Cost], oldest: str) -> None:
        """Add sums, and delete days before `oldest`."""
        ...

    async def read(self, since: str, organization: str | None, most: int) -> dict[DayAndOrganization, Cost]:
        """Return the sums of the days from `since` on: of one organization, or (None) of the `most` that cost most.

        The others are summed up under no name.
        """
        ...

    async def forget(self, organization: str) -> int:
        """Delete the rows of an organization; return how many there were."""
        ...


@dataclass(frozen=True, slots=True)
class CostReport:
    """Sums by day and organization.

    since   the first day
    stored  they are in the vault's database, and are those of all replicas; False: of this process since its start
    """

    since: str
    stored: bool
    costs: Mapping[DayAndOrganization, Cost]


class CostLedger:
    """Adds up what finished requests have cost. Without a store the sums are those of this process."""

    def __init__(self, clock: Clock, events: FollowedSink, store: CostStore | None = None) -> None:
        self._clock = clock
        self._events = events
        self._store = store
        self._waiting: WaitingRecords[Served] = WaitingRecords(
            self._add_up, "costs were not added up", self._now_and_then
        )
        self._written = 0.0
        self._sums: dict[DayAndOrganization, Cost] = {}  # without a store: all; with one: not written yet
        self._names: dict[str, int] = {}  # day → organizations with a sum of their own
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Add up from now on; call it on the running loop."""
        self._events.follow(self._waiting.put)
        self._written = self._clock.monotonic()
        self._task = asyncio.get_running_loop().create_task(self._waiting.run(), name="cost-ledger")

    async def close(self) -> None:
        """Add what waits, and write it, within `LAST` seconds."""
        self._events.leave(self._waiting.put)
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        self.count()
        try:
            async with asyncio.timeout(LAST):
                await self.write()
        except (StoreUnavailable, TimeoutError):
            _log.warning("costs of the last minute were not written: the database does not answer")

    def count(self) -> None:
        """Add up what waits."""
        self._waiting.count()

    async def write(self) -> None:
        """Write what was added since the last writing. Raises StoreUnavailable; it is written the next time."""
        if self._store is None:
            self._drop_old()
            return
        if not self._sums:
            return
        sums, names = self._sums, self._names
        self._sums, self._names = {}, {}
        try:
            await self._store.add(sums, self._since(DAYS))
        except BaseException:
            fresh = self._sums
            self._sums, self._names = sums, names
            for (day, name), cost in fresh.items():
                self._sum(day, name).add(cost)
            self._drop_old()
            raise

    async def report(self, days: int, organization: str | None, most: int) -> CostReport:
        """Return the sums of the last `days` days, today included. Raises StoreUnavailable.

        Of one organization, or (None) of the `most` that cost most, and of all others together.
        """
        self.count()
        since = self._since(days)
        found: dict[DayAndOrganization, Cost] = {}
        if self._store is not None:
            found = await self._store.read(since, organization, most)
        here = {key: cost for key, cost in self._sums.items() if key[0] >= since and organization in (None, key[1])}
        names = {name for _, name in found if name != OTHERS}
        for name in _dearest(here):
            if len(names) < most:
                names.add(name)
        for (day, name), cost in here.items():
            found.setdefault((day, name if name in names else OTHERS), Cost()).add(cost)
        return CostReport(since, self._store is not None, found)

    async def forget(self, organization: str) -> int:
        """Delete what an organization has cost; return how many days that were. Raises StoreUnavailable."""
        here = self.drop(organization)
        return max(here, await self._store.forget(organization)) if self._store is not None else here

    def drop(self, organization: str) -> int:
        """Drop what is not written yet of an organization; return of how many days there was something."""
        self.count()
        gone = [key for key in self._sums if key[1] == organization and organization != OTHERS]
        for key in gone:
            del self._sums[key]
        return len(gone)

    async def _now_and_then(self) -> None:
        """Write once a minute; the database's own watch tells of an outage."""
        if self._clock.monotonic() - self._written >= WRITTEN:
            self._written = self._clock.monotonic()
            await self.write()

    def _add_up(self, waiting: Iterator[Served]) -> None:
        for served in waiting:
            if served.usage is not None:
                self._count(served)

    def _count(self, served: Served) -> None:
        used = served.usage
        if used is None:
            return
        tokens = used.given + used.made
        day = _day(served.at)
        cost = Cost(1, used.given, used.made, used.cost or 0, tokens if used.cost is None else 0)
        self._sum(day, named(served.organization)).add(cost)

    def _sum(self, day: str, name: str) -> Cost:
        found = self._sums.get((day, name))
        if found is None:
            if name != OTHERS and self._names.get(day, 0) >= MAX_ORGANIZATIONS:
                return self._sum(day, OTHERS)
            if name != OTHERS:
                self._names[day] = self._names.get(day, 0) + 1
            found = self._sums[day, name] = Cost()
        return found

    def _drop_old(self) -> None:
        oldest = self._since(DAYS)
        self._sums = {key: cost for key, cost in self._sums.items() if key[0] >= oldest}
        self._names = {day: count for day, count in self._names.items() if day >= oldest}

    def _since(self, days: int) -> str:
        today = datetime.fromtimestamp(self._clock.now(), UTC).date()
        return (today - timedelta(days=days - 1)).isoformat()


def _dearest(costs: Mapping[DayAndOrganization, Cost]) -> list[str]:
    """Return the organizations, those that cost most first."""
    sums: dict[str, tuple[int, int]] = {}
    for (_, name), cost in costs.items():
        nano, given = sums.get(name, (0, 0))
        sums[name] = (nano + cost.nano, given + cost.given)
    sums.pop(OTHERS, None)
    return sorted(sums, key=lambda name: (-sums[name][0], -sums[name][1], name))


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
