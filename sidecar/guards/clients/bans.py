"""Bans: a client whose requests are refused again and again for what no honest page sends is refused for a while."""

from __future__ import annotations

from collections import OrderedDict
from math import ceil
from typing import Final

from sidecar.decision import PASS, Decision, Detail, Finding, Refuse
from sidecar.exchange import Exchange
from sidecar.guards.limits.rate_limit import SAFE, refused
from sidecar.limit import Counts, Limit, LimitReport, Per
from sidecar.messages.strict_json import Fault
from sidecar.stores.interfaces import BanStore
from sidecar.stores.undeclared_proxies import UndeclaredProxies
from sidecar.vocabulary import Code, Event

BEYOND: Final = 10
"""Times its size that a client's own limit has to be asked in one window before refusals count."""

WATCHED: Final = 4096
"""Limits of clients whose refusals are counted; of more, the one that was refused longest ago is forgotten."""

OWN: Final = frozenset({Per.IP, Per.SESSION, Per.USER})
FORGED: Final = frozenset({"format", "unknown"})
"""Reasons of a refused session that no page causes with what it was given."""

UNDECODABLE: Final = frozenset(
    {Fault.NOT_JSON, Fault.NOT_UTF8, Fault.BYTE_ORDER_MARK, Fault.DUPLICATE_KEY, Fault.TOO_DEEP}
    | {"not_a_packet", "bad_multipart"}
)
HARMLESS: Final = frozenset({"target too long"})
FOREIGN: Final = frozenset({b"cross-site", b"same-site"})


def is_strike(exchange: Exchange, refuse: Refuse, *, message: bool = False) -> bool:
    """Return whether no honest page can have caused a refusal. Refusals by rate limits are counted elsewhere.

    message  one message of a WebSocket was refused, not the request
    """
    reason = refuse.detail.get("reason")
    if refuse.code is Code.REQUEST_MALFORMED:
        # A foreign page can make its visitor's browser ask for odd paths by pictures and links; the browser says so.
        foreign = exchange.origin is None and exchange.head.index.get(b"sec-fetch-site") in FOREIGN
        return reason not in HARMLESS and not foreign
    if exchange.head.method in SAFE and not message:
        return False
    if refuse.code is Code.INVALID_SESSION_ID:
        return reason in FORGED and refuse.event is None
    if refuse.code is Code.MESSAGE_INVALID:
        return reason in UNDECODABLE
    return refuse.code is Code.AUTH_FAILED


class ExceededLimits:
    """Counts how often clients asked for more than their own limits, by windows that begin with a refusal."""

    def __init__(self, most: int = WATCHED) -> None:
        self._most = most
        self._asked: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def is_strike(self, report: LimitReport, now: float) -> bool:
        """Count one refused request; say whether it came beyond ten times the size of a `chat` limit of its client."""
        strike = False
        for ask, _ in refused(report.asks, report.takes):
            if ask.limit.counts is Counts.CHAT and ask.limit.per in OWN:
                strike |= self._count(ask.limit, ask.subject, now) > BEYOND * ask.limit.limit
        return strike

    def _count(self, limit: Limit, subject: str, now: float) -> int:
        """Return how many requests came in this window: those that filled the limit, and the refused ones."""
        key = (limit.name, subject)
        began, count = self._asked.get(key, (now, limit.limit))
        if now - began >= limit.window:
            began, count = now, limit.limit
        self._asked[key] = (began, count + 1)
        self._asked.move_to_end(key)
        if len(self._asked) > self._most:
            self._asked.popitem(last=False)
        return count + 1


class BanGuard:
    """Refuse a banned client; first after the address, so that each request of its flood costs one look-up.

    Trusted proxies are exempt, and peers that probably are proxies which the policy does not name.
    """

    name = "bans"

    def __init__(self, store: BanStore, proxies: UndeclaredProxies | None = None) -> None:
        self._store = store
        self._proxies = proxies
        self._exceeded = ExceededLimits()

    def check(self, exchange: Exchange) -> Decision:
        """Refuse a banned client with 403 and Retry-After (seconds until the ban ends). Local, no I/O."""
        client = exchange.client
        if client.exempt:
            return PASS
        until = self._store.banned(client.subject, exchange.now)
        if until <= exchange.now or self._is_proxy(exchange):
            return PASS
        seconds = max(1, ceil(until - exchange.now))
        return Refuse(
            Code.IP_BLOCKED, {"reason": "banned", "retry_after": seconds}, [(b"Retry-After", b"%d" % seconds)]
        )

    def struck(
        self, exchange: Exchange, refuse: Refuse, now: float, report: LimitReport | None = None
    ) -> Finding | None:
        """Count a refusal that went out; return what to record when it made a ban. Exempt clients are not counted.

        report  of the limits of one WebSocket message that was refused; None: the request was
        """
        client = exchange.client
        if client.exempt or not client.subject or self._is_proxy(exchange):
            return None
        if not self._counts(exchange, refuse, now, report):
            return None
        ban = self._store.strike(client.subject, 1, now, refuse.code.name, exchange.id)
        if ban is None:
            return None
        detail: Detail = {"seconds": ceil(ban.until - now), "strikes": ban.strikes, "code": refuse.code.name}
        return Finding(Event.IP_BANNED, detail)

    def _counts(self, exchange: Exchange, refuse: Refuse, now: float, report: LimitReport | None) -> bool:
        message = report is not None
        if refuse.code is not Code.RATE_LIMIT_EXCEEDED:
            return is_strike(exchange, refuse, message=message)
        limits = report if report is not None else exchange.limits
        safe = exchange.head.method in SAFE and not message
        return limits is not None and not safe and self._exceeded.is_strike(limits, now)

    def _is_proxy(self, exchange: Exchange) -> bool:
        # Once the policy trusts the peer, the client is another one, behind it.
        proxies = self._proxies
        return proxies is not None and not exchange.client.trusted and proxies.is_probable(exchange.peer)
