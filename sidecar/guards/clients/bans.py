"""Bans: a client whose refusals weigh too much sits out."""

from __future__ import annotations

from math import ceil
from typing import Final

from sidecar.decision import PASS, Decision, Detail, Finding, Refuse
from sidecar.exchange import Exchange
from sidecar.stores.interfaces import BanStore
from sidecar.vocabulary import Code, Event

WEIGHTS: Final = {
    Code.REQUEST_MALFORMED: 2,
    Code.MESSAGE_INVALID: 1,
    Code.MESSAGE_TOO_LONG: 1,
    Code.INVALID_SESSION_ID: 1,
    Code.AUTH_FAILED: 4,
    Code.CONTENT_BLOCKED: 2,
    Code.FORBIDDEN: 3,
    Code.NOT_FOUND: 1,
    Code.METHOD_NOT_ALLOWED: 1,
    Code.REQUEST_TIMEOUT: 1,
    Code.BODY_TOO_LARGE: 1,
    Code.UNSUPPORTED_MEDIA_TYPE: 1,
    Code.MISDIRECTED_REQUEST: 1,
    Code.RATE_LIMIT_EXCEEDED: 1,
    Code.HEADERS_TOO_LARGE: 2,
}
"""How much a refusal weighs; our own and the backend's failures, and what the banned are told, weigh nothing.

Neither do CORS and CSRF refusals: only browsers tell honestly where a request comes from, and do so on
behalf of people whom a foreign page sent here. Who attacks by program leaves Origin out.
"""


FOREIGN: Final = frozenset({b"cross-site", b"same-site"})
INNOCENT: Final = frozenset({
    Code.REQUEST_MALFORMED, Code.INVALID_SESSION_ID, Code.FORBIDDEN, Code.NOT_FOUND, Code.METHOD_NOT_ALLOWED,
    Code.MISDIRECTED_REQUEST, Code.RATE_LIMIT_EXCEEDED, Code.HEADERS_TOO_LARGE,
})  # fmt: skip
"""What a foreign page can earn for its visitor with pictures and links. It weighs nothing when the browser says so
(Fetch Metadata): ten pictures must not lock somebody out. A program that says so meets the rate limits."""


class BanGuard:
    """Refuse a banned client; asked right after the address, so that each of its requests costs one look-up."""

    name = "bans"

    def __init__(self, store: BanStore) -> None:
        self._store = store

    def check(self, exchange: Exchange) -> Decision:
        client = exchange.client
        if client.exempt:
            return PASS
        until = self._store.banned(client.subject, exchange.now)
        if until <= exchange.now:
            return PASS
        seconds = max(1, ceil(until - exchange.now))
        return Refuse(
            Code.IP_BLOCKED, {"reason": "banned", "retry_after": seconds}, [(b"Retry-After", b"%d" % seconds)]
        )

    def struck(self, exchange: Exchange, code: Code) -> Finding | None:
        """Count a refusal that went out; return what to record when it made a ban. Exempt clients are not counted."""
        client = exchange.client
        weight = WEIGHTS.get(code, 0)
        if not weight or client.exempt or not client.subject:
            return None
        if code in INNOCENT and exchange.origin is None and exchange.head.index.get(b"sec-fetch-site") in FOREIGN:
            return None
        ban = self._store.strike(client.subject, weight, exchange.now)
        if ban is None:
            return None
        detail: Detail = {"seconds": ceil(ban.until - exchange.now), "strikes": ban.strikes, "code": code.name}
        return Finding(Event.IP_BANNED, detail)
