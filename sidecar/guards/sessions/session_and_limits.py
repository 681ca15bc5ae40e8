"""A session and the rate limits of its request in one question, where one Redis holds both.

The question is asked where the session, as this process last read it, lets the request pass. Redis compares it with
what it holds, and takes the limits only if it is still the same. In all other cases each guard asks by itself: a
session that is not known here, that has ended or changed, a store that is away.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeAlias

from sidecar.decision import Answer, Decision, Pass, Refuse, Waiting, waiting
from sidecar.exchange import Exchange
from sidecar.guard import BodyStep, Step
from sidecar.guards.limits.body_rate_limit import BodyRateLimitGuard, HeadRateLimits
from sidecar.guards.limits.rate_limit import RateLimitGuard
from sidecar.guards.sessions.session import BodySessionGuard, SessionGuard
from sidecar.services import Services
from sidecar.session import Session
from sidecar.stores.interfaces import KnownSession, KnowsSessions, SessionTakes, TakesWithSession

TakeWith: TypeAlias = Callable[[Exchange, KnownSession], Future[SessionTakes | None] | None]
"""Ask for a session, and for the limits that are taken next; None where each guard must ask by itself."""


class SessionAndLimits:
    """Answers like the SessionGuard that it asks otherwise; `exchange.taken` is for the guard of the limits."""

    name = "session"

    def __init__(self, guard: SessionGuard, sessions: KnowsSessions, take_with: TakeWith) -> None:
        self._guard = guard
        self._sessions = sessions
        self._take_with = take_with

    def check(self, exchange: Exchange) -> Decision | Awaitable[Decision]:
        """Decide about a request by its head."""
        return self._ask(exchange, self._guard.check)

    def settle(self, exchange: Exchange) -> Decision | Awaitable[Decision]:
        """Decide by what has been presented so far."""
        return self._ask(exchange, self._guard.settle)

    def _ask(
        self, exchange: Exchange, alone: Callable[[Exchange], Decision | Awaitable[Decision]]
    ) -> Decision | Awaitable[Decision]:
        key = exchange.session_key
        known = self._sessions.recall(key, exchange.now) if key and exchange.session is None else None
        if known is None:
            return alone(exchange)
        passed = self._guard.judged(exchange, known.session)
        if not isinstance(passed, Pass):
            return alone(exchange)
        asked = self._take_with(exchange, known)
        exchange.session = None  # until the store has said that it is there
        if asked is None:
            return alone(exchange)
        return Waiting(asked, partial(self._answered, exchange, alone, known.session, passed))

    def _answered(
        self,
        exchange: Exchange,
        alone: Callable[[Exchange], Decision | Awaitable[Decision]],
        session: Session,
        passed: Pass,
        answer: SessionTakes | None,
    ) -> Decision | Waiting[Decision]:
        if answer is None:
            decision = alone(exchange)
            return decision if isinstance(decision, Pass | Answer | Refuse) else waiting(decision)
        seen, takes = answer
        exchange.taken = takes or None
        exchange.session = session
        if not self._guard.is_stale(seen, exchange.now):
            return passed
        return Waiting(self._guard.touched(session, exchange.now), lambda _: passed)


def asked_together(sessions: Sequence[Step], limits: Sequence[Step], services: Services) -> tuple[Step, ...]:
    """Return the steps of both, the session's asking for the limits of the head too where the stores allow it."""
    guard = sessions[-1].guard if sessions else None
    following = limits[0].guard if limits else None
    take_with = following.take_with if isinstance(following, RateLimitGuard | HeadRateLimits) else None
    joined = _joined(guard, take_with, services) if isinstance(guard, SessionGuard) else None
    if joined is None:
        return (*sessions, *limits)
    return (*sessions[:-1], Step(joined, sessions[-1].enforce), *limits)


def asked_together_in_body(
    sessions: Sequence[BodyStep], limits: Sequence[BodyStep], services: Services
) -> tuple[BodyStep, ...]:
    """Return the steps of both, the session's asking for the limits that wait for it too."""
    guard = sessions[0].guard if sessions else None
    following = limits[0].guard if limits else None
    take_with = following.take_with if type(following) is BodyRateLimitGuard else None  # not one that may pass it by
    if isinstance(guard, BodySessionGuard) and isinstance(guard.guard, SessionGuard):
        joined = _joined(guard.guard, take_with, services)
        if joined is not None:
            return (BodyStep(guard.over(joined), sessions[0].enforce), *sessions[1:], *limits)
    return (*sessions, *limits)


def _joined(guard: SessionGuard, take_with: TakeWith | None, services: Services) -> SessionAndLimits | None:
    sessions, rates = services.sessions, services.rates
    if not isinstance(sessions, KnowsSessions) or not isinstance(rates, TakesWithSession):
        return None

    def session_alone(exchange: Exchange, known: KnownSession) -> Future[SessionTakes | None] | None:
        return rates.take_with(known, (), exchange.started)

    return SessionAndLimits(guard, sessions, take_with if take_with is not None else session_alone)
