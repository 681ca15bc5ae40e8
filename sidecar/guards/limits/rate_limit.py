"""Rate limits: all limits of a request in one question, their state on every response."""

from __future__ import annotations

import re
from asyncio import Future
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Final

from sidecar.decision import PASS, Answer, Decision, Detail, Refuse, Waiting
from sidecar.errors import Problems
from sidecar.exchange import UNKNOWN_CLIENT, Exchange
from sidecar.guards.limits.rate_limit_headers import RateLimitHeaders, retry_after, status_body
from sidecar.limit import Ask, Counts, Limit, LimitReport, Per, Take, Takes
from sidecar.stores.interfaces import KnownSession, RateStore, SessionTakes, TakesWithSession
from sidecar.vocabulary import Code

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods whose requests a `chat` limit counts only on routes that cost."""

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
LARGEST_WINDOW: Final = 31 * 86_400


class Costs(Enum):
    """Which requests of a route cost something, so that `chat` limits count them."""

    ALWAYS = "always"
    BY_METHOD = "by method"
    NEVER = "never"


@dataclass(frozen=True)
class CountingRules:
    """How the requests of one route are counted.

    costs                 which of them `chat` limits count
    own                   names of the route's own limits
    messages              the route's limits count the messages of its WebSockets, not their handshakes
    default_organization  requests of this one are not held to limits with `named_only`
    """

    costs: Costs = Costs.ALWAYS
    own: frozenset[str] = frozenset()
    messages: bool = False
    default_organization: str = ""


EVERY_REQUEST: Final = CountingRules()


def build_rate_limit(
    limits: Sequence[Limit], store: RateStore, *, waits: bool, rules: CountingRules = EVERY_REQUEST
) -> RateLimitGuard:
    """Build the guard of one route over the global limits and its own, which `check_limits` found good.

    `waits`: the store is across the network and may have to be awaited.
    """
    return RateLimitGuard(tuple(limits), store, rules, waits=waits)


def check_limits(limits: Sequence[Limit], problems: Problems, before: Sequence[Limit] = ()) -> None:
    """Add what is wrong with a list of limits; `problems` is at the list. `before` hold for its requests too."""
    names = {limit.name for limit in before}
    for number, limit in enumerate(limits):
        place = problems.at(f"[{number}]")
        if limit.name in names:
            place.at("name").add(f"{limit.name!r} is the name of two limits", "give each its own")
        if NAME.fullmatch(limit.name) is None:
            place.at("name").add(f"{limit.name!r} cannot be in a header", "write letters, digits and hyphens")
        if limit.limit < 1:
            place.at("limit").add("admits no request", "write 1 or more")
        if not 0 < limit.window <= LARGEST_WINDOW:
            place.at("window").add("is not a length of time that can be kept", "write 1s to 31d")
        names.add(limit.name)


class _Plan:
    """The limits that one sort of request is held to, which of them count it, and how they are told."""

    __slots__ = ("counted", "limits", "lines")

    def __init__(self, limits: Sequence[tuple[Limit, bool]]) -> None:
        self.limits = tuple(limit for limit, _ in limits)
        self.counted = tuple(counted for _, counted in limits)
        self.lines = RateLimitHeaders(self.limits)


class _Plans:
    """The plans of requests that cost, of those that do not, and of socket messages."""

    __slots__ = ("cheap", "costly", "message")

    def __init__(self, limits: Sequence[Limit], rules: CountingRules) -> None:
        everything = [limit for limit in limits if limit.counts is Counts.ALL]
        by_message = [limit for limit in limits if limit.counts is Counts.CHAT or limit.name in rules.own]
        counted = [limit for limit in everything if not (rules.messages and limit.name in rules.own)]
        self.costly = _Plan([(limit, True) for limit in limits])
        self.cheap = _Plan([(limit, limit in counted) for limit in limits])
        self.message = _Plan([(limit, True) for limit in by_message])


class RateLimitGuard:
    """Take one request of every limit; refuse when one has no room. Answers at once if the store does.

    `exchange.limits` is the report. Limits that do not count this request (a page load, under a limit that
    counts `chat`) are looked at only. Per session and per user count verified ones only: a client without one
    counts under its address, so that leaving an id out, or inventing ids, escapes nothing.
    """

    name = "rate_limits"

    def __init__(
        self, limits: tuple[Limit, ...], store: RateStore, rules: CountingRules = EVERY_REQUEST, *, waits: bool = False
    ) -> None:
        self.limits = limits
        self.waits = waits
        self.rules = rules
        self._store = store
        self._together = store if isinstance(store, TakesWithSession) else None
        named = _Plans(limits, rules)
        unnamed = [limit for limit in limits if not limit.named_only]
        self._named = named
        self._unnamed = named if len(unnamed) == len(limits) else _Plans(unnamed, rules)

    def check(self, exchange: Exchange) -> Decision | Awaitable[Decision]:
        """Take the request of all limits at once, and put their state on the exchange."""
        if not self.limits or exchange.client.uncounted:
            return PASS
        plan = self._plan(exchange)
        asks = self._asked(plan, exchange)
        if exchange.taken is not None:
            taken, exchange.taken = exchange.taken, None
            return self._decide(exchange, plan, asks, taken)
        takes = self._store.take(asks, exchange.started)
        if isinstance(takes, tuple):
            return self._decide(exchange, plan, asks, takes)
        return Waiting(takes, partial(self._decide, exchange, plan, asks))

    def take_with(self, exchange: Exchange, known: KnownSession) -> Future[SessionTakes | None] | None:
        """Take the limits together with the session of an exchange, if it is still as it is known; `check` follows."""
        if self._together is None or not self.limits or exchange.client.uncounted:
            return None
        return self._together.take_with(known, self._asked(self._plan(exchange), exchange), exchange.started)

    def peek(self, exchange: Exchange) -> Awaitable[None] | None:
        """Put the state on an exchange that was refused before its limits were taken; consumes nothing."""
        if not self.limits or exchange.limits is not None or exchange.client is UNKNOWN_CLIENT:
            return None
        plan = self._plan(exchange)
        asks = self._asked(plan, exchange)
        takes = self._store.peek(asks, exchange.started)
        if isinstance(takes, tuple):
            self._look(exchange, plan, asks, takes)
            return None
        return self._looked_later(exchange, plan, asks, takes)

    async def _looked_later(
        self, exchange: Exchange, plan: _Plan, asks: tuple[Ask, ...], takes: Awaitable[Takes]
    ) -> None:
        self._look(exchange, plan, asks, await takes)

    def status(self, exchange: Exchange) -> Answer | Awaitable[Answer]:
        """Answer `GET /api/rate-limit/status` with the caller's own state."""
        looked = self.peek(exchange)
        return status_answer(exchange) if looked is None else _status_later(exchange, looked)

    def asks(self, exchange: Exchange) -> tuple[Ask, ...]:
        """Return the questions about an exchange, in the order of the limits."""
        return self._asked(self._plan(exchange), exchange)

    async def take_message(self, exchange: Exchange, at: float, now: float) -> tuple[LimitReport, Refuse | None]:
        """Take one message of an exchange's WebSocket; `at` is monotonic, `now` in epoch seconds."""
        plan = (self._unnamed if exchange.organization == self.rules.default_organization else self._named).message
        if not plan.limits or exchange.client.uncounted:
            return LimitReport((), (), now), None
        asks = self._asked(plan, exchange)
        takes = await _settled(self._store.take(asks, at))
        return LimitReport(asks, takes, now), refusal(asks, takes)

    def _plan(self, exchange: Exchange) -> _Plan:
        rules = self.rules
        plans = self._unnamed if exchange.organization == rules.default_organization else self._named
        if rules.messages and b"upgrade" in exchange.head.index:
            return plans.cheap
        costs = rules.costs
        if costs is Costs.ALWAYS or (costs is Costs.BY_METHOD and exchange.head.method not in SAFE):
            return plans.costly
        return plans.cheap

    def _asked(self, plan: _Plan, exchange: Exchange) -> tuple[Ask, ...]:
        """Return the questions of one sort of request; not remembered: of many clients, few would be found."""
        client, asks = exchange.client.subject, []
        for limit, counted in zip(plan.limits, plan.counted, strict=True):
            asks.append(Ask(limit, client if limit.per is Per.IP else _subject(limit.per, exchange), counted))
        return tuple(asks)

    def _decide(self, exchange: Exchange, plan: _Plan, asks: tuple[Ask, ...], takes: Takes) -> Decision:
        exchange.limits = LimitReport(asks, takes, exchange.now, True, plan.lines.render(takes, exchange.now))
        for take in takes:
            if not take.allowed:
                return refusal(asks, takes) or PASS
        return PASS

    def _look(self, exchange: Exchange, plan: _Plan, asks: tuple[Ask, ...], takes: Takes) -> None:
        exchange.limits = LimitReport(asks, takes, exchange.now, False, plan.lines.render(takes, exchange.now))


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
        """Return the lines of the limits' state; b"" where no limit applies or the state is not known."""
        if exchange.limits is None and not self._guard.waits:
            self._guard.peek(exchange)
        return exchange.limits.lines if exchange.limits is not None else b""


def status_answer(exchange: Exchange) -> Answer:
    """Return the JSON of an exchange's report; no limits are an empty list."""
    fields = [(b"Content-Type", b"application/json"), (b"Cache-Control", b"no-store")]
    return Answer(200, fields, status_body(exchange.limits, exchange.now))


def refused(asks: Sequence[Ask], takes: Takes) -> list[tuple[Ask, Take]]:
    """Return the limits that refused a request, with their answers."""
    return [pair for pair in zip(asks, takes, strict=True) if pair[0].counted and not pair[1].allowed]


def refusal(asks: Sequence[Ask], takes: Takes) -> Refuse | None:
    """Name the limit that lasts longest: a client that waits for less would be refused again. None: all had room."""
    refusing = refused(asks, takes)
    if not refusing:
        return None
    ask, take = max(refusing, key=lambda pair: pair[1].retry_after)
    seconds = retry_after(take)
    detail: Detail = {"limit": ask.limit.name, "per": str(ask.limit.per), "retry_after": seconds}
    return Refuse(Code.RATE_LIMIT_EXCEEDED, detail, [(b"Retry-After", b"%d" % seconds)])


async def _status_later(exchange: Exchange, looked: Awaitable[None]) -> Answer:
    await looked
    return status_answer(exchange)


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
