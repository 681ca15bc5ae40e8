"""Revocation of what runs: responses and WebSockets that depend on a revoked subject end.

Nothing is written down when a request begins: a revocation is rare, and looks once at everything that runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol, TypeAlias

from sidecar.clock import Clock
from sidecar.exchange import Exchange
from sidecar.proxy.early_end import EarlyEnd
from sidecar.revoked import Cause, Revoked, SubjectKind
from sidecar.vocabulary import Code

_log = logging.getLogger(__name__)
TURN: Final = 500
"""Exchanges that are looked at before others get their turn of the loop."""
PAUSE: Final = 0.05
"""Seconds between two looks: what is revoked meanwhile is looked for together."""
AGAIN: Final = 1.0
"""Seconds until the second look: for requests whose guards had been asked before the revocation was known here."""


class RunningExchange(Protocol):
    """What is needed of an exchange that runs."""

    @property
    def exchange(self) -> Exchange:
        """The request, with what guards found out about it."""
        ...

    @property
    def outward(self) -> bool:
        """It goes to a provider, by the egress listener."""
        ...

    def end_early(self, why: EarlyEnd) -> None:
        """End the response or WebSocket, in the words of its protocol."""
        ...


_Key: TypeAlias = tuple[SubjectKind, str, str]
_Batch: TypeAlias = dict[_Key, tuple[Revoked, float]]


@dataclass(slots=True)
class StandsOn:
    """What the running exchanges depend on, as far as the vault knows it; sessions with their organization."""

    handles: set[str] = field(default_factory=set)
    credentials: set[str] = field(default_factory=set)
    sessions: set[tuple[str, str]] = field(default_factory=set)


class Revocations:
    """Ends running exchanges by what was revoked.

    running  every exchange that runs now
    spared   clients that no ban can end
    """

    def __init__(
        self, clock: Clock, running: Callable[[], Iterable[RunningExchange]], spared: Callable[[Exchange], bool]
    ) -> None:
        self._clock = clock
        self._running = running
        self._spared = spared
        self._waiting: _Batch = {}
        self._again: _Batch = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def end(self, revoked: Revoked) -> None:
        """End what depends on a subject; what begins later is for the guards."""
        key = (revoked.kind, revoked.name, revoked.organization)
        self._look_for({key: (revoked, self._clock.monotonic())}, again=True)

    def stands_on(self) -> StandsOn:
        """Return what the vault has to be asked about."""
        found = StandsOn()
        for each in self._running():
            exchange = each.exchange
            if exchange.handle:
                found.handles.add(exchange.handle)
            if exchange.credential:
                found.credentials.add(exchange.credential)
            if each.outward and exchange.session_key:
                found.sessions.add((exchange.organization, exchange.session_key))
        return found

    async def close(self) -> None:
        """Look no more."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _look_for(self, batch: _Batch, *, again: bool) -> None:
        if again:
            self._waiting |= batch
            self._again |= batch
        else:
            self._waiting = batch | self._waiting  # what was revoked once more since then stays
        if self._task is None and not self._closed:
            self._task = asyncio.get_running_loop().create_task(self._look(), name="revocations")

    async def _look(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, {}
                again, self._again = self._again, {}
                if again:
                    asyncio.get_running_loop().call_later(AGAIN, partial(self._look_for, again, again=False))
                await self._end_what_stands_on(batch)
                await asyncio.sleep(PAUSE)
        finally:
            self._task = None

    async def _end_what_stands_on(self, batch: _Batch) -> None:
        for number, each in enumerate(list(self._running())):
            if number % TURN == TURN - 1:
                await asyncio.sleep(0)
            revoked = self._found(each, batch)
            if revoked is not None:
                detail = {"revoked": revoked.kind.value, "subject": revoked.shown, "cause": revoked.cause.value}
                try:
                    each.end_early(EarlyEnd(Code.ACCESS_REVOKED, detail))
                except Exception:  # noqa: BLE001  one that cannot be ended must not keep the others
                    _log.exception("an exchange was not ended")

    def _found(self, each: RunningExchange, batch: _Batch) -> Revoked | None:
        exchange = each.exchange
        for key in keys(exchange, outward=each.outward):
            revoked, at = batch.get(key, (None, 0.0))
            if revoked is None or exchange.started > at:
                continue
            if revoked.cause is not Cause.BANNED or not self._spared(exchange):
                return revoked
        return None


def keys(exchange: Exchange, *, outward: bool) -> list[_Key]:
    """Return what an exchange depends on. The client of an egress call is the backend, which no ban is about."""
    found: list[_Key] = [(SubjectKind.ORGANIZATION, exchange.organization, "")]
    if exchange.handle:
        found.append((SubjectKind.HANDLE, exchange.handle, ""))
    if exchange.credential:
        found.append((SubjectKind.CREDENTIAL, exchange.credential, ""))
    if exchange.session is not None:
        key = exchange.session.key
        found += [(SubjectKind.SESSION, key, ""), (SubjectKind.SESSION, key, exchange.organization)]
    if not outward:
        found.append((SubjectKind.IP, exchange.client.subject, ""))
    return found
