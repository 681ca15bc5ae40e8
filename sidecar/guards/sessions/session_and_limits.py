"""A session and the rate limits of its request in one question, where one Redis holds both.

The question is asked where the session, as this process last read it, lets the request pass. Redis compares it with
what it holds, and takes the limits only if it is still the same. In all other cases each guard asks by itself: a
session that is not known here, that has ended or changed, a store that is away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from functools import partial

from sidecar.decision import Answer, Decision, Pass, Refuse, Waiting, waiting
from sidecar.exchange import Exchange
from sidecar.guard import Step
from sidecar.guards.limits.body_rate_limit import HeadRateLimits
from sidecar.guards.limits.rate_limit import RateLimitGuard
from sidecar.guards.sessions.session import SessionGuard
from sidecar.session import Session
from sidecar.stores.interfaces import KnowsSessions, SessionStore, SessionTakes


class SessionAndLimits:
    """Asks for the session, and leaves the limits' answer in `exchange.taken` for their guard, which follows."""

    name = "session"

    def __init__(self, guard: SessionGuard, sessions: KnowsSessions, limits: RateLimitGuard | HeadRateLimits) -> None:
        self._guard = guard
        self._sessions = sessions
        self._limits = limits

    def check(self, exchange: Exchange) -> Decision | Awaitable[Decision]:
        """Answer like SessionGuard."""
        key = exchange.session_key
        known = self._sessions.recall(key, exchange.now) if key else None
        if known is None:
            return self._guard.check(exchange)
        passed = self._guard.judged(exchange, known.session)
        if not isinstance(passed, Pass):
            return self._guard.check(exchange)
        asked = self._limits.take_with(exchange, known)
        exchange.session = None  # until the store has said that it is there
        if asked is None:
            return self._guard.check(exchange)
        return Waiting(asked, partial(self._answered, exchange, known.session, passed))

    def _answered(
        self, exchange: Exchange, session: Session, passed: Pass, takes: SessionTakes | None
    ) -> Decision | Waiting[Decision]:
        if takes is None:
            decision = self._guard.check(exchange)
            return decision if isinstance(decision, Pass | Answer | Refuse) else waiting(decision)
        seen, exchange.taken = takes
        exchange.session = session
        if not self._guard.is_stale(seen, exchange.now):
            return passed
        return Waiting(self._guard.touched(session, exchange.now), lambda _: passed)


def asked_together(sessions: Sequence[Step], limits: Sequence[Step], store: SessionStore) -> tuple[Step, ...]:
    """Return the steps of both, the session's last one asking for the limits too where the store allows it."""
    steps = (*sessions, *limits)
    if not sessions or not limits or not isinstance(store, KnowsSessions):
        return steps
    guard, following = sessions[-1].guard, limits[0].guard
    if not isinstance(guard, SessionGuard) or not isinstance(following, RateLimitGuard | HeadRateLimits):
        return steps
    return (*sessions[:-1], Step(SessionAndLimits(guard, store, following), sessions[-1].enforce), *limits)
