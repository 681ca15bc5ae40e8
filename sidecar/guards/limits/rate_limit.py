"""Rate limits: all limits of a request in one question, their state on every response."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Sequence
from typing import Final

from sidecar.decision import PASS, Answer, Decision, Detail, Refuse
from sidecar.errors import Problems
from sidecar.exchange import NOBODY, Exchange
from sidecar.guards.limits.rate_limit_headers import RateLimitHeaders, retry_after, status_body
from sidecar.limit import Ask, Limit, LimitReport, Per, Takes
from sidecar.stores.interfaces import RateStore
from sidecar.vocabulary import Code

CACHED: Final = 8192
"""Sets of subjects whose questions are remembered; a full cache is emptied."""

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
LARGEST_WINDOW: Final = 31 * 86_400


def build_rate_limit(limits: Sequence[Limit], store: RateStore, *, waits: bool) -> RateLimitGuard:
    """Build the guard of one route over the global limits and its own, which `check_limits` found good.

    `waits`: the store is across the network and may have to be awaited.
    """
    return (WaitingRateLimitGuard if waits else RateLimitGuard)(tuple(limits), store)


def check_limits(limits: Sequence[Limit], problems: Problems, before: Sequence[Limit] = ()) -> None:
    """Add what is wrong with a list of limits; `problems` stands at the list. `before` hold for its requests too."""
    names = {limit.name for limit in before}
    for number, limit in enumerate(limits):
        place = problems.at(f"[{number}]")
        if limit.name in names:
            place.at("name").add(f"{limit.name!r} is the name of two limits", "give each its own")
        if NAME.fullmatch(limit.name) is None:
            place.at("name").add(f"{limit.name!r} cannot stand in a header", "write letters, digits and hyphens")
        if limit.limit < 1:
            place.at("limit").add("admits nobody", "write 1 or more")
        if not 0 < limit.window <= LARGEST_WINDOW:
            place.at("window").add("is not a length of time that can be kept", "write 1s to 31d")
        names.add(limit.name)


class RateLimitGuard:
    """Take one request of every limit from a store that answers at once; refuse when one has no room.

    `exchange.limits` is the report. Limits per session and per user count verified ones only; a request
    without one counts under its address, so that leaving an id out, or inventing ids, gains nothing.
    """

    name = "rate_limits"
    waits = False

    def __init__(self, limits: tuple[Limit, ...], store: RateStore) -> None:
        self.limits = limits
        self._store = store
        self._lines = RateLimitHeaders(limits)
        self._asks: dict[tuple[str, ...], tuple[Ask, ...]] = {}
        self._per = tuple(limit.per for limit in limits)
        self._simple = set(self._per) <= {Per.IP, Per.ORGANIZATION}

    def check(self, exchange: Exchange) -> Decision:
        if not self.limits:
            return PASS
        asks = self.asks(exchange)
        takes = self._store.take(asks, exchange.started)
        assert isinstance(takes, tuple)
        return self._decide(exchange, asks, takes)

    def peek(self, exchange: Exchange) -> None:
        """Put the state on an exchange that was refused before its limits were taken; consumes nothing."""
        if self.limits and exchange.limits is None and exchange.client is not NOBODY:
            asks = self.asks(exchange)
            takes = self._store.peek(asks, exchange.started)
            assert isinstance(takes, tuple)
            self._look(exchange, asks, takes)

    def status(self, exchange: Exchange) -> Answer:
        """Answer `GET /api/rate-limit/status` with the caller's own state."""
        self.peek(exchange)
        return status_answer(exchange)

    def asks(self, exchange: Exchange) -> tuple[Ask, ...]:
        """Return the questions about an exchange, in the order of the limits."""
        client = exchange.client.subject
        if self._simple:
            key: tuple[str, ...] = (client, exchange.organization)
        else:
            session = exchange.session.key if exchange.session is not None else ""
            key = (client, exchange.organization, session, exchange.user, exchange.route)
        known = self._asks.get(key)
        if known is None:
            if len(self._asks) >= CACHED:
                self._asks.clear()
            made = [Ask(limit, _subject(limit.per, exchange)) for limit in self.limits]
            known = self._asks[key] = tuple(made)
        return known

    def _decide(self, exchange: Exchange, asks: tuple[Ask, ...], takes: Takes) -> Decision:
        exchange.limits = LimitReport(asks, takes, exchange.now, True, self._lines.render(takes, exchange.now))
        for take in takes:
            if not take.allowed:
                return self._refusal(asks, takes)
        return PASS

    def _refusal(self, asks: tuple[Ask, ...], takes: Takes) -> Refuse:
        """Name the limit that lasts longest: a client that waits for less would be refused again."""
        refusing = [pair for pair in zip(asks, takes, strict=True) if not pair[1].allowed]
        ask, take = max(refusing, key=lambda pair: pair[1].retry_after)
        seconds = retry_after(take)
        detail: Detail = {"limit": ask.limit.name, "per": str(ask.limit.per), "retry_after": seconds}
        return Refuse(Code.RATE_LIMIT_EXCEEDED, detail, [(b"Retry-After", b"%d" % seconds)])

    def _look(self, exchange: Exchange, asks: tuple[Ask, ...], takes: Takes) -> None:
        exchange.limits = LimitReport(asks, takes, exchange.now, False, self._lines.render(takes, exchange.now))


class WaitingRateLimitGuard(RateLimitGuard):
    """The same over a store across the network; it bounds each wait itself."""

    waits = True

    async def check(self, exchange: Exchange) -> Decision:  # type: ignore[override]  # a Step says which it is
        if not self.limits:
            return PASS
        asks = self.asks(exchange)
        return self._decide(exchange, asks, await _settled(self._store.take(asks, exchange.started)))

    async def peek(self, exchange: Exchange) -> None:  # type: ignore[override]  # as above
        if self.limits and exchange.limits is None and exchange.client is not NOBODY:
            asks = self.asks(exchange)
            takes = await _settled(self._store.peek(asks, exchange.started))
            self._look(exchange, asks, takes)

    async def status(self, exchange: Exchange) -> Answer:  # type: ignore[override]  # as above
        await self.peek(exchange)
        return status_answer(exchange)


class RateLimitHeaderWriter:
    """The header lines of the limits. A store that answers at once is asked where no guard asked it before.

    Over a store that must be awaited, the proxy awaits `guard.peek(exchange)` before it sends a refusal.
    """

    owns = frozenset(
        {
            b"x-ratelimit-limit",
            b"x-ratelimit-remaining",
            b"x-ratelimit-reset",
            b"x-ratelimit-org-limit",
            b"x-ratelimit-org-remaining",
            b"x-ratelimit-org-reset",
            b"ratelimit",
            b"ratelimit-policy",
        }
    )

    def __init__(self, guard: RateLimitGuard) -> None:
        self._guard = guard

    def lines(self, exchange: Exchange) -> bytes:
        if exchange.limits is None and not self._guard.waits:
            self._guard.peek(exchange)
        return exchange.limits.lines if exchange.limits is not None else b""


def status_answer(exchange: Exchange) -> Answer:
    """Return the JSON of an exchange's report; no limits are an empty list."""
    fields = [(b"Content-Type", b"application/json"), (b"Cache-Control", b"no-store")]
    return Answer(200, fields, status_body(exchange.limits, exchange.now))


async def _settled(answer: Takes | Awaitable[Takes]) -> Takes:
    """A store that fails over answers at once while it does."""
    return answer if isinstance(answer, tuple) else await answer


def _subject(per: Per, exchange: Exchange) -> str:
    client = exchange.client.subject
    if per is Per.IP:
        return client
    if per is Per.ORGANIZATION:
        return exchange.organization
    if per is Per.SESSION:
        return exchange.session.key if exchange.session is not None else f"ip:{client}"
    if per is Per.USER:
        return exchange.user or f"ip:{client}"
    return exchange.route or "-" if per is Per.ROUTE else "all"
