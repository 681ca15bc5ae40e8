"""Watches usage: requests leave a record behind, and once a second all of them are counted."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Final

from sidecar.anomalies.usage import (
    HOUR,
    QUIET_MINUTES,
    WINDOW,
    Measure,
    OrganizationUsage,
    Rule,
    SessionPopulation,
    SessionUsage,
    Unusual,
)
from sidecar.bounded_cache import BoundedCache
from sidecar.clock import Clock
from sidecar.events import SecurityEvent, Served
from sidecar.stores.interfaces import UsageStore
from sidecar.vocabulary import Event, Outcome
from sidecar.waiting_records import FollowedSink, WaitingRecords

_log = logging.getLogger(__name__)
ORGANIZATIONS: Final = 1000
SESSIONS: Final = 10_000
RESTORED_AT_ONCE: Final = 20
SAVED_AT_ONCE: Final = 20
"""Histories that are packed before others get their turn of the loop."""
NETWORKS_BYTES: Final = 1024 * 1024
LONGEST_NAME: Final = 64
SESSION_LEAST: Final = {Measure.REQUESTS: 2, Measure.TOKENS: 2, Measure.REFUSALS: 1, Measure.NETWORKS: 4}
"""For a session: the least of an organization divided by this; of networks, so many."""


class UsageWatch:
    """Looks for unusual usage of organizations and sessions, and records USAGE_ANOMALY.

    Off until `use`. What is known outlives the process in `store`; without one it is learnt anew.
    """

    def __init__(self, clock: Clock, events: FollowedSink, store: UsageStore | None = None) -> None:
        self._store = store
        self._clock = clock
        self._events = events
        self._rule = Rule()
        self._waiting: WaitingRecords[Served] = WaitingRecords(
            self._count_all, "usage was not counted", self._look_and_save
        )
        self._organizations: OrderedDict[str, OrganizationUsage] = OrderedDict()
        self._active: set[str] = set()
        self._sessions: dict[str, SessionUsage] = {}
        self._told: dict[str, int] = {}  # sessions that were told of → the minute until which they are not again
        self._population = SessionPopulation()
        self._networks: BoundedCache[str, str] = BoundedCache(NETWORKS_BYTES)
        self._minute = int(clock.now() // 60)
        self._new_models: dict[str, list[str]] = {}
        self._begun: list[str] = []  # organizations whose history was not looked for yet
        self._forgotten: deque[str] = deque(maxlen=ORGANIZATIONS)
        self._task: asyncio.Task[None] | None = None

    def use(self, rule: Rule | None) -> None:
        """Take over the rule of a policy; None: count no more, and forget what was counted."""
        if rule is None:
            self._stop()
            return
        self._rule = rule
        if self._task is None:
            self._minute = int(self._clock.now() // 60)
            self._events.follow(self._waiting.put)
            self._task = asyncio.get_running_loop().create_task(self._waiting.run(), name="usage-watch")

    async def close(self) -> None:
        """Count no more."""
        task = self._task
        self._stop()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    def _stop(self) -> None:
        self._events.leave(self._waiting.put)
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._waiting.clear()
        self._organizations.clear()
        self._sessions.clear()
        self._active.clear()
        self._told.clear()
        self._begun.clear()
        self._new_models.clear()
        self._population = SessionPopulation()

    async def _look_and_save(self) -> None:
        hour = self._minute // HOUR
        self.look()
        if self._store is not None:
            await self._restore(self._store)
            if self._minute // HOUR != hour:
                await self._save(self._store)

    def forget(self, organization: str) -> None:
        """Forget an organization that was erased, here and in the store."""
        self._organizations.pop(organization, None)
        self._active.discard(organization)
        self._new_models.pop(organization, None)
        if self._store is not None:
            self._forgotten.append(organization)

    async def _restore(self, store: UsageStore) -> None:
        """Delete what was erased, and look for the history of organizations that are new here."""
        while self._forgotten:
            await store.forget(self._forgotten[0])
            self._forgotten.popleft()
        for name in self._begun[:RESTORED_AT_ONCE]:
            organization = self._organizations.get(name)
            if organization is not None and not organization.restored:
                history = await store.load(name)
                if history is not None and not organization.restore(history, self._minute):
                    _log.warning("the stored usage of %s is not readable: its usual usage is learned anew", name)
                organization.restored = True
            self._begun.remove(name)

    async def _save(self, store: UsageStore) -> None:
        """Keep what is known, once an hour; not of an organization whose older history was not looked for yet."""
        known = [(name, each) for name, each in self._organizations.items() if each.restored]
        for start in range(0, len(known), SAVED_AT_ONCE):
            await store.save({name: each.packed() for name, each in known[start : start + SAVED_AT_ONCE]})
            await asyncio.sleep(0)

    def count(self) -> None:
        """Count the records that wait."""
        self._waiting.count()

    def _count_all(self, waiting: Iterator[Served]) -> None:
        for served in waiting:
            self._count(served)

    def look(self) -> None:
        """Compare what was used in the minute that is over, if one is."""
        minute = int(self._clock.now() // 60)
        if minute == self._minute:
            return
        for organization in self._active:
            self._look_at(organization, minute - 1)
        self._active.clear()
        for key, session in self._sessions.items():
            if key not in self._told:
                self._look_at_session(key, session)
        if minute // WINDOW != self._minute // WINDOW:
            self._population.learn(list(self._sessions.values()))
            self._sessions.clear()
            self._told = {key: until for key, until in self._told.items() if minute < until}
        self._minute = minute

    def _count(self, served: Served) -> None:
        name, minute = served.organization, self._minute
        if not name:
            return
        organization = self._organizations.get(name) or self._begin(name, minute)
        self._active.add(name)
        network = self._networks.get(served.client_ip) or self._network(served.client_ip)
        refused = 400 <= served.status < 500 and served.status not in (404, 499)
        organization.add(minute, Measure.REQUESTS, 1)
        organization.came_from(network, minute)
        if refused:
            organization.add(minute, Measure.REFUSALS, 1)
        session = self._session(served) if served.session else None
        if session is not None:
            session.counts[Measure.REQUESTS] += 1
            session.counts[Measure.REFUSALS] += refused
            session.came_from(network)
        used = served.usage
        if used is not None:
            tokens = used.given + used.made
            organization.add(minute, Measure.TOKENS, tokens)
            if used.model and organization.used(used.model[:LONGEST_NAME], minute):
                self._new_models.setdefault(name, []).append(used.model[:LONGEST_NAME])
            if session is not None:
                session.counts[Measure.TOKENS] += tokens

    def _begin(self, name: str, minute: int) -> OrganizationUsage:
        if len(self._organizations) >= ORGANIZATIONS:
            gone, _ = self._organizations.popitem(last=False)
            self._active.discard(gone)
        made = self._organizations[name] = OrganizationUsage(minute)
        if self._store is not None and len(self._begun) < ORGANIZATIONS:
            self._begun.append(name)
        return made

    def _session(self, served: Served) -> SessionUsage | None:
        found = self._sessions.get(served.session)
        if found is None and len(self._sessions) < SESSIONS:
            found = self._sessions[served.session] = SessionUsage(served.organization)
        return found

    def _network(self, address: str) -> str:
        return self._networks.remember(address, network_of(address), 2 * len(address))

    def _look_at(self, name: str, minute: int) -> None:
        organization = self._organizations.get(name)
        if organization is None:
            return
        self._organizations.move_to_end(name)
        unusual, models = organization.unusual(minute, self._rule), self._new_models.pop(name, [])
        if (not unusual or minute < organization.told_until) and not models:
            return
        organization.told_until = minute + QUIET_MINUTES
        self._tell("organization", name, "", unusual, models)

    def _look_at_session(self, key: str, session: SessionUsage) -> None:
        least = {measure: -(-count // SESSION_LEAST[measure]) for measure, count in self._rule.least.items()}
        least[Measure.NETWORKS] = SESSION_LEAST[Measure.NETWORKS]
        unusual = self._population.unusual(session, self._rule, least)
        if unusual:
            self._told[key] = self._minute + QUIET_MINUTES
            self._tell("session", session.organization, key, unusual, [])

    def _tell(self, subject: str, organization: str, session: str, unusual: list[Unusual], models: list[str]) -> None:
        detail: dict[str, object] = {"subject": subject, "unusual": [each.measure.value for each in unusual]}
        for each in unusual:
            detail[each.measure.value] = each.count
            detail[f"{each.measure.value}_usual"] = round(each.median, 1)
        if models:
            detail["unusual"] = [*(each.measure.value for each in unusual), "models"]
            detail["models"] = models[:5]
        event = SecurityEvent(
            Event.USAGE_ANOMALY,
            Outcome.OBSERVED,
            self._clock.now(),
            organization=organization,
            session=session,
            detail=detail,
        )
        self._events.record(event)


def network_of(address: str) -> str:
    """Return the /24 of an IPv4 address, the /64 of an IPv6 one (as it is written)."""
    if ":" not in address:
        return address.rpartition(".")[0]
    head, _, _ = address.partition("::")
    return ":".join(head.split(":")[:4])
