"""Limits per session where the session is in the body: they can be asked only when it has been read."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Awaitable, Sequence
from functools import partial

from sidecar.decision import KEEP, PASS, Answer, Decision, Inspection, Pass, Refuse, waiting
from sidecar.exchange import Exchange
from sidecar.guards.limits.rate_limit import RateLimitGuard
from sidecar.guards.limits.rate_limit_headers import RateLimitHeaders
from sidecar.guards.sessions.session import has_body
from sidecar.limit import Limit, LimitReport, Per
from sidecar.stores.interfaces import KnownSession, SessionTakes


def split(limits: Sequence[Limit]) -> tuple[tuple[Limit, ...], tuple[Limit, ...]]:
    """Return (what the head guard asks, what waits for the body)."""
    late = tuple(limit for limit in limits if limit.per is Per.SESSION)
    return tuple(limit for limit in limits if limit.per is not Per.SESSION), late


class HeadRateLimits:
    """Ask at the head for what can be asked there: all limits at once when the session stood there too.

    So a request that its session's limit refuses is counted by none. `first` and `whole` are guards
    over the first half of `split` and over all limits.
    """

    name = "rate_limits"

    def __init__(self, first: RateLimitGuard, whole: RateLimitGuard) -> None:
        self.limits = whole.limits
        self._first = first
        self._whole = whole

    def check(self, exchange: Exchange) -> Decision | Awaitable[Decision]:
        """Take all limits when the session is known, and otherwise those that do not count sessions."""
        return (self._first if exchange.session is None else self._whole).check(exchange)

    def take_with(self, exchange: Exchange, known: KnownSession) -> Future[SessionTakes | None] | None:
        """Take all limits together with the session."""
        return self._whole.take_with(exchange, known)


class BodyRateLimitGuard:
    """Take the limits that waited, and join their state to the report. After `BodySessionGuard`.

    `head` and `late` are guards over the two halves of `split`. A request that is refused here has
    been counted by the other limits: it was read to its end, and that is what they bound. A request
    that has no body never meets guards of bodies: `check`, after the limits of the head, asks for it.
    What `HeadRateLimits` could ask at once is not asked again.
    """

    name = "rate_limits"

    def __init__(self, head: RateLimitGuard, late: RateLimitGuard) -> None:
        self._head = head
        self._late = late
        self._lines: dict[tuple[Limit, ...], RateLimitHeaders] = {}  # at most two: with named organizations, without

    def check(self, exchange: Exchange) -> Decision | Awaitable[Decision]:
        """Take the limits of a request without a body."""
        return PASS if has_body(exchange) or self._asked(exchange) else self._take(exchange)

    def inspect(self, exchange: Exchange, _: bytes) -> Inspection | Awaitable[Inspection]:
        """Take the limits of a request whose body was read."""
        if self._asked(exchange):
            return KEEP
        decision = self._take(exchange)
        if isinstance(decision, Pass | Answer | Refuse):
            return _inspected(decision)
        return waiting(decision).then(_inspected)

    def take_with(self, exchange: Exchange, known: KnownSession) -> Future[SessionTakes | None] | None:
        """Take the limits that waited together with the session that the body names."""
        return self._late.take_with(exchange, known)

    def _take(self, exchange: Exchange) -> Decision | Awaitable[Decision]:
        before = exchange.limits
        decision = self._late.check(exchange)
        if isinstance(decision, Pass | Answer | Refuse):
            return self._joined(exchange, before, decision)
        return waiting(decision).then(partial(self._joined, exchange, before))

    def _asked(self, exchange: Exchange) -> bool:
        report = exchange.limits
        if report is None or not report.counted:
            return False
        return len(report.asks) == len(self._head.asks(exchange)) + len(self._late.asks(exchange))

    def _joined(self, exchange: Exchange, before: LimitReport | None, decision: Decision) -> Decision:
        report = exchange.limits
        if before is not None and report is not None:
            asks, takes = (*before.asks, *report.asks), (*before.takes, *report.takes)
            lines = self._headers(tuple([ask.limit for ask in asks])).render(takes, exchange.now)
            exchange.limits = LimitReport(asks, takes, exchange.now, True, lines)
        return decision

    def _headers(self, limits: tuple[Limit, ...]) -> RateLimitHeaders:
        found = self._lines.get(limits)
        if found is None:
            found = self._lines[limits] = RateLimitHeaders(limits)
        return found


def _inspected(decision: Decision) -> Inspection:
    return decision if isinstance(decision, Refuse) else KEEP


def build_body_rate_limit(head: RateLimitGuard, late: RateLimitGuard) -> BodyRateLimitGuard:
    """Build the body guard over two guards of one store."""
    return BodyRateLimitGuard(head, late)
